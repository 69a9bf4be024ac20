"""OpenAI's Responses API: requests, streams, documents.

Source: https://platform.openai.com/docs/api-reference/responses, its page responses-streaming, and 765 recorded
streams: `event:` equals `type`, `sequence_number` counts from 0, `response.created` and `response.in_progress` come
first, then the output items, and one terminal event comes last. There is one answer; there is no `[DONE]`.

`Native` data is a whole output item, or an event of the stream by its `type`. Three events say how what follows is cut:
`response.output_item.added` begins another item, which has the fields of its `item`; `response.content_part.added` and
`response.reasoning_summary_part.added` begin another part, which for reasoning may be a `reasoning_text`.
`response.output_text.annotation.added` adds its `annotation`. An event of an item that comes whole, such as
`response.image_generation_call.partial_image`, begins that item, unless it has an `output_index` of its own; the item
itself follows. `response.queued` has the response in it. Ids, indexes and numbers are filled in; any other event is
written as it is.

An error inside a stream has three forms. OpenAI sends an `error` event that holds an `error`, then `response.failed`
(`named=None`; the official SDK raises). Its reference has an `error` event with the error's fields beside the type
(`named=True`), or `response.failed` comes alone (`named=False`); for these the SDK raises nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fakellm.errors import WireError
from fakellm.script.events import (
    Event,
    Fault,
    Finish,
    Native,
    Text,
    ToolCall,
    Usage,
    choice_of,
    disconnect,
    http_error,
    provider_error,
)
from fakellm.script.messages import Message
from fakellm.script.script import Script
from fakellm.wire.codec import CREATED, Codec, Decoder, Encoder, Headers, Request, Tally
from fakellm.wire.objects import dump, get, merged, objects, quote, text_field
from fakellm.wire.openai import common as openai
from fakellm.wire.openai import habits
from fakellm.wire.openai.profiles import OPENAI, Profile
from fakellm.wire.openai.responses_items import API, INCOMPLETE, Output, Part, usage_object
from fakellm.wire.openai.responses_reader import ResponsesDecoder
from fakellm.wire.openai.responses_whole import Fields
from fakellm.wire.openai.server_responses import STYLES, LlamaEncoder, Style

_KNOWN = ("model", "input", "instructions", "tools", "stream")
_INSTEAD_OF_INPUT = ("prompt", "conversation", "previous_response_id")
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}

_ECHOED: dict[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}
"""What a response repeats of its request -> what it says where the request says nothing."""


class ResponsesCodec(Codec):
    """The Responses API."""

    api = API

    def __init__(self, profile: Profile = OPENAI) -> None:
        self.profile = profile

    @classmethod
    def speaking(cls, profile: Profile) -> ResponsesCodec:
        """Return the codec with the habits of a profile, if it is that of a self-hosted server."""
        return cls(profile)

    def request(self, body: Any, *, path: str = "") -> Request:  # noqa: ARG002 - other APIs have the model there
        """Read a request."""
        if not isinstance(body, dict) or not (body.get("model") or body.get("prompt")):
            msg = "Missing required parameter: 'model'."
            raise WireError(msg)
        if body.get("input") is None and not any(map(body.get, _INSTEAD_OF_INPUT)):
            msg = "Missing required parameter: 'input'."
            raise WireError(msg)
        tools = objects(body, "tools")
        openai.whole(body, "top_logprobs", 0, 0, openai.TOP)
        return Request(
            API,
            text_field(body, "model"),
            tuple(_messages(body)),
            tuple(text_field(tool, "name") or text_field(tool, "type") for tool in tools),
            get(body, "stream", bool),
            {key: value for key, value in body.items() if key not in _KNOWN},
            body,
        )

    def encoder(self, request: Request, number: int, usage: Usage | None = None) -> Encoder:
        """Return what writes the stream."""
        if self.profile.responses == "llama.cpp":
            return LlamaEncoder(request, number, self.profile, usage)
        style = STYLES.get(self.profile.responses)
        return _ResponsesEncoder(request, number, usage, style, filters=self.profile.filters)

    def body(self, script: Script, request: Request, number: int) -> bytes:
        """Return the document of an answer that is not streamed."""
        answer = _Answer(request, number, filters=self.profile.filters)
        for event in script.choice(0):
            answer.event(event)
        answer.close()
        return dump(answer.completed())

    def error(self, fault: http_error, number: int) -> tuple[Headers, bytes]:
        """Return an HTTP error."""
        word = habits.http_error_of if self.profile.responses else openai.error_as
        return word(self.profile, fault, number)

    def decoder(self) -> Decoder:
        """Return what reads a stream, of OpenAI or of its look-alikes."""
        return ResponsesDecoder()

    def headers(self, number: int) -> Headers:
        """Return the headers of any answer."""
        return habits.headers(self.profile, number) if self.profile.responses else openai.headers(number)

    def stream_headers(self, request: Request, number: int) -> Headers:
        """Return the headers of a stream."""
        is_far = bool(self.profile.responses)
        return habits.stream_headers(self.profile, number) if is_far else super().stream_headers(request, number)


def _messages(body: dict[str, Any]) -> list[Message]:
    """Read the prompt: instructions and input."""
    messages: list[Message] = []
    if isinstance(body.get("instructions"), str):
        messages.append(Message("system", text_field(body, "instructions")))
    given = body.get("input")
    if isinstance(given, str):
        return [*messages, Message("user", text_field(body, "input"))]
    in_calls = False
    for item in objects(body, "input"):
        kind = text_field(item, "type") or "message"
        if kind in _CALLS:
            calls = messages.pop().tool_calls if in_calls else ()
            messages.append(Message("assistant", tool_calls=(*calls, _call(item, kind, len(calls)))))
        elif kind == "message":
            role = text_field(item, "role")
            messages.append(Message("system" if role == "developer" else role, _text(item.get("content"))))
        elif kind.endswith("_call_output"):
            messages.append(Message("tool", _text(item.get("output")), tool_call_id=text_field(item, "call_id")))
        in_calls = kind in _CALLS
    return messages


def _call(item: dict[str, Any], kind: str, index: int) -> ToolCall:
    name, id = text_field(item, "name"), text_field(item, "call_id")  # noqa: A001
    return ToolCall(name or None, text_field(item, _CALLS[kind]), id=id or None, index=index)


def _text(content: Any) -> str:
    """Return the text of a content, which may be a list of parts."""
    parts = content if isinstance(content, list) else [{"text": content}]
    found = (part for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))
    return "".join(text_field(part, "text") for part in found)


class _Answer:
    """An answer while it is written: its output so far, and the response object around it."""

    def __init__(self, request: Request, number: int, usage: Usage | None = None, *, filters: bool = False) -> None:
        self._beside = {"content_filters": None} if filters else {}
        self.tally = Tally(request, usage)
        included = request.options.get("include")
        top = request.options.get("top_logprobs")
        top = top if isinstance(top, int) else 0
        wanted = top or (isinstance(included, list) and "message.output_text.logprobs" in included)
        self.output = Output(number, top if wanted else None)
        self._request = request
        self._number = number

    def event(self, event: Event) -> list[Fields]:
        """Take an event; return what a stream says of it."""
        if choice_of(event):
            return []
        self.tally.note(event)
        said = self.close() if isinstance(event, Finish) else self.output.event(event)
        if isinstance(event, Native) and said and said[-1] == {"type": "response.queued"}:
            return [{**said[-1], "response": self.response("queued")}]
        return said

    def close(self) -> list[Fields]:
        """End the item that is open: it is complete, unless the answer was cut short."""
        is_cut = self.tally.finish().reason in INCOMPLETE
        return self.output.close("incomplete" if is_cut else "completed")

    def response(self, status: str, **fields: Any) -> dict[str, Any]:
        """Return the response object."""
        sent = self._request.json if isinstance(self._request.json, Mapping) else {}
        return {
            "id": f"resp_fakellm{self._number:06d}",
            "object": "response",
            "created_at": CREATED + self._number,
            "status": status,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "model": self._request.model,
            "output": [],
            **{key: _echo(key, sent.get(key), default) for key, default in _ECHOED.items()},
            "service_tier": sent.get("service_tier") or "auto",
            "usage": None,
            **self._beside,
            **fields,
        }

    def completed(self) -> dict[str, Any]:
        """Return the response object of an answer that is over, as its finish reason says."""
        finish, tier = self.tally.finish(), self._request.options.get("service_tier")
        fields = {
            "output": self.output.items,
            "usage": usage_object(self.tally.usage),
            "service_tier": "default" if tier in (None, "auto") else tier,
        }
        if finish.reason in INCOMPLETE:
            response = self.response("incomplete", **fields, incomplete_details={"reason": INCOMPLETE[finish.reason]})
        else:
            response = self.response("completed", **fields, completed_at=CREATED + self._number)
        return self._with_our_ids(merged(merged(response, finish.extra), finish.beside))

    def _with_our_ids(self, response: dict[str, Any]) -> dict[str, Any]:
        """Return a response, in whose output, if it was scripted, the items that the stream has are called the same."""
        output, items = response.get("output"), self.output.items
        if output is items or not isinstance(output, list) or len(output) != len(items):
            return response
        pairs = zip(output, items, strict=True)
        named = [{**item, "id": ours["id"]} if isinstance(item, dict) else item for item, ours in pairs]
        return {**response, "output": named}

    def failed(self, fault: provider_error) -> dict[str, Any]:
        """Return the response object of an answer that failed: what was complete by then is in it."""
        usage = usage_object(self.tally.usage) if self.tally.has_usage else None
        error = {"code": fault.code or fault.kind, "message": fault.message}
        return self.response("failed", output=self.output.items, error=error, usage=usage)


def _echo(key: str, sent: Any, default: Any) -> Any:
    """Return what a response repeats of a field of its request."""
    if sent is None:
        return default
    if isinstance(default, dict) and isinstance(sent, dict):
        return {**default, **sent}
    if key == "tools" and isinstance(sent, list):
        return [_tool(tool) if isinstance(tool, dict) else tool for tool in sent]
    return sent


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    usual = {"description": None, "parameters": None, "strict": True} if tool.get("type") == "function" else {}
    return {**usual, **tool}


# No piece of the answer is held back here: each is an event of the stream at once. What comes late is the end of an
# item (`output_text.done`, `output_item.done`), which only the next item, the finish reason or the end of the script
# can tell. A stream that breaks leaves its item open, as a broken connection does, so `flush` and `stop` have nothing
# to add. Numbers count what is sent, by the short way for text as well: clients may look for gaps.


class _ResponsesEncoder(Encoder):
    """Writes a stream. The next delta of a text is what was written of the last one, with its number and text."""

    def __init__(
        self, request: Request, number: int, usage: Usage | None, style: Style | None = None, *, filters: bool = False
    ) -> None:
        self._style = style
        self._answer = _Answer(request, number, usage, filters=filters)
        self._output = self._answer.output
        self._count = 0
        self._delta: tuple[object, str] = (None, "")
        if style is not None:
            self._output.reasoning = "reasoning_text"
        self._can_be_plain = (
            style is None and "include" not in request.options and "top_logprobs" not in request.options
        )

    def _sse(self, fields: Fields) -> bytes:
        if self._style is not None:
            self._count += 1
            return self._style.event(fields, self._count - 1)
        kind = fields["type"]
        data = dump({"type": kind, "sequence_number": self._count, **fields})
        self._count += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)

    def begin(self) -> Sequence[bytes]:
        """Return that the response was created and is in progress."""
        response = self._answer.response("in_progress")
        return [self._sse({"type": f"response.{name}", "response": response}) for name in ("created", "in_progress")]

    def event(self, event: Event) -> Sequence[bytes]:
        """Return the events of the stream that an event of the answer becomes."""
        if type(event) is Text and event.logprobs is None and self._can_be_plain and not event.choice:
            part = self._output.part
            if part is not None and part.name == "output_text":
                return (self._text(event.text, part),)
        self._output.verbatim = self.verbatim
        return [self._sse(fields) for fields in self._answer.event(event)]

    def _text(self, text: str, part: Part) -> bytes:
        """Return a delta of the text that is open, the short way."""
        if part is not self._delta[0]:
            self._delta = part, f',{dump(part.place).decode()[1:-1]},"delta":'
        part.texts.append(text)
        self._answer.tally.pieces += 1
        number, self._count = self._count, self._count + 1
        return (
            'event: response.output_text.delta\ndata: {"type":"response.output_text.delta",'
            f'"sequence_number":{number}{self._delta[1]}{quote(text)},"logprobs":[]}}\n\n'
        ).encode()

    def end(self) -> Sequence[bytes]:
        """Return the end of the item that is open, and the terminal event with the finish reason and the usage."""
        last = [self._sse(fields) for fields in self._answer.close()]
        response = self._answer.completed()
        status = response.get("status")
        kind = status if status in ("completed", "incomplete", "failed", "cancelled") else "completed"
        return [*last, self._sse({"type": f"response.{kind}", "response": response})]

    def error(self, fault: provider_error) -> Sequence[bytes]:
        """Return an error, in one of three forms, and that the response failed, unless the error was named alone."""
        if self._style is not None:
            return ()
        word = {"code": fault.code or fault.kind, "message": fault.message, "param": None}
        failed = {"type": "response.failed", "response": self._answer.failed(fault)}
        if fault.named:
            return [self._sse({"type": "error", **word})]
        if fault.named is False:
            return [self._sse(failed)]
        error = {"type": fault.kind, "code": fault.code, "message": fault.message, "param": None}
        return [self._sse({"type": "error", "error": error}), self._sse(failed)]

    def breaks(self, fault: provider_error) -> Fault | None:  # noqa: ARG002 - any error does
        """Return how the connection of a self-hosted server ends when its engine fails: no event says so."""
        return disconnect("close") if self._style is not None else None
