"""The few things that asyncio and trio name differently, and whose turn it is in a loop.

Neither library is imported before the running program has done so. Whoever awaits a function here is
in an event loop already, so the question is only which one.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from math import inf
from threading import Lock, current_thread, get_ident
from typing import Any, NamedTuple, Protocol, TypeVar

T = TypeVar("T")
_END: Any = object()
_REAL = 64
"""Of so many turns one is a round of the loop, whatever there is to see. A power of two."""


class Event(Protocol):
    """What `asyncio.Event` and `trio.Event` have in common."""

    def set(self) -> object:
        """Wake everyone who waits."""
        ...

    async def wait(self) -> object:
        """Wait until it is set."""
        ...


class Stepper(NamedTuple):
    """Who ran a step of a stream: the thread's name, the task's name, and an identity for comparing."""

    thread: str
    task: str | None
    identity: int


def running_trio() -> Any:
    """Return the module trio if this code runs inside it, else None."""
    trio = sys.modules.get("trio")
    return trio if trio is not None and trio.lowlevel.in_trio_run() else None


def is_cancellation(error: BaseException) -> bool:
    """Tell whether the error is how asyncio or trio cancels a task, or a group of nothing else."""
    trio, asyncio = sys.modules.get("trio"), sys.modules.get("asyncio")
    kinds = tuple(m for m in (trio and trio.Cancelled, asyncio and asyncio.CancelledError) if m)
    if isinstance(error, BaseExceptionGroup):
        return error.split(kinds)[1] is None
    return isinstance(error, kinds)


def thread_stepper() -> Stepper:
    """Return who runs this synchronous code."""
    return Stepper(current_thread().name, None, get_ident())


def task_stepper() -> Stepper:
    """Return who runs this asynchronous code."""
    thread = current_thread().name
    if trio := running_trio():
        task = trio.lowlevel.current_task()
        return Stepper(thread, task.name, id(task))
    import asyncio

    current = asyncio.current_task()
    return Stepper(thread, current.get_name() if current else None, id(current))


# Whose turn it is in an asyncio loop: other tasks run before each chunk of a stream, where there is anything to run.
#
# A stream from a network lets others run before each chunk, since it waits for a socket; a fake has to do so too, or
# code that forgets to would pass its tests. `asyncio.sleep(0)` does, and costs a round of the event loop with a
# system call: a tenth of what an official SDK makes of a chunk. Mostly nobody else is there. So it is looked first
# whether anything could run in such a round: a callback that is ready, a timer that is due, a file descriptor beside
# the loop's own, a cancellation of this very task. If not, nobody can tell that there was no round, but for one: a
# signal reaches the loop through a pipe that a round reads. So every so many turns are real anyway.
#
# What is looked at are attributes of asyncio's own loops that have had these names since Python 3.4. A loop without
# them (uvloop, Windows' proactor) gets its round each time.


def turns(loop: Any) -> Callable[[], Awaitable[None] | None]:
    """Return what lets others run in a loop: called, it returns what is to be awaited, None where a round does nothing.

    It is called for every chunk of every stream, so it is a function over cells, which take half the time that
    attributes do.
    """
    import asyncio

    sleep, current_task, files = asyncio.sleep, asyncio.current_task, _files_of(loop)
    if files is None:
        return lambda: sleep(0)
    ready, count, last = loop._ready, 0, _REAL - 1  # noqa: SLF001 - see above

    def turn() -> Awaitable[None] | None:
        nonlocal count
        count += 1
        if (
            count & last
            and not ready
            and len(files) == 1  # the loop's own pipe
            and not ((timers := loop._scheduled) and timers[0].when() <= loop.time())  # noqa: SLF001
            and (task := current_task(loop)) is not None
            and not task.cancelling()
        ):
            return None
        return sleep(0)

    return turn


def _files_of(loop: Any) -> Any:
    """Return the file descriptors that a loop waits for; None where that cannot be known."""
    if not (hasattr(loop, "_ready") and hasattr(loop, "_scheduled")):
        return None
    return getattr(getattr(loop, "_selector", None), "_fd_to_key", None)


def checkpointer() -> Callable[[], Awaitable[None] | None]:
    """Return the function that lets other tasks run, and a cancellation in, when what it returns is awaited.

    For use many times; None is to be awaited where there is nothing to wait for.
    """
    if trio := running_trio():
        function: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
        return function
    import asyncio

    loop = asyncio._get_running_loop()  # noqa: SLF001 - documented
    if loop is None:  # stepped by hand
        return partial(asyncio.sleep, 0)
    return turns(loop)


async def checkpoint() -> None:
    """Let other tasks run, and let a cancellation in."""
    if (turn := checkpointer()()) is not None:
        await turn


async def sleep(seconds: float) -> None:
    """Wait in the event loop's own time; `math.inf` waits until cancelled."""
    if trio := running_trio():
        await trio.sleep(seconds)
        return
    import asyncio

    await asyncio.sleep(seconds)


async def wait_at_most(event: Event, seconds: float) -> None:
    """Wait until an event is set, or so many seconds of the event loop's time."""
    if trio := running_trio():
        with trio.move_on_after(seconds):
            await event.wait()
        return
    import asyncio

    with suppress(TimeoutError):
        async with asyncio.timeout(None if seconds == inf else seconds):
            await event.wait()


def clock_of_loop() -> object:
    """Return the virtual clock of the event loop that runs, or None if that is a real one."""
    if trio := running_trio():
        return getattr(trio.lowlevel.current_clock(), "virtual", None)
    import asyncio

    return getattr(asyncio.get_running_loop(), "clock", None)


async def run_in_thread(function: Callable[[], T], *, shield: bool = False) -> T:
    """Run a blocking function in a worker thread, with a copy of the context variables.

    A `StopIteration` becomes a `RuntimeError`, since no future can carry it. Cancelling gives up the
    wait, but the thread runs to its end; with `shield` the function is run also where a cancellation is due.
    """

    def guarded() -> T:
        try:
            return function()
        except StopIteration as stop:
            msg = "a function that was run in a worker thread raised StopIteration"
            raise RuntimeError(msg) from stop

    if trio := running_trio():
        with trio.CancelScope(shield=shield):
            result: T = await trio.to_thread.run_sync(guarded, abandon_on_cancel=True)
        return result
    import asyncio

    thread = asyncio.to_thread(guarded)
    return await (asyncio.shield(thread) if shield else thread)


async def iterate_in_thread(iterator: Iterator[T]) -> AsyncIterator[T]:
    """Step a blocking iterator in worker threads, one step at a time.

    All steps, and the closing, see one copy of the context variables. Closing waits until the iterator is
    closed. A cancellation in the middle of a step does not wait for the thread: the step ends by itself
    and then closes the iterator.
    """
    context = copy_context()
    lock = Lock()
    abandoned = False

    def step() -> T:
        try:
            with lock:
                item: T = context.run(next, iterator, _END)
        finally:
            if abandoned:
                close_unless_busy()
        return item

    def close_unless_busy() -> None:
        if lock.acquire(blocking=False):  # pragma: no branch - whoever was faster closes it
            try:
                context.run(close, iterator)
            finally:
                lock.release()

    try:
        while (item := await run_in_thread(step)) is not _END:
            yield item
    finally:
        abandoned = True
        if not lock.locked():
            await run_in_thread(close_unless_busy, shield=True)


def close(iterator: object) -> None:
    """Close an iterator that can be closed; leave others alone."""
    closer = getattr(iterator, "close", None)
    if closer is not None:
        closer()


async def aclose(iterator: object) -> None:
    """Close an asynchronous iterator that can be closed; leave others alone."""
    closer = getattr(iterator, "aclose", None)
    if closer is not None:
        await closer()


class closing:  # noqa: N801 - reads as a word at its uses: "with closing(source)"
    """Close an iterator when the block is left: `with` for a plain one, `async with` for an asynchronous."""

    __slots__ = ("_iterator",)

    def __init__(self, iterator: object) -> None:
        self._iterator = iterator

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        close(self._iterator)

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *exc: object) -> None:
        await aclose(self._iterator)


def new_event() -> Event:
    """Return an event of the library that runs."""
    if trio := running_trio():
        event: Event = trio.Event()
        return event
    import asyncio

    return asyncio.Event()
