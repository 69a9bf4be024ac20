"""Cohere's Chat: the codec against recordings and against itself; what its SDK makes of it is in test_sdk.py."""

from __future__ import annotations

import contextlib
import json

import corpus
import pytest
import recorded
import strategies
from hypothesis import example, given
from hypothesis import strategies as st
from sending import sent, sse_of
from vectors import each

from fakellm import (
    Finish,
    Pause,
    Reasoning,
    Refusal,
    Script,
    Text,
    ToolCall,
    Usage,
    disconnect,
    http_error,
    provider_error,
)
from fakellm.contracts.grammar.check import check_wire
from fakellm.errors import WireError
from fakellm.script.events import Native, Raw
from fakellm.script.messages import Message
from fakellm.wire.codec import legal_or_not, pieces
from fakellm.wire.cohere import ChatCodec

CODEC = ChatCodec()
ASKED = {"model": "command-fake", "messages": [{"role": "user", "content": "Hi"}]}
CITATION = {
    "start": 0,
    "end": 5,
    "text": "Hello",
    "sources": [{"type": "document", "id": "doc:1"}],
    "type": "TEXT_CONTENT",
}


def native(kind, **fields):
    return Native("cohere.chat", {"type": kind, **fields})


def adds(**message):
    return {"delta": {"message": message}}


def request(**fields):
    return CODEC.request({**ASKED, "stream": True, **fields})


def steps(script, number=1):
    return list(pieces(CODEC.encoder(request(), number, script.usage), script))


def encoded(script, number=1):
    """Return the bytes of a stream, up to the fault that ends it."""
    return sent(steps(script, number))


def events_of(body):
    """Return the data of the server-sent events, but for the marker at the end; each is named by its type."""
    sses = sse_of(body)
    events = [json.loads(sse.data) for sse in sses if sse.data != "[DONE]"]
    assert [sse.event for sse in sses if sse.data != "[DONE]"] == [event["type"] for event in events]
    return events


def kinds(script):
    return [event["type"] for event in events_of(encoded(script))]


def document(script):
    return json.loads(CODEC.body(script, CODEC.request(ASKED), 1))


def stream(*events):
    """Return the bytes of a stream of these events."""
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


def fed(parts):
    decoder = CODEC.decoder()
    return [*(event for part in parts for event in decoder.feed(part)), *decoder.close()]


# -- recordings -----------------------------------------------------------------------------------

streams = each(
    "row, found",
    [
        pytest.param(row, found, id=f"{row['file'].split('.', 2)[2]}.{found['idx']}")
        for row, found in recorded.streams()
        if found["api"] == "cohere.v2"
    ],
)


def said(body):
    """Return what a stream says: all its events, but for the id of the message."""
    return [{key: value for key, value in event.items() if key != "id"} for event in events_of(body)]


@corpus.needs_corpus
@streams
def test_a_recorded_stream_written_again_is_the_same_but_for_its_id(row, found):
    body = recorded.body(row, found)
    script = CODEC.decode(body)

    assert said(encoded(script)) == said(body)
    assert not script.allow_illegal
    assert script.fault is None
    assert CODEC.decode(encoded(script)) == script
    assert Script.from_json(script.to_json()) == script


@corpus.needs_corpus
@streams
def test_a_recorded_stream_is_read_alike_however_it_is_cut(row, found):
    body = recorded.body(row, found)
    for size in (1, 7, 64):
        assert fed(body[at : at + size] for at in range(0, len(body), size)) == fed([body])


@corpus.needs_corpus
@streams
def test_a_recorded_stream_breaks_no_rule(row, found):
    check_wire(
        recorded.body(row, found) + (b"" if found["framing"] == "sse" else b"data: [DONE]\n\n"), api="cohere_chat"
    ).verify()


# -- streams ----------------------------------------------------------------------------------------


def test_a_stream_is_what_cohere_sends():
    script = Script("Hel", "lo", Finish(), Usage(212, 36, 208, extra={"billed_units": {"input_tokens": 12}}))

    assert encoded(script).decode() == (
        'event: message-start\ndata: {"id":"00000000-0000-4000-8000-000000000001","type":"message-start","delta":{"message":'
        '{"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]}}}\n\n'
        'event: content-start\ndata: {"type":"content-start","index":0,"delta":{"message":{"content":{"type":"text","text":""}}}}\n\n'
        'event: content-delta\ndata: {"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"Hel"}}}}\n\n'
        'event: content-delta\ndata: {"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"lo"}}}}\n\n'
        'event: content-end\ndata: {"type":"content-end","index":0}\n\n'
        'event: message-end\ndata: {"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{"tokens":{"input_tokens":212,'
        '"output_tokens":36},"cached_tokens":208,"billed_units":{"output_tokens":36,"input_tokens":12}}}}\n\n'
        "data: [DONE]\n\n"
    )


def test_a_block_ends_where_another_thing_begins():
    script = Script(
        Reasoning("hm"), "a", Refusal("b"), Reasoning("c"), native("tool-plan-delta", **adds(tool_plan="I will")),
        ToolCall("f", '{"x":'), ToolCall(arguments="1}"), ToolCall("g"), "d",
    )  # fmt: skip

    assert kinds(script) == [
        "message-start",
        *("content-start", "content-delta", "content-end"),
        *("content-start", "content-delta", "content-delta", "content-end"),
        *("content-start", "content-delta", "content-end"),
        "tool-plan-delta",
        *("tool-call-start", "tool-call-delta", "tool-call-delta", "tool-call-end"),
        *("tool-call-start", "tool-call-end"),
        *("content-start", "content-delta", "content-end"),
        "message-end",
    ]
    assert [e["index"] for e in events_of(encoded(script)) if e["type"] == "content-start"] == [0, 1, 2, 3]
    assert events_of(encoded(script))[-1]["delta"]["finish_reason"] == "TOOL_CALL"


def test_citations_stand_inside_a_block_and_are_numbered():
    cite = native("citation-start", **adds(citations=CITATION)), native("citation-end")
    script = Script("Hel", *cite, "lo", *cite)
    events = events_of(encoded(script))

    assert [event["type"] for event in events[1:]] == [
        "content-start", "content-delta", "citation-start", "citation-end", "content-delta", "citation-start",
        "citation-end", "content-end", "message-end",
    ]  # fmt: skip
    assert [event["index"] for event in events if "citation" in event["type"]] == [0, 0, 1, 1]
    assert document(script)["message"] == {
        "role": "assistant", "content": [{"type": "text", "text": "Hello"}], "citations": [CITATION, CITATION],
    }  # fmt: skip


@each(
    "events",
    [
        [{"type": "content-start", "index": 0, **adds(content={"type": "text", "text": ""})}, {"type": "content-end", "index": 0}],
        [
            event
            for index in (0, 1)
            for event in (
                {"type": "content-start", "index": index, **adds(content={"type": "text", "text": ""})},
                {"type": "content-delta", "index": index, **adds(content={"text": "a"})},
                {"type": "content-end", "index": index},
            )
        ],
        [
            {"type": "content-start", "index": 0, **adds(content={"type": "text", "text": ""})},
            {"type": "content-delta", "index": 0, **adds(content={"text": "a"})},
            {"type": "content-end", "index": 0},
            {"type": "citation-start", "index": 0, **adds(citations=CITATION)},
            {"type": "citation-end", "index": 0},
        ],
        [
            {"type": "content-start", "index": 0, **adds(content={"type": "text", "text": ""})},
            {"type": "citation-start", "index": 4, **adds(citations=CITATION)},
            {"type": "citation-end", "index": 4},
            {"type": "content-delta", "index": 0, **adds(content={"text": ""})},
            {"type": "content-end", "index": 0},
        ],
        [
            {"type": "content-start", "index": 0, **adds(content={"type": "image", "image": {"url": "x"}})},
            {"type": "content-delta", "index": 0, **adds(content={"image": {"more": "y"}})},
            {"type": "content-end", "index": 0},
        ],
        [{"type": "debug", "prompt": "<BOS>"}, {"type": "later", "x": [1]}],
        [
            {"type": "tool-plan-delta", **adds(tool_plan="I")},
            {"type": "citation-start", "index": 0, **adds(citations={**CITATION, "type": "PLAN"})},
            {"type": "citation-end", "index": 0},
            {"type": "tool-plan-delta", **adds(tool_plan=" will")},
        ],
        [
            {
                "type": "tool-call-start", "index": 0,
                **adds(tool_calls={"id": "f_1", "type": "function", "function": {"name": "f", "arguments": ""}}),
            },
            {"type": "tool-call-delta", "index": 0, **adds(tool_calls={"function": {"arguments": ""}})},
            {"type": "tool-call-end", "index": 0},
        ],
        [
            {"type": "content-start", "index": 0, **adds(content={"type": "text", "text": ""})},
            {
                "type": "content-delta", "index": 0, **adds(content={"text": "ab"}),
                "logprobs": {"text": "ab", "token_ids": [7, 9], "logprobs": [-0.5, -1.0]},
            },
            {"type": "content-end", "index": 0},
        ],
    ],
)  # fmt: skip
def test_what_only_cohere_has_is_read_and_written_again(events):
    usage = {"billed_units": {"input_tokens": 1, "output_tokens": 2}, "tokens": {"input_tokens": 3, "output_tokens": 2}}
    start, end = (
        events_of(encoded(Script()))[0],
        {"type": "message-end", "id": "m-1", "delta": {"finish_reason": "COMPLETE", "usage": usage, "later": 1}},
    )
    body = stream(start, *events, end) + b"data: [DONE]\n\n"
    script = CODEC.decode(body)

    assert events_of(encoded(script)) == [start, *events, end]
    assert not script.allow_illegal
    assert script.fault is None
    assert Script.from_json(script.to_json()) == script


def test_a_delta_without_a_block_and_calls_of_any_index_are_read():
    body = stream(
        {"type": "content-delta", **adds(content={"text": "a"})},
        *(
            {
                "type": "tool-call-start", "index": 3,
                **adds(tool_calls={"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}}),
            }
            for name in "fg"
        ),
        {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL"}},
    )  # fmt: skip

    assert CODEC.decode(body) == Script(
        "a", ToolCall("f", "{}", id="f"), ToolCall("g", "{}", id="g"), Finish("tool_calls")
    )


def test_usage_is_read_from_what_is_there():
    def usage(**found):
        return CODEC.decode(
            stream({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": found}})
        ).usage

    tokens = {"input_tokens": 3.0, "output_tokens": 2.0}
    assert usage(tokens=tokens, billed_units=tokens) == Usage(3, 2)
    assert usage(tokens=tokens, billed_units=tokens, cached_tokens=0) == Usage(3, 2, 0)
    assert usage(billed_units=tokens) == Usage(3, 2, extra={"tokens": None})
    assert usage(tokens=tokens, billed_units={**tokens, "search_units": 1}).total_tokens == 5


@each(
    "reason, theirs",
    [("stop", "COMPLETE"), ("length", "MAX_TOKENS"), ("tool_calls", "TOOL_CALL"), ("content_filter", "ERROR_TOXIC"),
     ("STOP_SEQUENCE", "STOP_SEQUENCE"), ("TIMEOUT", "TIMEOUT")],
)  # fmt: skip
def test_finish_reasons(reason, theirs):
    script = Script("a", Finish(reason), Usage(1, 1))

    assert events_of(encoded(script))[-1]["delta"]["finish_reason"] == theirs
    assert document(script)["finish_reason"] == theirs
    assert CODEC.decode(encoded(script)) == script


# -- what is held back --------------------------------------------------------------------------------


def test_what_was_said_before_a_silence_is_there_before_it():
    found = steps(Script("a", Pause(1), Finish(), Pause(1), Usage(1, 1)))
    assert [step for step in found if isinstance(step, Pause)] == [Pause(1), Pause(1)]
    assert b'"text":"a"' in found[found.index(Pause(1)) - 1]
    assert b"message-end" in found[len(found) - found[::-1].index(Pause(1)) - 2]
    assert sent(found).count(b"event: message-end") == 1


def test_raw_bytes_keep_their_place():
    script = Script("a", Raw(": hi\n\n"), "b")
    assert b'"text":"a"}}}}\n\n: hi\n\nevent: content-delta' in encoded(script)


# -- errors ---------------------------------------------------------------------------------------------


def test_an_error_in_the_stream_is_a_message_end():
    body = encoded(Script("a", Usage(3, 1), provider_error("boom")))
    (end,) = [event for event in events_of(body) if event["type"] == "message-end"]

    assert end["delta"] == {
        "finish_reason": "ERROR", "error": "boom",
        "usage": {"billed_units": {"input_tokens": 3, "output_tokens": 1}, "tokens": {"input_tokens": 3, "output_tokens": 1}},
    }  # fmt: skip
    assert CODEC.decode(body) == Script("a", Usage(3, 1), provider_error("boom"))
    check_wire(body, api="cohere_chat").verify()


@each("error", [provider_error("boom", named=True), provider_error(""), provider_error("late", "TIMEOUT")])
def test_errors_in_all_their_forms_are_read(error):
    for before in (Script("a"), Script("a", Finish(), Usage(1, 1))):
        script = Script(*before, error)
        assert CODEC.decode(encoded(script)) == script


@each(
    "data",
    [
        '{"type":"error","error":{"message":"boom"}}',
        '{"message":"boom"}',
        '{"error":"boom"}',
        '{"error":{"message":"boom"}}',
    ],
)
def test_errors_of_gateways_are_read(data):
    assert CODEC.decode(f"event: error\ndata: {data}\n\n".encode()) == Script(provider_error("boom", named=True))
    assert CODEC.decode(f"data: {data}\n\n".encode()) == Script(provider_error("boom"))


def test_an_http_error_has_an_id_and_a_message():
    headers, body = CODEC.error(http_error(429, "slow down", retry_after=2), 7)
    assert json.loads(body) == {"id": "00000000-0000-4000-8000-000000000007", "message": "slow down"}
    assert dict(headers)["retry-after"] == "2"
    assert CODEC.error(http_error(502, body="<html>"), 1)[1] == b"<html>"


@each(
    "end, how",
    [
        (b"", "end"),
        (b"event: message-end\n", "end"),
        (b"event: message-end\ndata: {", "cut"),
        (b'data: {"type":"debug"}', "cut"),
    ],
)
def test_a_stream_that_lacks_its_end_says_how(end, how):
    whole = encoded(Script("a"))
    body = whole[: whole.index(b"event: content-end")] + end
    assert CODEC.decode(body).fault == disconnect(how)


@each(
    "data",
    ["[]", "3", '{"type":"content-delta","delta":5}', '{"type":"content-start","delta":{"message":{"content":"x"}}}',
     '{"type":"tool-call-start","index":"0"}', '{"type":"tool-call-delta","index":-1}', '{"type":"message-end","delta":[]}',
     '{"type":"message-end","delta":{"usage":{"tokens":{"input_tokens":-1}}}}', "{", '{"type":7}'],
)  # fmt: skip
def test_what_is_no_event_is_refused(data):
    with pytest.raises(WireError):
        CODEC.decode(f"event: x\ndata: {data}\n\n".encode())
    with pytest.raises(WireError, match="has no type"):
        CODEC.decode(b'data: {"x":1}\n\n')


def test_an_event_is_of_the_type_that_its_name_says_where_it_has_none():
    body = (
        b'event: content-delta\ndata: {"delta":{"message":{"content":{"text":"a"}}}}\n\nevent: later\ndata: {"x":1}\n\n'
    )
    assert CODEC.decode(body) == Script("a", native("later", x=1), disconnect("end"))


# -- documents ------------------------------------------------------------------------------------------


def test_a_document_is_what_the_stream_adds_up_to():
    script = Script(
        Reasoning("hm"), "a", "b", native("tool-plan-delta", **adds(tool_plan="I ")), native("tool-plan-delta", **adds(tool_plan="will")),
        ToolCall("f", '{"x":', id="f_1"), ToolCall(arguments="1}"), ToolCall("g"), Usage(3, 2),
        Finish("tool_calls", extra={"later": 1}, beside={"more": 2}),
    )  # fmt: skip

    counts = {"input_tokens": 3, "output_tokens": 2}
    assert document(script) == {
        "id": "00000000-0000-4000-8000-000000000001",
        "message": {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "ab"}],
            "tool_plan": "I will",
            "tool_calls": [
                {"id": "f_1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
                {"id": "call_1", "type": "function", "function": {"name": "g", "arguments": ""}},
            ],
        },
        "finish_reason": "TOOL_CALL",
        "usage": {"billed_units": counts, "tokens": counts},
        "later": 1,
        "more": 2,
    }


def test_calls_in_an_order_that_no_api_has_are_sent_as_they_are():
    script = Script(
        ToolCall(None, '{"x":1}', index=1), ToolCall("a", index=0), ToolCall("b", index=0), ToolCall(None, "2", index=1),
        allow_illegal=True,
    )  # fmt: skip
    calls = [(e["type"], e["index"]) for e in events_of(encoded(script)) if "tool-call" in e["type"]]

    assert calls == [
        ("tool-call-delta", 1), ("tool-call-start", 0), ("tool-call-end", 0), ("tool-call-start", 0), ("tool-call-delta", 1),
        ("tool-call-end", 0),
    ]  # fmt: skip
    assert [call["function"]["arguments"] for call in document(script)["message"]["tool_calls"]] == ['{"x":1}2', "", ""]


def test_a_native_without_a_type_is_refused():
    with pytest.raises(WireError, match="is an event of the stream and has a type"):
        encoded(Script(Native("cohere.chat", {"tool_plan": "x"})))
    assert kinds(Script(Native("other", {"x": 1}), "a")) == kinds(Script("a"))


# -- any script -------------------------------------------------------------------------------------------


def plain(script):
    """Return the script as it is read again: what this API has no place for is left out."""
    return [event for event in script if not (isinstance(event, (Pause, Raw)) or event is script.fault)]


@strategies.fewer(3)
@given(strategies.small_scripts | strategies.scripts)
@example(Script(Reasoning("", signature="x"), "a"))
@example(Script(Text("a", logprobs=[{"token": "a", "logprob": -1}])))
def test_any_stream_is_read_alike_however_it_is_cut_and_says_what_was_scripted(script):
    body = encoded(script)
    whole = fed([body])
    for size in (1, 3, 50):
        assert fed(body[at : at + size] for at in range(0, len(body), size)) == whole
    read = legal_or_not(whole)
    texts = [event for event in script if isinstance(event, (Text, Refusal))]
    assert read.text == "".join(event.text for event in texts if not event.choice)
    assert read.reasoning == script.reasoning
    assert [(c.name, c.arguments) for c in read.tool_calls] == [(c.name, c.arguments) for c in script.tool_calls]


@given(st.binary(max_size=80) | strategies.texts.map(lambda text: f"data: {text}\n\n".encode()))
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(WireError):
        CODEC.decode(data)


# -- requests ---------------------------------------------------------------------------------------------


def test_a_request_is_read():
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
    call = {"id": "f_1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    found = CODEC.request(
        {
            "model": "m", "stream": True, "temperature": 0, "tools": [tool], "documents": ["d"],
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}, {"type": "image_url", "image_url": {"url": "u"}}]},
                {"role": "assistant", "tool_calls": [call], "tool_plan": "I will"},
                {"role": "tool", "tool_call_id": "f_1", "content": [{"type": "document", "document": {"data": '{"y":2}'}}]},
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "2"}], "citations": None},
                {"role": "tool", "tool_call_id": "f_1", "content": [{"type": "document", "document": {"data": {"a": "b", "c": 1}}}]},
            ],
        }
    )  # fmt: skip

    assert (found.api, found.model, found.stream, found.tools) == ("cohere.chat", "m", True, ("f",))
    assert found.options == {"temperature": 0, "documents": ["d"]}
    assert found.messages == (
        Message("system", "Be brief."),
        Message("user", "Hello"),
        Message("assistant", "", "I will", tool_calls=(ToolCall("f", '{"x":1}', id="f_1", index=0),)),
        Message("tool", '{"y":2}', tool_call_id="f_1"),
        Message("assistant", "2", "hm"),
        Message("tool", "b\n1", tool_call_id="f_1"),
    )


USER = {"role": "user", "content": "x"}


@each(
    "body, problem, status",
    [
        ([], "invalid type: the body is of type array but should be of type object", 400),
        (None, "invalid type: the body is of type null", 400),
        ({"messages": [USER]}, "a model parameter is required for this endpoint.", 400),
        ({"model": "m"}, "invalid request: messages must not be empty", 400),
        ({"model": "m", "messages": []}, "invalid request: messages must not be empty", 400),
        ({"model": "m", "messages": None}, "invalid request: messages must not be empty", 400),
        ({"model": 5, "messages": [USER]}, "invalid type: parameter 'model' is of type integer but should be of type string", 400),
        ({"model": "m", "messages": "x"}, "'messages' is of type string but should be of type array", 400),
        ({"model": "m", "messages": ["x"]}, "'messages' is of type string but should be of type object", 400),
        ({"model": "m", "messages": [{"role": "user"}]}, "a user message must have content", 400),
        ({"model": "m", "messages": [{"role": "user", "content": {}}]}, "'messages.content' is of type object", 400),
        ({"model": "m", "messages": [{"role": "user", "content": ["x"]}]}, "'messages.content' is of type string", 400),
        ({"model": "m", "messages": [{"role": "user", "content": [{"text": 5}]}]}, "'messages.content.text' is of type integer", 400),
        ({"model": "m", "messages": [{"content": "x"}]}, "the role of a message must be one of", 400),
        ({"model": "m", "messages": [{"role": "boss", "content": "x"}]}, "not 'boss'", 400),
        ({"model": "m", "messages": [{"role": "tool", "content": "x"}]}, "must have a tool_call_id", 400),
        ({"model": "m", "messages": [{"role": "assistant", "tool_calls": ["x"]}]}, "'messages.tool_calls' is of type string", 400),
        ({"model": "m", "messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": {}}}]}]}, "'messages.tool_calls.function.arguments' is of type object", 400),
        ({"model": "m", "messages": [USER], "stream": "yes"}, "'stream' is of type string but should be of type boolean", 400),
        ({"model": "m", "messages": [USER], "temperature": True}, "'temperature' is of type boolean but should be of type number", 400),
        ({"model": "m", "messages": [USER], "max_tokens": 1.5}, "'max_tokens' is of type number but should be of type integer", 400),
        ({"model": "m", "messages": [USER], "tools": [5]}, "'tools' is of type integer but should be of type object", 400),
        ({"model": "m", "messages": [USER], "tools": [{"type": "function"}]}, "a function with a name", 400),
        ({"model": "m", "messages": [USER], "tools": [{"function": {"name": "f", "strict": True}}]}, "unknown field: parameter 'tools.function.strict' is not a valid field", 422),
        ({"model": "m", "messages": [USER], "top_p": 1}, "unknown field: parameter 'top_p' is not a valid field", 422),
        ({"model": "m", "messages": [{**USER, "name": "n"}]}, "unknown field: parameter 'messages.name' is not a valid field", 422),
    ],
    ids=lambda row: json.dumps(row[0]),
)  # fmt: skip
def test_a_request_that_cohere_refuses_is_refused_in_its_words(body, problem, status):
    with pytest.raises(WireError) as error:
        CODEC.request(body)
    assert problem in str(error.value)
    assert error.value.status == status
