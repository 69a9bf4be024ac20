"""Reads requests of Bedrock, and refuses what Bedrock refuses for its form, in its words.

Source: botocore's service model of bedrock-runtime, and for the wordings what users report of the service: "The text
field in the ContentBlock object at messages.0.content.0 is blank", "A conversation must start with a user message",
"Malformed input request: #: extraneous key [...] is not permitted", "The provided model identifier is invalid."; those
of values of another type are AWS's own, with the exception `SerializationException`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from fakellm.errors import WireError
from fakellm.script.events import ToolCall
from fakellm.script.messages import Message
from fakellm.wire.bedrock.frames import text_of_blocks
from fakellm.wire.codec import Request
from fakellm.wire.objects import dump, get, objects, text_field

Fields = Mapping[str, tuple[type, ...]]

_ADDRESS = re.compile(r"/model/([^/]+)/([\w-]+)$")
_MODEL = re.compile(r"arn:aws[\w-]*:(bedrock|sagemaker):[\w-]*:\d*:[\w./:-]+|(?!arn:)[a-zA-Z0-9][\w.:-]*")
_PROMPT = re.compile(r":prompt/")
_NUMBER = (int, float)

CONVERSE: Fields = {
    "messages": (list,),
    "system": (list,),
    "inferenceConfig": (dict,),
    "toolConfig": (dict,),
    "guardrailConfig": (dict,),
    "projectIdentifier": (str,),
    "additionalModelRequestFields": (dict, list, str, bool, int, float),
    "promptVariables": (dict,),
    "additionalModelResponseFieldPaths": (list,),
    "requestMetadata": (dict,),
    "performanceConfig": (dict,),
    "serviceTier": (dict,),
    "outputConfig": (dict,),
}
"""The fields of a request to Converse, and what each may be; a document may be any JSON."""
_KNOWN = ("messages", "system", "toolConfig")
_MESSAGE: Fields = {"role": (str,), "content": (list,)}
_INFERENCE: Fields = {"maxTokens": (int,), "temperature": _NUMBER, "topP": _NUMBER, "stopSequences": (list,)}
_TOOLS: Fields = {"tools": (list,), "toolChoice": (dict,)}
_TOOL: Fields = {"toolSpec": (dict,), "systemTool": (dict,), "cachePoint": (dict,)}
BLOCKS: Fields = {
    "text": (str,),
    **dict.fromkeys(
        (
            *("image", "document", "video", "audio", "toolUse", "toolResult", "guardContent", "cachePoint"),
            *("reasoningContent", "citationsContent", "searchResult", "toolAddition", "toolRemoval"),
        ),
        (dict,),
    ),
}
"""The members of a content block, of which each block has one."""
_ROLES = ("user", "assistant", "system")
_RANGES = {"maxTokens": (1, None), "temperature": (0, 1), "topP": (0, 1)}

_TOKENS = {str: "STRING_VALUE", bool: "TRUE_VALUE", int: "NUMBER_VALUE", float: "NUMBER_VALUE"}
_NAMES = {str: "String", bool: "Boolean", int: "Integer", float: "Float"}


def address_of(path: str) -> tuple[str, str]:
    """Return the model and the method that a path names. Raises `WireError` for what can be no model."""
    found = _ADDRESS.search(path.partition("?")[0])
    model, method = (unquote(found[1]), found[2]) if found else ("", "")
    if not _MODEL.fullmatch(model):
        msg = "The provided model identifier is invalid."
        raise WireError(msg)
    return model, method


def wrong_type(value: Any, kinds: tuple[type, ...]) -> WireError:
    """Return the error for a value of another type than it should have, in the words of AWS's deserializer."""
    if isinstance(value, list):
        msg = "Start of list found where not expected"
    elif isinstance(value, dict):
        msg = "Start of structure or map found where not expected."
    elif kinds in ((list,), (dict,)):
        msg = f"Unexpected token {_token(value)}: expected START_{'ARRAY' if kinds == (list,) else 'OBJECT'}"
    else:
        msg = f"{_token(value)} cannot be converted to {_NAMES[kinds[0]]}"
    error = WireError(msg)
    error.code = "SerializationException"
    return error


def _token(value: Any) -> str:
    return "FALSE_VALUE" if value is False else _TOKENS.get(type(value), "NULL_VALUE")


def checked(found: Any, known: Fields, at: str = "") -> dict[str, Any]:
    """Return an object whose fields are known and of their types. Raises `WireError` for another."""
    if not isinstance(found, dict):
        raise wrong_type(found, (dict,))
    if unknown := [name for name in found if name not in known]:
        raise malformed(f"#{at}: extraneous key [{name}] is not permitted" for name in unknown)
    for name, value in found.items():
        kinds = known[name]
        is_bool = isinstance(value, bool) and bool not in kinds
        if value is not None and (is_bool or not isinstance(value, kinds)):
            raise wrong_type(value, kinds)
    return found


def malformed(problems: Iterable[str]) -> WireError:
    """Return the error for a body that is not as its schema says."""
    return WireError(f"Malformed input request: {', '.join(problems)}, please reformat your input and try again.")


def read_converse(api: str, body: Any, path: str) -> Request:
    """Read a request to Converse or ConverseStream."""
    model, method = address_of(path)
    found = checked(body, CONVERSE)
    inference = checked(found.get("inferenceConfig") or {}, _INFERENCE, "/inferenceConfig")
    for name, (least, most) in _RANGES.items():
        _in_range(f"inferenceConfig.{name}", inference.get(name), least, most)
    messages = [_checked_message(message, number) for number, message in enumerate(found.get("messages") or ())]
    if not _PROMPT.search(model):
        _check_order(messages)
    system = text_of_blocks(found, "system")
    return Request(
        api,
        model,
        (
            *([Message("system", system)] if system else []),
            *(message for one in messages for message in messages_of(one)),
        ),
        tuple(_tools_of(found, uses_tools=_uses_tools(messages))),
        method == "converse-stream",
        {key: value for key, value in found.items() if key not in _KNOWN},
        body,
    )


def _in_range(name: str, value: Any, least: float, most: float | None) -> None:
    """Raise `WireError` for a number that is too small or too large."""
    if value is None or least <= value <= (value if most is None else most):
        return
    bound = f"greater than or equal to {least}" if value < least else f"less than or equal to {most}"
    raise _constraint(value, name, f"Member must have value {bound}")


def _constraint(value: Any, name: str, what: str) -> WireError:
    return WireError(f"1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: {what}")


def _checked_message(message: Any, number: int) -> dict[str, Any]:
    place = f"messages.{number}"
    found = checked(message, _MESSAGE, f"/messages/{number}")
    if found.get("role") not in _ROLES:
        enum = "Member must satisfy enum value set: [user, assistant]"
        raise _constraint(found.get("role"), f"{place}.role", enum)
    if not found.get("content"):
        remedy = "Add a ContentBlock object to the content field and try again."
        msg = f"The content field in the Message object at {place} is empty. {remedy}"
        raise WireError(msg)
    for at, block in enumerate(found["content"]):
        members = checked(block, BLOCKS, f"/messages/{number}/content/{at}")
        if len([value for value in members.values() if value is not None]) != 1:
            keys = f"must set one of the following keys: {', '.join(BLOCKS)}."
            msg = f"The ContentBlock object at {place}.content.{at} {keys}"
            raise WireError(msg)
        if "text" in members and not members["text"].strip():
            remedy = "Add text to the text field, and try again."
            msg = f"The text field in the ContentBlock object at {place}.content.{at} is blank. {remedy}"
            raise WireError(msg)
    return found


def _check_order(messages: list[dict[str, Any]]) -> None:
    """Raise `WireError` unless there is a message, and the first is not the assistant's."""
    if not messages or messages[0]["role"] == "assistant":
        remedy = "Try again with a conversation that starts with a user message."
        msg = f"A conversation must start with a user message. {remedy}"
        raise WireError(msg)


def _uses_tools(messages: list[dict[str, Any]]) -> bool:
    blocks = (block for message in messages for block in message["content"])
    return any("toolUse" in block or "toolResult" in block for block in blocks)


def _tools_of(body: Mapping[str, Any], *, uses_tools: bool) -> Iterable[str]:
    """Yield the names of the tools that a request offers."""
    config = checked(body.get("toolConfig") or {}, _TOOLS, "/toolConfig")
    if uses_tools and not config:
        msg = "The toolConfig field must be defined when using toolUse and toolResult content blocks."
        raise WireError(msg)
    for number, tool in enumerate(config.get("tools") or ()):
        found = checked(tool, _TOOL, f"/toolConfig/tools/{number}")
        for kind in ("toolSpec", "systemTool"):
            if found.get(kind) is not None:
                yield text_field(found[kind], "name")


def messages_of(found: Mapping[str, Any]) -> list[Message]:
    """Read a message of Converse; each result of a tool in it becomes a message of its own, of the role `tool`."""
    results, blocks = [], []
    for block in objects(found, "content"):
        if block.get("toolResult") is not None:
            result = get(block, "toolResult", dict)
            results.append(Message("tool", _result(result), tool_call_id=text_field(result, "toolUseId")))
        else:
            blocks.append(block)
    if results and not blocks:
        return results
    calls = [block["toolUse"] for block in blocks if isinstance(block.get("toolUse"), dict)]
    tool_calls = tuple(
        ToolCall(
            text_field(call, "name") or None,
            dump(call.get("input") or {}).decode(),
            id=text_field(call, "toolUseId") or None,
            index=index,
        )
        for index, call in enumerate(calls)
    )
    text, reasoning = "".join(map(_text, blocks)), "".join(map(_reasoning, blocks))
    return [*results, Message(text_field(found, "role"), text, reasoning=reasoning, tool_calls=tool_calls)]


def _text(block: Mapping[str, Any]) -> str:
    guarded, cited = block.get("guardContent"), block.get("citationsContent")
    if isinstance(guarded, dict) and isinstance(guarded.get("text"), dict):
        return text_field(guarded["text"], "text")
    if isinstance(cited, dict):
        return text_of_blocks(cited, "content")
    return text_field(block, "text")


def _reasoning(block: Mapping[str, Any]) -> str:
    return text_field(get(get(block, "reasoningContent", dict), "reasoningText", dict), "text")


def _result(result: Mapping[str, Any]) -> str:
    """Return what a result of a tool says: its texts, and its JSON."""
    said = (
        dump(block["json"]).decode() if "json" in block else text_field(block, "text")
        for block in objects(result, "content")
    )
    return "".join(said)
