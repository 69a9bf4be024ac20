"""Words a conversation as a dialogue: what came so far, where it stopped, and what was to come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from fakellm.agents.following import Followed, Stray
from fakellm.agents.past import Past
from fakellm.agents.steps import Says, shown_call
from fakellm.agents.turns import Plan, Turn
from fakellm.errors import clip
from fakellm.provider.conversation import TOOL
from fakellm.script.script import Script

_LONG = 160
_LATER = 4
"""Steps that were to come of which so many are shown."""
_MOST = 16
"""Lines of a dialogue that are shown, its beginning and its end."""


def rows_of(
    conversation: Plan, turns: Sequence[Turn], past: Past, start: int, followed: Followed, stray: Stray
) -> list[tuple[str, str]]:
    """Return labelled rows: the place of the conversation, it so far, what was expected and came, what was to come."""
    if past.goes_on or conversation.trimmed:
        start = len(past.answers) - followed.turn
    so_far = list(_so_far(turns, past, start, followed))
    later = list(enumerate(conversation.steps, 1))[stray.step : stray.step + _LATER]
    more = len(conversation.steps) - stray.step - len(later)
    to_come = [*(f"{number}  {one!r}" for number, one in later), *([f"and {more} more"] if more > 0 else [])]
    step, came = f"step {stray.step}:", stray.came.replace("\n", "\n" + " " * 9)
    return [
        ("scripted:", f"a conversation at {conversation.place}" if conversation.place else "a conversation"),
        ("so far:", "\n".join(_clipped(so_far)) or "nothing"),
        (step, f"expected {stray.expected}\ncame     {came}"),
        *([("to come:", "\n".join(to_come))] if to_come else []),
    ]


def _so_far(turns: Sequence[Turn], past: Past, start: int, followed: Followed) -> Iterator[str]:
    if past.goes_on:
        yield f"... what the provider keeps, up to {past.goes_on}"
    elif start < 0:
        yield "... what the app left out"
    elif start:
        yield f"... {start} answer{'' if start == 1 else 's'} of the model before"
    for at in range(max(-start, 0), followed.turn + 1):
        if start + at < len(past.sent):
            yield from _sent(past, start + at)
        if at < min(followed.turn, len(turns)):
            yield _answer(turns[at].answer)
    later = past.answers[start + followed.turn : start + followed.turn + 1]
    for answer in later:  # which the app changed
        said = [clip(answer.text, _LONG)] if answer.text else []
        yield _line("model", ", ".join([*said, *(f"calls {shown_call(call)}" for call in answer.calls)]))


def _sent(past: Past, at: int) -> Iterator[str]:
    for message in past.sent[at]:
        yield _line("tool" if message.role in TOOL else message.role, clip(message.content, _LONG))


def _answer(script: Script) -> str:
    said = [clip(script.text, _LONG)] if script.text else []
    said += [f"calls {shown_call(call)}" + (f" [{call.id}]" if call.id else "") for call in script.tool_calls]
    return _line("model", ", ".join(said) or repr(script))


def _line(who: str, text: str) -> str:
    return f"{who + ':':<7}{' '.join(text.split())}"


def _clipped(lines: list[str]) -> list[str]:
    if len(lines) <= _MOST:
        return lines
    return [*lines[:2], f"... {len(lines) - _MOST + 1} lines ...", *lines[3 - _MOST :]]


def stopped(
    conversation: Plan, turns: Sequence[Turn], at: int, used: Callable[[int], str], again: Sequence[str] = ()
) -> str:
    """Word that nobody came for the answer of a turn: the steps, with which requests had the answers before.

    `again` are the uses of attempts at it, after which nobody asked again.
    """
    turn = turns[at]
    number = turn.asked[0].number if turn.asked else turn.number
    total = len(conversation.steps)
    answered = {one.number: used(place) for place, one in enumerate(turns[:at])}
    if again:
        begun = _attempts(conversation, turn)
        answered |= dict(zip(begun, again, strict=False))
        number = begun[len(again)]
        headline = f"a conversation at {conversation.place} stopped before step {number} of {total}: nobody asked again"
    elif not at:
        headline = f"a conversation at {conversation.place} never began"
    else:
        headline = f"a conversation at {conversation.place} stopped before step {number} of {total}"
    lines = [headline]
    for place, step in enumerate(conversation.steps, 1):
        mark = ">" if place == number else " "
        said = f"  [{answered[place]}]" if answered.get(place) else "  [never came]" if place == number else ""
        lines.append(f"{mark} {place}  {step!r}{said}")
    return "\n".join(lines)


def _attempts(conversation: Plan, turn: Turn) -> list[int]:
    """Return the numbers of the steps with which the attempts at an answer begin."""
    found = [turn.number]
    for number, step in enumerate(conversation.steps[turn.number - 1 :], turn.number):
        if len(found) == len(turn.attempts):
            break
        if isinstance(step, Says) and Script(*step.parts).fault is not None:
            found.append(number + 1)
    return found
