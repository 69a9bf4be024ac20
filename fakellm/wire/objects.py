"""JSON as providers write it: reading its fields without trust, writing it, merging one object over another."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Any, NoReturn, TypeVar, cast

from fakellm.errors import WireError, clip

T = TypeVar("T")
_DUMP = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def dump(value: object) -> bytes:
    """Return JSON without spaces, as UTF-8; halves of surrogate pairs are replaced."""
    return _DUMP(value).encode("utf-8", "replace")


def json_text(value: object) -> str:
    """Return JSON as an event of a script holds it, with halves of surrogate pairs replaced.

    Raises `WireError` for what is nested too deep to be written.
    """
    try:
        return sound(json.dumps(value, ensure_ascii=False))
    except RecursionError:
        msg = "the JSON is nested too deep"
        raise WireError(msg) from None


quote = encode_basestring
"""Returns a text as a JSON string, with all that is not ASCII as it is."""


def parse(text: str | bytes, what: str) -> Any:
    """Return the value of JSON. Raises `WireError` that says what is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        shown = text if isinstance(text, str) else text.decode("utf-8", "replace")
        msg = f"{what} is not JSON: {error}: {clip(shown, 80)!r}"
        raise WireError(msg) from None


def parse_object(text: str | bytes, what: str) -> dict[str, Any]:
    """Return the object that JSON holds. Raises `WireError` that says what holds none."""
    value = parse(text, what)
    if not isinstance(value, dict):
        msg = f"{what} is JSON, but no object: {clip(str(value), 80)!r}"
        raise WireError(msg)
    return value


def is_object(text: str) -> bool:
    """Tell whether a text is a JSON object, to the letter: Python also reads `NaN`."""
    if not text.rstrip().endswith("}"):
        return False
    try:
        return isinstance(json.loads(text, parse_constant=_refuse), dict)
    except (ValueError, RecursionError):
        return False


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def get(mapping: Mapping[str, Any], name: str, kind: type[T], default: T | None = None) -> T:
    """Return a field of an object; where it is absent or null, the default or the kind's empty value.

    Raises `WireError` for a value of another kind.
    """
    value = mapping.get(name)
    if value is None:
        return kind() if default is None else default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        msg = f"{name!r} is {clip(repr(value), 60)}, and should be of the type {kind.__name__}"
        raise WireError(msg)
    return value


def objects(mapping: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return a field that is a list of objects; empty where it is absent or null. Raises `WireError` for another."""
    values = get(mapping, name, list)
    for value in values:
        if not isinstance(value, dict):
            msg = f"{name!r} holds {clip(repr(value), 60)}, and should hold objects"
            raise WireError(msg)
    return values


def text_field(mapping: Mapping[str, Any], name: str) -> str:
    """Return a field that is text, with halves of surrogate pairs replaced; empty where it is absent or null."""
    return sound(get(mapping, name, str))


def sound(text: str) -> str:
    """Return the text with each half of a surrogate pair, which JSON can hold and UTF-8 cannot, replaced."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode() if _is_broken(text) else text


def _is_broken(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def decimal(seconds: float) -> str:
    """Return seconds as a header has them: digits, with a fraction only where there is one."""
    return f"{seconds:f}".rstrip("0").rstrip(".")


def retrying(seconds: float | None) -> tuple[tuple[str, str], ...]:
    """Return the header that says when to ask again, if an error says so."""
    return () if seconds is None else (("retry-after", decimal(seconds)),)


def snake(name: str) -> str:
    """Return a name in lower case, as protocol buffers have it."""
    return re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), name)


def counted(mapping: Mapping[str, Any], name: str) -> int:
    """Return a field that counts; 0 where it is absent or null. Raises `WireError` for a negative one."""
    value = get(mapping, name, int)
    if value < 0:
        msg = f"{name!r} is {value}, and should count from 0"
        raise WireError(msg)
    return value


def merged(document: dict[str, Any], extra: object) -> dict[str, Any]:
    """Return the object with the fields of JSON text over it, as RFC 7396 merges them: deeply, and null removes."""
    return cast("dict[str, Any]", _over(document, json.loads(cast("str | bytes", extra)))) if extra else document


def _over(below: Any, above: Any) -> Any:
    if not isinstance(above, dict):
        return above
    below = below if isinstance(below, dict) else {}
    kept = {key: value for key, value in below.items() if key not in above}
    return {**kept, **{key: _over(below.get(key), value) for key, value in above.items() if value is not None}}


def beyond(whole: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what `merged` has to put over `known` to get `whole` back, its nulls aside; None where that is nothing."""
    extra: dict[str, Any] = {key: None for key in known if whole.get(key) is None}
    for key, value in whole.items():
        if value is None or (key in known and known[key] == value):
            continue
        if isinstance(value, dict) and isinstance(known.get(key), dict):
            if (deeper := beyond(value, known[key])) is not None:
                extra[key] = deeper
        else:
            extra[key] = (beyond(value, {}) or {}) if isinstance(value, dict) else value
    return extra or None
