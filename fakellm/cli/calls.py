"""Requests to a fake provider as recordings, so that they are shown as those of tapes are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from vcr.request import Request

from fakellm.cassette.redaction import Redactor
from fakellm.cli.recorded import Recorded, of_pair
from fakellm.clock.clock import Clock
from fakellm.models.kept import Kept
from fakellm.provider.exchange import ProviderCall

_ENDS = {"complete": "complete", "closed": "cancelled", "cancelled": "cancelled", "running": "cancelled"}


class Timed(Kept[ProviderCall]):
    """The log of a fake that notes when pieces of answers are taken, on the clock that the fake waits on."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.moments: list[list[tuple[float, int]]] = []

    def append(self, call: ProviderCall) -> None:
        """Log a request."""
        begun, noted = self._clock.now, list[tuple[float, int]]()
        call.watch = lambda before: noted.append((self._clock.now - begun, before))
        self.moments.append(noted)
        super().append(call)

    def let_go(self, place: int = 0) -> ProviderCall:
        """Let go of a request, and of when its answer was taken."""
        del self.moments[place]
        return super().let_go(place)


def knowing_all(calls: Iterable[ProviderCall]) -> Redactor:
    """Return what redacts requests that may have told each other's credentials."""
    redactor = Redactor()
    for call in calls:
        redactor.learn(_request(call))
    return redactor


def _request(call: ProviderCall) -> Request:
    return Request(call.method, call.url, call.body, dict(call.headers))


def recorded_of(name: str, call: ProviderCall, moments: Sequence[tuple[float, int]], redactor: Redactor) -> Recorded:
    """Return a request with the pieces of its answer that the client took, of many the first."""
    taken = call.taken
    times = [max((at for at, before in moments if before <= place), default=0.0) for place in range(len(taken))]
    end = _ENDS.get(call.state, "dropped")
    stream: dict[str, Any] = {"sizes": [len(piece) for piece in taken], "end": end, "error": None}
    if call.error is not None:
        stream["error"] = type(call.error).__name__
    if moments:
        steps = zip([0.0, *times], times, strict=False)
        stream["delays"] = [round(max(after - before, 0.0) * 1000, 4) for before, after in steps]
    response = {
        "status": {"code": call.status or 0, "message": None},
        "headers": {},
        "body": {"string": b"".join(taken)},
        "stream": stream,
    }
    return of_pair(name, call.number, _request(call), response, redactor)
