"""A source that notes what is done to it, and every kind of Runnable that can be built around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.lowlevel

from fakellm import Runnable
from fakellm.runnable.branch import RunnableBranch
from fakellm.runnable.compose import RunnableSequence
from fakellm.runnable.functions import RunnableGenerator, RunnableLambda
from fakellm.runnable.parallel import RunnableParallel
from fakellm.runnable.passthrough import RunnablePassthrough


class Broken(Exception):
    """What a source raises."""


class Source(Runnable[Any, str]):
    """Streams its chunks natively; notes pulls, calls and how each stream ended.

    `fail_at=k` raises after k chunks; `park_at=k` waits for ever after k chunks (asynchronously only).
    """

    def __init__(self, *chunks: str, fail_at: int | None = None, park_at: int | None = None) -> None:
        self.chunks = chunks
        self.fail_at = fail_at
        self.park_at = park_at
        self.opened = 0
        self.pulled = 0
        self.ended: list[str] = []
        self.parked = anyio.Event() if park_at is not None else None

    def _step(self, place: int) -> None:
        if place == self.fail_at:
            raise Broken(f"after {place} chunks")

    def invoke(self, input, config=None, **kwargs):
        return "".join(self.stream(input))

    async def ainvoke(self, input, config=None, **kwargs):
        return "".join([chunk async for chunk in self.astream(input)])

    def stream(self, input, config=None, **kwargs):
        self.opened += 1
        try:
            for place, chunk in enumerate(self.chunks):
                self._step(place)
                self.pulled += 1
                yield chunk
            self._step(len(self.chunks))
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise
        self.ended.append("complete")

    async def astream(self, input, config=None, **kwargs):
        self.opened += 1
        try:
            for place, chunk in enumerate(self.chunks):
                await anyio.lowlevel.checkpoint()
                if place == self.park_at:
                    self.parked.set()
                    await anyio.sleep_forever()
                self._step(place)
                self.pulled += 1
                yield chunk
            self._step(len(self.chunks))
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise
        self.ended.append("complete")


class Once(Runnable[Any, str]):
    """Cannot stream: supplies `invoke` only, and counts its calls."""

    def __init__(self, answer: Any = "the answer", error: Exception | None = None) -> None:
        self.answer = answer
        self.error = error
        self.calls = 0

    def invoke(self, input, config=None, **kwargs):
        self.calls += 1
        if self.error:
            raise self.error
        return self.answer


def _same(chunks):
    yield from chunks


async def _asame(chunks):
    async for chunk in chunks:
        yield chunk


def _generator(source):
    def run(inputs):
        for item in inputs:
            yield from source.stream(item)

    async def arun(inputs):
        async for item in inputs:
            chunks = source.astream(item)
            try:
                async for chunk in chunks:
                    yield chunk
            finally:
                await chunks.aclose()

    return RunnableGenerator(run, arun)


def _generator_lambda(source):
    def run(item):
        yield from source.stream(item)

    async def arun(item):
        chunks = source.astream(item)
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            await chunks.aclose()

    return RunnableLambda(run, arun)


def _thread_lambda(source):
    def run(item):
        yield from source.stream(item)

    return RunnableLambda(run)


def _watched(source):
    return RunnableSequence(source, RunnableGenerator(_same, _asame)).with_config(callbacks=[lambda event: None])


def _as_dict(value):
    return {"in": value}


def _of_dict(given):
    return given["in"]


@dataclass(frozen=True)
class Kind:
    """A way to build a Runnable around a source whose chunks it passes on."""

    name: str
    wrap: Callable[[Runnable[Any, str]], Runnable[Any, Any]]
    unwrap: Callable[[Any], str] = lambda chunk: chunk
    cancels: bool = True  # an asynchronous cancellation reaches an asynchronous source

    def __str__(self) -> str:
        return self.name


KINDS = [
    Kind("base", lambda source: source),
    Kind("sequence", lambda source: source | RunnableGenerator(_same, _asame)),
    Kind("long sequence", lambda s: RunnableSequence(s, *(RunnableGenerator(_same, _asame) for _ in range(3)))),
    Kind("parallel", lambda source: RunnableParallel(out=source), lambda chunk: chunk["out"]),
    Kind(
        "sequence into parallel",
        lambda source: source | {"out": RunnableGenerator(_same, _asame)},
        lambda chunk: chunk["out"],
    ),
    Kind("passthrough", lambda source: source | RunnablePassthrough(lambda _: None)),
    Kind("branch", lambda source: RunnableBranch((lambda _: False, len), (lambda _: True, source), str)),
    Kind("default of a branch", lambda source: RunnableBranch((lambda _: False, len), source)),
    Kind("pick", lambda source: RunnableParallel(out=source).pick("out")),
    Kind("assign", lambda source: RunnableLambda(_as_dict).assign(out=RunnableLambda(_of_dict) | source).pick("out")),
    Kind(
        "what an assign passes on",
        lambda source: RunnableParallel(out=source) | RunnablePassthrough.assign(),
        lambda chunk: chunk["out"],
    ),
    Kind("lambda that returns it", lambda source: RunnableLambda(lambda _: source)),
    Kind("lambda of generator functions", _generator_lambda),
    Kind("lambda of a plain generator function", _thread_lambda, cancels=False),
    Kind("generator", _generator),
    Kind("bind", lambda source: source.bind(stop=["x"])),
    Kind("with_config", lambda source: source.with_config(tags=["t"])),
    Kind("with_retry", lambda source: source.with_retry(stop_after_attempt=1)),
    Kind("with_fallbacks", lambda source: source.with_fallbacks([])),
    Kind("watched by a callback", _watched),
]
