"""Reads streams of OpenAI's Responses API, and of its look-alikes, into events.

Recorded look-alikes leave out `event:` lines, send `[DONE]`, change an item's id from event to event, send arguments
without deltas, and write two items at once. A stream that is resumed begins anywhere; events may follow the terminal
one. Items that no event is a piece of become `Native`, whole, when they are done. What was said of them before, such as
code in deltas, is not read, but for what the item does not say: partial images are events of their own. Where the last
event has another output than the events of the stream add up to, ids aside, the `Finish` has it in its `extra`.

llama.cpp has no `output_index` and no `content_index`: the `item_id` says which item an event is about. Others finish a
part at another `content_index` than that of its deltas. A cut is told by the status of the response too: vLLM says
`incomplete` in a `response.completed`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from fakellm.errors import ScriptError, WireError
from fakellm.script.events import Event, Finish, Native, Reasoning, Refusal, Text, ToolCall, provider_error
from fakellm.wire.objects import counted, dump, get, objects, sound, text_field
from fakellm.wire.openai import common as openai
from fakellm.wire.openai.responses_items import API, INCOMPLETE, PARTS, Output, is_event, read_usage
from fakellm.wire.openai.responses_seen import Item
from fakellm.wire.openai.responses_whole import BUILT, follows_from_item, owner_of
from fakellm.wire.reader import SSEReader
from fakellm.wire.sse import SSE

_CUT = {reason: finish for finish, reason in INCOMPLETE.items()}
_KINDS = {"output_text": Text, "refusal": Refusal, "summary_text": Reasoning, "reasoning_text": Reasoning}
_ANNOTATED = "response.output_text.annotation.added"
_IMPLIED = (
    "response.created", "response.in_progress", "response.content_part.added",
    "response.reasoning_summary_part.added", "keepalive",
)  # fmt: skip
"""Events that follow from those around them."""


class ResponsesDecoder(SSEReader):
    """Turns the bytes of a stream into events."""

    def __init__(self) -> None:
        super().__init__()
        self._items: dict[int, Item] = {}
        self._ids: dict[str, int] = {}
        self._open: Item | None = None
        self._calls = 0
        self._said: list[Event] = []
        self._is_whole: bool | None = None
        self._over = False
        self._readers: dict[str, Callable[[dict[str, Any]], list[Event]]] = {
            "response.output_item.added": self._item_added,
            "response.output_item.done": self._item_done,
            "response.content_part.done": self._part_done,
            "response.reasoning_summary_part.done": self._part_done,
            "response.function_call_arguments.delta": self._arguments,
            "response.function_call_arguments.done": self._arguments_done,
            _ANNOTATED: self._annotation,
            **{f"response.{name}": self._terminal for name in ("completed", "incomplete", "failed", "cancelled")},
        }
        for name, kind in PARTS.items():
            self._readers[f"{kind.stem}.delta"] = self._piece_reader(name, "delta")
            self._readers[f"{kind.stem}.done"] = self._piece_reader(name, kind.text)

    def sse(self, sse: SSE) -> list[Event]:
        """Return what an event says."""
        if self._over or sse.data.startswith("[DONE]"):
            return []
        try:
            events = self._read(self.json(sse), sse.event or "")
        except (RecursionError, ScriptError) as error:  # JSON that can be read and not be written again
            msg = f"event {self._count} of the stream says what no event can: {error}"
            raise WireError(msg) from None
        self._said += events
        return events

    def _read(self, found: dict[str, Any], name: str) -> list[Event]:
        kind = text_field(found, "type") or name
        if self._is_whole is None:
            self._is_whole = kind == "response.created"
        if kind == "error" or found.get("error"):
            self._over = True
            return [_error(found)]
        found = found if "type" in found else {**found, "type": kind}
        read = self._readers.get(kind)
        return read(found) if read else self._other(found, kind)

    def finish(self) -> list[Event]:
        """Return that the stream is not complete, where no terminal event came."""
        return [] if self._over else [self.ending]

    # -- items ------------------------------------------------------------------------------------

    def _item(self, found: dict[str, Any], kind: str) -> Item:
        """Return the item that an event is about, which in a stream that was resumed was added before."""
        index = self._index(found, kind)
        return self._items.setdefault(index, Item(index, kind))

    def _index(self, found: dict[str, Any], kind: str, *, begins: bool = False) -> int:
        """Return the index of the item that an event is about; where it has none, the ids tell, else the order."""
        document = get(found, "item", dict)
        ids = (text_field(found, "item_id"), text_field(document, "id"), text_field(document, "call_id"))
        names = list(filter(None, ids[: 2 if begins else 3]))
        known = [self._ids[name] for name in names if name in self._ids]
        if found.get("output_index") is not None:
            index = counted(found, "output_index")
        elif known and not (begins and self._items[known[0]].is_done):
            index = known[0]
        else:
            index = self._guess(kind, named=bool(names), begins=begins)
        for name in filter(None, ids):
            self._ids[name] = index if name in names else self._ids.get(name, index)
        return index

    def _guess(self, kind: str, *, named: bool, begins: bool) -> int:
        """Return the index of the last item of the kind that is open, where an unknown id can be its, else a new."""
        ours = [at for at, item in self._items.items() if item.kind == kind and not item.is_done]
        if begins or not ours or (named and not self._is_whole and ours[-1] in self._ids.values()):
            return max(self._items, default=-1) + 1
        return ours[-1]

    def _item_added(self, found: dict[str, Any]) -> list[Event]:
        document = get(found, "item", dict)
        kind = text_field(document, "type")
        index = self._index(found, kind, begins=True)
        if index in self._items:
            return []
        known = BUILT.get(kind, tuple(document))
        more = {key: value for key, value in document.items() if key not in known and value not in (None, "", [])}
        item = self._items[index] = Item(index, kind, more)
        if kind == "function_call" and text_field(document, "name"):
            return self._call(item, document)
        return []

    def _begin(self, item: Item) -> list[Event]:
        """Make the item the one that pieces belong to; return what says so, where the pieces alone do not."""
        if self._open is item:
            return []
        follows_its_like = self._open is not None and self._open.kind == item.kind != "function_call"
        more = {} if item.has_begun else item.more
        self._open, item.has_begun, item.last_part = item, True, ""
        if not (more or follows_its_like):
            return []
        return [_native({"type": "response.output_item.added", "item": {"type": item.kind, **more}})]

    def _item_done(self, found: dict[str, Any]) -> list[Event]:
        document = get(found, "item", dict)
        item = self._item(found, text_field(document, "type"))
        if item.is_done:
            return []
        item.is_done = True
        match item.kind:
            case "message" | "reasoning":
                return self._rest_of(item, document)
            case "function_call" if item.call is not None or text_field(document, "name"):
                events = [] if item.call is not None else self._call(item, document)
                return [*events, *self._late_arguments(item, document)]
        return self._whole(document)

    def _rest_of(self, item: Item, document: dict[str, Any]) -> list[Event]:
        """Return what an item has at its end that was not said before."""
        events: list[Event] = []
        for key, index_name in (("summary", "summary_index"), ("content", "content_index")):
            for index, part in enumerate(objects(document, key)):
                events += self._part_done({"output_index": item.index, index_name: index, "part": part})
        if item.kind == "message":
            return events if item.has_begun else self._whole(document)
        signature = text_field(document, "encrypted_content")
        if not item.has_begun or (signature and self._open is item):
            events += [*self._begin(item), Reasoning("", signature=signature or None)]
            self._open = self._open if not signature else None
        return events

    def _whole(self, document: dict[str, Any]) -> list[Event]:
        self._open = None
        return [_native(document)]

    def _other(self, found: dict[str, Any], kind: str) -> list[Event]:
        """Return an event that no other event of ours says, without its number, nor its place in an item to come."""
        if kind in _IMPLIED or not is_event(kind) or not self._is_whole:
            return []
        if kind == "response.queued":
            return [_native({"type": kind})]
        owner, index = owner_of(kind), self._ids.get(text_field(found, "item_id"), -1)
        index = index if found.get("output_index") is None else counted(found, "output_index")
        item = self._items.get(index)
        but: tuple[str, ...] = ("sequence_number",)
        if owner and item is not None and item.kind == owner and not item.is_done:
            if follows_from_item(kind, owner):
                return []
            self._open, but = None, (*but, "output_index")
        return [_native(_without(found, but))]

    # -- parts ------------------------------------------------------------------------------------

    def _piece_reader(self, name: str, text: str) -> Callable[[dict[str, Any]], list[Event]]:
        """Return what reads the events of a part that have a text: in pieces, or at the end, if no piece came."""
        kind = PARTS[name]

        def read(found: dict[str, Any]) -> list[Event]:
            item, index = self._item(found, kind.item), counted(found, kind.index)
            said, logprobs = text_field(found, text), get(found, "logprobs", list)
            return (self._piece if text == "delta" else self._finished)(item, name, index, said, logprobs)

        return read

    def _finished(self, item: Item, name: str, index: int, text: str, logprobs: list[Any]) -> list[Event]:
        """Return what of the text of a part that is finished was not said before."""
        place, rest = item.of(name).finish(index, text)
        return [] if rest is None else self._piece(item, name, place, rest, logprobs if rest == text else [])

    def _piece(self, item: Item, name: str, index: int, text: str, logprobs: list[Any]) -> list[Event]:
        events = self._begin_part(item, name, index)
        item.of(name).texts[index].append(text)
        if name != "output_text":
            return [*events, _KINDS[name](text)]
        return [*events, Text(text, logprobs=dump(logprobs).decode() if logprobs else None)]

    def _begin_part(self, item: Item, name: str, index: int) -> list[Event]:
        """Return what says that a part begins, where its pieces alone do not."""
        events = self._begin(item)
        if index in item.of(name).texts:
            return events
        item.of(name).texts[index] = []
        last, item.last_part = item.last_part, name
        follows = not last if PARTS[name].item == "reasoning" else last != name
        if follows and name != "reasoning_text":
            return events
        return [*events, _native({"type": f"{PARTS[name].frame}.added", "part": {"type": name}})]

    def _part_done(self, found: dict[str, Any]) -> list[Event]:
        part = get(found, "part", dict)
        name = text_field(part, "type")
        if name not in PARTS:
            return []
        kind = PARTS[name]
        item, index = self._item(found, kind.item), counted(found, kind.index)
        events = self._finished(item, name, index, text_field(part, kind.text), get(part, "logprobs", list))
        place = item.of(name).places[index]
        for annotation in get(part, "annotations", list)[item.annotations.get(place, 0) :]:
            events += self._annotation({"output_index": item.index, "content_index": place, "annotation": annotation})
        return events

    def _annotation(self, found: dict[str, Any]) -> list[Event]:
        item, index = self._item(found, "message"), counted(found, "content_index")
        item.annotations[index] = item.annotations.get(index, 0) + 1
        events = self._begin_part(item, "output_text", index)
        return [*events, _native({"type": _ANNOTATED, "annotation": found.get("annotation")})]

    # -- tool calls -------------------------------------------------------------------------------

    def _call(self, item: Item, document: dict[str, Any]) -> list[Event]:
        """Return the begin of a call."""
        item.call, self._calls = self._calls, self._calls + 1
        id, name = text_field(document, "call_id"), text_field(document, "name")  # noqa: A001
        return [*self._begin(item), ToolCall(name, id=id or None, index=item.call)]

    def _arguments(self, found: dict[str, Any], name: str = "delta") -> list[Event]:
        """Return a piece of the arguments; those of a call whose begin was not seen come whole at its end."""
        item, text = self._item(found, "function_call"), text_field(found, name)
        if item.call is None or not text:
            return []
        item.has_arguments = True
        return [*self._begin(item), ToolCall(arguments=text, index=item.call)]

    def _arguments_done(self, found: dict[str, Any]) -> list[Event]:
        item = self._item(found, "function_call")
        return [] if item.has_arguments else self._arguments(found, "arguments")

    def _late_arguments(self, item: Item, document: dict[str, Any]) -> list[Event]:
        """Return arguments that came with the item only; a piece without any, where `""` is all that there is."""
        if document.get("arguments") == "" and not item.has_arguments and self._open is item:
            item.has_arguments = True
            return [ToolCall(id=text_field(document, "call_id") or None, index=item.call)]
        return self._arguments_done({"output_index": item.index, "arguments": document.get("arguments")})

    # -- the end ----------------------------------------------------------------------------------

    def _terminal(self, found: dict[str, Any]) -> list[Event]:
        self._over = True
        response = get(found, "response", dict)
        usage = [read_usage(response["usage"])] if isinstance(response.get("usage"), dict) else []
        kind = text_field(found, "type").removeprefix("response.")
        if kind == "completed":
            kind = _status(response)
        if kind == "failed":
            return [*usage, _error({"error": response.get("error")}, named=False)]
        output = objects(response, "output")
        events = self._missing(output)
        finish = self._finish(response, kind)
        built = self._built([*events, finish])
        if _plain(output) != _plain(built) and response.get("output") is not None:
            names = ("id",) if len(output) == len(built) else ()
            finish = _with(finish, output=[_without(item, names) for item in output])
        return [*events, finish, *usage]

    def _missing(self, output: list[dict[str, Any]]) -> list[Event]:
        """Return the items, where no event was about one and the stream was not resumed after them."""
        events: list[Event] = []
        for index, document in enumerate(output if self._is_whole and not self._items else ()):
            events += self._item_done({"output_index": index, "item": document})
        return events

    def _finish(self, response: dict[str, Any], kind: str) -> Finish:
        """Return why the answer ended; in its extra what no finish reason stands for."""
        if kind == "completed":
            return Finish("tool_calls" if self._calls else "stop")
        word = text_field(get(response, "incomplete_details", dict), "reason") or kind
        if word in _CUT:
            return Finish(_CUT[word])
        details = {"incomplete_details": {"reason": word}} if kind == "incomplete" else {}
        return Finish(word, extra=_json({"status": kind, "completed_at": None, **details}))

    def _built(self, events: list[Event]) -> list[dict[str, Any]]:
        """Return the output that a stream of all that was said has."""
        output = Output(0)
        for event in [*self._said, *events]:
            output.event(event)
        output.close(
            "incomplete" if any(isinstance(e, Finish) and e.reason in INCOMPLETE for e in events) else "completed"
        )
        return output.items


def _status(response: dict[str, Any]) -> str:
    """Return how a response ended that a `response.completed` holds, which may say that it is not complete."""
    status = text_field(response, "status")
    if status in ("incomplete", "failed", "cancelled"):
        return status
    return "incomplete" if text_field(get(response, "incomplete_details", dict), "reason") else "completed"


def _json(value: object) -> str:
    """Return JSON as an event would write it, with halves of surrogate pairs replaced."""
    return sound(json.dumps(value, ensure_ascii=False))


def _native(data: dict[str, Any]) -> Native:
    return Native(API, _json(data))


def _with(finish: Finish, **fields: Any) -> Finish:
    extra = json.loads(cast("str", finish.extra)) if finish.extra else {}
    return Finish(finish.reason, extra=_json({**extra, **fields}))


def _error(found: dict[str, Any], *, named: bool | None = None) -> provider_error:
    """Read an error: in the field `error`, or as the reference has it, beside the type."""
    if "error" in found:
        return openai.read_error({"error": found["error"] or {}}, named=named)
    return openai.read_error({"error": {**found, "type": None}}, named=True)


def _plain(output: list[dict[str, Any]]) -> Any:
    """Return output items without what says nothing, and without ids and encrypted content, which vary."""
    return _without_nothing([_without(item, ("id", "encrypted_content")) for item in output])


def _without(item: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key not in names}


def _without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nothing(item) for key, item in value.items() if item is not None and item != []}
    return list(map(_without_nothing, value)) if isinstance(value, list) else value
