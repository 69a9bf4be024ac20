"""The small documents that apps need beside answers: embeddings, counts of tokens, models.

Each function takes the JSON of a request and its path with query, and returns the document of the answer. What a
request lacks, or has wrongly, raises `WireError`, worded as a provider would. Any model exists. Source of the formats:
https://platform.openai.com/docs/api-reference/embeddings and /models,
https://docs.claude.com/en/api/messages-count-tokens and /models-list, https://ai.google.dev/api/embeddings, /tokens
and /models.

The same text always has the same vector, of the model's usual length and of length 1. Texts that share words are
similar: each word adds to a few places that follow from its SHA-256, and the whole text adds a little everywhere, so
that no two texts have one vector. Tokens are words.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import struct
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from fakellm.errors import WireError
from fakellm.wire.codec import CREATED
from fakellm.wire.objects import get, objects, text_field

_WORD = re.compile(r"\w+")
_PLACES = 16
_SHARE = 0.1
_LONGEST = 4096
_DIMENSIONS = {
    "text-embedding-3-large": 3072,
    "text-embedding-004": 768,
    "embedding-001": 768,
    "gemini-embedding-001": 3072,
}
"""The usual length of a model's vectors; that of others is 1536."""

_OPENAI = ("gpt-5", "gpt-5-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini", "o3", "o4-mini",
           "text-embedding-3-small", "text-embedding-3-large")  # fmt: skip
_ANTHROPIC = {
    "claude-opus-4-5": "Claude Opus 4.5",
    "claude-sonnet-4-5": "Claude Sonnet 4.5",
    "claude-haiku-4-5": "Claude Haiku 4.5",
}
_GEMINI = (
    "gemini-3-flash-preview",
    "gemini-2.5-pro",
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-embedding-001",
)
_CREATED_AT = "2026-01-01T00:00:00Z"


def vector(text: str, dimensions: int = 1536) -> list[float]:
    """Return the vector of a text: of length 1, in numbers that four bytes hold."""
    whole = hashlib.shake_256(text.encode("utf-8", "replace")).digest(dimensions)
    noise = _SHARE / math.sqrt(dimensions) / 74  # the standard deviation of a byte
    values = [(byte - 127.5) * noise for byte in whole]
    words = _WORD.findall(text.lower())
    for word in words:
        places = struct.unpack(f"<{_PLACES}H", hashlib.sha256(word.encode("utf-8", "replace")).digest())
        for place in places:
            values[(place >> 1) % dimensions] += (1 if place & 1 else -1) / math.sqrt(_PLACES * len(words))
    length = math.sqrt(math.fsum(value * value for value in values))
    return list(struct.unpack(f"<{dimensions}f", struct.pack(f"<{dimensions}f", *(v / length for v in values))))


def _dimensions(asked: Mapping[str, Any], name: str, model: str) -> int:
    found = get(asked, name, int, _DIMENSIONS.get(model, 1536))
    if not 1 <= found <= _LONGEST:
        msg = f"Invalid value for '{name}': {found} is not between 1 and {_LONGEST}."
        raise WireError(msg)
    return found


# -- OpenAI ---------------------------------------------------------------------------------------


def openai_embeddings(asked: Any, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - the model is in the body
    """Answer OpenAI's `POST /embeddings`: one vector for each text, as numbers or in base64."""
    body = _object(asked)
    model = text_field(body, "model")
    if not model:
        msg = "you must provide a model parameter"
        raise WireError(msg)
    texts = _inputs(body.get("input"))
    dimensions = _dimensions(body, "dimensions", model)
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


def openai_models(asked: Any = None, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - one list for all
    """Answer OpenAI's `GET /models`."""
    return {"object": "list", "data": [_openai_model(model) for model in _OPENAI]}


def openai_model(asked: Any, path: str) -> dict[str, Any]:  # noqa: ARG001 - a GET has no body
    """Answer OpenAI's `GET /models/{model}`."""
    return _openai_model(_last(path))


def _openai_model(model: str) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": CREATED, "owned_by": "openai"}


# -- Anthropic ------------------------------------------------------------------------------------


def anthropic_tokens(asked: Any, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - the model is in the body
    """Answer Anthropic's `POST /v1/messages/count_tokens`: the words of system prompt, messages and tools."""
    body = _object(asked)
    for name in ("model", "messages"):
        if not body.get(name):
            msg = f"{name}: Field required"
            raise WireError(msg)
    return {"input_tokens": _words_of(body.get(name) for name in ("system", "messages", "tools"))}


def anthropic_models(asked: Any = None, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - one page for all
    """Answer Anthropic's `GET /v1/models` with the one page that there is."""
    data = [_anthropic_model(model) for model in _ANTHROPIC]
    return {"data": data, "has_more": False, "first_id": data[0]["id"], "last_id": data[-1]["id"]}


def anthropic_model(asked: Any, path: str) -> dict[str, Any]:  # noqa: ARG001 - a GET has no body
    """Answer Anthropic's `GET /v1/models/{model}`."""
    return _anthropic_model(_last(path))


def _anthropic_model(model: str) -> dict[str, Any]:
    name = _ANTHROPIC.get(model, model)
    return {"type": "model", "id": model, "display_name": name, "created_at": _CREATED_AT, "lifecycle": "active"}


# -- Gemini ---------------------------------------------------------------------------------------


def gemini_embedding(asked: Any, path: str) -> dict[str, Any]:
    """Answer Gemini's `models/{model}:embedContent`."""
    return {"embedding": {"values": _gemini_vector(_object(asked), path)}}


def gemini_embeddings(asked: Any, path: str) -> dict[str, Any]:
    """Answer Gemini's `models/{model}:batchEmbedContents`."""
    requests = objects(_object(asked), "requests")
    return {"embeddings": [{"values": _gemini_vector(request, path)} for request in requests]}


def _gemini_vector(asked: Mapping[str, Any], path: str) -> list[float]:
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
    return vector(text, _dimensions(wanted, name, _last(path).partition(":")[0]))


def gemini_tokens(asked: Any, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - any model counts the same
    """Answer Gemini's `models/{model}:countTokens`: the words of instruction, contents and tools."""
    body = _object(asked)
    request = {**body, **get(body, "generateContentRequest", dict)}
    if not request.get("contents"):
        msg = "* CountTokensRequest.contents: contents is not specified"
        raise WireError(msg)
    names = ("systemInstruction", "system_instruction", "contents", "tools")
    tokens = _words_of(request.get(name) for name in names)
    return {"totalTokens": tokens, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens}]}


def gemini_models(asked: Any = None, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - one page for all
    """Answer Gemini's `GET /models` with the one page that there is."""
    return {"models": [_gemini_model(model) for model in _GEMINI]}


def gemini_model(asked: Any, path: str) -> dict[str, Any]:  # noqa: ARG001 - a GET has no body
    """Answer Gemini's `GET /models/{model}`."""
    return _gemini_model(_last(path))


def _gemini_model(model: str) -> dict[str, Any]:
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


# -- all of them ----------------------------------------------------------------------------------


def count_tokens(text: str) -> int:
    """Return the number of words in a text, which the fakes count as tokens everywhere."""
    return len(text.split())


def _words_of(values: Iterable[object]) -> int:
    """Return the number of words in all the texts of JSON, beside those that only say what kind of thing it is."""
    count, left = 0, list(values)
    while left:
        value = left.pop()
        if isinstance(value, str):
            count += count_tokens(value)
        elif isinstance(value, list):
            left += value
        elif isinstance(value, dict):
            left += [item for key, item in value.items() if key not in ("role", "type", "data", "id", "tool_use_id")]
    return count


def _last(path: str) -> str:
    """Return what comes last in a path, without its query."""
    return unquote(path.partition("?")[0]).rpartition("/")[2]


def _object(asked: object) -> dict[str, Any]:
    if not isinstance(asked, dict):
        msg = "Invalid JSON payload received. Expected an object."
        raise WireError(msg)
    return asked
