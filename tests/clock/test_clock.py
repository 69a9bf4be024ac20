"""Clocks: what waits really, what does not, and what silence without end is on each."""

from __future__ import annotations

import math
from copy import deepcopy
from functools import reduce
from operator import add
from threading import Thread
from types import SimpleNamespace

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakellm.clock import clock as clocks
from fakellm.clock.clock import Clock, InstantClock, RealClock, ScaledClock, VirtualClock
from fakellm.errors import LLMError, LLMTimeoutError


@pytest.fixture
def machine(monkeypatch):
    """Stand in for the machine's clock: sleeping moves it on, and the waits are written down."""

    def sleep(seconds):
        machine.waits.append(seconds)
        machine.time += seconds

    machine = SimpleNamespace(time=1000.0, waits=[], sleep=sleep, monotonic=lambda: machine.time)
    monkeypatch.setattr(clocks, "time", machine)
    return machine


@pytest.fixture
def loop_waits(monkeypatch):
    """Write down what is waited for in either event loop, and wait for none of it."""
    import asyncio

    import trio

    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(trio, "sleep", sleep)
    return waits


# -- instant ------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1e6), max_size=5))
def test_an_instant_clock_shows_what_was_waited_for(waits):
    clock = InstantClock()
    for seconds in waits:
        clock.sleep(seconds)
    assert clock.now == reduce(add, waits, 0.0)  # sum() rounds less often since Python 3.12


def test_an_instant_clock_does_not_wait(machine):
    clock = InstantClock()
    assert clock.now == 0
    assert clock.sleep(3600) is None
    assert clock.now == 3600
    assert (machine.waits, machine.time) == ([], 1000)


def test_the_waits_of_several_threads_add_up():
    clock = InstantClock()
    threads = [Thread(target=lambda: [clock.sleep(1) for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.now == 800


@pytest.mark.anyio
async def test_an_instant_clock_does_not_wait_in_the_event_loop(machine):
    clock = InstantClock()
    await clock.asleep(3600)
    await clock.asleep(0.5)
    assert clock.now == 3600.5
    assert machine.waits == []


@pytest.mark.anyio
async def test_other_tasks_run_while_one_waits_on_an_instant_clock():
    clock, order = InstantClock(), []

    async def task(name):
        for step in range(3):
            order.append((step, name))
            await clock.asleep(1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(task, "a")
        tasks.start_soon(task, "b")
    assert sorted(order) == sorted((step, name) for step in range(3) for name in "ab")
    assert [step for step, _ in order] == [0, 0, 1, 1, 2, 2]
    assert clock.now == 6


@pytest.mark.anyio
async def test_a_task_that_waits_on_an_instant_clock_can_be_cancelled():
    reached = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        await InstantClock().asleep(1)
        reached.append("the end")
    assert scope.cancelled_caught
    assert reached == []


def test_silence_without_end_is_a_timeout_at_once_on_an_instant_clock():
    clock = InstantClock()
    clock.sleep(2.5)
    with pytest.raises(LLMTimeoutError) as error:
        clock.sleep(math.inf)
    assert str(error.value) == "the stream fell silent for ever at 2.5 s of its clock"
    assert isinstance(error.value, TimeoutError)
    assert isinstance(error.value, LLMError)
    assert clock.now == 2.5


@pytest.mark.anyio
async def test_silence_without_end_is_a_timeout_in_the_event_loop_too():
    clock = InstantClock()
    await clock.asleep(1)
    with pytest.raises(LLMTimeoutError, match="the stream fell silent for ever at 1 s of its clock"):
        await clock.asleep(math.inf)
    assert clock.now == 1


# -- scaled and real ----------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.1, 1, 2.5])
def test_a_scaled_clock_waits_factor_times_as_long(factor, machine):
    clock = ScaledClock(factor)
    clock.sleep(10)
    clock.sleep(0)
    assert machine.waits == [10 * factor, 0]
    assert clock.factor == factor


@pytest.mark.parametrize("factor", [0.1, 1, 2.5])
def test_a_scaled_clock_counts_the_seconds_of_the_script(factor, machine):
    machine.time = 5.0
    clock = ScaledClock(factor)
    assert clock.now == 0
    clock.sleep(10)
    assert clock.now == pytest.approx(10)
    machine.time += factor
    assert clock.now == pytest.approx(11)


def test_a_real_clock_waits_as_long_as_the_script_says(machine):
    clock = RealClock()
    clock.sleep(1.25)
    assert machine.waits == [1.25]
    assert clock.now == 1.25
    assert clock.factor == 1


@pytest.mark.anyio
@pytest.mark.parametrize(("clock", "factor"), [(lambda: ScaledClock(0.25), 0.25), (RealClock, 1)])
async def test_the_event_loop_waits_factor_times_as_long(clock, factor, machine, loop_waits):
    await clock().asleep(8)
    assert loop_waits == [8 * factor]
    assert machine.waits == []


@pytest.mark.anyio
async def test_a_wait_in_the_event_loop_really_ends():
    await ScaledClock(1e-6).asleep(10)


@pytest.mark.parametrize("clock", [lambda: ScaledClock(0.001), RealClock])
def test_silence_without_end_would_block_the_thread_so_it_is_a_timeout(clock, machine):
    with pytest.raises(LLMTimeoutError) as error:
        clock().sleep(math.inf)
    assert "would block this thread for ever on a real clock" in str(error.value)
    assert "script a Pause and a disconnect() instead, read it asynchronously, or use InstantClock()" in str(
        error.value
    )
    assert machine.waits == []


@pytest.mark.anyio
@pytest.mark.parametrize("clock", [lambda: ScaledClock(1e-9), RealClock])
async def test_silence_without_end_lasts_until_the_task_is_cancelled(clock):
    ended = []

    async def wait():
        try:
            await clock().asleep(math.inf)
        finally:
            ended.append(True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        assert ended == []
        tasks.cancel_scope.cancel()
    assert ended == [True]


@pytest.mark.parametrize("factor", [0, 0.0, -1, math.nan, math.inf, -math.inf])
def test_a_factor_is_positive_and_finite(factor):
    with pytest.raises(ValueError) as error:
        ScaledClock(factor)
    message = f"a clock's factor is a positive number, not {factor!r}; use InstantClock() for no waiting"
    assert str(error.value) == message


@pytest.mark.parametrize("factor", ["0.1", None])
def test_a_factor_of_another_type_is_refused_as_such(factor):
    with pytest.raises((TypeError, ValueError), match="factor"):
        ScaledClock(factor)


# -- the protocol -------------------------------------------------------------------------------------


@pytest.mark.parametrize("clock", [InstantClock, RealClock, lambda: ScaledClock(2)])
def test_each_clock_is_a_clock(clock):
    assert isinstance(clock(), Clock)


def test_something_else_is_none():
    assert not isinstance(object(), Clock)
    assert not isinstance(SimpleNamespace(now=0, sleep=None), Clock)


# -- manners -------------------------------------------------------------------------------------------


def test_clocks_show_what_they_are():
    instant = InstantClock()
    instant.sleep(2.5)

    assert [repr(clock) for clock in (instant, ScaledClock(0.1), RealClock())] == [
        "<InstantClock 2.5 s>",
        "ScaledClock(0.1)",
        "RealClock()",
    ]


@pytest.mark.parametrize("clock", [InstantClock(), ScaledClock(0.1), RealClock(), VirtualClock()])
def test_a_deep_copy_of_what_waits_on_a_clock_waits_on_the_same(clock):
    assert deepcopy({"app": [clock]})["app"][0] is clock
