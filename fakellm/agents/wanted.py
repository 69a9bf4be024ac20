"""What a step of a conversation wants of a text: exactly this, JSON, a match, a predicate, anything."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from fakellm.errors import ScriptError, clip
from fakellm.models.replies import check_matcher
from fakellm.wire.schemas import same

ANYTHING: Any = ...
"""What `user()` and `result()` want without an argument."""
_LONG = 200
NOT_JSON = object()
"""What a text is read as that is no JSON; nothing equals it."""


def check_wanted(step: str, wanted: object) -> None:
    """Raise `TypeError` or `ScriptError` for what no text could be, or what would take any for right."""
    if isinstance(wanted, (bytes, bytearray)):
        msg = f"{step} wants a text, a pattern, a predicate or JSON; decode the bytes first"
        raise TypeError(msg)
    if isinstance(wanted, re.Pattern) or callable(wanted):
        _check_matcher(step, wanted)
    elif wanted is not ANYTHING and not isinstance(wanted, str):
        try:
            json.dumps(wanted)
        except (TypeError, ValueError) as error:
            msg = f"{step}({clip(repr(wanted), 80)}) is no JSON: {error}; write a text, JSON, a pattern or a predicate"
            raise ScriptError(msg) from None


def _check_matcher(step: str, wanted: object) -> None:
    try:
        check_matcher(wanted)
    except TypeError as error:
        _, _, hint = str(error).rpartition("; ")
        msg = f"{step}() wants a text, JSON, a pattern or a predicate of the text, not {wanted!r}; {hint}"
        raise TypeError(msg) from None


def heard(wanted: Any, text: str) -> bool:
    """Tell whether a message of the user is what was wanted: a text is to occur in it."""
    if isinstance(wanted, str):
        return wanted in text
    return _fits(wanted, text, json_of(text))


def brings(wanted: Any, text: str, *, is_wrapped: bool) -> bool:
    """Tell whether the result of a tool is what was wanted: a text to the letter, other JSON as it is read.

    Of an API whose results are objects, `is_wrapped`, an object of one field may stand for what is in that: apps name
    the field as they like, `result`, `output`, `content`.
    """
    read = json_of(text)
    found = [(text, read)]
    if is_wrapped and isinstance(read, dict) and len(read) == 1:
        (inner,) = read.values()
        said = inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False)
        found.insert(0, (said, json_of(said) if isinstance(inner, str) else inner))
    if callable(wanted) and not isinstance(wanted, re.Pattern):
        return _fits(wanted, *found[0])
    return any(_fits(wanted, *one) for one in found)


def _fits(wanted: Any, text: str, read: Any) -> bool:
    if wanted is ANYTHING:
        return True
    if isinstance(wanted, str):
        return wanted == text
    if isinstance(wanted, re.Pattern):
        return wanted.search(text) is not None
    if callable(wanted):
        return _judged(wanted, text)
    return read is not NOT_JSON and same(json.loads(json.dumps(wanted)), read)


def _judged(predicate: Callable[[str], object], text: str) -> bool:
    try:
        return bool(predicate(text))
    except Exception as error:
        error.add_note(f"This was raised by {name_of(predicate)}, which a step of a conversation asks of {text!r}")
        raise


def json_of(text: str) -> Any:
    """Return what a text is as JSON, or a value that nothing equals."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return NOT_JSON


def as_text(wanted: Any) -> str:
    """Return the text that is wanted, as far as it is known by itself."""
    if isinstance(wanted, str):
        return wanted
    is_open = wanted is ANYTHING or isinstance(wanted, re.Pattern) or callable(wanted)
    return "" if is_open else json.dumps(wanted, ensure_ascii=False)


def name_of(predicate: Any) -> str:
    """Return what a predicate is called."""
    return str(getattr(predicate, "__name__", None) or repr(predicate))


def worded(wanted: Any) -> str:
    """Word what is wanted."""
    if wanted is ANYTHING:
        return "anything"
    if isinstance(wanted, re.Pattern):
        return f"a match of {clip(wanted.pattern, _LONG)!r}"
    if callable(wanted):
        return f"what {name_of(wanted)} returns true for"
    return clip(repr(wanted), _LONG)


def written(wanted: Any) -> str:
    """Write what is wanted as the argument of a step."""
    if wanted is ANYTHING:
        return ""
    if isinstance(wanted, re.Pattern):
        return clip(repr(wanted), _LONG)
    return name_of(wanted) if callable(wanted) else clip(repr(wanted), _LONG)
