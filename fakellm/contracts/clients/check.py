"""`check_client`: every contract of a client, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from fakellm.contracts.catalogue import checked_reasons, chosen
from fakellm.contracts.clients import on_client  # noqa: F401 - it binds the checks
from fakellm.contracts.clients.cases import cases
from fakellm.contracts.clients.lab import Lab
from fakellm.contracts.clients.report import ClientReport
from fakellm.contracts.faults.checks import Raises
from fakellm.contracts.streams.check import check_loop
from fakellm.contracts.streams.projections import text_of
from fakellm.contracts.verdicts import Verdict, verdict_of
from fakellm.errors import ContractUsageError
from fakellm.wire.gateways.gateway import Gateway
from fakellm.wire.gateways.presets import gateways_of


def check_client(
    make: Callable[[], Any],
    *,
    api: str,
    input: Any = "?",
    profile: Any = None,
    hosts: Sequence[str] = (),
    contracts: Iterable[str] | None = None,
    skip: Mapping[str, str] | None = None,
    text: Callable[[Any], Any] = text_of,
    raises: Raises | None = None,
    incomplete: Callable[[Any], object] | None = None,
    behind: str | Gateway | Sequence[str | Gateway] = (),
    patience: float = 10.0,
) -> ClientReport:
    """Check the contracts of a client on what `make` makes, and return the report. Needs no pytest.

    `make` returns a function that asks for a stream through its own client, of the `input` or of nothing, and returns
    what the app sees: a text, a list of chunks, or a stream of either, synchronous or not. Of chunks all is compared,
    of texts the text. It is called anew for each question, and the provider `api` answers, in the habits of `profile`,
    at any host but this machine, or at these `hosts`, such as `localhost:8000`.

    Each legal form of the wire (`fakellm.wire.FORMS`) has to read as the plain answer; legal oddities have to say the
    same text; a fault has to raise one of `raises`, by default any `Exception`, or to return what cannot be taken for
    a whole answer, or that of which `incomplete(result)` is true, as `check_faults` has it. Of a form that fails, the
    smallest part that fails is told. `text` reads the text of a chunk of a kind that we do not know.

    `contracts` are the names of those to check, `skip` maps their names, and those of rows of the table such as `bom`,
    to the reasons why not. All arrives as it does `behind` gateways, `"nginx"` or a list of names; what one of them
    makes a whole answer of, so that nobody can tell, is left out. `patience` are the real seconds after which one
    answer is taken to hang. Raises `ContractUsageError` for a use that proves nothing.
    """
    check_loop("check_client")
    reasons, rows = reasons_of(skip)
    wanted = chosen(contracts, "client")
    if not wanted:
        msg = "no contract was named, so nothing would be checked; leave contracts= out for all of them"
        raise ContractUsageError(msg)
    lab = Lab(make, api, input, profile, hosts, text, raises, incomplete, rows, gateways_of(behind), patience)
    verdicts = [
        Verdict(contract, "skipped", reasons[contract.name])
        if contract.name in reasons
        else verdict_of(contract, partial(contract.checks["client"], lab))
        for contract in wanted
    ]
    return ClientReport(lab.name, tuple(verdicts), endpoint=lab.endpoint, rows=tuple(lab.rows))


def reasons_of(skip: Mapping[str, str] | None) -> tuple[dict[str, str], dict[str, str]]:
    """Return the reasons for skipping contracts, and those for skipping rows. Raises `ContractUsageError`."""
    rows = {case.name for case in cases((None, True, False))}
    reasons = checked_reasons(skip, "client", rows)
    return (
        {name: why for name, why in reasons.items() if name not in rows},
        {name: why for name, why in reasons.items() if name in rows},
    )
