"""What a test that failed shows of requests, whoever answered them."""

from __future__ import annotations

import httpx
from places import ROOT

from fakellm.cassette import Tape
from fakellm.http import playing


def test_a_tape_shows_what_was_asked_and_what_the_client_took():
    messages = [{"role": "user", "content": "Say hello in five languages."}]
    asked = {"model": "tiny-llama", "messages": messages, "stream": True, "max_tokens": 60}
    with playing(Tape(ROOT / "cassettes" / "chat.yaml", mode="none")) as tape:
        httpx.post("http://127.0.0.1:8123/v1/chat/completions", json=asked)

    first, *more = tape.report().splitlines()
    assert first.startswith("ProviderCall 1: POST http://127.0.0.1:8123/v1/chat/completions complete, 200, ")
    assert more[:2] == ["  model='tiny-llama' stream=True", "  user: 'Say hello in five languages.'"]
    assert more[2].startswith("  chunks: 'Hello' '!' ' ¡' 'Hol' ")
