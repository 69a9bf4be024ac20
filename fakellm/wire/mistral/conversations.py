"""Mistral's conversations: requests, streams, documents.

Source: https://docs.mistral.ai/agents, the types of the SDK, and recorded streams; see the reader.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from fakellm.errors import WireError, clip
from fakellm.script.events import (
    Content,
    Event,
    Native,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
    choice_of,
    provider_error,
)
from fakellm.script.messages import Message
from fakellm.script.script import Script
from fakellm.wire.codec import Decoder, Encoder, Request, Tally, all_pieces
from fakellm.wire.mistral import common
from fakellm.wire.mistral.conversations_reader import (
    API,
    CALL,
    DONE,
    ERROR,
    MESSAGE,
    STARTED,
    ConversationsDecoder,
    usage_object,
)
from fakellm.wire.mistral.requests import (
    ANY,
    BOOL,
    LIST,
    OBJECT,
    TEXT,
    Fields,
    Form,
    called,
    is_on,
    judge_tool,
    text_of,
    tool_name,
)
from fakellm.wire.objects import dump, merged, parse_object, sound, text_field

_MODEL = "mistral-medium-latest"
"""The model that answers where the request names none."""
_PLACE = re.compile(r"/conversations/([^/?]+)(/restart)?")
_ALL: Fields = {"inputs": ANY, "stream": BOOL, "store": BOOL, "handoff_execution": TEXT, "completion_args": OBJECT}
_START: Fields = {
    **_ALL, "instructions": TEXT, "tools": LIST, "guardrails": LIST, "name": TEXT, "description": TEXT,
    "metadata": OBJECT, "agent_id": TEXT, "agent_version": ANY, "model": TEXT,
}  # fmt: skip
_APPEND: Fields = {**_ALL, "tool_confirmations": LIST}
_RESTART: Fields = {**_ALL, "from_entry_id": TEXT, "guardrails": LIST, "metadata": OBJECT, "agent_version": ANY}
_TAKEN = ("model", "inputs", "instructions", "tools", "stream")
_ERROR_CODE = 3000


class ConversationsCodec(common.MistralCodec):
    """Conversations: begun, continued, and begun again from an entry. Nothing is kept between two requests."""

    api = API

    def request(self, body: Any, *, path: str = "") -> Request:
        """Read a request; the id of a conversation that is continued is its option `conversation_id`."""
        form, place = Form(), _PLACE.search(path)
        if place is None:
            found = form.judge(body, _START, (), "inputs")
            if found and not (found.get("model") or found.get("agent_id")):
                form.wrong("value_error", (), "Value error, either model or agent_id must be provided", found)
        elif place[2]:
            found = form.judge(body, _RESTART, (), "from_entry_id")
        else:
            found = form.judge(body, _APPEND)
        if isinstance(found.get("inputs"), list):
            for at, entry in enumerate(found["inputs"]):
                form.entry(entry, ("inputs", at))
        else:
            form.content(found.get("inputs"), ("inputs",))
        tools = found.get("tools") if isinstance(found.get("tools"), list) else None
        for at, tool in enumerate(tools or ()):
            judge_tool(form, tool, ("tools", at))
        form.close()
        options = {key: value for key, value in found.items() if key not in _TAKEN}
        if place is not None:
            options["conversation_id"] = place[1]
        instructions = text_field(found, "instructions")
        system = (Message("system", instructions),) if instructions else ()
        return Request(
            API,
            sound(found.get("model") or found.get("agent_id") or ""),
            (*system, *_messages(found.get("inputs"))),
            tuple(map(tool_name, tools or ())),
            is_on(found.get("stream")),
            options,
            body,
        )

    def encoder(self, request: Request, number: int, usage: Usage | None = None) -> Encoder:
        """Return what writes the stream; there is one answer, and events of others are passed over."""
        return _Encoder(request, number, usage)

    def body(self, script: Script, request: Request, number: int) -> bytes:
        """Return the document of an answer that is not streamed: what the stream adds up to."""
        return dump(_whole(all_pieces(_Encoder(request, number, script.usage), script)))

    def decoder(self) -> Decoder:
        """Return what reads a stream."""
        return ConversationsDecoder()


def _messages(inputs: Any) -> Iterable[Message]:
    """Yield the messages of the inputs: a text, or entries of a conversation; of tools that Mistral ran as calls."""
    entries = (
        inputs if isinstance(inputs, list) else [{"role": "user", "content": inputs}] if inputs is not None else []
    )
    for at, entry in enumerate(entries):
        kind = entry.get("type") or "message.input"
        if kind in ("function.call", "tool.execution"):
            call = called(str(entry.get("name") or ""), entry.get("arguments") or "", entry.get("tool_call_id"), at)
            yield Message("assistant", tool_calls=(replace(call, index=0),))
        elif kind == "function.result":
            yield Message("tool", text_of(entry.get("result")), tool_call_id=entry.get("tool_call_id"))
        elif kind.startswith("message."):
            role = entry.get("role") or ("assistant" if kind == "message.output" else "user")
            yield Message(str(role), text_of(entry.get("content")))


def _event(kind: str, created_at: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: ".encode() + dump({"type": kind, "created_at": created_at, **fields}) + b"\n\n"


# What is held back: the end, which has the usage; see `wire/cohere/chat.py`, which has such an end too. And the first
# piece of a call without arguments, until it is known whether more of it comes: a call without any has an empty object.


class _Encoder(Encoder):
    """Writes a stream. Each output (a message, a call, a tool that is run, a handoff) has its place and its id."""

    def __init__(self, request: Request, number: int, usage: Usage | None) -> None:
        self._tally = Tally(request, usage)
        self._number = number
        self._time = common.time_of(number)
        self._id = request.options.get("conversation_id")
        if self._id is None or "from_entry_id" in request.options:
            self._id = f"conv_{number:032x}"
        self._agent = request.options.get("agent_id")
        self._model = _MODEL if self._agent or not request.model else request.model
        self._index = -1
        self._open = ""
        self._part, self._place = "", -1
        self._calls: dict[int, tuple[int, ToolCall]] = {}
        self._held: ToolCall | None = None
        self._ended = False

    def begin(self) -> Sequence[bytes]:
        """Return the start."""
        return [_event(STARTED, self._time, conversation_id=self._id)]

    def event(self, event: Event) -> Sequence[bytes]:
        """Return the server-sent events of an event; a refusal is text here."""
        if choice_of(event) or (isinstance(event, Usage) and self._tally.knows_usage):
            return ()
        self._tally.note(event)
        if isinstance(event, ToolCall):
            return self._tool_call(event)
        closed = self._close_call()
        if isinstance(event, Content):
            return [*closed, *self._content(event)]
        return [*closed, *self.flush()] if self._tally.has_usage else closed

    def _content(self, event: Content) -> list[bytes]:
        match event:
            case Text(text) | Refusal(text):
                return [self._message("text", text)]
            case Reasoning(text, _, signature) if text or signature is not None:
                return [self._message("thinking", common.thinking(text, signature))]
            case Native(api, data) if api == API:
                return [self._native(cast("str", data))]
        return []

    def _next(self, kind: str) -> int:
        """Return the place of an output of this kind: that of the open one, or of a new one."""
        if kind != self._open:
            self._open, self._part, self._place = kind, "", -1
            self._index += 1
        return self._index

    def _of(self, prefix: str, index: int) -> dict[str, Any]:
        return {"output_index": index, "id": f"{prefix}_{self._number:016x}{index:016x}"}

    def _by(self) -> dict[str, Any]:
        """Return who answers."""
        return {"model": self._model, **({"agent_id": self._agent} if self._agent else {})}

    def _message(self, part: str, content: Any, **more: Any) -> bytes:
        place = self._of("msg", self._next("message"))
        if part != self._part:
            self._part = part
            self._place += 1
        fields = {**place, "content_index": self._place, **self._by(), "role": "assistant", **more, "content": content}
        return _event(MESSAGE, self._time, **fields)

    def _native(self, data: str) -> bytes:
        """Return an event of the stream as it was scripted, with what is missing of its time, id and place."""
        found = parse_object(data, f"a Native of {API}")
        kind = text_field(found, "type")
        if not kind:
            msg = f"a Native of {API} is an event of the stream and has a type, unlike {clip(data, 80)}"
            raise WireError(msg)
        rest = {key: value for key, value in found.items() if key != "type"}
        if kind == MESSAGE:
            content = rest.pop("content", "")
            part = text_field(content, "type") if isinstance(content, dict) else "text"
            return self._message(part, content, **rest)
        family, _, step = kind.rpartition(".")
        if family not in ("tool.execution", "agent.handoff"):
            return _event(kind, **{"created_at": self._time, **rest})
        if step == "started":
            self._open = ""
        place = self._of("tool_exec" if family.startswith("tool") else "handoff", self._next(family))
        if family.startswith("tool") and step == "started":
            place |= self._by()
        if kind == "agent.handoff.done":
            self._agent = rest.get("next_agent_id", self._agent)
        return _event(kind, **{"created_at": self._time, **place, **rest})

    def _tool_call(self, piece: ToolCall) -> list[bytes]:
        """Return a piece of a call; each has the name."""
        if self.verbatim:
            return [self._piece(piece, self._place_of(piece), piece.name or "", piece.id)]
        index = piece.index or 0
        if piece.name is None and index in self._calls:
            before = self._let_go() if self._open == f"call {index}" else self._close_call()
            place, first = self._calls[index]
            self._calls[index] = place, first + ToolCall(arguments="-" if piece.arguments else "", index=piece.index)
            return [*before, self._piece(piece, place, first.name or "", first.id)] if piece.arguments else before
        before = self._close_call()
        self._calls[index] = self._place_of(piece), piece
        if not piece.arguments:
            self._held = piece
            return before
        return [*before, self._piece(piece, self._calls[index][0], piece.name or "", piece.id)]

    def _place_of(self, piece: ToolCall) -> int:
        """Return the place of a new call."""
        self._open = ""
        return self._next(f"call {piece.index or 0}")

    def _piece(self, piece: ToolCall, place: int, name: str, id: str | None, arguments: str = "") -> bytes:
        call = {
            "name": name,
            "tool_call_id": id or f"call_{piece.index or 0}",
            "arguments": piece.arguments or arguments,
        }
        return _event(CALL, self._time, **self._of("fc", place), **self._by(), **call)

    def _let_go(self, arguments: str = "") -> list[bytes]:
        """Return the first piece of a call that waits for its arguments."""
        held, self._held = self._held, None
        if held is None:
            return []
        return [self._piece(held, self._calls[held.index or 0][0], held.name or "", held.id, arguments)]

    def _close_call(self) -> list[bytes]:
        """Return what completes the last call: no arguments at all are an empty object."""
        if self._held is not None:
            return self._let_go("{}")
        if not self._open.startswith("call ") or self.verbatim:
            return []
        index, self._open = int(self._open[5:]), ""
        place, first = self._calls[index]
        return [] if first.arguments else [self._piece(first, place, first.name or "", first.id, "{}")]

    def flush(self) -> Sequence[bytes]:
        """Return what waits: the begin of a call, and an end that was scripted."""
        return [*self._let_go(), *(self._done() if 0 in self._tally.finished else [])]

    def _done(self) -> list[bytes]:
        if self._ended:
            return []
        self._ended = True
        finish = self._tally.finish()
        document = {
            "type": DONE,
            "created_at": self._time,
            "usage": merged(usage_object(self._tally.usage), self._tally.usage.extra),
        }
        whole = merged(merged(document, finish.extra), finish.beside)
        return [f"event: {DONE}\ndata: ".encode() + dump(whole) + b"\n\n"]

    def end(self) -> Sequence[bytes]:
        """Return the end, if it is missing."""
        return [*self._close_call(), *self._done()]

    def error(self, fault: provider_error) -> Sequence[bytes]:
        """Return the event that reports an error; `named=True` gives one that is named `error`."""
        code = int(fault.code) if fault.code and fault.code.isdigit() else _ERROR_CODE
        if fault.named:
            document = common.error_object(503, fault.message, fault.kind, fault.code)
            return [*self.flush(), b"event: error\ndata: " + dump(document) + b"\n\n"]
        return [*self.flush(), _event(ERROR, self._time, message=fault.message, code=code)]


def _whole(pieces: Iterable[bytes]) -> dict[str, Any]:
    """Return what the events of a stream add up to: the document of an answer that is not streamed."""
    entries: dict[int, dict[str, Any]] = {}
    document: dict[str, Any] = {"object": "conversation.response", "conversation_id": "", "outputs": []}
    for piece in pieces:
        event = json.loads(piece.partition(b"\ndata: ")[2])
        kind = event.pop("type")
        if kind == STARTED:
            document["conversation_id"] = event["conversation_id"]
        elif kind == DONE:
            event.pop("created_at")
            document |= {
                "outputs": [_entry(entry) for entry in entries.values()],
                **event,
                "guardrails": event.get("guardrails"),
            }
        elif "output_index" in event:
            _add(entries.setdefault(event.pop("output_index"), {"type": kind.rpartition(".")[0]}), event)
    return document


def _add(entry: dict[str, Any], event: Mapping[str, Any]) -> None:
    for name, value in event.items():
        if name == "content":
            entry.setdefault("content", []).append(value)
        elif name == "arguments" and isinstance(value, str):
            entry[name] = entry.get(name, "") + value
        elif name != "content_index":
            entry[name] = value


def _entry(found: dict[str, Any]) -> dict[str, Any]:
    """Return an output of a document."""
    entry = {
        "object": "entry",
        "type": found["type"],
        "created_at": found["created_at"],
        "completed_at": found["created_at"],
    }
    content = {"content": common.joined(found["content"])} if "content" in found else {}
    return {**entry, **found, **content}
