"""Tapes that a command names: files, and those of folders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from fakellm.cli.wording import UsageError

SUFFIXES = (".yaml", ".yml", ".json", ".yaml.gz", ".yml.gz", ".json.gz")


def tapes_in(paths: Iterable[str]) -> list[Path]:
    """Return the tapes, in the order of the alphabet of each folder. Raises `UsageError` where there are none."""
    found = dict.fromkeys(tape for path in paths for tape in _tapes_at(Path(path)))
    return list(found)


def _tapes_at(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    if not path.exists():
        msg = f"there is no tape and no folder {path}\n  to do:     record one: fakellm record --into {path} -- CMD"
        raise UsageError(msg)
    inside = [
        file
        for file in sorted(path.rglob("*"))
        if file.name.endswith(SUFFIXES)
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    ]
    if not inside:
        msg = f"there is no tape in {path}; tapes are files that end with {', '.join(SUFFIXES)}"
        raise UsageError(msg)
    yield from inside
