"""Bedrock's InvokeModel: the bodies of each family of models against recordings and against themselves."""

from __future__ import annotations

import base64
import contextlib
import json

import corpus
import pytest
import recorded
import strategies
from hypothesis import given
from hypothesis import strategies as st
from sending import sent
from vectors import each

from fakellm import Finish, Pause, Reasoning, Script, Text, ToolCall, Usage, disconnect, provider_error
from fakellm.cassette import script_of
from fakellm.errors import WireError
from fakellm.script.events import Native, Raw
from fakellm.script.messages import Message
from fakellm.wire.bedrock import InvokeCodec
from fakellm.wire.codec import legal_or_not, pieces
from fakellm.wire.eventstream import FrameDecoder, encode_frame

CODEC = InvokeCodec()
MESSAGES = [{"role": "user", "content": "Hi"}]
BODIES = {
    "anthropic.claude-sonnet-4-5-20250929-v1:0": {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": MESSAGES},
    "us.amazon.nova-lite-v1:0": {"messages": [{"role": "user", "content": [{"text": "Hi"}]}], "inferenceConfig": {"max_new_tokens": 9}},
    "amazon.titan-text-express-v1": {"inputText": "Hi"},
    "us.meta.llama3-1-8b-instruct-v1:0": {"prompt": "Hi"},
    "cohere.command-light-text-v14": {"prompt": "Hi"},
    "mistral.mistral-7b-instruct-v0:2": {"prompt": "Hi"},
    "anthropic.claude-v2:1": {"prompt": "Hi", "max_tokens_to_sample": 9},
}  # fmt: skip
CLAUDE, NOVA, TITAN, LLAMA, COMMAND, MISTRAL, CLAUDE_2 = BODIES
METRICS = "amazon-bedrock-invocationMetrics"
COUNTED = {"inputTokenCount": 3, "outputTokenCount": 2, "invocationLatency": 120, "firstByteLatency": 100}


def path_of(model, *, streams=True):
    quoted = model.replace(":", "%3A").replace("/", "%2F")
    return f"/model/{quoted}/invoke{'-with-response-stream' if streams else ''}"


def request(model=CLAUDE, *, streams=True, **fields):
    return CODEC.request({**BODIES.get(model, {}), **fields}, path=path_of(model, streams=streams))


def encoded(script, asked=None):
    """Return the bytes of a stream, up to the fault that ends it."""
    steps = pieces(CODEC.encoder(asked or request(), 1, script.usage), script)
    return sent(steps)


def chunks(body):
    """Return the chunks of a stream."""
    found = []
    for frame in FrameDecoder().feed(body):
        document = json.loads(frame.payload)
        assert frame.text(":event-type") == "chunk"
        assert document.keys() <= {"bytes", "p"}
        found.append(json.loads(base64.b64decode(document["bytes"])))
    return found


def stream(*found):
    return b"".join(
        encode_frame({":event-type": "chunk"}, json.dumps({"bytes": base64.b64encode(json.dumps(one).encode()).decode()}).encode())
        for one in found
    )  # fmt: skip


def document(script, model, **fields):
    return json.loads(CODEC.body(script, request(model, streams=False, **fields), 1))


def fed(parts):
    decoder = CODEC.decoder()
    return [*(event for part in parts for event in decoder.feed(part)), *decoder.close()]


# -- recordings -----------------------------------------------------------------------------------


def asked(row, found):
    """Return the request of a recording."""
    sent = corpus.cassette(row["file"])["interactions"][found["idx"]]["request"]
    return CODEC.request(json.loads(sent["body"]), path=sent["uri"].partition(".com")[2])


def said(body):
    """Return what a stream says: all its chunks, but for what a message of Claude begins with, and its nulls."""
    found = chunks(body)
    for chunk in found:
        if chunk.get("type") == "message_start":
            del chunk["message"]["id"], chunk["message"]["usage"]["output_tokens"]
        if chunk.get("type") == "message_delta":
            chunk["usage"].pop("input_tokens", None)
    return without_nulls(found)


def without_nulls(value):
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


@corpus.needs_corpus
@each("row, found", [(row, found) for row, found in recorded.streams() if found["api"] == "bedrock.invoke-stream"])
def test_a_recorded_stream_written_again_says_the_same(row, found):
    body = recorded.body(row, found)
    script = CODEC.decode(body)
    again = encoded(script, asked(row, found))

    assert said(again) == said(body)
    assert not script.allow_illegal
    assert script.fault is None
    assert CODEC.decode(again) == script
    assert Script.from_json(script.to_json()) == script
    for size in (1, 7, 64):
        assert fed(body[at : at + size] for at in range(0, len(body), size)) == list(script)


# -- streams and documents --------------------------------------------------------------------------


@each(
    "model, sent",
    [
        (TITAN, [
            {"outputText": "Hel", "index": 0, "totalOutputTextTokenCount": None, "completionReason": None, "inputTextTokenCount": 3},
            {"outputText": "lo", "index": 0, "totalOutputTextTokenCount": 2, "completionReason": "LENGTH", "inputTextTokenCount": 3, METRICS: COUNTED},
        ]),
        (LLAMA, [
            {"generation": "Hel", "prompt_token_count": 3, "generation_token_count": 1, "stop_reason": None},
            {"generation": "lo", "prompt_token_count": None, "generation_token_count": 2, "stop_reason": "length", METRICS: COUNTED},
        ]),
        (COMMAND, [
            {"is_finished": False, "text": "Hel"}, {"is_finished": False, "text": "lo"},
            {"finish_reason": "MAX_TOKENS", "is_finished": True, METRICS: COUNTED},
        ]),
        (MISTRAL, [
            {"outputs": [{"text": "Hel", "stop_reason": None}]}, {"outputs": [{"text": "lo", "stop_reason": "length"}], METRICS: COUNTED},
        ]),
        (NOVA, [
            {"messageStart": {"role": "assistant"}},
            {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hel"}}},
            {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "lo"}}},
            {"contentBlockStop": {"contentBlockIndex": 0}},
            {"messageStop": {"stopReason": "max_tokens"}},
            {"metadata": {"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}, "metrics": {}, "trace": {}}, METRICS: COUNTED},
        ]),
    ],
    ids=lambda row: row[0],
)  # fmt: skip
def test_a_stream_is_what_the_model_sends(model, sent):
    script = Script("Hel", "lo", Finish("length"), Usage(3, 2))
    body = encoded(script, request(model))
    assert chunks(body) == sent
    assert CODEC.decode(body) == script


def test_a_stream_of_claude_is_that_of_messages_without_pings():
    script = Script("Hel", ToolCall("f", '{"x":1}', id="t_1"), Finish("tool_calls"), Usage(3, 2))
    found = chunks(encoded(script))

    assert [chunk["type"] for chunk in found] == [
        "message_start", "content_block_start", "content_block_delta", "content_block_stop", "content_block_start",
        "content_block_delta", "content_block_delta", "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip
    assert found[0]["message"]["model"] == "claude-sonnet-4-5-20250929"
    assert found[0]["message"]["id"].startswith("msg_bdrk_")
    assert found[-1] == {"type": "message_stop", METRICS: COUNTED}
    assert CODEC.decode(encoded(script)) == Script(
        "Hel", ToolCall("f", id="t_1"), ToolCall(arguments='{"x":1}'), Finish("tool_calls"), Usage(3, 2, 0)
    )
    answer = document(script, CLAUDE)
    assert [block["type"] for block in answer["content"]] == ["text", "tool_use"]
    assert answer["id"].startswith("msg_bdrk_")


@each(
    "model, answer",
    [
        (TITAN, {"inputTextTokenCount": 3, "results": [{"tokenCount": 2, "outputText": "Hello", "completionReason": "FINISH"}]}),
        (LLAMA, {"generation": "Hello", "prompt_token_count": 3, "generation_token_count": 2, "stop_reason": "stop"}),
        (COMMAND, {
            "generations": [{"finish_reason": "COMPLETE", "id": "00000000-0000-4000-8000-000001000001", "text": "Hello"}],
            "id": "00000000-0000-4000-8000-000001000000", "prompt": "Hi",
        }),
        (MISTRAL, {"outputs": [{"text": "Hello", "stop_reason": "stop"}]}),
        (CLAUDE_2, {"type": "completion", "completion": "Hello", "stop_reason": "stop_sequence", "stop": None}),
        (NOVA, {
            "output": {"message": {"content": [{"text": "Hello"}], "role": "assistant"}}, "stopReason": "end_turn",
            "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
        }),
    ],
    ids=lambda row: row[0],
)  # fmt: skip
def test_a_document_is_what_the_model_sends(model, answer):
    assert document(Script("Hel", "lo", Usage(3, 2)), model) == answer


def test_several_generations():
    asked = request(COMMAND, num_generations=2)
    script = Script("a", Text("b", choice=1), Finish("length"), Usage(3, 2))
    assert asked.choices == 2
    assert [chunk.get("index") for chunk in chunks(encoded(script, asked))] == [0, 1, None]
    found = document(script, COMMAND, num_generations=2)
    assert [generation["text"] for generation in found["generations"]] == ["a", "b"]


def test_nova_calls_tools_and_has_blocks_of_its_own():
    script = Script("a", ToolCall("f", '{"x":'), ToolCall(arguments="1}"), Finish("tool_calls"), Usage(1, 1))
    found = chunks(encoded(script, request(NOVA)))
    assert [next(iter(chunk)) for chunk in found] == [
        "messageStart", "contentBlockDelta", "contentBlockStop", "contentBlockStart", "contentBlockDelta", "contentBlockDelta",
        "contentBlockStop", "messageStop", "metadata",
    ]  # fmt: skip
    assert document(script, NOVA)["output"]["message"]["content"][1]["toolUse"]["input"] == {"x": 1}
    blocks = Script("a", Native("bedrock.converse", {"contentBlockStop": {}}), "b", Finish(), Usage(1, 1))
    assert CODEC.decode(encoded(blocks, request(NOVA))) == blocks


@each("model", list(BODIES))
def test_fields_that_a_chunk_has_beside_the_usual_ones_are_kept(model):
    fields = {"amazon-bedrock-guardrailAction": "NONE", "amazon-bedrock-trace": {"guardrail": {}}}
    body = encoded(Script("a", Native("bedrock.invoke", fields), "b", Finish(), Usage(1, 1)), request(model))
    assert sum(chunk.items() >= fields.items() for chunk in chunks(body)) == 1
    again = CODEC.decode(body)
    if model != CLAUDE:  # whose reader passes over what its own events do not have
        assert encoded(again, request(model)) == body


@each("model", list(BODIES))
def test_what_bedrock_counts_is_kept_where_it_differs(model):
    body = encoded(Script("a", Finish(), Usage(3, 2)), request(model))
    *first, last = chunks(body)
    for metrics in (
        {**COUNTED, "outputTokenCount": 7, "invocationLatency": 9},
        {"inputTokenCount": 3, "outputTokenCount": 2},
        None,
    ):
        changed = {key: value for key, value in last.items() if key != METRICS} | (
            {} if metrics is None else {METRICS: metrics}
        )
        script = CODEC.decode(stream(*first, changed))
        assert script.fault is None
        if metrics is not None or model in (CLAUDE, NOVA):
            assert chunks(encoded(script, request(model)))[-1].get(METRICS) == metrics
        else:
            assert METRICS not in chunks(encoded(script, request(model)))[-1]


@each("model", list(BODIES))
def test_of_several_counts_the_last_is_bedrocks(model):
    script = Script(Usage(1, 1), "a", Usage(3, 2), Finish())
    for usage in (None, script.usage):  # of a function, and of a script
        body = sent(pieces(CODEC.encoder(request(model), 1, usage), script))
        assert CODEC.decode(body).usage.total_tokens == 5
        counted = chunks(body)[-1][METRICS]
        assert (counted["inputTokenCount"], counted["outputTokenCount"]) == (3, 2)


@each("model", list(BODIES))
def test_what_was_said_before_a_silence_is_there_before_it(model):
    script = Script("a", Pause(1), "b", Pause(1), Finish(), Usage(1, 1))
    steps = list(pieces(CODEC.encoder(request(model), 1, script.usage), script))
    first, second = (at for at, step in enumerate(steps) if isinstance(step, Pause))
    texts = [json.dumps(chunks(b"".join(part))) for part in (steps[:first], steps[first + 1 : second])]
    assert ['"a"' in texts[0], '"b"' in texts[1]] == [True, True]


def without_usage(script):
    """Return the events without the counts that Claude's message begins with."""
    return [event for event in script if not isinstance(event, Usage)]


@each("model", list(BODIES))
def test_errors_and_ends_are_read(model):
    for end in (
        disconnect("end"), provider_error("boom"), provider_error("boom", "throttlingException"),
        provider_error("boom", "modelStreamErrorException", "500"), provider_error("boom", "code", named=True),
    ):  # fmt: skip
        script = Script("a", end)
        assert without_usage(CODEC.decode(encoded(script, request(model)))) == list(script)
    whole = encoded(Script("Hel", "lo"), request(model))
    starts = {frame.offset for frame in FrameDecoder().feed(whole)}
    for cut in [*starts, *range(0, len(whole), 11)]:
        assert CODEC.decode(whole[:cut]).fault == disconnect("end" if cut in starts else "cut")
    assert CODEC.decode(whole).fault is None


def test_claudes_own_error_in_a_chunk():
    script = Script("a", provider_error("boom", "overloaded_error", named=False))
    body = encoded(script)
    assert chunks(body)[-1]["error"] == {"type": "overloaded_error", "message": "boom"}
    assert without_usage(CODEC.decode(body)) == list(script)


@each(
    "payload",
    [
        b"{",
        b"[]",
        b'{"bytes":5}',
        b'{"bytes":"!"}',
        b'{"bytes":"e30"}',
        b'{"bytes":"e30="}',
        b'{"bytes":"W10="}',
        b"{}",
    ],
)
def test_what_is_no_chunk_is_refused(payload):
    with pytest.raises(WireError):
        CODEC.decode(encode_frame({":event-type": "chunk", ":message-type": "event"}, payload))


def test_events_of_other_types_are_passed_over():
    first = encode_frame({":event-type": "initial-response", ":message-type": "event"}, b"{}")
    assert CODEC.decode(first + encoded(Script("a"), request(LLAMA))).text == "a"


def test_chunks_as_logs_keep_them_are_read(tmp_path):
    body = encoded(Script("Hel", "lo"), request(LLAMA))
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(json.dumps(chunk).encode() for chunk in chunks(body)))
    assert script_of(path, api="bedrock.invoke") == CODEC.decode(body)
    with pytest.raises(WireError, match="line 1 of the stream is no object"):
        CODEC.decode(b'{"generation":"a"}\n5\n')
    assert CODEC.decode(b'{"generation":"a"}\n{"gen').fault == disconnect("cut")


@strategies.fewer(3)
@given(strategies.scripts, st.sampled_from(list(BODIES)))
def test_any_script_is_written_and_what_is_written_is_read_alike_again(script, model):
    body = encoded(script, request(model))
    if any(isinstance(event, Raw) for event in script):
        return
    again = CODEC.decode(body)
    assert encoded(CODEC.decode(encoded(again, request(model))), request(model)) == encoded(again, request(model))
    with contextlib.suppress(WireError):
        document(Script(*(event for event in script if not isinstance(event, Pause)), allow_illegal=True), model)


@strategies.fewer(3)
@given(st.lists(st.dictionaries(
    st.sampled_from(["type", "index", "text", "outputText", "generation", "is_finished", "outputs", "finish_reason", "metadata", "messageStop", METRICS]),
    st.one_of(st.none(), st.integers(-1, 3), st.text(max_size=3), st.dictionaries(st.text(max_size=3), st.integers()), st.lists(st.integers(), max_size=2)),
), max_size=4))  # fmt: skip
def test_any_chunks_give_events_or_a_wire_error(found):
    body = stream(*found)
    with contextlib.suppress(WireError):
        assert legal_or_not(fed(body[at : at + 1] for at in range(len(body)))) == CODEC.decode(body)


# -- requests -------------------------------------------------------------------------------------------


@each("model", list(BODIES))
def test_a_request_is_read(model):
    found = request(model)
    assert (found.api, found.model, found.text, found.stream) == ("bedrock.invoke", model, "Hi", True)
    assert found.messages == (Message("user", "Hi"),)
    assert found.json == BODIES[model]
    assert not request(model, streams=False).stream


@each("model", list(BODIES))
def test_an_arn_of_ones_own_is_told_by_its_body(model):
    if model in (NOVA, MISTRAL, LLAMA, COMMAND):
        extra = {
            NOVA: {"schemaVersion": "messages-v1"},
            LLAMA: {"max_gen_len": 5},
            COMMAND: {"num_generations": 1},
        }.get(model)
    else:
        extra = {}
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
    if extra is None:
        with pytest.raises(WireError, match="The fake has no bodies of the model arn:"):
            CODEC.request(BODIES[model], path=path_of(arn))
        return
    asked = CODEC.request({**BODIES[model], **extra}, path=path_of(arn))
    assert CODEC.decode(encoded(Script("a"), asked)).text == "a"


@each(
    "model, body, message",
    [
        (CLAUDE, {"max_tokens": 9, "messages": MESSAGES}, "anthropic_version: Field required"),
        (CLAUDE, {"anthropic_version": "v", "max_tokens": 9}, "messages: Field required"),
        (CLAUDE, {**BODIES[CLAUDE], "model": "m", "stream": True}, "#: extraneous key [model] is not permitted, #: extraneous key [stream]"),
        (CLAUDE, [], "Malformed input request: #: expected type: JSONObject"),
        (NOVA, {}, "#: required key [messages] not found"),
        (NOVA, {**BODIES[NOVA], "max_tokens": 5}, "#: extraneous key [max_tokens] is not permitted"),
        (NOVA, {"messages": MESSAGES}, "Unexpected token STRING_VALUE: expected START_ARRAY"),
        (TITAN, {}, "#: required key [inputText] not found"),
        (TITAN, {"inputText": 5}, "#/inputText: expected type: String, found: Integer"),
        (TITAN, {"prompt": "Hi"}, "#: required key [inputText] not found, #: extraneous key [prompt] is not permitted"),
        (LLAMA, {"prompt": "Hi", "temperature": "hot"}, "#/temperature: expected type: Number, found: String"),
        (LLAMA, {"prompt": "Hi", "max_gen_len": True}, "#/max_gen_len: expected type: Integer, found: Boolean"),
        (COMMAND, {"message": "Hi"}, "#: required key [prompt] not found"),
        (MISTRAL, {"prompt": "Hi", "stop": "|"}, "#/stop: expected type: JSONArray, found: String"),
        (MISTRAL, None, "#: expected type: JSONObject, found: Null"),
        ("ai21.jamba-1-5-mini-v1:0", {"messages": MESSAGES}, "The fake has no bodies of the model ai21.jamba-1-5-mini-v1:0"),
        ("", {}, "The provided model identifier is invalid."),
    ],
    ids=lambda row: row[2],
)  # fmt: skip
def test_a_request_of_the_wrong_form_is_refused_in_bedrocks_words(model, body, message):
    with pytest.raises(WireError) as error:
        CODEC.request(body, path=path_of(model))
    assert message in str(error.value)
    assert error.value.status == 400


def test_models_of_embeddings_answer_by_themselves():
    def ask(model, body):
        return json.loads(CODEC.by_itself(CODEC.request(body, path=path_of(model, streams=False)), 1))

    titan = ask("amazon.titan-embed-text-v2:0", {"inputText": "a cat", "dimensions": 256})
    assert (len(titan["embedding"]), titan["inputTextTokenCount"]) == (256, 2)
    cohere = ask("cohere.embed-english-v3", {"texts": ["a", "b"], "input_type": "search_query"})
    assert [len(vector) for vector in cohere["embeddings"]] == [1024, 1024]
    for model, body in (
        ("amazon.titan-embed-text-v1", {}),
        ("cohere.embed-english-v3", {"texts": ["a"]}),
        ("cohere.embed-english-v3", []),
    ):
        with pytest.raises(WireError, match="Malformed input request: #: required key"):
            ask(model, body)
    assert CODEC.by_itself(request(), 1) is None


def test_what_a_model_has_no_place_for_is_left_out():
    script = Script(Reasoning("hm"), "a", ToolCall("f", "{}"), Finish(), Usage(1, 1))
    assert CODEC.decode(encoded(script, request(LLAMA))) == Script("a", Finish(), Usage(1, 1))
