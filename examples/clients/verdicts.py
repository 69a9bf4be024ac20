"""What a client made of a cell, in a word or two: what it saw beside what it saw of the plain answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cells import Cell

Seen = Mapping[str, Any]
"""A line that ask.py or ask.mjs printed."""


def verdict(cell: Cell, plain: Seen, seen: Seen) -> str:
    """Return the verdict on one cell."""
    if seen["error"] == "hangs":
        return "hangs"
    if seen["error"] is not None:
        return f"raises {seen['error'][0]}"
    if cell.kind == "broken":
        return _of_broken(seen)
    if seen["handed"]:
        return "hands on an error"
    return _compared(cell, plain, seen)


def _of_broken(seen: Seen) -> str:
    if seen["handed"]:
        return "hands on"
    return "whole" if seen["finish"] is None else f"whole, {seen['finish']}"


def _compared(cell: Cell, plain: Seen, seen: Seen) -> str:
    """Return what is lost, extra or other than in the plain answer."""
    lost: list[str] = []
    other: list[str] = []
    extra: list[str] = []
    text = expected_text(cell)
    if seen["text"] != text:
        is_lost, is_extra = _is_part(seen["text"], text), _is_part(text, seen["text"])
        (lost if is_lost else extra if is_extra else other).append("text")
    for name, word in (("calls", "call"), ("finish", "finish"), ("usage", "usage")):
        if name in cell.differs or seen[name] == plain[name]:
            continue
        (lost if not seen[name] or None in seen[name] else other).append(word)
    if not (lost or other or extra) and cell.kind == "form" and seen["chunks"] != plain["chunks"]:
        (lost if seen["chunks"] < plain["chunks"] else extra).append("chunk")
    told = (("loses", lost), ("other", other), ("extra", extra))
    return "; ".join(f"{word} {', '.join(names)}" for word, names in told if names) or "same"


def expected_text(cell: Cell) -> str:
    """Return the text of a cell as the asking process prints it."""
    text = cell.text
    return text if len(text) <= 200 else f"{text[:40]} and {len(text) - 40} more"


def _is_part(part: str, whole: str) -> bool:
    letters = iter(whole)
    return all(letter in letters for letter in part)
