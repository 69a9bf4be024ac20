"""Mistral's APIs: chat, fill-in-the-middle and agents' completions, and conversations."""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.wire.mistral.chat import AgentsCodec as AgentsCodec
    from fakellm.wire.mistral.chat import ChatCodec as ChatCodec
    from fakellm.wire.mistral.chat import FIMCodec as FIMCodec
    from fakellm.wire.mistral.conversations import ConversationsCodec as ConversationsCodec

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "chat": ("AgentsCodec", "ChatCodec", "FIMCodec"),
        "conversations": ("ConversationsCodec",),
    },
)
