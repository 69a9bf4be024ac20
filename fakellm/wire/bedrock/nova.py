"""Nova's own bodies in InvokeModel: those of Converse, whose events are chunks without a frame's type.

Source: https://docs.aws.amazon.com/nova/latest/userguide/using-invoke-api.html and recorded streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fakellm.errors import WireError
from fakellm.script.events import Event, Usage
from fakellm.script.script import Script
from fakellm.wire.bedrock.chunks import ChunkReader, Chunks, native
from fakellm.wire.bedrock.converse import whole_of
from fakellm.wire.bedrock.converse_reader import ConverseReader
from fakellm.wire.bedrock.converse_writer import ConverseEncoder, Whole
from fakellm.wire.bedrock.frames import METRICS, invocation_metrics
from fakellm.wire.bedrock.requests import CONVERSE, Fields, address_of, checked, read_converse
from fakellm.wire.codec import Request

_FIELDS: Fields = {**CONVERSE, "schemaVersion": (str,), "inferenceConfig": (dict,)}
_INFERENCE: Fields = {
    **dict.fromkeys(("max_new_tokens", "maxTokens", "topK", "top_k"), (int,)),
    **dict.fromkeys(("temperature", "topP", "top_p"), (int, float)),
    "stopSequences": (list,),
    "reasoningConfig": (dict,),
}
_OWN = ("schemaVersion", "inferenceConfig")


def usual_of_nova(usage: Usage) -> dict[str, Any]:
    """Return what `metadata` has beside a usage, and beside itself, where nothing else was scripted."""
    return {"metrics": {}, "trace": {}, METRICS: invocation_metrics(usage.input_tokens, usage.output_tokens)}


def read_nova(api: str, body: Any, path: str) -> Request:
    """Read a request. The `json` is the body as it was sent."""
    _, method = address_of(path)
    found = checked(body, _FIELDS)
    checked(found.get("inferenceConfig") or {}, _INFERENCE, "/inferenceConfig")
    if not found.get("messages"):
        msg = "Malformed input request: #: required key [messages] not found, please reformat your input and try again."
        raise WireError(msg)
    request = read_converse(api, {key: value for key, value in found.items() if key not in _OWN}, path)
    options = {**request.options, **{key: found[key] for key in _OWN if key in found}}
    return replace(request, json=body, options=options, stream=method == "invoke-with-response-stream")


class NovaEncoder(ConverseEncoder):
    """Writes a stream: the events of Converse as chunks."""

    def __init__(self, request: Request, usage: Usage | None) -> None:
        super().__init__(request, usage)
        self._chunks = Chunks()

    def usual(self, usage: Usage) -> dict[str, Any]:
        """Return what the `metadata` has beside the usage."""
        return usual_of_nova(usage)

    def said(self, kind: str, **fields: Any) -> bytes:
        """Return one event of the stream as a chunk."""
        beside = {METRICS: fields.pop(METRICS)} if METRICS in fields else {}
        return self._chunks.chunk({kind: fields, **beside})

    def event(self, event: Event) -> Sequence[bytes]:
        """Return the chunks of an event."""
        return () if self._chunks.takes(event) else super().event(event)


class NovaReader(ChunkReader):
    """Turns the events of Nova, each a chunk, into those of a script."""

    def __init__(self) -> None:
        self._inner = _Events()

    def read(self, chunk: dict[str, Any]) -> list[Event]:
        """Return what a chunk says."""
        metrics = chunk.pop(METRICS, None)
        kind = next(iter(chunk), "")
        found = chunk.pop(kind, None)
        if not isinstance(found, dict):
            msg = f"a chunk of Nova holds an event by its type, unlike {str({kind: found, **chunk})[:80]}"
            raise WireError(msg)
        if metrics is not None and kind == "metadata":
            found = {**found, METRICS: metrics}
        events = self._inner.read(kind, found)
        self.is_complete = self._inner.is_complete
        first: list[Event] = [native({**chunk, **({METRICS: metrics} if metrics and kind != "metadata" else {})})]
        return [*(first if chunk or (metrics and kind != "metadata") else []), *events]

    def close(self) -> list[Event]:
        """Return the finish reason that waits for its `metadata`."""
        return list(self._inner.close())


class _Events(ConverseReader):
    def usual(self, usage: Usage) -> dict[str, Any]:
        """Return what `metadata` has beside a usage, and what stands beside it."""
        return usual_of_nova(usage)


class _Whole(Whole):
    def usual(self, usage: Usage) -> dict[str, Any]:  # noqa: ARG002 - a document has the usage alone
        """Return nothing: a document has the usage alone."""
        return {}


def document_of_nova(script: Script, request: Request) -> dict[str, Any]:
    """Return the document of an answer that is not streamed."""
    found = whole_of(_Whole(request, script.usage), script)
    return {key: value for key, value in found.items() if key != METRICS}
