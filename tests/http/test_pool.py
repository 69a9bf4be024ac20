"""The connections of a client in virtual time: who waits for one, how long, and who has it next."""

from __future__ import annotations

import asyncio
import gc
from functools import partial

import anyio
import httpx
import httpx2
import pytest

from fakellm import FakeProvider, Pause, disconnect
from fakellm.clock import virtual_trio
from fakellm.clock.clock import InstantClock, VirtualClock
from fakellm.clock.virtual_loop import run
from fakellm.http.interception import intercept

URL = "https://api.openai.com/v1/chat/completions"
ASKED = {"model": "m", "messages": [{"role": "user", "content": "?"}], "stream": True}
libraries = pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])
loops = pytest.mark.parametrize("on", ["asyncio", "trio"])


def provider(*parts, clock=None):
    return FakeProvider("openai", clock=clock or VirtualClock()).otherwise(*parts)


def run_on(on, main, clock):
    return virtual_trio.run_trio(main, clock=clock) if on == "trio" else run(main(), clock=clock)


def client(module, *, limit=1, pool=20):
    return module.AsyncClient(limits=module.Limits(max_connections=limit), timeout=module.Timeout(600, pool=pool))


@libraries
@loops
def test_a_request_waits_until_a_connection_is_free(module, on):
    fake, done = provider("Hel", Pause(8), "lo"), []

    async def ask(http, name):
        await http.post(URL, json=ASKED)
        done.append((name, fake.clock.now))

    async def main():
        async with client(module) as http, anyio.create_task_group() as tasks:
            for name in "abc":
                tasks.start_soon(ask, http, name)
                await anyio.sleep(0.5)

    with intercept(fake):
        run_on(on, main, fake.clock)
    assert done == [("a", 8), ("b", 16), ("c", 24)]
    assert [stream.asked for stream in fake.clock.streams] == [0, 8, 16]


@libraries
@loops
def test_the_pool_timeout_is_at_its_second(module, on):
    fake = provider("Hel", Pause(30), "lo")

    async def main():
        async with client(module) as http, http.stream("POST", URL, json=ASKED):
            with pytest.raises(module.PoolTimeout):
                await http.post(URL, json=ASKED)
            return fake.clock.now

    with intercept(fake):
        assert run_on(on, main, fake.clock) == 20
    assert len(fake.calls) == 1


@libraries
def test_a_synchronous_client_waits_for_nobody_but_its_timeout(module):
    fake = provider("Hello")
    limits, timeout = module.Limits(max_connections=1), module.Timeout(600, pool=20)
    with intercept(fake), module.Client(limits=limits, timeout=timeout) as http:
        with http.stream("POST", URL, json=ASKED), pytest.raises(module.PoolTimeout) as error:
            http.post(URL, json=ASKED)
        http.post(URL, json=ASKED)
    assert type(error.value.__cause__).__name__ == "PoolTimeout"
    assert fake.clock.now == 20
    assert len(fake.calls) == 2


def test_a_connection_is_free_after_a_failure_a_close_and_a_cancellation():
    fake = FakeProvider("openai", clock=VirtualClock())
    fake.reply(disconnect("refused")).reply("x", disconnect()).reply("a", Pause(99)).reply("b", Pause(99)).reply("end")

    async def main():
        async with client(httpx2) as http:
            for _ in range(2):
                with pytest.raises(httpx2.TransportError):
                    await http.post(URL, json=ASKED)
            async with http.stream("POST", URL, json=ASKED):
                pass
            with anyio.move_on_after(5):
                await http.post(URL, json=ASKED)
            await http.post(URL, json=ASKED)

    with intercept(fake):
        run(main(), clock=fake.clock)
    assert fake.clock.now == 5


def test_who_is_cancelled_while_it_waits_takes_no_connection():
    fake = provider("Hel", Pause(8), "lo")

    async def main():
        async with client(httpx2) as http:
            ask = partial(http.post, URL, json=ASKED)
            first, second, third = (asyncio.create_task(ask()) for _ in range(3))
            await asyncio.sleep(1)
            second.cancel()
            await asyncio.gather(first, third)

    with intercept(fake):
        run(main(), clock=fake.clock)
    assert fake.clock.now == 16


def test_who_is_cancelled_when_its_turn_comes_passes_it_on():
    fake = provider("Hel", Pause(8), "lo")

    async def main():
        async with client(httpx2, pool=900) as http:
            async with http.stream("POST", URL, json=ASKED):
                second, third = (asyncio.create_task(http.post(URL, json=ASKED)) for _ in range(2))
                await asyncio.sleep(1)
            second.cancel()
            await third

    with intercept(fake):
        run(main(), clock=fake.clock)
    assert fake.clock.now == 9


def test_a_response_that_is_forgotten_has_no_connection():
    fake = provider("Hello")

    async def main():
        async with client(httpx2) as http:
            request = http.build_request("POST", URL, json=ASKED)
            await http.send(request, stream=True)
            gc.collect()
            await http.post(URL, json=ASKED)

    with intercept(fake):
        run(main(), clock=fake.clock)
    assert fake.clock.now == 0


def test_without_a_limit_and_on_other_clocks_nobody_waits():
    for limit, clock in ((None, VirtualClock()), (1, InstantClock())):
        fake = provider("Hello", clock=clock)

        async def main(limit=limit):
            async with client(httpx2, limit=limit) as http:
                async with http.stream("POST", URL, json=ASKED), http.stream("POST", URL, json=ASKED):
                    pass

        with intercept(fake):
            run(main(), clock=clock if limit is None else None)
        assert clock.now == 0
        assert len(fake.calls) == 2
