#!/usr/bin/env bash
# fsspec 2026.9.0: a file of a store, of S3 or of a web server, cannot read a line of at most so many bytes; one of memory or of the disk can.
#
# Guessed: whatever `fsspec.open` gives is a file as `io` has them, so `readline(100)` reads a line, and of a longer one 100 bytes.
# Seen: `AbstractBufferedFile.readline`, which s3fs, gcsfs, adlfs and fsspec's own HTTP have, takes no size and raises TypeError, though the class is an
# `io.IOBase`, whose `readline` takes one. Tests against `memory://` and `file://` pass: those are other classes.
# `io.BufferedReader(file)` can.
#
# Installs its packages into a temporary folder and asks a server on loopback; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "fsspec==2026.9.0" "aiohttp==3.14.5" 2>/dev/null
cat > "$work/ask.py" <<'PYTHON'
import io
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import fsspec

DATA = b"".join(b'{"number": %d}\n' % number for number in range(20_000))


class Ranges(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        first, _, last = self.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = DATA[int(first) : int(last) + 1 if last else len(DATA)]
        self.send_response(206)
        self.send_header("content-range", f"bytes {first}-{int(first) + len(part) - 1}/{len(DATA)}")
        self.send_header("content-length", str(len(part)))
        self.send_header("accept-ranges", "bytes")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(part)

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("content-length", str(len(DATA)))
        self.send_header("accept-ranges", "bytes")
        self.end_headers()

    def log_message(self, *_):
        pass


def line_of(file):
    try:
        return file.readline(8)
    except TypeError as error:
        return f"TypeError: {error}"


server = ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
Thread(target=server.serve_forever, daemon=True).start()
folder = tempfile.mkdtemp()
Path(folder, "a.jsonl").write_bytes(DATA)
fsspec.filesystem("memory").pipe("/a.jsonl", DATA)
for url in ("memory://a.jsonl", f"file://{folder}/a.jsonl", f"http://127.0.0.1:{server.server_port}/a.jsonl"):
    with fsspec.open(url) as file:
        kind = f"{url.partition(':')[0]}, an io.IOBase: {isinstance(file, io.IOBase)}"
        print(f"{kind}: {line_of(file)}")
with fsspec.open(url) as file:
    print(f"in a BufferedReader: {line_of(io.BufferedReader(file))}")
PYTHON
"$work/env/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E "^(fsspec|aiohttp) "
"$work/env/bin/python" "$work/ask.py" | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
memory, an io.IOBase: True: b'{"number'
file, an io.IOBase: True: b'{"number'
http, an io.IOBase: True: TypeError: AbstractBufferedFile.readline() takes 1 positional argument but 2 were given
in a BufferedReader: b'{"number'
EXPECTED
