"""Keeping secrets off the disk: what is stored of a request and its response, and what requests are matched by.

A credential is replaced by one word wherever it is, so that a recording made with one key matches a request
with another. Where it stands alone (a header, a parameter, a field) its place says so; elsewhere it is known
by its value (this or an earlier request sent it, or the environment holds it) or by its form.

The theory. A tape goes into a repository, so one that holds a key is a key that was published; but a tape that
redaction has changed must still be the session that was recorded. Three things would break it:

- Sizes. A stream is stored as its bytes and the sizes of its chunks. A secret and the word in its place differ in
  length, so every boundary behind it moves: with the old sizes a replay would cut inside of characters and events,
  where the provider never did, or find that they do not add up to the body. So each edit moves the sizes with it
  (`hunting.resized`).
- Order. What lies over several deltas is looked for first, then what stands in the bytes. The other way round the
  first half of a key, which has the form of a key by itself, would be replaced in its delta; the joined text would
  not have the key any more, and its second half would reach the disk.
- Encodings. What is compressed holds no secret that anybody could find, so a body is decoded before it is searched.
  It stays decoded only where it held one; everything else is stored as it came. (A stream was decoded by its recorder
  already.)

Requests are redacted before they are matched, by the same rules, so a tape that was made with one key answers
another. What was learned stays: an echo of a credential may come in a later answer, or in the message of an error.
"""

from __future__ import annotations

import copy
import json
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from vcr.filters import decode_response
from vcr.request import Request

from fakellm.cassette.deltas import find_in_deltas
from fakellm.cassette.frames import reframed
from fakellm.cassette.held import (
    as_bytes,
    body_of,
    content_type,
    correct_length,
    each_value,
    headers_of,
    latin,
    set_body,
    unzipped,
)
from fakellm.secrets.beside import named
from fakellm.secrets.edits import Edit, apply, resized
from fakellm.secrets.headers import is_harmless
from fakellm.secrets.hunting import find
from fakellm.secrets.knowing import knowing
from fakellm.secrets.names import AUTHORIZATIONS, environment_secrets, spellings
from fakellm.secrets.places import (
    of_cookies,
    of_form,
    of_header,
    of_url,
    redacted_header,
    redacted_url,
    without_parameters,
)
from fakellm.secrets.shapes import PLACEHOLDER, is_random, is_worth_hunting
from fakellm.secrets.values import NAMED, is_ordinary

Counts = Counter[tuple[str, str]]
"""How many values of which kind were replaced where."""

_COUNTS = "_counts"
_LARGE, _KEPT = 8192, 8
_LEAST = 4


class Redactor:
    """Replaces secrets in requests and responses; may be used by several threads.

    `secrets` are values that are never to be stored, whatever they look like; an ordinary word is one where it stands
    by itself. `environ` is searched for more; it is read once. Every credential that a request carries is remembered,
    so that an echo of it is found. Of the headers of a request the value is stored where the name is known to be
    harmless, or is among `keep_headers`: those are stored whole. `counts` has how many values of which kind were
    replaced where, in all that was stored. Raises `ValueError` for a named secret of fewer than four characters.
    """

    def __init__(
        self,
        secrets: Iterable[str] = (),
        environ: Mapping[str, str] | None = None,
        *,
        keep_headers: Iterable[str] = (),
    ) -> None:
        if isinstance(keep_headers, str):
            msg = f"keep_headers is a list of names of headers, such as [{keep_headers!r}], not {keep_headers!r}"
            raise TypeError(msg)
        self.counts: Counts = Counter()
        self._kept = frozenset(name.lower() for name in keep_headers)
        self._lock = threading.Lock()
        self._values: dict[bytes, str] = {}
        self._rare: dict[bytes, str] = {}
        self._cache: OrderedDict[tuple[int, bytes], list[list[Edit]]] = OrderedDict()
        self._remember(NAMED, map(_named, secrets))
        environ = os.environ if environ is None else environ
        self._remember("secret of the environment", environment_secrets(environ))

    def learn(self, request: Request) -> None:
        """Remember the credentials that a request carries. `request` and `interaction` do so by themselves."""
        self._remember("credential of the client", _credentials(request, self._kept))

    def knowing(self) -> AbstractContextManager[None]:
        """Let what is worded inside of the block be without the secrets that this knows."""
        return knowing(self.known)

    @property
    def known(self) -> frozenset[str]:
        """The secrets that were named, and that requests have carried."""
        return frozenset(value.decode("utf-8", "surrogatepass") for value in self._values)

    def request(self, request: Request) -> Request:
        """Return the request as it is stored and matched: vcrpy's `before_record_request`."""
        self.learn(request)
        counts = Counter(getattr(request, _COUNTS, {}))
        headers = {name: self._asked_header(name, value, counts) for name, value in request.headers.items()}
        old = body_of(request)
        body = self._request_body(request, old, counts)
        redacted = copy.copy(request)
        redacted.uri = self._uri(request.uri, counts, "the URL of a request")
        if body != old:
            correct_length(headers, body)
            set_body(redacted, body)
        redacted.headers = headers
        setattr(redacted, _COUNTS, counts)
        return redacted

    def interaction(self, request: Request, response: dict[str, Any]) -> tuple[Request, dict[str, Any]]:
        """Return the pair as it is stored: vcrpy's `before_save_interaction`. What is given is not changed."""
        redacted = self.request(request)
        cookies = [value for name, value in headers_of(response) if name == "set-cookie"]
        self._remember("cookie", (text for value in cookies for text in of_cookies(value.partition(";")[0])))
        counts = Counter(vars(redacted).pop(_COUNTS))
        stored = self._response(response, counts)
        with self._lock:
            self.counts.update(counts)
        return redacted, stored

    def response(self, response: dict[str, Any]) -> dict[str, Any]:
        """Return a response as it is stored: headers, status message, body, and the sizes of its chunks."""
        return self._response(response, Counter())

    def text(self, text: str) -> str:
        """Return a text without its secrets: the message of an exception, a line of a log."""
        return self._text(text, Counter(), "")

    def _response(self, response: dict[str, Any], counts: Counts) -> dict[str, Any]:
        response = self._readable(response)
        body = as_bytes((response.get("body") or {}).get("string"))
        new, sizes = self._response_body(body, (response.get("stream") or {}).get("sizes"), counts)

        def header(name: str, value: Any) -> Any:
            return self._header(name, value, counts, "the headers of an answer")

        def url(value: Any) -> Any:
            return self._uri(value, counts, "the URL of an answer") if isinstance(value, str) else value

        headers = {name: each_value(value, name, header) for name, value in (response.get("headers") or {}).items()}
        result = {name: url(value) for name, value in response.items()}
        result["headers"] = headers
        if new != body:
            correct_length(headers, new)
            result["body"] = {**response["body"], "string": new}
        if response.get("stream"):
            result["stream"] = self._stream(response["stream"], sizes, counts)
        if wire := (response.get("wire") or {}).get("headers"):
            told = {name: each_value(value, name, header) for name, value in wire.items()}
            result["wire"] = {**response["wire"], "headers": told}
        if isinstance(message := response.get("status", {}).get("message"), str):
            result["status"] = {**response["status"], "message": self._text(message, counts, "the status of an answer")}
        return result

    def _text(self, text: str, counts: Counts, where: str, *, rare: bool = False) -> str:
        data = text.encode("utf-8", "surrogatepass")
        edits = find(data, self._rare if rare else self._values)
        _count(edits, counts, where)
        return apply(data, edits).decode("utf-8", "surrogatepass")

    def _remember(self, kind: str, texts: Iterable[str]) -> None:
        new = {form: kind for text in texts if text not in PLACEHOLDER for form in spellings(text)}
        with self._lock:
            if not new.keys() <= self._values.keys():
                self._values = {**self._values, **new}  # those who read the old one keep it
                rare = {value: kind for value, kind in self._values.items() if not is_ordinary(value)}
                self._rare = {**rare, **{value: kind for value, kind in self._values.items() if kind == NAMED}}

    def _asked_header(self, name: str, value: Any, counts: Counts) -> Any:
        """Return a header's value in a request: of one that is not known, nothing."""
        plain = latin(name).lower()
        if plain in self._kept:
            return value
        where = "the headers of a request"
        if plain in AUTHORIZATIONS or plain == "cookie" or is_harmless(plain) or not latin(value).strip():
            return self._header(name, value, counts, where)
        counts[f"header {plain}", where] += latin(value) != PLACEHOLDER
        return PLACEHOLDER.encode() if isinstance(value, bytes) else PLACEHOLDER

    def _header(self, name: str, value: Any, counts: Counts, where: str) -> Any:
        """Return a header's value: its scheme, cookie names and attributes stay."""
        if isinstance(value, bytes):
            return self._header(name, value.decode("latin-1"), counts, where).encode("latin-1", "replace")
        if not isinstance(value, str):
            return value
        found: Counts = Counter()
        new = redacted_header(latin(name), value, lambda text: self._text(text, found, where, rare=True))
        counts.update(found or {(f"header {latin(name).lower()}", where): int(new != value)})
        return new

    def _uri(self, uri: str, counts: Counts, where: str) -> str:
        new = redacted_url(uri, lambda text: self._text(text, counts, where, rare=True))
        counts["parameter or password", where] += new.count(PLACEHOLDER) - uri.count(PLACEHOLDER)
        return new

    def _request_body(self, request: Request, body: bytes | None, counts: Counts) -> bytes | None:
        if not body:
            return body
        if content_type(request).startswith("application/x-www-form-urlencoded"):
            body = without_parameters(body.decode("latin-1")).encode("latin-1")
        plain = new = unzipped(request, body)
        for edits in self._found(plain):
            _count(edits, counts, "the body of a request")
            new = apply(new, edits)
        return body if new == plain else new

    def _found(self, body: bytes) -> list[list[Edit]]:
        """Return the edits of a request's body, first those over several strings, then the rest.

        From the last ones where possible: vcrpy asks for a request many times.
        """
        values = self._values
        key = (len(values), body)
        with self._lock:
            if (known := self._cache.get(key)) is not None:
                return known
        first = find_in_deltas(body, values, is_answer=False)
        found = [first, find(apply(body, first), values)]
        if len(body) >= _LARGE:
            with self._lock:
                self._cache[key] = found
                while len(self._cache) > _KEPT:
                    self._cache.popitem(last=False)
        return found

    def _response_body(self, body: bytes, sizes: list[int] | None, counts: Counts) -> tuple[bytes, list[int] | None]:
        """Return body and sizes: first without the secrets that lie over several deltas, then without the rest."""
        for search in (find_in_deltas, find):
            found = search(body, self._values, is_answer=True)
            _count(found, counts, "the body of an answer")
            edits = reframed(body, found)
            body, sizes = apply(body, edits), sizes if sizes is None else resized(sizes, edits)
        return body, sizes

    def _readable(self, response: dict[str, Any]) -> dict[str, Any]:
        """Return a compressed response decoded where it holds a secret, as vcrpy decodes it; else as it is."""
        encoded = any(name == "content-encoding" for name, _ in headers_of(response))
        if not encoded or response.get("stream"):
            return response
        decoded: dict[str, Any] = decode_response(response)
        body = as_bytes(decoded["body"]["string"])
        if self._response_body(body, None, Counter())[0] == body:
            return response
        headers = response["headers"].items()
        changed = {name: values for name, values in headers if name.lower() in ("content-encoding", "content-length")}
        return {**decoded, "wire": {**(response.get("wire") or {}), "headers": changed}}

    def _stream(self, stream: dict[str, Any], sizes: list[int] | None, counts: Counts) -> dict[str, Any]:
        stream = stream if sizes is None else {**stream, "sizes": sizes}
        if isinstance(stream.get("error"), str):
            stream = {**stream, "error": self._text(stream["error"], counts, "the error that ended an answer")}
        return stream


def _count(edits: Iterable[Edit], counts: Counts, where: str) -> None:
    """Count what was replaced; what lies over several pieces counts once, in that where it began."""
    for edit in edits:
        if PLACEHOLDER.encode() in edit.new or not edit.new:
            counts[edit.kind, where] += bool(edit.new)


def _named(secret: str) -> str:
    if 0 < len(secret) < _LEAST:
        msg = f"a secret of {len(secret)} characters would be found in ordinary words; it needs {_LEAST}"
        raise ValueError(msg)
    return secret


# ---- Credentials in their places ------------------------------------------------------------------------------------


def _credentials(request: Request, kept: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield the credentials of a request that are long and rare enough to be looked for elsewhere."""
    for name, value in request.headers.items():
        plain, text = latin(name).lower(), latin(value)
        if plain in kept:
            continue
        yield from filter(is_worth_hunting, of_header(plain, text))
        if not is_harmless(plain) and is_random(text):
            yield text.strip()
    uri = request.uri if isinstance(request.uri, str) else ""
    yield from of_url(uri)
    body = body_of(request) or b""
    if content_type(request).startswith("application/x-www-form-urlencoded"):
        yield from of_form(body.decode("latin-1"))
    elif body:
        told = [_said(body, edit) for edit in named(body) if edit.kind.startswith(("field", "form field"))]
        said = _said_in_conversation(body) if told else frozenset()
        for text in told:
            if text not in said:
                yield from filter(is_worth_hunting, {text, *of_header("authorization", text)})


_CONVERSATION = frozenset(("messages", "contents", "input", "history", "prompt", "arguments", "args"))


def _said_in_conversation(body: bytes) -> frozenset[str]:
    """Return the strings of what was said before: what a model gave as a tool's `password` is no credential of ours."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return frozenset()
    found: set[str] = set()
    rest: list[tuple[Any, bool]] = [(document, False)]
    while rest:
        value, is_said = rest.pop()
        if isinstance(value, str) and is_said:
            found.add(value)
        elif isinstance(value, dict):
            rest += [(inner, is_said or name in _CONVERSATION) for name, inner in value.items()]
        elif isinstance(value, list):
            rest += [(inner, is_said) for inner in value]
    return frozenset(found)


def _said(body: bytes, edit: Edit) -> str:
    """Return what a field of JSON says, without its escapes."""
    text = body[edit.start : edit.end].decode("utf-8", "surrogateescape")
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return text
