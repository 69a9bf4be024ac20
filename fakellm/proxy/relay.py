"""One request on its way to an upstream, and its answer on its way back, recorded while it passes.

Bytes pass as they come. What an upstream sends is written to the client before it is looked at, so a chunk of HTTP
stays the chunk that it was, half a chunk is not waited with, and the client's own reading of HTTP meets what it would
meet directly. Beside that the answer is taken apart, by what records clients in process too (`http/framing.py`).

How it ends passes as well. An upstream that closes in the middle has the client's connection closed, one that resets
it has it reset. A client that goes away ends the upstream's connection at once, and so does one that sends no more:
clients of HTTP close a connection so, and an upstream that is silent would else never hear of it.

A connection that was kept may be closed by the upstream in the moment in which it is asked. Where not a byte of an
answer came, the request goes out once more on a new one, as the client itself would have had a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fakellm.cassette.recorder import Head
from fakellm.cassette.session import Asked, Session
from fakellm.http.framing import Body, Tap, head_in
from fakellm.proxy.lines import Line, Lines
from fakellm.proxy.upstreams import Upstream
from fakellm.secrets.knowing import discreet_url
from fakellm.server.parsing import HttpRequest
from fakellm.server.resets import reset

_LONGEST = 256 * 1024
"""Bytes of the head of an answer."""
_NEWS = range(100, 200)
_REDIRECTS = range(300, 400)
_CONTINUE = 100
_WITH_BODY = ("POST", "PUT", "PATCH")
_OF_THE_CONNECTION = {
    *("connection", "proxy-connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
    *("expect", "host", "content-length"),
}
"""Headers that are between two ends of one connection (RFC 9110, 7.6.1), and those that are written anew."""


class Relay:
    """A request and its answer; plays on a connection as `Playing` does, and `done` is called at its end.

    `target` is what the upstream is asked for, `refuse` returns the whole answer for a client whose request cannot go
    on, and `failed` is told what is wrong with an upstream that takes one and does not answer.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        request: HttpRequest,
        upstream: Upstream,
        target: str,
        *,
        lines: Lines,
        session: Session,
        refuse: Callable[[OSError], bytes],
        failed: Callable[[str], None],
        done: Callable[[], None],
    ) -> None:
        self.keeps_alive = request.keeps_alive
        self._transport = transport
        self._request = request
        self._upstream = upstream
        self._target = target
        self._lines = lines
        self._session = session
        self._refuse = refuse
        self._failed = failed
        self._done = done
        self._asked: Asked | None = None
        self._line: Line | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._head = bytearray()
        self._is_begun = False  # the head of the answer went on
        self._tap: Tap | None = None
        self._body: Body
        self._is_over = self._is_paused = False

    # -- what the connection of the client tells ------------------------------------------------------

    def step(self) -> None:
        """Let the request go on."""
        line = self._lines.take(self._upstream.place)
        if line is None:
            self._dialling = asyncio.get_running_loop().create_task(self._dial())
        else:
            self._send(line)

    def pause(self) -> None:
        """Read nothing more of the answer, since the client does not keep up."""
        self._is_paused = True
        if self._line is not None and not self._line.transport.is_closing():
            self._line.transport.pause_reading()

    def resume(self) -> None:
        """Go on, since the client takes bytes again."""
        self._is_paused = False
        if self._line is not None and not self._line.transport.is_closing():
            self._line.transport.resume_reading()

    def listen_alone(self) -> None:
        """Take that the client sends no more: it is gone."""
        self.leave()
        self._transport.abort()

    def leave(self) -> None:
        """Take that the client is gone."""
        if self._is_over:
            return
        self._is_over = True
        if self._dialling is not None:
            self._dialling.cancel()
        if self._tap is not None:
            self._tap.left()
        self._let_go(keeps=False)

    # -- the request ----------------------------------------------------------------------------------

    async def _dial(self) -> None:
        try:
            line = await self._lines.dial(self._upstream.place)
        except OSError as error:
            self._is_over = True
            self._transport.write(self._refuse(error))
            self._done()
        else:
            self._send(line)

    def _send(self, line: Line) -> None:
        line.reader, self._line = self, line
        line.transport.write(self._head_of_request() + self._request.body)
        if self._asked is None:
            request, place = self._request, self._upstream.place
            headers = {**request.headers, "host": place.authority}
            self._asked = self._session.ask(request.method, f"{place}{self._target}", headers, request.body)

    def _head_of_request(self) -> bytes:
        request = self._request
        named = {name.strip().lower() for name in request.headers.get("connection", "").split(",")}
        left_out = _OF_THE_CONNECTION | named
        lines = [f"{request.method} {self._target} HTTP/{request.version}", f"host: {self._upstream.place.authority}"]
        lines += [f"{name}: {value}" for name, value in request.headers.items() if name not in left_out]
        if request.body or request.method in _WITH_BODY:
            lines.append(f"content-length: {len(request.body)}")
        lines.append(f"connection: {'keep-alive' if request.keeps_alive else 'close'}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    # -- the answer -----------------------------------------------------------------------------------

    def came(self, data: bytes) -> None:
        """Take what came from the upstream."""
        if not self._is_begun:
            self._head += data
            if (after := self._after_head()) is None:
                return
            data = after
        else:
            self._transport.write(data)
        if self._tap is not None and data:
            self._tap.came(data)
        if self._body.is_over:
            self._complete()

    def _after_head(self) -> bytes | None:
        """Let the head of the answer go on, with what follows it; return that, or None if the head is not whole."""
        while True:
            head, found, rest = bytes(self._head).partition(b"\r\n\r\n")
            if not found and len(head) <= _LONGEST:
                return None
            try:
                parsed = head_in(head)
            except ValueError:
                self._break("what it answers is no HTTP", None)
                return None
            if not found:
                self._break(f"the head of its answer is longer than {_LONGEST} bytes", None)
                return None
            if parsed.status in _NEWS:  # before the answer (RFC 9110, 15.2)
                if parsed.status != _CONTINUE:
                    self._transport.write(head + found)
                self._head[:] = rest
                continue
            break
        self._is_begun = True
        self._transport.write(head + found + rest)
        self._head.clear()
        self._body = Body.after(parsed, self._request.method)
        says = b",".join(value.lower() for name, value in parsed.headers if name.lower() == b"connection")
        is_kept = b"close" not in says and (parsed.version == b"HTTP/1.1" or b"keep-alive" in says)
        self.keeps_alive = self.keeps_alive and is_kept and not self._body.ends_with_its_connection
        self._note_redirect(parsed)
        if self._asked is not None:
            self._tap = Tap(self._asked.begin(parsed), self._body, in_parts=True)
        return rest

    def _note_redirect(self, head: Head) -> None:
        """Tell of an answer that sends the client elsewhere: what it asks there does not come by."""
        to = next((value.decode("latin-1") for name, value in head.headers if name.lower() == b"location"), "")
        if head.status in _REDIRECTS and "://" in to:
            self._failed(f"it redirects to {discreet_url(to)}, and what is asked there is not recorded")

    def _complete(self) -> None:
        self._is_over = True
        self._let_go(keeps=self.keeps_alive)
        self._done()

    def ended(self, error: Exception | None) -> None:
        """Take that the connection to the upstream is gone."""
        line, self._line = self._line, None
        if self._is_over:
            return
        if not self._is_begun:
            if line is not None and line.is_used and not self._head:
                self.step()
                return
            self._break("it closed the connection without an answer", error)
            return
        if self._tap is not None:
            self._tap.came(b"") if error is None else self._tap.failed(error)
        if self._body.ends_with_its_connection and error is None:
            self._is_over = True
            self._done()
        else:
            self._break("", error)

    def _break(self, why: str, error: Exception | None) -> None:
        """Let the client's connection break as the upstream's did."""
        if why:
            self._failed(why)
        self._is_over, self.keeps_alive = True, False
        self._let_go(keeps=False)
        if isinstance(error, ConnectionError):
            reset(self._transport)
        else:
            self._done()

    def _let_go(self, *, keeps: bool) -> None:
        """Keep the connection to the upstream for the next request, or close it."""
        line, self._line = self._line, None
        if line is None:
            return
        if keeps and not line.transport.is_closing():
            if self._is_paused:
                line.transport.resume_reading()
            self._lines.keep(self._upstream.place, line)
        else:
            line.close()
