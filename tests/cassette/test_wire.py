"""The facts of the wire that a readable body hides: a tape keeps them, and what plays has them."""

from __future__ import annotations

import gzip
import importlib
import zlib

import httpx
import loopback
import pytest
import sdks
import yaml
from taping import CHUNKED, compressed, flavours, libraries, stored, tape

from fakellm import FakeProvider
from fakellm.cassette.dialects import read
from fakellm.cassette.format import YAML
from fakellm.http.interception import intercept, playing

URL = "https://api.openai.com/v1/chat/completions"
ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
VALUES = {"utf-8": "Südwest".encode(), "latin-1": "Südwest".encode("latin-1"), "other": "東京".encode(), "text": "\xad"}
CLIENTS = ("httpx", "httpx2", "aiohttp", "async httpx", "async httpx2", "requests")
clients = pytest.mark.parametrize("client", CLIENTS)


def post(client, url):
    """Return the headers, as the library reads them, and the body of the answer to a request."""
    library = client.removeprefix("async ")
    if library == "requests":
        answer = importlib.import_module("requests").post(url, json=ASKED, timeout=5)
        return answer.headers, answer.content

    async def main():
        module = importlib.import_module(library)
        if library == "aiohttp":
            async with module.ClientSession() as session, session.post(url, json=ASKED) as answer:
                return answer.headers, await answer.read()
        async with module.AsyncClient() as asynchronous:
            answer = await asynchronous.post(url, json=ASKED)
            return answer.headers, answer.content

    if client == library and library != "aiohttp":
        answer = importlib.import_module(library).post(url, json=ASKED)
        return answer.headers, answer.content
    return sdks.run(main())


# -- headers beyond ASCII -----------------------------------------------------------------------------


@clients
@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_a_header_beyond_ascii_plays_as_the_client_read_it(tmp_path, client, suffix):
    sent = [("content-length", "2"), *((f"x-{name}", value) for name, value in VALUES.items())]
    with loopback.Pieces([b"{}"], headers=sent) as server, playing(tape(tmp_path / f"tape.{suffix}")):
        real, _ = post(client, url := f"{server.url}/")
    with playing(tape(tmp_path / f"tape.{suffix}", mode="none")):
        played, _ = post(client, url)
    assert [played[f"x-{name}"] for name in VALUES] == [real[f"x-{name}"] for name in VALUES]


@libraries
def test_it_plays_with_its_bytes_in_a_library_that_did_not_record_it(tmp_path, library):
    sent = [("content-length", "2"), ("x-region", VALUES["latin-1"])]
    for recording in ("aiohttp", "requests", "httpx"):
        path = tmp_path / f"{recording}.yaml"
        with loopback.Pieces([b"{}"], headers=sent) as server, playing(tape(path)):
            post(recording, url := f"{server.url}/")
        with playing(tape(path, mode="none")):
            headers, _ = post(library, url)
        assert dict(headers.raw)[b"x-region"] == VALUES["latin-1"]


@pytest.mark.parametrize("client", CLIENTS[:-1])
@pytest.mark.parametrize("value", ["Südwest", "東京", VALUES["latin-1"].decode("utf-8", "surrogateescape")])
def test_a_header_beyond_ascii_is_scripted(client, value):
    with intercept(FakeProvider("openai").reply("ok", headers={"x-region": value})):
        headers, _ = post(client, URL)
    assert headers["x-region"] in (value, "Südwest")  # httpx reads what is not UTF-8 as ISO 8859-1


# -- content-encoding ---------------------------------------------------------------------------------


def twice(headers, body):
    """Decode a body as an app does that does not know that its client has done it."""
    return gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body


@pytest.mark.exhaustive
@clients
def test_an_app_that_decodes_twice_fails_on_the_tape_as_on_the_server(tmp_path, client):
    path, packed = tmp_path / "tape.yaml", gzip.compress(b'{"a": 1}', mtime=0)
    sent = [("content-encoding", "gzip"), ("content-length", str(len(packed)))]
    with loopback.Pieces([packed], headers=sent) as server, playing(tape(path)):
        real, body = post(client, url := f"{server.url}/")
        with pytest.raises(gzip.BadGzipFile):
            twice(real, body)
    for again in CLIENTS:
        with playing(tape(path, mode="none")):
            played, body = post(again, url)
        assert {k.lower(): v for k, v in played.items()} == {k.lower(): v for k, v in real.items()}
        with pytest.raises(gzip.BadGzipFile):
            twice(played, body)
    assert b'{"a": 1}' in path.read_bytes()


@pytest.mark.exhaustive
@libraries
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "br"])
@flavours
def test_a_compressed_stream_plays_compressed_in_the_same_chunks(tmp_path, library, encoding, asynchronous):
    module = importlib.import_module(library)
    if encoding not in module.Client().headers["accept-encoding"]:
        pytest.skip(f"{library} does not decode {encoding} here")
    texts = [b"data: one\n\n", b"data: two\n\n", b"data: three\n\n"]

    def fetch(url, how):
        async def main():
            async with module.AsyncClient() as client, client.stream("GET", url) as response:
                return response.headers["content-encoding"], [piece async for piece in getattr(response, f"a{how}")()]

        if asynchronous:
            return sdks.run(main())
        with module.Client() as client, client.stream("GET", url) as response:
            return response.headers["content-encoding"], list(getattr(response, how)())

    sent = [*CHUNKED, ("content-encoding", encoding)]
    with loopback.Pieces(compressed(encoding, texts), headers=sent) as server, playing(tape(tmp_path / "tape.yaml")):
        real = fetch(url := server.url, "iter_bytes")
    assert stored(tmp_path / "tape.yaml")[0]["response"]["wire"]["headers"] == {"content-encoding": [encoding]}
    with playing(tape(tmp_path / "tape.yaml", mode="none")):
        assert fetch(url, "iter_bytes") == real
    with playing(tape(tmp_path / "tape.yaml", mode="none")):
        coding, raw = fetch(url, "iter_raw")
    with playing(tape(tmp_path / "tape.yaml", mode="none").rechunk(1)):
        assert [len(chunk) for chunk in fetch(url, "iter_bytes")[1]] == [1] * len(b"".join(texts))
    assert (coding, b"".join(texts) in b"".join(raw)) == (encoding, False)
    if encoding == "gzip":
        assert gzip.decompress(b"".join(raw)) == b"".join(texts)


def test_a_client_that_does_not_accept_the_coding_by_now_gets_the_body_plain(tmp_path):
    path = tmp_path / "tape.yaml"
    headers = [("content-encoding", "gzip")]
    with loopback.Pieces([gzip.compress(b"{}")], headers=headers) as server, playing(tape(path)):
        httpx.get(url := f"{server.url}/")
    with playing(tape(path, mode="none")):
        answer = httpx.get(url, headers={"accept-encoding": "identity"})
    assert (answer.content, "content-encoding" in answer.headers) == (b"{}", False)


def test_a_tape_of_vcrpy_plays_its_coding_too(tmp_path):
    path = tmp_path / "tape.yaml"
    request = {"method": "GET", "uri": "http://x.test/", "body": None, "headers": {}}
    packed = gzip.compress(zlib.compress(b"{}"))
    headers = {"Content-Encoding": ["deflate, gzip"], "Content-Length": [str(len(packed))]}
    response = {"status": {"code": 200, "message": "OK"}, "headers": headers, "body": {"string": packed}}
    path.write_text(yaml.safe_dump({"version": 1, "interactions": [{"request": request, "response": response}]}))
    with playing(tape(path, mode="none")):
        answer = httpx.get("http://x.test/")
    assert (answer.content, answer.headers["content-encoding"]) == (b"{}", "deflate, gzip")
    assert answer.headers["content-length"] == str(len(packed))


@pytest.mark.parametrize(
    ("method", "body", "coding"),
    [("HEAD", b"", "gzip"), ("GET", b"", "gzip"), ("GET", b"{}", "of-their-own"), ("GET", b"\xff{}", "of-their-own")],
)
def test_a_coding_that_nobody_decodes_is_played_as_it_was_sent(tmp_path, method, body, coding):
    path = tmp_path / "tape.yaml"
    headers = [("content-encoding", coding), ("content-length", "28" if method == "HEAD" else str(len(body)))]
    answers = []
    with loopback.Pieces([body], headers=headers) as server:
        for mode in ("once", "none"):
            with playing(tape(path, mode=mode)):
                answer = httpx.request(method, server.url)
                answers.append((answer.content, sorted(answer.headers.items())))
    assert answers[0] == answers[1] == (body, [("connection", "close"), *headers])


# -- version and phrase -------------------------------------------------------------------------------


@pytest.mark.exhaustive
@libraries
@flavours
@pytest.mark.parametrize("version", [b"HTTP/2", b"HTTP/1.1", b"HTTP/1.0"])
def test_the_version_of_http_and_the_phrase_beside_the_status_are_kept(
    tmp_path, library, asynchronous, version, monkeypatch
):
    module = importlib.import_module(library)
    extensions = {"http_version": version, **({} if version == b"HTTP/2" else {"reason_phrase": b"Fine"})}

    def handle_request(_, request):
        return module.Response(200, content=b"{}", extensions=dict(extensions), request=request)

    async def handle_async_request(transport, request):
        return handle_request(transport, request)

    def ask():
        async def main():
            async with module.AsyncClient() as client:
                return await client.get("http://x.test/")

        answer = sdks.run(main()) if asynchronous else module.get("http://x.test/")
        return answer.http_version, answer.reason_phrase

    monkeypatch.setattr(module.HTTPTransport, "handle_request", handle_request)
    monkeypatch.setattr(module.AsyncHTTPTransport, "handle_async_request", handle_async_request)
    with playing(tape(tmp_path / "tape.yaml")):
        real = ask()
    with playing(tape(tmp_path / "tape.yaml", mode="none")):
        assert ask() == real == (version.decode(), "OK" if version == b"HTTP/2" else "Fine")
    assert ("wire" in stored(tmp_path / "tape.yaml")[0]["response"]) == (version != b"HTTP/1.1")


def test_what_was_on_the_wire_comes_back_from_the_file():
    wire = {"http_version": "HTTP/2", "headers": {"content-encoding": ["gzip"], "content-length": ["9"]}}
    response = {"status": {"code": 200, "message": None}, "headers": {}, "body": {"string": b"x"}, "wire": wire}
    request = {"method": "GET", "uri": "http://x.test/", "body": None, "headers": {}}
    text = YAML.serialize({"interactions": [{"request": request, "response": response}]})
    assert read(text, "t.yaml")[1] == [response]


def test_the_old_form_of_the_httpx_stub_names_its_version():
    text = """
interactions:
- request: {body: null, headers: {}, method: GET, uri: https://x.test/}
  response: {content: 'hello', headers: {}, http_version: HTTP/2, status_code: 201}
version: 1
"""
    assert read(text, "t.yaml")[1][0]["wire"] == {"http_version": "HTTP/2"}
