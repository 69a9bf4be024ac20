"""The few things that asyncio and trio name differently, and nothing else.

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
from typing import Any, NamedTuple, Protocol, Self, TypeVar

T = TypeVar("T")
_END: Any = object()


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


def _trio() -> Any:
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
    if trio := _trio():
        task = trio.lowlevel.current_task()
        return Stepper(thread, task.name, id(task))
    import asyncio

    current = asyncio.current_task()
    return Stepper(thread, current.get_name() if current else None, id(current))


def checkpointer() -> Callable[[], Awaitable[None] | None]:
    """Return the function that lets other tasks run, and a cancellation in, when what it returns is awaited.

    For use many times; None is to be awaited where there is nothing to wait for.
    """
    if trio := _trio():
        function: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
        return function
    import asyncio

    loop = asyncio._get_running_loop()  # noqa: SLF001 - documented
    if loop is None:  # stepped by hand
        return partial(asyncio.sleep, 0)
    from fakellm.turns import turns

    return turns(loop)


async def checkpoint() -> None:
    """Let other tasks run, and let a cancellation in."""
    if (turn := checkpointer()()) is not None:
        await turn


async def sleep(seconds: float) -> None:
    """Wait in the event loop's own time; `math.inf` waits until cancelled."""
    if trio := _trio():
        await trio.sleep(seconds)
        return
    import asyncio

    await asyncio.sleep(seconds)


async def wait_at_most(event: Event, seconds: float) -> None:
    """Wait until an event is set, or so many seconds of the event loop's time."""
    if trio := _trio():
        with trio.move_on_after(seconds):
            await event.wait()
        return
    import asyncio

    with suppress(TimeoutError):
        async with asyncio.timeout(None if seconds == inf else seconds):
            await event.wait()


def clock_of_loop() -> object:
    """Return the virtual clock of the event loop that runs, or None if that is a real one."""
    if trio := _trio():
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

    if trio := _trio():
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
    if trio := _trio():
        event: Event = trio.Event()
        return event
    import asyncio

    return asyncio.Event()


class Monitor:
    """Lets tasks of one event loop wait until what they share has changed."""

    def __init__(self) -> None:
        self._changed = new_event()

    def notify(self) -> None:
        """Wake everyone who waits, to look again."""
        changed, self._changed = self._changed, new_event()
        changed.set()

    async def until(self, ready: Callable[[], object]) -> None:
        """Wait until `ready()` is true; return at once where it is."""
        while not ready():
            await self._changed.wait()


# Why not a task group. A stream that runs tasks is a generator, and a generator is suspended in the middle of its
# blocks while somebody else runs: whoever reads it, in another task tomorrow. A task group that is open across a
# `yield` cancels the task that entered it, not the one that reads; trio forbids the cancel scope that it would leave
# on a stranger's stack; and both wrap a `GeneratorExit` into a group of exceptions, which no `close` understands. So
# a crew only holds tasks that belong to nobody's stack, and promises what a group does: when the block is left, each
# has been cancelled and has ended. That is why nothing is in flight when `aclose` returns, and why no job needs an
# owner who remembers it.
#
# A job can lose its cancellation: a library takes it for a timeout of its own and goes on. asyncio delivers it once,
# so such a job would keep the block open for ever; `still_open` stops it at its next step. An error of a job is kept,
# and raised when the block is left, or noted on the one that leaves it: the first error is what happened, the others
# are what followed.


class Crew:
    """Tasks that end before the block does: leaving it cancels what still runs and waits for it.

    Unlike a task group it may be open across a `yield`, in asyncio and in trio: it leaves no cancel
    scope on the stack of whoever steps the generator. An error that leaves a job is raised when the block
    is left, or noted on the error that leaves the block.
    """

    def __init__(self) -> None:
        self.closing = False
        self.errors: list[BaseException] = []
        self._tasks: list[Any] = []
        self._trio = _trio()
        self._context = copy_context()

    async def __aenter__(self) -> Self:
        return self

    def start(self, job: Callable[[], Awaitable[None]]) -> None:
        """Run the job as a task of its own, with a copy of the context variables of the crew's maker."""
        if self._trio:
            scope, done = self._trio.CancelScope(), self._trio.Event()

            async def in_scope() -> None:
                with scope:  # inside of what catches errors, so that it takes cancellations out of groups
                    await job()

            async def scoped() -> None:
                try:
                    await self._run(in_scope)
                finally:
                    done.set()

            self._trio.lowlevel.spawn_system_task(scoped, context=self._context.copy())
            self._tasks.append((scope, done))
            return
        import asyncio

        task = asyncio.get_running_loop().create_task(self._run(job), context=self._context.copy())
        self._tasks.append(task)

    async def _run(self, job: Callable[[], Awaitable[None]]) -> None:
        try:
            await job()
        except BaseException as error:
            if is_cancellation(error):
                raise
            self.errors.append(error)

    async def still_open(self) -> None:
        """Cancel a job that took its cancellation for something else and went on; return while the crew works."""
        if not self.closing:
            return
        if self._trio:
            await self._trio.sleep_forever()  # until it hears that its scope is cancelled
        import asyncio

        raise asyncio.CancelledError

    def must_end_by(self, error: BaseException) -> bool:
        """Tell whether an error ends the job, rather than being a result of it: it is over, or cancelled."""
        return self.closing or (self._trio is not None and isinstance(error, self._trio.Cancelled))

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.closing = True
        try:
            await self._end()
        finally:
            fatal = next((other for other in self.errors if not isinstance(other, Exception)), None)
            first = fatal or (error if isinstance(error, Exception) else next(iter(self.errors), None))
            for other in self.errors:
                if first is not None and other is not first:
                    first.add_note(f"While the others were ended, one of them raised {other!r}")
            if first is not None and first is not error:
                raise first

    async def _end(self) -> None:
        if self._trio:
            for scope, _ in self._tasks:
                scope.cancel()
            with self._trio.CancelScope(shield=True):
                for _, done in self._tasks:
                    await done.wait()
            return
        await _end_asyncio_tasks([task for task in self._tasks if not task.done()])


async def _end_asyncio_tasks(tasks: list[Any]) -> None:
    """Cancel the tasks and wait for them, also if this task is cancelled meanwhile."""
    import asyncio

    for task in tasks:
        task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
