"""Anthropic's small documents: counts of tokens and models.

Source: https://docs.claude.com/en/api/messages-count-tokens and /models-list.
"""

from __future__ import annotations

from typing import Any

from fakellm.errors import WireError
from fakellm.wire.documents import last_of, object_of, words_of

_MODELS = {
    "claude-opus-4-5": "Claude Opus 4.5",
    "claude-sonnet-4-5": "Claude Sonnet 4.5",
    "claude-haiku-4-5": "Claude Haiku 4.5",
}
_CREATED_AT = "2026-01-01T00:00:00Z"


def tokens(asked: Any, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - the model is in the body
    """Answer Anthropic's `POST /v1/messages/count_tokens`: the words of system prompt, messages and tools."""
    body = object_of(asked)
    for name in ("model", "messages"):
        if not body.get(name):
            msg = f"{name}: Field required"
            raise WireError(msg)
    return {"input_tokens": words_of(body.get(name) for name in ("system", "messages", "tools"))}


def models(asked: Any = None, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - one page for all
    """Answer Anthropic's `GET /v1/models` with the one page that there is."""
    data = [_model(model) for model in _MODELS]
    return {"data": data, "has_more": False, "first_id": data[0]["id"], "last_id": data[-1]["id"]}


def model(asked: Any, path: str) -> dict[str, Any]:  # noqa: ARG001 - a GET has no body
    """Answer Anthropic's `GET /v1/models/{model}`."""
    return _model(last_of(path))


def _model(model: str) -> dict[str, Any]:
    name = _MODELS.get(model, model)
    return {"type": "model", "id": model, "display_name": name, "created_at": _CREATED_AT, "lifecycle": "active"}
