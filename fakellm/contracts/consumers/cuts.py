"""Texts and bytes, and where they can be cut: a text between any two code points, bytes anywhere.

A cut is a position in the document. One that comes twice makes an empty chunk there, as do 0 and the length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from fakellm.contracts.consumers.places import RANKS, TELLING, Places, is_mark, survey
from fakellm.contracts.documents import Moves
from fakellm.errors import ContractUsageError

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

T = TypeVar("T")
WIDTHS = range(4)
STEPS = range(2, 17)
_SHOWN = 12
_SLACK = 4  # what is only a little longer is shown whole
_SHOWN_ALONE = 80
_SHOWN_CHUNKS = 8
_MOST, _LEAST, _UNITS = 2_500, 60, 1_000_000
_DENSE = 10_000
_EXAMPLES = 100
_PLAIN = 12


def limit_for(length: int) -> int:
    """Return how many variants the sweep of a document of this length has at most.

    That is 2,500 up to 400 units, then so many that a million units are consumed, and 60 from 16,667 units on.
    """
    return max(_LEAST, min(_MOST, _UNITS // max(length, 1)))


def examples_for(length: int) -> int:
    """Return how many examples are drawn by default: 100, beyond 3,333 units fewer, 20 at least."""
    return min(_EXAMPLES, limit_for(length) // 3)


def dense(items: Sequence[T]) -> Sequence[T]:
    """Return where cuts everywhere are made: all items, or of very many the first and the last 5,000."""
    return items if len(items) <= _DENSE else [*items[: _DENSE // 2], *items[-_DENSE // 2 :]]


def spread(items: Sequence[T], count: int) -> list[T]:
    """Return at most `count` of the items, evenly spread over all of them."""
    if len(items) <= count:
        return list(items)
    return [items[number * len(items) // count] for number in range(count)]


@dataclass(frozen=True)
class Cuts:
    """A text or bytes as a document: its moves are cuts.

    `stop` are the stop sequences that the consumer looks for. `empty` tells whether empty chunks are legal. With
    `focus`, a contract's name, only the places are cut where that contract would be broken.
    """

    whole: str | bytes
    stop: tuple[str, ...] = ()
    empty: bool = True
    focus: str | None = None

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The name of each place."""
        return tuple("tags" if name == "text" else name for name in self._places)

    @property
    def _places(self) -> tuple[str, ...]:
        return self._survey.names

    @cached_property
    def _survey(self) -> Places:
        return survey(self.whole, self.stop)

    @property
    def examples(self) -> int:
        """How many examples of the strategy are tried by default."""
        return examples_for(len(self.whole))

    @property
    def text(self) -> str:
        """What it says; of bytes each as one letter, for who looks for ASCII."""
        return self.whole if isinstance(self.whole, str) else self.whole.decode("latin-1")

    def of(self, contract: str) -> Cuts | None:
        """Return the document with the moves for one contract, or None if it has none."""
        found = replace(self, focus=contract)
        return found if found.positions or found.may_be_empty else None

    def plainer(self, moves: Moves) -> list[Moves]:
        """Return cuts where nothing is special: what fails there as well is not about white space or the end."""
        if self.contract(moves) != "whitespace_tail":
            return []
        allowed = {place for place in self.positions if self._places[place] == "text"}
        hot = [place for place in self.hot if place in allowed]
        places = [*hot, *sorted(allowed.difference(hot))]
        return [(place,) for place in (*places[:_PLAIN], *spread(places[_PLAIN:], _PLAIN))]

    @cached_property
    def positions(self) -> list[int]:
        """Where it can be cut into two chunks that have something in them."""
        return [p for p in range(1, len(self.whole)) if self.focus in (None, self.names[p])]

    @cached_property
    def hot(self) -> list[int]:
        """The positions where cuts hurt most."""
        allowed = set(self.positions)
        return [place for place in self._survey.hot if place in allowed]

    @property
    def may_be_empty(self) -> bool:
        """Whether empty chunks are among the moves."""
        return self.empty and self.focus in (None, "whitespace_tail", "empty_delta")

    def apply(self, moves: Moves) -> list[Any]:
        """Return the chunks after the cuts. Raises `ContractUsageError` for a cut outside the document."""
        for cut in moves:
            if type(cut) is not int or not 0 <= cut <= len(self.whole):
                msg = f"a cut is a position from 0 to {len(self.whole)}, the document's length, not {cut!r}"
                raise ContractUsageError(msg)
        return [self.whole[start:end] for start, end in pairwise((0, *sorted(moves), len(self.whole)))]

    def sweep(self) -> Iterator[Moves]:
        """Yield per unit, every 2 to 16, single cuts, and windows of 0 to 3 units as chunks of their own."""
        limit = limit_for(len(self.whole))
        singles = self._some(limit // 3)
        everywhere = dense(self.positions)
        yield tuple(everywhere)
        if len(everywhere) < len(self.positions):
            yield tuple(self._some(_DENSE))
        yield from (tuple(everywhere[step - 1 :: step]) for step in STEPS)
        yield from ((position,) for position in singles)
        yield from self._isolations(self._some(max(limit - len(singles), 0) // len(WIDTHS)))

    def _some(self, count: int) -> list[int]:
        """Return at most `count` positions: all, or a third telling ones, a third hot ones, and others."""
        if len(self.positions) <= count:
            return self.positions
        telling = spread([place for place in self.hot if self._places[place] in TELLING], count // 3)
        hot = spread(self.hot, count * 2 // 3 - len(telling))
        return sorted({*telling, *hot, *spread(self.positions, count - len(hot) - len(telling))})

    def _isolations(self, starts: Iterable[int]) -> Iterator[Moves]:
        allowed = set(self.positions)
        if self.may_be_empty:
            yield from ((0,), (len(self.whole),))
        for start, width in ((start, width) for start in starts for width in WIDTHS):
            if width == 0 and self.may_be_empty:
                yield (start, start)
            elif width and start + width in allowed:
                yield (start, start + width)

    def strategy(self) -> SearchStrategy[Moves]:
        """Return the strategy of sets of cuts: a single one, an isolation, every n with an offset, many."""
        from hypothesis import strategies as st

        if not self.positions:
            return st.just(())
        position = st.sampled_from(self.positions)
        if self.hot:
            position = st.sampled_from(self.hot) | position
        ends = set(self.positions) | ({0, len(self.whole)} if self.may_be_empty else set())
        widths = st.integers(0 if self.may_be_empty else 1, WIDTHS[-1])
        every = st.tuples(st.integers(1, 16), st.integers(0, 15))
        everywhere = dense(self.positions)
        return st.one_of(
            position.map(lambda cut: (cut,)),
            st.tuples(position, widths).map(lambda of: tuple(c for c in (of[0], of[0] + of[1]) if c in ends)),
            every.map(lambda of: tuple(everywhere[of[1] :: of[0]])),
            st.lists(position, min_size=2, max_size=12).map(
                lambda cuts: tuple(sorted(cuts if self.may_be_empty else {*cuts}))
            ),
        )

    def shown(self, moves: Moves) -> str:
        """Show the chunks around the cuts: `…'.</think'|'>The ans'…`."""
        return show(self.apply(moves))

    def gather(self, pieces: list[Any]) -> Any:
        """Return what a consumer said that yields: the text of its pieces, or of partial values the last."""
        if pieces and self._places[0] == "partial_json" and not isinstance(pieces[-1], (str, bytes)):
            return pieces[-1]
        return joined(pieces)

    def contract(self, moves: Moves) -> str:
        """Return the contract that is broken at these cuts: that of the most telling place."""
        if self.focus is not None:
            return self.focus
        ends = (0, *sorted(moves), len(self.whole))
        if any(start == end for start, end in pairwise(ends)):
            return "empty_delta"
        found = min((RANKS.index(self._places[cut]) for cut in moves), default=len(RANKS) - 1)
        return RANKS[found] if RANKS[found] != "text" else "tags"


def show(chunks: Sequence[str | bytes], borders: Sequence[str] = ()) -> str:
    """Show chunks on one line, with `borders` or `|` between them; what is far from the cuts stands as `…`."""
    if len(chunks) == 1:
        return quoted(chunks[0]) if len(chunks[0]) <= _SHOWN_ALONE else _head_and_tail(chunks[0])
    shown = [_tail(chunks[0]), *map(_head_and_tail, chunks[1:-1]), _head(chunks[-1])]
    texts = [text for pair in zip(shown, [*(borders or ["|"] * (len(shown) - 1)), ""], strict=True) for text in pair]
    if len(shown) > _SHOWN_CHUNKS:
        left_out = f"… {len(shown) - _SHOWN_CHUNKS} more …"
        texts = [*texts[:_SHOWN_CHUNKS], left_out, *texts[-_SHOWN_CHUNKS - 1 :]]
    return "".join(texts)


def _tail(chunk: str | bytes) -> str:
    return quoted(chunk) if len(chunk) <= _SHOWN + _SLACK else "…" + quoted(chunk[-_SHOWN:])


def _head(chunk: str | bytes) -> str:
    return quoted(chunk) if len(chunk) <= _SHOWN + _SLACK else quoted(chunk[:_SHOWN]) + "…"


def _head_and_tail(chunk: str | bytes) -> str:
    return quoted(chunk) if len(chunk) <= 2 * _SHOWN else f"{quoted(chunk[:_SHOWN])}…{quoted(chunk[-_SHOWN:])}"


def quoted(chunk: str | bytes) -> str:
    """Return the chunk as Python writes it; a mark that would sit on the quote is escaped."""
    text = repr(chunk)
    if isinstance(chunk, str) and not chunk[:1].isascii() and is_mark(chunk[0]) and text[1] == chunk[0]:
        return text[0] + ascii(chunk[0])[1:-1] + text[2:]
    return text


def joined(pieces: list[Any]) -> Any:
    """Return the text that the pieces add up to where all are text or all are bytes, else the pieces."""
    if all(isinstance(piece, str) for piece in pieces):
        return "".join(pieces)
    if all(isinstance(piece, bytes) for piece in pieces):
        return b"".join(pieces)
    return pieces
