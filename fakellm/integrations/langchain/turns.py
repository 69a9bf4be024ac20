"""The calls of a batch ask for their replies in the order of its inputs, in whichever order they come to ask."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any


class Gate:
    """An event for threads, which only its owner sets: a lock, which costs a fraction of a `threading.Event`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._is_set = False

    def set(self) -> None:
        """Let those go on that wait. Who waits holds the lock for a moment, so whether it is held says nothing."""
        if not self._is_set:
            self._is_set = True
            self._lock.release()

    def wait(self) -> None:
        """Wait in a thread."""
        with self._lock:
            pass


class Turn:
    """The place of a call in a batch: it asks for its reply after those before it, or when they are over."""

    def __init__(self, before: Turn | None, over: Gate | asyncio.Event) -> None:
        self.before = before
        self.over = over
        self.is_claimed = False

    def _earlier(self) -> Iterator[Turn]:
        """Yield the turns to wait for: a turn that has waited stands for all before it."""
        turn = self.before
        while turn is not None:
            yield turn
            turn = turn.before
        self.before = None

    def wait(self) -> None:
        """Wait in a thread until it is this call's turn."""
        for turn in self._earlier():
            turn.over.wait()

    async def await_(self) -> None:
        """Wait in a task until it is this call's turn."""
        for turn in self._earlier():
            await turn.over.wait()  # type: ignore[misc]

    def end(self) -> None:
        """Let the next call ask."""
        self.over.set()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let the model that is called inside the block claim the turn; it is over when the block is left."""
        token = _turn.set(self)
        try:
            yield
        finally:
            _turn.reset(token)
            self.end()


_turn: ContextVar[Turn | None] = ContextVar("fakellm_langchain_turn", default=None)


def claimed_turn() -> Turn | None:
    """Return the turn of the call that is made here, where it is one of a batch and has not asked yet."""
    turn = _turn.get()
    if turn is None or turn.is_claimed:
        return None
    turn.is_claimed = True
    return turn


class InTurn:
    """An input of a batch, with its turn."""

    def __init__(self, input: Any, turn: Turn) -> None:
        self.input = input
        self.turn = turn


def in_turns(inputs: Iterable[Any], event: type[Gate | asyncio.Event]) -> list[Any]:
    """Return the inputs of a batch with their turns. `event` is the kind of event that those wait for who call."""
    turn = None
    waiting = []
    for one in inputs:
        turn = Turn(turn, event())
        waiting.append(InTurn(one, turn))
    return waiting
