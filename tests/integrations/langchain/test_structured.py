"""Structured output: a reply that is a tool call or JSON text comes out parsed, as a provider's model would do it."""

from __future__ import annotations

import asyncio
import json
from typing import TypedDict

import pytest
from vectors import each

pytest.importorskip("langchain_core", reason="the adapter is for langchain-core, which is not installed")

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage
from pydantic import BaseModel, ValidationError

from fakellm import FakeChatModel, Script, ToolCall
from fakellm.integrations.langchain.adapters import as_langchain_chat_model
from fakellm.script.events import Reasoning


class Point(BaseModel):
    """A point."""

    x: int
    y: int


class PointDict(TypedDict):
    """A point."""

    x: int
    y: int


SCHEMAS = {
    "pydantic": (Point, "Point"),
    "typeddict": (PointDict, "PointDict"),
    "json": ({"title": "Place", "description": "d", "type": "object", "properties": {"x": {}, "y": {}}}, "Place"),
}
schemas = pytest.mark.parametrize("schema, name", SCHEMAS.values(), ids=SCHEMAS)
both = pytest.mark.parametrize("flavour", ["sync", "async"])
VALUE = {"x": 1, "y": 2}
TEXT = Script.of(json.dumps(VALUE), every=3)


def call(name="Point", value=None):
    return Script(ToolCall(name, VALUE if value is None else value)).rechunk(every=4, of=ToolCall)


def chat(*parts):
    return as_langchain_chat_model(FakeChatModel(*parts))


def ask(runnable, flavour):
    return asyncio.run(runnable.ainvoke("?")) if flavour == "async" else runnable.invoke("?")


def read(runnable, flavour):
    async def main():
        return [chunk async for chunk in runnable.astream("?")]

    return asyncio.run(main()) if flavour == "async" else list(runnable.stream("?"))


def plain(value):
    return value.model_dump() if isinstance(value, BaseModel) else value


@each(both)
@each(schemas)
@each(
    "method, as_text",
    [("function_calling", False), ("json_schema", True), ("json_mode", True), (None, False), (None, True)],
)
def test_the_reply_comes_out_parsed(flavour, schema, name, method, as_text):
    model = chat(TEXT if as_text else call(name)).with_structured_output(schema, method=method)
    whole, pieces = ask(model, flavour), read(model, flavour)

    assert isinstance(whole, Point if schema is Point else dict)
    assert plain(whole) == plain(pieces[-1]) == VALUE


@both
@pytest.mark.parametrize("reply", [call("PointDict"), TEXT], ids=["call", "text"])
def test_a_dict_grows_while_it_streams(flavour, reply):
    pieces = read(chat(Reasoning("hm"), *reply).with_structured_output(PointDict), flavour)

    assert len(pieces) > 1
    assert {"x": 1} in pieces


@pytest.mark.parametrize("reply", [call("PointDict"), TEXT], ids=["call", "text"])
def test_the_first_piece_comes_before_the_reply_is_complete(reply):
    model = chat(*reply)
    stream = model.with_structured_output(PointDict).stream("?")
    next(stream)

    assert model.fake.calls[0].delivered < len(reply)
    stream.close()


@both
@pytest.mark.parametrize("before", ["Let me see. ", " \n"])
@pytest.mark.parametrize("streaming", [True, False])
def test_a_text_before_the_call_is_passed_over(flavour, before, streaming):
    model = as_langchain_chat_model(FakeChatModel(before, *call(), streaming=streaming)).with_structured_output(Point)

    assert ask(model, flavour) == read(model, flavour)[-1] == Point(**VALUE)


@both
def test_a_model_that_does_not_stream_comes_out_parsed(flavour):
    model = as_langchain_chat_model(FakeChatModel(*TEXT, streaming=False)).with_structured_output(Point)

    assert read(model, flavour) == [Point(**VALUE)]


@both
def test_a_text_that_is_none_gives_nothing_in_a_stream_as_langchains_parsers_do(flavour):
    for method in (None, "json_schema"):
        assert read(chat("It ", "is ", "so.").with_structured_output(Point, method=method), flavour) == []


@each(both)
@each(
    "method, reply, error",
    [
        ("json_schema", ("no JSON",), OutputParserException),
        ("json_mode", ("{",), OutputParserException),
        (None, ("no JSON",), OutputParserException),
        ("function_calling", call(value={"x": "one"}), ValidationError),
        (None, call(value={"x": "one"}), ValidationError),
    ],
)
def test_what_cannot_be_parsed_raises_or_stands_beside_the_raw_answer(flavour, method, reply, error):
    model = chat(*reply)
    with pytest.raises(error):
        ask(model.with_structured_output(Point, method=method), flavour)
    result = ask(model.with_structured_output(Point, method=method, include_raw=True), flavour)

    assert isinstance(result["raw"], AIMessage)
    assert result["parsed"] is None
    assert isinstance(result["parsing_error"], error)


@both
def test_the_raw_answer_stands_beside_the_parsed_one(flavour):
    result = ask(chat(call()).with_structured_output(Point, include_raw=True), flavour)

    assert result["raw"].tool_calls[0]["args"] == VALUE
    assert (result["parsed"], result["parsing_error"]) == (Point(**VALUE), None)


@both
@pytest.mark.parametrize("reply", ["just text", TEXT], ids=["text", "json"])
def test_a_model_that_was_told_to_call_a_function_and_did_not_gives_none(flavour, reply):
    assert (
        ask(
            chat(*reply if isinstance(reply, Script) else (reply,)).with_structured_output(
                Point, method="function_calling"
            ),
            flavour,
        )
        is None
    )


def test_the_log_says_what_the_model_was_told():
    model = chat(TEXT)
    for method in ("function_calling", "json_schema", "json_mode", None):
        model.with_structured_output(Point, method=method, strict=None if method == "json_mode" else True).invoke("?")
    functions, schema, mode, default = (call.kwargs for call in model.fake.calls)

    assert functions == default
    assert functions["tool_choice"] == "Point"
    assert functions["tools"][0]["function"]["strict"] is True
    assert schema["response_format"]["type"] == "json_schema"
    assert schema["response_format"]["json_schema"]["name"] == "Point"
    assert set(schema["response_format"]["json_schema"]["schema"]["properties"]) == {"x", "y"}
    assert mode == {"response_format": {"type": "json_object"}}


@pytest.mark.parametrize(
    "schema, options, message",
    [
        (Point, {"method": "magic"}, "no method 'magic'; there are 'function_calling', 'json_schema' and 'json_mode'"),
        (None, {}, "needs a schema, except with method='json_mode'"),
    ],
)
def test_what_is_wrong_is_said(schema, options, message):
    with pytest.raises(ValueError, match=message):
        chat("{}").with_structured_output(schema, **options)


def test_json_mode_needs_no_schema():
    assert chat('{"a": [1]}').with_structured_output(method="json_mode").invoke("?") == {"a": [1]}
