"""Bedrock's Converse: the codec against recordings and against itself; what boto3 makes of it is in test_boto3.py."""

from __future__ import annotations

import contextlib
import json

import corpus
import pytest
import recorded
import strategies
from hypothesis import example, given
from hypothesis import strategies as st
from sending import sent
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
from fakellm.cassette import script_of
from fakellm.errors import WireError
from fakellm.script.events import Native, Raw
from fakellm.script.messages import Message
from fakellm.wire.bedrock import ConverseCodec
from fakellm.wire.codec import legal_or_not, pieces
from fakellm.wire.eventstream import FrameDecoder, encode_frame

CODEC = ConverseCodec()
MODEL = "anthropic.claude-sonnet-4-5-20250929-v1:0"
PATH = f"/model/{MODEL.replace(':', '%3A')}/converse"
ASKED = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
CITATION = {"title": "Rain", "source": "doc", "location": {"web": {"url": "https://example.org/"}}}


def native(kind, **fields):
    return Native("bedrock.converse", {kind: fields})


def delta(**fields):
    return native("contentBlockDelta", delta=fields)


STOP = native("contentBlockStop")


def request(*, streams=True, **fields):
    return CODEC.request({**ASKED, **fields}, path=f"{PATH}{'-stream' if streams else ''}")


def steps(script, number=1):
    return list(pieces(CODEC.encoder(request(), number, script.usage), script))


def encoded(script, number=1):
    """Return the bytes of a stream, up to the fault that ends it."""
    return sent(steps(script, number))


def events_of(body):
    """Return the events of a stream by their types, without the padding."""
    found = []
    for frame in FrameDecoder().feed(body):
        document = json.loads(frame.payload)
        assert document.pop("p", "")
        assert list(document) == sorted(document)
        assert frame.headers == {
            ":event-type": frame.text(":event-type"), ":content-type": "application/json", ":message-type": "event",
        }  # fmt: skip
        found.append({frame.text(":event-type"): document})
    return found


def kinds(script):
    return [next(iter(event)) for event in events_of(encoded(script))]


def document(script):
    return json.loads(CODEC.body(script, request(streams=False), 1))


def stream(*events):
    """Return the bytes of a stream of these events."""
    return b"".join(
        encode_frame({":event-type": kind, ":message-type": "event"}, json.dumps(fields).encode())
        for event in events
        for kind, fields in event.items()
    )


def fed(parts):
    decoder = CODEC.decoder()
    return [*(event for part in parts for event in decoder.feed(part)), *decoder.close()]


# -- recordings -----------------------------------------------------------------------------------

streams = each(
    "row, found",
    [
        pytest.param(row, found, id=row["file"])
        for row, found in recorded.streams()
        if found["api"].startswith("bedrock.converse-stream")
    ],
)


@corpus.needs_corpus
@streams
def test_a_recorded_stream_written_again_is_the_same_but_for_its_padding(row, found):
    body = recorded.body(row, found)
    script = CODEC.decode(body)
    again = encoded(script)

    if found["framing"] == "json-lines":
        sent = list(map(json.loads, body.splitlines()))
        if "messageStart" not in sent[0]:  # the first and the last were taken out
            sent.insert(0, {"messageStart": {"role": "assistant"}})
        assert without_nulls(events_of(again)) == without_nulls(sent)
        assert (script.fault is None) is ("metadata" in sent[-1])
    else:
        assert events_of(again) == events_of(body)
        assert script.fault is None
    assert not script.allow_illegal
    assert CODEC.decode(again) == script
    assert Script.from_json(script.to_json()) == script
    for size in (1, 7, 64):
        assert fed(body[at : at + size] for at in range(0, len(body), size)) == list(script)


def without_nulls(value):
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


# -- streams ----------------------------------------------------------------------------------------


def test_a_stream_is_what_bedrock_sends():
    script = Script(
        Reasoning("hm"), Reasoning("", signature="c2ln"), "Hel", "lo", ToolCall("f", '{"x":', id="t_1"), ToolCall(arguments="1}"),
        Finish("tool_calls"), Usage(30, 4, 20, extra={"cacheWriteInputTokens": 7}),
    )  # fmt: skip
    body = encoded(script)

    assert events_of(body) == [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "c2ln"}}}},
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"text": "Hel"}}},
        {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"text": "lo"}}},
        {"contentBlockStop": {"contentBlockIndex": 1}},
        {"contentBlockStart": {"contentBlockIndex": 2, "start": {"toolUse": {"name": "f", "toolUseId": "t_1"}}}},
        {"contentBlockDelta": {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '{"x":'}}}},
        {"contentBlockDelta": {"contentBlockIndex": 2, "delta": {"toolUse": {"input": "1}"}}}},
        {"contentBlockStop": {"contentBlockIndex": 2}},
        {"messageStop": {"stopReason": "tool_use"}},
        {
            "metadata": {
                "metrics": {"latencyMs": 140},
                "usage": {
                    "cacheReadInputTokens": 20, "inputTokens": 3, "outputTokens": 4, "totalTokens": 34,
                    "cacheWriteInputTokens": 7,
                },
            }
        },
    ]  # fmt: skip
    assert CODEC.decode(body) == Script(
        Reasoning("hm"), Reasoning("", signature="c2ln"), "Hel", "lo", ToolCall("f", id="t_1"), ToolCall(arguments='{"x":'),
        ToolCall(arguments="1}"), Finish("tool_calls"), Usage(30, 4, 20, extra={"cacheWriteInputTokens": 7}),
    )  # fmt: skip
    assert document(script)["output"]["message"]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
        {"text": "Hello"},
        {"toolUse": {"name": "f", "toolUseId": "t_1", "input": {"x": 1}}},
    ]


def test_a_document_has_what_the_stream_has():
    beside = {"performanceConfig": {"latency": "standard"}, "trace": {"guardrail": {"actionReason": "none"}}}
    script = Script(
        "Hel", delta(citation=CITATION), "lo",
        delta(reasoningContent={"redactedContent": "AAA="}),
        native("contentBlockStart", start={"toolResult": {"toolUseId": "t", "type": "r", "status": "success"}}),
        delta(toolResult=[{"text": "a"}]), delta(toolResult=[{"json": {"b": 1}}]),
        native("contentBlockStart", start={"image": {"format": "png"}}), delta(image={"source": {"bytes": "AAA="}}),
        Finish("stop_sequence", extra={"additionalModelResponseFields": {"stop_sequence": "|"}}, beside=beside), Usage(3, 2),
    )  # fmt: skip

    assert CODEC.decode(encoded(script)) == script
    assert document(script) == {
        "output": {
            "message": {
                "content": [
                    {"citationsContent": {"citations": [CITATION], "content": [{"text": "Hello"}]}},
                    {"reasoningContent": {"redactedContent": "AAA="}},
                    {"toolResult": {"toolUseId": "t", "type": "r", "status": "success", "content": [{"text": "a"}, {"json": {"b": 1}}]}},
                    {"image": {"format": "png", "source": {"bytes": "AAA="}}},
                ],
                "role": "assistant",
            }
        },
        "stopReason": "stop_sequence",
        "additionalModelResponseFields": {"stop_sequence": "|"},
        "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
        "metrics": {"latencyMs": 120},
        **beside,
    }  # fmt: skip


def test_a_block_ends_where_another_thing_begins():
    script = Script(Reasoning("hm"), "a", Refusal("b"), STOP, "c", ToolCall("f"), ToolCall("g"), "d")
    assert [kind.removeprefix("contentBlock") for kind in kinds(script)] == [
        "messageStart", "Delta", "Stop", "Delta", "Delta", "Stop", "Delta", "Stop", "Start", "Stop", "Start", "Stop", "Delta", "Stop",
        "messageStop", "metadata",
    ]  # fmt: skip


@each(
    "events",
    [
        [{"contentBlockStop": {"contentBlockIndex": 0}}],
        [
            {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "a"}}},
            {"contentBlockStop": {"contentBlockIndex": 0}},
            {"contentBlockStop": {"contentBlockIndex": 1}},
        ],
        [
            event
            for index in range(3)
            for event in (
                {"contentBlockDelta": {"contentBlockIndex": index, "delta": {"text": "a"}}},
                {"contentBlockStop": {"contentBlockIndex": index}},
            )
        ],
        [
            {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"citation": CITATION}}},
            {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "a"}}},
            {"contentBlockStop": {"contentBlockIndex": 0}},
            {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"citation": CITATION}}},
            {"contentBlockStop": {"contentBlockIndex": 1}},
        ],
        [
            {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"reasoningContent": {"redactedContent": "AAA="}}}},
            {"contentBlockStop": {"contentBlockIndex": 0}},
            {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"reasoningContent": {"text": "a"}}}},
            {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"reasoningContent": {"signature": "s"}}}},
            {"contentBlockStop": {"contentBlockIndex": 1}},
            {"contentBlockDelta": {"contentBlockIndex": 2, "delta": {"reasoningContent": {"text": "b"}}}},
            {"contentBlockStop": {"contentBlockIndex": 2}},
        ],
        [
            {"contentBlockStart": {"contentBlockIndex": 0, "start": {}}},
            {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "a"}}},
            {"contentBlockStop": {"contentBlockIndex": 0}},
        ],
        [
            {"contentBlockStart": {"contentBlockIndex": 0, "start": {"toolUse": {"name": "f", "toolUseId": "t", "type": "x"}}}},
            {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"toolUse": {"input": ""}}}},
            {"contentBlockStop": {"contentBlockIndex": 0}},
            {"contentBlockStart": {"contentBlockIndex": 1, "start": {"toolUse": {"name": "g", "toolUseId": "u", "type": "server_tool_use"}}}},
            {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"toolUse": {"input": "{}"}}}},
            {"contentBlockStop": {"contentBlockIndex": 1}},
        ],
        [{"later": {"x": [1]}}],
    ],
)  # fmt: skip
def test_what_only_bedrock_has_is_read_and_written_again(events):
    whole = [
        {"messageStart": {"role": "assistant"}},
        *events,
        {"messageStop": {"stopReason": "end_turn"}},
        {
            "metadata": {
                "metrics": {"latencyMs": 7, "more": 1},
                "serviceTier": {"type": "flex"},
                "usage": {
                    "inputTokens": 3,
                    "outputTokens": 2,
                    "totalTokens": 9,
                    "cacheDetails": [{"ttl": "5m", "inputTokens": 1}],
                },
            }
        },
    ]
    script = CODEC.decode(stream(*whole))

    assert events_of(encoded(script)) == whole
    assert not script.allow_illegal
    assert script.fault is None
    assert Script.from_json(script.to_json()) == script


@each(
    "reason, theirs",
    [("stop", "end_turn"), ("length", "max_tokens"), ("tool_calls", "tool_use"), ("content_filter", "content_filtered"),
     ("guardrail_intervened", "guardrail_intervened"), ("malformed_tool_use", "malformed_tool_use")],
)  # fmt: skip
def test_finish_reasons(reason, theirs):
    script = Script("a", Finish(reason), Usage(1, 1))

    assert events_of(encoded(script))[-2] == {"messageStop": {"stopReason": theirs}}
    assert document(script)["stopReason"] == theirs
    assert CODEC.decode(encoded(script)) == script


def test_what_was_said_before_a_silence_is_there_before_it():
    found = steps(Script("a", Pause(1), Finish(), Pause(1), Usage(1, 1)))
    first, second = (at for at, step in enumerate(found) if isinstance(step, Pause))
    assert list(events_of(found[first - 1])[0]) == ["contentBlockDelta"]
    assert [next(iter(events_of(step)[0])) for step in found[first + 1 : second]] == [
        "contentBlockStop", "messageStop", "metadata",
    ]  # fmt: skip
    assert found[second + 1 :] == []


def test_raw_bytes_keep_their_place():
    script = Script("a", Raw("garbage"), "b")
    first, rest = encoded(script).split(b"garbage")
    assert [next(iter(event)) for event in events_of(first)] == ["messageStart", "contentBlockDelta"]
    assert len(events_of(rest)) == 4
    with pytest.raises(WireError, match="frame 2 of the stream, at byte"):
        CODEC.decode(encoded(script))


# -- errors -----------------------------------------------------------------------------------------


@each(
    "kind, theirs",
    [("server_error", "internalServerException"), ("rate_limit_error", "throttlingException"),
     ("overloaded_error", "serviceUnavailableException"), ("invalid_request_error", "validationException"),
     ("throttlingException", "throttlingException"), ("ModelTimeoutException", "modelTimeoutException"),
     ("something", "modelStreamErrorException")],
)  # fmt: skip
def test_an_error_in_the_stream_is_an_exception(kind, theirs):
    body = encoded(Script("a", Usage(3, 1), provider_error("boom", kind)))
    *_, usage, frame = FrameDecoder().feed(body)

    assert usage.text(":event-type") == "metadata"
    assert (frame.text(":message-type"), frame.text(":exception-type")) == ("exception", theirs)
    assert json.loads(frame.payload) == {"message": "boom"}
    again = CODEC.decode(body)
    assert again == Script("a", Usage(3, 1), provider_error("boom", again.fault.kind))
    assert encoded(again) == body


def test_errors_in_all_their_forms_are_read():
    for error in (
        provider_error("boom", "modelStreamErrorException", "424"),
        provider_error("boom", "internalError", named=True),
        provider_error(""),
    ):
        for before in (Script("a"), Script("a", Finish(), Usage(1, 1)), Script()):
            script = Script(*before, error)
            assert CODEC.decode(encoded(script)) == script
    frame = encode_frame({":message-type": "exception", ":exception-type": "validationException"}, b"no JSON")
    assert CODEC.decode(frame) == Script(provider_error("no JSON", "validationException"))
    assert CODEC.decode(b'{"validationException":{"message":"no"}}\n') == Script(
        provider_error("no", "validationException")
    )


@each(
    "status, name",
    [(400, "ValidationException"), (401, "UnrecognizedClientException"), (403, "AccessDeniedException"),
     (404, "ResourceNotFoundException"), (408, "ModelTimeoutException"), (418, "ValidationException"), (424, "ModelErrorException"),
     (429, "ThrottlingException"), (500, "InternalServerException"), (502, "InternalServerException"), (503, "ServiceUnavailableException")],
)  # fmt: skip
def test_an_http_error_has_a_header_that_names_it(status, name):
    headers, body = CODEC.error(http_error(status, "no", retry_after=2), 7)
    found = dict(headers)
    assert found["x-amzn-ErrorType"].split(":")[0] == name
    assert (found["content-type"], found["retry-after"]) == ("application/json", "2")
    assert found["x-amzn-RequestId"] == "00000000-0000-4000-8000-000000000007"
    assert json.loads(body) == {"message": "no"}


def test_an_http_error_of_another_name_or_body():
    def name(**fields):
        return dict(CODEC.error(http_error(429, **fields), 1)[0])["x-amzn-ErrorType"].split(":")[0]

    assert name(kind="ModelNotReadyException") == "ModelNotReadyException"
    assert name(kind="serviceQuotaExceededException") == "ServiceQuotaExceededException"
    assert name(kind="server_error") == "InternalServerException"
    assert name(code="SerializationException") == "SerializationException"
    assert CODEC.error(http_error(502, body="<html>"), 1)[1] == b"<html>"


def test_a_stream_that_lacks_its_end_says_so():
    whole = encoded(Script("Hel", "lo"))
    frames = FrameDecoder().feed(whole)
    starts = {frame.offset: frame.text(":event-type") for frame in frames}
    for cut in sorted({*starts, *range(0, len(whole), 5)}):
        script = CODEC.decode(whole[:cut])
        assert script.fault == disconnect("end" if cut in starts else "cut")
        assert CODEC.decode(encoded(script)) == script or script.fault.how == "cut"
    assert CODEC.decode(whole).fault is None
    for how in ("end", "cut"):
        for script in (Script("a", disconnect(how)), Script("a", Finish(), disconnect(how))):
            assert CODEC.decode(encoded(script)) == script
    script = Script("a", Usage(1, 1), disconnect("end"))
    assert CODEC.decode(encoded(script)) == script


@each(
    "payload",
    [b"[]", b"{", b'{"contentBlockIndex":"a"}', b'{"contentBlockIndex":-1}', b'{"delta":5}', b'{"delta":{"text":5}}',
     b'{"delta":{"reasoningContent":5}}', b"\xff", b'{"delta":{"text":"' + b"[" * 9],
)  # fmt: skip
def test_what_is_no_event_of_the_stream_is_refused(payload):
    with pytest.raises(WireError):
        CODEC.decode(encode_frame({":event-type": "contentBlockDelta", ":message-type": "event"}, payload))


@each("line", [b"[]\n", b"{}\n", b'{"a":1}\n', b'{"a":{},"b":{}}\n', b'{"contentBlockDelta":{"delta":5}}\n'])
def test_what_is_no_line_of_an_event_is_refused(line):
    with pytest.raises(WireError):
        CODEC.decode(b'{"messageStart":{"role":"assistant"}}\n' + line)


def test_a_frame_that_is_no_event_is_refused_by_name():
    with pytest.raises(WireError, match="frame 0 of the stream has no :event-type, but the headers a"):
        CODEC.decode(encode_frame({"a": "b"}, b"{}"))


@each("data", ["{}", '{"a":1}', '{"a":{},"b":{}}'])
def test_a_native_is_an_event_by_its_type(data):
    with pytest.raises(WireError, match="a Native of bedrock.converse"):
        encoded(Script(Native("bedrock.converse", data)))


# -- any script, any bytes ------------------------------------------------------------------------------


@strategies.fewer(3)
@given(strategies.scripts)
@example(Script(ToolCall("f"), ToolCall("g", "{}")))
def test_any_script_is_written_and_what_is_written_is_read_alike_again(script):
    body = encoded(script)
    if any(isinstance(event, Raw) for event in script):
        return
    again = CODEC.decode(body)
    assert encoded(CODEC.decode(encoded(again))) == encoded(again)
    with contextlib.suppress(WireError):  # arguments that are no object
        document(Script(*(event for event in script if not isinstance(event, Pause)), allow_illegal=True))


@given(st.lists(st.binary(max_size=40), max_size=4), st.integers(0, 3))
def test_any_payloads_give_events_or_a_wire_error(payloads, kind):
    name = ("contentBlockStart", "contentBlockDelta", "messageStop", "metadata")[kind]
    body = b"".join(encode_frame({":event-type": name}, payload) for payload in payloads)
    with contextlib.suppress(WireError):
        assert legal_or_not(fed(body[at : at + 1] for at in range(len(body)))) == CODEC.decode(body)


# -- requests ---------------------------------------------------------------------------------------


def test_a_request_is_read():
    found = request(
        streams=False,
        system=[{"text": "Be "}, {"cachePoint": {"type": "default"}}, {"text": "brief."}],
        messages=[
            {"role": "user", "content": [{"guardContent": {"text": {"text": "Does it "}}}, {"text": "rain?"}, {"image": {"format": "png", "source": {"bytes": ""}}}]},
            {
                "role": "assistant",
                "content": [{"reasoningContent": {"reasoningText": {"text": "hm"}}}, {"text": "I look."}, {"toolUse": {"toolUseId": "t", "name": "f", "input": {"x": 1}}}],
            },
            {"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": [{"text": "a"}, {"json": {"b": 1}}]}}, {"text": "and?"}]},
        ],
        toolConfig={"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {}}}}, {"systemTool": {"name": "s"}}, {"cachePoint": {"type": "default"}}]},
        inferenceConfig={"maxTokens": 5, "temperature": 0},
    )  # fmt: skip

    assert (found.api, found.model, found.stream, found.tools) == ("bedrock.converse", MODEL, False, ("f", "s"))
    assert found.messages == (
        Message("system", "Be brief."),
        Message("user", "Does it rain?"),
        Message("assistant", "I look.", reasoning="hm", tool_calls=(ToolCall("f", '{"x":1}', id="t", index=0),)),
        Message("tool", 'a{"b":1}', tool_call_id="t"),
        Message("user", "and?"),
    )
    assert found.options == {"inferenceConfig": {"maxTokens": 5, "temperature": 0}}
    assert request().stream


@each(
    "model",
    ["us.amazon.nova-lite-v1:0", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123", "my-model",
     "arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-text-lite-v1"],
)  # fmt: skip
def test_models_are_in_the_path(model):
    quoted = model.replace(":", "%3A").replace("/", "%2F")
    assert CODEC.request(ASKED, path=f"/model/{quoted}/converse-stream").model == model


@each(
    "fields, message",
    [
        ({"messages": []}, "A conversation must start with a user message."),
        ({"messages": None}, "A conversation must start with a user message."),
        ({"messages": "Hi"}, "Unexpected token STRING_VALUE: expected START_ARRAY"),
        ({"messages": {"role": "user"}}, "Start of structure or map found where not expected."),
        ({"messages": ["Hi"]}, "Unexpected token STRING_VALUE: expected START_OBJECT"),
        ({"messages": [{"role": "assistant", "content": [{"text": "a"}]}]}, "A conversation must start with a user message."),
        ({"messages": [{"role": "tool", "content": [{"text": "a"}]}]}, "Value 'tool' at 'messages.0.role' failed to satisfy constraint"),
        ({"messages": [{"role": "user", "content": []}]}, "The content field in the Message object at messages.0 is empty."),
        ({"messages": [{"role": "user", "content": "Hi"}]}, "Unexpected token STRING_VALUE: expected START_ARRAY"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "The ContentBlock object at messages.0.content.0 must set one of"),
        ({"messages": [{"role": "user", "content": [{"text": " "}]}]}, "The text field in the ContentBlock object at messages.0.content.0 is blank."),
        ({"messages": [{"role": "user", "content": [{"text": 5}]}]}, "NUMBER_VALUE cannot be converted to String"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]}, "#/messages/0/content/0: extraneous key [type] is not permitted"),
        ({"messages": [*ASKED["messages"], {"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": []}}]}]}, "The toolConfig field must be defined"),
        ({"model": "m"}, "#: extraneous key [model] is not permitted"),
        ({"stream": True}, "#: extraneous key [stream] is not permitted"),
        ({"inferenceConfig": {"maxTokens": "5"}}, "STRING_VALUE cannot be converted to Integer"),
        ({"inferenceConfig": {"maxTokens": True}}, "TRUE_VALUE cannot be converted to Integer"),
        ({"inferenceConfig": {"max_tokens": 5}}, "#/inferenceConfig: extraneous key [max_tokens] is not permitted"),
        ({"inferenceConfig": {"maxTokens": 0}}, "Member must have value greater than or equal to 1"),
        ({"inferenceConfig": {"temperature": 1.5}}, "Member must have value less than or equal to 1"),
        ({"toolConfig": {"tools": [{"name": "f"}]}}, "#/toolConfig/tools/0: extraneous key [name] is not permitted"),
        ({"toolConfig": {"tools": [{"toolSpec": {"name": 5}}]}}, "'name' is 5"),
        ({"system": "Be brief."}, "Unexpected token STRING_VALUE: expected START_ARRAY"),
    ],
    ids=lambda row: row[1],
)  # fmt: skip
def test_a_request_of_the_wrong_form_is_refused_in_bedrocks_words(fields, message):
    with pytest.raises(WireError) as error:
        request(**fields)
    assert message in str(error.value)
    assert error.value.status == 400


@each("body", [[], "Hi", 5, None, True])
def test_a_request_that_is_no_object_is_refused(body):
    with pytest.raises(WireError):
        CODEC.request(body, path=PATH)


@each("model", ["", "a%20b", "%2F", "..", "arn:aws:s3:::x", "a/b"])
def test_a_model_that_can_be_none_is_refused(model):
    with pytest.raises(WireError, match=r"^The provided model identifier is invalid\.$"):
        CODEC.request(ASKED, path=f"/model/{model}/converse")


def test_events_as_logs_keep_them_are_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(json.dumps(event).encode() + b"\n" for event in events_of(encoded(Script("Hel", "lo")))))
    assert script_of(path) == CODEC.decode(encoded(Script("Hel", "lo")))


# -- what is out of order -------------------------------------------------------------------------------


def test_metadata_without_a_reason_keeps_what_it_has():
    events = [
        {"messageStart": {"role": "assistant"}},
        {"metadata": {"metrics": {"latencyMs": 1}, "trace": {"guardrail": {"actionReason": "none"}}, "usage": {"inputTokens": 1, "outputTokens": 0, "totalTokens": 1}}},
    ]  # fmt: skip
    script = CODEC.decode(stream(*events))
    assert [type(event) for event in script] == [Native, Usage, disconnect]
    assert events_of(encoded(script)) == events


def test_calls_whose_pieces_are_mixed_are_written_as_they_come():
    script = Script(
        ToolCall("f"), ToolCall("g", index=1), ToolCall(arguments="{}", index=0), ToolCall(arguments="{}", index=1),
        Finish("tool_calls"), Usage(1, 1), allow_illegal=True,
    )  # fmt: skip
    body = encoded(script)
    deltas = [
        event["contentBlockDelta"]["contentBlockIndex"] for event in events_of(body) if "contentBlockDelta" in event
    ]
    assert deltas == [0, 1]
    assert list(CODEC.decode(body)) == list(script)
    assert [block["toolUse"]["input"] for block in document(script)["output"]["message"]["content"]] == [{}, {}]


@each("arguments", ["[1]", "{", "5"])
def test_a_document_can_only_hold_arguments_that_are_an_object(arguments):
    with pytest.raises(WireError, match="the arguments of f"):
        document(Script(ToolCall("f", arguments)))
    (block,) = document(Script(ToolCall("f", "{"), Finish("length")))["output"]["message"]["content"]
    assert block["toolUse"]["input"] == {}


def test_text_after_the_stop_and_other_choices():
    stop, delta = (
        {"messageStop": {"stopReason": "end_turn"}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "late"}}},
    )
    late = CODEC.decode(stream(stop, delta, stop))
    assert late.allow_illegal
    assert [type(event).__name__ for event in late] == ["Finish", "Text", "disconnect"]
    assert kinds(Script("a", Text("b", choice=1))) == kinds(Script("a"))
    assert CODEC.decode(b'{"messageStart":{"role":"assistant"}}\n{"cont').fault == disconnect("cut")
    first = encode_frame({":event-type": "initial-response", ":message-type": "event"}, b"{}")
    assert CODEC.decode(first + encoded(Script("a"))) == CODEC.decode(encoded(Script("a")))
    again = encoded(Script("a", provider_error("no")))
    assert CODEC.decode(again + again) == CODEC.decode(again)
