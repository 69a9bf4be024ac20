"""Anthropic's rate limits.

Source: https://docs.claude.com/en/api/rate-limits: a token bucket that is filled all the time, input tokens a minute,
and headers whose reset is a time (RFC 3339).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from math import ceil

from fakellm.script.events import http_error
from fakellm.wire.codec import CREATED, Headers, Request
from fakellm.wire.quotas import Of, Quotas, Refused, Standing

_NAMES: dict[Of, tuple[str, ...]] = {"requests": ("requests",), "tokens": ("input-tokens", "tokens")}
_WORDS = {"requests": "requests per minute", "tokens": "input tokens per minute"}


class AnthropicQuotas(Quotas):
    """`anthropic-ratelimit-...` on every answer."""

    def headers(self, standings: Mapping[Of, Standing], now: float) -> Headers:
        """Return limit, remaining and reset of each; time begins when every answer of a fake was made."""
        return tuple(
            (f"anthropic-ratelimit-{name}-{what}", text)
            for of, standing in standings.items()
            for name in _NAMES[of]
            for what, text in (
                ("limit", str(standing.limit)),
                ("remaining", str(standing.left)),
                ("reset", _time(now + standing.reset)),
            )
        )

    def refusal(self, refused: Refused, request: Request) -> http_error:  # noqa: ARG002 - it names no model
        """Return the error."""
        message = (
            "This request would exceed your organization's rate limit of "
            f"{refused.standing.limit:,} {_WORDS[refused.of]}. For details, refer to: "
            "https://docs.claude.com/en/api/rate-limits. You can see the response headers for current usage. Please "
            "reduce the prompt length or the maximum tokens requested, or try again later."
        )
        return http_error(429, message, retry_after=float(ceil(refused.wait)))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(CREATED + ceil(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
