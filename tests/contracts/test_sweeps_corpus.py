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


def event_streams():
    """Yield the bodies of recorded event streams."""
    for row, stream in recorded.streams():
        if stream["framing"] == "sse" and stream["api"] in recorded.CODECS:
            yield recorded.body(row, stream)


def is_meant(verdict):
    """Tell whether what breaks a contract is what it is about: a cut alone has nothing to do with line ends."""
    edited = {"line_ends": "line ends b", "control_blocks": " + "}.get(verdict.contract.name, "")
    return verdict.contract.name in ("framing", "utf8_split", "line_ends", "control_blocks") and edited in str(verdict)


@pytest.mark.parametrize("consume", [sse_right, sse_by_read, ends_at_lf, decodes_reads, parses_every_block])
def test_what_check_consumer_finds_on_a_recorded_stream_a_sweep_finds(consume, tmp_path):
    bodies = sorted((body for body in event_streams() if 600 < len(body) < 12_000), key=len)[::9]
    path = lines(tmp_path / "a.jsonl", *({"body_base64": base64.b64encode(body).decode()} for body in bodies))
    for at, body in enumerate(bodies, 1):
        try:
            known = {verdict.contract.name for verdict in check_consumer(consume, body).failed if is_meant(verdict)}
        except ValueError:  # it cannot read this one
            continue
        found = {one["contract"] for one in sweep(path, consume, at=at, workers=0).plain()["failures"]}
        if "utf8_split" in known:  # its chunks for framing are cut inside characters, too
            known.discard("framing")
        assert found >= known, json.dumps([at, len(body)])


def test_no_recorded_stream_is_read_in_two_ways_by_a_right_consumer(tmp_path):
    rows = ({"body_base64": base64.b64encode(body).decode()} for body in event_streams() if 0 < len(body) < 20_000)
    report = sweep(lines(tmp_path / "a.jsonl", *rows), sse_right, limit=40, workers=0)

    assert report.streams > 100
    assert report.failed == 0
