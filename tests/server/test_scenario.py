"""Scenario files: what they say, what is wrong with them and where, and that they may change while they are served."""

from __future__ import annotations

import copy
import gzip
import json
import urllib.error
import urllib.request
from itertools import islice, pairwise

import pytest
from places import ROOT

from fakellm import Script, ToolCall, http_error
from fakellm.cassette import interaction_of, write
from fakellm.clock import InstantClock
from fakellm.errors import ScenarioError, SwallowedCallError, UnexpectedRequestError
from fakellm.provider import by_itself
from fakellm.provider.actions import Timeouts
from fakellm.script import Latency
from fakellm.server import Scenario, Server, Watched

CHAT = "https://api.openai.com/v1/chat/completions"
MESSAGES = "https://api.anthropic.com/v1/messages"
WEATHER = """
fakellm_scenario: 1
latency: {ttft: 0.2, tps: 50}
providers:
  - name: openai
    hosts: [gateway.test]
    replies:
      - when: {model: {pattern: ^gpt-5}, system: brief}
        text: Yes.
        headers: {x-who: five}
  - anthropic
replies:
  - when: {text: weather, tools: get_weather, turn: 1}
    events:
      - {type: tool_call, name: get_weather, arguments: '{"city": "Paris"}'}
  - when: {after_tool: get_weather}
    text: It rains in Paris.
    latency: {ttft: 1}
  - when: busy
    times: 2
    error: {status: 529, retry_after: 3}
  - when: {pattern: '^slow\\b'}
    text: at last
    pacing: 2.5
    latency: {}
  - text: once
  - error: 503
    times: 2
otherwise:
  by_itself: true
"""
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]


def chat(text, **fields):
    return {"model": "m", "messages": [{"role": "user", "content": text}], **fields}


def replied(provider, body, url=CHAT):
    """Return what the provider has chosen to say."""
    provider.handle("POST", url, {}, json.dumps(body).encode())
    return provider.calls[-1].reply.content


def test_a_file_says_what_would_be_scripted():
    scenario = Scenario.read(WEATHER)
    openai, anthropic = scenario.providers()

    assert [openai.name, anthropic.name] == ["openai", "anthropic"]
    assert openai.hosts == ("gateway.test",)
    assert openai.latency == Latency(0.2, 50)
    assert replied(openai, chat("the weather?", tools=TOOLS)) == Script(ToolCall("get_weather", {"city": "Paris"}))
    system = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "?"}]
    assert replied(openai, {"model": "gpt-5-mini", "messages": system}) == Script.of("Yes.")
    assert openai.calls[-1].reply.headers == {"x-who": "five"}
    assert [replied(openai, chat("busy")) for _ in range(2)] == [Script(http_error(529, retry_after=3))] * 2
    assert replied(openai, chat("slow one")) == Script.of("at last").paced(2.5)
    assert openai.calls[-1].reply.latency == Latency()
    assert [replied(openai, chat("?")) for _ in range(4)] == [Script("once"), *[Script(http_error(503))] * 2, by_itself]
    assert replied(anthropic, {**chat("?"), "max_tokens": 1}, MESSAGES) == Script("once")  # its own sequence
    assert openai.calls[0].reply.place == "<scenario>:13"
    assert openai.unused == ["when after_tool='get_weather': Script('It ', 'rains ', 'in ', 'Paris.')  [unused]"]


def test_json_is_read_alike():
    scenario = Scenario.read('{"providers": ["openai"], "replies": [{"text": "a b"}]}', is_json=True)

    assert replied(scenario.providers()[0], chat("?")) == Script("a ", "b")


def test_without_providers_there_are_all():
    assert set(Scenario.read("otherwise: {text: a}").names) >= {"openai", "anthropic", "gemini", "ollama", "cohere"}


WRONG = [
    ("replies: [{text: a, tex: b}]", "line 1, replies.0.tex: there is no such field; did you mean text? there are text,"),
    ("replys: []", "line 1, replys: there is no such field; did you mean replies? there are replies, otherwise"),
    ("replies:\n- when:\n    turns: 2\n  text: a", "line 3, replies.0.when.turns: there is no such field; did you mean turn?"),
    ("replies:\n- when: {turn: two}\n  text: a", "line 2, replies.0.when.turn: 'two' cannot stand here; write which answer"),
    ("replies:\n- when: {turn: 0}\n  text: a", "line 2, replies.0: turn is a number from 1 up"),
    ("replies:\n- when: {}\n  text: a", "line 2, replies.0: when() needs a condition"),
    ("replies:\n- when: a\n", "line 2, replies.0: it says nothing; write one of text, events, script, error, by_itself"),
    ("replies:\n- {text: a, error: 500}", "line 2, replies.0: it has text and error; write one of"),
    ("replies:\n- text: a\n  times: 0", "line 2, replies.0: times is a number of calls from 1 up"),
    ("replies:\n- error: 200", "line 2, replies.0.error: http_error.status is an error status from 400 to 599"),
    ("replies:\n- error: {}", "line 2, replies.0.error.status: it is missing; write an HTTP status from 400 to 599"),
    ("replies:\n- error: often", "line 2, replies.0.error: 'often' cannot stand here; write an HTTP status, such as 429"),
    ("replies:\n- text: 4", "line 2, replies.0.text: 4 cannot stand here; write a text, in quotes"),
    ("replies:\n- text: no", "line 2, replies.0.text: False cannot stand here; write a text, in quotes"),
    ("replies:\n- {text: a, headers: {retry-after: 1}}", "replies.0.headers.retry-after: 1 cannot stand here; write a text, in quotes"),
    ("replies:\n- {by_itself: true, pacing: 1}", "replies.0.pacing: it paces a script, not by_itself"),
    ("replies:\n- {text: a, pacing: -1}", "replies.0.pacing: Pause.seconds is a number of seconds"),
    ("replies:\n- {text: a, allow_illegal: true}", "replies.0.allow_illegal: it belongs to events"),
    ("replies:\n- when: {pattern: '('}\n  text: a", "line 2, replies.0.when.pattern: '(' is no regular expression"),
    ("replies:\n- when: {pattern: a, text: a}\n  text: a", "replies.0.when: text and pattern stand for each other"),
    ("replies:\n- when: {model: {}}\n  text: a", "replies.0.when.model: it is empty; write text or pattern"),
    ("replies:\n- events:\n  - {type: txt, text: a}", "line 3, replies.0.events.0.type: 'txt' is no event; there are text"),
    ("replies:\n- events:\n  - {type: text}", "line 3, replies.0.events.0.text: it is missing; write it, or take"),
    ("replies:\n- events:\n  - {type: finish}\n  - {type: text, text: a}", "line 4, replies.0.events.1: "),
    ("replies:\n- events:\n  - {type: pause, secs: 1}", "events.0.secs: there is no such field; did you mean seconds? pause has seconds"),
    ("replies:\n- events:\n  - {type: text, text: 3}", "line 3, replies.0.events.0.text: 3 cannot stand here; write a text"),
    ("replies:\n- events: []", "line 2, replies.0.events: an empty script answers nothing"),
    ("replies:\n- script: no.yaml", "line 2, replies.0.script: there is no file no.yaml"),
    ("providers: [opnai]", "providers.0.name: there is no fake of the provider 'opnai'; there are openai"),
    ("providers: [openai, openai]", "providers.1.name: openai is there twice"),
    ("providers:\n- {name: openai, profile: nope}", "line 2, providers.0.profile: there is no profile 'nope'; there are"),
    ("providers:\n- {name: openai, hosts: [http://a]}", "line 2, providers.0.hosts: 'http://a' is no host"),
    ("providers: []", "line 1, providers: it is empty; name one, or take it away for all"),
    ("latency: {ttft: -1}", "line 1, latency: Latency.ttft is the seconds"),
    ("latency: {ttfs: 1}", "line 1, latency.ttfs: there is no such field; did you mean ttft? there are ttft, tps, jitter"),
    ("tapes: none/*.yaml", "line 1, tapes: no file is at none/*.yaml; write a path"),
    ("tapes:\n  files: [none/*.yaml]\n  timing: fast", "line 3, tapes.timing: 'fast' cannot stand here; write recorded, instant"),
    ("tapes: {files: a, timing: -1}", "tapes.timing: -1.0 is no factor"),
    ("fakellm_scenario: 2", "line 1, fakellm_scenario: version 2 is unknown; this fakellm reads version 1"),
    ("[]", "line 1, the document: a scenario is a mapping with replies; it is a list"),
    ("", "line 1, the document: a scenario is a mapping with replies; it is empty"),
    ("a: [", "line 1, column 5: this is not YAML that a scenario is made of"),
    ("replies: []\nreplies: []", "line 2, column 1: this is not YAML that a scenario is made of: the key 'replies' comes twice"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_what_is_wrong_is_named_with_line_field_and_remedy(text, said):
    with pytest.raises(ScenarioError) as error:
        Scenario.read(text, name="weather.yaml")

    assert str(error.value).startswith("weather.yaml, line ")
    assert said in str(error.value)


def test_all_that_is_wrong_is_said_at_once():
    text = "latency: {tps: 0}\nreplies:\n- {error: 1}\n- {text: a, when: {turn: -1}}\n- script: no.json\n"

    with pytest.raises(ScenarioError) as error:
        Scenario.read(text)

    assert [line.split(": ")[0].partition(", ")[2] for line in str(error.value).splitlines()] == [
        "line 1, latency", "line 3, replies.0.error", "line 4, replies.1", "line 5, replies.2.script",
    ]  # fmt: skip


def test_json_has_lines_too(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{\n "replies": [\n  {"text": "a"},\n  {"text": 1}\n ]\n}')

    with pytest.raises(ScenarioError, match=r"a\.json, line 4, replies\.1\.text: 1 cannot stand here; write a text"):
        Scenario.load(path)


def test_a_file_that_is_none_is_said_to(tmp_path):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(ScenarioError, match=r"a\.txt: a scenario file ends in \.json, \.yaml or \.yml, not '\.txt'"):
        Scenario.load(tmp_path / "a.txt")
    (tmp_path / "b.yaml").mkdir()
    with pytest.raises(ScenarioError, match="what is there is a folder"):
        Scenario.load(tmp_path / "b.yaml")
    with pytest.raises(FileNotFoundError):
        Scenario.load(tmp_path / "c.yaml")


def test_scripts_lie_beside_the_file(tmp_path):
    Script("a", "b").save(tmp_path / "said.json")
    (tmp_path / "a.yaml").write_text("replies:\n- script: said.json\n")
    scenario = Scenario.load(tmp_path / "a.yaml")

    assert replied(scenario.providers()[0], chat("?")) == Script("a", "b")
    assert scenario.files == (tmp_path / "a.yaml", tmp_path / "said.json")
    (tmp_path / "said.json").write_text('{"fakellm_script": 1, "events": [{"type": "x"}]}')
    with pytest.raises(
        ScenarioError, match=r"a\.yaml, line 2, replies\.0\.script: .*said\.json, line 1, events\.0\.type"
    ):
        Scenario.load(tmp_path / "a.yaml")


# -- tapes -----------------------------------------------------------------------------------------------


def taped(timing="recorded", name="chat.yaml"):
    return Scenario.read(f"tapes: {{files: '{ROOT}/cassettes/{name}', timing: {timing}}}\notherwise: {{text: none}}")


def interaction(name="chat.yaml"):
    from fakellm.server.recorded import load

    _, _, request, response = load([ROOT / "cassettes" / name])[0]
    return request, response


def test_a_tape_answers_what_it_has_recorded_chunk_by_chunk_in_its_time():
    request, response = interaction()
    provider = next(p for p in taped().providers() if p.recorded)
    path = request.uri.partition("://")[2].partition("/")[2]

    exchange = provider.handle(request.method, f"http://127.0.0.1:1/{path}", {}, request.body)
    runs = list(exchange.body(Timeouts()))

    chunks, silences = [], [run for run in runs if isinstance(run, float)]
    again = provider.handle(request.method, f"http://127.0.0.1:1/{path}", {}, request.body)
    for run in again.body(Timeouts()):
        chunks += [] if isinstance(run, float) else list(run)
    assert exchange.status == 200
    assert [len(chunk) for chunk in chunks] == response["stream"]["sizes"]
    assert silences == [delay / 1000 for delay in response["stream"]["delays"] if delay]
    other = provider.handle("POST", f"http://127.0.0.1:1/{path}", {}, json.dumps(chat("?")).encode())
    assert other.call.reply.content == Script("none")


@pytest.mark.parametrize(("timing", "factor"), [("instant", 0), (0.5, 0.5)])
def test_a_tape_plays_in_another_time(timing, factor):
    request, response = interaction()
    provider = next(p for p in taped(timing).providers() if p.recorded)

    runs = provider.handle(request.method, request.uri, {}, request.body).body(Timeouts())

    silences = [run for run in runs if isinstance(run, float)]
    assert silences == pytest.approx(
        [delay / 1000 * factor for delay in response["stream"]["delays"] if delay and factor]
    )


def test_interactions_that_are_alike_take_turns_then_the_last_answers(tmp_path):
    tape = tmp_path / "two.yaml"
    write(tape, *(interaction_of(Script(text), CHAT, chat("?")) for text in "ab"))
    provider = Scenario.read(f"providers: [openai]\ntapes: {tape}").providers()[0]
    other = copy.copy(provider)

    def said(fake):
        exchange = fake.handle("POST", CHAT, {}, json.dumps(chat("?")).encode())
        return content(b"".join(b"".join(run) for run in exchange.body(Timeouts())))

    assert [said(provider) for _ in range(4)] == ["a", "b", "b", "b"]
    assert said(other) == "a"
    assert provider.calls[0].api == "openai.chat"
    assert provider.unused == []


# -- served ----------------------------------------------------------------------------------------------


def post(server, body, headers=(), path="/openai/v1/chat/completions"):
    request = urllib.request.Request(f"{server.url}{path}", json.dumps(body).encode(), dict(headers))
    with urllib.request.urlopen(request) as response:
        return response.headers, response.read()


def content(data):
    return json.loads(data)["choices"][0]["message"]["content"]


def test_a_server_plays_a_scenario(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(
        "providers: [openai]\nreplies: [{when: hi, text: hello}]\notherwise: {by_itself: true}\ngzip: true\n"
    )
    with Server(scenario=path, clock=InstantClock()) as server:
        plain = post(server, chat("hi"))
        echo = post(server, chat("to you"))
        headers, zipped = post(server, chat("hi"), {"accept-encoding": "gzip"})

    assert [provider.name for provider in server.providers] == ["openai"]
    assert (content(plain[1]), content(echo[1])) == ("hello", "to you")
    assert headers["content-encoding"] == "gzip"
    assert content(gzip.decompress(zipped)) == "hello"


def test_a_scenario_says_who_is_strict():
    scenario = Scenario.read(
        "providers: [openai, {name: cohere, strict_requests: false}]\notherwise: {text: hello}\nstrict_requests: true\n"
    )
    found = scenario.providers()
    assert [provider.is_strict for provider in found] == [True, False]
    later = Scenario.read("providers: [openai, cohere]\notherwise: {text: hello}\n")  # as of a watched file
    assert [provider.is_strict for provider in later.providers(found)] == [False, False]
    with pytest.raises(ScenarioError, match="strict_requests.*true or false"):
        Scenario.read("strict_requests: 1\n")


def test_a_provider_of_a_scenario_is_compressed_whoever_serves_it():
    scenario = Scenario.read("providers: [openai, {name: cohere, gzip: false}]\notherwise: {text: hello}\ngzip: true\n")
    providers = scenario.providers()
    with Server(providers, clock=InstantClock()) as server:
        headers, zipped = post(server, chat("hi"), {"accept-encoding": "gzip"})

    assert headers["content-encoding"] == "gzip"
    assert content(gzip.decompress(zipped)) == "hello"
    assert [provider.zips for provider in providers] == [True, False]
    assert not providers[0].forget().zips


def test_a_server_keeps_the_pace_of_each_call():
    text = "latency: {ttft: 1, tps: 10, jitter: 0.5, seed: 4}\notherwise: {text: one two}"
    clock = InstantClock()
    with Server(scenario=Scenario.read(text), clock=clock) as server:
        taken = [clock.now]
        for stream in (True, True, False):
            post(server, chat("?", stream=stream))
            taken.append(clock.now)

    pace = Latency(1, 10, 0.5, 4)
    expected = [sum(islice(pace.waits(call), 2)) for call in (1, 2, 3)]
    assert [after - before for before, after in pairwise(taken)] == pytest.approx(expected)
    assert len(set(expected)) == 3


def test_a_server_that_is_told_nothing_answers_by_itself():
    with Server(clock=InstantClock()) as server:
        assert content(post(server, chat("say it"))[1]) == "say it"


def test_a_scenario_is_instead_of_providers():
    with pytest.raises(TypeError, match="a scenario says which providers there are"):
        Server(["openai"], scenario=Scenario.read("otherwise: {text: a}"))
    with pytest.raises(TypeError, match="a scenario is a Scenario, a Watched one, or the path of a file, not 3"):
        Server(scenario=3)


def test_a_watched_file_is_read_again_and_a_wrong_one_is_said_to(tmp_path):
    path, said, stamps = tmp_path / "a.yaml", [], {}
    path.write_text("providers: [openai]\notherwise: {text: old}")
    watched = Watched(path, say=said.append, stamp=lambda file: stamps.get(file, 0))
    with Server(scenario=watched, clock=InstantClock()) as server:
        first = server.providers[0]
        before = content(post(server, chat("?"))[1])
        apart = {"x-fakellm-session": "a"}
        assert content(post(server, chat("?"), apart)[1]) == "old"
        path.write_text("providers: [openai]\notherwise: {txt: new}")
        stamps[path] = 1
        wrong = content(post(server, chat("?"))[1])
        path.write_text("providers: [openai, anthropic]\notherwise: {text: new}")
        stamps[path] = 2
        after = content(post(server, chat("?"))[1])
        assert content(post(server, chat("?"), apart)[1]) == "new"  # sessions are told too
        assert len(server.sessions.named("a").calls) == 2

    assert [before, wrong, after] == ["old", "old", "new"]
    assert server.providers[0] is first
    assert len(first.calls) == 3  # the log goes on
    assert [provider.name for provider in server.providers] == ["openai", "anthropic"]
    assert said[0].startswith(
        f"{path} has changed and is wrong, so the scenario stays as it was:\n{path}, line 2, otherwise.txt"
    )
    assert said[1:] == [f"{path} has changed and was read again"]


def test_what_sessions_used_of_a_changed_file_is_used_and_what_was_missed_stays_missed(tmp_path):
    path, apart = tmp_path / "a.yaml", {"x-fakellm-session": "a"}
    path.write_text("providers: [openai, anthropic]\nreplies: [{when: x, text: old}]")
    with Server(scenario=Watched(path, say=lambda text: None), clock=InstantClock()) as server:
        for headers in ({}, apart):
            with pytest.raises(urllib.error.HTTPError, match="400") as missed:
                post(server, chat("?"), headers)
            missed.value.close()
        path.write_text("providers: [openai]\nreplies: [{when: x, text: new}, {when: nobody, text: never}]")
        assert content(post(server, chat("x"), apart)[1]) == "new"
        unused = server.sessions.unused(server.sessions.own)
        assert [route.matcher for _, route in unused] == ["nobody"]
        assert server.sessions.unused(server.sessions.named("a")) == []
        path.write_text("providers: [anthropic]\nreplies: [{text: new}]")
        server.sessions.named("b")
        with pytest.raises(urllib.error.HTTPError, match="404") as unknown:
            post(server, chat("x"))
        unknown.value.close()
        assert [len(session.misses) for session in server.sessions] == [2, 1, 0]
        with pytest.raises(SwallowedCallError, match="request 1 to the fake openai has no reply"):
            server.sessions.verify()


def test_a_watched_file_that_is_not_there_is_being_replaced(tmp_path):
    said, path = [], tmp_path / "a.yaml"
    path.write_text("otherwise: {text: old}")
    watched = Watched(path, say=said.append)
    path.unlink()
    assert (watched.poll(), said) == (None, [])
    path.write_text("otherwise: {text: newer}")
    assert watched.poll() is not None


def test_files_that_it_names_are_watched_too(tmp_path):
    Script("a").save(tmp_path / "said.json")
    (tmp_path / "a.yaml").write_text("replies:\n- script: said.json\n")
    watched = Watched(tmp_path / "a.yaml", say=lambda text: None)
    assert watched.poll() is None

    (tmp_path / "said.json").unlink()
    assert watched.poll() is None  # wrong by now
    Script("another").save(tmp_path / "said.json")
    scenario = watched.poll()

    assert replied(scenario.providers()[0], chat("?")) == Script("another")
    assert watched.poll() is None


def test_what_a_wrong_one_names_and_where_tapes_may_come_is_watched(tmp_path):
    path, tapes = tmp_path / "a.yaml", tmp_path / "tapes"
    tapes.mkdir()
    write(tapes / "one.yaml", interaction_of(Script("old"), CHAT, chat("?")))
    path.write_text("tapes: tapes/*.yaml\n")
    watched = Watched(path, say=lambda text: None)
    write(tapes / "two.yaml", interaction_of(Script("new"), CHAT, chat("more?")))
    assert watched.poll() is not None

    path.write_text("replies:\n- script: said.json\n")
    assert watched.poll() is None
    Script("a").save(tmp_path / "said.json")
    assert watched.poll() is not None


def test_what_is_scripted_for_a_request_that_comes_in_no_order_is_missed():
    provider = Scenario.read("replies: [{when: {turn: 2}, text: a}]").providers()[0]

    with pytest.raises(UnexpectedRequestError, match=r"turn: wants 2, and is 1"):
        provider.handle("POST", CHAT, {}, json.dumps(chat("?")).encode())
    assert provider.unused


def test_limits_are_counted_on_the_clock_of_the_server():
    clock = InstantClock()
    with Server(scenario=Scenario.read("limits: {rpm: 1}\notherwise: {text: a}"), clock=clock) as server:
        first = post(server, chat("?"))[0]
        with pytest.raises(urllib.error.HTTPError, match="429") as refused:
            post(server, chat("?"))
        clock.sleep(60)
        post(server, chat("?"))

    assert first["x-ratelimit-remaining-requests"] == "0"
    assert refused.value.headers["retry-after"] == "60"
    refused.value.close()
    with pytest.raises(ScenarioError, match=r"line 1, limits: rpm is how many requests a minute"):
        Scenario.read("limits: {rpm: 0}")
