"""Cassettes as text: what goes in comes back byte for byte, vcrpy reads it, and what is broken is named."""

from __future__ import annotations

import contextlib
import re
import time

import pytest
import vcr
import yaml
from hypothesis import given
from hypothesis import strategies as st
from strategies import AWKWARD, texts
from vcr.request import Request
from vcr.serialize import deserialize as vcr_deserialize
from vcr.serialize import serialize as vcr_serialize
from vcr.serializers import jsonserializer, yamlserializer
from vectors import each

from fakellm.cassette.dialects import read
from fakellm.cassette.document import CassetteError
from fakellm.cassette.emit import to_yaml
from fakellm.cassette.format import ENDS, HEADING, JSON, YAML

SSE = 'data: {"text": "Hello"}\n\ndata: {"text": " w\u00f6rld \U0001f600"}\n\ndata: [DONE]\n\n'
HARD = (
    "a\r\nb\r\n\r\n", "a\rb", "a \n b \n  \n", " leading", "\n\n leading", "\t\ttab", "\ttab\n\tb\n", "a\x85b", "a\u2028b\n",
    "a\u2029", r'{"x": "\ud83d"}', "\U0001f600\n", "\x00\x01\x1b[0m\x7f\x9f", "\ufeffdata: x\n\n", "\ufffe\uffff", "\n", "\n\n\n",
    "x", "x\n", "x\n\n", "x\n\n\n\ny\n\n\n\n\n", "# c", "---\n...\n", "- a: b", "a: b\n  c", '"', "'", "\\", "%YAML", "null", "12", "~",
    "\r\n \r\n\t\r\n", "  \r\n  x", "x\r\n  ", "   ", "\xa0", "e\u0301", "x" * 5000, ("word " * 500 + "\n") * 3,
)  # fmt: skip


def streamed(body, *sizes, delays=None, end="complete", error=None):
    """Return what a response has beside its body."""
    return {"sizes": list(sizes), "delays": list(delays or [0.0] * len(sizes)), "end": end, "error": error}


def tape(body, *, request=b'{"stream": true}', headers=None, stream=None, **more):
    response = {
        "status": {"code": 200, "message": "OK"},
        "headers": {"content-type": ["text/event-stream"]} if headers is None else headers,
        "body": {"string": body},
        **more,
    }
    if stream is not None:
        response["stream"] = stream
    asked = Request("POST", "https://api.openai.com/v1/chat/completions", request, {"accept": "*/*"})
    return {"version": 1, "interactions": [{"request": asked._to_dict(), "response": response}]}


def body_of(text, name="t.yaml"):
    (_,), (response,) = read(text, name)
    return response["body"]["string"]


both = pytest.mark.parametrize(("serializer", "name"), [(YAML, "t.yaml"), (JSON, "t.json")], ids=["yaml", "json"])
plain = {"t.yaml": yamlserializer, "t.json": jsonserializer}


# -- lossless -----------------------------------------------------------------------------------------


@both
@given(
    st.binary(max_size=60) | texts.map(str.encode) | st.lists(st.sampled_from(HARD)).map(lambda x: "".join(x).encode())
)
def test_a_body_comes_back_byte_for_byte(serializer, name, body):
    request = body or None
    text = serializer.serialize(tape(body, request=request, stream=streamed(body, len(body))))
    (asked,), (response,) = read(text, name)

    assert response["body"]["string"] == body
    assert asked.body == request
    assert response["stream"] == streamed(body, len(body))


@each("body", [*HARD, *AWKWARD], ids=ascii)
@each(both)
def test_what_trips_serializers_comes_back_here_and_in_vcrpy(serializer, name, body):
    text = serializer.serialize(tape(body.encode(), request=body.encode()))

    assert body_of(text, name) == body.encode()
    (asked,), (response,) = vcr_deserialize(text, plain[name])
    assert response["body"]["string"] == body.encode()
    assert asked.body == body.encode()


@each("body", [*HARD, *AWKWARD], ids=ascii)
def test_the_yaml_is_the_same_to_the_reader_that_is_written_in_python(body):
    text = YAML.serialize(tape(body.encode()))

    assert yaml.load(text, Loader=yaml.SafeLoader) == yaml.load(text, Loader=yaml.CSafeLoader)


@both
@given(
    st.dictionaries(
        st.text(max_size=8),
        st.lists(st.text(max_size=12) | st.sampled_from(AWKWARD), min_size=1, max_size=3),
        max_size=4,
    )
)
def test_headers_come_back(serializer, name, headers):
    text = serializer.serialize(tape(b"x", headers=headers))
    _, (response,) = read(text, name)

    assert response["headers"] == headers
    assert vcr_deserialize(text, plain[name])[1][0]["headers"] == headers


@given(
    st.recursive(
        texts | st.none() | st.booleans() | st.integers(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=150), inner, max_size=3),
        max_leaves=8,
    )
)
def test_any_data_of_a_cassette_is_yaml(data):
    text = to_yaml({"x": data})

    assert yaml.load(text, Loader=yaml.CSafeLoader) == {"x": data}
    assert yaml.load(text, Loader=yaml.SafeLoader) == {"x": data}


@both
def test_writing_what_was_read_gives_the_same_text(serializer, name):
    stream = streamed(SSE, 5, len(SSE.encode()) - 5, delays=[0.123, 45.678], end="dropped", error="ReadError")
    text = serializer.serialize(tape(SSE.encode(), stream=stream))
    (asked,), (response,) = read(text, name)

    again = {"interactions": [{"request": asked._to_dict(), "response": response}]}
    assert serializer.serialize(again) == text
    assert response["stream"]["delays"] == [0.1, 45.7]


@both
def test_a_head_that_is_not_utf_8_keeps_its_bytes(serializer, name):
    headers = {"x-name": ["caf\udce9", "caf\xe9"], b"x-bytes": [b"\xe9", "\xe9".encode(), 3]}
    text = serializer.serialize(tape(b"x", headers=headers, status={"code": 200, "message": "Sch\udcf6n"}))
    _, (response,) = read(text.encode(), name)

    assert response["status"] == {"code": 200, "message": "Sch\udcf6n"}
    assert response["headers"] == {"x-bytes": ["\udce9", "\xe9", "3"], "x-name": ["caf\udce9", "caf\xe9"]}
    assert len(vcr_deserialize(text, plain[name])[1][0]["headers"]["x-name"]) == 2


def test_metadata_comes_back():
    data = {**tape(b"x"), "metadata": {"seed": 3, "when": ["a", {"b": None}]}}
    for serializer, name in ((YAML, "t.yaml"), (JSON, "t.json")):
        assert vcr_deserialize(serializer.serialize(data), plain[name])[2] == data["metadata"]
        assert serializer.deserialize(serializer.serialize(data))["metadata"] == data["metadata"]


def test_what_no_cassette_holds_is_refused():
    with pytest.raises(CassetteError, match="cannot be written: a cassette holds no object"):
        YAML.serialize(tape(b"x", extra=object()))
    with pytest.raises(CassetteError, match="cannot be written: Object of type object is not JSON"):
        JSON.serialize(tape(b"x", extra=object()))


@pytest.mark.parametrize(
    "stream",
    [streamed("", 1, 2), streamed("", 4, delays=[]) | {"delays": []}, streamed("", 4, end="over"), streamed("", 4, delays=[-1.0]),
     streamed("", 4, delays=[float("nan")])],
)  # fmt: skip
def test_a_stream_that_is_no_stream_is_not_written(stream):
    with pytest.raises(CassetteError, match="is not written"):
        YAML.serialize(tape(b"four", stream=stream))


# -- how it looks -------------------------------------------------------------------------------------


def test_a_tape_reads_as_the_provider_sent_it():
    stream = streamed(SSE, 25, 32, 14, delays=[0.1, 44.04, 109.6])
    data = tape(
        SSE.encode(),
        headers={"x-b": ["1", "2"], "Content-Type": ["text/event-stream"], "date": ["Mon, 1: x"]},
        stream=stream,
    )

    assert YAML.serialize(data) == (
        '# A fakellm cassette, which vcrpy reads too. It is whole where its last line is "...".\n'
        "version: 1\n"
        "interactions:\n"
        "- request:\n"
        "    method: POST\n"
        "    uri: https://api.openai.com/v1/chat/completions\n"
        "    headers:\n"
        "      accept:\n"
        "      - '*/*'\n"
        "    body: |-\n"
        '      {"stream": true}\n'
        "  response:\n"
        "    status:\n"
        "      code: 200\n"
        "      message: OK\n"
        "    headers:\n"
        "      Content-Type:\n"
        "      - text/event-stream\n"
        "      date:\n"
        "      - 'Mon, 1: x'\n"
        "      x-b:\n"
        "      - '1'\n"
        "      - '2'\n"
        "    body:\n"
        "      string: |+\n"
        '        data: {"text": "Hello"}\n'
        "\n"
        '        data: {"text": " w\u00f6rld \U0001f600"}\n'
        "\n"
        "        data: [DONE]\n"
        "\n"
        "    stream:\n"
        "      sizes: 25 32 14\n"
        "      delays: 0.1 44.0 109.6\n"
        "      end: complete\n"
        "      error: null\n"
        "...\n"
    )  # fmt: skip


def test_a_body_that_yaml_would_change_still_has_a_line_for_each_line():
    text = YAML.serialize(tape(b'data: a\r\n\r\n data: "b"\r\n'))

    assert '      string: "data: a\\r\\n\\\n        \\r\\n\\\n        \\ data: \\"b\\"\\r\\n"\n' in text


def test_nothing_is_wrapped_and_no_line_ends_in_a_space_that_is_not_the_bodys():
    text = YAML.serialize(tape(("word " * 100 + "x\n\n\n").encode(), headers={"x": ["word " * 100 + "x"]}))

    assert text.count("word " * 100 + "x") == 2
    assert not re.search(r"(?m) $", text)


@both
def test_the_order_in_which_headers_came_does_not_show(serializer, name):
    headers = {"b": ["1"], "A": ["2"], "c": ["3"]}
    backwards = dict(reversed(headers.items()))

    assert serializer.serialize(tape(b"x", headers=headers)) == serializer.serialize(tape(b"x", headers=backwards))


def test_serializing_changes_nothing_in_memory():
    data = tape(SSE.encode(), stream=streamed(SSE, len(SSE.encode())))
    before = repr(data)
    YAML.serialize(data)
    JSON.serialize(data)

    assert repr(data) == before


# -- vcrpy --------------------------------------------------------------------------------------------


@both
def test_plain_vcrpy_replays_it_and_does_not_mind_the_stream(tmp_path, serializer, name):
    import httpx

    path = tmp_path / name
    path.write_text(serializer.serialize(tape(SSE.encode(), stream=streamed(SSE, len(SSE.encode())))), encoding="utf-8")

    with vcr.use_cassette(path, record_mode="none", serializer=serializer.name) as cassette:
        response = httpx.post("https://api.openai.com/v1/chat/completions", content=b'{"stream": true}')

    assert response.content == SSE.encode()
    assert cassette.all_played


@both
def test_it_is_a_serializer_of_vcrpy(serializer, name):
    stream = streamed("four", 1, 3)
    asked, response = tape(b"four", stream=stream)["interactions"][0].values()
    pairs = {"requests": [Request(**asked)], "responses": [response]}
    text = vcr_serialize(pairs, serializer)
    (back,), (answer,) = vcr_deserialize(text, serializer)

    assert back._to_dict() == Request(**asked)._to_dict()
    assert answer == {**response, "body": {"string": b"four"}, "stream": stream}


def test_a_body_that_is_no_text_is_binary_to_vcrpy_too():
    text = YAML.serialize(tape(b"\xff\x00" * 100, request=b"\xfe"))

    assert "string: !!binary |\n" in text
    (asked,), (response,) = vcr_deserialize(text, yamlserializer)
    assert (asked.body, response["body"]["string"]) == (b"\xfe", b"\xff\x00" * 100)


# -- what is broken -----------------------------------------------------------------------------------

GOOD = YAML.serialize(tape(SSE.encode(), stream=streamed(SSE, 5, len(SSE.encode()) - 5)))


def refusal(text, name="t.yaml"):
    with pytest.raises(CassetteError) as error:
        read(text, name)
    first, *more = str(error.value).split("\n")
    assert all(line.startswith("  to do:     ") for line in more)
    assert more
    return first


KNOWN = (
    "a mapping with interactions (vcrpy, go-vcr, cassetter), with http_interactions (Ruby's VCR) or with requests and "
    "responses (LangChain), or a list of definitions (nock, http-snapshot)"
)


def broken(old, new, name="t.yaml"):
    assert old in GOOD
    return refusal(GOOD.replace(old, new, 1), name)


@each(
    ("old", "new", "message"),
    [
        ("version: 1", "version: 3", "t.yaml, line 2, version: version 3 is unknown; this fakellm reads version 1"),
        ("version: 1", "version: true", "t.yaml, line 2, version: version True is unknown; this fakellm reads version 1"),
        ("sizes: 5 66", "sizes: 5 65", ("t.yaml, line 28, interactions.0.response.stream.sizes: "
         "they add up to 70 bytes, and the body has 71")),
        ("sizes: 5 66", "sizes: 5 -66", ("t.yaml, line 28, interactions.0.response.stream.sizes: "
         "numbers of bytes belong here, with spaces between them, not '5 -66'")),
        ("sizes: 5 66", "sizes: 5 6.9", ("t.yaml, line 28, interactions.0.response.stream.sizes: "
         "numbers of bytes belong here, with spaces between them, not '5 6.9'")),
        ("      sizes: 5 66\n", "", "t.yaml, line 27, interactions.0.response.stream.sizes: it is missing here"),
        ("delays: 0.0 0.0", "delays: 0.0", "t.yaml, line 29, interactions.0.response.stream.delays: there are 1 for 2 sizes"),
        ("delays: 0.0 0.0", "delays: 0.0 nan", ("t.yaml, line 29, interactions.0.response.stream.delays: "
         "numbers of milliseconds belong here, with spaces between them, not '0.0 nan'")),
        ("end: complete", "end: over", ("t.yaml, line 30, interactions.0.response.stream.end: "
         f"'over' is no end; there are {', '.join(ENDS)}")),
        ("error: null", "error: 5", ("t.yaml, line 31, interactions.0.response.stream.error: "
         "the name of an exception belongs here, or null, not 5")),
        ("error: null", "eror: null", ("t.yaml, line 31, interactions.0.response.stream.eror: "
         "a stream has no such field; it has sizes, delays, end, error")),
        ("method: POST", "method: [POST]", "t.yaml, line 5, interactions.0.request.method: a text belongs here, not a list"),
        ("    method: POST\n", "", "t.yaml, line 4, interactions.0.request.method: a text is missing here"),
        ("uri: https", "uri: https://[x #", ("t.yaml, line 4, interactions.0.request: "
         "'https://[x' is no URL: Invalid IPv6 URL")),
        ("    stream:\n", "    streem:\n", ("t.yaml, line 27, interactions.0.response.streem: a response has no such field; "
         "it has status, headers, body, stream, wire, status_code, content, parsed_body, http_version, url, elapsed, "
         "duration, recorded_at")),
        ("version: 1", "versoin: 1", ("t.yaml, line 2, versoin: a tape has no such field; it has version, interactions, "
         "metadata, recorded_with, recorded_at")),
        ("uri: https", "note: x\n    uri: https", ("t.yaml, line 6, interactions.0.request.note: a request has no such field; "
         "it has method, uri, headers, body, parsed_body")),
        ("- request", "- note: x\n  request", ("t.yaml, line 4, interactions.0.note: an interaction has no such field; "
         "it has request, response, id, recorded_at")),
        ("message: OK", "mesage: OK", ("t.yaml, line 15, interactions.0.response.status.mesage: a status has no such field; "
         "it has code, message")),
        ("    stream:\n", "    wire: {version: 2}\n    stream:\n", ("t.yaml, line 27, interactions.0.response.wire.version: "
         "a wire has no such field; it has http_version, headers")),
        ("code: 200", "code: '200'", "t.yaml, line 14, interactions.0.response.status.code: a whole number belongs here, not '200'"),
        ("code: 200", "code: true", "t.yaml, line 14, interactions.0.response.status.code: a whole number belongs here, not True"),
        ("      - text/event-stream\n", "      - {a: b}\n", ("t.yaml, line 17, interactions.0.response.headers.content-type: "
         "a header's value is a text, not a list")),
        ('body: |-\n      {"stream": true}\n', "body: 5\n", ("t.yaml, line 10, interactions.0.request.body: "
         "a body is a text or !!binary, not 5")),
        ("      string: |+", "      string: {x: y}\n    x-other: |+", ("t.yaml, line 20, interactions.0.response.body.string: "
         "a body is a text or !!binary, not a mapping")),
        ("      string: |+", "      strnig: |+", ("t.yaml, line 20, interactions.0.response.body.strnig: "
         "a body has no such field; it has string, base64_string, encoding")),
        ("      string: |+", "      base64_string: |+", ("t.yaml, line 20, interactions.0.response.body.base64_string: "
         "this is not base64: string argument should contain only ASCII characters")),
        ("version: 1", "version: 1\nversion: 1", ("t.yaml, line 3: this is not YAML that a cassette is made of: "
         "the key 'version' comes twice")),
        ("      code: 200", "\tcode: 200", ("t.yaml, line 14: this is not YAML that a cassette is made of: "
         "found character that cannot start any token")),
        ("- request", "<<<<<<< HEAD\n- request", "t.yaml, line 4: a merge conflict is left here"),
        ("message: OK", "message: !!python/name:os.system x: [", ("t.yaml, line 15: this is not YAML that a cassette is made of: "
         "mapping values are not allowed in this context")),
        ("message: OK", "message: !!set {a}", None),
        ("message: OK", "message: !foo bar", ("t.yaml, line 15: this is not YAML that a cassette is made of: "
         "could not determine a constructor for the tag '!foo'")),
        ("code: 200", "code: !!int x", "t.yaml, line 14: this is not YAML that a cassette is made of: 'x' is no int"),
        ("message: OK", "message: \x01", "t.yaml, line 15: this is not YAML: character U+0001: control characters are not allowed"),
        ("message: OK", "message: !!binary 'a$=='", ("t.yaml, line 15: this is not YAML that a cassette is made of: "
         "this is not base64: Only base64 data is allowed")),
    ],
)  # fmt: skip
def test_a_problem_is_named_with_file_line_and_field(old, new, message):
    if message is None:
        read(GOOD.replace(old, new), "t.yaml")
    else:
        assert broken(old, new) == message


@each(
    ("text", "message"),
    [
        ("", f"t.yaml, line 1, the document: a tape is {KNOWN}; this is empty"),
        ("hello", f"t.yaml, line 1, the document: a tape is {KNOWN}; this is a str"),
        ("[]", f"t.yaml, line 1, the document: a tape is {KNOWN}; this is an empty list"),
        ("a: 1\nb: 2\n", f"t.yaml, line 1, the document: a tape is {KNOWN}; this is a mapping with a, b"),
        ("fakellm_script: 1\nevents: []\n", (f"t.yaml, line 1, the document: a tape is {KNOWN}; this is a script, which "
         "fakellm.Script.load reads")),
        ('{"log": {"entries": []}}', f"t.yaml, line 1, the document: a tape is {KNOWN}; this is a HAR file"),
        ('{"choices": []}', f"t.yaml, line 1, the document: a tape is {KNOWN}; this is the document of an answer"),
        ('[{"candidates": []}]', ("t.yaml, line 1, the document: this is a list of chunks, the body of one answer, and not a "
         "tape")),
        ("interactons: []\n", "t.yaml, line 1, interactons: a tape has no such field"),
        ("data: {}\n\ndata: [DONE]\n\n", "t.yaml: this is an event stream (SSE), the body of one answer, and not a tape"),
        (": ping\n\nevent: x\ndata: {}\n\n", "t.yaml: this is an event stream (SSE), the body of one answer, and not a tape"),
        ('{"a": 1}\n{"a": 2}\n', "t.yaml: this is a stream of lines of JSON, the body of one answer, and not a tape"),
        ("- request: {}\n  response: {}\n", ("t.yaml, line 1, the document: a list of interactions is an old tape, "
         "of vcrpy or Ruby's VCR")),
        ("interactions: 5\nversion: 1\n", "t.yaml, line 1, interactions: a list belongs here, not 5"),
        ("interactions: [5]\n", "t.yaml, line 1, interactions.0: a mapping belongs here, not 5"),
        ("interactions:\n- id: 1\n", "t.yaml, line 2, interactions.0.request: a mapping is missing here"),
        ("interactions:\n- request: {method: GET, uri: x}\n", "t.yaml, line 2, interactions.0.response: a mapping is missing here"),
        ("interactions: [" + "[" * 3000 + "]" * 3000 + "]", None),
    ],
)  # fmt: skip
def test_what_is_no_cassette_is_refused(text, message):
    if message is None:
        with pytest.raises(CassetteError):
            read(text, "t.yaml")
    else:
        assert refusal(text) == message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"version": 1', '"version": 9', "t.json, line 2, version: version 9 is unknown; this fakellm reads version 1"),
        ('"code": 200', '"code": null', "t.json, line 17, interactions.0.response.status.code: a whole number is missing here"),
        ('"code": 200', '"code": 200, "code": 201', "t.json, line 17: the key 'code' comes twice"),
        ('"sizes": "5 66"', '"sizes": "5"', ("t.json, line 29, interactions.0.response.stream.sizes: "
         "they add up to 5 bytes, and the body has 71")),
        ('"code": 200,', '"code": 200', "t.json, line 18: this is not JSON: Expecting ',' delimiter"),
        ('"code": 200,', '"code": 200,\n<<<<<<< HEAD', "t.json, line 18: a merge conflict is left here"),
    ],
)  # fmt: skip
def test_a_problem_in_json_is_named_with_its_line_too(old, new, message):
    text = JSON.serialize(tape(SSE.encode(), stream=streamed(SSE, 5, len(SSE.encode()) - 5)))
    assert old in text
    assert refusal(text.replace(old, new), "t.json") == message


@pytest.mark.exhaustive
def test_a_tape_that_was_cut_off_anywhere_is_refused():
    whole = GOOD.rstrip("\n")
    for length in [*range(len(HEADING), len(whole), 2), len(whole) - 1]:
        with pytest.raises(CassetteError, match=r"(?s)^t\.yaml, line \d+.*\n  to do: "):
            read(whole[:length], "t.yaml")

    assert body_of(whole) == SSE.encode()


@pytest.mark.exhaustive
def test_a_tape_of_vcrpy_that_was_cut_off_in_a_body_is_refused():
    data = tape(SSE.encode())["interactions"][0]
    text = vcr_serialize({"requests": [Request(**data["request"])], "responses": [data["response"]]}, yamlserializer)
    for length in range(len(text) - len("    code: 200\n    message: OK\nversion: 1\n") - 8):
        with pytest.raises(CassetteError):
            read(text[:length], "t.yaml")


@pytest.mark.parametrize(
    "attack",
    [
        "!!python/object/apply:os.system ['touch PATH']",
        "!!python/object/new:os.system ['touch PATH']",
        "!!python/name:os.system",
        "!!python/module:os",
        "!!python/object/apply:subprocess.check_output {args: [['touch', 'PATH']]}",
        "!ruby/object:Gem::Requirement {x: 'touch PATH'}",
    ],
)
def test_reading_executes_nothing(tmp_path, attack):
    target = tmp_path / "pwned"
    for place in ("message: OK", "- text/event-stream", "error: null"):
        text = GOOD.replace(place, f"{place.split(' ')[0]} {attack.replace('PATH', str(target))}")
        with contextlib.suppress(CassetteError):
            read(text, "t.yaml")
        assert not target.exists()


def test_a_stream_may_be_written_by_hand_as_lists_and_single_numbers():
    text = GOOD.replace("sizes: 5 66", "sizes: [5, 66]").replace("delays: 0.0 0.0", "delays: [0, 1.5]")
    assert read(text, "t.yaml")[1][0]["stream"] == streamed(SSE, 5, 66, delays=[0.0, 1.5])

    text = GOOD.replace("sizes: 5 66", "sizes: 71").replace("delays: 0.0 0.0", "delays: 3")
    assert read(text, "t.yaml")[1][0]["stream"] == streamed(SSE, 71, delays=[3.0])


def test_a_stream_without_chunks_is_one_too():
    text = YAML.serialize(tape(b"", stream=streamed("", end="dropped", error="ReadError")))

    assert read(text, "t.yaml")[1][0]["stream"] == streamed("", end="dropped", error="ReadError")


# -- speed --------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_a_large_tape_is_read_and_written_in_about_the_time_vcrpy_takes():
    body = (SSE * 40_000).encode()
    data = tape(body)
    asked, response = data["interactions"][0].values()
    ours, theirs = [], []
    for _ in range(3):
        begun = time.perf_counter()
        read(YAML.serialize(data), "t.yaml")
        ours.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        pairs = {"requests": [Request(**asked)], "responses": [{**response, "body": {"string": body}}]}
        vcr_deserialize(vcr_serialize(pairs, yamlserializer), yamlserializer)
        theirs.append(time.perf_counter() - begun)

    assert min(ours) < 2 * min(theirs)
