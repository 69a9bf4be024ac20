"""boto3's clients of Bedrock, made fast, and what they make of bytes."""

from __future__ import annotations

import io
import json
from functools import cache

ASKED = {
    "modelId": "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "messages": [{"role": "user", "content": [{"text": "Hi"}]}],
}


@cache
def session():
    """Return a session whose models of services are loaded once."""
    import boto3

    return boto3.Session("a", "b", region_name="us-east-1")


def client(service="bedrock-runtime", *, made=None, endpoint_url=None, **options):
    """Return a client that asks once, and waits for no more than a second."""
    from botocore.config import Config

    config = Config(retries={"total_max_attempts": 1}, **{"read_timeout": 1, "connect_timeout": 1, **options})
    return (made or session()).client(service, endpoint_url=endpoint_url, config=config)


def answered(body, *, status=200, headers=()):
    """Return a client that gets the body as the answer to every request, without a connection."""
    from botocore.awsrequest import AWSResponse

    class Raw(io.BytesIO):
        def stream(self, amt=1024, **_):
            return iter(lambda: self.read(amt), b"")

    def answer(request, **_):
        kind = "application/json" if status >= 400 else "application/vnd.amazon.eventstream"
        return AWSResponse(request.url, status, {"content-type": kind, **dict(headers)}, Raw(body))

    found = client()
    found.meta.events.register("before-send.bedrock-runtime", answer)
    return found


def chunks(stream):
    """Yield the events of a stream; what an InvokeModel stream's chunks hold, parsed."""
    for event in stream:
        yield json.loads(event["chunk"]["bytes"]) if "chunk" in event else event


def read(body, *, invokes=False):
    """Return the events that boto3 makes of the bytes of a stream, and the error that ends them."""
    found = answered(body)
    if invokes:
        answer = found.invoke_model_with_response_stream(modelId=ASKED["modelId"], body="{}")
    else:
        answer = found.converse_stream(**ASKED)
    events, error = [], None
    try:
        events.extend(chunks(answer["body" if invokes else "stream"]))
    except Exception as raised:
        error = raised
    return events, error
