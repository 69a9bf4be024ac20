"""Check again, with what is installed here, each finding of docs/field-report.md.

python examples/field_report/field_report.py            # all whose library is installed
python examples/field_report/field_report.py langchain  # those whose name or library has this in it
"""

from __future__ import annotations

import sys

import of_chains  # noqa: F401 - they register their findings
import of_frameworks  # noqa: F401
import of_readers  # noqa: F401
import of_sdks  # noqa: F401
from finding import FINDINGS, Finding


def main(*words: str) -> None:
    """Print the report of each finding that has one of the words in its name or library; all without words."""
    for found in FINDINGS:
        if not words or any(word in f"{found.name} {found.library}" for word in words):
            print(said(found), end="\n\n")


def said(found: Finding) -> str:
    """Return what came of a finding here: its report, or why there is none."""
    title = f"## {found.name}: {found.library} {found.installed}, reported for {found.version}"
    if found.installed is None:
        return f"{title}\n{found.library} is not installed"
    lines = [title, str(found.run())]
    if found.keeps is not None:
        lines.append(f"the counterpart: {found.keeps()[found.contract].status}")
    return "\n".join(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
