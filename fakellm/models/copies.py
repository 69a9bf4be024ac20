"""Copies of a fake: what of it they share, and what each has of its own."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from threading import RLock
from typing import Any, Self, TypeVar

from fakellm.clock.clock import Clock, checked, unless_instant
from fakellm.models.kept import Kept
from fakellm.models.replies import Replies

_SHARED = ("clock", "profile", "service")
_LOG = ("_lock", "_promises", "calls", "misses")
_OWN = ("_lock", "_playback", "_promises", "_replies", "calls", "misses")

Fake = TypeVar("Fake", bound="Copyable")


class Copyable:
    """A fake that can be copied and pickled.

    A copy was told the same and is as far: a reply that was used is used in the copy too, and from there on neither
    influences the other. Its log is its own, and begins empty. `copy.copy` and `copy.deepcopy` share the clock, since
    time is one for all who wait on it, and scripts and exceptions, which do not change; `deepcopy` copies what else a
    fake was told, such as a function that is an object with a state. A pickle takes the log along, and
    an `InstantClock` begins anew.
    """

    clock: Clock
    calls: Kept[Any]
    misses: Kept[Any]
    _replies: Replies

    def _begin(self) -> None:
        """Set what every fake has of its own."""
        self.calls = Kept()
        self.misses = Kept()
        self._lock = RLock()

    def _unasked(self) -> None:
        """Forget what was counted of the calls."""

    def __copy__(self) -> Self:
        """Return a fake of its own that was told the same and is as far."""
        return self._copied(None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a fake of its own that was told the same and is as far, with copies of what is no value."""
        return self._copied(memo)

    def _copied(self, memo: dict[int, Any] | None) -> Self:
        other = object.__new__(type(self))
        with self._lock:
            replies = self._replies.copied()
        state = {name: value for name, value in vars(self).items() if name not in _OWN}
        if memo is not None:
            memo[id(self)] = other
            memo.update((id(state[name]), state[name]) for name in _SHARED if name in state)
            state = deepcopy(state, memo)
            replies.deepen(memo)
        vars(other).update(state, _replies=replies)
        other._begin()
        return other

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle has of the fake: all but the lock, and an `InstantClock`."""
        state = {name: value for name, value in vars(self).items() if name not in ("_lock", "_playback", "_promises")}
        return {**state, "clock": unless_instant(self.clock)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make the fake anew of what a pickle had of it."""
        vars(self).update(state, clock=checked(state["clock"]))
        self._begin()
        vars(self).update(calls=state["calls"], misses=state["misses"])


def unasked(fake: Fake, keep: Callable[[Any], bool] = bool) -> Fake:
    """Return a deep copy of a fake that was told the same, of its replies those to keep, and was asked nothing."""
    other = deepcopy(fake)
    other._replies.rewind(keep)  # noqa: SLF001 - of this file's class
    other._unasked()  # noqa: SLF001 - likewise
    return other


def begin_again(fake: Fake, told: Fake) -> None:
    """Let a fake know what another of its kind, which is not used any more, was told, and forget what it was asked."""
    _take(fake, told, ("_lock",))


def tell_again(fake: Fake, told: Fake) -> None:
    """Let a fake know what another of its kind, which is not used any more, was told; its log goes on."""
    _take(fake, told, _LOG)


def _take(fake: Fake, told: Fake, but: tuple[str, ...]) -> None:
    with fake._lock:  # noqa: SLF001 - of this file's class
        vars(fake).update((name, value) for name, value in vars(told).items() if name not in but)


def let_go(fake: Copyable, call: Any) -> None:
    """Let a fake forget a call, but that it was: what counts calls goes on from where it is."""
    with fake._lock:  # noqa: SLF001 - of this file's class
        fake.calls.let_go_of(call)
        if call.reply is not None and len(call.reply.calls) > 1:
            call.reply.calls.let_go_of(call.number)
