"""Which recorded request a new one is: matchers for vcrpy, and the difference to the nearest, field by field."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from fakellm.errors import clip

MATCH_ON = ("method", "url", "json")
"""What two requests have in common to be the same, by default; `url` and `json` are ours, others are vcrpy's."""

_ABSENT = object()


def json_matcher(ignore: Sequence[str] = ()) -> Callable[[Any, Any], None]:
    """Return a matcher of bodies: as JSON where both are, with the named fields left out, else byte for byte.

    A name is that of a field at any depth (`"seed"`) or a path from the top (`"metadata.request_id"`).
    """
    ignored = frozenset(ignore)

    def match(sent: Any, recorded: Any) -> None:
        found = body_differences(body_of(recorded), body_of(sent), ignored)
        if found:
            raise AssertionError("\n".join(found))

    match.__name__ = "json"
    return match


def url_matcher(sent: Any, recorded: Any) -> None:
    """Match scheme, host, port and path, and the query in any order."""
    found = url_differences(recorded.uri, sent.uri)
    if found:
        raise AssertionError("\n".join(found))


def body_of(request: Any) -> Any:
    """Return a request's body: the value of its JSON, else its bytes."""
    body = request.body
    if hasattr(body, "read"):
        body = body.read()
    elif body is not None and not isinstance(body, (bytes, str)):
        body = b"".join(part if isinstance(part, bytes) else str(part).encode() for part in body)
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return body


def url_differences(recorded: str, sent: str) -> list[str]:
    """Word what differs between two URLs; the order of the query does not count."""
    old, new = urlsplit(recorded), urlsplit(sent)
    found = [
        _worded(f"url.{name}", getattr(old, name), getattr(new, name))
        for name in ("scheme", "hostname", "port", "path")
        if getattr(old, name) != getattr(new, name)
    ]
    queries = (sorted(parse_qsl(url.query, keep_blank_values=True)) for url in (old, new))
    before, after = (dict(query) for query in queries)
    return found + [
        _worded(f"url.query.{name}", before.get(name, _ABSENT), after.get(name, _ABSENT))
        for name in sorted(before.keys() | after.keys())
        if before.get(name, _ABSENT) != after.get(name, _ABSENT)
    ]


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
    elif old != new or isinstance(old, bool) != isinstance(new, bool):
        yield _worded(path or "body", old, new)


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
    bodies = body_differences(body_of(recorded), body_of(sent), frozenset(ignore))
    return [*method, *url_differences(recorded.uri, sent.uri), *bodies]


def nearest(recorded: Sequence[Any], sent: Any, ignore: Sequence[str] = ()) -> tuple[int, list[str]] | None:
    """Return the place of the recorded request that differs least from the one that was sent, and how it differs."""
    compared = [(differences(request, sent, ignore), place) for place, request in enumerate(recorded)]
    if not compared:
        return None
    found, place = min(compared, key=lambda pair: (_weight(pair[0]), pair[1]))
    return place, found


def _weight(found: list[str]) -> int:
    """Weigh differences: another host or method makes another request, one more message does not."""
    return sum(10 if difference.startswith(("method", "url")) else 1 for difference in found)
