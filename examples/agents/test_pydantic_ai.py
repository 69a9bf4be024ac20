"""Pydantic AI, which asks again where the arguments of a call are not as the tool wants them."""

import re

from pydantic_ai import Agent
from tools import weather

from fakellm.agents import calls, check_loop, conversation, result, says, tools_called, user


def answer(question):
    return Agent("openai:gpt-5", tools=[weather]).run_sync(question).output


def test_two_cities(fake_openai):
    fake_openai.play(
        conversation(
            user("Rain in Paris or Rome?"),
            calls("weather", city="Paris"),
            calls("weather", town="Rome"),
            result("light rain"),
            result(re.compile("Field required.*city|city.*Field required")),
            calls("weather", city="Rome"),
            result("sun"),
            says("In Paris."),
        )
    )
    assert answer("Rain in Paris or Rome?") == "In Paris."
    assert tools_called(fake_openai) == ["weather", "weather", "weather"]
    check_loop(fake_openai, max_steps=3, allow=["refused_arguments"])
