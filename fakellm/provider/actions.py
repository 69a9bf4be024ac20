"""What a shell does between two pieces of an answer: it waits, or the connection fails."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, cast

from fakellm.script.events import Fault, Pause, disconnect, stall
from fakellm.wire.codec import Run

Kind = Literal["refused", "connect_timeout", "no_response", "read_timeout", "reset", "close"]


class Failure(NamedTuple):
    """How a connection fails, as the client sees it.

    Of a connection that was recorded, `kind` may also be the name of the exception that httpx raised.
    """

    kind: Kind


class Timeouts(NamedTuple):
    """How many seconds a client waits for a connection and for bytes; None is for ever."""

    connect: float | None = None
    read: float | None = None


def timed(steps: Iterable[Run | Failure], timeouts: Timeouts) -> Iterator[list[bytes] | float | Failure]:
    """Yield steps as actions; a silence that is longer than the client's patience ends in its timeout."""
    silence = 0.0
    for step in steps:
        if isinstance(step, list):
            if step:
                silence = 0.0
                yield step
        elif isinstance(step, Failure):
            yield step
            return
        elif isinstance(step, Pause):
            if timeouts.read is not None and silence + step.seconds > timeouts.read:
                yield timeouts.read - silence
                yield Failure("read_timeout")
                return
            silence += step.seconds
            yield float(step.seconds)
        else:
            yield from _failing(step, timeouts, silence)
            return


def _failing(fault: Fault, timeouts: Timeouts, silence: float) -> Iterator[float | Failure]:
    if isinstance(fault, stall):
        patience = timeouts.connect if fault.where == "connect" else timeouts.read
        yield math.inf if patience is None else max(patience - silence, 0.0)
        yield Failure("connect_timeout" if fault.where == "connect" else "read_timeout")
    elif isinstance(fault, disconnect) and fault.how not in ("end", "cut"):
        yield Failure(cast("Kind", fault.how))
