"""Answers that go from one form to another and back say the same, and what a form cannot hold is told."""

from __future__ import annotations

import json
from pathlib import Path

import corpus
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from places import ROOT
from vcr.persisters.filesystem import FilesystemPersister
from vcr.serializers import yamlserializer
from vectors import each

from fakellm import Finish, Pause, Reasoning, Script, Text, ToolCall, Usage, disconnect
from fakellm.cassette import CassetteError
from fakellm.cassette.answers import NoApiError, NotConvertedError, Wanted
from fakellm.cassette.converting import as_body, as_script, as_tape, redacted, told
from fakellm.cassette.redaction import Redactor
from fakellm.cassette.scripted import interaction_of
from fakellm.cassette.sources import form_of, read
from fakellm.cassette.usual import USUAL, usual_request
from fakellm.script.events import Raw, http_error, stall
from fakellm.wire.providers import scripted_endpoint
from fakellm.wire.service import codec_of

NONE = Wanted()
CHAT = Wanted(api="openai.chat")
ENOUGH = Script("Hel", "lo", ToolCall("f", {"a": 1}), Finish("tool_calls"), Usage(3, 4))


def answers_in(data, name, wanted=NONE):
    return read(data, name, form_of(data, name), wanted).answers


def said(answer, wanted=NONE):
    """Return what an answer says, without its silences."""
    return [event for event in told(answer, wanted)[0] if not isinstance(event, Pause)]


def taped(script, api="openai.chat", **known):
    """Return the only answer on the tape of a script."""
    url, asked = usual_request(api, usage=True, **known)
    request, response = interaction_of(script, url, asked)
    answer = answers_in(ENOUGH.to_yaml().encode(), "s.yaml")[0]
    made, _ = as_tape([answer], Wanted(api=api), Path("t.yaml"), {})
    (found,) = answers_in(made.data, "t.yaml")
    return type(found)(0, (request, response))


@each("api", sorted(USUAL))
def test_each_api_has_a_usual_request_that_it_takes(api):
    url, asked = usual_request(api, prompt="Why?")
    service, endpoint = scripted_endpoint("POST", url)
    request = codec_of(endpoint).request(asked, path=url.partition(".com")[2] or url)

    assert (endpoint.api, request.text) == (api, "Why?"), service


def test_the_table_of_usual_requests_has_every_api():
    from fakellm.wire.providers import services

    known = {end.api for service in services() for end in service.endpoints if end.is_codec}
    others = {api for api in known if api.startswith(("dashscope", "replicate"))}  # whose streams headers ask for
    assert known - others == USUAL.keys()
    with pytest.raises(CassetteError, match="nobody knows how a request to replicate.stream looks\n.*--url URL"):
        usual_request("replicate.stream")


def test_what_is_no_json_does_not_become_lines_but_a_script():
    wanted = Wanted(api="replicate.stream")
    (answer,) = answers_in(b"event: output\nid: 1\ndata: Hel\n\nevent: done\nid: 2\ndata: {}\n\n", "a.sse", wanted)

    assert told(answer, wanted)[0].text == "Hel"
    url = "https://stream.replicate.com/v1/streams/abc"
    recorded = stored("event: output\ndata: Hel\n\n", url=url).replace(b'"POST"', b'"GET"')
    (answer,) = answers_in(recorded, "t.json")
    with pytest.raises(NotConvertedError, match="its chunks are no JSON objects"):
        as_body(answer, NONE, lines=True)


@each("api", sorted(USUAL.keys() - {"bedrock.invoke", "openai.completions", "mistral.fim", "ollama.generate"}))
def test_a_tape_becomes_a_script_and_a_tape_again(api):
    wanted = Wanted(api=api)
    (first,) = answers_in(
        as_tape([*answers_in(ENOUGH.to_yaml().encode(), "s.yaml")], wanted, Path("t.yaml"), {})[0].data, "t.yaml"
    )
    script = as_script(first, wanted)
    again, refused = as_tape(answers_in(script.data, "s.yaml"), wanted, Path("t.yaml"), {})

    assert said(answers_in(again.data, "t.yaml")[0]) == said(first)
    assert (refused, again.lost) == ([], ())
    assert again.made_up[0].startswith(f"POST {usual_request(api)[0]} ")


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
PARTS = st.one_of(TEXTS.map(Text), st.integers(1, 400).map(lambda count: Pause(count / 100)))
ENDS = st.sampled_from(
    [(), (Finish("stop"),), (disconnect(),), (disconnect("close"),), (disconnect("end"),), (stall(),)]
)


@pytest.mark.exhaustive
@given(parts=st.lists(PARTS, max_size=8), end=ENDS)
def test_whatever_a_script_says_a_tape_of_it_says_too(parts, end):
    script = Script("", *parts, *end)
    made, refused = as_tape(answers_in(script.to_json().encode(), "s.json"), CHAT, Path("t.yaml"), {})
    (answer,) = answers_in(made.data, "t.yaml")
    found, _ = told(answer, NONE)

    assert (refused, made.lost) == ([], ())
    assert found.text == script.text
    assert (found.fault, found.finish_reason) == (script.fault, "stop" if found.fault is None else None)
    if not isinstance(script.fault, stall):  # nothing comes after a last silence
        spoken = [at for at, part in enumerate(parts) if isinstance(part, Text)]
        heard = sum(part.seconds for part in parts[: spoken[-1]] if isinstance(part, Pause)) if spoken else 0
        assert found.duration >= heard - 1e-6


@settings(max_examples=max(10, settings.default.max_examples // 2))
@given(texts=st.lists(TEXTS, min_size=1, max_size=6), api=st.sampled_from(sorted(USUAL)))
def test_a_stream_becomes_lines_and_a_stream_again(texts, api):
    wanted = Wanted(api=api)
    (answer,) = answers_in(Script(*texts).to_json().encode(), "s.json")
    lines = as_body(answer, wanted, lines=True)
    (of_lines,) = answers_in(lines.data, "a.jsonl", wanted)

    direct = read(as_tape([answer], wanted, Path("t.yaml"), {})[0].data, "t.yaml", "tape", wanted).answers[0]
    assert said(of_lines, wanted) == said(direct, wanted)
    if api.startswith(("bedrock", "ollama")):
        with pytest.raises(NotConvertedError, match=r"has no server-sent events; convert it to"):
            as_body(answer, wanted, lines=False)
        return
    body = as_body(answer, wanted, lines=False)
    (of_body,) = answers_in(body.data, "a.sse", wanted)
    assert said(of_body, wanted) == said(of_lines, wanted)
    if api.startswith(("openai", "mistral.chat")):
        assert as_body(of_lines, wanted, lines=False).data.count(b"[DONE]") == body.data.count(b"[DONE]")


@pytest.mark.exhaustive
def test_a_cassette_of_vcrpy_is_one_that_vcrpy_reads_and_says_what_the_tape_says(tmp_path):
    for tape in sorted((ROOT / "cassettes").rglob("*.yaml")):
        found = read(tape.read_bytes(), str(tape), "tape", NONE)
        path = tmp_path / "v.yaml"
        made, refused = as_tape(found.answers, NONE, path, {}, is_plain=True)
        path.write_bytes(made.data)
        requests, responses = FilesystemPersister.load_cassette(path, yamlserializer)
        again = answers_in(made.data, "v.yaml")

        assert (refused, len(requests)) == ([], len(found.answers))
        assert [response["body"]["string"] for response in responses] == [
            answer.pair[1]["body"]["string"] for answer in found.answers
        ], tape
        assert all("stream" not in stored["response"] for stored in yaml.safe_load(made.data)["interactions"])
        assert as_tape(again, NONE, path, {}, is_plain=True)[0].data == made.data


@pytest.mark.exhaustive
@corpus.needs_corpus
def test_recorded_streams_say_the_same_in_every_form():
    """By way of vcrpy's form always, by way of lines but for names that no data says."""
    same = 0
    for path in corpus.sample():
        data = path.read_bytes()
        try:
            found = read(data, path.name, form_of(data, path.name), NONE)
        except CassetteError:  # a form that is not read
            continue
        plain = as_tape([a for a in found.answers if a.pair], NONE, Path("v.yaml"), {}, is_plain=True)[0]
        others = iter(read(plain.data, "v.yaml", "vcrpy", NONE).answers if plain.answers else ())
        for answer in found.answers:
            other = next(others) if answer.pair else answer
            try:
                events = said(answer)
            except NotConvertedError:
                continue
            assert said(other) == events, path.name
            known = scripted_endpoint("POST", answer.pair[0].uri) if answer.pair else None
            api = known[1].api if known else ""
            is_stream = api and answer.pair[1]["status"]["code"] < 400
            lines = as_body(answer, NONE, lines=True) if is_stream else None
            if lines is None or any("names of events" in what for what in lines.lost):
                continue
            assert said(answers_in(lines.data, "a.jsonl", Wanted(api=api))[0], Wanted(api=api)) == events, path.name
            same += 1
    assert same > 90


@pytest.mark.exhaustive
@corpus.needs_corpus
def test_chunks_of_the_official_sdks_say_what_the_streams_said():
    same, files = 0, {path.name for path in corpus.sample()}
    for row in corpus.expected():
        api = row["api"].replace("google.generateContent", "gemini")
        if not row["dialect"].startswith("vcrpy") or api not in USUAL or row["file"] not in files:
            continue
        wanted = Wanted(api=api)
        (of_sdk,) = answers_in((Path(corpus.CORPUS) / "expected" / row["expected"]).read_bytes(), "a.jsonl", wanted)
        data = (Path(corpus.CORPUS) / "streams" / row["file"]).read_bytes()
        recorded = answers_in(data, row["file"])[row["idx"]]
        assert outcome(told(of_sdk, wanted)[0]) == outcome(told(recorded, NONE)[0]), row["file"]
        same += 1
    assert same > 50


def outcome(script):
    """Return what an app has of a script in the end."""
    calls = [(call.name, call.arguments) for call in script.tool_calls]
    tokens = script.usage and (script.usage.input_tokens, script.usage.output_tokens)
    return script.text, script.reasoning, calls, script.finish_reason, tokens


def test_chunks_of_another_api_than_the_one_that_is_named_are_not_taken_for_an_empty_answer():
    (answer,) = answers_in(stored('data: {"a": 1}\n\n'), "t.json")
    with pytest.raises(NotConvertedError, match=r"its chunks say nothing that openai\.chat knows"):
        told(answer, NONE)
    for name, text in (("a.jsonl", '{"a": 1}\n'), ("a.sse", 'data: {"a": 1}\n\n')):
        with pytest.raises(CassetteError, match=r"its chunks say nothing that openai\.chat knows"):
            answers_in(text.encode(), name, CHAT)


STREAM = {"sizes": [], "delays": [], "end": "complete", "error": None}


def stored(body, *, kind="text/event-stream", code=200, stream=None, url="https://api.openai.com/v1/chat/completions"):
    text = {"method": "POST", "uri": url, "headers": {"a": ["b"]}, "body": "{}"}
    response = {"status": {"code": code, "message": ""}, "headers": {"content-type": [kind]}, "body": {"string": body}}
    if stream is not None:
        response["stream"] = {**STREAM, "sizes": f"{len(body)}", "delays": "250.0", **stream}
    return json.dumps({"version": 1, "interactions": [{"request": text, "response": response}]}).encode()


CHUNK = '{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hi"}}]}'
SSE = f"data: {CHUNK}\n\n"


@pytest.mark.parametrize(
    ("stream", "fault", "lost"),
    [
        ({"end": "dropped", "error": "ReadError"}, disconnect("reset"), "that it was dropped (ReadError)"),
        ({"end": "dropped", "error": "RemoteProtocolError"}, disconnect("close"), "dropped (RemoteProtocolError)"),
        ({"end": "timeout", "error": "ReadTimeout"}, stall(), "silent until the client gave up (ReadTimeout)"),
        ({"end": "cancelled"}, disconnect("end"), "that it was cancelled by the app"),
    ],
)
def test_how_a_stream_ended_is_in_the_script_and_told_of_what_has_no_place_for_it(stream, fault, lost):
    (answer,) = answers_in(stored(SSE, stream=stream), "t.json")
    script, of_script = told(answer, NONE)

    assert list(script) == [Pause(0.25), Text("Hi"), fault]
    assert ("how it would have gone on, since the app stopped reading" in of_script) == (stream["end"] == "cancelled")
    for found in (
        as_body(answer, NONE, lines=False).lost,
        as_body(answer, NONE, lines=True).lost,
        as_tape([answer], NONE, Path("v.yaml"), {}, is_plain=True)[0].lost,
    ):
        assert lost in found[-1]
        assert found[-3:-1] == ("sizes of chunks", "silences")


def test_errors_become_scripts_and_no_streams():
    data = stored('{"error": {"message": "slow down"}}', kind="application/json", code=429)
    (answer,) = answers_in(data, "t.json")

    assert told(answer, NONE)[0] == Script(http_error(429, body='{"error": {"message": "slow down"}}'))
    with pytest.raises(NotConvertedError, match="it is an error, 429, and no stream"):
        as_body(answer, NONE, lines=True)
    again = as_tape(answers_in(as_script(answer, NONE).data, "s.yaml"), CHAT, Path("t.yaml"), {})[0]
    assert told(answers_in(again.data, "t.yaml")[0], NONE)[0] == told(answer, NONE)[0]


@pytest.mark.parametrize(
    ("body", "lost"),
    [
        (": keepalive\n\n" + SSE, "comments"),
        ("id: 1\n" + SSE, "ids of events"),
        ("retry: 10\n" + SSE, "times to reconnect"),
        ("event: chunk\n" + SSE, "names of events that their data does not say"),
        (SSE + "data: hello\n\n", "1 events whose data is no JSON object"),
        (SSE + 'data: {"choi', "the begin of an event that was cut off"),
    ],
)
def test_what_lines_have_no_place_for_is_told(body, lost):
    (answer,) = answers_in(body.encode(), "a.sse", CHAT)
    found = as_body(answer, CHAT, lines=True)

    assert (found.lost, found.data.decode()) == ((lost,), CHUNK + "\n")
    assert as_body(answer, CHAT, lines=False).data == body.encode()


def test_an_array_of_chunks_becomes_an_event_stream():
    chunks = [{"candidates": [{"content": {"parts": [{"text": text}]}}]} for text in "ab"]
    url = "https://generativelanguage.googleapis.com/v1beta/models/g:streamGenerateContent"
    (answer,) = answers_in(stored(json.dumps(chunks, indent=1), kind="application/json", url=url), "t.json")

    assert told(answer, NONE)[0].text == "ab"
    assert as_body(answer, NONE, lines=False).data.count(b"data: {") == 2
    assert [json.loads(line) for line in as_body(answer, NONE, lines=True).data.splitlines()] == chunks


def test_what_is_of_no_api_is_converted_only_where_that_does_not_matter():
    (answer,) = answers_in(stored("data: {}\n\n", url="https://a.example/stream"), "t.json")

    assert as_body(answer, NONE, lines=False).data == b"data: {}\n\n"
    assert as_tape([answer], NONE, Path("v.yaml"), {}, is_plain=True)[1] == []
    for convert in (told, lambda *of: as_body(*of, lines=True)):
        with pytest.raises(NotConvertedError, match=r"https://a\.example/stream is of no API that is known"):
            convert(answer, NONE)
    assert told(answer, Wanted(api="openai.chat"))[0] == Script(disconnect("end"))


def test_what_an_api_has_no_place_for_is_told():
    (answer,) = answers_in(Script(Reasoning("hm"), "a", Raw(": x\n\n")).to_yaml().encode(), "s.yaml")
    made, _ = as_tape([answer], Wanted(api="openai.completions"), Path("t.yaml"), {})
    assert made.lost == ("reasoning, for which openai.completions has no place there",)
    (answer,) = answers_in(Script(disconnect("refused")).to_yaml().encode(), "s.yaml")
    made, refused = as_tape([answer], CHAT, Path("t.yaml"), {})
    assert (made.answers, refused[0][1].partition(":")[0]) == ((), "no tape can hold that there is no answer")


def test_who_does_not_say_of_which_api_it_is_is_asked():
    (script,) = answers_in(ENOUGH.to_yaml().encode(), "s.yaml")
    for wanted, words in ((NONE, "name it: --api openai.chat"), (Wanted(url="https://a.example/b"), "of no API")):
        with pytest.raises(NoApiError, match=words):
            as_tape([script], wanted, Path("t.yaml"), {})
    with pytest.raises(NoApiError, match=r"--api API: openai\.chat, "):
        answers_in(b'data: {"a": 1}\n\n', "a.sse")


def test_a_request_that_was_named_is_the_one_on_the_tape():
    wanted = Wanted(
        url="http://127.0.0.1:9/v1/chat/completions", request={"model": "m", "messages": [], "stream": True}
    )
    made, _ = as_tape(answers_in(SSE.encode(), "a.sse", wanted), wanted, Path("t.yaml"), {})
    request, _ = answers_in(made.data, "t.yaml")[0].pair

    assert (request.uri, json.loads(request.body)) == (wanted.url, wanted.request)
    assert made.made_up == ()


def test_lines_of_a_binary_stream_know_their_api():
    lines = as_body(taped(ENOUGH, api="bedrock.converse"), NONE, lines=True)
    (answer,) = answers_in(lines.data, "a.jsonl")
    made, _ = as_tape([answer], NONE, Path("t.yaml"), {})

    assert said(answers_in(made.data, "t.yaml")[0]) == said(answer)
    assert lines.data == as_body(answers_in(made.data, "t.yaml")[0], NONE, lines=True).data


def test_bytes_are_no_text_for_the_json_of_vcrpy():
    pair = taped(Script("a"), api="bedrock.converse")
    _, refused = as_tape([pair], NONE, Path("v.json"), {}, is_plain=True)
    made, none = as_tape([pair], NONE, Path("v.yaml"), {}, is_plain=True)

    assert refused == [(0, "its body is no text, which vcrpy's JSON cannot hold; convert it to .yaml")]
    assert (none, said(answers_in(made.data, "v.yaml")[0])) == ([], said(pair))


KEY = "sk-proj-" + "a1b2c3d4" * 6


def test_secrets_are_taken_out_of_every_form():
    half = len(KEY) // 2
    sources = {
        "s.yaml": Script("key ", KEY[:half], KEY[half:], ToolCall("f", {"key": KEY})).to_yaml().encode(),
        "a.sse": SSE.replace("Hi", KEY).encode(),
        "t.json": stored(SSE.replace("Hi", KEY)),
    }
    for name, data in sources.items():
        for answer in answers_in(data, name, CHAT):
            redactor = Redactor(environ={})
            clean = redacted(answer, redactor)
            forms = [
                as_script(clean, CHAT).data,
                as_body(clean, CHAT, lines=True).data,
                as_body(clean, CHAT, lines=False).data,
                as_tape([clean], CHAT, Path("t.yaml"), {})[0].data,
            ]
            for found in forms:
                assert b"REDACTED" in found, name
                assert KEY.encode()[:half] not in found
                assert KEY.encode()[half:] not in found
            assert sum(redactor.counts.values()) >= 1


@each(
    "name, text, form",
    [
        ("a.sse", "", "sse"),
        ("a.txt", SSE, "sse"),
        ("a.jsonl", "", "jsonl"),
        ("a.json", f"[{CHUNK}]", "jsonl"),
        ("a.json", '{"fakellm_script": 1, "events": []}', "script"),
        ("a.yaml", "# ours\nfakellm_script: 1\nevents: []\n", "script"),
        ("a.yaml", "{fakellm_script: 1, events: []}", "script"),
        ("a.json", '{"fixtures": []}', "aimock"),
        ("a.json", '{"behaviors": []}', "llmock"),
        ("a.json", '{"pending": []}', "llmock"),
        ("a.json", '{"interactions": []}', "tape"),
        ("a.yaml", "interactions: []\nversion: 1\n", "tape"),
        ("a.json", "{", "tape"),
    ],
)
def test_the_form_of_a_file_is_known(name, text, form):
    assert form_of(text.encode(), name) == form


@each("text", ['{"a": 1}\n5\n', "[1]", "{\n"])
def test_lines_that_are_no_chunks_are_refused_with_their_place(text):
    with pytest.raises(CassetteError, match=r"^a\.jsonl, (line|item) \d.*a chunk is a JSON object"):
        answers_in(text.encode(), "a.jsonl", CHAT)


def test_a_line_may_hold_what_is_a_line_end_elsewhere():
    line = CHUNK.replace("Hi", "a\u2028b\x85c")
    (answer,) = answers_in(line.encode(), "a.jsonl", CHAT)
    assert told(answer, CHAT)[0].text == "a\u2028b\x85c"
