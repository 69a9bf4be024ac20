"""What the drivers share: the question, the table of clients, and what a stream of chunks says.

A driver asks the client's own way and returns the chunks that it gives; a reader says what is in each. All ask the
same: a prompt, which names the case, and a tool. None tries again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SECONDS = 5
"""For which a client that takes a timeout waits for bytes."""
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "get_weather", "description": "The weather in a city", "parameters": SCHEMA}
TOOLS = [{"type": "function", "function": FUNCTION}]
USAGE = {"include_usage": True}
Facts = Iterator[tuple[Any, ...]]
"""What a chunk says: ("text", text), ("call", which, name, arguments), ("finish", reason), ("usage", read, written).

A client that has no exceptions for errors says ("error", message)."""


@dataclass(frozen=True)
class Client:
    """A client: what its package is called, the API that it speaks, how it asks, and what its chunks say."""

    name: str
    package: str
    api: str
    ask: Callable[[str, str], Iterable[Any]]
    read: Callable[[Any], Facts]


CLIENTS: dict[str, Client] = {}


def client(name: str, api: str, read: Callable[[Any], Facts], *, package: str = "") -> Callable[[Any], Any]:
    """Put a driver, a function of a URL and a prompt that returns chunks, into the table."""

    def known(ask: Callable[[str, str], Iterable[Any]]) -> Callable[[str, str], Iterable[Any]]:
        CLIENTS[name] = Client(name, package or name.partition(" ")[0], api, ask, read)
        return ask

    return known


def said(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


def asked(prompt: str) -> dict[str, Any]:
    """Return what a request for a stream of chat completions has."""
    return {"model": "m", "messages": said(prompt), "tools": TOOLS, "stream": True}


def awaited(
    asks: Callable[[], Awaitable[AsyncIterator[Any]]], *, closing: Callable[[], Awaitable[Any]] | None = None
) -> Iterator[Any]:
    """Yield what an asynchronous stream gives, in a loop of its own."""
    loop = asyncio.new_event_loop()
    try:
        stream = loop.run_until_complete(asks())  # type: ignore[arg-type]
        steps = aiter(stream)
        while True:
            try:
                chunk = loop.run_until_complete(anext(steps))  # type: ignore[arg-type]
            except StopAsyncIteration:
                break
            yield chunk
    finally:
        if closing is not None:
            loop.run_until_complete(closing())  # type: ignore[arg-type]
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def get(value: Any, name: str) -> Any:
    """Return a field of an object or of a mapping, or None."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def of_chat(chunk: Any) -> Facts:
    """Read a chunk of chat completions, as most clients have it."""
    for choice in get(chunk, "choices") or ():
        delta = get(choice, "delta")
        yield "text", get(delta, "content")
        for call in get(delta, "tool_calls") or ():
            function = get(call, "function")
            which = get(call, "index")
            yield "call", which or 0, get(function, "name"), get(function, "arguments")
        yield "finish", get(choice, "finish_reason")
    if usage := get(chunk, "usage"):
        yield "usage", get(usage, "prompt_tokens"), get(usage, "completion_tokens")


def arguments_of(call: Any) -> str:
    """Return arguments that a client gives as an object."""
    return json.dumps(call, ensure_ascii=False)
