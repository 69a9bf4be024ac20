"""Merges: orders in which the chunks of several streams come, counted, written, read and made simpler."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from fakellm.errors import ContractUsageError

Merge = tuple[int, ...]
"""Which stream gives its next chunk, by number, from 0; `~number` where that chunk comes early."""
NAMES = "abcdefghijklmnopqrstuvwxyz"


def stream_of(step: int) -> int:
    """Return which stream a step of a merge is of."""
    return max(step, ~step)


def merges(counts: tuple[int, ...]) -> Iterator[Merge]:
    """Yield all merges of streams with so many chunks."""
    if not any(counts):
        yield ()
    for stream, count in enumerate(counts):
        if count:
            fewer = (*counts[:stream], count - 1, *counts[stream + 1 :])
            yield from ((stream, *rest) for rest in merges(fewer))


def switches(merge: Merge) -> int:
    """Count how often a chunk comes from another stream than the one before."""
    return sum(1 for _ in groupby(merge, stream_of)) - 1


def size(merge: Merge) -> tuple[int, int]:
    """Return how hard a merge is to follow: its switches, then its early chunks."""
    return switches(merge), sum(step < 0 for step in merge)


def early(merge: Merge, places: Iterable[int]) -> Merge:
    """Return the merge with early chunks at these places."""
    return tuple(~step if at in places and step >= 0 else step for at, step in enumerate(merge))


def shown(merge: Merge) -> str:
    """Show a merge, with a bar at each switch, and early chunks marked: `a1 a2 | b1~ | a3`."""
    counts: dict[int, int] = {}
    blocks = []
    for stream, block in groupby(merge, stream_of):
        names = []
        for step in block:
            counts[stream] = counts.get(stream, 0) + 1
            names.append(f"{NAMES[stream]}{counts[stream]}{'~' if step < 0 else ''}")
        blocks.append(" ".join(names))
    return " | ".join(blocks)


def read(line: str, counts: Sequence[int]) -> Merge:
    """Read a merge as `shown` writes it; chunks that it does not name come at its end."""
    words = line.replace("|", " ").split()
    steps = [word for word in words if re.fullmatch(r"[a-z]\d+~?", word)]
    merge = [NAMES.index(word[0]) for word in steps]
    if len(merge) != len(words) or any(merge.count(s) > (counts[s] if s < len(counts) else 0) for s in merge):
        names = ", ".join(f"{NAMES[s]}1 to {NAMES[s]}{count}" for s, count in enumerate(counts))
        msg = f"only={line!r} is no order of these chunks; write only='a1 b1 a2', of {names}"
        raise ContractUsageError(msg)
    left = (s for s, count in enumerate(counts) for _ in range(count - merge.count(s)))
    return (*(~s if word.endswith("~") else s for s, word in zip(merge, steps, strict=True)), *left)


def later(merge: Merge) -> Iterator[Merge]:
    """Yield the merges in which one chunk is not early that was."""
    yield from ((*merge[:at], ~step, *merge[at + 1 :]) for at, step in enumerate(merge) if step < 0)


def joined(merge: Merge) -> Iterator[Merge]:
    """Yield the merges in which one block was moved to the block of its stream before or after it."""
    blocks = [tuple(block) for _, block in groupby(merge, stream_of)]
    for at, block in enumerate(blocks):
        rest = blocks[:at] + blocks[at + 1 :]
        for place, other in enumerate(rest):
            if stream_of(other[0]) == stream_of(block[0]) and abs(place - at) <= len(merge):
                moved = [*rest[:place], other + block, *rest[place + 1 :]]
                yield tuple(step for part in moved for step in part)
