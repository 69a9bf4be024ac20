"""Gemini's generateContent: the codec against recordings, against the official SDK, and against itself."""

from __future__ import annotations

import base64
import contextlib
import json
from dataclasses import replace
from functools import cache

import corpus
import pytest
import sdks
import strategies
from google import genai
from google.genai import errors, types
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from sending import sse_of
from vectors import each

from fakellm import (
    Finish,
    Pause,
    Reasoning,
    Refusal,
    Script,
    Text,
    ToolCall,
    Usage,
    disconnect,
    http_error,
    provider_error,
    stall,
)
from fakellm.errors import WireError
from fakellm.script.events import Content, Fault, Native, Raw, strikes_first
from fakellm.script.messages import Message
from fakellm.wire.codec import pieces
from fakellm.wire.gemini.generate import GeminiCodec
from fakellm.wire.gemini.reader import GeminiDecoder, Objects

CODEC = GeminiCodec()
PATH = "/v1beta/models/gemini-fake:streamGenerateContent"
SIGNATURE = base64.b64encode(b"signed").decode()

both = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
framings = pytest.mark.parametrize("alt", ["sse", "json"])


def native(**data):
    return Native("gemini", data)


def request(alt="sse", path=PATH, **fields):
    body = {"contents": [{"role": "user", "parts": [{"text": "Hi there"}]}], **fields}
    return CODEC.request(body, path=f"{path}?alt={alt}")


def steps(script, alt="sse", number=1):
    return list(pieces(CODEC.encoder(request(alt), number, script.usage), script))


def encoded(script, alt="sse"):
    """Return the bytes of a stream, up to the fault that ends it."""
    return b"".join(step for step in steps(script, alt) if isinstance(step, bytes))


def chunks_of(body, alt="sse"):
    """Return the chunks, read as a client would that knows nothing of the codec."""
    if alt == "json":
        return json.loads(body)
    return [json.loads(sse.data) for sse in sse_of(body)]


def parts_of(chunks, index=0):
    return [
        part
        for chunk in chunks
        for candidate in chunk.get("candidates", ())
        if candidate["index"] == index
        for part in candidate.get("content", {}).get("parts", ())
    ]


def document(script, **fields):
    return json.loads(CODEC.body(script, request(path=PATH.replace("streamG", "g"), **fields), 1))


@cache
def client_and_served():
    """Return a client, synchronous or not (`.aio`), and the list whose only transport answers it: making one takes long."""
    served = []
    http = sdks.http_of("google-genai")
    mock = http.MockTransport(lambda request: served[0].handler(request))
    clients = {"httpx_client": http.Client(transport=mock), "httpx_async_client": http.AsyncClient(transport=mock)}
    return genai.Client(api_key="none", http_options=clients), served


def client_of(body, **options):
    """Return a client that gets the body as the answer to every request, until the next one is asked for."""
    client, served = client_and_served()
    served[:] = [sdks.transport("google-genai", body, **options)]
    return client


def generate(body, *, asynchronous=False, chunks=None, **options):
    """Return what the SDK makes of a stream."""
    client = client_of(body, **options)
    seen = [] if chunks is None else chunks

    async def collect():
        async for chunk in await client.aio.models.generate_content_stream(model="gemini-fake", contents="Hi"):
            seen.append(chunk)

    if asynchronous:
        sdks.run(collect())
    else:
        seen.extend(client.models.generate_content_stream(model="gemini-fake", contents="Hi"))
    return seen


def whole(body, *, asynchronous=False, **options):
    """Return what the SDK makes of a document."""
    options = {"content_type": "application/json", **options}
    client = client_of(body, **options)
    if asynchronous:
        return sdks.run(client.aio.models.generate_content(model="gemini-fake", contents="Hi"))
    return client.models.generate_content(model="gemini-fake", contents="Hi")


def summary(chunks):
    """Return what the SDK's chunks say, as plain data."""
    said = {"text": "", "thoughts": "", "calls": [], "signatures": [], "others": [], "finish": None, "usage": None}
    for chunk in chunks:
        said["usage"] = chunk.get("usage_metadata") or said["usage"]
        for candidate in chunk.get("candidates") or ():
            said["finish"] = candidate.get("finish_reason") or said["finish"]
            said["grounding"] = candidate.get("grounding_metadata") or said.get("grounding")
            said["message"] = candidate.get("finish_message")
            for part in (candidate.get("content") or {}).get("parts") or ():
                known = ("text", "thought", "function_call", "thought_signature")
                said["thoughts" if part.get("thought") else "text"] += part.get("text") or ""
                said["calls"] += [part["function_call"]] if "function_call" in part else []
                said["signatures"] += [part["thought_signature"]] if "thought_signature" in part else []
                other = {key: value for key, value in part.items() if key not in known}
                said["others"] += [other] if other else []
    return sdks.without_nulls(said)


# -- recordings -----------------------------------------------------------------------------------


@pytest.mark.exhaustive
@corpus.needs_corpus
@each(framings)
@each("row", corpus.expected_of("google.generateContent"))
def test_a_recorded_stream_written_again_says_the_same(row, alt):
    script = CODEC.decode(corpus.body(row["file"], row["idx"]))
    written = generate(encoded(script)) if alt == "sse" else array_of(encoded(script, "json"))

    assert summary(sdks.dumped(written)) == summary(corpus.chunks(row))
    assert not script.allow_illegal
    assert script.fault is None


def array_of(body):
    """Return the chunks of an array as the SDK has them; it reads none itself."""
    return [generate(json.dumps(chunk).encode())[0] for chunk in json.loads(body)]


@corpus.needs_corpus
@each("row", corpus.expected_of("google.generateContent")[::3])
def test_a_recorded_stream_is_read_the_same_as_an_array_and_after_being_written(row):
    body = corpus.body(row["file"], row["idx"])
    script = CODEC.decode(body)

    assert CODEC.decode(json.dumps(chunks_of(body), indent=2).encode()) == script
    assert CODEC.decode(encoded(script)) == script
    assert CODEC.decode(encoded(script, "json")) == script


@corpus.needs_corpus
def test_a_recorded_error_is_read_as_one():
    file = "google-gemini.error-only.crewAI.test_google_streaming_returns_usage_metrics.488268.yaml"

    (event,) = CODEC.decode(corpus.body(file, 0))

    assert event == provider_error("API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT", "400")


# -- the official SDK -----------------------------------------------------------------------------


@both
def test_the_sdk_reads_text_thoughts_signatures_and_calls(asynchronous):
    script = Script(
        Reasoning("Let me "),
        Reasoning("see."),
        Reasoning(signature=SIGNATURE, text=""),
        "Hello ",
        "wörld\u2028",
        ToolCall("weather", '{"city": ', signature=SIGNATURE),
        Pause(1),
        ToolCall(arguments='"Paris"}'),
        ToolCall("now"),
        ToolCall("other", {"n": [1, 2.5]}, id="given"),
        Finish("tool_calls"),
        Usage(7, 40, cached_tokens=3, reasoning_tokens=30),
    )
    chunks = generate(encoded(script), asynchronous=asynchronous)
    parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts]

    assert [(part.text, part.thought, part.thought_signature) for part in parts[:4]] == [
        ("Let me ", True, None),
        ("see.", True, None),
        ("Hello ", None, b"signed"),
        ("wörld\u2028", None, None),
    ]
    assert [(call.name, call.args, call.id) for chunk in chunks for call in chunk.function_calls or ()] == [
        ("weather", {"city": "Paris"}, None),
        ("now", {}, None),
        ("other", {"n": [1, 2.5]}, "given"),
    ]
    assert parts[4].thought_signature == b"signed"
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert {chunk.candidates[0].finish_reason for chunk in chunks[:-1]} == {None}
    usage = chunks[-1].usage_metadata
    assert (usage.prompt_token_count, usage.candidates_token_count, usage.total_token_count) == (7, 10, 47)
    assert (usage.thoughts_token_count, usage.cached_content_token_count) == (30, 3)
    assert {chunk.response_id for chunk in chunks} == {"fakellm000001"}
    assert {chunk.model_version for chunk in chunks} == {"gemini-fake"}


@both
def test_the_sdk_reads_native_parts(asynchronous):
    script = Script(
        native(executableCode={"language": "PYTHON", "code": "print(1)\n"}, thoughtSignature=SIGNATURE),
        native(codeExecutionResult={"outcome": "OUTCOME_OK", "output": "1\n"}),
        native(inlineData={"mimeType": "image/png", "data": base64.b64encode(b"png").decode()}),
        Native("openai.chat", {"audio": {}}),
        Finish(extra={"groundingMetadata": {"webSearchQueries": ["q"]}, "avgLogprobs": -0.5}),
    )
    chunks = generate(encoded(script), asynchronous=asynchronous)
    code, result, image, end = [part for chunk in chunks for part in chunk.candidates[0].content.parts]

    assert (code.executable_code.code, code.thought_signature) == ("print(1)\n", b"signed")
    assert result.code_execution_result.output == "1\n"
    assert (image.inline_data.mime_type, image.inline_data.data) == ("image/png", b"png")
    assert end.text == ""
    assert chunks[-1].candidates[0].grounding_metadata.web_search_queries == ["q"]
    assert chunks[-1].candidates[0].avg_logprobs == -0.5


REASONS = [
    ("stop", "STOP"),
    ("length", "MAX_TOKENS"),
    ("content_filter", "SAFETY"),
    ("tool_calls", "STOP"),
    ("RECITATION", "RECITATION"),
    ("MALFORMED_FUNCTION_CALL", "MALFORMED_FUNCTION_CALL"),
]


@each(("reason", "word"), REASONS)
def test_the_sdk_reads_each_finish_reason(reason, word):
    script = Script("Hi", *([ToolCall("f")] if reason == "tool_calls" else []), Finish(reason))

    assert generate(encoded(script))[-1].candidates[0].finish_reason == types.FinishReason(word)
    assert whole(CODEC.body(script, request(), 1)).candidates[0].finish_reason == types.FinishReason(word)
    assert CODEC.decode(encoded(script)).finish_reason == reason


def test_an_answer_that_is_blocked_ends_without_content():
    chunks = generate(encoded(Script(Finish("content_filter"))))

    assert [chunk.text for chunk in chunks] == [None]
    assert chunks[0].candidates[0].content is None


@both
def test_the_sdk_reads_that_a_prompt_is_blocked(asynchronous):
    script = Script(Finish("content_filter", extra={"promptFeedback": {"blockReason": "SAFETY"}}), Usage(5))
    (chunk,) = generate(encoded(script), asynchronous=asynchronous)

    assert chunk.candidates is None
    assert chunk.prompt_feedback.block_reason == types.BlockedReason.SAFETY
    assert chunk.usage_metadata.prompt_token_count == 5
    assert whole(CODEC.body(script, request(), 1)).prompt_feedback.block_reason == types.BlockedReason.SAFETY
    assert CODEC.decode(encoded(script)) == script


@both
def test_the_sdk_reads_a_document(asynchronous):
    script = Script(
        Reasoning("a"), Reasoning("b"), Reasoning("", signature=SIGNATURE), "He", "llo", ToolCall("f", {"x": 1})
    )
    answer = whole(CODEC.body(script, request(), 1), asynchronous=asynchronous)

    assert answer.text == "Hello"
    assert [part.text for part in answer.candidates[0].content.parts] == ["ab", "Hello", None]
    assert answer.candidates[0].content.parts[1].thought_signature == b"signed"
    assert answer.function_calls[0].args == {"x": 1}
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert answer.usage_metadata.total_token_count == 2 + 5


@both
def test_the_sdk_reads_several_candidates(asynchronous):
    script = Script(
        "a", Text("A", choice=1), "b", Finish(), Text("B", choice=1), Finish("length", choice=1), Usage(2, 9)
    )
    chunks = generate(encoded(script), asynchronous=asynchronous)
    said = [(c.index, c.content.parts[0].text, c.finish_reason) for chunk in chunks for c in chunk.candidates]

    assert said == [
        (0, "a", None),
        (1, "A", None),
        (0, "b", None),
        (0, "", types.FinishReason.STOP),
        (1, "B", None),
        (1, "", types.FinishReason.MAX_TOKENS),
    ]
    assert chunks[-1].usage_metadata.total_token_count == 11
    answer = whole(CODEC.body(script, request(), 1), asynchronous=asynchronous)
    assert [c.content.parts[0].text for c in answer.candidates] == ["ab", "AB"]
    assert CODEC.decode(encoded(script)).choice(1).text == "AB"


def test_calls_of_several_candidates_that_alternate_stay_apart():
    script = Script(
        ToolCall("f", '{"a":'),
        ToolCall("g", '{"b":', choice=1),
        ToolCall(arguments="1}"),
        ToolCall(arguments="2}", choice=1),
    )
    chunks = chunks_of(encoded(script))

    assert parts_of(chunks, 0)[0] == {"functionCall": {"name": "f", "args": {"a": 1}}}
    assert parts_of(chunks, 1)[0] == {"functionCall": {"name": "g", "args": {"b": 2}}}


# -- what is written ------------------------------------------------------------------------------


def broken(chunks, *, is_whole=True):
    """Return the sentences that a stream breaks; they hold in all 1,053 recorded streams, or nearly."""
    candidates = [(chunk, candidate) for chunk in chunks for candidate in chunk.get("candidates", ())]
    finished = [candidate["index"] for _, candidate in candidates if candidate.get("finishReason")]
    last = {candidate["index"]: candidate for _, candidate in candidates}
    usages = [chunk["usageMetadata"] for chunk in chunks]
    checks = {
        "one candidate a chunk": all(len(chunk.get("candidates", ())) <= 1 for chunk in chunks),
        "a finish reason once": len(set(finished)) == len(finished),
        "the finish reason last": all(last[index].get("finishReason") for index in finished),
        "each candidate finishes": not is_whole or len(finished) == len(last) > 0,
        "the role is model": all(c["content"]["role"] == "model" for _, c in candidates if "content" in c),
        "one part a chunk": all(len(c["content"]["parts"]) == 1 for _, c in candidates if "content" in c),
        "ids are constant": len({(chunk["responseId"], chunk["modelVersion"]) for chunk in chunks}) <= 1,
        "the total adds up": all(
            usage["totalTokenCount"]
            == usage["promptTokenCount"] + usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0)
            for usage in usages
        ),
        "calls are whole": all(
            isinstance(p["functionCall"]["args"], dict) for p in parts_of(chunks) if "functionCall" in p
        ),
    }
    return [name for name, holds in checks.items() if not holds]


def grammar(body, alt):
    """Return what is wrong with the framing."""
    if alt == "json":
        return [] if body.startswith(b"[{") and body.endswith(b"}\n]") else ["not an array"]
    events = body.split(b"\r\n\r\n")
    wrong = [event for event in events[:-1] if not event.startswith(b"data: {") or b"\n" in event or b"\r" in event]
    return [*wrong, *filter(None, events[-1:])]


def checked(chunks):
    """Have the SDK's types check the chunks: they allow no field that they do not know."""
    for chunk in chunks:
        types.GenerateContentResponse.model_validate(chunk)


@framings
@strategies.fewer(3)
@given(strategies.whole_scripts)
def test_a_stream_is_one_that_gemini_could_send(alt, script):
    body = encoded(script, alt)
    chunks = chunks_of(body, alt)

    assert grammar(body, alt) == []
    assert broken(chunks) == []
    with contextlib.suppress(UserWarning):  # of a finish reason that the SDK does not know
        checked(chunks)
    if script.usage is not None:
        assert chunks[-1]["usageMetadata"]["promptTokenCount"] == script.usage.input_tokens


@framings
@strategies.fewer(3)
@given(strategies.small_wild_scripts)
def test_any_order_of_events_gives_json_that_parses(alt, script):
    body = encoded(script, alt)

    if script.fault is None:
        assert grammar(body, alt) == []
        checked(chunks_of(body, alt))
    CODEC.decode(body)


@strategies.fewer(3)
@given(strategies.whole_scripts)
def test_a_document_is_one_that_gemini_could_send(script):
    (candidate,) = document(script)["candidates"]

    assert (
        broken([{**document(script), "candidates": [{**candidate, "content": {"role": "model", "parts": [{}]}}]}]) == []
    )
    with contextlib.suppress(UserWarning):
        checked([document(script)])
    parts = candidate.get("content", {}).get("parts", ())
    assert "".join(p.get("text", "") for p in parts if not p.get("thought")) == "".join(
        e.text for e in script if isinstance(e, (Text, Refusal))
    )


@framings
def test_the_prompt_count_is_constant_and_the_total_never_falls(alt):
    script = Script(Reasoning("a"), "b", "c", "d", Finish(), Usage(5, 3, reasoning_tokens=1))
    usages = [chunk["usageMetadata"] for chunk in chunks_of(encoded(script, alt), alt)]

    assert {usage["promptTokenCount"] for usage in usages} == {5}
    assert [usage["totalTokenCount"] for usage in usages] == [6, 7, 8, 8, 8]
    assert [usage.get("candidatesTokenCount") for usage in usages] == [None, 1, 2, 2, 2]


def test_scripted_counts_in_the_middle_are_sent_as_they_are():
    script = Script("a", Usage(3, 1, extra={"trafficType": "ON_DEMAND"}), "b", Finish(), Usage(3, 9))
    usages = [chunk["usageMetadata"] for chunk in chunks_of(encoded(script))]

    assert [usage["candidatesTokenCount"] for usage in usages] == [1, 1, 9]
    assert [usage.get("trafficType") for usage in usages] == [None, "ON_DEMAND", None]


def test_a_usage_that_comes_after_the_finish_reason_was_sent_is_sent_alone():
    events = ["a", Finish(), Pause(1), Usage(3, 9)]
    written = [p for p in pieces(CODEC.encoder(request(), 1), Script(*events)) if isinstance(p, bytes)]

    assert "candidates" not in json.loads(written[-1].removeprefix(b"data: "))
    assert CODEC.decode(b"".join(written)).usage == Usage(3, 9)


def test_a_chunk_leaves_as_soon_as_its_event_is_there():
    encoder = CODEC.encoder(request(), 1)

    assert len(encoder.event(Text("a"))) == 1
    assert len(encoder.event(ToolCall("f", '{"a"', index=0))) == 0
    assert len(encoder.event(ToolCall(arguments=": {}}", index=0))) == 1
    assert len(encoder.event(ToolCall(arguments=" ", index=0))) == 0
    assert len(encoder.event(Reasoning("", signature=SIGNATURE))) == 0
    assert len(encoder.flush()) == 1
    assert len(encoder.event(Finish())) == 0
    assert len(encoder.flush()) == 1
    assert encoder.end() == []


def test_a_call_that_is_not_whole_is_not_sent_when_the_connection_breaks():
    script = Script("a", ToolCall("f", '{"x":'), disconnect())

    assert parts_of(chunks_of(encoded(script))) == [{"text": "a"}]


@each("text", ["{broken", "[1]", '"a"', '{"a": NaN}', " ", "{" * 5000, '{"a":' * 5000 + "}" * 5000])
def test_arguments_that_are_no_object_are_sent_in_one(text):
    chunks = chunks_of(encoded(Script(ToolCall("f", text))))

    assert parts_of(chunks)[0] == {"functionCall": {"name": "f", "args": {"arguments": text}}}


def test_arguments_are_sent_to_the_letter_but_in_one_line():
    text = '{"a":\n 1.50,\r\n "b": 12345678901234567890, "c": "\\ud800\\n"}'

    assert (
        '"args": {"a":  1.50,   "b": 12345678901234567890, "c": "\\ud800\\n"}'
        in encoded(Script(ToolCall("f", text))).decode()
    )


def test_characters_that_some_clients_take_for_line_ends_are_escaped():
    text = "a\u2028b\u2029c\x85d\ufeff<e>\x7f\x0b\x0c\x1c"
    body = encoded(Script(text))

    assert len(body.decode().splitlines()) == 4
    assert b"\\u003ce\\u003e" in body
    assert CODEC.decode(body).text == text


@each("signature", ["sig", "sig!", "ä", "AAA", "AA==x"])
def test_a_signature_that_is_no_base64_is_encoded(signature):
    chunks = generate(encoded(Script(Reasoning("a", signature=signature))))

    assert chunks[0].candidates[0].content.parts[0].thought_signature == signature.encode()


@each("signature", ["AA==", "-_-_", "+/+/", SIGNATURE])
def test_a_signature_that_is_base64_is_sent_as_it_is(signature):
    assert CODEC.decode(encoded(Script(Reasoning("a", signature=signature))))[0] == Reasoning("a", signature=signature)


@each("after", [ToolCall("f"), native(inlineData={}), Text(""), Reasoning("b"), Pause(1), Finish()])
def test_a_signature_that_no_text_follows_has_a_part_of_its_own(after):
    script = Script(Reasoning("a"), Reasoning("", signature=SIGNATURE), after)

    assert parts_of(chunks_of(encoded(script)))[1] == {"text": "", "thoughtSignature": SIGNATURE}


def test_a_signature_that_comes_after_a_whole_call_is_not_lost():
    script = Script(ToolCall("f", {"a": 1}), ToolCall(signature=SIGNATURE))

    assert CODEC.decode(encoded(script))[1] == Reasoning("", signature=SIGNATURE)


def test_raw_text_is_sent_between_chunks():
    assert encoded(Script("a", Raw(": ping\r\n\r\n"), "b")).count(b"}\r\n\r\n: ping\r\n\r\ndata: {") == 1


def test_content_types_follow_the_framing():
    assert CODEC.content_type_of(request("sse")) == "text/event-stream"
    assert CODEC.content_type_of(request("json")) == "application/json; charset=UTF-8"


# -- errors ---------------------------------------------------------------------------------------

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    502: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}


@each(both)
@each(("status", "word"), STATUSES.items())
def test_the_sdk_raises_for_each_status(status, word, asynchronous):
    headers, body = CODEC.error(http_error(status, "no {luck}"), 1)
    kind = errors.ClientError if status < 500 else errors.ServerError

    for call in (generate, whole):
        with pytest.raises(kind, match=r"no \{luck\}") as caught:
            call(body, asynchronous=asynchronous, status=status, content_type=dict(headers)["content-type"])
        assert (caught.value.code, caught.value.status, caught.value.message) == (status, word, "no {luck}")


def test_an_error_tells_when_to_retry():
    headers, body = CODEC.error(http_error(429, retry_after=7.5), 1)

    assert dict(headers)["retry-after"] == "7.5"
    assert json.loads(body)["error"]["details"][0]["retryDelay"] == "7.5s"


def test_an_error_has_what_the_script_says():
    fault = http_error(400, "bad", kind="FAILED_PRECONDITION", code="API_KEY_INVALID")
    error = json.loads(CODEC.error(fault, 1)[1])["error"]

    assert error["status"] == "FAILED_PRECONDITION"
    assert error["details"][0]["reason"] == "API_KEY_INVALID"
    assert json.loads(CODEC.error(http_error(500, kind="server_error"), 1)[1])["error"]["status"] == "INTERNAL"
    assert CODEC.error(http_error(500, body="<html>"), 1)[1] == b"<html>"


KINDS = [
    (provider_error(), 500, "INTERNAL"),
    (provider_error(kind="overloaded_error"), 503, "UNAVAILABLE"),
    (provider_error(kind="rate_limit_error"), 429, "RESOURCE_EXHAUSTED"),
    (provider_error(kind="DEADLINE_EXCEEDED"), 504, "DEADLINE_EXCEEDED"),
    (provider_error(kind="INVALID_ARGUMENT"), 400, "INVALID_ARGUMENT"),
    (provider_error(kind="UNKNOWN", code="503"), 503, "UNKNOWN"),
]


@each(both)
@each("named", [None, False])
@each(("fault", "code", "word"), KINDS)
def test_the_sdk_raises_for_an_error_inside_a_stream(fault, code, word, named, asynchronous):
    message = 'it "broke"\n\u2028' + ("}" if sdks.GENAI >= 3 else "")  # older ones count the braces in texts too
    fault = replace(fault, message=message, named=named)
    chunks = []
    with pytest.raises(errors.APIError) as caught:
        generate(encoded(Script("a", fault)), asynchronous=asynchronous, chunks=chunks)

    assert [chunk.text for chunk in chunks] == ["a"]
    assert (caught.value.code, caught.value.status, caught.value.message) == (code, word, message)


def test_an_error_in_an_event_with_a_name_is_what_the_sdk_does_not_expect():
    body = encoded(Script("a", provider_error("no", named=True)))

    assert b"\r\n\r\nevent: error\r\ndata: {" in body
    assert CODEC.decode(body)[-1] == provider_error("no", "INTERNAL", "500", named=True)
    with pytest.raises(errors.UnknownApiResponseError):
        generate(body)


@framings
def test_an_error_inside_a_stream_is_read_back(alt):
    body = encoded(Script("a", provider_error("no", "overloaded_error")), alt)

    assert CODEC.decode(body)[-1] == provider_error("no", "UNAVAILABLE", "503")
    if alt == "json":
        assert json.loads(body)[-1] == {"error": {"code": 503, "message": "no", "status": "UNAVAILABLE"}}


# -- requests -------------------------------------------------------------------------------------


def test_a_request_is_read():
    asked = CODEC.request(
        {
            "systemInstruction": {"parts": [{"text": "Be "}, {"text": "kind."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "What's "}, {"text": "up?"}, {"inlineData": {"data": "AA=="}}]},
                {
                    "role": "model",
                    "parts": [
                        {"text": "hm", "thought": True},
                        {"text": "Wait."},
                        {"functionCall": {"name": "look", "args": {"at": 1}}},
                        {"functionCall": {"name": "ask", "id": "x"}},
                    ],
                },
                {
                    "role": "user",
                    "parts": [
                        {"functionResponse": {"name": "look", "response": {"seen": "ö"}}},
                        {"functionResponse": {"name": "ask", "id": "x", "response": {}}},
                    ],
                },
            ],
            "tools": [{"functionDeclarations": [{"name": "look"}, {"name": "ask"}]}, {"googleSearch": {}}],
            "generationConfig": {"candidateCount": 2, "temperature": 0},
            "safetySettings": [],
        },
        path="/v1beta/models/gemini-2.5-flash:streamGenerateContent?key=k&alt=sse",
    )

    assert (asked.api, asked.model, asked.stream, asked.choices) == ("gemini", "gemini-2.5-flash", True, 2)
    assert asked.messages == (
        Message("system", "Be kind."),
        Message("user", "What's up?"),
        Message(
            "assistant",
            "Wait.",
            "hm",
            tool_calls=(ToolCall("look", {"at": 1}, index=0), ToolCall("ask", "{}", id="x", index=1)),
        ),
        Message("tool", '{"seen": "ö"}', tool_call_id="look"),
        Message("tool", "{}", tool_call_id="x"),
    )
    assert asked.tools == ("look", "ask", "googleSearch")
    assert asked.options == {
        "generationConfig": {"candidateCount": 2, "temperature": 0}, "safetySettings": [], "alt": "sse",
    }  # fmt: skip
    assert asked.json["tools"][1] == {"googleSearch": {}}


def test_names_with_underscores_and_single_objects_are_read_too():
    asked = CODEC.request(
        {
            "system_instruction": {"parts": {"text": "Be kind."}},
            "contents": {"parts": {"function_response": {"name": "f", "response": {"a": 1}}}},
            "tools": {"function_declarations": [{"name": "f"}]},
            "generation_config": {"candidate_count": 3},
        },
        path="/v1/projects/p/locations/global/publishers/google/models/gemini-3-pro:generateContent",
    )

    assert [message.content for message in asked.messages] == ["Be kind.", '{"a": 1}']
    assert (asked.model, asked.stream, asked.choices, asked.tools) == ("gemini-3-pro", False, 3, ("f",))


PATHS = [
    ("/v1beta/models/g:streamGenerateContent", "g", True, "json"),
    ("/v1beta/models/g:streamGenerateContent?alt=sse", "g", True, "sse"),
    ("/v1beta/models/g:streamGenerateContent?%24alt=json%3Benum-encoding%3Dint", "g", True, "json"),
    ("/v1beta/models/g:generateContent?key=alt", "g", False, "json"),
    ("/v1beta/tunedModels/my%20own:generateContent", "my own", False, "json"),
    ("/v1/projects/p/locations/l/endpoints/123:streamGenerateContent?alt=sse", "123", True, "sse"),
    ("https://host/v1beta/models/g:streamGenerateContent?alt=sse", "g", True, "sse"),
]


@each(("path", "model", "stream", "alt"), PATHS)
def test_the_path_says_model_method_and_framing(path, model, stream, alt):
    asked = CODEC.request({"contents": [{}]}, path=path)

    assert (asked.model, asked.stream, asked.options["alt"]) == (model, stream, alt)


def test_the_sdk_asks_what_is_read():
    seen = []
    client = client_of(encoded(Script("ok")), seen=seen)
    config = types.GenerateContentConfig(
        system_instruction="Be kind.", candidate_count=2, tools=[types.Tool(google_search=types.GoogleSearch())]
    )
    list(client.models.generate_content_stream(model="gemini-fake", contents="Hi", config=config))
    asked = CODEC.request(json.loads(seen[0].content), path=seen[0].url.raw_path.decode())

    assert (asked.model, asked.stream, asked.choices) == ("gemini-fake", True, 2)
    assert asked.messages == (Message("system", "Be kind."), Message("user", "Hi"))
    assert asked.tools == ("googleSearch",)
    assert asked.options["alt"] == "sse"


@each(
    "body",
    [
        None,
        [],
        {},
        {"contents": []},
        {"contents": "Hi"},
        {"contents": ["Hi"]},
        {"contents": [{"role": "system", "parts": []}]},
        {"contents": [{"parts": "Hi"}]},
        {"contents": [{"parts": [{"text": 1}]}]},
        {"contents": [{"parts": [{"functionCall": {"name": "f", "args": []}}]}]},
        {"contents": [{}], "systemInstruction": "Be kind."},
        {"contents": [{}], "tools": [1]},
        {"contents": [{}], "generationConfig": {"candidateCount": "2"}},
    ],
)
def test_a_request_that_is_none_is_refused(body):
    with pytest.raises(WireError):
        CODEC.request(body, path=PATH)


def test_a_request_that_is_nested_too_deep_is_refused():
    args = {}
    for _ in range(200_000):  # deeper than any version of Python writes
        args = {"a": args}
    for part in ({"functionCall": {"name": "f", "args": args}}, {"functionResponse": {"response": args}}):
        with pytest.raises(WireError, match="nested too deep"):
            CODEC.request({"contents": [{"parts": [part]}]}, path=PATH)


def test_a_request_without_a_model_is_refused():
    with pytest.raises(WireError, match="model"):
        CODEC.request({"contents": [{}]}, path="/v1beta/models")


# -- reading --------------------------------------------------------------------------------------


def in_pieces(body, cuts):
    """Return the events of a stream that comes in pieces."""
    decoder = GeminiDecoder()
    events = []
    for begin, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        events += decoder.feed(body[begin:end])
    return [*events, *decoder.close()]


RICH = Script(
    Reasoning("thinking\n"),
    Reasoning("", signature=SIGNATURE),
    'Say "ä{[\U0001f600',
    ToolCall("f", {"x": ["}", "\\", '"', {"y": None}]}),
    native(inlineData={"mimeType": "image/png", "data": "AA=="}),
    Finish("tool_calls", extra={"finishMessage": "]"}),
    Usage(5, 9, reasoning_tokens=2, extra={"trafficType": "ON_DEMAND"}),
)
SAMPLES = {
    "sse": encoded(RICH),
    "json": encoded(RICH, "json"),
    "pretty": json.dumps(json.loads(encoded(RICH, "json")), indent=2).encode(),
    "lf": encoded(RICH).replace(b"\r\n", b"\n"),
    "error": encoded(Script("a", provider_error("x{\n"))),
    "error in an array": encoded(Script("a", provider_error("x{\n")), "json"),
    "document": CODEC.body(RICH, request(), 1),
}


def thinned(name, end=None):
    """Return places in a sample: all at its beginning and its end, one of eleven between them, others in each sample."""
    end = len(SAMPLES[name]) if end is None else end
    return sorted({*range(30), *range(30 + [*SAMPLES].index(name), end, 11), *range(end - 30, end)})


@pytest.mark.exhaustive
@each("name", SAMPLES)
def test_how_the_bytes_are_cut_makes_no_difference(name):
    body = SAMPLES[name]
    whole = in_pieces(body, [])

    assert len(whole) >= 3
    assert in_pieces(body, range(1, len(body))) == whole
    for cut in thinned(name):
        assert in_pieces(body, [cut]) == whole


@each("name", ["sse", "json", "pretty", "lf", "document"])
def test_the_samples_are_read_as_they_were_written(name):
    assert CODEC.decode(SAMPLES[name]) == RICH


@pytest.mark.exhaustive
@each("name", SAMPLES)
def test_a_stream_that_ends_anywhere_is_read_up_to_there(name):
    body = SAMPLES[name]
    whole = list(CODEC.decode(body))
    for end in thinned(name, len(body.rstrip()) - 3):
        events = list(CODEC.decode(body[:end]))
        said = [event for event in events if isinstance(event, Content)]
        assert said == whole[: len(said)]
        assert events[-1] in (disconnect("end"), disconnect("cut"), whole[-1])
        is_inside = body[:end].rstrip().endswith((b"}", b"[", b",")) is False and name == "pretty"
        assert events[-1] == disconnect("cut") or not is_inside or end < 2


@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_bytes_that_were_changed_raise_nothing_but_wire_errors(name, data):
    body = bytearray(SAMPLES[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b"null", b"{}", b"[1]", b"-1"])
        )
    with contextlib.suppress(WireError):
        CODEC.decode(bytes(body))


@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda tail: b'[{"candidates": [' + tail))
@example(b"\xef")
@example(b"\xef\xbb\xbf")
@example(b"[")
@example(b"{")
@example(b"[]")
@example(b"]")
def test_any_bytes_raise_nothing_but_wire_errors(body):
    with contextlib.suppress(WireError):
        CODEC.decode(body)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.sampled_from(["", "STOP", "\ud800"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(
        ["text", "thought", "parts", "functionCall", "name", "args", "blockReason", "code", "promptTokenCount"]
    ), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
FIELDS = [
    ("candidates",),
    ("candidates", 0, "content"),
    ("candidates", 0, "content", "parts"),
    ("candidates", 0, "content", "parts", 0),
    ("candidates", 0, "content", "parts", 0, "functionCall"),
    ("candidates", 0, "finishReason"),
    ("candidates", 0, "index"),
    ("candidates", 0, "groundingMetadata"),
    ("usageMetadata",),
    ("usageMetadata", "thoughtsTokenCount"),
    ("promptFeedback",),
    ("error",),
]


@pytest.mark.exhaustive
@given(st.sampled_from(["sse", "json"]), st.sampled_from(FIELDS), values)
@settings(max_examples=100)
def test_a_field_may_hold_anything(alt, field, value):
    chunk = {
        "candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 1},
    }
    place = chunk
    for key in field[:-1]:
        place = place[key]
    if field[-1] == 0:
        place[0] = value
    else:
        place[field[-1]] = value
    text = json.dumps(chunk)
    with contextlib.suppress(WireError):
        script = CODEC.decode((f"[{text}]" if alt == "json" else f"data: {text}\r\n\r\n").encode())
        again = CODEC.decode(encoded(script, alt))
        assert [event for event in again if isinstance(event, Content)] == [e for e in script if isinstance(e, Content)]


@pytest.mark.exhaustive
@each("depth", [100, 450, 900, 990, 5000])
@each("where", ["part", "args", "extra", "usage", "args.1"])
def test_deep_nesting_raises_nothing_but_wire_errors(where, depth):
    deep = '{"a":' * depth + "1" + "}" * depth
    part = {"part": deep, "args": f'{{"functionCall": {{"name": "f", "args": {deep}}}}}'}.get(where, '{"text": "a"}')
    extra = f', "groundingMetadata": {deep}' if where == "extra" else ""
    usage = f', "usageMetadata": {deep}' if where == "usage" else ""
    body = f'[{{"candidates": [{{"content": {{"parts": [{part}]}}, "finishReason": "STOP"{extra}}}]{usage}}}]'
    with contextlib.suppress(WireError):
        CODEC.decode(body.encode())
    with contextlib.suppress(WireError):
        CODEC.decode(b"data: " + body[1:-1].encode() + b"\r\n\r\n")


def test_an_object_that_is_too_large_is_refused_before_it_is_whole():
    for begin, more in ((b'[{"a": "', b""), (b"data: ", b""), (b"{", b"\n")):
        decoder = GeminiDecoder(limit=1000)
        decoder.feed(begin)
        with pytest.raises(WireError, match="the limit is 1000"):
            for _ in range(200):
                decoder.feed(b"x" * 100 + more)


def test_chunks_within_the_limit_may_go_on_for_ever():
    decoder = GeminiDecoder(limit=300)
    chunk = b'{"candidates": [{"content": {"parts": [{"text": "a"}]}}]}'
    events = decoder.feed(b"[" + chunk)
    for _ in range(200):
        events += decoder.feed(b",\r\n" + chunk)

    assert len(events) == 201


@each("body", [b"[1]", b"[{},x]", b'[{}]{"a": 1}', b"[[{}]]", b'["a"]', b"[{]}}]", b"[nul", b"[{}}]"])
def test_what_does_not_belong_into_an_array_is_refused(body):
    with pytest.raises(WireError):
        GeminiDecoder().feed(body)


def test_objects_may_stand_without_an_array():
    assert [text for text, _ in Objects().feed(b' {"a": "}"}\n\n{"b": {}} ,{}')] == ['{"a": "}"}', '{"b": {}}', "{}"]


def sse(*chunks):
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n" for chunk in chunks)


def said(*parts, **candidate):
    return {"candidates": [{"content": {"parts": list(parts), "role": "model"}, **candidate}]}


def test_a_finish_reason_that_is_sent_with_every_chunk_is_read_once():
    body = sse(said({"text": "a"}, finishReason="STOP"), said({"text": "b"}, finishReason="MAX_TOKENS"))

    assert CODEC.decode(body) == Script("a", "b", Finish("length"))


def test_what_is_said_beside_the_parts_is_kept_with_the_finish_reason():
    body = sse(
        said({"text": "a"}, groundingMetadata={"webSearchQueries": ["q"]}, safetyRatings=[]),
        said({"text": "b"}, groundingMetadata={}, finishReason="STOP", avgLogprobs=0),
    )

    assert CODEC.decode(body)[-1] == Finish(extra={"groundingMetadata": {"webSearchQueries": ["q"]}, "avgLogprobs": 0})


def test_parts_that_no_other_api_has_are_native():
    parts = [
        {"executableCode": {"code": "1"}},
        {"functionCall": {"name": "f", "partialArgs": [], "willContinue": True}},
        {"functionCall": {"args": {}}},
        {"text": "a", "partMetadata": {}},
    ]

    assert list(CODEC.decode(sse(said(*parts, finishReason="STOP")))) == [
        *(native(**part) for part in parts),
        Finish("tool_calls"),
    ]


def test_parts_that_say_nothing_are_passed_over():
    body = sse(
        said({"text": "a"}, {"text": ""}), said({}), said({"thought": True}, {"text": "b"}), said(finishReason="STOP")
    )

    assert CODEC.decode(body) == Script("a", "b", Finish())


def test_a_stream_without_a_finish_reason_was_cut_short():
    assert CODEC.decode(sse(said({"text": "a"}))) == Script("a", disconnect("end"))
    assert CODEC.decode(b"") == CODEC.decode(b"[") == CODEC.decode(b"[]") == Script(disconnect("end"))
    assert CODEC.decode(sse({"usageMetadata": {"promptTokenCount": 3}}))[1] == disconnect("end")


def test_an_array_that_does_not_end_was_cut_short():
    body = encoded(Script("a", Finish(), Usage(1, 1)), "json")

    assert CODEC.decode(body.removesuffix(b"]")) == Script("a", Finish(), Usage(1, 1), disconnect("end"))


def test_a_usage_is_read_exactly():
    found = {
        "promptTokenCount": 15,
        "candidatesTokenCount": 37,
        "totalTokenCount": 1564,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 15}],
        "toolUsePromptTokenCount": 770,
        "toolUsePromptTokensDetails": [{"modality": "TEXT", "tokenCount": 770}],
        "thoughtsTokenCount": 742,
    }
    script = CODEC.decode(sse({**said({"text": "a"}, finishReason="STOP"), "usageMetadata": found}))

    assert script.usage == Usage(
        15, 779, None, 742,
        extra={k: found[k] for k in ("totalTokenCount", "toolUsePromptTokenCount", "toolUsePromptTokensDetails")},
    )  # fmt: skip
    assert chunks_of(encoded(script))[-1]["usageMetadata"] == found


# -- there and back -------------------------------------------------------------------------------


def normal(script, alt):
    """Return the events that a script has after it was written and read."""
    events, calls, fault = [], {}, None
    for event in script:
        if isinstance(event, Fault):
            fault = event
        elif isinstance(event, ToolCall):
            calls[event.index] = calls[event.index] + event if event.index in calls else event
            events += [] if event.name is None else [event]
        elif isinstance(event, Refusal):
            events.append(Text(event.text))
        elif isinstance(event, Reasoning):
            events.append(replace(event, signature=encoded_signature(event.signature)))
        elif not isinstance(event, (Pause, Raw)):
            events.append(event)
    content = [sent(calls[e.index]) if isinstance(e, ToolCall) else e for e in events if isinstance(e, Content)]
    finish = next((e for e in events if isinstance(e, Finish)), None)
    is_open = fault is not None and finish is None and content and isinstance(content[-1], ToolCall)
    if is_open and not is_object(calls[content[-1].index].arguments):
        content.pop()
    if fault is None or finish is not None:
        content.append(finished(finish, bool(calls)))
    return [*content, *broken_off(fault, finish, alt)]


def encoded_signature(signature):
    return signature and (signature if signature == SIGNATURE else base64.b64encode(signature.encode()).decode())


def is_object(text):
    with contextlib.suppress(ValueError, RecursionError):
        return isinstance(json.loads(text), dict)
    return False


def sent(call):
    """Return a call as it is read back."""
    arguments = json.loads(call.arguments) if is_object(call.arguments) else {"arguments": call.arguments}
    return replace(call, arguments=json.dumps(arguments, ensure_ascii=False) if call.arguments and arguments else "")


def finished(finish, called):
    reason = finish.reason if finish else "stop"
    if reason in ("stop", "STOP", "tool_calls"):
        reason = "tool_calls" if called else "stop"
    return Finish(reason)


def broken_off(fault, finish, alt):
    """Return the fault that is read, where one was written."""
    if fault is None:
        return []
    if isinstance(fault, provider_error):
        code = "500"
        named = None if alt == "json" else fault.named
        return [provider_error(fault.message, fault.kind if fault.kind.isupper() else "INTERNAL", code, named)]
    is_cut = fault == disconnect("cut")
    if finish is not None:
        return [disconnect("end")] if alt == "json" else [disconnect("cut")] if is_cut else []
    return [disconnect("cut" if is_cut else "end")]


blocks = st.sampled_from([
    (Text("a"),), (Text(""),), (Text("b <\u2028"),), (Refusal("no"),), (Reasoning("hm"),), (Reasoning(""),),
    (Reasoning("x", signature="odd"),), (Reasoning("", signature=SIGNATURE),), (Pause(1),), (Usage(3, 4),),
    (native(inlineData={"data": "AA=="}),), (Raw(""),),
    (ToolCall("f", {"x": 1}),), (ToolCall("f", {"x": 1}, id="mine", signature=SIGNATURE), ToolCall(arguments=" ")),
    (ToolCall("f", "{"), Pause(1), ToolCall(arguments='"a": {}'), Usage(1, 1), ToolCall(arguments="}")),
    (ToolCall("f"),), (ToolCall("f", "{}"),), (ToolCall("f", "broken"),),
])  # fmt: skip
ends = st.sampled_from(
    [(), (Finish(),), (Finish("length"), Usage(3, 9, reasoning_tokens=2)), (Finish("OTHER"), Pause(1))]
)
faults = st.sampled_from([(), (), (disconnect(),), (disconnect("end"),), (disconnect("cut"),), (stall(),), (provider_error(),),
                          (provider_error("b", named=False),), (provider_error("b", "UNKNOWN", named=True),)])  # fmt: skip
rich_scripts = st.builds(
    lambda parts, end, fault: Script(*(event for block in (*parts, end, fault) for event in block)),
    st.lists(blocks, max_size=5),
    ends,
    faults,
)


@framings
@strategies.fewer(3)
@given(rich_scripts | strategies.small_scripts)
@example(Script(disconnect("cut")))
@example(Script(Finish(), disconnect("cut")))
@example(Script("a", provider_error()))
@example(Script(ToolCall("f", "{}"), disconnect()))
def test_a_script_that_is_written_and_read_is_the_same_but_for_what_the_format_does_not_say(alt, script):
    assume(not any(map(strikes_first, script)))
    read = CODEC.decode(encoded(script, alt))

    assert [event for event in read if not isinstance(event, Usage)] == normal(script, alt)
    assert not read.allow_illegal
    if script.fault is None and script.usage is not None:
        usage = script.usage
        assert read.usage == replace(usage, output_tokens=max(usage.output_tokens, usage.reasoning_tokens or 0))


@framings
@strategies.fewer(3)
@given(rich_scripts)
def test_what_was_read_is_written_and_read_without_a_difference(alt, script):
    assume(script.fault is None)
    read = CODEC.decode(encoded(script, alt))

    assert CODEC.decode(encoded(read, alt)) == read
    assert CODEC.decode(CODEC.body(read, request(), 1)).text == read.text


@framings
@pytest.mark.parametrize("how", ["end", "cut"])
def test_a_stream_that_dies_has_the_usage_seen_last(alt, how):
    script = Script("a", "b", Usage(7, 2), disconnect(how))
    read = CODEC.decode(encoded(script, alt))

    assert read.usage == Usage(7, 2)
    assert read[-1] == disconnect(how)
    assert read.text == "ab"
