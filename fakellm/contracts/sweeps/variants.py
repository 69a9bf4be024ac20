"""The chunkings of one stream that are tried: as it came, every single cut, and a mixture of all else.

`check_consumer` asks for each contract anew which moves a document has for it, names what lies at each of its places,
and lets hypothesis draw. An archive has no time for that, and of most streams nobody will ever look at it: they are
read right. So here chunks are sliced at once, a place is not named before something fails there, and the moves that
would replay a variant are made when somebody asks for them. What is drawn is drawn by a seed, without hypothesis.

Single cuts come first: where one fails there is nothing to be made smaller, and its place tells the cause.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any, Literal, cast

from fakellm.contracts.consumers.cuts import Cuts, spread
from fakellm.contracts.consumers.sse_moves import SSEBody
from fakellm.contracts.documents import Document, Moves

if TYPE_CHECKING:
    from fakellm.contracts.structured.document import Structured

Family = Literal["cut", "few", "many", "line ends", "insert", "mixture"]
"""One cut; two; as many as there were, or everywhere; the others are for event streams, and `mixture` is of all."""

_MOST, _LEAST, _UNITS = 833, 20, 333_333
_DENSE, _DENSE_ENDS = 4_000, 1_000
"""Units of a document up to which it is cut everywhere; of a longer one so many, at its begin and its end."""
_STEPS = (1, 2, 3, 5, 8, 13)
_SIZES = (4, 16, 64, 256)
_CUTS = 200
_RARE = re.compile(rb"\r\n|[\x80-\xff]+|\\(?:u[0-9a-fA-F]{4}|.)")
_HOT = re.compile(rb"[\r\n]+|data:|[{}\[\]\"]")
_RARE_TEXT, _HOT_TEXT = re.compile(r"[^\x00-\x7f]+|<[/|!]?\w[^<>]*>?"), re.compile(r"\W")


@dataclass(frozen=True, slots=True)
class Variant:
    """One way in which a stream can come; `moves()` are what leads from the undivided document to it."""

    family: Family
    chunks: list[Any]
    moves: Callable[[], Moves]


def limit_for(length: int) -> int:
    """Return how many single cuts of a stream of this length are tried: all up to 833 bytes, 333,333 bytes a stream."""
    return max(_LEAST, min(_MOST, _UNITS // max(length, 1)))


def variants(document: Document, borders: Sequence[int], *, limit: int | None, seed: int) -> Iterator[Variant]:
    """Yield the variants of a document that came with chunks that end at these borders.

    `limit` is how many single cuts are tried at most, and scales the rest; with 0 it comes as it came.
    """
    if not isinstance(document, (SSEBody, Cuts)):
        yield from _of_chunks(cast("Structured", document), limit, seed)
        return
    whole = document.body if isinstance(document, SSEBody) else document.whole
    yield from _Sliced(document, whole, limit_for(len(whole)) if limit is None else limit, seed).all(borders)


class _Sliced:
    """The variants of bytes or a text."""

    def __init__(self, document: Document, whole: str | bytes, limit: int, seed: int) -> None:
        self._document = document
        self._whole = whole
        self._limit = limit
        self._scale = min(limit, len(whole))
        self._is_sse = isinstance(document, SSEBody)
        self._random = Random(seed)  # noqa: S311 - examples, no secret

    def all(self, borders: Sequence[int]) -> Iterator[Variant]:
        """Yield all, the single cuts first."""
        if not self._whole:
            return
        if self._limit:
            places = self._places()
            for place in places:
                yield Variant("cut", [self._whole[:place], self._whole[place:]], partial(self._moves, (place,)))
            yield from self._isolations(places[1::2])
        if borders:
            yield self._cut("many", borders)
        if not self._limit:
            return
        for step in _STEPS:
            yield self._cut("many", self._everywhere(step, _DENSE))
        if isinstance(self._document, SSEBody):
            yield from self._transcoded(self._document)
            yield from self._inserted(self._document)
        for _ in range(max(4, self._scale // 12)):
            yield self._mixed()

    def _moves(self, cuts: Sequence[int]) -> Moves:
        return tuple(("cut", cut, 0) for cut in cuts) if self._is_sse else tuple(cuts)

    def _cut(self, family: Family, cuts: Sequence[int]) -> Variant:
        whole = self._whole
        chunks = [whole[start:end] for start, end in pairwise((0, *cuts, len(whole)))]
        return Variant(family, chunks, partial(self._moves, cuts))

    def _places(self) -> Sequence[int]:
        """Return where single cuts are tried: everywhere, or a third at what is rare, a third at what is not."""
        every = range(1, len(self._whole))
        if len(every) <= self._limit:
            return every
        patterns: tuple[re.Pattern[Any], ...] = (_RARE, _HOT)
        if isinstance(self._whole, str):
            patterns = (_RARE_TEXT, _HOT_TEXT)
        chosen: set[int] = set()
        for number, pattern in enumerate(patterns, 1):
            found = pattern.finditer(cast("Any", self._whole))
            places = {at for one in found for at in range(one.start(), one.end() + 1)}
            chosen |= {*spread(sorted(places.intersection(every)), self._limit * number // 3 - len(chosen))}
        return sorted({*chosen, *spread(every, self._limit - len(chosen))})

    def _isolations(self, places: Sequence[int]) -> Iterator[Variant]:
        """Yield empty chunks, and short ones of their own, at these places."""
        size = len(self._whole)
        yield from (self._cut("few", (cut,)) for cut in (0, size))
        for number, place in enumerate(places):
            yield self._cut("few", (place, min(place + number % 4, size)))

    def _everywhere(self, step: int, dense: int) -> Sequence[int]:
        """Return a cut after every so many units; of a long document at its begin and its end alone."""
        size, half = len(self._whole), dense // 2
        if size <= dense:
            return range(step, size, step)
        return [*range(step, half, step), *range(size - half, size, step)]

    def _transcoded(self, document: SSEBody) -> Iterator[Variant]:
        """Yield the stream with other line ends: undivided, byte for byte, and cut in and around some of them."""
        spans = spread(document.line_ends, max(self._scale // 16, 2))
        within = {start for start, _ in document.line_ends}
        inside = {start + 1 for start, end in document.line_ends if end - start > 1}
        every = [at for at in self._everywhere(1, _DENSE_ENDS) if at not in inside]
        for name in document.other_line_ends:
            ends: Moves = (("line_ends", name),)
            yield self._edited("line ends", ends)
            cuts = [("cut", at, 0) for at in every]
            cuts += [("cut", at, 1) for at in every if at in within] if name == "crlf" else []
            yield self._edited("line ends", (*sorted(cuts), *ends))
            for start, _ in spans:
                yield self._edited("line ends", (("cut", start, 1), *ends))

    def _inserted(self, document: SSEBody) -> Iterator[Variant]:
        """Yield the stream with what dispatches nothing at every border of events, and at some of them alone."""
        some = spread(document.borders, max(self._scale // 50, 2))
        for what in document.inserts:
            places = [0] if what == "bom" else document.borders
            yield self._edited("insert", tuple(("insert", place, what) for place in places))
            for place in some if what != "bom" else ():
                yield self._edited("insert", (("insert", place, what),))
            yield self._edited("insert", (("cut", places[0], 1), ("insert", places[0], what)))

    def _edited(self, family: Family, moves: Moves) -> Variant:
        return Variant(family, self._document.apply(moves), lambda: moves)

    def _mixed(self) -> Variant:
        """Return a variant of many moves: cuts of a size that is drawn, some twice; now and then edits beside."""
        random, size = self._random, len(self._whole)
        count = min(_CUTS, max(size // random.choice(_SIZES), 1))
        cuts = sorted(random.randrange(1, size) for _ in range(count)) if size > 1 else [0]
        if not isinstance(self._document, SSEBody) or random.random() < 0.5:  # noqa: PLR2004 - every second
            return self._cut("mixture", cuts)
        moves: list[Any] = [("cut", cut, random.randrange(3)) for cut in cuts]
        what = random.choice([name for name in self._document.inserts if name != "bom"])
        moves.append(("insert", random.choice(self._document.borders), what))
        if random.random() < 0.5:  # noqa: PLR2004
            moves.append(("line_ends", random.choice(self._document.other_line_ends)))
        return self._edited("mixture", tuple(sorted(moves)))


def _of_chunks(document: Structured, limit: int | None, seed: int) -> Iterator[Variant]:
    """Yield the variants of structured chunks: each move by itself first, then each kind everywhere, then a mixture."""
    yield Variant("many", document.apply(()), tuple)
    sets = [] if limit == 0 else list(document.sweep())[:limit]
    for moves in sorted(sets, key=len):
        yield Variant("cut" if len(moves) == 1 else "many", document.apply(moves), partial(tuple, moves))
    random = Random(seed)  # noqa: S311
    singles = [move.plain() for move in document.singles] if sets else []
    for _ in range(min(max(len(sets) // 12, 4), len(singles))):
        moves = tuple(sorted(random.sample(singles, min(random.randint(2, 8), len(singles)))))
        yield Variant("mixture", document.apply(moves), partial(tuple, moves))


def sets_for(document: Document, contract: str) -> Iterator[Moves]:
    """Yield the sets of moves that a document has for one contract, the small ones first."""
    of: Callable[[str], Document | None] = getattr(document, "of", lambda _: None)
    focused = of(contract)
    if focused is not None:
        yield from sorted({moves for moves in focused.sweep() if moves}, key=lambda moves: (len(moves), moves))
