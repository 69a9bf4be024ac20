#!/usr/bin/env bash
# semantic-kernel 1.45.0: a call that a server says in the new form and in the old one, in the same chunk, is run twice.
#
# Guessed: `function_call`, which OpenAI gave up for `tool_calls`, is read where there are no `tool_calls`, or not at all, as the other frameworks do it.
# Seen: both are read, and each makes a call. llama-cpp-python says every call in both forms, for clients of either age, so the agent runs each tool
# twice for one call. Nothing is raised: the second call gets the id `legacy_function_call`, and its result goes to the model beside the first.
#
# Installs its packages into a temporary folder and asks a transport in the process; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "semantic-kernel==1.45.0" "openai==3.57.0" 2>/dev/null
cat > "$work/ask.py" <<'PYTHON'
import asyncio
import json
import logging
import sys

import openai
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion
from semantic_kernel.functions import kernel_function

http = sys.modules["httpx2" if "httpx2" in sys.modules else "httpx"]
logging.disable()
ran, results = [], []  # cities, and of each later request the ids of the calls that it has results of


def chunk(reason=None, **delta):
    about = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "tiny"}
    return {**about, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def said(forms, arguments, **named):
    """Return a piece of a call, as llama-cpp-python says it, or in one of the forms."""
    function = {**named, "arguments": arguments}
    both = {
        "function_call": function,
        "tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}],
    }
    return chunk(**{form: both[form] for form in forms})


def answer(request):
    messages = json.loads(request.content)["messages"]
    if messages[-1]["role"] in ("tool", "function"):
        results.append([message.get("tool_call_id") for message in messages if message["role"] in ("tool", "function")])
        chunks = [chunk(role="assistant", content="It snows."), chunk("stop")]
    else:
        pieces = [said(forms, '{"city":', name="get_weather"), said(forms, ' "Paris"}')]
        chunks = [chunk(role="assistant"), *pieces, chunk("tool_calls")]
    body = "".join(f"data: {json.dumps(one)}\n\n" for one in chunks) + "data: [DONE]\n\n"
    return http.Response(200, content=body.encode(), headers={"content-type": "text/event-stream"})


class Plugin:
    @kernel_function(name="get_weather")
    def get_weather(self, city: str) -> str:
        """Say the weather of a city."""
        ran.append(city)
        return "snow"


async def main():
    client = openai.AsyncOpenAI(
        api_key="none", base_url="http://127.0.0.1:9/v1", http_client=http.AsyncClient(transport=http.MockTransport(answer))
    )
    agent = ChatCompletionAgent(
        service=OpenAIChatCompletion("tiny", async_client=client), name="app", plugins=[Plugin()]
    )
    text = "".join([item.message.content async for item in agent.invoke_stream("How is the weather?")])
    print(f"{' and '.join(forms)}: the tool ran for {ran}, the model was given {results[-1]}, the agent said {text!r}")


for forms in (["tool_calls"], ["function_call", "tool_calls"]):
    ran.clear()
    asyncio.run(main())
PYTHON
"$work/env/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E "^(semantic-kernel|openai) "
"$work/env/bin/python" "$work/ask.py" 2>"$work/errors" | tee "$work/out" || { tail -5 "$work/errors"; exit 1; }
diff "$work/out" - <<'EXPECTED'
tool_calls: the tool ran for ['Paris'], the model was given ['call_1'], the agent said 'It snows.'
function_call and tool_calls: the tool ran for ['Paris', 'Paris'], the model was given ['call_1', 'legacy_function_call'], the agent said 'It snows.'
EXPECTED
