"""OpenAI's APIs, and the habits of services that speak them: chat completions, completions, Responses."""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.wire.openai.chat import ChatCodec as ChatCodec
    from fakellm.wire.openai.completions import CompletionsCodec as CompletionsCodec
    from fakellm.wire.openai.profiles import PROFILES as PROFILES
    from fakellm.wire.openai.profiles import Layout as Layout
    from fakellm.wire.openai.profiles import Profile as Profile
    from fakellm.wire.openai.responses import ResponsesCodec as ResponsesCodec

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "chat": ("ChatCodec",),
        "completions": ("CompletionsCodec",),
        "profiles": ("PROFILES", "Layout", "Profile"),
        "responses": ("ResponsesCodec",),
    },
)
