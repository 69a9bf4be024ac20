"""`check_wire` on Bedrock's ConverseStream: each rule broken by itself, recorded streams, our own, and any bytes."""

from __future__ import annotations

import json
from copy import deepcopy

import corpus
import pytest
import recorded
import strategies
from hypothesis import given
from hypothesis import strategies as st
from sending import sent
from vectors import each

from fakellm import Finish, Reasoning, Script, ToolCall, Usage, provider_error
from fakellm.contracts.catalogue import CATALOGUE
from fakellm.contracts.grammar.check import check_wire, rules_of
from fakellm.errors import BrokenContractError
from fakellm.script.events import Native, Raw
from fakellm.wire.bedrock import ConverseCodec
from fakellm.wire.codec import pieces
from fakellm.wire.eventstream import FrameDecoder, encode_frame

API = "bedrock_converse"
CODEC = ConverseCodec()
# 1 messageStart, 2 "hm", 3 signature, 4 stop, 5 "Hel", 6 stop, 7 call, 8 `{"a":`, 9 `1}`, 10 stop, 11 call, 12 stop,
# 13 messageStop, 14 metadata
SCRIPT = Script(
    Reasoning("hm", signature="s"), "Hel", ToolCall("f", '{"a":'), ToolCall(arguments="1}"), ToolCall("g"), Usage(3, 4)
)


def encoded(script):
    request = CODEC.request(
        {"messages": [{"role": "user", "content": [{"text": "x"}]}]}, path="/model/m/converse-stream"
    )
    steps = pieces(CODEC.encoder(request, 1, script.usage), script)
    return sent(steps)


def events_of(body):
    return [[dict(frame.headers), json.loads(frame.payload)] for frame in FrameDecoder().feed(body)]


def body_of(events):
    return b"".join(
        event if isinstance(event, bytes) else encode_frame(event[0], _payload(event[1])) for event in events
    )


def _payload(document):
    return document if isinstance(document, bytes) else json.dumps(document).encode()


def found(body, **options):
    return [(problem.rule.id, problem.event, problem.path) for problem in check_wire(body, api=API, **options).problems]


def put(number, path, value):
    def edit(events):
        *way, last = path.split(".")
        place = events[number - 1][1]
        for name in way:
            place = place[name]
        place[last] = value
        return events

    return edit


def less(number, path):
    def edit(events):
        *way, last = path.split(".")
        place = events[number - 1][1]
        for name in way:
            place = place[name]
        del place[last]
        return events

    return edit


def drop(*numbers):
    return lambda events: [event for number, event in enumerate(events, 1) if number not in numbers]


def copy(number, to):
    return lambda events: [*events[: to - 1], deepcopy(events[number - 1]), *events[to - 1 :]]


def add(number, event):
    return lambda events: [*events[: number - 1], event, *events[number - 1 :]]


def cut(events):
    return [body_of(events)[:-7]]


def flip(events):
    body = bytearray(body_of(events[:3]))
    body[-1] ^= 1
    return [bytes(body)]


EXCEPTION = [{":message-type": "exception", ":exception-type": "throttlingException"}, {"message": "no"}]
INDEX = "contentBlockIndex"
BROKEN = [
    ("eventstream.stream", lambda _: [], None, ""),
    ("eventstream.stream", lambda _: [b"data: {}\n\n"], None, ""),
    ("eventstream.stream", lambda _: [b"{}"], None, ""),
    ("eventstream.frame", flip, 3, ""),
    ("eventstream.frame", add(3, b"garbage that is no frame"), 3, ""),
    ("eventstream.whole", cut, 14, ""),
    ("eventstream.headers", add(2, [{":message-type": "event"}, {}]), 2, ""),
    ("eventstream.headers", add(2, [{":event-type": "x"}, {}]), 2, ""),
    ("eventstream.headers", add(2, [{}, {}]), 2, ""),
    ("eventstream.json", add(2, [{":event-type": "x", ":message-type": "event"}, b"[]"]), 2, ""),
    ("eventstream.json", add(2, [{":event-type": "x", ":message-type": "event"}, b'{"a":"\xff"}']), 2, ""),
    ("shape", put(1, "role", "user"), 1, "role"),
    ("shape", put(5, "delta", None), 5, "delta"),
    ("shape", put(5, "delta.text", 5), 5, "delta.text"),
    ("shape", put(8, "delta.toolUse", 5), 8, "delta.toolUse"),
    ("shape", put(9, "delta.toolUse.input", {}), 9, "delta.toolUse.input"),
    ("shape", put(7, "start", "f"), 7, "start"),
    ("message_start", drop(1), 1, ""),
    ("message_start", copy(1, 2), 2, ""),
    ("block_index", put(2, INDEX, None), 2, INDEX),
    ("block_index", lambda e: put(11, INDEX, 5)(put(12, INDEX, 5)(e)), 11, INDEX),
    ("block_order", drop(6), 6, ""),
    ("block_order", drop(12), 12, ""),
    ("block_order", copy(6, 7), 7, ""),
    ("block_order", put(9, INDEX, 1), 9, INDEX),
    ("block_order", put(10, INDEX, 1), 10, INDEX),
    ("delta_fits", drop(7), 7, "delta"),
    ("delta_fits", put(9, "delta", {"text": "a"}), 9, "delta"),
    ("delta_fits", put(3, "delta", {"text": "a"}), 3, "delta"),
    ("call_start", less(7, "start.toolUse.toolUseId"), 7, "start.toolUse.toolUseId"),
    ("call_start", put(11, "start.toolUse.name", ""), 11, "start.toolUse.name"),
    ("arguments", drop(9), 8, "delta.toolUse.input"),
    ("message_stop", drop(13), 13, ""),
    ("message_stop", drop(13, 14), None, ""),
    ("message_stop", put(13, "stopReason", None), 13, "stopReason"),
    ("message_stop", copy(5, 14), 14, ""),
    ("tool_call", put(13, "stopReason", "end_turn"), 13, "stopReason"),
    ("tool_call", drop(*range(7, 13)), 7, "stopReason"),
    ("metadata", drop(14), None, ""),
    ("metadata", copy(14, 15), 15, ""),
    ("metadata", copy(5, 15), 15, ""),
    ("usage", put(14, "usage.inputTokens", "3"), 14, "usage.inputTokens"),
    ("usage", put(14, "usage", None), 14, "usage"),
    ("error", lambda e: copy(2, 6)(add(5, EXCEPTION)(e[:4])), 6, ""),
]  # fmt: skip
broken = each(
    "rule, edit, event, path",
    [(rule if "." in rule else f"{API}.{rule}", edit, event, path) for rule, edit, event, path in BROKEN],
)


@pytest.mark.exhaustive
@broken
def test_a_broken_rule_is_found_at_its_place_and_no_other(rule, edit, event, path):
    body = body_of(edit(events_of(encoded(SCRIPT))))

    if rule == f"{API}.error":
        body += body_of([events_of(encoded(SCRIPT))[1]])
    assert found(body) == [(rule, event, path)]
    assert found(body, ignore=[rule]) == []
    assert check_wire([body[at : at + 1] for at in range(len(body))], api=API) == check_wire(body, api=API)
    with pytest.raises(BrokenContractError, match=rule):
        CATALOGUE[f"{API}_grammar"].checks["wire"](body)


def test_each_rule_was_broken():
    rules = {rule if "." in rule else f"{API}.{rule}" for rule, *_ in BROKEN}
    assert {rule.id for rule in rules_of(API)} == rules | {"eventstream.content_type"}


def test_a_problem_says_where_its_frame_begins():
    body = encoded(SCRIPT)
    frames = FrameDecoder().feed(body)
    (problem,) = check_wire(body_of(put(5, "delta.text", 5)(events_of(body))), api=API).problems
    before = body_of(events_of(body)[:4])
    assert (problem.offset, problem.name) == (len(before), "contentBlockDelta")
    (problem,) = check_wire(body[: frames[-1].offset + 5], api=API).problems
    assert (problem.rule.id, problem.offset) == ("eventstream.whole", frames[-1].offset)


def test_status_and_content_type():
    body = encoded(SCRIPT)
    assert found(body, status=200, content_type="application/vnd.amazon.eventstream") == []
    assert [rule for rule, *_ in found(body, content_type="text/event-stream")] == ["eventstream.content_type"]
    assert [rule for rule, *_ in found(body, status=500)] == ["eventstream.content_type"]


@given(strategies.scripts)
def test_streams_of_our_own_break_no_rule_that_they_were_not_told_to(script):
    faulty = script.allow_illegal or script.fault is not None
    odd = any(
        isinstance(event, (Raw, Finish, Native)) or (isinstance(event, ToolCall) and event.arguments)
        for event in script
    )
    if not faulty and not odd:
        check_wire(encoded(script), api=API).verify()


def test_what_is_legal():
    for script in (
        SCRIPT,
        Script(),
        Script("a", Finish("length"), Usage(1, 1)),
        Script("a", ToolCall("f", '{"a'), Finish("length")),
        Script("a", provider_error("boom")),
        Script("a", Usage(1, 1), provider_error("boom", named=True)),
        Script("a", Native(CODEC.api, {"contentBlockDelta": {"delta": {"citation": {}}}}), Native(CODEC.api, {"later": {}}), "b"),
        Script(Native(CODEC.api, {"contentBlockStart": {"start": {"toolResult": {}}}}), Native(CODEC.api, {"contentBlockDelta": {"delta": {"toolResult": []}}})),
    ):  # fmt: skip
        check_wire(encoded(script), api=API).verify()


@corpus.needs_corpus
@each("row, found", [(row, found) for row, found in recorded.streams() if found["api"] == "bedrock.converse-stream"])
def test_a_recorded_stream_breaks_no_rule(row, found):
    check_wire(recorded.body(row, found), api=API, profile="strict").verify()


@given(st.lists(st.one_of(st.binary(max_size=30), st.builds(
    lambda kind, fields: [{":event-type": kind, ":message-type": "event"}, fields],
    st.sampled_from(["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"]),
    st.dictionaries(
        st.sampled_from(["role", "delta", "start", "contentBlockIndex", "stopReason", "usage"]),
        st.one_of(st.none(), st.integers(-1, 2), st.text(max_size=2), st.dictionaries(st.sampled_from(["text", "toolUse", "reasoningContent"]), st.one_of(st.integers(), st.text(max_size=2), st.just({})))),
    ),
)), max_size=5))  # fmt: skip
def test_a_body_is_never_too_broken(events):
    body = body_of(events)
    assert check_wire([body[at : at + 1] for at in range(len(body))], api=API) == check_wire(body, api=API)
