"""A clock in place of the module `time`, for the code of one thread that reads or waits on that.

Code that says `time.sleep(...)` is reached; a name that it took before, `from time import sleep`, is not.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from threading import get_ident
from typing import Any, Protocol

READS = ("monotonic", "perf_counter", "time")
"""The functions of `time` that tell the time in seconds; each has a twin in nanoseconds."""


class Sleeps(Protocol):
    """What stands in for the machine's time."""

    @property
    def now(self) -> float:
        """Seconds since it began."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


@contextmanager
def patched(clock: Sleeps) -> Iterator[None]:
    """Let this thread's `time.sleep`, `monotonic`, `perf_counter` and `time` be the clock's, inside the block.

    Other threads keep the machine's time, and so does an event loop that runs in real time.
    """
    owner = get_ident()

    def is_ours() -> bool:
        asyncio = sys.modules.get("asyncio")
        loop = asyncio._get_running_loop() if asyncio is not None else None  # noqa: SLF001 - documented
        return get_ident() == owner and (loop is None or getattr(loop, "clock", None) is clock)

    with ExitStack() as stack:
        _put("sleep", partial(_sleep, clock, is_ours, time.sleep), stack)
        for name in READS:
            for full, unit in ((name, 1), (f"{name}_ns", 10**9)):
                original = getattr(time, full)
                _put(full, partial(_read, clock, is_ours, original, original() - _in(unit, clock.now), unit), stack)
        yield


def _in(unit: int, seconds: float) -> Any:
    return seconds if unit == 1 else round(seconds * unit)


def _sleep(clock: Sleeps, is_ours: Callable[[], bool], original: Callable[[float], None], seconds: float, /) -> None:
    if not is_ours():
        original(seconds)
        return
    if seconds < 0:
        msg = "sleep length must be non-negative"
        raise ValueError(msg)
    clock.sleep(seconds)


def _read(clock: Sleeps, is_ours: Callable[[], bool], original: Callable[[], Any], start: Any, unit: int) -> Any:
    return start + _in(unit, clock.now) if is_ours() else original()


def _put(name: str, function: Callable[..., Any], stack: ExitStack) -> None:
    stack.callback(setattr, time, name, getattr(time, name))
    setattr(time, name, function)
