from collections.abc import Callable, Iterator

import httpx
import pytest

from fakellm import FakeChatModel, FakeLLM, FakeProvider, Script, any_chunking, every_fault, every_interleaving
from fakellm.cassette import Tape
from fakellm.clock import VirtualClock
from fakellm.contracts import Report
from fakellm.errors import LLMError
from fakellm.server import FakeServer


def summarise(text: str) -> str:  # an app
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}
    answer = httpx.post("https://api.openai.com/v1/chat/completions", json=asked)
    return str(answer.json()["choices"][0]["message"]["content"])


def test_a_provider(fake_openai: FakeProvider) -> None:  # as are fake_anthropic and fake_gemini
    fake_openai.reply("Hel", "lo")
    assert summarise("...") == "Hello"
    assert fake_openai.calls[0].request.text == "..."
    fake_openai.hosts = ["localhost:11434"]


def test_a_server(fake_server: FakeServer) -> None:
    fake_server.openai.reply("Hel", "lo")
    answer = httpx.post(fake_server.base_url("openai") + "/chat/completions", json={"model": "m", "messages": []})
    assert answer.status_code == 200
    assert fake_server.calls[0].status == 200


def test_models(fake_llm: FakeLLM, fake_chat_model: FakeChatModel) -> None:
    fake_llm.reply("Hel", "lo")
    fake_chat_model.reply("Hi")
    assert "".join(fake_llm.stream("?")) == "Hello"
    assert fake_chat_model.invoke([("user", "?")]).content == "Hi"


@pytest.mark.cassette("chat.yaml")
def test_a_tape(cassette: Tape) -> None:
    messages = [{"role": "user", "content": "Say hello in five languages."}]
    asked = {"model": "tiny-llama", "messages": messages, "stream": True, "max_tokens": 60}
    assert httpx.post("http://127.0.0.1:8123/v1/chat/completions", json=asked).is_success
    assert cassette.calls[0].request.text == "Say hello in five languages."


def test_time(virtual_clock: VirtualClock, fake_llm: FakeLLM) -> None:
    fake_llm.reply("Hello")
    assert (fake_llm.invoke("?"), virtual_clock.now) == ("Hello", 0)


def test_promises(stream_contract: Callable[..., Report]) -> None:
    report = stream_contract(lambda source: source.with_fallbacks([FakeLLM("Sorry.")]), contracts=["close"])
    assert report.passed


@any_chunking("Hello")
def test_in_every_chunking(chunks: list[str]) -> None:
    assert "".join(chunks) == "Hello"


@every_fault(Script.of("A long answer"))
def test_at_every_fault(faulty: Script) -> None:
    with pytest.raises(LLMError):
        "".join(FakeLLM(faulty).stream("?"))


@every_interleaving(Script("a", "b"), Script("c", "d"))
async def test_in_every_order(first: FakeLLM, second: FakeLLM) -> str:
    return await first.ainvoke("?") + await second.ainvoke("?")


@pytest.fixture
def warm(fake_openai: FakeProvider) -> Iterator[FakeProvider]:  # a fixture of one's own
    fake_openai.otherwise("warm")
    yield fake_openai
    assert fake_openai.calls


def test_a_fixture(warm: FakeProvider) -> None:
    assert summarise("...") == "warm"
