"""What becomes of an answer that passes a gateway: a hop between who makes it and the client.

The theory. An answer is steps: silences, runs of bytes, how it ends. Three stages make others of them, one step at a
time. First the gateway may lose patience (`Watch`). Then it reads: a gateway that keeps bytes hands on what it reads,
and says how a connection that broke looks on its other side; one that writes anew has a `Rewriter` for that. Last is
when it writes what it has (`pacing`). Headers that come with the first piece have its silences before them.

Whether an answer is a stream is told by its length: what has a `content-length` is a document, which no gateway can end
in order when the server did not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from itertools import chain
from typing import Any

from fakellm.errors import ScriptError
from fakellm.script.events import Fault, Pause, disconnect, stall
from fakellm.wire.codec import Ending
from fakellm.wire.gateways.gateway import CHAT, Asked, Gateway, Page
from fakellm.wire.gateways.litellm import LiteLLM
from fakellm.wire.gateways.pacing import Watch, batched, busy, delayed, held, is_unreadable
from fakellm.wire.gateways.rewriters import AnyLLM, LlamaStack, LmProxy, Mlflow, Rewriter
from fakellm.wire.hops import Carried
from fakellm.wire.rewriting import Events
from fakellm.wire.wireform import WireForm, framing_of

REWRITERS: dict[str, type[Rewriter]] = {
    "litellm": LiteLLM,
    "lm-proxy": LmProxy,
    "mlflow": Mlflow,
    "llama-stack": LlamaStack,
    "any-llm": AnyLLM,
}
_OK = 200
_OF_STREAMS = ("content-type", "cache-control", "x-accel-buffering")
"""Headers that a gateway adds to streams alone."""
_KINDS = {"RemoteProtocolError": "close", "ReadError": "reset", "WriteError": "reset"}
"""What httpx raises where a recorded connection breaks -> how it broke."""


@dataclass(frozen=True, slots=True)
class Passing:
    """A hop through a gateway, of the answer to a request."""

    gateway: Gateway
    asked: Asked

    def carry(self, answer: Carried) -> Carried:
        """Return the answer as it comes out of the gateway. Raises `ScriptError` for one that nobody measured."""
        gateway, watch = self.gateway, Watch(self.gateway.silence, self.gateway.limit)
        before: Iterable[Any] = watch.over(answer.before)
        if isinstance(answer.before, Sequence):
            before = opened = list(before)
            if opened and isinstance(fault := opened[-1], Fault):
                return self._unanswered(answer, opened[:-1], fault)
        if gateway.rewrites and self.asked.streams and self._is_refused(answer):
            return self._failed(answer, before, answer.status, b"".join(_bytes_of(answer.steps)))
        is_sized = bool(answer.header("content-length"))
        steps = watch.over(answer.steps)
        if not gateway.rewrites or is_sized or answer.status != _OK:
            return _Way(gateway, answer, before, is_sized=is_sized).kept(steps, self._headers(answer))
        self._check()
        return self._rewritten(answer, before, steps, self._rewriter())

    def _rewriter(self) -> Rewriter:
        return REWRITERS[self.gateway.rewrites](self.asked)

    def _check(self) -> None:
        if self.asked.api != CHAT:
            msg = (
                f"what {self.gateway.name} makes of a stream was measured for {CHAT}, and this is a stream of "
                f"{self.asked.api}; take it away, or name a gateway that keeps the bytes, such as nginx"
            )
            raise ScriptError(msg)

    # -- streams that are written anew ----------------------------------------------------------------

    def _rewritten(self, answer: Carried, before: Iterable[Any], steps: Iterable[Any], rewriter: Rewriter) -> Carried:
        steps = translated(steps, rewriter)
        if self.gateway.rewrites == "litellm":  # the first event decides the status
            waited: list[Any] = []
            for step in steps:
                waited.append(step)
                if not isinstance(step, Pause):
                    break
            if rewriter.page is not None:
                silence = [step for step in waited if isinstance(step, Pause)]
                return self._paged(answer, chain(before, silence), rewriter.page)
            steps = chain(waited, steps)
        return _Way(self.gateway, answer, before, is_sized=False).out(steps, self._headers(answer))

    def _is_refused(self, answer: Carried) -> bool:
        return answer.status >= 400 and self.asked.api == CHAT  # noqa: PLR2004

    def _failed(self, answer: Carried, before: Iterable[Any], status: int, body: bytes) -> Carried:
        """Return what a gateway makes of an HTTP error of the server, or of none where `status` is 0."""
        rewriter = self._rewriter()
        first = rewriter.begin()
        first += rewriter.http_error(status, body) if status else rewriter.refused()
        if rewriter.page is not None:
            page = rewriter.page
            return self._paged(answer, before, page._replace(headers=(*page.headers, *_as_the_providers(answer))))
        if rewriter.over is None:
            return _Way(self.gateway, answer, before, is_sized=True).kept([Ending([body])], self._headers(answer))
        stream = replace(answer, status=_OK, headers=(("transfer-encoding", "chunked"),))
        steps = [*([first] if first else []), *_ended(rewriter)]
        return _Way(self.gateway, stream, before, is_sized=False).out(steps, self._headers(stream))

    # -- answers of its own ---------------------------------------------------------------------------

    def _unanswered(self, answer: Carried, silence: list[Any], fault: Fault) -> Carried:
        """Return the answer where the server gave none."""
        gateway = self.gateway
        page = gateway.unanswered
        if isinstance(fault, disconnect) and fault.how == "refused":
            page = gateway.refused or page
        elif isinstance(fault, disconnect) and fault.how == "reset":  # it lost patience
            page = gateway.late
        elif isinstance(fault, stall):
            return replace(answer, before=[*silence, stall("headers")])
        if page is not None:
            return self._paged(answer, silence, page)
        if gateway.rewrites and self.asked.streams:
            return self._failed(answer, silence, 0, b"")
        return replace(answer, before=[*silence, disconnect("no_response")])

    def _paged(self, answer: Carried, before: Iterable[Any], page: Page) -> Carried:
        headers = [*page.headers, ("content-length", str(len(page.body)))]
        own = [(name, value) for name, value in self._added(is_stream=False) if name not in dict(page.headers)]
        silence = [*before, *([Pause(page.after)] if page.after else [])]
        steps = [Ending([page.body])]
        return replace(answer, status=page.status, headers=[*own, *headers], before=silence, steps=steps)

    # -- headers --------------------------------------------------------------------------------------

    def _headers(self, answer: Carried) -> list[tuple[str, str]]:
        gateway = self.gateway
        is_stream = not answer.header("content-length")
        headers = list(answer.headers)
        if gateway.drops == "all" and is_stream:
            headers = [(name, value) for name, value in headers if name.lower() == "transfer-encoding"]
            headers.insert(0, ("content-type", "text/event-stream; charset=utf-8"))
            if gateway.rewrites == "litellm":
                headers += _as_the_providers(answer)
        added = self._added(is_stream=is_stream)
        gone = {name for name, _ in added} | set(gateway.drops if gateway.drops != "all" else ())
        headers = [(name, value) for name, value in headers if name.lower() not in gone]
        if is_stream and gateway.frames and not answer.header("transfer-encoding"):
            headers.append(("transfer-encoding", "chunked"))
        return headers + added

    def _added(self, *, is_stream: bool) -> list[tuple[str, str]]:
        said = {"number": self.asked.number, "model": self.asked.model}
        usual = [(name, value.format(**said)) for name, value in self.gateway.adds]
        return usual if is_stream else [(name, value) for name, value in usual if name not in _OF_STREAMS]


class _Way:
    """The way of one answer through a gateway, once it is known that there is one: what comes out of it, and when."""

    def __init__(self, gateway: Gateway, answer: Carried, before: Iterable[Any], *, is_sized: bool) -> None:
        self._gateway = gateway
        self._answer = answer
        self._before = before
        self._is_sized = is_sized
        self._is_lost = False
        self._first: list[Any] = []

    def kept(self, steps: Iterable[Any], headers: list[tuple[str, str]]) -> Carried:
        """Return the answer with the bytes that the server sent."""
        return self.out(self._as_sent(steps), headers)

    def _as_sent(self, steps: Iterable[Any]) -> Iterator[Any]:
        """Yield the steps; what breaks looks as it does behind the gateway."""
        is_cut = self._gateway.whole_events and framing_of(self._answer.header("content-type")) == "events"
        whole = Events(WireForm()) if is_cut and not self._is_sized else None
        for step in steps:
            if isinstance(step, list) and not is_unreadable(step):
                if whole is None:
                    yield step
                else:
                    run = [event for piece in step for event in whole.feed(piece)]
                    yield Ending([*run, *whole.rest()]) if isinstance(step, Ending) else run
            elif isinstance(step, Pause):
                yield step
            else:
                if whole is not None and (rest := whole.rest()):
                    yield rest
                yield from self._broken(step)
                return

    def _broken(self, step: Any) -> Iterator[Any]:
        how = how_broken(step)
        if how not in ("close", "reset"):
            yield Ending() if how == "end" else step
            return
        rule = self._gateway.reset if how == "reset" else self._gateway.drop
        self._is_lost = how == "reset" and self._gateway.loses
        if rule == "whole" and not self._is_sized:
            yield Ending()
        else:
            yield stall() if rule == "hang" else disconnect("close")

    def out(self, steps: Iterable[Any], headers: list[tuple[str, str]]) -> Carried:
        """Return the answer with steps in the pace of the gateway."""
        gateway, answer = self._gateway, self._answer
        is_framed = bool(answer.header("transfer-encoding")) or self._is_sized
        is_chunked = bool(answer.header("transfer-encoding"))
        may_hold = gateway.holds == "always" or (gateway.holds == "unchunked" and not is_chunked)
        holds = may_hold and answer.header("x-accel-buffering").lower() != "no"
        is_batched = gateway.batch > 0 and is_framed and not self._is_sized
        if gateway.busy and not self._is_sized:
            steps = busy(steps, gateway.busy)
        if holds:
            steps = held(steps, self._first_buffer(), gateway.buffer, lambda: self._is_lost)
        if is_batched:
            steps = batched(steps, gateway.batch)
        if not self._is_sized and (gateway.first_late or gateway.lag or gateway.end_late):
            steps = delayed(steps, first=gateway.first_late, lag=gateway.lag, end=gateway.end_late)
        steps = iter(steps)
        waits = not self._is_sized and (is_batched or (gateway.late_head and (holds or not may_hold)))
        before: Any = self._before
        if waits:
            before, steps = self._opening(steps), self._rest(steps)
        return replace(answer, headers=headers, before=before, steps=steps)

    def _opening(self, steps: Iterator[Any]) -> Iterator[Any]:
        """Yield what happens before the headers, which come with the first piece."""
        yield from self._before
        for step in steps:
            if not isinstance(step, Pause):
                self._first.append(step)
                return
            yield step

    def _rest(self, steps: Iterator[Any]) -> Iterator[Any]:
        yield from self._first
        yield from steps

    def _first_buffer(self) -> int:
        """Return how many bytes of the body fit into the buffer that the server's headers are in."""
        if self._is_sized:
            return self._gateway.buffer
        answer = self._answer
        try:
            phrase = HTTPStatus(answer.status).phrase
        except ValueError:
            phrase = ""
        lines = [f"HTTP/1.1 {answer.status} {phrase}", "connection: close", ""]
        lines += [f"{name}: {value}" for name, value in answer.headers if name.lower() != "transfer-encoding"]
        return max(self._gateway.buffer - sum(len(line.encode("utf-8", "replace")) + 2 for line in lines), 1)


def translated(steps: Iterable[Any], rewriter: Rewriter) -> Iterator[Any]:
    """Yield the steps of a stream as a gateway writes it anew."""
    if first := rewriter.begin():
        yield first
    for step in steps:
        if isinstance(step, Pause):
            yield step
            continue
        if isinstance(step, list) and not is_unreadable(step):
            found = _said(step, rewriter)
        elif (how := how_broken(step)) in ("close", "reset", "end"):
            found = rewriter.end() if how == "end" else rewriter.broken(how)
        else:
            yield step
            return
        if found:
            yield found
        if rewriter.over is not None:
            yield from _ended(rewriter)
            return
    if found := rewriter.end():
        yield found
    yield from _ended(rewriter)


def _said(run: list[bytes], rewriter: Rewriter) -> list[bytes]:
    found: list[bytes] = []
    for piece in run:
        found += rewriter.feed(piece) if rewriter.over is None else []
    if rewriter.over is None and isinstance(run, Ending):
        found += rewriter.end()
    return found


def _ended(rewriter: Rewriter) -> Iterator[Any]:
    if rewriter.over == "whole":
        yield Ending(rewriter.closing)
    else:
        yield disconnect("close")


def how_broken(step: Any) -> str:
    """Return how a body breaks off: `close`, `reset`, or in order (`end`); else it is a silence, or nobody knows."""
    if isinstance(step, Fault):
        if isinstance(step, disconnect):
            return step.how if step.how in ("close", "reset") else "end"
        return "stall" if isinstance(step, stall) else "end"
    kind = str(getattr(step, "kind", ""))
    return _KINDS.get(kind, kind)


def _as_the_providers(answer: Carried) -> list[tuple[str, str]]:
    """Return the headers of an answer as litellm tells them: under names that no client heeds."""
    return [(f"llm_provider-{name.lower()}", value) for name, value in answer.headers]


def _bytes_of(steps: Iterable[Any]) -> Iterator[bytes]:
    for step in steps:
        if isinstance(step, list):
            yield from step
