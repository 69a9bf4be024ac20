"""Ollama's small documents: embeddings, models, its version.

Source: https://docs.ollama.com/api/embed, /tags, /ps, /api-reference/show-model-details and the types of Ollama's
server.
"""

from __future__ import annotations

import hashlib
from typing import Any

from fakellm.errors import WireError
from fakellm.script.events import Usage
from fakellm.wire.documents import count_tokens, dimensions_of, vector
from fakellm.wire.objects import sound
from fakellm.wire.ollama.lines import metrics_of
from fakellm.wire.ollama.requests import SHARED, Fields, asked, checked

_MODELS = ("llama3.2:latest", "qwen3:8b", "gpt-oss:20b", "gemma3:4b", "deepseek-r1:8b", "nomic-embed-text:latest")
_VERSION = "0.40.12"
_MADE = "2026-01-01T00:00:00.000000000Z"
_EXPIRES = "2026-01-01T00:05:00.000000000Z"
_SIZE = 2_019_393_189
_LENGTH = 131_072
_COUNTS = ("total_duration", "load_duration", "prompt_eval_count")
_EMBED: Fields = {"dimensions": ((int,), "int")}


def embed(body: Any, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - the model is in the body
    """Answer Ollama's `POST /api/embed`: one vector of length 1 for each text; no text loads the model."""
    found = asked(body, "EmbedRequest", _EMBED)
    given = found.get("input")
    texts = given if isinstance(given, list) else [given] if given not in (None, "") else []
    if not all(isinstance(text, str) for text in texts):
        msg = "invalid input type"
        raise WireError(msg)
    model = found["model"]
    usual = dimensions_of({}, "dimensions", _family(model))
    wanted = found.get("dimensions") or usual
    length = min(wanted, usual) if wanted > 0 else usual
    metrics = metrics_of(Usage(sum(map(count_tokens, texts)))) if texts else {}
    counts = {name: metrics[name] for name in _COUNTS if name in metrics}
    return {"model": model, "embeddings": [vector(sound(text), length) for text in texts], **counts}


def embeddings(body: Any, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - the model is in the body
    """Answer Ollama's older `POST /api/embeddings`: the vector of a prompt; none loads the model."""
    found = asked(body, "EmbeddingRequest", {"prompt": ((str,), "string")})
    prompt = found.get("prompt")
    length = dimensions_of({}, "dimensions", _family(found["model"]))
    return {"embedding": vector(sound(prompt), length) if prompt else []}


def show(body: Any, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - the model is in the body
    """Answer Ollama's `POST /api/show`."""
    fields = {"model": SHARED["model"], "name": SHARED["model"]}
    found = checked(body, "ShowRequest", fields)
    model = found.get("model") or found.get("name")
    if not model:
        msg = "model is required"
        raise WireError(msg)
    family = _family(model)
    embeds = "embed" in family or family in ("all-minilm", "bge-m3")
    return {
        "license": "A license of a fake provider.",
        "modelfile": f"# Modelfile of a fake provider\nFROM {sound(model)}\n",
        "parameters": "temperature                    1",
        "template": "{{ .Prompt }}",
        "details": _details(model),
        "model_info": {
            "general.architecture": family,
            "general.parameter_count": 3_212_749_888,
            f"{family}.context_length": _LENGTH,
            f"{family}.embedding_length": dimensions_of({}, "dimensions", family),
        },
        "capabilities": ["embedding"] if embeds else ["completion", "tools", "thinking", "vision"],
        "modified_at": _MADE,
    }


def tags(body: Any = None, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - one list for all
    """Answer Ollama's `GET /api/tags`: the models that are there."""
    return {"models": [{**_model(model), "modified_at": _MADE} for model in _MODELS]}


def ps(body: Any = None, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - one list for all
    """Answer Ollama's `GET /api/ps`: the models that are loaded, which is the first."""
    loaded = {"expires_at": _EXPIRES, "size_vram": _SIZE, "context_length": 4096}
    return {"models": [{**_model(model), **loaded} for model in _MODELS[:1]]}


def version(body: Any = None, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - a GET has no body
    """Answer Ollama's `GET /api/version`."""
    return {"version": _VERSION}


def _model(model: str) -> dict[str, Any]:
    digest = hashlib.sha256(model.encode()).hexdigest()
    return {"name": model, "model": model, "size": _SIZE, "digest": digest, "details": _details(model)}


def _details(model: str) -> dict[str, Any]:
    family = _family(model)
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family],
        "parameter_size": "3.2B",
        "quantization_level": "Q4_K_M",
    }


def _family(model: str) -> str:
    """Return the name of a model without its namespace and its tag."""
    return sound(model).partition(":")[0].rpartition("/")[2]
