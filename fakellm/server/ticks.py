"""Timers of many streams, a thousandth of a second coarse.

An event loop keeps each timer in a heap, and compares them with methods in Python: with a thousand streams that is a
third of what an event costs. Streams are paced in hundredths of seconds, so those that are due in the same thousandth
share one timer here. A timer is late by at most that, and never early.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import ceil

_TICK = 0.001


class Ticks:
    """The timers of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: dict[int, list[Ticket]] = {}

    def call_at(self, when: float, call: Callable[[], None]) -> Ticket:
        """Call at a second of the loop's time, or within a thousandth after it."""
        tick = ceil(when / _TICK)
        due = self._due.get(tick)
        if due is None:
            due = self._due[tick] = []
            self._loop.call_at(tick * _TICK, self._run, tick)
        ticket = Ticket(call)
        due.append(ticket)
        return ticket

    def _run(self, tick: int) -> None:
        for ticket in self._due.pop(tick):
            ticket.call()


class Ticket:
    """One timer; `cancel` takes it back."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call

    def cancel(self) -> None:
        """Call nothing, and keep nothing of who would have been called."""
        self.call = _nothing


def _nothing() -> None:
    pass
