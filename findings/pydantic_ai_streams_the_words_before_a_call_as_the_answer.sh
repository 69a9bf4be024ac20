#!/usr/bin/env bash
# pydantic-ai-slim 2.68.0: with `run_stream`, what a model says before it calls a tool is the answer; the tool is run, and its result told to nobody.
#
# Guessed: `run_stream` is `run`, in pieces: where an answer has text and a call, as those of many models have, the tool is run, the model is
# asked again with its result, and the text of that goes on in the same stream.
# Seen: the first text that may be an output ends the run. The app gets "I will look.", in order; then the tool is run all the same, so what it
# does is done, and the model is not asked again. `run` asks twice and gives "It rains.". An answer with the call alone is right in both.
#
# Installs its packages into a temporary folder and asks a server on loopback; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "pydantic-ai-slim[openai]==2.68.0" "openai==3.57.0" 2>/dev/null
cat > "$work/ask.py" <<'PYTHON'
import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
asked, ran = [], []


def said(messages):
    """Return what the model says: a call, with words before it where it is asked for them, and then the answer."""
    if messages[-1]["role"] == "tool":
        return {"role": "assistant", "content": "It rains."}, "stop"
    words = "I will look." if messages[0]["content"] == "words and a call" else None
    return {"role": "assistant", "content": words, "tool_calls": [CALL]}, "tool_calls"


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        message, reason = said(asked[-1]["messages"])
        head = {"id": "1", "created": 1, "model": "m"}
        if asked[-1].get("stream"):
            calls = message.pop("tool_calls", [])
            deltas = [message, *({"tool_calls": [{"index": 0, **call}]} for call in calls), {}]
            parts = [{"index": 0, "delta": delta, "finish_reason": None if delta else reason} for delta in deltas]
            chunks = [{**head, "object": "chat.completion.chunk", "choices": [part]} for part in parts]
            body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        else:
            choices = [{"index": 0, "message": message, "finish_reason": reason}]
            body = json.dumps({**head, "object": "chat.completion", "choices": choices})
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if asked[-1].get("stream") else "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
threading.Thread(target=server.serve_forever, daemon=True).start()
provider = OpenAIProvider(base_url=f"http://127.0.0.1:{server.server_port}", api_key="none")
agent = Agent(OpenAIChatModel("m", provider=provider))


@agent.tool_plain
def weather(city: str) -> str:
    ran.append(city)
    return "rain"


async def run(words):
    return (await agent.run(words)).output


async def run_stream(words):
    async with agent.run_stream(words) as result:
        return "".join([text async for text in result.stream_text(delta=True)])


for words in ("a call alone", "words and a call"):
    for way in (run, run_stream):
        asked.clear()
        ran.clear()
        output = asyncio.run(way(words))
        print(f"{words}, {way.__name__}: {output!r}; asked {len(asked)} times, tools run {ran}")
PYTHON
"$work/env/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E "^(pydantic-ai-slim|openai) "
"$work/env/bin/python" "$work/ask.py" | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
a call alone, run: 'It rains.'; asked 2 times, tools run ['Paris']
a call alone, run_stream: 'It rains.'; asked 2 times, tools run ['Paris']
words and a call, run: 'It rains.'; asked 2 times, tools run ['Paris']
words and a call, run_stream: 'I will look.'; asked 1 times, tools run ['Paris']
EXPECTED
