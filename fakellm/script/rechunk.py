"""The same answer in other chunks: the text of one kind of event is cut anew, the rest keeps its place."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from fakellm.script.events import Event, Reasoning, Refusal, Text, ToolCall

SPLITTABLE = (Text, Reasoning, Refusal, ToolCall)
"""The kinds of events that hold a text to cut."""


def recut(events: Iterable[Event], kind: type[Any], split: Callable[[str], list[str]]) -> list[Event]:
    """Return the events with the whole text of one kind cut by `split`; of answers and tool calls, each by itself.

    Events of other kinds stay at their place in that text, and cut it there. Log probabilities belong to the
    pieces as they were, and are dropped; a signature stays with the last piece.
    """
    cut = list(events)
    for text in dict.fromkeys(_text_id(event) for event in cut if isinstance(event, kind)):
        cut = _recut(cut, partial(_is_of, kind, text), split)
    return cut


def _text_id(event: Any) -> tuple[int, int]:
    """Return which text the event is a piece of: by choice and, for a tool call, by index."""
    return event.choice, getattr(event, "index", 0) or 0


def _is_of(kind: type[Any], text: tuple[int, int], event: Event) -> bool:
    return isinstance(event, kind) and _text_id(event) == text


def _recut(events: list[Event], is_mine: Callable[[Event], bool], split: Callable[[str], list[str]]) -> list[Event]:
    """Cut the text between the first event that is mine and the last."""
    places = [place for place, event in enumerate(events) if is_mine(event)]
    first, end = places[0], places[-1] + 1
    text = "".join(_text_of(events[place]) for place in places)
    others: deque[tuple[int, Event]] = deque()
    length = 0
    for event in events[first:end]:
        if is_mine(event):
            length += len(_text_of(event))
        else:
            others.append((length, event))
    recut: list[Event] = []
    model = events[first]
    done = 0
    for piece in split(text):
        rest, limit = piece, done + len(piece)
        while others and others[0][0] < limit:
            at, event = others.popleft()
            if at > done:
                head, rest = rest[: at - done], rest[at - done :]
                recut.append(_like(model, head))
                model, done = _later(model), at
            recut.append(event)
        recut.append(_like(model, rest))
        model, done = _later(model), limit
    if recut and (signature := _signature(events[place] for place in places)):
        recut[-1] = replace(recut[-1], signature=signature)  # type: ignore[call-arg]
    return [*events[:first], *recut, *(event for _, event in others), *events[end:]]


def _text_of(event: Event) -> str:
    return event.arguments if isinstance(event, ToolCall) else event.text  # type: ignore[attr-defined]


def _like(model: Event, text: str) -> Event:
    """Return an event of the model's kind with another text."""
    if isinstance(model, ToolCall):
        return ToolCall(model.name, text, id=model.id, index=model.index, choice=model.choice)
    return type(model)(text, choice=model.choice)  # type: ignore[call-arg, attr-defined]


def _signature(pieces: Iterable[Event]) -> str | None:
    """Return the signature that the pieces of a text end with, if they have one."""
    return next((found for piece in pieces if (found := getattr(piece, "signature", None))), None)


def _later(model: Event) -> Event:
    """Return the model for later pieces: of a tool call, only the first has name and id."""
    return ToolCall(index=model.index, choice=model.choice) if isinstance(model, ToolCall) else model
