"""What was found, added up: exact counts, and of each cause the smallest example and the first streams.

A tally is what a part of an archive came to, and the same is what all of it came to: parts are added in the order of
the archive, whichever is ready first, so the sum is the same however it was spread. It holds words and numbers alone,
which JSON can say, and so many of them at most: memory does not grow with the archive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fakellm.contracts.consumers.verdict import around_first_difference
from fakellm.contracts.sweeps.causes import Cause
from fakellm.contracts.sweeps.streams import Place, Unread
from fakellm.contracts.sweeps.trying import Failure
from fakellm.errors import clip, discreet

MOST = 200
"""Causes that are told apart; of more it is only counted in how many streams they are."""
NAMED = 5
"""Streams that are named of each cause, and of each reason why something was not read."""
_TEXT, _ERROR = 500, 300


@dataclass(frozen=True)
class Example:
    """The stream that shows a cause best, and the moves for which it does."""

    place: Place
    api: str
    size: int
    moves: tuple[Any, ...]
    chunks: str
    expected: str
    got: str

    @classmethod
    def of(cls, failure: Failure) -> Example:
        """Word a failure; nothing of it is secret."""
        document, recording = failure.document, failure.recording
        expected, got = around_first_difference(failure.expected, failure.got)
        shown = document.shown(failure.moves) if document is not None and failure.moves else ""
        api = recording.codec.api if recording.codec is not None else recording.api
        return cls(
            recording.place, api, len(recording.body), failure.moves,
            discreet(shown), clip(discreet(expected), _TEXT), clip(discreet(got), _TEXT),
        )  # fmt: skip


@dataclass
class Group:
    """The streams that fail for one cause: how many, the first of them, and the best example."""

    count: int
    first: list[Place]
    best: Failure | Example
    rank: tuple[int, int]

    @property
    def example(self) -> Example:
        """The best example, in words."""
        if isinstance(self.best, Failure):
            self.best = Example.of(self.best)
        return self.best


@dataclass
class Unlooked:
    """What was not looked at for one reason: how many, and the first of them, each with what is special about it."""

    count: int = 0
    first: list[tuple[Place, str]] = field(default_factory=list)

    def add(self, place: Place, detail: str = "", count: int = 1) -> None:
        """Add one."""
        self.count += count
        if len(self.first) < NAMED:
            self.first.append((place, detail))


@dataclass
class Tally:
    """What was found in a part of an archive, or in all of it."""

    files: int = 0
    streams: int = 0
    failed: int = 0
    runs: int = 0
    lines: int = 0
    groups: dict[Cause, Group] = field(default_factory=dict)
    others: int = 0
    broken: dict[str, Unlooked] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    def tried(self, failures: list[Failure], runs: int) -> None:
        """Add a stream that was tried."""
        self.streams += 1
        self.runs += runs
        self.failed += bool(failures)
        for failure in failures:
            self._add(failure.cause, Group(1, [failure.recording.place], failure, failure.rank))

    def unread(self, one: Unread) -> None:
        """Add what was not looked at."""
        kind, _, detail = one.why.partition("\n")
        if one.is_wrong:
            self.broken.setdefault(kind, Unlooked()).add(one.place, detail)
        else:
            self.left_out[kind] = self.left_out.get(kind, 0) + 1

    def _add(self, cause: Cause, group: Group) -> None:
        mine = self.groups.get(cause)
        if mine is None:
            if len(self.groups) < MOST:
                self.groups[cause] = group
            else:
                self.others += group.count
            return
        mine.count += group.count
        mine.first += group.first[: NAMED - len(mine.first)]
        if group.rank < mine.rank:
            mine.best, mine.rank = group.best, group.rank

    def add(self, other: Tally, lines_before: int = 0) -> None:
        """Add what a later part of the archive came to; so many lines of its file are before that part."""
        for cause, group in other.groups.items():
            moved = [place.moved(lines_before) for place in group.first]
            best = _moved(group.example, lines_before)
            self._add(cause, Group(group.count, moved, best, group.rank))
        for why, unlooked in other.broken.items():
            mine = self.broken.setdefault(why, Unlooked())
            mine.count += unlooked.count
            named = [(place.moved(lines_before), detail) for place, detail in unlooked.first]
            mine.first += named[: NAMED - len(mine.first)]
        for why, count in other.left_out.items():
            self.left_out[why] = self.left_out.get(why, 0) + count
        for name in ("files", "streams", "failed", "runs", "lines", "others"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    # -- as JSON ------------------------------------------------------------------------------------------

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can say it."""
        counts = {name: getattr(self, name) for name in ("files", "streams", "failed", "runs", "lines", "others")}
        groups = [
            [[*cause], group.count, [[*place] for place in group.first], _plain(group.example), [*group.rank]]
            for cause, group in self.groups.items()
        ]
        broken = {
            why: [one.count, [[[*place], detail] for place, detail in one.first]] for why, one in self.broken.items()
        }
        return {**counts, "groups": groups, "broken": broken, "left_out": self.left_out}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Tally:
        """Return what `plain` said."""
        found = cls(**{name: plain[name] for name in ("files", "streams", "failed", "runs", "lines", "others")})
        for cause, count, first, example, rank in plain["groups"]:
            best = Example(Place(*example.pop("place")), moves=_tuples(example.pop("moves")), **example)
            found.groups[Cause(*cause)] = Group(count, [Place(*place) for place in first], best, tuple(rank))
        for why, (count, named) in plain["broken"].items():
            found.broken[why] = Unlooked(count, [(Place(*place), detail) for place, detail in named])
        found.left_out = dict(plain["left_out"])
        return found


def _moved(example: Example, lines: int) -> Example:
    return Example(**{**vars(example), "place": example.place.moved(lines)}) if lines else example


def _plain(example: Example) -> dict[str, Any]:
    return {**vars(example), "place": [*example.place]}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value
