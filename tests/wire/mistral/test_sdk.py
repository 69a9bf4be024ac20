"""Mistral's own SDK, asking the fake: what is peculiar to it; the rest is in tests/provider/test_table.py."""

from __future__ import annotations

import json
import math
from base64 import b64decode
from importlib import import_module
from inspect import signature

import corpus
import pytest
import recorded
import sdks
from taping import stored, tape
from vectors import each, first_of

from fakellm import Finish, Reasoning, Script, ToolCall, Usage, disconnect, http_error, provider_error
from fakellm.http import intercept, playing, transport
from fakellm.provider.provider import FakeProvider
from fakellm.script.events import Native
from fakellm.wire.codec import pieces
from fakellm.wire.mistral import ChatCodec, ConversationsCodec, conversations, documents, requests

mistralai = pytest.importorskip("mistralai.client", reason="Mistral's SDK is in the group provider-sdks")
httpx = pytest.importorskip("httpx2")

from mistralai.client import errors  # noqa: E402 - after the skip

both = pytest.mark.parametrize("asynchronous", first_of([False, True]), ids=["sync", "async"])
MESSAGES = [{"role": "user", "content": "Hi"}]
ASKED = {"model": "mistral-small-latest", "messages": MESSAGES}
TALK = {"model": "mistral-small-latest", "inputs": "Hi"}


def called(method, *args, asynchronous=False, **options):
    """Return what a method of the client returns, awaited or not."""

    def of(name):
        found = mistralai.Mistral()
        for part in name.split("."):
            found = getattr(found, part)
        return found

    if not asynchronous:
        return of(method)(*args, **options)

    async def main():
        return await of(f"{method}_async")(*args, **options)

    return sdks.run(main())


def streamed(method="chat.stream", *, asynchronous=False, **fields):
    """Return the events that the SDK gives, and the error that ends them."""
    events = []
    usual = {"chat.stream": ASKED, "beta.conversations.start_stream": TALK}.get(method, {})

    async def main():
        client = mistralai.Mistral()
        for part in f"{method}_async".split("."):
            client = getattr(client, part)
        async for event in await client(**{**usual, **fields}):
            events.append(event.data)

    try:
        if asynchronous:
            sdks.run(main())
        else:
            events.extend(event.data for event in called(method, **{**usual, **fields}))
    except Exception as error:
        return events, error
    return events, None


def text_of(chunks):
    contents = [chunk.choices[0].delta.content for chunk in chunks]
    return "".join(content for content in contents if isinstance(content, str))


# -- answers --------------------------------------------------------------------------------------------


@both
def test_an_answer_streamed_and_whole(fake_mistral, asynchronous):
    script = Script(Reasoning("hm"), "Hel", "lo", Usage(7, 3, 2))
    fake_mistral.reply(script).reply(script)

    chunks, error = streamed(asynchronous=asynchronous, temperature=0.1)
    answer = called("chat.complete", **ASKED, asynchronous=asynchronous)

    assert error is None
    assert [part.thinking[0].text for part in chunks[1].choices[0].delta.content] == ["hm"]
    assert text_of(chunks) == "Hello"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (7, 3)
    assert [part.type for part in answer.choices[0].message.content] == ["thinking", "text"]
    assert answer.choices[0].message.content[1].text == "Hello"
    assert answer.usage == chunks[-1].usage
    assert [call.state for call in fake_mistral.calls] == ["complete", "complete"]
    assert fake_mistral.calls[0].request.options == {"temperature": 0.1}


@both
def test_a_tool_call_in_pieces_comes_whole(fake_mistral, asynchronous):
    script = Script(ToolCall("f", '{"x":', id="aX2gaLIyo"), ToolCall(arguments="1}"), ToolCall("g", "{}"))
    tools = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in "fg"]
    fake_mistral.when("Hi", script, tools=["f", "g"])

    chunks, _ = streamed(asynchronous=asynchronous, tools=tools)
    answer = called("chat.complete", **ASKED, tools=tools, asynchronous=asynchronous)

    expected = [("aX2gaLIyo", 0, "f", '{"x":1}'), ("call_1", 1, "g", "{}")]
    for calls in (
        [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()],
        answer.choices[0].message.tool_calls,
    ):
        assert [(c.id, c.index, c.function.name, c.function.arguments) for c in calls] == expected
    assert chunks[-1].choices[0].finish_reason == answer.choices[0].finish_reason == "tool_calls"
    assert chunks[-1].choices[0].delta.tool_calls[0].function.name == "g"


def test_the_answer_and_the_result_of_a_tool_are_read_when_they_are_sent_back(fake_mistral):
    fake_mistral.reply(ToolCall("f", {"x": 1}, id="f_1")).reply("done")
    client = mistralai.Mistral()
    first = client.chat.complete(**ASKED).choices[0].message
    result = {"role": "tool", "tool_call_id": "f_1", "name": "f", "content": "42"}

    again = client.chat.complete(model="m", messages=[*MESSAGES, first, result])
    assert again.choices[0].message.content == "done"
    _, assistant, tool = fake_mistral.calls[1].request.messages
    assert (assistant.tool_calls[0].name, tool.content, tool.tool_call_id) == ("f", "42", "f_1")


@both
@each(
    "method, fields",
    [
        ("fim", {"model": "codestral-latest", "prompt": "def f("}),
        ("agents", {"agent_id": "ag_1", "messages": MESSAGES}),
    ],
)
def test_prompts_and_agents_are_completed_streamed_and_whole(method, fields, asynchronous):
    with intercept(FakeProvider("mistral").otherwise("return ", "1")) as interception:
        chunks, _ = streamed(f"{method}.stream", asynchronous=asynchronous, **fields)
        answer = called(f"{method}.complete", asynchronous=asynchronous, **fields)
        apis = [call.api for call in interception.providers[0].calls]

    assert text_of(chunks) == answer.choices[0].message.content == "return 1"
    assert apis == [f"mistral.{method}"] * 2


RICH = Script(
    Native("mistral.conversations", {"type": "tool.execution.started", "name": "web_search", "arguments": ""}),
    Native("mistral.conversations", {"type": "tool.execution.delta", "name": "web_search", "arguments": "{}"}),
    Native("mistral.conversations", {"type": "tool.execution.done", "name": "web_search", "info": {"x": 1}}),
    Native("mistral.conversations", {"type": "agent.handoff.started", "previous_agent_id": "a", "previous_agent_name": "A"}),
    Native("mistral.conversations", {"type": "agent.handoff.done", "next_agent_id": "b", "next_agent_name": "B"}),
    Reasoning("hm"), "Hel", "lo", ToolCall("f", '{"x":'), ToolCall(arguments="1}"), Finish("tool_calls"), Usage(7, 3),
)  # fmt: skip


@both
def test_a_conversation_streamed_and_whole(fake_mistral, asynchronous):
    fake_mistral.reply(RICH).reply(RICH)

    events, error = streamed("beta.conversations.start_stream", asynchronous=asynchronous)
    answer = called("beta.conversations.start", **TALK, asynchronous=asynchronous)

    assert error is None
    assert [event.type.rpartition(".")[0] for event in events] == [
        "conversation.response", *["tool.execution"] * 3, *["agent.handoff"] * 2, *["message.output"] * 3,
        *["function.call"] * 2, "conversation.response",
    ]  # fmt: skip
    assert events[6].content.thinking[0].text == "hm"
    assert "".join(event.content for event in events[7:9]) == "Hello"
    assert "".join(event.arguments for event in events[9:11]) == answer.outputs[3].arguments == '{"x":1}'
    assert [output.type for output in answer.outputs] == [
        "tool.execution",
        "agent.handoff",
        "message.output",
        "function.call",
    ]
    assert answer.outputs[2].content[1].text == "Hello"
    assert (answer.usage.prompt_tokens, events[-1].usage.total_tokens) == (7, 10)
    assert answer.conversation_id.startswith("conv_")


@both
def test_a_conversation_goes_on_and_begins_again(fake_mistral, asynchronous):
    fake_mistral.otherwise("Hello")
    first = called("beta.conversations.start", **TALK, asynchronous=asynchronous)
    fields = {"conversation_id": first.conversation_id, "inputs": "More", "asynchronous": asynchronous}

    assert called("beta.conversations.append", **fields).conversation_id == first.conversation_id
    again = called("beta.conversations.restart", from_entry_id=first.outputs[0].id, **fields)
    assert again.conversation_id != first.conversation_id
    events, _ = streamed("beta.conversations.append_stream", **fields)
    assert events[0].conversation_id == first.conversation_id
    assert len(streamed("beta.conversations.restart_stream", from_entry_id="x", **fields)[0]) == 3
    assert fake_mistral.calls[1].request.options["conversation_id"] == first.conversation_id


@each("server", ["global", "eu", "us", "https://codestral.mistral.ai", "https://gateway.example"])
def test_hosts_of_all_regions_and_gateways_are_answered(server):
    where = {"server_url": server} if "://" in server else {"server": server}
    with intercept(FakeProvider("mistral").reply("Hello")):
        answer = mistralai.Mistral(**where).chat.complete(**ASKED)
    assert answer.choices[0].message.content == "Hello"


# -- errors ------------------------------------------------------------------------------------------------


@both
@each("status", [400, 401, 403, 404, 422, 429, 500, 503])
def test_an_error_before_the_answer(status, asynchronous):
    with intercept(FakeProvider("mistral").otherwise(http_error(status, "no"))):
        for method in ("chat.stream", "beta.conversations.start_stream"):
            _, error = streamed(method, asynchronous=asynchronous)
            assert type(error) is (errors.HTTPValidationError if status == 422 else errors.SDKError)
            assert error.status_code == status
            assert "no" in error.body


@both
def test_a_request_of_the_wrong_form_gets_mistrals_own_error(fake_mistral, asynchronous):
    _, error = streamed(asynchronous=asynchronous, temperature=5)
    assert [(one.loc, one.type) for one in error.data.detail] == [(["body", "temperature"], "less_than_equal")]
    _, error = streamed(asynchronous=asynchronous, messages=[])
    assert (error.status_code, json.loads(error.body)["code"]) == (400, "3230")
    _, error = streamed("beta.conversations.start_stream", asynchronous=asynchronous, model=None)
    assert type(error) is errors.HTTPValidationError


@both
def test_an_error_in_the_stream(fake_mistral, asynchronous):
    fake_mistral.otherwise("Hel", provider_error("boom"))

    chunks, error = streamed(asynchronous=asynchronous)
    assert (text_of(chunks), type(error)) == ("Hel", errors.ResponseValidationError)
    assert "boom" in error.body
    events, error = streamed("beta.conversations.start_stream", asynchronous=asynchronous)
    assert (error, events[-1].type, events[-1].message) == (None, "conversation.response.error", "boom")


# -- tapes --------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("fault", [(), (disconnect(),), (provider_error("boom"),)], ids=["whole", "drop", "error"])
def test_a_conversation_is_recorded_played_and_becomes_a_script(tmp_path, monkeypatch, asynchronous, fault):
    monkeypatch.setenv("MISTRAL_API_KEY", "none")
    script = Script("Hel", "lo", ToolCall("f", '{"x":1}'), *(fault or (Finish("tool_calls"), Usage(3, 4))))
    with intercept(FakeProvider("mistral").reply(script)), playing(tape(tmp_path / "t.yaml")):
        events, error = streamed("beta.conversations.start_stream", asynchronous=asynchronous)
    kept = tape(tmp_path / "t.yaml", mode="none")
    with playing(kept):
        again, later = streamed("beta.conversations.start_stream", asynchronous=asynchronous)

    assert sdks.dumped(again) == sdks.dumped(events)
    assert type(later) is type(error)
    assert list(kept.script())[: len(script) - 1] == list(script)[:-1]
    assert type(kept.script()[-1]) is type(script[-1])
    stopped = "cancelled" if fault and error is not None else "complete"  # the SDK raises, and reads no further
    end = stored(tmp_path / "t.yaml")[0]["response"]["stream"]["end"]
    assert end == ("dropped" if fault == (disconnect(),) else stopped)


# -- recordings -----------------------------------------------------------------------------------------


def read(body, method="chat.stream"):
    """Return what the SDK makes of the bytes of a stream, but for what is made anew."""
    answer = httpx.MockTransport(
        lambda _: httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body)
    )
    client = mistralai.Mistral(api_key="none", client=httpx.Client(transport=answer))
    usual = ASKED if method == "chat.stream" else TALK
    for part in method.split("."):
        client = getattr(client, part)
    made = ("id", "created", "model", "created_at")
    return [
        {key: v for key, v in chunk.items() if key not in made}
        for chunk in sdks.dumped(e.data for e in client(**usual))
    ]


@corpus.needs_corpus
@each("row, found", [(row, found) for row, found in recorded.streams() if found["provider"] == "mistral"])
def test_the_sdk_reads_the_same_from_a_recording_and_from_what_is_written_again(row, found):
    codec, body = ChatCodec(), recorded.body(row, found)
    script = codec.decode(body)
    again = pieces(codec.encoder(codec.request({**ASKED, "stream": True}), 1, script.usage), script)

    assert read(b"".join(again)) == read(body)


def test_every_event_of_conversations_that_the_sdk_knows_is_written_and_read_again():
    codec = ConversationsCodec()
    asked = codec.request({**TALK, "stream": True})
    body = b"".join(pieces(codec.encoder(asked, 1, RICH.usage), RICH))
    failed = b"".join(pieces(codec.encoder(asked, 1), Script(provider_error("boom"))))

    known = import_module("mistralai.client.models.conversationevents")._CONVERSATION_EVENTS_DATA_VARIANTS
    found = [event for one in (body, failed) for event in read(one, "beta.conversations.start_stream")]
    assert {event["type"] for event in found} == known.keys()
    assert codec.decode(body) == RICH


def test_every_part_of_content_that_the_sdk_knows_is_written_and_read_again():
    codec = ChatCodec()
    known = import_module("mistralai.client.models.contentchunk")._CONTENT_CHUNK_VARIANTS
    parts = [{"type": kind, "text": "a", "thinking": [], "reference_ids": [], "x": 1} for kind in known]
    script = Script(*(Native("mistral.chat", {"content": [part]}) for part in parts), Finish(), Usage(0, 0, 0))
    body = b"".join(pieces(codec.encoder(codec.request({**ASKED, "stream": True}), 1, script.usage), script))

    assert codec.decode(body) == script


@each(
    "method, fields",
    [
        ("chat.stream", requests.CHAT), ("fim.stream", requests.FIM), ("agents.stream", requests.AGENTS),
        ("embeddings.create", {"inputs": None, **documents._EMBEDDINGS}),
        ("beta.conversations.start_stream", conversations._START),
        ("beta.conversations.append_stream", {"conversation_id": None, **conversations._APPEND}),
        ("beta.conversations.restart_stream", {"conversation_id": None, **conversations._RESTART}),
    ],
)  # fmt: skip
def test_every_field_that_the_sdk_can_send_is_known(method, fields):
    client = mistralai.Mistral(api_key="none")
    for part in method.split("."):
        client = getattr(client, part)
    options = {"retries", "server_url", "timeout_ms", "http_headers"}

    assert signature(client).parameters.keys() - options - fields.keys() == set()


# -- small documents --------------------------------------------------------------------------------------


@both
def test_embeddings(fake_mistral, asynchronous):
    asked = {"model": "mistral-embed", "inputs": ["a cat", "the dog sat"], "asynchronous": asynchronous}
    found = called("embeddings.create", **asked)

    cat, dog = (row.embedding for row in found.data)
    assert (len(cat), len(dog), found.usage.prompt_tokens) == (1024, 1024, 5)
    assert math.isclose(sum(value * value for value in cat), 1, abs_tol=1e-5)
    assert cat != dog
    short = called("embeddings.create", **asked, output_dimension=64, output_dtype="int8")
    assert len(short.data[0].embedding) == 64
    assert all(-127 <= value <= 127 for value in short.data[0].embedding)
    packed = documents.embeddings({"model": "m", "input": "x", "encoding_format": "base64", "output_dimension": 8})
    assert len(b64decode(packed["data"][0]["embedding"])) == 32


@both
def test_models(fake_mistral, asynchronous):
    found = called("models.list", asynchronous=asynchronous).data
    assert {"mistral-large-latest", "codestral-latest"} <= {model.id for model in found}
    assert called("models.retrieve", model_id="codestral-latest", asynchronous=asynchronous).capabilities.completion_fim


@each(
    "fields, kind",
    [
        ({"inputs": []}, "string_type"),
        ({"output_dimension": 0}, "greater_than_equal"),
        ({"model": None}, "string_type"),
        ({"http_headers": None, "metadata": "x"}, "dict_type"),
    ],
)
def test_small_endpoints_refuse_what_is_no_request(fields, kind):
    body = {
        "model": "m",
        "input": "x",
        **{("input" if k == "inputs" else k): v for k, v in fields.items() if k != "http_headers"},
    }
    with intercept(FakeProvider("mistral")):
        response = httpx.post("https://api.mistral.ai/v1/embeddings", json=body)
    assert (response.status_code, response.json()["detail"][0]["type"]) == (422, kind)


# -- whose request it is --------------------------------------------------------------------------------------


def test_openais_client_is_answered_by_the_fake_whose_host_it_asks(fake_mistral, fake_openai):
    import openai

    fake_mistral.reply("Bonjour")
    fake_openai.otherwise("Hello")

    def ask(**where):
        return openai.OpenAI(api_key="none", **where).chat.completions.create(**ASKED).choices[0].message.content

    assert ask(base_url="https://api.mistral.ai/v1") == "Bonjour"
    assert (
        ask() == ask(base_url="https://api.groq.com/openai/v1") == ask(base_url="https://gateway.example/v1") == "Hello"
    )


def test_a_client_of_its_own_transport_is_answered_too():
    provider = FakeProvider("mistral").reply("Hello")
    with httpx.Client(transport=transport(provider, httpx)) as http:
        chunks = [event.data for event in mistralai.Mistral(api_key="none", client=http).chat.stream(**ASKED)]
    assert text_of(chunks) == "Hello"
    assert json.loads(provider.calls[0].body)["stream"] is True
