"""The cassette format: vcrpy's version 1 (https://vcrpy.readthedocs.io), with a mapping `stream` where one streamed.

`stream` has `sizes`, the bytes of each chunk, `delays`, the milliseconds before each, `end`, one of `ENDS`, and
`error`, the exception class that ended it or null. In memory sizes and delays are lists, on disk they are numbers
between spaces. Bodies are text where they are UTF-8, else `!!binary` in YAML and `base64_string` in JSON, of which
vcrpy knows the first only. The order of keys and of headers is fixed, so that the same session gives the same text.

A YAML tape begins with a comment and ends with YAML's end mark, `...`: what is left of a literal block that was cut
off is a literal block too, so this is how such a tape is known. Reading executes nothing.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import yaml

from fakellm.cassette.emit import Block, Plain, raw, to_yaml
from fakellm.cassette.numbers import Delays, Numbers, counts, is_plain
from fakellm.cassette.reading import Place, UnreadableError, as_str, from_base64, from_json, from_yaml, line_finder
from fakellm.errors import clip, explain

T = TypeVar("T")

VERSION = 1
ENDS = ("complete", "cancelled", "dropped", "timeout")
HEADING = '# A fakellm cassette, which vcrpy reads too. It is whole where its last line is "...".\n'
END_MARK = "...\n"
RESTORE = "restore the file from version control, or delete it and record it again"

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
            raise CassetteError(explain(headline, remedy=[error.remedy or RESTORE])) from None
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
            headers[as_text(name)] = [as_text(value) for value in listed]
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

    def stream(self, place: Place, length: int) -> dict[str, Any]:
        """Return how a response streamed, checked against the length of its body."""
        for key in self.mapping(place):
            if key not in _STREAM:
                raise self.refuse(
                    (*place, key), f"a stream has no such field; it has {', '.join(_STREAM)}", "correct its name"
                )
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
        try:
            numbers = Numbers(map(kind, parts))
        except (ValueError, TypeError):
            numbers = Numbers([-1])
        if numbers and not (min(numbers) >= 0 and math.isfinite(sum(numbers))):
            raise self.refuse(place, f"numbers of {unit} belong here, with spaces between them, not {_shown(found)}")
        return numbers


def _parsed(source: str | bytes, *, is_json: bool) -> tuple[Any, bool]:
    """Return the data, and whether it is of JSON; what looks like JSON may be YAML all the same."""
    if not is_json and as_str(source[:_TAIL]).lstrip()[:1] in ("{", "["):
        with suppress(UnreadableError):
            return from_json(as_str(source)), True
    return from_json(as_str(source)) if is_json else from_yaml(source), is_json


def as_text(value: object) -> str:
    """Return a header's name or value as text: bytes are UTF-8, else Latin-1 as HTTP has it (RFC 9110, 5.5)."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.decode("latin-1")
    return value if isinstance(value, str) else "" if value is None else str(value)


def sound(value: object) -> str:
    """Return a header's name or value as text that UTF-8 can hold: what Python read with surrogates is Latin-1."""
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


# -- writing ------------------------------------------------------------------------------------------


class _Body(Protocol):
    """Returns a body as it is written."""

    def __call__(self, data: bytes, *, is_text: bool) -> object: ...


def _arranged(data: Mapping[str, Any], body: _Body) -> dict[str, Any]:
    """Return the data in the order and the types that are written; bodies as the function gives them."""
    interactions = []
    for interaction in data["interactions"]:
        request, response = dict(interaction["request"]), dict(interaction["response"])
        head: dict[str, Any] = {"method": sound(request.pop("method")), "uri": sound(request.pop("uri"))}
        head |= {"headers": _sorted(request.pop("headers")), "body": _held(request.pop("body", None), body)}
        interactions.append({"request": head | _others(request), "response": _response(response, body)})
    return {"version": VERSION, "interactions": interactions}


def _response(response: dict[str, Any], body: _Body) -> dict[str, Any]:
    status, stored, stream = response.pop("status"), response.pop("body", None), response.pop("stream", None)
    string = stored.get("string") if isinstance(stored, Mapping) else stored
    held = _held(string, body)
    shown = {
        "status": {"code": status["code"], "message": status.get("message")},
        "headers": _sorted(response.pop("headers")),
        "body": held if isinstance(held, dict) else {"string": held},
        **_others(response),
    }
    if stream is not None:
        shown["stream"] = _stream(stream, len(body_bytes(string) or b""))
    return shown


def _others(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {key: mapping[key] for key in sorted(mapping)}


def _sorted(headers: Mapping[str, Any]) -> dict[str, Any]:
    names = sorted(headers, key=lambda name: (sound(name).lower(), sound(name)))
    return {sound(name): _listed(headers[name]) for name in names}


def _listed(values: object) -> list[object]:
    listed = values if isinstance(values, (list, tuple)) else [values]
    return [sound(value) for value in listed]


def body_bytes(body: Any) -> bytes | None:
    """Return the bytes of a body as vcrpy keeps it: bytes, text, a file or an iterator of either."""
    if body is None or isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return raw(body)
    if hasattr(body, "read"):
        return body_bytes(body.read())
    return (
        bytes(body) if isinstance(body, (bytearray, memoryview)) else b"".join(body_bytes(part) or b"" for part in body)
    )


def _held(stored: Any, body: _Body) -> Any:
    """Return a body as it is written: as text if it is UTF-8."""
    data = body_bytes(stored)
    if data is None:
        return None
    try:
        data.decode()
    except UnicodeDecodeError:
        return body(data, is_text=False)
    return body(data, is_text=True)


def _stream(stream: Mapping[str, Any], length: int) -> dict[str, Any]:
    sizes, delays = stream["sizes"], stream["delays"]
    is_timed = len(sizes) == len(delays) and min(delays, default=0) >= 0 and math.isfinite(sum(delays))
    if sum(sizes) != length or not is_timed or stream["end"] not in ENDS:
        msg = (
            f"a stream that is no stream is not written: {len(sizes)} sizes of {sum(sizes)} bytes in all, "
            f"{len(delays)} delays, a body of {length} bytes, the end {stream['end']!r}"
        )
        raise CassetteError(msg)
    return {
        "sizes": " ".join(map(str, sizes)),
        "delays": " ".join(f"{delay + 0.0:.1f}" for delay in delays),
        "end": stream["end"],
        "error": stream.get("error"),
    }


class _Serializer:
    """What vcrpy calls a serializer: `vcr.register_serializer("yaml", YAML)`."""

    name = ""

    def deserialize(self, text: str) -> dict[str, Any]:
        """Return the data of a tape as vcrpy wants it, with streams as they are in memory. Raises `CassetteError`."""
        document = Document(text, f"<{self.name}>")
        check_version(document)
        for at, interaction in enumerate(document.sequence(("interactions",))):
            place: Place = ("interactions", at)
            document.mapping((*place, "request"))
            response = document.mapping((*place, "response"))
            if "stream" in response:
                body = document.held((*place, "response", "body")) or b""
                interaction["response"]["stream"] = document.stream((*place, "response", "stream"), len(body))
        return document.mapping(())

    def serialize(self, data: Mapping[str, Any]) -> str:
        """Return the text of a tape. Raises `CassetteError` for what a tape cannot hold."""
        try:
            return self._write(data)
        except (TypeError, yaml.YAMLError) as error:
            msg = f"the cassette cannot be written: {error}"
            raise CassetteError(msg) from error

    def _write(self, data: Mapping[str, Any]) -> str:
        raise NotImplementedError


class _Yaml(_Serializer):
    name = "yaml"

    def _write(self, data: Mapping[str, Any]) -> str:
        arranged = _arranged(data, _in_yaml)
        for interaction in arranged["interactions"]:
            if stream := interaction["response"].get("stream"):
                stream.update(sizes=Plain(stream["sizes"] or "''"), delays=Plain(stream["delays"] or "''"))
        metadata = {"metadata": data["metadata"]} if data.get("metadata") else None
        more = yaml.safe_dump(metadata, allow_unicode=True, width=math.inf) if metadata else ""
        return b"".join((HEADING.encode(), to_yaml(arranged), more.encode(), END_MARK.encode())).decode()


class _Json(_Serializer):
    name = "json"

    def _write(self, data: Mapping[str, Any]) -> str:
        arranged = _arranged(data, _in_json)
        if data.get("metadata"):
            arranged["metadata"] = data["metadata"]
        text = json.dumps(arranged, ensure_ascii=False, indent=2)
        return text + "\n"


def _in_yaml(data: bytes, *, is_text: bool) -> object:
    return Block(data) if is_text else data


def _in_json(data: bytes, *, is_text: bool) -> object:
    return data.decode() if is_text else {"base64_string": base64.b64encode(data).decode()}


YAML = _Yaml()
JSON = _Json()
