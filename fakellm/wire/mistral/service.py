"""Mistral as a service, on its hosts of all regions.

Source: https://docs.mistral.ai/api, and the servers of the SDK. `codestral.mistral.ai` has chat and fill-in-the-middle.
"""

from __future__ import annotations

import re

from fakellm.wire.service import Service, document, endpoint

_HERE = "fakellm.wire.mistral"

SERVICE = Service(
    "mistral",
    re.compile(r"^([\w-]+\.)*mistral\.ai$"),
    (
        endpoint("mistral.fim", r"/v1/fim/completions$", f"{_HERE}.chat:FIMCodec"),
        endpoint(
            "mistral.agents", r"/v1/agents/completions$", f"{_HERE}.chat:AgentsCodec", rules=f"{_HERE}.rules:AGENTS"
        ),
        endpoint("mistral.chat", r"/v1/chat/completions$", f"{_HERE}.chat:ChatCodec", rules=f"{_HERE}.rules:CHAT"),
        *(
            endpoint("mistral.conversations", rf"/v1/conversations{of}$", f"{_HERE}.conversations:ConversationsCodec")
            for of in ("", "/[^/]+", "/[^/]+/restart")
        ),
        document("mistral.embeddings", r"/v1/embeddings$", f"{_HERE}.documents:embeddings"),
        document("mistral.models", r"/v1/models$", f"{_HERE}.documents:models", method="GET"),
        document("mistral.model", r"/v1/models/[^/]+$", f"{_HERE}.documents:model", method="GET"),
    ),
    keys=("MISTRAL_API_KEY",),
    quotas=f"{_HERE}.quotas:MistralQuotas",
)
