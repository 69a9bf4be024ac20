"""`check_wire`: each rule broken by itself, every recorded stream, every codec's own streams, and bytes of any kind."""

from __future__ import annotations

import itertools
import json
import re
from copy import deepcopy
from functools import cache
from importlib import import_module

import corpus
import pytest
import recorded as recordings
import strategies
from hypothesis import given
from hypothesis import strategies as st
from sending import sent
from strategies import fewer
from vectors import each
from wires import BREAKS, NAMES, NOT_WHOLE, of_servers, streams_of

from fakellm import (
    Finish,
    Reasoning,
    Refusal,
    Script,
    Text,
    ToolCall,
    Usage,
    provider_error,
)
from fakellm.contracts.catalogue import CATALOGUE
from fakellm.contracts.grammar.check import check_wire, rules_of
from fakellm.contracts.grammar.rules import STRICT
from fakellm.errors import BrokenContractError, ContractUsageError
from fakellm.script.events import Native, Raw
from fakellm.wire.codec import pieces
from fakellm.wire.openai.profiles import OPENAI, PROFILES, Profile

CODECS = {
    "openai_chat": ("openai:ChatCodec", {"model": "m", "messages": []}),
    "openai_completions": ("openai:CompletionsCodec", {"model": "m", "prompt": "p"}),
    "openai_responses": ("openai:ResponsesCodec", {"model": "m", "input": "i"}),
    "anthropic_messages": (
        "anthropic:MessagesCodec",
        {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]},
    ),
    "gemini": ("gemini:GeminiCodec", {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}),
    "cohere_chat": ("cohere:ChatCodec", {"model": "m", "messages": [{"role": "user", "content": "x"}]}),
    "gemini_interactions": ("gemini:InteractionsCodec", {"model": "m", "input": "x"}),
    "mistral_chat": ("mistral:ChatCodec", {"model": "m", "messages": [{"role": "user", "content": "x"}]}),
    "mistral_conversations": ("mistral:ConversationsCodec", {"model": "m", "inputs": "x"}),
    "dashscope_generation": (
        "dashscope:GenerationCodec",
        {"model": "qwen3-max", "input": {"prompt": "x"}, "parameters": {"incremental_output": True}},
    ),
}
apis = pytest.mark.parametrize("api", CODECS)


def encoded(api, script, *, profile=None, alt="sse", **fields):
    """Return the bytes of a stream of our own, up to the fault that ends it."""
    place, body = CODECS[api]
    room, name = place.split(":")
    codec = getattr(import_module(f"fakellm.wire.{room}"), name)(*([profile] if profile else []))
    if api.startswith("openai_c"):
        fields = {"stream_options": {"include_usage": True}, **fields}
    path = f"/v1beta/models/g:streamGenerateContent?alt={alt}" if api == "gemini" else ""
    request = codec.request({**body, **({} if api == "gemini" else {"stream": True}), **fields}, path=path)
    steps = pieces(codec.encoder(request, 1, script.usage), script)
    return sent(steps)


def found(body, api, **options):
    """Return (rule, event, path) of each problem."""
    problems = check_wire(body, api=api, **options).problems
    return [(problem.rule.id, problem.event, problem.path) for problem in problems]


# -- streams that are right -----------------------------------------------------------------------------------

RICH = Script(
    Reasoning("hm", signature="cw=="), "Hel", "lo \U0001f600", ToolCall("f", '{"a": '), ToolCall(arguments="1}"), ToolCall("g"),
    Usage(12, 9, cached_tokens=4, reasoning_tokens=2),
)  # fmt: skip


@apis
def test_a_stream_of_our_own_breaks_no_rule(api):
    report = check_wire(encoded(api, RICH), api=api, content_type="text/event-stream; charset=utf-8", status=200)

    assert str(report) == f"{api}: no problems in {report.events} events"
    report.verify()


@pytest.mark.exhaustive
@each("name", PROFILES)
def test_a_stream_in_the_habits_of_a_service_breaks_no_rule_of_its_profile(name):
    body = encoded("openai_chat", RICH, profile=PROFILES[name])

    assert found(body, "openai_chat", profile=name) == []
    assert found(body, "openai_chat", profile=PROFILES[name]) == []
    assert found(body, "openai_chat", profile="any") == []
    assert bool(found(body, "openai_chat")) == (name != "openai")


def tame(script):
    """Return the script with arguments that are JSON, and without a finish reason that its calls do not fit."""
    events = []
    for event in script:
        if isinstance(event, ToolCall):
            arguments = "{}" if event.name is not None else " "
            events.append(ToolCall(event.name, arguments, id=event.id, index=event.index, choice=event.choice))
        else:
            events.append(Finish("length", choice=event.choice) if isinstance(event, Finish) else event)
    return Script(*events)


any_script = (strategies.small_scripts | strategies.scripts).map(tame)


@fewer(2)
@given(any_script)
def test_any_stream_of_our_own_breaks_no_rule(script):
    for api, alt in [*((api, "sse") for api in CODECS), ("gemini", "json")]:  # drawing takes longer than reading
        breaks_no_rule(api, script, found(encoded(api, script, alt=alt), api))


def breaks_no_rule(api, script, problems):
    if script.fault is None:
        assert problems == []
    elif isinstance(script.fault, provider_error):
        assert problems == [] or (script.fault.named is False and problems[0][0] == f"{api}.event_name")
    elif script.finish_reason is None:
        assert [name.partition(".")[2] for name, *_ in problems] in [
            [name] for name in ("finish", "message_start", "message_stop", "message_end", "terminal", "completed", "stream", "whole", "array")
        ]  # fmt: skip


@pytest.mark.exhaustive
@fewer(3)
@given(any_script, st.booleans())
def test_any_stream_in_the_habits_of_a_service_breaks_no_rule_of_its_profile(script, asked):
    script = Script(*(event for event in script if event is not script.fault))
    for profile in PROFILES.values():
        body = encoded("openai_chat", script, profile=profile, stream_options={"include_usage": asked})

        assert found(body, "openai_chat", profile=profile) == [], profile.name


SERVICES = {"openai", "anthropic", *PROFILES}


def recorded():
    for row, stream in recordings.streams():
        if stream["api"] in NAMES:
            yield pytest.param(row, stream, id=f"{row['file'].split('.', 2)[2]}.{stream['idx']}")


@pytest.mark.exhaustive
@corpus.needs_corpus
@each(("row", "stream"), list(recorded()))
def test_a_recorded_stream_breaks_no_rule(row, stream):
    api, service = NAMES[stream["api"]], stream["provider"]
    is_openais = api.startswith("openai_")
    profile = (service if service in PROFILES else "any") if is_openais else None
    if api == "openai_chat" and service == "cerebras":
        profile = Profile("cerebras", usage="finish")
    expected = next((rules for file, rules in NOT_WHOLE.items() if row["file"].startswith(file)), [])
    for body in streams_of(row, stream):
        assert [name for name, *_ in found(body, api, profile=profile)] == expected


# -- every rule, broken by itself -----------------------------------------------------------------------------


def events_of(body):
    """Return the events of a body as [name, data], the data as an object where it is JSON."""
    events = []
    for block in re.split(r"\r?\n\r?\n", body.decode())[:-1]:
        *first, data = block.replace("\r", "").split("\n")
        text = data.removeprefix("data:").removeprefix(" ")
        named = [line.removeprefix("event:").strip() for line in first if line.startswith("event:")]
        events.append([named[0] if named else None, json.loads(text) if text[0] == "{" else text])
    return events


def body_of(events):
    """Return the bytes of events; the data may be an object or a text, and bytes stand as they are."""
    parts = []
    for event in events:
        if isinstance(event, bytes):
            parts.append(event)
            continue
        name, data = event
        text = data if isinstance(data, str) else json.dumps(data)
        head = f"event: {name}\n" if name else ""
        parts.append(
            f"{head}data: {text}\n\n".encode("utf-8", "surrogatepass")
        )  # half a pair is no UTF-8: sent as it is
    return b"".join(parts)


def put(number, path, value):
    """Return what puts a value into an event, or in its place if the path is empty."""

    def edit(events):
        if not path:
            events[number - 1][1] = value
            return events
        *steps, last = [int(step) if step.isdigit() else step for step in re.findall(r"\w+", path)]
        inside = events[number - 1][1]
        for step in steps:
            inside = inside[step]
        inside[last] = value
        return events

    return edit


def less(number, path):
    """Return what takes a field out of an event."""

    def edit(events):
        *steps, last = [int(step) if step.isdigit() else step for step in re.findall(r"\w+", path)]
        inside = events[number - 1][1]
        for step in steps:
            inside = inside[step]
        del inside[last]
        return events

    return edit


def drop(*numbers):
    """Return what takes events out, counted from 1 or, with a minus, from the end."""

    def edit(events):
        gone = {number - 1 if number > 0 else len(events) + number for number in numbers}
        return [event for at, event in enumerate(events) if at not in gone]

    return edit


def copy(number, to):
    """Return what puts an event a second time, before the one of that number."""
    return lambda events: [*events[: to - 1], deepcopy(events[number - 1]), *events[to - 1 :]]


def move(number, to):
    def edit(events):
        rest = drop(number)(events)
        return [*rest[: to - 1], events[number - 1], *rest[to - 1 :]]

    return edit


def add(number, name, data):
    """Return what puts an event before the one of that number."""
    return lambda events: [*events[: number - 1], [name, data], *events[number - 1 :]]


def name(number, text):
    def edit(events):
        events[number - 1][0] = text
        return events

    return edit


def both(*edits):
    def edit(events):
        for one in edits:
            events = one(events)
        return events

    return edit


STREAMS = {
    # 1 role, 2 "Hel", 3 "lo", 4 call, 5 `{"a":`, 6 `1}`, 7 call, 8 `{}`, 9 finish, 10 usage, 11 [DONE]
    "openai_chat": Script("Hel", "lo", ToolCall("f", '{"a":'), ToolCall(arguments="1}"), ToolCall("g"), Usage(3, 4)),
    # 1 "Hel", 2 "lo", 3 finish, 4 usage, 5 [DONE]
    "openai_completions": Script("Hel", "lo", Usage(3, 4)),
    # 1 created, 2 in_progress, 3 item, 4 part, 5 "Hel", 6 "lo", 7 text done, 8 part done, 9 item done,
    # 10 item, 11 arguments, 12 arguments done, 13 item done, 14 completed
    "openai_responses": Script("Hel", "lo", ToolCall("f", '{"a":1}'), Usage(3, 4)),
    # 1 message_start, 2 block 0, 3 ping, 4 "hm", 5 signature, 6 stop, 7 block 1, 8 "Hel", 9 stop, 10 block 2, 11 "",
    # 12 `{"a":1}`, 13 stop, 14 message_delta, 15 message_stop
    "anthropic_messages": Script(Reasoning("hm"), "Hel", ToolCall("f", '{"a":1}'), Usage(3, 4)),
    # 1 "Hel", 2 call, 3 finish
    "gemini": Script("Hel", ToolCall("f", {"a": 1}), Usage(3, 4)),
    # 1 message-start, 2 block 0, 3 "hm", 4 end, 5 block 1, 6 "Hel", 7 end, 8 call 0, 9 `{"a":`, 10 `1}`, 11 end,
    # 12 call 1, 13 end, 14 message-end, 15 [DONE]
    "cohere_chat": Script(
        Reasoning("hm"), "Hel", ToolCall("f", '{"a":'), ToolCall(arguments="1}"), ToolCall("g"), Usage(3, 4)
    ),
    # 1 created, 2 status, 3 thought, 4 "hm", 5 stop, 6 output, 7 "Hel", 8 stop, 9 call, 10 `{"a":`, 11 `1}`, 12 stop,
    # 13 call, 14 stop, 15 completed, 16 [DONE]
    "gemini_interactions": Script(
        Reasoning("hm"), "Hel", ToolCall("f", '{"a":'), ToolCall(arguments="1}"), ToolCall("g"), Usage(3, 4)
    ),
    # 1 role, 2 "hm", 3 end of it, 4 "Hel", 5 call 0, 6 call 1 with finish and usage, 7 [DONE]
    "mistral_chat": Script(Reasoning("hm"), "Hel", ToolCall("f", '{"a":1}'), ToolCall("g"), Usage(3, 4)),
    # 1 started, 2 run, 3 its end, 4 "hm", 5 "Hel", 6 `{"a":`, 7 `1}`, 8 call 1, 9 done
    "mistral_conversations": Script(
        Native("mistral.conversations", {"type": "tool.execution.started", "name": "web_search", "arguments": ""}),
        Native("mistral.conversations", {"type": "tool.execution.done", "name": "web_search"}),
        Reasoning("hm"),
        "Hel",
        ToolCall("f", '{"a":'),
        ToolCall(arguments="1}"),
        ToolCall("g"),
        Usage(3, 4),
    ),
    # 1 "hm", 2 "Hel", 3 `{"a":`, 4 `1}`, 5 call 1, 6 finish
    "dashscope_generation": Script(
        Reasoning("hm"), "Hel", ToolCall("f", '{"a":'), ToolCall(arguments="1}"), ToolCall("g"), Usage(3, 4)
    ),
}

UUID = "00000000-0000-4000-8000-000000000001"
CHUNK = {"id": "x", "object": "o", "created": 1, "model": "m"}
ERROR = {"error": {"message": "no", "type": "server_error"}}
CALL = "choices[0].delta.tool_calls[0]"
TEXT = {"index": 0, "delta": {"content": "more"}, "finish_reason": None}

FRAMES = [
    ("sse.field", lambda e: [e[0], b"content: lost\n", *e[1:]], None, ""),
    ("sse.utf8", lambda e: [body_of(e[:1]).replace(b"{", b'{"x":"\xff",', 1), *e[1:]], 1, ""),
    ("sse.json", lambda e: [e[0], [None, "{oops"], *e[1:]], 2, ""),
    ("sse.json", lambda e: [e[0], [None, "[]"], *e[1:]], 2, ""),
    ("sse.json", lambda e: [e[0], [None, '{"a": NaN}'], *e[1:]], 2, ""),
    ("sse.json", lambda e: [e[0], [None, "[" * 9999 + "]" * 9999], *e[1:]], 2, ""),
    ("sse.whole", lambda e: [*e[:1], b"data: {\n"], 2, ""),
    ("sse.whole", lambda e: [*e[:1], b'data: {"a": 1}'], 2, ""),
    ("sse.stream", lambda _: [], None, ""),
    ("sse.stream", lambda _: [b"\n\n"], None, ""),
    ("sse.stream", lambda _: [b"<!DOCTYPE html><p>Bad gateway"], None, ""),
    ("sse.stream", lambda _: [b'{"detail": "no"}'], None, ""),
]
SHARED = [
    ("unnamed", name(2, "message"), 2, ""),
    ("object", put(2, "object", "chunk"), 2, "object"),
    ("same_id", put(2, "id", "x"), 2, "id"),
    ("same_id", put(2, "id", None), 2, "id"),
    ("same_created", put(2, "created", 1), 2, "created"),
    ("same_created", put(2, "created", "now"), 2, "created"),
    ("same_model", put(2, "model", ""), 2, "model"),
    ("shape", put(2, "choices", {}), 2, "choices"),
    ("shape", put(2, "choices[0]", 3), 2, "choices[0]"),
    ("choice_index", put(2, "choices[0].index", "0"), 2, "choices[0].index"),
    ("choice_index", put(2, "choices[0].index", True), 2, "choices[0].index"),
    ("choice_index", less(2, "choices[0].index"), 2, "choices[0].index"),
    ("finish", lambda _: [[None, "[DONE]"]], None, ""),
    ("error", both(add(2, None, ERROR), drop(-1)), 3, ""),
    ("done", drop(-1), None, ""),
    ("null", add(2, None, "null"), 2, ""),
]
BROKEN = {
    "openai_chat": [
        *SHARED,
        ("shape", put(2, "choices[0].delta", "Hel"), 2, "choices[0].delta"),
        ("shape", put(4, "choices[0].delta.tool_calls", "f"), 4, "choices[0].delta.tool_calls"),
        ("shape", put(5, f"{CALL}.function.arguments", 3), 5, f"{CALL}.function.arguments"),
        ("finish", drop(9), None, ""),
        ("one_finish", copy(9, 10), 10, "choices[0].finish_reason"),
        ("finish_last", copy(3, 10), 10, "choices[0]"),
        ("usage", copy(10, 11), 11, "usage"),
        ("usage", move(10, 9), 10, "choices"),
        ("usage", put(2, "usage", {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}), 2, "usage"),
        ("usage_total", put(10, "usage.total_tokens", 8), 10, "usage.total_tokens"),
        ("usage_total", put(10, "usage.prompt_tokens", "3"), 10, "usage.prompt_tokens"),
        ("done_last", copy(11, 11), 12, ""),
        ("role", less(1, "choices[0].delta.role"), 1, "choices[0].delta.role"),
        ("role", put(1, "choices[0].delta.role", "user"), 1, "choices[0].delta.role"),
        ("role_once", put(3, "choices[0].delta.role", "assistant"), 3, "choices[0].delta.role"),
        ("finish_reason", put(3, "choices[0].finish_reason", ""), 3, "choices[0].finish_reason"),
        ("finish_reason", less(3, "choices[0].finish_reason"), 3, "choices[0].finish_reason"),
        ("finish_alone", put(9, "choices[0].delta", {"content": "."}), 9, "choices[0].delta"),
        ("content", put(2, "choices[0].delta.content", [{"text": "Hel"}]), 2, "choices[0].delta.content"),
        ("tool_index", less(4, f"{CALL}.index"), 4, f"{CALL}.index"),
        ("tool_order", both(put(7, f"{CALL}.index", 2), put(8, f"{CALL}.index", 2)), 7, f"{CALL}.index"),
        ("tool_order", move(6, 7), 7, f"{CALL}.index"),
        ("tool_start", less(4, f"{CALL}.id"), 4, f"{CALL}.id"),
        ("tool_start", put(4, f"{CALL}.function.name", ""), 4, f"{CALL}.function.name"),
        ("tool_type", less(4, f"{CALL}.type"), 4, f"{CALL}.type"),
        ("tool_pieces", both(put(7, f"{CALL}.function.arguments", "{}"), drop(8)), 7, f"{CALL}.function.arguments"),
        ("tool_later", put(5, f"{CALL}.function.name", "f"), 5, f"{CALL}.function.name"),
        ("tool_later", put(5, f"{CALL}.id", "call_0"), 5, f"{CALL}.id"),
        ("tool_arguments", drop(6), 5, f"{CALL}.function.arguments"),
        ("tool_arguments", put(8, f"{CALL}.function.arguments", "[]"), 8, f"{CALL}.function.arguments"),
    ],
    "openai_completions": [
        *SHARED,
        ("shape", less(2, "choices[0].text"), 2, "choices[0].text"),
        ("finish", drop(3), None, ""),
        ("one_finish", both(copy(3, 4), put(3, "choices[0].finish_reason", "length")), 4, "choices[0].finish_reason"),
        ("finish_last", copy(2, 4), 4, "choices[0].text"),
        ("usage", copy(4, 5), 5, "usage"),
        ("usage_total", put(4, "usage.total_tokens", 8), 4, "usage.total_tokens"),
        ("done_last", copy(1, 6), 6, ""),
    ],
    "openai_responses": [
        ("shape", less(5, "delta"), 5, "delta"),
        ("shape", put(3, "output_index", "0"), 3, "output_index"),
        ("event_name", name(5, None), 5, ""),
        ("event_name", name(5, "message"), 5, ""),
        ("sequence", put(5, "sequence_number", 9), 5, "sequence_number"),
        ("created", drop(1), 1, "type"),
        ("created", drop(2), 2, "type"),
        ("same_id", put(14, "response.id", "resp_x"), 14, "response.id"),
        ("status", put(14, "response.status", "in_progress"), 14, "response.status"),
        ("terminal", drop(14), None, ""),
        ("terminal", copy(14, 14), 15, "type"),
        ("terminal_last", add(15, "response.new", {"type": "response.new", "sequence_number": 14}), 15, "type"),
        ("terminal_last", add(15, None, "[DONE]"), 15, ""),
        ("usage_total", put(14, "response.usage.total_tokens", 8), 14, "response.usage.total_tokens"),
        ("error", add(3, "error", {"type": "error", "error": {"message": "no"}, "sequence_number": 2}), 4, "type"),
        ("error_event", both(add(3, None, ERROR), drop(*range(4, 16))), 3, "type"),
        ("output_index", less(9, "output_index"), 9, "output_index"),
        ("item_added", drop(10), 10, "type"),
        ("item_added", copy(3, 4), 4, "output_index"),
        ("item_index", both(*(put(number, "output_index", 2) for number in (10, 11, 12, 13))), 10, "output_index"),
        ("item_id", put(5, "item_id", "msg_x"), 5, "item_id"),
        ("item_id", put(9, "item.type", "other"), 9, "item.type"),
        ("item_done", both(drop(13), put(13, "response.output", [])), 13, "response.output"),
        ("item_done", copy(5, 10), 10, "type"),
        ("part_added", drop(4), 4, "content_index"),
        ("done_text", put(7, "text", "Hello."), 7, "text"),
        ("done_text", put(8, "part.text", "Hello."), 8, "part.text"),
        ("done_text", put(9, "item.content[0].text", "Hello."), 9, "item.content[0].text"),
        ("done_text", put(9, "item.content", []), 9, "item.content"),
        ("done_text", put(12, "arguments", "{}"), 12, "arguments"),
        ("arguments", both(*(put(n, path, '{"a":') for n, path in ((11, "delta"), (12, "arguments"), (13, "item.arguments"), (14, "response.output[1].arguments")))), 13, "item.arguments"),
        ("output", put(14, "response.output[0].content[0].text", "Hello."), 14, "response.output"),
        ("output", put(14, "response.output", []), 14, "response.output"),
    ],
    "anthropic_messages": [
        ("sse.whole", lambda e: [*e[:1], b"event: message_stop\n"], 2, ""),
        ("shape", less(8, "delta.text"), 8, "delta.text"),
        ("shape", put(1, "message.role", "user"), 1, "message.role"),
        ("shape", less(14, "usage"), 14, "usage"),
        ("shape", put(10, "content_block.name", ""), 10, "content_block.name"),
        ("event_name", name(8, None), 8, ""),
        ("event_name", name(8, "delta"), 8, ""),
        ("message_start", drop(1), 1, "type"),
        ("message_start", copy(1, 2), 2, "type"),
        ("message_start", lambda e: [e[2]], None, ""),
        ("block_index", both(*(put(number, "index", 2) for number in (7, 8, 9))), 7, "index"),
        ("block_index", put(8, "index", None), 8, "index"),
        ("block_order", drop(9), 9, "type"),
        ("block_order", put(8, "index", 0), 8, "index"),
        ("block_order", copy(8, 10), 10, "type"),
        ("block_order", drop(13), 13, "type"),
        ("delta_fits", put(8, "delta", {"type": "thinking_delta", "thinking": "Hel"}), 8, "delta.type"),
        ("signature", drop(5), 5, "index"),
        ("signature", put(5, "delta.signature", ""), 5, "delta.signature"),
        ("input_json", put(12, "delta.partial_json", '{"a":'), 12, "delta.partial_json"),
        ("message_delta", drop(14), 14, "type"),
        ("message_delta", put(14, "delta.stop_reason", None), 15, "type"),
        ("message_delta", both(add(15, "content_block_start", {"type": "content_block_start", "index": 3, "content_block": {"type": "text", "text": ""}}), add(16, "content_block_stop", {"type": "content_block_stop", "index": 3})), 15, "type"),
        ("tool_use", put(14, "delta.stop_reason", "end_turn"), 14, "delta.stop_reason"),
        ("tool_use", drop(10, 11, 12, 13), 10, "delta.stop_reason"),
        ("usage", put(14, "usage.output_tokens", 0), 14, "usage.output_tokens"),
        ("error", add(8, "error", {"type": "error", **ERROR}), 9, ""),
        ("error_event", both(add(8, "error", {"type": "server_error", "message": "no"}), drop(*range(9, 17))), 8, "type"),
        ("tool_input", less(10, "content_block.input"), 10, "content_block.input"),
        ("message_stop", drop(15), None, ""),
        ("message_stop", copy(3, 16), 16, ""),
    ],
    "gemini": [
        ("data_only", name(1, "message"), 1, ""),
        ("data_only", lambda e: [e[0], b": wait\n\n", *e[1:]], None, ""),
        ("shape", put(1, "candidates", {}), 1, "candidates"),
        ("shape", put(1, "candidates[0].content", "Hel"), 1, "candidates[0].content"),
        ("says", put(1, "", {"modelVersion": "g"}), 1, ""),
        ("parts", put(1, "candidates[0].content.parts[0].text", 3), 1, "candidates[0].content.parts[0].text"),
        ("parts", put(1, "candidates[0].content.parts[0].inlineData", {"data": ""}), 1, "candidates[0].content.parts[0]"),
        ("call", put(2, "candidates[0].content.parts[0].functionCall.args", '{"a": 1}'), 2, "candidates[0].content.parts[0].functionCall.args"),
        ("call", less(2, "candidates[0].content.parts[0].functionCall.name"), 2, "candidates[0].content.parts[0].functionCall.name"),
        ("same_id", put(2, "responseId", "x"), 2, "responseId"),
        ("same_model", put(2, "modelVersion", "x"), 2, "modelVersion"),
        ("usage", put(2, "usageMetadata.promptTokenCount", 1.5), 2, "usageMetadata.promptTokenCount"),
        ("finish", drop(-1), 2, "candidates[0].finishReason"),
        ("done", add(4, None, "[DONE]"), 4, ""),
        ("error", add(1, None, ERROR), 2, ""),
    ],
    "cohere_chat": [
        ("shape", put(6, "delta.message.content", None), 6, "delta.message.content"),
        ("shape", put(6, "delta.message.content.text", 5), 6, "delta.message.content.text"),
        ("shape", less(1, "id"), 1, "id"),
        ("shape", put(1, "delta.message.role", "user"), 1, "delta.message.role"),
        ("shape", put(9, "delta.message.tool_calls.function.arguments", {}), 9, "delta.message.tool_calls.function.arguments"),
        ("type", less(6, "type"), 6, "type"),
        ("type", put(6, "", {"text": "lost"}), 6, "type"),
        ("event_name", name(6, None), 6, ""),
        ("event_name", name(6, "message"), 6, ""),
        ("message_start", drop(1), 1, "type"),
        ("message_start", copy(1, 2), 2, "type"),
        ("message_start", lambda _: [[None, "[DONE]"]], None, ""),
        ("block_index", both(*(put(number, "index", 2) for number in (5, 6, 7))), 5, "index"),
        ("block_index", put(6, "index", None), 6, "index"),
        ("block_order", drop(5), 5, "type"),
        ("block_order", drop(7), 7, "type"),
        ("block_order", copy(6, 8), 8, "type"),
        ("block_order", put(6, "index", 0), 6, "index"),
        ("delta_fits", put(6, "delta.message.content", {"thinking": "Hel"}), 6, "delta.message.content"),
        ("call_index", both(*(put(number, "index", 2) for number in (12, 13))), 12, "index"),
        ("call_order", drop(11), 11, "type"),
        ("call_order", drop(13), 13, "type"),
        ("call_order", copy(10, 12), 12, "type"),
        ("call_order", put(9, "index", 1), 9, "index"),
        ("call_start", less(8, "delta.message.tool_calls.id"), 8, "delta.message.tool_calls.id"),
        ("call_start", put(8, "delta.message.tool_calls.function.name", ""), 8, "delta.message.tool_calls.function.name"),
        ("arguments", drop(10), 9, "delta.message.tool_calls.function.arguments"),
        ("message_end", drop(14), 14, ""),
        ("message_end", drop(14, 15), None, ""),
        ("message_end", put(14, "delta.finish_reason", None), 14, "delta.finish_reason"),
        ("message_end", copy(14, 15), 15, ""),
        ("message_end", copy(6, 15), 15, ""),
        ("tool_call", put(14, "delta.finish_reason", "COMPLETE"), 14, "delta.finish_reason"),
        ("tool_call", drop(*range(8, 14)), 8, "delta.finish_reason"),
        ("usage", put(14, "delta.usage.tokens.input_tokens", "3"), 14, "delta.usage.tokens.input_tokens"),
        ("error", add(6, "error", {"type": "error", "message": "no"}), 7, ""),
        ("done", drop(15), None, ""),
        ("done", copy(6, 16), 16, ""),
    ],
    "gemini_interactions": [
        ("shape", put(7, "delta", None), 7, "delta"),
        ("shape", put(7, "delta.text", 5), 7, "delta.text"),
        ("shape", less(6, "step.type"), 6, "step.type"),
        ("type", less(7, "event_type"), 7, "event_type"),
        ("event_name", name(7, "step.start"), 7, ""),
        ("created", drop(1), 1, "event_type"),
        ("created", copy(1, 2), 2, "event_type"),
        ("created", less(1, "interaction.id"), 1, "interaction.id"),
        ("created", lambda _: [[None, "[DONE]"]], None, ""),
        ("step_index", both(*(put(number, "index", 2) for number in (6, 7, 8))), 6, "index"),
        ("step_index", put(7, "index", None), 7, "index"),
        ("step_order", drop(6), 6, "event_type"),
        ("step_order", drop(8), 8, "event_type"),
        ("step_order", copy(7, 9), 9, "event_type"),
        ("step_order", put(7, "index", 0), 7, "index"),
        ("step_order", drop(14), 14, "event_type"),
        ("delta_fits", put(7, "delta", {"type": "arguments_delta", "arguments": "x"}), 7, "delta.type"),
        ("call_start", less(9, "step.id"), 9, "step.id"),
        ("call_start", put(9, "step.name", ""), 9, "step.name"),
        ("arguments", drop(11), 10, "delta.arguments"),
        ("arguments", put(9, "step.arguments", "{}"), 9, "step.arguments"),
        ("completed", drop(15), 15, ""),
        ("completed", drop(15, 16), None, ""),
        ("completed", less(15, "interaction.status"), 15, "interaction.status"),
        ("completed", copy(15, 16), 16, ""),
        ("requires_action", put(15, "interaction.status", "completed"), 15, "interaction.status"),
        ("requires_action", drop(*range(9, 15)), 9, "interaction.status"),
        ("usage", put(15, "interaction.usage.total_tokens", "3"), 15, "interaction.usage.total_tokens"),
        ("error", add(7, "error", {"event_type": "error", "error": {"message": "no"}}), 8, ""),
        ("done", drop(16), None, ""),
        ("done", copy(7, 17), 17, ""),
    ],
    "mistral_chat": [
        *(row for row in SHARED if row[0] not in ("finish", "error")),
        ("shape", put(4, "choices[0].delta", "Hel"), 4, "choices[0].delta"),
        ("shape", put(5, f"{CALL}.function.arguments", 3), 5, f"{CALL}.function.arguments"),
        ("finish", lambda _: [[None, "[DONE]"]], None, ""),
        ("finish", drop(6), None, ""),
        ("one_finish", both(copy(6, 7), less(7, "usage")), 7, "choices[0].finish_reason"),
        ("finish_last", copy(4, 7), 7, "choices[0]"),
        ("finish_reason", put(3, "choices[0].finish_reason", ""), 3, "choices[0].finish_reason"),
        ("finish_reason", less(3, "choices[0].finish_reason"), 3, "choices[0].finish_reason"),
        ("finish_alone", put(6, "choices[0].delta.content", "."), 6, "choices[0].delta.content"),
        ("role", less(1, "choices[0].delta.role"), 1, "choices[0].delta.role"),
        ("role_once", put(3, "choices[0].delta.role", "assistant"), 3, "choices[0].delta.role"),
        ("content", put(4, "choices[0].delta.content", {"text": "Hel"}), 4, "choices[0].delta.content"),
        ("content", less(2, "choices[0].delta.content[0].type"), 2, "choices[0].delta.content[0].type"),
        ("tool_index", less(5, f"{CALL}.index"), 5, f"{CALL}.index"),
        ("tool_order", put(6, f"{CALL}.index", 2), 6, f"{CALL}.index"),
        ("tool_start", less(5, f"{CALL}.id"), 5, f"{CALL}.id"),
        ("tool_start", put(5, f"{CALL}.function.name", ""), 5, f"{CALL}.function.name"),
        ("tool_type", less(5, f"{CALL}.type"), 5, f"{CALL}.type"),
        ("tool_whole", put(5, f"{CALL}.function.arguments", '{"a":'), 5, f"{CALL}.function.arguments"),
        ("tool_whole", copy(5, 6), 6, CALL),
        ("usage", put(4, "usage", {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}), 4, "usage"),
        ("usage_total", put(6, "usage.total_tokens", 8), 6, "usage.total_tokens"),
        ("error", add(3, None, {"object": "error", "message": "no", "type": "x"}), 4, ""),
        ("done_last", copy(7, 7), 8, ""),
    ],
    "mistral_conversations": [
        ("shape", less(5, "content"), 5, "content"),
        ("shape", less(4, "content.type"), 4, "content.type"),
        ("shape", put(6, "arguments", {}), 6, "arguments"),
        ("shape", both(add(6, "conversation.response.error", {"type": "conversation.response.error", "code": 1}), drop(*range(7, 11))), 6, "message"),
        ("type", less(5, "type"), 5, "type"),
        ("event_name", name(5, None), 5, ""),
        ("event_name", name(5, "message"), 5, ""),
        ("started", drop(1), 1, "type"),
        ("started", copy(1, 2), 2, "type"),
        ("started", less(1, "conversation_id"), 1, "conversation_id"),
        ("output_index", put(8, "output_index", 5), 8, "output_index"),
        ("output_index", less(5, "output_index"), 5, "output_index"),
        ("output_order", move(5, 7), 7, "output_index"),
        ("output_id", put(5, "id", "msg_x"), 5, "id"),
        ("output_id", put(5, "id", ""), 5, "id"),
        ("call", put(7, "name", "g"), 7, "name"),
        ("call", less(7, "tool_call_id"), 7, "tool_call_id"),
        ("arguments", drop(7), 6, "arguments"),
        ("run", drop(3), 8, ""),
        ("run", drop(2), 2, "type"),
        ("run", copy(3, 4), 4, "type"),
        ("usage", put(9, "usage.total_tokens", 3), 9, "usage.total_tokens"),
        ("usage", less(9, "usage"), 9, "usage"),
        ("terminal", drop(9), None, ""),
        ("terminal_last", copy(9, 10), 10, ""),
        ("terminal_last", add(10, None, "[DONE]"), 10, ""),
    ],
    "dashscope_generation": [
        ("shape", less(2, "output"), 2, "output"),
        ("shape", put(2, "output.choices", {}), 2, "output.choices"),
        ("shape", put(2, "output.choices[0].message.content", 5), 2, "output.choices[0].message.content"),
        ("shape", put(1, "output.choices[0].message.reasoning_content", 5), 1, "output.choices[0].message.reasoning_content"),
        ("shape", both(put(2, "output.choices", None), put(2, "output.text", None), put(2, "output.finish_reason", "null")), 2, "output.text"),
        ("shape", less(2, "request_id"), 2, "request_id"),
        ("event_name", name(2, None), 2, ""),
        ("event_name", name(2, "message"), 2, ""),
        ("event_name", both(put(6, "", {"code": "InternalError", "message": "no", "request_id": UUID})), 6, ""),
        ("same_id", put(2, "request_id", "x"), 2, "request_id"),
        ("choice_index", put(2, "output.choices[0].index", "0"), 2, "output.choices[0].index"),
        ("finish_reason", put(2, "output.choices[0].finish_reason", None), 2, "output.choices[0].finish_reason"),
        ("finish_reason", put(2, "output.choices[0].finish_reason", ""), 2, "output.choices[0].finish_reason"),
        ("finish", drop(6), None, ""),
        ("finish_last", copy(2, 7), 7, "output.choices[0]"),
        ("call_start", put(3, "output.choices[0].message.tool_calls[0].id", ""), 3, "output.choices[0].message.tool_calls[0].id"),
        ("call_start", less(3, "output.choices[0].message.tool_calls[0].function.name"), 3, "output.choices[0].message.tool_calls[0].function.name"),
        ("usage", put(6, "usage.input_tokens", "3"), 6, "usage.input_tokens"),
        ("error", add(3, "error", {"code": "InternalError", "message": "no", "request_id": UUID}), 4, ""),
    ],
}  # fmt: skip


def as_events(events):
    """Return the events of a Responses stream with the numbers of their places."""
    numbered = (event for event in events if not isinstance(event, bytes) or b"data:" in event)
    for number, event in enumerate(numbered):
        if isinstance(event, list) and isinstance(event[1], dict) and "sequence_number" in event[1]:
            event[1]["sequence_number"] = number
    return events


@cache
def whole(api):
    return encoded(api, STREAMS[api])


def mutants():
    for api, rows in BROKEN.items():
        for number, (name, edit, event, path) in enumerate([*FRAMES, *rows]):
            rule = name if "." in name else f"{api}.{name}"
            yield pytest.param(api, rule, edit, event, path, id=f"{rule}-{number}-{api}")


def mutant(api, rule, edit):
    events = edit(events_of(whole(api)))
    return body_of(events if rule == "openai_responses.sequence" else as_events(events))


@pytest.mark.exhaustive
@each(("api", "rule", "edit", "event", "path"), list(mutants()))
def test_a_broken_rule_is_found_at_its_place_and_no_other(api, rule, edit, event, path):
    body = mutant(api, rule, edit)
    (problem,) = check_wire(body, api=api).problems

    assert (problem.rule.id, problem.event, problem.path) == (rule, event, path)
    assert body[: problem.offset].count(b"\n") == problem.line - 1
    if event is not None and rule != "sse.whole":  # it says where its event begins
        assert body[: problem.offset].count(b"\n\n") == event - 1
        assert problem.name == ((re.match(rb"event: (.*)\n", body[problem.offset :]) or [b"", b""])[1].decode() or None)
    assert found(body, api, ignore=[rule]) == []
    with pytest.raises(BrokenContractError, match=rule) as caught:
        CATALOGUE[f"{api}_grammar"].checks["wire"](body)
    assert caught.value.contract == f"{api}_grammar"


@apis
def test_each_rule_was_broken(api):
    framing = {"sse.content_type", "sse.blank_line", "gemini.array", f"{api}.error_last"}
    broken = {rule if "." in rule else f"{api}.{rule}" for rule, *_ in [*FRAMES, *BROKEN[api]]}

    assert {rule.id for rule in rules_of(api)} - framing == broken


@pytest.mark.exhaustive
@each(("api", "rule", "edit", "event", "path"), list(mutants()))
def test_how_the_bytes_are_cut_makes_no_difference(api, rule, edit, event, path):
    body = mutant(api, rule, edit)
    undivided = check_wire(body, api=api)
    is_framing = rule.startswith("sse.") and len(body) < 8000
    step = 1 if is_framing else 97
    line_ends = (b"\r\n", b"\r")

    assert check_wire((body[at : at + step] for at in range(0, len(body), step)), api=api) == undivided
    for line_end in line_ends if is_framing else line_ends[len(body) % 2 :][:1]:
        other = check_wire(body.replace(b"\n", line_end), api=api)
        assert [(p.rule, p.event, p.line, p.path) for p in other.problems] == [
            (p.rule, p.event, p.line, p.path) for p in undivided.problems
        ]  # fmt: skip


# -- Gemini's other form --------------------------------------------------------------------------------------

ARRAY = encoded("gemini", STREAMS["gemini"], alt="json")


def test_an_array_of_gemini_breaks_no_rule():
    assert found(ARRAY, "gemini", content_type="application/json; charset=UTF-8") == []
    assert found(b"\n" + ARRAY + b"\n", "gemini") == []


@each(
    ("body", "rule", "event"),
    [
        (ARRAY.rstrip()[:-1], "gemini.array", None),
        (ARRAY.rstrip()[:-30], "gemini.array", None),
        (ARRAY + b"[]", "gemini.array", None),
        (ARRAY.replace(b"},\r\n{", b"}\r\n{", 1), "gemini.array", None),
        (b"[3," + ARRAY[1:], "gemini.array", None),
        (b"[", "gemini.array", None),
        (b"[]", "gemini.finish", None),
        (ARRAY.replace(b'"Hel"', b"Hel"), "sse.json", 1),
        (ARRAY.replace(b'"Hel"', b"5"), "gemini.parts", 1),
    ],
    ids=range(9),
)
def test_a_broken_array_is_one_problem(body, rule, event):
    problems = check_wire(body, api="gemini").problems

    assert [(problem.rule.id, problem.event) for problem in problems] == [(rule, event)]
    assert check_wire((bytes([byte]) for byte in body), api="gemini").problems == problems
    assert found(body, "gemini", ignore=rule) == []


def test_an_error_of_gemini_stands_bare_between_events_over_several_lines():
    body = encoded("gemini", Script("a", provider_error("overloaded")))
    bare = encoded("gemini", Script("a", provider_error("overloaded", named=True)))

    assert found(body, "gemini") == found(bare, "gemini") == []
    begin = body_of(events_of(encoded("gemini", STREAMS["gemini"]))[:1])
    assert found(begin + b'{\n "error": {\n  "code": 500\n }\n}\n', "gemini") == []
    assert found(begin + b'{\n "x": {}\n}\n', "gemini") == [("sse.field", 2, "")]


def test_a_prompt_that_was_blocked_has_no_candidate():
    chunk = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}

    assert found(body_of([[None, chunk]]), "gemini") == []


# -- what is legal --------------------------------------------------------------------------------------------


@each(apis)
@each("named", [None, False, True])
def test_an_error_that_ends_the_stream_is_legal(api, named):
    if api in ("anthropic_messages", "dashscope_generation") and named is False:
        return  # an error without its name, which the official SDK passes over, or takes for an answer
    for script in (
        Script(provider_error("no", named=named)),
        Script("a", ToolCall("f", "{"), provider_error("no", named=named)),
    ):
        assert found(encoded(api, script), api) == []


def test_comments_retry_and_a_bom_are_legal():
    body = encoded("openai_chat", STREAMS["openai_chat"])

    assert found(b"\xef\xbb\xbf: hello\n\nretry: 5\n\n" + body.replace(b"\n\n", b"\n\n: wait\n\n"), "openai_chat") == []


def test_a_last_event_that_no_blank_line_ends_is_read_and_named():
    body = encoded("openai_chat", STREAMS["openai_chat"])

    assert found(body[:-1], "openai_chat") == [("sse.blank_line", 11, "")]
    assert found(body[:-1], "openai_chat", profile="any") == []
    assert found(body[:-2], "openai_chat", profile="any") == [("sse.whole", 11, "")]


def test_a_response_that_is_resumed_is_judged_from_there():
    events = events_of(encoded("openai_responses", STREAMS["openai_responses"]))

    assert found(body_of(events[5:]), "openai_responses") == []
    late = [["response.rate_limits.updated", {"type": "response.rate_limits.updated"}]]
    assert found(body_of(events + late), "openai_responses") == []


def test_an_answer_that_was_cut_off_may_end_inside_its_arguments():
    script = Script(ToolCall("f", '{"a":'), Finish("length"))

    for api in CODECS.keys() - {"mistral_conversations"}:  # which has no finish reason to tell it by
        assert found(encoded(api, script), api) == []
    assert [found(encoded(api, Script(ToolCall("f", '{"a":'))), api)[0][0] for api in ("openai_chat", "anthropic_messages")] == [
        "openai_chat.tool_arguments", "anthropic_messages.input_json",
    ]  # fmt: skip


def test_tools_that_are_no_functions_have_their_own_fields():
    events = events_of(encoded("openai_chat", Script(ToolCall("f", '"raw"'))))
    for _, data in events[1:-3]:
        (call,) = data["choices"][0]["delta"]["tool_calls"]
        body = call.pop("function")
        call["custom"] = {"input": body["arguments"], **({"name": "f"} if "name" in body else {})}
        if "type" in call:
            call["type"] = "custom"

    assert found(body_of(events), "openai_chat") == []


@each(
    ("api", "script", "fields"),
    [
        ("openai_chat", Script("a", Text("b", choice=1), Finish(choice=1), "c", Finish("length")), {"n": 2}),
        ("openai_chat", Script(ToolCall("f", "{"), ToolCall(arguments="}")), {"functions": [{"name": "f"}]}),
        ("openai_chat", Script("a", "b"), {"logprobs": True, "top_logprobs": 2}),
        ("openai_chat", Script("a", Native("openai.chat", {"annotations": [{"type": "url_citation"}]})), {}),
        ("openai_chat", Script("a", Finish("stop", extra={"content_filter_results": {}})), {}),
        ("openai_chat", Script(Refusal("I "), Refusal("cannot")), {}),
        ("openai_chat", Script(Raw(": wait\n\n"), "a", Usage(1, 1)), {"stream_options": None}),
        ("openai_chat", Script(), {}),
        ("openai_completions", Script("a", Text("b", choice=1), Finish(), Finish("length", choice=1)), {"prompt": ["p", "q"]}),
        ("openai_completions", Script("a"), {"logprobs": 2, "stream_options": None}),
        ("openai_responses", Script(Reasoning("a", signature="s"), Refusal("b"), "c", Reasoning("d"), ToolCall("f"), "e"), {}),
        ("openai_responses", Script("a"), {"include": ["message.output_text.logprobs"], "top_logprobs": 1}),
        ("openai_responses", Script("a", Native("openai.responses", {"type": "web_search_call", "id": "ws_1", "status": "completed"}), "b"), {}),
        ("openai_responses", Script(Native("openai.responses", {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "raw"})), {}),
        ("openai_responses", Script("a", Finish("content_filter")), {}),
        ("anthropic_messages", Script(Native("anthropic.messages", {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": 1}}), "a"), {}),
        ("anthropic_messages", Script(Native("anthropic.messages", {"type": "redacted_thinking", "data": "x"}), "a"), {}),
        ("anthropic_messages", Script("a", Native("anthropic.messages", {"type": "citations_delta", "citation": {}})), {}),
        ("anthropic_messages", Script("a", ToolCall("f"), Finish("length")), {}),
        ("gemini", Script("a", Native("gemini", {"inlineData": {"data": "AA=="}}), ToolCall("f", id="mine")), {}),
        ("gemini", Script("a", Finish("SAFETY", extra={"groundingMetadata": {}}), Text("b", choice=1), Finish(choice=1)), {}),
    ],
)  # fmt: skip
def test_all_that_a_script_can_say_breaks_no_rule(api, script, fields):
    assert found(encoded(api, script, **fields), api) == []


# -- one root, one problem ------------------------------------------------------------------------------------


def test_the_same_at_the_same_place_is_counted():
    events = events_of(encoded("openai_chat", STREAMS["openai_chat"]))
    for _, data in events[1:-1]:
        data["id"] = "other"
    (problem,) = check_wire(body_of(events), api="openai_chat").problems

    assert (problem.event, problem.more) == (2, 8)
    assert str(problem).endswith("more:      8 later events with the same")


@apis
def test_what_may_have_been_in_an_event_that_cannot_be_read_is_not_missed(api):
    for at in range(len(events_of(whole(api)))):
        events = events_of(whole(api))
        events[at][1] = "{oops"
        assert ("sse.json", at + 1, "") in found(body_of(events), api)
        assert len(found(body_of(events), api)) <= 2


# -- bytes of any kind ----------------------------------------------------------------------------------------

JUNK = st.recursive(
    st.sampled_from([None, True, 0, -1, 2, 1.5, 10**30, "", "x", "\ud800", [], {}, "tool_use", "text", "assistant", "error"]),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.sampled_from(["type", "index", "id", "error", "text", "content", "usage"]), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


@pytest.mark.exhaustive
@apis
@fewer(3)
@given(st.data())
def test_json_of_any_kind_becomes_problems(api, data):
    events = events_of(whole(api))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(events) - 1))
        path = data.draw(st.sampled_from(strategies.places(events[at][1])))
        events[at][1] = strategies.put(events[at][1], path, data.draw(JUNK))
    body = body_of([[name, data if isinstance(data, str) else json.dumps(data)] for name, data in events])
    report = check_wire(body, api=api)

    str(report).encode()
    assert check_wire(body, api=api) == report


ODD = (None, 3, -1, True, "x", [], {}, [None], {"type": None}, "\ud800")


@pytest.mark.exhaustive
@apis
def test_each_field_of_each_event_can_be_of_any_kind(api):
    events = events_of(whole(api))
    turn = itertools.count()
    for at, (name, data) in enumerate(events):
        for path in strategies.places(data):
            for junk in ODD[next(turn) % 4 :: 4]:  # the places of a stream have neighbours of their kind
                changed = [*events[:at], [name, json.dumps(strategies.put(data, path, junk))], *events[at + 1 :]]
                assert len(check_wire(body_of(changed), api=api).problems) < 9


@apis
@given(
    st.binary(max_size=60),
    st.sampled_from([b"", b"data: ", b"[", b"[{", b'data: {"type":"', b"event: x\ndata: {}\n\n"]),
)
def test_any_bytes_become_problems(api, body, before):
    body = before + body
    report = check_wire(body, api=api)

    str(report).encode()
    assert report.problems
    assert check_wire((body[at : at + 1] for at in range(len(body))), api=api) == report


@pytest.mark.exhaustive
@each(apis)
@each("deep", ["[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900, "[" * 20_000], ids=["lists", "objects", "open"])
def test_json_of_any_depth_becomes_problems(api, deep):
    around = ['{"type":%s}', '{"choices":[{"index":0,"delta":%s}]}', '{"candidates":[{"content":%s}]}', '{"error":%s}']
    for text in around:
        str(check_wire(f"data: {text.replace('%s', deep)}\n\n".encode(), api=api))


# -- the report -----------------------------------------------------------------------------------------------


def test_a_report_says_what_is_where_and_why():
    body = mutant("openai_chat", "openai_chat.one_finish", both(copy(9, 10), put(2, "object", "chunk")))
    report = check_wire(body, api="openai_chat")

    assert (
        str(report)
        == """\
openai_chat: 2 problems in 12 events
  1. openai_chat.object: each chunk has the object "chat.completion.chunk"
     where:     event 2, line 3, byte 322, object
     found:     "chunk"
     expected:  "chat.completion.chunk"
     why:       the official SDK's helper passes over a chunk of another object, and its text is lost
                [OpenAI API reference, Chat: the chat completion chunk object]
  2. openai_chat.one_finish: a choice has one finish reason
     where:     event 10, line 19, byte 2917, choices[0].finish_reason
     found:     "tool_calls"
     expected:  no second finish reason; "tool_calls" came in event 9
     why:       clients end the answer at the first, or count it twice
                [OpenAI API reference, Chat: the chat completion chunk object]"""
    )
    with pytest.raises(BrokenContractError) as caught:
        report.verify()
    assert str(caught.value) == str(report)


@each(
    ("body", "words"),
    [
        (b"<html><h1>502", "an HTML or XML page: <html><h1>502"),
        (b'{"detail": "no"}', 'JSON, a document or lines of it: {"detail": "no"}'),
        (b'{"a": 1}\n{"a": 2}\n', 'JSON, a document or lines of it: {"a": 1}'),
        (b"upstream timed out", "text that is no event stream: upstream timed out"),
        (b"", "nothing"),
        (b"\n\n", "nothing but blank lines"),
    ],
)
@each(apis)
def test_a_body_that_is_no_event_stream_is_said_to_be_what_it_looks_like(api, body, words):
    (problem,) = check_wire(body, api=api).problems

    assert (problem.rule.id, problem.found) == ("sse.stream", words)


@apis
def test_the_head_of_the_answer_is_judged_if_it_is_given(api):
    body = whole(api)

    assert found(body, api, content_type="text/html") == [("sse.content_type", None, "content-type")]
    assert found(body, api, status=500) == [("sse.content_type", None, "")]
    assert found(body, api, content_type="Text/Event-Stream;charset=UTF-8", status=200) == []


@apis
def test_rules_are_data(api):
    rules = rules_of(api)

    assert len({rule.id for rule in rules}) == len(rules)
    for rule in rules:
        assert re.fullmatch(r"(sse|\w+)\.[a-z_0-9]+", rule.id)
        assert rule.sentence
        assert rule.why
        assert rule.source
        assert rule.holds(STRICT)
        assert rule.holds(OPENAI) == (rule.id.partition(".")[2] != "error_last")
    assert CATALOGUE[f"{api}_grammar"].why


@each("api", ["openai_chat", "openai_completions"])
def test_the_usage_that_openai_sends_after_an_error_is_strictly_none(api):
    events = events_of(whole(api))
    body = body_of([[None, ERROR], *events[-2:]])

    assert [found(body, api, profile=name) for name in (None, "openai", "any")] == [[], [], []]
    assert found(body, api, profile="strict") == [(f"{api}.error_last", 2, "")]


@each("name", ["huggingface", "gpustack", "avian"])
def test_a_service_that_passes_on_what_others_send_is_held_to_no_habit_of_one(name):
    events = events_of(encoded("openai_chat", STREAMS["openai_chat"]))
    events[1][1]["created"] += 1
    events[1][1]["choices"][0]["delta"]["role"] = "assistant"
    assert found(body_of(events), "openai_chat", profile=name) == []
    events[1][1]["id"] = "another"
    assert found(body_of(events), "openai_chat", profile=name) == []
    assert found(body_of(events[:-3]), "openai_chat", profile=name) == [("openai_chat.finish", None, "")]


def test_a_recorded_server_breaks_no_rule_of_its_profile_and_none_of_any():
    for name, api, body, profile in of_servers():
        for known in (profile, "any"):
            assert [rule for rule, *_ in found(body, api, profile=known)] == BREAKS.get(name, []), name


# -- bad use --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"api": "openai"}, "there is no API 'openai'; check_wire knows openai_chat, openai_completions, openai_responses"),
        ({"api": None}, "there is no API None"),
        ({"api": "openai_chat", "profile": "azur"}, "there is no profile 'azur'; there are any, openai, avian, azure"),
        ({"api": "gemini", "profile": "azure"}, "gemini has no profile 'azure': profiles are for OpenAI's APIs"),
        ({"api": "openai_chat", "ignore": "done"}, "openai_chat has no rule 'done'; did you mean openai_chat.done"),
        ({"api": "openai_chat", "body": "data: {}"}, "the body is a str, and what is checked is bytes: give the bytes"),
        ({"api": "openai_chat", "body": 3}, "the body is a int"),
        ({"api": "openai_chat", "body": [b"", "data: {}"]}, "piece 1 of the body is a str"),
    ],
)  # fmt: skip
def test_bad_use_is_refused_in_words(arguments, words):
    body = arguments.pop("body", b"")
    with pytest.raises(ContractUsageError, match=re.escape(words)):
        check_wire(body, **arguments)
