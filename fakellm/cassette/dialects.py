"""Reads tapes of any dialect into the pairs that vcrpy keeps in memory; bodies come out decoded.

- vcrpy's own, version 1 (https://vcrpy.readthedocs.io): also as its old httpx stub wrote it, with `content` and
  `status_code` in the response, and with `parsed_body` in place of bodies, as the tests of pydantic-ai store JSON;
- go-vcr, versions 1 and 2 (https://github.com/dnaeon/go-vcr): `url` in the request, a status of one line;
- Ruby's VCR (https://benoittgt.github.io/vcr): `http_interactions`, bodies with `encoding` and `string` or
  `base64_string`;
- LangChain's, of langchain-tests: two lists, `requests` and `responses`, as YAML that is compressed;
- cassetter (https://github.com/Kludex/cassetter): bodies with `type` and `content`, a status that is a number;
- nock's definitions (https://github.com/nock/nock): a list of `scope`, `method`, `path`, `body`, `status`, `response`;
- http-snapshot (https://github.com/karpetrosyan/http-snapshot), with its requests: a list, `status_code` and `body`.

Each is read from YAML and from JSON. A compressed body is decoded whether or not `content-encoding` tells the truth.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from vcr.request import Request

from fakellm.cassette import forms
from fakellm.cassette.bodies import kind_of
from fakellm.cassette.document import HEADING, CassetteError, Document, check_version
from fakellm.cassette.pairs import Pair, decoded, header_of, request_of, status_of, unparsed
from fakellm.errors import explain
from fakellm.script.lines import Place

_FIELDS = {
    "tape": ("version", "interactions", "metadata", "recorded_with", "recorded_at"),
    "interaction": ("request", "response", "id", "recorded_at"),
    "request": ("method", "uri", "headers", "body", "parsed_body"),
    "response": (
        *("status", "headers", "body", "stream", "wire", "status_code", "content", "parsed_body", "http_version"),
        *("url", "elapsed", "duration", "recorded_at"),
    ),
    "body": ("string", "base64_string", "encoding"),
    "status": ("code", "message"),
}
"""What a tape of vcrpy may have: its own fields, those of its old stubs, ours, and what people's hooks add."""


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


_INTERACTIONS = re.compile(rb'(?m)^(?:http_)?interactions:[ \t]*(?:\[|#|\r?$)|"(?:http_)?interactions"\s*:\s*\[')


def means_to_be_tape(data: bytes, name: str) -> bool:
    """Tell whether a file means to be a tape, so that it is broken where it cannot be read as one."""
    return _INTERACTIONS.search(data) is not None or data.startswith(HEADING.encode()) or name.endswith(".gz")


def read(text: str, name: str) -> tuple[list[Request], list[dict[str, Any]]]:
    """Return the requests and responses of a tape; `name` is what errors call it. Raises `CassetteError`."""
    tape = read_tape(text, name)
    return tape.requests, tape.responses


def read_tape(source: str | bytes, name: str) -> Tape:
    """Return all that a tape holds, of its text or that in UTF-8. Raises `CassetteError`."""
    if kind := kind_of(source):
        headline = f"{name}: this is {kind}, the body of one answer, and not a tape"
        raise CassetteError(explain(headline, remedy=["read it as a script: fakellm.cassette.script_of(path)"]))
    if name.endswith(".toml"):
        headline = f"{name}: this is TOML, which cassetter writes too; it is not read"
        raise CassetteError(explain(headline, remedy=[f"cassetter convert {name} {name.removesuffix('.toml')}.yaml"]))
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
    if isinstance(data, list):
        return forms.dialect_of_list(document)
    if isinstance(data, dict) and "http_interactions" in data:
        return "Ruby VCR"
    if isinstance(data, dict) and "interactions" in data:
        first = document.get(("interactions", 0, "request")) if data["interactions"] else None
        if forms.is_cassetter(document):
            return "cassetter"
        is_go = "url" in first and "uri" not in first if isinstance(first, dict) else data.get("version") == 2  # noqa: PLR2004
        return "go-vcr" if is_go else "vcrpy"
    if isinstance(data, dict) and {"requests", "responses"} <= data.keys():
        return "LangChain"
    raise forms.unknown(document)


# -- vcrpy --------------------------------------------------------------------------------------------


def _vcrpy(document: Document) -> Iterator[Pair]:
    check_version(document)
    document.only((), _FIELDS["tape"])
    for at in range(len(document.sequence(("interactions",)))):
        yield stored_request(document, at), stored_response(document, at)


def stored_request(document: Document, at: int) -> Request:
    """Return the request of an interaction of vcrpy's form. Raises `CassetteError`."""
    document.only(("interactions", at), _FIELDS["interaction"])
    return _vcrpy_request(document, ("interactions", at, "request"))


def stored_response(document: Document, at: int) -> dict[str, Any]:
    """Return the response of an interaction of vcrpy's form. Raises `CassetteError`."""
    document.only(("interactions", at), _FIELDS["interaction"])
    return _vcrpy_response(document, ("interactions", at, "response"))


def _vcrpy_request(document: Document, place: Place) -> Request:
    stored = document.mapping(place)
    document.only(place, _FIELDS["request"])
    headers = document.headers((*place, "headers"))
    if "parsed_body" in stored:
        body: bytes | None = unparsed(stored["parsed_body"], header_of(headers, "content-type"))
    elif _is_value(stored.get("body")):  # what aiohttp was given as json=, vcrpy keeps as it was given
        body = unparsed(stored["body"], "application/json")
    elif isinstance(stored.get("body"), dict):
        body = _held(document, (*place, "body"))
    else:
        body = document.body((*place, "body"))
    return request_of(document, place, document.text((*place, "uri")), body, headers)


def _vcrpy_response(document: Document, place: Place) -> dict[str, Any]:
    stored = dict(document.mapping(place))
    document.only(place, _FIELDS["response"], free=True)
    headers = document.headers((*place, "headers"))
    if "status_code" in stored:
        status = {"code": document.whole((*place, "status_code")), "message": None}
        body = document.body((*place, "content"))
    else:
        status = status_of(document, (*place, "status"))
        document.only((*place, "status"), _FIELDS["status"])
        body = _vcrpy_body(document, place, stored, headers)
    known = ("status", "headers", "body", "stream", "wire", "status_code", "content", "parsed_body", "http_version")
    more = {key: value for key, value in stored.items() if key not in known}
    response = {"status": status, "headers": headers, "body": {"string": body or b""}, **more}
    if wire := document.wire(place):
        response["wire"] = wire
    if "stream" in stored:
        response["stream"] = document.stream((*place, "stream"), len(body or b""))
        return response
    return decoded(document, (*place, "body"), response)


def _vcrpy_body(document: Document, place: Place, stored: dict[str, Any], headers: dict[str, Any]) -> bytes | None:
    if "parsed_body" in stored:
        return unparsed(stored["parsed_body"], header_of(headers, "content-type"))
    return _held(document, (*place, "body")) if stored.get("body") is not None else None


def _is_value(body: Any) -> bool:
    """Tell whether a body is the value of its JSON, and not a mapping or the pieces that hold it."""
    if isinstance(body, list):
        return not all(isinstance(piece, (bytes, str)) for piece in body)
    return isinstance(body, dict) and body.keys().isdisjoint(_FIELDS["body"])


def _held(document: Document, place: Place) -> bytes | None:
    document.only(place, _FIELDS["body"])
    return document.held(place)


# -- go-vcr and Ruby's VCR ----------------------------------------------------------------------------


def _go(document: Document) -> Iterator[Pair]:
    for at in range(len(document.sequence(("interactions",)))):
        asked: Place = ("interactions", at, "request")
        told: Place = ("interactions", at, "response")
        document.mapping(("interactions", at))
        document.mapping(asked)
        document.mapping(told)
        body, headers = document.body((*asked, "body")) or None, document.headers((*asked, "headers"))
        request = request_of(document, asked, document.text((*asked, "url")), body, headers)
        code = document.whole((*told, "code"))
        message = str(document.get((*told, "status")) or "").removeprefix(str(code)).strip()
        response = {
            "status": {"code": code, "message": message or None},
            "headers": document.headers((*told, "headers")),
            "body": {"string": document.body((*told, "body")) or b""},
        }
        yield request, decoded(document, (*told, "body"), response)


def _ruby(document: Document) -> Iterator[Pair]:
    for at in range(len(document.sequence(("http_interactions",)))):
        asked: Place = ("http_interactions", at, "request")
        told: Place = ("http_interactions", at, "response")
        document.mapping(("http_interactions", at))
        document.mapping(asked)
        document.mapping(told)
        body, headers = _ruby_body(document, (*asked, "body")) or None, document.headers((*asked, "headers"))
        request = request_of(document, asked, document.text((*asked, "uri")), body, headers)
        status = status_of(document, (*told, "status"))
        response = {
            "status": {"code": status["code"], "message": status["message"] or None},
            "headers": document.headers((*told, "headers")),
            "body": {"string": _ruby_body(document, (*told, "body")) or b""},
        }
        yield request, decoded(document, (*told, "body"), response)


def _ruby_body(document: Document, place: Place) -> bytes | None:
    """Return a body: `encoding` names what Ruby calls its bytes, which are written as they are."""
    stored = document.get(place)
    return document.held(place) if isinstance(stored, dict) else document.body(place)


_READERS: dict[str, Callable[[Document], Iterator[Pair]]] = {
    "vcrpy": _vcrpy,
    "go-vcr": _go,
    "Ruby VCR": _ruby,
    "LangChain": forms.langchain,
    "cassetter": forms.cassetter,
    "nock": forms.nock,
    "http-snapshot": forms.snapshot,
}


def unsupported(tape: Tape, name: str) -> CassetteError:
    """Return the error that says why a tape of another tool is not recorded on."""
    headline = f"{name}: this is a tape of {tape.dialect}, which is read but not recorded on"
    return CassetteError(explain(headline, remedy=["record to another file, or delete this one"]))
