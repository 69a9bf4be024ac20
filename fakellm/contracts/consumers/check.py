"""`check_consumer`: every contract of consumers as a report, without pytest."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from fakellm.contracts.catalogue import CATALOGUE, Contract, chosen
from fakellm.contracts.consumers import checks as consumer_checks
from fakellm.contracts.consumers.checks import stop_sequence
from fakellm.contracts.consumers.chunking import check_moves, documents_of, replayed, stop_words
from fakellm.contracts.consumers.cuts import Cuts
from fakellm.contracts.consumers.feeding import Consume, Replayed, fed, name_of, run_document
from fakellm.contracts.consumers.places import has_tag
from fakellm.contracts.consumers.search import attempted, is_same
from fakellm.contracts.documents import Document, Moves
from fakellm.contracts.structured import checks as structured_checks
from fakellm.contracts.verdicts import Report, Skip, Verdict, verdict_of
from fakellm.errors import ContractUsageError, clip

_UNSET: Any = object()
_OPT_IN = "only an app that asks for several answers (n > 1) has to tell them apart: say contracts='crossed_streams'"
_ANYWHERE = "it comes to something else wherever the text is cut: see tags"
_CHECKED = {
    name
    for name, contract in CATALOGUE.items()
    if getattr(contract.checks.get("consumer"), "__module__", "")
    in (consumer_checks.__name__, structured_checks.__name__)
}
"""The contracts that are checked by feeding chunks; others are checked on what fails or runs at once."""


def check_consumer(
    consume: Consume,
    *documents: Any,
    contracts: str | Iterable[str] | None = None,
    stop: str | Iterable[str] = (),
    expected: Any = _UNSET,
    sse: bool | None = None,
    empty: bool = True,
    only: Moves | None = None,
) -> Report:
    """Check the contracts of a consumer, each by the moves that break it, and return a report.

        check_consumer(parse).verify()

    `consume(chunks)` gets the chunks of a document as a stream: to be read once, with `for` or `async for`. It
    returns a value, may be `async`, or yields: then the text that it yields counts as a whole, of an event stream
    the list of what it yields, of JSON the last value. Two results are compared by `==`.

    Without `documents` each contract has its own, and a contract whose documents the consumer cannot read is skipped
    with the reason. With documents (see `any_chunking`, also for `sse` and `empty`) those contracts are checked that
    they have something to say about. `contracts` are names in the catalogue, all by default; without documents,
    `crossed_streams` only if it is named, for its document has two answers. `stop` are the stop sequences that the
    consumer looks for. `expected` is what it makes of the one document. `only` replays the moves of a failure: of the
    one document, or without documents of the one contract that is named.

    Raises `ContractUsageError` if nothing at all can be checked, or the consumer fails on an undivided document.
    """
    if not callable(consume):
        msg = f"a consumer is a function of a stream of chunks, not {clip(repr(consume), 80)}"
        raise ContractUsageError(msg)
    names = _chosen(contracts)
    given = documents_of(documents, sse=sse, stop=stop, empty=empty) if documents else []
    _check_expected(consume, given, expected)
    words = stop_words(stop)
    if only is not None and contracts is not None and len(names) == 1 and not given:
        return _replay_ours(Replayed(consume, check_moves(only)), names[0], words)
    if (moves := replayed(given, only)) is not None:
        return Report(name_of(consume), (_replay(consume, given[0], moves, names),))
    is_right = expected is not _UNSET
    verdicts = [
        Verdict(contract, "skipped", _OPT_IN)
        if contract.name == "crossed_streams" and contracts is None and not given
        else _verdict(consume, contract, given, words, is_right=is_right)
        for contract in names
    ]
    return _proving(Report(name_of(consume), tuple(_once(verdicts, given))))


def _chosen(contracts: str | Iterable[str] | None) -> list[Contract]:
    """Return the contracts that are checked by feeding chunks, or those with these names."""
    names = chosen(contracts, on="consumer")
    fed_here = [contract for contract in names if contract.name in _CHECKED]
    if contracts is not None and fed_here != names:
        others = ", ".join(contract.name for contract in names if contract not in fed_here)
        msg = f"{others}: not checked by feeding chunks, but by what fails or runs at once; see check_faults"
        raise ContractUsageError(msg)
    return fed_here


def _check_expected(consume: Consume, documents: list[Document], expected: Any) -> None:
    if expected is _UNSET:
        return
    if len(documents) != 1:
        msg = f"expected= is what the consumer makes of one document, and {len(documents)} are given"
        raise ContractUsageError(msg)
    outcome = attempted(fed(consume, documents[0]), documents[0].apply(()))
    if outcome.error is not None or not is_same(outcome.value, expected):
        msg = (
            "the consumer does not do what is expected on the undivided document, so it is not a matter of chunks\n"
            f"  expected:  {clip(repr(expected))}\n  got:       {outcome}"
        )
        raise ContractUsageError(msg) from outcome.error


def _once(verdicts: list[Verdict], documents: list[Document]) -> list[Verdict]:
    """Return the verdicts with a mistake that any cut shows reported once, where there is no tag in the documents.

    It is reported as `tags`: the result depends on the cuts.
    """
    tagless = documents and not any(map(_has_tags, documents))
    if not tagless or not any(v.contract.name == "tags" and v.status == "failed" for v in verdicts):
        return verdicts
    less = {"whitespace_tail", *(["empty_delta"] if all(isinstance(document, Cuts) for document in documents) else [])}
    return [
        Verdict(verdict.contract, "skipped", _ANYWHERE)
        if verdict.status == "failed" and verdict.contract.name in less
        else verdict
        for verdict in verdicts
    ]


def _has_tags(document: Document) -> bool:
    text = document.whole if isinstance(document, Cuts) else getattr(document, "text", "")
    return has_tag(text if isinstance(text, str) else text.decode("latin-1"))


def _replay_ours(consume: Replayed, contract: Contract, stop: tuple[str, ...]) -> Report:
    """Replay the moves of a failure on those of our documents that have them."""
    report = _proving(Report(name_of(consume), (_verdict(consume, contract, [], stop),)))
    if consume.replayed:
        return report
    msg = f"only={consume.only!r}: no document of {contract.name} has these moves; give the document that failed"
    raise ContractUsageError(msg)


def _replay(consume: Consume, document: Document, moves: Moves, names: list[Contract]) -> Verdict:
    contract = names[0] if len(names) == 1 else CATALOGUE[document.contract(moves)]
    return verdict_of(contract, lambda: run_document(document, consume, contract=contract.name, only=moves))


def _verdict(
    consume: Consume, contract: Contract, documents: list[Document], stop: tuple[str, ...], *, is_right: bool = False
) -> Verdict:
    check = contract.checks["consumer"]
    if contract.name == "tags" and is_right:
        check = partial(check, whole_is_right=True)

    def run() -> None:
        if contract.name == "stop_sequence" and not documents:
            stop_sequence(consume, stop=stop)
        elif documents:
            _check_each(consume, check, documents)
        else:
            check(consume)

    return verdict_of(contract, run)


def _check_each(consume: Consume, check: Any, documents: list[Document]) -> None:
    skips = []
    for document in documents:
        try:
            check(consume, document)
        except Skip as skip:
            skips.append(skip)
    if len(skips) == len(documents):
        raise skips[0]


def _proving(report: Report) -> Report:
    """Return the report. Raises `ContractUsageError` if every contract was skipped: it would prove nothing."""
    if report.passed or report.failed:
        return report
    msg = f"nothing could be checked on this consumer; give it a document that it is made for\n{report}"
    raise ContractUsageError(msg)
