"""One run of an app in one trouble, in virtual time.

Each run has dice of its own and the provider to itself, and counts its seconds from 0. So runs that are made one after
the other are clients that begin in the same moment and know nothing of each other: no thread is needed to let many of
them fail at once. Their clock is one, which goes on from run to run: an app that notes when something was finds no time
that goes back.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from fakellm.clock.clock import VirtualClock
from fakellm.clock.virtual_trio import run_trio
from fakellm.concurrency import closing
from fakellm.contracts.attempts import Attempt, DeadlockError, HangError, attempt
from fakellm.contracts.retries import dice
from fakellm.contracts.retries.runs import Run
from fakellm.contracts.retries.troubled import Troubled
from fakellm.contracts.retries.troubles import Trouble
from fakellm.errors import ContractUsageError
from fakellm.script.events import Finish
from fakellm.script.script import Script

_REST = 3600
_REALLY = """the app waits in real time, so nothing can be told from when it asks
  waits:     {}
  to do:     let it wait with time.sleep, or in an event loop of its own; what waits for another thread that was there \
before, or on threading.Event, is beyond the clock"""
_KEEPS = """the app asked nothing when it was run again, so nothing can be told from it
  trouble:   {}
  ended:     it {}
  to do:     let it begin anew at each call: without a cache of its answers, or a client that it has closed"""


class TrialClock(VirtualClock):
    """The clock of all runs; notes that something waits on it for ever."""

    waits_for_ever = False

    def sleep(self, seconds: float) -> None:
        """Wait, in synchronous code."""
        self.waits_for_ever = self.waits_for_ever or math.isinf(seconds)
        super().sleep(seconds)

    def rest(self) -> None:
        """Let an hour pass between two runs, in which breakers close, quotas fill and what was kept grows old."""
        self.waits_for_ever = False
        self.timeline.moments.clear()
        self.set(math.ceil(self.now) + _REST)


def _check_run(run: Run) -> None:
    """Raise `ContractUsageError` for a run from which nothing can be told."""
    error = run.found.error
    if isinstance(error, HangError) and not isinstance(error, DeadlockError):
        raise ContractUsageError(_REALLY.format(error)) from None
    if run.trouble is not None and not run.asks:
        raise ContractUsageError(_KEEPS.format(run.trouble.name, run.end)) from error


@dataclass(frozen=True)
class Bench:
    """An app and how it is run.

    `whole` is the answer, `early` one that ends after its first chunk. `asked` is the provider that makes trouble, None
    for any. `text` reads what the app delivers, `delivered` returns that; `patience` is in real seconds, and `before`
    is called before each run.
    """

    app: Callable[[], Any]
    providers: list[Troubled]
    whole: Script
    early: Script
    text: Callable[[Any], Any]
    delivered: Callable[[], Any] | None
    backend: str
    patience: float
    clock: TrialClock
    before: Callable[[], None]
    asked: Troubled | None = None

    def run(self, trouble: Trouble | None, die: float, whole: Script | None = None) -> Run:
        """Run the app once in a trouble, with dice that fall so. Raises `ContractUsageError` where it asks nothing."""
        self.before()
        run, clock = Run(trouble), self.clock
        clock.rest()
        begun = clock.now
        for provider in self.providers:
            provider.die, provider.beginning = die, [event for event in self.early if not isinstance(event, Finish)]
            is_asked = self.asked is None or provider is self.asked
            provider.begin(run if is_asked else Run(None), clock, self.whole if whole is None else whole)
        dice.load(die)
        shown: list[Any] = []
        call = partial(_on_trio, self.app, shown, clock) if self.backend == "trio" else self.app
        try:
            run.found = attempt(call, patience=self.patience, clock=clock)
        except SystemExit as error:  # as commands end
            run.found = Attempt(error=error)
        run.found.shown = shown or run.found.shown
        run.ended, run.waits_for_ever = round(clock.now - begun, 6), clock.waits_for_ever
        run.text = self._text(run.found)
        _check_run(run)
        return run

    def _text(self, found: Attempt) -> Any:
        """Return what an app delivered: the text, if it can be read, or else the thing itself."""
        items = self.delivered() if self.delivered is not None else found.shown
        if isinstance(items, str):
            return items
        if self.delivered is not None or found.shown:
            texts = [self.text(item) for item in items]
            return "".join(texts) if all(isinstance(text, str) for text in texts) else list(items)
        said = self.text(found.value)
        return said if isinstance(said, str) and found.value is not None else found.value


def _on_trio(app: Callable[[], Any], shown: list[Any], clock: VirtualClock) -> Any:
    """Run an app on trio."""

    async def main() -> Any:
        result = app()
        result = await result if inspect.isawaitable(result) else result
        if not isinstance(result, AsyncIterable):
            return result
        async with closing(result):
            async for item in result:
                shown.append(item)  # noqa: PERF401 - one by one: what came before an error counts
        return list(shown)

    return run_trio(main, clock=clock)
