"""How fast fake streams are: `python benchmarks/streams.py`, about half a minute.

Each stream has 10,000 chunks and is consumed by an empty loop. GenericFakeChatModel cuts its message at white
space, which makes an odd number of pieces: it and its rival stream the same 9,999.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import chain, cycle, repeat
from typing import Any

from measure import NO_LANGCHAIN, SPEED_HEADS, Row, by_rivals, race, speeds, table

from fakellm import FakeChatModel, FakeLLM, Pause

try:
    from langchain_core.language_models import fake, fake_chat_models
except ImportError:
    fake = fake_chat_models = None

CHUNKS = 10_000
CALLS = 100
SECONDS = 30.0
PIECES = tuple(f"word{number:04} " for number in range(CHUNKS))
LETTERS = "abcdefghij" * (CHUNKS // 10)
TEXT = " ".join(f"word{number:04}" for number in range(CHUNKS // 2))
WORDS = tuple(re.split(r"(\s)", TEXT))
WATCHED: Any = {"callbacks": [lambda _: None]}
Job = Callable[[], object]

STREAMS = [
    Row("FakeLLM.stream", "bare generator", 0.5),
    Row("FakeLLM.astream", "bare async generator"),
    Row("FakeLLM.astream", "bare, sleep(0) per chunk"),
    Row("FakeLLM.stream, letters", "FakeStreamingListLLM.stream"),
    Row("FakeLLM.stream, letters, fresh", "FakeStreamingListLLM.stream, fresh", 0.25),
    Row("FakeChatModel.stream", "GenericFakeChatModel.stream", 20),
    Row("FakeChatModel.stream, fresh", "GenericFakeChatModel.stream, fresh"),
    Row("FakeLLM.stream, callback", "FakeLLM.stream"),
    Row("FakeLLM.stream, pauses", "FakeLLM.stream"),
    Row("FakeLLM.stream, function", "FakeLLM.stream"),
]
INVOKES = [
    Row("FakeLLM.invoke", "FakeListLLM.invoke"),
    Row("FakeChatModel.invoke", "GenericFakeChatModel.invoke"),
]


def consume(stream: Iterable[object]) -> None:
    for _ in stream:
        pass


async def aconsume(stream: AsyncIterator[object]) -> None:
    async for _ in stream:
        pass


def bare(chunks: tuple[str, ...]) -> Iterator[str]:
    for chunk in chunks:  # noqa: UP028 - what is measured
        yield chunk


async def abare(chunks: tuple[str, ...]) -> AsyncIterator[str]:
    for chunk in chunks:
        yield chunk


async def abare_polite(chunks: tuple[str, ...]) -> AsyncIterator[str]:
    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk


def speak(_: object) -> Iterator[str]:
    yield from PIECES


def our_streams() -> dict[str, Job]:
    """Streams that need no langchain-core: the bare generators, and ours."""
    plain, letters, chat, function = FakeLLM(*PIECES), FakeLLM(*LETTERS), FakeChatModel(*WORDS), FakeLLM(speak)
    pauses = FakeLLM(*chain.from_iterable(zip(PIECES, repeat(Pause(1)))))
    return {
        "bare generator": lambda: consume(bare(PIECES)),
        "FakeLLM.stream": lambda: consume(plain.stream("")),
        "FakeLLM.stream, callback": lambda: consume(plain.stream("", WATCHED)),
        "FakeLLM.stream, pauses": lambda: consume(pauses.stream("")),
        "FakeLLM.stream, function": lambda: consume(function.stream("")),
        "FakeLLM.stream, letters": lambda: consume(letters.stream("")),
        "FakeLLM.stream, letters, fresh": lambda: consume(FakeLLM(*LETTERS).stream("")),
        "FakeChatModel.stream": lambda: consume(chat.stream("")),
        "FakeChatModel.stream, fresh": lambda: consume(FakeChatModel(*WORDS).stream("")),
    }


def async_streams(run: Callable[[Any], object]) -> dict[str, Job]:
    """Asynchronous streams, each run in the same event loop."""
    plain = FakeLLM(*PIECES)
    return {
        "bare async generator": lambda: run(aconsume(abare(PIECES))),
        "bare, sleep(0) per chunk": lambda: run(aconsume(abare_polite(PIECES))),
        "FakeLLM.astream": lambda: run(aconsume(plain.astream(""))),
    }


def their_streams() -> dict[str, Job]:
    letters = fake.FakeStreamingListLLM(responses=[LETTERS])
    chat = fake_chat_models.GenericFakeChatModel(messages=cycle([TEXT]))
    return {
        "FakeStreamingListLLM.stream": lambda: consume(letters.stream("")),
        "FakeStreamingListLLM.stream, fresh": lambda: consume(
            fake.FakeStreamingListLLM(responses=[LETTERS]).stream(""),
        ),
        "GenericFakeChatModel.stream": lambda: consume(chat.stream("")),
        "GenericFakeChatModel.stream, fresh": lambda: consume(
            fake_chat_models.GenericFakeChatModel(messages=iter([TEXT])).stream(""),
        ),
    }


def calls(make: Callable[[], Any]) -> Job:
    """100 calls of a model that is made before the first, since the log of a fake grows with its calls."""

    def job() -> None:
        model = make()
        for _ in range(CALLS):
            model.invoke("question")

    return job


def our_invokes() -> dict[str, Job]:
    return {
        "FakeLLM.invoke": calls(lambda: FakeLLM("answer")),
        "FakeChatModel.invoke": calls(lambda: FakeChatModel("answer")),
    }


def their_invokes() -> dict[str, Job]:
    return {
        "FakeListLLM.invoke": calls(lambda: fake.FakeListLLM(responses=["answer"])),
        "GenericFakeChatModel.invoke": calls(
            lambda: fake_chat_models.GenericFakeChatModel(messages=cycle(["answer"])),
        ),
    }


def check_same_pieces() -> None:
    """Make sure that the rivals stream what we stream."""
    theirs = fake_chat_models.GenericFakeChatModel(messages=iter([TEXT])).stream("")
    if [chunk.content for chunk in theirs] != [chunk.content for chunk in FakeChatModel(*WORDS).stream("")]:
        msg = "GenericFakeChatModel cuts its message in another way than this script expects"
        raise SystemExit(msg)


def main() -> None:
    with asyncio.Runner() as runner:
        jobs = our_streams() | async_streams(runner.run) | our_invokes()
        if fake is None:
            print(NO_LANGCHAIN)
        else:
            check_same_pieces()
            jobs |= their_streams() | their_invokes()
        times = race(by_rivals(jobs, [*STREAMS, *INVOKES]), seconds=SECONDS)
    print(table(f"streams of {CHUNKS:,} chunks, medians", SPEED_HEADS, speeds(times, STREAMS)))
    invokes = speeds(times, INVOKES, per=CALLS)
    if invokes:
        print(table("one call, medians", SPEED_HEADS, invokes))


if __name__ == "__main__":
    main()
