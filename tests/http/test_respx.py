"""A provider on a respx router, beside the user's own routes, for httpx, httpx2 and the mocker of pytest-httpx2."""

from __future__ import annotations

import importlib

import loopback
import openai
import pytest
import respx
import sdks
from faults import FAULTS, patience, provider_of, served
from respx.mocks import HTTPCoreMocker

from fakellm import FakeProvider, Pause, Script, disconnect
from fakellm.errors import UnexpectedRequestError
from fakellm.http.interception import intercept
from fakellm.http.router import mount

CHAT = "https://api.openai.com/v1/chat/completions"
ASK = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
STREAM = {**ASK, "stream": True}

if "httpcore2" not in HTTPCoreMocker.registry:  # where pytest-httpx2 is installed, it has made one

    class HTTPCore2Mocker(HTTPCoreMocker):
        name = "httpcore2"
        targets = [target.replace("httpcore.", "httpcore2.") for target in HTTPCoreMocker.targets]


flavours = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


@pytest.fixture(params=["httpcore", "httpx", "httpcore2"])
def using(request):
    return request.param


@pytest.fixture
def module(using):
    return importlib.import_module("httpx2" if using == "httpcore2" else "httpx")


def fake(*parts):
    return FakeProvider("openai").otherwise(*parts)


def stream(module, asynchronous, url=CHAT, **options):
    """Return the bytes of a streamed answer, and the class of what ended it."""
    received = []

    async def main():
        async with module.AsyncClient(**options) as client, client.stream("POST", url, json=STREAM) as response:
            async for data in response.aiter_raw():
                received.append(data)

    def plain():
        with module.Client(**options) as client, client.stream("POST", url, json=STREAM) as response:
            for data in response.iter_raw():
                received.append(data)

    try:
        sdks.run(main()) if asynchronous else plain()
    except Exception as error:
        return received, type(error)
    return received, None


@flavours
def test_a_provider_answers_beside_the_users_own_routes(using, module, asynchronous):
    provider = fake(*"Hello")
    with respx.mock(using=using) as router:
        own = router.get("https://example.com/weather").respond(text="sunny")
        route = mount(provider, router, module)
        pieces, error = stream(module, asynchronous)
        assert module.get("https://example.com/weather").text == "sunny"

    assert error is None
    assert [own.call_count, route.call_count, len(provider.calls)] == [1, 1, 1]
    assert len(pieces) == provider.calls[0].pieces
    assert provider.calls[0].state == "complete"


@flavours
def test_the_sdk_is_answered(using, module, asynchronous):
    http = sdks.http_of("openai")
    if http is not module:
        pytest.skip(f"the installed SDK uses {http.__name__}")

    async def main():
        async with openai.AsyncOpenAI(api_key="k", http_client=http.AsyncClient()) as client:
            return (await client.chat.completions.create(**ASK)).choices[0].message.content

    with respx.mock(using=using) as router:
        mount(fake("Hello"), router, module)
        if asynchronous:
            assert sdks.run(main()) == "Hello"
        else:
            assert openai.OpenAI(api_key="k").chat.completions.create(**ASK).choices[0].message.content == "Hello"


def test_a_provider_that_is_not_asked_fails_assert_all_called(using, module):
    with pytest.raises(AssertionError, match="not called"), respx.mock(using=using) as router:
        mount(fake("a"), router, module)

    with respx.mock(using=using, assert_all_called=False) as router:
        mount(fake("a"), router, module)


@flavours
def test_a_miss_passes_through_the_router(using, module, asynchronous):
    provider = FakeProvider("openai")
    with pytest.raises(UnexpectedRequestError, match="nothing was scripted"), respx.mock(using=using) as router:
        mount(provider, router, module)
        stream(module, asynchronous)
    assert len(provider.misses) == 1


@flavours
def test_what_no_route_is_for_is_respxs_own_error(using, module, asynchronous):
    with respx.mock(using=using, assert_all_called=False) as router:
        mount(fake("a"), router, module)
        _, error = stream(module, asynchronous, "https://example.com/")
    assert issubclass(error, AssertionError)


def test_patterns_of_respx_say_which_requests_it_answers(using, module):
    provider = fake("a")
    with respx.mock(using=using) as router:
        mount(provider, router, module, host="gateway.test", path__regex="/chat/")
        assert module.post("https://gateway.test/v1/chat/completions", json=ASK).status_code == 200


def test_hosts_of_the_provider_are_answered_too(using, module):
    provider = FakeProvider("openai", hosts=["localhost:11434", "gateway.test", "::1"]).otherwise("a")
    with respx.mock(using=using) as router:
        mount(provider, router, module)
        for host in ("localhost:11434", "gateway.test", "api.openai.com"):
            assert module.post(f"http://{host}/v1/chat/completions", json=ASK).status_code == 200
    assert len(provider.calls) == 3


def test_two_providers_are_mounted_on_one_router(using, module):
    gpt, claude = fake("gpt"), FakeProvider("anthropic").otherwise("claude")
    with respx.mock(using=using) as router:
        mount(gpt, router, module)
        mount(claude, router, module)
        assert module.post(CHAT, json=ASK).json()["choices"][0]["message"]["content"] == "gpt"
        answer = module.post("https://api.anthropic.com/v1/messages", json={**ASK, "max_tokens": 9})
        assert answer.json()["content"][0]["text"] == "claude"


@pytest.mark.parametrize("number, name", [*enumerate(name for name in FAULTS if not name.startswith("HTTP "))])
@pytest.mark.exhaustive
def test_a_fault_raises_the_error_of_the_library_that_asks(using, module, number, name):
    script, asynchronous = (
        FAULTS[name],
        bool((number + len(using)) % 2),
    )  # by turns; of the two ways into httpx one is each
    connect, read = patience(script)
    options = {"timeout": module.Timeout(5, connect=connect, read=read)}
    provider = provider_of(script)
    with served(provider, script) as url:
        real, error = stream(module, asynchronous, f"{url}/v1/chat/completions", **options)

    provider = provider_of(script)
    with respx.mock(using=using) as router:
        mount(provider, router, module)
        found, raised = stream(module, asynchronous, "http://127.0.0.1:1/v1/chat/completions", **options)

    assert (b"".join(found), raised) == (b"".join(real), error)


@flavours
def test_timeouts_fall_on_the_clock(using, module, asynchronous):
    provider = fake(Script("w", Pause(3), "w", Pause(9), "w"))
    with respx.mock(using=using) as router:
        mount(provider, router, module)
        _, error = stream(module, asynchronous, timeout=5)
    assert (error, provider.clock.now) == (module.ReadTimeout, 8)


@flavours
def test_an_early_close_is_noted(using, module, asynchronous):
    provider = fake(*["w"] * 50)

    async def main():
        async with module.AsyncClient() as client, client.stream("POST", CHAT, json=STREAM) as response:
            async for _ in response.aiter_raw():
                return

    def plain():
        with module.Client() as client, client.stream("POST", CHAT, json=STREAM) as response:
            next(response.iter_raw())

    with respx.mock(using=using) as router:
        mount(provider, router, module)
        sdks.run(main()) if asynchronous else plain()
    assert provider.calls[0].closed


def test_a_router_inside_an_interception_is_asked_for_the_rest(using, module):
    provider = fake("Hello")
    with intercept(provider, block_network=True), respx.mock(using=using) as router:
        router.get("https://example.com/").respond(text="mine")
        if using == "httpx":  # this mocker stands before transports, and so before the interception
            router.route(host="api.openai.com").pass_through()
        assert module.get("https://example.com/").text == "mine"
        assert module.post(CHAT, json=ASK).json()["choices"][0]["message"]["content"] == "Hello"


def test_requests_to_this_machine_may_pass_through(using, module):
    real = FakeProvider("openai", hosts=["127.0.0.1"]).otherwise("real")
    with loopback.Loopback(real) as server, respx.mock(using=using, assert_all_called=False) as router:
        mount(fake("a"), router, module)
        router.route(host="127.0.0.1").pass_through()
        answer = module.post(f"{server.url}/v1/chat/completions", json=ASK)
    assert answer.json()["choices"][0]["message"]["content"] == "real"


def test_a_reply_may_fail_before_it_begins(using, module):
    provider = FakeProvider("openai").reply(disconnect("refused")).reply("a")
    with respx.mock(using=using) as router:
        route = mount(provider, router, module)
        with pytest.raises(module.ConnectError, match="Connection refused"):
            module.post(CHAT, json=ASK)
        assert module.post(CHAT, json=ASK).status_code == 200
    assert route.call_count == 2
