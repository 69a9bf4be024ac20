"""Time is a parameter: the clocks that a pause in a script is waited for on.

A fake model waits on an `InstantClock` unless it is given another, so no test sleeps for real unless
it says so. All times are in seconds. Code that waits in the event loop itself (`asyncio.timeout`) sees only the
`VirtualClock`, which is that of its event loop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from threading import Lock
from typing import Protocol, Self, runtime_checkable

from fakellm import concurrency
from fakellm.clock.machine_time import patched
from fakellm.clock.timeline import StreamTimes, TimedStream, Timeline
from fakellm.errors import LLMTimeoutError


@runtime_checkable
class Clock(Protocol):
    """What a pause is waited for on. `sleep(math.inf)` is silence that never ends."""

    @property
    def now(self) -> float:
        """Seconds of this clock's time since it was made."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait, in synchronous code."""
        ...

    async def asleep(self, seconds: float) -> None:
        """Wait, in asynchronous code; other tasks run meanwhile."""
        ...


class _Shared:
    """A clock that is one for all: the deep copy of a thing that waits on it waits on the same."""

    def __deepcopy__(self, memo: object) -> Self:
        return self


class InstantClock(_Shared):
    """Waits take no time: `now` moves on by what was waited, and the call returns.

    Waits of several threads or tasks add up. Silence without end cannot be waited for, so it raises
    `LLMTimeoutError` at once, as a reader that gave up would.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._now:g} s>"

    @property
    def now(self) -> float:
        """Seconds waited so far."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Move `now` on by `seconds`."""
        if math.isinf(seconds):
            msg = f"the stream fell silent for ever at {self._now:g} s of its clock"
            raise LLMTimeoutError(msg)
        with self._lock:
            self._now += seconds

    async def asleep(self, seconds: float) -> None:
        """Move `now` on by `seconds` and let other tasks run once."""
        self.sleep(seconds)
        await concurrency.checkpoint()


def checked(clock: Clock | None) -> Clock:
    """Return the clock of a fake: an instant one unless another is given. Raises `TypeError` for what is none."""
    if clock is None:
        return InstantClock()
    if isinstance(clock, type) or not isinstance(clock, Clock):
        msg = f"a clock is InstantClock(), ScaledClock(factor), RealClock() or the like, not {clock!r}"
        raise TypeError(msg)
    return clock


def unless_instant(clock: Clock) -> Clock | None:
    """Return the clock, or None for one such as a fake has by itself."""
    return None if type(clock) is InstantClock else clock


class ScaledClock(_Shared):
    """Waits really, `factor` times as long: 0.1 plays a recorded hour in six minutes.

    `now` counts the script's seconds, not the real ones. Silence without end lasts until the task is
    cancelled; synchronous code has nobody to cancel it, so there it raises `LLMTimeoutError`.
    """

    def __init__(self, factor: float) -> None:
        is_number = isinstance(factor, (int, float)) and not isinstance(factor, bool)
        if not (is_number and 0 < factor < math.inf):
            msg = f"a clock's factor is a positive number, not {factor!r}; use InstantClock() for no waiting"
            raise ValueError(msg)
        self.factor = factor
        self._start = time.monotonic()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.factor!r})"

    @property
    def now(self) -> float:
        """Seconds of the script's time since the clock was made."""
        return (time.monotonic() - self._start) / self.factor

    def sleep(self, seconds: float) -> None:
        """Block this thread for `seconds * factor` real seconds."""
        if math.isinf(seconds):
            msg = (
                "a stalled stream would block this thread for ever on a real clock; script a Pause and a "
                "disconnect() instead, read it asynchronously, or use InstantClock()"
            )
            raise LLMTimeoutError(msg)
        time.sleep(seconds * self.factor)

    async def asleep(self, seconds: float) -> None:
        """Wait `seconds * factor` seconds of the event loop's time."""
        await concurrency.sleep(seconds * self.factor)


class RealClock(ScaledClock):
    """Waits as long as the script says."""

    def __init__(self) -> None:
        super().__init__(1.0)

    def __repr__(self) -> str:
        return "RealClock()"


class Sleeper(Protocol):
    """What runs in a clock's time beside the thread that asks: an event loop."""

    def sleep_in_thread(self, seconds: float) -> bool:
        """Let this thread wait, while others run; return False if it has to move the clock itself."""
        ...


class VirtualClock(_Shared):
    """Time that passes only when everybody waits: the clock of a `VirtualLoop`, or of one thread.

    In the event loop of `fakellm.clock.run` it is the loop's own time, so `asyncio.timeout` and a script's pauses
    fall on the same seconds. A synchronous wait moves it on at once; in a worker thread of such a loop it waits its
    turn among the loop's timers. `timeline` logs what happened when.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._lock = Lock()
        self.timeline = Timeline(lambda: self.now)
        self.ignored_threads: list[str] = []
        """Names, or patterns as of files, of threads that never wake the event loop: it does not wait for them."""
        self.sleeper: Sleeper | None = None

    @property
    def now(self) -> float:
        """Seconds since the clock was made, to the nanosecond: three times 0.1 are 0.3, as people count."""
        return round(self._now, 9)

    @property
    def exact(self) -> float:
        """Seconds since the clock was made, as the event loop adds them up."""
        return self._now

    def set(self, now: float) -> None:
        """Move on to a later second; time does not go back."""
        with self._lock:
            self._now = max(self._now, now)

    def after(self, seconds: float) -> float:
        """Return the second that is so many later, to the nanosecond where that is later at all."""
        then = round(self._now + seconds, 9)
        return then if then > self._now else self._now + seconds

    def sleep(self, seconds: float) -> None:
        """Wait, in synchronous code. Silence without end raises `LLMTimeoutError`: no reader waits for ever."""
        if math.isinf(seconds):
            msg = f"the stream fell silent for ever at {self._now:g} s of its clock"
            raise LLMTimeoutError(msg)
        if seconds > 0 and not (self.sleeper and self.sleeper.sleep_in_thread(seconds)):
            self.set(self.after(seconds))

    async def asleep(self, seconds: float) -> None:
        """Wait in the event loop's time. Raises `RuntimeError` in a loop that has another."""
        if concurrency.clock_of_loop() is not self:
            msg = (
                "a virtual clock is waited on in an event loop that is not its own, in real time.\n"
                "  to do:     run it on the clock's: fakellm.clock.run(main(), clock=clock); in pytest, an "
                "async def test that asks for virtual_clock has it by itself under pytest-asyncio and anyio"
            )
            raise RuntimeError(msg)
        await concurrency.sleep(seconds)

    def patch_time(self) -> AbstractContextManager[None]:
        """Let this thread's `time.sleep`, `monotonic`, `perf_counter` and `time` be this clock's, inside the block."""
        return patched(self)

    # -- reading it -------------------------------------------------------------------------------

    @property
    def streams(self) -> list[StreamTimes]:
        """The streams that fakes played on this clock, in the order in which they were asked for."""
        return self.timeline.streams

    @property
    def time_to_first_chunk(self) -> float | None:
        """Seconds until the first chunk of the last stream; None while there is none."""
        return self.streams[-1].time_to_first_chunk if self.streams else None

    @property
    def gaps(self) -> list[float]:
        """Seconds between the chunks of the last stream."""
        return self.streams[-1].gaps if self.streams else []

    def note(self, text: str) -> None:
        """Write something into the log, at this second."""
        self.timeline.note("note", text)

    def report(self) -> str:
        """Word what happened when."""
        return self.timeline.report()

    def __repr__(self) -> str:
        return f"<VirtualClock {self._now:g} s>"


def timed_stream(clock: Clock, name: str, secrets: Iterable[str] = ()) -> TimedStream | None:
    """Begin a stream in the log of the clock, if it keeps one; `secrets` are what nobody is to be shown of it."""
    timeline = getattr(clock, "timeline", None)
    return timeline.stream(name, secrets) if timeline is not None else None
