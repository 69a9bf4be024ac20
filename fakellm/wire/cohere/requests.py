"""Reads requests of Cohere's Chat API, and refuses what Cohere refuses for its form, in its words.

Source: https://docs.cohere.com/reference/chat and /reference/errors, and for the wordings what users report of the API:
"invalid type: parameter ... is of type ... but should be of type ...", and, with the status 422, "unknown field:
parameter ... is not a valid field".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fakellm.errors import WireError
from fakellm.script.events import ToolCall
from fakellm.script.messages import Message
from fakellm.wire.codec import Request
from fakellm.wire.objects import objects, text_field

_FIELDS: dict[str, tuple[str, ...]] = {
    "model": ("string",),
    "messages": ("array",),
    "tools": ("array",),
    "stream": ("boolean",),
    "strict_tools": ("boolean",),
    "documents": ("array",),
    "citation_options": ("object",),
    "response_format": ("object",),
    "safety_mode": ("string",),
    "max_tokens": ("integer",),
    "stop_sequences": ("array",),
    "temperature": ("number", "integer"),
    "seed": ("integer",),
    "frequency_penalty": ("number", "integer"),
    "presence_penalty": ("number", "integer"),
    "k": ("integer",),
    "p": ("number", "integer"),
    "logprobs": ("boolean",),
    "tool_choice": ("string",),
    "thinking": ("object",),
    "priority": ("integer",),
}
"""The fields of a request, and the types that each may have."""
_MESSAGE = {
    "role": ("string",),
    "content": ("string", "array"),
    "tool_calls": ("array",),
    "tool_plan": ("string",),
    "tool_call_id": ("string",),
    "citations": ("array",),
}
_TOOL = {"type": ("string",), "function": ("object",)}
_FUNCTION = {"name": ("string",), "description": ("string",), "parameters": ("object",)}
_CALL = {"id": ("string",), "type": ("string",), "function": ("object",)}
_CALLED = {"name": ("string",), "arguments": ("string",)}
_ROLES = ("user", "assistant", "system", "tool")
_KNOWN = ("model", "messages", "tools", "stream")

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


def type_of(value: object) -> str:
    """Return what JSON calls the type of a value."""
    return _TYPES.get(type(value), "null")


def wrong_type(name: str, value: object, expected: str) -> WireError:
    """Return the error for a field of another type."""
    return WireError(f"invalid type: parameter '{name}' is of type {type_of(value)} but should be of type {expected}")


def check_fields(found: Mapping[str, Any], known: Mapping[str, tuple[str, ...]], place: str = "") -> None:
    """Raise `WireError`, as Cohere words it, for a field that is not known, or is of another type."""
    for name, value in found.items():
        if name not in known:
            error = WireError(
                f"unknown field: parameter '{place}{name}' is not a valid field. "
                "For proper usage, please refer to https://docs.cohere.com/reference"
            )
            error.status = 422
            raise error
        if value is not None and type_of(value) not in known[name]:
            raise wrong_type(f"{place}{name}", value, known[name][0])


def checked_body(body: object, known: Mapping[str, tuple[str, ...]], *required: str) -> dict[str, Any]:
    """Return the JSON of a request. Raises `WireError` for what is none, and where something required is missing."""
    if not isinstance(body, dict):
        raise WireError(f"invalid type: the body is of type {type_of(body)} but should be of type object")
    check_fields(body, known)
    for name in required:
        if not body.get(name):
            known_words = {"model": "a model parameter is required for this endpoint."}
            raise WireError(known_words.get(name, f"invalid request: {name} must not be empty"))
    return body


def _objects(found: Mapping[str, Any], name: str, place: str) -> list[dict[str, Any]]:
    """Return the objects of a list. Raises `WireError` for anything else in it."""
    for value in found.get(name) or ():
        if not isinstance(value, dict):
            raise wrong_type(f"{place}{name}", value, "object")
    return objects(found, name)


def read_request(api: str, body: object) -> Request:
    """Read a request. Raises `WireError`, worded as Cohere would, for what is none."""
    found = checked_body(body, _FIELDS, "model", "messages")
    return Request(
        api,
        text_field(found, "model"),
        tuple(_message(message) for message in _objects(found, "messages", "")),
        tuple(_tool(tool) for tool in _objects(found, "tools", "")),
        bool(found.get("stream")),
        {key: value for key, value in found.items() if key not in _KNOWN},
        body,
    )


def _tool(tool: dict[str, Any]) -> str:
    check_fields(tool, _TOOL, "tools.")
    function = tool.get("function") or {}
    check_fields(function, _FUNCTION, "tools.function.")
    if not function.get("name"):
        raise WireError("invalid request: each tool must have a function with a name")
    return text_field(function, "name")


def _message(found: dict[str, Any]) -> Message:
    check_fields(found, _MESSAGE, "messages.")
    role = text_field(found, "role")
    if role not in _ROLES:
        raise WireError(f"invalid request: the role of a message must be one of {', '.join(_ROLES)}, not '{role}'")
    if role == "tool" and not found.get("tool_call_id"):
        raise WireError("invalid request: a tool message must have a tool_call_id")
    if role != "assistant" and not found.get("content"):
        raise WireError(f"invalid request: a {role} message must have content")
    content = found.get("content")
    blocks = [{"text": content}] if isinstance(content, str) else _objects(found, "content", "messages.")
    calls = [_call(call, index) for index, call in enumerate(_objects(found, "tool_calls", "messages."))]
    return Message(
        role,
        "".join(map(_text_of, blocks)),
        "".join(text_field(block, "thinking") for block in blocks) + text_field(found, "tool_plan"),
        tool_calls=tuple(calls),
        tool_call_id=text_field(found, "tool_call_id") or None,
    )


def _text_of(block: dict[str, Any]) -> str:
    """Return the text of a block of content; a document, as results of tools have it, has its text in its data."""
    document = block.get("document")
    if isinstance(document, dict):
        data = document.get("data")
        return (
            data
            if isinstance(data, str)
            else "\n".join(str(v) for v in data.values())
            if isinstance(data, dict)
            else ""
        )
    if "text" in block and not isinstance(block["text"], str):
        raise wrong_type("messages.content.text", block["text"], "string")
    return text_field(block, "text")


def _call(found: dict[str, Any], index: int) -> ToolCall:
    check_fields(found, _CALL, "messages.tool_calls.")
    function = found.get("function") or {}
    check_fields(function, _CALLED, "messages.tool_calls.function.")
    name, arguments = text_field(function, "name"), text_field(function, "arguments")
    return ToolCall(name or None, arguments, id=text_field(found, "id") or None, index=index)
