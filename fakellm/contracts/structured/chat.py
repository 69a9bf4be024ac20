"""The legal moves on chat completion chunks, as dicts: which there are, and what each does.

A move is legal if services make it and the official clients add the moved chunks up to the same answer. What those
clients break on is left out: a call or a choice that opens before an earlier one, `type: null` or `function: null` on
a later piece, a piece without `index`, a repeated role, id or name (they are joined), and any chunk without usage after
the one that has it (the last chunk's usage is taken, null too).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fakellm.contracts.structured.chunks import (
    TEXTS,
    Base,
    apart,
    can_join,
    can_pack,
    choices_of,
    is_blank,
    joined,
    packed,
    split_text,
    split_tool,
    tools_of,
)
from fakellm.contracts.structured.moves import Chunk, Move, copied, groups, grown, merged, patterns, positions, text_of

MARK = "<usage so far>"
"""Stands where a chunk gets the usage so far, until the order of the chunks is known."""

_BLANKS = {"null": None, "empty": ""}
_EDITS = ("apart", "blank", "unfinished", "counted", "split")
_INSERTS = ("count", "none", "empty", "again", "late")
_DELTAS: dict[str, dict[str, Any]] = {"empty": {"content": ""}, "null": {"content": None}, "absent": {}}


class Chat:
    """A stream of chat completion chunks and its moves.

    `nulls` says whether its fields can be null and absent: not in `Message`, where they have types.
    """

    def __init__(self, chunks: Sequence[Chunk], *, nulls: bool = True) -> None:
        self.chunks = chunks
        self.nulls = nulls
        self.base = Base(chunks)
        self._usages = [chunk["usage"] for chunk in chunks if isinstance(chunk.get("usage"), dict)]
        places = [at for at, chunk in enumerate(chunks) if isinstance(chunk.get("usage"), dict)]
        self._end = places[-1] if places else len(chunks)
        self._finish: dict[int, int] = {}
        self._open: dict[int, int] = {}
        for at, chunk in enumerate(chunks):
            for choice in choices_of(chunk):
                self._open.setdefault(choice["index"], at)
                if choice.get("finish_reason"):
                    self._finish[choice["index"]] = at
        self._kinds: dict[int, set[type]] = {}
        for choice in self._all():
            self._kinds.setdefault(choice["index"], set()).add(type(_delta(choice).get("content")))
        self._argued = {
            (choice["index"], tool["index"])
            for choice in self._all()
            for tool in tools_of(choice)
            if tool["function"].get("arguments")
        }

    # -- which moves there are --------------------------------------------------------------------

    def moves(self, limit: int) -> Iterator[Move]:
        """Yield every move by itself; of the cuts of one text at most so many."""
        yield from self._inserts()
        yield from self._finishes()
        yield from self._usage_moves()
        yield from self._braids()
        for at, chunk in enumerate(self.chunks):
            yield from self._edits(at, chunk)
            yield from self._joins(at)
            yield from _cuts(at, chunk, limit, nulls=self.nulls)

    def _inserts(self) -> Iterator[Move]:
        """Yield deltas that say nothing, and chunks without choices, at each border where they can be."""
        first = min(self._open, default=0)
        for border in range(self._end + 1):
            yield from (Move(border, "none", 0, form) for form in self._none_forms())
            for choice, opened in self._open.items():
                if (opened < border or choice == first) and border <= self._finish.get(choice, self._end):
                    yield from (Move(border, "empty", choice, form) for form in self._empty_forms(choice))

    def _none_forms(self) -> list[str]:
        return ["", "usage null"] if self.nulls and "usage" not in self.base.rest else [""]

    def _empty_forms(self, choice: int) -> list[str]:
        """Return the ways to say nothing. `content: ""` makes a text of a content that was null: not there."""
        kinds = self._kinds[choice]
        forms = ["empty"] if kinds <= {str, type(None)} and str in kinds else []
        return [*forms, "null", "absent"] if self.nulls else forms

    def _all(self) -> Iterator[dict[str, Any]]:
        return (choice for chunk in self.chunks for choice in choices_of(chunk))

    def _finishes(self) -> Iterator[Move]:
        """Yield second finish reasons, deltas that say nothing after the first, and other ways to have none yet."""
        for choice, place in self._finish.items():
            yield Move(place + 1, "again", choice)
            yield Move(self._end + (self._end < len(self.chunks)), "again", choice)
            for border in sorted({place + 1, max(self._end, place + 1)}):
                yield from (Move(border, "late", choice, form) for form in self._empty_forms(choice))
        for at, chunk in enumerate(self.chunks) if self.nulls else ():
            for found in choices_of(chunk):
                forms = [] if found.get("finish_reason") else _other_forms(found, "finish_reason")
                yield from (Move(at, "unfinished", found["index"], form) for form in forms)

    def _usage_moves(self) -> Iterator[Move]:
        """Yield counts so far: on chunks that have choices, and on chunks of their own where the document has one."""
        if len(self._usages) != 1:
            return
        if not choices_of(self.chunks[self._end]):
            yield Move(self._end + 1, "count")
            yield from (Move(border, "count") for border in range(self._end + 1))
        yield from (Move(at, "counted") for at in range(self._end) if choices_of(self.chunks[at]))

    def _braids(self) -> Iterator[Move]:
        """Yield the merges of the choices, and of the tool calls of each."""
        lanes = [choices_of(chunk)[0]["index"] for chunk in self.chunks if len(choices_of(chunk)) == 1]
        if len(set(lanes)) > 1 and all(len(choices_of(chunk)) <= 1 for chunk in self.chunks):
            yield from (Move(0, "choices", 0, pattern) for pattern in patterns(lanes))
        for choice in self._open:
            for region in _regions(self.chunks, choice):
                lanes = [_lane(self.chunks[at], choice) for at in region]
                if len(set(lanes)) > 1:
                    yield from (Move(region[0], "calls", choice, pattern) for pattern in patterns(lanes))

    def _edits(self, at: int, chunk: Chunk) -> Iterator[Move]:
        if len(choices_of(chunk)) > 1:
            yield Move(at, "apart", 0, "choices")
        for choice in choices_of(chunk):
            tools = tools_of(choice)
            if len(tools) > 1:
                yield Move(at, "apart", choice["index"], "calls")
            if self.nulls:
                blanks = (blank for tool in tools for blank in self._blanks(choice["index"], tool))
                yield from (Move(at, "blank", choice["index"], blank) for blank in blanks)

    def _blanks(self, choice: int, tool: dict[str, Any]) -> Iterator[str]:
        """Yield what can be null, empty or absent: id and name of a later piece, arguments that are empty."""
        index: int = tool["index"]
        function: dict[str, Any] = tool["function"]
        if not tool.get("id") and not function.get("name"):
            yield from (f"{index} id {form}" for form in _other_forms(tool, "id"))
            yield from (f"{index} name {form}" for form in _other_forms(function, "name"))
        if not function.get("arguments") and (choice, index) in self._argued:
            yield from (f"{index} arguments {form}" for form in _other_forms(function, "arguments"))

    def _joins(self, at: int) -> Iterator[Move]:
        if at + 1 < len(self.chunks) and can_join(self.chunks[at], self.chunks[at + 1]):
            ends = any(choice.get("finish_reason") for choice in choices_of(self.chunks[at + 1]))
            what = "finish" if ends else "calls" if is_call(self.chunks[at + 1]) else "text"
            yield Move(at, "join", choices_of(self.chunks[at])[0]["index"], what)
        elif at + 1 < len(self.chunks) and can_pack(self.chunks[at], self.chunks[at + 1]):
            yield Move(at, "join", what="choices")

    # -- what they do -----------------------------------------------------------------------------

    def apply(self, moves: Iterable[Move]) -> list[Chunk]:
        """Return the chunks after the moves."""
        by = groups(moves, lambda move: move.kind)
        edits = groups((move for kind in _EDITS for move in by.get(kind, ())), _at)
        inserts = groups((move for kind in _INSERTS for move in by.get(kind, ())), _at)
        glued = {move.at for move in by.get("join", ())}
        found: list[Chunk] = []
        for at, chunk in enumerate(self.chunks):
            new = [self._inserted(move) for move in inserts.get(at, ())]
            pieces = _edited(copied(chunk), edits.get(at, ()))
            if at - 1 in glued and not new and found:
                found[-1:] = _glued(found[-1], pieces.pop(0))
            found += [*new, *pieces]
        found += [self._inserted(move) for move in inserts.get(len(self.chunks), ())]
        for move in by.get("calls", ()):
            _braid_calls(found, move)
        places = [at for at, chunk in enumerate(found) if choices_of(chunk)]
        if all(len(choices_of(found[at])) == 1 for at in places):
            for move in by.get("choices", ()):
                _braid(found, places, move)
        self._count(found)
        return found

    def _inserted(self, move: Move) -> Chunk:
        if move.kind == "count":
            return {**self.base.chunk(), "usage": MARK}
        if move.kind == "none":
            return {**self.base.chunk(), **({"usage": None} if move.what == "usage null" else {})}
        if move.kind == "again":
            reason = next(c["finish_reason"] for c in choices_of(self.chunks[self._finish[move.choice]])
                          if c["index"] == move.choice)  # fmt: skip
            return self.base.chunk(move.choice, {}, reason)
        return self.base.chunk(move.choice, copied(_DELTAS[move.what]))

    def _count(self, chunks: list[Chunk]) -> None:
        """Write the counts: the document's own in their order, and before them how far they would have been.

        If the last chunk of the document has the usage, so have all that come after it now.
        """
        if self._end == len(self.chunks) - 1:
            last = max(at for at, chunk in enumerate(chunks) if chunk.get("usage") not in (None, MARK))
            for chunk in chunks[last:]:
                chunk["usage"] = chunk.get("usage") or MARK
        own = iter(self._usages)
        slots = [chunk for chunk in chunks if chunk.get("usage") is not None]
        last = max((at for at, chunk in enumerate(slots) if chunk["usage"] != MARK), default=-1)
        for at, chunk in enumerate(slots):
            if chunk["usage"] != MARK:
                chunk["usage"] = copied(next(own))
            elif at > last:
                chunk["usage"] = copied(self._usages[-1])
            else:
                chunk["usage"] = grown(copied(self._usages[-1]), at + 1, last + 1)


def is_call(chunk: Chunk) -> bool:
    """Tell whether a chunk has a piece of a tool call."""
    return any(tools_of(choice) for choice in choices_of(chunk))


def _at(move: Move) -> int:
    return move.at


def _delta(choice: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = choice["delta"]
    return found


def _other_forms(mapping: dict[str, Any], key: str) -> list[str]:
    """Return the ways to say nothing in a field, without the one that it has."""
    has = ("null" if mapping[key] is None else "empty") if key in mapping else "absent"
    return [form for form in ("null", "empty", "absent") if form != has]


def _cuts(at: int, chunk: Chunk, limit: int, *, nulls: bool) -> Iterator[Move]:
    """Yield the cuts of texts and arguments; with nulls also such where the later piece has an id and a name."""
    for choice in choices_of(chunk):
        for key in TEXTS:
            places = positions(text_of(choice["delta"], key), limit)
            yield from (Move(at, "split", choice["index"], key, place) for place in places)
        for tool in tools_of(choice):
            arguments = text_of(tool["function"], "arguments")
            first = [0] if arguments and tool["function"].get("name") else []
            places = [*first, *positions(arguments, limit)]
            yield from (Move(at, "split", choice["index"], str(tool["index"]), place) for place in places)
            for form in _BLANKS if nulls and places else ():
                middle = places[len(places) // 2]
                yield Move(at, "split", choice["index"], f"{tool['index']} {form}", middle)


def _edited(chunk: Chunk, moves: Iterable[Move]) -> list[Chunk]:
    """Return the pieces that a chunk becomes."""
    pieces = [chunk]
    for move in moves:
        if move.kind == "apart":
            pieces = [part for piece in pieces for part in apart(piece, move.what)]
    for move in moves:
        if move.kind == "counted":
            pieces[-1]["usage"] = MARK
        elif move.kind in ("blank", "unfinished"):
            for piece in pieces:
                _blanked(piece, move)
    for move in sorted((move for move in moves if move.kind == "split"), key=lambda move: -move.place):
        pieces = _cut(pieces, move)
    return pieces


def _glued(first: Chunk, second: Chunk) -> list[Chunk]:
    """Return two chunks as one, if they can be one after what was done to them."""
    if can_join(first, second):
        return [joined(first, second)]
    return [packed(first, second)] if can_pack(first, second) else [first, second]


def _cut(pieces: list[Chunk], move: Move) -> list[Chunk]:
    """Cut the first piece that has the text; the later cuts of it were made before."""
    index, _, form = move.what.partition(" ")
    cut = split_text if move.what in TEXTS else split_tool
    for at, piece in enumerate(pieces):
        halves = cut(piece, move.choice, index, move.place)
        if halves:
            for key in ("id", "name") if form else ():
                _blanked(halves[1], Move(move.at, "blank", move.choice, f"{index} {key} {form}"))
            return [*pieces[:at], *halves, *pieces[at + 1 :]]
    return pieces


def _blanked(chunk: Chunk, move: Move) -> None:
    """Make a field of a piece null, empty or absent."""
    for choice in (choice for choice in choices_of(chunk) if choice["index"] == move.choice):
        if move.kind == "unfinished":
            if not choice.get("finish_reason"):
                _set(choice, "finish_reason", move.what)
            continue
        index, key, form = move.what.split()
        for tool in (tool for tool in tools_of(choice) if str(tool["index"]) == index):
            _set(tool if key == "id" else tool["function"], key, form)


def _set(mapping: dict[str, Any], key: str, form: str) -> None:
    mapping.pop(key, None)
    if form in _BLANKS:
        mapping[key] = _BLANKS[form]


def _lane(chunk: Chunk, choice: int) -> int:
    """Return the index of the only tool call that a chunk has a piece of; -1 if it is no such chunk."""
    found = choices_of(chunk)
    if len(found) != 1 or found[0]["index"] != choice or len(tools := tools_of(found[0])) != 1:
        return -1
    index: int = tools[0]["index"]
    return -1 if any(text_of(found[0]["delta"], key) for key in TEXTS) else index


def _regions(chunks: Sequence[Chunk], choice: int) -> Iterator[list[int]]:
    """Yield the places of tool-call pieces of an answer that nothing else of that answer stands between."""
    region: list[int] = []
    for at, chunk in enumerate(chunks):
        if _lane(chunk, choice) >= 0:
            region.append(at)
        elif any(found["index"] == choice and not is_blank(found) for found in choices_of(chunk)):
            yield from [region] if region else []
            region = []
    if region:
        yield region


def _braid_calls(chunks: list[Chunk], move: Move) -> None:
    """Put the pieces of tool calls in another order; a finish reason among them stays last."""
    for region in _regions(chunks, move.choice):
        lanes = {_lane(chunks[at], move.choice) for at in region}
        if {int(lane) for lane in move.what.split()} <= lanes:
            _braid(chunks, region, move)
            reasons = [choices_of(chunks[at])[0] for at in region]
            ends = [choice for choice in reasons if choice.get("finish_reason")]
            if ends and ends != reasons[-1:]:
                reasons[-1]["finish_reason"], ends[0]["finish_reason"] = ends[0]["finish_reason"], None
            return


def _braid(chunks: list[Chunk], places: list[int], move: Move) -> None:
    """Put the chunks at these places in the order of a pattern of lanes."""
    found = [chunks[at] for at in places]
    lanes = [_lane(c, move.choice) if move.kind == "calls" else choices_of(c)[0]["index"] for c in found]
    for at, chunk in zip(places, merged(move.what, lanes, found), strict=True):
        chunks[at] = chunk
