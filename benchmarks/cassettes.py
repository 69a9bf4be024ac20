"""How fast tapes play, load and record, beside plain vcrpy: `python benchmarks/cassettes.py`, about a minute.

A stream of 10,000 chunks is recorded from a fake in this process, and played to the official openai client; vcrpy plays
the same tape as one piece. The tape that is loaded has about 10 MB. Recording is measured against the same client
without a recorder, on a transport that takes no time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import openai
import vcr
from measure import SPEED_HEADS, Row, by_rivals, race, speeds, table
from vcr.cassette import Cassette

from fakellm import FakeProvider, Script
from fakellm.cassette.files import Files
from fakellm.cassette.recorder import Recording, tee
from fakellm.cassette.redaction import Redactor
from fakellm.cassette.scripted import interaction_of, write
from fakellm.cassette.tape import Tape
from fakellm.intercept import Interception
from fakellm.transport import transport

if int(openai.__version__.partition(".")[0]) >= 3:
    import httpx2 as http
else:
    import httpx as http

CHUNKS = 10_000
SECONDS = 20.0
URL = "https://api.openai.com/v1/chat/completions"
ASKED: Any = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
Job = Callable[[], object]

PLAYS = [Row("fakellm", "vcrpy", 1.0)]
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


def plays(path: Path) -> dict[str, Job]:
    client = openai.OpenAI(api_key="none", max_retries=0)

    def ours() -> None:
        tape = Tape(path, mode="none", redactor=Redactor(environ={}))
        interception = Interception()
        interception.tape = tape
        with tape.open(), interception.on():
            read(client)

    def theirs() -> None:
        with vcr.VCR(record_mode="none").use_cassette(str(path)):
            read(client)

    return {"fakellm": ours, "vcrpy": theirs}


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


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder, "small.yaml"), Path(folder, "large.yaml")
        make_tape(small)
        make_tape(large, copies=5)
        size = large.stat().st_size / 1e6
        times = race(by_rivals(plays(small), PLAYS), seconds=SECONDS)
        loaded = race(by_rivals(loads(large), LOADS), seconds=SECONDS)
    recorded = race(by_rivals(records(), RECORDS), seconds=SECONDS / 2)
    print(
        table(f"playing {CHUNKS:,} chunks to openai {openai.__version__}, medians", SPEED_HEADS, speeds(times, PLAYS))
    )
    print(table(f"loading a tape of {size:.1f} MB, medians", SPEED_HEADS, speeds(loaded, LOADS)))
    print(table(f"reading {CHUNKS:,} chunks, medians", SPEED_HEADS, speeds(recorded, RECORDS)))
    over = median(recorded["recorded"]) - median(recorded["not recorded"])
    print(f"\nrecording takes {over / CHUNKS * 1e6:.2f} us a chunk")


if __name__ == "__main__":
    main()
