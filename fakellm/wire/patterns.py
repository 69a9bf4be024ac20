"""Texts that a regular expression matches, the short ones first.

What the expression says is read by Python's own parser. Each piece of it is written in the shortest way that it allows;
what must come later in the text (`(?=.*[0-9])`) is laid over the begin. Whether that does it is seen by matching it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice, product
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_CHARACTERS = "".join(dict.fromkeys("abcA0_ -.@/" + "".join(map(chr, range(33, 127)))))
"""What a character is tried as, in this order."""
_LONGEST = 4096
_TURNS = 5
"""How many more repeats, and how many characters in the place of one, are tried."""
_CATEGORIES: dict[Any, Callable[[str], bool]] = {
    op.CATEGORY_DIGIT: str.isdigit,
    op.CATEGORY_NOT_DIGIT: lambda c: not c.isdigit(),
    op.CATEGORY_SPACE: str.isspace,
    op.CATEGORY_NOT_SPACE: lambda c: not c.isspace(),
    op.CATEGORY_WORD: lambda c: c.isalnum() or c == "_",
    op.CATEGORY_NOT_WORD: lambda c: not (c.isalnum() or c == "_"),
}


@cache
def compiled(pattern: str) -> re.Pattern[str] | None:
    """Return the pattern of a JSON schema, which is ECMA 262's; None for what Python has no form for."""
    try:
        return re.compile(re.sub(r"\(\?<(?=[A-Za-z])", "(?P<", pattern))
    except (re.error, RecursionError, OverflowError):
        return None


def texts(pattern: str, shortest: int = 0) -> Iterator[str]:
    """Yield texts of at least so many characters in which a pattern is found, if there are such that are simple."""
    found = compiled(pattern)
    if found is None:
        return
    tokens = parser.parse(found.pattern)
    seen = set()
    longer = range(_TURNS, min(shortest, _LONGEST) + 1)
    for more, turn in (*product(range(_TURNS), range(_TURNS)), *product(longer, (0,))):
        writer = _Writer(more, turn)
        text = writer.text(tokens)
        over = "".join(writer.ahead)
        for laid in (text, over + text[len(over) :], text + "a" * (shortest - len(text))):
            if len(laid) >= shortest and laid not in seen and found.search(laid):
                seen.add(laid)
                yield laid


class _Writer:
    """Writes what an expression matches, with `more` repeats than it needs, and with other characters each turn."""

    def __init__(self, more: int, turn: int) -> None:
        self._more = more
        self._turn = turn
        self._groups: dict[int, str] = {}
        self.ahead: list[str] = []

    def text(self, tokens: Any) -> str:
        return "".join(self._piece(*token) for token in tokens)

    def _piece(self, kind: Any, value: Any) -> str:  # noqa: PLR0911 - one for each kind of piece
        if kind is op.LITERAL:
            return chr(value)
        if kind in (op.NOT_LITERAL, op.ANY, op.IN):
            return _character(kind, value, self._turn)
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            least, most, tokens = value
            times: int = min(least + self._more, most, _LONGEST)
            return self.text(tokens) * times
        if kind is op.SUBPATTERN:
            text = self.text(value[3])
            if value[0] is not None:
                self._groups[value[0]] = text
            return text
        if kind is op.ATOMIC_GROUP:
            return self.text(value)
        if kind is op.BRANCH:
            return min((self.text(branch) for branch in value[1]), key=len)
        if kind is op.GROUPREF:
            return self._groups.get(value, "")
        if kind is op.ASSERT and value[0] > 0:
            self.ahead.append(_Writer(0, 0).text(value[1]))
        return ""


def _character(kind: Any, value: Any, turn: int) -> str:
    if kind is op.ANY:
        return _CHARACTERS[turn]
    items = [(op.NEGATE, None), (op.LITERAL, value)] if kind is op.NOT_LITERAL else value
    if fitting := list(islice((character for character in _CHARACTERS if _fits(character, items)), turn + 1)):
        return fitting[-1]
    first = next((number if isinstance(number, int) else number[0] for what, number in items if number is not None), 0)
    return chr(first) if isinstance(first, int) else ""


def _fits(character: str, items: Any) -> bool:
    code, negated, fits = ord(character), False, False
    for what, value in items:
        if what is op.NEGATE:
            negated = True
        elif what is op.LITERAL:
            fits |= value == code
        elif what is op.RANGE:
            fits |= value[0] <= code <= value[1]
        elif what is op.CATEGORY:
            fits |= _CATEGORIES[value](character)
    return fits is not negated
