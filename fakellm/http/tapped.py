"""What http.client reads of an answer, under urllib3, is recorded as it comes: by a file between it and the socket.

Below http.client's own buffer, since above it nobody knows in which pieces an answer came; and beside the app's
reading, not instead of it: each read asks the socket once, and hands on what it gave, or the error that it raised.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from fakellm.cassette.recorder import Head
from fakellm.http.framing import Body, Tap
from fakellm.http.network import put

if TYPE_CHECKING:
    from fakellm.cassette.outgoing import Outgoing


@contextmanager
def tapped(conn: Any, outgoing: Outgoing) -> Iterator[None]:
    """Record what comes as the answer of the one request that is sent inside, also what is read of it later."""
    conn = getattr(conn, "real_connection", conn)
    get = conn.getresponse

    def getresponse(*args: Any, **kw: Any) -> Any:
        kind = conn.response_class  # now, since another tape may stand behind this one

        def response(*args: Any, **kw: Any) -> Any:
            made = kind(*args, **kw)
            tapped = _TappedFile(made.fp.detach())
            made.fp, begin = io.BufferedReader(tapped), made.begin
            made.begin = partial(_begun, made, begin, tapped, outgoing)
            return made

        conn.response_class = response
        try:
            return get(*args, **kw)
        finally:
            conn.response_class = kind

    with ExitStack() as stack:
        put(conn, "getresponse", getresponse, stack)
        yield


def _begun(response: Any, begin: Any, file: _TappedFile, outgoing: Outgoing) -> None:
    """Read the head of a response of http.client, and record what comes after it."""
    begin()
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
    version = b"HTTP/1.0" if response.version == 10 else b"HTTP/1.1"  # noqa: PLR2004
    recording = outgoing.begin(Head(response.status, response.reason, headers, version))
    if recording is not None:
        body = Body(is_chunked=bool(response.chunked), length=response.length)
        file.tap(Tap(recording, body, in_parts=False), response.fp)


class _TappedFile(io.RawIOBase):
    """The file of a socket, read as ever, and told of to a tap."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._tap: Tap | None = None
        self._is_held = False

    def tap(self, tap: Tap, reader: Any) -> None:
        """Tell the tap of what comes from now on, and of what the reader has read ahead."""
        self._is_held = True
        ahead = reader.peek() if reader is not None and not reader.closed else b""
        self._is_held = False
        self._tap = tap
        if ahead:
            tap.came(ahead)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._is_held:
            return None
        try:
            size: int | None = self._raw.readinto(buffer)
        except BaseException as error:
            if self._tap is not None:
                self._tap.failed(error)
            raise
        if self._tap is not None and size is not None:
            self._tap.came(bytes(buffer[:size]))
        return size

    def fileno(self) -> int:
        descriptor: int = self._raw.fileno()
        return descriptor

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
            if self._tap is not None:
                self._tap.left()
        super().close()
