"""What an app did in a trouble: when it asked, how it ended, what it delivered; and moments, worded."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from fakellm.clock.blocked import VirtualDeadlockError, WatchdogError
from fakellm.contracts.attempts import Attempt, HangError
from fakellm.contracts.retries.reasons import chain
from fakellm.contracts.retries.troubles import Trouble
from fakellm.errors import clip


@dataclass
class Ask:
    """One request: when it was made and when its answer was over.

    `told` are the seconds that the answer tells the app to wait; as many as `slack` fewer count as enough.
    """

    at: float
    credentials: tuple[str | None, ...]
    told: float | None = None
    slack: float = 0.0
    over: float | None = None

    @property
    def ended(self) -> float:
        """When its answer was over, or the request was given up."""
        return self.at if self.over is None else self.over


@dataclass
class Run:
    """What an app did in a trouble. `text` is what it delivered, where that can be read."""

    trouble: Trouble | None
    asks: list[Ask] = field(default_factory=list)
    found: Attempt = field(default_factory=Attempt)
    text: Any = None
    ended: float = 0.0
    ran_away: bool = False
    waits_for_ever: bool = False
    streams: bool = False

    @property
    def waits(self) -> list[float]:
        """Seconds from each ask to the next: what refuses does so at once."""
        return [round(later.at - ask.at, 6) for ask, later in pairwise(self.asks)]

    @property
    def hangs(self) -> bool:
        """Whether it waits for what never comes."""
        kinds = (HangError, VirtualDeadlockError, WatchdogError)
        return self.waits_for_ever or any(isinstance(error, kinds) for error in chain(self.found.error))

    @property
    def asked(self) -> str:
        """When it asked, in words."""
        return moments([ask.at for ask in self.asks])

    @property
    def end(self) -> str:
        """How it ended, in words."""
        if self.ran_away:
            return "went on"
        if self.waits_for_ever or isinstance(self.found.error, (HangError, VirtualDeadlockError)):
            return "waits for ever"
        if self.found.error is not None:
            return f"raised {type(self.found.error).__name__} at {seconds(self.ended)} s"
        return f"returned {clip(repr(self.text), 60)} at {seconds(self.ended)} s"


def seconds(at: float) -> str:
    """Word a moment: `0`, `7.0`, `0.375`."""
    at = round(at, 3)
    return "0" if not at else f"{at:.1f}" if at == round(at, 1) else f"{at:g}" if at < 1000 else f"{at:.3f}"  # noqa: PLR2004


def moments(times: list[float]) -> str:
    """Word moments; the middle of many is left out."""
    words = [seconds(at) for at in times]
    most = 8
    shown = words if len(words) <= most else [*words[:5], "...", *words[-2:]]
    return f"{', '.join(shown)} s" + (f" ({len(words)} asks)" if len(words) > most else "")
