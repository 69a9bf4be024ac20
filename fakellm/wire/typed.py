"""A body held to the types of an SDK: which of its fields the API does not have, which are missing, which are wrong.

Of a union that branch counts which the value means: by its JSON type, and of several objects by the fields whose
values tell them apart, such as `type` and `role`. Without that the problem would be that nothing fits, thirty times.

Three things are read leniently, since APIs do. A field that may be absent may be null. A number that is whole may be
written `1.0`. What is no type of JSON, such as an open file, is anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Literal, NamedTuple

from fakellm.wire.sdk_types import Anything, Entries, Fields, Items, OneOf, Plain, Shape, Values, fields_of, type_in

Kind = Literal["missing", "unknown", "type", "value"]
_JSON: dict[type, str] = {
    bool: "boolean", int: "integer", float: "number", str: "string", dict: "object", list: "array", type(None): "null",
}  # fmt: skip
_OBJECTS = ("type", "role")
"""Fields that tell objects apart before all others do."""


class Tag(str):
    """Which branch of a union a value is: it stands in a path, and is no key."""

    __slots__ = ()


Path = tuple[str | int, ...]


class Problem(NamedTuple):
    """What is wrong with one place of a body.

    `path` are the keys and indexes down to it, with a `Tag` behind an object that is one of several. `expected` are the
    JSON types that the place may have, or its values. `many` is what the items of an array there are.
    """

    kind: Kind
    path: Path
    found: Any
    expected: tuple[str, ...] = ()
    many: str = ""

    @property
    def keys(self) -> Path:
        """The path without its tags."""
        return tuple(key for key in self.path if not isinstance(key, Tag))


def type_of(value: Any) -> str:
    """Return the JSON type of a value."""
    return _JSON.get(type(value), "object")


def place_of(path: Iterable[str | int]) -> str:
    """Word a path as people do: `messages[3].tool_call_id`."""
    text = ""
    for key in path:
        if not isinstance(key, Tag):
            text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


class Reader:
    """Holds bodies to types. `is_lenient` allows fields and words that others have added to an API."""

    def __init__(self, *, is_lenient: bool = False) -> None:
        self._is_lenient = is_lenient

    def problems(self, annotation: Any, value: Any) -> list[Problem]:
        """Return what is wrong with a value; nothing for one that is nested too deep to be looked at."""
        try:
            return self._of(type_in(annotation), value, ())
        except RecursionError:
            return []

    def _of(self, kind: Any, value: Any, path: Path) -> list[Problem]:
        if isinstance(kind, OneOf):
            return self._one_of(kind.branches, value, path)
        if isinstance(kind, (Fields, Shape)) and isinstance(value, dict):
            return self._fields(kind, value, path)
        if isinstance(kind, Items) and isinstance(value, list):
            return [p for at, item in enumerate(value) for p in self._of(type_in(kind.of), item, (*path, at))]
        if isinstance(kind, Entries) and isinstance(value, dict):
            return [p for name, item in value.items() for p in self._of(type_in(kind.of), item, (*path, name))]
        return [] if _fits(kind, value) else [self._wrong((kind,), value, path)]

    def _one_of(self, branches: tuple[Any, ...], value: Any, path: Path) -> list[Problem]:
        if any(_fits(branch, value) for branch in branches):
            return []
        same = Items if isinstance(value, list) else Entries if isinstance(value, dict) else ()
        tried = [self._of(one, value, path) for one in branches if isinstance(one, same)]
        if isinstance(value, dict) and (objects := [one for one in branches if isinstance(one, (Fields, Shape))]):
            tried.insert(0, self._meant(objects, value, path))
        if tried:
            return min(tried, key=len)
        problem = self._wrong(branches, value, path)
        return [] if self._is_lenient and problem.kind == "value" else [problem]

    def _wrong(self, branches: Iterable[Any], value: Any, path: Path) -> Problem:
        """Return the problem that a value is of none of the types."""
        branches = list(branches)
        values = [one for branch in branches if isinstance(branch, Values) for one in branch.values]
        if values and any(type(value) is type(one) for one in values):
            return Problem("value", path, value, tuple(map(str, values)))
        kinds = dict.fromkeys(kind for branch in branches for kind in _kinds(branch))
        many = next((_many(branch) for branch in branches if isinstance(branch, Items)), "")
        return Problem("type", path, value, tuple(kinds), many)

    def _fields(self, kind: Fields | Shape, value: dict[str, Any], path: Path) -> list[Problem]:
        fields, found = fields_of(kind), []
        for name, field in fields.items():
            if field.is_needed and name not in value:
                found.append(Problem("missing", (*path, name), None))
        for name, item in value.items():
            known = fields.get(name)
            if known is None:
                found += [] if self._is_lenient else [Problem("unknown", (*path, name), item)]
            elif item is not None or known.is_needed:
                one = self._of(known.type, item, (*path, name))
                found += [p for p in one if not (self._is_lenient and p.kind == "value")]
        return found

    def _meant(self, objects: list[Any], value: dict[str, Any], path: Path) -> list[Problem]:
        """Return what is wrong with an object that is one of several: the one that it says it is."""
        left, tag = objects, ""
        for name in _telling(tuple(objects)) if len(objects) > 1 else ():
            known = [one for one in left if _says(one, name, value)]
            if not known:
                allowed = [word for one in left for word in _words(one, name)]
                if self._is_lenient:
                    return []
                if name not in value:
                    return [Problem("missing", (*path, name), None)]
                return [Problem("value", (*path, name), value[name], tuple(dict.fromkeys(map(str, allowed))))]
            left = known
            if name == "type":
                words = _words(left[0], name)
                tag = str(value.get(name) or (words[0] if words else ""))
        where = (*path, Tag(tag)) if tag else path
        return min((self._fields(one, value, where) for one in left), key=len)


def _fits(kind: Any, value: Any) -> bool:
    """Tell whether a value is of a type that needs no look inside."""
    if isinstance(kind, Anything):
        return True
    if isinstance(kind, Values):
        return kind.has(value)
    if not isinstance(kind, Plain):
        return False
    found = type_of(value)
    is_whole = isinstance(value, float) and value.is_integer()
    return found == kind.kind or (kind.kind == "number" and found == "integer") or (kind.kind == "integer" and is_whole)


def _kinds(kind: Any) -> list[str]:
    """Return the JSON types that a type is."""
    if isinstance(kind, OneOf):
        return [word for branch in kind.branches for word in _kinds(branch)]
    if isinstance(kind, Values):
        return [type_of(one) for one in kind.values]
    if isinstance(kind, Plain):
        return [kind.kind]
    return ["array"] if isinstance(kind, Items) else ["object"]


def _many(kind: Items) -> str:
    """Return what the items of an array are, if they are one thing."""
    kinds = set(_kinds(type_in(kind.of))) if not isinstance(type_in(kind.of), Anything) else set()
    return kinds.pop() if len(kinds) == 1 else ""


@cache
def _telling(objects: tuple[Any, ...]) -> list[str]:
    """Return the fields whose values tell objects apart."""
    names: dict[str, set[Any]] = {}
    for one in objects:
        for name in fields_of(one):
            if words := _words(one, name):
                names.setdefault(name, set()).add(tuple(words))
    telling = [name for name, words in names.items() if len(words) > 1]
    return sorted(telling, key=lambda name: (name not in _OBJECTS, name != "type", name))


def _words(one: Any, name: str) -> list[Any]:
    """Return the values that a field of an object may have, where those are few."""
    field = fields_of(one).get(name)
    branches = () if field is None else field.type.branches if isinstance(field.type, OneOf) else (field.type,)
    if not branches or not all(isinstance(branch, Values) or branch == Plain("null") for branch in branches):
        return []
    return [word for branch in branches if isinstance(branch, Values) for word in branch.values]


def _says(one: Any, name: str, value: Mapping[str, Any]) -> bool:
    """Tell whether an object with such a field may be one of that type."""
    field = fields_of(one).get(name)
    if field is None:
        return name not in value
    if value.get(name) is None:
        return not field.is_needed
    words = _words(one, name)
    return not words or Values(tuple(words)).has(value[name])
