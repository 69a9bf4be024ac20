"""Fake providers and tapes behind urllib3, which requests and botocore ask by: a socket in memory.

A connection of urllib3's pool is given a socket whose answer is ours, for one request. All above it is urllib3's own:
http.client reads the head, urllib3 undoes HTTP's chunks and the compression, retries and follows; so the errors that
reach the app are those of a real socket, and each piece of a script is an HTTP chunk of its own. Silences are waited
for on the fake's clock, where the client's timeouts fall too.

Why so low, and not at `urlopen`. The mocks of other libraries stand above (responses, requests-mock, moto), and what
they answer never comes here. And why for one request: a connection that looked as if it were open would be asked by
the pool whether it still is, which is asked of the system.
"""

from __future__ import annotations

import io
import socket
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fakellm.clock.clock import Clock
from fakellm.http.framing import head_of
from fakellm.http.network import Desk, put
from fakellm.http.tapped import tapped
from fakellm.provider.actions import Failure, Timeouts
from fakellm.provider.exchange import Exchange

if TYPE_CHECKING:
    from fakellm.cassette.outgoing import Outgoing

_UNVERIFIED = ("CERT_NONE", "NONE", "0")


class _Url(str):
    """An address, as those of the other libraries are: it knows its host."""

    __slots__ = ()

    @property
    def host(self) -> str:
        return urlsplit(self).hostname or ""


class _Asked:
    """A request that a pool was asked for."""

    def __init__(self, pool: Any, method: str, url: str, headers: Mapping[Any, Any] | None) -> None:
        self.method = method
        self.url = _Url(url if "://" in url else f"{_origin(pool)}{url}")
        given = headers if headers is not None else pool.headers or {}
        self.headers = {_text(name): _text(value) for name, value in given.items()}
        self.needs_tunnel = False  # through a proxy, if it goes out


def replace(module: ModuleType, desk: Desk, stack: ExitStack) -> None:
    """Connect requests that a provider claims to that provider, until the stack is unwound.

    The private names of urllib3 that this needs: of a pool `_make_request`, which sends a request over a connection,
    and `_prepare_proxy`, which opens a tunnel for it; of a connection `_new_conn`, which makes its socket.
    """
    pool, secure = module.connectionpool.HTTPConnectionPool, module.connectionpool.HTTPSConnectionPool
    urlopen, make_request, prepare_proxy = pool.urlopen, pool._make_request, secure._prepare_proxy  # noqa: SLF001
    asking: ContextVar[_Asked | None] = ContextVar("asking", default=None)

    def open_url(self: Any, method: str, url: str, body: Any = None, headers: Any = None, *args: Any, **kw: Any) -> Any:
        token = asking.set(_Asked(self, method, url, headers) if desk.is_on else None)
        try:
            return urlopen(self, method, url, body, headers, *args, **kw)
        finally:
            asking.reset(token)

    def open_tunnel(self: Any, conn: Any) -> None:
        asked = asking.get()
        if asked is None or not _is_answered(desk, asked):
            prepare_proxy(self, conn)
        else:
            asked.needs_tunnel = True

    def send(self: Any, conn: Any, method: str, url: str, *args: Any, **kw: Any) -> Any:
        asked = asking.get()
        if asked is None or not desk.is_on:
            return make_request(self, conn, method, url, *args, **kw)
        if not _is_answered(desk, asked):
            if desk.guard.refuses(asked.url.host):  # over a connection of before it would be asked for real
                conn.close()
            return make_request(self, conn, method, url, *args, **kw)
        kw, content = _whole(kw)
        answer, clock = _answer_to(module, desk, asked, content)
        if isinstance(answer, Exchange):
            with _wired(module, conn, answer, clock) as wired:
                return make_request(self, wired, method, url, *args, **_unexpecting(kw))
        with answer, tapped(conn, answer):
            if asked.needs_tunnel:
                _prepare(self, conn, prepare_proxy)
            return make_request(self, conn, method, url, *args, **kw)

    put(pool, "urlopen", open_url, stack)
    put(pool, "_make_request", send, stack)
    put(secure, "_prepare_proxy", open_tunnel, stack)
    put(module.connection.HTTPConnection, "_new_conn", _refusing(module.connection.HTTPConnection, desk, asking), stack)


def _refusing(connection: Any, desk: Desk, asking: ContextVar[_Asked | None]) -> Any:
    """Return how a connection is made, unless it leads to where nothing may go: what is below has no answer for it."""
    new_conn = connection._new_conn  # noqa: SLF001

    def connect(self: Any) -> Any:
        asked = asking.get()
        if asked is not None and desk.is_on and desk.guard.refuses(asked.url.host):
            raise desk.guard.refusal_of(asked)
        return new_conn(self)

    return connect


@contextmanager
def _wired(module: ModuleType, conn: Any, exchange: Exchange, clock: Clock) -> Iterator[Any]:
    """Yield a pool's connection, with a socket that plays the exchange for the one request that is sent inside."""
    conn = getattr(conn, "real_connection", conn)  # where vcrpy has put one of its own around it
    if conn.sock is not None:
        conn.close()
    wire = conn.sock = _Wire(module, conn, exchange, clock)
    conn.is_verified = str(getattr(conn, "cert_reqs", "")).removeprefix("VerifyMode.") not in _UNVERIFIED
    try:
        yield conn
    finally:
        if conn.sock is wire:
            conn.sock = None
            wire.close()


def _is_answered(desk: Desk, asked: _Asked) -> bool:
    """Tell whether a provider or a tape is asked for the answer, before anybody is asked over the network."""
    has_tape = desk.is_on and desk.tape is not None and desk.tape.is_open
    return has_tape or desk.provider_for(asked.method, asked.url) is not None


def _answer_to(module: ModuleType, desk: Desk, asked: _Asked, content: bytes) -> tuple[Exchange | Outgoing, Clock]:
    """Return the answer, or what records it, and the clock that it plays on."""
    sent = (asked.method, asked.url, _headers(asked), content)
    if (provider := desk.provider_for(asked.method, asked.url)) is not None:
        return provider.handle(*sent), provider.clock
    if desk.tape is None:
        raise AssertionError("nobody answers")
    desk.refuse_outsider(asked)
    return desk.tape.ask(module, *sent), desk.tape.clock


def _prepare(pool: Any, conn: Any, prepare_proxy: Any) -> None:
    """Open a tunnel as `urlopen` does, which was kept from it while nobody knew whether the request would go out."""
    try:
        prepare_proxy(pool, conn)
    except OSError as error:
        pool._raise_timeout(err=error, url=pool.proxy.url, timeout_value=conn.timeout)  # noqa: SLF001
        raise


class _Wire:
    """A socket that takes one request and plays an exchange as its answer: what http.client needs of one."""

    def __init__(self, module: ModuleType, conn: Any, exchange: Exchange, clock: Clock) -> None:
        self._errors = module.exceptions
        self._connection: Any = conn
        self._exchange = exchange
        self._clock = clock
        self._log = exchange.timed(clock)
        self._connect: float | None = None
        self._read: float | None = None
        self._is_asked = self._is_closed = False
        self._files = 0
        self._rest = b""
        self._stream = self._sent()

    # -- what http.client and urllib3 call ----------------------------------------------------------------

    def settimeout(self, seconds: Any) -> None:
        """Take how long the client waits from now on."""
        self._read = _patience(seconds)

    def sendall(self, data: Any) -> None:  # noqa: ARG002 - it was read before
        """Take a part of the request."""
        if not self._is_asked:
            self._is_asked, self._connect = True, _patience(self._connection.timeout)

    def makefile(self, mode: str = "rb", buffering: int | None = None, **_: Any) -> Any:  # noqa: ARG002
        """Return the file that the answer is read from."""
        self._files += 1
        return io.BufferedReader(socket.SocketIO(self, "r"))  # type: ignore[arg-type]

    def recv_into(self, buffer: Any) -> int:
        """Give what comes next: at most one piece of the answer."""
        if self._is_closed and not self._files:
            raise OSError(9, "Bad file descriptor")
        if not self._rest:
            self._rest = next(self._stream, b"")
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size

    def close(self) -> None:
        """Take that the connection is done with; its answer may still be read."""
        self._is_closed = True
        self._end()

    def shutdown(self, how: int) -> None:  # noqa: ARG002
        """Take that the client wants no more."""
        self._rest = b""
        self._stream.close()
        self._exchange.close()

    def fileno(self) -> int:
        """Be no descriptor of the system."""
        return -1

    def _decref_socketios(self) -> None:
        """Take that a file was closed, or forgotten (`socket.SocketIO` calls this)."""
        self._files -= 1
        self._end()

    def _end(self) -> None:
        if self._is_closed and not self._files:
            self._stream.close()
            self._exchange.close()
            self._connection = None

    # -- the answer ---------------------------------------------------------------------------------------

    def _sent(self) -> Generator[bytes, None, None]:
        """Yield what comes over the connection."""
        try:
            yield from self._answer(self._exchange)
        except GeneratorExit:
            self._exchange.close()
            raise
        except BaseException as error:
            self._exchange.call.fail(error)
            if self._log is not None:
                self._log.end(error)
            raise

    def _answer(self, exchange: Exchange) -> Iterator[bytes]:
        timeouts = Timeouts(self._connect, self._read)
        for action in exchange.opening(timeouts):
            if isinstance(action, Failure):
                self._fail(action)
                return
            self._clock.sleep(action)
        if self._log is not None:
            self._log.note("status", str(exchange.status))
        head, is_chunked = head_of(exchange)
        self._connection = None
        yield head
        yield from self._body(exchange, timeouts, is_chunked=is_chunked)

    def _body(self, exchange: Exchange, timeouts: Timeouts, *, is_chunked: bool) -> Iterator[bytes]:
        actions = exchange.body(timeouts)  # a name of its own: it ends after what ends it is noted
        for action in actions:
            if isinstance(action, Failure):
                self._fail(action)
                return
            if isinstance(action, (int, float)):
                self._clock.sleep(action)
                continue
            for piece in action if self._log is None else self._log.each(action):
                if piece:
                    yield b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece
        if self._log is not None:
            self._log.end(None)
        if is_chunked:
            yield b"0\r\n\r\n"

    def _fail(self, failure: Failure) -> None:
        """Let the connection fail, as the layer of a socket does; return for one that was closed."""
        kind: str = failure.kind
        conn, errors = self._connection, self._errors
        if kind in ("refused", "ConnectError"):
            refused = ConnectionRefusedError(111, "Connection refused")
            raise errors.NewConnectionError(conn, f"Failed to establish a new connection: {refused}") from refused
        if kind in ("connect_timeout", "ConnectTimeout"):
            message = f"Connection to {conn.host} timed out. (connect timeout={self._connect})"
            raise errors.ConnectTimeoutError(conn, message) from TimeoutError("timed out")
        if kind == "DecodingError":
            raise errors.DecodeError("the body could not be decoded")
        if kind == "read_timeout" or "Timeout" in kind:
            raise TimeoutError("timed out")
        if kind not in ("no_response", "close") and "Protocol" not in kind:
            raise ConnectionResetError(104, "Connection reset by peer")
        closed = ConnectionError("the connection was closed")
        self._exchange.call.fail(closed)
        if self._log is not None:
            self._log.end(closed)


def _origin(pool: Any) -> str:
    host = f"[{pool.host}]" if ":" in pool.host and not pool.host.startswith("[") else pool.host
    usual = {"http": 80, "https": 443}.get(pool.scheme)
    return f"{pool.scheme}://{host}" if pool.port in (None, usual) else f"{pool.scheme}://{host}:{pool.port}"


def _headers(asked: _Asked) -> dict[str, str]:
    """Return the headers of a request, with the one that http.client adds."""
    there = any(name.lower() == "host" for name in asked.headers)
    return asked.headers if there else {"Host": urlsplit(asked.url).netloc, **asked.headers}


def _whole(sent: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return what is sent, its body read if it was to be read while it is sent, and that body as bytes."""
    body = sent.get("body")
    if body is None:
        return sent, b""
    if isinstance(body, (str, bytes, bytearray, memoryview)):
        return sent, _bytes(body)
    if hasattr(body, "read"):
        content = _bytes(body.read())
        return {**sent, "body": content}, content
    content = b"".join(map(_bytes, body))
    return {**sent, "body": iter((content,))}, content


def _unexpecting(sent: dict[str, Any]) -> dict[str, Any]:
    """Return what is sent without `Expect: 100-continue`: an answer in memory gives no leave to send."""
    headers = sent.get("headers") or {}
    if not any(_text(name).lower() == "expect" for name in headers):
        return sent
    return {**sent, "headers": {name: headers[name] for name in headers if _text(name).lower() != "expect"}}


def _bytes(data: Any) -> bytes:
    return data.encode("utf-8") if isinstance(data, str) else bytes(data)


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _patience(seconds: Any) -> float | None:
    """Return how long a client waits; the library's mark for no choice is the default of sockets."""
    if seconds is None:
        return None
    return seconds if isinstance(seconds, (int, float)) else socket.getdefaulttimeout()
