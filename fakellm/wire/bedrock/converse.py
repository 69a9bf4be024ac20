"""Bedrock's Converse API: requests, streams, documents, errors.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and .../ConverseStream.html,
botocore's service model, and recorded streams. One codec answers both: `/converse` with a document, `/converse-stream`
with a binary event stream.
"""

from __future__ import annotations

from typing import Any

from fakellm.script.events import Usage, http_error
from fakellm.script.script import Script
from fakellm.wire.bedrock.converse_reader import API, ConverseDecoder
from fakellm.wire.bedrock.converse_writer import ConverseEncoder, Whole
from fakellm.wire.bedrock.frames import CONTENT_TYPE, headers_of, http_error_of
from fakellm.wire.bedrock.requests import read_converse
from fakellm.wire.codec import Codec, Decoder, Encoder, Headers, Request, all_pieces
from fakellm.wire.objects import dump


class ConverseCodec(Codec):
    """Converse and ConverseStream."""

    api = API
    content_type = CONTENT_TYPE

    def request(self, body: Any, *, path: str = "") -> Request:
        """Read a request; the model and whether the answer is streamed are in the path."""
        return read_converse(API, body, path)

    def encoder(self, request: Request, number: int, usage: Usage | None = None) -> Encoder:  # noqa: ARG002 - no ids
        """Return what writes the stream; there is one answer, and events of others are passed over."""
        return ConverseEncoder(request, usage)

    def body(self, script: Script, request: Request, number: int) -> bytes:  # noqa: ARG002 - no ids in documents
        """Return the document of an answer that is not streamed: what the stream adds up to."""
        return dump(whole_of(Whole(request, script.usage), script))

    def error(self, fault: http_error, number: int) -> tuple[Headers, bytes]:
        """Return an HTTP error."""
        return http_error_of(fault, number)

    def decoder(self) -> Decoder:
        """Return what reads a stream."""
        return ConverseDecoder()

    def headers(self, number: int) -> Headers:
        """Return the headers of any answer."""
        return headers_of(number)

    def stream_headers(self, request: Request, number: int) -> Headers:  # noqa: ARG002 - others choose the framing
        """Return the headers of a stream."""
        return (("content-type", CONTENT_TYPE), ("transfer-encoding", "chunked"), *self.headers(number))


def whole_of(whole: Whole, script: Script) -> dict[str, Any]:
    """Return the document that a script adds up to."""
    all_pieces(whole, script)
    return whole.document(is_cut=script.allow_illegal)
