"""The vendors' own SDKs, each driven in a few lines: a client, a question, and what a chunk of its stream says.

A driver knows its SDK and nothing of the test: `streamed` asks, at once or in a loop, and returns an `Outcome`, so that
one test holds all providers to the same. What the SDKs do not have in common stands in the fields of the driver.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

import boto
import sdks

PARAMETERS = {"type": "object", "properties": {}}
FUNCTION = {"name": "f", "description": "", "parameters": PARAMETERS}
Facts = Iterator[tuple[Any, ...]]
"""What a chunk says: ("text", text), ("call", which, name, arguments), ("end", reason), ("error", message)."""


class IncompleteAnswer(Exception):
    """What a careful app raises where the SDK raises nothing and the answer is not whole."""


@dataclass(frozen=True)
class Driver:
    """An SDK of a provider, and what it raises.

    `client` makes a client of the module, awaited or not, of a URL or of none; `method` of it is asked, `fields` are what
    it is given, `read` is what a chunk says, and `awaited` what its name ends with on an awaited client. `before`, `inside` and `dropped` are the exceptions of an error 429 before the answer, of an error in the
    stream (each None where the SDK hands it on as an event) and of a connection that breaks; two where the awaited client
    raises another. `left` is what then is the state of the call whose stream holds the error. `whole` tells that a call
    of a tool comes at once, `tries` how often it asks where nothing answers, `shown` what an app hands on of a chunk,
    `calls` that it can call tools and counts tokens, `stops` that it closes a stream at what ends it,
    `at` which of its requests the stream answers, `accepted` which faults the SDK takes for the end of the answer, beside a clean end, and
    `unkept` the contracts that an app cannot keep on its awaited client.
    """

    name: str
    provider: str
    module: str
    method: str
    client: Callable[..., Any]
    fields: Callable[[str], dict[str, Any]]
    read: Callable[[Any], Facts]
    before: str | None
    inside: str | None
    dropped: tuple[str, ...]
    left: str = "complete"
    whole: bool = False
    accepted: tuple[str, ...] = ()
    unkept: tuple[str, ...] = ()
    awaited: str = ""
    is_awaited: bool = True
    tries: int = 1
    calls: bool = True
    stops: bool = False
    at: int = 0
    shown: Callable[[Any], Any] = lambda chunk: chunk

    def flavours(self):
        return (False, True) if self.is_awaited else (False,)

    def drop(self, *, asynchronous):
        return self.dropped[-1 if asynchronous else 0]


@dataclass
class Outcome:
    """What an app has of a stream: the chunks as they came, what they say, and the error that ended them."""

    chunks: list[Any] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    pieces: list[tuple[str, str]] = field(default_factory=list)
    calls: dict[Any, list[str]] = field(default_factory=dict)
    end: str | None = None
    handed: str | None = None
    error: Exception | None = None

    def add(self, chunk, facts):
        self.chunks.append(chunk)
        for kind, *said in facts:
            if kind == "text" and said[0]:
                self.texts.append(said[0])
            elif kind == "call":
                which, name, arguments = said
                call = self.calls.setdefault(which, ["", ""])
                call[0] = call[0] or name or ""
                call[1] += arguments or ""
                self.pieces.append((name or "", arguments or ""))
            elif kind == "end":
                self.end = said[0] or self.end
            elif kind == "error":
                self.handed = said[0]

    @property
    def text(self):
        return "".join(self.texts)

    @property
    def called(self):
        return [(name, json.loads(arguments)) for name, arguments in self.calls.values()]


def client_of(driver, *, asynchronous, url=None):
    return driver.client(importlib.import_module(driver.module), asynchronous, url)


def asked(driver, client, text, *, asynchronous):
    """Return a stream, or what gives it when it is awaited."""
    method = getattr(client, "aio", client) if asynchronous else client
    for name in (driver.method + (driver.awaited if asynchronous else "")).split("."):
        method = getattr(method, name)
    answer = method(**driver.fields(text))
    return answer["stream"] if isinstance(answer, dict) else answer


async def awaited(stream):
    return await stream if hasattr(stream, "__await__") else stream


def streamed(driver, *, asynchronous=False, url=None):
    """Return what an app has of a stream when it is over."""
    found = Outcome()

    async def main():
        client = client_of(driver, asynchronous=True, url=url)
        async with getattr(client, "aio", client):
            async for chunk in await awaited(asked(driver, client, "Hi", asynchronous=True)):
                found.add(chunk, driver.read(chunk))

    try:
        if asynchronous:
            sdks.run(main())
            return found
        client = client_of(driver, asynchronous=False, url=url)
        with client if hasattr(client, "__enter__") else contextlib.closing(client):
            stream = asked(driver, client, "Hi", asynchronous=False)
            with contextlib.closing(stream):  # boto3 leaves a stream open whose error it raises
                for chunk in stream:
                    found.add(chunk, driver.read(chunk))
    except Exception as error:
        found.error = error
    return found


class Careful:
    """An app that hands the chunks on, looks for the end of the answer and for an error in it, and closes its stream."""

    def __init__(self, driver):
        self.driver = driver
        if not driver.is_awaited:
            self.astream = None

    def stream(self, input):
        found = Outcome()
        client = client_of(self.driver, asynchronous=False)
        for chunk in asked(self.driver, client, input, asynchronous=False):
            found.add(chunk, self.driver.read(chunk))
            _check_error(found)
            yield self.driver.shown(chunk)
        _check_end(found)

    async def astream(self, input):
        found = Outcome()
        client = client_of(self.driver, asynchronous=True)
        stream = await awaited(asked(self.driver, client, input, asynchronous=True))
        try:
            async for chunk in stream:
                found.add(chunk, self.driver.read(chunk))
                _check_error(found)
                yield self.driver.shown(chunk)
        finally:
            await _closed(stream)
            if isinstance(client, Functions):
                await client.leave()
        _check_end(found)


async def _closed(stream):
    """Close a stream in whichever way its SDK has."""
    close = getattr(stream, "aclose", None) or getattr(stream, "close", None)
    await (close() if close else stream.__aexit__(None, None, None))


def _check_error(found):
    if found.handed:
        raise IncompleteAnswer(found.handed)


def _check_end(found):
    if found.end is None:
        raise IncompleteAnswer


# -- what a chunk says ---------------------------------------------------------------------------------------


def of_chat(chunk):
    """OpenAI's chunks of chat, and Mistral's."""
    for choice in getattr(chunk, "data", chunk).choices:
        yield "text", choice.delta.content
        for call in choice.delta.tool_calls or ():
            yield "call", call.index, call.function.name, call.function.arguments
        yield "end", choice.finish_reason


def of_responses(event):
    if event.type == "response.output_text.delta":
        yield "text", event.delta
    elif event.type == "response.output_item.added" and event.item.type == "function_call":
        yield "call", event.output_index, event.item.name, ""
    elif event.type == "response.function_call_arguments.delta":
        yield "call", event.output_index, "", event.delta
    elif event.type in ("response.completed", "response.incomplete"):
        yield "end", event.response.status


def of_messages(event):
    if event.type == "content_block_start" and event.content_block.type == "tool_use":
        yield "call", event.index, event.content_block.name, ""
    elif event.type == "content_block_delta" and event.delta.type == "text_delta":
        yield "text", event.delta.text
    elif event.type == "content_block_delta" and event.delta.type == "input_json_delta":
        yield "call", event.index, "", event.delta.partial_json
    elif event.type == "message_stop":
        yield "end", event.type


def of_contents(chunk):
    for candidate in chunk.candidates or ():
        for part in (candidate.content and candidate.content.parts) or ():
            yield "text", part.text
            if part.function_call:
                yield "call", part.function_call.name, part.function_call.name, json.dumps(part.function_call.args)
        yield "end", candidate.finish_reason


def of_interactions(event):
    if isinstance(event, str):  # data that is no JSON is handed on as it is
        yield "error", event
    elif event.event_type == "step.start" and event.step.type == "function_call":
        yield "call", event.index, event.step.name, ""
    elif event.event_type == "step.delta" and event.delta.type == "arguments_delta":
        yield "call", event.index, "", event.delta.arguments
    elif event.event_type == "step.delta":
        yield "text", event.delta.text
    elif event.event_type == "error":
        yield "error", event.error.message
    elif event.event_type == "interaction.completed":
        yield "end", event.interaction.status


def of_ollama(chunk):
    yield "text", chunk.message.content
    for call in chunk.message.tool_calls or ():
        yield "call", call.function.name, call.function.name, json.dumps(call.function.arguments)
    yield "end", chunk.done_reason


def of_cohere(event):
    if event.type == "content-delta":
        yield "text", event.delta.message.content.text
    elif event.type == "tool-call-start":
        function = event.delta.message.tool_calls.function
        yield "call", event.index, function.name, function.arguments
    elif event.type == "tool-call-delta":
        yield "call", event.index, "", event.delta.message.tool_calls.function.arguments
    elif event.type == "message-end" and event.delta.finish_reason == "ERROR":
        yield "error", event.delta.error
    elif event.type == "message-end":
        yield "end", event.delta.finish_reason


def of_generation(answer):
    if answer.status_code != 200:
        yield "error", answer.message
        return
    for choice in answer.output.choices:
        yield "text", choice.message.content
        for call in choice.message.get("tool_calls") or ():
            yield "call", call["index"], call["function"].get("name"), call["function"]["arguments"]
        yield "end", choice.finish_reason if choice.finish_reason != "null" else None


def of_predictions(event):
    if event.event.value == "output":
        yield "text", str(event)
    elif event.event.value == "done":
        yield "end", event.data


def of_converse(event):
    if "contentBlockStart" in event:
        start = event["contentBlockStart"]
        yield "call", start["contentBlockIndex"], start["start"]["toolUse"]["name"], ""
    elif "contentBlockDelta" in event:
        delta = event["contentBlockDelta"]["delta"]
        yield "text", delta.get("text")
        if "toolUse" in delta:
            yield "call", event["contentBlockDelta"]["contentBlockIndex"], "", delta["toolUse"]["input"]
    elif "messageStop" in event:
        yield "end", event["messageStop"]["stopReason"]


# -- clients -----------------------------------------------------------------------------------------------


def openai(module, asynchronous, url):
    return (module.AsyncOpenAI if asynchronous else module.OpenAI)(base_url=url, max_retries=0, timeout=5)


def anthropic(module, asynchronous, url):
    return (module.AsyncAnthropic if asynchronous else module.Anthropic)(base_url=url, max_retries=0, timeout=5)


def genai(module, asynchronous, url):
    options = {"timeout": 5000, "retry_options": {"attempts": 1}, **({"base_url": url} if url else {})}
    return module.Client(vertexai=False, http_options=options)


def ollama(module, asynchronous, url):
    return (module.AsyncClient if asynchronous else module.Client)(url, timeout=5)


def cohere(module, asynchronous, url):
    made = module.AsyncClientV2 if asynchronous else module.ClientV2
    return made(base_url=url, max_retries=0, timeout=5)


def mistral(module, asynchronous, url):
    return module.Mistral(server_url=url, timeout_ms=5000)


def bedrock(module, asynchronous, url):
    from botocore.config import Config

    config = Config(retries={"total_max_attempts": 1}, read_timeout=1, connect_timeout=1)
    return boto.session().client("bedrock-runtime", endpoint_url=url, config=config)


class Predictions:
    """A client of Replicate, which cannot be closed."""

    def __init__(self, module, asynchronous, url):
        self._client = module.Client(base_url=url, api_token="t", timeout=5)
        self.stream = self._client.async_stream if asynchronous else self._client.stream

    def close(self):
        self._client._client.close()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self._client._async_client.aclose()


class Functions:
    """What stands for a client where the SDK has functions of its module: DashScope's, which keep a session for each loop."""

    users = WeakKeyDictionary()
    sessions = []
    where = "dashscope.api_entities.aio_session"

    def __init__(self, module, asynchronous, url):
        self._module = module
        if asynchronous:
            loop = asyncio.get_running_loop()
            self.users[loop] = self.users.get(loop, 0) + 1
        made = module.AioGeneration if asynchronous else module.Generation
        place = {"base_address": url} if url else {}
        self.Generation = SimpleNamespace(call=partial(made.call, api_key="k", request_timeout=5, **place))

    def close(self):
        self._module.close_shared_sync_session()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.leave()

    async def leave(self):
        loop = asyncio.get_running_loop()
        self.users[loop] -= 1
        if not self.users[loop]:
            # Kept: when a session is freed, the SDK closes the session that has its id by then, a new one perhaps.
            self.sessions.append(await importlib.import_module(self.where).get_shared_aio_session())
            await self._module.close_shared_aio_session()


def said(text):
    return [{"role": "user", "content": text}]


FUNCTIONS = [{"type": "function", "function": FUNCTION}]
DECLARED = [{"function_declarations": [FUNCTION]}]
SPECIFIED = {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": PARAMETERS}}}]}

CUT, BROKEN, ERROR, NAMED = "cut inside the next event", "broken JSON", "error in the stream", "error as a named event"
REFUSED = "HTTP errors"
INTERACTIONS = "google.genai._interactions_errors"

DRIVERS = (
    Driver(
        "OpenAI chat completions", "openai", "openai", "chat.completions.create", openai,
        lambda text: dict(
            model="m", messages=said(text), tools=FUNCTIONS, stream=True, stream_options={"include_usage": True}),
        of_chat, "openai.RateLimitError", "openai.APIError",
        ("openai.APIConnectionError" if sdks.OPENAI >= 3 else "httpx.ReadError",), "closed", accepted=(CUT,),
    ),
    Driver(
        "OpenAI Responses", "openai", "openai", "responses.create", openai,
        lambda text: dict(model="m", input=text, tools=[{"type": "function", **FUNCTION}], stream=True),
        of_responses, "openai.RateLimitError", "openai.APIError",
        ("openai.APIConnectionError" if sdks.OPENAI >= 3 else "httpx.ReadError",), "closed", accepted=(CUT, NAMED),
    ),
    Driver(
        "Anthropic Messages", "anthropic", "anthropic", "messages.create", anthropic,
        lambda text: dict(model="m", max_tokens=9, messages=said(text), tools=[{"name": "f", "input_schema": PARAMETERS}], stream=True),
        of_messages, "anthropic.RateLimitError", "anthropic.APIStatusError",
        (f"{sdks.http_of('anthropic').__name__}.ReadError",), accepted=(CUT, BROKEN),
    ),
    Driver(
        "Gemini generateContent", "gemini", "google.genai", "models.generate_content_stream", genai,
        lambda text: dict(model="m", contents=text, config={"tools": DECLARED}),
        of_contents, "google.genai.errors.ClientError", "google.genai.errors.ServerError",
        (f"{sdks.http_of('google-genai').__name__}.ReadError", "aiohttp.ClientPayloadError"), whole=True, unkept=("close",),
    ),
    Driver(
        "Gemini Interactions", "gemini", "google.genai", "interactions.create", genai,
        lambda text: dict(model="m", input=text, tools=[{"type": "function", **FUNCTION}], stream=True),
        of_interactions, f"{INTERACTIONS}.RateLimitError", None, (f"{INTERACTIONS}.APIConnectionError",),
        accepted=(CUT, BROKEN, ERROR, NAMED),
    ),
    Driver(
        "Ollama chat", "ollama", "ollama", "chat", ollama,
        lambda text: dict(model="m", messages=said(text), tools=FUNCTIONS, stream=True),
        of_ollama, "ollama.ResponseError", "ollama.ResponseError", ("httpx.ReadError",), whole=True,
    ),
    Driver(
        "Cohere Chat", "cohere", "cohere", "chat_stream", cohere,
        lambda text: dict(model="m", messages=said(text), tools=FUNCTIONS),
        of_cohere, "cohere.TooManyRequestsError", None, ("httpx.ReadError",), accepted=(CUT, BROKEN, ERROR, NAMED),
    ),
    Driver(
        "Mistral chat", "mistral", "mistralai.client", "chat.stream", mistral,
        lambda text: dict(model="m", messages=said(text), tools=FUNCTIONS),
        of_chat, "mistralai.client.errors.SDKError", "mistralai.client.errors.ResponseValidationError",
        ("httpx2.ReadError",), whole=True, awaited="_async",
    ),
    Driver(
        "Bedrock ConverseStream", "bedrock", "boto3", "converse_stream", bedrock,
        lambda text: dict(modelId="m", messages=[{"role": "user", "content": [{"text": text}]}], toolConfig=SPECIFIED),
        of_converse, "client.exceptions.ThrottlingException", "botocore.exceptions.EventStreamError",
        ("urllib3.exceptions.ProtocolError",), accepted=(CUT,), is_awaited=False,
    ),
    Driver(
        "DashScope text generation", "dashscope", "dashscope", "Generation.call", Functions,
        lambda text: dict(
            model="qwen-plus", messages=said(text), tools=FUNCTIONS, result_format="message", stream=True,
            incremental_output=True),
        of_generation, None, None, ("requests.exceptions.ChunkedEncodingError", "aiohttp.ClientPayloadError"),
        accepted=(CUT, BROKEN, ERROR, NAMED, REFUSED), tries=2,
        shown=lambda answer: answer.output,
    ),
    Driver(
        "Replicate predictions", "replicate", "replicate", "stream", Predictions,
        lambda text: dict(ref="meta/meta-llama-3-8b-instruct", input={"prompt": text}),
        of_predictions, "replicate.exceptions.ReplicateError", "RuntimeError", ("httpx.ReadError",), "closed",
        accepted=(CUT, BROKEN), unkept=("whitespace_tail", "upstream_cancel"), calls=False, stops=True, at=1, shown=str,
    ),
)  # fmt: skip
