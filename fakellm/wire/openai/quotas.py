"""OpenAI's rate limits.

Source: https://platform.openai.com/docs/guides/rate-limits and its table of headers, and public reports of the error.
`59` remaining of `60` resets in `1s`: what is used comes back bit by bit. A request counts with the tokens that it
allows for its answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from fakellm.script.events import http_error
from fakellm.wire.codec import Headers, Request
from fakellm.wire.quotas import Of, Quotas, Refused, Standing

_SHORT = {"requests": "requests per min (RPM)", "tokens": "tokens per min (TPM)"}


def duration(seconds: float) -> str:
    """Return seconds as OpenAI writes them, `6m0s`, `1.5s`, `20ms`."""
    thousandths = round(seconds * 1000)
    if thousandths < 1000:  # noqa: PLR2004 - a second
        return f"{thousandths}ms" if thousandths else "0s"
    minutes, rest = divmod(thousandths, 60_000)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".")
    hours, minutes = divmod(minutes, 60)
    return f"{f'{hours}h' if hours else ''}{f'{minutes}m' if hours or minutes else ''}{text}s"


class OpenAIQuotas(Quotas):
    """`x-ratelimit-...` on every answer."""

    counts_output = True

    def headers(self, standings: Mapping[Of, Standing], now: float) -> Headers:  # noqa: ARG002 - it says how long, not when
        """Return limit, remaining and reset of each."""
        told = {of: (str(s.limit), str(s.left), duration(s.reset)) for of, s in standings.items()}
        return tuple(
            (f"x-ratelimit-{name}-{of}", texts[at])
            for at, name in enumerate(("limit", "remaining", "reset"))
            for of, texts in told.items()
        )

    def refusal(self, refused: Refused, request: Request) -> http_error:
        """Return the error, whose type says what is counted."""
        standing = refused.standing
        used = standing.limit - standing.left
        message = (
            f"Rate limit reached for {request.model} in organization org-fakellm on {_SHORT[refused.of]}: "
            f"Limit {standing.limit}, Used {used}, Requested {refused.wanted}. Please try again in "
            f"{duration(refused.wait)}. Visit https://platform.openai.com/account/rate-limits to learn more."
        )
        return http_error(
            429, message, retry_after=float(ceil(refused.wait)), kind=refused.of, code="rate_limit_exceeded"
        )
