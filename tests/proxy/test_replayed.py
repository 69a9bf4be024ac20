"""What a provider that answers by tapes alone says: which recording a request is, and what is said of others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from places import ROOT
from vcr.request import Request
from vectors import each

from fakellm.cassette.replay import chunks_of
from fakellm.errors import UnexpectedRequestError
from fakellm.provider.actions import Failure, Timeouts
from fakellm.proxy.replayed import ReplayedProvider
from fakellm.server.recorded import load
from fakellm.wire.providers import scripted_endpoint

TAPE = Path("t.yaml")
CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
OURS = "http://127.0.0.1:5000/v1/chat/completions"


def recorded(url, asked=CHAT, said=b"{}", method="POST", stream=None):
    body = json.dumps(asked).encode() if asked is not None else b""
    response = {"status": {"code": 200, "message": "OK"}, "headers": {}, "body": {"string": said}}
    if stream:
        response["stream"] = {"error": None, "delays": [0.0] * len(stream["sizes"]), **stream}
    return Request(method, url, body, {}), response


def provider(*pairs, name="openai", **options):
    interactions = [(TAPE, at, *pair) for at, pair in enumerate(pairs)]
    return ReplayedProvider(name, interactions, "cassettes", **options)


def said(fake, url=OURS, asked=CHAT, method="POST"):
    exchange = fake.handle(method, url, {}, json.dumps(asked).encode() if asked is not None else b"")
    return [
        action if isinstance(action, (float, Failure)) else b"".join(action) for action in exchange.body(Timeouts())
    ]


@each(
    pytest.mark.parametrize(
        "name, there, here",
        [
            ("openai", "https://api.openai.com/v1/chat/completions", "/v1/chat/completions"),
            ("openai", "https://api.groq.com/openai/v1/chat/completions", "/v1/chat/completions"),
            ("openai", "https://api.deepseek.com/chat/completions", "/v1/chat/completions"),
            ("openai", "http://10.0.0.5:8000/v1/chat/completions", "/v1/chat/completions"),
            ("openai", "http://box/v1/chat/completions?a=b", "/v1/chat/completions?a=b"),
            ("openai", "https://api.openai.com/v1/moderations", "/v1/moderations"),
            ("anthropic", "https://gateway.example/claude/v1/messages", "/v1/messages"),
            ("gemini", "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent",
             "/v1beta/models/m:generateContent"),
        ],
    )
)  # fmt: skip
def test_a_request_is_the_recorded_one_wherever_its_provider_stood(name, there, here):
    assert said(provider(recorded(there, said=b"x"), name=name), f"http://127.0.0.1:5000{here}") == [b"x"]


@each(
    pytest.mark.parametrize(
        "name, there, here, asked",
        [
            ("openai", "https://api.openai.com/v1/completions", "/v1/chat/completions", CHAT),
            ("openai", "https://api.openai.com/v1/chat/completions", "/v1/completions", CHAT),
            ("openai", "https://api.openai.com/v1/chat/completions?a=b", "/v1/chat/completions", CHAT),
            ("openai", "https://api.openai.com/v1/chat/completions", "/v1/chat/completions", {**CHAT, "seed": 1}),
            ("mistral", "https://api.openai.com/v1/chat/completions", "/v1/chat/completions", CHAT),
            ("openai", "https://api.anthropic.com/v1/models", "/v1/models", CHAT),
            ("openai", "https://api.openai.com/v1/x", "/v1/", CHAT),
        ],
    )
)
def test_another_request_is_a_miss(name, there, here, asked):
    fake = provider(recorded(there), name=name)
    with pytest.raises(UnexpectedRequestError, match=f"request 1 to {name} is not on the tapes of cassettes") as error:
        said(fake, f"http://127.0.0.1:5000{here}", asked)
    assert fake.misses == [error.value]


TAPES = sorted((ROOT / "cassettes").rglob("*.yaml"))


@each(pytest.mark.parametrize("path", TAPES, ids=lambda path: path.stem))
def test_the_tapes_of_this_project_play_in_the_chunks_that_were_recorded(path):
    for interaction in load([path]):
        request, response = interaction[2:]
        (service, _) = scripted_endpoint(request.method, request.uri)
        fake = ReplayedProvider(service.name, [interaction], "cassettes")
        there = request.uri.partition("://")[2].partition("/")[2]
        exchange = fake.handle(request.method, f"http://127.0.0.1:5000/{there}", request.headers, request.body)
        runs = [run for run in exchange.body(Timeouts()) if not isinstance(run, (float, Failure))]
        assert [piece for run in runs for piece in run] == chunks_of(response)


def test_nothing_but_the_tapes_answers_not_even_what_a_fake_answers_by_itself():
    with pytest.raises(UnexpectedRequestError, match="no request to this provider was recorded"):
        said(provider(), "http://127.0.0.1:5000/v1/models", None, "GET")


def test_each_answers_once_in_its_turn_unless_the_last_is_to_repeat():
    pairs = [recorded("https://api.openai.com/v1/chat/completions", said=text) for text in (b"1", b"2")]
    once, again = provider(*pairs), provider(*pairs, repeats=True)

    assert [said(once), said(once)] == [[b"1"], [b"2"]]
    with pytest.raises(UnexpectedRequestError, match="it was played already"):
        said(once)
    assert [said(again) for _ in range(3)] == [[b"1"], [b"2"], [b"2"]]
    assert once.recorded.played == again.recorded.played == {(TAPE, 0), (TAPE, 1)}


def test_the_nearest_is_told_field_by_field_and_nothing_secret():
    key = "sk-proj-" + "a1b2c3d4" * 6
    far = recorded("https://api.openai.com/v1/embeddings", {"input": "x"})
    fake = provider(far, recorded("https://api.groq.com/openai/v1/chat/completions"))
    with pytest.raises(UnexpectedRequestError) as error:
        said(fake, asked={**CHAT, "temperature": 1, "messages": [{"role": "user", "content": f"Hi {key}"}]})

    text = str(error.value)
    assert "t.yaml, interaction 1: POST https://api.groq.com/openai/v1/chat/completions\n" in text
    assert "temperature: recorded nothing / sent 1" in text
    assert "url." not in text
    assert key not in text


@each(pytest.mark.parametrize("factor, pauses", [(0.0, []), (1.0, [0.5]), (0.1, [0.05])]))
def test_silences_are_as_long_as_they_are_wanted(factor, pauses):
    stream = {"sizes": [1, 1], "delays": [0.0, 500.0], "end": "complete"}
    fake = provider(recorded("https://api.openai.com/v1/chat/completions", said=b"ab", stream=stream), factor=factor)

    found = said(fake)
    assert [action for action in found if isinstance(action, float)] == pytest.approx(pauses)
    assert b"".join(action for action in found if isinstance(action, bytes)) == b"ab"


@each(pytest.mark.parametrize("error, kind", [("ReadError", "reset"), ("RemoteProtocolError", "RemoteProtocolError")]))
def test_a_connection_that_was_reset_is_reset(error, kind):
    stream = {"sizes": [1], "end": "dropped", "error": error}
    fake = provider(recorded("https://api.openai.com/v1/chat/completions", said=b"a", stream=stream))

    assert said(fake) == [b"a", Failure(kind)]


def test_one_that_was_cancelled_waits_for_the_app_to_stop_and_is_a_miss_if_it_does_not():
    stream = {"sizes": [1], "end": "cancelled"}
    fake = provider(recorded("https://api.openai.com/v1/chat/completions", said=b"a", stream=stream))
    exchange = fake.handle("POST", OURS, {}, json.dumps(CHAT).encode())
    actions = exchange.body(Timeouts())

    assert b"".join(next(actions)) == b"a"
    assert next(actions) == 10.0
    assert fake.misses == []
    with pytest.raises(BaseException, match="this one reads on"):
        list(next(actions))
    assert len(fake.misses) == 1
