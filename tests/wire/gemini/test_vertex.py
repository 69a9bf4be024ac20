"""Gemini on Vertex AI: asked by Google's own SDK, which looks up credentials, by each of the HTTP libraries it uses."""

from __future__ import annotations

import os
import warnings

import pytest
import sdks
from google import genai
from google.genai import errors
from vectors import each, first_of

from fakellm import FakeProvider, Finish, Reasoning, Script, ToolCall, Usage, disconnect, provider_error
from fakellm.contracts import check_wire
from fakellm.http import intercept
from fakellm.wire.gemini import GeminiCodec

CODEC = GeminiCodec()
HOSTS = {
    "us-central1": "us-central1-aiplatform.googleapis.com",
    "global": "aiplatform.googleapis.com",
    "us": "aiplatform.us.rep.googleapis.com",
}
both = pytest.mark.parametrize("asynchronous", first_of([False, True]), ids=["sync", "async"])
libraries = pytest.mark.parametrize("library", ["httpx", "aiohttp"])
PATH = "/v1beta1/projects/p/locations/global/publishers/google/models/m:streamGenerateContent"


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("GOOGLE_", "GEMINI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))  # nobody's own credentials


def client_of(library="httpx", **options):
    """Return a client on Vertex, which asks by this library where it is asynchronous."""
    options = options or {"project": "p", "location": "global"}
    asked = {"httpx_async_client": sdks.http_of("google-genai").AsyncClient()} if library == "httpx" else None
    return genai.Client(vertexai=True, http_options=asked, **options)


def asked(*, stream=False, asynchronous=False, library="httpx", **options):
    """Return the chunks that the SDK gives, or the document, and the error that ends them."""
    found = []

    client = client_of(library, **options)  # which closes its connections once nobody has it

    async def main():
        models = client.aio.models
        if not stream:
            found.append(await models.generate_content(model="gemini-3-flash", contents="Hi"))
            return
        async for chunk in await models.generate_content_stream(model="gemini-3-flash", contents="Hi"):
            found.append(chunk)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # aiohttp's, of the SDK
            if asynchronous:
                sdks.run(main())
            elif stream:
                found.extend(client.models.generate_content_stream(model="gemini-3-flash", contents="Hi"))
            else:
                found.append(client.models.generate_content(model="gemini-3-flash", contents="Hi"))
    except Exception as error:
        return found, error
    return found, None


def text_of(chunks):
    return "".join(part.text or "" for chunk in chunks for part in chunk.candidates[0].content.parts or ())


@libraries
@both
def test_a_client_without_credentials_is_answered(asynchronous, library):
    provider = FakeProvider("gemini").otherwise(Reasoning("Hm."), "It ", "rains.", ToolCall("f", {"a": 1}))
    for stream in (True, False):
        with intercept(provider, block_network=True):
            chunks, error = asked(stream=stream, asynchronous=asynchronous, library=library)
        assert error is None
        assert text_of(chunks) == "Hm.It rains."
        assert chunks[-1].function_calls[0].args == {"a": 1} if not stream else True
        for chunk in chunks:
            assert (chunk.create_time.year, chunk.model_version) == (2026, "gemini-3-flash")
            assert chunk.usage_metadata.traffic_type == "ON_DEMAND"
            assert chunk.response_id
    assert provider.calls[0].headers["authorization"].startswith("Bearer ")
    assert len(provider.calls) == 2  # who gives the token is no call of the app's


@each("location", HOSTS)
def test_each_of_its_hosts(location):
    provider = FakeProvider("gemini").otherwise("a")
    with intercept(provider, block_network=True):
        assert asked(project="p", location=location)[1] is None
    assert f"//{HOSTS[location]}/" in provider.calls[0].url


def test_a_client_that_names_nothing_and_one_with_a_key():
    provider = FakeProvider("gemini").otherwise("a")
    with intercept(provider, block_network=True):
        client = genai.Client(vertexai=True)
        assert client.models.generate_content(model="m", contents="i").text == "a"
        assert asked(api_key="mine")[0][0].text == "a"
    assert provider.calls[1].url.startswith("https://aiplatform.googleapis.com/v1beta1/publishers/google/models/")
    assert provider.calls[1].headers["x-goog-api-key"] == "mine"


def test_the_gemini_api_has_no_fields_of_vertex():
    with intercept(FakeProvider("gemini").reply("a")):
        client = genai.Client(vertexai=False)
        answer = client.models.generate_content(model="m", contents="i")
    assert (answer.create_time, answer.usage_metadata.traffic_type) == (None, None)


@both
def test_errors_before_an_answer_and_in_it_and_a_drop(asynchronous):
    provider = FakeProvider("gemini").error(429, "No.").reply("a", provider_error("overloaded", "UNAVAILABLE"))
    provider.reply("a", "b", "c", "d", disconnect())
    with intercept(provider):
        _, before = asked(stream=True, asynchronous=asynchronous)
        chunks, inside = asked(stream=True, asynchronous=asynchronous)
        some, broken = asked(stream=True, asynchronous=asynchronous)
    assert isinstance(before, errors.ClientError)
    assert (before.code, before.status) == (429, "RESOURCE_EXHAUSTED")
    assert isinstance(inside, errors.ServerError)
    assert (inside.code, text_of(chunks)) == (503, "a")
    assert text_of(some) == "abcd"
    assert broken is not None


@each("alt", ["?alt=sse", ""])
def test_what_it_writes_is_read_back_and_keeps_to_its_grammar(alt):
    from fakellm.wire.codec import pieces

    script = Script("a", "b", ToolCall("f"), Finish("tool_calls"), Usage(2, 3, extra={"trafficType": "PROVISIONED"}))
    for usual in (script, Script("a", Finish(), Usage(2, 3, extra={"trafficType": "ON_DEMAND"}))):
        request = CODEC.request({"contents": [{"parts": [{"text": "i"}]}]}, path=PATH + alt)
        body = b"".join(pieces(CODEC.encoder(request, 1, usual.usage), usual))
        check_wire(body, api="gemini").verify()
        assert b'"createTime"' in body
        assert CODEC.decode(body) == usual
