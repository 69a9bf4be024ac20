"""Keeps processes that consumers run in: gives them work, and ends those that hang.

Whatever executor a part of an archive is handed to, a thread of it waits here for a process of its own. A consumer may
do anything: wait for ever where no signal reaches it, exit, crash its interpreter. Then that process is killed, or is
gone; what it was at is known, and another one goes over the part again and leaves that out, naming it. A process that
was killed from outside is no fault of the consumer's: so a stream is blamed for an end once it has ended two.
"""

from __future__ import annotations

import json
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from fakellm.contracts.sweeps import causes
from fakellm.contracts.sweeps.child import LENGTH, framed
from fakellm.contracts.sweeps.references import Reference
from fakellm.contracts.sweeps.sources import Unit, streams_of
from fakellm.contracts.sweeps.streams import Place, Recording, Unread
from fakellm.contracts.sweeps.tally import Tally
from fakellm.contracts.sweeps.trying import Sweeping
from fakellm.contracts.sweeps.working import Spot

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from fakellm.contracts.sweeps.child import main; main()"
)
_GRACE = 2.0
"""How many times its deadline a process is given: inside it a watchdog has a say first."""
_START = 60.0
"""Seconds in which a process has to have imported what it runs, at least."""
_BLAMED = 2
_IDLE = 8
"""Processes that wait for more work, at most."""


class Job(NamedTuple):
    """What is done to all parts of an archive; it can be pickled."""

    consume: Reference
    against: Reference | None
    sweeping: Sweeping
    path: tuple[str, ...]
    folder: str


class GoneError(Exception):
    """A process did not answer: it hangs, or it ended by itself, with the exit code `code`."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code

    @property
    def fate(self) -> str:
        """What became of it, in words."""
        if self.code is None:
            return causes.HANGS
        how = signal.Signals(-self.code).name if self.code < 0 else f"exit code {self.code}"
        return f"{causes.DIES}: {how}"


class Child:
    """A process that sweeps parts. `problem` is why it cannot, if it cannot import the consumer."""

    def __init__(self, job: Job) -> None:
        self._patience = job.sweeping.patience * _GRACE + 1.0
        self._process = subprocess.Popen(  # noqa: S603 - this Python, and what stands above
            [sys.executable, "-c", _BOOT, json.dumps(job.path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env={"PYTHONHASHSEED": "0", **os.environ},
        )  # fmt: skip
        self.at: Spot | None = None
        try:
            self._send((job.consume, job.against, job.sweeping, job.folder))
            self.problem: str = self._received(max(self._patience, _START))
        except GoneError as gone:
            self.problem = f"{job.consume.shown} cannot be imported: the process that imports it {gone.fate}"

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it can be given work."""
        return self._process.poll() is None

    def _send(self, value: Any) -> None:
        try:
            self._process.stdin.write(framed(value))  # type: ignore[union-attr]
        except OSError:
            raise self._gone() from None

    def _received(self, patience: float) -> Any:
        """Return what it tells. Raises `GoneError` if that takes longer than `patience` real seconds."""
        (size,) = LENGTH.unpack(self._read(LENGTH.size, patience))
        return pickle.loads(self._read(size, patience))  # noqa: S301 - our own process wrote it

    def _read(self, size: int, patience: float) -> bytes:
        data, number = b"", self._process.stdout.fileno()  # type: ignore[union-attr]
        poll, used = select.poll(), self._used()
        poll.register(number, select.POLLIN)
        while len(data) < size:
            if not poll.poll(patience * 1000):
                if self._is_held_up(used, patience):
                    continue
                self.close()
                raise GoneError(None)
            more = os.read(number, size - len(data))
            if not more:
                raise self._gone()
            data += more
        return data

    def _used(self) -> tuple[str, float]:
        """Return the state of the process, and how many seconds of a processor it had; where the system tells them."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            return fields[0], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError):
            return "", 0.0

    def _is_held_up(self, before: tuple[str, float], patience: float) -> bool:
        """Tell whether it is the machine that a process waits for: it was stopped, or wants to run and may not."""
        state, used = self._used()
        return state == "T" or (state == "R" and used - before[1] < patience / _GRACE)

    def _gone(self) -> GoneError:
        """Return the error for a process that has ended."""
        code = self._process.wait()
        self.close()
        return GoneError(code)

    def swept(self, unit: Unit, fates: dict[Spot, str]) -> Tally | None:
        """Return what was found in a part; None where the consumer cannot be imported. Raises `GoneError`."""
        self.at = None
        self._send((unit, fates))
        while isinstance(told := self._received(self._patience), Spot):
            self.at = told
        found: Tally | None = told
        return found

    def kill(self) -> None:
        """End it; whoever waits for it is told."""
        self._process.kill()

    def close(self) -> None:
        """End it, and let go of it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


class Keeper:
    """The processes of this one that wait for work of one job."""

    def __init__(self) -> None:
        self._job: Job | None = None
        self._idle: list[Child] = []
        self._busy: list[Child] = []
        self._is_broken_off = False
        self._lock = threading.Lock()

    def _taken(self, job: Job) -> Child:
        """Return a process for a job, one that waits or a new one."""
        with self._lock:
            gone: list[Child] = []
            if self._job != job:
                self._job, gone, self._idle = job, self._idle, []
                self._is_broken_off = False
            alive = [child for child in self._idle if child.is_alive]
            gone += [child for child in self._idle if child not in alive]
            self._idle = alive
            child = alive.pop() if alive else None
        for other in gone:
            other.close()
        child = child or Child(job)
        with self._lock:
            self._busy.append(child)
            if self._is_broken_off:
                child.kill()
        return child

    def _back(self, job: Job, child: Child) -> None:
        with self._lock:
            self._busy.remove(child)
            if child.problem:
                pass
            elif self._job == job and len(self._idle) < _IDLE:
                self._idle.append(child)
                return
        child.close()

    def close(self) -> None:
        """End the processes that wait."""
        with self._lock:
            self._job, gone, self._idle = None, self._idle, []
        for child in gone:
            child.close()

    def break_off(self) -> None:
        """End the processes that work: nobody waits for what they do."""
        with self._lock:
            self._is_broken_off = True
            for child in self._busy:
                child.kill()

    def check(self, job: Job) -> str:
        """Return why a consumer cannot be imported, or nothing."""
        child = self._taken(job)
        self._back(job, child)
        return child.problem

    def swept(self, unit: Unit, job: Job) -> Tally:
        """Sweep a part in a process that may hang or end; that is what is found then."""
        fates: dict[Spot, str] = {}
        ends: Counter[Spot | None] = Counter()
        while True:
            child = self._taken(job)
            try:
                tally = child.swept(unit, fates) if not child.problem else None
            except GoneError as gone:
                with self._lock:
                    self._busy.remove(child)
                    if self._is_broken_off:
                        raise
                at = child.at
                ends[at] += 1
                if at is None:
                    if ends[at] > _BLAMED:
                        return lost(unit, f"a part that no process could sweep\n{gone.fate}")
                elif gone.code is None or ends[at] >= _BLAMED:
                    fates[at] = gone.fate
                continue
            self._back(job, child)
            return tally if tally is not None else _unlooked(unit, child.problem)


@cache
def keeper() -> Keeper:
    """Return that of this process, which outlives the parts that it is given."""
    return Keeper()


def sweep_part(unit: Unit, job: Job) -> Tally:
    """Sweep a part; it never raises for what a consumer does. It is what executors are given."""
    return keeper().swept(unit, job)


def lost(unit: Unit, why: str) -> Tally:
    """Return what is said of a part that could not be swept."""
    tally = Tally(files=unit.files)
    for part in unit.parts:
        tally.unread(Unread(Place(part.path), why))
        if part.kind == "lines":  # those behind it are numbered on
            tally.lines += sum(1 for _ in streams_of(unit, part))
    return tally


def _unlooked(unit: Unit, problem: str) -> Tally:
    """Count the streams of a part that no consumer could be tried on."""
    tally = Tally(files=unit.files)
    for part in unit.parts:
        for one in streams_of(unit, part):
            tally.lines += 1
            if isinstance(one, Recording):
                tally.unread(Unread(one.place, f"a stream that the consumer was not tried on\n{problem}"))
            elif one is not None:
                tally.unread(one)
    return tally
