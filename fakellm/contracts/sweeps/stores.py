"""Where archives lie: files of this machine, and what fsspec opens, such as `s3://bucket/day-1/*.parquet`."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from fakellm.errors import ContractUsageError, MissingExtraError
from fakellm.script.disk import what_stands_at

_BUFFER = 2**18

Options = tuple[tuple[str, Any], ...]
"""Options of a store, as fsspec takes them: what a worker needs to open it as well."""


class File(NamedTuple):
    """A file of an archive. `is_named` tells whether it was asked for itself, not a folder or a pattern.

    What has the size -1 is a folder that cannot be read.
    """

    path: str
    size: int
    is_named: bool = False


def is_remote(path: str) -> bool:
    """Tell whether fsspec opens it."""
    return "://" in path


def options_of(options: Mapping[str, Any] | None) -> Options:
    """Return options of a store as a value."""
    return tuple(sorted((options or {}).items()))


def _opened(scheme: str, options: Options) -> Any:
    try:
        fsspec: Any = import_module("fsspec")
    except ImportError as error:
        raise MissingExtraError("fsspec", "sweep", f"an archive at {scheme}://") from error
    try:
        return fsspec.filesystem(scheme, **dict(options))
    except (ImportError, ValueError) as error:
        msg = f"fsspec cannot open {scheme}://: {error}"
        raise ContractUsageError(msg) from error


def files_of(paths: Iterable[str], options: Options = ()) -> Iterator[File]:
    """Yield the files at paths, patterns and URLs, one after the other; of folders in the order of the alphabet.

    Raises `ContractUsageError` for a path where nothing is, and for a pattern that nothing matches.
    """
    for path in paths:
        yield from _at_url(path, options) if is_remote(path) else _at_path(path)


def check_there(paths: Iterable[str], options: Options = ()) -> None:
    """Raise `ContractUsageError` for a path where nothing is."""
    for path in paths:
        if is_remote(path):
            if next(_at_url(path, options), None) is None:
                raise _nothing(path)
        elif not Path(path).exists() and next(glob.iglob(path, recursive=True), None) is None:  # noqa: PTH207
            raise _nothing(path)


def _nothing(path: str) -> ContractUsageError:
    return ContractUsageError(f"there is no file, no folder and nothing that matches {path}")


def _at_path(path: str) -> Iterator[File]:
    here = Path(path)
    if here.is_dir():
        yield from _inside(path)
    elif here.exists():
        yield File(path, here.stat().st_size, is_named=True)
    else:
        for found in sorted(glob.iglob(path, recursive=True)):  # noqa: PTH207 - `**`, and names as they were written
            if not Path(found).is_dir():
                yield File(found, os.stat(found).st_size)  # noqa: PTH116


def _inside(folder: str) -> Iterator[File]:
    """Yield the files of a folder, and of those in it, without what is hidden; a folder that cannot be read is one."""
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError:
        yield File(folder, -1)
        return
    for entry in entries:
        if entry.is_dir():
            if not entry.is_symlink():
                yield from _inside(entry.path)
            continue
        try:
            yield File(entry.path, entry.stat().st_size)
        except OSError:  # a link that leads nowhere, a file that is gone: whoever reads it says so
            yield File(entry.path, 0)


def _at_url(url: str, options: Options) -> Iterator[File]:
    scheme, _, rest = url.partition("://")
    system = _opened(scheme, options)
    inner = system._strip_protocol(url)  # noqa: SLF001 - what fsspec has for it
    if glob.has_magic(rest):
        found = system.glob(inner, detail=True)
    elif system.isdir(inner):
        found = system.find(inner, detail=True)
    elif system.exists(inner):
        yield File(url, system.size(inner) or 0, is_named=True)
        return
    else:
        raise _nothing(url)
    for name in sorted(found):
        if found[name].get("type") == "file" and not Path(name).name.startswith("."):
            yield File(system.unstrip_protocol(name), found[name].get("size") or 0)


def opened(path: str, options: Options = ()) -> AbstractContextManager[BinaryIO]:
    """Open a file to read. Raises `OSError`."""
    if is_remote(path):
        scheme = path.partition("://")[0]
        system = _opened(scheme, options)
        file = system.open(system._strip_protocol(path), "rb")  # noqa: SLF001
        return BufferedReader(file, _BUFFER)  # the files of most stores can read no line of at most so many bytes
    if what := what_stands_at(Path(path)):
        raise OSError(f"what is there is {what}, not a file")
    return Path(path).open("rb")


@contextmanager
def on_disk(path: str, options: Options = ()) -> Iterator[Path]:
    """Give a file as one of this machine: a copy of what lies elsewhere, for as long as the block."""
    if not is_remote(path):
        yield Path(path)
        return
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, Path(path).name)
        with opened(path, options) as source:
            copy.write_bytes(source.read())
        yield copy
