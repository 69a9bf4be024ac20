"""Reads requests to Mistral's APIs, and refuses what Mistral refuses for its form, in its words.

Source: the request types of the SDK, and what users report of the API: a form that is wrong is answered with the status
422 and a list of all that is wrong, as pydantic words it, an order of messages that no model takes with the status 400.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fakellm.errors import WireError
from fakellm.script.events import ToolCall
from fakellm.script.messages import Message
from fakellm.wire.codec import Request
from fakellm.wire.mistral.common import INVALID, detail, error_object
from fakellm.wire.objects import dump, sound

Problem = tuple[str, str]
"""The type of what is wrong with a value, and the sentence about it."""
_YES, _NO = ("true", "t", "yes", "y", "on", "1"), ("false", "f", "no", "n", "off", "0")
Loc = tuple[str | int, ...]


def _text(value: Any) -> Problem | None:
    return None if isinstance(value, str) else ("string_type", "Input should be a valid string")


def _list(value: Any) -> Problem | None:
    return None if isinstance(value, list) else ("list_type", "Input should be a valid list")


def _object(value: Any) -> Problem | None:
    return None if isinstance(value, dict) else ("dict_type", "Input should be a valid dictionary")


def _bool(value: Any) -> Problem | None:
    if isinstance(value, bool) or value in (0, 1):
        return None
    if isinstance(value, str):
        is_one = value.lower() in (*_YES, *_NO)
        return None if is_one else ("bool_parsing", "Input should be a valid boolean, unable to interpret input")
    return "bool_type", "Input should be a valid boolean"


def is_on(value: Any) -> bool:
    """Return what a flag says that was judged: any of the forms that pydantic reads; null says no."""
    return value.lower() in _YES if isinstance(value, str) else bool(value)


def _number(value: Any) -> Problem | None:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return "float_parsing", "Input should be a valid number, unable to parse string as a number"
        return None
    return None if isinstance(value, (int, float)) else ("float_type", "Input should be a valid number")


def _integer(value: Any) -> Problem | None:
    if isinstance(value, str):
        try:
            int(value)
        except ValueError:
            return "int_parsing", "Input should be a valid integer, unable to parse string as an integer"
        return None
    if isinstance(value, float) and not value.is_integer():
        return "int_from_float", "Input should be a valid integer, got a number with a fractional part"
    return None if isinstance(value, (int, float)) else ("int_type", "Input should be a valid integer")


def _any(value: Any) -> Problem | None:  # noqa: ARG001 - anything will do
    return None


def within(kind: Callable[[Any], Problem | None], least: float, most: float | None = None) -> Callable[[Any], Any]:
    """Return what judges a number that has to lie within bounds."""

    def judged(value: Any) -> Problem | None:
        if (wrong := kind(value)) is not None:
            return wrong
        number = float(value)
        if number < least:
            return "greater_than_equal", f"Input should be greater than or equal to {least:g}"
        if most is not None and number > most:
            return "less_than_equal", f"Input should be less than or equal to {most:g}"
        return None

    return judged


Fields = Mapping[str, Callable[[Any], Problem | None]]
TEXT, LIST, OBJECT, BOOL, NUMBER, INTEGER, ANY = _text, _list, _object, _bool, _number, _integer, _any
_COUNT = within(INTEGER, 0)

COMPLETION: Fields = {
    "temperature": within(NUMBER, 0, 1.5),
    "top_p": within(NUMBER, 0, 1),
    "max_tokens": _COUNT,
    "min_tokens": _COUNT,
    "stream": BOOL,
    "stop": ANY,
    "random_seed": _COUNT,
    "metadata": OBJECT,
    "prompt_cache_key": TEXT,
}
"""The fields that all completions have."""
ANSWER: Fields = {
    **COMPLETION,
    "messages": LIST,
    "response_format": OBJECT,
    "tools": LIST,
    "tool_choice": ANY,
    "presence_penalty": within(NUMBER, -2, 2),
    "frequency_penalty": within(NUMBER, -2, 2),
    "repetition_penalty": NUMBER,
    "top_k": INTEGER,
    "logprobs": BOOL,
    "top_logprobs": _COUNT,
    "prompt_logprobs": BOOL,
    "top_prompt_logprobs": _COUNT,
    "n": within(INTEGER, 1, 128),
    "prediction": OBJECT,
    "parallel_tool_calls": BOOL,
    "reasoning_effort": TEXT,
    "prompt_mode": TEXT,
    "guardrails": LIST,
    "service_tier": TEXT,
    "stream_options": OBJECT,
}
"""The fields that completions of messages have; `stream_options` changes nothing."""
CHAT: Fields = {"model": TEXT, **ANSWER, "safe_prompt": BOOL}
AGENTS: Fields = {
    "agent_id": TEXT,
    **{name: kind for name, kind in ANSWER.items() if name not in ("temperature", "top_p", "stream_options")},
}
FIM: Fields = {"model": TEXT, "prompt": TEXT, "suffix": TEXT, **COMPLETION}

_ROLES: dict[str, tuple[Fields, tuple[str, ...]]] = {
    "system": ({"role": TEXT, "content": ANY}, ("content",)),
    "user": ({"role": TEXT, "content": ANY}, ("content",)),
    "assistant": ({"role": TEXT, "content": ANY, "tool_calls": LIST, "prefix": BOOL}, ()),
    "tool": ({"role": TEXT, "content": ANY, "tool_call_id": TEXT, "name": TEXT}, ("content",)),
}
"""A role -> the fields of its messages, and those that each has to have."""
_TOOL: Fields = {"type": TEXT, "function": OBJECT}
_FUNCTION: Fields = {"name": TEXT, "description": TEXT, "strict": BOOL, "parameters": OBJECT}
_CALL: Fields = {"id": TEXT, "type": TEXT, "function": OBJECT, "index": INTEGER}
_CALLED: Fields = {"name": TEXT, "arguments": ANY}
_ENTRIES: dict[str, Fields] = {
    "message.input": {"role": TEXT, "content": ANY},
    "message.output": {"role": TEXT, "content": ANY},
    "function.call": {"tool_call_id": TEXT, "name": TEXT, "arguments": ANY},
    "function.result": {"tool_call_id": TEXT, "result": TEXT},
    "tool.execution": {"name": TEXT, "arguments": TEXT},
    "agent.handoff": dict.fromkeys(
        (f"{of}_agent_{field}" for of in ("previous", "next") for field in ("id", "name")), TEXT
    ),
}
"""The type of an entry -> the fields that it has to have, but for the role."""
_NO_OBJECT = "Input should be a valid dictionary or object to extract fields from"


@dataclass
class Form:
    """What is wrong with the form of a request, collected."""

    details: list[dict[str, Any]] = field(default_factory=list)

    def wrong(self, kind: str, loc: Loc, msg: str, value: Any) -> None:
        """Note one thing that is wrong."""
        self.details.append(detail(kind, loc, msg, value))

    def judge(self, found: Any, known: Fields, loc: Loc = (), *required: str) -> dict[str, Any]:
        """Note what is wrong with an object; return it, empty where it is none."""
        if not isinstance(found, dict):
            self.wrong("model_attributes_type", loc, _NO_OBJECT, found)
            return {}
        for name, kind in known.items():
            if name in required and name not in found:
                self.wrong("missing", (*loc, name), "Field required", found)
            elif found.get(name) is not None:
                if (problem := kind(found[name])) is not None:
                    self.wrong(problem[0], (*loc, name), problem[1], found[name])
            elif name in required and name in found and name != "content" and (problem := kind(None)) is not None:
                self.wrong(problem[0], (*loc, name), problem[1], None)
        for name in (name for name in found if name not in known):
            self.wrong("extra_forbidden", (*loc, name), "Extra inputs are not permitted", found[name])
        return found

    def content(self, value: Any, loc: Loc) -> None:
        """Note a content that is neither a text nor a list of parts."""
        if value is None or isinstance(value, str):
            return
        if not isinstance(value, list):
            self.wrong("string_type", (*loc, "str"), "Input should be a valid string", value)
            self.wrong("list_type", (*loc, "list"), "Input should be a valid list", value)
            return
        for at, part in enumerate(value):
            if not isinstance(part, dict):
                self.wrong("model_attributes_type", (*loc, at), _NO_OBJECT, part)
            elif part.get("type") == "text":
                self.judge(part, {**dict.fromkeys(part, ANY), "text": TEXT}, (*loc, at, "text"), "text")

    def entry(self, found: Any, loc: Loc) -> None:
        """Note what is wrong with an entry of a conversation; fields that it may have beside are not judged."""
        kind = found.get("type", "message.input") if isinstance(found, dict) else ""
        if not isinstance(found, dict):
            self.wrong("model_attributes_type", loc, _NO_OBJECT, found)
        elif not isinstance(kind, str) or kind not in _ENTRIES:
            tags = ", ".join(f"'{name}'" for name in _ENTRIES)
            text = f"Input tag '{kind}' found using 'type' does not match any of the expected tags: {tags}"
            self.wrong("union_tag_invalid", loc, text, found)
        else:
            known = {**dict.fromkeys(found, ANY), **_ENTRIES[kind]}
            self.judge(found, known, (*loc, kind), *(_ENTRIES[kind].keys() - {"role"}))
            self.content(found.get("content"), (*loc, kind, "content"))

    def close(self) -> None:
        """Raise `WireError`, with all of it as Mistral's own document, where something is wrong."""
        if not self.details:
            return
        shown = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in self.details]
        error = WireError("; ".join(shown))
        error.status = INVALID
        error.body = dump({"detail": self.details}).decode()
        raise error


def refused(message: str, kind: str, code: str) -> WireError:
    """Return the error for what is of the right form, and wrong all the same."""
    error = WireError(message)
    error.body = dump(error_object(400, message, kind, code)).decode()
    return error


def read(api: str, body: Any, known: Fields, *required: str) -> Request:
    """Read a request for completions. Raises `WireError`, worded as Mistral would, for what is none."""
    form = Form()
    found = form.judge(body, known, (), *required)
    messages = found.get("messages") if isinstance(found.get("messages"), list) else []
    for at, message in enumerate(messages or ()):
        _judge_message(form, message, ("messages", at))
    tools = found.get("tools") if isinstance(found.get("tools"), list) else []
    for at, tool in enumerate(tools or ()):
        judge_tool(form, tool, ("tools", at))
    form.close()
    if "messages" in known:
        _check_order(messages or [])
    name = "agent_id" if "agent_id" in known else "model"
    taken = (name, "messages", "prompt", "tools", "stream")
    prompt = [Message("user", sound(found["prompt"]))] if "prompt" in known else []
    return Request(
        api,
        sound(found[name]),
        (*map(message_of, messages or ()), *prompt),
        tuple(map(tool_name, tools or ())),
        is_on(found.get("stream")),
        {key: value for key, value in found.items() if key not in taken},
        body,
        int(found.get("n") or 1),
    )


def _judge_message(form: Form, message: Any, loc: Loc) -> None:
    role = message.get("role") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(role, str) or role not in _ROLES:
        if isinstance(message, dict) and "role" not in message:
            form.wrong("union_tag_not_found", loc, "Unable to extract tag using discriminator 'role'", message)
        elif not isinstance(message, dict):
            form.wrong("model_attributes_type", loc, _NO_OBJECT, message)
        else:
            tags = ", ".join(f"'{name}'" for name in _ROLES)
            text = f"Input tag '{role}' found using 'role' does not match any of the expected tags: {tags}"
            form.wrong("union_tag_invalid", loc, text, message)
        return
    fields, required = _ROLES[role]
    loc = (*loc, role)
    form.judge(message, fields, loc, *required)
    form.content(message.get("content"), (*loc, "content"))
    calls = message.get("tool_calls")
    for at, call in enumerate(calls if role == "assistant" and isinstance(calls, list) else ()):
        place = (*loc, "tool_calls", at)
        judged = form.judge(call, _CALL, place, "function")
        if isinstance(judged.get("function"), dict):
            form.judge(judged["function"], _CALLED, (*place, "function"), "name", "arguments")


def judge_tool(form: Form, tool: Any, loc: Loc) -> None:
    """Note what is wrong with a function; other tools are Mistral's own."""
    if isinstance(tool, dict) and tool.get("type", "function") != "function":
        form.judge(tool, {**dict.fromkeys(tool, ANY), "type": TEXT}, loc)
        return
    found = form.judge(tool, _TOOL, loc, "function")
    if isinstance(found.get("function"), dict):
        form.judge(found["function"], _FUNCTION, (*loc, "function"), "name", "parameters")


def tool_name(tool: Mapping[str, Any]) -> str:
    """Return the name of a tool: that of a function, or what kind of Mistral's own it is."""
    function = tool.get("function")
    return sound(str(function["name"] if isinstance(function, dict) else tool.get("type", "")))


_AFTER = {("tool", "user"), ("user", "tool"), ("system", "tool")}
"""Roles that may not follow each other: the first, and the one after it."""


def _check_order(messages: Iterable[Mapping[str, Any]]) -> None:
    """Raise `WireError` for messages in an order that no model takes."""
    order = "invalid_request_message_order"
    before = last = None
    for message in messages:
        before, last = last, message
        role = message["role"]
        if before is not None and (before["role"], role) in _AFTER:
            raise refused(f"Unexpected role '{role}' after role '{before['role']}'", order, "3230")
        if role == "assistant" and not message.get("content") and not message.get("tool_calls"):
            text = "Assistant message must have either content or tool_calls, but not none."
            raise refused(text, "invalid_request_assistant_message", "3240")
    if last is None:
        raise refused("Conversation must have at least one message", order, "3230")
    if last["role"] in ("assistant", "system") and not last.get("prefix"):
        text = "Expected last role User or Tool (or Assistant with prefix True) for serving but got"
        raise refused(f"{text} {last['role']}", order, "3230")


def text_of(content: Any) -> str:
    """Return the text of a content."""
    parts = content if isinstance(content, list) else [content]
    texts = (part.get("text") if isinstance(part, dict) else part for part in parts)
    return sound("".join(text for text in texts if isinstance(text, str)))


def _thinking_of(content: Any) -> str:
    parts = content if isinstance(content, list) else []
    return "".join(
        text_of(part.get("thinking")) for part in parts if isinstance(part, dict) and part.get("type") == "thinking"
    )


def message_of(found: Mapping[str, Any]) -> Message:
    """Read a message whose form was judged."""
    calls = [
        called(call["function"]["name"], call["function"].get("arguments"), call.get("id"), at)
        for at, call in enumerate(found.get("tool_calls") or ())
    ]
    content, name = found.get("content"), found.get("tool_call_id")
    return Message(
        found["role"], text_of(content), _thinking_of(content), tool_calls=tuple(calls), tool_call_id=name or None
    )


def called(name: str, arguments: Any, id: str | None, index: int) -> ToolCall:
    """Return a call that a request tells of; its arguments may be a text or an object."""
    text = arguments if isinstance(arguments, str) else dump(arguments).decode()
    return ToolCall(sound(name) or None, sound(text), id=id or None, index=index)
