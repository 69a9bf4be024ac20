"""The synchronous Runnable beside LangChain's: each scenario runs on both and is observed as written.

`both` gives the one observation for the two libraries. `ours` gives one for each: these are the differences
that are meant, and the only ones. The asynchronous methods have a file of their own.
"""

from __future__ import annotations

import os
import sys
import threading
import uuid
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from unittest import mock

import pytest
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

"""Seconds after which a wait that would never end fails. No test that passes waits for them."""


TABLE = Table()
both, ours = TABLE.both, TABLE.ours


def drained(iterator):
    """Return what an iterator yielded, then the type of what it raised, if it did."""
    items = []
    try:
        items.extend(iterator)  # keeps what came before an error
    except BaseException as error:
        items.append(type(error))
    return items


def model(lib, log, *chunks):
    """Return a Runnable that streams; its log says what it made, and its end. An exception is raised."""

    class Model(lib.Runnable):
        def invoke(self, input, config=None, **kwargs):
            return "".join(self.stream(input, config, **kwargs))

        def stream(self, input, config=None, **kwargs):
            yield from source(log, *chunks)

    return Model()


def source(log, *items):
    """Yield the items; the log says what was pulled, and the end. An exception is raised."""
    try:
        for item in items:
            if isinstance(item, type):
                raise item("scripted")
            log.append(item)
            yield item
    finally:
        log.append("closed")


def upper(chunks):
    for chunk in chunks:
        yield chunk.upper()


# -- 1. base: a subclass supplies only invoke ----------------------------------------------------------


@both([["unstarted"], ["unstarted", "called", "got"], "stopped"])
def stream_calls_nothing_before_the_first_next_and_yields_once(lib):
    log = []
    stream = plain(lib, lambda value, config: log.append("called") or value).stream("got")
    log.append("unstarted")
    before = log.copy()
    log.append(next(stream))
    return [before, log, next(stream, "stopped")]


@both([None])
def stream_yields_the_one_value_even_if_it_is_none(lib):
    return list(plain(lib, lambda value, config: None).stream(1))


@both(["made", ValueError])
def an_error_of_a_stream_surfaces_at_next(lib):
    stream = plain(lib, lambda value, config: raising(ValueError)(value)).stream(1)
    return ["made", outcome(next, stream)]


@both([])
def a_stream_closed_before_its_start_makes_no_call(lib):
    log = []
    plain(lib, lambda value, config: log.append(value)).stream(1).close()
    return log


@both([(True, {"k": 1})] * 3)
def config_and_kwargs_pass_through_untouched(lib):
    given = {"tags": ["t"]}
    step = plain(lib, lambda value, config, **kwargs: (config is given, kwargs))
    return [step.invoke(1, given, k=1), *step.stream(1, given, k=1), *step.transform(iter([1]), given, k=1)]


@both([["abc"], [6], ["ab"], [[1, 2]], ["only"]])
def transform_folds_its_input_and_on_type_error_the_newer_item_wins_and_folding_goes_on(lib):
    step = plain(lib, lambda value, config: value)
    inputs = (["a", "b", "c"], [1, 2, 3], [1, 2, "a", "b"], ["x", [1], [2]], ["only"])
    return [list(step.transform(iter(items))) for items in inputs]


@both([ValueError])
def transform_raises_other_errors_of_adding(lib):
    class Odd:
        def __add__(self, other):
            raise ValueError

    return drained(plain(lib, lambda value, config: value).transform(iter([Odd(), Odd()])))


@both(["unstarted", 1, 2, "closed", ("called", 3), "got 3"])
def transform_is_lazy_and_consumes_all_input_before_the_call(lib):
    log = []
    step = plain(lib, lambda value, config: log.append(("called", value)) or f"got {value}")
    output = step.transform(source(log, 1, 2))
    log.append("unstarted")
    log.extend(output)
    return log


@both([[], []])
def transform_of_no_input_makes_no_call_and_no_output(lib):
    log = []
    return [list(plain(lib, lambda value, config: log.append(value)).transform(iter([]))), log]


@both([("streamed", "ab")])
def transform_streams_the_folded_input(lib):
    class Streams(lib.Runnable):
        def invoke(self, input, config=None, **kwargs):
            return "invoked"

        def stream(self, input, config=None, **kwargs):
            yield "streamed", input

    return list(Streams().transform(iter("ab")))


# -- 2. batch ------------------------------------------------------------------------------------------


@both([[], [], []])
def an_empty_batch_is_empty_before_any_config_check(lib):
    step = plain(lib, lambda value, config: value)
    return [step.batch([], [{}]), step.batch([], {"max_concurrency": -1}), list(step.batch_as_completed([], [{}]))]


@both([[True], [(0, True)], [False, False]])
def one_input_runs_in_the_callers_thread_and_more_do_not(lib):
    caller = threading.current_thread()
    step = plain(lib, lambda value, config: threading.current_thread() is caller)
    return [step.batch([1]), list(step.batch_as_completed([1])), step.batch([1, 2])]


@both([True, False])
def an_unbounded_batch_has_the_standard_number_of_threads_in_a_pool_of_its_own(lib):
    size = min(32, (getattr(os, "process_cpu_count", os.cpu_count)() or 1) + 4)
    full = threading.Barrier(size)
    step = plain(lib, lambda value, config: (full.wait(SAFETY), threading.current_thread())[1])
    threads = set(step.batch(list(range(2 * size))))
    return [len(threads) == size, any(thread.is_alive() for thread in threads)]


@both([["outer"] * 3, "outer", "inner"])
def batch_threads_see_a_copy_of_the_context(lib):
    variable = ContextVar("variable", default="default")
    token = variable.set("outer")

    def call(value, config):
        before = variable.get()
        variable.set("inner")
        return before

    step = plain(lib, call)
    many, after_many = step.batch([1, 2, 3]), variable.get()
    step.batch([1])  # in the caller's own thread
    after_one = variable.get()
    variable.reset(token)
    return [many, after_many, after_one]


@both([[10, 11, 12], [2, 1, 0]])
def results_are_in_input_order_whatever_the_order_of_completion(lib):
    ended, log = [threading.Event() for _ in range(4)], []
    ended[3].set()

    def call(value, config):
        assert ended[value + 1].wait(SAFETY)
        log.append(value)
        ended[value].set()
        return value + 10

    return [plain(lib, call).batch([0, 1, 2]), log]


@ours(langchain=TypeError, fakellm=[1, 2])
def a_batch_takes_any_iterable(lib):
    return outcome(plain(lib, lambda value, config: value).batch, iter([1, 2]))


@both([ValueError, ValueError, []])
def a_config_list_of_another_length_is_a_value_error_before_any_call(lib):
    log = []
    step = plain(lib, lambda value, config: log.append(value))
    return [outcome(step.batch, [1, 2], [{}]), outcome(step.batch, [1], [{}, {}]), log]


@both([["a"], ["b"]])
def each_input_gets_its_own_config_of_a_list(lib):
    return plain(lib, lambda value, config: config["tags"]).batch([1, 2], [{"tags": ["a"]}, {"tags": ["b"]}])


@both([["t"], ["t"]])
def one_config_is_for_all_inputs(lib):
    return plain(lib, lambda value, config: config["tags"]).batch([1, 2], {"tags": ["t"]})


def peak(lib, run, bound, calls):
    """Return how many calls ran at once at most, where `bound` at a time have to meet."""
    meeting, lock, running, most = threading.Barrier(bound), threading.Lock(), [0], [0]

    def call(value, config):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        meeting.wait(SAFETY)
        with lock:
            running[0] -= 1
        meeting.wait(SAFETY)

    run(plain(lib, call), calls)
    return most[0]


@both([2, 3, 2])
def max_concurrency_comes_from_the_first_config(lib):
    listed = [{"max_concurrency": 2}, *[{"max_concurrency": 3}] * 5]
    return [
        peak(lib, lambda step, calls: step.batch(calls, listed), 2, range(6)),
        peak(lib, lambda step, calls: step.batch(calls, {"max_concurrency": 3}), 3, range(6)),
        peak(lib, lambda step, calls: list(step.batch_as_completed(calls, {"max_concurrency": 2})), 2, range(6)),
    ]


@both([[[True, False, False], [RuntimeWarning]], [[True], []], [[True, True], []]])
def a_shared_run_id_goes_to_item_0_only_with_a_warning(lib):
    def batch(inputs, config):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            return [step.batch(inputs, config), [warning.category for warning in caught]]

    step = plain(lib, lambda value, config: config.get("run_id") is not None)
    shared = {"run_id": uuid.UUID(int=1)}
    each = [{"run_id": uuid.UUID(int=1)}, {"run_id": uuid.UUID(int=2)}]
    return [batch([1, 2, 3], shared), batch([1], shared), batch([1, 2], each)]


@both([[{"k": 1}, {"k": 1}], [{"k": 1}, {"k": 1}]])
def kwargs_go_to_every_call(lib):
    step = plain(lib, lambda value, config, **kwargs: kwargs)
    return [step.batch([1, 2], k=1), [kwargs for _, kwargs in step.batch_as_completed([1, 2], k=1)]]


@ours(langchain=[ValueError, [1], [1], 1, ValueError, [ValueError]], fakellm=[ValueError] * 5 + [[ValueError]])
def max_concurrency_below_1_is_a_value_error_everywhere(lib):
    step, both_steps, config = lib.Lambda(echo), lib.Parallel(a=echo, b=echo), {"max_concurrency": 0}
    return [
        outcome(step.batch, [1, 2], config),
        outcome(step.batch, [1], config),
        outcome((step | echo).batch, [1], config),
        outcome(step.invoke, 1, config),
        outcome(both_steps.invoke, 1, config),
        drained(both_steps.stream(1, config)),
    ]


@both([KeyError, [1, 0]])
def the_failure_with_the_lowest_index_is_raised_even_if_another_failed_sooner(lib):
    sooner, log = threading.Event(), []

    def call(value, config):
        if value == 1:
            log.append(value)
            sooner.set()
            raise ValueError
        if value == 0:
            assert sooner.wait(SAFETY)
            log.append(value)
            raise KeyError

    return [outcome(plain(lib, call).batch, [0, 1, 2]), log]


def released_at_shutdown(released):
    """Patch the pool of both libraries: what runs when it is shut down is released then, not before."""
    shutdown = ThreadPoolExecutor.shutdown

    def release(pool, wait=True, *, cancel_futures=False):
        shutdown(pool, wait=False, cancel_futures=cancel_futures)
        released.set()
        shutdown(pool, wait=wait)

    return mock.patch.object(ThreadPoolExecutor, "shutdown", release)


def held_calls(lib, first):
    """Return a Runnable whose call of 0 ends by `first()` while the others are held, and the log of ends."""
    started, released, log = threading.Event(), threading.Event(), []

    def call(value, config):
        if value == 0:
            assert started.wait(SAFETY)
            return first()
        started.set()
        assert released.wait(SAFETY)
        log.append(value)

    return plain(lib, call), released, log


@both([ValueError, True, True])
def at_a_failure_running_calls_are_awaited_and_unstarted_ones_cancelled(lib):
    step, released, log = held_calls(lib, lambda: int("x"))
    with released_at_shutdown(released):
        came = outcome(step.batch, range(9), {"max_concurrency": 2})
    return [came, 1 in log, set(log) <= {1, 2}]  # 2 may have started in the thread of 0


@both([(0, "done"), True, True])
def closing_batch_as_completed_cancels_what_is_pending(lib):
    step, released, log = held_calls(lib, lambda: "done")
    pairs = step.batch_as_completed(range(9), {"max_concurrency": 2})
    first = next(pairs)
    with released_at_shutdown(released):
        pairs.close()
    return [first, 1 in log, set(log) <= {1, 2}]


@both([[1, ValueError, 3], [(0, ValueError)], [ValueError]])
def return_exceptions_puts_exceptions_in_their_position(lib):
    step = plain(lib, lambda value, config: raising(ValueError)(value) if value == 2 else value)
    completed = step.batch_as_completed([2], return_exceptions=True)
    return [
        kinds(step.batch([1, 2, 3], return_exceptions=True)),
        [(index, type(value)) for index, value in completed],
        kinds(step.batch([2], return_exceptions=True)),
    ]


@both([Fatal, Fatal, [Fatal]])
def return_exceptions_still_raises_other_base_exceptions(lib):
    step = plain(lib, lambda value, config: raising(Fatal)(value))
    return [
        outcome(step.batch, [1], return_exceptions=True),
        outcome(step.batch, [1, 2], return_exceptions=True),
        drained(step.batch_as_completed([1, 2], return_exceptions=True)),
    ]


@ours(langchain=[Fatal, Fatal], fakellm=Fatal)
def return_exceptions_raises_other_base_exceptions_in_a_sequence_too(lib):
    came = outcome((lib.Lambda(echo) | raising(Fatal)).batch, [1, 2], return_exceptions=True)
    return kinds(came) if isinstance(came, list) else came


@both([(2, 2), (1, 1), (0, 0)])
def batch_as_completed_yields_in_completion_order(lib):
    gates = [threading.Event() for _ in range(3)]
    gates[2].set()

    def call(value, config):
        assert gates[value].wait(SAFETY)
        return value

    pairs = []
    for pair in plain(lib, call).batch_as_completed([0, 1, 2]):
        pairs.append(pair)
        gates[max(pair[0] - 1, 0)].set()
    return pairs


@both(["made", ValueError, []])
def batch_as_completed_is_lazy_its_length_check_too(lib):
    log = []
    step = plain(lib, lambda value, config: log.append(value))
    wrong, fine = step.batch_as_completed([1, 2], [{}]), step.batch_as_completed([1, 2])
    fine.close()
    return ["made", outcome(next, wrong), log]


@both([[ValueError], [ValueError]])
def batch_as_completed_raises_a_failure(lib):
    step = plain(lib, lambda value, config: raising(ValueError)(value))
    return [drained(step.batch_as_completed([1])), drained(step.batch_as_completed([1, 2]))]


# -- 3. composition ------------------------------------------------------------------------------------


@both([4, 4, 4, True, "xabcd"])
def or_flattens_and_is_associative(lib):
    a, b, c, d = (lib.Lambda(lambda value, letter=letter: value + letter) for letter in "abcd")
    chains = [a | b | c | d, a | (b | (c | d)), lib.Sequence(a | b, c | d)]
    alike = all(x is y for chain in chains for x, y in zip(chain.steps, (a, b, c, d), strict=True))
    return [*(len(chain.steps) for chain in chains), alike, chains[1].invoke("x")]


async def acopy(chunks):
    async for chunk in chunks:
        yield chunk


class CallableGenerator:
    async def __call__(self, chunks):
        async for chunk in chunks:
            yield chunk


@both([f"Runnable{kind}" for kind in ["Generator"] * 3 + ["Lambda"] * 3 + ["Parallel"]] * 2)
def or_makes_steps_of_generator_functions_callables_and_dicts(lib):
    start, others = lib.Lambda(echo), [upper, acopy, CallableGenerator(), len, aecho, str, {"a": echo}]
    made = [type((start | other).steps[1]).__name__ for other in others]
    return [*made, *(type((other | start).steps[0]).__name__ for other in others)]


@both([{"a": 2, "b": {"c": 1}}, 3])
def a_dict_of_functions_and_dicts_is_a_step_on_either_side(lib):
    return [
        (lib.Lambda(echo) | {"a": lambda value: value + 1, "b": {"c": echo}}).invoke(1),
        ({"a": echo, "b": lambda value: value + 1} | lib.Lambda(lambda value: value["a"] + value["b"])).invoke(1),
    ]


@both([TypeError] * 4)
def or_raises_type_error_for_anything_else(lib):
    step = lib.Lambda(echo)
    return [outcome(lambda other=other: step | other) for other in (1, None, [echo])] + [outcome(lambda: 1 | step)]


@both([ValueError, ValueError, 2])
def a_sequence_needs_two_steps(lib):
    return [
        outcome(lib.Sequence),
        outcome(lib.Sequence, lib.Lambda(echo)),
        len(lib.Sequence(lib.Lambda(echo), echo).steps),
    ]


@both([[{"k": 1}, {}]] * 4)
def kwargs_go_to_step_one_only(lib):
    first, second = (plain(lib, lambda value, config, **kwargs: [*value, kwargs]) for _ in range(2))
    chain = first | second
    return [
        chain.invoke([], k=1),
        *chain.stream([], k=1),
        *chain.batch([[]], k=1),
        *chain.transform(iter([[]]), k=1),
    ]


@both([[3, 4], [("one", 1), ("one", 2), ("two", 2), ("two", 3)]])
def batch_runs_step_by_step_over_all_inputs(lib):
    log = []
    one = lib.Lambda(lambda value: log.append(("one", value)) or value + 1)
    two = lib.Lambda(lambda value: log.append(("two", value)) or value + 1)
    return [(one | two).batch([1, 2], {"max_concurrency": 1}), log]


@both([[ValueError, 11, KeyError], [2, 3], KeyError, [], ["c"]])
def failed_inputs_skip_later_steps_and_without_return_exceptions_later_steps_never_start(lib):
    log = []
    one = lib.Lambda(lambda value: raising(ValueError)(value) if value == 1 else value)
    two = lib.Lambda(lambda value: log.append(value) or (raising(KeyError)(value) if value == 3 else value))
    three = lib.Lambda(lambda value: value + 9)
    kept = kinds((one | two | three).batch([1, 2, 3], {"max_concurrency": 1}, return_exceptions=True))
    later = []
    failed = outcome((two | later.append).batch, [3, 4])
    return [kept, log[:2], failed, later, (lib.Lambda(echo) | echo).batch(["c"])]


@both(["a", "first a", "second a", "out a", "b", "first b", "second b", "out b", "closed"])
def one_chunk_flows_end_to_end_before_the_next_is_pulled(lib):
    log = []

    def named(name):
        def step(chunks):
            for chunk in chunks:
                log.append(f"{name} {chunk}")
                yield chunk

        return step

    chain = model(lib, log, "a", "b") | lib.Generator(named("first")) | named("second")
    for chunk in chain.stream(""):
        log.append(f"out {chunk}")
    return log


@both([["AB"], ["AB"], ["AB"], ["A", "B"]])
def plain_steps_lambdas_and_fallbacks_buffer_and_generators_do_not(lib):
    generator = lib.Generator(upper)
    buffering = plain(lib, lambda value, config: value), lib.Lambda(echo), generator.with_fallbacks([generator])
    outputs = [list((model(lib, [], "a", "b") | upper | step).stream("")) for step in buffering[:2]]
    outputs.append(list((model(lib, [], "a", "b") | lib.Lambda(str.upper) | buffering[2]).stream("")))
    return [*outputs, list((model(lib, [], "a", "b") | generator).stream(""))]


@both([["A", ValueError], [ValueError]])
def chunks_before_an_error_are_delivered_unless_a_buffering_step_follows(lib):
    return [
        drained((model(lib, [], "a", ValueError) | lib.Generator(upper)).stream("")),
        drained((model(lib, [], "a", ValueError) | lib.Generator(upper) | echo).stream("")),
    ]


@both([StopIteration])
def a_sequence_raises_what_its_step_raised(lib):
    return [outcome((lib.Lambda(echo) | raising(StopIteration)).invoke, 1)]


@both([["b", "a", "c"], {"b": 1, "a": 2, "c": 3}, ["b", "a", "c"]])
def parallel_keys_keep_declaration_order(lib):
    second = threading.Event()
    steps = {
        "b": lambda value: second.wait(SAFETY) and value,
        "a": lambda value: second.set() or value + 1,
        "c": lambda value: value + 2,
    }
    output = lib.Parallel(steps).invoke(1)
    return [list(output), output, list(lib.Parallel({"b": echo}, a=echo, c=echo).invoke(1))]


@both([[{"b": "2"}, {"a": "x"}, {"a": "y"}], {"b": "2", "a": "xy"}])
def parallel_streams_addable_one_key_dicts_as_they_come(lib):
    gate = threading.Event()

    def late(chunks):
        for chunk in chunks:
            assert gate.wait(SAFETY)
            yield from chunk

    chunks, total = [], None
    for chunk in lib.Parallel(a=late, b=len | lib.Lambda(str)).stream("xy"):
        chunks.append(dict(chunk))
        gate.set()
        total = chunk if total is None else total + chunk
    return [chunks, {"b": total["b"], "a": total["a"]}]


@ours(langchain=[ValueError], fakellm=["a value"])
def an_exception_that_the_last_step_of_a_sequence_returns_is_a_value_in_batch(lib):
    came = outcome((lib.Lambda(echo) | ValueError).batch, [1])
    return [came if isinstance(came, type) else "a value"]


@both([{}, [], []])
def an_empty_parallel_gives_an_empty_dict_and_no_chunks(lib):
    empty = lib.Parallel({})
    return [empty.invoke(1), list(empty.stream(1)), list(empty.transform(iter([1, 2])))]


@both([ValueError, ["waited"]])
def at_an_error_a_parallel_step_waits_for_its_siblings(lib):
    started, released, log = threading.Event(), threading.Event(), []

    def sibling(value):
        started.set()
        assert released.wait(SAFETY)
        log.append("waited")

    def fail(value):
        assert started.wait(SAFETY)
        raise ValueError

    with released_at_shutdown(released):
        return [outcome(lib.Parallel(a=fail, b=sibling).invoke, 1), log]


@both([2])
def parallel_steps_keep_max_concurrency(lib):
    def run(step, calls):
        lib.Parallel({str(number): step for number in calls}).invoke(1, {"max_concurrency": 2})

    return [peak(lib, run, 2, range(6))]


@ours(langchain=[{"a": {}}, [{"a": {}}], [TypeError]], fakellm=[{"a": {"k": 1}}, *[[{"a": {"k": 1}}]] * 2])
def parallel_passes_kwargs_on(lib):
    step = lib.Parallel(a=plain(lib, lambda value, config, **kwargs: kwargs))
    return [step.invoke(1, k=1), list(step.stream(1, k=1)), drained(step.transform(iter([1]), k=1))]


@both([{"a": False}])
def a_parallel_step_runs_in_a_thread_of_its_own_even_alone(lib):
    caller = threading.current_thread()
    return [lib.Parallel(a=lambda value: threading.current_thread() is caller).invoke(1)]


@both([[("x", 1), ("x", 2)], {"a": 3, "b": 3}, [1, 2, "closed"]])
def parallel_steps_share_one_pass_over_the_input_and_add_it_up_each(lib):
    log, chunks = [], []
    for chunk in lib.Parallel(a=echo, b=echo).transform(source(log, 1, 2)):
        chunks.append(dict(chunk))
    together = {key: value for chunk in chunks for key, value in sorted(chunk.items())}
    generators = lib.Parallel(x=lib.Generator(copied)).transform(iter([1, 2]))
    return [[item for chunk in generators for item in chunk.items()], dict(sorted(together.items())), log]


@both([[{}, {"tags": ["t"]}], 3, {"tags": ["t"], "metadata": {"m": 1}, "configurable": {"c": [1]}}])
def a_lambda_gets_the_config_if_its_signature_has_it(lib):
    given = {"tags": ["t"], "metadata": {"m": 1}, "configurable": {"c": [1]}, "run_name": "own"}
    asks = lib.Lambda(lambda value, config: seen(config))
    keyword = lib.Lambda(lambda value, *, config=None: seen(config))
    return [[asks.invoke(1), keyword.invoke(1, {"tags": ["t"]})], lib.Lambda(len).invoke("abc"), asks.invoke(1, given)]


@both([(1, 2), [(1, 2)], [(1, 2)]])
def a_lambda_passes_kwargs_to_its_function(lib):
    step = lib.Lambda(lambda value, k: (value, k))
    return [step.invoke(1, k=2), list(step.stream(1, k=2)), step.batch([1], k=2)]


@both([{"tags": ["t"], "max_concurrency": 3}, {"tags": ["n"], "max_concurrency": 3}, {}])
def calls_nested_in_a_lambda_inherit_the_config_by_context_variable(lib):
    inner = lib.Lambda(lambda value, config: seen(config))
    outer = lib.Lambda(lambda value: [inner.invoke(1), inner.invoke(1, {"tags": ["n"]})])
    config = {"tags": ["t"], "max_concurrency": 3, "run_name": "own"}
    return [*outer.invoke(1, config), inner.invoke(1)]


@both([[{"tags": ["t"]}], [{"tags": ["t"]}], [{"tags": ["t"]}], {"a": {"tags": ["t"]}}, {}])
def every_way_to_call_lets_nested_calls_inherit(lib):
    inner = lib.Lambda(lambda value, config: seen(config))

    def generating(value):
        yield inner.invoke(value)

    def transforming(chunks):
        yield from (inner.invoke(chunk) for chunk in chunks)

    config, outer = {"tags": ["t"]}, lib.Lambda(lambda value: inner.invoke(value))
    return [
        list(lib.Lambda(generating).stream(1, config)),
        list((outer | echo).stream(1, config)),
        list(lib.Generator(transforming).stream(1, config)),
        lib.Parallel(a=outer).invoke(1, config),
        outer.invoke(1),
    ]


@both([{}, {}])
def what_is_inherited_ends_with_the_call_and_does_not_leak_between_chunks_of_a_stream(lib):
    inner = lib.Lambda(lambda value, config: seen(config))
    stream = lib.Generator(copied).stream(1, {"tags": ["t"]})
    next(stream)
    within = inner.invoke(1)
    return [within, [*stream, inner.invoke(1)][-1]]


@both([3, [1, 2], [1, 2], "a", None, [], [3, 5]])
def a_generator_function_in_a_lambda_streams_and_invoke_folds_the_last_winning(lib):
    step = lib.Lambda(counting)
    return [
        step.invoke(1),
        list(step.stream(1)),
        list(step.transform(iter([1]))),
        lib.Lambda(unlike).invoke(1),
        lib.Lambda(silent).invoke(1),
        list(lib.Lambda(silent).stream(1)),
        step.batch([1, 2]),
    ]


@both([["called 3", 3, "called 3", 4]])
def a_lambda_folds_its_input_stream_and_streams_what_its_generator_yields(lib):
    log = []

    def step(value):
        for chunk in counting(value):
            log.append(f"called {value}")
            yield chunk

    for chunk in lib.Lambda(step).transform(iter([1, 2])):
        log.append(chunk)
    return [log]


@both([("inner", 1), [("inner", 1)], [("inner", 1)], ["a", "b"], {"tags": ["t"]}])
def a_runnable_that_a_lambda_returns_runs_with_the_same_input(lib):
    step = lib.Lambda(lambda value: lib.Lambda(lambda same: ("inner", same)))
    streaming = lib.Lambda(lambda value: model(lib, [], "a", "b"))
    configured = lib.Lambda(lambda value: plain(lib, lambda same, config: seen({**config, "recursion_limit": 25})))
    return [
        step.invoke(1),
        list(step.stream(1)),
        step.batch([1]),
        list(streaming.stream(1)),
        configured.invoke(1, {"tags": ["t"]}),
    ]


@both([[RecursionError, 26], [RecursionError, 4], [[RecursionError], 4], [RecursionError, 1], ["end", 3]])
def returned_runnables_run_up_to_recursion_limit(lib):
    def calls(run, end=None):
        count = [0]

        def again(value):
            count[0] += 1
            return "end" if count[0] == end else step

        step = lib.Lambda(again)
        return [run(step), count[0]]

    return [
        calls(lambda step: outcome(step.invoke, 1)),
        calls(lambda step: outcome(step.invoke, 1, {"recursion_limit": 3})),
        calls(lambda step: drained(step.stream(1, {"recursion_limit": 3}))),
        calls(lambda step: outcome(step.invoke, 1, {"recursion_limit": 0})),
        calls(lambda step: outcome(step.invoke, 1, {"recursion_limit": 3}), end=3),
    ]


@both([TypeError, TypeError, TypeError, [TypeError], [TypeError]])
def async_only_functions_raise_type_error_on_sync_calls(lib):
    step = lib.Lambda(aecho)
    return [
        outcome(step.invoke, 1),
        outcome(lib.Lambda(acopy).invoke, 1),
        outcome(step.batch, [1]),
        drained(step.stream(1)),
        drained(step.transform(iter([1]))),
    ]


@both([TypeError, 1])
def a_lambda_takes_a_function_or_a_plain_and_an_async_one(lib):
    return [outcome(lib.Lambda, 1), lib.Lambda(echo, aecho).invoke(1)]


@both([TypeError, TypeError])
def a_lambda_is_not_made_of_none_or_of_two_async_functions(lib):
    made = [outcome(lib.Lambda, None), outcome(lib.Lambda, aecho, aecho)]
    return [kind if isinstance(kind, type) else "made" for kind in made]


@ours(langchain=[[UnboundLocalError], []], fakellm=[[], []])
def an_empty_input_stream_of_a_lambda_makes_no_call_and_no_output(lib):
    log = []
    return [drained(lib.Lambda(log.append).transform(iter([]))), log]


@both([TypeError, []])
def the_transform_of_an_async_lambda_raises_before_it_pulls(lib):
    log = []
    return [outcome(next, lib.Lambda(aecho).transform(source(log, 1))), log]


@both(["X", ["X"], "XY", ["X", "Y"], ["XY", "Z"]])
def a_generator_streams_and_invoke_folds(lib):
    def each(chunks):
        for chunk in chunks:
            yield from chunk.upper()

    step = lib.Generator(each)
    return [
        step.invoke("x"),
        list(step.stream("x")),
        step.invoke("xy"),
        list(step.transform(iter("xy"))),
        step.batch(["xy", "z"]),
    ]


@both([[NotImplementedError] * 3, [NotImplementedError] * 2])
def a_generators_missing_side_raises_not_implemented_error_at_the_call(lib):
    only_async, only_sync = lib.Generator(acopy), lib.Generator(upper)
    sync = [outcome(call, "") for call in (only_async.stream, only_async.transform, only_async.invoke)]
    return [sync, [outcome(call, "") for call in (only_sync.astream, only_sync.atransform)]]


@both([None, [], "X", "X"])
def a_generator_without_output_gives_none_and_one_of_both_flavours_has_both(lib):
    return [
        lib.Generator(silent).invoke(1),
        list(lib.Generator(silent).stream(1)),
        lib.Generator(upper, acopy).invoke("x"),
        (lib.Lambda(echo) | upper).invoke("x"),
    ]


@ours(langchain=TypeError, fakellm="a")
def chunks_of_a_generator_that_do_not_add_up_fold_to_the_last(lib):
    return outcome(lib.Generator(unlike).invoke, 1)


@both([TypeError, TypeError, "made"])
def a_generator_takes_generator_functions_and_objects_with_an_async_generator_call(lib):
    made = outcome(lib.Generator, CallableGenerator())
    return [outcome(lib.Generator, echo), outcome(lib.Generator, 1), made if isinstance(made, type) else "made"]


class CallableSyncGenerator:
    def __call__(self, chunks):
        yield from chunks


@ours(langchain=[TypeError, "RunnableLambda"], fakellm=["made", "RunnableGenerator"])
def an_object_with_a_sync_generator_call_is_a_generator(lib):
    made = outcome(lib.Generator, CallableSyncGenerator())
    chain = lib.Lambda(echo) | CallableSyncGenerator()
    return [made if isinstance(made, type) else "made", type(chain.steps[1]).__name__]


@both(["seen", {"tags": ["t"]}, 2])
def a_generator_gets_the_config_and_kwargs(lib):
    def each(chunks, config, k):
        yield from ("seen", seen(config), k)

    return list(lib.Generator(each).stream(1, {"tags": ["t"]}, k=2))


# -- 4. wrappers ---------------------------------------------------------------------------------------


@both([{"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}, {"a": 5}, {}, True, [{"a": 1, "b": 2}] * 3])
def bind_merges_kwargs_the_call_site_winning_without_nesting(lib):
    step = plain(lib, lambda value, config, **kwargs: kwargs)
    bound = step.bind(a=1).bind(b=2)
    return [
        bound.invoke(1),
        bound.invoke(1, b=3, c=4),
        step.bind(a=1).bind(a=5).invoke(1),
        step.invoke(1),
        bound.bound is step,
        [*bound.stream(1), *bound.batch([1]), *bound.transform(iter([1]))],
    ]


@both([{"tags": ["a", "b", "c"]}, {"metadata": {"x": 1, "y": 3, "z": 4}}, {"configurable": {"x": [2], "y": [1]}}])
def with_config_unites_tags_sorted_and_merges_metadata_and_configurable(lib):
    step = plain(lib, lambda value, config: seen(config))
    return [
        step.with_config(tags=["c", "a"]).invoke(1, {"tags": ["b", "a"]}),
        step.with_config(metadata={"x": 1, "y": 2}).invoke(1, {"metadata": {"y": 3, "z": 4}}),
        step.with_config(configurable={"x": [1], "y": [1]}).invoke(1, {"configurable": {"x": [2]}}),
    ]


@both([{"run_name": "call"}, {"run_name": "own"}, {"max_concurrency": 2}, {"recursion_limit": 9}])
def with_config_lets_the_call_override_other_keys_unless_none(lib):
    step = plain(lib, lambda value, config: seen(config))
    return [
        step.with_config(run_name="own").invoke(1, {"run_name": "call"}),
        step.with_config(run_name="own").invoke(1, {"run_name": None}),
        step.with_config({"max_concurrency": 3}).invoke(1, {"max_concurrency": 2}),
        step.with_config(recursion_limit=7).invoke(1, {"recursion_limit": 9}),
    ]


@both([7])
def a_call_does_not_override_with_the_default_recursion_limit(lib):
    step = plain(lib, lambda value, config: config["recursion_limit"]).with_config(recursion_limit=7)
    return [step.invoke(1, {"recursion_limit": 25})]


@both([{"tags": ["b"], "run_name": "n"}, {"metadata": {"y": 2}}, {}])
def chained_with_config_replaces_keys_and_leaves_the_original_untouched(lib):
    step = plain(lib, lambda value, config: seen(config))
    named = step.with_config(tags=["a"], run_name="n")
    return [
        named.with_config(tags=["b"]).invoke(1),
        step.with_config(metadata={"x": 1}).with_config(metadata={"y": 2}).invoke(1),
        step.invoke(1),
    ]


@both([{"configurable": {"mine": [1]}}, {"configurable": {"mine": [2], "other": [3]}}])
def unknown_keys_land_in_configurable(lib):
    asks = lib.Lambda(lambda value, config: seen(config))
    return [asks.invoke(1, {"mine": [1]}), asks.with_config(mine=[2]).invoke(1, {"other": [3]})]


@both([{"tags": ["t"]}, {"tags": ["t"]}, {"a": {"tags": ["t"]}}, [{"tags": ["t"]}], {"tags": ["t"]}])
def children_inherit_the_config_but_not_run_name(lib):
    step, config = plain(lib, lambda value, config: seen(config)), {"tags": ["t"], "run_name": "own"}
    return [
        (lib.Lambda(echo) | step).invoke(1, config),
        (lib.Lambda(echo) | step).with_config(config).invoke(1),
        lib.Parallel(a=step).invoke(1, config),
        (lib.Lambda(echo) | step).batch([1], config),
        step.with_retry(wait_exponential_jitter=False).invoke(1, config),
    ]


@both([{"tags": ["b", "x"]}, {"tags": ["b", "y"]}, {"tags": ["b"]}, {"tags": ["b"]}, (0, {"tags": ["b"]})])
def with_config_reaches_every_call_of_a_batch_and_of_as_completed(lib):
    step = plain(lib, lambda value, config: seen(config)).with_config(tags=["b"])
    return [
        *step.batch([1, 2], [{"tags": ["x"]}, {"tags": ["y"]}]),
        *step.batch([1, 2]),
        *step.batch_as_completed([1]),
    ]


@ours(langchain=[[True, True], []], fakellm=[[True, False], [RuntimeWarning]])
def a_shared_run_id_goes_to_item_0_of_a_bindings_batch_only_too(lib):
    step = plain(lib, lambda value, config: config.get("run_id") is not None).bind()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return [step.batch([1, 2], {"run_id": uuid.UUID(int=1)}), [warning.category for warning in caught]]


@both([[["a"], ["b"]]])
def a_batch_takes_any_sequence_of_configs(lib):
    step = plain(lib, lambda value, config: config["tags"])
    return [step.batch([1, 2], ({"tags": ["a"]}, {"tags": ["b"]}))]


@ours(langchain=[AttributeError], fakellm=[[["a"], ["b"]]])
def a_bindings_batch_takes_any_sequence_of_configs_too(lib):
    step = plain(lib, lambda value, config: config["tags"]).bind()
    return [outcome(step.batch, [1, 2], ({"tags": ["a"]}, {"tags": ["b"]}))]


@both([{}, {"tags": ["t"]}])
def every_call_of_a_batch_gets_a_complete_config_with_what_is_inherited(lib):
    step = plain(lib, lambda value, config: type(config) if config is None else seen(config))
    nested = lib.Lambda(lambda value: step.batch([1])[0])
    return [step.batch([1])[0], nested.invoke(1, {"tags": ["t"]})]


@both([{"tags": ["t"]}])
def a_binding_nested_in_a_lambda_hands_on_what_it_inherits(lib):
    step = plain(lib, lambda value, config: seen(config)).bind()
    return [lib.Lambda(lambda value: step.invoke(1)).invoke(1, {"tags": ["t"]})]


@both([1, [1, 1, 1], "ValueError('1 3')", [1, 1, 1]])
def with_retry_calls_three_times_and_raises_the_last_error(lib):
    twice, twice_log = failing(2)
    always, always_log = failing(9)
    try:
        error = retried(lib, always).invoke(1)
    except ValueError as raised:
        error = repr(raised)
    return [retried(lib, twice).invoke(1), twice_log, error, always_log]


def tried(lib, kind, times=9, **options):
    call, log = failing(times, kind)
    return [outcome(retried(lib, call, **options).invoke, 1), len(log)]


@both([[ValueError, 5], [ValueError, 1], [KeyError, 1], [Fatal, 1], [1, 2]])
def with_retry_takes_attempts_and_types_and_only_exceptions_by_default(lib):
    return [
        tried(lib, ValueError, stop_after_attempt=5),
        tried(lib, ValueError, stop_after_attempt=1),
        tried(lib, KeyError, retry_if_exception_type=(ValueError,)),
        tried(lib, Fatal),
        tried(lib, Fatal, times=1, retry_if_exception_type=(Fatal,)),
    ]


@both([[ValueError, 2], [ValueError, 1]])
def with_retry_takes_a_predicate(lib):
    if lib is LIBRARIES["langchain"] and isinstance(outcome(retried, lib, echo, retry_if_exception_type=bool), type):
        pytest.skip("this langchain-core takes exception types only")
    return [
        tried(lib, ValueError, retry_if_exception_type=lambda error: "1 1" in str(error)),
        tried(lib, ValueError, retry_if_exception_type=lambda error: "1 2" in str(error)),
    ]


@both([[1, 2, 3], [1, 2, 3, 1, 3], [1, ValueError], [1, 2, 2, 2], ValueError])
def a_batch_with_retry_calls_again_only_what_failed(lib):
    log, other = [], []

    def once(value):
        log.append(value)
        return raising(ValueError)(value) if value != 2 and log.count(value) == 1 else value

    def two(value):
        other.append(value)
        return raising(ValueError)(value) if value == 2 else value

    sequential = {"max_concurrency": 1}
    return [
        retried(lib, once).batch([1, 2, 3], sequential),
        log,
        kinds(retried(lib, two).batch([1, 2], sequential, return_exceptions=True)),
        other.copy(),
        outcome(retried(lib, two).batch, [1, 2], sequential),
    ]


@both([[ValueError], [1], [ValueError], [1, 1]])
def with_retry_does_not_cover_stream_transform_and_as_completed(lib):
    call, log = failing(9)
    step = retried(lib, call)
    first = [drained(step.stream(1)), log.copy()]
    return [*first, drained(step.batch_as_completed([1])), log]


@ours(
    langchain=[["late"] * 2, ["late"] * 2, [ValueError] * 3], fakellm=[["late", KeyError], KeyError, [0, ValueError, 2]]
)
def each_item_of_a_batch_with_retry_keeps_its_own_result_or_error(lib):
    def batch(call, inputs, **options):
        return outcome(retried(lib, call, retry_if_exception_type=(KeyError,)).batch, inputs, **options)

    def late(log):
        def call(value):
            log.append(value)
            return value if value == "late" and log.count(value) == 3 else raising(KeyError)(value)

        return call

    def mixed(log):
        def call(value):
            log.append(value)
            attempt = log.count(value)
            return (
                value
                if value == 0 or (value, attempt) == (2, 3)
                else raising(ValueError if value == 1 and attempt == 3 else KeyError)(value)
            )

        return call

    return [
        kinds(batch(late([]), ["late", "never"], return_exceptions=True)),
        batch(late([]), ["late", "never"]),
        kinds(batch(mixed([]), [0, 1, 2], return_exceptions=True)),
    ]


@both([KeyError, 2])
def an_error_that_is_not_retried_does_not_stop_the_retry_of_an_item_before_it(lib):
    log = []

    def call(value):
        log.append(value)
        if value == "fatal":
            raise KeyError
        return raising(ValueError)(value) if log.count(value) == 1 else value

    came = outcome(retried(lib, call, retry_if_exception_type=(ValueError,)).batch, ["flaky", "fatal"])
    return [came, log.count("flaky")]


@both([("b", 1), ["a", "b"], "a", ["a"], KeyError, ["a"]])
def with_fallbacks_tries_in_order_for_exceptions_to_handle_and_raises_others_at_once(lib):
    log = []

    def named(name, kind=None):
        def call(value):
            log.append(name)
            return (name, value) if kind is None else raising(kind)(value)

        return lib.Lambda(call)

    def run(first, **options):
        log.clear()
        return outcome(first.with_fallbacks([named("b"), named("c")], **options).invoke, 1)

    handled = [run(named("a", ValueError)), log.copy()]
    fine = [run(named("a"))[0], log.copy()]
    return [*handled, *fine, run(named("a", KeyError), exceptions_to_handle=(ValueError,)), log.copy()]


@both([["x", 2], ["x", "fallback 2"], [KeyError, "x"], KeyError, [{"k": 1}] * 3])
def with_fallbacks_covers_batches_and_passes_kwargs(lib):
    fails_on_2 = lib.Lambda(lambda value: raising(ValueError)(value) if value == 2 else value)
    fallback = lib.Lambda(lambda value: f"fallback {value}")
    unhandled = lib.Lambda(lambda value: raising(KeyError)(value) if value == 2 else value)
    handling = unhandled.with_fallbacks([fallback], exceptions_to_handle=(ValueError,))
    failing_step = plain(lib, lambda value, config, **kwargs: raising(ValueError)(value))
    passing = failing_step.with_fallbacks([plain(lib, lambda value, config, **kwargs: kwargs)])
    return [
        fails_on_2.with_fallbacks([lib.Lambda(echo)]).batch(["x", 2]),
        fails_on_2.with_fallbacks([fallback]).batch(["x", 2]),
        kinds(handling.batch([2, "x"], return_exceptions=True)),
        outcome(handling.batch, ["x", 2]),
        [passing.invoke(1, k=1), *passing.batch([1], k=1), *passing.stream(1, k=1)],
    ]


@both([KeyError])
def an_error_that_is_not_handled_is_raised_at_once_from_a_batch(lib):
    step = lib.Lambda(lambda kind: raising(kind)(1)).with_fallbacks(
        [lib.Lambda(echo)], exceptions_to_handle=(ValueError,)
    )
    return [outcome(step.batch, [ValueError, KeyError])]


@both([["b1", "b2"], ["a1", ValueError], ["B1B2"]])
def a_stream_falls_back_only_before_the_first_chunk(lib):
    fallback = model(lib, [], "b1", "b2")
    return [
        list(model(lib, [], ValueError).with_fallbacks([fallback]).stream("")),
        drained(model(lib, [], "a1", ValueError).with_fallbacks([fallback]).stream("")),
        list((lib.Lambda(raising(ValueError)).with_fallbacks([fallback]) | str.upper).stream("")),
    ]


@both([["x", "error"], ValueError, {"x": 1, "error": True}, [ValueError], [ValueError, ValueError]])
def exception_key_gives_the_fallback_the_error_and_needs_dict_input(lib):
    first = lib.Lambda(raising(KeyError))
    step = first.with_fallbacks([lib.Lambda(lambda value: dict(value))], exception_key="error")
    output = step.invoke({"x": 1})
    streamed = next(step.stream({"x": 1}))
    return [
        list(output),
        outcome(step.invoke, 1),
        {**streamed, "error": isinstance(streamed["error"], KeyError)},
        drained(step.stream(1)),
        [outcome(step.batch, [1]), outcome(step.batch, [{}, 1], return_exceptions=True)],
    ]


@ours(langchain=[["x", "error"]] * 3, fakellm=[["x"]] * 3)
def exception_key_leaves_the_callers_dict_as_it_is(lib):
    step = lib.Lambda(raising(KeyError)).with_fallbacks([lib.Lambda(len)], exception_key="error")
    invoked, streamed, batched = {"x": 1}, {"x": 1}, {"x": 1}
    step.invoke(invoked)
    list(step.stream(streamed))
    step.batch([batched])
    return [list(invoked), list(streamed), list(batched)]


@ours(langchain=[KeyError, [KeyError], IndexError, [IndexError]], fakellm=[KeyError, [KeyError], KeyError, [KeyError]])
def when_all_fail_the_first_error_is_raised_in_every_method(lib):
    step = lib.Lambda(raising(KeyError)).with_fallbacks(
        [lib.Lambda(raising(kind)) for kind in (ValueError, IndexError)]
    )
    return [
        outcome(step.invoke, 1),
        drained(step.stream(1)),
        outcome(step.batch, [1]),
        kinds(step.batch([1], return_exceptions=True)),
    ]


@ours(langchain=[["b"], [RuntimeError]], fakellm=[[], []])
def an_empty_primary_stream_is_a_result_not_a_failure(lib):
    empty = model(lib, [])
    return [
        list(empty.with_fallbacks([model(lib, [], "b")]).stream("")),
        drained(empty.with_fallbacks([empty]).stream("")),
    ]


@ours(langchain=[{"tags": ["t"], "run_name": "own"}, {"tags": ["t"]}], fakellm=[{"tags": ["t"]}] * 2)
def the_runnables_of_with_fallbacks_do_not_inherit_run_name_either(lib):
    step, config = plain(lib, lambda value, config: seen(config)), {"tags": ["t"], "run_name": "own"}
    wrapped = step.with_fallbacks([step])
    return [wrapped.invoke(1, config), *wrapped.batch([1], config)]


@ours(langchain=[{}], fakellm=[{"tags": ["t"]}])
def with_fallbacks_hands_its_config_to_stream(lib):
    step = plain(lib, lambda value, config: seen(config))
    return list(step.with_fallbacks([step]).stream(1, {"tags": ["t"]}))


# -- 5. closing ----------------------------------------------------------------------------------------


CLOSED, AFTER_STEP = ["a", "got a", "closed", "returned"], ["a", "got A", "closed", "returned"]
DRAINED = ["a", "got A", "b", "c", "closed", "returned"]


def closings(lib, makers):
    """Return what is seen, for each way to build around a model, when a consumer closes after one chunk."""
    logs = []
    for make in makers:
        log = []
        stream = make(model(lib, log, "a", "b", "c")).stream("")
        log.append(f"got {next(stream)}")
        stream.close()
        logs.append([*log, "returned"])
    return logs


@both([CLOSED] * 7)
def closing_a_stream_closes_its_source_before_close_returns(lib):
    makers = [
        lambda source: source,
        lambda source: lib.Lambda(echo) | source,
        lambda source: lib.Lambda(lambda value: source),
        lambda source: source.bind(),
        lambda source: source.with_config(tags=["t"]),
        lambda source: source.with_retry(wait_exponential_jitter=False),
        lambda source: source.with_fallbacks([source]),
    ]
    return closings(lib, makers)


@ours(langchain=[DRAINED] * 3, fakellm=[AFTER_STEP] * 3)
def closing_closes_the_source_through_a_streaming_step_and_does_not_drain_it(lib):
    makers = [
        lambda source: source | lib.Generator(upper),
        lambda source: source | lib.Generator(upper) | upper,
        lambda source: lib.Lambda(echo) | source.bind() | lib.Generator(upper).with_config(tags=["t"]),
    ]
    return closings(lib, makers)


# LangChain leaves it to the interpreter, which since Python 3.13 frees the frame of a closed generator at once.
@ours(langchain=[CLOSED if sys.version_info >= (3, 13) else ["a", "got a", "returned"]], fakellm=[CLOSED])
def closing_closes_a_fallback_before_close_returns(lib):
    with no_garbage_collection():
        return closings(lib, [lambda source: lib.Lambda(raising(ValueError)).with_fallbacks([source])])


@both([["a", "got {'a': 'a'}", "closed", "returned"]])
def closing_closes_the_steps_of_a_parallel(lib):
    return closings(lib, [lambda source: lib.Parallel(a=source)])


@ours(langchain=[[1], [1, 2, 3, "closed"]], fakellm=[[1], [1, "closed"]])
def a_step_that_ends_early_closes_its_source_and_does_not_drain_it(lib):
    def first(chunks):
        yield next(chunks)

    log = []
    return [list(lib.Generator(first).transform(source(log, 1, 2, 3))), log]


@ours(langchain=["pulled", "started"], fakellm=["started", "pulled"])
def a_generator_starts_before_it_pulls(lib):
    log = []

    def pulled():
        log.append("pulled")
        yield 1

    def step(chunks):
        log.append("started")
        yield from chunks

    list(lib.Generator(step).transform(pulled()))
    return log


@both([["a", "closed"], ["a", "closed"], ["a", "closed"]])
def an_error_in_a_step_closes_the_source(lib):
    logs = []
    for make in (lambda step: step, lambda step: step.bind(), lambda step: step | upper):
        log = []
        failing_step = lib.Generator(each_through(raising(ValueError)))
        with no_garbage_collection():
            came = drained((model(lib, log, "a", "b") | make(failing_step)).stream(""))
        assert came == [ValueError]
        logs.append(log)
    return logs


def each_through(function):
    def step(chunks):
        for chunk in chunks:
            yield function(chunk)

    return step


@each(("scenario", "library", "expected"), TABLE)
def test_observed_as_written(scenario, library, expected):
    assert scenario(LIBRARIES[library]) == expected
