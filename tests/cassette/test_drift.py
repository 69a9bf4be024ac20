"""How an API's answer differs from the recorded one beside its words: a pure function of two recordings."""

from __future__ import annotations

import contextlib
import copy
import json

import pytest
from corpus import needs_corpus, sample
from hypothesis import given, settings
from hypothesis import strategies as st
from places import ROOT
from vcr.request import Request

from fakellm import Finish, Reasoning, Script, Text, ToolCall, Usage
from fakellm.cassette.document import CassetteError
from fakellm.cassette.drift import GRADES, RULES, drifts
from fakellm.cassette.outline import folded, outline_of
from fakellm.cassette.scripted import interaction_of
from fakellm.server.recorded import load

URLS = {
    "openai.chat": ("https://api.openai.com/v1/chat/completions", {}),
    "openai.completions": ("https://api.openai.com/v1/completions", {"prompt": "Hi"}),
    "openai.responses": ("https://api.openai.com/v1/responses", {"input": "Hi"}),
    "anthropic.messages": ("https://api.anthropic.com/v1/messages", {"max_tokens": 9}),
    "gemini": (
        "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent?alt=sse",
        {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
    ),
    "ollama.chat": ("http://127.0.0.1:11434/api/chat", {}),
    "cohere.chat": ("https://api.cohere.com/v2/chat", {}),
    "mistral.chat": ("https://api.mistral.ai/v1/chat/completions", {}),
    "bedrock.converse": (
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/converse-stream",
        {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]},
    ),
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "find",
            "parameters": {
                "type": "object",
                "required": ["city"],
                "properties": {"city": {"type": "string"}, "days": {"type": ["integer", "string"]}},
            },
        },
    }
]


def pair(api, script, *, stream=True, **more):
    """Return a request and its answer as they are on a tape."""
    url, asked = URLS[api]
    messages = {} if {"prompt", "input", "contents", "messages"} & asked.keys() else {
        "messages": [{"role": "user", "content": "Hi"}]
    }  # fmt: skip
    streams = {"stream": stream} if api not in ("gemini", "bedrock.converse") else {}
    return interaction_of(script, url, {"model": "m", **messages, **asked, **streams, **more})


def cut(answered, every):
    """Return the same answer in other chunks."""
    request, response = copy.deepcopy(answered)
    size = len(response["body"]["string"])
    sizes = [min(every, size - at) for at in range(0, size, every)]
    response["stream"] = {"sizes": sizes, "delays": [0.0] * len(sizes), "end": "complete", "error": None}
    return request, response


def told(old, new):
    """Return the rules of what differs, but for noise."""
    return sorted({one.rule for one in drifts(old, new) if one.grade != "noise"})


def every(cases, told_of):
    """See that each case is told as it should be; name those that are not."""
    wrong = {name: found for name, (case, rules) in cases.items() if (found := told_of(case)) != rules}
    assert wrong == {}


words = st.lists(st.text(min_size=1, max_size=8).filter(str.strip), min_size=1, max_size=5)
ALL = sorted(URLS)


@settings(max_examples=max(10, settings.default.max_examples // 3))  # there are nine APIs
@given(st.sampled_from(ALL), words, words, words, st.integers(1, 60), st.booleans())
def test_no_words_and_no_chunks_are_a_drift(api, one, other, last, every, streams):
    """What is said, in how many pieces, how it is cut, and when: none of it counts."""

    def answer(texts, call):
        thought = [Reasoning("hm")] if api in ("openai.chat", "anthropic.messages") else []
        calls = [ToolCall("find", json.dumps({"city": call}), id=f"call_{len(call)}")]
        said = [Text(text) for text in texts]
        ends = [Usage(len(texts), len(call)), Finish("tool_calls")]
        return Script(*thought, *said, *([] if "completions" in api else calls), *ends)

    old, new = (pair(api, script, stream=streams) for script in (answer(one, "Bern"), answer(other, last[0])))

    assert drifts(old, old) == []
    assert drifts(old, cut(old, every)) == []
    assert drifts(old, cut(new, every)) == drifts(new, old) == []


def test_recordings_do_not_drift_from_themselves():
    for path, _, *recorded in load(sorted((ROOT / "cassettes").glob("*.yaml"))):
        assert [one.rule for one in drifts(recorded, recorded) if one.rule != "recording"] == [], path.name
        assert outline_of(recorded).problem == "", path.name


@needs_corpus
@pytest.mark.exhaustive
def test_recordings_of_the_corpus_do_not_drift_from_themselves():
    seen = 0
    for path in sample():
        with contextlib.suppress(CassetteError):
            for _, _, *recorded in load([path]):
                seen += 1
                assert [one.rule for one in drifts(recorded, recorded) if one.rule != "recording"] == [], path.name
                assert outline_of(recorded).problem == "", path.name
    assert seen > 70


# -- one change at a time, of each kind ---------------------------------------------------------------

CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "gpt-5",
    "choices": [
        {"index": 0, "finish_reason": "stop", "logprobs": None, "message": {"role": "assistant", "content": "Hello"}}
    ],
    "usage": {"total_tokens": 3, "cost": 0.5},
}


def document(value, *, status=200, headers=(), kind="application/json", url="/v1/chat/completions", asked=b"{}"):
    """Return a request and a document that answers it."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    headers = {"content-type": [kind], **{name: [text] for name, text in headers}}
    response = {"status": {"code": status, "message": ""}, "headers": headers, "body": {"string": body}}
    return Request("POST", f"https://api.openai.com{url}", asked, {}), response


def with_(path, value, base=CHAT):
    """Return a document with a field set; `...` takes it away."""
    changed = copy.deepcopy(base)
    inner = changed
    *way, last = path
    for name in way:
        inner = inner[name]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return changed


MESSAGE = ("choices", 0, "message")
FIELDS = {
    "other words": (with_((*MESSAGE, "content"), "Bye\n" * 9), []),
    "another id": (with_(("id",), "x"), []),
    "a whole number for a fraction": (with_(("usage", "cost"), 1), []),
    "a field is added": (with_(("service_tier",), "default"), ["field-new"]),
    "an object is added, which is one thing": (with_(("usage", "details"), {"a": 1, "b": {"c": 2}}), ["field-new"]),
    "a field is gone": (with_((*MESSAGE, "content"), ...), ["field-gone"]),
    "an object is gone, which is one thing": (with_(("usage",), ...), ["field-gone"]),
    "a text is a number": (with_((*MESSAGE, "content"), 5), ["type"]),
    "a text is a list": (with_((*MESSAGE, "content"), [{"type": "text", "text": "Hello"}]), ["type"]),
    "a text is null": (with_((*MESSAGE, "content"), None), ["type"]),
    "an object is null": (with_(("usage",), None), ["type"]),
    "true is no number": (with_(("created",), True), ["type"]),
    "null is something": (with_(("choices", 0, "logprobs"), {"content": []}), ["null"]),
    "a fraction for a whole number": (with_(("created",), 1.5), ["number"]),
    "no choices": (with_(("choices",), []), ["item-gone"]),
    "another role": (with_((*MESSAGE, "role"), "model"), ["word"]),
    "another finish reason": (with_(("choices", 0, "finish_reason"), "length"), ["finish"]),
    "another object": (with_(("object",), "chat.thing"), ["event-gone", "event-new"]),
    "an array for an object": ([CHAT], ["format"]),
    "another model is noise": (with_(("model",), "gpt-5-2026"), []),
}


def test_each_kind_of_change_of_a_document_is_told():
    every(FIELDS, lambda changed: told(document(CHAT), document(changed)))


def test_heads_are_compared_by_names_and_kinds():
    old = document(
        CHAT, headers=[("x-request-id", "req_a"), ("retry-after", "20"), ("date", "x"), ("x-new", "REDACTED")]
    )
    kept = (("x-request-id", "777"), ("retry-after", "3"), ("x-new", "y"))
    every(
        {
            "other values": (document(CHAT, headers=kept), []),
            "gone": (document(CHAT, headers=kept[1:]), ["header-gone"]),
            "new": (document(CHAT, headers=[*kept, ("x-more", "1"), ("cf-ray", "2")]), ["header-new"]),
            "kind": (document(CHAT, headers=[kept[0], ("retry-after", "20ms"), kept[2]]), ["header-kind"]),
            "type": (document(CHAT, headers=kept, kind="application/vnd.x+json"), ["media-type"]),
            "status": (document(CHAT, headers=kept, status=201), ["status"]),
            "error": (document({"error": {}}, status=429), ["status-class"]),
        },
        lambda new: [one.rule for one in drifts(old, new)],
    )
    assert "ask later" in drifts(old, document({}, status=429))[0].reason


def test_errors_are_compared_by_their_codes():
    def error(code, text="no", status=400):
        return document({"error": {"message": text, "type": "invalid_request_error", "code": code}}, status=status)

    assert told(error("a"), error("a", "other words")) == []
    assert told(error("a"), error("b")) == ["word"]
    assert told(error("a"), error("a", status=422)) == ["status"]
    assert told(error("a"), document(CHAT)) == ["status-class"]


# -- streams ------------------------------------------------------------------------------------------


def stream(*events, end="complete", done=True):
    """Return a request and a stream of server-sent events, each JSON or a pair with its name."""
    lines = []
    for event in events:
        name, value = event if isinstance(event, tuple) else ("", event)
        lines.append((f"event: {name}\n" if name else "") + f"data: {json.dumps(value)}\n\n")
    body = "".join([*lines, *(["data: [DONE]\n\n"] if done else [])]).encode()
    request, response = document(body, kind="text/event-stream; charset=utf-8")
    response["stream"] = {"sizes": [len(body)], "delays": [0.0], "end": end, "error": None}
    return request, response


def chunk(delta=None, finish=None, **more):
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [choice], **more}


USED = {
    "id": "c",
    "object": "chat.completion.chunk",
    "choices": [],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1},
}
SAID = [chunk({"content": "a"}), chunk({"content": "b"}), chunk(finish="stop"), USED]


def test_streams_are_compared_by_their_events_and_their_order():
    old = stream(*SAID)
    no_id = {name: value for name, value in SAID[1].items() if name != "id"}

    every(
        {
            "more of the same": (stream(SAID[0], SAID[0], *SAID), []),
            "no [DONE]": (stream(*SAID, done=False), ["event-gone"]),
            "usage first": (stream(USED, *SAID[:3]), ["order"]),
            "a field not in each": (stream(SAID[0], no_id, *SAID[2:]), ["field-rare"]),
            "a field": (stream(*[{**one, "system_fingerprint": "x"} for one in SAID]), ["field-new"]),
            "null where none was": (stream(chunk({"content": None}), *SAID), ["null"]),
            "a text may be a list": (stream(chunk({"content": ["x"]}), *SAID), ["type", "unreadable"]),
            "an event in it": (stream(*SAID, {"object": "chat.other"}), ["event-new"]),
            "an error in it": (stream(*SAID[:2], {"error": {"message": "x"}}, *SAID[2:]), ["error"]),
            "finish": (stream(*SAID[:2], chunk(finish="length"), USED), ["finish"]),
            "broken off": (stream(*SAID[:2], end="dropped", done=False), ["broken-off"]),
            "a document": (document(CHAT), ["format"]),
        },
        lambda new: told(old, new),
    )


def test_what_was_broken_off_says_nothing_of_what_comes_behind_it():
    for end in ("cancelled", "dropped"):
        recorded = stream(*SAID[:1], end=end, done=False)
        found = drifts(recorded, stream(*SAID))
        assert [(one.rule, one.reason) for one in found] == [("recording", f"it was {end}, and is complete")]
    assert told(recorded, stream(chunk({"content": 1}), done=False)) == ["type", "unreadable"]
    assert told(recorded, stream(*SAID[:1], ("error", {"error": {"message": "x"}}))) == ["error"]


def test_events_that_come_whenever_they_want_are_in_no_order():
    events = [("start", {"type": "start"}), ("delta", {"type": "delta"}), ("stop", {"type": "stop"})]
    old, ping = stream(*events, done=False), ("ping", {"type": "ping"})

    assert [one.rule for one in drifts(old, stream(events[0], ping, *events[1:], done=False))] == ["event-optional"]
    assert [one.rule for one in drifts(stream(ping, *events, done=False), old)] == ["event-optional"]
    assert told(old, stream(*reversed(events), done=False)) == ["order"]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_repeats_fold(counts):
    blocks = [name for count in counts for name in ("start", *(["delta"] * count), "stop")]
    assert folded(["begin", *blocks, "end"]) == ("begin", "start", "delta", "stop", "end")


# -- tools --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [True, False])
def test_tools_are_compared_by_their_names_and_arguments(streams):
    def answer(name="find", **arguments):
        text = arguments.get("text") or json.dumps(arguments)
        return pair(
            "openai.chat", Script(ToolCall(name, text, id="c"), Finish("tool_calls")), stream=streams, tools=TOOLS
        )

    old = answer(city="Bern", days=3)

    every(
        {
            "other words": (answer(days=4, city="Genf"), []),
            "another tool": (answer("look", city="Bern"), ["tool", "tool"]),
            "what the schema requires": (answer(days=4), ["arguments"]),
            "what it does not": (answer(city="Bern"), ["argument-gone"]),
            "one more": (answer(city="Bern", days=3, unit="C"), ["argument-new"]),
            "another type": (answer(city=["Bern"], days=3), ["argument-type"]),
            "another type that the schema has": (answer(city="Bern", days="3"), []),
            "no JSON": (answer(text="{"), ["arguments"]),
        },
        lambda new: [one.rule for one in drifts(old, new)],
    )


# -- the table ----------------------------------------------------------------------------------------


def test_a_drift_says_no_word_of_an_answer():
    old = document({"text": "hunter2", "map": {"hunter2 hunter2": 1}, "role": "hunter two"})
    new = document({"text": 1, "map": {"swordfish swordfish": "1"}, "role": "sword fish"})

    said = " ".join(f"{one.reason} {one.where}" for one in drifts(old, new))
    assert "hunter" not in said
    assert "sword" not in said


def test_the_page_has_the_table_of_rules():
    rows = [f"| `{name}` | {rule.grade} | {rule.means} |" for name, rule in RULES.items()]
    page = (ROOT / "docs" / "drift.md").read_text()

    assert "\n".join(rows) in page
    assert {rule.grade for rule in RULES.values()} == set(GRADES)
