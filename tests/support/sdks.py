"""The official SDKs, reading bytes: what an app's own client makes of a body that a codec wrote."""

from __future__ import annotations

import asyncio
import importlib
from importlib.metadata import version

OPENAI, ANTHROPIC, GENAI = (int(version(name).partition(".")[0]) for name in ("openai", "anthropic", "google-genai"))


def http_of(name):
    """Return the HTTP library that the installed SDK uses: httpx, or httpx2 since a major version of late."""
    if name == "google-genai":
        return importlib.import_module("httpx2" if GENAI >= 3 else "httpx")
    is_new = hasattr(importlib.import_module(f"{name}._client"), "httpx2")
    return importlib.import_module("httpx2" if is_new else "httpx")


def transport(name, body, *, status=200, content_type="text/event-stream", headers=(), seen=None):
    """Return a transport that answers every request with the body; `seen` collects the requests."""
    http = http_of(name)

    def answer(request):
        if seen is not None:
            seen.append(request)
        return http.Response(status, headers=[("content-type", content_type), *headers], content=body)

    return http.MockTransport(answer)


def openai_client(body, *, asynchronous=False, **options):
    """Return a client that gets the body as the answer to every request."""
    import openai

    http = http_of("openai")
    mock = transport("openai", body, **options)
    if asynchronous:
        return openai.AsyncOpenAI(api_key="none", http_client=http.AsyncClient(transport=mock), max_retries=0)
    return openai.OpenAI(api_key="none", http_client=http.Client(transport=mock), max_retries=0)


def anthropic_client(body, *, asynchronous=False, **options):
    """Return a client that gets the body as the answer to every request."""
    import anthropic

    http = http_of("anthropic")
    mock = transport("anthropic", body, **options)
    if asynchronous:
        return anthropic.AsyncAnthropic(api_key="none", http_client=http.AsyncClient(transport=mock), max_retries=0)
    return anthropic.Anthropic(api_key="none", http_client=http.Client(transport=mock), max_retries=0)


def genai_client(body, **options):
    """Return a client that gets the body as the answer to every request, synchronous or not (`.aio`)."""
    from google import genai

    http = http_of("google-genai")
    mock = transport("google-genai", body, **options)
    options = {"httpx_client": http.Client(transport=mock), "httpx_async_client": http.AsyncClient(transport=mock)}
    return genai.Client(api_key="none", http_options=options)


def dumped(objects):
    """Return SDK objects as plain data, with what the stream said and nothing else."""
    return [item.model_dump(mode="json", exclude_unset=True, warnings=False) for item in objects]


def run(coroutine):
    """Run a coroutine to its end."""
    return asyncio.run(coroutine)


async def collect(stream):
    """Return the items of an asynchronous stream."""
    return [item async for item in stream]


def without_nulls(value):
    """Return plain data without the fields that are null, which say as much as fields that are not there."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value
