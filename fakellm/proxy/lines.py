"""Connections to upstreams, which are kept for the next request once an answer is whole.

A client of a provider keeps its connections, so that only its first request waits for TCP and TLS. One that asks
through the proxy keeps those to the proxy; so the proxy has to keep its own, or each request would come later than
directly by two round trips or three.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import Callable
from functools import cached_property
from typing import Protocol, cast

from fakellm.proxy.upstreams import Place

_KEPT = 4.0
"""Seconds for which a connection waits for the next request; servers close theirs after five at the earliest."""
_CONNECT = 10.0
"""Seconds for a connection to be made."""
_NUMBER = re.compile(r"\[Errno (\d+)\]")


class Reader(Protocol):
    """Who reads from a connection."""

    def came(self, data: bytes) -> None:
        """Take bytes."""

    def ended(self, error: Exception | None) -> None:
        """Take that there are no more: in order (None), or because the connection broke."""


class Line(asyncio.Protocol):
    """A connection to an upstream. `reader` is given what comes; without one it waits for the next request."""

    def __init__(self, gone: Callable[[Line], None]) -> None:
        self.reader: Reader | None = None
        self.is_used = False
        self.transport: asyncio.Transport
        self.timer: asyncio.TimerHandle | None = None
        self._gone = gone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand bytes on; those that nobody asked for end the connection."""
        if self.reader is None:
            self.close()
        else:
            self.reader.came(data)

    def eof_received(self) -> None:
        """Take that the upstream sends no more."""
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take that the connection is gone."""
        self._end(exc)

    def _end(self, error: Exception | None) -> None:
        self._gone(self)
        reader, self.reader = self.reader, None
        if reader is not None:
            reader.ended(error)

    def close(self) -> None:
        """Close it at once, whatever is still on its way."""
        self._gone(self)
        self.reader = None
        self.transport.abort()


class Lines:
    """The connections of a proxy."""

    def __init__(self) -> None:
        self._idle: dict[Place, list[Line]] = {}
        self._open: set[Line] = set()

    def take(self, place: Place) -> Line | None:
        """Return a connection that was kept, the one that was used last."""
        waiting = self._idle.get(place)
        while waiting:
            line = waiting.pop()
            if line.timer is not None:
                line.timer.cancel()
            if not line.transport.is_closing():
                return line
        return None

    def keep(self, place: Place, line: Line) -> None:
        """Keep a connection for the next request."""
        line.reader, line.is_used = None, True
        self._idle.setdefault(place, []).append(line)
        line.timer = asyncio.get_running_loop().call_later(_KEPT, line.close)

    async def dial(self, place: Place) -> Line:
        """Return a new connection. Raises `OSError`, of which those of TLS and of a time that ran out are some."""
        loop = asyncio.get_running_loop()
        context = self._context if place.is_secure else None
        async with asyncio.timeout(_CONNECT):
            _, line = await loop.create_connection(lambda: Line(self._forget), place.host, place.port, ssl=context)
        self._open.add(line)
        return line

    @cached_property
    def _context(self) -> ssl.SSLContext:
        """What checks certificates."""
        return trusted()

    def _forget(self, line: Line) -> None:
        self._open.discard(line)
        if line.timer is not None:
            line.timer.cancel()
        for waiting in self._idle.values():
            if line in waiting:
                waiting.remove(line)

    def close(self) -> None:
        """Close all."""
        for line in list(self._open):
            line.close()


def trusted() -> ssl.SSLContext:
    """Return what checks certificates: against those that the system trusts, and those that Python's clients do."""
    context = ssl.create_default_context()
    if not os.environ.get("SSL_CERT_FILE"):
        try:
            import certifi
        except ImportError:
            pass
        else:
            context.load_verify_locations(certifi.where())
    return context


def why_not(error: OSError) -> str:
    """Word why a connection could not be made."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or str(error)).replace('_', ' ').lower()}"
    if isinstance(error, TimeoutError):
        return f"no connection within {_CONNECT:g} seconds"
    if error.errno is None and (several := _NUMBER.search(str(error))):  # of a host with several addresses
        return os.strerror(int(several[1]))
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or str(error)
