"""Reads streams of Bedrock's Converse API into events; and what reading and writing share: reasons, usage.

Source: botocore's service model of bedrock-runtime (`ConverseStreamOutput`) and recorded streams: a `messageStart`;
blocks of content one after the other, of which calls of tools have a start, all have deltas and a stop; a `messageStop`
with the stop reason; and a `metadata` with usage and latency. What the neutral events say becomes those; what only this
API has becomes `Native`, which holds the event as an object with its type, `{"contentBlockDelta": {...}}`, in such a
way that the codec writes the same again:

- `contentBlockStart`, where a block begins that is no call of a tool of the app's: its results, images, server tools;
- the same with a `toolUse` that has no name: what the start of the next call has beside name and id;
- `contentBlockDelta`, of such a block, and of what text has beside its text: citations, redacted reasoning;
- `contentBlockStop`, where a block ends and another of its kind begins;
- `metadata`, where the answer has no stop reason: what it has beside the usage; else that goes with the reason.

Blocks are counted anew. An exception in the stream ends it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fakellm.errors import ScriptError, WireError, clip
from fakellm.script.events import Event, Finish, Native, Reasoning, Text, ToolCall, Usage, disconnect
from fakellm.wire.bedrock.frames import document_of, failure_of, latency
from fakellm.wire.codec import Decoder
from fakellm.wire.eventstream import LIMIT, Frame, FrameDecoder
from fakellm.wire.objects import beyond, counted, dump, get, parse_object, sound, text_field
from fakellm.wire.sse import NDJSONDecoder

API = "bedrock.converse"

REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "content_filtered"}
"""The neutral finish reasons, as Bedrock says them; others are written and read as they are."""
_NEUTRAL = {theirs: ours for ours, theirs in REASONS.items()}
SERVER_TOOL = "server_tool_use"
"""The type of a call that Bedrock answers itself."""


def usage_fields(usage: Usage, written: int = 0) -> dict[str, Any]:
    """Return the usual usage object, where so many tokens were written into the cache.

    Its `inputTokens` are those that no cache had to do with, so the neutral ones are the sum of `inputTokens`,
    `cacheReadInputTokens` (`cached_tokens`) and `cacheWriteInputTokens`, which only `extra` can say.
    """
    cached = usage.cached_tokens or 0
    return {
        **({} if usage.cached_tokens is None else {"cacheReadInputTokens": cached}),
        "inputTokens": max(usage.input_tokens - cached - written, 0),
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.total_tokens,
    }


def read_usage(found: dict[str, Any]) -> Usage:
    """Read a usage object."""
    written = counted(found, "cacheWriteInputTokens")
    cached = None if found.get("cacheReadInputTokens") is None else counted(found, "cacheReadInputTokens")
    read = counted(found, "inputTokens") + (cached or 0) + written
    usage = Usage(read, counted(found, "outputTokens"), cached)
    extra = beyond(found, usage_fields(usage, written))
    return replace(usage, extra=extra and _json(extra))


def usual_metrics(usage: Usage) -> dict[str, Any]:
    """Return what `metadata` has beside a usage where nothing else was scripted."""
    return {"metrics": {"latencyMs": latency(usage.output_tokens)}}


def _json(value: object) -> str:
    """Return JSON as an event would write it, with halves of surrogate pairs replaced."""
    return sound(json.dumps(value, ensure_ascii=False))


def native(kind: str, document: Mapping[str, Any]) -> Native:
    """Return the event for what only this API has; the number of its block is counted anew."""
    return Native(API, _json({kind: {key: value for key, value in document.items() if key not in _COUNTED}}))


_COUNTED = ("contentBlockIndex", "p")


def kind_of_start(start: Mapping[str, Any]) -> str:
    """Return which kind of block it is that has a start and is no call: one of text, if that says nothing."""
    return "other" if start else "text"


def kind_of_delta(delta: Mapping[str, Any]) -> str:
    """Return which kind of block a delta begins that has no start."""
    if "text" in delta or "citation" in delta:
        return "text"
    return "reasoning" if "reasoningContent" in delta else "other"


def goes_on(written: str, kind: str) -> bool:
    """Tell whether a delta of this kind, written as it is, goes on in a block of the kind that is open."""
    return written in (kind, "other", "call")


# Why the reader keeps what the writer would have open (`_written`). A text block has no start, so that two of them in
# a row, as Nova sends each piece, are told apart only by the stop between. Events have no stop: the writer closes a
# block when something comes that does not belong to it. Where it would not close, and the recording did, the reader
# says so with a `Native`; everywhere else the events alone give the same blocks, and read as an answer does.


class ConverseReader:
    """Turns the events of a stream into those of a script."""

    def __init__(self) -> None:
        self._block: int | None = None  # the one that is open
        self._kind = ""
        self._written = ""
        self._calls: dict[int, int] = {}
        self._numbers = 0
        self._finish: Finish | None = None
        self._is_told = False  # whether an event has told of that
        self.is_complete = False

    def read(self, kind: str, found: dict[str, Any]) -> list[Event]:
        """Return what an event says."""
        match kind:
            case "messageStart":
                return []
            case "messageStop":
                return self._message_stop(found)
            case "metadata":
                return self._metadata(found)
        return [*self.close(), *self._content(kind, found)]

    def _content(self, kind: str, found: dict[str, Any]) -> list[Event]:
        match kind:
            case "contentBlockStart":
                return self._start(found)
            case "contentBlockDelta":
                return self._delta(found)
            case "contentBlockStop":
                return self._stop()
        return [native(kind, found)]

    def usual(self, usage: Usage) -> dict[str, Any]:
        """Return what `metadata` has beside a usage where nothing else was scripted."""
        return usual_metrics(usage)

    def _begin(self, index: int, kind: str) -> None:
        self._block, self._kind = index, kind

    def _start(self, found: dict[str, Any]) -> list[Event]:
        index, start = counted(found, "contentBlockIndex"), get(found, "start", dict)
        call = get(start, "toolUse", dict)
        if not call or call.get("type") == SERVER_TOOL or set(start) != {"toolUse"}:
            self._begin(index, kind_of_start(start))
            self._written = self._kind
            return [native("contentBlockStart", found)]
        self._begin(index, "call")
        self._written = "call"
        self._calls[index] = self._numbers
        self._numbers += 1
        rest = {key: value for key, value in call.items() if key not in ("toolUseId", "name") and value is not None}
        first: list[Event] = [native("contentBlockStart", {"start": {"toolUse": rest}})] if rest else []
        name, id = text_field(call, "name") or None, text_field(call, "toolUseId") or None  # noqa: A001
        return [*first, ToolCall(name, id=id, index=self._calls[index])]

    def _delta(self, found: dict[str, Any]) -> list[Event]:
        index, delta = counted(found, "contentBlockIndex"), get(found, "delta", dict)
        if index in self._calls and set(delta) == {"toolUse"}:
            arguments = text_field(get(delta, "toolUse", dict), "input")
            return [ToolCall(None, arguments, index=self._calls[index])]
        is_first = index != self._block
        if is_first:
            self._begin(index, kind_of_delta(delta))
        event = self._neutral(delta)
        joins = goes_on(self._written, self._kind) if event is None else self._written == self._kind
        before = [native("contentBlockStop", {})] if is_first and joins else []
        self._written = self._kind
        if isinstance(event, Reasoning) and event.signature is not None:
            self._written = ""  # a signature ends the block
        return [*before, native("contentBlockDelta", found) if event is None else event]

    def _neutral(self, delta: dict[str, Any]) -> Event | None:
        """Return what a delta says in a block of its kind, if that is neutral."""
        if self._kind == "text" and set(delta) == {"text"}:
            return Text(text_field(delta, "text"))
        reasoning = get(delta, "reasoningContent", dict)
        if self._kind == "reasoning" and set(delta) == {"reasoningContent"} and len(reasoning) == 1:
            if "text" in reasoning:
                return Reasoning(text_field(reasoning, "text"))
            if "signature" in reasoning:
                return Reasoning("", signature=text_field(reasoning, "signature"))
        return None

    def _stop(self) -> list[Event]:
        """Return what the end of a block says: nothing, unless nothing else told of the block."""
        block, self._block = self._block, None
        if block is not None:
            return []
        stop: Event = native("contentBlockStop", {})
        written, self._written = self._written, ""
        return [stop, stop] if written else [stop]

    def _message_stop(self, found: dict[str, Any]) -> list[Event]:
        reason = text_field(found, "stopReason")
        if not reason or self._finish is not None:
            return []
        extra = _beside(found, "stopReason")
        self._finish = Finish(_NEUTRAL.get(reason, reason), extra=_json(extra) if extra else None)
        return []

    def _metadata(self, found: dict[str, Any]) -> list[Event]:
        """Return the usage, and the finish reason with what else is said here."""
        said = get(found, "usage", dict)
        usage = read_usage(said) if said else None
        rest = _beside(found, "usage")
        beside = dict(beyond(rest, self.usual(usage or Usage())) or {})
        if usage is None:
            beside["usage"] = None
        counts: list[Event] = [] if usage is None else [usage]
        if self._finish is None:
            return [*([native("metadata", beside)] if beside else []), *counts]
        self.is_complete = True
        return [*(replace(event, beside=_json(beside) if beside else None) for event in self.close()), *counts]

    def close(self) -> list[Finish]:
        """Return the finish reason that waits for its `metadata`, if one does."""
        if self._finish is None or self._is_told:
            return []
        self._is_told = True
        return [self._finish]


def _beside(found: Mapping[str, Any], *known: str) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key not in (*known, "p") and value is not None}


class ConverseDecoder(Decoder):
    """Turns the bytes of a stream into events: frames, or lines of JSON by their types, as logs keep them."""

    def __init__(self, *, limit: int = LIMIT) -> None:
        self._frames = FrameDecoder(limit=limit)
        self._lines: NDJSONDecoder | None = None
        self._reader = ConverseReader()
        self._count = 0
        self._begun = self._failed = False

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that the bytes complete."""
        if data and not self._begun:
            self._begun = True
            self._lines = NDJSONDecoder() if data.startswith(b"{") else None  # which no length of a frame begins with
        if self._lines is not None:
            return [event for line in self._lines.feed(data) for event in self._line(line)]
        return [event for frame in self._frames.feed(data) for event in self._frame(frame)]

    def close(self) -> list[Event]:
        """Take the end of the body."""
        events, is_cut = [], False
        if self._lines is not None:
            try:
                events = [event for line in self._lines.close() for event in self._line(line)]
            except WireError:
                is_cut = True
        is_cut = is_cut or bool(self._frames.close())
        if self._failed:
            return events
        events += self._reader.close()
        return events if self._reader.is_complete else [*events, disconnect("cut" if is_cut else "end")]

    def _frame(self, frame: Frame) -> list[Event]:
        what = f"frame {self._count} of the stream"
        if self._failed:
            return []
        if (failure := failure_of(frame)) is not None:
            self._failed = True
            return [*self._reader.close(), failure]
        if frame.text(":event-type") == "initial-response":
            return []
        return self._said(*document_of(frame, what))

    def _line(self, line: Any) -> list[Event]:
        if not isinstance(line, dict) or len(line) != 1 or not isinstance((found := next(iter(line.values()))), dict):
            msg = f"line {self._count} of the stream is no object of one event"
            raise WireError(msg)
        kind = next(iter(line))
        if not kind.endswith("Exception"):
            return [] if self._failed else self._said(kind, found)
        headers = {":message-type": "exception", ":exception-type": kind}
        return self._frame(Frame(headers, dump(found)))

    def _said(self, kind: str, found: dict[str, Any]) -> list[Event]:
        self._count += 1
        try:
            return self._reader.read(kind, found)
        except (ScriptError, RecursionError) as error:
            msg = f"event {self._count - 1} of the stream says what no event can: {error}"
            raise WireError(msg) from None


def scripted(data: str) -> tuple[str, dict[str, Any]]:
    """Return the type and the fields of the event that a `Native` holds. Raises `WireError` for what is none."""
    found = parse_object(data, f"a Native of {API}")
    kind = next(iter(found), "")
    if len(found) != 1 or not isinstance(found[kind], dict):
        form = '{"contentBlockDelta": {...}}'
        msg = f"a Native of {API} is an event of the stream by its type, {form}, unlike {clip(data, 80)}"
        raise WireError(msg)
    return kind, found[kind]
