"""Fakes as genuine LangChain models: `as_langchain_llm`, `as_langchain_chat_model`."""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.integrations.langchain.adapters import as_langchain_chat_model as as_langchain_chat_model
    from fakellm.integrations.langchain.adapters import as_langchain_llm as as_langchain_llm

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "adapters": ("as_langchain_chat_model", "as_langchain_llm"),
    },
)
