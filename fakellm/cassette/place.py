"""Where a tape lies, and whether it could be written there: asked before the first request that costs money.

A recording is saved when its test is over. What keeps it from being saved then would cost the same calls once more, so
it is looked for before: a folder that cannot be written to, a tape that is read-only, or somebody else's, or that has
several names. A save puts a new file in the place of the old one, so the other names of a file with several (hard
links) would keep the old tape: nobody is asked to guess which one is meant.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from fakellm.cassette.document import CassetteError
from fakellm.errors import explain
from fakellm.script.disk import what_stands_at

_ELSEWHERE = "record to another path"


def failed(headline: str, remedy: str) -> CassetteError:
    """Return the error for a tape that cannot be read or written."""
    return CassetteError(explain(headline, remedy=[remedy]))


def check_file(path: Path, name: str) -> None:
    """Raise `CassetteError` for a path at which there is anything but a file; a link counts as what it leads to."""
    try:
        what = what_stands_at(path)
    except OSError as error:
        raise failed(f"{name}: the tape cannot be read: {error.strerror}", "name a file that can be read") from error
    if what:
        raise failed(f"{name}: a tape is a file, and what is there is {what}", "name another path")


def check_place(path: Path, name: str) -> None:
    """Raise `CassetteError` where a tape could not be saved."""
    path = Path(os.path.realpath(path))
    check_file(path, name)
    try:
        problem, remedy = _problem_of(path)
    except OSError as error:
        problem, remedy = f"{error.filename}: {error.strerror}", _ELSEWHERE
    if problem:
        raise failed(f"{name}: what is recorded could not be saved: {problem}", remedy)


def _problem_of(path: Path) -> tuple[str, str]:
    """Return why a tape could not be saved, and what to do; nothing if it could."""
    folder = next(parent for parent in path.parents if parent.exists())
    if not folder.is_dir():
        return f"{folder} is a file, not a folder", _ELSEWHERE
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"the folder {folder} cannot be written to", f"see to the folder, or {_ELSEWHERE}"
    return _problem_of_file(path) if path.exists() else ("", "")


def _problem_of_file(path: Path) -> tuple[str, str]:
    found = path.stat()
    if found.st_nlink > 1:
        copy = f"make it a file of its own (a copy of it, moved to its place), or {_ELSEWHERE}"
        return f"the file has {found.st_nlink} names (hard links), and only this one would have the new tape", copy
    if not (found.st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) and os.access(path, os.W_OK)):
        return "the file is read-only", "let it be written to, or record nothing: mode 'none'"
    user = os.geteuid() if hasattr(os, "geteuid") else found.st_uid
    if user not in (found.st_uid, 0):
        return f"the file belongs to another user ({found.st_uid}), and would be ours", f"chown it, or {_ELSEWHERE}"
    return "", ""
