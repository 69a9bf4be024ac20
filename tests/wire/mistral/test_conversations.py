"""Mistral's conversations: the codec against itself, in the form that recorded streams have; its SDK is in test_sdk.py."""

from __future__ import annotations

import contextlib
import json

import pytest
import strategies
from hypothesis import given
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
    provider_error,
)
from fakellm.contracts.grammar.check import check_wire
from fakellm.errors import WireError
from fakellm.script.events import Native, Raw
from fakellm.script.messages import Message
from fakellm.wire.codec import legal_or_not, pieces
from fakellm.wire.mistral import ConversationsCodec

CODEC = ConversationsCodec()
ASKED = {"model": "mistral-fake", "inputs": "Hi"}
RUN = {"name": "code_interpreter", "arguments": "", "function": "code_interpreter"}
MADE = ("created_at", "id", "output_index", "content_index", "model", "agent_id", "role")


def native(kind, **fields):
    return Native("mistral.conversations", {"type": kind, **fields})


def request(path="/v1/conversations", **fields):
    return CODEC.request({**(ASKED if path.endswith("s") else {}), "stream": True, **fields}, path=path)


def steps(script, number=1, **fields):
    return list(pieces(CODEC.encoder(request(**fields), number, script.usage), script))


def encoded(script, **fields):
    """Return the bytes of a stream, up to the fault that ends it."""
    return sent(steps(script, **fields))


def events_of(body):
    """Return the data of the server-sent events; each is named by its type."""
    sses = sse_of(body)
    events = [json.loads(sse.data) for sse in sses]
    assert [sse.event for sse in sses] == [event["type"] for event in events]
    return events


def said(script, **fields):
    """Return what a stream says: its events without what is made anew."""
    return [{k: v for k, v in event.items() if k not in MADE} for event in events_of(encoded(script, **fields))]


def stream(*events):
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


def document(script, **fields):
    return json.loads(CODEC.body(script, CODEC.request({**ASKED, **fields}), 1))


def fed(parts):
    decoder = CODEC.decoder()
    return [*(event for part in parts for event in decoder.feed(part)), *decoder.close()]


RICH = Script(
    native("tool.execution.started", **RUN), native("tool.execution.delta", **{**RUN, "arguments": '{"code":"1"}'}),
    native("tool.execution.done", name="code_interpreter", function="code_interpreter", info={"code_output": "1"}),
    native("agent.handoff.started", previous_agent_id="ag_1", previous_agent_name="One"),
    native("agent.handoff.done", next_agent_id="ag_2", next_agent_name="Two"),
    Reasoning("hm"), "Hel", "lo", native("message.output.delta", content={"type": "tool_reference", "tool": "web_search", "title": "t"}),
    ToolCall("f", '{"x":'), ToolCall(arguments="1}"), ToolCall("g", "{}"),
    Finish("tool_calls"), Usage(215, 19, extra={"total_tokens": 239, "connector_tokens": 5, "connectors": {"code_interpreter": 1}}),
)  # fmt: skip


def test_a_stream_is_what_mistral_sends():
    time = '"created_at":"2026-01-01T00:00:01.000000Z"'
    message = f'{time},"output_index":0,"id":"msg_00000000000000010000000000000000","content_index":0,"model":"mistral-fake","role":"assistant"'
    assert encoded(Script("Hel", "lo", Usage(16, 2))).decode() == (
        f'event: conversation.response.started\ndata: {{"type":"conversation.response.started",{time},'
        '"conversation_id":"conv_00000000000000000000000000000001"}\n\n'
        f'event: message.output.delta\ndata: {{"type":"message.output.delta",{message},"content":"Hel"}}\n\n'
        f'event: message.output.delta\ndata: {{"type":"message.output.delta",{message},"content":"lo"}}\n\n'
        f'event: conversation.response.done\ndata: {{"type":"conversation.response.done",{time},'
        '"usage":{"prompt_tokens":16,"completion_tokens":2,"total_tokens":18}}\n\n'
    )


def test_all_that_mistral_says_is_read_and_written_again():
    body = encoded(RICH)

    assert CODEC.decode(body) == RICH
    assert Script.from_json(RICH.to_json()) == RICH
    check_wire(body, api="mistral_conversations").verify()
    events = events_of(body)[1:-1]
    places = [event["output_index"] for event in events]
    assert places == [0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 4]
    assert len({(place, event["id"]) for place, event in zip(places, events, strict=True)}) == 5
    assert [event["content_index"] for event in events[5:9]] == [0, 1, 1, 2]
    assert [event.get("agent_id") for event in events] == [None] * 5 + ["ag_2"] * 7


def test_a_recorded_stream_may_have_more_than_is_made_here():
    time = {"created_at": "2026-06-29T14:13:28.545632Z"}
    body = stream(
        {"type": "conversation.response.started", **time, "conversation_id": "conv_1"},
        {"type": "message.output.delta", **time, "output_index": 0, "id": "msg_1", "content": [{"type": "text", "text": "a"}]},
        {"type": "message.output.delta", **time, "output_index": 0, "id": "msg_1", "content": {"type": "text", "text": "b"}},
        {"type": "function.call.delta", **time, "output_index": 1, "id": "fc_1", "name": "f", "tool_call_id": "c1", "arguments": {"x": 1}},
        {"type": "later.event", **time, "x": None, "y": 2},
        {"type": "conversation.response.done", **time, "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}, "guardrails": [{}]},
    )  # fmt: skip

    assert CODEC.decode(body) == Script(
        "a", "b", ToolCall("f", '{"x":1}', id="c1"), native("later.event", y=2),
        Finish("tool_calls", extra={"guardrails": [{}]}), Usage(1, 2),
    )  # fmt: skip
    for size in (1, 7, 64):
        assert fed(body[at : at + size] for at in range(0, len(body), size)) == fed([body])


def test_a_call_without_arguments_has_an_empty_object():
    def arguments(*events):
        return [event["arguments"] for event in said(Script(*events)) if event["type"] == "function.call.delta"]

    assert arguments(ToolCall("f")) == ["{}"]
    assert arguments(ToolCall("f"), ToolCall("g"), "a") == ["{}", "{}"]
    assert arguments(ToolCall("f"), ToolCall(arguments="{}")) == ["", "{}"]
    assert arguments(ToolCall("f"), Pause(1), "a") == ["", "{}"]
    assert arguments(ToolCall("f"), Pause(1), ToolCall(arguments='{"x":1}')) == ["", '{"x":1}']


def test_the_usage_ends_the_stream_and_waits_for_no_silence():
    found = steps(Script("a", Pause(1), Finish(), Pause(1), Usage(1, 1)))
    second = len(found) - 1 - found[::-1].index(Pause(1))
    assert b"conversation.response.done" in found[second - 1]
    assert sent(found).count(b"event: conversation.response.done") == 1
    encoder = CODEC.encoder(request(), 1)
    pieces_of = [encoder.begin(), *map(encoder.event, (Text("a"), Finish(), Usage(4, 2))), encoder.end()]
    assert events_of(b"".join(b"".join(part) for part in pieces_of))[-1]["usage"]["prompt_tokens"] == 4


def test_raw_bytes_keep_their_place():
    body = encoded(Script("a", Raw(": hi\n\n"), "b"))
    assert body.index(b'"content":"a"') < body.index(b": hi\n\n") < body.index(b'"content":"b"')


# -- errors ---------------------------------------------------------------------------------------------


@each("error", [provider_error("boom"), provider_error("boom", code="3001"), provider_error("boom", named=True)])
def test_an_error_in_the_stream_is_read_again(error):
    for before in (Script("a"), Script("a", Finish(), Usage(1, 1))):
        body = encoded(Script(*before, error))
        again = provider_error("boom", code=error.code or (None if error.named else "3000"), named=error.named)
        assert CODEC.decode(body) == Script(*before, again)
        check_wire(body, api="mistral_conversations").verify()
    if not error.named:
        assert events_of(encoded(Script(error)))[-1].keys() == {"type", "created_at", "message", "code"}


@each(
    "data",
    [
        '{"error":{"message":"boom"}}',
        '{"object":"error","message":"boom"}',
        '{"type":"conversation.response.error","message":"boom"}',
    ],
)
def test_errors_in_other_forms_are_read(data):
    assert CODEC.decode(f"data: {data}\n\n".encode()) == Script(provider_error("boom"))


@each("data", ["{oops", "[]", '{"x":1}', '{"type":3}', '{"type":"function.call.delta","output_index":-1}'])
def test_what_is_no_event_is_refused(data):
    with pytest.raises(WireError):
        CODEC.decode(f"data: {data}\n\n".encode())


def test_a_stream_without_its_end_is_not_complete():
    body = encoded(Script("a"))
    assert CODEC.decode(body[: body.index(b"event: conversation.response.done")]).fault == disconnect("end")
    assert CODEC.decode(body[:-40]).fault == disconnect("cut")
    assert CODEC.decode(body.rstrip()).fault is None  # the SDK reads an event that no blank line ends
    assert CODEC.decode(encoded(Script("a", disconnect("end")))).fault == disconnect("end")


def test_a_native_without_a_type_is_refused():
    with pytest.raises(WireError, match="is an event of the stream and has a type"):
        encoded(Script(Native("mistral.conversations", {"name": "x"})))
    assert said(Script(Native("other", {"x": 1}), "a")) == said(Script("a"))


# -- documents ------------------------------------------------------------------------------------------


def test_a_document_is_what_the_stream_adds_up_to():
    time = {"created_at": "2026-01-01T00:00:01.000000Z", "completed_at": "2026-01-01T00:00:01.000000Z"}

    def entry(kind, prefix, at, **more):
        return {"object": "entry", "type": kind, **time, "id": f"{prefix}_{1:016x}{at:016x}", **more}

    by = {"model": "mistral-fake"}
    assert document(RICH) == {
        "object": "conversation.response", "conversation_id": f"conv_{1:032x}",
        "outputs": [
            entry("tool.execution", "tool_exec", 0, **by, **{**RUN, "arguments": '{"code":"1"}'}, info={"code_output": "1"}),
            entry(
                "agent.handoff", "handoff", 1, previous_agent_id="ag_1", previous_agent_name="One", next_agent_id="ag_2",
                next_agent_name="Two",
            ),
            entry(
                "message.output", "msg", 2, **by, agent_id="ag_2", role="assistant",
                content=[
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "Hello"},
                    {"type": "tool_reference", "tool": "web_search", "title": "t"},
                ],
            ),
            entry("function.call", "fc", 3, **by, agent_id="ag_2", name="f", tool_call_id="call_0", arguments='{"x":1}'),
            entry("function.call", "fc", 4, **by, agent_id="ag_2", name="g", tool_call_id="call_1", arguments="{}"),
        ],
        "usage": {
            "prompt_tokens": 215, "completion_tokens": 19, "total_tokens": 239, "connector_tokens": 5,
            "connectors": {"code_interpreter": 1},
        },
        "guardrails": None,
    }  # fmt: skip
    assert document(Script("Hel", "lo"))["outputs"][0]["content"] == "Hello"


def test_a_conversation_keeps_its_id_and_gets_another_where_it_begins_again():
    def id_of(path, **fields):
        return events_of(b"".join(pieces(CODEC.encoder(request(path, **fields), 7), Script("a"))))[0]["conversation_id"]

    assert id_of("/v1/conversations/conv_x", inputs="Hi") == "conv_x"
    assert id_of("/v1/conversations") == f"conv_{7:032x}"
    assert id_of("/v1/conversations/conv_x/restart", from_entry_id="msg_1") == f"conv_{7:032x}"


def test_calls_in_an_order_that_no_api_has_are_sent_as_they_are():
    script = Script(
        ToolCall(None, '{"x":1}', index=1), ToolCall("a", index=0), ToolCall("b", index=0), ToolCall(None, "2", index=1),
        allow_illegal=True,
    )  # fmt: skip
    calls = [(e["name"], e["arguments"]) for e in said(script) if e["type"] == "function.call.delta"]
    assert calls == [("", '{"x":1}'), ("a", ""), ("b", ""), ("", "2")]
    assert len(document(script)["outputs"]) == 4


# -- any script -------------------------------------------------------------------------------------------


@strategies.fewer(3)
@given(strategies.small_scripts | strategies.scripts)
def test_any_stream_is_read_alike_however_it_is_cut_and_says_what_was_scripted(script):
    body = encoded(script)
    whole = fed([body])
    for size in (1, 3, 50):
        assert fed(body[at : at + size] for at in range(0, len(body), size)) == whole
    read = legal_or_not(whole)
    texts = [event for event in script if isinstance(event, (Text, Refusal))]
    assert read.text == "".join(event.text for event in texts if not event.choice)
    assert read.reasoning == script.reasoning
    if script.fault is None:
        calls = [(c.name, c.arguments or "{}") for c in script.tool_calls]
        assert [(c.name, c.arguments) for c in read.tool_calls] == calls


@given(st.binary(max_size=80) | strategies.texts.map(lambda text: f"data: {text}\n\n".encode()))
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(WireError):
        CODEC.decode(data)


# -- requests ---------------------------------------------------------------------------------------------


def test_a_request_is_read():
    found = request(
        instructions="Be brief.", tools=[{"type": "web_search"}, {"type": "function", "function": {"name": "f", "parameters": {}}}],
        inputs=[
            {"role": "user", "content": "Hi"},
            {"type": "message.output", "content": [{"type": "text", "text": "Hello"}]},
            {"type": "function.call", "name": "f", "arguments": '{"x":1}', "tool_call_id": "c1"},
            {"type": "function.result", "tool_call_id": "c1", "result": "42"},
            {"type": "tool.execution", "name": "web_search", "arguments": ""},
        ],
        completion_args={"temperature": 0},
    )  # fmt: skip

    assert (found.api, found.model, found.stream, found.tools) == (
        "mistral.conversations",
        "mistral-fake",
        True,
        ("web_search", "f"),
    )
    assert found.options == {"completion_args": {"temperature": 0}}
    assert found.messages == (
        Message("system", "Be brief."),
        Message("user", "Hi"),
        Message("assistant", "Hello"),
        Message("assistant", tool_calls=(ToolCall("f", '{"x":1}', id="c1", index=0),)),
        Message("tool", "42", tool_call_id="c1"),
        Message("assistant", tool_calls=(ToolCall("web_search", "", index=0),)),
    )
    again = request("/v1/conversations/conv_1", inputs="More")
    assert (again.text, again.options, again.model) == ("More", {"conversation_id": "conv_1"}, "")


@each(
    "path, fields, kind, loc",
    [
        ("", {"model": "m"}, "missing", ["inputs"]),
        ("", {"inputs": "Hi"}, "value_error", []),
        ("", {**ASKED, "temperature": 1}, "extra_forbidden", ["temperature"]),
        ("", {**ASKED, "tools": {}}, "list_type", ["tools"]),
        ("", {**ASKED, "tools": [{"type": "function"}]}, "missing", ["tools", 0, "function"]),
        ("", {**ASKED, "inputs": ["Hi"]}, "model_attributes_type", ["inputs", 0]),
        ("", {**ASKED, "inputs": [{"type": 5, "content": "x"}]}, "union_tag_invalid", ["inputs", 0]),
        ("", {**ASKED, "inputs": [{"type": "later"}]}, "union_tag_invalid", ["inputs", 0]),
        ("", {**ASKED, "inputs": [{"role": 5, "content": "x"}]}, "string_type", ["inputs", 0, "message.input", "role"]),
        ("", {**ASKED, "inputs": [{"role": "user"}]}, "missing", ["inputs", 0, "message.input", "content"]),
        ("", {**ASKED, "inputs": [{"type": "function.result", "tool_call_id": "c", "result": 5}]}, "string_type", ["inputs", 0, "function.result", "result"]),
        ("", {**ASKED, "inputs": [{"type": "function.call", "name": "f", "tool_call_id": 5, "arguments": {}}]}, "string_type", ["inputs", 0, "function.call", "tool_call_id"]),
        ("", {**ASKED, "tools": [{"type": ["x"]}]}, "string_type", ["tools", 0, "type"]),
        ("/c", {"inputs": "Hi", "model": "m"}, "extra_forbidden", ["model"]),
        ("/c/restart", {"inputs": "Hi"}, "missing", ["from_entry_id"]),
        ("/c", {"store": "maybe"}, "bool_parsing", ["store"]),
    ],
)  # fmt: skip
def test_a_request_of_the_wrong_form_gets_a_list_of_what_is_wrong(path, fields, kind, loc):
    with pytest.raises(WireError) as error:
        CODEC.request(fields, path=f"/v1/conversations{path}")
    (wrong,) = json.loads(error.value.body)["detail"]
    assert (error.value.status, wrong["type"], wrong["loc"]) == (422, kind, ["body", *loc])
