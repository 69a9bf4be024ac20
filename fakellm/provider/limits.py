"""Quotas of a provider: requests and tokens a minute, counted on a clock.

What was counted is a value: a copy of a fake goes on from what was counted so far, and neither counts for the other.
A request that is refused counts for nothing, so that what is promised in `retry-after` holds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import floor
from threading import RLock
from typing import Any, Self

from fakellm.clock.clock import Clock, unless_instant
from fakellm.errors import ScriptError, WireError, clip
from fakellm.provider.answering import error_exchange
from fakellm.provider.exchange import Exchange, ProviderCall
from fakellm.provider.hosts import parts_of, target_of
from fakellm.wire.codec import Codec, Request
from fakellm.wire.documents import count_tokens
from fakellm.wire.quotas import Of, Quotas, Refused, Standing
from fakellm.wire.service import Service, codec_of, found

_MINUTE = 60.0
_CAPS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_EXACT = 9
"""Decimals of seconds and of what is left: sums of tenths are tenths, as people count."""


@dataclass(frozen=True, slots=True)
class _Count:
    """What was used of a quota by a second of the clock."""

    limit: int
    is_bucket: bool
    used: float = 0.0
    at: float = 0.0

    def by(self, now: float) -> Self:
        """Return the same count at a later second."""
        if self.is_bucket:
            used = max(round(self.used - (now - self.at) * self.limit / _MINUTE, _EXACT), 0.0)
        else:
            used = self.used if floor(now / _MINUTE) == floor(self.at / _MINUTE) else 0.0
        return replace(self, used=used, at=max(now, self.at))

    def wait(self, amount: float) -> float:
        """Return the seconds until there is room for so much; for more than there ever is, until all is free."""
        if not self.is_bucket:
            return round(_MINUTE - self.at % _MINUTE, _EXACT)
        return round((self.used - max(self.limit - amount, 0)) * _MINUTE / self.limit, _EXACT)

    @property
    def standing(self) -> Standing:
        """How it stands."""
        reset = self.wait(self.limit) if self.used else 0.0
        return Standing(self.limit, max(floor(self.limit - self.used), 0), reset)


@dataclass(frozen=True, slots=True)
class Meter:
    """The quotas of a provider and what was used of them."""

    quotas: Quotas
    counts: Mapping[Of, _Count] = field(default_factory=dict)

    @classmethod
    def of(cls, quotas: Quotas, rpm: int | None, tpm: int | None) -> Self:
        """Return a meter that has counted nothing. Raises `ScriptError` for limits that are none."""
        if rpm is None and tpm is None:
            msg = "limits() needs rpm=, how many requests a minute, or tpm=, how many tokens, or both"
            raise ScriptError(msg)
        counts: dict[Of, _Count] = {}
        for name, limit, of in (("rpm", rpm, "requests"), ("tpm", tpm, "tokens")):
            if limit is None:
                continue
            if type(limit) is not int or limit < 1:
                msg = f"{name} is how many {of} a minute there may be, from 1 up, not {clip(repr(limit), 40)}"
                raise ScriptError(msg)
            counts[of] = _Count(limit, quotas.is_bucket)
        return cls(quotas, counts)

    def ask(self, request: Request, now: float) -> tuple[Self, Refused | None]:
        """Return the meter after a request, and why it is refused, if it is."""
        counts = {of: count.by(now) for of, count in self.counts.items()}
        wanted: dict[Of, int] = {"requests": 1, "tokens": self._tokens(request)}
        for of, count in counts.items():
            if round(count.used + wanted[of], _EXACT) > count.limit:
                wait = count.wait(wanted[of])
                return replace(self, counts=counts), Refused(of, wanted[of], wait, count.standing)
        counts = {of: replace(count, used=round(count.used + wanted[of], _EXACT)) for of, count in counts.items()}
        return replace(self, counts=counts), None

    def _tokens(self, request: Request) -> int:
        """Return what a request counts for: the words of its prompt, and what it allows for its answer."""
        caps: list[Any] = [request.options.get(name) for name in _CAPS] if self.quotas.counts_output else []
        allowed = max((cap for cap in caps if type(cap) is int and cap > 0), default=0)
        return count_tokens(request.prompt) + allowed

    def headers(self, now: float) -> list[tuple[str, str]]:
        """Return the headers of an answer."""
        standings = {of: count.by(now).standing for of, count in self.counts.items()}
        return list(self.quotas.headers(standings, now))

    def options(self) -> dict[str, int]:
        """Return the arguments that made it."""
        names: dict[Of, str] = {"requests": "rpm", "tokens": "tpm"}
        return {names[of]: count.limit for of, count in self.counts.items()}


class Limited(ABC):
    """A provider with quotas. `counted_on` is their clock where its own is instant, and something else plays it."""

    service: Service
    clock: Clock
    counted_on: Clock | None = None
    _lock: RLock
    _meter: Meter | None = None

    def limits(self, *, rpm: int | None = None, tpm: int | None = None) -> Self:
        """Answer at most so many requests a minute, and requests of so many tokens. Returns the provider.

        Those beyond are answered with 429, as the provider words it, and use no reply; its own headers that tell what
        is left are on every answer. It counts on the clock, as the provider does: bit by bit, or by the minute. Tokens
        are the words of the prompt, on OpenAI with what the request allows for its answer.
        """
        self._meter = Meter.of(found(self.service.quotas)(), rpm, tpm)
        return self

    def _unasked(self) -> None:
        if self._meter is not None:
            counts = {of: replace(count, used=0.0, at=0.0) for of, count in self._meter.counts.items()}
            self._meter = replace(self._meter, counts=counts)

    def _limited(self, call: ProviderCall) -> Exchange:
        """Return the answer to a request, if there is room for it in the quotas, and what is left of those."""
        if self._meter is None:
            return self._answer(call)
        now = (unless_instant(self.clock) or self.counted_on or self.clock).now
        parts = parts_of(call.url)
        endpoint = self.service.endpoint(call.method, parts.path)
        if endpoint is None or not endpoint.is_codec:
            exchange, meter = self._answer(call), self._meter
        else:
            codec = codec_of(endpoint, self._profile_of(call))
            request = self._asked(call, codec, target_of(parts))
            with self._lock:
                meter, refused = self._meter.ask(request, now)
                self._meter = meter
            if refused is None:
                exchange = self._answer(call)
            else:
                call.api, call.request = endpoint.api, request
                exchange = error_exchange(call, codec, meter.quotas.refusal(refused, request))
        exchange.add_headers(meter.headers(now))
        return exchange

    def _asked(self, call: ProviderCall, codec: Codec, path: str) -> Request:
        try:
            return self._read(call, codec, path)[1]
        except WireError:  # which will be answered with an error, and counts as a request
            return Request(codec.api, "")

    @abstractmethod
    def _answer(self, call: ProviderCall) -> Exchange: ...

    @abstractmethod
    def _profile_of(self, call: ProviderCall) -> Any: ...

    @abstractmethod
    def _read(self, call: ProviderCall, codec: Codec, path: str) -> tuple[Any, Request]: ...
