"""The contracts of a client, bound to the catalogue: each tries the cases that are about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

from fakellm.contracts.attempts import Attempt
from fakellm.contracts.catalogue import checks
from fakellm.contracts.clients.cases import CONTRACTS, TEXTS, Case
from fakellm.contracts.clients.lab import Lab
from fakellm.contracts.clients.report import Row
from fakellm.contracts.clients.seen import Seen, says
from fakellm.contracts.consumers.smallest import ddmin
from fakellm.contracts.streams.projections import UNKNOWN
from fakellm.contracts.verdicts import Skip, broken
from fakellm.errors import BrokenContractError, BrokenReplyError, clip
from fakellm.wire.wireform import WireForm

_SHOWN = 300


def rows_of(lab: Lab, contract: str) -> list[tuple[Row, BrokenContractError | None]]:
    """Try all cases of a contract; return a row for each, with what breaks it."""
    return [_row(lab, case) for case in lab.cases if case.contract == contract]


def _row(lab: Lab, case: Case) -> tuple[Row, BrokenContractError | None]:
    row = Row(case.name, case.kind, case.contract, case.what, "skipped", lab.refused(case))
    if row.outcome:
        return row, None
    try:
        error, outcome = {"form": _form, "oddity": _oddity, "fault": _fault}[case.kind](lab, case)
    except Skip as skip:
        return replace(row, outcome=str(skip)), None
    if error is None:
        return replace(row, status="passed", outcome=outcome), None
    return replace(row, status="failed", outcome=outcome, contract=error.contract or case.contract), error


def _outcome(found: Attempt | None, usual: str = "reads otherwise") -> str:
    if found is None:
        return "reads"
    if found.hangs:
        return "hangs"
    return usual if found.error is None else f"raises {type(found.error).__name__}"


# -- legal forms ------------------------------------------------------------------------------------------


def _form(lab: Lab, case: Case) -> tuple[BrokenContractError | None, str]:
    form = case.form or WireForm()
    if (found := lab.differs(form)) is None:
        return None, _outcome(None)
    smallest = _smallest(lab, form)
    terse = lab.reads(smallest) is None
    found = lab.differs(smallest) or found
    expected, got = lab.compared(found, terse=terse)
    what = f"the plain answer in the form {smallest!r}" + (f", as in {case.name!r}" if smallest != form else "")
    rows = (
        ("sent", clip(repr(lab.sent(smallest)), 300)),
        ("expected", expected),
        ("got", got),
        ("replay", f"{lab.shown_provider(terse=terse)}.otherwise({', '.join(map(repr, TEXTS))}).speak({smallest!r})"),
    )
    contracts = {CONTRACTS[name]: None for name in smallest.fields()}
    contract = case.contract if case.contract in contracts else next(iter(contracts))  # "all" is of whatever fails
    return broken(contract, f"{what} reads otherwise", *rows), f"{_outcome(found)}: {smallest}"


def _smallest(lab: Lab, form: WireForm) -> WireForm:
    """Return the form with as few of its fields as still make a difference; one alone if one alone does."""

    def fails(told: tuple[Any, ...]) -> bool:
        return lab.differs(WireForm(**dict(told))) is not None

    told = [*_told(form)]
    for size in (1, 2):
        if size >= len(told):
            return form
        for some in combinations(told, size):
            together = tuple(one for group in some for one in group)
            if fails(together):
                return WireForm(**dict(together))
    smallest = ddmin(tuple(told), lambda groups: fails(tuple(one for group in groups for one in group)))
    return WireForm(**{name: value for group in smallest for name, value in group})


def _told(form: WireForm) -> Iterator[tuple[tuple[str, Any], ...]]:
    """Yield the fields of a form, those together that need each other."""
    found = form.fields()
    if "alone" in found:
        yield ("retry", found.pop("retry")), ("alone", found.pop("alone"))
    for name, value in found.items():
        yield ((name, value),)


# -- oddities that are legal ------------------------------------------------------------------------------


def _oddity(lab: Lab, case: Case) -> tuple[BrokenContractError | None, str]:
    found = lab.ask(case.script, odd=case.hop)
    if isinstance(found.error, BrokenReplyError):
        msg = f"{lab.endpoint} cannot say that"
        raise Skip(msg)
    if found.error is None and _says(lab, found, case.texts):
        return None, _outcome(None)
    got = str(found) if found.error is not None else _shown(found.value)
    rows = (("expected", clip(repr("".join(case.texts)[:_SHOWN]), 120)), ("got", got))
    return broken(case.contract, f"the answer has {case.what}", *rows), _outcome(found)


def _says(lab: Lab, found: Attempt, texts: tuple[str, ...]) -> bool:
    """Tell whether what was seen says the texts and no other; where its text is not known, whether they are there."""
    seen = found.value
    if lab.plain.text == "".join(TEXTS):
        return bool(seen.text == "".join(texts))
    return says(seen, texts) and not (
        seen.text is UNKNOWN and seen.said.count(TEXTS[1]) > lab.plain.said.count(TEXTS[1])
    )


def _shown(seen: Seen) -> str:
    return clip(repr(seen.text[:_SHOWN] if isinstance(seen.text, str) else seen.value), _SHOWN)


# -- faults -----------------------------------------------------------------------------------------------


def _fault(lab: Lab, case: Case) -> tuple[BrokenContractError | None, str]:
    outcomes: dict[str, None] = {}
    for faulty in (one for one in case.faults if not lab.is_hidden(one)):
        found, wrong = lab.judge.judged(faulty)
        if wrong:
            events = [*map(repr, TEXTS[: faulty.after]), *map(repr, faulty.tail)]
            rows = (
                ("fault", faulty.label),
                ("got", wrong),
                ("replay", f"FakeProvider({lab.api!r}){lab.behind}.otherwise({', '.join(events)})"),
            )
            word = _outcome(found, "as if whole") if lab.raises is None else _outcome(found, "raises nothing")
            return broken(case.contract, f"an answer that breaks is taken: {case.what}", *rows), word
        if found.error is not None:
            outcomes[_outcome(found)] = None
        elif found.value != lab.seen(lab.plain):
            outcomes["is seen"] = None
    return None, ", ".join(outcomes) or "nothing is lost"


# -- the contracts ----------------------------------------------------------------------------------------


def check(lab: Lab, contract: str) -> list[Row]:
    """Try all cases of a contract. Raises the first that is broken, naming the others; `Skip` if none can be tried."""
    found = rows_of(lab, contract)
    lab.rows += (rows := [row for row, _ in found])
    errors = [(row.name, error) for row, error in found if error is not None and row.contract == contract]
    if errors:
        also = [f"\n  also:      {', '.join(name for name, _ in errors[1:])}"] if errors[1:] else []
        raise BrokenContractError("".join([str(errors[0][1]), *also]), contract=contract)
    if not [row for row in rows if row.status == "passed"]:
        raise Skip("; ".join(dict.fromkeys(row.outcome for row in rows)) or "there is no case of it")
    return rows


@checks("line_ends", on="client")
def line_ends(lab: Lab) -> None:
    """Take LF, CR and CRLF for the end of a line.

    The standard of server-sent events has all three, Google's servers send CRLF, and a proxy or a framework may write
    any. A client that splits at one of them alone waits for ever, or takes a CR for a part of the text.
    """
    check(lab, "line_ends")


@checks("control_blocks", on="client")
def control_blocks(lab: Lab) -> None:
    """Pass over what dispatches nothing: comments, a byte order mark, ids, a retry.

    Keep-alives come while a model thinks, before the first event too. A client that hands an empty event to its JSON
    parser, since an id or a retry stood in it or before it, fails on a server that is slow, and on no other.
    """
    check(lab, "control_blocks")


@checks("event_fields", on="client")
def event_fields(lab: Lab) -> None:
    """Read the fields of an event as the standard has it.

    Several data lines are one text, joined by line feeds; the space behind the colon may be left out; an event whose
    name is `message` is one without a name. Clients that look for the bytes `data: {` lose all of these.
    """
    check(lab, "event_fields")


@checks("content_coding", on="client")
def content_coding(lab: Lab) -> None:
    """Read a compressed stream as it comes.

    Who asks for gzip gets it from proxies, streams too. A client that reads the connection past its HTTP library sees
    the compressed bytes; one that decompresses each piece by itself fails at the second.
    """
    check(lab, "content_coding")


@checks("framing", on="client")
def framing(lab: Lab) -> None:
    """Read the same however the bytes are cut.

    A piece of the body is what the network made of it: a byte, half a character, three events. A client that takes a
    read for an event works on one machine, and not behind a proxy that gathers.
    """
    check(lab, "framing")


@checks("long_event", on="client")
def long_event(lab: Lab) -> None:
    """Read an event of any length.

    Images, logs and the arguments of a tool make events of megabytes. Readers of lines with a fixed limit, of 64 KB as
    several have it, fail on the one answer that mattered.
    """
    check(lab, "long_event")


@checks("no_choices", on="client")
def no_choices(lab: Lab) -> None:
    """Take a chunk that has no answer in it.

    The chunk with the usage has none, nor has that of a content filter, which comes first. A client, or the app's loop
    around it, that takes the first of the choices raises an IndexError there.
    """
    check(lab, "no_choices")


@checks("empty_delta", on="client")
def empty_delta(lab: Lab) -> None:
    """Take a delta that says nothing, in any form: without fields, with a null, or null itself.

    Servers send them between two pieces, with the role, with the finish reason. Strictly typed clients refuse the null,
    and apps add None to a text.
    """
    check(lab, "empty_delta")


@checks("unknown_fields", on="client")
def unknown_fields(lab: Lab) -> None:
    """Take what is of a later version than the client: fields, types of events, finish reasons.

    APIs grow without a new version, and self-hosted servers have fields of their own. A client that knows a closed set
    breaks on the day on which the provider adds to it.
    """
    check(lab, "unknown_fields")


@checks("finish", on="client")
def finish(lab: Lab) -> None:
    """End at the end marker: what comes behind it is no part of the answer.

    Proxies that keep a connection open, and servers that count late, send more behind the end. It must not be shown.
    """
    check(lab, "finish")


@checks("truncation", on="client")
def truncation(lab: Lab) -> None:
    """Do not end as usual where the answer was cut off, in whatever way.

    A reset is an error to every client. A proxy that turns it into a clean end, or cuts inside an event, makes of it
    what most clients take for the end of the answer: half of it is shown, stored and billed as a whole.
    """
    check(lab, "truncation")


@checks("in_band_error", on="client")
def in_band_error(lab: Lab) -> None:
    """Raise the error that the provider reports inside the stream, in both forms: as a named event, and as data alone.

    The status was 200 long ago, so no error handling of HTTP sees it. A client that skips what it does not know ends
    the answer there without a word.
    """
    check(lab, "in_band_error")
