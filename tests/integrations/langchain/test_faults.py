"""What goes wrong with the fakes that langchain-core ships, shown on them, does not go wrong here.

Each test makes the same request of theirs and of ours. Where theirs is right one day, the test says so by failing.
"""

from __future__ import annotations

import asyncio
import time
from functools import reduce
from operator import add

import pytest

pytest.importorskip("langchain_core", reason="compares with the fakes of langchain-core, which is not installed")

from langchain_core.language_models.fake import FakeStreamingListLLM
from langchain_core.language_models.fake_chat_models import (
    FakeListChatModel,
    FakeMessagesListChatModel,
    GenericFakeChatModel,
)
from langchain_core.load import dumps
from langchain_core.messages import AIMessage
from pydantic import BaseModel

from fakellm import FakeChatModel, FakeLLM, Pause, Script, ToolCall, Usage, http_error
from fakellm.errors import LLMStatusError, UnexpectedCallError
from fakellm.integrations.langchain.adapters import as_langchain_chat_model, as_langchain_llm

CALL = {"name": "f", "args": {"a": 1}, "id": "call_0", "type": "tool_call"}


def generic(*messages):
    return GenericFakeChatModel(messages=iter(messages))


def ours(*parts):
    return as_langchain_chat_model(FakeChatModel(*parts))


def outcome(call):
    """Return what a call returned, or what it raised."""
    try:
        return call()
    except BaseException as error:
        return error


def test_a_stream_of_nothing_but_a_tool_call():
    theirs = outcome(lambda: list(generic(AIMessage("", tool_calls=[CALL])).stream("?")))

    assert "No generation chunks were returned" in str(theirs)
    assert reduce(add, ours(ToolCall("f", {"a": 1})).stream("?")).tool_calls == [CALL]


def test_usage_of_a_stream():
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    theirs = reduce(add, generic(AIMessage("a b", usage_metadata=usage)).stream("?"))

    assert theirs.usage_metadata is None
    assert reduce(add, ours("a ", "b", Usage(1, 2)).stream("?")).usage_metadata == usage


def test_where_a_text_is_cut():
    theirs = [chunk.content for chunk in generic(AIMessage("well-known  fact")).stream("?")]

    assert theirs == ["well-known", " ", "", " ", "fact"]  # at each white space, and there only
    assert [chunk.content for chunk in ours("we", "ll-known ", " fact").stream("?")] == ["we", "ll-known ", " fact", ""]


def test_a_call_too_many():
    fake, model = FakeChatModel.replies("only"), generic(AIMessage("only"))
    mine = as_langchain_chat_model(fake)
    model.invoke("?"), mine.invoke("?")
    theirs = outcome(lambda: list(model.stream("?")))

    assert isinstance(theirs, RuntimeError)
    assert str(theirs) == "generator raised StopIteration"
    with pytest.raises(UnexpectedCallError, match=r"call 2 of the fake model has no reply: every reply .* was given"):
        list(mine.stream("?"))


def test_replies_and_their_chunks_belong_to_one_call():
    """Theirs takes its messages from one iterator, so that whoever serialises or repeats it takes some too."""
    model = generic(AIMessage("a"), AIMessage("b"))
    copied = model.model_copy()
    mine = as_langchain_chat_model(FakeChatModel().otherwise(lambda _: iter_of("a", "b")))

    async def twice(asked):
        return [[chunk.content async for chunk in asked.astream("?")] for _ in range(2)]

    model.invoke("?")
    assert copied.invoke("?").content == "b"  # the copy went on where the other was
    assert asyncio.run(twice(mine)) == [["a", "b", ""], ["a", "b", ""]]


def iter_of(*parts):
    async def said():
        for part in parts:
            yield part

    return said()


def test_serialising_takes_no_reply():
    model, fake = generic(AIMessage("a"), AIMessage("b")), FakeChatModel.replies("a", "b")
    mine = as_langchain_chat_model(fake)
    model.model_dump_json(), mine.model_dump_json(), dumps(mine)

    assert outcome(lambda: list(model.messages)) == []
    assert mine.invoke("?").content == "a"


def test_tools_and_structured_output():
    class Answer(BaseModel):
        value: int

    for method in ("bind_tools", "with_structured_output"):
        asked = [Answer] if method == "bind_tools" else Answer
        assert isinstance(outcome(lambda m=method, a=asked: getattr(generic(), m)(a)), NotImplementedError)

    model = ours(ToolCall("Answer", {"value": 42}))
    assert model.bind_tools([Answer]).invoke("?").tool_calls[0]["args"] == {"value": 42}
    assert model.with_structured_output(Answer).invoke("?") == Answer(value=42)


def test_a_batch_reports_the_failure_of_one_call_in_its_place():
    class Failing(FakeListChatModel):
        def _call(self, messages, *rest, **kwargs):
            raise RuntimeError

    theirs = outcome(lambda: Failing(responses=["a"]).batch(["x", "y"], return_exceptions=True))
    mine = as_langchain_chat_model(FakeChatModel.replies("a", http_error(500)))

    assert isinstance(theirs, RuntimeError)
    first, second = mine.batch(["x", "y"], return_exceptions=True)
    assert (first.content, type(second)) == ("a", LLMStatusError)


def test_a_batch_checks_how_many_configs_there_are():
    theirs = outcome(lambda: FakeListChatModel(responses=["a"]).batch(["x", "y"], [{}, {}, {}]))
    mine = outcome(lambda: ours("a").batch(["x", "y"], [{}, {}, {}]))

    assert len(theirs) == 2
    assert isinstance(mine, ValueError)


class Slow(FakeMessagesListChatModel):
    """Lets the second call of a batch ask first, as the threads may."""

    def invoke(self, input, config=None, **kwargs):
        if input == "x":
            _second.wait(5)
        try:
            return super().invoke(input, config, **kwargs)
        finally:
            _second.set()


def test_a_batch_comes_back_in_order():
    global _second
    from threading import Event

    _second = Event()
    theirs = Slow(responses=[AIMessage("0"), AIMessage("1")]).batch(["x", "y"])
    mine = as_langchain_chat_model(FakeChatModel.replies(*map(str, range(50))))

    assert [answer.content for answer in theirs] == ["1", "0"]
    assert [answer.content for answer in mine.batch(["?"] * 50)] == list(map(str, range(50)))


def test_a_text_model_has_chunks_and_stream_events():
    async def kinds(model):
        return [event["event"] async for event in model.astream_events("?", version="v2")]

    theirs, mine = FakeStreamingListLLM(responses=["ab"]), as_langchain_llm(FakeLLM("ab", "c"))

    assert "on_llm_stream" not in asyncio.run(kinds(theirs))
    assert asyncio.run(kinds(mine)).count("on_llm_stream") == 2
    assert (list(theirs.stream("?")), list(mine.stream("?"))) == (["a", "b"], ["ab", "c"])


def test_an_hour_of_silence_takes_no_time():
    started = time.monotonic()
    chunks = [chunk.content for chunk in ours(Script("a", Pause(3600), "b")).stream("?")]

    assert chunks == ["a", "b", ""]
    assert time.monotonic() - started < 60
