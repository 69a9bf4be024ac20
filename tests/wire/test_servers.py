"""Profiles of self-hosted servers: asked what was recorded, a fake writes what the server wrote, but for texts and ids."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from servers import NAMES, TRANSFORMERS, events_of, profile_of, recording
from vectors import each

from fakellm import FakeProvider, Finish, Pause, Reasoning, Refusal, Text, ToolCall, Usage, disconnect, provider_error
from fakellm.provider.actions import Failure, Timeouts
from fakellm.script.events import Raw
from fakellm.wire.codec import pieces
from fakellm.wire.openai.profiles import Profile
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


@each("name", [*NAMES, *TRANSFORMERS])
def test_a_fake_writes_what_the_server_wrote(name):
    tape = recording(name)
    headers, pieces, end = answer(name, *parts_of(name))

    assert shapes(b"".join(pieces)) == shapes(tape.body)
    assert end == tape.end
    mine = {key.lower() for key, _ in headers}
    assert mine - {"x-request-id"} == tape.headers.keys() - {"date", "connection", "x-request-id"}


WAYS = [
    *((name, api) for name in ("vllm", "llama.cpp", "transformers") for api in ("chat/completions", "completions", "responses")),
    *((name, api) for name in ("mlx-lm", "llama-cpp-python") for api in ("chat/completions", "completions")),
    *((name, "messages") for name in ("vllm", "llama.cpp")),
]  # fmt: skip


# -- habits that no recording shows by itself -----------------------------------------------------------------


def asked(profile, *parts, api="chat/completions", **more):
    """Return the events that a fake writes, as (name, data), and how its body ends."""
    fake = FakeProvider("anthropic" if api == "messages" else "openai").imitate(profile).reply(*parts)
    body = {"model": "m", "stream": True, "messages": [], "input": "i", "prompt": "p", "max_tokens": 9, **more}
    played = list(fake.handle("POST", f"http://x/v1/{api}", {}, json.dumps(body).encode()).body(Timeouts()))
    written = b"".join(piece for run in played if hasattr(run, "__next__") for piece in run)
    return events_of(written), [one for one in played if not hasattr(one, "__next__")]


def deltas(events):
    return [data["choices"][0]["delta"] for _, data in events if isinstance(data, dict) and data["choices"]]


def test_a_silence_is_filled_with_comments():
    fake = FakeProvider(profile="llama.cpp").reply("a", Pause(70), "b")
    body = json.dumps({"model": "m", "stream": True, "messages": []}).encode()
    played = list(fake.handle("POST", "http://x/v1/chat/completions", {}, body).body(Timeouts()))
    flat = [one for run in played for one in (run if hasattr(run, "__next__") else [run])]

    assert flat[1:6] == [30.0, b":\n\n", 30.0, b":\n\n", 10.0]
    assert asked("llama.cpp", "a", Pause(7), "b", sse_ping_interval=3)[1] == [3.0, 3.0, 1.0]
    assert asked("llama.cpp", "a", Pause(70), "b", sse_ping_interval=-1)[1] == [70.0]
    assert asked("vllm", Pause(70), "b")[1] == [70.0]  # it has a flag for that
    assert asked("mlx-lm", "a", Pause(70), "b")[1] == [70.0]


def test_a_cut_answer_has_its_last_piece_on_the_finish_chunk_of_vllm_alone():
    call = ToolCall("f", '{"a')
    (*_, last, _) = asked("vllm", call, Finish("length"))[0]
    assert last[1]["choices"][0]["delta"]["tool_calls"][0]["function"] == {"arguments": '{"a'}
    assert deltas(asked("vllm", "a", Finish("stop"))[0])[-2:] == [{"content": "a"}, {}]
    assert deltas(asked("llama.cpp", "a", Finish("length"))[0])[-2:] == [{"content": "a"}, {}]
    assert deltas(asked("mlx-lm", "a", call, Finish("length"))[0])[1:] == [{"role": "assistant"}]


def test_answers_beside_the_first_are_given_or_not():
    for name, count in (("vllm", 2), ("llama.cpp", 2), ("mlx-lm", 1), ("llama-cpp-python", 1)):
        events, _ = asked(name, "a", n=2)
        assert {c["index"] for _, data in events if data != "[DONE]" for c in data["choices"]} == set(range(count))
    (_, first), (_, second), *_ = asked("llama.cpp", Text("b", choice=1), "a", n=2)[0]
    assert [first["choices"][0]["index"], second["choices"][0]["index"]] == [1, 0]


def test_usage_comes_as_each_server_sends_it():
    wanted = {"include_usage": True, "continuous_usage_stats": True}
    counts = {
        name: sum("usage" in data for _, data in asked(name, "a", "b", stream_options=wanted)[0] if data != "[DONE]")
        for name in ("vllm", "llama.cpp", "mlx-lm", "llama-cpp-python", "transformers")
    }
    assert counts == {"vllm": 5, "llama.cpp": 1, "mlx-lm": 1, "llama-cpp-python": 0, "transformers": 1}


def test_a_refusal_is_a_part_that_no_server_writes_otherwise():
    events, _ = asked("vllm", Refusal("I cannot."), api="responses")
    (item,) = events[-1][1]["response"]["output"]

    assert item["content"] == [{"refusal": "I cannot.", "type": "refusal"}]


def test_a_broken_connection_looks_as_it_does_there():
    assert asked("mlx-lm", "a", disconnect("close"))[1] == []  # its body ends where the connection does
    assert asked("vllm", "a", disconnect("close"))[1] == [Failure("close")]
    events, end = asked("llama-cpp-python", "a", provider_error("no"))
    assert (events[-1], end) == ((None, "[DONE]"), [Failure("close")])
    assert asked("llama-cpp-python", provider_error("no")) == ([], [])
    assert asked("vllm", "a", provider_error("no"), api="responses")[1] == [Failure("close")]
    assert asked("llama.cpp", provider_error("no"), api="messages")[0] == [
        ("error", {"code": 500, "message": "no", "type": "server_error"})
    ]


@each(
    ("name", "document"),
    [
        ("vllm", {"error": {"message": "no", "type": "NotFoundError", "param": None, "code": 404}}),
        ("llama.cpp", {"error": {"code": 404, "message": "no", "type": "invalid_request_error"}}),
        ("mlx-lm", {"error": "no"}),
    ],
)
@each("api", ["chat/completions", "completions"])
def test_errors_are_documents_of_the_server(name, document, api):
    fake = FakeProvider(profile=name).error(404, "no")
    body = json.dumps({"model": "m", "messages": [], "prompt": "p"}).encode()
    exchange = fake.handle("POST", f"http://x/v1/{api}", {}, body)

    assert json.loads(b"".join(next(exchange.body(Timeouts())))) == document


def test_blocks_and_items_of_llama_stay_open_to_the_end():
    parts = ("a", ToolCall("f"), "b")
    events, _ = asked("llama.cpp", *parts, api="messages")
    assert [(name, data["index"]) for name, data in events if "index" in data] == [
        ("content_block_start", 0), ("content_block_delta", 0), ("content_block_start", 1), ("content_block_delta", 0),
        ("content_block_stop", 0), ("content_block_delta", 1), ("content_block_stop", 1),
    ]  # fmt: skip
    events, _ = asked("llama.cpp", *parts, Finish("length"), api="responses")
    assert [name for name, _ in events].index("response.output_item.done") == len(events) - 4
    assert [item.get("arguments") for item in events[-1][1]["response"]["output"]] == [None, "{}"]
    assert (events[-1][0], events[-1][1]["response"]["status"]) == ("response.completed", "completed")


@each(("name", "api"), [(name, api) for name, api in WAYS if api != "responses"])
def test_what_a_finish_reason_says_beside_itself_is_there(name, api):
    events, _ = asked(name, "a", Finish("stop", extra={"own": 1}, beside={"top": 2}), api=api)
    (last,) = [data for _, data in events if isinstance(data, dict) and "top" in data]

    assert last["top"] == 2
    assert (last["delta"] if api == "messages" else last["choices"][0])["own"] == 1


def test_a_profile_is_that_of_the_provider():
    with pytest.raises(TypeError, match="anthropic is spoken in the habits of a MessagesProfile"):
        FakeProvider("anthropic").imitate(Profile("mine"))
    with pytest.raises(ValueError, match=re.escape("there is no profile 'mlx-lm'; there are llama.cpp, vllm")):
        FakeProvider("anthropic").imitate("mlx-lm")


@strategies.fewer(3)
@given(st.sampled_from(WAYS), strategies.small_wild_scripts | strategies.scripts, st.booleans())
def test_a_script_in_any_order_can_be_written_and_read(way, script, wants):
    name, api = way
    service = service_of("anthropic" if api == "messages" else "openai")
    codec = codec_of(service.endpoint("POST", f"/v1/{api}"), service.profile(name))
    body = {"model": "m", "stream": True, "messages": [], "input": "i", "prompt": "p", "max_tokens": 9}
    more = {"stream_options": {"include_usage": True}, "return_progress": True, "logprobs": 1} if wants else {}
    steps = pieces(codec.encoder(codec.request({**body, **more}), 1, script.usage), script)

    for data in (step for step in steps if isinstance(step, bytes)):
        assert data.endswith(b"\n\n") or script.fault is not None or any(isinstance(e, Raw) for e in script)


def test_a_silence_that_nobody_waits_for_ends():
    steps = asked("llama.cpp", "a", Pause(1e300), "b")[1]

    assert (len(steps), steps[0]) == (1001, 30.0)
