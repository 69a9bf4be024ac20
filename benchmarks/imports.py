"""What importing costs: `python benchmarks/imports.py`, about half a minute.

Each import is made by a Python of its own, from compiled modules as after an installation. "over bare python" is
how much longer the process takes from start to exit than one that imports nothing; "inside" is what the import
statement takes. What comes after another import is judged inside, since starting that varies by more.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import NamedTuple

from measure import duration, rounds, table, verdict

SECONDS = 30.0
HEADS = ("import", "process", "over bare python (min - max)", "inside (min - max)", "rounds", "target", "")
TIMER = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
FOREIGN = """
import sys; before = {{*sys.modules}}; {}; new = {{*sys.modules}} - before
tops = {{name.partition('.')[0] for name in new}} - {{'fakellm'}}
print(len(new), *sorted(tops - sys.stdlib_module_names))
"""


@dataclass(frozen=True)
class Import:
    """What is imported, after what, and the seconds that it may take: over bare Python, or after that inside."""

    code: str
    after: str = ""
    target: float | None = None


class Cost(NamedTuple):
    """What one process took, in seconds: from start to exit, and for the timed code."""

    process: float
    inside: float


BARE = Import("pass")
IMPORTS = [
    Import("import fakellm", target=0.001),
    Import("from fakellm import FakeLLM"),
    Import("import _fakellm_pytest", "import pytest", target=0.002),
]


def environment(cache: str) -> dict[str, str]:
    """Return the environment of a Python that keeps compiled modules in the folder `cache`."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": cache}


def python(code: str, env: dict[str, str]) -> str:
    """Run the code and return what it prints; the folder that it runs in is not importable."""
    command = [sys.executable, "-P", "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout


def run(kind: Import, env: dict[str, str]) -> Cost:
    """Import it in a process of its own."""
    start = time.perf_counter()
    inside = float(python(f"{kind.after}\n{TIMER.format(kind.code)}", env))
    return Cost(time.perf_counter() - start, inside)


def spread(values: Sequence[float]) -> str:
    return f"{duration(median(values))} ({duration(min(values))} - {duration(max(values))})"


def line(kind: Import, ours: Sequence[Cost], bare: Sequence[Cost]) -> list[str]:
    over = [mine.process - theirs.process for mine, theirs in zip(ours, bare, strict=True)]
    inside = [cost.inside for cost in ours]
    judged = median(inside if kind.after else over)
    return [
        f"{kind.after}; {kind.code}" if kind.after else kind.code,
        duration(median(cost.process for cost in ours)),
        "-" if kind.after else spread(over),
        spread(inside),
        str(len(ours)),
        *verdict(judged, kind.target, "inside <=" if kind.after else "over <=", duration),
    ]


def foreign(code: str, env: dict[str, str]) -> list[str]:
    """Return the code, how many modules it loads, and which of them are third parties'."""
    count, *names = python(FOREIGN.format(code), env).split()
    return [code, count, ", ".join(names) or "none"]


def times(env: dict[str, str]) -> list[list[str]]:
    kinds = [BARE, *IMPORTS]
    for kind in kinds:
        run(kind, env)
    timed = rounds({kind: partial(run, kind, env) for kind in kinds}, seconds=SECONDS)
    return [line(kind, timed[kind], timed[BARE]) for kind in IMPORTS]


def modules(env: dict[str, str]) -> list[list[str]]:
    package = foreign("import fakellm", env)
    verdict_on_it = "met" if package[-1] == "none" else "MISSED"
    return [[*package, "none", verdict_on_it], [*foreign("from fakellm import FakeLLM", env), "-", ""]]


def main() -> None:
    with tempfile.TemporaryDirectory() as cache:
        env = environment(cache)
        print(table("imports, medians", HEADS, times(env)))
        print(table("modules", ("import", "modules loaded", "third parties'", "target", ""), modules(env)))


if __name__ == "__main__":
    main()
