"""fakellm: test and mock code that consumes streams of language models.

Names load when they are first used, so importing the package loads nothing outside the standard library.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing would cost more than all the rest
if TYPE_CHECKING:
    from typing import Any

    from fakellm.contracts import StreamContract, any_chunking, every_fault, every_interleaving
    from fakellm.events import (
        Finish,
        Pause,
        Reasoning,
        Refusal,
        Text,
        ToolCall,
        Usage,
        disconnect,
        http_error,
        provider_error,
        stall,
    )
    from fakellm.models import FakeChatModel, FakeLLM
    from fakellm.provider import FakeProvider
    from fakellm.runnable import Runnable
    from fakellm.script import Script

_HOMES = {
    "fakellm.contracts": ("StreamContract", "any_chunking", "every_fault", "every_interleaving"),
    "fakellm.events": (
        "Finish", "Pause", "Reasoning", "Refusal", "Text", "ToolCall", "Usage",
        "disconnect", "http_error", "provider_error", "stall",
    ),
    "fakellm.models": ("FakeChatModel", "FakeLLM"),
    "fakellm.provider": ("FakeProvider",),
    "fakellm.runnable": ("Runnable",),
    "fakellm.script": ("Script",),
}  # fmt: skip

__all__ = [  # noqa: RUF022 - as a user meets them
    "FakeLLM",
    "FakeChatModel",
    "FakeProvider",
    "Script",
    "Text",
    "Reasoning",
    "Refusal",
    "ToolCall",
    "Usage",
    "Finish",
    "Pause",
    "http_error",
    "provider_error",
    "disconnect",
    "stall",
    "Runnable",
    "StreamContract",
    "any_chunking",
    "every_fault",
    "every_interleaving",
]

_ROOMS = ("clock", "contracts", "errors", "events", "intercept", "messages", "transport", "virtual_loop")

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for home, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(home), name)
            globals()[name] = value
            return value
    if name in _ROOMS:
        return import_module(f"fakellm.{name}")
    msg = f"module 'fakellm' has no attribute {name!r}; it has {', '.join(__all__)}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
