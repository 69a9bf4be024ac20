"""What Bedrock answers beside answers: counts of tokens, embeddings in InvokeModel, models, inference profiles.

Source: botocore's service model of bedrock (`FoundationModelSummary`, `InferenceProfileSummary`), and
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html and .../-embed.html.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from fakellm.errors import WireError
from fakellm.wire.bedrock.requests import malformed
from fakellm.wire.documents import count_tokens, dimensions_of, last_of, vector, words_of
from fakellm.wire.objects import get, text_field

_PROVIDERS = {"amazon": "Amazon", "anthropic": "Anthropic", "cohere": "Cohere", "meta": "Meta", "mistral": "Mistral AI"}
_MODELS = {
    "amazon.nova-micro-v1:0": "Nova Micro",
    "amazon.titan-embed-text-v2:0": "Titan Text Embeddings V2",
    "amazon.titan-text-express-v1": "Titan Text G1 - Express",
    "anthropic.claude-sonnet-4-5-20250929-v1:0": "Claude Sonnet 4.5",
    "cohere.command-light-text-v14": "Command Light",
    "cohere.embed-english-v3": "Embed English",
    "meta.llama3-8b-instruct-v1:0": "Llama 3 8B Instruct",
    "mistral.mistral-7b-instruct-v0:2": "Mistral 7B Instruct",
}
"""Models by their identifiers. Any other exists too; these are those that are listed."""
_REGION = "us-east-1"


def _model(model: str) -> dict[str, Any]:
    provider = model.partition(".")[0]
    outputs = ["EMBEDDING"] if "embed" in model else ["TEXT"]
    return {
        "modelArn": f"arn:aws:bedrock:{_REGION}::foundation-model/{model}",
        "modelId": model,
        "modelName": _MODELS.get(model, model),
        "providerName": _PROVIDERS.get(provider, provider.title()),
        "inputModalities": ["TEXT"],
        "outputModalities": outputs,
        "responseStreamingSupported": outputs == ["TEXT"],
        "customizationsSupported": [],
        "inferenceTypesSupported": ["ON_DEMAND"],
        "modelLifecycle": {"status": "ACTIVE"},
    }


def models(asked: Any = None, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - a GET has no body
    """Answer `ListFoundationModels`; the four filters of the request choose."""
    query = {name: values[0].lower() for name, values in parse_qs(path.partition("?")[2]).items()}
    places = {"byOutputModality": "outputModalities", "byInferenceType": "inferenceTypesSupported"}
    found = [_model(model) for model in _MODELS]
    for name, place in places.items():
        if name in query:
            found = [model for model in found if query[name] in (value.lower() for value in model[place])]
    if "byProvider" in query:
        found = [model for model in found if model["providerName"].lower() == query["byProvider"]]
    return {"modelSummaries": [] if "byCustomizationType" in query else found}


def model(asked: Any, path: str) -> dict[str, Any]:  # noqa: ARG001 - a GET has no body
    """Answer `GetFoundationModel`."""
    return {"modelDetails": _model(last_of(path).rpartition("/")[2])}


def profiles(asked: Any = None, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - there is one page
    """Answer `ListInferenceProfiles` with the one page that there is: a profile of each model that answers text."""
    return {"inferenceProfileSummaries": [_profile(model) for model in _MODELS if "embed" not in model]}


def _profile(model: str) -> dict[str, Any]:
    time = "2026-01-01T00:00:00Z"
    return {
        "inferenceProfileName": f"US {_MODELS[model]}",
        "description": f"Routes requests to {_MODELS[model]}.",
        "createdAt": time,
        "updatedAt": time,
        "inferenceProfileArn": f"arn:aws:bedrock:{_REGION}:000000000000:inference-profile/us.{model}",
        "models": [{"modelArn": _model(model)["modelArn"]}],
        "inferenceProfileId": f"us.{model}",
        "status": "ACTIVE",
        "type": "SYSTEM_DEFINED",
    }


# -- tokens -------------------------------------------------------------------------------------------------


def tokens(asked: Any, path: str = "") -> dict[str, Any]:  # noqa: ARG001 - the model does not matter
    """Answer `CountTokens`, of a request to Converse or of the body of one to InvokeModel."""
    given = get(asked, "input", dict) if isinstance(asked, dict) else {}
    if len(given) != 1 or not isinstance((found := next(iter(given.values()))), dict):
        msg = "The input must set one of the following keys: invokeModel, converse."
        raise WireError(msg)
    if "invokeModel" in given:
        try:
            found = json.loads(base64.b64decode(text_field(found, "body"), validate=True))
        except ValueError:
            msg = "Malformed input request: the body is no JSON, please reformat your input and try again."
            raise WireError(msg) from None
    return {"inputTokens": words_of([found])}


# -- embeddings ---------------------------------------------------------------------------------------------


def embeds(model: str) -> Callable[[Any], dict[str, Any]] | None:
    """Return what answers a request to a model of embeddings; None for a model of another kind."""
    if "amazon.titan-embed" in model:
        return _titan
    return _cohere if "cohere.embed" in model else None


def _titan(asked: Any) -> dict[str, Any]:
    if not isinstance(asked, dict) or not isinstance(asked.get("inputText"), str):
        raise malformed(["#: required key [inputText] not found"])
    text = text_field(asked, "inputText")
    found = vector(text, dimensions_of(asked, "dimensions", "mxbai-embed-large"))
    return {"embedding": found, "embeddingsByType": {"float": found}, "inputTextTokenCount": count_tokens(text)}


def _cohere(asked: Any) -> dict[str, Any]:
    body = asked if isinstance(asked, dict) else {}
    if missing := [name for name in ("texts", "input_type") if not body.get(name)]:
        raise malformed(f"#: required key [{name}] not found" for name in missing)
    texts = [text for text in get(body, "texts", list) if isinstance(text, str)]
    vectors = [vector(text, 1024) for text in texts]
    return {
        "embeddings": vectors,
        "id": f"00000000-0000-4000-8000-{len(texts):012d}",
        "response_type": "embeddings_floats",
        "texts": texts,
    }
