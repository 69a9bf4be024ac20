"""One stream and one consumer: what it makes of the stream in each variant, and each distinct way in which it fails.

The first oracle is the stream's own end. A stream that is whole is read without an error; one that broke as it was
recorded breaks again, and must not come to what it would come to had it ended there. Then chunks: whatever the stream
is cut into, it comes to the same; or, against another version, to what that comes to for the same chunks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from fakellm.contracts.consumers.attempt import Consume, Outcome, Stream, is_same, settle
from fakellm.contracts.consumers.cuts import joined
from fakellm.contracts.consumers.smallest import smallest
from fakellm.contracts.consumers.sse_moves import SSEBody
from fakellm.contracts.documents import Document, Moves, focused, others
from fakellm.contracts.sweeps import causes
from fakellm.contracts.sweeps.causes import Cause, contract_of, place_of, raised_at
from fakellm.contracts.sweeps.documents import borders_of
from fakellm.contracts.sweeps.streams import UNSET, Recording
from fakellm.contracts.sweeps.variants import Variant, variants
from fakellm.contracts.sweeps.watching import Bark, Watch
from fakellm.errors import ContractUsageError
from fakellm.script.events import Finish

_FEW = 3
"""Moves of a variant that is made smaller where the stream has failed already."""


@dataclass(frozen=True)
class Failure:
    """One way in which a consumer fails on a stream, with the smallest moves for which it does."""

    cause: Cause
    recording: Recording
    document: Document | None = None
    moves: Moves = ()
    expected: str = ""
    got: str = ""

    @property
    def rank(self) -> tuple[int, int]:
        """The less, the better it shows what is wrong."""
        return len(self.moves), len(self.recording.body)


@dataclass(frozen=True)
class Sweeping:
    """How streams are tried: `reads` is `bytes`, `text` or `chunks`; `limit` and `seed` are those of `sweep`."""

    reads: str = "bytes"
    contracts: tuple[str, ...] = ()
    limit: int | None = None
    seed: int = 0
    only: Moves | None = None
    at: int | None = None
    patience: float = 60.0


class Trial:
    """A consumer that is fed one stream in many ways."""

    def __init__(
        self, recording: Recording, document: Document, consume: Consume, against: Consume | None, watch: Watch
    ) -> None:
        self.recording = recording
        self.document = document
        self.runs = 0
        self._consume = consume
        self._against = against
        self._watch = watch
        self._gather: Callable[[list[Any]], Any] = getattr(document, "gather", joined)
        self.is_over = False
        self._is_sure = False
        self._trying: Variant | None = None
        self._found: dict[Cause, Failure] = {}

    def _outcome(self, consume: Consume, chunks: list[Any], *, broken: bool = True) -> Outcome:
        """Return what comes of chunks; the stream ends as it was recorded, unless it is not to be `broken`."""
        self.runs += 1
        failure = self.recording.failure if broken else None
        stream = Stream(chunks if failure is None else chain(chunks, _raising(failure)))
        watch = self._watch
        watch.begin()
        try:
            return Outcome(settle(consume(stream), self._gather))
        except (KeyboardInterrupt, Bark, ContractUsageError):
            raise
        except BaseException as error:  # noqa: BLE001 - a consumer that exits, or is cancelled, fails
            return Outcome(error=error)
        finally:
            watch.running = False

    def _pair(self, chunks: list[Any]) -> tuple[Outcome, Outcome]:
        """Return what chunks have to come to, and what they come to."""
        got = self._outcome(self._consume, chunks)
        return (self._whole if self._against is None else self._outcome(self._against, chunks)), got

    @property
    def found(self) -> list[Failure]:
        """Each distinct way in which the consumer failed until now."""
        return list(self._found.values())

    def failures(self, sweeping: Sweeping) -> list[Failure]:
        """Return each distinct way in which the consumer fails on the stream."""
        self._guarded(lambda: self._tried(sweeping))
        return self.found

    def _guarded(self, action: Callable[[], Any]) -> Any:
        """Act, and note where that shows that nothing can be compared, or that it hangs; then return nothing."""
        try:
            return action()
        except Bark as bark:
            self.is_over = True
            moves = self._trying.moves() if self._trying and self._trying.family in ("cut", "few") else ()
            self._note(self._named(causes.HANGS, moves, str(bark)), moves, "", "")
        except ContractUsageError as error:
            self.is_over = True
            self._note(Cause(causes.INCOMPARABLE), (), "", str(error))
        finally:
            self._watch.running = False
        return None

    # -- for who asks step by step ------------------------------------------------------------------------

    def begin(self) -> bool:
        """Have the stream read as it is; tell whether chunks are to be tried."""
        return bool(self._guarded(self._begin))

    def _begin(self) -> bool:
        self._whole = self._outcome(self._consume, self.document.apply(()))
        return self._undivided(self.document.apply(()), ())

    def attempt(self, variant: Variant, contract: str) -> bool:
        """Try a variant for one contract; tell whether others are to be tried."""
        return bool(self._guarded(lambda: self._try(variant, contract=contract)))

    def checked(self, check: Callable[[], list[Failure]]) -> list[Failure]:
        """Return what another check finds, within the same deadline."""
        self._trying = None
        return self._guarded(check) or []

    def counted(self, chunks: Any) -> Any:
        """Have the consumer read chunks, for other checks."""
        self.runs += 1
        self._watch.begin()
        return self._consume(chunks)

    def _tried(self, sweeping: Sweeping) -> None:
        borders = borders_of(self.recording, self.document)
        is_plain = sweeping.limit == 0 and sweeping.only is None
        first = next(variants(self.document, borders, limit=0, seed=0), None) if is_plain else None
        moves = first.moves() if first else ()
        chunks = first.chunks if first else self.document.apply(())
        self._whole = self._outcome(self._consume, chunks)
        if not self._undivided(chunks, moves) or is_plain:
            return
        if sweeping.only is not None:
            self._try(Variant("few", self.document.apply(sweeping.only), lambda: sweeping.only or ()), shrink=False)
            return
        for variant in variants(self.document, borders, limit=sweeping.limit, seed=sweeping.seed):
            if not self._try(variant):
                return

    # -- the stream as it is ------------------------------------------------------------------------------

    def _undivided(self, chunks: list[Any], moves: Moves) -> bool:
        """Judge what comes of the stream by its end; tell whether chunks are to be tried."""
        found = self._beside(chunks) if self._against is not None else self._by_end(chunks)
        if found is not None:
            cause, expected, got = found
            self._note(cause, moves, expected, got)
            return False
        return True

    def _beside(self, chunks: list[Any]) -> tuple[Cause, str, str] | None:
        before, whole = self._pair(chunks)
        if before.equals(whole):
            return None
        _check_comparable(before, whole)
        return Cause(_versions(before, whole), raised=raised_at(whole.error)), before.text, whole.text

    def _by_end(self, chunks: list[Any]) -> tuple[Cause, str, str] | None:
        recording, whole = self.recording, self._whole
        if whole.error is not None:
            if not self._must_be_read():
                return None
            what = causes.HANGS if _is_stuck(whole.error) else causes.REFUSES
            return Cause(what, raised=raised_at(whole.error)), "a result", whole.text
        if recording.expected is not UNSET and not _is_as_expected(whole.value, recording.expected):
            return Cause(causes.UNEXPECTED), repr(recording.expected), whole.text
        if recording.failure is not None and self._is_half():
            ended = self._outcome(self._consume, chunks, broken=False)
            _check_comparable(ended, whole)
            if ended.equals(whole):
                return Cause(causes.BELIEVES, "truncation"), "an error, or another result", whole.text
        return None

    def _must_be_read(self) -> bool:
        """Tell whether an error is none of the stream's: it came to its end, and reports none."""
        return self.recording.end == "complete" and self.recording.is_whole

    def _is_half(self) -> bool:
        """Tell whether the stream says that something was still to come."""
        events = self.recording.events
        return events is not None and not any(isinstance(event, Finish) for chunk in events for event in chunk)

    # -- the same in chunks -------------------------------------------------------------------------------

    def _try(self, variant: Variant, *, shrink: bool = True, contract: str = "") -> bool:
        """Try a variant, and note how it fails if it does; tell whether others are to be tried."""
        self._trying = variant
        wanted, got = self._pair(variant.chunks)
        if got.equals(wanted) or (contract and self._fails_beside(variant.moves(), contract)):
            return True
        if not self._is_sure and not self._sure(variant, got):
            self._note(Cause(causes.CHANCE), (), self._whole.text, got.text)
            return False
        moves = variant.moves()
        if self._found and len(moves) > _FEW:
            return True
        if shrink and variant.family != "cut":
            moves = self._smallest(moves, contract)
            wanted, got = self._pair(self.document.apply(moves))
        cause = self._cause(moves, wanted, got)
        self._note(cause._replace(contract=contract or cause.contract), moves, wanted.text, got.text)
        return True

    def _sure(self, variant: Variant, got: Outcome) -> bool:
        """Tell whether it is the chunks that make the difference: the same ones come to the same twice."""
        again = self._outcome(self._consume, self.document.apply(()))
        first = self._whole if self._against is None else self._outcome(self._consume, self.document.apply(()))
        _check_comparable(first, again)
        self._is_sure = first.equals(again) and self._outcome(self._consume, variant.chunks).equals(got)
        return self._is_sure

    def _fails(self, moves: Moves) -> bool:
        wanted, got = self._pair(self.document.apply(moves))
        return not got.equals(wanted)

    def _fails_beside(self, moves: Moves, contract: str) -> bool:
        """Tell whether it fails for what of the moves is about another contract."""
        document = focused(self.document, contract) if contract else None
        beside = others(document, moves) if document is not None else ()
        return bool(beside) and self._fails(beside)

    def _smallest(self, moves: Moves, contract: str) -> Moves:
        def fails(part: Moves) -> bool:
            return self._fails(part) and not self._fails_beside(part, contract)

        found = smallest(self.document, fails, moves, thorough=len(moves) > _FEW)
        if isinstance(self.document, SSEBody) and all(move[0] == "cut" for move in found):
            last = len(self.document.body)  # nothing is inserted: a cut behind a place is one at another place
            return tuple(("cut", min(move[1] + move[2], last), 0) for move in found)
        return found

    def _cause(self, moves: Moves, wanted: Outcome, got: Outcome) -> Cause:
        if self._against is not None:
            what = _versions(wanted, got)
        elif _is_stuck(got.error):
            what = causes.HANGS
        elif got.error is None:
            what = causes.DIFFERS if wanted.error is None else causes.HEALS
        else:
            what = causes.RAISES
        return self._named(what, moves, raised_at(got.error))

    def _named(self, what: str, moves: Moves, raised: str) -> Cause:
        return Cause(what, contract_of(self.document, moves), place_of(self.document, moves), raised)

    def _note(self, cause: Cause, moves: Moves, expected: str, got: str) -> None:
        failure = Failure(cause, self.recording, self.document, moves, expected, got)
        before = self._found.get(cause)
        if before is None or failure.rank < before.rank:
            self._found[cause] = failure


def _raising(failure: Callable[[], Exception]) -> Iterator[Any]:
    yield from ()
    raise failure()


def _check_comparable(one: Outcome, other: Outcome) -> None:
    """Raise `ContractUsageError` for two results that are not equal, though they look the same."""
    if one.looks_like(other):
        msg = f"two results that are not == look the same: {one}; let it return something that == compares by its parts"
        raise ContractUsageError(msg)


def _versions(before: Outcome, now: Outcome) -> str:
    if now.error is not None:
        return causes.RAISES_NOW
    return causes.VERSIONS if before.error is None else causes.RAISED_BEFORE


def _is_stuck(error: BaseException | None) -> bool:
    """Tell whether it is an error of the virtual loop: the consumer waits for what never comes."""
    blocked = sys.modules.get("fakellm.clock.blocked")
    return blocked is not None and isinstance(error, (blocked.VirtualDeadlockError, blocked.WatchdogError))


def _is_as_expected(value: Any, expected: Any) -> bool:
    """Tell whether a result is what an archive expects, which is JSON: a tuple is a list there."""
    if is_same(value, expected):
        return True
    try:
        return bool(json.loads(json.dumps(value)) == expected)
    except (TypeError, ValueError):
        return False
