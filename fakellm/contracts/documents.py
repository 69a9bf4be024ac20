"""What can be fed to a consumer in many ways that must all mean the same: a document and its legal moves.

A move is one change to how a document arrives: a cut, an empty chunk, a comment between two events, the pieces of two
tool calls in another order. Whatever set of moves is made, the answer that the chunks carry is the same, so a
consumer's result has to be. A counter-example is a set of moves, and is made small by leaving moves out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Moves = tuple[Any, ...]
"""A sorted tuple of moves; the empty one leaves the document as it is."""


class Document(Protocol):
    """A document and its legal moves. Immutable; everything about it is deterministic."""

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


# Why ddmin, on the set of moves. A failure is found with many cuts at once, and what its reader wants is the one cut
# that matters. Hypothesis makes small what it drew, and a drawing of many cuts is often "small" to it as
# one-character chunks, in which nothing can be read. On the set of cuts ddmin takes 11 to 15 runs at the median, and
# ends at one or two cuts. It must work on sets, not on distances between cuts: leaving a cut out never moves another
# one.
#
# What it finds is a set from which nothing can be left out, not the smallest there is: errors can cancel each other
# (one planted bug shows at 2 of 278 single cuts, and with one-character chunks not at all). So who searches also
# looks in the sweep for a set of one move, or of two, that fails as well.


def ddmin(moves: Moves, fails: Any) -> Moves:
    """Return a smallest part of `moves` for which `fails(part)` is still true: no single move can be left out.

    Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002. `fails(moves)` is taken to be
    true and is not run again.
    """
    parts = 2
    while len(moves) > 1:
        size = -(-len(moves) // parts)
        pieces = [moves[at : at + size] for at in range(0, len(moves), size)]
        others = [tuple(m for p in pieces[:n] + pieces[n + 1 :] for m in p) for n in range(len(pieces))]
        smaller = next((part for part in (*pieces, *others) if len(part) < len(moves) and fails(part)), None)
        if smaller is not None:
            parts = max(parts - 1, 2) if len(smaller) > size else 2
            moves = smaller
        elif parts >= len(moves):
            break
        else:
            parts = min(parts * 2, len(moves))
    return moves
