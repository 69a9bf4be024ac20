"""The smallest set of moves that fails.

The first set that makes a difference is tried again, made small by leaving moves out, and compared with smaller sets
of the sweep; what is left is tried once more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fakellm.contracts.consumers.attempt import Attempts, Outcome, Run
from fakellm.contracts.consumers.moves import ALL, Selection
from fakellm.contracts.documents import Document, Moves


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


def search(document: Document, run: Run, selection: Selection = ALL) -> Finding | None:
    """Return the smallest set of moves for which `run(chunks)` differs from that of the undivided document.

    With `only` in the selection that one set is shown as it is. If `run` raises for the document as it is, the smallest
    set is the empty one. Raises `ContractUsageError` if the same chunks do not give the same result.
    """
    attempts = Attempts(document, run)
    whole = attempts.whole
    if whole.error is not None:
        return Finding(document, (), whole, whole, attempts.runs, 0)
    failing = attempts.first_failing(selection)
    if failing is None:
        return None
    moves, tried = failing
    if selection.only is None:
        moves = smallest(document, attempts.fails, moves)
    divided = attempts.with_moves(moves)
    return Finding(document, moves, whole, divided, tried, attempts.runs - tried)


def smallest(document: Document, fails: Callable[[Moves], bool], moves: Moves, *, thorough: bool = True) -> Moves:
    """Leave moves out for as long as it fails; return a smallest set.

    If `thorough`, look in the sweep for a set that is smaller still, and then for one that is plainer.
    """
    found = ddmin(moves, fails)
    if not thorough:
        return found
    for size in (1, 2):  # a single cut, an isolation
        if len(found) > size:
            found = next((m for m in document.sweep() if len(m) == size and fails(m)), found)
    plainer: Callable[[Moves], list[Moves]] | None = getattr(document, "plainer", None)
    return found if plainer is None else next((m for m in plainer(found) if fails(m)), found)


# Why ddmin, on the set of moves. A failure is found with many cuts at once, and what its reader wants is the one cut
# that matters. Hypothesis makes small what it drew, and a drawing of many cuts is often "small" to it as
# one-character chunks, in which nothing can be read. On the set of cuts ddmin takes 11 to 15 runs at the median, and
# ends at one or two cuts. It must work on sets, not on distances between cuts: leaving a cut out never moves another
# one.
#
# What it finds is a set from which nothing can be left out, not the smallest there is: errors can cancel each other
# (one planted bug shows at 2 of 278 single cuts, and with one-character chunks not at all). So who searches also
# looks in the sweep for a set of one move, or of two, that fails as well.


def ddmin(moves: Moves, fails: Callable[[Moves], bool]) -> Moves:
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
