"""Writes `docs/clients.md` from the recorded results, and checks that each of them is known and explained."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cells import CELLS, Cell
from roster import rows

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parents[1] / "docs" / "clients.md"
APIS = {
    "chat": "chat completions", "openrouter": "chat completions, as OpenRouter streams them", "responses": "Responses",
    "messages": "Messages", "gemini": "streamGenerateContent, as events", "cohere": "Chat, version 2",
    "mistral": "Mistral's chat completions", "ollama": "Ollama's chat, lines of JSON",
    "dashscope": "DashScope's text generation", "replicate": "a prediction's stream",
    "llama": "Llama's chat completions",
}  # fmt: skip
AT_ONCE = 10
"""Columns of a table."""
KINDS = {
    "form": ("Legal forms", "The same answer, written as the standards allow. A cell is empty where all is read."),
    "oddity": (
        "Oddities",
        "What servers send, and a client can bear. A cell is empty where all of the answer is read.",
    ),
    "broken": ("Broken answers", "What is no whole answer. A cell says how the app is told; `whole` is the bad one."),
}


class UnknownResultError(Exception):
    """A results file says something that there is not; its text names the file and the remedy."""


def recorded(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Return the results by client, in the order of the page. Raises `UnknownResultError` for what nobody knows."""
    found = {}
    known = {row.file: row for row in rows()}
    for path in sorted(folder.glob("*.json")):
        data = json.loads(path.read_text())
        if path.stem not in known or data.get("client") != known[path.stem].name:
            raise UnknownResultError(f"{path.name}: no such client; roster.py has those that there are")
        for name in data["cells"]:
            if name not in CELLS:
                raise UnknownResultError(f"{path.name}: no form or fault {name!r}, see cells.py; measure it again")
        found[data["client"]] = data
    missing = [row.name for row in known.values() if row.name not in found]
    if missing:
        raise UnknownResultError(
            f"no results of {', '.join(missing)}: measure them, python examples/clients/measure.py NAME"
        )
    by_api: dict[str, set[str]] = {}
    for row in known.values():
        by_api.setdefault(row.api, set()).update(found[row.name]["cells"])
    for file, row in known.items():
        lacking = [name for name in CELLS if name in by_api[row.api] - found[row.name]["cells"].keys()]
        if lacking:
            raise UnknownResultError(f"{file}.json: it lacks {', '.join(lacking)}, which others have; measure it again")
    return {row.name: found[row.name] for row in known.values()}


def is_plain(cell: Cell, verdict: str) -> bool:
    """Tell whether a client did what is expected: read what is legal, tell of what is broken."""
    return verdict == "same" or (cell.kind == "broken" and verdict.startswith(("raises", "hands on")))


# -- why -----------------------------------------------------------------------------------------------------


def causes() -> list[dict[str, Any]]:
    """Return what explains the cells that are not plain, in the order of the page."""
    return tomllib.loads((HERE / "causes.toml").read_text())["cause"]


def explained(results: Mapping[str, Any]) -> list[tuple[dict[str, Any], dict[str, list[str]]]]:
    """Return each cause with the cells that it explains, by client. The first cause that fits a cell explains it."""
    left = {(name, cell): one["verdict"] for name, data in results.items() for cell, one in data["cells"].items()
            if not is_plain(CELLS[cell], one["verdict"])}  # fmt: skip
    found = []
    for cause in causes():
        cells: dict[str, list[str]] = {}
        for name in cause["clients"]:
            for cell in cause["cells"]:
                if left.pop((name, cell), None) is not None:
                    cells.setdefault(name, []).append(cell)
        if not cells:
            raise UnknownResultError(f"causes.toml: {cause['title']!r} explains no cell any more: take it out")
        found.append((cause, cells))
    if left:
        told = "; ".join(f"{name}: {cell} ({verdict})" for (name, cell), verdict in left.items())
        raise UnknownResultError(f"causes.toml explains not: {told}")
    return found


# -- the page ------------------------------------------------------------------------------------------------


def page(results: Mapping[str, Any]) -> str:
    """Return the page."""
    parts = [(HERE / "page.md").read_text().rstrip(), _clients(results)]
    for kind, (title, about) in KINDS.items():
        names = [cell.name for cell in CELLS.values() if cell.kind == kind]
        parts.append(f"## {title}\n\n{about}")
        parts += [_table(names[at : at + AT_ONCE], results) for at in range(0, len(names), AT_ONCE)]
    parts.append("## What is sent\n\n" + "\n".join(_sent()))
    parts.append("## Why\n\n" + (HERE / "why.md").read_text().rstrip())
    maker = ""
    for cause, cells in explained(results):
        if cause["maker"] != maker:
            maker = cause["maker"]
            parts.append(f"### {maker}")
        where = "; ".join(f"{name}: {', '.join(f'`{cell}`' for cell in found)}" for name, found in cells.items())
        parts.append(f"**{cause['title']}** {' '.join(cause['why'].split())}\n\n{where}.")
    return "\n\n".join(parts) + "\n"


def _clients(results: Mapping[str, Any]) -> str:
    head = "## The clients\n\n| client | version | asks for | made with |\n|---|---|---|---|\n"
    return head + "\n".join(
        f"| {row.name} | {results[row.name]['version']} | {APIS[row.api]} | {row.maker} |" for row in rows()
    )


def _table(names: list[str], results: Mapping[str, Any]) -> str:
    lines = [f"| client | {' | '.join(f'`{name}`' for name in names)} |", "|---" * (len(names) + 1) + "|"]
    for name, data in results.items():
        shown = [_shown(CELLS[cell], data["cells"].get(cell)) for cell in names]
        lines.append(f"| {name} {data['version']} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _shown(cell: Cell, one: Mapping[str, Any] | None) -> str:
    if one is None:
        return "-"
    verdict: str = one["verdict"]
    word, _, name = verdict.partition(" ")
    if verdict == "same":
        return ""
    shown = f"raises `{name}`" if word == "raises" else verdict
    return shown if is_plain(cell, verdict) else f"**{shown}**"


def _sent() -> Iterator[str]:
    for kind, (title, _) in KINDS.items():
        yield f"{title}:\n"
        for cell in CELLS.values():
            if cell.kind == kind:
                yield f"- `{cell.name}`: {cell.sent}"
        yield ""


def write_page() -> None:
    """Write the page anew."""
    PAGE.write_text(page(recorded()))
