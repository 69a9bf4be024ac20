"""How far a conversation is, as a request tells: what replies are chosen by beside the last message.

A request holds all of a conversation, or as much of it as the app sends again. So what is counted is in the request
alone, and two replicas of a fake that never saw it before choose the same reply.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from fakellm.script.events import ToolCall
from fakellm.script.messages import Message

MODEL, SYSTEM, TOOL = ("assistant", "model"), ("system", "developer"), ("tool", "function")


def turn_of(messages: Sequence[Message]) -> int:
    """Return which answer of the model a request asks for, from 1 up.

    Messages of the model that follow each other are one answer. One that comes last is not whole: the model is to go
    on with it, as with a prefill of Anthropic's.
    """
    roles = [message.role in MODEL for message in messages]
    return 1 + sum(is_model and not follows for is_model, follows in pairwise(roles))


def tools_answered(messages: Sequence[Message]) -> list[str]:
    """Return the names of the tools whose results came since the model spoke last."""
    return tools_of_results(_results(messages), [call for message in messages for call in message.tool_calls])


def tools_of_results(messages: Iterable[Message], calls: Iterable[ToolCall]) -> list[str]:
    """Return the names of the tools whose results are among messages.

    A result is that of the call which has its id. APIs without ids name the tool instead.
    """
    called = {call.id: call.name for call in calls if call.id}
    ids = [message.tool_call_id for message in messages if message.role in TOOL]
    return [called.get(id) or id for id in ids if id]  # noqa: A001 - as APIs name it


def has_results(messages: Sequence[Message]) -> bool:
    """Tell whether results of tools came since the model spoke last."""
    return bool(_results(messages))


def _results(messages: Sequence[Message]) -> list[Message]:
    last = max((place for place, message in enumerate(messages) if message.role in MODEL), default=-1)
    return [message for message in messages[last + 1 :] if message.role in TOOL]


def system_of(messages: Sequence[Message]) -> str:
    """Return what the system messages say, one after the other."""
    return "\n".join(message.content for message in messages if message.role in SYSTEM)


def has_called(messages: Sequence[Message]) -> bool:
    """Tell whether the model has called a tool, or has got a result of one."""
    return any(message.tool_calls or message.role in TOOL for message in messages)
