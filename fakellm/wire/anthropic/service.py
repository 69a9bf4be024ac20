"""Anthropic as a service, also as it stands at Google and AWS, and Claude on Vertex AI and in Azure AI Foundry.

Source: https://docs.claude.com/en/api/claude-on-vertex-ai and /claude-in-microsoft-foundry, and the SDK's own clients.
"""

from __future__ import annotations

import re

from fakellm.wire.service import Service, document, endpoint

_HERE = "fakellm.wire.anthropic"
_VERTEX = "/publishers/anthropic/models/"

SERVICE = Service(
    "anthropic",
    re.compile(r"^([\w-]+\.)*anthropic\.com$|^claude\.googleapis\.com$|^aws-external-anthropic\.[\w-]+\.api\.aws$"),
    (
        endpoint("anthropic.messages", r"/v1/messages$", f"{_HERE}.messages:MessagesCodec"),
        document("anthropic.tokens", r"/v1/messages/count_tokens$", f"{_HERE}.documents:tokens"),
        document("anthropic.tokens", rf"{_VERTEX}count-tokens:rawPredict$", f"{_HERE}.documents:tokens"),
        endpoint(
            "anthropic.messages", rf"{_VERTEX}[^/:]+:(rawPredict|streamRawPredict)$", f"{_HERE}.vertex:VertexCodec"
        ),
        document("anthropic.models", r"/v1/models$", f"{_HERE}.documents:models", method="GET"),
        document("anthropic.model", r"/v1/models/[^/]+$", f"{_HERE}.documents:model", method="GET"),
    ),
    keys=("ANTHROPIC_API_KEY",),
    base_url="ANTHROPIC_BASE_URL",
    signs=("anthropic-version",),
    guest=re.compile(rf"aiplatform[\w.]*\.googleapis\.com/.*{_VERTEX}|^([\w-]+\.)*services\.ai\.azure\.com/anthropic/"),
    profiles=f"{_HERE}.profiles:PROFILES",
)
