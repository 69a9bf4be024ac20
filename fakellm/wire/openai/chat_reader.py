"""Reads streams of chat completions, of OpenAI and of its look-alikes, into events.

Recorded look-alikes repeat the role, leave out tool indexes and types, send the finish reason twice or with text,
usage on any chunk, and no `[DONE]`. What carries nothing new is passed over; what only this API has becomes `Native`.
A call to which no arguments came, `""` in all, has a last piece that says so (`common.says_none`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from fakellm.script.events import (
    Event,
    Finish,
    Native,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
    provider_error,
)
from fakellm.wire.objects import counted, dump, get, objects, sound, text_field
from fakellm.wire.openai import common as openai
from fakellm.wire.openai.reading import Counts, read_logprobs
from fakellm.wire.reader import SSEReader
from fakellm.wire.sse import LIMIT, SSE

API = "openai.chat"
_READ = ("role", "content", "reasoning", "reasoning_content", "refusal", "tool_calls")


class _Calls:
    """The tool calls of one answer: which index a piece belongs to, if it does not say."""

    def __init__(self) -> None:
        self._ids: dict[int, str] = {}
        self._renumbered: dict[int, int] = {}
        self._silent: ToolCall | None = None
        self._last = -1

    def told(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield events, and where a call ends to which no arguments came, a piece that says that there are none."""
        for event in events:
            if self._silent is not None and not (isinstance(event, ToolCall) and event.index == self._silent.index):
                yield replace(self._silent, name=None, id=self._silent.id or f"call_{self._silent.index}")
                self._silent = None
            if isinstance(event, ToolCall) and (event.name is not None or event.arguments):
                self._silent = None if event.arguments else event
            yield event

    @property
    def are_open(self) -> bool:
        """Whether a call began."""
        return self._last >= 0

    def place(self, piece: dict[str, Any], id: str, name: str) -> tuple[int, bool]:
        """Return the index of a piece, and whether it opens a call."""
        given = piece.get("index")
        sent = counted(piece, "index") if isinstance(given, int) and not isinstance(given, bool) else None
        opens_another = bool(name) and bool(id) and id not in self._ids.values()
        if sent is None or (opens_another and sent in self._renumbered):
            index = len(self._ids) if opens_another or (self._last < 0) or (name and not id) else self._last
        else:
            index = self._renumbered.get(sent, sent)
        if sent is not None:
            self._renumbered[sent] = index
        self._last = index
        is_new = index not in self._ids
        if is_new:
            self._ids[index] = id
        return index, is_new


class ChatDecoder(SSEReader):
    """Turns the bytes of a stream into events. What a service words in another way, a subclass reads."""

    api = API

    def __init__(self, *, limit: int = LIMIT) -> None:
        super().__init__(limit=limit)
        self._counts = Counts(self.usage)
        self._opened: set[int] = set()
        self._finished: dict[int, str] = {}
        self._calls: dict[int, _Calls] = {}
        self._done = self._failed = False

    def sse(self, sse: SSE) -> list[Event]:
        """Return what a chunk says."""
        if sse.data.startswith("[DONE]"):
            self._done = True
            return []
        if self._done:
            return []
        chunk = self.json(sse)
        if (error := self.error(chunk, named=True if sse.event == "error" else None)) is not None:
            self._done = self._failed = True
            return [error]
        events = [event for choice in objects(chunk, "choices") for event in self._choice(choice)]
        self._counts.note(events)
        return [*events, *self._counts.read(chunk)]

    def _choice(self, found: dict[str, Any]) -> list[Event]:
        index = counted(found, "index")
        delta = get(found, "delta", dict)
        reason = text_field(found, "finish_reason")
        logprobs = read_logprobs(get(found, "logprobs", dict))
        events = self._delta(delta, index, logprobs, is_last=bool(reason))
        if reason and self._finished.get(index) != reason:
            self._finished[index] = reason
            events.append(Finish(reason, choice=index))
        return list(self._calls[index].told(events))

    def _delta(self, delta: dict[str, Any], choice: int, logprobs: list[Any] | None, *, is_last: bool) -> list[Event]:
        events: list[Event] = []
        reasoning = text_field(delta, "reasoning_content") or text_field(delta, "reasoning")
        if reasoning:
            events.append(Reasoning(reasoning, choice=choice))
        if refusal := text_field(delta, "refusal"):
            events.append(Refusal(refusal, choice=choice))
        events += self.native(delta, choice)
        calls = self._calls.setdefault(choice, _Calls())
        tools = objects(delta, "tool_calls")
        if isinstance(delta.get("content"), list):
            events += self.parts(delta, choice)
        else:
            content = text_field(delta, "content")
            is_first = choice not in self._opened
            silent = bool(events or tools or is_last or is_first or calls.are_open or choice in self._finished)
            if content or (delta.get("content") == "" and not silent):
                events.append(Text(content, choice=choice, logprobs=logprobs))
        self._opened.add(choice)
        return [*events, *(_tool_call(piece, choice, calls) for piece in tools)]

    def usage(self, found: dict[str, Any]) -> Usage:
        """Read a usage object."""
        return openai.read_usage(found)

    def error(self, chunk: dict[str, Any], *, named: bool | None) -> provider_error | None:
        """Return the error that a chunk reports, or is, as of Mistral; None where it does neither."""
        chunk = {"error": chunk} if chunk.get("object") == "error" else chunk
        return openai.read_error(chunk, named=named) if chunk.get("error") else None

    def parts(self, delta: dict[str, Any], choice: int) -> list[Event]:
        """Return what a content says that is a list of parts, as Mistral's reasoning models send it."""
        events: list[Event] = []
        for part in objects(delta, "content"):
            events += [Reasoning(text_field(thought, "text"), choice=choice) for thought in objects(part, "thinking")]
            if "text" in part:
                events.append(Text(text_field(part, "text"), choice=choice))
        return events

    def native(self, delta: dict[str, Any], choice: int) -> list[Event]:
        """Return what a delta has beyond what all services have; nothing where that is null, deep down too."""
        rest = {key: value for key, value in delta.items() if key not in _READ and _says_something(value)}
        return [Native(self.api, sound(dump(rest).decode(errors="replace")), choice)] if rest else []

    def finish(self) -> list[Event]:
        """Return the fault, where an answer has no finish reason, with or without `[DONE]`, or what follows is cut."""
        is_complete = self._finished and self._opened <= self._finished.keys()
        is_whole = is_complete and (self._done or self.ending.how != "cut")
        return [] if self._failed or is_whole else [self.ending]


def _says_something(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_says_something, value.values()))
    return value not in (None, "", [])


def _tool_call(piece: dict[str, Any], choice: int, calls: _Calls) -> ToolCall:
    function = get(piece, "function", dict)
    id, name = text_field(piece, "id"), text_field(function, "name")  # noqa: A001
    index, opens = calls.place(piece, id, name)
    arguments = function.get("arguments")
    text = dump(arguments).decode() if isinstance(arguments, dict) else text_field(function, "arguments")
    return ToolCall(name or None, text, id=id or None, index=index, choice=choice) if opens else ToolCall(
        arguments=text, index=index, choice=choice
    )  # fmt: skip
