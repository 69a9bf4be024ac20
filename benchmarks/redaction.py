"""What redaction costs, beside another version of fakellm: `python benchmarks/redaction.py --against 38a8bc5`.

An answer of ten megabytes is redacted: a stream of deltas, a document with embeddings, a text of a program, a picture
in base64. `--against` is a revision of this repository. Each version runs in a process of its own; the two
take turns, and what counts is the time of the processor, of which the median over the rounds is shown.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]

WORKER = r"""
import base64, importlib, json, random, sys, time
import fakellm
Redactor = importlib.import_module("fakellm.cassette.redaction").Redactor  # as rooms are older than its public name
assert fakellm.__file__.startswith(sys.argv[1]), fakellm.__file__

rand, size = random.Random(1), int(float(sys.argv[2]) * 2**20)
WORDS = "the model of a token says that streams are read by key and closed in time, or not at all".split()


def text(length):
    return " ".join(rand.choices(WORDS, k=length // 5))


def stream():
    chunk = 'data: {"id":"chatcmpl-9x","choices":[{"index":0,"delta":{"content":"%s "}}]}\n\n'
    return "".join(chunk % rand.choice(WORDS) for _ in range(size // 80)).encode()


def embeddings():
    data = [{"embedding": [rand.uniform(-1, 1) for _ in range(1536)]} for _ in range(size // 33_000)]
    return json.dumps({"data": data}).encode()


def program():
    line = "    result_%d = await self.get_access_token(client.auth, key=%r)  # %s\n"
    lines = [line % (rand.randrange(10**6), text(20), text(40)) for _ in range(size // 120)]
    return json.dumps({"text": "".join(lines)}).encode()


def picture():
    return json.dumps({"b64_json": base64.b64encode(rand.randbytes(size * 3 // 4)).decode()}).encode()


BODIES = {f.__name__: f() for f in (stream, embeddings, program, picture)}
print("ready", flush=True)
for line in sys.stdin:
    body = BODIES[line.strip()]
    response = {"status": {"code": 200, "message": "OK"}, "headers": {}, "body": {"string": body},
                "stream": {"sizes": [len(body)], "delays": [0.0], "end": "complete", "error": None}}
    redacts = Redactor(["named a1B2c3D4e5"], {})
    start = time.process_time()
    redacts.response(response)
    print(time.process_time() - start, flush=True)
"""
JOBS = ("stream", "embeddings", "program", "picture")


class Version:
    """A process in which one version redacts."""

    def __init__(self, place: Path, size: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", WORKER, str(place), str(size)],
            env={**os.environ, "PYTHONPATH": str(place), "PYTHONHASHSEED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._process.stdout.readline()

    def run(self, name: str) -> float:
        """Return the seconds of the processor that one redaction takes."""
        self._process.stdin.write(name + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def main() -> int:
    """Print a row for each body; exit with 1 if this version takes more time than was allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", required=True, help="a revision of this repository")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=float, default=10, help="megabytes of each body")
    parser.add_argument("--most", type=float, default=1.1, help="the largest ratio that is allowed, over all bodies")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        archive = ["git", "-C", ROOT, "archive", options.against, "fakellm"]
        tree = subprocess.run(archive, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=tree, check=True)
        versions = [Version(ROOT, options.size), Version(Path(folder), options.size)]
        sums = [0.0, 0.0]
        for name in JOBS:
            times = [[version.run(name) for version in versions] for _ in range(options.rounds)]
            now, then = (median(column) for column in zip(*times, strict=True))
            sums = [sums[0] + now, sums[1] + then]
            print(f"{name:<12} now {now:7.2f} s   {options.against} {then:7.2f} s   ratio {now / then:.2f}", flush=True)
        for version in versions:
            version.close()
    print(f"{'all':<12} now {sums[0]:7.2f} s   {options.against} {sums[1]:7.2f} s   ratio {sums[0] / sums[1]:.2f}")
    return int(sums[0] > options.most * sums[1])


if __name__ == "__main__":
    raise SystemExit(main())
