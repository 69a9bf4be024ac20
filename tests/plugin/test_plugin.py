"""The pytest plugin, as its users meet it: small projects, run for real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from runs import LEAN

# Other plugins of this environment, whose imports would be paid for in each of these runs, stay out.


def run(pytester, test, *options, **files):
    pytester.makepyfile(test_app=test, **files)
    return pytester.runpytest(*LEAN, *options)


def test_a_fixture_answers_the_app(pytester):
    result = run(
        pytester,
        """
        def summarise(llm, text):
            return "".join(llm.stream(text))

        def test_app(fake_llm):
            fake_llm.reply("Hel", "lo")
            assert summarise(fake_llm, "...") == "Hello"
            assert fake_llm.calls[0].input == "..."

        def test_chat(fake_chat_model):
            fake_chat_model.reply("Hi")
            assert fake_chat_model.invoke([("user", "?")]).content == "Hi"
        """,
    )

    result.assert_outcomes(passed=2)


def test_each_test_gets_a_fake_of_its_own(pytester):
    result = run(
        pytester,
        """
        def test_one(fake_llm):
            fake_llm.reply("a").invoke("?")

        def test_two(fake_llm):
            assert fake_llm.calls == []
        """,
    )

    result.assert_outcomes(passed=2)


def test_an_unused_reply_fails_the_test_at_teardown(pytester):
    result = run(
        pytester,
        """
        def test_app(fake_llm):
            fake_llm.reply("used").reply("for", "gotten").when("never", "x").otherwise("fine")
            fake_llm.invoke("?")
        """,
    )

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*FakeLLM was never asked for 2 of its replies",
            "*Call 1: invoke('?') complete, 1 delivered",
            "*reply: Script('for', 'gotten')*unused*",
            "*when 'never': Script('x')*unused*",
            "*to do: *iterates what stream() returns*",
            "*allow_unused=True*",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_swallowed_miss_fails_the_test_at_teardown(pytester):
    result = run(
        pytester,
        """
        def test_app(fake_llm):
            fake_llm.reply("a").invoke("first")
            try:
                fake_llm.invoke("second")
            except BaseException:
                pass
        """,
    )

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*a call in test_app, *test_app.py, found no reply of FakeLLM, and its UnexpectedCallError was caught*",
            "*sent: *invoke('second')",
            "*to do: *allow_misses=True*",
        ]
    )


def test_a_miss_passes_through_except_exception(pytester):
    result = run(
        pytester,
        """
        def test_app(fake_llm):
            try:
                fake_llm.invoke("?")
            except Exception:
                pass
        """,
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*UnexpectedCallError: call 1 of the fake model has no reply: nothing was scripted"])


def test_a_marker_allows_both(pytester):
    result = run(
        pytester,
        """
        import pytest

        pytestmark = pytest.mark.fake_llm(allow_unused=True)

        def test_unused(fake_llm):
            fake_llm.reply("unused")

        @pytest.mark.fake_llm(allow_misses=True)
        def test_both(fake_llm):
            fake_llm.reply("unused").when("x", "y")
            fake_llm.invoke("x")
            try:
                fake_llm.reply("a").invoke("?"), fake_llm.invoke("?"), fake_llm.invoke("?")
            except BaseException:
                pass

        @pytest.mark.fake_llm(allow_unused=False)
        def test_nearest_marker_wins(fake_llm):
            fake_llm.reply("unused")
        """,
    )

    result.assert_outcomes(passed=3, errors=1)


def test_a_marker_with_a_typo_is_refused(pytester):
    result = run(
        pytester,
        """
        import pytest

        @pytest.mark.fake_llm(alow_unused=True)
        def test_app(fake_llm):
            pass
        """,
    )

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*the marker fake_llm takes allow_unused=True and allow_misses=True, not alow_unused*"]
    )


def test_markers_are_declared(pytester):
    result = run(pytester, "", "--markers")

    result.stdout.fnmatch_lines(["@pytest.mark.fake_llm(allow_unused=False, allow_misses=False): *"])


def test_a_failure_shows_the_calls_and_the_chunks(pytester):
    result = run(
        pytester,
        """
        def test_app(fake_llm, fake_chat_model):
            fake_llm.reply("Hel", "lo").reply("never")
            for chunk in fake_llm.stream("greet"):
                break
            assert chunk == "Hello"
        """,
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*fake_llm: calls and chunks*",
            "Call 1: stream('greet') closed, 1 delivered",
            "  chunks: 'Hel'",
            "  stepped by: MainThread",
            "*fake_chat_model: calls and chunks*",
            "FakeChatModel was not called",
        ]
    )
    result.stdout.no_fnmatch_line("*was never asked for*")


def test_a_failing_setup_shows_the_calls_too(pytester):
    result = run(
        pytester,
        """
        import pytest

        @pytest.fixture
        def app(fake_llm):
            fake_llm.reply("a").invoke("warm up")
            raise RuntimeError("no app")

        def test_app(app):
            pass
        """,
    )

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fake_llm: calls and chunks*", "Call 1: invoke('warm up') complete, 1 delivered"])


def test_of_many_calls_the_report_shows_the_first_and_the_last(pytester):
    result = run(
        pytester,
        """
        def test_app(fake_llm):
            fake_llm.otherwise("a")
            for n in range(300):
                fake_llm.invoke(str(n))
            assert False
        """,
    )

    result.stdout.fnmatch_lines(["Call 10: *", "... 280 calls ...", "Call 291: *", "Call 300: *"])
    result.stdout.no_fnmatch_line("Call 11: *")


def test_a_test_that_skips_is_not_checked_for_what_it_did_not_do(pytester):
    result = run(
        pytester,
        """
        import pytest

        def test_app(fake_llm):
            fake_llm.reply("a")
            pytest.skip("not today")
        """,
    )

    result.assert_outcomes(skipped=1)


def test_it_works_under_unittest_free_classes_and_parametrize(pytester):
    result = run(
        pytester,
        """
        import pytest

        class TestApp:
            @pytest.mark.parametrize("word", ["a", "b"])
            def test_app(self, fake_llm, word):
                fake_llm.reply(word)
                assert fake_llm.invoke("?") == word
        """,
    )

    result.assert_outcomes(passed=2)


def test_another_distributions_plugin_of_the_projects_name_is_refused(pytester):
    pytester.makepyfile(rival="")
    pytester.makeconftest(
        """
        import rival

        def pytest_addoption(parser, pluginmanager):
            pluginmanager.register(rival, "fakellm")
        """
    )

    result = run(pytester, "def test_app(): pass")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "*the plugin 'fakellm' (*rival.py) belongs to another distribution*",
            "*to do: pip uninstall -y fakellm fakellm-stream, then pip install fakellm-stream",
        ]
    )


def test_a_second_copy_of_the_plugin_is_refused(pytester):
    copy = pytester.mkpydir("vendored").joinpath("_fakellm_pytest.py")
    copy.write_text("")
    pytester.syspathinsert()

    result = run(pytester, "def test_app(): pass", "-p", "vendored._fakellm_pytest")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "*the plugin _fakellm_pytest is loaded twice: *__init__.py and, as 'vendored._fakellm_pytest', *_fakellm_pytest.py*",
            "*remove the -p option or the pytest_plugins entry*",
        ]
    )


def test_naming_the_plugin_again_is_harmless(pytester):
    result = run(pytester, "def test_app(fake_llm): fake_llm.otherwise('a')", "-p", "_fakellm_pytest")

    result.assert_outcomes(passed=1)


@pytest.mark.exhaustive
def test_a_foreign_package_of_the_same_name_is_named(pytester):
    """A file called fakellm.py shadows the library: in a subprocess, since this process has it loaded."""
    pytester.makepyfile(fakellm="", test_app="def test_app(fake_llm): pass")

    result = pytester.runpytest_subprocess(*LEAN)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*the package fakellm (*fakellm.py) is not that of fakellm-stream*",
            "*a file or folder of your own that is called fakellm needs another name*",
        ]
    )


def test_a_foreign_module_that_is_loaded_already_is_named(pytester):
    pytester.makeconftest("import sys, types; sys.modules['fakellm'] = types.ModuleType('fakellm')")

    result = run(pytester, "def test_app(fake_llm): pass")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the package fakellm (not importable) is not that of fakellm-stream*"])


def test_the_plugin_imports_pytest_and_the_standard_library_only():
    code = (
        "import sys, pytest; before = set(sys.modules); import _fakellm_pytest;"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert out.split() == ["_fakellm_pytest"]


@pytest.mark.exhaustive
def test_a_pytest_run_without_the_fixtures_imports_neither_fakellm_nor_more_of_the_plugin(pytester):
    """Each test asks what those before it have made the plugin import, a failed one apart."""
    pytester.makepyfile("""
        import sys

        def test_app(tmp_path): assert "fakellm" not in sys.modules

        def test_plugin():
            assert {name for name in sys.modules if name.startswith("_fakellm")} == {
                "_fakellm_pytest", "_fakellm_pytest.hooks"
            }
    """)

    result = pytester.runpytest_subprocess(*LEAN)

    result.assert_outcomes(passed=2)


def test_the_fixture_names_are_not_those_of_the_other_distribution():
    source = Path(sys.modules["_fakellm_pytest"].__file__).read_text()

    assert "def fakellm(" not in source
    assert "--fakellm" not in source
