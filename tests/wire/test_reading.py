"""What real servers say otherwise than the reference of an API does, read as the official SDKs read it."""

from __future__ import annotations

import json

import pytest
import sdks
import taping
from vectors import each

from fakellm import Finish, Script, Text, ToolCall, Usage, disconnect, provider_error
from fakellm.cassette import interaction_of, write
from fakellm.contracts import check_wire
from fakellm.errors import WireError
from fakellm.wire.anthropic import MessagesCodec
from fakellm.wire.codec import pieces
from fakellm.wire.gemini import GeminiCodec
from fakellm.wire.openai import ChatCodec, CompletionsCodec, ResponsesCodec
from fakellm.wire.openai.profiles import PROFILES


def stream(*events):
    """Return a body of events, each named by its type where it has one."""
    return b"".join(
        (f"event: {event['type']}\n" if isinstance(event, dict) and "type" in event else "").encode()
        + f"data: {json.dumps(event)}\n\n".encode()
        for event in events
    )


def without(event, *names):
    return {key: value for key, value in event.items() if key not in names}


# -- Responses ----------------------------------------------------------------------------------------


def item(kind, id, **fields):
    return {"type": kind, "id": id, **fields}


def added(found):
    return {"type": "response.output_item.added", "item": found}


def done(found):
    return {"type": "response.output_item.done", "item": found}


def call(id, arguments=""):
    return item("function_call", id, call_id=f"call_{id}", name="look", arguments=arguments)


def arguments(id, text):
    return {"type": "response.function_call_arguments.delta", "item_id": id, "delta": text}


def said(id, text, **place):
    return {"type": "response.output_text.delta", "item_id": id, "delta": text, **place}


def finished(id, text, **place):
    return {"type": "response.output_text.done", "item_id": id, "text": text, **place}


def part_done(id, text, **place):
    return {
        "type": "response.content_part.done",
        "item_id": id,
        "part": {"type": "output_text", "text": text, "annotations": []},
        **place,
    }


def message(id, *texts):
    return item("message", id, role="assistant", content=[{"type": "output_text", "text": text} for text in texts])


CREATED = {"type": "response.created", "response": {}}


def completed(*output, **fields):
    return {"type": "response.completed", "response": {"status": "completed", "output": list(output), **fields}}


def responses(*events):
    return ResponsesCodec().decode(stream(*events))


def calls_of(script):
    return [(found.id, found.arguments) for found in script.tool_calls]


def test_the_item_id_says_which_item_an_event_is_about_where_nothing_counts_them():
    """llama.cpp has no `output_index`, and leaves all items open to the end."""
    whole = [message("m", "Hi"), call("a", '{"x":1}'), call("b", "{}")]
    script = responses(
        CREATED,
        added(message("m")),
        said("m", "H"),
        added(call("a")),
        arguments("a", '{"x"'),
        added(call("b")),
        arguments("b", "{}"),
        arguments("a", ":1}"),
        said("m", "i"),
        finished("m", "Hi"),
        part_done("m", "Hi"),
        *map(done, whole),
        completed(*whole),
    )
    assert script.text == "Hi"
    assert calls_of(script) == [("call_a", '{"x":1}'), ("call_b", "{}")]


@each(
    "events",
    [
        pytest.param([done(call("a", '{"x":1}')), done(call("b", "{}"))], id="only done"),
        pytest.param(
            [added(call("a")), done(call("a", '{"x":1}')), added(call("b")), done(call("b", "{}"))], id="no deltas"
        ),
        pytest.param(
            [
                added(call("a")),
                without(arguments("", '{"x":1}'), "item_id"),
                done(call("a", '{"x":1}')),
                added(call("b")),
                without(arguments("", "{}"), "item_id"),
                done(call("b", "{}")),
            ],
            id="deltas without an id",
        ),
        pytest.param(
            [
                added(call("a")),
                arguments("call_a", '{"x":1}'),
                added(call("b")),
                arguments("call_b", "{}"),
                done(call("a", '{"x":1}')),
                done(call("b", "{}")),
            ],
            id="the id of the call",
        ),
        pytest.param(
            [
                added(call("a")),
                arguments("x1", '{"x"'),
                arguments("x2", ":1}"),
                done({**call("a"), "id": "x3", "arguments": '{"x":1}'}),
                added(call("b")),
                arguments("x4", "{}"),
                done({**call("b"), "id": "x5", "arguments": "{}"}),
            ],
            id="ids that change",
        ),
        pytest.param(
            [
                added({**call("a"), "id": "fc"}),
                arguments("fc", '{"x":1}'),
                done({**call("a", '{"x":1}'), "id": "fc"}),
                added({**call("b"), "id": "fc"}),
                arguments("fc", "{}"),
                done({**call("b", "{}"), "id": "fc"}),
            ],
            id="one id for all",
        ),
    ],
)
def test_calls_that_nothing_counts_are_neither_lost_nor_melted_into_one(events):
    script = responses(CREATED, *events, completed())
    assert calls_of(script) == [("call_a", '{"x":1}'), ("call_b", "{}")]


def test_two_calls_with_one_call_id_stay_two():
    twice = [{**call("a", "{}"), "call_id": "same"}, {**call("b", "{}"), "call_id": "same"}]
    events = [event for one in twice for event in (added({**one, "arguments": ""}), arguments(one["id"], "{}"))]
    script = responses(CREATED, *events, *map(done, twice), completed(*twice))
    assert calls_of(script) == [("same", "{}"), ("same", "{}")]


def test_items_of_a_stream_that_was_resumed_are_told_apart_by_their_ids():
    assert responses(said("m", "a"), said("n", "b"), said("m", "c"), completed()).text == "abc"


@each(
    "events",
    [
        pytest.param([said("m", "Hi", content_index=1), finished("m", "Hi", content_index=0)], id="done"),
        pytest.param([said("m", "Hi", content_index=1), part_done("m", "Hi", content_index=0)], id="part"),
        pytest.param([said("m", "H", content_index=1), said("m", "i", content_index=1)], id="only the item"),
        pytest.param(
            [said("m", "H", content_index=1), part_done("m", "Hi", content_index=0)], id="its end was not said"
        ),
        pytest.param([said("m", "H", content_index=0), said("m", "i", content_index=1)], id="two, finished as one"),
        pytest.param([part_done("m", "Hi", content_index=0)], id="no deltas"),
    ],
)
def test_a_part_that_is_finished_at_another_index_is_said_once(events):
    """Models behind Bedrock's OpenAI endpoint send deltas at 1 and finish the part at 0."""
    whole = message("m", "Hi")
    counted = [{"output_index": 0, **event} for event in (added(message("m")), *events, done(whole))]
    script = responses(CREATED, *counted, completed(whole))
    assert [event.text for event in script if isinstance(event, Text)] in (["Hi"], ["H", "i"])
    assert script.text == "Hi"


@each(
    "events",
    [
        pytest.param([said("m", "A"), said("m", "A"), finished("m", "A"), finished("m", "A")], id="no index"),
        pytest.param([said("m", "A", content_index=0), finished("m", "A", content_index=0)], id="the second not said"),
        pytest.param([said("m", "A", content_index=1), said("m", "A", content_index=2)], id="both moved"),
        pytest.param([], id="none said"),
    ],
)
def test_two_parts_of_the_same_text_stay_two(events):
    whole = message("m", "A", "A")
    script = responses(CREATED, added(message("m")), *events, done(whole), completed(whole))
    assert script.text == "AA"


def test_a_citation_of_a_part_at_another_index_is_read_once():
    note = {"type": "url_citation", "url": "https://example.org"}
    annotated = {
        "type": "response.output_text.annotation.added",
        "item_id": "m",
        "content_index": 1,
        "annotation": note,
    }
    end = part_done("m", "Hi", content_index=0)
    end["part"]["annotations"] = [note]
    script = responses(CREATED, added(message("m")), said("m", "Hi", content_index=1), annotated, end, completed())
    assert json.dumps(script.to_json()).count("example.org") == 1


@each(
    ("fields", "finish"),
    [
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"status": "incomplete"}, "incomplete"),
        ({"incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "cancelled"}, "cancelled"),
        ({"status": "completed"}, "stop"),
        ({"status": None}, "stop"),
    ],
)
def test_a_response_that_is_not_complete_did_not_stop(fields, finish):
    """vLLM says that an answer was cut in the `status` of a `response.completed`."""
    script = responses(CREATED, added(message("m")), said("m", "Hi"), completed(message("m", "Hi"), **fields))
    assert [event.reason for event in script if isinstance(event, Finish)] == [finish]


def test_a_completed_response_that_failed_is_an_error():
    script = responses(CREATED, completed(status="failed", error={"code": "server_error", "message": "no"}))
    assert script.fault == provider_error("no", code="server_error", named=False)


# -- null, and the end of a body ----------------------------------------------------------------------


def chunk(text="", index=0, finish=None, **more):
    return {"choices": [{"index": index, "delta": {"content": text} if text else {}, "finish_reason": finish}], **more}


def piece(text="", index=0, finish=None, **more):
    return {"choices": [{"index": index, "text": text, "finish_reason": finish, "logprobs": None}], **more}


def started(**usage):
    return {"type": "message_start", "message": {"usage": usage}}


def spoken(text):
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
STOP = {"type": "message_stop"}


def candidate(text, **more):
    return {"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **more}]}


def asked(codec, body):
    """Return the chunks that the official SDK of an API makes of a body."""
    said = [{"role": "user", "content": "Hi"}]
    if codec is MessagesCodec:
        client = sdks.anthropic_client(body)
        return list(client.messages.create(model="m", max_tokens=9, messages=said, stream=True))
    if codec is GeminiCodec:
        return list(sdks.genai_client(body).models.generate_content_stream(model="m", contents="Hi"))
    client = sdks.openai_client(body)
    if codec is ChatCodec:
        return list(client.chat.completions.create(model="m", messages=said, stream=True))
    if codec is CompletionsCodec:
        return list(client.completions.create(model="m", prompt="Hi", stream=True))
    return list(client.responses.create(model="m", input="Hi", stream=True))


BEGINS = {
    ChatCodec: [chunk("a"), chunk("b")],
    CompletionsCodec: [piece("a"), piece("b")],
    ResponsesCodec: [said("m", "a"), said("m", "b")],
    MessagesCodec: [started(), BLOCK, spoken("a"), spoken("b")],
    GeminiCodec: [candidate("a"), candidate("b")],
}
apis = pytest.mark.parametrize("codec", BEGINS)


@apis
def test_null_is_passed_over_as_the_sdk_does(codec):
    """llama.cpp begins the answer to two prompts with `data: null`."""
    events = BEGINS[codec]
    body = stream(None, *events)

    assert len(asked(codec, body)) in (len(events), len(events) + 1)
    assert codec().decode(body) == codec().decode(stream(*events))
    if codec is not GeminiCodec:
        with pytest.raises(WireError, match="no object"):
            codec().decode(stream([]))


@apis
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b"\n\r"])
def test_an_event_that_no_blank_line_ends_is_read_where_the_sdk_reads_it(codec, end):
    events = BEGINS[codec]
    body = stream(*events).removesuffix(b"\n\n") + end
    sees_it = len(asked(codec, body)) == len(events)

    script = codec().decode(body)
    assert script.text == ("ab" if sees_it else "a")
    assert sees_it == (codec is GeminiCodec or len(end.replace(b"\r\n", b"\n")) > 1)
    assert script.fault == disconnect("end" if sees_it else "cut")


@each("end", [b"data: [DONE]", b"data: [DONE]\n", b": bye", b""])
@each("codec", [ChatCodec, CompletionsCodec])
def test_an_answer_is_whole_where_only_the_mark_of_its_end_is_cut(codec, end):
    last = chunk(finish="stop") if codec is ChatCodec else piece(finish="stop")
    body = stream(*BEGINS[codec], last)

    assert codec().decode(body + end).fault is None
    assert codec().decode(body + b'data: {"usage": {}}').fault == disconnect("cut")


def test_what_no_blank_line_ends_is_no_end():
    body = stream(started(), BLOCK, spoken("a"), STOP).removesuffix(b"\n")
    assert MessagesCodec().decode(body).fault == disconnect("cut")
    body = stream(said("m", "a"), completed()).removesuffix(b"\n")
    assert ResponsesCodec().decode(body).fault == disconnect("cut")


# -- completions --------------------------------------------------------------------------------------


def tool(arguments, index=0, name="look"):
    named = {"id": f"call_{index}", "type": "function"} if name else {}
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    return {
        "choices": [{"index": 0, "delta": {"tool_calls": [{"index": index, **named, "function": function}]}}],
    }


def written(codec, script):
    """Return the bytes of a stream that a codec writes of a script."""
    request = codec.request({"model": "m", "messages": [], "input": "Hi", "prompt": "Hi", "stream": True})
    return b"".join(run for run in pieces(codec.encoder(request, 1), script) if isinstance(run, bytes))


def document(codec, script):
    return json.loads(codec.body(script, codec.request({"model": "m", "messages": [], "input": "Hi"}), 1))


@each("codec", [ChatCodec(), ChatCodec(PROFILES["ollama"])], ids=["openai", "whole calls"])
@each(
    ("events", "expected"),
    [
        ([tool("")], [""]),
        ([tool(""), tool("", name=None)], [""]),
        ([tool(""), tool("", 1)], ["", ""]),
        ([tool(""), tool("{}", 1)], ["", "{}"]),
        ([tool("{}"), tool("", 1), chunk("and so")], ["{}", ""]),
        ([tool("{}")], ["{}"]),
    ],
)
def test_a_call_without_arguments_is_written_again_as_it_was(events, expected, codec):
    script = ChatCodec().decode(stream(*events, chunk(finish="tool_calls")))
    again = ChatCodec().decode(written(codec, script))
    calls = document(codec, script)["choices"][0]["message"]["tool_calls"]

    assert [found.arguments for found in script.tool_calls] == expected
    assert [found.arguments for found in again.tool_calls] == expected
    assert [found["function"]["arguments"] for found in calls] == expected


def test_a_call_of_responses_without_arguments_is_written_again_as_it_was():
    codec = ResponsesCodec()
    whole = [call("a"), call("b", "{}")]
    events = [added(call("a")), done(whole[0]), added(call("b")), done(whole[1])]
    script = codec.decode(stream(CREATED, *events, completed(*whole)))
    assert calls_of(script) == calls_of(codec.decode(written(codec, script))) == [("call_a", ""), ("call_b", "{}")]
    assert [found["arguments"] for found in document(codec, script)["output"]] == ["", "{}"]


@each("codec", [ChatCodec(), ResponsesCodec()], ids=["chat", "responses"])
def test_a_call_that_a_test_gives_no_arguments_has_an_empty_object(codec):
    assert [c.arguments for c in codec.decode(written(codec, Script(ToolCall("f"), ToolCall("g")))).tool_calls] == [
        "{}"
    ] * 2


CHAT_LOGPROBS = {"content": [{"id": 7, "token": "a", "bytes": [97], "logprob": -0.5, "top_logprobs": []}]}
LEGACY_LOGPROBS = {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{"b": -2.0}], "text_offset": [0]}


@each("codec", [ChatCodec, CompletionsCodec])
@each("logprobs", [CHAT_LOGPROBS, LEGACY_LOGPROBS], ids=["chat", "legacy"])
def test_log_probabilities_are_read_in_the_form_of_either_api(codec, logprobs):
    """llama.cpp's legacy completions have them as chat completions do; other servers have it the other way about."""
    event = (chunk if codec is ChatCodec else piece)("a")
    event["choices"][0]["logprobs"] = logprobs
    (token,) = json.loads(codec().decode(stream(event))[0].logprobs)

    assert (token["token"], token["logprob"], token["bytes"]) == ("a", -0.5, [97])
    assert token.get("id") == (7 if logprobs is CHAT_LOGPROBS else None)
    assert [top["token"] for top in token["top_logprobs"]] == ([] if logprobs is CHAT_LOGPROBS else ["b"])


def used(prompt, answer, **more):
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer, **more}


TIMED = {"timings": {"predicted_n": 4}}


def usage_chunk(*counts):
    return {"choices": [], "usage": used(*counts)}


@each(
    ("events", "expected"),
    [
        pytest.param(
            [piece("a"), piece("b", 1), piece(finish="stop", usage=used(8, 4), **TIMED), piece("c", 1),
             piece("", 1, "length", usage=used(8, 4), **TIMED)],
            (16, 8), id="legacy, each as much, and timed",
        ),
        pytest.param(
            [chunk("a"), chunk("b", 1), chunk("", 1, "stop"), usage_chunk(9, 1), chunk("c"), chunk("d"),
             chunk(finish="stop"), usage_chunk(9, 3)],
            (18, 4), id="chat, fewer than pieces",
        ),
        pytest.param(
            [chunk("a"), chunk("b", 1), chunk(finish="stop"), usage_chunk(9, 30), chunk("", 1, "stop"),
             usage_chunk(9, 7)],
            (18, 37), id="chat, fewer than before",
        ),
        pytest.param(
            [*[chunk("a", n) for n in range(3)], *[one for n in range(3) for one in (chunk("", n, "stop"), usage_chunk(9, 1))]],
            (27, 3), id="three",
        ),
        pytest.param(
            [chunk("a"), chunk("b", 1), chunk(finish="stop"), chunk("", 1, "stop"), usage_chunk(9, 2)],
            (9, 2), id="one for all",
        ),
        pytest.param(
            [chunk("a"), chunk("b", 1), chunk(finish="stop", usage=used(9, 2)), chunk("", 1, "stop", usage=used(9, 2))],
            (9, 2), id="one for all, twice",
        ),
        pytest.param(
            [chunk("a"), chunk("b", 1), chunk(finish="stop"), usage_chunk(9, 2), chunk("c", 1), chunk("", 1, "stop"),
             usage_chunk(9, 3)],
            (9, 3), id="counts that grow",
        ),
        pytest.param(
            [chunk("a", usage=used(9, 1)), chunk("b", 1, usage=used(9, 1)), chunk("c", usage=used(9, 2)),
             chunk(finish="stop", usage=used(9, 2)), chunk("", 1, "stop", usage=used(9, 1)), usage_chunk(9, 3)],
            (9, 3), id="on every chunk, and then of all",
        ),
        pytest.param(
            [chunk("a"), chunk("b"), chunk(finish="stop"), usage_chunk(9, 1), usage_chunk(9, 1)], (9, 1), id="one answer",
        ),
    ],
)  # fmt: skip
def test_the_usage_is_that_of_all_answers_also_where_each_has_its_own(events, expected):
    """llama.cpp counts each answer by itself; nothing but the numbers tells that from counts that grow."""
    codec = CompletionsCodec if "text" in events[0]["choices"][0] else ChatCodec
    usage = codec().decode(stream(*events)).usage
    assert (usage.input_tokens, usage.output_tokens) == expected


def test_counts_are_added_up_in_their_details_too():
    details = {"prompt_tokens_details": {"cached_tokens": 3}, "cost": 0.5}
    events = [piece("a"), piece("b", 1)]
    events += [piece("", n, "stop", usage=used(8, 1, **details)) for n in range(2)]
    usage = CompletionsCodec().decode(stream(*events)).usage
    assert (usage.cached_tokens, usage.total_tokens, json.loads(usage.extra)["cost"]) == (6, 18, 1.0)


# -- Messages -----------------------------------------------------------------------------------------

FAILED = {"type": "error", "error": {"type": "overloaded_error", "message": "no"}}


@each(
    ("end", "fault"),
    [
        ([], disconnect("end")),
        ([FAILED], provider_error("no", "overloaded_error")),
        ([STOP], None),
    ],
)
def test_what_the_begin_of_a_message_counted_is_kept_where_nothing_counts_on(end, fault):
    counts = started(input_tokens=5, cache_read_input_tokens=2, output_tokens=1)
    script = MessagesCodec().decode(stream(counts, BLOCK, spoken("a"), *end))
    assert (script.usage.input_tokens, script.usage.cached_tokens, script.usage.output_tokens) == (7, 2, 1)
    assert script.fault == fault
    counted = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}
    whole = MessagesCodec().decode(stream(counts, BLOCK, spoken("a"), counted))
    assert [event.output_tokens for event in whole if isinstance(event, Usage)] == [9]


@each(
    ("data", "expected"),
    [
        ({"code": 500, "message": "no", "type": "server_error"}, provider_error("no", "server_error", "500")),
        ({"code": 400, "message": "no", "type": "exceed_context_size_error"},
         provider_error("no", "exceed_context_size_error", "400")),
        ({"type": "error", "message": "no"}, provider_error("no")),
        ({"error": {"message": "no", "type": "BadRequestError", "code": 400}}, provider_error("no", "BadRequestError", "400")),
        (FAILED, provider_error("no", "overloaded_error")),
    ],
)  # fmt: skip
def test_an_error_says_its_kind_and_code_in_whichever_form(data, expected):
    """llama.cpp's event that is named `error` is the error itself, and has its type."""
    body = stream(started(input_tokens=1)) + f"event: error\ndata: {json.dumps(data)}\n\n".encode()
    assert MessagesCodec().decode(body).fault == expected
    broken = {problem.rule.id for problem in check_wire(body, api="anthropic_messages").problems}
    assert "anthropic_messages.message_stop" not in broken
    late = {problem.rule.id for problem in check_wire(body + stream(STOP), api="anthropic_messages").problems}
    assert late - broken == {"anthropic_messages.error"}


def test_an_error_that_is_a_text_is_its_message():
    assert MessagesCodec().decode(b"event: error\ndata: overloaded\n\n").fault == provider_error("overloaded")


PLACE = "https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/us-east5/publishers/anthropic/models/"


@pytest.mark.parametrize(
    "method", ["claude:streamRawPredict", "claude@1:streamRawPredict", "claude%401%3AstreamRawPredict"]
)
def test_claude_at_vertex_is_a_script_on_a_tape(tmp_path, method):
    asked = {"anthropic_version": "vertex-2023-10-16", "max_tokens": 9, "messages": [], "stream": True}
    write(tmp_path / "tape.yaml", interaction_of(Script("Hi"), PLACE + method, asked))
    with taping.tape(tmp_path / "tape.yaml", mode="none").open() as tape:
        assert tape.script().text == "Hi"


# -- Gemini -------------------------------------------------------------------------------------------

AT_VERTEX = {"createTime": "2026-01-01T00:00:00Z"}


@each(
    ("number", "more", "expected"),
    [
        (1, {}, "stop"), (2, {}, "length"), (3, {}, "content_filter"), (4, {}, "RECITATION"), (5, {}, "OTHER"),
        (8, {}, "PROHIBITED_CONTENT"), (7, AT_VERTEX, "PROHIBITED_CONTENT"), (2, AT_VERTEX, "length"),
        (7, {"usageMetadata": {"trafficType": 1}}, "PROHIBITED_CONTENT"), (999, {}, "999"), (0, {}, None),
    ],
)  # fmt: skip
def test_enums_may_be_numbers(number, more, expected):
    """Google's older clients ask for them so, `$alt=json;enum-encoding=int`."""
    ratings = [{"category": 8, "probability": 1}]
    body = stream(candidate("a") | more, candidate("b", finishReason=number, safetyRatings=ratings) | more)
    script = GeminiCodec().decode(body)
    assert (script.text, script.finish_reason) == ("ab", expected)
    assert (
        GeminiCodec().decode(b"[" + json.dumps(candidate("a", finishReason=1)).encode() + b"]").finish_reason == "stop"
    )


def test_a_prompt_may_be_blocked_for_a_number():
    assert GeminiCodec().decode(stream({"promptFeedback": {"blockReason": 2}})).finish_reason == "content_filter"
