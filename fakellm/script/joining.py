"""What the pieces of tool calls add up to."""

from __future__ import annotations

from collections.abc import Iterable

from fakellm.script.events import ToolCall


def join_tool_calls(events: Iterable[object]) -> tuple[ToolCall, ...]:
    """Add up the tool-call pieces of each index; other events are passed over."""
    calls: dict[int | None, list[ToolCall]] = {}
    for event in events:
        if isinstance(event, ToolCall):
            calls.setdefault(event.index, []).append(event)
    return tuple(_join(pieces) for _, pieces in sorted(calls.items(), key=lambda item: item[0] or 0))


def _join(pieces: list[ToolCall]) -> ToolCall:
    return ToolCall(
        next((p.name for p in pieces if p.name), None),
        "".join(p.arguments for p in pieces),
        id=next((p.id for p in pieces if p.id), None),
        index=pieces[0].index,
        choice=pieces[0].choice,
        signature=next((p.signature for p in pieces if p.signature), None),
    )
