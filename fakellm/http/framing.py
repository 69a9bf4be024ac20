"""HTTP/1.1 on a connection: the head of an answer as it is sent, and where in what comes a body lies.

What a client reads of a connection is taken apart beside it, to be recorded: a body in HTTP's chunks is one piece a
chunk, as the server flushed them; any other is a piece a read (RFC 9112, 6 and 7).
"""

from __future__ import annotations

from collections.abc import Iterator
from http.client import responses

from fakellm.cassette.outgoing import Outgoing
from fakellm.cassette.recorder import BODILESS, Head, Recording
from fakellm.provider.exchange import Exchange

_LENGTH, _ENCODING = b"content-length", b"transfer-encoding"
_SWITCHING = 101
Headers = list[tuple[bytes, bytes]]


def head_of(exchange: Exchange) -> tuple[bytes, bool]:
    """Return the head of an answer, and whether its body is in HTTP's chunks.

    What says where the body ends is made true: one that was redacted, or compressed anew, has another length than it
    had, and an answer that came over a newer HTTP may say nothing of it.
    """
    headers = exchange.raw_headers
    is_newer = not exchange.version.startswith("HTTP/1")
    is_chunked = any(name.lower() == _ENCODING and b"chunked" in value.lower() for name, value in headers)
    if exchange.call.method != "HEAD" and exchange.status not in BODILESS and not is_chunked:
        headers, is_chunked = _made_true(headers, exchange.size, is_newer=is_newer)
    reason = responses.get(exchange.status, "") if exchange.reason is None else exchange.reason
    version = "HTTP/1.1" if is_newer else exchange.version
    first = f"{version} {exchange.status} {reason}".encode("utf-8", "surrogateescape")
    return b"\r\n".join([first, *(b"%b: %b" % header for header in headers), b"", b""]), is_chunked


def _made_true(headers: Headers, size: tuple[int, bool] | None, *, is_newer: bool) -> tuple[Headers, bool]:
    """Return headers that are true of a body of this size, and whether it is to be chunked."""
    lengths = [int(value) for name, value in headers if name.lower() == _LENGTH and value.isdigit()]
    if not lengths:
        return ([*headers, (_ENCODING, b"chunked")], True) if is_newer else (headers, False)
    if size is None or (lengths[0] == size[0] if size[1] else lengths[0] > size[0]):
        return headers, False
    others = [header for header in headers if header[0].lower() != _LENGTH]
    if size[1]:
        return [*others, (_LENGTH, b"%d" % size[0])], False
    return [*others, (_ENCODING, b"chunked")], True


def head_in(data: bytes) -> Head:
    """Return the head of an answer that came, up to its empty line."""
    first, *lines = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    version, _, rest = first.partition(b" ")
    status, _, reason = rest.partition(b" ")
    pairs = (line.partition(b":") for line in lines)
    headers = [(name.strip(), value.strip()) for name, _, value in pairs]
    return Head(int(status), reason.decode("utf-8", "surrogateescape"), headers, version)


class Body:
    """A body on a connection, as it comes: `feed` yields its pieces, `is_whole` says that it has ended.

    `length` is how long it is, None for as long as the connection lives. `is_over` says that the trailers of a body in
    HTTP's chunks have come, too. What follows it is not looked at.
    """

    def __init__(self, *, is_chunked: bool, length: int | None) -> None:
        self._is_chunked = is_chunked
        self._left = length
        self._buffer = bytearray()
        self._size: int | None = None  # of the chunk that is being read
        self._is_broken = False
        self.is_whole = self.is_over = not is_chunked and length == 0

    @classmethod
    def after(cls, head: Head, method: str) -> Body:
        """Return the body that follows a head."""
        headers = {name.lower(): value for name, value in head.headers}
        length = headers.get(_LENGTH, b"")
        if method == "HEAD" or head.status in BODILESS:
            return cls(is_chunked=False, length=0)
        is_chunked = b"chunked" in headers.get(_ENCODING, b"").lower()
        return cls(is_chunked=is_chunked, length=int(length) if length.isdigit() else None)

    @property
    def ends_with_its_connection(self) -> bool:
        """Whether nothing but the end of the connection says that it has ended."""
        return not self._is_chunked and self._left is None

    @property
    def rest(self) -> bytes:
        """What has come of a chunk that is not complete."""
        return bytes(self._buffer) if self._size and not self._is_broken else b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the pieces that came."""
        if self.is_over or not data:
            return
        if self._is_chunked:
            self._buffer += data
            yield from self._chunks()
            self._trail()
            return
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
            self.is_whole = self.is_over = not self._left
        yield data

    def _trail(self) -> None:
        """Go through the trailers, up to an empty line."""
        while self.is_whole and not self.is_over:
            line, found, rest = self._buffer.partition(b"\n")
            if not found:
                return
            self._buffer = rest
            self.is_over = not line.strip()

    def _chunks(self) -> Iterator[bytes]:
        buffer = self._buffer
        while not self._is_broken and not self.is_whole:
            if self._size is None:
                line, found, _ = buffer.partition(b"\n")
                if not found:
                    return
                del buffer[: len(line) + 1]
                self._begin(bytes(line))
            elif len(buffer) < self._size + 2:
                return
            else:
                yield bytes(buffer[: self._size])
                del buffer[: self._size + 2]
                self._size = None

    def _begin(self, line: bytes) -> None:
        try:
            self._size = int(line.partition(b";")[0].strip(), 16)
        except ValueError:  # the client says so, too
            self._is_broken = True
            return
        self.is_whole = not self._size


class Tap:
    """Records the answer of a connection from what its client reads of it.

    Clients give their app no more of a chunk of HTTP than all of it, or as much as came: `in_parts` says which.
    """

    def __init__(self, recording: Recording, body: Body, *, in_parts: bool) -> None:
        self._recording = recording
        self._body = body
        self._in_parts = in_parts
        self._complete()

    def came(self, data: bytes) -> None:
        """Take what came; nothing is the end of the connection."""
        for piece in self._body.feed(data):
            self._recording.chunk(piece)
        if not data:
            self._closed()
        self._complete()

    def failed(self, error: BaseException) -> None:
        """Take the exception that ended it."""
        self._unfinished()
        self._recording.fail(error)

    def left(self) -> None:
        """Take that the client is done."""
        self._recording.finish("cancelled")

    def _complete(self) -> None:
        if self._body.is_whole:
            self._recording.finish("complete")

    def _closed(self) -> None:
        if self._body.ends_with_its_connection:
            self._recording.finish("complete")
        elif not self._body.is_whole:
            self._unfinished()
            self._recording.finish("dropped", "RemoteProtocolError")

    def _unfinished(self) -> None:
        if self._in_parts and (rest := self._body.rest):
            self._recording.chunk(rest)


class AnswerTap:
    """Finds the head of an answer in what comes of a connection, and records what follows it."""

    def __init__(self, outgoing: Outgoing, method: str) -> None:
        self._outgoing = outgoing
        self._method = method
        self._head = bytearray()
        self._is_begun = False
        self._tap: Tap | None = None

    def came(self, data: bytes) -> None:
        """Take what came; nothing is the end of the connection."""
        if not self._is_begun:
            self._head += data
            data = self._after_head()
            if not data:
                return
        if self._tap is not None:
            self._tap.came(data)

    def _after_head(self) -> bytes:
        while not self._is_begun:
            head, found, rest = bytes(self._head).partition(b"\r\n\r\n")
            if not found:
                return b""
            self._head[:] = rest
            try:
                parsed = head_in(head)
            except ValueError:  # no answer of HTTP, as the client says, too
                self._is_begun = True
                break
            if parsed.status >= 200 or parsed.status == _SWITCHING:  # noqa: PLR2004 - before it, news (RFC 9110, 15.2)
                self._is_begun = True
                if (recording := self._outgoing.begin(parsed)) is not None:
                    self._tap = Tap(recording, Body.after(parsed, self._method), in_parts=True)
        return bytes(self._head)

    def ended(self, error: BaseException | None) -> None:
        """Take that the connection is gone."""
        if self._tap is None:
            self._outgoing.call.fail(error or ConnectionError("the connection was closed"))
        elif error is None:
            self._tap.came(b"")
        else:
            self._tap.failed(error)

    def left(self, error: BaseException | None) -> None:
        """Take that the client is done, because of an error or not."""
        if error is not None:
            self.ended(error)
        elif self._tap is None:
            self._outgoing.call.end("closed")
        else:
            self._tap.left()
