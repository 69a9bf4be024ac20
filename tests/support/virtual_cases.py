"""What an event loop in virtual time has to get right: cases that any runner can run, with their answers.

A case is an asynchronous function of the clock; `on` says which event loops it is for. Where a thread works it takes a
few milliseconds of real time, so that a loop that jumped meanwhile would fire the timeouts, of many seconds.
"""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import time
from functools import partial

import anyio
import anyio.from_thread
import anyio.to_thread

BOTH, ASYNCIO, TRIO = ("asyncio", "trio"), ("asyncio",), ("trio",)
_really_sleep = time.sleep
CASES = []


class Case:
    def __init__(self, function, expected, on):
        self.function = function
        self.expected = expected
        self.on = on

    def __repr__(self):
        return self.function.__name__

    async def check(self, clock):
        assert await self.function(clock) == self.expected


def case(expected, on=BOTH):
    def add(function):
        CASES.append(Case(function, expected, on))
        return function

    return add


def work(value, seconds=0.02):
    """Take real time, in a thread."""
    _really_sleep(seconds)
    return value


@case(3600)
async def an_hour(clock):
    await anyio.sleep(3600)
    return clock.now


@case(100)
async def a_thousand_sleeps(clock):
    for _ in range(1000):
        await anyio.sleep(0.1)
    return clock.now


@case((1e9, True))
async def far_ahead(clock):
    await anyio.sleep(1e9 - 0.5)
    with anyio.move_on_after(0.5) as scope:
        await anyio.sleep_forever()
    return clock.now, scope.cancelled_caught


# -- deadlines ----------------------------------------------------------------------------------------


@case([20, 27, 30, "done", 35], ASYNCIO)
async def deadlines_of_asyncio(clock):
    seen = []
    try:
        async with asyncio.timeout(20):
            await asyncio.Event().wait()
    except TimeoutError:
        seen.append(clock.now)
    try:
        await asyncio.wait_for(asyncio.sleep(8), 7)
    except TimeoutError:
        seen.append(clock.now)
    await asyncio.wait([asyncio.ensure_future(asyncio.sleep(math.inf))], timeout=3)
    seen.append(clock.now)
    async with asyncio.timeout(5.000001):
        await asyncio.sleep(5)
    return [*seen, "done", clock.now]


@case([20, 27, True, "done", 32])
async def deadlines_of_anyio(clock):
    seen = []
    try:
        with anyio.fail_after(20):
            await anyio.sleep_forever()
    except TimeoutError:
        seen.append(clock.now)
    with anyio.move_on_after(7) as scope:
        await anyio.sleep(8)
    seen += [clock.now, scope.cancelled_caught]
    with anyio.fail_after(5.000001):
        await anyio.sleep(5)
    return [*seen, "done", clock.now]


@case((list(range(8)), 1), ASYNCIO)
async def equal_deadlines_in_their_order(clock):
    woken = []

    async def sleeper(number):
        await asyncio.sleep(1)
        woken.append(number)

    await asyncio.gather(*(sleeper(number) for number in range(8)))
    return woken, clock.now


@case([(1, "b"), (1.0000001, "c"), (2, "a")])
async def deadlines_in_their_order(clock):
    woken = []

    async def sleeper(name, seconds):
        await anyio.sleep(seconds)
        woken.append((clock.now, name))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleeper, "a", 2)
        tasks.start_soon(sleeper, "b", 1)
        tasks.start_soon(sleeper, "c", 1.0000001)
    return woken


# -- threads ------------------------------------------------------------------------------------------


@case((["a", "b"], 0), ASYNCIO)
async def worker_threads_of_asyncio(clock):
    async with asyncio.timeout(20):
        done = await asyncio.gather(asyncio.to_thread(work, "a"), asyncio.to_thread(work, "b"))
    return done, clock.now


@case(("done", 0))
async def worker_threads_of_anyio(clock):
    with anyio.fail_after(20):
        done = await anyio.to_thread.run_sync(work, "done")
    return done, clock.now


@case((["a", "b"], 3600))
async def worker_threads_that_are_idle(clock):
    done = [await anyio.to_thread.run_sync(work, name, 0.001) for name in "ab"]
    await anyio.sleep(3600)
    return done, clock.now


@case(("called back", 10))
async def a_worker_thread_that_calls_back(clock):
    def call_back():
        anyio.from_thread.run(anyio.sleep, 0)
        clock.sleep(10)
        return work("called back")

    with anyio.fail_after(20):
        done = await anyio.to_thread.run_sync(call_back)
    return done, clock.now


@case([(20, "task"), (30, "thread")])
async def a_worker_thread_that_waits_on_the_clock(clock):
    seen = []

    def in_thread():
        clock.sleep(30)
        seen.append((clock.now, "thread"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, in_thread)
        await anyio.sleep(20)
        seen.append((clock.now, "task"))
    return seen


@case((True, 20), ASYNCIO)
async def a_worker_thread_that_is_given_up(clock):
    gate = threading.Event()
    try:
        async with asyncio.timeout(20):
            await asyncio.get_running_loop().run_in_executor(None, partial(clock.sleep, 30))
    except TimeoutError:
        gate.set()
    return gate.is_set(), clock.now


@case(("woken", 0))
async def a_foreign_thread_wakes_the_loop(clock):
    event, wake = anyio.Event(), None
    if _is_trio():
        import trio

        wake = partial(trio.lowlevel.current_trio_token().run_sync_soon, event.set)
    else:
        wake = partial(asyncio.get_running_loop().call_soon_threadsafe, event.set)
    thread = threading.Thread(target=lambda: wake(*work(())))
    thread.start()
    with anyio.fail_after(20):
        await event.wait()
    thread.join()
    return "woken", clock.now


@case(("done", 100), ASYNCIO)
async def an_executor_is_shut_down(clock):
    loop = asyncio.get_running_loop()
    job = loop.run_in_executor(None, work, "done")
    async with asyncio.timeout(20):
        await loop.shutdown_default_executor()
    await asyncio.sleep(100)
    return await job, clock.now


@case(("slept", 30), ASYNCIO)
async def an_executor_is_shut_down_while_it_waits_on_the_clock(clock):
    loop = asyncio.get_running_loop()
    job = loop.run_in_executor(None, lambda: (clock.sleep(30), "slept")[1])
    async with asyncio.timeout(40):
        await loop.shutdown_default_executor()
    return await job, clock.now


# -- sockets ------------------------------------------------------------------------------------------


@case((b"pong", 50, True, 90))
async def a_socket_with_its_peer_in_the_loop(clock):
    async def serve(stream):
        async with stream:
            with anyio.move_on_after(1e6):
                while await stream.receive():
                    await anyio.sleep(50)
                    await stream.send(b"pong")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with await anyio.connect_tcp("127.0.0.1", port) as client:
            await client.send(b"ping")
            with anyio.fail_after(60):
                answer = await client.receive()
            answered = clock.now
            await client.send(b"ping")
            with anyio.move_on_after(40) as scope:
                await client.receive()
        seen = answer, answered, scope.cancelled_caught, clock.now
        tasks.cancel_scope.cancel()
    return seen


@case((b"pong", 0))
async def a_socket_with_its_peer_in_a_thread(clock):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.sendall(work(connection.recv(4).replace(b"i", b"o")))

        thread = threading.Thread(target=serve)
        thread.start()
        with anyio.fail_after(20):
            async with await anyio.connect_tcp(*server.getsockname()) as client:
                await client.send(b"ping")
                answer = await client.receive()
        thread.join()
    return answer, clock.now


def _is_trio():
    import sniffio

    return sniffio.current_async_library() == "trio"
