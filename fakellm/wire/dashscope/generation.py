"""DashScope's text generation: requests, streams, documents, errors.

Source: https://help.aliyun.com/zh/model-studio/qwen-api-via-dashscope and the SDK. A request says in its headers that
it wants a stream (`X-DashScope-SSE: enable`). Each event of it has an id, is named `result`, and holds what was added
since the last (`incremental_output`) or all of the answer so far, with what was used so far. The answer stands in
`output.choices`, or, in the older form (`result_format="text"`), in `output.text`. That has no place for reasoning and
for tool calls, which are left out there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fakellm.script.events import (
    Event,
    Finish,
    Native,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
    choice_of,
    http_error,
    provider_error,
)
from fakellm.script.script import Script
from fakellm.wire.codec import Codec, Decoder, Encoder, Headers, Request, Tally, all_pieces
from fakellm.wire.dashscope.generation_reader import (
    API,
    SERVER_ERROR,
    UNFINISHED,
    GenerationDecoder,
    usage_fields,
)
from fakellm.wire.dashscope.requests import read_request
from fakellm.wire.objects import dump, merged, retrying
from fakellm.wire.openai.common import logprobs_of

_CODES = {
    400: "InvalidParameter",
    401: "InvalidApiKey",
    403: "AccessDenied",
    404: "ModelNotFound",
    408: "RequestTimeOut",
    429: "Throttling.RateQuota",
    503: "ModelUnavailable",
}
"""Status -> code of an error; other statuses are `InternalError`."""
_STATUSES = (
    ("Throttling", 429), ("Invalid", 400), ("DataInspectionFailed", 400), ("AccessDenied", 403), ("ModelNotFound", 404),
)  # fmt: skip
"""What a code begins with -> the status that an event of a stream says."""
_MESSAGES = re.compile(r"qwen3|qwq|qvq|deepseek|kimi|glm", re.IGNORECASE)
"""Models whose answers are messages, unless the request says else."""


class GenerationCodec(Codec):
    """Text generation."""

    api = API
    content_type = "text/event-stream;charset=UTF-8"
    marks = ("x-dashscope-sse", "accept")

    def request(self, body: Any, *, path: str = "") -> Request:  # noqa: ARG002 - other APIs have the model there
        """Read a request. Without its headers it wants a stream if it says how that is to come."""
        parameters = body.get("parameters") if isinstance(body, dict) else None
        says_how = isinstance(parameters, dict) and parameters.get("incremental_output") is not None
        return read_request(API, body, streams=says_how)

    def read(self, body: Any, marks: Sequence[str], *, path: str = "") -> Request:  # noqa: ARG002
        """Read a request with its headers, which say whether it wants a stream."""
        events, accepted = marks
        streams = events.lower() == "enable" or "text/event-stream" in accepted
        return read_request(API, body, streams=streams)

    def encoder(self, request: Request, number: int, usage: Usage | None = None) -> Encoder:
        """Return what writes the stream."""
        is_whole = request.options.get("incremental_output") is not True
        return _GenerationEncoder(request, number, usage, is_whole=is_whole)

    def body(self, script: Script, request: Request, number: int) -> bytes:
        """Return the document of an answer that is not streamed: what the events of a stream say at last."""
        events = all_pieces(_GenerationEncoder(request, number, script.usage, is_whole=True), script)
        found: dict[str, Any] = {}
        choices: dict[int, Any] = {}
        for document in (json.loads(event.partition(b"\ndata:")[2]) for event in events):
            output = {**found.get("output", {}), **document["output"]}
            choices |= {choice.get("index", 0): choice for choice in document["output"].get("choices", ())}
            found = {**found, **document, "output": output}
        if choices:
            found["output"]["choices"] = [choices[index] for index in sorted(choices)]
        return dump(found)

    def error(self, fault: http_error, number: int) -> tuple[Headers, bytes]:
        """Return an HTTP error: a code, a sentence, and the id of the request."""
        code = fault.code or fault.kind or _CODES.get(fault.status, SERVER_ERROR)
        document = {"code": code, "message": fault.message, "request_id": _id(number)}
        extra = [("content-type", "application/json"), *retrying(fault.retry_after)]
        return (*self.headers(number), *extra), dump(document) if fault.body is None else fault.body.encode()

    def decoder(self) -> Decoder:
        """Return what reads a stream."""
        return GenerationDecoder()

    def headers(self, number: int) -> Headers:
        """Return the headers of any answer."""
        return (("x-request-id", _id(number)),)


def _id(number: int) -> str:
    """Return an id in the form of a UUID."""
    return f"00000000-0000-4000-8000-{number:012d}"


def _is_message(request: Request) -> bool:
    """Tell whether an answer is a message, and not a text alone."""
    asked = request.options.get("result_format")
    if asked is not None:
        return bool(asked == "message")
    return bool(request.tools or request.options.get("enable_thinking") or _MESSAGES.search(request.model))


@dataclass(slots=True)
class _Answer:
    """What an answer says so far."""

    text: str = ""
    reasoning: str = ""
    calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    logprobs: list[Any] = field(default_factory=list)


# What is held back: the finish reason, since what was used in all stands with it. It waits until something else than a
# usage comes, a silence or the end.


class _GenerationEncoder(Encoder):
    """Writes a stream: an event for each of the script's, with what it adds or with all that was said."""

    def __init__(self, request: Request, number: int, usage: Usage | None, *, is_whole: bool) -> None:
        self._tally = Tally(request, usage)
        self._number = number
        self._is_whole = is_whole
        self._is_message = _is_message(request)
        self._choices = request.choices if self._is_message else 1
        self._count = 0
        self._answers: dict[int, _Answer] = {}
        self._finish: list[Finish] = []
        self._is_counted = False
        top = request.options.get("top_logprobs")
        self._top = (top if isinstance(top, int) else 0) if request.options.get("logprobs") else None

    def event(self, event: Event) -> Sequence[bytes]:
        """Return the server-sent event of an event; of a finish reason once it is known what was used."""
        if choice_of(event) >= self._choices or (isinstance(event, Usage) and self._tally.knows_usage):
            return ()
        self._tally.note(event)
        if isinstance(event, Usage):
            return ()
        before = self.flush()
        if isinstance(event, Finish):
            self._finish.append(event)
            return before
        return [*before, *self._said(event)]

    def _said(self, event: Event) -> list[bytes]:
        added, choice = _Answer(), choice_of(event)
        match event:
            case Text(text) | Refusal(text):
                added.text = text
                if isinstance(event, Text):
                    added.logprobs = logprobs_of(event, self._top) or []
            case Reasoning(text) if self._is_message and (text or event.signature is None):
                added.reasoning = text
            case ToolCall() if self._is_message:
                self._called(event, added)
            case Native(api, data) if api == API:
                return [self._event(self._output(added, choice), extra=data)]
            case _:
                return []
        return [self._event(self._output(added, choice))]

    def _called(self, piece: ToolCall, added: _Answer) -> None:
        """Add a piece of a tool call to what is said; the first has the name and the id."""
        index = piece.index or 0
        known = self._answers.get(piece.choice)
        is_first = piece.name is not None or (not self.verbatim and (known is None or index not in known.calls))
        function: dict[str, Any] = {"name": piece.name or ""} if is_first else {}
        id = (piece.id or f"call_{index}") if is_first else ""  # noqa: A001
        call = {"index": index, "id": id, "type": "function", "function": {**function, "arguments": piece.arguments}}
        added.calls[index] = call

    def _output(self, added: _Answer, choice: int, reason: str = UNFINISHED) -> dict[str, Any]:
        """Return the output that says what is added, or all with it."""
        so_far = self._answers.setdefault(choice, _Answer())
        so_far.text += added.text
        so_far.reasoning += added.reasoning
        so_far.logprobs += added.logprobs
        for index, call in added.calls.items():
            before = so_far.calls.get(index)
            if before is None or "name" in call["function"]:
                so_far.calls[index] = {**call, "function": dict(call["function"])}
            else:
                before["function"]["arguments"] += call["function"]["arguments"]
        shown = so_far if self._is_whole else added
        if not self._is_message:
            return {"finish_reason": reason, "text": shown.text}
        message: dict[str, Any] = {"role": "assistant", "content": shown.text}
        if shown.reasoning:
            message["reasoning_content"] = shown.reasoning
        if shown.calls:
            message["tool_calls"] = [
                {**call, "function": dict(call["function"])} for _, call in sorted(shown.calls.items())
            ]
        numbered = {"index": choice} if self._choices > 1 else {}
        tokens = {"logprobs": {"content": list(shown.logprobs)}} if shown.logprobs else {}
        return {"choices": [{"message": message, **numbered, **tokens, "finish_reason": reason}]}

    def _event(self, output: dict[str, Any], *, extra: Any = None, beside: Any = None, is_last: bool = False) -> bytes:
        self._count += 1
        usage = self._tally.usage
        if is_last:
            used = merged(usage_fields(usage), usage.extra)
        else:
            written = self._tally.pieces if not self._tally.has_usage else min(self._tally.pieces, usage.output_tokens)
            used = usage_fields(Usage(usage.input_tokens, written))
        document = {"output": merged(output, extra), "usage": used, "request_id": _id(self._number)}
        head = f"id:{self._count}\nevent:result\n:HTTP_STATUS/200\ndata:".encode()
        return head + dump(merged(document, beside)) + b"\n\n"

    def flush(self) -> list[bytes]:
        """Return the last event of an answer, if its reason waits."""
        waiting, self._finish = self._finish, []
        return [self._last(finish) for finish in waiting]

    def _last(self, finish: Finish) -> bytes:
        self._is_counted = True
        output = self._output(_Answer(), finish.choice, finish.reason)
        if self._is_message:
            output["choices"] = [merged(output["choices"][0], finish.extra)]
        else:
            output = merged(output, finish.extra)
        return self._event(output, beside=finish.beside, is_last=True)

    def stop(self) -> Sequence[bytes]:
        """Return the usage, if it was scripted and no event had it yet."""
        if self._is_counted or not self._tally.has_usage:
            return ()
        self._is_counted = True
        return [self._event(self._output(_Answer(), 0), is_last=True)]

    def end(self) -> Sequence[bytes]:
        """Return the last events of answers that have none."""
        self._finish += [self._tally.finish(choice) for choice in self._tally.unfinished if choice < self._choices]
        return self.flush()

    def error(self, fault: provider_error) -> Sequence[bytes]:
        """Return the event that reports an error; `named=False` gives one that is named as all others."""
        before = self.flush()
        code = fault.code or (SERVER_ERROR if fault.kind == "server_error" else fault.kind)
        status = next((status for begin, status in _STATUSES if code.startswith(begin)), 500)
        self._count += 1
        document = {"code": code, "message": fault.message, "request_id": _id(self._number)}
        name = "result" if fault.named is False else "error"
        head = f"id:{self._count}\nevent:{name}\n:HTTP_STATUS/{status}\ndata:".encode()
        return [*before, head + dump(document) + b"\n\n"]
