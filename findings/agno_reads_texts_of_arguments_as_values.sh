#!/usr/bin/env bash
# agno 3.1.10: an argument whose text is "null", "none", "true" or "false" is no text when the tool is called.
#
# Guessed: a string in the JSON of a call is a string for the tool, whatever it says, above all where the tool's schema says string.
# Seen: `get_function_call` makes `None`, `True` and `False` of such texts, in any case and with spaces around them. A tool that takes a `str` is not
# run, and the model is told that its string should be a string; one that takes `str | None` is given nothing.
#
# Installs its packages into a temporary folder and asks a transport in the process; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "agno==3.1.10" "openai==3.57.0" "httpx==0.28.1" 2>/dev/null
cat > "$work/ask.py" <<'PYTHON'
import json
import logging

import httpx
from agno.agent import Agent
from agno.models.openai.like import OpenAILike

logging.disable()
asked = []


def answer(request):
    body = json.loads(request.content)
    about = {"id": "c", "created": 1, "model": "m", "object": "chat.completion"}
    if body["messages"][-1]["role"] == "tool":
        message, reason = {"role": "assistant", "content": "Done."}, "stop"
    else:
        wanted = body["messages"][-1]["content"]
        call = {"name": "find", "arguments": json.dumps({"surname": wanted})}
        message = {"role": "assistant", "content": None}
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": call}]
        reason = "tool_calls"
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return httpx.Response(200, json={**about, "choices": [choice]})


def find(surname: str) -> str:
    """Find a customer by surname."""
    asked.append(surname)
    return "found"


chat = OpenAILike(id="m", base_url="http://127.0.0.1:9/v1", http_client=httpx.Client(transport=httpx.MockTransport(answer)))
for surname in ("Smith", "Null", "True", " Smith"):
    asked.clear()
    Agent(model=chat, tools=[find], telemetry=False).run(surname)
    print(f"the model says {surname!r}, the tool is given {asked}")
PYTHON
"$work/env/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E "^(agno|openai) "
AGNO_TELEMETRY=false "$work/env/bin/python" "$work/ask.py" 2>/dev/null | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
the model says 'Smith', the tool is given ['Smith']
the model says 'Null', the tool is given []
the model says 'True', the tool is given []
the model says ' Smith', the tool is given [' Smith']
EXPECTED
