"""The virtual clock in synchronous code: waiting on it, reading it, and standing in for the module `time`."""

from __future__ import annotations

import asyncio
import math
import threading
import time

import pytest

from fakellm import FakeLLM, FakeProvider, Pause, disconnect, stall
from fakellm.clock.clock import Clock, RealClock, VirtualClock, timed_stream
from fakellm.clock.timeline import Moment, TwoRunsDifferError, compare
from fakellm.clock.virtual_loop import run
from fakellm.errors import LLMConnectionError, LLMTimeoutError

REAL = {name: getattr(time, name) for name in ("sleep", "monotonic", "perf_counter", "time")}


def test_it_is_a_clock():
    assert isinstance(VirtualClock(), Clock)
    assert repr(VirtualClock()) == "<VirtualClock 0 s>"


def test_time_moves_on_by_what_is_waited():
    clock = VirtualClock()
    for _ in range(3):
        clock.sleep(0.1)
    clock.sleep(0)
    assert clock.now == 0.3
    clock.sleep(3600)
    assert clock.now == 3600.3


def test_time_does_not_go_back():
    clock = VirtualClock()
    clock.set(5)
    clock.set(4)
    assert clock.now == 5


def test_silence_without_end_is_a_timeout():
    clock = VirtualClock()
    clock.sleep(2.5)
    with pytest.raises(LLMTimeoutError, match="the stream fell silent for ever at 2.5 s of its clock"):
        clock.sleep(math.inf)


def test_waiting_in_a_loop_of_other_time_is_an_error_that_says_what_to_do():
    async def main():
        await VirtualClock().asleep(1)

    for runner in (asyncio.run, run):
        with pytest.raises(RuntimeError, match=r"fakellm\.clock\.run\(main\(\), clock=clock\)"):
            runner(main())


@pytest.mark.anyio
async def test_waiting_in_a_real_loop_is_an_error_on_trio_too():
    with pytest.raises(RuntimeError, match="an event loop that is not its own"):
        await VirtualClock().asleep(1)


# -- reading it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("flavour", ["sync", "async"])
def test_the_times_of_a_stream(flavour):
    clock = VirtualClock()
    llm = FakeLLM(Pause(2), "Hel", Pause(30), "lo", "!", clock=clock)

    async def main():
        return [chunk async for chunk in llm.astream("?")]

    assert (run(main(), clock=clock) if flavour == "async" else list(llm.stream("?"))) == ["Hel", "lo", "!"]
    assert clock.time_to_first_chunk == 2
    assert clock.gaps == [30, 0]
    (stream,) = clock.streams
    assert (stream.asked, stream.chunks) == (0, [2, 32, 32])


def test_a_consumer_that_takes_its_time_is_seen():
    clock = VirtualClock()
    for _ in FakeLLM("a", "b", "c", clock=clock).stream("?"):
        clock.sleep(5)
    assert clock.gaps == [5, 5]


def test_the_last_stream_counts_and_none_has_no_times():
    clock = VirtualClock()
    assert (clock.time_to_first_chunk, clock.gaps, clock.streams) == (None, [], [])
    llm = FakeLLM.replies(["a", Pause(1), "b"], [Pause(7), "c"], clock=clock)
    list(llm.stream("?"))
    list(llm.stream("?"))
    assert (clock.time_to_first_chunk, clock.gaps) == (7, [])
    assert [stream.gaps for stream in clock.streams] == [[1], []]


def test_the_log_says_what_happened_when():
    clock = VirtualClock()
    llm = FakeLLM.replies(["Hel", Pause(3), "lo"], ["x", disconnect()], ["a", "b"], clock=clock)
    list(llm.stream("first"))
    clock.note("second")
    with pytest.raises(LLMConnectionError):
        list(llm.stream("second"))
    stream = llm.stream("third")
    next(stream)
    stream.close()

    assert [" ".join(line.split()) for line in clock.report().split("\n")] == [
        "0.000 s asked [1] stream('first')",
        "0.000 s chunk [1] 'Hel'",
        "0.000 s waits [1] Pause(3)",
        "3.000 s chunk [1] 'lo'",
        "3.000 s ended [1]",
        "3.000 s note second",
        "3.000 s asked [2] stream('second')",
        "3.000 s chunk [2] 'x'",
        "3.000 s fails [2] disconnect()",
        "3.000 s asked [3] stream('third')",
        "3.000 s chunk [3] 'a'",
        "3.000 s closed [3] by its reader",
    ]


def test_an_answer_that_is_asked_for_whole_waits_as_long():
    clock = VirtualClock()
    llm = FakeLLM("Hel", Pause(3), "lo", clock=clock)
    assert (llm.invoke("?"), clock.now) == ("Hello", 3)
    assert (run(llm.ainvoke("?"), clock=clock), clock.now) == ("Hello", 6)


def test_the_log_of_a_provider():
    clock = VirtualClock()
    fake = FakeProvider("openai", clock=clock)
    stream = timed_stream(fake.clock, "POST x")
    assert list(stream.each(["a"])) == ["a"]
    stream.end(ValueError("broken"))
    assert [moment.text for moment in clock.timeline.moments] == ["[1] POST x", "[1] 'a'", "[1] ValueError: broken"]
    assert timed_stream(RealClock(), "POST x") is None


def test_a_long_log_is_shown_without_its_middle():
    clock = VirtualClock()
    for number in range(100):
        clock.note(str(number))
    lines = clock.report().split("\n")
    assert len(lines) == 61
    assert lines[30] == "      ... 40 moments more ..."
    assert (lines[29].split()[-1], lines[31].split()[-1]) == ("29", "70")
    assert VirtualClock().report() == "nothing happened on this clock"


def test_logs_are_compared_moment_by_moment():
    moments = [Moment(0, "note", "a"), Moment(1, "note", "b")]
    compare(moments, [*moments])
    with pytest.raises(TwoRunsDifferError, match="part at moment 2"):
        compare(moments, [moments[0], Moment(1, "note", "c")])


# -- in place of the module time ----------------------------------------------------------------------


def test_the_module_time_is_the_clocks_inside_the_block():
    clock = VirtualClock()
    clock.sleep(5)
    with clock.patch_time():
        before = time.monotonic(), time.perf_counter(), time.time(), time.monotonic_ns(), time.time_ns()
        time.sleep(3600.25)
        after = time.monotonic(), time.perf_counter(), time.time(), time.monotonic_ns(), time.time_ns()
        assert [b - a for a, b in zip(before[:3], after[:3], strict=True)] == pytest.approx([3600.25] * 3)
        assert [b - a for a, b in zip(before[3:], after[3:], strict=True)] == [3_600_250_000_000] * 2
        with pytest.raises(ValueError, match="sleep length must be non-negative"):
            time.sleep(-1)
    assert clock.now == 3605.25
    assert {name: getattr(time, name) for name in REAL} == REAL


def test_time_goes_on_from_the_machines():
    with VirtualClock().patch_time():
        for name in ("monotonic", "perf_counter", "time"):
            assert getattr(time, name)() == pytest.approx(REAL[name](), abs=2)


def test_other_threads_keep_the_machines_time():
    clock, seen = VirtualClock(), []

    def other():
        before = time.monotonic()
        time.sleep(0.01)
        seen.append(time.monotonic() - before)

    with clock.patch_time():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert 0.01 <= seen[0] < 5
    assert clock.now == 0


def test_a_real_event_loop_keeps_the_machines_time():
    clock = VirtualClock()

    async def main():
        await asyncio.sleep(0.001)
        time.sleep(0.001)  # noqa: ASYNC251
        return asyncio.get_running_loop().time()

    with clock.patch_time():
        assert asyncio.run(main()) == pytest.approx(REAL["monotonic"](), abs=2)
    assert clock.now == 0


def test_blocking_a_virtual_loop_takes_its_time():
    clock = VirtualClock()

    async def main():
        time.sleep(30)  # noqa: ASYNC251 - blocks the loop, on purpose
        return time.monotonic()

    with clock.patch_time():
        began = time.monotonic()
        assert run(main(), clock=clock) - began == pytest.approx(30)


def test_a_stall_in_synchronous_code_is_a_timeout():
    clock = VirtualClock()
    with pytest.raises(LLMTimeoutError):
        list(FakeLLM("a", Pause(2), stall(), clock=clock).stream("?"))
    assert clock.now == 2


def test_blocks_that_overlap_leave_the_machines_time_as_it_was():
    import time

    from fakellm.clock.clock import VirtualClock

    before = {name: getattr(time, name) for name in ("sleep", "time", "time_ns", "monotonic", "perf_counter")}
    first, second = VirtualClock(), VirtualClock()
    one, two = first.patch_time(), second.patch_time()

    one.__enter__()
    two.__enter__()
    time.sleep(10)
    one.__exit__(None, None, None)
    time.sleep(5)
    two.__exit__(None, None, None)

    assert (first.now, second.now) == (0, 15)
    assert {name: getattr(time, name) for name in before} == before


def test_a_sleep_is_in_the_log_and_the_end_is_compared():
    import itertools
    import time

    import pytest

    from fakellm.clock.clock import VirtualClock
    from fakellm.clock.timeline import TwoRunsDifferError
    from fakellm.clock.virtual_loop import run_twice

    lengths = itertools.count(1)

    async def main(clock):
        with clock.patch_time():
            time.sleep(next(lengths))  # noqa: ASYNC251

    with pytest.raises(TwoRunsDifferError, match=r"first .*1.000 s  note     time.sleep\(1\)"):
        run_twice(main)

    clock = VirtualClock()
    with clock.patch_time():
        time.sleep(3)
    assert "time.sleep(3)" in clock.report()


def test_a_run_inside_of_a_loop_is_refused_at_once():
    import asyncio

    import pytest

    from fakellm.clock import virtual_loop

    async def main():
        virtual_loop.run(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match="an event loop runs in this thread already"):
        asyncio.run(main())


def test_a_handler_of_a_signal_may_still_wake_the_loop():
    import asyncio
    import signal

    from fakellm.clock import virtual_loop

    async def main():
        woken = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGALRM, woken.set)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        await woken.wait()
        return "woken"

    assert virtual_loop.run(main()) == "woken"
