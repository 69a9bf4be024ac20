"""What a server saw, as numbers and words that can be handed on, added up over processes, and judged.

A request without a reply is one wherever it came. A reply counts as never asked for if no process gave it: each has
the same replies, so what is left is what all of them have left, of those too that are gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fakellm.server.judging import is_probe
from fakellm.server.server import Server

_SHOWN = 20
"""How many misses are worded in full; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How many requests there were, those that found no reply (the first of them worded), and the replies left."""

    calls: int = 0
    missed: int = 0
    misses: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    @classmethod
    def at(cls, server: Server) -> Seen:
        """Return what all sessions of a server have seen, those that are gone among them."""
        sessions, gone = server.sessions, server.sessions.gone
        calls, missed, unused = gone.calls, gone.misses.total, list(gone.unused)
        worded = list(map(str, gone.misses[:_SHOWN]))
        for session in sessions:
            calls += session.log.total
            misses = [miss for miss in session.misses if not is_probe(miss)]
            missed += len(misses) + session.misses_gone
            worded += map(str, misses[: _SHOWN - len(worded)])
            unused += [f"{provider.name}: {route}" for provider, route in sessions.unused(session)]
        return cls(calls, missed, tuple(worded), tuple(unused))

    @classmethod
    def together(cls, all_seen: Iterable[Seen]) -> Seen:
        """Return what several processes saw that serve the same."""
        all_seen = list(all_seen)
        left: Counter[str] | None = None
        for seen in all_seen:
            left = Counter(seen.unused) if left is None else left & Counter(seen.unused)
        misses = [miss for seen in all_seen for miss in seen.misses]
        return cls(
            sum(seen.calls for seen in all_seen),
            sum(seen.missed for seen in all_seen),
            tuple(misses[:_SHOWN]),
            tuple((left or Counter()).elements()),
        )

    @property
    def is_clean(self) -> bool:
        """Whether every request found a reply, and every reply was asked for."""
        return not self.missed and not self.unused

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can say it."""
        return {"calls": self.calls, "missed": self.missed, "misses": [*self.misses], "unused": [*self.unused]}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Seen:
        """Return what `plain` returned the form of."""
        return cls(plain["calls"], plain["missed"], tuple(plain["misses"]), tuple(plain["unused"]))

    def worded(self) -> str:
        """Word what is not as it should be."""
        found = []
        if self.missed:
            found.append(f"{self.missed} of {self.calls} requests found no reply:")
            found += [f"- {miss.replace(chr(10), chr(10) + '  ')}" for miss in self.misses]
            if self.missed > len(self.misses):
                found.append(f"- and {self.missed - len(self.misses)} more")
        if self.unused:
            count = len(self.unused)
            found.append(f"{count} {'reply was' if count == 1 else 'replies were'} never asked for:")
            found += [f"- {text}" for text in self.unused]
            if self._is_told_to_all:
                found.append("  to do: name those that the app asks (providers:); what all are told is for each")
        return "\n".join(found)

    @property
    def _is_told_to_all(self) -> bool:
        """Whether several providers have the same left."""
        told = Counter(reply for _, _, reply in {text.partition(": ") for text in self.unused})
        return any(count > 1 for count in told.values())
