"""Which recorded request a new one is: matchers for vcrpy, and the difference to the nearest, field by field."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from fakellm.errors import clip
from fakellm.secrets.shapes import PLACEHOLDER

MATCH_ON = ("method", "url", "json")
"""What two requests have in common to be the same, by default; `url` and `json` are ours, others are vcrpy's."""

_ABSENT = object()
_CONSTANTS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
"""What Python writes in JSON beside JSON: one object each, since no two that are not a number are equal."""

_BOUNDARY = re.compile(r'multipart/form-data.*boundary="?([^";,\s]+)', re.IGNORECASE)
_NAME, _FILENAME = (re.compile(rb"(?i)[;\s]" + name + rb'="([^"]*)"') for name in (b"name", b"filename"))


def name_of(matcher: str | Callable[[Any, Any], Any]) -> str:
    """Return the name of a matcher, which may be a function."""
    return matcher if isinstance(matcher, str) else matcher.__name__


def json_matcher(ignore: Sequence[str] = ()) -> Callable[[Any, Any], None]:
    """Return a matcher of bodies: as JSON or as forms where both are, without the named fields, else byte for byte.

    A name is that of a field at any depth (`"seed"`) or a path from the top (`"metadata.request_id"`). What was
    redacted on the tape stands for anything: it may have become known as a secret after the request was sent.
    """
    ignored = frozenset(ignore)

    def match(sent: Any, recorded: Any) -> None:
        if _has_bytes_of(sent, recorded):
            return
        found = body_differences(fields_of(recorded), fields_of(sent), ignored)
        if found:
            raise AssertionError("\n".join(found))

    match.__name__ = "json"
    return match


def _has_bytes_of(one: Any, other: Any) -> bool:
    """Tell whether two bodies are the same before they are read, as nearly all are that match."""
    if not isinstance(one.body, bytes) or one.body != other.body:
        return False
    return bool(one.headers.get("content-type") == other.headers.get("content-type"))


def url_matcher(sent: Any, recorded: Any) -> None:
    """Match scheme, host, port and path, and the query in any order."""
    found = url_differences(recorded.uri, sent.uri)
    if found:
        raise AssertionError("\n".join(found))


def bytes_of(request: Any) -> bytes:
    """Return the bytes of a request's body, as vcrpy keeps it: bytes, a file, pieces, or what aiohttp is given."""
    body = request.body
    if isinstance(body, (dict, list)):
        return json.dumps(body, default=repr).encode()
    if hasattr(body, "read"):
        body = body.read()
    if body is None or isinstance(body, (bytes, str)):
        return body.encode() if isinstance(body, str) else body or b""
    return b"".join(part if isinstance(part, bytes) else str(part).encode() for part in body)


def body_of(request: Any) -> Any:
    """Return a request's body: the value of its JSON, else its bytes."""
    body = bytes_of(request)
    try:
        return json.loads(body, parse_constant=_CONSTANTS.__getitem__) if body else None
    except (ValueError, RecursionError):
        return body


def wants_stream(request: Any, response: Mapping[str, Any]) -> bool:
    """Tell whether a recorded answer is a stream, as its request wants it."""
    if "stream" in urlsplit(request.uri).path.lower():
        return True
    body = body_of(request)
    if not isinstance(body, dict):
        return False
    wanted = body.get("stream")
    return wanted is True or (wanted is None and "/api/" in request.uri and "stream" in response)  # Ollama's default


def fields_of(request: Any) -> Any:
    """Return a request's body as its fields where it has some: those of JSON, of a form, of a form in parts.

    The boundary between parts is another one in each request, and no part of what is asked.
    """
    body = body_of(request)
    if not isinstance(body, bytes):
        return body
    kind = str(request.headers.get("content-type", ""))
    if kind.startswith("application/x-www-form-urlencoded"):
        return _grouped(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)) or body
    boundary = _BOUNDARY.match(kind)
    return _parts(body, boundary[1].encode()) or body if boundary else body


def _parts(body: bytes, boundary: bytes) -> dict[str, Any]:
    """Return the parts of a form (RFC 7578) by their names; a file is a mapping with its name and content."""
    pairs: list[tuple[str, Any]] = []
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, data = part.partition(b"\r\n\r\n")
        value: Any = data.removesuffix(b"\r\n")
        with suppress(UnicodeDecodeError):
            value = value.decode()
        if file := _FILENAME.search(head):
            value = {"filename": file[1].decode("utf-8", "replace"), "content": value}
        name = _NAME.search(head)
        pairs.append((name[1].decode("utf-8", "replace") if name else "", value))
    return _grouped(pairs)


def _grouped(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return values by their names; of a name that comes more than once, a list in their order."""
    found: dict[str, list[Any]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def url_differences(recorded: str, sent: str) -> list[str]:
    """Word what differs between two URLs; the order of the names in the query does not count.

    No path is that of the root, which is what is sent for it (RFC 9110, 4.2.3); some clients add it, and some do not.
    """
    old, new = (parts._replace(path=parts.path or "/") for parts in map(urlsplit, (recorded, sent)))
    found = [
        _worded(f"url.{name}", before, after)
        for name in ("scheme", "hostname", "port", "path")
        if not _is_same(before := getattr(old, name), after := getattr(new, name))
    ]
    before, after = (_grouped(parse_qsl(url.query, keep_blank_values=True)) for url in (old, new))
    return found + list(_differences(before, after, "url.query", frozenset()))


def body_differences(recorded: Any, sent: Any, ignore: frozenset[str] = frozenset()) -> list[str]:
    """Word what differs between two bodies, field by field."""
    return list(_differences(recorded, sent, "", ignore))


def _differences(old: Any, new: Any, path: str, ignore: frozenset[str]) -> Iterable[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            inner = f"{path}.{key}" if path else str(key)
            if key not in ignore and inner not in ignore:
                yield from _differences(old.get(key, _ABSENT), new.get(key, _ABSENT), inner, ignore)
    elif isinstance(old, list) and isinstance(new, list):
        for place in range(max(len(old), len(new))):
            before, after = (values[place] if place < len(values) else _ABSENT for values in (old, new))
            yield from _differences(before, after, f"{path}[{place}]", ignore)
    elif not _is_same(old, new):
        yield _worded(path or "body", old, new)


def _is_same(old: object, new: object) -> bool:
    """Tell whether two values are one; what was redacted in the recorded one stands for anything."""
    if old == new or old is new:
        return isinstance(old, bool) == isinstance(new, bool)
    if not (isinstance(old, str) and isinstance(new, str) and PLACEHOLDER in old):
        return False
    pattern = ".+".join(map(re.escape, old.split(PLACEHOLDER)))
    return re.fullmatch(pattern, new, re.DOTALL) is not None


def _worded(path: str, old: object, new: object) -> str:
    return f"{path}: recorded {_shown(old)} / sent {_shown(new)}"


def _shown(value: object) -> str:
    if value is _ABSENT:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, default=repr) if not isinstance(value, bytes) else repr(value)
    return clip(text, 120)


def differences(recorded: Any, sent: Any, ignore: Sequence[str] = ()) -> list[str]:
    """Word all that differs between a recorded request and the one that was sent."""
    method = [] if recorded.method == sent.method else [_worded("method", recorded.method, sent.method)]
    bodies = body_differences(fields_of(recorded), fields_of(sent), frozenset(ignore))
    return [*method, *url_differences(recorded.uri, sent.uri), *bodies]


def nearest(recorded: Sequence[Any], sent: Any, ignore: Sequence[str] = ()) -> tuple[int, list[str]] | None:
    """Return the place of the recorded request that differs least from the one that was sent, and how it differs."""
    compared = [(differences(request, sent, ignore), place) for place, request in enumerate(recorded)]
    if not compared:
        return None
    found, place = min(compared, key=lambda pair: (weight(pair[0]), pair[1]))
    return place, found


def weight(found: Sequence[str]) -> int:
    """Weigh differences: another host or method makes another request, one more message does not."""
    return sum(10 if difference.startswith(("method", "url")) else 1 for difference in found)


# -- what makes requests the same ---------------------------------------------------------------------


def key_of(match_on: Sequence[str], ignore: Sequence[str] = ()) -> Callable[[Any], Hashable]:
    """Return what says which requests are the same, for merging what several workers recorded.

    It is as `match_on` has it. A matcher that this does not know, one of the user's own, makes no two requests the
    same that are not so in every other respect: rather one too many is kept than one lost.
    """
    ignored = frozenset(ignore)
    known: dict[str, Callable[[Any], Hashable]] = {
        "method": lambda request: request.method,
        "url": lambda request: _url_key(request.uri),
        "uri": lambda request: request.uri,
        "json": lambda request: _frozen(fields_of(request), "", ignored),
        "body": lambda request: _frozen(fields_of(request), "", frozenset()),
        "raw_body": lambda request: repr(body_of(request)),
        "headers": lambda request: tuple(sorted((str(k).lower(), str(v)) for k, v in request.headers.items())),
        "query": lambda request: tuple(request.query),
        **{name: attrgetter(name) for name in ("scheme", "host", "port", "path")},
    }
    names = tuple(match_on) if all(name in known for name in match_on) else ("method", "url", "json", *match_on)
    return lambda request: tuple(known[name](request) for name in names if name in known)


def _url_key(uri: str) -> Hashable:
    parts = urlsplit(uri)
    query = _grouped(parse_qsl(parts.query, keep_blank_values=True))
    return parts.scheme, parts.hostname, parts.port, parts.path or "/", _frozen(query, "", frozenset())


def _frozen(value: Any, path: str, ignore: frozenset[str]) -> Hashable:
    """Return a body as a value that can be compared, without the fields that may differ."""
    if isinstance(value, Mapping):
        inner = [(str(key), f"{path}.{key}" if path else str(key), item) for key, item in value.items()]
        kept = [(k, _frozen(item, at, ignore)) for k, at, item in inner if k not in ignore and at not in ignore]
        return ("mapping", tuple(sorted(kept, key=lambda pair: pair[0])))
    if isinstance(value, list):
        return ("list", tuple(_frozen(item, f"{path}[{at}]", ignore) for at, item in enumerate(value)))
    return (isinstance(value, bool), value)
