"""The moves of a document that are tried: its sweep, then examples of its strategy, which a seed alone decides.

Hypothesis' own engine also draws constants that it finds in the modules which happen to be loaded, so the same seed
gives other examples when other tests ran before. Here its strategies read bytes that the seed alone decides, through
the door that hypothesis has for fuzzers: a verdict is the same at every run, alone or among others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import chain, islice
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from fakellm.contracts.consumers.cuts import spread
from fakellm.contracts.documents import Document, Moves
from fakellm.errors import ContractUsageError

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

T = TypeVar("T")
_BYTES = 512
_order: ContextVar[tuple[SearchStrategy[Any], list[Any]]] = ContextVar("order")

EXAMPLES = 100
"""How many examples are drawn where neither the caller nor the document says."""
SEED = 0


@dataclass(frozen=True)
class Selection:
    """Which sets of a document's moves are tried: its sweep, then examples of its strategy; or `only` one.

    Of a sweep with more than `limit` sets the first are tried, which are the likeliest, and of the others some that are
    evenly spread. By default `examples` are as many as the document says. Raises `ContractUsageError` for a number that
    is none.
    """

    examples: int | None = None
    seed: int = SEED
    limit: int | None = None
    only: Moves | None = None

    def __post_init__(self) -> None:
        numbers = {"examples": self.examples, "seed": self.seed, "limit": self.limit}
        for name, value in numbers.items():
            if value is None and name != "seed":
                continue
            if type(value) is not int or value < 0:
                msg = f"{name} is a whole number from 0 up, not {value!r}"
                raise ContractUsageError(msg)

    def of(self, document: Document) -> Iterator[Moves]:
        """Yield the sets, each once and the empty one never."""
        if self.only is not None:
            yield self.only
            return
        seen: set[Moves] = {()}
        for moves in chain(self._swept(document), self._drawn(document)):
            if moves not in seen:
                seen.add(moves)
                yield moves

    def _swept(self, document: Document) -> Iterator[Moves]:
        sweep = document.sweep()
        if self.limit is None:
            yield from sweep
            return
        yield from islice(sweep, self.limit // 4)
        yield from spread([*sweep], self.limit - self.limit // 4)

    def _drawn(self, document: Document) -> Iterator[Moves]:
        """Draw when the sweep is done: a failure that it finds costs no import of hypothesis."""
        count: int = getattr(document, "examples", EXAMPLES) if self.examples is None else self.examples
        if count:
            yield from _examples(document, count, self.seed)


ALL = Selection()
"""The whole sweep, and as many examples as the document says."""


def _examples(document: Document, count: int, seed: int) -> Sequence[Moves]:
    """Return what is drawn for a document: once for all consumers that are checked on it, where it can be a key.

    Drawing takes most of a check's time, and every consumer of a project meets the same documents.
    """
    try:
        hash(document)
    except TypeError:  # one of the caller's own
        return drawn(document.strategy(), count, seed)
    return _remembered(document, count, seed)  # type: ignore[arg-type]


@lru_cache(maxsize=256)
def _remembered(document: Any, count: int, seed: int) -> Sequence[Moves]:
    return tuple(drawn(document.strategy(), count, seed))


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
