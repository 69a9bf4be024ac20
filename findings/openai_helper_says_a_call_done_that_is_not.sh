#!/usr/bin/env bash
# openai 3.57.0: `chat.completions.stream()` says that the arguments of a call are done when a piece of another call comes.
#
# Guessed: `tool_calls.function.arguments.done` comes once for each call, with all of its arguments, by its index; the pieces of two calls may
# come by turns, for which each piece has an index.
# Seen: the event comes at the first piece of another call, with what is there by then, half a JSON document, and never again for that call:
# no event has the whole arguments. The final completion has them. Where the calls come one behind the other, the events are right.
#
# Installs its packages into a temporary folder and asks a server on loopback; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "openai==3.57.0" 2>/dev/null
cat > "$work/ask.py" <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from openai import OpenAI


def chunk(delta, reason=None):
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def first(index, city):
    said = {"name": "weather", "arguments": '{"city": '}
    return chunk({"tool_calls": [{"index": index, "id": city, "type": "function", "function": said}]})


def second(index, city):
    return chunk({"tool_calls": [{"index": index, "function": {"arguments": f'"{city}"}}'}}]})


END = chunk({}, "tool_calls")
STREAMS = {
    "one behind the other": [first(0, "Paris"), second(0, "Paris"), first(1, "Rome"), second(1, "Rome"), END],
    "by turns": [first(0, "Paris"), first(1, "Rome"), second(0, "Paris"), second(1, "Rome"), END],
}


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        events = [f"data: {json.dumps(one)}\n\n" for one in STREAMS[asked["messages"][0]["content"]]]
        body = "".join([*events, "data: [DONE]\n\n"]).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = OpenAI(base_url=f"http://127.0.0.1:{server.server_port}", api_key="none", max_retries=0)

for kind in STREAMS:
    with client.chat.completions.stream(model="m", messages=[{"role": "user", "content": kind}]) as stream:
        for event in stream:
            if event.type == "tool_calls.function.arguments.done":
                print(f"{kind}: call {event.index} is done: {event.arguments!r}")
        for index, call in enumerate(stream.get_final_completion().choices[0].message.tool_calls):
            print(f"{kind}: call {index} at the end: {call.function.arguments!r}")
PYTHON
"$work/env/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E "^openai "
"$work/env/bin/python" "$work/ask.py" | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
one behind the other: call 0 is done: '{"city": "Paris"}'
one behind the other: call 1 is done: '{"city": "Rome"}'
one behind the other: call 0 at the end: '{"city": "Paris"}'
one behind the other: call 1 at the end: '{"city": "Rome"}'
by turns: call 0 is done: '{"city": '
by turns: call 1 is done: '{"city": '
by turns: call 0 at the end: '{"city": "Paris"}'
by turns: call 1 at the end: '{"city": "Rome"}'
EXPECTED
