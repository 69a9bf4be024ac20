"""Chunks of a dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class AddableDict(dict[str, Any]):
    """A chunk of a dict: `+` adds the values of equal keys. Values that do not add up: `TypeError`."""

    def __add__(self, other: Mapping[str, Any]) -> AddableDict:
        """Return the sum, with this dict's keys first."""
        return AddableDict(_sum(self, other))

    def __radd__(self, other: Mapping[str, Any]) -> AddableDict:
        """Return the sum, with the other dict's keys first."""
        return AddableDict(_sum(other, self))


def _sum(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    total = dict(left)
    for key, value in right.items():
        old = total.get(key)
        total[key] = value if old is None else old if value is None else old + value
    return total
