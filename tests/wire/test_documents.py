"""The small endpoints, asked by the official SDKs: embeddings, counts of tokens, models."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import struct

import pytest
import sdks
import strategies
from hypothesis import example, given
from hypothesis import strategies as st
from vectors import each, first_of

from fakellm.errors import WireError
from fakellm.wire import documents
from fakellm.wire.anthropic import documents as anthropic_documents
from fakellm.wire.gemini import documents as gemini_documents
from fakellm.wire.openai import documents as openai_documents
from fakellm.wire.providers import PROVIDERS, service_of
from fakellm.wire.service import document_of

both = pytest.mark.parametrize("asynchronous", first_of([False, True]), ids=["sync", "async"])


def clients_of(name, service):
    """Return the two HTTP clients of an SDK, answered by the endpoints of a service."""
    http = sdks.http_of(name)

    def answer(request):
        path = request.url.raw_path.decode()
        endpoint = service_of(service).endpoint(request.method, path.partition("?")[0])
        asked = json.loads(request.content) if request.content else None
        return http.Response(200, json=document_of(endpoint)(asked, path))

    mock = http.MockTransport(answer)
    return http.Client(transport=mock), http.AsyncClient(transport=mock)


def openai_client(*, asynchronous=False, **options):
    import openai

    client, async_client = clients_of("openai", "openai")
    if asynchronous:
        return openai.AsyncOpenAI(api_key="none", http_client=async_client, **options)
    return openai.OpenAI(api_key="none", http_client=client, **options)


def anthropic_client(*, asynchronous=False):
    import anthropic

    client, async_client = clients_of("anthropic", "anthropic")
    if asynchronous:
        return anthropic.AsyncAnthropic(api_key="none", http_client=async_client, _strict_response_validation=True)
    return anthropic.Anthropic(api_key="none", http_client=client, _strict_response_validation=True)


def genai_models(*, asynchronous=False):
    from google import genai

    client, async_client = clients_of("google-genai", "gemini")
    made = genai.Client(api_key="none", http_options={"httpx_client": client, "httpx_async_client": async_client})
    return made.aio.models if asynchronous else made.models


def asked(call, *, asynchronous):
    """Return what a method of an SDK returns, awaited or not."""
    if not asynchronous:
        return call()

    async def awaited():
        return await call()

    return sdks.run(awaited())


def listed(call, *, asynchronous):
    """Return the items of a paged list."""
    if not asynchronous:
        return list(call())

    async def awaited():
        pages = call()
        return [item async for item in (pages if hasattr(pages, "__aiter__") else await pages)]

    return sdks.run(awaited())


def cosine(one, other):
    return sum(a * b for a, b in zip(one, other, strict=True))


# -- vectors --------------------------------------------------------------------------------------


@given(strategies.texts, st.integers(1, 300))
def test_a_vector_has_the_length_1_and_is_always_the_same(text, dimensions):
    vector = documents.vector(text, dimensions)

    assert len(vector) == dimensions
    assert math.isclose(cosine(vector, vector), 1, abs_tol=1e-5)
    assert documents.vector(text, dimensions) == vector
    assert list(struct.unpack(f"<{dimensions}f", struct.pack(f"<{dimensions}f", *vector))) == vector


def test_vectors_are_the_same_on_every_machine():
    assert [round(value, 6) for value in documents.vector("The answer is 42.", 4)] == [
        0.911319,
        0.08684,
        0.390945,
        0.095491,
    ]


def test_texts_that_share_words_are_similar_and_no_two_are_the_same():
    texts = ["The cat sat on the mat.", "the mat: on the cat sat", "a cat on a mat", "quantum physics", "", " "]
    cat, again, near, far, *empty = map(documents.vector, texts)

    assert 0.9 < cosine(cat, again) < 0.9999
    assert 0.2 < cosine(cat, near) < 0.9
    assert abs(cosine(cat, far)) < 0.15
    assert abs(cosine(*empty)) < 0.15
    assert len({tuple(documents.vector(text)) for text in texts}) == len(texts)


# -- OpenAI ---------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("form", [None, "float", "base64"])
def test_the_openai_sdk_reads_embeddings(form, asynchronous):
    client = openai_client(asynchronous=asynchronous)
    options = {} if form is None else {"encoding_format": form}
    answer = asked(
        lambda: client.embeddings.create(model="text-embedding-3-small", input=["one", "two words"], **options),
        asynchronous=asynchronous,
    )
    vectors = [item.embedding for item in answer.data]
    if form == "base64":
        vectors = [list(struct.unpack("<1536f", base64.b64decode(vector))) for vector in vectors]

    assert vectors == [documents.vector("one"), documents.vector("two words")]
    assert [item.index for item in answer.data] == [0, 1]
    assert (answer.model, answer.usage.prompt_tokens, answer.usage.total_tokens) == ("text-embedding-3-small", 3, 3)


@each(
    ("model", "dimensions", "length"),
    [
        ("text-embedding-3-large", None, 3072),
        ("text-embedding-3-large", 256, 256),
        ("text-embedding-ada-002", None, 1536),
    ],
)
def test_vectors_have_the_dimensions_that_are_asked_for_or_the_models(model, dimensions, length):
    options = {} if dimensions is None else {"dimensions": dimensions}
    answer = openai_client().embeddings.create(model=model, input="one", **options)

    assert len(answer.data[0].embedding) == length


@each(("given_input", "count"), [("one", 1), ([1, 2, 3], 1), ([[1, 2], [3]], 2), (["a", "b"], 2)])
def test_an_input_is_texts_or_tokens(given_input, count):
    answer = openai_client().embeddings.create(model="m", input=given_input)

    assert len({tuple(item.embedding) for item in answer.data}) == count


@each(
    "change",
    [
        {"model": None},
        {"input": None},
        {"input": ""},
        {"input": []},
        {"input": [""]},
        {"input": [True]},
        {"input": {"a": 1}},
        {"input": ["a", 1]},
        {"dimensions": 0},
        {"dimensions": -1},
        {"dimensions": True},
        {"dimensions": 10**9},
        {"encoding_format": "hex"},
    ],
)
def test_a_request_for_embeddings_that_is_none_is_refused(change):
    with pytest.raises(WireError):
        openai_documents.embeddings({"model": "m", "input": "a", **change})


@both
def test_the_openai_sdk_reads_models(asynchronous):
    client = openai_client(asynchronous=asynchronous, _strict_response_validation=True)
    models = listed(client.models.list, asynchronous=asynchronous)
    model = asked(lambda: client.models.retrieve("ft:gpt-4o:me"), asynchronous=asynchronous)

    assert {"gpt-4o", "text-embedding-3-small"} <= {model.id for model in models}
    assert (model.id, model.object, model.owned_by) == ("ft:gpt-4o:me", "model", "openai")


# -- Anthropic ------------------------------------------------------------------------------------


@both
def test_the_anthropic_sdk_reads_a_count_of_tokens(asynchronous):
    client = anthropic_client(asynchronous=asynchronous)
    messages = [
        {"role": "user", "content": "What is up?"},
        {"role": "assistant", "content": [{"type": "text", "text": "Not much."}]},
    ]
    answer = asked(
        lambda: client.messages.count_tokens(model="claude-sonnet-4-5", system="Be kind.", messages=messages),
        asynchronous=asynchronous,
    )

    assert answer.input_tokens == 7


def test_tools_count_and_images_do_not():
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA == BB"}}
    tool = {"name": "look", "description": "Looks it up.", "input_schema": {"type": "object"}}

    assert anthropic_documents.tokens(body) == {"input_tokens": 1}
    assert anthropic_documents.tokens({**body, "tools": [tool]})["input_tokens"] == 5
    assert anthropic_documents.tokens({**body, "messages": [{"content": [image]}]})["input_tokens"] == 1


@each("body", [None, [], {}, {"model": "m"}, {"messages": [{}]}])
def test_a_request_for_a_count_that_is_none_is_refused(body):
    with pytest.raises(WireError):
        anthropic_documents.tokens(body)


@both
def test_the_anthropic_sdk_reads_models(asynchronous):
    client = anthropic_client(asynchronous=asynchronous)
    models = listed(lambda: client.models.list(limit=2), asynchronous=asynchronous)
    model = asked(lambda: client.models.retrieve("claude-sonnet-4-5"), asynchronous=asynchronous)

    assert "claude-sonnet-4-5" in {model.id for model in models}
    assert (model.id, model.type, model.display_name, model.created_at.year) == (
        "claude-sonnet-4-5", "model", "Claude Sonnet 4.5", 2026,
    )  # fmt: skip


# -- Gemini ---------------------------------------------------------------------------------------


@both
def test_the_gemini_sdk_reads_embeddings(asynchronous):
    models = genai_models(asynchronous=asynchronous)
    answer = asked(
        lambda: models.embed_content(
            model="gemini-embedding-001", contents=["one", "two words"], config={"output_dimensionality": 64}
        ),
        asynchronous=asynchronous,
    )

    assert [item.values for item in answer.embeddings] == [
        documents.vector("one", 64),
        documents.vector("two words", 64),
    ]


@each(
    ("body", "length"),
    [
        ({"content": {"parts": [{"text": "one"}]}}, 3072),
        ({"content": {"parts": {"text": "one"}}, "output_dimensionality": 32}, 32),
        ({"content": {"parts": [{"text": "one"}]}, "embedContentConfig": {"outputDimensionality": 16}}, 16),
    ],
)
def test_one_content_is_embedded_alone(body, length):
    answer = gemini_documents.embedding(body, "/v1beta/models/gemini-embedding-001:embedContent?key=k")

    assert answer == {"embedding": {"values": documents.vector("one", length)}}


@each("body", [None, {}, {"content": "one"}, {"content": {"parts": [1]}}, {"content": {"parts": [{"text": 1}]}}])
def test_a_request_for_an_embedding_that_is_none_is_refused(body):
    with pytest.raises(WireError):
        gemini_documents.embedding(body, "models/m:embedContent")
    with pytest.raises(WireError):
        gemini_documents.embeddings({"requests": [body]}, "models/m:batchEmbedContents")


@both
def test_the_gemini_sdk_reads_a_count_of_tokens(asynchronous):
    models = genai_models(asynchronous=asynchronous)
    answer = asked(
        lambda: models.count_tokens(model="gemini-2.5-flash", contents=["What is up?", "Not much."]),
        asynchronous=asynchronous,
    )

    assert answer.total_tokens == 5


def test_a_whole_request_is_counted_too():
    inner = {
        "contents": [{"role": "user", "parts": [{"text": "a b"}]}],
        "systemInstruction": {"parts": [{"text": "c"}]},
    }

    assert gemini_documents.tokens({"generateContentRequest": {"model": "models/m", **inner}})["totalTokens"] == 3
    with pytest.raises(WireError):
        gemini_documents.tokens({"generateContentRequest": {}})


@both
def test_the_gemini_sdk_reads_models(asynchronous):
    models = genai_models(asynchronous=asynchronous)
    found = listed(models.list, asynchronous=asynchronous)
    model = asked(lambda: models.get(model="gemini-2.5-flash"), asynchronous=asynchronous)

    assert "models/gemini-2.5-flash" in {model.name for model in found}
    assert (model.name, model.display_name) == ("models/gemini-2.5-flash", "Gemini 2.5 Flash")
    assert "generateContent" in model.supported_actions
    assert "embedContent" in next(m for m in found if "embedding" in m.name).supported_actions


# -- all of them ----------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["model", "input", "messages", "contents", "content", "parts", "requests", "text", "dimensions"]),
        inner, max_size=4,
    ),
    max_leaves=10,
)  # fmt: skip


ALL = dict.fromkeys(document_of(e) for name in PROVIDERS for e in service_of(name).endpoints if not e.is_codec)


@given(json_values)
@example({"model": "m"})
def test_any_body_gives_a_document_or_a_wire_error(body):
    for function in ALL:
        note = f"{function.__module__}.{function.__name__}"
        with contextlib.suppress(WireError):
            answer = function(body, "/v1/models/m")
            assert isinstance(answer, dict), note
            json.dumps(answer, allow_nan=False)
