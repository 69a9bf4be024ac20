"""The verdict on one document: nothing, or `BrokenContractError` with the smallest set of moves that fails, worded."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from fakellm.contracts.consumers.attempt import Consume, Run, feed
from fakellm.contracts.consumers.cuts import Cuts
from fakellm.contracts.consumers.given import name_of
from fakellm.contracts.consumers.moves import ALL, Selection
from fakellm.contracts.consumers.smallest import Finding, search
from fakellm.contracts.consumers.sse_moves import SSEBody, looks_like_sse
from fakellm.contracts.documents import Document, Moves
from fakellm.contracts.verdicts import broken
from fakellm.errors import BrokenContractError, ContractUsageError, clip

_TEXT = 500
_LINE = 300
_SHORT, _CONTEXT = 160, 40


def judge_test(document: Document, run: Run, name: str, number: int, selection: Selection) -> None:
    """Run a test on a document in many ways, and raise `BrokenContractError` with the smallest that fails.

    `name` is the test's, `number` the document's. Raises the test's own error if it fails on the undivided document.
    """
    __tracebackhide__ = True
    found = search(document, run, selection)
    if found is None:
        return
    error = found.whole.error
    if error is not None:
        error.add_note(
            f"any_chunking: {name} fails on document {number + 1} undivided, so it is not a matter of chunks"
        )
        raise error from error.__cause__
    replay = "@any_chunking($)"
    if found.divided.error is None:
        what = f"{name} returns something else when the same document comes in other chunks"
        raise _broken(found, found.contract, what, replay)
    what = f"{name} passes on the undivided document, and fails when it comes in these chunks"
    passes = "" if found.whole.value is not None else "passes"
    raise _broken(found, found.contract, what, replay, passes=passes) from found.divided.error


def judge_consumer(
    document: Document,
    consume: Consume,
    contract: str,
    *,
    selection: Selection = ALL,
    long: str = "",
    run: Run | None = None,
) -> None:
    """Feed a document in many ways to a consumer, and raise `BrokenContractError` with the smallest that differs.

    `contract` is the name under which it is reported. `long` is the call that replays it where the document is too long
    to write, and `run` replaces how a list of chunks is consumed. Raises `ContractUsageError` if the consumer fails on
    the undivided document.
    """
    if isinstance(consume, Replayed):
        selection = Selection(only=consume.only)
        if not consume.can_replay(document):
            return
    found = search(document, run or partial(feed, consume, document), selection)
    if found is None:
        return
    name = name_of(consume)
    if found.whole.error is not None:
        msg = f"{name} fails on the undivided document, so it is not a matter of chunks: {found.whole}"
        raise ContractUsageError(msg) from found.whole.error
    how = "fails" if found.divided.error else "comes to something else"
    what = f"{name} {how} when the same document comes in other chunks"
    call = f"check_consumer({name}, $)"
    if isinstance(document, (Cuts, SSEBody)) and replace(document, focus=None).contract(found.moves) != contract:
        call = f"check_consumer({name}, $, contracts={contract!r})"  # without a focus another contract is named
    raise _broken(found, contract, what, call, long=long) from found.divided.error


class Replayed:
    """A consumer that is given our documents in one way only."""

    def __init__(self, consume: Consume, only: Moves) -> None:
        self._consume = consume
        self.only = only
        self.replayed = 0
        self.__name__ = name_of(consume)

    def __call__(self, chunks: Any) -> Any:
        """Consume chunks."""
        return self._consume(chunks)

    def can_replay(self, document: Document) -> bool:
        """Tell whether a document has these moves, and count those that have."""
        try:
            document.apply(self.only)
        except ContractUsageError:
            return False
        self.replayed += 1
        return True


# -- wording ----------------------------------------------------------------------------------------------


def _broken(
    found: Finding, contract: str, what: str, how: str, *, passes: str = "", long: str = ""
) -> BrokenContractError:
    """Return the error that shows what was found.

    `how` is the call to paste, with `$` for its arguments, `long` the one for a document that is too long for
    that; `passes` is what a test without a value does.
    """
    chunks = found.document.shown(found.moves)
    whole, divided = passes or found.whole.text, found.divided.text
    if found.divided.error is None:
        whole, divided = around_first_difference(whole, divided)
    return broken(
        contract,
        what,
        ("chunks", chunks),
        ("undivided", clip(whole, _TEXT if found.divided.error is None else _SHORT)),
        ("divided", clip(divided, _TEXT)),
        ("tried", f"{_count(found.tried, 'variant')}, then {found.shrunk} to make the failing one small"),
        ("replay", _replay(found, how, long)),
    )


def around_first_difference(one: str, other: str) -> tuple[str, str]:
    """Return of two texts, where one is long, the same part: what is around the place where they begin to differ."""
    if max(len(one), len(other)) <= _SHORT:
        return one, other
    same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    start = same - _CONTEXT if same > 2 * _CONTEXT else 0
    end = start + _SHORT
    return tuple("…" * (start > 0) + text[start:end] + "…" * (len(text) > end) for text in (one, other))  # type: ignore[return-value]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _replay(found: Finding, how: str, long: str) -> str:
    document, only = _pasted(found.document), f"only={found.moves!r}"
    if document is not None and (not long or isinstance(found.document, (Cuts, SSEBody))):
        return how.replace("$", f"{document}, {only}", 1)
    return long.replace("$", only) or f"add {only} to the arguments of {how.partition('(')[0]}, for this document"


def _pasted(document: Document) -> str | None:
    """Return the document as an argument to paste, or None where it is long or no literal."""
    if isinstance(document, (Cuts, SSEBody)):
        (whole,) = document.apply(())
        is_plain = isinstance(document, Cuts) and isinstance(whole, bytes) and looks_like_sse(whole)
        stop = f", stop={document.stop!r}" if isinstance(document, Cuts) and document.stop else ""
        text: str | None = repr(whole)
    else:
        text, is_plain, stop = getattr(document, "literal", None), False, ""
    return text + stop + ", sse=False" * is_plain if text is not None and len(text) <= _LINE else None
