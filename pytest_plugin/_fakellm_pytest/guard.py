"""The network guard of the whole session, and what fixtures of a wider scope send while a test's tape is open.

A test has a guard of its own, which begins with its first fixture and ends with its last. Around that lies much that
asks the network as well: a conftest at its import, modules when they are collected, `setup_module`, fixtures of
classes, modules, packages and the session, which are set up before a test's own and torn down after them. So with
`--llm-block-network` a second guard stands from the first conftest until pytest is unconfigured. What it refuses is
raised where it was sent; what was caught there is told in the report of the phase in which it happened.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from _fakellm_pytest.hooks import PASSED

if TYPE_CHECKING:
    from fakellm.http import Interception

_GUARD = pytest.StashKey["SessionGuard"]()

_CAUGHT = "would have reached the network, and the error was caught:"
_OUTSIDE = (
    "it was not sent by a test or a fixture of a test's own scope, which fakes and tapes answer: send it there, or "
    "answer it here, inside of `with fakellm.http.intercept(FakeProvider(...)):` or `with "
    "fakellm.http.playing(Tape(...)):`"
)


def guard_session(config: pytest.Config) -> None:
    """Guard everything from now on until pytest is unconfigured."""
    if config.stash.get(_GUARD, None) is None:
        guard = config.stash[_GUARD] = SessionGuard()
        config.add_cleanup(guard.stack.close)
        config.pluginmanager.register(guard, "_fakellm_pytest_blocking")


@contextmanager
def named_outsider(definition: pytest.FixtureDef[Any], network: Interception) -> Iterator[None]:
    """Let a tape of one test refuse what a fixture sends that is set up for more tests than that one.

    It would land on the tape of whichever test comes first, and be missing where another does.
    """
    before, network.outsider = (
        network.outsider,
        f"the fixture {definition.argname!r}, whose scope is {definition.scope}",
    )
    try:
        yield
    finally:
        network.outsider = before


class SessionGuard:
    """Is a plugin of its own while the network is blocked, so that other runs pay nothing for it."""

    def __init__(self) -> None:
        from _fakellm_pytest import kind_of

        self.stack = ExitStack()
        interception: Interception = kind_of("Interception", "http")(block_network=True)
        self._guard = interception.guard
        self._guard.remedies = [_OUTSIDE]
        self.stack.enter_context(interception.on())

    @pytest.fixture(autouse=True)
    def _llm_blocks_network(self, _llm_network: Interception) -> None:
        """Guard every test."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Let a session of pytest-xdist start its workers, which have guards of their own; it runs nothing itself."""
        if session.config.pluginmanager.hasplugin("dsession"):
            self.stack.close()

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Fail a module that would have reached the network when it was imported, and caught the error."""
        report = yield
        misses = self._taken()
        if misses and report.outcome == "passed":
            report.outcome = "failed"
            report.longrepr = f"collecting {collector.nodeid or 'the tests'} {_CAUGHT}\n{misses[0]}"
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """Fail a test whose fixtures would have reached the network, and caught the error."""
        __tracebackhide__ = True
        try:
            yield
        finally:
            misses = self._taken()
        self._tell(item, "a fixture", misses)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """Do the same for the test itself, if it has no guard of its own, and for what fixtures do at their end."""
        __tracebackhide__ = True
        misses = self._taken()
        try:
            yield
        finally:
            later = self._taken()
        if item.stash.get(PASSED, False):
            self._tell(item, "the test", misses)
        self._tell(item, "a fixture, at its end,", later)

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Let the run fail by what was caught outside of all tests."""
        yield
        if self._guard.misses and not hasattr(session.config, "workerinput"):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what that was."""
        for miss in self._taken():
            terminalreporter.section("network")
            terminalreporter.line(f"what ran outside of all tests {_CAUGHT}\n{miss}")

    def _tell(self, item: pytest.Item, who: str, misses: list[Any]) -> None:
        __tracebackhide__ = True
        from _fakellm_pytest import allowed_by

        if misses and not allowed_by(item).get("allow_misses"):
            pytest.fail(f"{who} {_CAUGHT}\n{misses[0]}", pytrace=False)

    def _taken(self) -> list[Any]:
        """Return the refusals that nobody was told of yet."""
        misses = list(self._guard.misses)
        self._guard.misses.clear()
        return misses
