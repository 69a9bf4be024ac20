"""The order table: which event may follow what, and why the others are refused.

The theory. A stream of a language model has four states. It has *not begun* while nothing but silence
has come; an HTTP error can only come here, since a status line precedes every byte of a body. It is
*open* while it delivers content: text, reasoning, refusals and tool calls, in any mixture, but the
pieces of one tool call stand together and the calls are numbered 0, 1, 2. It is *finished* once a
finish reason came; what may follow is accounting and silence, or a connection that breaks before the
terminal marker. It has *failed* once a fault struck, and nothing follows a fault. A stream may stop in
any state: what was cut short is a stream too.

Where one request has several answers (`choice`), each goes through these states by itself; what belongs to
none of them (usage, silence, faults) sees a stream that has begun once one has, and is finished once all that
began are. Faults that keep the answer from beginning come first, as an HTTP error does. Raw bytes come anywhere.

`ORDER` says this as a table. The rules are those that 8,000 recorded provider streams keep (tool
indexes never go back, nothing of the answer follows its finish reason on OpenAI, Anthropic blocks do
not interleave). Providers that break them exist; `Script(..., allow_illegal=True)` imitates those.

Why a table, and here alone. A script is checked when it is made, what a function says when it says it, what a decoder
read when it is read, and all by this table: two places that each knew half of the rules would come to differ. So what
reaches a codec out of order was asked for, and it writes that as well as its API can, without errors of its own. An
entry that refuses has its reason and its remedy beside it, since whoever meets it made a slip in a test. No rule asks
for an end: half a stream is what tests of errors are about.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass

from fakellm.errors import ScriptError
from fakellm.script.events import (
    EVENT_TYPES,
    Content,
    Event,
    Finish,
    Native,
    Pause,
    Raw,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
    choice_of,
    disconnect,
    http_error,
    provider_error,
    stall,
    strikes_first,
)


@dataclass(frozen=True, slots=True)
class Refused:
    """An entry of the order table: why an event cannot come now, and what to write instead."""

    why: str
    remedy: str


_STATUS_FIRST = Refused(
    "an HTTP status comes before the first byte of a stream",
    "use provider_error() for an error inside the stream, or put http_error() first",
)
_ANSWERED = Refused("nothing of the answer comes after its finish reason", "put it before the Finish event")
_FINISHED = Refused("an answer finishes once", "leave the second Finish out")
_DEAD = Refused("nothing comes after a fault, which ends the stream", "put it before the fault")

_CONTENT = (Text, Reasoning, Refusal, ToolCall, Native)
_EARLY = Refused("it keeps the answer from beginning, and the answer has begun", "put it first")

ORDER: dict[str, dict[type[Event], str | Refused]] = {
    "not begun": {
        **dict.fromkeys(_CONTENT, "open"), Usage: "open", Finish: "finished", Pause: "not begun", Raw: "open",
        http_error: "failed", provider_error: "failed", disconnect: "failed", stall: "failed",
    },
    "open": {
        **dict.fromkeys(_CONTENT, "open"), Usage: "open", Finish: "finished", Pause: "open", Raw: "open",
        http_error: _STATUS_FIRST, provider_error: "failed", disconnect: "failed", stall: "failed",
    },
    "finished": {
        **dict.fromkeys(_CONTENT, _ANSWERED), Usage: "finished", Finish: _FINISHED, Pause: "finished", Raw: "finished",
        http_error: _STATUS_FIRST, provider_error: "failed", disconnect: "failed", stall: "failed",
    },
    "failed": dict.fromkeys(EVENT_TYPES.values(), _DEAD),
}  # fmt: skip
"""State of the stream -> event -> the state after it, or why it is refused."""


class _Answer:
    """How far one answer is."""

    def __init__(self) -> None:
        self.state = "not begun"
        self.index = -1
        self.in_call = False


class OrderChecker:
    """Follows a stream event by event and raises `ScriptError` at the first that cannot follow."""

    def __init__(self) -> None:
        self.count = 0
        self._state = "not begun"
        self._answers: dict[int, _Answer] = {}

    def __copy__(self) -> OrderChecker:
        """Return a checker that goes on from here by itself."""
        other = OrderChecker()
        other.count, other._state = self.count, self._state
        other._answers = {choice: copy(answer) for choice, answer in self._answers.items()}
        return other

    @property
    def state(self) -> str:
        """The state of the whole stream."""
        states = {answer.state for answer in self._answers.values()}
        if self._state == "failed" or not states:
            return self._state
        return "finished" if states == {"finished"} else "open"

    def step(self, event: Event) -> None:
        """Take the next event. Raises `ScriptError`, which names its position, the rule and a remedy."""
        answer = None
        if isinstance(event, (Content, Finish)):
            answer = self._answers.setdefault(choice_of(event), _Answer())
        state = self._state if self._state == "failed" else answer.state if answer else self.state
        verdict = ORDER[state][type(event)]
        if isinstance(verdict, str) and state != "not begun" and strikes_first(event):
            verdict = _EARLY
        if isinstance(verdict, str) and isinstance(event, ToolCall) and answer:
            verdict = self._tool_call(event, answer) or verdict
        if isinstance(verdict, Refused):
            msg = (
                f"event {self.count}, {event!r}, cannot come here: {verdict.why}.\n"
                f"  to do:     {verdict.remedy}, or give allow_illegal=True to imitate a provider that misbehaves"
            )
            raise ScriptError(msg)
        if isinstance(event, Content) and answer:
            answer.in_call = isinstance(event, ToolCall)
        if answer:
            answer.state = verdict
        else:
            self._state = verdict
        self.count += 1

    def _tool_call(self, piece: ToolCall, answer: _Answer) -> Refused | None:
        """Return why this piece cannot come now, if so."""
        index = piece.index or 0
        if index == answer.index:
            if not answer.in_call:
                return Refused(
                    f"the pieces of one tool call stand together, and call {index} was left already",
                    "move the pieces side by side",
                )
            if piece.name is not None:
                return Refused(
                    f"only the first piece of call {index} has a name",
                    f"give the next call index={index + 1}, or leave the name out",
                )
            return None
        if index != answer.index + 1:
            return Refused(
                f"tool calls are numbered 0, 1, 2 and never go back; {answer.index + 1} is next",
                f"give it index={answer.index + 1}",
            )
        if piece.name is None:
            return Refused(f"the first piece of call {index} needs a name", "give the tool's name")
        answer.index = index
        return None


def check_order(events: Iterable[Event]) -> None:
    """Raise `ScriptError` at the first event that cannot follow those before it."""
    checker = OrderChecker()
    for event in events:
        checker.step(event)
