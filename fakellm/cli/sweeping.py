"""Does what `fakellm sweep` was asked for: a consumer over archives of recorded streams."""

from __future__ import annotations

import ast
import json
import sys
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from fakellm.cli.progress import Progress
from fakellm.cli.worded import safe
from fakellm.cli.wording import UsageError, reason_of
from fakellm.contracts.sweeps.report import SweepReport
from fakellm.contracts.sweeps.sweep import sweep
from fakellm.errors import ContractUsageError

_FOUND, _WRONG = 1, 2


@dataclass(frozen=True, slots=True)
class Sweeping:
    """What to sweep, and how; see `fakellm sweep --help`."""

    paths: tuple[str, ...]
    consumer: tuple[str, ...]
    against: str | None = None
    contracts: tuple[str, ...] = ()
    reads: str = "bytes"
    limit: int | None = None
    workers: int | None = None
    patience: float = 60.0
    journal: str | None = None
    column: tuple[str, ...] = ()
    at: int | None = None
    only: str | None = None
    json: bool = False


def run(asked: Sweeping) -> int:
    """Sweep with each consumer; return the exit code: 0, 1 where something was found, 2 where one could not be swept.

    One that cannot be imported is told, and the next one is swept.
    """
    path = sys.path[:]
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` does
    try:
        return max([_one(asked, consumer) for consumer in asked.consumer])
    finally:
        sys.path[:] = path


def _one(asked: Sweeping, consumer: str) -> int:
    try:
        return _told(_swept(asked, consumer), as_json=asked.json)
    except (ContractUsageError, UsageError, ImportError, OSError) as error:
        click.echo(f"fakellm: {reason_of(error)}", err=True)
        return _WRONG
    except KeyboardInterrupt:
        if asked.journal is not None:
            goes_on = (
                f"goes on from {asked.journal}" if Path(asked.journal).exists() else "begins anew: no part was done"
            )
            click.echo(f"fakellm: interrupted; the same command {goes_on}", err=True)
        raise


def _swept(asked: Sweeping, consumer: str) -> SweepReport:
    if asked.journal is not None and len(asked.consumer) > 1:
        msg = "--journal is of one sweep: name one --consumer with it"
        raise UsageError(msg)
    # In this process a consumer prints where we do, and what is printed there is the report.
    with Progress("streams", None) as bar, redirect_stdout(sys.stderr) if asked.workers == 0 else nullcontext():
        return sweep(
            asked.paths,
            consumer,
            against=asked.against,
            contracts=[name for names in asked.contracts for name in names.split(",") if name],
            reads=asked.reads,
            limit=asked.limit,
            workers=asked.workers,
            patience=asked.patience,
            journal=asked.journal,
            progress=lambda done: bar.seen(count=done),
            columns=_columns(asked.column),
            at=asked.at,
            only=_moves(asked.only),
        )


def _columns(given: tuple[str, ...]) -> dict[str, str]:
    """Return what columns are called. Raises `UsageError`."""
    pairs = [column.partition("=") for column in given]
    for name, equals, yours in pairs:
        if not (name and equals and yours):
            msg = f"--column is written as OURS=YOURS, body=answer, not {name!r}"
            raise UsageError(msg)
    return {name: yours for name, _, yours in pairs}


def _moves(given: str | None) -> Any:
    if given is None:
        return None
    try:
        return ast.literal_eval(given)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        msg = f"--only takes the moves that a failure showed, such as \"(('cut', 12, 0),)\", not {given!r}"
        raise UsageError(msg) from None


def _told(report: SweepReport, *, as_json: bool) -> int:
    """Say what was found; return the exit code."""
    if as_json:
        click.echo(json.dumps(report.plain(), ensure_ascii=False))
    else:
        click.echo("\n".join(map(safe, str(report).split("\n"))))
    if report.is_clean:
        return 0
    if report.failed or report.unread:
        return _FOUND if report.streams else _WRONG
    click.echo("fakellm: there is no stream to try the consumer on, so nothing is proven", err=True)
    return _WRONG
