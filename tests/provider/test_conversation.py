"""Conditions on how far a conversation is: `turn`, `after_tool`, `system`, in the requests of every API."""

from __future__ import annotations

import json
import re

import pytest
from vectors import each

from fakellm import FakeProvider
from fakellm.errors import ScriptError, UnexpectedRequestError

CHAT = "https://api.openai.com/v1/chat/completions"
RESPONSES = "https://api.openai.com/v1/responses"
MESSAGES = "https://api.anthropic.com/v1/messages"
GEMINI = "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent"
OLLAMA = "http://localhost:11434/api/chat"
DASHSCOPE = "https://dashscope.aliyuncs.com/api/v1/services/aigc/text-generation/generation"
COHERE = "https://api.cohere.com/v2/chat"

CALL = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
CHAT_AFTER = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Paris?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "rain"},
]
OF_CLAUDE = [
    {"role": "user", "content": "Paris?"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "get_weather", "input": {}}]},
    {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "rain"}, {"type": "text", "text": "so?"}],
    },
]
OF_GEMINI = [
    {"role": "user", "parts": [{"text": "Paris?"}]},
    {"role": "model", "parts": [{"functionCall": {"name": "get_weather", "args": {}}}]},
    {"role": "user", "parts": [{"functionResponse": {"name": "get_weather", "response": {"is": "rain"}}}]},
]
OF_RESPONSES = [
    {"role": "user", "content": "Paris?"},
    {"type": "function_call", "call_id": "a", "name": "get_weather", "arguments": "{}"},
    {"type": "function_call", "call_id": "b", "name": "get_time", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "b", "output": "noon"},
    {"type": "function_call_output", "call_id": "a", "output": "rain"},
]
OF_OLLAMA = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Paris?"},
    {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "get_weather", "arguments": {}}}]},
    {"role": "tool", "tool_name": "get_weather", "content": "rain"},
]
AFTER_TOOL = [
    ("openai", CHAT, {"model": "m", "messages": CHAT_AFTER}),
    ("openai", RESPONSES, {"model": "m", "instructions": "Be brief.", "input": OF_RESPONSES}),
    ("anthropic", MESSAGES, {"model": "m", "max_tokens": 9, "system": "Be brief.", "messages": OF_CLAUDE}),
    ("gemini", GEMINI, {"systemInstruction": {"parts": [{"text": "Be brief."}]}, "contents": OF_GEMINI}),
    ("ollama", OLLAMA, {"model": "m", "stream": False, "messages": OF_OLLAMA}),
    ("dashscope", DASHSCOPE, {"model": "m", "input": {"messages": CHAT_AFTER}}),
    (
        "cohere",
        COHERE,
        {"model": "m", "messages": [*CHAT_AFTER[:2], {"role": "assistant", "tool_calls": [CALL]}, *CHAT_AFTER[3:]]},
    ),
]


def ask(provider, url, body):
    return provider.handle("POST", url, {}, json.dumps(body).encode())


def chat(*messages):
    return {"model": "m", "messages": [{"role": role, "content": text} for role, text in messages]}


@each(("name", "url", "body"), AFTER_TOOL, ids=lambda value: value if isinstance(value, str) else "")
def test_each_api_tells_how_far_a_conversation_is(name, url, body):
    provider = FakeProvider(name)
    provider.when(None, "wrong", turn=1).when(None, "wrong", after_tool="forecast").when(None, "wrong", system="long")
    provider.when(None, "right", turn=2, after_tool="get_weather", system=re.compile(r"^Be \w+\.$"))

    ask(provider, url, body)

    assert provider.calls[0].reply.content.text == "right"


@each(
    ("roles", "turn"),
    [
        (["user"], 1),
        (["system", "user", "assistant", "user"], 2),
        (["user", "assistant", "assistant", "user", "assistant", "user"], 3),
        (["user", "assistant"], 1),  # a prefill: the model is to go on with it
        (["user", "assistant", "user", "assistant"], 2),
        ([], 1),
    ],
)
def test_a_turn_is_an_answer_of_the_model(roles, turn):
    provider = FakeProvider("openai").when(None, "right", turn=turn)

    ask(provider, CHAT, chat(*((role, "x") for role in roles)))

    assert provider.unused == []


def test_a_result_counts_until_the_model_has_spoken():
    provider = FakeProvider("openai").when(None, "wrong", after_tool="get_weather").otherwise("right")

    messages = [*CHAT_AFTER, {"role": "assistant", "content": "Rain."}, {"role": "user", "content": "Thanks"}]
    ask(provider, CHAT, {"model": "m", "messages": messages})

    assert provider.calls[0].reply.content.text == "right"


def missed(provider, body):
    with pytest.raises(UnexpectedRequestError) as error:
        ask(provider, CHAT, body)
    return str(error.value)


def test_a_miss_says_which_condition_of_them_was_not_met():
    provider = FakeProvider("openai").when("x", "a", turn=3, after_tool="get_time", system="long")

    after = missed(provider, {"model": "m", "messages": [*CHAT_AFTER]})
    first = missed(provider, chat(("user", "x")))

    assert "turn: wants 3, and is 2: the request holds 1 answer of the model" in after
    assert "after_tool: wants a result of get_time; one came of get_weather" in after
    assert "system: wants 'long', and the request says 'Be brief.'" in after
    assert "turn: wants 3, and is 1: the request holds 0 answers of the model" in first
    assert "after_tool: wants a result of get_time; none came since the model spoke last" in first
    assert "system: wants 'long', and the request has no system message" in first
    assert "turn=3, after_tool='get_time', system='long'" in first


@each(
    ("conditions", "error", "said"),
    [
        ({"turn": 0}, ScriptError, "turn is a number from 1 up"),
        ({"turn": True}, ScriptError, "turn is a number from 1 up"),
        ({"after_tool": ["a"]}, TypeError, "after_tool is the name of a tool"),
        ({"tools": 3}, TypeError, "tools are the names of tools that the request offers, not 3"),
        ({"tools": [3]}, TypeError, "tools are the names of tools that the request offers"),
        ({"after_tool": ""}, TypeError, "after_tool is the name of a tool"),
        ({"system": 1}, TypeError, "system is a text or a compiled pattern, not 1"),
        ({}, ScriptError, "role=, model=, tools=, json=, api=, turn=, after_tool=, system=; for every other"),
    ],
)
def test_conditions_are_checked(conditions, error, said):
    with pytest.raises(error, match=said):
        FakeProvider("openai").when(None, "a", **conditions)


def test_they_are_written_as_one_would():
    provider = FakeProvider("openai").when("x", "a", turn=2, after_tool="t", system="s")

    assert repr(provider).endswith(".when('x', 'a', turn=2, after_tool='t', system='s')")
