"""Requests and responses as vcrpy holds them: bodies of any kind, headers of texts or bytes."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vcr.request import Request


def body_of(request: Request) -> bytes | None:
    """Return the bytes of a body; JSON for the objects that vcrpy's aiohttp patch keeps."""
    body: Any = request.body
    if body is None or isinstance(body, (bytes, bytearray, memoryview)):
        return None if body is None else bytes(body)
    if hasattr(body, "read"):
        return as_bytes(body.read())
    if isinstance(body, (dict, list)):
        return json.dumps(body, default=str).encode()
    return b"".join(map(as_bytes, body)) if isinstance(body, Iterable) else as_bytes(str(body))


def set_body(request: Request, body: bytes | None) -> None:
    """Give a request its body, as the kind of thing that it was."""
    if isinstance(request.body, (dict, list)):
        request.body = json.loads(body or b"null")
    else:
        is_pieces = getattr(request, "_was_iter", False) and not getattr(request, "_was_file", False)
        request.body = [body] if is_pieces else body


def as_bytes(value: Any) -> bytes:
    """Return the bytes of a body of a response; none for what is neither a text nor bytes."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else b""


def latin(value: Any) -> str:
    """Return a header's name or value as text: some clients give bytes."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def content_type(request: Request) -> str:
    """Return the content type of a request in lower case."""
    return str(request.headers.get("content-type", "")).lower()


def unzipped(request: Request, body: bytes) -> bytes:
    """Return a compressed body of a request decoded: what holds a secret is stored so, and matched so."""
    try:
        match str(request.headers.get("content-encoding", "")).lower():
            case "gzip":
                return gzip.decompress(body)
            case "deflate":
                return zlib.decompress(body)
    except (OSError, EOFError, zlib.error):
        pass
    return body


def headers_of(response: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield names in lower case and values of the headers of a response."""
    for name, values in (response.get("headers") or {}).items():
        for value in values if isinstance(values, (list, tuple)) else [values]:
            yield latin(name).lower(), latin(value)


def each_value(value: Any, name: str, change: Any) -> Any:
    """Return what a header has, one value or a list, with each changed by a function of the name and the value."""
    return [change(name, one) for one in value] if isinstance(value, (list, tuple)) else change(name, value)


def correct_length(headers: dict[str, Any], body: bytes | None) -> None:
    """Give a `content-length` that is there the length that is true now."""
    for name, value in headers.items():
        if latin(name).lower() == "content-length":
            length = str(len(body or b""))
            headers[name] = [length] if isinstance(value, (list, tuple)) else length
