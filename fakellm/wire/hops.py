"""What an answer passes on its way to the client: a gateway, a proxy, the last server with its way of writing.

A hop takes an answer as it comes in and returns it as it goes out. It does no I/O and waits for nothing: what happens
between bytes stands in the steps, as it does in those of a codec. Steps are taken lazily, one at a time, so that a
stream that is made while it is read stays so. Several hops are several calls; the one nearest to the client is last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fakellm.script.events import Fault, Pause


@dataclass(frozen=True, slots=True)
class Carried:
    """An answer on its way.

    `streams` is whether the request asked for a stream. `status` is 0 where a fault among `before`, what happens before
    the headers, keeps an answer from coming. `steps` are runs of pieces (`Ending` is the last of a message that is
    whole), pauses, faults, and what else a shell knows.
    """

    status: int
    headers: Sequence[tuple[str, str]]
    steps: Iterable[Any]
    before: Sequence[Pause | Fault] = ()
    streams: bool = False

    def header(self, name: str) -> str:
        """Return what a header says, of those of the same name the first, or nothing."""
        return next((value for known, value in self.headers if known.lower() == name), "")


class Hop(Protocol):
    """What an answer passes."""

    def carry(self, answer: Carried) -> Carried:
        """Return the answer as it goes out."""
        ...
