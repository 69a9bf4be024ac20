"""What one run of tests records, in however many processes: on the tape when the tests that use it have ended.

The theory. A tape is written in one step, and only with what tests recorded that passed. For a tape of one test this is
when that test has passed. One that tests share is written when the last of those that use it in this run has ended: a
run that is interrupted before that, or killed, leaves the old tape byte for byte, and no mixture of two recordings, in
which one's answers do not fit the other's questions. What failed tests have recorded is dropped, and the old recording
of their requests stays. A tape that is begun (mode `once`) comes into being whole, when all of its tests have passed:
a part of it would refuse the rest for ever.

Until then the recordings wait in a folder that the processes of the run share, with a note of who has ended how, one
file a tape. Everybody takes that file's lock, changes it, and puts it back whole; so a worker that is killed takes
nothing of another's with it, and the process that outlives the workers can write what is left.

In that file an interaction is known to be of this run. So workers that load the old tape at the same time, and record
the same request, do not keep both, nor the old one beside them.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, TypeVar

from fakellm.cassette.dialects import read_tape
from fakellm.cassette.document import CassetteError
from fakellm.cassette.files import Files, digest, identity
from fakellm.cassette.format import JSON
from fakellm.cassette.keeping import Entry, Recorded, Same, put_in_place
from fakellm.cassette.locking import lock
from fakellm.cassette.pairs import Pair
from fakellm.script.disk import write_atomically
from fakellm.secrets.knowing import discreet_url

T = TypeVar("T")
Outcome = Literal["passed", "failed", "skipped"]
_PATIENCE = 60
_LONG = 3600
"""Seconds that a process waits for what another one is making."""


@dataclass(frozen=True)
class Ended:
    """A test that used a tape, or would have, and how it ended.

    `users` are the tests of this run that use the tape, `are_all` says whether no other test is known to. One that is
    awaited is noted though it recorded nothing anew, since others may have.
    """

    test: str
    outcome: Outcome
    users: frozenset[str] = frozenset()
    are_all: bool = True
    is_awaited: bool = False


@dataclass
class _State:
    """A tape as it will be, and who has ended how."""

    path: str
    mode: str
    entries: list[Entry] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    base: list[str] = field(default_factory=list)
    played: list[str] = field(default_factory=list)
    done: dict[str, Outcome] = field(default_factory=dict)
    is_saved: bool = False

    @property
    def are_well(self) -> bool:
        """Whether no test that used the tape has failed."""
        return "failed" not in self.done.values()


class Run:
    """A run of tests, known to all of its processes by its folder, which is theirs alone.

    One that is not given a folder makes a temporary one when it needs it, and removes it at the end.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self._folder = Path(folder) if folder is not None else None
        self._is_own = folder is None

    def begun(self, path: Path) -> list[Pair] | None:
        """Return what this run has recorded so far on a tape that it began; None for a tape that it did not begin."""
        if not self.is_recording(path):
            return None
        file = self._file(path)
        with lock(file.with_suffix(".lock"), _PATIENCE, str(path)):
            state = _read(file.read_text(encoding="utf-8"))
        return None if state.entries is None or state.mode != "once" else [entry.pair for entry in state.entries]

    def is_recording(self, path: Path) -> bool:
        """Tell whether this run has noted anything of a tape."""
        return self._folder is not None and self._file(path).exists()

    def end(
        self,
        path: Path,
        mode: str,
        ended: Ended,
        recorded: Recorded | None = None,
        *,
        same: Same | None = None,
        played: Mapping[str, int] | None = None,
        files: Files | None = None,
        at_once: bool = False,
    ) -> None:
        """Note that a test has ended, with what it recorded if that is to be kept; write the tape if it was the last.

        With `at_once` the tape is written in any case. Raises `CassetteError` if it cannot be.
        """
        files = files or Files()
        with self._state(path, mode) as state:
            state.done[ended.test] = ended.outcome
            state.played = [*{*state.played, *(played or ())}]
            if recorded is not None:
                self._put(state, mode, recorded, same or (lambda one, other: digest(one) == digest(other)), files)
            if state.entries is None:
                return
            is_last = ended.users <= state.done.keys() and (state.mode != "once" or state.are_well)
            if is_last or at_once:
                are_all = is_last and ended.are_all and set(state.done.values()) == {"passed"}
                _write(state, files, drop=state.mode == "rewrite" and are_all)

    def once(self, path: Path, make: Callable[[], T]) -> T:
        """Return what was made for a tape: by the first process of the run that wants it, and the others wait for it.

        It is of JSON. Raises what `make` raises; then who comes next tries again.
        """
        file = self._file(path).with_suffix(".made")
        with lock(file.with_suffix(".making"), _LONG, str(path)):
            if not file.exists():
                write_atomically(file, json.dumps(make()))
            made: T = json.loads(file.read_text(encoding="utf-8"))
        return made

    def close(self, *, is_interrupted: bool) -> dict[Path, str]:
        """Write what waits for tests that will not end any more; return the tapes that are left as they were, and why.

        If the run was interrupted nothing is written. A tape that was begun needs all of its tests.
        """
        left: dict[Path, str] = {}
        for file in sorted(self._folder.glob("*.json")) if self._folder is not None else ():
            with self._opened(file, _State("", "")) as state:
                if state.entries is None or state.is_saved:
                    continue
                if is_interrupted:
                    left[Path(state.path)] = "the run was interrupted before all tests that use it had ended"
                elif state.mode == "once":
                    left[Path(state.path)] = "not all tests that use it have passed"
                else:
                    try:
                        _write(state, Files(), drop=False)
                    except CassetteError as error:
                        left[Path(state.path)] = str(error)
        return left

    def remove(self) -> None:
        """Remove the folder if this made it."""
        if self._is_own and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _put(self, state: _State, mode: str, recorded: Recorded, same: Same, files: Files) -> None:
        if state.entries is None:
            there = [] if mode == "once" else _loaded(files, state.path)
            state.entries, state.base = [Entry(pair, is_new=False) for pair in there], list(map(identity, there))
        state.mode = mode if state.mode != "rewrite" else "rewrite"
        state.entries = put_in_place(state.entries, _as_read(recorded.pairs), same)
        state.metadata.update(recorded.metadata)
        state.is_saved = False

    def _file(self, path: Path) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="fakellm-"))
        return self._folder / f"{sha256(str(path.resolve()).encode()).hexdigest()[:16]}.json"

    def _state(self, path: Path, mode: str) -> Any:
        return self._opened(self._file(path), _State(str(path), mode))

    @contextmanager
    def _opened(self, file: Path, fresh: _State) -> Iterator[_State]:
        """Read a state, and put it back changed, while nobody else does."""
        with lock(file.with_suffix(".lock"), _PATIENCE, fresh.path):
            state = _read(file.read_text(encoding="utf-8")) if file.exists() else fresh
            try:
                yield state
            finally:
                write_atomically(file, _text(state))


def _loaded(files: Files, path: str) -> list[Pair]:
    try:
        requests, responses, *_ = files.load_cassette(path)
    except FileNotFoundError:
        return []
    return list(zip(requests, responses, strict=True))


def _write(state: _State, files: Files, *, drop: bool) -> None:
    """Write the tape as it is to be, with what other runs have put on it meanwhile."""
    entries = state.entries or []
    if drop:
        entries = [entry for entry in entries if entry.is_new or digest(entry.pair[0]) in state.played]
    written: list[Pair] = []

    def change(there: list[Pair]) -> list[Pair]:
        written[:] = files.merged([entry.pair for entry in entries], there, state.base)
        return written

    files.change(state.path, change, state.metadata)
    new = {identity(entry.pair) for entry in entries if entry.is_new}
    state.base = list(map(identity, written))
    state.entries = [Entry(pair, is_new=name in new) for pair, name in zip(written, state.base, strict=True)]
    state.is_saved = True


def _as_read(pairs: Sequence[Pair]) -> list[Pair]:
    """Return interactions as a tape gives them back, so that those that are the same are known to be."""
    return _from_text(_to_text(pairs))


def _to_text(pairs: Sequence[Pair]) -> str:
    interactions = [{"request": request._to_dict(), "response": response} for request, response in pairs]  # noqa: SLF001
    return JSON.serialize({"interactions": interactions})


def _from_text(text: str) -> list[Pair]:
    return read_tape(text, "what was recorded.json").pairs


def _text(state: _State) -> str:
    data = vars(state).copy()
    if (entries := data.pop("entries")) is not None:
        data["tape"] = _to_text([entry.pair for entry in entries])
        data["new"] = [entry.is_new for entry in entries]
    return json.dumps(data)


def _read(text: str) -> _State:
    data = json.loads(text)
    entries = None
    if "tape" in data:
        pairs = _from_text(data.pop("tape"))
        entries = [Entry(pair, is_new=is_new) for pair, is_new in zip(pairs, data.pop("new"), strict=True)]
    return _State(entries=entries, **data)


def unasked(path: str | Path, asked: Mapping[str, int]) -> list[str]:
    """Return the interactions of a tape that were not asked for, worded; `asked` is what `Tape.asked` returns.

    Raises `CassetteError` for a tape that cannot be read.
    """
    left = Counter(asked)
    found: list[str] = []
    for at, (request, _) in enumerate(_loaded(Files(), str(path))):
        left[digest(request)] -= 1
        if left[digest(request)] < 0:
            found.append(f"interaction {at}, {request.method} {discreet_url(request.uri)}")
    return found
