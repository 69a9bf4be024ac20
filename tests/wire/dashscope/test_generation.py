"""DashScope's text generation: events to bytes and back, whole answers and pieces, documents, errors, requests."""

from __future__ import annotations

import contextlib
import json

import pytest
import strategies
from hypothesis import example, given
from hypothesis import strategies as st
from sending import sent
from taping import tape
from vectors import each

from fakellm import Finish, Pause, Reasoning, Script, Text, ToolCall, Usage, disconnect, http_error, provider_error
from fakellm.cassette import interaction_of, write
from fakellm.contracts import check_wire
from fakellm.errors import WireError
from fakellm.script.events import Native, Raw
from fakellm.script.messages import Message
from fakellm.wire.codec import legal_or_not, pieces
from fakellm.wire.dashscope import GenerationCodec
from fakellm.wire.wishes import Form, choice_of, form_of, tools_of

CODEC = GenerationCodec()
ASKED = {"model": "qwen-plus", "input": {"messages": [{"role": "user", "content": "Hi"}]}}
SCRIPT = Script(
    Reasoning("hm"), "Hel", "lo", ToolCall("f", '{"x":', id="f_1"), ToolCall(arguments="1}"), ToolCall("g"),
    Finish("tool_calls"), Usage(3, 6, 1, 2),
)  # fmt: skip
both = pytest.mark.parametrize("adds", [True, False], ids=["pieces", "whole"])


def request(*, adds=True, kind="message", **parameters):
    return CODEC.request({**ASKED, "parameters": {"incremental_output": adds, "result_format": kind, **parameters}})


def encoded(script, **asked):
    """Return the bytes of a stream, up to the fault that ends it."""
    return sent(pieces(CODEC.encoder(request(**asked), 1, script.usage), script))


def documents(body):
    return [json.loads(line.removeprefix("data:")) for line in body.decode().split("\n") if line.startswith("data:")]


def stream(*outputs, **fields):
    """Return the bytes of a stream of such outputs."""
    return b"".join(
        f"id:{at}\nevent:result\n:HTTP_STATUS/200\ndata:{json.dumps({'output': output, 'request_id': 'r', **fields})}\n\n".encode()
        for at, output in enumerate(outputs, 1)
    )


def said(content, reason="null", **message):
    return {"choices": [{"message": {"role": "assistant", "content": content, **message}, "finish_reason": reason}]}


def test_a_stream_is_what_dashscope_sends():
    assert encoded(Script("Hel", "lo", Usage(3, 2))).decode() == (
        'id:1\nevent:result\n:HTTP_STATUS/200\ndata:{"output":{"choices":[{"message":{"role":"assistant","content":"Hel"},'
        '"finish_reason":"null"}]},"usage":{"total_tokens":4,"output_tokens":1,"input_tokens":3},'
        '"request_id":"00000000-0000-4000-8000-000000000001"}\n\n'
        'id:2\nevent:result\n:HTTP_STATUS/200\ndata:{"output":{"choices":[{"message":{"role":"assistant","content":"lo"},'
        '"finish_reason":"null"}]},"usage":{"total_tokens":5,"output_tokens":2,"input_tokens":3},'
        '"request_id":"00000000-0000-4000-8000-000000000001"}\n\n'
        'id:3\nevent:result\n:HTTP_STATUS/200\ndata:{"output":{"choices":[{"message":{"role":"assistant","content":""},'
        '"finish_reason":"stop"}]},"usage":{"total_tokens":5,"output_tokens":2,"input_tokens":3},'
        '"request_id":"00000000-0000-4000-8000-000000000001"}\n\n'
    )


def test_each_event_has_all_that_was_said_where_it_is_not_to_be_incremental():
    found = [document["output"] for document in documents(encoded(SCRIPT, adds=False))]
    messages = [output["choices"][0]["message"] for output in found]

    assert [message["content"] for message in messages] == ["", "Hel", *["Hello"] * 5]
    assert {message["reasoning_content"] for message in messages} == {"hm"}
    calls = [[call["function"]["arguments"] for call in message.get("tool_calls", ())] for message in messages]
    assert calls == [[], [], [], ['{"x":'], ['{"x":1}'], ['{"x":1}', ""], ['{"x":1}', ""]]
    old = [document["output"] for document in documents(encoded(Script("a", "b"), adds=False, kind="text"))]
    assert old == [
        {"finish_reason": reason, "text": text} for text, reason in (("a", "null"), ("ab", "null"), ("ab", "stop"))
    ]


@both
def test_all_that_is_said_is_read_again(adds):
    assert CODEC.decode(encoded(SCRIPT, adds=adds)) == SCRIPT
    two = Script("a", Text("b", choice=1), "c", Finish(), Finish("length", choice=1), Usage(1, 3))
    read = CODEC.decode(encoded(two, adds=adds, n=2))
    assert [event for event in read if event != Usage(1, 3)] == list(two)[:-1]
    old = Script("a", "b", Finish("length", extra={"x": 1}, beside={"y": [2]}), Usage(1, 2, extra={"z": 3}))
    assert CODEC.decode(encoded(old, adds=adds)) == old
    tokens = [{"token": "a", "logprob": -1.0}]
    logged = Script(Text("a", logprobs=tokens), Text("b", logprobs=tokens), Finish(), Usage(1, 2))
    assert CODEC.decode(encoded(logged, adds=adds)) == logged
    searched = Script("a", Native("dashscope.generation", {"search_info": {"search_results": [{"index": 1}]}}), "b")
    assert list(CODEC.decode(encoded(searched, adds=adds)))[:3] == list(searched)
    assert check_wire(encoded(SCRIPT, adds=adds), api="dashscope_generation").problems == ()


@each(
    "outputs, texts",
    [
        ([said("1"), said("12"), said("3"), said("", "stop")], ["1", "12", "3"]),  # pieces that begin alike
        ([said("1"), said("12"), said("", "stop")], ["1", "12"]),
        ([said("1"), said("12"), said("12", "stop")], ["1", "2"]),
        ([said("1"), said("12"), said("123", "stop")], ["1", "2", "3"]),
        ([said("ha"), said("ha"), said("", "stop")], ["ha", "ha"]),
        ([said("ha"), said("ha", "stop")], ["ha"]),
        ([said(""), said("a"), said("ab"), said("ab", "stop")], ["a", "b"]),
        ([said("a long text at first"), said("a long text at first, and more")], ["a long text at first", ", and more"]),
        ([{"text": "1", "finish_reason": "null"}, {"text": "12", "finish_reason": "stop"}], ["1", "2"]),
        ([said([{"text": "a"}]), said([], "stop")], ["a"]),
        ([{"text": "a", "choices": None, "finish_reason": None}, said("", "stop")], ["a"]),
    ],
)  # fmt: skip
def test_whole_answers_are_told_from_pieces(outputs, texts):
    script = CODEC.decode(stream(*outputs))
    assert [event.text for event in script if isinstance(event, Text)] == texts


@each("adds", [True, False])
def test_a_stream_that_lacks_its_end_says_how(adds):
    for how in ("end", "cut"):
        body = encoded(Script("a", "b", Usage(3, 9), disconnect(how)), adds=adds)
        read = CODEC.decode(body)
        assert (read.text, read.fault) == ("ab", disconnect(how))
        assert how == "cut" or read.usage == Usage(3, 9)  # nothing that was scripted is lost


def test_what_was_said_before_a_silence_is_there_before_it():
    steps = list(pieces(CODEC.encoder(request(), 1), Script("a", Finish(), Pause(1), Usage(1, 1))))
    assert [isinstance(step, Pause) for step in steps] == [False, False, True]
    body = encoded(Script("a", Raw(":wait\n\n"), "b"))
    assert body.index(b'"a"') < body.index(b":wait") < body.index(b'"b"')


@each(
    "fault, status, code",
    [
        (provider_error("no"), 500, "InternalError"),
        (provider_error("no", "Throttling.AllocationQuota"), 429, "Throttling.AllocationQuota"),
        (provider_error("no", code="DataInspectionFailed"), 400, "DataInspectionFailed"),
        (provider_error("no", named=False), 500, "InternalError"),
    ],
)
def test_an_error_in_the_stream(fault, status, code):
    body = encoded(Script("a", fault))
    assert f"event:{'result' if fault.named is False else 'error'}\n:HTTP_STATUS/{status}\n" in body.decode()
    assert documents(body)[-1] == {"code": code, "message": "no", "request_id": "00000000-0000-4000-8000-000000000001"}
    assert CODEC.decode(body).fault == provider_error("no", "server_error" if code == "InternalError" else code)


@each(
    "status, code",
    [(400, "InvalidParameter"), (401, "InvalidApiKey"), (429, "Throttling.RateQuota"), (418, "InternalError")],
)
def test_http_errors(status, code):
    headers, body = CODEC.error(http_error(status, "no", retry_after=1.5), 1)
    assert json.loads(body) == {"code": code, "message": "no", "request_id": "00000000-0000-4000-8000-000000000001"}
    assert dict(headers)["retry-after"] == "1.5"


def test_a_document_is_the_whole_answer():
    found = json.loads(CODEC.body(SCRIPT, request(), 1))
    (choice,) = found["output"]["choices"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", "Hello")
    assert [call["id"] for call in choice["message"]["tool_calls"]] == ["f_1", "call_1"]
    assert found["usage"]["total_tokens"] == 9
    two = json.loads(CODEC.body(Script("a", Text("b", choice=1)), request(n=2), 1))
    assert [choice["message"]["content"] for choice in two["output"]["choices"]] == ["a", "b"]
    assert json.loads(CODEC.body(Script("a"), CODEC.request(ASKED), 1))["output"] == {
        "finish_reason": "stop",
        "text": "a",
    }


@each("data", ["[]", "3", "{", '{"output":5}', '{"output":{"choices":5}}', '{"output":{"text":5}}', '{"output":null}',
               '{"output":{"choices":[{"message":{"content":5}}]}}', '{"output":{"text":"a","finish_reason":"stop"},"usage":{"input_tokens":-1}}'])  # fmt: skip
def test_what_is_no_event_is_refused(data):
    with pytest.raises(WireError):
        CODEC.decode(f"event:result\ndata:{data}\n\n".encode())


@both
@strategies.fewer(3)
@given(strategies.small_scripts | strategies.scripts)
@example(Script("a", "ab", "abc"))
@example(Script("a", disconnect("end")))
def test_any_stream_is_read_alike_however_it_is_cut_and_says_what_was_scripted(adds, script):
    body = encoded(script, adds=adds)
    whole = fed([body])
    for size in (1, 3, 50):
        assert fed(body[at : at + size] for at in range(0, len(body), size)) == whole
    read = legal_or_not(whole)
    if script.finish_reason is not None or script.fault is None:  # else nothing may tell what grew from what was added
        assert read.text == "".join(
            event.text for event in script if event.type in ("text", "refusal") and not event.choice
        )
        assert read.reasoning == script.reasoning


def fed(parts):
    decoder = CODEC.decoder()
    return [*[event for part in parts for event in decoder.feed(part)], *decoder.close()]


@given(st.binary(max_size=80) | strategies.texts.map(lambda text: f"data:{text}\n\n".encode()))
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(WireError):
        CODEC.decode(data)


@both
def test_a_script_is_a_tape(tmp_path, adds):
    url = "https://dashscope.aliyuncs.com/api/v1/services/aigc/text-generation/generation"
    asked = {**ASKED, "parameters": {"incremental_output": adds, "result_format": "message"}}
    write(tmp_path / "t.yaml", interaction_of(SCRIPT, url, asked))
    kept = tape(tmp_path / "t.yaml", mode="none")
    with kept.open():
        assert kept.script() == SCRIPT


# -- requests ----------------------------------------------------------------------------------------------


def test_a_request_is_read():
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    call = {"id": "f_1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"text": "Hel"}, {"text": "lo"}]},
        {"role": "assistant", "content": "", "tool_calls": [call], "reasoning_content": "hm"},
        {"role": "tool", "content": "42", "tool_call_id": "f_1"},
    ]
    parameters = {"tools": [tool], "tool_choice": "none", "seed": 1, "response_format": {"type": "json_object"}}
    found = CODEC.request({"model": "m", "input": {"messages": messages}, "parameters": parameters})

    assert (found.api, found.model, found.tools, found.stream) == ("dashscope.generation", "m", ("f",), False)
    assert found.messages == (
        Message("system", "Be brief."),
        Message("user", "Hello"),
        Message("assistant", "", "hm", tool_calls=(ToolCall("f", '{"x":1}', id="f_1", index=0),)),
        Message("tool", "42", tool_call_id="f_1"),
    )
    assert [one.name for one in tools_of(found)] == ["f"]
    assert (choice_of(found)[0], form_of(found)) == (False, Form({"type": "object"}))
    old = CODEC.request({"model": "m", "input": {"prompt": "?", "history": [{"user": "Hi", "bot": "Hello"}]}})
    assert [message.content for message in old.messages] == ["Hi", "Hello", "?"]


@each("headers, streams", [({"X-DashScope-SSE": "enable"}, True), ({"accept": "text/event-stream"}, True),
                           ({"Accept": "application/json"}, False), ({}, False)])  # fmt: skip
def test_the_headers_say_whether_an_answer_is_streamed(headers, streams):
    assert CODEC.read(ASKED, CODEC.marked(headers)).stream is streams


@each(
    "body, message",
    [
        ([], "Required body invalid"),
        ({"input": {"prompt": "?"}}, "parameter\\(model\\)"),
        ({"model": "m"}, "parameter\\(input\\)"),
        ({"model": "m", "input": {}}, 'Either "prompt" or "messages" must exist'),
        ({"model": "m", "input": {"messages": []}}, 'Either "prompt" or "messages" must exist'),
        ({"model": "m", "input": {"messages": "x"}}, "valid list: input.messages"),
        ({"model": "m", "input": {"messages": ["x"]}}, "valid dictionary: input.messages"),
        ({"model": "m", "input": {"messages": [{"role": "boss", "content": "x"}]}}, "Role must be in"),
        ({"model": "m", "input": {"messages": [{"role": "user"}]}}, "Content field is a required field"),
        ({"model": "m", "input": {"messages": [{"role": "user", "content": 5}]}}, "input.messages.content"),
        ({"model": "m", "input": {"messages": [{"role": "assistant", "tool_calls": [5]}]}}, "tool_calls.function"),
        ({**ASKED, "parameters": []}, "parameter\\(parameters\\)"),
        ({**ASKED, "parameters": {"temperature": 2}}, "Temperature should be in \\[0.0, 2.0\\)"),
        ({**ASKED, "parameters": {"n": 9}}, "Range of n"),
        ({**ASKED, "parameters": {"tools": {}}}, "parameters.tools"),
        ({**ASKED, "parameters": {"tools": [{}]}}, "a function that has a name"),
        ({**ASKED, "parameters": {"result_format": "xml"}}, "parameters.result_format"),
    ],
)
def test_a_request_that_dashscope_refuses_is_refused_in_its_words(body, message):
    with pytest.raises(WireError, match=message):
        CODEC.request(body)
