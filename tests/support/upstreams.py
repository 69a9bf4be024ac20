"""Upstreams of a proxy: raw bytes on a real socket, and what a proxy makes of them on a tape."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time

from loopback import until_closed, whole

from fakellm.cassette.redaction import Redactor
from fakellm.cassette.session import Session
from fakellm.proxy.proxy import Proxy
from fakellm.proxy.upstreams import upstreams

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunked(*pieces):
    """Return pieces as chunks of HTTP."""
    return [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]


class Upstream:
    """Answers each request with the next of the answers, the last again and again.

    An answer is a list of what is sent, each by itself; `"close"` and `"reset"` end the connection, `"gone"` waits
    until the client has. `requests` are those that came, as bytes, with the number of their connection; `left` is set
    once a client went away.
    """

    def __init__(self, *answers, context=None):
        self._answers = list(answers)
        self._context = context
        self.requests = []
        self.left = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open, self._threads = [], []

    @property
    def url(self):
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, *_):
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(5)

    def _start(self, target, *args):
        self._threads.append(thread := threading.Thread(target=target, args=args, daemon=True))
        thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.append(connection)
                self._start(self._serve, connection, len(self._open))

    def _serve(self, connection, number):
        with contextlib.suppress(OSError):
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            while (request := whole(connection)) is not None:
                self.requests.append((number, request))
                answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                for step in answer:
                    if step == "reset":
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        connection.close()
                    elif step == "close":
                        connection.shutdown(socket.SHUT_WR)
                    elif step == "gone":
                        until_closed(connection)
                        self.left.set()
                    else:
                        connection.sendall(step)
            self.left.set()


@contextlib.contextmanager
def proxied(url, path, *, saves=True):
    """Yield a proxy before an upstream of OpenAI's API; what came is on the tape afterwards."""
    session = Session(path, redactor=Redactor(environ={}))
    with Proxy(upstreams({"openai": f"{url}/v1"}, {}), session) as proxy:
        yield proxy
    if saves:
        session.save()


def asked(proxy, *, body=b'{"ask": 1}', method="POST", path="/chat/completions"):
    """Return what is read of a connection that asks once, to its end, and the error that ends it."""
    host, port = proxy.url.removeprefix("http://").split(":")
    head = f"{method} /openai/v1{path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode() + body)
        data = b""
        with contextlib.suppress(ConnectionResetError):
            while more := connection.recv(65536):
                data += more
            return data, None
        return data, "reset"


def until(found):
    """Return what a function finds, once it does."""
    for _ in range(2000):
        if what := found():
            return what
        time.sleep(0.005)
    raise AssertionError("it was not found")


def settled(found):
    """Return what a function finds once it finds the same again and again."""
    last, times = found(), 0
    while times < 20:
        time.sleep(0.01)
        now = found()
        times, last = (times + 1 if now == last else 0), now
    return last
