"""The tables in docs/strict-requests.md are the rules. `PYTHONPATH=tests/support python tests/provider/test_strict_docs.py` writes them anew."""

from __future__ import annotations

import re

from places import ROOT

from fakellm.wire.providers import services
from fakellm.wire.rules import OF_TYPES
from fakellm.wire.service import found

PAGE = ROOT / "docs" / "strict-requests.md"
BEGIN = "<!-- generated from the rules of fakellm/wire by tests/provider/test_strict_docs.py -->\n"
END = "<!-- the end of what is generated -->"


def tables():
    told = set()
    for service in services():
        for end in service.endpoints:
            if (rules := found(end.rules)) is None or rules.api in told:  # of clouds: fewer of the same
                continue
            told.add(rules.api)
            yield f"### {rules.api}\n"
            if of_types := [rule for rule in rules.rules if rule.name in OF_TYPES]:
                named = ", ".join(f"[`{rule.name}`]({rule.source})" for rule in of_types)
                yield f"By the types of `{rules.sdk}`, worded as in: {named}.\n"
            yield "| rule | what is refused | to do | source |"
            yield "|---|---|---|---|"
            for rule in rules.rules:
                if rule.name not in OF_TYPES:
                    yield f"| `{rule.name}` | {rule.refuses} | {rule.remedy} | [{shown(rule.source)}]({rule.source}) |"
            yield ""


def shown(source):
    """Return how a source is called: a report by its repository and number, a page by its host."""
    report = re.fullmatch(r"https://github\.com/([^/]+/[^/]+)/(?:issues|pull)/(\d+)", source)
    return f"{report[1]}#{report[2]}" if report else source.split("/")[2]


def page():
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return before + BEGIN + "\n" + "\n".join(tables()) + "\n" + END + rest.partition(END)[2]


def test_the_tables_are_the_rules():
    assert PAGE.read_text() == page(), "run: PYTHONPATH=tests/support python tests/provider/test_strict_docs.py"


if __name__ == "__main__":
    PAGE.write_text(page())
