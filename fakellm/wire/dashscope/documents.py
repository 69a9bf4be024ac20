"""DashScope's small documents: embeddings of texts.

Source: https://help.aliyun.com/zh/model-studio/text-embedding-synchronous-api.
"""

from __future__ import annotations

from typing import Any

from fakellm.errors import WireError
from fakellm.wire.dashscope.requests import refused
from fakellm.wire.documents import count_tokens, dimensions_of, object_of, vector
from fakellm.wire.objects import get

_USUAL = {"text-embedding-v1": 1536, "text-embedding-v2": 1536}
"""The usual length of a model's vectors; that of others is 1024."""
_MOST = 25


def embeddings(asked: Any, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - the model is in the body
    """Answer `POST .../text-embedding/text-embedding`: a vector of length 1 for each text."""
    body = object_of(asked)
    model, given = get(body, "model", str), get(body, "input", dict)
    if not model:
        raise WireError("Required parameter(model) missing or invalid, please check the request parameters.")
    texts = given.get("texts")
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise refused("input.texts should be a valid list of strings")
    if len(texts) > _MOST:
        raise refused(f"batch size is invalid, it should not be larger than {_MOST}.: input.contents")
    parameters = {"dimension": _USUAL.get(model, 1024), **get(body, "parameters", dict)}
    length = dimensions_of(parameters, "dimension", model)
    found = [{"text_index": index, "embedding": vector(text, length)} for index, text in enumerate(texts)]
    return {
        "output": {"embeddings": found},
        "usage": {"total_tokens": sum(map(count_tokens, texts))},
        "request_id": "00000000-0000-4000-8000-000000000000",
    }
