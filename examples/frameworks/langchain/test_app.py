"""The tests of the app on LangChain: by a script, by a tape, and by every way in which an answer can break."""

import httpx2
import openai
import pytest
from app import IncompleteAnswerError, answer

from fakellm import Script, every_fault


def test_streams_the_answer(fake_openai):
    fake_openai.reply("Hel", "lo")
    assert [text for text in answer("Say hello.") if text] == ["Hel", "lo"]
    assert fake_openai.calls[0].request.text == "Say hello."


@pytest.mark.cassette("hello.yaml")
def test_a_recorded_session(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8123/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    whole = "".join(answer("Say hello in five languages.", model="tiny-llama"))
    assert whole == "Hello! ¡Hola! Grüß dich! こんにちは! Привет! 👋🏽"


@every_fault(Script.of("A long answer"))
def test_never_takes_half_an_answer_for_a_whole_one(faulty, fake_openai):
    fake_openai.otherwise(faulty)
    with pytest.raises((IncompleteAnswerError, openai.OpenAIError, httpx2.HTTPError, ValueError)):
        list(answer("Answer at length."))
