"""Where an app is tried: what it said of itself, and its runs in each trouble, each made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fakellm.contracts.retries import dice
from fakellm.contracts.retries.runs import Run
from fakellm.contracts.retries.trial import Bench
from fakellm.contracts.retries.troubles import TROUBLES, Trouble, of


@dataclass(frozen=True)
class Promises:
    """What an app says of itself; see `fakellm.contracts.check_retries`."""

    attempts: int | None = None
    gives_up: float | None = None
    deadline: float | None = None
    longest_wait: float = 120.0
    incomplete: Callable[[Any], object] | None = None
    clients: int = 8


@dataclass
class Lab:
    """An app's runs. `whole` is its run where nothing is wrong, `names` are the troubles that it meets."""

    bench: Bench
    promises: Promises
    whole: Run
    names: frozenset[str]
    api: str
    replay: Callable[[Trouble], str]
    _runs: dict[tuple[str, float], Run] = field(default_factory=dict)
    _ends_early: Run | None = None

    def run(self, trouble: Trouble, die: float = dice.HIGH) -> Run:
        """Return what the app does in a trouble, with dice that fall so."""
        key = trouble.name, die
        if key not in self._runs:
            self._runs[key] = self.bench.run(trouble, die)
        return self._runs[key]

    def runs(self, *kinds: str, die: float = dice.HIGH) -> list[Run]:
        """Return what it does in the troubles of these kinds that are met."""
        return [self.run(trouble, die) for trouble in of(*kinds) if trouble.name in self.names]

    def cut(self) -> list[Run]:
        """Return what it does where an answer breaks once; and where it asks again then, where each of them breaks."""
        once = self.runs("once")
        again = {run.trouble.name.removesuffix(", once") for run in once if run.trouble and len(run.asks) > 1}
        met = [trouble for trouble in of("cut") if trouble.name in self.names]
        return [*once, *(self.run(one) for one in met if not once or one.name.removesuffix(", for ever") in again)]

    def again(self, trouble: Trouble, die: float) -> Run:
        """Return what it does in the same trouble once more."""
        return self.bench.run(trouble, die)

    @property
    def ends_early(self) -> Run:
        """What it does where the first chunk is all of the answer."""
        if self._ends_early is None:
            self._ends_early = self.bench.run(None, dice.HIGH, whole=self.bench.early)
        return self._ends_early

    @property
    def made(self) -> list[Run]:
        """The runs that were made, one of each trouble, in order."""
        order = {trouble.name: place for place, trouble in enumerate(TROUBLES)}
        found: dict[str, Run] = {}
        for (name, _), run in self._runs.items():
            found.setdefault(name, run)
        return [found[name] for name in sorted(found, key=order.__getitem__)]
