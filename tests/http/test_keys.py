"""Keys in the environment, for SDKs that ask nobody."""

from __future__ import annotations

import os

import openai
import pytest

from fakellm import FakeProvider
from fakellm.contracts import check_stream
from fakellm.http import dummy_keys, intercept

KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY")


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


def there():
    return [name for name in KEYS if os.environ.get(name)]


def test_each_provider_or_those_that_are_named_get_a_key_inside_the_block():
    with dummy_keys():
        assert there() == ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"]
    with dummy_keys("openai"):
        assert there() == ["OPENAI_API_KEY"]
    assert there() == []


def test_a_key_that_is_there_stays(monkeypatch):
    monkeypatch.setenv("GOOGLE_API_KEY", "mine")
    monkeypatch.setenv("OPENAI_API_KEY", "")
    with dummy_keys():
        assert there() == ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY"]
    assert os.environ["OPENAI_API_KEY"] == ""
    assert there() == ["GOOGLE_API_KEY"]


def test_a_provider_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="there is no fake of the provider 'opnai'"):
        dummy_keys("opnai")


def test_inside_of_intercept_no_key_is_needed():
    with intercept(FakeProvider("openai").reply("Hello")), intercept(FakeProvider("anthropic")):
        answer = openai.OpenAI().chat.completions.create(model="m", messages=[])
        assert answer.choices[0].message.content == "Hello"
        assert there() == ["OPENAI_API_KEY", "ANTHROPIC_API_KEY"]
    assert there() == []


def test_nor_by_a_check_of_a_stream():
    def make():
        client = openai.OpenAI(max_retries=0)

        def stream(text):
            messages = [{"role": "user", "content": text}]
            for chunk in client.chat.completions.create(model="m", messages=messages, stream=True):
                if chunk.choices and chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content

        return stream

    assert check_stream(make, api="openai", contracts=["close"]).verdicts
