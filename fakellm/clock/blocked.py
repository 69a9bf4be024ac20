"""Who waits, and where: tasks and timers of asyncio, worded."""

from __future__ import annotations

import asyncio
import gc
import re
import sys
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

WATCHDOG = 60.0
"""Seconds of real time that a run in virtual time may take."""


class VirtualDeadlockError(AssertionError):
    """Every task waits, there is no timer, and nothing outside can wake the loop. Names the tasks and their lines."""


class WatchdogError(AssertionError):
    """A run in virtual time took too long in real time: it waits for something outside, or its timers never end."""


def deadlock_at(now: float, tasks: list[str]) -> str:
    """Word a deadlock."""
    headline = f"deadlock at {now:g} s of virtual time: every task waits, and nothing will ever wake one"
    remedy = "  to do:     look for what they wait for: who should set, put, send, release or close it, and does not?"
    return f"{listed(headline, tasks)}\n{remedy}"


def overdue(limit: float, now: float, outside: list[str], tasks: list[str]) -> str:
    """Word that a run took longer than `limit` real seconds, and what it waits for outside, if for anything."""
    why = f"it waits for {', '.join(outside)}" if outside else "its timers never end"
    headline = f"a run in virtual time, at {now:g} s of it, took more than {limit:g} s of real time: {why}"
    return listed(headline, tasks)


def listed(headline: str, tasks: list[str]) -> str:
    """Word a headline and, below it, who waits."""
    return "\n".join([headline, *(f"  {'' if number else 'waiting:':<11}{task}" for number, task in enumerate(tasks))])


OWN = "of fakellm"
"""What the names of tasks end with that are no business of the code that runs."""
_AUTOMATIC = re.compile(r"Task-\d+")
_STEPS = ("async_generator_asend", "async_generator_athrow", "anext_awaitable", "coroutine_wrapper")
_WITH_FRAMES = ("async_generator", "coroutine", "generator")
_LIBRARIES = tuple({str(Path(asyncio.__file__).parent), sys.base_prefix, sys.prefix, str(Path(__file__).parents[1])})


def describe_tasks(loop: asyncio.AbstractEventLoop) -> list[str]:
    """Return each task that is not done: its name, its coroutine, and the line in which it waits.

    They come in the order of their names, and those that asyncio named are numbered from 1, so that the same run
    reads the same each time. Tasks of fakellm's own are left out.
    """
    tasks = [task for task in asyncio.all_tasks(loop) if not task.get_name().endswith(OWN)]
    numbers = count(1)
    found = sorted((_in_order(task.get_name()), task.get_name(), _doing(task)) for task in tasks)
    return [f"{f'Task-{next(numbers)}' if _AUTOMATIC.fullmatch(name) else name}: {doing}" for _, name, doing in found]


def _doing(task: asyncio.Task[Any]) -> str:
    return f"{name_of(task.get_coro())}, {where(task.get_coro())}"


def _in_order(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def name_of(coroutine: Any) -> str:
    """Return the name of a coroutine or function as its source has it."""
    return str(getattr(coroutine, "__qualname__", None) or type(coroutine).__name__)


def where(coroutine: Any) -> str:
    """Return file, line and function in which a suspended coroutine waits: the last that is not a library's."""
    frames = _frames_of(coroutine)
    if not frames:
        return "which has not started"
    frame = (own_frames(frames) or frames)[-1]
    line = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} in {frame.f_code.co_name}"
    return line if frame is frames[-1] else f"{line}, in {frames[-1].f_code.co_qualname}"


def _frames_of(coroutine: Any) -> list[FrameType]:
    """Return the frames of a suspended coroutine, the outermost first; asynchronous generators that it reads too."""
    frames: list[FrameType] = []
    while coroutine is not None:
        frame = _attribute(coroutine, "cr_frame", "gi_frame", "ag_frame")
        if frame is not None and not frame.f_code.co_filename.endswith("_traps.py"):  # trio's last step says nothing
            frames.append(frame)
        coroutine = _attribute(coroutine, "cr_await", "gi_yieldfrom", "ag_await") or _wrapped(coroutine)
    return frames


def _attribute(thing: Any, *names: str) -> Any:
    return next(filter(None, (getattr(thing, name, None) for name in names)), None)


def _wrapped(step: Any) -> Any:
    """Return what a step stands for that has no frame, such as `anext(stream)`: only the collector can look into it."""
    if type(step).__name__ not in _STEPS:
        return None
    inside = gc.get_referents(step)
    return next((thing for thing in inside if type(thing).__name__ in (*_STEPS, *_WITH_FRAMES)), None)


def own_frames(frames: list[FrameType]) -> list[FrameType]:
    """Return those of the frames that are not of a library."""
    return [frame for frame in frames if not frame.f_code.co_filename.startswith(_LIBRARIES)]


def describe_handle(handle: Any) -> str:
    """Return whom a timer wakes: the coroutine that waits in a task, or the function that is called."""
    callback, args = handle._callback, handle._args or ()  # noqa: SLF001
    for future in args[:1]:
        for waiter, _ in getattr(future, "_callbacks", None) or ():
            if isinstance(task := getattr(waiter, "__self__", None), asyncio.Task):
                own = own_frames(_frames_of(task.get_coro()))
                return own[-1].f_code.co_qualname if own else name_of(task.get_coro())
    return name_of(callback)
