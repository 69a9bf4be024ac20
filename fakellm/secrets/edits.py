"""Edits of bytes: which to replace by what, and why; and what they do to the sizes of chunks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple


class Edit(NamedTuple):
    """Bytes `start` to `end` are a secret of a kind, and become `new`."""

    start: int
    end: int
    new: bytes
    kind: str


def merged(edits: Iterable[Edit]) -> list[Edit]:
    """Return edits that are in order and do not overlap: the wider one stands for those inside of it."""
    result: list[Edit] = []
    for edit in sorted(edits, key=lambda edit: (edit.start, -edit.end)):
        if not result or edit.start >= result[-1].end:
            result.append(edit)
        elif edit.end > result[-1].end:
            result[-1] = result[-1]._replace(end=edit.end)
    return result


def apply(data: bytes, edits: Sequence[Edit]) -> bytes:
    """Return the bytes with the edits made."""
    parts: list[bytes] = []
    at = 0
    for edit in edits:
        parts += [data[at : edit.start], edit.new]
        at = edit.end
    return b"".join([*parts, data[at:]])


# A chunk's end that lies inside of a secret moves to the end of what replaces it; so the word stands whole in the
# chunk where the secret began, and a chunk that was nothing but a part of it becomes empty. There are as many sizes
# as before, since each has a silence that came before its chunk.


def resized(sizes: Sequence[int], edits: Sequence[Edit]) -> list[int]:
    """Return the sizes of the chunks after the edits: what replaces a secret is in the chunk where that began."""
    if not edits:
        return list(sizes)
    shifts = [0]
    for edit in edits:
        shifts.append(shifts[-1] + len(edit.new) - (edit.end - edit.start))
    starts = [edit.start for edit in edits]
    ends, at = [0], 0
    for size in sizes:
        at += size
        index = bisect_right(starts, at - 1)  # the edits that begin before this end of a chunk
        inside = index and at < edits[index - 1].end
        ends.append((edits[index - 1].end if inside else at) + shifts[index])
    return [after - before for before, after in pairwise(ends)]
