"""Mistral's small documents: embeddings and models.

Source: https://docs.mistral.ai/api, the types of the SDK, and recorded answers.
"""

from __future__ import annotations

import hashlib
from typing import Any

from fakellm.wire.codec import CREATED
from fakellm.wire.documents import FORMS, count_tokens, dimensions_of, last_of, vector
from fakellm.wire.mistral.requests import ANY, INTEGER, OBJECT, TEXT, Fields, Form, within
from fakellm.wire.objects import text_field

_EMBEDDINGS: Fields = {
    "model": TEXT, "input": ANY, "metadata": OBJECT, "output_dimension": within(INTEGER, 1, 4096), "output_dtype": TEXT,
    "encoding_format": TEXT,
}  # fmt: skip
_KINDS = ("float", "int8", "uint8", "binary", "ubinary")
_MODELS: dict[str, tuple[str, ...]] = {
    "mistral-large-latest": ("completion_chat", "function_calling", "vision"),
    "mistral-medium-latest": ("completion_chat", "function_calling", "vision"),
    "mistral-small-latest": ("completion_chat", "function_calling", "vision"),
    "magistral-medium-latest": ("completion_chat", "function_calling", "reasoning"),
    "codestral-latest": ("completion_chat", "function_calling", "completion_fim"),
    "mistral-embed": (),
    "codestral-embed": (),
}
"""Models, each with what it can do."""
_CAPABILITIES = (
    "completion_chat", "function_calling", "reasoning", "completion_fim", "fine_tuning", "vision", "ocr",
    "classification", "moderation", "audio", "audio_transcription",
)  # fmt: skip


def embeddings(asked: Any, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - the model is in the body
    """Answer Mistral's `POST /v1/embeddings`: one vector for each text."""
    form = Form()
    body = form.judge(asked, _EMBEDDINGS, (), "model", "input")
    given = body.get("input")
    texts: list[Any] = given if isinstance(given, list) else [given]
    if "input" in body and not (texts and all(isinstance(text, str) for text in texts)):
        form.wrong("string_type", ("input", "str"), "Input should be a valid string", body["input"])
    for name, kinds in (("output_dtype", _KINDS), ("encoding_format", ("float", "base64"))):
        if body.get(name) is not None and body[name] not in kinds:
            shown = [f"'{kind}'" for kind in kinds]
            text = f"Input should be {', '.join(shown[:-1])} or {shown[-1]}"
            form.wrong("enum", (name,), text, body[name])
    form.close()
    model = text_field(body, "model")
    kind = "base64" if body.get("encoding_format") == "base64" else body.get("output_dtype") or "float"
    dimensions = dimensions_of(body, "output_dimension", model)
    tokens = sum(map(count_tokens, texts))
    return {
        "id": hashlib.sha256("\0".join(texts).encode("utf-8", "replace")).hexdigest()[:32],
        "object": "list",
        "data": [
            {"object": "embedding", "embedding": FORMS[kind](vector(text, dimensions)), "index": at}
            for at, text in enumerate(texts)
        ],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0},
    }


def models(asked: Any = None, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - one list for all
    """Answer Mistral's `GET /v1/models`."""
    return {"object": "list", "data": [_model(name) for name in _MODELS]}


def model(asked: Any, path: str) -> dict[str, Any]:  # noqa: ARG001 - a GET has no body
    """Answer Mistral's `GET /v1/models/{model}`."""
    return _model(last_of(path))


def _model(name: str) -> dict[str, Any]:
    can = _MODELS.get(name, () if "embed" in name else ("completion_chat", "function_calling"))
    return {
        "id": name,
        "object": "model",
        "created": CREATED,
        "owned_by": "mistralai",
        "capabilities": {capability: capability in can for capability in _CAPABILITIES},
        "name": name,
        "description": None,
        "max_context_length": 131_072,
        "aliases": [],
        "deprecation": None,
        "default_model_temperature": 0.7 if can else None,
        "type": "base",
    }
