"""Virtual time on trio: a clock for `trio.run` that jumps when all tasks wait and nothing outside can wake one.

trio's own MockClock, told to jump at once, jumps while worker threads work. This one looks first, as the asyncio loop
does; which of two timers of the same second fires first is trio's choice, and that is random.

    run(main, clock=VirtualClock())
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from fakellm.clock.blocked import WATCHDOG, VirtualDeadlockError, WatchdogError, deadlock_at, overdue, where
from fakellm.clock.clock import VirtualClock
from fakellm.clock.outside import Outside

if TYPE_CHECKING:
    import trio

T = TypeVar("T")
_SHORTEST, _LONGEST = 0.0005, 0.02
_monotonic = time.monotonic


def run_trio(main: Callable[[], Awaitable[T]], *, clock: VirtualClock | None = None) -> T:
    """Run an asynchronous function to its end in virtual time; like `trio.run`.

    Raises `VirtualDeadlockError` if nothing will ever wake it, `WatchdogError` after 60 s of real time.
    """
    import trio

    virtual = clock or VirtualClock()
    result: T = trio.run(trio_guarded, main, **trio_options(lambda: virtual))
    return result


def trio_options(clock: Callable[[], VirtualClock]) -> dict[str, Any]:
    """Return what `trio.run` has to be given; the clock is asked for when the run begins."""
    made = _kind()(clock)
    return {"clock": made, "instruments": [made]}


async def trio_guarded(main: Callable[[], Awaitable[T]]) -> T:
    """Await a function on trio; where all tasks wait for ever, cancel it and raise `VirtualDeadlockError`."""
    __tracebackhide__ = True
    import trio

    pacer: Any = trio.lowlevel.current_clock()
    result: Any = None
    with trio.CancelScope() as scope:
        pacer.scope, pacer.began = scope, _monotonic()
        try:
            result = await main()
        finally:
            pacer.scope = None
    if pacer.problem is not None:
        raise pacer.problem
    return cast("T", result)


class Pacer:
    """Tells trio the time of a virtual clock, and how long to wait really."""

    def __init__(self, clock: Callable[[], VirtualClock]) -> None:
        self._clock = clock
        self.virtual: VirtualClock
        self.scope: trio.CancelScope | None = None
        self.began = 0.0
        self.problem: AssertionError | None = None

    def start_clock(self) -> None:
        """Begin a run."""
        import trio

        self.virtual = self._clock()
        self.virtual.sleeper = self
        self.scope, self.problem = None, None
        self._outside = Outside(self, self.virtual.ignored_threads)
        self._runner: Any = cast("Any", trio)._core._run.GLOBAL_RUN_CONTEXT.runner  # noqa: SLF001
        self._thread = threading.get_ident()
        self._is_quiet, self._ran, self._pause = False, _monotonic(), _SHORTEST

    def task_scheduled(self, task: object) -> None:  # noqa: ARG002
        """Note that a task can run, so that what is outside has to be looked at anew."""
        self._is_quiet, self._ran, self._pause = False, _monotonic(), _SHORTEST

    def after_run(self) -> None:
        """End a run."""
        self.virtual.sleeper = None

    def current_time(self) -> float:
        """Return the clock's time, in seconds."""
        return self.virtual.exact

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return real seconds to wait: few while something outside works, else none, to look once more and jump."""
        if not self._is_quiet:
            outside = self._outside.found()
            waited = _monotonic() - self._ran
            if outside and waited < deadline - self.virtual.exact:
                self._pause = min(self._pause * 2, _LONGEST)
                return 0 if self._is_over(outside) else self._pause
            self._is_quiet = True  # but what is over by now may have woken a task
            return 0
        self._is_quiet = False
        if math.isfinite(deadline):
            self.virtual.set(deadline)
            self.virtual.timeline.note("timer", "a task of trio")
            self._is_over([])
        elif self.scope is None or self._runner.waiting_for_idle:
            return math.inf
        else:
            self._end(VirtualDeadlockError(deadlock_at(self.virtual.now, self._tasks())))
        return 0

    def _is_over(self, outside: list[str]) -> bool:
        """Tell whether the run took too long, and end it then."""
        if self.scope is None or _monotonic() - self.began < WATCHDOG:
            return False
        self._end(WatchdogError(overdue(WATCHDOG, self.virtual.now, outside, self._tasks())))
        return True

    def _end(self, problem: AssertionError) -> None:
        if self.problem is None and self.scope is not None:
            self.problem = problem
            self.scope.cancel()

    def _tasks(self) -> list[str]:
        own = [task for task in self._runner.tasks if not task.name.startswith("<")]
        return [f"{task.name}: {where(task.coro)}" for task in sorted(own, key=lambda task: task._counter)]  # noqa: SLF001

    # -- what `Outside` asks ------------------------------------------------------------------

    def descriptors(self) -> tuple[set[int], set[int]]:
        """Return the file descriptors that tasks wait for; trio's own wake-up is none of them."""
        waiting: set[int] = set(getattr(self._runner.io_manager, "_registered", ()))
        waiting.discard(self._runner.entry_queue.wakeup.wakeup_sock.fileno())
        return waiting, waiting

    def is_own(self, thread: threading.Thread) -> bool:
        """Tell whether a thread is that in which trio waits when it is a guest in another loop."""
        frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001
        while frame is not None:
            if frame.f_code.co_qualname.startswith("GuestState.guest_tick"):
                return True
            frame = frame.f_back
        return False

    def sleep_in_thread(self, seconds: float) -> bool:
        """Let a thread of this run wait for so many of its seconds."""
        import trio

        me = threading.get_ident()
        if me == self._thread:
            return False

        async def nap() -> None:
            self._outside.sleeping.add(me)
            try:
                await trio.sleep(seconds)
            finally:
                self._outside.sleeping.discard(me)

        try:
            trio.from_thread.run(nap)
        except RuntimeError:  # not a thread of this run
            return False
        return True


@cache
def _kind() -> Any:
    """Return the class of pacers that trio takes."""
    import trio

    class TrioClock(Pacer, trio.abc.Clock, trio.abc.Instrument):
        """The clock and the instrument of a run."""

    return TrioClock
