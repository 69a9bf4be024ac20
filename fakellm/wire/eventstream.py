"""The binary event streams of AWS, `application/vnd.amazon.eventstream`: bytes to frames, incrementally, and back.

Source: the Smithy specification, "Amazon Event Stream Specification"; the Amazon Transcribe developer guide, "Event
stream encoding"; and recorded streams of Bedrock.

The theory. A frame is a prelude of three numbers, headers, a payload, and a checksum:

    length of the frame | length of its headers | CRC-32 of these 8 bytes | headers | payload | CRC-32 of all before

Numbers are big-endian; the three of the prelude and the last checksum have four bytes each, so a frame without headers
and payload has 16. A header is the length of its name (one byte), the name, a type (one byte) and a value, whose length
stands before it (two bytes) where the type does not say it.

There are no marks between frames. Whoever loses count cannot find the next frame, which is why the prelude has a
checksum of its own: a length is believed only once the eight bytes around it add up, and then the frame is waited for,
however its bytes are cut into reads. So the first frame that is wrong ends the stream, and the error says which it is
and where it begins. A body that ends inside a frame was cut off; one that ends between two of them may be whole.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from fakellm.errors import WireError

Value = bool | int | str | bytes | datetime | UUID
"""What a header holds. Numbers of one, two, four and eight bytes are read alike, and written in four or eight."""

LIMIT = 24 * 2**20
"""Bytes that a payload may have, and `HEADERS_LIMIT` those of headers, as AWS and botocore have it."""
HEADERS_LIMIT = 128 * 2**10

_PRELUDE = struct.Struct(">III")
_CHECK = 4
_LEAST = _PRELUDE.size + _CHECK
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBERS = {2: 1, 3: 2, 4: 4, 5: 8}
_TRUE, _FALSE, _INTEGER, _LONG, _BYTES, _STRING, _TIMESTAMP, _UUID = 0, 1, 4, 5, 6, 7, 8, 9


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: its headers by their names, and its payload.

    `offset` is where it begins in the body that it was read from, and `size` how long it is there, in bytes.
    """

    headers: Mapping[str, Value]
    payload: bytes = b""
    offset: int = field(default=0, compare=False)
    size: int = field(default=0, compare=False)

    def text(self, name: str) -> str:
        """Return a header that is text; empty where there is none, or another kind."""
        value = self.headers.get(name)
        return value if isinstance(value, str) else ""


class FrameDecoder:
    """Turns the bytes of an event stream into frames, as they become complete.

    Raises `WireError`, which names the frame and the byte at which it begins, for a checksum that is wrong, for lengths
    that cannot be, for headers that are none, and for a payload of more than `limit` bytes; then for ever. The frames
    before it are returned first, if they come with it, and `error` is what is raised then.
    """

    def __init__(self, *, limit: int = LIMIT) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._wanted = _PRELUDE.size
        self._offset = 0
        self._count = 0
        self.error: WireError | None = None

    @property
    def place(self) -> str:
        """Where the next frame begins, in words."""
        return f"frame {self._count} of the stream, at byte {self._offset}"

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that the bytes complete."""
        self._check()
        self._buffer += data
        frames: list[Frame] = []
        try:
            self._read(frames)
        except WireError as error:
            self.error = error
            if not frames:
                raise
        return frames

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    def _read(self, frames: list[Frame]) -> None:
        """Take the frames that are complete."""
        while len(self._buffer) >= self._wanted:
            if self._wanted == _PRELUDE.size:
                self._wanted = self._length()
                continue
            frames.append(self._frame(bytes(self._buffer[: self._wanted])))
            del self._buffer[: self._wanted]
            self._offset += self._wanted
            self._count += 1
            self._wanted = _PRELUDE.size

    def close(self) -> bytes:
        """Take the end of the body: return the begin of a frame that did not come whole."""
        self._check()
        return bytes(self._buffer)

    def _fail(self, why: str) -> WireError:
        return WireError(f"{self.place}: {why}")

    def _length(self) -> int:
        """Return the length of the frame whose prelude is there."""
        length, headers, check = _PRELUDE.unpack_from(self._buffer)
        if (found := zlib.crc32(self._buffer[:8])) != check:
            raise self._fail(f"the checksum of its prelude is {check:#010x}, and its bytes give {found:#010x}")
        if length < headers + _LEAST:
            raise self._fail(f"it is {length} bytes long, and its headers alone are {headers}")
        if headers > HEADERS_LIMIT:
            raise self._fail(f"its headers are {headers} bytes long, and the limit is {HEADERS_LIMIT}")
        if (payload := length - headers - _LEAST) > self._limit:
            raise self._fail(
                f"its payload is {payload} bytes long, and the limit is {self._limit}; give a larger limit="
            )
        return int(length)

    def _frame(self, data: bytes) -> Frame:
        check = int.from_bytes(data[-_CHECK:], "big")
        if (found := zlib.crc32(data[:-_CHECK])) != check:
            raise self._fail(f"its checksum is {check:#010x}, and its bytes give {found:#010x}")
        end = _PRELUDE.size + int.from_bytes(data[4:8], "big")
        try:
            headers = _headers(data[_PRELUDE.size : end])
        except (ValueError, IndexError, OverflowError) as error:
            raise self._fail(f"its headers cannot be read: {error}") from None
        return Frame(headers, data[end:-_CHECK], self._offset, len(data))


def _headers(data: bytes) -> dict[str, Value]:
    found: dict[str, Value] = {}
    at = 0
    while at < len(data):
        length = data[at]
        name = _taken(data, at + 1, length).decode()
        kind = data[at + 1 + length]
        at += length + 2
        if name in found:
            msg = f"there are two of the name {name!r}"
            raise ValueError(msg)
        found[name], at = _value(data, at, kind)
    return found


def _taken(data: bytes, at: int, length: int) -> bytes:
    """Return so many bytes, all of which have to be there."""
    if at + length > len(data):
        msg = f"they end {at + length - len(data)} bytes too early"
        raise ValueError(msg)
    return data[at : at + length]


def _value(data: bytes, at: int, kind: int) -> tuple[Value, int]:
    """Return the value of a header that is of this type, and where the next header begins."""
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind in (_BYTES, _STRING):
        length = int.from_bytes(_taken(data, at, 2), "big")
        raw = _taken(data, at + 2, length)
        return raw.decode() if kind == _STRING else raw, at + 2 + length
    if kind == _UUID:
        return UUID(bytes=_taken(data, at, 16)), at + 16
    if kind == _TIMESTAMP:
        milliseconds = int.from_bytes(_taken(data, at, 8), "big", signed=True)
        return _EPOCH + timedelta(milliseconds=milliseconds), at + 8
    if kind not in _NUMBERS:
        msg = f"there is no type {kind}"
        raise ValueError(msg)
    size = _NUMBERS[kind]
    return int.from_bytes(_taken(data, at, size), "big", signed=True), at + size


def encode_frame(headers: Mapping[str, Value], payload: bytes = b"") -> bytes:
    """Return a frame as bytes. Raises `WireError` for a header that no frame can hold."""
    packed = b"".join(_packed(name, value) for name, value in headers.items())
    lengths = struct.pack(">II", len(packed) + len(payload) + _LEAST, len(packed))
    whole = b"".join((lengths, zlib.crc32(lengths).to_bytes(_CHECK, "big"), packed, payload))
    return whole + zlib.crc32(whole).to_bytes(_CHECK, "big")


def _sized(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


def _number(value: int) -> bytes:
    is_small = -(2**31) <= value < 2**31
    return bytes([_INTEGER if is_small else _LONG]) + value.to_bytes(4 if is_small else 8, "big", signed=True)


def _time(value: datetime) -> bytes:
    return bytes([_TIMESTAMP]) + round((value - _EPOCH) / timedelta(milliseconds=1)).to_bytes(8, "big", signed=True)


_WRITERS: tuple[tuple[type, Callable[..., bytes]], ...] = (
    (bool, lambda value: bytes([_TRUE if value else _FALSE])),
    (int, _number),
    (str, lambda value: bytes([_STRING]) + _sized(value.encode())),
    (bytes, lambda value: bytes([_BYTES]) + _sized(value)),
    (datetime, _time),
    (UUID, lambda value: bytes([_UUID]) + value.bytes),
)


def _packed(name: str, value: Value) -> bytes:
    """Return a header as bytes."""
    raw = name.encode()
    write = next((write for kind, write in _WRITERS if isinstance(value, kind)), None)
    try:
        if write is not None and raw:
            return bytes([len(raw)]) + raw + write(value)
    except (ValueError, OverflowError, TypeError):
        pass
    msg = f"a frame cannot have a header {name[:80]!r} of the value {str(value)[:80]!r}"
    raise WireError(msg)
