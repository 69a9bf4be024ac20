"""Tasks that a stream runs beside itself: they wait for each other, and end before it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any, Self

from fakellm.concurrency import is_cancellation, new_event, running_trio


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
        self._trio = running_trio()
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
