"""How far a sweep is: what runs a test again and again says so, and whoever runs the tests can show it."""

from __future__ import annotations

from collections.abc import Callable


class Progress:
    """How many cases of a sweep ran, in words of its own: `faults`, `orders`, `chunkings`.

    `total` is how many there are, None where that is not known before. `watch`, if there is one, is called after each.
    A test that is swept has it as the attribute `sweep_progress`.
    """

    def __init__(self, cases: str) -> None:
        self.cases = cases
        self.done = 0
        self.total: int | None = None
        self.watch: Callable[[Progress], None] | None = None

    def begin(self, total: int | None = None) -> None:
        """Begin a sweep of so many cases."""
        self.done, self.total = 0, total

    def step(self) -> None:
        """Note that a case ran."""
        self.done += 1
        if self.watch is not None:
            self.watch(self)

    def __str__(self) -> str:
        of = f" of {self.total:,}" if self.total is not None and self.total > self.done else ""
        return f"{self.done:,}{of} {self.cases if self.done != 1 or of else self.cases.removesuffix('s')}"
