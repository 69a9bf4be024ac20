"""The clients of apps, asking a server on this machine while a tape is made: what of a secret lands in the file."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import warnings
from dataclasses import dataclass
from types import SimpleNamespace
from urllib.parse import quote

import loopback
import yaml
from planting import is_said, pieces_of, said, sse
from taping import LOADER

from fakellm.cassette import Redactor, Tape
from fakellm.http import playing

CLIENTS = [
    (name, flavour) for name in ("openai", "anthropic", "google-genai", "httpx", "httpx2") for flavour in (False, True)
]
CLIENTS += [("requests", False), ("aiohttp", True)]
PLACES = (
    "prompt",
    "key",
    "header",
    "query",
    "answer",
    "deltas",
    "error",
    "header of the answer",
    "cookie of the answer",
)


def places_of(client):
    """Return where something can be planted in the calls of a client."""
    return [place for place in PLACES if (client, place) != ("google-genai", "query")]


@dataclass
class Answer:
    """What Loopback plays."""

    piece: bytes
    status: int
    headers: list

    def opening(self, _):
        return ()

    def body(self, _):
        yield [self.piece]


class Server:
    """Says `text` as the API of the path does, at the `place` that it was told."""

    def __init__(self):
        self.text, self.place = "", ""
        self._loop = loopback.Loopback(self)

    def __enter__(self):
        self._loop.__enter__()
        return self

    def __exit__(self, *error):
        self._loop.__exit__(*error)

    @property
    def url(self):
        return self._loop.url

    def handle(self, method, url, headers, body):
        path = url.partition("?")[0]
        plain = self.text if self.place in ("answer", "deltas", "error") else "Hello"
        if self.place == "error":
            document = {
                "type": "error",
                "error": {"type": "authentication_error", "message": f"no such key: {plain}", "code": 401},
            }
            return self._answer(json.dumps(document).encode(), 401, "application/json")
        if "stream" in path or b'"stream":true' in body.replace(b" ", b""):
            return self._answer(b"".join(_events(path, plain)), 200, "text/event-stream")
        return self._answer(json.dumps(_document(path, plain)).encode(), 200, "application/json")

    def _answer(self, piece, status, content_type):
        headers = [("content-type", content_type), ("content-length", str(len(piece)))]
        quoted = quote(self.text, safe="")
        if self.place == "header of the answer":
            headers.append(("x-echo", quoted))
        if self.place == "cookie of the answer":
            headers.append(("set-cookie", f"sid={quoted}; Path=/; HttpOnly"))
        return Answer(piece, status, headers)


def _events(path, text):
    pieces = pieces_of(f"It is {text}.", 5)
    if path.endswith("/messages"):
        message = {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": "m",
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
        yield b"event: message_start\n" + sse({"type": "message_start", "message": message})
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        yield b"event: content_block_start\n" + sse(block)
        for piece in pieces:
            delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
            yield b"event: content_block_delta\n" + sse(delta)
        yield b"event: message_stop\n" + sse({"type": "message_stop"})
    elif "enerateContent" in path:
        yield sse(*({"candidates": [{"content": {"role": "model", "parts": [{"text": piece}]}}]} for piece in pieces))
    else:
        yield sse(*({"id": "c", "choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces))
        yield b"data: [DONE]\n\n"


def _document(path, text):
    if path.endswith("/messages"):
        content = [{"type": "text", "text": text}]
        return {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": content, "stop_reason": "end_turn",
                "usage": {"input_tokens": 1, "output_tokens": 1}}  # fmt: skip
    if "enerateContent" in path:
        return {"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}}]}
    return {
        "id": "c",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
    }


def recorded(server, path, client, asynchronous, place, text):
    """Record a call in which a text is planted; return what the file says, and what people are shown of the call."""
    server.text, server.place = text, place
    asked = SimpleNamespace(
        url=server.url, key=_line(text) if place == "key" else "none", prompt=text if place == "prompt" else "Hello?",
        headers={"x-note": _line(text)} if place == "header" else {}, query={"q": text} if place == "query" else {},
        stream=place == "deltas",
    )  # fmt: skip
    tape = Tape(path, mode="all", redactor=Redactor((), {}))
    with playing(tape), warnings.catch_warnings(action="ignore"), contextlib.suppress(Exception):  # of SDKs
        answer = _SENDERS.get(client, _http)(client, asked, asynchronous)
        if asynchronous:
            asyncio.run(answer)
    return _told(path), "\n".join([tape.report(), repr(tape.calls), str(tape.problem())])


def _line(text):
    return quote(text, safe=" -_.~+/=|:!$,@()[]{}'*&<>?;#%")


def _told(path):
    """Return what a tape says: its bytes, and what it means, decoded and joined."""
    raw = path.read_bytes().decode()
    texts = [raw]
    for interaction in yaml.load(raw, Loader=LOADER)["interactions"]:
        request, response = interaction["request"], interaction["response"]
        body = response["body"]["string"]
        response = {"stream": None, **response, "body": {"string": body.encode() if isinstance(body, str) else body}}
        texts.append(said((SimpleNamespace(**{"body": b"", **request}), response)))
    return "\n".join(texts)


def leaks(server, path, client, asynchronous, place, secret, text):
    """Return where a secret, in a text, is seen: on the tape, in what people are shown."""
    tape, shown = recorded(server, path, client, asynchronous, place, text)
    return [name for name, told in (("tape", tape), ("report", shown)) if is_said(secret, told)]


# ---- Clients --------------------------------------------------------------------------------------------------------


def _openai(_, asked, asynchronous):
    import openai

    kind = openai.AsyncOpenAI if asynchronous else openai.OpenAI
    client = kind(api_key=asked.key, base_url=f"{asked.url}/v1", max_retries=0)
    return _asked(client, client.chat.completions.create, asynchronous, **_of_sdk(asked))


def _anthropic(_, asked, asynchronous):
    import anthropic

    kind = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
    client = kind(api_key=asked.key, base_url=asked.url, max_retries=0)
    return _asked(client, client.messages.create, asynchronous, max_tokens=9, **_of_sdk(asked))


def _of_sdk(asked):
    return {
        "model": "m", "messages": [{"role": "user", "content": asked.prompt}], "stream": asked.stream,
        "extra_headers": asked.headers, "extra_query": asked.query,
    }  # fmt: skip


def _genai(_, asked, asynchronous):
    from google import genai

    client = genai.Client(api_key=asked.key, http_options={"base_url": asked.url, "headers": asked.headers})
    models = client.aio.models if asynchronous else client.models
    call = models.generate_content_stream if asked.stream else models.generate_content
    client.aio.owner = client  # which is closed when nobody holds it
    return _asked(client.aio if asynchronous else client, call, asynchronous, model="m", contents=asked.prompt)


def _asked(client, call, asynchronous, **options):
    if asynchronous:
        return _consumed(client, call, options)
    try:
        answer = call(**options)
        return list(answer) if hasattr(answer, "__next__") else answer
    finally:
        client.close()


async def _consumed(client, call, options):
    try:
        answer = await call(**options)
        if hasattr(answer, "__anext__"):
            async for _ in answer:
                pass
    finally:
        await (client.aclose() if hasattr(client, "aclose") else client.close())


def _http(client, asked, asynchronous):
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in asked.query.items())
    url = f"{asked.url}/v1/chat/completions{query and '?' + query}"
    options = {
        "json": {"messages": [{"role": "user", "content": asked.prompt}], "stream": asked.stream},
        "headers": {"authorization": f"Bearer {asked.key}", **asked.headers},
    }
    module = importlib.import_module(client)
    if client == "aiohttp":
        return _with_aiohttp(module, url, options)
    if asynchronous:
        return _with_httpx(module, url, options)
    return module.post(url, **options).content


async def _with_httpx(module, url, options):
    async with module.AsyncClient() as client:
        await client.post(url, **options)


async def _with_aiohttp(module, url, options):
    async with module.ClientSession() as session, session.post(url, **options) as response:
        await response.read()


_SENDERS = {"openai": _openai, "anthropic": _anthropic, "google-genai": _genai}
