"""What fakellm itself plays, a fake or another tape, is recorded as a server is."""

from __future__ import annotations

import gzip
import importlib

import httpx
import loopback
import pytest
from taping import CHUNKED, CUTS, fetch, flavours, libraries, stored, tape

from fakellm import FakeProvider, disconnect
from fakellm.http.interception import intercept, playing

URL = "https://api.openai.com/v1/chat/completions"
ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}


def chat(library, asynchronous, take=None):
    return fetch(library, asynchronous, URL, body=ASKED, take=take)


@libraries
@flavours
@pytest.mark.parametrize(
    ("fault", "take", "end", "pieces"),
    [((), None, "complete", 5), ((), 2, "cancelled", 2), ((disconnect("reset"),), None, "dropped", 3)],
)
def test_a_fake_is_recorded_chunk_for_chunk_with_its_ending(tmp_path, library, asynchronous, fault, take, end, pieces):
    path = tmp_path / "tape.yaml"
    with intercept(FakeProvider("openai").reply("Hel", "lo", *fault)), playing(tape(path)) as recording:
        chunks, error = chat(library, asynchronous, take)
    assert recording.recorded == 1
    assert (len(chunks), stored(path)[0]["response"]["stream"]["end"]) == (pieces, end)
    with playing(tape(path, mode="none")):
        assert chat(library, asynchronous, take) == (chunks, error)


@pytest.mark.exhaustive
@libraries
@flavours
def test_what_another_tape_plays_is_recorded_chunk_for_chunk(tmp_path, library, asynchronous):
    with loopback.Pieces(CUTS, headers=CHUNKED) as server, playing(tape(tmp_path / "old.yaml")):
        fetch(library, asynchronous, url := server.url)
    with playing(tape(tmp_path / "old.yaml", mode="none")), playing(tape(tmp_path / "new.yaml")) as recording:
        assert fetch(library, asynchronous, url) == (CUTS, None)
    assert recording.recorded == 1
    with playing(tape(tmp_path / "new.yaml", mode="none")):
        assert fetch(library, asynchronous, url) == (CUTS, None)


@libraries
@flavours
def test_what_a_mock_answers_in_place_of_a_transport_is_recorded(tmp_path, monkeypatch, library, asynchronous):
    module, path = importlib.import_module(library), tmp_path / "tape.yaml"
    packed = {"content": gzip.compress(b"{}"), "headers": {"content-encoding": "gzip"}}

    def handle_request(_, request):
        return module.Response(200, **packed, request=request)

    async def handle_async_request(transport, request):
        return handle_request(transport, request)

    monkeypatch.setattr(module.HTTPTransport, "handle_request", handle_request)
    monkeypatch.setattr(module.AsyncHTTPTransport, "handle_async_request", handle_async_request)
    with playing(tape(path)):
        assert fetch(library, asynchronous, "http://x.test/") == ([b"{}"], None)
    assert "stream" not in stored(path)[0]["response"]
    with playing(tape(path, mode="none")):
        assert fetch(library, asynchronous, "http://x.test/") == ([b"{}"], None)


def test_a_stream_that_somebody_puts_around_the_fakes_own_is_read():
    class Counting(httpx.SyncByteStream):
        def __init__(self, stream):
            self.stream, self.count = stream, 0

        def __iter__(self):
            for piece in self.stream:
                self.count += 1
                yield piece

    class Wrapping(httpx.BaseTransport):
        inner = httpx.HTTPTransport()

        def handle_request(self, request):
            response = self.inner.handle_request(request)
            response.stream = self.stream = Counting(response.stream)
            return response

    with (
        intercept(FakeProvider("openai").reply("Hel", "lo")),
        httpx.Client(transport=Wrapping()) as client,
        client.stream("POST", URL, json=ASKED) as response,
    ):
        assert len(list(response.iter_bytes())) == client._transport.stream.count == 5
