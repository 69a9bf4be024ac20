"""Bedrock's InvokeModel and InvokeModelWithResponseStream: the bodies of the models' own APIs.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html and recorded streams. Whose
body it is the model's identifier tells, and where that is an ARN of one's own, the body. `Native` events are those of
the API that the body is of: `anthropic.messages` for Claude, `bedrock.converse` for Nova; and `bedrock.invoke` has
fields of the next chunk.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from fakellm.errors import WireError
from fakellm.script.events import Usage, http_error
from fakellm.script.script import Script
from fakellm.wire.bedrock.chunks import API, ChunkReader, stream_headers
from fakellm.wire.bedrock.claude import ClaudeCodec, ClaudeReader
from fakellm.wire.bedrock.documents import embeds
from fakellm.wire.bedrock.frames import CONTENT_TYPE, headers_of, http_error_of
from fakellm.wire.bedrock.nova import NovaEncoder, NovaReader, document_of_nova, read_nova
from fakellm.wire.bedrock.reader import InvokeDecoder
from fakellm.wire.bedrock.requests import address_of
from fakellm.wire.bedrock.texts import (
    COMMAND,
    COMPLETION,
    LLAMA,
    MISTRAL,
    TITAN,
    Family,
    TextEncoder,
    TextReader,
    document_of_texts,
    read_text_request,
)
from fakellm.wire.codec import Codec, Decoder, Encoder, Headers, Request
from fakellm.wire.objects import dump

CLAUDE, NOVA = "claude", "nova"
Kind = str | Family

_MODELS: tuple[tuple[str, Kind], ...] = (
    (r"\banthropic\.", CLAUDE),
    (r"\bamazon\.nova-", NOVA),
    (r"\bamazon\.titan-t[eg]", TITAN),  # -text-..., -tg1-...
    (r"\bmeta\.llama", LLAMA),
    (r"\bcohere\.command-(light-)?text", COMMAND),
    (r"\bmistral\.(mistral-7b|mixtral|mistral-small|mistral-large-2402)", MISTRAL),
)
_BODIES: tuple[tuple[str, Kind], ...] = (
    ("max_tokens_to_sample", COMPLETION),
    ("anthropic_version", CLAUDE),
    ("inputText", TITAN),
    ("max_gen_len", LLAMA),
    ("num_generations", COMMAND),
    ("schemaVersion", NOVA),
)
"""A field of a body that only one family has, for models whose identifier does not tell."""
_CHUNKS: tuple[tuple[str, Kind], ...] = (
    ("completion", COMPLETION),
    ("type", CLAUDE),
    ("outputText", TITAN),
    ("generation", LLAMA),
    ("is_finished", COMMAND),
    ("outputs", MISTRAL),
)
_CLAUDE = ClaudeCodec()


def kind_of(model: str, body: Any) -> Kind:
    """Return whose body a request has. Raises `WireError` for a model whose bodies are not known."""
    found = next((kind for pattern, kind in _MODELS if re.search(pattern, model)), None)
    if found is None and isinstance(body, dict) and (":" in model or "." not in model):
        found = next((kind for name, kind in _BODIES if name in body), None)
    if found is None:
        msg = (
            f"The fake has no bodies of the model {model} for InvokeModel: it has those of Claude, Nova, Titan, Llama, "
            "Command and Mistral; Converse answers for any model."
        )
        raise WireError(msg)
    is_prompt = isinstance(body, dict) and "prompt" in body and "messages" not in body
    return COMPLETION if found == CLAUDE and is_prompt else found  # of Claude 2, which has both


def reader_of(chunk: dict[str, Any]) -> ChunkReader:
    """Return what reads a stream that begins with this chunk."""
    kind = next((kind for name, kind in _CHUNKS if name in chunk), NOVA)
    if isinstance(kind, Family):
        return TextReader(kind)
    return ClaudeReader() if kind == CLAUDE else NovaReader()


class InvokeCodec(Codec):
    """InvokeModel and InvokeModelWithResponseStream."""

    api = API
    content_type = CONTENT_TYPE

    def request(self, body: Any, *, path: str = "") -> Request:
        """Read a request; the model and whether the answer is streamed are in the path."""
        model, _ = address_of(path)
        if embeds(model):
            return Request(API, model, json=body)
        kind = kind_of(model, body)
        if isinstance(kind, Family):
            return read_text_request(kind, body, path)
        if kind == NOVA:
            return read_nova(API, body, path)
        return replace(_CLAUDE.request(body, path=path), api=API)

    def by_itself(self, request: Request, number: int) -> bytes | None:  # noqa: ARG002 - a vector has no number
        """Return the vectors that a model of embeddings answers with."""
        answer = embeds(request.model)
        return None if answer is None else dump(answer(request.json))

    def encoder(self, request: Request, number: int, usage: Usage | None = None) -> Encoder:
        """Return what writes the stream."""
        kind = kind_of(request.model, request.json)
        if isinstance(kind, Family):
            return TextEncoder(kind, request, usage)
        if kind == NOVA:
            return NovaEncoder(request, usage)
        return _CLAUDE.encoder(request, number, usage)

    def body(self, script: Script, request: Request, number: int) -> bytes:
        """Return the document of an answer that is not streamed."""
        kind = kind_of(request.model, request.json)
        if isinstance(kind, Family):
            return dump(document_of_texts(kind, script, request, number))
        if kind == NOVA:
            return dump(document_of_nova(script, request))
        return _CLAUDE.body(script, request, number)

    def error(self, fault: http_error, number: int) -> tuple[Headers, bytes]:
        """Return an HTTP error."""
        return http_error_of(fault, number)

    def decoder(self) -> Decoder:
        """Return what reads a stream, of whichever model."""
        return InvokeDecoder(reader_of)

    def headers(self, number: int) -> Headers:
        """Return the headers of any answer."""
        return headers_of(number)

    def stream_headers(self, request: Request, number: int) -> Headers:  # noqa: ARG002 - others choose the framing
        """Return the headers of a stream."""
        return stream_headers(number)
