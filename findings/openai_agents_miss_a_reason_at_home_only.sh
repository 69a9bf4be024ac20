#!/usr/bin/env bash
# openai-agents 0.24.0: whether half an answer is an error depends on the host that it came from.
#
# Guessed: a stream that ends in order without a finish reason, or `[DONE]`, is treated alike wherever it comes from.
# Seen: from OpenAI's own base URL it raises `ModelBehaviorError`; the same bytes from any other, such as a gateway before OpenAI, are a
# whole answer (`require_finish_reason=ChatCmplHelpers.is_openai(...)`). So a test at the default URL passes, and production does not.
#
# Installs its packages into a temporary folder and asks a transport in the process; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check "openai-agents==0.24.0" "openai==3.57.0" "httpx2==2.16.2" 2>/dev/null
cat > "$work/ask.py" <<'PYTHON'
import asyncio
import json

import httpx2
import openai
from agents import Agent, OpenAIChatCompletionsModel, Runner
from agents.tracing import set_tracing_disabled

set_tracing_disabled(disabled=True)
HALF = [{"role": "assistant", "content": ""}, {"content": "The answer is"}]


def answer(request):
    chunks = [
        json.dumps({
            "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": None}],
        })
        for delta in HALF
    ]  # fmt: skip
    body = "".join(f"data: {chunk}\n\n" for chunk in chunks)
    return httpx2.Response(200, text=body, headers={"content-type": "text/event-stream"})


async def asked(url):
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    client = openai.AsyncOpenAI(api_key="none", base_url=url, http_client=http, max_retries=0)
    result = Runner.run_streamed(Agent("app", model=OpenAIChatCompletionsModel("m", client)), "Go on.")
    try:
        async for _ in result.stream_events():
            pass
    except Exception as error:
        return type(error).__name__
    return repr(result.final_output)


for url in (None, "http://127.0.0.1:9/v1"):
    print("at home:" if url is None else "elsewhere:", asyncio.run(asked(url)))
PYTHON
"$work/env/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E "^(openai-agents|openai) "
"$work/env/bin/python" "$work/ask.py" 2>/dev/null | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
at home: ModelBehaviorError
elsewhere: 'The answer is'
EXPECTED
