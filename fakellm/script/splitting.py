"""Where a text is cut into chunks: by words, tokens, characters, graphemes, every n, or as told."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from fakellm.errors import MissingExtraError, ScriptError

Split = str | Callable[[str], Iterable[str]] | Iterable[int]
"""A name from `SPLITS`, a function from a text to its pieces, or the positions of the cuts."""

_WORDS = re.compile(r"\s*\S+\s*|\s+")
_TOKENS = re.compile(r" ?\w{1,6}| ?[^\w\s]{1,4}|\s")


def _graphemes(text: str) -> list[str]:
    try:
        import regex
    except ImportError:
        raise MissingExtraError("regex", "graphemes", "splitting by graphemes") from None
    found: list[str] = regex.findall(r"\X", text)
    return found


SPLITS: dict[str, Callable[[str], list[str]]] = {
    "words": _WORDS.findall,
    "characters": list,
    "graphemes": _graphemes,
    "tokens": _TOKENS.findall,
}
"""How a text can be split by name.

`words` keep the white space after them. `characters` are code points. `graphemes` are what a reader
calls characters (Unicode Standard Annex 29, extended grapheme clusters; needs the extra `graphemes`).
`tokens` have the shape of a model's tokens (a space in front, long words in parts) without being those
of any model, so no tokenizer has to be installed.
"""


def split_text(text: str, split: Split | None = None, *, every: int | None = None) -> list[str]:
    """Cut the text into pieces that join to it again; an empty text is one empty piece.

    Exactly one of `split` and `every` (characters in a piece) is given. Positions count code points;
    a position that comes twice gives an empty piece. Raises `ScriptError` for a name that does not exist,
    a position outside the text, and a function whose pieces do not join to the text.
    """
    check_split(split, every)
    if every is not None:
        return [text[at : at + every] for at in range(0, len(text), every)] or [""]
    if isinstance(split, str):
        return SPLITS[split](text) or [""]
    if callable(split):
        return _checked(text, split(text))
    return _at(text, [*split] if split is not None else [])


def check_split(split: object, every: object) -> None:
    """Raise `ScriptError` or `TypeError` for a way to split that does not exist."""
    if (split is None) == (every is None):
        msg = "say how to split: a name, a function or positions, or every=n; not both"
        raise ScriptError(msg)
    if every is not None and (type(every) is not int or every < 1):
        msg = f"every is a number of characters from 1 up, not {every!r}"
        raise ScriptError(msg)
    if isinstance(split, str) and split not in SPLITS:
        msg = f"there is no split {split!r}; there are {', '.join(SPLITS)}, every=n, positions and functions"
        raise ScriptError(msg)
    if split is not None and not callable(split) and not isinstance(split, Iterable):
        hint = f"; for pieces of that size write every={split}" if isinstance(split, int) else ""
        msg = f"a split is a name, a function or positions, not {split!r}{hint}"
        raise TypeError(msg)


def _checked(text: str, made: Iterable[str]) -> list[str]:
    """Return the pieces that a user's function made, if they are the text."""
    if not isinstance(made, Iterable):
        msg = f"the split function returned {made!r}; it returns the pieces of the text, a list of str"
        raise TypeError(msg)
    pieces = list(made)
    if odd := [piece for piece in pieces if not isinstance(piece, str)]:
        msg = f"the split function returned {odd[0]!r} among its pieces; a piece is a str"
        raise TypeError(msg)
    if "".join(pieces) != text:
        msg = f"the pieces of the split function join to {''.join(pieces)!r}, not to the text {text!r}"
        raise ScriptError(msg)
    return pieces or [""]


def _at(text: str, cuts: Sequence[int]) -> list[str]:
    for cut in cuts:
        if type(cut) is not int:
            msg = f"a cut is a position in the text, an int, not {cut!r}"
            raise TypeError(msg)
        if not 0 <= cut <= len(text):
            msg = f"cut {cut} lies outside the text, which has {len(text)} characters"
            raise ScriptError(msg)
    return [text[start:end] for start, end in pairwise([0, *sorted(cuts), len(text)])]
