"""A scenario that is read again when its file changes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from fakellm.errors import ScenarioError
from fakellm.provider.provider import FakeProvider
from fakellm.server.scenario import Scenario


def stamp_of(path: Path) -> object:
    """Return what tells a file from what it was before; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - who serves reads there


class Telling(Protocol):
    """What tells the providers of a server what they answer: a `Scenario`, or what is made of another kind of file.

    `files` are all that it was read from.
    """

    files: tuple[Path, ...]

    def providers(self, known: Iterable[FakeProvider] = ()) -> list[FakeProvider]:
        """Return its providers; those of `known` that are among them are told anew, and keep their logs."""
        raise NotImplementedError


class Watched:
    """A scenario file that may change while it is used: `Server(scenario=Watched("weather.yaml"))`.

    `poll()` looks whether the file, or one that it names, is another than before, by `stamp`. If so it is read again,
    by `load`; one that is wrong is said to, by `say`, and the scenario stays the one that it was. A file that is not
    there is being replaced. The first reading raises `ScenarioError`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        load: Callable[[Path], Telling] = Scenario.load,
        say: Callable[[str], None] = _to_stderr,
        stamp: Callable[[Path], object] = stamp_of,
    ) -> None:
        self.path = Path(path)
        self._load = load
        self._say = say
        self._stamp = stamp
        before = self._stamp(self.path)
        self.scenario = load(self.path)
        self._stamps = {**self._look(), self.path: before}

    def _look(self) -> dict[Path, object]:
        return {path: self._stamp(path) for path in self.scenario.files}

    def poll(self) -> Telling | None:
        """Return the scenario if it is another than at the last look, else None."""
        found = {path: self._stamp(path) for path in self._stamps}
        if found == self._stamps or found[self.path] is None:
            return None
        self._stamps = found
        try:
            self.scenario = self._load(self.path)
        except (ScenarioError, OSError) as error:
            self._stamps |= {file: self._stamp(file) for file in getattr(error, "files", ()) if file not in found}
            self._say(f"{self.path} has changed and is wrong, so the scenario stays as it was:\n{error}")
            return None
        self._stamps = {**self._look(), self.path: found[self.path]}
        self._say(f"{self.path} has changed and was read again")
        return self.scenario
