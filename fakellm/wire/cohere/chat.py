"""Cohere's Chat API, version 2: requests, streams, documents, errors.

Source: https://docs.cohere.com/reference/chat, .../chat-stream and /docs/streaming, the types of the SDK, and recorded
streams: a `message-start`, blocks of content and tool calls, each with a start, deltas and an end, a `message-end` with
finish reason and usage, and `data: [DONE]`. Each server-sent event is named by its type.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, cast

from fakellm.errors import WireError, clip
from fakellm.script.events import (
    Content,
    Event,
    Finish,
    Native,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
    choice_of,
    http_error,
    provider_error,
)
from fakellm.script.script import Script
from fakellm.wire.codec import Codec, Decoder, Encoder, Headers, Request, Tally, all_pieces
from fakellm.wire.cohere.chat_reader import (
    API,
    ERROR,
    REASONS,
    ChatDecoder,
    logprobs_object,
    message_of,
    usage_fields,
)
from fakellm.wire.cohere.requests import read_request
from fakellm.wire.objects import dump, get, merged, parse_object, quote, retrying, text_field

_DONE = b"data: [DONE]\n\n"
_KINDS = ("TIMEOUT",)
"""What a `message-end` with an error can give for its reason, beside `ERROR`."""


class ChatCodec(Codec):
    """Chat."""

    api = API
    content_type = "text/event-stream"

    def request(self, body: Any, *, path: str = "") -> Request:  # noqa: ARG002 - other APIs have the model there
        """Read a request."""
        return read_request(API, body)

    def encoder(self, request: Request, number: int, usage: Usage | None = None) -> Encoder:
        """Return what writes the stream; there is one answer, and events of others are passed over."""
        return _ChatEncoder(request, number, usage)

    def body(self, script: Script, request: Request, number: int) -> bytes:
        """Return the document of an answer that is not streamed: what the stream adds up to."""
        return dump(_Whole(all_pieces(self.encoder(request, number, script.usage), script)).document)

    def error(self, fault: http_error, number: int) -> tuple[Headers, bytes]:
        """Return an HTTP error; its document has an id and a message, and no word for a kind or a code."""
        document = {"id": _id(number), "message": fault.message}
        extra = [("content-type", "application/json"), *retrying(fault.retry_after)]
        return (*self.headers(number), *extra), dump(document) if fault.body is None else fault.body.encode()

    def decoder(self) -> Decoder:
        """Return what reads a stream."""
        return ChatDecoder()

    def headers(self, number: int) -> Headers:
        """Return the headers of any answer."""
        return (("x-debug-trace-id", f"fakellm{number:025d}"),)


def _id(number: int) -> str:
    """Return an id in the form of a UUID."""
    return f"00000000-0000-4000-8000-{number:012d}"


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: ".encode() + dump({"type": kind, **fields}) + b"\n\n"


def _adds(**message: Any) -> dict[str, Any]:
    """Return the delta of an event that adds this to the message."""
    return {"message": message}


# What is held back: the `message-end`, which has the finish reason and the usage together. A script's usage is known
# from the start, if it has one. Else the reason waits for the usage, but not through a silence: then what was counted
# so far is the usage, and a later one has no place any more. A usage without an end has no place at all, since a
# `message-end` would be the end that such a stream lacks.


class _ChatEncoder(Encoder):
    """Writes a stream. A block or a call is closed when something comes that does not belong to it."""

    def __init__(self, request: Request, number: int, usage: Usage | None) -> None:
        self._tally = Tally(request, usage)
        self._number = number
        self._index = -1
        self._open = ""
        self._calls: set[int] = set()
        self._call: int | None = None
        self._citation = -1
        self._ended = False

    def begin(self) -> Sequence[bytes]:
        """Return the `message-start`."""
        message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
        start = {"id": _id(self._number), "type": "message-start", "delta": {"message": message}}
        return [b"event: message-start\ndata: " + dump(start) + b"\n\n"]

    def event(self, event: Event) -> Sequence[bytes]:
        """Return the server-sent events of an event; a refusal is text here."""
        if choice_of(event) or (isinstance(event, Usage) and self._tally.knows_usage):
            return ()
        self._tally.note(event)
        if isinstance(event, Content):
            return self._content(event)
        closed = self._close() if isinstance(event, Finish) else []
        return [*closed, *self.flush()] if self._tally.has_usage else closed

    def _content(self, event: Content) -> list[bytes]:
        match event:
            case Text(text) | Refusal(text):
                first = [] if self._open == "text" else self._block({"type": "text", "text": ""})
                return [*first, self._delta("text", text, getattr(event, "logprobs", None))]
            case Reasoning(text):
                if not text and event.signature is not None:  # no place for a signature, and nothing else said
                    return []
                first = [] if self._open == "thinking" else self._block({"type": "thinking", "thinking": ""})
                return [*first, self._delta("thinking", text)]
            case ToolCall():
                return self._tool_call(event)
            case Native(api, data) if api == API:
                return self._native(cast("str", data))
        return []

    def _block(self, content: dict[str, Any], **more: Any) -> list[bytes]:
        """Return the begin of a block, and what ends the one before it."""
        before = self._close()
        self._index += 1
        self._open = str(content.get("type", "text"))
        return [*before, _event("content-start", index=self._index, delta=_adds(content=content), **more)]

    def _delta(self, kind: str, text: str, logprobs: Any = None) -> bytes:
        more = "" if logprobs is None else f',"logprobs":{dump(logprobs_object(logprobs)).decode()}'
        return (
            f'event: content-delta\ndata: {{"type":"content-delta","index":{self._index},'
            f'"delta":{{"message":{{"content":{{"{kind}":{quote(text)}}}}}}}{more}}}\n\n'
        ).encode()

    def _close(self) -> list[bytes]:
        """Return the end of the block or the call that is open, if one is."""
        if self._call is not None:
            call, self._call = self._call, None
            return [_event("tool-call-end", index=call)]
        if self._open:
            self._open = ""
            return [_event("content-end", index=self._index)]
        return []

    def _tool_call(self, piece: ToolCall) -> list[bytes]:
        """Return a piece of a call."""
        index = piece.index or 0
        pieces: list[bytes] = []
        is_first = piece.name is not None or (index not in self._calls and not self.verbatim)
        if is_first:
            function = {"name": piece.name or "", "arguments": ""}
            call = {"id": piece.id or f"call_{index}", "type": "function", "function": function}
            pieces = [*self._close(), _event("tool-call-start", index=index, delta=_adds(tool_calls=call))]
            self._calls.add(index)
            self._call = index
        if piece.arguments or not is_first:
            call = {"function": {"arguments": piece.arguments}}
            pieces.append(_event("tool-call-delta", index=index, delta=_adds(tool_calls=call)))
        return pieces

    def _native(self, data: str) -> list[bytes]:
        """Return an event of the stream as it was scripted; see the reader."""
        found = parse_object(data, f"a Native of {API}")
        kind = text_field(found, "type")
        if not kind:
            msg = f"a Native of {API} is an event of the stream and has a type, unlike {clip(data, 80)}"
            raise WireError(msg)
        rest = {key: value for key, value in found.items() if key != "type"}
        content = get(message_of(found), "content", dict)
        ours = {key: value for key, value in rest.items() if key not in ("index", "delta")}
        match kind:
            case "content-start":
                return self._block(content, **ours)
            case "content-delta":
                first = [] if self._open else self._block({"type": "text", "text": ""})
                return [*first, _event(kind, index=self._index, delta=rest.get("delta"), **ours)]
            case "content-end":
                return self._close() if self._open else []
            case "citation-start" | "citation-end":
                before = self._close() if self._call is not None else []
                self._citation += kind == "citation-start"
                return [*before, _event(kind, **{"index": max(self._citation, 0), **rest})]
        before = self._close() if self._call is not None or kind == "tool-plan-delta" else []
        return [*before, _event(kind, **rest)]

    def flush(self) -> Sequence[bytes]:
        """Return the `message-end` of a finish reason that was scripted, which waits for a usage."""
        return self._message_end() if 0 in self._tally.finished else []

    def _usage(self) -> dict[str, Any]:
        return merged(usage_fields(self._tally.usage), self._tally.usage.extra)

    def _message_end(self) -> list[bytes]:
        if self._ended:
            return []
        self._ended = True
        finish = self._tally.finish()
        delta = {"finish_reason": REASONS.get(finish.reason, finish.reason), "usage": self._usage()}
        document = {"type": "message-end", "delta": merged(delta, finish.extra)}
        return [b"event: message-end\ndata: " + dump(merged(document, finish.beside)) + b"\n\n"]

    def end(self) -> Sequence[bytes]:
        """Return the end of what is open, the `message-end` if it is missing, and the marker that ends the stream."""
        return [*self._close(), *self._message_end(), _DONE]

    def error(self, fault: provider_error) -> Sequence[bytes]:
        """Return the `message-end` that reports an error; `named=True` gives an event that is named `error`."""
        if fault.named:
            return [*self.flush(), _event("error", message=fault.message)]
        before = self.flush()
        delta: dict[str, Any] = {"finish_reason": fault.kind if fault.kind in _KINDS else ERROR}
        if fault.message:
            delta["error"] = fault.message
        if self._tally.has_usage and not self._ended:
            delta["usage"] = self._usage()
        return [*before, _event("message-end", delta=delta), _DONE]


class _Whole:
    """What the events of a stream add up to: the document of an answer that is not streamed."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.document: dict[str, Any] = {}
        self._message: dict[str, Any] = {"role": "assistant"}
        self._calls: dict[int, dict[str, Any]] = {}
        for piece in pieces:
            event = json.loads(piece.partition(b"\ndata: ")[2] or b"{}")
            delta = event.get("delta") or {}
            self._take(event, delta, delta.get("message") or {})

    def _take(self, event: dict[str, Any], delta: dict[str, Any], added: dict[str, Any]) -> None:
        match event.get("type"):
            case "message-start":
                self.document["id"] = event["id"]
            case "content-start":
                self._list("content").append(added["content"])
            case "content-delta":
                self._text(event, added["content"])
            case "tool-plan-delta":
                self._message["tool_plan"] = self._message.get("tool_plan", "") + text_field(added, "tool_plan")
            case "tool-call-start":
                self._call(event["index"], added["tool_calls"])
            case "tool-call-delta":
                self._arguments(event["index"], added["tool_calls"]["function"]["arguments"])
            case "citation-start":
                self._list("citations").append(added.get("citations"))
            case "message-end":
                rest = {key: value for key, value in event.items() if key not in ("type", "delta")}
                self.document |= {"message": self._message, **delta, **rest}

    def _list(self, name: str) -> list[Any]:
        found: list[Any] = self._message.setdefault(name, [])
        return found

    def _text(self, event: dict[str, Any], content: dict[str, Any]) -> None:
        """Add a delta to the block that is open: texts are joined."""
        block = self._list("content")[-1]
        for name, value in content.items():
            before = block.get(name) or ""
            block[name] = before + value if isinstance(value, str) and isinstance(before, str) else value
        if "logprobs" in event:
            self.document.setdefault("logprobs", []).append(event["logprobs"])

    def _call(self, index: int, call: dict[str, Any]) -> None:
        self._calls[index] = call
        self._list("tool_calls").append(call)

    def _arguments(self, index: int, arguments: str) -> None:
        if index not in self._calls:  # one without a start, if that is what was scripted
            self._call(index, {"type": "function", "function": {"arguments": ""}})
        self._calls[index]["function"]["arguments"] += arguments
