"""The report on a client: a table with a row for each form, oddity and fault, then what is broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fakellm.contracts.clients.cases import Kind
from fakellm.contracts.verdicts import Report, Status, named


@dataclass(frozen=True)
class Row:
    """What one form, oddity or fault came to.

    `name` is that of the row, `contract` what it is about, `what` says what was sent; `outcome` is what came of it in
    a few words, or why it was not tried.
    """

    name: str
    kind: Kind
    contract: str
    what: str
    status: Status
    outcome: str


@dataclass(frozen=True)
class ClientReport(Report):
    """The verdicts on a client; `rows` are what they rest on, and `str` shows those as a table first.

    `endpoint` is the API that the client asked, such as `openai.chat`.
    """

    endpoint: str = ""
    rows: tuple[Row, ...] = ()

    def row(self, name: str) -> Row:
        """Return the row of a form, an oddity or a fault. Raises `KeyError`, which says what there is."""
        return named({row.name: row for row in self.rows}, name, "row")

    def table(self) -> str:
        """Return the rows as a table: name, contract, outcome, those that are broken marked."""
        marks = {"passed": "", "failed": "BROKEN", "skipped": "-"}
        kinds = ("form", "oddity", "fault")
        rows = sorted(self.rows, key=lambda row: kinds.index(row.kind))
        cells = [(row.kind, row.name, row.contract, marks[row.status], row.outcome) for row in rows]
        return aligned([("", self.endpoint, "contract", "", "outcome"), *cells])

    def __str__(self) -> str:
        first, *rest = super().__str__().split("\n")
        return "\n".join([first, *(f"  {line}" for line in self.table().split("\n")), *rest])


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as lines, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
