"""Runs a sweep: checks what was asked for, takes up its journal, and adds up what comes of the parts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from fakellm.contracts.consumers.attempt import Consume
from fakellm.contracts.consumers.given import check_moves
from fakellm.contracts.documents import Moves
from fakellm.contracts.sweeps.contracts import check_names
from fakellm.contracts.sweeps.documents import READS
from fakellm.contracts.sweeps.journal import Journal
from fakellm.contracts.sweeps.keeping import Job, keeper
from fakellm.contracts.sweeps.references import (
    ConsumerError,
    Reference,
    is_named,
    movable,
    reference_to,
    resolved,
    source_of,
)
from fakellm.contracts.sweeps.report import Replay, SweepReport
from fakellm.contracts.sweeps.rows import COLUMNS
from fakellm.contracts.sweeps.sources import LARGE, units_of
from fakellm.contracts.sweeps.spreading import Here, Spread
from fakellm.contracts.sweeps.stores import Options, check_there, options_of
from fakellm.contracts.sweeps.trying import Sweeping
from fakellm.contracts.sweeps.watching import Watch
from fakellm.contracts.sweeps.working import Work, staying, swept
from fakellm.errors import ContractUsageError

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


@dataclass(frozen=True)
class Sweep:
    """What `sweep` was asked for. Raises `ContractUsageError` for what cannot be swept."""

    tapes: Paths
    consume: Consume | str
    against: Consume | str | None = None
    contracts: str | Iterable[str] = ()
    reads: str = "bytes"
    limit: int | None = None
    seed: int = 0
    patience: float = 60.0
    journal: str | Path | None = None
    columns: Mapping[str, str] | None = None
    storage: Mapping[str, Any] | None = None
    at: int | None = None
    only: Moves | None = None

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """Where the archive is."""
        given = [self.tapes] if isinstance(self.tapes, (str, os.PathLike)) else list(self.tapes)
        found = tuple(os.fspath(path) for path in given)
        if not found:
            msg = "there is nothing to sweep: give a folder, a file, a pattern or a URL"
            raise ContractUsageError(msg)
        return found

    @cached_property
    def options(self) -> Options:
        """What fsspec is given."""
        return options_of(self.storage)

    @cached_property
    def sweeping(self) -> Sweeping:
        """How streams are tried."""
        if self.reads not in READS:
            msg = f"reads={self.reads!r} is none of {', '.join(map(repr, READS))}"
            raise ContractUsageError(msg)
        for name, number in (("limit", self.limit), ("seed", self.seed), ("at", self.at)):
            if number is not None and (type(number) is not int or number < 0):
                msg = f"{name} is a whole number from 0 up, not {number!r}"
                raise ContractUsageError(msg)
        if not isinstance(self.patience, (int, float)) or not self.patience > 0:
            msg = f"patience is how many seconds one reading may take, above 0, not {self.patience!r}"
            raise ContractUsageError(msg)
        only = None if self.only is None else check_moves(self.only)
        names = check_names(self.contracts)
        if only is not None and names:
            msg = "only= replays one chunking of a failure, whatever contract that breaks: leave contracts= out"
            raise ContractUsageError(msg)
        return Sweeping(self.reads, names, self.limit, self.seed, only, self.at, float(self.patience))

    @cached_property
    def consumers(self) -> tuple[Reference, Reference | None]:
        """The consumer, and the other version of it."""
        if self.against is not None and self.sweeping.contracts:
            msg = "against= compares two versions, contracts= holds one to contracts: say one of them"
            raise ContractUsageError(msg)
        return reference_to(self.consume), reference_to(self.against) if self.against is not None else None

    @cached_property
    def job(self) -> Job:
        """What other processes are told. Raises `ContractUsageError` for a consumer that cannot get there."""
        one, other = self.consumers
        moved = movable(one, self.consume)
        beside = movable(other, self.against) if other is not None and self.against is not None else None
        return Job(moved, beside, self.sweeping, tuple(sys.path), str(Path.cwd()))

    @property
    def fingerprint(self) -> str:
        """What tells it from other sweeps: what is asked for, and the code of the consumers as far as it is known."""
        said = repr((self.paths, self.consumers, self.sweeping, sorted((self.columns or {}).items())))
        files = [file for one in self.consumers if one is not None and (file := source_of(one))]
        code = b"".join(Path(file).read_bytes() for file in files if Path(file).is_file())
        return sha256(said.encode() + code).hexdigest()

    def run(
        self, executor: Executor | None, workers: int | None, ahead: int, progress: Callable[[int], object] | None
    ) -> SweepReport:
        """Sweep, and return the report."""
        check_there(self.paths, self.options)
        if unknown := set(self.columns or {}).difference(COLUMNS):
            msg = f"columns= maps our names to yours, and there is no {min(unknown)!r}: {', '.join(COLUMNS)}"
            raise ContractUsageError(msg)
        one, other = self.consumers
        journal = Journal.opened(self.journal, self.fingerprint if self.journal is not None else "")
        large = sys.maxsize if self.at is not None else LARGE
        units = units_of(self.paths, self.options, self.columns, large=large, without=self.journal)
        with ExitStack() as stack:
            spread = self._spread(stack, executor, workers, ahead)
            try:
                for unit, tally in spread.tallies(journal.left(units)):
                    journal.add(unit, tally)
                    if progress is not None:
                        progress(journal.tally.streams)
            except BaseException:
                keeper().break_off()
                raise
            finally:
                journal.write()
        journal.remove()
        return SweepReport(one.shown, other.shown if other is not None else "", journal.tally, self._replay())

    def _replay(self) -> Replay:
        """Return what a line has to say that replays a failure; the options of a store may be secret."""
        one, other = self.consumers
        name = one.name if is_named(one, self.consume) else "consume"
        beside = ""
        if self.against is not None and other is not None:
            beside = other.name if is_named(other, self.against) else "against"
        options = [f"reads={self.reads!r}"] if self.reads != "bytes" else []
        options += [f"columns={dict(self.columns)!r}"] if self.columns else []
        options += ["storage=storage"] if self.storage else []
        return Replay(name, beside, tuple(options))

    def _spread(self, stack: ExitStack, executor: Executor | None, workers: int | None, ahead: int) -> Here | Spread:
        """Return what does the parts: this process, processes of ours, or an executor."""
        if type(ahead) is not int or ahead < 1:
            msg = f"ahead is how many parts are handed out at a time, 1 or more, not {ahead!r}"
            raise ContractUsageError(msg)
        if executor is None and workers == 0:
            return Here(partial(swept, work=self._work(), watch=stack.enter_context(Watch(self.sweeping.patience))))

        stack.callback(keeper().close)

        def own() -> Executor:
            return stack.enter_context(ThreadPoolExecutor(_number(workers)))

        if executor is None:
            _number(workers)
            if problem := keeper().check(self.job):
                raise ContractUsageError(problem)
        return Spread(executor or own(), self.job, ahead, own)

    def _work(self) -> Work:
        """Return the consumers for this process. Raises `ContractUsageError` for one that cannot be imported."""
        found = []
        for given, reference in zip((self.consume, self.against), self.consumers, strict=True):
            try:
                with staying():
                    found.append(resolved(reference) if isinstance(given, str) and reference is not None else given)
            except ConsumerError as error:
                raise ContractUsageError(str(error)) from error
        return Work(found[0], found[1], self.sweeping)  # type: ignore[arg-type]


def _number(workers: int | None) -> int:
    """Return how many processes there are to be: by default one for each core that is ours."""
    if workers is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if type(workers) is not int or workers < 0:
        msg = f"workers is how many processes sweep, 0 for this one, not {workers!r}"
        raise ContractUsageError(msg)
    return max(workers, 1)
