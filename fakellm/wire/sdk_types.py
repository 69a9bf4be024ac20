"""An SDK's own types, read as they are installed: its TypedDicts and pydantic models.

An SDK writes down the parameters of its API, field by field, in types that type checkers read. They can be read when a
program runs too. Nothing here knows an SDK; where one has its types is the business of its provider.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from enum import Enum
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

_PLAIN: dict[Any, str] = {
    str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null", None: "null",
    bytes: "string", datetime: "string", date: "string",
}  # fmt: skip


class Plain(NamedTuple):
    """A JSON type."""

    kind: str


class Values(NamedTuple):
    """One of several values; of an enum whatever their case."""

    values: tuple[Any, ...]
    is_exact: bool = True

    def has(self, value: Any) -> bool:
        """Tell whether a value is one of them."""
        if not self.is_exact and isinstance(value, str):
            return value.upper() in [str(one).upper() for one in self.values]
        return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in self.values)


class Items(NamedTuple):
    """An array."""

    of: Any


class Entries(NamedTuple):
    """An object with any keys."""

    of: Any


class Fields(NamedTuple):
    """An object with these keys, by the class that says so."""

    of: type


class Shape(NamedTuple):
    """An object with these keys: each the annotation of its value; none of them is needed."""

    of: tuple[tuple[str, Any], ...]


class OneOf(NamedTuple):
    """One of several types."""

    branches: tuple[Any, ...]


class Anything(NamedTuple):
    """Any value."""


class Field(NamedTuple):
    """A field of an object."""

    type: Any
    is_needed: bool


ANYTHING = Anything()
_ARRAYS = (list, tuple, set, frozenset)


@cache
def type_in(annotation: Any) -> Any:  # noqa: PLR0911 - a table, in the order that counts
    """Return the type that an annotation is."""
    if isinstance(annotation, (Plain, Values, Items, Entries, Fields, Shape, OneOf, Anything)):
        return annotation
    if annotation in _PLAIN:
        return Plain(_PLAIN[annotation])
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated or origin in _MARKS:
        return type_in(arguments[0])
    if origin is Literal:
        return Values(arguments)
    if origin in (Union, types.UnionType):
        return OneOf(tuple(_flat(map(type_in, arguments))))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return Entries(arguments[1] if len(arguments) > 1 else Any)
    if isinstance(origin, type) and (origin in _ARRAYS or issubclass(origin, Iterable)):
        return Items(arguments[0] if arguments else Any)
    return _named(annotation)


def _named(annotation: Any) -> Any:
    if isinstance(annotation, NewType):
        return type_in(annotation.__supertype__)
    if not isinstance(annotation, type):
        return ANYTHING
    if issubclass(annotation, Enum):
        return Values(tuple(one.value for one in annotation), is_exact=False)
    if hasattr(annotation, "__required_keys__") or hasattr(annotation, "model_fields"):
        return Fields(annotation)
    if issubclass(annotation, dict):
        return Entries(Any)
    return Items(Any) if annotation in _ARRAYS else ANYTHING


def _flat(branches: Iterable[Any]) -> Iterator[Any]:
    for branch in branches:
        if isinstance(branch, OneOf):
            yield from branch.branches
        else:
            yield branch


_MARKS = (Required, NotRequired)


@cache
def fields_of(found: Fields | Shape) -> dict[str, Field]:
    """Return the fields of an object by the names that they have in JSON."""
    if isinstance(found, Shape):
        return {name: Field(type_in(annotation), is_needed=False) for name, annotation in found.of}
    models = getattr(found.of, "model_fields", None)
    if models is not None:
        fields: dict[str, Field] = {}
        for name, info in models.items():
            field = Field(type_in(info.annotation), info.is_required())
            fields |= {name: field, **({info.alias: field} if info.alias else {})}
        return fields
    hints = get_type_hints(found.of, include_extras=True)
    return {
        _alias(hint) or name: Field(type_in(hint), _is_needed(found.of, name, hint)) for name, hint in hints.items()
    }


def _is_needed(owner: Any, name: str, hint: Any) -> bool:
    # Annotations are texts, so the class itself does not know which of them say `Required`.
    origin = get_origin(hint)
    return origin is Required or (name in owner.__required_keys__ and origin is not NotRequired)


def _alias(hint: Any) -> str | None:
    while get_origin(hint) in _MARKS:
        hint = get_args(hint)[0]
    marks = getattr(hint, "__metadata__", ())
    return next((mark.alias for mark in marks if isinstance(getattr(mark, "alias", None), str)), None)


_SHARED = ("google", "azure")
"""Packages that several distributions are in."""


def is_installed(place: str) -> bool:
    """Tell whether the library of a place, `module:Name`, is there, without loading it."""
    try:
        module = place.partition(":")[0].split(".")
        return find_spec(".".join(module[: 2 if module[0] in _SHARED else 1])) is not None
    except (ImportError, ValueError):
        return False


@cache
def found_in(place: str) -> Any:
    """Return what a place, `module:Name`, has, or None where the library, or its version, has no such thing."""
    module, _, name = place.partition(":")
    try:
        return getattr(import_module(module), name, None)
    except ImportError:
        return None
