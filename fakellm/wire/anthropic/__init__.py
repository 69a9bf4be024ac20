"""Anthropic's Messages API."""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.wire.anthropic.messages import MessagesCodec as MessagesCodec

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "messages": ("MessagesCodec",),
    },
)
