"""Anthropic's Messages API: requests, streams, documents, errors.

Source: https://docs.anthropic.com/en/api/messages, .../messages-streaming and .../errors, and 944 recorded streams: a
`message_start`; content blocks one after the other, each with a start, deltas of its own kind and a stop; then a
`message_delta` with the stop reason and the usage, and a `message_stop`. Each server-sent event is named by its type.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
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
from fakellm.script.messages import Message
from fakellm.script.script import Script
from fakellm.wire.anthropic import servers
from fakellm.wire.anthropic.adding import added_up
from fakellm.wire.anthropic.messages_reader import API, CALLER, REASONS, MessagesDecoder, usage_object
from fakellm.wire.anthropic.profiles import MessagesProfile
from fakellm.wire.codec import Codec, Decoder, Encoder, Headers, Request, Tally
from fakellm.wire.objects import dump, get, merged, objects, parse_object, quote, retrying, text_field

_KNOWN = ("model", "messages", "system", "tools", "stream")
_PING = b'event: ping\ndata: {"type":"ping"}\n\n'
_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

_START_ONLY = {"cache_creation", "service_tier", "inference_geo", "speed"}
_END_ONLY = {"server_tool_use", "output_tokens_details", "iterations"}
"""Fields of the usage that only `message_start` has, and only `message_delta`; the SDK puts one over the other."""

_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""Status -> type of the error object; other statuses are `invalid_request_error`, or from 500 on `api_error`."""


class MessagesCodec(Codec):
    """Messages."""

    api = API

    def __init__(self, profile: MessagesProfile | None = None) -> None:
        self.profile = profile

    @classmethod
    def speaking(cls, profile: MessagesProfile) -> MessagesCodec:
        """Return the codec with the habits of a self-hosted server."""
        return cls(profile)

    def request(self, body: Any, *, path: str = "") -> Request:  # noqa: ARG002 - other APIs have the model there
        """Read a request."""
        if not isinstance(body, dict):
            msg = "Input should be a valid dictionary"
            raise WireError(msg)
        for name in ("model", "messages", "max_tokens"):
            if body.get(name) is None:
                msg = f"{name}: Field required"
                raise WireError(msg)
        system = _text_of(body, "system")
        return Request(
            API,
            text_field(body, "model"),
            (
                *([Message("system", system)] if system else []),
                *(message for found in objects(body, "messages") for message in messages_of(found)),
            ),
            tuple(text_field(tool, "name") or text_field(tool, "type") for tool in objects(body, "tools")),
            get(body, "stream", bool),
            {key: value for key, value in body.items() if key not in _KNOWN},
            body,
        )

    def encoder(self, request: Request, number: int, usage: Usage | None = None) -> Encoder:
        """Return what writes the stream; there is one answer, and events of others are passed over."""
        if self.profile is not None:
            return servers.ServerEncoder(request, number, self.profile, usage)
        return _MessagesEncoder(request, number, usage)

    def body(self, script: Script, request: Request, number: int) -> bytes:
        """Return the document of an answer that is not streamed: what the stream adds up to."""
        encoder = _MessagesEncoder(request, number, script.usage)
        pieces = list(encoder.begin())
        for event in script:
            if isinstance(event, (Content, Usage, Finish)):
                pieces += encoder.event(event)
        return dump(added_up([*pieces, *encoder.end()], is_cut=script.allow_illegal))

    def error(self, fault: http_error, number: int) -> tuple[Headers, bytes]:
        """Return an HTTP error."""
        if self.profile is not None:
            return servers.http_error_of(self.profile, fault, number)
        usual = _ERRORS.get(fault.status, "api_error" if fault.status >= 500 else "invalid_request_error")  # noqa: PLR2004
        document = _error(fault.message, fault.kind or usual, fault.code, number)
        extra = [("content-type", "application/json"), *retrying(fault.retry_after)]
        return (*self.headers(number), *extra), dump(document) if fault.body is None else fault.body.encode()

    def decoder(self) -> Decoder:
        """Return what reads a stream."""
        return MessagesDecoder()

    def headers(self, number: int) -> Headers:
        """Return the headers of any answer."""
        if self.profile is not None:
            return servers.headers(self.profile, number)
        return (("request-id", _request_id(number)), ("anthropic-organization-id", "fakellm"))

    def stream_headers(self, request: Request, number: int) -> Headers:
        """Return the headers of a stream."""
        profile = self.profile
        return super().stream_headers(request, number) if profile is None else servers.stream_headers(profile, number)


def _request_id(number: int) -> str:
    return f"req_fakellm{number:06d}"


def _error(message: str, kind: str, code: str | None, number: int) -> dict[str, Any]:
    """Return the document of an error, over HTTP or in a stream; the neutral `server_error` is `api_error` here."""
    details = {} if code is None else {"details": {"error_code": code}}
    error = {"type": "api_error" if kind == "server_error" else kind, "message": message, **details}
    return {"type": "error", "error": error, "request_id": _request_id(number)}


def messages_of(found: dict[str, Any]) -> list[Message]:
    """Read a message of a request; each result of a tool in it becomes a message of its own, of the role `tool`."""
    role = text_field(found, "role")
    if not isinstance(found.get("content"), list):
        return [Message(role, text_field(found, "content"))]
    results, blocks = [], []
    for block in objects(found, "content"):
        if block.get("type") == "tool_result":
            results.append(Message("tool", _text_of(block, "content"), tool_call_id=text_field(block, "tool_use_id")))
        else:
            blocks.append(block)
    if results and not blocks:
        return results
    texts = [text_field(block, "text") for block in blocks if block.get("type") == "text"]
    reasoning = [text_field(block, "thinking") for block in blocks if block.get("type") == "thinking"]
    calls = [block for block in blocks if block.get("type") == "tool_use"]
    tool_calls = tuple(_call_of(block, index) for index, block in enumerate(calls))
    return [*results, Message(role, "".join(texts), reasoning="".join(reasoning), tool_calls=tool_calls)]


def _call_of(block: dict[str, Any], index: int) -> ToolCall:
    arguments = dump(get(block, "input", dict)).decode()
    return ToolCall(text_field(block, "name") or None, arguments, id=text_field(block, "id") or None, index=index)


def _text_of(mapping: dict[str, Any], name: str) -> str:
    """Return the text of a field that is text or a list of blocks."""
    if not isinstance(mapping.get(name), list):
        return text_field(mapping, name)
    return "".join(text_field(block, "text") for block in objects(mapping, name) if block.get("type") == "text")


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: ".encode() + dump({"type": kind, **fields}) + b"\n\n"


# What is held back: the `message_delta`, which has the stop reason and the last usage together, right before
# `message_stop` (in 943 of 943 recorded streams). A script's usage is known from the start, if it has one. Else the
# reason waits for the usage, but not through a silence: then what was counted so far is the usage, and a later one
# has no place any more.


class _MessagesEncoder(Encoder):
    """Writes a stream. A block is closed when something comes that does not belong to it."""

    def __init__(self, request: Request, number: int, usage: Usage | None) -> None:
        self._tally = Tally(request, usage)
        self._model = request.model
        self._number = number
        self._least_output = 1 if usage is None else min(usage.output_tokens, 1)
        self._index = -1
        self._open = ""
        self._signature: str | None = None
        self._calls: dict[int, int] = {}
        self._call_fields: str | None = None
        self._end_fields: str | None = None
        self._ended = False

    def begin(self) -> Sequence[bytes]:
        """Return the `message_start`."""
        usage = {key: value for key, value in usage_object(self._tally.usage).items() if key not in _END_ONLY}
        message: dict[str, Any] = {
            "model": self._model,
            "id": f"msg_fakellm{self._number:06d}",
            "type": "message",
            "role": "assistant",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "usage": {**usage, "output_tokens": self._least_output},
        }
        return [_event("message_start", message=message)]

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
                return [*first, self._delta("text_delta", "text", text)]
            case Reasoning():
                return self._reasoning(event)
            case ToolCall():
                return self._tool_call(event)
            case Native(api, data) if api == API:
                return self._native(cast("str", data))
        return []

    def _block(self, start: dict[str, Any]) -> list[bytes]:
        """Return the begin of a block, and what ends the one before it."""
        before = self._close()
        self._index += 1
        self._open = start["type"]
        self._signature = None
        return [
            *before,
            _event("content_block_start", index=self._index, content_block=start),
            *([] if self._index else [_PING]),
        ]

    def _delta(self, kind: str, name: str, text: str, index: int | None = None) -> bytes:
        index = self._index if index is None else index
        return (
            f'event: content_block_delta\ndata: {{"type":"content_block_delta","index":{index},'
            f'"delta":{{"type":"{kind}","{name}":{quote(text)}}}}}\n\n'
        ).encode()

    def _close(self) -> list[bytes]:
        """Return the end of the block that is open, if one is."""
        kind, self._open = self._open, ""
        pieces = []
        if kind == "thinking":
            signature = self._made_signature if self._signature is None else self._signature
            pieces.append(self._delta("signature_delta", "signature", signature))
        return [*pieces, _event("content_block_stop", index=self._index)] if kind else []

    @property
    def _made_signature(self) -> str:
        """The signature of a thinking block whose script has none."""
        return base64.b64encode(f"fakellm: call {self._number}, block {self._index}".encode()).decode()

    def _reasoning(self, event: Reasoning) -> list[bytes]:
        """Return a piece of thinking; a signature ends the block."""
        start = {"type": "thinking", "thinking": "", "signature": ""}
        pieces = [] if self._open == "thinking" else self._block(start)
        if event.text or event.signature is None:
            pieces.append(self._delta("thinking_delta", "thinking", event.text))
        if event.signature is None:
            return pieces
        self._signature = event.signature
        return [*pieces, *self._close()]

    def _tool_call(self, piece: ToolCall) -> list[bytes]:
        """Return a piece of a call; the first delta of its block is empty, and there may be no other."""
        index = piece.index or 0
        pieces: list[bytes] = []
        if piece.name is not None or (index not in self._calls and not self.verbatim):
            usual = {"type": "tool_use", "id": piece.id or f"call_{index}", "name": piece.name or "", "input": {}}
            start = merged({**usual, **CALLER}, self._call_fields)
            self._call_fields = None
            pieces = [*self._block(start), self._delta("input_json_delta", "partial_json", "")]
            self._calls[index] = self._index
        if piece.arguments:
            block = self._calls.get(index, self._index + 1)  # one without a start, if that is what was scripted
            pieces.append(self._delta("input_json_delta", "partial_json", piece.arguments, block))
        return pieces

    def _native(self, data: str) -> list[bytes]:
        """Return a block, a delta, or nothing yet for what belongs to a later event; see the reader."""
        found = parse_object(data, f"a Native of {API}")
        kind = text_field(found, "type")
        if not kind:
            msg = f"a Native of {API} is a content block or a delta and has a type, unlike {clip(data, 80)}"
            raise WireError(msg)
        if kind == "message_delta":
            self._end_fields = data
            return []
        if kind.endswith("_delta"):
            first = [] if self._open else self._block({"citations": [], "type": "text", "text": ""})
            return [*first, _event("content_block_delta", index=self._index, delta=found)]
        if kind == "tool_use" and "name" not in found:
            self._call_fields = data
            return []
        return self._native_block(kind, found)

    def _native_block(self, kind: str, found: dict[str, Any]) -> list[bytes]:
        """Return the begin of a block, and deltas for what such a block does not begin with."""
        if kind == "text":
            pieces = self._block({**found, "text": ""})
            text = text_field(found, "text")
            return [*pieces, self._delta("text_delta", "text", text)] if text else pieces
        if kind == "thinking":
            pieces = self._block({**found, "thinking": "", "signature": ""})
            self._signature = text_field(found, "signature") or None
            text = text_field(found, "thinking")
            return [*pieces, self._delta("thinking_delta", "thinking", text)] if text else pieces
        if "input" not in found:
            return self._block(found)
        if kind == "tool_use":
            self._tally.called.add(0)
        texts = ["", dump(found["input"]).decode()] if found["input"] else [""]
        pieces = self._block({**found, "input": {}})
        return [*pieces, *(self._delta("input_json_delta", "partial_json", text) for text in texts)]

    def flush(self) -> Sequence[bytes]:
        """Return the `message_delta` of a finish reason that was scripted, which waits for a usage."""
        return self._message_delta() if 0 in self._tally.finished else []

    def _message_delta(self) -> list[bytes]:
        if self._ended:
            return []
        self._ended = True
        finish = self._tally.finish()
        reason = {"stop_reason": REASONS.get(finish.reason, finish.reason), "stop_sequence": None, "stop_details": None}
        usage = {key: value for key, value in usage_object(self._tally.usage).items() if key not in _START_ONLY}
        usage["output_tokens"] = max(self._tally.usage.output_tokens, self._least_output)
        document = {"type": "message_delta", "delta": merged(reason, finish.extra), "usage": usage}
        document = merged(merged(document, self._end_fields), finish.beside)
        return [b"event: message_delta\ndata: " + dump(document) + b"\n\n"]

    def end(self) -> Sequence[bytes]:
        """Return the end of the block that is open, the `message_delta` if it is missing, and the `message_stop`."""
        return [*self._close(), *self._message_delta(), _STOP]

    def error(self, fault: provider_error) -> Sequence[bytes]:
        """Return the error, after which nothing comes; `named=False` leaves out the name that the SDK looks for."""
        data = b"data: " + dump(_error(fault.message, fault.kind, fault.code, self._number)) + b"\n\n"
        return [*self.flush(), data if fault.named is False else b"event: error\n" + data]
