"""A mistake of the test is no error of the network: no SDK tries again, and no `except Exception` of an app hides it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import anthropic
import httpx
import httpx2
import openai
import pytest
import respx
import sdks

from fakellm import FakeProvider, Finish, Script, ToolCall
from fakellm.contracts import every_fault
from fakellm.errors import BrokenReplyError, ContractUsageError, LLMTimeoutError, SwallowedCallError
from fakellm.http import intercept, mount, transport
from fakellm.script import Native

HI = [{"role": "user", "content": "hi"}]
TOOLS = [{"name": "search", "input_schema": {"type": "object"}}]
flavours = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


async def _openai(is_streamed):
    async with openai.AsyncOpenAI(api_key="none", max_retries=1) as client:
        answer = await client.chat.completions.create(model="m", messages=HI, stream=is_streamed)
        return [chunk async for chunk in answer] if is_streamed else answer


async def _anthropic(is_streamed):
    async with anthropic.AsyncAnthropic(api_key="none", max_retries=1) as client:
        answer = await client.messages.create(model="m", max_tokens=9, messages=HI, tools=TOOLS, stream=is_streamed)
        return [event async for event in answer] if is_streamed else answer


async def _gemini(is_streamed):
    from google import genai

    client = genai.Client(api_key="none")  # held: one that is collected closes its connections
    if is_streamed:
        return [chunk async for chunk in await client.aio.models.generate_content_stream(model="m", contents="hi")]
    return await client.aio.models.generate_content(model="m", contents="hi")


def _openai_now(is_streamed):
    client = openai.OpenAI(api_key="none", max_retries=1)
    answer = client.chat.completions.create(model="m", messages=HI, stream=is_streamed)
    return list(answer) if is_streamed else answer


def _anthropic_now(is_streamed, max_retries=1):
    client = anthropic.Anthropic(api_key="none", max_retries=max_retries)
    answer = client.messages.create(model="m", max_tokens=9, messages=HI, tools=TOOLS, stream=is_streamed)
    return list(answer) if is_streamed else answer


def _gemini_now(is_streamed):
    from google import genai

    client = genai.Client(api_key="none")
    ask = client.models.generate_content_stream if is_streamed else client.models.generate_content
    answer = ask(model="m", contents="hi")
    return list(answer) if is_streamed else answer


APPS = {"openai": (_openai_now, _openai), "anthropic": (_anthropic_now, _anthropic), "gemini": (_gemini_now, _gemini)}


def app(name, *, asynchronous, is_streamed):
    """Ask as apps do: whatever `Exception` comes is an outage."""
    try:
        ask = APPS[name][asynchronous]
        return sdks.run(ask(is_streamed)) if asynchronous else ask(is_streamed)
    except Exception:
        return "We are offline."


def misspelt(request):
    return request.jsn["messages"]


def asserts(request):
    assert request.model == "another model", "asserted in the reply"
    return "ok"


def fails_late(request):
    yield "w"
    yield {}["left out"]


def exhausted(request):
    return next(iter(()))


def returns_nothing(request):
    pass


def fails(request):
    pytest.fail("failed in the reply")


async def later(request):
    return "ok"


WRONG = {
    "reply": (lambda fake: fake.reply(misspelt), "has no attribute 'jsn'", "return request.jsn"),
    "otherwise": (lambda fake: fake.otherwise(asserts), "asserted in the reply", "assert request.model =="),
    "when": (lambda fake: fake.when("hi", fails_late), "KeyError: 'left out'", 'yield {}["left out"]'),
    "predicate": (lambda fake: fake.when(misspelt, "ok").otherwise("ok"), "predicate of: when", "return request.jsn"),
    "coroutine predicate": (lambda fake: fake.when(lambda r: later(r), "ok"), "and not a coroutine", "when <lambda>"),
    "exhausted": (lambda fake: fake.reply(exhausted), "StopIteration", "return next(iter(()))"),
    "nothing": (lambda fake: fake.reply(returns_nothing), "did it forget to return?", "reply: returns_nothing"),
    "file": (lambda fake: fake.reply(lambda _: Path("no.json").read_text()), "FileNotFoundError", "Path("),
    "fail": (lambda fake: fake.reply(fails), "failed in the reply", 'pytest.fail("failed in'),
    "order": (lambda fake: fake.reply(lambda _: [Finish(), "late"]), "nothing of the answer comes", "test_mistakes.py"),
    "coroutine": (lambda fake: fake.reply(lambda request: later(request)), "plain function", "test_mistakes.py"),
}


@pytest.mark.parametrize("asynchronous", [False, pytest.param(True, marks=pytest.mark.exhaustive)])
@pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")  # google-genai's, of aiohttp
@pytest.mark.parametrize("name", APPS)
def test_an_error_that_nobody_scripted_comes_through_the_app(name, asynchronous):
    for number, (script, cause, line) in enumerate(WRONG.values(), [*APPS].index(name) + asynchronous):
        provider = script(FakeProvider(name))
        with intercept(provider), pytest.raises(BrokenReplyError) as error:
            app(name, asynchronous=asynchronous, is_streamed=bool(number % 2))  # by turns
        assert cause in str(error.value)
        assert line in str(error.value)
        assert len(provider.calls) == 1  # so the SDK did not try again
        assert provider.calls[0].error is error.value is provider.misses[0]
        with pytest.raises(SwallowedCallError, match="could not be answered"):
            provider.verify(allow_unused=True, allow_misses=True)


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_script_that_the_api_has_no_form_for(is_streamed):
    provider = FakeProvider("anthropic").reply("one", Native("anthropic.messages", {"text": "no type"}))
    with intercept(provider), pytest.raises(BrokenReplyError, match="is a content block or a delta") as error:
        app("anthropic", asynchronous=False, is_streamed=is_streamed)
    assert "Native(api='anthropic.messages'" in str(error.value)
    assert f"at {__file__}:" in str(error.value)  # where it was scripted


@pytest.mark.parametrize("arguments", ['{"keywords": "Da', "[1]", "no JSON"])
def test_arguments_that_no_document_of_anthropic_can_hold(arguments):
    provider = FakeProvider("anthropic").reply(ToolCall("search", arguments))
    with intercept(provider), pytest.raises(BrokenReplyError, match="the arguments of search"):
        app("anthropic", asynchronous=False, is_streamed=False)


def test_arguments_that_were_cut_off_are_an_incomplete_block():
    with intercept(FakeProvider("anthropic").reply(ToolCall("search", '{"keywords": "Da'), Finish("length"))):
        message = app("anthropic", asynchronous=False, is_streamed=False)
    assert (message.stop_reason, message.content[0].name, message.content[0].input) == ("max_tokens", "search", {})


def test_a_document_that_breaks_or_is_illegal_may_have_incomplete_arguments():
    """So a sweep of faults over an app that does not stream meets the faults, and no mistake."""

    @every_fault(Script(ToolCall("f", '{"a"'), ToolCall(None, ": 1}"), Finish("tool_calls")))
    def swept(faulty, provider):
        provider.otherwise(faulty)
        with intercept(provider):
            try:
                found = _anthropic_now(is_streamed=False, max_retries=0).content[-1].input
            except (anthropic.APIError, ValueError):
                return
        assert found == {"a": 1}

    swept(provider=(provider := FakeProvider("anthropic")))
    provider.verify()


class Own(Exception):
    """An exception of an app, which is scripted as a reply."""


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Own("scripted"), Own),
        (Own, Own),
        (httpx2.ReadTimeout("scripted"), httpx2.ReadTimeout),
        (lambda _: (_ for _ in ()).throw(httpx2.ConnectError("as a transport does")), httpx2.ConnectError),
        (lambda _: (_ for _ in ()).throw(ConnectionResetError("as a socket does")), ConnectionResetError),
        (lambda _: (_ for _ in ()).throw(LLMTimeoutError("as a fake does")), LLMTimeoutError),
    ],
)
def test_what_was_scripted_reaches_the_client_as_it_is(reply, kind):
    provider = FakeProvider().otherwise(reply)
    url = "https://api.openai.com/v1/chat/completions"
    for stream in (False, True):
        with intercept(provider), pytest.raises(kind):
            httpx2.post(url, json={"model": "m", "messages": HI, "stream": stream})
    assert provider.misses == []
    provider.verify()


@flavours
@pytest.mark.parametrize("module", [httpx, httpx2])
def test_a_transport_raises_it_too(module, asynchronous):
    provider = FakeProvider().otherwise(fails_late)
    asked = {"url": "https://api.openai.com/v1/chat/completions", "json": {"model": "m", "messages": HI}}

    async def ask():
        async with module.AsyncClient(transport=transport(provider, module)) as client:
            await client.post(**asked)

    with pytest.raises(BrokenReplyError, match="left out"), suppress(Exception):
        if asynchronous:
            sdks.run(ask())
        else:
            module.Client(transport=transport(provider, module)).post(**asked)


def test_a_router_of_respx_raises_it_too():
    with pytest.raises(BrokenReplyError), suppress(Exception), respx.mock() as router:
        mount(FakeProvider().otherwise(misspelt), router, httpx)
        httpx.post("https://api.openai.com/v1/chat/completions", json={"model": "m", "messages": HI})


def test_a_bug_in_what_closes_a_generator():
    def reply(_):
        try:
            while True:
                yield "w"
        finally:
            misspelt(None)

    provider = FakeProvider().reply(reply)
    with intercept(provider), pytest.raises(BrokenReplyError, match="jsn"), suppress(Exception):
        client = openai.OpenAI(api_key="none")
        with client.chat.completions.create(model="m", messages=HI, stream=True) as stream:
            next(iter(stream))
    assert len(provider.misses) == 1


def test_a_sweep_of_faults_says_it_of_the_complete_answer():
    provider = FakeProvider()

    @every_fault(Script("one", "two"), kinds="disconnect")
    def swept(faulty, provider):
        provider.otherwise(lambda request: [faulty, request.jsn])
        with intercept(provider):
            app("openai", asynchronous=False, is_streamed=True)

    with pytest.raises(ContractUsageError, match="has no attribute 'jsn'"):
        swept(provider=provider)


def test_a_line_of_pythons_own_encoder_is_no_place_to_correct():
    provider = FakeProvider("openai").document("GET", "/v1/files/{id}", lambda asked: object())
    with intercept(provider), pytest.raises(BrokenReplyError, match="a document is JSON, text, bytes") as broken:
        httpx.get("https://api.openai.com/v1/files/1")
    assert "raised at" not in str(broken.value)


def test_headers_are_text_where_they_are_written():
    with pytest.raises(TypeError, match=r"headers are text by their name, and 'x-count' is 3"):
        FakeProvider().reply("ok", headers={"x-count": 3})
