"""JSON that is nested so deep that Python gives it up, and almost so deep: where one step can and the next cannot."""

from __future__ import annotations

import json


def nested(depth, begin="[", end="]"):
    """Return a number inside so many brackets."""
    return f"{begin * depth}1{end * depth}"


def depths(begin="[", end="]"):
    """Return depths to try: some, and each around the deepest that Python can read from here, and that it can write."""
    edges = [_deepest(json.loads, begin, end), _deepest(lambda text: json.dumps(json.loads(text)), begin, end)]
    around = (depth for edge in edges for depth in range(edge - 30, edge + 2))
    return sorted({*range(300, 900, 100), *around, 100_000})


def _deepest(does, begin, end):
    can, cannot = 1, 100_000
    while cannot - can > 1:
        depth = (can + cannot) // 2
        try:
            does(nested(depth, begin, end))
        except RecursionError:
            cannot = depth
        else:
            can = depth
    return can
