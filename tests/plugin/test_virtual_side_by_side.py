"""Virtual time under pytest-asyncio, in small projects that are run for real.

Needs pytest-asyncio and says so if it is not installed; .ci/run provides it on each Python.
"""

from __future__ import annotations

import gc
import sys
import textwrap
import warnings
from types import SimpleNamespace

import preloaded  # noqa: F401
import pytest

from _fakellm_pytest import virtual

pytest.importorskip("pytest_asyncio", reason="pytest-asyncio is not installed")
QUIET = ("-p", "no:cacheprovider", "-p", "no:langsmith_plugin", "-p", "no:hypothesispytest", "-p", "no:recording")
IMPORTS = """
import asyncio, time
import openai, pytest, pytest_asyncio
from fakellm import Pause, stall

LOOP = asyncio.SelectorEventLoop

def is_virtual():
    return type(asyncio.get_running_loop()) is not LOOP
"""


@pytest.fixture
def run(pytester):

    def run(test, *options, **files):
        pytester.makepyfile(test_app=IMPORTS + textwrap.dedent(test), **files)
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            result = pytester.runpytest(*QUIET, "-o", "asyncio_default_fixture_loop_scope=function", *options)
        gc.collect()
        return result

    return run


def test_the_right_answer_in_each_case(run):
    result = run(
        """
        from virtual_cases import CASES

        @pytest.mark.asyncio
        @pytest.mark.parametrize("case", [case for case in CASES if "asyncio" in case.on], ids=str)
        async def test_case(case, virtual_clock):
            await case.check(virtual_clock)
        """
    )

    from virtual_cases import CASES

    result.assert_outcomes(passed=sum("asyncio" in case.on for case in CASES))


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_only_tests_that_ask_have_virtual_time_and_no_test_has_another_name(run, mode):
    mark = "@pytest.mark.asyncio" if mode == "strict" else ""
    result = run(
        f"""
        {mark}
        async def test_virtual(virtual_clock, fake_openai):
            fake_openai.reply("Hel", stall())
            async with openai.AsyncOpenAI(timeout=20, max_retries=0) as client:
                with pytest.raises(openai.APITimeoutError):
                    await client.chat.completions.create(model="m", messages=[])
            assert virtual_clock.now == 20
            assert is_virtual()

        {mark}
        async def test_real():
            assert not is_virtual()
            assert type(asyncio.get_event_loop_policy()).__module__.startswith("asyncio.")

        class TestClass:
            {mark}
            @pytest.mark.parametrize("word", ["a"])
            async def test_virtual(self, word, virtual_clock):
                await asyncio.sleep(3600)
                assert virtual_clock.now == 3600

        def test_plain():
            async def main():
                return is_virtual()
            assert not asyncio.run(main())
        """,
        f"--asyncio-mode={mode}",
        "-v",
    )

    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(
        ["*::test_virtual PASSED*", "*::test_real PASSED*", "*::TestClass::test_virtual?a? PASSED*"]
    )


def test_asynchronous_fixtures_of_the_test_have_its_time(run):
    result = run(
        """
        @pytest_asyncio.fixture
        async def began(virtual_clock):
            await asyncio.sleep(5)
            yield virtual_clock.now
            await asyncio.sleep(3600)

        @pytest.mark.asyncio
        async def test_virtual(began, virtual_clock):
            await asyncio.sleep(5)
            assert (began, virtual_clock.now) == (5, 10)
        """
    )

    result.assert_outcomes(passed=1)


def test_the_loop_factories_of_the_project_are_for_the_other_tests(run):
    result = run(
        """
        @pytest.mark.asyncio
        async def test_virtual(virtual_clock):
            await asyncio.sleep(3600)
            assert virtual_clock.now == 3600

        @pytest.mark.asyncio
        async def test_real():
            assert type(asyncio.get_running_loop()).__name__ == "Own"
        """,
        conftest="""
            import asyncio
            class Own(asyncio.SelectorEventLoop): pass
            def pytest_asyncio_loop_factories(config, item): return {"own": Own}
        """,
    )

    result.assert_outcomes(passed=2)


def test_a_loop_that_other_tests_share_is_told(run):
    result = run(
        """
        @pytest.mark.asyncio(loop_scope="module")
        @pytest.mark.parametrize("number", [1, 2])
        async def test_shared(virtual_clock, number):
            await asyncio.sleep(3600)
        """
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*to do: * loop_scope='function' under pytest-asyncio; *"])


def test_a_deadlock_fails_the_test_and_no_other(run):
    result = run(
        """
        @pytest.mark.asyncio
        async def test_dead(virtual_clock):
            await asyncio.Event().wait()

        @pytest.mark.asyncio
        async def test_next(virtual_clock):
            await asyncio.sleep(5)
        """
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*VirtualDeadlockError: deadlock at 0 s of virtual time: *", "E*waiting: * test_dead, *"]
    )


def test_virtual_tests_run_twice_if_wanted(run):
    result = run(
        """
        RUNS = []

        @pytest.mark.asyncio
        async def test_same(virtual_clock, fake_openai):
            RUNS.append(1)
            fake_openai.error(429, retry_after=7).reply("ok")
            async with openai.AsyncOpenAI() as client:
                await client.chat.completions.create(model="m", messages=[])

        @pytest.mark.asyncio
        async def test_other(virtual_clock):
            RUNS.append(1)
            await asyncio.sleep(len(RUNS))

        def test_count():
            assert len(RUNS) == 4
        """,
        "--llm-virtual-twice",
    )

    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["two runs in virtual time part at moment 1: *"])


def test_a_pytest_asyncio_without_loop_factories_is_named_with_the_remedy():
    item = SimpleNamespace(
        nodeid="test_app.py::test_app",
        fixturenames=["virtual_clock"],
        get_closest_marker={"asyncio": pytest.mark.asyncio.mark}.get,
        config=SimpleNamespace(hook=SimpleNamespace()),
    )

    problem = virtual._without_loop(item)

    version = sys.modules["pytest_asyncio"].__version__
    assert f"would run in real time: pytest-asyncio {version} takes no loop from other plugins" in problem
    assert "pip install 'pytest-asyncio>=1.4'" in problem
