"""Parts of an archive on an executor: so many at a time, and what was found in them in the order of the archive.

The order is what makes a report the same on every executor, and what a journal can note as a single number: so many
parts are done. Of parts that are ready early no more is kept than are handed out at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future

from fakellm.contracts.sweeps.keeping import Job, lost, sweep_part
from fakellm.contracts.sweeps.sources import Unit
from fakellm.contracts.sweeps.tally import Tally

_TRIES = 3
"""How often a part is handed out that the executor fails to do."""


class Spread:
    """Hands parts to an executor. `own` makes one of ours, for when that breaks."""

    def __init__(self, executor: Executor, job: Job, ahead: int, own: Callable[[], Executor]) -> None:
        self._executor = executor
        self._job = job
        self._ahead = ahead
        self._own = own
        self._waiting: deque[tuple[Unit, Future[Tally]]] = deque()

    def tallies(self, units: Iterable[Unit]) -> Iterator[tuple[Unit, Tally]]:
        """Yield each part with what was found in it, in their order."""
        try:
            for unit in units:
                self._waiting.append((unit, self._submitted(unit)))
                if len(self._waiting) >= self._ahead:
                    yield self._next()
            while self._waiting:
                yield self._next()
        finally:
            for _, future in self._waiting:
                future.cancel()

    def _submitted(self, unit: Unit) -> Future[Tally]:
        try:
            return self._executor.submit(sweep_part, unit, self._job)
        except BrokenExecutor:
            return self._mended().submit(sweep_part, unit, self._job)

    def _mended(self) -> Executor:
        """Take an executor of our own in the place of one that is broken: a pool whose process was killed, say."""
        self._executor = self._own()
        return self._executor

    def _next(self) -> tuple[Unit, Tally]:
        unit, future = self._waiting.popleft()
        broken: Executor | None = None
        for tries in range(_TRIES + 1):
            try:
                return unit, future.result()
            except BrokenExecutor:
                broken = broken or self._executor
                if self._executor is broken:
                    self._mended()
            except CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever the executor has for a worker that is gone
                if tries == _TRIES:
                    reason = f"{type(error).__name__}: {error}".partition("\n")[0]
                    return unit, lost(unit, f"a part that no worker could sweep\n{reason}")
            future = self._submitted(unit)
        return unit, lost(unit, "a part that no worker could sweep")


class Here:
    """Sweeps in this process and this thread, where a consumer that hangs is interrupted and cannot be killed."""

    def __init__(self, sweep: Callable[[Unit], Tally]) -> None:
        self._sweep = sweep

    def tallies(self, units: Iterable[Unit]) -> Iterator[tuple[Unit, Tally]]:
        """Yield each part with what was found in it."""
        for unit in units:
            yield unit, self._sweep(unit)
