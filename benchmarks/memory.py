"""Whether streams take memory that grows with their length: `python benchmarks/memory.py`, less than a minute.

The script is there before the measuring begins. Bytes are those of tracemalloc: the most that was allocated
while the stream was consumed, and what is left when it has ended (the log of the call).
"""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from typing import Any

from measure import table, times_as, verdict

from fakellm import FakeChatModel, FakeLLM

LENGTHS = (1_000, 10_000, 100_000)
TARGET = 1.2
TURNS = 2
HEADS = (
    "stream",
    *(f"peak of {length:,}" for length in LENGTHS),
    *(f"left of {length:,}" for length in LENGTHS),
    "last / first peak",
    "target",
    "",
)


def consume(stream: Iterable[object]) -> None:
    for _ in stream:
        pass


async def aconsume(stream: AsyncIterator[object]) -> None:
    async for _ in stream:
        pass


def scripted(length: int) -> tuple[str, ...]:
    return tuple(f"token {number:06} " for number in range(length))


def generated(length: int) -> tuple[Callable[[object], Iterator[str]]]:
    """Return a reply that makes its chunks one by one."""

    def speak(_: object) -> Iterator[str]:
        for number in range(length):
            yield f"token {number:06} "

    return (speak,)


def allocated(job: Callable[[], object]) -> tuple[int, int]:
    """Return the bytes at the peak of the job and after its end.

    The least of several turns, after one to warm up: the interpreter's own free lists count as allocated.
    """
    job()
    peaks, lefts = zip(*(_allocated(job) for _ in range(TURNS)), strict=True)
    return min(peaks), min(lefts)


def _allocated(job: Callable[[], object]) -> tuple[int, int]:
    gc.collect()
    tracemalloc.start()
    try:
        job()
        gc.collect()
        left, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak, left


def job_of(model: Any, method: str, run: Callable[[Any], object]) -> Callable[[], object]:
    if method == "stream":
        return lambda: consume(model.stream("question"))
    return lambda: run(aconsume(model.astream("question")))


def line(make: Callable[..., Any], method: str, reply: Callable[[int], Any], run: Callable[[Any], object]) -> list[str]:
    """Measure one kind of stream in all lengths."""
    measured = [allocated(job_of(make(*reply(length)), method, run)) for length in LENGTHS]
    peaks, lefts = zip(*measured, strict=True)
    growth = peaks[-1] / peaks[0]
    return [
        f"{make.__name__}.{method}, {reply.__name__}",
        *(f"{count:,}" for count in (*peaks, *lefts)),
        times_as(growth),
        *verdict(growth, TARGET, "<=", times_as),
    ]


def main() -> None:
    with asyncio.Runner() as runner:
        measure = partial(line, run=runner.run)
        rows = [
            measure(make, method, reply)
            for make, method in ((FakeLLM, "stream"), (FakeLLM, "astream"), (FakeChatModel, "stream"))
            for reply in (scripted, generated)
        ]
    print(table("bytes that a stream takes beside its script", HEADS, rows))


if __name__ == "__main__":
    main()
