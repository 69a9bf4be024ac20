"""The order table: which event may follow what, and why the others are refused.

The theory. A stream of a language model has four states. It has *not begun* while nothing but silence
has come; an HTTP error can only come here, since a status line precedes every byte of a body. It is
*open* while it delivers content: text, reasoning, refusals and tool calls, in any mixture, but the
pieces of one tool call stand together and the calls are numbered 0, 1, 2. It is *finished* once a
finish reason came; what may follow is accounting and silence, or a connection that breaks before the
terminal marker. It has *failed* once a fault struck, and nothing follows a fault. A stream may stop in
any state: what was cut short is a stream too.

`ORDER` says this as a table. The rules are those that 8,000 recorded provider streams keep (tool
indexes never go back, nothing of the answer follows its finish reason on OpenAI, Anthropic blocks do
not interleave). Providers that break them exist; `Script(..., allow_illegal=True)` imitates those.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fakellm.errors import ScriptError
from fakellm.events import (
    EVENT_TYPES,
    Event,
    Finish,
    Pause,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
    disconnect,
    http_error,
    provider_error,
    stall,
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

_CONTENT = (Text, Reasoning, Refusal, ToolCall)

ORDER: dict[str, dict[type[Event], str | Refused]] = {
    "not begun": {
        **dict.fromkeys(_CONTENT, "open"), Usage: "open", Finish: "finished", Pause: "not begun",
        http_error: "failed", provider_error: "failed", disconnect: "failed", stall: "failed",
    },
    "open": {
        **dict.fromkeys(_CONTENT, "open"), Usage: "open", Finish: "finished", Pause: "open",
        http_error: _STATUS_FIRST, provider_error: "failed", disconnect: "failed", stall: "failed",
    },
    "finished": {
        **dict.fromkeys(_CONTENT, _ANSWERED), Usage: "finished", Finish: _FINISHED, Pause: "finished",
        http_error: _STATUS_FIRST, provider_error: "failed", disconnect: "failed", stall: "failed",
    },
    "failed": dict.fromkeys(EVENT_TYPES.values(), _DEAD),
}  # fmt: skip
"""State of the stream -> event -> the state after it, or why it is refused."""


class OrderChecker:
    """Follows a stream event by event and raises `ScriptError` at the first that cannot follow."""

    def __init__(self) -> None:
        self.state = "not begun"
        self.count = 0
        self._index = -1
        self._in_call = False

    def step(self, event: Event) -> None:
        """Take the next event. Raises `ScriptError`, which names its position, the rule and a remedy."""
        verdict = ORDER[self.state][type(event)]
        if isinstance(verdict, str) and isinstance(event, ToolCall):
            verdict = self._tool_call(event) or verdict
        if isinstance(verdict, Refused):
            msg = (
                f"event {self.count}, {event!r}, cannot come here: {verdict.why}.\n"
                f"  to do:     {verdict.remedy}, or give allow_illegal=True to imitate a provider that misbehaves"
            )
            raise ScriptError(msg)
        if isinstance(event, _CONTENT):
            self._in_call = isinstance(event, ToolCall)
        self.state = verdict
        self.count += 1

    def _tool_call(self, piece: ToolCall) -> Refused | None:
        """Return why this piece cannot come now, if so."""
        index = piece.index or 0
        if index == self._index:
            if not self._in_call:
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
        if index != self._index + 1:
            return Refused(
                f"tool calls are numbered 0, 1, 2 and never go back; {self._index + 1} is next",
                f"give it index={self._index + 1}",
            )
        if piece.name is None:
            return Refused(f"the first piece of call {index} needs a name", "give the tool's name")
        self._index = index
        return None


def check_order(events: Iterable[Event]) -> None:
    """Raise `ScriptError` at the first event that cannot follow those before it."""
    checker = OrderChecker()
    for event in events:
        checker.step(event)
