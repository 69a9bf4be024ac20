"""Chat messages: one type for whole messages and for the chunks of a stream, since chunks add up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from fakellm.errors import clip
from fakellm.script.events import Event, Finish, Reasoning, Refusal, Text, ToolCall, Usage
from fakellm.script.joining import join_tool_calls
from fakellm.script.script import Script

_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}


@dataclass(frozen=True, repr=False)
class Message:
    """A chat message, or a chunk of one.

    What `FakeChatModel.stream` yields are messages that hold one event each; their sum is the message
    that `invoke` returns. Texts are joined, tool-call pieces are joined by index, and of usage and finish
    reason the later one stays. `tool_call_id` says which call a message of the role `tool` answers.
    """

    role: str = "assistant"
    content: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    finish_reason: str | None = None
    tool_call_id: str | None = None

    def __repr__(self) -> str:
        """Return the message without what it does not have."""
        shown = (f"{f.name}={v!r}" for f in fields(self) if (v := getattr(self, f.name)) != f.default)
        return f"Message({', '.join(shown)})"

    def __add__(self, other: Message) -> Message:
        """Join two chunks of one message. Raises `TypeError` for messages of different roles."""
        if not isinstance(other, Message):
            return NotImplemented
        if other.role != self.role:
            msg = f"a message of the role {self.role!r} and one of the role {other.role!r} do not add up"
            raise TypeError(msg)
        return Message(
            self.role,
            self.content + other.content,
            self.reasoning + other.reasoning,
            self.refusal + other.refusal,
            join_tool_calls(self.tool_calls + other.tool_calls) if other.tool_calls else self.tool_calls,
            other.usage or self.usage,
            other.finish_reason or self.finish_reason,
            other.tool_call_id or self.tool_call_id,
        )

    @classmethod
    def of(cls, script: Script) -> Message:
        """Return the message that the script adds up to."""
        return cls(
            content=script.text,
            reasoning=script.reasoning,
            refusal=script.refusal,
            tool_calls=script.tool_calls,
            usage=script.usage,
            finish_reason=script.finish_reason,
        )


def chunk_of(event: Event) -> Message:
    """Return the chunk that shows one event of a stream; pauses and faults are not shown."""
    if getattr(event, "choice", 0):
        msg = f"{event!r} belongs to another answer than the first; give a model one answer, script.choice(...)"
        raise TypeError(msg)
    match event:
        case Text(text):
            return _chunk("content", text)
        case Reasoning(text):
            return _chunk("reasoning", text)
        case Refusal(text):
            return _chunk("refusal", text)
        case ToolCall():
            return _chunk("tool_calls", (event,))
        case Usage():
            return _chunk("usage", event)
        case Finish(reason):
            return _chunk("finish_reason", reason)
    msg = f"{event!r} is not shown to a consumer, so no chunk holds it"
    raise TypeError(msg)


def _chunk(field: str, value: object) -> Message:
    """Return a message with one field; the others are the defaults, which the class has.

    A stream is made of these, and the constructor would set each field of each: six times the time.
    """
    chunk = object.__new__(Message)
    chunk.__dict__[field] = value
    return chunk


def as_messages(prompt: object) -> list[Message]:
    """Read a chat model's input: a str, a prompt value, or a sequence of messages.

    A message is a `Message`, a `(role, content)` pair, a mapping with `role` and `content`, or an object
    with `content` and `role` or `type` (LangChain's). Raises `ValueError` for anything else.
    """
    if isinstance(prompt, str):
        return [Message("user", prompt)]
    to_messages = getattr(prompt, "to_messages", None)
    if to_messages is not None:
        prompt = to_messages()
    if isinstance(prompt, Sequence) and not isinstance(prompt, (bytes, bytearray, Mapping)):
        return [_as_message(message, place) for place, message in enumerate(prompt)]
    raise _not_a_prompt(prompt)


def as_text(prompt: object) -> str:
    """Read a text model's input: a str, a prompt value, or messages, which become `role: content` lines."""
    if isinstance(prompt, str):
        return prompt
    to_string = getattr(prompt, "to_string", None)
    if to_string is not None:
        return str(to_string())
    return "\n".join(f"{message.role}: {message.content}" for message in as_messages(prompt))


def role_of(name: str) -> str:
    """Return the role by the name that OpenAI gives it; LangChain says `human` and `ai`."""
    return _ROLES.get(name, name)


def _not_a_prompt(prompt: object) -> ValueError:
    hint = ""
    if isinstance(prompt, (bytes, bytearray)):
        hint = "; decode the bytes first"
    elif isinstance(prompt, Mapping):
        hint = "; put a message into a list, and take a prompt out of the dict that a chain hands on"
    return ValueError(
        "a model's input is a str, a prompt value or a list of messages, "
        f"not {type(prompt).__name__} ({clip(repr(prompt), 80)}){hint}"
    )


def _as_message(message: Any, place: int) -> Message:
    if isinstance(message, Message):
        return message
    if isinstance(message, str):
        return Message("user", message)
    if isinstance(message, Mapping):
        role, content = message.get("role"), message.get("content", "")
        call, calls = message.get("tool_call_id"), message.get("tool_calls")
    elif isinstance(message, tuple) and len(message) == 2:  # noqa: PLR2004 - a pair
        (role, content), call, calls = message, None, None
    else:
        role = getattr(message, "role", None) or getattr(message, "type", None)
        content, call = getattr(message, "content", None), getattr(message, "tool_call_id", None)
        calls = getattr(message, "tool_calls", None)
    if not isinstance(role, str):
        msg = (
            f"message {place} is {clip(repr(message), 80)}; a message is a Message, a (role, content) pair, or has "
            "a role and a content"
        )
        raise ValueError(msg)  # noqa: TRY004 - LangChain's type for bad input
    return Message(role_of(role), _content_text(content), tool_calls=_calls_in(calls), tool_call_id=call)


def _calls_in(calls: object) -> tuple[ToolCall, ...]:
    """Return the calls of a message, as OpenAI's dictionaries have them or LangChain's; what is no call is left out."""
    found: list[ToolCall] = []
    for call in calls if isinstance(calls, (list, tuple)) else ():
        inner = call.get("function", call) if isinstance(call, Mapping) else None
        name = inner.get("name") if isinstance(inner, Mapping) else None
        if isinstance(call, Mapping) and isinstance(inner, Mapping) and isinstance(name, str) and name:
            given = inner.get("arguments", inner.get("args"))
            arguments = given if isinstance(given, str) else json.dumps(given or {}, ensure_ascii=False, default=str)
            id = call.get("id")  # noqa: A001 - as APIs name it
            found.append(ToolCall(name, arguments, id=id if isinstance(id, str) else None, index=len(found)))
    return tuple(found)


def _content_text(content: object) -> str:
    """Return the text of a message's content, which may be a list of parts."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, Iterable) or isinstance(content, (bytes, bytearray, Mapping)):
        msg = f"a message's content is text or a list of parts, not {clip(repr(content), 80)}"
        raise ValueError(msg)  # noqa: TRY004 - LangChain's type for bad input
    texts = (
        part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, (str, Mapping))
    )
    return "".join(text for text in texts if isinstance(text, str))
