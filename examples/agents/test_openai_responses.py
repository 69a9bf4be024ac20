"""A loop on OpenAI's Responses, which keep the conversation: each request has the id of the answer before it."""

import json

import openai
from tools import SCHEMA, weather

from fakellm.agents import calls, check_loop, conversation, result, says, tools_called, user

TOOLS = [{"type": "function", "name": "weather", "parameters": SCHEMA}]


def answer(question):
    client, items, before = openai.OpenAI(), [{"role": "user", "content": question}], None
    while True:
        response = client.responses.create(model="gpt-5", input=items, tools=TOOLS, previous_response_id=before)
        called = [item for item in response.output if item.type == "function_call"]
        if not called:
            return response.output_text
        before = response.id
        items = [
            {"type": "function_call_output", "call_id": call.call_id, "output": weather(**json.loads(call.arguments))}
            for call in called
        ]


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
