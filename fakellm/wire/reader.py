"""What reads server-sent events of JSON into events of a script."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from fakellm.errors import WireError
from fakellm.script.events import Event, disconnect
from fakellm.wire.codec import Decoder
from fakellm.wire.objects import parse_object
from fakellm.wire.sse import LIMIT, SSE, SSEDecoder

# The end of a body. A reader does what the SDK of its API does. Those of OpenAI and Anthropic drop an event that no
# blank line ended, whole or not, as the standard has it: the app never sees it, so it is no event of the script, and a
# stream that lacks its end was cut there. Nobody misses a `[DONE]`.


class SSEReader(Decoder):
    """A decoder of server-sent events whose data is JSON. Data that is `null` says nothing.

    `ending` is what the end of the body is where the stream is not complete: `disconnect("end")`, or
    `disconnect("cut")` inside an event. An event that no blank line ended is read where `reads_unended` is set.
    """

    reads_unended: ClassVar[bool] = False

    def __init__(self, *, limit: int = LIMIT) -> None:
        self._events = SSEDecoder(limit=limit, flush=True)
        self._count = 0
        self.ending = disconnect("end")

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that the bytes complete."""
        return self._all(self._events.feed(data))

    def close(self) -> list[Event]:
        """Take the end of the body."""
        events: list[Event] = []
        unended = self._events.close()
        try:
            events = self._all(unended if self.reads_unended else [])
            is_cut = not self.reads_unended and any(not sse.data.startswith("[DONE]") for sse in unended)
        except WireError:
            is_cut = True
        self.ending = disconnect("cut" if is_cut else "end")
        return [*events, *self.finish()]

    def _all(self, sses: list[SSE]) -> list[Event]:
        events: list[Event] = []
        for sse in sses:
            events += self.sse(sse) if sse.data.strip() != "null" else ()
            self._count += 1
        return events

    def json(self, sse: SSE) -> dict[str, Any]:
        """Return the object that the data of an event is."""
        return parse_object(sse.data, f"event {self._count} of the stream")

    @abstractmethod
    def sse(self, sse: SSE) -> list[Event]:
        """Return what one server-sent event says."""

    @abstractmethod
    def finish(self) -> list[Event]:
        """Return what the end of the body says: what was held back, and `ending`, if the stream is not complete."""
