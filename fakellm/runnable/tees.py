"""One input for several readers: in threads, and in tasks."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import copy_context
from math import inf
from operator import length_hint
from threading import Lock
from typing import Any

from fakellm.concurrency import close, closing
from fakellm.runnable.crew import Crew, Monitor
from fakellm.runnable.runs import MISSING

FURTHER = 10_000
"""How many chunks of an input are still read once one of its readers failed: an endless one has no end to wait for."""


class Tee:
    """One iterator for several readers in threads; each item is pulled once, when the first needs it."""

    def __init__(self, source: Iterator[Any], readers: int) -> None:
        self._source = source
        self._buffers: dict[int, deque[Any]] = {number: deque() for number in range(readers)}
        self._lock = Lock()
        self._error: BaseException | None = None
        self._is_closed = False
        self._left: float = inf
        self._is_whole = length_hint(source, -1) >= 0  # all of it is at hand, as that of `stream` is
        self._context = copy_context()

    def close_source(self) -> None:
        """Close the iterator, in the context in which it is stepped."""
        self._context.run(close, self._source)

    def close(self) -> None:
        """Let whoever asks for more meet a `GeneratorExit`, so that no step reads on behind a closed stream.

        Where all the input is at hand there is nothing to read on: it is given, else the quicker thread would decide
        which step is called.
        """
        self._is_closed = True

    def finish(self) -> None:
        """Let the readers read on to the end of the input; in an endless one they meet a `GeneratorExit`."""
        self._left = FURTHER

    def drop(self, number: int) -> None:
        """Keep nothing more for a reader that ended."""
        self._buffers.pop(number, None)

    def reader(self, number: int) -> Iterator[Any]:
        """Yield the input for one reader."""
        buffer = self._buffers[number]
        while (item := self._next(buffer)) is not MISSING:
            yield item

    def _next(self, buffer: deque[Any]) -> Any:
        with self._lock:
            if self._is_closed and not self._is_whole:
                raise self._error or GeneratorExit
            if buffer:
                return buffer.popleft()
            if self._error is not None:
                raise self._error
            if self._left <= 0:
                raise GeneratorExit
            self._left -= 1
            try:
                item = self._context.run(next, self._source, MISSING)
            except BaseException as error:
                self._error = error
                raise
            self._is_whole = self._is_whole or item is MISSING
            for other in tuple(self._buffers.values()):
                if other is not buffer:
                    other.append(item)
            return item


class Fan:
    """What tasks share that read one input: its buffers, what they made of it, and who waits.

    `readers` read the input, the last `branches` of them are branches: started with `run`, their chunks come from
    `take`.
    """

    def __init__(
        self, crew: Crew, source: AsyncIterator[Any], readers: int, *, branches: int, bound: int | None
    ) -> None:
        self.crew = crew
        self.source = source
        self.bound = bound or branches
        self.buffers: dict[int, deque[Any]] = {number: deque() for number in range(readers)}
        self.wanted = False
        self.ended = False
        self.input_error: BaseException | None = None
        self.out: deque[tuple[str, Any]] = deque()
        self.taken: dict[str, bool] = {}
        self.given: str | None = None
        self.failure: BaseException | None = None
        self.stepping = 0
        self.running = branches
        self.monitor = Monitor()

    async def until(self, ready: Callable[[], object]) -> None:
        """Wait until `ready()` is true; a stream that is closed meanwhile is never ready."""
        await self.monitor.until(lambda: self.crew.closing or ready())
        await self.crew.still_open()

    async def pump(self) -> None:
        """Step the input, whenever a branch wants more of it; close it."""
        try:
            async with closing(self.source):
                while not self.ended:
                    await self.until(lambda: self.wanted)
                    item = await anext(self.source, MISSING)
                    self.ended = item is MISSING
                    for buffer in () if self.ended else self.buffers.values():
                        buffer.append(item)
                    self.wanted = False
                    self.monitor.notify()
        except BaseException as error:
            if self.crew.must_end_by(error):
                raise
            self.ended, self.input_error = True, error
            self.monitor.notify()

    async def reader(self, number: int) -> AsyncIterator[Any]:
        """Yield the input for one reader."""
        buffer = self.buffers[number]
        while True:
            await self.crew.still_open()
            if not buffer and not self.ended:
                self.wanted = True
                self.monitor.notify()
                await self.until(lambda: buffer or self.ended)
            if buffer:
                yield buffer.popleft()
            elif self.input_error is not None:
                raise self.input_error
            else:
                return

    async def run(self, key: str, number: int, branch: AsyncIterator[Any]) -> None:
        """Step one branch, one chunk ahead of the consumer; close it."""
        try:
            async with closing(branch):
                while (chunk := await self.step(branch)) is not MISSING:
                    self.taken[key] = False
                    self.out.append((key, chunk))
                    self.monitor.notify()
                    await self.until(lambda: self.taken[key])
        except BaseException as error:
            if self.crew.must_end_by(error):
                raise
            self.failure = self.failure or error
        finally:
            self.running -= 1
            self.buffers.pop(number, None)
            self.monitor.notify()

    async def step(self, branch: AsyncIterator[Any]) -> Any:
        """Wait for one chunk, with at most `bound` branches at it at a time."""
        await self.until(lambda: self.stepping < self.bound)
        self.stepping += 1
        try:
            return await anext(branch, MISSING)
        finally:
            self.stepping -= 1
            self.monitor.notify()

    async def take(self) -> tuple[str, Any] | None:
        """Return the next chunk and whose it is, None when all branches have ended; raise what one of them raised."""
        if self.given is not None:
            self.taken[self.given] = True
            self.monitor.notify()
        await self.monitor.until(lambda: self.out or self.failure or not self.running)
        if self.out:
            self.given, chunk = self.out.popleft()
            return self.given, chunk
        if self.failure:
            raise self.failure
        return None
