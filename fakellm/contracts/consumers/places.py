"""What lies at each place of a text where it could be cut: a tag, a character's bytes, the begin of a stop sequence.

The name of a place is that of the contract which a consumer breaks that fails for a cut there and for nothing less.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

RANKS = ("utf8_split", "grapheme", "stop_sequence", "tags", "partial_json", "whitespace_tail", "text")
"""The names of places, the most telling first. `text` is a place where nothing is special."""
TELLING = frozenset(RANKS[:4])
"""The names of places that a text has few of, and where cuts hurt most."""

_TAG = re.compile(r"<[/|!]?\w[^<>]*>?")
_HOT = frozenset("<>/|\"'`*\\{}[]()#:,.\r\n\t ")
_MARKUP = frozenset("<>|`*{}[]()#\\")
_ENDS = 3
_CONTINUATIONS = range(0x80, 0xC0)
_JOINER = "\u200d"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_FLAG_LETTERS = range(0x1F1E6, 0x1F200)


class Places(NamedTuple):
    """The name of each place, from before the first unit to after the last, and the places where cuts hurt most."""

    names: tuple[str, ...]
    hot: list[int]


@lru_cache(maxsize=16)
def survey(whole: str | bytes, stop: tuple[str, ...] = ()) -> Places:
    """Return what lies at the places of a text."""
    names = places_of(whole, stop)
    return Places(names, _hot_places(whole, names))


def places_of(whole: str | bytes, stop: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the name of each place from before the first unit of the text to after its last."""
    if isinstance(whole, str):
        return tuple(_text_places(whole, stop))
    try:
        text = whole.decode()
    except UnicodeDecodeError:
        return tuple(_text_places(whole.decode("latin-1"), stop))
    names = iter(_text_places(text, stop))
    return (*("utf8_split" if byte in _CONTINUATIONS else next(names) for byte in whole), next(names))


def _text_places(text: str, stop: tuple[str, ...]) -> list[str]:
    """Return the names of a text's places, where each is that of the highest rank."""
    is_json = _is_json(text)
    names = ["partial_json" if is_json else "text"] * (len(text) + 1)
    marks = (
        ("whitespace_tail", () if is_json else _spaces_and_ends(text)),
        ("tags", (place for tag in _TAG.finditer(text) for place in range(tag.start() + 1, tag.end()))),
        ("stop_sequence", (place for word in stop for place in _beginnings(text, word))),
        ("grapheme", _inside_graphemes(text)),
    )
    for name, found in marks:
        for place in found:
            names[place] = name
    return names


def _is_json(text: str) -> bool:
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _spaces_and_ends(text: str) -> Iterator[int]:
    """Yield the places beside white space, and the last ones, where the last chunk is short; not inside markup."""
    spaces = [at for at, character in enumerate(text) if character.isspace()]
    yield from spaces
    yield from (at + 1 for at in spaces)
    for place in range(max(len(text) - _ENDS, 0), len(text) + 1):
        if not _MARKUP.intersection(text[max(place - 1, 0) : place + 1]):
            yield place


def _beginnings(text: str, stop: str) -> Iterator[int]:
    """Yield the places up to which the text could be the begin of the stop sequence, also where it turns out not."""
    for length in range(1, len(stop)):
        at = text.find(stop[:length])
        while at >= 0:
            yield at + length
            at = text.find(stop[:length], at + 1)


def has_tag(text: str) -> bool:
    """Tell whether there is a tag in a text, or what begins like one."""
    return _TAG.search(text) is not None


def _inside_graphemes(text: str) -> Iterator[int]:
    if not text.isascii():
        yield from (place for place in range(1, len(text)) if is_inside_grapheme(text, place))


def is_inside_grapheme(text: str, place: int) -> bool:
    """Tell whether a reader sees one character across this place: a combining mark, a joined emoji, a flag.

    After Unicode Standard Annex 29, as far as the standard library knows the properties.
    """
    before, after = text[place - 1], text[place]
    if _JOINER in (before, after) or is_mark(after):
        return True
    return ord(before) in _FLAG_LETTERS and ord(after) in _FLAG_LETTERS


def is_mark(character: str) -> bool:
    """Tell whether the character changes the one before it: a combining mark, a variation selector, a skin tone."""
    return unicodedata.category(character) in ("Mn", "Mc", "Me") or ord(character) in _SKIN_TONES


def _hot_places(whole: str | bytes, names: tuple[str, ...]) -> list[int]:
    """Return the places where cuts hurt most: beside markup, quotes, escapes, line ends, and inside characters."""
    units = whole if isinstance(whole, str) else whole.decode("latin-1")
    return [
        place
        for place in range(1, len(units))
        if names[place] in TELLING or units[place - 1] in _HOT or units[place] in _HOT
    ]
