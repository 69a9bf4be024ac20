"""The table in docs/retries.md is what clients do. `PYTHONPATH=tests/support python tests/contracts/test_retry_clients.py`
writes it anew, where all of them are installed: the group retries."""

from __future__ import annotations

import re

import pytest
from places import ROOT
from retry_clients import CLIENTS

from fakellm.contracts import check_retries

PAGE = ROOT / "docs" / "retries.md"
BEGIN = "<!-- measured by tests/contracts/test_retry_clients.py -->\n"
END = "<!-- the end of what is measured -->"
HEAD = (
    "| client | version | what it says of itself | asks at, of 500 for ever | does not ask again after | breaks | "
    "breaks, streamed |\n|---|---|---|---|---|---|---|"
)
REFUSED = re.compile(
    r"^(?:(\d+)|connection (refused)|(closed) without an answer|(reset) before the first chunk), for ever"
)


def row(client):
    """Return what a client does, as a line of the table."""
    whole, streamed = client.apps()
    report = check_retries(whole, api=client.api)
    refused = {
        next(filter(None, found.groups())): run for run in report.runs if (found := REFUSED.match(run.trouble.name))
    }
    once = [name for name, run in refused.items() if len(run.asks) == 1 and name not in ("400", "401")]
    in_stream = broken(check_retries(streamed, api=client.api)) if streamed is not None else ""
    cells = (client.name, client.version, client.says, refused["500"].asked, ", ".join(once), broken(report), in_stream)
    return f"| {' | '.join(cells)} |"


def broken(report):
    return ", ".join(f"`{verdict.contract.name}`" for verdict in report.failed) or "none"


def page(rows):
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return before + BEGIN + "\n" + "\n".join([HEAD, *rows]) + "\n\n" + END + rest.partition(END)[2]


def told():
    """Return the lines of the table, by the client that they are about."""
    lines = PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip().splitlines()[2:]
    return {line.split(" | ")[0].removeprefix("| "): line for line in lines}


def test_the_table_has_a_line_for_each_client():
    assert list(told()) == [client.name for client in CLIENTS]


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_the_client_does_what_the_table_says(client):
    line = told()[client.name]
    version = line.split(" | ")[1]
    if client.version != version:
        pytest.skip(f"the table is about {client.package} {version}, installed is {client.version}")

    assert row(client) == line


if __name__ == "__main__":
    PAGE.write_text(page([row(client) for client in CLIENTS]))
