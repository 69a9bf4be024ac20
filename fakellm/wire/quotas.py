"""Quotas as providers say them: how they count, the headers that tell what is left, and the error when nothing is.

A provider's folder says its own in `quotas.py`, and its `SERVICE` names that. One that has none counts in a bucket,
sends no headers, and refuses with a sentence and a `retry-after`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from fakellm.script.events import http_error
from fakellm.wire.codec import Headers, Request

Of = str
"""What is counted: `requests` or `tokens`."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a quota stands: what it allows a minute, what is left of it, and the seconds until it is whole again."""

    limit: int
    left: int
    reset: float


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that a quota has no room for: of what, how much it wanted, and the seconds until there is room."""

    of: Of
    wanted: int
    wait: float
    standing: Standing


class Quotas:
    """How a provider counts, and what it says of that.

    `is_bucket` tells whether what was used comes back bit by bit, as in a token bucket, or all of it each full minute.
    `counts_output` tells whether the tokens that a request allows for its answer count with those of its prompt.
    """

    is_bucket = True
    counts_output = False

    def headers(self, standings: Mapping[Of, Standing], now: float) -> Headers:  # noqa: ARG002 - for those that have some
        """Return the headers of any answer; `now` are the seconds of the clock."""
        return ()

    def refusal(self, refused: Refused, request: Request) -> http_error:  # noqa: ARG002 - some name the model
        """Return the error of a request that there is no room for."""
        limit, of = refused.standing.limit, refused.of
        return http_error(429, f"rate limit exceeded: {limit} {of} per minute", retry_after=float(ceil(refused.wait)))
