"""What aimock and LLMock were told becomes scripts; what a script has no place for is told, what is wrong refused."""

from __future__ import annotations

import json

import pytest
from vectors import each

from fakellm import Finish, Pause, Reasoning, Script, Text, ToolCall, Usage, disconnect
from fakellm.cassette import CassetteError
from fakellm.cassette.answers import Wanted
from fakellm.cassette.sources import form_of, read
from fakellm.script.events import Raw, http_error


def source(data, name="a.json"):
    text = json.dumps(data).encode()
    return read(text, name, form_of(text, name), Wanted())


def aimock(response, **fixture):
    return source({"fixtures": [{"match": {"userMessage": "hi"}, "response": response, **fixture}]})


CALL = {"name": "f", "arguments": {"a": 1}, "id": "c"}
CALLED = (ToolCall("f", id="c"), ToolCall(arguments='{"a":1}'))


@each(
    "response, fixture, script",
    [
        ({"content": "Hello!"}, {}, Script("Hello!")),
        ({"content": "x" * 45}, {}, Script("x" * 20, "x" * 20, "x" * 5)),
        ({"content": "abcde"}, {"chunkSize": 2}, Script("ab", "cd", "e")),
        ({"content": {"a": 1}}, {}, Script('{"a":1}')),
        ({"toolCalls": [CALL]}, {}, Script(*CALLED)),
        ({"toolCalls": [{"name": "f", "arguments": "{}"}]}, {}, Script(ToolCall("f"), ToolCall(arguments="{}"))),
        ({"content": "a", "toolCalls": [CALL]}, {}, Script("a", *CALLED)),
        ({"blocks": [{"type": "toolCall", **CALL}, {"type": "text", "text": "a"}]}, {}, Script(*CALLED, "a")),
        ({"reasoning": "hm", "content": "a"}, {}, Script(Reasoning("hm"), "a")),
        ({"content": "a", "finishReason": "length"}, {}, Script("a", Finish("length"))),
        (
            {"content": "a", "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}},
            {},
            Script("a", Usage(1, 2)),
        ),
        ({"content": "ab"}, {"chunkSize": 1, "latency": 100}, Script(Pause(0.1), "a", Pause(0.1), "b")),
        (
            {"content": "ab"},
            {"chunkSize": 1, "recordedTimings": {"ttftMs": 300, "interChunkDelaysMs": [20], "totalDurationMs": 320}},
            Script(Pause(0.3), "a", Pause(0.02), "b"),
        ),
        ({"content": "abc"}, {"chunkSize": 1, "truncateAfterChunks": 2}, Script("a", "b", disconnect())),
        (
            {"error": {"message": "slow", "type": "rate_limit_error"}, "status": 429},
            {},
            Script(http_error(429, "slow", kind="rate_limit_error")),
        ),
    ],
)
def test_a_fixture_of_aimock_is_a_script(response, fixture, script):
    found = aimock(response, **fixture)
    (answer,) = found.answers

    assert (found.shown, answer.script, answer.prompt) == ("fixtures of aimock", script, "hi")
    assert answer.lost == ("that a part of the prompt is enough",)


def test_what_a_script_has_no_place_for_in_a_fixture_is_told():
    more = {"turnIndex": 1, "model": "m"}
    found = source(
        {"fixtures": [{"match": more, "response": {"content": "a", "id": "x"}, "chaos": {"dropRate": 1}, "_note": "n"}]}
    )
    assert found.answers[0].lost == ("the condition turnIndex", "its id", "its chaos")
    assert found.answers[0].model == "m"


@each("response", [{"embedding": [0.1]}, {"image": {"url": "u"}}, {"audio": "b64"}, {}])
def test_a_fixture_of_something_else_is_no_script(response):
    found = aimock(response)
    assert (found.answers, [at for at, _ in found.refused]) == ([], [0])


@each(
    "data, place",
    [
        ({"fixtures": [5]}, "fixtures.0: a mapping belongs here, not 5"),
        ({"fixtures": [{"response": {"toolCalls": [{}]}}]}, r"toolCalls.0.name: the name of a tool"),
        ({"fixtures": [{"response": {"toolCalls": 5}}]}, "response.toolCalls: a list belongs here, not 5"),
        ({"fixtures": [{"response": {"error": {}, "status": 99}}]}, "fixtures.0: it says what no script can"),
        ({"fixtures": [{"response": {"content": "a"}, "latency": "1"}]}, "latency: a number belongs here"),
        ({"behaviors": [{"type": "explode"}]}, "behaviors.0.type: one of fail, "),
        ({"behaviors": [{"type": "reply", "times": 0}]}, "behaviors.0.times: a number from 1 up"),
        ({"behaviors": [{"type": "fail", "status": 20}]}, "behaviors.0: http_error.status"),
        ({"pending": [{"type": "reply", "tool_calls": [{}]}]}, "tool_calls.0.name"),
        ({"pending": [{"type": "stream_fault", "after_chunks": "x"}]}, "after_chunks: a number belongs here"),
        ({"pending": [{"type": "stream_fault", "stall_seconds": "x"}]}, "stall_seconds: a number belongs here"),
        ({"pending": [{"type": "delay", "seconds": -1}]}, "pending.0.seconds: a number from 0 up"),
        ({"pending": [{"type": "reply", "match": 5}]}, "match: a mapping belongs here"),
        (
            {"fixtures": [{"response": {"content": "a"}, "recordedTimings": {"interChunkDelaysMs": ["x"]}}]},
            "interChunkDelaysMs.0: a number belongs here",
        ),
    ],
)
def test_what_is_not_as_documented_is_refused_with_its_place(data, place):
    with pytest.raises(CassetteError, match=place):
        source(data)


def test_a_queue_of_llmock_is_answered_in_its_order():
    found = source(
        {
            "behaviors": [
                {"type": "reply", "text": "a", "times": 2},
                {"type": "fail", "status": 429, "retry_after": 2, "match": {"provider": "openai"}},
                {"type": "reply", "tool_calls": [{"name": "f", "arguments": {"a": 1}}], "finish_reason": "stop"},
                {"type": "stream_fault", "kind": "disconnect", "after_chunks": 1},
                {"type": "slow_first_token", "seconds": 2, "times": None},
            ]
        }
    )
    message = found.answers[0].script[0].message

    assert [answer.script for answer in found.answers] == [
        Script(http_error(429, message, retry_after=2.0)),
        Script(Pause(2.0), "a", disconnect()),
        Script(Pause(2.0), "a"),
        Script(Pause(2.0), ToolCall("f", '{"a":1}'), Finish("stop")),
    ]
    assert found.answers[0].lost == ("the condition provider",)
    assert [answer.lost for answer in found.answers[1:]] == [(), (), ()]
    assert found.refused == []


@each(
    "fault, end",
    [
        ({"kind": "stall", "stall_seconds": 5}, (Pause(5.0),)),
        ({"kind": "malformed"}, (Raw("data: {not json\n\n"),)),
        ({"kind": "truncate"}, (disconnect("end"),)),
        ({"kind": "disconnect"}, (disconnect(),)),
    ],
)
def test_a_stream_of_llmock_breaks(fault, end):
    queue = [{"type": "reply", "text": "a"}, {"type": "stream_fault", "after_chunks": 1, **fault}]
    assert source({"pending": queue}).answers[0].script == Script(Text("a"), *end)


def test_what_goes_with_no_reply_is_told():
    found = source({"pending": [{"type": "delay", "seconds": 1}]})
    assert found.refused == [(0, "no reply is there to go with what is left of the queue: delay")]
    found = source({"pending": [{"type": "reply", "text": "a", "times": None}]})
    assert (found.answers[0].lost, found.refused) == (("that it stays for ever",), [])
