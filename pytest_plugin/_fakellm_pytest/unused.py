"""Which tapes, and which interactions of a tape, no test uses: only what is known is said.

That nobody asked for an interaction is known when every test that could have asked has passed in this run; that no test
names a tape, when every test file beside its folder was looked at, whatever tests were selected. A file that was not,
because the run was of another one, or because it could not be imported, may use anything.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

_SUFFIXES = (".yaml", ".yml", ".json")
_SHOWN = 3


def collected(session: pytest.Session, items: list[pytest.Item], files: list[str]) -> dict[str, Any]:
    """Return what the process that prints has to know of the tests: who names which tape, from which folder.

    `vcr` are folders whose tapes are those of other tools too.
    """
    from _fakellm_pytest.cassettes import tape_of

    users: dict[str, list[str]] = {}
    folders: dict[str, list[str]] = {}
    vcr: set[str] = set()
    for item in dict.fromkeys([*session.items, *items]):
        if (found := tape_of(item)) is not None:
            name = os.path.realpath(found[0])
            users.setdefault(name, []).append(item.nodeid)
            folders.setdefault(name, []).append(os.path.realpath(item.path.parent))
        if item.get_closest_marker("vcr") or "vcr" in getattr(item, "fixturenames", ()):
            vcr.add(os.path.realpath(item.path.parent))
    return {"users": users, "folders": folders, "vcr": [*vcr], "files": files}


def lines(used: list[dict[str, Any]], known: dict[str, Any], config: pytest.Config) -> Iterator[str]:
    """Word what was not used, by what tests told of their tapes."""
    if not known:
        return
    whole: dict[str, bool] = {}

    def are_whole(folders: list[str]) -> bool:
        for folder in folders:
            if folder not in whole:
                whole[folder] = is_whole(folder, known["files"], config)
        return all(whole[folder] for folder in folders)

    for path in dict.fromkeys(use["path"] for use in used):
        uses = [use for use in used if use["path"] == path]
        left = _left(path, uses) if _have_passed(uses, known["users"].get(path)) else ""
        if left and are_whole(known["folders"][path]):
            yield left
    for folder in dict.fromkeys(folder for those in known["folders"].values() for folder in those):
        if folder not in known["vcr"] and (tapes := _named_by_none(folder, known["users"])) and are_whole([folder]):
            yield from (f"{shown(tape)}: no test uses it" for tape in tapes)


def write(name: str, used: list[dict[str, Any]], known: dict[str, Any], config: pytest.Config) -> str:
    """Write what tests used of which tapes, for `fakellm check --usage`; return why it cannot be, if so.

    Paths begin in pytest's root.
    """
    known = {"users": {}, "folders": {}, "vcr": [], "files": [], **known}
    root = os.path.realpath(config.rootpath)

    def inside(path: str) -> str:
        return Path(path).relative_to(root).as_posix() if Path(path).is_relative_to(root) else path

    tapes: dict[str, dict[str, Any]] = {}
    for path in sorted({*known["users"], *(use["path"] for use in used)}):
        uses = [use for use in used if use["path"] == path]
        asked: Counter[str] = Counter()
        for use in uses:
            asked |= Counter(use["asked"])
        users = {*known["users"].get(path, ()), *(use["test"] for use in uses)}
        ended = {use["test"]: use["outcome"] for use in uses}
        tapes[inside(path)] = {"users": sorted(users), "ended": ended, "asked": dict(asked)}
    asked_for = (Path(config.invocation_params.dir, arg) for arg in config.args)
    folders = {root, *(os.path.realpath(path) for path in asked_for if path.is_dir())}
    folders |= {*(folder for those in known["folders"].values() for folder in those)}
    whole = sorted(inside(folder) for folder in folders if is_whole(folder, known["files"], config))
    vcr = sorted(map(inside, known["vcr"]))
    document = {"fakellm_usage": 1, "tapes": tapes, "whole": whole, "vcr": vcr}
    try:
        Path(name).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        return f"--llm-usage: {name} cannot be written: {error.strerror}"
    return ""


def shown(path: str | Path) -> str:
    """Return a path as one would type it."""
    here = os.path.realpath(Path.cwd())
    return os.path.relpath(path, here) if Path(path).is_relative_to(here) else str(path)


def is_whole(folder: str, files: list[str], config: pytest.Config) -> bool:
    """Tell whether all test files of a folder, and of those in it, are among those that were looked at."""
    known = {os.path.realpath(config.rootpath / file) for file in files}
    patterns: list[str] = config.getini("python_files")
    skipped: list[str] = ["__pycache__", *config.getini("norecursedirs")]
    for where, names, found in os.walk(folder):
        if "pyvenv.cfg" in found:
            names.clear()
            continue
        names[:] = [name for name in names if not any(fnmatch(name, pattern) for pattern in skipped)]
        for path in (Path(where, name) for name in found if name.endswith(".py")):
            if any(path.match(pattern) for pattern in patterns) and os.path.realpath(path) not in known:
                return False
    return True


def _have_passed(uses: list[dict[str, Any]], users: list[str] | None) -> bool:
    """Tell whether all tests that are known to use a tape have passed."""
    last = {use["test"]: use["outcome"] for use in uses}  # of a test that was run again
    return users is not None and {*last.values()} == {"passed"} and last.keys() >= {*users}


def _left(path: str, uses: list[dict[str, Any]]) -> str:
    """Word the interactions of a tape that nobody asked for; the file is read only if there can be some."""
    asked: Counter[str] = Counter()
    for use in uses:
        asked |= Counter(use["asked"])
    if sum(asked.values()) >= max(use["held"] for use in uses):
        return ""
    from fakellm.cassette import CassetteError, unasked

    found: list[str] = []
    with suppress(CassetteError):
        found = unasked(path, asked)
    more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    remedy = "; --llm-record=rewrite takes off what no test asks for" if found else ""
    return f"{shown(path)}: {len(found)} not used: {', '.join(found[:_SHOWN])}{more}{remedy}" if found else ""


def _named_by_none(folder: str, users: dict[str, list[str]]) -> list[Path]:
    """Return the tapes beside the tests of a folder that neither a test names nor the text of a file there."""
    files = [path for path in sorted(Path(folder, "cassettes").rglob("*")) if path.suffix in _SUFFIXES]
    tapes = [path for path in files if os.path.realpath(path) not in users and "interactions" in _text(path)]
    texts = [_text(path) for path in Path(folder).rglob("*.py")] if tapes else []
    return [path for path in tapes if not any(path.name in text for text in texts)]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
