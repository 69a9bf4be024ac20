"""What a server keeps of the requests that came: so many a session, and so many bytes in all sessions together.

A server may run for days, be asked thousands of times a second, and be sent bodies of megabytes under names of sessions
that nobody uses twice. What is let go is the oldest, of the session that holds most.

Why it measures now and then, and does not add up. What a request holds grows while its answer is played, thousands of
times a second. So each counts as if it held all that it may until all are measured; and that is done when what may have
come since would go beyond the bound. Then so much is let go that half of the bound is free, so it is done seldom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heapreplace
from typing import Protocol

from fakellm.models.kept import Kept
from fakellm.server.logged import Logged

KEEP = 1_000
"""How many requests of each session a server keeps by itself."""
_BYTES = 256 * 1024 * 1024
"""Bytes that all sessions keep together."""


class Holder(Protocol):
    """A session, as far as it holds requests."""

    log: Kept[Logged]

    def let_go(self) -> None:
        """Let go of the oldest request."""


def checked_keep(keep: int | None) -> int | None:
    """Return a number of requests. Raises `ValueError` for what is none."""
    if keep is not None and (type(keep) is not int or keep < 1):
        msg = f"keep is how many requests of each session are kept, from 1 up, or None for all; not {keep!r}"
        raise ValueError(msg)
    return keep


class Room:
    """The room that the sessions of one server have: `keep` requests each, and so many bytes together."""

    def __init__(self, keep: int, holders: Callable[[], Iterable[Holder]], most: int = _BYTES) -> None:
        self.keep = keep
        self._holders = holders
        self._most = most
        self._left = most

    def take(self, logged: Logged) -> None:
        """Take that a request was logged, and let go of others if they could be too many bytes with it."""
        self._left -= logged.bound()
        if self._left < 0:
            self._left = self._most - self._measured(logged)

    def _measured(self, latest: Logged) -> int:
        """Return the bytes that all hold, after so many were let go that it is at most half; the latest stays."""
        found = [(-sum(logged.size for logged in holder.log), at, holder) for at, holder in enumerate(self._holders())]
        size = -sum(held for held, _, _ in found)
        heapify(found)
        while size > self._most // 2 and found:
            held, at, holder = found[0]
            if not holder.log or holder.log[0] is latest:
                heappop(found)
                continue
            freed = holder.log[0].size
            holder.let_go()
            size -= freed
            heapreplace(found, (held + freed, at, holder))
        return size
