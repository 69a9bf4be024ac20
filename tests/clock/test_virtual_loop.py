"""Event loops in virtual time: the right answer in each case, deadlocks, ties, the watchdog, and two runs compared."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import time
from functools import partial

import anyio
import pytest
from virtual_cases import CASES

from fakellm.clock import virtual_loop, virtual_trio
from fakellm.clock.blocked import VirtualDeadlockError, WatchdogError
from fakellm.clock.clock import VirtualClock
from fakellm.clock.timeline import TwoRunsDifferError
from fakellm.clock.virtual_loop import VirtualLoop, run, run_twice

each = pytest.mark.parametrize(("case", "on"), [(case, on) for case in CASES for on in case.on], ids=str)


def run_on(on, function, clock):
    """Run an asynchronous function of the clock on either event loop."""
    if on == "trio":
        return virtual_trio.run_trio(partial(function, clock), clock=clock)
    return run(function(clock), clock=clock)


@each
def test_the_right_answer(case, on):
    began = time.monotonic()

    run_on(on, case.check, VirtualClock())

    assert time.monotonic() - began < 2


@pytest.mark.exhaustive
@pytest.mark.anyio
@pytest.mark.parametrize("case", CASES, ids=str)
async def test_the_right_answer_under_the_plugin_of_anyio(case, virtual_clock, anyio_backend_name):
    if anyio_backend_name not in case.on:
        pytest.skip(f"is not for {anyio_backend_name}")

    await case.check(virtual_clock)


def test_a_runner_takes_the_loop():
    async def main():
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(main()) == 3600
        assert runner.run(main()) == 7200


def test_backend_options_of_anyio_take_the_loop():
    async def main():
        await anyio.sleep(3600)
        return anyio.current_time()

    assert anyio.run(main, backend_options={"loop_factory": VirtualLoop}) == 3600


# -- deadlocks ----------------------------------------------------------------------------------------


async def consumer(event):
    await event.wait()


def test_a_deadlock_names_the_tasks_and_their_lines():
    async def main():
        await asyncio.sleep(5)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(consumer(asyncio.Event()), name="the consumer")
            tasks.create_task(asyncio.sleep(math.inf), name="for ever")

    with pytest.raises(VirtualDeadlockError) as error:
        run(main())

    line = consumer.__code__.co_firstlineno + 1
    headline, *lines = str(error.value).split("\n")
    assert headline == "deadlock at 5 s of virtual time: every task waits, and nothing will ever wake one"
    assert f"the consumer: consumer, test_virtual_loop.py:{line} in consumer, in Event.wait" in str(error.value)
    assert any("for ever: sleep, " in text for text in lines)
    assert any(": test_a_deadlock_names_the_tasks_and_their_lines.<locals>.main, " in text for text in lines)
    assert lines[-1].startswith("  to do:     look for what they wait for")


def test_a_deadlock_on_trio_names_the_tasks_and_their_lines():
    import trio

    async def main():
        await trio.sleep(5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(consumer, trio.Event())

    with pytest.raises(VirtualDeadlockError) as error:
        virtual_trio.run_trio(main)

    line = consumer.__code__.co_firstlineno + 1
    assert str(error.value).startswith("deadlock at 5 s of virtual time")
    assert f"consumer: test_virtual_loop.py:{line} in consumer, in Event.wait" in str(error.value)


def test_what_was_blocked_is_cancelled_after_a_deadlock():
    ended = []

    async def main():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(VirtualDeadlockError):
        run(main())
    assert ended == [True]


def test_a_thread_that_was_there_before_has_a_moment_to_wake_a_loop_without_timers(monkeypatch):
    monkeypatch.setattr(virtual_loop, "_PATIENCE", 5)
    ready, wakes = threading.Event(), []

    def before():
        ready.wait(5)
        time.sleep(0.02)
        wakes[0]()

    thread = threading.Thread(target=before)
    thread.start()

    async def main():
        event = asyncio.Event()
        wakes.append(partial(asyncio.get_running_loop().call_soon_threadsafe, event.set))
        ready.set()
        await event.wait()
        return "woken"

    assert run(main()) == "woken"
    thread.join()


def test_a_thread_that_never_wakes_the_loop_does_not_hide_a_deadlock(monkeypatch):
    monkeypatch.setattr(virtual_loop, "_PATIENCE", 0.01)
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait)
    thread.start()
    try:
        with pytest.raises(VirtualDeadlockError):
            run(asyncio.Event().wait())
    finally:
        gate.set()
        thread.join()


# -- ties ---------------------------------------------------------------------------------------------


async def woken_in_order():
    order = []

    async def sleeper(number):
        await asyncio.sleep(1)
        order.append(number)

    await asyncio.gather(*(sleeper(number) for number in range(8)))
    return order


def test_a_seed_decides_who_of_equals_is_first():
    orders = [run(woken_in_order(), seed=seed) for seed in (1, 1, 2)]

    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == list(range(8)) != orders[0]


# -- what is outside ----------------------------------------------------------------------------------


def test_a_timer_fires_after_its_real_time_while_a_thread_works():
    gate = threading.Event()

    async def main():
        job = asyncio.get_running_loop().run_in_executor(None, gate.wait, 5)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await asyncio.shield(job)
        gate.set()
        await job
        return time.monotonic() - began

    assert 0.05 <= run(main()) < 2


def test_threads_that_are_ignored_do_not_hold_up_time():
    gate, clock = threading.Event(), VirtualClock()
    clock.ignored_threads.append("telemetry-*")

    async def main():
        thread = threading.Thread(target=gate.wait, name="telemetry-1")
        thread.start()
        await asyncio.sleep(3600)
        gate.set()
        thread.join()

    run(main(), clock=clock)
    assert clock.now == 3600


def test_a_socket_whose_peer_is_elsewhere_holds_up_time():
    def elsewhere():
        with socket.create_server(("127.0.0.1", 0)) as server:
            ports.append(server.getsockname())
            listening.set()
            connection, _ = server.accept()
            with connection:
                time.sleep(0.05)
                connection.sendall(b"late")

    ports, listening = [], threading.Event()
    thread = threading.Thread(target=elsewhere)
    thread.start()
    listening.wait(5)

    async def main():  # the thread was there before the loop, so only its socket says that it may come
        reader, writer = await asyncio.open_connection(*ports[0])
        async with asyncio.timeout(20):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    assert run(main()) == b"late"
    thread.join()


def test_an_idle_server_does_not_hold_up_time():
    async def main():
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0):
            await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert run(main()) == 3600


def test_closing_the_loop_wakes_a_thread_that_waits_on_its_clock():
    clock, began = VirtualClock(), threading.Event()

    async def main():
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=lambda: (began.set(), clock.sleep(1e6)))
        thread.start()
        while not loop.outside.sleeping:  # noqa: ASYNC110
            await asyncio.sleep(0)
        return thread

    thread = run(main(), clock=clock)
    thread.join(5)
    assert not thread.is_alive()


# -- the watchdog -------------------------------------------------------------------------------------


def run_watched(main, seconds=0.02):
    with asyncio.Runner(loop_factory=partial(VirtualLoop, watchdog=seconds)) as runner:
        runner.run(main)


def test_the_watchdog_names_what_the_loop_waits_for():
    gate = threading.Event()

    async def main():
        thread = threading.Thread(target=gate.wait, name="the slow one")
        thread.start()
        try:
            await asyncio.sleep(30)
        finally:
            gate.set()
            thread.join()

    with pytest.raises(WatchdogError, match="more than 0.2 s of real time: it waits for the thread 'the slow one'"):
        run_watched(main(), 0.2)  # the time that a busy machine needs to start a thread


def test_the_watchdog_ends_timers_that_never_do():
    async def main():
        while True:  # noqa: ASYNC110
            await asyncio.sleep(1)

    with pytest.raises(WatchdogError, match="its timers never end\n  waiting:   .*main, test_virtual_loop.py:"):
        run_watched(main())


def test_the_watchdog_ends_tasks_that_never_wait():
    async def main():
        while True:  # noqa: ASYNC110
            await asyncio.sleep(0)

    with pytest.raises(WatchdogError):
        run_watched(main())


def test_the_watchdog_ends_timers_that_never_do_on_trio(monkeypatch):
    monkeypatch.setattr(virtual_trio, "WATCHDOG", 0.02)

    async def main():
        while True:  # noqa: ASYNC110
            await anyio.sleep(1)

    with pytest.raises(WatchdogError, match="its timers never end"):
        virtual_trio.run_trio(main)


def test_a_step_in_which_a_debugger_stops_counts_little(monkeypatch):
    monkeypatch.setattr(virtual_loop, "_LONGEST_STEP", 0.005)

    async def main():
        time.sleep(0.05)  # noqa: ASYNC251
        await asyncio.sleep(3600)
        return "done"

    with asyncio.Runner(loop_factory=partial(VirtualLoop, watchdog=0.03)) as runner:
        assert runner.run(main()) == "done"


# -- twice --------------------------------------------------------------------------------------------


def test_two_runs_of_the_same_are_the_same():
    assert run_twice(lambda clock: asyncio.sleep(5, clock.now)) == 0


def test_two_runs_that_part_are_told_from_the_first_moment():
    waits = iter([5, 6])

    async def main(clock):
        clock.note("begins")
        await asyncio.sleep(next(waits))

    with pytest.raises(TwoRunsDifferError) as error:
        run_twice(main)

    lines = str(error.value).split("\n")
    assert lines[0].startswith("two runs in virtual time part at moment 2")
    assert [" ".join(line.split()) for line in lines[1:4]] == [
        "both 0.000 s note begins",
        "first 5.000 s timer test_two_runs_that_part_are_told_from_the_first_moment.<locals>.main",
        "second 6.000 s timer test_two_runs_that_part_are_told_from_the_first_moment.<locals>.main",
    ]


def test_a_run_that_ends_early_parts_there():
    runs = iter([1, 2])

    async def main(clock):
        for _ in range(next(runs)):
            clock.note("again")

    with pytest.raises(TwoRunsDifferError, match="first .* over\n  second .* again"):
        run_twice(main)


# -- the loop as a loop -------------------------------------------------------------------------------


def test_debug_mode_works():
    async def main():
        await asyncio.sleep(1)
        asyncio.get_running_loop().call_later(1, print)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=VirtualLoop, debug=True) as runner:
        assert runner.run(main()) == 1


def test_a_deadline_that_is_read_off_the_clock_and_set_again_is_met():
    """Code that waits for the rest of a deadline must not turn in circles a hair before it."""

    async def main():
        loop, turns = asyncio.get_running_loop(), 0
        await asyncio.sleep(0.1)
        deadline = loop.time() + 0.2  # 0.30000000000000004
        while loop.time() < deadline:
            await asyncio.sleep(deadline - loop.time())
            turns += 1
        return turns

    assert run(main()) <= 2
