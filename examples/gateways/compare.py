"""Runs nginx, haproxy and Caddy in front of `fakellm serve`, and compares what arrives with what their presets say.

`python examples/gateways/compare.py` runs those of the three that are on the PATH, in about a minute. Compared are the
status, headers, all bytes of the body, which of them come together and when, when the headers come, and how the body
ends. The exit code is 1 where something differs.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import fakes
import httpx

from fakellm.clock import VirtualClock
from fakellm.http import transport
from fakellm.wire import GATEWAYS

HERE = Path(__file__).parent
PORT, NOWHERE = 18180, 10
"""Where the server listens; how far behind a program's first port is its port in front of nothing."""
NEAR = 0.06
"""Seconds by which two times may differ."""
PATIENCE = 4.0
"""Seconds after which nothing more is taken to come."""
IMPATIENT = "nginx, proxy_read_timeout 1s"
PRESETS = {**GATEWAYS, IMPATIENT: replace(GATEWAYS["nginx"], silence=1.0)}
PROGRAMS = {
    "nginx": (["nginx", "-p", "{folder}", "-c", "{folder}/nginx.conf", "-e", "error.log"], "nginx.conf"),
    "haproxy": (["haproxy", "-f", "{folder}/haproxy.cfg"], "haproxy.cfg"),
    "caddy": (["caddy", "run", "--config", "{folder}/Caddyfile", "--adapter", "caddyfile"], "Caddyfile"),
}
PORTS = {
    "nginx": {"nginx": 18181, "nginx-unbuffered": 18182, "nginx-1.1": 18183, IMPATIENT: 18184},
    "haproxy": {"haproxy": 18185},
    "caddy": {"caddy": 18186},
}


FRAMING = ("date", "connection", "transfer-encoding", "content-length")
"""Headers that are not compared: the date, and what says where the body ends, which is compared by itself."""


class Seen(NamedTuple):
    """What arrived: a status, when the headers came, what came together when, how it ended, and the headers."""

    status: int
    head: float
    groups: list[tuple[float, bytes]]
    end: str
    headers: dict


def body_of(name):
    """Return the request for a stream, or for a document."""
    asked = {"model": name, "messages": [{"role": "user", "content": "Hi"}], "stream": name not in fakes.DOCUMENTS}
    return json.dumps(asked).encode()


def gathered(pieces):
    """Join what comes together."""
    groups = []
    for at, piece in pieces:
        if groups and at - groups[-1][0] < NEAR / 2:
            groups[-1] = groups[-1][0], groups[-1][1] + piece
        elif piece:
            groups.append((at, piece))
    return groups


# -- what the preset says ---------------------------------------------------------------------------------


def expected(gateway, name):
    """Play a stream behind a preset, on a virtual clock."""
    clock = VirtualClock()
    provider = fakes.provider().behind(PRESETS[gateway])
    provider.clock, provider.answers_alike = clock, True  # ids are those of a server
    head, pieces, status, headers, end = 0.0, [], 0, {}, "whole"
    with httpx.Client(transport=transport(provider, httpx), timeout=PATIENCE) as client:
        try:
            with client.stream("POST", "https://api.openai.com/v1/chat/completions", content=body_of(name)) as answer:
                head, status, headers = clock.now, answer.status_code, dict(answer.headers)
                pieces = []
                for piece in answer.iter_raw():
                    pieces.append((clock.now, piece))
        except httpx.TimeoutException:
            end = "no end"
        except httpx.HTTPError:
            end = "cut"
    return Seen(status, head, gathered(pieces), end, told(headers))


def told(headers):
    """Return the headers that are compared."""
    return {name: value for name, value in headers.items() if name not in FRAMING}


# -- what arrives -----------------------------------------------------------------------------------------


def arrived(port, name):
    """Ask for a stream at a port, with a socket."""
    body, reads, end = body_of(name), [], "cut"
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(PATIENCE)
        lines = ["POST /v1/chat/completions HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}"]
        client.sendall("\r\n".join([*lines, "connection: close", "", ""]).encode() + body)
        begun = time.monotonic()
        try:
            while data := client.recv(1 << 20):
                reads.append((time.monotonic() - begun, data))
        except TimeoutError:
            end = "no end"
        except ConnectionResetError:
            end = "cut"
    return _parsed(reads, end)


def _parsed(reads, end):
    head, _, rest = b"".join(data for _, data in reads).partition(b"\r\n\r\n")
    if not head:
        return Seen(0, 0.0, [], end, {})
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    position, times = 0, []
    for at, data in reads:
        position += len(data)
        times.append((position - len(head) - 4, at))
    came = next(at for reached, at in times if reached >= 0)
    if headers.get("transfer-encoding") == "chunked":
        pieces, is_whole = _chunks(rest, times)
    else:
        is_whole = "content-length" not in headers or len(rest) == int(headers["content-length"])
        before = [0, *(max(reached, 0) for reached, _ in times)]
        pieces = [(at, rest[was:reached]) for was, (reached, at) in zip(before, times, strict=False) if reached > was]
    return Seen(int(first.split()[1]), came, gathered(pieces), "whole" if is_whole else end, told(headers))


def _chunks(rest, times):
    """Return the chunks of a body, each with the time at which it was there, and whether the last one came."""
    at, found = 0, []
    while (line := rest.find(b"\r\n", at)) >= 0:
        size = int(rest[at:line], 16)
        if not size:
            return found, True
        at = line + 2 + size + 2
        when = next((moment for reached, moment in times if reached >= at), times[-1][1])
        found.append((when, rest[line + 2 : line + 2 + size]))
    return found, False


# -- both -------------------------------------------------------------------------------------------------


def differences(said, came):
    """Yield what differs, in words."""
    for field in ("status", "end", "headers"):
        if getattr(said, field) != getattr(came, field):
            yield f"{field}: the preset says {getattr(said, field)!r}, and it is {getattr(came, field)!r}"
    if b"".join(piece for _, piece in said.groups) != b"".join(piece for _, piece in came.groups):
        yield "the bytes"
    sizes = [[len(piece) for _, piece in seen.groups] for seen in (said, came)]
    if sizes[0] != sizes[1]:
        yield f"what comes together: the preset says {sizes[0]}, and it is {sizes[1]} bytes"
    times = zip([said.head, *(at for at, _ in said.groups)], [came.head, *(at for at, _ in came.groups)], strict=False)
    late = [f"{was:.2f} -> {at:.2f} s" for was, at in times if abs(at - was) > NEAR + 0.05 * was]
    if late:
        yield f"when it comes: {', '.join(late)}"


def waited_for(port):
    """Wait until somebody listens."""
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nobody listens at port {port}")


def compared(gateway, port, nowhere):
    """Compare all streams; print a line for each that differs, and return how many do."""
    tried = failed = 0
    for name in fakes.STREAMS:
        if name in ("silent", "no headers") and PRESETS[gateway].silence is not None and gateway != IMPATIENT:
            continue  # that would take a minute
        tried += 1
        for _ in range(3):  # a machine that does something else now and then is late
            came = arrived(nowhere if name == "refused" else port, name)
            found = list(differences(expected(gateway, name), came))
            if not found:
                break
        failed += bool(found)
        for text in found:
            print(f"  {gateway}, {name}: {text}")
    print(f"{gateway}: {tried} streams, {failed} differ")
    return failed


def main():
    """Run what is there."""
    failed = 0
    folder = Path(tempfile.mkdtemp())
    started = [subprocess.Popen([sys.executable, "-m", "fakellm", "serve", HERE / "fakes.py", "--port", str(PORT)])]
    try:
        waited_for(PORT)
        for program, (command, config) in PROGRAMS.items():
            if shutil.which(program) is None:
                print(f"{program} is not on the PATH: left out")
                continue
            shutil.copy(HERE / config, folder)
            line = [part.format(folder=folder) for part in command]
            with (folder / f"{program}.log").open("w") as log:
                started.append(subprocess.Popen(line, stderr=log, env={**os.environ, "HOME": str(folder)}))
            for gateway, port in PORTS[program].items():
                waited_for(port)
                failed += compared(gateway, port, min(PORTS[program].values()) + NOWHERE)
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
