"""Which provider a request is for, and the SDKs as they are, pointed to the server by their base URL."""

from __future__ import annotations

import asyncio
import importlib

import pytest

from fakellm import FakeProvider, Script, ToolCall, Usage
from fakellm.clock import InstantClock
from fakellm.server import Server
from fakellm.server.routing import Router
from fakellm.wire.providers import provider_names

ROUTER = Router(map(FakeProvider, provider_names()))


@pytest.mark.parametrize(
    ("method", "target", "headers", "name", "path"),
    [
        ("POST", "/v1/chat/completions", {}, "openai", "/v1/chat/completions"),
        ("POST", "/openai/v1/chat/completions?a=b", {}, "openai", "/v1/chat/completions?a=b"),
        ("POST", "/chat/completions", {}, "openai", "/chat/completions"),
        ("POST", "http://api.openai.com/v1/responses", {}, "openai", "/v1/responses"),
        ("POST", "/v1/messages", {}, "anthropic", "/v1/messages"),
        ("POST", "/v1beta/models/m:streamGenerateContent?alt=sse", {}, "gemini", None),
        ("POST", "/v1/models/m:streamGenerateContent?alt=sse", {}, "gemini", None),
        ("POST", "/gemini/v1/models/m:generateContent", {}, "gemini", "/v1/models/m:generateContent"),
        ("POST", "/api/chat", {}, "ollama", "/api/chat"),
        ("POST", "/v2/chat", {}, "cohere", "/v2/chat"),
        ("POST", "/model/m/converse-stream", {}, "bedrock", "/model/m/converse-stream"),
        ("POST", "/bedrock/model/m/invoke", {}, "bedrock", "/model/m/invoke"),
        ("POST", "/model/anthropic.c/invoke", {"anthropic-version": "2023-06-01"}, "anthropic", None),
        ("POST", "/model/anthropic.c/invoke", {"amz-sdk-invocation-id": "1"}, "bedrock", None),
        ("GET", "/v1/models", {}, "openai", "/v1/models"),
        ("GET", "/v1/models", {"anthropic-version": "2023-06-01"}, "anthropic", "/v1/models"),
        ("GET", "/v1beta/models", {"x-goog-api-key": "k"}, "gemini", "/v1beta/models"),
        ("GET", "/v1/models", {"host": "api.cohere.com"}, "cohere", "/v1/models"),
        ("GET", "/cohere/v1/models", {}, "cohere", "/v1/models"),
        ("GET", "/openai", {}, None, "/openai"),
        ("GET", "/", {}, None, "/"),
    ],
)
def test_a_request_finds_its_provider(method, target, headers, name, path):
    provider, url = ROUTER.find(method, target, headers)

    assert (provider.name if provider else None) == name
    assert url.partition("://")[2].partition("/")[2] == (path or target)[1:]


def client_of(name, server):
    """Return a client of a provider's SDK, asynchronous, and what asks it for a stream of texts."""
    url = server.base_url(name)
    if name == "openai":
        openai = importlib.import_module(name)
        client = openai.AsyncOpenAI(api_key="k", base_url=url, max_retries=0)

        async def ask():
            asked = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "?"}], stream=True)
            return [chunk.choices[0].delta.content async for chunk in await asked if chunk.choices]

    elif name == "anthropic":
        anthropic = importlib.import_module(name)
        client = anthropic.AsyncAnthropic(api_key="k", base_url=url, max_retries=0)

        async def ask():
            async with client.messages.stream(
                model="m", max_tokens=9, messages=[{"role": "user", "content": "?"}]
            ) as stream:
                return [text async for text in stream.text_stream]

    else:
        genai = importlib.import_module("google.genai")
        client = genai.Client(api_key="k", http_options={"base_url": url})

        async def ask():
            return [
                chunk.text async for chunk in await client.aio.models.generate_content_stream(model="m", contents="?")
            ]

    return client, ask


@pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")  # google-genai's, of aiohttp
@pytest.mark.parametrize("name", ["openai", "anthropic", "gemini"])
def test_an_sdk_streams_from_the_server(name):
    provider = FakeProvider(name).otherwise("Hel", "lo")

    async def main(server):
        client, ask = client_of(name, server)
        said = await ask()
        await (client.aio.aclose() if name == "gemini" else client.close())
        return said

    with Server([provider], clock=InstantClock()) as server:
        assert [text for text in asyncio.run(main(server)) if text] == ["Hel", "lo"]
    assert [call.state for call in provider.calls] == ["complete"]


def test_a_tool_call_and_its_usage_come_in_their_pieces():
    openai = importlib.import_module("openai")
    call = ToolCall("weather", '{"city":', id="call_1"), ToolCall(arguments=' "Paris"}')
    provider = FakeProvider("openai").otherwise(Script(*call, Usage(3, 5)))

    with (
        Server([provider], clock=InstantClock()) as server,
        openai.OpenAI(api_key="k", base_url=server.base_url("openai")) as client,
        client.chat.completions.stream(
            model="m",
            messages=[{"role": "user", "content": "?"}],
            tools=[{"type": "function", "function": {"name": "weather", "parameters": {}}}],
            stream_options={"include_usage": True},
        ) as stream,
    ):
        completion = stream.get_final_completion()

    called = completion.choices[0].message.tool_calls[0].function
    assert (called.name, called.arguments, completion.usage.completion_tokens) == ("weather", '{"city": "Paris"}', 5)
