#!/usr/bin/env bash
# openai-agents 0.24.0, strands-agents 1.62.0, llama-index-core 0.14.25: a turn that failed and is asked again has its question twice.
#
# Guessed: a session takes a turn when it has ended; of one whose stream broke nothing is kept, since the app was given an exception and will ask again.
# Seen: the question is in the history before the model is asked, and stays there. Each further try of the app adds it once more, without an answer
# between: after two failed tries the model reads it three times in a row.
#
# Installs its packages into a temporary folder and asks a server on loopback; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"  # with openai 2
"$work/env/bin/pip" install --quiet --no-compile --disable-pip-version-check \
    "strands-agents==1.62.0" "llama-index-core==0.14.25" "llama-index-llms-openai==0.8.3" "openai==2.54.0" 2>/dev/null
python3 -m venv "$work/env3"  # with openai 3
"$work/env3/bin/pip" install --quiet --no-compile --disable-pip-version-check "openai-agents==0.24.0" "openai==3.57.0" 2>/dev/null
cat > "$work/ask.py" <<'PYTHON'
import asyncio
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ERROR = {"error": {"message": "overloaded", "type": "server_error", "code": None}}
asked = []


def chunk(content, reason=None):
    choice = {"index": 0, "delta": {"role": "assistant", "content": content}, "finish_reason": reason}
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked.append(json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"])
        last = chunk("", "stop") if len(asked) == 3 else ERROR
        body = "".join(f"data: {json.dumps(one)}\n\n" for one in (chunk("Half"), last)) + "data: [DONE]\n\n"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
threading.Thread(target=server.serve_forever, daemon=True).start()
URL = f"http://127.0.0.1:{server.server_port}"
MADE = {"base_url": URL, "api_key": "none", "max_retries": 0}


def openai_agents():
    import agents
    from openai import AsyncOpenAI

    agents.set_tracing_disabled(True)
    model = agents.OpenAIChatCompletionsModel(model="m", openai_client=AsyncOpenAI(**MADE))
    agent, session = agents.Agent(name="a", model=model), agents.SQLiteSession("1")

    async def turn():
        async for _ in agents.Runner.run_streamed(agent, "Hi", session=session).stream_events():
            pass

    return lambda: asyncio.run(turn())


def strands():
    from strands import Agent
    from strands.models.openai import OpenAIModel

    agent = Agent(model=OpenAIModel(client_args=MADE, model_id="m"), callback_handler=None)

    async def turn():
        async for _ in agent.stream_async("Hi"):
            pass

    return lambda: asyncio.run(turn())


def llama_index():
    from llama_index.core.chat_engine import SimpleChatEngine
    from llama_index.llms.openai import OpenAI

    llm = OpenAI(model="gpt-4o", api_base=URL, api_key="none", max_retries=0)
    engine = SimpleChatEngine.from_defaults(llm=llm)
    return lambda: "".join(engine.stream_chat("Hi").response_gen)


for make in (globals()[name] for name in sys.argv[1:]):
    asked.clear()
    turn = make()
    for _ in range(3):
        try:
            turn()
            print(f"{make.__name__}: ended in order")
        except Exception as error:
            print(f"{make.__name__}: raises {type(error).__name__}: {error}")
    print(f"{make.__name__}: the last request has {[message['role'] for message in asked[-1]]}")
PYTHON
for env in env env3; do
    "$work/$env/bin/pip" list --disable-pip-version-check 2>/dev/null |
        grep -E "^(openai-agents|strands-agents|llama-index-core|llama-index-llms-openai|openai) "
done
{
    "$work/env3/bin/python" "$work/ask.py" openai_agents
    "$work/env/bin/python" "$work/ask.py" strands llama_index
} 2>"$work/errors" | tee "$work/out" || { cat "$work/errors" >&2; exit 1; }
diff "$work/out" - <<'EXPECTED'
openai_agents: raises APIError: overloaded
openai_agents: raises APIError: overloaded
openai_agents: ended in order
openai_agents: the last request has ['user', 'user', 'user']
strands: raises APIError: overloaded
strands: raises APIError: overloaded
strands: ended in order
strands: the last request has ['user', 'user', 'user']
llama_index: raises APIError: overloaded
llama_index: raises APIError: overloaded
llama_index: ended in order
llama_index: the last request has ['user', 'user', 'user']
EXPECTED
