"""DashScope by its own SDK, unchanged: forms of output, calls without a stream, errors as answers, keys, embeddings."""

from __future__ import annotations

import os

import pytest
import sdks
from vectors import first_of

from fakellm import FakeProvider, Reasoning, Script, ToolCall, Usage, provider_error
from fakellm.http import dummy_keys, intercept

dashscope = pytest.importorskip("dashscope", reason="dashscope is in the group provider-sdks")

both = pytest.mark.parametrize("asynchronous", first_of([False, True]), ids=["sync", "async"])
ASKED = {"model": "qwen-plus", "messages": [{"role": "user", "content": "Hi"}]}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]


def answers(*, asynchronous=False, **fields):
    """Return what the SDK gives of a stream."""

    async def main():
        try:
            return [one async for one in await dashscope.AioGeneration.call(**ASKED, stream=True, **fields)]
        finally:
            await dashscope.close_shared_aio_session()

    return sdks.run(main()) if asynchronous else list(dashscope.Generation.call(**ASKED, stream=True, **fields))


def answer(*, asynchronous=False, **fields):
    """Return the answer that is not streamed."""

    async def main():
        try:
            return await dashscope.AioGeneration.call(**{**ASKED, **fields})
        finally:
            await dashscope.close_shared_aio_session()

    return sdks.run(main()) if asynchronous else dashscope.Generation.call(**{**ASKED, **fields})


@both
@pytest.mark.parametrize("adds", [True, False, None], ids=["pieces", "whole by the SDK", "whole by default"])
def test_output_in_pieces_and_whole(fake_dashscope, adds, asynchronous):
    fake_dashscope.reply("Hel", "lo")
    options = {} if adds is None else {"incremental_output": adds}
    found = answers(asynchronous=asynchronous, result_format="message", **options)

    texts = [one.output.choices[0].message.content for one in found]
    assert texts == (["Hel", "lo", ""] if adds else ["Hel", "Hello", "Hello"])
    assert [one.output.choices[0].finish_reason for one in found] == ["null", "null", "stop"]
    assert (found[-1].usage.input_tokens, found[-1].usage.output_tokens) == (1, 2)
    (call,) = fake_dashscope.calls
    assert (call.request.stream, call.request.text, call.state) == (True, "Hi", "complete")


@both
def test_the_older_form_is_a_text(fake_dashscope, asynchronous):
    fake_dashscope.reply("Hel", "lo").reply("Hello")
    assert [one.output.text for one in answers(asynchronous=asynchronous)] == ["Hel", "Hello", "Hello"]
    found = answer(asynchronous=asynchronous)
    assert (found.status_code, found.output.text, found.output.finish_reason) == (200, "Hello", "stop")


@both
def test_reasoning_and_calls_whole_and_in_pieces(fake_dashscope, asynchronous):
    script = Script(
        Reasoning("hm"), "Hi", ToolCall("f", '{"x":', id="f_1"), ToolCall(arguments="1}"), Usage(3, 4, 1, 2)
    )
    fake_dashscope.when(None, script, tools="f")
    options = {"asynchronous": asynchronous, "tools": TOOLS, "result_format": "message"}
    whole, summed = answer(**options), answers(incremental_output=False, **options)[-1]

    for found in (whole, summed):
        (choice,) = found.output.choices
        assert (choice.message.content, choice.message.reasoning_content) == ("Hi", "hm")
        (call,) = choice.message.tool_calls
        assert (call["id"], call["function"]) == ("f_1", {"name": "f", "arguments": '{"x":1}'})
        assert choice.finish_reason == "tool_calls"
        assert found.usage.prompt_tokens_details["cached_tokens"] == 1


@both
def test_an_error_is_an_answer_with_a_status(fake_dashscope, asynchronous):
    fake_dashscope.error(429, "slow down").reply("a", provider_error("boom", "DataInspectionFailed"))
    refused = answer(asynchronous=asynchronous)
    *_, failed = answers(asynchronous=asynchronous)
    wrong = answer(asynchronous=asynchronous, temperature=5.0)

    assert (refused.status_code, refused.code, refused.message) == (429, "Throttling.RateQuota", "slow down")
    assert (failed.status_code, failed.code, failed.message) == (400, "DataInspectionFailed", "boom")
    assert (wrong.status_code, wrong.code) == (400, "InvalidParameter")
    assert "Temperature should be in" in wrong.message


def test_embeddings(fake_dashscope):
    found = dashscope.TextEmbedding.call(model="text-embedding-v4", input=["a b", "c"])
    assert [len(one["embedding"]) for one in found.output["embeddings"]] == [1024, 1024]
    assert found.usage["total_tokens"] == 3
    assert dashscope.TextEmbedding.call(model="text-embedding-v4", input=[]).status_code == 400
    (short,) = dashscope.TextEmbedding.call(model="m", input="a", dimension=64).output["embeddings"]
    assert len(short["embedding"]) == 64


def test_an_app_that_imported_the_sdk_before_finds_a_key(monkeypatch):
    monkeypatch.setattr(dashscope, "api_key", None)
    monkeypatch.delenv("DASHSCOPE_API_KEY", raising=False)
    with dummy_keys("dashscope"):
        assert dashscope.api_key == os.environ["DASHSCOPE_API_KEY"]
    assert dashscope.api_key is None
    monkeypatch.setattr(dashscope, "api_key", "mine")
    with dummy_keys():
        assert dashscope.api_key == "mine"


def test_hosts_of_all_regions_are_its_own_and_openais_api_is_openais(fake_dashscope, fake_openai):
    fake_dashscope.otherwise("a")
    fake_openai.reply("b")
    for place in (
        "dashscope-intl.aliyuncs.com",
        "cn-hongkong.dashscope.aliyuncs.com",
        "ws-1.eu-central-1.maas.aliyuncs.com",
    ):
        assert answer(base_address=f"https://{place}/api/v1").output.text == "a"
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url="https://dashscope.aliyuncs.com/compatible-mode/v1", max_retries=0)
    found = client.chat.completions.create(model="qwen-plus", messages=ASKED["messages"])
    assert found.choices[0].message.content == "b"
    assert len(fake_dashscope.calls) == 3


def test_a_gateway_is_answered_by_the_path():
    with intercept(FakeProvider("dashscope").reply("a")), dummy_keys("dashscope"):
        assert answer(base_address="https://gateway.example/api/v1", api_key="k").output.text == "a"
