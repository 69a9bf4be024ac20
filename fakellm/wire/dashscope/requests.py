"""Reads requests for text generation, and refuses what DashScope refuses for its form, in its words.

Source: https://help.aliyun.com/zh/model-studio/qwen-api-via-dashscope and /error-code, and for the wordings what users
report of the API. A field that is not known is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fakellm.errors import WireError
from fakellm.script.events import ToolCall
from fakellm.script.messages import Message
from fakellm.wire.codec import Request
from fakellm.wire.objects import json_text, sound

_ROLES = ("system", "user", "assistant", "tool", "plugin")
_MOST_ANSWERS, _MOST_LOGPROBS = 4, 5
_KNOWN = ("tools",)


def refused(message: str) -> WireError:
    """Return the error for a request that the model's own checks refuse."""
    return WireError(f"<400> InternalError.Algo.InvalidParameter: {message}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_PARAMETERS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "incremental_output": (lambda value: isinstance(value, bool), "Input should be a valid boolean"),
    "result_format": (lambda value: value in ("text", "message"), "Input should be 'text' or 'message'"),
    "temperature": (lambda value: _is_number(value) and 0 <= value < 2, "Temperature should be in [0.0, 2.0)"),  # noqa: PLR2004
    "top_p": (lambda value: _is_number(value) and 0 < value <= 1, "Range of top_p should be (0.0, 1.0]"),
    "top_k": (lambda value: _is_count(value) and value >= 0, "Range of top_k should be [0, 100]"),
    "max_tokens": (lambda value: _is_count(value) and value >= 1, "Range of max_tokens should be [1, 8192]"),
    "seed": (_is_count, "Input should be a valid integer"),
    "n": (lambda value: _is_count(value) and 1 <= value <= _MOST_ANSWERS, "Range of n should be [1, 4]"),
    "stop": (lambda value: isinstance(value, (str, list)), "Input should be a valid string or a valid list"),
    "tools": (lambda value: isinstance(value, list), "Input should be a valid list"),
    "tool_choice": (lambda value: isinstance(value, (str, dict)), "Input should be a valid string or a dictionary"),
    "response_format": (lambda value: isinstance(value, dict), "Input should be a valid dictionary"),
    "enable_thinking": (lambda value: isinstance(value, bool), "Input should be a valid boolean"),
    "enable_search": (lambda value: isinstance(value, bool), "Input should be a valid boolean"),
    "logprobs": (lambda value: isinstance(value, bool), "Input should be a valid boolean"),
    "top_logprobs": (
        lambda value: _is_count(value) and 0 <= value <= _MOST_LOGPROBS,
        "Range of top_logprobs should be [0, 5]",
    ),
}
"""The parameters that are checked: whether a value will do, and the sentence about one that will not."""


def read_request(api: str, body: object, *, streams: bool) -> Request:
    """Read a request. Raises `WireError`, worded as DashScope would, for what is none."""
    if not isinstance(body, dict):
        raise WireError("Required body invalid, please check the request body format.")
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise WireError("Required parameter(model) missing or invalid, please check the request parameters.")
    given, parameters = body.get("input"), body.get("parameters")
    if not isinstance(given, dict):
        raise WireError("Required parameter(input) missing or invalid, please check the request parameters.")
    if parameters is not None and not isinstance(parameters, dict):
        raise WireError("Required parameter(parameters) missing or invalid, please check the request parameters.")
    found = {name: value for name, value in (parameters or {}).items() if value is not None}
    for name, (will_do, problem) in _PARAMETERS.items():
        if name in found and not will_do(found[name]):
            raise refused(f"{problem}: parameters.{name}" if problem.startswith("Input") else problem)
    return Request(
        api,
        sound(body["model"]),
        _messages(given),
        tuple(map(_tool, found.get("tools") or ())),
        streams,
        {name: value for name, value in found.items() if name not in _KNOWN},
        body,
        found.get("n", 1),
    )


def _tool(tool: Any) -> str:
    function = tool.get("function") if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name:
        raise refused("Input should be a valid dictionary with a function that has a name: parameters.tools")
    return sound(name)


def _messages(given: Mapping[str, Any]) -> tuple[Message, ...]:
    """Return messages, or what stood for them before there were some: a history and a prompt."""
    messages, prompt, history = given.get("messages"), given.get("prompt"), given.get("history")
    if not messages and not prompt:
        raise refused('Either "prompt" or "messages" must exist and cannot both be none')
    found: list[Message] = []
    if messages:
        if not isinstance(messages, list):
            raise refused("Input should be a valid list: input.messages")
        found += map(_message, messages)
    for turn in history if isinstance(history, list) else ():
        said = turn if isinstance(turn, dict) else {}
        pairs = (("user", said.get("user")), ("assistant", said.get("bot")))
        found += [Message(role, sound(text)) for role, text in pairs if isinstance(text, str)]
    if prompt and not messages:
        if not isinstance(prompt, str):
            raise refused("Input should be a valid string: input.prompt")
        found.append(Message("user", sound(prompt)))
    return tuple(found)


def _message(found: Any) -> Message:
    if not isinstance(found, dict):
        raise refused("Input should be a valid dictionary: input.messages")
    role, content = found.get("role"), found.get("content")
    if role not in _ROLES:
        raise refused(f"Role must be in [{', '.join(_ROLES)}]")
    if not content and role in ("user", "tool"):
        raise refused("Content field is a required field")
    calls = found.get("tool_calls") or ()
    if not isinstance(calls, (list, tuple)):
        raise refused("Input should be a valid list: input.messages.tool_calls")
    called, reasoning = found.get("tool_call_id"), found.get("reasoning_content")
    return Message(
        role,
        _text(content),
        sound(reasoning) if isinstance(reasoning, str) else "",
        tool_calls=tuple(_call(call, index) for index, call in enumerate(calls)),
        tool_call_id=called if isinstance(called, str) else None,
    )


def _text(content: Any) -> str:
    """Return the text of a message: its content, or the texts of its parts."""
    if content is None or isinstance(content, str):
        return sound(content or "")
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise refused("Input should be a valid string: input.messages.content")
    return "".join(sound(part["text"]) for part in content if isinstance(part.get("text"), str))


def _call(call: Any, index: int) -> ToolCall:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise refused("Input should be a valid dictionary: input.messages.tool_calls.function")
    name, arguments, id = function.get("name"), function.get("arguments") or "", call.get("id")  # noqa: A001
    return ToolCall(
        sound(name) if isinstance(name, str) and name else None,
        sound(arguments) if isinstance(arguments, str) else json_text(arguments),
        id=sound(id) if isinstance(id, str) and id else None,
        index=index,
    )
