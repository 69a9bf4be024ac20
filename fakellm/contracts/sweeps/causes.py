"""What a failure comes from, in words that are the same for all streams that fail for the same reason.

A cause is what a person would fix once. Of a result that differs it is what lies where the stream was cut; of an
error, also its kind and the line of the consumer that raised it. The words hold nothing of the stream itself, so an
archive of millions has few of them.
"""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from traceback import walk_tb
from typing import Any, NamedTuple

from fakellm.contracts.consumers.cuts import Cuts
from fakellm.contracts.consumers.sse_moves import SSEBody
from fakellm.contracts.documents import Document, Moves

_LINE = re.compile(rb"[^\r\n]*")
_INSERTED = {"comment": "a comment", "retry": "a retry field", "blank": "a blank line", "bom": "a BOM"}
_PLACES = {
    "utf8_split": "inside a character",
    "grapheme": "inside a character that several code points make",
    "stop_sequence": "inside a stop sequence",
    "tags": "inside a tag",
    "partial_json": "inside JSON",
    "whitespace_tail": "beside white space, or at the end",
    "text": "inside a text",
}
_LIBRARY = tuple(
    str(Path(path).resolve())
    for path in {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), str(Path(__file__).parents[2])}
)


class Cause(NamedTuple):
    """Why streams fail: what the consumer does, which contract that breaks, where the streams are cut, where it raises.

    `what` is one of the sentences of `WHATS`.
    """

    what: str
    contract: str = ""
    place: str = ""
    raised: str = ""

    def __str__(self) -> str:
        parts = [f"{self.contract}: " if self.contract else "", self.what]
        parts += [f", {self.place}" if self.place else "", f": {self.raised}" if self.raised else ""]
        return "".join(parts)


DIFFERS = "comes to something else in other chunks"
RAISES = "fails in other chunks"
HEALS = "fails, and does not in other chunks"
REFUSES = "fails on a stream that is whole"
BELIEVES = "takes a stream that broke for one that is whole"
UNEXPECTED = "does not come to what the archive expects"
VERSIONS = "comes to something else than the other version"
RAISES_NOW = "fails where the other version does not"
RAISED_BEFORE = "does not fail where the other version does"
CHANCE = "comes to two results for the same chunks: it keeps state, or depends on chance or time"
INCOMPARABLE = "comes to results that cannot be compared"
HANGS = "hangs"
DIES = "ends its process"
BREAKS = "breaks a contract"
GRAMMAR = "is no stream of its API"


def place_of(document: Document, moves: Moves) -> str:
    """Return what lies where the moves change how a stream comes."""
    if not moves:
        return ""
    if isinstance(document, SSEBody):
        return _of_events(document, moves)
    if isinstance(document, Cuts):
        return _of_cuts(document, moves)
    return " and ".join(dict.fromkeys(_of_chunk(move) for move in moves))


def contract_of(document: Document, moves: Moves) -> str:
    """Return the contract that is broken by these moves; of bytes that are no text it is how they are framed."""
    if not moves:
        return ""
    contract = document.contract(moves)
    if isinstance(document, Cuts) and isinstance(document.whole, bytes) and contract != "utf8_split":
        return "empty_delta" if contract == "empty_delta" else "framing"
    return contract


_KINDS = {
    "none": "a chunk without choices",
    "ping": "a ping",
    "empty": "an empty text",
    "again": "the end said again",
    "late": "something behind the end",
    "unfinished": "an end that is not said yet",
    "count": "usage on every chunk",
    "counted": "usage in another place",
    "calls": "calls by turns",
    "choices": "answers by turns",
    "split": "a text in two chunks",
    "join": "two chunks as one",
    "blank": "a field that is null, empty or absent",
}


def _of_chunk(move: Sequence[Any]) -> str:
    """Word a move on structured chunks."""
    what = str(move[3]) if len(move) > 3 and move[3] and not str(move[3])[:1].isdigit() else ""  # noqa: PLR2004
    return f"{_KINDS.get(move[1], move[1])}{f' ({what})' if what else ''}"


def _of_events(document: SSEBody, moves: Moves) -> str:
    edits = dict.fromkeys(
        f"{_INSERTED[move[2]]} between events" if move[0] == "insert" else f"lines end with {move[1].upper()}"
        for move in moves
        if move[0] != "cut"
    )
    inserted = {move[1] for move in moves if move[0] == "insert"}
    inside = [move for move in moves if move[0] == "cut" and move[2] and move[1] in inserted]
    cuts = [move[1] for move in moves if move[0] == "cut" and move not in inside]
    parts = [*edits, *["cut there"][: len(inside)]]
    if cuts and not any(move[0] == "line_ends" for move in moves):
        parts.append(_where(document.body, cuts))
    elif cuts:
        parts.append("cut around the end of a line" if len(cuts) == 1 else "cut")
    return ", ".join(parts)


def _of_cuts(document: Cuts, moves: Moves) -> str:
    if isinstance(document.whole, bytes):
        return _where(document.whole, list(moves))
    ends = (0, *sorted(moves), len(document.whole))
    if any(start == end for start, end in pairwise(ends)):
        return "an empty chunk"
    names = dict.fromkeys(document._places[cut] for cut in moves)  # noqa: SLF001 - the finest names there are
    return f"cut {' and '.join(_PLACES[name] for name in names)}"


def _where(body: bytes, cuts: list[int]) -> str:
    """Word where bytes are cut."""
    ends = (0, *sorted(cuts), len(body))
    if any(start == end for start, end in pairwise(ends)):
        return "an empty chunk"
    places = list(dict.fromkeys(_lies(body, cut) for cut in sorted(cuts)))
    return f"cut {' and '.join(places)}" if len(places) <= 2 else "cut in several places"  # noqa: PLR2004


def _lies(body: bytes, at: int) -> str:
    """Word what lies around a place between two bytes."""
    before, after = body[at - 1 : at], body[at : at + 1]
    if b"\x80" <= after < b"\xc0":
        return "inside a character"
    if before in b"\r\n" or after in b"\r\n":
        return _between(body, at, before, after)
    start = max(body.rfind(b"\n", 0, at), body.rfind(b"\r", 0, at)) + 1
    line = body[start:at]
    return _in_line(line, _LINE.match(body, start))


def _between(body: bytes, at: int, before: bytes, after: bytes) -> str:
    """Word what lies beside the end of a line."""
    if before == b"\r" and after == b"\n":
        return "between CR and LF"
    if before not in b"\r\n":
        return "before the end of a line"
    if after in b"\r\n":
        return "between the two line ends behind an event"
    return "between two events" if body[max(at - 4, 0) : at].endswith((b"\n\n", b"\r\n\r\n")) else "between lines"


def _in_line(line: bytes, whole: re.Match[bytes] | None) -> str:
    """Word what lies at the end of the first part of a line, of a field of an event or of something else."""
    if not (field := re.match(rb"(?:data|event|id|retry)?:", line)):
        return "inside the name of a field" if whole and re.match(rb"\w*:", whole[0]) else "inside a line"
    if field.end() >= len(line) - 1 and not line[field.end() :].strip():
        return "behind the name of a field"
    return "inside an escape" if re.search(rb"(?<!\\)(?:\\\\)*\\(?:u[0-9a-fA-F]{0,3})?\Z", line) else "inside a value"


def raised_at(error: BaseException | None) -> str:
    """Return the kind of an error, and the line of the consumer that it comes from; nothing without one."""
    if error is None:
        return ""
    frames = [(frame.f_code.co_filename, line, frame.f_code.co_name) for frame, line in walk_tb(error.__traceback__)]
    own = [one for one in frames if not is_library(one[0])]
    if not own:
        return type(error).__name__
    file, line, name = own[-1]
    return f"{type(error).__name__} at {Path(file).name}:{line}, in {name}"


def is_library(file: str) -> bool:
    """Tell whether a file is of Python, of a package that is installed, or ours."""
    return file.startswith("<") or _resolved(file).startswith(_LIBRARY)


@cache
def _resolved(file: str) -> str:
    return str(Path(file).resolve())
