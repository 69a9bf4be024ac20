"""How fast an answer came: the time to its first chunk, the silences between chunks, tokens a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from fakellm.cli.recorded import Recorded

EDGES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds that a gap of a class of the histogram is shorter than; those of the last class are longer."""
_LEVELS = " ▁▂▃▄▅▆▇█"
_PLAIN = " .:-=+*#@"


@dataclass(frozen=True, slots=True)
class Pace:
    """When the chunks of an answer came, in seconds since its head; `gaps` are the silences after the first.

    `rate` is how many tokens a second came from the first chunk to the last, where the answer says how many it has.
    """

    times: tuple[float, ...]
    gaps: tuple[float, ...]
    rate: float | None

    @property
    def first(self) -> float:
        """Seconds to the first chunk."""
        return self.times[0]

    @property
    def last(self) -> float:
        """Seconds to the last chunk."""
        return self.times[-1]

    @property
    def median(self) -> float:
        """The silence that half of all are shorter than; 0 of one chunk."""
        return median(self.gaps) if self.gaps else 0.0

    @property
    def longest(self) -> tuple[float, int]:
        """The longest silence, and the number of the chunk, from 0, that it came before."""
        return max(((gap, at) for at, gap in enumerate(self.gaps, 1)), default=(0.0, 0))

    def histogram(self) -> list[tuple[str, int]]:
        """Return how many gaps there are of each length, from the first class that has one to the last."""
        counts = [0] * (len(EDGES) + 1)
        for gap in self.gaps:
            counts[sum(gap >= edge for edge in EDGES)] += 1
        used = [at for at, count in enumerate(counts) if count]
        return [(_named(at), counts[at]) for at in range(used[0], used[-1] + 1)] if used else []

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can say it."""
        return {
            "first": self.first,
            "last": self.last,
            "median_gap": round(self.median, 4),
            "longest_gap": round(self.longest[0], 4),
            "longest_gap_before": self.longest[1],
            "tokens_per_second": None if self.rate is None else round(self.rate, 1),
        }


def pace_of(recorded: Recorded) -> Pace | None:
    """Return how fast an answer came; None where nobody noted that."""
    times = tuple(chunk.at for chunk in recorded.chunks if chunk.at is not None)
    if not times:
        return None
    gaps = tuple(round(after - before, 4) for before, after in pairwise(times))
    usage, taken = recorded.script.usage, times[-1] - times[0]
    is_known = usage is not None and usage.output_tokens > 0 and taken > 0
    return Pace(times, gaps, usage.output_tokens / taken if is_known and usage is not None else None)


def _named(at: int) -> str:
    if at == 0:
        return f"< {seconds(EDGES[0])}"
    return f">= {seconds(EDGES[-1])}" if at == len(EDGES) else f"{seconds(EDGES[at - 1])} to {seconds(EDGES[at])}"


def seconds(value: float) -> str:
    """Word a time: in milliseconds below a second."""
    if value < 1:
        return f"{value * 1000:.3g} ms"
    return f"{value:.3g} s" if value < 100 else f"{value:.0f} s"  # noqa: PLR2004


def line_of(times: Sequence[float], sizes: Sequence[int], width: int, *, plain: bool) -> str:
    """Return a time line of so many characters: the higher one is, the more bytes came in its time."""
    levels = _PLAIN if plain else _LEVELS
    filled = [0] * width
    last = times[-1] if times else 0.0
    for at, size in zip(times, sizes, strict=True):
        filled[min(int(at / last * width) if last else 0, width - 1)] += max(size, 1)
    most = max(filled, default=0) or 1
    top = len(levels) - 1
    return "".join(levels[-(-count * top // most)] for count in filled)
