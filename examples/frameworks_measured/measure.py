"""Streams the recordings of real servers through frameworks, and writes down what apps are given.

    python measure.py --folder FOLDER [FRAMEWORK...]     # which keeps the environments; all frameworks by default
    python measure.py --folder FOLDER --twice            # and again, and fails where the two differ
    python measure.py --check FRAMEWORK...               # those that are installed here, held to the results

Needs uv and npm. `results.json` beside this file gets the results, `page.py` makes docs/frameworks.md of them.
"""

from __future__ import annotations

import argparse
import json
import queue
import shutil
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import judging
import serving

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PATIENCE = 60.0  # seconds for one answer, which has no silences
FIRST = 300.0  # seconds until a framework is loaded
FRAMEWORKS = {  # in the order of the page: where each is installed
    "pydantic-ai": "newest",
    "langchain-openai": "newest",
    "litellm": "newest",
    "openai-agents": "newest",
    "llama-index": "openai2",
    "haystack": "newest",
    "agno": "newest",
    "smolagents": "newest",
    "semantic-kernel": "pinned",
    "autogen-ext": "newest",
    "strands-agents": "openai2",
    "agent-framework": "newest",
    "dspy": "newest",
    "google-adk": "newest",
    "instructor": "instructor",
    "mirascope": "openai2",
    "camel-ai": "pinned",
    "ai-sdk": "node",
    "langchain-openai-js": "node",
    "openai-agents-js": "node",
}


def run(*command: str | Path, cwd: Path | None = None) -> None:
    """Run a command that has to succeed."""
    if shutil.which(command[0]) is None:
        raise SystemExit(f"{command[0]} is not on the PATH: install it, environments are made with it")
    subprocess.run(["nice", "-n", "5", *command], cwd=cwd, check=True)  # noqa: S607


def environment(folder: Path, group: str) -> list[str]:
    """Return the command that runs a driver of a group, in an environment that is made if it is not there."""
    place = folder / group
    wanted = HERE / "requirements" / ("package.json" if group == "node" else f"{group}.txt")
    kept = place / "installed"
    if not kept.exists() or kept.read_text() != wanted.read_text():
        place.mkdir(parents=True, exist_ok=True)
        if group == "node":
            shutil.copy(wanted, place / "package.json")
            run("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", cwd=place)
        else:
            run("uv", "venv", "--quiet", "--clear", "--python", "3.11", place)
            run("uv", "pip", "install", "--quiet", "--python", place / "bin" / "python", "-r", wanted)
        kept.write_text(wanted.read_text())
    if group == "node":
        shutil.copytree(HERE / "node", place / "drivers", dirs_exist_ok=True)
        return ["node", str(place / "drivers" / "runner.mjs")]
    return [str(place / "bin" / "python"), "-P", str(HERE / "runner.py")]


class Driver:
    """A process that drives one framework through some recordings, and the lines that it says."""

    def __init__(self, command: list[str], name: str, url: str, recordings: list[str]) -> None:
        self.process = subprocess.Popen(
            ["nice", "-n", "5", *command, name, url, *recordings],  # noqa: S607
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.lines: queue.Queue[str] = queue.Queue()
        self.said: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def line(self, patience: float) -> dict[str, Any] | None:
        """Return what the process says next, or None if it says nothing in that time; ends it then."""
        try:
            line = self.lines.get(timeout=patience)
        except queue.Empty:
            self.process.kill()
            return None
        if not line:
            raise RuntimeError("".join(self.said)[-4000:])
        return json.loads(line)


def measure(name: str, command: list[str]) -> dict[str, Any]:
    """Return what an app on one framework is given of each recording, and of what each line makes a fake say."""
    names = list(serving.recorded())
    left = [*names, *(name + serving.LINE for name in names)]
    late: Counter[str] = Counter()
    found: dict[str, Any] = {"versions": {}, "cells": {}}
    with serving.served() as server:
        while left:
            asked = [f"{one}+tools" if serving.offers_tools(one) else one for one in left]
            driver = Driver(command, name, server.base_url("openai"), asked)
            if (first := driver.line(FIRST)) is None:
                raise TimeoutError(f"{name} is not loaded after {FIRST} s")
            found["versions"] = first["versions"]
            patience = FIRST  # some load what they need when they are first asked
            while left:
                cell, patience = driver.line(patience), PATIENCE
                if cell is not None:
                    found["cells"][left.pop(0)] = {"hangs": False} | cell
                    continue
                late[left[0]] += 1
                if late[left[0]] == 2:  # once may have been the machine
                    found["cells"][left.pop(0)] = {"hangs": True}
                break
        for recording, cell in found["cells"].items():
            cell.pop("recording", None)
            cell["asked"] = serving.requests(server, recording)
    return found


def judged(results: dict[str, Any]) -> dict[tuple[str, str], list[str]]:
    """Return the verdicts on recordings and on lines, by framework and by what it was asked."""
    tables = {"": judging.table(results), serving.LINE: judging.table(results, judging.OF_LINES, serving.LINE)}
    return {
        (name, recording + ending): cell
        for ending, table in tables.items()
        for name, cells in table.items()
        for recording, cell in cells.items()
    }


def kept() -> dict[str, Any]:
    """Return the results that are recorded."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def shown(results: dict[str, Any]) -> str:
    """Return results as JSON, a line for each cell."""

    def line(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, sort_keys=True)

    found = []
    for name, one in sorted(results.items()):
        cells = ",\n".join(f"   {line(recording)}: {line(cell)}" for recording, cell in sorted(one["cells"].items()))
        found.append(f' {line(name)}: {{\n  "versions": {line(one["versions"])},\n  "cells": {{\n{cells}\n  }}\n }}')
    return "{\n" + ",\n".join(found) + "\n}\n"


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return where two results of the same frameworks have not the same verdicts."""
    left, right = judged(one), judged(other)
    return [f"{place}: {left[place]} and {right[place]}" for place in left if left[place] != right[place]]


def check(names: list[str]) -> None:
    """Measure frameworks that are installed beside this Python, and hold them to what is recorded of these versions."""
    recorded, wrong = kept(), []
    for name in names:
        found = measure(name, [sys.executable, "-P", str(HERE / "runner.py")])
        differ = differences({name: recorded[name]}, {name: found})
        print(
            f"{name} {found['versions']}: {len(found['cells'])} cells, {len(differ)} not as recorded",
            *differ,
            sep="\n  ",
        )
        wrong += differ if found["versions"] == recorded[name]["versions"] else []
    if wrong:
        raise SystemExit("of the same versions something else is recorded: see above")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("frameworks", nargs="*", help=", ".join(FRAMEWORKS))
    parser.add_argument("--folder", type=Path, help="where environments are kept, and made if they are not there")
    parser.add_argument("--twice", action="store_true", help="measure again, and fail where the verdicts differ")
    parser.add_argument("--check", action="store_true", help="hold frameworks that this Python has to the results")
    options = parser.parse_args()
    names = options.frameworks or list(FRAMEWORKS)
    if unknown := set(names) - set(FRAMEWORKS):
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(FRAMEWORKS)}")
    if options.check:
        check(names)
        return
    if options.folder is None:
        parser.error("--folder says where the environments are kept")
    folder = options.folder.absolute()
    commands = {group: environment(folder, group) for group in sorted({FRAMEWORKS[name] for name in names})}
    writing, results = threading.Lock(), kept()

    def one(name: str) -> dict[str, Any]:
        return measure(name, commands[FRAMEWORKS[name]])

    def written(name: str) -> dict[str, Any]:
        results[name] = one(name)
        with writing:
            RESULTS.write_text(shown(results))
        print(f"{name}: {len(results[name]['cells'])} cells", flush=True)
        return results[name]

    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(names, pool.map(written, names), strict=True))
        again = dict(zip(names, pool.map(one, names), strict=True)) if options.twice else found
    if differ := differences(found, again):
        raise SystemExit("\n".join(["measured again, these differ:", *differ]))


if __name__ == "__main__":
    main()
