"""Whatever a server is told by: a scenario, the path of one, or one whose file is watched."""

from __future__ import annotations

from pathlib import Path

from fakellm.server.scenario import Scenario
from fakellm.server.watched import Telling, Watched


class Told:
    """A scenario on its way to the providers of a server. `is_watched` tells whether it may change."""

    def __init__(self, scenario: Scenario | Watched | str | Path) -> None:
        self._source = Scenario.load(scenario) if isinstance(scenario, (str, Path)) else scenario
        if not isinstance(self._source, (Scenario, Watched)):
            msg = f"a scenario is a Scenario, a Watched one, or the path of a file, not {self._source!r}"
            raise TypeError(msg)
        self.is_watched = isinstance(self._source, Watched)

    @property
    def scenario(self) -> Telling:
        """What it says now."""
        return self._source.scenario if isinstance(self._source, Watched) else self._source

    def again(self) -> Telling | None:
        """Return the scenario if its file has changed since the last look, else None."""
        return self._source.poll() if isinstance(self._source, Watched) else None
