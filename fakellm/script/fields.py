"""What events have in common: they are frozen, and check their fields when they are made."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import FrozenInstanceError, dataclass
from typing import Any, NoReturn, TypeVar, cast, dataclass_transform

from fakellm.errors import ScriptError, clip

T = TypeVar("T")


def require(value: object, kind: type | tuple[type, ...], event: object, name: str) -> None:
    """Raise `TypeError` unless the value has that type; bytes and booleans get a hint of their own."""
    if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
        return
    kinds = kind if isinstance(kind, tuple) else (kind,)
    names = " or ".join("None" if k is type(None) else k.__name__ for k in kinds)
    hint = "; decode the bytes first, a script holds text" if isinstance(value, bytes) else ""
    msg = f"{type(event).__name__}.{name} is {names}, not {type(value).__name__} ({value!r}){hint}"
    raise TypeError(msg)


def require_text(value: str | None, event: object, name: str, *, optional: bool = False) -> None:
    """Raise unless the value is text that UTF-8 can hold."""
    require(value, (str, type(None)) if optional else str, event, name)
    try:
        (value or "").encode()
    except UnicodeEncodeError as error:
        msg = (
            f"{type(event).__name__}.{name} holds half of a surrogate pair at character {error.start}; no "
            "provider can send that as UTF-8. Cut text between code points, not between UTF-16 units"
        )
        raise ScriptError(msg) from None


def require_seconds(value: float | None, event: object, name: str) -> None:
    """Raise unless the value is a number of seconds."""
    require(value, (int, float), event, name)
    if value is not None and not 0 <= value <= sys.float_info.max:
        msg = f"{type(event).__name__}.{name} is a number of seconds from 0 up, not {clip(repr(value), 40)}"
        if value > 0:
            msg += "; for silence without end use stall()"
        raise ScriptError(msg)


def _refuse_change(self: object, name: str, *_: object) -> NoReturn:
    """Raise `FrozenInstanceError`; what dataclasses make for slots with a base class raises `TypeError`."""
    msg = f"{type(self).__name__} is immutable: cannot change {name!r}; make a new one"
    raise FrozenInstanceError(msg)


def require_count(value: int | None, event: object, name: str) -> None:
    """Raise unless the value counts from 0."""
    if type(value) is int and value >= 0:
        return
    require(value, int, event, name)
    msg = f"{type(event).__name__}.{name} counts from 0; {value} is negative"
    raise ScriptError(msg)


def set_json(event: object, name: str, kind: type | None = None) -> None:
    """Write a mapping or a sequence that was given for a field of JSON text as such; check what was given as text.

    With a `kind`, `dict` or `list`, it is to hold that, or to be None.
    """
    value = getattr(event, name)
    if value is None and kind is not None:
        return
    if isinstance(value, Mapping) or (isinstance(value, Sequence) and not isinstance(value, (str, bytes))):
        value = as_json(value, event, name)
        object.__setattr__(event, name, value)
    text = cast("str", value)
    require_text(text, event, name)
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"{type(event).__name__}.{name} is no JSON: {error}: {clip(repr(value), 60)}"
        raise ScriptError(msg) from None
    if not isinstance(parsed, kind or dict):
        what = "a list" if kind is list else "an object"
        msg = f"{type(event).__name__}.{name} is to hold {what}, not {clip(repr(value), 60)}"
        raise ScriptError(msg)


@dataclass_transform(frozen_default=True)
def frozen(cls: type[T]) -> type[T]:
    """Make a frozen dataclass with slots."""
    made = dataclass(frozen=True, slots=True, repr=False, init="__init__" not in vars(cls))(cls)
    made.__setattr__ = made.__delattr__ = _refuse_change  # type: ignore[method-assign]
    return made


def as_json(value: Mapping[str, Any] | Sequence[Any], event: object, name: str) -> str:
    """Write a field's value as JSON; mappings inside may be of any kind."""

    def default(value: object) -> object:
        if isinstance(value, Mapping):
            return dict(value)
        msg = f"a {type(value).__name__} ({clip(repr(value), 60)}) has no JSON form"
        raise TypeError(msg)

    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=default)
    except (TypeError, ValueError) as error:
        msg = f"{type(event).__name__}.{name} cannot be written as JSON: {error}"
        if name == "arguments":
            msg += "; to script broken JSON give it as text"
        raise (TypeError if isinstance(error, TypeError) else ScriptError)(msg) from None
