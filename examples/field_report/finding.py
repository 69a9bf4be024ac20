"""What a finding is: a check on a library that somebody ships, the version it was made with, and what keeps to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from fakellm.contracts import Report

Check = Callable[[], Report]


@dataclass
class Finding:
    """A contract that a library breaks. `run` shows it; `keeps`, if there is a way, is how an app can be right."""

    contract: str
    library: str
    version: str
    run: Check
    needs: str | None = None
    """A module that has to be there too: a part of the library that an extra of it brings."""
    keeps: Check | None = None

    @property
    def name(self) -> str:
        """The name of the function that shows it."""
        return self.run.__name__

    @property
    def installed(self) -> str | None:
        """The version that is installed here."""
        try:
            return version(self.library)
        except PackageNotFoundError:
            return None

    def kept(self, check: Check) -> Check:
        """Add the correct counterpart: what an app, or another library, does instead."""
        self.keeps = check
        return check


FINDINGS: list[Finding] = []


def finding(contract: str, library: str, release: str, needs: str | None = None) -> Callable[[Check], Finding]:
    """Register a function that returns the report on a contract which this release of a library breaks."""

    def register(run: Check) -> Finding:
        FINDINGS.append(Finding(contract, library, release, run, needs))
        return FINDINGS[-1]

    return register
