"""What of the machine's time modules hold under a name of their own, in place of which a clock stands too.

`patched` replaces the functions of the module `time`, which reaches code that says `time.sleep(...)`. A module that
said `from time import sleep` holds the function itself, and `datetime.now()` reads the time in C. So the names of all
modules that are loaded are looked through, and those that hold one of these get what the clock of the thread is asked
by. The class `datetime` is replaced only where there is something to wait with, as in what computes the seconds until a
date: elsewhere it says what type a field has.

An event loop that code makes by itself, as `asyncio.run` does, is one in the clock's time.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from threading import Thread, current_thread
from types import ModuleType
from typing import Any, Self

from fakellm.clock.clock import VirtualClock
from fakellm.clock.machine_time import READS, originals
from fakellm.clock.virtual_loop import VirtualLoop

_LEFT = {*sys.stdlib_module_names, "_pytest", "fakellm", "hypothesis", "pluggy", "pydantic", "pytest", "trio", "xdist"}
"""Packages that keep the machine's time: they measure, or have a clock of their own."""
_WAITING = {"anyio", "asyncio", "random", "time", "trio"}
"""What a module holds that waits."""
_datetime = dt.datetime


class _Kind(type(_datetime)):  # type: ignore[misc]
    """Lets any `datetime` count as one of the class that stands in for it."""

    def __instancecheck__(cls, thing: object) -> bool:
        return isinstance(thing, _datetime)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, _datetime)


class _Datetime(_datetime, metaclass=_Kind):
    """`datetime`, whose present is that of `time.time()`; what it makes are plain ones."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return _datetime(*args, **kwargs)

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Any:
        return _datetime.fromtimestamp(time.time(), tz)

    @classmethod
    def today(cls) -> Any:
        return _datetime.fromtimestamp(time.time())

    @classmethod
    def utcnow(cls) -> Any:
        return _datetime.fromtimestamp(time.time(), dt.UTC).replace(tzinfo=None)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Let a field of this type be what it is of the original."""
        return handler(_datetime)


class NamesReached:
    """Lets modules that took names of the machine's time ask the clock of the thread, inside the block.

    To be used where `patched` is on; where a thread has no clock, they keep the machine's time. `look` looks at the
    modules that were loaded since: what imports a library is often the code that runs in the block.
    """

    def __init__(self) -> None:
        module = ModuleType("datetime")
        vars(module).update(vars(dt), datetime=_Datetime)
        taken = originals()
        self._stand_ins: dict[int, Any] = {id(original): getattr(time, name) for name, original in taken.items()}
        self._stand_ins |= {id(_datetime): _Datetime, id(dt): module}
        self._originals: dict[int, Any] = {id(getattr(time, name)): original for name, original in taken.items()}
        self._originals |= {id(_Datetime): _datetime, id(module): dt}
        self._looked: set[str] = set()

    def __enter__(self) -> Self:
        self.look()
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._looked:
            if isinstance(module := sys.modules.get(name), ModuleType):
                _exchange(vars(module), self._originals)

    def look(self) -> None:
        """Look at the modules that were loaded since the last look."""
        waiting, without_dates = _waiting(), _without_dates(self._stand_ins)
        for name in [name for name in sys.modules if name not in self._looked]:
            if name.partition(".")[0] in _LEFT:
                continue
            self._looked.add(name)
            if isinstance(module := sys.modules.get(name), ModuleType):
                names = vars(module)
                waits = not waiting.isdisjoint(map(id, list(names.values())))
                _exchange(names, self._stand_ins if waits else without_dates)


def _without_dates(stand_ins: dict[int, Any]) -> dict[int, Any]:
    return {known: value for known, value in stand_ins.items() if known not in (id(_datetime), id(dt))}


def _exchange(names: dict[str, Any], others: dict[int, Any]) -> None:
    """Put others in place of what a module holds."""
    for key, value in list(names.items()):
        if (other := others.get(id(value))) is not None:
            names[key] = other


def _waiting() -> set[int]:
    """Return the ids of all that a module may hold to wait with.

    By their ids, since what modules hold is not to be asked anything: a stand-in loads what it stands for when it is
    asked for its class, and those in the module `openai` make a client first.
    """
    functions = [function for name in ("sleep", *READS) for function in (originals().get(name), getattr(time, name))]
    modules = [sys.modules.get(name) for name in _WAITING]
    return {id(thing) for thing in (*functions, *modules) if thing is not None}


@contextmanager
def loops_made_in(clock: VirtualClock, others: Collection[Thread]) -> Iterator[None]:
    """Let the event loops that are made, by `asyncio.run` and the like, run in the clock's time; not in `others`."""
    original = asyncio.events.new_event_loop

    def new_event_loop() -> asyncio.AbstractEventLoop:
        return original() if current_thread() in others else VirtualLoop(clock)

    asyncio.events.new_event_loop = asyncio.new_event_loop = new_event_loop
    try:
        yield
    finally:
        asyncio.events.new_event_loop = asyncio.new_event_loop = original
