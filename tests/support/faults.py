"""Every way in which an answer breaks, as a fake provider in process and as one behind a socket."""

from __future__ import annotations

import contextlib

import loopback

from fakellm import (
    FakeProvider,
    Finish,
    Script,
    disconnect,
    http_error,
    provider_error,
    stall,
)
from fakellm.script.events import Raw
from fakellm.server import Server

TEXT = ("Hel", "lo ", "you")


PATIENCE = 0.05  # seconds that a real client waits in the few tests where it has to


def patience(script):
    """Return how many seconds a client waits to be connected, and to read: short for what a script never lets come.

    The other wait is long, since a busy machine may be slow with what does come.
    """
    stalls = [event.where for event in script if isinstance(event, stall)]
    connect = PATIENCE if "connect" in stalls else 5
    return connect, PATIENCE if stalls and connect == 5 else 5


def legal(*parts):
    return Script(*parts)


def illegal(*parts):
    return Script(*parts, allow_illegal=True)


FAULTS = {
    "connection refused": legal(disconnect("refused")),
    "connect timeout": legal(stall("connect")),
    "closed without a response": legal(disconnect("no_response")),
    "no headers": legal(stall("headers")),
    **{
        f"HTTP {status}": legal(http_error(status))
        for status in (400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 503, 529)
    },
    "HTTP 429 with retry-after": legal(http_error(429, retry_after=7)),
    "HTTP 500 without JSON": legal(http_error(500, body="<html>oops</html>")),
    "headers, then nothing": legal(stall()),
    "reset before a chunk": legal(disconnect()),
    "reset after chunks": legal(*TEXT, disconnect()),
    "closed without the last HTTP chunk": legal(*TEXT, disconnect("close")),
    "closed before a chunk": legal(disconnect("close")),
    "stall after chunks": legal(*TEXT, stall()),
    "clean end without terminal marker": legal(*TEXT, disconnect("end")),
    "clean end before a chunk": legal(disconnect("end")),
    "EOF inside an event": legal(*TEXT, disconnect("cut")),
    "in-band error": legal(*TEXT, provider_error("overloaded", "server_error", "503")),
    "in-band error, named": legal(*TEXT, provider_error("overloaded", named=True)),
    "in-band error first": legal(provider_error("overloaded")),
    "malformed JSON": legal(*TEXT, Raw('data: {"id": \n\n'), "more"),
    "duplicate finish": illegal(*TEXT, Finish(), Finish()),
    "missing finish": legal(*TEXT, Raw("data: [DONE]\n\n"), disconnect("end")),
    "late finish": illegal(*TEXT, Finish(), "late", Finish("length")),
    "an event after the end": legal(*TEXT, Finish(), Raw("data: [DONE]\n\n"), Raw('data: {"choices": []}\n\n')),
    "a huge event": legal("x" * 3_000_000, "y"),
    "comments and control blocks": legal(Raw(": ping\n\n"), *TEXT, Raw(": ping\n\n")),
}


def provider_of(script, content_type=None):
    headers = {"content-type": content_type} if content_type else None
    return FakeProvider("openai", hosts=["127.0.0.1"]).reply(script, headers=headers)


@contextlib.contextmanager
def served(provider, script):
    """Yield the URL of a real socket that does what the script says."""
    first = script[0]
    if first == disconnect("refused"):
        with loopback.refusing() as url:
            yield url
    elif first == stall("connect"):
        with loopback.unanswered() as url:
            yield url
    else:
        with Server([provider], clock=provider.clock, alike=False) as server:
            yield server.url
