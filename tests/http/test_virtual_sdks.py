"""The official openai client, and its siblings, in virtual time: timeouts and back-off at exactly their seconds."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import anthropic
import openai
import pytest
from sdks import OPENAI, http_of

from fakellm import FakeProvider, Pause, http_error, stall
from fakellm.clock.clock import VirtualClock
from fakellm.clock.virtual_loop import run, run_twice
from fakellm.http.interception import intercept

MESSAGES = [{"role": "user", "content": "?"}]
TIMEOUT_IN_STREAM = openai.APITimeoutError if OPENAI >= 3 else http_of("openai").ReadTimeout  # 2 lets it through
flavours = pytest.mark.parametrize("flavour", ["sync", "async"])


@pytest.fixture
def backoffs(monkeypatch):
    """Write down how long the SDK decides to wait before it tries again."""
    waits = []
    base = openai._base_client.BaseClient
    original = base._calculate_retry_timeout

    def noting(self, *args, **kwargs):
        waits.append(original(self, *args, **kwargs))
        return waits[-1]

    monkeypatch.setattr(base, "_calculate_retry_timeout", noting)
    return waits


@pytest.fixture(scope="module", autouse=True)
def _loaded():
    """Let the SDKs load what they load late, which takes a second."""
    assert openai.OpenAI(api_key="k").chat.completions
    assert anthropic.Anthropic(api_key="k").messages
    for flavour in ("sync", "async"):
        chat(provider().reply("Hello"), flavour)


@pytest.fixture(autouse=True)
def _quick(_loaded):
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 0.3


def chat(provider, flavour, **options):
    """Ask for a stream and read it to its end; return the content."""
    options = {"api_key": "k", **options}
    question = {"model": "m", "messages": MESSAGES, "stream": True}

    async def ask():
        async with openai.AsyncOpenAI(**options) as client:
            stream = await client.chat.completions.create(**question)
            return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])

    with intercept(provider):
        if flavour == "async":
            return run(ask(), clock=provider.clock)
        with provider.clock.patch_time(), openai.OpenAI(**options) as client:
            stream = client.chat.completions.create(**question)
            return "".join([c.choices[0].delta.content or "" for c in stream if c.choices])


def provider():
    return FakeProvider("openai", clock=VirtualClock())


@flavours
def test_a_stall_in_the_stream_is_a_timeout_at_its_second(flavour):
    fake = provider().reply("Hel", stall())

    with pytest.raises(TIMEOUT_IN_STREAM):
        chat(fake, flavour, timeout=20)

    assert fake.clock.now == 20
    assert [stream.chunks for stream in fake.clock.streams] == [[0, 0]]


@flavours
def test_a_stall_before_the_headers_is_tried_again_after_the_back_off(flavour, backoffs):
    fake = provider().otherwise(stall("headers"))

    with pytest.raises(openai.APITimeoutError):
        chat(fake, flavour, timeout=20, max_retries=2)

    assert len(backoffs) == 2
    assert fake.clock.now == pytest.approx(20 * 3 + sum(backoffs), abs=1e-8)
    asked = [stream.asked for stream in fake.clock.streams]
    expected = [0, 20 + backoffs[0], 40 + sum(backoffs)]
    assert asked == pytest.approx(expected, abs=1e-8)


@flavours
def test_a_connection_that_is_not_made_is_a_timeout_at_its_second(flavour):
    fake = provider().otherwise(stall("connect"))

    with pytest.raises(openai.APITimeoutError):
        chat(fake, flavour, timeout=http_of("openai").Timeout(600, connect=5), max_retries=0)

    assert fake.clock.now == 5


@flavours
def test_retry_after_seven_reconnects_at_seven(flavour):
    fake = provider().error(429, retry_after=7).reply("ok")

    assert chat(fake, flavour) == "ok"
    assert [stream.asked for stream in fake.clock.streams] == [0, 7]
    assert fake.clock.now == 7


@flavours
def test_ten_gaps_of_nineteen_seconds_do_not_time_out(flavour):
    fake = provider().reply(*[part for number in range(10) for part in (str(number), Pause(19))], "!")

    assert chat(fake, flavour, timeout=20) == "0123456789!"
    assert fake.clock.now == 190
    assert [gap for gap in fake.clock.gaps if gap] == [19] * 10
    assert fake.clock.time_to_first_chunk == 0


@flavours
def test_an_eleventh_gap_that_is_too_long_does(flavour):
    fake = provider().reply(*[part for number in range(10) for part in (str(number), Pause(19))], Pause(2), "!")

    with pytest.raises(TIMEOUT_IN_STREAM):
        chat(fake, flavour, timeout=20)
    assert fake.clock.now == 191


def test_a_deadline_of_the_app_around_the_client():
    fake = provider().error(429, retry_after=7).reply("Hel", Pause(30), "lo")

    async def main():
        async with asyncio.timeout(12):
            async with openai.AsyncOpenAI(api_key="k") as client:
                stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
                try:
                    return [chunk async for chunk in stream]
                finally:
                    await stream.close()

    with intercept(fake), pytest.raises(TimeoutError):
        run(main(), clock=fake.clock)
    assert fake.clock.now == 12
    assert fake.calls[1].state == "cancelled"


def test_two_runs_with_the_client_are_the_same():
    async def main(clock):
        fake = FakeProvider("openai", clock=clock).error(429, retry_after=7).reply("Hel", Pause(19), "lo")
        with intercept(fake):
            async with openai.AsyncOpenAI(api_key="k") as client:
                answer = await client.chat.completions.create(model="m", messages=MESSAGES)
        return clock.now, answer.choices[0].message.content

    assert run_twice(main) == (26, "Hello")


@flavours
def test_other_sdks_wait_on_the_clock_too(flavour):
    fake = FakeProvider("anthropic", clock=VirtualClock()).reply(http_error(529, retry_after=3)).reply("Hel", stall())
    question = {"model": "m", "messages": MESSAGES, "max_tokens": 9, "stream": True}

    async def ask():
        async with anthropic.AsyncAnthropic(api_key="k", timeout=20) as client:
            return [event async for event in await client.messages.create(**question)]

    with intercept(fake), pytest.raises(http_of("anthropic").ReadTimeout):
        if flavour == "async":
            run(ask(), clock=fake.clock)
        else:
            with fake.clock.patch_time(), anthropic.Anthropic(api_key="k", timeout=20) as client:
                list(client.messages.create(**question))
    assert fake.clock.now == 23


def test_the_timeouts_of_aiohttp_are_at_their_seconds():
    fake, times = provider().otherwise("Hel", Pause(19), "lo", stall()), []

    async def main():
        for timeout in (aiohttp.ClientTimeout(total=None, sock_read=20), aiohttp.ClientTimeout(total=30)):
            began = fake.clock.now
            async with aiohttp.ClientSession(timeout=timeout) as session:
                with pytest.raises(TimeoutError):
                    async with session.post(
                        "https://api.openai.com/v1/chat/completions",
                        json={"model": "m", "messages": MESSAGES, "stream": True},
                    ) as response:
                        await response.read()
            times.append(fake.clock.now - began)

    with intercept(fake):
        run(main(), clock=fake.clock)
    assert times == [39, 30]
