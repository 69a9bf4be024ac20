"""Latency: where the silences are, that they are the same again, and how long they take on a clock."""

from __future__ import annotations

import json
from itertools import islice

import pytest
from vectors import each

from fakellm import FakeLLM, FakeProvider, Finish, Pause, Script, Text, ToolCall, Usage, http_error, provider_error
from fakellm.clock import VirtualClock
from fakellm.errors import ScriptError
from fakellm.provider.actions import Timeouts
from fakellm.script import Latency
from fakellm.wire.providers import provider_names

URLS = {
    "openai": "https://api.openai.com/v1/chat/completions",
    "anthropic": "https://api.anthropic.com/v1/messages",
    "gemini": "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent?alt=sse",
    "ollama": "http://localhost:11434/api/chat",
    "cohere": "https://api.cohere.com/v2/chat",
}
ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}


def silences(provider, asked=None, url=URLS["openai"]):
    """Return the silences of an answer, those before its head among them."""
    exchange = provider.handle("POST", url, {}, json.dumps(asked or ASKED).encode())
    actions = [*exchange.opening(Timeouts()), *exchange.body(Timeouts())]
    for action in actions:
        if not isinstance(action, float):
            list(action)
    return [action for action in actions if isinstance(action, float)]


def body_for(name):
    if name == "gemini":
        return {"contents": [{"parts": [{"text": "hi"}]}]}
    return {**ASKED, "max_tokens": 9} if name == "anthropic" else ASKED


@each("name", [name for name in provider_names() if name in URLS])
def test_silences_come_before_the_first_piece_and_between_two_and_not_before_the_end(name):
    provider = FakeProvider(name, latency=Latency(ttft=0.5, tps=10)).reply("a", "b", "c", Finish(), Usage(1, 3))

    assert silences(provider, body_for(name), URLS[name]) == [0.5, 0.1, 0.1]


def test_a_document_comes_after_all_of_them():
    provider = FakeProvider("openai", latency=Latency(ttft=0.5, tps=10)).reply("a", "b", "c")

    assert silences(provider, {**ASKED, "stream": False}) == [0.5, 0.1, 0.1]


def test_events_are_paced_and_what_is_none_of_the_answer_is_not():
    script = Script("a", Pause(1), ToolCall("f", '{"a"'), ToolCall(arguments=": 1}"), Usage(1, 1), Finish())

    paced = Latency(ttft=0.25, tps=4).paced(script)

    assert [event.seconds if isinstance(event, Pause) else type(event) for event in paced] == [
        0.25, Text, 1, 0.25, ToolCall, 0.25, ToolCall, Usage, Finish,
    ]  # fmt: skip
    assert Latency().paced(script) == script
    assert [*Latency(1).over([http_error(429)])] == [http_error(429)]
    assert [*Latency(1).over([Text("a"), provider_error()])] == [Pause(1.0), Text("a"), provider_error()]


def test_jitter_is_the_same_for_a_call_whatever_others_there_are():
    latency = Latency(ttft=1, tps=10, jitter=0.5, seed=7)
    in_order = [list(islice(latency.waits(call), 5)) for call in (1, 2, 3)]

    third, first = latency.waits(3), latency.waits(1)
    mixed = [(next(third), next(first)) for _ in range(5)]

    assert mixed == list(zip(in_order[2], in_order[0], strict=True))
    assert len({tuple(waits) for waits in in_order}) == 3
    assert next(Latency(ttft=1, jitter=0.5, seed=8).waits(1)) != in_order[0][0]
    assert all(0.5 <= wait <= 1.5 for wait, *_ in in_order)
    assert all(0.05 <= wait <= 0.15 for _, *waits in in_order for wait in waits)
    assert in_order[0][:2] == [1.489291169, 0.121980463]  # the same in every process, and on every machine


def test_a_provider_draws_by_the_number_of_its_call():
    latency = Latency(tps=10, ttft=0.1, jitter=0.2, seed=3)
    provider = FakeProvider("openai", latency=latency).otherwise("a", "b")

    assert [silences(provider), silences(provider)] == [list(islice(latency.waits(call), 2)) for call in (1, 2)]


def test_a_reply_may_have_a_pace_of_its_own():
    provider = FakeProvider("openai", latency=Latency(1)).reply("a", latency=Latency()).otherwise("b", "c")
    provider.when("x", "a", latency=Latency(2))

    assert silences(provider) == []
    assert silences(provider) == [1.0]
    assert silences(provider, {**ASKED, "messages": [{"role": "user", "content": "x"}]}) == [2.0]
    assert ".reply('a', latency=Latency())" in repr(provider)
    assert repr(provider).startswith("FakeProvider('openai', latency=Latency(ttft=1))")


def test_what_a_function_says_is_paced_as_it_comes():
    asked = []

    def tell(request):
        for word in "abc":
            asked.append(word)
            yield word

    provider = FakeProvider("openai", latency=Latency(tps=2)).otherwise(tell)
    exchange = provider.handle("POST", URLS["openai"], {}, json.dumps(ASKED).encode())
    found = []
    for action in exchange.body(Timeouts()):
        found.append(action if isinstance(action, float) else len(list(action)))
        if found.count(0.5) == 1:
            break

    assert found[-1] == 0.5
    assert asked == ["a", "b"]


def test_a_model_takes_its_time_too_on_a_clock():
    clock = VirtualClock()
    model = FakeLLM(Latency(ttft=0.2, tps=50).paced(Script.of("one two three")), clock=clock)

    assert "".join(model.stream("?")) == "one two three"
    assert clock.now == 0.24
    assert clock.gaps == [0.02, 0.02]


@each(
    ("fields", "said"),
    [
        ({"ttft": -1}, "Latency.ttft is the seconds"),
        ({"ttft": float("inf")}, "Latency.ttft is the seconds"),
        ({"ttft": "1"}, "Latency.ttft is the seconds"),
        ({"tps": 0}, "Latency.tps is how many"),
        ({"tps": float("nan")}, "Latency.tps is how many"),
        ({"jitter": 2}, "Latency.jitter is a share"),
        ({"jitter": True}, "Latency.jitter is a share"),
        ({"seed": 1.5}, "Latency.seed is a whole number, not 1.5"),
    ],
)
def test_its_numbers_are_checked(fields, said):
    with pytest.raises(ScriptError, match=said):
        Latency(**fields)


def test_what_is_none_is_refused():
    with pytest.raises(TypeError, match=r"latency is a fakellm.script.Latency.*, not 0.2"):
        FakeProvider("openai", latency=0.2)
    with pytest.raises(TypeError, match=r"latency is a fakellm.script.Latency"):
        FakeProvider("openai").reply("a", latency=0.2)
