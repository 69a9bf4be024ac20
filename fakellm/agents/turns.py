"""What the steps of a conversation come to: turns.

The steps of a conversation are in the order in which they happen. What the app says up to an answer, and that answer,
are a turn; what of an answer breaks is an attempt, after which the app asks the same again. So a conversation of four
steps (a question, a call, its result, the answer) is two turns, and a request asks for one of them: which, it tells by
itself, since it holds what came before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fakellm.agents.steps import Result, Step, User
from fakellm.script.events import ToolCall
from fakellm.script.script import Script

_IDS = {"mistral": "call{:05d}"}
"""Providers whose ids have a form of their own: Mistral's are nine letters and digits."""
_WITHOUT_IDS = ("gemini", "ollama")
"""Providers that tell the calls of tools apart by name and order; others by ids."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A step of the app: which it is of the conversation, counted from 1, and of a result, the call that it is of."""

    number: int
    step: User | Result
    call: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """What the app says, and how the model answers, one attempt after the other; the last of them is the answer.

    `number` is that of the first step of the answer, `calls` are those that it makes.
    """

    asked: tuple[Asked, ...]
    attempts: tuple[Script, ...]
    number: int

    @property
    def answer(self) -> Script:
        """What the app has of it."""
        return self.attempts[-1]

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The calls of the answer."""
        return self.answer.tool_calls


@dataclass(frozen=True, eq=False, repr=False)
class Plan:
    """A conversation: its steps, and the turns that they come to; how often it can be had, under which conditions.

    `place` is the line that scripted it, `trimmed` whether the app sends no more than the end of it.
    """

    steps: tuple[Step, ...]
    turns: tuple[Turn, ...] = field(compare=False)
    times: int | None = 1
    conditions: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""
    trimmed: bool = False

    def __repr__(self) -> str:
        options = {**({} if self.times == 1 else {"times": self.times}), **self.conditions}
        options |= {"trimmed": True} if self.trimmed else {}
        said = [*map(repr, self.steps), *(f"{name}={value!r}" for name, value in options.items())]
        return f"conversation({', '.join(said)})"

    def as_said_by(self, provider: str) -> tuple[Turn, ...]:
        """Return the turns with ids as the provider makes them: none where it has none."""
        if provider in _WITHOUT_IDS:
            return tuple(_renamed(turn, lambda number: None) for turn in self.turns)  # noqa: ARG005
        form = _IDS.get(provider)
        return self.turns if form is None else tuple(_renamed(turn, form.format) for turn in self.turns)


def _renamed(turn: Turn, name: Callable[[int], str | None]) -> Turn:
    """Return a turn whose ids of calls, those that were given here, are named by their number otherwise."""

    def renamed(event: Any) -> Any:
        found = re.fullmatch(r"call_(\d+)", event.id or "") if isinstance(event, ToolCall) else None
        return event if found is None else replace(event, id=name(int(found[1])))

    scripts = (Script(*map(renamed, one), allow_illegal=one.allow_illegal) for one in turn.attempts)
    return replace(turn, attempts=tuple(scripts))
