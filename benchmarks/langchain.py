"""How fast the LangChain adapter is beside LangChain's own fake: `python benchmarks/langchain.py`, about half a minute.

Both stream the same 9,999 pieces through LangChain's own machinery, which takes most of the time.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import cycle
from typing import Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from measure import SPEED_HEADS, Row, by_rivals, race, speeds, table

from fakellm import FakeChatModel
from fakellm.integrations.langchain import as_langchain_chat_model

CALLS = 100
INPUTS = ["question"] * 1000
SECONDS = 30.0
TEXT = " ".join(f"word{number:04}" for number in range(5_000))
WORDS = tuple(re.split(r"(\s)", TEXT))
TARGETS = {"stream": 3.0, "astream": None, "invoke": 1.5, "batch": 1.5, "abatch": None}
ROWS = {kind: Row(f"adapter.{kind}", f"GenericFakeChatModel.{kind}", target) for kind, target in TARGETS.items()}


def consume(stream: Iterable[object]) -> None:
    for _ in stream:
        pass


async def aconsume(stream: AsyncIterator[object]) -> None:
    async for _ in stream:
        pass


def jobs_of(
    name: str, make: Callable[[], Any], speak: Callable[[], Any], run: Callable[[Any], object]
) -> dict[str, Any]:
    """Return the jobs of a model; `make` makes one that says little, `speak` one that streams."""
    speaker = speak()

    def invokes() -> None:
        model = make()
        for _ in range(CALLS):
            model.invoke("question")

    return {
        f"{name}.stream": lambda: consume(speaker.stream("question")),
        f"{name}.astream": lambda: run(aconsume(speaker.astream("question"))),
        f"{name}.invoke": invokes,
        f"{name}.batch": lambda: make().batch(INPUTS),
        f"{name}.abatch": lambda: run(make().abatch(INPUTS)),
    }


def main() -> None:
    with asyncio.Runner() as runner:
        jobs = jobs_of(
            "adapter",
            lambda: as_langchain_chat_model(FakeChatModel("answer")),
            lambda: as_langchain_chat_model(FakeChatModel(*WORDS)),
            runner.run,
        )
        jobs |= jobs_of(
            "GenericFakeChatModel",
            lambda: GenericFakeChatModel(messages=cycle(["answer"])),
            lambda: GenericFakeChatModel(messages=cycle([TEXT])),
            runner.run,
        )
        times = race(by_rivals(jobs, list(ROWS.values())), seconds=SECONDS)
    print(
        table(
            f"streams of {len(WORDS):,} chunks, medians", SPEED_HEADS, speeds(times, [ROWS["stream"], ROWS["astream"]])
        )
    )
    print(table("one call, medians", SPEED_HEADS, speeds(times, [ROWS["invoke"]], per=CALLS)))
    print(table(f"batches of {len(INPUTS):,}, medians", SPEED_HEADS, speeds(times, [ROWS["batch"], ROWS["abatch"]])))


if __name__ == "__main__":
    main()
