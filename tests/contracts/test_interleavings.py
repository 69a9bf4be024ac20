"""Interleavings: every order of the chunks of several streams; broken apps are caught in the smallest order."""

from __future__ import annotations

import asyncio
import itertools
import re

import openai
import pytest
from vectors import each

from fakellm import FakeProvider, Finish, Pause, Script, ToolCall
from fakellm.contracts.interleavings import every_interleaving
from fakellm.contracts.merges import read as read_merge
from fakellm.contracts.merges import shown, switches
from fakellm.errors import BrokenContractError, ContractUsageError
from fakellm.http.interception import intercept

A, B = Script.of("abc", split="characters"), Script.of("xyz", split="characters")


async def read(model):
    return "".join([chunk async for chunk in model.astream("?")])


def failure(app, *scripts, **options):
    with pytest.raises(BrokenContractError) as caught:
        every_interleaving(app, *scripts, **options)
    assert caught.value.contract == "crossed_streams"
    return str(caught.value)


def line(label, text):
    """Return what a row of a failure says."""
    return re.search(rf"^  {label}: +(.*)$", text, re.MULTILINE)[1]


# -- correct apps -----------------------------------------------------------------------------------------


async def both(a, b):
    return await asyncio.gather(read(a), read(b))


async def one_then_the_other(a, b):
    return [await read(a), await read(b)]


async def locked(a, b):
    lock = asyncio.Lock()
    total = ""

    async def add(model):
        nonlocal total
        async for chunk in model.astream("?"):
            async with lock:
                before = total
                await asyncio.sleep(0.1)
                total = before + chunk

    await asyncio.gather(add(a), add(b))
    return sorted(total)


async def first_only(a, b):
    """Closes the other stream when one has ended."""
    tasks = [asyncio.create_task(read(model)) for model in (a, b)]
    try:
        return await tasks[0]
    finally:
        tasks[1].cancel()


async def with_threads(a, b):
    """Works in a thread after each chunk, and in the order of the chunks."""
    order = []

    async def work(model):
        async for chunk in model.astream("?"):
            order.append(await asyncio.to_thread(str.upper, chunk))

    await asyncio.gather(work(a), work(b))
    return sorted(order)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("app", "count"), [(both, 20), (one_then_the_other, 1), (locked, 94), (first_only, 20), (with_threads, 20)]
)
def test_correct_apps_pass(app, count):
    assert every_interleaving(app, [A, B]) <= count
    if app in (both, first_only):
        assert every_interleaving(app, A, B) == every_interleaving(app, [A, B])


def test_every_order_is_tried_once():
    seen = []

    async def app(a, b):
        order = []

        async def note(model):
            async for chunk in model.astream("?"):
                order.append(chunk)

        await asyncio.gather(note(a), note(b))
        seen.append("".join(order))
        return sorted(order)

    assert every_interleaving(app, A, B) == 20
    orders = {"".join(o) for o in itertools.permutations("abcxyz") if "".join(o).find("a") < "".join(o).find("b")}
    legal = {o for o in orders if o.index("b") < o.index("c") and o.index("x") < o.index("y") < o.index("z")}
    assert set(seen) == legal
    assert len(seen) == 22  # one after the other runs twice more, to be compared with


def test_work_in_a_thread_is_waited_for():
    async def app(a, b):
        order = []

        async def work(model):
            async for chunk in model.astream("?"):
                order.append(await asyncio.to_thread(str.upper, chunk))

        await asyncio.gather(work(a), work(b))
        return "".join(order)

    text = failure(app, A, B, check=lambda order: order != "AXBYCZ")
    assert line("order", text) == "a1 | b1 | a2 | b2 | a3 | b3"


def test_chunks_of_all_kinds_and_pauses():
    async def app(a, b):
        async def add_up(model):
            total = None
            async for chunk in model.astream("?"):
                total = chunk if total is None else total + chunk
            return total

        return [(m.content, m.tool_calls) for m in await asyncio.gather(add_up(a), add_up(b))]

    calling = Script("x", Pause(5), ToolCall("f", '{"a"'), ToolCall(arguments=":1}"), Finish("tool_calls"))
    assert every_interleaving(app, calling, Script("p", "q")) == 15


# -- broken ones ------------------------------------------------------------------------------------------


async def held_over_a_chunk(a, b):
    """Reads the total, waits for the next chunk, and writes: what came meanwhile is lost."""
    total = 0

    async def count(model):
        nonlocal total
        stream = model.astream("?")
        async for _ in stream:
            before = total
            async for _ in stream:
                break
            total = before + 2

    await asyncio.gather(count(a), count(b))
    return total


async def by_completion(a, b):
    return [await done for done in asyncio.as_completed([read(a), read(b)])]


async def lock_order(a, b):
    """Takes two locks, each stream in another order."""
    locks = asyncio.Lock(), asyncio.Lock()

    async def work(model, first, second):
        stream = model.astream("?")
        await anext(stream)
        async with locks[first]:
            await anext(stream)
            async with locks[second]:
                return await anext(stream)

    return await asyncio.gather(
        asyncio.create_task(work(a, 0, 1), name="ab"), asyncio.create_task(work(b, 1, 0), name="ba")
    )


def test_a_result_in_the_order_of_completion():
    text = failure(by_completion, A, B)

    assert line("order", text) == "b1 b2 b3 | a1 a2 a3"
    assert line("got", text) == "returned ['xyz', 'abc']"
    assert line("expected", text) == "returned ['abc', 'xyz'], as one after the other"
    assert line("tried", text) == "order 2 of 20"


def test_a_lost_update():
    text = failure(held_over_a_chunk, Script.of("abcd", every=1), Script.of("wxyz", every=1))

    assert line("order", text) == "a1 a2 a3 | b1 b2 b3 b4 | a4"
    assert line("got", text) == "returned 4"
    assert line("expected", text).startswith("returned 8,")


def switches_of(text):
    return line("order", text).count("|")


def test_a_shared_buffer():
    async def app(a, b):
        state = {}

        async def read_shared(model, name):
            state["current"] = name
            seen = {}
            async for chunk in model.astream("?"):
                seen.setdefault(state["current"], []).append(chunk)
                state["current"] = name
            return seen

        async def second(model):
            stream = model.astream("?")
            first = await anext(stream)
            state["current"] = "b"
            return [first, *[chunk async for chunk in stream]]

        return await asyncio.gather(read_shared(a, "a"), second(b))

    text = failure(app, A, B)
    assert switches_of(text) <= 2


def test_a_deadlock_names_its_tasks():
    text = failure(lock_order, A, B)

    assert "lock_order hangs in one order" in text
    assert line("order", text) == "a1 | b1 b2 | a2"
    assert "ab: lock_order.<locals>.work" in text
    assert "ba: lock_order.<locals>.work" in text
    assert "the code under test, " in text
    assert "gates" not in text


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "name", ["by_completion", "held_over_a_chunk", "lock_order", "held_over_a_sleep", "flushing_later"]
)
def test_verdicts_are_the_same_twice_and_the_line_replays(name):
    app = globals()[name]
    scripts = Script.of("abc", every=1), Script.of("wxyz", every=1)
    text = failure(app, *scripts)

    assert failure(app, *scripts) == text
    only = re.search(r"only='(.*)'", line("replay", text))[1]
    again = failure(app, *scripts, only=only)
    assert line("order", again) == line("order", text)
    assert line("got", again) == line("got", text)


@pytest.mark.exhaustive
def test_too_many_orders_are_sampled_by_a_seed():
    long = Script.of("abcdefgh", every=1)

    assert every_interleaving(both, long, long, limit=50) == 50
    assert every_interleaving(both, long, long) == 300
    assert every_interleaving(both, Script.of("word " * 40), Script.of("word " * 40)) == 62
    text = failure(held_over_a_chunk, long, long, limit=50, seed=7)
    assert line("tried", text).endswith("of 12870, sampled with seed=7, limit=50")
    assert switches_of(text) == 2
    assert text == failure(held_over_a_chunk, long, long, limit=50, seed=7)


def test_a_check_is_asked_instead():
    assert every_interleaving(by_completion, A, B, check=lambda result: sorted(result) == ["abc", "xyz"]) == 20
    text = failure(by_completion, A, B, check=lambda result: result[0] == "abc")
    assert "check returned False for ['xyz', 'abc']" in text


def test_code_that_is_not_deterministic_is_told_apart():
    counter = itertools.count()

    async def counting(a, b):
        await both(a, b)
        return next(counter)

    with pytest.raises(ContractUsageError, match="nondeterministic: twice the same order"):
        every_interleaving(counting, A, B)

    async def later(a, b):
        done = await by_completion(a, b)
        return next(counter) if done[0] == "xyz" else 0

    assert "the code under test is nondeterministic" in failure(later, A, B)


# -- code that sleeps -------------------------------------------------------------------------------------


async def held_over_a_sleep(a, b):
    """Reads the total, sleeps, and writes: what another stream wrote meanwhile is lost."""
    total = 0

    async def count(model):
        nonlocal total
        async for _ in model.astream("?"):
            before = total
            await asyncio.sleep(0.1)
            total = before + 1

    await asyncio.gather(count(a), count(b))
    return total


async def with_a_heartbeat(a, b):
    """Beats for ever in the background, gives up a stream after a while, and begins one of them late."""

    async def beat():
        while True:  # noqa: ASYNC110
            await asyncio.sleep(1)

    async def late(model):
        await asyncio.sleep(0.5)
        return await read(model)

    beats = [asyncio.create_task(beat()), asyncio.create_task(beat())]
    try:
        async with asyncio.timeout(30):
            return await asyncio.gather(read(a), late(b))
    finally:
        for task in beats:
            task.cancel()


async def with_a_limit(a, b):
    """Waits for the other stream, at most for a minute, between chunks."""
    turn = asyncio.Event()

    async def first(model):
        stream = model.astream("?")
        said = await anext(stream)
        async with asyncio.timeout(60):
            await turn.wait()
        return said + "".join([chunk async for chunk in stream])

    async def second(model):
        said = await read(model)
        turn.set()
        return said

    return await asyncio.gather(first(a), second(b))


async def flushing_later(a, b):
    """Puts each chunk away a moment later, in a task of its own: two that come at once overwrite each other."""
    shelf, kept, tasks = {}, [], []

    async def flush():
        await asyncio.sleep(0.01)
        if shelf:
            kept.append(shelf.pop("chunk"))

    async def keep(model):
        async for chunk in model.astream("?"):
            shelf["chunk"] = chunk
            tasks.append(asyncio.create_task(flush()))

    await asyncio.gather(keep(a), keep(b))
    await asyncio.gather(*tasks)
    return sorted(kept)


async def sleeping_before_the_next(a, b):
    await asyncio.gather(*(pausing(model) for model in (a, b)))


async def pausing(model):
    async for _ in model.astream("?"):
        await asyncio.sleep(3)


def test_an_update_that_is_lost_while_it_sleeps():
    text = failure(held_over_a_sleep, Script("a", "b"), Script("c", "d"))

    assert line("order", text) == "a1 a2 | b1~ b2"
    assert line("~", text).startswith("this chunk comes early")
    assert line("got", text) == "returned 3"
    assert line("expected", text) == "returned 4, as one after the other"
    assert line("tried", text) == "6 of 6 orders, and 1 with early chunks"


def test_a_chunk_that_comes_before_the_last_one_was_put_away():
    text = failure(flushing_later, Script("a", "b"), Script("c", "d"))

    assert line("order", text).count("~") == 1
    assert switches_of(text) == 1


@pytest.mark.parametrize("app", [with_a_heartbeat, with_a_limit, sleeping_before_the_next])
@pytest.mark.exhaustive
def test_what_beats_and_what_limits_is_not_waited_for(app):
    assert every_interleaving(app, A, B) >= 3


@pytest.mark.exhaustive
def test_all_orders_come_true_where_code_sleeps():
    seen = set()

    async def app(a, b):
        order = []

        async def note(model):
            async for chunk in model.astream("?"):
                order.append(chunk)
                await asyncio.sleep(0.1)

        await asyncio.gather(note(a), note(b))
        seen.add("".join(order))
        return sorted(order)

    count = every_interleaving(app, A, B)
    assert len(seen) == 20
    assert 40 < count <= 20 + 300


# -- streams that nobody reads ----------------------------------------------------------------------------


async def bound_late(a, b):
    async def collect(model):
        return [chunk async for chunk in model.astream("?")]

    work = []
    for model in (a, b):

        async def one():
            return await collect(model)  # noqa: B023 - the bug

        work.append(one)
    return await asyncio.gather(*(one() for one in work))


async def only_the_first(a, b):
    return await read(a)


async def the_other_only_if_it_is_first(a, b):
    """Reads the other stream in some orders only."""
    tasks = [asyncio.create_task(read(a)), asyncio.create_task(read(b))]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def test_a_stream_that_is_never_read_proves_nothing():
    with pytest.raises(ContractUsageError, match="bound_late never reads a, in any order") as caught:
        every_interleaving(bound_late, A, B)
    assert "look for a loop whose last model is read more than once" in str(caught.value)
    with pytest.raises(ContractUsageError, match="only_the_first never reads b"):
        every_interleaving(only_the_first, A, B)
    assert every_interleaving(the_other_only_if_it_is_first, A, B) > 1


def test_an_assert_that_fails_since_a_stream_is_not_read_says_so():
    @every_interleaving(A, B)
    async def test_app(a, b):
        assert await bound_late(a, b) == [["a", "b", "c"], ["x", "y", "z"]]

    with pytest.raises(ContractUsageError, match="fails with one stream after the other.*\n(?s:.*)unread: +a$"):
        test_app()


# -- the decorator ----------------------------------------------------------------------------------------


@every_interleaving(A, B)
async def test_models_are_the_first_parameters(first, second):
    assert await both(first, second) == ["abc", "xyz"]


class TestMethods:
    @every_interleaving(A, B)
    async def test_in_a_class(self, a, b, tmp_path):
        assert tmp_path.exists()
        return await both(a, b)


def test_asserts_of_a_test_are_the_oracle():
    @every_interleaving(A, B)
    async def test_app(a, b):
        assert await by_completion(a, b) == ["abc", "xyz"]

    with pytest.raises(BrokenContractError, match=r"b1 b2 b3 \| a1 a2 a3"):
        test_app()


@pytest.mark.exhaustive
@every_interleaving(A, B, as_scripts=True)
async def test_streams_of_a_provider(a, b, fake_openai):
    fake_openai.when("first", a).when("second", b)

    async def ask(client, text):
        messages = [{"role": "user", "content": text}]
        stream = await client.chat.completions.create(model="m", messages=messages, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async with openai.AsyncOpenAI(max_retries=0) as client:
        assert await asyncio.gather(ask(client, "first"), ask(client, "second")) == ["abc", "xyz"]
    assert len(fake_openai.calls) == 2


def test_streams_of_a_provider_of_ones_own():
    async def app(a, b):
        provider = FakeProvider("openai", clock=a.clock).when("first", a).when("second", b)
        order = []

        async def ask(client, text):
            messages = [{"role": "user", "content": text}]
            async for chunk in await client.chat.completions.create(model="m", messages=messages, stream=True):
                order.append(chunk.choices[0].delta.content or "")

        with intercept(provider):
            async with openai.AsyncOpenAI(api_key="none", max_retries=0) as client:
                await asyncio.gather(ask(client, "first"), ask(client, "second"))
        return "".join(order)

    scripts = Script("a", "b"), Script("x")
    text = failure(app, *scripts, as_scripts=True)
    assert line("order", text) == "b1 | a1 a2"
    assert line("got", text) == "returned 'xab'"
    assert line("expected", text).startswith("returned 'abx'")


# -- bad use ----------------------------------------------------------------------------------------------


def synchronous(a, b):
    return "".join(a.stream("?")) + "".join(b.stream("?"))


async def synchronous_inside(a, b):
    return synchronous(a, b)


async def failing(a, b):
    raise KeyError("always")


@each(
    ("arguments", "options", "message"),
    [
        ((), {}, "no streams to interleave"),
        ((A,), {}, "1 stream has one order only"),
        ((both, A), {}, "1 stream has one order only"),
        ((both, A, "text"), {}, "takes scripts, not 'text'"),
        ((both, A, Script(Pause(1))), {}, "has no chunk"),
        ((both, A, B), {"limit": 0}, "from 3 up"),
        ((both, A, B), {"only": "a1 a2 a3 a4"}, "only='a1 a2 a3 a4' is no order of these chunks"),
        ((both, A, B), {"only": "c1"}, "of a1 to a3, b1 to b3"),
        ((synchronous, A, B), {}, "synchronous is not asynchronous"),
        ((synchronous_inside, A, B), {}, "fails with one stream after the other.*\n.*A synchronous stream was read"),
        ((failing, A, B), {}, "fails with one stream after the other"),
    ],
)
def test_bad_use(arguments, options, message):
    with pytest.raises(ContractUsageError, match=message):
        every_interleaving(*arguments, **options)


def test_bad_use_of_the_decorator():
    with pytest.raises(ContractUsageError, match="takes no parameter 'b'"):

        @every_interleaving(A, B)
        async def test_app(a):
            pass

    with pytest.raises(ContractUsageError, match="is not asynchronous"):

        @every_interleaving(A, B)
        def test_sync(a, b):
            pass


def test_how_an_order_is_shown():
    assert shown((0, 0, 1, 0, 1, 1)) == "a1 a2 | b1 | a3 | b2 b3"
    assert switches((0, 0, 1, 0, 1, 1)) == 3
    assert shown((0, ~0, ~1, 0, 1, 1)) == "a1 a2~ | b1~ | a3 | b2 b3"
    assert switches((0, ~0, ~1, 0, 1, 1)) == 3
    assert read_merge("a1 a2~ | b1~ | a3 b2", [3, 3]) == (0, ~0, ~1, 0, 1, 1)
