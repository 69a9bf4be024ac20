"""What `fakellm check` takes, beside the Python API: `python benchmarks/check.py`, and `--against 38a8bc5`.

Tapes of 50 kB are made: streams of Chat Completions and of Messages, some with a tool call, and documents, with the
headers that an SDK sends. The command looks at them for whatever it knows, in as many processes as there are cores;
`fakellm.cassette.check` looks for secrets alone, in one. With `--against` a revision of this repository, its command
and its Python API take their turns too, and all are compared with that API.

The time of the processor is that of all processes together, their start included. It is what to believe on a machine
that is busy; the wall's says how well the cores are used.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

from measure import duration, rounds, table, times_as, verdict

from fakellm import Finish, Script, ToolCall
from fakellm.cassette import interaction_of, write

ROOT = Path(__file__).resolve().parents[1]
SIZE = 50_000
"""Bytes of a tape, about."""
TARGET = 0.010
"""Seconds of the wall that the command has for a tape, on two cores: ten for a thousand, its start included."""
CHAT, MESSAGES = "https://api.openai.com/v1/chat/completions", "https://api.anthropic.com/v1/messages"
SENT = {
    "accept-encoding": "gzip, deflate",
    "authorization": "Bearer REDACTED",
    "user-agent": "OpenAI/Python 3.57.0",
    "x-stainless-arch": "x64",
    "x-stainless-async": "false",
    "x-stainless-lang": "python",
    "x-stainless-os": "Linux",
    "x-stainless-package-version": "3.57.0",
    "x-stainless-read-timeout": "600",
    "x-stainless-retry-count": "0",
    "x-stainless-runtime": "CPython",
    "x-stainless-runtime-version": "3.11.7",
}
WORDS = "the model of a token says that streams are read by key and closed in time, or not at all".split()  # noqa: SIM905
API = "import sys; from fakellm.cassette import check; sys.exit(len(check(sys.argv[1:])))"
COMMAND = "import sys; from fakellm.cli.main import main; sys.exit(main(['check', *sys.argv[1:]]))"
HEADS = ("", "processor, by tape", "wall, by tape", "wall of the API over it (min - max)", "rounds", "target", "")


def words(rand: random.Random, count: int) -> list[str]:
    return [f"{word} " for word in rand.choices(WORDS, k=count)]


def make_tape(path: Path, number: int) -> None:
    """Write a tape: of ten, six are streams of text, two have a tool call, two are documents."""
    rand = random.Random(number)
    url = MESSAGES if number % 2 else CHAT
    asked = {"model": "a-model", "max_tokens": 900, "stream": True}
    asked["messages"] = [{"role": "user", "content": "".join(words(rand, 60))}]
    per_event = 150 if number % 2 else 220
    if number % 10 in (2, 5):
        pieces = words(rand, SIZE // per_event // 2)
        arguments = json.dumps({"query": "".join(words(rand, SIZE // per_event * 2 // 3)), "limit": 5})
        script = Script(*pieces, ToolCall("search", arguments), Finish("tool_calls"))
    elif number % 10 in (6, 9):
        script = Script("".join(words(rand, SIZE // 4)), Finish())
        asked["stream"] = False
    else:
        script = Script(*words(rand, SIZE // per_event), Finish())
    request, response = interaction_of(script, url, asked)
    request.headers.update(SENT)
    for name, value in {"server": "uvicorn", "x-request-id": f"req_{rand.getrandbits(96):024x}"}.items():
        response["headers"][name] = [value]
    write(path, (request, response))


def took(place: Path, program: str, folder: Path) -> tuple[float, float]:
    """Return the seconds of the wall and of the processor, all processes together, that a program takes."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, str(folder)],
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"something was found, or it failed: {done.stdout[-500:]}{done.stderr[-500:]}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def unpacked(revision: str, folder: Path) -> Path:
    """Put the package of a revision into a folder."""
    archive = subprocess.run(["git", "-C", ROOT, "archive", revision, "fakellm"], check=True, capture_output=True)
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


def rows(results: dict[str, list[tuple[float, float]]], rival: str, tapes: int) -> list[list[str]]:
    """Return a row for each contestant, the first of which has the target."""
    shown = []
    for number, (name, seen) in enumerate(results.items()):
        ratios = [theirs / mine for (mine, _), (theirs, _) in zip(seen, results[rival], strict=True)]
        walls, processors = zip(*seen, strict=True)
        ratio = f"{times_as(median(ratios))} ({times_as(min(ratios))} - {times_as(max(ratios))})"
        judged = verdict(median(walls) / tapes, None if number else TARGET, "<=", duration)
        each = [duration(median(times) / tapes) for times in (processors, walls)]
        shown.append([name, *each, ratio, str(len(seen)), *judged])
    return shown


def main() -> None:
    """Print a row for each contestant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", help="a revision of this repository")
    parser.add_argument("--tapes", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "tapes")
        folder.mkdir()
        for number in range(options.tapes):
            make_tape(folder / f"{number:04}.yaml", number)
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        versions = {"": ROOT}
        if options.against:
            versions[f" of {options.against}"] = unpacked(options.against, Path(place, "then"))
        turns = {
            name + of: partial(took, where, program, folder)
            for of, where in versions.items()
            for name, program in (("the command", COMMAND), ("the Python API", API))
        }
        results = rounds(turns, seconds=options.seconds, least=3)
    title = f"{options.tapes} tapes with {size:.0f} MB, on {os.cpu_count()} cores"
    print(table(title, HEADS, rows(results, [*turns][-1], options.tapes)))


if __name__ == "__main__":
    main()
