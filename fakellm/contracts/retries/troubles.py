"""What a provider does to an app that asks it: the troubles that an app meets, each as the answers to its asks in turn.

Those that end are followed by the whole answer; of the others the last answer comes again for ever. A trouble is known
by its name, which a failure prints and `only=` takes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate

from fakellm.errors import ContractUsageError
from fakellm.script.events import Event, disconnect, http_error, stall

FIRST = "the first chunk"
"""Stands for what an answer says before it breaks: the beginning of what it would have said."""
_DATE, _COARSE = 30, 2


@dataclass(frozen=True)
class Answer:
    """What the provider does to one ask. `told` are the seconds that the app has to wait, as a date if `coarse`."""

    events: tuple[Event | str, ...]
    told: float | None = None
    coarse: bool = False

    @property
    def slack(self) -> float:
        """How many seconds too early are in time: a date is a whole second (RFC 9110, 5.6.7), and clocks differ."""
        return _COARSE if self.coarse else 0

    def headers(self) -> Mapping[str, str]:
        """Return the headers that tell the app when to ask again, where the event does not."""
        if self.told is None or getattr(self.events[0], "retry_after", None) is not None:
            return {}
        if self.coarse:
            return {"retry-after": formatdate(math.ceil(time.time() + self.told), usegmt=True)}
        return {"retry-after-ms": f"{1000 * self.told:g}"}


@dataclass(frozen=True)
class Trouble:
    """A trouble of a kind: `told`, `told_ms`, `refused`, `final`, `cut`, `once` or `silent`.

    `status` is what the provider answers, None where the connection fails.
    """

    name: str
    kind: str
    answers: tuple[Answer, ...]
    ends: bool = False

    @property
    def status(self) -> int | None:
        """The HTTP status that the app is refused with."""
        status: int | None = getattr(self.answers[0].events[0], "status", None)
        return status

    @property
    def is_told(self) -> bool:
        """Whether the app is told when to ask again."""
        return self.answers[0].told is not None

    def answer(self, number: int) -> Answer | None:
        """Return the answer to an ask, from 0 on; None is the whole answer."""
        if number < len(self.answers):
            return self.answers[number]
        return None if self.ends else self.answers[-1]


def _told(status: int, *seconds: float) -> tuple[Answer, ...]:
    return tuple(Answer((http_error(status, retry_after=told),), told) for told in seconds)


def _for_ever(name: str, kind: str, *events: Event | str) -> Trouble:
    return Trouble(f"{name}, for ever", kind, (Answer(events),))


_WAYS = (
    ("reset", disconnect("reset")),
    ("closed", disconnect("close")),
    ("ended in good order", disconnect("end")),
    ("ended inside an event", disconnect("cut")),
)
TROUBLES = (
    Trouble("429, Retry-After: 7, then 14", "told", _told(429, 7, 14), ends=True),
    Trouble("503, Retry-After: 7", "told", _told(503, 7), ends=True),
    Trouble("429, Retry-After: 180", "told", _told(429, 180), ends=True),
    Trouble("429, Retry-After: a date", "told", (Answer((http_error(429),), _DATE, coarse=True),), ends=True),
    Trouble("429, retry-after-ms: 2500", "told_ms", (Answer((http_error(429),), 2.5),), ends=True),
    Trouble("429, Retry-After: 7, for ever", "refused", _told(429, 7)),
    *(_for_ever(str(status), "refused", http_error(status)) for status in (429, 500, 503, 529, 408)),
    _for_ever("connection refused", "refused", disconnect("refused")),
    _for_ever("closed without an answer", "refused", disconnect("no_response")),
    _for_ever("reset before the first chunk", "refused", disconnect("reset")),
    *(_for_ever(str(status), "final", http_error(status)) for status in (400, 401)),
    *(
        Trouble(f"{words} after the first chunk, once", "once", (Answer((FIRST, way)),), ends=True)
        for words, way in _WAYS
    ),
    *(_for_ever(f"{words} after the first chunk", "cut", FIRST, way) for words, way in _WAYS),
    _for_ever("silence before the headers", "silent", stall("headers")),
    _for_ever("silence after the first chunk", "silent", FIRST, stall()),
)
"""Every trouble, in the order in which they are met."""


def of(*kinds: str) -> list[Trouble]:
    """Return the troubles of these kinds."""
    return [trouble for trouble in TROUBLES if trouble.kind in kinds]


def chosen(only: str | None) -> frozenset[str]:
    """Return the names of the troubles that are met: all, or the one that is named. Raises `ContractUsageError`."""
    names = [trouble.name for trouble in TROUBLES]
    if only is None:
        return frozenset(names)
    if only not in names:
        from difflib import get_close_matches

        begun = [name for name in names if name.startswith(str(only))]
        near = begun or get_close_matches(str(only), names, n=3) or names
        msg = f"there is no trouble {only!r}; did you mean {' or '.join(map(repr, near))}?"
        raise ContractUsageError(msg)
    return frozenset([only])
