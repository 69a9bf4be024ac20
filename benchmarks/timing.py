"""How true recorded timing is: `python benchmarks/timing.py`, about five seconds.

A server on this machine sends 12 chunks 50 ms apart, cut inside UTF-8 characters. They are recorded while the app reads
them, and the tape is played with `timing="recorded"`: when the first chunk reaches the app while recording, and how far
the silences between the chunks are off on replay.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from measure import duration, table, verdict

from fakellm.cassette import Redactor, Tape
from fakellm.http import Interception

TEXT = "data: \u00e9\U0001f600!\n\n".encode()
CHUNKS = [TEXT[at : at + 1] for at in range(11)] + [TEXT[11:]]
GAP = 0.05
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"


def serve(listener: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.recv(65536)
                connection.sendall(HEAD)
                for chunk in CHUNKS:
                    time.sleep(GAP)
                    connection.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                connection.sendall(b"0\r\n\r\n")


def read(module: ModuleType, url: str) -> list[float]:
    moments = []
    with module.Client() as client, client.stream("GET", url) as response:
        start = time.perf_counter()
        for _ in response.iter_raw():
            moments.append(time.perf_counter() - start)  # noqa: PERF401 - the moment is what counts
    return moments


async def aread(module: ModuleType, url: str) -> list[float]:
    async with module.AsyncClient() as client, client.stream("GET", url) as response:
        start = time.perf_counter()
        return [time.perf_counter() - start async for _ in response.aiter_raw()]


def through(tape: Tape, module: ModuleType, url: str, *, asynchronous: bool) -> list[float]:
    interception = Interception()
    interception.tape = tape
    with tape.open(), interception.on():
        return asyncio.run(aread(module, url)) if asynchronous else read(module, url)


def line(library: str, url: str, folder: str, *, asynchronous: bool) -> list[str]:
    module = importlib.import_module(library)
    path = Path(folder, f"{library}-{asynchronous}.yaml")
    redactor = Redactor(environ={})
    recorded = through(Tape(path, mode="once", redactor=redactor), module, url, asynchronous=asynchronous)
    tape = Tape(path, mode="none", timing="recorded", redactor=redactor)
    played = through(tape, module, url, asynchronous=asynchronous)
    gaps, again = ([b - a for a, b in zip([0.0, *moments], moments, strict=False)] for moments in (recorded, played))
    off = max(abs(b - a) for a, b in zip(gaps, again, strict=True))
    flavour = "async" if asynchronous else "sync"
    return [
        f"{library}, {flavour}",
        duration(recorded[0]),
        f"{len(played)} of {len(CHUNKS)}",
        duration(off),
        *verdict(off, 0.005, "<=", duration),
    ]


def main() -> None:
    heads = ("client", "first chunk while recording", "chunks on replay", "most that a silence is off", "target", "")
    with socket.create_server(("127.0.0.1", 0)) as listener, tempfile.TemporaryDirectory() as folder:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        rows = [
            line(library, url, folder, asynchronous=asynchronous)
            for library in ("httpx", "httpx2")
            for asynchronous in (False, True)
        ]
        listener.shutdown(socket.SHUT_RDWR)
    print(table(f"12 chunks, {GAP * 1000:.0f} ms apart", heads, rows))


if __name__ == "__main__":
    main()
