"""Keeps a test on this machine: what would connect to somewhere else is refused, with an error nobody can swallow.

Two nets. httpx and httpx2 say through their documented `trace` extension when they are about to connect, also through
a proxy; everything else has to look the host's name up or to connect a socket. Below both are the mocks of other
libraries, which answer without either.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import iscoroutine
from typing import Any

from fakellm.endpoints import KNOWN_HOSTS, LOOPBACK
from fakellm.errors import UnexpectedRequestError, explain

_ABOUT_TO_SEND = ("connect_tcp.started", "connect_unix_socket.started", "send_request_headers.started")


class Guard:
    """Decides which hosts a test may reach: with `block_network` this machine only, else all but providers of models.

    `misses` are the refusals so far.
    """

    def __init__(self, *, block_network: bool = False) -> None:
        self.block_network = block_network
        self.misses: list[UnexpectedRequestError] = []

    def refuses(self, host: str) -> bool:
        """Tell whether nothing may go to the host."""
        host = host.strip("[]").rstrip(".")
        if LOOPBACK.match(host) or not host or _is_loopback_address(host):
            return False
        return self.block_network or KNOWN_HOSTS.match(host) is not None

    def refusal(self, what: str, host: str) -> UnexpectedRequestError:
        """Return the error for what would have left this machine."""
        is_provider = KNOWN_HOSTS.match(host) is not None
        remedy = [
            "answer it: add the fixture fake_openai, fake_anthropic or fake_gemini to the test, or a mock of yours"
        ]
        if not is_provider:
            remedy.append("if the test is meant to reach the network, run it without --llm-block-network")
        why = "is a provider of models" if is_provider else "is not on this machine, and the network is blocked"
        miss = UnexpectedRequestError(
            explain(
                f"{what} would have left this machine: {host} {why}", sent=[what], expected=["nothing"], remedy=remedy
            )
        )
        self.misses.append(miss)
        return miss

    def watch(self, request: Any, *, is_async: bool) -> None:
        """Let a request of httpx or httpx2 be answered by other mocks, but not leave this machine."""
        host = request.url.host
        if not self.refuses(host):
            return
        inner = request.extensions.get("trace")

        def check(event: str) -> None:
            if event.endswith(_ABOUT_TO_SEND):
                raise self.refusal(f"{request.method} {request.url}", host)

        def trace(event: str, info: dict[str, Any]) -> Any:
            check(event)
            return inner(event, info) if inner else None

        async def atrace(event: str, info: dict[str, Any]) -> None:
            check(event)
            if inner and iscoroutine(awaited := inner(event, info)):
                await awaited

        request.extensions = {**request.extensions, "trace": atrace if is_async else trace}

    @contextmanager
    def on_sockets(self) -> Iterator[None]:
        """Refuse look-ups of names and connections of sockets that lead to a refused host."""
        look_up, connect, connect_ex = socket.getaddrinfo, socket.socket.connect, socket.socket.connect_ex

        def guarded_look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
            self._check(host)
            return look_up(host, *args, **kwargs)

        def guard(original: Callable[..., Any]) -> Callable[..., Any]:
            def guarded(self_: socket.socket, address: Any) -> Any:
                if self_.family in (socket.AF_INET, socket.AF_INET6):
                    self._check(address[0])
                return original(self_, address)

            return guarded

        socket.getaddrinfo = guarded_look_up
        socket.socket.connect = guard(connect)  # type: ignore[method-assign]
        socket.socket.connect_ex = guard(connect_ex)  # type: ignore[method-assign]
        try:
            yield
        finally:
            socket.getaddrinfo = look_up
            socket.socket.connect = connect  # type: ignore[method-assign]
            socket.socket.connect_ex = connect_ex  # type: ignore[method-assign]

    def _check(self, host: Any) -> None:
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
        if isinstance(name, str) and self.refuses(name):
            raise self.refusal(f"a connection to {name}", name)


def _is_loopback_address(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
