"""The contracts of a stream: each catches an implementation that breaks it, and passes one that keeps it."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from contextlib import aclosing as closing
from contextlib import asynccontextmanager, contextmanager
from contextlib import closing as closed
from functools import partial
from queue import Full, Queue
from types import SimpleNamespace

import httpx
import pytest
from kinds import KINDS
from vectors import each

import fakellm.contracts.streams.check as room
from fakellm import FakeChatModel, FakeLLM, Runnable
from fakellm.contracts.catalogue import CATALOGUE, chosen
from fakellm.contracts.streams.check import check_stream
from fakellm.errors import BrokenContractError, ContractUsageError, LLMError
from fakellm.runnable.functions import RunnableGenerator, RunnableLambda
from fakellm.script.messages import Message


class Wrapper(Runnable):
    """Passes on what its source says, in each method; what the contracts take for right."""

    def __init__(self, source):
        self.source = source

    def invoke(self, input, config=None, **kwargs):
        return self.source.invoke(input, config, **kwargs)

    async def ainvoke(self, input, config=None, **kwargs):
        return await self.source.ainvoke(input, config, **kwargs)

    def stream(self, input, config=None, **kwargs):
        stream = self.source.stream(input, config, **kwargs)
        try:
            yield from stream
        finally:
            stream.close()

    async def astream(self, input, config=None, **kwargs):
        stream = self.source.astream(input, config, **kwargs)
        try:
            async for chunk in stream:
                yield chunk
        finally:
            await stream.aclose()


class TwoForOne(Wrapper):
    """Breaks single_value_fallback: yields the characters of the one value."""

    def stream(self, input, config=None, **kwargs):
        yield from self.source.invoke(input)


class TwoCalls(Wrapper):
    """Breaks single_value_fallback: looks at the answer before it streams it."""

    def stream(self, input, config=None, **kwargs):
        self.source.invoke(input)
        yield from self.source.stream(input)


class LosesTheLast(Wrapper):
    """Breaks concatenation."""

    def stream(self, input, config=None, **kwargs):
        *chunks, _ = self.source.stream(input)
        yield from chunks or [_]


class Sorts(Wrapper):
    """Breaks ordering: as a set would."""

    def stream(self, input, config=None, **kwargs):
        yield from sorted(self.source.stream(input))


class SkipsBlanks(Wrapper):
    """Breaks whitespace_tail."""

    def stream(self, input, config=None, **kwargs):
        for chunk in self.source.stream(input):
            if chunk.strip():
                yield chunk


class ForgetsOneFlavour(Wrapper):
    """Breaks sync_async: a fix that landed in one flavour only."""

    async def astream(self, input, config=None, **kwargs):
        async for chunk in self.source.astream(input):
            yield chunk.upper()


class Eager(Wrapper):
    """Breaks lazy: the source is asked when the stream is made."""

    def stream(self, input, config=None, **kwargs):
        stream = self.source.stream(input)
        first = next(stream)

        def chunks():
            yield first
            yield from stream

        return chunks()


class LooksAhead(Wrapper):
    """Breaks progressive: holds each chunk until the next is there."""

    def stream(self, input, config=None, **kwargs):
        held = None
        for chunk in self.source.stream(input):
            if held is not None:
                yield held
            held = chunk
        if held is not None:
            yield held


class Collects(Wrapper):
    """Breaks progressive: the whole answer at once."""

    async def astream(self, input, config=None, **kwargs):
        yield "".join([chunk async for chunk in self.source.astream(input)])


class Pump(Wrapper):
    """Reads the source in a task of its own and hands its chunks on through a queue."""

    bound = 1
    tells_errors = True
    ends = True

    async def _pump(self, input, queue):
        try:
            async for chunk in self.source.astream(input):
                await queue.put(chunk)
        except Exception as error:
            if self.tells_errors:
                await queue.put(error)
            elif self.ends:
                await queue.put(None)
            return
        await queue.put(None)

    async def astream(self, input, config=None, **kwargs):
        queue = asyncio.Queue(self.bound)
        task = asyncio.ensure_future(self._pump(input, queue))
        try:
            while (chunk := await queue.get()) is not None:
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk
        finally:
            await self.stop(task)

    async def stop(self, task):
        task.cancel()
        await asyncio.wait([task])


class Floods(Pump):
    """Breaks backpressure: the queue has no bound."""

    bound = 0


class Hangs(Pump):
    """Breaks producer_dies: the task that reads dies, and nobody puts the end into the queue."""

    tells_errors = False
    ends = False


class EndsInOrder(Pump):
    """Breaks producer_dies, and in_band_error: half an answer looks like a whole one."""

    tells_errors = False


class Leaks(Pump):
    """Breaks close, upstream_cancel: the task goes on when the consumer has gone."""

    async def stop(self, task):
        pass


class Blocks(Wrapper):
    """Breaks blocking: a synchronous stream in an asynchronous generator."""

    async def astream(self, input, config=None, **kwargs):
        for chunk in self.source.stream(input):
            yield chunk


class TaskPerStep(Wrapper):
    """Breaks task_affinity."""

    async def astream(self, input, config=None, **kwargs):
        stream = self.source.astream(input)
        try:
            while (chunk := await asyncio.ensure_future(anext(stream, None))) is not None:
                yield chunk
        finally:
            await stream.aclose()


class OpenAfterClose(Wrapper):
    """Breaks close: somebody else refers to the source, so nothing closes it."""

    def stream(self, input, config=None, **kwargs):
        self.kept = self.source.stream(input)
        while (chunk := next(self.kept, None)) is not None:
            yield chunk


class Drains(Wrapper):
    """Breaks close: reads the rest of the source instead of closing it."""

    def stream(self, input, config=None, **kwargs):
        stream = self.source.stream(input)
        try:
            yield from iter(lambda: next(stream, None), None)
        finally:
            list(stream)


class Swallows(Wrapper):
    """Breaks upstream_cancel: a cancellation is an ordinary end."""

    async def astream(self, input, config=None, **kwargs):
        try:
            async for chunk in self.source.astream(input):
                yield chunk
        except asyncio.CancelledError:
            return


class Reader:
    """Breaks one_shot: looks like a collection, is empty the second time."""

    def __init__(self, stream):
        self._stream = stream

    def __iter__(self):
        yield from self._stream


class LoudReader(Reader):
    """Keeps one_shot."""

    def __iter__(self):
        if self._stream is None:
            raise RuntimeError("read already")
        stream, self._stream = self._stream, None
        return iter(stream)


class GuardsTheCall(Wrapper):
    """Breaks lazy_error: the call is tried again, its first chunk is not."""

    def stream(self, input, config=None, **kwargs):
        try:
            stream = self.source.stream(input)
        except ConnectionError:
            stream = self.source.stream(input)
        yield from stream


class GuardsTheFirst(Wrapper):
    """Keeps lazy_error."""

    def stream(self, input, config=None, **kwargs):
        try:
            stream = self.source.stream(input)
            first = next(stream)
        except ConnectionError:
            stream = self.source.stream(input)
            first = next(stream)
        yield first
        yield from stream


class StartsAnew(Wrapper):
    """Breaks retry_midstream."""

    def stream(self, input, config=None, **kwargs):
        try:
            yield from self.source.stream(input)
        except ConnectionError:
            yield from self.source.stream(input)


class GoesOn(Wrapper):
    """Keeps retry_midstream: what was said is left out of the second answer."""

    def stream(self, input, config=None, **kwargs):
        said = ""
        try:
            for chunk in self.source.stream(input):
                said += chunk
                yield chunk
        except ConnectionError:
            yield self.source.invoke(input).removeprefix(said)


class AsCompleted(Wrapper):
    """Breaks batch: results come in the order in which they are ready."""

    def batch(self, inputs, config=None, **kwargs):
        return [result for _, result in self.batch_as_completed(inputs, config)]


class AAsCompleted(Wrapper):
    """Breaks batch, asynchronously."""

    async def abatch(self, inputs, config=None, **kwargs):
        return [result async for _, result in self.abatch_as_completed(inputs, config)]


class IgnoresTheBound(Wrapper):
    """Breaks batch: asks everything at once."""

    def batch(self, inputs, config=None, **kwargs):
        return super().batch(inputs)


class AIgnoresTheBound(Wrapper):
    """Breaks batch, asynchronously."""

    async def abatch(self, inputs, config=None, **kwargs):
        return await asyncio.gather(*map(self.ainvoke, inputs))


class SharedBuffer(Wrapper):
    """Breaks crossed_streams: the chunk lives on the model."""

    def stream(self, input, config=None, **kwargs):
        for chunk in self.source.stream(input):
            self.parts = [*getattr(self, "parts", []), chunk]
            yield self.parts[-2] if len(self.parts) > 1 and chunk.startswith("b") else chunk


class TellsLate(Runnable):
    """Breaks callbacks: told after the consumer has the chunk; ends twice."""

    twice = False
    astream = None

    def invoke(self, input, config=None, **kwargs):
        return "ab"

    def stream(self, input, config=None, **kwargs):
        from fakellm.runnable.runs import begin

        run = begin("late", input, config or {})
        for chunk in "ab":
            if not self.twice and run:
                run.emit("chunk", chunk=chunk)
            yield chunk
            if self.twice and run:
                run.emit("chunk", chunk=chunk)
        if run:
            run.emit("end")


class EndsTwice(TellsLate):
    def stream(self, input, config=None, **kwargs):
        from fakellm.runnable.runs import begin

        yield from super().stream(input, config)
        if run := begin("late", input, config or {}):
            run.emit("end")


class AddsUsage(Wrapper):
    """Breaks usage: its last chunk says the sum of what the source said."""

    def stream(self, input, config=None, **kwargs):
        from fakellm import Usage

        total = 0
        for chunk in self.source.stream(input):
            total += chunk.usage.output_tokens if chunk.usage else 0
            yield chunk
        yield Message(usage=Usage(3, total))


class FinishesTwice(Wrapper):
    """Breaks finish."""

    def stream(self, input, config=None, **kwargs):
        yield from self.source.stream(input)
        yield Message(finish_reason="stop")


class TalksOn(Wrapper):
    """Breaks finish: text after the end."""

    def stream(self, input, config=None, **kwargs):
        yield from self.source.stream(input)
        yield Message(content=" and more")


class NeverGivesUp(Wrapper):
    """Breaks stall."""


class GivesUp(Wrapper):
    """Keeps stall: a deadline for each chunk."""

    async def astream(self, input, config=None, **kwargs):
        stream = self.source.astream(input)
        try:
            while True:
                async with asyncio.timeout(5):
                    chunk = await anext(stream, None)
                if chunk is None:
                    return
                yield chunk
        finally:
            await stream.aclose()


class OneDeadline(Wrapper):
    """Breaks stall: one deadline for the whole."""

    async def astream(self, input, config=None, **kwargs):
        async with asyncio.timeout(5):
            async for chunk in self.source.astream(input):
                yield chunk


def one_shot(kind):
    return lambda source: lambda prompt: kind(source.stream(prompt))


def openai_ask(check=None):
    import openai

    def make():
        client = openai.OpenAI(api_key="x", max_retries=0)

        def ask(prompt):
            message = {"role": "user", "content": prompt}
            finished = False
            with client.chat.completions.create(model="m", messages=[message], stream=True) as chunks:
                for chunk in chunks:
                    finished = finished or bool(chunk.choices and chunk.choices[0].finish_reason)
                    yield chunk
            if check and not finished:
                raise check("the answer has no end")

        return ask

    return make


class IncompleteAnswer(Exception):
    pass


def responses_ask(check):
    import openai

    def make():
        client = openai.OpenAI(api_key="x", max_retries=0)

        def ask(prompt):
            with client.responses.create(model="m", input=prompt, stream=True) as events:
                for event in events:
                    if check and event.type in ("error", "response.failed"):
                        raise IncompleteAnswer(event.type)
                    yield event

        return ask

    return make


class RetriesForEver(Wrapper):
    """Breaks producer_dies: a loop without an end."""

    def stream(self, input, config=None, **kwargs):
        while True:
            try:
                yield from self.source.stream(input)
            except ConnectionError:
                continue
            return


class RetriesAndWaitsForEver(Wrapper):
    """Breaks producer_dies: it ends neither in real nor in virtual time."""

    stream = None

    async def astream(self, input, config=None, **kwargs):
        while True:
            try:
                async for chunk in self.source.astream(input):
                    yield chunk
            except ConnectionError:
                await asyncio.sleep(1000)
                continue
            return


class WaitsForEver(Wrapper):
    """Breaks producer_dies: waits again and again for something that nobody does."""

    stream = None

    async def astream(self, input, config=None, **kwargs):
        try:
            async for chunk in self.source.astream(input):
                yield chunk
        except ConnectionError:
            while True:  # noqa: ASYNC110 - that is what is wrong with it
                await asyncio.sleep(100)


class SwallowsWithText(Wrapper):
    """Breaks producer_dies and in_band_error: an error becomes a part of the answer."""

    def stream(self, input, config=None, **kwargs):
        try:
            yield from self.source.stream(input)
        except Exception:
            yield "…"


class Sleeps(Wrapper):
    """Breaks blocking: sleeps in the event loop's thread."""

    async def astream(self, input, config=None, **kwargs):
        async for chunk in self.source.astream(input):
            time.sleep(0.001)  # noqa: ASYNC251
            yield chunk


class DropsRepeated(Wrapper):
    """Breaks whitespace_tail: a chunk that is like the one before is taken for a duplicate."""

    def stream(self, input, config=None, **kwargs):
        last = None
        for chunk in self.source.stream(input):
            if chunk != last or not chunk.strip():
                yield chunk
            last = chunk


class StripsWhole(Wrapper):
    """Breaks whitespace_tail: invoke strips the answer, and stream does not."""

    def invoke(self, input, config=None, **kwargs):
        return self.source.invoke(input).strip()


class LosesPermits(Wrapper):
    """Breaks close: a permit is given back at the end only."""

    def __init__(self, source):
        super().__init__(source)
        self.permits = asyncio.Semaphore(5)

    async def astream(self, input, config=None, **kwargs):
        await self.permits.acquire()
        async with closing(self.source.astream(input)) as chunks:
            async for chunk in chunks:
                yield chunk
        self.permits.release()


class RaisesAGroup(Wrapper):
    """Breaks close: a task group makes a group of GeneratorExit."""

    async def astream(self, input, config=None, **kwargs):
        async with asyncio.TaskGroup():
            async for chunk in self.source.astream(input):
                yield chunk


class BatchesByInput(Wrapper):
    """Breaks batch: the same input twice is one result."""

    def batch(self, inputs, config=None, **kwargs):
        return list({input: self.invoke(input) for input in inputs}.values())


class Asks(Wrapper):
    """Asks whether its source can stream, and else hands on the whole answer."""

    def stream(self, input, config=None, **kwargs):
        if hasattr(self.source, "stream"):
            yield from super().stream(input, config, **kwargs)
        else:
            yield from self.fallback(input)

    async def astream(self, input, config=None, **kwargs):
        if hasattr(self.source, "astream"):
            async with closing(super().astream(input, config, **kwargs)) as chunks:
                async for chunk in chunks:
                    yield chunk
        else:
            for chunk in self.fallback(input):
                yield chunk

    def fallback(self, input):
        return [self.source.invoke(input)]


class AsksAndSplits(Asks):
    """Breaks single_value_fallback: yields words of the one value."""

    def fallback(self, input):
        return self.source.invoke(input).split()


class AsksAndSaysNothing(Asks):
    """Breaks single_value_fallback: has nothing else to say."""

    def fallback(self, input):
        return []


class AsksAndRefuses(Asks):
    """Breaks single_value_fallback: raises."""

    def fallback(self, input):
        raise NotImplementedError


class Bounded(Wrapper):
    """Takes the bound by its name, and holds it."""

    async def abatch(self, inputs, max_concurrency=None):
        permits = asyncio.Semaphore(max_concurrency or len(inputs))

        async def one(input):
            async with permits:
                return await self.ainvoke(input)

        return list(await asyncio.gather(*map(one, inputs)))


class OffByOne(Bounded):
    """Breaks batch: one more than was asked for."""

    async def abatch(self, inputs, max_concurrency=None):
        return await super().abatch(inputs, max_concurrency and max_concurrency + 1)


class Boundless(Wrapper):
    """Takes no bound."""

    def batch(self, inputs):
        return super().batch(inputs)

    async def abatch(self, inputs):
        return await super().abatch(inputs)


CASES = [  # contract, what breaks it, what keeps it, what check_stream is told
    ("single_value_fallback", TwoForOne, Wrapper, {}),
    ("single_value_fallback", TwoCalls, Wrapper, {}),
    ("single_value_fallback", AsksAndSplits, Asks, {}),
    ("single_value_fallback", AsksAndSaysNothing, Asks, {}),
    ("single_value_fallback", AsksAndRefuses, Asks, {}),
    ("batch", OffByOne, Bounded, {}),
    ("concatenation", LosesTheLast, Wrapper, {}),
    ("ordering", Sorts, Wrapper, {}),
    ("whitespace_tail", SkipsBlanks, Wrapper, {}),
    ("sync_async", ForgetsOneFlavour, Wrapper, {}),
    ("lazy", Eager, Wrapper, {}),
    ("progressive", LooksAhead, Wrapper, {}),
    ("progressive", Collects, Wrapper, {}),
    ("backpressure", Floods, Pump, {}),
    ("one_shot", one_shot(Reader), one_shot(LoudReader), {}),
    ("batch", AsCompleted, Wrapper, {}),
    ("batch", AAsCompleted, Wrapper, {}),
    ("batch", IgnoresTheBound, Wrapper, {}),
    ("batch", AIgnoresTheBound, Wrapper, {}),
    ("crossed_streams", SharedBuffer, Wrapper, {}),
    ("lazy_error", GuardsTheCall, GuardsTheFirst, {}),
    ("retry_midstream", StartsAnew, GoesOn, {}),
    ("producer_dies", Hangs, Pump, {}),
    ("producer_dies", RetriesForEver, GoesOn, {}),
    ("producer_dies", RetriesAndWaitsForEver, Wrapper, {}),
    ("producer_dies", WaitsForEver, Wrapper, {}),
    ("producer_dies", SwallowsWithText, GoesOn, {}),
    ("in_band_error", SwallowsWithText, Wrapper, {}),
    ("blocking", Sleeps, Wrapper, {}),
    ("whitespace_tail", DropsRepeated, Wrapper, {}),
    ("whitespace_tail", StripsWhole, Wrapper, {}),
    ("close", LosesPermits, Wrapper, {}),
    ("close", RaisesAGroup, Wrapper, {}),
    ("batch", BatchesByInput, Wrapper, {}),
    ("producer_dies", EndsInOrder, Pump, {}),
    ("in_band_error", EndsInOrder, Pump, {}),
    ("in_band_error", responses_ask(check=False), responses_ask(check=True), {"api": "openai"}),
    ("truncation", openai_ask(), openai_ask(IncompleteAnswer), {"api": "openai"}),
    ("close", OpenAfterClose, Wrapper, {}),
    ("close", Drains, Wrapper, {}),
    ("close", Leaks, Pump, {}),
    ("task_affinity", TaskPerStep, Wrapper, {}),
    ("task_affinity", TaskPerStep, Pump, {}),
    ("upstream_cancel", Leaks, Pump, {}),
    ("upstream_cancel", Swallows, Wrapper, {}),
    ("blocking", Blocks, Wrapper, {}),
    ("stall", NeverGivesUp, GivesUp, {"idle_timeout": 5}),
    ("stall", OneDeadline, GivesUp, {"idle_timeout": 5}),
    ("callbacks", lambda: type("Late", (TellsLate,), {"twice": True})(), TellsLate, {}),
    ("callbacks", EndsTwice, TellsLate, {}),
    ("usage", AddsUsage, Wrapper, {"chat": True}),
    ("finish", FinishesTwice, Wrapper, {"chat": True}),
    ("finish", TalksOn, Wrapper, {"chat": True}),
]
cases = pytest.mark.parametrize(
    ("name", "bad", "good", "options"),
    CASES,
    ids=[f"{c[0]}-{getattr(c[1], '__name__', 'x').strip('<>')}" for c in CASES],
)


def is_caught(name, bad, options):
    report = check_stream(bad, contracts=[name], **options)

    assert [verdict.contract.name for verdict in report.failed] == [name]
    assert CATALOGUE[name].sentence in str(report)
    assert str(check_stream(bad, contracts=[name], **options)) == str(report)
    with pytest.raises(BrokenContractError, match=f"BROKEN   {name}: ") as caught:
        report.verify()
    assert caught.value.contract == name


@each("name", CATALOGUE)
def test_a_broken_stream_is_caught(name):
    for _, bad, _, options in [case for case in CASES if case[0] == name][:1]:
        is_caught(name, bad, options)


@pytest.mark.exhaustive
@each("name", CATALOGUE)
def test_streams_that_are_broken_in_other_ways_are_caught(name):
    for _, bad, _, options in [case for case in CASES if case[0] == name][1:]:
        is_caught(name, bad, options)


@pytest.mark.exhaustive
@each(cases)
def test_a_stream_that_keeps_the_contract_passes(name, bad, good, options):
    report = check_stream(good, contracts=[name], **options)

    assert [verdict.contract.name for verdict in report.passed] == [name], str(report)
    report.verify()


def test_every_contract_of_a_stream_has_a_case():
    assert {contract.name for contract in chosen(None, "stream")} == {name for name, *_ in CASES}


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("kind", "chat"), [(KINDS[0], True), *zip(KINDS, itertools.cycle([False, True]), strict=False)], ids=str
)
def test_our_own_runnables_break_nothing(kind, chat):
    report = check_stream(kind.wrap, chat=chat, text=lambda chunk: room.text_of(kind.unwrap(chunk)))

    assert report.failed == [], str(report)
    assert len(report.passed) >= 15


@pytest.mark.parametrize(
    "make", [lambda: FakeLLM("a ", "b"), lambda: FakeChatModel("a ", "b"), lambda s: FakeLLM(s.script)]
)
def test_our_own_fakes_break_nothing(make):
    assert check_stream(make).failed == []


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "make",
    [
        lambda source: source.with_retry(stop_after_attempt=3, wait_exponential_jitter=False),
        lambda source: source.with_fallbacks([FakeLLM("One two three four.")]),
        lambda source: source.with_fallbacks([FakeLLM("something ", "else")]),
    ],
)
def test_our_own_guards_break_nothing(make):
    assert check_stream(make).failed == []


@pytest.mark.exhaustive
def test_a_step_that_buffers_is_told_so():
    report = check_stream(lambda source: source | RunnableLambda(lambda text: text))

    assert [verdict.contract.name for verdict in report.failed] == ["progressive"]


def test_what_only_streams_is_checked_as_far_as_it_goes():
    report = check_stream(lambda source: source.stream, text=str)

    assert report.failed == []
    assert report["concatenation"].detail == "it has no invoke"


def test_a_function_may_be_a_generator_function_or_asynchronous():
    def make(source):
        async def ask(prompt):
            async with closing(source.astream(prompt)) as chunks:
                async for chunk in chunks:
                    yield chunk

        return ask

    report = check_stream(make)

    assert report.failed == []
    assert report["task_affinity"].status == "passed"


def test_the_report_says_what_is_broken_then_kept_then_skipped_and_why():
    report = check_stream(SkipsBlanks, contracts=["lazy", "whitespace_tail", "truncation"])

    assert str(report) == (
        "SkipsBlanks: 1 failed, 1 passed, 1 skipped\n"
        "BROKEN   whitespace_tail: every character is delivered: whitespace, empty lines, the last chunk\n"
        "           broken:    characters were lost\n"
        "           source:    'a'|' '|'b'\n"
        "           expected:  'a b'\n"
        "           got:       'ab'\n"
        "           flavour:   sync\n"
        "kept     lazy: nothing happens before the first chunk is asked for\n"
        "skipped  truncation: only a source behind HTTP has a terminal marker: say api='openai'"
    )
    with pytest.raises(KeyError):
        report["close"]


def test_a_contract_may_be_skipped_with_a_reason():
    report = check_stream(SkipsBlanks, skip={"whitespace_tail": "the client wants it so"})

    assert report.failed == []
    assert report["whitespace_tail"].detail == "the client wants it so"


ONE = FakeLLM("a")


async def amake(source):
    return source


@each(
    ("make", "options", "message"),
    [
        (lambda: ONE, {}, "the maker returned the same FakeLLM twice"),
        (ONE, {}, r"a maker is a function that returns a fresh model .* write lambda: \.\.\. around it"),
        (lambda: 7, {}, "the maker returned 7, which has no stream or astream and is no function"),
        (lambda a, b: a, {}, "a maker takes nothing, or one source; .* wants a, b"),
        (FakeLLM, {}, "a plain stream .sync. of what the maker made failed"),
        (lambda: FakeLLM("a"), {"input": 7}, "say what it takes with input="),
        (lambda: FakeLLM("a"), {"contracts": ["clsoe"]}, "there is no contract 'clsoe'; did you mean close"),
        (lambda: FakeLLM("a"), {"contracts": ["framing"]}, "'framing' is not checked on a stream"),
        (lambda: FakeLLM("a"), {"contracts": "xyz"}, "there is no contract 'xyz'"),
        (lambda: FakeLLM("a"), {"contracts": []}, "no contract was named"),
        (lambda: FakeLLM("a"), {"skip": ["close"]}, "skip maps the name of a contract to the reason"),
        (lambda source: source, {"text": lambda chunk: chunk["t"]}, "text= failed on 'One two three four.': TypeError"),
        (lambda *, client: client, {}, "wants client: write a lambda"),
        (lambda: FakeLLM("a"), {"text": "content"}, "text is a function, such as text=lambda"),
        (lambda: FakeLLM("a"), {"is_error": True}, "is_error is a function, such as is_error=lambda"),
        (lambda: FakeLLM("a"), {"skip": {"close": ""}}, "say why 'close' is skipped"),
        (lambda: FakeLLM("a"), {"skip": {"clos": "x"}}, "there is no contract 'clos'"),
        (lambda: FakeLLM("a"), {"api": "nobody"}, "there is no api 'nobody'"),
        (amake, {}, "is asynchronous; it only makes the model"),
        (lambda source: source, {"api": "openai"}, "with api=... the source answers over HTTP"),
        (lambda: lambda prompt: 7, {}, "the function returned 7, which is no stream"),
        (lambda: lambda prompt: [], {}, "has no chunks, so no contract can be checked"),
        (lambda: type("Odd", (), {"stream": None})(), {}, "Odd has neither stream nor astream"),
    ],
)
def test_bad_use_gets_a_clear_error(make, options, message):
    with pytest.raises(ContractUsageError, match=message):
        check_stream(make, **options)


def test_a_synchronous_stream_that_hangs_fails_the_check_and_not_the_run(monkeypatch):
    import threading

    from fakellm.contracts.streams import driving

    gate = threading.Event()
    monkeypatch.setattr(driving, "_PATIENCE", 0.05)

    class Waits(Wrapper):
        def stream(self, input, config=None, **kwargs):
            try:
                yield from self.source.stream(input)
            except ConnectionError:
                gate.wait()

    report = check_stream(Waits, contracts=["producer_dies"])
    gate.set()

    assert "the stream hangs: it did not come back from line" in str(report)
    assert "stream: gate.wait()" in str(report)


def test_an_error_that_no_check_provoked_breaks_the_contract():
    class Odd(Wrapper):
        def stream(self, input, config=None, **kwargs):
            chunks = list(self.source.stream(input))
            if chunks[0] != "One ":
                raise ValueError("I only know One")
            yield from chunks

    report = check_stream(Odd, contracts=["crossed_streams"])

    assert "the sync stream raised ValueError('I only know One')" in str(report)


def test_the_default_run_is_quick():
    """A bound with room to spare: it takes a tenth of it."""
    start = time.process_time()
    check_stream(lambda source: source)

    assert time.process_time() - start < 2


def test_what_streams_other_things_than_text_is_compared_as_it_is():
    def numbers(_):
        yield from (1, 2, 3)

    report = check_stream(lambda: RunnableGenerator(numbers))

    assert report.failed == [], str(report)
    assert report["concatenation"].status == "passed"


class Chunks:
    """Yields dictionaries, as an endpoint does, with a first and a last one that say nothing."""

    def __init__(self, source):
        self.source = source

    def stream(self, prompt):
        yield {"choices": [{"delta": {"role": "assistant"}}]}
        with closed(self.source.stream(prompt)) as chunks:
            for chunk in chunks:
                yield {"choices": [{"delta": {"content": chunk}}]}
        yield {"choices": [{"delta": {}, "finish_reason": "stop"}]}


class Endpoint:
    """Says its errors in the stream, since it cannot raise."""

    def __init__(self, source):
        self.source = source

    def stream(self, prompt):
        try:
            with closed(self.source.stream(prompt)) as chunks:
                for chunk in chunks:
                    yield {"type": "text", "text": chunk}
        except Exception as error:
            yield {"type": "error", "message": str(error)}


class Resumes:
    """Goes on where the answer broke off, with chunks that cannot be read."""

    def __init__(self, source):
        self.source = source

    def stream(self, prompt):
        count = 0
        try:
            for chunk in self.source.stream(prompt):
                count += 1
                yield (chunk,)
        except ConnectionError:
            for chunk in [*self.source.stream(prompt)][count:]:
                yield (chunk,)


class ThreadPump(Wrapper):
    """Reads its source in a thread, one chunk ahead."""

    def stream(self, input, config=None, **kwargs):
        queue, stop, end = Queue(1), threading.Event(), object()

        def put(item):
            while not stop.is_set():
                try:
                    queue.put(item, timeout=0.005)
                except Full:
                    continue
                return

        def pump():
            try:
                with closed(self.source.stream(input)) as chunks:
                    for chunk in chunks:
                        put(chunk)
                        if stop.is_set():
                            return
                put(end)
            except Exception as error:
                put(error)

        thread = threading.Thread(target=pump)
        thread.start()
        try:
            while (item := queue.get()) is not end:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            stop.set()
            thread.join()


class Serialised(Wrapper):
    """Answers one request at a time."""

    def __init__(self, source):
        super().__init__(source)
        self.lock = asyncio.Lock()

    async def astream(self, input, config=None, **kwargs):
        async with self.lock, closing(self.source.astream(input)) as chunks:
            async for chunk in chunks:
                yield chunk


class Managed:
    def __init__(self, source):
        self.source = source

    @contextmanager
    def stream(self, prompt):
        with closed(self.source.stream(prompt)) as chunks:
            yield chunks


class ManagedAsync:
    def __init__(self, source):
        self.source = source

    @asynccontextmanager
    async def astream(self, prompt):
        async with closing(self.source.astream(prompt)) as chunks:
            yield chunks


class OnlyAsync:
    def __init__(self, source):
        self.source = source

    async def stream(self, prompt):
        async with closing(self.source.astream(prompt)) as chunks:
            async for chunk in chunks:
                yield chunk


class Both:
    """An object that can be read in both flavours, as some clients return."""

    def __init__(self, source):
        self.source = source

    def stream(self, prompt):
        return BothWays(self.source, prompt)


class BothWays:
    def __init__(self, source, prompt):
        self.chunks, self.achunks = source.stream(prompt), source.astream(prompt)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.chunks)

    def __aiter__(self):
        return self

    async def __anext__(self):
        return await anext(self.achunks)

    def close(self):
        self.chunks.close()


GOOD = [
    (Chunks, {}, 11),
    (Endpoint, {"text": lambda chunk: chunk["text"], "is_error": lambda chunk: chunk["type"] == "error"}, 10),
    (Resumes, {}, 8),
    (ThreadPump, {}, 13),
    (Serialised, {}, 15),
    (Managed, {}, 10),
    (ManagedAsync, {}, 13),
    (OnlyAsync, {}, 13),
    (Both, {}, 10),
    (lambda source: source.stream, {}, 10),
    (lambda source: source.astream, {}, 13),
    (lambda source: lambda prompt: source.astream(prompt), {}, 13),
    (lambda source: partial(source.astream), {}, 13),
    (lambda llm=None: Wrapper(llm), {}, 15),
    (lambda *, source: Wrapper(source), {}, 15),
]


@pytest.mark.exhaustive
@each(("make", "options", "least"), GOOD, ids=[str(n) for n in range(len(GOOD))])
def test_what_is_right_in_its_own_way_breaks_nothing(make, options, least):
    report = check_stream(make, **options)

    assert report.failed == [], str(report)
    assert len(report.passed) >= least, str(report)


def test_what_asks_its_source_twice_is_not_taken_for_a_retry():
    class Rewrites(Wrapper):
        def invoke(self, input, config=None, **kwargs):
            return self.source.invoke(self.source.invoke(input))

        def stream(self, input, config=None, **kwargs):
            yield from self.source.stream(self.source.invoke(input))

    report = check_stream(Rewrites)

    assert report.failed == [], str(report)


def test_an_optional_argument_that_is_no_source_is_named():
    class Model:
        def __init__(self, client=None):
            self.client = client or FakeLLM("hi")

        def stream(self, prompt):
            yield from self.client.stream(prompt)

    assert "let the maker take a source (not an optional client)" in check_stream(Model)["close"].detail


def test_a_report_that_proves_nothing_is_no_proof():
    report = check_stream(lambda: FakeLLM("a"), contracts=["close"])

    with pytest.raises(ContractUsageError, match="nothing could be checked, so nothing is proven"):
        report.verify()


def test_a_run_in_an_event_loop_says_what_to_do():
    async def main():
        check_stream(Wrapper)

    with pytest.raises(ContractUsageError, match="await asyncio.to_thread"):
        asyncio.run(main())


def test_the_second_hang_is_not_waited_for_as_long(monkeypatch):
    from fakellm.contracts.streams import driving, lab
    from fakellm.contracts.streams.sources import TEXTS

    patient = []

    def by_hand(*arguments, **options):
        patient.append(options["patient"])
        return driving.by_hand(*arguments, **options)

    monkeypatch.setattr(lab, "by_hand", by_hand)
    monkeypatch.setattr(driving, "_PATIENCE", 0.1)
    monkeypatch.setattr(driving, "_IMPATIENCE", 0.01)
    gate = threading.Event()

    class Waits(Wrapper):
        astream = None

        def stream(self, input, config=None, **kwargs):
            chunks = [*self.source.stream(input)]
            if chunks != [*TEXTS]:
                gate.wait()
            yield from chunks

    report = check_stream(Waits, contracts=["whitespace_tail", "crossed_streams"])
    gate.set()

    assert patient == [True, True, False]  # the plain stream, the first that hangs, the second
    assert len(report.failed) == 2
    assert "flavour:   sync" in report.failed[0].detail


@pytest.mark.parametrize("kind", [Hangs, WaitsForEver])
def test_a_stream_that_waits_for_nobody_is_shown_where(kind):
    text = str(check_stream(kind, contracts=["producer_dies"]))

    assert "the stream waits for something that nobody does" in text
    assert "test_streams.py:" in text
    assert "in astream" in text


def test_a_batch_is_compared_with_the_single_calls_where_no_source_is_seen():
    class Upper(Runnable):
        def invoke(self, input, config=None, **kwargs):
            return input.upper()

    class Sorted(Upper):
        def batch(self, inputs, config=None, **kwargs):
            return sorted(super().batch(inputs), reverse=True)

    assert check_stream(Upper, contracts=["batch"])["batch"].status == "passed"
    assert "are not those of the single calls" in str(check_stream(Sorted, contracts=["batch"]))


def test_what_cannot_be_told_apart_is_skipped():
    report = check_stream(lambda source: source | RunnableLambda(len), contracts=["batch", "ordering"])

    assert report["batch"].detail.startswith("its answers do not show its inputs")
    assert report["ordering"].detail.startswith("what it says does not show what its source says")


def test_a_bound_that_is_not_taken_is_not_held():
    verdict = check_stream(Boundless, contracts=["batch"])["batch"]

    assert verdict.status == "skipped"
    assert "takes neither max_concurrency nor a config" in verdict.detail


def test_code_that_asks_whether_its_source_can_stream_breaks_nothing():
    assert not check_stream(Asks).failed


def test_the_error_that_a_fallback_ends_with_is_shown():
    openai = pytest.importorskip("openai")
    missing = openai.OpenAIError("Missing credentials. Please pass an `api_key`, or set `OPENAI_API_KEY`")

    class GuardsTheCallAlone(Wrapper):
        astream = None

        def stream(self, input, config=None, **kwargs):
            try:
                stream = self.source.stream(input)
            except LLMError:
                yield "from the second"
                return
            try:
                yield from stream
            except LLMError as error:
                raise missing from error

    detail = check_stream(GuardsTheCallAlone, contracts=["lazy_error"])["lazy_error"].detail
    assert "OpenAIError('Missing credentials" in detail
    assert "fake that one too" in detail

    class NeedsAKey(Wrapper):
        def stream(self, input, config=None, **kwargs):
            raise missing
            yield

    with pytest.raises(ContractUsageError, match="fake that one too"):
        check_stream(NeedsAKey)


def test_a_maker_that_may_be_given_a_source_is_given_none_where_the_answer_comes_over_http():
    given = []

    def make(source=None):
        given.append(source)
        client = httpx.Client()

        def stream(_):
            asked = {"model": "m", "messages": [{"role": "user", "content": "?"}], "stream": True}
            with client.stream("POST", "https://api.openai.com/v1/chat/completions", json=asked) as response:
                yield from response.iter_lines()

        return SimpleNamespace(stream=stream)

    verdict = check_stream(make, api="openai", contracts=["ordering"])["ordering"]
    assert (verdict.status, set(given)) == ("passed", {None})
