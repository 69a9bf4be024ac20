"""Quotas: what they count on the clock, and how each provider says what is left and that nothing is."""

from __future__ import annotations

import copy
import json

import pytest
from vectors import each

from fakellm import FakeProvider, Script
from fakellm.clock import InstantClock, ScaledClock
from fakellm.errors import ScriptError
from fakellm.provider.actions import Timeouts
from fakellm.wire.openai.quotas import duration

URLS = {
    "openai": "https://api.openai.com/v1/chat/completions",
    "anthropic": "https://api.anthropic.com/v1/messages",
    "gemini": "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent",
    "ollama": "http://localhost:11434/api/chat",
    "cohere": "https://api.cohere.com/v2/chat",
    "mistral": "https://api.mistral.ai/v1/chat/completions",
}


def ask(provider, text="one two three", **fields):
    """Return status, headers and document of an answer."""
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "stream": False, **fields}
    if provider.name == "gemini":
        body = {"contents": [{"parts": [{"text": text}]}]}
    exchange = provider.handle("POST", URLS[provider.name], {}, json.dumps(body).encode())
    data = b"".join(b"".join(run) for run in exchange.body(Timeouts()) if not isinstance(run, float))
    return exchange.status, dict(exchange.headers), data if fields.get("stream") else json.loads(data)


def test_openai_counts_in_a_bucket_and_says_so_on_every_answer():
    provider = FakeProvider("openai").limits(rpm=2, tpm=1000).otherwise("a")

    first = ask(provider)[1]
    ask(provider, max_tokens=97)
    status, headers, refused = ask(provider)
    provider.clock.sleep(30)
    last = ask(provider)

    assert {name: value for name, value in first.items() if "ratelimit" in name} == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-remaining-tokens": "997",
        "x-ratelimit-reset-requests": "30s",
        "x-ratelimit-reset-tokens": "180ms",
    }
    assert status == 429
    assert (headers["retry-after"], headers["x-ratelimit-remaining-requests"]) == ("30", "0")
    assert headers["x-ratelimit-remaining-tokens"] == "897"
    assert refused["error"]["type"] == "requests"
    assert refused["error"]["code"] == "rate_limit_exceeded"
    assert (
        "on requests per min (RPM): Limit 2, Used 2, Requested 1. Please try again in 30s."
        in refused["error"]["message"]
    )
    assert (last[0], last[1]["x-ratelimit-remaining-requests"]) == (200, "0")
    assert [call.reply is None for call in provider.calls] == [False, False, True, False]


def test_tokens_are_the_words_of_the_prompt_and_what_an_answer_may_have():
    provider = FakeProvider("openai").limits(tpm=100).otherwise("a")

    assert ask(provider, max_tokens=90)[0] == 200
    status, headers, refused = ask(provider, max_tokens=20)

    assert (status, refused["error"]["type"]) == (429, "tokens")
    assert "on tokens per min (TPM): Limit 100, Used 93, Requested 23" in refused["error"]["message"]
    assert headers["retry-after"] == "10"  # 16 tokens have to come back, of 100 a minute
    assert "x-ratelimit-limit-requests" not in headers


def test_anthropic_says_when():
    provider = FakeProvider("anthropic").limits(rpm=60, tpm=1200).otherwise("a")

    headers = ask(provider, max_tokens=50)[1]
    for _ in range(59):
        ask(provider, max_tokens=50)
    status, after, refused = ask(provider, max_tokens=50)

    assert {name: value for name, value in headers.items() if "ratelimit" in name} == {
        "anthropic-ratelimit-requests-limit": "60",
        "anthropic-ratelimit-requests-remaining": "59",
        "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:01Z",
        **{
            f"anthropic-ratelimit-{name}-{what}": value
            for name in ("input-tokens", "tokens")
            for what, value in (("limit", "1200"), ("remaining", "1197"), ("reset", "2026-01-01T00:00:01Z"))
        },
    }
    assert (status, after["retry-after"]) == (429, "1")
    assert refused["error"]["type"] == "rate_limit_error"
    assert "rate limit of 60 requests per minute" in refused["error"]["message"]


def test_gemini_counts_by_the_minute_and_has_retry_info():
    provider = FakeProvider("gemini").limits(rpm=1).otherwise("a")
    provider.clock.sleep(37.5)

    assert not any("ratelimit" in name for name in ask(provider)[1])
    status, _headers, refused = ask(provider)
    provider.clock.sleep(22.5)

    assert (status, refused["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    details = {detail["@type"].rpartition(".")[2]: detail for detail in refused["error"]["details"]}
    assert details["RetryInfo"]["retryDelay"] == "22.5s"
    assert details["QuotaFailure"]["violations"][0]["quotaValue"] == "1"
    assert "Please retry in 22.5s." in refused["error"]["message"]
    assert ask(provider)[0] == 200  # the next minute


def test_mistral_counts_by_the_minute():
    provider = FakeProvider("mistral").limits(rpm=1, tpm=90).otherwise("a")
    provider.clock.sleep(45)

    first, (status, headers, refused) = ask(provider)[1], ask(provider)

    assert {name: value for name, value in first.items() if "ratelimit" in name} == {
        "x-ratelimit-limit-req-minute": "1",
        "x-ratelimit-remaining-req-minute": "0",
        "x-ratelimit-limit-tokens-minute": "90",
        "x-ratelimit-remaining-tokens-minute": "87",
    }
    assert (status, headers["retry-after"]) == (429, "15")
    assert (refused["message"], refused["type"], refused["code"]) == ("Rate limit exceeded", "rate_limited", "1300")


def test_cohere_and_others():
    cohere = FakeProvider("cohere").limits(rpm=1).otherwise("a")
    ollama = FakeProvider("ollama").limits(rpm=1).otherwise("a")

    first, again = ask(cohere), ask(cohere)
    ask(ollama)

    assert first[1]["x-trial-endpoint-call-remaining"] == again[1]["x-trial-endpoint-call-remaining"] == "0"
    assert again[0] == 429
    assert "limited to 1 API calls / minute" in again[2]["message"]
    status, headers, document = ask(ollama)
    assert (status, headers["retry-after"], document) == (
        429,
        "60",
        {"error": "rate limit exceeded: 1 requests per minute"},
    )


def test_headers_are_on_errors_streams_and_documents_and_a_reply_may_say_its_own():
    provider = FakeProvider("openai").limits(rpm=60).error(500).reply("a", headers={"x-ratelimit-limit-requests": "7"})
    provider.answers_alike = True  # as in a server, where streams are written once
    provider.otherwise("a")

    failed, own = ask(provider), ask(provider)
    streams = [ask(provider, stream=True)[1]["x-ratelimit-remaining-requests"] for _ in range(2)]
    models = provider.handle("GET", "https://api.openai.com/v1/models", {}, b"")

    assert (failed[0], failed[1]["x-ratelimit-remaining-requests"]) == (500, "59")
    assert own[1]["x-ratelimit-limit-requests"] == "7"
    assert streams == ["57", "56"]
    assert dict(models.headers)["x-ratelimit-remaining-requests"] == "56"  # counts for nothing


def test_a_request_that_is_none_counts_and_is_answered_as_ever():
    provider = FakeProvider("openai").limits(rpm=60, tpm=60)

    exchange = provider.handle("POST", URLS["openai"], {}, b"{")

    assert exchange.status == 400
    assert dict(exchange.headers)["x-ratelimit-remaining-requests"] == "59"


def test_it_counts_on_the_clock_that_plays_its_answers():
    played, own = InstantClock(), ScaledClock(2)
    instant = FakeProvider("openai").limits(rpm=1).otherwise("a")
    paced = FakeProvider("openai", clock=own).limits(rpm=1).otherwise("a")
    for provider in (instant, paced):
        provider.counted_on = played
        ask(provider)
    played.sleep(60)

    assert ask(instant)[0] == 200
    assert ask(paced)[0] == 429


def test_a_copy_goes_on_from_what_was_counted():
    provider = FakeProvider("openai").limits(rpm=2).otherwise("a")
    ask(provider)
    copies = [copy.copy(provider), copy.deepcopy(provider)]

    assert [[ask(fake)[0] for _ in range(2)] for fake in (*copies, provider)] == [[200, 429]] * 3
    assert repr(provider) == "FakeProvider('openai').limits(rpm=2).otherwise('a')"
    assert provider.forget().otherwise(Script("b"))
    assert [ask(provider)[0] for _ in range(3)] == [200] * 3


def test_what_will_never_fit_is_refused_for_ever():
    provider = FakeProvider("openai").limits(tpm=2).otherwise("a")

    assert ask(provider)[0] == 429
    provider.clock.sleep(3600)
    assert ask(provider)[0] == 429


@each(
    ("limits", "said"),
    [
        ({}, "limits\\(\\) needs rpm="),
        ({"rpm": 0}, "rpm is how many requests a minute"),
        ({"tpm": 1.5}, "tpm is how many tokens"),
    ],
)
def test_limits_are_checked(limits, said):
    with pytest.raises(ScriptError, match=said):
        FakeProvider("openai").limits(**limits)


@each(
    ("seconds", "text"),
    [(0, "0s"), (0.0204, "20ms"), (1, "1s"), (8.64, "8.64s"), (60, "1m0s"), (360, "6m0s"), (3661.5, "1h1m1.5s")],
)
def test_durations_are_written_as_openai_does(seconds, text):
    assert duration(seconds) == text
