"""Streams whose every chunk waits at a gate, and what opens the gates, one at a time, in a given order.

The theory. What several streams do at once is a merge of their chunks: each stream keeps its own order, and which
stream comes next is free. After a gate was opened everything runs until nothing can: every task waits, for a gate or
for another task. What sleeps is waited for too, in virtual time. Then the next gate is opened. So a merge decides all
that happens, and two runs of it are the same. But chunks also come while the code sleeps. So a merge says of each
chunk whether it comes early, before those wake that sleep since the chunk before.
A clock is the gate: before each chunk the script has a pause, and how long that is says which stream waits.

Why gates and not a seed that shuffles ties: a seed reaches what it reaches. Three chunks and three have 20 merges, of
which seeded ties were seen to reach 8; gates reach them all, and name the one that failed. Why a pause carries the
number of its stream: a clock is told nothing but seconds, and so any fake can be gated, those of a provider too,
which the code asks through its own client. The tick is a power of two, so the number comes back exactly.

Why naps are counted. What sleeps between two chunks (a batcher, a debouncer) may have to wake before the next one
makes sense, so it is waited for. But a heartbeat wakes for ever: after a few sleeps a task is no longer taken for
work that ends. A limit of time is no sleep: to let an `asyncio.timeout` run out would make the failure that one is
looking for.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field
from math import isinf
from typing import Any

from fakellm.contracts.attempts import Attempt, attempt
from fakellm.contracts.merges import NAMES, Merge, stream_of
from fakellm.errors import ContractUsageError, LLMTimeoutError
from fakellm.script.script import Script

_TICK = 1 / 1024  # seconds that the pauses of one stream are longer than those of the one before
_MOMENT = 1e-6  # seconds in which nothing happens
_NAPS = 3  # sleeps of one task that are waited for between two gates: what sleeps for ever in turns is no work
_ALL_NAPS = 100  # sleeps of all tasks
_END_OF_SLEEP = "_set_result_unless_cancelled"  # what the timer of `asyncio.sleep` calls
_POLL, _LONGEST = 0.001, 2000  # seconds between looks at threads that work, and how many looks


class GateClock:
    """Waits at a gate, which is opened by `open`. For asynchronous code on one event loop."""

    def __init__(self, count: int) -> None:
        self._waiting: list[list[asyncio.Future[None]]] = [[] for _ in range(count)]
        self._arrived: asyncio.Event | None = None
        self.asked: set[int] = set()
        """The streams that somebody has read from."""

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
        self.asked.add(stream)
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


@dataclass
class Played:
    """What an order came to: the `merge` that it was, and the `asleep` of its places before which code slept."""

    found: Attempt = field(default_factory=Attempt)
    merge: Merge = ()
    asleep: tuple[int, ...] = ()
    asked: Collection[int] = ()


def play(app: Callable[..., Coroutine[Any, Any, Any]], scripts: Sequence[Script], merge: Merge) -> Played:
    """Run the app on the gated scripts; open the gates in the order of the merge.

    The merge that is returned may be another: a chunk that the app does not ask for cannot come, so the next that can
    does; and none is early where nothing sleeps.
    """
    clock = GateClock(len(scripts))
    opener = _Opener(clock, merge)

    async def main() -> Any:
        gated = [Gated.of_script(script, number, clock) for number, script in enumerate(scripts)]
        opening = asyncio.create_task(opener.run(), name="the gates of fakellm")
        try:
            return await app(*gated)
        finally:
            opening.cancel()

    found = attempt(main)
    return Played(found, tuple(opener.taken), tuple(opener.asleep), clock.asked)


class _Opener:
    """Opens one gate after the other."""

    def __init__(self, clock: GateClock, merge: Merge) -> None:
        self.taken: list[int] = []
        self.asleep: list[int] = []
        self._clock = clock
        self._wanted = list(merge)
        self._background: set[Any] = set()
        self._missed: set[int] = set()

    async def run(self) -> None:
        """Open the gates, each when nothing else can happen, or early."""
        while True:
            await _quiet()
            is_early = await self._settle() if self.taken else False
            await self._wait_for_next()
            stream = self._next()
            if stream is None:
                await self._clock.arrival()
                continue
            at = next((at for at, step in enumerate(self._wanted) if stream_of(step) == stream), None)
            if at is not None:
                del self._wanted[at]
            self.taken.append(~stream if is_early else stream)
            self._background = set(_sleepers())
            self._clock.open(stream)

    async def _settle(self) -> bool:
        """Let those wake that sleep since the last gate, unless the next chunk is early and waits; tell if it does."""
        if not set(_sleepers()) - self._background:
            return False
        step = self._wanted[0] if self._wanted else 0
        if len(self.taken) not in self.asleep:
            self.asleep.append(len(self.taken))
        if step < 0 and self._clock.is_waiting(stream_of(step)):
            return True
        await _naps(lambda task: task not in self._background, lambda: False)
        return False

    async def _wait_for_next(self) -> None:
        """Let sleepers wake until the stream waits whose turn it is; one that does not come has had its chance."""
        stream = stream_of(self._wanted[0]) if self._wanted else -1
        if stream < 0 or stream in self._missed or self._clock.is_waiting(stream):
            return
        await _naps(lambda _: True, lambda: self._clock.is_waiting(stream))
        if not self._clock.is_waiting(stream):
            self._missed.add(stream)

    def _next(self) -> int | None:
        """Return the first stream of those that are wanted that can give a chunk, else any that can."""
        streams = [*map(stream_of, self._wanted), *range(len(NAMES))]
        count = len(self._clock._waiting)  # noqa: SLF001
        return next((stream for stream in streams if stream < count and self._clock.is_waiting(stream)), None)


# -- when nothing happens ---------------------------------------------------------------------------------


async def _quiet() -> None:
    """Wait until no task can run, and no thread works for one."""
    outside: Any = asyncio.get_running_loop().outside  # type: ignore[attr-defined]
    await asyncio.sleep(_MOMENT)
    for _ in range(_LONGEST):
        if not outside.found():
            return
        await asyncio.sleep(_POLL)


async def _naps(is_meant: Callable[[Any], bool], is_enough: Callable[[], bool]) -> None:
    """Let time pass while tasks sleep that are meant, each a few times, until it is enough."""
    loop = asyncio.get_running_loop()
    naps: Counter[Any] = Counter()
    while not is_enough() and naps.total() < _ALL_NAPS:
        meant = {task: when for task, when in _sleepers().items() if is_meant(task) and naps[task] < _NAPS}
        if not meant:
            return
        when = min(meant.values())
        naps.update(task for task in meant if meant[task] == when)
        woken = loop.create_future()
        loop.call_at(when, woken.set_result, None)
        await woken
        await _quiet()


def _sleepers() -> dict[Any, float]:
    """Return the tasks that are in an `asyncio.sleep`, and the seconds at which it ends.

    A limit of time, such as `asyncio.timeout`, is not what code does, but what it does not wait for.
    """
    loop: Any = asyncio.get_running_loop()
    found: dict[Any, float] = {}
    for timer in loop._scheduled:  # noqa: SLF001
        if getattr(timer._callback, "__name__", "") != _END_OF_SLEEP or timer.cancelled() or isinf(timer.when()):  # noqa: SLF001
            continue
        callbacks = timer._args[0]._callbacks or ()  # noqa: SLF001
        tasks = [getattr(callback, "__self__", None) for callback, _ in callbacks]
        found.update((task, timer.when()) for task in tasks if isinstance(task, asyncio.Task))
    return found
