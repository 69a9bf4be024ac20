"""Conversations in a run of pytest: at the end of a test it is told where one stopped, whatever the app caught."""

from __future__ import annotations

from runs import LEAN

TESTS = """
import json
from fakellm.agents import calls, conversation, result, says, user

RAIN = conversation(user("Rain?"), calls("weather", city="Paris"), result("no"), says("No."))


def ask(fake, *messages):
    body = json.dumps({"model": "m", "messages": messages}).encode()
    try:
        exchange = fake.handle("POST", "https://api.openai.com/v1/chat/completions", {}, body)
    except BaseException:
        return None
    return json.loads(exchange.as_whole())["choices"][0]["message"]


def test_stops(fake_openai):
    ask(fake_openai.play(RAIN), {"role": "user", "content": "Rain?"})


def test_strays(fake_openai):
    question = {"role": "user", "content": "Rain?"}
    answer = ask(fake_openai.play(RAIN), question)
    ask(fake_openai, question, answer, {"role": "tool", "tool_call_id": "call_1", "content": "yes"})


def test_models(fake_chat_model):
    fake_chat_model.play(RAIN).invoke("Rain?")
"""


def test_what_the_end_of_a_test_says(pytester):
    pytester.makepyfile(TESTS)

    result = pytester.runpytest(*LEAN)

    result.assert_outcomes(passed=3, errors=3)
    result.stdout.fnmatch_lines(
        [
            "the fake openai was never asked for 1 of its replies",
            "*a conversation at *:4 stopped before step 3 of 4",
            "*1  user('Rain?')",
            "*2  calls('weather', city='Paris')  [[]answered request 1]",
            "*> 3  result('no')  [[]never came]",
            "*4  says('No.')",
            "*and its UnexpectedCallError was caught*",
            "request 2 to the fake openai leaves the conversation at step 3 of 4: another result came",
            "*so far: *user:  Rain?",
            "*model: calls weather(city='Paris') [[]call_1]",
            "*tool:  yes",
            "*expected the result of weather(city='Paris') [[]call_1]: 'no'",
            "*came     'yes'",
            "FakeChatModel was never asked for 1 of its replies",
            "*stopped before step 3 of 4",
            "*2  calls('weather', city='Paris')  [[]answered call 1]",
        ]
    )
