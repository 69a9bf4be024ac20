"""Endpoints beside those of the table: the test's own documents, other mocks, and the same APIs at other services."""

from __future__ import annotations

import copy
import json
import pickle

import aiohttp
import anthropic
import httpx
import httpx2
import openai
import pytest
import respx
import sdks
from vectors import each

from fakellm import FakeProvider, disconnect, http_error, provider_error, stall
from fakellm.errors import BrokenReplyError, ScriptError, UnexpectedRequestError
from fakellm.http import Interception, intercept, mount, transport

HI = [{"role": "user", "content": "hi"}]
MODERATION = {"id": "modr-1", "model": "m", "results": []}
FILE = {
    "id": "file-1",
    "object": "file",
    "bytes": 3,
    "created_at": 0,
    "filename": "a",
    "purpose": "batch",
    "status": "x",
}
flavours = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


def client(**options):
    return openai.OpenAI(api_key="none", max_retries=0, **options)


# -- documents of the test -----------------------------------------------------------------------------------


def test_a_document_answers_an_endpoint_as_often_as_it_is_asked():
    provider = FakeProvider().document("post", "/v1/moderations", MODERATION)
    with intercept(provider):
        assert [client().moderations.create(input="hi").id for _ in range(2)] == ["modr-1", "modr-1"]
    assert [(call.api, call.json["input"], call.state) for call in provider.calls] == [
        ("openai.document", "hi", "complete")
    ] * 2
    provider.verify()
    FakeProvider().document("GET", "/v1/files", {}).verify()  # one that nobody asks for may stay


def test_functions_texts_bytes_and_paths_with_segments():
    provider = FakeProvider()
    provider.document("POST", "/v1/files", lambda body: {**FILE, "bytes": len(body)}, headers={"x-mine": "1"})
    provider.document("GET", "/v1/files/{id}", lambda asked, path: {**FILE, "id": path.rpartition("/")[2]})
    provider.document("GET", "/v1/files/{id}/content", "one\ntwo")
    provider.document("DELETE", "/v1/files/{id}", {"id": "file-1", "object": "file", "deleted": True}, status=202)
    provider.document("POST", "/v1/audio/speech", b"\x00\xff")
    with intercept(provider):
        files = client().files
        assert files.create(file=("a", b"abc"), purpose="batch").bytes > 3  # a form, as bytes
        assert files.retrieve("file-7").id == "file-7"
        assert files.content("file-7").text == "one\ntwo"
        assert files.with_raw_response.delete("file-1").status_code == 202
        assert client().audio.speech.create(model="m", voice="v", input="hi").read() == b"\x00\xff"
    assert provider.calls[0].json is None


@flavours
def test_it_is_found_by_every_library(asynchronous):
    provider = FakeProvider("anthropic").document("GET", "/v1/messages/batches", {"data": []})
    url = "https://api.anthropic.com/v1/messages/batches"

    async def ask():
        async with httpx.AsyncClient() as one, aiohttp.ClientSession() as other, other.get(url) as answer:
            return (await one.get(url)).json(), await answer.json()

    with intercept(provider):
        found = sdks.run(ask()) if asynchronous else (httpx.get(url).json(), httpx2.get(url).json())
    assert found == ({"data": []}, {"data": []})
    plain = httpx.Client(transport=transport(provider, httpx))
    assert plain.get(url).json() == {"data": []}


def test_it_comes_before_what_is_answered_anyway_and_the_latest_before_others():
    provider = FakeProvider("gemini").document("GET", "/v1beta/models", {"models": []}).reply("ok")
    provider.document("GET", "/v1beta/models", {"models": [{"name": "mine"}]})
    host = "https://generativelanguage.googleapis.com"
    with intercept(provider):
        assert httpx2.get(f"{host}/v1beta/models?pageSize=5").json() == {"models": [{"name": "mine"}]}
        assert httpx2.get(f"{host}/v1beta/models/x").json()["name"] == "models/x"


def test_a_gateway_is_answered_by_the_path_and_this_machine_only_if_that_is_said():
    provider = FakeProvider().document("POST", "/v1/moderations", MODERATION)
    assert provider.claims("POST", "https://proxy.example/openai/v1/moderations")
    assert not provider.claims("GET", "https://proxy.example/openai/v1/moderations")
    assert not provider.claims("POST", "http://localhost:1/v1/moderations")
    provider.hosts = ("localhost:1",)
    assert provider.claims("POST", "http://localhost:1/v1/moderations")


def test_a_document_may_fail_in_the_providers_words():
    provider = FakeProvider().document("POST", "/v1/moderations", http_error(429, retry_after=3))
    provider.document("GET", "/v1/files", lambda _: http_error(404, "no such file")).document(
        "GET", "/v1/batches", disconnect("refused")
    )
    provider.document("GET", "/v1/batches/{id}", stall())
    with intercept(provider):
        with pytest.raises(openai.RateLimitError) as error:
            client().moderations.create(input="hi")
        assert error.value.response.headers["retry-after"] == "3"
        with pytest.raises(openai.NotFoundError, match="no such file"):
            client().files.list()
        with pytest.raises(httpx2.ConnectError):
            httpx2.get("https://api.openai.com/v1/batches")
        with pytest.raises(httpx2.ReadTimeout):
            httpx2.get("https://api.openai.com/v1/batches/1", timeout=5)
    assert provider.clock.now == 5


def test_a_bug_in_its_function_is_told():
    provider = FakeProvider().document("POST", "/v1/moderations", lambda asked: asked["inptu"])
    with intercept(provider), pytest.raises(BrokenReplyError, match="KeyError: 'inptu'"):
        client().moderations.create(input="hi")
    provider = FakeProvider().document("POST", "/v1/moderations", lambda _: {1, 2})
    with intercept(provider), pytest.raises(BrokenReplyError, match="a document is JSON, text, bytes, or a function"):
        client().moderations.create(input="hi")


def test_a_copy_has_the_documents_and_its_own_later_ones():
    provider = FakeProvider().document("GET", "/v1/a", {})
    for other in (copy.copy(provider), copy.deepcopy(provider), pickle.loads(pickle.dumps(provider))):
        other.document("GET", "/v1/b", {})
        assert repr(other) == "FakeProvider('openai').document('GET', '/v1/a', {}).document('GET', '/v1/b', {})"
    assert not provider.knows("GET", "https://api.openai.com/v1/b")


@each(
    ("arguments", "kind", "message"),
    [
        (("FETCH", "/v1/a", {}), ScriptError, "method is one of GET, POST"),
        (("GET", "v1/a", {}), ScriptError, "path is that of a URL, such as '/v1/moderations'"),
        (("GET", "https://api.openai.com/v1/a", {}), ScriptError, "without host and query"),
        (("GET", "/v1/a?b=c", {}), ScriptError, "without host and query"),
        (("GET", "/v1/a", {1, 2}), TypeError, "a document is JSON, text, bytes, or a function"),
        (("GET", "/v1/a", provider_error()), TypeError, "a document fails by http_error, disconnect or stall"),
        (("GET", "/v1/a", sdks.collect), TypeError, "made by a plain function"),
        (("GET", "/v1/a", dict), TypeError, "made by a plain function"),
    ],
)
def test_bad_use_of_a_document_is_refused(arguments, kind, message):
    with pytest.raises(kind, match=message):
        FakeProvider().document(*arguments)


# -- other mocks ---------------------------------------------------------------------------------------------


@flavours
def test_respx_answers_what_the_fake_does_not_know(asynchronous):
    provider = FakeProvider().reply("ok")
    url = "https://api.openai.com/v1/moderations"

    async def ask():
        async with httpx.AsyncClient() as http:
            return (await http.post(url, json={"input": "hi"})).json()

    with intercept(provider), respx.mock(using="httpcore") as router:
        router.post(url).respond(json=MODERATION)
        assert (sdks.run(ask()) if asynchronous else httpx.post(url, json={"input": "hi"}).json()) == MODERATION
        assert client().chat.completions.create(model="m", messages=HI).choices[0].message.content == "ok"
    assert [call.api for call in provider.calls] == ["openai.chat"]


@flavours
@pytest.mark.parametrize("is_mocked", [False, True])
def test_what_no_mock_answers_is_the_fakes_own_miss(is_mocked, asynchronous):
    provider = FakeProvider(hosts=["localhost:9"])
    url = "http://localhost:9/v1/images/generations"  # be it on this machine: the fake's host is not reached

    async def ask():
        async with httpx.AsyncClient() as http:
            await http.post(url, json={"prompt": "a cat"})

    with intercept(provider), respx.mock(using="httpcore", assert_all_called=False) as router:
        router.get("https://example.com/").respond(204)
        if not is_mocked:
            router.route(host="localhost").pass_through()
        with pytest.raises(UnexpectedRequestError, match=r"does not know this endpoint") as miss:
            sdks.run(ask()) if asynchronous else httpx.post(url, json={"prompt": "a cat"})
    assert '{"prompt"' in str(miss.value)
    assert "answer it: fake_openai.document('POST', '/v1/images/generations', {...})" in str(miss.value)
    assert provider.misses == [miss.value]
    assert [call.state for call in provider.calls] == ["failed"]


def test_a_mounted_fake_leaves_other_endpoints_to_other_routes():
    provider = FakeProvider().document("GET", "/v1/files", {"data": []}).otherwise("ok")
    with respx.mock() as router:
        mount(provider, router, httpx)
        router.post("https://api.openai.com/v1/moderations").respond(json=MODERATION)
        assert httpx.post("https://api.openai.com/v1/moderations", json={}).json() == MODERATION
        assert httpx.get("https://api.openai.com/v1/files").json() == {"data": []}
        with pytest.raises(UnexpectedRequestError, match="does not know this endpoint"):
            httpx.get("https://api.openai.com/v1/batches")


# -- the same APIs elsewhere ---------------------------------------------------------------------------------


def answers(names, method, url):
    """Return which of several fakes a request is answered by, if it has an answer there."""
    desk = Interception([FakeProvider(name) for name in names])
    desk.is_on = True
    provider = desk.provider_for(method, url)
    return provider and (provider.name if provider.knows(method, url) else f"not {provider.name}")


GOOGLE, VERTEX = "https://generativelanguage.googleapis.com", "https://us-east5-aiplatform.googleapis.com/v1/projects/p"
FOUNDRY = "https://unit.services.ai.azure.com"


@each(
    ("method", "url", "name"),
    [
        ("POST", "https://api.anthropic.com/v1/chat/completions", "openai"),
        ("POST", "https://api.anthropic.com/v1/messages", "anthropic"),
        ("GET", "https://api.anthropic.com/v1/models", "anthropic"),
        ("POST", f"{GOOGLE}/v1beta/openai/chat/completions", "openai"),
        ("POST", f"{GOOGLE}/v1beta/openai/embeddings", "openai"),
        ("GET", f"{GOOGLE}/v1beta/openai/models", "openai"),
        ("GET", f"{GOOGLE}/v1beta/openai/models/gemini-2.5-pro", "openai"),
        ("GET", f"{GOOGLE}/v1beta/models", "gemini"),
        ("POST", f"{GOOGLE}/v1beta/models/g:generateContent", "gemini"),
        ("POST", f"{VERTEX}/locations/l/endpoints/openapi/chat/completions", "openai"),
        ("POST", f"{VERTEX}/locations/l/publishers/google/models/g:streamGenerateContent", "gemini"),
        ("POST", f"{VERTEX}/locations/l/publishers/anthropic/models/c:rawPredict", "anthropic"),
        ("POST", f"{VERTEX}/locations/l/publishers/anthropic/models/c@1:streamRawPredict", "anthropic"),
        ("POST", f"{VERTEX}/locations/l/publishers/anthropic/models/count-tokens:rawPredict", "anthropic"),
        ("POST", "https://aiplatform.us.rep.googleapis.com/v1/p/publishers/anthropic/models/c:rawPredict", "anthropic"),
        ("POST", "https://aiplatform.googleapis.com/v1/p/publishers/anthropic/models/c:rawPredict", "anthropic"),
        ("POST", f"{VERTEX}/locations/l/publishers/mistralai/models/m:rawPredict", None),
        ("POST", "https://claude.googleapis.com/v1/projects/p/locations/global/x/v1/messages", "anthropic"),
        ("POST", "https://aws-external-anthropic.us-east-1.api.aws/v1/messages/count_tokens", "anthropic"),
        ("POST", f"{FOUNDRY}/openai/v1/embeddings", "openai"),
        ("GET", f"{FOUNDRY}/openai/v1/models", "openai"),
        ("POST", f"{FOUNDRY}/models/embeddings?api-version=1", "openai"),
        ("POST", f"{FOUNDRY}/anthropic/v1/messages", "anthropic"),
        ("POST", f"{FOUNDRY}/anthropic/v1/messages/count_tokens", "anthropic"),
        ("POST", "https://api.mistral.ai/v1/embeddings", "openai"),
        ("GET", "https://api.groq.com/openai/v1/models", "openai"),
        ("POST", "https://api.groq.com/openai/v1/audio/speech", None),
        ("GET", "https://huggingface.co/api/models", None),
    ],
)
def test_the_fake_whose_api_it_is_answers(method, url, name):
    """Alone as well as beside the others, in whichever order they are."""
    everybody = ["openai", "anthropic", "gemini"]
    if name is None:
        assert "not" in str(answers(everybody, method, url) or "not")
        return
    assert answers([name], method, url) == name
    assert answers(everybody, method, url) == answers(everybody[::-1], method, url) == name
    assert "not" in str(answers([other for other in everybody if other != name], method, url) or "not")


@each(
    ("method", "url", "name", "alone"),
    [
        ("POST", "https://api.mistral.ai/v1/chat/completions", "mistral", ["mistral", "openai"]),
        ("POST", "https://api.eu.mistral.ai/v1/chat/completions", "mistral", ["mistral", "openai"]),
        ("POST", "https://api.mistral.ai/v1/embeddings", "mistral", ["mistral", "openai"]),
        ("GET", "https://api.mistral.ai/v1/models", "mistral", ["mistral", "openai"]),
        ("POST", "https://api.mistral.ai/v1/responses", "openai", ["openai"]),
        ("POST", "https://codestral.mistral.ai/v1/fim/completions", "mistral", ["mistral"]),
        ("POST", "https://api.openai.com/v1/chat/completions", "openai", ["openai"]),
        ("POST", "https://api.groq.com/openai/v1/chat/completions", "openai", ["openai"]),
        ("POST", "https://api.anthropic.com/v1/chat/completions", "openai", ["openai"]),
        ("POST", "https://gateway.example/v1/chat/completions", "openai", ["mistral", "openai"]),
        ("POST", "https://gateway.example/v1/completions", "openai", ["openai"]),
        ("POST", "https://gateway.example/v1/fim/completions", "mistral", ["mistral"]),
        ("POST", "https://gateway.example/v1/conversations/conv_1", "mistral", ["mistral"]),
    ],
)
def test_of_two_apis_with_one_path_that_of_the_host_answers(method, url, name, alone):
    everybody = ["openai", "anthropic", "mistral"]
    assert answers(everybody, method, url) == answers(everybody[::-1], method, url) == name
    assert [one for one in ("mistral", "openai") if answers([one], method, url) == one] == alone


@flavours
@pytest.mark.parametrize("others", [[], ["anthropic", "gemini"]])
@pytest.mark.parametrize("base_url", ["https://api.anthropic.com/v1/", f"{GOOGLE}/v1beta/openai/"])
def test_the_openai_sdk_at_a_compatible_path(base_url, others, asynchronous):
    provider = FakeProvider().otherwise("Hello")

    async def ask():
        async with openai.AsyncOpenAI(api_key="none", base_url=base_url) as sdk:
            return [chunk async for chunk in await sdk.chat.completions.create(model="m", messages=HI, stream=True)]

    with intercept(*map(FakeProvider, others), provider):
        if asynchronous:
            assert "".join(chunk.choices[0].delta.content or "" for chunk in sdks.run(ask())) == "Hello"
        else:
            sdk = client(base_url=base_url)
            assert sdk.chat.completions.create(model="m", messages=HI).choices[0].message.content == "Hello"


async def vertex(**asked):
    async with anthropic.AsyncAnthropicVertex(region="eu", project_id="p", access_token="none", max_retries=0) as sdk:
        answer = await sdk.messages.create(model="claude@1", max_tokens=9, messages=HI, **asked)
        return [event async for event in answer] if asked else answer


@flavours
def test_claude_on_vertex(asynchronous):
    provider = FakeProvider("anthropic").reply("It ", "rains.").reply("It ", "rains.")
    with intercept(FakeProvider("gemini"), provider):
        if asynchronous:
            assert sdks.run(vertex()).content[0].text == "It rains."
            deltas = [event for event in sdks.run(vertex(stream=True)) if event.type == "content_block_delta"]
        else:
            sdk = anthropic.AnthropicVertex(region="global", project_id="p", access_token="none", max_retries=0)
            assert sdk.messages.create(model="claude@1", max_tokens=9, messages=HI).content[0].text == "It rains."
            answer = sdk.messages.create(model="claude@1", max_tokens=9, messages=HI, stream=True)
            deltas = [event for event in answer if event.type == "content_block_delta"]
            assert sdk.messages.count_tokens(model="claude@1", messages=HI).input_tokens == 1
    assert [delta.delta.text for delta in deltas] == ["It ", "rains."]
    assert [call.request.model for call in provider.calls[:2]] == ["claude@1", "claude@1"]
    assert [call.request.stream for call in provider.calls[:2]] == [False, True]
    assert "model" not in provider.calls[0].json


def test_vertex_wants_its_version_and_streams_by_the_method():
    url = f"{VERTEX}/locations/l/publishers/anthropic/models/claude%401:streamRawPredict"
    asked = {"max_tokens": 9, "messages": HI}
    provider = FakeProvider("anthropic").otherwise("ok")
    with intercept(provider):
        refused = httpx2.post(url, json=asked)
        assert (refused.status_code, refused.json()["error"]["message"]) == (400, "anthropic_version: Field required")
        assert httpx2.post(url, json=[]).status_code == 400
        answer = httpx2.post(url, json={**asked, "anthropic_version": "vertex-2023-10-16"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert provider.calls[-1].request.model == "claude@1"


def test_claude_in_foundry():
    with intercept(FakeProvider(), FakeProvider("anthropic").reply("ok")):
        sdk = anthropic.AnthropicFoundry(resource="unit", api_key="none", max_retries=0)
        assert sdk.messages.create(model="m", max_tokens=9, messages=HI).content[0].text == "ok"


# -- refusals ------------------------------------------------------------------------------------------------


@each(
    ("there", "url", "words", "unwanted"),
    [
        (
            ["anthropic"],
            "https://api.openai.com/v1/chat/completions",
            "add the fixture fake_openai to the test",
            "fake_a",
        ),
        (
            ["openai"],
            "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/invoke",
            "add the fixture fake_bedrock to the test",
            "fake_anthropic",
        ),
        (
            ["openai"],
            "https://bedrock-agent-runtime.us-east-1.amazonaws.com/agents/a/text",
            ".document('POST', '/agents/a/text',",
            "add the fixture",
        ),
        (
            ["openai", "gemini"],
            "https://api.voyageai.com/v9/talk",
            "fake_openai.document('POST', '/v9/talk', {...})",
            "add the fixture",
        ),
        (
            [],
            "https://api.voyageai.com/v9/talk",
            "add the fixture fake_openai, fake_anthropic, ",
            "document(",
        ),
    ],
)
def test_a_refusal_never_asks_for_a_fixture_that_is_there(there, url, words, unwanted):
    with intercept(*map(FakeProvider, there)), pytest.raises(UnexpectedRequestError) as refusal:
        httpx2.post(url, json={"model": "m", "messages": HI})
    assert words in str(refusal.value)
    assert unwanted not in str(refusal.value)


def test_a_miss_names_the_fixture_that_answers():
    with intercept(FakeProvider("gemini")), pytest.raises(UnexpectedRequestError) as miss:
        httpx2.post(f"{GOOGLE}/v1beta/openai/chat/completions", content=json.dumps({"model": "m", "messages": HI}))
    assert "openai has such an endpoint: add the fixture fake_openai" in str(miss.value)
