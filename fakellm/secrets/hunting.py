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
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

from fakellm.secrets.beside import assigned, named
from fakellm.secrets.distinct import distinct
from fakellm.secrets.edits import Edit, apply, merged
from fakellm.secrets.forms import formed
from fakellm.secrets.shapes import PLACEHOLDER
from fakellm.secrets.values import valued
from fakellm.secrets.views import unescaped, unfolded, unquoted, unspelled, unwidened

DEPTH = 3
"""How many encodings may lie over each other: JSON in JSON in base64."""

_HUGE = 2**20


def find(data: bytes, values: Mapping[bytes, str], depth: int = DEPTH, *, is_answer: bool = False) -> list[Edit]:
    """Return what to replace in the bytes, in order and apart; `values` are the known secrets and their kinds.

    In an answer, what a field is called makes no secret of it: a tool is called with a `password`, a page has a
    `cookie`.
    """
    found = [
        *valued(data, values),
        *formed(data),
        *named(data, is_answer=is_answer),
        *assigned(data, is_answer=is_answer),
    ]
    if len(data) > _HUGE and b"\0" in data:  # an image, a sound: it holds no JSON in JSON
        depth = min(depth, 1)
    if depth:
        for decode in (unescaped, unquoted, unspelled, unwidened):
            if (view := decode(data)) is not None:
                found += map(view.back, find(view.data, values, depth - 1, is_answer=is_answer))
        found += _in_base64(data, values, depth - 1)
        if (view := unfolded(data)) is not None:
            found += map(view.back, _in_base64(view.data, values, depth - 1))
    return merged(found)


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


_GZIP = b"H4sI"
_INFLATED = 2**24


class _Spans(dict[bytes, list[tuple[int, int]]]):
    """Where each run is, for the few that hold something: found out when that is asked first."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = data

    def __missing__(self, run: bytes) -> list[tuple[int, int]]:
        for match in _RUN.finditer(self._data):
            self.setdefault(match[0], []).append(match.span())
        return self[run]


class _Said(NamedTuple):
    """A text in a decoded run: the run's number, and the text's place in its bytes."""

    run: int
    start: int
    text: bytes


def _in_base64(data: bytes, values: Mapping[bytes, str], depth: int) -> Iterator[Edit]:
    """Find secrets in whatever could be base64, at each of the four alignments (RFC 4648, 4 and 5)."""
    runs = list(dict.fromkeys(_RUN.findall(distinct(data))))  # which hold no comma; a stream has few, over and over
    spans = _Spans(data)
    for run in runs if _GZIP in data else ():
        if run.startswith(_GZIP) and (edits := find(_inflated(run), values, 0)):
            # All of it goes: nobody could tell where in the compressed bytes the secret was.
            for start, end in spans[run]:
                yield Edit(start, end, PLACEHOLDER.encode(), f"{edits[0].kind}, compressed")
    texts = _SAID if all(map(bytes.isascii, values)) else _SAID_WIDELY
    for offset in range(4) if runs else ():
        said = list(_said([run[offset:] for run in runs], texts))
        if edits := find(_APART.join(text for _, _, text in said), values, depth):
            for index, inner in _by_run(said, edits).items():
                for start, end in spans[runs[index]]:
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


def _inflated(run: bytes) -> bytes:
    """Return what a run that is the base64 of gzip says, of very much the begin."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(_decoded(run), _INFLATED)
    except (zlib.error, ValueError):
        return b""


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
