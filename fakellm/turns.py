"""Whose turn it is in an asyncio loop: other tasks run before each chunk of a stream, where there is anything to run.

A stream from a network lets others run before each chunk, since it waits for a socket; a fake has to do so too, or code
that forgets to would pass its tests. `asyncio.sleep(0)` does, and costs a round of the event loop with a system call:
a tenth of what an official SDK makes of a chunk. Mostly nobody else is there. So it is looked first whether anything
could run in such a round: a callback that is ready, a timer that is due, a file descriptor beside the loop's own, a
cancellation of this very task. If not, nobody can tell that there was no round, but for one: a signal reaches the loop
through a pipe that a round reads. So every so many turns are real anyway.

What is looked at are attributes of asyncio's own loops that have had these names since Python 3.4. A loop without them
(uvloop, Windows' proactor) gets its round each time.
"""

from __future__ import annotations

import asyncio
from asyncio import current_task
from collections.abc import Awaitable, Callable
from typing import Any

_REAL = 64
"""Of so many turns one is a round of the loop, whatever there is to see. A power of two."""


def turns(loop: Any) -> Callable[[], Awaitable[None] | None]:
    """Return what lets others run in a loop: called, it returns what is to be awaited, None where a round does nothing.

    It is called for every chunk of every stream, so it is a function over cells, which take half the time that
    attributes do.
    """
    sleep, files = asyncio.sleep, _files_of(loop)
    if files is None:
        return lambda: sleep(0)
    ready, count, last = loop._ready, 0, _REAL - 1  # noqa: SLF001 - see above

    def turn() -> Awaitable[None] | None:
        nonlocal count
        count += 1
        if (
            count & last
            and not ready
            and len(files) == 1  # the loop's own pipe
            and not ((timers := loop._scheduled) and timers[0].when() <= loop.time())  # noqa: SLF001
            and (task := current_task(loop)) is not None
            and not task.cancelling()
        ):
            return None
        return sleep(0)

    return turn


def _files_of(loop: Any) -> Any:
    """Return the file descriptors that a loop waits for; None where that cannot be known."""
    if not (hasattr(loop, "_ready") and hasattr(loop, "_scheduled")):
        return None
    return getattr(getattr(loop, "_selector", None), "_fd_to_key", None)
