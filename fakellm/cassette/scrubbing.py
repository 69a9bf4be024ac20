"""Takes the secrets out of tapes that exist, as they would not have been written today.

Which bytes are a secret depends on more than a tape: a key that one request carries is known in the answers of all
others, of other tapes too. So all tapes are read and learned from before the first is looked through, and all are
looked through before the first is written: a tape that cannot be read leaves every file as it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from vcr.persisters.filesystem import CassetteNotFoundError

from fakellm.cassette.files import Files
from fakellm.cassette.held import body_of
from fakellm.cassette.pairs import Pair
from fakellm.cassette.place import check_file, check_place
from fakellm.cassette.redaction import Redactor

_METADATA = "the metadata"


@dataclass(frozen=True, slots=True)
class Replaced:
    """Secrets of a kind in a tape: which interaction (None is none), what part of it, how many. It holds none."""

    tape: str
    interaction: int | None
    kind: str
    where: str
    count: int

    def __str__(self) -> str:
        place = self.tape if self.interaction is None else f"{self.tape}, interaction {self.interaction}"
        times = f" ({self.count} times)" if self.count > 1 else ""
        return f"{place}: {self.kind} in {self.where}{times}"


class _Tape(NamedTuple):
    path: Path
    pairs: list[Pair]
    metadata: dict[str, Any]


def scrub(
    paths: Iterable[str | Path],
    redactor: Redactor | None = None,
    *,
    dry_run: bool = False,
    seen: Callable[[Path], object] = lambda path: None,  # noqa: ARG005
) -> list[Replaced]:
    """Replace the secrets in tapes, each written whole or not at all; with `dry_run` only tell them.

    A tape without any stays as it is, byte for byte. `seen` is told each tape that was looked through. Raises
    `CassetteError` for a tape that is broken, of another tool, or cannot be written, and `OSError` for no file.
    """
    redactor = redactor or Redactor()
    tapes = [_read(Path(path), dry_run=dry_run) for path in paths]
    for tape in tapes:
        for request, _ in tape.pairs:
            redactor.learn(request)
    found: list[Replaced] = []
    changed: list[_Tape] = []
    for tape in tapes:
        of_tape = [*_in_pairs(tape, redactor), *_in_metadata(tape, redactor)]
        found += of_tape
        changed += [tape] if of_tape else []
        seen(tape.path)
    for tape in [] if dry_run else changed:
        _write(tape, redactor)
    return found


def _read(path: Path, *, dry_run: bool) -> _Tape:
    if not path.exists():
        raise FileNotFoundError(2, "there is no such tape", str(path))
    check_file(path, str(path))
    if not dry_run:
        check_place(path, str(path))
    files = Files()
    files.check(path)
    try:
        requests, responses, *more = files.load_cassette(path)
    except CassetteNotFoundError:  # an empty file
        return _Tape(path, [], {})
    return _Tape(path, list(zip(requests, responses, strict=True)), dict(more[0]) if more else {})


def _in_pairs(tape: _Tape, redactor: Redactor) -> list[Replaced]:
    found: list[Replaced] = []
    for at, pair in enumerate(tape.pairs):
        before = Counter(redactor.counts)
        redacted = redactor.interaction(*pair)
        if _is_same(pair, redacted):
            continue
        counts = {name: count for name, count in (redactor.counts - before).items() if count}
        found += [Replaced(str(tape.path), at, kind, where, count) for (kind, where), count in counts.items()]
    return found


def _is_same(pair: Pair, redacted: Pair) -> bool:
    (old, answer), (new, stored) = pair, redacted
    return (old.uri, dict(old.headers), body_of(old), answer) == (new.uri, dict(new.headers), body_of(new), stored)


def _in_metadata(tape: _Tape, redactor: Redactor) -> Sequence[Replaced]:
    is_same = redacted_data(tape.metadata, redactor) == tape.metadata
    return () if is_same else (Replaced(str(tape.path), None, "secret", _METADATA, 1),)


def redacted_data(value: Any, redactor: Redactor) -> Any:
    """Return data without the secrets in its texts."""
    if isinstance(value, str):
        return redactor.text(value)
    if isinstance(value, dict):
        return {name: redacted_data(inner, redactor) for name, inner in value.items()}
    return [redacted_data(inner, redactor) for inner in value] if isinstance(value, list) else value


def _write(tape: _Tape, redactor: Redactor) -> None:
    """Write a tape, with what others may have recorded on it meanwhile."""

    def without_secrets(there: list[Pair]) -> list[Pair]:
        return [redactor.interaction(*pair) for pair in there]

    Files(name=str(tape.path)).change(tape.path, without_secrets, redacted_data(tape.metadata, redactor))
