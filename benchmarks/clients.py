"""How fast the official openai client reads from a fake: `python benchmarks/clients.py`, about half a minute.

Each stream has 10,000 chunks of chat completions. The rivals serve the same bytes: a MockTransport of httpx2 in one
piece and chunk by chunk, and respx, by the mocker for httpx2 that pytest-httpx2 brings, in one piece. With openai 3
the clients are of httpx2, with openai 2 of httpx.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import openai
from measure import SPEED_HEADS, Row, by_rivals, duration, race, rounds, speeds, table, times_as, verdict

from fakellm import FakeProvider, Script
from fakellm.http import intercept
from fakellm.wire import pieces
from fakellm.wire.openai import ChatCodec

if int(openai.__version__.partition(".")[0]) >= 3:
    import httpx2 as http
else:
    import httpx as http

try:
    import pytest_httpx2  # noqa: F401 - registers a mocker
    import respx
except ImportError:
    respx = None

CHUNKS = 10_000
SECONDS = 30.0
SCRIPT = Script(*["tok "] * CHUNKS)
ASKED: Any = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
URL = "https://api.openai.com/v1/chat/completions"
SSE = {"content-type": "text/event-stream"}
Job = Callable[[], object]

ROWS = [
    Row("fakellm", "MockTransport, joined", 0.95),
    Row("fakellm", "MockTransport, chunks"),
    Row("fakellm", "pytest-httpx2 (respx), joined"),
    Row("fakellm, async", "MockTransport, joined, async", 0.95),
]


def chunks() -> list[bytes]:
    """Return the stream as fakellm sends it."""
    codec = ChatCodec()
    return [piece for piece in pieces(codec.encoder(codec.request(ASKED), 1), SCRIPT) if isinstance(piece, bytes)]


class Pieces(http.SyncByteStream):
    """A body that comes chunk by chunk."""

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._parts)


def read(client: openai.OpenAI) -> None:
    count = sum(1 for _ in client.chat.completions.create(**ASKED))
    if count < CHUNKS:
        msg = f"{count} chunks came"
        raise SystemExit(msg)


async def aread(client: openai.AsyncOpenAI) -> None:
    async for _ in await client.chat.completions.create(**ASKED):
        pass


def mocked(answer: Callable[[Any], Any]) -> Any:
    return http.Client(transport=http.MockTransport(answer))


def client(http_client: Any = None) -> openai.OpenAI:
    return openai.OpenAI(api_key="none", http_client=http_client)


def jobs(run: Callable[[Any], object]) -> dict[str, Job]:
    parts = chunks()
    joined = b"".join(parts)

    def whole(_: object) -> Any:
        return http.Response(200, headers=SSE, content=joined)

    ours, ours_async = client(), openai.AsyncOpenAI(api_key="none")
    theirs_async = openai.AsyncOpenAI(api_key="none", http_client=http.AsyncClient(transport=http.MockTransport(whole)))

    def faked(job: Job) -> None:
        with intercept(FakeProvider("openai").otherwise(SCRIPT)):
            job()

    plain, by_chunks = (
        client(mocked(whole)),
        client(mocked(lambda _: http.Response(200, headers=SSE, stream=Pieces(parts)))),
    )
    found: dict[str, Job] = {
        "fakellm": lambda: faked(lambda: read(ours)),
        "MockTransport, joined": lambda: read(plain),
        "MockTransport, chunks": lambda: read(by_chunks),
        "fakellm, async": lambda: faked(lambda: run(aread(ours_async))),
        "MockTransport, joined, async": lambda: run(aread(theirs_async)),
    }
    if respx is not None and http.__name__ == "httpx2":
        router = respx.mock(using="httpcore2", assert_all_called=False)
        router.post(URL).respond(200, headers=SSE, content=joined)

        def by_respx() -> None:
            with router:
                read(ours)

        found["pytest-httpx2 (respx), joined"] = by_respx
    return found


FIRST = """
import time
{before}
start = time.perf_counter()
{code}
print(time.perf_counter() - start)
"""
CALL = """
from fakellm import FakeProvider
from fakellm.http import intercept
with intercept(FakeProvider("openai").reply("Hel", "lo")):
    {job}
"""
ASK = "list(openai.OpenAI(api_key='none').chat.completions.create(model='m', messages=[], stream=True))"


def first(code: str, before: str = "") -> float:
    """Return the seconds that the code takes in a process of its own."""
    command = [sys.executable, "-c", FIRST.format(code=code, before=before)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def first_calls() -> list[list[str]]:
    """Compare what the first use of the fake costs with what importing the SDK costs."""
    whole = rounds(
        {
            "import": lambda: first("import openai"),
            "fake": lambda: first(CALL.format(job="pass"), "import openai"),
            "call": lambda: first(CALL.format(job=ASK), "import openai"),
        },
        seconds=10,
    )
    times = {name: median(values) for name, values in whole.items()}
    ratio = times["fake"] / times["import"]
    return [
        ["import openai", duration(times["import"]), "", "-", ""],
        ["the fake: import, intercept", duration(times["fake"]), times_as(ratio), *verdict(ratio, 1, "<=", times_as)],
        [
            "the same with the SDK's first call",
            duration(times["call"]),
            times_as(times["call"] / times["import"]),
            "-",
            "",
        ],
    ]


def main() -> None:
    with asyncio.Runner() as runner:
        found = jobs(runner.run)
        times = race(by_rivals(found, ROWS), seconds=SECONDS)
    size = len(json.dumps(ASKED))
    print(
        table(
            f"openai {openai.__version__}, {CHUNKS:,} chunks, a request of {size} bytes, medians",
            SPEED_HEADS,
            speeds(times, ROWS),
        )
    )
    print(table("first use in a process, medians", ("what", "takes", "of the import", "target", ""), first_calls()))


if __name__ == "__main__":
    main()
