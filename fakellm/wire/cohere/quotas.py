"""Cohere's rate limits: calls a minute of a trial key.

Source: https://docs.cohere.com/docs/rate-limits, and headers and the error as public reports have them.
"""

from __future__ import annotations

from collections.abc import Mapping

from fakellm.script.events import http_error
from fakellm.wire.codec import Headers, Request
from fakellm.wire.quotas import Of, Quotas, Refused, Standing


class CohereQuotas(Quotas):
    """`x-trial-endpoint-call-...` on every answer; tokens are limited with no header."""

    is_bucket = False

    def headers(self, standings: Mapping[Of, Standing], now: float) -> Headers:  # noqa: ARG002 - it does not say when
        """Return the limit of calls, and how many are left."""
        if (calls := standings.get("requests")) is None:
            return ()
        named = "x-trial-endpoint-call"
        return ((f"{named}-limit", str(calls.limit)), (f"{named}-remaining", str(calls.left)))

    def refusal(self, refused: Refused, request: Request) -> http_error:
        """Return the error, which has a sentence alone."""
        if refused.of == "tokens":
            return super().refusal(refused, request)
        message = (
            f"You are using a Trial key, which is limited to {refused.standing.limit} API calls / minute. You can "
            "continue to use the Trial key for free or upgrade to a Production key with higher rate limits at "
            "'https://dashboard.cohere.com/api-keys'."
        )
        return http_error(429, message)
