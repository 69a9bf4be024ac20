"""A loop on OpenAI's chat completions."""

import json

import openai
from tools import SCHEMA, weather

from fakellm.agents import calls, check_loop, conversation, result, says, tools_called, user

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]


def answer(question):
    client, messages = openai.OpenAI(), [{"role": "user", "content": question}]
    while True:
        said = client.chat.completions.create(model="gpt-5", messages=messages, tools=TOOLS).choices[0].message
        if not said.tool_calls:
            return said.content
        messages.append(said)
        for call in said.tool_calls:
            content = weather(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": content})


def test_two_cities(fake_openai):
    fake_openai.play(
        conversation(
            user("Rain in Paris or Rome?"),
            calls("weather", city="Paris"),
            calls("weather", city="Rome"),
            result("light rain"),
            result("sun"),
            says("In Paris."),
        )
    )
    assert answer("Rain in Paris or Rome?") == "In Paris."
    assert tools_called(fake_openai) == ["weather", "weather"]
    check_loop(fake_openai, max_steps=2)
