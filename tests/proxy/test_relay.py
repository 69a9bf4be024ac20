"""What a proxy hands on, and what it records of it: chunks, endings, connections."""

from __future__ import annotations

import gzip
import http.client
import re
import socket
import ssl

import openai
import pytest
from loopback import Pieces, refusing, request_of
from taping import fetch, flavours, stored, tape
from upstreams import HEAD, Upstream, asked, chunked, proxied, settled, until
from vectors import each

from fakellm.http import playing
from fakellm.proxy.upstreams import upstreams
from fakellm.wire.providers import provider_names

TEXTS = [b"data: one\n\n", "data: z\u00e9ro \U0001f600\n\n".encode(), b"data: [DONE]\n\n"]
CHUNKED = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]
LAST = b"0\r\n\r\n"


def url_of(proxy):
    return f"{proxy.url}/openai/v1/chat/completions"


def stream_of(path):
    """Return the chunks of the one answer on a tape, how it ended, and by which error."""
    (interaction,) = stored(path)
    response = interaction["response"]
    body = response["body"]["string"]
    body = body.encode() if isinstance(body, str) else body
    chunks = []
    for size in map(int, str(response["stream"]["sizes"]).split()):
        chunks.append(body[:size])
        body = body[size:]
    return chunks, response["stream"]["end"], response["stream"]["error"]


# -- chunks ------------------------------------------------------------------------------------------------


@flavours
def test_each_chunk_comes_before_the_next_is_sent_and_the_tape_is_the_one_that_is_made_in_process(
    asynchronous, tmp_path
):
    with Pieces(TEXTS, headers=CHUNKED, gated=True) as server:
        server.release()
        with proxied(server.url, tmp_path / "out.yaml") as proxy:
            got = fetch("httpx", asynchronous, url_of(proxy), between=server.release)
        server.release()
        with playing(tape(tmp_path / "in.yaml")):
            fetch("httpx", asynchronous, f"{server.url}/v1/chat/completions", between=server.release)

    assert got == (TEXTS, None)
    inside, outside = (stored(tmp_path / name) for name in ("in.yaml", "out.yaml"))
    for (interaction,) in (inside, outside):
        assert len(str(interaction["response"]["stream"].pop("delays")).split()) == len(TEXTS)
    assert outside == inside


VECTORS = {
    "chunks": [HEAD, *chunked(*TEXTS), LAST],
    "all at once": [b"".join([HEAD, *chunked(*TEXTS), LAST])],
    "byte by byte": [bytes([byte]) for byte in b"".join([HEAD, *chunked(*TEXTS), LAST])],
    "news before": [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + HEAD, *chunked(*TEXTS), LAST
    ],
    "trailers behind": [HEAD, *chunked(*TEXTS), b"0\r\nx-more: 1\r\n", b"\r\n"],
    "extensions of chunks": [HEAD, *(piece.replace(b"\r\n", b";a=b\r\n", 1) for piece in chunked(*TEXTS)), LAST],
}  # fmt: skip


@each(pytest.mark.parametrize("name", VECTORS))
def test_chunks_of_http_are_those_of_the_tape_however_they_come(name, tmp_path):
    path = tmp_path / f"{name}.yaml"
    with Upstream(VECTORS[name]) as server, proxied(server.url, path) as proxy:
        data, error = asked(proxy)

    sent = b"".join(VECTORS[name]).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert (data, error) == (sent, None)  # what is sent is what comes, but for what the proxy was told alone
    assert stream_of(path) == (TEXTS, "complete", None)


WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
OTHERS = {
    "a length": ([WHOLE + b"content-length: 2\r\n\r\n{", b"}"], b"{}"),
    "no length": ([WHOLE + b"\r\n{", b"}", "close"], b"{}"),
    "an older HTTP": ([WHOLE.replace(b"1.1", b"1.0") + b"content-length: 2\r\n\r\n{}", "close"], b"{}"),
    "no body": ([b"HTTP/1.1 204 No Content\r\n\r\n"], b""),
    "compressed": (
        [WHOLE + b"content-encoding: gzip\r\ncontent-length: 22\r\n\r\n" + gzip.compress(b"{}", mtime=0)], None
    ),
}  # fmt: skip


@each(pytest.mark.parametrize("name", OTHERS))
def test_answers_of_other_forms_are_recorded_whole(name, tmp_path):
    steps, body = OTHERS[name]
    path = tmp_path / f"{name}.yaml"
    with Upstream(steps) as server, proxied(server.url, path) as proxy:
        data, error = asked(proxy)

    assert (data, error) == (b"".join(step for step in steps if step != "close"), None)
    (interaction,) = stored(path)
    assert interaction["response"].get("stream", {"end": "complete"})["end"] == "complete"
    if body is not None:
        assert interaction["response"]["body"]["string"].encode() == body


def test_an_answer_to_head_has_no_body(tmp_path):
    answer = WHOLE + b"content-length: 99\r\n\r\n"
    with Upstream([answer]) as server, proxied(server.url, tmp_path / "t.yaml") as proxy:
        assert asked(proxy, method="HEAD", body=b"") == (answer, None)


# -- endings -----------------------------------------------------------------------------------------------


@flavours
@pytest.mark.parametrize("end, name", [("reset", "ReadError"), ("close", "RemoteProtocolError")])
def test_a_connection_that_drops_drops_for_the_client_and_on_the_tape(end, name, asynchronous, tmp_path):
    with Pieces(TEXTS[:2], headers=CHUNKED, end=end) as server:
        with proxied(server.url, tmp_path / "t.yaml") as proxy:
            chunks, error = fetch("httpx", asynchronous, url_of(proxy))

    assert (chunks, error.__name__) == (TEXTS[:2], name)
    assert stream_of(tmp_path / "t.yaml") == (TEXTS[:2], "dropped", name)


def test_half_a_chunk_goes_on_and_is_on_the_tape(tmp_path):
    with Upstream([HEAD, b"8\r\nhalf", "close"]) as server, proxied(server.url, tmp_path / "t.yaml") as proxy:
        assert asked(proxy) == (HEAD + b"8\r\nhalf", None)

    assert stream_of(tmp_path / "t.yaml") == ([b"half"], "dropped", "RemoteProtocolError")


@pytest.mark.parametrize("end, error", [("close", None), ("reset", "reset")])
def test_an_upstream_that_does_not_answer_breaks_the_connection_and_is_told(end, error, tmp_path):
    with Upstream([end]) as server, proxied(server.url, tmp_path / "t.yaml") as proxy:
        assert asked(proxy) == (b"", error)
        assert list(proxy.failures) == [f"openai at {server.url}/v1: it closed the connection without an answer"]

    assert not (tmp_path / "t.yaml").exists()


@flavours
def test_a_client_that_cancels_ends_the_upstream_and_the_tape_says_so(asynchronous, tmp_path):
    with Upstream([HEAD, *chunked(*TEXTS[:2]), "gone"]) as server:
        with proxied(server.url, tmp_path / "t.yaml") as proxy:
            fetch("httpx", asynchronous, url_of(proxy), take=1)
            assert server.left.wait(10)

    chunks, end, error = stream_of(tmp_path / "t.yaml")
    assert (chunks[0], end, error) == (TEXTS[0], "cancelled", None)


def test_a_client_that_leaves_before_the_answer_ends_the_upstream_too(tmp_path):
    with Upstream(["gone"]) as server, proxied(server.url, tmp_path / "t.yaml") as proxy:
        client = http.client.HTTPConnection(proxy.url.removeprefix("http://"))
        client.request("POST", "/openai/v1/chat/completions", b"{}")
        while not server.requests:
            pass
        client.close()
        assert server.left.wait(10)

    assert not (tmp_path / "t.yaml").exists()


def test_one_that_reads_no_further_than_done_has_all(tmp_path):
    with Upstream([HEAD, *chunked(*TEXTS), "gone"]) as server:
        with proxied(server.url, tmp_path / "t.yaml") as proxy:
            fetch("httpx", False, url_of(proxy), take=3)
            assert server.left.wait(10)

    assert stream_of(tmp_path / "t.yaml")[1] == "complete"


def test_an_answer_that_sends_the_client_elsewhere_is_told(tmp_path):
    answer = b"HTTP/1.1 301 Moved\r\nLocation: https://me:secret@there.example/v1\r\ncontent-length: 0\r\n\r\n"
    with Upstream([answer]) as server, proxied(server.url, tmp_path / "t.yaml") as proxy:
        assert asked(proxy) == (answer, None)
        (told,) = proxy.failures

    assert told.startswith(f"openai at {server.url}/v1: it redirects to https://")
    assert "secret" not in told


# -- connections -------------------------------------------------------------------------------------------


def twice(proxy):
    """Ask twice over one connection; return the bodies."""
    client = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=10)
    bodies = []
    for _ in range(2):
        client.request("POST", "/openai/v1/chat/completions", b"{}")
        bodies.append(client.getresponse().read())
    client.close()
    return bodies


@each(pytest.mark.parametrize("name", [name for name in VECTORS if name != "news before"]))
def test_a_connection_is_kept_for_the_next_request(name, tmp_path):
    with Upstream(VECTORS[name]) as server, proxied(server.url, tmp_path / "t.yaml") as proxy:
        assert twice(proxy) == [b"".join(TEXTS)] * 2

    assert [number for number, _ in server.requests] == [1, 1]


@each(pytest.mark.parametrize("says", [b"connection: close\r\n", b""]))
def test_one_that_the_upstream_closes_is_not(says, tmp_path):
    """It closes behind its answer, whether it says so or not."""
    answer = [HEAD.replace(b"\r\n\r\n", b"\r\n" + says + b"\r\n"), *chunked(*TEXTS), LAST, "close"]
    with Upstream(answer) as server, proxied(server.url, tmp_path / "t.yaml") as proxy:
        bodies = [asked(proxy)[0].partition(b"\r\n\r\n")[2] for _ in range(2)]

    assert bodies == [b"".join([*chunked(*TEXTS), LAST])] * 2
    assert [number for number, _ in server.requests] == [1, 2]


def test_one_that_is_closed_as_it_is_asked_is_made_anew(tmp_path):
    answer = [HEAD, *chunked(*TEXTS), LAST]
    with Upstream(answer, ["close"], answer) as server, proxied(server.url, tmp_path / "t.yaml") as proxy:
        assert twice(proxy) == [b"".join(TEXTS)] * 2

    assert [number for number, _ in server.requests] == [1, 1, 2]


def test_what_is_between_two_ends_of_a_connection_does_not_go_on(tmp_path):
    head = (
        b"POST /openai/v1/chat/completions?a=b HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\nX-Own: \xe9\r\n"
        b"Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nExpect: 100-continue\r\nAuthorization: Bearer k\r\n\r\n"
    )
    with Upstream([WHOLE + b"content-length: 2\r\n\r\n{}"]) as server, proxied(server.url, tmp_path / "t") as proxy:
        host, port = proxy.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as client:
            client.sendall(head)
            assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.sendall(b"2\r\n{}\r\n0\r\n\r\n")
            assert client.recv(4096).endswith(b"{}")
        ((_, request),) = server.requests

    method, target, headers, body = request_of(request)
    assert (method, target, body) == ("POST", "/v1/chat/completions?a=b", b"{}")
    assert headers == {
        "host": f"127.0.0.1:{server.port}", "x-own": "\xe9", "authorization": "Bearer k", "content-length": "2",
        "connection": "keep-alive",
    }  # fmt: skip


def test_an_answer_that_nobody_reads_is_not_read_of_the_upstream(tmp_path):
    """What waits is in the buffers of the system, not here."""
    sent = [HEAD, *chunked(*[b"x" * 65536] * 240), LAST]
    with Upstream(sent) as server, proxied(server.url, tmp_path / "t.yaml", saves=False) as proxy:
        host, port = proxy.url.removeprefix("http://").split(":")
        with socket.socket() as client:
            client.settimeout(10)
            client.connect((host, int(port)))
            client.sendall(b"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
            (request,) = until(lambda: proxy.session._asked)
            recording = until(lambda: request.recording)
            came = settled(lambda: len(recording.sizes))
            data = 0
            while data < sum(map(len, sent)):
                data += len(client.recv(1 << 20))

    assert came < 220
    assert (len(recording.sizes), recording.end) == (240, "complete")


# -- upstreams that are not there --------------------------------------------------------------------------


def test_an_upstream_that_cannot_be_reached_is_an_error_in_the_providers_form(tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")  # of the client
    with refusing() as url, proxied(url, tmp_path / "t.yaml") as proxy:
        client = openai.OpenAI(base_url=proxy.base_url("openai"), api_key="k")
        with pytest.raises(openai.InternalServerError) as error:
            client.models.list()
        assert dict(proxy.failures) == {f"openai at {url}/v1: it could not be reached: Connection refused": 1}
        client.close()

    assert error.value.status_code == 502
    assert error.value.code == "upstream_unreachable"
    assert f"could not reach {url}/v1: Connection refused" in error.value.message
    assert "names a proxy, which fakellm does not use" in error.value.message
    assert not (tmp_path / "t.yaml").exists()


def test_tls_is_checked_and_breaks_as_other_connections_do(tmp_path, monkeypatch):
    trustme = pytest.importorskip("trustme")
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    sent = [HEAD, *chunked(*TEXTS), LAST]
    drops = [[HEAD, *chunked(*TEXTS[:1]), end] for end in ("close", "reset")]
    with Upstream(sent, *drops, context=context) as server:
        with proxied(server.url, tmp_path / "t.yaml") as proxy:
            data, _ = asked(proxy)
            assert data.startswith(b"HTTP/1.1 502 ")
            assert b"its certificate is not trusted: unable to get local issuer certificate" in data
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        with proxied(server.url, tmp_path / "t.yaml") as proxy:
            assert asked(proxy) == (b"".join(sent), None)
        for end, name in ((None, "RemoteProtocolError"), ("reset", "ReadError")):
            with proxied(server.url, tmp_path / f"{name}.yaml") as proxy:
                assert asked(proxy) == (b"".join([HEAD, *chunked(*TEXTS[:1])]), end)
            assert stream_of(tmp_path / f"{name}.yaml") == (TEXTS[:1], "dropped", name)

    assert stream_of(tmp_path / "t.yaml") == (TEXTS, "complete", None)
    assert stored(tmp_path / "t.yaml")[0]["request"]["uri"] == f"{server.url}/v1/chat/completions"


def test_what_no_provider_knows_is_refused(tmp_path):
    with refusing() as url, proxied(url, tmp_path / "t.yaml") as proxy:
        host, port = proxy.url.removeprefix("http://").split(":")
        client = http.client.HTTPConnection(host, int(port), timeout=10)
        client.request("GET", "/_fakellm/")
        assert client.getresponse().status == 404
        client.close()
        assert dict(proxy.failures) == {"no provider knows GET /_fakellm/": 1}


# -- where upstreams are -----------------------------------------------------------------------------------


@each(
    pytest.mark.parametrize(
        "name, given, asked, url",
        [
            ("openai", "http://h:8123/v1", "/v1/chat/completions", "http://h:8123/v1/chat/completions"),
            ("openai", "https://h/openai/v1/", "/v1/models?a=b", "https://h/openai/v1/models?a=b"),
            ("openai", "https://h", "/v1/models", "https://h/models"),
            ("openai", "https://h/v1", "/other", "https://h/other"),
            ("openai", "https://h/v1", "/v1", "https://h/v1"),
            ("openai", "https://h/v1", "/v1beta/x", "https://h/v1beta/x"),
            ("openai", None, "/v1/models", "https://api.openai.com/v1/models"),
            ("anthropic", "https://[::1]:8/x", "/v1/messages", "https://[::1]:8/x/v1/messages"),
            ("anthropic", None, "/v1/messages", "https://api.anthropic.com/v1/messages"),
            ("gemini", None, "/v1beta/x", "https://generativelanguage.googleapis.com/v1beta/x"),
            ("openai", "https://b\u00fccher.example/v1", "/v1", "https://xn--bcher-kva.example/v1"),
            ("ollama", None, "/api/chat", "http://127.0.0.1:11434/api/chat"),
            ("bedrock", None, "/model/m/converse", "https://bedrock-runtime.eu-west-1.amazonaws.com/model/m/converse"),
        ],
    )
)
def test_a_request_has_the_rest_of_its_path_behind_the_url_of_its_provider(name, given, asked, url):
    found = upstreams({name: given} if given else {}, {"AWS_REGION": "eu-west-1"})[name]

    assert f"{found.place}{found.target_of(asked)}" == url


def test_each_provider_has_a_home():
    assert upstreams({}, {}).keys() == set(provider_names())


def test_the_environment_says_where_a_provider_is_unless_somebody_does():
    environ = {"OPENAI_BASE_URL": "https://gateway.example/v1", "OLLAMA_HOST": "box:1234"}
    found = upstreams({}, environ)

    assert str(found["openai"]) == "https://gateway.example/v1"
    assert str(found["ollama"]) == "http://box:1234"
    assert str(upstreams({"openai": "http://h/v1"}, environ)["openai"]) == "http://h/v1"


@each(
    pytest.mark.parametrize(
        "name, url, told",
        [
            ("nobody", "https://h", "there is no fake of the provider 'nobody'"),
            ("openai", "h:80", "is no base URL; write one such as https://api.openai.com/v1"),
            ("openai", "ftp://h", "is no base URL"),
            ("openai", "http://", "is no base URL"),
            ("openai", "http://h/v1?a=b", "is no base URL"),
            ("openai", "http://h:port", "is no URL"),
            ("openai", "http://[", "is no URL"),
            ("openai", "http://me:secret@h", "has a password in it"),
        ],
    )
)
def test_what_is_no_upstream_is_refused(name, url, told):
    with pytest.raises(ValueError, match=re.escape(told)) as error:
        upstreams({name: url}, {})
    assert "me:secret" not in str(error.value)
