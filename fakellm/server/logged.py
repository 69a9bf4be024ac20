"""One request as a server saw it, and how much of it is kept.

A server may run for days and under load, so what it keeps is bounded. Of an answer those are its first pieces and the
moments of its first five hundred runs; the rest is counted. How many requests are kept is the business of sessions.
"""

from __future__ import annotations

from array import array
from time import monotonic

from fakellm.provider.exchange import ProviderCall

_MOMENTS = 1_000
"""Numbers that are kept of the moments of an answer, two for each."""
_ROOM = 64 * 1024
"""Bytes that are kept of an answer."""
_PARSED = 4
"""How many times as large a request is with its JSON as its body is by itself."""
_OVERHEAD = 4_000
"""Bytes that a request takes beside what it holds."""
_MOST = _ROOM + 8 * _MOMENTS + _OVERHEAD
"""Bytes that a request may come to take beside what came."""


class Logged:
    """One request as the server saw it: by whom it was answered, when it came, and when which piece was written.

    `number` counts the requests of the session from 1. `provider` is empty where none knew the request. `at` is in
    seconds since the session began, `sent` the status of the answer. `miss` is what the author of the test was told,
    where it was one.
    """

    __slots__ = ("_begun", "_noted", "_size", "at", "call", "miss", "number", "provider", "sent")

    def __init__(
        self, number: int, provider: str, call: ProviderCall, begun: float, sent: int, miss: BaseException | None
    ) -> None:
        self.number = number
        self.provider = provider
        self.call = call
        self.miss = miss
        self.sent = sent or None
        self._begun = monotonic()
        self.at = self._begun - begun
        self._noted = array("d")
        self._size = 0
        call.watch = self._note

    def _note(self, before: int) -> None:
        """Note that pieces are written now, and how many were before those."""
        if len(self._noted) < _MOMENTS:
            self._noted.extend((monotonic(), before))

    @property
    def state(self) -> str:
        """How far it is: that of the call, or `missed`."""
        return "missed" if self.miss is not None else self.call.state

    @property
    def is_full(self) -> bool:
        """Whether later moments were not noted."""
        return len(self._noted) >= _MOMENTS

    @property
    def count(self) -> int:
        """How many moments there are."""
        return len(self._noted) // 2

    def moments(self, since: int = 0) -> list[tuple[float, int]]:
        """Return when pieces were written: seconds since the request came, and how many there were before those."""
        noted = self._noted
        places = range(2 * since, len(noted) - 1, 2)
        return [(noted[place] - self._begun, int(noted[place + 1])) for place in places]

    def bound(self) -> int:
        """Keep no more of the answer than there is room for; return the bytes that it all may come to take."""
        self.call.room = _ROOM
        return self._came() + _MOST

    def _came(self) -> int:
        """Return about how many bytes the request takes."""
        call = self.call
        head = sum(map(len, call.headers)) + sum(map(len, call.headers.values())) + len(call.url)
        return head + _PARSED * len(call.body)

    def let_go(self) -> None:
        """Let the request, if it is answered, be free at once: each of the two knows the other."""
        if self.call.state != "running":
            self.call.watch = None

    @property
    def size(self) -> int:
        """About how many bytes it takes; known once it is answered."""
        if self._size:
            return self._size
        call = self.call
        answer = sum(map(len, call.taken)) + self._noted.itemsize * len(self._noted)
        size = _OVERHEAD + self._came() + answer
        if call.state != "running":
            self._size = size
        return size
