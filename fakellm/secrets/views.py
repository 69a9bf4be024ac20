"""Views of bytes: decodings that know where each of their bytes came from.

An edit of a view is an edit of the original, as wide as the escapes that it touches: half an escape is a broken string.
"""

from __future__ import annotations

import binascii
import html
import re
from bisect import bisect_right
from collections.abc import Callable

from fakellm.secrets.edits import Edit


class View:
    """A decoding of bytes, and the way back to them."""

    def __init__(self, data: bytes, replace: Callable[[re.Match[bytes]], bytes], regex: re.Pattern[bytes]) -> None:
        parts: list[bytes] = []
        self._starts: list[int] = [0]
        self._marks: list[tuple[int, int, int]] = [(0, 0, 0)]  # where a decoded part ends; where it was, from and to
        at = size = 0
        for match in regex.finditer(data):
            before, new = data[at : match.start()], replace(match)
            parts += [before, new]
            size += len(before)
            self._starts.append(size)
            size += len(new)
            self._marks.append((size, *match.span()))
            at = match.end()
        self.data = b"".join([*parts, data[at:]])
        self.encoding = ""

    def back(self, edit: Edit) -> Edit:
        """Return the edit of the original bytes that an edit of the decoded ones is."""
        end, start, after = self._mark(edit.start)
        first = start if edit.start < end else after + edit.start - end
        end, start, after = self._mark(edit.end - 1)
        last = after if edit.end - 1 < end else after + edit.end - end
        new = edit.new.decode().encode(self.encoding) if self.encoding else edit.new
        return edit._replace(start=first, end=last, new=new)

    def _mark(self, at: int) -> tuple[int, int, int]:
        return self._marks[bisect_right(self._starts, at) - 1]


_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|\r?\n[ \t]*|[\s\S])"
)
_SHORT = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
_PERCENT = re.compile(rb"%[0-9a-fA-F]{2}")
_FOLDED = rb"\n(?<=[A-Za-z0-9+/_-]{60}\n)[ \t]*(?=[A-Za-z0-9+/=_-])"
_FOLD = re.compile(_FOLDED + rb"|\r\n(?<=[A-Za-z0-9+/_-]{60}\r\n)(?=[A-Za-z0-9+/=_-])")
_FOLD_LF = re.compile(_FOLDED)  # begins with one sign, and is several times as fast for that


def _character(match: re.Match[bytes]) -> bytes:
    escape = match[0][1:]
    if escape[:1] == b"u" and len(escape) > 1:
        units = [int(part, 16) for part in escape.replace(b"\\", b"").split(b"u")[1:]]
        raw = b"".join(unit.to_bytes(2, "big") for unit in units)
        return raw.decode("utf-16-be", "surrogatepass").encode("utf-8", "surrogatepass")
    if escape[:1] == b"x" and len(escape) > 1:
        return chr(int(escape[1:], 16)).encode()
    return b"" if escape.lstrip(b"\r")[:1] == b"\n" else _SHORT.get(escape, escape)


def unescaped(data: bytes) -> View | None:
    """Return a view without the escapes of JSON strings and of YAML's quoted ones (RFC 8259, 7; YAML 1.2, 5.7)."""
    return View(data, _character, _ESCAPE) if b"\\" in data else None


def unquoted(data: bytes) -> View | None:
    """Return a view without percent-encoding (RFC 3986, 2.1)."""
    return View(data, lambda match: binascii.unhexlify(match[0][1:]), _PERCENT) if _PERCENT.search(data) else None


_ENTITY = re.compile(rb"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|quot|apos|amp|lt|gt);")
_WIDE = re.compile(rb"(?:[\t\n\r -~]\0){8,}|(?:\0[\t\n\r -~]){8,}")
_WIDE_UNIT = re.compile(rb"(?s)..")
_WIDE_LITTLE = re.compile(rb"[\t\n\r -~]\0")
_WIDE_BIG = re.compile(rb"\0[\t\n\r -~]")


def unspelled(data: bytes) -> View | None:
    """Return a view without the character references of HTML and XML (HTML Standard, 13.1.4)."""
    if b"&" not in data or not _ENTITY.search(data):
        return None
    return View(data, lambda match: html.unescape(match[0].decode()).encode("utf-8", "replace"), _ENTITY)


def unwidened(data: bytes) -> View | None:
    """Return a view of text in UTF-16 without the zeros; an edit of it is written in UTF-16 again."""
    if b"\0" not in data or not (found := _WIDE.search(data)):
        return None
    encoding = "utf-16-be" if found[0][:1] == b"\0" else "utf-16-le"
    plain = _WIDE_BIG if encoding == "utf-16-be" else _WIDE_LITTLE
    every = plain if found.start() % 2 else _WIDE_UNIT  # in the middle of other bytes: only what is ASCII
    view = View(data, lambda match: match[0].decode(encoding, "replace").encode(), every)
    view.encoding = encoding
    return view


def unfolded(data: bytes) -> View | None:
    """Return a view without the line ends in long base64 (RFC 2045, 6.8; YAML's `!!binary`)."""
    is_folded = _FOLD_LF.search(data) or (b"\r\n" in data and _FOLD.search(data))
    return View(data, lambda _: b"", _FOLD) if is_folded else None
