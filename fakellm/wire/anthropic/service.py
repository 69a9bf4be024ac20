"""Anthropic as a service, also as it stands at Google and AWS, and Claude on Vertex AI, on Bedrock and in Foundry.

Source: https://docs.claude.com/en/api/claude-on-vertex-ai and /claude-in-microsoft-foundry and
/claude-on-amazon-bedrock, and the SDK's own clients.
"""

from __future__ import annotations

import re

from fakellm.wire.aws import ENVIRONMENT
from fakellm.wire.clouds import CLAUDE, FOUNDRY, GOOGLE, TOKENS
from fakellm.wire.service import Service, document, endpoint

_HERE = "fakellm.wire.anthropic"
_VERTEX = "/publishers/anthropic/models/"
_BEDROCK = r"/model/[^/]*(anthropic\.|claude|application-inference-profile)[^/]*/invoke(-with-response-stream)?$"

SERVICE = Service(
    "anthropic",
    re.compile(r"^([\w-]+\.)*anthropic\.com$|^claude\.googleapis\.com$|^aws-external-anthropic\.[\w-]+\.api\.aws$"),
    (
        endpoint(
            "anthropic.messages", r"/v1/messages$", f"{_HERE}.messages:MessagesCodec", rules=f"{_HERE}.rules:RULES"
        ),
        document("anthropic.tokens", r"/v1/messages/count_tokens$", f"{_HERE}.documents:tokens"),
        document("anthropic.tokens", rf"{_VERTEX}count-tokens:rawPredict$", f"{_HERE}.documents:tokens"),
        endpoint(
            "anthropic.messages",
            rf"{_VERTEX}[^/:]+:(rawPredict|streamRawPredict)$",
            f"{_HERE}.vertex:VertexCodec",
            rules=f"{_HERE}.rules:CLOUDS",
        ),
        endpoint(
            "anthropic.messages",
            _BEDROCK,
            "fakellm.wire.bedrock.claude:ClaudeCodec",
            rules=f"{_HERE}.rules:CLOUDS",
        ),
        document("anthropic.models", r"/v1/models$", f"{_HERE}.documents:models", method="GET"),
        document("anthropic.model", r"/v1/models/[^/]+$", f"{_HERE}.documents:model", method="GET"),
    ),
    keys=("ANTHROPIC_API_KEY",),
    base_url="ANTHROPIC_BASE_URL",
    signs=("anthropic-version",),
    guest=re.compile(
        rf"aiplatform[\w.]*\.googleapis\.com/.*{_VERTEX}|^([\w-]+\.)*services\.ai\.azure\.com/anthropic/"
        rf"|^([\w-]+\.)*bedrock-runtime[\w.-]*\.(amazonaws\.com(\.cn)?|api\.aws){_BEDROCK}"
    ),
    profiles=f"{_HERE}.profiles:PROFILES",
    environment=(*ENVIRONMENT, *GOOGLE, *CLAUDE, *FOUNDRY),
    tokens=TOKENS,
    quotas=f"{_HERE}.quotas:AnthropicQuotas",
)
