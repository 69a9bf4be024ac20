"""What is shown of sweeps: how many cases ran, under `-v`, and on a terminal how far a long one is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from time import monotonic
from typing import Any

import pytest

_PROPERTY = "llm_sweep"
_PATIENCE, _PAUSE = 2.0, 0.2
_SAVE, _RESTORE, _ERASE = "\x1b7", "\x1b8", "\x1b[K"
"""Of a terminal: keep the place of the cursor, go back to it, erase the line from there."""


@contextmanager
def watched(item: Any) -> Iterator[None]:
    """Show on a terminal how far a sweep is, and note at its end how many cases ran."""
    progress: Any = item.obj.sweep_progress
    line = progress.watch = _line_of(item.config)
    try:
        yield
    finally:
        progress.watch = None
        if line is not None:
            line.erase()
        item.user_properties.append((_PROPERTY, str(progress)))


def word_of(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Return how the terminal is to word the report of a sweep that passed."""
    if not report.passed or hasattr(report, "wasxfail"):
        return None
    said = dict(report.user_properties).get(_PROPERTY)
    return ("passed", ".", f"PASSED ({said})") if said else None


def _line_of(config: pytest.Config) -> Line | None:
    reporter: Any = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None or not getattr(reporter, "isatty", False):
        return None
    capture: Any = config.pluginmanager.getplugin("capturemanager")

    def write(text: str) -> None:
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            sys.stdout.write(text)
            sys.stdout.flush()

    terminal = reporter._tw  # noqa: SLF001 - as most plugins that write to the terminal
    return Line(write, lambda: terminal.fullwidth - terminal.width_of_current_line - 1)


class Line:
    """What stands behind the cursor while a sweep takes longer than two seconds; `room` returns how wide it may be."""

    def __init__(
        self, write: Callable[[str], None], room: Callable[[], int], now: Callable[[], float] = monotonic
    ) -> None:
        self._write = write
        self._room = room
        self._now = now
        self._next = now() + _PATIENCE
        self._is_shown = False

    def __call__(self, progress: object) -> None:
        """Show how far the sweep is, not more often than five times a second."""
        if (now := self._now()) < self._next:
            return
        self._next, self._is_shown = now + _PAUSE, True
        self._write(f"{_SAVE}{_ERASE}{f' {progress}'[: max(self._room(), 0)]}{_RESTORE}")

    def erase(self) -> None:
        """Take it away."""
        if self._is_shown:
            self._write(_ERASE)
