"""Where in the text of a JSON document something stands: places, lines, and what Python refuses to read."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import TypeAlias

Place: TypeAlias = tuple[str | int, ...]

_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def json_places(text: str) -> Iterator[tuple[Place, int]]:
    """Yield each place of a JSON document, and where its key, or the value of a list, begins."""
    path: list[str | int] = []
    is_key = False
    for token in _JSON_TOKEN.finditer(text):
        mark = token[0]
        if path and isinstance(path[-1], int) and is_key and mark != "]":
            yield tuple(path), token.start()
            is_key = False
        if mark == "{":
            path.append("")
            is_key = True
        elif mark == "[":
            path.append(0)
            is_key = True
        elif mark in "}]":
            path.pop()
            is_key = False
        elif mark == ",":
            last = path[-1]
            path[-1] = last + 1 if isinstance(last, int) else ""
            is_key = True
        elif is_key:
            path[-1] = json.loads(mark)
            yield tuple(path), token.start()
            is_key = False


def json_line(text: str, place: Place) -> int:
    """Return the line of the deepest part of a place that a JSON document has."""
    starts = dict(json_places(text))
    deepest = next((starts[place[:depth]] for depth in range(len(place), 0, -1) if place[:depth] in starts), 0)
    return text.count("\n", 0, deepest) + 1


def unreadable(text: str) -> tuple[str, int]:
    """Return what keeps Python from reading a document whose syntax is right, and its line.

    That is a key that comes twice, of which one would be lost, or a number of more digits than Python takes.
    """
    longest = sys.get_int_max_str_digits()
    for token in _JSON_TOKEN.finditer(text):
        digits = token[0].removeprefix("-")
        if longest and len(digits) > longest and digits.isdecimal():
            return f"a number of {len(digits)} digits is too long", text.count("\n", 0, token.start()) + 1
    seen: set[Place] = set()
    try:
        for place, start in json_places(text):
            if place in seen:
                return f"the key {place[-1]!r} comes twice", text.count("\n", 0, start) + 1
            seen.add(place)
    except (ValueError, IndexError):  # what comes after the place is no JSON either
        pass
    return "it cannot be read", 1
