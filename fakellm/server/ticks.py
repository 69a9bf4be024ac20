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


class _Tick:
    """One thousandth: its timer, the tickets that are due then, and how many of them are still wanted."""

    __slots__ = ("tickets", "timer", "wanted")

    def __init__(self, timer: asyncio.TimerHandle) -> None:
        self.timer = timer
        self.tickets: list[Ticket] = []
        self.wanted = 0


class Ticks:
    """The timers of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: dict[int, _Tick] = {}

    def call_at(self, when: float, call: Callable[[], None]) -> Ticket:
        """Call at a second of the loop's time, or within a thousandth after it."""
        number = ceil(when / _TICK)
        tick = self._due.get(number)
        if tick is None:
            tick = self._due[number] = _Tick(self._loop.call_at(number * _TICK, self._run, number))
        ticket = Ticket(call, self, number)
        tick.tickets.append(ticket)
        tick.wanted += 1
        return ticket

    def _run(self, number: int) -> None:
        for ticket in self._due.pop(number).tickets:
            ticket.call()

    def give_up(self, number: int) -> None:
        """Take that one of a thousandth's tickets is not wanted: without any its timer would wait for nothing."""
        tick = self._due.get(number)
        if tick is None:  # it runs just now
            return
        tick.wanted -= 1
        if not tick.wanted:
            tick.timer.cancel()
            del self._due[number]


class Ticket:
    """One timer; `cancel` takes it back."""

    __slots__ = ("_number", "_ticks", "call")

    def __init__(self, call: Callable[[], None], ticks: Ticks, number: int) -> None:
        self.call = call
        self._ticks = ticks
        self._number = number

    def cancel(self) -> None:
        """Call nothing, and keep nothing of who would have been called."""
        if self.call is not _nothing:
            self.call = _nothing
            self._ticks.give_up(self._number)


def _nothing() -> None:
    pass
