"""Claude on Bedrock, asked by Anthropic's own SDK and by boto3, and answered by either fake; synchronous and not."""

from __future__ import annotations

import json

import pytest
import sdks
from taping import tape
from vectors import each, first_of

from fakellm import FakeProvider, Reasoning, Script, ToolCall, Usage, disconnect, provider_error
from fakellm.errors import UnexpectedRequestError
from fakellm.http import intercept, playing
from fakellm.wire.codec import pieces
from fakellm.wire.sse import SSEDecoder

pytest.importorskip("boto3", reason="boto3, which the SDK signs with, is in the group provider-sdks")
anthropic = pytest.importorskip("anthropic")

both = pytest.mark.parametrize("asynchronous", first_of([False, True]), ids=["sync", "async"])
fakes = pytest.mark.parametrize("name", ["fake_bedrock", "fake_anthropic"])
MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
ASKED = {"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}


def client_of(*, asynchronous=False, **options):
    made = anthropic.AsyncAnthropicBedrock if asynchronous else anthropic.AnthropicBedrock
    return made(max_retries=0, **options)


def streamed(*, asynchronous=False, **options):
    """Return the events that the SDK gives, and the error that ends them."""
    events = []

    async def main():
        async with client_of(asynchronous=True, **options) as client:
            async for event in await client.messages.create(**ASKED, stream=True):
                events.append(event)

    try:
        if asynchronous:
            sdks.run(main())
        else:
            with client_of(**options) as client:
                events.extend(client.messages.create(**ASKED, stream=True))
    except Exception as error:
        return events, error
    return events, None


def asked(*, asynchronous=False):
    """Return the message that is not streamed."""

    async def main():
        async with client_of(asynchronous=True) as client:
            return await client.messages.create(**ASKED)

    return sdks.run(main()) if asynchronous else client_of().messages.create(**ASKED)


def text_of(events):
    deltas = (event.delta for event in events if event.type == "content_block_delta")
    return "".join(getattr(delta, "text", "") for delta in deltas)


@both
@fakes
def test_an_answer_streamed_and_whole(request, name, asynchronous):
    fake = request.getfixturevalue(name)
    script = Script(
        Reasoning("hm", signature="s"),
        "Hel",
        "lo",
        ToolCall("f", '{"x":', id="t"),
        ToolCall(arguments="1}"),
        Usage(7, 3, 2),
    )
    fake.reply(script).reply(script)

    events, error = streamed(asynchronous=asynchronous)
    answer = asked(asynchronous=asynchronous)

    assert error is None
    assert text_of(events) == "Hello"
    assert "ping" not in [event.type for event in events]
    assert (events[-2].delta.stop_reason, events[-2].usage.output_tokens) == ("tool_use", 3)
    assert events[0].message.model == answer.model == "claude-sonnet-4-5-20250929"
    assert [block.type for block in answer.content] == ["thinking", "text", "tool_use"]
    assert answer.content[2].input == {"x": 1}
    call, _ = fake.calls
    assert call.request.model == MODEL
    assert call.api == ("bedrock.invoke" if name == "fake_bedrock" else "anthropic.messages")
    assert call.request.text == "Hi"
    assert call.json["anthropic_version"]


def test_what_the_sdk_accumulates_is_the_message(fake_anthropic):
    fake_anthropic.reply("Hel", "lo")
    with client_of().messages.stream(**ASKED) as stream:
        assert "".join(stream.text_stream) == "Hello"
        assert stream.get_final_message().content[0].text == "Hello"


@both
@each("status, kind", [(400, "BadRequestError"), (403, "PermissionDeniedError"), (404, "NotFoundError"), (429, "RateLimitError"),
                       (500, "InternalServerError"), (503, "ServiceUnavailableError")])  # fmt: skip
def test_an_error_before_the_answer(status, kind, asynchronous):
    for name in ("bedrock", "anthropic"):
        with intercept(FakeProvider(name).error(status, "no")):
            _, error = streamed(asynchronous=asynchronous, aws_region="us-east-1")
        assert type(error).__name__ == kind
        assert (error.status_code, error.body) == (status, {"message": "no"})


@both
@fakes
def test_an_error_in_the_stream(request, name, asynchronous):
    request.getfixturevalue(name).reply("Hel", provider_error("boom", "throttlingException"))
    events, error = streamed(asynchronous=asynchronous)
    assert text_of(events) == "Hel"
    assert isinstance(error, anthropic.APIStatusError)
    assert error.body["error"] == {"type": "throttlingException", "message": "boom"}


@both
@each("how", ["reset", "close", "end", "cut"])
def test_a_connection_that_breaks(how, asynchronous):
    for name in ("bedrock", "anthropic"):
        with intercept(FakeProvider(name).reply("Hel", disconnect(how))):
            events, error = streamed(asynchronous=asynchronous, aws_region="us-east-1")
        assert text_of(events) == "Hel"
        assert (error is None) is (how in ("end", "cut"))  # of a stream without its end the SDK says nothing


@both
def test_a_tape_is_recorded_played_cut_and_becomes_a_script(tmp_path, asynchronous, fake_anthropic):
    script = Script("Hel", ToolCall("f"), ToolCall(arguments='{"x":'), ToolCall(arguments="1}"), Usage(3, 4))
    fake_anthropic.reply(script)
    with playing(tape(tmp_path / "t.yaml")):
        events, _ = streamed(asynchronous=asynchronous)
    kept = tape(tmp_path / "t.yaml", mode="none")
    with playing(kept):
        again, error = streamed(asynchronous=asynchronous)
    assert error is None
    assert sdks.dumped(again) == sdks.dumped(events)
    assert [event for event in kept.script() if not isinstance(event, Usage)][:-1] == list(script)[:-1]
    with playing(tape(tmp_path / "t.yaml", mode="none").fail(disconnect(), after=3)):
        again, error = streamed(asynchronous=asynchronous)
    assert len(again) == 3
    assert error is not None


def test_with_both_fakes_messages_are_anthropics_and_converse_is_bedrocks(fake_bedrock, fake_anthropic):
    import boto

    fake_anthropic.reply("from Messages")
    fake_bedrock.reply("from Converse").reply("from Llama")
    assert asked().content[0].text == "from Messages"
    client = boto.client()
    assert client.converse(**boto.ASKED)["output"]["message"]["content"] == [{"text": "from Converse"}]
    llama = client.invoke_model(modelId="meta.llama3-8b-instruct-v1:0", body='{"prompt": "Hi"}')
    assert json.load(llama["body"])["generation"] == "from Llama"


def test_boto3_is_answered_by_the_other_fake(fake_anthropic):
    import boto

    fake_anthropic.reply("Hel", "lo")
    body = json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": ASKED["messages"]})
    stream = boto.client().invoke_model_with_response_stream(modelId=MODEL, body=body)["body"]
    deltas = [chunk["delta"] for chunk in boto.chunks(stream) if chunk["type"] == "content_block_delta"]
    assert [delta["text"] for delta in deltas] == ["Hel", "lo"]


@pytest.mark.fake_llm(allow_misses=True)
def test_what_is_not_claudes_is_not_anthropics(fake_anthropic):
    import boto

    with pytest.raises(UnexpectedRequestError, match="add the fixture fake_bedrock"):
        boto.client().converse(**boto.ASKED)


def test_a_gateway_is_answered_by_its_path(fake_anthropic):
    fake_anthropic.reply("Hello")
    events, error = streamed(base_url="https://gateway.example/bedrock")
    assert (text_of(events), error) == ("Hello", None)


@fakes
def test_a_request_of_the_wrong_form_gets_bedrocks_own_error(request, name):
    request.getfixturevalue(name)
    with pytest.raises(anthropic.BadRequestError) as error:
        client_of().messages.create(**ASKED, extra_body={"messages": None})
    assert error.value.body == {"message": "messages: Field required"}


def test_the_sdks_own_decoder_reads_what_is_written():
    from anthropic.lib.bedrock._stream_decoder import AWSEventStreamDecoder

    from fakellm.wire.anthropic import MessagesCodec
    from fakellm.wire.bedrock.claude import ClaudeCodec

    script = Script("Hel", ToolCall("f", "{}"), Usage(3, 2))
    ours, plain = ClaudeCodec(), MessagesCodec()
    body = {"anthropic_version": "v", **{key: value for key, value in ASKED.items() if key != "model"}}
    path = f"/model/{MODEL.replace(':', '%3A')}/invoke-with-response-stream"
    asked = ours.request(body, path=path)
    found = list(AWSEventStreamDecoder().iter_bytes(pieces(ours.encoder(asked, 1, script.usage), script)))
    events = b"".join(
        pieces(plain.encoder(plain.request({**ASKED, "model": "claude-sonnet-4-5-20250929"}), 1, script.usage), script)
    )
    usual = [sse for sse in SSEDecoder().feed(events) if sse.event != "ping"]
    assert [sse.event for sse in found] == [sse.event for sse in usual]
    assert [json.loads(sse.data) for sse in found][1:-1] == [json.loads(sse.data) for sse in usual][1:-1]
