"""Replicate's predictions: events to bytes and back, documents, errors, requests, the grammar."""

from __future__ import annotations

import contextlib
import json
import pickle
from copy import deepcopy

import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from sending import sent
from vectors import each

from fakellm import FakeProvider, Finish, Script, Text, ToolCall, Usage, disconnect, http_error, provider_error
from fakellm.contracts import check_wire
from fakellm.contracts.grammar.check import rules_of
from fakellm.errors import WireError
from fakellm.models.copies import tell_again
from fakellm.provider.actions import Timeouts
from fakellm.script.events import Native, Refusal
from fakellm.script.messages import Message
from fakellm.wire.codec import legal_or_not, pieces
from fakellm.wire.providers import scripted_endpoint
from fakellm.wire.replicate import PredictionsCodec

CODEC = PredictionsCodec()
PATH = "/v1/models/meta/llama/predictions"
ASKED = {"input": {"prompt": "Hi", "temperature": 0}, "stream": True}


def request(**fields):
    return CODEC.request({**ASKED, **fields}, path=PATH)


def encoded(script):
    """Return the bytes of a stream, up to the fault that ends it."""
    return sent(pieces(CODEC.encoder(request(), 1, script.usage), script))


def test_a_stream_is_what_replicate_sends():
    assert encoded(Script("Why\n\nnot", "", "?")).decode() == (
        ": hi\n\n"
        "event: output\nid: 1767225601:0\ndata: Why\ndata: \ndata: not\n\n"
        "event: output\nid: 1767225601:1\ndata: \n\n"
        "event: output\nid: 1767225601:2\ndata: ?\n\n"
        "event: done\nid: 1767225601:3\ndata: {}\n\n"
    )


@each(
    "script",
    [
        Script("Hel", "", "lo\n", "null", "[DONE]", Finish()),
        Script("a", Native("replicate.predictions", {"event": "logs", "data": "1 of 2"}), Finish()),
        Script("a", Finish("canceled")),
        Script("a", Finish(extra={"x": 1})),
        Script("a", provider_error("boom")),
        Script("a", disconnect("end")),
    ],
)
def test_all_that_is_said_is_read_again(script):
    body = encoded(script)
    assert CODEC.decode(body) == script
    assert {problem.rule.id for problem in check_wire(body, api="replicate_predictions").problems} <= {
        "replicate_predictions.done", "sse.whole",
    }  # fmt: skip
    assert script.fault or check_wire(body, api="replicate_predictions").problems == ()


def test_a_stream_that_stops_inside_an_event_says_so():
    body = encoded(Script("a", disconnect("end")))
    assert CODEC.decode(body + b"event: done\nid: 9\ndata: {").fault == disconnect("cut")


def test_what_has_no_place_is_left_out():
    assert CODEC.decode(encoded(Script("a", ToolCall("f", "{}"), Usage(1, 2), Text("b", choice=1)))) == Script(
        "a", Finish()
    )


def test_an_error_ends_the_stream_with_done():
    assert encoded(Script(provider_error("boom"))).decode().partition("\n\n")[2] == (
        'event: error\nid: 1767225601:0\ndata: {"detail":"boom"}\n\nevent: done\nid: 1767225601:1\ndata: {"reason":"error"}\n\n'
    )
    assert CODEC.decode(b"event: error\nid: 1\ndata: out of memory\n\n").fault == provider_error("out of memory")


@each("data", ["[1", "{"])
def test_an_end_that_is_no_json_is_refused(data):
    with pytest.raises(WireError):
        CODEC.decode(f"event: done\nid: 1\ndata: {data}\n\n".encode())


def test_a_native_without_a_name_is_refused():
    with pytest.raises(WireError, match="its name, `event`"):
        encoded(Script(Native("replicate.predictions", {"data": "x"})))


def test_a_document_has_the_texts_and_what_was_used():
    found = json.loads(CODEC.body(Script("a", "b", Usage(3, 4)), request(stream=False), 1))
    assert (found["status"], found["output"], found["model"], found["version"]) == (
        "succeeded",
        ["a", "b"],
        "meta/llama",
        "hidden",
    )
    assert (found["metrics"]["input_token_count"], found["metrics"]["output_token_count"]) == (3, 4)
    assert "stream" not in found["urls"]
    failed = json.loads(CODEC.failure(Script("a"), request(), 1, provider_error("boom")))
    assert (failed["status"], failed["error"], failed["output"]) == ("failed", "boom", ["a"])


def test_http_errors():
    headers, body = CODEC.error(http_error(429, "slow down", retry_after=1.5), 1)
    assert json.loads(body) == {"title": "Too many requests", "detail": "slow down", "status": 429, "retry_after": 1.5}
    assert dict(headers)["retry-after"] == "1.5"


def test_a_request_is_read():
    found = CODEC.read({**ASKED, "webhook": "w"}, CODEC.marked({"Prefer": "wait=5"}), path=PATH)
    assert (found.api, found.model, found.text, found.stream) == ("replicate.predictions", "meta/llama", "Hi", True)
    assert found.options == {"temperature": 0, "webhook": "w", "wait": True}
    version = CODEC.request(
        {"version": "abc", "input": {"system_prompt": "Be brief.", "prompt": "?"}}, path="/v1/predictions"
    )
    assert (version.model, version.stream, version.options["wait"]) == ("abc", False, False)
    assert version.messages == (Message("system", "Be brief."), Message("user", "?"))
    chat = request(input={"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})
    assert [message.role for message in chat.messages] == ["user", "assistant"]


@each(
    "body, path, field",
    [
        ([], PATH, "body"),
        ({}, PATH, "input"),
        ({"input": "x"}, PATH, "input"),
        ({"input": {}}, "/v1/predictions", "version"),
        ({"input": {}, "version": 5}, "/v1/predictions", "version"),
        ({"input": {"prompt": 5}}, PATH, "input.prompt"),
        ({"input": {"messages": ["x"]}}, PATH, "input.messages"),
        ({"input": {}, "stream": "yes"}, PATH, "stream"),
    ],
)
def test_a_request_that_replicate_refuses_is_refused_in_its_words(body, path, field):
    with pytest.raises(WireError) as caught:
        CODEC.request(body, path=path)
    assert caught.value.status == 422
    assert [one["field"] for one in json.loads(caught.value.body)["invalid_fields"]] == [field]


@strategies.fewer(3)
@given(strategies.small_scripts | strategies.scripts)
def test_any_stream_is_read_alike_however_it_is_cut_and_says_what_was_scripted(script):
    body = encoded(script)
    whole = fed([body])
    for size in (1, 3, 50):
        assert fed(body[at : at + size] for at in range(0, len(body), size)) == whole
    said = "".join(e.text for e in script if isinstance(e, (Text, Refusal)) and not e.choice)
    assert (
        legal_or_not(whole).text == "\n".join(said.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
        or "\r" in said
    )


def fed(parts):
    decoder = CODEC.decoder()
    return [*[event for part in parts for event in decoder.feed(part)], *decoder.close()]


@given(st.binary(max_size=80) | strategies.texts.map(lambda text: f"event: done\ndata: {text}\n\n".encode()))
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(WireError):
        CODEC.decode(data)


@each("place", ["stream.replicate.com/v1/files/bcwr-3okdfv3o2wehstv5f2okyftwxy57hhypqsi6osiim5iaq5k7u24a",
                "streaming-api.svc.us.c.replicate.net/v1/streams/56o77r2wpzc3krgyiy444okt3coned5wjmkdbltjpnkdrh2hbhha"])  # fmt: skip
def test_where_replicate_streams_is_known(place):
    service, endpoint = scripted_endpoint("GET", f"https://{place}")
    assert (service.name, endpoint.api) == ("replicate", "replicate.stream")
    assert scripted_endpoint("GET", "https://api.openai.com/v1/files/file-abc123") is None


# -- the grammar -------------------------------------------------------------------------------------------

DONE = "event: done\nid: 3\ndata: {}\n\n"
BROKEN = {
    "event_name": f"event: outputs\nid: 1\ndata: a\n\n{DONE}",
    "event_id": f"event: output\nid: 1\ndata: a\n\nevent: output\nid: 1\ndata: a\n\n{DONE}",
    "shape": "event: done\nid: 1\ndata: ok\n\n",
    "done": "event: output\nid: 1\ndata: a\n\n",
    "error": f'event: error\nid: 1\ndata: {{"detail":"no"}}\n\nevent: output\nid: 2\ndata: a\n\n{DONE}',
}


@each("name", list(BROKEN))
def test_a_broken_rule_is_found_and_no_other(name):
    problems = check_wire(BROKEN[name].encode(), api="replicate_predictions").problems
    assert [problem.rule.id for problem in problems] == [f"replicate_predictions.{name}"]


def test_each_rule_was_broken_and_an_error_may_end_a_stream():
    own = {rule.id.partition(".")[2] for rule in rules_of("replicate_predictions") if not rule.id.startswith("sse.")}
    assert own == BROKEN.keys()
    late = f"{DONE}event: output\nid: 9\ndata: a\n\n".encode()
    assert [problem.rule.id for problem in check_wire(late, api="replicate_predictions").problems] == [
        "replicate_predictions.done"
    ]
    assert check_wire(b'event: error\nid: 1\ndata: {"detail":"no"}\n\n', api="replicate_predictions").problems == ()


@each("copied", [deepcopy, lambda fake: pickle.loads(pickle.dumps(fake))], ids=["copy", "pickle"])
def test_what_was_promised_is_not_taken_along_by_a_copy_and_outlives_a_new_telling(copied):
    fake = FakeProvider("replicate").otherwise("Hello")
    body = json.dumps({"input": {"prompt": "?"}, "stream": True}).encode()
    asked = fake.handle("POST", "https://api.replicate.com/v1/models/a/b/predictions", {}, body)
    urls = json.loads(b"".join(piece for run in asked.body(Timeouts()) for piece in run))["urls"]

    assert copied(fake).handle("GET", urls["stream"], {}, b"").status == 404
    tell_again(fake, FakeProvider("replicate").otherwise("Other"))
    assert b"Hello" in b"".join(
        piece for run in fake.handle("GET", urls["stream"], {}, b"").body(Timeouts()) for piece in run
    )
