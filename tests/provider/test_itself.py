"""What a fake answers by itself: an echo, calls and JSON that the schemas of every API describe."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
from jsonschema import Draft202012Validator
from vectors import each

from fakellm import FakeProvider, Script
from fakellm.errors import BrokenReplyError
from fakellm.provider import by_itself
from fakellm.provider.actions import Timeouts
from fakellm.wire.providers import scripted_endpoint
from fakellm.wire.service import codec_of
from fakellm.wire.smallest import smallest

ARGUMENTS = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 2},
        "unit": {"enum": ["c", "f"]},
        "days": {"type": "integer"},
    },
    "required": ["city", "unit"],
}
CALLED = {"city": "aa", "unit": "c"}
ANSWER = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
FUNCTION = {"name": "get_weather", "parameters": ARGUMENTS}
CALL = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
GOOGLE = {"type": "OBJECT", "properties": {"ok": {"type": "BOOLEAN", "nullable": True}}, "required": ["ok"]}

USER = {"role": "user", "content": "Say this again"}
CHAT = [USER]
CHAT_RESULT = [
    USER,
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "rain"},
]
OLLAMA_RESULT = [
    USER,
    {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "get_weather", "arguments": {}}}]},
    {"role": "tool", "tool_name": "get_weather", "content": "rain"},
]
CLAUDE_RESULT = [
    USER,
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "get_weather", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "rain"}]},
]
GEMINI = [{"role": "user", "parts": [{"text": "Say this again"}]}]
GEMINI_RESULT = [
    *GEMINI,
    {"role": "model", "parts": [{"functionCall": {"name": "get_weather", "args": {}}}]},
    {"role": "user", "parts": [{"functionResponse": {"name": "get_weather", "response": {"is": "rain"}}}]},
]
INPUT_RESULT = [
    USER,
    {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "rain"},
]
CONVERSE = [{"role": "user", "content": [{"text": "Say this again"}]}]
CONVERSE_RESULT = [
    *CONVERSE,
    {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t", "name": "get_weather", "input": {}}}]},
    {"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": [{"text": "rain"}]}}]},
]

M = {"model": "m"}
CASES = {  # the URL; a request for text, after a result, with tools, and for JSON
    "openai.chat": (
        "https://api.openai.com/v1/chat/completions",
        {**M, "messages": CHAT}, {"messages": CHAT_RESULT}, {"tools": [{"type": "function", "function": FUNCTION}]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": ANSWER}}},
    ),
    "mistral": (
        "https://api.mistral.ai/v1/chat/completions",
        {**M, "messages": CHAT}, {"messages": CHAT_RESULT}, {"tools": [{"type": "function", "function": FUNCTION}]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": ANSWER}}},
    ),
    "openai.responses": (
        "https://api.openai.com/v1/responses",
        {**M, "input": CHAT}, {"input": INPUT_RESULT}, {"tools": [{"type": "web_search"}, {"type": "function", **FUNCTION}]},
        {"text": {"format": {"type": "json_schema", "name": "a", "schema": ANSWER}}},
    ),
    "anthropic": (
        "https://api.anthropic.com/v1/messages",
        {**M, "max_tokens": 9, "messages": CHAT}, {"messages": CLAUDE_RESULT},
        {"tools": [{"type": "bash_20250124", "name": "bash"}, {"name": "get_weather", "input_schema": ARGUMENTS}]},
        {"output_config": {"format": {"type": "json_schema", "schema": ANSWER}}},
    ),
    "gemini": (
        "https://generativelanguage.googleapis.com/v1beta/models/m:{}",
        {"contents": GEMINI}, {"contents": GEMINI_RESULT},
        {"tools": [{"googleSearch": {}}, {"functionDeclarations": [FUNCTION]}]},
        {"generationConfig": {"responseMimeType": "application/json", "responseSchema": GOOGLE}},
    ),
    "ollama": (
        "http://localhost:11434/api/chat",
        {**M, "messages": CHAT}, {"messages": OLLAMA_RESULT}, {"tools": [{"type": "function", "function": FUNCTION}]},
        {"format": ANSWER},
    ),
    "cohere": (
        "https://api.cohere.com/v2/chat",
        {**M, "messages": CHAT}, {"messages": [*CHAT_RESULT[:1], {"role": "assistant", "tool_calls": [CALL]}, *CHAT_RESULT[2:]]},
        {"tools": [{"type": "function", "function": FUNCTION}]},
        {"response_format": {"type": "json_object", "schema": ANSWER}},
    ),
    "dashscope": (
        "https://dashscope.aliyuncs.com/api/v1/services/aigc/text-generation/generation",
        {**M, "input": {"messages": CHAT}}, {"input": {"messages": CHAT_RESULT}},
        {"parameters": {"tools": [{"type": "function", "function": FUNCTION}], "incremental_output": True}},
        {"parameters": {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": ANSWER}}}},
    ),
    "bedrock": (
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/converse-stream",
        {"messages": CONVERSE}, {"messages": CONVERSE_RESULT},
        {"toolConfig": {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": ARGUMENTS}}}]}}, None,
    ),
}  # fmt: skip


def streamed(name, url, body):
    """Return the answer of a fake that answers by itself, as its stream has it."""
    body = {**body, "stream": True} if name not in ("gemini", "bedrock") else body
    url = url.format("streamGenerateContent?alt=sse")
    provider = FakeProvider(name.partition(".")[0]).otherwise(by_itself)
    exchange = provider.handle("POST", url, {"accept": "text/event-stream"}, json.dumps(body).encode())
    data = b"".join(b"".join(run) for run in exchange.body(Timeouts()))
    assert exchange.status == 200, data
    return codec_of(scripted_endpoint("POST", urlsplit(url).path)[1]).decode(data)


@each("name", CASES)
def test_each_api_is_answered_with_an_echo_a_call_and_json(name):
    url, text, result, tools, form = CASES[name]

    echo = streamed(name, url, text)
    call = streamed(name, url, text | tools)
    after = streamed(name, url, text | tools | result)

    assert echo.text == "Say this again"
    assert len([event for event in echo.chunks if event.type == "text" and event.text]) == 3
    assert [(call.name, call.args) for call in call.tool_calls] == [("get_weather", CALLED)]
    assert "rain" in after.text
    assert after.tool_calls == ()
    if form is not None:
        answer = streamed(name, url, text | form)
        assert json.loads(answer.text) == {"ok": False}
        assert streamed(name, url, text | tools | result | form).text == answer.text


def reply(**fields):
    return by_itself(
        codec_of(scripted_endpoint("POST", "/v1/chat/completions")[1]).request({**M, "messages": CHAT, **fields})
    )


TWO = [{"type": "function", "function": {"name": name}} for name in ("first", "second")]


@each(
    ("fields", "names"),
    [
        ({"tools": TWO}, ["first"]),
        ({"tools": TWO, "tool_choice": "none"}, []),
        ({"tools": TWO, "tool_choice": "required"}, ["first"]),
        ({"tools": TWO, "tool_choice": {"type": "function", "function": {"name": "second"}}}, ["second"]),
        ({"tools": TWO, "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": TWO[1:]}}}, ["second"]),
        ({"tools": TWO, "response_format": {"type": "text"}, "tool_choice": "none"}, []),
        ({"tools": TWO, "messages": [*CHAT_RESULT, {"role": "assistant", "content": "Rain."}, USER]}, []),
        ({"tools": TWO, "tool_choice": "required", "messages": [*CHAT_RESULT, {"role": "assistant", "content": "Rain."}, USER]}, ["first"]),
        ({"tools": TWO, "tool_choice": "required", "messages": CHAT_RESULT}, []),
        ({"tools": []}, []),
    ],
)  # fmt: skip
def test_a_tool_is_called_once_unless_it_is_demanded(fields, names):
    assert [call.name for call in reply(**fields).tool_calls] == names


def test_the_older_form_of_tools_is_called_and_any_object_is_the_empty_one():
    result = {"role": "function", "name": "get_weather", "content": "rain"}

    assert [call.args for call in reply(functions=[FUNCTION]).tool_calls] == [CALLED]
    assert reply(functions=[FUNCTION], messages=[USER, result]).text == "rain"
    assert reply(response_format={"type": "json_object"}).text == "{}"


def test_interactions_have_the_schema_itself():
    url = "https://generativelanguage.googleapis.com/v1beta/interactions"
    provider = FakeProvider("gemini").otherwise(by_itself)

    def said(**fields):
        provider.handle("POST", url, {}, json.dumps({**M, "input": "hi", **fields}).encode())
        return by_itself(provider.calls[-1].request)

    assert said(response_format=ANSWER).text == '{"ok": false}'
    assert (
        said(response_format=[{"type": "text", "mime_type": "application/json", "schema": ANSWER}]).text
        == '{"ok": false}'
    )
    allowed = {"allowed_tools": {"mode": "any", "tools": ["second"]}}
    tools = [{"type": "function", "name": name, "parameters": {}} for name in ("first", "second")]
    assert [call.name for call in said(tools=tools, generation_config={"tool_choice": allowed}).tool_calls] == [
        "second"
    ]


def test_what_has_no_text_is_answered_too():
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]

    assert reply(messages=image) == Script.of("I have nothing to repeat.")


def test_a_schema_that_describes_nothing_is_said_to():
    form = {"type": "json_schema", "json_schema": {"schema": {"type": "integer", "minimum": 2, "maximum": 1}}}
    provider = FakeProvider("openai").otherwise(by_itself)

    with pytest.raises(BrokenReplyError, match="no value was found that the JSON schema describes: .*'minimum': 2"):
        provider.handle(
            "POST",
            "https://api.openai.com/v1/chat/completions",
            {},
            json.dumps({**M, "messages": CHAT, "response_format": form}).encode(),
        )


SCHEMAS = [
    ({}, ""),
    (True, ""),
    ({"type": ["null", "string"]}, None),
    ({"enum": ["b", "a"]}, "b"),
    ({"const": {"a": 1}}, {"a": 1}),
    ({"type": "integer", "minimum": 3, "multipleOf": 5}, 5),
    ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
    ({"type": "number", "multipleOf": 0.25, "minimum": 1.1}, 1.25),
    ({"type": "integer", "maximum": -2.5}, -3),
    ({"type": "string", "pattern": r"^[A-Z]{3}-\d{4}$"}, "AAA-0000"),
    ({"type": "string", "pattern": "^(foo|ba)+$", "minLength": 5}, "bababa"),
    ({"type": "string", "pattern": r"^(?=.*[A-Z])(?=.*\d).{8,}$"}, "A0aaaaaa"),
    ({"type": "string", "pattern": r"^(\d{4})\/[^a-z]$"}, "0000/A"),
    ({"type": "string", "format": "email", "minLength": 20}, "aaaaaaaa@example.com"),
    ({"type": "string", "format": "date-time"}, "2026-01-01T00:00:00Z"),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 3, "uniqueItems": True}, [0, 1, -1]),
    ({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "minItems": 2, "items": False}, ["", 0]),
    ({"type": "array", "items": {"type": "integer"}, "contains": {"minimum": 5}, "minContains": 2}, [5, 5]),
    ({"type": "object", "minProperties": 2, "additionalProperties": {"type": "integer"}}, {"a0": 0, "a1": 0}),
    ({"type": "object", "patternProperties": {"^x_": {"type": "integer"}}, "additionalProperties": False, "minProperties": 1}, {"x_": 0}),
    ({"type": "object", "propertyNames": {"pattern": "^[a-c]$"}, "minProperties": 3}, {"a": "", "b": "", "c": ""}),
    ({"type": "object", "dependentRequired": {"a": ["b"]}, "required": ["a"]}, {"a": "", "b": ""}),
    (
        {"$defs": {"N": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/N"}, {"type": "null"}]}}, "required": ["next"]}}, "$ref": "#/$defs/N"},
        {"next": None},
    ),
    (
        {"$defs": {"T": {"type": "object", "properties": {"of": {"type": "array", "items": {"$ref": "#/$defs/T"}}}, "required": ["of"]}}, "$ref": "#/$defs/T"},
        {"of": []},
    ),
    ({"$defs": {"a b": {"type": "integer", "minimum": 7}}, "$ref": "#/$defs/a%20b"}, 7),
    ({"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 0}]}, -1),
    (
        {"oneOf": [{"properties": {"t": {"const": "a"}}, "required": ["t"]}, {"properties": {"t": {"const": "b"}}, "required": ["t"]}]},
        {"t": "a"},
    ),
    (
        {"allOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"properties": {"a": {"minimum": 4}}, "required": ["b"]}]},
        {"a": 4, "b": ""},
    ),
    ({"type": "string", "not": {"enum": ["", "a"]}}, "aa"),
    (
        {"type": "object", "properties": {"k": {"enum": ["x", "y"]}, "v": {"type": "integer"}}, "required": ["k"],
         "if": {"properties": {"k": {"const": "x"}}}, "then": {"required": ["v"]}},
        {"k": "x", "v": 0},
    ),
]  # fmt: skip


@each(("schema", "value"), SCHEMAS, ids=lambda value: json.dumps(value)[:60])
def test_the_smallest_value_is_one_that_the_schema_describes(schema, value):
    assert smallest(schema) == value
    Draft202012Validator(schema).validate(value)


def test_schemas_of_pydantic_are_kept():
    from datetime import date, datetime, timedelta
    from decimal import Decimal
    from typing import Annotated, Literal
    from uuid import UUID

    from pydantic import AnyUrl, BaseModel, Field

    class Inner(BaseModel):
        kind: Literal["inner"]
        score: Annotated[float, Field(gt=0, le=1)]

    class Model(BaseModel):
        id: UUID
        when: datetime
        day: date
        wait: timedelta
        price: Decimal
        link: AnyUrl
        code: Annotated[str, Field(pattern=r"^[a-z]{2}\d$", min_length=3)]
        tags: Annotated[set[str], Field(min_length=2)]
        inner: Inner | None
        all: list[Inner] = Field(min_length=1)
        pair: tuple[int, str]
        by_name: dict[str, Inner]
        parent: Model | None

    value = smallest(Model.model_json_schema())

    assert Model.model_validate_json(json.dumps(value)).parent is None
    Draft202012Validator(Model.model_json_schema()).validate(value)


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"not": {}},
        {"type": "string", "minLength": 10**12},
        {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        pytest.param(
            {"allOf": [{"anyOf": [{"type": "string", "minLength": 2 + i, "pattern": "^b$"} for i in range(9)]}] * 9},
            marks=pytest.mark.exhaustive,
        ),
    ],
    ids=range(6),
)
def test_a_schema_that_describes_nothing_or_too_much_is_given_up(schema):
    with pytest.raises(ValueError, match="no value was found"):
        smallest(schema)
