"""The messages of chat completions: those of a request, and those of a document, which is what a stream adds up to.

Source: https://platform.openai.com/docs/api-reference/chat/object, and how OpenAI's SDK adds deltas up: texts are
joined, objects are merged, and what a list has of one `index` is one object.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

from fakellm.script.events import Event, Finish, Native, Text, ToolCall
from fakellm.script.messages import Message
from fakellm.script.script import Script
from fakellm.wire.codec import Request
from fakellm.wire.objects import get, merged, objects, text_field
from fakellm.wire.openai import azure
from fakellm.wire.openai import common as openai
from fakellm.wire.openai.chat_reader import API
from fakellm.wire.openai.profiles import Profile

_SAID_ONCE = ("id", "type", "role", "index")
"""Fields of deltas whose texts are not joined: a later one replaces an earlier one."""


def message_of(found: dict[str, Any], place: str = "message") -> Message:
    """Read a message of a request, which errors call by its place. Raises `WireError` for what is none."""
    content = found.get("content")
    parts = content if isinstance(content, list) else [content]
    texts = (part if isinstance(part, str) else part.get("text") for part in parts if isinstance(part, (str, dict)))
    calls = []
    for index, call in enumerate(objects(found, "tool_calls")):
        at = f"{place}.tool_calls[{index}]"
        kind = openai.string(call, "type", at) or "function"
        function = get(call, kind, dict)
        said = [openai.string(function, key, f"{at}.{kind}") for key in ("arguments", "input")]
        arguments = said[0] or said[1]
        name = text_field(function, "name") or None
        calls.append(ToolCall(name, arguments, id=text_field(call, "id") or None, index=index))
    if not calls and (called := get(found, "function_call", dict)):  # of `functions`, the older form of tools
        calls = [ToolCall(text_field(called, "name") or None, text_field(called, "arguments"), index=0)]
    role = text_field(found, "role")
    return Message(
        "system" if role == "developer" else role,
        "".join(text for text in texts if isinstance(text, str)),
        tool_calls=tuple(calls),
        tool_call_id=found.get("tool_call_id") or (found.get("name") if role == "function" else None),
    )


def is_legacy(request: Request) -> bool:
    """Tell whether the request offers `functions`, the older form of tools, which are called by `function_call`."""
    return isinstance(request.json, Mapping) and "functions" in request.json and "tools" not in request.json


def logprobs_of(event: Text, request: Request) -> list[dict[str, Any]] | None:
    """Return the log probabilities of a piece of text: those scripted, or made up if the request wants some."""
    top = request.options.get("top_logprobs")
    wanted = (top if isinstance(top, int) else 0) if request.options.get("logprobs") else None
    return openai.logprobs_of(event, wanted)


def called_by(event: Event) -> str:
    """Return the field by which native fields of a delta call tools: `tool_calls`, `function_call`, or none."""
    if not isinstance(event, Native) or event.api != API:
        return ""
    fields = json.loads(cast("str", event.data))
    return next((name for name in ("tool_calls", "function_call") if fields.get(name)), "")


def choice(script: Script, number: int, finish: Finish, request: Request, profile: Profile) -> dict[str, Any]:
    """Return an answer of a document."""
    message: dict[str, Any] = {"role": "assistant", "content": script.text or None, "refusal": script.refusal or None}
    calls = [
        {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments or _usual(script, c)}}
        for c in calls_of(script)
    ]
    natives = [json.loads(cast("str", e.data)) for e in script if isinstance(e, Native) and e.api == API]
    if script.text == "" and not calls and not script.refusal and not any(map(called_by, script)):
        message["content"] = ""
    if script.reasoning:
        message[profile.reasoning] = script.reasoning
    reason = finish.reason
    if calls and is_legacy(request):
        message["function_call"] = calls[0]["function"]
    elif calls:
        message["tool_calls"] = calls
    message["annotations"] = []
    if any("content" in fields for fields in natives):
        message["content"] = _content(script)
    for fields in natives:
        add(message, {name: value for name, value in fields.items() if name != "content"})
    for call in message.get("tool_calls") or ():
        call.pop("index", None)
    if "function_call" in message and "tool_calls" not in message and reason == "tool_calls":
        reason = "function_call"
    texts = [event for event in script if isinstance(event, Text)]
    probabilities = [token for event in texts for token in logprobs_of(event, request) or ()]
    logprobs = {"content": probabilities, "refusal": None} if probabilities else None
    document = {"index": number, "message": message, "logprobs": logprobs, "finish_reason": reason}
    said = openai.said_with(finish, profile.beside)[0]
    if profile.filters and b'"content_filter_results"' not in (said or b""):
        document["content_filter_results"] = azure.SAFE if message.get("content") else {}
    return merged(document, said)


def _usual(script: Script, call: ToolCall) -> str:
    """Return the arguments of a call without any: an empty object, unless a piece says that there are none."""
    pieces = (e for e in script if isinstance(e, ToolCall) and e.index == call.index)
    return "" if any(map(openai.says_none, pieces)) else "{}"


def _content(script: Script) -> Any:
    """Return the content that texts and native fields add up to, in their order."""
    found: dict[str, Any] = {"content": None}
    for event in script:
        if isinstance(event, Text):
            add(found, {"content": event.text})
        elif isinstance(event, Native) and event.api == API:
            fields = json.loads(cast("str", event.data))
            add(found, {"content": fields["content"]} if "content" in fields else {})
    return found["content"]


def calls_of(events: Iterable[Event]) -> list[ToolCall]:
    """Add up the pieces of tool calls: a name begins one, also where a provider that misbehaves repeats an index.

    So no call is lost, and pieces of several calls may come in turn. One that no head came for has no name.
    """
    calls: list[ToolCall] = []
    latest: dict[int | None, int] = {}
    for piece in events:
        if not isinstance(piece, ToolCall):
            continue
        if piece.name is not None or piece.index not in latest:
            latest[piece.index] = len(calls)
            calls.append(piece)
        else:
            calls[latest[piece.index]] += piece
    return calls


def add(whole: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Add the fields of a delta to what came before, as a client does; null takes a field away."""
    for name, value in delta.items():
        before = whole.get(name)
        if value is None:
            whole.pop(name, None)
        elif isinstance(before, dict) and isinstance(value, dict):
            add(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            whole[name] = _listed(before, value)
        elif isinstance(before, str) and isinstance(value, str) and name not in _SAID_ONCE:
            whole[name] = before if name == "name" and before == value else before + value
        elif isinstance(value, list):
            whole[name] = _listed([], value)
        else:
            whole[name] = value


def _listed(before: list[Any], more: list[Any]) -> list[Any]:
    """Return a list with more items: those of an index that is there are added to it."""
    for item in more:
        index = item.get("index") if isinstance(item, dict) else None
        same = [i for n, i in enumerate(before) if isinstance(i, dict) and i.get("index", n) == index]
        if index is not None and same:
            add(same[0], item)
        else:
            before.append(dict(item) if isinstance(item, dict) else item)
    return before
