"""A stream is a value: events, the order they may come in, and `Script`, the sequence of them.

Split a text into chunks, re-chunk, pace and break an answer, read and write it as JSON or YAML; `Message` is what the
events of an answer add up to.
"""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.script.events import EVENT_TYPES as EVENT_TYPES
    from fakellm.script.events import Content as Content
    from fakellm.script.events import Event as Event
    from fakellm.script.events import Fault as Fault
    from fakellm.script.events import Finish as Finish
    from fakellm.script.events import Native as Native
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
    from fakellm.script.latency import Latency as Latency
    from fakellm.script.messages import Message as Message
    from fakellm.script.messages import as_messages as as_messages
    from fakellm.script.messages import as_text as as_text
    from fakellm.script.order import ORDER as ORDER
    from fakellm.script.order import OrderChecker as OrderChecker
    from fakellm.script.order import check_order as check_order
    from fakellm.script.script import Script as Script
    from fakellm.script.splitting import SPLITS as SPLITS
    from fakellm.script.splitting import split_text as split_text

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "events": (
            "Content",
            "Event",
            "EVENT_TYPES",
            "Fault",
            "Finish",
            "Native",
            "Pause",
            "Raw",
            "Reasoning",
            "Refusal",
            "Text",
            "ToolCall",
            "Usage",
            "disconnect",
            "http_error",
            "provider_error",
            "stall",
        ),
        "latency": ("Latency",),
        "messages": ("Message", "as_messages", "as_text"),
        "order": ("ORDER", "OrderChecker", "check_order"),
        "script": ("Script",),
        "splitting": ("SPLITS", "split_text"),
    },
)
