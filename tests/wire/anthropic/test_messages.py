"""Anthropic's Messages: the codec against recordings, against the official SDK, and against itself."""

from __future__ import annotations

import base64
import contextlib
import json
from dataclasses import replace
from typing import get_args

import anthropic
import corpus
import pytest
import sdks
import strategies
from anthropic.types import RawMessageStreamEvent, StopReason
from hypothesis import example, given
from hypothesis import strategies as st
from nesting import depths, nested
from pydantic import TypeAdapter, ValidationError
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
    stall,
)
from fakellm.contracts.grammar.check import check_wire
from fakellm.errors import WireError
from fakellm.script.events import Native, Raw
from fakellm.script.messages import Message
from fakellm.wire.anthropic.messages import MessagesCodec
from fakellm.wire.codec import pieces

CODEC = MessagesCodec()
ASKED = {"model": "claude-fake", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]}
EVENTS = TypeAdapter(RawMessageStreamEvent)

both = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


def native(**data):
    return Native("anthropic.messages", data)


def request(**fields):
    return CODEC.request({**ASKED, "stream": True, **fields})


def steps(script, number=1):
    return list(pieces(CODEC.encoder(request(), number, script.usage), script))


def encoded(script, number=1):
    """Return the bytes of a stream, up to the fault that ends it."""
    return sent(steps(script, number))


def events_of(body):
    """Return the data of the server-sent events, but for pings."""
    return [event for sse in sse_of(body) if (event := json.loads(sse.data))["type"] != "ping"]


def document(script):
    return json.loads(CODEC.body(script, CODEC.request(ASKED), 1))


def create(body, *, asynchronous=False, **options):
    """Return the chunks that the SDK gives, and the exception that ended them."""
    client = sdks.anthropic_client(body, asynchronous=asynchronous, **options)
    chunks = []

    async def read():
        async for chunk in await client.messages.create(**ASKED, stream=True):
            chunks.append(chunk)

    try:
        if asynchronous:
            sdks.run(read())
        else:
            for chunk in client.messages.create(**ASKED, stream=True):
                chunks.append(chunk)
    except anthropic.APIError as error:
        return chunks, error
    return chunks, None


def final_message(body, *, asynchronous=False):
    """Return the texts and the message that the SDK's stream helper gives."""
    client = sdks.anthropic_client(body, asynchronous=asynchronous)

    async def read():
        async with client.messages.stream(**ASKED) as stream:
            texts = await sdks.collect(stream.text_stream)
            return texts, await stream.get_final_message()

    if asynchronous:
        return sdks.run(read())
    with client.messages.stream(**ASKED) as stream:
        return list(stream.text_stream), stream.get_final_message()


def plain(message):
    """Return what a message of the SDK says, but for its id and model."""
    found = sdks.without_nulls(message if isinstance(message, dict) else sdks.dumped([message])[0])
    return {
        key: value
        for key, value in found.items()
        if key in ("content", "stop_reason", "stop_sequence", "stop_details", "usage")
    }


# -- recordings -----------------------------------------------------------------------------------


def said(chunks):
    """Return what chunks say, in order: each begin of a block, each delta, and at the end reason and usage.

    The input of tools that the provider runs itself is joined, since it is a field of a native block.
    """
    told, usage, streamed = [], {}, {}
    for chunk in sdks.without_nulls(chunks):
        kind, delta = chunk["type"], chunk.get("delta", {})
        if kind == "message_start":
            usage = chunk["message"]["usage"]
        elif kind == "content_block_start":
            told.append(chunk["content_block"])
            if chunk["content_block"]["type"] not in ("tool_use", "text", "thinking"):
                streamed[chunk["index"]] = ""
        elif "partial_json" in delta and chunk["index"] in streamed:
            streamed[chunk["index"]] += delta["partial_json"]
        elif kind == "content_block_delta":
            told.append((chunk["index"], delta))
        elif kind == "content_block_stop":
            whole = streamed.get(chunk["index"])
            told.append(json.loads(whole) if whole else "stop")
        elif kind == "message_delta":
            usage = {**usage, **chunk["usage"]}
            told.append({key: value for key, value in chunk.items() if key != "usage"})
    return told, usage


recorded = pytest.mark.parametrize("row", corpus.expected_of("anthropic.messages"))


def recording(row):
    return corpus.body(row["file"], row["idx"])


@corpus.needs_corpus
@each(recorded)
def test_a_recorded_stream_written_again_says_the_same_in_the_same_pieces(row):
    chunks, error = create(encoded(CODEC.decode(recording(row))))

    assert error is None
    assert row["end"] == "ok"
    assert said(sdks.dumped(chunks)) == said(corpus.chunks(row))


@corpus.needs_corpus
@each(recorded)
def test_a_recorded_stream_written_again_adds_up_to_the_same_message(row):
    _, message = final_message(encoded(CODEC.decode(recording(row))))

    assert plain(message) == plain(corpus.final(row))


@corpus.needs_corpus
@each(recorded)
def test_a_recorded_stream_written_as_a_document_is_the_same_message(row):
    def content(found):
        return [
            block for block in found["content"] if block["type"] != "mcp_tool_use"
        ]  # the SDK leaves its input empty

    written, final = plain(document(CODEC.decode(recording(row)))), plain(corpus.final(row))

    assert content(written) == content(final)
    assert {**written, "content": []} == {**final, "content": []}


@corpus.needs_corpus
@each(recorded)
def test_a_recorded_stream_is_a_legal_script_and_stays_the_same(row):
    script = CODEC.decode(recording(row))

    assert not script.allow_illegal
    assert script.fault is None
    assert CODEC.decode(encoded(script)) == script
    assert Script.from_json(script.to_json()) == script


@corpus.needs_corpus
@each(recorded)
def test_a_recorded_stream_is_read_alike_however_it_is_cut(row):
    body = recording(row)
    whole = fed([body])
    for size in (1, 64) if len(body) < 4000 else (61,):
        assert fed(body[at : at + size] for at in range(0, len(body), size)) == whole


def test_todays_usual_stream_is_read_without_natives_and_extras():
    usage = {
        "input_tokens": 542, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 62,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "service_tier": "standard", "inference_geo": "not_available",
    }  # fmt: skip
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}, "caller": {"type": "direct"}}
    delta = {"stop_reason": "tool_use", "stop_sequence": None, "stop_details": None}
    body = stream(
        {"type": "message_start", "message": {"model": "m", "id": "msg_1", "content": [], "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": call},
        {"type": "ping"},
        *(content_delta(0, "input_json_delta", partial_json=text) for text in ("", '{"x"', ": 1}")),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": delta, "usage": {"input_tokens": 542, "output_tokens": 62}},
        {"type": "message_stop"},
    )

    assert CODEC.decode(body) == Script(
        ToolCall("f", id="toolu_1"), ToolCall(arguments='{"x"'), ToolCall(arguments=": 1}"),
        Finish("tool_calls"), Usage(542, 62, cached_tokens=0),
    )  # fmt: skip


def test_a_recorded_refusal_without_any_block_keeps_its_details():
    details = {"type": "refusal", "category": "cyber", "explanation": "Blocked.", "recommended_model": "m"}
    body = stream(
        {"type": "message_start", "message": {"usage": {"input_tokens": 18, "output_tokens": 1}}},
        {"type": "ping"},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "refusal", "stop_details": details},
            "usage": {"output_tokens": 5},
        },
        {"type": "message_stop"},
    )

    script = CODEC.decode(body)
    _, message = final_message(encoded(script))

    assert script.finish_reason == "content_filter"
    assert plain(message) == {
        "content": [], "stop_reason": "refusal", "stop_details": details,
        "usage": {"input_tokens": 18, "output_tokens": 5},
    }  # fmt: skip


# -- the official SDK -----------------------------------------------------------------------------


@both
def test_the_sdk_reads_the_chunks_of_a_text(asynchronous):
    texts, message = final_message(encoded(Script("Hel", "", "lo")), asynchronous=asynchronous)

    assert texts == ["Hel", "", "lo"]
    assert plain(message)["content"] == [{"type": "text", "text": "Hello"}]
    assert (message.stop_reason, message.model, message.id) == ("end_turn", "claude-fake", "msg_fakellm000001")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (1, 3)


@both
def test_the_sdk_reads_thinking_with_its_signature(asynchronous):
    script = Script(Reasoning("Let me "), Reasoning("think.", signature="sig"), "So: ", Reasoning("no"), "yes")

    _, message = final_message(encoded(script), asynchronous=asynchronous)

    made = base64.b64encode(b"fakellm: call 1, block 2").decode()
    assert plain(message)["content"] == [
        {"type": "thinking", "thinking": "Let me think.", "signature": "sig"},
        {"type": "text", "text": "So: "},
        {"type": "thinking", "thinking": "no", "signature": made},
        {"type": "text", "text": "yes"},
    ]


@both
def test_the_sdk_reads_tool_calls_in_pieces(asynchronous):
    script = Script(
        "Look: ", ToolCall("f", id="toolu_9"), ToolCall(arguments='{"x": '), ToolCall(arguments="[1]}"),
        ToolCall("g"), ToolCall("h", {"y": "\u00e9"}),
    )  # fmt: skip

    _, message = final_message(encoded(script), asynchronous=asynchronous)

    assert [(block.id, block.name, block.input) for block in message.content[1:]] == [
        ("toolu_9", "f", {"x": [1]}), ("call_1", "g", {}), ("call_2", "h", {"y": "\u00e9"}),
    ]  # fmt: skip
    assert message.stop_reason == "tool_use"
    assert [block.caller.type for block in message.content[1:]] == ["direct"] * 3


@both
def test_the_sdk_reads_blocks_that_only_this_api_has(asynchronous):
    found = [{"type": "web_search_result", "title": "T", "url": "https://e.org", "encrypted_content": "E"}]
    citation = {
        "type": "web_search_result_location", "cited_text": "c", "url": "https://e.org", "title": "T",
        "encrypted_index": "I",
    }  # fmt: skip
    script = Script(
        native(type="redacted_thinking", data="abc"),
        native(type="server_tool_use", id="srvtoolu_1", name="web_search", input={"query": "q"}),
        native(type="web_search_tool_result", tool_use_id="srvtoolu_1", content=found),
        "plain",
        native(type="text", text="", citations=[]),
        native(type="citations_delta", citation=citation),
        "cited",
        native(type="text", text="more"),
        " text",
    )

    _, message = final_message(encoded(script), asynchronous=asynchronous)

    expected = [
        {"type": "redacted_thinking", "data": "abc"},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": found},
        {"type": "text", "text": "plain"},
        {"type": "text", "text": "cited", "citations": [citation]},
        {"type": "text", "text": "more text"},
    ]
    assert plain(message)["content"] == expected
    assert document(script)["content"] == expected
    assert message.stop_reason == "end_turn"


def test_a_citation_opens_a_text_block_where_none_is_open():
    script = Script(native(type="citations_delta", citation={"type": "char_location"}), "cited")

    assert document(script)["content"] == [{"type": "text", "text": "cited", "citations": [{"type": "char_location"}]}]


def test_a_native_tool_use_is_a_tool_call_to_the_stop_reason():
    script = Script(native(type="tool_use", id="toolu_1", name="f", input={"x": 1}))

    _, message = final_message(encoded(script))

    assert (message.content[0].input, message.stop_reason) == ({"x": 1}, "tool_use")


def test_a_native_tool_use_without_a_name_belongs_to_the_next_call():
    caller = {"type": "code_execution_20250825", "tool_id": "srvtoolu_1"}
    script = Script(
        native(type="tool_use", caller=caller), ToolCall("f"), native(type="tool_use", caller=None), ToolCall("g")
    )

    first, second = document(script)["content"]

    assert first["caller"] == caller
    assert "caller" not in second
    assert CODEC.decode(encoded(script)).choices == (0,)
    assert [event for event in CODEC.decode(encoded(script)) if isinstance(event, Native)] == [script[0], script[2]]


def test_a_native_thinking_block_is_whole_or_goes_on():
    script = Script(
        native(type="thinking", thinking="a", signature="s"),
        native(type="thinking", hue=3),
        Reasoning("b", signature="t"),
    )

    assert document(script)["content"] == [
        {"type": "thinking", "thinking": "a", "signature": "s"},
        {"type": "thinking", "thinking": "b", "signature": "t", "hue": 3},
    ]


def test_a_native_message_delta_stands_beside_the_stop_reason():
    script = Script("a", native(type="message_delta", context_management={"applied_edits": []}))

    assert events_of(encoded(script))[-2]["context_management"] == {"applied_edits": []}
    assert document(script)["context_management"] == {"applied_edits": []}
    assert CODEC.decode(encoded(script))[1] == script[1]


def test_natives_of_other_apis_and_other_answers_are_left_out():
    script = Script(
        "a", Native("openai.chat", {"x": 1}), Text("b", choice=1), ToolCall("f", choice=1), Finish(choice=1)
    )

    assert document(script)["content"] == [{"type": "text", "text": "a"}]
    assert document(script)["stop_reason"] == "end_turn"


@each("data", [{}, {"text": "a"}, {"type": ""}, {"type": 3}])
def test_a_native_that_is_no_block_is_refused(data):
    with pytest.raises(WireError, match="Native of anthropic|'type' is 3"):
        encoded(Script(Native("anthropic.messages", data)))


@each(both)
@each("reason", get_args(StopReason))
def test_the_sdk_reads_each_stop_reason(reason, asynchronous):
    neutral = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls", "refusal": "content_filter"}
    extra = {"stop_sequence": "###"} if reason == "stop_sequence" else None
    finish = Finish(neutral.get(reason, reason), extra=extra)

    _, message = final_message(encoded(Script("a", finish)), asynchronous=asynchronous)

    assert (message.stop_reason, message.stop_sequence) == (reason, extra and "###")
    assert CODEC.decode(encoded(Script("a", finish)))[1] == finish
    assert CODEC.decode(encoded(Script("a", Finish(reason))))[1].reason == neutral.get(reason, reason)
    assert document(Script("a", finish))["stop_reason"] == reason


@both
def test_the_sdk_reads_the_usage(asynchronous):
    extra = {
        "cache_creation_input_tokens": 30,
        "service_tier": "priority",
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
    }
    usage = Usage(100, 7, cached_tokens=20, reasoning_tokens=3, extra=extra)

    _, message = final_message(encoded(Script("a", Finish(), usage)), asynchronous=asynchronous)

    expected = {
        "input_tokens": 50, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 30, "output_tokens": 7,
        "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 0},
        "output_tokens_details": {"thinking_tokens": 3}, "inference_geo": "not_available", **extra,
    }  # fmt: skip
    assert plain(message)["usage"] == expected
    assert document(Script("a", usage))["usage"] == expected
    read = CODEC.decode(encoded(Script("a", usage))).usage
    assert (read, json.loads(read.extra)) == (replace(usage, extra=read.extra), extra)


def test_the_last_of_several_usages_counts():
    events = events_of(encoded(Script(Usage(3, 1), "a", Usage(3, 5), Finish(), Usage(4, 9))))

    assert events[0]["message"]["usage"]["input_tokens"] == 4
    assert events[0]["message"]["usage"]["output_tokens"] == 1
    assert [event["usage"]["output_tokens"] for event in events if event["type"] == "message_delta"] == [9]


def test_no_output_at_all_may_be_scripted():
    events = events_of(encoded(Script(Usage(3, 0))))

    assert events[0]["message"]["usage"]["output_tokens"] == 0
    assert events[-2]["usage"]["output_tokens"] == 0


def test_a_usage_that_is_not_known_when_the_stream_begins_is_waited_for():
    encoder = CODEC.encoder(request(), 1)
    script = Script("a", Finish(), Usage(5, 8))

    written = b"".join(pieces(encoder, script))

    assert events_of(written)[-2]["usage"]["output_tokens"] == 8


def test_a_finish_reason_is_sent_before_the_silence_that_follows_it():
    for script in (Script("a", Finish(), Pause(1)), Script("a", Finish(), Usage(1, 1), Pause(1))):
        before, _, after = steps(script)[-3:]

        assert before.startswith(b"event: message_delta")
        assert after == b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


@both
def test_the_sdk_reads_a_document(asynchronous):
    script = Script(Reasoning("hm", signature="s"), "a", Refusal("b"), ToolCall("f", {"x": 1}), Usage(3, 2))
    client = sdks.anthropic_client(
        CODEC.body(script, CODEC.request(ASKED), 7),
        asynchronous=asynchronous,
        content_type="application/json",
        headers=CODEC.headers(7),
    )

    async def ask():
        return await client.messages.create(**ASKED)

    message = sdks.run(ask()) if asynchronous else client.messages.create(**ASKED)

    assert message._request_id == "req_fakellm000007"
    assert type(message).model_validate(message.model_dump(by_alias=True)) == message
    assert plain(message)["content"] == plain(final_message(encoded(script))[1])["content"]
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
    assert (message.id, message.stop_reason, message.usage.output_tokens) == ("msg_fakellm000007", "tool_use", 2)


@each("arguments", ["{", "[1]", "null", '"x"'])
def test_a_document_cannot_hold_arguments_that_are_no_object(arguments):
    script = Script(ToolCall("f", arguments))

    with pytest.raises(WireError, match="the arguments of f"):
        document(script)
    assert CODEC.decode(encoded(script)).tool_calls[0].arguments == arguments


def test_raw_text_and_a_cut_event_go_out_as_they_are():
    body = encoded(Script("a", Raw(": hello\n\n"), "b", disconnect("cut")))

    assert b"\n\n: hello\n\nevent: " in body
    assert len(create(body)[0]) == 4
    assert CODEC.decode(body).fault in (disconnect("cut"), disconnect("end"))


# -- invariants -----------------------------------------------------------------------------------

OWN = ("anthropic_messages.input_json", "anthropic_messages.tool_use")
"""The rules about what a script says, not about how it is written."""


def check_grammar(body, *, complete=True):
    """Check everything that held in all recorded streams, as far as the stream goes; return reason and blocks."""
    problems = check_wire(body, api="anthropic_messages", ignore=OWN).problems
    assert [problem.rule.id for problem in problems] in ([], [] if complete else ["anthropic_messages.message_stop"])
    reason, blocks = None, []
    for event in events_of(body):
        if event["type"] == "content_block_start":
            blocks.append(event["content_block"]["type"])
        if event["type"] == "message_delta":
            reason = event["delta"]["stop_reason"]
            event["delta"]["stop_reason"] = "end_turn"  # the types know no reasons of a script's own
        EVENTS.validate_python(event)
    return reason, blocks


def without_fault(script):
    return Script(*(event for event in script if event is not script.fault))


def before_the_error(body):
    """Return the stream without the error that it may end with."""
    return body.partition(b"event: error")[0].partition(b'data: {"type":"error"')[0]


@strategies.fewer(3)
@given((strategies.small_scripts | strategies.scripts).map(without_fault), st.integers(1, 10**7))
@example(Script(), 1)
@example(Script(native(type="server_tool_use", id="a", name="web_search", input={}), native(type="text", text="")), 1)
@example(Script(native(type="tool_use", id="a", name="f", input={"x": 1}), native(type="thinking", thinking="hm")), 1)
def test_every_stream_keeps_what_holds_in_all_recorded_ones(script, number):
    reason, blocks = check_grammar(encoded(script, number))

    if not any(isinstance(event, Finish) for event in script):
        assert reason == ("tool_use" if "tool_use" in blocks else "end_turn")


@strategies.fewer(3)
@given((strategies.small_scripts | strategies.scripts).filter(lambda script: script.fault))
@example(Script("a", ToolCall("f", "{"), provider_error()))
@example(Script("a", Finish(), disconnect("end")))
@example(Script(Reasoning("a"), stall()))
def test_a_broken_stream_is_a_begin_of_the_whole_one(script):
    broken, whole = before_the_error(encoded(script)), encoded(without_fault(script))

    if script.fault == disconnect("cut"):
        broken = broken[: broken.rindex(b"\n\n") + 2] if b"\n\n" in broken else b""
    assert whole.startswith(broken)
    if broken:
        check_grammar(broken, complete=False)


def test_the_strict_types_catch_a_field_that_is_missing():
    for event in events_of(encoded(Script("a", Reasoning("b"), ToolCall("c")))):
        EVENTS.validate_python(event)
        for name in set(event) - {"type"}:
            with pytest.raises(ValidationError):
                EVENTS.validate_python({key: value for key, value in event.items() if key != name})


def test_calls_have_ids_of_their_own_and_nothing_else_differs():
    script = Script(Reasoning("a"), "b", ToolCall("f"))

    first, second = encoded(script, 1), encoded(script, 2)

    assert encoded(script, 1) == first
    assert first != second
    made = {number: base64.b64encode(f"fakellm: call {number}, block 0".encode()) for number in (1, 2)}
    assert first.replace(b"msg_fakellm000001", b"msg_fakellm000002").replace(made[1], made[2]) == second


# -- errors ---------------------------------------------------------------------------------------

STATUSES = {
    400: ("BadRequestError", "invalid_request_error"),
    401: ("AuthenticationError", "authentication_error"),
    402: ("APIStatusError", "billing_error"),
    403: ("PermissionDeniedError", "permission_error"),
    404: ("NotFoundError", "not_found_error"),
    408: ("APIStatusError", "timeout_error"),
    409: ("ConflictError", "conflict_error"),
    413: ("APIStatusError", "request_too_large"),
    418: ("APIStatusError", "invalid_request_error"),
    422: ("UnprocessableEntityError", "invalid_request_error"),
    429: ("RateLimitError", "rate_limit_error"),
    500: ("InternalServerError", "api_error"),
    503: ("APIStatusError", "api_error"),
    504: ("APIStatusError", "timeout_error"),
    529: ("APIStatusError", "overloaded_error"),
}


def refused(fault, *, asynchronous=False):
    headers, body = CODEC.error(fault, 3)
    headers = [(name, value) for name, value in headers if name != "content-type"]
    _, error = create(
        body, asynchronous=asynchronous, status=fault.status, content_type="application/json", headers=headers
    )
    return error


@each(both)
@each("status", STATUSES)
def test_the_sdk_raises_its_own_exception_for_each_status(status, asynchronous):
    name, kind = STATUSES[status]

    error = refused(http_error(status, "Slow down, please", retry_after=2.5), asynchronous=asynchronous)

    assert isinstance(error, getattr(anthropic, name))
    assert error.status_code == status
    assert error.body["error"] == {"type": kind, "message": "Slow down, please"}
    assert "Slow down, please" in str(error)
    assert error.request_id == error.body["request_id"] == "req_fakellm000003"
    assert error.response.headers["retry-after"] == "2.5"


@each(("seconds", "header"), [(0, "0"), (7, "7"), (0.25, "0.25"), (10**7, "10000000")])
def test_retry_after_is_a_plain_number(seconds, header):
    assert dict(CODEC.error(http_error(429, retry_after=seconds), 1)[0])["retry-after"] == header


def test_kind_code_and_body_of_an_http_error_may_be_given():
    error = refused(http_error(429, "m", kind="overloaded_error", code="too_hot"))
    bare = CODEC.error(http_error(502, body="<html>Bad gateway</html>"), 1)

    assert error.body["error"] == {"type": "overloaded_error", "message": "m", "details": {"error_code": "too_hot"}}
    assert "retry-after" not in error.response.headers
    assert bare[1] == b"<html>Bad gateway</html>"
    assert isinstance(refused(http_error(502, body="<html>")), anthropic.InternalServerError)


@both
def test_the_sdk_raises_an_error_that_is_reported_in_the_stream(asynchronous):
    body = encoded(Script("Hel", provider_error("Overloaded", "overloaded_error")))

    chunks, error = create(body, asynchronous=asynchronous)

    assert [chunk.type for chunk in chunks] == ["message_start", "content_block_start", "content_block_delta"]
    assert error.body["error"] == {"type": "overloaded_error", "message": "Overloaded"}
    assert "Overloaded" in str(error)


@both
def test_the_sdk_passes_over_an_error_without_the_name(asynchronous):
    chunks, error = create(encoded(Script("Hel", provider_error(named=False))), asynchronous=asynchronous)

    assert len(chunks) == 3
    assert error is None


@each("named", [None, True, False])
@each("kind", ["server_error", "overloaded_error"])
@each("code", [None, "too_hot"])
def test_an_error_in_the_stream_is_read_as_it_was_written(named, kind, code):
    fault = provider_error("m", kind, code, named)
    body = encoded(Script("a", ToolCall("f"), fault))

    assert CODEC.decode(body)[-1] == replace(fault, named=named and None)
    assert (b"event: error" in body) == (named is not False)
    assert sse_of(body)[-1].data.startswith('{"type":"error","error":{"type":"')
    assert (b'"api_error"' in body) == (kind == "server_error")


@each(
    ("data", "expected"),
    [
        ('{"type":"error","error":{"details":null,"type":"overloaded_error","message":"Overloaded"}}', provider_error("Overloaded", "overloaded_error")),
        ('{"error":"no"}', provider_error("no")),
        ('{"message":"no"}', provider_error("no")),
        ('{"error":{"type":null,"message":{"a":1},"details":[1]}}', provider_error("{'a': 1}")),
    ],
)  # fmt: skip
def test_errors_of_other_shapes_are_read(data, expected):
    assert CODEC.decode(f"event: error\ndata: {data}\n\n".encode()) == Script(expected)


# -- requests -------------------------------------------------------------------------------------


@each("missing", ["model", "messages", "max_tokens"])
def test_a_request_without_a_required_field_is_refused_as_anthropic_does(missing):
    with pytest.raises(WireError, match=f"^{missing}: Field required$"):
        CODEC.request({key: value for key, value in ASKED.items() if key != missing})


@each(
    "body",
    [
        None,
        [],
        "x",
        {**ASKED, "messages": 3},
        {**ASKED, "messages": [3]},
        {**ASKED, "model": 3},
        {**ASKED, "tools": {}},
    ],
)
def test_a_request_of_another_shape_is_refused(body):
    with pytest.raises(WireError):
        CODEC.request(body)


def test_a_request_is_read():
    body = {
        **ASKED, "stream": True, "temperature": 0, "system": "Be kind.",
        "tools": [{"name": "f", "input_schema": {}}, {"type": "web_search_20250305", "name": "web_search"}, {"type": "x_toolset"}],
    }  # fmt: skip

    read = CODEC.request(body)

    assert read.messages == (Message("system", "Be kind."), Message("user", "Hi"))
    assert (read.api, read.model, read.stream, read.choices) == ("anthropic.messages", "claude-fake", True, 1)
    assert read.tools == ("f", "web_search", "x_toolset")
    assert read.options == {"max_tokens": 64, "temperature": 0}
    assert read.json is body
    assert read.text == "Hi"


def test_the_blocks_of_messages_are_read():
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": 1}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image", "source": {}}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "c"}, call, {**call, "id": "toolu_2", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": "one"},
            {"type": "tool_result", "tool_use_id": "toolu_2", "content": [{"type": "text", "text": "tw"}, {"type": "text", "text": "o"}, {"type": "image"}]},
            {"type": "text", "text": "go on"},
        ]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_3"}]},
        {"role": "user", "content": []},
    ]  # fmt: skip

    read = CODEC.request(
        {**ASKED, "system": [{"type": "text", "text": "s"}, {"type": "text", "text": "t"}], "messages": messages}
    )

    assert read.messages == (
        Message("system", "st"),
        Message("user", "ab"),
        Message("assistant", "c", reasoning="hm", tool_calls=(ToolCall("f", '{"x":1}', id="toolu_1", index=0), ToolCall("f", "{}", id="toolu_2", index=1))),
        Message("tool", "one", tool_call_id="toolu_1"),
        Message("tool", "two", tool_call_id="toolu_2"),
        Message("user", "go on"),
        Message("tool", "", tool_call_id="toolu_3"),
        Message("user", ""),
    )  # fmt: skip


def test_what_the_sdk_sends_back_is_read():
    seen = []
    script = Script(Reasoning("hm", signature="s"), "a", ToolCall("f", {"x": 1}))
    message = final_message(encoded(script))[1]
    client = sdks.anthropic_client(encoded(Script("b")), seen=seen)
    answer = {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": message.content[2].id, "content": "3"}],
    }
    back = {"role": "assistant", "content": message.content}
    client.messages.create(model="m", max_tokens=1, messages=[*ASKED["messages"], back, answer], stream=True)

    read = CODEC.request(json.loads(seen[0].content))

    assert read.messages[1] == Message(
        "assistant", "a", reasoning="hm", tool_calls=(ToolCall("f", '{"x":1}', id="call_0", index=0),)
    )
    assert read.messages[2] == Message("tool", "3", tool_call_id="call_0")


# -- reading --------------------------------------------------------------------------------------


def stream(*events):
    """Return a body of the events, each a mapping."""
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def content_delta(index, kind, **fields):
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def block(index, start, *deltas):
    """Return the events of a whole block."""
    events = (content_delta(index, kind, **fields) for kind, fields in deltas)
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *events,
        {"type": "content_block_stop", "index": index},
    ]


END = [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}]
USUAL = [Finish()]


def fed(parts):
    decoder = CODEC.decoder()
    events = [event for part in parts for event in decoder.feed(part)]
    return [*events, *decoder.close()]


RICH = encoded(
    Script(
        Reasoning("h\u00e9"), Reasoning("", signature="s"), "a", native(type="text", citations=[]),
        native(type="citations_delta", citation={"type": "char_location"}), "\U0001f600",
        native(type="server_tool_use", id="srvtoolu_1", name="web_search", input={"q": "x"}),
        ToolCall("f", '{"x":1}'), ToolCall("g"), Finish("tool_calls"),
        Usage(9, 5, cached_tokens=2, extra={"iterations": []}),
    )
)  # fmt: skip


@pytest.mark.exhaustive
def test_a_stream_is_read_alike_whole_byte_by_byte_and_cut_anywhere():
    whole = fed([RICH])

    assert Script(*whole).fault is None
    assert fed(RICH[at : at + 1] for at in range(len(RICH))) == whole
    for at in range(0, len(RICH), 3):
        assert fed([RICH[:at], RICH[at:]]) == whole
    assert fed([RICH.replace(b"\n", b"\r\n")]) == fed([RICH.replace(b"\n", b"\r")]) == whole


@each("at", range(0, len(RICH), 37))
def test_a_stream_that_stops_anywhere_is_a_begin_with_a_disconnect(at):
    events = fed([RICH[:at]])

    assert events[-1] in (disconnect("end"), disconnect("cut"))
    begin = [event for event in events[:-1] if event != Usage(9, 1, cached_tokens=2)]  # what message_start counted
    held = [event for event in begin if isinstance(event, Native) and b"tool_use" in event.data.encode()]
    assert begin == fed([RICH])[: len(begin)] or held


def test_an_input_that_was_still_coming_is_kept():
    tool = {"type": "server_tool_use", "id": "a", "name": "web_search", "input": {}}
    began = [
        *block(0, tool, ("input_json_delta", {"partial_json": ""}), ("input_json_delta", {"partial_json": '{"q'}))[:-1]
    ]
    start, delta = native(**tool), native(type="input_json_delta", partial_json='{"q')

    assert CODEC.decode(stream(*began)) == Script(start, delta, disconnect("end"))
    assert CODEC.decode(stream(*began[:1])) == Script(start, disconnect("end"))
    error = {"type": "error", "error": {"type": "api_error", "message": "m"}}
    assert CODEC.decode(stream(*began, error)) == Script(start, delta, provider_error("m"))
    broken = Script(start, delta, Usage(1, 1, cached_tokens=0), disconnect("end"))
    assert CODEC.decode(encoded(broken)) == broken


@each("input", ['{"q', "[1]", "null", "3"])
def test_an_input_that_is_no_object_stays_in_pieces(input):
    tool = {"type": "server_tool_use", "id": "a", "name": "web_search", "input": {}}

    script = CODEC.decode(stream(*block(0, tool, ("input_json_delta", {"partial_json": input})), *END))

    assert script == Script(native(**tool), native(type="input_json_delta", partial_json=input), *USUAL)
    assert CODEC.decode(encoded(script))[:2] == script[:2]


@each(
    ("start", "deltas", "expected"),
    [
        ({"type": "text", "text": "a"}, [("text_delta", {"text": "b"})], [Text("a"), Text("b")]),
        ({"type": "text", "text": "", "citations": None}, [("text_delta", {"text": ""})], [Text("")]),
        ({"type": "text", "text": ""}, [], [native(type="text", text="")]),
        ({"type": "text"}, [("text_delta", {"text": "\ud800x"})], [Text("?x")]),
        ({"type": "text", "text": ""}, [("new_delta", {"x": 1})], [native(type="text", text=""), native(type="new_delta", x=1)]),
        ({"type": "text", "text": ""}, [("news", {"x": 1}), ("text_delta", {"text": "a"})], [Text("a")]),
        ({"type": "thinking", "thinking": "a"}, [], [Reasoning("a"), Reasoning("", signature="")]),
        ({"type": "thinking", "thinking": "", "signature": "s"}, [], [Reasoning("", signature="s")]),
        ({"type": "thinking"}, [("signature_delta", {"signature": "s"}), ("signature_delta", {"signature": "t"})], [Reasoning("", signature="s")]),
        ({"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}, "caller": {"type": "direct"}}, [], [ToolCall("f", id="a"), ToolCall(arguments='{"x":1}')]),
        ({"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}, "caller": {"type": "direct"}}, [("input_json_delta", {"partial_json": "{}"})], [ToolCall("f", id="a"), ToolCall(arguments="{}")]),
        ({"type": "tool_use", "id": "a", "name": "f", "toolset_name": "t"}, [], [native(type="tool_use", caller=None, toolset_name="t"), ToolCall("f", id="a")]),
        ({"type": "compaction", "content": None}, [("compaction_delta", {"content": "c"})], [native(type="compaction", content=None), native(type="compaction_delta", content="c")]),
        ({"type": "mcp_tool_use", "input": {}}, [("input_json_delta", {"partial_json": "{}"})], [native(type="mcp_tool_use", input={})]),
        ({"type": "new", "x": "\ud800"}, [], [native(type="new", x="?")]),
    ],
)  # fmt: skip
def test_blocks_that_are_not_usual_are_read(start, deltas, expected):
    script = CODEC.decode(stream(*block(0, start, *deltas), *END))

    assert script == Script(*expected, *USUAL)
    again = CODEC.decode(encoded(script))
    assert again[: len(expected)] == script[: len(expected)]


def test_text_blocks_that_follow_each_other_stay_apart():
    text = {"type": "text", "text": ""}
    body = stream(
        *block(0, text, ("text_delta", {"text": "a"})),
        *block(1, text, ("text_delta", {"text": "b"})),
        *block(2, text),
        *END,
    )

    script = CODEC.decode(body)

    assert script == Script("a", native(**text), "b", native(**text), *USUAL)
    assert [found["text"] for found in document(script)["content"]] == ["a", "b", ""]


def test_what_follows_the_end_is_passed_over():
    for more in (b"data: {", b"data: garbage\n\n", RICH, b"\xff\xfe"):
        assert fed([RICH, more]) == fed([RICH])


def test_pings_comments_new_events_and_events_without_a_name_are_no_matter():
    text = RICH.decode()
    unnamed = "\n".join(line for line in text.split("\n") if not line.startswith("event:"))
    noisy = text.replace(
        "\n\n", '\n\n: hello\n\nevent: ping\ndata: {"type": "ping"}\n\nevent: news\ndata: {"type":"news"}\n\n'
    )

    assert fed([unnamed.encode()]) == fed([noisy.encode()]) == fed([RICH])


def test_a_delta_of_a_block_that_is_not_open_is_refused():
    with pytest.raises(WireError, match="event 1 of the stream belongs to the content block 3, which is not open"):
        CODEC.decode(stream({"type": "ping"}, content_delta(3, "text_delta", text="a")))


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from(["", "text", "\ud800", "tool_use", "thinking", "x_delta", "{"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "text", "input", "error", "usage"]), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
PARSED = events_of(RICH)


PLACES = [(at, path) for at, event in enumerate(PARSED) for path in strategies.places(event)]


def only_wire_errors(body):
    """Read a body, and write what was read; neither may fail in any other way."""
    with contextlib.suppress(WireError):
        encoded(CODEC.decode(body))


@strategies.fewer(3)
@given(st.lists(st.tuples(st.sampled_from(PLACES), JUNK), min_size=1, max_size=3))
def test_values_of_any_kind_raise_nothing_but_wire_errors(changes):
    events = list(PARSED)
    for (at, path), junk in changes:
        try:
            events[at] = strategies.put(events[at], path, junk)
        except (KeyError, IndexError, TypeError, AttributeError):
            continue
    only_wire_errors(
        b"".join(
            f"event: {PARSED[at]['type']}\ndata: {json.dumps(event)}\n\n".encode() for at, event in enumerate(events)
        )
    )


@pytest.mark.exhaustive
@each(("at", "path"), PLACES)
@each("junk", [None, 3, -1, True, "x", [], {}, [None], {"type": None}, "\ud800"], ids=repr)
def test_a_value_of_another_kind_raises_nothing_but_wire_errors(at, path, junk):
    events = [strategies.put(event, path, junk) if place == at else event for place, event in enumerate(PARSED)]
    only_wire_errors(b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events))


@given(st.data())
def test_bytes_that_are_changed_raise_nothing_but_wire_errors(data):
    body = bytearray(RICH)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    only_wire_errors(bytes(body[: data.draw(st.integers(0, len(body)))]))


@given(st.binary(max_size=60), st.sampled_from([b"", b"data: ", b"event: error\ndata: ", b'data: {"type":"']))
def test_any_bytes_raise_nothing_but_wire_errors(body, before):
    only_wire_errors(before + body + b"\n\n")


@each(
    "around",
    [
        "%s",
        '{"type":"error","error":%s}',
        '{"type":"content_block_start","content_block":{"type":"new","x":%s}}',
        '{"type":"content_block_start","content_block":{"type":%s}}',
        '{"type":"message_start","message":%s}',
        '{"type":"message_delta","delta":{"stop_reason":"x","y":%s},"usage":{"z":%s},"v":%s}',
    ],
)
@each("bracket", ["[]", '{"a":}'], ids=["lists", "objects"])
@pytest.mark.exhaustive
def test_json_of_any_depth_raises_nothing_but_wire_errors(around, bracket):
    for depth in depths(bracket[:-1], bracket[-1])[::4]:
        deep = nested(depth, bracket[:-1], bracket[-1])
        with contextlib.suppress(WireError):
            CODEC.decode(f"data: {around.replace('%s', deep)}\n\n".encode())


# -- there and back -------------------------------------------------------------------------------


def normal(script):
    """Return the script as it comes back: tool calls begin without arguments, one finish reason and usage at the end."""
    events, pieces_said = [], 0
    for event in script:
        pieces_said += isinstance(event, (Text, Reasoning, Refusal, ToolCall))
        match event:
            case Text(text) | Refusal(text):
                events.append(Text(text))
            case Reasoning(text, signature=signature):
                events += [Reasoning(text)] if text or signature is None else []
                events += [Reasoning("", signature=signature)] if signature is not None else []
            case ToolCall(name, arguments):
                events += [replace(event, arguments="")] if name is not None else []
                events += [ToolCall(arguments=arguments, index=event.index)] if arguments else []
    usage = script.usage or Usage(1, max(pieces_said, 1))
    cached = usage.cached_tokens or 0
    usage = replace(usage, input_tokens=max(usage.input_tokens, cached), cached_tokens=cached)
    reason = script.finish_reason or ("tool_calls" if script.tool_calls else "stop")
    return [*events, Finish(reason), usage]


MADE = base64.b64encode(b"fakellm: call").decode()[:-4]


def is_made(event):
    return isinstance(event, Reasoning) and (event.signature or "").startswith(MADE)


@strategies.fewer(3)
@given(strategies.whole_scripts)
@example(Script(Reasoning("a", signature="b"), Reasoning("c")))
@example(Script(Reasoning(""), Reasoning("", signature="")))
def test_a_script_comes_back_as_it_was_written(script):
    read = CODEC.decode(encoded(script))

    assert not read.allow_illegal
    assert [event for event in read if not is_made(event)] == normal(script)
    assert CODEC.decode(encoded(read)) == read


@given(strategies.small_wild_scripts | strategies.wild_scripts)
def test_a_script_in_any_order_can_be_written_and_read(script):
    only_wire_errors(encoded(script))


@each(
    "usage",
    [
        {"input_tokens": 27, "output_tokens": 15},
        {"input_tokens": 18, "cache_creation_input_tokens": 1031, "cache_read_input_tokens": 5, "output_tokens": 1, "service_tier": "batch"},
        {"input_tokens": 3, "cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 2}, "cache_creation_input_tokens": 3, "output_tokens": 1},
        {"input_tokens": 3, "cache_creation": {"x": 1}, "output_tokens": 1, "server_tool_use": {"a": 1}, "new": [1], "speed": "fast"},
        {"input_tokens": 3, "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4, "other": 2}, "iterations": [{"type": "message"}]},
    ],
)  # fmt: skip
def test_a_usage_comes_back_to_the_last_field(usage):
    start = {"type": "message_start", "message": {"usage": usage}}
    body = encoded(CODEC.decode(stream(start, *END)))

    found = events_of(body)

    assert {**found[0]["message"]["usage"], **found[-2]["usage"]} == usage
