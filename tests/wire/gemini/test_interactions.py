"""Gemini's Interactions API: the codec against the SDK and its types, recordings, broken bytes and itself."""

from __future__ import annotations

import functools
import json

import corpus
import pytest
import recorded
import sdks
from google import genai
from smallest import is_unknown, members, smallest, variants
from vectors import each, first_of

from fakellm import (
    FakeProvider,
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
from fakellm.contracts import check_wire
from fakellm.errors import WireError
from fakellm.http import intercept
from fakellm.script.events import Native
from fakellm.wire.codec import pieces
from fakellm.wire.gemini import InteractionsCodec

CODEC = InteractionsCodec()
API = CODEC.api
ENDING = (Finish(), Usage(3, 4, 0, 0))
CALLED = (Finish("tool_calls"), Usage(3, 4, 0, 0))
ASKED = {"model": "gemini-3-flash", "input": "Hi"}
both = pytest.mark.parametrize("asynchronous", first_of([False, True]), ids=["sync", "async"])
needs_sdk = pytest.mark.skipif(sdks.GENAI < 3, reason="the SDK has this form of interactions since version 3")


def native(data):
    return Native(API, data)


def body_of(script, **fields):
    encoder = CODEC.encoder(CODEC.request({**ASKED, "stream": True, **fields}), 1, script.usage)
    encoder.verbatim = script.allow_illegal
    return b"".join(piece for piece in pieces(encoder, script) if isinstance(piece, bytes))


def events_of(body):
    return [
        json.loads(event.partition("data: ")[2]) for event in body.decode().split("\n\n")[:-1] if "[DONE]" not in event
    ]


@functools.cache
def the_client():
    """Return a client, which costs more than what it is asked."""
    return genai.Client(
        vertexai=False, api_key="none", http_options={"timeout": 9000, "retry_options": {"attempts": 1}}
    )


def asked(*, asynchronous=False, stream=True, **fields):
    """Return what the SDK gives: the events of a stream and the error that ends it, or the document."""
    events, fields = [], {**ASKED, **fields}
    client = the_client()

    async def main():
        answer = await client.aio.interactions.create(stream=stream, **fields)
        if not stream:
            return answer
        async for event in answer:
            events.append(event)
        return None

    try:
        if asynchronous:
            document = sdks.run(main())
        else:
            document = client.interactions.create(stream=stream, **fields)
            events.extend(document if stream else ())
    except Exception as error:
        return events, error
    return (events, None) if stream else document


def plain(events):
    return [json.loads(event.model_dump_json(exclude_unset=True)) for event in events]


SCRIPTS = [
    Script("It ", "rains.", *ENDING),
    Script(Reasoning("Hm."), Reasoning("", signature="eHg="), "It rains.", *ENDING),
    Script(ToolCall("f", id="x"), ToolCall(arguments='{"a": ', index=0), ToolCall(arguments="1}", index=0), *CALLED),
    Script(ToolCall("f", id="x"), ToolCall("g", id="y"), ToolCall(arguments="{}", index=1), *CALLED),
    Script("cut", Finish("length"), Usage(3, 4, 1, 2)),
    Script(
        "a",
        Finish("cancelled", extra={"continuation_token": "t"}),
        Usage(3, 4, 0, 0, extra={"total_tool_use_tokens": 5}),
    ),
    Script("a", native({"type": "model_output"}), "b", *ENDING),
    Script(Reasoning("a"), native({"type": "thought"}), Reasoning("b"), *ENDING),
    Script(Reasoning(""), "a", *ENDING),
    Script(
        "a",
        native({"event_type": "step.delta", "delta": {"type": "image", "data": "eHg=", "mime_type": "image/png"}}),
        *ENDING,
    ),
    Script(native({"event_type": "interaction.status_update", "status": "queued"}), "a", *ENDING),
    Script("a", native({"event_type": "step.stop", "step_usage": {"total_tokens": 3}}), *ENDING),
    Script("a", disconnect("end")),
    Script("a", provider_error("busy", "unavailable")),
    Script("a", provider_error("busy", "unavailable", named=False)),
]


@each("script", SCRIPTS, ids=repr)
def test_what_was_written_is_read_back_and_keeps_to_its_grammar(script):
    body = body_of(script)
    assert CODEC.decode(body) == script
    for size in (1, 7):
        decoder = CODEC.decoder()
        found = [event for at in range(0, len(body), size) for event in decoder.feed(body[at : at + size])]
        assert [*found, *decoder.close()] == list(script)
    if not isinstance(script[-1], disconnect):
        check_wire(body, api="gemini_interactions").verify()


@needs_sdk
@both
@each("script", SCRIPTS[:5], ids=repr)
def test_the_sdk_reads_what_was_scripted(asynchronous, script):
    provider = FakeProvider("gemini").otherwise(script)
    with intercept(provider):
        events, error = asked(asynchronous=asynchronous)
        document = asked(asynchronous=asynchronous, stream=False)
    assert error is None
    read = plain(events)
    assert [event["event_type"] for event in read][0 :: len(read) - 1] == [
        "interaction.created",
        "interaction.completed",
    ]
    texts = [e["delta"]["text"] for e in read if e.get("delta", {}).get("type") == "text"]
    assert "".join(texts) == script.text == "".join(
        part["text"] for step in document.steps or () if step.type == "model_output"
        for part in plain(step.content or ()) if part["type"] == "text"
    )  # fmt: skip
    calls = [step for step in document.steps or () if step.type == "function_call"]
    assert [(call.id, call.name, call.arguments) for call in calls] == [
        (call.id, call.name, call.args) for call in script.tool_calls
    ]
    assert read[-1]["interaction"]["status"] == document.status
    assert document.usage.total_input_tokens == read[-1]["interaction"]["usage"]["total_input_tokens"] == 3


# -- what the SDK has types for -------------------------------------------------------------------


def union(name):
    """Return the members of a union of the SDK's types by the type that they say they are, unknown ones aside."""
    from google.genai import interactions

    models = [model for model in members(getattr(interactions, name)) if not is_unknown(model)]
    return {smallest(model).get("event_type") or smallest(model)["type"]: model for model in models}


STEPS = union("Step") if sdks.GENAI >= 3 else {}
DELTAS = union("StepDeltaData") if sdks.GENAI >= 3 else {}
EVENTS = union("InteractionSSEEvent") if sdks.GENAI >= 3 else {}
OURS = {
    "text": "model_output",
    "thought_summary": "thought",
    "thought_signature": "thought",
    "arguments_delta": "function_call",
}
STEP_OF = {**OURS, "text_annotation_delta": "model_output", "audio": "model_output", "image": "model_output",
           "video": "model_output", "document": "model_output"}  # fmt: skip


def judged(script):
    """Hold the stream of a script to the SDK's types and to its grammar, and read it back; return its events."""
    body = body_of(script)
    events = events_of(body)
    for event in events:
        EVENTS[event["event_type"]].model_validate(event)
    check_wire(body, api="gemini_interactions").verify()
    assert CODEC.decode(body) == script
    return events


@needs_sdk
@each("kind", STEPS)
def test_each_step_is_scripted_written_and_read_back(kind):
    for value in variants(STEPS[kind], deep=4):
        script = Script(native(value), *ENDING)
        if kind == "function_call":
            script = Script(ToolCall("f", id="x"), ToolCall(arguments="{}", index=0), *CALLED)
        elif kind == "thought" and value == {"type": kind}:
            script = Script(Reasoning(""), *ENDING)
        (start,) = (event for event in judged(script) if event["event_type"] == "step.start")
        assert kind == "function_call" or start["step"] == value


@pytest.mark.exhaustive
@needs_sdk
@each("kind", DELTAS)
def test_each_delta_is_scripted_written_and_read_back(kind):
    neutral = {
        "text": ["a"], "thought_summary": [Reasoning("a")], "thought_signature": [Reasoning("", signature="eHg=")],
        "arguments_delta": [ToolCall("f", id="x"), ToolCall(arguments="{}", index=0)],
    }  # fmt: skip
    if kind in neutral:
        events = judged(Script(*neutral[kind], *(CALLED if kind == "arguments_delta" else ENDING)))
        assert kind in [event["delta"]["type"] for event in events if "delta" in event]
        return
    step = STEP_OF.get(kind) or kind
    for value in variants(DELTAS[kind], deep=4):
        begun = smallest(STEPS[step])
        events = judged(Script(native(begun), native({"event_type": "step.delta", "delta": value}), *ENDING))
        assert value in [event["delta"] for event in events if "delta" in event]


@needs_sdk
def test_each_event_is_written():
    written = {event["event_type"] for script in SCRIPTS for event in events_of(body_of(script))}
    assert written == EVENTS.keys()


# -- errors ---------------------------------------------------------------


@needs_sdk
@both
def test_errors_before_an_answer_and_in_it(asynchronous):
    provider = FakeProvider("gemini").error(400, "No.").reply("a", provider_error("busy", "unavailable"))
    with intercept(provider):
        _, before = asked(asynchronous=asynchronous)
        events, inside = asked(asynchronous=asynchronous)
    assert before.status_code == 400
    assert before.body == {"error": {"code": "invalid_request", "message": "No."}}
    assert inside is None  # the SDK hands an error on, and raises nothing
    assert (events[-1].event_type, events[-1].error.code, events[-1].error.message) == ("error", "unavailable", "busy")


@each(
    ("status", "code"),
    [(400, "invalid_request"), (404, "not_found"), (429, "resource_exhausted"), (503, "unavailable")],
)
def test_the_documents_of_errors(status, code):
    http = sdks.http_of("google-genai")
    with intercept(FakeProvider("gemini").error(status, "No.", retry_after=7)):
        answer = http.post("https://generativelanguage.googleapis.com/v1beta/interactions", json=ASKED)
    assert (answer.status_code, answer.json()) == (status, {"error": {"code": code, "message": "No."}})
    assert answer.headers["retry-after"] == "7"


@each(
    "body", [{}, [], {"model": "m"}, {"input": "i"}, {"model": 3, "input": "i"}, {"model": "m", "input": [3]}], ids=repr
)
def test_what_is_refused_for_its_form(body):
    http = sdks.http_of("google-genai")
    with intercept(FakeProvider("gemini").otherwise("a")):
        answer = http.post("https://generativelanguage.googleapis.com/v1beta/interactions", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_request"


def test_what_is_asked():
    steps = [
        {"type": "user_input", "content": [{"type": "text", "text": "Rain?"}]},
        {"type": "function_call", "id": "x", "name": "f", "arguments": {"a": 1}},
        {"type": "function_result", "call_id": "x", "result": {"rain": True}},
        {"type": "model_output", "content": [{"type": "text", "text": "Yes."}]},
        {"role": "user", "content": "Sure?"},
    ]
    tools = [{"type": "function", "name": "f"}, {"type": "google_search"}]
    request = CODEC.request(
        {"model": "models/m", "input": steps, "system_instruction": "Be brief.", "tools": tools, "store": False}
    )
    said = [(message.role, message.content) for message in request.messages]
    assert said == [("system", "Be brief."), ("user", "Rain?"), ("assistant", ""), ("tool", '{"rain":true}'),
                    ("assistant", "Yes."), ("user", "Sure?")]  # fmt: skip
    assert request.messages[2].tool_calls[0].args == {"a": 1}
    assert (request.model, request.tools, request.stream, request.options) == (
        "m",
        ("f", "google_search"),
        False,
        {"store": False},
    )
    assert (
        CODEC.request({"agent": "a", "input": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]}).text
        == "xy"
    )


def test_a_script_that_has_no_form_is_told():
    with pytest.raises(WireError, match="is a step with a type, or has an event_type"):
        body_of(Script(native({"a": 1})))
    with pytest.raises(WireError, match="the arguments of f"):
        CODEC.body(Script(ToolCall("f", "{"), Finish("tool_calls")), CODEC.request(ASKED), 1)


def test_a_silence_comes_after_what_was_said():
    encoder = CODEC.encoder(CODEC.request({**ASKED, "stream": True}), 1)
    steps = list(pieces(encoder, Script(Refusal("a"), Pause(3), Text("b"))))
    assert b'"text":"a"' in steps[steps.index(Pause(3)) - 1]


# -- recordings ------------------------------------------------------------------------------------


@corpus.needs_corpus
def test_recorded_streams_are_read_and_written_again():
    for row, stream in recorded.streams():
        if stream["api"] != "google.interactions":
            continue
        body = recorded.body(row, stream)
        script = CODEC.decode(body)
        again = body_of(script)
        assert CODEC.decode(again) == script
        ours, theirs = events_of(again), events_of(body)
        assert [(e["event_type"], e.get("delta")) for e in ours] == [(e["event_type"], e.get("delta")) for e in theirs]
        assert ours[-1]["interaction"]["usage"] == theirs[-1]["interaction"]["usage"]
