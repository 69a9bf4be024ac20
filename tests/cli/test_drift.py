"""`fakellm drift`: what is asked, what is told, what is recorded anew; upstreams are raw bytes on real sockets."""

from __future__ import annotations

import json
import socket
import ssl
from xml.etree import ElementTree as ET

import pytest
from taping import stored
from upstreams import HEAD, Upstream, chunked
from vcr.request import Request

from fakellm.cassette.scripted import write
from fakellm.cli.main import main
from fakellm.proxy import Asking

KEY = "sk-proj-" + "a1b2c3d4" * 6
CHUNK = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Hi"}}]}
END = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
LONG = [CHUNK, CHUNK, END]
OTHER = [{**CHUNK, "id": 5}, END]


def events(*chunks):
    return [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks] + [b"data: [DONE]\n\n"]


def answer(*chunks):
    """Return a stream as an upstream sends it."""
    return [HEAD, *chunked(*events(*chunks)), b"0\r\n\r\n"]


def recorded(uri, *chunks, end="complete", headers=(("authorization", "Bearer REDACTED"),), text="Hello"):
    """Return an interaction of a tape."""
    pieces = events(*chunks)
    asked = {"model": "m", "messages": [{"role": "user", "content": text}], "stream": True}
    stream = {"sizes": [*map(len, pieces)], "delays": [0.0] * len(pieces), "end": end, "error": None}
    response = {
        "status": {"code": 200, "message": "OK"},
        "headers": {"content-type": ["text/event-stream"]},
        "body": {"string": b"".join(pieces)},
        "stream": stream,
    }
    return Request("POST", uri, json.dumps(asked).encode(), dict(headers)), response


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    (tmp_path / "tapes").mkdir()


def ran(capsys, *arguments):
    code = main(["drift", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_what_did_not_drift_is_told_and_was_asked_with_the_key_of_the_environment(capsys):
    with Upstream(answer(CHUNK, END)) as upstream:
        headers = [("Authorization", "Bearer REDACTED"), ("X-Team", "REDACTED"), ("x-more", "1"), ("host", "elsewhere")]
        write("tapes/a.yaml", recorded(f"{upstream.url}/v1/chat/completions?a=b", *LONG, headers=headers))
        assert ran(capsys, "tapes") == (0, "nothing has drifted: 1 interaction asked on 1 tape\n", "")
        _, sent = upstream.requests[0]

    head, _, body = sent.lower().partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "post /v1/chat/completions?a=b http/1.1"
    assert f"host: 127.0.0.1:{upstream.port}" in lines
    assert f"authorization: bearer {KEY}" in lines
    assert "x-more: 1" in lines
    assert b"x-team" not in head
    assert b'"hello"' in body


def test_what_drifted_is_told_with_its_grade_its_place_and_why(capsys, tmp_path):
    with Upstream(answer(*OTHER)) as upstream:
        uri = f"{upstream.url}/v1/chat/completions"
        write("tapes/a.yaml", recorded(uri, *LONG), recorded(uri, *OTHER, text="Bye"))
        code, out, err = ran(capsys, "tapes", "--junit", "drift.xml")
        told = ran(capsys, "tapes", "--json")

    assert (code, err) == (1, "")
    assert out == (
        "breaking: tapes/a.yaml, interaction 0, chat.completion.chunk, id: string may be number\n"
        "1 of 2 interactions asked on 1 tape has drifted: 1 breaking\n"
    )
    drift = {
        "tape": "tapes/a.yaml",
        "interaction": 0,
        "request": f"POST {uri}",
        "grade": "breaking",
        "rule": "type",
        "reason": "string may be number",
        "event": "chat.completion.chunk",
        "field": "id",
    }
    said = json.loads(told[1])
    assert (told[0], said["drifts"], said["tapes"], said["interactions"]) == (1, [drift], 1, 2)
    suite = ET.parse(tmp_path / "drift.xml").getroot()[0]
    assert suite.attrib == {"name": "tapes/a.yaml", "tests": "2", "failures": "1", "errors": "0"}
    assert [[inner.tag for inner in case] for case in suite] == [["failure"], []]
    assert suite[0][0].get("type") == "breaking"


def test_update_records_anew_what_drifted_without_secrets_and_keeps_the_rest(capsys, tmp_path):
    echo = {**CHUNK, "choices": [{"index": 0, "delta": {"content": f"your key is {KEY}"}}], "id": 5}
    with Upstream(answer(echo, END), answer(*LONG), answer(echo, END)) as upstream:
        uri = "https://api.openai.com/v1/chat/completions"
        write("tapes/a.yaml", recorded(uri, *LONG), recorded(uri, *LONG, text="Bye"))
        before = stored(tmp_path / "tapes/a.yaml")
        given = ("--upstream", f"openai={upstream.url}/v1")
        code, out, err = ran(capsys, "tapes", *given, "--update")

    after = stored(tmp_path / "tapes/a.yaml")
    assert (code, err) == (0, "")
    assert out.endswith("tapes/a.yaml is recorded anew\n")
    assert after[1] == before[1]
    assert after[0]["request"] == before[0]["request"]
    assert KEY not in str(after)
    assert "your key is REDACTED" in after[0]["response"]["body"]["string"]
    assert len(after[0]["response"]["stream"]["sizes"].split()) == 3
    with Upstream(answer(*OTHER), answer(*LONG)) as upstream:
        assert ran(capsys, "tapes", "--upstream", f"openai={upstream.url}/v1")[0] == 0


TOO_MANY = b"HTTP/1.1 429 Too Many\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
ENDS = {
    "an error": ([[TOO_MANY], answer(*LONG)], "complete", "is answered in a way that is no answer to record"),
    "broken off": ([[HEAD, *chunked(*events(*LONG)[:1]), "close"], answer(*LONG)], "complete", "no answer to record"),
    "a fault on the tape": ([answer(*OTHER), answer(*LONG)], "dropped", "was recorded as it broke"),
    "not asked": ([answer(*OTHER), ["close"]], "complete", "interaction 1 could not be asked"),
}


@pytest.mark.parametrize("answers, end, why", ENDS.values(), ids=ENDS)
def test_a_tape_that_cannot_be_recorded_anew_as_a_whole_stays_as_it_was(answers, end, why, capsys, tmp_path):
    with Upstream(*answers) as upstream:
        uri = f"{upstream.url}/v1/chat/completions"
        write("tapes/a.yaml", recorded(uri, *LONG, end=end), recorded(uri, *LONG, text="Bye"))
        before = (tmp_path / "tapes/a.yaml").read_bytes()
        code, _, err = ran(capsys, "tapes", "--update")

    assert code == (2 if "could not" in why else 1)
    assert f"tapes/a.yaml stays as it was: interaction {1 if 'could not' in why else 0}" in err
    assert why in err
    assert (tmp_path / "tapes/a.yaml").read_bytes() == before


def test_who_gets_no_answer_is_told_and_the_rest_is_compared(capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with Upstream(answer(*OTHER)) as upstream:
        write("tapes/a.yaml", recorded(f"http://127.0.0.1:{port}/v1/chat/completions", *LONG))
        write("tapes/b.yaml", recorded(f"{upstream.url}/v1/chat/completions", *LONG))
        code, out, err = ran(capsys, "tapes", "--junit", "drift.xml")

    assert code == 2
    assert "breaking: tapes/b.yaml, interaction 0" in out
    assert f"tapes/a.yaml, interaction 0 was not asked: http://127.0.0.1:{port}: it could not be reached" in err
    assert 'errors="1"' in (tmp_path / "drift.xml").read_text()


PLACES = {
    "no key": ("https://api.openai.com/v1/chat/completions", "set OPENAI_API_KEY"),
    "a client's key": ("https://api.groq.com/openai/v1/chat/completions", "set GROQ_API_KEY"),
    "Azure's": ("https://x.openai.azure.com/openai/deployments/m/chat/completions", "set AZURE_OPENAI_API_KEY"),
    "whoever the tape names": ("https://groq.com.evil.example/v1/chat/completions", "which only the tape names"),
    "not encrypted": ("http://api.openai.com/v1/chat/completions", "which only the tape names"),
    "no HTTP": ("file:///v1/chat/completions", "is no request of HTTP"),
}


@pytest.mark.parametrize("uri, why", PLACES.values(), ids=PLACES)
def test_no_key_goes_where_it_does_not_belong(uri, why, capsys, monkeypatch):
    """Nothing is sent at all: a tape is a file, and who wrote it may want a key."""
    if "api.openai" not in uri or uri.startswith("http:"):
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
    else:
        monkeypatch.delenv("OPENAI_API_KEY")
    for name in ("GROQ_API_KEY", "AZURE_OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "create_connection", None)
    write("tapes/a.yaml", recorded(uri, *LONG))
    code, _, err = ran(capsys, "tapes")

    assert code == 2
    assert why in err


def test_what_is_no_request_to_a_model_is_not_done_again(capsys):
    with Upstream(answer(*LONG)) as upstream:
        orders = recorded(f"{upstream.url}/orders", *LONG)
        write("tapes/a.yaml", orders, recorded(f"{upstream.url}/v1/chat/completions", *LONG))
        code, out, err = ran(capsys, "tapes")
        told = json.loads(ran(capsys, "tapes", "--json")[1])

    assert (code, err) == (0, "")
    assert out.startswith("not asked: tapes/a.yaml, interaction 0: POST")
    assert out.endswith("nothing has drifted: 1 interaction asked on 1 tape\n")
    assert [one["interaction"] for one in told["left_out"]] == [0]
    assert len(upstream.requests) == 2


def test_a_url_that_cannot_be_asked_is_told():
    write("tapes/a.yaml", recorded("https://api.openai.com:99999/v1/chat/completions", *LONG))

    (found,) = Asking({}, {}).tape("tapes/a.yaml")
    assert "is no request of HTTP" in found.problem


def test_silence_and_certificates_are_told(capsys, monkeypatch, tmp_path):
    trustme = pytest.importorskip("trustme", reason="trustme is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with (
        Upstream([HEAD, *chunked(*events(*LONG)[:1]), "gone"], ["gone"]) as silent,
        Upstream([], context=context) as other,
    ):
        uri = "/v1/chat/completions"
        write("tapes/a.yaml", *(recorded(f"{url}{uri}", *LONG) for url in (silent.url, silent.url, other.url)))
        found = Asking({}, {}, patience=0.02).tape(tmp_path / "tapes/a.yaml")

    assert [drift.reason for drift in found[0].drifts] == ["complete became timeout"]
    assert found[1].problem == f"{silent.url}: no answer within 0.02 seconds"
    assert "its certificate is not trusted" in found[2].problem


def test_a_tape_that_cannot_be_written_is_told_after_what_was_found(capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with Upstream(answer(*OTHER)) as upstream:
        write("tapes/a.yaml", recorded(f"{upstream.url}/v1/chat/completions", *LONG))
        monkeypatch.setattr("fakellm.cassette.files.write_atomically", full)
        code, out, err = ran(capsys, "tapes", "--update", "--junit", "none/drift.xml")

    assert code == 2
    assert out.startswith("breaking: tapes/a.yaml, interaction 0")
    assert "tapes/a.yaml stays as it was: " in err
    assert "No space left on device" in err
    assert "the folder to save into is not there" in err


def test_what_was_signed_cannot_be_signed_again(capsys):
    uri = "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/converse-stream"
    signed = "AWS4-HMAC-SHA256 Credential=REDACTED, Signature=REDACTED"
    write("tapes/a.yaml", recorded(uri, *LONG, headers=[("authorization", signed)]))
    assert "cannot be signed again" in ran(capsys, "tapes")[2]


@pytest.mark.parametrize(
    "uri, name, path",
    [
        ("https://api.groq.com/openai/v1/chat/completions", "openai", "/base/chat/completions"),
        ("https://x.openai.azure.com/openai/deployments/m/chat/completions", "openai", "/base/chat/completions"),
        ("https://api.anthropic.com/v1/messages", "anthropic", "/base/v1/messages"),
        (
            "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent?key=REDACTED",
            "gemini",
            "/base/v1beta/models/m:generateContent?key=the-key",
        ),
        ("http://127.0.0.1:11434/api/chat", "ollama", "/base/api/chat"),
    ],
)
def test_an_upstream_is_asked_as_its_sdk_would_ask_there(uri, name, path, capsys, monkeypatch):
    for variable in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OLLAMA_API_KEY"):
        monkeypatch.setenv(variable, "the-key")
    with Upstream([TOO_MANY]) as upstream:
        write("tapes/a.yaml", recorded(uri, *LONG, headers=[("x-api-key", "REDACTED")]))
        code, out, _ = ran(capsys, "tapes", "--upstream", f"{name}={upstream.url}/base")

    assert code == 1
    assert "200 became 429: too many requests; ask later" in out
    head = upstream.requests[0][1].decode()
    assert head.split(" ")[1] == path
    assert "x-api-key: the-key" in head.lower()


def test_a_tape_that_is_read_only_is_told_before_anything_is_asked(capsys, tmp_path):
    with Upstream(answer(*OTHER)) as upstream:
        write("tapes/a.yaml", recorded(f"{upstream.url}/v1/chat/completions", *LONG))
        (tmp_path / "other.yaml").hardlink_to(tmp_path / "tapes/a.yaml")
        code, _, err = ran(capsys, "tapes", "--update")

    assert (code, upstream.requests) == (2, [])
    assert "tapes/a.yaml" in err


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["none"], "there is no tape and no folder none"),
        (["tapes", "--upstream", "openai"], "--upstream is a provider and its URL"),
        (["tapes", "--upstream", "acme=http://127.0.0.1"], "there is no fake of the provider 'acme'"),
        (["tapes", "--upstream", "openai=here"], "'here' is no base URL"),
        (["tapes"], "bad.yaml"),
    ],
)
def test_wrong_use_is_told(arguments, told, capsys, tmp_path):
    (tmp_path / "tapes" / "bad.yaml").write_text("interactions: 5\n")
    code, out, err = ran(capsys, *arguments)

    assert (code, out) == (2, "")
    assert told in err
