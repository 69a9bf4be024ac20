"""Reads streams of DashScope's text generation into events; and what reading and writing share.

Source: https://help.aliyun.com/zh/model-studio/qwen-api-via-dashscope and the SDK: server-sent events, named `result`
or `error`, each a whole answer so far or what was added to it, with a finish reason that is `"null"` until the last.
Fields of the output that only this API has, such as `search_info`, become `Native`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from fakellm.errors import ScriptError, WireError
from fakellm.script.events import Event, Finish, Native, Reasoning, Text, ToolCall, Usage, provider_error
from fakellm.wire.objects import beyond, counted, get, json_text, objects, sound, text_field
from fakellm.wire.reader import SSEReader
from fakellm.wire.sse import LIMIT, SSE

API = "dashscope.generation"
UNFINISHED = "null"
"""What stands for a finish reason until there is one."""
SERVER_ERROR = "InternalError"
"""The code of an error that has no other."""
_OF_A_CHOICE = ("message", "index", "finish_reason", "logprobs")
_OF_AN_OUTPUT = ("choices", "text", "finish_reason")
_OF_AN_ANSWER = ("output", "usage", "request_id", "status_code", "code", "message")
_NOTHING: tuple[object, ...] = (None, "", [], {})


def usage_fields(usage: Usage) -> dict[str, Any]:
    """Return the usual usage object, without what `Usage.extra` adds."""
    fields: dict[str, Any] = {
        "total_tokens": usage.total_tokens,
        "output_tokens": usage.output_tokens,
        "input_tokens": usage.input_tokens,
    }
    if usage.reasoning_tokens is not None:
        fields["output_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    if usage.cached_tokens is not None:
        fields["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    return fields


def read_usage(found: dict[str, Any]) -> Usage:
    """Read a usage object."""
    cached, thought = get(found, "prompt_tokens_details", dict), get(found, "output_tokens_details", dict)
    usage = Usage(
        counted(found, "input_tokens"),
        counted(found, "output_tokens"),
        None if cached.get("cached_tokens") is None else counted(cached, "cached_tokens"),
        None if thought.get("reasoning_tokens") is None else counted(thought, "reasoning_tokens"),
    )
    extra = beyond(found, usage_fields(usage))
    return replace(usage, extra=None if extra is None else json_text(extra))


@dataclass(slots=True)
class _Said:
    """What an event says of one answer. `texts` are those that grow, by where they stand."""

    choice: int
    texts: dict[Any, str] = field(default_factory=dict)
    calls: list[tuple[int, str, str]] = field(default_factory=list)
    logprobs: list[Any] = field(default_factory=list)
    reason: str = ""
    extra: str | None = None


@dataclass(slots=True)
class _Heard:
    """What an event says: of each answer, beside them, and what was used so far."""

    said: list[_Said]
    native: dict[str, Any]
    beside: dict[str, Any]
    usage: dict[str, Any]

    @property
    def is_last(self) -> bool:
        return any(one.reason for one in self.said)

    @property
    def is_empty(self) -> bool:
        return not (self.native or self.is_last or any(text for one in self.said for text in one.texts.values()))


# Whole answers or pieces. Nothing in a stream says whether each of its events is the answer so far
# (`incremental_output=False`) or what was added to it. It is seen from the texts: so far means that each begins with
# the one before. Pieces could by chance ("1", "12"), so what is seen is held until it is certain: an event whose text
# does not begin with the last one is a piece; so is a last event that says nothing after others did. One that repeats
# a long text, or the last event if it says all again, is the whole. The first event says the same either way.

_CERTAIN = 16
"""A text of so many characters is not said twice by chance."""


class GenerationDecoder(SSEReader):
    """Turns the bytes of a stream into events."""

    reads_unended: ClassVar[bool] = True

    def __init__(self, *, limit: int = LIMIT) -> None:
        super().__init__(limit=limit)
        self._is_whole: bool | None = None
        self._held: list[_Heard] = []
        self._last: dict[int, _Said] = {}
        self._known: dict[Any, str] = {}
        self._logprobs: dict[int, int] = {}
        self._usage: Usage | None = None
        self._unsaid: dict[str, Any] = {}
        self._finished: set[int] = set()
        self._failed = False

    def sse(self, sse: SSE) -> list[Event]:
        """Return what a server-sent event says."""
        if self._failed:
            return []
        try:
            document = self.json(sse)
            if sse.event == "error" or document.get("output") is None:
                return self._fail(document)
            return self._judge(_heard(document))
        except (ScriptError, RecursionError) as error:
            msg = f"event {self._count} of the stream says what no event can: {error}"
            raise WireError(msg) from None

    def _fail(self, document: dict[str, Any]) -> list[Event]:
        code = document.get("code")
        if code in _NOTHING and document.get("message") in _NOTHING:
            msg = f"event {self._count} of the stream has neither an output nor an error"
            raise WireError(msg)
        self._failed = True
        kind = SERVER_ERROR if code in _NOTHING else sound(str(code))
        kind = "server_error" if kind == SERVER_ERROR else kind
        return [*self._settle(), provider_error(sound(str(document.get("message") or "")), kind)]

    def _judge(self, heard: _Heard) -> list[Event]:
        """Return the events of what was heard, once it is certain how to read it."""
        again = self._is_whole is not False and all(self._last.get(o.choice, o).texts == o.texts for o in heard.said)
        self._unsaid = heard.usage if heard.is_empty or (again and self._last and not heard.native) else {}
        if self._is_whole is None and self._last:
            if not all(_goes_on(self._last[one.choice], one) for one in heard.said if one.choice in self._last):
                return [*self._settle(is_whole=False), *self._told(heard)]
            repeats = [self._last[one.choice] for one in heard.said if one.choice in self._last]
            longest = max((len(text) for one in repeats for text in one.texts.values()), default=0)
            if (heard.is_last and longest) or longest >= _CERTAIN:
                return [*self._settle(is_whole=True), *self._told(heard)]
        is_first = not self._last
        self._last |= {one.choice: one for one in heard.said if any(one.texts.values())}
        if self._is_whole is None and not is_first:
            self._held.append(heard)
            return []
        return self._told(heard)

    def _settle(self, *, is_whole: bool | None = None) -> list[Event]:
        """Return the events that were held; where nothing tells, a text that grew is the whole."""
        held, self._held = self._held, []
        if self._is_whole is None and (is_whole is not None or held):
            said = (one for heard in held for one in heard.said)
            grew = any(
                text != self._known.get((one.choice, where)) for one in said for where, text in one.texts.items()
            )
            self._is_whole = grew if is_whole is None else is_whole
        return [event for heard in held for event in self._told(heard)]

    def _told(self, heard: _Heard) -> list[Event]:
        events: list[Event] = [event for one in heard.said for event in self._said(one)]
        if heard.native:
            events.append(Native(API, json_text(heard.native)))
        beside = json_text(heard.beside) if heard.beside else None
        for one in heard.said:
            if one.reason and one.choice not in self._finished:
                self._finished.add(one.choice)
                events.append(Finish(one.reason, one.choice, one.extra, beside))
        if heard.is_last and heard.usage and (usage := read_usage(heard.usage)) != self._usage:
            self._usage = usage
            events.append(usage)
        return events

    def _said(self, one: _Said) -> list[Event]:
        """Return what is new of an answer."""
        tokens = one.logprobs
        if self._is_whole:
            before = self._logprobs.get(one.choice, 0)
            self._logprobs[one.choice], tokens = len(tokens), tokens[before:]
        else:
            self._logprobs[one.choice] = len(tokens)
        events: list[Event] = []
        if reasoning := self._new(one, "reasoning"):
            events.append(Reasoning(reasoning, choice=one.choice))
        text = self._new(one, "text")
        if text or tokens:
            events.append(Text(text, one.choice, json_text(tokens) if tokens else None))
        for index, id, name in one.calls:  # noqa: A001
            is_first = (one.choice, index) not in self._known
            arguments = self._new(one, index)
            is_named = bool(name) and (is_first or self._is_whole is False)
            if is_named or arguments or is_first:
                named = (name, id or None) if is_named else (None, None)
                events.append(ToolCall(named[0], arguments, id=named[1], index=index, choice=one.choice))
        return events

    def _new(self, one: _Said, place: Any) -> str:
        text = one.texts.get(place, "")
        key = (one.choice, place)
        before = self._known.get(key, "") if self._is_whole else ""
        if place in one.texts:
            self._known[key] = text
        return text.removeprefix(before)

    def finish(self) -> list[Event]:
        """Return what was held, what was used where the stream stops, and that it is not complete."""
        if self._failed:
            return []
        events = self._settle()
        if self._finished and self._finished >= self._last.keys():
            return events
        used: list[Event] = [read_usage(self._unsaid)] if self._unsaid else []
        return [*events, *used, self.ending]


def _goes_on(before: _Said, after: _Said) -> bool:
    """Tell whether a text is the one before with more behind it, wherever it stands."""
    return all(after.texts.get(place, "").startswith(text) for place, text in before.texts.items())


def _heard(document: dict[str, Any]) -> _Heard:
    output = get(document, "output", dict)
    choices = objects(output, "choices")
    said = [_choice(choice, counted({"index": index, **choice}, "index")) for index, choice in enumerate(choices)]
    if not choices:
        text = {"text": text_field(output, "text")} if output.get("text") is not None else {}
        said = [_Said(0, dict(text), reason=_reason(output))]
    return _Heard(said, _rest(output, _OF_AN_OUTPUT), _rest(document, _OF_AN_ANSWER), get(document, "usage", dict))


def _choice(choice: dict[str, Any], index: int) -> _Said:
    message = get(choice, "message", dict)
    said = _Said(index, reason=_reason(choice))
    content = message.get("content")
    if isinstance(content, list):  # as of a model that sees pictures
        content = "".join(text_field(part, "text") for part in objects(message, "content"))
    said.texts["text"] = text_field({"content": content}, "content")
    if message.get("reasoning_content") is not None:
        said.texts["reasoning"] = text_field(message, "reasoning_content")
    for place, call in enumerate(objects(message, "tool_calls")):
        number, function = counted({"index": place, **call}, "index"), get(call, "function", dict)
        said.texts[number] = text_field(function, "arguments")
        said.calls.append((number, text_field(call, "id"), text_field(function, "name")))
    said.logprobs = get(get(choice, "logprobs", dict), "content", list)
    extra = _rest(choice, _OF_A_CHOICE)
    said.extra = json_text(extra) if extra else None
    return said


def _reason(found: Mapping[str, Any]) -> str:
    reason = text_field(found, "finish_reason")
    return "" if reason == UNFINISHED else reason


def _rest(found: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name not in known and value not in _NOTHING}
