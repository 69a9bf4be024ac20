"""Time is a parameter: the clocks that a pause in a script is waited for on.

A fake model waits on an `InstantClock` unless it is given another, so no test sleeps for real unless
it says so. All times are in seconds. Code that waits in the event loop itself (`asyncio.timeout`)
does not see these clocks.
"""

from __future__ import annotations

import math
import time
from threading import Lock
from typing import Protocol, runtime_checkable

from fakellm import concurrency
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


class InstantClock:
    """Waits take no time: `now` moves on by what was waited, and the call returns.

    Waits of several threads or tasks add up. Silence without end cannot be waited for, so it raises
    `LLMTimeoutError` at once, as a reader that gave up would.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._lock = Lock()

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


class ScaledClock:
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
