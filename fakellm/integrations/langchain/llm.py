"""`FakeLLM` as a LangChain text model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseLLM
from langchain_core.outputs import Generation, GenerationChunk, LLMResult
from pydantic import Field

from fakellm.concurrency import closing
from fakellm.integrations.langchain.calls import Adapter, number_of, opened
from fakellm.models.models import FakeLLM


class LangChainFakeLLM(Adapter, BaseLLM):
    """A text model without native streaming: LangChain streams its answer as one value."""

    fake: FakeLLM = Field(repr=False, exclude=True)
    model: str = "fake"
    stop: list[str] | None = None

    @property
    def _llm_type(self) -> str:
        return "fakellm"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"fake": number_of(self.fake), "model": self.model}

    def _generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - LangChain reports the end itself
        **kwargs: Any,
    ) -> LLMResult:
        return _result([self.answer(prompt, stop, kwargs) for prompt in prompts], self.model)

    async def _agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 - LangChain reports the end itself
        **kwargs: Any,
    ) -> LLMResult:
        return _result([await self.aanswer(prompt, stop, kwargs) for prompt in prompts], self.model)


class StreamingLangChainFakeLLM(LangChainFakeLLM):
    """A text model that streams: each chunk of the fake is one of LangChain's."""

    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        for text in self.pieces(prompt, stop, kwargs):
            chunk = GenerationChunk(text=text)
            if run_manager is not None:
                run_manager.on_llm_new_token(text, chunk=chunk)
            yield chunk

    def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        return opened(self._chunks(prompt, stop, run_manager, kwargs))

    async def _chunks(
        self,
        prompt: str,
        stop: list[str] | None,
        run_manager: AsyncCallbackManagerForLLMRun | None,
        kwargs: dict[str, Any],
    ) -> AsyncIterator[GenerationChunk]:
        source = self.apieces(prompt, stop, kwargs)
        async with closing(source):
            async for text in source:
                chunk = GenerationChunk(text=text)
                if run_manager is not None:
                    await run_manager.on_llm_new_token(text, chunk=chunk)
                yield chunk


def _result(texts: list[str], model: str) -> LLMResult:
    return LLMResult(generations=[[Generation(text=text)] for text in texts], llm_output={"model_name": model})
