"""The tapes of LangChain, cassetter, nock and http-snapshot; and what a file is that is no tape.

None of them keeps how an answer streamed, so it plays in one piece. What a form has no place for stays unknown.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from vcr.request import Request

from fakellm.cassette.bodies import kind_of_chunks
from fakellm.cassette.document import CassetteError, Document
from fakellm.cassette.pairs import Pair, decoded, header_of, request_of, status_of, unparsed
from fakellm.script.lines import Place

_PORTS = {"http": 80, "https": 443}


def dialect_of_list(document: Document) -> str:
    """Return the dialect of a document that is a list. Raises `CassetteError` for one that is none."""
    data = document.data
    first = data[0] if data and isinstance(data[0], dict) else {}
    if "scope" in first and ("path" in first or "response" in first):
        return "nock"
    response = first.get("response")
    if isinstance(response, dict) and "status_code" in response:
        return "http-snapshot"
    if "request" in first:
        remedy = f"python -m vcr.migration {document.name} writes it anew, if vcrpy before 1.0 recorded it"
        raise document.refuse((), "a list of interactions is an old tape, of vcrpy or Ruby's VCR", remedy)
    raise unknown(document)


def is_cassetter(document: Document) -> bool:
    """Tell whether interactions are as cassetter writes them."""
    first: Place = ("interactions", 0)
    bodies = [document.get((*first, side, "body")) for side in ("request", "response")]
    is_typed = any(isinstance(body, dict) and "type" in body for body in bodies)
    return is_typed or isinstance(document.get((*first, "response", "status")), int)


_SIGNS = {
    "log": "a HAR file",
    "fakellm_script": "a script, which fakellm.Script.load reads",
    "mappings": "mappings of WireMock",
    "grpc_interactions": "a tape of cassetter with gRPC only",
    "ws_interactions": "a tape of cassetter with WebSockets only",
    "choices": "the document of an answer",
    "candidates": "the document of an answer",
    "output": "the document of an answer",
    "stop_reason": "the document of an answer",
}
"""What a mapping is that has such a field, and is no tape."""

_KNOWN = (
    "a mapping with interactions (vcrpy, go-vcr, cassetter), with http_interactions (Ruby's VCR) or with requests and "
    "responses (LangChain), or a list of definitions (nock, http-snapshot)"
)


def unknown(document: Document) -> CassetteError:
    """Return the error for a document that is of no form that is read, with the name of its form if it has one."""
    data = document.data
    if isinstance(data, dict) and (close := get_close_matches("interactions", list(map(str, data)), 1)):
        return document.refuse((close[0],), "a tape has no such field", "correct its name: interactions")
    if kind_of_chunks(data):
        remedy = "read it as a script: fakellm.cassette.script_of(path)"
        return document.refuse((), "this is a list of chunks, the body of one answer, and not a tape", remedy)
    named = next((name for field, name in _SIGNS.items() if isinstance(data, dict) and field in data), _shape(data))
    return document.refuse((), f"a tape is {_KNOWN}; this is {named}", "name a file that is a tape")


def _shape(data: Any) -> str:
    if data is None:
        return "empty"
    if isinstance(data, dict):
        return f"a mapping with {', '.join(map(str, list(data)[:5]))}" if data else "an empty mapping"
    if isinstance(data, list):
        return "a list" if data else "an empty list"
    return f"a {type(data).__name__}"


# -- LangChain ----------------------------------------------------------------------------------------


def langchain(document: Document) -> Iterator[Pair]:
    """Yield the pairs of two lists, which belong together by their places."""
    requests, responses = document.sequence(("requests",)), document.sequence(("responses",))
    if len(requests) != len(responses):
        problem = f"there are {len(responses)} responses for {len(requests)} requests"
        raise document.refuse(("responses",), problem)
    for at in range(len(requests)):
        asked, told = ("requests", at), ("responses", at)
        document.mapping(asked)
        document.mapping(told)
        headers = document.headers((*asked, "headers"))
        body = document.body((*asked, "body"))
        request = request_of(document, asked, document.text((*asked, "uri")), body, headers)
        response = {
            "status": status_of(document, (*told, "status")),
            "headers": document.headers((*told, "headers")),
            "body": {"string": document.held((*told, "body")) or b"" if document.get((*told, "body")) else b""},
        }
        yield request, decoded(document, (*told, "body"), response)


# -- cassetter ----------------------------------------------------------------------------------------


def cassetter(document: Document) -> Iterator[Pair]:
    """Yield the pairs of interactions whose bodies say what they are: text, JSON, hexadecimal digits or nothing."""
    for at in range(len(document.sequence(("interactions",)))):
        asked, told = ("interactions", at, "request"), ("interactions", at, "response")
        document.mapping(asked)
        document.mapping(told)
        body, headers = _typed_body(document, (*asked, "body")), document.headers((*asked, "headers"))
        request = request_of(document, asked, document.text((*asked, "uri")), body, headers)
        response = {
            "status": {"code": document.whole((*told, "status")), "message": None},
            "headers": document.headers((*told, "headers")),
            "body": {"string": _typed_body(document, (*told, "body")) or b""},
        }
        yield request, decoded(document, (*told, "body"), response)


def _typed_body(document: Document, place: Place) -> bytes | None:
    if document.get(place) is None:
        return None
    kind, content = document.text((*place, "type")), (*place, "content")
    match kind:
        case "none":
            return None
        case "text":
            return document.body(content)
        case "json":
            return unparsed(document.get(content), "application/json")
        case "binary":
            return _from_hex(document, content)
    raise document.refuse((*place, "type"), f"{kind!r} is no type of a body; there are none, text, json and binary")


def _from_hex(document: Document, place: Place) -> bytes:
    try:
        return bytes.fromhex(document.text(place))
    except ValueError:
        raise document.refuse(place, "hexadecimal digits belong here") from None


# -- nock ---------------------------------------------------------------------------------------------


def nock(document: Document) -> Iterator[Pair]:
    """Yield the pairs of nock's definitions, as its recorder writes them with `output_objects`."""
    for at in range(len(document.sequence(()))):
        place: Place = (at,)
        document.mapping(place)
        headers = _nock_headers(document, (*place, "reqheaders"))
        asked = document.get((*place, "body"))
        body = asked.encode() if isinstance(asked, str) else unparsed(asked, header_of(headers, "content-type"))
        uri = _origin(document.text((*place, "scope"))) + document.text((*place, "path"))
        request = request_of(document, place, uri, body if asked not in (None, "") else None, headers)
        told = _nock_headers(document, (*place, "rawHeaders")) or _nock_headers(document, (*place, "headers"))
        code = document.whole((*place, "status")) if document.get((*place, "status")) is not None else 200
        response = {
            "status": {"code": code, "message": None},
            "headers": told,
            "body": {"string": _nock_body(document, (*place, "response"), told)},
        }
        yield request, decoded(document, (*place, "response"), response)


def _origin(scope: str) -> str:
    """Return a scope without the port that its scheme has anyway, which nock always writes."""
    parts = urlsplit(scope)
    scope = scope.rstrip("/")
    return scope.removesuffix(f":{parts.port}") if parts.port == _PORTS.get(parts.scheme) else scope


def _nock_headers(document: Document, place: Place) -> dict[str, list[str]]:
    """Return headers, which are a mapping or a list of names and values in turn; numbers among them are texts."""
    if not isinstance(listed := document.get(place), list):
        return document.headers(place)
    if len(listed) % 2:
        raise document.refuse(place, "names and values belong here in turn, and there is one too many")
    headers: dict[str, list[str]] = {}
    for name, value in zip(listed[::2], listed[1::2], strict=True):
        headers.setdefault(str(name), []).append(str(value))
    return headers


def _nock_body(document: Document, place: Place, headers: dict[str, list[str]]) -> bytes:
    """Return a body: of one with a coding the chunks, in hexadecimal digits; else a text, JSON, or digits again."""
    found = document.get(place)
    if found is None or found == "":
        return b""
    is_chunks = isinstance(found, list) and all(isinstance(chunk, str) for chunk in found)
    if is_chunks and header_of(headers, "content-encoding"):
        return b"".join(_from_hex(document, (*place, at)) for at in range(len(found)))
    if isinstance(found, str):
        is_hex = document.get((*place[:-1], "responseIsBinary"))
        return _from_hex(document, place) if is_hex else found.encode("utf-8", "surrogatepass")
    return unparsed(found, "application/json")


# -- http-snapshot ------------------------------------------------------------------------------------


def snapshot(document: Document) -> Iterator[Pair]:
    """Yield the pairs of a snapshot, which has to have its requests."""
    for at in range(len(document.sequence(()))):
        asked, told = (at, "request"), (at, "response")
        document.mapping((at,))
        if document.get(asked) is None:
            problem = "this snapshot has no request: what is answered by this is not in the file"
            remedy = "write it with SnapshotSerializerOptions(include_request=True)"
            raise document.refuse((at,), problem, remedy)
        request = _snapshot_request(document, asked)
        headers = document.headers((*told, "headers"))
        response = {
            "status": {"code": document.whole((*told, "status_code")), "message": None},
            "headers": headers,
            "body": {"string": _snapshot_body(document, (*told, "body"), headers)},
        }
        yield request, decoded(document, (*told, "body"), response)


def _snapshot_request(document: Document, place: Place) -> Request:
    headers = document.headers((*place, "headers"))
    body = _snapshot_body(document, (*place, "body"), headers) or None
    return request_of(document, place, document.text((*place, "url")), body, headers)


def _snapshot_body(document: Document, place: Place, headers: dict[str, list[str]]) -> bytes:
    """Return a body as its content type says how it is written: JSON, a text, or base64."""
    found, kind = document.get(place), header_of(headers, "content-type")
    if "application/json" in kind:
        return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    if kind.startswith("text/"):
        return document.body(place) or b""
    return base64.b64decode(found) if isinstance(found, str) and _is_base64(found) else document.body(place) or b""


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True
