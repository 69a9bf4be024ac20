"""Reads streams of Cohere's Chat API into events; and what reading and writing share: reasons, usage, logprobs.

Source: https://docs.cohere.com/docs/streaming, the types of the SDK, and recorded streams. A stream is a
`message-start`; blocks of content, each with a start, deltas and an end; a plan and tool calls, if tools are called;
citations between any of these; and a `message-end` with finish reason and usage. What the neutral events say becomes
those; what only this API has becomes `Native`, which holds the event as it was sent, in such a way that the codec
writes the same again:

- `tool-plan-delta`, `citation-start`, `citation-end`, `debug`, and events of types that are not known;
- `content-start`, where a block begins that the events alone would not show: a second of the same type, an empty one,
  one of another type or with more fields than usual; its number is counted anew;
- `content-delta`, of a block of another type;
- `content-end`, where something comes between the end of a block and what follows it.

An error ends a stream as a `message-end` whose finish reason is `ERROR`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fakellm.errors import ScriptError, WireError
from fakellm.script.events import Event, Finish, Native, Reasoning, Text, ToolCall, Usage, provider_error
from fakellm.wire.objects import beyond, counted, get, json_text, sound, text_field
from fakellm.wire.reader import SSEReader
from fakellm.wire.sse import LIMIT, SSE

API = "cohere.chat"
DONE = "[DONE]"
ERROR = "ERROR"

REASONS = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_calls": "TOOL_CALL", "content_filter": "ERROR_TOXIC"}
"""The neutral finish reasons, as Cohere says them; others are written and read as they are."""
_NEUTRAL = {theirs: ours for ours, theirs in REASONS.items()}
BLOCKS = ("text", "thinking")
"""The types of the blocks that neutral events make."""


def usage_fields(usage: Usage) -> dict[str, Any]:
    """Return the usual usage object, without what `Usage.extra` adds; what is read is billed, unless that differs."""
    counts = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    cached = {} if usage.cached_tokens is None else {"cached_tokens": usage.cached_tokens}
    return {"billed_units": counts, "tokens": dict(counts), **cached}


def read_usage(found: dict[str, Any]) -> Usage:
    """Read a usage object, whose numbers may be written as `62.0`."""
    counts = get(found, "tokens", dict) or get(found, "billed_units", dict)
    cached = None if found.get("cached_tokens") is None else _count(found, "cached_tokens")
    usage = Usage(_count(counts, "input_tokens"), _count(counts, "output_tokens"), cached)
    extra = beyond(found, usage_fields(usage))
    return replace(usage, extra=extra and json_text(extra))


def _count(mapping: Mapping[str, Any], name: str) -> int:
    value = mapping.get(name)
    return counted({name: int(value)} if isinstance(value, float) and value.is_integer() else mapping, name)


def logprobs_object(logprobs: str) -> dict[str, Any]:
    """Return the log probabilities of a piece of text, in Cohere's form, of those in OpenAI's.

    An entry may have a `token_id`; else tokens are numbered from 0.
    """
    found: list[dict[str, Any]] = [entry for entry in json.loads(logprobs) if isinstance(entry, dict)]
    return {
        "text": "".join(str(entry.get("token", "")) for entry in found),
        "token_ids": [entry.get("token_id", number) for number, entry in enumerate(found)],
        "logprobs": [entry.get("logprob") for entry in found],
    }


def _read_logprobs(document: Mapping[str, Any]) -> str | None:
    """Read them: the text stands at the first token, since nobody says which part of it is whose."""
    found = get(document, "logprobs", dict)
    ids, values = get(found, "token_ids", list), get(found, "logprobs", list)
    if not ids or len(ids) != len(values):
        return None
    texts = [text_field(found, "text"), *[""] * (len(ids) - 1)]
    rows = zip(texts, ids, values, strict=True)
    return json_text([{"token": text, "token_id": number, "logprob": value} for text, number, value in rows])


def _beyond(found: Mapping[str, Any], *known: str) -> str | None:
    """Return what an object has beside the fields that are known, its nulls aside; None where that is nothing."""
    rest = {key: value for key, value in found.items() if key not in known and value is not None}
    return json_text(rest) if rest else None


def native(document: Mapping[str, Any]) -> Native:
    """Return the event for what only this API has."""
    return Native(API, json_text(document))


def message_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an event adds to the message."""
    return get(get(document, "delta", dict), "message", dict)


class ChatDecoder(SSEReader):
    """Turns the bytes of a stream into events. The message's id and its role are passed over."""

    def __init__(self, *, limit: int = LIMIT) -> None:
        super().__init__(limit=limit)
        self._start: dict[str, Any] | None = None  # of a block that no event has told of
        self._open = ""
        self._last = ""  # the type of the block that ended last, if nothing that ends blocks came since
        self._calls: dict[int, int] = {}
        self._numbers = 0
        self._ended = self._done = False

    def sse(self, sse: SSE) -> list[Event]:
        """Return what a server-sent event says."""
        if self._done or sse.data.strip() == DONE:
            self._done = True
            return []
        try:
            document = self.json(sse)
            kind = text_field(document, "type") or sse.event or ""
            if "error" in (kind, sse.event) or (not kind and not document.keys().isdisjoint(("error", "message"))):
                return self._fail(_gateways_error(document, is_named=sse.event == "error"))
            if not kind:
                msg = f"event {self._count} of the stream has no type"
                raise WireError(msg)
            if self._ended and kind != "message-end":
                return []
            return self._read(kind, {"type": kind, **document})
        except (ScriptError, RecursionError) as error:
            msg = f"event {self._count} of the stream says what no event can: {error}"
            raise WireError(msg) from None

    def _fail(self, error: provider_error) -> list[Event]:
        self._done = True
        return [*self._untold(), error]

    def _read(self, kind: str, document: dict[str, Any]) -> list[Event]:  # noqa: PLR0911 - one return for each kind
        match kind:
            case "message-start":
                return []
            case "content-start":
                return self._block(document)
            case "content-delta":
                return self._delta(document)
            case "content-end":
                return self._block_end()
            case "tool-call-start" | "tool-call-delta":
                self._last = ""
                return [*self._untold(), *self._tool_call(kind, document)]
            case "tool-call-end":
                return []
            case "tool-plan-delta":
                self._last = ""
                return [*self._untold(), native(document)]
            case "message-end":
                return self._end(document)
        between = [native({"type": "content-end"})] if self._last else []
        self._last = ""
        return [*self._untold(), *between, native(document)]

    def _untold(self) -> list[Event]:
        """Return the begin of the block that is open, if no event has told of it."""
        start, self._start = self._start, None
        return [] if start is None else [native(start)]

    def _block(self, document: dict[str, Any]) -> list[Event]:
        """Return what the begin of a block says; nothing while its first piece will say it."""
        before = self._untold()
        content = get(message_of(document), "content", dict)
        kind = text_field(content, "type") or ("thinking" if content.get("thinking") is not None else "text")
        last, self._last, self._open = self._last, "", kind
        told = {key for key, value in content.items() if value is not None} - {"type", kind}
        if kind in BLOCKS and not told and kind != last:
            first = text_field(content, kind)
            if not first:
                self._start = document
                return before
            return [*before, Text(first) if kind == "text" else Reasoning(first)]
        return [*before, native(document)]

    def _delta(self, document: dict[str, Any]) -> list[Event]:
        content = get(message_of(document), "content", dict)
        said = {key for key, value in content.items() if value is not None and key != "type"}
        self._last = ""
        if self._open not in ("", *BLOCKS) or len(said) != 1 or not said <= set(BLOCKS):
            return [*self._untold(), native(document)]
        self._start = None
        (kind,) = said
        text = text_field(content, kind)
        return [Text(text, logprobs=_read_logprobs(document)) if kind == "text" else Reasoning(text)]

    def _block_end(self) -> list[Event]:
        self._last, self._open = self._open, ""
        return self._untold()

    def _tool_call(self, kind: str, document: dict[str, Any]) -> list[Event]:
        """Return a piece of a call; calls are numbered as they come, whatever their index."""
        index, found = counted(document, "index"), get(message_of(document), "tool_calls", dict)
        function = get(found, "function", dict)
        arguments = text_field(function, "arguments")
        is_first = kind == "tool-call-start"
        if is_first or index not in self._calls:
            self._calls[index] = self._numbers
            self._numbers += 1
        number = self._calls[index]
        if not is_first:
            return [ToolCall(None, arguments, index=number)]
        return [
            ToolCall(text_field(function, "name") or None, arguments, id=text_field(found, "id") or None, index=number)
        ]

    def _end(self, document: dict[str, Any]) -> list[Event]:
        """Return the finish reason and the usage, or the error that the stream ends with."""
        events = self._untold()
        delta = get(document, "delta", dict)
        reason, usage = text_field(delta, "finish_reason"), get(delta, "usage", dict)
        counts: list[Event] = [read_usage(usage)] if usage else []
        if reason == ERROR or delta.get("error") is not None:
            kind = "server_error" if reason in ("", ERROR) else reason
            return [*events, *counts, *self._fail(provider_error(text_field(delta, "error"), kind))]
        if self._ended:
            return []
        self._ended = True
        if reason:
            extra, beside = _beyond(delta, "finish_reason", "usage"), _beyond(document, "type", "delta")
            events.append(Finish(_NEUTRAL.get(reason, reason), extra=extra, beside=beside))
        return [*events, *counts]

    def finish(self) -> list[Event]:
        """Return that the stream is not complete, where no `message-end` came."""
        return [] if self._ended or self._done else [*self._untold(), self.ending]


def _gateways_error(document: Mapping[str, Any], *, is_named: bool) -> provider_error:
    """Read an event that is named `error`, or has an error instead of a type, as gateways send it."""
    found = document.get("error")
    message = found.get("message") if isinstance(found, dict) else found
    return provider_error(sound(str(message or document.get("message") or "")), named=is_named or None)
