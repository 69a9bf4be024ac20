"""What differs between two recordings of the same conversation, aligned event by event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any, Literal

from fakellm.cassette.matching import MATCH_ON, differences, key_of
from fakellm.cli.recorded import Recorded
from fakellm.script.written import written

Mark = Literal["=", "-", "+", "~"]
"""The same in both; only in the first; only in the second; another in the same place."""
_VOLATILE = frozenset(
    ("date", "content-length", "x-request-id", "request-id", "cf-ray", "set-cookie", "server-timing", "age", "via")
)
"""Headers that are another in each answer, and say nothing of the API."""


@dataclass(frozen=True, slots=True)
class Row:
    """An event of either recording, or of both, with the seconds at which it came."""

    mark: Mark
    one: str = ""
    other: str = ""
    one_at: float | None = None
    other_at: float | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """Two interactions beside each other; one of them is None where the other recording has no such."""

    one: Recorded | None
    other: Recorded | None
    heads: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def is_same(self) -> bool:
        """Whether nothing differs but times."""
        return not self.heads and all(row.mark == "=" for row in self.rows)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can say it."""
        return {
            "one": None if self.one is None else self.one.number,
            "other": None if self.other is None else self.other.number,
            "same": self.is_same,
            "differences": [*self.heads],
            "events": [
                {"mark": row.mark, "one": row.one, "other": row.other, "one_at": row.one_at, "other_at": row.other_at}
                for row in self.rows
            ],
        }


def compared(ones: Sequence[Recorded], others: Sequence[Recorded]) -> list[Difference]:
    """Return the differences of two recordings, interaction by interaction.

    Those of the same request belong together, in their order; what is left of both, by its place.
    """
    return [_difference(one, other) for one, other in _paired(ones, others)]


def _paired(ones: Sequence[Recorded], others: Sequence[Recorded]) -> Iterator[tuple[Recorded | None, Recorded | None]]:
    left = list(others)
    partners: list[Recorded | None] = []
    for one in ones:
        found = next((other for other in left if _key(other) == _key(one)), None)
        partners.append(found)
        if found is not None:
            left.remove(found)
    for one, partner in zip(ones, partners, strict=True):
        yield one, partner if partner is not None else left.pop(0) if left else None
    yield from ((None, other) for other in left)


def _key(recorded: Recorded) -> object:
    return None if recorded.asked is None else key_of(MATCH_ON)(recorded.asked.stored)


def _difference(one: Recorded | None, other: Recorded | None) -> Difference:
    if one is None or other is None:
        return Difference(one, other, ("there is no such interaction in the other",), ())
    return Difference(one, other, tuple(_heads(one, other)), tuple(_rows(_events(one), _events(other))))


def _heads(one: Recorded, other: Recorded) -> Iterator[str]:
    """Word what differs beside the events: request, status, headers, the end, usage."""
    if one.asked is not None and other.asked is not None:
        for text in differences(one.asked.stored, other.asked.stored):
            yield f"request {text}".replace("recorded ", "first ").replace(" / sent ", " / second ")
    facts = [
        ("status", one.status, other.status),
        ("end", one.end, other.end),
        ("error", one.error, other.error),
        ("finish reason", one.script.finish_reason, other.script.finish_reason),
        ("usage", _used(one), _used(other)),
        ("content type", _header(one, "content-type"), _header(other, "content-type")),
    ]
    for name, first, second in facts:
        if first != second:
            yield f"{name}: first {_said(first)} / second {_said(second)}"
    for which, here, there in (("first", one, other), ("second", other, one)):
        if names := sorted({*map(str.lower, here.headers)} - {*map(str.lower, there.headers)} - _VOLATILE):
            yield f"headers that only the {which} has: {', '.join(names)}"


def _said(value: object) -> object:
    return "nothing" if value is None else value


def _used(recorded: Recorded) -> str | None:
    usage = recorded.script.usage
    return None if usage is None else f"{usage.input_tokens} in, {usage.output_tokens} out"


def _header(recorded: Recorded, name: str) -> str | None:
    return next((value for key, value in recorded.headers.items() if key.lower() == name), None)


def _events(recorded: Recorded) -> list[tuple[str, float | None]]:
    """Return the events, as one would write them, with their times; of what says none, the chunks as they are."""
    found = [(text, chunk.at) for chunk in recorded.chunks for text in written(chunk.events)]
    return found or [(chunk.text, chunk.at) for chunk in recorded.chunks]


def _rows(ones: Sequence[tuple[str, float | None]], others: Sequence[tuple[str, float | None]]) -> Iterator[Row]:
    matcher = SequenceMatcher(None, [text for text, _ in ones], [text for text, _ in others], autojunk=False)
    for _, start, end, other_start, other_end in matcher.get_opcodes():
        for one, other in zip_longest(ones[start:end], others[other_start:other_end]):
            if one is None:
                yield Row("+", other=other[0], other_at=other[1])
            elif other is None:
                yield Row("-", one=one[0], one_at=one[1])
            else:
                yield Row("=" if one[0] == other[0] else "~", one[0], other[0], one[1], other[1])
