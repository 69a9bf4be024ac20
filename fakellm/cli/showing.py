"""Does what `fakellm show` was asked for."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from fakellm.cassette.checking import check, files_of
from fakellm.cassette.document import CassetteError
from fakellm.cli.differing import compared
from fakellm.cli.following import follow
from fakellm.cli.pace import pace_of
from fakellm.cli.progress import Progress
from fakellm.cli.recorded import BODIES, SUFFIXES, Recorded, plain, read
from fakellm.cli.worded import Paint, Words, unpainted
from fakellm.cli.wording import UsageError, clock_of, counted, reason_of
from fakellm.clock.clock import Clock
from fakellm.errors import ScriptError
from fakellm.script.disk import write_atomically

_FOUND, _WRONG = 1, 2


@dataclass(frozen=True, slots=True)
class Showing:
    """What to show, and how; see `fakellm show --help`."""

    paths: tuple[str, ...]
    at: int | None = None
    events: bool = False
    raw: bool = False
    follow: bool = False
    speed: str = "1"
    html: str | None = None
    json: bool = False


def show(asked: Showing, clock: Clock | None = None) -> int:
    """Show what was asked for; return the exit code. `clock` is what `--follow` waits on, else that of `--speed`."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    try:
        return _show(asked, clock)
    except (UsageError, OSError) as error:
        if isinstance(error, OSError) and not error.filename:
            raise  # of the output, and told where that of all commands is
        click.echo(f"fakellm: {reason_of(error)}", err=True)
        return _WRONG
    except (CassetteError, ScriptError) as error:
        click.echo(f"fakellm: {error}", err=True)
        return _FOUND


def _show(asked: Showing, clock: Clock | None) -> int:
    _check(asked)
    clock = clock or clock_of(asked.speed)
    paths = [Path(name) for name in asked.paths]
    if missing := next((path for path in paths if not path.exists()), None):
        msg = f"there is no file {missing}"
        raise UsageError(msg)
    if len(paths) > 1:
        return _differences(asked, *map(read, paths))
    whole, broken = _read_all(paths[0], asked.at)
    if asked.html is not None:
        _write_page(asked.html, [one for _, these in whole for one in these])
    elif asked.json:
        click.echo(json.dumps({"tapes": [_document(*one) for one in whole], "broken": broken}, ensure_ascii=False))
    elif paths[0].is_dir() and not asked.follow and not asked.raw:
        words = _words()
        _print([words.heading], *(words.brief(*one) for one in whole))
    else:
        _in_turn(asked, whole, clock)
    for text in broken:
        click.echo(f"fakellm: {text}", err=True)
    return _FOUND if broken else 0


def _check(asked: Showing) -> None:
    """Raise `UsageError` for options that do not go together."""
    if len(asked.paths) > 2:  # noqa: PLR2004
        msg = "show takes one tape, script or folder, or two tapes that are compared"
        raise UsageError(msg)
    forms = [name for name in ("raw", "follow", "html", "json") if getattr(asked, name)]
    if len(forms) > 1:
        msg = f"--{forms[0]} and --{forms[1]} do not go together: give one of them"
        raise UsageError(msg)
    if len(asked.paths) > 1:
        if forms and forms != ["json"]:
            msg = f"--{forms[0]} shows one tape, and two are compared: name one"
            raise UsageError(msg)
        for path in map(Path, asked.paths):
            if path.is_dir():
                msg = f"{path} is a folder, and two tapes are compared: name a tape"
                raise UsageError(msg)


Whole = list[tuple[Path, list[Recorded]]]


def _read_all(path: Path, at: int | None) -> tuple[Whole, list[str]]:
    """Return what the tapes say, and, of a folder, what is wrong with those that cannot be read."""
    if not path.is_dir():
        found = read(path)
        return [(path, _only(found, at, path))], []
    if at is not None:
        msg = f"--at is of one tape, and {path} is a folder: name a tape"
        raise UsageError(msg)
    files = [file for file in files_of([path]) if file.name.endswith((*SUFFIXES, *BODIES))]
    whole, broken = list[tuple[Path, list[Recorded]]](), list[str]()
    with Progress("tapes", len(files)) as progress:
        for file in files:
            try:
                whole.append((file, read(file)))
            except (CassetteError, ScriptError) as error:
                broken.append(str(error))
            except OSError as error:  # that one may not be read is no reason to hide the others
                broken.append(reason_of(error))
            progress.seen()
    if not files:
        msg = f"there is no tape in {path}"
        raise UsageError(msg)
    return whole, broken


def _only(found: list[Recorded], at: int | None, path: Path) -> list[Recorded]:
    if at is None:
        return found
    if at >= len(found):
        msg = f"there is no interaction {at} in {path}, which has {len(found)}, counted from 0"
        raise UsageError(msg)
    return [found[at]]


def _document(path: Path, recorded: Sequence[Recorded]) -> dict[str, Any]:
    interactions = []
    for one in recorded:
        pace = pace_of(one)
        interactions.append({**plain(one), "pace": None if pace is None else pace.plain()})
    return {"file": str(path), "interactions": interactions}


def _words() -> Words:
    is_seen = sys.stdout.isatty()
    encoding = (getattr(sys.stdout, "encoding", "") or "").lower()
    width = shutil.get_terminal_size().columns if is_seen else 100
    return Words(_paint(), width=width, is_plain=not encoding.startswith("utf"))


def _paint() -> Paint:
    return click.style if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else unpainted


def _print(*parts: Iterable[str]) -> None:
    for part in parts:
        for line in part:
            click.echo(line)


def _in_turn(asked: Showing, whole: Whole, clock: Clock) -> None:
    words = _words()
    is_first = True
    for path, recorded in whole:
        if not recorded:
            click.echo(f"{path}: the tape holds no interactions")
        for one in recorded:
            if not is_first:
                click.echo()
            is_first = False
            if asked.raw and one.is_script:
                msg = f"{path} is a script, which has no bytes before a provider speaks it; leave --raw out"
                raise UsageError(msg)
            if asked.raw:
                _print(words.raw(one))
            elif asked.follow:
                follow(one, clock, lambda text: click.echo(text, nl=False), _paint())
            else:
                _print(words.whole(one, len(recorded)), words.events(one) if asked.events else ())


def _differences(asked: Showing, ones: list[Recorded], others: list[Recorded]) -> int:
    found = compared(ones, others)
    if asked.json:
        click.echo(json.dumps([difference.plain() for difference in found], ensure_ascii=False))
    else:
        words = _words()
        _print(*(words.difference(difference) for difference in found))
    return 0 if all(difference.is_same for difference in found) else _FOUND


def _write_page(name: str, recorded: Sequence[Recorded]) -> None:
    from fakellm.cli.html import page_of

    files = {one.file: None for one in recorded}
    write_atomically(Path(name), page_of(recorded, [str(finding) for finding in check(files)]))
    click.echo(f"wrote {name}: {counted(len(recorded), 'interaction')}", err=True)
