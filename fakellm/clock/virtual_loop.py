"""An asyncio event loop in virtual time: an hour of silence takes a millisecond, a timeout fires at its second.

When no task can run and nothing outside can wake the loop, time jumps to exactly the next timer. Where a thread, an
executor or a socket can, the loop waits really, at most as long as that timer would. Where nothing ever will, it says
so and names the tasks that wait.

The theory. Time may jump only when nothing could happen in between, or a timeout fires that nobody would see in real
time. A loop that jumps whenever its own tasks wait gives such false timeouts as soon as a thread is involved, or a
socket of another thread (measured on three of them): a worker takes real milliseconds, in which that loop passes an
hour. So what could wake the loop is asked for first, of `outside.py`, and doubt is on the side of waiting. From that
follows:

- The order inside `wait` matters: first the look for what is outside, then the poll. Whatever ended before the look
  has written to the loop's wake-up, so the poll sees it. The other way round, a thread that ends between the two is
  not outside any more and not noticed yet, and time jumps over its result.
- Time is set to the second of the timer, which `call_later` rounded to the nanosecond. Were differences added up,
  `clock.now == 20` would fail by the last bit of a float.
- The loop's clock resolution is the smallest that a float allows. asyncio fires together what is due within it; of
  two timers that differ by less than the machine's resolution the order, and both seconds, would be lost.
- Timers of one second need an order of their own. asyncio keeps them in a heap, which is not stable: eight sleepers
  of one second wake as 0, 2, 6, 5, 7, 4, 1, 3. By default they wake first in, first out; a seed shuffles them, to
  find code that relies on that.
- No timer and nothing outside is a deadlock, and said at once. Threads that were there before the loop and handlers
  of signals mostly never wake anything, so they are good for a second of patience and no more.
- The watchdog counts real time, but of a single step a few seconds at most: a debugger that holds the process is no
  hang.

    run(main())                                     # like asyncio.run
    asyncio.Runner(loop_factory=VirtualLoop)        # and wherever a loop factory is taken
"""

from __future__ import annotations

import asyncio
import heapq
import math
import selectors
import threading
import time
from collections.abc import Callable, Coroutine
from contextvars import Context
from itertools import count
from random import Random
from typing import Any, TypeVar

from fakellm.clock.blocked import (
    WATCHDOG,
    VirtualDeadlockError,
    WatchdogError,
    deadlock_at,
    describe_handle,
    describe_tasks,
    overdue,
)
from fakellm.clock.clock import VirtualClock
from fakellm.clock.outside import Outside
from fakellm.clock.timeline import compare

T = TypeVar("T")
_LONGEST_POLL = 0.02
_PATIENCE = 1.0
_GRACE = 0.001
_LONGEST_STEP = 5.0
_monotonic = time.monotonic  # the machine's, also while a test patches the module


class _Timer(asyncio.TimerHandle):
    """A timer; of two at the same second the one with the lower order fires first."""

    __slots__ = ("order",)

    def __init__(self, when: float, order: tuple[float, int], *rest: Any) -> None:
        super().__init__(when, *rest)
        self.order = order

    def __lt__(self, other: Any) -> bool:
        return (self.when(), self.order) < (other.when(), other.order)

    def _run(self) -> None:
        loop: Any = self._loop  # type: ignore[attr-defined]
        loop.clock.timeline.note("timer", describe_handle(self))
        super()._run()


class _Selector(selectors.DefaultSelector):
    """Waits for events as the loop says."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return self.loop.wait(super().select, timeout)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is a `VirtualClock`.

    Timers of the same second fire first in, first out, or with a `seed` in an order that the seed decides. A run that
    takes more than `watchdog` seconds of real time raises `WatchdogError`.
    """

    _check_closed: Callable[[], None]
    _check_thread: Callable[[], None]
    _default_executor: Any
    _do_shutdown: Callable[[Any], None]
    _scheduled: list[Any]
    _selector: Any
    _ssock: Any
    _thread_id: int | None
    _transports: Any

    def __init__(
        self, clock: VirtualClock | None = None, *, seed: int | None = None, watchdog: float = WATCHDOG
    ) -> None:
        self.clock = clock or VirtualClock()
        self.watchdog = watchdog
        self._tie = Random(seed).random if seed is not None else lambda: 0.0  # noqa: S311 - an order, no secret
        self._count = count()
        self._spent, self._looked = 0.0, _monotonic()
        self._sleepers: set[threading.Event] = set()
        selector = _Selector()
        selector.loop = self
        self.outside = Outside(self, self.clock.ignored_threads)
        super().__init__(selector)

    def descriptors(self) -> tuple[set[int], set[int]]:
        """Return the file descriptors that the loop waits for, besides its own wake-up, and all in its hands."""
        own = self._ssock.fileno()
        waiting = {key.fd for key in self._selector.get_map().values()} - {own}
        return waiting, {*waiting, *self._transports}

    def is_own(self, thread: threading.Thread) -> bool:
        """Tell whether a thread only waits until the default executor's threads, which sleep here, have ended."""
        return bool(self.outside.sleeping) and getattr(thread, "_target", None) == self._do_shutdown

    # -- time -------------------------------------------------------------------------------------

    def time(self) -> float:
        """Return the clock's time, in seconds."""
        return self.clock.exact

    @property
    def _clock_resolution(self) -> float:
        """How far ahead of its second a timer may fire: not at all, so that two that differ do not fall together."""
        return math.ulp(self.time())

    @_clock_resolution.setter
    def _clock_resolution(self, _: float) -> None:
        """Take no other: asyncio sets that of the machine's clock."""

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call back after `delay` seconds."""
        return self.call_at(self.clock.after(delay), callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call back at the second `when`."""
        self._check_closed()
        if self.get_debug():
            self._check_thread()
        timer = _Timer(when, (self._tie(), next(self._count)), callback, args, self, context)
        if timer._source_traceback:  # type: ignore[attr-defined]  # noqa: SLF001
            del timer._source_traceback[-1]  # type: ignore[attr-defined]  # noqa: SLF001
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # type: ignore[attr-defined]  # noqa: SLF001
        return timer

    # -- waiting ----------------------------------------------------------------------------------

    def wait(self, poll: Callable[[float], list[Any]], timeout: float | None) -> list[Any]:
        """Return what is ready; if nothing is, wait for what can come from outside, or let time jump."""
        __tracebackhide__ = True
        self._watch([])
        if (ready := poll(0)) or timeout == 0:
            return ready
        pause, began = _GRACE / 2, _monotonic()
        until = began + self._until_next()
        while True:
            outside = self.outside.found()
            if ready := poll(_GRACE if self.descriptors()[0] else 0):  # after the look: what is over has woken us
                return ready
            if not outside and math.isinf(self._until_next()):
                outside, until = self.outside.others(), began + _PATIENCE
            if not outside or _monotonic() >= until:
                self._jump()
                return []
            self._watch(outside)
            if ready := poll(min(pause, max(until - _monotonic(), 0))):
                return ready
            pause = min(pause * 2, _LONGEST_POLL)

    def _until_next(self) -> float:
        return self._scheduled[0].when() - self.time() if self._scheduled else math.inf

    def _watch(self, outside: list[str]) -> None:
        """Raise if the run takes too long; of a single step, in which a debugger may have stopped, little counts."""
        __tracebackhide__ = True
        now = _monotonic()
        self._spent += min(now - self._looked, _LONGEST_STEP)
        self._looked = now
        if self._spent > self.watchdog:
            raise WatchdogError(overdue(self.watchdog, self.time(), outside, describe_tasks(self)))

    def _jump(self) -> None:
        __tracebackhide__ = True
        when = self._scheduled[0].when() if self._scheduled else math.inf
        if math.isinf(when):
            raise VirtualDeadlockError(deadlock_at(self.time(), describe_tasks(self)))
        self.clock.set(when)

    # -- threads ----------------------------------------------------------------------------------

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Run a function in an executor; meanwhile time does not jump."""
        job = super().run_in_executor(executor, func, *args)
        self.outside.watch(job, executor or self._default_executor)
        return job

    def sleep_in_thread(self, seconds: float) -> bool:
        """Let a thread that is not the loop's wait for so many of its seconds."""
        me = threading.get_ident()
        if not self.is_running() or me == self._thread_id:
            return False
        woken = threading.Event()

        def wake() -> None:
            self.outside.sleeping.discard(me)
            self._sleepers.discard(woken)
            woken.set()

        def wait() -> None:
            self.outside.sleeping.add(me)
            self._sleepers.add(woken)
            self.call_later(seconds, wake)

        try:
            self.call_soon_threadsafe(wait)
        except RuntimeError:  # it was closed meanwhile
            return False
        woken.wait()
        return True

    # -- life -------------------------------------------------------------------------------------

    def run_forever(self) -> None:
        """Run until `stop`; meanwhile the clock belongs to this loop."""
        self._spent, self._looked = 0.0, _monotonic()
        outer, self.clock.sleeper = self.clock.sleeper, self
        try:
            super().run_forever()
        finally:
            self.clock.sleeper = outer

    def close(self) -> None:
        """Close the loop, and wake the threads that wait for its time."""
        super().close()
        for woken in [*self._sleepers]:
            woken.set()


def run(main: Coroutine[Any, Any, T], *, clock: VirtualClock | None = None, seed: int | None = None) -> T:
    """Run a coroutine to its end in virtual time and return its result; like `asyncio.run`.

    Raises `VirtualDeadlockError` if nothing will ever wake it, `WatchdogError` after 60 s of real time.
    """
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - documented
        main.close()
        msg = (
            "an event loop runs in this thread already, and fakellm.clock.run makes one of its own; await the coroutine"
        )
        raise RuntimeError(msg)
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock, seed=seed)) as runner:
        return runner.run(main)


def run_twice(main: Callable[[VirtualClock], Coroutine[Any, Any, T]], *, seed: int | None = None) -> T:
    """Run `main(clock)` twice, each time on a clock of its own, and return the second result.

    Raises `TwoRunsDifferError`, with the first moment in which they part, unless both do the same at the same seconds.
    """
    clocks = VirtualClock(), VirtualClock()
    results = [run(main(clock), clock=clock, seed=seed) for clock in clocks]
    compare(*(clock.timeline.closed for clock in clocks))
    return results[1]
