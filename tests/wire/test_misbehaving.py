"""Tool calls in an order that no API has are sent as they were scripted: that is what a consumer is tested on."""

from __future__ import annotations

import json

import httpx2
from vectors import each

from fakellm import FakeProvider, Finish, Script, ToolCall
from fakellm.http import intercept
from fakellm.wire.openai import PROFILES

HI = [{"role": "user", "content": "hi"}]
CHAT = ("openai", "https://api.openai.com/v1/chat/completions", {"model": "m", "messages": HI})
RESPONSES = ("openai", "https://api.openai.com/v1/responses", {"model": "m", "input": "hi"})
ANTHROPIC = ("anthropic", "https://api.anthropic.com/v1/messages", {"model": "m", "max_tokens": 9, "messages": HI})
GEMINI = (
    "gemini", "https://generativelanguage.googleapis.com/v1/models/m:streamGenerateContent?alt=sse",
    {"contents": [{"parts": [{"text": "hi"}]}]},
)  # fmt: skip

AGAIN = (
    ToolCall("a", '{"x":1}', id="c1", index=0),
    ToolCall("b", id="c2", index=0),
    ToolCall(None, '{"y":2}', index=1),
)
IN_TURN = (
    ToolCall("a", index=0), ToolCall("b", index=1), ToolCall(None, '{"x":1}', index=0), ToolCall(None, '{"y":2}', index=1)
)  # fmt: skip
HEADLESS = (ToolCall(None, '{"x":1}', id="c9", index=0),)


def answer(api, reply, *, stream=True, profile=None):
    """Return the chunks of a stream, or the document."""
    name, url, asked = api
    with intercept(FakeProvider(name, profile=profile).reply(reply)):
        url = url if stream else url.replace("streamGenerateContent?alt=sse", "generateContent")
        text = httpx2.post(url, json={**asked, "stream": stream}).text
    return [json.loads(s[6:]) for s in text.splitlines() if s.startswith("data: {")] if stream else json.loads(text)


def illegal(*parts):
    return Script(*parts, allow_illegal=True)


def deltas(reply, **options):
    chunks = answer(CHAT, reply, **options)
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls", [])]
    return [(c.get("index"), c.get("id"), c["function"].get("name"), c["function"]["arguments"]) for c in calls]


def test_chat_has_the_pieces_with_their_indexes_and_nothing_between():
    assert deltas(illegal(*AGAIN)) == [
        (0, "c1", "a", ""), (0, None, None, '{"x":1}'), (0, "c2", "b", ""), (1, None, None, '{"y":2}'),
    ]  # fmt: skip
    assert deltas(illegal(*IN_TURN)) == [
        (0, "call_0", "a", ""), (1, "call_1", "b", ""), (0, None, None, '{"x":1}'), (1, None, None, '{"y":2}'),
    ]  # fmt: skip
    assert deltas(illegal(*HEADLESS)) == [(0, "c9", None, '{"x":1}')]
    assert deltas(illegal(ToolCall("a", index=3))) == [(3, "call_3", "a", "")]


@each("profile", PROFILES)
def test_whatever_the_profile_each_piece_comes_once(profile):
    found = deltas(illegal(*IN_TURN, *HEADLESS), profile=profile)
    assert [(name, arguments) for _, _, name, arguments in found] == [
        ("a", ""), ("b", ""), (None, '{"x":1}'), (None, '{"y":2}'), (None, '{"x":1}'),
    ]  # fmt: skip


def test_also_those_that_a_function_says():
    def reply(_):
        yield illegal(*AGAIN)

    for one in (reply, lambda _: illegal(*AGAIN), lambda _: ["text", illegal(*AGAIN)]):
        assert [found[0] for found in deltas(one)] == [0, 0, 0, 1]


def test_calls_in_order_get_their_empty_object_whatever_else_is_illegal():
    assert deltas(illegal(ToolCall("a"), Finish(), "late")) == [(0, "call_0", "a", ""), (0, None, None, "{}")]


def test_a_document_loses_no_call_and_adds_up_what_came_in_turn():
    def calls(*parts):
        message = answer(CHAT, illegal(*parts), stream=False)["choices"][0]["message"]
        return [(call["function"]["name"], call["function"]["arguments"]) for call in message["tool_calls"]]

    assert calls(*AGAIN) == [("a", '{"x":1}'), ("b", "{}"), (None, '{"y":2}')]
    assert calls(*IN_TURN) == [("a", '{"x":1}'), ("b", '{"y":2}')]
    blocks = answer(ANTHROPIC, illegal(*IN_TURN), stream=False)["content"]
    assert [(block["name"], block["input"]) for block in blocks] == [("a", {"x": 1}), ("b", {"y": 2})]
    items = answer(RESPONSES, illegal(*IN_TURN), stream=False)["output"]
    assert [(item["name"], item["arguments"]) for item in items] == [("a", '{"x":1}'), ("b", '{"y":2}')]
    parts = answer(GEMINI, illegal(*IN_TURN), stream=False)["candidates"][0]["content"]["parts"]
    assert [part["functionCall"] for part in parts] == [
        {"name": "a", "args": {"x": 1}}, {"name": "b", "args": {"y": 2}},
    ]  # fmt: skip


def test_responses_have_no_item_that_was_not_scripted():
    events = answer(RESPONSES, illegal(*IN_TURN))
    said = [(e["output_index"], e["delta"]) for e in events if e["type"].endswith("arguments.delta")]
    assert said == [(0, '{"x":1}'), (1, '{"y":2}')]
    assert [(i["name"], i["arguments"]) for i in events[-1]["response"]["output"]] == [
        ("a", '{"x":1}'),
        ("b", '{"y":2}'),
    ]
    events = answer(RESPONSES, illegal(*HEADLESS))
    assert [e["delta"] for e in events if e["type"].endswith("arguments.delta")] == ['{"x":1}']
    assert events[-1]["response"]["output"] == []


def test_messages_have_no_block_that_was_not_scripted():
    def blocks(*parts):
        events = answer(ANTHROPIC, illegal(*parts))
        begun = [(e["index"], e["content_block"]["name"]) for e in events if e["type"] == "content_block_start"]
        said = [(e["index"], e["delta"]["partial_json"]) for e in events if e["type"] == "content_block_delta"]
        return begun, [piece for piece in said if piece[1]]

    assert blocks(*AGAIN) == ([(0, "a"), (1, "b")], [(0, '{"x":1}'), (2, '{"y":2}')])
    assert blocks(*IN_TURN) == ([(0, "a"), (1, "b")], [(0, '{"x":1}'), (1, '{"y":2}')])
    assert blocks(*HEADLESS) == ([], [(0, '{"x":1}')])


def test_gemini_has_a_part_for_each_piece_and_makes_no_name_up():
    chunks = answer(GEMINI, illegal(*AGAIN))
    parts = [part for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"]]
    assert [part["functionCall"] for part in parts if "functionCall" in part] == [
        {"name": "a", "args": {"x": 1}, "id": "c1"}, {"name": "b", "args": {}, "id": "c2"}, {"args": {"y": 2}},
    ]  # fmt: skip
