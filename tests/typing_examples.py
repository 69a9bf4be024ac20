"""What type checkers must say of an app's code; read by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from fakellm import FakeChatModel, FakeLLM, Runnable, Script, Text
from fakellm.runnable import RunnableConfig
from fakellm.script import Event, Message


class Doubler(Runnable[int, int]):
    def invoke(self, input: int, config: RunnableConfig | None = None, **kwargs: object) -> int:
        return 2 * input


def words(chunks: Iterator[str]) -> Iterator[str]:
    for chunk in chunks:
        yield from chunk.split()


def length(text: str) -> int:
    return len(text)


assert_type(FakeLLM("a").invoke("?"), str)
assert_type(FakeLLM("a").stream("?"), Iterator[str])
assert_type(FakeLLM("a").astream("?"), AsyncIterator[str])
assert_type(FakeLLM("a").batch(["?"]), list[str])
assert_type(FakeLLM("a").batch(["?"], return_exceptions=True), list[str | Exception])
assert_type(FakeLLM.replies("a", ["b", "c"]).when("x", "y").otherwise("z"), FakeLLM)
assert_type(FakeChatModel("a").invoke([("user", "?")]), Message)
assert_type(Doubler().invoke(1), int)
assert_type(Doubler().with_retry().bind(x=1).with_config(tags=["t"]).invoke(1), int)
assert_type(Doubler().with_fallbacks([Doubler()]).batch([1]), list[int])
assert_type((Doubler() | Doubler()).invoke(1), int)
assert_type(Script("a")[0], Event)
assert_type(Script("a")[:1], Script)
assert_type(Script.of("a b", "words") + Text("c"), Script)
