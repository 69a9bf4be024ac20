"""The same answer in other chunks: the text of one kind of event is cut anew, the rest keeps its place."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

from fakellm.events import Event, Reasoning, Refusal, Text, ToolCall

SPLITTABLE = (Text, Reasoning, Refusal, ToolCall)
"""The kinds of events that hold a text to cut."""


def recut(events: Iterable[Event], kind: type[Any], split: Callable[[str], list[str]]) -> list[Event]:
    """Return the events with the whole text of one kind cut by `split`; of tool calls, each by itself.

    Events of other kinds stay at their place in that text, and cut it there.
    """
    key = _tool_call_number() if kind is ToolCall else lambda _: 0
    return [event for _, group in groupby(events, key=key) for event in _recut_one(list(group), kind, split)]


def _tool_call_number() -> Callable[[Event], int]:
    """Return a key that rises by one at the first piece of each tool call."""
    number = 0

    def key(event: Event) -> int:
        nonlocal number
        number += isinstance(event, ToolCall) and event.name is not None
        return number

    return key


def _recut_one(events: list[Event], kind: type[Any], split: Callable[[str], list[str]]) -> list[Event]:
    mine = [e for e in events if isinstance(e, kind)]
    if not mine:
        return events
    others: deque[tuple[int, Event]] = deque()
    place = 0
    for event in events:
        if isinstance(event, kind):
            place += len(_text_of(event))
        else:
            others.append((place, event))
    recut: list[Event] = []
    texts = 0

    def take(text: str) -> None:
        nonlocal place, texts
        recut.append(_like(mine[0], text, first=not texts))
        place += len(text)
        texts += 1

    place = 0
    for piece in split("".join(map(_text_of, mine))):
        rest, end = piece, place + len(piece)
        while others and others[0][0] < end:
            at, event = others.popleft()
            if at > place:
                head, rest = rest[: at - place], rest[at - place :]
                take(head)
            recut.append(event)
        take(rest)
    return recut + [event for _, event in others]


def _text_of(event: Event) -> str:
    return event.arguments if isinstance(event, ToolCall) else event.text  # type: ignore[attr-defined]


def _like(model: Event, text: str, *, first: bool) -> Event:
    """Return an event of the model's kind with another text."""
    if not isinstance(model, ToolCall):
        return type(model)(text)  # type: ignore[call-arg]
    if first:
        return ToolCall(model.name, text, id=model.id, index=model.index)
    return ToolCall(arguments=text, index=model.index)
