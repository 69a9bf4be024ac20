"""Whether an error says why: what refused the app last is somewhere in the chain of exceptions that it raises.

Nothing is imported: SDKs and libraries for retries are known by what their exceptions have in common.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fakellm.contracts.retries.troubles import Trouble

_TOLD = "the fake provider was told to fail"
_CONNECTION = re.compile(
    r"connect|network|timed? ?out|reset|refused|disconnect|protocol|transport|read ?error|closed|incomplete|interrupt"
    r"|silen|stall|deadline|unreachable|broke",
    re.IGNORECASE,
)
_WORDS = {
    400: r"bad.?request|invalid|malformed",
    401: r"unauthori[sz]ed|authenticat|api.?key|credential|permission",
    408: r"time.?out|timed out",
    429: r"rate.?limit|too.?many|quota|throttl",
    500: r"internal|server.?error",
    503: r"unavailable|overload|server.?error",
    529: r"overload|unavailable|server.?error",
}
_STATUSES = ("status_code", "status", "code", "http_status")


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and those that it was made of: its causes and contexts, members and last attempts."""
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, None if one.__suppress_context__ else one.__context__]
        waiting += getattr(one, "exceptions", ())
        waiting += [part for part in one.args if isinstance(part, BaseException)]
        waiting.append(_last_attempt(one))


def _last_attempt(error: BaseException) -> BaseException | None:
    """Return what the last attempt of tenacity came to."""
    attempt: Any = getattr(error, "last_attempt", None)
    found = attempt.exception() if hasattr(attempt, "exception") else None
    return found if isinstance(found, BaseException) else None


def says_why(error: BaseException, trouble: Trouble) -> bool:
    """Tell whether an error, or one that it was made of, says what the trouble was."""
    return any(_is_why(one, trouble.status) for one in chain(error))


def _is_why(error: BaseException, status: int | None) -> bool:
    text = f"{type(error).__name__}: {error}"
    if status is None:
        return isinstance(error, OSError) or bool(_CONNECTION.search(text))
    holders = (error, getattr(error, "response", None))
    return any(getattr(holder, name, None) == status for holder in holders for name in _STATUSES) or mentions(
        text, status
    )


def mentions(text: str, status: int | None) -> bool:
    """Tell whether a text says what the trouble was."""
    if status is None:
        return bool(_CONNECTION.search(text))
    says = rf"(?<!\d){status}(?!\d)|{_WORDS[status]}"
    return _TOLD in text or bool(re.search(says, text, re.IGNORECASE))
