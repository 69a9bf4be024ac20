"""A fake provider on a real socket of this machine, in a thread: what a real client makes of each fault."""

from __future__ import annotations

import contextlib
import math
import socket
import struct
import threading

from fakellm.http.aiohttp import _request_of as request_of
from fakellm.provider.actions import Failure, Timeouts


class Loopback:
    """Serves a provider over HTTP/1.1, one request a connection, until it is left."""

    def __init__(self, provider):
        self.provider = provider
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = []
        self._threads = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads:
            thread.join(5)

    def _start(self, target, *args):
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.append(connection)
                self._start(self._serve, connection)

    def _serve(self, connection):
        with contextlib.suppress(OSError):
            if (data := whole(connection)) is None:
                return
            method, target, headers, body = request_of(data)
            self._play(connection, self.provider.handle(method, f"{self.url}{target}", headers, body))

    def _play(self, connection, exchange):
        for action in exchange.opening(Timeouts()):
            if not self._waited(connection, action):
                return
        headers = [f"{name}: ".encode() + _bytes(value) for name, value in exchange.headers]
        lines = [f"HTTP/1.1 {exchange.status} Fake".encode(), *headers, b"connection: close", b"", b""]
        connection.sendall(b"\r\n".join(lines))
        chunked = any(name == "transfer-encoding" for name, _ in exchange.headers)
        for action in exchange.body(Timeouts()):
            if isinstance(action, (Failure, float)):
                if not self._waited(connection, action):
                    return
                continue
            for piece in action:
                connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            connection.sendall(b"0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        until_closed(connection)

    def _waited(self, connection, action):
        """Wait, or let the connection fail; return whether the answer goes on."""
        if isinstance(action, float):
            if math.isinf(action):
                until_closed(connection)
                return False
            self.provider.clock.sleep(action)
            return True
        if action.kind == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
                until_closed(connection)
        connection.close()
        return False


def _bytes(value):
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


def whole(connection):
    """Return the bytes of a request; None where the client leaves before."""
    data = b""
    while request_of(data) is None:
        if not (received := connection.recv(65536)):
            return None
        data += received
    return data


def until_closed(connection):
    """Wait until the client closes its end."""
    while connection.recv(65536):
        pass


@contextlib.contextmanager
def refusing():
    """Yield the URL of a port that refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def unanswered():
    """Yield the URL of a port whose queue is full, so that nothing answers an attempt to connect."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


class Pieces:
    """Serves the same pieces of a body for every request, each once the one before was taken: `release` lets one go.

    `end` is what follows them: "complete", "reset" or "close". `seen` collects the bodies of the requests.
    """

    def __init__(
        self, pieces, *, end="complete", headers=(("content-type", "text/event-stream"),), status=200, gated=False
    ):
        self.pieces = list(pieces)
        self.end = end
        self.headers = list(headers)
        self.status = status
        self.seen = []
        self._gate = threading.Semaphore(0) if gated else None
        self._loop = Loopback(self)

    def release(self):
        self._gate.release()

    def __enter__(self):
        self._loop.__enter__()
        return self

    def __exit__(self, *error):
        for _ in self.pieces:
            if self._gate:
                self._gate.release()
        self._loop.__exit__(*error)

    @property
    def url(self):
        return self._loop.url

    # what Loopback asks of a provider

    def handle(self, method, url, headers, body):
        self.seen.append(body)
        return self

    def opening(self, _):
        return ()

    def body(self, _):
        for piece in self.pieces:
            if self._gate:
                self._gate.acquire()
            yield [piece]
        if self.end != "complete":
            yield Failure(self.end)
