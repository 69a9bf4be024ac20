"""AWS's binary event streams: frames to bytes and back, in every chunking, and what is wrong where."""

from __future__ import annotations

import contextlib
import re
import struct
import zlib
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import fewer
from vectors import each

from fakellm.errors import WireError
from fakellm.wire.eventstream import HEADERS_LIMIT, Frame, FrameDecoder, encode_frame

NAIVE = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)
HEADERS = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
TWO = encode_frame(HEADERS, b'{"a":1}') + encode_frame({}, b"")


def read(*parts):
    decoder = FrameDecoder()
    return [frame for part in parts for frame in decoder.feed(part)], decoder.close()


def test_a_frame_is_what_aws_documents():
    assert encode_frame({}, b"") == bytes.fromhex("000000100000000005c248eb7d98c8ff")  # the specification's empty frame
    assert encode_frame({"content-type": "application/json"}, b"{'foo':'bar'}") == bytes.fromhex(
        "0000003d0000002007fd83960c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e7b27666f6f273a27626172277d8d9c08b1"
    )


def test_frames_are_read_alike_at_every_cut_and_byte_by_byte():
    whole = [Frame(HEADERS, b'{"a":1}'), Frame({})]
    assert read(TWO) == (whole, b"")
    assert [frame.offset for frame in read(TWO)[0]] == [0, len(TWO) - 16]
    assert read(*(TWO[at : at + 1] for at in range(len(TWO)))) == (whole, b"")
    for cut in range(len(TWO) + 1):
        assert read(TWO[:cut], TWO[cut:]) == (whole, b"")
        frames, rest = read(TWO[:cut])
        assert frames == whole[: len(frames)]
        assert b"".join((TWO[: cut - len(rest)], rest)) == TWO[:cut]


values = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=40), st.binary(max_size=40), st.uuids(),
    st.integers(0, 2**41).map(lambda ms: datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)),
)  # fmt: skip
names = st.text(min_size=1, max_size=20).filter(lambda name: len(name.encode()) < 256)
frames = st.builds(Frame, st.dictionaries(names, values, max_size=5), st.binary(max_size=60))


@fewer(3)
@given(st.lists(frames, max_size=4), st.lists(st.integers(1, 50), max_size=30))
def test_what_is_written_is_read_in_any_chunking(sent, sizes):
    body = b"".join(encode_frame(frame.headers, frame.payload) for frame in sent)
    parts, at = [], 0
    for size in sizes:
        parts.append(body[at : at + size])
        at += size
    assert read(*parts, body[at:]) == (sent, b"")


@fewer(3)
@given(frames, st.data())
def test_a_changed_byte_is_never_read(frame, data):
    body = bytearray(encode_frame(frame.headers, frame.payload))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(WireError, match=r"^frame 0 of the stream, at byte 0: "):
        read(bytes(body))


@given(st.binary(max_size=80))
def test_any_bytes_are_the_begin_of_a_frame_or_an_error(data):
    with contextlib.suppress(WireError):
        assert read(data) == ([], data)  # less than a frame


def prelude(length, headers, rest=b""):
    lengths = struct.pack(">II", length, headers)
    return lengths + struct.pack(">I", zlib.crc32(lengths)) + rest


def framed(headers):
    whole = prelude(16 + len(headers), len(headers), headers)
    return whole + struct.pack(">I", zlib.crc32(whole))


@each(
    "bad, message",
    [
        (b"data: {}\n\ndata: {}\n\n", "the checksum of its prelude is"),
        (prelude(15, 0), "it is 15 bytes long, and its headers alone are 0"),
        (prelude(20, 5), "it is 20 bytes long, and its headers alone are 5"),
        (prelude(HEADERS_LIMIT + 99, HEADERS_LIMIT + 1), "its headers are 131073 bytes long"),
        (prelude(2**31, 0), "its payload is 2147483632 bytes long, and the limit is"),
        (encode_frame({}, b"abc")[:-1] + b"\0", "its checksum is 0x"),
        (framed(b"\1a\x0a"), "there is no type 10"),
        (framed(b"\1a"), "its headers cannot be read"),
        (framed(b"\5a"), "they end 4 bytes too early"),
        (framed(b"\1a\7\0\5b"), "they end 4 bytes too early"),
        (framed(b"\1a\0\1a\1"), "there are two of the name 'a'"),
        (framed(b"\1\xff\0"), "its headers cannot be read"),
        (framed(b"\1a\x08" + b"\x7f" * 8), "its headers cannot be read"),
    ],
    ids=lambda row: row[1],
)
def test_what_is_wrong_is_said_with_its_place_and_for_ever(bad, message):
    decoder = FrameDecoder()
    assert len(decoder.feed(TWO)) == 2
    for _ in range(2):
        with pytest.raises(WireError, match=re.escape(f"frame 2 of the stream, at byte {len(TWO)}: ")) as error:
            decoder.feed(bad)
        assert message in str(error.value)
    decoder = FrameDecoder()
    assert len(decoder.feed(TWO + bad)) == 2  # what came before it is not lost
    for what in (decoder.close, lambda: decoder.feed(b"")):
        with pytest.raises(WireError, match="frame 2 of the stream"):
            what()


def test_a_limit_can_be_given():
    with pytest.raises(WireError, match="its payload is 4 bytes long, and the limit is 3; give a larger limit="):
        FrameDecoder(limit=3).feed(encode_frame({}, b"abcd"))


@each("name, value", [("", "a"), ("a" * 256, "a"), ("a", "b" * 65536), ("a", 2**63), ("a", 1.5), ("a", NAIVE)])
def test_a_header_that_no_frame_can_hold_is_refused(name, value):
    with pytest.raises(WireError, match="a frame cannot have a header"):
        encode_frame({name: value})


def test_botocore_reads_the_same():
    eventstream = pytest.importorskip("botocore.eventstream")
    headers = {**HEADERS, "t": True, "f": False, "i": -5, "l": 2**40, "b": b"\0\1", "u": UUID(int=7)}
    buffer = eventstream.EventStreamBuffer()
    buffer.add_data(encode_frame(headers, b"\xff") + TWO)
    first, *others = buffer
    assert (first.headers, first.payload) == ({**headers, "u": UUID(int=7).bytes}, b"\xff")
    assert [frame.payload for frame in others] == [b'{"a":1}', b""]
