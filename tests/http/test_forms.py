"""A form of the wire reaches every client that a fake or a tape answers."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import httpx
import httpx2
import pytest
import requests

from fakellm import FakeProvider
from fakellm.cassette import Tape, interaction_of, write
from fakellm.http import intercept, playing
from fakellm.script import Script
from fakellm.wire import SSEDecoder, WireForm

URL = "https://api.openai.com/v1/chat/completions"
ASKED = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}


async def by_aiohttp():
    async with aiohttp.ClientSession() as session, session.post(URL, json=ASKED) as response:
        return await response.read()


CLIENTS = {
    "httpx": lambda: httpx.post(URL, json=ASKED).content,
    "httpx2": lambda: httpx2.post(URL, json=ASKED).content,
    "requests": lambda: requests.post(URL, json=ASKED, timeout=9).content,
    "aiohttp": lambda: asyncio.run(by_aiohttp()),
}


def text_of(body):
    chunks = [json.loads(event.data) for event in SSEDecoder().feed(body) if event.data != "[DONE]"]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_fake_speaks_it_to_every_client(client):
    with intercept(FakeProvider("openai").otherwise("Hel", "lo").speak("all")):
        body = CLIENTS[client]()
    assert body.startswith(b"\xef\xbb\xbfevent:message\r\nid:0\r\nretry:3000\r\ndata:{\r\n")
    assert b"\r\n\r\n: keep-alive\r\n\r\n" in body
    assert text_of(body) == "Hello"


def ask(client):
    with client.stream("POST", URL, json=ASKED) as response:
        return response.headers, [*response.iter_raw()], response


@pytest.mark.parametrize("coding", ["", "gzip"])
def test_a_tape_is_played_in_it_though_it_was_recorded_otherwise(tmp_path, coding):
    path = tmp_path / "a.yaml"
    recorded = interaction_of(Script("Hel", "lo"), URL, ASKED)
    if coding:
        recorded[1]["wire"] = {"headers": {"content-encoding": [coding]}}
    write(path, recorded)

    def played(**options):
        with playing(Tape(path, mode="none", **options)):
            return ask(httpx2.Client())

    headers, as_it_was, _ = played()
    assert headers.get("content-encoding", "") == coding
    headers, pieces, _ = played(form=WireForm(line_ends="crlf", bom=True, pieces=5))
    assert "content-encoding" not in headers
    assert {len(piece) for piece in pieces[:-1]} == {5}
    body = b"".join(pieces)
    assert body.startswith(b"\xef\xbb\xbfdata: ")
    assert body.count(b"\r\n\r\n") == len(as_it_was)
    assert text_of(body) == "Hello"
    assert played(form="gzip")[0]["content-encoding"] == "gzip"


def test_a_tape_checks_its_form(tmp_path):
    with pytest.raises(ValueError, match="no form 'crfl'; did you mean crlf"):
        Tape(tmp_path / "a.yaml", form="crfl")
