#!/usr/bin/env bash
# CPython 3.11 to 3.13 on glibc: what a read of asyncio costs depends on whether the process has ever freed a large block of memory.
#
# Guessed: a read of a hundred bytes costs the same, whatever the process did before.
# Seen: asyncio asks for 256 kB at each read of a connection and gives back what is more than came. A fresh glibc maps so large a block from the
# system and unmaps it, so that each reader pays for a page fault, at both ends two in a round trip, and three system calls each.
# Once any block of that size or more was freed, as by a library that reads a file when it is imported, glibc keeps such blocks, and there are none: so
# the same server is a fifth slower or faster by what was imported before it, and by the order in which that was looked for.
# A `BufferedProtocol`, which brings its own buffer, is not concerned.
#
# Needs Linux with glibc and a Python, nothing else; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/ask.py" <<'PYTHON'
import asyncio
import ctypes
import resource
import socket
import sys

ROUNDS = 2000


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Buffered(asyncio.BufferedProtocol):
    room = bytearray(2**18)

    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, sizehint):
        return self.room

    def buffer_updated(self, size):
        self.transport.write(bytes(self.room[:size]))


async def faults_of(protocol):
    """Return the page faults of a round trip; the client brings its own buffer."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0)
    buffer = bytearray(4096)
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        client.setblocking(False)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(ROUNDS):
            await loop.sock_sendall(client, b"x" * 100)
            await loop.sock_recv_into(client, buffer)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    server.close()
    return round((after - before) / ROUNDS)


async def main():
    if sys.argv[1] == "first":  # keep the threshold that every process begins with: 128 kB
        ctypes.CDLL(None).mallopt(-3, 2**17)
    if sys.argv[1] == "freed":
        block = bytes(2**20)
        del block
    print(f"{sys.argv[1]}: {await faults_of(Echo)} page faults a round trip to a Protocol, ", end="")
    print(f"{await faults_of(Buffered)} to a BufferedProtocol")


asyncio.run(main())
PYTHON
python3 --version
getconf GNU_LIBC_VERSION
echo "as it happens here, with -I and without: not judged"
python3 -I "$work/ask.py" default
python3 "$work/ask.py" default
{ python3 "$work/ask.py" first; python3 "$work/ask.py" freed; } | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
first: 2 page faults a round trip to a Protocol, 0 to a BufferedProtocol
freed: 0 page faults a round trip to a Protocol, 0 to a BufferedProtocol
EXPECTED
