#!/usr/bin/env bash
# openai 3.57.0: of a server that says the role in each chunk, `chat.completions.stream()` makes the role "assistantassistantassistant".
#
# Guessed: text and arguments are added up, for they come in pieces; a role, an id and the name of a tool are what was said, or said last. mlx-lm
# says the role in each chunk, llama-cpp-python the id and the name in each piece of a call.
# Seen: all strings but a type's are added up, so the message's role is no role, and the tool's name is "weatherweather". Nothing is raised; put
# into the history, as one does with a call, the message goes to the server as it is. The same document without a stream is right.
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

HEAD = {"id": "1", "created": 1, "model": "m"}


def chunk(delta, reason=None):
    choice = {"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": reason}
    return {**HEAD, "object": "chat.completion.chunk", "choices": [choice]}


def call(arguments):
    function = {"name": "weather", "arguments": arguments}
    return {"content": None, "tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": function}]}


CHUNKS = {
    "text": [chunk({"content": "one"}), chunk({"content": " two"}), chunk({"content": ""}, "stop")],
    "call": [chunk(call('{"city": ')), chunk(call('"Paris"}')), chunk({}, "tool_calls")],
}
WHOLE = {"text": {"content": "one two"}, "call": call('{"city": "Paris"}')}
asked = []


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        kind = asked[-1]["messages"][0]["content"]
        if asked[-1].get("stream"):
            body = "".join([*(f"data: {json.dumps(one)}\n\n" for one in CHUNKS[kind]), "data: [DONE]\n\n"])
        else:
            message = {"role": "assistant", **WHOLE[kind]}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            body = json.dumps({**HEAD, "object": "chat.completion", "choices": choices})
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if asked[-1].get("stream") else "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = OpenAI(base_url=f"http://127.0.0.1:{server.server_port}", api_key="none", max_retries=0)


def said(message):
    calls = [f"{one['function']['name']}({one['function']['arguments']}), id {one['id']}" for one in message.get("tool_calls") or []]
    return f"{message['role']}: {message.get('content')} {calls}"


for kind in CHUNKS:
    messages = [{"role": "user", "content": kind}]
    whole = client.chat.completions.create(model="m", messages=messages)
    print(f"{kind}, whole: {said(whole.choices[0].message.to_dict())}")
    with client.chat.completions.stream(model="m", messages=messages) as stream:
        streamed = stream.get_final_completion().choices[0].message
    client.chat.completions.create(model="m", messages=[*messages, streamed])
    print(f"{kind}, streamed and sent back: {said(asked[-1]['messages'][1])}")
PYTHON
"$work/env/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E "^openai "
"$work/env/bin/python" "$work/ask.py" | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
text, whole: assistant: one two []
text, streamed and sent back: assistantassistantassistant: one two []
call, whole: assistant: None ['weather({"city": "Paris"}), id c1']
call, streamed and sent back: assistantassistantassistant: None ['weatherweather({"city": "Paris"}), id c1c1']
EXPECTED
