"""boto3, asking the fake: what is peculiar to it, and where it looks for credentials."""

from __future__ import annotations

import json
import os

import boto
import corpus
import pytest
import recorded
from taping import tape
from vectors import each

from fakellm import (
    FakeProvider,
    Reasoning,
    Script,
    ToolCall,
    Usage,
    disconnect,
    http_error,
    provider_error,
    stall,
)
from fakellm.clock import InstantClock
from fakellm.errors import UnexpectedRequestError
from fakellm.http import intercept, playing
from fakellm.script.events import Native
from fakellm.server import Server
from fakellm.wire.bedrock import ConverseCodec, InvokeCodec
from fakellm.wire.bedrock.requests import BLOCKS, CONVERSE
from fakellm.wire.codec import pieces

boto3 = pytest.importorskip("boto3", reason="boto3 is in the group provider-sdks")
botocore = pytest.importorskip("botocore")

from botocore.exceptions import ClientError, EventStreamError  # noqa: E402
from urllib3.exceptions import ReadTimeoutError  # noqa: E402

ASKED = boto.ASKED
CALL = Script(ToolCall("f", '{"x":', id="f_1"), ToolCall(arguments="1}"), ToolCall("g", "{}"))
TOOLS = {"tools": [{"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}} for name in "fg"]}
LLAMA = {"modelId": "meta.llama3-8b-instruct-v1:0", "body": json.dumps({"prompt": "Hi"})}


def streamed(client=None, **fields):
    """Return the events that boto3 gives, and the error that ends them."""
    events = []
    try:
        answer = (client or boto.client()).converse_stream(**{**ASKED, **fields})
        events.extend(answer["stream"])
    except Exception as error:
        return events, error
    return events, None


def kinds(events):
    return [next(iter(event)) for event in events]


def text_of(events):
    deltas = (event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event)
    return "".join(delta.get("text", "") for delta in deltas)


# -- answers --------------------------------------------------------------------------------------------


def test_an_answer_streamed_and_whole(fake_bedrock):
    script = Script(Reasoning("hm", signature="s"), "Hel", "lo", Usage(7, 3, 2))
    fake_bedrock.reply(script).reply(script)
    client = boto.client()

    events, error = streamed(client, inferenceConfig={"maxTokens": 9})
    answer = client.converse(**ASKED)

    assert error is None
    assert kinds(events) == [
        "messageStart", "contentBlockDelta", "contentBlockDelta", "contentBlockStop", "contentBlockDelta", "contentBlockDelta",
        "contentBlockStop", "messageStop", "metadata",
    ]  # fmt: skip
    assert text_of(events) == "Hello"
    assert events[-2]["messageStop"] == {"stopReason": "end_turn"}
    usage = {"inputTokens": 5, "outputTokens": 3, "totalTokens": 10, "cacheReadInputTokens": 2}
    assert events[-1]["metadata"] == {"usage": usage, "metrics": {"latencyMs": 130}}
    assert answer["output"]["message"]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}}, {"text": "Hello"},
    ]  # fmt: skip
    assert (answer["stopReason"], answer["usage"], answer["metrics"]) == ("end_turn", usage, {"latencyMs": 130})
    assert answer["ResponseMetadata"]["RequestId"] == "00000000-0000-4000-8000-000000000002"
    assert [call.state for call in fake_bedrock.calls] == ["complete", "complete"]
    assert fake_bedrock.calls[0].request.options == {"inferenceConfig": {"maxTokens": 9}}
    assert fake_bedrock.calls[0].request.model == ASKED["modelId"]


def test_each_piece_is_there_before_a_silence(fake_bedrock):
    fake_bedrock.reply("Hel", stall())
    events, error = streamed()
    assert (text_of(events), type(error)) == ("Hel", ReadTimeoutError)
    assert fake_bedrock.clock.now == 1


def test_tool_calls_in_pieces(fake_bedrock):
    fake_bedrock.when("Hi", CALL, tools=["f", "g"])
    client = boto.client()

    events, _ = streamed(client, toolConfig=TOOLS)
    answer = client.converse(**ASKED, toolConfig=TOOLS)

    starts = [event["contentBlockStart"]["start"]["toolUse"] for event in events if "contentBlockStart" in event]
    inputs = [
        event["contentBlockDelta"]["delta"]["toolUse"]["input"] for event in events if "contentBlockDelta" in event
    ]
    assert (starts, inputs) == (
        [{"toolUseId": "f_1", "name": "f"}, {"toolUseId": "call_1", "name": "g"}],
        ['{"x":', "1}", "{}"],
    )
    called = [block["toolUse"] for block in answer["output"]["message"]["content"]]
    assert called == [{**starts[0], "input": {"x": 1}}, {**starts[1], "input": {}}]
    assert answer["stopReason"] == events[-2]["messageStop"]["stopReason"] == "tool_use"


def test_the_answer_and_the_result_of_a_tool_are_read_when_they_are_sent_back(fake_bedrock):
    fake_bedrock.reply(CALL).reply("done")
    client = boto.client()
    first = client.converse(**ASKED, toolConfig=TOOLS)["output"]["message"]
    result = {"role": "user", "content": [{"toolResult": {"toolUseId": "f_1", "content": [{"json": {"n": 42}}]}}]}
    client.converse(**{**ASKED, "messages": [*ASKED["messages"], first, result]}, toolConfig=TOOLS)
    _, assistant, tool = fake_bedrock.calls[1].request.messages
    assert (assistant.tool_calls[0].name, tool.content, tool.tool_call_id) == ("f", '{"n":42}', "f_1")


def test_the_bodies_of_models(fake_bedrock):
    fake_bedrock.reply("Hel", "lo").reply("Hel", "lo")
    client = boto.client()
    streamed = list(boto.chunks(client.invoke_model_with_response_stream(**LLAMA)["body"]))
    answer = client.invoke_model(**LLAMA)
    assert [chunk["generation"] for chunk in streamed] == ["Hel", "lo"]
    assert json.load(answer["body"])["generation"] == "Hello"
    assert answer["contentType"] == "application/json"


def test_embeddings_and_models_are_answered_by_themselves(fake_bedrock):
    asked = {"modelId": "amazon.titan-embed-text-v2:0", "body": json.dumps({"inputText": "a cat"})}
    assert len(json.load(boto.client().invoke_model(**asked)["body"])["embedding"]) == 1024
    bedrock, model = boto.client(), ASKED["modelId"]
    for given in ({"converse": {"messages": ASKED["messages"]}}, {"invokeModel": {"body": LLAMA["body"]}}):
        assert bedrock.count_tokens(modelId=model, input=given)["inputTokens"] == 1
    with pytest.raises(ClientError, match="the body is no JSON"):
        bedrock.count_tokens(modelId=model, input={"invokeModel": {"body": b"{"}})
    control = boto.client("bedrock")
    found = control.list_foundation_models(byProvider="anthropic", byOutputModality="TEXT")["modelSummaries"]
    assert [model["providerName"] for model in found] == ["Anthropic"]
    assert control.list_foundation_models(byCustomizationType="FINE_TUNING")["modelSummaries"] == []
    assert control.get_foundation_model(modelIdentifier="meta.later")["modelDetails"]["modelId"] == "meta.later"
    assert control.list_inference_profiles()["inferenceProfileSummaries"][0]["type"] == "SYSTEM_DEFINED"


def test_the_server_is_asked_by_its_url():
    provider = FakeProvider("bedrock").otherwise("Hel", "lo")
    with Server([provider], clock=InstantClock()) as server:
        client = boto.session().client("bedrock-runtime", endpoint_url=server.base_url("bedrock"))
        events, error = streamed(client)
        client.close()
    assert (text_of(events), error) == ("Hello", None)
    assert [call.state for call in provider.calls] == ["complete"]


# -- errors ------------------------------------------------------------------------------------------------


@each(
    "status, kind, name",
    [(400, None, "ValidationException"), (403, None, "AccessDeniedException"), (404, None, "ResourceNotFoundException"),
     (408, None, "ModelTimeoutException"), (424, None, "ModelErrorException"), (429, None, "ThrottlingException"),
     (429, "ModelNotReadyException", "ModelNotReadyException"), (500, None, "InternalServerException"),
     (503, None, "ServiceUnavailableException")],
)  # fmt: skip
def test_an_error_before_the_answer(status, kind, name):
    client = boto.client()
    with intercept(FakeProvider("bedrock").otherwise(http_error(status, "no", kind=kind))):
        _, error = streamed(client)

    assert type(error) is getattr(client.exceptions, name)
    assert error.response["Error"] == {"Message": "no", "Code": name}
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert error.response["message"] == "no"


def test_the_names_of_errors_are_those_of_the_service_model():
    model = boto.client().meta.service_model
    known = {shape.name: shape.metadata["error"]["httpStatusCode"] for shape in model.error_shapes}
    for name, status in known.items():
        if name not in (
            "ServiceQuotaExceededException",
            "ModelNotReadyException",
            "ModelStreamErrorException",
            "ConflictException",
        ):
            headers, _ = ConverseCodec().error(http_error(status), 1)
            assert dict(headers)["x-amzn-ErrorType"].startswith(name)


def test_a_request_of_the_wrong_form_gets_bedrocks_own_error(fake_bedrock):
    for fields, message in (
        ({"messages": []}, "A conversation must start with a user message."),
        ({"messages": [{"role": "user", "content": [{"text": " "}]}]}, "The text field in the ContentBlock object"),
        ({"modelId": "no model"}, "The provided model identifier is invalid."),
    ):
        _, error = streamed(**fields)
        assert error.response["Error"]["Code"] == "ValidationException"
        assert message in error.response["Error"]["Message"]
    with pytest.raises(ClientError, match=r"SerializationException.*STRING_VALUE cannot be converted to Integer"):
        boto.client(parameter_validation=False).converse(**{**ASKED, "inferenceConfig": {"maxTokens": "x"}})
    with pytest.raises(ClientError, match=r"ValidationException.*required key \[prompt\] not found"):
        boto.client().invoke_model(modelId=LLAMA["modelId"], body="{}")


@each(
    "kind, name",
    [
        ("server_error", "internalServerException"),
        ("throttlingException", "throttlingException"),
        ("x", "modelStreamErrorException"),
    ],
)
def test_an_error_in_the_stream(kind, name):
    client = boto.client()
    with intercept(FakeProvider("bedrock").otherwise("Hel", provider_error("boom", kind))):
        events, error = streamed(client)
        assert text_of(events) == "Hel"
        assert type(error) is EventStreamError
        assert error.response["Error"] == {"Code": name, "Message": "boom"}
        with pytest.raises(ClientError) as whole:
            client.converse(**ASKED)
        assert whole.value.response["Error"]["Message"] == "boom"
    with intercept(FakeProvider("bedrock").otherwise("Hel", provider_error("boom", "code", named=True))):
        _, error = streamed(client)
        assert error.response["Error"] == {"Code": "code", "Message": "boom"}


# -- tapes --------------------------------------------------------------------------------------------------


def test_a_tape_ends_in_the_middle_of_a_frame(tmp_path):
    path = tmp_path / "t.yaml"
    client = boto.client()
    with intercept(FakeProvider("bedrock").reply("Hel", "lo")), playing(tape(path)):
        streamed(client)
    with playing(tape(path, mode="none").fail(disconnect("cut"), after=3)):
        events, error = streamed(client)
    assert (len(events), type(error)) == (3, type(None))


# -- recordings -----------------------------------------------------------------------------------------


@corpus.needs_corpus
@each(
    "row, found",
    [
        (row, found)
        for row, found in recorded.streams()
        if found["api"] in ("bedrock.converse-stream", "bedrock.invoke-stream")
    ],
)
def test_boto3_reads_the_same_from_a_recording_and_from_what_is_written_again(row, found):
    invokes = "invoke" in found["api"]
    body = recorded.body(row, found)
    if invokes:
        sent = corpus.cassette(row["file"])["interactions"][found["idx"]]["request"]
        codec = InvokeCodec()
        asked = codec.request(json.loads(sent["body"]), path=sent["uri"].partition(".com")[2])
    else:
        codec = ConverseCodec()
        asked = codec.request({"messages": ASKED["messages"]}, path="/model/m/converse-stream")
    script = codec.decode(body)
    again = b"".join(pieces(codec.encoder(asked, 1, script.usage), script))

    events, error = boto.read(body, invokes=invokes)
    assert error is None
    assert comparable(boto.read(again, invokes=invokes)[0]) == comparable(events)


def comparable(events):
    """Return the events without what a message of Claude begins with, and without nulls."""
    for event in events:
        if event.get("type") == "message_start":
            del event["message"]["id"], event["message"]["usage"]["output_tokens"]
        if event.get("type") == "message_delta":
            event["usage"].pop("input_tokens", None)
    return without_nulls(events)


def without_nulls(value):
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


# -- the service model -----------------------------------------------------------------------------------


def test_every_field_that_boto3_can_send_is_known():
    model = boto.client().meta.service_model
    sent = (
        model.operation_model("ConverseStream").input_shape.members.keys()
        | model.operation_model("Converse").input_shape.members
    )
    assert sent - {"modelId"} == CONVERSE.keys()
    assert model.shape_for("ContentBlock").members.keys() == BLOCKS.keys()


def made(shape, depth=0):
    """Return a value of a shape of the service model, with every member that it can have, one of a union."""
    if shape.type_name == "structure":
        if getattr(shape, "is_document_type", False):
            return {"a": 1}
        members = list(shape.members.items())
        return {name: made(member, depth + 1) for name, member in (members[:1] if shape.is_tagged_union else members)}
    if shape.type_name == "list":
        return [made(shape.member, depth + 1)]
    if shape.type_name == "map":
        return {"k": made(shape.value, depth + 1)}
    enum = getattr(shape, "enum", None)
    return {"integer": 1, "long": 1, "float": 1.5, "double": 1.5, "boolean": True, "blob": "AAA="}.get(
        shape.type_name, enum[0] if enum else "t"
    )


def sent_of(model):
    """Return an event for each member of each union that a stream can hold, by the service model."""
    output = model.shape_for("ConverseStreamOutput")
    blocks = []
    for name in model.shape_for("ContentBlockStart").members:
        start = {name: made(model.shape_for("ContentBlockStart").members[name])}
        blocks.append([("contentBlockStart", {"start": start})])
    for name, shape in model.shape_for("ContentBlockDelta").members.items():
        options = shape.members if name == "reasoningContent" else [None]
        blocks += [
            [("contentBlockDelta", {"delta": {name: made(shape) if one is None else {one: made(shape.members[one])}}})]
            for one in options
        ]
    head, tail = (
        ("messageStart", {"role": "assistant"}),
        [(kind, made(output.members[kind])) for kind in ("messageStop", "metadata")],
    )
    return head, blocks, tail


def test_every_event_of_the_service_model_is_read_and_written_again():
    from fakellm.wire.bedrock.frames import event_frame

    head, blocks, tail = sent_of(boto.client().meta.service_model)
    events = [head]
    for index, block in enumerate(blocks):
        events += [(kind, {**fields, "contentBlockIndex": index}) for kind, fields in block]
        events.append(("contentBlockStop", {"contentBlockIndex": index}))
    body = b"".join(event_frame(kind, fields) for kind, fields in [*events, *tail])
    codec = ConverseCodec()
    script = codec.decode(body)
    asked = codec.request({"messages": ASKED["messages"]}, path="/model/m/converse-stream")
    again = b"".join(pieces(codec.encoder(asked, 1, script.usage), script))

    assert boto.read(again) == boto.read(body)
    assert boto.read(body)[1] is None
    assert codec.decode(again) == script


# -- credentials ------------------------------------------------------------------------------------------


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """Give the environment nothing of AWS."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    return tmp_path / "none"


def test_a_client_that_finds_nothing_is_answered(nowhere, request):
    fake = request.getfixturevalue("fake_bedrock")
    fake.reply("Hello")
    events, error = streamed(boto.client(made=boto3.Session()))
    assert (text_of(events), error) == ("Hello", None)
    assert (
        "Credential=fake-key-of-fakellm/"
        in {name.lower(): value for name, value in fake.calls[0].headers.items()}["authorization"]
    )


def test_the_environment_is_what_it_was_afterwards(nowhere):
    before = dict(os.environ)
    for name in ("bedrock", "anthropic"):
        with intercept(FakeProvider(name)):
            assert os.environ["AWS_EC2_METADATA_DISABLED"] == "true"
            assert os.environ["AWS_DEFAULT_REGION"] == "us-east-1"
        assert dict(os.environ) == before


def test_keys_that_are_there_stay(nowhere, monkeypatch, request):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "own")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    fake = request.getfixturevalue("fake_bedrock")
    fake.reply("Hello")
    streamed(boto.client(made=boto3.Session()))
    assert "eu-west-1" in fake.calls[0].url
    assert "Credential=own/" in {name.lower(): value for name, value in fake.calls[0].headers.items()}["authorization"]


@pytest.mark.fake_llm(allow_misses=True)
def test_nobody_else_is_asked_for_credentials(nowhere, request):
    nowhere.write_text(
        "[profile role]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = base\n[profile base]\n"
        "aws_access_key_id = a\naws_secret_access_key = b\n"
    )
    request.getfixturevalue("fake_bedrock")
    with pytest.raises(UnexpectedRequestError, match="is asked for credentials, and a fake needs none"):
        boto.client(made=boto3.Session(profile_name="role")).converse(**ASKED)


# -- what only Bedrock has -----------------------------------------------------------------------------------


def test_natives_are_what_boto3_reads(fake_bedrock):
    citation = {"title": "Rain", "location": {"web": {"url": "https://example.org/"}}}
    fake_bedrock.otherwise(
        "It rains.", Native("bedrock.converse", {"contentBlockDelta": {"delta": {"citation": citation}}})
    )
    client = boto.client()
    events, _ = streamed(client)
    assert events[2]["contentBlockDelta"]["delta"]["citation"] == citation
    (block,) = client.converse(**ASKED)["output"]["message"]["content"]
    assert block["citationsContent"]["citations"] == [citation]
