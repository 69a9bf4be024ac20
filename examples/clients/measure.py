"""Measures what clients make of every form of the wire and of every fault: `python examples/clients/measure.py`.

It makes the environments (in `--folder`), serves each cell, asks with each client in a process of its own, writes
`results/CLIENT.json` and, from all that is there, `docs/clients.md`. Names of clients as arguments measure those alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from cells import CELLS, plain
from families import FAMILIES, SERVICES, Family
from page import RESULTS, write_page
from roster import ENVIRONMENTS, NODE, Row, rows
from verdicts import verdict

from fakellm import FakeProvider
from fakellm.server import Server
from fakellm.wire import add_provider

HERE = Path(__file__).parent
AT_ONCE = 2
ENVIRONMENT = {"HF_HUB_DISABLE_TELEMETRY": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
"""What keeps clients from asking others. They get an empty folder of certificates, too: to read all takes long."""
LIMIT = 1200
"""Seconds that a client has for all cells together."""


# -- the environments ----------------------------------------------------------------------------------------


def tool(name: str) -> str:
    """Return where a program is that installs clients."""
    if (found := shutil.which(name)) is None:
        raise SystemExit(f"{name} is not installed: it makes the environments of the clients")
    return found


def python_of(folder: Path, name: str, version: str) -> Path:
    """Return the interpreter of an environment, which is made if its packages are not there in these versions."""
    packages = ENVIRONMENTS[name]
    at, noted = folder / name, folder / name / "packages.txt"
    python = at / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not noted.exists() or noted.read_text().split() != list(packages):
        uv = tool("uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", version, at], check=True)
        install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
        subprocess.run([*install, *packages], check=True)
        noted.write_text("\n".join(packages))
    return python


def script_of(folder: Path) -> Path:
    """Return where the driver of node stands, beside its packages, which are installed if they are not there."""
    at = folder / "node"
    at.mkdir(parents=True, exist_ok=True)
    wanted = json.dumps({"private": True, "type": "module", "dependencies": NODE}, indent=2)
    if not (at / "node_modules").exists() or (at / "package.json").read_text() != wanted:
        (at / "package.json").write_text(wanted)
        subprocess.run([tool("npm"), "install", "--silent", "--ignore-scripts"], cwd=at, check=True)
    return Path(shutil.copy(HERE / "ask.mjs", at))


# -- what is served ------------------------------------------------------------------------------------------


def fakes(apis: Iterable[str] = tuple(FAMILIES), cells: Iterable[str] = tuple(CELLS)) -> dict[str, FakeProvider]:
    """Return a fake for each API that knows cells by their prompts. The services have to be added before."""
    found = {}
    for api in apis:
        fake = found[api] = FakeProvider(SERVICES[api].name if api in SERVICES else api)
        fake.when("case plain.", *plain(FAMILIES[api]))
        for cell in map(CELLS.__getitem__, cells):
            parts = cell.parts(FAMILIES[api])
            if parts is not None:
                fake.when(f"case {cell.name}.", *parts, form=cell.form)
    return found


def cells_of(family: Family, url: str) -> list[str]:
    """Return which cells an API has: a form that changes not a byte of its plain answer is none."""
    if not family.path:  # Replicate's, fetched with a second request, whose events have ids and names
        same = ("lf", "ids", "event_names")
        return [cell.name for cell in CELLS.values() if cell.parts(family) is not None and cell.name not in same]
    usual = body(family, url, "plain")
    found = []
    for cell in CELLS.values():
        if cell.parts(family) is None:
            continue
        with suppress(urllib.error.HTTPError):  # of a form that the API's framing has no place for
            is_cut = cell.form is not None and cell.form.pieces is not None
            if cell.form is None or body(family, url, cell.name) != usual or is_cut:
                found.append(cell.name)
    return found


def body(family: Family, url: str, name: str) -> bytes:
    """Return the bytes that answer a request, undecoded; without ids and times, which are made of the request."""
    asked = json.dumps(family.asked).replace('"?"', json.dumps(f"case {name}.")).encode()
    headers = {"content-type": "application/json", **dict(family.headers)}
    with urllib.request.urlopen(urllib.request.Request(f"{url}{family.path}", asked, headers)) as answer:
        return re.sub(rb'"p":"\w*"|[0-9a-f]+', b"0", answer.read())  # `p` is Mistral's padding


# -- measuring -----------------------------------------------------------------------------------------------


class NotMeasuredError(Exception):
    """A client could not be measured; its text says which, and what it did."""


def measured(row: Row, command: list[str], url: str, cells: list[str]) -> dict[str, Any]:
    """Return the results of a client: its version, and for each cell what it saw and the verdict."""
    with tempfile.TemporaryFile("w+") as told, tempfile.TemporaryDirectory() as nothing:
        environment = {**os.environ, **ENVIRONMENT, "SSL_CERT_DIR": nothing}
        process = subprocess.run(
            [*command, row.client, url, "plain", *cells],
            env=environment, stdout=subprocess.PIPE, stderr=told, text=True, timeout=LIMIT, check=False,
        )  # fmt: skip
        told.seek(0)
        lines = [json.loads(line) for line in process.stdout.split("\n") if line.startswith("{")]
        if len(lines) != len(cells) + 2:
            raise NotMeasuredError(f"{row.name} ended after {len(lines)} lines: {told.read()[-2000:]}")
    about, usual, *seen = lines
    if not reads_plain(row, usual):
        raise NotMeasuredError(f"{row.name} does not read the plain answer: {usual}")
    verdicts = {one["case"]: verdict(CELLS[one["case"]], usual, one) for one in seen}
    return {
        "client": row.name,
        "version": about["version"],
        "plain": {name: usual[name] for name in ("text", "calls", "finish", "usage", "chunks")},
        "cells": {one["case"]: {"verdict": verdicts[one["case"]], **detail(one)} for one in seen},
    }


def reads_plain(row: Row, seen: dict[str, Any]) -> bool:
    """Tell whether a client read the plain answer rightly; a prediction of Replicate's has no calls and no usage."""
    calls = [(name, json.loads(arguments)) for name, arguments in seen["calls"]]
    has_both = (calls, seen["usage"]) == ([("get_weather", {"city": "Paris"})], [7, 3])
    return seen["error"] is None and seen["text"] == "Grüße, Welt." and (has_both or row.api == "replicate")


def detail(seen: dict[str, Any]) -> dict[str, str]:
    """Return what an error says, without what differs from run to run."""
    error = seen["error"]
    if not isinstance(error, list):
        return {}
    first = error[1].splitlines()[0] if error[1] else ""
    return {"says": first.split(" at 0x")[0][:160]}


def written(found: dict[str, Any]) -> str:
    """Return results as JSON, a line for each cell."""
    lines = [f"  {json.dumps(name)}: {json.dumps(one, ensure_ascii=False)}" for name, one in found["cells"].items()]
    head = [f" {json.dumps(name)}: {json.dumps(found[name], ensure_ascii=False)}" for name in found if name != "cells"]
    return "{\n" + ",\n".join([*head, ' "cells": {\n' + ",\n".join(lines) + "\n }"]) + "\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clients", nargs="*", help="names of clients, as the page has them; all without")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "fakellm-clients")
    parser.add_argument("--python", default=sys.executable, help="for the clients of Python; this one without")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the results are written")
    parser.add_argument("--page-only", action="store_true", help="write the page from the results that are there")
    options = parser.parse_args()
    known = [row.name for row in rows()]
    if unknown := [name for name in options.clients if name not in known]:
        parser.error(f"there is no client {unknown[0]!r}; there are {', '.join(known)}")
    if not options.page_only:
        run(options)
    if options.results == RESULTS:
        write_page()


def run(options: argparse.Namespace) -> None:
    wanted = [row for row in rows() if not options.clients or row.name in options.clients]
    options.results.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for service in SERVICES.values():
            stack.enter_context(add_provider(service))
        by_api = fakes()
        server = stack.enter_context(Server(by_api.values()))
        urls = {api: f"{server.url}/{fake.name}" for api, fake in by_api.items()}
        cells = {api: cells_of(family, urls[api]) for api, family in FAMILIES.items()}
        made = {row.environment for row in wanted}
        commands = {name: command_of(options.folder, name, options.python) for name in sorted(made)}

        def one(row: Row) -> None:
            found = measured(row, commands[row.environment], urls[row.api], cells[row.api])
            (options.results / f"{row.file}.json").write_text(written(found))
            print(row.name, found["version"], flush=True)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            failed = [error for done in [pool.submit(one, row) for row in wanted] if (error := done.exception())]
    if failed:
        raise SystemExit("\n".join(map(str, failed)))


def command_of(folder: Path, environment: str, version: str) -> list[str]:
    if environment == "node":
        return [tool("node"), str(script_of(folder))]
    return [str(python_of(folder, environment, version)), str(HERE / "ask.py")]


if __name__ == "__main__":
    main()
