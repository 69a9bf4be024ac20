"""Calls that nobody watches, by a short way.

The theory. Most of what a call takes in LangChain is for those who watch it: a callback manager, a run and what it is
told, chunks that are added up for its end. Where there is no handler, be it of the call, of the model, of the chain
around it, of a hook or of the environment (`CallbackManager.configure` finds them all), nobody can see any of that. So
such a call asks the fake, and makes the message that LangChain would make, with its id and its metadata. Whatever
does more goes LangChain's way: a cache, a rate limiter, a version of the output, content in blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID, uuid4

from langchain_core.callbacks import CallbackManager
from langchain_core.globals import get_llm_cache
from langchain_core.messages import BaseMessage
from langchain_core.runnables.config import ensure_config

try:
    from langchain_core.utils.utils import LC_ID_PREFIX
    from langchain_core.utils.uuid import uuid7
except ImportError:  # before 1.1.2 ids are of another form, and no call goes this way
    LC_ID_PREFIX = ""
    uuid7 = uuid4  # type: ignore[assignment]

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

_MORE = frozenset({"ls_structured_output_format", "structured_output_format"})


class Unwatched(NamedTuple):
    """A call that nobody watches: what is asked, and the id that its run would have."""

    messages: list[BaseMessage]
    run_id: UUID

    @property
    def id(self) -> str:
        """The id that LangChain gives to the chunks of a stream."""
        return f"{LC_ID_PREFIX}-{self.run_id}"


def watches(model: BaseChatModel, config: Any, kwargs: Mapping[str, Any]) -> bool:
    """Tell whether somebody watches the calls of a config, which `ensure_config` made, or they do more than answer."""
    is_plain = LC_ID_PREFIX and not model.cache and model.rate_limiter is None and model.output_version is None
    if not is_plain or get_llm_cache() is not None or not _MORE.isdisjoint(kwargs):
        return True
    return bool(CallbackManager.configure(config.get("callbacks"), model.callbacks, model.verbose).handlers)


def unwatched(model: BaseChatModel, asked: Any, config: Any) -> Unwatched | None:
    """Return what a call that nobody watches asks; None where there is more in it than text."""
    messages = model._convert_input(asked).to_messages()  # noqa: SLF001 - as LangChain's own calls do
    if not all(isinstance(message.content, str) for message in messages):
        return None
    return Unwatched(messages, config.get("run_id") or uuid7())


def short_way(model: BaseChatModel, asked: Any, config: Any, kwargs: Mapping[str, Any]) -> Unwatched | None:
    """Return a call that can go the short way."""
    config = ensure_config(config)
    return None if watches(model, config, kwargs) else unwatched(model, asked, config)
