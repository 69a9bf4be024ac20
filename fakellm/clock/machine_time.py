"""A clock in place of the module `time`, for the code of one thread that reads or waits on that.

Code that says `time.sleep(...)` is reached; a name that it took before, `from time import sleep`, is not.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Lock, Thread, current_thread, get_ident
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
def patched(clock: Sleeps, *, began: int | None = None, others: Collection[Thread] | None = None) -> Iterator[None]:
    """Let this thread's `time.sleep`, `monotonic`, `perf_counter` and `time` be the clock's, inside the block.

    `time` goes on from where the machine's is, or from `began`: the second, since 1970, in which the clock was made.
    Where `others` is given, it is for all threads but those. (Their idents would not do: that of a thread which has
    ended is given to the next.)
    Other threads keep the machine's time, and so does an event loop that runs in real time. Blocks may overlap: the
    first puts the functions in place, the last one out puts the originals back, and the newest that is ours counts.
    """
    block = _Block(clock, began, others)
    with _lock:
        if not _blocks:
            _replace()
        _blocks.append(block)
    try:
        yield
    finally:
        with _lock:
            _blocks.remove(block)
            if not _blocks:
                for name, original in _originals.items():
                    setattr(time, name, original)


class _Block:
    """One clock in place of the machine's time, for the thread that made it, or for all but some."""

    def __init__(self, clock: Sleeps, began: int | None, others: Collection[Thread] | None) -> None:
        self.clock = clock
        self._owner, self._others = get_ident(), others
        self._starts: dict[str, Any] = {} if began is None else {"time": began, "time_ns": began * 10**9}

    def is_ours(self) -> bool:
        asyncio = sys.modules.get("asyncio")
        loop = asyncio._get_running_loop() if asyncio is not None else None  # noqa: SLF001 - documented
        is_in = get_ident() == self._owner or (self._others is not None and current_thread() not in self._others)
        return is_in and (loop is None or getattr(loop, "clock", None) is self.clock)

    def read(self, name: str, unit: int) -> Any:
        passed = self.clock.now if unit == 1 else round(self.clock.now * unit)
        start = self._starts.get(name)
        if start is None:
            start = self._starts[name] = _originals[name]() - passed
        return start + passed


_lock = Lock()
_blocks: list[_Block] = []
_originals: dict[str, Callable[..., Any]] = {}
"""The functions of the module `time` while they are replaced, which is a state of the process as that module is."""


def originals() -> dict[str, Callable[..., Any]]:
    """Return the machine's own functions of the module `time` that are replaced, by their names."""
    return dict(_originals)


def _replace() -> None:
    _put("sleep", _sleep)
    for name in READS:
        _put(name, partial(_read, name, 1))
        _put(f"{name}_ns", partial(_read, f"{name}_ns", 10**9))


def _put(name: str, function: Callable[..., Any]) -> None:
    _originals[name] = getattr(time, name)
    setattr(time, name, function)


def _ours() -> _Block | None:
    return next((block for block in reversed(_blocks) if block.is_ours()), None)


def _sleep(seconds: float, /) -> None:
    block = _ours()
    if block is None:
        _originals["sleep"](seconds)
        return
    if seconds < 0:
        msg = "sleep length must be non-negative"
        raise ValueError(msg)
    block.clock.sleep(seconds)
    if note := getattr(block.clock, "note", None):
        note(f"time.sleep({seconds:g})")


def _read(name: str, unit: int) -> Any:
    block = _ours()
    return _originals[name]() if block is None else block.read(name, unit)
