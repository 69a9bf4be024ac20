"""What a consumer gets wrong though nothing is cut: what it holds back and never releases, half characters, stop words.

Chunks do not show it, for the undivided document is what they are compared with. So these checks look at what comes of
whole texts, and let a consumer alone that does not show plain text as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from fakellm.contracts.consumers.attempt import Consume, Outcome, Run, Stream, attempted, is_same, on_whole, settle
from fakellm.contracts.consumers.cuts import Cuts, joined, show
from fakellm.contracts.consumers.moves import Selection
from fakellm.contracts.consumers.samples import BODIES, reason_against
from fakellm.contracts.consumers.verdict import judge_consumer
from fakellm.contracts.documents import Document
from fakellm.contracts.verdicts import broken
from fakellm.errors import ContractUsageError, clip

_OPEN_ENDS = ("The answer: 1 < 2 and 3 <", "The answer <", "The answer: see <thi", "The answer </")
_OPEN_END = re.compile(r"<[/|!]?\w*\Z")
_HALF = "\U0001f600".encode()[:3]


def check_expected(consume: Consume, documents: list[Document], expected: Any) -> None:
    """Raise `ContractUsageError` unless the consumer makes of the one document what is expected."""
    if len(documents) != 1:
        msg = f"expected= is what the consumer makes of one document, and {len(documents)} are given"
        raise ContractUsageError(msg)
    outcome = on_whole(consume, documents[0])
    if outcome.error is not None or not is_same(outcome.value, expected):
        msg = (
            "the consumer does not do what is expected on the undivided document, so it is not a matter of chunks\n"
            f"  expected:  {clip(repr(expected))}\n  got:       {outcome}"
        )
        raise ContractUsageError(msg) from outcome.error


def check_flushed(consume: Consume) -> None:
    """Raise if a text that ends inside a character looks whole; who ignores all that is no UTF-8 is let alone."""
    whole, broken_inside, cut = b"The answer: 42", b"The \xffanswer: 42", b"The answer: 42" + _HALF
    outcome = _outcome(consume, whole)
    if not _shows(outcome, whole.decode()) or _outcome(consume, broken_inside).equals(outcome):
        return
    if _outcome(consume, cut).equals(outcome):
        what = "the text ends inside a character, and nothing shows it: the decoder is not flushed"
        raise broken("utf8_split", what, ("chunks", show([cut])), ("got", str(outcome)))


class HalfCharacterError(AssertionError):
    """A piece that was handed out begins or ends inside a code point."""


def in_pieces(consume: Consume) -> Run:
    """Return the function that gives chunks to a consumer that cuts text anew, and looks at each piece by itself."""

    def run(chunks: list[Any]) -> Any:
        result = settle(consume(Stream(chunks)), list)
        if not isinstance(result, list):
            return result
        if isinstance(chunks[0], str):
            _refuse_halves(result)
        return joined(result)

    return run


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


def check_halves(run: Run, document: Document) -> None:
    """Raise if half characters are handed out."""
    whole = document.apply(())
    outcome = attempted(run, whole)
    if isinstance(outcome.error, HalfCharacterError):
        raise broken("grapheme", str(outcome.error), ("chunks", show(whole)))


def check_separators(consume: Consume) -> None:
    """Raise if a line ends where `str.splitlines` ends one, and an event stream does not."""
    for separated, plain in BODIES:
        if reason_against(consume, separated) and not reason_against(consume, plain):
            what = "a line ends at U+2028 or U+0085 in the data of an event, as for str.splitlines and in no stream"
            whole = separated.document.apply(())[0]
            at = whole.index("\u2028".encode())
            got = str(on_whole(consume, separated.document))
            raise broken("line_ends", what, ("chunks", f"…{whole[at - 12 : at + 12]!r}…"), ("got", got))


def swallows(consume: Consume) -> bool:
    """Tell whether a consumer shows a plain text, and of one with `1 < 2` in it not even the begin."""
    form = _form(consume, "The answer: 1 and 2")
    if form is None:
        return False
    outcome = _outcome(consume, form("The answer: 1 < 2"))
    return outcome.error is None and not _shows(outcome, "The answer: 1 < 2")


def check_open_end(consume: Consume, document: Document) -> None:
    """Raise if a document that ends like the begin of a tag comes to what it does without that end.

    A consumer is let alone for which a character at that place makes no difference, or a `<` anywhere.
    """
    if not isinstance(document, Cuts):
        return
    found = _OPEN_END.search(document.text)
    if not found or not found.start():
        return
    form: Callable[[str], str | bytes] = str if isinstance(document.whole, str) else _latin
    head = document.text[: found.start()]
    tails = ("", found[0], "x", " x", "< x")
    without, outcome, said, spaced, less = (_outcome(consume, form(head + tail)) for tail in tails)
    if outcome.equals(without) and not outcome.error and not said.equals(without) and not less.equals(spaced):
        what = f"the end, {found[0]!r}, is never delivered: what is held back is never released"
        raise broken("tags", what, ("chunks", document.shown(())), ("got", str(outcome)))


def check_open_ends(consume: Consume) -> None:
    """Raise if a text of ours that ends like the begin of a tag is not delivered whole."""
    _check_released(consume, "tags", "The answer: 1 and 2", _OPEN_ENDS)


def check_near_misses(consume: Consume, stop: tuple[str, ...]) -> None:
    """Raise if a text of ours that ends like the begin of a stop sequence is not delivered whole."""
    _check_released(
        consume, "stop_sequence", "The answer", [f"The answer {word[:-1]}" for word in stop if len(word) > 1]
    )


def check_unshown(consume: Consume, document: Document, stop: tuple[str, ...]) -> None:
    """Raise if the consumer shows a stop sequence."""
    outcome = on_whole(consume, document)
    shown = outcome.value if isinstance(outcome.value, str) else ""
    if word := next((word for word in stop if word in shown), None):
        what = f"the stop sequence {word!r} is shown, even where it comes whole"
        raise broken("stop_sequence", what, ("chunks", document.shown(())), ("got", str(outcome)))


def _check_released(consume: Consume, contract: str, plain: str, texts: Iterable[str]) -> None:
    """Raise unless a consumer that delivers plain text delivers these: they only end like what is held back."""
    form = _form(consume, plain)
    for text in map(form, texts) if form else ():
        outcome = _outcome(consume, text)
        if not _shows(outcome, text):
            what = f"not all of {text!r} is delivered: what is held back is never released"
            raise broken(contract, what, ("chunks", show([text])), ("got", str(outcome)))
        judge_consumer(Cuts(text, focus="tags"), consume, contract, selection=Selection(examples=0))


def _form(consume: Consume, text: str) -> Callable[[str], str | bytes] | None:
    """Return what makes of a text the kind that a consumer takes and shows as it is; None if it takes neither."""
    forms: tuple[Callable[[str], str | bytes], ...] = (str, str.encode)
    return next((form for form in forms if _shows(_outcome(consume, form(text)), text)), None)


def _outcome(consume: Consume, whole: str | bytes) -> Outcome:
    return on_whole(consume, Cuts(whole))


def _shows(outcome: Outcome, text: str | bytes) -> bool:
    """Tell whether a text is in a result as it is."""
    written = repr(text).removeprefix("b")[1:-1]
    return outcome.error is None and written in repr(outcome.value)


def _latin(text: str) -> bytes:
    return text.encode("latin-1")
