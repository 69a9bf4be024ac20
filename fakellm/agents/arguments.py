"""What of a value a JSON schema refuses: the smallest part of it, with its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fakellm.errors import clip
from fakellm.wire.schemas import Schemas, item_of, needed_of, property_of, types_of


def refused(schema: Any, value: Any) -> str:
    """Word what a schema refuses of a value; nothing, if it fits."""
    schemas = Schemas(schema)
    return "" if schemas.fits(schema, value) else _refused(schemas, schema, value, "")


def _refused(schemas: Schemas, schema: Any, value: Any, place: str) -> str:
    while isinstance(schema, Mapping) and "$ref" in schema:
        schema = schemas.target(schema["$ref"])
    at = place or "the arguments"
    if not isinstance(schema, Mapping):
        return f"{at}: nothing is allowed here, and it is {_shown(value)}"
    if isinstance(value, dict) and (missing := [name for name in needed_of(schema, value) if name not in value]):
        return f"{at}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    for name, inner, found in _inside(schema, value):
        if not schemas.fits(inner, found):
            if inner is False:
                known = ", ".join(schema.get("properties") or ()) or "none"
                return f"{at}: there is no {name}; there are {known}"
            where = f"{place}[{name}]" if isinstance(name, int) else f"{place}.{name}".lstrip(".")
            return _refused(schemas, inner, found, where)
    return f"{at} is {_shown(value)}, {_wanted(schemas, schema, value)}"


def _wanted(schemas: Schemas, schema: Mapping[str, Any], value: Any) -> str:
    """Word what a schema wants of a value that none of its parts is to blame for."""
    types = types_of(schema)
    alone = {name: schema[name] for name in ("type", "nullable") if name in schema}
    if types and not schemas.fits(alone, value):
        return f"and is to be of the type {' or '.join(types)}"
    if isinstance(schema.get("enum"), list):
        return f"and is to be one of {clip(', '.join(map(repr, schema['enum'])), 200)}"
    return f"which {clip(repr(dict(schema)), 200)} refuses"


def _inside(schema: Mapping[str, Any], value: Any) -> list[tuple[str | int, Any, Any]]:
    if isinstance(value, dict):
        return [(name, inner, found) for name, found in value.items() for inner in property_of(schema, name)]
    if isinstance(value, list):
        return [(at, item_of(schema, at), found) for at, found in enumerate(value)]
    return []


def _shown(value: Any) -> str:
    return clip(repr(value), 80)
