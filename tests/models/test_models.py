"""The fake models: what they say, to whom, when, and what they log."""

from __future__ import annotations

import asyncio
import copy
import pickle
import re
import subprocess
import sys
import threading
from functools import reduce
from operator import add

import anyio
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from vectors import each

from fakellm import (
    FakeChatModel,
    FakeLLM,
    Finish,
    Pause,
    Reasoning,
    Refusal,
    Script,
    ToolCall,
    Usage,
    disconnect,
    http_error,
    provider_error,
    stall,
)
from fakellm.clock.clock import InstantClock
from fakellm.errors import (
    LLMConnectionError,
    LLMError,
    LLMStatusError,
    LLMStreamError,
    LLMTimeoutError,
    MissingExtraError,
    ScriptError,
    SwallowedCallError,
    UnexpectedCallError,
    UnusedRepliesError,
)
from fakellm.models.replies import Reply
from fakellm.script.messages import Message


async def collect(stream):
    return [chunk async for chunk in stream]


# -- fixed replies ------------------------------------------------------------------------------------


def test_a_fixed_reply_answers_every_call_in_exactly_these_chunks():
    llm = FakeLLM("The ", "answer ", "is 42.")

    assert list(llm.stream("?")) == ["The ", "answer ", "is 42."]
    assert llm.invoke("?") == "The answer is 42."
    assert list(llm.stream("again")) == ["The ", "answer ", "is 42."]
    assert [call.input for call in llm.calls] == ["?", "?", "again"]


@pytest.mark.anyio
async def test_the_asynchronous_methods_say_the_same():
    llm = FakeLLM("The ", "answer ", "is 42.")

    assert await collect(llm.astream("?")) == ["The ", "answer ", "is 42."]
    assert await llm.ainvoke("?") == "The answer is 42."
    assert await llm.abatch(["a", "b"]) == ["The answer is 42."] * 2


@given(st.lists(st.text(), min_size=1))
def test_any_chunks_come_out_as_they_went_in(chunks):
    llm = FakeLLM(*chunks)

    assert list(llm.stream("?")) == chunks
    assert llm.invoke("?") == "".join(chunks)
    assert llm.calls[0].delivered == len(chunks)


def test_empty_chunks_are_kept():
    assert list(FakeLLM("", "a", "").stream("?")) == ["", "a", ""]


def test_without_streaming_the_stream_is_one_value():
    llm = FakeLLM("no native ", "streaming", streaming=False)

    assert list(llm.stream("?")) == ["no native streaming"]
    assert asyncio.run(collect(llm.astream("?"))) == ["no native streaming"]
    assert [call.delivered for call in llm.calls] == [1, 1]
    assert llm.calls[0].chunks == ["no native streaming"]


def test_usage_and_finish_are_no_chunks_of_a_text_model():
    assert list(FakeLLM("a", Usage(1, 1), Finish(), Usage(1, 2)).stream("?")) == ["a"]


@pytest.mark.parametrize("event", [ToolCall("f"), Reasoning("hm"), Refusal("no")])
def test_a_text_model_refuses_what_it_cannot_show(event):
    with pytest.raises(TypeError, match="use FakeChatModel"):
        FakeLLM("a", event)


# -- which reply answers ------------------------------------------------------------------------------


def test_replies_answer_call_by_call():
    llm = FakeLLM.replies(["first"], ["sec", "ond"], "third", Script("fourth"))

    assert llm.invoke("a") == "first"
    assert list(llm.stream("b")) == ["sec", "ond"]
    assert [llm.invoke("c"), llm.invoke("d")] == ["third", "fourth"]


def test_a_call_too_many_says_so():
    llm = FakeLLM.replies("only")
    llm.invoke("one")

    with pytest.raises(UnexpectedCallError) as caught:
        llm.invoke("two")

    message = str(caught.value)
    assert "call 2 of the fake model has no reply: every reply that fits was given already" in message
    assert "invoke('two')" in message
    assert "reply: Script('only')  [answered call 1]" in message
    assert "one more .reply(...)" in message


def test_when_matches_a_text_a_pattern_or_a_predicate():
    llm = (
        FakeLLM()
        .when("weather", "It is ", "sunny.")
        .when(re.compile("^bye"), "Bye.")
        .when(lambda prompt: len(prompt) > 20, "Long.")
        .otherwise("?")
    )

    assert list(llm.stream("the weather?")) == ["It is ", "sunny."]
    assert [llm.invoke("bye bye"), llm.invoke("x" * 21), llm.invoke("hi")] == ["Bye.", "Long.", "?"]


def test_when_comes_before_reply_and_reply_before_otherwise():
    llm = FakeLLM("last").reply("next").when("x", "first")

    assert [llm.invoke("y x"), llm.invoke("y"), llm.invoke("y")] == ["first", "next", "last"]


def test_of_several_that_match_the_first_answers_as_often_as_it_may():
    llm = FakeLLM().when("a", "one", times=1).when("a", "two", times=2).when("a", "three")

    assert [llm.invoke("a") for _ in range(5)] == ["one", "two", "two", "three", "three"]


def test_a_later_otherwise_replaces_an_earlier_one():
    assert FakeLLM("a").otherwise("b").invoke("?") == "b"


def test_a_role_matches_the_last_message():
    chat = FakeChatModel().when(None, "I looked it up.", role="tool").when("weather", ToolCall("look"), role="user")

    assert chat.invoke([("user", "weather?")]).tool_calls[0].name == "look"
    assert chat.invoke([("user", "weather?"), ("tool", "sun")]).content == "I looked it up."


def test_an_unmatched_call_shows_what_was_asked_what_is_scripted_and_the_nearest():
    llm = FakeLLM().when("weather in Paris", "Rain.").when(re.compile("^bye"), "Bye.")

    with pytest.raises(UnexpectedCallError) as caught:
        llm.invoke("What is the whether in Paris?")

    message = str(caught.value)
    assert "no when() fits" in message
    assert "invoke('What is the whether in Paris?')" in message
    assert "when matching '^bye': Script('Bye.')  [unused]" in message
    assert "wants 'weather in Paris', and the text has 'whether in Paris'" in message
    assert ".otherwise(...)" in message


def test_the_nearest_says_when_only_the_role_differs():
    chat = FakeChatModel().when("weather", "Rain.", role="tool")

    with pytest.raises(UnexpectedCallError, match="wants the role 'tool', and the last message has 'user'"):
        chat.invoke("the weather")


def test_the_nearest_may_be_a_predicate():
    def is_long(prompt):
        return len(prompt) > 20

    with pytest.raises(UnexpectedCallError, match="is_long.*\n.*its predicate returned a false value"):
        FakeLLM().when(is_long, "Long.").invoke("short")


def test_a_model_without_replies_says_that_nothing_is_scripted():
    with pytest.raises(UnexpectedCallError, match="nothing was scripted"):
        FakeLLM().invoke("?")


def test_no_except_exception_can_swallow_a_miss():
    assert not issubclass(UnexpectedCallError, Exception)
    llm = FakeLLM()
    fallback = llm.with_retry().with_fallbacks([FakeLLM("saved")])

    with pytest.raises(UnexpectedCallError):
        fallback.invoke("?")
    with pytest.raises(UnexpectedCallError):
        llm.batch(["a", "b"], return_exceptions=True)


@pytest.mark.parametrize("method", ["batch", "abatch"])
def test_a_batch_takes_its_replies_in_the_order_of_its_inputs(method):
    inputs = [f"input {n}" for n in range(200)]
    llm = FakeLLM.replies(*(f"reply {n}" for n in range(200)))

    outputs = llm.batch(inputs) if method == "batch" else asyncio.run(llm.abatch(inputs))

    assert outputs == [f"reply {n}" for n in range(200)]
    assert [call.input for call in llm.calls] == inputs
    assert {call.method for call in llm.calls} == {method}


def test_a_batch_through_a_binding_takes_its_replies_in_order_too():
    llm = FakeLLM.replies(*(f"reply {n}" for n in range(50)))

    pairs = llm.bind(stop=["x"]).batch_as_completed(range(50) and [str(n) for n in range(50)])

    assert sorted(pairs) == [(n, f"reply {n}") for n in range(50)]
    assert llm.calls[0].kwargs == {"stop": ["x"]}


# -- functions and exceptions -------------------------------------------------------------------------


def test_a_function_of_the_input_answers():
    assert FakeLLM(lambda prompt: prompt.upper()).invoke("hi") == "HI"
    assert list(FakeLLM(lambda prompt: Script.of(prompt)).stream("a b")) == ["a ", "b"]
    assert list(FakeLLM(lambda prompt: [prompt, Pause(1), "!"]).stream("a")) == ["a", "!"]
    assert FakeLLM(str.title).invoke("hi there") == "Hi There"


def test_a_generator_function_streams_as_it_is_pulled():
    made = []

    def respond(prompt):
        for word in prompt.split():
            made.append(word)
            yield word

    llm = FakeLLM(respond)
    stream = llm.stream("a b c")

    assert made == []
    assert next(stream) == "a"
    assert made == ["a"]
    stream.close()
    assert llm.invoke("d e") == "de"


def test_a_generator_function_is_closed_with_the_stream():
    closed = []

    def respond(prompt):
        try:
            yield "a"
            yield "b"
        finally:
            closed.append(prompt)

    stream = FakeLLM(respond).stream("p")
    next(stream)
    stream.close()

    assert closed == ["p"]


def test_a_generator_function_may_raise_in_the_middle():
    def respond(prompt):
        yield "half"
        raise KeyError(prompt)

    llm = FakeLLM(respond)
    stream = llm.stream("p")

    assert next(stream) == "half"
    with pytest.raises(KeyError):
        next(stream)
    assert llm.calls[0].state == "failed"
    assert isinstance(llm.calls[0].error, KeyError)


@pytest.mark.anyio
async def test_asynchronous_functions_answer_asynchronous_calls():
    async def whole(prompt):
        return ["a", prompt]

    async def pieces(prompt):
        yield "a"
        yield Pause(3)
        yield prompt

    for respond in (whole, pieces):
        llm = FakeLLM(respond)
        assert await collect(llm.astream("b")) == ["a", "b"]
        assert await llm.ainvoke("b") == "ab"
        with pytest.raises(TypeError, match="call ainvoke, astream or abatch"):
            llm.invoke("b")
        with pytest.raises(TypeError, match="asynchronous function"):
            list(llm.stream("b"))


@pytest.mark.anyio
async def test_plain_functions_answer_asynchronous_calls_too():
    def respond(prompt):
        yield "a"
        yield prompt

    assert await collect(FakeLLM(respond).astream("b")) == ["a", "b"]
    assert await FakeLLM(lambda prompt: prompt).ainvoke("b") == "b"


def test_a_function_may_yield_tool_pieces_and_usage_to_a_chat_model():
    def respond(messages):
        yield Reasoning("hm")
        yield ToolCall("look", '{"ci')
        yield ToolCall(arguments='ty": 1}')
        yield Usage(3, 4)
        yield Finish("tool_calls")

    message = FakeChatModel(respond).invoke("?")

    assert message.tool_calls == (ToolCall("look", '{"city": 1}', id="call_0", index=0),)
    assert (message.reasoning, message.usage, message.finish_reason) == ("hm", Usage(3, 4), "tool_calls")


def test_a_function_that_breaks_the_order_of_events_is_told():
    def respond(prompt):
        yield Finish()
        yield "late"

    with pytest.raises(ScriptError, match="nothing of the answer comes after its finish reason"):
        list(FakeLLM(respond).stream("?"))


def test_a_function_may_return_an_illegal_script_on_purpose():
    llm = FakeLLM(lambda prompt: Script(Finish(), "late", allow_illegal=True))

    assert list(llm.stream("?")) == ["late"]
    assert llm.invoke("?") == "late"


@pytest.mark.parametrize("nothing", [None, 3, b"bytes"])
def test_a_function_that_says_nothing_sayable_is_told(nothing):
    with pytest.raises(TypeError, match="a script is made of str, events and scripts"):
        FakeLLM(lambda prompt: nothing).invoke("?")


@pytest.mark.parametrize("method", ["invoke", "stream"])
def test_a_function_that_yields_no_chunk_is_told(method):
    llm = FakeLLM(lambda prompt: [Finish()])

    with pytest.raises(ValueError, match="has no chunk to show"):
        llm.invoke("?") if method == "invoke" else list(llm.stream("?"))


def test_an_exception_as_a_reply_is_raised_by_the_call():
    llm = FakeLLM.replies(TimeoutError("slow"), KeyError, "ok")

    with pytest.raises(TimeoutError, match="slow"):
        llm.invoke("?")
    with pytest.raises(KeyError):
        next(llm.stream("?"))
    assert llm.invoke("?") == "ok"
    assert [call.state for call in llm.calls] == ["failed", "failed", "complete"]


def test_retries_meet_the_next_reply():
    llm = FakeLLM.replies(TimeoutError("slow"), "ok")

    assert llm.with_retry().invoke("?") == "ok"


# -- pauses and faults --------------------------------------------------------------------------------


def test_pauses_take_time_of_the_clock_only():
    llm = FakeLLM("slow", Pause(30), " end")
    stream = llm.stream("?")

    assert (next(stream), llm.clock.now) == ("slow", 0)
    assert (next(stream), llm.clock.now) == (" end", 30)


@pytest.mark.anyio
async def test_pauses_take_time_of_the_clock_only_asynchronously():
    clock = InstantClock()
    llm = FakeLLM("slow", Pause(3600), " end", clock=clock)

    assert await collect(llm.astream("?")) == ["slow", " end"]
    assert await llm.ainvoke("?") == "slow end"
    assert clock.now == 7200


FAULTS = [
    (disconnect(), LLMConnectionError, "reset by the peer"),
    (disconnect("close"), ConnectionError, "closed before the stream was complete"),
    (provider_error("overloaded", kind="overloaded_error"), LLMStreamError, "overloaded"),
    (stall(), LLMTimeoutError, "fell silent for ever"),
    (stall(), TimeoutError, "fell silent"),
]


@pytest.mark.parametrize(("fault", "error", "words"), FAULTS)
def test_a_fault_strikes_after_the_chunks_before_it(fault, error, words):
    llm = FakeLLM("a", "b", fault)
    seen = []

    with pytest.raises(error, match=words):
        for chunk in llm.stream("?"):
            seen.append(chunk)
    with pytest.raises(error, match=words):
        llm.invoke("?")

    assert seen == ["a", "b"]
    assert [call.delivered for call in llm.calls] == [2, 0]
    assert issubclass(error, (LLMError, OSError))


@pytest.mark.parametrize(("fault", "error", "words"), FAULTS)
@pytest.mark.anyio
async def test_a_fault_strikes_asynchronously(fault, error, words):
    llm = FakeLLM("a", fault)
    stream = llm.astream("?")

    assert await anext(stream) == "a"
    with pytest.raises(error, match=words):
        await anext(stream)
    with pytest.raises(error, match=words):
        await llm.ainvoke("?")


def test_a_clock_that_gives_up_on_a_stall_ends_it():
    class Patient(InstantClock):
        def sleep(self, seconds):
            assert seconds == float("inf")

    with pytest.raises(LLMTimeoutError, match="fell silent for ever"):
        FakeLLM("a", stall(), clock=Patient()).invoke("?")


def test_an_http_error_has_status_headers_and_body():
    llm = FakeLLM.replies(http_error(429, "slow down", retry_after=7, body="{}"), http_error(500))

    with pytest.raises(LLMStatusError, match="HTTP 429: slow down") as caught:
        next(llm.stream("?"))
    with pytest.raises(LLMStatusError) as other:
        llm.invoke("?")

    assert (caught.value.status, caught.value.headers, caught.value.body) == (429, {"retry-after": "7"}, "{}")
    assert (other.value.status, other.value.headers, other.value.body) == (500, {}, None)


def test_a_provider_error_has_type_and_code():
    with pytest.raises(LLMStreamError) as caught:
        FakeLLM(provider_error("x", kind="rate", code="c")).invoke("?")

    assert (caught.value.type, caught.value.code) == ("rate", "c")


# -- the log ------------------------------------------------------------------------------------------


def test_the_log_has_input_method_config_and_kwargs_as_given():
    llm = FakeLLM("a")
    config = {"tags": ["t"]}

    llm.invoke("one", config, stop=["x"])
    list(llm.stream("two"))

    first, second = llm.calls
    assert (first.number, first.method, first.input, first.config, first.kwargs) == (
        1, "invoke", "one", config, {"stop": ["x"]},
    )  # fmt: skip
    assert (second.method, second.config, second.kwargs) == ("stream", None, {})


def test_a_call_is_logged_with_its_first_chunk_not_before():
    llm = FakeLLM("a")
    stream = llm.stream("?")

    assert llm.calls == []
    next(stream)
    assert llm.calls[0].state == "running"


def test_closing_early_is_logged():
    llm = FakeLLM("a", "b", "c")
    stream = llm.stream("?")
    next(stream)
    next(stream)
    stream.close()

    call = llm.calls[0]
    assert (call.closed, call.cancelled, call.delivered, call.chunks, call.error) == (True, False, 2, ["a", "b"], None)


def test_breaking_out_of_the_loop_closes():
    llm = FakeLLM("a", "b", "c")

    for _ in llm.stream("?"):
        break

    assert llm.calls[0].closed


@pytest.mark.anyio
async def test_cancelling_is_logged():
    llm = FakeLLM("a", Pause(1), stall(), clock=Parked())

    async with anyio.create_task_group() as group:
        group.start_soon(collect, llm.astream("?"))
        await llm.clock.parked.wait()
        group.cancel_scope.cancel()

    call = llm.calls[0]
    assert (call.state, call.cancelled, call.closed, call.delivered) == ("cancelled", True, False, 1)


class Parked(InstantClock):
    """Waits until cancelled, and says so."""

    def __init__(self):
        super().__init__()
        self.parked = anyio.Event()

    async def asleep(self, seconds):
        self.parked.set()
        await anyio.sleep_forever()


def test_the_thread_that_stepped_a_call_is_logged():
    llm = FakeLLM("a", "b")
    stream = llm.stream("?")
    next(stream)
    thread = threading.Thread(target=stream.close, name="closer")
    thread.start()
    thread.join()

    assert [stepper.thread for stepper in llm.calls[0].stepped_by] == [threading.current_thread().name, "closer"]
    assert "stepped by: " in llm.report()


def test_the_task_that_stepped_a_call_is_logged():
    async def main():
        llm = FakeLLM("a")
        await asyncio.create_task(llm.ainvoke("?"), name="mine")
        stream = llm.astream("?")
        await anext(stream)
        await asyncio.create_task(stream.aclose(), name="other")
        return llm.calls

    whole, streamed = asyncio.run(main())
    assert [stepper.task for stepper in whole.stepped_by] == ["mine"]
    assert len(streamed.stepped_by) == 2
    assert streamed.stepped_by[1].task == "other"


def test_the_log_of_a_function_keeps_the_last_chunks_only():
    llm = FakeLLM(lambda prompt: [str(n) for n in range(50)])

    list(llm.stream("?"))

    assert llm.calls[0].delivered == 50
    assert llm.calls[0].chunks == [str(n) for n in range(30, 50)]


def test_the_log_shows_messages():
    chat = FakeChatModel("a")
    chat.invoke([{"role": "system", "content": "Be brief."}, ("human", "hi")])

    assert [(m.role, m.content) for m in chat.calls[0].messages] == [("system", "Be brief."), ("user", "hi")]


@given(st.integers(1, 30), st.data())
def test_delivered_counts_what_was_taken_wherever_the_pauses_are(size, data):
    pauses = data.draw(st.sets(st.integers(0, size)))
    taken = data.draw(st.integers(1, size))
    script = Script(*(str(n) for n in range(size)))
    for after in sorted(pauses, reverse=True):
        script = script.pause(1, after=after)
    llm = FakeLLM(script)
    stream = llm.stream("?")

    for _ in range(taken):
        next(stream)

    assert llm.calls[0].delivered == taken
    assert llm.calls[0].chunks == [str(n) for n in range(taken)]
    stream.close()


def test_two_streams_of_one_fake_do_not_cross():
    llm = FakeLLM("a", Pause(1), "b", "c")
    one, two = llm.stream("1"), llm.stream("2")

    mixed = [next(one), next(two), next(two), next(one), next(one), next(two)]

    assert mixed == ["a", "a", "b", "b", "c", "c"]
    assert [call.delivered for call in llm.calls] == [3, 3]


@pytest.mark.anyio
async def test_two_concurrent_streams_take_turns():
    llm = FakeLLM("a", "b", "c")
    log = []

    async def consume(name):
        async for chunk in llm.astream(name):
            log.append(name + chunk)

    async with anyio.create_task_group() as group:
        group.start_soon(consume, "1")
        group.start_soon(consume, "2")

    assert sorted(log[:2]) == ["1a", "2a"]
    assert sorted(log[2:4]) == ["1b", "2b"]


# -- chat ---------------------------------------------------------------------------------------------


def test_a_chat_model_streams_message_chunks_that_add_up():
    chat = FakeChatModel(
        Reasoning("hm "), "It ", "is.", ToolCall("look", {"city": "Paris"}), ToolCall("other"), Usage(3, 9),
        Finish("tool_calls"), Usage(3, 10),
    )  # fmt: skip

    chunks = list(chat.stream([("user", "?")]))

    assert chunks[0] == Message(reasoning="hm ")
    assert chunks[1] == Message(content="It ")
    assert len(chunks) == 8
    assert reduce(add, chunks) == chat.invoke("?")
    assert chat.invoke("?").tool_calls[0].args == {"city": "Paris"}
    assert chat.invoke("?").usage == Usage(3, 10)


def test_a_chat_model_without_streaming_yields_the_message():
    chat = FakeChatModel("a", "b", Finish(), streaming=False)

    assert list(chat.stream("?")) == [Message(content="ab", finish_reason="stop")]


def test_a_stream_of_tool_calls_only_is_fine():
    assert len(list(FakeChatModel(ToolCall("f")).stream("?"))) == 1


def test_bound_tools_are_in_the_log():
    chat = FakeChatModel("a")

    chat.bind_tools([{"name": "look"}], tool_choice="auto").invoke("?")

    assert chat.calls[0].kwargs == {"tools": [{"name": "look"}], "tool_choice": "auto"}


# -- bad use ------------------------------------------------------------------------------------------


@each("prompt", [None, 3, {"question": "?"}, b"bytes", [3], [("user",)]])
@each("model", [FakeLLM("a"), FakeChatModel("a")])
def test_what_is_no_prompt_is_refused(model, prompt):
    with pytest.raises(ValueError, match="a model's input is|a message is"):
        model.invoke(prompt)
    with pytest.raises(ValueError, match="a model's input is|a message is"):
        next(model.stream(prompt))
    assert isinstance(model.batch([prompt, "ok"], return_exceptions=True)[0], ValueError)
    assert isinstance(asyncio.run(model.abatch([prompt, "ok"], return_exceptions=True))[0], ValueError)


@each(
    ("parts", "error", "words"),
    [
        ((Script(),), ScriptError, "an empty script answers nothing"),
        ((None,), TypeError, "part 0 is None"),
        ((b"bytes",), TypeError, "decode the bytes first"),
        ((["a", "b"],), TypeError, "one argument each"),
        ((Finish,), TypeError, "call it: Finish()"),
        (("a", lambda prompt: "b"), TypeError, "a script is made of"),
        ((lambda prompt: "b", "a"), TypeError, "is a reply by itself"),
        ((ValueError("x"), "a"), TypeError, "is a reply by itself"),
        ((Finish(),), ValueError, "has no chunk to show"),
        ((Finish(), "late"), ScriptError, "nothing of the answer comes after"),
    ],
)
def test_what_is_no_reply_is_refused(parts, error, words):
    with pytest.raises(error, match=re.escape(words)):
        FakeLLM(*parts)
    with pytest.raises(error, match=re.escape(words)):
        FakeLLM().reply(*parts)


def test_a_reply_without_parts_is_refused():
    with pytest.raises(ScriptError, match="a reply needs something to say"):
        FakeLLM().reply()


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((None, "a"), {}, "needs a text, a pattern, a predicate or a role"),
        (("x", "a"), {"times": 0}, "times is a number of calls from 1 up"),
        (("x", "a"), {"times": True}, "times is a number of calls from 1 up"),
        ((3, "a"), {}, "matches a text, a compiled pattern or a predicate"),
    ],
)
def test_a_bad_rule_is_refused(arguments, options, words):
    with pytest.raises((ScriptError, TypeError), match=words):
        FakeLLM().when(*arguments, **options)


def test_a_bad_clock_is_refused():
    with pytest.raises(TypeError, match="a clock is InstantClock"):
        FakeLLM("a", clock=3)
    with pytest.raises(TypeError, match="a clock is InstantClock"):
        FakeLLM("a", clock=InstantClock)


def test_verify_tells_of_unused_replies_and_of_swallowed_misses():
    llm = FakeLLM().reply("a").when("never", "b")
    with pytest.raises(UnusedRepliesError, match="2 of its replies"):
        llm.verify()
    llm.verify(allow_unused=True)

    llm.invoke("?")
    with pytest.raises(UnexpectedCallError):
        llm.invoke("?")
    with pytest.raises(SwallowedCallError, match="call 2 of the fake model has no reply"):
        llm.verify(allow_unused=True)
    llm.verify(allow_unused=True, allow_misses=True)


def test_a_model_that_was_not_called_reports_so():
    assert FakeLLM("a").report() == "FakeLLM was not called"
    assert FakeLLM("a", name="mine").report() == "mine was not called"


@pytest.mark.parametrize(
    ("misuse", "words"),
    [
        (lambda: FakeLLM("a").invoke("system", "user"), "a config is a dict .* several messages are one list"),
        (lambda: list(FakeLLM("a").stream("q", "user")), "a config is a dict"),
        (lambda: (FakeLLM("a") | str).invoke("q", "user"), "a config is a dict"),
        (lambda: FakeLLM("a").invoke("q", {"callbacks": print}), "callbacks are a list of functions"),
        (lambda: FakeLLM("a", ValueError("x")), "an exception is a reply by itself"),
        (lambda: FakeLLM().when(re.compile(b"x"), "a"), "compile a str pattern"),
        (lambda: FakeLLM().when(b"x", "a"), "decode the bytes first"),
        (lambda: FakeLLM().when(str, "a"), "a predicate is a plain function"),
    ],
)
def test_habits_of_newcomers_are_told_what_to_do(misuse, words):
    with pytest.raises(TypeError, match=words):
        misuse()


@pytest.mark.parametrize(
    ("misuse", "error", "words"),
    [
        (
            lambda: FakeLLM(responses=["a"]),
            TypeError,
            r"FakeLLM takes no responses; .*FakeLLM.replies\('first', 'second'\)",
        ),
        (lambda: FakeLLM("a").predict("q"), AttributeError, r"FakeLLM has no 'predict'; write .invoke\(prompt\)"),
        (lambda: FakeLLM("a").bind_tools([]), AttributeError, "use FakeChatModel"),
        (lambda: FakeChatModel("a").generate(["q"]), AttributeError, "FakeChatModel has no 'generate'; write .batch"),
        (lambda: FakeLLM("a").whatever, AttributeError, "FakeLLM has no 'whatever'$"),
    ],
)
def test_habits_from_other_fakes_are_told_what_to_write(misuse, error, words):
    with pytest.raises(error, match=words):
        misuse()


async def _says_no(prompt):
    return False


def _yields_no(prompt):
    yield False


@pytest.mark.parametrize("predicate", [_says_no, _yields_no])
def test_a_predicate_that_would_be_true_of_anything_is_refused(predicate):
    with pytest.raises(TypeError, match="a predicate is a plain function that returns whether the input matches"):
        FakeLLM().when(predicate, "a")


def test_a_reply_function_that_forgot_to_return_is_named():
    def respond(prompt):
        prompt.upper()

    with pytest.raises(TypeError) as caught:
        FakeLLM(respond).invoke("?")

    assert caught.value.__notes__ == [
        "It was returned or yielded by the reply function respond; did it forget to return?"
    ]


def test_a_predicate_that_raises_fails_its_call_and_no_other():
    def picky(prompt):
        if prompt == "bad":
            raise KeyError(prompt)
        return False

    llm = FakeLLM().when(picky, "x").otherwise("y")

    outputs = llm.batch(["good", "bad"], return_exceptions=True)

    assert outputs[0] == "y"
    assert isinstance(outputs[1], KeyError)
    assert "raised by the predicate of: when picky" in outputs[1].__notes__[0]
    assert [call.state for call in llm.calls] == ["complete", "failed"]
    assert llm.calls[1].error is outputs[1]


def test_threads_that_share_a_fake_get_the_replies_in_the_order_of_the_log():
    llm = FakeLLM.replies(*map(str, range(400)))
    answers = {}

    def hammer(name):
        for turn in range(50):
            answers[f"{name} {turn}"] = llm.invoke(f"{name} {turn}")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=hammer, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)

    assert [answers[call.input] for call in llm.calls] == [str(n) for n in range(400)]
    assert [call.number for call in llm.calls] == list(range(1, 401))


def test_a_predicate_may_ask_the_fake_itself():
    llm = FakeLLM("inner")
    llm.when(lambda prompt: prompt != "inside" and llm.invoke("inside") == "inner", "outer")

    assert llm.invoke("outside") == "outer"


def test_the_log_keeps_the_messages_as_they_were_at_the_call():
    chat = FakeChatModel("a")
    messages = [("user", "hi")]

    chat.invoke(messages)
    messages.append(("assistant", "a"))

    assert len(chat.calls[0].messages) == 1


def test_roles_go_by_either_name():
    chat = FakeChatModel().when(None, "to a human", role="human").when(None, "to an ai", role="ai")

    assert chat.invoke([("human", "q")]).content == "to a human"
    assert chat.invoke([("assistant", "q")]).content == "to an ai"


def test_a_miss_beside_a_spent_rule_does_not_say_that_nothing_was_scripted():
    llm = FakeLLM().when("a", "A", times=1)
    llm.invoke("a")

    with pytest.raises(UnexpectedCallError, match="no when\\(\\) fits"):
        llm.invoke("b")


def test_a_spent_predicate_is_not_asked_again_for_the_wording_of_a_miss():
    llm = FakeLLM().when(lambda prompt: {"a": True}[prompt], "yes", times=1)
    llm.invoke("a")

    with pytest.raises(UnexpectedCallError, match="no when"):
        llm.invoke("b")
    assert llm.calls[1].state == "failed"
    with pytest.raises(SwallowedCallError):
        llm.verify()


@pytest.mark.anyio
async def test_an_error_in_the_clean_up_of_a_plain_generator_is_not_lost():
    def respond(prompt):
        try:
            yield "a"
            yield "b"
        finally:
            raise KeyError("clean-up")

    llm = FakeLLM(respond)
    stream = llm.astream("?")
    await anext(stream)
    with pytest.raises(KeyError):
        await stream.aclose()
    assert llm.calls[0].state == "failed"


def test_a_reply_that_is_cancelled_inside_a_nursery_is_logged_as_cancelled():
    async def respond(prompt):
        async with trio.open_nursery() as group:
            group.start_soon(trio.sleep_forever)
            group.start_soon(trio.sleep_forever)
        return "never"

    llm = FakeLLM(respond)

    async def main():
        async with trio.open_nursery() as group:
            group.start_soon(llm.ainvoke, "?")
            await trio.testing.wait_all_tasks_blocked()
            group.cancel_scope.cancel()

    trio.run(main)
    assert llm.calls[0].state == "cancelled"


@pytest.mark.anyio
async def test_the_log_shows_no_chunk_of_a_function_that_was_not_taken():
    async def respond(prompt):
        yield "a"
        yield "b"

    llm = FakeLLM(respond)
    stream = llm.astream("?")
    assert await anext(stream) == "a"
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anext(stream)

    assert (llm.calls[0].state, llm.calls[0].delivered, llm.calls[0].chunks) == ("cancelled", 1, ["a"])


def test_scripted_errors_can_leave_a_process():
    llm = FakeLLM.replies(http_error(429, retry_after=7), provider_error("x", kind="k", code="c"), disconnect())
    for _ in range(3):
        with pytest.raises(LLMError) as caught:
            llm.invoke("?")
        copied = pickle.loads(pickle.dumps(caught.value))
        assert (type(copied), str(copied), vars(copied)) == (type(caught.value), str(caught.value), vars(caught.value))
        assert str(copy.copy(caught.value)) == str(caught.value)
    missing = pickle.loads(pickle.dumps(MissingExtraError("regex", "graphemes", "splitting")))
    assert "pip install 'fakellm-stream[graphemes]'" in str(missing)


def test_an_exception_class_is_raised_afresh_and_an_instance_without_its_past():
    llm = FakeLLM(KeyError)
    seen = []
    for _ in range(2):
        with pytest.raises(KeyError) as caught:
            llm.invoke("?")
        seen.append(caught.value)
    assert seen[0] is not seen[1]

    error = ValueError("x")
    llm = FakeLLM(error)
    for handled in (True, False):
        try:
            if handled:
                raise OSError
            llm.invoke("?")
        except (OSError, ValueError):
            with pytest.raises(ValueError, match="x"):
                llm.invoke("?")
    with pytest.raises(ValueError, match="x"):
        llm.invoke("?")
    assert error.__context__ is None


@pytest.mark.exhaustive
def test_many_replies_cost_no_more_each():
    llm = FakeLLM.replies(*map(str, range(3000)))

    assert llm.batch([""] * 3000)[-1] == "2999"
    assert llm.unused == []


def test_the_rooms_of_the_tour_are_there_without_importing_them():
    code = "import fakellm; fakellm.clock.RealClock; fakellm.script.Message; fakellm.errors.LLMError"

    subprocess.run([sys.executable, "-c", code], check=True)


# -- callbacks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("flavour", ["stream", "astream"])
def test_callbacks_see_start_each_token_before_it_is_yielded_and_end(flavour):
    log = []
    llm = FakeLLM("a", "b")
    config = {"callbacks": [lambda event: log.append((event.event, event.chunk, event.output))]}

    async def consume():
        async for chunk in llm.astream("?", config):
            log.append(("got", chunk))

    if flavour == "stream":
        for chunk in llm.stream("?", config):
            log.append(("got", chunk))
    else:
        asyncio.run(consume())

    assert log == [
        ("start", None, None),
        ("chunk", "a", None),
        ("got", "a"),
        ("chunk", "b", None),
        ("got", "b"),
        ("end", None, "ab"),
    ]


@pytest.mark.parametrize("method", ["invoke", "ainvoke", "batch", "abatch"])
def test_callbacks_see_whole_calls(method):
    log = []
    llm = FakeLLM("a", "b")
    config = {"callbacks": [lambda event: log.append((event.event, event.run.input, event.output))], "run_name": "r"}
    argument = ["?"] if "batch" in method else "?"

    result = getattr(llm, method)(argument, config)
    if method.startswith("a"):
        asyncio.run(_await(result))

    assert log == [("start", "?", None), ("end", "?", "ab")]


async def _await(awaitable):
    return await awaitable


def test_callbacks_see_an_error_with_what_was_taken_before_it():
    log = []
    llm = FakeLLM("a", "b", disconnect())

    with pytest.raises(LLMConnectionError):
        list(llm.stream("?", {"callbacks": [log.append]}))

    assert [event.event for event in log] == ["start", "chunk", "chunk", "error"]
    assert log[-1].output == "ab"
    assert isinstance(log[-1].error, LLMConnectionError)


def test_callbacks_see_a_closing_with_what_was_taken_before_it():
    log = []
    llm = FakeLLM("a", "b", "c")
    stream = llm.stream("?", {"callbacks": [log.append]})
    next(stream)
    next(stream)
    stream.close()

    assert isinstance(log[-1].error, GeneratorExit)
    assert log[-1].output == "a", "b was yielded, but the consumer did not come back for more"
    assert llm.calls[0].closed


def test_of_many_replies_only_those_of_conversations_are_asked_where_a_call_leaves_one(monkeypatch):
    asked = []
    monkeypatch.setattr(Reply, "astray", lambda *_: asked.append(1))  # of 3,000 replies it was most of each call
    fake = FakeLLM.replies("a", "b")
    assert ([fake.invoke(""), fake.invoke("")], asked) == (["a", "b"], [])
