"""What an app saw of an answer, so that two can be compared whatever library made them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from fakellm.contracts.streams.projections import UNKNOWN, joined

_OF_TRANSPORT = ("sdk_http_response", "headers", "response_headers", "http_response")
"""Fields in which SDKs keep how an answer came, beside what it says."""
_DEEPEST = 12


@dataclass(frozen=True)
class Seen:
    """What was seen: `value` as plain data, a text if it is nothing else; the `text` in it, `UNKNOWN` if none is."""

    value: Any
    text: Any

    @property
    def said(self) -> str:
        """All texts in it, one after the other."""
        return self.text if isinstance(self.text, str) else "".join(_texts(self.value))


def seen_of(value: Any, text: Callable[[Any], Any]) -> Seen:
    """Return what an app saw; of a stream, `value` is the list of its items."""
    items = value if isinstance(value, list) else [value]
    said = joined(items, text) if items else UNKNOWN
    if items and all(isinstance(item, str) for item in items):
        return Seen("".join(items), said)
    return Seen(_plain(value), said)


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a value as data that is equal where the values say the same."""
    if value is None or isinstance(value, (str, bytes, int, float)) or depth > _DEEPEST:
        return value
    if isinstance(value, Mapping):
        return {name: _plain(one, depth + 1) for name, one in value.items() if name not in _OF_TRANSPORT}
    if isinstance(value, Sequence):
        return [_plain(one, depth + 1) for one in value]
    return {"": type(value).__name__, **_plain(_fields(value), depth + 1)}


def _fields(value: Any) -> dict[str, Any]:
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(getattr(type(value), "model_fields", None), Mapping):  # pydantic's
        extra = getattr(value, "__pydantic_extra__", None) or {}
        return {**vars(value), **extra}
    found = getattr(value, "__dict__", None)
    if found is None:
        return {"repr": repr(value)}
    return {name: one for name, one in found.items() if not name.startswith("_")}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def says(seen: Seen, texts: Sequence[str]) -> bool:
    """Tell whether the texts are there, in this order."""
    at = 0
    for text in texts:
        at = seen.said.find(text, at)
        if at < 0:
            return False
        at += len(text)
    return True
