"""Finding secrets by what stands beside them: a field, a parameter, a variable whose name says that it holds one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache

from fakellm.secrets.distinct import distinct
from fakellm.secrets.edits import Edit
from fakellm.secrets.names import (
    FIELDS,
    HUMAN_FIELDS,
    LOOSE_PARAMETERS,
    PARAMETERS,
    RANDOM_PARAMETERS,
    is_secret_name,
)
from fakellm.secrets.shapes import PLACEHOLDER, has_shape, is_random

_MARK = PLACEHOLDER.encode()


@cache
def _namings() -> tuple[tuple[str, re.Pattern[bytes], bool, re.Pattern[bytes]], ...]:
    """Return (kind, regex with name and value as groups, whether the value always needs the shape of a secret, name).

    The last is a regex of the name alone, which holds no comma: without a name there is no value to be looked for.
    They are for bytes in lower case: without a flag that ignores case, the expressions need half the time. A part of a
    form has a few short lines before its value; without these bounds, many begins of parts would be read to the end.
    """
    fields, parameters = "|".join(FIELDS), "|".join(PARAMETERS)
    part = rf'name="({fields}|{parameters})"[^\r\n]{{0,1000}}\r\n(?:[^\r\n]{{1,1000}}\r\n){{0,8}}\r\n([^\r\n]+)'
    rows = (
        ("field", rf'"({fields})"\s*:\s*(?:\[\s*)?"((?:[^"\\]|\\.)+)"', False, rf'"(?:{fields})"\s*:'),
        ("field", rf"'({fields})'\s*:\s*'([^'\\\s]+)'", True, rf"'(?:{fields})'\s*:"),
        ("field", r'"(token|secret|auth)"\s*:\s*"([\w.~+/=:-]{16,})"', True, r'"(?:token|secret|auth)"\s*:'),
        ("parameter", rf"(?:^|[?&;#])({parameters})=([^&;#\s\"'<>\\]+)", False, rf"(?:^|[?&;#])(?:{parameters})="),
        ("form field", part, False, 'name="'),
    )
    return tuple((kind, re.compile(text.encode()), asks, re.compile(name.encode())) for kind, text, asks, name in rows)


_JWK = re.compile(rb'"(d|p|q|dp|dq|qi|k)"\s*:\s*"([A-Za-z0-9_-]{20,})"')  # RFC 7518, 6.2.2, 6.3.2, 6.4.1


def named(data: bytes, *, is_answer: bool = False) -> Iterator[Edit]:
    """Find what stands beside a name that says that it is secret, in the bytes as they are."""
    lower = data.lower()
    parts = distinct(lower)
    for kind, regex, asks, known in _namings():
        for match in regex.finditer(lower) if known.search(parts) else ():
            start, end = match.span(2)
            name, value = _text(match[1]), _text(data[start:end])
            if _is_new(data[start:end]) and _counts(kind, name, value, asks=asks, is_answer=is_answer):
                yield Edit(start, end, _MARK, f"{kind} {name}")
    if b'"kty"' in data:
        for match in _JWK.finditer(data):
            yield Edit(*match.span(2), _MARK, "private key")


def _counts(kind: str, name: str, value: str, *, asks: bool, is_answer: bool) -> bool:
    """Tell whether a value beside a name is a secret."""
    if name in RANDOM_PARAMETERS and kind == "parameter":
        return is_random(value)
    if is_answer and kind == "field":
        return name not in HUMAN_FIELDS and is_random(value)
    if asks or is_answer or (kind == "parameter" and name in LOOSE_PARAMETERS):
        return has_shape(value)
    return _is_safe(value)


_ASSIGNED = re.compile(rb"[=:>][=>]?[ \t]{0,3}[\"'`]?([\w.~+/-]{16,}={0,2})(?![\w(\[.])")
_NAME_REVERSED = re.compile(rb"[ \t]{0,3}([\"'`]?)([\w.-]{2,50}(?: [\w-]{2,20}){0,2})")


def assigned(data: bytes, *, is_answer: bool = False) -> Iterator[Edit]:
    """Find what is given to a variable whose name says that it is secret: a shell script, a file of settings."""
    parts = distinct(data)
    if parts is data or any(_assigned(parts, is_answer=is_answer)):  # neither name nor value holds a comma
        yield from _assigned(data, is_answer=is_answer)


def _assigned(data: bytes, *, is_answer: bool) -> Iterator[Edit]:
    for match in _ASSIGNED.finditer(data):
        name = _NAME_REVERSED.match(data[max(match.start() - 50, 0) : match.start()][::-1])
        if name is None or not _is_secret_name(name[2]):
            continue
        is_field = is_answer and name[1] == b'"' and _text(name[2][::-1]).lower() in HUMAN_FIELDS
        if not is_field and is_random(_text(match[1])) and _is_new(match[1]):
            yield Edit(*match.span(1), _MARK, "assignment")


@lru_cache(4096)
def _is_secret_name(backwards: bytes) -> bool:
    return is_secret_name(_text(backwards[::-1]))


def _is_safe(value: str) -> bool:
    """Tell that a value is none of the bytes between two strings, as a view without escapes can show them."""
    return value.lstrip()[:1] not in {"", ",", "}", "]", ":"}


def _is_new(value: bytes) -> bool:
    return _MARK not in value


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
