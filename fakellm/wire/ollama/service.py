"""Ollama as a service: on port 11434 of this machine or of another, and on ollama.com."""

from __future__ import annotations

import re

from fakellm.wire.service import Service, document, endpoint

_HERE = "fakellm.wire.ollama"

SERVICE = Service(
    "ollama",
    re.compile(r"^([\w-]+\.)*ollama\.com$"),
    (
        endpoint("ollama.chat", r"/api/chat$", f"{_HERE}.chat:ChatCodec"),
        endpoint("ollama.generate", r"/api/generate$", f"{_HERE}.generate:GenerateCodec"),
        document("ollama.embed", r"/api/embed$", f"{_HERE}.documents:embed"),
        document("ollama.embeddings", r"/api/embeddings$", f"{_HERE}.documents:embeddings"),
        document("ollama.show", r"/api/show$", f"{_HERE}.documents:show"),
        document("ollama.tags", r"/api/tags$", f"{_HERE}.documents:tags", method="GET"),
        document("ollama.ps", r"/api/ps$", f"{_HERE}.documents:ps", method="GET"),
        document("ollama.version", r"/api/version$", f"{_HERE}.documents:version", method="GET"),
    ),
    keys=("OLLAMA_API_KEY",),
    base_url="OLLAMA_HOST",
    port=11434,
)
