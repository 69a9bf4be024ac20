"""OpenAI as a service, on its own hosts and on Azure's."""

from __future__ import annotations

import re

from fakellm.wire.service import Service, document, endpoint

_HERE = "fakellm.wire.openai"

SERVICE = Service(
    "openai",
    re.compile(r"^([\w-]+\.)*(openai\.com|openai\.azure\.com|cognitiveservices\.azure\.com)$"),
    (
        endpoint("openai.chat", r"/chat/completions$", f"{_HERE}.chat:ChatCodec"),
        endpoint("openai.completions", r"/completions$", f"{_HERE}.completions:CompletionsCodec"),
        endpoint("openai.responses", r"/responses$", f"{_HERE}.responses:ResponsesCodec"),
        document("openai.embeddings", r"/embeddings$", f"{_HERE}.documents:embeddings"),
        document("openai.models", r"/models$", f"{_HERE}.documents:models", method="GET"),
        document("openai.model", r"/models/[^/]+$", f"{_HERE}.documents:model", method="GET"),
    ),
    keys=("OPENAI_API_KEY",),
    base_url="OPENAI_BASE_URL",
    profiles=f"{_HERE}.profiles:PROFILES",
    error_events=(True, False),  # services that speak its API send either
)
