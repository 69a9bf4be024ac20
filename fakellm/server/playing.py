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
from typing import Any

from fakellm.clock import InstantClock, ScaledClock
from fakellm.clock.clock import Clock
from fakellm.provider.actions import Failure
from fakellm.provider.exchange import Exchange
from fakellm.provider.mistakes import without_frames
from fakellm.server.framing import PATIENT, Framing, Plan, framed, head_of, plan_of
from fakellm.server.resets import reset
from fakellm.server.ticks import Ticks

_MANY = 100
"""Pieces that are gathered at the most, and a run of them."""
_FOR_EVER = 1e8
_EMPTY = Plan([], [], keeps_alive=True)


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
        "_factor",
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
        self._framing = Framing(version == "1.0", is_zipped, keeps_alive, has_body)
        self.keeps_alive = keeps_alive
        self._zip: Any = zlib.compressobj(wbits=31) if is_zipped else None
        self._actions: Iterator[Any] = exchange.opening(PATIENT)
        self._out: list[bytes] = []
        self._due = 0.0
        self._has_head = self._is_chunked = self._is_over = self.is_paused = False
        self._is_deaf = self._is_stalled = False
        self._at = 0
        self._factor = clock.factor if isinstance(clock, ScaledClock) else 0.0
        self._plan: Plan | None = None
        if exchange.written is not None and not is_zipped and has_body:
            self._plan = plan = plan_of(exchange, exchange.written, self._framing)
            self.keeps_alive = plan.keeps_alive
            exchange.call.follow(plan.pieces, self)
        self._waiting: asyncio.Handle | asyncio.Task[None] | int | None = None

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

    def __length_hint__(self) -> int:
        """Return how many pieces are left of an answer that goes by a plan: nobody counts while it is written."""
        plan = self._plan or _EMPTY
        return len(plan.pieces) - plan.parts[self._at].before if self._at < len(plan.parts) else 0

    def _step_planned(self, plan: Plan) -> None:
        if self.is_paused:
            return
        sent, many, before, then = plan.parts[self._at]
        call = self._exchange.call
        if many and call.watch is not None:
            call.watch(before)
        self._at += 1
        if then is None:
            call.end("complete")  # before the client has it, or it would look too early
        if sent:
            self._transport.write(sent)
        if type(then) is float:
            self._wait(then)
            return
        self._end()
        if then is None:
            call.drop()
            self._done()
        else:
            self._fail(then.kind)  # type: ignore[union-attr]

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
        head, self._is_chunked, self.keeps_alive = head_of(
            exchange.version, exchange.status, exchange.reason, tuple(exchange.headers), self._framing
        )
        self._out.append(head)
        self._actions = exchange.body(PATIENT)

    def _put(self, pieces: list[bytes]) -> None:
        """Take pieces of the body, each of which is a chunk of its own where there are chunks."""
        if not self._framing.has_body:
            return
        if self._zip is not None:
            squeeze = self._zip
            pieces = [squeeze.compress(piece) + squeeze.flush(zlib.Z_SYNC_FLUSH) for piece in pieces if piece]
        self._out += framed(pieces, is_chunked=self._is_chunked)

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
        if math.isinf(seconds):
            self._is_stalled = True
            self._waiting = self._loop.call_later(_FOR_EVER, _nothing)  # the client leaves, or the server stops
            self._see_who_waits()
        elif self._factor:
            # From when the last wait was to end, so that a stream keeps its pace however late each event was.
            ticks, due = self._ticks, self._due
            due = max(due, ticks.now - 1.0) if due else self._loop.time()
            self._due = due = due + seconds * self._factor
            self._waiting = ticks.call_at(due, self)
        elif isinstance(self._clock, InstantClock):
            self._clock.sleep(seconds)
            self._waiting = self._loop.call_soon(self.step)
        else:
            self._waiting = self._loop.create_task(self._asleep(seconds))

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
        waiting, self._waiting = self._waiting, None
        if isinstance(waiting, int):
            self._ticks.give_up(waiting, self)
        elif waiting is not None:
            waiting.cancel()
        self._is_over = True


def _nothing() -> None:
    pass
