"""One request to a fake provider and its answer, without any I/O: what to send, what to wait for, how it ends.

A shell asks `opening` what happens before the headers and `body` what happens after them, and does what they yield:
runs of bytes are handed to the client, a float is waited for on the clock, a `Failure` is raised as the exception
that the HTTP library has for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from fakellm.clock.clock import Clock, timed_stream
from fakellm.clock.timeline import TimedStream
from fakellm.concurrency import is_cancellation
from fakellm.errors import clip
from fakellm.provider.actions import Failure, Timeouts, timed
from fakellm.provider.asking import request_of
from fakellm.provider.routes import Route
from fakellm.script.events import Fault, Pause
from fakellm.secrets.knowing import carried, discreet, discreet_url, knowing
from fakellm.wire.codec import Ending, Request, Run
from fakellm.wire.hops import Carried, Hop

if TYPE_CHECKING:
    from fakellm.wire.rules import Refusal

State = Literal["running", "complete", "closed", "cancelled", "failed"]

_KEPT = 64


class Left(Protocol):
    """What knows how many of an answer's pieces are still to be taken: an iterator over a list, say."""

    def __length_hint__(self) -> int:
        """Return how many there are."""
        ...


_NOTHING: Any = iter(())


class ProviderCall:
    """One request to a fake provider.

    `api` is the codec's name (`openai.chat`), `json` the parsed body, `request` the same in words that all APIs share:
    without a prompt where the endpoint takes none, or the body could not be read.
    `status` is the HTTP status of the answer, `delivered` the bytes of its body that the client took. `state` says how
    far it is: `running`, or how it ended: `complete`, `closed` (by the client, before the end), `cancelled`, or
    `failed` with an `error`. What it is shown as has none of its `credentials`, nor anything else that is secret.
    `refusal` is why a strict fake refused it.
    `watch` is called whenever pieces are handed out, with how many were taken before those. `room` is how many bytes
    of the answer may still be kept, None for any number of the first pieces; `place` its number in a log of several
    providers.
    """

    watch: Callable[[int], None] | None = None
    room: int | None = None
    place = 0

    def __init__(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> None:
        self.number = 0
        self.made_of: int | None = None
        self.method = method
        self.url = url
        self.headers = dict(headers)
        self.body = body
        self.json: Any = None
        self.api = ""
        self._request: Request | None = None
        self.reply: Route | None = None
        self.refusal: Refusal | None = None
        self.status: int | None = None
        self._run: list[bytes] = []
        self._cursor: Left = _NOTHING
        self._before = (0, 0)
        self._first: list[bytes] = []
        self.state: State = "running"
        self.error: BaseException | None = None

    @property
    def seed(self) -> int:
        """The number that ids in its answer are made of: its own, or one that is made of the request."""
        return self.number if self.made_of is None else self.made_of

    @property
    def input(self) -> Request | None:
        """The request, as replies are matched with it."""
        return self._request

    @property
    def request(self) -> Request:
        """What was asked, in words that all APIs share."""
        if self._request is None:
            self._request = request_of(self.method, self.url, self.headers, self.body)
        return self._request or Request(self.api, "", json=self.json)

    @request.setter
    def request(self, request: Request) -> None:
        self._request = request

    @property
    def credentials(self) -> frozenset[str]:
        """What the URL and the headers carry that nobody is to be shown."""
        return carried(self.url, self.headers)

    @property
    def address(self) -> str:
        """The method and the URL, as they may be shown."""
        with knowing(self.credentials):
            return f"{self.method} {discreet_url(self.url)}"

    @property
    def closed(self) -> bool:
        """Whether the client closed the answer before its end."""
        return self.state == "closed"

    @property
    def pieces(self) -> int:
        """How many pieces of the answer's body the client took."""
        return self._before[0] + self._taken

    @property
    def delivered(self) -> int:
        """How many bytes of the answer's body the client took."""
        return self._before[1] + sum(map(len, self._run[: self._taken]))

    @property
    def taken(self) -> list[bytes]:
        """The first pieces of the answer's body that the client took, at most 64."""
        left = _KEPT - len(self._first)
        if not left or self.room == 0:
            return self._first
        taken = self._run[: min(self._taken, left)]
        return [*self._first, *(taken if self.room is None else _fitting(taken, self.room))]

    @property
    def _taken(self) -> int:
        return len(self._run) - self._cursor.__length_hint__()

    @property
    def is_whole(self) -> bool:
        """Whether the client took all of an answer that is not cut short."""
        return isinstance(self._run, Ending) and self._taken >= len(self._run) - self._run.slack

    def deliver(self, run: list[bytes]) -> Iterator[bytes]:
        """Return an iterator over the pieces; what is taken from it counts as delivered, at no cost."""
        self._settle()
        if self.watch is not None:
            self.watch(self._before[0])
        cursor: Any = iter(run)
        self._run, self._cursor = run, cursor
        return cursor  # type: ignore[no-any-return]

    def _settle(self) -> None:
        """Count what was taken of the run, before there is another: this is done for each event of a paced stream."""
        if count := self._taken:
            taken = self._run if count == len(self._run) else self._run[:count]
            self._count(taken, sum(map(len, taken)))

    def follow(self, run: list[bytes], left: Left) -> None:
        """Take that somebody else delivers the pieces, and says how many are left when that is asked for."""
        self._run, self._cursor = run, left

    def _count(self, taken: list[bytes], size: int) -> None:
        self._before = self._before[0] + len(taken), self._before[1] + size
        if (left := _KEPT - len(self._first)) > 0:
            if self.room is None:
                self._first += taken[:left]
            elif size <= self.room and len(taken) <= left:  # as most are
                self._first += taken
                self.room -= size
            else:
                kept = [*_fitting(taken[:left], self.room)]
                self._first += kept
                self.room -= sum(map(len, kept))

    def took(self, piece: bytes) -> None:
        """Count a piece of an answer that somebody else delivers."""
        next(self.deliver([piece]))

    def drop(self) -> None:
        """Drop the pieces that the client has not taken: whoever iterates over them finds their end."""
        self._settle()
        self._run, cursor, self._cursor = [], self._cursor, _NOTHING
        if place := getattr(cursor, "__setstate__", None):
            place(sys.maxsize)

    def end(self, state: State, error: BaseException | None = None) -> None:
        """Note how it ended; what comes first counts."""
        if self.state == "running":
            self.state, self.error = state, error

    def fail(self, error: BaseException) -> None:
        """Note the exception that ended it."""
        self.end("cancelled" if is_cancellation(error) else "failed", error)

    def asked(self) -> str:
        """Word the request in a few lines."""
        lines = [self.address]
        with knowing(self.credentials):
            if (request := self._request) is not None:
                tools = f" tools={', '.join(request.tools)}" if request.tools else ""
                lines.append(f"model={request.model!r} stream={request.stream}{tools}")
                lines += [f"{message.role}: {clip(message.content, 300)!r}" for message in request.messages[-3:]]
            elif self.body:
                lines.append(clip(self.body.decode("utf-8", "replace"), 300))
            return discreet("\n".join(lines))

    def __repr__(self) -> str:
        answer = f"{self.status or 'no status'}, {self.delivered} bytes in {self.pieces} pieces"
        with knowing(self.credentials):
            ended = f", {clip(repr(self.error), 160)}" if self.error is not None else ""
            return discreet(f"<ProviderCall {self.number}: {self.address} {self.state}, {answer}{ended}>")


def _fitting(taken: list[bytes], room: int) -> Iterator[bytes]:
    """Yield what of the pieces there is room for: the last of them may be a beginning."""
    for piece in taken:
        if room:
            kept = piece[:room]
            room -= len(kept)
            yield kept


def _as_it_is(error: BaseException) -> BaseException:
    return error


class Written(NamedTuple):
    """A stream that is written already: its headers and its steps, and what a shell makes of those, by how.

    `by` is what it was written for, which is kept with it.
    """

    headers: list[tuple[str, str]]
    steps: list[Run]
    by: object
    made: dict[Any, Any]


class Exchange:
    """The answer to one request: status, headers, and a body in timed pieces.

    `version` is that of HTTP, `reason` the phrase beside the status; None is the usual one. `written` has all of it,
    where that is known before it begins. `told` returns what is raised for an exception that ends the body: itself, or
    what says that it is a mistake. `size` is how many bytes the body has, and whether those are all of it; None if that
    is not known before. `uncoded` are the headers and the steps of a body that is compressed for the client alone, as
    they were before that.
    """

    told: Callable[[BaseException], BaseException] = staticmethod(_as_it_is)
    size: tuple[int, bool] | None = None
    uncoded: tuple[Sequence[tuple[str, str]], Iterable[Run | Failure]] | None = None

    def __init__(
        self,
        call: ProviderCall,
        status: int,
        headers: Sequence[tuple[str, str]],
        steps: Iterable[Run | Failure],
        before: Sequence[Pause | Fault] = (),
        source: object = None,
        *,
        version: str = "HTTP/1.1",
        reason: str | None = None,
        written: Written | None = None,
    ) -> None:
        self.call = call
        self.written = written
        self.version = version
        self.reason = reason
        self.status = call.status = status
        self.headers = list(headers)
        self._before = before
        self._steps = iter(steps)
        self._source = source

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers as they are sent: text is UTF-8, and a surrogate the byte that it stands for (PEP 383)."""
        return [(name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in self.headers]

    @property
    def is_made_while_read(self) -> bool:
        """Whether a function makes the body piece by piece, so that it is not to run ahead of who reads."""
        return self._source is not None

    @property
    def is_coded(self) -> bool:
        """Whether the body is compressed already, as a tape may have it."""
        return any(name.lower() == "content-encoding" for name, _ in self.headers)

    def as_whole(self) -> bytes | None:
        """Return the body, if nothing happens in it; it can be played all the same."""
        steps = list(self._steps)
        self._steps = iter(steps)
        runs = [step for step in steps if isinstance(step, list)]
        return b"".join(piece for run in runs for piece in run) if len(runs) == len(steps) else None

    def add_headers(self, headers: Iterable[tuple[str, str]]) -> None:
        """Add headers, but for those that it has; a stream that is written already is none any more with others."""
        names = {name.lower() for name, _ in self.headers}
        if more := [(name, value) for name, value in headers if self.status and name not in names]:
            self.headers += more
            self.written = None

    def passes(self, hops: Iterable[Hop]) -> Exchange:
        """Let the answer pass what lies between who made it and the client; the first is passed first. Returns it."""
        if hops := tuple(hops):
            headers, steps = self.uncoded or (self.headers, self._steps)
            request = self.call.input
            is_stream = request is not None and request.stream
            carried = came = Carried(self.status, headers, steps, self._before, is_stream)
            for hop in hops:
                carried = hop.carry(carried)
            if carried is came:
                return self
            self.status = self.call.status = carried.status
            self.headers, self._before, self._steps = list(carried.headers), carried.before, iter(carried.steps)
            self.written = self.uncoded = None
            is_as_long = carried.header("content-length") == came.header("content-length") != ""
            self.size = self.size if is_as_long else None
        return self

    def timed(self, clock: Clock) -> TimedStream | None:
        """Begin a stream in the log of the clock, if it keeps one."""
        if not hasattr(clock, "timeline"):
            return None
        return timed_stream(clock, self.call.address, self.call.credentials)

    def opening(self, timeouts: Timeouts) -> Iterator[float | Failure]:
        """Return what happens before the headers: silences, then the failure that keeps them from coming."""
        with _telling(self):
            for action in timed(self._before, timeouts):
                if not isinstance(action, list):
                    yield action

    def body(self, timeouts: Timeouts) -> Iterator[Iterator[bytes] | float | Failure]:
        """Yield the pieces of the body, run by run, the silences between them, and the failure, if it ends with one."""
        try:
            with _telling(self):
                for action in timed(self._steps, timeouts):
                    yield self.call.deliver(action) if isinstance(action, list) else action
        except GeneratorExit:
            self.close()
            raise
        self.call.end("complete")

    def close(self) -> None:
        """Note that the client wants no more, and close the generator that makes the answer, if one does."""
        self.call.end("complete" if self.call.is_whole else "closed")
        for iterator in (self._steps, self._source):
            if (close := getattr(iterator, "close", None)) and not getattr(iterator, "gi_running", False):
                self._close(close)

    def _close(self, close: Callable[[], object]) -> None:
        try:
            close()
        except BaseException as error:
            if (told := self.told(error)) is error:
                raise
            raise told from error


class _telling:  # noqa: N801 - a context manager, cheaper than a generator
    """Notes what raises while an answer is made, and raises what is to be told of it."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None or isinstance(error, GeneratorExit):
            return
        told = self._exchange.told(error)
        self._exchange.call.fail(told)
        if told is not error:
            raise told from error
