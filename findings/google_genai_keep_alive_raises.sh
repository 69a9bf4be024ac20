#!/usr/bin/env bash
# google-genai 3.6.1: a keep-alive comment between two events, or `data:` without a space behind it, ends a stream with an error.
#
# Guessed: comments are skipped, and one space behind the colon is optional, as the standard of server-sent events says.
# Proxies send such comments while a model thinks.
# Seen: a line that does not begin with `data: `, with the space, is taken for a line of an error's document. Its braces
# balance at once, it is read as JSON by itself, and `UnknownApiResponseError` comes out of the loop.
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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google import genai


def event(text, **more):
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0, **more}
    return "data: %s\n\n" % json.dumps({"candidates": [candidate]})


FIRST, LAST = event("One "), event("two.", finishReason="STOP")
STREAMS = {
    "plain": FIRST + LAST,
    "a comment": FIRST + ": keep-alive\n\n" + LAST,
    "no space": FIRST + LAST.replace("data: ", "data:"),
}


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        body = STREAMS[asked["contents"][0]["parts"][0]["text"]].encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
threading.Thread(target=server.serve_forever, daemon=True).start()
URL = f"http://127.0.0.1:{server.server_port}"

client = genai.Client(api_key="none", http_options={"base_url": URL})
for name in STREAMS:
    text, end = "", "in order"
    try:
        for chunk in client.models.generate_content_stream(model="m", contents=name):
            text += chunk.text
    except Exception as error:
        end = type(error).__name__
    print(f"{name}: {text!r}, ended: {end}")
PYTHON
"$work/env/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E "^(google-genai) "
"$work/env/bin/python" "$work/ask.py" | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
plain: 'One two.', ended: in order
a comment: 'One ', ended: UnknownApiResponseError
no space: 'One ', ended: UnknownApiResponseError
EXPECTED
