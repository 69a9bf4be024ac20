"""`sweep` over recorded streams of real providers: it finds what `check_consumer` finds."""

from __future__ import annotations

import base64
import json

import pytest
import recorded
from consumers import sse_by_read, sse_right
from corpus import needs_corpus
from sweeping import lines

from fakellm.contracts import check_consumer, sweep
from fakellm.wire.sse import SSEDecoder

pytestmark = [needs_corpus, pytest.mark.exhaustive]


def ends_at_lf(chunks):
    """Know one way in which a line can end."""
    held, found = b"", []
    for chunk in chunks:
        *events, held = (held + chunk).split(b"\n\n")
        found += [event for event in events if event.startswith((b"data:", b"event:"))]
    return found


def decodes_reads(chunks):
    decoder = SSEDecoder()
    found = [event for chunk in chunks for event in decoder.feed(chunk.decode("utf-8", "replace").encode())]
    return [event.data for event in [*found, *decoder.close()]]


def parses_every_block(chunks):
    """Parse the data of each block, whether or not it has some."""
    body = b"".join(chunks).replace(b"\r\n", b"\n").replace(b"\r", b"\n").removeprefix(b"\xef\xbb\xbf")
    blocks = [block for block in body.split(b"\n\n") if block]
    return [block.split(b"data: ", 1)[1] for block in blocks]


def event_streams(longest, *, each):
    """Return the shortest event stream of each kind that is no longer than that, shortest first."""
    found = {}
    for row, stream in recorded.streams():
        if stream["framing"] != "sse" or stream["api"] not in recorded.CODECS:
            continue
        body = recorded.body(row, stream)
        kind = (*(stream[name] for name in each), body.isascii())
        if 0 < len(body) < min(longest, len(found.get(kind, b" " * longest))):
            found[kind] = body
    return sorted(found.values(), key=len)


READ = ["framing", "utf8_split", "line_ends", "control_blocks"]


@pytest.mark.parametrize("consume", [sse_by_read, ends_at_lf, decodes_reads, parses_every_block])
def test_what_check_consumer_finds_on_a_recorded_stream_a_sweep_finds(consume, tmp_path):
    bodies = event_streams(4_000, each=["api"])
    path = lines(tmp_path / "a.jsonl", *({"body_base64": base64.b64encode(body).decode()} for body in bodies))
    seen = 0
    for at, body in enumerate(bodies, 1):
        try:
            known = {one.contract.name for one in check_consumer(consume, body, contracts=READ).failed}
        except ValueError:  # it cannot read this one
            continue
        found = {one["contract"] for one in sweep(path, consume, at=at, workers=0).plain()["failures"]}
        if "utf8_split" in known:  # its chunks for framing are cut inside characters, too
            known.discard("framing")
        assert found >= known, json.dumps([at, len(body)])
        seen += bool(known)
    assert seen > 4


def test_no_recorded_stream_is_read_in_two_ways_by_a_right_consumer(tmp_path):
    bodies = event_streams(20_000, each=["api", "provider"])
    rows = ({"body_base64": base64.b64encode(body).decode()} for body in bodies)
    report = sweep(lines(tmp_path / "a.jsonl", *rows), sse_right, limit=40, workers=0)

    assert report.streams > 20
    assert report.failed == 0
