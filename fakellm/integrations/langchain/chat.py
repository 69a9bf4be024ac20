"""`FakeChatModel` as a LangChain chat model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import get_config_list, get_executor_for_config
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from fakellm.concurrency import closing
from fakellm.integrations.langchain.calls import Adapter, number_of, opened
from fakellm.integrations.langchain.messages import (
    Chunks,
    generation_of,
    identified,
    message_of,
    text_chunk,
    text_message,
)
from fakellm.integrations.langchain.structured import Method, structured
from fakellm.integrations.langchain.turns import InTurn
from fakellm.integrations.langchain.unwatched import Unwatched, short_way, unwatched, watches
from fakellm.models.models import FakeChatModel
from fakellm.script.messages import Message


class LangChainFakeChatModel(Adapter, BaseChatModel):
    """A chat model whose answers come from a `FakeChatModel`.

    `model`, `temperature`, `max_tokens`, `timeout` (seconds), `max_retries` and `stop` are what a provider's model
    would be made with: they reach traces, and `stop` the log. `streaming=True` makes `invoke` use the stream,
    `streaming=False` makes `stream` yield one value.
    """

    fake: FakeChatModel = Field(repr=False, exclude=True)
    model: str = "fake"
    temperature: float | None = None
    max_tokens: int | None = None
    timeout: float | None = None
    max_retries: int | None = None
    stop: list[str] | None = None
    streaming: bool | None = None

    @property
    def _llm_type(self) -> str:
        return "fakellm-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        params = {"model": self.model, "temperature": self.temperature, "max_tokens": self.max_tokens}
        return {"fake": number_of(self.fake), **{name: value for name, value in params.items() if value is not None}}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        params = super()._get_ls_params(stop=self.stop if stop is None else stop, **kwargs)
        params["ls_provider"] = "fakellm"
        return params

    # -- answers ----------------------------------------------------------------------------------

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - LangChain reports the end itself
        **kwargs: Any,
    ) -> ChatResult:
        return self._result(self.answer(messages, stop, kwargs), kwargs)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 - LangChain reports the end itself
        **kwargs: Any,
    ) -> ChatResult:
        return self._result(await self.aanswer(messages, stop, kwargs), kwargs)

    def _result(self, answer: Message, kwargs: dict[str, Any]) -> ChatResult:
        return ChatResult(generations=[generation_of(answer, kwargs.get("model", self.model))])

    # -- calls that nobody watches ----------------------------------------------------------------

    def invoke(self, input: Any, config: Any = None, *, stop: list[str] | None = None, **kwargs: Any) -> Any:
        """Return the whole answer."""
        short = None if isinstance(input, InTurn) else short_way(self, input, config, kwargs)
        if short is None or self._should_stream(async_api=False, **kwargs):
            return super().invoke(input, config, stop=stop, **kwargs)
        answer = self.answer(short.messages, stop, kwargs)
        return message_of(answer, kwargs.get("model", self.model), f"{short.id}-0")

    def stream(
        self, input: Any, config: Any = None, *, stop: list[str] | None = None, **kwargs: Any
    ) -> Iterator[AIMessageChunk]:
        """Yield the answer in chunks."""
        short = short_way(self, input, config, kwargs)
        if short is None or not self._should_stream(async_api=False, **{**kwargs, "stream": True}):
            yield from super().stream(input, config, stop=stop, **kwargs)
            return
        said_by = self._said(short.messages, stop, kwargs)
        with closing(said_by):
            for said in said_by:
                yield text_message(said, short.id) if isinstance(said, str) else identified(said, short.id)

    def batch(self, inputs: list[Any], config: Any = None, *, return_exceptions: bool = False, **kwargs: Any) -> Any:
        """Return the answers in the order of the inputs, which is also the order of their replies."""
        configs = get_config_list(config, len(inputs)) if len(inputs) > 1 else []
        calls = self._short_batch(inputs, configs, kwargs)
        if calls is None:
            return super().batch(inputs, config, return_exceptions=return_exceptions, **kwargs)
        model, stop = kwargs.get("model", self.model), kwargs.pop("stop", None)
        asked = self.asked(stop, kwargs)
        jobs = [self.fake._job(call.messages, None, asked) for call in calls]  # noqa: SLF001 - as its own batch does

        def answer(job: Callable[[], Message], call: Unwatched) -> Any:
            try:
                return message_of(job(), model, f"{call.id}-0")
            except Exception as error:
                if return_exceptions:
                    return error
                raise

        with get_executor_for_config(configs[0]) as executor:
            return list(executor.map(answer, jobs, calls))

    def _short_batch(self, inputs: list[Any], configs: list[Any], kwargs: dict[str, Any]) -> list[Unwatched] | None:
        """Return the calls of a batch, if they can all go the short way."""
        more = {name: value for name, value in kwargs.items() if name != "stop"}
        if not configs or self._should_stream(async_api=False, **more):
            return None
        by_callbacks = {id(config.get("callbacks")): config for config in configs}
        if any(watches(self, config, more) for config in by_callbacks.values()):
            return None
        try:
            calls = [unwatched(self, asked, config) for asked, config in zip(inputs, configs, strict=True)]
        except Exception:  # noqa: BLE001 - what is no prompt fails in its own place, however it does
            return None
        return None if None in calls else [call for call in calls if call is not None]

    def _new_chunks(self, kwargs: dict[str, Any]) -> Chunks:
        blocks = getattr(self, "output_version", None) == "v1"  # a field since langchain-core 1.0
        return Chunks(kwargs.get("model", self.model), blocks=blocks)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - LangChain reports the chunks itself
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for said in self._said(messages, stop, kwargs):
            yield text_chunk(said) if isinstance(said, str) else said

    def _said(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> Iterator[str | ChatGenerationChunk]:
        """Yield what the chunks say; nearly all of them are a text and nothing else."""
        chunks = self._new_chunks(kwargs)
        try:
            for message in self.pieces(messages, stop, kwargs):
                if (said := chunks.said(message)) is not None:
                    yield said
        except Exception:
            if late := chunks.late():
                yield late
            raise
        yield chunks.last()

    def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 - LangChain reports the chunks itself
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        return opened(self._chunks(messages, stop, kwargs))

    async def _chunks(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> AsyncIterator[ChatGenerationChunk]:
        chunks = self._new_chunks(kwargs)
        source = self.apieces(messages, stop, kwargs)
        async with closing(source):
            try:
                async for message in source:
                    if chunk := chunks.of(message):
                        yield chunk
            except Exception:
                if late := chunks.late():
                    yield late
                raise
            yield chunks.last()

    @property
    def _can_stream(self) -> bool:
        return self.fake.streaming and self.streaming is not False

    def _should_stream(self, **kwargs: Any) -> bool:
        return self._can_stream and super()._should_stream(**kwargs)

    def _streaming_disabled(self, **kwargs: Any) -> bool:
        return not self._can_stream or super()._streaming_disabled(**kwargs)  # since langchain-core 1.4

    # -- tools and structured output --------------------------------------------------------------

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: Any = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[Any, Any]:
        """Return the model with tools bound.

        The fake's log has them in `Call.kwargs["tools"]`, each as OpenAI's `{"type": "function", "function": ...}`,
        and `tool_choice` as it was given.
        """
        if tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        formatted = [convert_to_openai_tool(tool, strict=strict) for tool in tools]
        return super().bind(tools=formatted, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Method | None = None,
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[Any, Any]:
        """Return the model with a parser behind it: an instance of a pydantic class, else a dict comes out.

        `method` is what a provider's model would be told. "function_calling" parses the first tool call with the
        schema's name, None where there is none; "json_schema" and "json_mode" parse the text, and raise
        `OutputParserException` where that is not the JSON. With None the tools are bound, and the reply decides: a tool
        call is parsed as one, a text as JSON. `include_raw` gives `raw`, `parsed` and `parsing_error`.
        """
        return structured(self, schema, method, include_raw=include_raw, strict=strict, **kwargs)
