"""Reads streams of Gemini's generateContent, as server-sent events and as a streamed JSON array, into events.

Source: https://ai.google.dev/api/generate-content and 1,053 recorded streams. Those repeat the finish reason, or have
it before the last text; end without parts; send grounding data with every chunk, and counts of tokens that fall. So
finish reasons and usage are read from the whole stream: the last of each counts, and they are the last events. An error
among server-sent events is JSON without a `data:` before it, over several lines. A body that is one JSON object (an
error, an answer that was not streamed) is read as a stream of one chunk. Enums may be numbers.

A signature on a part of text is read as a `Reasoning` of no text before it: it is what the reasoning ended with.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from fakellm.errors import ScriptError, WireError
from fakellm.script.events import Event, Finish, Native, Reasoning, Text, ToolCall, Usage, disconnect, provider_error
from fakellm.wire.codec import Decoder
from fakellm.wire.objects import beyond, counted, get, json_text, merged, objects, parse_object, sound, text_field
from fakellm.wire.sse import LIMIT, SSE, SSEDecoder, too_large

API = "gemini"
REASONS = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}
"""The neutral finish reasons in Gemini's words; others are Gemini's own and the same in a script."""

TRAFFIC = "ON_DEMAND"
"""The usual kind of traffic, which Vertex AI has in its usage."""
_NEUTRAL = {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter"}
_NUMBERED = ("STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER")
"""The finish reasons from 1 on, as `enum-encoding=int` numbers them, which Google's older clients ask for."""
_AT_GEMINI = (
    *_NUMBERED, "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MALFORMED_FUNCTION_CALL", "IMAGE_SAFETY",
    "UNEXPECTED_TOOL_CALL",
)  # fmt: skip
_AT_VERTEX = (
    *_NUMBERED, "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MALFORMED_FUNCTION_CALL", "MODEL_ARMOR", "IMAGE_SAFETY"
)  # fmt: skip
"""Vertex AI has other numbers after 5; its chunks have a `createTime`, and in their usage a `trafficType`."""
_OF_TEXT = {"text", "thought", "thoughtSignature"}
_OF_CALL = {"functionCall", "thoughtSignature"}
_OF_FUNCTION = {"name", "args", "id"}
_OF_CANDIDATE = ("content", "finishReason", "index")
_NOTHING: tuple[object, ...] = (None, "", [], {})
_BEFORE = b"\xef\xbb\xbf \t\r\n"
_BETWEEN = re.compile(rb"[ \t\r\n,]*")
_OUTSIDE = re.compile(rb'["{}\[\]]')
_INSIDE = re.compile(rb'["\\]')

Found = tuple[str, bool | None]
"""A chunk's JSON, and how an error in it would be named (see `provider_error.named`)."""


def usage_object(usage: Usage, traffic: str = "") -> dict[str, Any]:
    """Return the usageMetadata: candidates and thoughts are counted apart, and no candidates are not mentioned.

    `traffic` is the usual `trafficType`, which only Vertex AI has.
    """
    thoughts = usage.reasoning_tokens or 0
    candidates = max(usage.output_tokens - thoughts, 0)
    found: dict[str, Any] = {"promptTokenCount": usage.input_tokens}
    if candidates:
        found["candidatesTokenCount"] = candidates
    found["totalTokenCount"] = usage.input_tokens + candidates + thoughts
    if usage.cached_tokens is not None:
        found["cachedContentTokenCount"] = usage.cached_tokens
    if usage.input_tokens:
        found["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": usage.input_tokens}]
    if usage.reasoning_tokens is not None:
        found["thoughtsTokenCount"] = thoughts
    if traffic:
        found["trafficType"] = traffic
    return merged(found, usage.extra)


def read_usage(found: dict[str, Any]) -> Usage:
    """Read a usageMetadata; the output is candidates and thoughts together."""
    thoughts = counted(found, "thoughtsTokenCount")
    counts = (
        counted(found, "promptTokenCount"),
        counted(found, "candidatesTokenCount") + thoughts,
        None if found.get("cachedContentTokenCount") is None else counted(found, "cachedContentTokenCount"),
        None if found.get("thoughtsTokenCount") is None else thoughts,
    )
    rest = beyond(found, usage_object(Usage(*counts)))
    return Usage(*counts, extra=None if rest is None else json_text(rest))


class Objects:
    """Cuts streamed JSON into its outermost objects, which stand in an array or by themselves, as they are complete.

    `is_inside` tells whether an object is open, `is_open` whether the array is. An object of more than `limit` bytes
    raises `WireError`, as does what stands between objects and does not belong there.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = self._depth = 0
        self._in_string = self._is_escaped = self._is_closed = False
        self.is_open = False

    @property
    def is_inside(self) -> bool:
        """Whether an object is open."""
        return self._depth > 0

    def feed(self, data: bytes) -> list[Found]:
        """Return the objects that the bytes complete."""
        found: list[Found] = []
        at = 0
        while at < len(data):
            begin = at if self._depth else self._begin(data, at)
            at = self._end(data, begin)
            self._keep(data[begin:at])
            if not self._depth and self._parts:
                found.append((b"".join(self._parts).decode("utf-8", "replace"), None))
                self._parts, self._size = [], 0
        return found

    def close(self) -> list[Found]:
        """Take the end of the body; nothing was held back."""
        return []

    def _begin(self, data: bytes, at: int) -> int:
        """Return where the next object begins, or the end of the bytes."""
        while at < len(data):
            between = _BETWEEN.match(data, at)
            at = between.end() if between else at
            mark = data[at : at + 1]
            if mark == b"{" and not self._is_closed:
                return at
            if mark == b"[" and not self.is_open and not self._is_closed:
                self.is_open = True
            elif mark == b"]" and self.is_open:
                self.is_open, self._is_closed = False, True
            elif mark:
                msg = f"the stream has {data[at : at + 40]!r} where an object should begin or the stream end"
                raise WireError(msg)
            at += 1
        return len(data)

    def _end(self, data: bytes, at: int) -> int:
        """Return where the object ends that is open or begins here, or the end of the bytes."""
        while at < len(data):
            if self._is_escaped:
                self._is_escaped = False
                at += 1
                continue
            match = (_INSIDE if self._in_string else _OUTSIDE).search(data, at)
            if match is None:
                return len(data)
            at = match.end()
            self._step(match[0])
            if not self._depth:
                return at
        return at

    def _step(self, mark: bytes) -> None:
        if mark == b'"':
            self._in_string = not self._in_string
        elif mark == b"\\":
            self._is_escaped = True
        else:
            self._depth += 1 if mark in (b"{", b"[") else -1

    def _keep(self, part: bytes) -> None:
        if part:
            self._parts.append(part)
            self._size += len(part)
        if self._size > self._limit:
            raise too_large(self._size, self._limit)


class _Bare(SSE):
    """JSON between server-sent events, without a `data:` before it."""


class _Lines(SSEDecoder):
    """A decoder of server-sent events that also gives the JSON that stands between them."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit=limit)
        self.most = limit
        self.bare: Objects | None = None

    def _line(self, line: bytes) -> SSE | None:
        if self.bare is None and not line.startswith(b"{"):
            return super()._line(line)
        self.bare = self.bare or Objects(self.most)
        found = self.bare.feed(line + b"\n")
        if not found:
            return None
        self.bare = None
        return _Bare(found[0][0])


class _Events:
    """Cuts a stream of server-sent events into its JSON."""

    is_open = False

    def __init__(self, limit: int) -> None:
        self._lines = _Lines(limit)

    @property
    def is_inside(self) -> bool:
        """Whether JSON between two events is not complete."""
        return self._lines.bare is not None

    def feed(self, data: bytes) -> list[Found]:
        """Return the JSON that the bytes complete."""
        return [(sse.data, None if isinstance(sse, _Bare) else sse.event == "error") for sse in self._lines.feed(data)]

    def close(self) -> list[Found]:
        """Take the end of the body: the last event needs no blank line."""
        return self.feed(b"\n\n")


class GeminiDecoder(Decoder):
    """Turns the bytes of a stream, in either form, into events."""

    def __init__(self, *, limit: int = LIMIT) -> None:
        self._limit = limit
        self._framing: Objects | _Events | None = None
        self._count = 0
        self._failed = False
        self._usage: Usage | None = None
        self._answers: dict[int, _Answer] = {}

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that the bytes complete; the first of them tell the form of the stream."""
        if self._framing is None:
            data = data.lstrip(_BEFORE)
            if not data:
                return []
            self._framing = Objects(self._limit) if data.startswith(b"[") else _Events(self._limit)
        return self._all(self._framing.feed(data))

    def close(self) -> list[Event]:
        """Take the end of the body; return how the stream ended: finish reasons and usage, or the fault that it is."""
        framing = self._framing
        events: list[Event] = []
        is_cut = framing is not None and framing.is_inside
        try:
            events += self._all(framing.close()) if framing and not is_cut else []
        except WireError:
            is_cut = True
        if self._failed:
            return events
        if is_cut:
            return [*events, *self._ending(), disconnect("cut")]
        answers = self._answers.values()
        is_whole = answers and all(answer.reason for answer in answers) and not (framing and framing.is_open)
        return [*events, *self._ending(), *([] if is_whole else [disconnect("end")])]

    def _all(self, found: list[Found]) -> list[Event]:
        events: list[Event] = []
        for text, named in found:
            if not self._failed:
                events += self._guarded(text, named)
                self._count += 1
        return events

    def _guarded(self, text: str, named: bool | None) -> list[Event]:  # noqa: FBT001
        if text.strip() == "null":
            return []
        chunk = parse_object(text, f"chunk {self._count} of the stream")
        try:
            return self._chunk(chunk, named)
        except (RecursionError, ScriptError) as error:  # nested too deep to be written again
            msg = f"chunk {self._count} of the stream cannot be read: {error}"
            raise WireError(msg) from None

    def _chunk(self, chunk: dict[str, Any], named: bool | None) -> list[Event]:  # noqa: FBT001
        """Return what a chunk says."""
        if chunk.get("error"):
            self._failed = True
            return [*self._ending(), _error(chunk["error"], named)]
        events: list[Event] = []
        is_vertex = "createTime" in chunk or "trafficType" in get(chunk, "usageMetadata", dict)
        for candidate in objects(chunk, "candidates"):
            index = counted(candidate, "index")
            reason = _enum(candidate, "finishReason", _AT_VERTEX if is_vertex else _AT_GEMINI)
            events += self._answers.setdefault(index, _Answer(index)).read(candidate, reason)
        feedback = get(chunk, "promptFeedback", dict)
        if _enum(feedback, "blockReason"):
            blocked = self._answers.setdefault(0, _Answer(0))
            blocked.reason = blocked.reason or "content_filter"
            blocked.extra["promptFeedback"] = feedback
        if usage := get(chunk, "usageMetadata", dict):
            self._usage = read_usage(usage)
        return events

    def _ending(self) -> list[Event]:
        """Return the finish reasons that came, and the usage that came last."""
        finishes = [answer.finish() for answer in self._answers.values() if answer.reason]
        return [*finishes, *([] if self._usage is None else [self._usage])]


class _Answer:
    """One of the candidates: what came of it so far, and why it ended."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._calls = 0
        self._called = False
        self.reason = ""
        self.extra: dict[str, Any] = {}

    def read(self, candidate: dict[str, Any], reason: str) -> list[Event]:
        """Return what a candidate of a chunk says; note why it ended, and what else the provider says of it."""
        parts = objects(get(candidate, "content", dict), "parts")
        self.reason = reason or self.reason
        rest = {key: value for key, value in candidate.items() if key not in _OF_CANDIDATE and value not in _NOTHING}
        self.extra.update(rest)
        alone = len(parts) == 1 and not reason
        return [event for part in parts for event in self._part(part, keep_empty=alone)]

    def _part(self, part: dict[str, Any], *, keep_empty: bool) -> list[Event]:
        if part.keys() <= _OF_TEXT:
            return self._text(part, keep_empty=keep_empty)
        self._called = self._called or "functionCall" in part
        call = part.get("functionCall")
        if isinstance(call, dict) and call.get("name") and part.keys() <= _OF_CALL and call.keys() <= _OF_FUNCTION:
            return [self._call(call, text_field(part, "thoughtSignature"))]
        return [Native(API, json_text(part), self._index)]

    def _text(self, part: dict[str, Any], *, keep_empty: bool) -> list[Event]:
        text, signature = text_field(part, "text"), text_field(part, "thoughtSignature")
        if get(part, "thought", bool):
            says = text or signature or keep_empty
            return [Reasoning(text, self._index, signature or None)] if says else []
        events: list[Event] = [Reasoning("", self._index, signature)] if signature else []
        if text or (keep_empty and "text" in part and not signature):
            events.append(Text(text, self._index))
        return events

    def _call(self, call: dict[str, Any], signature: str) -> ToolCall:
        args = get(call, "args", dict)
        self._calls += 1
        return ToolCall(
            text_field(call, "name"),
            json_text(args) if args else "",
            id=text_field(call, "id") or None,
            index=self._calls - 1,
            choice=self._index,
            signature=signature or None,
        )

    def finish(self) -> Finish:
        """Return why the answer ended. A call of a function is no reason of Gemini's own: it stops."""
        reason = "tool_calls" if self.reason == "STOP" and self._called else _NEUTRAL.get(self.reason, self.reason)
        return Finish(reason, self._index, json_text(self.extra) if self.extra else None)


def _enum(found: dict[str, Any], name: str, names: Sequence[str] = ()) -> str:
    """Return the name of an enum's value, which may be its number, and 0 is none; a number without a name, as text."""
    number = found.get(name)
    if type(number) is not int:
        return text_field(found, name)
    return names[number - 1] if 0 < number <= len(names) else str(number or "")


def _error(found: object, named: bool | None) -> provider_error:  # noqa: FBT001
    """Read the error that a chunk holds."""
    if not isinstance(found, dict):
        return provider_error(sound(str(found)), "INTERNAL", named=named)
    code = found.get("code")
    return provider_error(
        sound(str(found.get("message") or "")),
        sound(str(found.get("status") or "INTERNAL")),
        None if code is None else sound(str(code)),
        named,
    )
