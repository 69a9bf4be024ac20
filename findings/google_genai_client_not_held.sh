#!/usr/bin/env bash
# google-genai 3.6.1: who keeps `client.models` or a chat, and not the client, has a closed client.
#
# Guessed: `models` and a chat hold what they need, so `genai.Client().models.generate_content(...)` in one line works, as
# `openai.OpenAI().chat.completions.create(...)` does.
# Seen: the client closes its HTTP client when it is collected, and `models` does not keep it alive. A request in one line,
# a stream and a chat of a client that nobody holds all raise `RuntimeError: Cannot send a request, as the client has been
# closed.`; the asynchronous `aio.models` of such a client answers.
#
# Installs its packages into a temporary folder and asks a server on loopback; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "google-genai==3.6.1" 2>/dev/null
cat > "$work/ask.py" <<'PYTHON'
import asyncio
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from google import genai

ANSWER = b'{"candidates":[{"content":{"role":"model","parts":[{"text":"Hi"}]},"finishReason":"STOP"}]}'


class Answers(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Answers)
threading.Thread(target=server.serve_forever, daemon=True).start()
ASKED = {"model": "m", "contents": "?"}


def client():
    return genai.Client(api_key="none", http_options={"base_url": f"http://127.0.0.1:{server.server_port}"})


def tried(ask):
    try:
        return ask()
    except RuntimeError as error:
        return f"RuntimeError: {error}"


held = client()
print("held:", tried(lambda: held.models.generate_content(**ASKED).text))
print("in one line:", tried(lambda: client().models.generate_content(**ASKED).text))
chat = client().chats.create(model="m")
print("a chat:", tried(lambda: chat.send_message("?").text))
models = client().aio.models
print("asynchronous:", tried(lambda: asyncio.run(models.generate_content(**ASKED)).text))
PYTHON
"$work/env/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E "^(google-genai|httpx2?) "
"$work/env/bin/python" "$work/ask.py" | tee "$work/out"
closed="RuntimeError: Cannot send a request, as the client has been closed."
diff "$work/out" - <<EXPECTED
held: Hi
in one line: $closed
a chat: $closed
asynchronous: Hi
EXPECTED
