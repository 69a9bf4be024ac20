"""Does what `fakellm check` was asked for: looks at many files, in as many processes as there are cores."""

from __future__ import annotations

import gc
import json
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import get_args

import click

from fakellm.cassette.checking import files_of
from fakellm.cli.examining import KINDS, Examined, Examining, Kind, Problem, examine
from fakellm.cli.progress import Progress
from fakellm.cli.usage import Usage, UsageFileError
from fakellm.cli.worded import safe
from fakellm.cli.wording import counted, reason_of
from fakellm.contracts.grammar.check import GRAMMARS

_FOUND, _WRONG = 1, 2
_LARGE = 2 * 2**20
"""Bytes from which on several processes are faster than one, which needs no start."""
_AT_ONCE = 8
"""Files that a process is given at a time."""


@dataclass(frozen=True, slots=True)
class Checking:
    """What to check, and how; see `fakellm check --help`."""

    paths: tuple[str, ...]
    max_age: float | None = None
    usage: tuple[str, ...] = ()
    skip: tuple[Kind, ...] = ()
    ignore: tuple[str, ...] = ()
    json: bool = False


def run(asked: Checking, now: datetime | None = None) -> int:
    """Check; return the exit code: 0, 1 where something was found, 2 where it was asked wrongly."""
    try:
        _check_rules(asked.ignore)
        usage = Usage.load(asked.usage) if asked.usage else None
        files = sorted(set(map(str, files_of(asked.paths))))
    except (OSError, UsageFileError, click.UsageError) as error:
        click.echo(f"fakellm: {reason_of(error)}", err=True)
        return _WRONG
    missing = [path for path in asked.paths if not Path(path).exists()]
    if missing:
        click.echo(f"fakellm: there is no file {missing[0]}", err=True)
        return _WRONG
    kinds = frozenset(KINDS).difference(asked.skip)
    examining = Examining(kinds, asked.max_age, now or datetime.now(UTC), asked.ignore)
    found = list(_examined(files, examining))
    problems = [problem for one in found for problem in one.problems]
    notes: list[str] = []
    if usage is not None and "unused" in kinds:
        for told in usage.problems([one.file for one in found if one.is_tape]):
            (problems if isinstance(told, Problem) else notes).append(told)  # type: ignore[arg-type]
    if asked.max_age is not None and (undated := sum(one.is_tape and not one.is_dated for one in found)):
        notes.append(f"{counted(undated, 'tape')} without a date, of which the age is not known")
    _tell(asked, found, sorted(problems), notes)
    return _FOUND if problems else 0


def _check_rules(ignore: Iterable[str]) -> None:
    """Raise `click.UsageError` for a rule that no grammar has."""
    known = {rule.id for grammar in GRAMMARS.values() for rule in grammar.rules.values()}
    for name in ignore:
        if name not in known:
            msg = f"--ignore: there is no rule {name!r}; a problem names its rule, such as openai_chat.done"
            raise click.UsageError(msg)


def _examined(files: Sequence[str], asked: Examining) -> Iterator[Examined]:
    """Yield what was found in files, in their order."""
    size = sum(_size(file) for file in files)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with Progress("files", len(files)) as progress:
        if cores < 2 or size < _LARGE or len(files) < 2 * _AT_ONCE:  # noqa: PLR2004
            for file in files:
                yield examine(file, asked)
                progress.seen()
            return
        yield examine(files[0], asked)  # what is loaded and compiled for it, processes that are forked have
        progress.seen()
        with ProcessPoolExecutor(cores, initializer=_quiet) as pool:
            for found in pool.map(partial(examine, asked=asked), files[1:], chunksize=_AT_ONCE):
                yield found
                progress.seen()


def _quiet() -> None:
    """Leave Ctrl-C to the process that shows something; let the garbage collector pass over what was loaded."""
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _size(file: str) -> int:
    try:
        return Path(file).stat().st_size
    except OSError:
        return 0


def _tell(asked: Checking, found: Sequence[Examined], problems: Sequence[Problem], notes: Sequence[str]) -> None:
    tapes, interactions = sum(one.is_tape for one in found), sum(one.interactions for one in found)
    if asked.json:
        document = {
            "files": len(found), "tapes": tapes, "interactions": interactions,
            "problems": [asdict(problem) for problem in problems], "notes": [*notes],
        }  # fmt: skip
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    for problem in problems:
        first, *rest = str(problem).split("\n")
        click.echo("\n".join([safe(first), *(f"  {safe(line)}" for line in rest)]))
    for note in notes:
        click.echo(f"note: {safe(note)}")
    told = ", ".join(
        f"{count} {kind}" for kind in get_args(Kind) if (count := sum(one.kind == kind for one in problems))
    )
    seen = f"{counted(tapes, 'tape')} with {counted(interactions, 'interaction')}"
    click.echo(f"checked {seen}: {told or 'nothing found'}")
