"""Promises whose breach no other test saw: each was found by breaking the code and running all tests."""

from __future__ import annotations

import asyncio
import math
import re
import threading
from collections.abc import AsyncIterator
from concurrent import futures
from contextvars import ContextVar
from inspect import isawaitable

import anyio
import anyio.lowlevel
import pytest
from kinds import Broken, Once, Source

from fakellm import (
    FakeChatModel,
    FakeLLM,
    Finish,
    Runnable,
    Script,
    disconnect,
    stall,
)
from fakellm.clock import clock
from fakellm.clock.clock import InstantClock
from fakellm.errors import LLMConnectionError, LLMTimeoutError, ScriptError, SwallowedCallError, UnexpectedCallError
from fakellm.models import copies, replies
from fakellm.models.kept import Kept
from fakellm.runnable import tees
from fakellm.runnable.compose import RunnableSequence
from fakellm.runnable.functions import RunnableGenerator, RunnableLambda
from fakellm.runnable.parallel import RunnableParallel

PATIENCE = 10  # seconds until a gate that never opens fails the test
CALLS = ("invoke", "ainvoke", "stream", "astream", "batch", "abatch")
METHODS = (*CALLS, "batch_as_completed", "abatch_as_completed", "transform", "atransform")
each_method = pytest.mark.parametrize("method", METHODS)


class Echo(Runnable):
    """Returns how it was called."""

    def invoke(self, input, config=None, **kwargs):
        return input, config, kwargs


async def feed(*items):
    for item in items:
        yield item


async def first(runnable, method, input, config=None, **kwargs):
    """Return the first output of any method for this one input."""
    given = {"transform": lambda: iter([input]), "atransform": lambda: feed(input)}.get(
        method, lambda: [input] if "batch" in method else input
    )
    result = getattr(runnable, method)(given(), config, **kwargs)
    if isawaitable(result):
        result = await result
    elif isinstance(result, AsyncIterator):
        result = [item async for item in result]
    elif method != "invoke":
        result = list(result)
    output = result if method.endswith("invoke") else result[0]
    return output[1] if method.endswith("as_completed") else output


def passing(chunks):
    yield from chunks


async def apassing(chunks):
    async for chunk in chunks:
        yield chunk


def told(input, config, stop=None):
    return input, config, {"stop": stop}


def telling(inputs, config, stop=None):
    for item in inputs:
        yield item, config, {"stop": stop}


async def atelling(inputs, config, stop=None):
    async for item in inputs:
        yield item, config, {"stop": stop}


# -- what reaches the inside --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "runnable",
    [
        Echo(),
        Echo() | RunnableGenerator(passing, apassing),
        RunnableParallel(out=Echo()),
        RunnableLambda(told),
        RunnableGenerator(telling, atelling),
        Echo().with_retry(),
        Echo().with_fallbacks([]),
        Once(error=Broken()).with_fallbacks([Echo()]),
    ],
    ids=["base", "sequence", "parallel", "lambda", "generator", "retry", "fallbacks", "used fallback"],
)
@each_method
@pytest.mark.anyio
async def test_config_and_kwargs_reach_the_inside_in_every_method(runnable, method):
    output = await first(runnable, method, "?", {"tags": ["t"]}, stop=1)

    input, config, kwargs = output["out"] if isinstance(output, dict) else output
    assert (input, config["tags"], kwargs) == ("?", ["t"], {"stop": 1})


@each_method
@pytest.mark.anyio
async def test_what_the_call_says_wins_over_what_is_bound_in_every_method(method):
    bound = Echo().bind(a=1, b=1).with_config(metadata={"a": 1, "b": 1})

    _, config, kwargs = await first(bound, method, "?", {"metadata": {"b": 2}}, b=2)

    assert kwargs == {"a": 1, "b": 2}
    assert config["metadata"] == {"a": 1, "b": 2}


@each_method
@pytest.mark.anyio
async def test_a_runnable_that_a_lambda_returned_gets_the_config(method):
    _, config, _ = await first(RunnableLambda(lambda _: Echo()), method, "?", {"tags": ["t"], "recursion_limit": 7})

    assert (config["tags"], config["recursion_limit"]) == (["t"], 6)


@pytest.mark.parametrize("method", ["transform", "atransform"])
@pytest.mark.parametrize("runnable", [Echo(), RunnableLambda(told)], ids=["base", "lambda"])
@pytest.mark.anyio
async def test_none_is_an_input_and_not_the_lack_of_one(runnable, method):
    assert (await first(runnable, method, None))[0] is None


def test_of_a_bound_config_the_keyword_wins():
    assert Echo().with_config({"run_name": "a"}, run_name="b").invoke("?")[1]["run_name"] == "b"


def test_a_function_that_changes_its_config_does_not_change_the_callers():
    def scribble(_, config):
        config["tags"].append("mine")
        config["metadata"]["mine"] = 1
        config["configurable"]["mine"] = 1

    given = {"tags": ["t"], "metadata": {"m": 1}, "configurable": {"c": 1}}
    RunnableLambda(scribble).invoke("?", given)

    assert given == {"tags": ["t"], "metadata": {"m": 1}, "configurable": {"c": 1}}


# -- runs ---------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "runnable",
    [
        Once() | RunnableGenerator(passing, apassing),
        RunnableParallel(out=Once()),
        RunnableLambda(str),
        RunnableGenerator(passing, apassing),
    ],
    ids=["sequence", "parallel", "lambda", "generator"],
)
@each_method
@pytest.mark.anyio
async def test_a_run_has_the_input_unless_that_is_a_stream(runnable, method):
    log = []
    await first(runnable, method, "?", {"callbacks": [log.append]})

    assert log[0].run.input == (None if "transform" in method else "?")


@pytest.mark.parametrize("method", ["invoke", "stream", "batch"])
def test_a_model_that_is_called_inside_a_lambda_is_watched_too(method):
    def inside(_):
        result = getattr(FakeLLM("a"), method)("?")
        return list(result)

    log = []
    RunnableLambda(inside).invoke("?", {"callbacks": [log.append]})

    assert ("inside", "FakeLLM") in [event.run.path for event in log]


@pytest.mark.parametrize("method", ["ainvoke", "astream", "abatch"])
@pytest.mark.anyio
async def test_a_model_that_is_called_inside_an_asynchronous_lambda_is_watched_too(method):
    async def inside(_):
        await first(FakeLLM("a"), method, "?")

    log = []
    await RunnableLambda(inside).ainvoke("?", {"callbacks": [log.append]})

    assert ("inside", "FakeLLM") in [event.run.path for event in log]


@pytest.mark.parametrize("method", ["batch", "abatch"])
@pytest.mark.parametrize(
    ("wrap", "name"),
    [
        (lambda r: r.with_retry(), "RunnableRetry<Once>"),
        (lambda r: r.with_fallbacks([]), "RunnableWithFallbacks<Once>"),
        (lambda r: r | str, "RunnableSequence"),
    ],
    ids=["retry", "fallbacks", "sequence"],
)
@pytest.mark.anyio
async def test_in_a_batch_too_the_inside_is_a_step_of_the_row(wrap, name, method):
    log, inner = [], RunnableLambda(lambda x: x, name="Once")
    result = getattr(wrap(inner), method)("ab", {"callbacks": [log.append]})
    await result if isawaitable(result) else result

    starts = [(event.run.path, event.run.input) for event in log if event.event == "start"]
    for input in "ab":
        assert ((name,), input) in starts
        assert ((name, "Once"), input) in starts


def test_the_runs_of_a_batch_end_in_the_order_of_its_inputs():
    log = []
    (RunnableLambda(str.upper) | str.lower).batch("abc", {"callbacks": [log.append]})

    assert [event.output for event in log if event.event == "end" and event.run.parent is None] == ["a", "b", "c"]


@pytest.mark.anyio
async def test_a_chunk_that_the_consumer_did_not_come_back_for_is_no_output():
    log = []
    stream = FakeLLM("a", "b", "c").astream("?", {"callbacks": [log.append]})
    await anext(stream)
    await anext(stream)
    await stream.aclose()

    assert isinstance(log[-1].error, GeneratorExit)
    assert log[-1].output == "a"


# -- generators ---------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_closing_closes_the_generator_function_before_its_input():
    closed = []

    def noting(name, items):
        try:
            yield from items
        finally:
            closed.append(name)

    async def anoting(name, items):
        try:
            for item in items:
                yield item
        finally:
            closed.append(name)

    def over(items):
        next(items)
        yield from noting("generator", "xyz")

    async def aover(items):
        await anext(items)
        try:
            yield "x"
        finally:
            closed.append("generator")

    generator = RunnableGenerator(over, aover)
    input = noting("input", "abc")
    stream = generator.transform(input)
    assert next(stream) == "x"
    stream.close()
    assert closed == ["generator", "input"]

    closed.clear()
    ainput = anoting("input", "abc")
    astream = generator.atransform(ainput)
    assert await anext(astream) == "x"
    await astream.aclose()
    assert closed == ["generator", "input"]


def test_an_asynchronous_function_that_refuses_a_stream_closes_it():
    class Stream:
        is_closed = False

        def __iter__(self):
            return self

        def __next__(self):
            raise AssertionError("nobody asked for input")

        def close(self):
            self.is_closed = True

    async def asynchronous(x):
        return x

    stream = Stream()
    with pytest.raises(TypeError, match="call ainvoke, astream or abatch"):
        list(RunnableLambda(asynchronous).transform(stream))
    assert stream.is_closed


@pytest.mark.anyio
async def test_a_stream_that_was_added_up_is_closed_though_it_ended():
    closed = []

    class Stream:
        def __iter__(self):
            return self

        def __aiter__(self):
            return self

        def __next__(self):
            raise StopIteration

        async def __anext__(self):
            raise StopAsyncIteration

        def close(self):
            closed.append("close")

        async def aclose(self):
            closed.append("aclose")

    assert list(Echo().transform(Stream())) == []
    assert [chunk async for chunk in Echo().atransform(Stream())] == []
    assert closed == ["close", "aclose"]


@pytest.mark.anyio
async def test_an_asynchronous_function_beside_a_plain_generator_function_serves_the_asynchronous_stream():
    async def asynchronous(_):
        return "asynchronous"

    both = RunnableLambda(passing, asynchronous)

    assert [chunk async for chunk in both.astream("ab")] == ["asynchronous"]
    assert list(both.stream("ab")) == ["a", "b"]


def test_the_asynchronous_function_beside_a_plain_one_is_a_function_too():
    with pytest.raises(TypeError, match="a lambda is made of a function, not of 3"):
        RunnableLambda(len, 3)


def test_a_name_that_was_given_is_the_name():
    assert RunnableGenerator(passing, name="mine").get_name() == "mine"
    assert RunnableLambda(told, name="mine").get_name() == "mine"
    assert RunnableSequence(told, told, name="mine").get_name() == "mine"


# -- wrappers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda r: r.bind(stop=["x"]), lambda r: r.with_config(tags=["t"])])
def test_what_is_bound_around_a_retry_is_retried(wrap):
    model = FakeLLM.replies(Broken(), "second")

    assert wrap(model.with_retry()).invoke("?") == "second"


@each_method
@pytest.mark.anyio
async def test_a_fallback_gets_the_last_error_under_its_key_in_every_method(method):
    failing = [Once(error=Broken(which)) for which in ("first", "second")]
    chain = failing[0].with_fallbacks([failing[1], Echo()], exception_key="error")

    assert str((await first(chain, method, {"q": "?"}))[0]["error"]) == "second"


@each_method
@pytest.mark.anyio
async def test_an_error_of_a_fallback_that_is_not_handled_is_raised_at_once(method):
    third = Once("third")
    chain = Once(error=Broken()).with_fallbacks([Once(error=KeyError()), third], exceptions_to_handle=(Broken,))

    with pytest.raises(KeyError):
        await first(chain, method, "?")
    assert third.calls == 0


@pytest.mark.anyio
async def test_with_return_exceptions_what_is_not_retried_keeps_nothing_else_from_it():
    def answer(which):
        if which == "bad":
            raise KeyError
        return model.invoke(which)

    for method in ("batch", "abatch"):
        model = FakeLLM.replies(Broken(), "second")
        retry = RunnableLambda(answer).with_retry(retry_if_exception_type=(Broken,))
        result = getattr(retry, method)(["bad", "good"], return_exceptions=True)
        bad, good = await result if isawaitable(result) else result
        assert isinstance(bad, KeyError)
        assert good == "second"


class Picky(Runnable):
    """Fails with what is asked for."""

    def invoke(self, input, config=None, **kwargs):
        raise input


@pytest.mark.anyio
async def test_a_batch_does_not_fall_back_where_an_error_that_is_not_handled_is_raised_anyway():
    second = Once()
    chain = Picky().with_fallbacks([second], exceptions_to_handle=(Broken,))

    with pytest.raises(KeyError):
        chain.batch([Broken(), KeyError()])
    with pytest.raises(KeyError):
        await chain.abatch([Broken(), KeyError()])
    assert second.calls == 0

    assert chain.batch([Broken(), KeyError()], return_exceptions=True)[0] == "the answer"


@each_method
@pytest.mark.anyio
async def test_with_an_exception_key_the_input_is_a_dict_even_where_nothing_fails(method):
    with pytest.raises(ValueError, match="no dict"):
        await first(Once().with_fallbacks([], exception_key="error"), method, "?")


class Halt(BaseException):
    """What is no `Exception`."""


class Halting(Runnable):
    """Raises one error, then answers; the asynchronous method without a thread."""

    def __init__(self, error: type[BaseException] = Halt) -> None:
        self.error = error
        self.calls = 0

    def invoke(self, input, config=None, **kwargs):
        self.calls += 1
        if self.calls == 1:
            raise self.error
        return "answer"

    async def ainvoke(self, input, config=None, **kwargs):
        return self.invoke(input)


@pytest.mark.parametrize("method", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.anyio
async def test_a_base_exception_that_is_to_be_handled_is(method):
    assert await first(Halting().with_fallbacks([Once("2nd")], exceptions_to_handle=(Halt,)), method, "?") == "2nd"
    if "invoke" in method:
        assert await first(Halting().with_retry(retry_if_exception_type=(Halt,)), method, "?") == "answer"


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit])
def test_what_ends_a_call_from_outside_is_never_retried(error):
    halting = Halting(error)
    retry = halting.with_retry(retry_if_exception_type=(BaseException,))

    with pytest.raises(error):
        retry.invoke("?")
    assert halting.calls == 1


@pytest.mark.anyio
async def test_a_base_exception_that_leaves_a_batch_is_the_error_of_its_runs():
    for method in ("batch", "abatch"):
        log = []
        with pytest.raises(Halt):
            await first(Halting() | str, method, "?", {"callbacks": [log.append]})
        assert [type(event.error) for event in log if event.event == "error"] == [Halt]


@pytest.mark.anyio
async def test_a_batch_waits_longer_before_each_further_attempt():
    for method in ("batch", "abatch"):
        instant = InstantClock()
        with pytest.raises(Broken):
            await first(Once(error=Broken()).with_retry(clock=instant, stop_after_attempt=4), method, "?")
        assert instant.now == 1 + 2 + 4


# -- batches ------------------------------------------------------------------------------------------


class Pairs(Runnable):
    """Answers once two calls are there."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2)
        self.calls = 0
        self.second = anyio.Event()

    def invoke(self, input, config=None, **kwargs):
        self.barrier.wait(PATIENCE)
        return input

    async def ainvoke(self, input, config=None, **kwargs):
        self.calls += 1
        if self.calls == 2:
            self.second.set()
        with anyio.fail_after(PATIENCE):
            await self.second.wait()
        return input


@pytest.mark.parametrize("method", ["batch", "abatch", "batch_as_completed", "abatch_as_completed"])
@pytest.mark.anyio
async def test_of_several_configs_the_first_bounds_the_batch(method):
    result = getattr(Pairs(), method)("ab", [{"max_concurrency": 2}, {"max_concurrency": 1}])

    if isinstance(result, AsyncIterator):
        outputs = [pair async for pair in result]
    else:
        outputs = list(await result if isawaitable(result) else result)
    assert len(outputs) == 2


class Parked(Runnable):
    """The first call with a number above 0 waits until it is cancelled; all others are answered at once."""

    def __init__(self) -> None:
        self.started = []
        self.parked = anyio.Event()

    def invoke(self, input, config=None, **kwargs):
        raise NotImplementedError

    async def ainvoke(self, input, config=None, **kwargs):
        self.started.append(input)
        if input and not self.parked.is_set():
            self.parked.set()
            await anyio.sleep_forever()
        return input


@pytest.mark.anyio
async def test_closing_and_cancelling_a_bounded_batch_start_nothing_more():
    closed, cancelled = Parked(), Parked()
    with anyio.fail_after(PATIENCE):
        pairs = closed.abatch_as_completed([0, 1, 2, 3], {"max_concurrency": 1})
        assert await anext(pairs) == (0, 0)
        await closed.parked.wait()
        await pairs.aclose()
        async with anyio.create_task_group() as group:
            group.start_soon(cancelled.abatch, [1, 2, 3], {"max_concurrency": 1})
            await cancelled.parked.wait()
            group.cancel_scope.cancel()

    assert (closed.started, cancelled.started) == ([0, 1], [1])


@pytest.mark.anyio
async def test_the_warning_about_a_shared_run_id_is_at_the_callers_line():
    with pytest.warns(RuntimeWarning, match="first input") as warned:
        Echo().batch("ab", {"run_id": 1})
    with pytest.warns(RuntimeWarning, match="first input") as awarned:
        await Echo().abatch("ab", {"run_id": 1})

    assert [warning.filename for warning in (*warned, *awarned)] == [__file__, __file__]


def test_a_cancellation_while_a_batch_is_closed_is_not_lost():
    """In asyncio only: trio's cancellation stays until the scope ends."""

    async def main():
        parked, lingering, gate = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def step(input):
            if input == 0:
                return
            try:
                parked.set()
                await asyncio.Event().wait()
            finally:
                lingering.set()
                await gate.wait()

        async def consume():
            pairs = RunnableLambda(step).abatch_as_completed([0, 1])
            await anext(pairs)
            await parked.wait()
            await pairs.aclose()

        async with asyncio.timeout(PATIENCE):
            task = asyncio.create_task(consume())
            await lingering.wait()
            task.cancel()
            for _ in range(3):
                await asyncio.sleep(0)
            assert not task.done()
            gate.set()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())


# -- parallel -----------------------------------------------------------------------------------------


def test_the_threads_of_a_parallel_stream_see_the_callers_context():
    variable = ContextVar("variable", default="unset")
    variable.set("mine")

    assert list(RunnableParallel(out=lambda _: variable.get()).stream("?")) == [{"out": "mine"}]


def test_no_step_of_a_parallel_in_threads_goes_on_before_its_chunk_was_taken(monkeypatch):
    submit = futures.ThreadPoolExecutor.submit

    def submit_and_wait(pool, *job):
        future = submit(pool, *job)
        assert futures.wait([future], PATIENCE).done
        return future

    monkeypatch.setattr(futures.ThreadPoolExecutor, "submit", submit_and_wait)
    x, y = Source("a", "b", "c"), Source("d", "e", "f")
    stream = RunnableParallel(x=x, y=y).stream("?")

    assert next(stream) == {"x": "a"}
    assert (x.pulled, y.pulled) == (1, 1)
    assert next(stream) == {"y": "d"}
    assert (x.pulled, y.pulled) == (2, 1)


def test_closing_a_parallel_closes_its_steps_and_starts_no_other(monkeypatch):
    release, called = threading.Event(), []
    shutdown = futures.ThreadPoolExecutor.shutdown

    def cancel_then_release(pool, *, wait, cancel_futures):
        shutdown(pool, wait=False, cancel_futures=cancel_futures)
        release.set()
        shutdown(pool, wait=wait)

    class Step(Once):
        is_closed = False

        def transform(self, input, config=None, **kwargs):
            return self

        def __iter__(self):
            return self

        def __next__(self):
            called.append(self.answer)
            assert self.answer == "first" or release.wait(PATIENCE)
            return self.answer

        def close(self):
            self.is_closed = True

    monkeypatch.setattr(futures.ThreadPoolExecutor, "shutdown", cancel_then_release)
    steps = {name: Step(name) for name in ("first", "second", "third")}
    stream = RunnableParallel(steps).stream("?", {"max_concurrency": 1})

    assert next(stream) == {"first": "first"}
    stream.close()

    assert called in (["first", "second"], ["first"])
    assert [step.is_closed for step in steps.values()] == [True, True, True]


class Failing(Runnable):
    """Streams nothing, and fails when it may; then the next may."""

    def __init__(self, error: Exception, after: anyio.Event) -> None:
        self.error = error
        self.after = after
        self.done = anyio.Event()

    def invoke(self, input, config=None, **kwargs):
        raise NotImplementedError

    async def astream(self, input, config=None, **kwargs):
        await self.after.wait()
        try:
            raise self.error
        finally:
            self.done.set()
        yield


@pytest.mark.anyio
async def test_what_came_before_the_failure_of_a_sibling_is_delivered_and_the_first_failure_raised():
    gate = anyio.Event()
    early = Failing(Broken("early"), gate)
    late = Failing(Broken("late"), early.done)
    stream = RunnableParallel(late=late, early=early, x=Source("a"), y=Source("b")).astream("?")

    with anyio.fail_after(PATIENCE):
        chunks = [await anext(stream)]
        gate.set()
        await late.done.wait()
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(Broken, match="early"):
            async for chunk in stream:
                chunks.append(chunk)

    assert sorted(chunks, key=str) == [{"x": "a"}, {"y": "b"}]


@pytest.mark.anyio
async def test_a_parallel_ends_after_a_step_that_takes_time_to_close():
    class Lingering:
        def __aiter__(self):
            return self

        async def __anext__(self):
            raise StopAsyncIteration

        async def aclose(self):
            await anyio.wait_all_tasks_blocked()

    class Step(Once):
        def atransform(self, input, config=None, **kwargs):
            return Lingering()

    with anyio.fail_after(PATIENCE):
        assert [chunk async for chunk in RunnableParallel(out=Step()).astream("?")] == []


# -- fake models --------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [("a", "b"), (lambda _: ["a", "b"],)], ids=["script", "function"])
@pytest.mark.parametrize("method", METHODS[:-2])
@pytest.mark.anyio
async def test_the_log_names_the_method_and_shows_what_was_taken(method, parts):
    llm = FakeLLM(*parts)
    await first(llm, method, "?")

    (call,) = llm.calls
    assert call.method == method.removesuffix("_as_completed")
    assert call.chunks == (["a", "b"] if "stream" in method else ["ab"])
    assert call.delivered == len(call.chunks)


@pytest.mark.parametrize("method", ["batch", "abatch"])
@pytest.mark.anyio
async def test_what_has_not_begun_in_a_batch_is_waiting(method):
    states = []

    def respond(prompt):
        states.append([call.state for call in llm.calls])
        return prompt

    llm = FakeLLM(respond)
    outputs = getattr(llm, method)("ab", {"max_concurrency": 1})

    assert (await outputs if isawaitable(outputs) else outputs) == ["a", "b"]
    assert states == [["running", "waiting"], ["complete", "running"]]


@pytest.mark.exhaustive
@pytest.mark.parametrize("method", ["batch", "abatch"])
@pytest.mark.anyio
async def test_a_call_without_a_reply_fails_where_it_is_made_and_not_the_whole_batch_before(method):
    llm = FakeLLM.replies("a")

    with pytest.raises(UnexpectedCallError):
        result = getattr(llm, method)("12", {"max_concurrency": 1})
        await result

    assert [call.state for call in llm.calls] == ["complete", "failed"]


@pytest.mark.parametrize("method", ["batch", "abatch"])
@pytest.mark.anyio
async def test_what_is_no_prompt_fails_in_its_place_of_a_batch(method):
    result = getattr(FakeLLM("a"), method)(["?", 3], return_exceptions=True)
    answer, error = await result if isawaitable(result) else result

    assert answer == "a"
    assert isinstance(error, ValueError)


@pytest.mark.anyio
async def test_a_task_that_was_cancelled_gets_no_answer_even_without_a_pause():
    llm = FakeLLM("a")

    with anyio.CancelScope() as scope:
        scope.cancel()
        await llm.ainvoke("?")

    assert scope.cancelled_caught
    assert llm.calls[0].cancelled


def stalling(closed):
    def plain(_):
        try:
            yield "a"
            yield stall()
        finally:
            closed.append("plain")

    return plain


def astalling(closed):
    async def asynchronous(_):
        try:
            yield "a"
            yield stall()
        finally:
            closed.append("asynchronous")

    return asynchronous


@pytest.mark.parametrize("method", ["invoke", "stream", "ainvoke", "astream"])
@pytest.mark.anyio
async def test_a_generator_function_is_closed_before_a_fault_in_it_is_raised(method):
    for made in (stalling, astalling) if method.startswith("a") else (stalling,):
        closed = []
        with pytest.raises(LLMTimeoutError) as raised:
            await first(FakeLLM(made(closed)), method, "?")
        assert closed, f"while {raised} is being handled"


def test_a_script_that_a_function_yields_is_checked_with_what_came_before():
    def respond(_):
        yield Finish()
        yield Script("late")

    with pytest.raises(ScriptError):
        list(FakeLLM(respond).stream("?"))


class Watched:
    """Stands for a lock, and knows whether one is held."""

    held = 0

    def __enter__(self):
        Watched.held += 1

    def __exit__(self, *exc):
        Watched.held -= 1


@pytest.fixture
def _locks_are_watched(monkeypatch):
    for module in (copies, replies, tees, clock):
        for kind in ("Lock", "RLock"):
            monkeypatch.setattr(module, kind, Watched, raising=False)


class Noting(Kept):
    """Notes whether a lock was held when something was added."""

    def __init__(self) -> None:
        self.held: list[bool] = []

    def append(self, item):
        self.held.append(Watched.held > 0)
        super().append(item)


@pytest.mark.usefixtures("_locks_are_watched")
def test_calls_are_numbered_and_replies_added_and_chosen_by_one_thread_at_a_time():
    llm = FakeLLM()
    llm.calls, scripted = Noting(), Noting()
    llm._replies.all = scripted
    llm.reply("a")
    scripted[0].calls = Noting()

    llm.invoke("?")

    assert llm.calls.held == scripted.held == scripted[0].calls.held == [True]


@pytest.mark.usefixtures("_locks_are_watched")
def test_waits_are_added_by_one_thread_at_a_time():
    class Seconds(float):
        def __radd__(self, now):
            held.append(Watched.held > 0)
            return now + float(self)

    held = []
    instant = InstantClock()

    instant.sleep(Seconds(2))

    assert (held, instant.now) == ([True], 2)


@pytest.mark.usefixtures("_locks_are_watched")
def test_the_input_of_a_parallel_is_pulled_by_one_thread_at_a_time():
    held = []

    def pulled():
        for item in "ab":
            held.append(Watched.held > 0)
            yield item

    list(RunnableParallel(x=RunnableGenerator(passing)).transform(pulled()))

    assert held == [True, True]


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.anyio
async def test_every_call_knows_who_stepped_it(method):
    llm = FakeLLM("a")
    await first(llm, method, "?")

    (stepper,) = llm.calls[0].stepped_by
    assert stepper.thread == threading.current_thread().name
    assert (stepper.task is not None) == method.startswith("a")
    shown = f"{stepper.thread}/{stepper.task}" if stepper.task else stepper.thread
    assert llm.report().endswith(f"stepped by: {shown}")


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.anyio
async def test_a_function_without_a_chunk_to_show_is_told_in_every_method(method):
    with pytest.raises(ValueError, match="no chunk to show"):
        await first(FakeLLM(lambda _: [Finish()]), method, "?")


def test_a_pattern_may_be_found_anywhere():
    assert FakeLLM().when(re.compile("b."), "a").invoke("abc") == "a"


def test_a_predicate_gets_the_input_as_it_was_given():
    given = [("user", "?")]

    assert FakeLLM().when(lambda prompt: prompt == given, "a").invoke(given) == "a"


@pytest.mark.parametrize("kind", [FakeLLM, FakeChatModel])
def test_a_role_is_that_of_the_last_message_for_each_kind_of_model(kind):
    llm = kind().when(None, "tool", role="tool").when(None, "user", role="user")
    answers = [
        llm.invoke(prompt) for prompt in ("?", [("tool", "sun"), ("user", "?")], [("user", "?"), ("tool", "sun")])
    ]

    assert [getattr(answer, "content", answer) for answer in answers] == ["user", "user", "tool"]


def test_a_swallowed_miss_is_the_cause_of_the_error_that_tells_of_it():
    llm = FakeLLM()
    with pytest.raises(UnexpectedCallError) as missed:
        llm.invoke("?")

    with pytest.raises(SwallowedCallError) as swallowed:
        llm.verify()
    assert swallowed.value.__cause__ is missed.value


def test_of_rules_that_are_as_near_one_with_the_role_of_the_call_is_shown():
    chat = FakeChatModel().when("weather", "a", role="tool").when("weather", "b", role="user")

    with pytest.raises(UnexpectedCallError, match="wants 'weather', and the text has"):
        chat.invoke("the wether")


def test_of_several_rules_the_nearest_is_shown():
    llm = FakeLLM().when("hello", "a").when("goodbye", "b").when("weather", "c")

    with pytest.raises(UnexpectedCallError, match="wants 'goodbye', and the text has 'goodby!'"):
        llm.invoke("goodby!")


def test_the_nearest_text_is_shown_from_its_start():
    llm = FakeLLM().when("the weather", "a")

    with pytest.raises(UnexpectedCallError, match="wants 'the weather', and the text has 'weather'"):
        llm.invoke("weather!")


@pytest.mark.parametrize(("fault", "seconds"), [(stall(), math.inf), (disconnect(), 0)], ids=["stall", "disconnect"])
@pytest.mark.parametrize("method", ["invoke", "stream", "ainvoke", "astream"])
@pytest.mark.anyio
async def test_a_fault_is_waited_for_on_the_clock(method, fault, seconds):
    class Patient:
        now = 0.0

        def sleep(self, seconds):
            waits.append(seconds)

        async def asleep(self, seconds):
            waits.append(seconds)

    waits = []
    with pytest.raises((LLMTimeoutError, LLMConnectionError)):
        await first(FakeLLM("a", fault, clock=Patient()), method, "?")
    assert waits == [seconds]


def test_an_exception_that_is_raised_again_does_not_gather_tracebacks():
    llm = FakeLLM(Broken())
    depths = []
    for _ in range(3):
        with pytest.raises(Broken) as raised:
            llm.invoke("?")
        depths.append(len(raised.traceback))

    assert len(set(depths)) == 1


@pytest.mark.parametrize("method", ["invoke", "stream", "ainvoke", "astream"])
@pytest.mark.anyio
async def test_a_generator_function_that_says_nothing_sayable_is_closed_before_it_is_told(method):
    closed = []

    def plain(_):
        try:
            yield 3
        finally:
            closed.append("plain")

    async def asynchronous(_):
        try:
            yield 3
        finally:
            closed.append("asynchronous")

    for respond in (plain, asynchronous) if method.startswith("a") else (plain,):
        closed.clear()
        with pytest.raises(TypeError) as raised:
            await first(FakeLLM(respond), method, "?")
        assert closed, f"while {raised} is being handled"


@pytest.mark.anyio
async def test_a_function_may_return_an_asynchronous_iterator_that_cannot_be_closed():
    class Pieces:
        def __init__(self) -> None:
            self.left = ["a", "b"]

        def __aiter__(self):
            return self

        async def __anext__(self):
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    assert [chunk async for chunk in FakeLLM(lambda _: Pieces()).astream("?")] == ["a", "b"]


# -- the plugin ---------------------------------------------------------------------------------------

QUIET = ("-p", "no:cacheprovider", "-p", "no:langsmith_plugin", "-p", "no:hypothesispytest")


def test_a_plugin_that_is_switched_off_is_not_refused(pytester):
    pytester.makepyfile("def test_app(fake_llm): fake_llm.otherwise('a')")

    pytester.runpytest(*QUIET, "-p", "no:fakellm").assert_outcomes(passed=1)


def test_a_test_that_passes_has_no_report_of_its_fakes(pytester):
    pytester.makepyfile("def test_app(fake_llm): fake_llm.reply('a').invoke('?')")

    result = pytester.runpytest(*QUIET, "-rP")

    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*calls and chunks*")


def test_an_unused_reply_is_told_once(pytester):
    pytester.makepyfile("def test_app(fake_llm): fake_llm.reply('a')")

    result = pytester.runpytest(*QUIET)

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.no_fnmatch_line("*calls and chunks*")
    result.stdout.no_fnmatch_line("*pytest.fail(*")


@pytest.mark.exhaustive
def test_a_test_that_never_ran_is_not_checked_for_what_it_did_not_do(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def broken(fake_llm):
            fake_llm.reply("a")
            raise KeyError

        def test_app(broken): pass
        """
    )

    pytester.runpytest(*QUIET).assert_outcomes(errors=1)


def test_a_marker_takes_keywords_only(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.fake_llm(True)
        def test_app(fake_llm): pass
        """
    )

    result = pytester.runpytest(*QUIET)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the marker fake_llm takes allow_unused=True and allow_misses=True, not True*"])
