"""`Conversation`: what the model says of it becomes answers, what the app says of it what they wait for.

Ids of calls are given here, one for each call of the conversation, so that a result that is sent for a call of an
earlier turn is not taken for the right one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from fakellm.agents.played import Played, check_conditions
from fakellm.agents.steps import Calls, Result, Says, Step, User, shown_call
from fakellm.agents.turns import Asked, Plan, Turn
from fakellm.errors import ScriptError
from fakellm.provider.routes import names_of
from fakellm.script.events import ToolCall
from fakellm.script.script import Script


class Conversation(Plan):
    """A conversation of an app with a model, step by step; make it with `conversation(...)`, and let a fake play it.

    It is a value, which any number of fakes may play. `steps` are what was written, `turns` what they come to.
    """

    def replies(self, provider: str) -> list[Played]:
        """Return what a fake is told: for each answer, and each attempt at one, to which requests it is given."""
        return Played.all_of(self, provider)


def conversation(
    *steps: Step,
    times: int | None = 1,
    model: str | re.Pattern[str] | None = None,
    tools: str | Sequence[str] = (),
    json: Any = None,
    api: str | None = None,
    turn: int | None = None,
    after_tool: str | None = None,
    system: str | re.Pattern[str] | None = None,
    trimmed: bool = False,
) -> Conversation:
    """Script a conversation: `conversation(user("Rain?"), calls("weather", city="Paris"), result("no"), says("No."))`.

    A fake that plays it gives each answer to the request that holds all that came before, so any number of
    conversations can go on at once. What else the request holds is checked: the results, and what the model said.
    `times` is how often it can be had, None for any number. The conditions are those of `FakeProvider.when`, and each
    request of the conversation meets them; with `turn`, or `after_tool`, it begins with that answer of the model, or
    after a result of that tool, and whatever came before is left alone. `trimmed` is for an app that sends no more than
    the end of what came before.

    Raises `ScriptError` for steps that no API lets follow each other: a call without its result, a result without its
    call, an end without an answer.
    """
    caller = sys._getframe(1)  # noqa: SLF001 - documented; of what writes the conversation
    place = f"{caller.f_code.co_filename}:{caller.f_lineno}"
    if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
        msg = f"times is a number of conversations from 1 up, or None for any number, not {times!r}"
        raise ScriptError(msg)
    found = {"model": model, "tools": names_of(tools), "json": json, "api": api, "system": system}
    found |= {"turn": turn, "after_tool": after_tool}
    conditions = {name: value for name, value in found.items() if value not in (None, ())}
    return made(steps, times, conditions, place, trimmed=trimmed)


def made(
    steps: Sequence[Any], times: int | None, conditions: Mapping[str, Any], place: str, *, trimmed: bool = False
) -> Conversation:
    """Return the conversation of some steps, which were written at a place. Raises `ScriptError` and `TypeError`."""
    check_conditions(conditions)
    is_open = bool(conditions.keys() & {"turn", "after_tool"})
    turns = tuple(_turns(steps, is_open=is_open))
    if times != 1 and any(len(turn.attempts) > 1 for turn in turns):
        msg = "which attempt is next cannot be told of a conversation that is had several times; leave times out"
        raise ScriptError(msg)
    if trimmed and is_open:
        msg = "trimmed is for a conversation from its beginning; take turn and after_tool away"
        raise ScriptError(msg)
    return Conversation(tuple(steps), turns, times, conditions, place, trimmed)


def _turns(steps: Sequence[Any], *, is_open: bool) -> Iterator[Turn]:
    """Yield the turns of some steps."""
    if not steps:
        msg = "a conversation needs steps: conversation(user('Hello?'), says('Hello.'))"
        raise ScriptError(msg)
    for number, step in enumerate(steps, 1):
        if not isinstance(step, (User, Calls, Result, Says)):
            hint = "; write *steps, one argument each" if isinstance(step, (list, tuple)) else ""
            hint = "; call it" if callable(step) else hint
            said = getattr(step, "__name__", None) or repr(step)
            msg = f"step {number} is {said}; the steps of a conversation are user(), calls(), result(), says(){hint}"
            raise TypeError(msg)
    ids = _ids(steps)
    at, before = 0, None
    while at < len(steps):
        begun = at
        while at < len(steps) and isinstance(steps[at], (User, Result)):
            at += 1
        asked = tuple(_asked(list(enumerate(steps[begun:at], begun + 1)), before, is_open=is_open))
        said = at
        while at < len(steps) and isinstance(steps[at], (Calls, Says)):
            at += 1
        if said == at:
            msg = f"the conversation ends with {steps[-1]!r}; write what the model answers: says(...)"
            raise ScriptError(msg)
        attempts = tuple(_attempts(steps[said:at], ids))
        if at < len(steps) and attempts[-1].fault is not None:
            msg = f"the answer of step {at} breaks; write what the model says when it is asked again: says(...)"
            raise ScriptError(msg)
        before = Turn(asked, attempts, said + 1)
        yield before


def _asked(steps: list[tuple[int, Any]], before: Turn | None, *, is_open: bool) -> Iterator[Asked]:
    """Yield what the app says before an answer: each result with its call, then messages of the user."""
    results = [(number, step) for number, step in steps if isinstance(step, Result)]
    if before is None:
        if results and not is_open:
            msg = f"{results[0][1]!r} has no call before it; begin with user(...), or say what came before: after_tool="
            raise ScriptError(msg)
        if not steps and not is_open:
            msg = "a conversation begins with what the user says: user(...), or user() for anything"
            raise ScriptError(msg)
        yield from (Asked(number, step, at) for at, (number, step) in enumerate(steps))
        return
    if results != steps[: len(results)]:
        msg = f"step {steps[0][0]}, {steps[0][1]!r}: results come before what the user says next; put it behind them"
        raise ScriptError(msg)
    yield from _with_calls(results, before.calls)
    yield from (Asked(number, step) for number, step in steps[len(results) :])


def _with_calls(results: list[tuple[int, Any]], calls: Sequence[ToolCall]) -> Iterator[Asked]:
    """Yield results with the calls that they are of: that of a name, else the first that is left."""
    left = list(range(len(calls)))
    named = {}
    for number, step in results:
        if step.of is not None:
            named[number] = next((at for at in left if calls[at].name == step.of), None)
            if (found := named[number]) is None:
                made = ", ".join(map(shown_call, calls)) or "none"
                msg = f"step {number}, {step!r}: the model calls no {step.of} that has no result yet; it calls {made}"
                raise ScriptError(msg)
            left.remove(found)
    for number, step in results:
        at = named.get(number)
        if at is None:
            if not left:
                msg = f"step {number}, {step!r}: there is no call that it could be the result of; take it away"
                raise ScriptError(msg)
            at = left.pop(0)
        yield Asked(number, step, at)
    if left:
        shown = " and ".join(shown_call(calls[at]) for at in left)
        msg = f"no result of {shown} follows it; write result(...), or result() for anything"
        raise ScriptError(msg)


def _attempts(steps: Sequence[Says | Calls], ids: Iterator[int]) -> Iterator[Script]:
    """Yield the answers that steps of the model are: one, and before it those that break."""
    parts: list[Any] = []
    for step in steps:
        said = [step.call] if isinstance(step, Calls) else step.parts
        parts += [_with_id(part, ids) for part in said]
        if (script := Script(*parts)).fault is not None:
            yield script
            parts = []
    if parts:
        yield Script(*parts)


def _ids(steps: Sequence[Any]) -> Iterator[int]:
    """Yield the numbers of ids that are given here: none that a call of the conversation has by itself."""
    written = {
        part.id
        for step in steps
        for part in ([step.call] if isinstance(step, Calls) else step.parts if isinstance(step, Says) else [])
        if isinstance(part, ToolCall)
    }
    return (number for number in count(1) if f"call_{number}" not in written)


def _with_id(part: Any, ids: Iterator[int]) -> Any:
    is_call = isinstance(part, ToolCall) and part.name is not None and part.id is None
    return replace(part, id=f"call_{next(ids)}") if is_call else part
