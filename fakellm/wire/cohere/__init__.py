"""Cohere's Chat API, version 2."""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.wire.cohere.chat import ChatCodec as ChatCodec

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "chat": ("ChatCodec",),
    },
)
