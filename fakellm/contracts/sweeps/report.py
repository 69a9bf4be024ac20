"""What a sweep found, as text for people and as JSON for machines: the same for the same archive, whoever swept it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from fakellm.contracts.sweeps import causes
from fakellm.contracts.sweeps.causes import Cause
from fakellm.contracts.sweeps.streams import Place
from fakellm.contracts.sweeps.tally import Example, Group, Tally, Unlooked
from fakellm.errors import BrokenContractError, ContractUsageError

_LABELS = {
    causes.UNEXPECTED: ("expected", "got"),
    causes.REFUSES: ("expected", "got"),
    causes.BELIEVES: ("expected", "got"),
    causes.GRAMMAR: ("expected", "found"),
    causes.CHANCE: ("first", "then"),
    **dict.fromkeys((causes.VERSIONS, causes.RAISES_NOW, causes.RAISED_BEFORE), ("before", "now")),
}
_WIDTH = 13
_ASKED = (causes.BREAKS, causes.GRAMMAR)
"""What is looked for only where a contract is asked for by name."""


class Replay(NamedTuple):
    """What the line that replays a failure says: how the consumers are called in it, and options, as Python."""

    consume: str
    against: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class SweepReport:
    """What a sweep found. `str` renders it as text; `plain` is what JSON can say of it."""

    consumer: str
    against: str
    tally: Tally
    replay: Replay

    @property
    def streams(self) -> int:
        """How many streams the consumer was tried on."""
        return self.tally.streams

    @property
    def failed(self) -> int:
        """On how many of them it failed."""
        return self.tally.failed

    @property
    def unread(self) -> int:
        """How many files and streams were not looked at, though they should have been."""
        return sum(one.count for one in self.tally.broken.values())

    @property
    def causes(self) -> list[str]:
        """Why it failed, each cause in words, that of most streams first."""
        return [str(cause) for cause, _ in self._groups()]

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found, and there was something to find it in."""
        return bool(self.streams) and not self.failed and not self.unread

    def _groups(self) -> list[tuple[Cause, Group]]:
        return sorted(self.tally.groups.items(), key=lambda pair: (-pair[1].count, pair[0]))

    def verify(self) -> None:
        """Raise `BrokenContractError` if something was found, `ContractUsageError` if nothing could be tried at all."""
        __tracebackhide__ = True
        if not self.streams:
            msg = f"there is no stream to try the consumer on, so nothing is proven\n{self}"
            raise ContractUsageError(msg)
        if not self.is_clean:
            first = next((cause.contract for cause, _ in self._groups() if cause.contract), "")
            raise BrokenContractError(str(self), contract=first)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        tally, groups = self.tally, self._groups()
        beside = f" beside {self.against}" if self.against else ""
        how = f", in {_counted(len(groups), 'way')}" if groups else ""
        yield (
            f"{self.consumer}{beside}: {tally.failed:,} of {_counted(tally.streams, 'stream')} failed{how}; "
            f"{_counted(tally.runs, 'run')} on {_counted(tally.files, 'file')}"
        )
        for cause, group in groups:
            yield ""
            yield f"FAILED  {cause}"
            yield from map(_row, *zip(*self._rows(cause, group), strict=True))
        if tally.others:
            yield f"\nand {tally.others:,} failures for causes beyond the first {len(groups)}"
        if tally.broken or tally.left_out:
            yield ""
        for why, one in tally.broken.items():
            yield f"NOT READ  {why}: {_counted(one.count, 'time')}"
            yield from (f"  {place}{f': {detail}' if detail else ''}" for place, detail in one.first)
            if one.count > len(one.first):
                yield f"  and {one.count - len(one.first):,} more"
        for why, count in sorted(tally.left_out.items()):
            yield f"left out: {why}: {_counted(count, 'time')}"

    def _rows(self, cause: Cause, group: Group) -> Iterator[tuple[str, str]]:
        example = group.example
        yield "streams", f"{group.count:,}: {_named(group.first, group.count)}"
        api = f" of {example.api}" if example.api else ""
        yield "smallest", f"{example.place}, {_counted(example.size, 'byte')}{api}"
        if example.chunks:
            yield "chunks", example.chunks
        expected, got = _LABELS.get(cause.what, ("undivided", "divided"))
        if example.expected:
            yield expected, example.expected
        if example.got:
            yield got, example.got
        yield "replay", self._replayed_by(cause, example)

    def _replayed_by(self, cause: Cause, example: Example) -> str:
        said = [repr(example.place.path), self.replay.consume]
        said += [f"against={self.replay.against}"] if self.against else []
        said += [f"contracts={cause.contract!r}"] if cause.what in _ASKED else []
        said += self.replay.options
        said += [f"at={example.place.shown}"] if example.place.word else []
        said += [f"only={example.moves!r}"] if example.moves else []
        return f"sweep({', '.join(said)})"

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can say it."""
        tally = self.tally
        return {
            "consumer": self.consumer,
            "against": self.against or None,
            "streams": tally.streams,
            "failed": tally.failed,
            "files": tally.files,
            "runs": tally.runs,
            "failures": [_failure(cause, group) for cause, group in self._groups()],
            "other_failures": tally.others,
            "not_read": [_unlooked(why, one) for why, one in tally.broken.items()],
            "left_out": dict(sorted(tally.left_out.items())),
        }


def _row(label: str, text: str) -> str:
    first, *more = text.split("\n")
    return "\n".join([f"  {label + ':':<{_WIDTH}}{first}", *(" " * (_WIDTH + 2) + line for line in more)])


def _named(places: list[Place], count: int) -> str:
    more = f" and {count - len(places):,} more" if count > len(places) else ""
    return "; ".join(map(str, places)) + more


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _failure(cause: Cause, group: Group) -> dict[str, Any]:
    example = group.example
    return {
        **cause._asdict(),
        "streams": group.count,
        "first": [str(place) for place in group.first],
        "smallest": {
            "stream": str(example.place), "path": example.place.path,
            "at": example.place.shown if example.place.word else None,
            "api": example.api or None, "bytes": example.size, "moves": example.moves,
            "chunks": example.chunks, "expected": example.expected, "got": example.got,
        },
    }  # fmt: skip


def _unlooked(why: str, one: Unlooked) -> dict[str, Any]:
    return {"why": why, "count": one.count, "first": [{"place": str(p), "detail": d} for p, d in one.first]}
