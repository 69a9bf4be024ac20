"""`--llm-report` and `--llm-html`: what the tests of a run asked, as a table at its end and as a page.

Each test's last report tells what it asked, so that the process that prints hears of all tests, wherever they ran. What
is told has no secrets: it is worded and drawn where the test ran, which knows the credentials of its requests.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from _fakellm_pytest import unused
from _fakellm_pytest.hooks import FAKES, OUTCOME, recordings_of

_REPORTED = "_fakellm_told"


class Telling:
    """Is a plugin of its own, where one of the options is given."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._html: str | None = config.getoption("--llm-html")
        self._tests: list[dict[str, Any]] = []
        self._wrong = ""

    @classmethod
    def register(cls, config: pytest.Config) -> None:
        """Make one for a run."""
        config.pluginmanager.register(cls(config), "_fakellm_pytest_telling")

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self) -> Generator[None, Any, Any]:
        """Let a fake provider note when the pieces of its answers are taken."""
        value = yield
        if self._html and type(value).__name__ == "FakeProvider" and not value.calls:
            from fakellm.cli import Timed

            value.calls = Timed(value.clock)
        return value

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put what a test asked into its last report."""
        report = yield
        if report.when == "teardown" and (fakes := item.stash.get(FAKES, {})):
            outcome = "failed" if report.failed else item.stash.get(OUTCOME, "passed")
            setattr(report, _REPORTED, _told(item.nodeid, outcome, fakes, is_drawn=bool(self._html)))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Hear what a test asked, here or in a worker."""
        if (told := getattr(report, _REPORTED, None)) is not None:
            self._tests.append(told)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Write the page, when what was not used is known; the summary, which can change no status, comes after."""
        yield
        if self._html and not hasattr(self._config, "workerinput"):
            self._wrong = self._written(self._html)
            if self._wrong and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.USAGE_ERROR

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table, and say where the page is."""
        if self._config.getoption("--llm-report"):
            terminalreporter.section("language models")
            for line in _table(self._tests):
                terminalreporter.line(line)
        if self._html:
            terminalreporter.line(self._wrong or f"wrote {self._html}", red=bool(self._wrong))

    def _written(self, name: str) -> str:
        """Write the page; return why it cannot be, if so."""
        from fakellm.cli import page_of_run

        page = page_of_run(self._tests, recordings_of(self._config).unused())
        try:
            Path(name).write_text(page, encoding="utf-8")
        except OSError as error:
            return f"--llm-html: {name} cannot be written: {error.strerror}"
        return ""


def _told(test: str, outcome: str, fakes: dict[str, Any], *, is_drawn: bool) -> dict[str, Any]:
    """Return what a test asked, in what a report can carry."""
    calls = [call for name, fake in fakes.items() if name != "virtual_clock" for call in fake.calls]
    misses = [str(miss) for fake in fakes.values() for miss in getattr(fake, "misses", ())]
    tapes = [unused.shown(os.path.realpath(fake.path)) for name, fake in fakes.items() if name == "cassette"]
    told: dict[str, Any] = {
        "test": test, "outcome": outcome, "calls": len(calls), "misses": misses, "tapes": tapes,
        "chunks": sum(call.pieces if hasattr(call, "pieces") else call.delivered for call in calls),
        "bytes": sum(call.delivered for call in calls if hasattr(call, "pieces")),
        "articles": [], "reports": [],
    }  # fmt: skip
    for name, fake in fakes.items() if is_drawn else ():
        if type(fake).__name__ == "FakeProvider":
            from fakellm.cli import articles_of

            told["articles"] += articles_of(test, name, fake.calls)
        else:
            told["reports"].append([name, fake.report()])
    return told


def _table(tests: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a table: the tests that asked something, and what they add up to."""
    rows = [[t["test"], t["calls"], t["chunks"], t["bytes"], len(t["misses"]), " ".join(t["tapes"])] for t in tests]
    totals = [sum(row[at] for row in rows) for at in range(1, 5)]
    rows = [["test", "calls", "chunks", "bytes", "misses", "tape"], *rows, [f"{len(tests)} tests", *totals, ""]]
    width = max(len(str(row[0])) for row in rows)
    return [f"{row[0]:<{width}} {row[1]:>6} {row[2]:>7} {row[3]:>9} {row[4]:>6}  {row[5]}".rstrip() for row in rows]
