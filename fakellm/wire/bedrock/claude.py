"""Claude on Bedrock: Messages, with the model and the method in the path, and the events in frames.

Source: https://docs.claude.com/en/api/claude-on-amazon-bedrock, Anthropic's SDK (`AnthropicBedrock`) and recorded
streams: `anthropic_version` is in the body, `model` and `stream` are not; there are no pings; and `message_stop` has
Bedrock's own count of tokens. The errors are those of AWS.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from fakellm.errors import WireError
from fakellm.script.events import Event, Finish, Usage, http_error, provider_error
from fakellm.script.script import Script
from fakellm.wire.anthropic.messages import MessagesCodec
from fakellm.wire.anthropic.messages_reader import MessagesDecoder
from fakellm.wire.anthropic.profiles import MessagesProfile
from fakellm.wire.bedrock.chunks import ChunkEncoder, ChunkReader, native, stream_headers
from fakellm.wire.bedrock.frames import CONTENT_TYPE, METRICS, headers_of, http_error_of, invocation_metrics
from fakellm.wire.bedrock.reader import InvokeDecoder
from fakellm.wire.bedrock.requests import address_of, malformed
from fakellm.wire.codec import Decoder, Encoder, Headers, Request, Tally
from fakellm.wire.objects import beyond, dump, merged, parse_object
from fakellm.wire.sse import SSE, encode_sse

_ELSEWHERE = ("model", "stream")
_NAME = re.compile(r"^.*?\banthropic\.(.+?)(-v\d+)?(:\d+)*$")


class ClaudeCodec(MessagesCodec):
    """Messages on Bedrock."""

    content_type = CONTENT_TYPE

    @classmethod
    def speaking(cls, profile: MessagesProfile) -> MessagesCodec:  # noqa: ARG003 - Bedrock is nobody's own server
        """Return the codec: it has no other habits."""
        return cls()

    def request(self, body: Any, *, path: str = "") -> Request:
        """Read a request. Its `json` is the body as it was sent, without the model."""
        model, method = address_of(path)
        if not isinstance(body, dict):
            raise malformed([f"#: expected type: JSONObject, found: {type(body).__name__}"])
        if extra := [name for name in _ELSEWHERE if name in body]:
            raise malformed(f"#: extraneous key [{name}] is not permitted" for name in extra)
        if not body.get("anthropic_version"):
            msg = "anthropic_version: Field required"
            raise WireError(msg)
        request = super().request({**body, "model": model})
        return replace(request, json=body, stream=method == "invoke-with-response-stream")

    def encoder(self, request: Request, number: int, usage: Usage | None = None) -> Encoder:
        """Return what writes the stream."""
        return _ClaudeEncoder(super().encoder(_named(request), number, usage), Tally(request, usage))

    def body(self, script: Script, request: Request, number: int) -> bytes:
        """Return the document of an answer that is not streamed."""
        found = json.loads(super().body(script, _named(request), number))
        return dump(_marked(found))

    def error(self, fault: http_error, number: int) -> tuple[Headers, bytes]:
        """Return an HTTP error."""
        return http_error_of(fault, number)

    def decoder(self) -> Decoder:
        """Return what reads a stream."""
        return InvokeDecoder(lambda _: ClaudeReader())

    def headers(self, number: int) -> Headers:
        """Return the headers of any answer."""
        return headers_of(number)

    def stream_headers(self, request: Request, number: int) -> Headers:  # noqa: ARG002 - others choose the framing
        """Return the headers of a stream."""
        return stream_headers(number)


def _named(request: Request) -> Request:
    """Return the request with the model's name as Claude says it: without region, provider and version of Bedrock."""
    return replace(request, model=_NAME.sub(r"\1", request.model))


def _marked(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message with an id of Bedrock's."""
    message["id"] = message["id"].replace("msg_", "msg_bdrk_", 1)
    return message


def _data(pieces: Iterable[bytes]) -> Iterable[bytes]:
    """Yield the data of server-sent events, but for pings."""
    for piece in pieces:
        head, _, data = piece.rpartition(b"data: ")
        if not head.startswith(b"event: ping"):
            yield data


class _ClaudeEncoder(ChunkEncoder):
    """Writes a stream: the events of Messages as chunks."""

    def __init__(self, inner: Encoder, tally: Tally) -> None:
        super().__init__()
        self._inner = inner
        self._tally = tally
        self._metrics: str | None = None

    @property
    def verbatim(self) -> bool:
        """Whether tool calls are written as they come."""
        return self._inner.verbatim

    @verbatim.setter
    def verbatim(self, verbatim: bool) -> None:
        self._inner.verbatim = verbatim

    def _chunks(self, pieces: Iterable[bytes]) -> list[bytes]:
        return [self.chunks.chunk(self._counted(json.loads(data))) for data in _data(pieces)]

    def _counted(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return an event, the last of them with what Bedrock counted."""
        if event.get("type") == "message_start":
            _marked(event["message"])
        if event.get("type") != "message_stop":
            return event
        usage = self._tally.usage
        event[METRICS] = invocation_metrics(usage.input_tokens, usage.output_tokens)
        return merged(event, self._metrics)

    def begin(self) -> Sequence[bytes]:
        """Return the `message_start`."""
        return self._chunks(self._inner.begin())

    def event(self, event: Event) -> Sequence[bytes]:
        """Return the chunks of an event."""
        if self.chunks.takes(event):
            return ()
        if not (isinstance(event, Usage) and self._tally.knows_usage):
            self._tally.note(event)
        if isinstance(event, Finish) and event.beside:
            beside = parse_object(str(event.beside), "Finish.beside")
            if METRICS in beside:
                self._metrics = dump({METRICS: beside.pop(METRICS)}).decode()
                event = replace(event, beside=dump(beside).decode() if beside else None)
        return self._chunks(self._inner.event(event))

    def flush(self) -> Sequence[bytes]:
        """Return what was held back."""
        return self._chunks(self._inner.flush())

    def stop(self) -> Sequence[bytes]:
        """Return what was noted and not said yet."""
        return self._chunks(self._inner.stop())

    def end(self) -> Sequence[bytes]:
        """Return what ends the message."""
        return self._chunks(self._inner.end())

    def error(self, fault: provider_error) -> Sequence[bytes]:
        """Return the exception, after which nothing comes; `named=False` gives Anthropic's own event in a chunk."""
        return self._chunks(self._inner.error(fault)) if fault.named is False else super().error(fault)


class ClaudeReader(ChunkReader):
    """Turns the events of Messages, each a chunk, into those of a script.

    The finish reason waits for `message_stop`, since what Bedrock counts there is said beside it.
    """

    def __init__(self) -> None:
        self._inner = MessagesDecoder()
        self._held: list[Event] = []

    def read(self, chunk: dict[str, Any]) -> list[Event]:
        """Return what a chunk says."""
        metrics = chunk.pop(METRICS, None)
        kind = str(chunk.get("type") or "") or None
        said = self._inner.feed(encode_sse(SSE(dump(chunk).decode(), kind)))
        events = [replace(event, named=False) if isinstance(event, provider_error) else event for event in said]
        if kind == "message_stop":
            self.is_complete = True
            return [*self._counted(events, metrics)]
        if self._held or any(isinstance(event, Finish) for event in events):
            is_over = any(isinstance(event, provider_error) for event in events)
            self._held += events
            return self._release() if is_over else []
        return events

    def _release(self) -> list[Event]:
        held, self._held = self._held, []
        return held

    def _counted(self, events: list[Event], metrics: Any) -> list[Event]:
        """Return all that waited, with what Bedrock counted, where that differs from the usage."""
        found = [*self._release(), *events]
        usage = next((event for event in reversed(found) if isinstance(event, Usage)), Usage())
        usual = {METRICS: invocation_metrics(usage.input_tokens, usage.output_tokens)}
        beside = beyond({} if metrics is None else {METRICS: metrics}, usual)
        if not beside:
            return found
        if not any(isinstance(event, Finish) for event in found):
            return [native(beside), *found]
        said = dump(beside)
        return [_with(event, said) if isinstance(event, Finish) else event for event in found]

    def close(self) -> list[Event]:
        """Return what waited."""
        inner = [event for event in self._inner.finish() if event != self._inner.ending]
        return [*self._release(), *inner]


def _with(finish: Finish, beside: bytes) -> Finish:
    before = json.loads(str(finish.beside)) if finish.beside else {}
    return replace(finish, beside=dump({**before, **json.loads(beside)}).decode())
