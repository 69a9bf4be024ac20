"""Gemini's generateContent and streamGenerateContent: requests, streams, documents, errors.

Source: https://ai.google.dev/api/generate-content, https://cloud.google.com/apis/design/errors, and 1,053 recorded
streams: server-sent events that end in CR LF or, without `alt=sse`, one JSON array; no event names and no `[DONE]`; one
candidate a chunk; a function call whole; the finish reason in the last chunk; counts of tokens in each.

What the API has in another form than a script: pieces of a tool call are joined, and arguments that are no JSON object
are sent as `{"arguments": "the text"}`, since `args` is an object; ids that a script gave by itself are not sent; a
refusal is text; a signature is base64, and one that is not is encoded; log probabilities are left out. The usage's
output is candidates and thoughts together. `promptFeedback` in a `Finish.extra` goes beside the candidates, which are
left out then, as where a prompt is blocked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote

from fakellm.errors import WireError
from fakellm.script.events import (
    Content,
    Event,
    Finish,
    Native,
    Reasoning,
    ToolCall,
    Usage,
    choice_of,
    http_error,
    provider_error,
)
from fakellm.script.messages import Message
from fakellm.script.script import Script
from fakellm.wire.codec import Codec, Decoder, Encoder, Headers, Request, Tally, Verbatim
from fakellm.wire.gemini.parts import Parts, candidate, escaped, in_line, joined, response, tail_of
from fakellm.wire.gemini.reader import API, GeminiDecoder
from fakellm.wire.objects import get, json_text, objects, snake, text_field

_KNOWN = ("contents", "systemInstruction", "system_instruction", "tools")
_METHOD = re.compile(r"([^/:]+):(\w+)$")

_CANDIDATES = 8
_STATUS = {
    408: "DEADLINE_EXCEEDED",
    413: "INVALID_ARGUMENT",
    529: "UNAVAILABLE",
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""HTTP status -> Google's word for it; others are FAILED_PRECONDITION below 500 and INTERNAL above."""
_KINDS = {
    "invalid_request": 400, "authentication": 401, "permission": 403, "not_found": 404, "rate_limit": 429,
    "overloaded": 503, "timeout": 504,
}  # fmt: skip
"""Other providers' words for an error, or the begin of them -> HTTP status."""


class GeminiCodec(Codec):
    """The Gemini API, and Gemini on Vertex AI."""

    api = API
    content_type = "text/event-stream"

    def request(self, body: Any, *, path: str = "") -> Request:
        """Read a request. The model and the method are in the path, the form of a stream in its query (`alt=sse`)."""
        if not isinstance(body, dict):
            msg = "Invalid JSON payload received. Expected an object."
            raise WireError(msg)
        model, method, alt = _address(path)
        model = model or text_field(body, "model").rpartition("/")[2]
        if not model:
            msg = "* GenerateContentRequest.model: unexpected model name format"
            raise WireError(msg)
        if not body.get("contents"):
            msg = "* GenerateContentRequest.contents: contents is not specified"
            raise WireError(msg)
        system = _either(body, "systemInstruction", dict)
        messages = [Message("system", _texts(_listed(system, "parts")))] if system else []
        for content in _listed(body, "contents"):
            messages += _messages(content)
        rest = {key: value for key, value in body.items() if key not in _KNOWN}
        return Request(
            API,
            model,
            tuple(messages),
            tuple(name for tool in _listed(body, "tools") for name in _tool_names(tool)),
            method == "streamGenerateContent",
            {**rest, "alt": alt, **({"vertex": True} if "/publishers/" in path else {})},
            body,
            _candidates(body),
        )

    def content_type_of(self, request: Request) -> str:
        """Return the content type of a stream, which can be server-sent events or one JSON array."""
        return self.content_type if request.options.get("alt") == "sse" else "application/json; charset=UTF-8"

    def encoder(self, request: Request, number: int, usage: Usage | None = None) -> Encoder:
        """Return what writes the stream."""
        return _GeminiEncoder(request, number, usage)

    def body(self, script: Script, request: Request, number: int) -> bytes:
        """Return the document of an answer that is not streamed; adjacent pieces of text are one part."""
        count = _Count(request, None)
        for event in script:
            count.note(event)
        candidates, feedback, beside = [], None, []
        for choice in script.choices:
            parts = Parts()
            said = [part for event in joined(script.choice(choice)) for part in parts.of(event)]
            finish = count.tally.finish(choice)
            text, blocked = candidate([*said, *parts.close()], choice, finish)
            candidates.append(text)
            feedback = feedback or blocked
            beside.append(finish.beside)
        text = response(candidates, count.whole(), _tail(request, number), feedback, beside)
        return text.encode("utf-8", "replace")

    def error(self, fault: http_error, number: int) -> tuple[Headers, bytes]:  # noqa: ARG002 - no ids in errors
        """Return an HTTP error. A retry delay is a header and, as on Google, a detail of the error."""
        headers = [("content-type", "application/json; charset=UTF-8")]
        details = _reason(fault.code)
        if fault.retry_after is not None:
            seconds = f"{fault.retry_after:.9f}".rstrip("0").rstrip(".")
            headers.append(("retry-after", seconds))
            details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{seconds}s"})
        document = _error_document(fault.status, fault.message, fault.kind, details)
        return tuple(headers), (document if fault.body is None else fault.body).encode()

    def decoder(self) -> Decoder:
        """Return what reads a stream, in either form."""
        return GeminiDecoder()


def _candidates(body: Mapping[str, Any]) -> int:
    """Return how many answers are wanted; 0, as protobuf has it, is not said."""
    count: int = _either(_either(body, "generationConfig", dict), "candidateCount", int)
    if not 0 <= count <= _CANDIDATES:
        msg = (
            f"Unable to submit request because it has a candidateCount value of {count} but the supported range is "
            f"from 1 (inclusive) to {_CANDIDATES + 1} (exclusive). Update the value and try again."
        )
        raise WireError(msg)
    return max(count, 1)


def _address(path: str) -> tuple[str, str, str]:
    """Return what a path says: the model, the method, and the form of the answer."""
    address, _, query = path.partition("?")
    match = _METHOD.search(unquote(address))
    asked = parse_qs(query)
    alt = (asked.get("alt") or asked.get("$alt") or ["json"])[-1]
    return (*(match.groups() if match else ("", "")), alt.partition(";")[0])  # type: ignore[return-value]


def _either(found: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    """Return a field by either of its names: the API takes `systemInstruction` and `system_instruction` alike."""
    return get(found, name if found.get(name) is not None else snake(name), kind)


def _listed(found: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return a list of objects; the API takes one object for a list of one."""
    return [found[name]] if isinstance(found.get(name), dict) else objects(found, name)


def _tool_names(tool: dict[str, Any]) -> list[str]:
    """Return the names of the functions, and of the tools that run on the server, such as `googleSearch`."""
    declared = ("functionDeclarations", "function_declarations")
    names = [text_field(function, "name") for name in declared for function in _listed(tool, name)]
    return [*names, *(name for name in tool if name not in declared)]


def _texts(parts: Iterable[dict[str, Any]], *, thought: bool = False) -> str:
    return "".join(text_field(part, "text") for part in parts if bool(part.get("thought")) is thought)


def _messages(content: dict[str, Any]) -> list[Message]:
    """Return the messages that a content is: one, and one for each result of a function."""
    role = text_field(content, "role") or "user"
    if role not in ("user", "model", "function"):
        msg = "Please use a valid role: user, model."
        raise WireError(msg)
    parts = _listed(content, "parts")
    calls = [call for part in parts if (call := _either(part, "functionCall", dict))]
    results = [result for part in parts if (result := _either(part, "functionResponse", dict))]
    messages = [_result(result) for result in results]
    text = _texts(parts)
    if text or not results:
        messages.append(
            Message(
                "assistant" if role == "model" else "user",
                text,
                _texts(parts, thought=True),
                tool_calls=tuple(_asked(call, index) for index, call in enumerate(calls)),
            )
        )
    return messages


def _asked(call: dict[str, Any], index: int) -> ToolCall:
    arguments = json_text(get(call, "args", dict))
    return ToolCall(text_field(call, "name") or None, arguments, id=text_field(call, "id") or None, index=index)


def _result(result: dict[str, Any]) -> Message:
    said = json_text(get(result, "response", dict))
    return Message("tool", said, tool_call_id=text_field(result, "id") or text_field(result, "name"))


def _error_document(code: int, message: str, kind: str | None, details: list[dict[str, Any]]) -> str:
    """Return an error as Google words it; a kind that is not in its words is replaced by that of the code."""
    usual = _STATUS.get(code, "INTERNAL" if code >= 500 else "FAILED_PRECONDITION")  # noqa: PLR2004 - RFC 9110, 15.6
    error: dict[str, Any] = {"code": code, "message": message, "status": kind if kind and kind.isupper() else usual}
    if details:
        error["details"] = details
    return json.dumps({"error": error}, indent=2, ensure_ascii=False) + "\n"


def _is_status(code: str | None) -> bool:
    return re.fullmatch("[0-9]{3}", code or "") is not None


def _reason(code: str | None) -> list[dict[str, Any]]:
    """Return the detail that has a code of an error, such as `API_KEY_INVALID`, which is no number."""
    if code is None or _is_status(code):
        return []
    return [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": code, "domain": "googleapis.com"}]


def _code_of(kind: str) -> int:
    """Return the code of an error that is reported inside a stream, by its kind in Google's words or in others'."""
    google = {word: code for code, word in _STATUS.items()}
    return google.get(kind) or next((code for word, code in _KINDS.items() if kind.startswith(word)), 500)


def _tail(request: Request, number: int) -> str:
    return tail_of(request.model, number, is_vertex="vertex" in request.options)


class _Count:
    """Counts what was used so far, and in the end, as far as the script does not say it."""

    def __init__(self, request: Request, given: Usage | None) -> None:
        self.tally = Tally(request, given)
        self.noted: Usage | None = None
        self._given = given
        self.is_given = given is not None
        self._pieces = self._thoughts = 0

    def note(self, event: Event) -> None:
        """Take an event."""
        self.tally.note(event)
        if isinstance(event, Usage):
            self.noted = event
        elif isinstance(event, Reasoning):
            self._pieces += bool(event.text)
            self._thoughts += bool(event.text)
        elif isinstance(event, Content) and not isinstance(event, Native):
            self._pieces += 1

    def so_far(self) -> Usage:
        """Return the counts of a chunk that others follow: scripted ones, else pieces, and no more than in the end."""
        if self.noted is not None:
            return self.noted
        last = self._given
        if last is None:
            return Usage(self.tally.usage.input_tokens, self._pieces, None, self._thoughts or None)
        thoughts = None if last.reasoning_tokens is None else min(self._thoughts, last.reasoning_tokens)
        return Usage(last.input_tokens, min(self._pieces, last.output_tokens), last.cached_tokens, thoughts)

    def whole(self) -> Usage:
        """Return the counts of the last chunk."""
        return self._given or self.so_far()


# What is held back: the finish reason, which comes in the last chunk of its candidate together with what still waits
# there; the whole usage, which only the very last chunk has (those before it say what was used so far, never more
# than in the end); a call, until its arguments are an object; a signature, which belongs to the text that follows it.
# In the form of an array the comma is written before a chunk, since after one nobody knows whether another comes.


class _GeminiEncoder(Encoder):
    """Writes a stream: a chunk for each event, in the form that the request asked for."""

    def __init__(self, request: Request, number: int, usage: Usage | None) -> None:
        self._is_array = request.options.get("alt") != "sse"
        self._tail = _tail(request, number)
        self._count = _Count(request, usage)
        self._answers: dict[int, Parts] = {}
        self._finish: Finish | None = None
        self._said: Usage | None = None
        self._raws: list[bytes] = []
        self._has_begun = False

    def event(self, event: Event) -> Sequence[bytes]:
        """Return the chunk of an event; of a finish reason once it is known to be the last."""
        self._count.note(event)
        if isinstance(event, Usage):
            return ()
        before = [*self._settled(event), *self._finished()] if self._raws else self._finished()
        if isinstance(event, Finish):
            self._finish = event
            return before
        choice = choice_of(event)
        answer = self._answers.setdefault(choice, Parts())
        answer.verbatim = self.verbatim
        return [*before, *(self._chunk([candidate([part], choice)[0]]) for part in answer.of(event))]

    def raw(self, text: str) -> Sequence[bytes]:
        """Return bytes of the script's own; they wait where a call does. A usage that comes after them has a chunk."""
        is_counted = self._count.noted is not None or not self._count.is_given
        chunks = [*self._finished(last=is_counted and not self._count.tally.unfinished), *self._released()]
        if any(parts.holds_call for parts in self._answers.values()):
            self._raws.append(Verbatim(text.encode()))
            return chunks
        return [*chunks, Verbatim(text.encode())]

    def _settled(self, event: Event) -> list[bytes]:
        """Return the bytes that wait: before a call that goes on with this event, behind one that does not."""
        parts = self._answers.get(choice_of(event))
        if parts is None or not parts.holds_call:
            return []
        raws, self._raws = self._raws, []
        if parts.goes_on_with(event):
            return raws
        return [*(self._chunk([candidate([part], choice_of(event))[0]]) for part in parts.close()), *raws]

    def _finished(self, *, last: bool = False) -> list[bytes]:
        """Return the chunk of the finish reason that waits, with the signature that does."""
        finish, self._finish = self._finish, None
        if finish is None:
            return []
        parts = self._answers.pop(finish.choice, Parts()).close()
        before = [self._chunk([candidate([part], finish.choice)[0]]) for part in parts[:-1]]
        text, feedback = candidate(parts[-1:], finish.choice, finish)
        return [*before, self._chunk([text], self._count.whole() if last else None, feedback, finish.beside)]

    def _chunk(
        self, candidates: Sequence[str], usage: Usage | None = None, feedback: Any = None, beside: object = None
    ) -> bytes:
        self._said = usage or self._count.so_far()
        return self._framed(response(candidates, self._said, self._tail, feedback, [beside]))

    def _framed(self, text: str) -> bytes:
        if not self._is_array:
            return f"data: {text}\r\n\r\n".encode("utf-8", "replace")
        before, self._has_begun = ",\r\n" if self._has_begun else "[", True
        return f"{before}{text}".encode("utf-8", "replace")

    def flush(self) -> list[bytes]:
        """Return what was held back, since a silence comes first; a call waits on for the rest of its arguments."""
        raws, self._raws = self._raws, []
        return [*self._finished(last=not self._count.tally.unfinished), *self._released(), *raws]

    def _released(self) -> list[bytes]:
        """Return the signatures that wait for a text."""
        waiting = [(choice, part) for choice, parts in self._answers.items() for part in parts.release()]
        return [self._chunk([candidate([part], choice)[0]]) for choice, part in waiting]

    def stop(self) -> Sequence[bytes]:
        """Return the usage, if it was scripted and no chunk had it."""
        noted = self._count.noted
        return [] if noted is None or noted == self._said else [self._chunk([], noted)]

    def end(self) -> Sequence[bytes]:
        """Return the finish reasons that are missing, and the end of the array."""
        chunks: list[bytes] = []
        for choice in self._count.tally.unfinished:
            chunks += self.event(self._count.tally.finish(choice))
        chunks += [*self._finished(last=True), *self.stop()]
        if self._is_array:
            chunks[-1:] = [b"".join([*chunks[-1:], b"\n]"])]
        return chunks

    def error(self, fault: provider_error) -> Sequence[bytes]:
        """Return the error: bare, as Gemini's servers send it, or in an event, whose name `named` chooses."""
        code = int(fault.code or "") if _is_status(fault.code) else _code_of(fault.kind)
        text = escaped(_error_document(code, fault.message, fault.kind, _reason(fault.code)))
        if self._is_array:
            return [*self.flush(), self._framed(text) + b"]"]
        if fault.named is None:
            return [*self.flush(), Verbatim(text.encode())]
        name = "event: error\r\n" if fault.named else ""
        return [*self.flush(), f"{name}data: {in_line(text)}\r\n\r\n".encode()]
