"""Measuring on a noisy machine: contestants take turns, round by round, and their medians are compared.

Time is in seconds unless a name says otherwise. The garbage collector stays on, as in a test run, and is
run before each turn, so that nobody pays for the garbage of the one before.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TypeVar

K = TypeVar("K")
T = TypeVar("T")
NO_LANGCHAIN = "langchain-core is not installed: the rows that compare with it are left out"


@dataclass(frozen=True)
class Row:
    """A line of a table of speeds: our contestant, its rival, and how many times as fast it has to be."""

    ours: str
    rival: str
    target: float | None = None


def rounds(turns: Mapping[K, Callable[[], T]], *, seconds: float, least: int = 5) -> dict[K, list[T]]:
    """Return what each turn gave in each round: as many rounds as fit into the seconds, `least` at least.

    Every second round goes backwards, so that a drift of the machine's speed favours nobody.
    """
    results: dict[K, list[T]] = {name: [] for name in turns}
    order = list(turns)
    start = time.perf_counter()
    count = 0
    while count < least or (time.perf_counter() - start) * (count + 1) / count < seconds:
        for name in order:
            results[name].append(turns[name]())
        order.reverse()
        count += 1
    return results


def timed(job: Callable[[], object], number: int = 1) -> float:
    """Return the seconds of one call of the job: the mean of `number` calls in a row."""
    gc.collect()
    start = time.perf_counter()
    for _ in range(number):
        job()
    return (time.perf_counter() - start) / number


def race(jobs: Mapping[str, Callable[[], object]], *, seconds: float, turn: float = 0.01) -> dict[str, list[float]]:
    """Return the seconds per call of each job in each round.

    A job is called once to warm up; in a round as often as fits into `turn` seconds, once at least.
    """
    for job in jobs.values():
        job()
    gc.collect()
    gc.freeze()
    numbers = {name: max(1, int(turn / timed(job))) for name, job in jobs.items()}
    return rounds({name: partial(timed, job, numbers[name]) for name, job in jobs.items()}, seconds=seconds)


def speeds(times: Mapping[str, Sequence[float]], rows: Sequence[Row], *, per: int = 1) -> list[list[str]]:
    """Return the cells of the rows whose rivals took part; `per` divides the times, not the ratios."""
    return [_speed(times[row.ours], times[row.rival], row, per) for row in rows if {row.ours, row.rival} <= {*times}]


def _speed(ours: Sequence[float], rival: Sequence[float], row: Row, per: int) -> list[str]:
    ratios = [theirs / mine for mine, theirs in zip(ours, rival, strict=True)]
    ratio = median(ratios)
    return [
        row.ours,
        duration(median(ours) / per),
        row.rival,
        duration(median(rival) / per),
        f"{times_as(ratio)} ({times_as(min(ratios))} - {times_as(max(ratios))})",
        str(len(ratios)),
        *verdict(ratio, row.target, ">=", times_as),
    ]


SPEED_HEADS = ("ours", "takes", "rival", "takes", "speed over rival (min - max)", "rounds", "target", "")


def by_rivals(jobs: Mapping[str, T], rows: Sequence[Row]) -> dict[str, T]:
    """Return the jobs of the rows in an order in which rivals take their turns right after one another."""
    return {name: jobs[name] for row in rows for name in (row.rival, row.ours) if name in jobs}


def duration(seconds: float) -> str:
    """Word a time with three digits, in s from 1 s up, in ms, or below 0.1 ms in us."""
    if abs(seconds) >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds * 1e3:.3g} ms" if abs(seconds) >= 1e-4 else f"{seconds * 1e6:.3g} us"


def times_as(ratio: float) -> str:
    """Word a ratio: with two digits, or as a whole number from 100 up."""
    return f"{ratio:.0f}x" if ratio >= 100 else f"{ratio:.2g}x"


def verdict(value: float, target: float | None, sign: str, word: Callable[[float], str]) -> tuple[str, str]:
    """Return the target, worded, and whether the value meets it; `sign` ends in ">=" or "<="."""
    if target is None:
        return "-", ""
    met = value >= target if sign.endswith(">=") else value <= target
    return f"{sign} {word(target)}", "met" if met else "MISSED"


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the rows in columns as wide as they need to be, the first one flush left."""
    lines = [heads, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join(["", title, "", shown[0], "  ".join("-" * width for width in widths), *shown[1:]])
