"""Fake providers and tapes behind aiohttp: a connection in memory. Gemini's client and one of OpenAI's use it.

aiohttp reads the answer with its own parser and its own connection handling, so the errors that reach the app are
those of a real socket. Silences are waited for on the provider's clock, where the client's timeouts fall too.

Its parser joins what the app has not read yet. So each piece waits until the one before it was taken: the connection is
held as aiohttp itself holds one whose app reads slowly, and `iter_any`, which gives all that there is, gives one piece.

What a tape may record goes out over a real connection, whose bytes are handed on as they come.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from fakellm.clock.clock import Clock
from fakellm.http.framing import AnswerTap, head_of
from fakellm.http.network import Desk, put
from fakellm.provider.actions import Failure, Timeouts
from fakellm.provider.exchange import Exchange

if TYPE_CHECKING:
    from fakellm.cassette.outgoing import Outgoing

_END_OF_HEAD = b"\r\n\r\n"


def replace(module: ModuleType, desk: Desk, stack: ExitStack) -> None:
    """Connect requests that a provider claims to that provider, until the stack is unwound.

    The private names of aiohttp that this needs: `TCPConnector._create_connection`, the hook in which a connector
    makes its connections, `_factory`, which makes their protocols, `_conns`, where it keeps those that it may use
    again, the protocol's `_payload`, and of that `_size`: how much of it nobody has read.
    """
    connector = module.TCPConnector
    connect, create = connector.connect, connector._create_connection  # noqa: SLF001

    async def connect_anew(self: Any, req: Any, *args: Any, **kwargs: Any) -> Any:
        if _asked(module, desk, req) or _refuses(desk, req):  # over a connection of before it would be asked for real
            for protocol, _ in self._conns.pop(req.connection_key, ()):
                protocol.close()
        return await connect(self, req, *args, **kwargs)

    async def create_connection(self: Any, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109 - aiohttp's
        go_out = partial(create, self, req, traces, timeout)
        if asked := _asked(module, desk, req):
            if asked.is_tape:
                desk.refuse_outsider(req)
            return _Wire(module, self._factory(), asked, req, timeout, go_out).connected()
        if _refuses(desk, req):
            raise desk.guard.refusal_of(req)
        return await go_out()

    put(connector, "connect", connect_anew, stack)
    put(connector, "_create_connection", create_connection, stack)


class _Asked(NamedTuple):
    """Who is asked for an answer: a provider, or a tape, which may let the request go out."""

    ask: Callable[[str, str, dict[str, str], bytes], Exchange | Outgoing]
    clock: Clock
    is_tape: bool


def _asked(module: ModuleType, desk: Desk, req: Any) -> _Asked | None:
    if provider := desk.provider_for(req.method, str(req.url)):
        return _Asked(provider.handle, provider.clock, is_tape=False)
    tape = desk.tape if desk.is_on else None
    if tape is None or not tape.is_open or "upgrade" in req.headers:  # what follows an upgrade is no answer
        return None
    return _Asked(partial(tape.ask, module), tape.clock, is_tape=True)


def _refuses(desk: Desk, req: Any) -> bool:
    return desk.is_on and desk.guard.refuses(req.url.host or "")


class _Wire(asyncio.Transport):
    """The client's end of a connection in memory: takes one request, plays its answer or goes out to fetch it."""

    def __init__(
        self,
        module: ModuleType,
        protocol: Any,
        asked: _Asked,
        request: Any,
        timeout: Any,
        go_out: Callable[[], Awaitable[Any]],
    ) -> None:
        super().__init__()
        self._module = module
        self._protocol = protocol
        self._ask = asked.ask
        self._clock = asked.clock
        self._go_out = go_out
        self._real: asyncio.Transport | None = None
        self._tap: AnswerTap | None = None
        self._url = request.url.origin()
        self._key = request.connection_key
        self._timeouts = Timeouts(timeout.sock_connect or timeout.connect, timeout.sock_read)
        self._left = timeout.total or math.inf
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._exchange: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._readable = asyncio.Event()
        self._readable.set()
        self._closing = self._is_chunked = False

    def connected(self) -> Any:
        """Return the protocol of the client, which has this connection, for one request."""
        self._protocol.connection_made(self)
        self._protocol.force_close()
        return self._protocol

    # -- what aiohttp calls -----------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes of the request; once it is complete, begin to answer."""
        self._received += data
        if self._task is None and (parsed := _request_of(bytes(self._received))) is not None:
            self._task = self._loop.create_task(self._answer(*parsed))

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ARG002
        """Know nothing of sockets."""
        return default

    def set_protocol(self, protocol: Any) -> None:
        """Take who reads from now on."""
        self._protocol = protocol

    def is_closing(self) -> bool:
        """Tell whether the connection is gone."""
        return self._closing

    def pause_reading(self) -> None:
        """Hold the answer back: the client has enough to read."""
        self._readable.clear()
        if self._real is not None and not self._real.is_closing():
            self._real.pause_reading()

    def resume_reading(self) -> None:
        """Go on with the answer."""
        self._readable.set()
        if self._real is not None and not self._real.is_closing():
            self._real.resume_reading()

    def close(self) -> None:
        """Take that the client is done."""
        if self._closing:
            return
        self._closing = True
        if self._exchange is not None:
            self._exchange.close()
        if self._tap is not None:
            payload = self._protocol._payload  # noqa: SLF001 - it knows why
            error = None if payload is None else payload.exception()
            self._tap.left(error if isinstance(error, TimeoutError) else None)
        if self._loop.is_closed():
            return
        if self._real is not None:
            self._real.close()
        if self._task is not None:
            self._task.cancel()
        self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        """Take that the client gave up."""
        self.close()

    # -- the answer -------------------------------------------------------------------------------

    async def _answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        try:
            url = target if target.startswith("http") else f"{self._url}{target}"  # it is whole for a proxy
            answer = self._ask(method, url, headers, body)
            if not isinstance(answer, Exchange):
                await self._fetch(answer, method)
                return
            self._exchange = answer
            if await self._opened(answer):
                await self._play(answer)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - it belongs to the client
            if self._exchange is not None:
                self._exchange.call.fail(error)
            self._raise(error)

    async def _wait(self, seconds: float) -> None:
        """Wait, at most until the time is up that the client has for all of the answer."""
        await self._clock.asleep(min(seconds, self._left))
        if seconds > self._left:
            raise TimeoutError
        self._left -= seconds

    async def _opened(self, exchange: Exchange) -> bool:
        """Wait for the headers and send them; return whether there were any."""
        await asyncio.sleep(0)
        for action in exchange.opening(self._timeouts):
            if isinstance(action, Failure):
                self._fail(action)
                return False
            await self._wait(action)
        head, self._is_chunked = head_of(exchange)
        self._send(head)
        return True

    async def _play(self, exchange: Exchange) -> None:
        is_chunked = self._is_chunked
        actions = exchange.body(self._timeouts)  # a name of its own: it ends after what ends it is noted
        for action in actions:
            if isinstance(action, Failure):
                self._fail(action)
                return
            if isinstance(action, (int, float)):
                await self._wait(action)
                continue
            for piece in action:
                await asyncio.sleep(0)
                await self._readable.wait()
                if piece:
                    self._send(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
                    await self._taken()
        if is_chunked:
            self._send(b"0\r\n\r\n")
        elif not any(name.lower() == "content-length" for name, _ in exchange.headers):
            self._lose(None)

    async def _fetch(self, outgoing: Outgoing, method: str) -> None:
        """Send the request over a real connection, and hand on what comes, which is recorded."""
        with outgoing:
            protocol = await self._go_out()
        self._tap = AnswerTap(outgoing, method)
        real = self._real = protocol.transport
        real.set_protocol(_Handing(self._protocol, self._came, self._gone, self._raise))
        real.write(bytes(self._received))

    def _came(self, data: bytes) -> None:
        if self._tap is not None:
            self._tap.came(data)
        self._send(data)

    def _gone(self, error: BaseException | None) -> None:
        if not self._closing:
            self._closing = True
            if self._tap is not None:
                self._tap.ended(error)
            self._protocol.connection_lost(error)

    async def _taken(self) -> None:
        """Wait until the app has read all that came."""
        payload = self._protocol._payload  # noqa: SLF001 - None once it is complete
        while payload is not None and payload._size and not payload.is_eof():  # noqa: SLF001
            self._protocol.pause_reading()
            await self._readable.wait()

    def _send(self, data: bytes) -> None:
        if not self._closing:
            self._protocol.data_received(data)

    def _fail(self, failure: Failure) -> None:
        """Let the connection fail, as aiohttp sees it."""
        kind = failure.kind
        match _KINDS.get(kind) or ("read_timeout" if kind.endswith(("Timeout", "TimeoutException")) else kind):
            case "refused":
                refused = ConnectionRefusedError(111, "Connect call failed")
                self._raise(self._module.ClientConnectorError(self._key, refused))
            case "connect_timeout":
                self._raise(self._module.ConnectionTimeoutError(f"Connection timeout to host {self._url}"))
            case "read_timeout":
                self._raise(self._module.SocketTimeoutError("Timeout on reading data from socket"))
            case "undecodable":
                self._raise(self._module.ClientPayloadError("400, message:\n  Can not decode content-encoding"))
            case "no_response" | "close":
                self._lose(None)
            case _:
                self._lose(ConnectionResetError(104, "Connection reset by peer"))

    def _lose(self, error: OSError | None) -> None:
        if self._exchange is not None:
            self._exchange.call.fail(error or ConnectionError("the connection was closed"))
        if not self._closing:
            self._closing = True
            self._protocol.connection_lost(error)

    def _raise(self, error: BaseException) -> None:
        """Raise an error where the client waits for the head of the answer, or for more of its body."""
        payload = self._protocol._payload  # noqa: SLF001 - as its own read timeout does
        if self._exchange is not None:
            self._exchange.call.fail(error)
        if self._tap is not None:
            self._tap.ended(error)
        self._protocol.set_exception(error)
        if payload is not None:
            payload.set_exception(error)


_KINDS = {
    "ConnectError": "refused",
    "ConnectTimeout": "connect_timeout",
    "DecodingError": "undecodable",
    **dict.fromkeys(("ProtocolError", "LocalProtocolError", "RemoteProtocolError"), "close"),
}
"""What a stream on a tape ends with -> what that is of a connection; other errors are those of a network."""


class _Handing(asyncio.Protocol):
    """Hands on what comes over a connection to a client's protocol.

    The connection may be one in memory: then it is told of errors, and asks what the client has not read yet.
    """

    def __init__(
        self,
        protocol: Any,
        came: Callable[[bytes], None],
        ended: Callable[[BaseException | None], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._protocol = protocol
        self._came = came
        self._ended = ended
        self.set_exception = failed
        self.pause_reading = protocol.pause_reading

    @property
    def _payload(self) -> Any:
        return self._protocol._payload  # noqa: SLF001

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self._came(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Take that it is gone."""
        self._ended(exc)


def _request_of(data: bytes) -> tuple[str, str, dict[str, str], bytes] | None:
    """Return method, target, headers and body of an HTTP/1.1 request, or None while it is not complete."""
    head, found, body = data.partition(_END_OF_HEAD)
    if not found:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        if not data.endswith(b"0\r\n\r\n"):
            return None
        return method, target, headers, _unchunked(body)
    if len(body) < int(headers.get("content-length") or 0):
        return None
    return method, target, headers, body


def _unchunked(body: bytes) -> bytes:
    """Return the content of a chunked body (RFC 9112, 7.1)."""
    content = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        content, body = content + rest[:length], rest[length + 2 :]
        if not length:
            break
    return content
