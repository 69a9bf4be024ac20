"""Tapes of other tools: each is recognised, and its bodies are the bytes that the provider sent, decoded."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from pathlib import Path

import corpus
import pytest
import yaml
from vcr.request import Request
from vectors import each

from fakellm.cassette.dialects import read, read_tape
from fakellm.cassette.document import CassetteError
from fakellm.cassette.format import JSON, YAML

DIALECTS = {"vcrpy": "vcrpy", "vcrpy-httpx-old": "vcrpy", "go-vcr": "go-vcr", "ruby-vcr": "Ruby VCR"}
BODY = 'data: {"text": "h\u00e9llo"}\n\ndata: [DONE]\n\n'.encode()


def vcrpy(body, **headers):
    """Return a tape as plain vcrpy writes it."""
    response = {
        "status": {"code": 200, "message": "OK"},
        "headers": {k.replace("_", "-"): [v] for k, v in headers.items()},
    }
    request = {"method": "GET", "uri": "https://x.test/", "body": None, "headers": {}}
    data = {"interactions": [{"request": request, "response": {**response, "body": {"string": body}}}], "version": 1}
    return yaml.dump(data)


def only(text, name="t.yaml"):
    (request,), (response,) = read(text, name)
    return request, response


# -- the corpus ---------------------------------------------------------------------------------------


def tapes():
    return [pytest.param(row, id=row["file"]) for row in corpus.manifest() if row["dialect"] in DIALECTS]


def some_tapes():
    names = {path.name for path in corpus.sample()}
    return [row for row in tapes() if row.id in names]


def text_of(file):
    return (Path(corpus.CORPUS) / "streams" / file).read_bytes().decode()


@corpus.needs_corpus
@each("row", tapes())
def test_a_tape_of_the_corpus_is_read_and_gives_the_bytes_that_were_streamed(row):
    tape = read_tape(text_of(row["file"]), row["file"])

    assert tape.dialect == DIALECTS[row["dialect"]]
    for stream in row["streams"]:
        assert tape.responses[stream["idx"]]["status"]["code"] == stream["status"]
        if "empty body" not in row["notes"]:
            assert tape.responses[stream["idx"]]["body"]["string"] == corpus.body(row["file"], stream["idx"])
    assert all(isinstance(response["body"]["string"], bytes) for response in tape.responses)
    assert not [
        name for response in tape.responses for name in response["headers"] if name.lower() == "content-encoding"
    ]


@pytest.mark.exhaustive
@corpus.needs_corpus
@each("row", some_tapes())
@each(("serializer", "name"), [(YAML, "t.yaml"), (JSON, "t.json")], ids=["yaml", "json"])
def test_a_tape_of_the_corpus_comes_back_from_our_own_form(row, serializer, name):
    tape = read_tape(text_of(row["file"]), row["file"])
    pairs = [{"request": request._to_dict(), "response": response} for request, response in tape.pairs]
    text = serializer.serialize({"interactions": pairs})
    again = read_tape(text, name)

    assert again.responses == tape.responses
    assert [request._to_dict() for request in again.requests] == [request._to_dict() for request in tape.requests]


@pytest.mark.exhaustive
@corpus.needs_corpus
@each("row", tapes())
def test_a_tape_of_the_corpus_is_read_alike_as_json(row):
    document = corpus.cassette(row["file"])
    if b"\\xff" in repr(document).encode() or row["dialect"] == "ruby-vcr":
        pytest.skip("JSON holds no bytes")
    try:
        text = json.dumps(document, ensure_ascii=False)
    except TypeError:
        pytest.skip("JSON holds no bytes")
    ours, theirs = read_tape(text, "t.json"), read_tape(text_of(row["file"]), row["file"])

    assert ours.responses == theirs.responses


def test_the_corpus_is_of_four_dialects():
    if corpus.CORPUS:
        assert len(tapes()) == 130


# -- vcrpy's forms ------------------------------------------------------------------------------------


def test_the_old_form_of_the_httpx_stub_is_read():
    text = """
interactions:
- request: {body: '{"a":1}', headers: {accept: ['*/*']}, method: POST, uri: https://x.test/}
  response: {content: 'hello', headers: {Content-Encoding: [gzip], X: [y]}, http_version: HTTP/1.1, status_code: 201}
version: 1
"""
    request, response = only(text)

    assert (request.body, request.headers["Accept"]) == (b'{"a":1}', "*/*")
    assert response == {
        "status": {"code": 201, "message": None},
        "headers": {"X": ["y"]},
        "body": {"string": b"hello"},
        "wire": {"headers": {"Content-Encoding": ["gzip"]}},
    }


def test_a_parsed_body_is_json_again():
    text = """
interactions:
- request:
    headers: {content-type: [application/json]}
    method: POST
    parsed_body: {model: m, n: 1, t: 0.5, text: "h\u00e9", when: 2024-01-01, none: null}
    uri: https://x.test/
  response:
    headers: {content-type: [application/json], content-encoding: [br], content-length: ['3']}
    parsed_body: {b: [1, true], a: x}
    status: {code: 200, message: OK}
version: 1
"""
    request, response = only(text)

    assert request.body == '{"model":"m","n":1,"t":0.5,"text":"h\u00e9","when":"2024-01-01","none":null}'.encode()
    assert response["body"]["string"] == b'{"b":[1,true],"a":"x"}'
    assert response["headers"] == {"content-type": ["application/json"], "content-length": ["22"]}


def test_a_parsed_form_is_a_form_again():
    text = """
interactions:
- request:
    headers: {content-type: [application/x-www-form-urlencoded]}
    method: POST
    parsed_body: {grant: ['a b'], x: [1, 2]}
    uri: https://x.test/
  response: {headers: {}, body: {string: ''}, status: {code: 200, message: null}}
version: 1
"""
    assert only(text)[0].body == b"grant=a+b&x=1&x=2"


def test_header_names_that_were_objects_and_bodies_that_were_files_are_read_as_what_they_hold():
    text = """
interactions:
- request:
    body: !!python/object/new:_io.BytesIO
      state: !!python/tuple [!!binary aGVsbG8=, 0, null]
    headers:
      ? !!python/object/apply:multidict._multidict.istr [Accept]
      : [text/plain]
      X: [!!python/unicode 'y', z]
    method: POST
    uri: https://x.test/
  response: {headers: {}, body: {string: !!python/str 'a'}, status: {code: 200, message: OK}}
- request:
    body: !!python/object/apply:builtins.iter
      args: [[!!binary YWI=, !!binary Yw==]]
    headers: {cookie: [a=1, b=2], Z: !!binary /w==}
    method: POST
    uri: https://x.test/
  response: {headers: {}, body: !!binary /w==, status: {code: 200, message: OK}}
version: 1
""".replace("body: !!binary", "body: {string: !!binary").replace("/w==, status", "/w==}, status")
    (file, pieces), (first, second) = read(text, "t.yaml")

    assert (file.body, dict(file.headers)) == (b"hello", {"Accept": "text/plain", "X": "y, z"})
    assert (pieces.body, dict(pieces.headers)) == (b"abc", {"cookie": "a=1; b=2", "Z": "\udcff"})
    assert (first["body"]["string"], second["body"]["string"]) == (b"a", b"\xff")


def test_what_other_recorders_of_vcrpy_add_to_a_response_is_kept():
    text = vcrpy("x").replace("    status:", "    url: https://x.test/\n    status:")

    assert only(text)[1]["url"] == "https://x.test/"


def test_an_old_tape_of_vcrpy_names_the_command_that_migrates_it():
    with pytest.raises(CassetteError, match=r"to do: +python -m vcr\.migration t\.yaml"):
        read("- request: {method: GET}\n  response: {}\n", "t.yaml")


# -- compression --------------------------------------------------------------------------------------


def zstd(data):
    module = pytest.importorskip("zstandard")
    return module.ZstdCompressor().compress(data)


def brotli(data):
    return pytest.importorskip("brotli").compress(data)


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def plain(data):
    return data


CODINGS = {
    "gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress, "br": brotli, "zstd": zstd, "identity": plain,
    "deflate, gzip": lambda data: gzip.compress(zlib.compress(data)),
}  # fmt: skip


@pytest.mark.parametrize("coding", CODINGS)
def test_a_compressed_body_comes_out_decoded_and_the_headers_say_so(coding):
    packed = CODINGS[coding](BODY)
    _, response = only(vcrpy(packed, Content_Encoding=coding, Content_Length=str(len(packed)), X="y"))

    assert response["body"]["string"] == BODY
    assert response["headers"] == {"Content-Length": [str(len(BODY))], "X": ["y"]}


def test_deflate_without_its_wrapper_is_decoded():
    assert only(vcrpy(raw_deflate(BODY), content_encoding="deflate"))[1]["body"]["string"] == BODY


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate", "unheard-of"])
def test_a_header_that_does_not_tell_the_truth_is_dropped(coding):
    _, response = only(vcrpy(BODY, content_encoding=coding, content_length="7"))

    assert response["body"]["string"] == BODY
    assert response["headers"] == {"content-length": [str(len(BODY))]}


@pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_a_compressed_body_that_no_header_tells_of_is_decoded(pack):
    assert only(vcrpy(pack(BODY), content_type="text/event-stream"))[1]["body"]["string"] == BODY
    assert only(vcrpy(pack(BODY)))[1]["body"]["string"] == BODY


def test_a_file_that_is_compressed_itself_stays_so():
    for kind in ("application/gzip", "application/octet-stream", "application/x-tar"):
        assert only(vcrpy(gzip.compress(BODY), content_type=kind))[1]["body"]["string"] == gzip.compress(BODY)


def test_a_compressed_body_that_was_cut_off_is_decoded_up_to_there():
    packed = gzip.compress(BODY * 100)
    decoded = only(vcrpy(packed[:-20], content_encoding="gzip"))[1]["body"]["string"]

    assert (BODY * 100).startswith(decoded)
    assert decoded


def test_bytes_that_only_look_compressed_stay_as_they_are():
    body = b"\x1f\x8bnot at all\xff"

    assert only(vcrpy(body, content_encoding="gzip"))[1]["body"]["string"] == body
    assert only(vcrpy(b"", content_encoding="gzip"))[1]["body"]["string"] == b""


def test_a_body_that_cannot_be_decoded_names_the_library(monkeypatch):
    monkeypatch.setattr("fakellm.cassette.decoding._first", lambda *_: None)
    text = vcrpy(b"\xff\xfe packed", content_encoding="br")
    with pytest.raises(
        CassetteError, match=r"(?s)line \d+, interactions\.0\.response\.body: .*'br'.*pip install brotli"
    ):
        read(text, "t.yaml")


def test_a_stream_of_ours_is_never_decoded_since_its_sizes_are_those_of_the_stored_bytes():
    packed = gzip.compress(BODY)
    stream = {"sizes": [len(packed)], "delays": [0.0], "end": "complete", "error": None}
    response = {
        "status": {"code": 200, "message": "OK"},
        "headers": {"content-encoding": ["gzip"]},
        "body": {"string": packed},
        "stream": stream,
    }
    request = Request("GET", "https://x.test/", None, {})._to_dict()

    assert only(YAML.serialize({"interactions": [{"request": request, "response": response}]}))[1] == response


# -- go-vcr and Ruby's VCR ----------------------------------------------------------------------------

GO = """---
version: {version}
interactions:
- request:
    body: '{{"a":1}}'
    form: {{}}
    headers:
      User-Agent: [one, two]
    url: https://x.test/v1?q=1
    method: POST
  response:
    body: !!binary {body}
    headers:
      Content-Type: [text/event-stream]
    status: {status}
    code: 429
    duration: 1.5s
"""


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("status", "message"), [("429 Too Many Requests", "Too Many Requests"), ('""', None)])
def test_a_go_vcr_tape_is_read(version, status, message):
    text = GO.format(version=version, status=status, body=base64.b64encode(gzip.compress(BODY)).decode())
    request, response = only(text)

    assert (request.method, request.uri, request.body) == ("POST", "https://x.test/v1?q=1", b'{"a":1}')
    assert dict(request.headers) == {"User-Agent": "one, two"}
    assert response == {
        "status": {"code": 429, "message": message},
        "headers": {"Content-Type": ["text/event-stream"]},
        "body": {"string": BODY},
    }


RUBY = """---
http_interactions:
- request:
    method: post
    uri: https://x.test/v1
    body:
      encoding: US-ASCII
      string: ''
    headers: {}
  response:
    status: {code: 200, message: ''}
    headers:
      Content-Type: [text/event-stream]
      ETag: !ruby/string x
    body:
      encoding: ASCII-8BIT
      BODY
    http_version: null
  recorded_at: Fri, 14 Mar 2025 14:01:56 GMT
recorded_with: VCR 6.0.0
"""


@pytest.mark.parametrize("form", ["string: !binary |-\n        ", "base64_string: ", "string: !!binary "])
def test_a_tape_of_rubys_vcr_is_read(form):
    request, response = only(RUBY.replace("BODY", form + base64.b64encode(BODY).decode()))

    assert (request.method, request.uri, request.body) == ("POST", "https://x.test/v1", None)
    assert response == {
        "status": {"code": 200, "message": None},
        "headers": {"Content-Type": ["text/event-stream"], "ETag": ["x"]},
        "body": {"string": BODY},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GO.format(version=2, status="x", body="''").replace("code: 429", "code: x"), "line 16, interactions.0.response.code: a whole"),
        (RUBY.replace("BODY", "base64_string: 'a'"), "line 17, http_interactions.0.response.body.base64_string: this is not base64"),
        (RUBY.replace("uri:", "url:").replace("BODY", ""), "line 3, http_interactions.0.request.uri: a text is missing here"),
        ("http_interactions: {}\n", "line 1, http_interactions: a list belongs here, not a mapping"),
        ("http_interactions: [{request: 5}]\n", "line 1, http_interactions.0.request: a mapping belongs here, not 5"),
    ],
)  # fmt: skip
def test_a_problem_in_a_tape_of_another_tool_is_named_too(text, message):
    with pytest.raises(CassetteError) as error:
        read(text, "t.yaml")

    assert f"t.yaml, {message}" in str(error.value)
