"""How fast tapes play, load and record, beside plain vcrpy: `python benchmarks/cassettes.py`, about a minute.

A tape of 10,000 chunks is played to the HTTP client by itself, and to the official openai client. vcrpy plays it as one
piece, which is less work for the SDK; one of the rows has ours do so too. The tape that is loaded has 14 MB. Recording
is measured against the same client without a recorder, on a transport that takes no time.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import openai
import vcr
from measure import SPEED_HEADS, Row, by_rivals, duration, race, speeds, table
from vcr.cassette import Cassette

from fakellm import FakeProvider, Script
from fakellm.cassette import Files, Recording, Redactor, Tape, interaction_of, tee, write
from fakellm.http import Interception, transport

if int(openai.__version__.partition(".")[0]) >= 3:
    import httpx2 as http
else:
    import httpx as http

CHUNKS = 10_000
SECONDS = 20.0
URL = "https://api.openai.com/v1/chat/completions"
ASKED: Any = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
Job = Callable[[], object]
T = TypeVar("T")

PLAYS = [Row("fakellm, in one piece", "vcrpy", 1.0), Row("fakellm, chunk by chunk", "vcrpy")]
LOADS = [Row("fakellm, load", "vcrpy, load", 1.0)]
RECORDS = [Row("recorded", "not recorded")]


def make_tape(path: Path, copies: int = 1) -> None:
    """Write a tape of streams, as a recording leaves it."""
    script = Script(*["tok "] * CHUNKS)
    write(path, *(interaction_of(script, URL, {**ASKED, "seed": number}) for number in range(copies)))


def read(client: openai.OpenAI) -> None:
    count = sum(1 for _ in client.chat.completions.create(**ASKED, seed=0))
    if count < CHUNKS:
        msg = f"{count} chunks came"
        raise SystemExit(msg)


def on_tape(path: Path, job: Callable[[], T], *, whole: bool = False) -> T:
    tape = Tape(path, mode="none", redactor=Redactor(environ={}))
    if whole:
        tape.rechunk(lambda body: [body])
    interception = Interception()
    interception.tape = tape
    with tape.open(), interception.on():
        return job()


def on_vcrpy(path: Path, job: Callable[[], T]) -> T:
    with vcr.VCR(record_mode="none").use_cassette(str(path)):
        return job()


def plays(path: Path) -> dict[str, Job]:
    client = openai.OpenAI(api_key="none", max_retries=0)

    return {
        "fakellm, in one piece": lambda: on_tape(path, lambda: read(client), whole=True),
        "fakellm, chunk by chunk": lambda: on_tape(path, lambda: read(client)),
        "vcrpy": lambda: on_vcrpy(path, lambda: read(client)),
    }


def loads(path: Path) -> dict[str, Job]:
    return {
        "fakellm, load": lambda: Cassette.load(path=str(path), persister=Files()),
        "vcrpy, load": lambda: Cassette.load(path=str(path)),
    }


def records() -> dict[str, Job]:
    provider = FakeProvider("openai").otherwise(Script(*["tok "] * CHUNKS))
    client = http.Client(transport=transport(provider, http))

    def run(*, recorded: bool) -> None:
        with client.stream("POST", URL, json=ASKED) as response:
            if recorded:
                tee(http, response, Recording(response, lambda _: None, ""))
            for _ in response.stream:
                pass

    return {"recorded": lambda: run(recorded=True), "not recorded": lambda: run(recorded=False)}


def chunks_per_second(path: Path) -> list[list[str]]:
    """Count what reaches the HTTP client, loading included."""
    rows = []
    with http.Client() as client:

        def count() -> int:
            with client.stream("POST", URL, json={**ASKED, "seed": 0}) as response:
                return sum(1 for _ in response.iter_bytes())

        for name, play in (("fakellm", lambda: on_tape(path, count)), ("vcrpy", lambda: on_vcrpy(path, count))):
            times = []
            for _ in range(9):
                start = time.perf_counter()
                chunks = play()
                times.append(time.perf_counter() - start)
            rows.append([name, f"{chunks:,}", duration(median(times)), f"{chunks / median(times):,.0f}"])
    return rows


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder, "small.yaml"), Path(folder, "large.yaml")
        make_tape(small)
        make_tape(large, copies=5)
        size = large.stat().st_size / 1e6
        counted = chunks_per_second(small)
        times = race(by_rivals(plays(small), PLAYS), seconds=SECONDS)
        loaded = race(by_rivals(loads(large), LOADS), seconds=SECONDS)
    recorded = race(by_rivals(records(), RECORDS), seconds=SECONDS / 2)
    heads = ("played by", "chunks for the client", "takes", "chunks a second")
    print(table(f"playing {CHUNKS:,} chunks to {http.__name__}, loading included", heads, counted))
    print(
        table(f"playing {CHUNKS:,} chunks to openai {openai.__version__}, medians", SPEED_HEADS, speeds(times, PLAYS))
    )
    print(table(f"loading a tape of {size:.1f} MB, medians", SPEED_HEADS, speeds(loaded, LOADS)))
    print(table(f"reading {CHUNKS:,} chunks, medians", SPEED_HEADS, speeds(recorded, RECORDS)))
    over = median(recorded["recorded"]) - median(recorded["not recorded"])
    print(f"\nrecording takes {over / CHUNKS * 1e6:.2f} us a chunk")


if __name__ == "__main__":
    main()
