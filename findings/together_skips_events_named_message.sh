#!/usr/bin/env bash
# together 3.1.1, writer-sdk 3.0.0, sambanova 1.13.0: a stream whose events are named `message` is an empty answer.
#
# Guessed: `event: message` is what an event without a name is, as the standard of server-sent events says; some servers
# write it.
# Seen: the clients hand on events without a name (and those of other APIs by theirs) and skip the others, so the loop ends in
# order, without a chunk. openai's client, from the same generator, reads both.
#
# Installs its packages into a temporary folder and asks a server on loopback; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
    "together==3.1.1" "writer-sdk==3.0.0" "sambanova==1.13.0" "openai==3.57.0" 2>/dev/null
cat > "$work/ask.py" <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from openai import OpenAI
from sambanova import SambaNova
from together import Together
from writerai import Writer


def chunk(content, reason):
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": reason}
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


CHUNKS = [chunk("Hello", None), chunk("", "stop")]


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = "event: message\n" if asked["messages"][0]["content"] == "named" else ""
        events = [f"{name}data: {json.dumps(one)}\n\n" for one in CHUNKS]
        body = "".join([*events, f"{name}data: [DONE]\n\n"]).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
threading.Thread(target=server.serve_forever, daemon=True).start()
MADE = {"base_url": f"http://127.0.0.1:{server.server_port}", "api_key": "none", "max_retries": 0}

for kind in (OpenAI, Together, SambaNova, Writer):
    client = kind(**MADE)
    ask = client.chat.chat if kind is Writer else client.chat.completions.create
    for name in ("unnamed", "named"):
        stream = ask(model="m", messages=[{"role": "user", "content": name}], stream=True)
        text = "".join(one.choices[0].delta.content or "" for one in stream)
        print(f"{kind.__name__}, {name}: {text!r}, ended in order")
PYTHON
"$work/env/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E "^(together|writer-sdk|sambanova|openai) "
"$work/env/bin/python" "$work/ask.py" | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
OpenAI, unnamed: 'Hello', ended in order
OpenAI, named: 'Hello', ended in order
Together, unnamed: 'Hello', ended in order
Together, named: '', ended in order
SambaNova, unnamed: 'Hello', ended in order
SambaNova, named: '', ended in order
Writer, unnamed: 'Hello', ended in order
Writer, named: '', ended in order
EXPECTED
