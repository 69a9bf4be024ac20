"""Plays the answer to one request on a connection: bytes in chunks, silences on the clock, faults on the socket.

Why no task, and no coroutine. A stream of a thousand that are paced is idle nearly all of its life, and what it does
when its time comes is to write some bytes. A callback of a timer does that with nothing kept but the generator that
says what comes next; a task would cost three times as much memory, and twice the time for each event.

Why one write for many chunks. Each piece of an answer is an HTTP chunk of its own, which is what clients see; how many
of them one `send` takes is seen by nobody. So what is due now is gathered, and given to the socket when the answer
waits, ends, or is a lot: a kernel is asked hundreds of times less often than there are events.

Backpressure is the transport's: while its buffer is above the high-water mark, nothing more is asked of the answer, so
a reader that stops keeps a few ten kilobytes here, however long the answer is.
"""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NamedTuple

from fakellm.clock import InstantClock, ScaledClock
from fakellm.clock.clock import Clock
from fakellm.provider.exchange import Exchange, Failure, Timeouts, Written, timed
from fakellm.provider.mistakes import without_frames
from fakellm.server.resets import reset
from fakellm.server.ticks import Ticket, Ticks

_MANY = 100
"""Pieces that are gathered at the most, and a run of them."""
_PATIENT = Timeouts()
_FOR_EVER = 1e8


class _Framing(NamedTuple):
    """What of a request decides how its answer is framed."""

    is_old: bool
    is_zipped: bool
    keeps_alive: bool
    has_body: bool = True


def reason_of(status: int) -> str:
    """Return the phrase that stands beside a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


@lru_cache(256)
def _head_of(
    version: str, status: int, reason: str | None, headers: tuple[tuple[str, str], ...], framing: _Framing
) -> tuple[bytes, bool, bool]:
    """Return the head of an answer, whether its body comes in chunks, and whether the connection lives on after it."""
    names = {name.lower() for name, _ in headers}
    is_sized = "content-length" in names and not framing.is_zipped
    is_old = framing.is_old or version == "HTTP/1.0"
    is_chunked = not is_sized and not is_old and "transfer-encoding" in names
    keeps_alive = framing.keeps_alive and (is_sized or is_chunked) and not is_old
    left_out = {"transfer-encoding", "connection"} | ({"content-length"} if not is_sized else set())
    phrase = reason if reason is not None else reason_of(status)
    lines = [f"{'HTTP/1.0' if version == 'HTTP/1.0' else 'HTTP/1.1'} {status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in headers if name.lower() not in left_out]
    if is_chunked:
        lines.append("transfer-encoding: chunked")
    if framing.is_zipped:
        lines.append("content-encoding: gzip")
    if not keeps_alive:
        lines.append("connection: close")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape"), is_chunked, keeps_alive


def _framed(pieces: list[bytes], *, is_chunked: bool) -> list[bytes]:
    """Return pieces as they are sent. An empty one has no form: as a chunk it would be the end of the body."""
    return [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece] if is_chunked else pieces


class _Part(NamedTuple):
    """What is sent at once, the pieces that are in it, and their bytes."""

    sent: bytes
    pieces: list[bytes]
    size: int


class _Plan(NamedTuple):
    """All that an answer does which is known before it begins: parts, silences in seconds, the failure at its end."""

    steps: list[_Part | float | Failure]
    keeps_alive: bool


def _plan_of(exchange: Exchange, written: Written, framing: _Framing) -> _Plan:
    """Return the plan of an answer that is written already: what is not waited between is one part."""
    if (known := written.made.get(framing)) is not None:
        return known  # type: ignore[no-any-return]
    head, is_chunked, keeps_alive = _head_of(
        exchange.version, exchange.status, exchange.reason, tuple(written.headers), framing
    )
    steps: list[_Part | float | Failure] = []
    sent, pieces = [head], list[bytes]()
    ends_well = True
    for action in timed(written.steps, _PATIENT):
        if isinstance(action, list):
            sent += _framed(action, is_chunked=is_chunked)
            pieces += action
            continue
        if sent:
            steps.append(_Part(b"".join(sent), pieces, sum(map(len, pieces))))
            sent, pieces = [], []
        steps.append(action)
        ends_well = not isinstance(action, Failure)
    if is_chunked and ends_well:
        sent.append(b"0\r\n\r\n")
    if sent:
        steps.append(_Part(b"".join(sent), pieces, sum(map(len, pieces))))
    return written.made.setdefault(framing, _Plan(steps, keeps_alive))  # type: ignore[no-any-return]


class Playing:
    """One answer on its way. `done` is called once; `keeps_alive` then tells whether the connection can take another.

    `version` is the client's HTTP, `is_zipped` whether the body is compressed, piece by piece; `has_body` whether there
    is to be one: to HEAD there is none, or it would be taken for the next answer.
    """

    __slots__ = (
        "_actions",
        "_at",
        "_clock",
        "_done",
        "_due",
        "_exchange",
        "_framing",
        "_has_head",
        "_is_chunked",
        "_is_deaf",
        "_is_over",
        "_is_stalled",
        "_loop",
        "_out",
        "_plan",
        "_ticks",
        "_transport",
        "_waiting",
        "_zip",
        "is_paused",
        "keeps_alive",
    )  # fmt: skip

    def __init__(
        self,
        transport: asyncio.Transport,
        exchange: Exchange,
        clock: Clock,
        done: Callable[[], None],
        ticks: Ticks,
        *,
        version: str = "1.1",
        keeps_alive: bool = True,
        is_zipped: bool = False,
        has_body: bool = True,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._exchange = exchange
        self._clock = clock
        self._done = done
        self._ticks = ticks
        self._framing = _Framing(version == "1.0", is_zipped, keeps_alive, has_body)
        self.keeps_alive = keeps_alive
        self._zip: Any = zlib.compressobj(wbits=31) if is_zipped else None
        self._actions: Iterator[Any] = exchange.opening(_PATIENT)
        self._out: list[bytes] = []
        self._due = 0.0
        self._has_head = self._is_chunked = self._is_over = self.is_paused = False
        self._is_deaf = self._is_stalled = False
        self._at = 0
        self._plan: list[_Part | float | Failure] | None = None
        if exchange.written is not None and not is_zipped and has_body:
            self._plan, self.keeps_alive = _plan_of(exchange, exchange.written, self._framing)
        self._waiting: asyncio.Handle | asyncio.Task[None] | Ticket | None = None

    # -- what the connection tells --------------------------------------------------------------------

    def pause(self) -> None:
        """Stop, since the client does not keep up."""
        self.is_paused = True

    def resume(self) -> None:
        """Go on, since the client takes bytes again."""
        self.is_paused = False
        if self._waiting is None and not self._is_over:
            self.step()

    def listen_alone(self) -> None:
        """Take that the client sends no more: it may be gone, or read on, and what is written to it will tell.

        Where nothing will be written any more, nothing would: there it is taken for gone.
        """
        self._is_deaf = True
        self._see_who_waits()

    def _see_who_waits(self) -> None:
        if self._is_deaf and self._is_stalled:
            self._transport.abort()

    def leave(self) -> None:
        """Take that the client is gone."""
        if not self._is_over:
            self._end()
            self._exchange.close()
            self._exchange.call.drop()

    def step(self) -> None:
        """Write what is due, until the answer waits, ends, or the client does not take more."""
        self._waiting = None
        try:
            if self._plan is None:
                self._step()
            else:
                self._step_planned(self._plan)
        except BaseException as error:
            self._end()
            self._transport.abort()
            call = self._exchange.call
            call.drop()
            if error is not call.error:  # that one is in the log of the provider, with its calls
                raise
            if call.room is not None:
                without_frames(error)

    def _step_planned(self, plan: list[_Part | float | Failure]) -> None:
        while self._at < len(plan):
            if self.is_paused:
                return
            step = plan[self._at]
            self._at += 1
            if type(step) is _Part:
                call = self._exchange.call
                call.took_run(step.pieces, step.size)
                if self._at == len(plan):
                    call.end("complete")  # before the client has it, or it would look too early
                self._transport.write(step.sent)
            elif isinstance(step, Failure):
                self._fail(step.kind)
                return
            else:
                self._wait(step)  # type: ignore[arg-type]
                return
        self._exchange.call.end("complete")
        self._end()
        self._done()

    def _step(self) -> None:
        while not self._is_over:
            action = next(self._actions, None)
            if type(action) is float:
                self._write()
                self._wait(action)
                return
            if action is None:
                if self._has_head:
                    self._complete()
                    return
                self._begin()
            elif isinstance(action, Failure):
                self._write()
                self._fail(action.kind)
            else:
                self._put(list(action))
                if self._exchange.is_made_while_read:
                    self._write()
                    self._let_others()
                    return
                if len(self._out) > _MANY:
                    self._write()
                    if self.is_paused:
                        return

    def _let_others(self) -> None:
        """Let other answers go on before a function says more."""
        if not self.is_paused:
            self._waiting = self._loop.call_soon(self.step)

    # -- bytes ----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Put the head of the answer; what comes next is its body."""
        exchange, self._has_head = self._exchange, True
        head, self._is_chunked, self.keeps_alive = _head_of(
            exchange.version, exchange.status, exchange.reason, tuple(exchange.headers), self._framing
        )
        self._out.append(head)
        self._actions = exchange.body(_PATIENT)

    def _put(self, pieces: list[bytes]) -> None:
        """Take pieces of the body, each of which is a chunk of its own where there are chunks."""
        if not self._framing.has_body:
            return
        if self._zip is not None:
            squeeze = self._zip
            pieces = [squeeze.compress(piece) + squeeze.flush(zlib.Z_SYNC_FLUSH) for piece in pieces if piece]
        self._out += _framed(pieces, is_chunked=self._is_chunked)

    def _write(self) -> None:
        if self._out:
            self._transport.write(b"".join(self._out))
            self._out = []

    def _complete(self) -> None:
        if self._zip is not None:
            rest, self._zip = self._zip.flush(), None
            self._put([rest])
        if self._is_chunked and self._framing.has_body:
            self._out.append(b"0\r\n\r\n")
        self._write()
        self._end()
        self._exchange.call.drop()
        self._done()

    # -- silences -------------------------------------------------------------------------------------

    def _wait(self, seconds: float) -> None:
        """Wait on the clock, then go on."""
        clock, loop = self._clock, self._loop
        if math.isinf(seconds):
            self._is_stalled = True
            self._waiting = loop.call_later(_FOR_EVER, _nothing)  # the client leaves, or the server stops
            self._see_who_waits()
            return
        if isinstance(clock, ScaledClock):
            # From when the last wait was to end, so that a stream keeps its pace however late each event was.
            self._due = max(self._due, loop.time() - 1.0) if self._due else loop.time()
            self._due += seconds * clock.factor
            self._waiting = self._ticks.call_at(self._due, self.step)
        elif isinstance(clock, InstantClock):
            clock.sleep(seconds)
            self._waiting = loop.call_soon(self.step)
        else:
            self._waiting = loop.create_task(self._asleep(seconds))

    async def _asleep(self, seconds: float) -> None:
        await self._clock.asleep(seconds)
        self.step()

    # -- endings --------------------------------------------------------------------------------------

    def _fail(self, kind: str) -> None:
        """Let the connection break as the fault says."""
        self._end()
        error = ConnectionResetError(104, "the answer was scripted to break")
        self._exchange.call.fail(error)
        self._exchange.call.drop()
        if kind == "reset":
            reset(self._transport)
        else:
            self.keeps_alive = False
            self._done()

    def _end(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        self._is_over = True


def _nothing() -> None:
    pass
