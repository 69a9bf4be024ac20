"""The server beside a bare asyncio server, and beside aimock where node has it: `python benchmarks/server.py`.

Each server is a process of its own, and the client here reads sockets as fast as Python can. "bare" is what one would
write by hand: `asyncio.start_server`, a head, and one `write` and `drain` for each event of a stream that is a list of
bytes already. aimock takes part where `AIMOCK` names its command (`npm install @copilotkit/aimock`, then
`AIMOCK=node_modules/.bin/llmock`). A short stream has a dozen events; each of fakellm's is an HTTP chunk of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import select
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from measure import rounds, table, times_as, verdict

SHORT, LONG = 10, 10_000
WORDS = {"short": SHORT, "long": LONG}
PACED, EVENTS, GAP = 1_000, 200, 0.02
SECONDS = 1.0
PATH = {"bare": "/", "fakellm": "/openai/v1/chat/completions", "aimock": "/v1/chat/completions"}
END = b"\r\n0\r\n\r\n"


class Serving(NamedTuple):
    """A server that runs: its name, its port, the seconds until it answered, and its process."""

    name: str
    port: int
    ready: float
    process: subprocess.Popen[bytes]


# -- the servers ------------------------------------------------------------------------------------------


def events(count: int) -> list[bytes]:
    """Return the events of a chat completion of so many words, as a server by hand would have them."""
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1767225600, "model": "m"}
    deltas = [{"role": "assistant", "content": ""}, *[{"content": "word "}] * count, {}]
    said = [
        {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}]}
        for delta in deltas
    ]
    return [*(b"data: %b\n\n" % json.dumps(event).encode() for event in said), b"data: [DONE]\n\n"]


async def bare(port: int) -> None:
    """Serve by hand: what the request says chooses how many words."""
    bodies = {name: events(count) for name, count in WORDS.items()}
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                asked = await reader.readuntil(b"\r\n\r\n")
                length = int(asked.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                words = json.loads(await reader.readexactly(length))["messages"][0]["content"]
                writer.write(head)
                for event in bodies[words]:
                    writer.write(b"%x\r\n%b\r\n" % (len(event), event))
                    await writer.drain()
                writer.write(b"0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()


async def fakellm(port: int) -> None:
    """Serve with the library; as `python benchmarks/server.py fakellm PORT`."""
    from fakellm import FakeProvider
    from fakellm.script import Pause, Text
    from fakellm.server import Server

    provider = FakeProvider("openai").when("short", *["word "] * SHORT).when("long", *["word "] * LONG)
    provider.otherwise(*(event for _ in range(EVENTS) for event in (Text("w "), Pause(GAP))))
    async with Server([provider], port=port):
        await asyncio.Event().wait()


def command_of(name: str, port: int, folder: Path) -> list[str]:
    """Return how a server is started."""
    if name != "aimock":
        return [sys.executable, __file__, name, str(port)]
    replies = [
        {"match": {"userMessage": name}, "response": {"content": "word " * count}} for name, count in WORDS.items()
    ]
    (folder / "fixtures.json").write_text(json.dumps({"fixtures": replies}))
    words = ["--chunk-size", "5", "--log-level", "silent"]
    return [os.environ["AIMOCK"], "-p", str(port), "-f", str(folder / "fixtures.json"), *words]


@contextmanager
def serving(name: str) -> Iterator[Serving]:
    """Start a server, and wait until it answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        process = subprocess.Popen(command_of(name, port, Path(folder)), stdout=subprocess.DEVNULL)
        try:
            while True:
                try:
                    Client(name, port).ask("short")
                    break
                except ConnectionRefusedError:
                    time.sleep(0.001)
            yield Serving(name, port, time.perf_counter() - start, process)
        finally:
            process.kill()
            process.wait()


# -- the clients ------------------------------------------------------------------------------------------


class Client:
    """One connection."""

    def __init__(self, name: str, port: int) -> None:
        self._path = PATH[name]
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tail = b""

    def send(self, words: str) -> None:
        body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": words}]})
        head = f"POST {self._path} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n"
        self.socket.sendall(f"{head}authorization: Bearer k\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        self._tail = b""

    def is_whole(self) -> bool:
        """Take what is there; tell whether that is the end of the answer."""
        data = self.socket.recv(1 << 18)
        if not data:
            msg = "the server ended the connection"
            raise ConnectionError(msg)
        self._tail = (self._tail + data)[-len(END) :]
        return self._tail == END

    def ask(self, words: str) -> None:
        """Ask for a stream and read all of it."""
        self.send(words)
        while not self.is_whole():
            pass


def rate(client: Client, words: str) -> float:
    """Return how many streams a second one connection takes."""
    count, start = 0, time.perf_counter()
    while (taken := time.perf_counter() - start) < SECONDS:
        client.ask(words)
        count += 1
    return count / taken


def crowd(clients: list[Client]) -> float:
    """Return how many short streams a second many connections take together."""
    count, start = 0, time.perf_counter()
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.send("short")
        while (taken := time.perf_counter() - start) < SECONDS:
            for key, _ in selector.select():
                if key.data.is_whole():
                    count += 1
                    key.data.send("short")
        waiting = {client.socket for client in clients}
        while waiting:
            for key, _ in selector.select():
                if key.data.is_whole():
                    waiting.discard(key.data.socket)
                    selector.unregister(key.data.socket)
    return count / taken


def lateness(port: int, within: float) -> tuple[float, float]:
    """Return how late the event is than which 99 of 100 come earlier, and how late the latest, in seconds.

    When an event is due counts from when its stream was asked for, so what the server took to begin is in it. All are
    asked for `within` so many seconds.
    """
    clients = {(client := Client("fakellm", port)).socket.fileno(): client for _ in range(PACED)}
    late: list[float] = []
    seen: dict[int, tuple[float, int]] = {}

    def look(patience: float) -> int:
        """Take what is there; return how many streams ended."""
        ended = 0
        for fd, _ in epoll.poll(patience):
            data = clients[fd].socket.recv(1 << 16)
            now = time.perf_counter()
            start, count = seen[fd]
            for _ in range(data.count(b'"content":"w ')):
                late.append(now - start - count * GAP)
                count += 1
            seen[fd] = start, count
            if not data or data.endswith(END):
                epoll.unregister(fd)
                ended += 1
        return ended

    waiting, begun = len(clients), time.perf_counter()
    with select.epoll() as epoll:
        for number, (fd, client) in enumerate(clients.items()):
            epoll.register(fd, select.EPOLLIN)
            client.send("paced")
            seen[fd] = time.perf_counter(), 0
            while (left := begun + within * number / PACED - time.perf_counter()) > 0:
                waiting -= look(left)
        while waiting:
            waiting -= look(-1)
    late.sort()
    return late[int(len(late) * 0.99)], late[-1]


def memory_of(process: subprocess.Popen[bytes]) -> int:
    """Return the bytes that a process has in memory."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


# -- the tables -------------------------------------------------------------------------------------------


def compare(
    what: str, measured: dict[str, list[float]], targets: dict[str, float], unit: Callable[[float], str]
) -> list[list[str]]:
    """Return a row for each rival: ours, theirs, and the median of the ratios round by round."""
    rows = []
    for rival, theirs in measured.items():
        if rival != "fakellm":
            ratios = [mine / other for mine, other in zip(measured["fakellm"], theirs, strict=True)]
            middle = median(ratios)
            spread = f"{middle:.2g}x ({min(ratios):.2g}x - {max(ratios):.2g}x)"
            cells = verdict(middle, targets.get(rival), ">=", times_as)
            rows.append([what, unit(median(measured["fakellm"])), rival, unit(median(theirs)), spread, *cells])
    return rows


def per_second(value: float) -> str:
    return f"{value:,.0f}/s"


def main() -> None:
    if len(sys.argv) > 2:
        with_name = {"bare": bare, "fakellm": fakellm}
        asyncio.run(with_name[sys.argv[1]](int(sys.argv[2])))
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(20_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    names = ["fakellm", "bare", *(["aimock"] if shutil.which(os.environ.get("AIMOCK", "")) else [])]
    ready = rounds({name: partial(_ready, name) for name in names}, seconds=10)
    rows = compare(
        "ready, a second",
        {name: [1 / each for each in times] for name, times in ready.items()},
        {"aimock": 1.0},
        per_second,
    )
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(name)) for name in names]
        one = {server.name: Client(server.name, server.port) for server in servers}
        many = {server.name: [Client(server.name, server.port) for _ in range(64)] for server in servers}
        short = rounds({name: partial(rate, client, "short") for name, client in one.items()}, seconds=20)
        long = rounds({name: partial(rate, client, "long") for name, client in one.items()}, seconds=20)
        crowded = rounds({name: partial(crowd, clients) for name, clients in many.items()}, seconds=20)
        rows += compare("short streams, one connection", short, {"bare": 0.95}, per_second)
        rows += compare("short streams, 64 connections", crowded, {"aimock": 1.0}, per_second)
        rows += compare(
            "events of long streams",
            {name: [LONG * each for each in times] for name, times in long.items()},
            {"bare": 2.5},
            per_second,
        )
    print(table("the server", ("what", "fakellm", "rival", "", "fakellm over rival (min - max)", "target", ""), rows))
    with serving("fakellm") as server:
        before = memory_of(server.process)
        idle = [Client("fakellm", server.port) for _ in range(PACED)]
        for client in idle:
            client.send("paced")
        time.sleep(0.5)
        each = (memory_of(server.process) - before) / PACED
        for client in idle:
            client.socket.close()
        time.sleep(3)
        late, latest = lateness(server.port, 1)
        time.sleep(1)
        burst = lateness(server.port, 0)
    lines = [
        [
            f"{PACED} streams of {1 / GAP:.0f} events a second, asked for within a second: lateness of 99 in 100",
            f"{late * 1000:.1f} ms, latest {latest * 1000:.0f} ms",
            *verdict(late, 0.05, "<=", lambda value: f"{value * 1000:.0f} ms"),
        ],
        [
            "the same, asked for as fast as the client can",
            f"{burst[0] * 1000:.1f} ms, latest {burst[1] * 1000:.0f} ms",
            *("", ""),
        ],
        [
            "memory of an open stream",
            f"{each / 1000:.1f} kB",
            *verdict(each, 30_000, "<=", lambda value: f"{value / 1000:.0f} kB"),
        ],
    ]
    print(table("many streams at once", ("what", "", "target", ""), lines))


def _ready(name: str) -> float:
    with serving(name) as server:
        return server.ready


if __name__ == "__main__":
    main()
