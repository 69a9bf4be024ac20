"""What Ollama reads of requests, and how it words what it cannot read.

Its server is written in Go and decodes JSON into structs: null and absent are the empty value, a field that nobody
knows is passed over, and a value of another type is refused with the words of Go's `encoding/json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from fakellm.errors import WireError
from fakellm.script.events import ToolCall
from fakellm.script.messages import Message
from fakellm.wire.objects import sound
from fakellm.wire.ollama.lines import json_text

Fields = Mapping[str, tuple[tuple[type, ...], str]]
"""The fields of a struct, by their names in JSON: what they may be in Python, and their type in Go."""

_TEXT, _FLAG, _COUNT = ((str,), "string"), ((bool,), "bool"), ((int,), "int")
SHARED: Fields = {
    "model": _TEXT,
    "stream": _FLAG,
    "options": ((dict,), "map[string]interface {}"),
    "keep_alive": ((int, float, str), "api.Duration"),
    "think": ((bool, str), "api.ThinkValue"),
    "truncate": _FLAG,
    "shift": _FLAG,
    "logprobs": _FLAG,
    "top_logprobs": _COUNT,
}
"""The fields that requests to both APIs have."""
_MESSAGE: Fields = {
    "role": _TEXT,
    "content": _TEXT,
    "thinking": _TEXT,
    "images": ((list,), "[]api.ImageData"),
    "tool_calls": ((list,), "[]api.ToolCall"),
    "tool_name": _TEXT,
    "tool_call_id": _TEXT,
}
_CALL: Fields = {"id": _TEXT, "function": ((dict,), "api.ToolCallFunction")}
_FUNCTION: Fields = {"name": _TEXT, "arguments": ((dict, str), "api.ToolCallFunctionArguments")}
_DURATION = re.compile(r"[-+]?(0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)")
_ZERO = re.compile(r"0*(\.0*)?(ns|us|µs|ms|s|m|h)?")
_MOST_LOGPROBS = 20


def checked(body: Any, struct: str, fields: Fields, at: str = "") -> dict[str, Any]:
    """Return an object whose known fields are of their types. Raises `WireError` in Ollama's words for another.

    `struct` is the name that Go has for it, `at` the way to it from the request, if it is a part of one.
    """
    body = {} if body is None else body
    if not isinstance(body, dict):
        where = f"Go struct field {at}" if at else "Go value"
        msg = f"json: cannot unmarshal {_kind(body)} into {where} of type api.{struct}"
        raise WireError(msg)
    for name, (kinds, go) in fields.items():
        value = body.get(name)
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            msg = f"json: cannot unmarshal {_kind(value)} into Go struct field {at or struct}.{name} of type {go}"
            raise WireError(msg)
    return body


def _kind(value: Any) -> str:
    """Return what Go calls a value of JSON."""
    names = {bool: "bool", str: "string", list: "array", dict: "object"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "number")


def asked(body: Any, struct: str, fields: Fields) -> dict[str, Any]:
    """Return the JSON of a request to either API. Raises `WireError` for what Ollama would refuse for its form."""
    found = checked(body, struct, {**SHARED, **fields})
    if not 0 <= (found.get("top_logprobs") or 0) <= _MOST_LOGPROBS:
        msg = f"top_logprobs must be between 0 and {_MOST_LOGPROBS}"
        raise WireError(msg)
    kept = found.get("keep_alive")
    if isinstance(kept, str) and not _DURATION.fullmatch(kept):
        msg = f"time: invalid duration {json.dumps(kept)}"
        raise WireError(msg)
    if not found.get("model"):
        msg = "model is required"
        raise WireError(msg)
    return found


def listed(body: Mapping[str, Any], name: str, struct: str, fields: Fields, at: str) -> list[dict[str, Any]]:
    """Return a field that is a list of objects, each checked."""
    return [checked(item, struct, fields, at) for item in body.get(name) or ()]


def is_streamed(body: Mapping[str, Any]) -> bool:
    """Tell whether an answer is streamed, which it is unless the request says no."""
    return body.get("stream") is not False


def unloads(body: Any) -> bool:
    """Tell whether a request that asks the model nothing wants it unloaded: it is to be kept for no time at all."""
    return body.get("keep_alive") is not None and _ZERO.fullmatch(str(body["keep_alive"])) is not None


def images_of(body: Mapping[str, Any], at: str) -> None:
    """Check the images of a request or a message, which are base64."""
    for image in body.get("images") or ():
        if not isinstance(image, str):
            msg = f"json: cannot unmarshal {_kind(image)} into Go struct field {at}.images of type api.ImageData"
            raise WireError(msg)


def message_of(found: dict[str, Any]) -> Message:
    """Return a message of a request, once it is checked."""
    at = "ChatRequest.messages"
    images_of(found, at)
    calls = []
    for index, call in enumerate(listed(found, "tool_calls", "ToolCall", _CALL, f"{at}.tool_calls")):
        function = checked(call.get("function") or {}, "ToolCallFunction", _FUNCTION, f"{at}.tool_calls.function")
        arguments = function.get("arguments") or {}
        if isinstance(arguments, str):  # as OpenAI has them
            msg = "Value looks like object, but can't find closing '}' symbol"
            raise WireError(msg)
        name, id = sound(function.get("name") or ""), sound(call.get("id") or "")  # noqa: A001
        calls.append(ToolCall(name or None, json_text(arguments), id=id or None, index=index))
    return Message(
        sound(found.get("role") or "").lower() or "user",
        sound(found.get("content") or ""),
        sound(found.get("thinking") or ""),
        tool_calls=tuple(calls),
        tool_call_id=found.get("tool_call_id") or found.get("tool_name"),
    )


def messages_of(body: Mapping[str, Any]) -> tuple[Message, ...]:
    """Return the messages of a request."""
    return tuple(map(message_of, listed(body, "messages", "Message", _MESSAGE, "ChatRequest.messages")))


def tools_of(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the tools that a request offers."""
    at = "ChatRequest.tools"
    tools = listed(body, "tools", "Tool", {"function": ((dict,), "api.ToolFunction")}, at)
    functions = (
        checked(tool.get("function") or {}, "ToolFunction", {"name": _TEXT}, f"{at}.function") for tool in tools
    )
    return tuple(sound(function.get("name") or "") for function in functions)
