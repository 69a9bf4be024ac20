"""What happened when, on a virtual clock: a log, the times of each stream, and where two logs part.

Secrets are looked for where the log is worded, not where it is written, since there may be thousands of chunks. So all
of a chunk is kept, but for the middle of a very long one, and shortened where it is shown: half a key would not be
known as one. The chunks of a stream are searched as one text, those that are not shown with them. What a request itself
carries is taken out at once, as it is known there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise, zip_longest
from typing import NamedTuple, TypeVar

from fakellm.errors import clip
from fakellm.secrets.knowing import discreet, pieces
from fakellm.secrets.shapes import PLACEHOLDER

T = TypeVar("T")
_SHOWN = 60
_LONG = 80
_BEGUN = re.compile(r"[\w+/=.~-]*\Z")
_ENDED = re.compile(r"[\w+/=.~-]*")
_SAID = re.compile(r"(?s)(\[\d+\] (?:b?(?=['\"]))?)(['\"]?)(.*)\2")
_KEPT, _KEPT_OF_CHUNK, _SEARCHED = 200_000, 500, 2000


class TwoRunsDifferError(AssertionError):
    """The same code ran twice in virtual time and did not do the same: it depends on more than its inputs."""


class Moment(NamedTuple):
    """One thing that happened: `at` seconds, of a kind (`request`, `chunk`, `timer`, ...), in words."""

    at: float
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.at:>12.3f} s  {self.kind:<8} {self.text}".rstrip()


class StreamTimes:
    """When a stream was asked for, and when each of its chunks came; seconds of the clock."""

    def __init__(self, name: str, asked: float) -> None:
        self.name = name
        self.asked = asked
        self.chunks: list[float] = []

    @property
    def time_to_first_chunk(self) -> float | None:
        """Seconds from the question to the first chunk; None if none came."""
        return round(self.chunks[0] - self.asked, 9) if self.chunks else None

    @property
    def gaps(self) -> list[float]:
        """Seconds between each chunk and the next."""
        return [round(after - before, 9) for before, after in pairwise(self.chunks)]

    def __repr__(self) -> str:
        return f"<StreamTimes {discreet(self.name)} asked={self.asked:g} chunks={self.chunks!r}>"


class Timeline:
    """The log of a clock, and the streams that it timed, in the order in which they were asked for."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.moments: list[Moment] = []
        self.streams: list[StreamTimes] = []

    def note(self, kind: str, text: str = "") -> None:
        """Add what happens now. What runs without end is cut off after many moments."""
        if len(self.moments) < _KEPT:
            self.moments.append(Moment(self._now(), kind, text))

    @property
    def closed(self) -> list[Moment]:
        """What happened, and the second at which it was over."""
        return [*self.moments, Moment(self._now(), "over", "")]

    def stream(self, name: str, secrets: Iterable[str] = ()) -> TimedStream:
        """Begin a stream, which was asked for now; `secrets` are what nobody is to be shown of it."""
        times = StreamTimes(name, self._now())
        self.streams.append(times)
        return TimedStream(self, times, len(self.streams), secrets)

    def report(self) -> str:
        """Word the log, one line a moment; the middle of a long one is left out."""
        half, count = _SHOWN // 2, len(self.moments)
        first, last = _shown(self.moments[:_SEARCHED]), _shown(self.moments[-_SEARCHED:])
        shown = last if count <= _SHOWN else [*first[:half], *last[-half:]]
        lines = [str(moment) for moment in shown]
        if len(shown) < count:
            lines.insert(half, f"      ... {count - _SHOWN} moments more ...")
        return discreet("\n".join(lines)) or "nothing happened on this clock"


def _shown(moments: Sequence[Moment]) -> list[Moment]:
    """Return what happened without what is secret in the texts that the chunks of a stream add up to; chunks short."""
    shown = list(moments)
    streams: dict[str, list[tuple[int, re.Match[str]]]] = {}
    for place, moment in enumerate(moments):
        if moment.kind == "chunk" and (said := _SAID.fullmatch(moment.text)):
            streams.setdefault(said[1], []).append((place, said))
    for found in streams.values():
        for (place, said), new in zip(found, pieces([said[3] for _, said in found]), strict=True):
            text = f"{said[1]}{said[2]}{new}{said[2]}"
            shown[place] = shown[place]._replace(text=_short(text, _LONG))
    return shown


def _short(text: str, length: int) -> str:
    """Return a text, with its middle left out where it is long, and no part of a word beside that."""
    if len(text) <= length:
        return text
    half = (length - 5) // 2
    return f"{_BEGUN.sub('', text[:half])} ... {_ENDED.sub('', text[-half:], count=1)}"


class TimedStream:
    """Notes what one stream does."""

    def __init__(self, timeline: Timeline, times: StreamTimes, number: int, secrets: Iterable[str]) -> None:
        self._timeline = timeline
        self._times = times
        self._number = number
        self._secrets = tuple(secrets)
        self.note("asked", times.name)

    def note(self, kind: str, text: str = "") -> None:
        """Note something about this stream."""
        self._timeline.note(kind, f"[{self._number}] {text}")

    def chunk(self, chunk: object) -> None:
        """Note that its reader takes a chunk."""
        self._times.chunks.append(self._timeline._now())  # noqa: SLF001 - one room
        text = repr(chunk)
        for secret in self._secrets:
            text = text.replace(secret, PLACEHOLDER)
        self.note("chunk", _short(text, _KEPT_OF_CHUNK))

    def end(self, error: BaseException | None = None) -> None:
        """Note that it ended, and how."""
        if error is None:
            self.note("ended")
        elif isinstance(error, GeneratorExit):
            self.note("closed", "by its reader")
        else:
            self.note("failed", f"{type(error).__name__}: {clip(str(error), 80)}".rstrip(": "))

    def each(self, chunks: Iterable[T]) -> Iterator[T]:
        """Yield the chunks, and note each when it is taken."""
        for chunk in chunks:
            self.chunk(chunk)
            yield chunk


_REMEDY = (
    "  to do:     look for what is random or shared there: sets, ids, threads, caches, the machine's time, "
    "the jitter of an SDK's back-off"
)


def compare(first: Sequence[Moment], second: Sequence[Moment]) -> None:
    """Raise `TwoRunsDifferError` at the first moment in which two logs part, with what led there."""
    for place, (one, other) in enumerate(zip_longest(first, second)):
        if one == other:
            continue
        parted = (("first", first, one), ("second", second, other))
        before = "\n".join(f"  both    {moment}" for moment in _shown(first[:place])[-5:])
        lines = [
            f"two runs in virtual time part at moment {place + 1}: the code depends on more than its inputs",
            *([before] if before else []),
            *(
                f"  {name:<7} {_shown([*log[:place], moment])[-1] if moment else 'ended'}"
                for name, log, moment in parted
            ),
            _REMEDY,
        ]
        raise TwoRunsDifferError(discreet("\n".join(lines)))
