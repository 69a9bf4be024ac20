"""Fake providers behind httpx and httpx2: the shells that play an exchange, synchronous and asynchronous.

The library is passed in as a module, since httpx2 is a fork of httpx with the same names; what is made for one is made
of that one's own classes. `transport(provider, httpx2)` is for `http_client=httpx2.Client(transport=...)`; to answer
clients that the app makes by itself see `fakellm.http.interception`.
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Iterator
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, Self
from urllib.parse import urlsplit

from fakellm.clock.clock import Clock, VirtualClock, timed_stream
from fakellm.concurrency import checkpointer
from fakellm.http.pool import Connection, Reading
from fakellm.provider.exchange import Exchange, Failure, Timeouts
from fakellm.provider.provider import FakeProvider

_GONE = "Server disconnected without sending a response."
_CLOSED = "peer closed connection without sending complete message body (incomplete chunked read)"
_ERRORS: dict[str, tuple[str, str, str]] = {
    "refused": ("ConnectError", "[Errno 111] Connection refused", "All connection attempts failed"),
    "connect_timeout": ("ConnectTimeout", "timed out", ""),
    "no_response": ("RemoteProtocolError", _GONE, _GONE),
    "read_timeout": ("ReadTimeout", "timed out", ""),
    "reset": ("ReadError", "[Errno 104] Connection reset by peer", ""),
    "close": ("RemoteProtocolError", _CLOSED, _CLOSED),
    "client_closed": ("ReadError", "[Errno 9] Bad file descriptor", ""),
}
"""A failure -> the exception that httpx raises for it over a real socket, and its message, synchronous and not."""


def _error_of(module: ModuleType, request: Any, kind: str, *, asynchronous: bool) -> Exception:
    name, *messages = _ERRORS.get(kind, (kind, "", ""))  # of a recording, the name itself
    error: Exception = getattr(module, name)(messages[asynchronous], request=request)
    core = import_module(module.__name__.replace("httpx", "httpcore"))
    if inner := getattr(core, name, None):  # what it wraps, for an app that looks at the causes
        error.__cause__ = inner(messages[asynchronous])
    return error


class _Player:
    """Plays an exchange for one request of a client."""

    def __init__(
        self,
        module: ModuleType,
        exchange: Exchange,
        clock: Clock,
        request: Any,
        *,
        responses: ModuleType | None = None,
    ) -> None:
        self._module = module
        self._responses = responses or module
        self._exchange = exchange
        self._clock = clock
        self._request = request
        self._is_cut = False
        self._reading: Reading | None = None
        self._connection: Connection | None = None
        self._log = timed_stream(clock, f"{request.method} {request.url}")
        timeout = request.extensions.get("timeout") or {}
        self._timeouts = Timeouts(timeout.get("connect"), timeout.get("read"))

    def _error(self, kind: str, *, asynchronous: bool = False) -> Exception:
        error = _error_of(self._module, self._request, kind, asynchronous=asynchronous)
        self._exchange.call.fail(error)
        return error

    def open(self) -> Any:
        """Wait for the headers; return the response."""
        with _noting(self):
            for action in self._exchange.opening(self._timeouts):
                if isinstance(action, Failure):
                    raise self._error(action.kind)
                self._clock.sleep(action)
        return self._response()

    async def aopen(self) -> Any:
        """Wait for the headers; return the response."""
        with _noting(self):
            await checkpointer()()
            for action in self._exchange.opening(self._timeouts):
                if isinstance(action, Failure):
                    raise self._error(action.kind, asynchronous=True)
                await self._clock.asleep(action)
        return self._response()

    def _response(self) -> Any:
        if self._log is not None:
            self._log.note("status", str(self._exchange.status))
        return _response_class(self._responses)(self, self._exchange)

    def pieces(self) -> Iterator[bytes]:
        """Yield the pieces of the body as they come."""
        self._check()
        actions = self._exchange.body(self._timeouts)  # a name of its own: it ends after what ends it is noted
        with _noting(self, ends=True):
            for action in actions:
                if isinstance(action, Failure):
                    raise self._error(action.kind)
                if isinstance(action, (int, float)):
                    self._clock.sleep(action)
                    continue
                # it ends early if the client closes its connections
                yield from action if self._log is None else self._log.each(action)
                self._check()

    async def apieces(self, response: Any = None) -> AsyncIterator[bytes]:
        """Yield the pieces of the body as they come; other tasks run before each.

        Of a `response` it is read in place of its own `aiter_bytes`: a second generator around this one would cost
        each piece a fifth of what the SDK makes of it.
        """
        if response is not None:
            if not response.begins():  # somebody read it since this was made
                async for piece in response.aiter_bytes():
                    yield piece
                return
            response.is_stream_consumed = True
        let_others_run = checkpointer()
        self._check(asynchronous=True)
        actions = self._exchange.body(self._timeouts)
        try:
            with _noting(self, ends=True):
                for action in actions:
                    if isinstance(action, Failure):
                        raise self._error(action.kind, asynchronous=True)
                    if isinstance(action, (int, float)):
                        await self._clock.asleep(action)
                        continue
                    for piece in action if self._log is None else self._log.each(action):
                        await let_others_run()
                        yield piece
                        if self._is_cut:
                            self._check(asynchronous=True)
        finally:
            if response is not None:
                await response.aclose()

    def _check(self, *, asynchronous: bool = False) -> None:
        """Raise if the client closed its connections meanwhile."""
        if self._is_cut:
            raise self._error("client_closed", asynchronous=asynchronous)

    @property
    def delivered(self) -> int:
        """How many bytes the client took."""
        return self._exchange.call.delivered

    def use(self, reading: Reading, connection: Connection | None) -> None:
        """Let the answer be read over a connection of a transport."""
        reading.add(self)
        self._reading, self._connection = reading, connection

    def end(self, error: BaseException | None) -> None:
        """Note what ends the playing, which frees the connection if that is an error."""
        if self._log is not None:
            self._log.end(error)
        if isinstance(error, GeneratorExit):
            self.close()
        elif error is not None:
            self._exchange.call.fail(error)
            self._release()

    def close(self) -> None:
        """Take that the client is done with the response."""
        self._exchange.close()
        self._release()

    def _release(self) -> None:
        if self._reading is not None:
            self._reading.release(self._connection)

    def cut(self) -> None:
        """Take that the client closed its connections; whoever reads on gets the error of a closed socket."""
        self._is_cut = True
        self.close()
        self._exchange.call.drop()


class _noting:  # noqa: N801 - a context manager, cheaper than a generator
    """Notes what ends the playing of an exchange."""

    def __init__(self, player: _Player, *, ends: bool = False) -> None:
        self._player = player
        self._ends = ends

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._ends or error is not None:
            self._player.end(error)


@cache
def _stream_class(module: ModuleType) -> Any:
    """Return the body of a response, made of the library's own kind."""

    class Stream(module.SyncByteStream, module.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, player: _Player) -> None:
            self._player = player

        def __iter__(self) -> Iterator[bytes]:
            return self._player.pieces()

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self._player.apieces()

        def close(self) -> None:
            self._player.close()

        async def aclose(self) -> None:
            self._player.close()

    return Stream


def _is_bare(module: ModuleType, stream: Any) -> bool:
    """Tell whether nobody stands between client and script: a tape that records, say, puts a stream of its own."""
    is_clients = type(stream).__module__ == f"{module.__name__}._client"
    return isinstance(getattr(stream, "_stream", None) if is_clients else stream, _stream_class(module))


@cache
def _response_class(module: ModuleType) -> Any:
    """Return the class of responses, made of the library's own."""

    class Response(module.Response):  # type: ignore[misc, name-defined]
        """A response whose `iter_bytes`, which SDKs read streams with, has no layers between client and script."""

        def __init__(self, player: _Player, exchange: Exchange) -> None:
            extensions = {"http_version": exchange.version.encode()}
            if exchange.reason is not None:
                extensions["reason_phrase"] = exchange.reason.encode("utf-8", "surrogateescape")
            stream = _stream_class(module)(player)
            super().__init__(exchange.status, headers=exchange.raw_headers, stream=stream, extensions=extensions)
            self._player = player

        @property
        def num_bytes_downloaded(self) -> int:
            return self._player.delivered

        def begins(self) -> bool:
            """Tell whether nobody read it yet, so that the player's own pieces are what is read."""
            return self._is_plain(None, module.AsyncByteStream)

        def _is_plain(self, chunk_size: int | None, kind: type) -> bool:
            used = self.is_stream_consumed or self.is_closed or hasattr(self, "_content")
            is_whole = chunk_size is None and "content-encoding" not in self.headers
            return is_whole and not used and isinstance(self.stream, kind) and _is_bare(module, self.stream)

        def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
            if not self._is_plain(chunk_size, module.SyncByteStream):
                yield from super().iter_bytes(chunk_size)
                return
            self.is_stream_consumed = True
            try:
                yield from self._player.pieces()
            finally:
                self.close()

        def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
            if self._is_plain(chunk_size, module.AsyncByteStream):
                return self._player.apieces(self)
            return super().aiter_bytes(chunk_size)  # type: ignore[no-any-return]

    return Response


@cache
def _transport_class(module: ModuleType) -> Any:
    """Return the class of transports, made of the library's own."""

    class Transport(module.BaseTransport, module.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        def __init__(self, provider: FakeProvider) -> None:
            self._provider = provider
            self._reading = Reading()

        def __enter__(self) -> Self:
            return self

        async def __aenter__(self) -> Self:
            return self

        def handle_request(self, request: Any) -> Any:
            return answer(self._provider, module, request, self._reading)

        async def handle_async_request(self, request: Any) -> Any:
            return await aanswer(self._provider, module, request, self._reading)

        def close(self) -> None:
            cut(self._reading)

        async def aclose(self) -> None:
            cut(self._reading)

    return Transport


def transport(provider: FakeProvider, module: ModuleType) -> Any:
    """Return a transport, synchronous and asynchronous, that asks the provider for every answer.

    `module` is `httpx` or `httpx2`, whichever the client is made of: `openai.OpenAI(http_client=httpx2.Client(
    transport=transport(provider, httpx2)))`. Silences are waited for on the provider's clock, where the client's
    connect and read timeouts fall too, and a connection that fails raises the library's own exception.
    """
    return _transport_class(module)(provider)


def mount(provider: FakeProvider, router: Any, module: ModuleType, **patterns: Any) -> Any:
    """Let the provider answer on a respx router, beside the routes that are there; return its route.

    `module` is the library whose requests the router sees: `httpx`, or `httpx2` for the router of pytest-httpx2 and
    others that stand before httpx2. `patterns` are respx's own; by default the provider's hosts. Silence before
    the headers blocks, on clocks that really wait.
    """
    import httpx  # respx makes its responses of it, whichever library asks

    def side_effect(request: Any) -> Any:
        exchange = provider.handle(request.method, str(request.url), request.headers, request.read())
        return _Player(module, exchange, provider.clock, request, responses=httpx).open()

    own = "|".join(
        [
            provider.service.hosts.pattern,
            *(f"^{re.escape(urlsplit(f'//{host}').hostname or '')}$" for host in provider.hosts),
        ]
    )
    return router.route(**(patterns or {"host__regex": own})).mock(side_effect=side_effect)


def answer(provider: FakeProvider, module: ModuleType, request: Any, reading: Reading) -> Any:
    """Return the provider's response to a request of a synchronous client, which reads it over `reading`."""
    body = request.read()
    connection = _connect(reading, provider.clock, module, request)
    exchange = provider.handle(request.method, str(request.url), request.headers, body)
    return play(module, exchange, provider.clock, request, reading, connection).open()


async def aanswer(provider: FakeProvider, module: ModuleType, request: Any, reading: Reading) -> Any:
    """Return the provider's response to a request of an asynchronous client, which reads it over `reading`."""
    body = await request.aread()
    connection = await _aconnect(reading, provider.clock, module, request)
    exchange = provider.handle(request.method, str(request.url), request.headers, body)
    return await play(module, exchange, provider.clock, request, reading, connection).aopen()


def _connect(reading: Reading, clock: Clock, module: ModuleType, request: Any) -> Connection | None:
    """Wait for a connection as long as the client does, in virtual time; raise the library's `PoolTimeout`."""
    if not isinstance(clock, VirtualClock):
        return None
    if connection := reading.connect():
        return connection
    clock.sleep(_patience(request))
    if connection := reading.connect():
        return connection
    raise _error_of(module, request, "PoolTimeout", asynchronous=False)


async def _aconnect(reading: Reading, clock: Clock, module: ModuleType, request: Any) -> Connection | None:
    if not isinstance(clock, VirtualClock):
        return None
    if connection := reading.connect() or await reading.connect_within(_patience(request)):
        return connection
    raise _error_of(module, request, "PoolTimeout", asynchronous=True)


def _patience(request: Any) -> float:
    seconds: float | None = (request.extensions.get("timeout") or {}).get("pool")
    return math.inf if seconds is None else seconds


def play(
    module: ModuleType,
    exchange: Exchange,
    clock: Clock,
    request: Any,
    reading: Reading,
    connection: Connection | None = None,
) -> _Player:
    """Return what plays an exchange for a request; `open` or `aopen` it for the response."""
    player = _Player(module, exchange, clock, request)
    player.use(reading, connection)
    return player


def cut(reading: Reading) -> None:
    """Take that a client closed its connections: who still reads gets the error of a closed socket."""
    for player in list(reading):
        player.cut()
