"""Serves in several processes at one port, which the kernel spreads connections over (SO_REUSEPORT).

This process serves nothing itself. It holds the port, bound and not listened on, so that it stays theirs while
a worker that died is started again; it adds up what they tell that they saw, and judges it at the end.

What is not shared: each worker has every reply of its own. Answers to `when` without `times` and to `otherwise` are
the same from each, byte by byte. A reply for one call is given once by each worker, so a warning says so.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fakellm.cli.config import Serving
from fakellm.cli.saying import Voice
from fakellm.cli.seen import Seen
from fakellm.cli.serving import Signals, base_urls, unheard, until_done, verdict
from fakellm.cli.wording import UsageError
from fakellm.server.server import environment

_TRIES = 5
"""How many times in a row a worker may die before it serves, until nothing is tried any more."""
_HARD = 5.0
"""Seconds beyond the grace after which a worker that does not end is killed."""


def held(host: str, port: int) -> socket.socket:
    """Return a socket that holds a port for several processes. Raises `UsageError` for one that others have."""
    if not hasattr(socket, "SO_REUSEPORT"):
        msg = "this system does not let processes share a port (SO_REUSEPORT)\n  to do:     leave --workers out"
        raise UsageError(msg)
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, socket.SOCK_STREAM) as alone:  # others who share would not be noticed below
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind(address)
        holder = socket.socket(family, socket.SOCK_STREAM)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(address)
    except (OSError, OverflowError) as error:
        raise UsageError(unheard(host, port, error)) from error
    return holder


class Worker:
    """One of the processes, and the next that takes its place if it dies."""

    def __init__(self, serving: Serving, voice: Voice, *, is_first: bool) -> None:
        self._serving = serving
        self._voice = voice
        self._is_first = is_first
        self._process: asyncio.subprocess.Process
        self._seen = Seen()
        self._gone: list[Seen] = []
        self._told: tuple[int, str] | None = None
        self._stopping = False
        self.is_whole = True
        self.ready = asyncio.Event()
        self.wrong = ""

    @property
    def pid(self) -> int:
        """The process that serves now."""
        return self._process.pid

    @property
    def seen(self) -> list[Seen]:
        """What it saw, and those before it."""
        return [*self._gone, self._seen]

    async def run(self) -> None:
        """Keep a process serving until it is stopped. Returns early where none does, and `wrong` says why."""
        failed = 0
        while failed < _TRIES and not self.wrong:
            self.ready.clear()
            await self._start()
            await self._listen()
            code = await self._process.wait()
            if self._stopping or self.wrong:
                return
            failed = 0 if self.ready.is_set() else failed + 1
            self._gone.append(self._seen)
            self._seen = Seen()
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
            self._told = (self.pid, how)
        self.wrong = self.wrong or f"a worker died {_TRIES} times before it served"

    async def _start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fakellm.cli.worker",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**26,
        )  # fmt: skip
        if self._process.stdin is not None:
            self._process.stdin.write(json.dumps(self._serving.plain()).encode() + b"\n")

    async def _listen(self) -> None:
        stdout = self._process.stdout
        while stdout is not None and (line := await stdout.readline()):
            try:
                self._take(json.loads(line))
            except ValueError:  # half a line of one that was killed, or what a file of the user prints
                sys.stderr.buffer.write(line)

    def _take(self, told: dict[str, Any]) -> None:
        kind = told.pop("kind", "")
        if kind == "ready":
            self.ready.set()
            if self._told is not None:
                was, how = self._told
                self._told = None
                self._voice.restarted(was, self.pid, how)
        elif kind == "seen":
            self._seen = Seen.from_plain(told)
        elif kind == "note" and self._is_first:  # they all look at the same file
            self._voice.note(told["text"])
        elif kind == "wrong":
            self.wrong = told["text"]
        elif kind == "stopped":
            self.is_whole = told["is_whole"]

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ask it to end."""
        self._stopping = True
        if self._process.returncode is None:
            self._process.send_signal(number)


async def supervise(serving: Serving, command: Sequence[str] | None) -> int:
    """Serve in several processes; return the exit code. Raises `UsageError`."""
    server = serving.server()  # says what is wrong with the file before there is a process, and the addresses
    voice = Voice(serving, has_command=command is not None)
    signals = Signals()
    with held(serving.host, serving.port) as holder:
        server.port = holder.getsockname()[1]
        shared = replace(serving, port=server.port)
        workers = [Worker(shared, voice, is_first=not at) for at in range(serving.workers)]
        tasks = [asyncio.ensure_future(worker.run()) for worker in workers]
        failing = asyncio.ensure_future(_first(tasks))
        readiness = asyncio.gather(*(worker.ready.wait() for worker in workers))
        either: set[asyncio.Future[Any]] = {readiness, failing}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        code = 1
        try:
            if readiness.done():
                voice.ready(server.url, base_urls(server), pid=os.getpid(), workers=[worker.pid for worker in workers])
                if any(reply.times is not None for provider in server.providers for reply in provider.replies):
                    voice.warn(
                        "each worker has replies of its own: one for a number of calls is given by each so often"
                    )
                code = await until_done(signals, command, environment(server), failing)
        finally:
            readiness.cancel()
            await asyncio.gather(readiness, return_exceptions=True)  # or asyncio tells of it, when it is let go
            is_whole = await _stopped(workers, tasks, signals, serving.grace)
    if wrong := next((worker.wrong for worker in workers if worker.wrong), ""):
        raise UsageError(wrong)
    seen = Seen.together(one for worker in workers for one in worker.seen)
    voice.stopped(seen, is_whole=is_whole)
    return verdict(code, seen, has_command=command is not None)


async def _first(tasks: Sequence[asyncio.Task[None]]) -> int:
    """Wait until a worker is given up."""
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    return 1


async def _stopped(
    workers: Sequence[Worker], tasks: Sequence[asyncio.Task[None]], signals: Signals, grace: float
) -> bool:
    """Stop the workers: in order, at a second signal at once, and by force what does not end."""
    for worker in workers:
        worker.stop()
    ending = asyncio.gather(*tasks)
    hurried = asyncio.ensure_future(signals.hurried.wait())
    either: set[asyncio.Future[Any]] = {ending, hurried}
    await asyncio.wait(either, timeout=grace + _HARD, return_when=asyncio.FIRST_COMPLETED)
    if not ending.done():
        for worker in workers:
            worker.stop(signal.SIGTERM if hurried.done() else signal.SIGKILL)
        await asyncio.wait({ending}, timeout=_HARD)
    hurried.cancel()
    return all(worker.is_whole for worker in workers)
