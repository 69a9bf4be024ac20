"""Timers of many streams, a thousandth of a second coarse.

An event loop keeps each timer in a heap, and compares them with methods in Python: with a thousand streams that is a
third of what an event costs. Streams are paced in hundredths of seconds, so those that are due in the same thousandth
share one timer here. A timer is late by at most that, and never early.
"""

from __future__ import annotations

import asyncio
from math import ceil
from typing import NamedTuple, Protocol

_TICK = 0.001
_ROOM = 2**16


class Waiting(Protocol):
    """Who waits: one timer at a time."""

    def step(self) -> None:
        """Go on."""


class _Tick(NamedTuple):
    """One thousandth: its timer, and who wants to go on then, in that order."""

    timer: asyncio.TimerHandle
    waiting: dict[Waiting, None]


class Ticks:
    """The timers of one event loop. `now` is its time, as it was when the last of them was looked at.

    `room` is where what comes to the connections of the loop is read into, one read at a time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.room = memoryview(bytearray(_ROOM))
        self._loop = loop
        self._due: dict[int, _Tick] = {}
        self._running: dict[Waiting, None] = {}
        self.now = loop.time()

    def call_at(self, when: float, who: Waiting) -> int:
        """Let somebody go on at a second of the loop's time, or within a thousandth after it; return which that is."""
        number = ceil(when / _TICK)
        tick = self._due.get(number)
        if tick is None:
            tick = self._due[number] = _Tick(self._loop.call_at(number * _TICK, self._run, number), {})
        tick.waiting[who] = None
        return number

    def _run(self, number: int) -> None:
        self.now = self._loop.time()
        self._running = waiting = self._due.pop(number).waiting
        for who in [*waiting]:
            if waiting.pop(who, 0) is None:  # else another made it give up
                try:
                    who.step()
                except Exception as error:  # noqa: BLE001 - the others wait for their time, not for this
                    self._loop.call_exception_handler({"message": "an answer raised", "exception": error})

    def give_up(self, number: int, who: Waiting) -> None:
        """Take that somebody does not want to go on: a timer that nobody waits for any more would wait for nothing."""
        tick = self._due.get(number)
        if tick is None:
            self._running.pop(who, None)
            return
        tick.waiting.pop(who, None)
        if not tick.waiting:
            tick.timer.cancel()
            del self._due[number]
