"""What an app saw of an answer, so that two can be compared whatever library made them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from fakellm.contracts.streams.projections import UNKNOWN, joined
from fakellm.errors import clip

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


def unstable(one: Any, other: Any) -> set[str] | None:
    """Return the names of the fields in which two values differ; None where they differ in anything else."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        found: set[str] = set()
        for name in one:
            inner = unstable(one[name], other[name])
            found |= {name} if inner is None else inner
        return found
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        each = [unstable(mine, its) for mine, its in zip(one, other, strict=True)]
        return None if None in each else set().union(*filter(None, each))
    return set() if type(one) is type(other) and one == other else None


def without(value: Any, names: set[str]) -> Any:
    """Return a value without the fields of these names."""
    if isinstance(value, dict):
        return {name: without(one, names) for name, one in value.items() if name not in names}
    return [without(one, names) for one in value] if isinstance(value, list) else value


def difference(expected: Any, got: Any) -> tuple[str, str]:
    """Word two values where they differ: of chunks, the first that is another, and how many there are."""
    if not isinstance(expected, list) or not isinstance(got, list):
        return clip(repr(expected), 300), clip(repr(got), 300)
    at = next((at for at, pair in enumerate(zip(expected, got, strict=False)) if pair[0] != pair[1]), None)
    at = min(len(expected), len(got)) if at is None else at
    return _nth(expected, at), _nth(got, at)


def _nth(chunks: list[Any], at: int) -> str:
    what = clip(repr(chunks[at]), 300) if at < len(chunks) else "none"
    return f"{len(chunks)} chunk{'' if len(chunks) == 1 else 's'}, of which chunk {at} is {what}"


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
