"""The search: feeds a document in many ways to a consumer, and makes the way that fails small.

First undivided, twice: what fails then is no matter of chunks, and what then differs can be compared with nothing.
Then the document's sweep, then examples of its strategy. The first failure is run again, made small by leaving moves
out, and compared with smaller sets of the sweep; what is left is run once more.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

from fakellm.contracts.consumers.cuts import Cuts, spread
from fakellm.contracts.consumers.drawing import drawn
from fakellm.contracts.consumers.sse_moves import SSEBody, looks_like_sse
from fakellm.contracts.documents import Document, Moves, ddmin
from fakellm.contracts.verdicts import broken
from fakellm.errors import BrokenContractError, ContractUsageError, UnexpectedCallError, clip

_TEXT = 500
_LINE = 300
_SHORT, _CONTEXT = 160, 40
_PLAIN = 12
EXAMPLES = 100
"""How many examples are drawn where neither the caller nor the document says."""
SEED = 0


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
        """The repr of the value, or class and text of the error."""
        if self.error is None:
            return repr(self.value)
        return f"{type(self.error).__name__}: {self.error}".removesuffix(": ")

    def __str__(self) -> str:
        return clip(self.text, _TEXT)


@dataclass(frozen=True, eq=False)
class Finding:
    """The smallest set of moves that was found for which the outcome differs from that of the undivided document."""

    document: Document
    moves: Moves
    whole: Outcome
    divided: Outcome
    tried: int
    shrunk: int

    @property
    def contract(self) -> str:
        """The contract that is broken."""
        return self.document.contract(self.moves)

    @property
    def chunks(self) -> list[Any]:
        """The counter-example."""
        return self.document.apply(self.moves)

    def broken(
        self, what: str, how: str, contract: str | None = None, *, passes: str = "", long: str = ""
    ) -> BrokenContractError:
        """Return the error that shows it.

        `how` is the call to paste, with `$` for its arguments, `long` the one for a document that is too long for
        that; `passes` is what a test without a value does.
        """
        whole, divided = passes or self.whole.text, self.divided.text
        if self.divided.error is None:
            whole, divided = _around_first_difference(whole, divided)
        return broken(
            contract or self.contract,
            what,
            ("chunks", self.document.shown(self.moves)),
            ("undivided", clip(whole, _TEXT if self.divided.error is None else _SHORT)),
            ("divided", clip(divided, _TEXT)),
            ("tried", f"{_count(self.tried, 'variant')}, then {self.shrunk} to make the failing one small"),
            ("replay", self._replay(how, long)),
        )

    def _replay(self, how: str, long: str) -> str:
        document, only = pasted(self.document), f"only={self.moves!r}"
        if document is not None and (not long or isinstance(self.document, (Cuts, SSEBody))):
            return how.replace("$", f"{document}, {only}", 1)
        return long.replace("$", only) or f"add {only} to the arguments of {how.partition('(')[0]}, for this document"


def _around_first_difference(one: str, other: str) -> tuple[str, str]:
    """Return of two texts, where one is long, the same part: what is around the place where they begin to differ."""
    if max(len(one), len(other)) <= _SHORT:
        return one, other
    same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    start = same - _CONTEXT if same > 2 * _CONTEXT else 0
    end = start + _SHORT
    return tuple("…" * (start > 0) + text[start:end] + "…" * (len(text) > end) for text in (one, other))  # type: ignore[return-value]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


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


def pasted(document: Document) -> str | None:
    """Return the document as an argument to paste, or None where it is long or no literal."""
    if isinstance(document, (Cuts, SSEBody)):
        (whole,) = document.apply(())
        is_plain = isinstance(document, Cuts) and isinstance(whole, bytes) and looks_like_sse(whole)
        stop = f", stop={document.stop!r}" if isinstance(document, Cuts) and document.stop else ""
        text: str | None = repr(whole)
    else:
        text, is_plain, stop = getattr(document, "literal", None), False, ""
    return text + stop + ", sse=False" * is_plain if text is not None and len(text) <= _LINE else None


class UndividedError(Exception):
    """The consumer fails on the document as it is: it is no matter of chunks."""


def failures() -> tuple[type[BaseException], ...]:
    """Return what counts as a failure of a consumer or test: every error, and `pytest.fail`; a skip does not."""
    pytest = sys.modules.get("pytest")
    return (Exception, UnexpectedCallError, *((pytest.fail.Exception,) if pytest else ()))


def attempted(consume: Callable[[list[Any]], Any], chunks: list[Any]) -> Outcome:
    """Return what a consumer makes of chunks."""
    try:
        return Outcome(consume(chunks))
    except ContractUsageError:
        raise
    except failures() as error:
        return Outcome(error=error)


class _Search:
    """One document and one consumer."""

    def __init__(self, document: Document, consume: Callable[[list[Any]], Any]) -> None:
        self.document = document
        self.consume = consume
        self.runs = 0
        self.whole = self._undivided()

    def attempt(self, moves: Moves) -> Outcome:
        self.runs += 1
        return attempted(self.consume, self.document.apply(moves))

    def _undivided(self) -> Outcome:
        whole = self.attempt(())
        if whole.error is not None:
            raise UndividedError from whole.error
        self._check_again(whole, self.attempt(()), "twice")
        return whole

    def _check_again(self, whole: Outcome, again: Outcome, when: str) -> None:
        if whole.equals(again):
            return
        msg = (
            f"the consumer was given the same undivided document {when} and came to two results: it keeps state from "
            "one call to the next, depends on chance or time, or its result has no ==; nothing can be compared\n"
            f"  first:     {whole}\n  then:      {again}"
        )
        raise ContractUsageError(msg) from again.error

    def fails(self, moves: Moves) -> bool:
        return not self.attempt(moves).equals(self.whole)

    def first_of(self, variants: Iterable[Moves], smaller: Callable[[Moves], Moves]) -> Finding | None:
        """Return the first set of moves that fails, made smaller, or None."""
        for moves in variants:
            outcome = self.attempt(moves)
            if not outcome.equals(self.whole):
                tried = self.runs
                self._check_twice(moves, outcome)
                moves = smaller(moves)  # noqa: PLW2901 - the same counter-example, smaller
                divided = self.attempt(moves)
                return Finding(self.document, moves, self.whole, divided, tried, self.runs - tried)
        return None

    @staticmethod
    def as_it_is(moves: Moves) -> Moves:
        """Return the moves."""
        return moves

    def _check_twice(self, moves: Moves, outcome: Outcome) -> None:
        """Make sure that the failure is one of these chunks, and not of chance or of what ran before."""
        self._check_again(self.whole, self.attempt(()), "before and after another variant")
        again = self.attempt(moves)
        if again.equals(outcome):
            return
        msg = (
            "the consumer was given the same chunks twice and came to two results: the code under test is "
            "nondeterministic\n"
            f"  chunks:    {self.document.shown(moves)}\n  first:     {outcome}\n  then:      {again}"
        )
        raise ContractUsageError(msg) from (outcome.error or again.error)

    def smallest(self, moves: Moves) -> Moves:
        """Leave moves out; then look in the sweep for a set that is smaller still."""
        smallest = ddmin(moves, self.fails)
        if len(smallest) > 1:
            smallest = next((m for m in self.document.sweep() if len(m) == 1 and self.fails(m)), smallest)
        if len(smallest) > 2:  # noqa: PLR2004 - an isolation is two cuts
            smallest = next((m for m in self.document.sweep() if len(m) == 2 and self.fails(m)), smallest)  # noqa: PLR2004
        return self._plainest(smallest)

    def _plainest(self, moves: Moves) -> Moves:
        """Return a cut where nothing is special, if that fails as well: then it is not about white space or the end."""
        if not isinstance(self.document, Cuts) or self.document.contract(moves) != "whitespace_tail":
            return moves
        places = self.document.plain
        few = [*places[:_PLAIN], *spread(places[_PLAIN:], _PLAIN)]
        return next(((place,) for place in few if self.fails((place,))), moves)


def _distinct(document: Document, examples: int | None, seed: int, limit: int | None) -> Iterator[Moves]:
    """Yield the sweep, then examples, each set of moves once and the empty one never."""
    count: int = getattr(document, "examples", EXAMPLES) if examples is None else examples
    seen: set[Moves] = {()}
    for moves in chain(_bounded(document.sweep(), limit), _examples(document, count, seed)):
        if moves not in seen:
            seen.add(moves)
            yield moves


def _bounded(sweep: Iterator[Moves], limit: int | None) -> Iterator[Moves]:
    """Yield at most so many sets of a sweep: the first, which are the likeliest, and the others evenly spread."""
    if limit is None:
        return sweep
    first = [*islice(sweep, limit // 4)]
    return iter(first + spread([*sweep], limit - len(first)))


def _examples(document: Document, examples: int, seed: int) -> Iterator[Moves]:
    """Draw when the sweep is done: a failure that it finds costs no import of hypothesis."""
    if examples:
        yield from drawn(document.strategy(), examples, seed)


def focused(document: Document, contract: str) -> Document | None:
    """Return the document with the moves for one contract, or None if it has none."""
    if isinstance(document, (Cuts, SSEBody)):
        found = replace(document, focus=contract)
        return found if found.applies else None
    of, contracts = getattr(document, "of", None), getattr(document, "contracts", ())
    return of(contract) if of is not None and contract in contracts else None


def search(
    document: Document,
    consume: Callable[[list[Any]], Any],
    *,
    examples: int | None = None,
    seed: int = SEED,
    limit: int | None = None,
    only: Moves | None = None,
) -> Finding | None:
    """Return the smallest set of moves for which `consume(chunks)` differs from that of the undivided document.

    `consume` gets a list of chunks and returns a value, or raises. `limit` bounds the sweep, and
    `examples` are 100 by default, fewer for a long document. With `only` this one set
    of moves is tried, and shown as it is. Raises `UndividedError` if `consume` raises for the document as it is, and
    `ContractUsageError` if the same chunks do not give the same result.
    """
    found = _Search(document, consume)
    if only is not None:
        return found.first_of([only], found.as_it_is)
    return found.first_of(_distinct(document, examples, seed, limit), found.smallest)
