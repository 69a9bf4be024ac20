"""DashScope's text generation, in its own API."""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.wire.dashscope.generation import GenerationCodec as GenerationCodec

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "generation": ("GenerationCodec",),
    },
)
