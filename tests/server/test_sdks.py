"""The official SDKs of Python over the socket: text, a tool call, usage, and each fault as the error that they raise."""

from __future__ import annotations

import json
import shutil
import subprocess

import boto
import httpx
import pytest

from fakellm import FakeProvider, ToolCall, Usage, disconnect, http_error, provider_error
from fakellm.server import Server

CASES = {
    "text": ["Hel", "lo ", "wörld", Usage(7, 3)],
    "tools": [ToolCall("get_weather", '{"city": "Paris"}', id="call_1"), Usage(9, 4)],
    "limited": [http_error(429, "slow down")],
    "error": ["Hel", provider_error("it is too much", "overloaded_error")],
    "reset": ["Hel", disconnect()],
    "close": ["Hel", disconnect("close")],
    "end": ["Hel", disconnect("end")],
    "gone": [disconnect("no_response")],
}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTION = {"name": "get_weather", "description": "The weather", "parameters": SCHEMA}


@pytest.fixture(scope="module")
def server():
    providers = [FakeProvider(name) for name in ASK]
    for provider in providers:
        for case, parts in CASES.items():
            provider.when(f"case {case}.", *parts)
    with Server(providers) as running:
        yield running


def ask_openai(url, prompt):
    openai = pytest.importorskip("openai")
    with openai.OpenAI(api_key="k", base_url=url, max_retries=0, timeout=20) as client:
        stream = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": prompt}], stream=True,
            tools=[{"type": "function", "function": FUNCTION}], stream_options={"include_usage": True},
        )  # fmt: skip
        for chunk in stream:
            for choice in chunk.choices:
                yield "text", choice.delta.content or ""
                for call in choice.delta.tool_calls or ():
                    yield "call", (call.function.name or "", call.function.arguments or "")
            if chunk.usage:
                yield "usage", (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)


def ask_anthropic(url, prompt):
    anthropic = pytest.importorskip("anthropic")
    tools = [{"name": "get_weather", "input_schema": SCHEMA}]
    with (
        anthropic.Anthropic(api_key="k", base_url=url, max_retries=0, timeout=20) as client,
        client.messages.stream(
            model="m", max_tokens=9, messages=[{"role": "user", "content": prompt}], tools=tools
        ) as stream,
    ):
        for text in stream.text_stream:
            yield "text", text
        message = stream.get_final_message()
        for block in message.content:
            if block.type == "tool_use":
                yield "call", (block.name, json.dumps(block.input))
        yield "usage", (message.usage.input_tokens, message.usage.output_tokens)


def ask_gemini(url, prompt):
    genai = pytest.importorskip("google.genai")
    client = genai.Client(api_key="k", http_options={"base_url": url})
    declaration = {"name": "get_weather", "description": "The weather", "parameters_json_schema": SCHEMA}
    try:
        for chunk in client.models.generate_content_stream(
            model="m", contents=prompt, config={"tools": [{"function_declarations": [declaration]}]}
        ):
            for part in (chunk.candidates and chunk.candidates[0].content and chunk.candidates[0].content.parts) or ():
                if part.text:
                    yield "text", part.text
                if part.function_call:
                    yield "call", (part.function_call.name, json.dumps(part.function_call.args))
            if usage := chunk.usage_metadata:
                yield "usage", (usage.prompt_token_count, usage.candidates_token_count)
    finally:
        client.close()


def ask_ollama(url, prompt):
    ollama = pytest.importorskip("ollama")
    client = ollama.Client(host=url, timeout=20)
    tools = [{"type": "function", "function": FUNCTION}]
    with client._client:
        for part in client.chat(model="m", messages=[{"role": "user", "content": prompt}], tools=tools, stream=True):
            yield "text", part.message.content or ""
            for call in part.message.tool_calls or ():
                yield "call", (call.function.name, json.dumps(dict(call.function.arguments)))
            if part.done:
                yield "usage", (part.prompt_eval_count, part.eval_count)


def ask_cohere(url, prompt):
    cohere = pytest.importorskip("cohere")
    tools = [{"type": "function", "function": FUNCTION}]
    with httpx.Client(timeout=20) as http:
        client = cohere.ClientV2(api_key="k", base_url=url, httpx_client=http)
        for event in client.chat_stream(
            model="m", messages=[{"role": "user", "content": prompt}], tools=tools, request_options={"max_retries": 0}
        ):
            if event.type == "content-delta":
                yield "text", event.delta.message.content.text or ""
            if event.type in ("tool-call-start", "tool-call-delta"):
                function = event.delta.message.tool_calls.function
                yield "call", (getattr(function, "name", None) or "", function.arguments or "")
            if event.type == "message-end" and event.delta.usage:
                yield "usage", (event.delta.usage.tokens.input_tokens, event.delta.usage.tokens.output_tokens)


def ask_mistral(url, prompt):
    mistral = pytest.importorskip("mistralai.client")
    tools = [{"type": "function", "function": FUNCTION}]
    with mistral.Mistral(api_key="k", server_url=url, timeout_ms=20_000) as client:
        asked = {"model": "m", "messages": [{"role": "user", "content": prompt}], "tools": tools}
        with client.chat.stream(**asked, retries=None) as stream:
            for event in stream:
                for choice in event.data.choices:
                    yield "text", choice.delta.content or ""
                    for call in choice.delta.tool_calls or ():
                        yield "call", (call.function.name, call.function.arguments)
                if event.data.usage:
                    yield "usage", (event.data.usage.prompt_tokens, event.data.usage.completion_tokens)


def ask_bedrock(url, prompt):
    pytest.importorskip("boto3")
    specified = {"name": "get_weather", "description": "The weather", "inputSchema": {"json": SCHEMA}}
    client, stream = boto.client(endpoint_url=url, read_timeout=20), None
    asked = {"modelId": "m", "messages": [{"role": "user", "content": [{"text": prompt}]}]}
    try:
        stream = client.converse_stream(**asked, toolConfig={"tools": [{"toolSpec": specified}]})["stream"]
        for event in stream:
            if "contentBlockStart" in event:
                yield "call", (event["contentBlockStart"]["start"]["toolUse"]["name"], "")
            if "contentBlockDelta" in event:
                delta = event["contentBlockDelta"]["delta"]
                yield "text", delta.get("text", "")
                yield "call", ("", delta.get("toolUse", {}).get("input", ""))
            if usage := event.get("metadata", {}).get("usage"):
                yield "usage", (usage["inputTokens"], usage["outputTokens"])
    finally:
        if stream is not None:
            stream.close()
        client.close()


ASK = {
    "openai": ask_openai,
    "anthropic": ask_anthropic,
    "gemini": ask_gemini,
    "ollama": ask_ollama,
    "cohere": ask_cohere,
    "mistral": ask_mistral,
    "bedrock": ask_bedrock,
}
BROKEN = {"reset": "ReadError", "close": "RemoteProtocolError", "end": None, "gone": "RemoteProtocolError"}
LOST = dict.fromkeys(("reset", "close", "gone"), "APIConnectionError")
EXPECTED = {
    "openai": {**BROKEN, **LOST, "limited": "RateLimitError", "error": "APIError"},
    "anthropic": {**BROKEN, "limited": "RateLimitError", "error": "APIStatusError", "gone": "APIConnectionError"},
    "gemini": {**BROKEN, "limited": "ClientError", "error": "ServerError"},
    "ollama": {**BROKEN, "limited": "ResponseError", "error": "ResponseError"},
    "cohere": {**BROKEN, "limited": "TooManyRequestsError", "error": None},  # told in the finish reason
    "mistral": {**BROKEN, "limited": "SDKError", "error": "ResponseValidationError"},
    "bedrock": {
        **dict.fromkeys(("reset", "close"), "ProtocolError"), "end": None, "gone": "ConnectionClosedError",
        "limited": "ThrottlingException", "error": "EventStreamError",
    },
}  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")  # google-genai's, of aiohttp


def asked(server, name, case):
    """Return what an SDK reads: the text, the calls as name and arguments, the usage, and the error's name."""
    found = {"text": [], "call": [], "usage": [None]}
    error = None
    try:
        for kind, what in ASK[name](server.base_url(name), f"case {case}."):
            found[kind].append(what)
    except Exception as raised:
        error = type(raised).__name__
    names, arguments = ("".join(parts) for parts in zip(*found["call"], strict=True)) if found["call"] else ("", "")
    return "".join(found["text"]), (names, arguments), found["usage"][-1], error


@pytest.mark.parametrize("name", ASK)
def test_an_sdk_reads_a_text_a_call_and_the_usage(server, name):
    text, tools = asked(server, name, "text"), asked(server, name, "tools")

    assert text == ("Hello wörld", ("", ""), (7, 3), None)
    (called, arguments), usage = tools[1:3]
    assert (called, json.loads(arguments), usage, tools[3]) == ("get_weather", {"city": "Paris"}, (9, 4), None)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ASK)
def test_an_sdk_raises_what_a_real_connection_makes_it_raise(server, name):
    found = {case: asked(server, name, case) for case in EXPECTED[name]}

    assert {case: answer[-1] for case, answer in found.items()} == EXPECTED[name]
    assert {case for case, answer in found.items() if answer[0] == "Hel"} == {"error", "reset", "close", "end"}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(("case", "code"), [("text", 0), ("limited", 22), ("reset", 56), ("close", 18), ("gone", 52)])
def test_curl_ends_as_the_connection_does(server, case, code):
    """Its exit codes: 22 an HTTP error, 56 nothing could be received, 18 a part of the body, 52 no answer at all."""
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": f"case {case}."}]}
    url = f"{server.base_url('openai')}/chat/completions"
    command = ["curl", "--silent", "--fail", "--no-buffer", "--noproxy", "*", "--json", json.dumps(body), url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)

    assert done.returncode == code
    assert ('"Hel"' in done.stdout) == (case in ("text", "reset", "close"))
    assert done.stdout.endswith("data: [DONE]\n\n") == (case == "text")
