"""One connection of the server: requests in their order, each answered whole before the next is begun."""

from __future__ import annotations

import asyncio
import math
import re
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Protocol, cast

from fakellm.clock.clock import Clock
from fakellm.provider.exchange import Exchange
from fakellm.server.framing import reason_of
from fakellm.server.parsing import HttpRequest, Refusal, Requests
from fakellm.server.playing import Playing
from fakellm.server.ticks import Ticks

_GZIP = re.compile(r"(?i)(?:^|[,\s])(?:x-)?gzip(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))\s*(?:;|,|$)")
"""What in `Accept-Encoding` allows gzip: its name, without a weight of 0 (RFC 9110, 12.5.3)."""
_WAITING = 8
"""How many requests of a client that pipelines are read ahead of their answers."""
_LINGER = 2.0
"""Seconds for which a client may take the end of an answer to a request of which it still sends."""
_LINGERING = 1_000_000
"""Bytes that it may send meanwhile."""


class Limits(Protocol):
    """What one client may take of the server."""

    max_body: int
    request_timeout: float
    idle_timeout: float


class Player(Protocol):
    """What plays an answer; see `Playing`."""

    keeps_alive: bool

    def step(self) -> None:
        """Begin."""

    def pause(self) -> None:
        """Stop, since the client does not keep up."""

    def resume(self) -> None:
        """Go on, since the client takes bytes again."""

    def listen_alone(self) -> None:
        """Take that the client sends no more."""

    def leave(self) -> None:
        """Take that the client is gone."""


class Playable(Protocol):
    """An answer to a request."""

    def begun(
        self, transport: asyncio.Transport, request: HttpRequest, done: Callable[[], None], ticks: Ticks
    ) -> Player:
        """Return what plays it on a connection, and calls `done` at its end."""
        ...


class Answer(NamedTuple):
    """What is to be played: an exchange, on whose clock, whether its body may be compressed, and by what."""

    exchange: Exchange
    clock: Clock
    zips: bool = False
    kind: type[Playing] = Playing

    def begun(
        self, transport: asyncio.Transport, request: HttpRequest, done: Callable[[], None], ticks: Ticks
    ) -> Playing:
        """Return what plays it on a connection."""
        accepts = request.headers.get("accept-encoding", "") if self.zips else ""
        return self.kind(
            transport,
            self.exchange,
            self.clock,
            done,
            ticks,
            version=request.version,
            keeps_alive=request.keeps_alive,
            is_zipped=_GZIP.search(accepts) is not None,
            has_body=request.method != "HEAD",
        )


class Connection(asyncio.BufferedProtocol):
    """Reads requests and plays answers. `answer` makes the answer to a request; it raises nothing.

    It reads into a room that all connections of the loop share. Where a protocol is given bytes instead, asyncio has
    the system make room for 256 kB at each read and take it back at once, a fifth of what a short stream takes; whether
    it comes to that depends on what the process has freed before, so that one server was faster than the next.
    """

    def __init__(
        self, answer: Callable[[HttpRequest], Playable], limits: Limits, known: set[Connection], ticks: Ticks
    ) -> None:
        self._answer = answer
        self._limits = limits
        self._known = known
        self._ticks = ticks
        self._requests = Requests(max_body=limits.max_body)
        self._waiting: deque[HttpRequest | Refusal] = deque()
        self._playing: Player | None = None
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = math.inf
        self._is_last = False  # nothing is read any more
        self._left_unread = 0
        self._is_deaf = False  # the client sends nothing any more
        self._is_in_next = False
        self._is_late = False  # the time for the request that has begun is running

    # -- what the transport tells ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._known.add(self)
        self._watch(self._limits.request_timeout)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        """Let the answer know that nobody takes it any more."""
        self._known.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        playing, self._playing = self._playing, None
        if playing is not None:
            playing.leave()

    def pause_writing(self) -> None:
        """Stop, since the client does not keep up."""
        if self._playing is not None:
            self._playing.pause()

    def resume_writing(self) -> None:
        """Go on."""
        if self._playing is not None:
            self._playing.resume()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's name
        """Return where bytes are to be read into."""
        return self._ticks.room

    def buffer_updated(self, nbytes: int) -> None:
        """Take bytes of requests."""
        if self._is_last:
            self._left_unread += nbytes
            if self._left_unread > _LINGERING:
                self._transport.abort()
            return
        self._waiting.extend(found := self._requests.feed(bytes(self._ticks.room[:nbytes])))
        if found and isinstance(found[-1], Refusal):
            self._is_last = True
        elif self._requests.wants_body and self._playing is None and not self._waiting:
            self._requests.wants_body = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if len(self._waiting) > _WAITING:
            self._transport.pause_reading()
        self._next()

    def eof_received(self) -> bool:
        """Let the answers that are asked for be written before the connection is closed."""
        self._is_last = self._is_deaf = True
        if self._playing is not None:
            self._playing.listen_alone()
        return self._playing is not None or bool(self._waiting)

    # -- answers --------------------------------------------------------------------------------------

    def _next(self) -> None:
        """Play the answers that are asked for, as far as they can be played at once."""
        if self._is_in_next:  # an answer that was played in there is done
            return
        self._is_in_next = True
        try:
            while self._playing is None and self._waiting and not self._transport.is_closing():
                request = self._waiting.popleft()
                if len(self._waiting) == _WAITING:
                    self._transport.resume_reading()
                self._unwatch()
                if isinstance(request, Refusal):
                    self._refuse(request)
                else:
                    self._play(request)
        finally:
            self._is_in_next = False
        if self._playing is None and not self._is_last:
            self._await_request()

    def _play(self, request: HttpRequest) -> None:
        answer = self._answer(request)
        self._playing = playing = answer.begun(self._transport, request, self._done, self._ticks)
        if self._is_deaf:
            playing.listen_alone()
        playing.step()

    def _done(self) -> None:
        """Take that an answer was written, or broken off."""
        playing, self._playing = self._playing, None
        if (playing is not None and not playing.keeps_alive) or (self._is_last and not self._waiting):
            self._close()
        else:
            self._next()

    def _await_request(self) -> None:
        """Let the client take its time between requests, and not much of it within one.

        Within one the time is not begun anew with each byte, or a client that sends one a second would stay for ever.
        """
        if self._requests.is_begun:
            if not self._is_late:
                self._is_late = True
                self._watch(self._limits.request_timeout)
        elif math.isinf(self._deadline):
            self._watch(self._limits.idle_timeout)

    def _refuse(self, refusal: Refusal) -> None:
        body = f"{refusal.why}\n".encode()
        head = f"HTTP/1.1 {refusal.status} {reason_of(refusal.status)}\r\ncontent-type: text/plain; charset=utf-8\r\n"
        self._transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        self._close()

    def _close(self) -> None:
        """End the connection in order: what the client still sends would make the system reset it, and lose the end."""
        self._is_last = True
        self._waiting.clear()
        if self._transport.is_closing():
            return
        self._transport.resume_reading()
        if self._transport.can_write_eof():
            with suppress(OSError):  # the client reset it, which the loop is about to tell
                self._transport.write_eof()
        self._watch(_LINGER)

    # -- patience -------------------------------------------------------------------------------------

    # A timer for each request would be a tenth of what the request costs. So there is one that is let run: when it
    # fires too early, it is set anew; and only where less time is left than it has is it set before that.

    def _watch(self, seconds: float) -> None:
        """Let the client have so many seconds for what is to come next."""
        loop = asyncio.get_running_loop()
        self._deadline = loop.time() + seconds
        if self._timer is not None and self._timer.when() > self._deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = loop.call_at(self._deadline, self._look)

    def _unwatch(self) -> None:
        self._deadline = math.inf
        self._is_late = False

    def _look(self) -> None:
        """End the connection if the time has run out."""
        self._timer = None
        loop = asyncio.get_running_loop()
        if math.isinf(self._deadline):
            return
        if loop.time() < self._deadline:
            self._timer = loop.call_at(self._deadline, self._look)
        elif self._requests.is_begun and not self._is_last and not self._transport.is_closing():
            self._refuse(Refusal(408, "the request did not come whole in time"))
        else:
            self._transport.abort()

    def stop(self) -> None:
        """End now, whatever is played."""
        self._is_last = True
        if self._playing is not None:
            self._playing.leave()
            self._playing = None
        self._transport.abort()

    def finish(self) -> None:
        """Take no more requests, and end once what was asked is answered."""
        self._is_last = True
        if self.is_idle:
            self._transport.close()

    @property
    def peer(self) -> str:
        """The address of the client; empty where it has none."""
        name = self._transport.get_extra_info("peername")
        return str(name[0]) if isinstance(name, tuple) else ""

    @property
    def is_idle(self) -> bool:
        """Whether nothing is played and nothing waits to be."""
        return self._playing is None and not self._waiting

    @property
    def is_settled(self) -> bool:
        """Whether it is idle, and what was written went to the system."""
        return self.is_idle and not self._transport.get_write_buffer_size()
