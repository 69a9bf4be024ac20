"""Ollama's chat: requests, streams, documents.

Source: https://docs.ollama.com/api/chat. A stream is what a request gets that does not say `"stream": false`. There
is one answer; a call of a tool is whole, and ends no answer by itself: the reason is `stop`. Text, refusals and
thinking are pieces on lines of their own. `Native("ollama.chat", ...)` has the fields of a line.

What the API has in another form than a script: pieces of a tool call are joined, and arguments that are no JSON
object are sent as `{"arguments": "the text"}`, since they are an object; signatures, cached tokens and those of
reasoning are left out.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from fakellm.script.events import Usage, http_error
from fakellm.script.script import Script
from fakellm.wire.codec import Codec, Decoder, Encoder, Headers, Request
from fakellm.wire.objects import dump, retrying
from fakellm.wire.ollama.lines import CHAT, Form, created_at
from fakellm.wire.ollama.reader import LineDecoder
from fakellm.wire.ollama.requests import Fields, asked, is_streamed, messages_of, tools_of, unloads
from fakellm.wire.ollama.writer import LineEncoder, document_of

_FIELDS: Fields = {
    "messages": ((list,), "[]api.Message"),
    "tools": ((list,), "api.Tools"),
}
_KNOWN = ("model", "messages", "tools", "stream")


class LineCodec(Codec):
    """What chat and generate have in common."""

    form: ClassVar[Form]
    content_type = "application/x-ndjson"

    @abstractmethod
    def asks(self, request: Request) -> bool:
        """Tell whether a request asks the model anything; one that does not has it loaded or unloaded."""

    def by_itself(self, request: Request, number: int) -> bytes | None:
        """Return the document that answers a request which asks the model nothing, streamed or not."""
        if self.asks(request):
            return None
        reason = "unload" if unloads(request.json) else "load"
        head = {"model": request.model, "created_at": created_at(number, 1)}
        return dump({**head, **self.form.empty(), "done": True, "done_reason": reason})

    def encoder(self, request: Request, number: int, usage: Usage | None = None) -> Encoder:
        """Return what writes the stream."""
        return LineEncoder(self.form, request, number, usage)

    def body(self, script: Script, request: Request, number: int) -> bytes:
        """Return the document of an answer that is not streamed."""
        return document_of(self.form, script, request, number)

    def error(self, fault: http_error, number: int) -> tuple[Headers, bytes]:  # noqa: ARG002 - no ids in errors
        """Return an HTTP error: a sentence and nothing else."""
        headers = [("content-type", "application/json; charset=utf-8"), *retrying(fault.retry_after)]
        body = dump({"error": fault.message}) if fault.body is None else fault.body.encode()
        return tuple(headers), body

    def decoder(self) -> Decoder:
        """Return what reads a stream."""
        return LineDecoder(self.form)


class ChatCodec(LineCodec):
    """Chat."""

    api = CHAT.api
    form = CHAT

    def request(self, body: Any, *, path: str = "") -> Request:  # noqa: ARG002 - other APIs have the model there
        """Read a request."""
        found = asked(body, "ChatRequest", _FIELDS)
        return Request(
            self.api,
            found["model"],
            messages_of(found),
            tools_of(found),
            is_streamed(found),
            {key: value for key, value in found.items() if key not in _KNOWN},
            body,
        )

    def asks(self, request: Request) -> bool:
        """Tell whether there are messages."""
        return bool(request.messages)
