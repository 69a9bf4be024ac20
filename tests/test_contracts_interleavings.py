"""Interleavings: every order of the chunks of several streams; broken apps are caught in the smallest order."""

from __future__ import annotations

import asyncio
import itertools
import re

import openai
import pytest

from fakellm import FakeProvider, Finish, Pause, Script, ToolCall
from fakellm.contracts.interleavings import every_interleaving, shown, switches
from fakellm.errors import BrokenContractError, ContractUsageError
from fakellm.intercept import intercept

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


@pytest.mark.parametrize(
    ("app", "count"), [(both, 20), (one_then_the_other, 1), (locked, 20), (first_only, 20), (with_threads, 20)]
)
def test_correct_apps_pass(app, count):
    assert every_interleaving(app, A, B) <= count
    assert every_interleaving(app, [A, B]) == every_interleaving(app, A, B)


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


@pytest.mark.parametrize("app", [by_completion, held_over_a_chunk, lock_order])
def test_verdicts_are_the_same_twice_and_the_line_replays(app):
    scripts = Script.of("abcd", every=1), Script.of("wxyz", every=1)
    text = failure(app, *scripts)

    assert failure(app, *scripts) == text
    only = re.search(r"only='(.*)'", line("replay", text))[1]
    again = failure(app, *scripts, only=only)
    assert line("order", again) == line("order", text)
    assert line("got", again) == line("got", text)


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


@pytest.mark.parametrize(
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
