"""A tape between clients and the network: what is on it is played, what may be recorded goes out and is recorded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from fakellm.cassette.tape import Tape
from fakellm.http.pool import Reading
from fakellm.http.transports import play
from fakellm.provider.exchange import Exchange


def through(tape: Tape, module: ModuleType, request: Any, reading: Reading, send: Callable[[Any], Any]) -> Any:
    """Return the response to a request of a synchronous client; `send` sends it out."""
    if not tape.is_open:
        return send(request)
    answer = tape.ask(module, request.method, str(request.url), request.headers, request.read())
    if isinstance(answer, Exchange):
        return play(module, answer, tape.clock, request, reading).open()
    with answer:
        return _read_over(reading, answer.record(send(request)))


async def athrough(
    tape: Tape, module: ModuleType, request: Any, reading: Reading, send: Callable[[Any], Awaitable[Any]]
) -> Any:
    """Return the response to a request of an asynchronous client; `send` sends it out."""
    if not tape.is_open:
        return await send(request)
    answer = tape.ask(module, request.method, str(request.url), request.headers, await request.aread())
    if isinstance(answer, Exchange):
        return await play(module, answer, tape.clock, request, reading).aopen()
    with answer:
        return _read_over(reading, answer.record(await send(request)))


def _read_over(reading: Reading, response: Any) -> Any:
    """Let a client that closes its connections end what is recorded of the response."""
    if hasattr(response.stream, "cut"):
        reading.add(response.stream)
    return response
