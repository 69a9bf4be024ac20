#!/usr/bin/env bash
# locust 2.47.0: FastHttpUser's `client.iter_lines`, made for streams, yields no line before 1,024 bytes have come or the end.
#
# Guessed: it hands on each line as the server sends it, as `iter_lines` of requests does, on which HttpUser is built and
# whose name and use it has: so times to the first token, measured at the first line, are those of the server.
# Seen: it reads pieces of exactly 1,024 bytes, and waits for each to be full. An answer of five short events is yielded
# all at once when it has ended; a load test then measures the whole answer's time as the time to its first token.
# `iter_content` of its responses waits likewise; HttpUser hands on each chunk as it comes.
#
# The server below sends a line only when the one before was read, or was not read for a second.
# Installs its packages into a temporary folder; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "locust==2.47.0" "geventhttpclient==2.6.1"
cat > "$work/ask.py" <<'PYTHON'
from gevent import monkey

monkey.patch_all()

import socket

import gevent
from gevent.event import Event
from locust import FastHttpUser, HttpUser
from locust.env import Environment

read = Event()
seen = []


def answer(connection):
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    for number in range(3):
        line = b"data: %d\n" % number
        seen.append(f"sent {number}")
        connection.sendall(b"%x\r\n%b\r\n" % (len(line), line))
        read.wait(1)
        read.clear()
    connection.sendall(b"0\r\n\r\n")
    connection.close()


def serve():
    while True:
        gevent.spawn(answer, server.accept()[0])


server = socket.create_server(("127.0.0.1", 0))
gevent.spawn(serve)
host = f"http://127.0.0.1:{server.getsockname()[1]}"


def fast():
    return type("Fast", (FastHttpUser,), {"host": host})(Environment()).client.iter_lines("/")


def plain():
    user = type("Plain", (HttpUser,), {"host": host})(Environment())
    return (line.decode() for line in user.client.get("/", stream=True).iter_lines(chunk_size=1024))


for kind, ask in (("HttpUser", plain), ("FastHttpUser", fast)):
    seen.clear()
    read.clear()
    for line in ask():
        seen.append("read " + line[-1])
        read.set()
    print(f"{kind}: {', '.join(seen)}")
PYTHON
"$work/env/bin/python" "$work/ask.py" | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
HttpUser: sent 0, read 0, sent 1, read 1, sent 2, read 2
FastHttpUser: sent 0, sent 1, sent 2, read 0, read 1, read 2
EXPECTED
