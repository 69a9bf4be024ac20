"""Ollama's generate: requests, streams, documents.

Source: https://docs.ollama.com/api/generate. All is as in chat, but that text and thinking stand in the line itself,
and the last line has the tokens of the conversation as `context`, unless the request is `raw`.
`Native("ollama.generate", ...)` has the fields of a line, such as `completed` and `total` of a picture that is made.
"""

from __future__ import annotations

from typing import Any

from fakellm.errors import WireError
from fakellm.script.messages import Message
from fakellm.wire.codec import Request
from fakellm.wire.objects import sound
from fakellm.wire.ollama.chat import LineCodec
from fakellm.wire.ollama.lines import GENERATE
from fakellm.wire.ollama.requests import Fields, asked, images_of, is_streamed

_FIELDS: Fields = {
    **dict.fromkeys(("prompt", "suffix", "system", "template"), ((str,), "string")),
    "context": ((list,), "[]int"),
    "raw": ((bool,), "bool"),
    "images": ((list,), "[]api.ImageData"),
    **dict.fromkeys(("width", "height", "steps"), ((int,), "int32")),
}
_KNOWN = ("model", "prompt", "system", "stream")


class GenerateCodec(LineCodec):
    """Generate."""

    api = GENERATE.api
    form = GENERATE

    def request(self, body: Any, *, path: str = "") -> Request:  # noqa: ARG002 - other APIs have the model there
        """Read a request; its system prompt and its prompt are messages."""
        found = asked(body, "GenerateRequest", _FIELDS)
        images_of(found, "GenerateRequest")
        if found.get("raw") and any(map(found.get, ("template", "system", "context"))):
            msg = "raw mode does not support template, system, or context"
            raise WireError(msg)
        said = (("system", found.get("system")), ("user", found.get("prompt")))
        return Request(
            self.api,
            found["model"],
            tuple(Message(role, sound(text)) for role, text in said if text),
            (),
            is_streamed(found),
            {key: value for key, value in found.items() if key not in _KNOWN},
            body,
        )

    def asks(self, request: Request) -> bool:
        """Tell whether there is a prompt."""
        return any(message.role == "user" for message in request.messages)
