"""Cohere's small documents: embeddings, rankings, models.

Source: https://docs.cohere.com/reference/embed, /rerank and /list-models, and the types of the SDK.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from fakellm.errors import WireError
from fakellm.wire.cohere.requests import checked_body, wrong_type
from fakellm.wire.documents import FORMS, count_tokens, last_of, vector
from fakellm.wire.objects import get, text_field

_MODELS: dict[str, tuple[str, ...]] = {
    "command-a-03-2025": ("chat",),
    "command-a-reasoning-08-2025": ("chat",),
    "command-r-08-2024": ("chat",),
    "command-r7b-12-2024": ("chat",),
    "embed-v4.0": ("embed",),
    "embed-english-v3.0": ("embed",),
    "embed-multilingual-v3.0": ("embed",),
    "rerank-v3.5": ("rerank",),
}
"""Models, each with the endpoints that it is for; the first of an endpoint is its default."""
_DIMENSIONS = {
    "embed-english-v3.0": 1024,
    "embed-multilingual-v3.0": 1024,
    "embed-english-light-v3.0": 384,
    "embed-multilingual-light-v3.0": 384,
}
"""The usual length of a model's vectors; that of others is 1536."""
_LONGEST = 4096
_MOST = 96
_PURPOSES = ("search_document", "search_query", "classification", "clustering", "image")
_RANKED = 256  # how long the vectors are that a ranking is made of

_EMBED = {
    "model": ("string",),
    "input_type": ("string",),
    "texts": ("array",),
    "images": ("array",),
    "inputs": ("array",),
    "max_tokens": ("integer",),
    "output_dimension": ("integer",),
    "embedding_types": ("array",),
    "truncate": ("string",),
    "priority": ("integer",),
}
_RERANK = {
    "model": ("string",),
    "query": ("string",),
    "documents": ("array",),
    "top_n": ("integer",),
    "max_tokens_per_doc": ("integer",),
    "priority": ("integer",),
    "relevant_spans": ("object",),
}


def embeddings(asked: Any, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - the model is in the body
    """Answer Cohere's `POST /v2/embed`, of texts, images or inputs of both, in each type that is asked for."""
    body = checked_body(asked, _EMBED, "model")
    if body.get("input_type") not in _PURPOSES:
        msg = "invalid request: valid input_type must be provided with the provided model"
        raise WireError(msg)
    given = {name: get(body, name, list) for name in ("texts", "images", "inputs") if body.get(name)}
    if len(given) != 1:
        msg = "invalid request: exactly one of texts, images and inputs must be provided, and must not be empty"
        raise WireError(msg)
    ((name, items),) = given.items()
    if len(items) > _MOST:
        msg = f"invalid request: total number of {name} must be at most {_MOST} - received {len(items)}"
        raise WireError(msg)
    texts = [_text_of(name, item) for item in items]
    types = get(body, "embedding_types", list) or ["float"]
    for kind in types:
        if kind not in FORMS:
            msg = f"invalid request: embedding_types must be among {', '.join(FORMS)}, not {kind!r}"
            raise WireError(msg)
    vectors = [vector(text, _dimensions_of(body)) for text in texts]
    billed = {"images": len(texts)} if name == "images" else {"input_tokens": sum(map(count_tokens, texts))}
    return {
        "id": _id(texts),
        "embeddings": {kind: [FORMS[kind](one) for one in vectors] for kind in types},
        **({"texts": items} if name == "texts" else {}),
        "meta": _meta(billed),
        "response_type": "embeddings_by_type",
    }


def _dimensions_of(body: Mapping[str, Any]) -> int:
    found = get(body, "output_dimension", int, _DIMENSIONS.get(text_field(body, "model"), 1536))
    if not 8 <= found <= _LONGEST:  # noqa: PLR2004 - the bits of a byte
        msg = f"invalid request: output_dimension must be between 8 and {_LONGEST} - received {found}"
        raise WireError(msg)
    return found


def _text_of(name: str, item: Any) -> str:
    """Return the text of a text, an image or an input; an image is its data URI."""
    if name != "inputs":
        if not isinstance(item, str):
            raise wrong_type(name, item, "string")
        return item
    content = item.get("content") if isinstance(item, dict) else None
    if not isinstance(content, list) or not content:
        raise wrong_type("inputs.content", content, "array")
    texts = []
    for part in content:
        if not isinstance(part, dict):
            raise wrong_type("inputs.content", part, "object")
        image = part.get("image_url")
        text = text_field(image, "url") if isinstance(image, dict) else text_field(part, "text")
        texts.append(text)
    return "\n".join(texts)


def ranking(asked: Any, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - the model is in the body
    """Answer Cohere's `POST /v2/rerank`: documents that share words with the query come first."""
    body = checked_body(asked, _RERANK, "model")
    query, documents, most = text_field(body, "query"), get(body, "documents", list), body.get("top_n")
    if not query.strip():
        msg = "invalid request: query must not be empty or be only whitespace"
        raise WireError(msg)
    if not documents:
        msg = "invalid request: list of documents must not be empty"
        raise WireError(msg)
    if most is not None and most < 1:
        msg = f"invalid request: top_n must be at least 1 - received {most}"
        raise WireError(msg)
    for document in documents:
        if not isinstance(document, str):
            raise wrong_type("documents", document, "string")
    wanted = vector(query, _RANKED)
    scores = [_score(wanted, vector(document, _RANKED)) for document in documents]
    order = sorted(range(len(documents)), key=lambda index: -scores[index])
    results = [{"index": index, "relevance_score": scores[index]} for index in order[:most]]
    return {"id": _id([query, *documents]), "results": results, "meta": _meta({"search_units": 1})}


def _score(one: Sequence[float], other: Sequence[float]) -> float:
    cosine = math.fsum(a * b for a, b in zip(one, other, strict=True))
    return round(min(max(cosine, 0.0), 1.0), 7)


def _id(texts: Sequence[str]) -> str:
    """Return an id in the form of a UUID, which is the same for the same texts."""
    found = hashlib.sha256("\0".join(texts).encode("utf-8", "replace")).hexdigest()
    return f"{found[:8]}-{found[8:12]}-4{found[13:16]}-8{found[17:20]}-{found[20:32]}"


def _meta(billed: Mapping[str, int]) -> dict[str, Any]:
    return {"api_version": {"version": "2"}, "billed_units": dict(billed)}


def models(asked: Any = None, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - a GET has no body
    """Answer Cohere's `GET /v1/models` with the one page that there is; `endpoint` and `default_only` choose."""
    query = parse_qs(path.partition("?")[2])
    wanted = query.get("endpoint", [""])[0]
    found = [name for name, endpoints in _MODELS.items() if not wanted or wanted in endpoints]
    if wanted and query.get("default_only", [""])[0].lower() == "true":
        found = found[:1]
    return {"models": [_model(name) for name in found]}


def model(asked: Any, path: str) -> dict[str, Any]:  # noqa: ARG001 - a GET has no body
    """Answer Cohere's `GET /v1/models/{model}`."""
    return _model(last_of(path))


def _model(name: str) -> dict[str, Any]:
    kinds = {"embed": ("embed",), "rerank": ("rerank",)}
    endpoints = _MODELS.get(name) or kinds.get(name.partition("-")[0], ("chat",))
    is_default = [kind for kind in endpoints if next((n for n, of in _MODELS.items() if kind in of), None) == name]
    return {
        "name": name,
        "is_deprecated": False,
        "endpoints": list(endpoints),
        "finetuned": False,
        "context_length": 128_000,
        "tokenizer_url": None,
        "default_endpoints": is_default,
        "features": [],
    }
