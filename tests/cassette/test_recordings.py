"""The project's own tapes of a real server, replayed through the official SDKs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import anthropic
import openai
import pytest
import sdks
import yaml
from places import ROOT

from fakellm import Text
from fakellm.cassette.checking import check
from fakellm.cassette.redaction import Redactor
from fakellm.cassette.tape import Tape
from fakellm.clock.clock import InstantClock
from fakellm.http.interception import Interception

FOLDER = ROOT / "cassettes"
TAPES = sorted(FOLDER.glob("*.yaml"))
OPENAI, PROXY, RELAY = "http://127.0.0.1:8123/v1", "http://127.0.0.1:8124", "http://127.0.0.1:8125/v1"
HELLO = [{"role": "user", "content": "Say hello in five languages."}]
GREETINGS = "Hello! ¡Hola! Grüß dich! こんにちは! Привет! 👋🏽"
both = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


@pytest.fixture
def replay():
    """Return a function that puts a tape between the clients and the network until the test is over."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def play(name, **options):
            tape = Tape(FOLDER / name, mode="none", redactor=Redactor(environ={}), **options)
            stack.enter_context(tape.open())
            interception = Interception()
            interception.tape = tape
            stack.enter_context(interception.on())
            return tape

        yield play


def ask(url, asynchronous, **asked):
    """Return the chunks of a chat, and the error that ends it."""
    chunks = []
    options = {"api_key": "none", "base_url": url, "max_retries": 0}
    asked = {"model": "tiny-llama", "messages": HELLO, "stream": True, "max_tokens": 60, **asked}

    async def main():
        async with openai.AsyncOpenAI(**options) as client:
            async for chunk in await client.chat.completions.create(**asked):
                chunks.append(chunk)

    try:
        if asynchronous:
            sdks.run(main())
        else:
            with openai.OpenAI(**options) as client:
                for chunk in client.chat.completions.create(**asked):
                    chunks.append(chunk)
    except (openai.OpenAIError, sdks.http_of("openai").HTTPError) as error:  # openai 2 wraps none in mid-stream
        return chunks, error
    return chunks, None


def said(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def test_the_song_comes_token_by_token(replay):
    tape = replay("sparkling_water.yaml")
    song = []
    with openai.OpenAI(api_key="none", base_url=OPENAI) as client:
        asked = {"prompt": "Write me a song about sparkling water.", "stream": True, "max_tokens": 160}
        for chunk in client.completions.create(model="tiny-llama", **asked):
            song.append(chunk.choices[0].text)

    assert len(song) > 50
    assert "Sparkling water, sing to me,\nA thousand little balloons set free!" in "".join(song)
    assert 1 < tape.calls[0].pieces < len(song)  # the server put several tokens into one piece at times


@both
def test_a_chat_keeps_its_characters(replay, asynchronous):
    replay("chat.yaml")
    chunks, error = ask(OPENAI, asynchronous)

    assert (said(chunks), error) == (GREETINGS, None)


def test_a_chat_takes_its_time_on_a_clock(replay):
    clock = InstantClock()
    tape = replay("chat.yaml", timing=clock)
    ask(OPENAI, asynchronous=False)
    stream = yaml.safe_load((FOLDER / "chat.yaml").read_text())["interactions"][0]["response"]["stream"]

    assert clock.now == pytest.approx(sum(map(float, stream["delays"].split())) / 1000)
    assert tape.calls[0].pieces == len(stream["sizes"].split())


def test_a_chat_is_a_script(replay):
    script = replay("chat.yaml").script()
    ask(OPENAI, asynchronous=False)

    assert (script.text, script.finish_reason) == (GREETINGS, "stop")
    assert len([event for event in script if isinstance(event, Text)]) > 10


def test_a_document_is_whole(replay):
    replay("document.yaml")
    with openai.OpenAI(api_key="none", base_url=OPENAI) as client:
        completion = client.chat.completions.create(model="tiny-llama", messages=HELLO, max_tokens=60)
    assert completion.choices[0].message.content == GREETINGS


@both
def test_a_connection_drops_where_it_dropped(replay, asynchronous):
    replay("dropped.yaml")
    chunks, error = ask(RELAY, asynchronous)

    assert GREETINGS.startswith(said(chunks))
    assert 0 < len(said(chunks)) < len(GREETINGS)
    assert "ReadError" in (type(error).__name__, type(error.__cause__).__name__)
    assert sdks.OPENAI < 3 or type(error) is openai.APIConnectionError


@both
def test_an_error_is_an_error(replay, asynchronous):
    replay("error.yaml")
    chunks, error = ask(OPENAI, asynchronous, model="no/such-model", max_tokens=openai.NOT_GIVEN)

    assert (chunks, type(error)) == ([], openai.BadRequestError)


def test_responses_count_to_ten(replay):
    tape = replay("responses.yaml")
    with openai.OpenAI(api_key="none", base_url=OPENAI) as client:
        asked = {"input": "Count from one to ten.", "stream": True, "max_output_tokens": 40}
        events = list(client.responses.create(model="tiny-llama", **asked))

    assert "".join(e.delta for e in events if e.type == "response.output_text.delta").startswith("one, two, three")
    assert events[-1].type in ("response.completed", "response.incomplete")
    assert tape.script().text.startswith("one, two, three")


def test_messages_add_up(replay):
    tape = replay("messages.yaml")
    with anthropic.Anthropic(api_key="none", base_url=PROXY) as client:
        with client.messages.stream(model="tiny-llama", max_tokens=60, messages=HELLO) as stream:
            message = stream.get_final_message()

    assert message.content[0].text == GREETINGS
    assert tape.script().text == GREETINGS


def test_gemini_speaks_too(replay):
    from google import genai

    tape = replay("gemini.yaml")
    client = genai.Client(api_key="none", http_options={"base_url": PROXY, "api_version": "v1beta"})
    chunks = list(client.models.generate_content_stream(model="tiny-llama", contents=HELLO[0]["content"]))

    assert "".join(chunk.text or "" for chunk in chunks) == GREETINGS
    assert tape.script().text == GREETINGS


@pytest.mark.parametrize("path", TAPES, ids=lambda path: path.name)
def test_a_tape_is_small_and_holds_no_secret(path):
    assert path.stat().st_size < 30_000
    assert check([path], environ={}) == []


def test_each_tape_has_its_session_and_its_test():
    spec = importlib.util.spec_from_file_location("record", FOLDER / "record.py")
    record = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(record)

    assert {path.name for path in TAPES} == record.SESSIONS.keys()
    text = Path(__file__).read_text()
    readme = (FOLDER / "README.md").read_text()
    for path in TAPES:
        assert f'"{path.name}"' in text
        assert f"`{path.name}`" in readme
