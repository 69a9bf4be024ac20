"""Cohere's own SDK, asking the fake: what is peculiar to it; the rest is in tests/provider/test_table.py."""

from __future__ import annotations

import json
import math
import struct
from base64 import b64decode
from inspect import signature
from typing import get_args

import corpus
import pytest
import recorded
import sdks
from vectors import each, first_of

from fakellm import Finish, Reasoning, Script, ToolCall, Usage, http_error
from fakellm.http import intercept, transport
from fakellm.provider.provider import FakeProvider
from fakellm.script.events import Native
from fakellm.wire.codec import pieces
from fakellm.wire.cohere import ChatCodec, documents, requests

cohere = pytest.importorskip("cohere", reason="Cohere's SDK is in the group provider-sdks")
httpx = pytest.importorskip("httpx")

both = pytest.mark.parametrize("asynchronous", first_of([False, True]), ids=["sync", "async"])
ASKED = {"model": "command-a-03-2025", "messages": [{"role": "user", "content": "Hi"}]}
CODEC = ChatCodec()


def client_of(*, asynchronous=False, **options):
    made = cohere.AsyncClientV2 if asynchronous else cohere.ClientV2
    return made(max_retries=0, **options)


def called(method, *args, asynchronous=False, **options):
    """Return what a method of the client returns, awaited or not."""

    def of(client):
        found = client
        for name in method.split("."):
            found = getattr(found, name)
        return found

    if not asynchronous:
        return of(client_of())(*args, **options)

    async def main():
        return await of(client_of(asynchronous=True))(*args, **options)

    return sdks.run(main())


def streamed(*, asynchronous=False, **fields):
    """Return the events that the SDK gives, and the error that ends them."""
    events = []

    async def main():
        async for event in client_of(asynchronous=True).chat_stream(**{**ASKED, **fields}):
            events.append(event)

    try:
        if asynchronous:
            sdks.run(main())
        else:
            events.extend(client_of().chat_stream(**{**ASKED, **fields}))
    except Exception as error:
        return events, error
    return events, None


def text_of(events):
    return "".join(event.delta.message.content.text or "" for event in events if event.type == "content-delta")


# -- answers --------------------------------------------------------------------------------------------


@both
def test_an_answer_streamed_and_whole(fake_cohere, asynchronous):
    script = Script(Reasoning("hm"), "Hel", "lo", Usage(7, 3, 2))
    fake_cohere.reply(script).reply(script)

    events, error = streamed(asynchronous=asynchronous, temperature=0.1)
    answer = called("chat", **ASKED, asynchronous=asynchronous)

    assert error is None
    assert [event.type for event in events] == [
        "message-start", "content-start", "content-delta", "content-end", "content-start", "content-delta",
        "content-delta", "content-end", "message-end",
    ]  # fmt: skip
    assert events[2].delta.message.content.thinking == "hm"
    assert text_of(events) == "Hello"
    assert (events[-1].delta.finish_reason, events[-1].delta.usage.tokens.input_tokens) == ("COMPLETE", 7)
    assert [block.type for block in answer.message.content] == ["thinking", "text"]
    assert answer.message.content[1].text == "Hello"
    assert (answer.finish_reason, answer.usage) == ("COMPLETE", events[-1].delta.usage)
    assert [call.state for call in fake_cohere.calls] == ["complete", "complete"]
    assert fake_cohere.calls[0].request.options == {"temperature": 0.1}


@both
def test_tool_calls_in_pieces(fake_cohere, asynchronous):
    plan = Native("cohere.chat", {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "I will."}}})
    script = Script(plan, ToolCall("f", '{"x":', id="f_1"), ToolCall(arguments="1}"), ToolCall("g", "{}"))
    tools = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in "fg"]
    fake_cohere.when("Hi", script, tools=["f", "g"])

    events, _ = streamed(asynchronous=asynchronous, tools=tools)
    answer = called("chat", **ASKED, tools=tools, asynchronous=asynchronous)

    calls = {}
    for event in events:
        if event.type == "tool-call-start":
            calls[event.index] = [event.delta.message.tool_calls.id, event.delta.message.tool_calls.function.name, ""]
        elif event.type == "tool-call-delta":
            calls[event.index][2] += event.delta.message.tool_calls.function.arguments
    assert calls == {0: ["f_1", "f", '{"x":1}'], 1: ["call_1", "g", "{}"]}
    whole = answer.message.tool_calls
    assert [[call.id, call.function.name, call.function.arguments] for call in whole] == list(calls.values())
    assert answer.message.tool_plan == "I will."
    assert answer.finish_reason == events[-1].delta.finish_reason == "TOOL_CALL"


def test_the_answer_and_the_result_of_a_tool_are_read_when_they_are_sent_back(fake_cohere):
    fake_cohere.reply(ToolCall("f", {"x": 1}, id="f_1")).reply("done")
    client = client_of()
    first = client.chat(**ASKED)
    result = {"role": "tool", "tool_call_id": "f_1", "content": [{"type": "document", "document": {"data": "42"}}]}

    assert (
        client.chat(model="m", messages=[*ASKED["messages"], first.message, result]).message.content[0].text == "done"
    )
    _, assistant, tool = fake_cohere.calls[1].request.messages
    assert (assistant.tool_calls[0].name, tool.content, tool.tool_call_id) == ("f", "42", "f_1")


# -- errors ------------------------------------------------------------------------------------------------


@both
@each("status", [400, 401, 403, 404, 422, 429, 500, 503])
def test_an_error_before_the_answer(status, asynchronous):
    kinds = {
        400: cohere.BadRequestError, 401: cohere.UnauthorizedError, 403: cohere.ForbiddenError, 404: cohere.NotFoundError,
        422: cohere.UnprocessableEntityError, 429: cohere.TooManyRequestsError, 500: cohere.InternalServerError,
        503: cohere.ServiceUnavailableError,
    }  # fmt: skip
    with intercept(FakeProvider("cohere").otherwise(http_error(status, "no"))):
        _, error = streamed(asynchronous=asynchronous)

    assert type(error) is kinds[status]
    assert error.body == {"id": "00000000-0000-4000-8000-000000000001", "message": "no"}


@both
def test_a_request_of_the_wrong_form_gets_coheres_own_error(fake_cohere, asynchronous):
    for fields, kind, message in (
        ({"messages": []}, cohere.BadRequestError, "messages must not be empty"),
        ({"temperature": "hot"}, cohere.BadRequestError, "parameter 'temperature' is of type string"),
        ({"request_options": {"additional_body_parameters": {"top_p": 1}}}, cohere.UnprocessableEntityError, "'top_p'"),
    ):
        _, error = streamed(asynchronous=asynchronous, **fields)
        assert type(error) is kind
        assert message in error.body["message"]


# -- recordings -----------------------------------------------------------------------------------------


def read(body):
    """Return what the SDK makes of the bytes of a stream, but for the id of the message."""
    answer = httpx.MockTransport(
        lambda _: httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body)
    )
    client = cohere.ClientV2("none", httpx_client=httpx.Client(transport=answer), max_retries=0)
    found = sdks.dumped(client.chat_stream(**ASKED))
    return [
        {key: value for key, value in event.items() if (event["type"], key) != ("message-start", "id")}
        for event in found
    ]


@corpus.needs_corpus
@each("row, found", [(row, found) for row, found in recorded.streams() if found["api"] == "cohere.v2"])
def test_the_sdk_reads_the_same_from_a_recording_and_from_what_is_written_again(row, found):
    body = recorded.body(row, found)
    script = CODEC.decode(body)
    again = pieces(CODEC.encoder(CODEC.request({**ASKED, "stream": True}), 1, script.usage), script)

    assert read(b"".join(again)) == read(body)


RICH = Script(
    Native("cohere.chat", {"type": "debug", "prompt": "<BOS>"}),
    Native("cohere.chat", {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "I will."}}}),
    ToolCall("f"), ToolCall(arguments="{}"), "Hel",
    Native("cohere.chat", {"type": "citation-start", "index": 0, "delta": {"message": {"citations": {"start": 0, "end": 3}}}}),
    Native("cohere.chat", {"type": "citation-end", "index": 0}),
    Finish("tool_calls"), Usage(1, 1),
)  # fmt: skip


def test_every_event_that_the_sdk_knows_is_written_and_read_again():
    union = get_args(cohere.v2.types.v2chat_stream_response.V2ChatStreamResponse)[0]
    known = {member.model_fields["type"].default for member in get_args(union)}
    body = b"".join(pieces(CODEC.encoder(CODEC.request({**ASKED, "stream": True}), 1, RICH.usage), RICH))

    assert {event["type"] for event in read(body)} == known
    assert CODEC.decode(body) == RICH


@each("method, fields", [("chat_stream", requests._FIELDS), ("embed", documents._EMBED), ("rerank", documents._RERANK)])
def test_every_field_that_the_sdk_can_send_is_known(method, fields):
    sent = signature(getattr(cohere.v2.client.V2Client, method)).parameters.keys() - {"self", "request_options"}

    assert sent - fields.keys() == set()


# -- small documents --------------------------------------------------------------------------------------


@both
def test_embeddings(fake_cohere, asynchronous):
    options = {"model": "embed-v4.0", "input_type": "search_document", "asynchronous": asynchronous}
    kinds = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    found = called("embed", texts=["a cat", "the dog sat"], embedding_types=kinds, output_dimension=256, **options)

    (cat, dog), packed = found.embeddings.float_, found.embeddings.base64[0]
    assert math.isclose(sum(value * value for value in cat), 1, abs_tol=1e-5)
    assert (len(cat), len(dog)) == (256, 256)
    assert cat != dog
    assert list(struct.unpack("<256f", b64decode(packed))) == cat
    assert all(-127 <= value <= 127 for value in found.embeddings.int8[0])
    assert [value - 128 for value in found.embeddings.uint8[0]] == found.embeddings.int8[0]
    assert len(found.embeddings.ubinary[0]) == 32
    assert [value - 128 for value in found.embeddings.ubinary[0]] == found.embeddings.binary[0]
    assert (found.texts, found.meta.billed_units.input_tokens) == (["a cat", "the dog sat"], 5)
    assert found.response_type == "embeddings_by_type"
    usual = called("embed", texts=["a cat"], **options)
    assert (len(usual.embeddings.float_[0]), usual.embeddings.int8) == (1536, None)
    image = "data:image/png;base64,eA=="
    both_kinds = [{"content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": image}}]}]
    assert len(called("embed", images=[image], **options).embeddings.float_) == 1
    assert len(called("embed", inputs=both_kinds, **options).embeddings.float_) == 1


@both
def test_a_ranking(fake_cohere, asynchronous):
    documents = ["A dog barks.", "The cat sat on the mat.", "Quantum physics"]
    found = called(
        "rerank",
        model="rerank-v3.5",
        query="where sat the cat",
        documents=documents,
        top_n=2,
        asynchronous=asynchronous,
    )

    assert found.results[0].index == 1
    assert len(found.results) == 2
    assert 1 >= found.results[0].relevance_score > found.results[1].relevance_score >= 0


@both
def test_models(fake_cohere, asynchronous):
    found = called("models.list", endpoint="embed", asynchronous=asynchronous).models
    assert found[0].name == "embed-v4.0"
    assert all(model.endpoints == ["embed"] for model in found)
    (default,) = called("models.list", endpoint="chat", default_only=True, asynchronous=asynchronous).models
    assert default.default_endpoints == ["chat"]
    assert called("models.get", "rerank-later", asynchronous=asynchronous).endpoints == ["rerank"]


@each(
    "method, asked, message",
    [
        ("embed", {"model": "m", "input_type": "search_query"}, "exactly one of texts, images and inputs"),
        ("embed", {"model": "m", "input_type": "search_query", "texts": []}, "exactly one of texts, images and inputs"),
        ("embed", {"model": "m", "input_type": "search_query", "texts": ["x"] * 97}, "at most 96 - received 97"),
        ("embed", {"model": "m", "input_type": "search_query", "texts": [5]}, "'texts' is of type integer"),
        ("embed", {"model": "m", "input_type": "other", "texts": ["x"]}, "valid input_type must be provided"),
        ("embed", {"model": "", "input_type": "search_query", "texts": ["x"]}, "a model parameter is required"),
        (
            "embed",
            {"model": "m", "input_type": "search_query", "texts": ["x"], "embedding_types": ["int4"]},
            "not 'int4'",
        ),
        ("rerank", {"model": "m", "query": " ", "documents": ["x"]}, "query must not be empty or be only whitespace"),
        ("rerank", {"model": "m", "query": "x", "documents": []}, "list of documents must not be empty"),
        ("rerank", {"model": "m", "query": "x", "documents": [{"text": "x"}]}, "'documents' is of type object"),
        ("rerank", {"model": "m", "query": "x", "documents": ["x"], "top_n": 0}, "top_n must be at least 1"),
    ],
    ids=lambda row: row[2],
)
def test_small_endpoints_refuse_what_is_no_request(fake_cohere, method, asked, message):
    with pytest.raises(cohere.BadRequestError) as error:
        called(method, **asked)
    assert message in error.value.body["message"]


def test_openais_client_at_coheres_compatible_paths_is_answered_by_the_other_fake(fake_cohere, fake_openai):
    import openai

    fake_openai.reply("Hello")
    client = openai.OpenAI(base_url="https://api.cohere.ai/compatibility/v1", api_key="none")
    assert client.chat.completions.create(**ASKED).choices[0].message.content == "Hello"


def test_a_client_of_its_own_transport_is_answered_too():
    provider = FakeProvider("cohere").reply("Hello")
    with httpx.Client(transport=transport(provider, httpx)) as http:
        events = list(cohere.ClientV2("none", httpx_client=http).chat_stream(**ASKED))
    assert text_of(events) == "Hello"
    assert json.loads(provider.calls[0].body)["stream"] is True
