"""What a document says that answers a request without streaming, as events: the same words that streams are told in.

Codecs read streams, since those are what apps struggle with; of a document only what people are shown is taken here,
from wherever the APIs have it, and what is not found is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fakellm.script.events import Event, Finish, Reasoning, Text, ToolCall, Usage

_USED = (
    ("prompt_tokens", "completion_tokens"),
    ("input_tokens", "output_tokens"),
    ("promptTokenCount", "candidatesTokenCount"),
    ("inputTokens", "outputTokens"),
    ("prompt_eval_count", "eval_count"),
)
"""What the APIs call the tokens of the prompt and of the answer."""
_ENDS = ("finish_reason", "stop_reason", "finishReason", "stopReason", "done_reason")


_HOLDERS = ("function", "custom", "functionCall", "toolUse")
_IDS = ("call_id", "tool_call_id", "toolUseId", "id")
"""The names of a call's id, before the name of the item's that has it."""
_SERVERS = ("server_tool_use", "mcp_tool_use", "mcp_call", "mcp_approval_request")
"""Calls that the provider answers by itself."""


def said_in(body: bytes) -> list[Event]:
    """Return what a document says: texts and tool calls in their order, usage, and why it ended."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return []
    if not isinstance(document, dict):
        return []
    answers = [one for name in ("choices", "candidates") for one in _list(document.get(name))] or [document]
    events: list[Event] = []
    for choice, answer in enumerate(answers):
        events += _parts(_content(answer), choice)
        if reason := next((answer[name] for name in _ENDS if isinstance(answer.get(name), str)), ""):
            events.append(Finish(reason, choice=choice))
    used = _usage(document)
    return [*events, used] if used is not None else events


def _list(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _content(answer: dict[str, Any]) -> list[Any]:
    """Return the parts of an answer, wherever its API has them."""
    output = answer.get("output")
    message = answer.get("message") or (output.get("message") if isinstance(output, dict) else None)
    content = answer.get("content")
    holder = next((one for one in (message, content, answer) if isinstance(one, dict)), {})
    inner = holder.get("content", holder.get("parts"))
    parts: list[Any] = [{"reasoning": holder[name]} for name in ("reasoning_content", "thinking") if holder.get(name)]
    for item in _list(output):
        parts += _list(item["content"]) if isinstance(item.get("content"), list) else [item]
    texts = [answer.get("text"), answer.get("response"), inner if isinstance(inner, str) else None]
    parts += [{"text": text} for text in texts if isinstance(text, str)]
    return [*parts, *_list(inner), *_list(holder.get("tool_calls"))]


def _parts(parts: list[Any], choice: int) -> Iterator[Event]:
    calls = 0
    for part in parts:
        thought = part.get("reasoning") or part.get("thinking")
        text, call = part.get("text"), _call(part)
        if isinstance(thought, str) and thought:
            yield Reasoning(thought, choice=choice)
        elif isinstance(text, str) and text:
            yield Text(text, choice=choice)
        elif call is not None:
            name, arguments, number = call
            yield ToolCall(name, arguments, id=number, index=calls, choice=choice)
            calls += 1


def _call(part: dict[str, Any]) -> tuple[str, str, str | None] | None:
    """Return name, arguments and id of a tool call, or None for a part that is none."""
    held = next((part[name] for name in _HOLDERS if isinstance(part.get(name), dict)), part)
    name = held.get("name")
    empty: Any = None if held is part else {}
    given = next((held[key] for key in ("arguments", "input", "args") if key in held), empty)
    if not isinstance(name, str) or not name or given is None or part.get("type") in _SERVERS:
        return None
    number = next((found for one in (part, held) for key in _IDS if (found := one.get(key))), None)
    arguments = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    return name, arguments, number if isinstance(number, str) else None


def _usage(document: dict[str, Any]) -> Usage | None:
    holders: list[Any] = [document.get("usage"), document.get("usageMetadata"), document]
    for holder in holders:
        for asked, told in _USED if isinstance(holder, dict) else ():
            counts: list[Any] = [holder.get(name) for name in (asked, told)]
            if all(type(count) is int and count >= 0 for count in counts):
                return Usage(*counts)
    return None
