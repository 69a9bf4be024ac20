"""Copies of a fake: what of it travels, and what each copy has of its own."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from fakellm.clock.clock import Clock, InstantClock
from fakellm.models.models import FakeModel


def packed(fake: FakeModel[Any]) -> tuple[type[FakeModel[Any]], Clock | None, dict[str, Any]]:
    """Return what a fake is made of: its kind, its clock if it was given one, and its state."""
    made_anew = ("_lock", "_playback", "clock")
    state = {name: value for name, value in vars(fake).items() if name not in made_anew}
    return type(fake), None if type(fake.clock) is InstantClock else fake.clock, state


def unpacked(kind: type[FakeModel[Any]], clock: Clock | None, state: dict[str, Any]) -> FakeModel[Any]:
    """Return a fake of what `packed` gave."""
    fake = kind(clock=clock)
    vars(fake).update(state)
    return fake


def twin(fake: FakeModel[Any], memo: dict[int, Any] | None) -> FakeModel[Any]:
    """Return a fake with the same replies and log, on the same clock."""
    kind, _, state = packed(fake)
    return unpacked(kind, fake.clock, deepcopy(state, memo))
