"""Others have their turn before each chunk of an asynchronous stream, where there are others; else the loop is spared."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading

import pytest

from fakellm import FakeLLM
from fakellm.concurrency import turns

CHUNKS = 100
SOON = (
    2  # a round that began takes its turn first, so what became due in it comes one chunk later, as on any asyncio loop
)
llm = FakeLLM(*"x" * CHUNKS)


class Counting(asyncio.SelectorEventLoop):
    """Counts its rounds."""

    rounds = 0

    def _run_once(self):
        self.rounds += 1
        super()._run_once()


def run(main):
    """Run a coroutine; return its result, and how many rounds the loop made."""
    with asyncio.Runner(loop_factory=Counting) as runner:
        result = runner.run(main())
        return result, runner.get_loop().rounds


async def read(log=None):
    async for _ in llm.astream("?"):
        if log is not None:
            log.append("chunk")


def test_alone_a_stream_costs_few_rounds_of_the_loop():
    _, rounds = run(read)

    assert CHUNKS // 32 <= rounds <= CHUNKS // 32 + 10


def test_another_task_runs_before_each_chunk():
    log = []

    async def other():
        while log.count("chunk") < CHUNKS:
            log.append("other")
            await asyncio.sleep(0)

    async def main():
        task = asyncio.create_task(other())
        await read(log)
        await task

    run(main)

    assert log.count("chunk") == CHUNKS
    assert all("other" in log[at - 1 : at] for at, entry in enumerate(log) if entry == "chunk")


def test_a_timer_that_is_due_fires_in_the_next_round():
    log = []

    async def main():
        loop = asyncio.get_running_loop()
        async for _ in llm.astream("?"):
            log.append("chunk")
            if len(log) == 1:
                loop.call_at(loop.time(), log.append, "timer")

    run(main)

    assert log.index("timer") == SOON


def test_a_timer_that_is_not_due_waits():
    fired = []

    async def main():
        asyncio.get_running_loop().call_later(3600, fired.append, "late")
        await read()

    _, rounds = run(main)

    assert fired == []
    assert rounds < CHUNKS


def test_who_waits_for_a_socket_is_served_in_the_next_round():
    log = []
    ours, theirs = socket.socketpair()

    async def main():
        loop = asyncio.get_running_loop()
        loop.add_reader(ours, lambda: log.append(ours.recv(1)))
        async for _ in llm.astream("?"):
            log.append("chunk")
            if len(log) == 1:
                theirs.send(b"!")
        loop.remove_reader(ours)

    with ours, theirs:
        run(main)

    assert log.index(b"!") == SOON


def test_what_another_thread_asks_for_is_done_before_the_next_chunk():
    log = []

    async def main():
        loop = asyncio.get_running_loop()
        async for _ in llm.astream("?"):
            log.append("chunk")
            if len(log) == 1:
                thread = threading.Thread(target=loop.call_soon_threadsafe, args=(log.append, "thread"))
                thread.start()
                thread.join()

    run(main)

    assert log[:3] == ["chunk", "thread", "chunk"]


def test_a_task_that_cancels_itself_gets_no_further_chunk():
    log = []

    async def main():
        async for _ in llm.astream("?"):
            log.append("chunk")
            asyncio.current_task().cancel()

    with pytest.raises(asyncio.CancelledError):
        run(main)

    assert log == ["chunk"]


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="this system has no such signals")
def test_a_signal_is_handled_in_the_middle_of_a_stream():
    log = []

    async def main():
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, log.append, "signal")
        async for _ in llm.astream("?"):
            log.append("chunk")
            if len(log) == 1:
                os.kill(os.getpid(), signal.SIGUSR1)

    run(main)

    assert 1 <= log.index("signal") <= 65


@pytest.mark.parametrize("missing", ["_ready", "_scheduled", "_selector"])
def test_a_loop_that_does_not_show_what_waits_gets_a_round_each_time(missing):
    class Other(Counting):
        def __getattribute__(self, name):
            if name == missing and hides:
                raise AttributeError(name)
            return super().__getattribute__(name)

    hides = False

    async def main():
        nonlocal hides
        hides = True
        turn = turns(asyncio.get_running_loop())
        hides = False
        before = asyncio.get_running_loop().rounds
        for _ in range(10):
            await turn()
        return asyncio.get_running_loop().rounds - before

    with asyncio.Runner(loop_factory=Other) as runner:
        assert runner.run(main()) == 10
