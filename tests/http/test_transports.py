"""The shells of httpx and httpx2: chunks, silences, endings and closings are those of a connection."""

from __future__ import annotations

import asyncio
import gc
import importlib
import inspect
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import anyio
import loopback
import openai
import pytest
import sdks

from fakellm import FakeProvider, Pause, Script, disconnect, stall
from fakellm.clock.clock import InstantClock
from fakellm.http.transports import transport

URL = "https://api.openai.com/v1/chat/completions"
ASK = {"model": "m", "messages": [{"role": "user", "content": "?"}], "stream": True}
WHOLE = {**ASK, "stream": False}

libraries = pytest.mark.parametrize("library", ["httpx", "httpx2"])
flavours = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@pytest.fixture(params=["httpx", "httpx2"])
def module(request):
    return importlib.import_module(request.param)


def fake(*parts, **options):
    return FakeProvider("openai", **options).otherwise(*parts)


def client_of(provider, module, **options):
    return module.Client(transport=transport(provider, module), **options)


def aclient_of(provider, module, **options):
    return module.AsyncClient(transport=transport(provider, module), **options)


def words(count):
    return [f"w{n} " for n in range(count)]


class Both:
    """Runs the same steps over a synchronous response and an asynchronous one."""

    def __init__(self, module, asynchronous, provider, **options):
        self.module = module
        self.asynchronous = asynchronous
        self.provider = provider
        self.options = options

    def run(self, steps, json=ASK):
        """Give the steps a response and a function that waits for what is awaitable; return their result."""
        if self.asynchronous:

            async def main():
                client = aclient_of(self.provider, self.module, **self.options)
                async with client, client.stream("POST", URL, json=json) as response:
                    return await steps(response, self.awaited)

            return sdks.run(main())
        with (
            client_of(self.provider, self.module, **self.options) as client,
            client.stream("POST", URL, json=json) as response,
        ):
            return self.finish(steps(response, self.plain))

    async def awaited(self, value):
        if hasattr(value, "__aiter__"):
            return [item async for item in value]
        return await value if inspect.isawaitable(value) else value

    async def plain(self, value):
        return list(value) if hasattr(value, "__next__") else value

    def finish(self, coroutine):
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        raise RuntimeError("a synchronous response was awaited")


def named(response, name, asynchronous):
    return getattr(response, f"a{name}" if asynchronous else name)


# -- one by one ---------------------------------------------------------------------------------------


def test_the_kth_chunk_is_there_after_k_pulls(module):
    provider = fake(*words(200))
    with client_of(provider, module) as client, client.stream("POST", URL, json=ASK) as response:
        call = provider.calls[0]
        assert (call.pieces, call.state) == (0, "running")
        for k, piece in enumerate(response.iter_bytes(), 1):
            assert call.pieces == k
            assert piece.count(b"data: ") == 1 or piece.endswith(b"[DONE]\n\n")
    assert call.delivered == response.num_bytes_downloaded
    assert call.state == "complete"


def test_a_reply_function_is_stepped_as_its_chunks_are_read(module):
    stepped = []

    def reply(request):
        for n in range(5):
            stepped.append(n)
            yield f"w{n} "

    provider = FakeProvider("openai").reply(reply)
    with client_of(provider, module) as client, client.stream("POST", URL, json=ASK) as response:
        lead = [len(stepped) for piece in response.iter_bytes() if b"w" in piece]
    assert all(ahead - k <= 1 for k, ahead in enumerate(lead, 1))


@backends
def test_other_tasks_run_between_the_chunks(module, backend):
    provider, beats = fake(*words(20)), []

    async def beat():
        while True:
            beats.append("beat")
            await anyio.lowlevel.checkpoint()

    async def main():
        async with anyio.create_task_group() as group, aclient_of(provider, module) as client:
            group.start_soon(beat)
            async with client.stream("POST", URL, json=ASK) as response:
                async for _ in response.aiter_bytes():
                    beats.append("chunk")
            group.cancel_scope.cancel()

    anyio.run(main, backend=backend)
    joined = "".join(name[0] for name in beats)
    assert ("ccc" if backend == "trio" else "cc") not in joined  # trio shuffles those that are ready


@flavours
def test_several_streams_interleave(module, asynchronous):
    provider = FakeProvider("openai").when("one", *["1"] * 9).when("two", *["2"] * 9)
    bodies = [{**ASK, "messages": [{"role": "user", "content": name}]} for name in ("one", "two")]

    async def main():
        async with aclient_of(provider, module) as client:
            responses = [
                await client.send(client.build_request("POST", URL, json=body), stream=True) for body in bodies
            ]
            sources = [response.aiter_lines() for response in responses]
            pairs = [[await anext(source) for source in sources] for _ in range(9)]
            for source, response in zip(sources, responses, strict=True):
                await source.aclose()
                await response.aclose()
            return pairs

    def plain():
        with client_of(provider, module) as client:
            responses = [client.send(client.build_request("POST", URL, json=body), stream=True) for body in bodies]
            pairs = list(zip(*[response.iter_lines() for response in responses], strict=True))
            return pairs

    pairs = sdks.run(main()) if asynchronous else plain()
    assert all('"2"' not in one and '"1"' not in two for one, two in pairs)


def test_clients_of_many_threads_each_get_their_answer(module):
    provider = FakeProvider("openai")
    for n in range(40):
        provider.when(f"<{n}>", *[f"{n}."] * 5)

    def ask(n):
        body = {**ASK, "messages": [{"role": "user", "content": f"<{n}>"}]}
        with client.stream("POST", URL, json=body) as response:
            return "".join(response.iter_text()).count(f'"{n}."')

    with client_of(provider, module) as client, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(40))) == [5] * 40
    assert sorted(call.number for call in provider.calls) == list(range(1, 41))
    assert {call.state for call in provider.calls} == {"complete"}


@pytest.mark.exhaustive
@pytest.mark.usefixtures("frozen")
def test_a_long_stream_needs_no_more_memory_than_a_short_one(module):
    def reply(request):
        for _ in range(int(request.model)):
            yield "x" * 200

    def peak(count):
        with (
            client_of(fake(reply), module) as client,
            client.stream("POST", URL, json={**ASK, "model": str(count)}) as response,
        ):
            gc.collect()
            tracemalloc.start()
            for _ in response.iter_bytes():
                pass
            found = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return found

    peak(10)
    assert peak(1000) < peak(100) + 100_000


# -- time ---------------------------------------------------------------------------------------------


def read(provider, module, asynchronous, **options):
    """Return how many pieces came, and the error."""
    pieces = []

    def plain():
        with client_of(provider, module, **options) as client, client.stream("POST", URL, json=ASK) as response:
            pieces.extend(response.iter_bytes())

    async def main():
        async with aclient_of(provider, module, **options) as client, client.stream("POST", URL, json=ASK) as response:
            async for piece in response.aiter_bytes():
                pieces.append(piece)

    try:
        sdks.run(main()) if asynchronous else plain()
    except Exception as error:
        return len([p for p in pieces if b'"content":"w' in p or b'"content": "w' in p]), error
    return len([p for p in pieces if b'"content":"w' in p or b'"content": "w' in p]), None


SILENCES = {
    "a pause that is longer": (["w", Pause(5.5), "w"], 1, "ReadTimeout", 5),
    "a pause as long as the patience": (["w", Pause(5), "w"], 2, None, 5),
    "pauses between chunks that add up to more": (["w", Pause(3), "w", Pause(3), "w", Pause(3)], 3, None, 9),
    "several pauses between two chunks": (["w", Pause(3), Pause(3), "w"], 1, "ReadTimeout", 5),
    "several pauses that are as long": (["w", Pause(2), Pause(3), "w"], 2, None, 5),
    "a pause before the first chunk": ([Pause(6), "w"], 0, "ReadTimeout", 5),
    "a stall": (["w", Pause(3), "w", stall()], 2, "ReadTimeout", 8),
    "a stall after a pause": (["w", Pause(3), stall()], 1, "ReadTimeout", 5),
    "no headers": ([stall("headers")], 0, "ReadTimeout", 5),
    "no headers after a pause": ([Pause(3), stall("headers")], 0, "ReadTimeout", 5),
    "a connection that does not come": ([stall("connect")], 0, "ConnectTimeout", 2),
    "a reset after pauses": (["w", Pause(4), disconnect()], 1, "ReadError", 4),
}


@flavours
@pytest.mark.parametrize("name", SILENCES)
def test_the_clients_timeouts_fall_on_the_clock_at_their_second(name, module, asynchronous):
    parts, chunks, error, now = SILENCES[name]
    provider = fake(Script(*parts))

    found, raised = read(provider, module, asynchronous, timeout=module.Timeout(5, connect=2))

    assert (found, type(raised).__name__ if raised else None) == (chunks, error)
    assert provider.clock.now == now
    if raised:
        assert isinstance(raised, getattr(module, error))
        assert raised.request.url == URL


@flavours
def test_without_a_timeout_a_long_silence_is_waited_for(module, asynchronous):
    provider = fake("w", Pause(100_000), "w")

    assert read(provider, module, asynchronous, timeout=None) == (2, None)
    assert provider.clock.now == 100_000


@flavours
@pytest.mark.parametrize(
    "fault", [disconnect(), disconnect("refused"), disconnect("close"), stall("connect"), stall()], ids=str
)
def test_an_error_has_the_cause_that_it_has_over_a_socket(module, asynchronous, fault):
    _, error = read(fake(Script(fault)), module, asynchronous)

    cause = error.__cause__
    assert (type(cause).__name__, str(cause)) == (type(error).__name__, str(error))
    assert type(cause).__module__ == f"{module.__name__.replace('httpx', 'httpcore')}"


def test_providers_may_share_a_clock(module):
    clock = InstantClock()
    for name in ("a", "b"):
        read(fake("w", Pause(2), name, clock=clock), module, False)
    assert clock.now == 4


def test_the_sdk_retries_and_its_timeout_is_the_apps(monkeypatch):
    http = sdks.http_of("openai")
    provider = FakeProvider("openai").reply(Script(stall("headers"))).reply("Hello")
    client = openai.OpenAI(api_key="k", timeout=7, http_client=client_of(provider, http), max_retries=1)
    monkeypatch.setattr(client, "_calculate_retry_timeout", lambda *a, **k: 0)

    assert client.chat.completions.create(**WHOLE).choices[0].message.content == "Hello"
    assert provider.clock.now == 7
    assert [type(call.error).__name__ for call in provider.calls] == ["ReadTimeout", "NoneType"]


@flavours
def test_an_endless_silence_without_a_timeout_fails_the_call(module, asynchronous):
    provider = fake(Script("w", stall()))

    found, error = read(provider, module, asynchronous, timeout=None)

    assert (found, type(error).__name__) == (1, "LLMTimeoutError")
    assert (provider.calls[0].state, provider.calls[0].error) == ("failed", error)


@flavours
def test_an_exception_of_a_reply_function_fails_the_call(module, asynchronous):
    def reply(request):
        yield "w"
        raise ConnectionAbortedError

    provider = fake(reply)
    found, error = read(provider, module, asynchronous)

    assert (found, type(error)) == (1, ConnectionAbortedError)
    assert (provider.calls[0].state, provider.calls[0].error) == ("failed", error)


# -- closing ------------------------------------------------------------------------------------------


class Generator:
    """A reply function that notes how its generator ended."""

    def __init__(self):
        self.ended = None

    def __call__(self, request):
        try:
            yield from words(50)
            self.ended = "complete"
        except BaseException as error:
            self.ended = type(error).__name__
            raise


@pytest.fixture(params=["script", "function"])
def source(request):
    return request.param


def made(source):
    generator = Generator()
    provider = fake(*words(50)) if source == "script" else fake(generator.__call__)
    return provider, generator


def closed_by_break(client):
    with client.stream("POST", URL, json=ASK) as response:
        for _, _ in zip(response.iter_bytes(), range(3), strict=False):
            pass


def closed_by_response(client):
    response = client.send(client.build_request("POST", URL, json=ASK), stream=True)
    pieces = response.iter_bytes()
    [next(pieces) for _ in range(4)]
    response.close()


def closed_by_the_iterator(client):
    response = client.send(client.build_request("POST", URL, json=ASK), stream=True)
    pieces = response.iter_bytes()
    [next(pieces) for _ in range(4)]
    pieces.close()


def closed_by_an_error(client):
    with pytest.raises(ZeroDivisionError), client.stream("POST", URL, json=ASK) as response:
        for n, _ in enumerate(response.iter_lines()):
            1 / (n - 6)


def closed_with_the_client(client):
    response = client.send(client.build_request("POST", URL, json=ASK), stream=True)
    pieces = response.iter_bytes()
    [next(pieces) for _ in range(4)]
    client.close()


@pytest.mark.parametrize(
    "close", [closed_by_break, closed_by_response, closed_by_the_iterator, closed_by_an_error, closed_with_the_client]
)
def test_an_early_close_is_noted(module, source, close):
    provider, generator = made(source)
    with client_of(provider, module) as client:
        close(client)
        (call,) = provider.calls
        assert (call.state, call.closed, call.pieces, call.error) == ("closed", True, 4, None)
        assert 0 < call.delivered < 2000
        if source == "function":
            assert generator.ended == "GeneratorExit"


@backends
@pytest.mark.parametrize("how", ["response", "iterator", "client"])
def test_an_early_close_is_noted_asynchronously(module, source, how, backend):
    provider, generator = made(source)

    async def main():
        async with aclient_of(provider, module) as client:
            response = await client.send(client.build_request("POST", URL, json=ASK), stream=True)
            pieces = response.aiter_bytes()
            for _ in range(4):
                await anext(pieces)
            await {"response": response.aclose, "iterator": pieces.aclose, "client": client.aclose}[how]()
            (call,) = provider.calls
            assert (call.state, call.closed, call.pieces) == ("closed", True, 4)
            if source == "function":
                assert generator.ended == "GeneratorExit"
            await pieces.aclose()

    anyio.run(main, backend=backend)


@backends
@pytest.mark.parametrize("at", ["a chunk", "a silence", "the headers"])
def test_a_cancelled_task_is_noted(module, source, at, backend):
    class Never:
        now = 0.0

        def sleep(self, seconds):
            raise RuntimeError

        async def asleep(self, seconds):
            await anyio.sleep_forever()

    provider, generator = made(source)
    if at != "a chunk":
        silence = [Pause(9)] if at == "a silence" else [Pause(9), stall("headers")]
        provider = fake(Script(*(["a"] if at == "a silence" else []), *silence), clock=Never())

    async def main():
        async with aclient_of(provider, module) as client, anyio.create_task_group() as group:

            async def app():
                async with client.stream("POST", URL, json=ASK) as response:
                    async for _ in response.aiter_lines():
                        if at == "a chunk" and provider.calls[0].pieces == 4:
                            group.cancel_scope.cancel()

            group.start_soon(app)
            if at != "a chunk":
                await anyio.wait_all_tasks_blocked()
                group.cancel_scope.cancel()

    anyio.run(main, backend=backend)
    (call,) = provider.calls
    assert call.state == "cancelled"
    if at == "a chunk" and source == "function":
        assert generator.ended in ("GeneratorExit", "CancelledError", "Cancelled")


@flavours
def test_a_stream_that_was_read_to_done_is_complete(module, asynchronous):
    provider = fake("Hel", "lo")
    if asynchronous:

        async def main():
            async with aclient_of(provider, module) as client, client.stream("POST", URL, json=ASK) as response:
                async for line in response.aiter_lines():
                    if line == "data: [DONE]":
                        break

        sdks.run(main())
    else:
        with client_of(provider, module) as client, client.stream("POST", URL, json=ASK) as response:
            for line in response.iter_lines():
                if line == "data: [DONE]":
                    break
    (call,) = provider.calls
    assert (call.state, call.closed) == ("complete", False)


@flavours
def test_a_stream_that_nobody_reads_is_closed(module, asynchronous):
    provider = fake("Hel", "lo")

    async def steps(response, result):
        pass

    Both(module, asynchronous, provider).run(steps)
    assert (provider.calls[0].state, provider.calls[0].pieces) == ("closed", 0)


@flavours
@pytest.mark.parametrize("pulled", [0, 3])
def test_reading_on_after_the_client_is_closed_fails_as_on_a_socket(module, asynchronous, pulled):
    def error_of(make, url):
        async def main():
            client = make()
            response = await client.send(client.build_request("POST", url, json=ASK), stream=True)
            pieces = response.aiter_raw()
            for _ in range(pulled):
                await anext(pieces)
            await client.aclose()
            try:
                async for _ in pieces:
                    pass
            except Exception as error:
                return type(error), str(error)
            return None

        def plain():
            client = make()
            response = client.send(client.build_request("POST", url, json=ASK), stream=True)
            pieces = response.iter_raw()
            for _ in range(pulled):
                next(pieces)
            client.close()
            try:
                for _ in pieces:
                    pass
            except Exception as error:
                return type(error), str(error)
            return None

        return sdks.run(main()) if asynchronous else plain()

    clients = (aclient_of if asynchronous else client_of), (module.AsyncClient if asynchronous else module.Client)
    with loopback.Loopback(fake(*words(5000), hosts=["127.0.0.1"])) as server:
        real = error_of(clients[1], f"{server.url}/v1/chat/completions")
    assert real is not None
    assert error_of(lambda: clients[0](fake(*words(5000)), module), URL) == real


def test_an_app_that_leaves_its_client_before_the_stream_sees_its_bug():
    http = sdks.http_of("openai")
    provider = fake(*words(50))

    async def app():
        async with openai.AsyncOpenAI(api_key="k", http_client=aclient_of(provider, http)) as client:
            return await client.chat.completions.create(**ASK)

    async def main():
        with pytest.raises((http.ReadError, openai.APIConnectionError)):
            async for _ in await app():
                pass

    sdks.run(main())


# -- the response is the library's own ----------------------------------------------------------------


def both(module, asynchronous, steps, parts=("Hé", "llo"), json=ASK, **options):
    """Return what the steps make of our response, and of the library's own with the same bytes."""
    provider = fake(*parts)
    ours = Both(module, asynchronous, provider, **options).run(steps, json)
    with client_of(fake(*parts), module) as client, client.stream("POST", URL, json=json) as response:
        pieces = list(response.iter_raw())

    class Source(module.SyncByteStream, module.AsyncByteStream):
        def __iter__(self):
            yield from pieces

        async def __aiter__(self):
            for piece in pieces:
                yield piece

    mock = module.MockTransport(lambda request: module.Response(200, headers=response.headers, stream=Source()))
    if asynchronous:

        async def main():
            async with (
                module.AsyncClient(transport=mock, **options) as plain,
                plain.stream("POST", URL, json=json) as response,
            ):
                return await steps(response, Both(module, True, None).awaited)

        return ours, sdks.run(main())
    with module.Client(transport=mock, **options) as plain, plain.stream("POST", URL, json=json) as response:
        flavour = Both(module, False, None)
        return ours, flavour.finish(steps(response, flavour.plain))


READS = ["iter_bytes", "iter_text", "iter_lines", "iter_raw", "read"]


@pytest.mark.exhaustive
@flavours
@pytest.mark.parametrize("size", [None, 1, 7, 10_000])
@pytest.mark.parametrize("name", READS)
def test_it_is_read_as_the_librarys_own_is(module, asynchronous, name, size):
    size = None if name in ("iter_lines", "read") else size

    async def steps(response, result):
        read = named(response, name, asynchronous)
        return await result(read(size) if size else read()), response.num_bytes_downloaded, response.is_closed

    ours, real = both(module, asynchronous, steps)
    assert ours == real


@pytest.mark.exhaustive
@flavours
@pytest.mark.parametrize("second", READS)
@pytest.mark.parametrize("first", [*READS, "close"])
def test_a_second_reading_is_refused_as_the_librarys_own_is(module, asynchronous, first, second):
    async def steps(response, result):
        if first == "close":
            await result(response.aclose() if asynchronous else response.close())
        else:
            await result(named(response, first, asynchronous)())
        try:
            return await result(named(response, second, asynchronous)())
        except Exception as error:
            return type(error), str(error)

    ours, real = both(module, asynchronous, steps)
    assert ours == real


@flavours
def test_two_iterators_of_one_response_are_refused(module, asynchronous):
    async def steps(response, result):
        one, two = named(response, "iter_bytes", asynchronous)(), named(response, "iter_bytes", asynchronous)()
        await (anext(one) if asynchronous else result(next(one)))
        try:
            await (anext(two) if asynchronous else result(next(two)))
        except Exception as error:
            return type(error)
        finally:
            await result(one.aclose() if asynchronous else one.close())

    ours, real = both(module, asynchronous, steps)
    assert ours is real is module.StreamConsumed


@flavours
@pytest.mark.parametrize("name", READS)
def test_the_wrong_flavour_of_reading_is_refused(module, asynchronous, name):
    async def steps(response, result):
        wrong = named(response, name, not asynchronous)()
        try:
            if not asynchronous:
                await (anext(wrong) if hasattr(wrong, "__anext__") else wrong)
            else:
                next(wrong)
        except Exception as error:
            return type(error), str(error)
        return "nothing"

    if asynchronous and name == "read":

        async def steps(response, result):
            try:
                response.read()
            except Exception as error:
                return type(error), str(error)

    ours, real = both(module, asynchronous, steps)
    assert ours == real
    assert ours[0] is RuntimeError


@flavours
def test_it_has_what_an_app_looks_at(module, asynchronous):
    async def steps(response, result):
        before = [response.is_stream_consumed, response.is_closed]
        await result(response.aread() if asynchronous else response.read())
        return [
            before, response.status_code, response.reason_phrase, response.http_version, response.headers["content-type"],
            response.is_stream_consumed, response.is_closed, response.json()["object"], response.text, response.content,
            response.elapsed.total_seconds() >= 0, response.raise_for_status() is response, response.url,
            response.request.method, response.encoding, response.is_success, response.history, response.cookies.jar._cookies,
        ]  # fmt: skip

    ours, real = both(module, asynchronous, steps, json=WHOLE)
    assert ours == real


@flavours
def test_an_error_status_is_raised_by_the_library(module, asynchronous):
    provider = FakeProvider("openai").error(404)

    async def steps(response, result):
        await result(response.aread() if asynchronous else response.read())
        with pytest.raises(module.HTTPStatusError, match="404 Not Found"):
            response.raise_for_status()
        return response.json()

    assert "error" in Both(module, asynchronous, provider).run(steps)


@flavours
def test_event_hooks_see_request_and_response(module, asynchronous):
    seen = []

    def note(thing):
        seen.append(type(thing).__mro__[-2].__name__)

    async def anote(thing):
        note(thing)

    hook = anote if asynchronous else note

    async def steps(response, result):
        return await result(named(response, "iter_lines", asynchronous)())

    assert Both(module, asynchronous, fake("a"), event_hooks={"request": [hook], "response": [hook]}).run(steps)
    assert seen == ["Request", "Response"]


@flavours
def test_the_sse_helper_of_httpx2_reads_the_events(asynchronous):
    module = importlib.import_module("httpx2")

    async def steps(response, result):
        events = module.EventSource(response)
        found = [event async for event in events.aiter_sse()] if asynchronous else list(events.iter_sse())
        return [event.data for event in found]

    if not hasattr(module, "EventSource"):
        pytest.skip("this httpx2 has none")
    if not hasattr(module.EventSource, "iter_sse"):

        async def steps(response, result):
            source = module.EventSource(response)
            found = [event async for event in source] if asynchronous else list(source)
            return [event.data for event in found]

    assert Both(module, asynchronous, fake("Hel", "lo")).run(steps)[-1] == "[DONE]"


def test_a_request_whose_body_is_streamed_is_read(module):
    import json

    data = json.dumps(WHOLE).encode()
    with client_of(fake("a"), module) as client:
        assert client.post(URL, content=iter([data[:9], data[9:]])).json()["object"] == "chat.completion"

    async def body():
        yield data[:9]
        yield data[9:]

    async def main():
        async with aclient_of(fake("a"), module) as client:
            return await client.post(URL, content=body())

    assert sdks.run(main()).json()["object"] == "chat.completion"


@pytest.mark.exhaustive
@pytest.mark.usefixtures("frozen")
def test_a_stream_is_left_to_the_garbage_collector_without_a_word(module):
    provider = fake(*words(50))

    async def main():
        async with aclient_of(provider, module) as client:
            response = await client.send(client.build_request("POST", URL, json=ASK), stream=True)
            async for _ in response.aiter_lines():
                break
            del response
            gc.collect()
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    sdks.run(main())
    assert provider.calls[0].state in ("closed", "cancelled")
