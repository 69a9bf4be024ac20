"""Azure's own SDKs: azure-ai-inference over requests and aiohttp, and the credentials that azure-identity looks up."""

from __future__ import annotations

import contextlib
import os

import pytest
import sdks
from vectors import first_of

from fakellm import FakeProvider, Script, ToolCall, disconnect, provider_error
from fakellm.contracts import check_stream, every_fault
from fakellm.http import intercept

inference = pytest.importorskip("azure.ai.inference", reason="azure-ai-inference is in the group provider-sdks")
identity = pytest.importorskip("azure.identity", reason="azure-identity is in the group provider-sdks")
exceptions = pytest.importorskip("azure.core.exceptions")
keys = pytest.importorskip("azure.core.credentials")

ASKED = {"messages": [{"role": "user", "content": "Hi"}]}
MODELS = "https://unit.services.ai.azure.com/models"
DEPLOYMENT = "https://unit.openai.azure.com/openai/deployments/gpt-4o"
SCOPE = "https://cognitiveservices.azure.com/.default"
both = pytest.mark.parametrize("asynchronous", first_of([False, True]), ids=["sync", "async"])


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("AZURE_", "OPENAI_", "IDENTITY_", "MSI_")):
            monkeypatch.delenv(name)


def asked(endpoint=MODELS, *, asynchronous=False, credential="key", stream=False, **fields):
    """Return what the SDK gives: the updates of a stream and the error that ends it, or the document."""
    options = {"retry_total": 0, **({} if credential == "key" else {"credential_scopes": [SCOPE]})}
    updates = []

    async def main():
        from azure.ai.inference.aio import ChatCompletionsClient
        from azure.identity.aio import DefaultAzureCredential

        given = keys.AzureKeyCredential("none") if credential == "key" else DefaultAzureCredential()
        async with ChatCompletionsClient(endpoint, given, **options) as client:
            answer = await client.complete(stream=stream, **ASKED, **fields)
            if stream:
                async with contextlib.aclosing(answer):  # which leaves its connection open where that breaks
                    async for update in answer:
                        updates.append(update)
        if credential != "key":
            await given.close()
        return answer

    try:
        if asynchronous:
            document = sdks.run(main())
        else:
            given = keys.AzureKeyCredential("none") if credential == "key" else identity.DefaultAzureCredential()
            with inference.ChatCompletionsClient(endpoint, given, **options) as client:
                document = client.complete(stream=stream, **ASKED, **fields)
                updates.extend(document if stream else ())
    except Exception as error:
        return updates, error
    return (updates, None) if stream else document


@both
def test_streams_and_documents_with_a_tool_call_in_pieces(asynchronous):
    provider = FakeProvider("openai").reply("It rains.", ToolCall("f", {"a": 1}))
    provider.reply("It ", "rains.", ToolCall("f"), ToolCall(arguments='{"a": '), ToolCall(arguments="1}"))
    with intercept(provider, block_network=True):
        document = asked(asynchronous=asynchronous, model="gpt-4o")
        updates, error = asked(DEPLOYMENT, asynchronous=asynchronous, stream=True)
    assert document.choices[0].message.content == "It rains."
    assert document.choices[0].message.tool_calls[0].function.arguments == '{"a": 1}'
    assert document.model == "gpt-4o"
    assert error is None
    deltas = [update.choices[0].delta for update in updates if update.choices]
    assert "".join(delta.content or "" for delta in deltas) == "It rains."
    calls = [call.function.arguments for delta in deltas for call in delta.tool_calls or ()]
    assert calls == ["", '{"a": ', "1}"]
    assert updates[-1].model == "gpt-4o"  # the deployment, which the URL names and the body does not


@both
def test_credentials_that_are_looked_up(asynchronous):
    provider = FakeProvider("openai").otherwise("a")
    with intercept(provider, block_network=True):
        answer = asked(asynchronous=asynchronous, credential="default", model="m")
    assert answer.choices[0].message.content == "a"
    (call,) = provider.calls  # who gives the token is no call of the app's
    sent = {name.lower(): value for name, value in call.headers.items()}
    assert sent["authorization"].startswith("Bearer ")


def test_a_token_for_the_sdk_of_openai():
    import openai

    with intercept(FakeProvider("openai").otherwise("a"), block_network=True):
        tokens = identity.get_bearer_token_provider(identity.DefaultAzureCredential(), SCOPE)
        client = openai.AzureOpenAI(
            azure_endpoint="https://unit.openai.azure.com", api_version="1", azure_ad_token_provider=tokens
        )
        assert client.chat.completions.create(model="m", **ASKED).choices[0].message.content == "a"


@both
def test_errors_before_an_answer_and_in_it_and_a_drop(asynchronous):
    provider = FakeProvider("openai").error(400, code="content_filter").error(429, "No.")
    provider.reply("a", provider_error("busy")).reply("a", "b", disconnect())
    with intercept(provider):
        _, filtered = asked(asynchronous=asynchronous, stream=True)
        _, limited = asked(asynchronous=asynchronous, stream=True)
        some, inside = asked(asynchronous=asynchronous, stream=True)
        updates, broken = asked(asynchronous=asynchronous, stream=True)
    assert isinstance(filtered, exceptions.HttpResponseError)
    assert (filtered.status_code, filtered.error.code) == (400, "content_filter")
    assert (limited.status_code, limited.error.code, limited.error.message) == (429, "429", "No.")
    assert [update.choices[0].delta.content for update in some if update.choices][1:2] == ["a"]
    assert inside is None  # the SDK passes over data without choices, and ends: the app has to look for the finish
    assert not any(choice.finish_reason for update in some for choice in update.choices)
    assert [update.choices[0].delta.content for update in updates if update.choices] == ["", "a", "b"]
    assert isinstance(broken, exceptions.AzureError)


def test_its_small_endpoints():
    given = keys.AzureKeyCredential("none")
    with intercept(FakeProvider("openai"), block_network=True):
        with inference.ChatCompletionsClient(DEPLOYMENT, given) as client:
            assert client.get_model_info().model_name == "gpt-4o"
        with inference.EmbeddingsClient(MODELS, given) as client:
            assert len(client.embed(input=["a", "b"], model="text-embedding-3-small").data) == 2


class Careful:
    """An app that wants a whole answer."""

    def stream(self, input):
        with inference.ChatCompletionsClient(MODELS, keys.AzureKeyCredential("none"), retry_total=0) as client:
            for update in client.complete(stream=True, **ASKED):
                for choice in update.choices or ():
                    yield choice.delta.content or ""
                    if choice.finish_reason:
                        return
        raise ConnectionError("the answer is not complete")


@pytest.mark.exhaustive
def test_the_contracts_of_a_stream_are_checked():
    report = check_stream(Careful, api="openai", contracts=["truncation", "in_band_error"])
    assert not report.failed, str(report)


@pytest.mark.exhaustive
@every_fault(Script.of("A long answer"))
def test_every_fault_reaches_a_careful_app(fake_openai, faulty):
    fake_openai.otherwise(faulty)
    with pytest.raises((ConnectionError, exceptions.AzureError, ValueError)):
        list(Careful().stream("Hi"))
