"""What `fakellm record` adds to the first chunk of a stream: `python benchmarks/record.py`.

An upstream on loopback answers at once with a stream of 100 events. A client asks it directly and through the command,
in turn, over connections that it keeps, with a short prompt and with one of 100 kB. The upstream, the command and the
client are processes of their own. What counts is the time from the request to the first bytes of the body.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from statistics import median

from measure import duration, table, verdict

ROUNDS = 400
TARGET = 0.002
PROMPTS = {"a short prompt": "Hello", "a prompt of 100 kB": "word " * 20_000}
UPSTREAM = """
import asyncio, sys
from fakellm import FakeProvider
from fakellm.server import Server

async def main():
    async with Server([FakeProvider("openai").otherwise(*["word "] * 100)], keep=10) as server:
        print(server.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


def first_chunk(connection: http.client.HTTPConnection, body: str) -> float:
    """Return the seconds until the first bytes of an answer's body came."""
    start = time.perf_counter()
    connection.request("POST", "/openai/v1/chat/completions", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    answer.read(1)
    taken = time.perf_counter() - start
    answer.read()
    return taken


def ask(direct: int, through: int) -> None:
    """Ask both in turn and say what was seen, as the command that is recorded."""
    ports = {"direct": direct, "through": through}
    connections = {name: http.client.HTTPConnection("127.0.0.1", port) for name, port in ports.items()}
    rows = []
    for name, prompt in PROMPTS.items():
        body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": prompt}]})
        times: dict[str, list[float]] = {name: [] for name in ports}
        for number in range(ROUNDS + 20):
            for way, connection in connections.items():
                taken = first_chunk(connection, body)
                if number >= 20:
                    times[way].append(taken)
        later = median(b - a for a, b in zip(times["direct"], times["through"], strict=True))
        both = [duration(median(each)) for each in times.values()]
        rows.append([name, *both, duration(later), *verdict(later, TARGET, "<=", duration)])
    print(table("the first chunk", ("of a stream with", "directly", "recorded", "later by", "target", ""), rows))


def main() -> None:
    """Start the upstream, and record a command that asks."""
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([sys.executable, "-c", UPSTREAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as upstream,
    ):
        assert upstream.stdout is not None
        port = int(upstream.stdout.readline())
        to = ["--into", folder, "--upstream", f"openai=http://127.0.0.1:{port}/openai/v1"]
        asking = [sys.executable, __file__, "ask", str(port)]
        subprocess.run([sys.executable, "-m", "fakellm", "record", *to, "--", *asking], check=True)
        upstream.communicate()


if __name__ == "__main__":
    if sys.argv[1:2] == ["ask"]:
        base = os.environ["OPENAI_BASE_URL"]
        ask(int(sys.argv[2]), int(base.partition("://")[2].partition("/")[0].rpartition(":")[2]))
    else:
        main()
