"""The forms of the wire as values: the same answer, written in another legal way.

What is legal where. Server-sent events are those of the WHATWG, HTML Living Standard, 9.2.5 and 9.2.6: lines end in LF,
CR or CRLF; one byte order mark may stand first; a line that begins with a colon is a comment; `id` and `retry` are
fields beside `data`, whose lines a decoder joins with LF; one space after a colon does not count; an event without a
name is a `message`. Lines of JSON may end in CRLF, since CR is white space to JSON (RFC 8259, 2), and have none of the
rest. Any body may be compressed (RFC 9110, 8.4), and chunks of it mean nothing (RFC 9112, 7.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Literal, Self

from fakellm.errors import ScriptError, clip
from fakellm.wire.coding import CODINGS, Compressor

Framing = Literal["events", "lines", "other"]
"""How a body is divided: server-sent events, lines of JSON, or as an array, binary frames and documents are."""

_KNOWN: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("bom", "alone", "ids", "event_names", "space"), (True, False)),
    "line_ends": (None, "lf", "crlf", "cr"),
    "comments": (False, True, "between", "first", "inside"),
    "data_lines": (None, "pretty"),
    "encoding": (None, *CODINGS),
}
_CUTS = ("bytes", "whole", "events")
_PACKAGES = {"br": "brotli", "zstd": "zstandard"}
_IN = {"lines": ("line_ends", "encoding", "pieces"), "other": ("encoding", "pieces")}


@dataclass(frozen=True, slots=True, kw_only=True)
class WireForm:
    """A legal way to write an answer, which reads the same: `WireForm(line_ends="crlf", comments=True)`.

    Of event streams: `line_ends` is `"lf"`, `"crlf"` or `"cr"`; `bom` puts a byte order mark first. `comments` are
    keep-alives: `"between"` two events (True), `"first"` before them all, or `"inside"` each. `retry` are milliseconds,
    said with the first event, or before it in a block of its own if it is `alone`. `ids` numbers the events, and
    `event_names` calls those `message` that have no name. `data_lines="pretty"` spreads JSON over several `data:`
    lines; `space=False` leaves out the space behind a colon.

    Of any body: `encoding` compresses it, each piece to its end, so that nothing is late: `"gzip"`, `"deflate"`,
    `"br"`, `"zstd"`, of which the last two need their libraries. `pieces` is how it is cut: into `"bytes"`, `"events"`,
    so many bytes, or as one piece that comes at the end, `"whole"`; without it as the provider cuts.

    A form is asked for, so it is written whatever the client accepts. It leaves alone what was scripted as bytes,
    `Raw`, and the half of an event that a fault leaves. Raises `ScriptError` for what is no form.
    """

    line_ends: Literal["lf", "crlf", "cr"] | None = None
    bom: bool = False
    comments: bool | Literal["between", "first", "inside"] = False
    retry: int | None = None
    alone: bool = False
    ids: bool = False
    event_names: bool = False
    data_lines: Literal["pretty"] | None = None
    space: bool = True
    encoding: str | None = None
    pieces: Literal["bytes", "whole", "events"] | int | None = None

    def __post_init__(self) -> None:
        if self.comments is True:
            object.__setattr__(self, "comments", "between")
        for name, known in _KNOWN.items():
            if (type(value := getattr(self, name)), value) not in [(type(one), one) for one in known]:
                raise self._wrong(name, f"one of {', '.join(map(repr, known))}")
        if self.retry is not None and (type(self.retry) is not int or self.retry < 0):
            raise self._wrong("retry", "a whole number of milliseconds from 0 up")
        if self.alone and self.retry is None:
            msg = "WireForm.alone puts `retry` into a block of its own; give retry=3000, or leave it out"
            raise ScriptError(msg)
        if self.encoding is not None and not Compressor(self.encoding).known:
            msg = f"WireForm.encoding={self.encoding!r} needs a library for it: install {_PACKAGES[self.encoding]}"
            raise ScriptError(msg)
        is_number = type(self.pieces) is int and self.pieces > 0
        if self.pieces is not None and not is_number and self.pieces not in _CUTS:
            raise self._wrong("pieces", f"one of {', '.join(map(repr, _CUTS))}, or how many bytes each has, from 1 up")

    def _wrong(self, name: str, what: str) -> ScriptError:
        return ScriptError(f"WireForm.{name} is {what}, not {clip(repr(getattr(self, name)), 60)}")

    def __repr__(self) -> str:
        """Return the form as one would write it, without defaults."""
        return f"WireForm({', '.join(f'{name}={value!r}' for name, value in self.fields().items())})"

    def __str__(self) -> str:
        """Return the form as a text that `form_of` reads: `line_ends=crlf,bom`."""
        told = self.fields().items()
        return ",".join(name if value is True else f"{name}={str(value).lower()}" for name, value in told)

    def fields(self) -> dict[str, Any]:
        """Return the fields that are not as usual."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}

    def fitting(self, framing: Framing) -> Self:
        """Return what of the form a framing has: lines of JSON know no comments, documents no line ends."""
        known = _IN.get(framing)
        if known is None:
            return self
        usual: dict[str, Any] = {f.name: f.default for f in fields(self) if f.name not in known}
        if framing == "lines" and self.line_ends == "cr":
            usual["line_ends"] = None
        return replace(self, **usual)

    @property
    def only_cuts(self) -> bool:
        """Whether it leaves the bytes of events as they are: it compresses and cuts them at the most."""
        return not self.fields().keys() - {"encoding", "pieces"}

    def lost(self, framing: Framing) -> list[str]:
        """Return the names of the fields that a framing has no place for."""
        kept = self.fitting(framing).fields()
        return [name for name in self.fields() if name not in kept]


def framing_of(content_type: str) -> Framing:
    """Return how a body of a content type is divided."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return "events"
    return "lines" if kind in ("application/x-ndjson", "application/jsonl", "application/x-jsonlines") else "other"


# -- forms by their names -----------------------------------------------------------------------------

FORMS: Mapping[str, WireForm] = MappingProxyType({
    "lf": WireForm(line_ends="lf"),
    "crlf": WireForm(line_ends="crlf"),
    "cr": WireForm(line_ends="cr"),
    "bom": WireForm(bom=True),
    "comments": WireForm(comments="between"),
    "comment_first": WireForm(comments="first"),
    "comment_inside": WireForm(comments="inside"),
    "ids": WireForm(ids=True),
    "comment_after_id": WireForm(comments="between", ids=True),
    "retry": WireForm(retry=3000),
    "retry_alone": WireForm(retry=3000, alone=True),
    "event_names": WireForm(event_names=True),
    "pretty": WireForm(data_lines="pretty"),
    "no_space": WireForm(space=False),
    "gzip": WireForm(encoding="gzip"),
    "deflate": WireForm(encoding="deflate"),
    "bytes": WireForm(pieces="bytes"),
    "odd_pieces": WireForm(pieces=7),
    "whole": WireForm(pieces="whole"),
    "events": WireForm(pieces="events"),
    "crlf_bytes": WireForm(line_ends="crlf", pieces="bytes"),
    "pretty_crlf": WireForm(data_lines="pretty", line_ends="crlf"),
    "gzip_bytes": WireForm(encoding="gzip", pieces="bytes"),
    "all": WireForm(
        line_ends="crlf", bom=True, comments="between", retry=3000, ids=True, event_names=True, data_lines="pretty",
        space=False, encoding="gzip", pieces=7,
    ),
})  # fmt: skip
"""Legal forms by name: each field alone, and combinations that clients stumble over."""


def form_of(form: WireForm | Mapping[str, Any] | str) -> WireForm:
    """Return a form: of its fields, or of a text such as `crlf`, a name in `FORMS`, or `line_ends=crlf,bom,pieces=7`.

    A text of several has no names in it that say different things of one field. Raises `ScriptError` for what is none.
    """
    if isinstance(form, WireForm):
        return form
    if isinstance(form, str):
        return _of_text(form)
    if not isinstance(form, Mapping):
        msg = f"a form is a fakellm.wire.WireForm, or the name of one, not {clip(repr(form), 60)}"
        raise TypeError(msg)
    known = [f.name for f in fields(WireForm)]
    if unknown := [name for name in form if name not in known]:
        msg = f"a form has no field {unknown[0]!r}; {_near(str(unknown[0]), known)}"
        raise ScriptError(msg)
    return WireForm(**form)


def form_or_none(form: WireForm | Mapping[str, Any] | str | None) -> WireForm | None:
    """Return a form where one is given; see `form_of`."""
    return None if form is None else form_of(form)


def _near(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, 1)
    return f"{f'did you mean {near[0]}? ' if near else ''}there are {', '.join(known)}"


def _of_text(text: str) -> WireForm:
    known = [f.name for f in fields(WireForm)]
    told: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals and name in FORMS and name not in ("comments", "ids", "event_names"):
            told |= FORMS[name].fields()
        elif name in known:
            told[name] = _value(value) if equals else True
        else:
            msg = f"there is no form {name!r}; {_near(name, [*dict.fromkeys([*FORMS, *known])])}"
            raise ScriptError(msg)
    if not told:
        msg = f"a form is told by its fields or by a name, such as crlf or line_ends=crlf,bom, not by {text!r}"
        raise ScriptError(msg)
    return WireForm(**told)


def _value(text: str) -> Any:
    plain = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False, "none": None}
    return plain.get(text.lower(), int(text) if text.isdecimal() else text)
