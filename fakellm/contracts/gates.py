"""Streams whose every chunk waits at a gate, and what opens the gates, one at a time, in a given order.

The theory. What several streams do at once is a merge of their chunks: each stream keeps its own order, and which
stream comes next is free. After a gate was opened everything runs until nothing can: every task waits, for a gate or
for another task. Then the next gate is opened. So a merge decides all that happens, and two runs of it are the same.
A clock is the gate: before each chunk the script has a pause, and how long that is says which stream waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from math import isinf
from typing import Any

from fakellm.contracts.attempts import Attempt, attempt
from fakellm.errors import ContractUsageError, LLMTimeoutError
from fakellm.script import Script

Merge = tuple[int, ...]
"""Which stream gives its next chunk, by number, from 0."""
NAMES = "abcdefghijklmnopqrstuvwxyz"
_TICK = 1 / 1024  # seconds that the pauses of one stream are longer than those of the one before
_MOMENT = 1e-6  # seconds in which nothing happens
_POLL, _LONGEST = 0.001, 2000  # seconds between looks at threads that work, and how many looks


class GateClock:
    """Waits at a gate, which is opened by `open`. For asynchronous code on one event loop."""

    def __init__(self, count: int) -> None:
        self._waiting: list[list[asyncio.Future[None]]] = [[] for _ in range(count)]
        self._arrived: asyncio.Event | None = None

    @property
    def now(self) -> float:
        """Always 0: gates have an order and no time."""
        return 0.0

    def sleep(self, seconds: float) -> None:
        """Refuse: in which order threads run cannot be held."""
        msg = (
            "interleavings are those of asynchronous code: read the streams with astream() or an asynchronous client. "
            f"A synchronous stream was read here (pause of {seconds:g} s)"
        )
        raise ContractUsageError(msg)

    async def asleep(self, seconds: float) -> None:
        """Wait at the gate of the stream whose pause this is."""
        if isinf(seconds):
            msg = "the stream fell silent for ever"
            raise LLMTimeoutError(msg)
        stream = round(seconds / _TICK) - 1
        if not 0 <= stream < len(self._waiting):  # a pause of somebody else's
            await asyncio.sleep(0)
            return
        gate = asyncio.get_running_loop().create_future()
        waiting = self._waiting[stream]
        waiting.append(gate)
        if self._arrived is not None:
            self._arrived.set()
        try:
            await gate
        finally:
            if gate in waiting:
                waiting.remove(gate)

    def is_waiting(self, stream: int) -> bool:
        """Tell whether the stream has a chunk that waits."""
        return bool(self._waiting[stream])

    def open(self, stream: int) -> None:
        """Let the chunk of this stream that waits longest come."""
        gate = self._waiting[stream].pop(0)
        if not gate.done():
            gate.set_result(None)

    async def arrival(self) -> None:
        """Wait until a chunk waits."""
        self._arrived = asyncio.Event()
        if not any(self._waiting):
            await self._arrived.wait()
        self._arrived = None


class Gated(Script):
    """A script each of whose chunks waits at a gate of `clock`, for a fake that waits on that clock."""

    __slots__ = ("clock",)

    clock: GateClock

    @classmethod
    def of_script(cls, script: Script, stream: int, clock: GateClock) -> Gated:
        """Return the script as stream number `stream`; its own pauses are left out."""
        gated = cls(*without_pauses(script).paced((stream + 1) * _TICK), allow_illegal=script.allow_illegal)
        object.__setattr__(gated, "clock", clock)
        return gated


def without_pauses(script: Script) -> Script:
    """Return the script without its silences."""
    return Script(*(event for event in script if event.type != "pause"), allow_illegal=script.allow_illegal)


def play(
    app: Callable[..., Coroutine[Any, Any, Any]], scripts: Sequence[Script], merge: Merge
) -> tuple[Attempt, Merge]:
    """Run the app on the gated scripts; open the gates in the order of the merge.

    Returns what it came to, and the merge that it was: a chunk that the app has not asked for cannot come, so the
    next that can does.
    """
    clock = GateClock(len(scripts))
    taken: list[int] = []

    async def main() -> Any:
        gated = [Gated.of_script(script, number, clock) for number, script in enumerate(scripts)]
        opener = asyncio.create_task(_open_all(clock, list(merge), taken), name="the gates of fakellm")
        try:
            return await app(*gated)
        finally:
            opener.cancel()

    return attempt(main), tuple(taken)


async def _open_all(clock: GateClock, wanted: list[int], taken: list[int]) -> None:
    """Open one gate after the other, each when nothing else can happen."""
    while True:
        await _quiet()
        stream = _next(clock, wanted)
        if stream is None:
            await clock.arrival()
            continue
        if stream in wanted:
            wanted.remove(stream)
        taken.append(stream)
        clock.open(stream)


async def _quiet() -> None:
    """Wait until no task can run, and no thread works for one."""
    outside: Any = asyncio.get_running_loop().outside  # type: ignore[attr-defined]
    await asyncio.sleep(_MOMENT)
    for _ in range(_LONGEST):
        if not outside.found():
            return
        await asyncio.sleep(_POLL)


def _next(clock: GateClock, wanted: Sequence[int]) -> int | None:
    """Return the first stream of those that are wanted that can give a chunk, else any that can."""
    streams = [*wanted, *range(len(NAMES))]
    count = len(clock._waiting)  # noqa: SLF001
    return next((stream for stream in streams if stream < count and clock.is_waiting(stream)), None)
