"""Chat completions: the codec against recordings and against the official SDK."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import corpus
import openai
import pytest
import sdks
import strategies
from hypothesis import example, given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel
from sending import sent, sse_of
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
)
from fakellm.contracts.grammar.check import check_wire
from fakellm.errors import WireError
from fakellm.script.events import Fault, Native
from fakellm.script.messages import Message
from fakellm.wire.codec import pieces
from fakellm.wire.openai.chat import ChatCodec
from fakellm.wire.openai.chat_reader import ChatDecoder
from fakellm.wire.openai.profiles import PROFILES

CODEC = ChatCodec()


def request(**fields):
    return CODEC.request({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "stream": True, **fields})


def encoded(script, codec=CODEC, **fields):
    asked = {"stream_options": {"include_usage": script.usage is not None}, **fields}
    steps = pieces(codec.encoder(request(**asked), 1, script.usage), script)
    return sent(steps)


def text_of(content):
    """Return the text of a delta's content, which Mistral's reasoning models send as a list of parts."""
    parts = content if isinstance(content, list) else [{"text": content}]
    return "".join(part.get("text") or "" for part in parts)


def summary(chunks):
    """Return what chunks say, per choice: text, refusal, tool calls, finish reason; and the usage."""
    answers, usage = {}, None
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for choice in chunk.get("choices") or ():
            answer = answers.setdefault(
                choice["index"], {"text": "", "refusal": "", "calls": [], "finish": None, "more": {}}
            )
            delta = choice.get("delta") or {}
            answer["text"] += text_of(delta.get("content"))
            answer["refusal"] += delta.get("refusal") or ""
            answer["finish"] = choice.get("finish_reason") or answer["finish"]
            for call in delta.get("tool_calls") or ():
                function = call.get("function") or {}
                if call.get("id") and function.get("name"):
                    answer["calls"].append([call["id"], function["name"], ""])
                answer["calls"][-1][2] += function.get("arguments") or ""
            function_call = delta.get("function_call") or {}
            for key, value in function_call.items():
                answer["more"][key] = answer["more"].get(key, "") + (value or "")
    return answers, sdks.without_nulls(usage)


def streamed(body):
    chunks = []
    try:
        with sdks.openai_client(body).chat.completions.create(model="m", messages=[], stream=True) as stream:
            for chunk in stream:
                chunks.append(chunk)
    except Exception as error:
        return sdks.dumped(chunks), f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}: {error}"
    return sdks.dumped(chunks), "ok"


@pytest.mark.exhaustive
@corpus.needs_corpus
@each("row", corpus.expected_of("openai.chat"))
def test_a_recorded_stream_written_again_says_the_same(row):
    script = CODEC.decode(corpus.body(row["file"], row["idx"]))
    written, end = streamed(encoded(script))

    assert summary(written) == summary(corpus.chunks(row))
    assert end.startswith(row["end"])


# -- the official SDK --------------------------------------------------------------------------------------


both = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
MESSAGES = [{"role": "user", "content": "Hi"}]
RICH = Script(
    Reasoning("hm, "), Reasoning("so"), "Hel", "", "lo \U0001f600", ToolCall("weather", '{"city": ', id="call_a"),
    ToolCall(arguments='"Paris"}'), ToolCall("time"), Usage(12, 9, cached_tokens=4, reasoning_tokens=2), Finish("tool_calls"),
)  # fmt: skip


def read(body, *, asynchronous=False, **asked):
    """Return the SDK's chunks of a body."""
    if asynchronous:

        async def main():
            async with sdks.openai_client(body, asynchronous=True) as client:
                stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True, **asked)
                return await sdks.collect(stream)

        return sdks.run(main())
    with sdks.openai_client(body) as client:
        return list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True, **asked))


@both
def test_the_sdk_reads_text_reasoning_tools_and_usage(asynchronous):
    chunks = read(encoded(RICH), asynchronous=asynchronous)
    answers, usage = summary(sdks.dumped(chunks))

    assert answers[0]["text"] == RICH.text
    assert answers[0]["calls"] == [["call_a", "weather", '{"city": "Paris"}'], ["call_1", "time", "{}"]]
    assert answers[0]["finish"] == "tool_calls"
    assert (
        "".join(getattr(c.choices[0].delta, "reasoning_content", None) or "" for c in chunks if c.choices) == "hm, so"
    )
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (12, 9, 21)
    assert usage["prompt_tokens_details"]["cached_tokens"] == 4
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 2


@both
def test_the_sdks_stream_helper_adds_it_up(asynchronous):
    body = encoded(RICH)
    asked = {"model": "m", "messages": MESSAGES}
    if asynchronous:

        async def main():
            async with sdks.openai_client(body, asynchronous=True).chat.completions.stream(**asked) as stream:
                kinds = [event.type async for event in stream]
                return kinds, await stream.get_final_completion()

        kinds, final = sdks.run(main())
    else:
        with sdks.openai_client(body).chat.completions.stream(**asked) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_completion()

    assert {"chunk", "content.delta", "content.done", "tool_calls.function.arguments.delta"} <= set(kinds)
    assert final.choices[0].message.content == RICH.text
    assert [call.function.name for call in final.choices[0].message.tool_calls] == ["weather", "time"]
    assert final.usage.total_tokens == 21


@both
def test_the_sdk_reads_a_document(asynchronous):
    body = CODEC.body(RICH, request(stream=False), 1)
    asked = {"model": "m", "messages": MESSAGES}
    options = {"content_type": "application/json"}
    if asynchronous:
        client = sdks.openai_client(body, asynchronous=True, **options)
        completion = sdks.run(client.chat.completions.create(**asked))
    else:
        completion = sdks.openai_client(body, **options).chat.completions.create(**asked)

    ChatCompletion.model_validate_json(body, strict=True)
    message = completion.choices[0].message
    assert (message.content, message.reasoning_content) == (RICH.text, "hm, so")
    assert [call.function.arguments for call in message.tool_calls] == ['{"city": "Paris"}', "{}"]
    assert completion.choices[0].finish_reason == "tool_calls"
    assert completion.usage.total_tokens == 21


def test_a_refusal_comes_in_its_own_field():
    script = Script(Refusal("I "), Refusal("cannot"))
    answers, _ = summary(sdks.dumped(read(encoded(script))))
    document = json.loads(CODEC.body(script, request(stream=False), 1))

    assert answers[0] == {"text": "", "refusal": "I cannot", "calls": [], "finish": "stop", "more": {}}
    assert document["choices"][0]["message"]["refusal"] == "I cannot"
    assert document["choices"][0]["message"]["content"] is None


@each("reason", ["stop", "length", "tool_calls", "content_filter", "a word of its own"])
def test_the_sdk_reads_each_finish_reason(reason):
    answers, _ = summary(sdks.dumped(read(encoded(Script("a", Finish(reason))))))

    assert answers[0]["finish"] == reason


def test_several_answers_come_one_choice_a_chunk():
    script = Script("a", Text("b", choice=1), Finish(choice=1), "c", Finish("length"))
    answers, _ = summary(sdks.dumped(read(encoded(script, n=2))))
    document = json.loads(CODEC.body(script, request(n=2), 1))

    assert {choice: (answer["text"], answer["finish"]) for choice, answer in answers.items()} == {
        0: ("ac", "length"), 1: ("b", "stop"),
    }  # fmt: skip
    assert [(c["index"], c["message"]["content"], c["finish_reason"]) for c in document["choices"]] == [
        (0, "ac", "length"), (1, "b", "stop"),
    ]  # fmt: skip


def test_log_probabilities_are_those_of_the_script_or_made_up_where_the_request_wants_some():
    told = [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}]
    script = Script(Text("a", logprobs=told), "\u00e9")
    chunks = chunks_of(encoded(script, logprobs=True, top_logprobs=2))
    found = [chunk["choices"][0]["logprobs"] for chunk in chunks if chunk["choices"]]

    assert [logprobs["content"] for logprobs in found if logprobs] == [told, [
        {"token": "\u00e9", "logprob": -0.25, "bytes": [195, 169], "top_logprobs": [
            {"token": "\u00e9", "logprob": -0.25, "bytes": [195, 169]}, {"token": "\u00e9", "logprob": -1.25, "bytes": [195, 169]},
        ]},
    ]]  # fmt: skip
    assert CODEC.decode(encoded(script)).chunks[0] == Text("a", logprobs=told)
    assert all(chunk["choices"][0]["logprobs"] is None for chunk in chunks_of(encoded(Script("a"))) if chunk["choices"])


def test_structured_output_is_text_that_the_sdk_parses():
    class Answer(BaseModel):
        city: str

    body = CODEC.body(Script('{"city": ', '"Paris"}'), request(stream=False), 1)
    with sdks.openai_client(body, content_type="application/json") as client:
        parsed = client.chat.completions.parse(model="m", messages=MESSAGES, response_format=Answer)
    assert parsed.choices[0].message.parsed == Answer(city="Paris")


def test_usage_is_sent_only_if_it_was_asked_for():
    script = Script("a", Usage(3, 4))

    assert not any("usage" in chunk for chunk in chunks_of(encoded(script, stream_options=None)))
    asked = chunks_of(encoded(script))
    assert [chunk["usage"] for chunk in asked[:-1]] == [None] * (len(asked) - 1)
    assert asked[-1]["usage"]["total_tokens"] == 7


def test_a_usage_that_is_not_scripted_counts_words_and_pieces():
    asked = chunks_of(
        encoded(
            Script("a", "b"),
            stream_options={"include_usage": True},
            messages=[{"role": "user", "content": "one two three"}],
        )
    )

    assert (asked[-1]["usage"]["prompt_tokens"], asked[-1]["usage"]["completion_tokens"]) == (3, 2)


def test_a_request_with_functions_is_answered_by_a_function_call():
    functions = [{"name": "weather", "parameters": {}}]
    script = Script(ToolCall("weather", '{"a": '), ToolCall(arguments="1}"))
    answers, _ = summary(sdks.dumped(read(encoded(script, functions=functions))))
    document = json.loads(CODEC.body(script, request(functions=functions), 1))

    assert answers[0]["more"] == {"name": "weather", "arguments": '{"a": 1}'}
    assert answers[0]["finish"] == document["choices"][0]["finish_reason"] == "function_call"
    assert document["choices"][0]["message"]["function_call"] == {"name": "weather", "arguments": '{"a": 1}'}


def test_what_only_this_api_has_stands_in_the_delta():
    script = Script("a", Native("openai.chat", {"annotations": [{"type": "url_citation"}]}), Native("gemini", {"x": 1}))
    chunks = chunks_of(encoded(script))
    document = json.loads(CODEC.body(script, request(), 1))

    assert [c["choices"][0]["delta"] for c in chunks if "annotations" in c["choices"][0]["delta"]] == [
        {"annotations": [{"type": "url_citation"}]}
    ]
    assert document["choices"][0]["message"]["annotations"] == [{"type": "url_citation"}]
    assert json.loads(CODEC.decode(encoded(script)).chunks[1].data) == json.loads(script[1].data)


def native(**fields):
    return Native("openai.chat", fields)


def call(index, **function):
    more = {"id": f"c{index}", "type": "function"} if "name" in function else {}
    return {"index": index, **more, "function": function}


@each(
    ("script", "message", "reason"),
    [
        (  # calls in pieces, which end the answer as others do
            Script(
                native(tool_calls=[call(0, name="a", arguments="")]),
                native(tool_calls=[call(0, arguments='{"x"'), call(1, name="b", arguments="{}")]),
                native(tool_calls=[call(0, arguments=":1}")]),
            ),
            {
                "content": None,
                "tool_calls": [
                    {"id": "c0", "type": "function", "function": {"name": "a", "arguments": '{"x":1}'}},
                    {"id": "c1", "type": "function", "function": {"name": "b", "arguments": "{}"}},
                ],
            },
            "tool_calls",
        ),
        (  # beside a call that was scripted as such; a name and an id that are repeated are the same
            Script(
                ToolCall("a", '{"x":1}', id="c0"),
                native(tool_calls=[call(1, name="b", arguments="{")]),
                native(tool_calls=[call(1, name="b", arguments="}")]),
            ),
            {
                "tool_calls": [
                    {"id": "c0", "type": "function", "function": {"name": "a", "arguments": '{"x":1}'}},
                    {"id": "c1", "type": "function", "function": {"name": "b", "arguments": "{}"}},
                ]
            },
            "tool_calls",
        ),
        (
            Script(native(function_call={"name": "f", "arguments": "{"}), native(function_call={"arguments": "}"})),
            {"content": None, "function_call": {"name": "f", "arguments": "{}"}},
            "function_call",
        ),
        (
            Script("a", native(content="b"), "c", native(reasoning_details="d"), native(reasoning_details="e")),
            {"content": "abc", "reasoning_details": "de"},
            "stop",
        ),
        (  # lists grow, by the index where there is one
            Script(native(annotations=[{"n": 1}], parts=[{"index": 0, "text": "a"}]), native(annotations=[{"n": 2}]),
                   native(parts=[{"index": 0, "text": "b"}, {"index": 1, "text": "c"}])),
            {"annotations": [{"n": 1}, {"n": 2}], "parts": [{"index": 0, "text": "ab"}, {"index": 1, "text": "c"}]},
            "stop",
        ),
        (Script("a", native(audio={"id": "1", "data": "x"}), native(audio={"id": "1", "data": "y"}), native(refusal=None)),
         {"content": "a", "audio": {"id": "1", "data": "xy"}}, "stop"),
        (Script(native(role="assistant"), native(role="assistant", content=[{"type": "text", "text": "a"}])),
         {"role": "assistant", "content": [{"type": "text", "text": "a"}]}, "stop"),
    ],
)  # fmt: skip
def test_native_deltas_add_up_in_a_document(script, message, reason):
    (choice,) = json.loads(CODEC.body(script, request(), 1))["choices"]
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks_of(encoded(script)) if chunk["choices"]]

    assert {name: choice["message"].get(name) for name in message} == message
    assert choice["finish_reason"] == reasons[-1] == reason


def test_what_stands_beside_a_finish_reason_comes_back():
    script = Script("a", Finish("stop", extra={"content_filter_results": {"hate": {"filtered": False}}}))
    (found,) = [c["choices"][0] for c in chunks_of(encoded(script)) if c["choices"][0]["finish_reason"]]

    assert found["content_filter_results"] == {"hate": {"filtered": False}}


# -- what holds in every recorded stream of OpenAI ------------------------------------------------------------


def chunks_of(body):
    """Return the chunks of a stream, after checking its frame."""
    sses = sse_of(body)
    assert all(sse.event is None for sse in sses)
    assert [sse.data for sse in sses].index("[DONE]") == len(sses) - 1
    return [json.loads(sse.data) for sse in sses[:-1]]


def check(body, *, asked):
    """Check what WIRE.md counts as holding in all of OpenAI's own streams; what a script's arguments are is its own."""
    check_wire(body, api="openai_chat", ignore="openai_chat.tool_arguments").verify()
    chunks = chunks_of(body)
    for chunk in chunks:
        ChatCompletionChunk.model_validate_json(json.dumps(chunk), strict=True)
        assert len(chunk["choices"]) <= 1
    if asked:
        assert [bool(chunk["usage"]) for chunk in chunks] == [*[False] * (len(chunks) - 1), True]


def without_fault(script):
    return Script(
        *(event for event in script if not isinstance(event, (Pause, Fault))), allow_illegal=script.allow_illegal
    )


@strategies.fewer(3)
@given((strategies.small_scripts | strategies.scripts).map(without_fault), st.booleans())
def test_every_stream_keeps_what_holds_in_all_of_openais(script, asked):
    # A reason of the script's own is no member of the SDK's list of reasons, so the list's own are drawn.
    script = Script(*(Finish("length", choice=e.choice) if isinstance(e, Finish) else e for e in script))
    extra = Script(*(replace(e, extra=None) if isinstance(e, Usage) else e for e in script))

    check(encoded(extra, stream_options={"include_usage": asked}), asked=asked)


@strategies.fewer(3)
@given(strategies.small_scripts | strategies.scripts)
@example(Script(Refusal("I "), Refusal("cannot")))
def test_a_script_comes_back_as_it_was_written(script):
    script = without_fault(script)
    again = CODEC.decode(encoded(script))

    assert (again.text, again.reasoning, again.refusal) == (script.text, script.reasoning, script.refusal)
    assert [(c.name, c.arguments, c.id) for c in again.tool_calls] == [
        (c.name, c.arguments or "{}", c.id) for c in script.tool_calls
    ]
    assert again.finish_reason == (script.finish_reason or ("tool_calls" if script.tool_calls else "stop"))
    assert CODEC.decode(encoded(again)) == again


@strategies.fewer(3)
@given(strategies.small_wild_scripts | strategies.wild_scripts)
def test_a_script_in_any_order_can_be_written_and_read(script):
    CODEC.decode(encoded(script))
    CODEC.body(without_fault(script), request(), 1)


# -- the habits of others -------------------------------------------------------------------------------------


@each("name", [name for name, profile in PROFILES.items() if not profile.names_repeated])
def test_the_sdk_reads_the_same_from_every_service(name):
    codec = ChatCodec(PROFILES[name])
    script = Script(
        "Hel", "lo", ToolCall("f", '{"a":'), ToolCall(arguments="1}"), ToolCall("g"), Usage(3, 4), Finish("tool_calls")
    )
    answers, usage = summary(sdks.dumped(read(encoded(script, codec))))

    indexes = [["call_0", "f", '{"a":1}'], ["call_1", "g", "{}"]]
    assert answers[0] == {"text": "Hello", "refusal": "", "calls": indexes, "finish": "tool_calls", "more": {}}
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (3, 4)
    assert [[c.id, c.name, c.arguments] for c in codec.decode(encoded(script, codec)).tool_calls] == indexes
    assert codec.decode(encoded(script, codec)).finish_reason == "tool_calls"


def raw_chunks(name, *parts):
    codec = ChatCodec(PROFILES[name])
    body = encoded(Script(*parts), codec, stream_options=None)
    return body, [json.loads(sse.data) for sse in sse_of(body) if sse.data != "[DONE]"]


def test_profiles_imitate_what_was_counted():
    assert b"[DONE]" not in raw_chunks("perplexity", "a")[0]
    assert raw_chunks("azure", "a")[1][0] | {"prompt_filter_results": 0} == raw_chunks("azure", "a")[1][0] | {
        "id": "", "choices": [], "prompt_filter_results": 0,
    }  # fmt: skip
    body, chunks = raw_chunks("openrouter", "a", "b")
    assert body.startswith(b": OPENROUTER PROCESSING\n\n")
    assert all(chunk["choices"][0]["delta"]["role"] == "assistant" for chunk in chunks)
    assert [bool(chunk["choices"][0]["finish_reason"]) for chunk in chunks] == [False, False, True, False]
    assert chunks[2]["usage"]["completion_tokens"] == 2
    assert all(chunk["usage"] for chunk in raw_chunks("perplexity", "a", "b")[1])
    _, chunks = raw_chunks("mistral", "a", "b")
    assert [(c["choices"][0]["delta"].get("content"), c["choices"][0]["finish_reason"]) for c in chunks] == [
        ("", None), ("a", None), ("b", "stop"),
    ]  # fmt: skip
    assert "finish_reason" not in raw_chunks("xai", "a")[1][0]["choices"][0]
    assert len({chunk["id"] for chunk in raw_chunks("avian", "a", "b")[1]}) > 2
    assert len({chunk["created"] for chunk in raw_chunks("ollama", "a", "b")[1]}) > 2
    calls = [
        c["choices"][0]["delta"]["tool_calls"]
        for c in raw_chunks("mistral", ToolCall("f", "{"), ToolCall(arguments="}"))[1]
        if "tool_calls" in c["choices"][0]["delta"]
    ]
    assert calls == [[{"index": 0, "id": "call_0", "function": {"name": "f", "arguments": "{}"}}]]
    (call,) = [c["choices"][0]["delta"]["tool_calls"][0] for c in raw_chunks("gpustack", ToolCall("f"))[1][1:2]]
    assert "index" not in call


def test_text_that_waits_for_a_finish_reason_does_not_wait_for_a_silence():
    codec = ChatCodec(PROFILES["mistral"])
    steps = list(pieces(codec.encoder(request(), 1), Script("a", Pause(5), "b", disconnect())))
    kinds = [
        step if not isinstance(step, bytes) else json.loads(step[6:])["choices"][0]["delta"]["content"]
        for step in steps
    ]

    assert kinds == ["", "a", Pause(5), "b", disconnect()]


# -- errors --------------------------------------------------------------------------------------------------


ERRORS = {
    400: "BadRequestError", 401: "AuthenticationError", 403: "PermissionDeniedError", 404: "NotFoundError",
    408: "APIStatusError", 409: "ConflictError", 413: "APIStatusError", 422: "UnprocessableEntityError",
    429: "RateLimitError", 500: "InternalServerError", 503: "InternalServerError", 529: "InternalServerError",
}  # fmt: skip


@each(both)
@each("status", ERRORS)
def test_the_sdk_raises_its_own_exception_for_each_status(status, asynchronous):
    headers, body = CODEC.error(http_error(status, "no", retry_after=7), 3)
    with pytest.raises(openai.APIStatusError) as raised:
        read_error(body, status, headers, asynchronous)

    assert type(raised.value).__name__ == ERRORS[status]
    assert raised.value.body["message"] == "no"
    assert raised.value.request_id == "req_fakellm000003"
    assert raised.value.response.headers["retry-after"] == "7"


def read_error(body, status, headers, asynchronous):
    options = {
        "status": status,
        "headers": [h for h in headers if h[0] != "content-type"],
        "content_type": "application/json",
    }
    client = sdks.openai_client(body, asynchronous=asynchronous, **options)
    request = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    if asynchronous:
        sdks.run(request)


def test_an_error_that_is_the_chunk_itself_is_read():
    """So Mistral's servers and older vLLM's tell of it, whose tapes are recorded at gateways and on this machine."""
    body = b'data: {"object":"error","message":"boom","type":"server_error","param":null,"code":503}\n\n'
    assert CODEC.decode(body) == Script(provider_error("boom", "server_error", "503"))


def test_a_null_deep_in_a_usage_is_as_one_that_is_not_there():
    """What is written merges the rest over it, and a null removes: kept, it would be gone at the next reading."""
    usage = {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "cost_details": {"upstream": None, "input": 0.1, "deep": {"a": None}},
    }
    body = b"data: %b\n\ndata: [DONE]\n\n" % json.dumps({"choices": [], "usage": usage}).encode()
    script = CODEC.decode(body)
    assert json.loads(script.usage.extra)["cost_details"] == {"input": 0.1, "deep": {}}
    assert CODEC.decode(encoded(script)).usage == script.usage


def test_an_http_error_says_what_it_was_told():
    assert json.loads(CODEC.error(http_error(429, "slow down"), 1)[1])["error"] == {
        "message": "slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded",
    }  # fmt: skip
    told = http_error(429, "pay", kind="insufficient_quota", code="insufficient_quota")
    assert json.loads(CODEC.error(told, 1)[1])["error"]["code"] == "insufficient_quota"
    assert CODEC.error(http_error(500, body="<html>"), 1)[1] == b"<html>"
    assert ("retry-after", "0.5") in CODEC.error(http_error(429, retry_after=0.5), 1)[0]


@both
@pytest.mark.parametrize("named", [None, True, False])
def test_the_sdk_raises_an_error_that_is_reported_in_the_stream(named, asynchronous):
    body = encoded(Script("a", provider_error("overloaded", "server_error", "503", named=named)))
    with pytest.raises(openai.APIError, match="^overloaded$") as raised:
        read(body, asynchronous=asynchronous)

    assert (raised.value.code, raised.value.type) == ("503", "server_error")
    assert (b"event: error" in body) is bool(named)
    assert body.endswith(b"data: [DONE]\n\n")
    assert CODEC.decode(body).fault == provider_error(
        "overloaded", "server_error", "503", named=True if named else None
    )


# -- requests --------------------------------------------------------------------------------------------------


def test_a_request_is_read():
    found = CODEC.request({
        "model": "m", "n": 2, "temperature": 0.5, "stream": True,
        "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "g"}}],
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "What "}, {"type": "image_url", "image_url": {}}, {"type": "text", "text": "is it?"}]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "a cat"},
        ],
    })  # fmt: skip

    assert (found.api, found.model, found.choices, found.stream, found.tools) == (
        "openai.chat",
        "m",
        2,
        True,
        ("f", "g"),
    )
    assert found.options == {"n": 2, "temperature": 0.5}
    assert found.messages == (
        Message("system", "Be brief."),
        Message("user", "What is it?"),
        Message("assistant", tool_calls=(ToolCall("f", "{}", id="c", index=0),)),
        Message("tool", "a cat", tool_call_id="c"),
    )
    assert (found.text, found.prompt) == ("a cat", "Be brief.\nWhat is it?\n\na cat")


@each(
    ("body", "message"),
    [
        ([], "you must provide a model parameter"),
        ({"messages": []}, "you must provide a model parameter"),
        ({"model": "m"}, "Missing required parameter: 'messages'"),
        ({"model": "m", "messages": "hi"}, "'messages' is 'hi', and should be of the type list"),
        ({"model": "m", "messages": ["hi"]}, "'messages' holds 'hi', and should hold objects"),
        ({"model": "m", "messages": [], "stream": "yes"}, "'stream' is 'yes', and should be of the type bool"),
    ],
)
def test_a_request_of_another_shape_is_refused(body, message):
    with pytest.raises(WireError, match=message):
        CODEC.request(body)


# -- decoding ---------------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_a_stream_is_read_alike_whole_byte_by_byte_and_cut_anywhere():
    body = encoded(RICH)
    whole = CODEC.decode(body)
    places = (*range(40), *range(40, len(body), 11))
    cuts = [[body[:at], body[at:]] for at in places] + [[body[at : at + 1] for at in range(len(body))]]
    for parts in cuts:
        decoder = CODEC.decoder()
        events = [event for part in parts for event in decoder.feed(part)]
        assert Script(*events, *decoder.close()) == whole


def test_a_stream_without_its_end_is_cut_short():
    body = encoded(Script("a", "b"))
    whole = body.split(b"\n\n")

    assert CODEC.decode(b"\n\n".join(whole[:2]) + b"\n\n") == Script("a", disconnect("end"))
    assert CODEC.decode(b"\n\n".join(whole[:2]) + b"\n\n" + whole[2][:20]) == Script("a", disconnect("cut"))
    assert CODEC.decode(b"") == Script(disconnect("end"))


def test_calls_whose_index_is_missing_or_the_same_are_told_apart_by_their_ids():
    def line(*calls):
        return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"tool_calls": calls}}]}).encode() + b"\n\n"

    one, other = ({"id": name, "function": {"name": name, "arguments": "{}"}} for name in ("f", "g"))
    for stream in (
        line(one) + line(other),
        line(one, other),
        line({**one, "index": 0}) + line({**other, "index": 0}),
        line({**one, "index": 0}) + line({**other, "index": 1}),
    ):
        calls = CODEC.decode(stream).tool_calls
        assert [(call.name, call.arguments, call.index) for call in calls] == [("f", "{}", 0), ("g", "{}", 1)]


def test_a_call_in_pieces_without_an_index_goes_on():
    stream = b"".join(
        b"data: " + json.dumps({"choices": [{"delta": {"tool_calls": [call]}}]}).encode() + b"\n\n"
        for call in (
            {"id": "a", "function": {"name": "f"}},
            {"function": {"arguments": "{"}},
            {"function": {"arguments": "}"}},
        )
    )
    assert CODEC.decode(stream).tool_calls == (ToolCall("f", "{}", id="a", index=0),)


VALUES = [None, True, -1, 2.5, 10**30, "", "text", "\ud800", [], [None], [[]], {}, {"a": None}, "[DONE]"]
PLACES = [
    ("id",), ("choices",), ("choices", 0), ("choices", 0, "index"), ("choices", 0, "delta"), ("choices", 0, "finish_reason"),
    ("choices", 0, "logprobs"), ("choices", 0, "delta", "content"), ("choices", 0, "delta", "reasoning_content"),
    ("choices", 0, "delta", "refusal"), ("choices", 0, "delta", "tool_calls"), ("choices", 0, "delta", "tool_calls", 0),
    ("choices", 0, "delta", "tool_calls", 0, "index"), ("choices", 0, "delta", "tool_calls", 0, "id"),
    ("choices", 0, "delta", "tool_calls", 0, "function"), ("choices", 0, "delta", "tool_calls", 0, "function", "name"),
    ("choices", 0, "delta", "tool_calls", 0, "function", "arguments"), ("choices", 0, "delta", "audio"),
    ("usage",), ("usage", "prompt_tokens"), ("usage", "prompt_tokens_details"), ("usage", "total_tokens"), ("error",),
    ("error", "message"), ("error", "code"),
]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(VALUES)), min_size=1, max_size=3))
def test_values_of_any_kind_raise_nothing_but_wire_errors(changes):
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    chunk = {
        "id": "x",
        "choices": [{"index": 0, "delta": {"content": "a", "tool_calls": [call]}}],
        "usage": {"prompt_tokens": 1},
    }
    for place, value in changes:
        put(chunk, place, value)
    survive(b"data: " + json.dumps(chunk).encode() + b"\n\n")


def put(target, place, value):
    *path, last = place
    for key in path:
        try:
            target = target[key]
        except (KeyError, IndexError, TypeError):
            return
    try:
        target[last] = value
    except (TypeError, IndexError):
        return


def survive(body):
    """Read the bytes; a script comes out, or the documented error."""
    with contextlib.suppress(WireError):
        script = CODEC.decode(body)
        encoded(script)
        CODEC.body(without_fault(script), request(), 1)


@strategies.fewer(3)
@given(st.data())
def test_bytes_that_are_changed_raise_nothing_but_wire_errors(data):
    body = bytearray(encoded(RICH))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        cut = data.draw(st.integers(0, 30))
        body[at : at + cut] = data.draw(st.binary(max_size=6))
    survive(bytes(body))


@given(st.binary(max_size=60), st.sampled_from([b"", b"data: ", b'data: {"choices":[{"delta":']))
def test_any_bytes_raise_nothing_but_wire_errors(body, before):
    survive(before + body)


@each("opening", ["[", '{"a":'])
def test_json_of_any_depth_raises_nothing_but_wire_errors(opening):
    survive(b"data: " + opening.encode() * 100_000 + b"\n\n")
    survive(b'data: {"choices": [{"delta": {"x": ' + opening.encode() * 3_000 + b"\n\n")


def test_an_event_without_end_is_refused_once_it_is_too_large():
    decoder = ChatDecoder(limit=1000)
    with pytest.raises(WireError, match="the limit is 1000"):
        for _ in range(100):
            decoder.feed(b"data: " + b"x" * 90)


def test_what_follows_done_is_passed_over_and_contents_may_be_lists():
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "a"}]
    chunk = {"choices": [{"index": 0, "delta": {"content": parts}, "finish_reason": "stop"}]}
    stream = b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\ndata: {broken\n\n"

    assert CODEC.decode(stream) == Script(Reasoning("hm"), "a", Finish())
