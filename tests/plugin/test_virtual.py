"""The fixture `virtual_clock` in projects of its own: which tests have virtual time, and what is told when they fail."""

from __future__ import annotations

import gc
import textwrap
import time
import warnings

import preloaded  # noqa: F401
import pytest
from runs import LEAN
from vectors import first_of

IMPORTS = """
import asyncio, math, time
import anyio, openai, pytest
from fakellm import FakeLLM, Pause, disconnect, stall

MESSAGES = [{"role": "user", "content": "?"}]
SLEEP = time.sleep
"""


@pytest.fixture
def run(pytester):

    def run(test, *options):
        pytester.makepyfile(test_app=IMPORTS + textwrap.dedent(test))
        began = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            result = pytester.runpytest(*LEAN, *options)
        result.took = time.monotonic() - began
        gc.collect()
        return result

    return run


# -- plain tests --------------------------------------------------------------------------------------


def test_a_plain_test_has_virtual_time(run):
    result = run(
        """
        def test_backoff(fake_openai, virtual_clock):
            fake_openai.error(429, retry_after=7).reply("ok")
            openai.OpenAI().chat.completions.create(model="m", messages=MESSAGES)
            assert virtual_clock.now == 7

        def test_models(fake_llm, fake_chat_model, virtual_clock):
            fake_llm.reply("a", Pause(30), "b")
            fake_chat_model.reply("a", Pause(5), "b")
            assert list(fake_llm.stream("?")) == ["a", "b"]
            fake_chat_model.invoke("?")
            assert virtual_clock.now == 35

        def test_sleep(virtual_clock):
            before = time.monotonic(), time.perf_counter(), time.time()
            time.sleep(3600)
            assert [round(b - a) for a, b in zip(before, (time.monotonic(), time.perf_counter(), time.time()))] == [3600] * 3
            assert virtual_clock.now == 3600

        def test_time_is_the_machines_again():
            assert time.sleep is SLEEP

        @pytest.mark.virtual_clock(patch_time=False)
        def test_the_machines_time(virtual_clock):
            assert time.sleep is SLEEP

        def test_by_name(request):
            clock = request.getfixturevalue("virtual_clock")
            time.sleep(3600)
            assert clock.now == 3600
        """
    )

    result.assert_outcomes(passed=6)
    assert result.took < 20


@pytest.mark.exhaustive
def test_a_tape_has_the_time_that_was_recorded(run, pytester):
    result = run(
        """
        from fakellm import Script, Text
        from fakellm.cassette.scripted import interaction_of, write

        URL = "https://api.openai.com/v1/chat/completions"
        ASKED = {"model": "m", "messages": MESSAGES, "stream": True}

        def test_make(tmp_path):
            import os
            os.makedirs("cassettes")
            write("cassettes/t.yaml", interaction_of(Script(Text("a"), Pause(1800), Text("b")), URL, ASKED))

        @pytest.mark.cassette("t.yaml", mode="none")
        def test_virtual(virtual_clock):
            with openai.OpenAI(api_key="k", timeout=3600) as client:
                list(client.chat.completions.create(**ASKED))
            assert virtual_clock.now == 1800

        @pytest.mark.cassette("t.yaml", mode="none", timing="instant")
        def test_its_own_timing_comes_first(virtual_clock):
            with openai.OpenAI(api_key="k", timeout=3600) as client:
                list(client.chat.completions.create(**ASKED))
            assert virtual_clock.now == 0
        """
    )

    result.assert_outcomes(passed=3)


@pytest.mark.exhaustive
def test_the_marker_takes_no_other_options(run):
    result = run(
        """
        @pytest.mark.virtual_clock(speed=2)
        def test(virtual_clock):
            pass
        """
    )

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["the marker virtual_clock takes seed and patch_time, not speed"])


# -- asynchronous tests -------------------------------------------------------------------------------

BACKENDS = [
    'def anyio_backend(): return "asyncio"',
    'def anyio_backend(): return "asyncio", {"debug": True}',
    'def anyio_backend(): yield "trio"',
    'def anyio_backend(): return "trio", {"restrict_keyboard_interrupt_to_checkpoints": True}',
]


@pytest.mark.parametrize("backend", first_of(BACKENDS[::-1]))
def test_a_test_of_anyio_has_virtual_time_on_the_backend_of_the_project(run, backend):
    result = run(
        f"""
        @pytest.fixture
        {backend}

        @pytest.fixture
        async def began(virtual_clock, anyio_backend):
            await anyio.sleep(5)
            return virtual_clock.now

        @pytest.mark.anyio
        @pytest.mark.parametrize("again", [1, 2])
        async def test_virtual(fake_openai, virtual_clock, began, again):
            fake_openai.reply("Hel", stall())
            async with openai.AsyncOpenAI(timeout=20, max_retries=0) as client:
                with pytest.raises(openai.APITimeoutError):
                    await client.chat.completions.create(model="m", messages=MESSAGES)
            assert (began, virtual_clock.now) == (5, 25)
            await anyio.sleep(3600)

        @pytest.mark.anyio
        async def test_real(anyio_backend):
            from fakellm.concurrency import clock_of_loop
            assert clock_of_loop() is None
        """
    )

    result.assert_outcomes(passed=3)


@pytest.mark.exhaustive
def test_the_backends_of_anyio_are_those_that_it_would_have(run):
    result = run(
        """
        @pytest.mark.anyio
        async def test_virtual(virtual_clock, anyio_backend_name):
            await anyio.sleep(3600)
            assert (virtual_clock.now, anyio.get_current_task().id > 0) == (3600, True)
        """,
        "-v",
    )

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_virtual?asyncio? PASSED*", "*test_virtual?trio? PASSED*"])


@pytest.mark.exhaustive
def test_other_tests_keep_their_event_loops(run):
    result = run(
        """
        LOOP = asyncio.SelectorEventLoop

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        async def the_loop():
            return type(asyncio.get_running_loop())

        def test_policy_and_loops():
            policy = asyncio.get_event_loop_policy()
            assert type(policy).__module__.startswith("asyncio.")
            loop = policy.new_event_loop()
            assert type(loop) is LOOP is asyncio.run(the_loop())
            assert LOOP.__module__.startswith("asyncio.")
            loop.close()

        @pytest.mark.anyio
        async def test_loop():
            assert await the_loop() is LOOP

        @pytest.mark.anyio
        async def test_virtual(virtual_clock):
            assert await the_loop() is not LOOP
            assert type(asyncio.get_event_loop_policy()).__module__.startswith("asyncio.")

        test_loop_again, test_policy_and_loops_again = test_loop, test_policy_and_loops

        def test_nothing_of_virtual_time_is_loaded_for_nothing():
            import subprocess, sys
            code = "import sys, _fakellm_pytest; print([name for name in sys.modules if name.startswith('fakellm')])"
            assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\\n"
        """
    )

    result.assert_outcomes(passed=6)


@pytest.mark.exhaustive
def test_an_asynchronous_test_that_nobody_runs_in_virtual_time_is_told_what_to_do(run):
    result = run(
        """
        async def test_app(virtual_clock):
            pass
        """
    )

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "test_app.py::test_app asks for virtual_clock, but would run in real time: no plugin that is known to*",
            "*to do: * mark it asyncio (pytest-asyncio 1.4 or newer) or anyio",
            "*or make it a plain test that calls fakellm.clock.run(main(), clock=virtual_clock)",
        ]
    )


@pytest.mark.exhaustive
def test_a_backend_that_other_tests_of_the_module_share_is_virtual_for_those_that_ask(run):
    result = run(
        """
        from fakellm.concurrency import clock_of_loop

        @pytest.fixture(scope="module")
        def anyio_backend():
            return "asyncio"

        @pytest.mark.anyio
        async def test_real():
            assert clock_of_loop() is None

        @pytest.mark.anyio
        async def test_virtual(virtual_clock):
            assert clock_of_loop() is virtual_clock

        test_real_again, test_virtual_again = test_real, test_virtual
        """
    )

    result.assert_outcomes(passed=4)


@pytest.mark.exhaustive
def test_a_loop_that_a_wider_fixture_has_made_is_told(run):
    result = run(
        """
        @pytest.fixture(scope="module")
        def anyio_backend():
            return "asyncio"

        @pytest.fixture(scope="module")
        async def shared(anyio_backend):
            yield
            await anyio.sleep(0)

        @pytest.mark.anyio
        async def test_real(shared):
            pass

        @pytest.mark.anyio
        async def test_virtual(anyio_backend, virtual_clock):
            pass
        """
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["the test asks for virtual_clock, but its event loop was made before it, *"])


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.exhaustive
def test_a_loop_in_virtual_time_is_never_shared_with_a_test_that_wants_none(run, backend):
    result = run(
        f"""
        @pytest.fixture(scope="module")
        def anyio_backend():
            return {backend!r}

        @pytest.fixture(scope="module")
        async def shared(anyio_backend):
            yield
            await anyio.sleep(0)

        @pytest.mark.anyio
        async def test_virtual(shared, virtual_clock):
            pass

        @pytest.mark.anyio
        async def test_real(shared):
            begin = time.perf_counter()
            await anyio.sleep(0.02)
            assert time.perf_counter() - begin >= 0.01
        """
    )

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*shares its event loop with other tests by the asynchronous fixture 'shared'*"])


@pytest.mark.exhaustive
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_deadlock_fails_the_test_and_no_other(run, backend):
    result = run(
        f"""
        @pytest.fixture
        def anyio_backend():
            return {backend!r}

        @pytest.mark.anyio
        async def test_dead(virtual_clock):
            await anyio.sleep(5)
            virtual_clock.note("now it waits")
            await anyio.Event().wait()

        @pytest.mark.anyio
        async def test_next(virtual_clock):
            await anyio.sleep(5)
            assert virtual_clock.now == 5
        """
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*VirtualDeadlockError: deadlock at 5 s of virtual time: every task waits, and nothing will ever wake one",
            "*test_app.py:16 in test_dead, in *",
            "*- virtual_clock: what happened when -*",
            "*5.000 s  timer *",
            "*5.000 s  note     now it waits",
        ]
    )


@pytest.mark.exhaustive
def test_a_failing_test_prints_the_timeline(run):
    result = run(
        """
        def test_app(fake_llm, virtual_clock):
            fake_llm.reply("Hel", Pause(30), "lo")
            list(fake_llm.stream("?"))
            assert virtual_clock.gaps == [20]
        """
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- virtual_clock: what happened when -*",
            "*0.000 s  asked * stream('?')",
            "*0.000 s  chunk * 'Hel'",
            "*0.000 s  waits * Pause(30)",
            "*30.000 s  chunk * 'lo'",
            "*30.000 s  ended *",
        ]
    )


@pytest.mark.exhaustive
def test_a_seed_decides_the_order_of_equals(run):
    result = run(
        """
        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        async def order():
            woken = []
            async def sleeper(number):
                await asyncio.sleep(1)
                woken.append(number)
            await asyncio.gather(*map(sleeper, range(8)))
            return woken

        @pytest.mark.anyio
        async def test_first_in_first_out(virtual_clock):
            assert await order() == list(range(8))

        @pytest.mark.anyio
        @pytest.mark.virtual_clock(seed=1)
        async def test_seeded(virtual_clock):
            assert await order() != list(range(8))
        """
    )

    result.assert_outcomes(passed=2)


# -- twice --------------------------------------------------------------------------------------------

TWICE = """
    RUNS = {}

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    @pytest.fixture
    def count(request):
        RUNS[request.node.name] = RUNS.get(request.node.name, 0) + 1
        return RUNS[request.node.name]

    @pytest.mark.anyio
    async def test_same(fake_openai, virtual_clock, count):
        fake_openai.error(429, retry_after=7).reply("Hel", Pause(19), "lo")
        async with openai.AsyncOpenAI() as client:
            await client.chat.completions.create(model="m", messages=MESSAGES)
        assert virtual_clock.now == 26

    @pytest.mark.anyio
    async def test_other(virtual_clock, count):
        virtual_clock.note("both")
        await anyio.sleep(count)

    def test_plain(fake_llm, virtual_clock, count):
        fake_llm.reply("a", Pause(count), "b")
        list(fake_llm.stream("?"))

    @pytest.mark.anyio
    async def test_fails(virtual_clock, count):
        assert count == 2

    def test_once(count):
        assert count == 1

    def test_counts():
        assert RUNS == {expected}
"""


@pytest.mark.exhaustive
def test_each_virtual_test_runs_twice_if_wanted_and_a_difference_fails_it(run):
    counts = {"test_same": 2, "test_other": 2, "test_plain": 2, "test_fails": 1, "test_once": 1}

    result = run(TWICE.replace("{expected}", str(counts)), "--llm-virtual-twice")

    result.assert_outcomes(passed=3, failed=3)
    result.stdout.fnmatch_lines(
        [
            "two runs in virtual time part at moment 2: *",
            "  both * 0.000 s  note     both",
            "  first  * 1.000 s  timer    test_other*",
            "  second * 2.000 s  timer    test_other*",
            "two runs in virtual time part at moment *",
        ]
    )


@pytest.mark.exhaustive
def test_without_the_option_each_runs_once(run):
    counts = dict.fromkeys(("test_same", "test_other", "test_plain", "test_fails", "test_once"), 1)

    result = run(TWICE.replace("{expected}", str(counts)))

    result.assert_outcomes(passed=5, failed=1)
