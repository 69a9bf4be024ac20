"""Reads streams of Mistral's conversations into events.

Source: https://docs.mistral.ai/agents, the types of the SDK, and recorded streams. Each event is named by its type: a
start, what the model says, the functions that it calls, the tools that Mistral runs and the agents that it hands over
to, and the end, with the usage, or an error. What no neutral event says becomes `Native("mistral.conversations",
{...})`, the event without its id, its time and its place, which are written anew. There is no finish reason: an
answer that calls functions ends with `tool_calls`, any other with `stop`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from fakellm.errors import ScriptError, WireError
from fakellm.script.events import Event, Finish, Text, ToolCall, Usage, provider_error
from fakellm.wire.mistral.chat_reader import read_error
from fakellm.wire.mistral.common import is_neutral, native, read_part
from fakellm.wire.objects import beyond, counted, dump, get, json_text, sound, text_field
from fakellm.wire.reader import SSEReader
from fakellm.wire.sse import LIMIT, SSE

API = "mistral.conversations"
STARTED, DONE, ERROR = (f"conversation.response.{name}" for name in ("started", "done", "error"))
MESSAGE, CALL = "message.output.delta", "function.call.delta"
_MADE = ("created_at", "id", "output_index", "content_index", "model", "agent_id", "role")
"""Fields that the writer makes."""


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return the usual usage object, without what `Usage.extra` adds, such as what connectors used."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }


def _read_usage(found: dict[str, Any]) -> Usage:
    usage = Usage(counted(found, "prompt_tokens"), counted(found, "completion_tokens"))
    extra = beyond(found, usage_object(usage))
    return replace(usage, extra=extra and json_text(extra))


class ConversationsDecoder(SSEReader):
    """Turns the bytes of a stream into events. The id of the conversation is passed over."""

    reads_unended: ClassVar[bool] = True

    def __init__(self, *, limit: int = LIMIT) -> None:
        super().__init__(limit=limit)
        self._calls: dict[Any, int] = {}
        self._ended = self._failed = False

    def sse(self, sse: SSE) -> list[Event]:
        """Return what a server-sent event says."""
        if self._failed or sse.data.strip() == "[DONE]":
            return []
        try:
            document = self.json(sse)
            kind = text_field(document, "type") or sse.event or ""
            if (
                kind == ERROR
                or sse.event in (ERROR, "error")
                or document.get("object") == "error"
                or "error" in document
            ):
                self._ended = self._failed = True
                return [self._error(document, named=True if sse.event == "error" else None)]
            if not kind:
                msg = f"event {self._count} of the stream has no type"
                raise WireError(msg)
            return [] if self._ended else self._read(kind, document)
        except (ScriptError, RecursionError) as error:
            msg = f"event {self._count} of the stream says what no event can: {error}"
            raise WireError(msg) from None

    @staticmethod
    def _error(document: dict[str, Any], *, named: bool | None) -> provider_error:
        """Read an error. `type` is that of the event, unless the error is of another form."""
        usual = {**document, "type": None} if document.get("type") == ERROR else document
        return read_error(usual, named=named)

    def _read(self, kind: str, document: dict[str, Any]) -> list[Event]:
        match kind:
            case "conversation.response.started":
                return []
            case "message.output.delta":
                return self._message(document)
            case "function.call.delta":
                return [self._call(document)]
            case "conversation.response.done":
                self._ended = True
                usage = get(document, "usage", dict)
                rest = {key: value for key, value in document.items() if key not in ("type", "created_at", "usage")}
                extra = json_text(rest) if any(value is not None for value in rest.values()) else None
                finish = Finish("tool_calls" if self._calls else "stop", extra=extra)
                return [finish, *([_read_usage(usage)] if usage else [])]
        return [native(API, {"type": kind, **_without(document)})]

    def _message(self, document: dict[str, Any]) -> list[Event]:
        content = document.get("content")
        events: list[Event] = []
        for part in content if isinstance(content, list) else [content]:
            if isinstance(part, str):
                events.append(Text(sound(part)))
            elif isinstance(part, dict) and is_neutral(part) and (said := read_part(part)):
                events += said
            elif part is not None:
                events.append(native(API, {"type": MESSAGE, **_without(document), "content": part}))
        return events

    def _call(self, document: dict[str, Any]) -> ToolCall:
        """Return a piece of a call; each has the name, and the first one opens it."""
        key = counted(document, "output_index"), text_field(document, "tool_call_id")
        arguments = document.get("arguments")
        text = dump(arguments).decode() if isinstance(arguments, dict) else text_field(document, "arguments")
        if (index := self._calls.get(key)) is not None:
            return ToolCall(arguments=text, index=index)
        self._calls[key] = index = len(self._calls)
        id = text_field(document, "tool_call_id") or None  # noqa: A001
        return ToolCall(text_field(document, "name") or None, text, id=id, index=index)

    def finish(self) -> list[Event]:
        """Return that the stream is not complete, where neither its end nor an error came."""
        return [] if self._ended else [self.ending]


def _without(document: dict[str, Any]) -> dict[str, Any]:
    """Return an event without what is made anew when it is written."""
    return {key: value for key, value in document.items() if key not in _MADE and value is not None}
