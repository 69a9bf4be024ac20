"""How chunks reach a consumer, and what it makes of them: with `for` and with `async for`, returned or yielded."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from fakellm.concurrency import checkpointer
from fakellm.errors import ContractUsageError


class Chunks(list[Any]):
    """A list of chunks that can also be read with `async for`; other tasks run before each chunk."""

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Yield the chunks."""
        checkpoint = checkpointer()
        for chunk in self:
            await checkpoint()
            yield chunk


class Stream:
    """Chunks as a stream gives them: once, with `for` or `async for`."""

    def __init__(self, chunks: Iterable[Any]) -> None:
        self._chunks = iter(chunks)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._chunks)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        await checkpointer()()
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


def joined(pieces: list[Any]) -> Any:
    """Return the text that the pieces add up to where all are text or all are bytes, else the pieces."""
    if all(isinstance(piece, str) for piece in pieces):
        return "".join(pieces)
    if all(isinstance(piece, bytes) for piece in pieces):
        return b"".join(pieces)
    return pieces


def settle(result: Any, gather: Callable[[list[Any]], Any] = joined) -> Any:
    """Return what a consumer's result comes to: awaited, or if it is a stream read to its end and gathered.

    Asynchronous results are awaited on a new event loop in virtual time. Raises what the consumer raises.
    """
    if inspect.isawaitable(result) or isinstance(result, AsyncIterator):
        result = _run(result)
    return gather([*result]) if isinstance(result, (Iterator, _Pieces)) else result


class _Pieces(list[Any]):
    """What an asynchronous generator yielded."""


def _run(result: Any) -> Any:
    """Run it in a new event loop. Raises `ContractUsageError` inside another."""
    from asyncio import _get_running_loop

    from fakellm.clock.virtual_loop import run

    if _get_running_loop() is None:
        return run(_settle(result))
    if inspect.iscoroutine(result):
        result.close()
    msg = "asynchronous code under test gets an event loop of its own, so do not call this inside a running event loop"
    raise ContractUsageError(msg)


async def _settle(result: Any) -> Any:
    if inspect.isawaitable(result):
        result = await result
    return _Pieces([piece async for piece in result]) if isinstance(result, AsyncIterator) else result
