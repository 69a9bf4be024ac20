"""Requests that no client should send: the provider's own 400, whatever is wrong with them, and no work without end."""

from __future__ import annotations

import copy
import json

import openai
import pytest
from vectors import each

from fakellm import FakeProvider
from fakellm.http import intercept
from fakellm.provider.actions import Timeouts

OPENAI, CLAUDE = "https://api.openai.com/v1/", "https://api.anthropic.com/v1/"
GEMINI = "https://generativelanguage.googleapis.com/v1beta/models/g"
CALLS = [
    {"id": "i", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    {"id": "j", "type": "custom", "custom": {"name": "f", "input": "{}"}},
]
CHAT = {
    "model": "m", "n": 1, "logprobs": True, "top_logprobs": 2, "stream": True, "stream_options": {"include_usage": True},
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "a"}, "b"]},
        {"role": "assistant", "content": None, "tool_calls": CALLS},
        {"role": "tool", "tool_call_id": "i", "content": "r"},
    ],
    "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "c"}}],
    "functions": [{"name": "g"}],
}  # fmt: skip
COMPLETIONS = {"model": "m", "prompt": ["a", [1, 2]], "n": 1, "logprobs": 2, "stream": True}
RESPONSES = {
    "model": "m", "instructions": "i", "top_logprobs": 2, "include": ["message.output_text.logprobs"], "stream": True,
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "o"},
    ],
    "tools": [{"type": "function", "name": "f"}, {"type": "web_search"}], "text": {"format": {"type": "text"}},
}  # fmt: skip
MESSAGES = {
    "model": "m", "max_tokens": 5, "system": [{"type": "text", "text": "s"}], "stream": True,
    "messages": [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "i", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "i", "content": [{"type": "text", "text": "r"}]}]},
    ],
    "tools": [{"name": "f", "input_schema": {}}, {"type": "web_search_20250305", "name": "w"}],
}  # fmt: skip
GENERATE = {
    "contents": [{"role": "user", "parts": [{"text": "a"}, {"functionCall": {"name": "f", "args": {}}}]}],
    "systemInstruction": {"parts": [{"text": "s"}]}, "tools": [{"functionDeclarations": [{"name": "f"}]}],
    "generationConfig": {"candidateCount": 1, "responseLogprobs": True, "logprobs": 2},
}  # fmt: skip
ASKED = [
    ("openai", f"{OPENAI}chat/completions", CHAT),
    ("openai", f"{OPENAI}completions", COMPLETIONS),
    ("openai", f"{OPENAI}responses", RESPONSES),
    ("anthropic", f"{CLAUDE}messages", MESSAGES),
    ("gemini", f"{GEMINI}:generateContent", GENERATE),
    ("gemini", f"{GEMINI}:streamGenerateContent?alt=sse", GENERATE),
    ("openai", f"{OPENAI}embeddings", {"model": "m", "input": ["a"], "dimensions": 5}),
    ("gemini", f"{GEMINI}:batchEmbedContents", {"requests": [{"content": {"parts": [{"text": "a"}]}}]}),
    ("gemini", f"{GEMINI}:countTokens", {"contents": [{"parts": [{"text": "a"}]}]}),
    ("anthropic", f"{CLAUDE}messages/count_tokens", {"model": "m", "messages": [{"role": "user", "content": "a"}]}),
]
ODD = [None, True, -1, 10**30, 1.5, "", "\ud800", [[]], ["a"], {"a": 1}, [{"type": {}}], {"type": []}]


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def put(value, path, new):
    if not path:
        return new
    value = copy.deepcopy(value)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return value


@each("name, url, body", ASKED)
def test_every_odd_value_at_every_place_is_answered(name, url, body):
    fake = FakeProvider(name).otherwise("Hel", "lo")
    for number, path in enumerate(places(body)):
        for odd in ODD[number % 3 :: 3]:
            exchange = fake.handle("POST", url, {}, json.dumps(put(body, path, odd)).encode())
            assert exchange.status in (200, 400), (path, odd)
            taken = [piece for run in exchange.body(Timeouts()) for piece in run]
            assert len(taken) < 200, (path, odd)
            fake.calls.clear()


@each(
    ("name", "more", "message", "code"),
    [
        ("n", {"n": 10**30}, f"Invalid 'n': integer above maximum value. Expected a value <= 128, but got {10**30} instead.",
         "integer_above_max_value"),
        ("n", {"n": 0}, "Invalid 'n': integer below minimum value. Expected a value >= 1, but got 0 instead.",
         "integer_below_min_value"),
        ("top_logprobs", {"logprobs": True, "top_logprobs": 21},
         "Invalid 'top_logprobs': integer above maximum value. Expected a value <= 20, but got 21 instead.",
         "integer_above_max_value"),
        ("tools[0].type", {"tools": [{"type": {}}]},
         "Invalid type for 'tools[0].type': expected a string, but got an object instead.", "invalid_type"),
        ("messages[0].tool_calls[0].function.arguments",
         {"messages": [{"role": "assistant", "tool_calls": [{"id": "i", "function": {"name": "f", "arguments": {}}}]}]},
         "Invalid type for 'messages[0].tool_calls[0].function.arguments': expected a string, but got an object instead.",
         "invalid_type"),
    ],
)  # fmt: skip
def test_openai_names_the_parameter(name, more, message, code):
    asked = {"model": "m", "messages": [{"role": "user", "content": "?"}], **more}
    with intercept(FakeProvider("openai").otherwise("Hello")), openai.OpenAI() as client:
        with pytest.raises(openai.BadRequestError) as error:
            client.chat.completions.create(**asked)
    assert error.value.body == {"message": message, "type": "invalid_request_error", "param": name, "code": code}


@each("count", [-1, 9, 10**30])
def test_gemini_names_its_range(count):
    exchange = FakeProvider("gemini").otherwise("Hello").handle(
        "POST", f"{GEMINI}:generateContent", {}, json.dumps(put(GENERATE, ("generationConfig", "candidateCount"), count)).encode()
    )  # fmt: skip
    (body,) = [piece for run in exchange.body(Timeouts()) for piece in run]
    assert json.loads(body)["error"]["status"] == "INVALID_ARGUMENT"
    assert f"candidateCount value of {count} but the supported range is from 1 " in json.loads(body)["error"]["message"]


@each("host", ["[", "[::1", "[v9.x]]", "a[b", "\u2100.test", "a b", "a:b", "a:99999"])
@each("name", ["openai", "anthropic", "gemini"])
def test_a_malformed_host_is_a_bad_request(name, host):
    fake, url = FakeProvider(name).otherwise("Hello"), f"http://{host}/v1/chat/completions?key=k"
    exchange = fake.handle("POST", url, {}, b"{}")
    assert exchange.status == 400
    assert b"malformed" in b"".join(piece for run in exchange.body(Timeouts()) for piece in run)
    fake.claims("POST", url)
    fake.note_passed("POST", url)
    assert "400" in fake.report()
