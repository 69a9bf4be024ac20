"""Messages as self-hosted servers stream them: vLLM and llama.cpp.

Source: recorded streams of these servers, in `cassettes/servers/`. There is no ping, and the first delta of a call
is its first arguments. llama.cpp keeps all blocks open to the end, where each is stopped, one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from fakellm.script.events import (
    Event,
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
from fakellm.wire.anthropic.messages_reader import API, REASONS
from fakellm.wire.anthropic.profiles import MessagesProfile
from fakellm.wire.codec import Encoder, Headers, Request, Tally
from fakellm.wire.objects import dump, merged

_KINDS = {400: "BadRequestError", 404: "NotFoundError"}
_FIELDS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


@dataclass(slots=True)
class _Block:
    """A block that is open: its index, its kind, and which call it is."""

    index: int
    kind: str
    call: int | None = None
    is_empty: bool = True


def headers(profile: MessagesProfile, number: int) -> Headers:
    """Return the headers of any answer, the content type apart."""
    return tuple((name, value.format(number=number)) for name, value in profile.headers)


def stream_headers(profile: MessagesProfile, number: int) -> Headers:
    """Return the headers of a stream."""
    return (("content-type", profile.content_type), ("transfer-encoding", "chunked"), *headers(profile, number))


def http_error_of(profile: MessagesProfile, fault: http_error, number: int) -> tuple[Headers, bytes]:
    """Return headers and document of an HTTP error."""
    found = (("content-type", "application/json"), *headers(profile, number))
    if fault.body is not None:
        return found, fault.body.encode()
    is_ours = fault.status < 500  # noqa: PLR2004
    if profile.error == "llama.cpp":
        kind = fault.kind or ("invalid_request_error" if is_ours else "server_error")
        return found, dump({"error": {"code": fault.status, "message": fault.message, "type": kind}})
    kind = fault.kind or _KINDS.get(fault.status, "BadRequestError" if is_ours else "InternalServerError")
    return found, dump({"type": "error", "error": {"type": kind, "message": fault.message}})


# Nothing is held back but the stop reason, which waits for the end as the last usage does. `message_start` comes with
# the first event: an error that comes before all others is the first event of its stream.


class ServerEncoder(Encoder):
    """Writes a stream in the habits of a server."""

    def __init__(self, request: Request, number: int, profile: MessagesProfile, usage: Usage | None) -> None:
        self._tally = Tally(request, usage)
        self._model, self._number, self._profile = request.model, number, profile
        self._blocks: list[_Block] = []
        self._count = 0
        self._is_begun = False

    def _event(self, kind: str, **fields: Any) -> bytes:
        if self._profile.index_last and "index" in fields:
            fields["index"] = fields.pop("index")
        return f"event: {kind}\ndata: ".encode() + dump({"type": kind, **fields}) + b"\n\n"

    def _start(self) -> list[bytes]:
        if self._is_begun:
            return []
        self._is_begun = True
        message: dict[str, Any] = {
            "id": self._profile.id.format(number=self._number),
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": self._model,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": self._usage(self._profile.start_usage) | {"output_tokens": 0},
        }
        return [self._event("message_start", message=message)]

    def _usage(self, names: Sequence[str]) -> dict[str, int]:
        usage = self._tally.usage
        cached = (usage.cached_tokens or 0) if "cache_read_input_tokens" in self._profile.start_usage else 0
        counts = {
            "cache_read_input_tokens": cached,
            "input_tokens": usage.input_tokens - cached,
            "output_tokens": usage.output_tokens,
        }
        return {name: counts[name] for name in names}

    def event(self, event: Event) -> Sequence[bytes]:
        """Return the server-sent events of an event; a refusal is text here."""
        if choice_of(event):
            return ()
        self._tally.note(event)
        if isinstance(event, Usage):
            return ()
        return [*self._start(), *self._content(event)]

    def _content(self, event: Event) -> list[bytes]:
        match event:
            case Text(text) | Refusal(text):
                return self._piece("text_delta", text, {"type": "text", "text": ""})
            case Reasoning(text) if text:
                return self._piece("thinking_delta", text, {"type": "thinking", "thinking": ""})
            case ToolCall():
                return self._tool_call(event)
            case Native(api, data) if api == API:
                return self._native(json.loads(cast("str", data)))
        return []

    def _piece(self, kind: str, text: str, start: dict[str, Any], call: int | None = None) -> list[bytes]:
        """Return a delta, and before it what begins its block, if none is open for it."""
        open_ = next((b for b in self._blocks if (b.kind, b.call) == (start["type"], call)), None)
        before = [] if open_ else self._open(start, call)
        block = open_ or self._blocks[-1]
        block.is_empty = False
        delta = {"type": kind, _FIELDS[kind]: text}
        return [*before, self._event("content_block_delta", index=block.index, delta=delta)]

    def _open(self, start: dict[str, Any], call: int | None = None) -> list[bytes]:
        before = [] if self._profile.overlap else self._close()
        self._blocks.append(_Block(self._count, start["type"], call))
        self._count += 1
        return [*before, self._event("content_block_start", index=self._count - 1, content_block=start)]

    def _tool_call(self, piece: ToolCall) -> list[bytes]:
        call = piece.index or 0
        start: dict[str, Any] = {"type": "tool_use", "id": piece.id or f"call_{call}", "name": piece.name or ""}
        if self._profile.tool_input:
            start |= {"input": {}}
        is_new = piece.name is not None or not any(block.call == call for block in self._blocks)
        before = self._open(start, call) if is_new else []
        more = self._piece("input_json_delta", piece.arguments, start, call) if piece.arguments else []
        return before + more

    def _native(self, block: dict[str, Any]) -> list[bytes]:
        """Return a block that only this API has, whole; a delta or a field of an event has no place here."""
        kind = str(block.get("type"))
        return [] if kind.endswith("_delta") or (kind == "tool_use" and "name" not in block) else self._open(block)

    def _close(self) -> list[bytes]:
        """Return the end of the blocks that are open."""
        blocks, self._blocks = self._blocks, []
        pieces: list[bytes] = []
        for block in blocks:
            if block.kind == "tool_use" and block.is_empty:
                delta = {"type": "input_json_delta", "partial_json": "{}"}
                pieces.append(self._event("content_block_delta", index=block.index, delta=delta))
            if block.kind == "thinking":
                made = f"{self._number:032x}" if self._profile.signature == "hex" else ""
                delta = {"type": "signature_delta", "signature": made}
                pieces.append(self._event("content_block_delta", index=block.index, delta=delta))
            pieces.append(self._event("content_block_stop", index=block.index))
        return pieces

    def end(self) -> Sequence[bytes]:
        """Return the end of the blocks that are open, the `message_delta`, and the `message_stop`."""
        finish = self._tally.finish()
        reason = {"stop_reason": REASONS.get(finish.reason, finish.reason), "stop_sequence": None}
        delta, usage = merged(reason, finish.extra), self._usage(self._profile.end_usage)
        fields = merged({"delta": delta, "usage": usage}, finish.beside)
        last = [self._event("message_delta", **fields), self._event("message_stop")]
        return [*self._start(), *self._close(), *last]

    def error(self, fault: provider_error) -> Sequence[bytes]:
        """Return the error, after which nothing comes."""
        kind = self._profile.kind if fault.kind == "server_error" else fault.kind
        error = {"type": kind, "message": fault.message}
        if self._profile.error == "llama.cpp":
            code = int(fault.code) if fault.code and fault.code.isdigit() else 500
            return [b"event: error\ndata: " + dump({"code": code, "message": fault.message, "type": kind}) + b"\n\n"]
        return [b"event: error\ndata: " + dump({"type": "error", "error": error}) + b"\n\n"]
