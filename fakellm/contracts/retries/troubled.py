"""A provider that makes trouble."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from fakellm.clock.clock import VirtualClock
from fakellm.contracts.retries import dice
from fakellm.contracts.retries.runs import Ask, Run
from fakellm.contracts.retries.troubles import FIRST, Answer
from fakellm.errors import WireError
from fakellm.provider.exchange import Exchange
from fakellm.provider.hosts import parts_of
from fakellm.provider.provider import FakeProvider
from fakellm.wire.objects import parse

MOST_ASKS, FEW_ASKS = 600, 30
"""Asks after which an app is taken to ask for ever; and once it did."""
LONGEST = 86_400.0
"""Seconds after which an app that asks again is taken to ask for ever."""
_CREDENTIALS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")


class Troubled(FakeProvider):
    """A provider that makes trouble to who asks it first, and answers what is asked otherwise: another model, say."""

    run = Run(None)
    most = MOST_ASKS
    longest = LONGEST
    die = dice.HIGH
    beginning: Sequence[Any] = ()
    _start = 0.0
    _first: tuple[Ask, str, str, bytes] | None = None

    def begin(self, run: Run, clock: VirtualClock, whole: Any) -> None:
        """Forget what was, and make trouble from now on."""
        hosts = self.hosts
        self.forget().otherwise(whole).hosts = hosts
        self.run, self.clock, self._start, self._first = run, clock, clock.now, None

    @property
    def was_asked(self) -> bool:
        """Whether a model was asked in this run."""
        return self._first is not None

    def seconds(self) -> float:
        """Return the seconds since the run began."""
        return round(self.clock.now - self._start, 6)

    def handle(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Exchange:
        """Take a request and return its answer."""
        endpoint = self.service.endpoint(method, parts_of(url).path)
        if endpoint is None or not endpoint.is_codec:
            return super().handle(method, url, headers, body)
        given = {name.lower(): value for name, value in headers.items()}
        ask = Ask(self.seconds(), tuple(given.get(name) for name in _CREDENTIALS))
        self._make_trouble(ask, is_same=self._is_same(ask, url, body))
        exchange = super().handle(method, url, headers, body)
        self.run.streams = self.run.streams or (exchange.call.request is not None and exchange.call.request.stream)
        _note_end(exchange, ask, self.seconds)
        dice.load(self.die)
        return exchange

    def _is_same(self, ask: Ask, url: str, body: bytes) -> bool:
        """Tell whether that is asked which was asked first: of the same model, and not something else beside it."""
        try:
            model = str((parse(body, "the request") or {}).get("model"))
        except (WireError, AttributeError):
            model = ""
        path = parts_of(url).path
        self._first = self._first or (ask, path, model, body)
        first, *known, asked = self._first
        return known == [path, model] and (asked == body or first.over is not None)

    def _make_trouble(self, ask: Ask, *, is_same: bool) -> None:
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
            ask.told, ask.slack = answer.told, answer.slack
            parts = (self.beginning if event is FIRST else (event,) for event in answer.events)
            self.reply(*chain.from_iterable(parts), headers=answer.headers())


def _note_end(exchange: Any, ask: Ask, passed: Callable[[], float]) -> None:
    """Note when the answer to an ask is over; that is all that is read of its log, which costs more than the rest."""
    call, original = exchange.call, exchange.call.end
    exchange.timed = lambda _: None

    def end(*args: Any) -> None:
        if ask.over is None:
            ask.over = passed()
        original(*args)

    call.end = end
