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

if TYPE_CHECKING:
    from collections.abc import Generator

    from fakellm.cassette import Run, Tape

PASSED = pytest.StashKey[bool]()
"""Whether the test itself passed; what came before its teardown."""
TAPE = pytest.StashKey["Tape"]()
"""The tape that the test has opened."""

_RECORDINGS = pytest.StashKey["Recordings"]()
_OUTCOME = pytest.StashKey[str]()
_USE = pytest.StashKey[dict[str, Any]]()
_FOLDER, _COLLECTED, _REPORTED = "fakellm_run", "fakellm_collected", "_fakellm_cassette"
_ANEW = ("all", "rewrite")


def recordings_of(config: pytest.Config) -> Recordings:
    """Return what this process knows of the tapes of the run."""
    return config.stash[_RECORDINGS]


class Recordings:
    """Is a plugin of its own, one a run and process."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._folder: str | None = getattr(config, "workerinput", {}).get(_FOLDER)
        self._run: Run | None = None
        self._is_interrupted = False
        self._items: list[pytest.Item] = []
        self._collectors: list[str] = []
        self._collected_from: set[str] = set()
        self._collected: dict[str, Any] = {}
        self._used: list[dict[str, Any]] = []
        self._left: dict[str, str] = {}
        self._tests: tuple[dict[str, dict[str, str]], dict[str, set[str]]] | None = None

    @classmethod
    def register(cls, config: pytest.Config) -> None:
        """Make one for a run."""
        config.stash[_RECORDINGS] = cls(config)
        config.pluginmanager.register(config.stash[_RECORDINGS], "_fakellm_pytest_recordings")

    # -- a test -----------------------------------------------------------------------------------

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
        """Take a report of a test; with its last what it recorded is kept or dropped."""
        stash = item.stash
        if report.when == "setup":
            stash[_OUTCOME] = "passed"
        if not report.passed and stash.get(_OUTCOME, "") != "failed":
            stash[_OUTCOME] = report.outcome
        if report.when != "teardown":
            stash[PASSED] = report.when == "call" and stash.get(_OUTCOME, "passed") == "passed"
            return
        try:
            self.end(item)
        except pytest.fail.Exception as error:
            report.outcome, report.longrepr = "failed", str(error)
        if use := stash.get(_USE, None):
            setattr(report, _REPORTED, use)
            del stash[_USE]

    def end(self, item: pytest.Item) -> None:
        """Keep what a test has recorded, if it passed. Raises `pytest.fail.Exception` if the tape cannot be written."""
        from _fakellm_pytest.cassettes import tape_of

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

        outcome: Any = item.stash.get(_OUTCOME, "passed")
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
        from _fakellm_pytest.cassettes import is_own

        return is_own(item) or unused.is_whole(str(item.path.parent), self._files(), self._config)

    def _users(self, session: pytest.Session, path: Path) -> tuple[dict[str, str], set[str]]:
        """Return the tests of this run that use a tape, and their modes, and the known ones that are not run."""
        if self._tests is None:
            from _fakellm_pytest.cassettes import tape_of

            running = {item.nodeid for item in session.items}
            users: dict[str, dict[str, str]] = {}
            others: dict[str, set[str]] = {}
            for item in dict.fromkeys([*session.items, *self._items]):
                if (found := tape_of(item)) is not None:
                    name = os.path.realpath(found[0])
                    if item.nodeid in running:
                        users.setdefault(name, {})[item.nodeid] = found[1]
                    else:
                        others.setdefault(name, set()).add(item.nodeid)
            self._tests = users, others
        name = os.path.realpath(path)
        return self._tests[0].get(name, {}), self._tests[1].get(name, set())

    # -- hooks ------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Note all tests that there are, those too that are not selected, and the files that were looked at."""
        report = yield
        if report.passed:
            self._collected_from.add(report.nodeid)
            for node in report.result:
                if isinstance(node, pytest.Item):
                    self._items.append(node)
                else:
                    self._collectors.append(node.nodeid)
        return report

    def _files(self) -> list[str]:
        """Return the test files of which all tests are known.

        What was selected may leave out a class of a file, and `--lf` whole files, as if they had no tests.
        """
        if self._config.getoption("lf", False):  # noqa: FBT003 - pytest's own order of arguments
            return []
        unseen = {nodeid.partition("::")[0] for nodeid in self._collectors if nodeid not in self._collected_from}
        return [name for name in self._collected_from if name.endswith(".py") and name not in unseen]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Hear of a tape that was used, here or in a worker."""
        if (use := getattr(report, _REPORTED, None)) is not None:
            self._used.append(use)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker which run it is part of."""
        if self._folder is None:
            self._folder = folder = tempfile.mkdtemp(prefix="fakellm-")
            self._config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        node.workerinput[_FOLDER] = self._folder

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
        if self._used and self._items:
            self._collected = unused.collected(session, self._items, self._files())
        is_worker = hasattr(self._config, "workerinput")
        if is_worker:
            self._config.workeroutput[_COLLECTED] = self._collected  # type: ignore[attr-defined]
        has_noted = self._folder is not None and Path(self._folder).is_dir() and any(Path(self._folder).iterdir())
        is_alone = self._run is not None and not has_noted
        if is_alone or (has_noted and not is_worker):
            left = self.run.close(is_interrupted=self._is_interrupted)
            self._left = {os.path.realpath(path): why for path, why in left.items()}

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was recorded, and what was not used."""
        if lines := [*self._recorded(), *unused.lines(self._used, self._collected, self._config)]:
            terminalreporter.section("cassettes")
            for line in lines:
                terminalreporter.line(line)

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
