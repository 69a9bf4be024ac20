"""One try of the code under test: what it returned or raised, or that it hangs.

Asynchronous code is run in virtual time, where a wait takes no real time and a wait for nothing is a deadlock that
names its tasks. Synchronous code runs where it is called, so that what belongs to a thread stays usable; a watchdog
interrupts it after so many real seconds, which only matters where it hangs.
"""

from __future__ import annotations

import inspect
import signal
import sys
import threading
import traceback
from collections.abc import AsyncIterable, Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from fakellm.clock.clock import VirtualClock
from fakellm.concurrency import closing
from fakellm.errors import UnexpectedCallError, clip

PATIENCE = 60.0
"""Real seconds after which synchronous code is taken to hang."""


class HangError(AssertionError):
    """The code under test waits for something that never comes. The message says where."""


class DeadlockError(HangError):
    """The same of an event loop, in which every task waits."""


class _Bark(BaseException):
    """Interrupts synchronous code that hangs; not an `Exception`, so that the code does not take it for its own."""


@dataclass
class Attempt:
    """What a try came to: a `value`, or an `error`. `shown` are the items that a stream gave before that."""

    value: Any = None
    error: BaseException | None = None
    shown: list[Any] = field(default_factory=list)

    @property
    def hangs(self) -> bool:
        """Whether it was ended because it waits for ever."""
        return isinstance(self.error, HangError)

    def __str__(self) -> str:
        if self.error is None:
            return f"returned {clip(repr(self.value), 200)}"
        first = str(self.error).strip()
        return f"{type(self.error).__name__}: {clip(first, 600)}" if first else type(self.error).__name__

    def same_as(self, other: Attempt) -> bool:
        """Tell whether both ended in the same way."""
        mine, its = (type(a.error) for a in (self, other))
        return mine is its and bool(self.shown == other.shown) and bool(self.value == other.value)


def attempt(call: Callable[[], Any], *, patience: float = PATIENCE, clock: VirtualClock | None = None) -> Attempt:
    """Call, wait for what is awaitable, read what is a stream to its end; return what that came to.

    What is no result of the code under test (`KeyboardInterrupt`, pytest's skip) is raised. `clock` is that of the
    event loop, by default a new one.
    """
    found = Attempt()
    try:
        with watchdog(patience):
            found.value = _finished(call(), found.shown, clock)
    except HangError as error:
        found.error = error
    except _caught() as error:
        if _is_outcome_of_pytest(error):
            raise
        found.error = error
    return found


def _caught() -> tuple[type[BaseException], ...]:
    """Return what code under test, and a test, may raise."""
    pytest = sys.modules.get("pytest")
    return (Exception, UnexpectedCallError, *((pytest.fail.Exception,) if pytest else ()))


def _is_outcome_of_pytest(error: BaseException) -> bool:
    pytest = sys.modules.get("pytest")
    return pytest is not None and isinstance(error, (pytest.skip.Exception, pytest.xfail.Exception))


def _finished(value: Any, shown: list[Any], clock: VirtualClock | None) -> Any:
    """Wait for a result, and read it if it is a stream; of a stream the result is the list of its items."""
    if inspect.isawaitable(value) or isinstance(value, AsyncIterable):
        return _run_async(value, shown, clock)
    if isinstance(value, Iterator):
        with closing(value):
            for item in value:
                shown.append(item)  # noqa: PERF402 - one by one: what came before an error counts
        return list(shown)
    return value


def _run_async(value: Any, shown: list[Any], clock: VirtualClock | None) -> Any:
    """Await a value, or read an asynchronous stream, in virtual time. Raises `HangError` if it waits for ever."""
    import asyncio

    from fakellm.clock.blocked import VirtualDeadlockError, WatchdogError
    from fakellm.clock.virtual_loop import run

    async def main() -> Any:
        asyncio.get_running_loop().set_exception_handler(_unless_never_retrieved)
        result = await value if inspect.isawaitable(value) else value
        if not isinstance(result, AsyncIterable):
            return result
        async with closing(result):
            async for item in result:
                shown.append(item)  # noqa: PERF401 - one by one
        return list(shown)

    coroutine = main()
    coroutine.__qualname__ = "the code under test"  # type: ignore[attr-defined]
    try:
        return run(coroutine, clock=clock)
    except VirtualDeadlockError as error:
        raise DeadlockError(str(error)) from None
    except WatchdogError as error:
        raise HangError(str(error)) from None


def _unless_never_retrieved(loop: Any, context: dict[str, Any]) -> None:
    """Log what asyncio logs, but for errors that nobody looked at: a sweep makes many, and judges what they lead to."""
    if not str(context.get("message")).endswith("never retrieved"):
        loop.default_exception_handler(context)


# -- synchronous code that hangs --------------------------------------------------------------------------


class watchdog:  # noqa: N801 - reads as a word at its uses
    """Raise `HangError` in the block, if it is left later than after `patience` real seconds.

    It is an alarm of the operating system's, since a thread that watches would keep a virtual clock from jumping. It
    works in the main thread of a system that has such alarms; elsewhere, or where somebody else's alarm comes first,
    the block is not watched.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._place = ""
        self._is_set = False

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
            return
        self._others = signal.getitimer(signal.ITIMER_REAL)
        self._is_set = not 0 < self._others[0] < self._patience
        if self._is_set:
            self._handler = signal.signal(signal.SIGALRM, self._bark)
            signal.setitimer(signal.ITIMER_REAL, self._patience)

    def _bark(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a handler of signals
        self._place = _where(frame)
        raise _Bark

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._is_set:
            self._put_back()
        if isinstance(error, _Bark):
            msg = f"no result after {self._patience:g} s of real time; it waits at:\n{self._place}"
            raise HangError(msg) from None

    def _put_back(self) -> None:
        """Let somebody else's alarm, if there was one, come when it would have come."""
        left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._handler)
        others, interval = self._others
        if others:
            signal.setitimer(signal.ITIMER_REAL, max(others - (self._patience - left), 1e-6), interval)


def _where(frame: FrameType | None) -> str:
    """Word where a thread is, the innermost three frames."""
    frames = traceback.extract_stack(frame)[-3:] if frame else []
    return "\n".join(f"{f.name} ({f.filename.rpartition('/')[2]}:{f.lineno}): {f.line}" for f in frames)
