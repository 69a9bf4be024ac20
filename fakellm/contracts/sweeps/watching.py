"""A deadline for each time that a consumer is run, in the main thread of a process.

One alarm of the operating system's comes again and again, and looks whether the run that it saw last time still goes
on: a run costs two assignments, whether it takes microseconds or minutes. Elsewhere than in a main thread nothing is
watched; a process of its own, which can be killed, is what archives are swept in.
"""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Self

_LOOKS = 4
"""How often in the time that a run may take it is looked at."""


class Bark(BaseException):
    """Interrupts a consumer that hangs; no `Exception`, so that it does not take it for its own. Says where it was."""


class Watch:
    """Interrupts a run of a consumer that takes longer than `patience` real seconds.

    `count` is how many runs there were; `beat`, if there is one, is called between two runs, some times a deadline.
    """

    def __init__(self, patience: float, beat: Callable[[], None] | None = None) -> None:
        self.count = 0
        self.running = False
        self._patience = patience
        self._beat = beat
        self._seen = self._looks = 0
        self._is_set = self.due = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
            self._handler = signal.signal(signal.SIGALRM, self._look)
            signal.setitimer(signal.ITIMER_REAL, self._patience / _LOOKS, self._patience / _LOOKS)
            self._is_set = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_set:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._handler)

    def _look(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a handler of signals
        if self.count != self._seen or not self.running:
            self._seen, self._looks, self.due = self.count, 0, True
            return
        self._looks += 1
        if self._looks >= _LOOKS:
            self._looks = 0
            raise Bark(_where(frame))

    def begin(self) -> None:
        """Begin a run."""
        if self.due and self._beat is not None:
            self.due = False
            self._beat()
        self.count += 1
        self.running = True


def _where(frame: FrameType | None) -> str:
    """Word where a thread is: the innermost frame that is of no library, else the innermost."""
    from fakellm.contracts.sweeps.causes import is_library

    frames = traceback.extract_stack(frame) if frame else []
    own = [one for one in frames if not is_library(one.filename)] or frames
    return f"at {Path(own[-1].filename).name}:{own[-1].lineno}, in {own[-1].name}" if own else ""
