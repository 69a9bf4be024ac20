#!/usr/bin/env bash
# langchain-core 1.8.3, langchain-openai 1.7.4: a tool call that max_tokens cut is whole if it was streamed.
#
# Guessed: arguments that broke off in the middle of their JSON are in `invalid_tool_calls`, as they are without streaming.
# Seen: the message that the chunks add up to has the call in `tool_calls`, with the path or name that it has by then: an app that runs
# `tool_calls` deletes another folder than the model meant. That the answer was cut is in `finish_reason` alone.
#
# Installs its packages into a temporary folder and asks a transport in the process; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "langchain-core==1.8.3" "langchain-openai==1.7.4" "openai==3.57.0" "httpx2==2.16.2" 2>/dev/null
cat > "$work/ask.py" <<'PYTHON'
import json

import httpx2
from langchain_openai import ChatOpenAI

ARGUMENTS = '{"path": "/srv/data/old'  # of "/srv/data/old backups/2019"
TOOL = {"type": "function", "function": {"name": "delete", "parameters": {"type": "object"}}}


def answer(request):
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "delete", "arguments": ARGUMENTS}}
    about = {"id": "c", "created": 1, "model": "m"}
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    if not json.loads(request.content).get("stream"):
        choice = {"index": 0, "message": said, "finish_reason": "length"}
        return httpx2.Response(200, json={**about, "object": "chat.completion", "choices": [choice]})
    choices = [{"index": 0, "delta": said, "finish_reason": None}, {"index": 0, "delta": {}, "finish_reason": "length"}]
    chunks = [json.dumps({**about, "object": "chat.completion.chunk", "choices": [choice]}) for choice in choices]
    body = "".join(f"data: {chunk}\n\n" for chunk in [*chunks, "[DONE]"])
    return httpx2.Response(200, text=body, headers={"content-type": "text/event-stream"})


client = httpx2.Client(transport=httpx2.MockTransport(answer))
chat = ChatOpenAI(model="m", api_key="none", base_url="http://127.0.0.1:9/v1", http_client=client, max_retries=0)
chat = chat.bind_tools([TOOL])

whole = chat.invoke("Tidy up.")
streamed = None
for chunk in chat.stream("Tidy up."):
    streamed = chunk if streamed is None else streamed + chunk
for name, message in ("whole", whole), ("streamed", streamed):
    print(f"{name}: to run {[call['args'] for call in message.tool_calls]}, invalid {len(message.invalid_tool_calls)}")
PYTHON
"$work/env/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E "^(langchain-core|langchain-openai|openai) "
"$work/env/bin/python" "$work/ask.py" 2>/dev/null | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
whole: to run [], invalid 1
streamed: to run [{'path': '/srv/data/old'}], invalid 0
EXPECTED
