"""What is said of tests that run many times: the log of the case that failed, how many ran, how far it is."""

from __future__ import annotations

import preloaded  # noqa: F401
import pytest
from runs import LEAN

from _fakellm_pytest.sweeps import Line
from fakellm.contracts.progress import Progress

SWEEPS = """
    import pytest
    from fakellm import FakeLLM, Script, any_chunking, disconnect, every_fault, every_interleaving
    from fakellm.errors import LLMError

    @every_fault(Script("one ", "two"), kinds="disconnect")
    def test_faults(faulty):
        with pytest.raises(LLMError):
            "".join(FakeLLM(faulty).stream("?"))

    @every_fault(Script("one ", "two"), only=(1, disconnect()))
    def test_one_fault(faulty):
        with pytest.raises(LLMError):
            "".join(FakeLLM(faulty).stream("?"))

    @any_chunking("abc", examples=0)
    def test_chunkings(chunks):
        assert "".join(chunks) == "abc"

    @every_interleaving(Script("a", "b"), Script("c", "d"))
    async def test_orders(first, second):
        import asyncio

        async def read(llm):
            return [chunk async for chunk in llm.astream("?")]

        return await asyncio.gather(read(first), read(second))

    def test_plain(): pass
"""


@pytest.mark.exhaustive
def test_a_verbose_run_says_how_many_cases_a_sweep_ran(pytester):
    pytester.makepyfile(test_app=SWEEPS)

    result = pytester.runpytest(*LEAN, "-v")

    result.assert_outcomes(passed=5)
    text = result.stdout.str()
    for words in ("PASSED (12 faults)", "PASSED (1 fault)", "PASSED (6 orders)"):
        assert words in text
    result.stdout.re_match_lines([r".*PASSED \(\d+ chunkings\)"])
    assert text.count("PASSED (") == 4


def test_a_quiet_run_looks_as_ever(pytester):
    pytester.makepyfile(test_app=SWEEPS)

    pytester.runpytest(*LEAN).stdout.fnmatch_lines(["test_app.py .....*"])


def test_a_failed_sweep_shows_the_log_of_the_fault_that_is_named(pytester):
    pytester.makepyfile(
        test_app="""
        import openai
        from fakellm import Script, every_fault

        @every_fault(Script("one ", "two "), kinds=["disconnect", "provider_error"])
        def test_app(faulty, fake_openai, virtual_clock):
            fake_openai.otherwise(faulty)
            client, text = openai.OpenAI(max_retries=0), ""
            try:
                for chunk in client.chat.completions.create(model="m", messages=[], stream=True):
                    text += chunk.choices[0].delta.content or ""
            except Exception:
                return
            assert text == faulty.whole.text
        """
    )

    result = pytester.runpytest(*LEAN)

    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    fault = text.partition("answer:")[2].splitlines()[0].strip()
    log = text.partition("fake_openai: calls and chunks")[2]
    assert f"otherwise: {fault}" in log
    assert "ProviderCall 2" not in log
    assert "[answered call 1]" in log


def test_a_line_on_a_terminal_says_how_far_a_sweep_is_and_goes_away():
    now, written = [0.0], []
    line = Line(written.append, lambda: 12, lambda: now[0])
    progress = Progress("faults")
    progress.begin(1200)
    progress.watch = line
    for now[0] in (1.0, 1.9, 2.0, 2.1, 2.2):
        progress.step()
    line.erase()

    assert written == ["\x1b7\x1b[K 3 of 1,200 \x1b8", "\x1b7\x1b[K 5 of 1,200 \x1b8", "\x1b[K"]


def test_a_short_sweep_shows_nothing():
    written = []
    line = Line(written.append, lambda: 80, lambda: 0.0)
    line(Progress("faults"))
    line.erase()

    assert written == []
