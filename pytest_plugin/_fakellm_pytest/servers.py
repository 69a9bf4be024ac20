"""What is behind `fake_server` and `fake_server_session`: a server for a test, or one for all tests of a process.

A server that many tests share is as strict as one of a single test, and says which test it was: what the requests of a
test found no reply for fails that test, and so does what the test itself scripted and nobody asked for. What fixtures
scripted is for all tests, and looked at when the server stops.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from _fakellm_pytest.hooks import FAKES, PASSED

if TYPE_CHECKING:
    from fakellm.server import FakeServer

_NAME = "fake_server_session"
_NOT_MEANT = (
    "\n  to do:     script what all tests share in a fixture; what one test scripts, it has to ask for, or to allow: "
    "@pytest.mark.fake_llm(allow_unused=True)"
)


def made() -> FakeServer:
    """Return a server that does not listen yet, or fail the test for want of what it needs."""
    from _fakellm_pytest import kind_of

    kind_of("FakeProvider")  # the package is ours
    from fakellm.errors import MissingExtraError

    try:
        return kind_of("FakeServer", "server")()  # type: ignore[no-any-return]
    except pytest.UsageError as error:
        if isinstance(error.__cause__, MissingExtraError):
            pytest.fail(str(error.__cause__), pytrace=False)
        raise


def serving(request: pytest.FixtureRequest) -> Iterator[FakeServer]:
    """Yield the server of a test."""
    from _fakellm_pytest import strict

    with made() as server:
        yield from strict(request, "fake_server", server)


def serving_all(request: pytest.FixtureRequest) -> Iterator[FakeServer]:
    """Yield the server of all tests of this process."""
    from _fakellm_pytest import hold

    failed = request.session.testsfailed
    with made() as server:
        if request.config.getini("llm_strict_requests"):
            hold(server, is_on=True)
        watch = _Watch(server)
        request.config.pluginmanager.register(watch, "_fakellm_pytest_server")
        yield server
        request.config.pluginmanager.unregister(watch)
    if request.session.testsfailed == failed and (problem := watch.rest()):
        pytest.fail(problem, pytrace=False)


class _Watch:
    """Is a plugin while there is a server that tests share."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self._part = _Part(server)
        self._told: set[int] = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Begin the part of a test."""
        self._part = _Part(self._server)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self) -> None:
        """Note what fixtures scripted."""
        self._part.note_scripted()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> None:
        """Let a report show the part of a test that asks for the server."""
        if _is_for(item):
            item.stash.setdefault(FAKES, {})[_NAME] = self._part

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Any:
        """Fail the test that left something."""
        __tracebackhide__ = True
        part, passed = self._part, item.stash.get(PASSED, False)
        result = yield
        if _is_for(item):
            self._told.update(map(id, part.misses))
            if passed and (problem := part.problem(item)):
                pytest.fail(problem, pytrace=False)
        return result

    def rest(self) -> str | None:
        """Word what no test was told: misses while none ran that asks for the server, and what fixtures scripted."""
        for miss in self._server.misses:
            if id(miss) not in self._told:
                return f"a request to the fake server found no reply, while no test ran that asks for it:\n{miss}"
        unused = self._server.sessions.unused(self._server.sessions.own)
        left = "\n             ".join(str(route) for _, route in unused)
        return (
            f"no test asked the fake server for {len(unused)} of its replies:\n  scripted:  {left}" if unused else None
        )


def _is_for(item: pytest.Item) -> bool:
    return _NAME in getattr(item, "fixturenames", ())


class _Part:
    """What happened on a shared server since a test began."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self._before = {session: (session.generation, len(session.log)) for session in server.sessions}
        self._misses = {id(miss) for miss in server.misses}
        self._scripted: set[int] = set()

    def note_scripted(self) -> None:
        """Note what is scripted for all tests."""
        self._scripted = {route.key for _, route in self._left()}

    def _left(self) -> list[Any]:
        sessions = self._server.sessions
        return [one for session in sessions for one in sessions.unused(session)]

    @property
    def calls(self) -> list[Any]:
        """The requests since the test began."""
        found: list[Any] = []
        for session in self._server.sessions:
            generation, count = self._before.get(session, (0, 0))
            found += session.calls[count if session.generation == generation else 0 :]
        return found

    @property
    def misses(self) -> list[Any]:
        """The misses since the test began."""
        return [miss for miss in self._server.misses if id(miss) not in self._misses]

    def report(self) -> str:
        """Word them."""
        return self._server.report(self.calls)

    def problem(self, item: pytest.Item) -> str | None:
        """Word what the test left."""
        from _fakellm_pytest import allowed_by

        allowed = allowed_by(item)
        misses = self.misses
        if misses and not allowed.get("allow_misses"):
            return f"a request of this test to the fake server found no reply:\n{misses[0]}"
        left = [] if allowed.get("allow_unused") else [r for _, r in self._left() if r.key not in self._scripted]
        if not left:
            return None
        listed = "\n             ".join(map(str, left))
        return (
            f"the fake server was never asked for {len(left)} of the replies of this test\n  scripted:  {listed}"
            f"{_NOT_MEANT}\n{self.report()}"
        )
