"""Loops: requests that go on with each other, and what they add up to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any

from fakellm.agents import wanted
from fakellm.agents.following import call_of
from fakellm.agents.past import Past, past_of
from fakellm.agents.reading import Step, steps_of
from fakellm.provider.conversation import SYSTEM, TOOL
from fakellm.script.events import ToolCall, Usage
from fakellm.script.messages import Message

Prices = Mapping[str, Sequence[float]]
"""Models by their names, or what these begin with -> the price of a million tokens of prompts, of answers, and, if it
is another, of prompts that came from a cache."""

_MILLION = 1_000_000


class Called(str):  # noqa: SLOT000 - it has the call beside its name
    """A tool that was called: its name, with the call.

    `args` are the arguments, parsed, or the text where it is no JSON; `step` is the number of the request that the call
    answered, `result` what came back, None if nothing did.
    """

    args: Any
    id: str | None
    step: int
    result: str | None

    @classmethod
    def of(cls, call: ToolCall, step: int, result: str | None) -> Called:
        """Return what was called."""
        found = cls(call.name or "")
        args = wanted.json_of(call.arguments) if call.arguments else {}
        found.args = call.arguments if args is wanted.NOT_JSON else args
        found.id, found.step, found.result = call.id, step, result
        return found


@dataclass(frozen=True)
class Loop:
    """Requests each of which goes on with the one before it: one run of an agent.

    `steps` are the requests with what was answered.
    """

    steps: tuple[Step, ...]

    def __len__(self) -> int:
        """Return how often the model was asked."""
        return len(self.steps)

    def calls_of(self, at: int) -> tuple[ToolCall, ...]:
        """Return the calls of a step: what is known of its answer, else what the app sent back of it."""
        step = self.steps[at]
        if not step.is_whole and at + 1 < len(self.steps) and (answers := past_of(self.steps[at + 1].request).answers):
            return tuple(answers[-1].calls)
        return step.calls

    @property
    def tools_called(self) -> list[Called]:
        """The tools that were called, in their order."""
        return [one for at in range(len(self.steps)) for one in self.called_at(at)]

    def called_at(self, at: int) -> Iterator[Called]:
        """Yield what the answer of a step called."""
        calls = self.calls_of(at)
        results = self._results(at, calls)
        for place, call in enumerate(calls):
            yield Called.of(call, self.steps[at].number, results.get(place))

    def _results(self, at: int, calls: Sequence[ToolCall]) -> dict[int, str]:
        """Return the results that the next request brings, by the place of the call."""
        if at + 1 >= len(self.steps):
            return {}
        past, found = past_of(self.steps[at + 1].request), dict[int, str]()
        seen = [call.id for call in past.answers[-1].calls] if past.answers else []
        for message in past.sent[-1]:
            if message.role in TOOL and (place := call_of(message, calls, seen, found)) is not None:
                found.setdefault(place, message.content)
        return found

    @property
    def usage(self) -> Usage:
        """The tokens of all prompts and of all answers, as the answers report them; fakes count words by themselves."""
        used = [step.usage for step in self.steps]
        return Usage(
            sum(one.input_tokens for one in used),
            sum(one.output_tokens for one in used),
            sum(one.cached_tokens or 0 for one in used),
            sum(one.reasoning_tokens or 0 for one in used),
        )

    @property
    def prompts(self) -> list[int]:
        """The tokens of each prompt, in their order."""
        return [step.usage.input_tokens for step in self.steps]

    def cost(self, prices: Prices) -> float:
        """Return what it costs, by the price of a million tokens of each model. Raises `ValueError` without one."""
        return sum(_cost(step, prices) for step in self.steps)


def _priced(name: str, prices: Prices) -> Sequence[float]:
    found: Sequence[Any] = prices[name]
    is_list = isinstance(found, Sequence) and not isinstance(found, str) and len(found) in (2, 3)
    if not is_list or not all(isinstance(one, Number) for one in found):
        msg = f"the price of {name!r} is two numbers, or three, of a million tokens: (1.25, 10.0), not {found!r}"
        raise ValueError(msg)
    return found


def _cost(step: Step, prices: Prices) -> float:
    model, used = step.request.model, step.usage
    names = [name for name in prices if model.startswith(name)]
    if not names:
        msg = f"the prices have no model {model!r}; they have {', '.join(prices) or 'none'}; add it"
        raise ValueError(msg)
    asked, said, *more = _priced(max(names, key=len), prices)
    cached = used.cached_tokens or 0
    read = (used.input_tokens - cached) * asked + cached * (more[0] if more else asked)
    return float(read + used.output_tokens * said) / _MILLION


def tools_called(source: Any) -> list[Called]:
    """Return the names of the tools that were called, in the order of the answers: `tools_called(fake) == ["weather"]`.

    The source is a fake, a server, a session of one, a tape or its path, a conversation as it is written, or calls;
    each name has the call's arguments and its result. Raises `TypeError` for anything else.
    """
    loops = loops_of(source)
    found = [(step.number, at, loop) for loop in loops for at, step in enumerate(loop.steps)]
    return [one for _, at, loop in sorted(found, key=lambda row: row[0]) for one in loop.called_at(at)]


def loops_of(source: Any) -> list[Loop]:
    """Return the loops of a source, in the order in which they began: requests that go on with each other.

    The source is as for `tools_called`. A request goes on with one if it holds all messages of it, or names its answer.
    """
    loops: list[list[Step]] = []
    for step in steps_of(source):
        past = past_of(step.request)
        before = [loop for loop in loops if _goes_on(loop, step, past)]
        if before:
            max(before, key=lambda loop: len(loop[-1].request.messages)).append(step)
        else:
            loops.append([step])
    return [Loop(tuple(loop)) for loop in loops]


def _goes_on(loop: Sequence[Step], step: Step, past: Past) -> bool:
    if past.goes_on:
        name, number = past.goes_on.encode(), past.number
        if past.may_begin and any(past_of(one.request).goes_on == past.goes_on for one in loop):
            return True
        return any(name in one.body or (one.seed is not None and one.seed == number) for one in loop)
    before, now = messages_of(loop[-1].request.messages), messages_of(step.request.messages)
    return len(before) < len(now) and [_key(one) for one in before] == [_key(one) for one in now[: len(before)]]


def messages_of(messages: Iterable[Message]) -> list[Message]:
    """Return messages without those of the system, which apps write anew."""
    return [message for message in messages if message.role not in SYSTEM]


def _key(message: Message) -> tuple[Any, ...]:
    return message.role, message.content, tuple(call.name for call in message.tool_calls)
