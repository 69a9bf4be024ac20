"""What pytest itself shows of a failed test, without secrets: arguments of functions, local variables, what was logged.

The log of a run in CI is read by more people than a tape. What fakellm words has no secret in it, but below that pytest
shows what functions were called with, those of HTTP clients among them: `request = <Request('POST', '...?key=...')>`.
So the report of a test that used a fake, a tape or the network, or that fails with an error of ours, is gone through
once it is made. Reports of other tests are none of our business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import pytest

_CUT = r"([\w+/=~%.-]{8,})?\.\.\.([\w+/=~%.-]{8,})?"  # compiled where it is used: every start of pytest would pay
"""Where pytest left out the middle of a long text: the half of a key that may be beside it is not known as one."""


def redact(report: pytest.TestReport, fakes: Iterable[Any], error: BaseException | None) -> None:
    """Take the secrets out of the report of a test, if anything of ours was in it."""
    fakes, errors = list(fakes), list(filter(_is_ours, _chain(error)))
    if not (report.failed or report.sections) or not (fakes or errors):
        return
    from fakellm.errors import discreet

    text = partial(discreet, secrets=frozenset(_credentials(fakes, errors)))
    if report.failed:
        report.longrepr = _redacted(report.longrepr, text)
    report.sections = [(name, text(content)) for name, content in report.sections]


def _credentials(fakes: list[Any], errors: list[Any]) -> Iterator[str]:
    for error in errors:
        yield from getattr(error, "credentials", ())
    for fake in fakes:
        for call in getattr(fake, "calls", ()):
            yield from getattr(call, "credentials", ())


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and those that it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def _is_ours(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] == "fakellm"


def _redacted(shown: Any, text: Callable[[str], str]) -> Any:
    """Return what pytest shows of an exception, changed in place where it is no text."""
    if isinstance(shown, str):
        return text(shown)
    for traceback, location, _ in getattr(shown, "chain", ()):
        for entry in traceback.reprentries:
            _redact_entry(entry, text)
        if location is not None:
            location.message = text(_without_halves(location.message))
    if hasattr(shown, "sections"):
        shown.sections = [(name, text(content), mark) for name, content, mark in shown.sections]
    return shown


def _redact_entry(entry: Any, text: Callable[[str], str]) -> None:
    """Take the secrets out of what is shown of one frame."""
    errors = [_without_halves(line) if line.startswith("E ") else line for line in entry.lines]
    entry.lines = text("\n".join(errors)).split("\n")
    if arguments := getattr(entry, "reprfuncargs", None):
        arguments.args = [(name, text(_without_halves(str(value)))) for name, value in arguments.args]
    if variables := getattr(entry, "reprlocals", None):
        variables.lines = [text(_without_halves(line)) for line in variables.lines]
    if location := getattr(entry, "reprfileloc", None):
        location.message = text(_without_halves(location.message))


def _without_halves(shown: str) -> str:
    return re.sub(_CUT, "...", shown)
