"""OpenAI's small documents: embeddings and models.

Source: https://platform.openai.com/docs/api-reference/embeddings and /models.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from typing import Any

from fakellm.errors import WireError
from fakellm.wire.codec import CREATED
from fakellm.wire.documents import count_tokens, dimensions_of, last_of, object_of, vector
from fakellm.wire.objects import text_field
from fakellm.wire.openai.azure import deployment_of

_MODELS = ("gpt-5", "gpt-5-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini", "o3", "o4-mini",
           "text-embedding-3-small", "text-embedding-3-large")  # fmt: skip


def embeddings(asked: Any, path: str = "") -> dict[str, Any]:
    """Answer OpenAI's `POST /embeddings`: one vector for each text, as numbers or in base64."""
    body = object_of(asked)
    model = text_field(body, "model") or deployment_of(path)
    if not model:
        msg = "you must provide a model parameter"
        raise WireError(msg)
    texts = _inputs(body.get("input"))
    dimensions = dimensions_of(body, "dimensions", model)
    tokens = sum(map(count_tokens, texts))
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": place, "embedding": _written(vector(text, dimensions), body)}
            for place, text in enumerate(texts)
        ],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _written(values: list[float], body: Mapping[str, Any]) -> list[float] | str:
    form = text_field(body, "encoding_format") or "float"
    if form not in ("float", "base64"):
        msg = f"Invalid value: '{form}'. Supported values are: 'float' and 'base64'."
        raise WireError(msg)
    return values if form == "float" else base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def _inputs(asked: object) -> list[str]:
    """Return the texts of an input: a text, tokens, or a list of either."""
    inputs = asked if isinstance(asked, list) and not all(map(_is_token, asked)) else [asked]
    texts = [" ".join(map(str, one)) if isinstance(one, list) and all(map(_is_token, one)) else one for one in inputs]
    if not texts or not all(isinstance(text, str) and text for text in texts):
        msg = "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference."
        raise WireError(msg)
    return [str(text) for text in texts]


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def models(asked: Any = None, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - one list for all
    """Answer OpenAI's `GET /models`."""
    return {"object": "list", "data": [_model(model) for model in _MODELS]}


def model(asked: Any, path: str) -> dict[str, Any]:  # noqa: ARG001 - a GET has no body
    """Answer OpenAI's `GET /models/{model}`."""
    return _model(last_of(path))


def warming(asked: Any, path: str) -> dict[str, Any]:  # noqa: ARG001 - it asks nothing
    """Answer the `GET /v1/tcp_warming` that Cerebras' client opens its connection with when it is made."""
    return {}


def _model(model: str) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": CREATED, "owned_by": "openai"}
