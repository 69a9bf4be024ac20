"""Services that speak OpenAI's API, asked by their own clients at their own hosts; and by OpenAI's client where it is used.

The clients are in the group look-alikes; what needs one is skipped without it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import pytest
import sdks
from vectors import each

from fakellm import Script, ToolCall, Usage, disconnect, http_error, provider_error
from fakellm.contracts.streams.projections import get
from fakellm.http import intercept
from fakellm.http.keys import KEY
from fakellm.provider.actions import Failure, Timeouts
from fakellm.provider.provider import FakeProvider
from fakellm.wire import Service, add_provider, endpoint
from fakellm.wire.openai import PROFILES, ChatCodec

MESSAGES = [{"role": "user", "content": "Hi"}]
TOOLS = [
    {
        "type": "function",
        "function": {"name": "f", "description": "", "parameters": {"type": "object", "properties": {}}},
    }
]
ANSWER = Script("Hel", "lo", Usage(3, 2))
CALL = Script(ToolCall("f", '{"x":'), ToolCall(arguments="1}"), Usage(3, 2))


@dataclass(frozen=True)
class Client:
    """A client: its module and classes, the method that asks, the host that it asks; and what is peculiar about it.

    `reports` is how it tells of an error inside a stream: it raises, or hands it on as a `chunk` without choices, or as
    a finish `reason`.
    """

    module: str
    made: str
    awaited: str
    host: str
    method: str = "chat.completions.create"
    options: tuple[tuple[str, object], ...] = (("max_retries", 0),)
    reports: str = "raises"

    def ask(self, *, asynchronous=False, **fields):
        """Return the chunks of a stream, or the answer."""
        module = import_module(self.module)
        client = getattr(module, self.awaited if asynchronous else self.made)(**dict(self.options))
        method = client
        for name in self.method.split("."):
            method = getattr(method, name)
        if asynchronous and self.module == "openrouter":
            method = client.chat.send_async
        asked = {"model": "m/m", "messages": self.messages(), **fields}
        if not asynchronous:
            return list(method(**asked)) if "stream" in fields else method(**asked)

        async def main():
            try:
                answer = method(**asked)
                answer = await answer if hasattr(answer, "__await__") else answer
                return await sdks.collect(answer) if "stream" in fields else answer
            finally:
                if self.module == "fireworks":  # whose connections are aiohttp's, and warn
                    await client.close()

        return sdks.run(main())

    def messages(self):
        return [import_module("ai21.models.chat").UserMessage(content="Hi")] if self.module == "ai21" else MESSAGES


CLIENTS = {
    "groq": Client("groq", "Groq", "AsyncGroq", "api.groq.com"),
    "together": Client("together", "Together", "AsyncTogether", "api-inference.together.ai"),
    "cerebras-cloud-sdk": Client("cerebras.cloud.sdk", "Cerebras", "AsyncCerebras", "api.cerebras.ai"),
    "fireworks-ai": Client("fireworks", "Fireworks", "AsyncFireworks", "api.fireworks.ai", reports="chunk"),
    "perplexityai": Client("perplexity", "Perplexity", "AsyncPerplexity", "api.perplexity.ai", reports="chunk"),
    "sambanova": Client("sambanova", "SambaNova", "AsyncSambaNova", "api.sambanova.ai", reports="chunk"),
    "openrouter": Client(
        "openrouter", "OpenRouter", "OpenRouter", "openrouter.ai", "chat.send", (("retry_config", None),), reports="reason"
    ),
    "huggingface-hub": Client(
        "huggingface_hub", "InferenceClient", "AsyncInferenceClient", "router.huggingface.co", options=(("token", "hf_x"),)
    ),
    "zai-sdk": Client("zai", "ZaiClient", "", "api.z.ai"),
    "zhipuai": Client("zhipuai", "ZhipuAI", "", "open.bigmodel.cn"),
    "ai21": Client("ai21", "AI21Client", "AsyncAI21Client", "api.ai21.com", options=(("num_retries", 0),)),
    "portkey-ai": Client("portkey_ai", "Portkey", "AsyncPortkey", "api.portkey.ai", options=(("provider", "openai"),)),
}  # fmt: skip


def rows():
    for name, client in CLIENTS.items():
        for asynchronous in (False, True) if client.awaited else (False,):
            yield pytest.param(client, asynchronous, id=f"{name}-{'async' if asynchronous else 'sync'}")


@pytest.fixture
def asked_by(monkeypatch):
    """Skip where a client is not installed; and let that of Hugging Face tell nobody who uses it."""
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")

    def of(client):
        if find_spec(client.module.partition(".")[0]) is None:
            pytest.skip(f"{client.module} is in the group look-alikes")
        if client.module == "huggingface_hub":
            monkeypatch.setattr(import_module("huggingface_hub.constants"), "HF_HUB_DISABLE_TELEMETRY", True)

    return of


clients = pytest.mark.parametrize(("client", "asynchronous"), list(rows()))


def text_of(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@clients
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:Pydantic serializer warnings")
def test_a_client_is_answered_at_its_host(client, asynchronous, asked_by, fake_openai):
    asked_by(client)
    fake_openai.reply(ANSWER).reply(ANSWER).reply(CALL).reply(CALL)

    chunks = client.ask(asynchronous=asynchronous, stream=True)
    assert text_of(chunks) == "Hello"
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    answer = client.ask(asynchronous=asynchronous)
    assert (answer.choices[0].message.content, answer.usage.total_tokens) == ("Hello", 5)

    pieces = [c for chunk in client.ask(asynchronous=asynchronous, stream=True, tools=TOOLS) for c in calls_of(chunk)]
    functions = [get(piece, "function") for piece in pieces]  # of AI21's client plain dicts
    assert get(functions[0], "name") == "f"
    assert "".join(get(function, "arguments") or "" for function in functions) == '{"x":1}'
    (call,) = client.ask(asynchronous=asynchronous, tools=TOOLS).choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("f", {"x": 1})

    urls = [call.url for call in fake_openai.calls if call.method == "POST"]
    assert all(url.startswith(f"https://{client.host}/") and url.endswith("/chat/completions") for url in urls)
    keys = {call.headers.get("authorization") for call in fake_openai.calls if call.method == "POST"}
    assert keys <= {f"Bearer {KEY}", "Bearer hf_x", "Bearer OPENAI_API_KEY"}


def calls_of(chunk):
    return (getattr(chunk.choices[0].delta, "tool_calls", None) or ()) if chunk.choices else ()


@clients
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:Pydantic serializer warnings")
def test_errors_and_drops_reach_it(client, asynchronous, asked_by):
    asked_by(client)
    for status in (400, 401, 429):
        with intercept(FakeProvider("openai").otherwise(http_error(status, "no"))):
            with pytest.raises(Exception) as error:
                client.ask(asynchronous=asynchronous, stream=True)
        found = error.value
        assert status in (
            getattr(found, "status_code", None),
            getattr(getattr(found, "response", None), "status_code", None),
            status_in(found),
        )
    with intercept(FakeProvider("openai").otherwise("Hel", disconnect())):
        with pytest.raises(Exception, match=r"reset|not completed|^$"):
            client.ask(asynchronous=asynchronous, stream=True)
    with intercept(FakeProvider("openai").otherwise("Hel", provider_error("boom"))):
        if client.reports == "raises":
            with pytest.raises(Exception, match="boom|error occurred|Field required"):
                client.ask(asynchronous=asynchronous, stream=True)
        else:
            *_, last = client.ask(asynchronous=asynchronous, stream=True)
            assert last.choices[0].finish_reason == "error" if client.reports == "reason" else not last.choices


def status_in(error):
    """Return the status that the text of an error names, where it has no field for it."""
    return next((number for number in (400, 401, 429) if str(number) in str(error)), None)


# -- OpenAI's client and plain HTTP -----------------------------------------------------------------------------


@each(
    "base",
    [
        "https://api.deepseek.com",
        "https://api.moonshot.ai/v1",
        "https://api.x.ai/v1",
        "https://api.llama.com/compat/v1",
    ],
)
def test_openais_client_is_answered_at_their_hosts(base):
    import openai

    with intercept(FakeProvider("openai").otherwise(ANSWER)):
        client = openai.OpenAI(base_url=base)
        chunks = list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))
        answer = client.chat.completions.create(model="m", messages=MESSAGES)
    assert text_of(chunks) == answer.choices[0].message.content == "Hello"


HOMES = {
    "api.groq.com/openai/v1": "groq", "api.deepseek.com": "deepseek", "api.x.ai/v1": "xai", "api.perplexity.ai": "perplexity",
    "openrouter.ai/api/v1": "openrouter", "api.cerebras.ai/v1": "cerebras", "router.huggingface.co/v1": "huggingface",
    "api.z.ai/api/paas/v4": "zai", "open.bigmodel.cn/api/paas/v4": "zai", "models.github.ai/inference": "github-models",
    "api.mistral.ai/v1": "mistral", "api.avian.io/v1": "avian", "api.openai.com/v1": "openai",
    "api.together.xyz/v1": "openai", "gateway.example/v1": "openai", "notx.ai/v1": "openai",
}  # fmt: skip


def streamed(provider, base):
    """Return the bytes of a stream at a host."""
    body = json.dumps({"model": "m", "messages": MESSAGES, "stream": True}).encode()
    exchange = provider.handle("POST", f"https://{base}/chat/completions", {}, body)
    return b"".join(b"".join(step) for step in exchange.body(Timeouts()) if not isinstance(step, (float, Failure)))


@each("base, name", HOMES.items())
def test_the_profile_is_that_of_the_host(base, name):
    script = Script("Hel", ToolCall("f", '{"x":1}'), Usage(3, 2))
    expected = streamed(FakeProvider("openai", profile=name).otherwise(script), "api.openai.com/v1")

    assert streamed(FakeProvider("openai").otherwise(script), base) == expected


def test_what_is_imitated_overrides_the_host():
    plain = streamed(FakeProvider("openai").otherwise("a"), "api.openai.com/v1")
    told = streamed(FakeProvider("openai").imitate("openai").otherwise("a"), "openrouter.ai/api/v1")

    assert told == plain != streamed(FakeProvider("openai").otherwise("a"), "openrouter.ai/api/v1")


def test_errors_of_openrouter_have_numbers():
    codec = ChatCodec(PROFILES["openrouter"])
    assert json.loads(codec.error(http_error(402, "no credit"), 1)[1]) == {
        "error": {"code": 402, "message": "no credit"}
    }
    body = streamed(FakeProvider("openai").otherwise("a", provider_error("boom", code="502")), "openrouter.ai/api/v1")
    assert b'"finish_reason":"error"' in body
    assert b'"error":{"code":502,"message":"boom"}' in body
    assert codec.decode(body).fault == provider_error("boom", code="502")


# -- what has a path of its own -----------------------------------------------------------------------------------


def test_writers_client_is_answered_where_its_path_is_told():
    import re

    writerai = pytest.importorskip("writerai", reason="Writer's client is in the group look-alikes")
    writer = Service("writer", re.compile(r"^api\.writer\.com$"), (endpoint("writer.chat", r"/v1/chat$", ChatCodec),))
    with add_provider(writer), intercept(FakeProvider("writer").otherwise(ANSWER)):
        client = writerai.Writer(api_key="none", max_retries=0)
        assert text_of(client.chat.chat(model="m", messages=MESSAGES, stream=True)) == "Hello"
        assert client.chat.chat(model="m", messages=MESSAGES).choices[0].message.content == "Hello"
