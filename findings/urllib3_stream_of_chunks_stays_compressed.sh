#!/usr/bin/env bash
# urllib3 2.7.0: `response.stream()` gives a compressed body as it is where it comes in chunks, and decoded where it does not.
#
# Guessed: a response that was made to decode (`response.decode_content` is True) decodes in `stream()` as in `read()`,
# however its body is framed.
# Seen: `stream()` hands `decode_content=None` on; for a body with a length that means the response's own choice, for one
# in chunks it means no. `stream(decode_content=True)`, which requests passes, decodes both.
#
# Installs its packages into a temporary folder and asks a server on loopback; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "urllib3==2.7.0" 2>/dev/null
cat > "$work/ask.py" <<'PYTHON'
import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import urllib3

BODY = gzip.compress(b"hello")


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        in_chunks = self.path == "/chunks"
        self.send_response(200)
        self.send_header("content-encoding", "gzip")
        framing = ("transfer-encoding", "chunked") if in_chunks else ("content-length", str(len(BODY)))
        self.send_header(*framing)
        self.end_headers()
        self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY) if in_chunks else BODY)

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
threading.Thread(target=server.serve_forever, daemon=True).start()
URL = f"http://127.0.0.1:{server.server_port}"

pool = urllib3.PoolManager()


def asked(path):
    return pool.request("GET", URL + path, preload_content=False)


def named(data):
    return "decoded" if data == b"hello" else "as it came" if data == BODY else repr(data)


for path in ("/length", "/chunks"):
    streamed, told = b"".join(asked(path).stream()), b"".join(asked(path).stream(decode_content=True))
    print(f"{path}: read {named(asked(path).read())}, stream {named(streamed)}, stream that is told {named(told)}")
PYTHON
"$work/env/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E "^(urllib3) "
"$work/env/bin/python" "$work/ask.py" | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
/length: read decoded, stream decoded, stream that is told decoded
/chunks: read decoded, stream as it came, stream that is told decoded
EXPECTED
