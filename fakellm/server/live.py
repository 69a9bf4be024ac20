"""The requests of a session as they come, as server-sent events: whoever watches is told what has changed.

Why it looks, and is not called. What changes is noted where answers are played, thousands of times a second, and mostly
nobody watches. So nothing there knows of watchers: each looks a few dozen times a second at the log, which is appended
to, and at the requests that were under way when it last looked. It tells a bounded number of them at a time, in turns,
so that answers under load go on beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fakellm.provider.actions import Timeouts
from fakellm.provider.exchange import Exchange, ProviderCall
from fakellm.server.logged import Logged
from fakellm.server.sessions import Session
from fakellm.server.views import brief, dumped

_LOOK = 0.03
"""Seconds between two looks."""
_MOST = 25
"""How many new requests are told at one look, and how many of those under way."""
_HEARTBEATS = 500
"""Looks without anything to tell, after which a comment is sent, so that proxies keep the connection."""


class Live(Exchange):
    """An answer that does not end: an event `call` for each request that is new or has changed.

    Its `moments` are those that were not told yet. `reset` is told where the session begins anew.
    """

    def __init__(self, call: ProviderCall, session: Session, headers: list[tuple[str, str]]) -> None:
        told = [*headers, ("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]
        super().__init__(call, 200, told, [])
        self._session = session
        self._generation = session.generation
        self._next = 0
        self._open: dict[int, tuple[Logged, str, int]] = {}

    def body(self, timeouts: Timeouts) -> Iterator[Iterator[bytes] | float]:  # noqa: ARG002
        """Yield what has changed, and the silences between two looks."""
        yield iter([b"retry: 500\n\n"])
        quiet = 0
        while True:
            if events := list(self._changes()):
                quiet = 0
                yield iter(events)
            elif (quiet := quiet + 1) % _HEARTBEATS == 0:
                yield iter([b": still here\n\n"])
            yield _LOOK

    def _changes(self) -> Iterator[bytes]:
        session = self._session
        if session.generation != self._generation:
            self._generation, self._next, self._open = session.generation, 0, {}
            yield _event("reset", {})
        under_way = list(self._open.values())
        for logged in session.since(self._next)[:_MOST]:
            self._next = logged.number
            yield self._told(logged, 0, logged.state)
        left = _MOST
        for logged, state, told in under_way:  # be it that the log has let go of them
            if (found := logged.state) != state or logged.count > told:
                yield self._told(logged, told, found)
                left -= 1
                if not left:
                    return

    def _told(self, logged: Logged, told: int, state: str) -> bytes:
        """Return the event of a request, and keep it in mind while it goes on."""
        document = brief(logged, told)
        self._open.pop(logged.number, None)
        if state == "running":  # it comes last again
            self._open[logged.number] = (logged, state, told + len(document["moments"]))
        return _event("call", document, logged.call.credentials)


def _event(name: str, document: dict[str, Any], secrets: frozenset[str] = frozenset()) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), dumped(document, secrets))
