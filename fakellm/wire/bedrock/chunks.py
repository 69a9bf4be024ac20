"""What the streams of InvokeModelWithResponseStream share: the chunks of a model's own stream, each in a frame.

Source: botocore's service model of bedrock-runtime (`ResponseStream`, `PayloadPart`) and recorded streams. A frame has
`{"bytes": "..."}`, the base64 of what the model's own API would send as one event. Bedrock adds its own count of tokens
to the last of them, `amazon-bedrock-invocationMetrics`. `Native("bedrock.invoke", {...})` has fields that the next
chunk has beside the usual ones.
"""

from __future__ import annotations

import base64
import binascii
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from fakellm.errors import ScriptError, WireError
from fakellm.script.events import Event, Native, provider_error
from fakellm.wire.bedrock.frames import (
    CONTENT_TYPE,
    document_of,
    error_frame,
    event_frame,
    failure_of,
    headers_of,
    padding,
)
from fakellm.wire.codec import Encoder, Headers
from fakellm.wire.eventstream import Frame, FrameDecoder
from fakellm.wire.objects import dump, merged, parse_object, sound, text_field
from fakellm.wire.sse import NDJSONDecoder

API = "bedrock.invoke"


def stream_headers(number: int) -> Headers:
    """Return the headers of a stream."""
    framing = (("content-type", CONTENT_TYPE), ("transfer-encoding", "chunked"))
    return (*framing, ("X-Amzn-Bedrock-Content-Type", "application/json"), *headers_of(number))


class Chunks:
    """Writes chunks, each as a frame, with the fields that were scripted for it."""

    def __init__(self) -> None:
        self._sent = 0
        self._fields: list[str] = []

    def chunk(self, document: dict[str, Any]) -> bytes:
        """Return a chunk as a frame."""
        while self._fields:
            document = merged(document, self._fields.pop(0))
        self._sent += 1
        said = base64.b64encode(dump(document)).decode()
        return event_frame("chunk", {"bytes": said, "p": padding(self._sent)})

    def takes(self, event: Event) -> bool:
        """Take fields for the next chunk, if that is what an event is."""
        if not isinstance(event, Native) or event.api != API:
            return False
        parse_object(str(event.data), f"a Native of {API}")
        self._fields.append(str(event.data))
        return True


class ChunkEncoder(Encoder):
    """Writes a stream of chunks."""

    def __init__(self) -> None:
        self.chunks = Chunks()

    def error(self, fault: provider_error) -> Sequence[bytes]:
        """Return the exception, after which nothing comes; `named=True` gives an error of the protocol."""
        return [*self.flush(), error_frame(fault)]


class ChunkReader(ABC):
    """Turns the chunks of a model's own stream into events."""

    is_complete = False

    @abstractmethod
    def read(self, chunk: dict[str, Any]) -> list[Event]:
        """Return what a chunk says."""

    def close(self) -> list[Event]:
        """Return what was held back, since nothing more comes."""
        return []


def native(fields: Mapping[str, Any]) -> Native:
    """Return the event for what the next chunk has beside the usual fields."""
    return Native(API, sound(json.dumps(fields, ensure_ascii=False)))


class ChunkDecoder:
    """Turns the bytes of a stream into chunks, each with its number, and the error that ends them."""

    def __init__(self, *, limit: int) -> None:
        self._frames = FrameDecoder(limit=limit)
        self._lines: NDJSONDecoder | None = None
        self._begun = False
        self.count = 0

    def feed(self, data: bytes) -> list[dict[str, Any] | provider_error]:
        """Return the chunks that the bytes complete, from frames or, as logs keep them, lines of JSON."""
        if data and not self._begun:
            self._begun = True
            self._lines = NDJSONDecoder() if data.startswith(b"{") else None  # which no length of a frame begins with
        if self._lines is not None:
            return [self._line(line) for line in self._lines.feed(data)]
        return [said for frame in self._frames.feed(data) if (said := self._chunk(frame)) is not None]

    def _line(self, line: Any) -> dict[str, Any]:
        self.count += 1
        if not isinstance(line, dict):
            msg = f"line {self.count - 1} of the stream is no object"
            raise WireError(msg)
        return line

    def close(self) -> tuple[list[dict[str, Any]], bool]:
        """Take the end of the body: return a last line without an end, and whether the body was cut inside it."""
        if self._lines is None:
            return [], bool(self._frames.close())
        try:
            return [self._line(line) for line in self._lines.close()], False
        except WireError:
            return [], True

    def _chunk(self, frame: Frame) -> dict[str, Any] | provider_error | None:
        what = f"frame {self.count} of the stream"
        self.count += 1
        if (failure := failure_of(frame)) is not None:
            return failure
        kind, found = document_of(frame, what)
        if kind != "chunk":
            return None
        try:
            said = base64.b64decode(text_field(found, "bytes"), validate=True)
        except (binascii.Error, ValueError):
            msg = f"{what} is no chunk: its bytes are no base64"
            raise WireError(msg) from None
        return parse_object(said, f"the chunk in {what}")


def guarded(reader: ChunkReader, chunk: dict[str, Any], number: int) -> list[Event]:
    """Return what a chunk says. Raises `WireError` for what no event can say."""
    try:
        return reader.read(chunk)
    except (ScriptError, RecursionError) as error:
        msg = f"chunk {number} of the stream says what no event can: {error}"
        raise WireError(msg) from None
