"""HTTP/1 requests out of bytes, as they come, with bounds. Parsing is httptools'; see `Requests`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from fakellm.errors import MissingExtraError

try:
    import httptools
except ImportError as error:
    raise MissingExtraError("httptools", "server", "a server") from error

MAX_HEAD = 64 * 1024
"""Bytes of a request line and its headers; and of the trailers of a chunked body."""
MAX_BODY = 64 * 1024 * 1024
"""Bytes of a request's body, unless the server is given another bound."""


@lru_cache(512)
def _name_of(name: bytes) -> str:
    """Return the name of a header as it is looked for: clients send the same few, again and again."""
    return name.decode("latin-1").lower()


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

    What is bounded is what would be kept: a body as it comes, and else the bytes since anything was complete, since the
    parser holds half a header, or half a trailer, back. A length that is announced is believed at once where it is too
    large, so that nobody sends a gigabyte to hear that. An upgrade that is offered (`h2c`) is not taken, as RFC 9110,
    7.8 allows.
    """

    def __init__(self, *, max_body: int = MAX_BODY) -> None:
        self._max_body = max_body
        self._parser = httptools.HttpRequestParser(self)
        self._done: list[HttpRequest | Refusal] = []
        self._request = HttpRequest()
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._size = 0
        self._quiet = 0
        self._is_in_head = True
        self.wants_body = False

    @property
    def is_begun(self) -> bool:
        """Whether a part of a request is there."""
        return self._quiet > 0 or not self._is_in_head

    def feed(self, data: bytes) -> list[HttpRequest | Refusal]:
        """Take bytes; return the requests that they complete."""
        self._quiet += len(data)
        try:
            self._parse(data)
        except _Refused:
            pass
        except httptools.HttpParserError as error:
            if not isinstance(error.__context__, _Refused):
                self._refuse(400, f"the request is not HTTP/1: {error}")
        if self._quiet > MAX_HEAD and not self._is_refused:
            self._refuse(431, f"the head of the request is longer than {MAX_HEAD} bytes")
        done, self._done = self._done, []
        return done

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._parse_without_upgrade(data[upgrade.args[0] :])

    def _parse_without_upgrade(self, rest: bytes) -> None:
        """Read the request that ends in an offer again, without that: the parser leaves its body unread."""
        self._done.pop()
        request = self._request
        lines = [f"{request.method} {request.target} HTTP/{request.version}"]
        lines += [f"{name}: {text}" for name, text in request.headers.items() if name not in ("connection", "upgrade")]
        self._parser = httptools.HttpRequestParser(self)
        self._parse("\r\n".join([*lines, "", ""]).encode("latin-1"))
        self._quiet = len(rest)
        self._parse(rest)

    @property
    def _is_refused(self) -> bool:
        return bool(self._done) and isinstance(self._done[-1], Refusal)

    def _refuse(self, status: int, why: str) -> None:
        self._done.append(Refusal(status, why))

    # -- what the parser calls ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._request, self._target, self._headers, self._body, self._size = HttpRequest(), b"", [], [], 0

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer, which is only counted."""
        if not self._is_in_head:  # a trailer
            self._count(len(name) + len(value))
            return
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Take what the head says."""
        request = self._request
        self._is_in_head, self._quiet = False, 0
        request.method = self._parser.get_method().decode("latin-1")
        request.target = self._target.decode("latin-1")
        headers = request.headers
        for name, value in self._headers:
            key, text = _name_of(name), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        request.version = self._parser.get_http_version()
        request.keeps_alive = self._parser.should_keep_alive()
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length[:20]) > self._max_body:
            self._too_large()
        self.wants_body = "expect" in headers and headers["expect"].lower() == "100-continue"

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._quiet = 0
        self._count(len(body))
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Take that the request is whole."""
        self._request.body = b"".join(self._body)
        self._done.append(self._request)
        self._is_in_head, self._quiet, self.wants_body, self._body = True, 0, False, []

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self._max_body:
            self._too_large()

    def _too_large(self) -> None:
        self._refuse(413, f"the body of the request is longer than {self._max_body} bytes")
        raise _Refused


class _Refused(Exception):  # noqa: N818 - stops the parser
    pass
