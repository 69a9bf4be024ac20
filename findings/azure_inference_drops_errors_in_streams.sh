#!/usr/bin/env bash
# azure-ai-inference 1.0.0b9: an error that the service reports inside a stream is dropped; the stream looks like a whole one.
#
# Guessed: data with an `error` in place of choices raises `HttpResponseError`, or is handed on as an update with that field.
# Seen: an event without choices is passed over, whatever else it says, so the loop ends in order after half an answer. The
# only trace is that no update had a finish reason.
#
# Installs its packages into a temporary folder and asks a server on loopback; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "azure-ai-inference==1.0.0b9" 2>/dev/null
cat > "$work/ask.py" <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from azure.ai.inference import ChatCompletionsClient
from azure.core.credentials import AzureKeyCredential

CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
EVENTS = [
    {**CHUNK, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Half"}, "finish_reason": None}]},
    {"error": {"message": "the server is overloaded", "type": "server_error", "code": "503"}},
]
BODY = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in EVENTS) + b"data: [DONE]\n\n"


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
threading.Thread(target=server.serve_forever, daemon=True).start()
URL = f"http://127.0.0.1:{server.server_port}"

client = ChatCompletionsClient(URL, AzureKeyCredential("none"))
for update in client.complete(messages=[{"role": "user", "content": "?"}], stream=True):
    print("update:", update.choices[0].delta.content, update.choices[0].finish_reason)
print("ended in order")
PYTHON
"$work/env/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E "^(azure-ai-inference|azure-core) "
"$work/env/bin/python" "$work/ask.py" | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
update: Half None
ended in order
EXPECTED
