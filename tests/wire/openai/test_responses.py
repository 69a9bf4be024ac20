"""The Responses API: the codec against recordings, the official SDK and its types, broken bytes and itself."""

from __future__ import annotations

import contextlib
import json
from itertools import groupby
from pathlib import Path

import corpus
import openai
import pydantic
import pytest
import sdks
import strategies
from hypothesis import given
from hypothesis import strategies as st
from nesting import depths, nested
from openai.types.responses import Response, ResponseStreamEvent
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
    stall,
)
from fakellm.contracts.grammar.check import check_wire
from fakellm.errors import WireError
from fakellm.script.events import Content, Native, Raw
from fakellm.wire.codec import has_orderly_calls, pieces
from fakellm.wire.openai.responses import ResponsesCodec

CODEC = ResponsesCodec()
API = CODEC.api
STREAM_EVENT = pydantic.TypeAdapter(ResponseStreamEvent)
TERMINAL = ("response.completed", "response.incomplete", "response.failed")
both = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


def request(**fields):
    return CODEC.request({"model": "gpt-5", "input": "Say hi", "stream": True, **fields})


def encoded(script, **fields):
    """Return the bytes of a stream; what a fault other than bytes would do is left out."""
    encoder = CODEC.encoder(request(**fields), 1)
    return b"".join(piece for piece in pieces(encoder, script) if isinstance(piece, bytes))


def events_of(body):
    """Return the events of a stream as objects; each has the name that its type says."""
    found = []
    for event in body.decode().split("\n\n")[:-1]:
        name, data = event.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def as_body(events):
    """Return a stream of events, without the lines that name them."""
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode()


def native(kind, **fields):
    return Native(API, {"type": kind, **fields})


def plain(value, *, but=("id", "encrypted_content")):
    """Return items without what differs from event to event in every recording, and without what says nothing."""
    if isinstance(value, dict):
        return {
            key: plain(item, but=())
            for key, item in value.items()
            if key not in but and item is not None and item != []
        }
    return [plain(item, but=but) for item in value] if isinstance(value, list) else value


def summary(events):
    """Return what the events of a stream say: texts, calls, items, and the response at the end."""
    said = {"text": "", "refusal": "", "reasoning": "", "arguments": ""}
    names = {
        "response.output_text.delta": "text",
        "response.refusal.delta": "refusal",
        "response.reasoning_summary_text.delta": "reasoning",
        "response.reasoning_text.delta": "reasoning",
        "response.function_call_arguments.delta": "arguments",
    }
    items, response = [], {}
    for event in events:
        kind = event["type"]
        if kind in names:
            said[names[kind]] += event["delta"]
        elif kind == "response.output_item.done":
            items.append(plain(event["item"], but=("id", "encrypted_content")))
        elif kind in TERMINAL:
            response = {
                "kind": kind,
                "output": plain(event["response"]["output"]),
                **{name: event["response"].get(name) for name in ("status", "incomplete_details", "error")},
                "usage": sdks.without_nulls(event["response"].get("usage")),
            }
    calls = [(item["call_id"], item["name"], item["arguments"]) for item in items if item["type"] == "function_call"]
    return {**said, "calls": calls, "items": sorted(items, key=json.dumps), "response": response}


def streamed(body, *, asynchronous=False):
    """Return the events that the SDK gives, and how it ended."""
    events, asked = [], {"model": "m", "input": "i", "stream": True}

    async def read():
        async for event in await sdks.openai_client(body, asynchronous=True).responses.create(**asked):
            events.append(event)

    try:
        if asynchronous:
            sdks.run(read())
        else:
            events.extend(sdks.openai_client(body).responses.create(**asked))
    except Exception as error:
        return events, f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}: {error}"
    return events, "ok"


def final_of(body, *, asynchronous=False, **asked):
    """Return the response that the SDK's own helper makes of a stream."""
    client = sdks.openai_client(body, asynchronous=asynchronous)

    async def read():
        async with client.responses.stream(model="m", input="i", **asked) as stream:
            return await stream.get_final_response()

    if asynchronous:
        return sdks.run(read())
    with client.responses.stream(model="m", input="i", **asked) as stream:
        return stream.get_final_response()


def check_types(event):
    """Raise unless the SDK's types accept an event, strictly; what a web search does is not said at its begin."""
    begun = event.get("item") or {}
    if event["type"] == "response.output_item.added" and begun.get("type") == "web_search_call":
        event = {**event, "item": {**begun, "action": {"type": "search", "query": "q"}}}
    return STREAM_EVENT.validate_python(event, strict=True)


# -- recordings ---------------------------------------------------------------------------------------


@pytest.mark.exhaustive
@corpus.needs_corpus
@each("row", corpus.expected_of(API))
def test_a_recorded_stream_written_again_says_the_same(row):
    script = CODEC.decode(corpus.body(row["file"], row["idx"]))
    written, end = streamed(encoded(script))

    assert not script.allow_illegal
    assert summary(sdks.dumped(written)) == summary(corpus.chunks(row))
    assert end.startswith(row["end"])


@corpus.needs_corpus
@each("row", corpus.expected_of(API))
def test_a_recorded_stream_keeps_its_chunk_boundaries(row):
    script = CODEC.decode(corpus.body(row["file"], row["idx"]))
    deltas = [chunk for chunk in corpus.chunks(row) if chunk["type"].endswith(".delta")]

    for kind, name in (("text", "output_text"), ("tool_call", "function_call_arguments")):
        pieces_ = [
            getattr(event, "text", None) or getattr(event, "arguments", "") for event in script if event.type == kind
        ]
        recorded = [delta["delta"] for delta in deltas if delta["type"] == f"response.{name}.delta"]
        assert [piece for piece in pieces_ if piece] == recorded


@corpus.needs_corpus
@each("row", corpus.expected_of(API))
def test_what_was_read_of_a_recording_is_read_again(row):
    script = CODEC.decode(corpus.body(row["file"], row["idx"]))
    again = CODEC.decode(encoded(script))

    assert [plainly(event) for event in again] == [plainly(event) for event in script]


def plainly(event):
    """Return an event without the nulls in its JSON."""
    extra = json.loads(event.extra) if isinstance(event, Usage) and event.extra else {}
    return event if not extra else (event.input_tokens, event.output_tokens, sdks.without_nulls(extra))


def fixtures():
    """Return recorded streams that are stored as lines of JSON, of OpenAI and of its look-alikes."""
    for row in corpus.manifest():
        if row["api"] == [API] and row["file"].endswith(".chunks.txt"):
            text = (Path(corpus.CORPUS) / "streams" / row["file"]).read_text()
            chunks = [json.loads(line) for line in text.splitlines() if line.strip()]
            starts = [place for place, chunk in enumerate(chunks) if chunk["type"] == "response.created"]
            for begin, end in zip(starts, [*starts[1:], len(chunks)], strict=True):
                yield pytest.param(chunks[begin:end], id=f"{row['file'].split('.')[3]}.{begin}")


@corpus.needs_corpus
@each("recorded", list(fixtures()))
def test_a_recorded_stream_of_another_service_written_again_says_the_same(recorded):
    script = CODEC.decode(as_body(recorded))
    written, said = summary(events_of(encoded(script))), summary(recorded)

    assert not script.allow_illegal
    for name in ("text", "refusal", "reasoning", "calls", "response"):
        assert written[name] == said[name]
    assert CODEC.decode(encoded(script)) == script


# -- requests -----------------------------------------------------------------------------------------


def test_a_request_is_read():
    read = request(
        instructions="Be brief",
        tools=[{"type": "function", "name": "f", "parameters": {}}, {"type": "web_search"}],
        temperature=0.5,
    )

    assert (read.api, read.model, read.stream, read.choices) == (API, "gpt-5", True, 1)
    assert [(message.role, message.content) for message in read.messages] == [
        ("system", "Be brief"),
        ("user", "Say hi"),
    ]
    assert read.tools == ("f", "web_search")
    assert read.options == {"temperature": 0.5}
    assert read.json["instructions"] == "Be brief"


def test_the_items_of_an_input_are_messages():
    items = [
        {"role": "developer", "content": "Be brief"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_image"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "raw"},
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "two"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b"}]},
        {"type": "item_reference", "id": "x"},
    ]
    system, user, calls, one, two, assistant = request(input=items).messages

    assert (system.role, user.role, user.content) == ("system", "user", "a")
    assert calls.role == "assistant"
    assert calls.tool_calls == (ToolCall("f", "{}", id="c1", index=0), ToolCall("g", "raw", id="c2", index=1))
    assert [(m.role, m.content, m.tool_call_id) for m in (one, two)] == [("tool", "one", "c1"), ("tool", "two", "c2")]
    assert (assistant.role, assistant.content) == ("assistant", "b")


@each(
    ("body", "message"),
    [
        ([], "Missing required parameter: 'model'."),
        ({"input": "i"}, "Missing required parameter: 'model'."),
        ({"model": "m"}, "Missing required parameter: 'input'."),
        ({"model": "m", "input": 5}, "'input' is 5"),
        ({"model": "m", "input": ["i"]}, "'input' holds 'i'"),
        ({"model": "m", "input": "i", "tools": "t"}, "'tools' is 't'"),
        ({"model": "m", "input": "i", "stream": "yes"}, "'stream' is 'yes'"),
    ],
)
def test_what_is_no_request_is_refused_in_words(body, message):
    with pytest.raises(WireError, match=message):
        CODEC.request(body)


@each(
    "body",
    [{"model": "m", "previous_response_id": "resp_1"}, {"prompt": {"id": "p"}}, {"model": "m", "conversation": "c"}],
)
def test_a_request_can_have_something_else_instead_of_an_input(body):
    assert CODEC.request(body).messages == ()


def test_the_sdk_sends_what_the_codec_reads():
    seen = []
    client = sdks.openai_client(encoded(Script("Hi")), seen=seen)
    list(client.responses.create(model="m", input=[{"role": "user", "content": "hi"}], instructions="Be", stream=True))

    read = CODEC.request(json.loads(seen[0].content))
    assert (read.model, read.prompt, read.stream) == ("m", "Be\nhi", True)


def test_an_answer_is_the_same_every_time_and_has_ids_of_its_call():
    first, again, second = (b"".join(pieces(CODEC.encoder(request(), number), ALL)) for number in (1, 1, 2))

    assert first == again
    ids = [{event["item_id"] for event in events_of(body) if "item_id" in event} for body in (first, second)]
    assert ids[0] & ids[1] == {SEARCH["id"]}
    assert dict(CODEC.headers(2))["x-request-id"] == "req_fakellm000002"


# -- what is written ----------------------------------------------------------------------------------

SEARCH = {
    "type": "web_search_call",
    "id": "ws_1",
    "status": "completed",
    "action": {"type": "search", "query": "q", "queries": ["q"]},
}
ALL = Script(
    Reasoning("hm, "),
    Reasoning("so"),
    Reasoning("", signature="secret"),
    Native(API, SEARCH),
    "Hel",
    "lo",
    Refusal("no"),
    ToolCall("f", '{"a": '),
    ToolCall(arguments="1}"),
    ToolCall("g", id="mine"),
    Finish(),
    Usage(7, 5, cached_tokens=2, reasoning_tokens=3),
)


def test_a_stream_says_one_thing_after_the_other():
    assert [event["type"].removeprefix("response.") for event in events_of(encoded(ALL))] == [
        "created", "in_progress",
        "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta",
        "reasoning_summary_text.delta", "reasoning_summary_text.done", "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added", "web_search_call.in_progress", "web_search_call.searching", "web_search_call.completed",
        "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.delta", "output_text.done",
        "content_part.done", "content_part.added", "refusal.delta", "refusal.done", "content_part.done",
        "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.delta",
        "function_call_arguments.done", "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done",
        "completed",
    ]  # fmt: skip


@both
def test_the_sdk_reads_all_that_a_script_can_say(asynchronous):
    events, end = streamed(encoded(ALL), asynchronous=asynchronous)
    said = summary(sdks.dumped(events))

    assert end == "ok"
    assert (said["text"], said["refusal"], said["reasoning"]) == ("Hello", "no", "hm, so")
    assert said["calls"] == [("call_0", "f", '{"a": 1}'), ("mine", "g", "{}")]
    response = events[-1].response
    assert (response.status, response.output_text) == ("completed", "Hello")
    assert [item.type for item in response.output] == [
        "reasoning", "web_search_call", "message", "function_call", "function_call",
    ]  # fmt: skip
    assert response.output[0].encrypted_content == "secret"
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (7, 5, 12)
    assert (usage.input_tokens_details.cached_tokens, usage.output_tokens_details.reasoning_tokens) == (2, 3)


@pytest.mark.exhaustive
@both
def test_the_helper_of_the_sdk_gives_the_response(asynchronous):
    response = final_of(encoded(ALL), asynchronous=asynchronous)

    assert response.output_text == "Hello"
    assert [item.call_id for item in response.output if item.type == "function_call"] == ["call_0", "mine"]


@both
def test_structured_output_is_parsed(asynchronous):
    class Answer(pydantic.BaseModel):
        number: int

    response = final_of(encoded(Script('{"number"', ": 42}")), asynchronous=asynchronous, text_format=Answer)

    assert response.output_parsed == Answer(number=42)


def test_the_arguments_of_a_tool_are_parsed():
    class Weather(pydantic.BaseModel):
        city: str

    body = encoded(Script(ToolCall("Weather", '{"city":'), ToolCall(arguments='"Rome"}')))
    [call] = final_of(body, tools=[openai.pydantic_function_tool(Weather)]).output

    assert call.parsed_arguments == Weather(city="Rome")


@both
def test_the_sdk_reads_a_document(asynchronous):
    body = CODEC.body(ALL, request(), 7)
    client = sdks.openai_client(body, asynchronous=asynchronous, content_type="application/json")
    answer = client.responses.create(model="m", input="i")
    response = sdks.run(answer) if asynchronous else answer

    assert (response.output_text, response.status, response.usage.total_tokens) == ("Hello", "completed", 12)
    Response.model_validate(json.loads(body), strict=True)


def test_a_document_has_the_items_that_the_stream_has():
    assert json.loads(CODEC.body(ALL, request(), 1)) == events_of(encoded(ALL))[-1]["response"]


@each(
    ("reason", "status", "details", "item"),
    [
        ("stop", "completed", None, "completed"),
        ("tool_calls", "completed", None, "completed"),
        ("length", "incomplete", "max_output_tokens", "incomplete"),
        ("content_filter", "incomplete", "content_filter", "incomplete"),
        ("steered", "incomplete", "steered", "incomplete"),
        ("end_turn", "completed", None, "completed"),
    ],
)
def test_a_finish_reason_is_a_status(reason, status, details, item):
    events, _ = streamed(encoded(Script("a", Finish(reason))))
    response = events[-1].response

    assert events[-1].type == f"response.{status}"
    assert (response.status, response.output[0].status) == (status, item)
    assert (response.incomplete_details and response.incomplete_details.reason) == details
    assert json.loads(CODEC.body(Script("a", Finish(reason)), request(), 1))["status"] == status


def test_a_finish_reason_can_say_more():
    script = Script(
        "a", Finish("cancelled", extra={"status": "cancelled", "moderation": None, "billing": {"payer": "x"}})
    )
    last = events_of(encoded(script))[-1]

    assert last["type"] == "response.cancelled"
    assert last["response"]["billing"] == {"payer": "x"}
    assert CODEC.decode(encoded(script)).finish_reason == "cancelled"


@each("extra", ['{"output": 3}', '{"output": [3]}', '{"status": []}'])
def test_an_extra_of_another_form_does_no_harm(extra):
    assert events_of(encoded(Script("a", Finish(extra=extra))))[-1]["type"] == "response.completed"


def test_an_empty_script_is_an_empty_answer():
    last = events_of(encoded(Script()))[-1]

    assert (last["type"], last["response"]["output"]) == ("response.completed", [])


def test_there_is_one_answer():
    script = Script("a", Text("b", choice=1), Finish(), Finish("length", choice=1))

    assert summary(events_of(encoded(script)))["text"] == "a"
    assert json.loads(CODEC.body(script, request(), 1))["status"] == "completed"


def test_pieces_of_other_apis_are_left_out():
    script = Script("a", Native("openai.chat", {"audio": {}}), "b")

    assert CODEC.decode(encoded(script)).chunks[:2] == (Text("a"), Text("b"))


def test_raw_text_and_silence_stand_where_they_were_scripted():
    script = Script(Raw(": wait\n\n"), "a", Pause(2), "b")
    steps = list(pieces(CODEC.encoder(request(), 1), script))

    assert b": wait\n\n" in steps
    assert (
        steps.index(Pause(2))
        == next(n for n, step in enumerate(steps) if isinstance(step, bytes) and b'"a"' in step) + 1
    )
    assert CODEC.decode(sent(steps)).text == "ab"


def test_a_signature_ends_a_reasoning_item():
    script = Script(Reasoning("a", signature="1"), Reasoning("b", signature="2"), Reasoning("", signature=""))
    items = events_of(encoded(script))[-1]["response"]["output"]

    assert [item["encrypted_content"] for item in items] == ["1", "2", ""]
    assert [part["text"] for item in items for part in item["summary"]] == ["a", "b"]


TOOL = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}


def test_a_response_repeats_the_request():
    asked = {
        "instructions": "Be brief",
        "tools": [TOOL, {"type": "web_search_preview"}],
        "tool_choice": {"type": "function", "name": "f"},
        "parallel_tool_calls": False,
        "temperature": 0.5,
        "max_output_tokens": 16,
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}},
        "metadata": {"a": "b"},
        "store": False,
        "service_tier": "flex",
        "top_logprobs": 2,
        "previous_response_id": "resp_0",
    }
    for event in events_of(encoded(Script("a"), **asked)):
        response = event.get("response")
        if response:
            check_types(event)
            assert {name: response[name] for name in asked if name not in ("tools", "reasoning", "text")} == {
                name: value for name, value in asked.items() if name not in ("tools", "reasoning", "text")
            }
            assert response["tools"][0] == {"description": None, "strict": True, **TOOL}
            assert response["reasoning"] == {"effort": "low", "summary": None}
            assert response["text"]["format"]["name"] == "n"


# -- what only this API has ---------------------------------------------------------------------------

NATIVES = [
    SEARCH,
    {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["q"], "results": None},
    {
        "type": "code_interpreter_call", "id": "ci_1", "status": "completed", "code": "1 + 1", "container_id": "c",
        "outputs": [{"type": "logs", "logs": "2"}],
    },
    {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "aGk="},
    {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "s", "tools": [{"name": "t", "input_schema": {}}]},
    {"type": "mcp_call", "id": "mcp_1", "server_label": "s", "name": "t", "arguments": "{}", "output": "o", "error": None},
    {"type": "custom_tool_call", "id": "ctc_1", "status": "completed", "call_id": "c", "name": "n", "input": "raw"},
    {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "s", "name": "t", "arguments": "{}"},
    {
        "type": "local_shell_call", "id": "lsh_1", "status": "completed", "call_id": "c",
        "action": {"type": "exec", "command": ["ls"], "env": {}},
    },
    {
        "type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
        "content": [{"type": "output_text", "text": "a", "annotations": []}],
    },
]  # fmt: skip


@pytest.mark.exhaustive
@each("item", NATIVES, ids=lambda item: item["type"])
def test_an_item_comes_whole(item):
    events = events_of(encoded(Script("a", Native(API, item), "b")))
    for event in events:
        check_types(event)
    mine = [event for event in events if event.get("output_index") == 1]

    assert mine[0]["item"].get("status") in (None, "in_progress")
    assert mine[-1]["item"] == item
    assert all(event["item_id"] == item["id"] for event in mine[1:-1])
    for name, value in (("input", "raw"), ("code", "1 + 1"), ("arguments", "{}")):
        deltas = [event["delta"] for event in mine if event["type"].endswith(".delta")]
        assert not deltas or item.get(name) is None or deltas == [value]
    assert events[-1]["response"]["output"][1] == item
    assert final_of(as_body(events)).output[1].type == item["type"]


@each("item", NATIVES[:-1], ids=lambda item: item["type"])
def test_an_item_that_came_whole_is_read_whole(item):
    script = Script(Native(API, item), "b", Finish(), Usage(1, 1, 0, 0))
    read = CODEC.decode(encoded(script))

    assert json.loads(read[0].data) == item
    assert read[1:] == script[1:]


def test_what_failed_does_not_complete():
    kinds = [event["type"] for event in events_of(encoded(Script(native("mcp_call", error={"message": "no"}))))]

    assert "response.mcp_call.failed" in kinds
    assert "response.mcp_call.completed" not in kinds


def test_an_item_without_an_id_gets_one():
    events = events_of(encoded(Script(native("web_search_call", status="completed", action={"type": "search"}))))

    assert events[2]["item"]["id"] == events[3]["item_id"] == "ws_fakellm000001000"


def test_items_and_parts_can_be_cut_where_the_script_says():
    script = Script(
        native("response.content_part.added", part={"type": "reasoning_text"}),
        Reasoning("raw"),
        native("response.output_item.added", item={"type": "reasoning", "status": "in_progress"}),
        Reasoning("one"),
        native("response.reasoning_summary_part.added", part={"type": "summary_text"}),
        Reasoning("two"),
        native("response.output_item.added", item={"type": "message", "phase": "commentary"}),
        "a",
        native("response.content_part.added", part={"type": "output_text"}),
        "b",
        native("response.output_item.added", item={"type": "message", "phase": "final_answer"}),
        "c",
        Finish(),
        Usage(1, 1, 0, 0),
    )
    events = events_of(encoded(script))
    for event in events:
        check_types(event)
    check(encoded(script))

    assert plain(events[-1]["response"]["output"]) == [
        {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "raw"}]},
        {
            "type": "reasoning", "status": "completed",
            "summary": [{"type": "summary_text", "text": "one"}, {"type": "summary_text", "text": "two"}],
        },
        {
            "type": "message", "status": "completed", "role": "assistant", "phase": "commentary",
            "content": [{"type": "output_text", "text": "a"}, {"type": "output_text", "text": "b"}],
        },
        {
            "type": "message", "status": "completed", "role": "assistant", "phase": "final_answer",
            "content": [{"type": "output_text", "text": "c"}],
        },
    ]  # fmt: skip
    assert list(map(repr_of, CODEC.decode(encoded(script)))) == list(map(repr_of, script))


def repr_of(event):
    return json.loads(event.data) if isinstance(event, Native) else event


CITATION = {"type": "url_citation", "url": "https://a", "title": "t", "start_index": 0, "end_index": 1}


def test_an_annotation_belongs_to_the_text_that_is_open():
    annotation = native("response.output_text.annotation.added", annotation=CITATION)
    script = Script("a", annotation, "b", annotation, Finish(), Usage(1, 1, 0, 0))
    events, end = streamed(encoded(script))

    assert end == "ok"
    added = [event for event in events if event.type == "response.output_text.annotation.added"]
    assert [(event.annotation_index, event.item_id) for event in added] == [
        (0, "msg_fakellm000001000"), (1, "msg_fakellm000001000"),
    ]  # fmt: skip
    assert [note.url for note in events[-1].response.output[0].content[0].annotations] == ["https://a"] * 2
    assert list(map(repr_of, CODEC.decode(encoded(script)))) == list(map(repr_of, script))


def test_any_other_event_is_written_as_it_is_and_numbered():
    script = Script(
        "a", native("keepalive", sequence_number=99), "b", native("response.rate_limits.updated", limits=[])
    )
    events = events_of(encoded(script))

    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert {"type": "response.rate_limits.updated", "limits": [], "sequence_number": 7} in events
    assert CODEC.decode(encoded(script)).text == "ab"


@each("data", ["{}", '{"type": "response.\\nx"}', '{"type": "message"}'])
def test_native_data_of_another_form_does_no_harm(data):
    assert CODEC.decode(encoded(Script("a", Native(API, data), "b"))).text == "ab"


@each("kind", ["output_item", "content_part", "reasoning_summary_part", "output_text.annotation"])
def test_an_event_without_what_it_is_about_does_no_harm(kind):
    assert CODEC.decode(encoded(Script("a", native(f"response.{kind}.added"), "b", Reasoning("c")))).text == "ab"


# -- log probabilities --------------------------------------------------------------------------------

TOKEN = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}


def test_log_probabilities_stand_on_the_deltas_and_on_the_part():
    script = Script(Text("a", logprobs=[TOKEN]), Text("b"), Finish(), Usage(1, 1, 0, 0))
    events = events_of(encoded(script))
    for event in events:
        check_types(event)

    assert [event["logprobs"] for event in events if event["type"] == "response.output_text.delta"] == [[TOKEN], []]
    assert events[-1]["response"]["output"][0]["content"][0]["logprobs"] == [TOKEN]
    assert CODEC.decode(encoded(script))[0] == Text("a", logprobs=json.dumps([TOKEN], separators=(",", ":")))


@each(
    ("asked", "alternatives"),
    [({"include": ["message.output_text.logprobs"]}, 0), ({"top_logprobs": 2}, 2)],
)
def test_log_probabilities_that_were_asked_for_and_not_scripted_are_made_up(asked, alternatives):
    events = events_of(encoded(Script("é", ""), **asked))
    for event in events:
        check_types(event)
    first, second = (event["logprobs"] for event in events if event["type"] == "response.output_text.delta")

    assert (first[0]["token"], first[0]["bytes"], len(first[0]["top_logprobs"])) == ("é", [195, 169], alternatives)
    assert second == []


# -- errors and broken streams ------------------------------------------------------------------------


@each(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (503, openai.InternalServerError),
    ],
)
def test_the_sdk_raises_its_exception_for_an_http_error(status, kind):
    headers, body = CODEC.error(http_error(status, "not now", retry_after=7), 1)
    client = sdks.openai_client(body, status=status, headers=headers)
    with pytest.raises(kind, match="not now") as caught:
        client.responses.create(model="m", input="i", stream=True)

    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.request_id == "req_fakellm000001"


FAULT = provider_error("too busy", kind="requests", code="rate_limit_exceeded")


@both
def test_the_sdk_raises_for_an_error_in_the_stream(asynchronous):
    events, end = streamed(encoded(Script("a", FAULT)), asynchronous=asynchronous)

    assert [event.delta for event in events if event.type == "response.output_text.delta"] == ["a"]
    assert end == "openai.APIError: too busy"


def test_an_error_is_followed_by_the_failed_response():
    *_, error, failed = events_of(encoded(Script("a", Usage(3, 1), FAULT)))

    assert error["error"] == {
        "type": "requests", "code": "rate_limit_exceeded", "message": "too busy", "param": None,
    }  # fmt: skip
    assert failed["response"]["error"] == {"code": "rate_limit_exceeded", "message": "too busy"}
    assert failed["response"]["usage"]["input_tokens"] == 3
    check_types(failed)


@both
@pytest.mark.parametrize(("named", "kind"), [(True, "error"), (False, "response.failed")])
def test_the_other_forms_of_an_error_are_events_for_the_sdk(asynchronous, named, kind):
    fault = provider_error("too busy", code="rate_limit_exceeded", named=named)
    events, end = streamed(encoded(Script("a", fault)), asynchronous=asynchronous)
    error = events[-1] if named else events[-1].response.error

    assert (events[-1].type, end, error.message, error.code) == (kind, "ok", "too busy", "rate_limit_exceeded")
    check_types(events_of(encoded(Script("a", fault)))[-1])


@each(
    "fault",
    [
        FAULT,
        provider_error(),
        provider_error("m", code="c", named=True),
        provider_error("m", code="c", named=False),
    ],
)
def test_an_error_in_the_stream_is_read_back(fault):
    assert CODEC.decode(encoded(Script("a", fault))) == Script("a", fault)


@each(
    ("data", "fault"),
    [
        ({"type": "response.failed", "response": {}}, provider_error("", named=False)),
        ({"type": "error"}, provider_error("", named=True)),
        ({"type": "error", "error": None}, provider_error("")),
        ({"error": {"message": "m"}}, provider_error("m")),
        ({"type": "error", "error": "no"}, provider_error("no")),
    ],
)
def test_an_error_may_say_little(data, fault):
    assert CODEC.decode(as_body([data])) == Script(fault)


@each(
    ("fault", "read"),
    [
        (disconnect("end"), disconnect("end")),
        (disconnect("cut"), disconnect("cut")),
        (disconnect("reset"), disconnect("end")),
        (stall(), disconnect("end")),
    ],
)
def test_a_stream_that_breaks_is_read_as_one(fault, read):
    assert CODEC.decode(encoded(Script("a", fault))) == Script("a", read)


def test_an_empty_body_is_a_stream_without_its_end():
    assert CODEC.decode(b"") == Script(disconnect("end"))
    assert CODEC.decode(b"data: [DONE]\n\n") == Script(disconnect("end"))


# -- look-alikes --------------------------------------------------------------------------------------

READ = CODEC.decode(encoded(ALL))


def test_names_of_events_and_numbers_are_not_needed():
    events = [
        {key: value for key, value in event.items() if key != "sequence_number"} for event in events_of(encoded(ALL))
    ]

    assert CODEC.decode(as_body(events) + b"data: [DONE]\n\n") == READ


@each("last", [Finish(), Finish("length"), provider_error("x", code="c", named=False)])
def test_a_type_may_stand_in_the_name_of_the_event_only(last):
    events = events_of(encoded(Script("a", last)))
    body = "".join(f"event: {event.pop('type')}\ndata: {json.dumps(event)}\n\n" for event in events)

    assert CODEC.decode(body.encode())[:2] == Script("a", last)


def test_what_follows_the_terminal_event_and_what_keeps_it_alive_is_passed_over():
    more = [
        {"type": "response.rate_limits.updated"},
        {"type": "response.output_text.delta", "delta": "x"},
        {"error": "x"},
    ]
    events = [event for event in events_of(encoded(ALL)) for event in (event, {"type": "keepalive"})]

    assert CODEC.decode(as_body([*events, *more])) == READ


def test_ids_may_change_from_event_to_event():
    events = events_of(encoded(ALL))
    for number, event in enumerate(events):
        event["item_id"] = f"x{number}"
        if "item" in event and event["item"]["type"] != "web_search_call":
            event["item"]["id"] = f"y{number}"

    assert CODEC.decode(as_body(events)) == READ


@each("left_out", [".delta", (".delta", ".done"), (".delta", "part.done", "part.added"), "part.added"])
def test_what_came_in_no_piece_is_read_whole_at_its_end(left_out):
    events = [e for e in events_of(encoded(ALL)) if not e["type"].endswith(left_out) or "item.done" in e["type"]]
    read = CODEC.decode(as_body(events))

    assert (read.text, read.refusal, read.reasoning) == ("Hello", "no", "hm, so")
    assert [(call.name, call.arguments) for call in read.tool_calls] == [("f", '{"a": 1}'), ("g", "{}")]
    assert json.loads(read.chunks[-1 if read.usage is None else -2].extra or "{}") == {}


def test_a_terminal_event_alone_is_read():
    first, *_, last = events_of(encoded(ALL))
    read = CODEC.decode(as_body([first, last]))

    assert (read.text, read.refusal, read.reasoning, len(read.tool_calls)) == ("Hello", "no", "hm, so", 2)
    assert read.usage == READ.usage


def test_a_stream_that_is_resumed_is_read_from_there():
    events = events_of(encoded(ALL))
    for start in range(1, len(events)):
        read = CODEC.decode(as_body(events[start:]))
        assert "Hello".endswith(read.text)
        assert "hm, so".endswith(read.reasoning)
        assert read.fault is None
        assert read.finish_reason in ("stop", "tool_calls")


def test_the_pieces_of_a_call_whose_begin_was_not_seen_come_whole():
    events = [event for event in events_of(encoded(Script(ToolCall("f", "{}"), ToolCall("g", "[]")))) if event["type"]][
        3:
    ]

    assert CODEC.decode(as_body(events)).tool_calls == (
        ToolCall("f", "{}", id="call_0", index=0), ToolCall("g", "[]", id="call_1", index=1),
    )  # fmt: skip


def test_two_items_that_are_written_at_once_are_read_with_the_output_that_they_have():
    events = events_of(encoded(Script(Reasoning("a"), Reasoning("b"), "c", Finish())))
    order = [0, 1, 2, 3, 4, 8, 9, 10, 5, 6, 7, *range(11, len(events))]
    read = CODEC.decode(as_body([events[place] for place in order]))

    assert (read.reasoning, read.text, read.allow_illegal) == ("ab", "c", False)
    assert summary(events_of(encoded(read)))["response"] == summary(events)["response"]


def test_what_is_said_twice_is_read_once():
    events = [again for event in events_of(encoded(ALL)) for again in (event, event) if "item." in event["type"]]
    first, *_, last = events_of(encoded(ALL))

    assert CODEC.decode(as_body([first, *events, last])).tool_calls == READ.tool_calls


def test_a_part_of_a_kind_that_is_not_known_is_kept_in_the_output():
    events = events_of(encoded(Script("a", Finish())))
    part = {"type": "output_audio", "data": "x"}
    for event in events:
        for item in (event.get("item"), *(event.get("response") or {}).get("output", ())):
            if item and item["content"]:
                item["content"].append(part)
    read = CODEC.decode(as_body(events))

    assert read.text == "a"
    assert events_of(encoded(read))[-1]["response"]["output"][0]["content"][1] == part


def test_a_mark_is_for_the_item_that_follows_it():
    mark = native("response.output_item.added", item={"type": "message", "phase": "commentary"})
    script = Script(mark, Native(API, SEARCH), "a", mark, ToolCall("f"), "b")

    assert not any("phase" in item for item in events_of(encoded(script))[-1]["response"]["output"])


def test_an_output_that_the_events_do_not_add_up_to_is_kept():
    events = events_of(encoded(Script("a", Finish("length"))))
    events[-1]["response"]["output"][0]["content"][0]["text"] = "A"
    read = CODEC.decode(as_body(events))

    assert read.text == "a"
    assert events_of(encoded(read))[-1]["response"]["output"] == events[-1]["response"]["output"]


# -- laws ---------------------------------------------------------------------------------------------


OWN = "openai_responses.arguments"
"""The rule about what a script says, not about how it is written."""


def check(body):
    """Raise unless a stream keeps what all recorded streams of OpenAI keep, and its items come one after the other."""
    check_wire(body, api="openai_responses", ignore=OWN).verify()
    events = events_of(body)
    indexes = [event["output_index"] for event in events if "output_index" in event]
    assert indexes == sorted(indexes)
    response = events[-1].get("response")
    if response:
        assert response["output"] == [e["item"] for e in events if e["type"] == "response.output_item.done"]


@strategies.fewer(3)
@given(strategies.scripts | strategies.small_scripts)
def test_every_stream_keeps_the_rules_of_the_recorded_ones(script):
    body = encoded(script)
    if script.fault is None or isinstance(script.fault, provider_error):
        check(body)
    else:
        problems = check_wire(body, api="openai_responses", ignore=OWN).problems
        assert [problem.rule.id for problem in problems] in (
            [],
            ["openai_responses.terminal"],
            ["sse.whole"],
            ["sse.stream"],
        )


@given(strategies.wild_scripts | strategies.small_wild_scripts)
def test_a_stream_of_events_in_any_order_keeps_them_too(script):
    if script.fault is None and has_orderly_calls(script):  # other calls are sent as they are scripted
        check(encoded(script))


@strategies.fewer(3)
@given(strategies.small_scripts)
def test_the_types_of_the_sdk_accept_every_event(script):
    for event in events_of(encoded(script)):
        if "error" not in event:
            check_types(event)


@strategies.fewer(3)
@given(strategies.scripts)
def test_the_types_of_the_sdk_accept_every_document(script):
    Response.model_validate(json.loads(CODEC.body(script, request(tools=[TOOL]), 1)), strict=True)


def pieces_of(content):
    """Return the pieces of an answer as a stream has them: a call's begin, then arguments, which are never empty."""
    said = []
    for kind, group in groupby(content, lambda event: (type(event), getattr(event, "index", 0))):
        run = list(group)
        if kind[0] is Reasoning:
            said += [event for event in run if event.text] or [Reasoning("")]
        elif kind[0] is ToolCall:
            said.append(ToolCall(run[0].name, id=run[0].id, index=run[0].index))
            arguments = [event.arguments for event in run if event.arguments] or ["{}"]
            said += [ToolCall(arguments=text, index=run[0].index) for text in arguments]
        else:
            said += run
    return said


def normal(script):
    """Return what of a script a stream of this API can say, where it is whole."""
    content = [event for event in script if isinstance(event, Content)]
    cut = {"length", "content_filter", "steered", "max_messages"}
    reason = script.finish_reason if script.finish_reason in cut else "tool_calls" if script.tool_calls else "stop"
    usage = script.usage or Usage(2, len(content))
    counts = usage.input_tokens, usage.output_tokens, usage.cached_tokens or 0, usage.reasoning_tokens or 0
    return Script(*pieces_of(content), Finish(reason), Usage(*counts))


whole, failing = strategies.whole_scripts, strategies.failing_scripts


@strategies.fewer(3)
@given(whole)
def test_a_script_that_was_written_is_read_back(script):
    assert CODEC.decode(encoded(script)) == normal(script)


@pytest.mark.exhaustive
@strategies.fewer(3)
@given(failing)
def test_an_error_that_was_written_is_read_back_after_what_was_said(script):
    fault, read = script.fault, CODEC.decode(encoded(script))
    if fault.named is None:
        assert read[-1] == fault
    else:
        assert read[-1] == provider_error(fault.message, code=fault.code or fault.kind, named=fault.named)
    assert (read.text, read.refusal, read.reasoning) == (script.text, script.refusal, script.reasoning)


@strategies.fewer(3)
@given(whole)
def test_a_document_is_the_response_at_the_end_of_the_stream(script):
    assert json.loads(CODEC.body(script, request(), 1)) == events_of(encoded(script))[-1]["response"]


def fed(body, sizes):
    decoder, events, start = CODEC.decoder(), [], 0
    for size in sizes:
        events += decoder.feed(body[start : start + size])
        start += size
    return [*events, *decoder.feed(body[start:]), *decoder.close()]


@pytest.mark.exhaustive
@each(
    "script",
    [Script("é\U0001f600"), Script(ToolCall("f", {}), FAULT), Script("a", disconnect("cut"))],
)
def test_reads_may_be_cut_anywhere(script):
    body = encoded(script)
    once = fed(body, [])

    assert fed(body, [1] * len(body)) == once
    for cut in (*range(40), *range(40, len(body), 11)):
        assert fed(body, [cut]) == once


def test_a_long_stream_may_be_read_byte_by_byte():
    body = encoded(ALL)

    assert fed(body, [1] * len(body)) == list(READ)


ODD = [
    None, True, -1, 0, 3, 10**30, 1.5, "", "x", "\ud800", [], [3], [[]], [None], {}, {"a": 1}, {"error": {}}, "reasoning",
    "message", "function_call", "reasoning_text", json.loads("[" * 400 + "]" * 400), float("nan"),
]  # fmt: skip
RECORDED = events_of(
    encoded(
        Script(
            *ALL[:-2],
            native("response.content_part.added", part={"type": "reasoning_text"}),
            Reasoning("raw"),
            native("response.output_item.added", item={"type": "message", "phase": "final_answer"}),
            Text("a", logprobs=[TOKEN]),
            native("response.output_text.annotation.added", annotation=CITATION),
            *ALL[-2:],
        )
    )
) + events_of(encoded(Script(FAULT)))


@st.composite
def misshapen(draw, value):
    """Draw the value with something in it replaced by something odd."""
    if isinstance(value, (dict, list)) and value and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        copy = value.copy()
        copy[key] = draw(misshapen(value[key]))
        return copy
    return draw(st.sampled_from(ODD))


@each(("begin", "end"), ["[]", ('{"a":', "}")], ids=["lists", "objects"])
@pytest.mark.exhaustive
def test_what_is_nested_deeply_is_read_or_refused(begin, end):
    events = events_of(encoded(Script("a")))
    events[-1]["response"]["output"][0]["content"] = [{"type": "output_text", "annotations": "DEEP"}]
    body = as_body(events)
    for depth in depths(begin, end):
        deep = nested(depth, begin, end).encode()
        with contextlib.suppress(WireError):
            assert CODEC.decode(body.replace(b'"DEEP"', deep)).text == "a"


@given(st.data())
def test_misshapen_events_are_read_or_refused(data):
    events = list(RECORDED) if data.draw(st.booleans()) else data.draw(st.lists(st.sampled_from(RECORDED), max_size=9))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(len(events) - 1, 0)))
        events[place : place + 1] = [data.draw(misshapen(event)) for event in events[place : place + 1]]
    try:
        script = CODEC.decode(as_body(events))
    except WireError:
        return
    assert CODEC.decode(encoded(script)) is not None


@strategies.fewer(3)
@given(st.data())
def test_broken_bytes_are_read_or_refused(data):
    body = encoded(data.draw(whole))
    start, size = data.draw(st.integers(0, len(body))), data.draw(st.integers(0, 40))
    broken = body[:start] + data.draw(st.binary(max_size=6)) + body[start + size :]
    for bytes_ in (broken, body[:start], data.draw(st.binary(max_size=60))):
        with contextlib.suppress(WireError):
            CODEC.decode(bytes_)
