"""Structured chunks in one line each, and what moves changed about them."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

from fakellm.contracts.structured.chunks import TEXTS, choices_of
from fakellm.contracts.structured.events import field_of
from fakellm.contracts.structured.moves import Chunk
from fakellm.errors import clip

_LONG = 60


def shown_change(before: Sequence[Chunk], after: Sequence[Chunk]) -> str:
    """Return the chunks of `after` that are not in `before`, each change with a chunk on either side."""
    lines, new = [line(chunk) for chunk in before], [line(chunk) for chunk in after]
    matcher = SequenceMatcher(None, lines, new, autojunk=False)
    groups = list(matcher.get_grouped_opcodes(1))
    if not groups:
        return " | ".join(new) if len(new) < 8 else f"{' | '.join(new[:7])} | …"  # noqa: PLR2004 - one line
    parts = [" | ".join(new[group[0][3] : group[-1][4]]) for group in groups]
    text = " | … | ".join(parts)
    starts, ends = groups[0][0][3] > 0, groups[-1][-1][4] < len(new)
    return f"{'… | ' if starts else ''}{text}{' | …' if ends else ''}"


def line(chunk: Chunk) -> str:
    """Return a chunk in one line: `content 'Hel'`, `tool 0 {"ci`, `finish stop`, `choices []`, `usage 3+4`."""
    if "choices" not in chunk:
        return _event(chunk)
    choices = choices_of(chunk)
    parts = [_choice(choice, several=len(choices) > 1 or choice["index"] > 0) for choice in choices] or ["choices []"]
    return " ".join([*parts, *_usage(chunk)])


def _choice(choice: dict[str, Any], *, several: bool) -> str:
    delta, reason = choice["delta"], choice.get("finish_reason")
    parts = [f"{key} {_quoted(delta[key])}" for key in TEXTS if key in delta and not _is_opening(delta, key)]
    parts += [_tool(tool) for tool in delta.get("tool_calls") or ()]
    if delta.get("role"):
        parts.insert(0, f"role {delta['role']}")
    if reason or (parts == [] and reason is None):
        parts.append(f"finish {reason}" if reason else "delta {}")
    elif reason == "" or "finish_reason" not in choice:
        parts.append('finish ""' if reason == "" else "no finish_reason")
    return (f"choice {choice['index']}: " if several else "") + " ".join(parts)


def _is_opening(delta: dict[str, Any], key: str) -> bool:
    """Tell whether a text is only there because a first delta or a tool call has one, empty or null."""
    return not delta[key] and bool(delta.get("role") or delta.get("tool_calls"))


def _tool(tool: dict[str, Any]) -> str:
    function = tool.get("function") or {}
    parts = [f"tool {tool.get('index', '?')}"]
    parts += [f"{key} {_quoted(tool[key])}" for key in ("id",) if key in tool]
    parts += [f"name {_quoted(function[key])}" for key in ("name",) if key in function]
    arguments = function.get("arguments", "")
    if "arguments" not in function:
        return " ".join([*parts, "no arguments"])
    return " ".join([*parts, "arguments null" if arguments is None else clip(arguments, _LONG) or '""'])


def _usage(chunk: Chunk) -> list[str]:
    usage = chunk.get("usage")
    if not isinstance(usage, dict):
        return []
    read = usage.get("prompt_tokens", usage.get("input_tokens"))
    return [f"usage {read}+{usage.get('completion_tokens', usage.get('output_tokens'))}"]


def _event(event: Chunk) -> str:
    """Return an event of the Messages API in one line."""
    kind = event["type"]
    if field := field_of(event):
        return f"{event['delta']['type']} {_quoted(event['delta'][field])}"
    if kind == "content_block_start":
        block = event["content_block"]
        return f"start {event['index']} {block.get('type')}{' ' + block['name'] if block.get('name') else ''}"
    if kind == "message_delta":
        return " ".join([f"message_delta {event['delta'].get('stop_reason') or 'null'}", *_usage(event)])
    return f"stop {event['index']}" if kind == "content_block_stop" else str(kind)


def _quoted(value: object) -> str:
    return "null" if value is None else clip(repr(value), _LONG)
