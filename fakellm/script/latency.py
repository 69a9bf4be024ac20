"""Latency as users meet it: how long a model takes for its first token, and for each that follows.

What is drawn for a wait follows from the seed, the number of the call and the place of the wait in it, and from nothing
else. So the waits of call 7 are the same whether calls 1 to 6 were read before it, beside it or not at all, in this
process or in another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from random import Random

from fakellm.errors import ScriptError, clip
from fakellm.script.events import Content, Event, Pause
from fakellm.script.script import Script


@dataclass(frozen=True, slots=True)
class Latency:
    """The pace of a model: silences before and between the pieces of its answers.

    `ttft` are the seconds until the first piece (time to first token), `tps` how many pieces come a second after it, as
    tokens do: a piece is an event of text, reasoning, a refusal or a tool call. None is all at once. `jitter` is by
    which share each silence is longer or shorter at most, 0.1 for a tenth, and `seed` chooses how much each is.
    A finish reason and a usage come right behind the last piece. Raises `ScriptError` for numbers that are no such.
    """

    ttft: float = 0.0
    tps: float | None = None
    jitter: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (_is_number(self.ttft) and 0 <= self.ttft < math.inf):
            raise _wrong("ttft", self.ttft, "the seconds until the first piece, from 0 up")
        if self.tps is not None and not (_is_number(self.tps) and 0 < self.tps < math.inf):
            raise _wrong("tps", self.tps, "how many pieces come a second, above 0, or None for all at once")
        if not (_is_number(self.jitter) and 0 <= self.jitter <= 1):
            raise _wrong("jitter", self.jitter, "a share of each silence, from 0 to 1")
        if type(self.seed) is not int:
            raise _wrong("seed", self.seed, "a whole number")

    def __repr__(self) -> str:
        """Return the latency as one would write it, without defaults."""
        shown = [f"{f.name}={value!r}" for f in fields(self) if (value := getattr(self, f.name)) != f.default]
        return f"Latency({', '.join(shown)})"

    def waits(self, call: int = 1) -> Iterator[float]:
        """Yield the silences of a call by its number, in seconds: until the first piece, then between two, for ever."""
        draw = Random(f"{self.seed}:{call}").uniform  # noqa: S311 - to be drawn again, not to be secret
        gap = 0.0 if self.tps is None else 1 / self.tps
        seconds = self.ttft
        while True:
            yield round(seconds * (1 + draw(-self.jitter, self.jitter)), 9)
            seconds = gap

    def over(self, events: Iterable[Event], call: int = 1) -> Iterator[Event]:
        """Yield the events with the silences of a call in them, beside those that they have."""
        waits = self.waits(call)
        for event in events:
            if isinstance(event, Content) and (seconds := next(waits)):
                yield Pause(seconds)
            yield event

    def paced(self, script: Script, call: int = 1) -> Script:
        """Return the script with the silences of a call in it, for fakes that know no latency of their own."""
        return Script(*self.over(script, call), allow_illegal=script.allow_illegal)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _wrong(name: str, value: object, what: str) -> ScriptError:
    return ScriptError(f"Latency.{name} is {what}, not {clip(repr(value), 40)}")


def checked(latency: Latency | None) -> Latency | None:
    """Return a latency, or None. Raises `TypeError` for anything else."""
    if latency is not None and not isinstance(latency, Latency):
        msg = f"latency is a fakellm.script.Latency, such as Latency(ttft=0.2, tps=50), not {clip(repr(latency), 60)}"
        raise TypeError(msg)
    return latency
