"""What the readers of all dialects share: requests and responses as vcrpy keeps them, bodies without their codings."""

from __future__ import annotations

import json
from typing import Any, TypeAlias
from urllib.parse import urlencode

from vcr.request import Request

from fakellm.cassette.decoding import Decompressor, is_coding, readable
from fakellm.cassette.document import Document, sent_as
from fakellm.script.lines import Place

Pair: TypeAlias = tuple[Request, dict[str, Any]]

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_FILES = ("gzip", "zip", "zstd", "octet-stream", "tar", "image", "audio", "video")


def unparsed(value: object, content_type: str) -> bytes:
    """Return a body that a tool parsed: a form, or JSON, written as most clients write it."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict) and "form-urlencoded" in content_type:
        return urlencode(value, doseq=True).encode()
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str).encode("utf-8", "replace")


def status_of(document: Document, place: Place) -> dict[str, Any]:
    """Return a status with `code` and `message`."""
    message = document.mapping(place).get("message")
    text = sent_as(message) if isinstance(message, bytes) else None if message is None else str(message)
    return {"code": document.whole((*place, "code")), "message": text}


def request_of(
    document: Document, place: Place, uri: str, body: bytes | None, headers: dict[str, list[str]]
) -> Request:
    """Return a request as vcrpy keeps it: one text for each header, in which several values are listed."""
    method = document.text((*place, "method")).lstrip(":").upper()
    joined = {name: (", " if name.lower() != "cookie" else "; ").join(values) for name, values in headers.items()}
    try:
        return Request(method, uri, body, joined)
    except ValueError as error:
        raise document.refuse(place, f"{uri!r} is no URL: {error}") from None


def header_of(headers: dict[str, list[str]], name: str) -> str:
    """Return a header by its name in lower case; nothing if there is none."""
    return ", ".join(value for key, values in headers.items() if key.lower() == name for value in values)


def decoded(document: Document, place: Place, response: dict[str, Any]) -> dict[str, Any]:
    """Return a response with its body decoded, and with headers that say so; what the server said is its `wire`."""
    headers, body = response["headers"], response["body"]["string"]
    encoding = header_of(headers, "content-encoding") or _guess(body, header_of(headers, "content-type"))
    if not encoding or not body:
        return response
    data = _decode(document, place, body, encoding)
    headers, changed = readable(headers, data)
    if header_of(changed, "content-encoding"):
        response = {**response, "wire": {**(response.get("wire") or {}), "headers": changed}}
    return {**response, "headers": headers, "body": {"string": data}}


def _guess(body: bytes, content_type: str) -> str:
    """Return the coding that a body begins like, unless it is a file that is meant to be compressed."""
    is_file = any(word in content_type.lower() for word in _FILES)
    return "" if is_file else next((name for magic, name in _MAGIC.items() if body.startswith(magic)), "")


def _decode(document: Document, place: Place, body: bytes, encoding: str) -> bytes:
    """Return a body without its codings; as it is, if it never had them, or if nobody knows them.

    What was cut off is decoded up to there.
    """
    if _is_text(body) or not is_coding(encoding):
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
