"""Records a response while the app reads it: the recorder tees, it never buffers.

What is kept of a stream is what the app's client made of it: the body decoded, the size of each chunk, the silence
before it, and how the stream ended. Each chunk is handed on before the next is asked for. What goes wrong in the
recorder stays in the recorder: the app gets its chunks, and the errors of its own client.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from io import BytesIO
from threading import RLock
from types import ModuleType
from typing import Any, Literal, NamedTuple, Self, cast

from fakellm.cassette.decoding import Decompressor, readable
from fakellm.concurrency import is_cancellation

End = Literal["complete", "cancelled", "dropped", "timeout"]
Now = Callable[[], float]
_TERMINAL = (b"data: [DONE]\n\n", b"data: [DONE]\r\n\r\n", b"data: [DONE]\n")
"""What a stream ends with that some clients read no further than; it is whole all the same."""

_STREAMS = ("event-stream", "ndjson", "jsonl", "json-seq", "json-lines", "stream+json", "eventstream")
"""Media types of streams, whose chunks are kept though their length was known before."""

ERRORS = (
    *("DecodingError", "TransportError", "TimeoutException", "NetworkError", "ProtocolError", "UnsupportedProtocol"),
    *("ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout", "ConnectError", "ReadError", "WriteError"),
    *("CloseError", "ProxyError", "LocalProtocolError", "RemoteProtocolError"),
)
"""What may end a stream: the exceptions of httpx, which httpx2 has too (https://www.python-httpx.org/exceptions)."""

BODILESS = (204, 304)
"""Statuses of answers without a body."""


class Head(NamedTuple):
    """What comes before the body of a response, whichever library it came to."""

    status: int
    reason: str
    headers: list[tuple[bytes, bytes]]
    version: bytes = b"HTTP/1.1"

    @classmethod
    def of(cls, response: Any) -> Self:
        """Return that of a response of httpx or httpx2."""
        version: bytes = response.extensions.get("http_version", b"HTTP/1.1")
        return cls(response.status_code, response.reason_phrase, list(response.headers.raw), version)


class Recording:
    """What one response has been so far. `done` is called once, when its end is known.

    `accepts` is the `accept-encoding` of the request: what its client does not decode is kept as it came. `took` is
    given each chunk.
    """

    def __init__(
        self,
        head: Head,
        done: Callable[[Recording], None],
        accepts: str,
        now: Now = time.perf_counter,
        method: str = "",
        took: Callable[[bytes], object] = lambda data: None,  # noqa: ARG005
    ) -> None:
        headers: dict[str, list[str]] = {}
        for name, value in head.headers:
            headers.setdefault(name.decode().lower(), []).append(value.decode("utf-8", "surrogateescape"))
        codings = ", ".join(headers.get("content-encoding", []))
        self._decompressor = Decompressor(codings)
        accepted = all(coding.strip() in accepts for coding in codings.split(","))
        self._is_decoded = bool(codings) and accepted and self._decompressor.known
        self._status = {"code": head.status, "message": head.reason}
        self._headers = headers
        is_usual = head.version == b"HTTP/1.1"
        self._wire: dict[str, Any] = {} if is_usual else {"http_version": head.version.decode("latin-1")}
        kind = ", ".join(headers.get("content-type", []))
        has_body = method != "HEAD" and head.status not in BODILESS
        self._is_stream = has_body and ("content-length" not in headers or any(name in kind for name in _STREAMS))
        self._length = ", ".join(headers.get("content-length", [])) if has_body else "0"
        self._came = 0
        self._body = BytesIO()
        self._tail = b""
        self._now = now
        self._last = now()
        self._done = done
        self._took = took
        self._lock = RLock()  # a tape may be closed while another thread still reads, or while garbage is collected
        self.sizes: list[int] = []
        self.delays: list[float] = []
        self.end: End | None = None
        self.error: str | None = None

    def chunk(self, data: bytes) -> None:
        """Take a chunk that came over the wire; none after the end, which is that of the tape at the latest."""
        with self._lock:
            if self.end is not None:
                return
            self._came += len(data)
            try:
                decoded = self._decompressor.feed(data) if self._is_decoded else data
            except Exception:  # noqa: BLE001 - each library has errors of its own; the app's client raises its own
                is_broken = True
            else:
                is_broken = False
                self._take(decoded)
        if is_broken:
            self.finish("dropped", "DecodingError")

    def whole(self, content: bytes) -> None:
        """Take a body that the client's library has read, and decoded, before."""
        with self._lock:
            self._is_decoded = "content-encoding" in self._headers and self._decompressor.known
            self._take(content)
        self.finish("complete")

    def _take(self, decoded: bytes) -> None:
        if decoded:
            now = self._now()
            self.sizes.append(len(decoded))
            self.delays.append(max(0.0, round((now - self._last) * 1000, 1)))  # a clock may be set back
            self._last = now
            self._keep(decoded)

    def _keep(self, decoded: bytes) -> None:
        self._took(decoded)
        self._body.write(decoded)
        self._tail = (self._tail + decoded)[-32:] if len(decoded) < 32 else decoded[-32:]  # noqa: PLR2004

    def _flush(self) -> bool:
        """Take what the end of a compressed body still gives; return whether it could be decoded."""
        try:
            rest = self._decompressor.flush()
        except Exception:  # noqa: BLE001 - as above
            return False
        if rest:
            self._keep(rest)
            self.sizes[-1:] = [(self.sizes or [0])[-1] + len(rest)]
            self.delays[:] = self.delays or [0.0]
        return True

    def finish(self, end: End, error: str | None = None) -> None:
        """Note how it ended, and the name of the error that ended it; what comes first counts."""
        with self._lock:
            if self.end is not None:
                return
            if end == "complete" and self._is_decoded and not self._flush():
                end, error = "dropped", "DecodingError"
            if end == "cancelled" and (str(self._came) == self._length or self._tail.endswith(_TERMINAL)):
                end = "complete"
            self.end = end
            self.error = error if end in ("dropped", "timeout") else None
        self._done(self)

    def fail(self, error: BaseException) -> None:
        """Note the exception that ended it, by the name that httpx has for it."""
        if not isinstance(error, Exception) or is_cancellation(error):
            self.finish("cancelled")
            return
        kinds = [kind.__name__ for kind in type(error).__mro__]
        is_timeout = any("Timeout" in kind for kind in kinds)
        other = "ReadTimeout" if is_timeout else "ReadError"
        self.finish("timeout" if is_timeout else "dropped", next((kind for kind in kinds if kind in ERRORS), other))

    @property
    def response(self) -> dict[str, Any]:
        """The response as vcrpy keeps it, with the mapping `stream` where it was streamed, or did not end well."""
        with self._lock:
            headers, body, wire = dict(self._headers), self._body.getvalue(), self._wire
            if self._is_decoded and body:
                headers, changed = readable(headers, body)
                wire = {**wire, "headers": changed}
            kept: dict[str, Any] = {"status": self._status, "headers": headers, "body": {"string": body}}
            if wire:
                kept["wire"] = wire
            if self._is_stream or self.end != "complete":
                sizes, delays = self.sizes.copy(), self.delays.copy()
                kept["stream"] = {"sizes": sizes, "delays": delays, "end": self.end, "error": self.error}
            return kept


class _Left:
    """The body of a response that is being recorded, and that nobody reads to its end."""

    _recording: Recording

    def cut(self) -> None:
        """Take that the client closed its connections."""
        self._recording.finish("cancelled")

    def __del__(self) -> None:
        """Take that nobody has the response any more."""
        self._recording.finish("cancelled")


@cache
def _tee_class(module: ModuleType) -> Any:
    """Return the body of a response that is being recorded, made of the library's own kind."""

    class Tee(_Left, module.SyncByteStream, module.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, stream: Any, recording: Recording) -> None:
            self._stream = stream
            self._recording = recording

        def __iter__(self) -> Iterator[bytes]:
            try:
                for data in self._stream:
                    self._recording.chunk(data)
                    yield data
            except BaseException as error:
                self._recording.fail(error)
                raise
            self._recording.finish("complete")

        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                async for data in self._stream:
                    self._recording.chunk(data)
                    yield data
            except BaseException as error:
                self._recording.fail(error)
                raise
            self._recording.finish("complete")

        def close(self) -> None:
            try:
                self._stream.close()
            finally:
                self._recording.finish("cancelled")

        async def aclose(self) -> None:
            try:
                await self._stream.aclose()
            finally:
                self._recording.finish("cancelled")

    return Tee


def _content(module: ModuleType, response: Any) -> bytes | Exception:
    try:
        content: bytes = response.content
    except module.ResponseNotRead as error:
        return cast("Exception", error)
    return content


def tee(module: ModuleType, response: Any, recording: Recording) -> Recording:
    """Put a recorder into a response's stream; the app reads on as if it were not there.

    A response that was read before, as those of mocks are that stand in for a transport, is recorded whole.
    """
    if response.is_closed and not isinstance(content := _content(module, response), Exception):
        recording.whole(content)
        return recording
    response.stream = _tee_class(module)(response.stream, recording)
    return recording
