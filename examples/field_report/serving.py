"""Chunks as a provider's response: what feeds the clients that take nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import Any

MOVED = {"openai": 3, "anthropic": 2}
"""Since which major version a client is made on httpx2."""


def _library(sdk: str = "openai") -> Any:
    """Return the HTTP library that the installed client is made on."""
    return import_module("httpx2" if int(version(sdk).split(".")[0]) >= MOVED[sdk] else "httpx")


def answering(chunks: Iterable[Any]) -> Callable[[Any], Any]:
    """Return a handler that answers each request with these chunks of chat completions."""
    body = b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"
    headers = {"content-type": "text/event-stream"}
    return lambda _: _library().Response(200, headers=headers, content=body)


def http_client(chunks: Iterable[Any], kind: str = "Client") -> Any:
    """Return an HTTP client of the library that openai uses, for which these chunks are the network."""
    http = _library()
    return getattr(http, kind)(transport=http.MockTransport(answering(chunks)))


_reads: ContextVar[Iterable[bytes]] = ContextVar("reads")


@cache
def reading(sdk: str) -> Any:
    """Return an HTTP client for an SDK, for which the reads of `arriving` are the body of an event stream."""
    http = _library(sdk)
    headers = {"content-type": "text/event-stream"}
    return http.Client(
        transport=http.MockTransport(lambda _: http.Response(200, headers=headers, content=iter(_reads.get())))
    )


@contextmanager
def arriving(reads: Iterable[bytes]) -> Iterator[None]:
    """Let these reads arrive, one client for all attempts of a check."""
    token = _reads.set(reads)
    try:
        yield
    finally:
        _reads.reset(token)


def openai_client(chunks: Iterable[Any]) -> Any:
    """Return an `OpenAI` client that is answered with these chunks."""
    import openai

    return openai.OpenAI(api_key="none", max_retries=0, http_client=http_client(chunks))


def async_openai_client(chunks: Iterable[Any]) -> Any:
    """Return an `AsyncOpenAI` client that is answered with these chunks."""
    import openai

    return openai.AsyncOpenAI(api_key="none", max_retries=0, http_client=http_client(chunks, "AsyncClient"))
