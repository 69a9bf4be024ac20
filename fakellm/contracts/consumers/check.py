"""`check_consumer`: every contract of consumers as a report, without pytest."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from fakellm.contracts.catalogue import CATALOGUE, Contract, chosen
from fakellm.contracts.consumers import checks as consumer_checks
from fakellm.contracts.consumers import closing
from fakellm.contracts.consumers.attempt import Consume
from fakellm.contracts.consumers.cuts import Cuts
from fakellm.contracts.consumers.given import check_moves, documents_of, name_of, replayed, stop_words
from fakellm.contracts.consumers.moves import Selection
from fakellm.contracts.consumers.places import has_tag
from fakellm.contracts.consumers.undivided import check_expected
from fakellm.contracts.consumers.verdict import Replayed, judge_consumer
from fakellm.contracts.documents import Document, Moves
from fakellm.contracts.structured import checks as structured_checks
from fakellm.contracts.verdicts import Report, Verdict, verdict_of
from fakellm.errors import ContractUsageError, clip

_UNSET: Any = object()
_OPT_IN = "only an app that asks for several answers (n > 1) has to tell them apart: say contracts='crossed_streams'"
_ANYWHERE = "it comes to something else wherever the text is cut: see tags"
_CHECKED = {
    name
    for name, contract in CATALOGUE.items()
    if getattr(contract.checks.get("consumer"), "__module__", "")
    in (consumer_checks.__name__, structured_checks.__name__, closing.__name__)
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
    name = name_of(consume)
    given = documents_of(documents, sse=sse, stop=stop, empty=empty) if documents else []
    if expected is not _UNSET:
        check_expected(consume, given, expected)
    more: dict[str, dict[str, Any]] = {
        "tags": {"whole_is_right": expected is not _UNSET},
        "stop_sequence": {"stop": stop_words(stop)},
        "close": {"stop": stop_words(stop)},
    }
    if only is not None and contracts is not None and len(names) == 1 and not given:
        consume = Replayed(consume, check_moves(only))
    elif (moves := replayed(given, only)) is not None:
        return Report(name, (_replay(consume, given[0], moves, names),))
    fed_with: list[Document | None] = [*given] or [None]
    verdicts = []
    for contract in names:
        if contract.name == "crossed_streams" and contracts is None and not given:
            verdicts.append(Verdict(contract, "skipped", _OPT_IN))
            continue
        check = partial(contract.checks["consumer"], consume, **more.get(contract.name, {}))
        verdicts.append(verdict_of(contract, *(partial(check, document) for document in fed_with)))
    return _proving(Report(name, tuple(_once(verdicts, given))), consume)


def _chosen(contracts: str | Iterable[str] | None) -> list[Contract]:
    """Return the contracts that are checked by feeding chunks, or those with these names."""
    names = chosen(contracts, on="consumer")
    fed_here = [contract for contract in names if contract.name in _CHECKED]
    if contracts is not None and fed_here != names:
        others = ", ".join(contract.name for contract in names if contract not in fed_here)
        msg = f"{others}: not checked by feeding chunks, but by what fails or runs at once; see check_faults"
        raise ContractUsageError(msg)
    return fed_here


def _replay(consume: Consume, document: Document, moves: Moves, names: list[Contract]) -> Verdict:
    contract = names[0] if len(names) == 1 else CATALOGUE[document.contract(moves)]
    judge = partial(judge_consumer, document, consume, contract.name, selection=Selection(only=moves))
    return verdict_of(contract, judge)


def _once(verdicts: list[Verdict], documents: list[Document]) -> list[Verdict]:
    """Return the verdicts with a mistake that any cut shows reported once, where there is no tag in the documents.

    It is reported as `tags`: the result depends on the cuts.
    """
    if not documents or not any(v.contract.name == "tags" and v.status == "failed" for v in verdicts):
        return verdicts
    if any(has_tag(getattr(document, "text", "")) for document in documents):
        return verdicts
    less = {"whitespace_tail", *(["empty_delta"] if all(isinstance(document, Cuts) for document in documents) else [])}
    return [
        Verdict(verdict.contract, "skipped", _ANYWHERE)
        if verdict.status == "failed" and verdict.contract.name in less
        else verdict
        for verdict in verdicts
    ]


def _proving(report: Report, consume: Consume) -> Report:
    """Return the report. Raises `ContractUsageError` if it would prove nothing, for nothing was checked or replayed."""
    if not report.passed and not report.failed:
        msg = f"nothing could be checked on this consumer; give it a document that it is made for\n{report}"
        raise ContractUsageError(msg)
    if isinstance(consume, Replayed) and not consume.replayed:
        name = report.verdicts[0].contract.name
        msg = f"only={consume.only!r}: no document of {name} has these moves; give the document that failed"
        raise ContractUsageError(msg)
    return report
