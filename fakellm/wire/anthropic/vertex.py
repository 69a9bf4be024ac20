"""Claude on Vertex AI: Messages, with the model and the method in the path.

Source: https://docs.claude.com/en/api/claude-on-vertex-ai: `anthropic_version` is in the body, `model` is not, and all
else is as in Messages.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from fakellm.errors import WireError
from fakellm.wire.anthropic.messages import MessagesCodec
from fakellm.wire.codec import Request

_ADDRESS = re.compile(r"/([^/:]+):(\w+)$")


class VertexCodec(MessagesCodec):
    """Messages on Vertex AI."""

    def request(self, body: Any, *, path: str = "") -> Request:
        """Read a request. Its `json` is the body as it was sent, without the model."""
        if isinstance(body, dict) and not body.get("anthropic_version"):
            msg = "anthropic_version: Field required"
            raise WireError(msg)
        found = _ADDRESS.search(unquote(path.partition("?")[0]))
        model, method = found.groups() if found else ("", "")
        whole = {**body, "model": model} if isinstance(body, dict) else body
        request = super().request(whole)
        return replace(request, json=body, stream=request.stream or method == "streamRawPredict")
