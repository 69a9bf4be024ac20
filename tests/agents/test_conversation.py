"""Conversations: a fake says the model's side, whichever API is asked, and finds where the app leaves its own."""

from __future__ import annotations

import copy
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from loops import LOOPS, loop

from fakellm import FakeChatModel, FakeProvider, ToolCall, http_error
from fakellm.agents import calls, check_loop, conversation, loops_of, result, says, tools_called, user
from fakellm.errors import (
    BrokenReplyError,
    ScriptError,
    SwallowedCallError,
    UnexpectedCallError,
    UnexpectedRequestError,
    UnusedRepliesError,
)
from fakellm.http import intercept
from fakellm.models import FakeLLM

GOOGLE = "https://generativelanguage.googleapis.com/v1beta"
CHAT = "https://api.openai.com/v1/chat/completions"
RAIN = conversation(user("Rain?"), calls("weather", city="Paris"), result("light rain"), says("Take an umbrella."))
PARALLEL = conversation(
    user("Rain?"),
    says("Both."),
    calls("weather", city="Paris"),
    calls("clock", zone="CET"),
    result("light rain"),
    result("noon in CET"),
    says("Go now."),
)
each_api = pytest.mark.parametrize("api", LOOPS)


def ask(fake, *messages, **fields):
    """Ask a fake of OpenAI's, and return the message that it answers."""
    body = {"model": "m", "messages": list(messages), **fields}
    exchange = fake.handle("POST", CHAT, {}, json.dumps(body).encode())
    return json.loads(exchange.as_whole())["choices"][0]["message"] if exchange.status == 200 else exchange.status


def missed(fake, *messages, **fields):
    with pytest.raises(UnexpectedRequestError) as error:
        ask(fake, *messages, **fields)
    return str(error.value)


def said(text, role="user"):
    return {"role": role, "content": text}


def of_tool(text, id="call_1"):
    return {"role": "tool", "tool_call_id": id, "content": text}


def fake_with(*conversations):
    return FakeProvider("openai").play(*conversations)


def begun(*conversations, text="Rain?"):
    """Return a fake that has called the tool, and the messages so far."""
    fake = fake_with(*conversations)
    return fake, [said(text), ask(fake, said(text))]


# -- whichever API -------------------------------------------------------------------------------------


@each_api
@pytest.mark.parametrize("talk", [RAIN, PARALLEL], ids=["one call", "parallel calls"])
def test_the_official_sdks_go_through_a_conversation(api, talk):
    fake = FakeProvider(LOOPS[api][0]).play(talk)

    with intercept(fake):
        answer = loop(api)

    assert answer == talk.steps[-1].parts[0]
    assert len(fake.calls) == 2
    fake.verify()


def without_one(messages):
    """Leave out one of two parallel results, wherever the API has them."""
    last = messages[-1]
    if getattr(last, "parts", None):
        return [*messages[:-1], last.model_copy(update={"parts": last.parts[:1]})]
    if isinstance(last.get("content"), list):
        return [*messages[:-1], {**last, "content": last["content"][:1]}]
    return messages[:-1]


@pytest.mark.exhaustive
@each_api
def test_one_of_two_parallel_results_is_missing(api):
    fake = FakeProvider(LOOPS[api][0]).play(PARALLEL)

    with intercept(fake), pytest.raises(UnexpectedRequestError) as error:
        loop(api, send=lambda messages: without_one(messages) if len(messages) > 1 else messages)

    text = str(error.value)
    assert "request 2 to the fake" in text
    assert "leaves the conversation at step 6 of 7: a result is missing" in text
    assert re.search(r"expected the result of clock\(zone='CET'\)( \[\w+\])?: 'noon in CET'", text)
    assert re.search(r"came     the result of weather\(city='Paris'\)", text)
    assert re.search(r"so far: +user: +Rain\?\n +model: Both\., calls weather\(city='Paris'\)", text)
    assert "7  says('Go now.')" in text


@each_api
def test_another_result_comes_back(api):
    fake = FakeProvider(LOOPS[api][0]).play(RAIN)

    with intercept(fake), pytest.raises(UnexpectedRequestError, match="step 3 of 4: another result came") as error:
        loop(api, tools={"weather": lambda city: f"snow in {city}"})

    assert "'light rain'" in str(error.value)
    assert "snow in Paris" in str(error.value)


def test_what_the_provider_keeps_is_gone_on_with():
    rome = conversation(user("Rain?"), calls("weather", city="Rome"), result("sun"), says("No."))
    fake = fake_with(RAIN, rome)

    with intercept(fake):
        answers = [loop("openai.responses", kept=True) for _ in range(2)]

    assert answers == ["Take an umbrella.", "No."]
    fake.verify()


def test_what_is_kept_is_told_apart_where_ids_are_made_of_requests():
    talks = [conversation(user(f"Rain in {x}?"), calls("weather", city="Paris"), result(), says(x)) for x in "abc"]
    fake = fake_with(*talks)
    fake.answers_alike = True

    def sent(**fields):
        body = json.dumps({"model": "m", **fields}).encode()
        return json.loads(fake.handle("POST", "https://api.openai.com/v1/responses", {}, body).as_whole())

    ids = [sent(input=f"Rain in {x}?")["id"] for x in "abc"]
    output = {"type": "function_call_output", "call_id": "call_1", "output": "no"}
    answers = [sent(previous_response_id=id, input=[output])["output"][0]["content"][0]["text"] for id in reversed(ids)]

    assert answers == ["c", "b", "a"]


KEPT = [
    (
        "mistral",
        lambda ask, text: ask("https://api.mistral.ai/v1/conversations", model="m", inputs=text),
        lambda ask, before, first, items: ask(f"https://api.mistral.ai/v1/conversations/{first}", inputs=items),
        lambda answer: (answer["conversation_id"], answer["outputs"]),
        {"type": "function.result", "tool_call_id": "call00001", "result": "x"},
    ),
    (
        "gemini",
        lambda ask, text: ask(f"{GOOGLE}/interactions", model="m", input=text),
        lambda ask, before, first, items: ask(
            f"{GOOGLE}/interactions", model="m", previous_interaction_id=before, input=items
        ),
        lambda answer: (answer["id"], answer["steps"]),
        {"type": "function_result", "call_id": "call_0", "name": "f", "result": "x"},
    ),
]


@pytest.mark.parametrize(("name", "begin", "go_on", "read", "came"), KEPT, ids=[row[0] for row in KEPT])
def test_other_providers_that_keep_what_came_before(name, begin, go_on, read, came):
    talks = [conversation(user(x), calls("f"), result(), says(f"1{x}"), user("more"), says(f"2{x}")) for x in "ab"]
    fake = FakeProvider(name).play(*talks).otherwise("?")

    def ask_it(url, **body):
        return json.loads(fake.handle("POST", url, {}, json.dumps(body).encode()).as_whole())

    first = {x: read(begin(ask_it, x))[0] for x in "ab"}
    for x in "ba":
        before, said_first = read(go_on(ask_it, first[x], first[x], [came]))
        before, said_then = read(go_on(ask_it, before, first[x], "more"))
        assert f"1{x}" in json.dumps(said_first)
        assert f"2{x}" in json.dumps(said_then)
        if x == "a":
            with pytest.raises(UnexpectedRequestError, match="the app goes on after the end"):
                go_on(ask_it, before, first[x], "more")
    assert fake.unused == []
    assert [len(found) for found in loops_of(fake)] == [3, 3]


def test_a_conversation_that_the_provider_keeps_may_be_empty_at_first():
    fake = FakeProvider("openai").play(
        conversation(user("Rain?"), calls("weather", city="Paris"), result("no"), says("No."), user(), says("Bye."))
    )
    url, begun = "https://api.openai.com/v1/responses", {"model": "gpt-5", "conversation": {"id": "conv_abc"}}
    found = []
    for sent in ("Rain?", [{"type": "function_call_output", "call_id": "call_1", "output": "no"}], "Thanks"):
        answer = fake.handle("POST", url, {}, json.dumps({**begun, "input": sent}).encode())
        found.append(json.loads(answer.as_whole())["output"][0]["type"])
    assert found == ["function_call", "message", "message"]
    assert tools_called(fake)[0].result == "no"
    assert len(loops_of(fake)) == 1


def test_a_thread_that_anthropic_keeps_has_the_calls_and_the_tools():
    fake = FakeProvider("anthropic").strict_requests(allow=["unknown-field"])
    more = (calls("weather", city="Rome"), result("sun"), says("Rome."))
    fake.play(
        conversation(user("Rain?"), calls("weather", city="Paris"), calls("clock"), result("no"), result(), *more)
    )

    def sent(content, **fields):
        body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": content}], **fields}
        exchange = fake.handle("POST", "https://api.anthropic.com/v1/messages", {}, json.dumps(body).encode())
        answer = json.loads(exchange.as_whole())
        thread = {"type": "continue", "previous_message_id": answer["id"]}
        return answer["content"][-1], {"thread": thread}

    def of(number, text="no"):
        return {"type": "tool_result", "tool_use_id": f"call_{number}", "content": text}

    tools = [{"name": name, "input_schema": {"type": "object"}} for name in ("weather", "clock")]
    _, thread = sent("Rain?", tools=tools, thread={"type": "create"})
    with pytest.raises(UnexpectedRequestError, match="a result is missing"):
        sent([of(1)], **thread)
    _, thread = sent([of(1), of(2)], **thread)
    assert sent([of(3, "sun")], **thread)[0]["text"] == "Rome."
    assert [call.result for call in tools_called(fake)] == ["no", "no", "sun"]
    check_loop(fake, max_steps=3)


def test_ids_of_calls_are_none_that_another_call_has():
    mixed = conversation(user(), calls(ToolCall("a", {}, id="call_1")), calls("b"), result(), result(), says("x"))
    assert [call.id for call in tools_called(mixed)] == ["call_1", "call_2"]


def test_what_is_kept_is_gone_on_with_after_the_end():
    fake = fake_with(RAIN).otherwise("?")

    with intercept(fake):
        loop("openai.responses", kept=True)
        body = {"model": "m", "input": "And now?", "previous_response_id": "resp_fakellm000002"}
        with pytest.raises(UnexpectedRequestError, match="the app goes on after the end"):
            fake.handle("POST", "https://api.openai.com/v1/responses", {}, json.dumps(body).encode())


def test_what_is_kept_is_gone_on_with_wrongly():
    fake = fake_with(RAIN)

    with intercept(fake), pytest.raises(UnexpectedRequestError) as error:
        loop("openai.responses", kept=True, tools={"weather": lambda city: f"snow in {city}"})

    assert "step 3 of 4: another result came" in str(error.value)
    assert "what the provider keeps, up to resp_fakellm000001" in str(error.value)


# -- the form that each API wants ------------------------------------------------------------------------


def split_results(messages):
    """Send each of Claude's results in a message of its own."""
    *before, last = messages
    return [*before, *({"role": "user", "content": [block]} for block in last["content"])]


def text_first(messages):
    *before, last = messages
    return [*before, {"role": "user", "content": [{"type": "text", "text": "Here:"}, *last["content"]]}]


def with_contents(change):
    return lambda contents: [*contents[:-1], contents[-1].model_copy(update={"parts": change(contents[-1].parts)})]


FORMS = [
    ("anthropic.messages", split_results, "messages[2]: it has 1 result, and the message before it has 2 calls"),
    ("anthropic.messages", text_first, "messages[2]: results have to stand before everything else"),
    (
        "gemini",
        with_contents(lambda parts: parts[::-1]),
        "results have to come in the order of the calls, weather, clock",
    ),
    (
        "openai.chat",
        lambda messages: [*messages[:2], said("Wait."), *messages[2:]],
        "messages[2]: a message of the role user stands before the results of all calls",
    ),
    (
        "openai.chat",
        lambda messages: [{**m, "content": None} if m["role"] == "tool" else m for m in messages],
        "messages[2].content: it is to be text, or a list of parts, and is null",
    ),
    (
        "openai.responses",
        lambda items: [items[0], *(i for i in items if "output" in i), *(i for i in items[1:] if "output" not in i)],
        "no call of the id call_1 stands before it",
    ),
]


@pytest.mark.parametrize(("api", "change", "problem"), FORMS, ids=[f"{row[0]}-{at}" for at, row in enumerate(FORMS)])
def test_results_in_a_form_that_the_api_refuses(api, change, problem):
    any_results = conversation(*PARALLEL.steps[:4], result(), result(), says("Go now."))
    fake = FakeProvider(LOOPS[api][0]).play(any_results)

    with intercept(fake), pytest.raises(UnexpectedRequestError) as error:
        loop(api, send=lambda messages: change(list(messages)) if len(messages) > 1 else messages)

    assert problem in str(error.value)


RAW = [
    (
        "bedrock",
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.m-v1:0/converse",
        lambda results: {
            "toolConfig": {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": {}}}}]},
            "messages": [
                {"role": "user", "content": [{"text": "Rain?"}]},
                {
                    "role": "assistant",
                    "content": [{"toolUse": {"toolUseId": "call_1", "name": "weather", "input": PARIS}}],
                },
                {"role": "user", "content": results},
            ],
        },
        {"toolResult": {"toolUseId": "call_1", "content": [{"json": {"result": "light rain"}}]}},
        {"toolResult": {"toolUseId": "call_1", "content": [{"text": "heavy rain"}]}},
    ),
    (
        "ollama",
        "http://localhost:11434/api/chat",
        lambda results: {
            "model": "m",
            "stream": False,
            "messages": [said("Rain?"), {"role": "assistant", "tool_calls": [OF_WEATHER]}, *results],
        },
        {"role": "tool", "tool_name": "weather", "content": "light rain"},
        {"role": "tool", "tool_name": "clock", "content": "light rain"},
    ),
    (
        "cohere",
        "https://api.cohere.com/v2/chat",
        lambda results: {
            "model": "m",
            "messages": [said("Rain?"), {"role": "assistant", "tool_calls": [CALLED]}, *results],
        },
        {
            "role": "tool",
            "tool_call_id": "call_1",
            "content": [{"type": "document", "document": {"data": {"result": "light rain"}}}],
        },
        {"role": "tool", "tool_call_id": "call_2", "content": "light rain"},
    ),
    (
        "mistral",
        "https://api.mistral.ai/v1/chat/completions",
        lambda results: {
            "model": "m",
            "messages": [said("Rain?"), {"role": "assistant", "tool_calls": [{**CALLED, "id": "call00001"}]}, *results],
        },
        {"role": "tool", "name": "weather", "tool_call_id": "call00001", "content": "light rain"},
        {"role": "tool", "name": "weather", "tool_call_id": "call00002", "content": "light rain"},
    ),
    (
        "dashscope",
        "https://dashscope.aliyuncs.com/api/v1/services/aigc/text-generation/generation",
        lambda results: {
            "model": "m",
            "parameters": {"result_format": "message"},
            "input": {
                "messages": [said("Rain?"), {"role": "assistant", "content": "", "tool_calls": [CALLED]}, *results]
            },
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "light rain"},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ),
    (
        "mistral",
        "https://api.mistral.ai/v1/conversations",
        lambda results: {
            "model": "m",
            "inputs": [
                said("Rain?"),
                {"type": "function.call", "tool_call_id": "call00001", "name": "weather", "arguments": PARIS},
                *results,
            ],
        },
        {"type": "function.result", "tool_call_id": "call00001", "result": "light rain"},
        {"type": "function.result", "tool_call_id": "call00001", "result": "rain"},
    ),
    (
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta/interactions",
        lambda results: {
            "model": "m",
            "input": [
                {"type": "user_input", "content": [{"type": "text", "text": "Rain?"}]},
                {"type": "function_call", "id": "call_0", "name": "weather", "arguments": PARIS},
                *results,
            ],
        },
        {"type": "function_result", "call_id": "call_0", "name": "weather", "result": "light rain"},
        {"type": "function_result", "call_id": "call_9", "name": "weather", "result": "light rain"},
    ),
]
PARIS = {"city": "Paris"}
OF_WEATHER = {"function": {"name": "weather", "arguments": PARIS}}
CALLED = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}


@pytest.mark.parametrize(
    ("name", "url", "body", "right", "wrong"), RAW, ids=[f"{row[0]} {row[1][-12:]}" for row in RAW]
)
def test_each_other_api_has_results_of_its_own_shape(name, url, body, right, wrong):
    fake = FakeProvider(name).play(RAIN)

    def ask_with(*results):
        return fake.handle("POST", url, {}, json.dumps(body(list(results))).encode()).as_whole()

    with pytest.raises(UnexpectedRequestError, match="leaves the conversation at step 3 of 4"):
        ask_with(wrong)
    assert b"umbrella" in ask_with(right)


def test_what_a_stream_said_may_be_sent_back_in_several_contents():
    fake = FakeProvider("gemini").play(
        conversation(user("Rain?"), calls("weather"), calls("clock"), result("no"), result("noon"), says("No."))
    )
    url = f"{GOOGLE}/models/m:generateContent"

    def sent(*contents):
        body = {"contents": [{"role": role, "parts": parts} for role, *parts in contents]}
        return json.loads(fake.handle("POST", url, {}, json.dumps(body).encode()).as_whole())

    first = sent(("user", {"text": "Rain?"}))["candidates"][0]["content"]["parts"]
    values = {"weather": "no", "clock": "noon"}
    results = [{"functionResponse": {"name": name, "response": {"result": value}}} for name, value in values.items()]
    chunks = [("model", part) for part in [*first, {"text": ""}]]
    sent(("user", {"text": "Rain?"}), *chunks, ("user", *results))
    assert fake.unused == []


def test_an_app_that_trims_what_came_before():
    steps = [step for n in range(3) for step in (user(f"q{n}"), calls("f", n=n), result(str(n)), says(f"a{n}"))]
    fake = fake_with(conversation(*steps, trimmed=True)).otherwise("?")
    messages, answers = [], []

    for n in range(3):
        messages.append(said(f"q{n}"))
        messages.append(ask(fake, *messages[-2:]))
        assert ask(fake, said("a title"))["content"] == "?"
        text = missed(fake, *messages[-2:], of_tool("x", f"call_{n + 1}"))
        assert f"step {4 * n + 3} of 12: another result came" in text
        assert ("... what the app left out\n" in text) == (n > 0)
        messages.append(of_tool(str(n), f"call_{n + 1}"))
        messages.append(ask(fake, *messages[-3:]))
        answers.append(messages[-1]["content"])

    assert answers == ["a0", "a1", "a2"]
    assert fake.unused == []
    text = missed(fake, *messages[-2:], said("q3"))
    assert "the app goes on after the end" in text
    assert "messages[0]: a message of the role tool has to follow the message that calls" in text


# -- which conversation ----------------------------------------------------------------------------------


def test_an_app_that_trims_is_told_how_a_conversation_may_be_trimmed():
    fake = fake_with(conversation(user("a"), says("A"), user("b"), says("B"), user("c"), says("C")))
    sent = [said("a"), said("A", "assistant"), said("b"), said("B", "assistant"), said("c")]
    ask(fake, *sent[:1])
    ask(fake, *sent[:3])
    assert "conversation(..., trimmed=True)" in missed(fake, *sent[2:])
    assert "trimmed" not in missed(fake, said("x"))


def test_interleaved_conversations_each_get_their_own_replies():
    cities = {
        "Rain in Paris?": ("Paris", "rain"),
        "Rain in Paris? And Rome?": ("Rome", "sun"),
        "Rain?": ("Oslo", "snow"),
    }
    talks = [
        conversation(user(text), calls("weather", city=city), result(sky), says(f"{sky} in {city}"))
        for text, (city, sky) in cities.items()
    ]
    fake = fake_with(*talks)
    running = [[said(text)] for text in reversed(cities)]

    for messages in running:
        messages.append(ask(fake, *messages))
    for messages in running[1:] + running[:1]:
        sky = dict(cities.values())[json.loads(messages[-1]["tool_calls"][0]["function"]["arguments"])["city"]]
        messages.append(of_tool(sky))
    answers = [ask(fake, *messages)["content"] for messages in reversed(running)]

    assert answers == ["rain in Paris", "sun in Rome", "snow in Oslo"]
    fake.verify()


def test_agents_in_threads_need_no_counters():
    talks = [
        conversation(user(f"Rain in {city}?"), calls("weather", city=city), result(city), says(f"Yes, {city}."))
        for city in "abcdefgh"
    ]
    fake = fake_with(*talks)

    def agent(city):
        messages = [said(f"Rain in {city}?")]
        messages.append(ask(fake, *messages))
        return ask(fake, *messages, of_tool(city, messages[-1]["tool_calls"][0]["id"]))["content"]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(agent, "abcdefgh")) == [f"Yes, {city}." for city in "abcdefgh"]
    fake.verify()


def test_conversations_that_are_alike_are_had_one_after_the_other():
    fake = fake_with(*[conversation(user("Rain?"), says(answer)) for answer in ("yes", "no")])

    assert [ask(fake, said("Rain?"))["content"] for _ in range(2)] == ["yes", "no"]


def test_a_conversation_may_be_had_any_number_of_times():
    fake = fake_with(conversation(*RAIN.steps, times=None))

    for _ in range(3):
        messages = [said("Rain?"), ask(fake, said("Rain?")), of_tool("light rain")]
        assert ask(fake, *messages)["content"] == "Take an umbrella."
    fake.verify()


def test_who_has_a_conversation_once_more_is_told_how_it_may_be():
    fake = fake_with(conversation(user("Rain?"), says("No.")))
    ask(fake, said("Rain?"))

    assert "times=2), or times=None for any number" in missed(fake, said("Rain?"))


def test_a_conversation_has_conditions():
    paris = conversation(user("Rain?"), says("In Paris."), system="of Paris")
    rome = conversation(user("Rain?"), says("In Rome."), system=re.compile("of Rome$"), model="big")
    fake = fake_with(paris, rome)

    assert ask(fake, said("You are of Rome", "system"), said("Rain?"), model="big")["content"] == "In Rome."
    text = missed(fake, said("You are of Rome", "system"), said("Rain?"), model="small")
    assert "model: wants 'big', and is 'small'" in text or "system: wants 'of Paris'" in text
    assert ask(fake, said("You are of Paris", "system"), said("Rain?"))["content"] == "In Paris."


def test_a_conversation_begins_where_its_conditions_say():
    later = conversation(user("And tomorrow?"), says("Sun."), turn=2)
    after = conversation(result("light rain"), says("Take an umbrella."), user(), says("Bye."), after_tool="weather")
    fake = fake_with(later, after)
    examples = [said("Hello"), said("Hello.", "assistant")]
    shot = {"role": "assistant", "content": None, "tool_calls": [CALLED]}

    assert ask(fake, *examples, said("And tomorrow?"))["content"] == "Sun."
    messages = [*examples, said("Rain?"), shot, of_tool("light rain")]
    assert ask(fake, *messages)["content"] == "Take an umbrella."
    assert ask(fake, *messages, said("Take an umbrella.", "assistant"), said("Thanks"))["content"] == "Bye."
    fake.verify()


def test_other_replies_answer_what_is_none_of_the_conversation():
    fake = fake_with(RAIN).when("title", "Weather").otherwise("?")

    messages = [said("Rain?"), ask(fake, said("Rain?"))]
    assert ask(fake, said("a title for: Rain?"))["content"] == "Weather"
    assert ask(fake, said("Snow?"))["content"] == "?"
    text = missed(fake, *messages, of_tool("heavy rain"))

    assert "another result came" in text
    assert "replies:   when 'title': Script('Weather')" in text
    with pytest.raises(SwallowedCallError):
        fake.verify()


# -- where the app strays ---------------------------------------------------------------------------------

STRAYS = [
    ("wrong id", lambda ms: [*ms, of_tool("light rain", "call_7")], 3, "a result came for a call that was not made"),
    ("twice", lambda ms: [*ms, of_tool("light rain"), of_tool("light rain")], 3, "two results came for one call"),
    ("a text", lambda ms: [*ms, said("light rain")], 3, "a text came where a result is due"),
    ("nothing", lambda ms: ms, 3, "a result is missing"),
    ("more", lambda ms: [*ms, of_tool("light rain"), said("Well?")], 3, "a message of the user came"),
    ("another answer", lambda ms: [ms[0], said("Hm.", "assistant"), said("Well?")], 2, "another answer than the model"),
    (
        "another call",
        lambda ms: [ms[0], changed(ms[1], "Rome"), of_tool("light rain")],
        2,
        "another answer than the model",
    ),
    ("another id", lambda ms: [ms[0], renamed(ms[1]), of_tool("light rain", "x")], 2, "another answer than the model"),
    ("asked again", lambda ms: ms[:1], 2, "the app asks again for what it has"),
    ("another question", lambda ms: [said("Snow?"), *ms[1:], of_tool("light rain")], 1, "the user said something else"),
]


def changed(message, city):
    message = copy.deepcopy(message)
    message["tool_calls"][0]["function"]["arguments"] = json.dumps({"city": city})
    return message


def renamed(message):
    message = copy.deepcopy(message)
    message["tool_calls"][0]["id"] = "x"
    return message


@pytest.mark.parametrize(("change", "step", "what"), [row[1:] for row in STRAYS], ids=[row[0] for row in STRAYS])
def test_an_app_that_strays(change, step, what):
    fake, messages = begun(RAIN)

    text = missed(fake, *change(messages))

    assert what in text
    assert re.search(rf"step {step}\b", text)
    assert f"a conversation at {__file__}:" in text


def test_an_app_that_goes_on_after_the_end():
    fake, messages = begun(RAIN)
    messages.append(of_tool("light rain"))
    messages += [ask(fake, *messages), said("And tomorrow?")]

    text = missed(fake, *messages)

    assert "the app goes on after the end" in text
    assert "came     user: 'And tomorrow?'" in text
    assert "model: Take an umbrella.\n" in text


def test_an_app_that_stops_too_early():
    fake, _ = begun(RAIN)

    with pytest.raises(UnusedRepliesError) as error:
        fake.verify()

    text = str(error.value)
    assert "was never asked for 1 of its replies" in text
    assert "stopped before step 3 of 4" in text
    assert "2  calls('weather', city='Paris')  [answered request 1]" in text
    assert "> 3  result('light rain')  [never came]" in text
    assert len(fake.unused) == 1


def test_a_conversation_that_never_began_is_said_once():
    (unused,) = fake_with(RAIN).unused

    assert "never began" in unused
    assert "> 1  user('Rain?')  [never came]" in unused


def test_a_request_that_no_conversation_begins_with():
    text = missed(fake_with(RAIN), said("Snow?"))

    assert "request 1 to the fake openai has no reply, and does not begin the conversation" in text
    assert "expected a message of the user: 'Rain?'" in text
    assert "came     'Snow?'" in text


def test_a_conversation_goes_on_after_an_answer():
    talk = conversation(*RAIN.steps, user(re.compile("tomorrow")), calls("weather", city="Rome"), result(), says("No."))
    fake, messages = begun(talk)
    messages.append(of_tool("light rain"))
    messages += [ask(fake, *messages), said("And tomorrow?")]
    messages.append(ask(fake, *messages))
    assert messages[-1]["tool_calls"][0]["id"] == "call_2"

    assert "a call that was not made" in missed(fake, *messages, of_tool("light rain", "call_1"))
    assert ask(fake, *messages, of_tool("anything", "call_2"))["content"] == "No."


def test_an_answer_that_breaks_is_asked_for_again():
    fake = fake_with(conversation(user("Rain?"), says(http_error(503)), says(http_error(429)), says("No.")))

    assert [ask(fake, said("Rain?")) for _ in range(2)] == [503, 429]
    assert ask(fake, said("Rain?"))["content"] == "No."
    fake.verify()


def test_an_answer_that_breaks_and_is_not_asked_for_again():
    fake = fake_with(conversation(user("a"), says("A"), user("b"), says(http_error(503)), says("x")))
    ask(fake, said("a"))
    ask(fake, said("a"), said("A", "assistant"), said("b"))

    (told,) = fake.unused
    assert "stopped before step 5 of 5: nobody asked again" in told
    assert "> 5  says('x')  [never came]" in told
    assert told.count("[answered request") == 2


def test_what_the_model_is_to_go_on_with_is_no_answer():
    fake = fake_with(conversation(user("As JSON"), says('"rain"}')))

    assert ask(fake, said("As JSON"), said('{"sky":', "assistant"))["content"] == '"rain"}'


def test_functions_are_the_older_form_of_tools():
    fake = fake_with(RAIN)
    functions = [{"name": "weather", "parameters": {"type": "object"}}]
    messages = [said("Rain?"), ask(fake, said("Rain?"), functions=functions)]
    assert messages[-1]["function_call"]["name"] == "weather"

    came = {"role": "function", "name": "weather", "content": "snow"}
    assert "another result came" in missed(fake, *messages, came, functions=functions)
    came["content"] = "light rain"
    assert ask(fake, *messages, came, functions=functions)["content"] == "Take an umbrella."


def test_what_is_secret_is_not_shown():
    fake, messages = begun(RAIN)
    secret = "sk-" + "a1B2" * 12
    body = {"model": "m", "messages": [*messages, of_tool(f"{secret} {'x' * 300} {secret}")]}
    with pytest.raises(UnexpectedRequestError) as error:
        fake.handle("POST", CHAT, {"authorization": f"Bearer {secret}"}, json.dumps(body).encode())

    assert secret[:12] not in str(error.value)


def test_results_of_one_tool_find_their_calls_without_ids():
    talk = conversation(user("?"), calls("f", x=1), calls("f", x=2), result("one"), result("two"), says("ok"))
    fake = FakeProvider("ollama").play(talk)

    def ask_ollama(*results):
        tools = [{"function": {"name": "f", "arguments": {"x": x}}} for x in (1, 2)]
        sent = [{"role": "tool", "tool_name": "f", "content": text} for text in results]
        messages = [said("?"), {"role": "assistant", "tool_calls": tools}, *sent]
        body = {"model": "m", "stream": False, "messages": messages}
        return fake.handle("POST", "http://localhost:11434/api/chat", {}, json.dumps(body).encode()).as_whole()

    with pytest.raises(UnexpectedRequestError, match="another result came"):
        ask_ollama("two", "one")
    assert b"ok" in ask_ollama("one", "two")


# -- what a result may be -----------------------------------------------------------------------------------

JSON = '{"sky": "rain", "mm": 2}'
WANTED = [
    ("rain", ["rain"], ["heavy rain", "rain ", '"rain"']),
    (
        {"mm": 2, "sky": "rain"},
        [JSON, '{"mm":2,"sky":"rain"}'],
        ['{"sky": "rain"}', "rain", '{"sky": "rain", "mm": true}'],
    ),
    ([1, None], ["[1, null]"], ["[1]"]),
    (2, ["2"], ["two", "true"]),
    (re.compile(r"^r\w+n$"), ["rain"], ["no rain"]),
    (lambda text: json.loads(text)["mm"] > 1, [JSON], ['{"mm": 1}']),
    (..., ["anything", ""], []),
]


@pytest.mark.parametrize("at", range(len(WANTED)))
def test_what_a_result_may_be(at):
    wanted, right, wrong = WANTED[at]
    talk = conversation(user(), calls("weather", city="Paris"), result(wanted), says("ok"), times=None)
    fake, messages = begun(talk)

    for text in wrong:
        assert "another result came" in missed(fake, *messages, of_tool(text))
    for text in right:
        assert ask(fake, *messages, of_tool(text))["content"] == "ok"


def test_a_predicate_that_breaks_is_a_mistake_of_the_test():
    talk = conversation(user(), calls("f"), result(lambda text: text.missing), says("ok"))
    fake, messages = begun(talk)

    with pytest.raises(BrokenReplyError, match="has no attribute 'missing'"):
        ask(fake, *messages, of_tool("x"))


# -- how it is written ---------------------------------------------------------------------------------------

MISTAKES = [
    (lambda: conversation(), "a conversation needs steps"),
    (lambda: conversation(says("Hi")), "begins with what the user says"),
    (lambda: conversation(user("Hi")), "ends with user('Hi'); write what the model answers"),
    (lambda: conversation(result("x"), says("Hi")), "has no call before it"),
    (lambda: conversation(user(), calls("f", x=1), user(), says("a")), "no result of f(x=1) follows it"),
    (lambda: conversation(user(), calls("f"), calls("g"), result(), says("a")), "no result of g() follows it"),
    (lambda: conversation(user(), calls("f"), result(), result(), says("a")), "no call that it could be the result of"),
    (
        lambda: conversation(user(), calls("f"), result(of="g"), says("a")),
        "calls no g that has no result yet; it calls f()",
    ),
    (lambda: conversation(user(), calls("f"), user(), result(), says("a")), "results come before what the user says"),
    (lambda: conversation(user(), says(http_error(500)), user(), says("a")), "write what the model says when"),
    (lambda: conversation(user(), says(http_error(500)), says("a"), times=2), "leave times out"),
    (lambda: conversation(user(), says("a"), times=0), "times is a number of conversations"),
    (lambda: conversation(user(), "a"), "step 2 is 'a'; the steps of a conversation are"),
    (lambda: conversation([user(), says("a")]), "write *steps, one argument each"),
    (
        lambda: conversation(user, says("a")),
        "step 1 is user; the steps of a conversation are user(), calls(), result(), says(); call it",
    ),
    (lambda: result(dict), "result() wants a text, JSON, a pattern or a predicate of the text"),
    (lambda: FakeProvider("openai").reply(RAIN), "a conversation is more than one reply: fake.play(conversation(...))"),
    (lambda: conversation(user(), says("a"), turn=0), "turn is a number from 1 up"),
    (lambda: says(), "needs something to say"),
    (lambda: says(b"x"), "decode the bytes first"),
    (lambda: calls(3), "begins with the name of a tool"),
    (lambda: calls("f", {1}), "the arguments of f are a mapping, or a text for those that are no JSON, not {1}"),
    (lambda: calls("f", [], x=1), "the arguments of f are a mapping, or a text"),
    (lambda: calls("f", {"x": 1}, x=2), "have x twice"),
    (lambda: calls("f", "{", x=2), "write one"),
    (lambda: calls(ToolCall("f"), x=2), "a ToolCall has its arguments"),
    (lambda: result(b"x"), "decode the bytes first"),
    (lambda: result({1, 2}), "is no JSON"),
    (lambda: result(of=""), "of is the name of a tool"),
    (lambda: user(re.compile(b"x")), "compile a str pattern"),
    (lambda: FakeProvider("openai").play(RAIN.steps), "play() takes conversations"),
    (lambda: FakeLLM().play(RAIN), "use FakeChatModel"),
]


@pytest.mark.parametrize("at", range(len(MISTAKES)))
def test_what_is_written_wrongly_says_what_to_write(at):
    make, text = MISTAKES[at]

    with pytest.raises((ScriptError, TypeError), match=re.escape(text)):
        make()


def test_a_conversation_is_shown_as_it_is_written():
    text = (
        "conversation(user('Rain?'), calls('f', x=1, **{'class': 2}), result({'a': 1}, of='f'), says('a', 'b'), turn=2)"
    )
    names = {"conversation": conversation, "user": user, "calls": calls, "result": result, "says": says}

    assert repr(eval(text, names)) == text
    assert repr(fake_with(eval(text, names))) == f"FakeProvider('openai').play({text})"


def test_results_may_name_their_tools():
    talk = conversation(
        user(), calls("f"), calls("g"), calls("f"), result("g!", of="g"), result("1"), result("2"), says("ok")
    )

    assert [one.call for one in talk.turns[1].asked] == [1, 0, 2]


def test_a_copy_is_as_far_and_goes_on_by_itself():
    fake, messages = begun(RAIN)
    messages.append(of_tool("light rain"))
    other, deep = copy.copy(fake), copy.deepcopy(fake)

    for one in (fake, other, deep):
        assert "stopped before step 3 of 4" in one.unused[0]
        assert ask(one, *messages)["content"] == "Take an umbrella."
        assert one.unused == []


# -- models --------------------------------------------------------------------------------------------------


def test_a_model_plays_a_conversation():
    model = FakeChatModel().play(PARALLEL)

    messages = [said("Rain?")]
    answer = model.invoke(messages)
    assert [(call.name, call.id) for call in answer.tool_calls] == [("weather", "call_1"), ("clock", "call_2")]
    results = [of_tool("light rain"), of_tool("noon in CET", "call_2")]

    with pytest.raises(UnexpectedCallError, match="call 2 of the fake model leaves the conversation at step 6 of 7"):
        model.invoke([*messages, answer, results[0]])
    assert model.invoke([*messages, answer, *results]).content == "Go now."
    assert model.unused == []
