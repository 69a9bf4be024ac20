#!/usr/bin/env bash
# dashscope 2.0.2: `Completions.create(stream=True)` does not ask for a stream.
#
# Guessed: its OpenAI-like interface sends `"stream": true` in the body, as that API wants it, and yields chunks with a delta.
# Seen: the body has no `stream`, and no header says it either (`accept` is JSON, where `Generation.call` of the same package
# asks for events). A server answers with the whole document; the loop gets one "chunk" of it at the end, which has a
# `message` and no `delta`. Where `extra_body={"stream": True}` asks for one after all, its reader takes `[DONE]`, with which
# that API ends each stream, for JSON, and raises `AttributeError` in handling the error after the last chunk.
#
# Installs its packages into a temporary folder and asks a server on loopback; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "dashscope==2.0.2"
cat > "$work/ask.py" <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dashscope
from dashscope.aigc.chat_completion import Completions

MESSAGE = {"role": "assistant", "content": "Hello"}
HEAD = {"id": "1", "created": 1, "model": "m"}
WHOLE = {**HEAD, "object": "chat.completion", "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}]}
DELTA = {"index": 0, "delta": MESSAGE, "finish_reason": "stop"}
CHUNK = {**HEAD, "object": "chat.completion.chunk", "choices": [DELTA]}


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        print("asked:", f"stream={asked.get('stream')},", f"accept: {self.headers['accept']}")
        if asked.get("stream"):
            kind, body = "text/event-stream", b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(CHUNK).encode()
        else:
            kind, body = "application/json", json.dumps(WHOLE).encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
threading.Thread(target=server.serve_forever, daemon=True).start()
dashscope.base_compatible_api_url = f"http://127.0.0.1:{server.server_port}/compatible-mode/v1"
asked = {"model": "m", "messages": [{"role": "user", "content": "?"}], "api_key": "none", "stream": True}
for more in ({}, {"extra_body": {"stream": True}}):
    try:
        for chunk in Completions.create(**asked, **more):
            print("chunk:", "delta" if "delta" in chunk.choices[0] else "no delta")
    except AttributeError as error:
        print("raised:", error)
PYTHON
"$work/env/bin/python" -u "$work/ask.py" | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
asked: stream=None, accept: application/json; charset=utf-8
chunk: no delta
asked: stream=True, accept: application/json; charset=utf-8
chunk: delta
raised: 'JSONDecodeError' object has no attribute 'message'
EXPECTED
