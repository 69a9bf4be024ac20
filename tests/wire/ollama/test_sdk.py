"""Ollama's own SDK, unchanged, without a server: faked, broken, recorded and played, at once and in a loop."""

from __future__ import annotations

from functools import partial

import corpus
import httpx
import pytest
import sdks
import strategies
from hypothesis import given
from loopback import Loopback
from vectors import each, first_of

from fakellm import (
    FakeProvider,
    Pause,
    Reasoning,
    Refusal,
    Script,
    Text,
    ToolCall,
    Usage,
    disconnect,
    provider_error,
    stall,
)
from fakellm.cassette.scripted import interaction_of, write
from fakellm.cassette.tape import Tape
from fakellm.clock import InstantClock
from fakellm.errors import UnexpectedRequestError
from fakellm.http import intercept, playing
from fakellm.wire.codec import pieces
from fakellm.wire.ollama import ChatCodec, GenerateCodec

ollama = pytest.importorskip("ollama")

HI = [{"role": "user", "content": "hi"}]
ASKED = {"chat": {"model": "m", "messages": HI}, "generate": {"model": "m", "prompt": "hi"}}
CODECS = {"chat": ChatCodec(), "generate": GenerateCodec()}
FULL = Script(
    Reasoning("hm"), "Hel", "lo", ToolCall("f", '{"a": '), ToolCall(arguments="1}"), ToolCall("g"), Usage(12, 9)
)  # fmt: skip

both = pytest.mark.parametrize("asynchronous", first_of([False, True]), ids=["sync", "async"])
apis = pytest.mark.parametrize("api", ASKED)


def ask(api, asynchronous, *, chunks=None, host=None, timeout=None, **options):
    """Return the SDK's chunks, or its answer without `stream`."""
    seen = [] if chunks is None else chunks
    asked = {**ASKED[api], **options}

    async def main():
        async with ollama.AsyncClient(host, timeout=timeout) as client:
            answer = await getattr(client, api)(**asked)
            if not asked.get("stream"):
                return answer
            async for chunk in answer:
                seen.append(chunk)
        return seen

    if asynchronous:
        return sdks.run(main())
    with ollama.Client(host, timeout=timeout) as client:
        answer = getattr(client, api)(**asked)
        if not asked.get("stream"):
            return answer
        for chunk in answer:
            seen.append(chunk)
    return seen


stream = partial(ask, stream=True)


def said(chunks):
    return "".join((chunk.message.content if "message" in chunk else chunk.response) or "" for chunk in chunks)


def faked(*parts, **options):
    return intercept(FakeProvider("ollama", **options).reply(*parts))


# -- answers ------------------------------------------------------------------------------------------


@apis
@both
def test_an_answer_streamed_and_whole(api, asynchronous):
    with faked(FULL):
        chunks = stream(api, asynchronous)
    with faked(FULL):
        answer = ask(api, asynchronous)
    last = chunks[-1]

    assert (said(chunks), said([answer])) == ("Hello", "Hello")
    for one in (last, answer):
        assert (one.done, one.done_reason, one.prompt_eval_count, one.eval_count) == (True, "stop", 12, 9)
        assert one.total_duration > one.eval_duration > 0
    assert not any(chunk.done for chunk in chunks[:-1])
    if api == "chat":
        calls = [call.function for chunk in chunks for call in chunk.message.tool_calls or ()]
        assert [(call.name, call.arguments) for call in calls] == [("f", {"a": 1}), ("g", {})]
        assert [call.function for call in answer.message.tool_calls] == calls
        assert (chunks[0].message.thinking, answer.message.thinking) == ("hm", "hm")
    else:
        assert (chunks[0].thinking, answer.thinking, last.context, answer.context) == ("hm", "hm", [1, 2, 3], [1, 2, 3])


def test_the_functions_of_the_module_are_answered():
    with intercept(FakeProvider("ollama").otherwise("Hello")):
        assert ollama.chat("m", HI).message.content == "Hello"
        assert said(ollama.generate("m", "hi", stream=True)) == "Hello"
        assert ollama.chat("m").done_reason == "load"
        assert ollama.generate("m", keep_alive=0).done_reason == "unload"


@both
def test_the_small_documents(asynchronous):
    async def main():
        client = ollama.AsyncClient()
        return [
            await client.list(), await client.ps(), await client.show("llama3.2"),
            await client.embed("nomic-embed-text", ["a", "a", "b"]), await client.embed("all-minilm:latest", "a", dimensions=16),
            await client.embeddings("m", "a"), await client.embed("m", ""),
        ]  # fmt: skip

    def at_once():
        client = ollama.Client()
        return [
            client.list(), client.ps(), client.show("llama3.2"), client.embed("nomic-embed-text", ["a", "a", "b"]),
            client.embed("all-minilm:latest", "a", dimensions=16), client.embeddings("m", "a"), client.embed("m", ""),
        ]  # fmt: skip

    with intercept(FakeProvider("ollama")):
        models, loaded, shown, three, short, older, none = sdks.run(main()) if asynchronous else at_once()
    assert {model.model for model in loaded.models} < {model.model for model in models.models}
    assert (shown.details.family, "completion" in shown.capabilities) == ("llama3.2", True)
    assert shown.modelinfo["general.architecture"] == "llama3.2"
    assert three.embeddings[0] == three.embeddings[1] != three.embeddings[2]
    assert (len(three.embeddings[0]), three.prompt_eval_count, len(short.embeddings[0])) == (768, 3, 16)
    assert sum(value**2 for value in short.embeddings[0]) == pytest.approx(1)
    assert (len(older.embedding), none.embeddings) == (1536, [])


def test_bad_input_to_a_small_document():
    with intercept(FakeProvider("ollama")):
        for path, asked, words in (
            ("embed", {"model": "m", "input": [1]}, "invalid input type"),
            ("embed", {"input": "a"}, "model is required"),
            ("show", {}, "model is required"),
            ("embed", {"model": "m", "dimensions": "x"}, "json: cannot unmarshal string"),
        ):
            answer = httpx.post(f"http://localhost:11434/api/{path}", json=asked)
            assert (answer.status_code, answer.json()["error"][: len(words)]) == (400, words)


def test_conditions_and_log_probabilities():
    provider = FakeProvider("ollama").when("hi", "for tools", tools="f").otherwise("else")
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    with intercept(provider):
        assert ask("chat", asynchronous=False, tools=tools).message.content == "for tools"
        assert ask("chat", asynchronous=False, logprobs=True, top_logprobs=2).logprobs[0].token == "else"
    assert provider.calls[0].request.tools == ("f",)


# -- where it answers ---------------------------------------------------------------------------------


@pytest.fixture
def run(pytester, monkeypatch):
    for name in ("OLLAMA_HOST", "OLLAMA_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def run(test):
        pytester.makepyfile(test)
        return pytester.runpytest(
            "--tb=no", "-p", "no:cacheprovider", "-p", "no:langsmith_plugin", "-p", "no:hypothesispytest"
        )

    return run


def test_the_fixture_answers_and_is_strict(run):
    result = run(
        """
        import ollama, os

        def test_it(fake_ollama):
            fake_ollama.reply("Hel", "lo")
            assert ollama.chat("m", [{"role": "user", "content": "?"}]).message.content == "Hello"
            assert fake_ollama.calls[0].request.text == "?"
            assert os.environ["OLLAMA_API_KEY"] == "fake-key-of-fakellm"

        def test_unused(fake_ollama):
            fake_ollama.reply("never")

        def test_without_a_reply(fake_ollama):
            ollama.generate("m", "?")
        """
    )
    result.assert_outcomes(passed=2, failed=1, errors=1)


@pytest.mark.exhaustive
@each("host", ["127.0.0.1:9999", ":9999", "http://127.0.0.1:9999", "gpu-box", "http://gpu-box:1234/under"])
def test_it_answers_where_ollama_host_leads(host, run, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", host)
    result = run(
        """
        import ollama

        def test_it(fake_ollama):
            fake_ollama.otherwise("Hello")
            assert ollama.Client().generate("m", "?").response == "Hello"
            assert ollama.Client("127.0.0.1:11434").generate("m", "?").response == "Hello"
        """
    )
    result.assert_outcomes(passed=1)


def test_a_server_that_runs_here_is_not_asked_for_what_the_fake_does_not_know():
    with intercept(FakeProvider("ollama")), pytest.raises(UnexpectedRequestError, match="api/pull"):
        ollama.Client().pull("m")


# -- faults -------------------------------------------------------------------------------------------


@apis
@both
def test_an_error_before_the_answer(api, asynchronous):
    for streamed in (False, True):
        with intercept(FakeProvider("ollama").error(404, "model 'm' not found")):
            with pytest.raises(ollama.ResponseError) as error:
                ask(api, asynchronous, stream=streamed)
            assert (error.value.error, error.value.status_code) == ("model 'm' not found", 404)


@apis
@both
def test_an_error_in_the_stream(api, asynchronous):
    chunks = []
    with faked("a", "b", provider_error("the model failed")), pytest.raises(ollama.ResponseError) as error:
        stream(api, asynchronous, chunks=chunks)
    assert error.value.error == "the model failed"
    assert said(chunks) == "ab"
    with faked("a", provider_error("the model failed")), pytest.raises(ollama.ResponseError) as error:
        ask(api, asynchronous)
    assert (error.value.error, error.value.status_code) == ("the model failed", 500)


@apis
@both
def test_the_connection_drops_at_the_third_chunk(api, asynchronous):
    for how, kind in (("reset", httpx.ReadError), ("close", httpx.RemoteProtocolError)):
        chunks = []
        with faked("a", "b", "c", disconnect(how)), pytest.raises(kind):
            stream(api, asynchronous, chunks=chunks)
        assert said(chunks) == "abc"
    with faked("a", "b", "c", disconnect("end")):
        chunks = stream(api, asynchronous)
    assert (said(chunks), chunks[-1].done) == ("abc", False)


@both
def test_silence_and_no_connection(asynchronous):
    clock = InstantClock()
    with faked("a", stall(), clock=clock), pytest.raises(httpx.ReadTimeout):
        stream("chat", asynchronous, timeout=7)
    assert clock.now == 7
    with faked(disconnect("refused")), pytest.raises(ConnectionError, match="Failed to connect to Ollama"):
        ask("chat", asynchronous)


# -- tapes --------------------------------------------------------------------------------------------


@both
def test_a_stream_is_recorded_played_and_a_script(asynchronous, tmp_path):
    path, api = tmp_path / "tape.yaml", "generate"
    script = Script("Hel", Pause(0.01), "lo", Usage(3, 2))
    with Loopback(FakeProvider("ollama").reply(script)) as server:
        with playing(Tape(path, mode="once")):
            recorded = stream(api, asynchronous, host=server.url)
        host = server.url
    with playing(Tape(path, mode="none")) as tape:
        played = stream(api, asynchronous, host=host)

    assert (said(played), played) == ("Hello", recorded)
    found = tape.script()
    assert (found.text, found.finish_reason, found.usage) == ("Hello", "stop", Usage(3, 2))
    with faked(found):
        assert said(stream(api, asynchronous)) == "Hello"


@apis
@both
def test_a_script_as_a_tape(api, asynchronous, tmp_path):
    path = tmp_path / "tape.yaml"
    asked = {**ASKED[api], "stream": True}
    if api == "chat":
        asked["tools"] = []
    write(path, interaction_of(Script("Hel", "lo", disconnect()), f"http://127.0.0.1:11434/api/{api}", asked))
    chunks = []
    with playing(Tape(path, mode="none", match_on=["method", "uri"])), pytest.raises(httpx.ReadError):
        stream(api, asynchronous, chunks=chunks)
    assert said(chunks) == "Hello"


def recordings():
    for row in corpus.manifest():
        for one in row["streams"]:
            if one["provider"] == "ollama":
                yield pytest.param(row["file"], one, id=row["file"])


def read(api, data):
    """Return what the SDK makes of a stream."""
    mock = httpx.MockTransport(lambda _: httpx.Response(200, content=data))
    client = ollama.Client(transport=mock)
    return list(getattr(client, api)(**ASKED[api], stream=True))


def encoded(api, script):
    request = CODECS[api].request(ASKED[api])
    return b"".join(s for s in pieces(CODECS[api].encoder(request, 1, script.usage), script) if isinstance(s, bytes))


@apis
@strategies.fewer(3)
@given(strategies.whole_scripts)
def test_any_answer_is_read_as_it_was_scripted(api, script):
    chunks = read(api, encoded(api, script))
    text = "".join(event.text for event in script if isinstance(event, (Text, Refusal)))

    assert said(chunks) == text
    assert [chunk.done for chunk in chunks].count(True) == chunks[-1].done == 1
    assert script.usage is None or (chunks[-1].eval_count or 0) == script.usage.output_tokens


@corpus.needs_corpus
@each(("file", "one"), list(recordings()))
def test_the_sdk_reads_the_same_of_a_recording_and_of_what_is_written_again(file, one):
    api = one["api"].partition(".")[2]
    body = corpus.body(file, one["idx"])
    written, recorded = (read(api, data) for data in (encoded(api, CODECS[api].decode(body)), body))

    assert len(recorded) > 40
    assert [chunk.model_dump(exclude={"created_at", "model"}) for chunk in written] == [
        chunk.model_dump(exclude={"created_at", "model"}) for chunk in recorded
    ]
