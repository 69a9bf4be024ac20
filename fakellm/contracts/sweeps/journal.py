"""How far a sweep is, in a file: so that one that was interrupted goes on where it was.

The file is replaced, whole or not at all, after parts of the archive that are done in order: what is done stands in it
with what was found there, so nothing is lost and nothing is counted twice. It says which sweep it is of, and what the
archive was as far as that was read: another consumer, other options, or files that have changed since are refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from fakellm.contracts.sweeps.sources import Unit
from fakellm.contracts.sweeps.tally import Tally
from fakellm.errors import ContractUsageError
from fakellm.script.disk import check_folder, write_atomically

_VERSION = 1
_EVERY = 8
"""Parts after which it is written."""


@dataclass
class Journal:
    """What is done of a sweep: `parts`, and what was found in them. Without a `path` nothing is written."""

    path: Path | None
    job: str
    tally: Tally = field(default_factory=Tally)
    parts: int = 0
    lines: int = 0
    digest: str = ""
    _written: int = 0

    @classmethod
    def opened(cls, path: str | Path | None, job: str) -> Journal:
        """Return the journal of a sweep, as it is on the disk or new.

        Raises `ContractUsageError` for that of another one, and `OSError` where none can be written.
        """
        journal = cls(Path(path) if path is not None else None, job)
        if journal.path is None:
            return journal
        check_folder(journal.path)
        if not journal.path.exists():
            return journal
        try:
            found = json.loads(journal.path.read_bytes())
            _check(found["fakellm_sweep"])
            journal.parts, journal.lines, journal.digest = found["parts"], found["lines"], found["archive"]
            tally = Tally.from_plain(found["found"])
        except (ValueError, KeyError, TypeError) as error:
            msg = f"{path} is no journal of a sweep\n  to do:     name another file, or remove it"
            raise ContractUsageError(msg) from error
        if found["sweep"] != job:
            msg = f"{path} is the journal of another sweep: its consumer, its code, its paths or its options differ"
            raise ContractUsageError(f"{msg}\n  to do:     remove it, and all is swept anew")
        journal.tally = tally
        return journal

    def left(self, units: Iterable[Unit]) -> Iterator[Unit]:
        """Yield the parts that are not done. Raises `ContractUsageError` if those that are have changed."""
        found = iter(units)
        digest = ""
        for _ in range(self.parts):
            unit = next(found, None)
            digest = _next(digest, unit) if unit is not None else ""
        if digest != self.digest:
            msg = (
                f"the archive has changed since {self.path} was written\n  to do:     remove it, and all is swept anew"
            )
            raise ContractUsageError(msg)
        yield from found

    def add(self, unit: Unit, tally: Tally) -> None:
        """Note that a part is done."""
        before = self.lines if unit.parts[0].start else 0
        self.tally.add(tally, before)
        self.lines = before + tally.lines
        self.parts += 1
        if self.path is not None:
            self.digest = _next(self.digest, unit)
            if self.parts - self._written >= _EVERY:
                self.write()

    def write(self) -> None:
        """Write it, if something is new."""
        if self.path is None or self.parts == self._written:
            return
        document: dict[str, Any] = {
            "fakellm_sweep": _VERSION, "sweep": self.job, "parts": self.parts, "lines": self.lines,
            "archive": self.digest, "found": self.tally.plain(),
        }  # fmt: skip
        write_atomically(self.path, json.dumps(document))
        self._written = self.parts

    def remove(self) -> None:
        """Remove it: the sweep is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _check(version: object) -> None:
    if version != _VERSION:
        msg = f"the journal has the version {version}"
        raise ValueError(msg)


def _next(digest: str, unit: Unit) -> str:
    return sha256(f"{digest}\n{unit.key}".encode()).hexdigest()
