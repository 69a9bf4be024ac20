"""Reads streams of Anthropic's Messages API into events; and what reading and writing share: reasons, usage, natives.

Source: https://docs.anthropic.com/en/api/messages-streaming, and 944 recorded streams. What the neutral events say
becomes those; what only this API has becomes `Native`, in such a way that the codec writes the same blocks again:

- a content block of another type than `text`, `thinking` and `tool_use`, whole, with the input that was streamed;
- a block of type `text` or `thinking`, where a new one begins that the events alone would not show, or one that has
  more fields than usual; the pieces that follow go on in it;
- a `tool_use` without a name: what the block of the next call has beside the usual fields (null: has not);
- a delta, by its type `..._delta`: it belongs to the block before it;
- a `message_delta`: what that event has beside `delta` and `usage`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fakellm.errors import ScriptError, WireError
from fakellm.script.events import Event, Finish, Native, Reasoning, Text, ToolCall, Usage, provider_error
from fakellm.wire.objects import beyond, counted, dump, get, merged, parse, parse_object, sound, text_field
from fakellm.wire.reader import SSEReader
from fakellm.wire.sse import LIMIT, SSE

API = "anthropic.messages"

REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
"""The neutral finish reasons, as Anthropic says them; others are written and read as they are."""
_NEUTRAL = {theirs: ours for ours, theirs in REASONS.items()}

CALLER = {"caller": {"type": "direct"}}
"""What a tool call has beside type, id, name and input since 2026."""

_USUAL = {"text": {"type", "text"}, "thinking": {"type", "thinking", "signature"}}


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return Anthropic's usage object.

    Its `input_tokens` are those that no cache had to do with, so the neutral ones are the sum of `input_tokens`,
    `cache_read_input_tokens` (`cached_tokens`) and `cache_creation_input_tokens`, which only `extra` can say.
    """
    extra = parse_object(str(usage.extra), "Usage.extra") if usage.extra else {}
    written = extra.get("cache_creation_input_tokens")
    return merged(_usage_fields(usage, written if type(written) is int else 0), usage.extra)


def _usage_fields(usage: Usage, written: int) -> dict[str, Any]:
    """Return the usual usage object, where so many tokens were written into the cache."""
    cached = usage.cached_tokens or 0
    fields = {
        "input_tokens": max(usage.input_tokens - cached - written, 0),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": usage.output_tokens,
        "service_tier": "standard",
        "inference_geo": "not_available",
    }
    if usage.reasoning_tokens is not None:
        fields["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return fields


def read_usage(found: dict[str, Any]) -> Usage:
    """Read Anthropic's usage object: that of `message_start` with that of `message_delta` over it."""
    details = get(found, "output_tokens_details", dict)
    cached, thinking = _maybe(found, "cache_read_input_tokens"), _maybe(details, "thinking_tokens")
    written = counted(found, "cache_creation_input_tokens")
    read = counted(found, "input_tokens") + (cached or 0) + written
    usage = Usage(read, counted(found, "output_tokens"), cached, thinking)
    known = {**_usage_fields(usage, written), "cache_creation_input_tokens": 0}
    extra = beyond(found, known)
    return replace(usage, extra=extra and _json(extra))


def _maybe(mapping: Mapping[str, Any], name: str) -> int | None:
    return None if mapping.get(name) is None else counted(mapping, name)


def _json(value: Mapping[str, Any]) -> str:
    """Return JSON as an event would write it, with halves of surrogate pairs replaced."""
    return sound(json.dumps(value, ensure_ascii=False))


def native(data: Mapping[str, Any]) -> Native:
    """Return the event for what only this API has."""
    return Native(API, _json(data))


def read_error(document: Mapping[str, Any], *, named: bool) -> provider_error:
    """Read the error that an event holds; `api_error` is the neutral `server_error`.

    llama.cpp has no `error` in it: the event is the error, and its type is not `error` but the error's.
    """
    found = document.get("error")
    if not isinstance(found, dict):
        kind = None if document.get("type") == "error" else document.get("type")
        found = {**document, "message": found or document.get("message"), "type": kind}
    kind = sound(str(found.get("type") or "api_error"))
    details = found.get("details")
    code = details.get("error_code") if isinstance(details, dict) else found.get("code")
    return provider_error(
        sound(str(found.get("message") or "")),
        "server_error" if kind == "api_error" else kind,
        None if code is None else sound(str(code)),
        None if named else False,
    )


@dataclass(slots=True)
class _Block:
    """A content block that is open: as it began, the number of the call it is, and its JSON so far.

    `told` says whether an event has told of it, `signed` whether its signature came.
    """

    kind: str
    start: dict[str, Any]
    call: int = 0
    parts: list[str] = field(default_factory=list)
    told: bool = False
    signed: bool = False


class MessagesDecoder(SSEReader):
    """Turns the bytes of a stream into events. Pings, the message's id and its model are passed over."""

    def __init__(self, *, limit: int = LIMIT) -> None:
        super().__init__(limit=limit)
        self._usage: dict[str, Any] = {}
        self._counted = False
        self._blocks: dict[int, _Block] = {}
        self._last = ""
        self._calls = 0
        self._finished = self._done = False

    def sse(self, sse: SSE) -> list[Event]:
        """Return what a server-sent event says."""
        if self._done:
            return []
        try:
            document = self._document(sse)
            if sse.event == "error" or document.get("type") == "error":
                self._done = True
                return [*self._unfinished(), read_error(document, named=sse.event == "error")]
            return self._read(text_field(document, "type") or sse.event, document)
        except (ScriptError, RecursionError) as error:
            msg = f"event {self._count} of the stream says what no event can: {error}"
            raise WireError(msg) from None

    def _document(self, sse: SSE) -> dict[str, Any]:
        """Return the object that an event holds; an error may be text and nothing else, which is its message."""
        try:
            return self.json(sse)
        except WireError:
            if sse.event != "error":
                raise
            return {"message": sse.data}

    def _read(self, kind: str | None, document: dict[str, Any]) -> list[Event]:
        match kind:
            case "message_start":
                self._usage = get(get(document, "message", dict), "usage", dict)
            case "content_block_start":
                return self._start(counted(document, "index"), get(document, "content_block", dict))
            case "content_block_delta":
                return self._delta(self._block(counted(document, "index")), get(document, "delta", dict))
            case "content_block_stop":
                return self._stop(self._blocks.pop(counted(document, "index"), None))
            case "message_delta":
                return self._message_delta(document)
            case "message_stop":
                self._done = True
                return self._uncounted()
        return []

    def _block(self, index: int) -> _Block:
        if index not in self._blocks:
            msg = f"event {self._count} of the stream belongs to the content block {index}, which is not open"
            raise WireError(msg)
        return self._blocks[index]

    def _start(self, index: int, found: dict[str, Any]) -> list[Event]:
        """Return what the begin of a block says; nothing while its first piece will say it."""
        block = self._blocks[index] = _Block(text_field(found, "type"), found)
        before, self._last = self._last, block.kind
        if block.kind == "tool_use":
            return self._start_call(block)
        if block.kind not in _USUAL:
            return [] if "input" in found else self._tell(block)
        content = text_field(found, block.kind)
        block.start = {**found, block.kind: ""}
        unusual = {key for key, value in found.items() if value is not None} - _USUAL[block.kind]
        events = self._tell(block) if unusual or before == block.kind == "text" else []
        if content:
            block.told = True
            events.append(Text(content) if block.kind == "text" else Reasoning(content))
        return events

    def _start_call(self, block: _Block) -> list[Event]:
        block.call, block.told = self._calls, True
        self._calls += 1
        call = ToolCall(
            text_field(block.start, "name") or None, id=text_field(block.start, "id") or None, index=block.call
        )
        rest = {key: value for key, value in block.start.items() if key not in ("type", "id", "name", "input")}
        unusual = beyond(rest, CALLER)
        first: list[Event] = [] if unusual is None else [native({"type": "tool_use", **unusual})]
        return [*first, call]

    def _tell(self, block: _Block) -> list[Event]:
        """Return the block as it began, with the JSON of its input so far, unless events have told of it."""
        if block.told:
            return []
        block.told = True
        joined = "".join(block.parts)
        events: list[Event] = [native(block.start)]
        return [*events, native({"type": "input_json_delta", "partial_json": joined})] if joined else events

    def _delta(self, block: _Block, delta: dict[str, Any]) -> list[Event]:
        kind = text_field(delta, "type")
        match block.kind, kind:
            case "text", "text_delta":
                block.told = True
                return [Text(text_field(delta, "text"))]
            case "thinking", "thinking_delta":
                block.told = True
                return [Reasoning(text_field(delta, "thinking"))]
            case "thinking", "signature_delta":
                return self._sign(block, text_field(delta, "signature"))
            case "tool_use", "input_json_delta":
                return self._arguments(block, text_field(delta, "partial_json"))
            case _, "input_json_delta" if not block.told:
                block.parts.append(sound(text_field(delta, "partial_json")))
                return []
        return [*self._tell(block), native(delta)] if kind.endswith("_delta") else []

    def _sign(self, block: _Block, signature: str) -> list[Event]:
        """Return the end of a thinking block; a second signature is none."""
        if block.signed:
            return []
        block.signed = True
        return [Reasoning("", signature=signature)]

    def _arguments(self, block: _Block, arguments: str) -> list[Event]:
        if not arguments:
            return []
        block.parts.append(arguments)
        return [ToolCall(arguments=arguments, index=block.call)]

    def _stop(self, block: _Block | None) -> list[Event]:
        """Return what the end of a block says: what was held back, or that it said nothing."""
        if block is None:
            return []
        if block.kind == "thinking":
            return self._sign(block, text_field(block.start, "signature"))
        if block.kind == "tool_use":
            given = get(block.start, "input", dict) if not block.parts else {}
            return self._arguments(block, dump(given).decode() if given else "")
        return self._whole(block)

    def _whole(self, block: _Block) -> list[Event]:
        """Return a block with the input that was streamed, in pieces where it is no JSON object."""
        if block.parts and not block.told:
            try:
                value = parse("".join(block.parts), "the input of a block")
            except WireError:
                value = None
            if isinstance(value, dict):
                return [native({**block.start, "input": value})]
        return self._tell(block)

    def _message_delta(self, document: dict[str, Any]) -> list[Event]:
        """Return the finish reason and the usage, which is that of the begin with what came now over it."""
        events: list[Event] = []
        rest = {key: value for key, value in document.items() if key not in ("type", "delta", "usage")}
        if any(value is not None for value in rest.values()):
            events.append(native({"type": "message_delta", **rest}))
        delta = get(document, "delta", dict)
        reason = text_field(delta, "stop_reason")
        if reason and not self._finished:
            self._finished = True
            extra = beyond(delta, {"stop_reason": delta["stop_reason"]})
            events.append(Finish(_NEUTRAL.get(reason, reason), extra=extra and _json(extra)))
        usage = {key: value for key, value in get(document, "usage", dict).items() if value is not None}
        self._usage, self._counted = {**self._usage, **usage}, True
        return [*events, read_usage(self._usage)] if self._usage else events

    def _unfinished(self) -> list[Event]:
        """Return what waited when the stream broke: blocks whose input was still coming, and a usage."""
        blocks = [event for block in self._blocks.values() if "input" in block.start for event in self._tell(block)]
        return [*blocks, *self._uncounted()]

    def _uncounted(self) -> list[Event]:
        """Return the usage of `message_start`, where no `message_delta` came that would have counted on."""
        return [read_usage(self._usage)] if self._usage and not self._counted else []

    def finish(self) -> list[Event]:
        """Return what was held back, and that the stream is not complete, where no `message_stop` came."""
        return [] if self._done else [*self._unfinished(), self.ending]
