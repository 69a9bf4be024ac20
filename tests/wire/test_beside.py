"""What a service says beside its answers: at the top of a document, and of the chunk with the finish reason."""

from __future__ import annotations

import json

import httpx2
import openai
from vectors import each

from fakellm import FakeProvider, Finish, Script, Usage
from fakellm.http import intercept
from fakellm.script import Raw
from fakellm.wire.openai import PROFILES

HI = [{"role": "user", "content": "hi"}]
SAID = {"citations": ["https://example.org/"], "counts": {"searches": 2}}
APIS = {
    "chat": ("openai", "https://api.openai.com/v1/chat/completions", {"model": "m", "messages": HI}),
    "completions": ("openai", "https://api.openai.com/v1/completions", {"model": "m", "prompt": "hi"}),
    "responses": ("openai", "https://api.openai.com/v1/responses", {"model": "m", "input": "hi"}),
    "anthropic": ("anthropic", "https://api.anthropic.com/v1/messages", {"model": "m", "max_tokens": 9, "messages": HI}),
    "gemini": (
        "gemini", "https://generativelanguage.googleapis.com/v1/models/m:generateContent",
        {"contents": [{"parts": [{"text": "hi"}]}]},
    ),
}  # fmt: skip


def documents(api, *parts, stream, profile=None):
    """Return the chunks of a stream, or the one document."""
    name, url, asked = APIS[api]
    url = url.replace(":generateContent", ":streamGenerateContent?alt=sse") if stream else url
    with intercept(FakeProvider(name, profile=profile).reply(*parts)):
        text = httpx2.post(url, json={**asked, "stream": stream}).text
    found = [json.loads(s[6:]) for s in text.splitlines() if s.startswith("data: {")] if stream else [json.loads(text)]
    return [one.get("response", one) for one in found]


@each("stream", [False, True])
def test_it_is_said_once_beside_the_finish_reason(stream):
    for api in APIS:
        found = documents(api, "It rains.", Finish("length", beside=SAID), Usage(1, 2), stream=stream)
        having = [one for one in found if "citations" in one]
        assert len(having) == 1, api
        assert {name: having[0][name] for name in SAID} == SAID
        assert any(word in json.dumps(having[0]).lower() for word in ("length", "max_tokens", "max_output_tokens"))


@each("profile", PROFILES)
def test_every_profile_has_it(profile):
    for stream in (False, True):
        found = documents("chat", "It rains.", Finish(beside=SAID), stream=stream, profile=profile)
        assert [one["choices"][0]["finish_reason"] for one in found if "citations" in one] == ["stop"]


@each(
    ("profile", "field"),
    [(name, field) for name, profile in PROFILES.items() for field in profile.beside] + [("openai", None)],
)
def test_fields_that_a_profile_knows_get_there_from_extra(profile, field):
    said = {field or "citations": [{"a": 1}], "content_filter_results": {"b": 2}}
    for stream in (False, True):
        found = documents("chat", "It rains.", Finish(extra=said), stream=stream, profile=profile)
        choice = next(one for one in found if one["choices"] and one["choices"][0].get("finish_reason"))
        assert choice["choices"][0]["content_filter_results"] == {"b": 2}
        assert choice.get(field or "none", [{"a": 1}]) == [{"a": 1}]
        assert ("citations" in choice["choices"][0]) is (field is None)


def test_azure_says_in_a_document_what_it_filtered_of_the_prompt():
    client = openai.AzureOpenAI(azure_endpoint="https://u.openai.azure.com", api_key="none", api_version="2024-10-21")
    with intercept(FakeProvider(profile="azure").reply("a").reply("a", Finish(beside={"prompt_filter_results": []}))):
        usual, scripted = (client.chat.completions.create(model="m", messages=HI) for _ in range(2))
    (found,) = usual.prompt_filter_results
    assert (found["prompt_index"], found["content_filter_results"]["hate"]["severity"]) == (0, "safe")
    assert scripted.prompt_filter_results == []


def test_it_is_null_that_takes_a_field_away_and_a_file_keeps_it():
    script = Script("a", Finish(beside={"service_tier": None, "provider": "x"}), Raw(": bye\n\n"))
    (document,) = documents("chat", script, stream=False)
    assert ("service_tier" in document, document["provider"]) == (False, "x")
    assert Script.from_json(script.to_json()) == script
    assert repr(script[1]) == """Finish(beside='{"service_tier": null, "provider": "x"}')"""
