"""Requests that the real API would refuse: which are, by which rule, in which words, and that no other is."""

from __future__ import annotations

import copy
import json
import pickle
import warnings

import corpus
import pytest
import yaml
from places import ROOT
from refused import GONE, REFUSED, TAKEN, assistant, call, function, image, parts, tool, use, user
from taping import LOADER
from vectors import each

import fakellm.wire.rules
from fakellm import FakeProvider, Script, ToolCall
from fakellm.errors import ScriptError
from fakellm.http import intercept
from fakellm.server import Server
from fakellm.server.logged import Logged
from fakellm.server.views import whole
from fakellm.wire.providers import scripted_endpoint, services
from fakellm.wire.service import found

RULES = [rules for service in services() for end in service.endpoints if (rules := found(end.rules)) is not None]
FIRST = list({case.api: case for case in REFUSED if case.rule.startswith("call")}.values())
SCRIPT = Script("Hel", "lo", ToolCall("weather", '{"city": "Paris"}'))


def handled(fake, api, body, headers=None, url=None):
    """Ask a fake; return its answer, what that says, and the call."""
    exchange = fake.handle("POST", url or TAKEN[api][1], headers or {}, json.dumps(body).encode())
    return exchange, exchange.as_whole(), fake.calls[-1]


RESULT = {"type": "tool_result", "tool_use_id": "a", "content": "x"}


def refused(api, fields, **options):
    """Return why a request is refused, if it is."""
    fake = FakeProvider(TAKEN[api][0]).strict_requests(**options).reply("ok")
    return handled(fake, api, {**TAKEN[api][2], **fields})[2].refusal


def check(case):
    fake = FakeProvider(TAKEN[case.api][0]).strict_requests(**case.options).reply("ok")
    exchange, body, call = handled(fake, case.api, case.body, case.headers)

    assert call.refusal is not None, "it was taken"
    assert (call.refusal.rule.name, call.refusal.place) == (case.rule, case.place), str(call.refusal)
    assert case.message in call.refusal.message
    assert exchange.status == 400
    assert call.refusal.message in json.dumps(json.loads(body), ensure_ascii=False).replace('\\"', '"').replace(
        "\\n", "\n"
    )
    assert fake.unused  # no reply was used for it
    report = fake.report()
    assert f"refused by the rule {case.rule} of {case.api} at {case.place}: " in report
    assert call.refusal.rule.remedy in report
    assert call.refusal.rule.source in report


# -- refused ------------------------------------------------------------------------------------------


@each("case", FIRST, ids=lambda case: case.api)
def test_a_call_without_its_result_is_refused_by_each_api(case):
    check(case)


@pytest.mark.exhaustive
@each("case", REFUSED, ids=lambda case: f"{case.api}-{case.rule}-{case.place}")
def test_each_rule_refuses_what_it_says(case):
    check(case)


def test_every_rule_has_such_a_case_a_source_and_a_remedy():
    rules = [(one.api, rule) for one in RULES for rule in one.rules]
    of_types = {(api, name) for api in ("gemini", "openai.completions") for name in ("missing-field", "field-value")}

    assert {(api, rule.name) for api, rule in rules} - {(case.api, case.rule) for case in REFUSED} <= of_types
    for _, rule in rules:
        assert rule.source.startswith("https://")
        assert rule.refuses
        assert rule.remedy


def test_the_sdk_raises_what_it_raises_for_the_real_api():
    openai = pytest.importorskip("openai")
    fake = FakeProvider("openai").strict_requests().reply("ok")
    with intercept(fake), pytest.raises(openai.BadRequestError) as caught:
        openai.OpenAI().chat.completions.create(model="gpt-4o", messages=[user(), tool()])

    assert caught.value.body == {
        "message": "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
        "'tool_calls'.",
        "type": "invalid_request_error",
        "param": "messages.[1].role",
        "code": None,
    }


# -- taken --------------------------------------------------------------------------------------------

SAID = {"type": "output_text", "text": "No."}
NOT_SAID = {"type": "refusal", "refusal": "I cannot."}
NAMED = {"type": "function", "name": "weather"}
ALSO_TAKEN = (
    ("openai.chat", {"tools": None, "tool_choice": None, "stop": None, "user": None}),
    ("openai.chat", {"messages": [user(), {**assistant(call()), "refusal": None, "annotations": []}, tool()]}),
    ("openai.chat", {"messages": [user(), assistant(call(), call("b")), tool("b"), tool()]}),
    ("openai.chat", {"messages": [user(), {"role": "assistant", "content": ""}, user("")]}),
    ("openai.chat", {"tools": [function(parameters={})], "max_completion_tokens": 9, "n": 2}),
    ("openai.chat", {"tools": [function(), function()]}),  # two of one name
    ("openai.chat", {"messages": [user("Say json.")], "response_format": {"type": "json_object"}}),
    ("openai.responses", {"input": [{"type": "function_call_output", "call_id": "c", "output": "1"}], "previous_response_id": "r"}),
    ("openai.responses", {"input": "Hi", "text": {"format": {"type": "text"}}, "tools": []}),
    ("anthropic.messages", {"messages": [user(), user("And?")], "top_p": 0.5, "top_k": 5}),
    ("anthropic.messages", {"messages": [user(), {"role": "assistant", "content": ""}]}),
    ("anthropic.messages", {"messages": [user([image()])], "tool_choice": {"type": "tool", "name": "weather"}}),
    ("anthropic.messages", {"tools": [{"name": "weather", "input_schema": {"type": "object", "$defs": {}, "title": "T"}}]}),
    ("gemini", {"contents": {"parts": {"text": "Hi"}}, "generation_config": {"max_output_tokens": "9", "topK": 5}}),
    ("gemini", {"contents": [parts({"text": "a"}), parts({"inline_data": {"mime_type": "image/png", "data": "AA=="}})]}),
    ("gemini", {"systemInstruction": {"parts": [{"text": "Be brief."}]}, "safetySettings": [], "labels": {"a": "b"}}),
    ("gemini", {"system_instruction": {"parts": {"text": "Be brief."}}, "generationConfig": {"_responseJsonSchema": {}}}),
    ("gemini", {"tools": {"functionDeclarations": {"name": "w" * 128}}}),
    ("openai.chat", {"messages": [user(), assistant(call()), {**tool(), "name": "weather"}]}),
    ("openai.chat", {"messages": [user(), {"role": "assistant", "content": "{}", "parsed": {}}, user()]}),
    ("openai.responses", {"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}),
    ("openai.responses", {"input": [user(), {"role": "assistant", "content": [SAID]}, user([{"type": "input_image", "image_url": "https://x/y.png"}])]}),
    ("openai.responses", {"input": [user(), {"type": "message", "id": "msg_1", "role": "assistant", "content": [SAID, NOT_SAID]}]}),
    ("openai.responses", {"input": [user(), {"type": "reasoning", "summary": [], "encrypted_content": "x"}, {"type": "web_search_call", "action": {"type": "search", "query": "x"}}]}),
    ("openai.responses", {"input": [{"type": "image_generation_call", "id": "ig_1"}, {"type": "compaction", "encrypted_content": "x", "created_by": "m"}]}),
    ("openai.responses", {"tools": [{"type": "namespace", "name": "n", "description": "d", "tools": [NAMED]}], "tool_choice": NAMED}),
    ("openai.responses", {"prompt": {"id": "pmpt_1"}, "tool_choice": NAMED}),
    ("openai.responses", {"input": [user(), {"type": "additional_tools", "role": "developer", "tools": [NAMED]}], "tool_choice": NAMED}),
)  # fmt: skip


@each("api, fields", [*((api, {}) for api in TAKEN), *ALSO_TAKEN])
def test_what_the_api_takes_is_taken_and_answered_the_same(api, fields):
    body = {name: value for name, value in {**TAKEN[api][2], **fields}.items() if value is not GONE}
    plain, strict = (FakeProvider(TAKEN[api][0]).reply(SCRIPT) for _ in range(2))
    before, text, _ = handled(plain, api, body)
    after, same, call = handled(strict.strict_requests(), api, body)

    assert call.refusal is None, str(call.refusal)
    assert (after.status, after.headers, same) == (before.status, before.headers, text)


def take(method, url, headers, body, profile=None):
    """See that a recorded request is taken, and answered as by a fake that is not strict."""
    service, _ = scripted_endpoint(method, url)
    plain, strict = (FakeProvider(service.name, profile=profile).otherwise("Hello") for _ in range(2))
    exchanges = [fake.handle(method, url, headers, body) for fake in (plain, strict.strict_requests())]

    assert strict.calls[0].refusal is None, str(strict.calls[0].refusal)
    assert len({(one.status, one.as_whole()) for one in exchanges}) == 1


SERVERS = {"vllm": "vllm", "llama": "llama.cpp", "mlx": "mlx-lm", "lcp": "llama-cpp-python"}


def test_recorded_requests_are_taken():
    count = 0
    for path in sorted((ROOT / "cassettes").rglob("*.yaml")):
        profile = SERVERS[path.name.partition("-")[0]] if path.parent.name == "servers" else None
        for one in yaml.load(path.read_text(), Loader=LOADER)["interactions"]:
            asked = one["request"]
            if asked["method"] == "POST" and scripted_endpoint("POST", asked["uri"]) is not None:
                take("POST", asked["uri"], {}, asked["body"].encode(), profile)
                count += 1
    assert count >= 30


@pytest.mark.exhaustive
@corpus.needs_corpus
def test_all_recorded_requests_that_were_answered_are_taken():
    count = 0
    for file, status, method, url, headers, body in corpus.requests():
        if status < 400 and scripted_endpoint(method, url) is not None:
            try:
                take(method, url, headers, body)
            except AssertionError as error:
                error.add_note(file)
                raise
            count += 1
    assert count > 150


@pytest.mark.exhaustive
@corpus.needs_corpus
def test_a_recorded_request_that_was_refused_for_its_role_is_refused():
    said = "Please use a valid role: user, model."
    asked = [row for row in corpus.requests() if row[1] == 400 and b"invalid_role" in row[5]]
    assert asked
    for _, _, method, url, headers, body in asked:
        exchange = FakeProvider("gemini").strict_requests().otherwise("ok").handle(method, url, headers, body)
        assert (exchange.status, said in exchange.as_whole().decode()) == (400, True)


# -- how strict ---------------------------------------------------------------------------------------


def test_it_is_opt_in_and_can_be_switched_off():
    broken = {"messages": [user(), tool()]}
    assert refused("openai.chat", broken)
    assert refused("openai.chat", broken, on=False) is None
    assert refused("openai.chat", broken, allow=["result-without-call"]) is None
    assert handled(FakeProvider("openai").reply("ok"), "openai.chat", broken | {"model": "m"})[2].refusal is None


@each("options, message", [
    ({"allow": ["no-such-rule"]}, "openai has no rule 'no-such-rule'; there are missing-field, "),
    ({"context_window": 0}, "context_window is how many tokens a model takes, from 1 up, not 0"),
    ({"context_window": {"gpt": "8k"}}, "not '8k'"),
])  # fmt: skip
def test_what_is_no_strictness_is_refused(options, message):
    with pytest.raises(ScriptError, match="^.*") as caught:
        FakeProvider("openai").strict_requests(**options)
    assert message in str(caught.value)


def test_a_window_may_be_that_of_a_model():
    long = {"messages": [user("a " * 50)]}
    assert refused("openai.chat", long, context_window={"gpt-4": 1_000, "gpt-4o": 40})
    assert refused("openai.chat", long, context_window={"gpt-4": 1_000, "gpt-5": 40}) is None


def test_a_look_alike_may_have_fields_and_words_of_its_own():
    more = {"top_k": 5, "reasoning_effort": "extreme", "messages": [{**user(), "cache_control": {}}, tool()]}
    body = {**TAKEN["openai.chat"][2], **more}
    for fake, url in (
        (FakeProvider("openai", profile="vllm"), None),
        (FakeProvider("openai"), "https://api.groq.com/openai/v1/chat/completions"),
        (FakeProvider("openai"), "https://llm.corp.example/v1/chat/completions"),
    ):
        assert handled(fake.strict_requests().otherwise("ok"), "openai.chat", body, url=url)[2].refusal is None
        wrong = handled(fake, "openai.chat", {**body, "temperature": "hot"}, url=url)[2].refusal
        assert (wrong.rule.name, wrong.place) == ("field-type", "temperature")


def test_hosts_of_ones_own_are_the_provider_and_so_is_azure():
    fake = FakeProvider("openai", hosts=["llm.corp.example"]).strict_requests().otherwise("ok")
    url = "https://llm.corp.example/v1/chat/completions"
    assert handled(fake, "openai.chat", {"model": "m", "messages": [tool()]}, url=url)[2].refusal
    azure = "https://x.openai.azure.com/openai/deployments/gpt/chat/completions?api-version=2025-01-01"
    asked = {"messages": [user()], "data_sources": []}
    assert handled(fake, "openai.chat", asked, url=azure)[2].refusal is None
    assert handled(fake, "openai.chat", {**asked, "messages": [tool()]}, url=azure)[2].refusal


def test_betas_have_their_own_types():
    body = {**TAKEN["anthropic.messages"][2], "mcp_servers": []}
    for headers, is_taken in (({}, False), ({"Anthropic-Beta": "mcp-client-2025-04-04"}, True)):
        fake = FakeProvider("anthropic").strict_requests().reply("ok")
        assert (handled(fake, "anthropic.messages", body, headers)[2].refusal is None) is is_taken


def test_betas_have_tools_of_servers_and_the_older_name_of_a_field():
    more = {
        "tools": [{"type": "mcp_toolset", "mcp_server_name": "a"}],
        "tool_choice": {"type": "tool", "name": "far"},
        "output_format": {"type": "json_schema", "schema": {"type": "object"}},
    }
    fake = FakeProvider("anthropic").strict_requests().reply("ok")
    body = {**TAKEN["anthropic.messages"][2], **more}
    assert handled(fake, "anthropic.messages", body, {"anthropic-beta": "mcp-client-2025-11-20"})[2].refusal is None


@each("url", [
    "https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/anthropic/models/claude:rawPredict",
    "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke",
    "https://x.services.ai.azure.com/anthropic/v1/messages",
])  # fmt: skip
def test_claude_is_as_strict_on_clouds(url):
    fake = FakeProvider("anthropic").strict_requests().otherwise("ok")
    own = {"anthropic_version": "vertex-2023-10-16"} if "azure" not in url else {"model": "m"}
    fields = {**TAKEN["anthropic.messages"][2], **own}
    taken = {name: value for name, value in fields.items() if name != "model" or "azure" in url}
    assert handled(fake, "anthropic.messages", taken, url=url)[2].refusal is None
    asked = {**taken, "messages": [user([RESULT])]}
    assert handled(fake, "anthropic.messages", asked, url=url)[2].refusal.rule.name == "result-without-call"


def test_interleaved_thinking_may_think_more_than_it_says():
    thinking = {"temperature": GONE, "thinking": {"type": "enabled", "budget_tokens": 2000}}
    body = {k: v for k, v in {**TAKEN["anthropic.messages"][2], **thinking}.items() if v is not GONE}
    fake = FakeProvider("anthropic").strict_requests().reply("ok")
    headers = {"anthropic-beta": "interleaved-thinking-2025-05-14"}
    assert handled(fake, "anthropic.messages", body, headers)[2].refusal is None


def test_without_the_sdk_the_other_rules_hold_and_it_says_so_once(monkeypatch):
    monkeypatch.setattr(fakellm.wire.rules, "is_installed", lambda place: False)
    fakellm.wire.rules.say_missing.cache_clear()
    with pytest.warns(RuntimeWarning, match=r"not held to the types of openai, which is not installed"):
        assert refused("openai.chat", {"top_k": 5}) is None
    assert refused("openai.chat", {"messages": [user(), tool()]}).rule.name == "result-without-call"  # and no warning
    fakellm.wire.rules.say_missing.cache_clear()


def test_copies_are_as_strict_and_it_is_shown():
    fake = FakeProvider("openai").strict_requests(context_window=40, allow=["tool-name"])
    assert repr(fake) == "FakeProvider('openai').strict_requests(context_window=40, allow=['tool-name'])"
    for other in (copy.copy(fake), copy.deepcopy(fake), pickle.loads(pickle.dumps(fake))):
        assert repr(other) == repr(fake)
    call = handled(fake, "openai.chat", {"model": "m", "messages": [tool()]})[2]
    assert pickle.loads(pickle.dumps(call.refusal)) == call.refusal
    assert not fake.strict_requests(on=False).is_strict


def test_a_server_is_the_provider_whatever_it_is_called_and_tells_why():
    fake = FakeProvider("openai").strict_requests().reply("ok")
    Server([fake])
    asked = {"model": "m", "messages": [tool()]}
    call = handled(fake, "openai.chat", asked, url="http://fakes:8080/v1/chat/completions")[2]
    told = whole(Logged(1, "openai", call, 0.0, 400, None))
    assert told["refusal"].startswith(
        "refused by the rule result-without-call of openai.chat at messages[0].tool_call_id"
    )


def test_a_body_that_is_nested_too_deep_is_not_looked_at():
    deep = 5
    for _ in range(400):
        deep = {"items": deep}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fake = FakeProvider("gemini").strict_requests().reply("ok")
        body = {**TAKEN["gemini"][2], "tools": [{"functionDeclarations": [{"name": "f", "parameters": deep}]}]}
        handled(fake, "gemini", body)


ODD = (None, True, -1, float("inf"), "", "x", [], {}, [None], [1], [[]], [{}], {"type": []}, {"type": "tool_use"})


def places(value, path=()):
    """Yield the paths to all that is in a value."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield (*path, key)
        yield from places(value[key], (*path, key))


def put(value, path, odd):
    """Return a value with another one at a path."""
    if not path:
        return odd
    value = copy.copy(value)
    value[path[0]] = put(value[path[0]], path[1:], odd)
    return value


@pytest.mark.exhaustive
@pytest.mark.parametrize("is_installed", [True, False])
@pytest.mark.filterwarnings("ignore:requests to .* are not held to the types:RuntimeWarning")
def test_nothing_odd_at_any_place_is_more_than_refused(monkeypatch, is_installed):
    if not is_installed:
        monkeypatch.setattr(fakellm.wire.rules, "is_installed", lambda place: False)
    for api, (_, _, body) in TAKEN.items():
        for path in places(body):
            for odd in ODD:
                fake = FakeProvider(TAKEN[api][0]).strict_requests(context_window=99).otherwise("ok")
                exchange, _, _ = handled(fake, api, put(body, path, odd))
                assert exchange.status in (200, 400, 422)


def test_of_a_thread_the_turn_before_is_kept_by_the_provider():
    first, later = (
        {"messages": [*before, user([RESULT])]} for before in ([], [user(), {"role": "assistant", "content": "a"}])
    )
    thread = {"thread": {"type": "continue", "previous_message_id": "msg_1"}}
    assert refused("anthropic.messages", first | thread, allow=["unknown-field"]) is None
    assert refused("anthropic.messages", later | thread, allow=["unknown-field"]).rule.name == "result-without-call"


def test_a_turn_may_be_in_several_messages():
    split = [user(), {"role": "assistant", "content": [use(), use("b")]}]
    for results in (
        [user([{"type": "tool_result", "tool_use_id": name, "content": "x"}]) for name in ("toolu_1", "b")],
    ):
        assert refused("anthropic.messages", {"messages": [*split, *results]}) is None
