"""What was recorded, from the end of its test until it is on the tape: where it goes there, and when.

A tape that is recorded anew (`all`, `rewrite`) gets what was recorded in the place of what it had of the same
requests, so that a diff shows what changed. What a run of tests recorded before counts as well, once: of each request
there are as many as the test that sent it most often recorded, and they are that test's, all of them, since its later
requests may depend on the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vcr.request import Request

from fakellm.cassette.files import Files
from fakellm.cassette.pairs import Pair

Same = Callable[[Request, Request], bool]
"""Tells whether a request is the one that was recorded."""


@dataclass(frozen=True)
class Entry:
    """An interaction of a tape, and whether this run recorded it."""

    pair: Pair
    is_new: bool


@dataclass(frozen=True)
class Recorded:
    """What a test recorded, redacted."""

    pairs: Sequence[Pair]
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Held:
    """vcrpy's persister of one open tape: loads it from its file, and holds what vcrpy would save.

    `staged` is what the run recorded so far on a tape that has no file yet.
    """

    def __init__(self, files: Files, staged: Sequence[Pair] | None = None) -> None:
        self._files = files
        self._staged = staged
        self.loaded: Sequence[Request] = ()
        self.recorded: Recorded | None = None

    def load_cassette(self, cassette_path: str | Path, serializer: object = None) -> tuple[Any, ...]:
        """Return requests and responses, and metadata if the tape has any."""
        if self._staged is not None:
            loaded: Any = [request for request, _ in self._staged], [response for _, response in self._staged]
        else:
            loaded = self._files.load_cassette(cassette_path, serializer)
        self.loaded = tuple(loaded[0])
        return loaded  # type: ignore[no-any-return]

    def save_cassette(
        self,
        cassette_path: str | Path,  # noqa: ARG002
        cassette_dict: Mapping[str, Any],
        serializer: object = None,  # noqa: ARG002
    ) -> None:
        """Take what there is to save."""
        pairs = list(zip(cassette_dict["requests"], cassette_dict["responses"], strict=True))
        self.recorded = Recorded(pairs, cassette_dict.get("metadata") or {})


def put_in_place(there: Sequence[Entry], pairs: Sequence[Pair], same: Same) -> list[Entry]:
    """Return a tape with what was recorded anew in the place of what it had of the same requests."""
    groups = _grouped(pairs, same)
    placed: list[list[Entry]] = [[] for _ in range(len(there) + 1)]
    replaced: set[int] = set()
    places_of: list[list[int] | None] = []
    for group in groups:
        places = [at for at, entry in enumerate(there) if same(group[0][0], entry.pair[0])]
        known = sum(there[at].is_new for at in places)
        is_more = len(group) > known
        places_of.append(places if is_more else None)
        replaced.update(places if is_more else ())
    for pair in pairs:
        found = places_of[next(i for i, group in enumerate(groups) if any(pair is other for other in group))]
        if found is not None:
            free = [at for at in found if not placed[at]]
            placed[free[0] if free else found[-1] if found else -1].append(Entry(pair, is_new=True))
    for at, entry in enumerate(there):
        if at not in replaced:
            placed[at].append(entry)
    return [entry for entries in placed for entry in entries]


def _grouped(pairs: Sequence[Pair], same: Same) -> list[list[Pair]]:
    """Return interactions by their requests, in the order in which these came first."""
    groups: list[list[Pair]] = []
    for pair in pairs:
        for group in groups:
            if same(pair[0], group[0][0]):
                group.append(pair)
                break
        else:
            groups.append([pair])
    return groups


def record_anew(files: Files, path: Path, recorded: Recorded, same: Same, *, drop: bool) -> None:
    """Write what was recorded anew; with `drop` the tape keeps nothing else."""
    files.change(path, lambda there: made_anew(there, recorded.pairs, same, drop=drop), recorded.metadata)


def made_anew(there: Sequence[Pair], pairs: Sequence[Pair], same: Same, *, drop: bool) -> list[Pair]:
    """Return a tape with what was recorded anew; with `drop` it keeps nothing else."""
    entries = put_in_place([Entry(pair, is_new=False) for pair in there], pairs, same)
    return [entry.pair for entry in entries if entry.is_new or not (drop and pairs)]
