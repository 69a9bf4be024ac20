"""The parts of moves on structured chunks: what a move is, copies of JSON, merges of lanes, counts that grow."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
Chunk = dict[str, Any]

_NESTED = (dict, list)

MERGES = 40
"""How many merges of lanes (parallel tool calls, choices) are tried in a sweep, where there are more."""

_LONG = 60
"""How many pieces of all lanes a merge is about; what comes after them comes in order."""

_WRITTEN = ("completion_tokens", "output_tokens")
_DETAILS = ("completion_tokens_details", "output_tokens_details", "reasoning_tokens")


class Move(NamedTuple):
    """One change to how structured chunks arrive.

    `at` is the chunk that is changed, or the border before which something is inserted, counted in the document as
    it was given: moves do not shift each other. `choice` is the answer it belongs to, `what` the field or the form,
    `place` a position in that field's text.
    """

    at: int
    kind: str
    choice: int = 0
    what: str = ""
    place: int = 0

    def plain(self) -> tuple[Any, ...]:
        """Return the move as a plain tuple, without defaults at its end: short, and to be pasted anywhere."""
        values = list(self)
        while len(values) > 2 and not values[-1]:  # noqa: PLR2004 - the others have no defaults
            values.pop()
        return tuple(values)


def copied(value: Any) -> Any:
    """Return a copy of JSON values that shares no list or dict with it."""
    if isinstance(value, dict):
        return {key: copied(item) if isinstance(item, _NESTED) else item for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) if isinstance(item, _NESTED) else item for item in value]
    return value


def text_of(mapping: Mapping[str, Any], key: str) -> str:
    """Return a text, "" where it is absent, null or something else."""
    value = mapping.get(key)
    return value if isinstance(value, str) else ""


def merges(lanes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield the orders in which the pieces of lanes can come that keep each lane's own order, but not `lanes` itself.

    A lane's first piece comes after the first pieces of the lanes before it, as on every provider: official SDKs
    fail where index 1 opens before index 0. The order that changes lanes most often comes first.
    """
    counts = Counter(lanes)
    first = _round_robin(lanes)
    if first != tuple(lanes):
        yield first
    yield from (found for found in _merges(counts, list(counts)) if found not in (first, tuple(lanes)))


def _round_robin(lanes: Sequence[int]) -> tuple[int, ...]:
    left = Counter(lanes)
    found: list[int] = []
    while left:
        found += left
        left = Counter({lane: count - 1 for lane, count in left.items() if count > 1})
    return tuple(found)


def _merges(left: Mapping[int, int], unopened: list[int]) -> Iterator[tuple[int, ...]]:
    """Yield the merges of so many pieces of each lane; of the lanes that are not open, only the first can come."""
    if not left:
        yield ()
        return
    for lane in reversed(left):
        if lane in unopened[1:]:
            continue
        rest = {other: count - (other == lane) for other, count in left.items() if count > (other == lane)}
        for found in _merges(rest, [other for other in unopened if other != lane]):
            yield (lane, *found)


def patterns(lanes: Sequence[int], limit: int = MERGES) -> list[str]:
    """Return merges of lanes as text, at most so many."""
    most = _LONG // max(len(set(lanes)), 1)
    seen: Counter[int] = Counter()
    short = []
    for lane in lanes:
        seen[lane] += 1
        short += [lane] if seen[lane] <= most else []
    lanes = short
    return [" ".join(map(str, found)) for found in islice(merges(lanes), limit)]


def merged(pattern: str, lanes: Sequence[int], items: Sequence[T]) -> list[T]:
    """Return items in the order of a pattern of their lanes; those that it does not name come last, in order."""
    queues: dict[int, deque[T]] = {}
    for lane, item in zip(lanes, items, strict=True):
        queues.setdefault(lane, deque()).append(item)
    wanted = [int(lane) for lane in pattern.split()]
    found = [queues[lane].popleft() for lane in wanted if queues.get(lane)]
    return [*found, *(item for queue in queues.values() for item in queue)]


def grown(usage: Mapping[str, Any], part: int, whole: int) -> dict[str, Any]:
    """Return what a cumulative usage was when `part` of `whole` of the answer was written."""
    less = {key: value for key, value in usage.items() if key not in _DETAILS}
    for key in _WRITTEN:
        if isinstance(less.get(key), int):
            written = less[key] * part // whole
            if isinstance(less.get("total_tokens"), int):
                less["total_tokens"] += written - less[key]
            less[key] = written
    return less


def positions(text: str, limit: int) -> list[int]:
    """Return where a text can be cut, at most so many: all of them, or those that stand out and some between."""
    every = range(1, len(text))
    if len(every) <= limit:
        return list(every)
    hot = [at for at in every if not (text[at - 1].isalnum() and text[at].isalnum())]
    chosen = {*_spread(hot, limit // 2), *_spread(every, limit - limit // 2)}
    return sorted(chosen)


def _spread(items: Sequence[int], count: int) -> Sequence[int]:
    step = max(-(-len(items) // count), 1) if count else len(items) + 1
    return items[::step]


def unique(items: Iterable[T]) -> list[T]:
    """Return the items without those that came before."""
    return list(dict.fromkeys(items))


def groups(moves: Iterable[T], key: Any) -> dict[Hashable, list[T]]:
    """Return the moves by a key, each group in their order."""
    found: dict[Hashable, list[T]] = {}
    for move in moves:
        found.setdefault(key(move), []).append(move)
    return found
