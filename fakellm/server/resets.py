"""Connections that are reset, which asyncio only closes or aborts."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from typing import Any

_RESET = struct.pack("ii", 1, 0)
_BEFORE_RESET = 0.001
"""Seconds between two looks whether the peer has what was sent: a reset would overtake it."""


def reset(transport: asyncio.Transport) -> None:
    """Reset a connection once the peer has what was sent before: what it has not read yet would be lost else."""
    if transport.is_closing():
        return
    sock = transport.get_extra_info("socket")
    if transport.get_write_buffer_size() or _unsent(sock):
        asyncio.get_running_loop().call_later(_BEFORE_RESET, reset, transport)
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


def _unsent(sock: Any) -> int:
    """Return how many bytes the peer has not acknowledged; where the system does not tell, none."""
    try:
        return struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]  # type: ignore[no-any-return]
    except OSError:
        return 0
