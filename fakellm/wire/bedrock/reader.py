"""Reads streams of InvokeModelWithResponseStream into events: what the chunks are of, the first of them tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fakellm.script.events import Event, disconnect, provider_error
from fakellm.wire.bedrock.chunks import ChunkDecoder, ChunkReader, guarded
from fakellm.wire.codec import Decoder
from fakellm.wire.eventstream import LIMIT

Choose = Callable[[dict[str, Any]], ChunkReader]
"""What reads the chunks of a stream that begins with this one."""


class InvokeDecoder(Decoder):
    """Turns the bytes of a stream into events."""

    def __init__(self, choose: Choose, *, limit: int = LIMIT) -> None:
        self._chunks = ChunkDecoder(limit=limit)
        self._choose = choose
        self._reader: ChunkReader | None = None
        self._failed = False

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that the bytes complete."""
        return [event for said in self._chunks.feed(data) for event in self._said(said)]

    def _said(self, said: dict[str, Any] | provider_error) -> list[Event]:
        if self._failed:
            return []
        if isinstance(said, provider_error):
            self._failed = True
            return [*(self._reader.close() if self._reader else ()), said]
        if self._reader is None:
            self._reader = self._choose(said)
        events = guarded(self._reader, said, self._chunks.count - 1)
        self._failed = any(isinstance(event, provider_error) for event in events)
        return events

    def close(self) -> list[Event]:
        """Take the end of the body."""
        rest, is_cut = self._chunks.close()
        events = [event for said in rest for event in self._said(said)]
        if self._failed:
            return events
        return [*events, *(self._reader.close() if self._reader else ()), *self._ending(is_cut=is_cut)]

    def _ending(self, *, is_cut: bool) -> list[Event]:
        """Return that the stream is not complete, unless it is."""
        is_complete = self._reader is not None and self._reader.is_complete
        return [] if is_complete else [disconnect("cut" if is_cut else "end")]
