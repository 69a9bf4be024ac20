"""Every form of the wire says the same to a decoder of the standard, and leaves alone what is no form of it."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from places import ROOT
from vectors import each

from fakellm import (
    FakeProvider,
    Finish,
    Pause,
    Reasoning,
    Script,
    ToolCall,
    Usage,
    disconnect,
    http_error,
    provider_error,
)
from fakellm.cassette.decoding import Decompressor
from fakellm.errors import BrokenReplyError, ScriptError
from fakellm.provider.actions import Timeouts
from fakellm.script import Raw
from fakellm.script.events import Native
from fakellm.wire import FORMS, SSEDecoder, WireForm, form_of
from fakellm.wire.codec import Ending
from fakellm.wire.hops import Carried
from fakellm.wire.providers import scripted_endpoint
from fakellm.wire.rewriting import Writing
from fakellm.wire.service import codec_of

HI = [{"role": "user", "content": "hi"}]
GEMINI = "https://generativelanguage.googleapis.com/v1/models/m:streamGenerateContent"
BEDROCK = "https://bedrock-runtime.us-east-1.amazonaws.com/model"
APIS = {
    "chat": ("openai", "https://api.openai.com/v1/chat/completions", {"model": "m", "messages": HI}),
    "completions": ("openai", "https://api.openai.com/v1/completions", {"model": "m", "prompt": "hi"}),
    "responses": ("openai", "https://api.openai.com/v1/responses", {"model": "m", "input": "hi"}),
    "messages": ("anthropic", "https://api.anthropic.com/v1/messages", {"model": "m", "max_tokens": 9, "messages": HI}),
    "gemini": ("gemini", f"{GEMINI}?alt=sse", {"contents": [{"parts": [{"text": "hi"}]}]}),
    "gemini array": ("gemini", GEMINI, {"contents": [{"parts": [{"text": "hi"}]}]}),
    "ollama": ("ollama", "http://127.0.0.1:11434/api/chat", {"model": "m", "messages": HI}),
    "generate": ("ollama", "http://127.0.0.1:11434/api/generate", {"model": "m", "prompt": "hi"}),
    "cohere": ("cohere", "https://api.cohere.com/v2/chat", {"model": "m", "messages": HI}),
    "mistral": ("mistral", "https://api.mistral.ai/v1/chat/completions", {"model": "m", "messages": HI}),
    "fim": ("mistral", "https://api.mistral.ai/v1/fim/completions", {"model": "m", "prompt": "hi"}),
    "agents": ("mistral", "https://api.mistral.ai/v1/agents/completions", {"agent_id": "a", "messages": HI}),
    "conversations": ("mistral", "https://api.mistral.ai/v1/conversations", {"model": "m", "inputs": "hi"}),
    "interactions": (
        "gemini", "https://generativelanguage.googleapis.com/v1beta/interactions", {"model": "m", "input": "hi"},
    ),
    "generation": (
        "dashscope", "https://dashscope.aliyuncs.com/api/v1/services/aigc/text-generation/generation",
        {"model": "m", "input": {"messages": HI}},
    ),
    "predictions": (
        "replicate", "https://api.replicate.com/v1/models/a/b/predictions", {"input": {"prompt": "hi"}},
    ),
    "converse": ("bedrock", f"{BEDROCK}/m/converse-stream", {"messages": [{"role": "user", "content": [{"text": "x"}]}]}),
    "claude": (
        "bedrock", f"{BEDROCK}/anthropic.claude-3/invoke-with-response-stream",
        {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": HI},
    ),
}  # fmt: skip
EVENTS = [api for api in APIS if api not in ("gemini array", "ollama", "generate", "converse", "claude")]
SAID = Script("Hel", Pause(1), 'lo \u2028\x85 [{"', "wörld", Finish("stop"), Usage(3, 2))
CALLED = Script(Reasoning("hm"), ToolCall("add", '{"a":', id="c1"), Pause(1), ToolCall(None, "1.50}"))


def exchange(api, *parts, form=None, spoken=None):
    name, url, asked = APIS[api]
    provider = FakeProvider(name).reply(*parts, form=form).speak(spoken)
    marks = {"x-dashscope-sse": "enable"} if name == "dashscope" else {}
    answer = provider.handle("POST", url, marks, asked_of(asked, streams=name != "bedrock"))
    if name != "replicate":
        return answer
    made = json.loads(plain(answer))  # where its stream is to be fetched
    return provider.handle("GET", made["urls"]["stream"], {"accept": "text/event-stream"}, b"")


def asked_of(asked, *, streams=True):
    return json.dumps({**asked, "stream": True} if streams else asked).encode()


def pieces(answer):
    """Return the pieces of a body, with its silences and its failure between them."""
    found = []
    for action in answer.body(Timeouts()):
        found += [action] if isinstance(action, (float, tuple)) else action
    return found


def body(answer):
    return b"".join(piece for piece in pieces(answer) if isinstance(piece, bytes))


def plain(answer):
    """Return a body as a client reads it that knows the codings."""
    coding = dict(answer.headers).get("content-encoding", "")
    decompressor = Decompressor(coding)
    return decompressor.feed(body(answer)) + decompressor.flush()


def decoder(api):
    return codec_of(scripted_endpoint("POST", APIS[api][1])[1]).decoder()


def said(api, data, *cuts):
    reads = [data[at:end] for at, end in zip((0, *cuts), (*cuts, len(data)), strict=True)]
    reader = decoder(api)
    return [*(event for read in reads for event in reader.feed(read)), *reader.close()]


forms = st.builds(
    WireForm,
    line_ends=st.sampled_from([None, "lf", "crlf", "cr"]), bom=st.booleans(),
    comments=st.sampled_from([False, "between", "first", "inside"]), retry=st.none() | st.integers(0, 10**6),
    ids=st.booleans(), event_names=st.booleans(), data_lines=st.sampled_from([None, "pretty"]), space=st.booleans(),
    encoding=st.sampled_from([None, "gzip", "deflate"]),
    pieces=st.sampled_from([None, "bytes", "whole", "events"]) | st.integers(1, 40),
)  # fmt: skip


@given(api=st.sampled_from([*APIS]), form=forms, script=st.sampled_from([SAID, CALLED]), data=st.data())
@settings(max_examples=max(10, settings.default.max_examples * 2 // 5))
@example(api="chat", form=FORMS["all"], script=SAID, data=None)
def test_every_form_of_a_script_reads_as_the_plain_one(api, form, script, data):
    script = SAID if api in ("completions", "predictions") else script  # which know no calls
    written = plain(exchange(api, script, spoken=form))
    wanted = said(api, body(exchange(api, script)))
    assert said(api, written) == wanted
    if data is not None:
        cut = data.draw(st.integers(0, len(written)))
        assert said(api, written, cut) == wanted


def test_data_that_is_text_is_not_taken_for_json():
    script = Script('{"a":1}', Native("replicate.predictions", {"event": "logs", "data": "[1,2]"}), "[]")
    sent = body(exchange("predictions", script, spoken="pretty"))
    assert said("predictions", sent) == said("predictions", body(exchange("predictions", script)))
    assert b"\ndata: [1,2]\n" in sent


@pytest.mark.exhaustive
@each("api", APIS)
def test_every_preset_reads_alike_at_every_cut(api):
    wanted = said(api, body(exchange(api, SAID)))
    for number, (name, form) in enumerate(FORMS.items()):
        written = plain(exchange(api, SAID, spoken=form))
        size = (
            1 + (number + [*APIS].index(api)) % 3
        )  # one byte of each form with some API, and of each API in some form
        assert said(api, written, *range(size, len(written), size)) == wanted, name
        for cut in range(number, len(written), len(written) // 5 + 1):  # elsewhere in each form
            assert said(api, written, cut) == wanted, (name, cut)


TWO = b'event: a\ndata: {"x":[1.50,{}],"y": "{,"}\n\ndata: [DONE]\n\n'
AS_WRITTEN = {
    "crlf": TWO.replace(b"\n", b"\r\n"),
    "cr": TWO.replace(b"\n", b"\r"),
    "bom": b"\xef\xbb\xbf" + TWO,
    "comments": TWO.replace(b"\n\ndata", b"\n\n: keep-alive\n\ndata"),
    "comment_first": b": keep-alive\n\n" + TWO,
    "comment_inside": TWO.replace(b"a\n", b"a\n: keep-alive\n").replace(b"[DONE]\n", b"[DONE]\n: keep-alive\n"),
    "ids": b"id: 0\n" + TWO.replace(b"\n\ndata", b"\n\nid: 1\ndata"),
    "comment_after_id": b"id: 0\n" + TWO.replace(b"\n\ndata", b"\n\n: keep-alive\n\nid: 1\ndata"),
    "retry": b"retry: 3000\n" + TWO,
    "retry_alone": b"retry: 3000\n\n" + TWO,
    "event_names": TWO.replace(b"\n\ndata", b"\n\nevent: message\ndata"),
    "no_space": TWO.replace(b": a", b":a").replace(b"data: ", b"data:"),
    "pretty": b"event: a\n" + b"".join(b"data: %b\n" % line for line in (
        b"{", b'  "x":[', b"    1.50,", b"    {}", b"  ],", b'  "y":"{,"', b"}",
    )) + b"\ndata: [DONE]\n\n",
}  # fmt: skip


def carried(form, *runs, kind="text/event-stream", **fields):
    answer = Carried(200, [("Content-Type", kind), ("content-length", "9")], runs, **fields)
    return Writing(form).carry(answer)


def written(form, *runs, **options):
    return list(carried(form, *runs, **options).steps)


@each("name", AS_WRITTEN)
def test_a_form_is_written_so(name):
    assert b"".join(written(FORMS[name], Ending([TWO]))[0]) == AS_WRITTEN[name]


@pytest.mark.exhaustive
@each("form", ["crlf,no_space", "comment_after_id,retry_alone", "pretty,cr,bom"])
@each("end", [b"\n", b"\r", b"\r\n"])
def test_cuts_of_what_comes_in_make_no_difference(form, end):
    data = b": hi\n\n\n\nid: 7\nretry: 5\n\ndata\n\n".replace(b"\n", end) + TWO.replace(b"\n", end) + b'data: {"half'
    form = form_of(form)
    wanted = b"".join(written(form, Ending([data]))[0])
    for at in range(len(data)):
        assert b"".join(b"".join(run) for run in written(form, [data[:at]], Ending([data[at:]]))) == wanted, at
    assert b"".join(written(form, Ending([data[at : at + 1] for at in range(len(data))]))[0]) == wanted
    events = [event.data for event in SSEDecoder().feed(wanted)]
    assert [events[0], json.loads(events[1]), events[2]] == ["", {"x": [1.5, {}], "y": "{,"}, "[DONE]"]


def test_fields_that_an_event_has_already_are_its_own():
    data = b"id: x\nevent: e\ndata: {}\n\n"
    assert written(WireForm(ids=True, event_names=True), Ending([data])) == [[data]]


def test_a_value_that_begins_with_a_space_keeps_it():
    (run,) = written(WireForm(space=False), Ending([b"data:  two\ndata: one\ndata:none\ndata\n\n"]))
    assert run == [b"data:  two\ndata:one\ndata:none\ndata\n\n"]


def test_bytes_of_the_script_and_halves_stay_as_they_are():
    form = WireForm(line_ends="crlf", space=False, ids=True, data_lines="pretty", comments=True)
    mark = 'data: {"half\n'
    sent = body(exchange("chat", "one", Raw(mark), Pause(1), Raw("\n: own\n\n"), "two", disconnect("cut"), form=form))
    assert mark.encode() + b"\n: own\n\n" in sent
    assert sent.endswith(body(exchange("chat", "one", "two", disconnect("cut")))[-20:])
    assert b'"one"\r\n' in sent
    assert b'"two"\r\n' in sent


def test_what_waits_goes_out_before_a_silence_and_a_fault():
    reset = disconnect("reset")
    form = WireForm(line_ends="crlf", pieces=4)
    assert written(form, [b"data: 1\n\nda"], Pause(1), [b"ta: 2\n"], Pause(1), [b"\ndata: 3\n\n"], reset) == [
        [b"data", b": 1\r", b"\n\r\n"], [b"da"], Pause(1), [b"ta: ", b"2\n"], Pause(1),
        [b"\ndat", b"a: 3", b"\r\n\r\n"], reset,
    ]  # fmt: skip


def test_whole_is_one_piece_after_all_silences():
    assert written(WireForm(pieces="whole"), [b"a", b"b"], Pause(1), [b"c"], Pause(2), Ending([b"d"])) == [
        Pause(1), Pause(2), [b"abcd"],
    ]  # fmt: skip
    assert written(WireForm(pieces="whole"), [b"a"], disconnect("close")) == [[b"a"], disconnect("close")]


def test_events_are_a_piece_each():
    assert written(WireForm(pieces="events"), [b"da", b"ta: 1\n\ndata: 2\r\n\r\n: c\n\n"], Ending([b"data: 3"])) == [
        [b"data: 1\n\n", b"data: 2\r\n\r\n", b": c\n\n"], [b"data: 3"],
    ]  # fmt: skip
    assert written(WireForm(pieces="events"), Ending([b'{"a":1}\n{"b"', b":2}\n"]), kind="application/x-ndjson") == [
        [b'{"a":1}\n', b'{"b":2}\n']
    ]


def test_cutting_at_events_loses_no_byte_of_a_line_end():
    sent = [b"data: 1\r\n\r"], [b"\ndata: 2\r\n\r"], Ending([b"\n"])
    assert written(WireForm(pieces="events"), *sent) == [[b"data: 1\r\n\r"], [b"\n", b"data: 2\r\n\r"], [b"\n"]]


def test_a_compressed_piece_is_all_there():
    for name in ("gzip", "deflate"):
        answer = exchange("chat", SAID, form=WireForm(encoding=name))
        reader, seen = Decompressor(name), []
        for piece in pieces(answer):
            seen.append(reader.feed(piece) if isinstance(piece, bytes) else piece)
        assert seen == pieces(exchange("chat", SAID))
        assert ("content-encoding", name) in answer.headers


def test_lines_of_json_end_in_crlf_and_have_nothing_else():
    form = WireForm(line_ends="crlf", bom=True, comments=True, ids=True)
    assert body(exchange("ollama", "a", spoken=form)) == body(exchange("ollama", "a")).replace(b"\n", b"\r\n")
    assert form.fitting("lines") == WireForm(line_ends="crlf")
    assert form.fitting("other") == WireForm()
    assert WireForm(line_ends="cr").lost("lines") == ["line_ends"]


@each(("api", "what"), [("ollama", "lines of JSON"), ("gemini array", "no server-sent events")])
def test_what_a_reply_asks_of_a_stream_that_has_no_place_for_it_is_a_mistake(api, what):
    with pytest.raises(BrokenReplyError, match=f"bom, ids, for which {what} have no place"):
        exchange(api, "a", form=WireForm(bom=True, ids=True, encoding="gzip"))


def test_errors_and_documents_are_compressed_and_cut_alone():
    answer = exchange("chat", http_error(429), form=FORMS["all"])
    assert json.loads(plain(answer))["error"]["type"]
    assert "content-length" not in dict(answer.headers)
    name, url, asked = APIS["chat"]
    fake = FakeProvider(name).reply("a", form="bom,comments,pieces=bytes")
    answer = fake.handle("POST", url, {}, json.dumps(asked).encode())
    assert set(map(len, pieces(answer))) == {1}


def test_a_plain_form_and_a_fault_before_everything_cost_nothing():
    name, url, asked = APIS["chat"]
    fake = FakeProvider(name).otherwise("a").speak(WireForm())
    fake.answers_alike = True
    first, second = (fake.handle("POST", url, {}, asked_of(asked)) for _ in "12")
    assert first.written is not None
    assert first.written is second.written
    assert exchange("chat", disconnect("refused"), form=FORMS["all"]).status == 0


def test_a_function_does_not_run_ahead():
    ran = []

    def reply(_):
        for word in ("one", "two", "three"):
            ran.append(word)
            yield word

    answer = exchange("chat", reply, form=WireForm(line_ends="crlf", encoding="gzip", pieces=9))
    run = next(iter(answer.body(Timeouts())))
    assert ran == ["one"]
    list(run)
    answer.close()
    assert answer.call.state == "closed"


@each("name", FORMS)
def test_who_stops_at_the_end_marker_took_all(name):
    answer = exchange("chat", "a", form=FORMS[name])
    reader, decompressor, whole = SSEDecoder(), Decompressor(dict(answer.headers).get("content-encoding", "")), False
    for action in answer.body(Timeouts()):
        for piece in action:
            whole = whole or any(event.data == "[DONE]" for event in reader.feed(decompressor.feed(piece)))
            if whole:
                break
        if whole:
            break
    answer.close()
    assert answer.call.state == "complete"


WRONG = [
    {"line_ends": "\n"}, {"bom": 1}, {"comments": "often"}, {"retry": -1}, {"retry": True}, {"alone": True},
    {"space": None}, {"encoding": "zip"}, {"pieces": 0}, {"pieces": True}, {"pieces": "halves"}, {"data_lines": "raw"},
]  # fmt: skip


@each("wrong", WRONG, ids=str)
def test_a_form_checks_itself(wrong):
    with pytest.raises(ScriptError, match=f"WireForm.{next(iter(wrong))}"):
        WireForm(**wrong)


def test_a_form_is_a_value():
    form = WireForm(comments=True, pieces=7)
    assert form == WireForm(comments="between", pieces=7)
    assert eval(repr(form)) == form
    assert repr(form) == "WireForm(comments='between', pieces=7)"
    with pytest.raises(FrozenInstanceError):
        form.bom = True


@each("name", FORMS)
def test_a_form_is_told_as_a_text(name):
    assert form_of(name) == FORMS[name] == form_of(str(FORMS[name])) == form_of(FORMS[name].fields())


def test_texts_add_up_and_mistakes_are_told():
    assert form_of("crlf, bom,pieces=bytes,space=no") == WireForm(
        line_ends="crlf", bom=True, pieces="bytes", space=False
    )
    with pytest.raises(ScriptError, match="no form 'crfl'; did you mean crlf"):
        form_of("crfl")
    with pytest.raises(ScriptError, match="no field 'boom'; did you mean bom"):
        form_of({"boom": True})
    with pytest.raises(ScriptError, match="not by ''"):
        form_of("")
    with pytest.raises(TypeError, match="not 7"):
        form_of(7)


def test_a_provider_shows_and_keeps_its_form():
    fake = FakeProvider("openai").speak("crlf").reply("a", form=WireForm(bom=True))
    assert repr(fake) == (
        "FakeProvider('openai').speak(WireForm(line_ends='crlf')).reply('a', form=WireForm(bom=True))"
    )
    assert fake.forget().form is None


def test_every_field_has_a_preset():
    told = {name for form in FORMS.values() for name in form.fields()}
    assert told == {field.name for field in fields(WireForm)}
    assert len(FORMS) > 20
    page = (ROOT / "docs" / "forms.md").read_text()
    assert [name for name in FORMS if f"`{name}`" not in page] == []


def test_errors_in_streams_are_written_in_the_form():
    sent = body(exchange("messages", "a", provider_error("busy", named=True), form="crlf"))
    assert sent == body(exchange("messages", "a", provider_error("busy", named=True))).replace(b"\n", b"\r\n")
