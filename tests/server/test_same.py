"""In process and over a socket the same: each fault of each provider, byte for byte, chunk for chunk, and how it ends."""

from __future__ import annotations

import json
import math

import pytest
from faults import FAULTS
from raw_client import Client
from vectors import each, first_of

from fakellm import FakeProvider, stall
from fakellm.clock import InstantClock
from fakellm.provider.actions import Failure, Timeouts
from fakellm.server import Server

ASKED = [{"role": "user", "content": "?"}]
PARTS = {"contents": [{"role": "user", "parts": [{"text": "?"}]}]}
REQUESTS = {
    "openai chat": ("openai", "/v1/chat/completions", {"model": "m", "messages": ASKED, "stream": True}),
    "openai completions": ("openai", "/v1/completions", {"model": "m", "prompt": "?", "stream": True}),
    "openai responses": ("openai", "/v1/responses", {"model": "m", "input": "?", "stream": True}),
    "anthropic": ("anthropic", "/v1/messages", {"model": "m", "max_tokens": 9, "messages": ASKED, "stream": True}),
    "gemini": ("gemini", "/v1beta/models/m:streamGenerateContent?alt=sse", PARTS),
    "gemini interactions": ("gemini", "/v1beta/interactions", {"model": "m", "input": "?", "stream": True}),
    "ollama": ("ollama", "/api/chat", {"model": "m", "messages": ASKED, "stream": True}),
    "ollama generate": ("ollama", "/api/generate", {"model": "m", "prompt": "?", "stream": True}),
    "cohere": ("cohere", "/v2/chat", {"model": "m", "messages": ASKED, "stream": True}),
    "mistral": ("mistral", "/v1/chat/completions", {"model": "m", "messages": ASKED, "stream": True}),
    "mistral conversations": ("mistral", "/v1/conversations", {"model": "m", "inputs": "?", "stream": True}),
    "bedrock converse": (
        "bedrock",
        "/model/amazon.nova-lite-v1:0/converse-stream",
        {"messages": [{"role": "user", "content": [{"text": "?"}]}]},
    ),
    "dashscope": (
        "dashscope",
        "/api/v1/services/aigc/text-generation/generation",
        {"model": "m", "input": {"messages": ASKED}},
    ),
}
EVENTS = "text/event-stream"
OF_THE_CONNECTION = ("connection refused", "connect timeout")
"""What a connection that was accepted cannot do any more."""


def in_process(provider, path, body):
    """Return status, headers, pieces, and how it ends."""
    exchange = provider.handle("POST", f"http://h{path}", {"host": "h", "accept": EVENTS}, json.dumps(body).encode())
    actions = list(exchange.opening(Timeouts()))
    pieces: list[bytes] = []
    if not actions:
        for action in exchange.body(Timeouts()):
            if isinstance(action, (float, Failure)):
                actions.append(action)
                break
            pieces += [piece for piece in action if piece]
    end = next((one for one in actions if one == math.inf), actions[-1] if actions else "complete")
    ends = "stalled" if isinstance(end, float) and math.isinf(end) else end.kind if isinstance(end, Failure) else end
    headers = {name.lower(): value for name, value in exchange.headers if name.lower() != "connection"}
    return exchange.status if pieces or not actions or exchange.status else None, headers, pieces, ends


def over_a_socket(provider, path, body):
    """Return the same of a real answer, as its bytes say it."""
    data = json.dumps(body).encode()
    with Server([provider], clock=InstantClock(), alike=False) as server:
        client = Client(server)
        client.socket.settimeout(0.15 if any(isinstance(e, stall) for e in provider.said) else 10)
        client.send(
            f"POST /{provider.name}{path} HTTP/1.1\r\nhost: h\r\naccept: {EVENTS}\r\ncontent-length: {len(data)}\r\n\r\n".encode()
            + data
        )
        status, headers, pieces = None, {}, []
        try:
            status, headers = client.head()
            if headers.get("transfer-encoding") == "chunked":
                client.chunks(pieces)
            else:
                pieces.append(client.body(int(headers["content-length"])))
            ends = "complete"
        except TimeoutError:
            ends = "stalled"
        except ConnectionResetError:
            ends = "reset"
        except (ValueError, IndexError, EOFError):
            ends = "close" if headers else "no_response"
        finally:
            client.close()
    return status, {name.lower(): value for name, value in headers.items() if name != "connection"}, pieces, ends


@pytest.mark.parametrize("api", first_of(REQUESTS, 2))
@each("fault", [name for name in FAULTS if name not in OF_THE_CONNECTION])
def test_what_is_sent_is_what_is_played_in_process(api, fault):
    name, path, body = REQUESTS[api]
    made = []
    for _ in range(2):
        provider = FakeProvider(name).otherwise(FAULTS[fault])
        provider.said = FAULTS[fault]
        made.append(provider)

    here, there = in_process(made[0], path, body), over_a_socket(made[1], path, body)

    assert there == here
