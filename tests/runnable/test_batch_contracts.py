"""The promises of batches, each on the base class and on every composed kind, in threads and in tasks."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kinds import KINDS, Broken, Once
from vectors import each

from fakellm import Runnable

kinds = pytest.mark.parametrize("kind", KINDS, ids=str)
PATIENCE = 10  # seconds until a gate that never opens fails the test


class Gated(Runnable[int, str]):
    """Answers `n` only after `n + 1` was answered; the last input is answered first."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.open = [threading.Event() for _ in range(last + 2)]
        self.aopen = [anyio.Event() for _ in range(last + 2)]
        self.open[last + 1].set()
        self.aopen[last + 1].set()
        self.finished: list[int] = []

    def _finish(self, number):
        self.finished.append(number)
        self.open[number].set()
        self.aopen[number].set()
        return f"answer {number}"

    def invoke(self, input, config=None, **kwargs):
        assert self.open[input + 1].wait(PATIENCE)
        return self._finish(input)

    async def ainvoke(self, input, config=None, **kwargs):
        with anyio.fail_after(PATIENCE):
            await self.aopen[input + 1].wait()
        return self._finish(input)

    async def astream(self, input, config=None, **kwargs):
        yield await self.ainvoke(input)


class Crowd(Runnable[int, int]):
    """Counts how many calls run at a time; each waits until `full` of them do."""

    def __init__(self, full: int) -> None:
        self.full = full
        self.running = 0
        self.most = 0
        self.calls = 0
        self.changed = threading.Condition()
        self.is_full = anyio.Event()

    def _enter(self):
        self.running += 1
        self.calls += 1
        self.most = max(self.most, self.running)

    def invoke(self, input, config=None, **kwargs):
        with self.changed:
            self._enter()
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: self.most >= self.full, PATIENCE)
            self.running -= 1
        return input

    async def ainvoke(self, input, config=None, **kwargs):
        self._enter()
        if self.most >= self.full:
            self.is_full.set()
        with anyio.fail_after(PATIENCE):
            await self.is_full.wait()
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        self.running -= 1
        return input


def plain(kind, outputs):
    return [output["out"] if isinstance(output, dict) else output for output in outputs]


@each(kinds)
def test_a_batch_keeps_the_order_of_its_inputs_when_calls_complete_in_reverse(kind):
    gated = Gated(last=3)

    outputs = plain(kind, kind.wrap(gated).batch([0, 1, 2, 3]))

    assert outputs == ["answer 0", "answer 1", "answer 2", "answer 3"]
    assert gated.finished == [3, 2, 1, 0]


@kinds
@pytest.mark.anyio
async def test_an_asynchronous_batch_keeps_the_order_of_its_inputs(kind):
    gated = Gated(last=5)

    outputs = plain(kind, await kind.wrap(gated).abatch(range(6)))

    assert outputs == [f"answer {n}" for n in range(6)]
    assert gated.finished == [5, 4, 3, 2, 1, 0]


class Opened(Runnable[int, int]):
    """Answers `n` once the test lets it."""

    def __init__(self, size: int) -> None:
        self.open = [threading.Event() for _ in range(size)]
        self.aopen = [anyio.Event() for _ in range(size)]

    def let(self, number):
        self.open[number].set()
        self.aopen[number].set()

    def invoke(self, input, config=None, **kwargs):
        assert self.open[input].wait(PATIENCE)
        return input

    async def ainvoke(self, input, config=None, **kwargs):
        with anyio.fail_after(PATIENCE):
            await self.aopen[input].wait()
        return input

    async def astream(self, input, config=None, **kwargs):
        yield await self.ainvoke(input)


@each(kinds)
def test_as_completed_yields_in_the_order_of_completion(kind):
    opened = Opened(4)
    pairs = kind.wrap(opened).batch_as_completed(range(4))

    for number in (3, 1, 0, 2):
        opened.let(number)
        index, output = next(pairs)
        assert [index, *plain(kind, [output])] == [number, number]

    assert list(pairs) == []


@kinds
@pytest.mark.anyio
async def test_as_completed_yields_in_the_order_of_completion_asynchronously(kind):
    opened = Opened(4)
    pairs = kind.wrap(opened).abatch_as_completed(range(4))

    for number in (3, 1, 0, 2):
        opened.let(number)
        index, output = await anext(pairs)
        assert [index, *plain(kind, [output])] == [number, number]

    assert [pair async for pair in pairs] == []


@each(kinds)
@each("bound", [1, 2, 3])
def test_no_more_than_max_concurrency_calls_run_at_a_time(kind, bound):
    crowd = Crowd(full=bound)

    outputs = kind.wrap(crowd).batch(range(7), {"max_concurrency": bound})

    assert plain(kind, outputs) == list(range(7))
    assert crowd.most == bound


@kinds
@pytest.mark.anyio
async def test_no_more_than_max_concurrency_tasks_run_at_a_time(kind):
    for bound in [1, 2, 3]:
        crowd = Crowd(full=bound)

        outputs = await kind.wrap(crowd).abatch(range(7), {"max_concurrency": bound})

        assert plain(kind, outputs) == list(range(7))
        assert crowd.most == bound


@each(kinds)
@each("bound", [1, 2])
def test_as_completed_keeps_the_bound_too(kind, bound):
    crowd = Crowd(full=bound)

    pairs = list(kind.wrap(crowd).batch_as_completed(range(5), {"max_concurrency": bound}))

    assert sorted(index for index, _ in pairs) == list(range(5))
    assert crowd.most == bound


@pytest.mark.exhaustive
@kinds
@pytest.mark.anyio
async def test_as_completed_keeps_the_bound_too_asynchronously(kind):
    crowd = Crowd(full=2)

    pairs = [pair async for pair in kind.wrap(crowd).abatch_as_completed(range(5), {"max_concurrency": 2})]

    assert sorted(index for index, _ in pairs) == list(range(5))
    assert crowd.most == 2


@pytest.mark.exhaustive
@kinds
@pytest.mark.anyio
async def test_without_a_bound_all_tasks_run_at_once(kind):
    if kind.name == "lambda of a plain generator function":
        pytest.skip("its tasks run in the event loop's worker threads, which have a bound of their own")
    crowd = Crowd(full=50)

    await kind.wrap(crowd).abatch(range(50))

    assert crowd.most == 50


class Failing(Runnable[int, int]):
    """Fails on the inputs that it is told; the higher of them first."""

    def __init__(self, *bad: int, error: type[BaseException] = Broken) -> None:
        self.bad = bad
        self.error = error
        self.failed = {number: threading.Event() for number in bad}
        self.called: list[int] = []

    def invoke(self, input, config=None, **kwargs):
        self.called.append(input)
        if input in self.bad:
            for higher in self.bad:
                if higher > input:
                    assert self.failed[higher].wait(PATIENCE)
            self.failed[input].set()
            raise self.error(str(input))
        return input


@each(kinds)
def test_the_failure_with_the_lowest_index_is_raised_even_if_another_came_first(kind):
    with pytest.raises(Broken, match="1"):
        kind.wrap(Failing(1, 3)).batch(range(4))


@each(kinds)
def test_failures_sit_in_their_places_with_return_exceptions(kind):
    outputs = kind.wrap(Failing(1, 3)).batch(range(4), return_exceptions=True)

    assert plain(kind, [outputs[0], outputs[2]]) == [0, 2]
    assert [str(outputs[1]), str(outputs[3])] == ["1", "3"]


@pytest.mark.exhaustive
@kinds
@pytest.mark.anyio
async def test_failures_sit_in_their_places_with_return_exceptions_asynchronously(kind):
    outputs = await kind.wrap(Failing(3)).abatch(range(4), return_exceptions=True)

    assert plain(kind, outputs[:3]) == [0, 1, 2]
    assert isinstance(outputs[3], Broken)


class Fatal(BaseException):
    pass


@each(kinds)
def test_what_is_no_exception_is_raised_always(kind):
    with pytest.raises(Fatal):
        kind.wrap(Failing(1, error=Fatal)).batch(range(3), return_exceptions=True)


@kinds
@pytest.mark.anyio
async def test_what_is_no_exception_is_raised_always_asynchronously(kind):
    with pytest.raises(Fatal):
        await kind.wrap(Failing(1, error=Fatal)).abatch(range(3), return_exceptions=True)


def test_nothing_behind_a_failure_is_started_even_while_the_caller_still_waits_for_the_first():
    called, failed = [], threading.Event()

    class Second(Runnable):
        def invoke(self, input, config=None, **kwargs):
            called.append(input)
            if input == 0:
                assert failed.wait(PATIENCE)
                assert first_is_free.wait(PATIENCE)
            if input == 1:
                failed.set()
                raise Broken
            return input

    first_is_free = threading.Event()
    submit = ThreadPoolExecutor.submit
    behind = []

    def counted(pool, *args):
        future = submit(pool, *args)
        future.add_done_callback(lambda _: (behind.append(1), len(behind) == 4 and first_is_free.set()))
        return future

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ThreadPoolExecutor, "submit", counted)
        with pytest.raises(Broken):
            Second().batch(range(5), {"max_concurrency": 2})

    assert sorted(called) == [0, 1]


@pytest.fixture
def released_once_cancelled(monkeypatch):
    """An event that is set when a pool with waiting work was told to give that up."""
    release = threading.Event()
    shutdown = ThreadPoolExecutor.shutdown

    def cancel_then_release(pool, *, wait, cancel_futures):
        if not pool._work_queue.empty():
            shutdown(pool, wait=False, cancel_futures=cancel_futures)
            release.set()
        shutdown(pool, wait=wait, cancel_futures=cancel_futures)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", cancel_then_release)
    return release


class Held(Runnable[int, int]):
    """Input 1 is held until the test releases it; input 0 fails if it is told to."""

    def __init__(self, release: threading.Event, *, fails: bool) -> None:
        self.release = release
        self.fails = fails
        self.called: list[int] = []

    def invoke(self, input, config=None, **kwargs):
        self.called.append(input)
        if input == 0 and self.fails:
            raise Broken
        if input == 1:
            assert self.release.wait(PATIENCE)
        return input


@kinds
def test_after_a_failure_nothing_more_is_started(kind, released_once_cancelled):
    if kind.name in ("with_retry", "with_fallbacks"):
        pytest.skip("it finds out about all failures first, since it can mend them")
    held = Held(released_once_cancelled, fails=True)

    with pytest.raises(Broken):
        kind.wrap(held).batch(range(100), {"max_concurrency": 1})

    assert held.called in ([0], [0, 1])


def test_what_a_pool_lets_its_threads_take_while_it_is_shut_down_does_not_start(monkeypatch):
    release = threading.Event()
    shutdown = ThreadPoolExecutor.shutdown

    def slow_to_cancel(pool, *, wait, cancel_futures):
        release.set()
        shutdown(pool, wait=wait, cancel_futures=False)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", slow_to_cancel)
    held = Held(release, fails=False)
    pairs = held.batch_as_completed(range(100), {"max_concurrency": 1})
    assert next(pairs)[0] == 0
    pairs.close()

    assert held.called in ([0], [0, 1])


@kinds
def test_closing_as_completed_cancels_what_has_not_started(kind, released_once_cancelled):
    held = Held(released_once_cancelled, fails=False)
    pairs = kind.wrap(held).batch_as_completed(range(100), {"max_concurrency": 1})

    assert next(pairs)[0] == 0
    pairs.close()

    assert held.called in ([0], [0, 1])


@each(kinds)
def test_an_empty_batch_is_an_empty_list_before_any_config_check(kind):
    assert kind.wrap(Once()).batch([], [{}, {}]) == []
    assert list(kind.wrap(Once()).batch_as_completed([], [{}, {}])) == []


@each(kinds)
def test_configs_and_inputs_must_be_as_many(kind):
    once = Once()

    with pytest.raises(ValueError, match="2 were given for 3 inputs"):
        kind.wrap(once).batch([1, 2, 3], [{}, {}])

    assert once.calls == 0


@each(kinds)
@each("bound", [0, -1, True, "2"])
def test_a_bound_below_one_is_refused(kind, bound):
    with pytest.raises(ValueError, match="max_concurrency is a number of calls from 1 up"):
        kind.wrap(Once()).batch([1, 2], {"max_concurrency": bound})


def test_one_input_is_called_in_the_callers_thread():
    class Where(Runnable):
        def invoke(self, input, config=None, **kwargs):
            return threading.current_thread()

    assert Where().batch([1]) == [threading.current_thread()]
    assert threading.current_thread() not in Where().batch([1, 2])
    assert list(Where().batch_as_completed([1])) == [(0, threading.current_thread())]


def test_calls_see_a_copy_of_the_callers_context():
    variable = ContextVar("variable", default="unset")

    class See(Runnable):
        def invoke(self, input, config=None, **kwargs):
            seen = variable.get()
            variable.set(f"changed by {input}")
            return seen

    variable.set("mine")
    assert See().batch(range(8), {"max_concurrency": 1}) == ["mine"] * 8
    assert variable.get() == "mine"


@pytest.mark.anyio
async def test_tasks_see_a_copy_of_the_callers_context():
    variable = ContextVar("variable", default="unset")

    class See(Runnable):
        def invoke(self, input, config=None, **kwargs):
            raise NotImplementedError

        async def ainvoke(self, input, config=None, **kwargs):
            seen = variable.get()
            variable.set(f"changed by {input}")
            return seen

    variable.set("mine")
    assert await See().abatch(range(8), {"max_concurrency": 2}) == ["mine"] * 8
    assert variable.get() == "mine"


def test_a_shared_run_id_goes_to_the_first_input_with_a_warning():
    class Ids(Runnable):
        def invoke(self, input, config=None, **kwargs):
            return (config or {}).get("run_id")

    with pytest.warns(RuntimeWarning, match="first input"):
        assert Ids().batch([1, 2, 3], {"run_id": "r"}) == ["r", None, None]


class Endless(Runnable[int, int]):
    """Its first call ends at once, the others when they are cancelled."""

    def __init__(self) -> None:
        self.cancelled: list[int] = []
        self.started = 0

    def invoke(self, input, config=None, **kwargs):
        raise NotImplementedError

    async def ainvoke(self, input, config=None, **kwargs):
        self.started += 1
        if input == 0:
            await anyio.lowlevel.checkpoint()
            return 0
        if input == -1:
            while self.started < 3:
                await anyio.lowlevel.checkpoint()
            raise Broken
        try:
            await anyio.sleep_forever()
        except BaseException:
            self.cancelled.append(input)
            raise


@pytest.mark.anyio
async def test_closing_as_completed_cancels_what_runs_and_waits_for_its_end():
    endless = Endless()
    pairs = endless.abatch_as_completed([1, 0, 2])

    assert await anext(pairs) == (1, 0)
    await pairs.aclose()

    assert sorted(endless.cancelled) == [1, 2]


@pytest.mark.anyio
async def test_a_failure_cancels_the_others_and_waits_for_their_end():
    endless = Endless()

    with pytest.raises(Broken):
        await endless.abatch([1, -1, 2])

    assert sorted(endless.cancelled) == [1, 2]


@pytest.mark.anyio
async def test_cancelling_a_batch_cancels_its_calls_and_waits_for_their_end():
    endless = Endless()

    async with anyio.create_task_group() as group:
        group.start_soon(endless.abatch, [1, 2, 3])
        while endless.started < 3:
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()

    assert sorted(endless.cancelled) == [1, 2, 3]


@settings(max_examples=25)
@given(
    inputs=st.lists(st.integers(0, 9), max_size=8),
    bad=st.sets(st.integers(0, 9)),
    bound=st.none() | st.integers(1, 4),
    backend=st.sampled_from(["asyncio", "trio"]),
)
def test_all_batch_methods_agree(inputs, bad, bound, backend):
    class Some(Runnable):
        def invoke(self, input, config=None, **kwargs):
            if input in bad:
                raise Broken(input)
            return input * 2

        async def ainvoke(self, input, config=None, **kwargs):
            await anyio.lowlevel.checkpoint()
            return self.invoke(input)

    def shown(outputs):
        return [repr(output) for output in outputs]

    config = {"max_concurrency": bound}
    wanted = [repr(Broken(n)) if n in bad else repr(n * 2) for n in inputs]

    async def asynchronous():
        completed = Some().abatch_as_completed(inputs, config, return_exceptions=True)
        return (
            await Some().abatch(inputs, config, return_exceptions=True),
            [output for _, output in sorted([pair async for pair in completed], key=lambda pair: pair[0])],
        )

    completed = sorted(Some().batch_as_completed(inputs, config, return_exceptions=True), key=lambda pair: pair[0])
    assert shown(Some().batch(inputs, config, return_exceptions=True)) == wanted
    assert shown([output for _, output in completed]) == wanted
    assert [shown(outputs) for outputs in anyio.run(asynchronous, backend=backend)] == [wanted, wanted]
