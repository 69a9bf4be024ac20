"""Frameworks between an app and a provider: what they make of a stream that is not the usual one."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing
from functools import reduce
from operator import add
from typing import Any

from finding import finding
from of_sdks import IncompleteAnswerError
from serving import async_openai_client, http_client, openai_client

from fakellm import Script
from fakellm.contracts import Report, check_consumer, check_faults, check_stream

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "true")  # litellm asks the network for its prices
LANGCHAIN, OLD_LANGCHAIN = ("langchain-openai", "1.7.4"), ("langchain-openai", "1.1.9")
LITELLM, INSTRUCTOR, LLAMA = ("litellm", "1.110.2"), ("instructor", "1.17.0"), ("llama-index-llms-openai", "0.8.3")
PYDANTIC, AGENTS = ("pydantic-ai-slim", "2.68.0", "pydantic_ai.models.openai"), ("openai-agents", "0.24.0")

# -- langchain-openai -----------------------------------------------------------------------------------------


def langchain_chunks(chunks: Iterable[Any]) -> Iterator[Any]:
    """Yield the message chunks that langchain makes of chat completion chunks."""
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="m", api_key="none", max_retries=0, http_client=http_client(chunks), stream_usage=True)
    yield from model.stream("?")


def langchain_sum(chunks: Iterable[Any]) -> Any:
    """Return the sum of the message chunks, which is what `invoke` returns when it streams."""
    message = reduce(add, langchain_chunks(chunks))
    return *said(message), message.usage_metadata, message.response_metadata.get("finish_reason")


def langchain_last(chunks: Iterable[Any]) -> Any:
    """Return text and calls of the sum, and of usage and finish reason the last that was told."""
    parts = list(langchain_chunks(chunks))
    usages = [part.usage_metadata for part in parts if part.usage_metadata]
    reasons = [part.response_metadata["finish_reason"] for part in parts if "finish_reason" in part.response_metadata]
    return *said(reduce(add, parts)), usages[-1:], reasons[-1:]


def said(message: Any) -> Any:
    return message.content, sorted((call["name"], json.dumps(call["args"])) for call in message.tool_calls)


@finding("usage", *LANGCHAIN)
def langchain_openai_usage() -> Report:
    return check_consumer(langchain_sum, contracts=["usage"])


@langchain_openai_usage.kept
def _() -> Report:
    return check_consumer(langchain_last, contracts=["usage"])


@finding("finish", *LANGCHAIN)
def langchain_openai_finish() -> Report:
    return check_consumer(langchain_sum, contracts=["finish"])


@langchain_openai_finish.kept
def _() -> Report:
    return check_consumer(langchain_last, contracts=["finish"])


def langchain_model(**options: Any) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model="m", api_key="none", **options)


class Careful:
    """A model whose stream raises unless the answer said why it ended."""

    def __init__(self) -> None:
        self._model = langchain_model()

    def stream(self, prompt: str) -> Iterator[Any]:
        ended = False
        for chunk in self._model.stream(prompt):
            ended = ended or "finish_reason" in chunk.response_metadata
            yield chunk
        if not ended:
            raise IncompleteAnswerError


@finding("truncation", *LANGCHAIN)
def langchain_openai_truncation() -> Report:
    return check_stream(langchain_model, api="openai", contracts=["truncation"])


@langchain_openai_truncation.kept
def _() -> Report:
    return check_stream(Careful, api="openai", contracts=["truncation"])


@finding("in_band_error", *OLD_LANGCHAIN)
def langchain_openai_responses_error() -> Report:
    return check_stream(lambda: langchain_model(use_responses_api=True), api="openai", contracts=["in_band_error"])


# -- llama-index ----------------------------------------------------------------------------------------------


def llama_index_calls(chunks: Iterable[Any]) -> list[Any]:
    """Return the calls that llama-index finds in chat completion chunks."""
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.openai import OpenAI

    model = OpenAI(model="gpt-4o", api_key="none", openai_client=openai_client(chunks))
    *_, last = model.stream_chat([ChatMessage("?")])
    calls = model.get_tool_calls_from_response(last, error_on_no_tool_call=False)
    return [(call.tool_name, call.tool_kwargs) for call in calls]


def own_calls(chunks: Iterable[Any]) -> list[Any]:
    """Return the same, with the pieces of the calls put together by their index."""
    calls: dict[int, list[str]] = {}
    for chunk in openai_client(chunks).chat.completions.create(model="m", messages=[], stream=True):
        for piece in (piece for choice in chunk.choices for piece in choice.delta.tool_calls or ()):
            call = calls.setdefault(piece.index, ["", ""])
            if piece.function:
                call[0] = piece.function.name or call[0]
                call[1] += piece.function.arguments or ""
    return [(name, json.loads(arguments or "{}")) for name, arguments in calls.values()]


@finding("tool_calls", *LLAMA)
def llama_index_tool_calls() -> Report:
    return check_consumer(llama_index_calls, contracts=["tool_calls"])


@llama_index_tool_calls.kept
def _() -> Report:
    return check_consumer(own_calls, contracts=["tool_calls"])


# -- litellm --------------------------------------------------------------------------------------------------


def texts_of(chunks: Iterable[Any]) -> dict[int, str]:
    """Return the text of each choice."""
    texts: dict[int, str] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
    return texts


def litellm_texts(chunks: Iterable[Any]) -> dict[int, str]:
    import litellm

    asked: dict[str, Any] = {"model": "openai/m", "messages": [{"role": "user", "content": "?"}], "n": 2}
    return texts_of(litellm.completion(**asked, stream=True, client=openai_client(chunks)))


def openai_texts(chunks: Iterable[Any]) -> dict[int, str]:
    return texts_of(openai_client(chunks).chat.completions.create(model="m", messages=[], n=2, stream=True))


@finding("crossed_streams", *LITELLM)
def litellm_crossed_streams() -> Report:
    return check_consumer(litellm_texts, contracts=["crossed_streams"])


@litellm_crossed_streams.kept
def _() -> Report:
    return check_consumer(openai_texts, contracts=["crossed_streams"])


def litellm_stream() -> Callable[[str], AsyncIterator[Any]]:
    import litellm

    async def ask(prompt: str) -> AsyncIterator[Any]:
        messages = [{"role": "user", "content": prompt}]
        async for chunk in await litellm.acompletion("openai/m", messages, api_key="none", stream=True):
            yield chunk

    return ask


def litellm_careful() -> Callable[[str], AsyncIterator[Any]]:
    ask = litellm_stream()

    async def read(prompt: str) -> AsyncIterator[Any]:
        said = False
        async for chunk in ask(prompt):
            said = said or bool(chunk.choices and chunk.choices[0].delta.content)
            yield chunk
        if not said:
            raise IncompleteAnswerError

    return read


@finding("truncation", *LITELLM)
def litellm_truncation() -> Report:
    return check_stream(litellm_stream, api="openai", contracts=["truncation"])


@litellm_truncation.kept
def _() -> Report:
    return check_stream(litellm_careful, api="openai", contracts=["truncation"])


# -- instructor -----------------------------------------------------------------------------------------------

LIST = '{"tasks": [{"name": "Ada", "age": 36}, {"name": "Alan", "age": 41}]}'


def instructor_items(client: Any) -> list[Any]:
    """Return the items of a list that instructor takes from a stream."""
    import instructor
    from pydantic import BaseModel

    class Person(BaseModel):
        name: str
        age: int

    asked: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
    patched = instructor.from_openai(client, mode=instructor.Mode.JSON)
    return [person.model_dump() for person in patched.create_iterable(**asked, response_model=Person)]


def own_items(client: Any) -> list[Any]:
    """Return the items of a list that ended as the provider wanted it to."""
    text, reason = "", None
    for chunk in client.chat.completions.create(model="m", messages=[], stream=True):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reason = choice.finish_reason or reason
    if reason != "stop":
        raise IncompleteAnswerError(reason)
    return list(json.loads(text)["tasks"])


def over_the_wire(read: Callable[[Any], list[Any]], faulty: Script) -> list[Any]:
    """Let a fake provider say the answer to an app."""
    import openai

    from fakellm import FakeProvider
    from fakellm.http import intercept

    provider = FakeProvider("openai")
    provider.otherwise(faulty)
    with intercept(provider):
        return read(openai.OpenAI(api_key="none", max_retries=0))


def instructor_app(faulty: Script) -> list[Any]:
    return over_the_wire(instructor_items, faulty)


def own_app(faulty: Script) -> list[Any]:
    return over_the_wire(own_items, faulty)


@finding("truncation", *INSTRUCTOR)
def instructor_truncation() -> Report:
    return check_faults(instructor_app, Script.of(LIST), kinds="disconnect")


@instructor_truncation.kept
def _() -> Report:
    return check_faults(own_app, Script.of(LIST), kinds="disconnect")


# -- pydantic-ai ----------------------------------------------------------------------------------------------


def pydantic_agent(client: Any) -> Any:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    return Agent(OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client)))


def pydantic_stream(*, careful: bool = False) -> Callable[[str], AsyncIterator[str]]:
    import openai

    agent = pydantic_agent(openai.AsyncOpenAI(api_key="none"))

    async def ask(prompt: str) -> AsyncIterator[str]:
        async with agent.run_stream(prompt) as run:
            async for text in run.stream_text(delta=True, debounce_by=None):
                yield text
            if careful and "finish_reason" not in (run.response.provider_details or {}):
                raise IncompleteAnswerError

    return ask


@finding("truncation", *PYDANTIC)
def pydantic_ai_truncation() -> Report:
    return check_stream(pydantic_stream, api="openai", contracts=["truncation"])


@pydantic_ai_truncation.kept
def _() -> Report:
    return check_stream(lambda: pydantic_stream(careful=True), api="openai", contracts=["truncation"])


async def pydantic_usage(chunks: AsyncIterator[Any], **settings: Any) -> Any:
    """Return the text and the tokens of a run."""
    agent = pydantic_agent(async_openai_client([chunk async for chunk in chunks]))
    async with agent.run_stream("?", model_settings=settings or None) as run:
        return await run.get_output(), run.usage.input_tokens, run.usage.output_tokens


async def pydantic_continuous_usage(chunks: AsyncIterator[Any]) -> Any:
    return await pydantic_usage(chunks, openai_continuous_usage_stats=True)


@finding("usage", *PYDANTIC)
def pydantic_ai_usage() -> Report:
    return check_consumer(pydantic_usage, contracts=["usage"])


@pydantic_ai_usage.kept
def _() -> Report:
    return check_consumer(pydantic_continuous_usage, contracts=["usage"])


# -- openai-agents --------------------------------------------------------------------------------------------


def agents_stream(*, cancel: bool = False) -> Callable[[str], AsyncIterator[str]]:
    import agents
    import openai

    agents.set_tracing_disabled(disabled=True)
    model = agents.OpenAIChatCompletionsModel("m", openai.AsyncOpenAI(api_key="none"))

    async def ask(prompt: str) -> AsyncIterator[str]:
        run = agents.Runner.run_streamed(agents.Agent(name="a", model=model), prompt)
        async with aclosing(run.stream_events()) as events:
            try:
                async for event in events:
                    if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                        yield event.data.delta
            finally:
                if cancel:
                    run.cancel()

    return ask


@finding("close", *AGENTS)
def openai_agents_close() -> Report:
    return check_stream(agents_stream, api="openai", contracts=["close"])


@openai_agents_close.kept
def _() -> Report:
    return check_stream(lambda: agents_stream(cancel=True), api="openai", contracts=["close"])


@finding("backpressure", *AGENTS)
def openai_agents_backpressure() -> Report:
    return check_stream(agents_stream, api="openai", contracts=["backpressure"])
