"""Fake providers behind httpx and httpx2: the shells that play an exchange, synchronous and asynchronous.

The library is passed in as a module, since httpx2 is a fork of httpx with the same names; what is made for one is made
of that one's own classes. `transport(provider, httpx2)` is for `http_client=httpx2.Client(transport=...)`; to answer
clients that the app makes by itself see `fakellm.http.interception`.
"""

from __future__ import annotations

import math
from functools import cache
from types import ModuleType
from typing import Any, Self

from fakellm.clock.clock import Clock, VirtualClock
from fakellm.http.player import Player, error_of
from fakellm.http.pool import Connection, Reading
from fakellm.provider.exchange import Exchange
from fakellm.provider.provider import FakeProvider


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
    raise error_of(module, request, "PoolTimeout", asynchronous=False)


async def _aconnect(reading: Reading, clock: Clock, module: ModuleType, request: Any) -> Connection | None:
    if not isinstance(clock, VirtualClock):
        return None
    if connection := reading.connect() or await reading.connect_within(_patience(request)):
        return connection
    raise error_of(module, request, "PoolTimeout", asynchronous=True)


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
    responses: ModuleType | None = None,
) -> Player:
    """Return what plays an exchange for a request; `open` or `aopen` it for the response, one of `responses`."""
    player = Player(module, exchange, clock, request, responses=responses)
    player.use(reading, connection)
    return player


def cut(reading: Reading) -> None:
    """Take that a client closed its connections: who still reads gets the error of a closed socket."""
    for player in list(reading):
        player.cut()
