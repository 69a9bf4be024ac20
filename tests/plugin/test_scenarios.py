"""The marker `fake_llm(scenario=...)`: the same files as those of servers, for the fakes of a test."""

from __future__ import annotations

import preloaded  # noqa: F401
import pytest
from runs import LEAN

SCENARIO = """
providers:
- name: openai
  hosts: [gateway.test]
- anthropic
replies:
- when: weather
  text: It rains.
"""
APP = """
import json
import urllib.request

import httpx
import pytest


def ask(text, url="https://api.openai.com/v1/chat/completions"):
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    return httpx.post(url, json=body).json()["choices"][0]["message"]["content"]
"""


@pytest.fixture
def run(pytester):
    def run(tests, scenario=SCENARIO, name="weather.yaml"):
        folder = pytester.mkdir("app")
        (folder / name).write_text(scenario)
        (folder / "test_app.py").write_text(APP + tests)
        return pytester.runpytest(*LEAN, "app")

    return run


def test_a_file_beside_the_test_scripts_its_fakes(run):
    result = run(
        """
pytestmark = pytest.mark.fake_llm(scenario="weather.yaml")

def test_told(fake_openai):
    assert ask("the weather?", "http://gateway.test/v1/chat/completions") == "It rains."

@pytest.mark.fake_llm(allow_unused=True)
def test_told_more(fake_openai, fake_anthropic, fake_gemini):
    fake_openai.reply("more")
    assert [ask("the weather?"), ask("?")] == ["It rains.", "more"]
    assert fake_gemini.unused == []

def test_left(fake_openai):
    pass
"""
    )

    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*when 'weather': Script('It ', 'rains.')*unused*"])


def test_models_are_told_what_a_call_can_have(run):
    result = run(
        """
pytestmark = pytest.mark.fake_llm(scenario="weather.yaml")
CALL = [("user", "the weather?"), ("assistant", "It rains."), ("user", "and now?")]

@pytest.mark.fake_llm(allow_unused=True)
def test_text(fake_llm):
    assert fake_llm.invoke("the weather?") == "It rains."
    assert "".join(fake_llm.stream("say it again")) == "say it again"

def test_chat(fake_chat_model, virtual_clock):
    assert fake_chat_model.invoke(CALL[:1]).content == "It rains."
    assert fake_chat_model.invoke(CALL).content == "later"
    assert virtual_clock.now == 2

""",
        """
latency: {ttft: 1}
replies:
- when: {text: weather, model: gpt-9}
  text: Never.
- when: {text: weather, turn: 1}
  text: It rains.
- when: {turn: 2}
  text: later
otherwise: {by_itself: true}
""",
    )

    result.assert_outcomes(passed=2)


STRICT = """
ORPHAN = {"model": "m", "messages": [{"role": "tool", "tool_call_id": "c", "content": "rain"}]}

def status():
    return httpx.post("https://api.openai.com/v1/chat/completions", json=ORPHAN).status_code

@pytest.mark.fake_llm(allow_unused=True)
def test_strict_by_the_configuration(fake_openai, fake_llm):
    fake_openai.otherwise("ok")
    assert status() == 400

@pytest.mark.fake_llm(strict_requests=False)
def test_not_so_by_the_nearest_marker(fake_openai):
    fake_openai.reply("ok")
    assert status() == 200

@pytest.mark.fake_llm(scenario="weather.yaml", allow_unused=True)
def test_not_so_by_a_scenario(fake_openai):
    assert status() == 200

def test_told_where_it_failed(fake_openai):
    fake_openai.reply("ok")
    assert status() == 200

def test_servers(fake_server, fake_server_session):
    assert all(provider.is_strict for server in (fake_server, fake_server_session) for provider in server.providers)

@pytest.mark.fake_llm(strict_requests="yes")
def test_what_is_neither(fake_openai):
    pass
"""


def test_requests_are_held_to_the_rules_of_the_real_api(run, pytester):
    pytester.makeini("[pytest]\nllm_strict_requests = true")
    scenario = "providers: [openai]\nstrict_requests: false\notherwise: {text: ok}\n"
    result = run(STRICT, scenario)

    result.assert_outcomes(passed=4, failed=1, errors=1)
    result.stdout.fnmatch_lines_random([
        "*refused by the rule result-without-call of openai.chat at messages[[]0].tool_call_id: Invalid parameter: *",
        "*to do: *send the assistant's message with its tool_calls before the results, as it came",
        "*strict_requests is True or False, not 'yes'",
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ("scenario='none.yaml'", "*there is no scenario *app*none.yaml: the path begins in the folder of the test"),
        ("scenario=3", "*scenario is the path of a file, from the folder of the test on, not 3"),
        ("scenario='weather.yaml'", "*weather.yaml, line 1, replis: there is no such field; did you mean replies?*"),
        (
            "scenaro='weather.yaml'",
            "*takes allow_unused=True and allow_misses=True, not scenaro; and scenario='weather.yaml'",
        ),
    ],
)
def test_what_is_none_fails_the_test(run, marker, said):
    result = run(f"@pytest.mark.fake_llm({marker})\ndef test_told(fake_openai): pass\n", "replis: []")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([said])


def test_it_scripts_the_providers_of_a_server(run):
    result = run(
        """
@pytest.mark.fake_llm(scenario="weather.yaml", allow_unused=True)
def test_told(fake_server):
    assert ask("the weather?", f"{fake_server.base_url('openai')}/chat/completions") == "It rains."
    assert [len(fake_server[name].replies) for name in ("anthropic", "mistral")] == [1, 0]
"""
    )

    result.assert_outcomes(passed=1)
