"""The recordings of real servers behind a port: the model that is named says which one answers, whatever is asked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from lines import LINES

from fakellm.cassette import Files
from fakellm.clock import InstantClock
from fakellm.provider import Exchange, ProviderCall
from fakellm.server import Server

HERE = Path(__file__).parent
TAPES = HERE.parent.parent / "cassettes" / "servers"
PATH = "/v1/chat/completions"
LINE = ".line"
"""What a model's name ends with if the line of `lines.py` answers in place of the tape."""


@cache
def recorded() -> dict[str, tuple[Any, Any]]:
    """Return the request and the response of each recording of chat completions, by its name."""
    found = {path.stem: Files().load_cassette(path) for path in sorted(TAPES.glob("*.yaml"))}
    return {
        name: (requests[0], responses[0])
        for name, (requests, responses, *_) in found.items()
        if requests[0].path == PATH
    }


def offers_tools(name: str) -> bool:
    """Tell whether the recorded request offered tools."""
    return "tools" in json.loads(recorded()[name.removesuffix(LINE)][0].body)


def requests(server: Server, name: str) -> dict[str, int]:
    """Return how many requests of a kind came for a recording, told by what they say of tools and usage."""
    bodies = [json.loads(call.body) for call in server.providers[0].calls]
    bodies = [body for body in bodies if body["model"] == name]
    kinds = (
        ("results" if has_results(body["messages"]) else "first")
        + ("" if body.get("stream") else ", no stream")
        + (", usage" if (body.get("stream_options") or {}).get("include_usage") else "")
        for body in bodies
    )
    return dict(Counter(kinds))


class ByModel:
    """Plays a recording to whoever names it as the model; who has run tools is answered by the scenario."""

    def __init__(self, tapes: Any) -> None:
        self.tapes = tapes
        self.asked = {name: request for name, (request, _) in recorded().items()}

    def __call__(self, call: ProviderCall) -> Exchange | None:
        asked = json.loads(call.body or b"{}")
        name, ending, _ = str(asked.get("model")).partition(LINE)
        request = self.asked.get(name)
        if request is None or not asked.get("stream") or has_results(asked["messages"]):
            return None
        if ending:
            return LINES[name].handle(call.method, call.url, call.headers, call.body)
        sent, call.body = call.body, request.body
        try:
            return self.tapes(call)
        finally:
            call.body = sent


def has_results(messages: list[dict[str, Any]]) -> bool:
    """Tell whether a conversation has results of tools in it."""
    return any(message["role"] == "tool" for message in messages)


@contextmanager
def served() -> Iterator[Server]:
    """Yield a server that plays the recordings; its provider's `calls` are what it was asked."""
    with Server(scenario=HERE / "scenario.yaml", clock=InstantClock()) as server:
        (provider,) = server.providers
        provider.recorded = ByModel(provider.recorded)
        yield server
