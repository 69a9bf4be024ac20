"""How far a request follows a conversation, and where it leaves it.

A request holds what came before it, so it is laid beside the conversation from the beginning: what the app sent before
the first answer beside what it was to say, the answer that it sends back beside the one that was scripted, and so on.
Where both end at once, before an answer, that answer is due. The first thing that differs is where it stopped
happening. No counter is kept, so it does not matter how many conversations go on at once, nor in what order.

Results find their calls by ids where the API has some, whether those that were scripted or those that the app made up
and sends with both; by the name of the tool where it has none, and, of calls of one tool, in their order.

Where a provider keeps what came before (`previous_response_id`), or the app trims it, a request holds the end alone,
and that is compared.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from fakellm.agents import wanted
from fakellm.agents.past import Answer, Past
from fakellm.agents.steps import Result, User, shown_call
from fakellm.agents.turns import Asked, Turn
from fakellm.errors import clip
from fakellm.provider.conversation import TOOL
from fakellm.script.events import Native, ToolCall
from fakellm.script.messages import Message
from fakellm.wire.schemas import same

_LONG = 300


@dataclass(frozen=True, slots=True)
class Stray:
    """Where a request leaves a conversation: at which step, what is wrong, what was expected there, and what came."""

    step: int
    what: str
    expected: str
    came: str


@dataclass(frozen=True, slots=True)
class Followed:
    """How far a request follows: `shared` answers were the conversation's, and `turn` is asked for unless it strays.

    `is_exact` tells that what the user said is, to the letter, what was to be said.
    """

    turn: int
    shared: int
    stray: Stray | None = None
    is_exact: bool = False

    @property
    def depth(self) -> tuple[int, int]:
        """How near it is to the conversation; of several the greatest is the one that was meant."""
        return self.shared, self.stray.step if self.stray is not None else 1 << 30


def follow(turns: Sequence[Turn], past: Past, *, start: int = 0, wraps: bool = False) -> Followed:
    """Lay a request that holds all that came before beside a conversation that begins with the answer `start`.

    `wraps` tells that the API has results as objects.
    """
    is_exact = True
    for at, turn in enumerate(turns):
        sent = past.sent[start + at]
        seen = past.answers[start + at - 1].calls if start + at else []
        calls = turns[at - 1].calls if at else seen
        is_last = start + at == len(past.answers)
        if is_last and at and not sent:
            return Followed(at, at, _nothing_came(turn, calls))
        if (stray := _strays(turn.asked, calls, sent, [call.id for call in seen], wraps=wraps)) is not None:
            return Followed(at, at, stray)
        is_exact = is_exact and _is_exact(turn.asked, sent)
        if is_last:
            return Followed(at, at, is_exact=is_exact)
        back = past.answers[start + at]
        if (stray := _changes(turn, back)) is not None:
            ends = start + at == len(past.answers) - 1 and not past.sent[-1] and not back.calls
            # What the model is to go on with, as with a prefill of Anthropic's, is no answer.
            return Followed(at, at, None if ends else stray, is_exact=is_exact)
    return Followed(len(turns), len(turns), _too_much(turns, past.sent[start + len(turns)]))


def follow_end(turns: Sequence[Turn], past: Past, at: int, *, wraps: bool = False) -> Followed:
    """Lay a request that holds no more than the end of what came before beside the conversation up to a turn.

    What is oldest in it may be cut off anywhere, so that is compared only where it is new, or the beginning.
    """
    if len(past.answers) > at:
        return Followed(at, 0, _too_much(turns[: at + 1], past.sent[-1]))
    is_exact = True
    for back in range(len(past.answers), -1, -1):
        turn, place = turns[at - back], len(past.answers) - back
        seen = past.answers[place - 1].calls if place else []
        calls = turns[at - back - 1].calls if at > back else ()
        if not back or place or at == back:
            stray = _strays(turn.asked, calls, past.sent[place], [call.id for call in seen], wraps=wraps)
            if stray is not None:
                return Followed(at, place, stray)
            is_exact = is_exact and _is_exact(turn.asked, past.sent[place])
        if back and (stray := _changes(turn, past.answers[place])) is not None:
            return Followed(at, place, stray)
    return Followed(at, len(past.answers), is_exact=is_exact)


def follow_beyond(turns: Sequence[Turn], past: Past) -> Followed:
    """Return how a request that holds the end alone goes on after the last answer."""
    return Followed(len(turns), max(len(past.answers), 1), _too_much(turns, past.sent[-1]))


def is_of(turn: Turn, answer: Answer) -> bool:
    """Tell whether an answer that the app sends back is that of a turn."""
    return _changes(turn, answer) is None


# -- what the app sends ----------------------------------------------------------------------------


def _strays(
    asked: Sequence[Asked],
    calls: Sequence[ToolCall],
    sent: Sequence[Message],
    seen: Sequence[str | None],
    *,
    wraps: bool,
) -> Stray | None:
    """Return what is wrong with what the app sent before an answer; `seen` are the ids that it sends with the calls."""
    results = [message for message in sent if message.role in TOOL]
    said = [message.content for message in sent if message.role not in TOOL]
    first = asked[0].number if asked else 1
    brought: dict[int, str] = {}
    for message in results:
        at = call_of(message, calls, seen, brought)
        expected = _expected(asked, calls)
        if at is None:
            name = f" {message.tool_call_id}" if message.tool_call_id else ""
            what = "a result came for a call that was not made" if calls else "a result came, and no tool was called"
            return Stray(first, what, expected, f"a result{' of' if name else ''}{name}: {_said(message.content)}")
        if at in brought:
            what = "two results came for one call"
            return Stray(first, what, expected, f"once more of {_named(calls[at])}: {_said(message.content)}")
        brought[at] = message.content
    texts = [_said(text) for text in said]
    for one in asked:
        if not isinstance(one.step, Result):
            continue
        if one.call not in brought:
            others = [f"the result of {_named(calls[at])}" for at in brought if at < len(calls)]
            what = "a text came where a result is due" if texts and not others else "a result is missing"
            came = ", ".join([*others, *(f"a message of the user: {text}" for text in texts)]) or "nothing"
            return Stray(one.number, what, _result(one, calls), came)
        if not wanted.brings(one.step.wanted, brought[one.call], is_wrapped=wraps):
            return Stray(one.number, "another result came", _result(one, calls), _said(brought[one.call]))
    return _strays_saying(asked, said, first)


def _strays_saying(asked: Sequence[Asked], said: list[str], first: int) -> Stray | None:
    """Return what is wrong with what the user says."""
    users = [one for one in asked if isinstance(one.step, User)]
    if not users:
        number = asked[-1].number if asked else first
        texts = ", ".join(map(_said, said))
        return Stray(number, "a message of the user came", "no message of the user", texts) if any(said) else None
    if len(users) == 1 and len(said) > 1:  # one that is written as several
        whole = "\n".join(said)
        said = [next((text for text in [*said, whole] if wanted.heard(users[0].step.wanted, text)), whole)]
    for one, text in zip(users, said, strict=False):
        if not wanted.heard(one.step.wanted, text):
            return Stray(one.number, "the user said something else", _user(one), _said(text))
    if len(said) < len(users):
        one = users[len(said)]
        return Stray(one.number, "a message of the user is missing", _user(one), "nothing")
    more = ", ".join(map(_said, said[len(users) :]))
    return Stray(users[-1].number, "more messages of the user came", _user(users[-1]), f"{more} too") if more else None


def call_of(
    message: Message, calls: Sequence[ToolCall], seen: Sequence[str | None], brought: Collection[int]
) -> int | None:
    """Return which call a result is of: that of its id, else of its name, else the next."""
    of = message.tool_call_id
    if of:
        for ids in (seen, [call.id for call in calls]):
            for at, id in enumerate(ids[: len(calls)]):  # noqa: A001 - as APIs name it
                if id == of:
                    return at
        named = [at for at, call in enumerate(calls) if call.name == of]
        return next((at for at in named if at not in brought), named[-1] if named else None)
    return next((at for at in range(len(calls)) if at not in brought), None)


def _is_exact(asked: Sequence[Asked], sent: Sequence[Message]) -> bool:
    texts = [one.step.wanted for one in asked if isinstance(one.step, User) and isinstance(one.step.wanted, str)]
    said = [message.content for message in sent if message.role not in TOOL]
    return not texts or texts == said


# -- what the app sends back -----------------------------------------------------------------------


def _changes(turn: Turn, answer: Answer) -> Stray | None:
    """Return how an answer that the app sends back is not the one that the model gave."""
    script, calls = turn.answer.choice(0), turn.calls
    what = "the app sends back another answer than the model gave"
    expected = _given(turn)
    if len(answer.calls) != len(calls):
        shown = ", ".join(map(_named, answer.calls)) or (_said(answer.text) if answer.text else "no call")
        return Stray(turn.number, what, expected, shown)
    for call, sent in zip(calls, answer.calls, strict=True):
        is_same = call.name == sent.name and _same_arguments(call.arguments, sent.arguments)
        has_ids = call.id != f"call_{call.index}" and call.id is not None
        if not is_same or (has_ids and sent.id and sent.id != call.id):
            return Stray(turn.number, what, expected, _named(sent))
    is_free = bool(calls) or script.refusal or any(isinstance(event, Native) for event in script)
    if not is_free and answer.text.strip() != script.text.strip():
        return Stray(turn.number, what, expected, _said(answer.text))
    return None


def _same_arguments(one: str, other: str) -> bool:
    """Tell whether arguments are the same; those that are no JSON object have no form in some APIs."""
    values: list[Any] = [wanted.json_of(text) if text else {} for text in (one, other)]
    return one == other or not isinstance(values[0], dict) or same(*values)


# -- words -----------------------------------------------------------------------------------------


def _nothing_came(turn: Turn, calls: Sequence[ToolCall]) -> Stray:
    if not turn.asked:
        return Stray(turn.number, "the model is asked again", "nothing", "nothing new")
    one = turn.asked[0]
    if isinstance(one.step, Result):
        return Stray(one.number, "a result is missing", _result(one, calls), "nothing after the call")
    return Stray(one.number, "a message of the user is missing", _user(one), "nothing after the answer")


def _too_much(turns: Sequence[Turn], sent: Sequence[Message]) -> Stray:
    texts = ", ".join(f"{message.role}: {_said(message.content)}" for message in sent) or "the same again"
    last = turns[-1].number + len(turns[-1].attempts)
    return Stray(last, "the app goes on after the end", "nothing: the conversation is over", texts)


def _expected(asked: Sequence[Asked], calls: Sequence[ToolCall]) -> str:
    words = [_result(one, calls) if isinstance(one.step, Result) else _user(one) for one in asked]
    return ", ".join(words) or "nothing"


def _result(one: Asked, calls: Sequence[ToolCall]) -> str:
    of = f" of {_named(calls[one.call])}" if one.call < len(calls) else ""
    return f"the result{of}: {wanted.worded(one.step.wanted)}"


def _user(one: Asked) -> str:
    return f"a message of the user: {wanted.worded(one.step.wanted)}"


def _given(turn: Turn) -> str:
    return ", ".join(map(_named, turn.calls)) or _said(turn.answer.text)


def _named(call: ToolCall) -> str:
    """Show a call with its id, where that is not its number alone."""
    return f"{shown_call(call)} [{call.id}]" if call.id else shown_call(call)


def _said(text: str) -> str:
    return clip(repr(text), _LONG)
