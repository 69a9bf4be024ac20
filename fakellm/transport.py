"""Fake providers behind httpx and httpx2: the shells that play an exchange, synchronous and asynchronous.

The library is passed in as a module, since httpx2 is a fork of httpx with the same names; what is made for one is made
of that one's own classes. `transport(provider, httpx2)` is for `http_client=httpx2.Client(transport=...)`; to answer
clients that the app makes by itself see `fakellm.intercept`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from functools import cache
from types import ModuleType
from typing import Any, Self
from urllib.parse import urlsplit

from fakellm.clock import Clock
from fakellm.concurrency import checkpointer, closing
from fakellm.exchange import Exchange, Failure, Kind, Timeouts
from fakellm.provider import FakeProvider

_GONE = "Server disconnected without sending a response."
_CLOSED = "peer closed connection without sending complete message body (incomplete chunked read)"
_ERRORS: dict[Kind, tuple[str, str, str]] = {
    "refused": ("ConnectError", "[Errno 111] Connection refused", "All connection attempts failed"),
    "connect_timeout": ("ConnectTimeout", "timed out", ""),
    "no_response": ("RemoteProtocolError", _GONE, _GONE),
    "read_timeout": ("ReadTimeout", "timed out", ""),
    "reset": ("ReadError", "[Errno 104] Connection reset by peer", ""),
    "close": ("RemoteProtocolError", _CLOSED, _CLOSED),
}
"""A failure -> the exception that httpx raises for it over a real socket, and its message, synchronous and not."""


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
        timeout = request.extensions.get("timeout") or {}
        self._timeouts = Timeouts(timeout.get("connect"), timeout.get("read"))

    def _error(self, failure: Failure, *, asynchronous: bool = False) -> Exception:
        name, *messages = _ERRORS[failure.kind]
        error: Exception = getattr(self._module, name)(messages[asynchronous], request=self._request)
        self._exchange.call.fail(error)
        return error

    def open(self) -> Any:
        """Wait for the headers; return the response."""
        with _noting(self._exchange):
            for action in self._exchange.opening(self._timeouts):
                if isinstance(action, Failure):
                    raise self._error(action)
                self._clock.sleep(action)
        return self._response()

    async def aopen(self) -> Any:
        """Wait for the headers; return the response."""
        with _noting(self._exchange):
            await checkpointer()()
            for action in self._exchange.opening(self._timeouts):
                if isinstance(action, Failure):
                    raise self._error(action, asynchronous=True)
                await self._clock.asleep(action)
        return self._response()

    def _response(self) -> Any:
        return _response_class(self._responses)(self, self._exchange.status, self._exchange.headers)

    def pieces(self) -> Iterator[bytes]:
        """Yield the pieces of the body as they come."""
        with _noting(self._exchange):
            for action in self._exchange.body(self._timeouts):
                if isinstance(action, Failure):
                    raise self._error(action)
                if isinstance(action, float):
                    self._clock.sleep(action)
                else:
                    yield from action

    async def apieces(self) -> AsyncIterator[bytes]:
        """Yield the pieces of the body as they come; other tasks run before each."""
        let_others_run = checkpointer()
        with _noting(self._exchange):
            for action in self._exchange.body(self._timeouts):
                if isinstance(action, Failure):
                    raise self._error(action, asynchronous=True)
                if isinstance(action, float):
                    await self._clock.asleep(action)
                    continue
                for piece in action:
                    await let_others_run()
                    yield piece

    @property
    def delivered(self) -> int:
        """How many bytes the client took."""
        return self._exchange.call.delivered

    def close(self) -> None:
        """Take that the client is done with the response."""
        self._exchange.close()


class _noting:  # noqa: N801 - a context manager, cheaper than a generator
    """Notes in the log what ends the playing of an exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, GeneratorExit):
            self._exchange.close()
        elif error is not None:
            self._exchange.call.fail(error)


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


@cache
def _response_class(module: ModuleType) -> Any:
    """Return the class of responses, made of the library's own."""

    class Response(module.Response):  # type: ignore[misc, name-defined]
        """A response whose `iter_bytes`, which SDKs read streams with, has no layers between client and script."""

        def __init__(self, player: _Player, status: int, headers: list[tuple[str, str]]) -> None:
            extensions = {"http_version": b"HTTP/1.1"}
            stream = _stream_class(module)(player)
            super().__init__(status, headers=headers, stream=stream, extensions=extensions)
            self._player = player

        @property
        def num_bytes_downloaded(self) -> int:
            return self._player.delivered

        def _is_plain(self, chunk_size: int | None) -> bool:
            used = self.is_stream_consumed or self.is_closed or hasattr(self, "_content")
            return not used and chunk_size is None and "content-encoding" not in self.headers

        def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
            plain = self._is_plain(chunk_size)
            return self._iter_plain() if plain else super().iter_bytes(chunk_size)

        def _iter_plain(self) -> Iterator[bytes]:
            self.is_stream_consumed = True
            try:
                yield from self._player.pieces()
            finally:
                self.close()

        def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
            plain = self._is_plain(chunk_size)
            return self._aiter_plain() if plain else super().aiter_bytes(chunk_size)

        async def _aiter_plain(self) -> AsyncIterator[bytes]:
            self.is_stream_consumed = True
            pieces = self._player.apieces()
            try:
                async with closing(pieces):
                    async for piece in pieces:
                        yield piece
            finally:
                await self.aclose()

    return Response


@cache
def _transport_class(module: ModuleType) -> Any:
    """Return the class of transports, made of the library's own."""

    class Transport(module.BaseTransport, module.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        def __init__(self, provider: FakeProvider) -> None:
            self._provider = provider

        def __enter__(self) -> Self:
            return self

        async def __aenter__(self) -> Self:
            return self

        def handle_request(self, request: Any) -> Any:
            return answer(self._provider, module, request)

        async def handle_async_request(self, request: Any) -> Any:
            return await aanswer(self._provider, module, request)

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


def answer(provider: FakeProvider, module: ModuleType, request: Any) -> Any:
    """Return the provider's response to a request of a synchronous client."""
    return _player(provider, module, request, request.read()).open()


async def aanswer(provider: FakeProvider, module: ModuleType, request: Any) -> Any:
    """Return the provider's response to a request of an asynchronous client."""
    return await _player(provider, module, request, await request.aread()).aopen()


def _player(provider: FakeProvider, module: ModuleType, request: Any, body: bytes) -> _Player:
    exchange = provider.handle(request.method, str(request.url), request.headers, body)
    return _Player(module, exchange, provider.clock, request)
