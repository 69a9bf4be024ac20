"""Google's Gemini as a service: the Gemini API, and Vertex AI."""

from __future__ import annotations

import re

from fakellm.wire.clouds import GOOGLE, TOKENS
from fakellm.wire.service import Service, document, endpoint

_HERE = "fakellm.wire.gemini"

SERVICE = Service(
    "gemini",
    re.compile(r"^(generativelanguage|([\w-]+-)?aiplatform(\.\w+\.rep)?)\.googleapis\.com$"),
    (
        endpoint(
            "gemini",
            r":(streamGenerateContent|generateContent)$",
            f"{_HERE}.generate:GeminiCodec",
            rules=f"{_HERE}.rules:RULES",
        ),
        endpoint("gemini.interactions", r"/interactions$", f"{_HERE}.interactions:InteractionsCodec"),
        document("gemini.embeddings", r":embedContent$", f"{_HERE}.documents:embedding"),
        document("gemini.embeddings", r":batchEmbedContents$", f"{_HERE}.documents:embeddings"),
        document("gemini.tokens", r":countTokens$", f"{_HERE}.documents:tokens"),
        document("gemini.models", r"^(?!.*/openai/).*/models$", f"{_HERE}.documents:models", method="GET"),
        document("gemini.model", r"^(?!.*/openai/).*/models/[^/:]+$", f"{_HERE}.documents:model", method="GET"),
    ),
    keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    base_url="GOOGLE_GEMINI_BASE_URL",
    signs=("x-goog-api-key",),
    environment=GOOGLE,
    tokens=TOKENS,
    quotas=f"{_HERE}.quotas:GeminiQuotas",
)
