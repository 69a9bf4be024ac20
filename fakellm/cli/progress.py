"""A bar on a terminal for what takes longer than people wait without a word."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Self, TextIO

_AFTER = 2.0
"""Seconds that nothing is said."""
_EVERY = 0.1
_WIDTH = 30


class Progress:
    """Counts steps, and shows them on standard error once two seconds have passed, if that is a terminal.

    `total` is how many there are, None where nobody knows.
    """

    def __init__(
        self, what: str, total: int | None, *, stream: TextIO | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._what = what
        self._total = total
        self._stream = stream or sys.stderr
        self._now = now
        self._begun = self._shown = now()
        self._done = self._drawn = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._drawn:
            self._stream.write(f"\r{'':{self._drawn}}\r")
            self._stream.flush()

    def seen(self, one: object = None, *, count: int | None = None) -> None:  # noqa: ARG002 - whatever it is
        """Count one more, or so many in all."""
        self._done = self._done + 1 if count is None else count
        now = self._now()
        if now - self._begun < _AFTER or now - self._shown < _EVERY or not self._stream.isatty():
            return
        self._shown = now
        line = f"{self._done:,} {self._what}"
        if self._total is not None:
            filled = self._done * _WIDTH // max(self._total, 1)
            line = f"[{'#' * filled}{'-' * (_WIDTH - filled)}] {self._done} of {self._total} {self._what}"
        self._stream.write(f"\r{line}")
        self._stream.flush()
        self._drawn = len(line)
