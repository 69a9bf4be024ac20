"""The connections that one transport of a client has: what it reads, and who waits for a free one.

Why a fake that needs no connection counts them. An app that leaves streams without closing them runs out of
connections in production, and waits there for one until the pool's timeout; behind a fake it would never notice.
(Clients do leave them: openai's keeps the socket of a stream that was left by `break` for as long as the stream
object lives.) So an answer that is read has a connection, until it is read, closed or collected: what holds them is
weak, as the socket of an object that nobody has any more is closed. Who waits longest is served first, as in the
pools of both libraries. And who was given a connection while it was being cancelled gives it back, or each
cancellation would take one for good.
"""

from __future__ import annotations

from collections import deque
from typing import Any
from weakref import WeakSet

from fakellm.concurrency import new_event, wait_at_most


class Connection:
    """One that a request has, until its answer is read or closed, or forgotten."""


class Reading(WeakSet[Any]):
    """The answers that one transport of a client is reading.

    `limit` is how many connections it may have at once, None for any number. It counts in virtual time only: on other
    clocks an answer takes no time, or as much as the test gives it, and nobody should wait for a connection in between.
    """

    def __init__(self, limit: int | None = None) -> None:
        super().__init__()
        self._limit = limit
        self._taken: WeakSet[Connection] = WeakSet()
        self._waiting: deque[_Waiter] = deque()

    def connect(self) -> Connection | None:
        """Return a connection, or None where all are taken."""
        if self._limit is not None and len(self._taken) >= self._limit:
            return None
        self._taken.add(connection := Connection())
        return connection

    async def connect_within(self, seconds: float) -> Connection | None:
        """Return a connection, which may be taken for so long; the first who waits has the first that is free."""
        waiter = _Waiter()
        self._waiting.append(waiter)
        try:
            await wait_at_most(waiter.free, seconds)
        except BaseException:
            self.release(waiter.connection)
            raise
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
        return waiter.connection

    def release(self, connection: Connection | None) -> None:
        """Give a connection back, or to who waits for it."""
        if connection is None or connection not in self._taken:
            return
        self._taken.discard(connection)
        if self._waiting:
            waiter = self._waiting.popleft()
            waiter.connection = self.connect()
            waiter.free.set()


class _Waiter:
    """Who waits for a connection."""

    def __init__(self) -> None:
        self.free = new_event()
        self.connection: Connection | None = None


def limit_of(transport: Any) -> int | None:
    """Return how many connections a transport of httpx or httpx2 may have at once."""
    limit: int | None = getattr(getattr(transport, "_pool", None), "_max_connections", None)
    return limit
