"""Reads streams of Ollama, and of what speaks like it, into events.

The last line may have text, and tool calls come on any line. What carries nothing new is passed over; fields that
only this API has become `Native`, those of the last line go with the finish reason.
"""

from __future__ import annotations

from typing import Any

from fakellm.errors import ScriptError, WireError, clip
from fakellm.script.events import Event, Finish, Native, Reasoning, Text, ToolCall, Usage, disconnect, provider_error
from fakellm.wire.codec import Decoder
from fakellm.wire.objects import beyond, get, objects, sound, text_field
from fakellm.wire.ollama.lines import CONTEXT, GENERATE, METRICS, Form, json_text, read_metrics
from fakellm.wire.sse import LIMIT, NDJSONDecoder

_OF_A_LINE = ("model", "created_at", "done", "done_reason", "logprobs", *METRICS)
_OF_AN_ANSWER = ("remote_model", "remote_host")
"""Fields that all lines have alike: they go with the finish reason."""
_OF_A_MESSAGE = ("role", "content", "thinking", "tool_calls")
_NOTHING: tuple[object, ...] = (None, "", [], {})


class LineDecoder(Decoder):
    """Turns the bytes of a stream into events."""

    def __init__(self, form: Form, *, limit: int = LIMIT) -> None:
        self._form = form
        self._lines = NDJSONDecoder(limit=limit)
        self._count = self._calls = 0
        self._usage: Usage | None = None
        self._is_done = self._failed = False

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that the bytes complete."""
        return self._all(self._lines.feed(data))

    def close(self) -> list[Event]:
        """Take the end of the body: the last line needs no line end, but has to be whole."""
        try:
            rest = self._lines.close()
        except WireError:
            return [] if self._failed else [disconnect("cut")]
        events = self._all(rest)
        return events if self._is_done or self._failed else [*events, disconnect("end")]

    def _all(self, lines: list[Any]) -> list[Event]:
        return [event for line in lines for event in self._guarded(line)]

    def _guarded(self, line: Any) -> list[Event]:
        self._count += 1
        if self._failed:
            return []
        if not isinstance(line, dict):
            msg = f"line {self._count} of the stream is JSON, but no object: {clip(repr(line), 80)}"
            raise WireError(msg)
        try:
            return self._line(line)
        except (RecursionError, ScriptError) as error:  # JSON that can be read and not be written again
            msg = f"line {self._count} of the stream says what no event can: {error}"
            raise WireError(msg) from None

    def _line(self, line: dict[str, Any]) -> list[Event]:
        if line.get("error") is not None:
            self._failed = True
            return [_error(line["error"])]
        is_last = get(line, "done", bool)
        said = get(line, "message", dict) if self._form.has_message else line
        events = self._said(said, get(line, "logprobs", list), is_last=is_last)
        native = self._native(line, said, is_last=is_last)
        if native:
            blank = len(events) == 1 and isinstance(events[0], Text) and events[0] == Text("")
            events = [*([] if blank else events), Native(self._form.api, json_text(native))]
        if is_last:
            self._is_done = True
            events.append(self._finish(line))
        usage = read_metrics(line)
        if usage is not None and usage != self._usage:
            self._usage = usage
            events.append(usage)
        return events

    def _said(self, said: dict[str, Any], logprobs: list[Any], *, is_last: bool) -> list[Event]:
        """Return thinking, text and tool calls of a line."""
        thinking, text = text_field(said, "thinking"), text_field(said, self._form.text)
        events: list[Event] = [Reasoning(thinking)] if thinking else []
        calls = objects(said, "tool_calls")
        tokens = json_text(logprobs) if logprobs else None
        if text or tokens or not (events or calls or is_last):
            events.append(Text(text, logprobs=tokens))
        return [*events, *map(self._call, calls)]

    def _call(self, call: dict[str, Any]) -> ToolCall:
        function = get(call, "function", dict)
        arguments = get(function, "arguments", dict)
        self._calls += 1
        return ToolCall(
            text_field(function, "name") or None,
            json_text(arguments) if arguments else "",
            id=text_field(call, "id") or None,
            index=self._calls - 1,
        )

    def _native(self, line: dict[str, Any], said: dict[str, Any], *, is_last: bool) -> dict[str, Any]:
        """Return the fields of a line that are read nowhere else."""
        if not self._form.has_message:
            known = (*_OF_A_LINE, *_OF_AN_ANSWER, "thinking", "tool_calls", self._form.text)
            return {} if is_last else _rest(line, known)
        message = _rest(said, _OF_A_MESSAGE)
        beside = {} if is_last else _rest(line, (*_OF_A_LINE, *_OF_AN_ANSWER, "message"))
        return {**({"message": message} if message else {}), **beside}

    def _finish(self, line: dict[str, Any]) -> Finish:
        """Return why the answer ended, with what else the last line says."""
        said = ("message",) if self._form.has_message else ("thinking", "tool_calls", self._form.text)
        rest = _rest(line, (*_OF_A_LINE, *said))
        extra = beyond(rest, {"context": CONTEXT} if self._form is GENERATE else {}) or {}
        reason = text_field(line, "done_reason")
        if not reason:  # of a server before 2024-05
            extra["done_reason"] = None
        neutral = "tool_calls" if reason == "stop" and self._calls else reason or "stop"
        return Finish(neutral, extra=json_text(extra) if extra else None)


def _rest(found: dict[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name not in known and value not in _NOTHING}


def _error(found: object) -> provider_error:
    """Read the error that a line is: a sentence, or, of what speaks like Ollama, an object that has one."""
    if isinstance(found, dict) and isinstance(found.get("message"), str):
        found = found["message"]
    return provider_error(sound(found if isinstance(found, str) else json_text(found)))
