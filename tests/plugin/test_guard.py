"""The network guard of a whole session: what lies around tests, as its users meet it."""

from __future__ import annotations

import textwrap

import preloaded  # noqa: F401
import pytest
from runs import LEAN
from vectors import first_of

HEAD = textwrap.dedent(
    """
    import socket
    import pytest

    def reach(host="example.invalid"):
        socket.getaddrinfo(host, 80)

    def reach_and_catch():
        try:
            reach()
        except BaseException:
            pass
    """
)
REFUSED = "*a connection to example.invalid would have left this machine: *the network is blocked*"
CAUGHT = "*{} would have reached the network, and the error was caught:*"
REMEDY = "*not sent by a test or a fixture of a test's own scope*"


@pytest.fixture
def run(pytester):
    def run(test, *options, conftest="", block=True):
        pytester.makepyfile(helpers=HEAD)
        if conftest:
            pytester.makeconftest("from helpers import *\n" + textwrap.dedent(conftest))
        pytester.makepyfile(test_app="from helpers import *\n" + textwrap.dedent(test))
        pytester.syspathinsert()
        return pytester.runpytest(*LEAN, *options, *(["--llm-block-network"] if block else []))

    return run


@pytest.mark.parametrize("scope", first_of(["session", "class", "module", "package"]))
@pytest.mark.parametrize("when", ["set-up", "teardown"])
def test_a_fixture_of_a_wider_scope_is_guarded(run, scope, when):
    result = run(
        f"""
        @pytest.fixture(scope={scope!r})
        def app():
            {"reach()" if when == "set-up" else ""}
            yield
            {"reach()" if when == "teardown" else ""}

        def test_app(app): pass
        """
    )

    result.assert_outcomes(errors=1, passed=int(when == "teardown"))
    result.stdout.fnmatch_lines([REFUSED, REMEDY, "*run it without --llm-block-network*"])


def test_what_such_a_fixture_catches_is_told(run):
    result = run(
        """
        @pytest.fixture(scope="module")
        def early(): reach_and_catch()

        @pytest.fixture(scope="module")
        def late():
            yield
            reach_and_catch()

        def test_early(early): pass
        def test_between(): pass
        def test_late(late): pass
        """
    )

    result.assert_outcomes(errors=2, passed=2)
    result.stdout.fnmatch_lines([CAUGHT.format("a fixture"), CAUGHT.format("a fixture, at its end,")])


@pytest.mark.parametrize("function", first_of(["setup_module", "teardown_module", "setup_function"]))
def test_functions_in_the_style_of_xunit_are_guarded(run, function):
    result = run(f"def {function}(): reach()\ndef test_app(): pass")

    assert result.parseoutcomes()["errors"] == 1
    result.stdout.fnmatch_lines([REFUSED])


def test_a_class_of_unittest_is_guarded(run):
    result = run(
        """
        import unittest

        class TestApp(unittest.TestCase):
            @classmethod
            def setUpClass(cls): reach()
            def test_app(self): pass
        """
    )

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([REFUSED])


def test_a_module_is_guarded_while_it_is_collected_and_told_what_to_do(run):
    result = run("reach()")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([REFUSED, REMEDY])


@pytest.mark.exhaustive
def test_what_a_module_catches_while_it_is_collected_is_told(run):
    result = run("reach_and_catch()\ndef test_app(): pass")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([CAUGHT.format("collecting test_app.py"), REFUSED, REMEDY])


def test_a_conftest_is_guarded_and_told_without_a_traceback(run):
    result = run("", conftest="reach()")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: a connection to example.invalid would have left this machine: *", REMEDY])
    result.stderr.no_fnmatch_line("*Traceback*")


@pytest.mark.exhaustive
def test_a_conftest_that_is_imported_later_is_guarded_too(run, pytester):
    folder = pytester.mkdir("app")
    (folder / "conftest.py").write_text("from helpers import *\nreach()")
    (folder / "test_it.py").write_text("def test_it(): pass")

    result = run("def test_app(): pass")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([REFUSED, REMEDY])


def test_a_child_that_a_wider_fixture_starts_is_refused_by_its_environment(run):
    result = run(
        """
        import subprocess

        @pytest.fixture(scope="module")
        def child(): return subprocess.run("echo $OPENAI_BASE_URL $HTTPS_PROXY", shell=True, capture_output=True)

        def test_app(child): assert child.stdout.split() == [b"http://127.0.0.1:9/refused-by-fakellm", b"http://127.0.0.1:9"]
        """
    )

    result.assert_outcomes(passed=1)


def test_what_ran_outside_of_all_tests_fails_the_run(run):
    result = run("def test_app(): pass", conftest="def pytest_sessionfinish(): reach_and_catch()")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*= network =*", CAUGHT.format("what ran outside of all tests"), REFUSED])


def test_it_ends_with_the_session(run):
    import socket

    before = socket.getaddrinfo
    run("def test_app(): pass").assert_outcomes(passed=1)
    run("", conftest="reach()")

    assert socket.getaddrinfo is before


def test_a_marker_lets_a_test_and_its_fixtures_catch_what_is_refused(run):
    result = run(
        """
        @pytest.fixture(scope="module")
        def app():
            reach_and_catch()
            yield
            reach_and_catch()

        @pytest.mark.fake_llm(allow_misses=True)
        def test_app(app): reach_and_catch()
        """
    )

    result.assert_outcomes(passed=1)


def test_fakes_and_tapes_answer_inside_of_a_wider_fixture(run):
    result = run(
        """
        import httpx
        from fakellm import FakeProvider
        from fakellm.http import intercept

        @pytest.fixture(scope="session")
        def answer():
            with intercept(FakeProvider("openai")):
                yield httpx.get("https://api.openai.com/v1/models").status_code

        def test_app(answer): assert answer == 200
        """
    )

    result.assert_outcomes(passed=1)


def test_without_the_option_nothing_is_guarded(run):
    result = run("def setup_module(): socket.getaddrinfo('localhost', 1)\ndef test_app(): pass", block=False)

    result.assert_outcomes(passed=1)


# -- tapes and fixtures of a wider scope ----------------------------------------------------------------

TAPED = """
    import httpx
    from pathlib import Path
    from fakellm import FakeProvider
    from fakellm.cassette import Tape
    from fakellm.http import intercept, playing

    def ask():
        return httpx.get("http://127.0.0.1:9/v1/models")

    @pytest.fixture(scope={scope!r})
    def warm():
        {body}

    @pytest.mark.cassette(mode="once")
    def test_first(warm):
        with intercept(FakeProvider("openai", hosts=["127.0.0.1:9"])):
            pass

    def test_without(): pass
"""


@pytest.mark.exhaustive
@pytest.mark.parametrize("scope", ["class", "module", "session"])
def test_a_request_of_a_wider_fixture_does_not_land_on_the_tape_of_the_first_test(run, scope, pytester):
    result = run(TAPED.format(scope=scope, body="ask()"), block=False)

    assert result.parseoutcomes() == {"passed": 1, "errors": 1}
    result.stdout.fnmatch_lines(
        [
            f"*GET http://127.0.0.1:9/v1/models was sent by the fixture 'warm', whose scope is {scope}, and the tape *",
            "*to do: *play it from a tape of its own*fakellm.http.playing*",
            "*give the fixture the scope of a function*",
        ]
    )
    assert list(pytester.path.rglob("*.yaml")) == []


def test_nor_when_it_is_caught(run):
    result = run(
        TAPED.format(scope="module", body="with pytest.raises(BaseException, match='was sent by the fixture'): ask()"),
        block=False,
    )

    assert "GET http://127.0.0.1:9/v1/models was sent by the fixture 'warm'" in result.stdout.str()


def test_a_wider_fixture_may_have_a_tape_of_its_own(run, pytester):
    pytester.makefile(
        ".yaml",
        own="""
        version: 1
        interactions:
        - request: {method: GET, uri: 'http://127.0.0.1:9/v1/models', body: '', headers: {}}
          response: {status: {code: 200, message: OK}, headers: {}, body: {string: 'own'}}
        """,
    )
    body = "with playing(Tape(Path(__file__).with_name('own.yaml'), mode='none')): assert ask().text == 'own'"
    result = run(TAPED.format(scope="module", body=body), block=False)

    assert result.parseoutcomes() == {"passed": 2, "errors": 1}  # the test itself asked nothing
    result.stdout.no_fnmatch_line("*was sent by the fixture*")
    result.stdout.fnmatch_lines(["*no request touched the tape *test_first.yaml*"])
