"""Which tapes the tests of a run used, as `pytest --llm-usage=FILE` wrote it, and what nobody asked for.

Only what is known is said, as in the summary of a run: that an interaction is not used, once every test that names the
tape has passed; that a tape is not, where all test files of its folder, or of the whole project, were looked at and
none of their texts names it.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakellm.cassette.document import CassetteError
from fakellm.cassette.run import unasked
from fakellm.cli.examining import Problem

_FIELD, _VERSION = "fakellm_usage", 1
_TEXTS = (".py", ".toml", ".yaml", ".yml", ".json")
_SHOWN = 3


class UsageFileError(ValueError):
    """A file that holds no usage, or one of tapes that are elsewhere: what is wrong, and what to do."""


@dataclass
class Usage:
    """What tests used: by the real path of a tape its `users`, how they `ended`, and what was `asked` of it.

    `whole` are folders of which all tests were known, `vcr` those whose tapes other plugins use as well.
    """

    users: dict[str, set[str]] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    asked: dict[str, Counter[str]] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    vcr: set[str] = field(default_factory=set)
    texts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, paths: Sequence[str]) -> Usage:
        """Read one file, or those of several runs, which add up. Raises `UsageFileError`, and `OSError`."""
        usage = cls()
        for path in paths:
            usage._add(path)
        return usage

    def _add(self, path: str) -> None:
        try:
            told = json.loads(Path(path).read_bytes())
            if told[_FIELD] != _VERSION:
                msg = f"{path}: this is usage of version {told[_FIELD]}, and this fakellm reads version {_VERSION}"
                raise UsageFileError(msg)
            root = _root(told["tapes"], path)
            for name, tape in told["tapes"].items():
                real = _real(root, name)
                self.users.setdefault(real, set()).update(tape["users"])
                asked: Counter[str] = Counter(tape["asked"])
                self.asked[real] = self.asked.get(real, Counter()) | asked
                self.ended.update(tape["ended"])
            self.whole.update(_real(root, name) for name in told["whole"])
            self.vcr.update(_real(root, name) for name in told["vcr"])
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as error:
            msg = f"{path}: this is no usage of tapes: write it with pytest --llm-usage={path}"
            raise UsageFileError(msg) from error

    def problems(self, tapes: Sequence[str]) -> Iterator[Problem | str]:
        """Yield what of tapes nobody uses; as a text, of which tapes that is not known."""
        unknown = 0
        for tape in tapes:
            real = os.path.realpath(tape)
            if real in self.users:
                yield from self._left(tape, real)
            elif any(Path(real).is_relative_to(folder) for folder in self.vcr):
                unknown += 1
            elif any(Path(real).is_relative_to(folder) for folder in self.whole):
                if not self._is_named(real):
                    yield Problem(tape, 0, "unused", "no test uses it; to do: delete it")
            else:
                unknown += 1
        if unknown:
            yield f"{unknown} of the tapes may be used or not: not all test files were looked at"

    def _left(self, tape: str, real: str) -> Iterator[Problem]:
        if any(self.ended.get(test) != "passed" for test in self.users[real]):
            return  # what a test that failed, or did not run, would have asked for is not known
        try:
            left = unasked(tape, self.asked[real])
        except CassetteError:
            return  # that is told as broken
        more = f", and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        if left:
            text = f"{len(left)} not used: {', '.join(left[:_SHOWN])}{more}"
            yield Problem(tape, 0, "unused", f"{text}; to do: pytest --llm-record=rewrite")

    def _is_named(self, real: str) -> bool:
        """Tell whether a text of the folders names a tape that is opened by hand, or by a scenario."""
        for folder in sorted(self.whole):
            if folder not in self.texts:
                found = (path for path in Path(folder).rglob("*") if path.suffix in _TEXTS and path.is_file())
                self.texts[folder] = "\n".join(_text(path) for path in found)
        return any(Path(real).name in text for text in self.texts.values())


def _text(path: Path) -> str:
    """Return a text in which a tape may be named; a tape itself names none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "" if path.suffix != ".py" and "interactions" in text else text


def _root(tapes: dict[str, Any], path: str) -> Path:
    """Return the folder that the names of tapes begin in: pytest's root, which is here or where the file is."""
    places = (Path.cwd(), Path(path).absolute().parent)
    found = next((place for place in places if any((place / name).exists() for name in tapes)), None)
    if found is None and tapes:
        first = next(iter(tapes))
        msg = f"{path}: the tapes that it names, such as {first}, are not here\n  to do:     run it where pytest ran"
        raise UsageFileError(msg)
    return found or Path.cwd()


def _real(root: Path, name: str) -> str:
    return os.path.realpath(root / name)
