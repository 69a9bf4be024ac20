"""Ollama's chat and generate."""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.wire.ollama.chat import ChatCodec as ChatCodec
    from fakellm.wire.ollama.generate import GenerateCodec as GenerateCodec

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "chat": ("ChatCodec",),
        "generate": ("GenerateCodec",),
    },
)
