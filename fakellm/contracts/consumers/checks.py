"""The contracts of consumers of text, bytes and event streams, each with documents that break the usual mistakes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fakellm.contracts.catalogue import checks
from fakellm.contracts.consumers.arrivals import Stream, joined, settle
from fakellm.contracts.consumers.cuts import Cuts, show
from fakellm.contracts.consumers.feeding import (
    Consume,
    check_documents,
    fed,
    ours,
    reason_against,
    run_document,
    usable,
)
from fakellm.contracts.consumers.samples import BODIES, BYTES, GRAPHEMES, JSON, TAGS, TAILS, stopped
from fakellm.contracts.consumers.search import Outcome, attempted, focused
from fakellm.contracts.documents import Document
from fakellm.contracts.verdicts import Skip, broken

_OPEN_ENDS = ("The answer: 1 < 2 and 3 <", "The answer <", "The answer: see <thi", "The answer </")
_OPEN_END = re.compile(r"<[/|!]?\w*\Z")
_HALF = "\U0001f600".encode()[:3]


@checks("utf8_split", on="consumer")
def utf8_split(consume: Consume, document: Document | None = None) -> None:
    """A read ends anywhere, also between the bytes of one character: between any two that are not ASCII, often.

    Who decodes each read by itself shows replacement characters, drops letters or raises, and only in other
    languages than the author's, which is why it ships again and again. One incremental decoder per stream, asked at
    the end for what is left, is the whole cure.
    """
    check_documents("utf8_split", consume, document, BYTES)
    if document is None:
        _check_flushed(consume)


def _check_flushed(consume: Consume) -> None:
    """Raise if a text that ends inside a character looks whole; who ignores all that is no UTF-8 is let alone."""
    whole, broken_inside, cut = b"The answer: 42", b"The \xffanswer: 42", b"The answer: 42" + _HALF
    outcome = _outcome(consume, whole)
    if not _shows(outcome, whole.decode()) or _outcome(consume, broken_inside).equals(outcome):
        return
    if _outcome(consume, cut).equals(outcome):
        what = "the text ends inside a character, and nothing shows it: the decoder is not flushed"
        raise broken("utf8_split", what, ("chunks", show([cut])), ("got", str(outcome)))


@checks("grapheme", on="consumer")
def grapheme(consume: Consume, document: Document | None = None) -> None:
    """A chunk may end between a letter and its accent, or inside an emoji of several code points.

    Who cuts the text anew, to smooth it or to fit a size, must not cut a code point in two: half a surrogate pair or
    half a UTF-8 sequence crashes whoever encodes or decodes it next. And all parts of such a character must come
    out, in order.
    """
    if document is not None:
        found = focused(document, "grapheme")
        if found is None or not isinstance(document, Cuts):
            raise Skip("nothing in the document is about it")
        _check_pieces(consume, found)
        return
    for sample in usable(consume, GRAPHEMES):
        _check_pieces(consume, focused(sample.document, "grapheme") or sample.document, ours(consume, "grapheme"))


def _check_pieces(consume: Consume, document: Document, long: str = "") -> None:
    """Check what a consumer that cuts text anew hands out: each piece by itself, and all together."""

    def run(chunks: list[Any]) -> Any:
        result = settle(consume(Stream(chunks)), list)
        if not isinstance(result, list):
            return result
        if isinstance(chunks[0], str):
            _refuse_halves(result)
        return joined(result)

    whole = document.apply(())
    first = attempted(run, whole)
    if isinstance(first.error, HalfCharacterError):
        raise broken("grapheme", str(first.error), ("chunks", show(whole)))
    run_document(document, consume, contract="grapheme", run=run, long=long)


class HalfCharacterError(AssertionError):
    """A piece that was handed out begins or ends inside a code point."""


def _refuse_halves(pieces: list[Any]) -> None:
    for number, piece in enumerate(pieces):
        try:
            if isinstance(piece, str):
                piece.encode()
            elif isinstance(piece, bytes):
                piece.decode()
        except UnicodeError:
            msg = f"piece {number} of what it hands out, {piece!r}, begins or ends inside a code point"
            raise HalfCharacterError(msg) from None


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
    for separated, plain in BODIES if document is None else ():
        if reason_against(consume, separated) and not reason_against(consume, plain):
            what = "a line ends at U+2028 or U+0085 in the data of an event, as for str.splitlines and in no stream"
            whole = separated.document.apply(())[0]
            at = whole.index("\u2028".encode())
            got = str(attempted(fed(consume, separated.document), [whole]))
            raise broken("line_ends", what, ("chunks", f"…{whole[at - 12 : at + 12]!r}…"), ("got", got))


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
            _check_open_end(consume, document)
        return
    try:
        check_documents("tags", consume, None, TAGS)
    except Skip:
        if not _swallows(consume):
            raise
    if form := _form(consume, "The answer: 1 and 2"):
        for text in _OPEN_ENDS:
            _check_released(consume, "tags", form(text))


def _swallows(consume: Consume) -> bool:
    """Tell whether a consumer shows a plain text, and of one with `1 < 2` in it not even the begin."""
    form = _form(consume, "The answer: 1 and 2")
    if form is None:
        return False
    outcome = _outcome(consume, form("The answer: 1 < 2"))
    return outcome.error is None and not _shows(outcome, "The answer: 1 < 2")


def _check_open_end(consume: Consume, document: Document) -> None:
    """Raise if a document that ends like the begin of a tag comes to what it does without that end.

    A consumer is let alone for which a character at that place makes no difference, or a `<` anywhere.
    """
    whole = document.whole if isinstance(document, Cuts) else ""
    text = whole.decode("latin-1") if isinstance(whole, bytes) else whole
    found = _OPEN_END.search(text)
    if not found or not found.start():
        return
    head = text[: found.start()]
    tails = ("", found[0], "x", " x", "< x")
    without, outcome, said, spaced, less = (
        _outcome(consume, (head + tail).encode("latin-1") if isinstance(whole, bytes) else head + tail)
        for tail in tails
    )
    if outcome.equals(without) and not outcome.error and not said.equals(without) and not less.equals(spaced):
        what = f"the end, {found[0]!r}, is never delivered: what is held back is never released"
        raise broken("tags", what, ("chunks", document.shown(())), ("got", str(outcome)))


def _outcome(consume: Consume, whole: str | bytes) -> Outcome:
    return attempted(fed(consume, Cuts(whole)), [whole])


def _shows(outcome: Outcome, text: str | bytes) -> bool:
    """Tell whether a text is in a result as it is."""
    written = repr(text).removeprefix("b")[1:-1]
    return outcome.error is None and written in repr(outcome.value)


def _form(consume: Consume, text: str) -> Callable[[str], str | bytes] | None:
    """Return what makes of a text the kind that a consumer takes and shows as it is; None if it takes neither."""
    forms: tuple[Callable[[str], str | bytes], ...] = (str, str.encode)
    return next((form for form in forms if _shows(_outcome(consume, form(text)), text)), None)


def _check_released(consume: Consume, contract: str, text: str | bytes) -> None:
    """Raise unless a consumer that delivers plain text delivers this one: it only begins like what is held back."""
    outcome = _outcome(consume, text)
    if not _shows(outcome, text):
        what = f"not all of {text!r} is delivered: what is held back is never released"
        raise broken(contract, what, ("chunks", show([text])), ("got", str(outcome)))
    run_document(Cuts(text, focus="tags"), consume, contract=contract, examples=0)


@checks("stop_sequence", on="consumer")
def stop_sequence(consume: Consume, document: Document | None = None, *, stop: tuple[str, ...] = ()) -> None:
    """A stop sequence comes in pieces as any text does, and text that only begins like one is part of the answer.

    Who looks for it in each chunk shows its first half, or all of it; who holds back too much swallows a near miss.
    """
    if document is not None:
        check_documents("stop_sequence", consume, document)
        _check_unshown(consume, document, getattr(document, "stop", ()))
        return
    if not stop:
        raise Skip("give stop=, the stop sequence that the consumer looks for")
    for sample in usable(consume, stopped(stop)):
        check_documents("stop_sequence", consume, sample.document)
        _check_unshown(consume, sample.document, stop)
    if form := _form(consume, "The answer"):
        for word in stop:
            if len(word) > 1:
                _check_released(consume, "stop_sequence", form(f"The answer {word[:-1]}"))


def _check_unshown(consume: Consume, document: Document, stop: tuple[str, ...]) -> None:
    outcome = attempted(fed(consume, document), document.apply(()))
    shown = outcome.value if isinstance(outcome.value, str) else ""
    if word := next((word for word in stop if word in shown), None):
        what = f"the stop sequence {word!r} is shown, even where it comes whole"
        raise broken("stop_sequence", what, ("chunks", document.shown(())), ("got", str(outcome)))


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
