"""Google's generateContent, and its Interactions."""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.wire.gemini.generate import GeminiCodec as GeminiCodec
    from fakellm.wire.gemini.interactions import InteractionsCodec as InteractionsCodec

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "generate": ("GeminiCodec",),
        "interactions": ("InteractionsCodec",),
    },
)
