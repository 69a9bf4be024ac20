"""How fast archives are swept: `FAKELLM_CORPUS=... python benchmarks/sweeps.py --against 1b6b929`.

Three tables. A consumer over recorded streams of real providers, in one process: `sweep` beside `check_consumer` in a
loop, as it is in another revision of this repository; each turn is a process of its own, so nothing is remembered from
the turn before, and the times are those of the processor. Then the same sweep in two processes and in one, by the
wall; and beside what the machine itself gives two processes that have nothing to do with each other: two such sweeps
at the same time, of which half is the best that two processes could take for one. Then streams of 2 kB that are
generated from scripts: each is read, decoded and checked against the grammar of its API, and the memory of all
processes is looked at on the way. `--every 8` takes each eighth stream of the corpus, `--streams` so many generated
ones.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from measure import SPEED_HEADS, Row, duration, rounds, speeds, table, times_as

from fakellm import Finish, Script, ToolCall
from fakellm.cassette import interaction_of
from fakellm.contracts import check_wire, sweep
from fakellm.wire.openai import ChatCodec

ROOT = Path(__file__).resolve().parents[1]
NOW = r"""
import sys
sys.path.insert(0, sys.argv[2])
from bench_consumer import Counted
from fakellm.contracts import sweep
import fakellm, time
assert fakellm.__file__.startswith(sys.argv[1]), fakellm.__file__
consume = Counted()
start = time.process_time()
report = sweep(sys.argv[3], consume, workers=0)
print(time.process_time() - start, consume.runs, report.failed)
"""
THEN = r"""
import base64, json, sys
sys.path.insert(0, sys.argv[2])
from bench_consumer import Counted
from fakellm.contracts import check_consumer
from fakellm.errors import ContractUsageError
import fakellm, time
assert fakellm.__file__.startswith(sys.argv[1]), fakellm.__file__
consume = Counted()
start, failed = time.process_time(), 0
for line in open(sys.argv[3]):
    try:
        failed += bool(check_consumer(consume, base64.b64decode(json.loads(line)["body_base64"])).failed)
    except ContractUsageError:
        failed += 1
print(time.process_time() - start, consume.runs, failed)
"""
ALONE = r"""
import sys, time
sys.path.insert(0, sys.argv[1])
from fakellm.contracts import sweep
start = time.perf_counter()
sweep(sys.argv[2], "bench_consumer:events", workers=1)
print(time.perf_counter() - start)
"""
CONSUMER = r"""
import json
from fakellm.wire import SSEDecoder


def events(chunks):
    "Return the objects of an event stream."
    decoder = SSEDecoder()
    found = [event for chunk in chunks for event in decoder.feed(chunk)]
    return [json.loads(event.data) if event.data[:1] == "{" else event.data for event in [*found, *decoder.close()]]


class Counted:
    def __init__(self):
        self.runs = 0

    def __call__(self, chunks):
        self.runs += 1
        return events(chunks)
"""
WORDS = "the model of a token says that streams are read by key and closed in time, or not at all".split()  # noqa: SIM905
URL = "https://api.openai.com/v1/chat/completions"
ASKED = {"model": "m", "messages": [{"role": "user", "content": "?"}], "stream": True}
PART = 10_000
"""Generated streams of a file."""


# -- the corpus -------------------------------------------------------------------------------------------


def corpus(path: Path, every: int) -> tuple[int, int]:
    """Write recorded streams as rows; return how many, and their bytes."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    import recorded

    bodies = []
    for row, stream in recorded.streams():
        try:
            bodies.append(recorded.body(row, stream))
        except (KeyError, OSError):
            continue
    bodies = [body for body in bodies if body][::every]
    path.write_text("".join(json.dumps({"body_base64": base64.b64encode(body).decode()}) + "\n" for body in bodies))
    return len(bodies), sum(map(len, bodies))


def took(program: str, place: Path, folder: Path, told: dict[str, list[str]], name: str) -> float:
    """Return the seconds of the processor that a program says it took; keep what else it says."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, str(place), str(folder), str(folder / "corpus.jsonl")],
        env={**os.environ, "PYTHONPATH": str(place)}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    seconds, *told[name] = done.stdout.split()
    return float(seconds)


def unpacked(revision: str, folder: Path) -> Path:
    """Put the package of a revision into a folder."""
    archive = subprocess.run(["git", "-C", ROOT, "archive", revision, "fakellm"], check=True, capture_output=True)
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


def beside(options: argparse.Namespace, folder: Path) -> None:
    """Print how fast the corpus is swept, beside `check_consumer` in a loop."""
    streams, size = corpus(folder / "corpus.jsonl", options.every)
    (folder / "bench_consumer.py").write_text(CONSUMER)
    told: dict[str, list[str]] = {}
    ours, rival = "sweep, one process", f"check_consumer of {options.against}"
    then = unpacked(options.against, folder / "then")
    turns = {
        ours: partial(took, NOW, ROOT, folder, told, ours),
        rival: partial(took, THEN, then, folder, told, rival),
    }
    times = rounds(turns, seconds=options.seconds, least=options.rounds)
    title = f"{streams} recorded streams with {size / 1e6:.1f} MB, a stream, by the processor"
    print(table(title, SPEED_HEADS, speeds(times, [Row(ours, rival, 5.0)], per=streams)))
    for name, (runs, failed) in told.items():
        print(f"{name}: {int(runs) / streams:.0f} runs of the consumer for a stream, {failed} streams failed")


# -- two processes ----------------------------------------------------------------------------------------


class Seen:
    """Looks at the processes of a sweep as it goes on: their seconds of the processor, and their memory."""

    def __init__(self) -> None:
        self.used: dict[int, float] = {}
        self.memory: list[float] = []

    def look(self) -> None:
        """Look at this process and those that it has started."""
        peaks = [peak(os.getpid())]
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[1]) == os.getpid():
                    pid = int(stat.parent.name)
                    self.used[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                    peaks.append(peak(pid))
            except (OSError, IndexError):
                continue
        self.memory.append(sum(peaks))


def peak(pid: int) -> float:
    """Return the most MB that a process had."""
    said = Path(f"/proc/{pid}/status").read_text()
    return int(said.partition("VmHWM:")[2].split()[0]) / 1e3


def in_processes(workers: int, path: Path) -> float:
    """Return the seconds of the wall that a sweep takes in so many processes."""
    start = time.perf_counter()
    sweep(path, "bench_consumer:events", workers=workers)
    return time.perf_counter() - start


def side_by_side(folder: Path) -> float:
    """Have two sweeps run at once, each in one process; return the half of what one of them takes in the mean."""
    command = [sys.executable, "-P", "-c", ALONE, str(folder), str(folder / "corpus.jsonl")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    return sum(float(one.communicate()[0]) for one in both) / len(both) / 2


def by_processes(options: argparse.Namespace, folder: Path) -> None:
    """Print what two processes bring."""
    sys.path.insert(0, str(folder))
    turns: dict[str, Callable[[], float]] = {
        "2 processes": partial(in_processes, 2, folder / "corpus.jsonl"),
        "1 process": partial(in_processes, 1, folder / "corpus.jsonl"),
        "half of two sweeps": partial(side_by_side, folder),
    }
    times = rounds(turns, seconds=options.seconds, least=options.rounds)
    rows = [Row("2 processes", "1 process", 1.8), Row("2 processes", "half of two sweeps", 0.9)]
    print(table("the same, by the wall: believe the first on two free cores", SPEED_HEADS, speeds(times, rows)))


# -- a million streams ------------------------------------------------------------------------------------


def checked(chunks: object) -> int:
    """Decode a stream, and hold it to the grammar of its API; return how many events it has."""
    pieces = [*chunks]
    check_wire(pieces, api="openai_chat").verify()
    return len(list(ChatCodec().decode(b"".join(pieces))))


def generate(folder: Path, streams: int) -> tuple[int, float]:
    """Write rows in files; return how many, and the mean of their bytes. Of files that repeat there are links."""
    rows = []
    for number in range(PART):
        words = [f"{WORDS[(number * 7 + at * 3) % len(WORDS)]} " for at in range(5 + number % 3)]
        last = [ToolCall("search", json.dumps({"n": number})), Finish("tool_calls")] if number % 5 == 0 else [Finish()]
        rows.append(interaction_of(Script(*words, *last), URL, ASKED)[1]["body"]["string"].decode())
    first = folder / "000000.jsonl"
    first.write_text("".join(json.dumps({"body": row, "api": "openai.chat"}) + "\n" for row in rows))
    for number in range(1, streams // PART):
        os.link(first, folder / f"{number:06}.jsonl")
    return max(streams // PART, 1) * PART, sum(map(len, rows)) / len(rows)


def million(options: argparse.Namespace, folder: Path) -> None:
    """Print how fast generated streams are read, decoded and checked, and whether memory grows."""
    streams, size = generate(folder, options.streams)
    seen, due = Seen(), [1]

    def progress(done: int) -> None:
        if done * 10 >= due[0] * streams:
            due[0] = done * 10 // streams + 1
            seen.look()

    start = time.perf_counter()
    report = sweep(folder, checked, limit=0, progress=progress)
    wall = time.perf_counter() - start
    if report.failed or report.streams != streams:
        raise SystemExit(f"that is not what was generated:\n{report}")
    memory = seen.memory
    heads = (
        "streams",
        "bytes each",
        "streams a second of the wall",
        "of a processor",
        "MB after 10 %",
        "at the end",
        "",
    )
    grown = memory[-1] / memory[0]
    row = (
        f"{streams:,}", f"{size:.0f}", f"{streams / wall:,.0f}", f"{streams / sum(seen.used.values()):,.0f}",
        f"{memory[0]:.0f}", f"{memory[-1]:.0f} ({times_as(grown)})", "met" if grown <= 1.1 else "MISSED",
    )  # fmt: skip
    print(table(f"generated streams, read, decoded, checked: {duration(wall)}", heads, [row]))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", required=True, help="a revision of this repository")
    parser.add_argument("--every", type=int, default=1, help="take each so many-th stream of the corpus")
    parser.add_argument("--streams", type=int, default=1_000_000, help="generated streams; 0 leaves them out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each of the first two tables, at least")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if os.environ.get("FAKELLM_CORPUS"):
            beside(options, folder)
            by_processes(options, folder)
        else:
            print("FAKELLM_CORPUS names no folder of recorded streams: two tables are left out")
        if options.streams:
            (folder / "generated").mkdir()
            million(options, folder / "generated")


if __name__ == "__main__":
    main()
