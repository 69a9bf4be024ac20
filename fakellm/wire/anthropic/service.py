"""Anthropic as a service."""

from __future__ import annotations

import re

from fakellm.wire.service import Service, document, endpoint

_HERE = "fakellm.wire.anthropic"

SERVICE = Service(
    "anthropic",
    re.compile(r"^([\w-]+\.)*anthropic\.com$"),
    (
        endpoint("anthropic.messages", r"/v1/messages$", f"{_HERE}.messages:MessagesCodec"),
        document("anthropic.tokens", r"/v1/messages/count_tokens$", f"{_HERE}.documents:tokens"),
        document("anthropic.models", r"/v1/models$", f"{_HERE}.documents:models", method="GET"),
        document("anthropic.model", r"/v1/models/[^/]+$", f"{_HERE}.documents:model", method="GET"),
    ),
    keys=("ANTHROPIC_API_KEY",),
    base_url="ANTHROPIC_BASE_URL",
)
