"""How a check is run: asynchronous code in both flavours, which cannot hang the run.

The synchronous flavour is driven by hand, in a thread of its own, so that a stream that hangs fails the check; the
asynchronous one runs on a loop of virtual time, where a wait takes no real time, and a stream that waits for nobody, or
again and again, has a bound.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Coroutine
from threading import Thread
from typing import Any

from fakellm.clock.blocked import describe_tasks, own_frames
from fakellm.contracts.verdicts import broken
from fakellm.errors import ContractUsageError

Checking = Callable[[], Coroutine[Any, Any, Any]]
_PATIENCE = 20.0  # real seconds; only a stream that hangs takes them
_IMPATIENCE = 1.0  # once one has
_LONGEST = 100_000.0  # virtual seconds of one check


class HangError(AssertionError):
    """A stream did not come back."""


def arun(check: Checking, name: str) -> Any:
    """Run asynchronous code on a loop of virtual time."""
    from fakellm.clock.virtual_loop import run

    return run(_bounded(check, name))


async def _bounded(check: Checking, name: str) -> Any:
    """Run a check, but not for ever: what waits for nobody, or again and again, is named after a long virtual time.

    What the subject's garbage says when the loop is closed is not printed; the verdict says it.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    checking: Any = asyncio.current_task()
    waiting: list[str] = []

    def give_up() -> None:
        waiting.extend(describe_tasks(loop))
        checking.cancel()

    limit = loop.call_later(_LONGEST, give_up)
    try:
        return await check()
    except asyncio.CancelledError:
        if not waiting:
            raise
        what = f"the stream waits for something that nobody does: after {_LONGEST:g} s it waits still"
        raise broken(name, what, ("waiting", "\n".join(waiting))) from None
    finally:
        limit.cancel()


def by_hand(check: Checking, name: str, *, patient: bool) -> Any:
    """Drive a coroutine that never waits, in a thread of its own. Raises `HangError` if it does not come back."""
    outcome: list[Any] = []
    errors: list[BaseException] = []

    def drive() -> None:
        coroutine = check()
        try:
            coroutine.send(None)
        except StopIteration as stop:
            outcome.append(stop.value)
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            errors.append(error)
        else:
            coroutine.close()
            errors.append(ContractUsageError("a synchronous stream returned something that has to be awaited"))

    thread = Thread(target=drive, name=f"contract {name}", daemon=True)
    thread.start()
    thread.join(_PATIENCE if patient else _IMPATIENCE)
    if thread.is_alive():
        raise HangError(f"it did not come back from {_where(thread)}")
    if errors:
        raise errors[0]
    return outcome[0]


def _where(thread: Thread) -> str:
    """Word the innermost line of the subject's own code in which a thread is."""
    innermost = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - documented
    if innermost is None:
        return "its last step"
    frames = [frame for frame, _ in traceback.walk_stack(innermost)]
    place = traceback.extract_stack((own_frames(frames) or frames)[0], limit=1)[0]
    return f"line {place.lineno} of {place.name}: {place.line}"
