#!/usr/bin/env bash
# langfuse 5.0.4, langsmith 0.15.1, opentelemetry-instrumentation-openai 0.62.4, sentry-sdk 2.75.0: a stream that breaks is no error in the trace.
#
# Guessed: what comes out of the loop as an exception is the error of the call in its trace, as it is where a call without a stream fails.
# Seen: openai's `APIError` reaches the app, and the trace says otherwise: OpenTelemetry's span is `OK`, since it is ended before its status is set;
# langfuse's has no error; langsmith's has one from the synchronous client and none from the asynchronous one; sentry's is never ended, so the
# call is in no trace at all. openinference and logfire say the error. Half an answer is noted as what was said.
#
# Installs its packages into a temporary folder and asks a server on loopback; fails if what was seen has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
    "openai==3.57.0" "langfuse==5.0.4" "langsmith==0.15.1" "opentelemetry-instrumentation-openai==0.62.4" "sentry-sdk==2.75.0" \
    "openinference-instrumentation-openai==0.1.66" "logfire==5.4.0" "opentelemetry-sdk==1.45.2" 2>/dev/null
cat > "$work/ask.py" <<'PYTHON'
import asyncio
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

NAME = sys.argv[1]
CHOICE = {"index": 0, "delta": {"role": "assistant", "content": "Half"}, "finish_reason": None}
CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [CHOICE]}
END = {**CHUNK, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
ERROR = {"error": {"message": "overloaded", "type": "server_error", "code": None}}


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = self.rfile.read(int(self.headers.get("content-length", 0)))
        last = END if b"whole" in asked else ERROR
        body = "".join(f"data: {json.dumps(one)}\n\n" for one in (CHUNK, last)).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
threading.Thread(target=server.serve_forever, daemon=True).start()
URL = f"http://127.0.0.1:{server.server_port}"
MADE = {"base_url": URL, "api_key": "none", "max_retries": 0}
memory = InMemorySpanExporter()
sync, asynchronous = openai.OpenAI, openai.AsyncOpenAI


def spans():
    """Return what the newest span of OpenTelemetry says."""
    span = memory.get_finished_spans()[-1]
    memory.clear()
    failed = [event.attributes["exception.message"] for event in span.events if event.name == "exception"]
    return f"status {span.status.status_code.name}, exceptions {failed}"


seen = spans
if NAME in ("opentelemetry", "openinference"):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    if NAME == "opentelemetry":
        from opentelemetry.instrumentation.openai import OpenAIInstrumentor
    else:
        from openinference.instrumentation.openai import OpenAIInstrumentor
    OpenAIInstrumentor().instrument(tracer_provider=provider)
elif NAME == "logfire":
    import logfire

    logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[SimpleSpanProcessor(memory)])
    logfire.instrument_openai()
elif NAME == "langfuse":
    from langfuse import Langfuse
    from langfuse.openai import AsyncOpenAI, OpenAI

    traces = Langfuse(public_key="none", secret_key="none", base_url=URL, span_exporter=memory)
    sync, asynchronous = OpenAI, AsyncOpenAI

    def seen():
        traces.flush()
        level = memory.get_finished_spans()[-1].attributes.get("langfuse.observation.level")
        return f"level {level}, {spans()}"
elif NAME == "langsmith":
    from langsmith import Client
    from langsmith.wrappers import wrap_openai

    runs = []

    class Kept(Client):
        def create_run(self, *args, **kwargs):
            pass

        def update_run(self, *args, **kwargs):
            runs.append(kwargs)

    kept = Kept(api_url=URL, api_key="none", auto_batch_tracing=False)

    def sync(**made):
        return wrap_openai(openai.OpenAI(**made), tracing_extra={"client": kept})

    def asynchronous(**made):
        return wrap_openai(openai.AsyncOpenAI(**made), tracing_extra={"client": kept})

    def seen():
        run = runs.pop()
        error = run.get("error")
        return f"error {error and error.splitlines()[0]}, output {run['outputs']['choices'][0]['message']['content']!r}"
elif NAME == "sentry":
    import sentry_sdk
    from sentry_sdk.integrations.openai import OpenAIIntegration

    kept = []

    sentry_sdk.init(
        dsn=URL.replace("//", "//none@") + "/1",
        traces_sample_rate=1.0,
        integrations=[OpenAIIntegration()],
        before_send_transaction=lambda event, hint: kept.append(event),
    )

    def seen():
        ops = [span["op"] for span in kept.pop()["spans"] if span["op"].startswith("gen_ai")]
        return f"spans of models {ops}"


def asked(word):
    return {"model": "m", "messages": [{"role": "user", "content": word}], "stream": True}


def at_once(word):
    for _ in sync(**MADE).chat.completions.create(**asked(word)):
        pass


async def later(word):
    async for _ in await asynchronous(**MADE).chat.completions.create(**asked(word)):
        pass


def told(run):
    try:
        run()
    except openai.APIError as error:
        return f"raises {type(error).__name__}"
    return "ends in order"


RUNS = {
    "whole, sync": lambda: at_once("whole"),
    "broken, sync": lambda: at_once("broken"),
    "broken, async": lambda: asyncio.run(later("broken")),
}
for kind, run in RUNS.items():
    if NAME == "sentry":
        with sentry_sdk.start_transaction(name="turn"):
            end = told(run)
    else:
        end = told(run)
    print(f"{NAME}, {kind}: {end}; the trace: {seen()}")
PYTHON
"$work/env/bin/pip" list --disable-pip-version-check 2>/dev/null |
    grep -E "^(openai|langfuse|langsmith|opentelemetry-instrumentation-openai|sentry-sdk|openinference-instrumentation-openai|logfire) "
for name in opentelemetry langfuse langsmith sentry openinference logfire; do
    LANGSMITH_TRACING=true "$work/env/bin/python" "$work/ask.py" "$name" 2>"$work/errors" || { cat "$work/errors" >&2; exit 1; }
done | tee "$work/out"
diff "$work/out" - <<'EXPECTED'
opentelemetry, whole, sync: ends in order; the trace: status OK, exceptions []
opentelemetry, broken, sync: raises APIError; the trace: status OK, exceptions []
opentelemetry, broken, async: raises APIError; the trace: status OK, exceptions []
langfuse, whole, sync: ends in order; the trace: level None, status UNSET, exceptions []
langfuse, broken, sync: raises APIError; the trace: level None, status UNSET, exceptions []
langfuse, broken, async: raises APIError; the trace: level None, status UNSET, exceptions []
langsmith, whole, sync: ends in order; the trace: error None, output 'Half'
langsmith, broken, sync: raises APIError; the trace: error APIError('overloaded'), output 'Half'
langsmith, broken, async: raises APIError; the trace: error None, output 'Half'
sentry, whole, sync: ends in order; the trace: spans of models ['gen_ai.chat']
sentry, broken, sync: raises APIError; the trace: spans of models []
sentry, broken, async: raises APIError; the trace: spans of models []
openinference, whole, sync: ends in order; the trace: status OK, exceptions []
openinference, broken, sync: raises APIError; the trace: status ERROR, exceptions ['overloaded']
openinference, broken, async: raises APIError; the trace: status ERROR, exceptions ['overloaded']
logfire, whole, sync: ends in order; the trace: status UNSET, exceptions []
logfire, broken, sync: raises APIError; the trace: status ERROR, exceptions ['overloaded']
logfire, broken, async: raises APIError; the trace: status ERROR, exceptions ['overloaded']
EXPECTED
