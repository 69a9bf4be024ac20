"""The chat and the text adapter for LangChain: what streams, what the log has, what callbacks see, copies."""

from __future__ import annotations

import asyncio
import gc
import pickle
import subprocess
import sys
import textwrap
import threading
from functools import reduce
from operator import add

import pytest

pytest.importorskip("langchain_core", reason="the adapter is for langchain-core, which is not installed")

from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.language_models import BaseChatModel, BaseLLM
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, trim_messages
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda

from fakellm import (
    FakeChatModel,
    FakeLLM,
    Finish,
    Pause,
    Script,
    Text,
    ToolCall,
    Usage,
    disconnect,
    http_error,
    provider_error,
)
from fakellm.errors import LLMConnectionError, LLMStatusError, LLMStreamError, UnexpectedCallError
from fakellm.integrations.langchain.adapters import as_langchain_chat_model, as_langchain_llm
from fakellm.integrations.langchain.messages import Chunks
from fakellm.runnable import RunnableParallel
from fakellm.script.events import Reasoning, Refusal

ANSWER = ("It ", "is ", "42.")
since_1 = pytest.mark.skipif(not hasattr(AIMessage, "content_blocks"), reason="langchain-core has it since 1.0")
both = pytest.mark.parametrize("flavour", ["sync", "async"])


def chat(*parts, **fields):
    return as_langchain_chat_model(FakeChatModel(*parts), **fields)


def read(model, flavour, prompt="?", into=None, **options):
    """Return the chunks of a stream; with `into` they are there too when it fails."""
    chunks = [] if into is None else into

    async def main():
        async for chunk in model.astream(prompt, **options):
            chunks.append(chunk)

    if flavour == "async":
        asyncio.run(main())
    else:
        for chunk in model.stream(prompt, **options):
            chunks.append(chunk)
    return chunks


def invoke(model, flavour, prompt="?", **options):
    return asyncio.run(model.ainvoke(prompt, **options)) if flavour == "async" else model.invoke(prompt, **options)


def batch(model, flavour, prompts, **options):
    return asyncio.run(model.abatch(prompts, **options)) if flavour == "async" else model.batch(prompts, **options)


def texts(chunks):
    return [chunk.content for chunk in chunks]


class Seen(BaseCallbackHandler):
    """Notes what callbacks are told, in order."""

    def __init__(self):
        self.events = []

    def on_llm_new_token(self, token, *, chunk=None, **_):
        self.events.append(("token", token))

    def on_llm_end(self, response, **_):
        self.events.append(("end", response))

    def on_llm_error(self, error, *, response=None, **_):
        self.events.append(("error", error, response))


# -- what streams -------------------------------------------------------------------------------------


@since_1
@both
def test_a_chunk_of_the_fake_is_a_chunk_of_the_model(flavour):
    chunks = read(chat(*ANSWER), flavour)

    assert texts(chunks) == [*ANSWER, ""]
    assert all(type(chunk) is AIMessageChunk for chunk in chunks)
    assert [chunk.chunk_position for chunk in chunks] == [None, None, None, "last"]
    assert len({chunk.id for chunk in chunks}) == 1


@both
def test_empty_and_white_chunks_stay_as_they_are(flavour):
    assert texts(read(chat("", " a", "\n\n", "b  "), flavour)) == ["", " a", "\n\n", "b  ", ""]


@both
def test_usage_and_finish_reason_come_with_the_last_chunk_and_only_there(flavour):
    model = chat("a", "b", Finish("length"), Usage(7, 2, cached_tokens=4, reasoning_tokens=1), model="m-1")
    *before, last = read(model, flavour)

    assert all(chunk.usage_metadata is None and chunk.response_metadata == {} for chunk in before)
    assert last.usage_metadata == {
        "input_tokens": 7,
        "output_tokens": 2,
        "total_tokens": 9,
        "input_token_details": {"cache_read": 4},
        "output_token_details": {"reasoning": 1},
    }
    assert last.response_metadata == {"finish_reason": "length", "model_name": "m-1"}


@both
def test_counts_that_grow_add_up_to_the_last_of_them(flavour):
    chunks = read(chat(Usage(10, 1), "a", "b", Usage(10, 5)), flavour)

    assert [chunk.usage_metadata and chunk.usage_metadata["output_tokens"] for chunk in chunks] == [1, None, 4]
    assert reduce(add, chunks).usage_metadata == {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}


@both
def test_what_the_script_says_nothing_of_is_not_there(flavour):
    answer = invoke(chat("a"), flavour)

    assert answer.usage_metadata is None
    assert answer.response_metadata == {"model_name": "fake"}
    assert answer.additional_kwargs == {}


@both
def test_the_chunks_add_up_to_what_invoke_returns(flavour):
    script = Script(
        *(
            Reasoning("hm "),
            Reasoning("so"),
            "a",
            ToolCall("f", {"x": [1, "ü"]}),
            ToolCall("g", ""),
            Finish(),
            Usage(1, 2),
        )
    )
    model = chat(script.rechunk(every=3, of=ToolCall))
    whole, summed = invoke(model, flavour), reduce(add, read(model, flavour))

    for name in (
        "content",
        "tool_calls",
        "invalid_tool_calls",
        "usage_metadata",
        "response_metadata",
        "additional_kwargs",
    ):
        assert getattr(summed, name) == getattr(whole, name)
    assert type(whole) is AIMessage
    assert [(call["name"], call["args"], call["id"]) for call in whole.tool_calls] == [
        ("f", {"x": [1, "ü"]}, "call_0"),
        ("g", {}, "call_1"),
    ]


@both
def test_tool_calls_stream_in_pieces_with_their_index(flavour):
    model = chat(ToolCall("f", '{"a'), ToolCall(arguments='": 1}'), ToolCall("g", "{}", id="x"))
    *pieces, last = read(model, flavour)

    assert [(p["index"], p["id"], p["name"], p["args"]) for chunk in pieces for p in chunk.tool_call_chunks] == [
        (0, "call_0", "f", '{"a'),
        (0, None, None, '": 1}'),
        (1, "x", "g", "{}"),
    ]
    assert last.tool_call_chunks == []


@both
def test_a_line_end_in_an_argument_is_read_as_langchain_reads_it(flavour):
    model = chat(ToolCall("f", '{"x": "a\nb"}'))

    assert invoke(model, flavour).tool_calls[0]["args"] == {"x": "a\nb"}
    assert reduce(add, read(model, flavour)).tool_calls[0]["args"] == {"x": "a\nb"}


@both
@pytest.mark.parametrize("arguments", ['{"a": tru', "[1]", "no JSON"])
def test_arguments_that_are_no_json_object_make_an_invalid_call_that_says_why(flavour, arguments):
    answer = invoke(chat(ToolCall("f", arguments)), flavour)

    assert answer.tool_calls == []
    [call] = answer.invalid_tool_calls
    assert (call["name"], call["args"], call["id"]) == ("f", arguments, "call_0")
    assert call["error"]


@since_1
@both
def test_reasoning_and_refusals_are_where_langchain_looks_for_them(flavour):
    model = chat(Reasoning("first "), Reasoning("this"), Refusal("no"), "a")
    chunks = read(model, flavour)

    assert [chunk.additional_kwargs for chunk in chunks[:3]] == [
        {"reasoning_content": "first "},
        {"reasoning_content": "this"},
        {"refusal": "no"},
    ]
    for answer in (reduce(add, chunks), invoke(model, flavour)):
        assert answer.content == "a"
        assert answer.content_blocks == [
            {"type": "reasoning", "reasoning": "first this"},
            {"type": "text", "text": "a"},
        ]


@since_1
@both
def test_with_output_version_v1_the_content_is_standard_blocks(flavour):
    script = Script(Reasoning("hm"), "a ", "b", ToolCall("f", '{"x"'), ToolCall(arguments=": 1}"), ToolCall("g", "{}"))
    model = chat(script, output_version="v1")
    summed = reduce(add, read(model, flavour))
    kinds = [(block["type"], block.get("text") or block.get("reasoning") or block["name"]) for block in summed.content]

    assert kinds == [("reasoning", "hm"), ("text", "a b"), ("tool_call", "f"), ("tool_call", "g")]
    assert [call["args"] for call in summed.tool_calls] == [{"x": 1}, {}]
    assert [block["type"] for block in invoke(model, flavour).content] == [kind for kind, _ in kinds]


@since_1
def test_blocks_of_one_kind_with_another_between_them_stay_apart():
    summed = reduce(add, chat("a", Reasoning("hm"), "b", "c", output_version="v1").stream("?"))

    assert [block.get("text") or block["reasoning"] for block in summed.content] == ["a", "hm", "bc"]


def test_a_chunk_is_nobody_elses():
    chunks = Chunks("fake")
    [said] = FakeChatModel("a").stream("?")
    first = chunks.of(said).message
    for container in (first.additional_kwargs, first.response_metadata):
        container["mine"] = True
    for container in (first.tool_calls, first.invalid_tool_calls, first.tool_call_chunks):
        container.append("mine")

    [second] = FakeChatModel("b").stream("?")
    assert chunks.of(second).message == AIMessageChunk("b")
    assert chunks.of(second) == ChatGenerationChunk(message=AIMessageChunk("b"))


# -- the single value ----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    "how",
    [
        lambda: as_langchain_chat_model(FakeChatModel(*ANSWER, streaming=False)),
        lambda: chat(*ANSWER, disable_streaming=True),
        lambda: chat(*ANSWER, streaming=False),
        lambda: chat(*ANSWER, disable_streaming="tool_calling").bind(tools=[{}]),
    ],
    ids=["the fake", "disable_streaming", "streaming", "tool_calling"],
)
def test_without_native_streaming_the_stream_is_one_value(flavour, how):
    [only] = read(how(), flavour)

    assert type(only) is AIMessage
    assert only.content == "It is 42."


@both
def test_without_tools_tool_calling_streams(flavour):
    assert len(read(chat(*ANSWER, disable_streaming="tool_calling"), flavour)) == 4


@since_1
@both
@pytest.mark.parametrize("options", [{"stream": True}, {}])
def test_invoke_uses_the_stream_where_it_is_told_to(flavour, options):
    model = chat(*ANSWER, Usage(1, 2), **({} if options else {"streaming": True}))
    answer = invoke(model, flavour, **options)

    assert (answer.content, answer.usage_metadata["total_tokens"]) == ("It is 42.", 3)
    assert model.fake.calls[0].method == ("astream" if flavour == "async" else "stream")


@both
def test_a_text_model_streams_strings_and_falls_back_to_one(flavour):
    assert read(as_langchain_llm(FakeLLM(*ANSWER)), flavour) == [*ANSWER]
    assert read(as_langchain_llm(FakeLLM(*ANSWER, streaming=False)), flavour) == ["It is 42."]
    assert invoke(as_langchain_llm(FakeLLM(*ANSWER)), flavour) == "It is 42."


# -- the log -------------------------------------------------------------------------------------------


@both
def test_the_log_is_the_fakes(flavour):
    model = chat("a", "b")
    read(model, flavour, [SystemMessage("Be brief."), HumanMessage("Hi")], stop=["\n"], temperature=0)
    [call] = model.fake.calls

    assert call.input == [SystemMessage("Be brief."), HumanMessage("Hi")]
    assert [(message.role, message.content) for message in call.messages] == [("system", "Be brief."), ("user", "Hi")]
    assert call.kwargs == {"stop": ["\n"], "temperature": 0}
    assert (call.method, call.state, call.delivered) == ("astream" if flavour == "async" else "stream", "complete", 2)


def test_the_log_has_the_tools_as_a_provider_would_get_them():
    def add_up(a: int, b: int) -> int:
        """Add two numbers."""

    model = chat("a")
    model.bind_tools([add_up], tool_choice="any", strict=True, parallel_tool_calls=False).invoke("?")
    [call] = model.fake.calls
    [tool] = call.kwargs["tools"]

    assert (tool["type"], tool["function"]["name"], tool["function"]["strict"]) == ("function", "add_up", True)
    assert (call.kwargs["tool_choice"], call.kwargs["parallel_tool_calls"]) == ("any", False)


def test_the_models_own_stop_is_in_the_log_and_that_of_the_call_comes_first():
    model = chat("a", stop=["own"])
    model.invoke("?")
    model.invoke("?", stop=["call"])

    assert [call.kwargs for call in model.fake.calls] == [{"stop": ["own"]}, {"stop": ["call"]}]


@both
def test_replies_are_matched_with_langchains_messages(flavour):
    fake = FakeChatModel().when("weather", "sunny").when(lambda messages: len(messages) > 1, "long").otherwise("?")
    model = as_langchain_chat_model(fake)
    asked = [invoke(model, flavour, p).content for p in ("the weather", [("system", "s"), ("human", "h")], "other")]

    assert asked == ["sunny", "long", "?"]


def test_a_text_model_is_asked_the_prompt_as_text():
    llm = as_langchain_llm(FakeLLM("a"), stop=["x"])
    (ChatPromptTemplate.from_messages([("system", "s"), ("human", "{q}")]) | llm).invoke({"q": "hi"})

    assert (llm.fake.calls[0].input, llm.fake.calls[0].kwargs) == ("System: s\nHuman: hi", {"stop": ["x"]})


@both
def test_a_function_gets_the_messages_and_says_what_it_likes(flavour):
    def respond(messages):
        yield from ("you said ", messages[-1].content)
        yield Usage(1, 1)

    assert invoke(chat(respond), flavour, "hi").content == "you said hi"
    assert texts(read(chat(respond), flavour, "hi")) == ["you said ", "hi", ""]


def test_a_model_can_be_named_for_one_call():
    model = chat("a")

    assert model.invoke("?", model="other").response_metadata["model_name"] == "other"
    assert reduce(add, model.stream("?", model="other")).response_metadata["model_name"] == "other"


# -- callbacks and errors ------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("make", [lambda: chat("a", "b"), lambda: as_langchain_llm(FakeLLM("a", "b"))])
def test_the_callback_of_a_chunk_comes_before_it(flavour, make):
    seen = Seen()
    noted = []

    async def main():
        async for _ in make().astream("?", config={"callbacks": [seen]}):
            noted.append(len(seen.events))

    if flavour == "async":
        asyncio.run(main())
    else:
        for _ in make().stream("?", config={"callbacks": [seen]}):
            noted.append(len(seen.events))

    assert noted[:2] == [1, 2]
    assert [event[0] for event in seen.events[:2]] == ["token", "token"]
    assert seen.events[-1][0] == "end"
    assert seen.events[-1][1].generations[0][0].text == "ab"


@both
@pytest.mark.parametrize(
    "fault, kind",
    [
        (disconnect(), LLMConnectionError),
        (provider_error("overloaded"), LLMStreamError),
    ],
)
def test_an_error_comes_with_the_partial_response(flavour, fault, kind):
    seen = Seen()
    chunks = []
    with pytest.raises(kind):
        read(chat("a", "b", fault), flavour, into=chunks, config={"callbacks": [seen]})
    name, error, response = seen.events[-1]

    assert texts(chunks) == ["a", "b"]
    assert (name, type(error)) == ("error", kind)
    assert [[generation.text for generation in those] for those in response.generations] == [["ab"], []]


@both
def test_a_text_models_error_comes_with_the_partial_response(flavour):
    seen = Seen()
    with pytest.raises(LLMConnectionError):
        read(as_langchain_llm(FakeLLM("a", "b", disconnect())), flavour, config={"callbacks": [seen]})

    assert seen.events[-1][2].generations[0][0].text == "ab"


@both
def test_usage_that_came_before_the_error_is_delivered(flavour):
    chunks = []
    with pytest.raises(LLMConnectionError):
        read(chat("a", Usage(3, 1), disconnect()), flavour, into=chunks)

    assert [chunk.usage_metadata and chunk.usage_metadata["total_tokens"] for chunk in chunks] == [None, 4]


@both
def test_an_error_before_the_first_chunk_has_no_partial_response(flavour):
    seen = Seen()
    with pytest.raises(LLMStatusError):
        read(chat(http_error(429)), flavour, config={"callbacks": [seen]})

    assert seen.events[-1][2].generations == [[]]


@both
def test_a_retry_and_a_fallback_of_langchains_meet_the_errors(flavour):
    fake = FakeChatModel.replies(http_error(500), "second")
    retried = as_langchain_chat_model(fake).with_retry(stop_after_attempt=2, wait_exponential_jitter=False)
    fallen = chat(http_error(500)).with_fallbacks([chat("other")])

    assert invoke(retried, flavour).content == "second"
    assert invoke(fallen, flavour).content == "other"


@both
@pytest.mark.parametrize("method", ["invoke", "stream", "batch", "events"])
def test_a_call_without_a_reply_is_swallowed_by_nobody(flavour, method):
    fake = FakeChatModel().when("hello", "hi")
    seen = Seen()
    handled = as_langchain_chat_model(fake).with_retry(stop_after_attempt=2).with_fallbacks([chat("other")])
    model = handled.with_config(callbacks=[seen])

    async def events():
        return [event async for event in model.astream_events("?", version="v2")]

    def app():
        try:
            if method == "events":
                return asyncio.run(events())
            return {"invoke": invoke, "stream": read, "batch": batch}[method](
                model, flavour, ["?", "??"] if method == "batch" else "?"
            )
        except Exception as error:
            return error

    with pytest.raises(UnexpectedCallError, match="has no reply"):
        app()
    assert fake.misses
    assert seen.events[-1][0] == "error"


# -- events --------------------------------------------------------------------------------------------


def events_of(model, **options):
    async def main():
        return [event async for event in model.astream_events("?", version="v2", **options)]

    return asyncio.run(main())


def test_astream_events_has_start_chunks_and_end():
    model = chat("a", ToolCall("f", {}), Usage(1, 2), name="narrator")
    events = events_of(model)

    assert [event["event"] for event in events] == [
        "on_chat_model_start",
        *["on_chat_model_stream"] * 3,
        "on_chat_model_end",
    ]
    assert {event["name"] for event in events} == {"narrator"}
    assert events[-1]["data"]["output"].usage_metadata["total_tokens"] == 3


def test_events_of_a_text_model():
    events = events_of(as_langchain_llm(FakeLLM("a", "b")))

    assert [event["data"]["chunk"] for event in events if event["event"] == "on_llm_stream"] == ["a", "b"]


def test_a_model_that_does_not_stream_has_no_stream_events():
    chain = RunnableLambda(lambda text: text) | as_langchain_chat_model(FakeChatModel("a", streaming=False))

    assert [event["event"] for event in events_of(chain) if "chat_model" in event["event"]] == [
        "on_chat_model_start",
        "on_chat_model_end",
    ]


def test_invoke_inside_a_chain_streams_under_astream_events():
    model = chat("a", "b")

    async def step(text):
        return (await model.ainvoke(text)).content

    events = events_of(RunnableLambda(step))

    assert [e["data"]["chunk"].content for e in events if e["event"] == "on_chat_model_stream"] == ["a", "b", ""]
    assert model.fake.calls[0].method == "astream"


# -- batches -------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("streaming", [None, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("count", [1, 40])
def test_a_batch_gets_its_replies_in_the_order_of_its_inputs(flavour, streaming, count):
    replies = [[f"{number} ", "!"] for number in range(count)]
    model = as_langchain_chat_model(FakeChatModel.replies(*replies), streaming=streaming)
    answers = batch(model, flavour, [f"q{number}" for number in range(count)])

    assert [answer.content for answer in answers] == [f"{number} !" for number in range(count)]
    assert [call.input[0].content for call in model.fake.calls] == [f"q{number}" for number in range(count)]


class Late(AsyncCallbackHandler):
    """Keeps the first call from asking until all the others have come as far."""

    def __init__(self):
        self.started = []

    async def on_chat_model_start(self, serialized, messages, **_):
        text = messages[0][0].content
        for _ in range(20 if text == "q0" else 0):
            await asyncio.sleep(0)
        self.started.append(text)


def test_a_call_that_is_late_gets_its_own_reply():
    late = Late()
    model = as_langchain_chat_model(FakeChatModel.replies("0", "1", "2"), callbacks=[late])
    answers = batch(model, "async", ["q0", "q1", "q2"])

    assert late.started == ["q1", "q2", "q0"]  # else the test shows nothing
    assert [answer.content for answer in answers] == ["0", "1", "2"]


def test_a_call_that_ends_early_lets_nobody_pass_those_before_it():
    late = Late()
    model = as_langchain_chat_model(FakeChatModel.replies("0", "2"), callbacks=[late])
    first, failed, third = batch(model, "async", ["q0", 5, "q2"], return_exceptions=True)

    assert late.started == ["q2", "q0"]
    assert (first.content, type(failed), third.content) == ("0", ValueError, "2")


class LateInItsThread(BaseCallbackHandler):
    """The same for threads."""

    def __init__(self):
        self.started = []
        self.last = threading.Event()

    def on_chat_model_start(self, serialized, messages, **_):
        text = messages[0][0].content
        if text == "q0":
            self.last.wait(5)
        self.started.append(text)
        if text == "q2":
            self.last.set()


def test_a_thread_that_is_late_gets_its_own_reply():
    late = LateInItsThread()
    model = as_langchain_chat_model(FakeChatModel.replies("0", "1", "2"), callbacks=[late])
    answers = model.batch(["q0", "q1", "q2"])

    assert late.started[-1] == "q0"
    assert [answer.content for answer in answers] == ["0", "1", "2"]


@both
@pytest.mark.parametrize("as_llm", [False, True])
def test_a_failure_fills_its_own_place_in_a_batch(flavour, as_llm):
    replies = ("0", http_error(500), "2")
    model = (
        as_langchain_llm(FakeLLM.replies(*replies))
        if as_llm
        else as_langchain_chat_model(FakeChatModel.replies(*replies))
    )
    first, second, third = batch(model, flavour, ["a", "b", "c"], return_exceptions=True)

    assert [getattr(one, "content", one) for one in (first, third)] == ["0", "2"]
    assert isinstance(second, LLMStatusError)


@both
def test_an_input_that_is_no_prompt_keeps_nobody_waiting(flavour):
    model = as_langchain_chat_model(FakeChatModel.replies("1", "2"))
    answers = batch(model, flavour, [5, "b", "c"], return_exceptions=True)

    assert isinstance(answers[0], ValueError)
    assert [answer.content for answer in answers[1:]] == ["1", "2"]


@both
def test_a_batch_bounds_how_many_run_and_checks_its_configs(flavour):
    model = as_langchain_chat_model(FakeChatModel.replies(*map(str, range(6))))
    answers = batch(model, flavour, list("abcdef"), config={"max_concurrency": 2})

    assert [answer.content for answer in answers] == list("012345")
    with pytest.raises(ValueError, match="length"):
        batch(model, flavour, ["a", "b"], config=[{}])


def test_results_as_they_are_complete():
    model = as_langchain_chat_model(FakeChatModel.replies("0", "1", "2"))

    async def main():
        return [pair async for pair in model.abatch_as_completed(["a", "b", "c"])]

    assert sorted((at, one.content) for at, one in model.batch_as_completed(["a", "b", "c"])) == [
        (0, "0"),
        (1, "1"),
        (2, "2"),
    ]
    model.fake.reply("0").reply("1").reply("2")
    assert sorted((at, one.content) for at, one in asyncio.run(main())) == [(0, "0"), (1, "1"), (2, "2")]


def test_a_cache_hit_takes_no_reply_and_no_turn():
    model = as_langchain_chat_model(FakeChatModel.replies("0", "1"), cache=InMemoryCache())
    model.invoke("a")

    assert [answer.content for answer in model.batch(["a", "b"])] == ["0", "1"]


# -- closing -------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("make", [lambda: chat(*ANSWER), lambda: as_langchain_llm(FakeLLM(*ANSWER))])
def test_closing_a_stream_closes_the_fakes_before_it_returns(flavour, make):
    model = make()

    async def main():
        stream = model.astream("?")
        await anext(stream)
        await stream.aclose()
        return model.fake.calls[0].state

    if flavour == "async":
        state = asyncio.run(main())
    else:
        stream = model.stream("?")
        next(stream)
        stream.close()
        state = model.fake.calls[0].state

    assert state == "closed"


def test_cancelling_reaches_the_fake():
    model = chat("a", Pause(30), "b")
    seen = Seen()

    async def main():
        stream = model.astream("?", config={"callbacks": [seen]})
        await anext(stream)
        task = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return model.fake.calls[0].state

    class Forever:
        now = 0.0

        def sleep(self, seconds):
            raise NotImplementedError

        async def asleep(self, seconds):
            await asyncio.Event().wait()

    model = as_langchain_chat_model(FakeChatModel("a", Pause(30), "b", clock=Forever()))

    assert asyncio.run(main()) == "cancelled"
    assert seen.events[-1][0] == "error"


# -- copies --------------------------------------------------------------------------------------------


def test_a_pickled_model_says_what_the_model_would_say_next():
    fake = FakeChatModel.replies("one", ["t", "wo"]).when("hi", ToolCall("f", {"a": 1}), Usage(1, 2))
    model = as_langchain_chat_model(fake, tags=["x"])
    model.invoke("?")
    twin = pickle.loads(pickle.dumps(model))

    assert twin.invoke("?").content == "two"
    assert [chunk.content for chunk in model.stream("?")] == ["t", "wo", ""]
    assert twin.invoke("hi").tool_calls == model.invoke("hi").tool_calls
    assert (twin.tags, len(twin.fake.calls)) == (["x"], 3)


def test_a_bound_model_and_a_text_model_pickle():
    bound = pickle.loads(pickle.dumps(chat("a").bind_tools([], tool_choice="any")))
    llm = pickle.loads(pickle.dumps(as_langchain_llm(FakeLLM("a", "b"))))

    assert bound.invoke("?").content == "a"
    assert list(llm.stream("?")) == ["a", "b"]


def test_a_shallow_copy_shares_the_fake_and_a_deep_one_does_not():
    model = as_langchain_chat_model(FakeChatModel.replies("a", "b", "c"), tags=["x"])
    model.invoke("?")
    shallow, deep = model.model_copy(update={"name": "other"}), model.model_copy(deep=True)
    deep.tags.append("y")
    assert [copied.invoke("?").content for copied in (shallow, deep, model)] == ["b", "b", "c"]

    assert shallow.fake is model.fake
    assert (len(model.fake.calls), len(deep.fake.calls), shallow.name, model.tags) == (3, 1, "other", ["x"])
    assert deep.fake.clock is model.fake.clock


def test_serialising_and_showing_a_model_asks_for_nothing():
    model = as_langchain_chat_model(FakeChatModel.replies("a", "b"))
    str(model), repr(model), model._serialized, model.model_dump()

    assert "fake" not in model.model_dump()
    assert model.fake.unused == ["reply: Script('a')  [unused]", "reply: Script('b')  [unused]"]


# -- the rest of the surface ---------------------------------------------------------------------------


def test_they_are_genuine_models():
    assert isinstance(chat("a"), BaseChatModel)
    assert isinstance(as_langchain_llm(FakeLLM("a")), BaseLLM)


def test_tokens_are_counted_without_a_tokenizer():
    model = chat("a")
    messages = [HumanMessage("one two three four"), HumanMessage("five")]
    kept = trim_messages(messages, max_tokens=4, token_counter=model, strategy="last")

    assert model.get_num_tokens("one two three") == 3
    assert [message.content for message in kept] == ["five"]


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: as_langchain_chat_model(FakeLLM("a")),
            r"takes a FakeChatModel, not .*; for a FakeLLM write as_langchain_llm",
        ),
        (lambda: as_langchain_llm(FakeChatModel("a")), r"takes a FakeLLM, not .*write as_langchain_chat_model"),
        (lambda: as_langchain_llm("a"), "takes a FakeLLM, not 'a'"),
        (lambda: chat("a", steaming=False), "has no field steaming; it has cache, "),
    ],
)
def test_what_is_wrong_is_said(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda parser: FakeLLM("a") | parser,
        lambda parser: FakeChatModel("a") | parser,
        lambda parser: FakeLLM("a") | len | parser,
        lambda parser: FakeLLM("a").bind(x=1) | parser,
        lambda parser: FakeLLM("a") | {"key": parser},
        lambda parser: RunnableParallel(key=parser),
        lambda parser: FakeLLM("a").__ror__(parser),
    ],
)
def test_a_fake_is_no_step_beside_one_of_langchain_and_the_error_says_what_is(make):
    class Mine(StrOutputParser):
        """A class of the user's own, which is LangChain's by its base."""

    for parser in (StrOutputParser(), Mine(), RunnableLambda(len)):
        with pytest.raises(TypeError) as caught:
            make(parser)
        assert f"LangChain's {parser!r} is no step of a chain of fakellm's" in str(caught.value)
        assert "as_langchain_llm(FakeLLM(...)), or as_langchain_chat_model(FakeChatModel(...))" in str(caught.value)
        assert "fakellm.integrations.langchain" in str(caught.value)


def test_what_the_error_says_works():
    assert (as_langchain_llm(FakeLLM("a")) | StrOutputParser()).invoke("?") == "a"
    assert (as_langchain_chat_model(FakeChatModel("a")) | StrOutputParser()).invoke("?") == "a"


@pytest.mark.parametrize("fake", [FakeLLM("a"), FakeChatModel("a"), FakeLLM("a") | len])
def test_a_chain_that_langchain_begins_is_refused_by_langchain(fake):
    with pytest.raises(TypeError, match="Expected a Runnable, callable or dict"):
        StrOutputParser() | fake


def test_a_missing_langchain_is_named_with_the_command():
    code = textwrap.dedent(
        """
        import sys
        sys.modules["langchain_core"] = None
        try:
            import fakellm.integrations.langchain.adapters
        except ImportError as error:
            print(type(error).__name__, error)
        """
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert "MissingExtraError fakellm.integrations.langchain needs the library 'langchain-core'" in out
    assert "pip install 'fakellm-stream[langchain]'" in out


def test_nothing_is_left_for_the_collector_to_close(recwarn):
    async def main():
        async for _ in chat(*ANSWER).astream("?"):
            break
        gc.collect()

    asyncio.run(main())

    assert not recwarn.list


def test_pieces_of_text_may_hold_logprobs():
    assert texts(chat(Text("a", logprobs=[{"token": "a"}])).stream("?")) == ["a", ""]


@pytest.mark.parametrize("kind", ["llm", "chat"])
def test_a_cache_tells_two_fakes_apart(kind):
    from langchain_core.caches import InMemoryCache

    cache = InMemoryCache()
    make, fake = (as_langchain_llm, FakeLLM) if kind == "llm" else (as_langchain_chat_model, FakeChatModel)
    one, other = make(fake("a"), cache=cache), make(fake("b"), cache=cache)

    answers = [getattr(model.invoke("?"), "content", model) for model in (one, other)]
    if kind == "llm":
        answers = [model.invoke("?") for model in (one, other)]

    assert answers == ["a", "b"]
    assert one.model_copy().invoke("?") == one.invoke("?")
    assert len(one.fake.calls) == 1


@pytest.mark.skipif(not hasattr(BaseChatModel, "stream_events"), reason="since langchain-core 1.8")
@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (as_langchain_chat_model(FakeChatModel("a", "b")), ["a", "b"]),
        (as_langchain_chat_model(FakeChatModel("a", "b"), streaming=False), ["a", "b"]),  # a `_stream` there is
        (as_langchain_chat_model(FakeChatModel("a", "b", streaming=False)), ["ab"]),
    ],
)
def test_events_of_version_3_come_from_the_stream_that_there_is(model, expected):
    """LangChain asks a model's `_stream` for them whatever its field `streaming` says."""
    events = list(model.stream_events("?", version="v3"))
    deltas = [event["delta"]["text"] for event in events if event["event"] == "content-block-delta"]
    assert deltas == expected
