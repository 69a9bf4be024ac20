#!/usr/bin/env bash
# google-genai 3.6.1: `HttpRetryOptions` asks again when it likes: neither `Retry-After` nor Google's own `RetryInfo` is read.
#
# Guessed: a 429 of Gemini says in its details how long to wait (`google.rpc.RetryInfo`, `retryDelay`), so Google's SDK waits that
# long once retries are switched on; and a connection that the server closes without an answer is asked for again, as one
# that it refuses is.
# Seen: the waits are 1, 2, 4 and 8 s and up to a second more, whatever was said, so all five asks of a client that was told to wait
# a minute are over after 20 s, and it gives up before there was room. What is closed without an answer is not asked for again.
#
# Installs its packages into a temporary folder and asks a server on loopback; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "google-genai==3.6.1" 2>/dev/null
cat > "$work/ask.py" <<'PYTHON'
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google import genai
from google.genai import types

INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "60s"}
ERROR = {"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": [INFO]}}
BODY = json.dumps(ERROR).encode()


class Refuses(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hangs_up = False
    asked = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        Refuses.asked += 1
        if self.hangs_up:
            self.close_connection = True
            return
        self.send_response(429)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(BODY)))
        self.send_header("retry-after", "60")
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
threading.Thread(target=server.serve_forever, daemon=True).start()
options = types.HttpOptions(base_url=f"http://127.0.0.1:{server.server_port}", retry_options=types.HttpRetryOptions())
client = genai.Client(api_key="none", http_options=options)
sleep, slept = time.sleep, []


def ask():
    Refuses.asked = 0
    slept.clear()
    time.sleep = slept.append
    try:
        client.models.generate_content(model="m", contents="?")
    except Exception as error:
        return type(error).__name__
    finally:
        time.sleep = sleep


name = ask()
print(f"told to wait 60 s: {Refuses.asked} asks, {name}")
print("waits, whole seconds of them:", *(int(seconds) for seconds in slept))
Refuses.hangs_up = True
name = ask()
print(f"closed without an answer: {Refuses.asked} ask, {name}")
PYTHON
"$work/env/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E "^(google-genai|tenacity|httpx2?) "
"$work/env/bin/python" "$work/ask.py" | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
told to wait 60 s: 5 asks, ClientError
waits, whole seconds of them: 1 2 4 8
closed without an answer: 1 ask, RemoteProtocolError
EXPECTED
