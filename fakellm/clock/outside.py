"""What can wake an event loop from outside while all of its tasks wait: threads, executors, sockets.

A loop that jumps to its next timer while a thread still works fires timeouts that nobody would see in real time. So it
asks here first. What is not known is taken to be able to wake it: then the loop waits really, which is slow, not wrong.

The theory. There is no list of who may call `call_soon_threadsafe`, or write to a socket that a loop waits for. So
what can be seen of the process is divided into what cannot wake the loop, and the rest:

- A job in an executor can, while a thread has it; more jobs than threads wait in a queue, where nothing happens. A
  worker that waits for work cannot: its frame is looked into, since pools have no public word for that. A worker that
  sleeps on the loop's own clock must not count: the loop would wait for the thread, and the thread for the loop.
- A thread that was there before the loop is taken for a part of the surroundings (a test runner, an exporter of
  traces), which would otherwise hold up every test for ever. A thread that came later is taken to work for the test.
- A socket can, if somebody else is at its other end: another process, or another thread of this one. Where no other
  thread does anything, nobody but the loop can write to the other end of a connection inside this process, so every
  socket of the process is its own. That lets a client and a server on one loop talk over loopback in virtual time.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import thread as pools
from fnmatch import fnmatch
from pathlib import Path
from types import FrameType
from typing import Any, Protocol
from weakref import WeakSet

_TRIO_WORKER = "WorkerThread._work"
_WORKER: Any = pools._worker.__code__  # noqa: SLF001


class Loop(Protocol):
    """What an event loop tells about itself."""

    def descriptors(self) -> tuple[set[int], set[int]]:
        """Return the file descriptors that it waits for, besides its own wake-up, and all that are in its hands."""
        ...

    def is_own(self, thread: threading.Thread) -> bool:
        """Tell whether a thread works for the loop itself."""
        ...


class Outside:
    """What is outside of one loop."""

    def __init__(self, loop: Loop, ignored: Sequence[str]) -> None:
        self._loop = loop
        self._ignored = ignored
        self._before = WeakSet(threading.enumerate())
        self._executors: WeakSet[Any] = WeakSet()
        self._jobs: set[asyncio.Future[Any]] = set()
        self.sleeping: set[int] = set()
        """The threads that wait on the loop's own clock."""

    def watch(self, job: asyncio.Future[Any], executor: Any) -> None:
        """Count a job that an executor has until its future is done."""
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        if executor is not None:
            self._executors.add(executor)

    def found(self) -> list[str]:
        """Return, worded, what can wake the loop; nothing if only its own timers can."""
        return [*self._busy_jobs(), *self._busy_threads(), *self._open_sockets()]

    def others(self) -> list[str]:
        """Return what may wake the loop, but mostly never will: threads from before it, and handlers of signals."""
        threads = [f"the thread {thread.name!r}" for thread in self._others() if thread in self._before]
        handlers = getattr(self._loop, "_signal_handlers", {})  # asyncio's, on Unix
        return [*threads, *(f"a handler of the signal {number}" for number in handlers)]

    def _busy_jobs(self) -> Iterator[str]:
        threads = [thread for executor in self._executors for thread in getattr(executor, "_threads", ())]
        asleep = sum(thread.ident in self.sleeping for thread in threads)
        running = min(len(self._jobs), len(threads)) if threads else len(self._jobs)
        if running > asleep:
            yield f"{running - asleep} job(s) in an executor"

    def _busy_threads(self) -> Iterator[str]:
        for thread in self._others():
            is_new = thread not in self._before or _is_cached(thread)
            if is_new and not self._loop.is_own(thread):
                yield f"the thread {thread.name!r}"

    def _others(self) -> Iterator[threading.Thread]:
        """Yield the threads that may do something: neither this one, nor one that waits for time or for work."""
        frames = sys._current_frames()  # noqa: SLF001
        quiet = {threading.get_ident(), *self.sleeping}
        for thread in threading.enumerate():
            frame = frames.get(thread.ident or 0)  # none of a thread that C code started, and that runs no Python now
            if frame is None or thread.ident in quiet or _is_idle(thread, frame):
                continue
            if not any(fnmatch(thread.name, pattern) for pattern in self._ignored):
                yield thread

    # -- sockets ----------------------------------------------------------------------------------

    def _open_sockets(self) -> Iterator[str]:
        waiting, in_hand = self._loop.descriptors()
        if not waiting:
            return
        mine = _names(in_hand if any(self._others()) else _descriptors())
        for descriptor in sorted(waiting):
            peer = _peer(descriptor)
            if peer is not None and peer not in mine:
                yield f"the socket {descriptor}, at whose other end is {peer}"


def _is_cached(thread: threading.Thread) -> bool:
    """Tell whether a thread is of trio's cache, which outlives a run: it may have been there and work for this one."""
    return bool(getattr(getattr(thread, "_target", None), "__qualname__", "") == _TRIO_WORKER)


def _is_idle(thread: threading.Thread, frame: FrameType) -> bool:
    """Tell whether a worker of a pool, of anyio's, of trio's or of an executor, waits for work."""
    workers: Any = getattr(thread, "idle_workers", None)  # anyio's; only the loop's own thread changes it
    if workers is not None:
        return thread in workers
    if frame.f_code is _WORKER:
        return not frame.f_locals["work_queue"].qsize() and frame.f_locals.get("work_item") is None
    if frame.f_code.co_qualname == _TRIO_WORKER:
        worker = frame.f_locals["self"]
        return worker in worker._thread_cache._idle_workers  # noqa: SLF001 - it may not have taken up its job yet
    return False


def _peer(descriptor: int) -> Any:
    """Return the address at the other end; None if nothing comes from outside, as on a socket that listens."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as end:
            if end.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return None
            if end.family == getattr(socket, "AF_UNIX", None):
                return None if _pid_of_peer(end) == os.getpid() else f"descriptor {descriptor}"
            return end.getpeername()
    except OSError:
        return f"descriptor {descriptor}"


def _pid_of_peer(end: socket.socket) -> int | None:
    if not hasattr(socket, "SO_PEERCRED"):  # pragma: no cover - not on Linux
        return None
    pid: int = struct.unpack("3i", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    return pid


def _names(descriptors: Iterable[int]) -> set[Any]:
    """Return the own addresses of those of the descriptors that are sockets."""
    names = set()
    for descriptor in descriptors:
        try:
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                with socket.socket(fileno=os.dup(descriptor)) as end:
                    names.add(end.getsockname())
        except OSError:  # closed meanwhile
            continue
    return names


def _descriptors() -> list[int]:
    try:
        return [int(path.name) for path in Path("/dev/fd").iterdir()]
    except OSError:  # pragma: no cover - not on Windows
        return []
