"""One of several processes that serve at one port; `fakellm serve --workers` starts it.

It is told what to serve by a line on standard input, and says what it sees in lines of JSON on standard output. Where
its input ends, whoever started it is gone, however that went, and it ends too.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

from fakellm.cli.config import Serving
from fakellm.cli.seen import Seen
from fakellm.cli.serving import Signals, drained, listening
from fakellm.cli.wording import UsageError

_TELLS = 0.1
"""Seconds between two tellings of what was seen; so much is lost where it is killed."""


def tell(kind: str, **fields: Any) -> None:
    """Say something to who started this."""
    line = json.dumps({"kind": kind, **fields}).encode() + b"\n"
    while line:
        line = line[os.write(1, line) :]


async def work(serving: Serving) -> int:
    """Serve until told to stop."""
    server = serving.server(lambda text: tell("note", text=text))
    signals = Signals()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)  # the supervisor tells, by SIGTERM
    async with listening(server):
        tell("ready")
        ending = asyncio.ensure_future(_ends_with_input(signals))
        asked = asyncio.ensure_future(signals.asked.wait())
        told = None
        while not asked.done():
            if (seen := Seen.at(server)) != told:
                told = seen
                tell("seen", **seen.plain())
            await asyncio.wait({asked}, timeout=_TELLS)
        is_whole = await drained(server, signals, serving.grace)
        ending.cancel()
    tell("seen", **Seen.at(server).plain())
    tell("stopped", is_whole=is_whole)
    return 0


async def _ends_with_input(signals: Signals) -> None:
    """Ask for the end once standard input ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    signals.asked.set()


def _first_line() -> bytes:
    """Return the first line of standard input, and take no byte of what comes behind it."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(0, 1)):
        line += byte
    return line


def main() -> int:
    """Serve what standard input says."""
    serving = Serving.of(json.loads(_first_line()))
    try:
        return asyncio.run(work(serving))
    except UsageError as error:
        tell("wrong", text=str(error))
        return 2


if __name__ == "__main__":
    sys.exit(main())
