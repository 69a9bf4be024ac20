"""The control of a server as an OpenAPI document: made of its routes and of the models that its bodies are."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from fakellm.server import told, views
from fakellm.server.sessions import HEADER, PLACE

VERSION: str = sys.modules["fakellm"].__version__
_REF = "#/components/schemas/{model}"


class Route(NamedTuple):
    """One thing that a server can be asked about itself: how, what answers it, and what it takes and gives.

    `gives` is a model, a list of one, or the media type of what is no JSON.
    """

    method: str
    path: str
    name: str
    summary: str
    gives: Any
    takes: type[BaseModel] | None = None
    query: tuple[str, ...] = ()
    status: int = 200
    is_of_session: bool = True


_TYPES = {"since": "integer", "provider": "string"}
_ABOUT = {
    "since": "requests of a greater number only",
    "provider": "requests to this provider only",
    "session": "the session, for what can send no headers; the header comes first",
}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the OpenAPI document of these routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(f"{PLACE}{route.path}", {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fakellm",
            "version": VERSION,
            "description": "Fake language models, scripted and watched over HTTP; each session has its own.",
        },
        "paths": paths,
        "components": {"schemas": _schemas()},
    }


def _schemas() -> dict[str, Any]:
    kinds: list[type[BaseModel]] = [told.Reply, told.Document]
    kinds += [kind for kind in vars(views).values() if isinstance(kind, type) and issubclass(kind, views.View)]
    _, found = models_json_schema([(kind, "validation") for kind in kinds], by_alias=True, ref_template=_REF)
    schemas: dict[str, Any] = found["$defs"]
    schemas.pop("View", None)
    return {**schemas, "Script": told.script_schema()}


def _operation(route: Route) -> dict[str, Any]:
    answers: dict[str, Any] = {str(route.status): _answer(route)}
    for status in ("400", "403", "404"):
        answers[status] = {"description": _REFUSED[status], "content": _json(_ref(views.Refused))}
    operation: dict[str, Any] = {"operationId": route.name, "summary": route.summary, "responses": answers}
    parameters = [_named(part[1:-1]) for part in route.path.split("/") if part.startswith("{")]
    parameters += [_parameter("query", name, _TYPES[name], _ABOUT[name]) for name in route.query]
    if route.is_of_session:
        about = "the session; without it that of the server's own providers"
        parameters.append(_parameter("header", HEADER.title(), "string", about))
        parameters.append(_parameter("query", "session", "string", _ABOUT["session"]))
    if parameters:
        operation["parameters"] = parameters
    if route.takes is not None:
        one = _ref(route.takes)
        operation["requestBody"] = {
            "required": True,
            "content": _json({"oneOf": [one, {"type": "array", "minItems": 1, "items": one}]}),
        }
    return operation


_REFUSED = {
    "400": "something is wrong with the request: each problem with its field and line",
    "403": "the request is not from where the server may be controlled",
    "404": "there is no such thing, or no such session",
}


def _answer(route: Route) -> dict[str, Any]:
    if isinstance(route.gives, str):
        return {"description": route.summary, "content": {route.gives: {"schema": {"type": "string"}}}}
    if isinstance(route.gives, type) and issubclass(route.gives, BaseModel):
        return {"description": route.summary, "content": _json(_ref(route.gives))}
    return {"description": route.summary, "content": _json(TypeAdapter(route.gives).json_schema(ref_template=_REF))}


def _named(name: str) -> dict[str, Any]:
    kind = "integer" if name == "number" else "string"
    return {"in": "path", "name": name, "required": True, "schema": {"type": kind}}


def _parameter(where: str, name: str, kind: str, about: str) -> dict[str, Any]:
    return {"in": where, "name": name, "schema": {"type": kind}, "description": about}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _ref(kind: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": _REF.format(model=kind.__name__)}
