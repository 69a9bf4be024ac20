"""Conversations in a scenario file: on a port, in a test's fakes, and what is wrong with one."""

from __future__ import annotations

import pytest
from loops import loop

from fakellm import FakeChatModel, FakeProvider
from fakellm.errors import ScenarioError, UnexpectedRequestError
from fakellm.http import intercept
from fakellm.server import Scenario, Server

RAIN = """
conversations:
- - user: Rain
  - calls: {weather: {city: Paris}, clock: {zone: CET}}
  - result: light rain
  - result: {pattern: "^noon"}
  - says: Take an umbrella.
- steps:
  - user: {}
  - calls: {weather: {city: Rome}}
  - result: {json: {sky: [1]}, of: weather}
  - error: 429
  - events: [{type: text, text: "N"}, {type: text, text: "o."}]
  when: {system: Romans, json: {model: big}}
  times: 1
"""


def test_a_scenario_has_conversations():
    scenario = Scenario.read(RAIN, name="rain.yaml")
    fake = FakeProvider("openai")

    with intercept(scenario.tell(fake)):
        assert [loop("openai.chat") for _ in range(2)] == ["Take an umbrella."] * 2  # any number of times
        with pytest.raises(UnexpectedRequestError, match="step 5 of 6: another result came") as error:
            loop("openai.chat", tools={"weather": lambda city: "light rain", "clock": lambda zone: "one"})

    assert "a conversation at rain.yaml:3" in str(error.value)
    assert "rain.yaml:8 never began" in fake.unused[0]


def test_on_a_port(monkeypatch):
    with Server(scenario=Scenario.read(RAIN)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url("openai"))
        assert [loop("openai.chat") for _ in range(2)] == ["Take an umbrella."] * 2


def test_a_model_is_told_what_is_for_models():
    model = FakeChatModel()
    Scenario.read(RAIN).tell_model(model)

    assert [call.name for call in model.invoke("Rain").tool_calls] == ["weather", "clock"]
    assert len(model.unused) == 1  # the conversation for big models is not for it
    assert "stopped before step 4 of 6" in model.unused[0]


WRONG = [
    ("- - user: a\n", "conversations.0: the conversation ends with user('a'); write what the model answers"),
    ("- - user: a\n    says: b\n", "steps.0: it has user and says; a step has one of user, calls, result, says"),
    ("- - {}\n", "steps.0: it says nothing; a step has one of"),
    ("- - user: {pattern: '('}\n  - says: a\n", "is no regular expression"),
    ("- - user: a\n  - calls: {}\n  - says: a\n", "steps.1: it calls nothing"),
    ("- - usr: a\n", "there is no such field; did you mean user?"),
    ("- - user: a\n  - result: {jsn: 1}\n", "there is no such field; did you mean json?"),
    (
        "- - user: a\n  - calls: {f: }\n  - result: {json: 1, text: a}\n  - says: a\n",
        "json, text and pattern of a result",
    ),
    ("- steps: [{user: a}, {says: b}]\n  when: {text: a}\n", "what the user says is a step"),
    ("- steps: [{user: a}, {says: b}]\n  when: {turn: 0}\n", "turn is a number from 1 up"),
    ("- - user: a\n  - calls: {f: 3}\n", "steps.1.calls.f: 3 cannot stand here; write a mapping"),
    ("- 3\n", "3 cannot stand here; write a list of conversations"),
]


@pytest.mark.parametrize(("text", "problem"), WRONG)
def test_a_file_that_is_wrong_says_where_and_what_to_write(text, problem):
    with pytest.raises(ScenarioError) as error:
        Scenario.read(f"conversations:\n{text}", name="rain.yaml")

    assert problem in str(error.value)
    assert "rain.yaml, line " in str(error.value)
