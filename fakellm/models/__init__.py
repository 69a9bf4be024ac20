"""Fake models: `FakeLLM` and `FakeChatModel` say what they were told to, and log each call."""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.models.calls import Call as Call
    from fakellm.models.models import FakeChatModel as FakeChatModel
    from fakellm.models.models import FakeLLM as FakeLLM

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "calls": ("Call",),
        "models": ("FakeChatModel", "FakeLLM"),
    },
)
