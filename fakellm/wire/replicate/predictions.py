"""Replicate's predictions: requests, streams, documents, errors.

Source: https://replicate.com/docs/reference/http and /docs/topics/predictions/streaming, the SDK, and recorded streams.
A request makes a prediction. With `"stream": true` it is told at which URL its output is streamed; with the header
`Prefer: wait` it gets the finished prediction; else that is fetched, as often as the client likes.

An output is texts, and nothing else: reasoning and tool calls are left out, and why an answer ended is only told if it
did not succeed. What was used is in the `metrics` of the document. A line of a text ends with a line feed, whatever it
was scripted with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from fakellm.errors import WireError
from fakellm.script.events import (
    Event,
    Finish,
    Native,
    Refusal,
    Text,
    Usage,
    choice_of,
    http_error,
    provider_error,
)
from fakellm.script.messages import Message
from fakellm.script.script import Script
from fakellm.wire.codec import CREATED, Decoder, Encoder, Headers, Request, Tally
from fakellm.wire.objects import dump, merged, parse_object, retrying, sound, text_field
from fakellm.wire.promises import Progress, Promise, PromisingCodec
from fakellm.wire.replicate.documents import MADE
from fakellm.wire.replicate.reader import API, DONE, ERROR, OUTPUT, PredictionDecoder
from fakellm.wire.sse import SSE, encode_sse

_OWNED = re.compile(r"/(models|deployments)/([^/]+)/([^/]+)/predictions$")
_HOME = "https://api.replicate.com"
_TITLES = {
    401: "Unauthenticated",
    402: "Insufficient credit",
    404: "Not found",
    422: "Input validation failed",
    429: "Too many requests",
}
"""Status -> title of an error."""
_USUAL = ("stop", "length", "tool_calls", "content_filter")
"""Reasons that are no failure, of which a stream says nothing."""
_KNOWN = ("input", "version", "stream")
_UNPROCESSABLE = 422
_HIDDEN = "hidden"
"""The version of a model that Replicate itself serves."""


class PredictionsCodec(PromisingCodec):
    """Predictions."""

    api = API
    marks = ("prefer",)

    def request(self, body: Any, *, path: str = "") -> Request:
        """Read a request. Its options are what is asked beside the input, and the input's own but for its texts."""
        return self.read(body, ("",), path=path)

    def read(self, body: Any, marks: Sequence[str], *, path: str = "") -> Request:
        """Read a request with its header, which says whether it waits for the prediction."""
        if not isinstance(body, dict):
            raise _invalid("body", "Invalid type. Expected: object")
        owned = _OWNED.search(path.partition("?")[0])
        version = body.get("version")
        if owned is None and not (isinstance(version, str) and version):
            raise _invalid("version", "version is required")
        given = body.get("input")
        if not isinstance(given, dict):
            raise _invalid("input", "input is required" if given is None else "Invalid type. Expected: object")
        stream = body.get("stream")
        if stream is not None and not isinstance(stream, bool):
            raise _invalid("stream", "Invalid type. Expected: boolean")
        return Request(
            API,
            "/".join(map(unquote, owned.group(2, 3))) if owned else sound(str(version)),
            _messages(given),
            (),
            bool(stream),
            {
                **{name: value for name, value in given.items() if name not in ("prompt", "system_prompt", "messages")},
                **{name: value for name, value in body.items() if name not in _KNOWN},
                "wait": marks[0].strip().lower().startswith("wait"),
            },
            body,
        )

    def encoder(self, request: Request, number: int, usage: Usage | None = None) -> Encoder:  # noqa: ARG002
        """Return what writes the stream; there is one answer."""
        return _PredictionEncoder(number)

    def body(self, script: Script, request: Request, number: int) -> bytes:
        """Return the document of a prediction that succeeded."""
        tally = Tally(request, script.usage).of(script)
        finish = tally.finish()
        status = finish.reason if finish.reason in ("canceled", "failed") else "succeeded"
        usage = tally.usage
        counts = {"input_token_count": usage.input_tokens, "output_token_count": usage.output_tokens}
        document = {
            **_prediction(request, number, _HOME),
            "output": _texts(script),
            "status": status,
            "started_at": MADE,
            "completed_at": MADE,
            "metrics": merged({**counts, "predict_time": 0.1, "total_time": 0.1}, usage.extra),
        }
        return dump(merged(merged(document, finish.extra), finish.beside))

    def promise(self, request: Request, number: int, url: str) -> Promise:
        """Return the id of a prediction, and the document of one that has only begun."""
        waits = request.options.get("wait") and not request.stream
        return Promise(_id(number), None if waits else self.progress(request, number, url, "starting"))

    def progress(self, request: Request, number: int, url: str, state: Progress) -> bytes:
        """Return the document of a prediction without its output."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}" if parts.netloc else _HOME
        ended = {"completed_at": MADE} if state in ("succeeded", "failed", "canceled") else {}
        return dump({**_prediction(request, number, origin), "output": None, "status": state, **ended})

    def failure(self, script: Script, request: Request, number: int, fault: provider_error) -> bytes:
        """Return the document of a prediction that failed."""
        document = {
            **_prediction(request, number, _HOME),
            "output": _texts(script) or None,
            "status": "failed",
            "error": fault.message,
            "started_at": MADE,
            "completed_at": MADE,
            "metrics": {},
        }
        return dump(document)

    def error(self, fault: http_error, number: int) -> tuple[Headers, bytes]:
        """Return an HTTP error: a title, a sentence and the status, as RFC 7807 has it."""
        document: dict[str, Any] = {"detail": fault.message, "status": fault.status}
        if title := fault.kind or _TITLES.get(fault.status):
            document = {"title": title, **document}
        extra = [("content-type", "application/problem+json"), *retrying(fault.retry_after)]
        if fault.retry_after is not None:
            document["retry_after"] = fault.retry_after
        return (*self.headers(number), *extra), dump(document) if fault.body is None else fault.body.encode()

    def decoder(self) -> Decoder:
        """Return what reads a stream."""
        return PredictionDecoder()


def _id(number: int) -> str:
    """Return the id of a prediction."""
    return f"fakellm{number:019d}"


def _prediction(request: Request, number: int, origin: str) -> dict[str, Any]:
    """Return what all documents of a prediction have."""
    id = _id(number)  # noqa: A001
    place = f"{origin}/v1/predictions/{id}"
    streams = "https://stream.replicate.com" if origin == _HOME else origin
    found = request.json if isinstance(request.json, dict) else {}
    version = found.get("version")
    return {
        "id": id,
        "model": request.model if "/" in request.model else "",
        "version": version if isinstance(version, str) else _HIDDEN,
        "input": found.get("input", {}),
        "logs": "",
        "data_removed": False,
        "error": None,
        "source": "api",
        "created_at": MADE,
        "urls": {
            "cancel": f"{place}/cancel",
            "get": place,
            **({"stream": f"{streams}/v1/streams/{id}"} if request.stream else {}),
            "web": f"https://replicate.com/p/{id}",
        },
    }


def _texts(script: Script) -> list[str]:
    return [event.text for event in script if isinstance(event, (Text, Refusal)) and not event.choice]


def _invalid(field: str, description: str) -> WireError:
    """Return the error for an input that is none, as Replicate words it."""
    error = WireError(f"- {field}: {description}\n")
    error.status = _UNPROCESSABLE
    kind = "required" if description.endswith("required") else "invalid_type"
    document = {
        "detail": str(error),
        "status": _UNPROCESSABLE,
        "title": _TITLES[_UNPROCESSABLE],
        "invalid_fields": [{"type": kind, "field": field, "description": description}],
    }
    error.body = dump(document).decode()
    return error


def _messages(given: Mapping[str, Any]) -> tuple[Message, ...]:
    """Return the prompts of an input: those of a system, and of a user; or messages, where a model takes some."""
    found: list[Message] = []
    for role, name in (("system", "system_prompt"), ("user", "prompt")):
        text = given.get(name)
        if text is not None and not isinstance(text, str):
            raise _invalid(f"input.{name}", "Invalid type. Expected: string")
        if text:
            found.append(Message(role, sound(text)))
    for message in given["messages"] if isinstance(given.get("messages"), list) else ():
        if not isinstance(message, dict) or not isinstance(message.get("content"), (str, type(None))):
            raise _invalid("input.messages", "Invalid type. Expected: object")
        found.append(Message(text_field(message, "role") or "user", text_field(message, "content")))
    return tuple(found)


class _PredictionEncoder(Encoder):
    """Writes a stream: an event for each text, `done` at its end."""

    def __init__(self, number: int) -> None:
        self._second = CREATED + number
        self._count = 0
        self._finish = Finish()

    def begin(self) -> Sequence[bytes]:
        """Return the comment that a stream begins with."""
        return [b": hi\n\n"]

    def event(self, event: Event) -> Sequence[bytes]:
        """Return the server-sent event of a text."""
        if choice_of(event):
            return ()  # there is one answer
        match event:
            case Text(text) | Refusal(text):
                return [self._event(OUTPUT, text)]
            case Native(api, data) if api == API:
                return [self._native(data)]
            case Finish():
                self._finish = event
        return ()

    def _native(self, data: Any) -> bytes:
        found = parse_object(data, f"a Native of {API}")
        name, said = text_field(found, "event"), found.get("data", "")
        if not name:
            msg = f"a Native of {API} is an event of the stream: its name, `event`, and its `data`"
            raise WireError(msg)
        return self._event(name, said if isinstance(said, str) else json.dumps(said))

    def _event(self, name: str, data: str) -> bytes:
        id, self._count = f"{self._second}:{self._count}", self._count + 1  # noqa: A001
        return encode_sse(SSE(sound(data), name, id))

    def end(self) -> Sequence[bytes]:
        """Return the event that says that it is done, with the reason if that is no usual one."""
        reason = {} if self._finish.reason in _USUAL else {"reason": self._finish.reason}
        return [self._event(DONE, dump(merged(reason, self._finish.extra)).decode())]

    def error(self, fault: provider_error) -> Sequence[bytes]:
        """Return the error, and that it is done because of it."""
        failed = self._event(ERROR, dump({"detail": fault.message}).decode())
        return [failed, self._event(DONE, '{"reason":"error"}')]
