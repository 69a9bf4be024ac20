"""What the checks of an app have in common: how a run that breaks a contract is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fakellm.contracts.retries.lab import Lab
from fakellm.contracts.retries.runs import Run
from fakellm.contracts.verdicts import Skip, broken
from fakellm.errors import BrokenContractError

EXACT = 0.001
"""Seconds by which moments may be off: some clients count in milliseconds."""


def broken_by(name: str, lab: Lab, run: Run, what: str, *rows: tuple[str, str]) -> BrokenContractError:
    """Return the error for a contract that a run breaks, with its moments and the line that makes the run again."""
    trouble = run.trouble
    named = [] if trouble is None else [("trouble", trouble.name)]
    replay = [] if trouble is None else [("replay", lab.replay(trouble))]
    return broken(name, what, *named, ("asked at", run.asked), ("ended", run.end), *rows, *replay)


def judge(name: str, lab: Lab, runs: Iterable[Run], wrong: Callable[[Run], str]) -> None:
    """Raise what breaks a contract in the first of the runs that does."""
    __tracebackhide__ = True
    for run in runs:
        if what := wrong(run):
            raise broken_by(name, lab, run, what)


def need(runs: list[Run], why: str) -> None:
    """Raise `Skip` where there is no run to judge."""
    if not runs:
        raise Skip(why)
