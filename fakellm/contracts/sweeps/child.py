"""A process that a consumer runs in, which whoever keeps it may kill: the other end of `keeping.py`.

It is told over its standard input, and tells over what was its standard output, in pickles behind their length; what
the consumer prints goes nowhere. Where its input ends, who started it is gone, and it ends, whatever it does just then.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import struct
import threading
from contextlib import suppress
from typing import Any

from fakellm.contracts.sweeps.references import ConsumerError, resolved
from fakellm.contracts.sweeps.watching import Watch
from fakellm.contracts.sweeps.working import Spot, Work, staying, swept

LENGTH = struct.Struct(">I")
"""What stands before a pickle: how long it is."""
_IDLE = 60.0
"""Seconds without work after which it ends, at least."""


def framed(value: Any) -> bytes:
    """Return a value as it is sent."""
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return LENGTH.pack(len(data)) + data


class Wire:
    """Where frames come from and go to."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes = reads, writes
        self.given: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def tell(self, value: Any) -> None:
        """Send a frame."""
        data = framed(value)
        while data:
            data = data[os.write(self._writes, data) :]

    def _listen(self) -> None:
        while head := self._read(LENGTH.size):
            self.given.put(pickle.loads(self._read(*LENGTH.unpack(head))))  # noqa: S301 - who started us wrote it
        os._exit(0)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = os.read(self._reads, size - len(data))
            if not more:
                return b""
            data += more
        return data


def work(wire: Wire) -> None:
    """Find the consumers that are named first, then sweep part after part."""
    consume, against, sweeping, folder = wire.given.get()
    with suppress(OSError):  # where a worker of another machine has none
        os.chdir(folder)
    spot: Spot | None = None

    def told(now: Spot) -> None:
        nonlocal spot
        spot = now
        wire.tell(now)

    try:
        with staying():
            found = Work(resolved(consume), resolved(against) if against is not None else None, sweeping)
    except ConsumerError as error:
        wire.tell(str(error))
        found = None
    else:
        wire.tell("")
    with Watch(sweeping.patience, lambda: wire.tell(spot)) as watch:
        while True:
            unit, fates = wire.given.get(timeout=max(sweeping.patience, _IDLE))
            wire.tell(swept(unit, found, watch, fates, told) if found is not None else None)


def main() -> None:
    """Work until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who keeps this process decides
    wire = Wire(os.dup(0), os.dup(1))
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    with suppress(queue.Empty):  # nobody has wanted anything for long
        work(wire)
