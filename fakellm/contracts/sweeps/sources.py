"""An archive as parts of work: which files, and of large ones which part; and the streams of such a part.

How it is divided depends on the archive alone, never on who does the work: so what comes of a part is the same
wherever it is done, and once more. Whoever divides it opens a file at most to see of which kind it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from fakellm.cassette.bodies import kind_of, kind_of_chunks
from fakellm.contracts.sweeps import rows
from fakellm.contracts.sweeps.stores import LINKED, File, Options, files_of, on_disk, opened
from fakellm.contracts.sweeps.streams import Found, Place, Recording, Unread
from fakellm.errors import MissingExtraError, clip

LARGE = 2**16
"""Bytes of a part, about; a tape, and a group of rows in Parquet, are not divided."""
_FILES = 32
"""Files of a part at most."""
_HEAD = 2**16
_OTHER = "a file of another kind"
TAPES = (".yaml", ".yml", ".json", ".yaml.gz", ".yml.gz", ".json.gz")
BODIES = (".sse", ".ndjson")


class Part(NamedTuple):
    """A file, or a part of it: from `start` to `end`, in bytes or, of Parquet, a group and the rows before it.

    `stamp` tells a file from what it was before it was written anew.
    """

    kind: str
    path: str
    start: int = 0
    end: int = 0
    is_named: bool = False
    stamp: str = ""


@dataclass(frozen=True)
class Unit:
    """What a worker is given at a time: small files, or a part of a large one."""

    parts: tuple[Part, ...]
    options: Options = ()
    columns: tuple[tuple[str, str], ...] = ()

    @property
    def files(self) -> int:
        """How many files begin in it."""
        return sum(not part.start for part in self.parts)

    @property
    def key(self) -> str:
        """What it is known by."""
        return json.dumps(self.parts)


def units_of(
    paths: Iterable[str],
    options: Options = (),
    columns: Mapping[str, str] | None = None,
    *,
    large: int = LARGE,
    without: str | os.PathLike[str] | None = None,
) -> Iterator[Unit]:
    """Yield an archive part by part, in its order; lines are divided into parts of so many bytes.

    `without` is a file that is none of it, wherever it lies.

    Raises `ContractUsageError` for a path where nothing is.
    """
    named = tuple(sorted((columns or {}).items()))
    small: list[Part] = []
    size = 0
    for file in files_of(paths, options):
        if without is not None and _is(file.path, without):
            continue
        parts = list(_parts(file, options, dict(named), large))
        if len(parts) == 1 and file.size < LARGE:
            small += parts
            size += file.size
            if size < LARGE and len(small) < _FILES:
                continue
            parts = []
        if small:
            yield Unit(tuple(small), options, named)
            small, size = [], 0
        yield from (Unit((part,), options, named) for part in parts)
    if small:
        yield Unit(tuple(small), options, named)


def _is(path: str, other: str | os.PathLike[str]) -> bool:
    """Tell whether a path leads to a file; only of one with the same name the disk is asked."""
    if os.path.basename(path) != os.path.basename(other):  # noqa: PTH119 - of each file of an archive
        return False
    return os.path.realpath(path) == os.path.realpath(other)


def _parts(file: File, options: Options, named: Mapping[str, str], large: int) -> Iterator[Part]:
    """Yield a file part by part; one that cannot be opened is a part, too, and whoever reads it tells why."""
    path, lower = file.path, file.path.lower()
    whole = Part("other", path, 0, file.size, file.is_named, file.stamp)
    if file.size < 0:
        yield Part("link" if file.size == LINKED else "folder", path)
    elif lower.endswith(".parquet"):
        yield from _groups(file, options, named)
    elif lower.endswith(".jsonl"):
        if _is_one_answer(path, options, named):
            yield whole._replace(kind="body")
            return
        for start in range(0, max(file.size, 1), large):
            yield whole._replace(kind="lines", start=start, end=min(start + large, file.size))
    elif lower.endswith(".jsonl.gz"):
        yield whole._replace(kind="gzip")
    elif lower.endswith(TAPES):
        yield whole._replace(kind="tape")
    else:
        yield whole._replace(kind="body") if lower.endswith(BODIES) else whole


def _groups(file: File, options: Options, named: Mapping[str, str]) -> Iterator[Part]:
    before = 0
    try:
        with opened(file.path, options) as source:
            counts = rows.groups_of(source, named)
    except MissingExtraError:
        raise
    except Exception:  # noqa: BLE001 - whoever reads it says what is wrong with it
        counts = [0]
    for group, count in enumerate(counts):
        yield Part("rows", file.path, group, before, file.is_named, file.stamp)
        before += count


def _is_one_answer(path: str, options: Options, named: Mapping[str, str]) -> bool:
    """Tell whether lines of JSON are the chunks of one answer: none of our columns, and chunks of an API."""
    try:
        with opened(path, options) as source:
            first = json.loads(source.readline(_HEAD))
    except (OSError, ValueError, RecursionError):
        return False
    columns = {named.get(column, column) for column in rows.BODIES}
    return isinstance(first, dict) and not columns & first.keys() and bool(kind_of_chunks([first]))


def streams_of(unit: Unit, part: Part) -> Iterator[Found | None]:
    """Yield the streams of a part, and what in it is none; None for an empty line. Nothing that is read raises."""
    try:
        yield from _read(part, unit.options, dict(unit.columns))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a file, the next one is read
        yield Unread(Place(part.path), f"a file that cannot be read\n{_reason(error)}")


def _read(part: Part, options: Options, named: Mapping[str, str]) -> Iterator[Found | None]:
    if part.kind == "folder":
        os.scandir(part.path).close()
    elif part.kind == "link":
        yield Unread(Place(part.path), "a link to a folder, which is not followed", is_wrong=False)
    elif part.kind == "tape":
        from fakellm.contracts.sweeps import tapes  # and vcrpy with it, which imports every client that there is

        with on_disk(part.path, options) as file:
            yield from tapes.of_tape(file, part.path, is_named=part.is_named)
    elif part.kind == "other" and not part.is_named:
        yield Unread(Place(part.path), _OTHER, is_wrong=False)
    else:
        yield from _of_file(part, options, named)


def _of_file(part: Part, options: Options, named: Mapping[str, str]) -> Iterator[Found | None]:
    with opened(part.path, options) as source:
        if part.kind == "body":
            yield _of_body(source.read(), part.path)
        elif part.kind == "other":
            data = source.read()
            yield _of_body(data, part.path) if kind_of(data) else Unread(Place(part.path), _OTHER)
        elif part.kind == "lines":
            lines = rows.lines_in(source, part.start, part.end)
            yield from rows.of_lines(lines, part.path, named, is_start=not part.start)
        elif part.kind == "gzip":
            yield from rows.of_lines(rows.lines_of_gzip(source), part.path, named, is_start=True)
        else:
            yield from _of_parquet(source, part, named)


def _of_body(data: bytes, name: str) -> Found:
    """Return the body of one answer."""
    return Recording(Place(name), (data,)) if data else Unread(Place(name), "an empty file")


def _of_parquet(source: Any, part: Part, named: Mapping[str, str]) -> Iterator[Found]:
    try:
        if part.start or rows.groups_of(source, named):
            yield from rows.of_group(source, part.start, part.end, part.path, named)
    except ValueError as error:  # pyarrow's own are of this kind, too
        why = str(error) if str(error).startswith("a Parquet file without") else f"a file that is no Parquet\n{error}"
        yield Unread(Place(part.path), why)


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return clip(text.partition("\n")[0] or type(error).__name__, 200)
