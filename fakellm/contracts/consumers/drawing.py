"""Examples of a hypothesis strategy that depend on a seed and on nothing else.

Hypothesis' own engine also draws constants that it finds in the modules which happen to be loaded, so the same seed
gives other examples when other tests ran before. Here its strategies read bytes that the seed alone decides, through
the door that hypothesis has for fuzzers: a verdict is the same at every run, alone or among others.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

T = TypeVar("T")
_BYTES = 512
_order: ContextVar[tuple[SearchStrategy[Any], list[Any]]] = ContextVar("order")


def drawn(strategy: SearchStrategy[T], examples: int, seed: int) -> list[T]:
    """Return at most so many examples of the strategy; fewer where it refuses what it reads."""
    found: list[T] = []
    read = _reader()
    random = Random(seed)  # noqa: S311 - examples, no secret
    token = _order.set((strategy, found))
    try:
        for _ in range(examples):
            read(random.randbytes(_BYTES))
    finally:
        _order.reset(token)
    return found


@cache
def _reader() -> Callable[[bytes], object]:
    """Return what draws an example from bytes; hypothesis lets none be made inside a test of its own."""
    from hypothesis import currently_in_test_context

    if not currently_in_test_context():
        return _make_reader()
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_make_reader).result()


def _make_reader() -> Callable[[bytes], object]:
    from hypothesis import given
    from hypothesis import strategies as st

    @given(st.data())
    def draw(data: st.DataObject) -> None:
        strategy, found = _order.get()
        found.append(data.draw(strategy))

    read: Callable[[bytes], object] = draw.hypothesis.fuzz_one_input  # type: ignore[attr-defined]
    return read
