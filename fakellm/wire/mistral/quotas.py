"""Mistral's rate limits.

Source: https://docs.mistral.ai/deployment/ai-studio/tier, and headers of its answers in public reports, in which no
reset is told: requests and tokens of each minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from fakellm.script.events import http_error
from fakellm.wire.codec import Headers, Request
from fakellm.wire.quotas import Of, Quotas, Refused, Standing

_NAMES: dict[Of, str] = {"requests": "req-minute", "tokens": "tokens-minute"}


class MistralQuotas(Quotas):
    """`x-ratelimit-...-minute` on every answer."""

    is_bucket = False

    def headers(self, standings: Mapping[Of, Standing], now: float) -> Headers:  # noqa: ARG002 - it does not say when
        """Return limit and remaining of each."""
        return tuple(
            (f"x-ratelimit-{what}-{_NAMES[of]}", str(count))
            for of, standing in standings.items()
            for what, count in (("limit", standing.limit), ("remaining", standing.left))
        )

    def refusal(self, refused: Refused, request: Request) -> http_error:  # noqa: ARG002 - it names no model
        """Return the error, in one sentence for whatever is counted."""
        return http_error(429, "Rate limit exceeded", retry_after=float(ceil(refused.wait)))
