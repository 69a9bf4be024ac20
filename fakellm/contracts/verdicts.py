"""What a check says: kept, broken with a counter-example, or skipped with a reason; and reports of many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, TypeVar

from fakellm.contracts.catalogue import CATALOGUE, Contract
from fakellm.errors import BrokenContractError, ContractUsageError, clip

Thing = TypeVar("Thing")

Status = Literal["passed", "failed", "skipped"]


class Skip(Exception):  # noqa: N818 - not an error: what cannot be checked is skipped, never passed
    """A contract cannot be checked on this thing; the message says why, and what would make it checkable."""


class OtherFlavour(Skip):
    """The contract says nothing about this flavour: it is checked in the other one."""


def broken(name: str, what: str, *rows: tuple[str, str]) -> BrokenContractError:
    """Return the error for a broken contract: what went wrong, and labelled rows that show it.

    A row is a label (`chunks`, `expected`, `got`, `replay`, ...) and a text of one or more lines.
    """
    width = max(11, *(len(label) + 2 for label, _ in rows)) if rows else 11
    lines = [str(CATALOGUE[name]), f"  {'broken:':<{width}}{what}"]
    for label, text in rows:
        first, *more = text.split("\n")
        lines.append(f"  {label + ':':<{width}}{first}")
        lines.extend(" " * (width + 2) + line for line in more)
    return BrokenContractError("\n".join(lines), contract=name)


def counted(chunks: int) -> str:
    """Word a number of chunks."""
    return f"{chunks} chunk{'' if chunks == 1 else 's'}"


def shown(chunks: Iterable[object]) -> str:
    """Show chunks on one line."""
    return "|".join(map(repr, chunks)) or "nothing"


def named(things: Mapping[str, Thing], name: str, what: str) -> Thing:
    """Return the thing of a report with this name. Raises `KeyError`, which says what there is."""
    if name in things:
        return things[name]
    near = get_close_matches(str(name), things, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    msg = f"there is no {what} {name!r}; {hint}there are {', '.join(things) or 'none'}"
    raise KeyError(msg)


def name_of(make: Callable[..., object]) -> str:
    """Return what a maker is called in a report."""
    name: str = getattr(make, "__qualname__", None) or repr(make)
    return name.replace("<locals>.", "")


def check_functions(**given: object) -> None:
    """Raise `ContractUsageError` for an option of a check that has to be a function and is none."""
    for name, function in given.items():
        if function is not None and not callable(function):
            msg = f"{name} is a function, such as {name}={_FUNCTIONS[name]}, not {clip(repr(function), 80)}"
            raise ContractUsageError(msg)


_FUNCTIONS = {
    "calls": "lambda: fake.calls",
    "delivered": "lambda: list(shown)",
    "incomplete": "lambda result: result.failed",
    "is_error": "lambda chunk: chunk.failed",
    "text": "lambda chunk: chunk.text",
}


@dataclass(frozen=True)
class Verdict:
    """What was found out about one contract. `detail` is empty, the reason of a skip, or the counter-example."""

    contract: Contract
    status: Status
    detail: str = ""

    def __str__(self) -> str:
        if self.status == "passed":
            return str(self.contract)
        return self.detail if self.status == "failed" else f"{self.contract.name}: {self.detail}"


@dataclass(frozen=True)
class Report:
    """The verdicts on one thing; `str` renders them as text, the broken ones first."""

    subject: str
    verdicts: tuple[Verdict, ...]

    def _of(self, status: Status) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.status == status]

    @property
    def passed(self) -> list[Verdict]:
        """The contracts that hold."""
        return self._of("passed")

    @property
    def failed(self) -> list[Verdict]:
        """The contracts that are broken, with counter-examples."""
        return self._of("failed")

    @property
    def skipped(self) -> list[Verdict]:
        """The contracts that could not be checked, with reasons."""
        return self._of("skipped")

    def __getitem__(self, name: str) -> Verdict:
        """Return the verdict on the contract with this name. Raises `KeyError`, which says what there is."""
        return named({verdict.contract.name: verdict for verdict in self.verdicts}, name, "verdict on a contract")

    def __str__(self) -> str:
        counts = [f"{len(self._of(status))} {status}" for status in ("failed", "passed", "skipped")]
        lines = [f"{self.subject}: {', '.join(counts)}"]
        marks: Sequence[tuple[Status, str]] = (("failed", "BROKEN "), ("passed", "kept   "), ("skipped", "skipped"))
        for status, mark in marks:
            for verdict in self._of(status):
                lines.extend(f"{mark if not n else '':<9}{line}" for n, line in enumerate(str(verdict).split("\n")))
        return "\n".join(lines)

    def verify(self) -> None:
        """Raise `BrokenContractError` if a contract is broken, `ContractUsageError` if none could be checked at all."""
        __tracebackhide__ = True
        if self.failed:
            raise BrokenContractError(str(self), contract=self.failed[0].contract.name)
        if not self.passed:
            msg = f"nothing could be checked, so nothing is proven:\n{self}"
            raise ContractUsageError(msg)


def verdict_of(contract: Contract, *checks: Callable[[], object]) -> Verdict:
    """Run the checks of one contract and return what they say; it is skipped if each of them skips it."""
    skips = []
    for check in checks:
        try:
            check()
        except Skip as skip:
            skips.append(str(skip))
        except BrokenContractError as error:
            return Verdict(contract, "failed", str(error))
    return Verdict(contract, "passed") if len(skips) < len(checks) else Verdict(contract, "skipped", skips[0])
