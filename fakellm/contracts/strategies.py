"""Hypothesis strategies for your own properties: how a document comes in chunks, where it is cut, event streams.

    from fakellm.contracts import strategies

    @given(strategies.chunkings("<think>plan</think>The answer"))
    def test_parser(chunks): ...

They shrink towards fewer cuts, and so towards the undivided document.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from hypothesis import strategies as st

from fakellm.contracts.consumers.attempt import Chunks
from fakellm.contracts.consumers.given import document_of
from fakellm.contracts.consumers.sse_moves import INSERTS, LINE_ENDS
from fakellm.contracts.documents import Document, Moves
from fakellm.errors import ContractUsageError
from fakellm.wire.sse import SSE, encode_sse

_GROUPS = 32
_STAYS = st.sampled_from([False, *[True] * 15])

__all__ = ["chunkings", "cuts", "sse_bodies"]


def chunkings(document: Any, *, sse: bool | None = None, empty: bool = True) -> st.SearchStrategy[Chunks]:
    """Return the strategy of ways in which a document can arrive, each a list that `async for` can read as well.

    A document is a text, bytes, an event stream or structured chunks, as `any_chunking` takes it; `sse` and `empty`
    are those of `any_chunking`. Raises `ContractUsageError` for what is no document.
    """
    found = document_of(document, sse=sse, empty=empty)
    return _moves(found).map(partial(_applied, found))


def _applied(document: Document, moves: Moves) -> Chunks:
    return Chunks(document.apply(moves))


def cuts(document: str | bytes, *, empty: bool = True) -> st.SearchStrategy[tuple[int, ...]]:
    """Return the strategy of sorted positions at which a text or bytes are cut; one that comes twice cuts out nothing.

    Positions where cuts hurt most (markup, escapes, inside characters) come more often.
    """
    if not isinstance(document, (str, bytes)):
        msg = f"cuts are positions in a text or in bytes, not in a {type(document).__name__}"
        raise ContractUsageError(msg)
    found = document_of(document, empty=empty, sse=False if isinstance(document, bytes) else None)
    return _moves(found)


def _moves(document: Document) -> st.SearchStrategy[Moves]:
    return _thinned(st.just(()) | document.strategy())


@st.composite
def _thinned(draw: st.DrawFn, sets: st.SearchStrategy[Moves]) -> Moves:
    """Draw a set of moves and leave some of them out, so that it shrinks by leaving out more: any part is legal."""
    moves = draw(sets)
    size = max(-(-len(moves) // _GROUPS), 1)
    groups = [moves[at : at + size] for at in range(0, len(moves), size)]
    return tuple(move for group in groups if draw(_STAYS) for move in group)


def sse_bodies(
    data: st.SearchStrategy[str] | None = None, *, min_events: int = 0, max_events: int = 5
) -> st.SearchStrategy[tuple[bytes, list[SSE]]]:
    """Return the strategy of event streams: the bytes of a body, and the events that are in it.

    `data` draws the data of an event; by default that is text and JSON with letters of many alphabets. Lines end
    in LF, CR or CRLF, comments, `retry` and blank lines come between events, and a BOM may come first: as servers may
    write it after WHATWG, HTML Living Standard, 9.2.5. An event has a `data`, and may have a name.
    """
    if not 0 <= min_events <= max_events:
        msg = f"there are from min_events to max_events events, not from {min_events} to {max_events}"
        raise ContractUsageError(msg)
    names = st.none() | st.sampled_from(["message", "delta", "ping"])
    events = st.lists(
        st.builds(SSE, _data() if data is None else data, names), min_size=min_events, max_size=max_events
    )
    between = st.lists(st.sampled_from([b"", *(text for name, text in INSERTS.items() if name != "bom")]))
    return st.builds(
        _body, events, between, st.sampled_from([*LINE_ENDS.values()]), st.sampled_from([b"", INSERTS["bom"]])
    )


def _data() -> st.SearchStrategy[str]:
    letters = st.characters(exclude_categories=["Cs"], exclude_characters="\r\n")
    text = st.text(letters, max_size=12)
    return text | text.map('{{"text": "{}"}}'.format) | st.just("[DONE]")


def _body(events: list[SSE], between: list[bytes], line_end: bytes, first: bytes) -> tuple[bytes, list[SSE]]:
    silence = [*between, *[b""] * len(events)]
    parts = [encode_sse(event) + quiet for event, quiet in zip(events, silence, strict=False)]
    body = b"".join([silence[0] if silence else b"", *parts]).replace(b"\n", line_end)
    return first + body, events
