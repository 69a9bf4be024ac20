"""A loop on Anthropic's Messages, which want the results of parallel calls in one message."""

import anthropic
from tools import SCHEMA, weather

from fakellm.agents import calls, check_loop, conversation, result, says, tools_called, user

TOOLS = [{"name": "weather", "input_schema": SCHEMA}]


def answer(question):
    client, messages = anthropic.Anthropic(), [{"role": "user", "content": question}]
    while True:
        said = client.messages.create(model="claude-sonnet-5", max_tokens=500, messages=messages, tools=TOOLS)
        called = [block for block in said.content if block.type == "tool_use"]
        if not called:
            return said.content[0].text
        results = [{"type": "tool_result", "tool_use_id": c.id, "content": weather(**c.input)} for c in called]
        messages += [{"role": "assistant", "content": said.content}, {"role": "user", "content": results}]


def test_two_cities(fake_anthropic):
    fake_anthropic.play(
        conversation(
            user("Rain in Paris or Rome?"),
            says("I look at both."),
            calls("weather", city="Paris"),
            calls("weather", city="Rome"),
            result("light rain"),
            result("sun"),
            says("In Paris."),
        )
    )
    assert answer("Rain in Paris or Rome?") == "In Paris."
    assert tools_called(fake_anthropic) == ["weather", "weather"]
    check_loop(fake_anthropic, max_steps=2)
