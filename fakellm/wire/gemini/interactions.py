"""Gemini's Interactions API: requests, streams, documents, errors.

Source: https://ai.google.dev/api/interactions-api, the types of the SDK, and recorded streams; see the reader. The
document of an interaction that is not streamed is what its stream adds up to: steps. An error, over HTTP and in a
stream, has a code that is a word. A refusal is text; there are no log probabilities.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from typing import Any, cast

from fakellm.errors import WireError, clip
from fakellm.script.events import (
    Content,
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
from fakellm.script.messages import Message
from fakellm.script.script import Script
from fakellm.wire.codec import Codec, Decoder, Encoder, Headers, Request, Tally
from fakellm.wire.gemini.interactions_reader import API, STATES, TIER, InteractionsDecoder, usage_object
from fakellm.wire.objects import dump, get, merged, objects, parse_object, retrying, text_field

_KNOWN = ("model", "input", "system_instruction", "tools", "stream")
_MADE = "2026-01-01T00:00:00Z"
_DONE = b"event: done\ndata: [DONE]\n\n"
_CODES = {
    400: "invalid_request",
    401: "unauthenticated",
    403: "permission_denied",
    404: "not_found",
    409: "aborted",
    429: "resource_exhausted",
    500: "internal",
    503: "unavailable",
    504: "deadline_exceeded",
}
"""HTTP status -> the code of the error; others are `failed_precondition`, or from 500 on `internal`."""
_PIECES = {"text": "model_output", "thought_summary": "thought", "thought_signature": "thought"}


class InteractionsCodec(Codec):
    """Interactions."""

    api = API
    content_type = "text/event-stream"

    def request(self, body: Any, *, path: str = "") -> Request:  # noqa: ARG002 - other APIs have the model there
        """Read a request."""
        if not isinstance(body, dict):
            msg = "Invalid JSON payload received. Expected an object."
            raise WireError(msg)
        model = text_field(body, "model") or text_field(body, "agent")
        if not model:
            msg = "Either 'model' or 'agent' must be provided."
            raise WireError(msg)
        if body.get("input") in (None, "", []):
            msg = "The 'input' field is required."
            raise WireError(msg)
        system = text_field(body, "system_instruction")
        return Request(
            API,
            model.removeprefix("models/"),
            (*([Message("system", system)] if system else []), *_messages(body)),
            tuple(text_field(tool, "name") or text_field(tool, "type") for tool in objects(body, "tools")),
            get(body, "stream", bool),
            {key: value for key, value in body.items() if key not in _KNOWN},
            body,
        )

    def encoder(self, request: Request, number: int, usage: Usage | None = None) -> Encoder:
        """Return what writes the stream; there is one answer, and events of others are passed over."""
        return _InteractionsEncoder(request, number, usage)

    def body(self, script: Script, request: Request, number: int) -> bytes:
        """Return the document of an answer that is not streamed: what the stream adds up to."""
        encoder = _InteractionsEncoder(request, number, script.usage)
        pieces: list[bytes] = []
        for event in script:
            if isinstance(event, (Content, Usage, Finish)):
                pieces += encoder.event(event)
        steps = _added_up([*pieces, *encoder.close()], is_cut=script.allow_illegal or encoder.is_cut)
        return dump(merged({**encoder.interaction(), "steps": steps}, encoder.extra))

    def error(self, fault: http_error, number: int) -> tuple[Headers, bytes]:  # noqa: ARG002 - no ids in errors
        """Return an HTTP error."""
        headers = [("content-type", "application/json; charset=UTF-8"), *retrying(fault.retry_after)]
        usual = _CODES.get(fault.status, "internal" if fault.status >= 500 else "failed_precondition")  # noqa: PLR2004
        error = {"code": fault.code or fault.kind or usual, "message": fault.message}
        return tuple(headers), dump({"error": error}) if fault.body is None else fault.body.encode()

    def decoder(self) -> Decoder:
        """Return what reads a stream."""
        return InteractionsDecoder()


def _messages(body: dict[str, Any]) -> list[Message]:
    """Read the input: a text, contents of the user, turns of a role, or steps; calls of one turn are one message."""
    if not isinstance(body["input"], (list, dict)):
        return [Message("user", text_field(body, "input"))]
    parts = [body["input"]] if isinstance(body["input"], dict) else objects(body, "input")
    messages: list[Message] = []
    before = ""
    for part in parts:
        kind, role = text_field(part, "type"), text_field(part, "role")
        if kind == "function_call":
            calls = messages.pop().tool_calls if before == kind else ()
            messages.append(Message("assistant", tool_calls=(*calls, _call(part, len(calls)))))
        elif kind == "function_result":
            messages.append(Message("tool", _text(part.get("result")), tool_call_id=text_field(part, "call_id")))
        elif kind in ("user_input", "model_output") or role:
            is_model = kind == "model_output" or role == "model"
            messages.append(Message("assistant" if is_model else "user", _text(part.get("content"))))
        elif kind == "text":
            said = messages.pop().content if before == kind else ""
            messages.append(Message("user", said + text_field(part, "text")))
        before = kind
    return messages or [Message("user", "")]


def _call(part: dict[str, Any], index: int) -> ToolCall:
    arguments = dump(get(part, "arguments", dict)).decode()
    return ToolCall(text_field(part, "name") or None, arguments, id=text_field(part, "id") or None, index=index)


def _text(content: Any) -> str:
    """Return the text of a content or a result: text, an object of one, or a list of such; other JSON as it is."""
    if isinstance(content, list):
        return "".join(map(_text, content))
    if isinstance(content, dict) and isinstance(content.get("text"), str):
        return text_field(content, "text")
    if isinstance(content, dict) and "type" in content:
        return ""
    return content if isinstance(content, str) else "" if content is None else dump(content).decode()


# What is held back: nothing but the end. A step is closed when something comes that does not belong to it; the state
# and the usage come with the last event, which only the end of the script brings.


class _InteractionsEncoder(Encoder):
    """Writes a stream."""

    def __init__(self, request: Request, number: int, usage: Usage | None) -> None:
        self._request = request
        self._number = number
        self._tally = Tally(request, usage)
        self._index = -1
        self._open = ""
        self._calls: dict[int, int] = {}

    def interaction(self, status: str = "") -> dict[str, Any]:
        """Return the object of the interaction, while it goes on and as it ended."""
        sent = self._request.json if isinstance(self._request.json, dict) else {}
        asked = "agent" if not sent.get("model") and sent.get("agent") else "model"
        ended = {
            "usage": usage_object(self._tally.usage),
            "created": _MADE,
            "updated": _MADE,
            "service_tier": sent.get("service_tier") or TIER,
        }
        return {
            "id": self._id,
            "status": status or self._state,
            **({} if status else ended),
            "object": "interaction",
            asked: self._request.model,
        }

    @property
    def _id(self) -> str:
        return f"v1_fakellm{self._number:06d}"

    @property
    def _state(self) -> str:
        reason = self._tally.finish().reason
        return STATES.get(reason, reason)

    @property
    def is_cut(self) -> bool:
        """Whether the answer was cut short, so that arguments may be incomplete."""
        return self._state == STATES["length"]

    @property
    def extra(self) -> Any:
        """What the finish reason says of the interaction."""
        finish = self._tally.finish()
        return dump(merged(json.loads(cast("str", finish.extra or "{}")), finish.beside))

    def begin(self) -> Sequence[bytes]:
        """Return that the interaction was created and is in progress."""
        status = "in_progress"
        return [
            _event("interaction.created", interaction=self.interaction(status)),
            _event("interaction.status_update", interaction_id=self._id, status=status),
        ]

    def event(self, event: Event) -> Sequence[bytes]:
        """Return the server-sent events of an event."""
        if choice_of(event):
            return ()
        self._tally.note(event)
        return self.close() if isinstance(event, Finish) else self._content(event)

    def _content(self, event: Event) -> Sequence[bytes]:
        match event:
            case Text(text) | Refusal(text):
                return self._piece("model_output", {"type": "text", "text": text})
            case Reasoning():
                return self._reasoning(event)
            case ToolCall():
                return self._tool_call(event)
            case Native(api, data) if api == API:
                return self._native(cast("str", data))
        return ()

    def _start(self, step: dict[str, Any]) -> list[bytes]:
        """Return the begin of a step, and what ends the one before it."""
        before = self.close()
        self._index += 1
        self._open = str(step.get("type"))
        return [*before, _event("step.start", index=self._index, step=step)]

    def close(self, **fields: Any) -> list[bytes]:
        """Return the end of the step that is open, if one is."""
        kind, self._open = self._open, ""
        return [_event("step.stop", index=self._index, **fields)] if kind else []

    def _piece(self, kind: str, delta: dict[str, Any]) -> list[bytes]:
        """Return a delta of a step of that type, and before it what begins the step."""
        first = [] if self._open == kind else self._start({"type": kind})
        return [*first, _event("step.delta", index=self._index, delta=delta)]

    def _reasoning(self, piece: Reasoning) -> list[bytes]:
        pieces = [] if self._open == "thought" else self._start({"type": "thought"})
        if piece.text:
            content = {"type": "text", "text": piece.text}
            pieces += self._piece("thought", {"type": "thought_summary", "content": content})
        if piece.signature is not None:
            pieces += self._piece("thought", {"type": "thought_signature", "signature": _base64(piece.signature)})
        return pieces

    def _tool_call(self, piece: ToolCall) -> list[bytes]:
        """Return a piece of a call. One of a call that is not open is written as it is, as of one that misbehaves."""
        index, pieces = piece.index or 0, list[bytes]()
        if piece.name is not None or (index not in self._calls and not self.verbatim):
            signed = {} if piece.signature is None else {"signature": _base64(piece.signature)}
            step = {"type": "function_call", "id": piece.id or f"call_{index}", "name": piece.name or ""}
            pieces = self._start({**step, "arguments": {}, **signed})
            self._calls[index] = self._index
        if piece.arguments:
            delta = {"type": "arguments_delta", "arguments": piece.arguments}
            pieces.append(_event("step.delta", index=self._calls.get(index, self._index + 1), delta=delta))
        return pieces

    def _native(self, data: str) -> list[bytes]:
        """Return a step, or an event of the stream; see the reader."""
        found = parse_object(data, f"a Native of {API}")
        kind = text_field(found, "event_type")
        fields = {name: value for name, value in found.items() if name != "event_type"}
        if not kind and not text_field(found, "type"):
            msg = f"a Native of {API} is a step with a type, or has an event_type, unlike {clip(data, 80)}"
            raise WireError(msg)
        if "function_call" in (found.get("type"), get(fields, "step", dict).get("type")):
            self._tally.called.add(0)
        match kind:
            case "":
                return self._start(found)
            case "step.start" if "index" not in fields:
                return self._start(get(fields, "step", dict))
            case "step.delta" if "index" not in fields:
                first = [] if self._open else self._start({"type": _PIECES.get(_kind(fields), "model_output")})
                return [*first, _event(kind, index=self._index, **fields)]
            case "step.stop" if "index" not in fields:
                return self.close(**fields)
            case "interaction.status_update":
                return [_event(kind, **{"interaction_id": self._id, **fields})]
        return [_event(kind, **fields)]

    def end(self) -> Sequence[bytes]:
        """Return the end of the step that is open, the end of the interaction, and `[DONE]`."""
        last = self.close()
        interaction = merged(self.interaction(), self.extra)
        return [*last, _event("interaction.completed", interaction=interaction), _DONE]

    def error(self, fault: provider_error) -> Sequence[bytes]:
        """Return the error, after which nothing comes; `named=False` leaves out the name of the event."""
        error = {"code": fault.code or fault.kind, "message": fault.message}
        data = _event("error", error=error)
        return [data.partition(b"\n")[2] if fault.named is False else data]


def _kind(fields: dict[str, Any]) -> str:
    return text_field(get(fields, "delta", dict), "type")


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), dump({"event_type": kind, **fields}))


def _base64(signature: str) -> str:
    """Return a signature, which is base64 here; one that is not is encoded."""
    try:
        base64.b64decode(signature, validate=True)
    except ValueError:
        return base64.b64encode(signature.encode()).decode()
    return signature


def _added_up(pieces: Iterable[bytes], *, is_cut: bool) -> list[dict[str, Any]]:
    """Return the steps that the server-sent events of a stream add up to, which may have been cut short."""
    steps: dict[int, dict[str, Any]] = {}
    texts: dict[int, list[str]] = {}
    for piece in pieces:
        event = json.loads(piece.partition(b"\ndata: ")[2])
        index = event.get("index")
        if event["event_type"] == "step.start":
            steps[index] = event["step"]
        elif event["event_type"] == "step.delta" and event["delta"].get("type") == "arguments_delta":
            texts.setdefault(index, []).append(event["delta"].get("arguments") or "")
        elif event["event_type"] == "step.delta":
            _add(steps.setdefault(index, {"type": "model_output"}), event["delta"])
    for index, said in texts.items():
        step = steps.setdefault(index, {"type": "function_call"})
        step["arguments"] = _arguments("".join(said), step.get("name"), is_cut=is_cut)
    return list(steps.values())


def _add(step: dict[str, Any], delta: dict[str, Any]) -> None:
    """Add a delta to a step: contents are listed, texts beside each other are joined, other fields are the step's."""
    kind, fields = delta.get("type"), {name: value for name, value in delta.items() if name != "type"}
    if kind == "thought_summary":
        _listed(step.setdefault("summary", []), fields.get("content"))
    elif kind == "text_annotation_delta" and step.get("content"):
        last = step["content"][-1]
        last["annotations"] = [*last.get("annotations", ()), *(fields.get("annotations") or ())]
    elif step.get("type") in ("model_output", "user_input"):
        _listed(step.setdefault("content", []), delta)
    else:
        step.update(fields)


def _listed(contents: list[Any], content: Any) -> None:
    last = contents[-1] if contents else {}
    if isinstance(content, dict) and last.get("type") == content.get("type") == "text" and "annotations" not in last:
        last["text"] += content.get("text", "")
    else:
        contents.append(content)


def _arguments(text: str, name: Any, *, is_cut: bool) -> dict[str, Any]:
    """Return the arguments of a call; where the answer was cut short they may be incomplete, and are empty then."""
    try:
        return parse_object(text, f"the arguments of {name}") if text else {}
    except WireError:
        if is_cut:
            return {}
        raise
