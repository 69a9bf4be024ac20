"""How fast batches of fakes are: `python benchmarks/batches.py`, less than a minute.

Models are made for each batch, ours and theirs, since the log of a fake grows with its calls. Each input is a
short string, and so is each answer. FakeListLLM answers a batch in one thread, the others use a pool.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

from measure import NO_LANGCHAIN, SPEED_HEADS, Row, by_rivals, race, rounds, speeds, table, timed

from fakellm import FakeChatModel, FakeLLM

try:
    from langchain_core.language_models import fake, fake_chat_models
except ImportError:
    fake = fake_chat_models = None

SMALL, LARGE = 1_000, 10_000
SMALL_SECONDS = 5.0
PAIR_SECONDS = 6.0
ROWS = [
    Row("FakeLLM.batch", "FakeListLLM.batch"),
    Row("FakeLLM.abatch", "FakeListLLM.abatch"),
    Row("FakeChatModel.batch", "GenericFakeChatModel.batch"),
    Row("FakeChatModel.abatch", "GenericFakeChatModel.abatch"),
]
Makers = dict[str, Callable[[], Any]]
Job = Callable[[], object]


def makers() -> Makers:
    """Return the functions that make the models."""
    return {
        "FakeLLM": lambda: FakeLLM("answer"),
        "FakeChatModel": lambda: FakeChatModel("answer"),
        "FakeListLLM": lambda: fake.FakeListLLM(responses=["answer"]),
        "GenericFakeChatModel": lambda: fake_chat_models.GenericFakeChatModel(messages=cycle(["answer"])),
    }


def batches(models: Makers, size: int, run: Callable[[Any], object]) -> dict[str, Job]:
    """Return a batch and an asynchronous batch of that size for each of the models."""
    inputs = ["question"] * size

    def batch(make: Callable[[], Any]) -> object:
        return make().batch(inputs)

    def abatch(make: Callable[[], Any]) -> object:
        return run(make().abatch(inputs))

    named = {f"{name}.batch": partial(batch, make) for name, make in models.items()}
    return named | {f"{name}.abatch": partial(abatch, make) for name, make in models.items()}


def small(jobs: dict[str, Job]) -> list[list[str]]:
    """Let all take turns in the same rounds."""
    return speeds(race(by_rivals(jobs, ROWS), seconds=SMALL_SECONDS), ROWS)


def large(jobs: dict[str, Job]) -> list[list[str]]:
    """Let each pair of rivals take turns by itself, since some need seconds: 2 rounds at least."""
    cells: list[list[str]] = []
    for row in ROWS:
        pair = {name: partial(timed, job) for name, job in by_rivals(jobs, [row]).items()}
        cells += speeds(rounds(pair, seconds=PAIR_SECONDS, least=2), [row])
    return cells


def main() -> None:
    if fake is None:
        print(NO_LANGCHAIN)
        return
    models = makers()
    with asyncio.Runner() as runner:
        for size, measured in ((SMALL, small), (LARGE, large)):
            cells = measured(batches(models, size, runner.run))
            print(table(f"batches of {size:,} inputs, medians", SPEED_HEADS, cells))


if __name__ == "__main__":
    main()
