"""`any_chunking`: a test that gets the same document in every chunking that could tell two readings of it apart."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from fakellm.contracts.consumers.attempt import PARAMETER, call_test
from fakellm.contracts.consumers.given import about, documents_of, replayed
from fakellm.contracts.consumers.moves import SEED, Selection
from fakellm.contracts.consumers.verdict import judge_test
from fakellm.contracts.documents import Document, Moves
from fakellm.contracts.progress import Progress
from fakellm.errors import ContractUsageError, clip

Test = TypeVar("Test", bound=Callable[..., Any])


def any_chunking(
    *documents: Any,
    examples: int | None = None,
    seed: int = SEED,
    sse: bool | None = None,
    stop: str | Iterable[str] = (),
    empty: bool = True,
    contracts: str | Iterable[str] | None = None,
    limit: int | None = None,
    only: Moves | None = None,
) -> Callable[[Test], Test]:
    r"""Run a test on each document in many chunkings, and show the smallest that fails.

        @any_chunking("<think>plan</think>The answer")
        def test_parser(chunks):
            assert parse(chunks) == Parsed(thinking="plan", text="The answer")

    A document is a `str` (cut between any two code points), `bytes` (cut anywhere), or structured chunks: a `Script`
    or a list of chunks of an API. Bytes whose first line is a field of server-sent events and which hold an event
    are an event stream: their lines may end otherwise too, and comments may come between events. `sse=False` takes
    them for bytes, `sse=True` says that they must be a stream. `stop` are stop sequences that are in a document.
    `contracts` keeps the moves to those that would break these, by their names in the catalogue: `"framing"` for an app
    whose SDK does not take every line end.

    `chunks`, a parameter of the test, is a list which can be read with `async for` as well. The test passes for every
    chunking or raises; or it returns a value, which has to be the same for all. Its other parameters are fixtures, as
    ever; those live for all chunkings. An `async def` test runs for each in a new event loop, in virtual time.

    Each document is tried undivided (twice), per unit, every 2 to 16 units, with each single cut, with each window of
    0 to 3 units as a chunk of its own (width 0 is an empty chunk; `empty=False` leaves these out), all of that for up
    to 400 units, less per unit for longer ones, down to 60 variants; then in `examples` chunkings that hypothesis
    draws, the same for the same `seed`, by default 100, of long documents fewer, down to 20. `limit` is for tests that
    take long: so many variants of all that come before the examples, evenly spread. `only` are the moves that a
    failure showed: it replays this one chunking.

    Raises `BrokenContractError` with the smallest counter-example, the test's own error if it fails undivided, and
    `ContractUsageError` for what could prove nothing.
    """
    known = documents_of(documents, sse=sse, stop=stop, empty=empty)
    if contracts is not None and only is None:
        known = about(known, contracts)
    selection = Selection(examples=examples, seed=seed, limit=limit, only=replayed(known, only))
    return functools.partial(_decorated, known, selection)


def _decorated(documents: list[Document], selection: Selection, test: Test) -> Test:
    """Return the test as one that gets each document in many chunkings."""
    signature, place = _signature_without_chunks(test)
    name = getattr(test, "__name__", "the test")
    progress = Progress("chunkings")

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True
        if PARAMETER in kwargs:
            msg = f"any_chunking fills {PARAMETER!r} itself; to try one chunking write @any_chunking(..., only=(15,))"
            raise ContractUsageError(msg)

        def call(chunks: list[Any]) -> Any:
            __tracebackhide__ = True
            try:
                return call_test(test, place, args, kwargs, chunks)
            finally:
                progress.step()

        progress.begin()
        for number, document in enumerate(documents):
            judge_test(document, call, name, number, selection)

    run.__signature__ = signature  # type: ignore[attr-defined]
    run.sweep_progress = progress  # type: ignore[attr-defined]
    return run  # type: ignore[return-value]


def _signature_without_chunks(test: Callable[..., Any]) -> tuple[inspect.Signature, int]:
    """Return what pytest is to see, and the place of `chunks`, which it is not.

    Raises `ContractUsageError` for what is no test with `chunks`.
    """
    if isinstance(test, (staticmethod, classmethod)):
        msg = f"put @any_chunking below @{type(test).__name__}, so that it gets the function"
        raise ContractUsageError(msg)
    if inspect.isclass(test) or not callable(test):
        msg = f"any_chunking decorates a test function or method, not {clip(repr(test), 80)}"
        raise ContractUsageError(msg)
    name = getattr(test, "__name__", repr(test))
    if inspect.isgeneratorfunction(test) or inspect.isasyncgenfunction(test):
        msg = f"{name} is a generator, which nobody would read; let it return a value, or assert"
        raise ContractUsageError(msg)
    signature = inspect.signature(test)
    found = signature.parameters.get(PARAMETER)
    if found is None or found.kind not in (found.POSITIONAL_OR_KEYWORD, found.KEYWORD_ONLY):
        msg = f"{name}{signature} has no parameter named {PARAMETER!r}, so it cannot be given the chunks: add one"
        raise ContractUsageError(msg)
    others = [parameter for parameter in signature.parameters.values() if parameter is not found]
    place = list(signature.parameters).index(PARAMETER) if found.kind is found.POSITIONAL_OR_KEYWORD else sys.maxsize
    return signature.replace(parameters=others), place
