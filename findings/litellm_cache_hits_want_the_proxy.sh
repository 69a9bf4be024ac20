#!/usr/bin/env bash
# litellm 1.110.2: with its cache in memory, what was asked for before raises ModuleNotFoundError where the proxy is not installed.
#
# Guessed: `litellm.Cache()` answers a request that came before from memory, where it came whole; of a stream it may be that nothing is kept, and
# the server is asked again.
# Seen: both are kept, and both raise `ModuleNotFoundError: No module named 'fastapi'` when they are asked for again; only `litellm[proxy]` installs
# that. The server is not asked. So what fails is not the first run of a program but the first that finds something in the cache.
#
# Installs its packages into a temporary folder and asks a server on loopback; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "litellm==1.110.2" 2>/dev/null
cat > "$work/ask.py" <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import litellm

ASKED = []
SAID = {"id": "1", "created": 1, "model": "m"}


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        ASKED.append(asked)
        message, kind = {"role": "assistant", "content": "Hello"}, "application/json"
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = json.dumps({**SAID, "object": "chat.completion", "choices": [choice]})
        if asked.get("stream"):
            pieces = [{"index": 0, "delta": message, "finish_reason": None}]
            pieces += [{"index": 0, "delta": {}, "finish_reason": "stop"}]
            chunks = [json.dumps({**SAID, "object": "chat.completion.chunk", "choices": [one]}) for one in pieces]
            body, kind = "".join(f"data: {data}\n\n" for data in [*chunks, "[DONE]"]), "text/event-stream"
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
threading.Thread(target=server.serve_forever, daemon=True).start()
litellm.cache = litellm.Cache()


def ask(is_streamed):
    answer = litellm.completion(
        model="openai/m", api_base=f"http://127.0.0.1:{server.server_port}", api_key="none", num_retries=0,
        stream=is_streamed, messages=[{"role": "user", "content": "Hi" if is_streamed else "Hello"}],
    )
    if is_streamed:
        return "".join(one.choices[0].delta.content or "" for one in answer)
    return answer.choices[0].message.content


for how in ("whole", "streamed"):
    for number in ("first", "second"):
        before = len(ASKED)
        try:
            said = repr(ask(how == "streamed"))
        except Exception as error:
            said = f"raises {type(error).__name__}: {error}"
        print(f"{how}, {number}: {said}, requests: {len(ASKED) - before}")
PYTHON
"$work/env/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E "^litellm "
"$work/env/bin/python" "$work/ask.py" 2>/dev/null | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
whole, first: 'Hello', requests: 1
whole, second: raises ModuleNotFoundError: No module named 'fastapi', requests: 0
streamed, first: 'Hello', requests: 1
streamed, second: raises ModuleNotFoundError: No module named 'fastapi', requests: 0
EXPECTED
