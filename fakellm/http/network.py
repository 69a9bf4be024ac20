"""Keeps a test on this machine: what would connect to somewhere else is refused, with an error nobody can swallow.

Two nets. httpx and httpx2 say through their documented `trace` extension when they are about to connect, also through
a proxy, and aiohttp and urllib3 are held where they would make a connection; everything else has to look the host's
name up or to connect a socket, or, where a proxy does that for it, to ask the proxy for a tunnel or for the request.
Below both are the mocks of other libraries, which answer without either.

Why so late. A request that is refused when it is made would also be refused to respx, to vcrpy or to a
`MockTransport`, which stand between the client and the network and would have answered it. So it is let through until
somebody is about to send. Why the second net: what no shell reaches (urllib, a database driver) has no such hook, and
all of it comes to Python's sockets. A look-up of a name is refused as well, since it is the first thing that leaves
the machine, and on a machine without a network the one that fails, in a way that an app would take for an outage. A
proxy on this machine may be connected to; that it is asked for somewhere else is seen in what is sent. What has
sockets of its own, in C, is not.

Why an error that is no `Exception`: SDKs retry a connection that fails, and apps catch everything to say that the
model is not available; the test would pass, slowly. `misses` keeps each refusal for the end of the test, in case even
that was caught.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from fakellm.errors import UnexpectedRequestError, explain
from fakellm.provider.hosts import LOOPBACK, is_provider
from fakellm.provider.provider import FakeProvider
from fakellm.secrets.knowing import carried, discreet_url, knowing
from fakellm.wire.clouds import METADATA
from fakellm.wire.providers import PROVIDERS, services_at

if TYPE_CHECKING:
    from fakellm.cassette.tape import Tape

_ABOUT_TO_SEND = ("connect_tcp.started", "connect_unix_socket.started", "send_request_headers.started")
_TO_A_PROXY = re.compile(rb"(?:CONNECT |[A-Z]+ http://(?:[^/@\s]*@)?)(\[[^\]\s]+\]|[^/:?\s]+)\S* HTTP/")
_HEAD = 8  # parts of a message in which the line that asks a proxy ends


class Guard:
    """Decides which hosts a test may reach: with `block_network` this machine only, else all but providers of models.

    `allows_providers` lifts the second, while a tape records. `misses` are the refusals so far, `remedies` what each of
    them says beside the usual, `faked` the providers that are answered.
    """

    def __init__(self, *, block_network: bool = False) -> None:
        self.block_network = block_network
        self.allows_providers = False
        self.misses: list[UnexpectedRequestError] = []
        self.remedies: Sequence[str] = ()
        self.faked: Sequence[FakeProvider] = ()

    def refuses(self, host: str) -> bool:
        """Tell whether nothing may go to the host."""
        if self.is_local(host):
            return False
        if self._gives_credentials(host):
            return True
        return self.block_network or (not self.allows_providers and is_provider(_plain(host)))

    def _gives_credentials(self, host: str) -> bool:
        """Tell whether a host is one that the SDK of a provider which is faked would ask for credentials."""
        asked = (provider.service.credentials for provider in self.faked)
        return any(hosts is not None and hosts.match(_plain(host)) for hosts in asked)

    def _has_no_metadata(self, host: str) -> bool:
        """Tell whether a host is the metadata of a machine, which SDKs look for: it is not there, which is no miss."""
        asks = any(provider.service.tokens is not None for provider in self.faked)
        return asks and METADATA.match(_plain(host)) is not None and not self._gives_credentials(host)

    @staticmethod
    def is_local(host: str) -> bool:
        """Tell whether a host is this machine."""
        host = _plain(host)
        return not host or LOOPBACK.match(host) is not None or _is_loopback_address(host)

    def refusal(self, what: str, host: str) -> UnexpectedRequestError:
        """Return the error for what would have left this machine."""
        is_known = is_provider(_plain(host))
        remedy = [self._remedy(what, host), *self.remedies]
        if not is_known:
            remedy.append("if the test is meant to reach the network, run it without --llm-block-network")
        why = "is a provider of models" if is_known else "is not on this machine, and the network is blocked"
        if self._gives_credentials(host):
            remedy = ["give the client keys, or none and no profile: the fake puts keys into the environment"]
            why = "is asked for credentials, and a fake needs none"
        headline = f"{what} would have left this machine: {host} {why}"
        return self.missed(headline, sent=[what], expected=["nothing"], remedy=remedy)

    def refusal_of(self, request: Any) -> UnexpectedRequestError:
        """Return the error for a request of a client that would have left this machine."""
        miss = self.refusal(address_of(request), request.url.host or "")
        miss.credentials = credentials_of(request)
        return miss

    def missed(self, headline: str, **columns: Sequence[str]) -> UnexpectedRequestError:
        """Return the error, worded by `fakellm.errors.explain`, and keep it."""
        miss = UnexpectedRequestError(explain(headline, **columns))
        self.misses.append(miss)
        return miss

    def _remedy(self, what: str, host: str) -> str:
        """Word what would answer a request: a fake that is not there, or else one that is."""
        there = [provider.name for provider in self.faked]
        method, _, url = what.partition(" ")
        path = urlsplit(url).path
        knowing = [service.name for service in services_at(method, _plain(host), path)] if path else []
        missing = [f"fake_{name}" for name in (knowing or () if there else PROVIDERS) if name not in there]
        if missing:
            *others, last = missing
            fixtures = f"{', '.join(others)} or {last}" if others else last
            return f"answer it: add the fixture {fixtures} to the test, or a mock of yours"
        if knowing:
            return f"answer it: fake_{knowing[0]}.hosts = [{host!r}], or a mock of yours"
        if path and is_provider(_plain(host)):
            return f"answer it: fake_{there[0]}.document({method!r}, {path!r}, {{...}}), or a mock of yours"
        return "answer it: a mock of yours"

    def watch(self, request: Any, *, is_async: bool) -> None:
        """Let a request of httpx or httpx2 be answered by other mocks, but not leave this machine."""
        if self.refuses(request.url.host):
            before_sending(request, lambda: self.refusal_of(request), is_async=is_async)

    @contextmanager
    def on_sockets(self) -> Iterator[None]:
        """Refuse look-ups of names, connections, datagrams and tunnels of sockets that lead to a refused host."""
        with ExitStack() as stack:
            for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
                put(socket, name, self._before(getattr(socket, name), lambda host, *_: host), stack)
            put(socket, "getnameinfo", self._before(socket.getnameinfo, _looked_up), stack)
            for name in ("connect", "connect_ex", "sendto"):
                put(socket.socket, name, self._before(getattr(socket.socket, name), self._asked_at), stack)
            if hasattr(socket.socket, "sendmsg"):
                put(socket.socket, "sendmsg", self._before_parts(socket.socket.sendmsg), stack)
            for name in ("send", "sendall"):
                put(socket.socket, name, self._before(getattr(socket.socket, name), _tunnel_of), stack)
            yield

    def _before(self, original: Callable[..., Any], host_of: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, which first looks whether the host that its arguments name is refused."""

        def guarded(*args: Any, **kwargs: Any) -> Any:
            self._check(host_of(*args) if args else kwargs.get("host"))
            return original(*args, **kwargs)

        return guarded

    def _before_parts(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return `sendmsg`, which first looks at the address that it sends to, and at what it sends."""

        def guarded(sock: socket.socket, buffers: Any, *rest: Any) -> Any:
            parts = list(buffers)
            self._check(_host_of(sock, *rest) if rest else None)
            self._check(_tunnel_of(sock, b"".join(parts[:_HEAD])))
            return original(sock, parts, *rest)

        return guarded

    def _asked_at(self, sock: socket.socket, *args: Any) -> Any:
        """Return the host of an address. Raises for a server of this machine that is faked: it is not asked instead."""
        host = _host_of(sock, *args)
        place = None if host is None else f"[{host}]:{args[-1][1]}" if ":" in str(host) else f"{host}:{args[-1][1]}"
        for provider in self.faked if place is not None else ():
            service = provider.service
            if service.port is not None and place is not None and (service.has(place) or place in provider.hosts):
                sock.close()  # those who made it close it for an error of the network, and this is none
                raise self.missed(
                    f"{place} is a server of {provider.name}, which is faked",
                    sent=[f"a connection to {place}"],
                    expected=["requests of httpx, httpx2, aiohttp or urllib3, which the fake answers"],
                    remedy=["ask by one of those; what other libraries ask is not answered yet"],
                )
        return host

    def _check(self, host: Any) -> None:
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
        if isinstance(name, str) and self._has_no_metadata(name):
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"{name} is not asked while a provider is faked")
        if isinstance(name, str) and name != socket.gethostname() and self.refuses(name):
            raise self.refusal(f"a connection to {name}", name)


def before_sending(request: Any, refusal: Callable[[], BaseException], *, is_async: bool) -> None:
    """Raise what `refusal` returns when a request of httpx or httpx2 is about to be sent."""
    inner = request.extensions.get("trace")

    def check(event: str) -> None:
        if event.endswith(_ABOUT_TO_SEND):
            raise refusal()

    def trace(event: str, info: dict[str, Any]) -> Any:
        check(event)
        return inner(event, info) if inner else None

    async def atrace(event: str, info: dict[str, Any]) -> None:
        check(event)
        if inner and iscoroutine(awaited := inner(event, info)):
            await awaited

    request.extensions = {**request.extensions, "trace": atrace if is_async else trace}


def _host_of(sock: socket.socket, *args: Any) -> Any:
    """Return the host of the address that comes last in a call of a socket's method."""
    is_internet = sock.family in (socket.AF_INET, socket.AF_INET6)
    return args[-1][0] if is_internet and isinstance(args[-1], tuple) else None


def _looked_up(address: Any, flags: int) -> Any:
    """Return the host whose name `getnameinfo` would ask for, if it asks anybody."""
    return None if flags & socket.NI_NUMERICHOST else address[0]


def _tunnel_of(_: socket.socket, data: Any, *__: Any) -> bytes | None:
    """Return the host to which a proxy is asked for a tunnel, or for a request in full (RFC 9112, 3.2.2 and 3.2.3)."""
    asked = _TO_A_PROXY.match(data)
    return bytes(asked[1]) if asked else None


def address_of(request: Any) -> str:
    """Return the method and the URL of a client's request, as they may be shown."""
    with knowing(credentials_of(request)):
        return f"{request.method} {discreet_url(str(request.url))}"


def credentials_of(request: Any) -> frozenset[str]:
    """Return what a client's request carries that nobody is to be shown."""
    return carried(str(request.url), request.headers)


# An attribute that is inherited, as most of a socket's methods are, is deleted afterwards, not set back: a copy of it
# would stay in the class for good, and the class has to be what it was before the test.


def put(owner: Any, name: str, value: Any, stack: ExitStack) -> None:
    """Give a module or class an attribute of another value until the stack is unwound."""
    if name in vars(owner):
        stack.callback(setattr, owner, name, vars(owner)[name])
    else:
        stack.callback(delattr, owner, name)
    setattr(owner, name, value)


def _plain(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


def _is_loopback_address(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


class Desk(Protocol):
    """Where requests are asked about: which provider answers, and what may not leave."""

    is_on: bool
    guard: Guard
    tape: Tape | None

    def provider_for(self, method: str, url: str) -> FakeProvider | None:
        """Return the provider that answers a request."""

    def refuse_outsider(self, request: Any) -> None:
        """Raise for a request that would land on a tape that is not its sender's."""
