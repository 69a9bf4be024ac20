"""Fake providers behind aiohttp, which Gemini's client and OpenAI's aiohttp-backed one use: a connection in memory.

aiohttp reads the answer with its own parser and its own connection handling, so the errors that reach the app are
those of a real socket. Silences are waited for on the provider's clock, where the client's timeouts fall too.

Its parser joins what the app has not read yet. So each piece waits until the one before it was taken: the connection is
held as aiohttp itself holds one whose app reads slowly, and `iter_any`, which gives all that there is, gives one piece.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import ExitStack
from types import ModuleType
from typing import Any, Protocol

from fakellm.http.network import Guard, put
from fakellm.provider.exchange import Exchange, Failure, Timeouts
from fakellm.provider.provider import FakeProvider

_END_OF_HEAD = b"\r\n\r\n"


class Desk(Protocol):
    """Where requests are asked about: which provider answers, and what may not leave."""

    is_on: bool
    guard: Guard

    def provider_for(self, method: str, url: str) -> FakeProvider | None:
        """Return the provider that answers a request."""


def replace(module: ModuleType, desk: Desk, stack: ExitStack) -> None:
    """Connect requests that a provider claims to that provider, until the stack is unwound.

    The private names of aiohttp that this needs: `TCPConnector._create_connection`, the hook in which a connector
    makes its connections, `_factory`, which makes their protocols, `_conns`, where it keeps those that it may use
    again, the protocol's `_payload`, and of that `_size`: how much of it nobody has read.
    """
    connector = module.TCPConnector
    connect, create = connector.connect, connector._create_connection  # noqa: SLF001

    def claims(req: Any) -> FakeProvider | None:
        return desk.provider_for(req.method, str(req.url))

    def refuses(req: Any) -> bool:
        return desk.is_on and desk.guard.refuses(req.url.host or "")

    async def connect_anew(self: Any, req: Any, *args: Any, **kwargs: Any) -> Any:
        if claims(req) or refuses(req):  # over a connection of before it would be asked for real
            for protocol, _ in self._conns.pop(req.connection_key, ()):
                protocol.close()
        return await connect(self, req, *args, **kwargs)

    async def create_connection(self: Any, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109 - aiohttp's
        if provider := claims(req):
            protocol = self._factory()
            protocol.connection_made(_Wire(module, protocol, provider, req, timeout))
            return protocol
        if refuses(req):
            raise desk.guard.refusal_of(req)
        return await create(self, req, traces, timeout)

    put(connector, "connect", connect_anew, stack)
    put(connector, "_create_connection", create_connection, stack)


class _Wire(asyncio.Transport):
    """The client's end of a connection that leads to a fake provider: takes one request, plays its answer."""

    def __init__(self, module: ModuleType, protocol: Any, provider: FakeProvider, request: Any, timeout: Any) -> None:
        super().__init__()
        self._module = module
        self._protocol = protocol
        self._provider = provider
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
        self._closing = False

    # -- what aiohttp calls -----------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes of the request; once it is complete, begin to answer."""
        self._received += data
        if self._task is None and (parsed := _request_of(bytes(self._received))) is not None:
            self._task = self._loop.create_task(self._answer(*parsed))

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ARG002
        """Know nothing of sockets."""
        return default

    def is_closing(self) -> bool:
        """Tell whether the connection is gone."""
        return self._closing

    def pause_reading(self) -> None:
        """Hold the answer back: the client has enough to read."""
        self._readable.clear()

    def resume_reading(self) -> None:
        """Go on with the answer."""
        self._readable.set()

    def close(self) -> None:
        """Take that the client is done."""
        if self._closing:
            return
        self._closing = True
        if self._exchange is not None:
            self._exchange.close()
        if self._loop.is_closed():
            return
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
            exchange = self._exchange = self._provider.handle(method, url, headers, body)
            if await self._opened(exchange):
                await self._play(exchange)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - it belongs to the client
            if self._exchange is not None:
                self._exchange.call.fail(error)
            self._raise(error)

    async def _wait(self, seconds: float) -> None:
        """Wait, at most until the time is up that the client has for all of the answer."""
        await self._provider.clock.asleep(min(seconds, self._left))
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
        lines = [b"HTTP/1.1 %d Fake" % exchange.status, *(b"%b: %b" % header for header in exchange.raw_headers)]
        self._send(b"\r\n".join([*lines, b"connection: close"]) + _END_OF_HEAD)
        return True

    async def _play(self, exchange: Exchange) -> None:
        is_chunked = any(name.lower() == "transfer-encoding" for name, _ in exchange.headers)
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
        match failure.kind:
            case "refused":
                refused = ConnectionRefusedError(111, "Connect call failed")
                self._raise(self._module.ClientConnectorError(self._key, refused))
            case "connect_timeout":
                self._raise(self._module.ConnectionTimeoutError(f"Connection timeout to host {self._url}"))
            case "read_timeout":
                self._raise(self._module.SocketTimeoutError("Timeout on reading data from socket"))
            case "reset":
                self._lose(ConnectionResetError(104, "Connection reset by peer"))
            case _:
                self._lose(None)

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
        self._protocol.set_exception(error)
        if payload is not None:
            payload.set_exception(error)


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
