"""The streaming promises, each on the base class and on every composed kind, in both flavours and loops."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kinds import KINDS, Broken, Once, Source
from vectors import each

from fakellm.runnable.runs import fold

kinds = pytest.mark.parametrize("kind", KINDS, ids=str)
texts = st.lists(st.text(max_size=4), min_size=1, max_size=6)


async def collect(stream):
    return [chunk async for chunk in stream]


@kinds
@settings(max_examples=max(10, settings.default.max_examples // 4))
@given(chunks=texts)
def test_chunks_come_in_order_and_add_up_to_invoke(kind, chunks):
    streamed = list(kind.wrap(Source(*chunks)).stream("?"))

    assert [kind.unwrap(chunk) for chunk in streamed] == chunks
    assert fold(streamed) == kind.wrap(Source(*chunks)).invoke("?")


@pytest.mark.exhaustive
@kinds
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=max(10, settings.default.max_examples // 10))  # each starts an event loop
@given(chunks=texts)
def test_the_asynchronous_flavour_says_the_same(kind, backend, chunks):
    async def both():
        return await collect(kind.wrap(Source(*chunks)).astream("?")), await kind.wrap(Source(*chunks)).ainvoke("?")

    streamed, whole = anyio.run(both, backend=backend)

    assert streamed == list(kind.wrap(Source(*chunks)).stream("?"))
    assert whole == kind.wrap(Source(*chunks)).invoke("?")


@each(kinds)
def test_what_cannot_stream_yields_one_value_from_one_call(kind):
    source = Once()
    runnable = kind.wrap(source)

    chunks = list(runnable.stream("?"))

    assert [kind.unwrap(chunk) for chunk in chunks] == ["the answer"]
    assert source.calls == 1
    assert chunks == [runnable.invoke("?")]


@kinds
@pytest.mark.anyio
async def test_what_cannot_stream_yields_one_value_asynchronously(kind):
    source = Once()
    runnable = kind.wrap(source)

    chunks = await collect(runnable.astream("?"))

    assert [kind.unwrap(chunk) for chunk in chunks] == ["the answer"]
    assert source.calls == 1
    assert chunks == [await runnable.ainvoke("?")]


@each(kinds)
def test_nothing_is_called_before_the_first_chunk_is_asked_for(kind):
    source = Source("a", "b")

    stream = kind.wrap(source).stream("?")
    stream.close()

    assert source.opened == 0


@kinds
@pytest.mark.anyio
async def test_nothing_is_called_before_the_first_chunk_is_awaited(kind):
    source = Source("a", "b")

    stream = kind.wrap(source).astream("?")
    await stream.aclose()

    assert source.opened == 0


@each(kinds)
@each("taken", [1, 2, 3])
def test_k_chunks_taken_are_k_chunks_produced(kind, taken):
    source = Source("a", "b", "c", "d")
    stream = kind.wrap(source).stream("?")

    for _ in range(taken):
        next(stream)

    assert source.pulled == taken
    stream.close()


@kinds
@pytest.mark.anyio
async def test_k_chunks_awaited_are_k_chunks_produced(kind):
    for taken in [1, 2, 3]:
        source = Source("a", "b", "c", "d")
        stream = kind.wrap(source).astream("?")

        for _ in range(taken):
            await anext(stream)

        assert source.pulled == taken
        await stream.aclose()


@each(kinds)
@each("good", [0, 1, 2, 3])
def test_an_error_comes_after_the_chunks_before_it(kind, good):
    source = Source("a", "b", "c", fail_at=good)
    seen = []

    with pytest.raises(Broken, match=f"after {good} chunks"):
        for chunk in kind.wrap(source).stream("?"):
            seen.append(kind.unwrap(chunk))

    assert seen == ["a", "b", "c"][:good]
    assert source.ended == ["Broken"]


@pytest.mark.exhaustive
@kinds
@pytest.mark.anyio
async def test_an_error_comes_after_the_chunks_before_it_asynchronously(kind):
    for good in [0, 1, 2, 3]:
        source = Source("a", "b", "c", fail_at=good)
        seen = []

        with pytest.raises(Broken, match=f"after {good} chunks"):
            async for chunk in kind.wrap(source).astream("?"):
                seen.append(kind.unwrap(chunk))

        assert seen == ["a", "b", "c"][:good]
        assert source.ended == ["Broken"]


@each(kinds)
@each("taken", [1, 2, 3])
def test_closing_closes_the_source_before_close_returns(kind, taken):
    source = Source("a", "b", "c")
    stream = kind.wrap(source).stream("?")
    for _ in range(taken):
        next(stream)

    stream.close()

    assert source.ended == ["GeneratorExit"]
    assert source.pulled == taken


@pytest.mark.exhaustive
@kinds
@pytest.mark.anyio
async def test_aclosing_closes_the_source_before_aclose_returns(kind):
    for taken in [1, 2, 3]:
        source = Source("a", "b", "c")
        stream = kind.wrap(source).astream("?")
        for _ in range(taken):
            await anext(stream)

        await stream.aclose()

        assert len(source.ended) == 1
        assert source.ended[0] in ("GeneratorExit", "Cancelled", "CancelledError")
        assert source.pulled == taken


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.cancels], ids=str)
@pytest.mark.parametrize("taken", [0, 1, 2])
@pytest.mark.anyio
async def test_cancelling_in_the_middle_reaches_the_source_before_the_task_ends(kind, taken):
    source = Source("a", "b", "c", park_at=taken)
    seen = []

    async def consume():
        async for chunk in kind.wrap(source).astream("?"):
            seen.append(kind.unwrap(chunk))

    async with anyio.create_task_group() as group:
        group.start_soon(consume)
        await source.parked.wait()
        group.cancel_scope.cancel()

    assert seen == ["a", "b", "c"][:taken]
    assert len(source.ended) == 1
    assert source.ended[0] in ("Cancelled", "CancelledError")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.cancels], ids=str)
@pytest.mark.anyio
async def test_cancelling_ainvoke_reaches_the_source_before_the_task_ends(kind):
    source = Source("a", "b", park_at=1)

    async with anyio.create_task_group() as group:

        async def call():
            await kind.wrap(source).ainvoke("?")

        group.start_soon(call)
        await source.parked.wait()
        group.cancel_scope.cancel()

    assert source.ended[0] in ("Cancelled", "CancelledError")
