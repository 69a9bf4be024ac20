"""langchain-core: its fakes, and chains of its Runnables around a source that the check can see."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

from finding import finding

from fakellm.contracts import Report, check_stream

CORE = ("langchain-core", "1.8.3")


def model(source: Any) -> Any:
    """Return the source as a Runnable of langchain, which closes what it reads."""
    from langchain_core.runnables import RunnableGenerator

    def run(prompts: Iterator[Any]) -> Iterator[Any]:
        for prompt in prompts:
            yield from source.stream(prompt)

    async def arun(prompts: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for prompt in prompts:
            async with aclosing(source.astream(prompt)) as chunks:
                async for chunk in chunks:
                    yield chunk

    return RunnableGenerator(run, arun)


class InOneFlavour:
    """A chain that has either `stream` or `astream`, so that the report is about that one."""

    def __init__(self, chain: Any, *names: str) -> None:
        for name in names:
            setattr(self, name, getattr(chain, name))


def chain(source: Any) -> Any:
    """Return the commonest chain: a model, and a parser that hands its text on."""
    from langchain_core.output_parsers import StrOutputParser

    return model(source) | StrOutputParser()


def own_chain(source: Any) -> Any:
    """Return the same chain made of our own Runnables."""
    return source | own_parser


def own_parser(chunks: Iterator[str]) -> Iterator[str]:
    yield from chunks


async def own_async_parser(chunks: AsyncIterator[str]) -> AsyncIterator[str]:
    async for chunk in chunks:
        yield chunk


# -- closing a chain ------------------------------------------------------------------------------------------


@finding("close", *CORE)
def langchain_chain_close() -> Report:
    return check_stream(lambda source: InOneFlavour(chain(source), "stream"), contracts=["close"])


@langchain_chain_close.kept
def _() -> Report:
    return check_stream(own_chain, contracts=["close"])


@finding("close", *CORE)
def langchain_retry_async_close() -> Report:
    return check_stream(lambda source: InOneFlavour(model(source).with_retry(), "astream"), contracts=["close"])


@langchain_retry_async_close.kept
def _() -> Report:
    return check_stream(lambda source: source.with_retry(), contracts=["close"])


# -- a task for each step -------------------------------------------------------------------------------------


@finding("task_affinity", *CORE)
def langchain_chain_task_affinity() -> Report:
    return check_stream(chain, contracts=["task_affinity"])


@langchain_chain_task_affinity.kept
def _() -> Report:
    return check_stream(lambda source: source | own_async_parser, contracts=["task_affinity"])


# -- fakes that tests of callbacks and of usage rely on -------------------------------------------------------


@finding("callbacks", *CORE)
def langchain_fake_callbacks() -> Report:
    from langchain_core.language_models.fake import FakeStreamingListLLM

    return check_stream(lambda: FakeStreamingListLLM(responses=["a b c"]), contracts=["callbacks"])


@langchain_fake_callbacks.kept
def _() -> Report:
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage

    return check_stream(lambda: GenericFakeChatModel(messages=iter([AIMessage("a b c")] * 20)), contracts=["callbacks"])


@finding("usage", *CORE)
def langchain_fake_usage() -> Report:
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage

    def make() -> GenericFakeChatModel:
        counts = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
        return GenericFakeChatModel(messages=iter([AIMessage("a b c", usage_metadata=counts)] * 20))

    return check_stream(make, contracts=["usage"])


@langchain_fake_usage.kept
def _() -> Report:
    return check_stream(lambda source: source, chat=True, contracts=["usage"])
