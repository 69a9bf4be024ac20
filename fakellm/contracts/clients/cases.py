"""What a client is tried on: each legal form, oddities that are legal too, and the faults of the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fakellm.contracts.clients import wires
from fakellm.contracts.faults.ways import Break, Faulty
from fakellm.script.events import Finish, Pause, Raw, disconnect, provider_error
from fakellm.script.script import Script
from fakellm.wire.hops import Hop
from fakellm.wire.wireform import FORMS, Framing, WireForm

TEXTS = ("One ", "two ", "three ", "four.")
PLAIN = Script(*TEXTS)
BIG = "x" * 2**20
"""A text of 1 MB."""
SEPARATED = "a\u2028b\u2029c\x85d "
"""A text with what ends a line to Python, and to no protocol."""

Kind = Literal["form", "oddity", "fault"]


@dataclass(frozen=True)
class Case:
    """One row of a report: what is sent instead of the plain answer, and the contract that it is about.

    A `form` has to read as the plain answer, an `oddity` has to say the same text, a fault must not look whole.
    `change` makes an event of another; an API that has no such event leaves the row out.
    """

    name: str
    contract: str
    kind: Kind
    what: str
    form: WireForm | None = None
    script: Script = PLAIN
    texts: tuple[str, ...] = TEXTS
    hop: Hop | None = None
    faults: tuple[Faulty, ...] = ()
    change: wires.Change | None = None
    framings: tuple[Framing, ...] = ("events", "lines", "other")


_OF_FORMS = {
    "line_ends": ("lf", "crlf", "cr", "crlf_bytes"),
    "control_blocks": (
        "bom", "comments", "comment_first", "comment_inside", "ids", "comment_after_id", "retry", "retry_alone", "all",
    ),
    "event_fields": ("event_names", "pretty", "no_space", "pretty_crlf"),
    "content_coding": ("gzip", "deflate", "gzip_bytes"),
    "framing": ("bytes", "odd_pieces", "whole", "events"),
}  # fmt: skip


CONTRACTS = {
    "line_ends": "line_ends", "encoding": "content_coding", "pieces": "framing",
    **dict.fromkeys(("bom", "comments", "retry", "alone", "ids"), "control_blocks"),
    **dict.fromkeys(("event_names", "data_lines", "space"), "event_fields"),
}  # fmt: skip
"""What a field of a form is about."""


def _forms() -> list[Case]:
    return [
        Case(name, contract, "form", f"{FORMS[name]!r}", form=FORMS[name])
        for contract, names in _OF_FORMS.items()
        for name in names
    ]


def _inserting(name: str, contract: str, what: str, change: wires.Change) -> Case:
    return Case(
        name, contract, "oddity", what, hop=wires.Inserting(TEXTS[1], change), change=change,
        framings=("events", "lines"),
    )  # fmt: skip


def _with(text: str) -> tuple[str, ...]:
    return (*TEXTS[:2], text, *TEXTS[2:])


_ALIVE = (Pause(1), Raw(": keep-alive\n\n"), Pause(1))


def _oddities() -> list[Case]:
    both: tuple[Framing, ...] = ("events", "lines")
    return [
        Case(
            "keep_alive", "control_blocks", "oddity", "comments during silences", framings=("events",),
            script=Script(*_ALIVE, TEXTS[0], *_ALIVE, *TEXTS[1:], *_ALIVE),
        ),
        _inserting("no_choices", "no_choices", "a chunk without choices", wires.no_choices),
        _inserting("empty_delta", "empty_delta", "a chunk that says nothing", wires.empty_delta),
        _inserting("null_content", "empty_delta", "a delta whose content is null", wires.null_content),
        _inserting("null_delta", "empty_delta", "a delta that is null", wires.null_delta),
        Case("unknown_field", "unknown_fields", "oddity", "fields that no API has", hop=wires.Unknown(), framings=both),
        _inserting("unknown_event", "unknown_fields", "an event of a type that no API has", wires.unknown_event),
        Case(
            "unknown_finish", "unknown_fields", "oddity", "a finish reason that no API has",
            script=Script(*TEXTS, Finish("fakellm_unknown")),
        ),
        Case(
            "long_event", "long_event", "oddity", "an event of 1 MB", script=Script(*_with(BIG)), texts=_with(BIG),
        ),
        Case(
            "separators", "line_ends", "oddity", "U+2028, U+2029 and U+0085 in a text",
            script=Script(*_with(SEPARATED)), texts=_with(SEPARATED), hop=wires.Unescaped(),
        ),
        Case(
            "late", "finish", "oddity", "a text behind the end marker", hop=wires.Late(TEXTS[1]),
        ),
    ]  # fmt: skip


_WAYS = {
    "clean_end": Break("disconnect", "clean end", (disconnect("end"),)),
    "cut": Break("disconnect", "cut inside the next event", (disconnect("cut"),)),
    "close": Break("disconnect", "close", (disconnect("close"),)),
    "reset": Break("disconnect", "reset", (disconnect("reset"),)),
}
_PLACES = (2, len(TEXTS))


def _faults(error_events: tuple[bool | None, ...], piece: bytes) -> list[Case]:
    named = {None: "error", True: "error_named", False: "error_unnamed"}
    half = Raw(wires.half_of(piece) or 'data: {"broken\n\n')
    broken = {"broken_json": Break("malformed", "broken JSON", (half, disconnect("end")))}
    errors = {
        named[one]: Break("provider_error", "error in the stream", (provider_error(named=one),), "in_band_error")
        for one in error_events
    }
    return [
        Case(
            name, way.contract, "fault", way.name if name != "error_named" else "error as a named event",
            faults=tuple(Faulty.of_break(PLAIN, at, way) for at in _PLACES),
        )
        for name, way in {**_WAYS, **broken, **errors}.items()
    ]  # fmt: skip


def cases(error_events: tuple[bool | None, ...], piece: bytes = b"") -> list[Case]:
    """Return all cases, for a provider whose errors inside streams come in these forms; `piece` is an event of it."""
    return [*_forms(), *_oddities(), *_faults(error_events, piece)]
