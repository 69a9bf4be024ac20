"""What plays an exchange to a client of httpx or httpx2, and the response that it is read from.

The library is passed in as a module; see `fakellm.http.transports`. Synchronous and asynchronous are two readings of
one exchange, which has no I/O in it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from fakellm.clock.clock import Clock
from fakellm.concurrency import checkpoint, checkpointer
from fakellm.http.pool import Connection, Reading
from fakellm.provider.actions import Failure, Timeouts
from fakellm.provider.exchange import Exchange

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


def error_of(module: ModuleType, request: Any, kind: str, *, asynchronous: bool) -> Exception:
    """Return the library's exception for a failure."""
    name, *messages = _ERRORS.get(kind, (kind, "", ""))  # of a recording, the name itself
    error: Exception = getattr(module, name)(messages[asynchronous], request=request)
    core = import_module(module.__name__.replace("httpx", "httpcore"))
    if inner := getattr(core, name, None):  # what it wraps, for an app that looks at the causes
        error.__cause__ = inner(messages[asynchronous])
    return error


class Player:
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
        self._log = exchange.timed(clock)
        timeout = request.extensions.get("timeout") or {}
        self._timeouts = Timeouts(timeout.get("connect"), timeout.get("read"))

    def _error(self, kind: str, *, asynchronous: bool = False) -> Exception:
        error = error_of(self._module, self._request, kind, asynchronous=asynchronous)
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
            await checkpoint()
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

    async def apieces(self, response: Any = None) -> AsyncIterator[bytes]:  # noqa: C901 - one generator, see below
        """Yield the pieces of the body as they come; other tasks run before each.

        With a `response` this stands for its `aiter_bytes`: a second generator around this one would cost each piece
        as much as the first.
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
                        if (turn := let_others_run()) is not None:
                            await turn
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

    def __del__(self) -> None:
        """Take that nobody has the response any more; its connection is free by itself (`fakellm.http.pool`)."""
        exchange = getattr(self, "_exchange", None)
        if exchange is not None and exchange.call.state == "running":
            exchange.close()

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

    def __init__(self, player: Player, *, ends: bool = False) -> None:
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
        def __init__(self, player: Player) -> None:
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

        def __init__(self, player: Player, exchange: Exchange) -> None:
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
