"""Clients of aiohttp: the answer comes over a connection in memory, and is that of a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import json
import subprocess
import sys
import textwrap

import aiohttp
import loopback
import openai
import pytest
import sdks
from faults import FAULTS, PATIENCE, patience, provider_of, served
from vectors import each

from fakellm import FakeProvider, Pause, Script, stall
from fakellm.errors import UnexpectedRequestError
from fakellm.http.interception import intercept

CHAT = "https://api.openai.com/v1/chat/completions"
ASK = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
STREAM = {**ASK, "stream": True}

has_aiohttp_client = pytest.mark.skipif(sdks.OPENAI < 3, reason="openai 2 needs httpx-aiohttp for its aiohttp client")


def fake(*parts, **options):
    return FakeProvider("openai", **options).otherwise(*parts)


def words(count):
    return [f"w{n} " for n in range(count)]


# -- faults -------------------------------------------------------------------------------------------


async def read(url, **options):
    """Return the bytes of a streamed answer, and what ended it."""
    received = b""
    try:
        async with (
            aiohttp.ClientSession(**options) as session,
            session.post(f"{url}/v1/chat/completions", json=STREAM) as answer,
        ):
            async for data in answer.content.iter_any():
                received += data
    except Exception as error:
        return received, type(error), str(error).replace(url, "URL")
    return received, None, ""


async def ask(url, timeouts):
    """Return the chunks that openai's client over aiohttp gives, and what ended them."""
    chunks, seen = [], []
    try:
        connect, read = timeouts
        http = openai.DefaultAioHttpClient(timeout=openai.Timeout(5, connect=connect, read=read))
        async with openai.AsyncOpenAI(api_key="k", base_url=f"{url}/v1", max_retries=0, http_client=http) as client:
            async for chunk in await client.chat.completions.create(**STREAM):
                chunks.append(chunk.model_dump(exclude={"usage"}))
    except Exception as error:
        seen = [type(error), type(error.__cause__)]
    return chunks, seen


def both_ways(script, read):
    provider = provider_of(script)
    with served(provider, script) as url:
        real = sdks.run(read(url))
    provider = provider_of(script)
    with intercept(provider):
        in_process = sdks.run(read("http://127.0.0.1:1"))
    return in_process, real, provider


@each("name", FAULTS)
def test_a_fault_is_that_of_a_real_socket(name):
    script = FAULTS[name]
    connect, rest = patience(script)
    timeout = aiohttp.ClientTimeout(sock_connect=connect, sock_read=rest)

    (data, error, _), (real_data, real_error, _), _ = both_ways(script, lambda url: read(url, timeout=timeout))

    assert (data, error) == (real_data, real_error)


@pytest.mark.exhaustive
@has_aiohttp_client
@each("name", FAULTS)
def test_a_fault_reaches_openais_client_as_over_a_real_socket(name):
    script = FAULTS[name]

    in_process, real, _ = both_ways(script, lambda url: ask(url, patience(script)))

    assert in_process == real


@each("where", ["connect", "headers", "chunk"])
@each("kind", ["total", "sock_read", "sock_connect", "connect"])
def test_each_timeout_raises_what_it_raises_over_a_socket(kind, where):
    strikes = {"total": True, "sock_read": where != "connect"}.get(kind, where == "connect")
    if not strikes:
        return  # this timeout does not end that silence: nothing would
    script = Script(*(["w", stall()] if where == "chunk" else [stall(where)]))
    timeout = aiohttp.ClientTimeout(**{"total": None, "sock_connect": None, kind: PATIENCE})

    (data, *error), (real_data, *real_error), provider = both_ways(script, lambda url: read(url, timeout=timeout))

    assert error[0] is real_error[0]
    assert data == real_data
    assert provider.clock.now == PATIENCE


@pytest.mark.parametrize(
    ("timeout", "parts", "now", "error"),
    [
        ({"sock_read": 5}, [Pause(3), "w", Pause(3), "w", Pause(5), "w"], 11, None),
        ({"sock_read": 5}, ["w", Pause(3), Pause(3), "w"], 5, aiohttp.SocketTimeoutError),
        ({"total": 5}, ["w", Pause(3), "w", Pause(3), "w"], 5, TimeoutError),
        ({"total": 6}, ["w", Pause(3), "w", Pause(3), "w"], 6, None),
        ({"total": 9, "sock_read": 4}, ["w", Pause(4), "w", Pause(5), "w"], 8, aiohttp.SocketTimeoutError),
    ],
)
def test_timeouts_fall_on_the_clock_at_their_second(timeout, parts, now, error):
    provider = fake(Script(*parts))
    with intercept(provider):
        _, raised, _ = sdks.run(read("https://api.openai.com", timeout=aiohttp.ClientTimeout(**timeout)))

    assert (provider.clock.now, raised) == (now, error)


# -- sessions -----------------------------------------------------------------------------------------


async def post(session, url=CHAT, body=ASK, **options):
    async with session.post(url, json=body, **options) as answer:
        return (await answer.json())["choices"][0]["message"]["content"]


def test_a_session_is_answered_whenever_it_was_made():
    async def main():
        async with aiohttp.ClientSession() as session:
            with intercept(fake("inside")):
                async with aiohttp.ClientSession() as other:
                    said = [await post(session), await post(other)]
            with intercept(fake("again")):
                return [*said, await post(session)]

    assert sdks.run(main()) == ["inside", "inside", "again"]


@has_aiohttp_client
def test_openais_client_over_aiohttp_is_answered():
    async def main():
        async with openai.AsyncOpenAI(api_key="k", http_client=openai.DefaultAioHttpClient()) as client:
            whole = (await client.chat.completions.create(**ASK)).choices[0].message.content
            chunks = [
                c.choices[0].delta.content or ""
                async for c in await client.chat.completions.create(**STREAM)
                if c.choices
            ]
            return whole, "".join(chunks)

    with intercept(fake("Hel", "lo")):
        assert sdks.run(main()) == ("Hello", "Hello")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_asked_for_real_and_pooled_connections_are_not_used_for_a_fake(host):
    """A connection that is kept alive would lead past the fake: one that the session made before is closed."""

    async def handle(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                body = b'{"choices": [{"message": {"content": "real"}}]}'
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                    % (len(body), body)
                )
                await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        url = f"http://{host}:{port}/v1/chat/completions"
        async with server, aiohttp.ClientSession() as session:

            async def get():
                async with session.post(url) as answer:
                    return (await answer.json())["choices"][0]["message"]["content"]

            said = [await get()]
            assert session.connector._conns
            with intercept(fake("unasked")):
                said.append(await get())
            with intercept(fake("fake", hosts=[f"{host}:{port}"])):
                said.append(await post(session, url))
                assert not session.connector._conns
            said.append(await get())
            return said

    assert sdks.run(main()) == ["real", "real", "fake", "real"]


def test_a_pooled_connection_is_not_used_for_what_is_refused(monkeypatch):
    with loopback.Loopback(fake("real", hosts=["127.0.0.1"])) as server:

        async def main():
            async with aiohttp.ClientSession() as session:
                await post(session, f"{server.url}/v1/chat/completions")
                with intercept(), pytest.raises(UnexpectedRequestError):
                    await post(session, "http://api.anthropic.com/v1/messages")

        sdks.run(main())


def test_a_miss_is_raised_in_the_app_and_is_no_exception():
    async def main():
        async with aiohttp.ClientSession() as session:
            with contextlib.suppress(Exception):
                await post(session)

    with (
        intercept(provider := FakeProvider("openai")),
        pytest.raises(UnexpectedRequestError, match="nothing was scripted"),
    ):
        sdks.run(main())
    assert len(provider.calls) == len(provider.misses) == 1


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_request_arrives_whole(chunked):
    text = "x" * 300_000
    data = json.dumps({**ASK, "messages": [{"role": "user", "content": text}]}).encode()

    async def pieces():
        for at in range(0, len(data), 50_000):
            yield data[at : at + 50_000]

    async def main():
        async with aiohttp.ClientSession() as session, session.post(CHAT, data=pieces() if chunked else data) as answer:
            return answer.status

    with intercept(provider := fake("ok")):
        assert sdks.run(main()) == 200
    assert provider.calls[0].json["messages"][0]["content"] == text


def test_a_request_through_a_proxy_is_answered():
    async def main():
        async with aiohttp.ClientSession() as session:
            return [
                await post(session, url, proxy="http://127.0.0.1:9") for url in (CHAT, CHAT.replace("https", "http"))
            ]

    with intercept(provider := fake("ok")):
        assert sdks.run(main()) == ["ok", "ok"]
    assert [call.url for call in provider.calls] == [CHAT, CHAT.replace("https", "http")]


def test_requests_at_once_do_not_mix():
    provider = FakeProvider("openai")
    for n in range(20):
        provider.when(f"<{n}>", f"answer {n}")

    async def main():
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=4)) as session:
            bodies = [{**ASK, "messages": [{"role": "user", "content": f"<{n}>"}]} for n in range(20)]
            return await asyncio.gather(*[post(session, body=body) for body in bodies])

    with intercept(provider):
        assert sdks.run(main()) == [f"answer {n}" for n in range(20)]


# -- streams ------------------------------------------------------------------------------------------


def test_a_reader_that_keeps_up_gets_the_chunks_one_by_one():
    async def main():
        async with aiohttp.ClientSession() as session, session.post(CHAT, json=STREAM) as answer:
            return [data async for data in answer.content.iter_any()]

    with intercept(provider := fake(*words(30))):
        pieces = sdks.run(main())
    assert len(pieces) == provider.calls[0].pieces
    assert all(piece.count(b"data: ") == 1 for piece in pieces)


@pytest.mark.parametrize("how", ["iter_any", "iter_chunks", "readline", "read"])
def test_a_reader_that_does_not_keep_up_gets_the_chunks_one_by_one_too(how):
    """What was not read is not joined with what comes after it, and a stream is never ahead of its reader."""
    provider = fake(*words(30))

    async def one(content):
        if how == "readline":
            return await content.readline() + await content.readline()
        if how == "iter_any":
            return await content.readany()
        piece, is_end = await content.readchunk()
        return piece or (await content.readchunk())[0] if is_end else piece

    async def main():
        pieces = []
        async with aiohttp.ClientSession() as session, session.post(CHAT, json=STREAM) as answer:
            if how == "read":
                return [await answer.read()]
            while piece := await one(answer.content):
                pieces.append(piece)
                for _ in range(5):
                    await asyncio.sleep(0)
                assert provider.calls[0].pieces <= len(pieces) + 1
        return pieces

    with intercept(provider):
        pieces = sdks.run(main())
    (call,) = provider.calls
    assert (len(pieces), call.state) == (call.pieces if how != "read" else 1, "complete")
    assert b"".join(pieces).count(b"data: ") == call.pieces


@pytest.mark.exhaustive
def test_a_slow_reader_holds_the_stream_back():
    made = []

    def reply(request):
        for n in range(4000):
            made.append(n)
            yield "x" * 1000

    async def main():
        async with aiohttp.ClientSession() as session, session.post(CHAT, json=STREAM) as answer:
            await answer.content.readany()
            for _ in range(3000):
                await asyncio.sleep(0)
            lead = len(made)
            size = 0
            async for data in answer.content.iter_any():
                size += len(data)
            return lead, size

    with intercept(fake(reply)):
        lead, size = sdks.run(main())
    assert lead < 1000
    assert (len(made), size > 4_000_000) == (4000, True)


@pytest.mark.parametrize("how", ["leave", "close", "cancel"])
def test_a_stream_that_is_closed_early_is_noted(how):
    async def main():
        async with aiohttp.ClientSession() as session:

            async def app():
                async with session.post(CHAT, json=STREAM) as answer:
                    await answer.content.readline()
                    if how == "cancel":
                        asyncio.current_task().cancel()
                        await asyncio.sleep(0)
                    if how == "close":
                        answer.close()

            await asyncio.gather(app(), return_exceptions=True)
            (call,) = provider.calls
            assert (call.state, call.closed) == ("closed", True)
            assert 0 < call.pieces < 5000

    with intercept(provider := fake(*words(5000))):
        sdks.run(main())


def test_reading_on_after_the_session_is_closed_fails_as_on_a_socket():
    async def main(url):
        session = aiohttp.ClientSession()
        answer = await session.post(f"{url}/v1/chat/completions", json=STREAM)
        await answer.content.readline()
        await asyncio.wait_for(session.close(), 5)
        try:
            async with asyncio.timeout(5):
                async for _ in answer.content.iter_any():
                    pass
        except Exception as error:
            return type(error)
        finally:
            answer.close()

    with loopback.Loopback(fake(*words(5000), hosts=["127.0.0.1"])) as server:
        real = sdks.run(main(server.url))
    with intercept(provider := fake(*words(5000))):
        assert sdks.run(main("https://api.openai.com")) is real
    assert provider.calls[0].closed


@pytest.mark.exhaustive
def test_nothing_is_left_to_complain_about():
    code = """
    import asyncio, gc, aiohttp
    from fakellm import FakeProvider, Script, Pause, disconnect, stall
    from fakellm.http.interception import intercept

    ask = {"model": "m", "messages": [{"role": "user", "content": "?"}], "stream": True}
    chat = "https://api.openai.com/v1/chat/completions"

    async def main():
        asyncio.get_running_loop().slow_callback_duration = 60  # of a busy machine it would complain
        async with aiohttp.ClientSession() as session:
            for _ in range(5):
                try:
                    async with session.post(chat, json=ask, timeout=aiohttp.ClientTimeout(sock_read=5)) as answer:
                        await answer.content.readline()
                        async for data in answer.content.iter_any():
                            if b"leave" in data:
                                break
                except (aiohttp.ClientError, TimeoutError):
                    pass
            try:
                await session.post(chat, json=ask)
            except BaseException as miss:
                assert "no reply" in str(miss)

    fake = FakeProvider("openai").reply("a", "b").reply("a", disconnect()).reply("a", stall()).reply("leave", *"abcdef")
    fake.reply(disconnect("refused"))
    with intercept(fake):
        asyncio.run(main())
    gc.collect()
    """

    result = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.exhaustive
def test_no_task_is_left_when_the_interception_ends(caplog):
    async def main():
        with intercept(fake(*words(3000))):
            session = aiohttp.ClientSession()
            answer = await session.post(CHAT, json=STREAM)
            await answer.content.readline()
            answer.close()
            await session.close()
        del answer, session
        gc.collect()
        for _ in range(3):
            await asyncio.sleep(0)
        return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    assert sdks.run(main()) == []
    assert caplog.records == []


# -- Gemini -------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")  # of google-genai's own
@pytest.mark.skipif(
    not importlib.util.find_spec("fakellm.wire.gemini.generate"), reason="there is no codec of Gemini yet"
)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
def test_geminis_own_client_is_answered(streaming, asynchronous):
    from google import genai

    options = {"model": "gemini-2.5-flash", "contents": "?"}

    def plain(client):
        if streaming:
            return "".join(chunk.text or "" for chunk in client.models.generate_content_stream(**options))
        return client.models.generate_content(**options).text

    async def main(client):
        if streaming:
            chunks = [chunk.text or "" async for chunk in await client.aio.models.generate_content_stream(**options)]
            text = "".join(chunks)
        else:
            text = (await client.aio.models.generate_content(**options)).text
        await client.aio.aclose()
        return text

    with intercept(provider := FakeProvider("gemini").reply("Hel", "lo")):
        client = genai.Client(api_key="k")
        assert (sdks.run(main(client)) if asynchronous else plain(client)) == "Hello"
        client.close()
    assert len(provider.calls) == 1
