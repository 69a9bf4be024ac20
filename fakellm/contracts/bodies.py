"""A test function one or more of whose parameters are filled in, and that stays what it was for pytest.

The others remain fixtures, or arguments. The fakes among them are shared by all the runs of a sweep, so what was
scripted in one run is taken back before the next.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from typing import Any

from fakellm.clock.clock import VirtualClock
from fakellm.contracts.progress import Progress
from fakellm.errors import ContractUsageError
from fakellm.models.kept import Kept
from fakellm.models.models import FakeModel
from fakellm.models.replies import Replies, Reply
from fakellm.provider.provider import FakeProvider


def without(test: object, names: Sequence[str], decorator: str) -> inspect.Signature:
    """Return the signature of a test without the parameters that are filled in.

    Raises `ContractUsageError` for what is no test function, or lacks them.
    """
    if not inspect.isroutine(test):
        msg = f"@{decorator}(...) stands above a test function, not above {test!r}"
        raise ContractUsageError(msg)
    if inspect.isgeneratorfunction(test) or inspect.isasyncgenfunction(test):
        msg = (
            f"{test.__name__} yields, and @{decorator}(...) runs tests that return; use return, or take the yield away"
        )
        raise ContractUsageError(msg)
    signature = inspect.signature(test)
    for name in names:
        if name not in signature.parameters:
            msg = (
                f"{getattr(test, '__name__', test)} takes no parameter {name!r}, which @{decorator}(...) fills in; "
                f"write def {getattr(test, '__name__', 'test')}({', '.join(names)}, ...)"
            )
            raise ContractUsageError(msg)
    return signature.replace(parameters=[p for p in signature.parameters.values() if p.name not in names])


def as_test(wrapper: Any, signature: inspect.Signature, progress: Progress) -> Any:
    """Return what runs a test as pytest is to see it: with this signature, and synchronous though the test may not be.

    So marks that give an asynchronous test an event loop are taken off; the runs have loops of their own.
    """
    wrapper.__signature__ = signature
    wrapper.sweep_progress = progress
    if hasattr(wrapper, "pytestmark"):
        wrapper.pytestmark = [mark for mark in wrapper.pytestmark if mark.name not in ("asyncio", "anyio", "trio")]
    return wrapper


class Shared:
    """The fakes and tapes among the arguments of a test, as they were before its first run."""

    def __init__(self, arguments: Iterable[object]) -> None:
        kept: list[Any] = list({id(argument): argument for argument in arguments}.values())
        clocks = [arg.clock if isinstance(arg, (FakeModel, FakeProvider)) else arg for arg in kept]
        self.clock = next((clock for clock in clocks if isinstance(clock, VirtualClock)), None)
        self.fakes = [_Told(fake) for fake in kept if isinstance(fake, (FakeModel, FakeProvider))]
        tape: Any = getattr(sys.modules.get("fakellm.cassette.tape"), "Tape", ())
        self._tapes: list[tuple[Any, dict[Any, Any]]] = [
            (arg, dict(arg._overlays))  # noqa: SLF001
            for arg in kept
            if isinstance(arg, tape)
        ]
        self._kept: list[tuple[list[Any], list[Any]]] = []

    def renew(self) -> None:
        """Put the fakes back to what they were told before the first run; their calls and the clock begin anew."""
        if self.clock is not None:
            self.clock._now = 0.0  # noqa: SLF001 - each run has an event loop of its own
            self.clock.timeline.moments.clear()
            self.clock.timeline.streams.clear()
        for told in self.fakes:
            told.renew()
        for tape, overlays in self._tapes:
            tape.calls.clear()
            tape._overlays = dict(overlays)  # noqa: SLF001
            if tape.is_open:
                tape._cassette.rewind()  # noqa: SLF001

    def keep(self) -> None:
        """Keep the logs of the run that was the last one now: they are those that will be shown."""
        self._kept = [(log, list(log)) for log in self._logs()]

    def settle(self) -> None:
        """Forget, after the last run, what the runs were told; what any of them used counts as used."""
        for told in self.fakes:
            told.settle()
        for log, kept in self._kept:
            log[:] = kept

    def _logs(self) -> Iterator[list[Any]]:
        for told in self.fakes:
            yield told.fake.calls
        for tape, _ in self._tapes:
            yield tape.calls
        if self.clock is not None:
            yield self.clock.timeline.moments
            yield self.clock.timeline.streams


class _Told:
    """What one fake was told before the first run."""

    def __init__(self, fake: Any) -> None:
        self.fake = fake
        self._clock = fake.clock
        self._before: list[Reply] = list(fake._replies.all)  # noqa: SLF001
        self._now: list[Reply] = self._before

    def _note(self) -> None:
        """Note what the run used of what was told before."""
        for before, now in zip(self._before, self._now, strict=True):
            before.calls = before.calls or Kept(now.calls)

    def renew(self) -> None:
        """Begin anew."""
        self._note()
        self._now = [_fresh(reply) for reply in self._before]
        _tell(self.fake, self._now)
        self.fake.calls.clear()

    def settle(self) -> None:
        """Leave what was told before, with what any run used of it marked as used."""
        self._note()
        _tell(self.fake, self._before)
        self.fake.clock = self._clock


def _fresh(reply: Reply) -> Reply:
    """Return the reply as if it had answered nothing yet."""
    other = copy(reply)
    other.calls = Kept()
    return other


def _tell(fake: Any, replies: list[Reply]) -> None:
    told = Replies()
    for reply in replies:
        told.add(reply)
    told._live = [reply for reply in told._live if not reply.is_spent]  # noqa: SLF001
    fake._replies = told  # noqa: SLF001
