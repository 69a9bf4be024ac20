"""What is asserted of loops: the tools that were called, their arguments, steps, tokens, cost; of fakes and of tapes."""

from __future__ import annotations

import json
import re

import pytest
from loops import LOOPS, SCHEMAS, loop
from places import ROOT

from fakellm import FakeChatModel, FakeProvider, Script, ToolCall, Usage, disconnect
from fakellm.agents import calls, check_loop, conversation, loops_of, result, says, tools_called, user
from fakellm.cassette import CassetteError, Tape, interaction_of, write
from fakellm.http import intercept, playing
from fakellm.provider import Timeouts
from fakellm.server import FakeServer
from fakellm.wire.said import said_in

CHAT = "https://api.openai.com/v1/chat/completions"
TOOLS = [{"type": "function", "function": {"name": n, "parameters": schema}} for n, schema in SCHEMAS.items()]
STEPS = (
    user("Rain?"),
    calls("weather", city="Paris"),
    calls("clock", zone="CET"),
    result(),
    result(),
    calls("weather", city="Rome"),
    result(),
    says("Paris."),
)


def ask(fake, messages, tools=TOOLS, model="gpt-5-2025-08-07"):
    body = {"model": model, "messages": messages, **({"tools": tools} if tools else {})}
    exchange = fake.handle("POST", CHAT, {}, json.dumps(body).encode())
    return json.loads(exchange.as_whole())["choices"][0]["message"]


def said(text, role="user"):
    return {"role": role, "content": text}


def run(fake, text="Rain?", resend=lambda messages: messages, **options):
    """Run a loop that knows the answer to every call."""
    messages = [said("Be brief.", "system"), said(text)]
    while True:
        messages = resend(messages)
        messages.append(ask(fake, messages, **options))
        if not messages[-1].get("tool_calls"):
            return messages
        messages += [{"role": "tool", "tool_call_id": c["id"], "content": "ok"} for c in messages[-1]["tool_calls"]]


def problems(source, **options):
    with pytest.raises(AssertionError) as error:
        check_loop(source, **options)
    return str(error.value)


# -- of whom ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", LOOPS)
def test_the_tools_that_were_called(api):
    fake = FakeProvider(LOOPS[api][0]).play(conversation(*STEPS))

    with intercept(fake):
        loop(api)
    called = tools_called(fake)

    assert called == ["weather", "clock", "weather"]
    assert [one.args for one in called] == [{"city": "Paris"}, {"zone": "CET"}, {"city": "Rome"}]
    assert [one.step for one in called] == [1, 1, 2]
    assert ["light rain" in called[0].result, "noon in CET" in called[1].result] == [True, True]
    check_loop(fake, max_steps=3)


def test_of_what_a_function_says():
    pieces = [ToolCall("weather", '{"city": '), ToolCall(None, '"Paris"'), ToolCall(None, "}")]
    fake = FakeProvider("openai").when(None, lambda _: pieces, turn=1).otherwise(lambda _: "ok")

    with intercept(fake):
        loop("openai.chat")

    assert [(one, one.args) for one in tools_called(fake)] == [("weather", {"city": "Paris"})]
    assert loops_of(fake)[0].usage.output_tokens == 4


def test_of_a_long_stream_what_the_app_sent_back():
    words = [ToolCall("weather", '{"city": "'), *(ToolCall(None, "x") for _ in range(99)), ToolCall(None, '"}')]
    fake = FakeProvider("openai").reply(lambda _: words).reply("ok")

    asked = {"model": "m", "messages": [said("?")], "stream": True}
    exchange = fake.handle("POST", CHAT, {}, json.dumps(asked).encode())
    for action in exchange.body(Timeouts()):
        list(action)
    call = {"id": "call_0", "function": {"name": "weather", "arguments": json.dumps({"city": "x" * 99})}}
    result_of_it = {"role": "tool", "tool_call_id": "call_0", "content": "rain"}
    ask(fake, [said("?"), {"role": "assistant", "tool_calls": [call]}, result_of_it])

    assert [(one.args, one.result) for one in tools_called(fake)] == [({"city": "x" * 99}, "rain")]


def test_of_a_fake_model():
    model = FakeChatModel().play(conversation(*STEPS))
    messages = [said("Rain?")]
    while (answer := model.invoke(messages, tools=TOOLS)).tool_calls:
        results = [{"role": "tool", "tool_call_id": call.id, "content": "ok"} for call in answer.tool_calls]
        messages += [answer, *results]

    assert tools_called(model) == ["weather", "clock", "weather"]
    check_loop(model, max_steps=3)
    assert "called, and the app offers weather, clock" in problems(_calls_unknown(model))


def _calls_unknown(model):
    model = FakeChatModel(ToolCall("stocks"))
    model.invoke("?", tools=TOOLS)
    return model


def test_of_a_server(monkeypatch):
    with FakeServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url("openai"))
        server.openai.play(conversation(*STEPS))
        loop("openai.chat")

    assert tools_called(server) == tools_called(server.openai) == ["weather", "clock", "weather"]
    assert tools_called(server.openai.calls) == tools_called(server.sessions.own.log) == tools_called(server)
    server.verify()


def recorded(path):
    """Write a tape of a loop, streamed and not."""
    first = [said("Rain?")]
    call = ToolCall("weather", {"city": "Paris"}, id="c1")
    back = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    second = [
        *first,
        {"role": "assistant", "tool_calls": [back]},
        {"role": "tool", "tool_call_id": "c1", "content": "no"},
    ]
    write(
        path,
        interaction_of(Script(call, Usage(20, 5)), CHAT, {"model": "m", "messages": first, "tools": TOOLS}),
        interaction_of(
            Script("No", ".", Usage(40, 2)),
            CHAT,
            {
                "model": "m",
                "messages": second,
                "tools": TOOLS,
                "stream": True,
                "stream_options": {"include_usage": True},
            },
        ),
    )
    return first, second


def test_of_a_conversation_as_it_is_written():
    talk = conversation(*STEPS)
    fake = FakeProvider("openai").play(talk)
    run(fake)

    assert tools_called(talk) == tools_called(fake) == ["weather", "clock", "weather"]
    assert [one.args for one in tools_called(talk)] == [one.args for one in tools_called(fake)]
    check_loop(talk, max_steps=3)
    assert "the model is asked 3 times" in problems(talk, max_steps=2)


def test_of_a_tape(tmp_path):
    path = tmp_path / "tape.yaml"
    recorded(path)

    for source in (path, str(path)):
        (found,) = loops_of(source)
        assert [(one, one.args, one.result) for one in found.tools_called] == [("weather", {"city": "Paris"}, "no")]
        assert (len(found), found.prompts, found.usage) == (2, [20, 40], Usage(60, 7, 0, 0))
        check_loop(source, max_steps=2, max_tokens=67)
    with Tape(path, mode="none").open() as tape:
        assert tools_called(tape) == ["weather"]
    assert "it takes 67 tokens, and max_tokens is 66" in problems(path, max_tokens=66)


FUNCTION = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}"}
CUSTOM = {"id": "call_1", "type": "custom", "custom": {"name": "f", "input": "x"}}
SERVERS = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
USED = {"type": "tool_use", "id": "call_1", "name": "f", "input": {}}
PLAIN = [
    ({"output": [{"type": "mcp_call", "id": "mcp_1", "name": "g", "arguments": "{}", "server_label": "a"}, FUNCTION]}, "{}"),
    ({"choices": [{"message": {"content": None, "tool_calls": [CUSTOM]}}]}, "x"),
    ({"content": [SERVERS, USED]}, "{}"),
    ({"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "id": "call_1"}}]}}]}, "{}"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "arguments"), PLAIN)
def test_what_a_plain_answer_calls_has_the_id_that_results_name(answer, arguments):
    (call,) = (event for event in said_in(json.dumps(answer).encode()) if isinstance(event, ToolCall))
    assert (call.name, call.id, call.arguments) == ("f", "call_1", arguments)


def test_of_a_tape_that_the_app_asks(tmp_path):
    import httpx

    first, _ = recorded(tmp_path / "tape.yaml")
    with playing(Tape(tmp_path / "tape.yaml", mode="none")) as tape:
        httpx.post(CHAT, json={"model": "m", "messages": first, "tools": TOOLS})
        assert tools_called(tape.calls) == ["weather"]


def test_of_recordings_of_real_servers():
    folder = ROOT / "cassettes" / "servers"

    assert [one.args["city"] for one in tools_called(folder / "vllm-tools-parallel.yaml")] == ["Paris", "Rome"]
    assert tools_called(folder / "llama-messages-reasoning-tool.yaml") == ["get_weather"]
    assert [one.args["city"] for one in tools_called(folder / "llama-tools-n2.yaml")] == ["Paris", "Rome"]
    (found,) = loops_of(folder / "llama-responses-text-tool.yaml")
    assert (found.tools_called, found.usage.total_tokens) == (["get_time"], 161)


@pytest.mark.parametrize(
    ("source", "error", "what"),
    [
        (3, TypeError, "3 has no calls: give a fake"),
        ([3], TypeError, "3 is no call of a fake"),
        ("none.yaml", CassetteError, "there is no such file"),
    ],
)
def test_of_anything_else(source, error, what):
    with pytest.raises(error, match=re.escape(what)):
        tools_called(source)


# -- loops --------------------------------------------------------------------------------------------------


def test_interleaved_loops_are_told_apart():
    fake = FakeProvider("openai")
    for city in ("Paris", "Rome"):
        fake.play(conversation(user(city), calls("weather", city=city), result(), says(city)))
    running = [[said("Paris?")], [said("Rome?")]]
    for _ in range(2):
        for messages in running:
            answer = ask(fake, messages)
            messages.append(answer)
            messages += [
                {"role": "tool", "tool_call_id": c["id"], "content": "ok"} for c in answer.get("tool_calls") or ()
            ]

    assert [[one.args["city"] for one in found.tools_called] for found in loops_of(fake)] == [["Paris"], ["Rome"]]
    assert [one.args["city"] for one in tools_called(fake)] == ["Paris", "Rome"]
    check_loop(fake, max_steps=2)
    assert "loop 2, the model is asked 2 times" in problems(fake, max_steps=1)


def test_an_answer_that_breaks_is_no_step():
    fake = FakeProvider("openai").play(
        conversation(
            user("Rain?"), says("Hel", disconnect("end")), calls("weather", city="Paris"), result(), says("ok")
        )
    )
    first = {"model": "m", "messages": [said("Rain?")], "tools": TOOLS, "stream": True}
    fake.handle("POST", CHAT, {}, json.dumps(first).encode())
    with intercept(fake):
        loop("openai.chat")

    assert [len(found) for found in loops_of(fake)] == [2]
    fake.verify()


def test_results_find_their_calls_by_the_ids_that_the_app_made_up():
    url = "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent"
    fake = FakeProvider("gemini").reply(ToolCall("f"), ToolCall("f")).reply("ok")
    called = [{"functionCall": {"name": "f", "args": {}, "id": id}} for id in "ab"]
    results = [{"functionResponse": {"name": "f", "id": id, "response": {"result": id}}} for id in "ba"]
    contents = [{"role": "user", "parts": [{"text": "?"}]}]
    for more in ([{"role": "model", "parts": called}, {"role": "user", "parts": results}], []):
        fake.handle("POST", url, {}, json.dumps({"contents": contents}).encode())
        contents += more

    assert [one.result for one in tools_called(fake)] == ['{"result": "a"}', '{"result": "b"}']


def test_a_loop_whose_history_the_provider_keeps():
    fake = FakeProvider("openai").play(conversation(*STEPS))
    with intercept(fake):
        loop("openai.responses", kept=True)

    (found,) = loops_of(fake)
    assert (len(found), found.tools_called) == (3, ["weather", "clock", "weather"])
    check_loop(fake)


def test_what_a_loop_costs():
    fake = FakeProvider("openai").reply(ToolCall("weather", {"city": "a"}), Usage(1000, 100, cached_tokens=400))
    run(fake.reply("ok", Usage(2000, 10)))
    (found,) = loops_of(fake)

    assert found.cost({"gpt": (9, 9), "gpt-5": (1.0, 10.0)}) == pytest.approx(0.0041)
    assert found.cost({"gpt-5": (1.0, 10.0, 0.1)}) == pytest.approx(0.00374)
    check_loop(fake, max_cost=0.01, prices={"gpt-5": (1.0, 10.0)})
    text = problems(fake, max_cost=0.001, prices={"gpt-5": (1.0, 10.0)}, max_prompt=1500, max_growth=500, max_tokens=99)
    assert "it costs 0.0041, and max_cost is 0.001" in text
    assert "request 2: the prompt has 2000 tokens, and max_prompt is 1500" in text
    assert "request 2: the prompt grew by 1000 tokens, and max_growth is 500" in text
    assert "it takes 3110 tokens, and max_tokens is 99" in text
    assert "4 things wrong with the loop" in text
    assert "2 requests, weather called; prompts of 1000, 2000 tokens" in text
    with pytest.raises(ValueError, match="the prices have no model 'gpt-5-2025-08-07'; they have claude"):
        found.cost({"claude": (1, 2)})
    for price in (1, (1,), "12", {"input": 1, "output": 2}):
        with pytest.raises(ValueError, match="the price of 'gpt-5' is two numbers, or three, of a million tokens"):
            found.cost({"gpt-5": price})


# -- what is right of every loop -------------------------------------------------------------------------

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"enum": ["C", "F"]},
        "days": {"type": "array", "items": {"$ref": "#/$defs/day"}},
    },
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"day": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}},
}
ARGUMENTS = [
    ({"city": 3}, "city is 3, and is to be of the type string"),
    ({}, "the arguments: city is missing"),
    ({"city": "a", "town": "b"}, "there is no town; there are city, unit, days"),
    ({"city": "a", "unit": "K"}, "unit is 'K', and is to be one of 'C', 'F'"),
    ({"city": "a", "days": [{"n": 1}, {"n": "x"}]}, "days[1].n is 'x', and is to be of the type integer"),
    ({"city": "a", "days": [{}]}, "days[0]: n is missing"),
    ('{"city": ', "the arguments are no JSON object"),
    ("[1]", "the arguments are no JSON object"),
]


@pytest.mark.parametrize(("arguments", "problem"), ARGUMENTS)
def test_arguments_that_the_schema_refuses(arguments, problem):
    fake = FakeProvider("openai").reply(ToolCall("weather", arguments))
    offered = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
    ask(fake, [said("?")], offered)

    text = problems(fake)

    assert f"{problem}" in text
    assert "request 1: weather(" in text
    check_loop(fake, allow=["refused_arguments"])


def test_arguments_that_fit():
    fake = FakeProvider("openai").reply(ToolCall("weather", {"city": "a", "unit": "C", "days": [{"n": 1}]}))
    ask(fake, [said("?")], [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}])

    check_loop(fake)


def test_a_custom_tool_takes_any_text():
    fake = FakeProvider("openai").reply(ToolCall("sql", "select 1"))
    ask(fake, [said("?")], [{"type": "custom", "custom": {"name": "sql"}}])

    check_loop(fake)


def test_a_tool_that_was_not_offered():
    fake = FakeProvider("openai").reply(ToolCall("stocks", {"of": "x"})).reply(ToolCall("weather", {"city": "x"}))
    ask(fake, [said("?")])
    ask(fake, [said("!")], None)

    text = problems(fake)

    assert "loop 1, request 1: stocks(of='x') is called, and the app offers weather, clock" in text
    assert "loop 2, request 2: weather(city='x') is called, and the app offers none" in text


def test_a_loop_that_goes_on_without_a_result():
    fake = (
        FakeProvider("openai").reply(ToolCall("weather", {"city": "a"}), ToolCall("weather", {"city": "b"})).reply("ok")
    )
    answer = ask(fake, [said("?")])
    ask(fake, [said("?"), answer, {"role": "tool", "tool_call_id": answer["tool_calls"][1]["id"], "content": "x"}])

    assert "request 2: it goes on without the result of weather(city='a')" in problems(fake)


DOUBLED = [
    (
        lambda messages: [*messages, *messages[:3]] if len(messages) > 3 else messages,
        "answers more than the model gave",
    ),
    (lambda messages: [said("Be brief.", "system"), *messages], "the system message is there 3 times"),
    (
        lambda messages: [*messages, messages[-1]] if len(messages) > 3 else messages,
        "the result of call_0 is there 2 times",
    ),
]


@pytest.mark.parametrize(("resend", "problem"), DOUBLED)
def test_a_prompt_that_grows_without_bound(resend, problem):
    fake = FakeProvider("openai").reply(ToolCall("weather", {"city": "a"}, id="call_0"))
    fake.reply(ToolCall("weather", {"city": "b"}, id="call_1")).reply("ok")
    run(fake, resend=resend)

    assert problem in problems(fake)
    check_loop(fake, allow=["said_twice", "missing_result"])


def test_a_prompt_that_grows_by_what_is_new_is_right():
    fake = FakeProvider("openai")
    for number in range(5):
        fake.reply(ToolCall("weather", {"city": str(number)}, id=f"call_{number}"))
    run(fake.reply("ok"))

    check_loop(fake, max_steps=6)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"allow": ["x"]}, "there is no rule 'x' to allow; there are unknown_tool, refused_arguments"),
        ({"max_cost": 1}, "max_cost needs prices"),
        ({}, "no model was asked, so nothing is proven"),
    ],
)
def test_what_cannot_be_checked(options, what):
    with pytest.raises(ValueError, match=re.escape(what)):
        check_loop(FakeProvider("openai"), **options)
