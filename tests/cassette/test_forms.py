"""Tapes of LangChain, cassetter, nock and http-snapshot, as those tools write them; bodies in files as scripts."""

from __future__ import annotations

import gzip
import json

import httpx
import pytest
import yaml
from taping import stored, tape

from fakellm import disconnect
from fakellm.cassette import CassetteError, script_of
from fakellm.cassette.dialects import read_tape
from fakellm.cassette.files import Files
from fakellm.http.interception import playing
from fakellm.wire.openai import ChatCodec

URL = "https://api.openai.com/v1/chat/completions"
ASKED = {"model": "m", "messages": [{"role": "user", "content": "hü"}], "n": None}
CHUNK = '{"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hel"}}]}'
LAST = '{"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":"stop"}]}'
SSE = f"data: {CHUNK}\n\ndata: {LAST}\n\ndata: [DONE]\n\n"
STREAM = {"content-type": ["text/event-stream"]}
PACKED = gzip.compress(b'{"ok": true}', mtime=0)


def only(text, name="t.yaml"):
    found = read_tape(text, name)
    ((request, response),) = found.pairs
    return found.dialect, request, response


def plays(path, answer):
    """Play a tape of another tool to a client, and see that it is not recorded on."""
    before = path.read_bytes()
    with playing(tape(path, mode="none")):
        assert httpx.post(URL, json=ASKED).text == answer
    with pytest.raises(CassetteError, match="read but not recorded on"):
        Files().save_cassette(str(path), {"requests": [], "responses": []})
    assert path.read_bytes() == before


def refused(text, name="t.json"):
    with pytest.raises(CassetteError) as error:
        read_tape(text if isinstance(text, str) else json.dumps(text), name)
    return str(error.value)


# -- LangChain ----------------------------------------------------------------------------------------


def langchain(body=None):
    request = {"method": "POST", "uri": URL, "body": body or json.dumps(ASKED).encode(), "headers": {"a": ["b"]}}
    response = {"status": {"code": 200, "message": "OK"}, "headers": STREAM, "body": {"string": SSE.encode()}}
    return {"requests": [request], "responses": [response]}


def test_langchains_two_lists_are_read_compressed(tmp_path):
    path = tmp_path / "chat.yaml.gz"
    path.write_bytes(gzip.compress(yaml.safe_dump(langchain()).encode()))
    plays(path, SSE)
    dialect, request, response = only(yaml.safe_dump(langchain()))
    assert (dialect, request.body, dict(request.headers)) == ("LangChain", json.dumps(ASKED).encode(), {"a": "b"})
    assert "stream" not in response


def test_langchains_mistakes_are_named(tmp_path):
    broken = langchain()
    broken["responses"] = []
    assert "responses: there are 0 responses for 1 requests" in refused(yaml.safe_dump(broken), "t.yaml")
    path = tmp_path / "chat.yaml.gz"
    path.write_bytes(gzip.compress(b"x" * 1000)[:-20])
    with pytest.raises(CassetteError, match=r"chat.yaml.gz: the file is compressed, and broken"):
        Files().load_cassette(str(path))


@pytest.mark.parametrize("name", ["tape.yaml.gz", "tape.json.gz"])
def test_a_tape_of_ours_is_compressed_where_its_name_says_so(tmp_path, name):
    path, data = tmp_path / name, read_tape(yaml.safe_dump(langchain()), "t.yaml")
    for _ in range(2):
        Files().save_cassette(str(path), {"requests": data.requests, "responses": data.responses})
        assert gzip.decompress(path.read_bytes()).startswith(b"# A fakellm" if "yaml" in name else b"{")
    assert Files().load_cassette(str(path))[1] == data.responses


# -- cassetter ----------------------------------------------------------------------------------------


def cassetter(asked, told, **headers):
    request = {"method": "POST", "uri": URL, "headers": {"content-type": ["application/json"]}, "body": asked}
    response = {"status": 200, "headers": {**STREAM, **headers}, "body": told}
    pair = {"request": request, "response": response, "recorded_at": "2026-11-28T09:13:46.628125+00:00"}
    return yaml.safe_dump({"version": 1, "interactions": [pair]}, sort_keys=False)


def test_cassetters_typed_bodies_are_read(tmp_path):
    path = tmp_path / "tape.yaml"
    path.write_text(cassetter({"type": "json", "content": ASKED}, {"type": "text", "content": SSE}))
    plays(path, SSE)


@pytest.mark.parametrize(
    ("body", "data"),
    [
        ({"type": "none"}, b""),
        ({"type": "binary", "content": "ff0001"}, b"\xff\x00\x01"),
        ({"type": "json", "content": {"z": [1, 2.5, None], "u": "ü"}}, '{"z":[1,2.5,null],"u":"ü"}'.encode()),
        ({"type": "text", "content": "a=b+c"}, b"a=b+c"),
    ],
)
def test_each_type_of_a_body_is_read(body, data):
    dialect, request, response = only(cassetter(body, body))
    assert (dialect, request.body or b"", response["body"]["string"]) == ("cassetter", data, data)
    assert response["status"] == {"code": 200, "message": None}


def test_cassetters_mistakes_are_named():
    found = refused(cassetter({"type": "none"}, {"type": "xml", "content": "a"}), "t.yaml")
    assert "response.body.type: 'xml' is no type of a body; there are none, text, json and binary" in found
    found = refused(cassetter({"type": "binary", "content": "xyz"}, {"type": "none"}), "t.yaml")
    assert "interactions.0.request.body.content: hexadecimal digits belong here" in found


# -- nock ---------------------------------------------------------------------------------------------


def nock(response=SSE, **more):
    definition = {
        "scope": "https://api.openai.com:443",
        "method": "POST",
        "path": "/v1/chat/completions",
        "body": ASKED,
    }
    told = {
        "status": 200,
        "response": response,
        "rawHeaders": ["Content-Type", "text/event-stream", "X", "1", "X", "2"],
    }
    return [{**definition, **told, "responseIsBinary": False, **more}]


def test_nocks_definitions_are_read(tmp_path):
    path = tmp_path / "tape.json"
    path.write_text(json.dumps(nock()))
    plays(path, SSE)
    dialect, request, response = only(json.dumps(nock(reqheaders={"a": ["b", "c"], "content-length": 9})), "t.json")
    assert (dialect, request.uri) == ("nock", URL)
    assert dict(request.headers) == {"a": "b, c", "content-length": "9"}
    assert response["headers"]["X"] == ["1", "2"]


@pytest.mark.parametrize(
    ("more", "data"),
    [
        ({"response": {"ping": "pong"}, "rawHeaders": {"content-type": "application/json"}}, b'{"ping":"pong"}'),
        ({"response": ["a", "b"], "rawHeaders": []}, b'["a","b"]'),
        (
            {"response": [PACKED[:9].hex(), PACKED[9:].hex()], "rawHeaders": ["Content-Encoding", "gzip"]},
            b'{"ok": true}',
        ),
        ({"response": "ff00", "responseIsBinary": True}, b"\xff\x00"),
        ({"response": ""}, b""),
    ],
)
def test_each_form_of_nocks_responses_is_read(more, data):
    assert only(json.dumps(nock(**more)), "t.json")[2]["body"]["string"] == data


def test_nocks_other_fields_are_read_and_mistakes_are_named():
    _, request, _ = only(json.dumps(nock(scope="http://127.0.0.1:3000", path="/", body="")), "t.json")
    assert (request.uri, request.body) == ("http://127.0.0.1:3000/", None)
    assert "0.rawHeaders: names and values belong here in turn" in refused(nock(rawHeaders=["a"]))
    assert "0.path: a text belongs here, not a mapping" in refused(nock(path={"regex": "x"}))
    assert "0.response: hexadecimal digits belong here" in refused(nock(responseIsBinary=True))


# -- http-snapshot ------------------------------------------------------------------------------------


def snapshot(body=SSE, content_type="text/event-stream", **more):
    request = {"method": "POST", "url": URL, "headers": {"content-type": "application/json"}, "body": ASKED}
    response = {"status_code": 200, "headers": {"content-type": content_type}, "body": body}
    return [{"request": request, "response": response, **more}]


def test_snapshots_of_httpx_are_read(tmp_path):
    path = tmp_path / "tape.json"
    path.write_text(json.dumps(snapshot()))
    plays(path, SSE)
    assert only(json.dumps(snapshot({"a": 1}, "application/json")), "t.json")[2]["body"]["string"] == b'{"a":1}'
    assert only(json.dumps(snapshot("/w==", "image/png")), "t.json")[2]["body"]["string"] == b"\xff"


def test_a_snapshot_without_requests_says_what_it_lacks():
    pair = snapshot()
    del pair[0]["request"]
    found = refused(pair)
    assert "0: this snapshot has no request" in found
    assert "include_request=True" in found


def test_text_that_is_no_tape_is_not_to_be_restored():
    assert "cassetter convert a/t.toml a/t.yaml" in refused("version = 1\n", "a/t.toml")
    assert "to do:     name a file that is a tape" in refused("## Interaction 0: GET /\n\n```\na: b: c\n```\n", "t.md")
    assert "to do:     restore the file" in refused("interactions:\n- a: b: c\n", "t.yaml")


# -- bodies in files of their own ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.sse", SSE),
        ("b.sse", ": ping\n\n" + SSE),
        ("c.jsonl", f"{CHUNK}\n{LAST}\n"),
        ("d.json", f"[{CHUNK},\n{LAST}]"),
        ("e.txt", f"{CHUNK}\r\n\r\n{LAST}"),
    ],
)
def test_a_body_is_a_script_and_is_named_where_a_tape_belongs(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    script = script_of(tmp_path / name)
    assert (script.text, script.finish_reason, script.fault) == ("Hello", "stop", None)
    assert script_of(tmp_path / name, api="openai.chat") == script
    with pytest.raises(CassetteError, match=r"not a tape\n.*script_of\(path\)"):
        Files().load_cassette(str(tmp_path / name))


@pytest.mark.parametrize(
    ("api", "lines"),
    [
        ("openai.responses", [{"type": "response.created", "response": {}}]),
        ("openai.completions", [{"object": "text_completion", "choices": [{"index": 0, "text": "a"}]}]),
        ("anthropic.messages", [{"type": "ping"}, {"type": "message_start", "message": {"usage": {}}}]),
        ("gemini", [{"candidates": [{"content": {"parts": [{"text": "a"}]}}]}]),
        ("dashscope.generation", [{"output": {"text": "a", "finish_reason": "stop"}, "request_id": "r"}]),
        ("cohere.chat", [{"type": "message-start", "delta": {}}, {"type": "content-end", "index": 0}]),
    ],
)
def test_the_api_of_a_body_is_known_by_its_chunks(tmp_path, api, lines, monkeypatch):
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert script_of(tmp_path / "a.jsonl") == script_of(tmp_path / "a.jsonl", api=api)


def test_chunks_as_sdks_have_them_are_read_as_they_were_sent(tmp_path):
    call = {"function_call": {"name": "f", "args": {"my_city": "P"}}, "thought_signature": "a-b_"}
    google = {
        "candidates": [{"content": {"parts": [call], "role": "model"}, "finish_reason": "STOP", "index": 0}],
        "usage_metadata": {"prompt_token_count": 1, "candidates_token_count": 2},
        "sdk_http_response": {"headers": {"x": "y"}},
    }
    script = script_of(written(tmp_path / "a.jsonl", json.dumps(google)))
    (called,) = script.tool_calls
    assert (called.name, json.loads(called.arguments), called.signature) == ("f", {"my_city": "P"}, "a+b/")
    assert (script.finish_reason, script.usage.input_tokens, script.usage.output_tokens) == ("tool_calls", 1, 2)
    mistral = "".join(f'{{"data": {chunk}, "event": null}}\n' for chunk in (CHUNK, LAST))
    assert script_of(written(tmp_path / "b.jsonl", mistral)).text == "Hello"


def test_an_event_stream_of_an_api_that_others_answer_too_is_read_as_its_own(tmp_path):
    said = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a\u2028b\x85c"}}
    begun = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    events = [{"type": "message_start", "message": {"usage": {}}}, begun, said]
    text = "".join(f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events)
    lines = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events)

    assert script_of(written(tmp_path / "a.sse", text)).text == "a\u2028b\x85c"
    assert script_of(written(tmp_path / "a.jsonl", lines)).text == "a\u2028b\x85c"


def test_a_body_that_breaks_off_has_a_fault_and_one_of_no_api_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text(CHUNK)
    assert script_of(tmp_path / "a.jsonl").fault == disconnect("end")
    assert ChatCodec().decode(SSE.encode()) == script_of(written(tmp_path / "a.sse", SSE))
    for text in ("", "hello", '{"a": 1}\n{"b": 2}'):
        with pytest.raises(CassetteError, match=r"its chunks are of no API that is known\n.*api=\.\.\.: openai.chat"):
            script_of(written(tmp_path / "b.jsonl", text))
    with pytest.raises(CassetteError, match="there is no API 'cohere'"):
        script_of(tmp_path / "a.sse", api="cohere")


def written(path, text):
    path.write_text(text)
    return path


def test_what_was_read_is_written_in_our_form(tmp_path):
    data = read_tape(json.dumps(nock()), "t.json")
    Files().save_cassette(str(tmp_path / "t.yaml"), {"requests": data.requests, "responses": data.responses})
    assert stored(tmp_path / "t.yaml")[0]["response"]["body"]["string"] == SSE
