"""The grammar of what a Responses stream says of its output items: begun, written in deltas, done, in the response."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fakellm.contracts.grammar.rules import MISSING, Grammar, Place, joined_object, others, rule_table, said, shown
from fakellm.errors import clip
from fakellm.wire.openai.responses_items import PARTS

ITEM_RULES = rule_table(
    "openai_responses", "OpenAI API reference, Responses: Streaming events",
    ("item_added", "response.output_item.added comes before any other event of its item, and once",
     "the official SDK's helper raises for a delta of an item that was not added, and for a second item of that index"),
    ("item_index", "output items count from 0, in the order in which they are added",
     "the official SDK's helper appends an item when it is added, and finds it again by its index", others),
    ("output_index", "the events that begin and end an item have its output_index",
     "the official SDK's helper finds the item by it, and raises TypeError for none",
     lambda p: p.responses == "llama.cpp"),
    ("item_id", "all events of an item have its id, and its type does not change",
     "the official SDK's helper raises where an item that is done is another one", others),
    ("item_done", "an item is done once, and nothing of it follows; one that is not stands in the completed response",
     "the official SDK's helper raises for items that a completed response leaves open and does not have", others),
    ("part_added", "content_part.added or reasoning_summary_part.added comes before the deltas of a part",
     "the official SDK's helper reads the part by its index, and raises IndexError", others),
    ("done_text", "the text of a done event is what its deltas add up to",
     "clients show the deltas and keep the text of the done event", others),
    ("arguments", "the arguments of a function call that is done are JSON that is an object",
     "clients parse them when the call is done", others),
    ("output", "the output of the completed response is the items that were done",
     "clients show the items of the stream and keep those of the response", others),
)  # fmt: skip

_WHOLE = {
    "response.function_call_arguments": "arguments",
    "response.custom_tool_call_input": "input",
    "response.mcp_call_arguments": "arguments",
    "response.code_interpreter_call_code": "code",
}
"""What the events of a text that an item itself has begin with -> the field with the text."""
_PIECES = {kind.stem: kind for kind in PARTS.values()}
_FRAMES = ("response.content_part", "response.reasoning_summary_part")


_Key = tuple[str, int | None]
"""The stem of a text's events, and the index of its part."""


@dataclass(slots=True)
class _Item:
    """An item while it is followed: its deltas by the stem of their events and the index of their part."""

    kind: object
    id: object
    texts: dict[_Key, list[str]] = field(default_factory=dict)
    parts: set[_Key] = field(default_factory=set)
    done: dict[str, Any] | None = None


class Items:
    """Follows the items of one stream. `is_resumed` tells that the stream began before its first event."""

    def __init__(self, grammar: Grammar) -> None:
        self.is_resumed = False
        self._grammar = grammar
        self._unknown: set[int] = set()
        self._is_doubtful = False
        self._items: dict[int, _Item] = {}

    def event(self, kind: str, event: Place) -> None:
        """Judge an event that may be about an item."""
        if event["output_index"].value is MISSING:
            if kind.startswith("response.output_item."):
                self._is_doubtful = True
                event["output_index"].broken("output_index", "an integer from 0")
            return
        index = event["output_index"].integer()
        if index is None:
            return
        if kind == "response.output_item.added":
            self._added(index, event)
            return
        item = self._item(index, event)
        if item is None:
            return
        if item.done is not None:
            event["type"].broken("item_done", f"nothing of item {index} after it was done")
        elif kind == "response.output_item.done":
            self._done(item, event["item"])
        else:
            self._of_item(kind, event, item)

    def _added(self, index: int, event: Place) -> None:
        added = event["item"].object()
        if index in self._items:
            event["output_index"].broken("item_added", f"{len(self._items)}; item {index} was added before")
            return
        count = len(self._items) + len(self._unknown)
        if index != count and not self.is_resumed and not self._grammar.is_lost:
            event["output_index"].broken("item_index", str(count))
        kind = added["type"].name("shape") if added is not None else None
        self._items[index] = _Item(kind, added["id"].value if added is not None else None)

    def _item(self, index: int, event: Place) -> _Item | None:
        """Return the item that an event is about; None, and a problem, where none was added."""
        item = self._items.get(index)
        if item is None and not (self.is_resumed or self._grammar.is_lost or index in self._unknown):
            event["type"].broken("item_added", f"response.output_item.added for item {index}")
            self._unknown.add(index)
            self._is_doubtful = True
        return item

    def _of_item(self, kind: str, event: Place, item: _Item) -> None:
        """Judge an event between the begin of an item and its end."""
        id = event["item_id"]  # noqa: A001 - the field's name
        if not id.is_nothing and item.id not in (None, MISSING, id.value):
            id.broken("item_id", shown(item.id))
        stem, _, step = kind.rpartition(".")
        if stem in _FRAMES:
            self._frame(step, event, item)
        elif stem in _PIECES or stem in _WHOLE:
            self._text(stem, step, event, item)

    def _frame(self, step: str, event: Place, item: _Item) -> None:
        """Judge the begin or the end of a part."""
        part = event["part"].object()
        name = part["type"].name("shape") if part is not None else None
        if part is None or name not in PARTS:
            return
        kind = PARTS[name]
        index = event[kind.index].integer()
        if step == "added":
            item.parts.add((kind.stem, index))
        elif step == "done" and index is not None:
            self._same(part[kind.text], item, (kind.stem, index))

    def _text(self, stem: str, step: str, event: Place, item: _Item) -> None:
        """Judge a piece of a text, or the text at its end."""
        kind = _PIECES.get(stem)
        index = event[kind.index].integer() if kind is not None else 0
        key = (stem, index)
        if kind is not None and index is not None and key not in item.parts:
            event[kind.index].broken("part_added", f"{kind.frame}.added before it")
            item.parts.add(key)
        if step == "delta":
            item.texts.setdefault(key, []).append(event["delta"].text() or "")
        elif step == "done":
            item.texts.setdefault(key, [])
            self._same(event[kind.text if kind is not None else _WHOLE[stem]], item, key)

    def _same(self, place: Place, item: _Item, key: _Key) -> None:
        """Judge a whole text by its pieces, if any came; one that is wrong is not judged again."""
        text, pieces = place.maybe_text(), item.texts.get(key)
        if pieces is None or self._grammar.is_lost or self.is_resumed:
            return
        if text != "".join(pieces):
            place.broken("done_text", shown("".join(pieces)))
            self._doubt(item, key)

    def _doubt(self, item: _Item, key: _Key) -> None:
        """Note that an item is not what its events say: neither its text nor the output is judged by it any more."""
        self._is_doubtful = True
        del item.texts[key]

    def _done(self, item: _Item, place: Place) -> None:
        done = place.object()
        item.done = done.value if done is not None else {}
        if done is None:
            return
        for name, before in (("type", item.kind), ("id", item.id)):
            if before not in (None, MISSING, done[name].value):
                done[name].broken("item_id", shown(before))
                self._is_doubtful = True
        for key in list(item.texts):
            self._same_in(done, item, key)
        is_call = done["type"].value == "function_call" and done["status"].value != "incomplete"
        text = done["arguments"].text() if is_call else None
        wrong = joined_object([text]) if text is not None else None
        if wrong:
            done["arguments"].broken("arguments", "JSON that is an object", wrong)

    def _same_in(self, done: Place, item: _Item, key: _Key) -> None:
        """Judge a text in an item that is done."""
        stem, index = key
        if stem in _WHOLE:
            if stem != "response.code_interpreter_call_code":
                self._same(done[_WHOLE[stem]], item, key)
            return
        kind = _PIECES[stem]
        parts = list(done[kind.key].maybe_list())
        if isinstance(index, int) and index < len(parts):
            self._same(parts[index][kind.text], item, key)
        elif index is not None and not self._grammar.is_lost:
            done[kind.key].broken("done_text", f"a part {index}, as its deltas said")
            self._doubt(item, key)

    def end(self, output: Place, *, is_complete: bool) -> None:
        """Judge the output of the response at the end."""
        if self.is_resumed or self._grammar.is_lost or not is_complete or output.list() is None:
            return
        ids = [place["id"].value for place in output]
        open_ = [str(index) for index, item in self._items.items() if item.done is None and item.id not in ids]
        if open_:
            found = f"the completed response, without item {', '.join(open_)}, which was not done"
            output.broken("item_done", "response.output_item.done, or the item in the output", found)
        if not self._is_doubtful and all(item.done is not None for item in self._items.values()):
            theirs = [_text_of(place.value) for place in output]
            ours = [_text_of(item.done or {}) for _, item in sorted(self._items.items())]
            if theirs != ours:
                output.broken("output", _line(ours), _line(theirs))


def _line(items: list[str]) -> str:
    return clip("; ".join(map(said, items)) or "no items", 300)


def _text_of(item: dict[str, Any]) -> str:
    """Return what an item says, in a line: its type, and its texts."""
    said_ = [shown(text) for text in _texts(item)]
    return " ".join([str(item.get("type")), *said_])


def _texts(item: dict[str, Any]) -> Iterator[str]:
    for name in ("call_id", "name", "arguments", "input"):
        if isinstance(item.get(name), str):
            yield item[name]
    for name in ("summary", "content"):
        parts = item.get(name)
        for part in parts if isinstance(parts, list) else ():
            texts = (part.get("text"), part.get("refusal")) if isinstance(part, dict) else ()
            yield from (text for text in texts if isinstance(text, str))
