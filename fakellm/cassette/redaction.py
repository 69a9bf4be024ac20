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
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
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
from fakellm.secrets.headers import is_harmless
from fakellm.secrets.hunting import Edit, apply, find, named, resized
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

_LARGE, _KEPT = 8192, 8
_LEAST = 4


class Redactor:
    """Replaces secrets in requests and responses; may be used by several threads.

    `secrets` are values that are never to be stored, whatever they look like. `environ` is searched for more;
    it is read once. Every credential that a request carries is remembered, so that an echo of it is found. Of the
    headers of a request the value is stored where the name is known to be harmless, or is among `keep_headers`: those
    are stored whole. Raises `ValueError` for a named secret of fewer than four characters.
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
        self._kept = frozenset(name.lower() for name in keep_headers)
        self._lock = threading.Lock()
        self._values: dict[bytes, str] = {}
        self._cache: OrderedDict[tuple[int, bytes], list[Edit]] = OrderedDict()
        self._remember("a secret that was named", map(_named, secrets))
        environ = os.environ if environ is None else environ
        self._remember("a secret of the environment", environment_secrets(environ))

    def learn(self, request: Request) -> None:
        """Remember the credentials that a request carries. `request` and `interaction` do so by themselves."""
        self._remember("a credential of the client", _credentials(request, self._kept))

    def request(self, request: Request) -> Request:
        """Return the request as it is stored and matched: vcrpy's `before_record_request`."""
        self.learn(request)
        headers = {name: self._asked_header(name, value) for name, value in request.headers.items()}
        old = body_of(request)
        body = self._request_body(request, old)
        redacted = copy.copy(request)
        redacted.uri = self._uri(request.uri)
        if body != old:
            correct_length(headers, body)
            set_body(redacted, body)
        redacted.headers = headers
        return redacted

    def interaction(self, request: Request, response: dict[str, Any]) -> tuple[Request, dict[str, Any]]:
        """Return the pair as it is stored: vcrpy's `before_save_interaction`. What is given is not changed."""
        redacted = self.request(request)
        cookies = [value for name, value in headers_of(response) if name == "set-cookie"]
        self._remember("a cookie", (text for value in cookies for text in of_cookies(value.partition(";")[0])))
        return redacted, self.response(response)

    def response(self, response: dict[str, Any]) -> dict[str, Any]:
        """Return a response as it is stored: headers, status message, body, and the sizes of its chunks."""
        response = self._readable(response)
        body = as_bytes((response.get("body") or {}).get("string"))
        new, sizes = self._response_body(body, (response.get("stream") or {}).get("sizes"))
        headers = {
            name: each_value(value, name, self._header) for name, value in (response.get("headers") or {}).items()
        }
        result = {name: self._uri(value) if isinstance(value, str) else value for name, value in response.items()}
        result["headers"] = headers
        if new != body:
            correct_length(headers, new)
            result["body"] = {**response["body"], "string": new}
        if response.get("stream"):
            result["stream"] = self._stream(response["stream"], sizes)
        if wire := (response.get("wire") or {}).get("headers"):
            told = {name: each_value(value, name, self._header) for name, value in wire.items()}
            result["wire"] = {**response["wire"], "headers": told}
        if isinstance(message := response.get("status", {}).get("message"), str):
            result["status"] = {**response["status"], "message": self.text(message)}
        return result

    def text(self, text: str) -> str:
        """Return a text without its secrets: the message of an exception, a line of a log."""
        data = text.encode("utf-8", "surrogatepass")
        return apply(data, self._find(data)).decode("utf-8", "surrogatepass")

    def _remember(self, kind: str, texts: Iterable[str]) -> None:
        new = {form: kind for text in texts if text not in PLACEHOLDER for form in spellings(text)}
        with self._lock:
            if not new.keys() <= self._values.keys():
                self._values = {**self._values, **new}  # those who read the old one keep it

    def _find(self, data: bytes) -> list[Edit]:
        """Return the edits of a text, from the last ones where possible: vcrpy asks for a request many times."""
        values = self._values
        if len(data) < _LARGE:
            return find(data, values)
        key = (len(values), data)
        with self._lock:
            if (known := self._cache.get(key)) is not None:
                return known
        edits = find(data, values)
        with self._lock:
            self._cache[key] = edits
            while len(self._cache) > _KEPT:
                self._cache.popitem(last=False)
        return edits

    def _asked_header(self, name: str, value: Any) -> Any:
        """Return a header's value in a request: of one that is not known, nothing."""
        plain = latin(name).lower()
        if plain in self._kept:
            return value
        if plain in AUTHORIZATIONS or plain == "cookie" or is_harmless(plain) or not latin(value).strip():
            return self._header(name, value)
        return PLACEHOLDER.encode() if isinstance(value, bytes) else PLACEHOLDER

    def _header(self, name: str, value: Any) -> Any:
        """Return a header's value: its scheme, cookie names and attributes stay."""
        if isinstance(value, bytes):
            return self._header(name, value.decode("latin-1")).encode("latin-1", "replace")
        if not isinstance(value, str):
            return value
        return redacted_header(latin(name), value, self.text)

    def _uri(self, uri: str) -> str:
        return redacted_url(uri, self.text)

    def _request_body(self, request: Request, body: bytes | None) -> bytes | None:
        if not body:
            return body
        if content_type(request).startswith("application/x-www-form-urlencoded"):
            body = without_parameters(body.decode("latin-1")).encode("latin-1")
        plain = unzipped(request, body)
        edits = self._find(plain)
        return apply(plain, edits) if edits else body

    def _response_body(self, body: bytes, sizes: list[int] | None) -> tuple[bytes, list[int] | None]:
        """Return body and sizes: first without the secrets that lie over several deltas, then without the rest."""
        for search in (find_in_deltas, find):
            edits = reframed(body, search(body, self._values))
            body, sizes = apply(body, edits), sizes if sizes is None else resized(sizes, edits)
        return body, sizes

    def _readable(self, response: dict[str, Any]) -> dict[str, Any]:
        """Return a compressed response decoded where it holds a secret, as vcrpy decodes it; else as it is."""
        encoded = any(name == "content-encoding" for name, _ in headers_of(response))
        if not encoded or response.get("stream"):
            return response
        decoded: dict[str, Any] = decode_response(response)
        body = as_bytes(decoded["body"]["string"])
        if self._response_body(body, None)[0] == body:
            return response
        headers = response["headers"].items()
        changed = {name: values for name, values in headers if name.lower() in ("content-encoding", "content-length")}
        return {**decoded, "wire": {**(response.get("wire") or {}), "headers": changed}}

    def _stream(self, stream: dict[str, Any], sizes: list[int] | None) -> dict[str, Any]:
        stream = stream if sizes is None else {**stream, "sizes": sizes}
        if isinstance(stream.get("error"), str):
            stream = {**stream, "error": self.text(stream["error"])}
        return stream


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
        for edit in named(body):
            if edit.kind.startswith(("field", "form field")):
                text = _said(body, edit)
                yield from filter(is_worth_hunting, {text, *of_header("authorization", text)})


def _said(body: bytes, edit: Edit) -> str:
    """Return what a field of JSON says, without its escapes."""
    text = body[edit.start : edit.end].decode("utf-8", "surrogateescape")
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return text
