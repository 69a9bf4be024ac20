"""What real servers say otherwise than the reference of an API does, read as the official SDKs read it."""

from __future__ import annotations

import json

import pytest

from fakellm import Finish, Text, ToolCall, Usage, provider_error
from fakellm.wire.openai import ResponsesCodec


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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([said("m", "Hi", content_index=1), finished("m", "Hi", content_index=0)], id="done"),
        pytest.param([said("m", "Hi", content_index=1), part_done("m", "Hi", content_index=0)], id="part"),
        pytest.param([said("m", "H", content_index=1), said("m", "i", content_index=1)], id="only the item"),
        pytest.param([said("m", "H", content_index=1), part_done("m", "Hi", content_index=0)], id="its end was not said"),
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


@pytest.mark.parametrize(
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
    annotated = {"type": "response.output_text.annotation.added", "item_id": "m", "content_index": 1, "annotation": note}
    end = part_done("m", "Hi", content_index=0)
    end["part"]["annotations"] = [note]
    script = responses(CREATED, added(message("m")), said("m", "Hi", content_index=1), annotated, end, completed())
    assert json.dumps(script.to_json()).count("example.org") == 1


@pytest.mark.parametrize(
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
