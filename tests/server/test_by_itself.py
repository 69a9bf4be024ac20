"""A server that is told nothing, and the SDKs' own ways to ask for structured answers and for calls."""

from __future__ import annotations

import anthropic
import openai
import pytest
from google import genai
from pydantic import BaseModel, Field

from fakellm.clock import InstantClock
from fakellm.server import Server


class Place(BaseModel):
    city: str = Field(min_length=2)
    days: int = Field(ge=1)
    near: list[Place] = []


@pytest.fixture(scope="module")
def server():
    with Server(clock=InstantClock()) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(api_key="k", base_url=server.base_url("openai"), max_retries=0) as client:
        yield client


ASKED = [{"role": "user", "content": "Where to go?"}]
TOOL = {"type": "object", "properties": {"city": {"type": "string", "enum": ["Rome"]}}, "required": ["city"]}


def test_openai_parses_what_it_asked_for(client):
    chat = client.chat.completions.parse(model="m", messages=ASKED, response_format=Place)
    response = client.responses.parse(model="m", input="Where to go?", text_format=Place)

    assert chat.choices[0].message.parsed.model_dump() == {"city": "aa", "days": 1, "near": []}
    assert response.output_parsed == chat.choices[0].message.parsed


def test_openai_calls_a_tool_once_and_streams_what_came_of_it(client):
    tools = [openai.pydantic_function_tool(Place)]
    first = client.chat.completions.create(model="m", messages=ASKED, tools=tools).choices[0]
    result = {"role": "tool", "tool_call_id": first.message.tool_calls[0].id, "content": "go to Rome"}
    messages = [*ASKED, first.message.model_dump(exclude_none=True), result]
    stream = client.chat.completions.create(model="m", messages=messages, tools=tools, stream=True)

    assert first.finish_reason == "tool_calls"
    assert Place.model_validate_json(first.message.tool_calls[0].function.arguments).days == 1
    assert [chunk.choices[0].delta.content for chunk in stream][1:-1] == ["go ", "to ", "Rome"]


def test_anthropic_calls_a_tool(server):
    with anthropic.Anthropic(api_key="k", base_url=server.base_url("anthropic"), max_retries=0) as client:
        tools = [{"name": "go", "input_schema": TOOL}]
        answer = client.messages.create(model="m", max_tokens=9, messages=ASKED, tools=tools)

    assert (answer.stop_reason, answer.content[0].input) == ("tool_use", {"city": "Rome"})


def test_gemini_has_a_schema_of_its_own(server):
    options = genai.types.HttpOptions(base_url=server.base_url("gemini"))
    with genai.Client(api_key="k", http_options=options) as client:
        config = {"response_mime_type": "application/json", "response_schema": list[Place]}
        answer = client.models.generate_content(model="m", contents="Where to go?", config=config)

    assert answer.parsed == []
