"""What a request holds of its conversation: what the app sent, and what the model answered, in turn.

Messages of the model that follow each other are one answer: APIs that send items (Responses, conversations) have one
for each call. System messages are no part of it, wherever they stand: apps and frameworks write them anew each time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fakellm.provider.conversation import MODEL, SYSTEM
from fakellm.script.events import ToolCall
from fakellm.script.messages import Message
from fakellm.wire.codec import Request

_GOES_ON = ("previous_response_id", "conversation", "previous_interaction_id", "conversation_id", "thread")
"""Fields of requests that hold no more than what is new: the rest is on the provider's side."""
_NUMBER = re.compile(r"(?:fakellm|conv_)0*(\d+)$")
"""The number in the id of a fake's answer, or of a conversation that it keeps."""


@dataclass(slots=True)
class Answer:
    """One answer of the model, as the app sent it back."""

    text: str = ""
    calls: list[ToolCall] = field(default_factory=list)

    def add(self, message: Message) -> None:
        """Take a message of it."""
        self.text += message.content
        self.calls += message.tool_calls


@dataclass(slots=True)
class Past:
    """What the app sent before each answer and after the last, one list more than there are `answers`.

    `goes_on` is the id of what the request goes on with, where the provider keeps what came before; else it is empty.
    `may_begin` tells that this is a conversation which was made elsewhere, so nothing may have come before.
    """

    sent: list[list[Message]]
    answers: list[Answer]
    goes_on: str = ""
    may_begin: bool = False

    @property
    def number(self) -> int | None:
        """The number of the request that a fake made `goes_on` of; None where no fake has made it."""
        found = _NUMBER.search(self.goes_on)
        return None if found is None else int(found[1])


def past_of(request: Request) -> Past:
    """Return what a request holds of its conversation."""
    found = past_in(request.messages)
    found.goes_on = _goes_on(request)
    found.may_begin = found.number is None and bool(found.goes_on) and bool(request.options.get("conversation"))
    return found


def past_in(messages: Sequence[Message]) -> Past:
    """Return what messages hold of a conversation."""
    found = Past([[]], [])
    is_open = False
    for message in messages:
        if message.role in SYSTEM:
            continue
        is_model = message.role in MODEL
        if is_model and not is_open:
            found.answers.append(Answer())
            found.sent.append([])
        if is_model:
            found.answers[-1].add(message)
        else:
            found.sent[-1].append(message)
        is_open = is_model
    return found


def _goes_on(request: Request) -> str:
    for name in _GOES_ON:
        value: Any = request.options.get(name)
        value = value.get("previous_message_id" if name == "thread" else "id") if isinstance(value, dict) else value
        if isinstance(value, str) and value:
            return value
    return ""
