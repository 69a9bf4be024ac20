"""`Proxy`: real providers behind a port, each under a prefix as fake ones are, and what is asked recorded."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from urllib.request import getproxies_environment

from fakellm.cassette.session import Session
from fakellm.errors import explain
from fakellm.http.framing import head_of
from fakellm.provider.actions import Timeouts
from fakellm.provider.answering import error_exchange
from fakellm.provider.exchange import ProviderCall
from fakellm.provider.provider import FakeProvider
from fakellm.proxy.lines import Lines, why_not
from fakellm.proxy.relay import Relay
from fakellm.proxy.upstreams import Upstream
from fakellm.script.events import http_error
from fakellm.server.connection import Connection, Playable
from fakellm.server.parsing import HttpRequest
from fakellm.server.routing import variables_of
from fakellm.server.server import Server
from fakellm.server.ticks import Ticks
from fakellm.wire.service import codec_of

_UNREACHED = {"x-should-retry": "false", "x-fakellm-unreached": "1"}
"""Headers of the answer that an upstream cannot be reached; the SDKs of OpenAI and Anthropic heed the first."""


@dataclass(frozen=True, slots=True)
class _Forwarded:
    """A request that goes on."""

    proxy: Proxy
    provider: FakeProvider
    upstream: Upstream
    target: str

    def begun(
        self, transport: asyncio.Transport, request: HttpRequest, done: Callable[[], None], ticks: Ticks
    ) -> Relay:
        """Return what takes it there, and its answer back."""
        del ticks
        return Relay(
            transport,
            request,
            self.upstream,
            self.target,
            lines=self.proxy.lines,
            session=self.proxy.session,
            refuse=partial(self.proxy.refused, self, request),
            failed=partial(self.proxy.failed, self.upstream),
            done=done,
        )


class Proxy(Server):
    """Providers at their URLs, behind a port of this machine.

    What is asked under a provider's prefix goes on to it, and its answer back, chunk by chunk; a `session` records it.
    `failures` has what went wrong with upstreams, worded, and how often.
    """

    def __init__(
        self, upstreams: Mapping[str, Upstream], session: Session, *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        super().__init__([FakeProvider(name) for name in upstreams], host=host, port=port, control=False)
        self.upstreams = upstreams
        self.session = session
        self.lines = Lines()
        self.failures: Counter[str] = Counter()
        self.calls = 0

    async def __aexit__(self, *error: object) -> None:
        """Listen no more, and end what is under way."""
        await super().__aexit__(*error)
        self.lines.close()

    def environment(self) -> dict[str, str]:
        """Return the variables that point the SDKs to the proxy; the keys stay those that they have."""
        found: dict[str, str] = {}
        for provider in self.providers:
            variables = variables_of(provider, self.base_url(provider.name))
            found |= {name: value for name, value in variables.items() if name == provider.service.base_url}
        return found

    def _answer(self, request: HttpRequest, connection: Connection) -> Playable:  # noqa: ARG002 - the server's name
        """Return what takes a request on; one that no provider knows is refused."""
        self.calls += 1
        session = self.sessions.own
        provider, url = session.router.find(request.method, request.target, request.headers)
        if provider is None:
            self.failures[f"no provider knows {request.method} {request.target.partition('?')[0]}"] += 1
            return self._unknown(session, request, url)
        upstream = self.upstreams[provider.name]
        path = url.partition("://")[2]
        return _Forwarded(self, provider, upstream, upstream.target_of(path[path.find("/") :]))

    def failed(self, upstream: Upstream, why: str) -> None:
        """Note that an upstream did not answer."""
        self.failures[f"{upstream.name} at {upstream}: {why}"] += 1

    def refused(self, forwarded: _Forwarded, request: HttpRequest, error: OSError) -> bytes:
        """Return the answer to a request whose upstream cannot be reached, in the form of the provider's errors."""
        upstream, why = forwarded.upstream, why_not(error)
        self.failed(upstream, f"it could not be reached: {why}")
        remedy = [f"look whether it is there, or name another: --upstream {upstream.name}=URL"]
        if getproxies_environment().get(upstream.place.scheme):
            remedy.append("the environment names a proxy, which fakellm does not use")
        text = explain(f"fakellm could not reach {upstream}: {why}", remedy=remedy)
        status = 504 if isinstance(error, TimeoutError) else 502
        call = ProviderCall(request.method, f"{upstream.place}{forwarded.target}", request.headers, request.body)
        codec = codec_of(forwarded.provider.service.endpoints[0])
        fault = http_error(status, text, code="upstream_unreachable")
        exchange = error_exchange(call, codec, fault, headers=_UNREACHED)
        head, _ = head_of(exchange)
        pieces = [piece for run in exchange.body(Timeouts()) if isinstance(run, Iterator) for piece in run]
        return b"".join([head, *([] if request.method == "HEAD" else pieces)])
