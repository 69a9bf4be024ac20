"""The contracts of consumers of text, bytes and event streams, each with documents that break the usual mistakes."""

from __future__ import annotations

from fakellm.contracts.catalogue import checks
from fakellm.contracts.consumers.attempt import Consume
from fakellm.contracts.consumers.samples import (
    BODIES,
    BYTES,
    GRAPHEMES,
    JSON,
    TAGS,
    TAILS,
    check_documents,
    documents_for,
    stopped,
    usable,
)
from fakellm.contracts.consumers.undivided import (
    check_flushed,
    check_halves,
    check_near_misses,
    check_open_end,
    check_open_ends,
    check_separators,
    check_unshown,
    in_pieces,
    swallows,
)
from fakellm.contracts.consumers.verdict import judge_consumer
from fakellm.contracts.documents import Document
from fakellm.contracts.verdicts import Skip


@checks("utf8_split", on="consumer")
def utf8_split(consume: Consume, document: Document | None = None) -> None:
    """A read ends anywhere, also between the bytes of one character: between any two that are not ASCII, often.

    Who decodes each read by itself shows replacement characters, drops letters or raises, and only in other
    languages than the author's, which is why it ships again and again. One incremental decoder per stream, asked at
    the end for what is left, is the whole cure.
    """
    check_documents("utf8_split", consume, document, BYTES)
    if document is None:
        check_flushed(consume)


@checks("grapheme", on="consumer")
def grapheme(consume: Consume, document: Document | None = None) -> None:
    """A chunk may end between a letter and its accent, or inside an emoji of several code points.

    Who cuts the text anew, to smooth it or to fit a size, must not cut a code point in two: half a surrogate pair or
    half a UTF-8 sequence crashes whoever encodes or decodes it next. And all parts of such a character must come
    out, in order.
    """
    run = in_pieces(consume)
    for found, long in documents_for("grapheme", consume, document, GRAPHEMES):
        check_halves(run, found)
        judge_consumer(found, consume, "grapheme", run=run, long=long)


@checks("framing", on="consumer")
def framing(consume: Consume, document: Document | None = None) -> None:
    """A read is what the network happened to deliver: half a record, one, or three and a half.

    Against a local server each event comes as one read, so code that takes a read for an event works until there is
    a proxy, a slow line or a long event. Then it loses records or fails on half a JSON text.
    """
    check_documents("framing", consume, document, BODIES)


@checks("line_ends", on="consumer")
def line_ends(consume: Consume, document: Document | None = None) -> None:
    r"""The standard of server-sent events lets a line end in LF, CR or CRLF, and a read may end between CR and LF.

    Code that looks for two LFs never sees the end of an event when a gateway writes CRLF, and code that takes CR and
    LF one by one sees an event end where none does.
    """
    check_documents("line_ends", consume, document, BODIES)
    if document is None:
        check_separators(consume)


@checks("control_blocks", on="consumer")
def control_blocks(consume: Consume, document: Document | None = None) -> None:
    """Servers and proxies send comments to keep a connection alive, `retry` alone, or a BOM; none is an event.

    Code that takes every block for an event parses the JSON of nothing and fails, typically after fifteen seconds of
    silence, which no test waits for.
    """
    check_documents("control_blocks", consume, document, BODIES)


@checks("tags", on="consumer")
def tags(consume: Consume, document: Document | None = None, *, whole_is_right: bool = False) -> None:
    """Models write markup, `<think>`, `<tool_call>`, in tokens that end anywhere in a tag.

    Who looks for a tag in each chunk misses those in two; who holds text back that may become a tag forgets to
    release it, in the middle (`1 < 2`) or at the end. The result must be that of the text as a whole.
    """
    if document is not None:
        check_documents("tags", consume, document)
        if not whole_is_right:
            check_open_end(consume, document)
        return
    try:
        check_documents("tags", consume, None, TAGS)
    except Skip:
        if not swallows(consume):
            raise
    check_open_ends(consume)


@checks("stop_sequence", on="consumer")
def stop_sequence(consume: Consume, document: Document | None = None, *, stop: tuple[str, ...] = ()) -> None:
    """A stop sequence comes in pieces as any text does, and text that only begins like one is part of the answer.

    Who looks for it in each chunk shows its first half, or all of it; who holds back too much swallows a near miss.
    """
    if document is not None:
        check_documents("stop_sequence", consume, document)
        check_unshown(consume, document, getattr(document, "stop", ()))
        return
    if not stop:
        raise Skip("give stop=, the stop sequence that the consumer looks for")
    for sample in usable(consume, stopped(stop)):
        check_documents("stop_sequence", consume, sample.document)
        check_unshown(consume, sample.document, stop)
    check_near_misses(consume, stop)


@checks("partial_json", on="consumer")
def partial_json(consume: Consume, document: Document | None = None) -> None:
    r"""JSON that is written as it streams is cut inside escapes (`\u00|e9`), numbers (`1|2`) and words (`tr|ue`).

    Who validates each prefix raises for a text that is only not complete yet, and who shows a number early shows a
    wrong one. Fed chunk by chunk, no chunk may raise, and the final value must be that of the whole text. What comes
    of a text that really ends early is another contract, `truncation`.
    """
    check_documents("partial_json", consume, document, JSON)


@checks("whitespace_tail", on="consumer")
def whitespace_tail(consume: Consume, document: Document | None = None) -> None:
    r"""A chunk can be one space, an empty line, or nothing, and the last one can be a single character.

    `strip()` on each chunk joins words, `if chunk.strip()` eats paragraphs and the indentation of code, `if not chunk:
    break` ends the answer at an empty chunk, and a look-ahead forgets the last one.
    """
    check_documents("whitespace_tail", consume, document, TAILS)
