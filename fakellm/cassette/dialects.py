"""Reads tapes of any dialect into the pairs that vcrpy keeps in memory; bodies come out decoded.

- vcrpy's own, version 1 (https://vcrpy.readthedocs.io): also as its old httpx stub wrote it, with `content` and
  `status_code` in the response, and with `parsed_body` in place of bodies, as the tests of pydantic-ai store JSON;
- go-vcr, versions 1 and 2 (https://github.com/dnaeon/go-vcr): `url` in the request, a status of one line;
- Ruby's VCR (https://benoittgt.github.io/vcr): `http_interactions`, bodies with `encoding` and `string` or
  `base64_string`.

Each is read from YAML and from JSON. A compressed body is decoded whether or not `content-encoding` tells the truth.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlencode

from vcr.request import Request

from fakellm.cassette.decoding import Decompressor, readable
from fakellm.cassette.document import CassetteError, Document, check_version
from fakellm.cassette.reading import Place
from fakellm.errors import explain

Pair: TypeAlias = tuple[Request, dict[str, Any]]

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_FILES = ("gzip", "zip", "zstd", "octet-stream", "tar", "image", "audio", "video")


@dataclass
class Tape:
    """What a tape holds: `requests` and `responses` belong together by their places."""

    dialect: str
    requests: list[Request] = field(default_factory=list)
    responses: list[dict[str, Any]] = field(default_factory=list)
    metadata: dict[str, Any] | None = None

    @property
    def pairs(self) -> list[Pair]:
        """The interactions."""
        return list(zip(self.requests, self.responses, strict=True))


def read(text: str, name: str) -> tuple[list[Request], list[dict[str, Any]]]:
    """Return the requests and responses of a tape; `name` is what errors call it. Raises `CassetteError`."""
    tape = read_tape(text, name)
    return tape.requests, tape.responses


def read_tape(source: str | bytes, name: str) -> Tape:
    """Return all that a tape holds, of its text or that in UTF-8. Raises `CassetteError`."""
    document = Document(source, name)
    dialect = _dialect(document)
    tape = Tape(dialect)
    for request, response in _READERS[dialect](document):
        tape.requests.append(request)
        tape.responses.append(response)
    if dialect == "vcrpy" and document.get(("metadata",)):
        tape.metadata = document.mapping(("metadata",))
    return tape


def _dialect(document: Document) -> str:
    data = document.data
    if isinstance(data, dict) and "http_interactions" in data:
        return "Ruby VCR"
    if isinstance(data, dict) and "interactions" in data:
        first = document.get(("interactions", 0, "request")) if data["interactions"] else None
        is_go = "url" in first and "uri" not in first if isinstance(first, dict) else data.get("version") == 2  # noqa: PLR2004
        return "go-vcr" if is_go else "vcrpy"
    if isinstance(data, list) and data and isinstance(data[0], dict) and "request" in data[0]:
        remedy = f"python -m vcr.migration {document.name} writes it anew, if vcrpy before 1.0 recorded it"
        raise document.refuse((), "a list of interactions is an old tape, of vcrpy or Ruby's VCR", remedy)
    what = "empty" if data is None else f"a {type(data).__name__}" if not isinstance(data, dict) else "another mapping"
    problem = (
        f"a cassette is a mapping with interactions (vcrpy, go-vcr) or http_interactions (Ruby's VCR); it is {what}"
    )
    raise document.refuse((), problem, "name a file that is a tape")


# -- vcrpy --------------------------------------------------------------------------------------------


def _vcrpy(document: Document) -> Iterator[Pair]:
    check_version(document)
    for at in range(len(document.sequence(("interactions",)))):
        place: Place = ("interactions", at)
        document.mapping(place)
        yield _vcrpy_request(document, (*place, "request")), _vcrpy_response(document, (*place, "response"))


def _vcrpy_request(document: Document, place: Place) -> Request:
    stored = document.mapping(place)
    headers = document.headers((*place, "headers"))
    if "parsed_body" in stored:
        body: bytes | None = _unparsed(stored["parsed_body"], _of(headers, "content-type"))
    elif isinstance(stored.get("body"), dict):
        body = document.held((*place, "body"))
    else:
        body = document.body((*place, "body"))
    return _request(document, place, document.text((*place, "uri")), body, headers)


def _vcrpy_response(document: Document, place: Place) -> dict[str, Any]:
    stored = dict(document.mapping(place))
    headers = document.headers((*place, "headers"))
    if "status_code" in stored:
        status = {"code": document.whole((*place, "status_code")), "message": None}
        body = document.body((*place, "content"))
    else:
        status = _status(document, (*place, "status"))
        body = _vcrpy_body(document, place, stored, headers)
    known = ("status", "headers", "body", "stream", "wire", "status_code", "content", "parsed_body", "http_version")
    more = {key: value for key, value in stored.items() if key not in known}
    response = {"status": status, "headers": headers, "body": {"string": body or b""}, **more}
    if wire := document.wire(place):
        response["wire"] = wire
    if "stream" in stored:
        response["stream"] = document.stream((*place, "stream"), len(body or b""))
        return response
    return _decoded(document, (*place, "body"), response)


def _vcrpy_body(document: Document, place: Place, stored: dict[str, Any], headers: dict[str, Any]) -> bytes | None:
    if "parsed_body" in stored:
        return _unparsed(stored["parsed_body"], _of(headers, "content-type"))
    return document.held((*place, "body")) if stored.get("body") is not None else None


def _unparsed(value: object, content_type: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict) and "form-urlencoded" in content_type:
        return urlencode(value, doseq=True).encode()
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str).encode("utf-8", "replace")


def _status(document: Document, place: Place) -> dict[str, Any]:
    message = document.mapping(place).get("message")
    return {"code": document.whole((*place, "code")), "message": None if message is None else str(message)}


def _request(document: Document, place: Place, uri: str, body: bytes | None, headers: dict[str, list[str]]) -> Request:
    """Return a request as vcrpy keeps it: one text for each header, in which several values are listed."""
    method = document.text((*place, "method")).lstrip(":").upper()
    joined = {name: (", " if name.lower() != "cookie" else "; ").join(values) for name, values in headers.items()}
    try:
        return Request(method, uri, body, joined)
    except ValueError as error:
        raise document.refuse(place, f"{uri!r} is no URL: {error}") from None


# -- go-vcr and Ruby's VCR ----------------------------------------------------------------------------


def _go(document: Document) -> Iterator[Pair]:
    for at in range(len(document.sequence(("interactions",)))):
        asked: Place = ("interactions", at, "request")
        told: Place = ("interactions", at, "response")
        document.mapping(("interactions", at))
        document.mapping(asked)
        document.mapping(told)
        body, headers = document.body((*asked, "body")) or None, document.headers((*asked, "headers"))
        request = _request(document, asked, document.text((*asked, "url")), body, headers)
        code = document.whole((*told, "code"))
        message = str(document.get((*told, "status")) or "").removeprefix(str(code)).strip()
        response = {
            "status": {"code": code, "message": message or None},
            "headers": document.headers((*told, "headers")),
            "body": {"string": document.body((*told, "body")) or b""},
        }
        yield request, _decoded(document, (*told, "body"), response)


def _ruby(document: Document) -> Iterator[Pair]:
    for at in range(len(document.sequence(("http_interactions",)))):
        asked: Place = ("http_interactions", at, "request")
        told: Place = ("http_interactions", at, "response")
        document.mapping(("http_interactions", at))
        document.mapping(asked)
        document.mapping(told)
        body, headers = _ruby_body(document, (*asked, "body")) or None, document.headers((*asked, "headers"))
        request = _request(document, asked, document.text((*asked, "uri")), body, headers)
        status = _status(document, (*told, "status"))
        response = {
            "status": {"code": status["code"], "message": status["message"] or None},
            "headers": document.headers((*told, "headers")),
            "body": {"string": _ruby_body(document, (*told, "body")) or b""},
        }
        yield request, _decoded(document, (*told, "body"), response)


def _ruby_body(document: Document, place: Place) -> bytes | None:
    """Return a body: `encoding` names what Ruby calls its bytes, which are written as they are."""
    stored = document.get(place)
    return document.held(place) if isinstance(stored, dict) else document.body(place)


_READERS = {"vcrpy": _vcrpy, "go-vcr": _go, "Ruby VCR": _ruby}


# -- compression --------------------------------------------------------------------------------------


def _of(headers: dict[str, list[str]], name: str) -> str:
    return ", ".join(value for key, values in headers.items() if key.lower() == name for value in values)


def _decoded(document: Document, place: Place, response: dict[str, Any]) -> dict[str, Any]:
    """Return a response with its body decoded, and with headers that say so; what the server said is its `wire`."""
    headers, body = response["headers"], response["body"]["string"]
    encoding = _of(headers, "content-encoding") or _guess(body, _of(headers, "content-type"))
    if not encoding:
        return response
    data = _decode(document, place, body, encoding)
    headers, changed = readable(headers, data)
    if data and _of(changed, "content-encoding"):
        response = {**response, "wire": {**(response.get("wire") or {}), "headers": changed}}
    return {**response, "headers": headers, "body": {"string": data}}


def _guess(body: bytes, content_type: str) -> str:
    """Return the coding that a body begins like, unless it is a file that is meant to be compressed."""
    is_file = any(word in content_type.lower() for word in _FILES)
    return "" if is_file else next((name for magic, name in _MAGIC.items() if body.startswith(magic)), "")


def _decode(document: Document, place: Place, body: bytes, encoding: str) -> bytes:
    """Return a body without its codings; as it is, if it never had them. What was cut off is decoded up to there."""
    if not body or _is_text(body):
        return body
    decompressor = Decompressor(encoding)
    if not decompressor.known:
        remedy = "install the library that decodes it: pip install " + ("brotli" if "br" in encoding else "zstandard")
        raise document.refuse(place, f"the body is compressed with {encoding!r}, which cannot be decoded here", remedy)
    try:
        return decompressor.feed(body) + decompressor.flush()
    except Exception:  # noqa: BLE001 - each library has errors of its own
        return body


def _is_text(body: bytes) -> bool:
    """Tell whether the bytes are UTF-8, which nothing compressed is: the header speaks of what was sent, not stored."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def unsupported(tape: Tape, name: str) -> CassetteError:
    """Return the error that says why a tape of another tool is not recorded on."""
    headline = f"{name}: this is a tape of {tape.dialect}, which is read but not recorded on"
    return CassetteError(explain(headline, remedy=["record to another file, or delete this one"]))
