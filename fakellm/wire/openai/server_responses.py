"""Responses as self-hosted servers stream them: vLLM, `transformers serve` and llama.cpp.

Source: recorded streams of these servers, in `cassettes/servers/` and `cassettes/`. The first two send the events of
OpenAI with other fields, in the order of the alphabet: a `Style` rewrites them. llama.cpp numbers nothing, keeps all
items open to the end, and says of an answer that was cut off that it is complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fakellm.script.events import (
    Event,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
    choice_of,
    provider_error,
)
from fakellm.wire.codec import CREATED, Encoder, Request, Tally
from fakellm.wire.objects import dump, merged
from fakellm.wire.openai.habits import arranged, error_document, status_of
from fakellm.wire.openai.profiles import Profile

Fields = dict[str, Any]

_ITEMS = {
    "message": ("id", "content", "role", "status", "type"),
    "reasoning": ("id", "summary", "type", "content", "encrypted_content", "status"),
    "function_call": ("arguments", "call_id", "name", "type", "id", "status"),
}
"""The type of an item -> its fields."""

_DEFAULTS: dict[str, Any] = {
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "service_tier": "default",
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "top_logprobs": 0,
}
"""What OpenAI says of what a request left out, where others say something else."""


@dataclass(frozen=True, slots=True)
class Style:
    """How a server writes what OpenAI's events say.

    `response` are the fields of a response in their order, and `values` those that OpenAI does not have or says
    otherwise. `message` is what a message has beside, from its begin (`begun`) or at its end. `input_details` and
    `output_details` are those of a usage. `names`: each event is named. `created` is the status of the first response.
    """

    response: tuple[str, ...]
    values: tuple[tuple[str, Any], ...] = ()
    message: tuple[tuple[str, Any], ...] = ()
    is_begun: bool = False
    part: tuple[tuple[str, Any], ...] = ()
    part_done: tuple[tuple[str, Any], ...] = ()
    input_details: tuple[str, ...] = ()
    output_details: tuple[str, ...] = ()
    names: bool = True
    created: str = "in_progress"
    is_cut_complete: bool = True

    def event(self, fields: Fields, number: int) -> bytes:
        """Return an event of the stream."""
        kind = fields["type"]
        written = {**fields, "sequence_number": number}
        if "item" in fields:
            written["item"] = self._item(fields["item"], is_done=kind.endswith(".done"))
        if "part" in fields:
            written["part"] = self._part(fields["part"], is_done=kind.endswith(".done"))
        if "response" in fields:
            status = self.created if kind == "response.created" else None
            written["response"] = self._response(fields["response"], status)
        if kind == "response.incomplete" and self.is_cut_complete:
            kind = "response.completed"
        data = dump(dict(sorted({**written, "type": kind}.items())))
        return (f"event: {kind}\n".encode() if self.names else b"") + b"data: " + data + b"\n\n"

    def _item(self, item: Fields, *, is_done: bool) -> Fields:
        if item.get("type") not in _ITEMS:
            return item
        found = {**item, "status": "completed" if is_done else "in_progress"}
        if item["type"] == "message":
            found |= dict(self.message) if is_done or self.is_begun else {}
        found["content"] = [self._part(part, is_done=True) for part in item.get("content") or ()]
        names = _ITEMS[item["type"]]
        return arranged((*names, *(name for name in found if name not in (*names, "content"))), found)

    def _part(self, part: Fields, *, is_done: bool) -> Fields:
        if part.get("type") != "output_text":
            return part
        more = dict(self.part_done if is_done else self.part)
        return {"annotations": part["annotations"], "text": part["text"], "type": "output_text", **more}

    def _response(self, response: Fields, status: str | None) -> Fields:
        values = {name: value for name, value in self.values if response.get(name) in (None, _DEFAULTS.get(name))}
        found = {**response, **values}
        if response["tools"]:
            found["tool_choice"] = response["tool_choice"]
        found["output"] = [self._item(item, is_done=True) for item in response["output"]]
        if (usage := response["usage"]) is not None:
            found["usage"] = {
                "input_tokens": usage["input_tokens"],
                "input_tokens_details": _details(usage["input_tokens_details"], self.input_details),
                "output_tokens": usage["output_tokens"],
                "output_tokens_details": _details(usage["output_tokens_details"], self.output_details),
                "total_tokens": usage["total_tokens"],
            }
        return arranged(self.response, found | ({"status": status} if status else {}))


def _details(details: Fields, names: tuple[str, ...]) -> Fields:
    """Return the details of a usage: with names, in their order, and with nothing for those that OpenAI lacks."""
    return {name: details.get(name, [] if name.endswith("_turn") else 0) for name in names or details}


STYLES = {
    "vllm": Style(
        (
            "id", "created_at", "incomplete_details", "instructions", "metadata", "model", "object", "output",
            "parallel_tool_calls", "temperature", "tool_choice", "tools", "top_p", "background", "max_output_tokens",
            "max_tool_calls", "previous_response_id", "prompt", "reasoning", "service_tier", "status", "text",
            "top_logprobs", "truncation", "usage", "user", "presence_penalty", "frequency_penalty",
            "kv_transfer_params", "ec_transfer_params", "input_messages", "output_messages",
        ),
        (
            ("metadata", None), ("tool_choice", "none"), ("prompt", None), ("reasoning", None), ("text", None),
            ("top_logprobs", None), ("service_tier", "auto"), ("presence_penalty", 0.0), ("frequency_penalty", 0.0),
            ("kv_transfer_params", None), ("ec_transfer_params", None), ("input_messages", None),
            ("output_messages", None),
        ),
        message=(("phase", None),), is_begun=True, part=(("logprobs", []),), part_done=(("logprobs", None),),
        input_details=(
            "cached_tokens", "cache_write_tokens", "input_tokens_per_turn", "cached_tokens_per_turn",
        ),
        output_details=(
            "reasoning_tokens", "tool_output_tokens", "output_tokens_per_turn", "tool_output_tokens_per_turn",
        ),
    ),
    "transformers": Style(
        (
            "id", "created_at", "model", "object", "output", "parallel_tool_calls", "tool_choice", "tools", "status",
            "usage?",
        ),
        (("parallel_tool_calls", False),),
        message=(("annotations", []),), names=False, created="queued",
    ),
}  # fmt: skip
"""The servers whose events are OpenAI's with other fields."""


@dataclass(slots=True)
class _Item:
    """An item while it is written: its fields as it begins, what it is a piece of, and its texts."""

    begun: Fields
    call: int | None = None
    texts: list[str] = field(default_factory=list)

    @property
    def done(self) -> Fields:
        """The item as it is at its end."""
        item, text = dict(self.begun), "".join(self.texts)
        if item["type"] == "message":
            part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
            return {"type": "message", "status": "completed", "id": item["id"], "content": [part], "role": "assistant"}
        if item["type"] == "reasoning":
            return {**item, "content": [{"text": text, "type": "reasoning_text"}], "status": "completed"}
        more = {"call_id": item["call_id"], "name": item["name"]}
        return {"id": item["id"], "type": "function_call", "status": "completed", "arguments": text or "{}", **more}


class LlamaEncoder(Encoder):
    """Writes a stream as llama.cpp does: no numbers and no indexes, each item open to the end."""

    def __init__(self, request: Request, number: int, profile: Profile, usage: Usage | None) -> None:
        self._tally = Tally(request, usage)
        self._model, self._number, self._profile = request.model, number, profile
        self._items: list[_Item] = []
        self._is_begun = False

    def _sse(self, kind: str, **fields: Any) -> bytes:
        return f"event: {kind}\ndata: ".encode() + dump({"type": kind, **fields}) + b"\n\n"

    def _start(self) -> list[bytes]:
        if self._is_begun:
            return []
        self._is_begun = True
        response = {"id": self._id("resp"), "object": "response", "status": "in_progress"}
        return [self._sse(f"response.{name}", response=response) for name in ("created", "in_progress")]

    def _id(self, prefix: str, count: int = 0) -> str:
        return f"{prefix}_fakellm{self._number:06d}{count:019d}"

    def event(self, event: Event) -> Sequence[bytes]:
        """Return the events of the stream that an event of the answer becomes; what llama.cpp lacks is left out."""
        if choice_of(event):
            return ()
        self._tally.note(event)
        match event:
            case Text(text) | Refusal(text):
                place = {"item_id": self._id("msg", self._count("message"))}
                pieces = self._piece("response.output_text.delta", "message", text, place)
            case Reasoning(text) if text:
                pieces = self._piece("response.reasoning_text.delta", "reasoning", text, {})
            case ToolCall():
                pieces = self._tool_call(event)
            case Usage():
                return ()
            case _:
                pieces = []
        pieces = [*self._start(), *pieces]
        return [b"".join(pieces)] if pieces else ()

    def _count(self, kind: str) -> int:
        return next((at for at, one in enumerate(self._items) if one.begun["type"] == kind), len(self._items))

    def _piece(self, event: str, kind: str, text: str, place: Fields, call: int | None = None) -> list[bytes]:
        """Return a delta, and before it what begins its item, if none is open for it."""
        item = next((one for one in self._items if (one.begun["type"], one.call) == (kind, call)), None)
        before = [] if item else self._open(kind, call)
        item = item or self._items[-1]
        item.texts.append(text)
        if place:
            return [*before, self._sse(event, **place, delta=text)]
        return [*before, self._sse(event, delta=text, item_id=item.begun["id"])]

    def _open(self, kind: str, call: int | None = None, **fields: Any) -> list[bytes]:
        count = len(self._items)
        begun: Fields = {"content": [], "id": self._id("msg", count), "role": "assistant"}
        begun |= {"status": "in_progress", "type": "message"}
        if kind == "reasoning":
            begun = {"id": self._id("rs", count), "summary": [], "type": kind, "content": []}
            begun |= {"encrypted_content": "", "status": "in_progress"}
        elif kind == "function_call":
            begun = {"id": self._id("fc", count), "arguments": "", **fields, "type": kind, "status": "in_progress"}
        self._items.append(_Item(begun, call))
        pieces = [self._sse("response.output_item.added", item=begun)]
        if kind == "message":
            part = {"type": "output_text", "text": ""}
            pieces.append(self._sse("response.content_part.added", item_id=begun["id"], part=part))
        return pieces

    def _tool_call(self, piece: ToolCall) -> list[bytes]:
        call = piece.index or 0
        is_new = piece.name is not None or all(one.call != call for one in self._items)
        named = {"call_id": piece.id or f"call_{call}", "name": piece.name or ""}
        before = self._open("function_call", call, **named) if is_new else []
        kind = "response.function_call_arguments.delta"
        return before + (self._piece(kind, "function_call", piece.arguments, {}, call) if piece.arguments else [])

    def _done(self, item: _Item) -> list[bytes]:
        done, pieces = item.done, []
        if done["type"] == "message":
            (part,) = done["content"]
            pieces.append(self._sse("response.output_text.done", item_id=done["id"], text=part["text"]))
            pieces.append(self._sse("response.content_part.done", item_id=done["id"], part=part))
        elif done["type"] == "function_call" and not item.texts:
            kind = "response.function_call_arguments.delta"
            pieces.append(self._sse(kind, delta="{}", item_id=done["id"]))
        return [*pieces, self._sse("response.output_item.done", item=done)]

    def end(self) -> Sequence[bytes]:
        """Return the ends of the items and the terminal event, which says `completed` whatever the finish reason is."""
        last = [piece for item in self._items for piece in self._done(item)]
        usage = self._tally.usage
        response = {
            "id": self._id("resp"),
            "object": "response",
            "created_at": CREATED + self._number,
            "status": "completed",
            "model": self._model,
            "output": [item.done for item in self._items],
            "usage": {
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "total_tokens": usage.total_tokens,
                "input_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
            },
        }
        layout = self._profile.layout
        timings = {name: layout.values[name] for name in layout.last} if layout is not None else {}
        finish = self._tally.finish()
        response = merged(merged(response, finish.extra), finish.beside)
        return [b"".join([*self._start(), *last, self._sse("response.completed", response=response, **timings)])]

    def error(self, fault: provider_error) -> Sequence[bytes]:
        """Return the error, which has no name."""
        document = error_document(self._profile, fault.message, fault.kind, status_of(fault.code, fault.kind))
        return [b"data: " + dump(document) + b"\n\n"]
