"""Server-sent events and NDJSON: every vector whole, byte by byte, and cut at every single position."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from corpus import body, manifest, needs_corpus
from hypothesis import given
from hypothesis import strategies as st
from strategies import fewer
from vectors import each

from fakellm.errors import WireError
from fakellm.wire.sse import SSE, NDJSONDecoder, SSEDecoder, encode_ndjson, encode_sse

VECTORS = {
    "one": (b"data: a\n\n", [SSE("a")]),
    "no space": (b"data:a\n\n", [SSE("a")]),
    "two spaces": (b"data:  a\n\n", [SSE(" a")]),
    "a tab is no space": (b"data:\ta\n\n", [SSE("\ta")]),
    "lines": (b"data: a\ndata: b\n\n", [SSE("a\nb")]),
    "empty lines of data": (b"data\ndata:\n\n", [SSE("\n")]),
    "empty data": (b"data\n\ndata:\n\n", [SSE(""), SSE("")]),
    "CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", [SSE("a"), SSE("b")]),
    "CR": (b"data: a\r\rdata: b\r\r", [SSE("a"), SSE("b")]),
    "mixed ends": (b"data: a\r\ndata: b\rdata: c\n\r\n", [SSE("a\nb\nc")]),
    "CR, then LF LF": (b"data: a\r\n\ndata: b\n\r", [SSE("a"), SSE("b")]),
    "event": (b"event: delta\ndata: a\n\n", [SSE("a", "delta")]),
    "data before event": (b"data: a\nevent: delta\n\n", [SSE("a", "delta")]),
    "event twice": (b"event: x\nevent: y\ndata: a\n\n", [SSE("a", "y")]),
    "empty event": (b"event:\ndata: a\n\n", [SSE("a")]),
    "event without data": (b"event: ping\n\ndata: a\n\n", [SSE("a")]),
    "id": (b"id: 1\ndata: a\n\ndata: b\n\n", [SSE("a", id="1"), SSE("b")]),
    "id with NUL": (b"id: 1\0\ndata: a\n\n", [SSE("a")]),
    "empty id": (b"id\ndata: a\n\n", [SSE("a", id="")]),
    "comments": (b": keep-alive\n\n:\ndata: a\n: between\ndata: b\n\n", [SSE("a\nb")]),
    "retry only": (b"retry: 3000\n\ndata: a\n\n", [SSE("a")]),
    "bad retry": (b"retry: 3s\nretry: -1\nretry: \xd9\xa3\nretry\n\n", []),
    "unknown fields": (b"foo: bar\nData: b\n data: c\ndata: a\n\n", [SSE("a")]),
    "colons": (b"data: a: b\n\n", [SSE("a: b")]),
    "BOM": (b"\xef\xbb\xbfdata: a\n\n", [SSE("a")]),
    "only the first BOM": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [SSE("b")]),
    "half a BOM": (b"\xef\xbbdata: a\n\ndata: b\n\n", [SSE("b")]),
    "UTF-8": ("data: grün 🙂\n\n".encode(), [SSE("grün 🙂")]),
    "bad UTF-8": (b"data: \xff\xf0\x9f\n\n", [SSE("\ufffd\ufffd")]),
    "other line ends are text": ("data: a\u2028b\x85c\x0bd\x0ce\n\n".encode(), [SSE("a\u2028b\x85c\x0bd\x0ce")]),
    "cut off": (b"data: a\n\ndata: b\n", [SSE("a")]),
    "cut off in a line": (b"data: a\n\ndata: b", [SSE("a")]),
    "nothing": (b"", []),
    "blank lines": (b"\n\r\n\r\r\n\n", []),
    "a colon only": (b":\n\n", []),
    "done": (b"data: {}\n\ndata: [DONE]\n\n", [SSE("{}"), SSE("[DONE]")]),
}
vectors = pytest.mark.parametrize(("stream", "events"), VECTORS.values(), ids=VECTORS)


def decode(*reads, **options):
    decoder = SSEDecoder(**options)
    return [event for read in reads for event in decoder.feed(read)] + decoder.close()


@each(vectors)
def test_whole(stream, events):
    assert decode(stream) == events


@each(vectors)
def test_byte_by_byte(stream, events):
    assert decode(*(stream[at : at + 1] for at in range(len(stream)))) == events


@each(vectors)
def test_cut_at_every_position_also_with_an_empty_read_between(stream, events):
    for at in range(len(stream) + 1):
        assert decode(stream[:at], stream[at:]) == events
        assert decode(stream[:at], b"", stream[at:]) == events


@each(vectors)
def test_events_come_with_the_byte_that_completes_them(stream, events):
    decoder = SSEDecoder()
    seen = 0
    for at in range(len(stream)):
        seen += len(decoder.feed(stream[at : at + 1]))
        assert seen == len(decode(stream[: at + 1]))


@each(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: [DONE]\n", [SSE("a"), SSE("[DONE]")]),
        (b"data: a\n\nevent: x\ndata: b", [SSE("a"), SSE("b", "x")]),
        (b"event: x\n", []),
        (b"data: a\n\n", [SSE("a")]),
        (b"\xef\xbb", []),
    ],
)
def test_with_flush_the_end_of_the_stream_dispatches(stream, events):
    assert decode(stream, flush=True) == events
    assert decode(*(stream[at : at + 1] for at in range(len(stream))), flush=True) == events


def test_the_decoder_knows_the_last_id_and_the_retry():
    decoder = SSEDecoder()
    decoder.feed(b"id: 7\nretry: 1500\ndata: a\n\ndata: b\n\n")

    assert (decoder.last_event_id, decoder.retry) == ("7", 1500)


def test_a_retry_of_absurd_length_is_no_work():
    decoder = SSEDecoder()
    decoder.feed(b"retry: " + b"9" * 10_000 + b"\n\n")

    assert decoder.retry == 999_999_999_999_999


@each("stream", [b"data: " + b"a" * 100, b"data: aaaaaaaaaa\n" * 10, b"x" * 100])
def test_an_event_over_the_limit_is_refused(stream):
    with pytest.raises(WireError, match=r"an event of the stream has \d+ bytes and more, and the limit is 50"):
        decode(stream, limit=50)
    with pytest.raises(WireError):
        decode(*(stream[at : at + 1] for at in range(len(stream))), limit=50)
    assert decode(b"data: aaa\n\n" * 100, limit=50) == [SSE("aaa")] * 100


LINES = st.sampled_from(
    [b"data: a", b"data", b"data:\xf0\x9f\x99\x82", b"event: e", b"id: 1", b"retry: 5", b": c", b"", b"x", b"data: "]
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])


@given(st.lists(st.tuples(LINES, ENDS)), st.lists(st.integers(0, 200)))
def test_reads_make_no_difference(lines, cuts):
    stream = b"".join(line + end for line, end in lines)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reads = [stream[a:b] for a, b in pairwise(places)]

    assert decode(*reads) == decode(stream)
    assert decode(*reads, flush=True) == decode(stream, flush=True)


@given(st.binary(), st.integers(0, 40))
def test_no_bytes_raise_anything_but_the_documented_error(stream, at):
    assert all(isinstance(event, SSE) for event in decode(stream[:at], stream[at:], flush=True))
    with suppress(WireError):
        decode(stream[:at], stream[at:], limit=8)


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), min_size=1)
texts = st.text(st.characters(exclude_categories=["Cs"]))


@fewer(3)
@given(st.lists(st.builds(SSE, texts, st.none() | names, st.none() | names)), st.sampled_from(["\n", "\r", "\r\n"]))
def test_what_is_encoded_is_decoded_again(events, line_end):
    stream = b"".join(encode_sse(event, line_end=line_end) for event in events)
    wanted = [SSE("\n".join(_lines(event.data)), event.event, event.id) for event in events]

    assert decode(stream) == wanted


def _lines(text):
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def test_an_event_is_encoded_as_providers_write_it():
    assert encode_sse(SSE('{"a": 1}', "delta")) == b'event: delta\ndata: {"a": 1}\n\n'
    assert encode_sse(SSE("a\nb"), line_end="\r\n") == b"data: a\r\ndata: b\r\n\r\n"


@each("event", [SSE("a", "x\ny"), SSE("a", id="x\r"), SSE("a", id="\0")])
def test_what_no_stream_can_carry_is_refused(event):
    with pytest.raises(WireError, match="of a server-sent event cannot be"):
        encode_sse(event)


NDJSON = {
    "values": (b'{"a":1}\n{"b":2}\r\n', [{"a": 1}, {"b": 2}]),
    "no last end": (b'{"a":1}\n3', [{"a": 1}, 3]),
    "blank lines": (b'\n \n{"a":1}\n\n', [{"a": 1}]),
    "text": ('{"a":"grün 🙂\\n"}\n'.encode(), [{"a": "grün 🙂\n"}]),
    "nothing": (b"", []),
}


@each(("stream", "values"), NDJSON.values(), ids=NDJSON)
def test_ndjson_whole_byte_by_byte_and_cut_at_every_position(stream, values):
    def read(*reads):
        decoder = NDJSONDecoder()
        return [value for part in reads for value in decoder.feed(part)] + decoder.close()

    assert read(stream) == values
    assert read(*(stream[at : at + 1] for at in range(len(stream)))) == values
    for at in range(len(stream) + 1):
        assert read(stream[:at], stream[at:]) == values


@each("line", [b"{", b"\xff", b"[" * 100_000])
def test_a_line_that_is_no_json_is_refused(line):
    with pytest.raises(WireError, match="a line of the stream is not JSON"):
        NDJSONDecoder().feed(line + b"\n")


def test_ndjson_keeps_the_limit_and_encodes():
    with pytest.raises(WireError, match="limit is 5"):
        NDJSONDecoder(limit=5).feed(b"1234567")
    assert encode_ndjson({"a": "ü"}) == '{"a":"ü"}\n'.encode()


RECORDED = [
    pytest.param(row["file"], stream["idx"], stream["events"], id=f"{row['file']}-{stream['idx']}")
    for row in manifest()
    for stream in row["streams"]
    if row["dialect"] == "vcrpy" and stream["framing"] == "sse"
]


@needs_corpus
@each(("file", "index", "events"), RECORDED or [("", 0, 0)])
def test_recorded_streams_have_as_many_events_as_counted_and_reads_make_no_difference(file, index, events):
    stream = body(file, index)

    whole = decode(stream, flush=True)

    assert len(whole) == events
    assert decode(*(stream[at : at + 61] for at in range(0, len(stream), 61)), flush=True) == whole
