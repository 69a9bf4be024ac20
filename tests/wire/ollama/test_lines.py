"""Ollama's chat and generate without its SDK: the codec against recordings and itself, bad input, the grammar, tapes."""

from __future__ import annotations

import json
import socket
import urllib.request

import corpus
import httpx2
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from sending import sent
from vectors import each

from fakellm import (
    FakeProvider,
    Finish,
    Pause,
    Reasoning,
    Refusal,
    Script,
    Text,
    ToolCall,
    Usage,
    disconnect,
    provider_error,
)
from fakellm.cassette.bodies import kind_of_chunks, script_of
from fakellm.contracts.grammar.check import check_wire, rules_of
from fakellm.contracts.streams.projections import finish_of, text_of, usage_of
from fakellm.errors import UnexpectedRequestError, WireError
from fakellm.http import intercept
from fakellm.script.events import Content, Native, Raw
from fakellm.wire.codec import legal_or_not, pieces
from fakellm.wire.ollama import ChatCodec, GenerateCodec
from fakellm.wire.providers import service_of

HERE = "http://127.0.0.1:11434"
ASKED = {
    "chat": {"model": "m", "messages": [{"role": "user", "content": "hi there"}]},
    "generate": {"model": "m", "prompt": "hi there"},
}
CODECS = {"chat": ChatCodec(), "generate": GenerateCodec()}
RICH = Script(
    Reasoning("hm"), "Hel", "lo \u2028\x85<", ToolCall("f", '{"a": '), ToolCall(arguments="1}"), ToolCall("g"), Usage(12, 9)
)  # fmt: skip
apis = pytest.mark.parametrize("api", ASKED)


def request(api="chat", **fields):
    return CODECS[api].request({**ASKED[api], **fields})


def steps(api, script, **fields):
    return list(pieces(CODECS[api].encoder(request(api, **fields), 1, script.usage), script))


def encoded(api, script, **fields):
    """Return the bytes of a stream, up to the fault that ends it."""
    return sent(steps(api, script, **fields))


def lines_of(body):
    return [json.loads(line) for line in body.splitlines()]


def found(body, api="chat", **options):
    """Return (rule, event, path) of each problem."""
    problems = check_wire(body, api=f"ollama_{api}", **options).problems
    return [(problem.rule.id, problem.event, problem.path) for problem in problems]


# -- streams and documents ----------------------------------------------------------------------------


@apis
def test_a_stream_is_lines_of_which_the_last_is_done(api):
    body = encoded(api, RICH)
    *lines, last = lines_of(body)

    assert body.decode().splitlines() == body.decode().split("\n")[:-1]  # no text holds what ends a line elsewhere
    assert [line["done"] for line in lines] == [False] * 5
    assert (last["done"], last["done_reason"], last["prompt_eval_count"], last["eval_count"]) == (True, "stop", 12, 9)
    assert last["total_duration"] == sum(last[f"{what}_duration"] for what in ("load", "prompt_eval", "eval"))
    assert len({line["created_at"] for line in (*lines, last)}) == 6
    said = lines[3]["message"] if api == "chat" else lines[3]
    assert said["tool_calls"] == [{"id": "call_0", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}]


@apis
def test_a_document_is_what_the_lines_add_up_to(api):
    answer = json.loads(CODECS[api].body(RICH, request(api, stream=False), 1))
    said = answer["message"] if api == "chat" else answer

    assert (said["content" if api == "chat" else "response"], said["thinking"]) == ("Hello \u2028\x85<", "hm")
    assert [call["function"]["arguments"] for call in said["tool_calls"]] == [{"a": 1}, {}]
    assert (answer["done"], answer["done_reason"], answer["eval_count"]) == (True, "stop", 9)
    assert ("context" in answer) == (api == "generate")
    in_turn = Script(
        ToolCall("a", index=0), ToolCall("b", index=1), ToolCall(None, '{"x":1}', index=0), allow_illegal=True
    )
    document = json.loads(CODECS[api].body(in_turn, request(api), 1))
    calls = document["message" if api == "chat" else "tool_calls"]
    calls = calls["tool_calls"] if api == "chat" else calls
    assert [(c["function"]["name"], c["function"]["arguments"]) for c in calls] == [("a", {"x": 1}), ("b", {})]


@apis
def test_a_pause_lets_go_of_all_that_has_a_form(api):
    script = Script(
        "a", ToolCall("f", '{"a":'), Pause(1), ToolCall(arguments="1}"), Pause(1), Finish("length"), Pause(1)
    )
    kinds = [len(lines_of(step)) if isinstance(step, bytes) else step.seconds for step in steps(api, script)]

    assert kinds == [1, 1, 1, 1, 1, 1]
    assert lines_of(encoded(api, script))[-1]["done_reason"] == "length"


@apis
def test_what_waits_and_what_an_unfinished_stream_says(api):
    raw = Script(ToolCall("f", "{"), Raw("\n"), ToolCall(arguments="}"), Raw("x\n"), Finish(), Raw("y\n"))
    texts = encoded(api, raw).decode().split("\n")
    assert (texts[0], "arguments" in texts[1], texts[2], '"done":true' in texts[3], texts[4]) == (
        "",
        True,
        "x",
        True,
        "y",
    )
    unfinished = lines_of(encoded(api, Script("a", Usage(3, 2), disconnect("end"))))
    assert (unfinished[-1]["done"], unfinished[-1]["eval_count"], "done_reason" in unfinished[-1]) == (False, 2, False)
    assert lines_of(encoded(api, Script("a", disconnect("end")))) == lines_of(encoded(api, Script("a")))[:1]
    assert encoded(api, Script("a", disconnect("cut"))).count(b"\n") == 1
    error = Script("a", provider_error("no <way>"))
    assert lines_of(encoded(api, error))[1] == {"error": "no <way>"}


def test_what_the_last_line_says_beside_its_reason():
    script = Script(
        "a",
        Finish("length", extra={"context": [7]}, beside={"remote_model": "r"}),
        Usage(0, 2, extra={"load_duration": 5}),
    )
    last = lines_of(encoded("generate", script))[-1]

    assert (last["context"], last["remote_model"], last["load_duration"], last["done_reason"]) == (
        [7],
        "r",
        5,
        "length",
    )
    assert "prompt_eval_count" not in last
    assert "context" not in lines_of(encoded("generate", Script("a"), raw=True))[-1]


@each(
    ("api", "script", "fields"),
    [
        ("chat", Script("a", Native("ollama.chat", {"message": {"images": ["AA=="]}}), "b"), {}),
        ("generate", Script(Native("ollama.generate", {"completed": 1, "total": 9}), "b"), {}),
        ("chat", Script("a", "b"), {"logprobs": True, "top_logprobs": 2}),
        ("chat", Script(), {}),
        ("chat", Script(Text("a", choice=1), Finish("length")), {}),
        ("chat", Script(ToolCall("f", "no json"), Refusal("no")), {}),
        ("generate", Script(Finish("load")), {}),
    ],
)
def test_all_that_a_script_can_say_breaks_no_rule_and_is_read(api, script, fields):
    body = encoded(api, script, **fields)
    again = CODECS[api].decode(body)

    assert found(body, api) == []
    assert lines_of(encoded(api, again)) == lines_of(body)
    json.loads(CODECS[api].body(script, request(api, **fields), 1))


@apis
@strategies.fewer(3)
@given(strategies.small_scripts | strategies.scripts)
def test_any_script_is_written_read_and_written_alike(api, script):
    body = encoded(api, script)
    if isinstance(script.fault, provider_error) or script.fault is None:
        assert found(body, api) == []
    again = CODECS[api].decode(body) if body else Script()
    if script.fault is None:
        text = "".join(event.text for event in script if isinstance(event, (Text, Refusal)))
        assert (again.text, again.reasoning) == (text, script.reasoning)
        assert encoded(api, again) == encoded(api, CODECS[api].decode(encoded(api, again)))
        assert again.usage is None or script.usage is None or again.usage.output_tokens == script.usage.output_tokens
    decoder = CODECS[api].decoder()
    events = [event for at in range(0, len(body), 3) for event in decoder.feed(body[at : at + 3])]
    assert legal_or_not([*events, *decoder.close()]) == CODECS[api].decode(body)
    json.loads(CODECS[api].body(Script(*(e for e in script if isinstance(e, (Content, Usage)))), request(api), 1))


# -- recordings and what is read ----------------------------------------------------------------------


def recorded():
    for row in corpus.manifest():
        for stream in row["streams"]:
            if stream["provider"] == "ollama":
                yield pytest.param(row["file"], stream, id=row["file"])


@corpus.needs_corpus
@each(("file", "stream"), list(recorded()))
def test_a_recorded_stream_is_read_and_written_again(file, stream):
    api = stream["api"].partition(".")[2]
    body = corpus.body(file, stream["idx"])
    script = CODECS[api].decode(body)
    volatile = ("created_at", "model")

    def plain(lines):
        return [{name: value for name, value in line.items() if name not in volatile} for line in lines]

    assert (script.fault, script.allow_illegal, script.finish_reason) == (None, False, "stop")
    assert plain(lines_of(encoded(api, script))) == plain(lines_of(body))
    assert found(body, api, content_type="application/x-ndjson", status=200) == []
    for size in (1, 7, 64):
        decoder = CODECS[api].decoder()
        events = [event for at in range(0, len(body), size) for event in decoder.feed(body[at : at + size])]
        assert Script(*events, *decoder.close()) == script


def line(**fields):
    return json.dumps({"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": False, **fields}).encode() + b"\n"


def test_what_other_servers_say_is_read():
    body = line(
        message={"role": "assistant", "content": "a", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
    )
    body += line(message={"content": "b", "images": ["AA=="]}, done=True)
    assert list(ChatCodec().decode(body)) == list(
        Script("a", ToolCall("f"), "b", Native("ollama.chat", '{"message":{"images":["AA=="]}}'),
               Finish("stop", extra='{"done_reason":null}'))
    )  # fmt: skip
    assert list(GenerateCodec().decode(line(response="a"))) == [Text("a"), disconnect("end")]
    assert list(GenerateCodec().decode(line(response="a")[:-2])) == [disconnect("cut")]
    assert list(ChatCodec().decode(b'{"error":{"message":"x"}}\n{"done":')) == [provider_error("x")]
    assert list(ChatCodec().decode(b"")) == [disconnect("end")]


@each(
    "body",
    [b"x\n", b"[1]\n", b'{"done":"no"}\n', b'{"done":true,"eval_count":-1}\n', b'{"message":3}\n', b"\xff\n",
     b'{"message":{"content":["a"]}}\n', b"[" * 100_000 + b"\n", b'{"message":{"tool_calls":[{"function":{"arguments":"x"}}]}}\n'],
)  # fmt: skip
def test_what_is_no_stream_raises_a_wire_error_and_nothing_else(body):
    with pytest.raises(WireError):
        ChatCodec().decode(body)


@given(
    st.binary(max_size=60)
    | st.lists(st.sampled_from([b"{", b"}", b'"message"', b":", b"{}", b"\n", b"1", b"true"])).map(b"".join)
)
def test_any_bytes_are_read_or_refused(body):
    for api, codec in CODECS.items():
        check_wire(body, api=f"ollama_{api}")
        try:
            codec.decode(body)
        except WireError:
            continue


# -- requests -----------------------------------------------------------------------------------------


def test_a_request_in_neutral_words():
    call = {"function": {"name": "f", "arguments": {"a": 1}}}
    messages = [
        {"role": "system", "content": "S"},
        {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [call]},
        {"role": "tool", "content": "42", "tool_name": "f"},
    ]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    asked = request(messages=messages, tools=tools, think="high", keep_alive="5m")

    assert (asked.api, asked.model, asked.stream, asked.tools) == ("ollama.chat", "m", True, ("f",))
    assert (asked.text, asked.messages[1].tool_calls[0].args, asked.messages[2].tool_call_id) == ("42", {"a": 1}, "f")
    assert asked.options == {"think": "high", "keep_alive": "5m"}
    generate = request("generate", system="S", stream=False, options={"seed": 1})
    assert (generate.prompt, generate.stream, generate.options) == ("S\nhi there", False, {"options": {"seed": 1}})


BAD = [
    ("chat", {"messages": "hi"}, "string into Go struct field ChatRequest.messages of type []api.Message"),
    ("chat", {"messages": ["hi"]}, "string into Go struct field ChatRequest.messages of type api.Message"),
    ("chat", {"messages": [{"content": [{"type": "text"}]}]}, "array into Go struct field ChatRequest.messages.content"),
    ("chat", {"messages": [{"images": [1]}]}, "number into Go struct field ChatRequest.messages.images"),
    ("chat", {"stream": "yes"}, "string into Go struct field ChatRequest.stream of type bool"),
    ("chat", {"model": None}, "model is required"),
    ("chat", {"tools": {}}, "object into Go struct field ChatRequest.tools of type api.Tools"),
    ("chat", {"options": []}, "array into Go struct field ChatRequest.options"),
    ("chat", {"top_logprobs": 21}, "top_logprobs must be between 0 and 20"),
    ("chat", {"keep_alive": "soon"}, 'time: invalid duration "soon"'),
    ("chat", {"keep_alive": "5"}, 'time: invalid duration "5"'),
    ("chat", {"think": 1}, "number into Go struct field ChatRequest.think"),
    (
        "chat", {"messages": [{"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]},
        "Value looks like object, but can't find closing '}' symbol",
    ),
    ("generate", {"prompt": 1}, "number into Go struct field GenerateRequest.prompt of type string"),
    ("generate", {"model": ""}, "model is required"),
    ("generate", {"raw": True, "system": "s"}, "raw mode does not support template, system, or context"),
    ("generate", {"top_logprobs": True}, "bool into Go struct field GenerateRequest.top_logprobs of type int"),
]  # fmt: skip


@each(("api", "fields", "words"), BAD)
def test_bad_input_gets_ollamas_own_error(api, fields, words):
    with intercept(FakeProvider("ollama")):
        answer = httpx2.post(f"{HERE}/api/{api}", json={**ASKED[api], **fields})
    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert words in answer.json()["error"]


@each("body", [b"", b"{", b"[]", b'"x"', b"null", b'{"messages":[null]}', b'{"prompt":null}', b"[" * 100_000])
def test_a_body_that_is_no_object(body):
    with intercept(FakeProvider("ollama")):
        for api in ASKED:
            answer = httpx2.post(f"{HERE}/api/{api}", content=body)
            assert (answer.status_code, list(answer.json())) == (400, ["error"])


@each(
    ("keep_alive", "reason"),
    [
        (None, "load"),
        ("5m", "load"),
        (0, "unload"),
        ("0s", "unload"),
        ("0", "unload"),
        ("1m0.5s", "load"),
        (-1, "load"),
    ],
)
def test_a_request_without_a_prompt_loads_the_model_and_needs_no_reply(keep_alive, reason):
    with intercept(FakeProvider("ollama")) as interception:
        for api, empty in (("chat", {"messages": []}), ("generate", {"prompt": ""})):
            answer = httpx2.post(f"{HERE}/api/{api}", json={**ASKED[api], **empty, "keep_alive": keep_alive}).json()
            assert (answer["done"], answer["done_reason"]) == (True, reason)
    interception.providers[0].verify()


# -- where it answers ---------------------------------------------------------------------------------


@each(
    ("url", "is_its"),
    [
        (f"{HERE}/api/tags", True),
        ("http://localhost:11434/api/version", True),
        ("http://[::1]:11434/api/ps", True),
        ("http://gpu-box:11434/api/tags", True),
        ("https://ollama.com/api/tags", True),
        ("https://gateway.example/x/api/chat", True),
        ("http://127.0.0.1:8000/api/chat", False),
        ("http://127.0.0.1:8000/api/tags", False),
        ("https://gateway.example/api/tags", False),
    ],
)
def test_it_answers_at_its_port_and_by_the_path_but_not_for_other_servers_of_this_machine(url, is_its):
    method = "POST" if url.endswith("chat") else "GET"
    assert FakeProvider("ollama").claims(method, url) is is_its


def by_hand():
    with socket.socket() as sock:
        sock.connect_ex(("127.0.0.1", 9999))


def by_name():
    socket.create_connection(("localhost", 11434))


def by_urllib():
    urllib.request.urlopen(f"{HERE}/api/tags")


@each("connect", [by_urllib, by_name, by_hand])
def test_a_server_that_runs_here_is_not_asked_by_a_library_that_the_fake_does_not_answer(connect):
    with intercept(FakeProvider("ollama", hosts=["127.0.0.1:9999"])), pytest.raises(UnexpectedRequestError) as miss:
        connect()
    assert "is a server of ollama, which is faked" in str(miss.value)


@each(
    ("value", "place"),
    [
        ("", ""), ("127.0.0.1", "127.0.0.1:11434"), ("0.0.0.0", "0.0.0.0:11434"), (":8080", "127.0.0.1:8080"),
        ("http://gpu", "gpu"), ("gpu/path", "gpu:11434"), ("[::1]", "[::1]:11434"), ("https://a:b@gpu:1", "gpu:1"),
        ("localhost:99999", ""), ("localhost:9", "localhost:9"),
    ],
)  # fmt: skip
def test_where_ollama_host_leads(value, place):
    assert service_of("ollama").place_of(value) == place
    assert service_of("openai").place_of("http://gpu:1/v1") == "gpu:1"


# -- the grammar --------------------------------------------------------------------------------------


def edited(place, **fields):
    """Return an edit of a line of a stream of `RICH`."""

    def edit(lines):
        lines[place] = {**lines[place], **fields}

    return edit


def chat_call(call):
    return edited(3, message={"role": "assistant", "content": "", "tool_calls": [call]})


BROKEN = [
    ("shape", edited(1, model=3), 2, "model"),
    ("shape", edited(1, message=None), 2, "message"),
    ("shape", edited(1, message={"role": "assistant", "content": 3}), 2, "message.content"),
    ("shape", edited(0, message={"role": "assistant", "content": "", "thinking": []}), 1, "message.thinking"),
    ("created", edited(1, created_at=5), 2, "created_at"),
    ("created", edited(1, created_at="yesterday"), 2, "created_at"),
    ("same_model", edited(1, model="other"), 2, "model"),
    ("call", chat_call({"function": {"name": "f", "arguments": "{}"}}), 4, "message.tool_calls[0].function.arguments"),
    ("call", chat_call({"function": {"arguments": {}}}), 4, "message.tool_calls[0].function.name"),
    ("usage", edited(-1, eval_count=-1), 6, "eval_count"),
    ("usage", edited(-1, total_duration="1s"), 6, "total_duration"),
    ("reason", edited(-1, done_reason=""), 6, "done_reason"),
    ("reason", edited(1, done_reason="stop"), 2, "done_reason"),
    ("finish", lambda lines: lines.pop(), None, ""),
    ("done", edited(2, done=True, done_reason="stop"), 4, ""),
    ("error", lambda lines: lines.insert(1, {"error": "no"}), 3, ""),
    ("error", lambda lines: lines.__setitem__(slice(1, None), [{"error": 3}]), 2, "error"),
]
FRAMES = [
    ("stream", lambda _: b"", None),
    ("stream", lambda body: b"data: " + body, None),
    ("stream", lambda _: b"<html></html>", None),
    ("utf8", lambda body: body.replace(b"Hel", b"\xff"), 2),
    ("utf8", lambda body: b"\xef\xbb\xbf" + body, 1),
    ("json", lambda body: body.replace(b"\n", b",\n", 1), 1),
    ("blank", lambda body: body.replace(b"\n", b"\n\n", 1), None),
    ("whole", lambda body: body[:-20], 6),
    ("line_end", lambda body: body[:-1], 6),
]


@each(("rule", "edit", "event", "path"), BROKEN)
def test_a_broken_rule_is_found_at_its_place_and_no_other(rule, edit, event, path):
    lines = lines_of(encoded("chat", RICH))
    edit(lines)
    body = b"".join(json.dumps(one).encode() + b"\n" for one in lines)

    assert found(body) == [(f"ollama_chat.{rule}", event, path)]
    assert found(body, ignore=[f"ollama_chat.{rule}"]) == []
    assert check_wire((bytes([byte]) for byte in body), api="ollama_chat") == check_wire(body, api="ollama_chat")


@each(("rule", "edit", "event"), FRAMES)
def test_a_broken_frame_is_found(rule, edit, event):
    body = edit(encoded("chat", RICH))

    assert found(body) == [(f"ndjson.{rule}", event, "")]
    assert check_wire((bytes([byte]) for byte in body), api="ollama_chat") == check_wire(body, api="ollama_chat")


def test_each_rule_was_broken():
    broken = {f"ollama_chat.{rule}" for rule, *_ in BROKEN} | {f"ndjson.{rule}" for rule, *_ in FRAMES}

    assert {rule.id for rule in rules_of("ollama_chat")} == broken | {"ndjson.content_type"}
    assert found(encoded("chat", RICH), content_type="text/event-stream") == [
        ("ndjson.content_type", None, "content-type")
    ]
    assert found(encoded("generate", RICH), "generate") == found(encoded("chat", RICH).replace(b"\n", b"\r\n")) == []


# -- elsewhere in the house ---------------------------------------------------------------------------


@apis
def test_a_body_in_a_file_of_its_own_is_a_script(api, tmp_path):
    path = tmp_path / "answer.jsonl"
    path.write_bytes(encoded(api, RICH))

    assert kind_of_chunks(lines_of(path.read_bytes())) == f"ollama.{api}"
    assert script_of(path) == CODECS[api].decode(path.read_bytes())


@apis
def test_what_a_chunk_says_as_plain_data(api):
    *lines, last = lines_of(encoded(api, RICH))

    assert "".join(map(text_of, lines)) == "Hello \u2028\x85<"
    assert (finish_of(lines[0]), finish_of(last)) == (None, "stop")
    assert (usage_of(lines[0]), usage_of(last)) == (None, (12, 9))
