"""Recorded tapes of other projects, played by ours through the official SDKs: the chunks that plain vcrpy gave.

The streams of the shared corpus on tapes of vcrpy's dialect that an official SDK was run on are asked for with the
request that is on the tape. The tape, in mode `none`, is all that answers.
"""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import corpus
import pytest
import sdks

from fakellm.cassette.matching import MATCH_ON, json_matcher, url_matcher
from fakellm.cassette.redaction import Redactor
from fakellm.cassette.tape import Tape
from fakellm.http.interception import Interception

ROWS = [row for row in corpus.expected() if row["dialect"].startswith("vcrpy")]
IN_OTHER_DIALECTS = {"ddapm-json": 6, "go-vcr": 7, "raw": 1, "ruby-vcr": 7}
"""Rows of the index that are on no tape of vcrpy: ours reads go-vcr's and Ruby's, tests/test_cassette_dialects.py."""

SAMPLE = {path.name for path in corpus.sample()}
rows = pytest.mark.parametrize(
    "row",
    [pytest.param(r, id=f"{r['file'].split('.', 2)[2]}.{r['idx']}") for r in ROWS if r["file"] in SAMPLE],
)


@cache
def http(name):
    """Return one client of the SDK's HTTP library for all tests: making one is slow."""
    return sdks.http_of(name).Client()


@contextmanager
def playing(path, **options):
    """Put a tape between this process's clients and the network."""
    tape = Tape(path, mode="none", redactor=Redactor(environ={}), **options)
    interception = Interception()
    with tape.open(), interception.on():
        interception.tape = tape
        yield tape


def streamed(start):
    """Return the chunks of a stream, and how it ended, in the words of the index."""
    chunks, end = [], "ok"
    try:
        for chunk in start():
            chunks.append(chunk)
    except Exception as error:
        end = f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}: {error}"
    told = json.loads(json.dumps(sdks.dumped(chunks)))
    for chunk in told:
        chunk.pop("sdk_http_response", None)  # the headers, which the index leaves out
    return told, end


def openai_stream(request):
    """Ask for a recorded stream of an API of OpenAI's form, with what was asked."""
    import openai
    from openai.types.chat import ChatCompletionChunk

    url, body = urlsplit(request.uri), json.loads(request.body)
    ends = ("/chat/completions", "/completions", "/responses", "/chat")
    end = next(end for end in ends if url.path.endswith(end))
    base = f"{url.scheme}://{url.netloc}{url.path.removesuffix(end)}"
    client = openai.OpenAI(api_key="none", base_url=base, max_retries=0, http_client=http("openai"))
    model = body.get("model", openai.omit)  # Azure's own SDK names it in the URL only
    more = {"extra_body": body, "extra_query": dict(parse_qsl(url.query))}
    match end:
        case "/chat/completions":
            return client.chat.completions.create(model=model, messages=[], stream=True, **more)
        case "/completions":
            return client.completions.create(model=model, prompt="", stream=True, **more)
        case "/responses":
            return client.responses.create(stream=True, **more)
    kinds = {"cast_to": ChatCompletionChunk, "stream_cls": openai.Stream[ChatCompletionChunk]}
    return client.post(end, body=body, stream=True, **kinds)


def anthropic_stream(request):
    """Ask for a recorded stream of Messages, with what was asked."""
    import anthropic

    url, body = urlsplit(request.uri), json.loads(request.body)
    base = f"{url.scheme}://{url.netloc}{url.path.removesuffix('/v1/messages')}"
    client = anthropic.Anthropic(api_key="none", base_url=base, max_retries=0, http_client=http("anthropic"))
    needed = {key: body.pop(key) for key in ("model", "messages", "max_tokens")}
    more = {"extra_body": body, "extra_query": dict(parse_qsl(url.query))}
    return client.messages.create(**needed, stream=True, **more)


def gemini_stream(request):
    """Ask for a recorded stream of Gemini; the SDK makes the body of objects, so it asks something else."""
    from google import genai

    url = urlsplit(request.uri)
    version, _, model = url.path.strip("/").partition("/")
    options = {
        "base_url": f"{url.scheme}://{url.netloc}",
        "api_version": version,
        "httpx_client": http("google-genai"),
    }
    if model.startswith("projects/"):  # Vertex: the index was made with the client of the Gemini API all the same
        folder, _, model = model.partition("/models/")
        options |= {"base_url": f"{options['base_url']}/{version}", "api_version": folder}
        model = f"models/{model}"
    client = genai.Client(api_key="none", vertexai=False, http_options=options)
    return client.models.generate_content_stream(model=model.partition(":")[0], contents="the tape answers")


STREAMS = {
    "openai": openai_stream,
    "anthropic": anthropic_stream,
    "google": gemini_stream,
}


@pytest.mark.exhaustive
@corpus.needs_corpus
@pytest.mark.filterwarnings("ignore:The model .* is deprecated:DeprecationWarning")
@rows
def test_a_recorded_stream_plays_as_the_official_sdk_saw_it(row, tmp_path):
    path = Path(shutil.copy(Path(corpus.CORPUS) / "streams" / row["file"], tmp_path / "tape.yaml"))
    before = path.read_bytes()
    api = row["api"].partition(".")[0]
    match_on = ("method", "url") if api == "google" else MATCH_ON

    with playing(path, match_on=match_on) as tape:
        *earlier, request = tape._cassette.requests[: row["idx"] + 1]
        equal = [other for other in earlier if other.method == request.method and is_same(other, request, match_on)]
        for _ in equal:  # equal requests are answered in their order
            streamed(lambda: STREAMS[api](request))
        chunks, end = streamed(lambda: STREAMS[api](request))
        assert tape.play_count == len(equal) + 1
        assert tape.misses == []

    assert end.startswith(row["end"])  # the index has the beginning of a long error
    assert len(chunks) == row["chunks"]
    assert chunks == corpus.chunks(row)
    assert path.read_bytes() == before


def is_same(other, request, match_on):
    try:
        url_matcher(request, other)
        if "json" in match_on:
            json_matcher()(request, other)
    except AssertionError:
        return False
    return True


@corpus.needs_corpus
def test_every_row_of_a_vcrpy_tape_is_asked_for():
    others = {}
    for row in corpus.expected():
        if row not in ROWS:
            others[row["dialect"]] = others.get(row["dialect"], 0) + 1

    assert len(ROWS) == 123
    assert others == IN_OTHER_DIALECTS
    assert {row["api"].partition(".")[0] for row in ROWS} == STREAMS.keys()
