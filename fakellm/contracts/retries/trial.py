"""One run of an app in one trouble, in virtual time: when it asked, how it ended, what it delivered.

Each run has a clock of its own that starts at 0, dice of its own, and the provider to itself. So runs that are made
one after the other are clients that begin in the same moment and know nothing of each other: no thread is needed to let
many of them fail at once.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import AsyncIterable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

from fakellm.clock.blocked import VirtualDeadlockError, WatchdogError
from fakellm.clock.clock import Clock, VirtualClock
from fakellm.clock.machine_time import patched
from fakellm.clock.taken import loops_made_in
from fakellm.clock.virtual_trio import run_trio
from fakellm.concurrency import closing
from fakellm.contracts.attempts import Attempt, DeadlockError, HangError, attempt
from fakellm.contracts.retries import dice
from fakellm.contracts.retries.reasons import chain
from fakellm.contracts.retries.troubles import Answer, Trouble
from fakellm.errors import ContractUsageError, WireError, clip
from fakellm.provider.exchange import Exchange
from fakellm.provider.hosts import parts_of
from fakellm.provider.provider import FakeProvider
from fakellm.wire.objects import parse

MOST_ASKS, FEW_ASKS = 600, 30
"""Asks after which an app is taken to ask for ever; and once it did."""
LONGEST = 86_400.0
"""Seconds after which an app that asks again is taken to ask for ever."""
_CREDENTIALS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")


@dataclass
class Ask:
    """One request: when it was made, when its answer was over, and how many seconds that told the app to wait."""

    at: float
    credentials: tuple[str | None, ...]
    told: float | None = None
    over: float | None = None

    @property
    def ended(self) -> float:
        """When its answer was over, or the request was given up."""
        return self.at if self.over is None else self.over


@dataclass
class Run:
    """What an app did in a trouble. `text` is what it delivered, where that can be read."""

    trouble: Trouble | None
    asks: list[Ask] = field(default_factory=list)
    found: Attempt = field(default_factory=Attempt)
    text: Any = None
    ended: float = 0.0
    ran_away: bool = False
    waits_for_ever: bool = False
    streams: bool = False

    @property
    def waits(self) -> list[float]:
        """Seconds from each ask to the next: what refuses does so at once."""
        return [round(later.at - ask.at, 6) for ask, later in pairwise(self.asks)]

    @property
    def hangs(self) -> bool:
        """Whether it waits for what never comes."""
        kinds = (HangError, VirtualDeadlockError, WatchdogError)
        return self.waits_for_ever or any(isinstance(error, kinds) for error in chain(self.found.error))

    @property
    def asked(self) -> str:
        """When it asked, in words."""
        return moments([ask.at for ask in self.asks])

    @property
    def end(self) -> str:
        """How it ended, in words."""
        if self.ran_away:
            return "went on"
        if self.waits_for_ever or isinstance(self.found.error, (HangError, VirtualDeadlockError)):
            return "waits for ever"
        if self.found.error is not None:
            return f"raised {type(self.found.error).__name__} at {seconds(self.ended)} s"
        return f"returned {clip(repr(self.text), 60)} at {seconds(self.ended)} s"


def seconds(at: float) -> str:
    """Word a moment: `0`, `7.0`, `0.375`."""
    at = round(at, 3)
    return "0" if not at else f"{at:.1f}" if at == round(at, 1) else f"{at:g}" if at < 1000 else f"{at:.3f}"  # noqa: PLR2004


def moments(times: list[float]) -> str:
    """Word moments; the middle of many is left out."""
    words = [seconds(at) for at in times]
    most = 8
    shown = words if len(words) <= most else [*words[:5], "...", *words[-2:]]
    return f"{', '.join(shown)} s" + (f" ({len(words)} asks)" if len(words) > most else "")


_REALLY = """the app waits in real time, so nothing can be told from when it asks
  waits:     {}
  to do:     let it wait with time.sleep, or in an event loop of its own; what waits for another thread that was there \
before, or on threading.Event, is beyond the clock"""


class TrialClock(VirtualClock):
    """The clock of one run; notes that something waits on it for ever."""

    waits_for_ever = False

    def sleep(self, seconds: float) -> None:
        """Wait, in synchronous code."""
        self.waits_for_ever = self.waits_for_ever or math.isinf(seconds)
        super().sleep(seconds)


class Troubled(FakeProvider):
    """A provider that makes trouble to who asks it first, and answers what is asked otherwise: another model, say."""

    run = Run(None)
    most = MOST_ASKS
    longest = LONGEST
    die = dice.HIGH
    _same: tuple[str, ...] | None = None

    def begin(self, run: Run, clock: VirtualClock, whole: Any) -> None:
        """Forget what was, and make trouble from now on."""
        hosts = self.hosts
        self.forget().otherwise(whole).hosts = hosts
        self.run, self.clock, self._same = run, clock, None

    def handle(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Exchange:
        """Take a request and return its answer."""
        endpoint = self.service.endpoint(method, parts_of(url).path)
        if endpoint is None or not endpoint.is_codec:
            return super().handle(method, url, headers, body)
        given = {name.lower(): value for name, value in headers.items()}
        ask = Ask(self.clock.now, tuple(given.get(name) for name in _CREDENTIALS))
        self._make_trouble(ask, self._is_same(url, body))
        exchange = super().handle(method, url, headers, body)
        self.run.streams = self.run.streams or (exchange.call.request is not None and exchange.call.request.stream)
        _note_end(exchange, ask, self.clock)
        dice.load(self.die)
        return exchange

    def _is_same(self, url: str, body: bytes) -> bool:
        """Tell whether the model is asked that was asked first."""
        try:
            model = str((parse(body, "the request") or {}).get("model"))
        except (WireError, AttributeError):
            model = ""
        same = (parts_of(url).path, model)
        self._same = self._same or same
        return same == self._same

    def _make_trouble(self, ask: Ask, is_same: bool) -> None:  # noqa: FBT001 - one use
        run = self.run
        if run.trouble is None or not is_same:
            run.asks += [ask] * (run.trouble is None)
            return
        if len(run.asks) >= self.most or ask.at > self.longest:
            run.ran_away = True  # and gets the answer, which ends its loop
            self.most = min(self.most, FEW_ASKS)
            return
        answer: Answer | None = run.trouble.answer(len(run.asks))
        run.asks.append(ask)
        if answer is not None:
            more, ask.told = answer.order()
            self.reply(*answer.events, headers=more)


def _note_end(exchange: Any, ask: Ask, clock: Clock) -> None:
    """Note when the answer to an ask is over; that is all that is read of its log, which costs more than the rest."""
    call, original = exchange.call, exchange.call.end
    exchange.timed = lambda _: None

    def end(*args: Any) -> None:
        if ask.over is None:
            ask.over = clock.now
        original(*args)

    call.end = end


@dataclass(frozen=True)
class Bench:
    """An app and how it is run.

    `asked` is the provider that makes trouble, None for any. `text` reads what the app delivers, `delivered` returns
    that; `patience` is in real seconds, `before` is called before each run, and `others` are threads that are not the
    app's.
    """

    app: Callable[[], Any]
    providers: list[Troubled]
    whole: Any
    text: Callable[[Any], Any]
    delivered: Callable[[], Any] | None
    backend: str
    patience: float
    before: Callable[[], None]
    others: frozenset[int]
    asked: Troubled | None = None

    def run(self, trouble: Trouble | None, die: float, whole: Any = None) -> Run:
        """Run the app once in a trouble, with dice that fall so."""
        self.before()
        run, clock = Run(trouble), TrialClock()
        for provider in self.providers:
            provider.die = die
            is_asked = self.asked is None or provider is self.asked
            provider.begin(run if is_asked else Run(None), clock, self.whole if whole is None else whole)
        shown: list[Any] = []
        with patched(clock, began=int(time.time()), others=self.others), loops_made_in(clock, self.others):
            dice.load(die)
            call = partial(_on_trio, self.app, shown, clock) if self.backend == "trio" else self.app
            run.found = attempt(call, patience=self.patience, clock=clock)
        if isinstance(run.found.error, HangError) and not isinstance(run.found.error, DeadlockError):
            raise ContractUsageError(_REALLY.format(run.found.error)) from None
        run.found.shown = shown or run.found.shown
        run.ended, run.waits_for_ever = clock.now, clock.waits_for_ever
        run.text = self._text(run.found)
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
