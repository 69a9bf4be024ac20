"""What can be fed to a consumer in many ways that must all mean the same: a document and its legal moves.

A move is one change to how a document arrives: a cut, an empty chunk, a comment between two events, the pieces of two
tool calls in another order. Whatever set of moves is made, the answer that the chunks carry is the same, so a
consumer's result has to be. A counter-example is a set of moves, and is made small by leaving moves out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Moves = tuple[Any, ...]
"""A sorted tuple of moves; the empty one leaves the document as it is."""


class Document(Protocol):
    """A document and its legal moves. Immutable; everything about it is deterministic.

    Ours say more, where there is more to say: `of(contract)` is the document with the moves for one contract, `gather`
    what the pieces come to that a consumer yields, `examples` how many are drawn, `plainer(moves)` the sets of moves
    that would show the same failure more plainly, and `text` what it says.
    """

    def apply(self, moves: Moves) -> list[Any]:
        """Return the chunks after the moves; `apply(())` is the document as it is."""
        ...

    def sweep(self) -> Iterator[Moves]:
        """Yield the sets of moves that find most bugs, the likeliest first."""
        ...

    def strategy(self) -> SearchStrategy[Moves]:
        """Return the hypothesis strategy of sets of moves, for what the sweep does not reach."""
        ...

    def shown(self, moves: Moves) -> str:
        """Show the chunks around the moves, on one line where that can be: `'.</think'|'>The ans'`."""
        ...

    def contract(self, moves: Moves) -> str:
        """Return the name of the contract that a consumer breaks for which these moves are the smallest."""
        ...


def focused(document: Document, contract: str) -> Document | None:
    """Return the document with the moves for one contract, or None if it has none."""
    of: Callable[[str], Document | None] | None = getattr(document, "of", None)
    return None if of is None else of(contract)


def others(document: Document, moves: Moves) -> Moves:
    """Return the moves that are about another contract than the document has in focus.

    Cuts come with other line ends, so that a cut falls into one. A consumer that fails for these cuts alone breaks
    another contract, and nothing is said about this one.
    """
    of: Callable[[Moves], Moves] | None = getattr(document, "others", None)
    return () if of is None else of(moves)
