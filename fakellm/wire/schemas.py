"""JSON schemas as requests have them: what a value has to be, and whether one is.

The keywords are those of JSON Schema 2020-12 and its older drafts, and of OpenAPI 3.0, which Gemini's `Schema` follows:
types in upper case, `nullable`, bounds as texts. What a keyword says that is not known here holds of every value.

Source: https://json-schema.org/draft/2020-12, https://ai.google.dev/api/caching#Schema.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any
from urllib.parse import unquote

from fakellm.wire.patterns import compiled

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "number": (int, float),
    "integer": (int,),
}
_DEEPEST = 64


def types_of(schema: Mapping[str, Any]) -> list[str]:
    """Return the types that a value may have, in lower case; none for any."""
    said = schema.get("type")
    types = [str(one).lower() for one in (said if isinstance(said, list) else [said]) if one]
    types = [one for one in types if one in _TYPES]
    return [*types, "null"] if types and schema.get("nullable") is True and "null" not in types else types


def number_of(schema: Mapping[str, Any], name: str) -> Any:
    """Return a bound of a schema, or None; Google writes some as text."""
    found = schema.get(name)
    if isinstance(found, str):
        try:
            found = int(found) if found.lstrip("-").isdigit() else float(found)
        except ValueError:
            return None
    is_number = isinstance(found, (int, float)) and not isinstance(found, bool) and math.isfinite(found)
    return found if is_number else None


def bounds_of(schema: Mapping[str, Any]) -> tuple[Any, bool, Any, bool]:
    """Return the least and the greatest number, each None for none, and each with whether it is excluded itself."""
    ends: list[Any] = []
    for name, excluded, choose in (
        ("minimum", "exclusiveMinimum", max),
        ("maximum", "exclusiveMaximum", min),
    ):
        bound, beyond = number_of(schema, name), number_of(schema, excluded)
        if schema.get(excluded) is True:  # as it was in draft 4
            ends += [bound, True]
        elif bound is None or beyond is None:
            ends += [bound if beyond is None else beyond, beyond is not None]
        else:
            ends += [choose(bound, beyond), choose(bound, beyond) == beyond]
    return ends[0], ends[1], ends[2], ends[3]


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal as JSON has it: true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    return bool(one == other)


class Schemas:
    """The schemas of a document, which refer to each other."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._asked: set[tuple[str, int]] = set()

    def target(self, reference: Any) -> Any:
        """Return what a `$ref` refers to, inside of the document; for a place that is none, what holds of any value."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            return self._named(self._root, str(reference).rpartition("#")[0] or str(reference), ("$id", "id"))
        if not reference.startswith("#/"):
            return self._root if reference == "#" else self._named(self._root, reference[1:], ("$anchor",))
        found = self._root
        for part in unquote(reference[2:]).split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and key.isdigit() and int(key) < len(found):
                found = found[int(key)]
            elif isinstance(found, Mapping) and key in found:
                found = found[key]
            else:
                return True
        return found

    def _named(self, found: Any, name: str, keys: tuple[str, ...], depth: int = 0) -> Any:
        inner: list[Any] = (
            list(found.values()) if isinstance(found, Mapping) else found if isinstance(found, list) else []
        )
        if isinstance(found, Mapping) and any(found.get(key) == name for key in keys):
            return found
        if depth < _DEEPEST:
            for value in inner:
                if (at := self._named(value, name, keys, depth + 1)) is not True:
                    return at
        return True

    def fits(self, schema: Any, value: Any) -> bool:
        """Tell whether a value is one that a schema describes."""
        if not isinstance(schema, Mapping):
            return schema is not False
        if "$ref" in schema and not self._follows(schema["$ref"], value):
            return False
        types, enum = types_of(schema), schema.get("enum")
        is_one = not types or any(_is_type(value, kind) for kind in types)
        if "const" in schema:
            is_one = is_one and same(schema["const"], value)
        if isinstance(enum, list):
            is_one = is_one and any(same(one, value) for one in [*enum, *_nulls(schema)])
        if not is_one or (value is None and schema.get("nullable") is True):
            return is_one
        return self._combined(schema, value) and self._inside(schema, value)

    def _follows(self, reference: Any, value: Any) -> bool:
        """Tell whether a value fits what a `$ref` refers to; one that comes round to the same question says no."""
        question = str(reference), id(value)
        if question in self._asked:
            return False
        self._asked.add(question)
        try:
            return self.fits(self.target(reference), value)
        finally:
            self._asked.discard(question)

    def _combined(self, schema: Mapping[str, Any], value: Any) -> bool:
        def counted(name: str) -> int:
            return sum(self.fits(branch, value) for branch in schema[name])

        if isinstance(schema.get("allOf"), list) and counted("allOf") < len(schema["allOf"]):
            return False
        if isinstance(schema.get("anyOf"), list) and schema["anyOf"] and not counted("anyOf"):
            return False
        if isinstance(schema.get("oneOf"), list) and schema["oneOf"] and counted("oneOf") != 1:
            return False
        if "not" in schema and self.fits(schema["not"], value):
            return False
        if "if" in schema:
            branch = "then" if self.fits(schema["if"], value) else "else"
            return self.fits(schema.get(branch, True), value)
        return True

    def _inside(self, schema: Mapping[str, Any], value: Any) -> bool:
        if isinstance(value, bool) or value is None:
            return True
        if isinstance(value, str):
            return _is_between(schema, "Length", len(value)) and _is_matched(schema, value)
        if isinstance(value, (int, float)):
            return _is_in_bounds(schema, value)
        if isinstance(value, list):
            return _is_between(schema, "Items", len(value)) and self._items(schema, value)
        return _is_between(schema, "Properties", len(value)) and self._properties(schema, value)

    def _items(self, schema: Mapping[str, Any], value: list[Any]) -> bool:
        if schema.get("uniqueItems") is True and any(
            same(one, other) for at, one in enumerate(value) for other in value[:at]
        ):
            return False
        if not all(self.fits(item_of(schema, at), item) for at, item in enumerate(value)):
            return False
        if "contains" in schema:
            count = sum(self.fits(schema["contains"], item) for item in value)
            least, most = number_of(schema, "minContains"), number_of(schema, "maxContains")
            return (1 if least is None else least) <= count <= (math.inf if most is None else most)
        return True

    def _properties(self, schema: Mapping[str, Any], value: dict[str, Any]) -> bool:
        if any(name not in value for name in needed_of(schema, value)):
            return False
        for name, item in value.items():
            if not all(self.fits(one, item) for one in property_of(schema, name)):
                return False
            if "propertyNames" in schema and not self.fits(schema["propertyNames"], name):
                return False
        dependent = schema.get("dependentSchemas")
        return all(
            self.fits(one, value)
            for name, one in (dependent if isinstance(dependent, Mapping) else {}).items()
            if name in value
        )


def item_of(schema: Mapping[str, Any], at: int) -> Any:
    """Return the schema of an item of an array."""
    items = schema.get("items", True)
    first = items if isinstance(items, list) else schema.get("prefixItems")
    first = first if isinstance(first, list) else []
    if at < len(first):
        return first[at]
    return schema.get("additionalItems", True) if isinstance(items, list) else items


def property_of(schema: Mapping[str, Any], name: str) -> list[Any]:
    """Return the schemas of a property of an object."""
    found = [mapping_in(schema, "properties")[name]] if name in mapping_in(schema, "properties") else []
    for pattern, one in mapping_in(schema, "patternProperties").items():
        if (matched := compiled(pattern)) is not None and matched.search(name):
            found.append(one)
    return found or [schema.get("additionalProperties", True)]


def needed_of(schema: Mapping[str, Any], there: Any = ()) -> list[str]:
    """Return the names of the properties that have to be there, beside those that are."""
    said = schema.get("required")
    needed = [name for name in (said if isinstance(said, list) else ()) if isinstance(name, str)]
    for key in ("dependentRequired", "dependencies"):
        for name, more in mapping_in(schema, key).items():
            if (name in there or name in needed) and isinstance(more, list):
                needed += [one for one in more if isinstance(one, str)]
    return list(dict.fromkeys(needed))


def mapping_in(schema: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a mapping of schemas by their names; an empty one where there is none."""
    found = schema.get(name)
    return found if isinstance(found, Mapping) else {}


def _nulls(schema: Mapping[str, Any]) -> list[None]:
    return [None] if schema.get("nullable") is True else []


def _is_type(value: Any, kind: str) -> bool:
    if isinstance(value, bool) and kind != "boolean":
        return False
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _is_between(schema: Mapping[str, Any], what: str, count: int) -> bool:
    least, most = number_of(schema, f"min{what}"), number_of(schema, f"max{what}")
    return (least is None or count >= least) and (most is None or count <= most)


def _is_matched(schema: Mapping[str, Any], text: str) -> bool:
    pattern = schema.get("pattern")
    found = compiled(pattern) if isinstance(pattern, str) else None
    return found is None or found.search(text) is not None


def _is_in_bounds(schema: Mapping[str, Any], value: float) -> bool:
    least, without_least, most, without_most = bounds_of(schema)
    if least is not None and (value < least or (without_least and value == least)):
        return False
    if most is not None and (value > most or (without_most and value == most)):
        return False
    step = number_of(schema, "multipleOf")
    return not step or (Fraction(str(value)) / Fraction(str(step))).denominator == 1
