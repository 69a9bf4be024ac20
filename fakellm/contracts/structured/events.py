"""The legal moves on events of Anthropic's Messages API, as dicts: which there are, and what each does.

A move is legal if the documentation of streaming allows it (pings anywhere, several `message_delta` with counts that
are cumulative) or services make it, and the official client adds the moved events up to the same message. Blocks are
not interleaved: no service does that. A `message_delta` without stop reason comes only before the one that has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from fakellm.contracts.structured.moves import Chunk, Move, copied, groups, grown, positions, text_of

FIELDS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
"""The deltas that are texts which add up, and the field of each."""

_DELTAS = {"text": "text_delta", "thinking": "thinking_delta", "tool_use": "input_json_delta"}


class Events:
    """A stream of Messages events and its moves. `pings` says whether they get here: the SDK drops them."""

    def __init__(self, chunks: Sequence[Chunk], *, pings: bool = True) -> None:
        self.chunks = chunks
        self.pings = pings
        kinds = [chunk["type"] for chunk in chunks]
        self._end = kinds.index("message_delta") if "message_delta" in kinds else len(kinds)
        self._stop = kinds.index("message_stop") if "message_stop" in kinds else len(kinds)

    def moves(self, limit: int) -> Iterator[Move]:
        """Yield every move by itself; of the cuts of one text at most so many."""
        blocks: dict[int, str] = {}
        for border, chunk in enumerate(self.chunks):
            if border and border <= self._stop:
                yield from self._at_border(border, blocks)
            _follow(blocks, chunk)
        yield from [Move(self._end + 1, "count")] if self._end < len(self.chunks) else []
        for at, chunk in enumerate(self.chunks):
            if at and _can_join(self.chunks[at - 1], chunk):
                yield Move(at - 1, "join", 0, _what(chunk))
            if field := field_of(chunk):
                places = positions(text_of(chunk["delta"], field), limit)
                yield from (Move(at, "split", 0, _what(chunk), place) for place in places)

    def _at_border(self, border: int, blocks: dict[int, str]) -> Iterator[Move]:
        if self.pings:
            yield Move(border, "ping")
        yield from (Move(border, "empty", index, kind) for index, kind in blocks.items() if kind)
        if not blocks and border <= self._end < len(self.chunks):
            yield Move(border, "count")

    def apply(self, moves: Iterable[Move]) -> list[Chunk]:
        """Return the events after the moves."""
        inserts = groups((m for m in moves if m.kind in ("count", "ping", "empty")), lambda move: move.at)
        splits = groups((m for m in moves if m.kind == "split"), lambda move: move.at)
        glued = {move.at for move in moves if move.kind == "join"}
        counts = sum(move.kind == "count" and move.at <= self._end for move in moves)
        counted = 0
        found: list[Chunk] = []
        for at, chunk in enumerate(self.chunks):
            new = [self._new(move) for move in inserts.get(at, ())]
            for event in new:
                if event["type"] == "message_delta" and at <= self._end:
                    counted += 1
                    event["usage"] = grown(event["usage"], counted, counts + 1)
            pieces = _cut(copied(chunk), [move.place for move in splits.get(at, ())])
            if at - 1 in glued and not new and found and _can_join(found[-1], pieces[0]):
                found[-1] = _joined(found[-1], pieces.pop(0))
            found += [*new, *pieces]
        return [*found, *(self._new(move) for move in inserts.get(len(self.chunks), ()))]

    def _new(self, move: Move) -> Chunk:
        """Return an event to insert. Before the end of the message, a `message_delta` does not say how it ended."""
        if move.kind == "ping":
            return {"type": "ping"}
        if move.kind == "empty":
            delta = {"type": move.what, FIELDS[move.what]: ""}
            return {"type": "content_block_delta", "index": move.choice, "delta": delta}
        model: Chunk = copied(self.chunks[self._end])
        if move.at <= self._end:
            model["delta"] = dict.fromkeys(model["delta"])
        return model


def field_of(event: Chunk) -> str | None:
    """Return the field of an event's delta that is a text, if it has one."""
    return FIELDS.get(event["delta"].get("type")) if event["type"] == "content_block_delta" else None


def _what(event: Chunk) -> str:
    return "calls" if field_of(event) == "partial_json" else "text"


def _follow(blocks: dict[int, str], event: Chunk) -> None:
    """Note which blocks are open, and which deltas can come in each; none after a signature."""
    if event["type"] == "content_block_start":
        blocks[event["index"]] = _DELTAS.get(event["content_block"].get("type"), "")
    elif event["type"] == "content_block_stop":
        blocks.pop(event["index"], None)
    elif event["type"] == "content_block_delta" and event["delta"].get("type") == "signature_delta":
        blocks[event["index"]] = ""


def _cut(event: Chunk, places: list[int]) -> list[Chunk]:
    field = field_of(event)
    if field is None or not places:
        return [event]
    text = text_of(event["delta"], field)
    bounds = [0, *places, len(text)]
    texts = [text[start:end] for start, end in pairwise(bounds)]
    return [{**event, "delta": {**event["delta"], field: piece}} for piece in texts]


def _can_join(first: Chunk, second: Chunk) -> bool:
    field = field_of(second)
    return field is not None and field_of(first) == field and first["index"] == second["index"]


def _joined(first: Chunk, second: Chunk) -> Chunk:
    field = field_of(second) or ""
    return {**second, "delta": {**second["delta"], field: first["delta"][field] + second["delta"][field]}}
