"""The table in docs/contracts.md is the catalogue. `PYTHONPATH=tests/support python tests/contracts/test_docs.py` writes it anew."""

from __future__ import annotations

import re

from places import ROOT

from fakellm import contracts
from fakellm.contracts.catalogue import CATALOGUE

PAGE = ROOT / "docs" / "contracts.md"
BEGIN = "<!-- generated from fakellm/contracts/catalogue.py by tests/contracts/test_docs.py -->\n"
END = "<!-- the end of what is generated -->"
FOUND = re.compile(r"^\| `(\w+)` \| ([^|]+?) \|", re.MULTILINE)


def found():
    """Return in which libraries the contracts found something, by contract, as docs/field-report.md lists it."""
    rows = FOUND.findall((ROOT / "docs" / "field-report.md").read_text())
    return {name: list(dict.fromkeys(lib for n, lib in rows if n == name)) for name, _ in rows}


def table():
    contracts.load_all()
    libraries = found()
    yield "| contract | the sentence | how it is broken | checked on | found in | seen in public; source |"
    yield "|---|---|---|---|---|---|"
    for contract in CATALOGUE.values():
        cells = (
            f"`{contract.name}`",
            contract.sentence,
            contract.broken_by,
            ", ".join(sorted(contract.checks)),
            ", ".join(libraries.get(contract.name, ())),
            ", ".join([*contract.seen, *filter(None, [contract.source])]),
        )
        yield f"| {' | '.join(cells)} |"


def page():
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return before + BEGIN + "\n" + "\n".join(table()) + "\n\n" + END + rest.partition(END)[2]


def test_the_table_is_the_catalogue():
    assert PAGE.read_text() == page(), "run: PYTHONPATH=tests/support python tests/contracts/test_docs.py"


def test_every_contract_has_a_check_that_says_why():
    contracts.load_all()
    for contract in CATALOGUE.values():
        assert contract.checks, contract.name
        assert len(contract.why) > 60, contract.name


def test_what_the_field_report_names_is_in_the_catalogue():
    assert set(found()) <= set(CATALOGUE)


def test_the_report_on_the_page_is_what_the_block_before_it_prints(capsys):
    block, shown = re.search(r"```python\n(.*?)```.*?```text\n(.*?)```", PAGE.read_text(), re.DOTALL).groups()

    exec(compile(block, "block", "exec"), {"__name__": "block"})
    printed = capsys.readouterr().out

    for part in shown.split("...\n"):
        assert part in printed


if __name__ == "__main__":
    PAGE.write_text(page())
