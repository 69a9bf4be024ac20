"""Large tapes, beside another version of fakellm: `python benchmarks/tapes.py --against 1b6b929`, a few minutes.

A tape of 100 MB is opened, and one of its answers streams to httpx: the time until its first chunk is there. Each
version runs in a process of its own, one for each turn; the two take turns, and medians are compared. One tape has few
large answers, one many small ones, and one large requests, as agents send them. What is asked for is in the middle.

Memory is the peak of `tracemalloc` from before the tape is opened until the last chunk has come, in turns of their own,
as it slows down everything. It is shown beside the largest interaction: as it stands in the file, and as the version
before holds it, body and chunks, once a tape with nothing else on it was loaded and its answer was cut.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from measure import duration, table, times_as, verdict

ROOT = Path(__file__).resolve().parents[1]
URL = "https://api.openai.com/v1/chat/completions"

WORKER = r"""
import gc, importlib, sys, time, tracemalloc
import fakellm, httpx
from fakellm.cassette import Redactor, Tape
from fakellm.http import playing
assert fakellm.__file__.startswith(sys.argv[1]), fakellm.__file__

_, _, small, path, what = sys.argv
URL = "https://api.openai.com/v1/chat/completions"


def play(path):
    with open(path + ".asked", "rb") as file:
        asked = file.read()
    start = time.perf_counter()
    with httpx.Client() as client, playing(Tape(path, mode="none", redactor=Redactor(environ={}))):
        with client.stream("POST", URL, content=asked, headers={"content-type": "application/json"}) as response:
            chunks = response.iter_bytes()
            next(chunks)
            first = time.perf_counter() - start
            for _ in chunks:
                pass
    return first


play(small)  # imports, and what else is done once
gc.collect()
if what == "held":
    requests, responses = fakellm.cassette.Files().load_cassette(path)[:2]
    del requests, responses
    gc.collect()
if what != "time":
    tracemalloc.start()
if what == "held":
    requests, responses = fakellm.cassette.Files().load_cassette(path)[:2]
    chunks = importlib.import_module("fakellm.cassette.replay").chunks_of(responses[0])
    gc.collect()
    print(tracemalloc.get_traced_memory()[0])
else:
    first = play(path)
    print(tracemalloc.get_traced_memory()[1] if what == "memory" else first)
"""

KINDS = {"large answers": (8, 0.999), "small answers": (1000, 0.98), "large requests": (400, 0.3)}
"""How many interactions a tape has, and which part of its bytes are answers."""


def make(path: Path, count: int, answers: float, size: float) -> int:
    """Write a tape of so many megabytes; return the bytes of its largest interaction in the file."""
    from vcr.request import Request

    from fakellm.cassette import Files

    chunk = 'data: {"id":"chatcmpl-%d","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-mini",'
    chunk += '"choices":[{"index":0,"delta":{"content":" token %d"},"logprobs":null,"finish_reason":null}]}\n\n'
    share = size * 1e6 / count
    requests, responses = [], []
    for number in range(count):
        chunks = [(chunk % (number, at)).encode() for at in range(max(2, int(share * answers / 225)))]
        line = f'{{"role":"user","content":"what does the tool say of result {number}"}},'
        messages = line * int(share * (1 - answers) / len(line)) + '{"role":"user","content":"Hi"}'
        body = b'{"seed":%d,"messages":[%b]}' % (number, messages.encode())
        requests.append(Request("POST", URL, body, {"content-type": "application/json"}))
        if number == count // 2:
            Path(f"{path}.asked").write_bytes(body)
        stream = {"sizes": list(map(len, chunks)), "delays": [12.5] * len(chunks), "end": "complete", "error": None}
        headers = {"content-type": ["text/event-stream"]}
        status = {"code": 200, "message": "OK"}
        responses.append({"status": status, "headers": headers, "body": {"string": b"".join(chunks)}, "stream": stream})
    Files().save_cassette(path, {"requests": requests, "responses": responses})
    return max(map(len, path.read_bytes().split(b"\n- request:\n")))


def run(place: Path, small: Path, path: Path, what: str) -> float:
    """Return what a process of a version prints; it has played a small tape before."""
    environment = {**os.environ, "PYTHONPATH": str(place), "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-P", "-c", WORKER, str(place), str(small), str(path), what]
    return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def main() -> int:
    """Print the tables; exit with 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", required=True, help="a revision of this repository")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=float, default=100, help="megabytes of each tape")
    parser.add_argument("--only", choices=KINDS, action="append", help="one kind of tape")
    options = parser.parse_args()
    times, memory = [], []
    with tempfile.TemporaryDirectory() as folder:
        then = Path(folder, "then")
        then.mkdir()
        archive = ["git", "-C", ROOT, "archive", options.against, "fakellm"]
        tree = subprocess.run(archive, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", then], input=tree, check=True)
        for kind, (count, answers) in KINDS.items():
            if options.only and kind not in options.only:
                continue
            small, path, alone = (Path(folder, f"{name} {kind}.yaml") for name in ("small", "large", "alone"))
            make(small, 1, 0.9, 0.01)
            largest = make(path, count, answers, options.size)
            make(alone, 1, answers, options.size / count)
            took = [[run(place, small, path, "time") for place in (ROOT, then)] for _ in range(options.rounds)]
            ours, theirs = (median(column) for column in zip(*took, strict=True))
            ratio = median(old / new for new, old in took)
            told = verdict(ratio, 3.0, ">=", times_as)
            times.append([kind, duration(ours), duration(theirs), times_as(ratio), *told])
            held = run(then, small, alone, "held")
            peaks = [run(place, small, path, "memory") for place in (ROOT, then)]
            sizes = [f"{value / 1e6:.2f} MB" for value in (*peaks, largest, held)]
            bound = 1.2 if kind == "large answers" else None
            judged = verdict(peaks[0] / held, bound, "<=", times_as)
            memory.append([kind, *sizes, times_as(peaks[0] / largest), times_as(peaks[0] / held), *judged])
    heads = ("tape", "first chunk now", options.against, "as fast", "target", "")
    print(table(f"from opening a tape of {options.size:g} MB to the first chunk of an answer, medians", heads, times))
    heads = ("tape", "peak now", options.against, "largest in the file", "in memory", "peak / file", "peak / memory")
    heads = (*heads, "target", "")
    print(table("memory until the last chunk", heads, memory))
    return int(any("MISSED" in row for row in (*times, *memory)))


if __name__ == "__main__":
    raise SystemExit(main())
