"""Reads Replicate's streams into events.

Source: https://replicate.com/docs/topics/predictions/streaming, the SDK, and recorded streams: each event is named, has
an id, and is a piece of the output as it is, with a `data:` for each line of it. `done` ends a stream, with a reason if
it did not succeed; `error` comes before it. `logs`, and events of other names, become `Native`.
"""

from __future__ import annotations

from fakellm.script.events import Event, Finish, Native, Text, provider_error
from fakellm.wire.objects import json_text, parse, sound
from fakellm.wire.reader import SSEReader
from fakellm.wire.sse import LIMIT, SSE

API = "replicate.predictions"
OUTPUT, DONE, ERROR = "output", "done", "error"


class PredictionDecoder(SSEReader):
    """Turns the bytes of a stream into events."""

    def __init__(self, *, limit: int = LIMIT) -> None:
        super().__init__(limit=limit)
        self._is_over = False

    def _all(self, sses: list[SSE]) -> list[Event]:
        """Return what server-sent events say; a text is none the less one if it is `null`."""
        return [event for sse in sses for event in self.sse(sse)]

    def sse(self, sse: SSE) -> list[Event]:
        """Return what a server-sent event says."""
        self._count += 1
        if self._is_over:
            return []
        data = sound(sse.data)
        match sse.event:
            case "output":
                return [Text(data)]
            case "error":
                self._is_over = True
                return [_error(data)]
            case "done":
                self._is_over = True
                return [_finish(data, f"event {self._count} of the stream")]
        return [Native(API, {"event": sse.event or "message", "data": data})]

    def finish(self) -> list[Event]:
        """Return that the stream is not complete, where it was not said to be done."""
        return [] if self._is_over else [self.ending]


def _error(data: str) -> provider_error:
    """Read an error, a sentence or an object with one."""
    if not data.lstrip().startswith("{"):
        return provider_error(data)
    found = parse(data, "the error of a stream")
    detail = found.get("detail")
    return provider_error(sound(detail) if isinstance(detail, str) else json_text(found))


def _finish(data: str, what: str) -> Finish:
    found = parse(data, what) if data.strip() else {}
    rest = dict(found) if isinstance(found, dict) else {}
    reason = rest.pop("reason", None)
    return Finish(
        sound(reason) if isinstance(reason, str) and reason else "stop", extra=json_text(rest) if rest else None
    )
