"""The asynchronous Runnable beside LangChain's: each scenario runs on both and is observed as written.

`both` and `ours` are those of the synchronous file. LangChain is bound to asyncio, so all runs there.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import uuid
import warnings
from contextvars import ContextVar

from differential import (
    LIBRARIES,
    SAFETY,
    Fatal,
    Table,
    aecho,
    copied,
    counting,
    echo,
    failing,
    kinds,
    no_garbage_collection,
    outcome,
    plain,
    raising,
    retried,
    seen,
    silent,
    unlike,
)
from vectors import each

TABLE = Table()
both, ours = TABLE.both, TABLE.ours


async def aoutcome(awaitable):
    """Return what an awaitable came to, or the type of what it raised."""
    try:
        return await awaitable
    except BaseException as error:
        return type(error)


async def adrained(iterator):
    """Return what an asynchronous iterator yielded, then the type of what it raised, if it did."""
    items = []
    try:
        async for item in iterator:
            items.append(item)  # keeps what came before an error
    except BaseException as error:
        items.append(type(error))
    return items


KEPT = set()


async def forever():
    """Wait until cancelled. The wait is known from outside, so that no garbage collection can end it."""
    future = asyncio.get_running_loop().create_future()
    KEPT.add(future)
    try:
        await future
    finally:
        KEPT.discard(future)


async def asource(log, *items):
    """Yield the items; the log says what was pulled, and the end. An exception is raised, `...` never ends."""
    try:
        for item in items:
            if isinstance(item, type):
                raise item("scripted")
            if item is ...:
                log.append("parked")
                await forever()
            log.append(item)
            yield item
    finally:
        log.append("closed")


def aplain(lib, function):
    """Return an instance of a subclass that supplies only `invoke` and `ainvoke`."""

    class Plain(lib.Runnable):
        def invoke(self, input, config=None, **kwargs):
            raise NotImplementedError

        async def ainvoke(self, input, config=None, **kwargs):
            return await function(input, config, **kwargs)

    return Plain()


def amodel(lib, log, *chunks):
    """Return a Runnable that streams asynchronously; its log says what it made, and its end."""

    class Model(lib.Runnable):
        def invoke(self, input, config=None, **kwargs):
            raise NotImplementedError

        async def ainvoke(self, input, config=None, **kwargs):
            return "".join([chunk async for chunk in self.astream(input, config, **kwargs)])

        async def astream(self, input, config=None, **kwargs):
            stream = asource(log, *chunks)
            try:
                async for chunk in stream:
                    yield chunk
            finally:
                await stream.aclose()

    return Model()


async def others_ran():
    """Let every other task go as far as it can."""
    for _ in range(100):
        await asyncio.sleep(0)


async def aupper(chunks):
    async for chunk in chunks:
        yield chunk.upper()


async def acounting(value):
    for item in counting(value):
        yield item


async def aunlike(value):
    for item in unlike(value):
        yield item


def araising(kind):
    async def fail(value):
        raise kind(value)

    return fail


# -- 1. base -------------------------------------------------------------------------------------------


@both([(False, "outer", {"k": 1}), "outer"])
async def ainvoke_runs_invoke_in_a_worker_thread_with_a_copy_of_the_context(lib):
    variable, caller = ContextVar("variable"), threading.current_thread()
    variable.set("outer")

    def call(value, config, **kwargs):
        before = variable.get()
        variable.set("inner")
        return threading.current_thread() is caller, before, kwargs

    return [await plain(lib, call).ainvoke(1, k=1), variable.get()]


@both([RuntimeError, [RuntimeError]])
async def stop_iteration_in_ainvoke_becomes_runtime_error(lib):
    step = plain(lib, lambda value, config: raising(StopIteration)(value))
    return [await aoutcome(step.ainvoke(1)), await adrained(step.astream(1))]


@both([asyncio.CancelledError, [], True, ["ended"]])
async def cancelling_ainvoke_does_not_stop_the_thread(lib):
    started, released, ended, log = threading.Event(), threading.Event(), threading.Event(), []

    def call(value, config):
        started.set()
        assert released.wait(SAFETY)
        log.append("ended")
        ended.set()

    task = asyncio.create_task(plain(lib, call).ainvoke(1))
    await asyncio.to_thread(started.wait, SAFETY)
    task.cancel()
    came, before = await aoutcome(task), log.copy()
    released.set()
    return [came, before, await asyncio.to_thread(ended.wait, SAFETY), log]


@both([["unstarted", "called"], ["got"], [None], ["unstarted", "called", "called"], [ValueError]])
async def astream_awaits_ainvoke_lazily_and_yields_once(lib):
    log = []

    async def call(value, config):
        log.append("called")
        return value

    step = aplain(lib, call)
    stream = step.astream("got")
    log.append("unstarted")
    got = await adrained(stream)
    first = log.copy()
    nothing = await adrained(step.astream(None))
    unstarted = step.astream("never")
    await unstarted.aclose()
    failed = plain(lib, lambda value, config: raising(ValueError)(value)).astream(1)
    return [first, got, nothing, log, await adrained(failed)]


@both([["abc"], ["ab"], [[1, 2]], [], [1, 2, "closed"], [3]])
async def atransform_folds_its_input_and_no_input_makes_no_call(lib):
    step, log = plain(lib, lambda value, config: value), []
    inputs = (["a", "b", "c"], [1, 2, "a", "b"], ["x", [1], [2]], [])
    outputs = [await adrained(step.atransform(asource([], *items))) for items in inputs]
    logged = await adrained(step.atransform(asource(log, 1, 2)))
    return [*outputs, log, logged]


# -- 2. batch ------------------------------------------------------------------------------------------


@both([[], [], [], ValueError, [ValueError], []])
async def an_empty_abatch_is_empty_and_a_config_list_of_another_length_is_a_value_error(lib):
    log = []
    step = plain(lib, lambda value, config: log.append(value))
    return [
        await step.abatch([], [{}]),
        await step.abatch([], {"max_concurrency": -1}),
        await adrained(step.abatch_as_completed([], [{}])),
        await aoutcome(step.abatch([1, 2], [{}])),
        await adrained(step.abatch_as_completed([1, 2], [{}])),
        log,
    ]


@ours(langchain=TypeError, fakellm=[1, 2])
async def an_abatch_takes_any_iterable(lib):
    return await aoutcome(plain(lib, lambda value, config: value).abatch(iter([1, 2])))


@both([[["x"], ["y"]], [["t"], ["t"]], [{"k": 1}] * 2, [{"k": 1}] * 2])
async def each_input_of_an_abatch_gets_its_config_and_the_kwargs(lib):
    tags = plain(lib, lambda value, config: config["tags"])
    kwargs = plain(lib, lambda value, config, **kwargs: kwargs)
    completed = await adrained(kwargs.abatch_as_completed([1, 2], k=1))
    return [
        await tags.abatch([1, 2], [{"tags": ["x"]}, {"tags": ["y"]}]),
        await tags.abatch([1, 2], {"tags": ["t"]}),
        await kwargs.abatch([1, 2], k=1),
        [value for _, value in completed],
    ]


@both([[True, False, False], [RuntimeWarning]])
async def a_shared_run_id_goes_to_item_0_of_an_abatch_only_with_a_warning(lib):
    step = plain(lib, lambda value, config: config.get("run_id") is not None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        got = await step.abatch([1, 2, 3], {"run_id": uuid.UUID(int=1)})
    return [got, [warning.category for warning in caught]]


async def peak(lib, count, run):
    """Return how many of the calls ran at once at most."""
    running, most = [0], [0]

    async def call(value, config=None):
        running[0] += 1
        most[0] = max(most[0], running[0])
        await others_ran()
        running[0] -= 1
        return value

    assert len(await run(call, list(range(count)))) == count
    return most[0]


@both([200, 200, 3, 2])
async def abatch_is_unlimited_by_default_and_bounded_by_the_first_config(lib):
    listed = [{"max_concurrency": 3}] + [{"max_concurrency": 1}] * 9
    two = {"max_concurrency": 2}
    return [
        await peak(lib, 200, lambda call, inputs: aplain(lib, call).abatch(inputs)),
        await peak(lib, 200, lambda call, inputs: adrained(aplain(lib, call).abatch_as_completed(inputs))),
        await peak(lib, 10, lambda call, inputs: aplain(lib, call).abatch(inputs, listed)),
        await peak(lib, 10, lambda call, inputs: adrained(aplain(lib, call).abatch_as_completed(inputs, two))),
    ]


@ours(langchain=["hangs", [0, 1], {"a": 1}, 1], fakellm=[ValueError] * 4)
async def max_concurrency_below_1_is_a_value_error_in_every_asynchronous_method(lib):
    config, step = {"max_concurrency": 0}, lib.Lambda(aecho)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the calls that LangChain never awaits
        task = asyncio.create_task(aoutcome(step.abatch([0, 1], config)))
        await others_ran()
        hangs = not task.done()
        task.cancel()
        batch = await task
        gc.collect()
    completed = await adrained(step.abatch_as_completed([0, 1], config))
    return [
        "hangs" if hangs else batch,
        ValueError if completed == [ValueError] else sorted(value for _, value in completed),
        await aoutcome(lib.Parallel(a=step).ainvoke(1, config)),
        await aoutcome(step.ainvoke(1, config)),
    ]


@both([[10, 11, 12], [2, 1, 0]])
async def results_of_an_abatch_are_in_input_order(lib):
    gates, log = [asyncio.Event() for _ in range(3)], []
    gates[2].set()

    async def call(value, config):
        await gates[value].wait()
        log.append(value)
        gates[max(value - 1, 0)].set()
        return value + 10

    return [await aplain(lib, call).abatch([0, 1, 2]), log]


@both([(2, 2), (1, 1), (0, 0)])
async def abatch_as_completed_yields_in_completion_order(lib):
    gates, pairs = [asyncio.Event() for _ in range(3)], []
    gates[2].set()

    async def call(value, config):
        await gates[value].wait()
        return value

    async for pair in aplain(lib, call).abatch_as_completed([0, 1, 2]):
        pairs.append(pair)
        gates[max(pair[0] - 1, 0)].set()
    return pairs


def siblings(log, fails=1, kind=ValueError):
    """Return a function that fails for one value, when all the others wait; they log how they end."""
    waiting = []

    async def call(value, config=None):
        if value == fails:
            await others_ran()
            raise kind(value)
        waiting.append(value)
        try:
            await forever()
        finally:
            await asyncio.sleep(0)  # an end that takes a while
            log.append(f"ended {value}")

    return call


@both([KeyError])
async def the_first_failure_in_time_of_an_abatch_is_raised(lib):
    sooner = asyncio.Event()

    async def call(value, config):
        if value == 0:
            await sooner.wait()
            raise ValueError
        sooner.set()
        raise KeyError

    return [await aoutcome(aplain(lib, call).abatch([0, 1]))]


@ours(langchain=[ValueError, []], fakellm=[ValueError, ["ended 0", "ended 2"]])
async def at_a_failure_the_siblings_in_an_abatch_are_cancelled_and_awaited(lib):
    log = []
    came = await aoutcome(aplain(lib, siblings(log)).abatch([0, 1, 2]))
    return [came, sorted(log)]


@both([asyncio.CancelledError, ["ended 0", "ended 2"]])
async def cancelling_an_abatch_cancels_and_awaits_its_calls(lib):
    log = []
    task = asyncio.create_task(aplain(lib, siblings(log, fails=None)).abatch([0, 2]))
    await others_ran()
    task.cancel()
    return [await aoutcome(task), sorted(log)]


@ours(langchain=[(0, 0), []], fakellm=[(0, 0), ["ended 1", "ended 2"]])
async def closing_abatch_as_completed_cancels_what_is_pending(lib):
    log = []
    wait = siblings(log, fails=None)

    async def call(value, config):
        return value if value == 0 else await wait(value)

    pairs = aplain(lib, call).abatch_as_completed([0, 1, 2])
    first = await anext(pairs)
    await pairs.aclose()
    return [first, sorted(log)]


@both([[1, ValueError, 3], Fatal, [(0, ValueError)], [ValueError], [Fatal]])
async def return_exceptions_of_an_abatch_keeps_exceptions_and_raises_other_base_exceptions(lib):
    step = lib.Lambda(lambda value: raising(ValueError)(value) if value == 2 else value)
    fatal = lib.Lambda(araising(Fatal))
    return [
        kinds(await step.abatch([1, 2, 3], return_exceptions=True)),
        await aoutcome(fatal.abatch([1, 2], return_exceptions=True)),
        [(index, type(value)) async for index, value in step.abatch_as_completed([2], return_exceptions=True)],
        await adrained(step.abatch_as_completed([2])),
        await adrained(fatal.abatch_as_completed([1], return_exceptions=True)),
    ]


@ours(langchain=[Fatal, Fatal], fakellm=Fatal)
async def return_exceptions_raises_other_base_exceptions_in_a_sequence_too(lib):
    came = await aoutcome((lib.Lambda(aecho) | araising(Fatal)).abatch([1, 2], return_exceptions=True))
    return kinds(came) if isinstance(came, list) else came


# -- 3. composition ------------------------------------------------------------------------------------


@both([[{"k": 1}, {}]] * 3)
async def kwargs_go_to_step_one_of_a_sequence_only(lib):
    first, second = (plain(lib, lambda value, config, **kwargs: [*value, kwargs]) for _ in range(2))
    chain = first | second
    return [await chain.ainvoke([], k=1), *await adrained(chain.astream([], k=1)), *await chain.abatch([[]], k=1)]


@both([[ValueError, 11, KeyError], [2, 3], KeyError, []])
async def failed_inputs_of_an_abatch_skip_later_steps(lib):
    log, later = [], []
    one = lib.Lambda(lambda value: raising(ValueError)(value) if value == 1 else value)
    two = lib.Lambda(lambda value: log.append(value) or (raising(KeyError)(value) if value == 3 else value))
    chain = one | two | (lambda value: value + 9)
    kept = kinds(await chain.abatch([1, 2, 3], {"max_concurrency": 1}, return_exceptions=True))
    first = log.copy()
    return [kept, first, await aoutcome((two | later.append).abatch([3, 4])), later]


@both(["a", "first a", "second a", "out a", "b", "first b", "second b", "out b", "closed"])
async def one_chunk_flows_end_to_end_before_the_next_is_pulled(lib):
    log = []

    def named(name):
        async def step(chunks):
            async for chunk in chunks:
                log.append(f"{name} {chunk}")
                yield chunk

        return step

    chain = amodel(lib, log, "a", "b") | lib.Generator(named("first")) | named("second")
    async for chunk in chain.astream(""):
        log.append(f"out {chunk}")
    return log


@both([["AB"], ["AB"], ["AB"], ["A", "B"], ["A", ValueError], [ValueError]])
async def plain_steps_lambdas_and_fallbacks_buffer_and_generators_do_not(lib):
    generator, chain = lib.Generator(aupper), amodel(lib, [], "a", "b") | lib.Generator(aupper)
    broken = amodel(lib, [], "a", ValueError) | generator
    chains = [
        chain | plain(lib, lambda value, config: value),
        chain | echo,
        amodel(lib, [], "a", "b") | generator.with_fallbacks([generator]) | generator.with_fallbacks([generator]),
        chain,
        broken,
        broken | aecho,
    ]
    return [await adrained(each.astream("")) for each in chains]


@both([["b", "a"], {"b": 1, "a": 2}, {}, []])
async def parallel_keys_keep_declaration_order_and_an_empty_one_is_empty(lib):
    second = asyncio.Event()

    async def late(value):
        await second.wait()
        return value

    async def soon(value):
        second.set()
        return value + 1

    output = await lib.Parallel(b=late, a=soon).ainvoke(1)
    return [list(output), output, await lib.Parallel({}).ainvoke(1), await adrained(lib.Parallel({}).astream(1))]


@both([[{"b": 1}, {"a": "x"}, {"a": "y"}], {"b": 1, "a": "xy"}])
async def parallel_streams_addable_one_key_dicts_as_they_come(lib):
    gate = asyncio.Event()

    async def late(chunks):
        async for chunk in chunks:
            await gate.wait()
            for letter in chunk:
                yield letter

    async def soon(value):
        return 1

    chunks, total = [], None
    async for chunk in lib.Parallel(a=late, b=soon).astream("xy"):
        chunks.append(dict(chunk))
        gate.set()
        total = chunk if total is None else total + chunk
    return [chunks, dict(total)]


@ours(langchain=[6], fakellm=[2])
async def a_parallel_keeps_max_concurrency_in_ainvoke(lib):
    def run(call, inputs):
        steps = {str(number): aplain(lib, call) for number in inputs}
        return lib.Parallel(steps).ainvoke(1, {"max_concurrency": 2})

    return [await peak(lib, 6, run)]


@ours(langchain=[6], fakellm=[2])
async def a_parallel_keeps_max_concurrency_in_astream(lib):
    def run(call, inputs):
        steps = {str(number): aplain(lib, call) for number in inputs}
        return adrained(lib.Parallel(steps).astream(1, {"max_concurrency": 2}))

    return [await peak(lib, 6, run)]


@ours(langchain=[{"a": {}}, [{"a": {}}], ["error"]], fakellm=[{"a": {"k": 1}}, *[[{"a": {"k": 1}}]] * 2])
async def parallel_passes_kwargs_on(lib):
    step = lib.Parallel(a=plain(lib, lambda value, config, **kwargs: kwargs))
    transformed = await adrained(step.atransform(asource([], 1), k=1))
    return [
        await step.ainvoke(1, k=1),
        await adrained(step.astream(1, k=1)),
        ["error" if isinstance(chunk, type) else chunk for chunk in transformed],
    ]


@ours(langchain=[ValueError, [], [ValueError], []], fakellm=[ValueError, ["ended 0"], [ValueError], ["ended 0"]])
async def at_an_error_a_parallel_cancels_and_awaits_the_siblings(lib):
    log, streamed = [], []

    def parallel(log):
        call = siblings(log)
        return lib.Parallel(a=lambda_of(lib, call, 0), b=lambda_of(lib, call, 1))

    return [
        await aoutcome(parallel(log).ainvoke(None)),
        log.copy(),
        await adrained(parallel(streamed).astream(None)),
        streamed.copy(),
    ]


def lambda_of(lib, call, value):
    async def step(_):
        return await call(value)

    return lib.Lambda(step)


@both(["a", "s", "a", ["a"], ["s"], "a", False])
async def a_lambda_takes_an_async_function_or_both_and_runs_a_plain_one_in_a_worker_thread(lib):
    async def asynchronous(value):
        return "a"

    caller, two = threading.current_thread(), lib.Lambda(lambda value: "s", asynchronous)
    return [
        await lib.Lambda(asynchronous).ainvoke(1),
        await lib.Lambda(lambda value: "s").ainvoke(1),
        await two.ainvoke(1),
        await adrained(two.astream(1)),
        await adrained(lib.Lambda(lambda value: "s").astream(1)),
        (await two.abatch([1]))[0],
        await lib.Lambda(lambda value: threading.current_thread() is caller).ainvoke(1),
    ]


@both([{"tags": ["t"]}, {"tags": ["t"]}, {"tags": ["t"]}, [{"tags": ["t"]}], {"a": {"tags": ["t"]}}, {}])
async def an_async_lambda_gets_the_config_and_calls_nested_in_it_inherit(lib):
    inner = lib.Lambda(lambda value, config: seen(config))

    async def asks(value, config):
        return seen(config)

    async def nests(value):
        return await inner.ainvoke(value)

    async def streams(chunks):
        async for chunk in chunks:
            yield await inner.ainvoke(chunk)

    config = {"tags": ["t"], "run_name": "own"}
    return [
        await lib.Lambda(asks).ainvoke(1, config),
        await lib.Lambda(nests).ainvoke(1, config),
        await lib.Lambda(inner.invoke).bind().ainvoke(1, config),
        await adrained(lib.Generator(streams).astream(1, config)),
        await lib.Parallel(a=nests).ainvoke(1, config),
        await inner.ainvoke(1),
    ]


@both([3, [1, 2], "a", 3, None, [3]])
async def an_async_generator_function_in_a_lambda_streams_and_ainvoke_folds(lib):
    step = lib.Lambda(acounting)
    return [
        await step.ainvoke(1),
        await adrained(step.astream(1)),
        await lib.Lambda(aunlike).ainvoke(1),
        await lib.Lambda(counting).ainvoke(1),
        await lib.Lambda(silent).ainvoke(1),
        await step.abatch([1]),
    ]


@ours(langchain=[[TypeError], [TypeError]], fakellm=[[1, 2], [3, 4]])
async def a_sync_generator_function_in_a_lambda_also_streams_in_astream(lib):
    step = lib.Lambda(counting)
    return [await adrained(step.astream(1)), await adrained(step.atransform(asource([], 1, 2)))]


@ours(langchain=[[UnboundLocalError], []], fakellm=[[], []])
async def an_empty_input_stream_of_a_lambda_makes_no_call_and_no_output(lib):
    log = []
    return [await adrained(lib.Lambda(log.append).atransform(asource([]))), log]


@both([("inner", 1), [("inner", 1)], ["a", "b"], [RecursionError, 4], [[RecursionError], 4]])
async def a_runnable_that_an_async_lambda_returns_runs_up_to_recursion_limit(lib):
    async def returns(value):
        return lib.Lambda(lambda same: ("inner", same))

    async def calls(run):
        count = [0]

        async def again(value):
            count[0] += 1
            return step

        step = lib.Lambda(again)
        return [await run(step), count[0]]

    return [
        await lib.Lambda(returns).ainvoke(1),
        await adrained(lib.Lambda(returns).astream(1)),
        await adrained(lib.Lambda(lambda value: amodel(lib, [], "a", "b")).astream(1)),
        await calls(lambda step: aoutcome(step.ainvoke(1, {"recursion_limit": 3}))),
        await calls(lambda step: adrained(step.astream(1, {"recursion_limit": 3}))),
    ]


@both(["X", ["X"], 3, None, ["X", "Y"], NotImplementedError, NotImplementedError, "AB"])
async def a_generator_streams_and_ainvoke_folds_and_a_missing_side_is_not_implemented(lib):
    async def asilent(chunks):
        async for _ in chunks:
            return
        yield

    step = lib.Generator(aupper)
    return [
        await step.ainvoke("x"),
        await adrained(step.astream("x")),
        await lib.Generator(acounting_each).ainvoke(1),
        await lib.Generator(asilent).ainvoke("x"),
        await adrained(step.atransform(asource([], "x", "y"))),
        await aoutcome(lib.Generator(copied).ainvoke("x")),
        outcome(lib.Generator(copied).astream, "x"),
        await (amodel(lib, [], "a", "b") | aupper).ainvoke(""),
    ]


async def acounting_each(chunks):
    async for chunk in chunks:
        for item in counting(chunk):
            yield item


@ours(langchain=TypeError, fakellm="a")
async def chunks_of_a_generator_that_do_not_add_up_fold_to_the_last(lib):
    return await aoutcome(lib.Generator(aunlike).ainvoke(1))


# -- 4. wrappers ---------------------------------------------------------------------------------------


@both([{"a": 1, "b": 3}, [{"a": 1}], [{"a": 1}], [{"a": 1}], [(0, {"a": 1})]])
async def bind_merges_kwargs_in_every_asynchronous_method(lib):
    step = plain(lib, lambda value, config, **kwargs: kwargs).bind(a=1)
    return [
        await step.ainvoke(1, b=3),
        await step.abatch([1]),
        await adrained(step.astream(1)),
        await adrained(step.atransform(asource([], 1))),
        await adrained(step.abatch_as_completed([1])),
    ]


@both([{"tags": ["a", "b"], "metadata": {"x": 1, "y": 2}}] * 5)
async def with_config_merges_in_every_asynchronous_method(lib):
    step = plain(lib, lambda value, config: seen(config)).with_config(tags=["b"], metadata={"x": 1})
    config = {"tags": ["a"], "metadata": {"y": 2}}
    return [
        await step.ainvoke(1, config),
        *await step.abatch([1], config),
        *await adrained(step.astream(1, config)),
        *await adrained(step.atransform(asource([], 1), config)),
        *[value for _, value in await adrained(step.abatch_as_completed([1], config))],
    ]


@both([1, 3, ValueError, 3, [1, 2], [1, 2, 1, 2, 1, 2], [ValueError], [ValueError]])
async def with_retry_covers_ainvoke_and_abatch_but_not_astream_and_as_completed(lib):
    twice, twice_log = failing(2)
    always, always_log = failing(9)
    each, each_log = failing(2)
    recovered, failed = await retried(lib, twice).ainvoke(1), await aoutcome(retried(lib, always).ainvoke(1))
    attempts = len(always_log)
    batch = await retried(lib, each).abatch([1, 2], {"max_concurrency": 1})
    return [
        recovered,
        len(twice_log),
        failed,
        attempts,
        batch,
        each_log,
        await adrained(retried(lib, failing(1)[0]).astream(1)),
        await adrained(retried(lib, failing(1)[0]).abatch_as_completed([1])),
    ]


@ours(langchain=[["late"] * 2, ["late"] * 2], fakellm=[["late", KeyError], KeyError])
async def each_item_of_an_abatch_with_retry_keeps_its_own_result_or_error(lib):
    def step():
        call, log = failing(2, KeyError)
        return retried(lib, lambda value: call(value) if value == "late" else raising(KeyError)(log))

    inputs = ["late", "never"]
    return [kinds(await step().abatch(inputs, return_exceptions=True)), await aoutcome(step().abatch(inputs))]


@both(["b", ["b"], ["b1"], ["a1", ValueError], KeyError, [ValueError], ValueError])
async def with_fallbacks_tries_in_order_and_a_stream_falls_back_only_before_its_first_chunk(lib):
    first, unhandled = lib.Lambda(araising(ValueError)), lib.Lambda(araising(KeyError))
    fallback = lib.Lambda(lambda value: "b")
    keyed = first.with_fallbacks([fallback], exception_key="error")
    return [
        await first.with_fallbacks([fallback]).ainvoke(1),
        await first.with_fallbacks([fallback]).abatch([1]),
        await adrained(amodel(lib, [], ValueError).with_fallbacks([amodel(lib, [], "b1")]).astream("")),
        await adrained(amodel(lib, [], "a1", ValueError).with_fallbacks([fallback]).astream("")),
        await aoutcome(unhandled.with_fallbacks([fallback], exceptions_to_handle=(ValueError,)).ainvoke(1)),
        await adrained(keyed.astream(1)),
        await aoutcome(keyed.ainvoke(1)),
    ]


@ours(langchain=[["x", "error"]] * 3, fakellm=[["x"]] * 3)
async def exception_key_leaves_the_callers_dict_as_it_is(lib):
    step = lib.Lambda(araising(KeyError)).with_fallbacks([lib.Lambda(len)], exception_key="error")
    invoked, streamed, batched = {"x": 1}, {"x": 1}, {"x": 1}
    await step.ainvoke(invoked)
    await adrained(step.astream(streamed))
    await step.abatch([batched])
    return [list(invoked), list(streamed), list(batched)]


@ours(langchain=[KeyError, [KeyError], ValueError], fakellm=[KeyError, [KeyError], KeyError])
async def when_all_fail_the_first_error_is_raised_in_every_method(lib):
    step = lib.Lambda(araising(KeyError)).with_fallbacks([lib.Lambda(araising(ValueError))])
    return [await aoutcome(step.ainvoke(1)), await adrained(step.astream(1)), await aoutcome(step.abatch([1]))]


@ours(langchain=[["b"]], fakellm=[[]])
async def an_empty_primary_stream_is_a_result_not_a_failure(lib):
    return [await adrained(amodel(lib, []).with_fallbacks([amodel(lib, [], "b")]).astream(""))]


# -- 5. closing and cancelling -------------------------------------------------------------------------


CLOSED, OPEN = ["a", "got", "closed", "returned"], ["a", "got", "returned"]


async def closings(lib, *makers):
    """Return what is seen, for each way to build around a model, when a consumer closes after one chunk."""
    logs = []
    with no_garbage_collection():
        for make in makers:
            log = []
            stream = make(amodel(lib, log, "a", "b", "c")).astream("")
            await anext(stream)
            log.append("got")
            await stream.aclose()
            logs.append([*log, "returned"])
    return logs


@both([CLOSED])
async def closing_a_plain_stream_closes_its_source_before_aclose_returns(lib):
    return await closings(lib, lambda source: source)


@ours(langchain=[OPEN] * 10, fakellm=[CLOSED] * 10)
async def closing_closes_the_source_before_aclose_returns_through_every_kind_and_wrapper(lib):
    return await closings(
        lib,
        lambda source: lib.Lambda(echo) | source,
        lambda source: source | lib.Generator(aupper),
        lambda source: source | lib.Generator(aupper) | aupper,
        lambda source: lib.Lambda(lambda value: source),
        lambda source: lib.Parallel(a=source),
        lambda source: source.bind(),
        lambda source: source.with_config(tags=["t"]),
        lambda source: source.with_retry(wait_exponential_jitter=False),
        lambda source: source.with_fallbacks([source]),
        lambda source: lib.Lambda(araising(ValueError)).with_fallbacks([source]),
    )


CANCELLED = [["a", "parked"], asyncio.CancelledError, ["closed"]]


async def cancelled(lib, call, *makers):
    """Return, for each way to build around a model that never ends, what it saw and how the cancelled task ended."""
    results = []
    for make in makers:
        log = []
        task = asyncio.create_task(call(make(amodel(lib, log, "a", ...))))
        await others_ran()
        before = log.copy()
        task.cancel()
        results.append([before, await aoutcome(task), log[len(before) :]])
    return results


async def consume(step):
    async for _ in step.astream(""):
        pass


@both([CANCELLED] * 5)
async def cancelling_in_the_middle_of_a_stream_reaches_the_source(lib):
    return await cancelled(
        lib,
        consume,
        lambda source: source,
        lambda source: source | lib.Generator(aupper),
        lambda source: source | echo,
        lambda source: source.bind().with_config(tags=["t"]),
        lambda source: source.with_fallbacks([source]),
    )


@ours(langchain=[[*CANCELLED[:2], []]], fakellm=[CANCELLED])
async def cancelling_a_parallel_stream_closes_its_steps_before_it_ends(lib):
    return await cancelled(lib, consume, lambda source: lib.Parallel(a=source))


@both([CANCELLED] * 4)
async def cancelling_ainvoke_reaches_the_source(lib):
    return await cancelled(
        lib,
        lambda step: step.ainvoke(""),
        lambda source: source | echo,
        lambda source: source.with_retry(wait_exponential_jitter=False),
        lambda source: source.with_fallbacks([source]),
        lambda source: lib.Parallel(a=source),
    )


@each(("scenario", "library", "expected"), TABLE)
def test_observed_as_written(scenario, library, expected):
    assert asyncio.run(asyncio.wait_for(scenario(LIBRARIES[library]), SAFETY)) == expected
