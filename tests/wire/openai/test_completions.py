"""Legacy completions: the codec against recordings, the official SDK, broken bytes and itself."""

from __future__ import annotations

import contextlib
import json

import corpus
import openai
import pytest
import sdks
import strategies
from hypothesis import given
from hypothesis import strategies as st
from nesting import depths, nested
from openai.types import Completion
from sending import sent
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
from fakellm.script.events import Native, Raw
from fakellm.wire.codec import pieces
from fakellm.wire.openai.completions import CompletionsCodec

CODEC = CompletionsCodec()
both = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


def request(**fields):
    return CODEC.request({"model": "gpt-3.5-turbo-instruct", "prompt": "Say hi", "stream": True, **fields})


def encoded(script, *, usage=True, **fields):
    """Return the bytes of a stream; what a fault other than bytes would do is left out."""
    encoder = CODEC.encoder(request(stream_options={"include_usage": usage}, **fields), 1)
    return b"".join(piece for piece in pieces(encoder, script) if isinstance(piece, bytes))


def data_of(body):
    """Return the data of each event of a stream."""
    return [
        event.removeprefix("event: error\n").removeprefix("data: ") for event in body.decode().split("\n\n") if event
    ]


def chunks_of(body):
    return [json.loads(data) for data in data_of(body) if data != "[DONE]"]


def summary(chunks):
    """Return what chunks say, per choice: text and finish reason; and the usage."""
    answers, usage = {}, None
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for choice in chunk.get("choices") or ():
            answer = answers.setdefault(choice.get("index", 0), {"text": "", "finish": None})
            answer["text"] += choice.get("text") or ""
            answer["finish"] = choice.get("finish_reason") or answer["finish"]
    return answers, sdks.without_nulls(usage)


def streamed(body, *, asynchronous=False):
    """Return the chunks that the SDK gives, and how it ended."""
    chunks, asked = [], {"model": "m", "prompt": "p", "stream": True}

    async def read():
        async for chunk in await sdks.openai_client(body, asynchronous=True).completions.create(**asked):
            chunks.append(chunk)

    try:
        if asynchronous:
            sdks.run(read())
        else:
            chunks.extend(sdks.openai_client(body).completions.create(**asked))
    except Exception as error:
        return sdks.dumped(chunks), f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}: {error}"
    return sdks.dumped(chunks), "ok"


# -- recordings ---------------------------------------------------------------------------------------


@corpus.needs_corpus
@each("row", corpus.expected_of("openai.completions"))
def test_a_recorded_stream_written_again_says_the_same(row):
    script = CODEC.decode(corpus.body(row["file"], row["idx"]))
    written, end = streamed(encoded(script, usage=script.usage is not None))

    assert not script.allow_illegal
    assert summary(written) == summary(corpus.chunks(row))
    assert end.startswith(row["end"])


@corpus.needs_corpus
@each("row", corpus.expected_of("openai.completions"))
def test_a_recorded_stream_keeps_its_chunk_boundaries(row):
    script = CODEC.decode(corpus.body(row["file"], row["idx"]))
    recorded = [choice["text"] for chunk in corpus.chunks(row) for choice in chunk["choices"] if choice.get("text")]

    assert [event.text for event in script if isinstance(event, Text)] == recorded


@corpus.needs_corpus
def test_a_decoded_recording_encodes_to_a_stream_that_decodes_to_the_same():
    for row in corpus.expected_of("openai.completions"):
        script = CODEC.decode(corpus.body(row.values[0]["file"], row.values[0]["idx"]))
        assert CODEC.decode(encoded(script, usage=script.usage is not None)) == script


# -- requests -----------------------------------------------------------------------------------------


@each(
    ("prompt", "texts"),
    [
        ("one", ["one"]),
        (["one", "two"], ["one", "two"]),
        ([1, 2, 3], ["1 2 3"]),
        ([[1, 2], [3]], ["1 2", "3"]),
        ([], []),
        (None, [""]),
    ],
)
def test_each_prompt_is_a_message_of_the_user(prompt, texts):
    read = request(prompt=prompt)

    assert [(message.role, message.content) for message in read.messages] == [("user", text) for text in texts]
    assert read.choices == max(len(texts), 1)


def test_a_request_keeps_what_else_was_asked_for():
    read = request(prompt=["a", "b"], n=3, max_tokens=7)

    assert (read.api, read.model, read.stream, read.choices) == (CODEC.api, "gpt-3.5-turbo-instruct", True, 6)
    assert read.options == {"n": 3, "max_tokens": 7}
    assert read.json["prompt"] == ["a", "b"]
    assert read.tools == ()


@each(
    ("body", "message"),
    [
        ([], "you must provide a model parameter"),
        ({"prompt": "p"}, "you must provide a model parameter"),
        ({"model": "m"}, "Missing required parameter: 'prompt'."),
        ({"model": "m", "prompt": 5}, "'prompt' is 5"),
        ({"model": "m", "prompt": [{}]}, "'prompt' is {}"),
        ({"model": 5, "prompt": "p"}, "'model' is 5"),
        ({"model": "m", "prompt": "p", "n": "2"}, "'n' is '2'"),
    ],
)
def test_what_is_no_request_is_refused_in_words(body, message):
    with pytest.raises(WireError, match=message.replace("[", r"\[")):
        CODEC.request(body)


def test_the_sdk_sends_what_the_codec_reads():
    seen = []
    client = sdks.openai_client(encoded(Script("Hi")), seen=seen)
    list(client.completions.create(model="m", prompt=["a", "b"], n=2, stream=True))

    read = CODEC.request(json.loads(seen[0].content))
    assert (read.model, read.prompt, read.choices, read.stream) == ("m", "a\nb", 4, True)


# -- what is written ----------------------------------------------------------------------------------


@both
def test_the_sdk_reads_texts_finish_reason_and_usage(asynchronous):
    script = Script("Hel", "lo", "", Finish("length"), Usage(3, 2))
    chunks, end = streamed(encoded(script), asynchronous=asynchronous)

    assert end == "ok"
    assert [choice["text"] for chunk in chunks for choice in chunk["choices"]] == ["Hel", "lo", "", ""]
    assert summary(chunks)[0] == {0: {"text": "Hello", "finish": "length"}}
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 5
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


def test_a_chunk_has_the_fields_of_a_recorded_one_in_their_order():
    [first, *_] = chunks_of(encoded(Script("Hi"), usage=False))

    assert list(first) == ["id", "object", "created", "choices", "model"]
    assert first["choices"] == [{"text": "Hi", "index": 0, "logprobs": None, "finish_reason": None}]
    assert first["object"] == "text_completion"


def test_a_script_that_is_not_finished_stops():
    assert summary(chunks_of(encoded(Script("Hi"))))[0] == {0: {"text": "Hi", "finish": "stop"}}


def test_an_empty_script_is_an_empty_answer():
    assert summary(chunks_of(encoded(Script())))[0] == {0: {"text": "", "finish": "stop"}}


def test_a_refusal_is_text_and_what_the_api_does_not_have_is_left_out():
    native = Native("openai.chat", {"audio": {}})
    script = Script(Reasoning("hm"), "No", Refusal(", no."), native, ToolCall("f", {}), Finish("tool_calls"))

    assert summary(chunks_of(encoded(script)))[0] == {0: {"text": "No, no.", "finish": "stop"}}
    assert json.loads(CODEC.body(script, request(), 1))["choices"][0]["text"] == "No, no."


def test_raw_text_and_silence_stand_where_they_were_scripted():
    script = Script(Raw(": wait\n\n"), "a", Pause(2), "b")
    steps = list(pieces(CODEC.encoder(request(), 1), script))

    assert steps[0] == b": wait\n\n"
    assert steps[2] == Pause(2)
    assert CODEC.decode(sent(steps)).text == "ab"


def test_several_prompts_have_several_answers():
    script = Script("a", Text("b", choice=1), Finish(), Finish("length", choice=1))
    chunks, _ = streamed(encoded(script, prompt=["p", "q"]))

    assert summary(chunks)[0] == {0: {"text": "a", "finish": "stop"}, 1: {"text": "b", "finish": "length"}}
    document = sdks.openai_client(CODEC.body(script, request(), 1), content_type="application/json")
    choices = document.completions.create(model="m", prompt="p").choices
    assert [(choice.index, choice.text, choice.finish_reason) for choice in choices] == [
        (0, "a", "stop"), (1, "b", "length"),
    ]  # fmt: skip


@both
def test_the_sdk_reads_a_document(asynchronous):
    body = CODEC.body(Script("Hel", "lo", Finish("length"), Usage(3, 2)), request(), 7)
    client = sdks.openai_client(body, asynchronous=asynchronous, content_type="application/json")
    answer = client.completions.create(model="m", prompt="p")
    answer = sdks.run(answer) if asynchronous else answer

    assert (answer.choices[0].text, answer.choices[0].finish_reason, answer.usage.total_tokens) == (
        "Hello",
        "length",
        5,
    )
    Completion.model_validate(json.loads(body), strict=True)


def test_a_finish_reason_can_say_more():
    script = Script("a", Finish("stop", extra={"stop_reason": 13}))

    assert chunks_of(encoded(script))[1]["choices"][0]["stop_reason"] == 13
    assert json.loads(CODEC.body(script, request(), 1))["choices"][0]["stop_reason"] == 13


def test_an_answer_is_the_same_every_time_and_has_the_id_of_its_call():
    first, again, second = (b"".join(pieces(CODEC.encoder(request(), number), Script("a"))) for number in (1, 1, 2))

    assert first == again
    assert [chunks_of(body)[0]["id"] for body in (first, second)] == ["cmpl-fakellm000001", "cmpl-fakellm000002"]
    assert dict(CODEC.headers(2))["x-request-id"] == "req_fakellm000002"


# -- log probabilities --------------------------------------------------------------------------------

TOP = [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105]}, {"token": "é", "logprob": -2.5, "bytes": [195, 169]}]
TOKENS = [
    {"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": TOP},
    {"token": "!", "logprob": -0.2, "bytes": [33], "top_logprobs": []},
]


def test_log_probabilities_are_written_in_the_legacy_form_and_read_back():
    body = encoded(Script(Text("Hi!", logprobs=TOKENS), Text("Hi", logprobs=TOKENS[:1])))
    first, second = (chunk["choices"][0]["logprobs"] for chunk in chunks_of(body)[:2])

    assert first == {
        "tokens": ["Hi", "!"],
        "token_logprobs": [-0.1, -0.2],
        "top_logprobs": [{"Hi": -0.1, "é": -2.5}, {}],
        "text_offset": [6, 8],
    }
    assert second["text_offset"] == [9]
    assert json.loads(CODEC.decode(body)[0].logprobs) == TOKENS


def test_a_document_has_the_log_probabilities_of_all_pieces():
    body = CODEC.body(Script(Text("Hi!", logprobs=TOKENS), Text("Hi", logprobs=TOKENS[:1])), request(), 1)

    assert json.loads(body)["choices"][0]["logprobs"]["tokens"] == ["Hi", "!", "Hi"]
    Completion.model_validate(json.loads(body), strict=True)


@each(("asked", "top"), [({"logprobs": 2}, {"Hi": -0.25}), ({"logprobs": 0}, {})])
def test_log_probabilities_that_were_asked_for_and_not_scripted_are_made_up(asked, top):
    [first, *_] = chunks_of(encoded(Script("Hi"), **asked))

    assert first["choices"][0]["logprobs"] == {
        "tokens": ["Hi"], "token_logprobs": [-0.25], "top_logprobs": [top], "text_offset": [6],
    }  # fmt: skip


def test_an_answer_to_the_second_prompt_counts_from_the_second_prompt():
    script = Script(Text("a", choice=2), Text("b", choice=3), Text("c", choice=3))
    chunks = chunks_of(encoded(script, prompt=["four", "seven.."], n=2, logprobs=1))

    assert [chunk["choices"][0]["logprobs"]["text_offset"] for chunk in chunks[:3]] == [[7], [7], [8]]


@each("logprobs", ["[1, null]", '[{"top_logprobs": 3}, {"top_logprobs": [3, {}]}]'])
def test_log_probabilities_of_another_form_do_no_harm(logprobs):
    assert CODEC.decode(encoded(Script(Text("a", logprobs=logprobs)))).text == "a"


# -- errors and broken streams ------------------------------------------------------------------------


@each(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (503, openai.InternalServerError),
    ],
)
def test_the_sdk_raises_its_exception_for_an_http_error(status, kind):
    headers, body = CODEC.error(http_error(status, "not now", retry_after=7), 1)
    client = sdks.openai_client(body, status=status, headers=headers)
    with pytest.raises(kind, match="not now") as caught:
        client.completions.create(model="m", prompt="p", stream=True)

    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.request_id == "req_fakellm000001"


@both
@pytest.mark.parametrize("named", [None, True])
def test_the_sdk_raises_for_an_error_in_the_stream(asynchronous, named):
    chunks, end = streamed(encoded(Script("a", provider_error("too busy", named=named))), asynchronous=asynchronous)

    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["a"]
    assert end == "openai.APIError: too busy"


def test_an_error_in_the_stream_is_read_back():
    fault = provider_error("too busy", kind="requests", code="rate_limit_exceeded")

    assert CODEC.decode(encoded(Script("a", fault))) == Script("a", fault)
    assert CODEC.decode(b'data: {"error": "no"}\n\n') == Script(provider_error("no"))


@each(
    ("fault", "read"),
    [
        (disconnect("end"), disconnect("end")),
        (disconnect("cut"), disconnect("cut")),
        (disconnect("reset"), disconnect("end")),
        (stall(), disconnect("end")),
    ],
)
def test_a_stream_that_breaks_is_read_as_one(fault, read):
    assert CODEC.decode(encoded(Script("a", fault), usage=False)) == Script("a", read)


def test_a_stream_that_breaks_in_order_has_the_usage_that_was_scripted():
    assert CODEC.decode(encoded(Script("a", Usage(1, 1, 0, 0), disconnect("end")))).usage == Usage(1, 1, 0, 0)
    assert CODEC.decode(encoded(Script("a", disconnect("end")))).usage is None


def test_the_finish_reason_that_comes_twice_and_with_text_is_read_once():
    chunk = 'data: {{"choices":[{{"text":"{}","index":0,"finish_reason":"length"}}]}}\n\n'
    body = (chunk.format("a") + chunk.format("") + "data: [DONE]\n\ndata: not JSON\n\n").encode()

    assert CODEC.decode(body) == Script("a", Finish("length"))


def test_a_choice_without_text_and_index_is_read():
    assert CODEC.decode(b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n') == Script(Finish())


def test_an_empty_body_is_a_stream_without_its_end():
    assert CODEC.decode(b"") == Script(disconnect("end"))


# -- laws ---------------------------------------------------------------------------------------------


def normal(script):
    """Return what of a script a stream of this API can say."""
    events = []
    for event in script:
        match event:
            case Text(text) | Refusal(text):
                events.append(Text(text))
            case Finish(reason):
                events.append(Finish("stop" if reason == "tool_calls" else reason))
            case provider_error(message, kind, code, named):
                return Script(*events, provider_error(message, kind, code, named or None))
    if script.finish_reason is None:
        events.append(Finish())
    said = sum(isinstance(event, (Text, Refusal, Reasoning, ToolCall)) for event in script)
    usage = script.usage or Usage(2, said)
    counts = usage.input_tokens, usage.output_tokens, usage.cached_tokens or 0, usage.reasoning_tokens or 0
    return Script(*events, Usage(*counts))


whole = strategies.whole_scripts | strategies.failing_scripts


@strategies.fewer(3)
@given(whole)
def test_a_script_that_was_written_is_read_back(script):
    assert CODEC.decode(encoded(script)) == normal(script)


@strategies.fewer(3)
@given(whole)
def test_every_stream_keeps_the_rules_of_the_recorded_ones(script):
    data = data_of(encoded(script))
    chunks = chunks_of(encoded(script))

    assert data[-1] == "[DONE]"
    assert data.count("[DONE]") == 1
    chunks = [chunk for chunk in chunks if "error" not in chunk]
    for name in ("id", "object", "created", "model"):
        assert len({chunk[name] for chunk in chunks}) <= 1
    finishes = [chunk for chunk in chunks if chunk["choices"] and chunk["choices"][0]["finish_reason"]]
    if script.fault is None:
        assert finishes == [chunks[-2]]
        assert chunks[-1]["choices"] == []
        usage = chunks[-1]["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


@strategies.fewer(3)
@given(whole)
def test_a_document_says_what_the_stream_says(script):
    [choice] = json.loads(CODEC.body(script, request(), 1))["choices"]

    assert choice["text"] == "".join(e.text for e in script if isinstance(e, (Text, Refusal)))


def fed(body, sizes):
    decoder, events, start = CODEC.decoder(), [], 0
    for size in sizes:
        events += decoder.feed(body[start : start + size])
        start += size
    return [*events, *decoder.feed(body[start:]), *decoder.close()]


@each(
    "script",
    [Script("é\U0001f600", Finish(), Usage(1, 2)), Script("a", provider_error("x")), Script("a", disconnect("cut"))],
)
def test_reads_may_be_cut_anywhere(script):
    body = encoded(script, logprobs=1)
    once = fed(body, [])

    assert fed(body, [1] * len(body)) == once
    for cut in (*range(40), *range(40, len(body), 11)):
        assert fed(body, [cut]) == once


ODD = [
    None, True, -1, 0, 3, 10**30, 1.5, "", "x", "\ud800", [], [3], [[]], [None], {}, {"a": 1}, {"error": {}},
    json.loads("[" * 400 + "]" * 400), float("nan"),
]  # fmt: skip
RECORDED = [
    {
        "id": "i",
        "choices": [
            {
                "text": "a",
                "index": 0,
                "logprobs": {"tokens": ["a"], "token_logprobs": [-1], "top_logprobs": [{"a": -1}], "text_offset": [0]},
                "finish_reason": None,
            }
        ],
    },
    {"choices": [{"text": "", "index": 0, "finish_reason": "stop"}]},
    {
        "choices": [],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 1}},
    },
    {"error": {"message": "m", "type": "t", "code": "c"}},
]


@st.composite
def misshapen(draw, value):
    """Draw the value with something in it replaced by something odd."""
    if isinstance(value, (dict, list)) and value and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        copy = value.copy()
        copy[key] = draw(misshapen(value[key]))
        return copy
    return draw(st.sampled_from(ODD))


@strategies.fewer(3)
@given(st.lists(st.sampled_from(RECORDED).flatmap(lambda chunk: misshapen(chunk) | st.just(chunk)), max_size=4))
def test_misshapen_chunks_are_read_or_refused(chunks):
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode()
    try:
        script = CODEC.decode(body)
    except WireError:
        return
    assert CODEC.decode(encoded(script)) is not None


@each(("begin", "end"), ["[]", ('{"a":', "}")], ids=["lists", "objects"])
@pytest.mark.exhaustive
def test_what_is_nested_deeply_is_read_or_refused(begin, end):
    for depth in depths(begin, end):
        chunk = {"choices": [{"text": "a", "logprobs": {"tokens": ["a"], "token_logprobs": ["DEEP"]}}]}
        deep = json.dumps(chunk).replace('"DEEP"', nested(depth, begin, end))
        with contextlib.suppress(WireError):
            assert CODEC.decode(f"data: {deep}\n\n".encode()).text == "a"


@strategies.fewer(3)
@given(st.data())
def test_broken_bytes_are_read_or_refused(data):
    body = encoded(data.draw(whole), logprobs=1)
    start, size = data.draw(st.integers(0, len(body))), data.draw(st.integers(0, 40))
    broken = body[:start] + data.draw(st.binary(max_size=6)) + body[start + size :]
    for bytes_ in (broken, body[:start], data.draw(st.binary(max_size=60))):
        with contextlib.suppress(WireError):
            CODEC.decode(bytes_)
