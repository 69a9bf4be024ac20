"""When pieces come that pass a gateway: held until there are enough, given on in batches, late, cut when it takes long.

All is said in steps: a silence is a `Pause`, so a piece that is held comes behind all the pauses that it was held for,
and nothing here knows a clock. Each stage takes one step of the stage before it at a time, and holds bytes, never
steps: a stream that is made while it is read stays so. An empty run is how a stage says that the headers are due.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fakellm.script.events import Pause, disconnect, stall
from fakellm.wire.codec import Ending

_NEARLY = 1e-9
"""Seconds by which sums of pauses differ that are the same."""


def is_unreadable(run: Any) -> bool:
    """Tell whether a run raises when it is read: a tape ends so where its app had stopped reading."""
    return isinstance(run, list) and bool(run) and not len(run)


class Watch:
    """Cuts an answer that is silent for too long, or takes too long. `passed` are the seconds since it was asked for.

    What cuts it is the gateway, and to whoever holds pieces that is as if the server had reset the connection.
    """

    def __init__(self, silence: float | None, limit: float | None) -> None:
        self._silence = math.inf if silence is None else silence
        self._limit = math.inf if limit is None else limit
        self.passed = 0.0

    def over(self, steps: Iterable[Any]) -> Iterator[Any]:
        """Yield the steps until it takes too long; then a reset."""
        quiet = 0.0
        for step in steps:
            if isinstance(step, (Pause, stall)):
                left = min(self._silence - quiet, self._limit - self.passed)
                seconds = step.seconds if isinstance(step, Pause) else math.inf
                if math.isfinite(left) and seconds >= left - _NEARLY:
                    if left > 0:
                        yield Pause(left)
                    self.passed += left
                    yield disconnect("reset")
                    return
                self.passed += seconds
                quiet += seconds
            elif isinstance(step, list) and step:
                quiet = 0.0
            yield step


def held(steps: Iterable[Any], first: int, size: int, is_lost: Callable[[], bool]) -> Iterator[Any]:
    """Yield so many bytes at a time, in one piece each, and the rest at the end; what breaks off may lose it."""
    run, room = bytearray(), first
    for step in steps:
        if isinstance(step, Pause):
            yield step
            continue
        if isinstance(step, list) and not is_unreadable(step):
            run += b"".join(step)
            full: list[bytes] = []
            while len(run) >= room:
                full.append(bytes(run[:room]))
                del run[:room]
                room = size
            if isinstance(step, Ending):
                yield Ending([*full, *([bytes(run)] if run else [])])
                return
            if full:
                yield full
            continue
        if run and not is_lost():
            yield [bytes(run)]
        yield step
        return
    if run:
        yield [bytes(run)]


def batched(steps: Iterable[Any], window: float) -> Iterator[Any]:
    """Yield what came within so many seconds as one piece; the first window begins with the headers."""
    batch = _Batch(window)
    for step in steps:
        if isinstance(step, Ending):
            yield Ending(_joined([*batch.run, *step]))
            return
        if isinstance(step, list) and not is_unreadable(step):
            batch.take(step)
        elif isinstance(step, (Pause, stall)):
            yield from batch.waited(step)
        else:
            yield from batch.rest()
            yield step
            return
    yield from batch.rest()


class _Batch:
    """What came since the first piece of it, and how many seconds are left until it is given on; None if none came."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._left: float | None = window
        self.run: list[bytes] = []

    def take(self, run: list[bytes]) -> None:
        self.run += run
        if self._left is None and self.run:
            self._left = self._window

    def waited(self, step: Pause | stall) -> Iterator[Any]:
        seconds = step.seconds if isinstance(step, Pause) else math.inf
        left = self._left
        if left is None or seconds <= left + _NEARLY:
            self._left = None if left is None else left - seconds
            yield step
            return
        if left > _NEARLY:
            yield Pause(left)
        yield _joined(self.run)
        self.run, self._left = [], None
        yield step if isinstance(step, stall) else Pause(seconds - max(left, 0.0))

    def rest(self) -> Iterator[list[bytes]]:
        if self.run:
            yield _joined(self.run)


def _joined(run: list[bytes]) -> list[bytes]:
    whole = b"".join(run)
    return [whole] if whole else []


def busy(steps: Iterable[Any], seconds: float) -> Iterator[Any]:
    """Yield nothing for so many seconds, then piece by piece what came meanwhile, and all else as it comes."""
    run: list[bytes] = []
    left = seconds
    steps = iter(steps)
    for step in steps:
        if isinstance(step, list) and not is_unreadable(step) and not isinstance(step, Ending):
            run += step
        elif isinstance(step, Pause) and step.seconds <= left + _NEARLY:
            left -= step.seconds
            yield step
        else:
            if left > _NEARLY:
                yield Pause(left)
            if isinstance(step, Ending):
                yield Ending([*run, *step])
                return
            if run:
                yield run
            yield Pause(step.seconds - max(left, 0.0)) if isinstance(step, Pause) else step
            break
    else:
        if run:
            yield run
    yield from steps


def delayed(steps: Iterable[Any], *, first: float, lag: float, end: float) -> Iterator[Any]:
    """Yield the first piece later, or all of them, or the end. A delay of the first alone is caught up in silences."""
    owed, is_first = 0.0, True
    for step in steps:
        if isinstance(step, Pause):
            paid = min(owed, step.seconds)
            owed -= paid
            if step.seconds > paid:
                yield Pause(step.seconds - paid) if paid else step
            continue
        is_end = not isinstance(step, list) or isinstance(step, Ending)
        if is_first and step and not is_unreadable(step):
            is_first, owed = False, first
            if first + lag > 0:
                yield Pause(first + lag)
        if end and is_end and not isinstance(step, stall):
            yield Pause(end)
        yield step
