"""The answer of a fake that was told nothing: what a model that does as it is asked could say at least."""

from __future__ import annotations

import json

from fakellm.provider.conversation import has_called, has_results
from fakellm.script.events import ToolCall
from fakellm.script.script import Script
from fakellm.wire.codec import Request
from fakellm.wire.wishes import Tool, choice_of, form_of, tools_of


def by_itself(request: Request) -> Script:
    """Answer any request by itself: `FakeProvider("openai").otherwise(by_itself)`.

    If tools are offered and none was called yet, the first is called, or the one that the request names, with the
    smallest arguments that its schema describes. Else the answer is the smallest JSON that the request's schema
    describes, if it has one, and else an echo: the text of the last message, word by word, which after a tool's result
    is that. It follows from the request alone. Raises `ValueError` for a schema that describes nothing.
    """
    from fakellm.wire.smallest import smallest

    if (tool := _called(request)) is not None:
        arguments = smallest({"type": "object"} if tool.schema == {} else tool.schema)
        return Script(ToolCall(tool.name, json.dumps(arguments, ensure_ascii=False)))
    if (form := form_of(request)) is not None:
        return Script.of(json.dumps(smallest(form.schema), ensure_ascii=False))
    return Script.of(_heard(request))


def _called(request: Request) -> Tool | None:
    """Return the tool to call, if one is to be: once in a conversation, or whenever a call is demanded anew."""
    may, must, name = choice_of(request)
    tools = tools_of(request) if may else []
    named = [tool for tool in tools if tool.name == name] if name else tools
    messages = request.messages
    if not named or has_results(messages) or (has_called(messages) and not must):
        return None
    return named[0]


def _heard(request: Request) -> str:
    """Return the text of the last message that has one; an image alone has none."""
    texts = (message.content for message in reversed(request.messages) if message.role != "system" and message.content)
    return next(texts, "I have nothing to repeat.")
