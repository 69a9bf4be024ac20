"""Anthropic's Messages API, and the habits of self-hosted servers that speak it."""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.wire.anthropic.messages import MessagesCodec as MessagesCodec
    from fakellm.wire.anthropic.profiles import PROFILES as PROFILES
    from fakellm.wire.anthropic.profiles import MessagesProfile as MessagesProfile

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "messages": ("MessagesCodec",),
        "profiles": ("PROFILES", "MessagesProfile"),
    },
)
