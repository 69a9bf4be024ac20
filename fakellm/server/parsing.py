"""HTTP/1 requests out of bytes, as they come, with bounds. Parsing is httptools'; see `Requests`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import httptools

MAX_HEAD = 64 * 1024
"""Bytes of a request line and its headers; and of the trailers of a chunked body."""
MAX_BODY = 64 * 1024 * 1024
"""Bytes of a request's body, unless the server is given another bound."""


class Refusal(NamedTuple):
    """Why a request is not answered: what stands in its place, before the connection is closed."""

    status: int
    why: str


@dataclass(slots=True)
class HttpRequest:
    """One request: the target is as it was sent, a path with its query, and names of headers are in lower case."""

    method: str = ""
    target: str = ""
    version: str = "1.1"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    keeps_alive: bool = True

    @property
    def host(self) -> str:
        """The host that the client believes to ask, with the port."""
        return self.headers.get("host", "")


class Requests:
    """Reads the requests of one connection.

    `feed` takes bytes and returns the requests that they complete, then a `Refusal` if the rest is none that can be
    read; nothing may be fed after that. `wants_body` tells whether a client waits to be told to go on
    (`Expect: 100-continue`).

    What is bounded is what would be kept: a head is counted while it is not complete, since the parser holds half a
    header back, and a body as it comes. A length that is announced is believed at once where it is too large, so that
    nobody sends a gigabyte to hear that.
    """

    def __init__(self, *, max_body: int = MAX_BODY) -> None:
        self._max_body = max_body
        self._parser = httptools.HttpRequestParser(self)
        self._done: list[HttpRequest | Refusal] = []
        self._request = HttpRequest()
        self._target = bytearray()
        self._body: list[bytes] = []
        self._size = 0
        self._head = 0
        self._is_in_head = True
        self.wants_body = False

    @property
    def is_begun(self) -> bool:
        """Whether a part of a request is there."""
        return self._head > 0 or not self._is_in_head

    def feed(self, data: bytes) -> list[HttpRequest | Refusal]:
        """Take bytes; return the requests that they complete."""
        if self._is_in_head:
            self._head += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(501, "this server speaks HTTP/1.1, and upgrades to nothing else")
        except _Refused:
            pass
        except httptools.HttpParserError as error:
            if not isinstance(error.__context__, _Refused):
                self._refuse(400, f"the request is not HTTP/1: {error}")
        if self._is_in_head and self._head > MAX_HEAD and not self._is_refused:
            self._refuse(431, f"the head of the request is longer than {MAX_HEAD} bytes")
        done, self._done = self._done, []
        return done

    @property
    def _is_refused(self) -> bool:
        return bool(self._done) and isinstance(self._done[-1], Refusal)

    def _refuse(self, status: int, why: str) -> None:
        self._done.append(Refusal(status, why))

    # -- what the parser calls ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._request, self._target, self._body, self._size = HttpRequest(), bytearray(), [], 0

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_in_head:  # a trailer
            self._count(len(name) + len(value))
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers = self._request.headers
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        request = self._request
        self._is_in_head, self._head = False, 0
        request.method = self._parser.get_method().decode("latin-1")
        request.target = self._target.decode("latin-1")
        request.version = self._parser.get_http_version()
        request.keeps_alive = self._parser.should_keep_alive()
        length = request.headers.get("content-length", "0")
        if length.isdigit() and int(length[:20]) > self._max_body:
            self._too_large()
        self.wants_body = request.headers.get("expect", "").lower() == "100-continue"

    def on_body(self, body: bytes) -> None:
        self._count(len(body))
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._request.body = b"".join(self._body)
        self._done.append(self._request)
        self._is_in_head, self.wants_body, self._body = True, False, []

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self._max_body:
            self._too_large()

    def _too_large(self) -> None:
        self._refuse(413, f"the body of the request is longer than {self._max_body} bytes")
        raise _Refused


class _Refused(Exception):  # noqa: N818 - stops the parser
    pass


