#!/usr/bin/env bash
# openai 3.57.0, anthropic 2.14.0, groq 1.7.0: told to come back in three minutes, one gives up, one waits, one asks again at once.
#
# Guessed: the three are written by the same generator and document the same retries, so they read `Retry-After` alike; a
# wait that is too long for them is cut to their longest, and `timeout=10` bounds it anyway.
# Seen: above 120 s openai does not ask again and raises the 429. anthropic sleeps as long as it is told, a day if need be,
# whatever its `timeout`. groq takes more than 60 s for no word at all, and asks again after half a second, where it is refused.
#
# Installs its packages into a temporary folder and asks a server on loopback; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "openai==3.57.0" "anthropic==2.14.0" "groq==1.7.0" 2>/dev/null
cat > "$work/ask.py" <<'PYTHON'
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anthropic
import groq
import openai


class Refuses(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    told = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(429)
        self.send_header("content-length", "0")
        self.send_header("retry-after", str(self.told))
        self.end_headers()

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
threading.Thread(target=server.serve_forever, daemon=True).start()
OPTIONS = {"api_key": "none", "base_url": f"http://127.0.0.1:{server.server_port}", "max_retries": 1, "timeout": 10}
ASKED = {"model": "m", "messages": [{"role": "user", "content": "?"}], "max_tokens": 9}
CLIENTS = {
    "openai": openai.OpenAI(**OPTIONS).chat.completions,
    "anthropic": anthropic.Anthropic(**OPTIONS).messages,
    "groq": groq.Groq(**OPTIONS).chat.completions,
}


def slept(client, told):
    """Say how long a client waits that is told to come back after so many seconds."""
    waits, Refuses.told = [], told
    sleep, time.sleep = time.sleep, waits.append
    try:
        client.create(**ASKED)
    except Exception as error:
        name = type(error).__name__
    finally:
        time.sleep = sleep
    if not waits:
        return f"does not ask again: {name}"
    return "waits as told" if waits == [told] else "asks again in under a second" if waits[0] < 1 else f"waits {waits[0]}"


for name, client in CLIENTS.items():
    for told in (60, 61, 120, 121, 86400):
        print(f"{name}, told {told} s: {slept(client, told)}")
PYTHON
"$work/env/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E "^(openai|anthropic|groq) "
"$work/env/bin/python" "$work/ask.py" | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
openai, told 60 s: waits as told
openai, told 61 s: waits as told
openai, told 120 s: waits as told
openai, told 121 s: does not ask again: RateLimitError
openai, told 86400 s: does not ask again: RateLimitError
anthropic, told 60 s: waits as told
anthropic, told 61 s: waits as told
anthropic, told 120 s: waits as told
anthropic, told 121 s: waits as told
anthropic, told 86400 s: waits as told
groq, told 60 s: waits as told
groq, told 61 s: asks again in under a second
groq, told 120 s: asks again in under a second
groq, told 121 s: asks again in under a second
groq, told 86400 s: asks again in under a second
EXPECTED
