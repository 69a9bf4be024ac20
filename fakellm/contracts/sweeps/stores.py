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
_STAMPS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")

Options = tuple[tuple[str, Any], ...]
"""Options of a store, as fsspec takes them: what a worker needs to open it as well."""


UNREADABLE, LINKED = -1, -2
"""Instead of sizes: of a folder that cannot be read, and of a link to a folder, which is not followed."""


class File(NamedTuple):
    """A file of an archive, or what `UNREADABLE` and `LINKED` are the sizes of.

    `is_named` tells whether it was asked for itself, not a folder or a pattern; `stamp` is another once it was written
    anew, where its store tells.
    """

    path: str
    size: int
    is_named: bool = False
    stamp: str = ""


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
        yield _on_disk(path, here.stat(), is_named=True)
    else:
        for found in sorted(glob.iglob(path, recursive=True)):  # noqa: PTH207 - `**`, and names as they were written
            yield from _matched(found, is_deep="**" in path)


def _matched(path: str, *, is_deep: bool) -> Iterator[File]:
    """Yield what a pattern matches; what is in a folder, too, unless `**` has matched that by itself."""
    if os.path.isdir(path):  # noqa: PTH112 - it never raises
        if not is_deep:
            yield from _inside(path)
        return
    try:
        yield _on_disk(path, os.stat(path))  # noqa: PTH116
    except OSError:  # a link that leads nowhere, a file that is gone: whoever reads it says so
        yield File(path, 0)


def _on_disk(path: str, status: os.stat_result, *, is_named: bool = False) -> File:
    return File(path, status.st_size, is_named, str(status.st_mtime_ns))


def _inside(folder: str) -> Iterator[File]:
    """Yield the files of a folder, and of those in it, without what is hidden; a folder that is not read is one."""
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError:
        yield File(folder, UNREADABLE)
        return
    for entry in entries:
        try:
            if not entry.is_dir():
                yield _on_disk(entry.path, entry.stat())
                continue
            is_link = entry.is_symlink()
        except OSError:  # a link that leads nowhere or to itself, a file that is gone: whoever reads it says so
            yield File(entry.path, 0)
            continue
        if is_link:
            yield File(entry.path, LINKED)
        else:
            yield from _inside(entry.path)


def _at_url(url: str, options: Options) -> Iterator[File]:
    scheme, _, rest = url.partition("://")
    system = _opened(scheme, options)
    inner = system._strip_protocol(url)  # noqa: SLF001 - what fsspec has for it
    if glob.has_magic(rest):
        found = system.glob(inner, detail=True)
        folders = [name for name in found if found[name].get("type") == "directory" and "**" not in rest]
        for folder in folders:
            found |= system.find(folder, detail=True)
    elif system.isdir(inner):
        found = system.find(inner, detail=True)
    elif system.exists(inner):
        about = system.info(inner)
        yield File(url, about.get("size") or 0, is_named=True, stamp=_stamp(about))
        return
    else:
        raise _nothing(url)
    for name in sorted(found):
        if found[name].get("type") == "file" and not Path(name).name.startswith("."):
            yield File(system.unstrip_protocol(name), found[name].get("size") or 0, stamp=_stamp(found[name]))


def _stamp(about: Mapping[str, Any]) -> str:
    """Return what a store says of a file that is another once it was written anew."""
    return next((str(about[name]) for name in _STAMPS if about.get(name)), "")


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
