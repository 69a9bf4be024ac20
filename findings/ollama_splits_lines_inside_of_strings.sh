#!/usr/bin/env bash
# ollama 0.6.3: a stream whose text has the character U+0085 in it raises, though each line is valid JSON.
#
# Guessed: lines of JSON end where "\n" stands, as the format says; JSON may hold any other character as it is.
# Seen: the client splits where Python's `str.splitlines` does, so also at U+0085, U+2028 and other characters inside of a
# string, and `json.JSONDecodeError` comes out of the loop. The same answer in one document is read.
#
# Installs its packages into a temporary folder and asks a server on loopback; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "ollama==0.6.3" "httpx==0.28.1" 2>/dev/null
cat > "$work/ask.py" <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import ollama


def line(text, done):
    message = {"role": "assistant", "content": text}
    said = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": done}
    return json.dumps(said, ensure_ascii=False).encode() + b"\n"


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = asked["messages"][0]["content"]
        answer = line(text, False) + line("", True) if asked["stream"] else line(text, True)
        self.send_response(200)
        self.send_header("content-type", "application/x-ndjson")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
threading.Thread(target=server.serve_forever, daemon=True).start()
URL = f"http://127.0.0.1:{server.server_port}"


def tried(text, stream):
    try:
        said = ollama.Client(URL).chat("m", [{"role": "user", "content": text}], stream=stream)
        return ascii("".join(chunk.message.content for chunk in said) if stream else said.message.content)
    except ValueError as error:
        return type(error).__name__


for text in ("a b", "a\u0085b", "a\u2028b"):
    print(ascii(text), "streamed:", tried(text, True), "whole:", tried(text, False))
PYTHON
"$work/env/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E "^(ollama|httpx) "
"$work/env/bin/python" "$work/ask.py" | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
'a b' streamed: 'a b' whole: 'a b'
'a\x85b' streamed: JSONDecodeError whole: 'a\x85b'
'a\u2028b' streamed: JSONDecodeError whole: 'a\u2028b'
EXPECTED
