"""JSON schemas as OpenAI's APIs take them: of any function, and of what is to be kept to the letter.

Source: https://platform.openai.com/docs/guides/structured-outputs, section "Supported schemas", and reports of the
API's answers, which name the place as the keys that lead to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_DEEPEST = 64
_MANY = ("anyOf", "allOf", "oneOf")
_NAMED = ("properties", "$defs", "definitions")


def problems(schema: Any, *, is_strict: bool) -> Iterator[str]:
    """Yield what is wrong with a schema, as the API says it behind "Invalid schema for ...:"."""
    if not isinstance(schema, Mapping):
        return
    kind = schema.get("type")
    if (kind != "object" and (is_strict or schema)) and "$ref" not in schema:
        shown = f'type: "{kind}"' if isinstance(kind, str) or kind is None else f"type: {kind!r}"
        yield f"schema must be a JSON Schema of 'type: \"object\"', got '{shown}'."
        return
    for where, one in _all(schema, (), 0):
        yield from _of_one(where, one, is_strict=is_strict)


def _of_one(where: tuple[str, ...], schema: Mapping[str, Any], *, is_strict: bool) -> Iterator[str]:
    context = f"In context={where!r}"
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if "array" in kinds and "items" not in schema:
        yield f"{context}, array schema missing items."
    if not is_strict or "object" not in kinds:
        return
    if schema.get("additionalProperties") is not False:
        yield f"{context}, 'additionalProperties' is required to be supplied and to be false."
    properties, needed = schema.get("properties"), schema.get("required")
    if isinstance(properties, Mapping):
        needed = needed if isinstance(needed, list) else []
        if left := next((name for name in properties if name not in needed), None):
            said = "'required' is required to be supplied and to be an array including every key in properties."
            yield f"{context}, {said} Missing '{left}'."


def _all(schema: Any, where: tuple[str, ...], depth: int) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Yield a schema and all those in it, each with the keys that lead to it."""
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return
    yield where, schema
    for name in _NAMED:
        found = schema.get(name)
        for key, one in found.items() if isinstance(found, Mapping) else ():
            yield from _all(one, (*where, name, str(key)), depth + 1)
    yield from _all(schema.get("items"), (*where, "items"), depth + 1)
    for name in _MANY:
        found = schema.get(name)
        for at, one in enumerate(found if isinstance(found, list) else ()):
            yield from _all(one, (*where, name, str(at)), depth + 1)
