"""The public hypothesis strategies: what they draw means the same, and shrinks towards the undivided document."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from strategies import fewer
from vectors import first_of

from fakellm.contracts import strategies
from fakellm.contracts.structured.document import document_of
from fakellm.errors import ContractUsageError
from fakellm.wire.sse import SSE, SSEDecoder

THINK = "<think>plan</think>The answer"
BODY = b"event: delta\ndata: a\n\ndata: b\n\n"
CHUNKS = [
    {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": end}]}
    for text, end in (("Hel", None), ("lo", None), (None, "stop"))
]
quiet = settings(database=None)


def read(chunks):
    decoder = SSEDecoder(flush=True)
    return [event for chunk in chunks for event in decoder.feed(chunk)] + decoder.close()


@fewer(3)
@given(st.text(min_size=1) | st.binary(min_size=1), st.data())
def test_chunkings_add_up_to_the_document(document, data):
    chunks = data.draw(strategies.chunkings(document, sse=False if isinstance(document, bytes) else None))

    assert document[:0].join(chunks) == document


@fewer(3)
@given(strategies.chunkings(BODY))
def test_chunkings_of_an_event_stream_have_its_events(chunks):
    assert read(chunks) == read([BODY])


@fewer(3)
@given(strategies.chunkings(CHUNKS))
def test_chunkings_of_structured_chunks_say_the_same(chunks):
    choices = [choice for chunk in chunks for choice in chunk["choices"]]

    assert "".join(choice["delta"].get("content") or "" for choice in choices) == "Hello"


@fewer(3)
@given(strategies.chunkings(THINK, empty=False), strategies.cuts(THINK, empty=False))
def test_without_empty_chunks(chunks, cuts):
    assert all(chunks)
    assert len(set(cuts)) == len(cuts)
    assert not {0, len(THINK)} & set(cuts)


@fewer(3)
@given(st.text("ab<> \u00e9", min_size=1, max_size=4) | st.binary(min_size=1, max_size=4), st.booleans(), st.data())
def test_every_short_document_has_chunkings_and_cuts(document, empty, data):
    sse = False if isinstance(document, bytes) else None
    chunks = data.draw(strategies.chunkings(document, sse=sse, empty=empty))

    assert document[:0].join(chunks) == document
    assert empty or all(chunks)
    data.draw(strategies.cuts(document, empty=empty))


@fewer(3)
@given(st.binary(min_size=1), st.data())
def test_cuts_are_sorted_positions(document, data):
    cuts = data.draw(strategies.cuts(document))

    assert list(cuts) == sorted(cuts)
    assert all(0 <= cut <= len(document) for cut in cuts)


@fewer(3)
@given(strategies.sse_bodies())
def test_a_body_holds_its_events(drawn):
    body, events = drawn

    assert read([body]) == events


@fewer(3)
@given(strategies.sse_bodies(st.just("x"), min_events=2, max_events=3))
def test_a_body_holds_the_data_that_was_asked_for(drawn):
    _, events = drawn

    assert 2 <= len(events) <= 3
    assert {event.data for event in events} == {"x"}


@pytest.mark.parametrize(
    ("strategy", "fails", "smallest"),
    first_of([
        (strategies.chunkings(THINK), lambda chunks: True, [THINK]),
        (strategies.chunkings(THINK), lambda c: any(x.endswith("</thi") for x in c), ["<think>plan</thi", "nk>The answer"]),
        (strategies.chunkings("Gr\u00fc\u00dfe".encode()), lambda c: any(x[-1:] == b"\xc3" for x in c), 2),
        (strategies.chunkings("ab"), lambda c: "" in c, 3),
        (strategies.cuts(THINK), lambda cuts: len(cuts) > 1, 2),
        (strategies.chunkings(b"data: a\n\n"), lambda c: b"\r\n" in b"".join(c), [b"data: a\r\n\r\n"]),
        (strategies.chunkings(CHUNKS), lambda chunks: True, CHUNKS),
        (strategies.sse_bodies(), lambda drawn: True, (b"", [])),
        (strategies.sse_bodies(), lambda drawn: drawn[1], (b"data: \n\n", [SSE("")])),
    ], 3),
)  # fmt: skip
def test_what_fails_shrinks_to_few_cuts(strategy, fails, smallest):
    found = find(strategy, fails, settings=settings(quiet, max_examples=200))

    assert len(found) == smallest if isinstance(smallest, int) else found == smallest


def test_what_is_drawn_can_be_read_asynchronously():
    chunks = find(strategies.chunkings("abc"), lambda chunks: len(chunks) == 2, settings=quiet)

    async def main():
        return "".join([chunk async for chunk in chunks])

    assert asyncio.run(main()) == "abc"


@pytest.mark.parametrize(
    ("draw", "match"),
    [
        (lambda: strategies.chunkings(""), "is empty"),
        (lambda: strategies.chunkings(3), "3"),
        (lambda: strategies.chunkings("a", sse=True), "about bytes"),
        (lambda: strategies.cuts(CHUNKS), "cuts are positions in a text or in bytes, not in a list"),
        (lambda: strategies.cuts(""), "is empty"),
        (lambda: strategies.sse_bodies(min_events=3, max_events=2), "not from 3 to 2"),
        (lambda: strategies.sse_bodies(min_events=-1), "not from -1 to 5"),
    ],
)
def test_bad_arguments_are_refused_at_once(draw, match):
    with pytest.raises(ContractUsageError, match=match):
        draw()


def test_structured_documents_are_taken_as_they_are():
    assert find(strategies.chunkings(document_of(CHUNKS)), lambda chunks: True, settings=quiet) == CHUNKS
