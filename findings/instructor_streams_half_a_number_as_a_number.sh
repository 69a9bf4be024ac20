#!/usr/bin/env bash
# instructor 1.17.0: objects that `max_tokens` cut are refused, unless they are streamed: then 41 is 4, and what is missing is None.
#
# Guessed: what `create_partial` yields on the way may be partial; the last one is held to the model, and where the server says that the answer was
# cut (`finish_reason` is "length") it raises `IncompleteOutputException`, as `create` does.
# Seen: the finish reason of a stream is not looked at and the last object not held to the model: `age: int` is None, or 4 where the answer broke off
# in the middle of 41, and the loop ends in order. `create_iterable` ends in order as well, without the item that was cut.
#
# Installs its packages into a temporary folder and asks a server on loopback; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "instructor==1.17.0" "openai==3.3.0" 2>/dev/null
cat > "$work/ask.py" <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import instructor
from openai import OpenAI
from pydantic import BaseModel


class User(BaseModel):
    name: str
    age: int


SAID = {
    "before the number": '{"name": "Ann", "age',
    "in the number": '{"name": "Ann", "age": 4',
    "in the second": '{"tasks": [{"name": "Ann", "age": 41}, {"name": "Bob", "age": 3',
}


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        function = {"name": asked["tools"][0]["function"]["name"], "arguments": SAID[asked["messages"][0]["content"]]}
        call = {"index": 0, "id": "c1", "type": "function", "function": function}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        head = {"id": "1", "created": 1, "model": "m"}
        if asked.get("stream"):
            parts = [{"delta": message, "finish_reason": None}, {"delta": {}, "finish_reason": "length"}]
            chunks = [{**head, "object": "chat.completion.chunk", "choices": [{"index": 0, **one}]} for one in parts]
            body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        else:
            choices = [{"index": 0, "message": message, "finish_reason": "length"}]
            body = json.dumps({**head, "object": "chat.completion", "choices": choices})
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if asked.get("stream") else "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
threading.Thread(target=server.serve_forever, daemon=True).start()
openai = OpenAI(base_url=f"http://127.0.0.1:{server.server_port}", api_key="none", max_retries=0)
client = instructor.from_openai(openai)


def told(ask, words):
    try:
        return ask(model="m", response_model=User, messages=[{"role": "user", "content": words}], max_retries=0)
    except Exception as error:
        return f"raises {type(error).__name__}"


for words in ("before the number", "in the number"):
    print(f"create, cut {words}: {told(client.create, words)}")
    print(f"create_partial, cut {words}: {list(told(client.create_partial, words))[-1]!r}")
print(f"create_iterable, cut in the second: {list(told(client.create_iterable, 'in the second'))}")
PYTHON
"$work/env/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E "^(instructor|openai) "
"$work/env/bin/python" "$work/ask.py" | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
create, cut before the number: raises IncompleteOutputException
create_partial, cut before the number: User(name='Ann', age=None)
create, cut in the number: raises IncompleteOutputException
create_partial, cut in the number: User(name='Ann', age=4)
create_iterable, cut in the second: [User(name='Ann', age=41)]
EXPECTED
