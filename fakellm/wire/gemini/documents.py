"""Gemini's small documents: embeddings, counts of tokens, models.

Source: https://ai.google.dev/api/embeddings, /tokens and /models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fakellm.errors import WireError
from fakellm.wire.documents import dimensions_of, last_of, object_of, vector, words_of
from fakellm.wire.objects import get, objects, text_field

_MODELS = (
    "gemini-3-flash-preview",
    "gemini-2.5-pro",
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-embedding-001",
)


def embedding(asked: Any, path: str) -> dict[str, Any]:
    """Answer Gemini's `models/{model}:embedContent`."""
    return {"embedding": {"values": _vector(object_of(asked), path)}}


def embeddings(asked: Any, path: str) -> dict[str, Any]:
    """Answer Gemini's `models/{model}:batchEmbedContents`."""
    requests = objects(object_of(asked), "requests")
    return {"embeddings": [{"values": _vector(request, path)} for request in requests]}


def _vector(asked: Mapping[str, Any], path: str) -> list[float]:
    content = get(asked, "content", dict)
    if not content:
        msg = "* EmbedContentRequest.content: content is not specified"
        raise WireError(msg)
    parts = content.get("parts")
    text = "\n".join(
        text_field(part, "text") for part in ([parts] if isinstance(parts, dict) else objects(content, "parts"))
    )
    wanted = {**asked, **get(asked, "embedContentConfig", dict)}
    name = "outputDimensionality" if wanted.get("outputDimensionality") is not None else "output_dimensionality"
    return vector(text, dimensions_of(wanted, name, last_of(path).partition(":")[0]))


def tokens(asked: Any, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - any model counts the same
    """Answer Gemini's `models/{model}:countTokens`: the words of instruction, contents and tools."""
    body = object_of(asked)
    request = {**body, **get(body, "generateContentRequest", dict)}
    if not request.get("contents"):
        msg = "* CountTokensRequest.contents: contents is not specified"
        raise WireError(msg)
    names = ("systemInstruction", "system_instruction", "contents", "tools")
    tokens = words_of(request.get(name) for name in names)
    return {"totalTokens": tokens, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens}]}


def models(asked: Any = None, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - one page for all
    """Answer Gemini's `GET /models` with the one page that there is."""
    return {"models": [_model(model) for model in _MODELS]}


def model(asked: Any, path: str) -> dict[str, Any]:  # noqa: ARG001 - a GET has no body
    """Answer Gemini's `GET /models/{model}`."""
    return _model(last_of(path))


def _model(model: str) -> dict[str, Any]:
    embeds = "embedding" in model
    methods = ["embedContent", "batchEmbedContents"] if embeds else ["generateContent", "countTokens"]
    return {
        "name": f"models/{model}",
        "version": "001",
        "displayName": model.replace("-", " ").title(),
        "description": "A model of a fake provider.",
        "inputTokenLimit": 2048 if embeds else 1_048_576,
        "outputTokenLimit": 1 if embeds else 65_536,
        "supportedGenerationMethods": methods,
    }
