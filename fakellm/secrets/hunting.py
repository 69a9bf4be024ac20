"""Finding secrets in bytes, however they are written: plain, JSON-escaped, percent-encoded, as base64, or nested.

`find` returns edits: which bytes to replace by what, and why. It looks at the bytes themselves and at views
of them; a view is a decoding that knows where each of its bytes came from. An edit never leaves the string,
the number or the escape that it is in, so that what was JSON stays JSON and what was base64 stays base64.

Why edits, not decoding and writing anew. To parse a body, change it and serialise it would replace the provider's
bytes by ours: white space, the order of keys, the way that characters are escaped, all of which a client's parser may
stumble over, and which a tape is there to keep. An edit changes the secret and nothing beside it.

Why views. A secret is written in as many ways as there are encodings around it: with escapes in JSON, with `%2B` in a
URL, as JSON in JSON, as the base64 of a header. To look for each spelling of each secret would miss combinations, so
the bytes are decoded, and decoded again, and each find is taken back the way it came, wide enough to hold the escapes
that it touches whole. Half an escape would be a broken string. Base64 is decoded at all four alignments, since where
a run of its characters begins is not where the secret's own text does, and only the groups of four that a secret
touches are written anew.

Why numbers are left alone: digits replaced by a word are no JSON any more, and a timestamp that has the digits of a
phone number is none.
"""

from __future__ import annotations

import binascii
import re
import string
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import accumulate, pairwise
from typing import NamedTuple

from fakellm.secrets.forms import forms
from fakellm.secrets.names import FIELDS, LOOSE_PARAMETERS, PARAMETERS
from fakellm.secrets.shapes import PLACEHOLDER, has_shape, is_random

DEPTH = 3
"""How many encodings may lie over each other: JSON in JSON in base64."""

_HUGE = 2**20
_MARK = PLACEHOLDER.encode()


class Edit(NamedTuple):
    """Bytes `start` to `end` are a secret of a kind, and become `new`."""

    start: int
    end: int
    new: bytes
    kind: str


def find(data: bytes, values: Mapping[bytes, str], depth: int = DEPTH) -> list[Edit]:
    """Return what to replace in the bytes, in order and apart; `values` are the known secrets and their kinds."""
    found = [*_values(data, values), *_forms(data), *named(data), *_assigned(data)]
    if len(data) > _HUGE and b"\0" in data:  # an image, a sound: it holds no JSON in JSON
        depth = min(depth, 1)
    if depth:
        for decode in (unescaped, unquoted):
            if (view := decode(data)) is not None:
                found += map(view.back, find(view.data, values, depth - 1))
        found += _in_base64(data, values, depth - 1)
        if (view := unfolded(data)) is not None:
            found += map(view.back, _in_base64(view.data, values, depth - 1))
    return merged(found)


def merged(edits: Iterable[Edit]) -> list[Edit]:
    """Return edits that are in order and do not overlap: the wider one stands for those inside of it."""
    result: list[Edit] = []
    for edit in sorted(edits, key=lambda edit: (edit.start, -edit.end)):
        if not result or edit.start >= result[-1].end:
            result.append(edit)
        elif edit.end > result[-1].end:
            result[-1] = result[-1]._replace(end=edit.end)
    return result


def apply(data: bytes, edits: Sequence[Edit]) -> bytes:
    """Return the bytes with the edits made."""
    parts: list[bytes] = []
    at = 0
    for edit in edits:
        parts += [data[at : edit.start], edit.new]
        at = edit.end
    return b"".join([*parts, data[at:]])


# A chunk's end that lies inside of a secret moves to the end of what replaces it; so the word stands whole in the
# chunk where the secret began, and a chunk that was nothing but a part of it becomes empty. There are as many sizes
# as before, since each has a silence that came before its chunk.


def resized(sizes: Sequence[int], edits: Sequence[Edit]) -> list[int]:
    """Return the sizes of the chunks after the edits: what replaces a secret is in the chunk where that began."""
    if not edits:
        return list(sizes)
    shifts = [0]
    for edit in edits:
        shifts.append(shifts[-1] + len(edit.new) - (edit.end - edit.start))
    starts = [edit.start for edit in edits]
    ends, at = [0], 0
    for size in sizes:
        at += size
        index = bisect_right(starts, at - 1)  # the edits that begin before this end of a chunk
        inside = index and at < edits[index - 1].end
        ends.append((edits[index - 1].end if inside else at) + shifts[index])
    return [after - before for before, after in pairwise(ends)]


# ---- In the bytes as they are ---------------------------------------------------------------------------------------


_NUMBER = re.compile(rb"[-+\d.eE]+")
_LONG, _SHORT_END, _LONG_END = 20, 8, 16


def _values(data: bytes, values: Mapping[bytes, str]) -> Iterator[Edit]:
    """Find the known secrets, and what the end of the bytes cut off of one."""
    for value, kind in values.items():
        is_number = _NUMBER.fullmatch(value)
        at = data.find(value)
        while at >= 0:
            if not (is_number and _is_in_number(data, at, at + len(value))):
                yield Edit(at, at + len(value), _MARK, kind)
            at = data.find(value, at + len(value))
        for length in range(len(value) - 1, (_LONG_END if len(value) >= _LONG else _SHORT_END) - 1, -1):
            if data.endswith(value[:length]) and not is_number:
                yield Edit(len(data) - length, len(data), _MARK, kind)
                break


def _is_in_number(data: bytes, start: int, end: int) -> bool:
    """Tell whether digits are a number of JSON or a part of one: redaction leaves numbers alone."""
    before, after = data[max(start - 40, 0) : start], data[end : end + 40]
    return bool(
        re.search(rb"[\d.]$|(?:^|[:,\[])\s*[-+\d.eE]*$", before)
        and re.match(rb"[\d.]|[-+\d.eE]*\s*(?:[,}\]]|$)", after)
    )


def _forms(data: bytes) -> Iterator[Edit]:
    """Find what has the form of a key."""
    for form in forms():
        at = data.find(form.literal)
        while at >= 0:
            match = form.regex.match(data, max(at - form.back, 0))
            if match and _is_new(match[1]) and (form.accepts is None or form.accepts(_text(match[1]))):
                yield Edit(*match.span(1), _MARK, form.kind)
            at = data.find(form.literal, max(match.end(1) if match else 0, at + 1))


@cache
def _namings() -> tuple[tuple[str, re.Pattern[bytes], bool], ...]:
    """Return (kind, regex with name and value as groups, whether the value always needs the shape of a secret).

    They are for bytes in lower case: without a flag that ignores case, the expressions need half the time.
    """
    fields, parameters = "|".join(FIELDS), "|".join(PARAMETERS)
    return (
        ("field", re.compile(rf'"({fields})"\s*:\s*(?:\[\s*)?"((?:[^"\\]|\\.)+)"'.encode()), False),
        ("field", re.compile(rf"'({fields})'\s*:\s*'([^'\\\s]+)'".encode()), True),
        ("field", re.compile(rb'"(token|secret|auth)"\s*:\s*"([\w.~+/=:-]{16,})"'), True),
        ("parameter", re.compile(rf"(?:^|[?&;#])({parameters})=([^&;#\s\"'<>\\]+)".encode()), False),
        (
            "form field",
            re.compile(rf'name="({fields}|{parameters})"[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]+)'.encode()),
            False,
        ),
    )


_ASSIGNED = re.compile(rb"[=:][=>]?[ \t]{0,3}[\"'`]?([\w.~+/-]{16,}={0,2})(?![\w(\[.])")
_VARIABLE = re.compile(
    rb"(?i)((?:secret|passw(?:or)?d|credential|(?:api|access|auth)[_-]?key|(?:access|auth)[_-]?token)[\w-]{0,20})"
    rb"[\"'`]?[ \t]{0,3}$"
)


def _assigned(data: bytes) -> Iterator[Edit]:
    """Find what is given to a variable whose name says that it is secret: a shell script, a file of settings."""
    for match in _ASSIGNED.finditer(data):
        name = _VARIABLE.search(data[max(match.start() - 50, 0) : match.start()])
        if name and is_random(_text(match[1])) and _is_new(match[1]):
            yield Edit(*match.span(1), _MARK, "assignment")


def named(data: bytes) -> Iterator[Edit]:
    """Find what stands beside a name that says that it is secret, in the bytes as they are."""
    lower = data.lower()
    for kind, regex, asks in _namings():
        for match in regex.finditer(lower):
            start, end = match.span(2)
            name, value = _text(match[1]), _text(data[start:end])
            strict = not asks and not (kind == "parameter" and name in LOOSE_PARAMETERS)
            if (_is_safe(value) if strict else has_shape(value)) and _is_new(data[start:end]):
                yield Edit(start, end, _MARK, f"{kind} {name}")


def _is_safe(value: str) -> bool:
    """Tell that a value is none of the bytes between two strings, as a view without escapes can show them."""
    return value.lstrip()[:1] not in {"", ",", "}", "]", ":"}


def _is_new(value: bytes) -> bool:
    return _MARK not in value


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


# ---- Views ----------------------------------------------------------------------------------------------------------


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

    def back(self, edit: Edit) -> Edit:
        """Return the edit of the original bytes that an edit of the decoded ones is."""
        end, start, after = self._mark(edit.start)
        first = start if edit.start < end else after + edit.start - end
        end, start, after = self._mark(edit.end - 1)
        last = after if edit.end - 1 < end else after + edit.end - end
        return edit._replace(start=first, end=last)

    def _mark(self, at: int) -> tuple[int, int, int]:
        return self._marks[bisect_right(self._starts, at) - 1]


_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|\r?\n[ \t]*|[\s\S])"
)
_SHORT = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
_PERCENT = re.compile(rb"%[0-9a-fA-F]{2}")
_FOLD = re.compile(
    rb"\n(?<=[A-Za-z0-9+/_-]{60}\n)[ \t]*(?=[A-Za-z0-9+/=_-])|\r\n(?<=[A-Za-z0-9+/_-]{60}\r\n)(?=[A-Za-z0-9+/=_-])"
)


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


def unfolded(data: bytes) -> View | None:
    """Return a view without the line ends in long base64 (RFC 2045, 6.8; YAML's `!!binary`)."""
    return View(data, lambda _: b"", _FOLD) if _FOLD.search(data) else None


# ---- Base64 ---------------------------------------------------------------------------------------------------------

# A body is full of runs that could be base64: every name of more than ten letters is one. To decode each by itself,
# four times, would take most of a check's time. So all are decoded in one call, between bounds that are no text.

_RUN = re.compile(rb"[A-Za-z0-9+/_-]{11,}")
_STANDARD = bytes.maketrans(b"-_", b"+/")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_SAID_LEAST = 8
_SAID = re.compile(rb"x{8,}")
_SAID_WIDELY = re.compile(rb"(?:x|[\xc2-\xf4][\x80-\xbf]{1,3}){8,}")  # slow
_LETTERS = string.printable.rstrip("\v\f").encode()
_AS_X = bytes.maketrans(_LETTERS, b"x" * len(_LETTERS))
"""Makes every letter of a text the same one: a run of one letter is found several times as fast as a run of many."""
_BOUND = b"////"  # three bytes 0xFF, of which no text is made
_FILLED = tuple(b"/" * (-left % 4) + _BOUND for left in range(4))
_APART = b"\n\0\n"


class _Said(NamedTuple):
    """A text in a decoded run: the run's number, and the text's place in its bytes."""

    run: int
    start: int
    text: bytes


def _in_base64(data: bytes, values: Mapping[bytes, str], depth: int) -> Iterator[Edit]:
    """Find secrets in whatever could be base64, at each of the four alignments (RFC 4648, 4 and 5)."""
    spans = [match.span() for match in _RUN.finditer(data)]
    runs = [data[start:end] for start, end in spans]
    texts = _SAID if all(map(bytes.isascii, values)) else _SAID_WIDELY
    for offset in range(4) if runs else ():
        said = list(_said([run[offset:] for run in runs], texts))
        if edits := find(_APART.join(text for _, _, text in said), values, depth):
            for index, inner in _by_run(said, edits).items():
                start, end = spans[index]
                yield _reencoded(data, start + offset, end, _decoded(data[start + offset : end]), inner)


def _said(runs: list[bytes], texts: re.Pattern[bytes]) -> Iterator[_Said]:
    """Yield the texts in the decoded runs."""
    filled = b"".join([run + _FILLED[len(run) % 4] for run in runs])
    decoded = binascii.a2b_base64(filled.translate(_STANDARD))
    starts: list[int] = []
    for match in texts.finditer(decoded.translate(_AS_X)):
        starts = starts or list(accumulate([(len(run) + 3) // 4 * 3 + 3 for run in runs], initial=0))
        index = bisect_right(starts, match.start()) - 1
        start = match.start() - starts[index]
        end = starts[index] + len(runs[index]) * 3 // 4  # what fills the last group is none of it
        text = decoded[match.start() : min(match.end(), end)]
        if len(text) >= _SAID_LEAST:
            yield _Said(index, start, text)


def _decoded(run: bytes) -> bytes:
    whole = run[:-1] if len(run) % 4 == 1 else run
    return binascii.a2b_base64(whole.translate(_STANDARD) + b"=" * (-len(whole) % 4))


def _by_run(said: list[_Said], edits: list[Edit]) -> dict[int, list[Edit]]:
    """Return the edits of the joined texts as edits of the decoded runs that the texts are from."""
    starts = list(accumulate((len(text) + len(_APART) for _, _, text in said), initial=0))
    grouped: dict[int, list[Edit]] = {}
    for edit in edits:
        at = bisect_right(starts, edit.start) - 1
        index, start, text = said[at]
        shift = start - starts[at]
        if edit.end + shift <= start + len(text):
            grouped.setdefault(index, []).append(edit._replace(start=edit.start + shift, end=edit.end + shift))
    return grouped


def _reencoded(data: bytes, start: int, end: int, decoded: bytes, edits: list[Edit]) -> Edit:
    """Return the edit of an encoded run: from the first group of four that a secret touches to the last."""
    first, last = edits[0].start // 3, -(-edits[-1].end // 3)
    until = min(start + 4 * last, end)
    plain = apply(decoded[: 3 * last], edits)[3 * first :]
    plain += b"_" * (-len(plain) % 3)
    new = binascii.b2a_base64(plain, newline=False)
    if re.search(rb"[-_]", data[start:end]):
        new = new.translate(_URL_SAFE)
    while until == end and data[end : end + 1] == b"=":
        until = end = end + 1
    return Edit(start + 4 * first, until, new, f"{edits[0].kind} in base64")
