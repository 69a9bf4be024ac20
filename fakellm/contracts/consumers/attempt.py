"""One attempt: a consumer is fed the chunks after one set of moves, and what it makes of them is compared.

Chunks reach it with `for` and with `async for`, and it returns, awaits or yields. What comes of that is compared with
what it makes of the undivided document, which it is given twice first: what then differs can be compared with nothing.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from fakellm.concurrency import checkpoint, checkpointer
from fakellm.contracts.consumers.cuts import joined
from fakellm.contracts.consumers.moves import Selection
from fakellm.contracts.documents import Document, Moves, others
from fakellm.errors import ContractUsageError, UnexpectedCallError, clip

Consume = Callable[[Any], Any]
"""A consumer: gets a `Stream` of chunks; returns a value or yields, with or without `async`."""

Run = Callable[[list[Any]], Any]
"""What is tried: gets a list of chunks; returns a value or raises."""

PARAMETER = "chunks"
"""The parameter of a test that gets them."""

_TEXT = 500
_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")


class Chunks(list[Any]):
    """A list of chunks that can also be read with `async for`; other tasks run before each chunk."""

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Yield the chunks."""
        let_others_run = checkpointer()
        for chunk in self:
            if (turn := let_others_run()) is not None:
                await turn
            yield chunk


class _Closed:
    """What closing a stream returns: nothing, that may be awaited, as SDKs have it in asynchronous streams."""

    def __await__(self) -> Iterator[Any]:
        return iter(())


class Stream:
    """Chunks as a stream gives them: once, with `for` or `async for`; it can be closed, in whichever way."""

    def __init__(self, chunks: Iterable[Any]) -> None:
        self._chunks = iter(chunks)

    def _close(self) -> None:
        self._chunks = iter(())

    def close(self) -> _Closed:
        """Give no more chunks."""
        self._close()
        return _Closed()

    async def aclose(self) -> None:
        """Give no more chunks."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._close()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._chunks)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        await checkpoint()
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


def feed(consume: Consume, document: Document, chunks: list[Any]) -> Any:
    """Give chunks of a document to a consumer as a stream, and return its settled result."""
    return settle(consume(Stream(chunks)), getattr(document, "gather", joined))


def call_test(
    test: Callable[..., Any], place: int, args: tuple[Any, ...], kwargs: dict[str, Any], chunks: list[Any]
) -> Any:
    """Give chunks to a test, at their place among its positional arguments or by name; return its settled result."""
    __tracebackhide__ = True
    if len(args) > place:
        return settle(test(*args[:place], Chunks(chunks), *args[place:], **kwargs))
    return settle(test(*args, **kwargs, **{PARAMETER: Chunks(chunks)}))


def settle(result: Any, gather: Callable[[list[Any]], Any] = joined) -> Any:
    """Return what a consumer's result comes to: awaited, or if it is a stream read to its end and gathered.

    Asynchronous results are awaited on a new event loop in virtual time. Raises what the consumer raises.
    """
    if inspect.isawaitable(result) or isinstance(result, AsyncIterator):
        result = run_async(_settle, result)
    return gather([*result]) if isinstance(result, (Iterator, _Pieces)) else result


class _Pieces(list[Any]):
    """What an asynchronous generator yielded."""


def run_async(read: Callable[..., Coroutine[Any, Any, Any]], result: Any, *args: Any) -> Any:
    """Read a consumer's result in a new loop, in virtual time. Raises `ContractUsageError` inside a running one."""
    from asyncio import _get_running_loop

    from fakellm.clock.virtual_loop import run

    if _get_running_loop() is None:
        return run(read(result, *args))
    if inspect.iscoroutine(result):
        result.close()
    msg = "asynchronous code under test gets an event loop of its own, so do not call this inside a running event loop"
    raise ContractUsageError(msg)


async def _settle(result: Any) -> Any:
    if inspect.isawaitable(result):
        result = await result
    return _Pieces([piece async for piece in result]) if isinstance(result, AsyncIterator) else result


# -- what comes of it, compared ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a consumer made of some chunks: a value, or an error."""

    value: Any = None
    error: BaseException | None = None

    def equals(self, other: Outcome) -> bool:
        """Tell whether both came to the same; of two errors, their classes are compared."""
        if self.error is not None or other.error is not None:
            return type(self.error) is type(other.error)
        return is_same(self.value, other.value)

    @property
    def text(self) -> str:
        """The repr of the value, or class and text of the error; the same for the same, whose address is left out."""
        what = self.value if self.error is None else self.error
        name = type(what).__name__
        try:
            text = repr(what) if self.error is None else f"{name}: {what}".removesuffix(": ")
        except Exception as error:  # noqa: BLE001 - of code under test
            return f"{name}, whose {'repr' if self.error is None else 'text'} raises {type(error).__name__}"
        return _ADDRESS.sub("at 0x…", text)

    def looks_like(self, other: Outcome) -> bool:
        """Tell whether two values are not equal, though nobody sees why: objects without `==`, or a NaN inside."""
        return self.error is None and other.error is None and not self.equals(other) and self.text == other.text

    def __str__(self) -> str:
        return clip(self.text, _TEXT)


def is_same(one: Any, other: Any) -> bool:
    """Tell whether two results are equal. Raises `ContractUsageError` where that has no answer."""
    try:
        return bool(one is other or one == other)
    except Exception as error:
        msg = (
            f"two results of the consumer cannot be compared ({type(error).__name__}: {error}); let it return "
            "something that == compares as a whole, such as a text or a list"
        )
        raise ContractUsageError(msg) from error


def attempted(run: Run, chunks: list[Any]) -> Outcome:
    """Return what comes of chunks."""
    try:
        return Outcome(run(chunks))
    except ContractUsageError:
        raise
    except failures() as error:
        return Outcome(error=error)


def failures() -> tuple[type[BaseException], ...]:
    """Return what counts as a failure of a consumer or test: every error, and `pytest.fail`; a skip does not."""
    pytest = sys.modules.get("pytest")
    return (Exception, UnexpectedCallError, *((pytest.fail.Exception,) if pytest else ()))


def on_whole(consume: Consume, document: Document) -> Outcome:
    """Return what a consumer makes of the undivided document."""
    return attempted(partial(feed, consume, document), document.apply(()))


class Attempts:
    """The attempts with one document. `whole` is what comes of it undivided, `runs` how many there were."""

    def __init__(self, document: Document, run: Run) -> None:
        self.runs = 0
        self._document = document
        self._run = run
        self._failed: dict[Moves, bool] = {}
        self.whole = self.with_moves(())

    def with_moves(self, moves: Moves) -> Outcome:
        """Return what comes of the chunks after these moves."""
        self.runs += 1
        return attempted(self._run, self._document.apply(moves))

    def fails(self, moves: Moves) -> bool:
        """Tell whether these moves make a difference, and one that is about the contract in focus."""
        return not self.with_moves(moves).equals(self.whole) and not self._fails_beside(moves)

    def _fails_beside(self, moves: Moves) -> bool:
        """Tell whether it fails for what of the moves is about another contract."""
        beside = others(self._document, moves)
        if beside and beside not in self._failed:
            self._failed[beside] = not self.with_moves(beside).equals(self.whole)
        return bool(beside) and self._failed[beside]

    def first_failing(self, selection: Selection) -> tuple[Moves, int] | None:
        """Return the first selected set of moves that makes a difference, and how many runs that took, or None.

        Raises `ContractUsageError` where the same chunks do not give the same result.
        """
        self._check_again("twice")
        for moves in selection.of(self._document):
            outcome = self.with_moves(moves)
            if not outcome.equals(self.whole) and not self._fails_beside(moves):
                tried = self.runs
                self._confirm(moves, outcome)
                return moves, tried
        return None

    def _confirm(self, moves: Moves, outcome: Outcome) -> None:
        """Make sure that a difference is one of these chunks, and not of chance or of what ran before."""
        self._check_again("before and after another variant")
        again = self.with_moves(moves)
        if again.equals(outcome):
            return
        msg = (
            "the consumer was given the same chunks twice and came to two results: the code under test is "
            "nondeterministic\n"
            f"  chunks:    {self._document.shown(moves)}\n  first:     {outcome}\n  then:      {again}"
        )
        raise ContractUsageError(msg) from (outcome.error or again.error)

    def _check_again(self, when: str) -> None:
        again = self.with_moves(())
        if self.whole.equals(again):
            return
        msg = (
            f"the consumer was given the same undivided document {when} and came to two results: it keeps state from "
            "one call to the next, depends on chance or time, or its result has no ==; nothing can be compared\n"
            f"  first:     {self.whole}\n  then:      {again}"
        )
        raise ContractUsageError(msg) from again.error
