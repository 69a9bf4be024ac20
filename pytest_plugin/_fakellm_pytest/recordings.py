"""What a run of tests does with its tapes: recordings are kept when their test has passed, and said at the end.

Each test's last report tells how it used its tape, so that the process that prints, which under pytest-xdist runs no
test, hears of all. What it may say of tapes that were not used depends on which tests there are, which only processes
that collect tests know; they tell it when they end.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from _fakellm_pytest import unused
from _fakellm_pytest.cassettes import TAPE, is_own, tape_of
from _fakellm_pytest.hooks import COLLECTED, OUTCOME, RECORDINGS, VERIFIED

if TYPE_CHECKING:
    from fakellm.cassette import Run, Tape

_USE = pytest.StashKey[dict[str, Any]]()
_FOLDER, _COLLECTED, _REPORTED = "fakellm_run", "fakellm_collected", "_fakellm_cassette"
_ANEW = ("all", "rewrite")


class Recordings:
    """Is a plugin of its own, one a run and process, from when there is a tape in it or a worker."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._folder: str | None = getattr(config, "workerinput", {}).get(_FOLDER)
        self._run: Run | None = None
        self._is_interrupted = False
        self._wrong = ""
        self._collected: dict[str, Any] = {}
        self._used: list[dict[str, Any]] = []
        self._left: dict[str, str] = {}
        self._tests: tuple[dict[str, dict[str, str]], dict[str, set[str]]] | None = None

    @classmethod
    def register(cls, config: pytest.Config) -> Recordings:
        """Make one for a run."""
        known = config.stash[RECORDINGS] = cls(config)
        config.pluginmanager.register(known, "_fakellm_pytest_recordings")
        return known

    # -- a test -----------------------------------------------------------------------------------

    def invite(self, node: Any) -> None:
        """Tell a worker which run it is part of."""
        if self._folder is None:
            self._folder = folder = tempfile.mkdtemp(prefix="fakellm-")
            self._config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        node.workerinput[_FOLDER] = self._folder

    @property
    def run(self) -> Run:
        """This run, as the library knows it."""
        if self._run is None:
            from fakellm.cassette import Run

            is_there = self._folder is not None and Path(self._folder).is_dir()  # not on another machine
            self._run = Run(self._folder if is_there else None)
            self._config.add_cleanup(self._run.remove)
        return self._run

    def hear(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Take the last report of a test that may have used a tape: what it recorded is kept or dropped."""
        try:
            self.end(item)
        except pytest.fail.Exception as error:
            report.outcome, report.longrepr = "failed", str(error)
        if use := item.stash.get(_USE, None):
            setattr(report, _REPORTED, use)
            del item.stash[_USE]

    def end(self, item: pytest.Item) -> None:
        """Keep what a test has recorded, if it passed. Raises `pytest.fail.Exception` if the tape cannot be written."""
        tape = item.stash.get(TAPE, None)
        found = (tape.path, tape.mode) if tape is not None else tape_of(item) if _USE not in item.stash else None
        if found is None:
            return
        path, mode = found
        users, others = self._users(item.session, path)
        are_all = not others and (mode != "rewrite" or self._may_drop(item))
        is_awaited = self._is_awaited(path, mode, users)
        if tape is None and not is_awaited:
            return
        from fakellm.cassette import CassetteError, Ended

        outcome: Any = item.stash.get(OUTCOME, "passed")
        ended = Ended(item.nodeid, outcome, frozenset(users), are_all, is_awaited)
        try:
            if tape is not None:
                del item.stash[TAPE]
                item.stash[_USE] = _use(item, tape, outcome)
                item.stash[_USE]["is_kept"] = tape.end(ended)
            else:
                self.run.end(path, mode, ended)
        except CassetteError as error:
            if tape is not None:
                item.stash[_USE]["outcome"] = "failed"
            pytest.fail(str(error), pytrace=False)

    def _is_awaited(self, path: Path, mode: str, users: dict[str, str]) -> bool:
        """Tell whether other tests that use a tape may record on it anew, or begin it."""
        if len(users) < 2:  # noqa: PLR2004
            return False
        writing = {*users.values(), mode} & {*_ANEW, "once"}
        return bool(writing) and (writing != {"once"} or not path.exists() or self.run.is_recording(path))

    def _may_drop(self, item: pytest.Item) -> bool:
        """Tell whether no test that is not known can use the tape: it has the test's own name, or all are known."""
        return is_own(item) or unused.is_whole(str(item.path.parent), self._files(), self._config)

    def _users(self, session: pytest.Session, path: Path) -> tuple[dict[str, str], set[str]]:
        """Return the tests of this run that use a tape, and their modes, and the known ones that are not run."""
        if self._tests is None:
            running = {item.nodeid for item in session.items}
            users: dict[str, dict[str, str]] = {}
            others: dict[str, set[str]] = {}
            for item in dict.fromkeys([*session.items, *self._items()]):
                if (found := tape_of(item)) is not None:
                    name = os.path.realpath(found[0])
                    if item.nodeid in running:
                        users.setdefault(name, {})[item.nodeid] = found[1]
                    else:
                        others.setdefault(name, set()).add(item.nodeid)
            self._tests = users, others
        name = os.path.realpath(path)
        return self._tests[0].get(name, {}), self._tests[1].get(name, set())

    def _items(self) -> list[pytest.Item]:
        """Return all tests that there are, those too that are not selected."""
        return [node for report in self._reports() for node in report.result if isinstance(node, pytest.Item)]

    def _files(self) -> list[str]:
        """Return the test files of which all tests are known.

        What was selected may leave out a class of a file, and `--lf` whole files, as if they had no tests.
        """
        if self._config.getoption("lf", False):  # noqa: FBT003 - pytest's own order of arguments
            return []
        reports = self._reports()
        seen = dict.fromkeys(report.nodeid for report in reports)
        inner = (node.nodeid for report in reports for node in report.result if not isinstance(node, pytest.Item))
        unseen = {nodeid.partition("::")[0] for nodeid in inner if nodeid not in seen}
        return [name for name in seen if name.endswith(".py") and name not in unseen]

    def _reports(self) -> list[pytest.CollectReport]:
        return [report for report in self._config.stash[COLLECTED] if report.passed]

    # -- hooks ------------------------------------------------------------------------------------

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Hear of a tape that was used, here or in a worker."""
        if (use := getattr(report, _REPORTED, None)) is not None:
            self._used.append(use)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Hear of the tests that a worker has found, and whether it was interrupted."""
        output = getattr(node, "workeroutput", None) or {}
        self._collected = output.get(_COLLECTED) or self._collected
        self._is_interrupted = self._is_interrupted or output.get("exitstatus") == pytest.ExitCode.INTERRUPTED

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note that the run was interrupted; that it stops after a failure is another thing."""
        is_stop = issubclass(excinfo.type, KeyboardInterrupt) and excinfo.type is not KeyboardInterrupt
        self._is_interrupted = self._is_interrupted or not is_stop

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the tapes that wait for tests which will not end any more; a worker leaves this to who outlives it."""
        named = self._config.getoption("--llm-usage")
        if (self._used or named) and (items := self._items()):
            self._collected = unused.collected(session, items, self._files())
        is_worker = hasattr(self._config, "workerinput")
        if is_worker:
            self._config.workeroutput[_COLLECTED] = self._collected  # type: ignore[attr-defined]
        has_noted = self._folder is not None and Path(self._folder).is_dir() and any(Path(self._folder).iterdir())
        is_alone = self._run is not None and not has_noted
        if is_alone or (has_noted and not is_worker):
            left = self.run.close(is_interrupted=self._is_interrupted)
            self._left = {os.path.realpath(path): why for path, why in left.items()}
        if named and not is_worker:
            self._wrong = unused.write(named, self._used, self._collected, self._config)
            if self._wrong and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was recorded, and what was not used."""
        if lines := [*self._recorded(), *self._verified(), *self.unused()]:
            terminalreporter.section("cassettes")
            for line in lines:
                terminalreporter.line(line)
        if self._wrong:  # an error raised would hide what failed
            terminalreporter.line(self._wrong, red=True)

    def unused(self) -> list[str]:
        """Word what was not used."""
        return [*unused.lines(self._used, self._collected, self._config)]

    def _recorded(self) -> list[str]:
        """Word what was recorded, tape by tape, with the error statuses among it."""
        found: list[str] = []
        for path in dict.fromkeys(use["path"] for use in self._used):
            uses = [use for use in self._used if use["path"] == path and use["recorded"]]
            why = f", and not kept: {self._left[path]}" if path in self._left else ""
            if kept := [use for use in uses if use["is_kept"]]:
                found += [f"{_noted(path, kept)}{why}", *_redacted(kept)]
            for use in uses:
                if not use["is_kept"]:
                    how = "failed" if use["outcome"] == "failed" else "did not pass"
                    found.append(f"{_noted(path, [use])}, and not kept: {use['test']} {how}")
        return found

    def _verified(self) -> list[str]:
        """Word what was asked again, and what has drifted without failing its test, tape by tape."""
        found = {use["path"]: use["verified"] for use in self._used if use["verified"] is not None}
        lines: list[str] = []
        for path, told in found.items():
            lines += [f"{unused.shown(path)}: {told['asked']} asked again, {told['drifted']} drifted", *told["notable"]]
        return lines


def _use(item: pytest.Item, tape: Tape, outcome: str) -> dict[str, Any]:
    """Return how a test used a tape, in what a report can carry."""
    return {
        "test": item.nodeid,
        "outcome": outcome,
        "path": os.path.realpath(tape.path),
        "recorded": tape.recorded,
        "is_kept": False,
        "statuses": [call.status for call in tape.calls if call.status is not None and call.status >= 400],  # noqa: PLR2004
        "redacted": [[*name, count] for name, count in tape.redacted.items()],
        "held": len(tape),
        "asked": tape.asked,
        "verified": item.stash.get(VERIFIED, None),
    }


def _noted(path: str, uses: list[dict[str, Any]]) -> str:
    statuses = [status for use in uses for status in use["statuses"]]
    errors = f", with HTTP {', '.join(map(str, statuses))}" if statuses else ""
    return f"{unused.shown(path)}: {sum(use['recorded'] for use in uses)} recorded{errors}"


def _redacted(uses: list[dict[str, Any]]) -> list[str]:
    """Word how many values of which kind were replaced where, so that one that is no secret is seen."""
    counts: dict[tuple[str, str], int] = {}
    for use in uses:
        for kind, where, count in use["redacted"]:
            counts[kind, where] = counts.get((kind, where), 0) + count
    return [f"  {count} x {kind} in {where}: REDACTED" for (kind, where), count in sorted(counts.items())]
