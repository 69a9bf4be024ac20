"""Loaded dice: the numbers that the module `random` gives to an app whose waits are random in part.

The theory. A wait is a rule and a draw: 0.5 s times 2, less up to a quarter. Of a few runs with free dice nobody can
say whether a wait that is longer is so by the rule or by the draw. So each run has dice that always fall the same, low
in one run and high in another, and what differs between two waits of one run is the rule. Runs that differ in their
dice alone show the draw: clients that fall on the same second whatever the dice say have none.

`random` has no way to say what comes next, but its state can be set, and a state of the Mersenne Twister is its next
624 words, each scrambled in a way that can be undone (Matsumoto and Nishimura 1998, "tempering"). So the words that are
wanted are unscrambled and set: the first ones are loaded, those after them are as good as any, for a loop that draws
until it likes a number has to end.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

LOW, HIGH = 0.0, 0.97
"""What dice say that fall low, and high: the lowest is none at all for waits that are random from 0 up."""
_WORDS, _LOADED = 624, 64


@contextmanager
def put_back() -> Iterator[None]:
    """Leave the dice as they were, at the end of the block."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def load(value: float) -> None:
    """Let the next numbers of `random.random()` be this one, from 0 up to, and without, 1."""
    random.setstate(_state(value))


def evenly(clients: int) -> list[float]:
    """Return what the dice of so many clients say, if they fall evenly."""
    return [round((client + 0.5) / clients, 4) for client in range(clients)]


@cache
def _state(value: float) -> Any:
    free = random.Random(0)  # noqa: S311 - no secret
    words = [_untempered(int(value * 2**32))] * _LOADED
    words += [free.getrandbits(32) for _ in range(_WORDS - _LOADED)]
    return 3, (*words, 0), None


def _untempered(word: int) -> int:
    """Return the word of the state that is given out as this one."""
    word ^= word >> 18
    word ^= word << 15 & 0xEFC60000
    found = word
    for _ in range(5):
        found = word ^ (found << 7 & 0x9D2C5680)
    word = found
    for _ in range(3):
        found = word ^ found >> 11
    return found
