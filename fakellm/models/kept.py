"""A log that may let go of what is old: a list that knows how much is gone, so that numbers go on being right."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


class Kept(list[T]):
    """What is left of a log. `gone` counts what was let go; by itself nothing is."""

    gone: int = 0

    @property
    def total(self) -> int:
        """How many there were, those that are gone among them."""
        return self.gone + len(self)

    def let_go(self, place: int = 0) -> T:
        """Let go of what stands at a place, and return it."""
        self.gone += 1
        return self.pop(place)

    def let_go_of(self, item: T) -> None:
        """Let go of an item, if it is there: it is looked for from the oldest on."""
        for place, one in enumerate(self):
            if one is item or one == item:
                self.let_go(place)
                return
