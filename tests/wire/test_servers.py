"""Profiles of self-hosted servers: asked what was recorded, a fake writes what the server wrote, but for texts and ids."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from servers import NAMES, TRANSFORMERS, profile_of, recording

from fakellm import FakeProvider, Finish, Pause, Reasoning, Text, ToolCall, Usage, provider_error
from fakellm.provider.exchange import Timeouts
from fakellm.wire.providers import service_of
from fakellm.wire.service import codec_of

SAID = {  # where a recording says less than the server did, or in a way that leaves it open
    "llama-responses-text-tool": [
        *("I", " will", " look", ".", "\n"), ToolCall("get_time", "{"), ToolCall(arguments="}"), Usage(139, 22, 122),
    ],
    "vllm-responses-cut": ["one", ",", " two", ",", Finish("length"), Usage(17, 4, 0, 0)],
}  # fmt: skip
SAME = ("object", "type", "role", "finish_reason", "status", "stop_reason", "index", "output_index", "content_index")
BROKEN = ("lcp-error-long", "lcp-interrupted", "vllm-responses-killed-engine")


def provider_of(tape):
    return "anthropic" if tape.path.endswith("/messages") else "openai"


def parts_of(name):
    """Return what the server said in a recording, without what its profile has to know by itself."""
    if name in SAID:
        return SAID[name]
    tape = recording(name)
    decoder = codec_of(service_of(provider_of(tape)).endpoint("POST", tape.path)).decoder()
    parts, silence = [], 0.0
    for piece, delay in zip(tape.pieces, tape.delays, strict=True):
        events = decoder.feed(piece.replace(b"data: null\n\n", b""))
        silence += delay
        if events and silence > 500:
            parts.append(Pause(silence / 1000))
        silence = 0.0 if events else silence
        parts += filter(None, map(plain, events))
    parts += filter(None, map(plain, decoder.close()))
    usages = [part for part in parts if isinstance(part, Usage)]
    parts = [part for part in parts if not isinstance(part, Usage)]
    if name == "llama-tools-n2":
        usages = [replace(usages[-1], output_tokens=88)]
    return [*usages[-1:], *parts, *([provider_error("it broke")] if name in BROKEN else [])]


def plain(event):
    """Return an event with what scripts say, and without what only a decoder would know."""
    match event:
        case Reasoning(text):
            return Reasoning(text) if text else None
        case ToolCall():
            return event if event.arguments or event.name else None
        case Finish(reason):
            return Finish(reason, choice=event.choice)
        case Usage():
            return replace(event, extra=None)
    return event if isinstance(event, (Text, provider_error)) else None


def answer(name, *parts):
    """Return the headers and the pieces that a fake answers the recorded request with, and how it ends."""
    tape = recording(name)
    fake = FakeProvider(provider_of(tape)).imitate(profile_of(name)).reply(*parts)
    body = json.dumps(tape.asked).encode()
    exchange = fake.handle("POST", tape.uri, {}, body)
    pieces, end = [], "complete"
    for action in exchange.body(Timeouts()):
        if hasattr(action, "__next__"):
            pieces += action
        elif not isinstance(action, float):
            end = "dropped"
    return exchange.headers, pieces, end


def shape(value, key=""):
    """Return the names of JSON in their order, and the kinds of what is in it."""
    if isinstance(value, dict):
        return [(name, shape(item, name)) for name, item in value.items()]
    if isinstance(value, list):
        return [shape(item, key) for item in value]
    return (
        value
        if key in SAME or value is None or isinstance(value, bool)
        else type(value).__name__.replace("float", "int")
    )


def shapes(body):
    """Return the blocks of a body, each with its lines: their names, and the shape of their JSON."""
    return [[line_shape(line) for line in block.split("\n")] for block in body.decode().split("\n\n")]


def line_shape(line):
    name, _, data = line.partition(": ")
    if name != "data" or not data.startswith("{"):
        return re.sub(r"\d+", "0", line)
    return shape(json.loads(data))


@pytest.mark.parametrize("name", [*NAMES, *TRANSFORMERS])
def test_a_fake_writes_what_the_server_wrote(name):
    tape = recording(name)
    headers, pieces, end = answer(name, *parts_of(name))

    assert shapes(b"".join(pieces)) == shapes(tape.body)
    assert end == tape.end
    mine = {key.lower() for key, _ in headers}
    assert mine - {"x-request-id"} == tape.headers.keys() - {"date", "connection", "x-request-id"}
