"""What a faked call costs a test, beside another version of fakellm: `python benchmarks/calls.py --against 38a8bc5`.

A test makes its client, streams ten chunks and closes; that is "one call". The sweeps make many clients: a fault at
every position of ten words, and all contracts of a stream. `--against` is a wheel, or a revision of this repository, of
which a wheel is built. Each version runs in a process of its own, the SDKs are the same, and the two take turns. Two
minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from functools import partial
from pathlib import Path

from measure import SPEED_HEADS, Row, rounds, speeds, table

ROOT = Path(__file__).resolve().parents[1]
WORKER = r"""
import gc, importlib, os, sys, time
import anthropic, openai
from google import genai
from fakellm import FakeProvider, Script, every_fault
from fakellm.contracts import check_stream
try:
    from fakellm.http import intercept
except ImportError:  # before there were rooms
    intercept = importlib.import_module("fakellm.intercept").intercept

os.environ.update(OPENAI_API_KEY="k", ANTHROPIC_API_KEY="k", GEMINI_API_KEY="k")
WORDS = Script.of("one two three four five six seven eight nine ten", split="words")
ASKED = {"model": "m", "messages": [{"role": "user", "content": "?"}]}


def ask_openai():
    with openai.OpenAI(max_retries=0) as client:
        chunks = list(client.chat.completions.create(**ASKED, stream=True))
    if not chunks or chunks[-1].choices[0].finish_reason is None:
        raise ValueError("half an answer")
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def ask_anthropic():
    with anthropic.Anthropic() as client, client.messages.stream(**ASKED, max_tokens=9) as stream:
        return "".join(stream.text_stream)


def ask_gemini():
    client = genai.Client()
    try:
        return "".join(chunk.text or "" for chunk in client.models.generate_content_stream(model="m", contents="?"))
    finally:
        client.close()


def one_call(name, ask):
    with intercept(FakeProvider(name).otherwise(WORDS)):
        assert ask() == WORDS.text


@every_fault(WORDS)
def sweep(faulty):
    with intercept(FakeProvider("openai").otherwise(faulty)):
        try:
            ask_openai()
        except (openai.APIError, ValueError, OSError, *HTTP):
            return
        raise AssertionError("half an answer was taken for a whole one")


HTTP = tuple(sys.modules[name].HTTPError for name in ("httpx", "httpx2") if name in sys.modules)


class App:
    def stream(self, question):
        with openai.OpenAI(max_retries=0) as client:
            for chunk in client.chat.completions.create(**ASKED, stream=True):
                if chunk.choices:
                    yield chunk.choices[0].delta.content or ""


JOBS = {
    "one call, openai": lambda: one_call("openai", ask_openai),
    "one call, anthropic": lambda: one_call("anthropic", ask_anthropic),
    "one call, google-genai": lambda: one_call("gemini", ask_gemini),
    "every_fault, ten words": sweep,
    'check_stream(api="openai")': lambda: check_stream(App, api="openai"),
}
import fakellm
assert fakellm.__file__.startswith(sys.argv[1]), fakellm.__file__
print("ready", flush=True)
for line in sys.stdin:
    name, number = line.rstrip("\n").split("\t")
    gc.collect()
    start = time.perf_counter()
    for _ in range(int(number)):
        JOBS[name]()
    print((time.perf_counter() - start) / int(number), flush=True)
"""
JOBS = {  # with how many calls make a turn
    "one call, openai": (10, 4.0),
    "one call, anthropic": (10, 4.0),
    "one call, google-genai": (5, 4.0),
    "every_fault, ten words": (1, 4.0),
    'check_stream(api="openai")': (1, 3.0),
}


class Version:
    """A process in which one version of fakellm runs jobs."""

    def __init__(self, *places: Path) -> None:
        path = os.pathsep.join(map(str, places))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", WORKER, str(places[0])],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def _answer(self) -> str:
        if not (line := self._process.stdout.readline()):
            msg = "a version of fakellm failed: see above"
            raise SystemExit(msg)
        return line

    def run(self, name: str, number: int) -> float:
        """Return the seconds of one call of the job."""
        self._process.stdin.write(f"{name}\t{number}\n")
        self._process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def wheel_of(revision: str, folder: Path) -> Path:
    """Build a wheel of a revision; return where it is."""
    archive = subprocess.run(["git", "-C", ROOT, "archive", revision], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder / "dist", folder]
    subprocess.run(build, check=True)
    return next((folder / "dist").glob("*.whl"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", required=True, help="a wheel of fakellm-stream, or a revision of this repository")
    parser.add_argument("--seconds", type=float, default=20, help="for each row")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        there, source = Path(folder, "there"), Path(folder, "source")
        source.mkdir()
        wheel = Path(options.against)
        with zipfile.ZipFile(wheel if wheel.suffix == ".whl" else wheel_of(options.against, source)) as packed:
            packed.extractall(there)
        versions = {"now": Version(ROOT, ROOT / "pytest_plugin"), options.against: Version(there)}
        rows = []
        for name, (number, target) in JOBS.items():
            for version in versions.values():
                version.run(name, 1)
            turns = {key: partial(version.run, name, number) for key, version in versions.items()}
            times = rounds(turns, seconds=options.seconds)
            rows += [[name, *cells[1:]] for cells in speeds(times, [Row("now", options.against, target)])]
        for version in versions.values():
            version.close()
    print(table("a faked call, this version and another in turn, medians", SPEED_HEADS, rows))


if __name__ == "__main__":
    main()
