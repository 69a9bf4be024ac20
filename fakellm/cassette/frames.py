"""The frames of Amazon's event streams, `application/vnd.amazon.eventstream`, as Bedrock answers with them.

A frame is: its length and that of its headers (4 bytes each), a checksum of the two, headers, payload, a
checksum of all before it; numbers are big-endian, checksums are CRC-32. (Amazon Transcribe developer guide,
"Event stream encoding"; the Smithy specification, `vnd.amazon.eventstream`.)
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_right
from collections.abc import Sequence

from fakellm.secrets.edits import Edit, apply, merged

_PRELUDE = struct.Struct(">III")
_CHECK = 4

Span = tuple[int, int]


def frames_of(body: bytes) -> list[tuple[Span, Span]]:
    """Return where each frame and its payload are; nothing for a body that is no event stream."""
    found: list[tuple[Span, Span]] = []
    at = 0
    while at + _PRELUDE.size + _CHECK <= len(body):
        size, headers, check = _PRELUDE.unpack_from(body, at)
        if zlib.crc32(body[at : at + 8]) != check or at + size > len(body) or size < headers + 16:
            break
        found.append(((at, at + size), (at + _PRELUDE.size + headers, at + size - _CHECK)))
        at += size
    return found


def reframed(body: bytes, edits: list[Edit]) -> list[Edit]:
    """Return edits of payloads with those that make lengths and checksums of their frames true again."""
    frames = frames_of(body) if edits else []
    starts = [start for (start, _), _ in frames]
    inside: dict[int, list[Edit]] = {}
    for edit in edits:
        index = bisect_right(starts, edit.start) - 1
        if index >= 0 and edit.end <= frames[index][1][1]:
            inside.setdefault(index, []).append(edit)
    return merged(
        [*edits, *(more for index, inner in inside.items() for more in _repaired(body, *frames[index], inner))]
    )


def _repaired(body: bytes, frame: Span, payload: Span, edits: Sequence[Edit]) -> tuple[Edit, Edit]:
    start, end = frame
    grown = sum(len(edit.new) - (edit.end - edit.start) for edit in edits)
    lengths = struct.pack(">II", end - start + grown, payload[0] - start - _PRELUDE.size)
    prelude = lengths + zlib.crc32(lengths).to_bytes(4, "big")
    first = start + _PRELUDE.size
    moved = [edit._replace(start=edit.start - first, end=edit.end - first) for edit in edits]
    checked = prelude + apply(body[first : end - _CHECK], moved)
    return (
        Edit(start, first, prelude, "the length of a frame"),
        Edit(end - _CHECK, end, zlib.crc32(checked).to_bytes(4, "big"), "the checksum of a frame"),
    )
