"""Mistral's completions: the codec against recordings and against itself; its SDK is in test_sdk.py."""

from __future__ import annotations

import contextlib
import json

import corpus
import pytest
import recorded
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
    http_error,
    provider_error,
)
from fakellm.contracts.grammar.check import check_wire
from fakellm.errors import WireError
from fakellm.script.events import Native, Raw
from fakellm.script.messages import Message
from fakellm.wire.codec import legal_or_not, pieces
from fakellm.wire.mistral import AgentsCodec, ChatCodec, ConversationsCodec, FIMCodec

CODEC = ChatCodec()
ASKED = {"model": "mistral-fake", "messages": [{"role": "user", "content": "Hi"}]}
REFERENCE = {"type": "reference", "reference_ids": [1, "doc"]}


def native(**fields):
    return Native("mistral.chat", fields)


def request(**fields):
    return CODEC.request({**ASKED, "stream": True, **fields})


def steps(script, number=1, **fields):
    return list(pieces(CODEC.encoder(request(**fields), number, script.usage), script))


def encoded(script, number=1, **fields):
    """Return the bytes of a stream, up to the fault that ends it."""
    return sent(steps(script, number, **fields))


def chunks_of(body):
    sses = sse_of(body)
    return [json.loads(sse.data) for sse in sses if sse.data != "[DONE]"]


def choices(script, **fields):
    return [choice for chunk in chunks_of(encoded(script, **fields)) for choice in chunk["choices"]]


def document(script, **fields):
    return json.loads(CODEC.body(script, CODEC.request({**ASKED, **fields}), 1))


def fed(parts):
    decoder = CODEC.decoder()
    return [*(event for part in parts for event in decoder.feed(part)), *decoder.close()]


# -- recordings -----------------------------------------------------------------------------------

RECORDED = [(row, found) for row, found in recorded.streams() if found["provider"] == "mistral"]
streams = each("row, found", RECORDED)


def said(body):
    """Return what a stream says: its chunks, but for the id, the time, the model, and the padding."""
    return [{"choices": chunk["choices"], "usage": chunk.get("usage")} for chunk in chunks_of(body)]


@corpus.needs_corpus
@streams
def test_a_recorded_stream_written_again_is_the_same_chunk_by_chunk(row, found):
    body = recorded.body(row, found)
    script = CODEC.decode(body)

    assert said(encoded(script)) == said(body)
    assert (script.allow_illegal, script.fault) == (False, None)
    assert CODEC.decode(encoded(script)) == script
    assert Script.from_json(script.to_json()) == script


@corpus.needs_corpus
@streams
def test_a_recorded_stream_is_read_alike_however_it_is_cut(row, found):
    body = recorded.body(row, found)
    whole = fed([body])
    for size in (1, 64) if len(body) < 4000 else (61,):
        assert fed(body[at : at + size] for at in range(0, len(body), size)) == whole


@corpus.needs_corpus
@streams
def test_a_recorded_stream_breaks_no_rule(row, found):
    check_wire(recorded.body(row, found), api="mistral_chat").verify()


# -- streams ----------------------------------------------------------------------------------------


def test_a_stream_is_what_mistral_sends():
    script = Script("Hel", "lo", Finish(), Usage(9, 3, 5, extra={"service_tier": "standard"}))
    head = (
        'data: {"id":"00000000000000000000000000000001","object":"chat.completion.chunk","created":1767225601,'
        '"model":"mistral-fake","choices":[{"index":0,"delta":'
    )
    assert encoded(script).decode() == (
        head + '{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
        + head + '{"content":"Hel"},"finish_reason":null}],"p":"abcdefghijklmnopqrs"}\n\n'
        + head + '{"content":"lo"},"finish_reason":null}],"p":"abcdefghijklmnopqrstuvwxyz0123"}\n\n'
        + head + '{"content":""},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"total_tokens":12,"completion_tokens":3,'
        '"prompt_tokens_details":{"cached_tokens":5},"service_tier":"standard"},"p":"abcde"}\n\n'
        "data: [DONE]\n\n"
    )  # fmt: skip


def test_the_finish_reason_comes_with_the_last_call_or_with_the_text_that_it_cuts_off():
    call = {"id": "call_0", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}, "index": 0}
    calls = Script(ToolCall("f", '{"x":'), ToolCall(arguments="1}"))
    cut = Script("Hel", "lo", Finish("length"))

    assert [(c["delta"], c["finish_reason"]) for c in choices(calls)[1:]] == [({"tool_calls": [call]}, "tool_calls")]
    assert [(c["delta"], c["finish_reason"]) for c in choices(cut)[1:]] == [
        ({"content": "Hel"}, None), ({"content": "lo"}, "length"),
    ]  # fmt: skip
    assert [choices(Script("a", Finish(reason)))[-1]["finish_reason"] for reason in ("model_length", "error")] == [
        "model_length", "error",
    ]  # fmt: skip


def test_thinking_is_a_part_and_an_empty_one_ends_it():
    script = Script(
        Reasoning("h"), Reasoning("m"), "a", Reasoning("x", signature="s"), native(content=[REFERENCE]), "b"
    )
    contents = [choice["delta"]["content"] for choice in choices(script)[1:]]

    def thinking(*texts, **more):
        return [{"type": "thinking", "thinking": [{"type": "text", "text": text} for text in texts], **more}]

    assert contents == [
        thinking("h"), thinking("m"), thinking(), "a", thinking("x", signature="s"), [REFERENCE], "b", "",
    ]  # fmt: skip
    assert CODEC.decode(encoded(script)) == Script(*script, Finish(), Usage(1, 5, 0))
    assert document(script)["choices"][0]["message"]["content"] == [
        *thinking("hm"), {"type": "text", "text": "a"}, *thinking("x", signature="s"), REFERENCE, {"type": "text", "text": "b"},
    ]  # fmt: skip
    assert document(Script("Hel", "lo"))["choices"][0]["message"]["content"] == "Hello"


@each(
    "part",
    [
        REFERENCE,
        {"type": "image_url", "image_url": "https://example.org/a.png"},
        {"type": "document_url", "document_url": "https://example.org/a.pdf"},
        {"type": "file", "file_id": "f"},
        {"type": "thinking", "thinking": [{"type": "text", "text": "a"}, REFERENCE]},
        {"type": "thinking", "thinking": [{"type": "text", "text": "a"}], "closed": True},
        {"type": "text", "text": "a", "later": 1},
        {"type": "later", "x": None},
    ],
)
def test_a_part_that_only_mistral_has_is_read_and_written_again(part):
    script = Script("a", native(content=[part]), Finish(), Usage(1, 1, 0))

    assert choices(script)[2]["delta"]["content"] == [part]
    assert CODEC.decode(encoded(script)) == script
    assert document(script)["choices"][0]["message"]["content"] == [{"type": "text", "text": "a"}, part]


def test_several_answers_have_one_usage_between_them():
    script = Script(Text("a"), Text("b", choice=1), Finish(), Finish(choice=1), Usage(1, 2))
    chunks = chunks_of(encoded(script, n=2))

    assert [chunk["usage"]["total_tokens"] for chunk in chunks if "usage" in chunk] == [3]
    assert [choice["message"]["content"] for choice in document(script, n=2)["choices"]] == ["a", "b"]
    check_wire(encoded(script, n=2), api="mistral_chat").verify()


def test_log_probabilities_have_the_ids_of_tokens():
    script = Script("Hel", Text("lo", logprobs=[{"token": "lo", "logprob": -1, "bytes": [1], "token_id": 7}]))
    found = [choice.get("logprobs") for choice in choices(script, logprobs=True, top_logprobs=1)]

    assert found[1]["content"][0] == {
        "token_id": 0, "token": "Hel", "logprob": -0.25, "bytes": [72, 101, 108],
        "top_logprobs": [{"token": "Hel", "logprob": -0.25, "bytes": [72, 101, 108], "token_id": 0}],
    }  # fmt: skip
    assert found[2]["content"][0]["token_id"] == 7
    assert choices(Script("a"))[1].keys() == {"index", "delta", "finish_reason"}
    assert len(document(script, logprobs=True)["choices"][0]["logprobs"]["content"]) == 2


def test_usage_is_read_from_what_is_there():
    def usage(**found):
        choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}
        chunk = {"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": [choice], "usage": found}
        return CODEC.decode(f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()).usage

    counts = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert usage(**counts, prompt_tokens_details={"cached_tokens": 1}) == Usage(3, 2, 1)
    assert usage(**counts) == Usage(3, 2, extra={"prompt_tokens_details": None})
    assert usage(**counts, prompt_audio_seconds=4, prompt_tokens_details={"cached_tokens": 0}) == Usage(
        3, 2, 0, extra={"prompt_audio_seconds": 4}
    )


# -- what is held back --------------------------------------------------------------------------------


def test_what_was_said_before_a_silence_is_there_before_it():
    found = steps(Script("a", Pause(1), Finish(), Pause(1), Usage(1, 1)))
    first, second = [at for at, step in enumerate(found) if step == Pause(1)]
    assert b'"content":"a"' in found[first - 1]
    assert b'"finish_reason":"stop"' in found[second - 1]
    assert sent(found).count(b'"usage"') == 1


def test_a_usage_that_a_function_counts_after_the_finish_reason_comes_with_it():
    encoder = CODEC.encoder(request(), 1)
    found = [encoder.begin(), *map(encoder.event, (Text("a"), Finish(), Usage(4, 2))), encoder.end()]
    (last,) = [chunk for chunk in chunks_of(b"".join(b"".join(part) for part in found)) if "usage" in chunk]
    assert (last["usage"]["prompt_tokens"], last["choices"][0]["finish_reason"]) == (4, "stop")


def test_raw_bytes_keep_their_place():
    body = encoded(Script("a", Raw(": hi\n\n"), "b"))
    assert body.index(b'"content":"a"') < body.index(b": hi\n\n") < body.index(b'"content":"b"')
    half = encoded(Script(ToolCall("f", '{"x":'), Raw(": hi\n\n"), ToolCall(arguments="1}")))
    assert b": hi\n\n" in half
    assert CODEC.decode(half).tool_calls[0].arguments == '{"x":1}'


# -- errors ---------------------------------------------------------------------------------------------


@each(
    "error",
    [provider_error("boom"), provider_error("boom", named=True), provider_error("late", "unreachable_backend", "1100")],
)
def test_an_error_in_the_stream_is_read_again(error):
    for before in (Script("a"), Script("a", Finish(), Usage(1, 1, 0))):
        script = Script(*before, error)
        assert CODEC.decode(encoded(script)) == script
        check_wire(encoded(script), api="mistral_chat").verify()
    event = chunks_of(encoded(Script("a", error)))[-1]
    assert (event["object"], event["message"], event["type"]) == ("error", error.message, error.kind)


@each(
    "data",
    [
        '{"error":{"message":"boom"}}',
        '{"error":"boom"}',
        '{"object":"error","message":"boom","type":"server_error","param":null,"code":null}',
        '{"message":"boom","object":"error"}',
    ],
)
def test_errors_in_other_forms_are_read(data):
    assert CODEC.decode(f"data: {data}\n\n".encode()) == Script(provider_error("boom"))
    assert CODEC.decode(f"event: error\ndata: {data}\n\n".encode()) == Script(provider_error("boom", named=True))


def test_a_list_of_what_is_wrong_is_the_message_of_an_error():
    error = CODEC.decode(b'data: {"detail":[{"msg":"Field required"}]}\n\n').fault
    assert json.loads(error.message) == [{"msg": "Field required"}]


def test_http_errors():
    def body(fault):
        return json.loads(CODEC.error(fault, 7)[1])

    slow = http_error(429, "slow down", retry_after=2)
    assert body(slow) == {
        "object": "error", "message": "slow down", "type": "rate_limited", "param": None, "code": "1300", "raw_status_code": 429,
    }  # fmt: skip
    assert dict(CODEC.error(slow, 7)[0])["retry-after"] == "2"
    assert body(http_error(401)) == {"detail": "Unauthorized"}
    assert body(http_error(401, "no key")) == {"detail": "no key"}
    assert body(http_error(422, "no")) == {
        "detail": [{"type": "value_error", "loc": ["body"], "msg": "no", "input": None}]
    }
    assert body(http_error(400, "Invalid model: x", kind="invalid_model", code="1500"))["code"] == "1500"
    assert body(http_error(418))["raw_status_code"] == 418
    assert CODEC.error(http_error(500, body="<html>"), 1)[1] == b"<html>"


@each(
    "data",
    ["{oops", "[]", '"x"', '{"choices":3}', '{"choices":[{"delta":[]}]}', '{"choices":[{"delta":{"content":[3]}}]}'],
)
def test_what_is_no_chunk_is_refused(data):
    with pytest.raises(WireError):
        CODEC.decode(f"data: {data}\n\n".encode())


def test_a_stream_is_complete_where_its_answers_are():
    body = encoded(Script("a"))
    assert CODEC.decode(body.removesuffix(b"data: [DONE]\n\n")).fault is None
    assert CODEC.decode(body.removesuffix(b"\n\ndata: [DONE]\n\n")).fault is None  # the SDK reads an event at the end
    assert CODEC.decode(body[: body.index(b'"stop"')]).fault == disconnect("cut")
    assert CODEC.decode(encoded(Script("a", disconnect("end")))).fault == disconnect("end")


# -- documents ------------------------------------------------------------------------------------------


def test_a_document_is_what_mistral_sends():
    script = Script(
        "a", Refusal("b"), ToolCall("f", '{"x":', id="f_1"), ToolCall(arguments="1}"), ToolCall("g"), Usage(3, 2, 1),
        Finish("tool_calls", extra={"later": 1}, beside={"more": 2}),
    )  # fmt: skip
    calls = [("f_1", "f", '{"x":1}'), ("call_1", "g", "{}")]

    assert document(script) == {
        "id": "00000000000000000000000000000001", "created": 1767225601, "model": "mistral-fake",
        "usage": {
            "prompt_tokens": 3, "total_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1},
        },
        "object": "chat.completion",
        "choices": [
            {
                "index": 0, "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "tool_calls": [
                        {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}, "index": at}
                        for at, (id, name, arguments) in enumerate(calls)
                    ],
                    "content": "ab",
                },
                "later": 1,
            }
        ],
        "more": 2,
    }  # fmt: skip


def test_native_fields_of_other_apis_are_left_out():
    assert choices(Script(Native("openai.chat", {"x": 1}), "a")) == choices(Script("a"))


# -- any script -------------------------------------------------------------------------------------------


@strategies.fewer(3)
@given(strategies.small_scripts | strategies.scripts)
def test_any_stream_is_read_alike_however_it_is_cut_and_says_what_was_scripted(script):
    body = encoded(script)
    whole = fed([body])
    for size in (1, 3, 50):
        assert fed(body[at : at + size] for at in range(0, len(body), size)) == whole
    read = legal_or_not(whole)
    for choice in script.choices:
        texts = [e.text for e in script if isinstance(e, (Text, Refusal)) and e.choice == choice]
        assert read.choice(choice).text == "".join(texts)
        assert read.choice(choice).reasoning == script.choice(choice).reasoning


@given(strategies.small_scripts | strategies.scripts)
def test_any_call_is_whole(script):
    calls = {(call.index, call.choice): (call.name, call.arguments or "{}") for call in script.tool_calls}
    read = legal_or_not(fed([encoded(script)]))
    if script.fault is None and not script.allow_illegal:
        assert {(call.index, call.choice): (call.name, call.arguments) for call in read.tool_calls} == calls


@given(st.binary(max_size=80) | strategies.texts.map(lambda text: f"data: {text}\n\n".encode()))
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(WireError):
        CODEC.decode(data)


# -- requests ---------------------------------------------------------------------------------------------


def test_a_request_is_read():
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
    call = {"id": "f_1", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
    found = CODEC.request(
        {
            "model": "m", "stream": True, "temperature": 0, "tools": [tool, {"type": "image_generation"}], "n": 2,
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}, {"type": "image_url", "image_url": "u"}]},
                {"role": "assistant", "tool_calls": [call], "content": ""},
                {"role": "tool", "tool_call_id": "f_1", "content": "42", "name": "f"},
                {"role": "assistant", "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "2"}]},
                {"role": "user", "content": "?"},
            ],
        }
    )  # fmt: skip

    assert (found.api, found.model, found.stream, found.tools) == ("mistral.chat", "m", True, ("f", "image_generation"))
    assert (found.options, found.choices) == ({"temperature": 0, "n": 2}, 2)
    assert found.messages == (
        Message("system", "Be brief."),
        Message("user", "Hello"),
        Message("assistant", tool_calls=(ToolCall("f", '{"x":1}', id="f_1", index=0),)),
        Message("tool", "42", tool_call_id="f_1"),
        Message("assistant", "2", "hm"),
        Message("user", "?"),
    )


@each("said, streams", [(True, True), (1, True), (1.0, True), ("on", True), ("Yes", True), ("1", True), ("t", True), ("Y", True), ("TRUE", True),
                        (False, False), (0, False), ("off", False), ("No", False), ("0", False), ("f", False), ("n", False), (None, False)])  # fmt: skip
def test_each_form_of_a_flag_is_read(said, streams):
    conversation = {"model": "m", "inputs": "Hi", "stream": said}
    assert CODEC.request({**ASKED, "stream": said}).stream is streams
    assert ConversationsCodec().request(conversation, path="/v1/conversations").stream is streams
    asked = CODEC.request({**ASKED, "logprobs": said, "top_logprobs": "1"})
    (choice,) = json.loads(CODEC.body(Script("a"), asked, 1))["choices"]
    assert len((choice.get("logprobs") or {"content": ()})["content"]) == streams


def test_completions_of_a_prompt_and_of_an_agent_are_read_and_answered_alike():
    fim, agents = FIMCodec(), AgentsCodec()
    asked = fim.request({"model": "codestral-latest", "prompt": "def f(", "suffix": "return", "stream": True})
    agent = agents.request({"agent_id": "ag_1", "messages": ASKED["messages"], "stream": True})

    assert (asked.api, asked.text, asked.options) == ("mistral.fim", "def f(", {"suffix": "return"})
    assert (agent.api, agent.model, agent.text) == ("mistral.agents", "ag_1", "Hi")
    for codec, one in ((fim, asked), (agents, agent)):
        body = b"".join(pieces(codec.encoder(one, 1), Script("a")))
        assert codec.decode(body).text == "a"
        assert chunks_of(body)[0]["model"] == json.loads(codec.body(Script("a"), one, 1))["model"]
    assert chunks_of(body)[0]["model"] == "mistral-medium-latest"


JUNK = st.recursive(
    st.sampled_from([None, True, 0, -1, 1.5, 1e400, "", "x", "\ud800", "user", "tool", "function", "message.input"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["role", "type", "content", "text", "function", "name", "arguments", "tool_calls", "thinking"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
FIELDS = ("model", "messages", "tools", "n", "stream", "prompt", "agent_id", "inputs", "instructions", "logprobs", "x")


@strategies.fewer(3)
@given(JUNK | st.dictionaries(st.sampled_from(FIELDS), JUNK, max_size=4))
def test_any_request_is_read_or_refused(body):
    for codec in (CODEC, FIMCodec(), AgentsCodec(), ConversationsCodec()):
        for one in (body, {"model": "m", **body} if isinstance(body, dict) else body):
            with contextlib.suppress(WireError):
                codec.request(one)


MESSAGE = {"role": "user", "content": "Hi"}
FORBIDDEN, MISSING = ("extra_forbidden", "Extra inputs are not permitted"), ("missing", "Field required")


@each(
    "fields, kind, loc",
    [
        ({"store": False}, "extra_forbidden", ["store"]),
        ({"max_completion_tokens": 5}, "extra_forbidden", ["max_completion_tokens"]),
        ({"messages": "Hi"}, "list_type", ["messages"]),
        ({"messages": None}, "list_type", ["messages"]),
        ({"model": 5}, "string_type", ["model"]),
        ({"model": None}, "string_type", ["model"]),
        ({"temperature": "hot"}, "float_parsing", ["temperature"]),
        ({"temperature": 2}, "less_than_equal", ["temperature"]),
        ({"top_p": []}, "float_type", ["top_p"]),
        ({"max_tokens": "many"}, "int_parsing", ["max_tokens"]),
        ({"max_tokens": 1.5}, "int_from_float", ["max_tokens"]),
        ({"max_tokens": {}}, "int_type", ["max_tokens"]),
        ({"n": 0}, "greater_than_equal", ["n"]),
        ({"stream": "maybe"}, "bool_parsing", ["stream"]),
        ({"stream": []}, "bool_type", ["stream"]),
        ({"response_format": "json"}, "dict_type", ["response_format"]),
        ({"messages": ["Hi"]}, "model_attributes_type", ["messages", 0]),
        ({"messages": [{"content": "Hi"}]}, "union_tag_not_found", ["messages", 0]),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, "union_tag_invalid", ["messages", 0]),
        ({"messages": [{"role": "user"}]}, "missing", ["messages", 0, "user", "content"]),
        ({"messages": [{**MESSAGE, "name": "x"}]}, "extra_forbidden", ["messages", 0, "user", "name"]),
        ({"messages": [{"role": "user", "content": ["Hi"]}]}, "model_attributes_type", ["messages", 0, "user", "content", 0]),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "x"}]}]}, "missing", ["messages", 0, "assistant", "tool_calls", 0, "function"]),
        ({"tools": [{"type": "function"}]}, "missing", ["tools", 0, "function"]),
        ({"tools": [{"function": {"name": "f"}}]}, "missing", ["tools", 0, "function", "parameters"]),
        ({"tools": [3]}, "model_attributes_type", ["tools", 0]),
        ({"tools": [{"type": 5}]}, "string_type", ["tools", 0, "type"]),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, "string_type", ["messages", 0, "user", "content", 0, "text", "text"]),
    ],
)  # fmt: skip
def test_a_request_of_the_wrong_form_gets_a_list_of_what_is_wrong(fields, kind, loc):
    with pytest.raises(WireError) as error:
        CODEC.request({**ASKED, **fields})
    (wrong,) = json.loads(error.value.body)["detail"]
    assert (error.value.status, wrong["type"], wrong["loc"]) == (422, kind, ["body", *loc])
    assert wrong.keys() == {"type", "loc", "msg", "input"}


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(WireError) as error:
        CODEC.request({"messages": [{"role": "system", "content": 5}], "store": True})
    assert [(one["type"], one["loc"][1:]) for one in json.loads(error.value.body)["detail"]] == [
        ("missing", ["model"]),
        ("extra_forbidden", ["store"]),
        ("string_type", ["messages", 0, "system", "content", "str"]),
        ("list_type", ["messages", 0, "system", "content", "list"]),
    ]
    for body in ("x", [], None, 5):
        with pytest.raises(WireError, match="valid dictionary or object"):
            CODEC.request(body)


@each(
    "messages, message",
    [
        ([], "Conversation must have at least one message"),
        ([MESSAGE, {"role": "assistant", "content": "a"}], "for serving but got assistant"),
        ([{"role": "system", "content": "a"}], "for serving but got system"),
        ([MESSAGE, {"role": "tool", "content": "a", "tool_call_id": "x"}], "Unexpected role 'tool' after role 'user'"),
        ([{"role": "tool", "content": "a"}, MESSAGE], "Unexpected role 'user' after role 'tool'"),
        ([MESSAGE, {"role": "assistant", "content": ""}, MESSAGE], "either content or tool_calls"),
    ],
)
def test_messages_in_an_order_that_no_model_takes_are_refused(messages, message):
    with pytest.raises(WireError, match=message) as error:
        CODEC.request({"model": "m", "messages": messages})
    found = json.loads(error.value.body)
    assert (error.value.status, found["object"], found["raw_status_code"]) == (400, "error", 400)
    CODEC.request({"model": "m", "messages": [MESSAGE, {"role": "assistant", "content": "a", "prefix": True}]})
