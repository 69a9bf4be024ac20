"""fakellm: test and mock code that consumes streams of language models.

Here are the names that most tests need; each room has its own: `from fakellm.cassette import Tape`. Names load when
they are first used, so importing the package loads nothing outside the standard library.
"""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False  # importing typing would cost more than all the rest
if TYPE_CHECKING:
    from fakellm.contracts.consumers.chunking import any_chunking as any_chunking
    from fakellm.contracts.faults.sweep import every_fault as every_fault
    from fakellm.contracts.interleavings import every_interleaving as every_interleaving
    from fakellm.contracts.streams.classform import StreamContract as StreamContract
    from fakellm.models.models import FakeChatModel as FakeChatModel
    from fakellm.models.models import FakeLLM as FakeLLM
    from fakellm.provider.provider import FakeProvider as FakeProvider
    from fakellm.runnable.base import Runnable as Runnable
    from fakellm.script.events import Finish as Finish
    from fakellm.script.events import Pause as Pause
    from fakellm.script.events import Raw as Raw
    from fakellm.script.events import Reasoning as Reasoning
    from fakellm.script.events import Refusal as Refusal
    from fakellm.script.events import Text as Text
    from fakellm.script.events import ToolCall as ToolCall
    from fakellm.script.events import Usage as Usage
    from fakellm.script.events import disconnect as disconnect
    from fakellm.script.events import http_error as http_error
    from fakellm.script.events import provider_error as provider_error
    from fakellm.script.events import stall as stall
    from fakellm.script.script import Script as Script

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "models": ("FakeLLM", "FakeChatModel"),
        "provider": ("FakeProvider",),
        "script": (
            "Script", "Text", "Reasoning", "Refusal", "ToolCall", "Usage", "Finish", "Pause", "Raw",
            "http_error", "provider_error", "disconnect", "stall",
        ),
        "runnable": ("Runnable",),
        "contracts": ("StreamContract", "any_chunking", "every_fault", "every_interleaving"),
    },
    also=("cassette", "clock", "errors", "http", "integrations", "server", "wire"),
)  # fmt: skip
