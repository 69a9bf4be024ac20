"""The bytes of a server-sent event stream, and what they can be turned into without another meaning.

Where the reads cut them, how lines end, and blocks that dispatch nothing: WHATWG, HTML Living Standard, 9.2.5 and
9.2.6. A move is `("cut", position, more)`, `("insert", position, what)` or `("line_ends", "cr" | "crlf" | "lf")`. A
position counts the bytes of the body as it was given; a cut lies `more` bytes after it, to reach into what another
move put there.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from fakellm.contracts.consumers.cuts import Cuts, dense, examples_for, limit_for, show, spread
from fakellm.contracts.documents import Moves
from fakellm.errors import ContractUsageError
from fakellm.wire.sse import SSEDecoder

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

LINE_ENDS = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r"}
INSERTS = {"comment": b": keep-alive\n\n", "retry": b"retry: 3000\n\n", "blank": b"\n", "bom": b"\xef\xbb\xbf"}
"""What dispatches nothing, wherever it stands between two events; a BOM at the very begin only."""

_END = re.compile(rb"\r\n|\r|\n")
_BORDER = re.compile(rb"(?:\r\n|\r|\n)(?:\r\n|\r(?!\n)|\n)")
_FIELD = re.compile(rb"(?:data|event|id|retry)\b|:")
_EVENT = re.compile(rb"^(?:data|event):", re.MULTILINE)


def looks_like_sse(body: bytes) -> bool:
    """Tell whether the bytes are an event stream: they begin with a field, and an event can be read from them."""
    start = body.removeprefix(INSERTS["bom"]).lstrip(b"\r\n")
    if not _FIELD.match(start) or not _EVENT.search(start.replace(b"\r", b"\n")):
        return False
    decoder = SSEDecoder(flush=True)
    return bool([*decoder.feed(body), *decoder.close()])


class _Edition(NamedTuple):
    """A body that was written anew: what is new, in order, where each begins, by how much it shifts, and the bytes."""

    edits: list[tuple[int, int, bytes]]
    starts: list[int]
    shifts: list[int]
    body: bytes

    def after(self, place: int, more: int) -> int:
        """Return where a place is now, and so many bytes on."""
        return min(place + self.shifts[bisect_left(self.starts, place)] + more, len(self.body))

    def before(self, place: int) -> int:
        """Return where a place was; of one inside what is new, where that was put."""
        at = bisect_right(range(len(self.edits)), place, key=lambda at: self.starts[at] + self.shifts[at]) - 1
        if at < 0:
            return place
        start, end, new = self.edits[at]
        behind = place - start - self.shifts[at] - len(new)
        return start if behind < 0 else end + behind


@dataclass(frozen=True)
class SSEBody:
    """The bytes of an event stream as a document.

    With `focus`, one of `framing`, `line_ends`, `control_blocks` and `utf8_split`, only the moves of that contract.
    `empty` tells whether empty reads are legal.
    """

    body: bytes
    empty: bool = True
    focus: str | None = None

    @cached_property
    def _cuts(self) -> Cuts:
        return Cuts(self.body, empty=self.empty)

    @property
    def examples(self) -> int:
        """How many examples of the strategy are tried by default."""
        return examples_for(len(self.body))

    @cached_property
    def _editions(self) -> dict[str | None, _Edition]:
        """The body with each way to end lines that was asked for."""
        return {}

    @cached_property
    def line_ends(self) -> list[tuple[int, int]]:
        """Where its lines end: from where to where."""
        return [match.span() for match in _END.finditer(self.body)]

    @cached_property
    def _eol(self) -> bytes:
        return self.body[slice(*self.line_ends[0])] if self.line_ends else b"\n"

    @cached_property
    def other_line_ends(self) -> list[str]:
        """The other ways in which its lines could end."""
        return [name for name, end in LINE_ENDS.items() if end != self._eol]

    @cached_property
    def borders(self) -> list[int]:
        """Where one event has ended and the next has not begun."""
        start = len(INSERTS["bom"]) if self.body.startswith(INSERTS["bom"]) else 0
        return [start, *(match.end() for match in _BORDER.finditer(self.body))]

    @cached_property
    def inserts(self) -> list[str]:
        """What can be inserted: a second BOM would be text."""
        return [what for what in INSERTS if what != "bom" or self.borders[0] == 0]

    @cached_property
    def positions(self) -> list[int]:
        """Where it is cut."""
        everywhere = range(1, len(self.body))
        if self.focus in (None, "control_blocks"):
            return list(everywhere)
        return [place for place in everywhere if self._place(place) == self.focus]

    def of(self, contract: str) -> SSEBody | None:
        """Return the document with the moves for one contract, or None if it has none."""
        found = replace(self, focus=contract)
        return found if contract in ("line_ends", "control_blocks") or found.positions else None

    def _place(self, place: int) -> str:
        """Return the contract that a consumer breaks which fails for a cut here."""
        if self._cuts.names[place] == "utf8_split":
            return "utf8_split"
        return "line_ends" if self.body[place - 1 : place] == b"\r" else "framing"

    @property
    def _may_be_empty(self) -> bool:
        return self.empty and self._has("framing")

    def _has(self, contract: str) -> bool:
        return self.focus in (None, contract)

    def apply(self, moves: Moves) -> list[Any]:
        """Return the reads after the moves. Raises `ContractUsageError` for a move that does not exist."""
        return self._read(moves, self._edition(moves))

    def _read(self, moves: Moves, edition: _Edition) -> list[bytes]:
        body = edition.body
        cuts = self._places(moves, edition)
        if not self._may_be_empty:
            cuts = sorted({*cuts} - {0, len(body)})
        return [body[start:end] for start, end in pairwise((0, *cuts, len(body)))]

    def _places(self, moves: Moves, edition: _Edition) -> list[int]:
        return sorted(edition.after(position, more) for kind, position, more in _of_three(moves) if kind == "cut")

    def _check(self, moves: Moves) -> None:
        size = len(self.body)
        for move in moves:
            match move:
                case ("cut", int(at), int(more)) if 0 <= at <= size and more >= 0:
                    continue
                case ("insert", int(at), str(what)) if at in self.borders and what in self.inserts:
                    continue
                case ("line_ends", str(name)) if name in LINE_ENDS:
                    continue
            msg = (
                f"{move!r} is no move of an event stream of {len(self.body)} bytes; there are ('cut', position, more), "
                f"('insert', border of events, {' | '.join(INSERTS)}) and ('line_ends', {' | '.join(LINE_ENDS)})"
            )
            raise ContractUsageError(msg)

    def _edition(self, moves: Moves) -> _Edition:
        """Return the body after the moves that are no cuts. Raises `ContractUsageError` for a move that is none."""
        self._check(moves)
        name = next((move[1] for move in moves if move[0] == "line_ends"), None)
        inserts = [(position, what) for kind, position, what in _of_three(moves) if kind == "insert"]
        if inserts:
            return self._made(name, inserts)
        if name not in self._editions:
            self._editions[name] = self._made(name, [])
        return self._editions[name]

    def _made(self, name: str | None, inserts: list[tuple[int, str]]) -> _Edition:
        written = LINE_ENDS[name] if name is not None else None
        edits = [(at, at, INSERTS[what].replace(b"\n", written or self._eol)) for at, what in inserts]
        if written is not None:
            edits += [(start, end, written) for start, end in self.line_ends]
        edits.sort(key=lambda edit: (*edit[:2], edit[2] != INSERTS["bom"]))
        shifts = [0, *accumulate(len(new) - (end - start) for start, end, new in edits)]
        return _Edition(edits, [start for start, _, _ in edits], shifts, self._edited(edits))

    def _edited(self, edits: list[tuple[int, int, bytes]]) -> bytes:
        parts, done = [], 0
        for start, end, new in edits:
            parts += [self.body[done:start], new]
            done = end
        return b"".join([*parts, self.body[done:]])

    def sweep(self) -> Iterator[Moves]:
        """Yield cuts as those of bytes, the other line ends with cuts among them, and what dispatches nothing."""
        if self.focus != "control_blocks":
            yield from (tuple(("cut", cut, 0) for cut in cuts) for cuts in self._byte_cuts().sweep())
        if self._has("line_ends"):
            yield from self._transcoded()
        if self._has("control_blocks"):
            yield from self._inserted()

    def _byte_cuts(self) -> Cuts:
        """Return the bytes as a document, with the cuts that are in focus."""
        cuts = Cuts(self.body, empty=self._may_be_empty)
        cuts.__dict__["positions"] = self.positions
        return cuts

    def _transcoded(self) -> Iterator[Moves]:
        some = spread(self.line_ends, limit_for(len(self.body)) // 8)
        for name in self.other_line_ends:
            ends: Moves = (("line_ends", name),)
            yield ends
            yield (*(("cut", place, 0) for place in dense(range(1, len(self.body)))), *ends)
            for start, end in some:
                yield from ((("cut", start, more), *ends) for more in range(len(LINE_ENDS[name])))
                if end < len(self.body):
                    yield (("cut", end, 0), *ends)

    def _inserted(self) -> Iterator[Moves]:
        some = spread(self.borders, limit_for(len(self.body)) // 12)
        for what in self.inserts:
            places = some if what != "bom" else [0]
            yield tuple(("insert", place, what) for place in places)
            yield from ((("insert", place, what),) for place in places)
            yield from ((("cut", place, 1), ("insert", place, what)) for place in places[:1])

    def strategy(self) -> SearchStrategy[Moves]:
        """Return the strategy of sets of moves: cuts as those of bytes, other line ends, insertions."""
        from hypothesis import strategies as st

        cuts = self._byte_cuts().strategy()
        more = st.integers(0, 2)
        moved = st.tuples(cuts, more).map(lambda of: tuple(("cut", cut, of[1]) for cut in of[0]))
        ends = st.sampled_from(self.other_line_ends).map(lambda name: (("line_ends", name),))
        what = st.sampled_from([name for name in INSERTS if name != "bom"])
        insert = st.tuples(st.just("insert"), st.sampled_from(self.borders), what)
        if "bom" in self.inserts:
            insert = insert | st.just(("insert", 0, "bom"))
        inserts = st.lists(insert, min_size=1, max_size=3, unique=True).map(tuple)
        nothing: SearchStrategy[Moves] = st.just(())
        parts = (
            moved,
            (nothing | ends if self.focus is None else ends) if self._has("line_ends") else nothing,
            (nothing | inserts if self.focus is None else inserts) if self._has("control_blocks") else nothing,
        )
        return st.tuples(*parts).map(lambda sets: tuple(sorted(move for part in sets for move in part)))

    def shown(self, moves: Moves) -> str:
        """Show the reads around the cuts, `+` around what was inserted, and how lines end if that was changed."""
        edition = self._edition(moves)
        reads = self._read(moves, edition)
        marks: dict[int, str] = {}
        for (start, _, new), shift in zip(edition.edits, edition.shifts, strict=False):
            marks |= dict.fromkeys((start + shift, start + shift + len(new)), " + ")
        written = next((move[1] for move in moves if move[0] == "line_ends"), None)
        if written is not None:
            text = f"line ends {LINE_ENDS[written]!r}"
            return text if len(reads) == 1 else f"{text}: {show(reads)}"
        borders = dict.fromkeys(accumulate(map(len, reads[:-1])), "|")
        body = b"".join(reads)
        places = sorted({*borders, *(place for place in marks if 0 < place < len(body))})
        pieces = [body[start:end] for start, end in pairwise((0, *places, len(body)))]
        return show(pieces, [borders.get(place) or marks[place] for place in places])

    def contract(self, moves: Moves) -> str:
        """Return the contract that is broken by these moves."""
        if self.focus is not None:
            return self.focus
        kinds = {move[0] for move in moves}
        if "insert" in kinds:
            return "control_blocks"
        places = {self._place(move[1]) for move in moves if move[0] == "cut"}
        if "line_ends" in kinds or "line_ends" in places:
            return "line_ends"
        return "utf8_split" if "utf8_split" in places else "framing"

    def others(self, moves: Moves) -> Moves:
        """Return what of the moves is about another contract than the one in focus: cuts, beside edits."""
        if self.focus not in ("line_ends", "control_blocks"):
            return ()
        edition = self._edition(moves)
        cuts = {edition.before(place) for place in self._places(moves, edition)} - {0, len(self.body)}
        return tuple(("cut", cut, 0) for cut in sorted(cuts) if self._place(cut) != self.focus)

    def gather(self, pieces: list[Any]) -> Any:
        """Return what a consumer said that yields: events, one by one."""
        return pieces


def _of_three(moves: Moves) -> Iterator[tuple[str, int, Any]]:
    return ((move[0], move[1], move[2]) for move in moves if len(move) == 3)  # noqa: PLR2004
