"""What each composed kind and wrapper does beside streaming: arguments, config, names, errors."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from contextlib import aclosing
from contextvars import ContextVar

import anyio
import anyio.lowlevel
import pytest
import trio
import trio.testing
from kinds import Broken, Once, Source
from vectors import each

from fakellm import FakeLLM, Runnable
from fakellm.clock.clock import InstantClock
from fakellm.concurrency import task_stepper, thread_stepper
from fakellm.runnable.compose import RunnableSequence
from fakellm.runnable.functions import RunnableGenerator, RunnableLambda
from fakellm.runnable.parallel import AddableDict, RunnableParallel
from fakellm.runnable.wrappers import RunnableBinding


class Echo(Runnable):
    """Returns how it was called."""

    def invoke(self, input, config=None, **kwargs):
        return input, config, kwargs


async def collect(stream):
    return [chunk async for chunk in stream]


async def feed(*items):
    for item in items:
        yield item


# -- base ---------------------------------------------------------------------------------------------


def test_config_and_kwargs_pass_through_untouched():
    config = {"tags": ["t"], "mine": 1}

    assert Echo().invoke("?", config, stop=1) == ("?", config, {"stop": 1})
    assert list(Echo().stream("?", config, stop=1)) == [("?", config, {"stop": 1})]
    assert asyncio.run(Echo().ainvoke("?", config, stop=1)) == ("?", config, {"stop": 1})


@pytest.mark.anyio
async def test_ainvoke_runs_invoke_in_a_worker_thread():
    class Where(Runnable):
        def invoke(self, input, config=None, **kwargs):
            return thread_stepper()

    assert (await Where().ainvoke("?")).identity != threading.get_ident()


@pytest.mark.anyio
async def test_stop_iteration_in_a_worker_thread_becomes_a_runtime_error():
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        await RunnableLambda(lambda _: next(iter(()))).ainvoke("?")


@pytest.mark.parametrize(
    ("items", "whole"),
    [(["a", "b"], "ab"), ([1, 2, 3], 6), ([{"a": 1}, {"b": 2}], {"b": 2}), ([[1], [2]], [1, 2]), ([1, "a", "b"], "ab")],
)
@pytest.mark.anyio
async def test_transform_adds_up_its_input_and_the_newer_wins_where_it_does_not_add_up(items, whole):
    assert [chunk[0] for chunk in Echo().transform(iter(items))] == [whole]
    assert [chunk[0] async for chunk in Echo().atransform(feed(*items))] == [whole]


@pytest.mark.anyio
async def test_transform_of_nothing_is_nothing_and_no_call():
    once = Once()

    assert list(once.transform(iter(()))) == []
    assert await collect(once.atransform(feed())) == []
    assert once.calls == 0


# -- sequence -----------------------------------------------------------------------------------------


def test_sequences_flatten_and_are_associative():
    a, b, c, d = (RunnableLambda(lambda x: x) for _ in range(4))

    assert (a | b | c | d).steps == ((a | b) | (c | d)).steps == (a | (b | (c | d))).steps == (a, b, c, d)


def test_what_can_be_a_step():
    def function(x):
        return x

    def generator(xs):
        yield from xs

    async def asynchronous(x):
        return x

    kinds = [type((Echo() | step).steps[-1]) for step in (Echo(), function, generator, asynchronous, {"a": function})]

    assert kinds == [Echo, RunnableLambda, RunnableGenerator, RunnableLambda, RunnableParallel]
    assert type((function | Echo()).steps[0]) is RunnableLambda
    assert type(({"a": function} | Echo()).steps[0]) is RunnableParallel


@pytest.mark.parametrize("thing", [3, None, "text", [len]])
def test_what_cannot_be_a_step(thing):
    with pytest.raises(TypeError, match="a step is a Runnable, a function, a generator function or a dict of those"):
        Echo() | thing


def test_what_is_langchains_is_known_by_its_module_and_langchain_is_not_loaded():
    code = (
        "import sys; from fakellm import FakeLLM\n"
        "class Parser: __module__ = 'langchain_core.output_parsers'; __call__ = len\n"
        "try: FakeLLM('a') | Parser()\n"
        "except TypeError as error: print(error, 'langchain_core' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert out.startswith("LangChain's <Parser> is no step of a chain of fakellm's")
    assert out.endswith(" False\n")


def test_a_sequence_needs_two_steps():
    with pytest.raises(ValueError, match="two steps or more, not 1"):
        RunnableSequence(Echo())


@pytest.mark.anyio
async def test_kwargs_go_to_the_first_step_only():
    chain = Echo() | (lambda seen: seen[2])

    assert chain.invoke("?", stop=1) == {"stop": 1}
    assert await chain.ainvoke("?", stop=1) == {"stop": 1}
    assert list(chain.stream("?", stop=1)) == [{"stop": 1}]
    assert await collect(chain.astream("?", stop=1)) == [{"stop": 1}]
    assert chain.batch(["?"], stop=1) == [{"stop": 1}]


def test_in_a_batch_what_failed_skips_later_steps():
    later = []

    def first(x):
        if x == 2:
            raise Broken
        return x

    outputs = (RunnableLambda(first) | later.append).batch([1, 2, 3], return_exceptions=True)

    assert [type(output) for output in outputs] == [type(None), Broken, type(None)]
    assert sorted(later) == [1, 3]
    with pytest.raises(Broken):
        (RunnableLambda(first) | later.append).batch([1, 2])
    assert sorted(later) == [1, 3]


def test_a_chunk_flows_from_end_to_end_before_the_next_is_pulled():
    source, log = Source("a", "b"), []

    def shout(chunks):
        for chunk in chunks:
            log.append(("shout", chunk, source.pulled))
            yield chunk.upper()

    assert list((source | shout).stream("?")) == ["A", "B"]
    assert log == [("shout", "a", 1), ("shout", "b", 2)]


@pytest.mark.anyio
async def test_sequences_transform_streams():
    def shout(chunks):
        for chunk in chunks:
            yield chunk.upper()

    async def ashout(chunks):
        async for chunk in chunks:
            yield chunk.upper()

    chain = RunnableGenerator(shout, ashout) | RunnableGenerator(shout, ashout)

    assert list(chain.transform(iter("ab"))) == ["A", "B"]
    assert await collect(chain.atransform(feed("a", "b"))) == ["A", "B"]


# -- lambda -------------------------------------------------------------------------------------------


def test_a_lambda_is_made_of_a_function():
    with pytest.raises(TypeError, match="made of a function, not of 3"):
        RunnableLambda(3)


@pytest.mark.anyio
async def test_a_lambda_gets_the_config_if_its_signature_has_it():
    def see(x, config):
        return config["tags"]

    async def asee(x, config):
        return config["tags"]

    config = {"tags": ["t"]}
    assert RunnableLambda(see).invoke("?", config) == ["t"]
    assert list(RunnableLambda(see).stream("?", config)) == [["t"]]
    assert await RunnableLambda(asee).ainvoke("?", config) == ["t"]
    assert await RunnableLambda(see).ainvoke("?", config) == ["t"]


@pytest.mark.anyio
async def test_calls_made_inside_a_lambda_inherit_its_config():
    def see(x, config):
        return config["tags"], config["configurable"], config.get("run_name")

    inner = RunnableLambda(see)

    async def aouter(x):
        return await inner.ainvoke(x)

    config = {"tags": ["t"], "thread": 1, "run_name": "outer"}
    wanted = (["t"], {"thread": 1}, None)
    assert RunnableLambda(lambda x: inner.invoke(x)).invoke("?", config) == wanted
    assert await RunnableLambda(aouter).ainvoke("?", config) == wanted
    assert RunnableLambda(lambda x: inner.batch([x, x])[1]).invoke("?", config) == wanted
    assert list(RunnableLambda(lambda x: inner.invoke(x)).stream("?", config)) == [wanted]
    assert RunnableLambda(lambda x: inner.invoke(x, {"tags": ["own"]})).invoke("?", config)[0] == ["own"]


@pytest.mark.anyio
async def test_a_returned_runnable_runs_with_the_same_input_down_to_the_limit():
    endless = RunnableLambda(lambda _: endless)
    chosen = RunnableLambda(lambda x: RunnableLambda(lambda y: ("chosen", y)))

    assert chosen.invoke(3) == ("chosen", 3)
    assert await chosen.ainvoke(3) == ("chosen", 3)
    with pytest.raises(RecursionError, match="recursion_limit"):
        endless.invoke("?")
    with pytest.raises(RecursionError):
        list(endless.stream("?", {"recursion_limit": 3}))
    with pytest.raises(RecursionError):
        await endless.ainvoke("?", {"recursion_limit": 1})


@pytest.mark.anyio
async def test_an_asynchronous_function_refuses_synchronous_calls():
    async def answer(x):
        return x

    lam = RunnableLambda(answer)
    for call in (lam.invoke, lambda x: list(lam.stream(x)), lambda x: lam.batch([x])):
        with pytest.raises(TypeError, match="answer is an asynchronous function; call ainvoke"):
            call("?")
    assert await lam.ainvoke("?") == "?"
    assert await lam.abatch(["?"]) == ["?"]


@pytest.mark.anyio
async def test_a_lambda_of_a_generator_function_streams_and_invoke_adds_up():
    def pieces(x):
        yield x
        yield "!"

    async def apieces(x):
        yield x
        yield "!"

    def nothing(x):
        return
        yield

    async def anothing(x):
        return
        yield

    assert RunnableLambda(pieces).invoke("a") == "a!"
    assert await RunnableLambda(pieces).ainvoke("a") == "a!"
    assert await RunnableLambda(apieces).ainvoke("a") == "a!"
    assert await collect(RunnableLambda(pieces).astream("a")) == ["a", "!"]
    assert await collect(RunnableLambda(apieces).astream("a")) == ["a", "!"]
    assert RunnableLambda(nothing).invoke("a") is None
    assert await RunnableLambda(anothing).ainvoke("a") is None


@pytest.mark.anyio
async def test_a_lambda_is_not_called_for_an_empty_stream():
    called = []
    lam = RunnableLambda(called.append)

    assert list(lam.transform(iter(()))) == []
    assert await collect(lam.atransform(feed())) == []
    assert called == []


@pytest.mark.anyio
async def test_a_plain_generator_function_never_blocks_the_event_loop():
    seen = set()

    def pieces(x):
        for n in range(3):
            seen.add(threading.get_ident())
            yield n

    assert await collect(RunnableLambda(pieces).astream("?")) == [0, 1, 2]
    assert threading.get_ident() not in seen


@pytest.mark.anyio
async def test_cancelling_a_step_in_a_thread_closes_the_generator_when_the_step_ends():
    started, release, closed = anyio.Event(), threading.Event(), threading.Event()
    token = anyio.lowlevel.current_token()

    def pieces(x):
        try:
            anyio.from_thread.run_sync(started.set, token=token)
            assert release.wait(10)
            yield 1
        finally:
            closed.set()

    async with anyio.create_task_group() as group:
        group.start_soon(collect, RunnableLambda(pieces).astream("?"))
        await started.wait()
        group.cancel_scope.cancel()

    assert not closed.is_set()
    release.set()
    assert await anyio.to_thread.run_sync(closed.wait, 10)


def test_names_are_those_of_the_functions():
    def answer(x):
        return x

    assert RunnableLambda(answer).get_name() == "answer"
    assert RunnableLambda(lambda x: x).get_name() == "RunnableLambda"
    assert RunnableLambda(answer, name="mine").get_name() == "mine"
    assert Echo().get_name() == "Echo"
    assert RunnableParallel(a=len, b=len).get_name() == "RunnableParallel<a,b>"
    assert Echo().bind(x=1).get_name() == "Echo"
    assert Echo().with_retry().get_name() == "RunnableRetry<Echo>"
    assert Echo().with_fallbacks([]).get_name() == "RunnableWithFallbacks<Echo>"


def test_built_in_functions_without_a_signature_are_fine():
    assert RunnableLambda(dict).invoke({"a": 1}) == {"a": 1}


# -- generator ----------------------------------------------------------------------------------------


def test_a_generator_is_made_of_a_generator_function():
    with pytest.raises(TypeError, match="for a function use RunnableLambda"):
        RunnableGenerator(len)


@pytest.mark.anyio
async def test_the_flavour_that_was_not_given_is_refused_at_the_call():
    def sync(xs):
        yield from xs

    async def asynchronous(xs):
        async for x in xs:
            yield x

    for call in (RunnableGenerator(sync).astream, RunnableGenerator(sync).atransform):
        with pytest.raises(NotImplementedError, match="sync has no asynchronous generator function"):
            call("?")
    for call in (RunnableGenerator(asynchronous).stream, RunnableGenerator(asynchronous).transform):
        with pytest.raises(NotImplementedError, match="asynchronous has no synchronous generator function"):
            call("?")
    with pytest.raises(NotImplementedError):
        RunnableGenerator(asynchronous).invoke("?")
    assert await RunnableGenerator(asynchronous).ainvoke("?") == "?"


def test_a_generator_without_output_gives_none_and_the_last_wins_where_it_does_not_add_up():
    def nothing(xs):
        yield from ()

    def mixed(xs):
        yield {"a": 1}
        yield {"b": 2}

    assert RunnableGenerator(nothing).invoke("?") is None
    assert RunnableGenerator(mixed).invoke("?") == {"b": 2}


@pytest.mark.anyio
async def test_an_object_whose_call_is_an_asynchronous_generator_is_accepted():
    class Shout:
        async def __call__(self, chunks):
            async for chunk in chunks:
                yield chunk.upper()

    assert await collect((FakeLLM("a", "b") | Shout()).astream("?")) == ["A", "B"]


def test_a_generator_gets_the_config_if_its_signature_has_it():
    def see(xs, config):
        yield config["tags"]

    assert RunnableGenerator(see).invoke("?", {"tags": ["t"]}) == ["t"]


# -- parallel -----------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_parallel_keeps_the_keys_in_declaration_order_and_passes_kwargs():
    parallel = RunnableParallel({"b": Echo()}, a=Echo())

    for output in (parallel.invoke("?", stop=1), await parallel.ainvoke("?", stop=1)):
        assert list(output) == ["b", "a"]
        assert [value[2] for value in output.values()] == [{"stop": 1}] * 2


@pytest.mark.anyio
async def test_parallel_of_nothing():
    assert RunnableParallel().invoke("?") == {}
    assert await RunnableParallel().ainvoke("?") == {}
    assert list(RunnableParallel().stream("?")) == []
    assert await collect(RunnableParallel().astream("?")) == []


@pytest.mark.anyio
async def test_parallel_streams_one_key_dicts_that_add_up():
    parallel = RunnableParallel(x=Source("a", "b"), y=Once("c"), z=Source("d", "e", "f"))
    wanted = {"x": "ab", "y": "c", "z": "def"}

    for chunks in (list(parallel.stream("?")), await collect(parallel.astream("?"))):
        assert all(len(chunk) == 1 for chunk in chunks)
        total = AddableDict()
        for chunk in chunks:
            total += chunk
        assert total == wanted
        assert [chunk["z"] for chunk in chunks if "z" in chunk] == ["d", "e", "f"]


def test_addable_dicts():
    assert AddableDict(a="x") + {"a": "y", "b": 1} == {"a": "xy", "b": 1}
    assert {"a": "x"} + AddableDict(a="y") == {"a": "xy"}
    assert AddableDict(a=None) + AddableDict(a=1) == {"a": 1}
    assert AddableDict(a=1) + AddableDict(a=None) == {"a": 1}
    with pytest.raises(TypeError):
        AddableDict(a=1) + AddableDict(a="b")


@pytest.mark.parametrize("bound", [None, 1])
@pytest.mark.parametrize("before", [None, "a lambda", "a generator"])
@pytest.mark.parametrize("method", ["invoke", "stream", "ainvoke", "astream"])
def test_the_siblings_of_a_failing_step_are_always_called(method, before, bound):
    """As LangChain's are: which thread is quicker must not decide what a test sees."""

    def fail(input):
        raise KeyError(input)

    def handed_on(input):
        yield from input

    for _ in range(5):
        model = FakeLLM("a", "b")
        chain = RunnableParallel(first=fail, second=model, third=RunnableLambda(fail))
        if before == "a generator" and method.startswith("a"):
            pytest.skip("it has no asynchronous side")
        if before is not None:
            chain = (RunnableLambda(str) if before == "a lambda" else RunnableGenerator(handed_on)) | chain

        async def read(chain=chain):
            config = {"max_concurrency": bound} if bound and not method.startswith("a") else None
            if method == "stream":
                return list(chain.stream("?", config))
            if method == "astream":
                return [chunk async for chunk in chain.astream("?", config)]
            found = getattr(chain, method)("?", config)
            return await found if method == "ainvoke" else found

        with pytest.raises(KeyError):
            asyncio.run(read())
        assert len(model.calls) == 1


@pytest.mark.parametrize("lib", ["fakellm", "langchain_core.runnables"])
@pytest.mark.parametrize("bound", [None, 1])
def test_the_siblings_of_a_step_that_fails_in_mid_stream_are_called_with_the_whole_input(lib, bound):
    """Whether the input had ended when the step failed is up to the threads too."""
    room = pytest.importorskip(f"{lib}.runnable" if lib == "fakellm" else lib)

    def chunks():
        for number in range(200):
            yield str(number % 10)
        closed.append(True)

    def fail_at_once(chunks):
        yield next(chunks)
        raise KeyError("?")

    for _ in range(5):
        closed, called = [], []
        chain = room.RunnableParallel(live=room.RunnableGenerator(fail_at_once), whole=called.append)
        with pytest.raises(KeyError):
            list(chain.transform(chunks(), {"max_concurrency": bound} if bound else None))
        assert called == ["0123456789" * 20]
        assert closed == [True]


def test_the_siblings_of_a_step_whose_stream_is_closed_are_called_if_their_input_is_at_hand():
    for _ in range(20):
        called = []
        stream = RunnableParallel(live=RunnableGenerator(lambda_of(lambda item: [item])), whole=called.append).stream(1)
        next(stream)
        stream.close()
        assert called == [1]


def test_the_calls_of_a_batch_that_have_a_thread_are_always_made():
    calls = []

    def step(input):
        calls.append(input)
        if input == 0:
            raise KeyError(input)

    for _ in range(20):
        calls.clear()
        with pytest.raises(KeyError):
            RunnableLambda(step).batch([0, 1, 2], {"max_concurrency": 3})
        assert sorted(calls) == [0, 1, 2]
    calls.clear()
    with pytest.raises(KeyError):
        RunnableLambda(step).batch([0, 1, 2], {"max_concurrency": 1})
    assert calls == [0]


def test_when_a_thread_of_a_parallel_fails_its_siblings_are_awaited():
    failed, ended = threading.Event(), []

    class Fail(Runnable):
        def invoke(self, input, config=None, **kwargs):
            failed.set()
            raise Broken

    class Slow(Runnable):
        def invoke(self, input, config=None, **kwargs):
            assert failed.wait(10)
            ended.append(input)

    for call in (lambda p: p.invoke("?"), lambda p: list(p.stream("?"))):
        failed.clear()
        with pytest.raises(Broken):
            call(RunnableParallel(slow=Slow(), fail=Fail()))

    assert ended == ["?", "?"]


@pytest.mark.anyio
async def test_when_a_task_of_a_parallel_fails_its_siblings_are_cancelled_and_awaited():
    for method in ("ainvoke", "astream"):
        parked = Source("a", park_at=0)

        async def fail(x, parked=parked):
            await parked.parked.wait()
            raise Broken

        parallel = RunnableParallel(parked=parked, fail=fail)
        with pytest.raises(Broken):
            await (parallel.ainvoke("?") if method == "ainvoke" else collect(parallel.astream("?")))
        assert parked.ended[0] in ("Cancelled", "CancelledError")


@pytest.mark.parametrize("bound", [1, 2])
@pytest.mark.anyio
async def test_parallel_keeps_max_concurrency_asynchronously(bound):
    running, most = 0, 0

    async def step(x):
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        running -= 1
        return x

    parallel = RunnableParallel({str(n): step for n in range(4)})

    assert len(await parallel.ainvoke("?", {"max_concurrency": bound})) == 4
    assert most == bound
    most = 0
    assert len(await collect(parallel.astream("?", {"max_concurrency": bound}))) == 4
    assert most == bound


@pytest.mark.anyio
async def test_each_branch_and_the_input_is_stepped_and_closed_by_one_task():
    steppers: dict[str, set] = {"input": set(), "a": set(), "b": set()}

    async def source(x):
        try:
            for letter in "xyz":
                await anyio.lowlevel.checkpoint()
                steppers["input"].add(task_stepper().identity)
                yield letter
        finally:
            steppers["input"].add(task_stepper().identity)

    def branch(name):
        async def step(chunks):
            try:
                async for chunk in chunks:
                    steppers[name].add(task_stepper().identity)
                    yield chunk
            finally:
                steppers[name].add(task_stepper().identity)

        return step

    chain = RunnableLambda(source) | {"a": branch("a"), "b": branch("b")}
    assert len(await collect(chain.astream("?"))) == 6
    async with aclosing(chain.astream("?")) as stream:
        await anext(stream)

    assert {name: len(identities) <= 2 for name, identities in steppers.items()} == dict.fromkeys(steppers, True)
    assert task_stepper().identity not in set.union(*steppers.values())


@pytest.mark.anyio
async def test_an_error_of_the_input_reaches_every_branch_and_no_branch_takes_half_for_the_whole():
    whole = []

    def fails(xs):
        yield "half"
        raise Broken

    async def afails(xs):
        yield "half"
        raise Broken

    def buffer(text):
        whole.append(text)

    chain = RunnableGenerator(fails, afails) | {"a": buffer, "b": buffer}
    with pytest.raises(Broken):
        list(chain.stream("?"))
    with pytest.raises(Broken):
        await collect(chain.astream("?"))

    assert whole == []


def test_an_error_of_the_input_reaches_a_branch_that_asks_later():
    failed, seen = threading.Event(), []

    def fails(xs):
        yield "half"
        raise Broken

    def first(chunks):
        try:
            yield from chunks
        finally:
            failed.set()

    def later(chunks):
        seen.append(next(chunks))
        assert failed.wait(10)
        try:
            next(chunks)
        except Broken:
            seen.append("told")
            raise
        yield "never"

    with pytest.raises(Broken):
        list((RunnableGenerator(fails) | {"first": first, "later": later}).stream("?"))

    assert seen == ["half", "told"]


@pytest.mark.anyio
async def test_an_input_that_cannot_be_closed_is_left_alone():
    class Letters:
        def __init__(self):
            self.left = ["a", "b"]

        def __aiter__(self):
            return self

        async def __anext__(self):
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    assert [chunk[0] async for chunk in Echo().atransform(Letters())] == ["ab"]


@pytest.mark.parametrize("end", ["close", "error"])
def test_a_parallel_stream_that_ends_early_reads_no_more_of_its_input(end):
    """Also of an endless one, into a step that reads it all."""
    produced, gate = [], threading.Event()

    def endless(_):
        while True:
            produced.append(1)
            yield "x"
            if len(produced) == 3:
                gate.set()

    def live(chunks):
        for chunk in chunks:
            assert gate.wait(10)
            if end == "error":
                raise Broken
            yield chunk

    stream = (RunnableGenerator(lambda_of(endless)) | {"whole": len, "live": live}).stream("?")
    if end == "error":
        with pytest.raises(Broken):
            next(stream)
    else:
        assert next(stream) == {"live": "x"}
        stream.close()

    made = len(produced)
    assert made < 10_000_000
    assert len(produced) == made


def lambda_of(function):
    def run(inputs):
        for item in inputs:
            yield from function(item)

    return run


@pytest.mark.anyio
async def test_what_a_branch_that_ended_does_not_read_is_not_kept():  # noqa: C901 - both flavours
    def first(chunks):
        yield next(chunks)

    def rest(chunks):
        yield from chunks

    async def afirst(chunks):
        yield await anext(chunks)

    async def arest(chunks):
        async for chunk in chunks:
            yield chunk

    class Probe:
        alive = 0

        def __init__(self):
            Probe.alive += 1

        def __del__(self):
            Probe.alive -= 1

        def __add__(self, other):
            return self

    def probes(_):
        for _ in range(200):
            yield Probe()

    async def aprobes(_):
        for _ in range(200):
            yield Probe()

    chain = RunnableGenerator(probes, aprobes) | {
        "first": RunnableGenerator(first, afirst),
        "rest": RunnableGenerator(rest, arest),
    }
    most = 0
    for _ in chain.stream("?"):
        most = max(most, Probe.alive)
    assert most < 20
    most = 0
    async for _ in chain.astream("?"):
        most = max(most, Probe.alive)
    assert most < 20


@pytest.mark.anyio
async def test_an_error_while_a_branch_is_closed_reaches_the_caller():
    async def bad(chunks):
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            raise KeyError("clean-up failed")

    stream = (FakeLLM(*"abc") | {"bad": bad, "length": RunnableLambda(len)}).astream("q")
    await anext(stream)

    with pytest.raises(KeyError, match="clean-up failed"):
        await stream.aclose()


@pytest.mark.anyio
async def test_an_error_while_a_sibling_is_cancelled_is_noted_on_the_first_error():
    parked = anyio.Event()

    async def job(x):
        if x == 0:
            await parked.wait()
            raise Broken
        try:
            parked.set()
            await anyio.sleep_forever()
        finally:
            raise KeyError("clean-up failed")

    with pytest.raises(Broken) as caught:
        await RunnableLambda(job).abatch([0, 1])

    assert "one of them raised KeyError('clean-up failed')" in caught.value.__notes__[0]


variable: ContextVar[str] = ContextVar("variable", default="unset")


def spanning(chunks):
    token = variable.set("inside")
    try:
        for chunk in chunks:
            assert variable.get() == "inside"
            yield chunk
    finally:
        variable.reset(token)


@pytest.mark.anyio
async def test_a_step_that_is_run_in_threads_sees_one_context_all_along():
    parallel = RunnableParallel(a=RunnableGenerator(spanning), b=RunnableGenerator(spanning))
    assert len(list(parallel.transform(iter("xyz")))) == 6
    stream = parallel.transform(iter("xyz"))
    next(stream)
    stream.close()

    chain = RunnableGenerator(spanning) | {"a": RunnableGenerator(spanning), "b": str}
    assert len(list(chain.transform(iter("xyz")))) == 4
    stream = chain.transform(iter("xyz"))
    next(stream)
    stream.close()

    lam = RunnableLambda(lambda_over(spanning))
    assert await collect(lam.astream("xyz")) == ["x", "y", "z"]
    stream = lam.astream("xyz")
    await anext(stream)
    await stream.aclose()


def lambda_over(function):
    def run(text):
        yield from function(text)

    return run


@pytest.mark.anyio
async def test_a_plain_generator_function_is_closed_outside_the_event_loop():
    closed_by = []

    def pieces(x):
        try:
            yield 1
            yield 2
        finally:
            closed_by.append(threading.get_ident())

    stream = RunnableLambda(pieces).astream("?")
    await anext(stream)
    await stream.aclose()

    assert closed_by != [threading.get_ident()]
    assert len(closed_by) == 1


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in Python 3.12")
def test_a_bounded_batch_of_eager_tasks_does_not_recurse():
    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)

        async def answer(x):
            return x

        return await RunnableLambda(answer).abatch(range(2000), {"max_concurrency": 2})

    assert asyncio.run(main()) == list(range(2000))


async def _quick(_):
    yield "quick"


@pytest.mark.anyio
async def test_a_branch_that_swallows_its_cancellation_does_not_keep_the_stream_open():
    parked = anyio.Event()

    async def stubborn(chunks):
        async for _ in chunks:
            try:
                parked.set()
                await anyio.sleep_forever()
            except BaseException:
                if sys.modules["fakellm.concurrency"].running_trio():
                    raise
                yield "partial"

    stream = RunnableParallel(quick=_quick, stubborn=stubborn).astream("x")
    await anext(stream)
    await parked.wait()

    with anyio.fail_after(10):
        await stream.aclose()


def test_a_nursery_inside_a_branch_is_closed_quietly():
    log = []

    async def nursery(_):
        async with trio.open_nursery() as group:
            group.start_soon(trio.sleep_forever)
            group.start_soon(trio.sleep_forever)
            log.append("open")
        yield "never"

    async def main():
        stream = RunnableParallel(quick=_quick, nursery=RunnableLambda(nursery)).astream("x")
        await anext(stream)
        while not log:
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        await stream.aclose()

    trio.run(main)


@pytest.mark.anyio
async def test_every_error_of_the_clean_up_is_told():
    def branch(error):
        async def step(chunks):
            try:
                async for chunk in chunks:
                    yield chunk
            finally:
                raise error

        return step

    class Stop(BaseException):
        pass

    stream = (FakeLLM(*"abc") | {"a": branch(OSError("one")), "b": branch(RuntimeError("two"))}).astream("q")
    await anext(stream)
    with pytest.raises((OSError, RuntimeError)) as caught:
        await stream.aclose()
    assert len(caught.value.__notes__) == 1

    async def fails(chunks):
        async for chunk in chunks:
            yield chunk
            raise Broken

    stream = (FakeLLM(*"abc") | {"a": fails, "b": branch(Stop())}).astream("q")
    with pytest.raises(Stop):
        await collect(stream)


def test_cancelling_in_a_busy_thread_pool_does_not_wait_for_a_worker():
    async def main():
        release, started = threading.Event(), anyio.Event()
        token = anyio.lowlevel.current_token()
        running = []

        def pieces(x):
            running.append(x)
            if len(running) == 3:
                anyio.from_thread.run_sync(started.set, token=token)
            assert release.wait(10)
            yield x

        trio.to_thread.current_default_thread_limiter().total_tokens = 3
        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(collect, RunnableLambda(pieces).astream(number))
            await started.wait()
            group.cancel_scope.cancel()
        release.set()

    trio.run(main)


# -- binding ------------------------------------------------------------------------------------------


def test_bind_merges_kwargs_and_the_call_wins():
    bound = Echo().bind(a=1, b=1).bind(b=2)

    assert type(bound) is RunnableBinding
    assert type(bound.bound) is Echo
    assert bound.invoke("?", c=3)[2] == {"a": 1, "b": 2, "c": 3}
    assert bound.invoke("?", a=9)[2] == {"a": 9, "b": 2}
    assert [output[2] for output in bound.batch(["?", "!"], a=9)] == [{"a": 9, "b": 2}] * 2
    assert dict(bound.batch_as_completed(["?"], a=9))[0][2] == {"a": 9, "b": 2}
    assert asyncio.run(bound.abatch(["?"]))[0][2] == {"a": 1, "b": 2}


@pytest.mark.anyio
async def test_bind_passes_streams_through():
    source = Source("a", "b")
    bound = source.bind(x=1)

    assert list(bound.transform(iter("?"))) == ["a", "b"]
    assert await collect(bound.atransform(feed("?"))) == ["a", "b"]
    assert [pair async for pair in bound.abatch_as_completed(["?"])] == [(0, "ab")]


def test_with_config_merges():
    echo = Echo().with_config(tags=["b"], metadata={"m": 1}, run_name="n", weird=1)

    config = echo.invoke("?", {"tags": ["a"], "metadata": {"m": 2, "k": 3}, "run_name": None, "other": 2})[1]

    assert config == {
        "tags": ["a", "b"],
        "metadata": {"m": 2, "k": 3},
        "run_name": "n",
        "configurable": {"weird": 1, "other": 2},
        "callbacks": None,
        "recursion_limit": 25,
    }
    assert echo.with_config(tags=["z"]).invoke("?")[1]["tags"] == ["z"]
    assert echo.with_config({"tags": ["z"]}).invoke("?")[1]["metadata"] == {"m": 1}
    one, two = echo.batch(["?", "!"], [{"tags": ["x"]}, {}])
    assert [one[1]["tags"], two[1]["tags"]] == [["b", "x"], ["b"]]


def test_callbacks_of_both_configs_are_called():
    seen = []
    bound = FakeLLM("a").with_config(callbacks=[lambda event: seen.append(("bound", event.event))])

    bound.invoke("?", {"callbacks": [lambda event: seen.append(("call", event.event))]})

    assert seen == [("bound", "start"), ("call", "start"), ("bound", "end"), ("call", "end")]


METHODS = ["invoke", "ainvoke", "stream", "astream", "batch", "abatch", "batch_as_completed", "abatch_as_completed"]


@each("method", METHODS)
@each(
    ("wrap", "wanted"),
    [
        (lambda r: r, (1, ["in"], 1, 3)),
        (lambda r: r.bind().with_config(run_name="n"), (1, ["in"], 1, 3)),
        (lambda r: r.with_retry().bind(), (4, ["in", "out"], 2, 3)),  # the retry hands on what it inherits
    ],
)
def test_every_method_sees_the_bound_config_the_same_also_where_something_is_inherited(method, wrap, wanted):
    seen = []

    class See(Runnable):
        def invoke(self, input, config=None, **kwargs):
            seen.append(
                (config["max_concurrency"], config["tags"], len(config["callbacks"]), config["recursion_limit"])
            )

    inner = wrap(See().with_config(max_concurrency=1, tags=["in"], callbacks=[print], recursion_limit=3))

    def outer(x):
        result = getattr(inner, method)(["?"] if "batch" in method else "?")
        if method in ("astream", "abatch_as_completed"):
            asyncio.run(collect(result))
        elif method.startswith("a"):
            asyncio.run(_await(result))
        elif method in ("stream", "batch_as_completed"):
            list(result)

    RunnableLambda(outer).invoke("?", {"max_concurrency": 4, "tags": ["out"], "callbacks": [lambda event: None]})

    assert seen == [wanted]


# -- retry --------------------------------------------------------------------------------------------


class Flaky(Runnable):
    """Fails so many times for an input."""

    def __init__(self, error=Broken, **fails):
        self.error = error
        self.fails = fails
        self.calls = []

    def invoke(self, input, config=None, **kwargs):
        self.calls.append(input)
        if self.fails.get(input, 0):
            self.fails[input] -= 1
            raise self.error(f"{input} {self.fails[input]}")
        return input.upper()


@pytest.mark.anyio
async def test_retry_calls_again_and_waits_on_its_clock():
    clock = InstantClock()

    assert Flaky(a=2).with_retry(clock=clock).invoke("a") == "A"
    assert clock.now == 1 + 2
    assert await Flaky(a=2).with_retry(clock=clock).ainvoke("a") == "A"
    assert clock.now == 2 * (1 + 2)
    params = {"initial": 5, "exp_base": 10, "max": 20}
    Flaky(a=3).with_retry(clock=clock, stop_after_attempt=4, exponential_jitter_params=params).invoke("a")
    assert clock.now == 6 + 5 + 20 + 20
    Flaky(a=2).with_retry(clock=clock, wait_exponential_jitter=False).invoke("a")
    assert clock.now == 51


def test_retry_raises_the_last_error():
    flaky = Flaky(a=9)

    with pytest.raises(Broken, match="a 6"):
        flaky.with_retry().invoke("a")

    assert flaky.calls == ["a"] * 3


@pytest.mark.parametrize(
    ("retried", "calls"), [((KeyError,), 1), ((Broken, KeyError), 3), (lambda error: "a 8" in str(error), 2)]
)
def test_retry_is_for_types_or_a_predicate(retried, calls):
    flaky = Flaky(a=9)

    with pytest.raises(Broken):
        flaky.with_retry(retry_if_exception_type=retried).invoke("a")

    assert len(flaky.calls) == calls


def test_retry_leaves_other_base_exceptions_alone():
    flaky = Flaky(KeyboardInterrupt, a=1)

    with pytest.raises(KeyboardInterrupt):
        flaky.with_retry().invoke("a")

    assert flaky.calls == ["a"]


@pytest.mark.anyio
async def test_retry_never_repeats_a_cancelled_call():
    source = Source("a", park_at=0)
    retry = source.with_retry(retry_if_exception_type=(BaseException,))

    async with anyio.create_task_group() as group:
        group.start_soon(retry.ainvoke, "?")
        await source.parked.wait()
        group.cancel_scope.cancel()

    assert source.opened == 1


@pytest.mark.parametrize("flavour", ["batch", "abatch"])
def test_a_batch_calls_again_only_what_failed_and_each_keeps_its_own_result(flavour):
    flaky = Flaky(a=1, c=9, d=2)
    retry = flaky.with_retry()

    def call(**options):
        return retry.batch("abcd", **options) if flavour == "batch" else asyncio.run(retry.abatch("abcd", **options))

    outputs = call(return_exceptions=True)

    assert [str(output) for output in outputs] == ["A", "B", "c 6", "D"]
    assert sorted(flaky.calls) == sorted("abcd" + "acd" + "cd")
    with pytest.raises(Broken, match="c 3"):
        call()


def test_a_batch_stops_at_an_error_that_is_not_retried():
    flaky = Flaky(b=9)

    with pytest.raises(Broken, match="b 8"):
        flaky.with_retry(retry_if_exception_type=(KeyError,)).batch("ab")

    assert sorted(flaky.calls) == ["a", "b"]
    outputs = flaky.with_retry(retry_if_exception_type=(KeyError,)).batch("ab", return_exceptions=True)
    assert [str(output) for output in outputs] == ["A", "b 7"]


def test_streams_are_not_retried():
    source = Source("a", fail_at=1)

    with pytest.raises(Broken):
        list(source.with_retry().stream("?"))

    assert source.opened == 1


@pytest.mark.parametrize("attempts", [0, -1, True, "3"])
def test_a_number_of_attempts_is_a_number_from_one_up(attempts):
    with pytest.raises(ValueError, match="stop_after_attempt is a number of attempts from 1 up"):
        Echo().with_retry(stop_after_attempt=attempts)


@pytest.mark.parametrize("method", ["invoke", "ainvoke", "stream", "astream", "batch", "abatch"])
def test_retry_keeps_what_was_bound_inside(method):
    llm, log = FakeLLM("a"), []
    retry = llm.bind(stop=["x"]).with_config(callbacks=[log.append]).with_retry()

    result = getattr(retry, method)(["q"] if "batch" in method else "q")
    if method == "stream":
        list(result)
    elif method == "astream":
        asyncio.run(collect(result))
    elif method.startswith("a"):
        asyncio.run(_await(result))

    assert llm.calls[0].kwargs == {"stop": ["x"]}
    assert log[0].event == "start"


def test_a_retry_can_be_bound_and_keeps_retrying():
    flaky = Flaky(a=1)

    assert flaky.with_retry().bind().with_config(tags=["t"]).invoke("a") == "A"


@pytest.mark.parametrize("given", [[ValueError, 3], "x", 3, [len]])
def test_what_are_no_exception_types_is_refused(given):
    with pytest.raises(TypeError, match="retry_if_exception_type is a tuple of exception types"):
        Echo().with_retry(retry_if_exception_type=given)
    with pytest.raises(TypeError, match="exceptions_to_handle is a tuple of exception types"):
        Echo().with_fallbacks([], exceptions_to_handle=given)


def test_lists_of_exception_types_and_single_ones_will_do():
    assert Flaky(a=1).with_retry(retry_if_exception_type=[Broken]).invoke("a") == "A"
    assert Flaky(a=1).with_retry(retry_if_exception_type=Broken).invoke("a") == "A"
    assert Flaky(a=1).with_fallbacks([Once("b")], exceptions_to_handle=[Broken]).invoke("a") == "b"


def test_many_attempts_wait_as_long_as_they_may():
    clock = InstantClock()
    params = {"initial": 1, "max": 2}

    Flaky(a=1100).with_retry(stop_after_attempt=1200, exponential_jitter_params=params, clock=clock).invoke("a")

    assert clock.now == 1 + 2 * 1099


def test_a_misspelt_parameter_of_the_wait_is_refused():
    with pytest.raises(ValueError, match="exponential_jitter_params has base; it takes initial, max, exp_base, jitter"):
        Echo().with_retry(exponential_jitter_params={"base": 3})


# -- fallbacks ----------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_fallbacks_are_tried_in_order():
    chain = Once(error=Broken("first")).with_fallbacks([Once(error=KeyError("second")), Once("third")])

    assert chain.invoke("?") == "third"
    assert await chain.ainvoke("?") == "third"
    assert list(chain.stream("?")) == ["third"]
    assert await collect(chain.astream("?")) == ["third"]
    assert chain.batch(["?", "!"]) == ["third", "third"]
    assert await chain.abatch(["?", "!"]) == ["third", "third"]


@pytest.mark.anyio
async def test_when_all_fail_the_first_error_is_raised_in_every_method():
    chain = Once(error=Broken("first")).with_fallbacks([Once(error=KeyError("second"))])

    for call in (lambda: chain.invoke("?"), lambda: list(chain.stream("?")), lambda: chain.batch(["?"])):
        with pytest.raises(Broken, match="first"):
            call()
    for acall in (lambda: chain.ainvoke("?"), lambda: collect(chain.astream("?")), lambda: chain.abatch(["?"])):
        with pytest.raises(Broken, match="first"):
            await acall()
    assert [str(output) for output in chain.batch(["?", "!"], return_exceptions=True)] == ["first", "first"]


@pytest.mark.anyio
async def test_other_errors_are_raised_at_once():
    second = Once("second")
    chain = Once(error=Broken()).with_fallbacks([second], exceptions_to_handle=(KeyError,))

    for call in (lambda: chain.invoke("?"), lambda: list(chain.stream("?")), lambda: chain.batch(["?", "!"])):
        with pytest.raises(Broken):
            call()
    with pytest.raises(Broken):
        await collect(chain.astream("?"))
    assert isinstance(chain.batch(["?"], return_exceptions=True)[0], Broken)
    assert second.calls == 0


@pytest.mark.anyio
async def test_a_stream_falls_back_only_before_its_first_chunk():
    chain = Source("a", "b", fail_at=1).with_fallbacks([Source("c")])
    seen = []

    with pytest.raises(Broken):
        for chunk in chain.stream("?"):
            seen.append(chunk)
    with pytest.raises(Broken):
        async for chunk in chain.astream("?"):
            seen.append(chunk)

    assert seen == ["a", "a"]
    assert list(Source("a", fail_at=0).with_fallbacks([Source("c")]).stream("?")) == ["c"]


@pytest.mark.anyio
async def test_an_empty_stream_is_a_result_not_a_failure():
    chain = Source().with_fallbacks([Source("c")])

    assert list(chain.stream("?")) == []
    assert await collect(chain.astream("?")) == []


def test_a_fallback_gets_the_error_under_its_key_and_the_callers_dict_is_not_changed():
    question = {"q": "?"}
    chain = Once(error=Broken("first")).with_fallbacks([Echo()], exception_key="error")

    given = chain.invoke(question)[0]
    assert str(given["error"]) == "first"
    assert question == {"q": "?"}
    assert str(next(chain.stream(question))[0]["error"]) == "first"
    assert str(chain.batch([question])[0][0]["error"]) == "first"
    with pytest.raises(ValueError, match="exception_key='error' puts the error into the input, which is no dict"):
        chain.invoke("?")


@pytest.mark.parametrize(
    ("fallbacks", "words"),
    [(Once(), r"write with_fallbacks\(\[...\]\)"), (3, "fallbacks are a list"), (["sorry"], "a fallback is a Runnable, not 'sorry'"), ([len], "wrap a function in RunnableLambda")],
)  # fmt: skip
def test_what_is_no_fallback_is_refused(fallbacks, words):
    with pytest.raises(TypeError, match=words):
        Echo().with_fallbacks(fallbacks)


def test_no_fallback_handles_a_closing():
    spare = Once("spare")
    chain = Once(error=GeneratorExit()).with_fallbacks([spare], exceptions_to_handle=(BaseException,))

    for call in (lambda: chain.invoke("?"), lambda: next(chain.stream("?"))):
        with pytest.raises(GeneratorExit):
            call()
    assert spare.calls == 0


@pytest.mark.anyio
async def test_no_fallback_handles_a_cancellation():
    for method in ("ainvoke", "astream"):
        source, spare = Source("a", park_at=0), Once("spare")
        chain = source.with_fallbacks([spare], exceptions_to_handle=(BaseException,))

        async def call(chain=chain, method=method):
            await (chain.ainvoke("?") if method == "ainvoke" else collect(chain.astream("?")))

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await source.parked.wait()
            group.cancel_scope.cancel()
        assert spare.calls == 0


# -- callbacks ----------------------------------------------------------------------------------------


def events(runnable, method="invoke", **config):
    log = []
    config = {"callbacks": [log.append], **config}
    result = getattr(runnable, method)(["?"] if "batch" in method else "?", config)
    if method == "stream":
        list(result)
    elif method == "astream":
        asyncio.run(collect(result))
    elif method.startswith("a"):
        asyncio.run(_await(result))
    return log


async def _await(awaitable):
    return await awaitable


@pytest.mark.parametrize("method", ["invoke", "ainvoke", "batch", "abatch", "stream", "astream"])
def test_callbacks_see_a_chain_and_its_steps(method):
    log = events(FakeLLM("a", name="model") | RunnableLambda(str.upper, name="shout"), method, run_name="chain")

    starts = [event.run.path for event in log if event.event == "start"]
    ends = [(event.run.name, event.output) for event in log if event.event == "end"]
    assert starts[0] == ("chain",)
    assert sorted(starts[1:]) == [("chain", "model"), ("chain", "shout")]
    assert sorted(ends) == [("chain", "A"), ("model", "a"), ("shout", "A")]
    assert repr(log[0].run) == "<Run chain>"


def test_tags_and_metadata_are_inherited_and_the_name_is_not():
    log = events(RunnableParallel(a=FakeLLM("a")), tags=["t"], metadata={"m": 1}, run_name="top", run_id=7)

    outer, inner = [event.run for event in log if event.event == "start"]
    assert (outer.name, outer.tags, outer.metadata, outer.id, outer.parent) == ("top", ("t",), {"m": 1}, 7, None)
    assert (inner.name, inner.tags, inner.metadata, inner.id) == ("FakeLLM", ("t",), {"m": 1}, None)
    assert inner.parent is outer


@each("method", ["invoke", "ainvoke", "stream", "astream", "batch", "abatch"])
@each(
    "wrap",
    [
        lambda once: once | str,
        lambda once: RunnableParallel(a=once),
        lambda once: RunnableLambda(lambda x: once),
        lambda once: once.with_retry(),
        lambda once: once.with_fallbacks([once]),
    ],
)
def test_callbacks_see_the_error_of_a_run(wrap, method):
    if method in ("stream", "astream") and wrap(Once()).get_name().startswith("RunnableRetry"):
        pytest.skip("the streams of a retry are those of what is inside")
    log = []
    with pytest.raises(Broken):
        result = getattr(wrap(Once(error=Broken())), method)(
            ["?"] if "batch" in method else "?", {"callbacks": [log.append]}
        )
        if method == "stream":
            list(result)
        elif method == "astream":
            asyncio.run(collect(result))
        elif method.startswith("a"):
            asyncio.run(_await(result))

    last = log[-1]
    assert (log[0].event, last.event, last.run) == ("start", "error", log[0].run)
    assert isinstance(last.error, Broken)


def test_a_failed_row_of_a_batch_has_an_error_event_of_its_own():
    log = []
    (Flaky(b=1) | str).batch("ab", {"callbacks": [log.append]}, return_exceptions=True)

    assert sorted((event.event, event.run.input) for event in log if event.run.parent is None) == [
        ("end", "a"), ("error", "b"), ("start", "a"), ("start", "b"),
    ]  # fmt: skip


def test_an_error_in_a_callback_is_not_swallowed():
    def explode(event):
        raise Broken(event.event)

    with pytest.raises(Broken, match="start"):
        FakeLLM("a").invoke("?", {"callbacks": [explode]})


@pytest.mark.parametrize("callback", [3, _await])
def test_what_is_no_callback_is_refused(callback):
    with pytest.raises(TypeError, match="a callback is a plain function of a RunEvent"):
        FakeLLM("a").invoke("?", {"callbacks": [callback]})


def test_wrappers_that_are_streams_of_the_inside_keep_their_events():
    log = events(FakeLLM("a", "b").with_fallbacks([]), "stream")

    assert [(event.run.name, event.event) for event in log] == [
        ("RunnableWithFallbacks<FakeLLM>", "start"),
        ("FakeLLM", "start"),
        ("FakeLLM", "chunk"),
        ("RunnableWithFallbacks<FakeLLM>", "chunk"),
        ("FakeLLM", "chunk"),
        ("RunnableWithFallbacks<FakeLLM>", "chunk"),
        ("FakeLLM", "end"),
        ("RunnableWithFallbacks<FakeLLM>", "end"),
    ]
