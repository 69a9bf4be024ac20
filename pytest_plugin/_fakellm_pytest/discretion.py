"""What pytest itself shows of a failed test, without secrets: arguments of functions, local variables, what was logged.

The log of a run in CI is read by more people than a tape. What fakellm words has no secret in it, but below that pytest
shows what functions were called with, those of HTTP clients among them: `request = <Request('POST', '...?key=...')>`.
So the report of a test that used a fake, a tape or the network, or that fails with an error of ours, is gone through
once it is made. Reports of other tests are none of our business. What pytest logs live, to the terminal or a file
(`log_cli`, `log_file`), is gone through as it comes, from the first test on that used a fake or a tape.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import pytest

from _fakellm_pytest.hooks import FAKES

_CUT = r"([\w+/=~%.-]{8,})?\.\.\.([\w+/=~%.-]{8,})?"  # compiled where it is used: every start of pytest would pay
"""Where pytest left out the middle of a long text: the half of a key that may be beside it is not known as one."""


def note(node: Any, name: str, fake: Any) -> None:
    """Note that a test uses a fake: its report shows that, and no secret is logged from now on."""
    fakes = node.stash.setdefault(FAKES, {})
    fakes[name] = fake
    plugin = node.config.pluginmanager.get_plugin("logging-plugin")
    handlers = (getattr(plugin, name, None) for name in ("log_cli_handler", "log_file_handler"))
    for handler in filter(None, handlers):
        formatter = handler.formatter
        is_heard = not isinstance(handler, logging.NullHandler) and getattr(handler, "baseFilename", "") != os.devnull
        if formatter is not None and is_heard:
            handler.setFormatter(_Discreet(getattr(formatter, "_formatter", formatter), fakes))


class _Discreet(logging.Formatter):
    """Formats as another formatter does, and takes out what is secret: the credentials of the last requests too."""

    def __init__(self, formatter: logging.Formatter, fakes: dict[str, Any]) -> None:
        super().__init__()
        self._formatter = formatter
        self._fakes = fakes

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record, without secrets."""
        from fakellm.errors import discreet

        return discreet(self._formatter.format(record), frozenset(_credentials(list(self._fakes.values()), [], last=5)))


def redact(report: pytest.TestReport | pytest.CollectReport, fakes: Iterable[Any], error: BaseException | None) -> None:
    """Take the secrets out of the report of a test, if anything of ours was in it."""
    fakes, errors = list(fakes), list(filter(_is_ours, _chain(error)))
    if not (fakes or errors):
        return
    if not (report.longrepr or report.sections or hasattr(report, "wasxfail")):
        return
    from fakellm.errors import discreet

    text = partial(discreet, secrets=frozenset(_credentials(fakes, errors)))
    if report.longrepr:
        report.longrepr = _redacted(report.longrepr, text)
    if reason := getattr(report, "wasxfail", ""):
        report.wasxfail = text(reason)  # type: ignore[union-attr]
    report.sections = [(name, text(content)) for name, content in report.sections]


def _credentials(fakes: list[Any], errors: list[Any], last: int = 0) -> Iterator[str]:
    for error in errors:
        yield from getattr(error, "credentials", ())
    for fake in fakes:
        for call in list(getattr(fake, "calls", ()))[-last:]:
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
    if isinstance(shown, tuple):  # why a test was skipped, and where
        return tuple(text(part) if isinstance(part, str) else part for part in shown)
    if isinstance(told := getattr(shown, "longrepr", None), str):
        shown.longrepr = text(told)
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
