"""Cohere as a service: version 2 of its API.

Source: https://docs.cohere.com/reference, and the SDK's own client. The paths below `/compatibility/` are OpenAI's API.
"""

from __future__ import annotations

import re

from fakellm.wire.service import Service, document, endpoint

_HERE = "fakellm.wire.cohere"
_OWN = r"^(?!.*/compatibility/).*"

SERVICE = Service(
    "cohere",
    re.compile(r"^([\w-]+\.)*cohere\.(com|ai)$"),
    (
        endpoint("cohere.chat", r"/v2/chat$", f"{_HERE}.chat:ChatCodec"),
        document("cohere.embeddings", r"/v2/embed$", f"{_HERE}.documents:embeddings"),
        document("cohere.rerank", r"/v2/rerank$", f"{_HERE}.documents:ranking"),
        document("cohere.models", rf"{_OWN}/v1/models$", f"{_HERE}.documents:models", method="GET"),
        document("cohere.model", rf"{_OWN}/v1/models/[^/]+$", f"{_HERE}.documents:model", method="GET"),
    ),
    keys=("CO_API_KEY", "COHERE_API_KEY"),
    base_url="CO_API_URL",
    quotas=f"{_HERE}.quotas:CohereQuotas",
)
