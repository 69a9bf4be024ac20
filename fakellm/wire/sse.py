"""Server-sent events and newline-delimited JSON: bytes to events, incrementally, and back.

The rules of server-sent events are those of the WHATWG, HTML Living Standard, 9.2.5 and 9.2.6: UTF-8 with
one BOM dropped, lines that end in LF, CR or CRLF, fields `data`, `event`, `id` and `retry`, comments, and a
blank line that dispatches what has data. How the bytes are cut into reads makes no difference.

At the end of a stream the standard drops an event that no blank line ended, as the SDKs of OpenAI and Anthropic do.
Google's reads it, and so does `SSEDecoder(flush=True)`: some providers end their last event with one line feed only.
"""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass
from typing import Any

from fakellm.errors import WireError

LIMIT = 64 * 2**20
"""Bytes that an event or a line may have unless the decoder is told otherwise; 32 times the longest recorded."""

_RETRY_DIGITS = 15
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class SSE:
    """One server-sent event. `event` and `id` are None where the stream did not give them."""

    data: str
    event: str | None = None
    id: str | None = None


class _Lines:
    """Cuts bytes into lines that end in LF, CR or CRLF, also where a read ends between CR and LF."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._after_cr = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that the bytes complete, without their ends."""
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]
            self._after_cr = False
        if b"\n" not in data and b"\r" not in data:
            return self._hold(data)
        self._after_cr = data.endswith(b"\r")
        lines = data.splitlines(keepends=True)
        rest = b"" if lines[-1].endswith((b"\n", b"\r")) else lines.pop()
        if lines:
            lines[0] = b"".join((*self._parts, lines[0]))
            self._parts, self._size = [], 0
        self._hold(rest)
        return [line.rstrip(b"\r\n") for line in lines]

    def _hold(self, rest: bytes) -> list[bytes]:
        """Keep the begin of a line; return no lines."""
        if rest:
            self._after_cr = False
            self._parts.append(rest)
            self._size += len(rest)
            if self._size > self._limit:
                raise too_large(self._size, self._limit)
        return []

    def close(self) -> bytes:
        """Return what no line end has ended."""
        rest, self._parts, self._size = b"".join(self._parts), [], 0
        return rest


def too_large(size: int, limit: int) -> WireError:
    """Return the error for an event that does not fit."""
    return WireError(
        f"an event of the stream has {size} bytes and more, and the limit is {limit}; give a larger limit="
    )


class SSEDecoder:
    """Turns the bytes of an event stream into events, as they become complete.

    `last_event_id` and `retry` (milliseconds) are what the stream said last. An event of more than `limit`
    bytes raises `WireError`. With `flush` the event that the end of the stream cuts off is dispatched.
    """

    def __init__(self, *, limit: int = LIMIT, flush: bool = False) -> None:
        self.last_event_id = ""
        self.retry: int | None = None
        self._flush = flush
        self._limit = limit
        self._lines = _Lines(limit)
        self._head: bytes | None = b""
        self._data: list[str] = []
        self._size = 0
        self._event: str | None = None
        self._id: str | None = None

    def feed(self, data: bytes) -> list[SSE]:
        """Return the events that the bytes complete."""
        if self._head is not None:
            data = self._without_bom(self._head + data)
        return [event for line in self._lines.feed(data) if (event := self._line(line)) is not None]

    def line(self, line: bytes) -> list[SSE]:
        """Return the events that a line completes, which was cut already: without its end, the first without a BOM."""
        self._head = None
        event = self._line(line)
        return [] if event is None else [event]

    def _without_bom(self, data: bytes) -> bytes:
        """Return the first bytes without a BOM; nothing while they may be the begin of one."""
        if len(data) < len(codecs.BOM_UTF8) and codecs.BOM_UTF8.startswith(data):
            self._head = data
            return b""
        self._head = None
        return data.removeprefix(codecs.BOM_UTF8)

    def close(self) -> list[SSE]:
        """Take the end of the stream: drop the event that is not complete, or with `flush` return it."""
        head, self._head = self._head or b"", None
        events = [event for line in self._lines.feed(head) if (event := self._line(line)) is not None]
        rest = self._lines.close()
        if not self._flush:
            self._data, self._size, self._event, self._id = [], 0, None, None
            return events
        if rest:
            self._line(rest)
        event = self._dispatch()
        return [*events, event] if event is not None else events

    def _line(self, line: bytes) -> SSE | None:
        """Take a line; return the event that it dispatches."""
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode("utf-8", "replace")
        if name == b"data":
            self._data.append(text)
            self._size += len(value)
            if self._size > self._limit:
                raise too_large(self._size, self._limit)
        elif name == b"event":
            self._event = text
        elif name == b"id" and "\0" not in text:
            self._id = self.last_event_id = text
        elif name == b"retry" and text.isascii() and text.isdigit():
            self.retry = int(text[:_RETRY_DIGITS])
        return None

    def _dispatch(self) -> SSE | None:
        data, event, id = self._data, self._event, self._id  # noqa: A001
        self._data, self._size, self._event, self._id = [], 0, None, None
        return SSE("\n".join(data), event or None, id) if data else None


def encode_sse(event: SSE, *, line_end: str = "\n") -> bytes:
    """Return the event as bytes, in the order `event`, `id`, `data`, with the blank line that ends it.

    Raises `WireError` for a name or an id that holds a line end, which no stream can carry.
    """
    lines: list[str] = []
    for name, value in (("event", event.event), ("id", event.id)):
        if value is not None:
            if _LINE_END.search(value) or (name == "id" and "\0" in value):
                msg = f"the {name} of a server-sent event cannot be {value!r}: it ends at the first line end"
                raise WireError(msg)
            lines.append(f"{name}: {value}")
    lines += [f"data: {line}" for line in _LINE_END.split(event.data)]
    return (line_end.join(lines) + 2 * line_end).encode()


class NDJSONDecoder:
    """Turns the bytes of newline-delimited JSON into values, as lines become complete; blank lines are passed over."""

    def __init__(self, *, limit: int = LIMIT) -> None:
        self._lines = _Lines(limit)

    def feed(self, data: bytes) -> list[Any]:
        """Return the values that the bytes complete. Raises `WireError` for a line that is not JSON."""
        return [_value(line) for line in self._lines.feed(data) if line.strip()]

    def close(self) -> list[Any]:
        """Take the end of the stream: return the value of a last line without an end."""
        rest = self._lines.close()
        return [_value(rest)] if rest.strip() else []


def _value(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        msg = f"a line of the stream is not JSON: {error}: {line[:80]!r}"
        raise WireError(msg) from None


def encode_ndjson(value: Any) -> bytes:
    """Return the value as a line of JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
