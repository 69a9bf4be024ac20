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
from collections.abc import Awaitable, Generator
from typing import Any

_REAL = 32  # of so many turns one is a round of the loop


class _Nothing:
    """Is awaited in no time, and lets nobody run."""

    def __await__(self) -> Generator[Any, None, None]:
        return iter(())  # type: ignore[return-value]


_NOTHING = _Nothing()


class Turns:
    """Lets others run when it is called and awaited, in one loop."""

    __slots__ = ("_count", "_files", "_loop")

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._count = 0
        self._files = _files_of(loop)

    def __call__(self) -> Awaitable[None]:
        """Return what is to be awaited: a round of the loop, or nothing where a round could do nothing."""
        self._count += 1
        if self._count % _REAL and self._files is not None:
            loop, task = self._loop, current_task()
            timers = loop._scheduled  # noqa: SLF001 - see above
            others = (
                loop._ready  # noqa: SLF001
                or len(self._files) > 1  # the first is the loop's own pipe
                or (timers and timers[0].when() <= loop.time())
                or (task is None or task.cancelling())
            )
            if not others:
                return _NOTHING
        return asyncio.sleep(0)


def _files_of(loop: Any) -> Any:
    """Return the file descriptors that a loop waits for; None where that cannot be known."""
    if not (hasattr(loop, "_ready") and hasattr(loop, "_scheduled")):
        return None
    return getattr(getattr(loop, "_selector", None), "_fd_to_key", None)
