"""Writes the YAML of a cassette, so that a body reads as the provider sent it and a diff shows what changed.

Only what cassettes are made of is written: mappings, lists, texts, bytes, whole numbers, booleans and null. The rules
are those of YAML 1.1 (https://yaml.org/spec/1.1/), narrowed to what both libyaml and PyYAML read back character
for character: a literal block holds printable characters and line feeds only, since a carriage return, NEL, U+2028
and U+2029 are line ends to a YAML 1.1 reader, which it changes. What cannot be a literal block is double-quoted, one
line of it on a line. Nothing is wrapped.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress


class Block(bytes):
    """A text, in UTF-8, that is written as a literal block even if it has one line only."""

    __slots__ = ()


class Plain(str):
    """A text that is written as it stands."""

    __slots__ = ()


_NOT_QUOTED = re.compile("[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_PLAIN = re.compile(r"[A-Za-z_/](?:[!-9;-~]|:(?=[!-~])| (?=[!-\"$-~]))*")
_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))  # of YAML 1.1, in any case
_NOT_CONTROL = bytes([9, 10, *range(0x20, 0x7F), *range(0x80, 0x100)])
_C1 = re.compile(rb"\xc2[\x80-\x9f]")
_NO_LITERAL = {
    b"\xe2": "\u2028\u2029",
    b"\xef": "\ufeff\ufffe\uffff",
}  # by their first byte, which is quick to look for
_ESCAPES = {b"\\": b"\\\\", b'"': b'\\"', b"\r": b"\\r", b"\t": b"\\t", b"\0": b"\\0"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST_KEY = 100


def to_yaml(data: Mapping[str, object]) -> bytes:
    """Return a YAML document in UTF-8. Raises `TypeError` for a value that is none of a cassette's."""
    parts: list[str | bytes] = []
    _mapping(data, "", parts)
    return b"".join(part if isinstance(part, bytes) else part.encode() for part in parts)


def _mapping(mapping: Mapping[str, object], indent: str, parts: list[str | bytes], first: str | None = None) -> None:
    start = indent if first is None else first
    for key, value in mapping.items():
        name = _scalar(str(key))
        parts.append(f"{start}{name}:" if len(name) < _LONGEST_KEY else f"{start}? {name}\n{indent}:")
        _value(value, indent, parts)
        start = indent


def _sequence(values: Iterable[object], indent: str, parts: list[str | bytes]) -> None:
    for value in values:
        if isinstance(value, Mapping) and value:
            _mapping(value, indent + "  ", parts, indent + "- ")
        else:
            parts.append(f"{indent}-")
            _value(value, indent + "  " if isinstance(value, (list, tuple)) else indent, parts)


def raw(text: str) -> bytes:
    """Return the bytes of a text; of a half of a surrogate pair the byte that Python read it from, else its code."""
    for way in ("strict", "surrogateescape"):
        with suppress(UnicodeEncodeError):
            return text.encode("utf-8", way)
    return text.encode("utf-8", "surrogatepass")


def _value(value: object, indent: str, parts: list[str | bytes]) -> None:
    """Write what follows a key or a dash; `indent` is that of the collection it is in."""
    if isinstance(value, Mapping) and value:
        parts.append("\n")
        _mapping(value, indent + "  ", parts)
    elif isinstance(value, (list, tuple)) and value:
        parts.append("\n")
        _sequence(value, indent, parts)
    elif isinstance(value, Block):
        _text(value, indent + "  ", parts)
    elif isinstance(value, (bytes, bytearray)):
        _binary(bytes(value), indent, parts)
    elif isinstance(value, str) and not value.isascii() and _SURROGATE.search(value):
        _binary(raw(value), indent, parts)
    elif isinstance(value, str) and "\n" in value:
        _text(value.encode(), indent + "  ", parts)
    else:
        parts.append(f" {_small(value)}\n")


def _small(value: object) -> str:
    if isinstance(value, str):
        return value[:] if isinstance(value, Plain) else _scalar(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, (Mapping, list, tuple)):
        return "{}" if isinstance(value, Mapping) else "[]"
    msg = f"a cassette holds no {type(value).__name__}: {value!r:.80}"
    raise TypeError(msg)


def _scalar(text: str) -> str:
    """Return a text on one line."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    if "\n" in text or _NOT_QUOTED.search(text):
        return f'"{_escaped(text.encode()).decode()}"'.replace("\n", "\\n")
    return "'" + text.replace("'", "''") + "'"


def _text(text: bytes, indent: str, parts: list[str | bytes]) -> None:
    if not text:
        parts.append(" ''\n")
    elif can_be_literal(text):
        hint = "2" if text[:1] in b" \n\t" else ""
        chomp = "-" if text[-1:] != b"\n" else "+" if text.endswith(b"\n\n") or text == b"\n" else ""
        parts += [f" |{hint}{chomp}", _indented(text.removesuffix(b"\n"), indent.encode()), "\n"]
    else:
        parts += [' "', _quoted_lines(text, indent.encode()), '"\n']


def can_be_literal(data: bytes) -> bool:
    """Tell whether a text, here in UTF-8, has no control characters and no line ends but line feeds."""
    if data.translate(None, _NOT_CONTROL):
        return False
    if data.isascii():
        return True
    bad = "".join(characters for first, characters in _NO_LITERAL.items() if first in data)
    return not (_C1.search(data) or any(character.encode() in data for character in bad))


def _indented(text: bytes, indent: bytes) -> bytes:
    """Return a line end and the text, with each line that is not empty indented."""
    shown = (b"\n" + text).replace(b"\n", b"\n" + indent)
    empty = b"\n" + indent + b"\n"
    while empty in shown:  # twice, where several empty lines follow each other
        shown = shown.replace(empty, b"\n\n")
    return shown.removesuffix(indent) if text.endswith(b"\n") or not text else shown


def _quoted_lines(text: bytes, indent: bytes) -> bytes:
    """Return a text for double quotes, with an escaped line end after each of its lines but the last."""
    more = b"\\\n" + indent
    lines = _escaped(text).replace(b"\n", b"\\n" + more).removesuffix(more)
    return lines.replace(more + b" ", more + b"\\ ")


def _escaped(text: bytes) -> bytes:
    """Return a text with all escaped but its line feeds."""
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text if can_be_literal(text) else _NOT_QUOTED.sub(_escape, text.decode()).encode()


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004


def _binary(data: bytes, indent: str, parts: list[str | bytes]) -> None:
    lines = base64.encodebytes(data).decode().splitlines()
    parts.append(" !!binary |\n" if lines else " !!binary ''\n")
    parts += [f"{indent}  {line}\n" for line in lines]
