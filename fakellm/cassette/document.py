"""The data of a tape: its fields, each checked when it is read, and where in the text they stand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any, TypeVar

from fakellm.cassette.emit import raw
from fakellm.cassette.numbers import Delays, Numbers, counts, is_plain
from fakellm.cassette.reading import UnreadableError, as_str, from_base64, from_json, from_yaml, line_finder
from fakellm.errors import clip, explain
from fakellm.script.lines import Place

T = TypeVar("T")

VERSION = 1
ENDS = ("complete", "cancelled", "dropped", "timeout")
HEADING = '# A fakellm cassette, which vcrpy reads too. It is whole where its last line is "...".\n'
RESTORE = "restore the file from version control, or delete it and record it again"
OTHER = "name a file that is a tape, or restore this one from version control"

_TAIL = 200  # characters, of which a tape begins or ends with that many blank ones at most
_STREAM = ("sizes", "delays", "end", "error")


class CassetteError(ValueError):
    """A tape that cannot be read or written: the message names file, line and field, and what to do."""


class Document:
    """The data of a tape, and where in the text it stands.

    The text may be given in UTF-8, as a file has it, which spares decoding it. The getters return a field that
    is checked, and raise `CassetteError` for one that is not as it should be.
    """

    def __init__(self, source: str | bytes, name: str) -> None:
        self.name = name
        try:
            self.data, is_json = _parsed(source, is_json=name.endswith(".json"))
        except UnreadableError as error:
            headline = f"{name}, line {error.line}: {error.problem}"
            remedy = error.remedy or (RESTORE if "interactions" in as_str(source) else OTHER)
            raise CassetteError(explain(headline, remedy=[remedy])) from None
        self._line = line_finder(source, is_json=is_json)
        head, tail = as_str(source[: len(HEADING)]), as_str(source[-_TAIL:])
        if head == HEADING and not tail.rstrip().endswith("\n..."):
            line = as_str(source).rstrip().count("\n") + 1
            headline = f'{name}, line {line}: the tape was cut off: it does not end with "..."'
            raise CassetteError(explain(headline, remedy=[RESTORE]))

    def refuse(self, place: Place, problem: str, remedy: str = RESTORE) -> CassetteError:
        """Return the error that says what is wrong with a field."""
        where = ".".join(str(part) for part in place) or "the document"
        headline = f"{self.name}, line {self._line(place)}, {where}: {problem}"
        return CassetteError(explain(headline, remedy=[remedy]))

    def get(self, place: Place) -> Any:
        """Return what is there, or None."""
        found = self.data
        for part in place:
            if isinstance(found, Mapping):
                found = found.get(part)
            elif isinstance(found, list) and isinstance(part, int) and part < len(found):
                found = found[part]
            else:
                return None
        return found

    def mapping(self, place: Place) -> dict[str, Any]:
        """Return a mapping."""
        return self._typed(place, dict, "a mapping")

    def sequence(self, place: Place) -> list[Any]:
        """Return a list."""
        return self._typed(place, list, "a list")

    def text(self, place: Place) -> str:
        """Return a text."""
        found = self.get(place)
        return as_text(found) if isinstance(found, bytes) else self._typed(place, str, "a text")

    def whole(self, place: Place) -> int:
        """Return a whole number."""
        found = self._typed(place, int, "a whole number")
        if isinstance(found, bool):
            raise self.refuse(place, f"a whole number belongs here, not {found}")
        return found

    def _typed(self, place: Place, kind: type[T], what: str) -> T:
        found = self.get(place)
        if not isinstance(found, kind):
            raise self.refuse(
                place, f"{what} is missing here" if found is None else f"{what} belongs here, not {_shown(found)}"
            )
        return found

    def headers(self, place: Place) -> dict[str, list[str]]:
        """Return headers: a list of texts for each name; none where there are none."""
        if self.get(place) is None:
            return {}
        headers: dict[str, list[str]] = {}
        for name, values in self.mapping(place).items():
            listed = values if isinstance(values, (list, tuple)) else [values]
            if any(isinstance(value, (dict, list)) for value in listed):
                raise self.refuse((*place, name), f"a header's value is a text, not {_shown(values)}")
            headers[as_text(name)] = [sent_as(value) for value in listed]
        return headers

    def body(self, place: Place) -> bytes | None:
        """Return the bytes of a body, which is a text, bytes, or pieces of either; None where it is null."""
        found = self.get(place)
        if found is None or isinstance(found, bytes):
            return found
        if isinstance(found, str):
            return raw(found)
        if isinstance(found, (list, tuple)) and all(isinstance(part, (str, bytes)) for part in found):
            return b"".join(part if isinstance(part, bytes) else raw(part) for part in found)
        remedy = "put quotes around it" if isinstance(found, (int, float)) else RESTORE
        raise self.refuse(place, f"a body is a text or !!binary, not {_shown(found)}", remedy)

    def base64(self, place: Place) -> bytes:
        """Return bytes that are written as base64."""
        try:
            return from_base64(self.text(place))
        except ValueError as error:
            raise self.refuse(place, f"this is not base64: {error}") from None

    def held(self, place: Place) -> bytes | None:
        """Return the bytes of a mapping with `string` or `base64_string`; None where the string is null."""
        is_base64 = self.mapping(place).get("base64_string") is not None
        return self.base64((*place, "base64_string")) if is_base64 else self.body((*place, "string"))

    def wire(self, place: Place) -> dict[str, Any]:
        """Return what a response at a place was on the wire, where that is not what the rest says; else nothing.

        The old httpx stub of vcrpy wrote `http_version` beside the status.
        """
        found: dict[str, Any] = {}
        if self.get((*place, "wire")) is not None:
            self.only((*place, "wire"), ("http_version", "headers"))
        for version in ((*place, "wire", "http_version"), (*place, "http_version")):
            if self.get(version) not in (None, "HTTP/1.1"):
                found = {"http_version": self.text(version)}
        if headers := self.headers((*place, "wire", "headers")):
            found["headers"] = headers
        return found

    def only(self, place: Place, known: Sequence[str], *, free: bool = False) -> None:
        """Refuse a field of a mapping that is not known; if `free`, a name that begins with `x-` is anybody's."""
        for key in self.mapping(place):
            if key not in known and not (free and str(key).startswith("x-")):
                kind = "a tape" if not place else "an interaction" if isinstance(place[-1], int) else f"a {place[-1]}"
                close = get_close_matches(str(key), known, 1)
                remedy = f"correct its name: {close[0]}" if close else "correct its name, or take it out"
                raise self.refuse((*place, key), f"{kind} has no such field; it has {', '.join(known)}", remedy)

    def stream(self, place: Place, length: int) -> dict[str, Any]:
        """Return how a response streamed, checked against the length of its body."""
        self.only(place, _STREAM)
        sizes: list[int] = self._numbers((*place, "sizes"), int, "bytes")
        delays = self._delays((*place, "delays"))
        again = "put back what was recorded, or record it again"
        if sum(sizes) != length:
            raise self.refuse((*place, "sizes"), f"they add up to {sum(sizes)} bytes, and the body has {length}", again)
        if len(delays) != len(sizes):
            raise self.refuse((*place, "delays"), f"there are {len(delays)} for {len(sizes)} sizes", again)
        end, error = self.get((*place, "end")), self.get((*place, "error"))
        if end not in ENDS:
            raise self.refuse(
                (*place, "end"), f"{_shown(end)} is no end; there are {', '.join(ENDS)}", "write one of these"
            )
        if error is not None and not isinstance(error, str):
            raise self.refuse((*place, "error"), f"the name of an exception belongs here, or null, not {_shown(error)}")
        return {"sizes": sizes, "delays": delays, "end": end, "error": error}

    def _delays(self, place: Place) -> Sequence[float]:
        """Return milliseconds, which become numbers when somebody wants them: a tape that plays at once needs none."""
        found = self.get(place)
        if isinstance(found, str) and is_plain(found):
            return Delays(found)
        return self._numbers(place, float, "milliseconds")

    def _numbers(self, place: Place, kind: Callable[[Any], Any], unit: str) -> list[Any]:
        found = self.get(place)
        if found is None:
            raise self.refuse(place, "it is missing here")
        if kind is int and isinstance(found, str) and (numbers := counts(found)) is not None:
            return numbers
        parts = found if isinstance(found, list) else str(found).split()
        listed: list[Any] = []
        try:
            listed = Numbers(map(kind, parts))
            is_sound = not listed or (min(listed) >= 0 and math.isfinite(sum(listed)))
        except (ValueError, TypeError, OverflowError):
            is_sound = False
        if not is_sound:
            raise self.refuse(place, f"numbers of {unit} belong here, with spaces between them, not {_shown(found)}")
        return listed


def _parsed(source: str | bytes, *, is_json: bool) -> tuple[Any, bool]:
    """Return the data, and whether it is of JSON; what looks like JSON may be YAML all the same."""
    if not is_json and as_str(source[:_TAIL]).lstrip()[:1] in ("{", "["):
        with suppress(UnreadableError):
            return from_json(as_str(source)), True
    return from_json(as_str(source)) if is_json else from_yaml(source), is_json


def as_text(value: object) -> str:
    """Return a name, a method or a URL as text: bytes are UTF-8, else Latin-1."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.decode("latin-1")
    return value if isinstance(value, str) else "" if value is None else str(value)


def sent_as(value: object) -> str:
    """Return a header's value as text that stands for its bytes.

    HTTP says no more of bytes beyond ASCII than that they may occur (RFC 9110, 5.5), so clients read them in ways of
    their own. They are UTF-8 where they can be, and what is not UTF-8 is a surrogate (PEP 383), which gives it back.
    """
    return (value if isinstance(value, bytes) else raw(as_text(value))).decode("utf-8", "surrogateescape")


def sound(value: object) -> str:
    """Return a name, a method or a URL as text that UTF-8 can hold: what Python read with surrogates is Latin-1."""
    text = as_text(value)
    return text if text.isascii() else as_text(raw(text))


def _shown(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "a list"
    return "a mapping" if isinstance(value, dict) else clip(repr(value), 80)


def check_version(document: Document) -> None:
    """Refuse a version that is not 1; a tape that names none is taken for one of version 1, as vcrpy does."""
    version = document.get(("version",))
    if version is not None and (version != VERSION or isinstance(version, bool)):
        problem = f"version {version!r} is unknown; this fakellm reads version {VERSION}"
        raise document.refuse(("version",), problem, "read it with the tool that wrote it, or record it again")
