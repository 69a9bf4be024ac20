"""Every block and delta of Messages that the installed SDK has a type for: scripted, written, read, and read back."""

from __future__ import annotations

import json

import anthropic
import pytest
import sdks
from anthropic.types import ContentBlock, RawContentBlockDelta, RawMessageStreamEvent
from anthropic.types.beta import BetaContentBlock, BetaRawContentBlockDelta, BetaRawMessageStreamEvent
from smallest import kind_of, members, smallest, variants
from vectors import each

from fakellm import Finish, Reasoning, Script, ToolCall, Usage
from fakellm.contracts import check_wire
from fakellm.http import transport
from fakellm.provider.provider import FakeProvider
from fakellm.script.events import Native
from fakellm.wire.anthropic import MessagesCodec
from fakellm.wire.codec import pieces

CODEC = MessagesCodec()
ASKED = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "i"}], "stream": True}
ENDING = (Finish(), Usage(1, 1, 0))
CALLED = (Finish("tool_calls"), Usage(1, 1, 0))
MADE = {True: members(BetaRawMessageStreamEvent), False: members(RawMessageStreamEvent)}

BLOCKS = [*members(ContentBlock), *members(BetaContentBlock)]
DELTAS = [*members(RawContentBlockDelta), *members(BetaRawContentBlockDelta)]
OURS = {  # blocks and deltas that events of ours say -> those events
    "text": ["a"],
    "thinking": [Reasoning("a"), Reasoning("", signature="b")],
    "tool_use": [ToolCall("f", id="x"), ToolCall(arguments='{"a": 1}', index=0)],
    "text_delta": ["a"],
    "thinking_delta": [Reasoning("a"), Reasoning("", signature="b")],
    "signature_delta": [Reasoning("a"), Reasoning("", signature="b")],
    "input_json_delta": [ToolCall("f", id="x"), ToolCall(arguments='{"a": 1}', index=0)],
}


def native(data):
    return Native(CODEC.api, data)


def body_of(script):
    encoder = CODEC.encoder(CODEC.request(ASKED), 1, script.usage)
    return b"".join(piece for piece in pieces(encoder, script) if isinstance(piece, bytes))


def events_of(body):
    return [json.loads(event.partition("\ndata: ")[2]) for event in body.decode().split("\n\n")[:-1]]


def judged(script, *, is_beta):
    """Hold the stream of a script to the SDK's types and to its grammar, and read it back; return its events."""
    body = body_of(script)
    events = events_of(body)
    models = {kind_of(model): model for model in MADE[is_beta]}
    for event in events:
        if event["type"] != "ping":
            models[event["type"]].model_validate(event)
    check_wire(body, api="anthropic_messages").verify()
    assert CODEC.decode(body) == script
    return events


def dumped(events):
    return [event.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False) for event in events]


def asked(script, *, is_beta, asynchronous=False):
    """Return what the SDK reads of a script, as plain data, from a fake that streams it."""
    http = sdks.http_of("anthropic")
    provider = FakeProvider("anthropic").reply(script)
    options = {"api_key": "none", "max_retries": 0}
    if not asynchronous:
        with http.Client(transport=transport(provider, http)) as client:
            sdk = anthropic.Anthropic(http_client=client, **options)
            return dumped((sdk.beta if is_beta else sdk).messages.create(**ASKED))

    async def main():
        async with http.AsyncClient(transport=transport(provider, http)) as client:
            sdk = anthropic.AsyncAnthropic(http_client=client, **options)
            return dumped(await sdks.collect(await (sdk.beta if is_beta else sdk).messages.create(**ASKED)))

    return sdks.run(main())


def is_beta(model):
    return model.__name__.startswith("Beta")


@each("model", BLOCKS, ids=lambda model: model.__name__)
def test_a_block(model):
    value = smallest(model)
    ending = CALLED if value["type"] == "tool_use" else ENDING
    script = Script(*OURS.get(value["type"], [native(value)]), *ending)
    judged(script, is_beta=is_beta(model))
    starts = [event for event in asked(script, is_beta=is_beta(model)) if event["type"] == "content_block_start"]
    assert [start["content_block"]["type"] for start in starts] == [value["type"]]
    if value["type"] not in OURS:
        assert {**starts[0]["content_block"], **value} == starts[0]["content_block"]


@each("model, value", [(m, v) for m in BLOCKS if kind_of(m) not in OURS for v in variants(m, deep=3)], ids=str)
@pytest.mark.exhaustive
def test_each_alternative_of_a_block(model, value):
    judged(Script(native(value), *ENDING), is_beta=is_beta(model))


@each("model, value", [(m, v) for m in DELTAS for v in variants(m, deep=3)], ids=str)
def test_a_delta(model, value):
    kind = value["type"]
    ending = CALLED if kind == "input_json_delta" else ENDING
    script = Script(*OURS.get(kind, ["a", native(value)]), *ending)
    if kind == "compaction_delta":
        script = Script(native({"type": "compaction", "content": None}), native(value), *ENDING)
    deltas = [
        event["delta"] for event in judged(script, is_beta=is_beta(model)) if "index" in event and "delta" in event
    ]
    assert kind in [delta["type"] for delta in deltas]
    assert kind in OURS or value in deltas


@each("asynchronous", [False, True], ids=["sync", "async"])
def test_the_sdk_reads_a_block_of_the_beta(asynchronous):
    called = {"type": "mcp_tool_use", "id": "x", "name": "f", "server_name": "s", "input": {"a": 1}}
    result = {"type": "mcp_tool_result", "tool_use_id": "x", "is_error": False, "content": []}
    events = asked(Script(native(called), native(result), "a"), is_beta=True, asynchronous=asynchronous)
    assert [event["content_block"]["type"] for event in events if "content_block" in event] == [
        "mcp_tool_use",
        "mcp_tool_result",
        "text",
    ]
    assert "".join(event["delta"].get("partial_json", "") for event in events if "delta" in event) == '{"a":1}'
