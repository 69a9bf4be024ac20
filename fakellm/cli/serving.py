"""Serves in this process, until a signal, or until the command behind `--` ends."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from fakellm.cli.child import Child
from fakellm.cli.config import Serving
from fakellm.cli.saying import Voice
from fakellm.cli.seen import Seen
from fakellm.cli.wording import UsageError
from fakellm.server.server import Server, environment

FOUND = 3
"""The exit code where a request found no reply, or a reply was never asked for."""


_SIGNALLED = 128
"""What a signal's number is added to, where it ended a command."""


class Signals:
    """Takes SIGINT and SIGTERM: the first asks for an orderly end, the second for one at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()
        self.child: Child | None = None
        self.first: int | None = None
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._take, number)

    def _take(self, number: int) -> None:
        self.first = self.first or number
        (self.hurried if self.asked.is_set() else self.asked).set()
        # At a terminal Ctrl-C reaches the whole group, the child among it; twice would be once too often.
        if self.child is not None and not (number == signal.SIGINT and os.isatty(0)):
            self.child.take(number)


async def until_done(
    signals: Signals,
    command: Sequence[str] | None,
    variables: Mapping[str, str],
    failing: asyncio.Future[int] | None = None,
) -> int:
    """Run the command, if there is one; return its exit code, or 0 after a signal."""
    asked = asyncio.ensure_future(signals.asked.wait())
    if command is None:
        waited: set[asyncio.Future[Any]] = {asked, *([failing] if failing else [])}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        return failing.result() if failing is not None and failing.done() else 0
    if signals.first is not None:
        return _SIGNALLED + signals.first
    child = await Child.begun(command, variables)
    if isinstance(child, int):
        return child
    signals.child = child
    if signals.first is not None:  # it came when there was no child yet that it could have reached
        child.take(signals.first)
    code = await child.ended()
    signals.child = None
    asked.cancel()
    return code


async def drained(server: Server, signals: Signals, grace: float) -> bool:
    """Let what is played end, for so long, or until a second signal. Return whether all of it did."""
    ending = asyncio.ensure_future(server.drain(grace))
    hurried = asyncio.ensure_future(signals.hurried.wait())
    await asyncio.wait({ending, hurried}, return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    is_whole = ending.done() and ending.result()
    ending.cancel()
    return is_whole


async def serve(serving: Serving, command: Sequence[str] | None) -> int:
    """Serve in this process; return the exit code. Raises `UsageError`."""
    voice = Voice(serving, has_command=command is not None)
    server = serving.server(voice.note)
    signals = Signals()
    async with listening(server):
        voice.ready(server.url, base_urls(server), pid=os.getpid())
        code = await until_done(signals, command, environment(server))
        is_whole = await drained(server, signals, serving.grace)
    seen = Seen.at(server)
    voice.stopped(seen, is_whole=is_whole)
    return verdict(code, seen, has_command=command is not None)


def verdict(code: int, seen: Seen, *, has_command: bool) -> int:
    """Return the exit code: the command's, and where that says that all is well, whether it is."""
    return FOUND if has_command and code == 0 and not seen.is_clean else code


def base_urls(server: Server) -> dict[str, str]:
    """Return what the SDK of each provider is given as its base URL."""
    return {provider.name: server.base_url(provider.name) for provider in server.providers}


class listening:  # noqa: N801 - a block
    """A server's own block, in which an address that cannot be had is a wrong use."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def __aenter__(self) -> Server:
        try:
            return await self._server.__aenter__()
        except (OSError, OverflowError) as error:
            raise UsageError(unheard(self._server.host, self._server.port, error)) from error

    async def __aexit__(self, *error: object) -> None:
        await self._server.__aexit__(*error)


def unheard(host: str, port: int, error: Exception) -> str:
    """Word why nothing can be heard at an address."""
    number = getattr(error, "errno", None) or 0
    why = os.strerror(number) if number > 0 else getattr(error, "strerror", None) or str(error)
    return f"cannot listen on port {port} of {host}: {why}\n  to do:     --port 0 takes a free one"
