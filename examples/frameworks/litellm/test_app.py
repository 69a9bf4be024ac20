"""The tests of the app on LiteLLM: by a script, by a tape, and by every way in which an answer can break."""

import asyncio

import openai
import pytest
from app import IncompleteAnswerError, answer

from fakellm import Script, every_fault


async def collect(*args, **options):
    return [text async for text in answer(*args, **options) if text]


def test_streams_the_answer(fake_openai):
    fake_openai.reply("Hel", "lo")
    assert asyncio.run(collect("Say hello.")) == ["Hel", "lo"]
    assert fake_openai.calls[0].request.text == "Say hello."


@pytest.mark.cassette("hello.yaml")
def test_a_recorded_session(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8123/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    whole = "".join(asyncio.run(collect("Say hello in five languages.", model="openai/tiny-llama")))
    assert whole == "Hello! ¡Hola! Grüß dich! こんにちは! Привет! 👋🏽"


@every_fault(Script.of("A long answer"))
async def test_never_takes_half_an_answer_for_a_whole_one(faulty, fake_openai):
    fake_openai.otherwise(faulty)
    with pytest.raises((IncompleteAnswerError, openai.OpenAIError)):
        await collect("Answer at length.")
