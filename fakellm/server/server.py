"""`Server`: fake providers on a port, in a thread of this process or in an event loop that is there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from fakellm.clock.clock import Clock, InstantClock, RealClock
from fakellm.errors import BrokenReplyError, UnexpectedRequestError, clip
from fakellm.provider.answering import error_exchange
from fakellm.provider.exchange import Exchange, ProviderCall
from fakellm.provider.itself import by_itself
from fakellm.provider.provider import FakeProvider
from fakellm.script.events import Fault, disconnect, http_error, stall
from fakellm.server.bounds import KEEP, checked_keep
from fakellm.server.browsers import is_preflight, open_to_pages, preflight
from fakellm.server.connection import Answer, Connection, Playable
from fakellm.server.parsing import MAX_BODY, HttpRequest
from fakellm.server.routing import variables_of
from fakellm.server.sessions import HEADER, PLACE, Session, SessionError, Sessions
from fakellm.server.ticks import Ticks
from fakellm.wire.gateways.gateway import Gateway
from fakellm.wire.gateways.presets import gateways_of
from fakellm.wire.providers import provider_names
from fakellm.wire.service import codec_of
from fakellm.wire.wireform import WireForm, form_or_none

if TYPE_CHECKING:
    from fakellm.server.control import Control
    from fakellm.server.scenario import Scenario
    from fakellm.server.telling import Told
    from fakellm.server.watched import Watched

_INTERVAL = 0.5
"""Seconds between two looks at a file that is watched while nobody asks anything."""
_BACKLOG = 1024
"""Connections that wait to be accepted: a client of a load test opens hundreds at once."""
_NEVER_RETRY = {"x-should-retry": "false", "x-fakellm-miss": "1"}
"""Headers of an answer that says a mistake of the test; the SDKs of OpenAI and Anthropic heed the first."""


class Server:
    """Fake providers behind a port of this machine.

    `providers` are `FakeProvider`s, or names of providers; all that there are by default. Each is asked under a prefix
    of its own, `server.base_url("openai")` is what its SDK is given, or without one by path and host. Pauses are
    waited for on `clock`, by default really; a provider's own clock comes first where it has one. Ids are made of the
    request, not of how many came before, so that several servers of the same providers answer the same bytes; with
    `alike=False` they count, as in process. All answers are written in the `form`, a `WireForm` or the name of one,
    and arrive as they do `behind` gateways, a name or a list of names, the first nearest to the server.

        with Server([FakeProvider("openai").otherwise("Hello!")]) as server:
            subprocess.run(["node", "app.js"], env={**os.environ, "OPENAI_BASE_URL": server.base_url("openai")})

    A server that is told neither providers nor a scenario answers by itself, as `fakellm.provider.by_itself` has it.
    `scenario` is a file that says what is answered, a `Scenario`, or a `Watched` one, which is told anew when its file
    changes.

    As a block it runs in a thread of its own, as `async with` in the running event loop. It listens on `host`, which is
    this machine alone unless it is told otherwise, and on `port`, or on a free one; if it `shares_port`, other
    processes may listen there too. `max_body` bounds the bytes of a request's body; `request_timeout` and
    `idle_timeout` are the seconds that a client has for one request, and between two.

    It keeps the last `keep` requests of each session, and of all together no more than 256 MB; None keeps all. What was
    let go is still counted and judged.

    Requests with the header `X-Fakellm-Session: NAME` have copies of the providers to themselves; see `sessions`.
    Under `/_fakellm/` the server is scripted and watched from outside. `control` says by whom: only by this machine
    (None), by whoever reaches it (True), or by nobody (False).
    """

    def __init__(
        self,
        providers: Iterable[FakeProvider | str] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        scenario: Scenario | Watched | str | Path | None = None,
        shares_port: bool = False,
        clock: Clock | None = None,
        alike: bool = True,
        form: WireForm | str | None = None,
        behind: str | Gateway | Sequence[str | Gateway] = (),
        max_body: int = MAX_BODY,
        request_timeout: float = 60.0,
        idle_timeout: float = 75.0,
        control: bool | None = None,
        keep: int | None = KEEP,
    ) -> None:
        self._told: Told | None = None
        if scenario is not None:
            from fakellm.server.telling import Told  # what reads files costs time that a server without one has not

            if providers is not None:
                msg = "a scenario says which providers there are; name them in its file, or script them without one"
                raise TypeError(msg)
            self._told = Told(scenario)
            providers = self._told.scenario.providers()
        if providers is None:
            providers = by_themselves()
        self.providers = _fakes(providers)
        self._alike = alike
        self._form = form_or_none(form)
        self._gateways = gateways_of(behind)
        self.host = host
        self.port = port
        self.shares_port = shares_port
        self.clock = clock if clock is not None else RealClock()
        self.max_body = max_body
        self.request_timeout = request_timeout
        self.idle_timeout = idle_timeout
        self.control = control
        self.keep = keep
        for provider in self.providers:
            self._prepare(provider)
        self.sessions = Sessions(self.providers, checked_keep(keep))
        self._controller: Control | None = None
        self.connections: set[Connection] = set()
        self._server: asyncio.Server
        self._thread: threading.Thread
        self._stopped: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._looking: asyncio.TimerHandle | None = None

    def _prepare(self, provider: FakeProvider) -> None:
        """Let a provider answer as it does here."""
        if provider.answers_alike is not self._alike:
            provider.answers_alike = self._alike
        if self._form is not None:
            provider.speak(self._form)
        if self._gateways:
            provider.behind(*self._gateways)
        if type(provider.clock) is InstantClock:
            provider.counted_on = self.clock
        provider.is_served = True

    # -- running --------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where it is: `http://127.0.0.1:PORT`."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "") else self.host  # noqa: S104 - as it is reached from here
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def base_url(self, name: str) -> str:
        """Return what the SDK of a provider is given as its base URL."""
        return self.sessions.own.router.base_url(self.url, name)

    async def __aenter__(self) -> Self:
        """Listen, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self.sessions.begin()
        ticks = Ticks(self._loop)
        self._server = await self._loop.create_server(
            lambda: self._connection(ticks),
            self.host,
            self.port,
            reuse_port=self.shares_port or None,
            backlog=_BACKLOG,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._look_at_scenario()
        return self

    def _look_at_scenario(self) -> None:
        """Look now and then whether the file of a watched scenario has changed."""
        if self._told is not None and self._told.is_watched:
            self._read_again(self._told)
            self._looking = self._loop.call_later(_INTERVAL, self._look_at_scenario)

    def _read_again(self, told: Told) -> None:
        """Tell the providers of all sessions anew if the file has changed."""
        if (found := told.again()) is None:
            return
        self.providers[:] = found.providers(self.providers)
        for provider in self.providers:
            self._prepare(provider)
        self.sessions.tell_again(self.providers)

    async def __aexit__(self, *error: object) -> None:
        """Listen no more, and end what is played."""
        self._server.close()
        if self._looking is not None:
            self._looking.cancel()
        for connection in list(self.connections):
            connection.stop()
        while self.connections:  # noqa: ASYNC110 - each is told in the loop's next round
            await asyncio.sleep(0)

    async def drain(self, seconds: float) -> bool:
        """Listen no more, and let what is played end within so many seconds. Return whether all of it did.

        To be called in the server's loop, before its block is left, which ends what still plays.
        """
        self._server.close()
        for connection in list(self.connections):
            connection.finish()
        until = self._loop.time() + seconds
        while not (is_done := all(one.is_settled for one in self.connections)) and self._loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return is_done

    def __enter__(self) -> Self:
        """Listen, in a thread of its own."""
        ready = threading.Event()
        failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(ready, failed), name="fakellm-server", daemon=True)
        self._thread.start()
        ready.wait()
        if failed:
            self._thread.join()
            raise failed[0]
        return self

    def __exit__(self, *error: object) -> None:
        """Listen no more, and end what is played."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def _run(self, ready: threading.Event, failed: list[BaseException]) -> None:
        async def main() -> None:
            self._stopped = asyncio.Event()
            async with self:
                ready.set()
                await self._stopped.wait()

        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001 - raised by who waits for the server
            failed.append(error)
        finally:
            ready.set()

    # -- answering ------------------------------------------------------------------------------------

    def _connection(self, ticks: Ticks) -> Connection:
        connection = Connection(lambda request: self._answer(request, connection), self, self.connections, ticks)
        return connection

    def _answer(self, request: HttpRequest, connection: Connection) -> Playable:
        """Return the answer to a request to a provider of a session, or about the server itself."""
        session = self.sessions.own
        try:
            if request.target.startswith(PLACE):
                if (placed := self.sessions.placed(request.target)) is None:
                    return self._controlled(request, connection.peer)
                name, request.target = placed
                session = self.sessions.named(name)
            elif HEADER in request.headers:
                session = self.sessions.of(request.headers)
        except SessionError as error:
            nearest = session.router.nearest(request.target)
            return self._refusal(nearest, request, request.target, http_error(400, str(error)))
        if "origin" not in request.headers:
            return self._provided(session, request)
        if is_preflight(request.method, request.headers):
            return Answer(preflight(request.method, request.target, request.headers), self.clock)
        answer = self._provided(session, request)
        open_to_pages(answer.exchange)
        return answer

    def _provided(self, session: Session, request: HttpRequest) -> Answer:
        """Return the answer of a provider; what is a mistake of the test comes as an error of the provider's."""
        if self._told is not None:
            self._read_again(self._told)
        provider, url = session.router.find(request.method, request.target, request.headers)
        if provider is None:
            return self._unknown(session, request, url)
        clock = provider.clock if type(provider.clock) is not InstantClock else self.clock
        try:
            exchange = provider.handle(request.method, url, request.headers, request.body)
            zips = provider.zips and not exchange.is_coded
            answer = Answer(exchange, clock, zips=zips)
        except UnexpectedRequestError as miss:
            status = 500 if isinstance(miss, BrokenReplyError) else 400
            answer = self._refusal(provider, request, url, http_error(status, str(miss), code="no_reply"))
            session.note(provider, answer.exchange, provider.calls[-1], miss)
            return answer
        except TimeoutError:
            answer = Answer(_broken(provider.calls[-1], stall("headers")), clock)
        except Exception:  # noqa: BLE001 - what a reply raises is what breaks the connection, as in process
            answer = Answer(_broken(provider.calls[-1], disconnect("no_response")), clock)
        session.note(provider, answer.exchange, answer.exchange.call)
        return answer

    def _controlled(self, request: HttpRequest, peer: str) -> Answer:
        if self._controller is None:
            from fakellm.server.control import Control  # loads pydantic

            self._controller = Control(self)
        return self._controller.answer(request, peer)

    def _unknown(self, session: Session, request: HttpRequest, url: str) -> Answer:
        provider = session.router.nearest(url)
        why = f"no provider of this server knows {request.method} {request.target.partition('?')[0]}"
        remedy = f"it answers {', '.join(self.sessions.own.router.known())}"
        answer = self._refusal(provider, request, url, http_error(404, text := f"{why}\n  to do:     {remedy}"))
        session.stray(answer.exchange, text)
        return answer

    def _refusal(self, provider: FakeProvider, request: HttpRequest, url: str, fault: http_error) -> Answer:
        call = ProviderCall(request.method, url, request.headers, request.body)
        codec = codec_of(provider.service.endpoints[0], provider.profile)
        return Answer(error_exchange(call, codec, fault, headers=_NEVER_RETRY), self.clock)


def _broken(call: ProviderCall, fault: Fault) -> Exchange:
    return Exchange(call, 0, [], [], [fault])


def environment(server: Server) -> Mapping[str, str]:
    """Return the variables that point the SDKs of the server's providers to it."""
    found: dict[str, str] = {}
    for provider in server.providers:
        found |= variables_of(provider, server.base_url(provider.name))
    return found


def by_themselves() -> list[FakeProvider]:
    """Return a fake of each provider that answers by itself."""
    return [FakeProvider(name).otherwise(by_itself) for name in provider_names()]


def _fakes(given: Iterable[FakeProvider | str]) -> list[FakeProvider]:
    """Return fakes of what a server is given. Raises `TypeError` for what is no list of providers or their names."""
    if isinstance(given, (FakeProvider, str)) or not isinstance(given, Iterable):
        hint = f"; write Server([{given!r}])" if isinstance(given, (FakeProvider, str)) else ""
        msg = f"a server has a list of fake providers, or of their names, not {clip(repr(given), 80)}{hint}"
        raise TypeError(msg)
    fakes = [FakeProvider(one) if isinstance(one, str) else one for one in given]
    for one in fakes:
        if not isinstance(one, FakeProvider):
            msg = f"a server has fake providers, or their names, not {clip(repr(one), 80)}"
            raise TypeError(msg)
    return fakes
