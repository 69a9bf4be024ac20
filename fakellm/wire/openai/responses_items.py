"""The output of an answer of OpenAI's Responses API: how events become output items, and what a stream says of each.

Source: https://platform.openai.com/docs/api-reference/responses-streaming and 765 recorded streams. An item is added,
its parts are added, written in deltas and done, one after the other, and it is done itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, cast

from fakellm.script.events import Event, Native, Reasoning, Refusal, Text, ToolCall, Usage
from fakellm.wire.objects import counted, get, merged
from fakellm.wire.openai import common as openai
from fakellm.wire.openai import responses_whole as whole
from fakellm.wire.openai.responses_whole import BUILT, Fields

API = "openai.responses"


@dataclass(frozen=True, slots=True)
class PartKind:
    """How a part of an item is written: in which list of which item it is, and what its events are called."""

    item: str
    key: str
    frame: str
    stem: str
    text: str = "text"

    @property
    def index(self) -> str:
        """The name of the field that says which part it is."""
        return "summary_index" if self.key == "summary" else "content_index"


PARTS = {
    "output_text": PartKind("message", "content", "response.content_part", "response.output_text"),
    "refusal": PartKind("message", "content", "response.content_part", "response.refusal", "refusal"),
    "summary_text": PartKind(
        "reasoning", "summary", "response.reasoning_summary_part", "response.reasoning_summary_text"
    ),
    "reasoning_text": PartKind("reasoning", "content", "response.content_part", "response.reasoning_text"),
}
"""The type of a part -> how it is written."""

INCOMPLETE = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
    "max_messages": "max_messages",
    "steered": "steered",
}
"""A finish reason of an answer that was cut short -> the reason in `incomplete_details`."""

_EVENT = re.compile(r"response\.[\w.]+|keepalive")


def is_event(kind: object) -> bool:
    """Tell whether native data of that type is an event of a stream, and no output item."""
    return isinstance(kind, str) and _EVENT.fullmatch(kind) is not None


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return the usage object of a response."""
    return merged(
        {
            "input_tokens": usage.input_tokens,
            "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": usage.cached_tokens or 0},
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
            "total_tokens": usage.total_tokens,
        },
        usage.extra,
    )


def read_usage(found: dict[str, Any]) -> Usage:
    """Read the usage object of a response."""
    read, written = get(found, "input_tokens_details", dict), get(found, "output_tokens_details", dict)
    usage = Usage(
        counted(found, "input_tokens"),
        counted(found, "output_tokens"),
        counted(read, "cached_tokens") if read.get("cached_tokens") is not None else None,
        counted(written, "reasoning_tokens") if written.get("reasoning_tokens") is not None else None,
    )
    return openai.with_rest(usage, found, usage_object(usage))


@dataclass(slots=True)
class Part:
    """The part of an item that is being written."""

    name: str
    kind: PartKind
    place: Fields
    texts: list[str] = field(default_factory=list)
    logprobs: list[Any] = field(default_factory=list)
    annotations: list[Any] = field(default_factory=list)

    @property
    def document(self) -> dict[str, Any]:
        """The part as it is so far."""
        text = {self.kind.text: "".join(self.texts)}
        if self.name != "output_text":
            return {"type": self.name, **text}
        return {"type": self.name, "annotations": self.annotations, "logprobs": _rounded(self.logprobs), **text}


class Output:
    """Builds the output items of answer `number`; each event of it gives what a stream says.

    `top_logprobs` is how many alternatives each piece of text gets whose log probabilities are made up; None makes
    up none.
    """

    def __init__(self, number: int, top_logprobs: int | None = None) -> None:
        self.items: list[dict[str, Any]] = []
        self.part: Part | None = None
        self.reasoning = "summary_text"
        self._number = number
        self._top_logprobs = top_logprobs
        self._item: dict[str, Any] = {}
        self._arguments: list[str] = []
        self._call: int | None = None
        self._begun: dict[int | None, tuple[Fields, dict[str, Any]]] = {}
        self.verbatim = False
        self._next_item: dict[str, Any] = {}
        self._next_part = ""
        self._told: list[str] | None = None  # the steps so far of an open item that comes whole

    def event(self, event: Event) -> list[Fields]:
        """Take an event of the answer."""
        match event:
            case Text(text):
                return self._piece("output_text", text, self._logprobs(event))
            case Refusal(text):
                return self._piece("refusal", text)
            case Reasoning():
                return self._reasoning(event)
            case ToolCall():
                return self._tool_call(event)
            case Native(api, data) if api == API:
                return self._native(json.loads(cast("str", data)))
        return []

    def close(self, status: str = "completed") -> list[Fields]:
        """End the item that is open."""
        item, events = self._item, self._close_part()
        if not item:
            return events
        self._item, self._told = {}, None
        if item["type"] == "function_call":
            events += self._close_arguments(item)
        if "status" in item:
            item["status"] = status
        self.items.append(item)
        return [*events, {"type": "response.output_item.done", "output_index": len(self.items) - 1, "item": item}]

    def _open(self, kind: str, **fields: Any) -> list[Fields]:
        """Begin an item, after the one that is open."""
        events = self.close()
        more, self._next_item = self._next_item, {}
        if more.get("type", kind) != kind:
            more = {}
        begun: dict[str, Any] = {"id": self._id(kind), "type": kind}
        begun |= {"summary": []} if kind == "reasoning" else {"status": "in_progress", **fields}
        begun |= {key: value for key, value in more.items() if key not in BUILT[kind]}
        self._item = deepcopy(begun)
        return [*events, {"type": "response.output_item.added", "output_index": len(self.items), "item": begun}]

    def _id(self, kind: object) -> str:
        return whole.id_of(kind, self._number, len(self.items))

    # -- parts ------------------------------------------------------------------------------------

    def _piece(self, name: str, text: str, logprobs: Sequence[Any] = ()) -> list[Fields]:
        """Return a delta of a part, and before it what begins the part."""
        events, part = self._open_part(name)
        part.texts.append(text)
        delta = {"type": f"{part.kind.stem}.delta", **part.place, "delta": text}
        if name == "output_text":
            part.logprobs += logprobs
            delta["logprobs"] = list(logprobs)
        return [*events, delta]

    def _open_part(self, name: str) -> tuple[list[Fields], Part]:
        """Return what begins a part, which is nothing where it is open, and the part."""
        kind, events = PARTS[name], list[Fields]()
        if self._item.get("type") != kind.item:
            events += self._open(kind.item, **({"content": [], "role": "assistant"} if kind.item == "message" else {}))
        if self.part is not None and self.part.name == name:
            return events, self.part
        events += self._close_part()
        index = len(self._item.setdefault(kind.key, []))
        place = {"item_id": self._item["id"], "output_index": len(self.items), kind.index: index}
        self.part, self._next_part = Part(name, kind, place), ""
        added = deepcopy(self.part.document)
        return [*events, {"type": f"{kind.frame}.added", **place, "part": added}], self.part

    def _close_part(self) -> list[Fields]:
        part, self.part = self.part, None
        if part is None:
            return []
        document = part.document
        self._item[part.kind.key].append(document)
        done = {"type": f"{part.kind.stem}.done", **part.place, part.kind.text: document[part.kind.text]}
        if part.name == "output_text":
            done["logprobs"] = part.logprobs
        return [done, {"type": f"{part.kind.frame}.done", **part.place, "part": document}]

    def _reasoning(self, piece: Reasoning) -> list[Fields]:
        """Return a delta, and the end of the item with its signature; an empty piece still begins an item."""
        name = self.part.name if self.part else self._next_part
        if PARTS.get(name, PARTS["output_text"]).item != "reasoning":
            name = self.reasoning
        events: list[Fields] = []
        if piece.text:
            events += self._piece(name, piece.text)
        elif self._item.get("type") != "reasoning":
            events += self._open("reasoning")
        if piece.signature is None:
            return events
        self._item["encrypted_content"] = piece.signature
        return [*events, *self.close()]

    def _logprobs(self, piece: Text) -> Sequence[Any]:
        return openai.logprobs_of(piece, self._top_logprobs) or ()

    # -- tool calls -------------------------------------------------------------------------------

    def _tool_call(self, piece: ToolCall) -> list[Fields]:
        events: list[Fields] = []
        if self._item.get("type") != "function_call" or piece.name is not None or piece.index != self._call:
            if piece.name is None and (piece.index in self._begun or self.verbatim):
                return self._late_arguments(piece)
            id = piece.id or f"call_{piece.index or 0}"  # noqa: A001
            events += self._open("function_call", arguments="", call_id=id, name=piece.name or "")
            self._call, self._arguments = piece.index, []
            self._begun[piece.index] = {"item_id": self._item["id"], "output_index": len(self.items)}, self._item
        if piece.arguments:
            self._arguments.append(piece.arguments)
            place = {"item_id": self._item["id"], "output_index": len(self.items)}
            events.append({"type": "response.function_call_arguments.delta", **place, "delta": piece.arguments})
        elif openai.says_none(piece):
            self._arguments.append("")
        return events

    def _late_arguments(self, piece: ToolCall) -> list[Fields]:
        """Return more arguments of a call that is not open, as of a provider that misbehaves, or that never began."""
        index = len(self.items) + bool(self._item)
        never = {"item_id": f"fc_fakellm{self._number:06d}{index:03d}", "output_index": index}
        place, item = self._begun.get(piece.index, (never, {}))
        if item and item is not self._item:
            said = "" if item["arguments"] == "{}" and not self.verbatim else item["arguments"]
            item["arguments"] = said + piece.arguments
        return [{"type": "response.function_call_arguments.delta", **place, "delta": piece.arguments}]

    def _close_arguments(self, call: dict[str, Any]) -> list[Fields]:
        """Return the end of a call's arguments: none are an empty object, but for a piece that says so."""
        place = {"item_id": call["id"], "output_index": len(self.items)}
        kind = "response.function_call_arguments"
        usual = "" if self.verbatim else "{}"
        events: list[Fields] = [] if self._arguments or self.verbatim else [
            {"type": f"{kind}.delta", **place, "delta": usual}
        ]  # fmt: skip
        call["arguments"] = "".join(self._arguments) if self._arguments else usual
        return [*events, {"type": f"{kind}.done", **place, "name": call["name"], "arguments": call["arguments"]}]

    # -- what only this API has -------------------------------------------------------------------

    def _native(self, data: dict[str, Any]) -> list[Fields]:
        kind = data.get("type")
        return self._stream_event(str(kind), data) if is_event(kind) else self._whole(data)

    def _stream_event(self, kind: str, data: dict[str, Any]) -> list[Fields]:
        """Return an event that was scripted, or what follows from it for the items."""
        if kind == "response.output_item.added":
            events, item = self.close(), data.get("item")
            self._next_item = item if isinstance(item, dict) else {}
            return events
        if kind in ("response.content_part.added", "response.reasoning_summary_part.added"):
            events, part = self._close_part(), data.get("part")
            self._next_part = str(part.get("type")) if isinstance(part, dict) else ""
            return events
        if kind == "response.output_text.annotation.added":
            return self._annotation(data.get("annotation"))
        event = {key: value for key, value in data.items() if key != "sequence_number"}
        owner = whole.owner_of(kind) if "output_index" not in data else ""
        return self._step(owner, event) if owner else [event]

    def _annotation(self, annotation: Any) -> list[Fields]:
        events, part = self._open_part("output_text")
        part.annotations.append(annotation)
        place = {**part.place, "annotation_index": len(part.annotations) - 1}
        return [*events, {"type": "response.output_text.annotation.added", **place, "annotation": annotation}]

    def _step(self, kind: str, event: Fields) -> list[Fields]:
        """Return an event about an item that is still to come whole, and before it what begins the item."""
        events: list[Fields] = []
        if self._item.get("type") != kind or self._told is None:
            events, more = self.close(), self._next_item
            self._next_item = {}
            more = more if more.get("type") == kind else {}
            id = {"id": event.get("item_id") or self._id(kind)}  # noqa: A001
            self._item, self._told = {**id, **whole.bare(kind), **more}, []
            begun = deepcopy(self._item)
            events.append({"type": "response.output_item.added", "output_index": len(self.items), "item": begun})
            events += self._steps(whole.steps_before(event["type"], kind))
        return [*events, *self._steps([event])]

    def _steps(self, steps: Sequence[Fields]) -> list[Fields]:
        """Return events about the item that is open, at its place, which has one id."""
        place = {"item_id": self._item["id"], "output_index": len(self.items)}
        self._told = [*(self._told or ()), *(step["type"] for step in steps)]
        return [whole.placed(step, place) for step in steps]

    def _whole(self, data: dict[str, Any]) -> list[Fields]:
        """Return what a stream says of an item that comes whole, as far as no event said it before."""
        kind, events, index = str(data.get("type")), list[Fields](), len(self.items)
        if self._told is None or self._item.get("type") != kind:
            events, index = self.close(), len(self.items)
            self._item, self._told = {"id": self._id(kind), **data}, []
            begun = whole.begun(kind, self._item)
            events.append({"type": "response.output_item.added", "output_index": index, "item": begun})
        self._next_item = {}
        item, told = {**data, "id": self._item["id"]}, self._told
        events += self._steps([step for step in whole.steps(item) if step["type"] not in told])
        self._item, self._told = {}, None
        self.items.append(item)
        return [*events, {"type": "response.output_item.done", "output_index": index, "item": item}]


def _rounded(value: Any) -> Any:
    """Return log probabilities as items have them: to six places, where deltas have all that there are."""
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return list(map(_rounded, value))
    return round(value, 6) if isinstance(value, float) else value
