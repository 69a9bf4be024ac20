"""Bytes <-> events: framings, and one folder for each provider.

A codec knows one API: it reads requests, writes streams and documents, and reads them back. `Service` says what a
provider has; `add_provider` adds one from outside.
"""

from __future__ import annotations

from fakellm.rooms import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fakellm.wire.codec import Codec as Codec
    from fakellm.wire.codec import Decoder as Decoder
    from fakellm.wire.codec import Encoder as Encoder
    from fakellm.wire.codec import Request as Request
    from fakellm.wire.codec import Tally as Tally
    from fakellm.wire.codec import legal_or_not as legal_or_not
    from fakellm.wire.codec import pieces as pieces
    from fakellm.wire.codec import runs as runs
    from fakellm.wire.gateways.gateway import Gateway as Gateway
    from fakellm.wire.gateways.gateway import Page as Page
    from fakellm.wire.gateways.presets import GATEWAYS as GATEWAYS
    from fakellm.wire.providers import add_provider as add_provider
    from fakellm.wire.providers import provider_names as provider_names
    from fakellm.wire.reader import SSEReader as SSEReader
    from fakellm.wire.rules import Asked as Asked
    from fakellm.wire.rules import Broken as Broken
    from fakellm.wire.rules import Refusal as Refusal
    from fakellm.wire.rules import Rule as Rule
    from fakellm.wire.rules import Rules as Rules
    from fakellm.wire.service import Endpoint as Endpoint
    from fakellm.wire.service import Service as Service
    from fakellm.wire.service import document as document
    from fakellm.wire.service import endpoint as endpoint
    from fakellm.wire.sse import SSE as SSE
    from fakellm.wire.sse import NDJSONDecoder as NDJSONDecoder
    from fakellm.wire.sse import SSEDecoder as SSEDecoder
    from fakellm.wire.sse import encode_ndjson as encode_ndjson
    from fakellm.wire.sse import encode_sse as encode_sse
    from fakellm.wire.wireform import FORMS as FORMS
    from fakellm.wire.wireform import WireForm as WireForm
    from fakellm.wire.wireform import form_of as form_of

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "codec": ("Codec", "Decoder", "Encoder", "Request", "Tally", "legal_or_not", "pieces", "runs"),
        "gateways.gateway": ("Gateway", "Page"),
        "gateways.presets": ("GATEWAYS",),
        "reader": ("SSEReader",),
        "providers": ("add_provider", "provider_names"),
        "rules": ("Asked", "Broken", "Refusal", "Rule", "Rules"),
        "service": ("Endpoint", "Service", "document", "endpoint"),
        "wireform": ("FORMS", "WireForm", "form_of"),
        "sse": ("SSE", "NDJSONDecoder", "SSEDecoder", "encode_ndjson", "encode_sse"),
    },
    also=(
        "anthropic",
        "bedrock",
        "cohere",
        "dashscope",
        "gateways",
        "gemini",
        "mistral",
        "ollama",
        "openai",
        "replicate",
    ),
)
