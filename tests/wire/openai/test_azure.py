"""OpenAI's models on Azure: asked by the SDK's own clients for it, and by that of the v1 path."""

from __future__ import annotations

import json
import os

import openai
import pytest
import sdks
from taping import stored, tape
from vectors import each, first_of

from fakellm import FakeProvider, Finish, Script, ToolCall, disconnect, provider_error
from fakellm.contracts import check_stream, check_wire, every_fault
from fakellm.http import intercept, playing
from fakellm.wire.openai import PROFILES, ChatCodec

ENDPOINT, VERSION = "https://unit.openai.azure.com", "2024-12-01-preview"
ASKED = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
both = pytest.mark.parametrize("asynchronous", first_of([False, True]), ids=["sync", "async"])
CLIENTS = {
    "deployments": lambda kind: kind("Azure")(azure_endpoint=ENDPOINT, api_version=VERSION, max_retries=0),
    "token provider": lambda kind: kind("Azure")(
        azure_endpoint=ENDPOINT, api_version=VERSION, azure_ad_token_provider=lambda: "token", max_retries=0
    ),
    "token": lambda kind: kind("Azure")(
        azure_endpoint=ENDPOINT, api_version=VERSION, azure_ad_token="token", max_retries=0
    ),
    "v1": lambda kind: kind("")(base_url=f"{ENDPOINT}/openai/v1/", max_retries=0),
    "foundry": lambda kind: kind("")(base_url="https://unit.services.ai.azure.com/openai/v1/", max_retries=0),
    "cognitive services": lambda kind: kind("Azure")(
        azure_endpoint="https://unit.cognitiveservices.azure.com", api_version=VERSION, max_retries=0
    ),
}


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("AZURE_", "OPENAI_")):
            monkeypatch.delenv(name)


def client_of(name, *, asynchronous=False):
    return CLIENTS[name](lambda cloud: getattr(openai, f"{'Async' if asynchronous else ''}{cloud}OpenAI"))


def asked(name="deployments", *, asynchronous=False, api="chat.completions", **fields):
    """Return what the SDK gives: the items of a stream and the error that ends it, or the document."""

    def of(client):
        found = client
        for step in api.split("."):
            found = getattr(found, step)
        return found.create

    items = []

    async def main():
        answer = await of(client_of(name, asynchronous=True))(**fields)
        if not fields.get("stream"):
            return answer
        async for item in answer:
            items.append(item)
        return None

    try:
        if asynchronous:
            document = sdks.run(main())
        else:
            document = of(client_of(name))(**fields)
            if fields.get("stream"):
                items.extend(document)
    except Exception as error:
        return items, error
    return (items, None) if fields.get("stream") else document


@both
@each("name", CLIENTS)
def test_each_of_its_clients_is_answered_in_its_habits(asynchronous, name):
    provider = FakeProvider("openai").reply("It ", "rains.", ToolCall("f", {"a": 1})).reply("It rains.")
    with intercept(provider):
        chunks, error = asked(name, asynchronous=asynchronous, stream=True, **ASKED)
        document = asked(name, asynchronous=asynchronous, **ASKED)
    assert error is None
    first, *rest = (chunk.model_dump(exclude_unset=True, warnings=False) for chunk in chunks)
    assert (first["choices"], first["id"], first["model"], first["created"]) == ([], "", "", 0)
    assert first["prompt_filter_results"][0]["content_filter_results"]["hate"] == {
        "filtered": False,
        "severity": "safe",
    }
    found = [chunk["choices"][0] for chunk in rest]
    assert [bool(choice["content_filter_results"]) for choice in found] == [
        bool(choice["delta"].get("content")) for choice in found
    ]
    assert "".join(choice["delta"].get("content") or "" for choice in found) == "It rains."
    pieces = [piece for choice in found for piece in choice["delta"].get("tool_calls", ())]
    assert "".join(piece["function"]["arguments"] for piece in pieces) == '{"a": 1}'
    assert len({chunk["created"] for chunk in rest}) == 1
    assert document.prompt_filter_results[0]["prompt_index"] == 0
    assert document.choices[0].content_filter_results["violence"]["severity"] == "safe"
    assert document.model == "gpt-4o"


@both
def test_responses_too(asynchronous):
    for name in CLIENTS:
        with intercept(FakeProvider("openai").reply("It ", "rains.")):
            events, error = asked(name, asynchronous=asynchronous, api="responses", model="m", input="i", stream=True)
        assert error is None
        assert events[-1].response.output_text == "It rains."
        assert events[-1].response.content_filters is None


def test_it_can_be_asked_in_other_habits_and_others_are_not_asked_in_its():
    with intercept(FakeProvider("openai", profile="openai").otherwise("a")):
        assert not hasattr(asked(**ASKED), "prompt_filter_results")
    with intercept(FakeProvider("openai").otherwise("a")):
        assert not hasattr(openai.OpenAI().chat.completions.create(**ASKED), "prompt_filter_results")


def test_a_prompt_that_is_filtered():
    provider = FakeProvider("openai").error(400, code="content_filter")
    provider.error(400, "No.", code="content_filter", kind="jailbreak")
    with intercept(provider):
        _, first = asked(**ASKED)
    with intercept(provider):
        _, second = asked(stream=True, **ASKED)
    assert isinstance(first, openai.BadRequestError)
    assert (first.code, first.param, first.type, first.body["status"]) == ("content_filter", "prompt", None, 400)
    assert first.body["message"].startswith("The response was filtered due to the prompt triggering Azure OpenAI's")
    inner = first.body["innererror"]
    assert inner["code"] == "ResponsibleAIPolicyViolation"
    assert inner["content_filter_result"]["hate"] == {"filtered": True, "severity": "high"}
    assert second.body["message"] == "No."
    assert second.body["innererror"]["content_filter_result"]["jailbreak"] == {"filtered": True, "detected": True}


def test_an_answer_that_is_filtered():
    found = {"content_filter_results": {"hate": {"filtered": True, "severity": "high"}}}
    with intercept(FakeProvider("openai").otherwise("It ", Finish("content_filter", extra=found))):
        chunks, _ = asked(stream=True, **ASKED)
        document = asked(**ASKED)
    last = chunks[-1].choices[0]
    assert (last.finish_reason, last.content_filter_results["hate"]["severity"]) == ("content_filter", "high")
    assert document.choices[0].content_filter_results == found["content_filter_results"]


@each(
    ("status", "kind", "code"),
    [(401, openai.AuthenticationError, "401"), (404, openai.NotFoundError, "DeploymentNotFound"),
     (429, openai.RateLimitError, "429"), (500, openai.InternalServerError, None)],
)  # fmt: skip
def test_errors_before_an_answer(status, kind, code):
    with intercept(FakeProvider("openai").error(status, "No.", retry_after=7)):
        _, error = asked(stream=True, **ASKED)
    assert isinstance(error, kind)
    assert (error.code, error.body["message"], error.response.headers["retry-after"]) == (code, "No.", "7")


@both
def test_errors_in_a_stream_and_drops(asynchronous):
    provider = FakeProvider("openai").reply("a", provider_error("overloaded")).reply("a", "b", disconnect())
    with intercept(provider):
        _, first = asked(asynchronous=asynchronous, stream=True, **ASKED)
        chunks, second = asked(asynchronous=asynchronous, stream=True, **ASKED)
    assert isinstance(first, openai.APIError)
    assert "overloaded" in str(first)
    assert len(chunks) == 4  # what the prompt was found to be, the role, and two pieces
    assert second is not None


def test_a_request_that_names_no_model_names_the_deployment():
    codec, body = ChatCodec(PROFILES["azure"]), {"messages": []}
    assert codec.request(body, path="/openai/deployments/my%2Done/chat/completions?api-version=1").model == "my-one"
    assert codec.request(body, path="/models/chat/completions").model == "default"


def test_what_it_writes_is_read_back_and_keeps_to_its_grammar():
    http = sdks.http_of("openai")
    script = Script("a", "b", ToolCall("f"), ToolCall(arguments="{}"), Finish("tool_calls"))
    with intercept(FakeProvider("openai").reply(script)):
        url = f"{ENDPOINT}/openai/deployments/d/chat/completions?api-version={VERSION}"
        body = http.post(url, json={**ASKED, "stream": True}).content
    check_wire(body, api="openai_chat", profile="azure").verify()
    assert ChatCodec().decode(body) == script
    assert json.loads(body.split(b"\n\n")[0].removeprefix(b"data: "))["prompt_filter_results"]


def test_its_keys_are_there_and_the_module_stays_a_client_of_openai(monkeypatch):
    monkeypatch.setattr(openai, "api_type", None)
    monkeypatch.setattr(openai, "_client", None)
    with intercept(FakeProvider("openai").reply("a")):
        assert (
            openai.AzureOpenAI(azure_endpoint=ENDPOINT, api_version=VERSION).api_key
            == os.environ["AZURE_OPENAI_API_KEY"]
        )
        assert openai.chat.completions.create(**ASKED).choices[0].message.content == "a"
    assert openai.api_type is None
    assert not [name for name in os.environ if name.startswith(("AZURE_", "OPENAI_"))]
    monkeypatch.setattr(openai, "_client", None)
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", ENDPOINT)
    monkeypatch.setenv("OPENAI_API_VERSION", VERSION)
    with intercept(FakeProvider("openai").reply("a")):
        answer = openai.chat.completions.create(**ASKED)
    assert answer.choices[0].content_filter_results


@both
@pytest.mark.parametrize("fault", first_of([((),), ((disconnect(),),)]), ids=["whole", "dropped"])
def test_a_tape_is_recorded_and_played_and_is_a_script(tmp_path, monkeypatch, asynchronous, fault):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "none")
    call = ToolCall("f", id="x"), ToolCall(arguments='{"a": ', index=0), ToolCall(arguments="1}", index=0)
    script = Script("It ", "rains.", *call, *(fault or (Finish("tool_calls"),)))
    with intercept(FakeProvider("openai").reply(script)), playing(tape(tmp_path / "t.yaml")):
        chunks, error = asked(asynchronous=asynchronous, stream=True, **ASKED)
    kept = tape(tmp_path / "t.yaml", mode="none")
    with playing(kept):
        again, later = asked(asynchronous=asynchronous, stream=True, **ASKED)
    assert sdks.dumped(again) == sdks.dumped(chunks)
    assert type(later) is type(error)
    assert list(kept.script())[: len(script) - 1] == list(script)[:-1]
    assert stored(tmp_path / "t.yaml")[0]["response"]["stream"]["end"] == ("dropped" if fault else "complete")


class Careful:
    """An app that wants a whole answer."""

    def stream(self, input):
        for chunk in client_of("deployments").chat.completions.create(stream=True, **ASKED):
            for choice in chunk.choices:
                yield choice.delta.content or ""
                if choice.finish_reason:
                    return
        msg = "the answer is not complete"
        raise ConnectionError(msg)


@pytest.mark.exhaustive
def test_the_contracts_of_a_stream_are_checked():
    report = check_stream(Careful, api="openai", contracts=["truncation", "in_band_error"])
    assert not report.failed, str(report)


@pytest.mark.exhaustive
@every_fault(Script.of("A long answer"))
def test_every_fault_reaches_a_careful_app(fake_openai, faulty):
    fake_openai.reply(faulty)
    with pytest.raises((openai.OpenAIError, sdks.http_of("openai").HTTPError, ConnectionError, ValueError)):
        list(Careful().stream("Hi"))
    assert len(fake_openai.calls) == 1
