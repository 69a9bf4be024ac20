"""How gateways write the streams of chat completions anew, and what they make of errors and of broken ones.

Each parses what the server sends event by event, so comments and the way of writing are gone, and says something of its
own: `feed` returns the events that bytes become, `over` how the body ends once it does, `closing` what is said last.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

from fakellm.errors import WireError
from fakellm.wire.codec import CREATED
from fakellm.wire.gateways.chunks import deltas, dumped, mappings, narrowed
from fakellm.wire.gateways.gateway import Asked, Page
from fakellm.wire.objects import dump
from fakellm.wire.sse import SSE, SSEDecoder

DONE = b"data: [DONE]\n\n"

_NAMES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
}
_CLOSED = "peer closed connection without sending complete message body (incomplete chunked read)"
_BROKE = {"close": (_CLOSED, "RemoteProtocolError"), "reset": ("", "ReadError")}
"""What httpx says where a connection is closed or reset."""


def event(value: Any) -> bytes:
    """Return a server-sent event of JSON."""
    return b"data: %b\n\n" % dump(value)


def spaced(value: Any) -> bytes:
    """Return a server-sent event of JSON as Python's `json.dumps` writes it."""
    return b"data: %b\n\n" % json.dumps(value).encode()


class Rewriter(ABC):
    """Writes one stream anew. `page` is what is answered instead of a stream, where that is so."""

    over: Literal["whole", "cut"] | None = None
    page: Page | None = None

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._decoder = SSEDecoder()
        self.closing: list[bytes] = []

    def begin(self) -> list[bytes]:
        """Return what is said before the server says anything."""
        return []

    def feed(self, data: bytes) -> list[bytes]:
        """Return the events that the bytes become."""
        found: list[bytes] = []
        for one in self._decoder.feed(data):
            if self.over is not None:
                break
            found += self._event(one)
        return found

    def _event(self, one: SSE) -> list[bytes]:
        if one.data.startswith("[DONE]"):
            return self.done()
        try:
            chunk = json.loads(one.data)
        except (ValueError, RecursionError) as why:
            return self.unreadable(why)
        if not isinstance(chunk, Mapping):
            return self.unreadable(WireError(f"a chunk is no object: {one.data[:40]}"))
        if (error := chunk.get("error")) or one.event == "error":
            text = error.get("message") if isinstance(error, Mapping) else chunk.get("message")
            return self.failed(text if isinstance(text, str) and text else "An error occurred during streaming")
        return self.chunk(chunk)

    def end(self) -> list[bytes]:
        """Take that the body ended in order; return what is said then."""
        return self.done()

    def done(self) -> list[bytes]:
        """Take the end marker, behind which nothing is read."""
        self.over = "whole"
        return []

    def unreadable(self, error: Exception) -> list[bytes]:
        """Take an event that is no JSON."""
        return self.raised(str(error), type(error).__name__)

    def failed(self, text: str) -> list[bytes]:
        """Take an error that the server reports."""
        return self.raised(text, "APIError")

    def broken(self, how: str) -> list[bytes]:
        """Take that the connection to the server was closed (`close`) or `reset`."""
        return self.raised(*_BROKE[how])

    def refused(self) -> list[bytes]:
        """Take that the server could not be asked."""
        return self.raised("Connection error.", "APIConnectionError")

    def http_error(self, status: int, body: bytes) -> list[bytes]:
        """Take that the server answered with an error."""
        name = _NAMES.get(status, "InternalServerError" if status >= 500 else "APIStatusError")  # noqa: PLR2004
        try:
            said: Any = json.loads(body)
        except ValueError:
            return self.raised(body.decode("utf-8", "replace") or f"Error code: {status}", name)
        return self.raised(f"Error code: {status} - {said}", name)

    @abstractmethod
    def chunk(self, chunk: Mapping[str, Any]) -> list[bytes]:
        """Return the events that a chunk becomes."""

    @abstractmethod
    def raised(self, text: str, kind: str) -> list[bytes]:
        """Take that the gateway's client of the server raised: return the events that this becomes."""


class LlamaStack(Rewriter):
    """All fields of the classes, one text for every error, and no end marker."""

    def chunk(self, chunk: Mapping[str, Any]) -> list[bytes]:
        """Return the events that a chunk becomes."""
        return [event(dumped(chunk))]

    def raised(self, text: str, kind: str) -> list[bytes]:
        """Take that the gateway's client of the server raised."""
        self.over = "whole"
        told = "500: Internal server error: An unexpected error occurred."
        if kind == "BadRequestError":
            told = f"400: {text}"
        self.closing = [spaced({"error": {"message": told}})]
        return []


class AnyLLM(Rewriter):
    """All fields of the classes, `reasoning` as an object, one text for every error, and always an end marker."""

    def chunk(self, chunk: Mapping[str, Any]) -> list[bytes]:
        """Return the events that a chunk becomes."""
        whole = {**dumped(chunk), "object": "chat.completion.chunk"}
        for delta in deltas(whole):
            said = delta.get("reasoning_content")
            said = delta.get("reasoning") if said is None else said
            delta["reasoning"] = {"content": said} if isinstance(said, str) else said  # type: ignore[index]
        return [event(whole)]

    def done(self) -> list[bytes]:
        """Take the end marker."""
        self.over, self.closing = "whole", [DONE]
        return []

    def raised(self, text: str, kind: str) -> list[bytes]:  # noqa: ARG002 - whatever it was
        """Take that the gateway's client of the server raised."""
        self.over = "whole"
        told = {"message": "An error occurred during streaming", "type": "server_error"}
        self.closing = [spaced({"error": told}), DONE]
        return []


class LmProxy(Rewriter):
    """Texts alone, whatever answer they belong to, in chunks of its own."""

    def _chunk(self, delta: Mapping[str, Any], *, finish: str | None = None, error: Any = None) -> bytes:
        choice: dict[str, Any] = {"index": 0, "delta": delta}
        number = self._asked.number
        made: dict[str, Any] = {
            "id": f"chatcmpl-{number:024x}",
            "object": "chat.completion.chunk",
            "created": CREATED + number,
            "choices": [choice],
        }
        if finish is not None:
            choice["finish_reason"] = finish
        return spaced(made if error is None else {**made, "error": error})

    def begin(self) -> list[bytes]:
        """Return what is said before the server says anything."""
        return [self._chunk({"role": "assistant"})]

    def chunk(self, chunk: Mapping[str, Any]) -> list[bytes]:
        """Return the events that a chunk becomes: the text of the first of its answers."""
        text = deltas({"choices": mappings(chunk.get("choices"))[:1]})
        said = text[0].get("content") if text else None
        return [self._chunk({"content": str(said)})] if said else []

    def done(self) -> list[bytes]:
        """Take the end marker."""
        self.over, self.closing = "whole", [self._chunk({}, finish="stop"), DONE]
        return []

    def raised(self, text: str, kind: str) -> list[bytes]:
        """Take that the gateway's client of the server raised."""
        self.over = "whole"
        told = {"message": str({"message": text, "type": kind}), "type": "dict"}
        self.closing = [self._chunk({}, finish="error", error=told), self._chunk({}, finish="error"), DONE]
        return []


class Mlflow(Rewriter):
    """The fields of its own classes, no end marker, and a broken body for whatever goes wrong."""

    def chunk(self, chunk: Mapping[str, Any]) -> list[bytes]:
        """Return the events that a chunk becomes."""
        try:
            return [event(narrowed(chunk))]
        except (KeyError, TypeError, AttributeError):
            return self.raised("", "KeyError")

    def done(self) -> list[bytes]:
        """Take the end marker, which is passed over."""
        return []

    def end(self) -> list[bytes]:
        """Take that the body ended in order."""
        self.over = "whole"
        return []

    def unreadable(self, error: Exception) -> list[bytes]:  # noqa: ARG002 - whatever it was
        """Take an event that is no JSON, which is passed over."""
        return []

    def raised(self, text: str, kind: str) -> list[bytes]:  # noqa: ARG002 - whatever it was
        """Take that something went wrong."""
        self.over = "cut"
        return []
