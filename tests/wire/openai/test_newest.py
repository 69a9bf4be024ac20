"""Every item and event of Responses that the installed SDK has a type for: scripted, written, read by it, and read back."""

from __future__ import annotations

import json

import openai
import pytest
import sdks
from openai.types.responses import ResponseOutputItem, ResponseStreamEvent
from smallest import kind_of, members, smallest, variants
from vectors import each, first_of

from fakellm import Finish, Reasoning, Refusal, Script, ToolCall, Usage, provider_error
from fakellm.contracts import check_wire
from fakellm.http import transport
from fakellm.provider.provider import FakeProvider
from fakellm.script.events import Native
from fakellm.wire.codec import pieces
from fakellm.wire.openai import ResponsesCodec

CODEC = ResponsesCodec()
EVENTS = {kind_of(model): model for model in members(ResponseStreamEvent)}
ENDING = (Finish(), Usage(1, 1, 0, 0))
OWN = ("openai_responses.arguments",)  # of a value that the SDK's type allows
OURS = {"message", "reasoning", "function_call"}  # of which there are events of ours

ITEMS = members(ResponseOutputItem)
try:
    from openai.types.beta import BetaResponseOutputItem
except ImportError:
    BETA = []
else:
    BETA = [model for model in members(BetaResponseOutputItem) if kind_of(model) not in {kind_of(m) for m in ITEMS}]


def native(data, **more):
    return Native(CODEC.api, {**data, **more})


def asked(script, *, asynchronous=False):
    """Return what the SDK reads of a script, as plain data, from a fake that streams it."""
    http = sdks.http_of("openai")
    provider = FakeProvider("openai").reply(script)
    options = {"api_key": "none", "max_retries": 0}
    if not asynchronous:
        with http.Client(transport=transport(provider, http)) as client:
            stream = openai.OpenAI(http_client=client, **options).responses.create(model="m", input="i", stream=True)
            return sdks.dumped(stream)

    async def main():
        async with http.AsyncClient(transport=transport(provider, http)) as client:
            sdk = openai.AsyncOpenAI(http_client=client, **options)
            return sdks.dumped(await sdks.collect(await sdk.responses.create(model="m", input="i", stream=True)))

    return sdks.run(main())


def valid(event):
    """Hold an event to the SDK's type for it; those before version 3 do not know the newest."""
    assert event["type"] in EVENTS or sdks.OPENAI < 3
    if event["type"] in EVENTS:
        EVENTS[event["type"]].model_validate(event)


def body_of(script):
    encoder = CODEC.encoder(CODEC.request({"model": "m", "input": "i", "stream": True}), 1)
    return b"".join(piece for piece in pieces(encoder, script) if isinstance(piece, bytes))


def events_of(body):
    return [json.loads(event.partition("\ndata: ")[2]) for event in body.decode().split("\n\n")[:-1]]


def judged(value, *, model=None):
    """Hold the stream of one item to the SDK's types, to its grammar, and to what it says; return its events."""
    body = body_of(Script(native(value), *ENDING))
    events = events_of(body)
    for event in events:
        if model is None and event["type"] != "response.output_item.added":  # which lacks what comes later
            valid(event)
    check_wire(body, api="openai_responses", ignore=OWN).verify()
    *_, done, completed = events
    assert completed["response"]["output"] == [done["item"]]
    assert done["item"] == {"id": done["item"]["id"], **value}
    again = CODEC.decode(body)
    if value["type"] not in OURS:
        assert again == Script(native(done["item"]), *ENDING)
    assert CODEC.decode(body_of(again)) == again
    return events


@pytest.mark.parametrize("model", first_of(ITEMS, 6), ids=kind_of)
def test_an_item(model):
    value = smallest(model)
    model.model_validate(value)
    events = judged(value)
    if value["type"] in OURS and value["type"] != "function_call":
        return
    assert [event for event in asked(Script(native(value), *ENDING)) if event["type"].endswith("output_item.done")]
    assert sdks.without_nulls(events[-1]["response"]["output"][0]) == {"id": events[-2]["item"]["id"], **value}


@each("model", BETA, ids=kind_of)
def test_an_item_of_the_beta(model):
    judged(smallest(model), model=model)


@each(
    "value",
    [value for model in ITEMS for value in variants(model, deep=3) if kind_of(model) not in OURS],
    ids=json.dumps,
)
@pytest.mark.exhaustive
def test_each_alternative_of_an_item(value):
    judged(value)


# -- events ---------------------------------------------------------------------------------------


STATUS = {"status": "completed"}
OUTPUT = {"stdout": "a", "stderr": "b", "outcome": {"type": "exit", "exit_code": 0}}
IN_ITS_OWN_WORDS = {  # what the event of that name, as a Native, is scripted with
    "response.image_generation_call.partial_image": [native({"type": "image_generation_call", "id": "x", **STATUS})],
    "response.queued": [],
}
AS_THEY_ARE = {  # events of no item of the stream
    "response.audio.delta", "response.audio.done", "response.audio.transcript.delta", "response.audio.transcript.done",
}  # fmt: skip
WHOLE = (
    ("code_interpreter_call", {"code": "1"}),
    ("custom_tool_call", {}),
    ("file_search_call", {}),
    ("image_generation_call", {}),
    ("mcp_call", {}),
    ("mcp_list_tools", {}),
    ("web_search_call", {}),
    ("shell_call", {"action": {"commands": ["ls", "pwd"]}}),
    ("shell_call_output", {"output": [OUTPUT, OUTPUT]}),
    ("compaction", {}),
)
BY_KIND = {kind_of(model): model for model in ITEMS}
FAILED = [
    next(value for value in variants(BY_KIND[kind]) if value.get("error")) for kind in ("mcp_call", "mcp_list_tools")
]
NOTE = {"type": "file_path", "file_id": "x", "index": 0}
SCRIPTS = (  # those that the other events follow from: events of ours, and whole items
    Script("a", native({"type": "response.output_text.annotation.added", "annotation": NOTE}), Refusal("b")),
    Script(
        Reasoning("a"),
        native({"type": "response.output_item.added", "item": {"type": "reasoning"}}),
        native({"type": "response.content_part.added", "part": {"type": "reasoning_text"}}),
        Reasoning("b"),
        ToolCall("f", {}),
    ),
    Script("a", Finish("length")),
    Script(provider_error(named=True)),
    Script(provider_error(named=False)),
    *(Script(native(value), *ENDING) for value in FAILED),
    *(Script(native({**smallest(BY_KIND[kind]), **more}), *ENDING) for kind, more in WHOLE if kind in BY_KIND),
)


@pytest.fixture(scope="module")
def told():
    """The types of events that the streams of the scripts have, each as the SDK's type for it wants it."""
    found = set()
    for script in SCRIPTS:
        events = events_of(body_of(script))
        assert CODEC.decode(body_of(CODEC.decode(body_of(script)))) == CODEC.decode(body_of(script))
        for event in events:
            if event["type"] not in ("response.output_item.added", "error"):
                valid(event)
        found |= {event["type"] for event in events}
    return found


@pytest.mark.exhaustive
@pytest.mark.parametrize("model", members(ResponseStreamEvent), ids=kind_of)
def test_an_event(model, told):
    kind = kind_of(model)
    if kind not in AS_THEY_ARE and kind not in IN_ITS_OWN_WORDS:
        assert kind in told
        return
    but = ("sequence_number",) if kind in AS_THEY_ARE else ("sequence_number", "output_index", "response")
    value = {"type": kind, **{name: one for name, one in smallest(model).items() if name not in but}}
    script = Script(native(value), *IN_ITS_OWN_WORDS.get(kind, ()), *ENDING)
    body = body_of(script)
    (event,) = (event for event in events_of(body) if event["type"] == kind)
    valid(event)
    assert CODEC.decode(body) == script
    check_wire(body, api="openai_responses").verify()


@each("asynchronous", [False, True], ids=["sync", "async"])
def test_the_sdk_reads_the_steps_of_an_item(asynchronous):
    call = {"type": "shell_call", "call_id": "x", "action": {"commands": ["ls"]}, "status": "completed"}
    picture = {
        "type": "response.image_generation_call.partial_image",
        "partial_image_b64": "eA==",
        "partial_image_index": 0,
    }
    image = {"type": "image_generation_call", "status": "completed", "result": "eA=="}
    events = asked(Script(native(call), native(picture), native(image)), asynchronous=asynchronous)
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created", "in_progress", "output_item.added", "shell_call_command.added", "shell_call_command.delta",
        "shell_call_command.done", "output_item.done", "output_item.added", "image_generation_call.in_progress",
        "image_generation_call.generating", "image_generation_call.partial_image", "image_generation_call.completed",
        "output_item.done", "completed",
    ]  # fmt: skip
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[2]["item"] == {
        **call,
        "id": events[6]["item"]["id"],
        "status": "in_progress",
        "action": {"commands": []},
    }
    assert {event.get("item_id", events[7]["item"]["id"]) for event in events[7:13]} == {events[12]["item"]["id"]}
    assert [event["output_index"] for event in events[2:13]] == [0] * 5 + [1] * 6


def test_an_event_of_an_item_to_come_begins_it():
    picture = native({"type": "response.image_generation_call.partial_image", "partial_image_b64": "eA=="})
    kinds = [event["type"] for event in events_of(body_of(Script(picture, "text")))]
    assert kinds.index("response.output_item.added") < kinds.index("response.image_generation_call.partial_image")
    assert kinds.count("response.output_item.done") == 2  # of the image, of which no more is known, and of the message
