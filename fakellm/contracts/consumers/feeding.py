"""Feeds a document to a consumer and words what is found: what the checks of consumers share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from fakellm.contracts.consumers.arrivals import Stream, joined, settle
from fakellm.contracts.consumers.cuts import Cuts
from fakellm.contracts.consumers.samples import Sample
from fakellm.contracts.consumers.search import SEED, Outcome, UndividedError, attempted, focused, search
from fakellm.contracts.consumers.sse_moves import SSEBody
from fakellm.contracts.documents import Document, Moves
from fakellm.contracts.verdicts import Skip
from fakellm.errors import ContractUsageError, clip

Consume = Callable[[Any], Any]
"""A consumer: gets a `Stream` of chunks; returns a value or yields, with or without `async`."""

_REASON = 100


def name_of(consume: Consume) -> str:
    """Return the name of a consumer, as it can be written in a call."""
    name = getattr(consume, "__name__", "")
    return name if name.isidentifier() else "consume"


def fed(consume: Consume, document: Document) -> Callable[[list[Any]], Any]:
    """Return the function that gives a list of chunks to a consumer as a stream, and returns its settled result."""
    gather = getattr(document, "gather", joined)
    return lambda chunks: settle(consume(Stream(chunks)), gather)


def run_document(
    document: Document,
    consume: Consume,
    *,
    contract: str | None = None,
    examples: int | None = None,
    seed: int = SEED,
    only: Moves | None = None,
    long: str = "",
    run: Callable[[list[Any]], Any] | None = None,
) -> None:
    """Feed a document in many ways to a consumer, and raise `BrokenContractError` with the smallest that differs.

    `contract` is the name under which it is reported; without one, the place of the counter-example decides. `only`
    is the one set of moves to try. `long` is the call that replays it where the document is too long to write, and
    `run` replaces how a list of chunks is consumed. Raises `ContractUsageError` if
    the consumer fails on the undivided document.
    """
    name = name_of(consume)
    if isinstance(consume, Replayed):
        only = consume.only
        if not consume.can_replay(document):
            return
    try:
        found = search(document, run or fed(consume, document), examples=examples, seed=seed, only=only)
    except UndividedError as failure:
        error = failure.__cause__
        msg = f"{name} fails on the undivided document, so it is not a matter of chunks: {Outcome(error=error)}"
        raise ContractUsageError(msg) from error
    if found is None:
        return
    how = "fails" if found.divided.error else "comes to something else"
    what = f"{name} {how} when the same document comes in other chunks"
    call = f"check_consumer({name}, $)"
    if contract is not None and isinstance(document, (Cuts, SSEBody)) and _named(document, found.moves) != contract:
        call = f"check_consumer({name}, $, contracts={contract!r})"
    raise found.broken(what, call, contract, long=long) from found.divided.error


def _named(document: Cuts | SSEBody, moves: Moves) -> str:
    """Return the contract that the moves would be for if none were in focus."""
    return replace(document, focus=None).contract(moves)


def ours(consume: Consume, contract: str) -> str:
    """Return the call that replays a failure on a document of ours, which nobody wants to paste."""
    return f"check_consumer({name_of(consume)}, contracts={contract!r}, $)"


def check_documents(
    contract: str, consume: Consume, document: Document | None, samples: Iterable[tuple[Sample, ...]] = ()
) -> None:
    """Check a consumer on the document, or on samples: of each group the first that it can read.

    Raises `Skip` where there is nothing to check.
    """
    if document is None:
        for sample in usable(consume, samples):
            of = focused(sample.document, contract) or sample.document
            run_document(of, consume, contract=contract, long=ours(consume, contract))
        return
    found = focused(document, contract)
    if found is None:
        raise Skip("nothing in the document is about it")
    run_document(found, consume, contract=contract)


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


def usable(consume: Consume, groups: Iterable[tuple[Sample, ...]]) -> list[Sample]:
    """Return of each group the first sample that the consumer can read. Raises `Skip` if there is none."""
    found, reasons = [], []
    for group in groups:
        for sample in group:
            reason = reason_against(consume, sample)
            if reason is None:
                found.append(sample)
                break
            reasons.append(reason)
    if not found:
        raise Skip("; ".join(dict.fromkeys(reasons)) + "; give a document that it is made for")
    return found


def reason_against(consume: Consume, sample: Sample) -> str | None:
    """Return why a consumer is not made for a sample, or None if it is."""
    outcome = attempted(fed(consume, sample.document), sample.document.apply(()))
    kind = type(sample.document.apply(())[0]).__name__
    if outcome.error is not None:
        return f"it does not take {kind}: {clip(str(outcome), _REASON)}"
    if isinstance(sample.document, SSEBody) and "data:" in repr(outcome.value):
        return "it hands event streams on as they are"
    value = joined(outcome.value) if isinstance(outcome.value, list) else outcome.value
    return None if sample.word in repr(value) else f"of {kind} it makes {clip(repr(value), _REASON)}"
