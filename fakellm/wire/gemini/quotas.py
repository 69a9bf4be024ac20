"""Gemini's rate limits.

Source: https://ai.google.dev/gemini-api/docs/rate-limits (requests and input tokens a minute), public reports of the
error, and google/rpc/error_details.proto. No header tells what is left.
"""

from __future__ import annotations

import json

from fakellm.script.events import http_error
from fakellm.wire.codec import Request
from fakellm.wire.quotas import Of, Quotas, Refused

_PAGE = "https://ai.google.dev/gemini-api/docs/rate-limits"
_METRICS: dict[Of, tuple[str, str]] = {
    "requests": ("generate_content_requests", "GenerateRequestsPerMinutePerProjectPerModel"),
    "tokens": ("generate_content_input_token_count", "GenerateContentInputTokensPerModelPerMinute"),
}
_TYPE = "type.googleapis.com/google.rpc."


class GeminiQuotas(Quotas):
    """A quota of each minute; the error has a `RetryInfo`."""

    is_bucket = False

    def refusal(self, refused: Refused, request: Request) -> http_error:
        """Return `RESOURCE_EXHAUSTED` with the quota that it is about, and when to try again."""
        name, quota = _METRICS[refused.of]
        metric, limit, wait = f"generativelanguage.googleapis.com/{name}", refused.standing.limit, refused.wait
        seconds = f"{wait:.9f}".rstrip("0").rstrip(".")
        message = (
            "You exceeded your current quota, please check your plan and billing details. For more information on this "
            f"error, head to: {_PAGE}. \n* Quota exceeded for metric: {metric}, limit: {limit}, "
            f"model: {request.model}\nPlease retry in {seconds}s."
        )
        violation = {
            "quotaMetric": metric,
            "quotaId": quota,
            "quotaDimensions": {"location": "global", "model": request.model},
            "quotaValue": str(limit),
        }
        links = [{"description": "Learn more about Gemini API quotas", "url": _PAGE}]
        details = [
            {"@type": f"{_TYPE}QuotaFailure", "violations": [violation]},
            {"@type": f"{_TYPE}Help", "links": links},
            {"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{seconds}s"},
        ]
        error = {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED", "details": details}
        return http_error(429, message, body=json.dumps({"error": error}, indent=2) + "\n")
