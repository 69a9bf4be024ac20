"""Replicate's small documents: models, and versions of them.

Source: https://replicate.com/docs/reference/http#models.get and #models.versions.get. Any model exists; what it answers
is a list of texts, of which a client that waits is given one after the other.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

MADE = "2026-01-01T00:00:00.000Z"
_OUTPUT = {"type": "array", "items": {"type": "string"}, "title": "Output", "x-cog-array-type": "iterator"}
_INPUT = {"type": "object", "title": "Input", "properties": {"prompt": {"type": "string"}}, "required": ["prompt"]}


def model(asked: Any, path: str) -> dict[str, Any]:
    """Answer `GET /v1/models/{owner}/{name}`."""
    owner, name = map(unquote, path.partition("?")[0].split("/")[-2:])
    return {
        "url": f"https://replicate.com/{owner}/{name}",
        "owner": owner,
        "name": name,
        "description": "A model of a fake provider.",
        "visibility": "public",
        "run_count": 1,
        "latest_version": version(asked, path + "/versions/" + "0" * 64),
    }


def version(asked: Any, path: str) -> dict[str, Any]:  # noqa: ARG001 - a GET has no body
    """Answer `GET /v1/models/{owner}/{name}/versions/{id}`."""
    return {
        "id": unquote(path.partition("?")[0].rpartition("/")[2]),
        "created_at": MADE,
        "cog_version": "0.16.0",
        "openapi_schema": {
            "openapi": "3.0.2",
            "info": {"title": "Cog", "version": "0.1.0"},
            "paths": {},
            "components": {"schemas": {"Input": _INPUT, "Output": _OUTPUT}},
        },
    }
