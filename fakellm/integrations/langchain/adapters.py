"""LangChain: a fake as a genuine `BaseLLM` or `BaseChatModel`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from fakellm.errors import MissingExtraError
from fakellm.models.models import FakeChatModel, FakeLLM, FakeModel

try:
    import langchain_core  # noqa: F401
except ImportError as error:
    raise MissingExtraError("langchain-core", "langchain", "fakellm.integrations.langchain") from error

from fakellm.integrations.langchain.chat import LangChainFakeChatModel
from fakellm.integrations.langchain.llm import LangChainFakeLLM, StreamingLangChainFakeLLM

__all__ = [
    "LangChainFakeChatModel",
    "LangChainFakeLLM",
    "StreamingLangChainFakeLLM",
    "as_langchain_chat_model",
    "as_langchain_llm",
]


def as_langchain_llm(fake: FakeLLM, **fields: Any) -> LangChainFakeLLM:
    """Return the fake as a LangChain text model: a prompt in, `str` chunks out.

    Every call is in `fake.calls`, its input the prompt as text; `stop` and other arguments are in `Call.kwargs`.
    A fake with `streaming=False` gives a model without native streaming, whose stream is one value. `fields` are those
    of LangChain's model: `callbacks`, `tags`, `metadata`, `cache`, `model`, `stop`, ... Raises `TypeError` for what is
    no `FakeLLM` and for a field that does not exist.
    """
    if not isinstance(fake, FakeLLM):
        hint = "; for a FakeChatModel write as_langchain_chat_model(...)" if isinstance(fake, FakeChatModel) else ""
        msg = f"as_langchain_llm takes a FakeLLM, not {fake!r}{hint}"
        raise TypeError(msg)
    kind = StreamingLangChainFakeLLM if fake.streaming else LangChainFakeLLM
    return kind(fake=fake, **_checked(kind, fake, fields))


def as_langchain_chat_model(fake: FakeChatModel, **fields: Any) -> LangChainFakeChatModel:
    """Return the fake as a LangChain chat model: messages in, `AIMessageChunk`s out.

    A chunk of the fake is a chunk of the model; usage (`usage_metadata`) and finish reason (`response_metadata`) come
    with the last, which has `chunk_position="last"`. Tool calls stream as `tool_call_chunks` with their index.
    Reasoning stands in `additional_kwargs["reasoning_content"]` and so in `content_blocks`; with
    `output_version="v1"` the content itself is standard blocks.

    Every call is in `fake.calls`, its input LangChain's messages; `stop`, `tools`, `tool_choice` and other arguments
    are in `Call.kwargs`. `stop` cuts nothing: a script is what is said. `fields` are those of LangChain's model:
    `disable_streaming`, `streaming`, `callbacks`, `model`, ... Raises `TypeError` for what is no `FakeChatModel` and
    for a field that does not exist.
    """
    if not isinstance(fake, FakeChatModel):
        hint = "; for a FakeLLM write as_langchain_llm(...)" if isinstance(fake, FakeLLM) else ""
        msg = f"as_langchain_chat_model takes a FakeChatModel, not {fake!r}{hint}"
        raise TypeError(msg)
    return LangChainFakeChatModel(fake=fake, **_checked(LangChainFakeChatModel, fake, fields))


def _checked(kind: type[BaseModel], fake: FakeModel[Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a model, the fake's name among them. Raises `TypeError` for one that does not exist."""
    known = set(kind.model_fields) - {"fake"}
    if unknown := sorted(set(fields) - known):
        msg = f"{kind.__name__} has no field {', '.join(unknown)}; it has {', '.join(sorted(known))}"
        raise TypeError(msg)
    return {"name": fake.name, **fields}
