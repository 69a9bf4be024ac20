"""Every fault twice, in process and over a real socket: the app gets the same exception, after the same chunks."""

from __future__ import annotations

import importlib

import openai
import pytest
import sdks
from faults import FAULTS, TEXT, patience, provider_of, served
from vectors import each

from fakellm import (
    Script,
    disconnect,
)
from fakellm.http.transports import transport

JSON = "application/json"


CONTENT_TYPES = {"wrong content type": JSON, "content type of a page": "text/html"}


def flavours():
    """Return the HTTP libraries that the installed SDK takes a client of."""
    return ("httpx", "httpx2") if sdks.OPENAI >= 3 else ("httpx",)


def timeouts(module, script):
    connect, read = patience(script)
    return module.Timeout(5, connect=connect, read=read)


def outcome(chunks, error):
    """Return what an app sees: the chunks, and of the error its class, its message and those of its causes."""
    seen = []
    while error is not None:
        seen.append(f"{type(error).__module__}.{type(error).__name__}")
        error = error.__cause__ if seen[0].startswith("openai") and len(seen) < 2 else None
    return chunks, seen


def streamed(client):
    chunks, error = [], None
    try:
        for chunk in client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "?"}], stream=True
        ):
            chunks.append(chunk.model_dump(exclude={"usage"}))
    except Exception as raised:
        error = raised
    return chunks, error


async def astreamed(client):
    chunks, error = [], None
    try:
        request = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "?"}], stream=True)
        async for chunk in await request:
            chunks.append(chunk.model_dump(exclude={"usage"}))
    except Exception as raised:
        error = raised
    return chunks, error


def ask(module, asynchronous, script, url, **options):
    options = {"timeout": timeouts(module, script), **options}
    base = f"{url}/v1"
    if asynchronous:

        async def main():
            async with openai.AsyncOpenAI(
                api_key="none", base_url=base, max_retries=0, http_client=module.AsyncClient(**options)
            ) as client:
                return await astreamed(client)

        return sdks.run(main())
    with openai.OpenAI(api_key="none", base_url=base, max_retries=0, http_client=module.Client(**options)) as client:
        return streamed(client)


def both_ways(module, asynchronous, script, content_type=None):
    """Return what the SDK makes of a script in process, and of the same over a real socket."""
    fake = transport(provider_of(script, content_type), module)
    in_process = ask(module, asynchronous, script, "http://127.0.0.1:1", transport=fake)
    provider = provider_of(script, content_type)
    with served(provider, script) as url:
        real = ask(module, asynchronous, script, url)
    return in_process, real


def detail(error):
    """Return what of an error an app may look at: the API's own message, code and headers."""
    return [getattr(error, name, None) for name in ("status_code", "code", "type", "param", "body")]


def said(error):
    """Return the message of an error and of its cause."""
    return [str(error), str(error.__cause__)] if error is not None else []


# Each fault in each library, by turns synchronously and not: in both flavours, where there are two libraries.
IN_TURNS = [
    (name, library, bool((row + column) % 2))
    for row, name in enumerate(FAULTS)
    for column, library in enumerate(("httpx", "httpx2"))
]


@pytest.mark.exhaustive
@each("name, library, asynchronous", [row for row in IN_TURNS if row[1] in flavours()], ids=str)
def test_a_fault_in_process_is_that_of_a_real_socket(name, library, asynchronous):
    module = importlib.import_module(library)
    (chunks, error), (real_chunks, real_error) = both_ways(module, asynchronous, FAULTS[name])

    assert outcome(chunks, error) == outcome(real_chunks, real_error)
    assert detail(error) == detail(real_error)
    assert said(error) == said(real_error)
    retry_after = [getattr(getattr(e, "response", None), "headers", {}).get("retry-after") for e in (error, real_error)]
    assert retry_after[0] == retry_after[1]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("library", flavours())
@pytest.mark.parametrize("content_type", CONTENT_TYPES.values(), ids=CONTENT_TYPES)
def test_a_wrong_content_type_in_process_is_that_of_a_real_socket(content_type, library, asynchronous):
    module = importlib.import_module(library)
    (chunks, error), (real_chunks, real_error) = both_ways(module, asynchronous, Script(*TEXT), content_type)

    assert outcome(chunks, error) == outcome(real_chunks, real_error)


@pytest.mark.exhaustive
@each("name, library, asynchronous", IN_TURNS, ids=str)
def test_the_http_library_raises_the_same_without_an_sdk(name, library, asynchronous):
    module, script = importlib.import_module(library), FAULTS[name]
    body = {"model": "m", "messages": [{"role": "user", "content": "?"}], "stream": True}

    def read(client, url):
        received, error = b"", None
        try:
            with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
                for data in response.iter_raw():
                    received += data
        except Exception as raised:
            error = raised
        return received, type(error)

    async def aread(client, url):
        received, error = b"", None
        try:
            async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
                async for data in response.aiter_raw():
                    received += data
        except Exception as raised:
            error = raised
        return received, type(error)

    def run(url, **options):
        options = {"timeout": timeouts(module, script), **options}
        if not asynchronous:
            with module.Client(**options) as client:
                return read(client, url)

        async def main():
            async with module.AsyncClient(**options) as client:
                return await aread(client, url)

        return sdks.run(main())

    in_process = run("http://127.0.0.1:1", transport=transport(provider_of(script), module))
    provider = provider_of(script)
    with served(provider, script) as url:
        assert in_process == run(url)


def test_without_a_fault_both_ways_give_the_answer():
    (chunks, error), (real_chunks, _) = both_ways(sdks.http_of("openai"), asynchronous=False, script=Script(*TEXT))

    assert error is None
    assert chunks == real_chunks
    assert "".join(chunk["choices"][0]["delta"]["content"] or "" for chunk in chunks) == "Hello you"


def test_a_fault_is_logged_as_what_ended_the_call():
    module = sdks.http_of("openai")
    provider = provider_of(Script(*TEXT, disconnect()))
    ask(module, asynchronous=False, script=Script("a"), url="http://127.0.0.1:1", transport=transport(provider, module))

    (call,) = provider.calls
    assert (call.state, type(call.error)) == ("failed", module.ReadError)
    assert call.pieces == 1 + len(TEXT)
