"""The smallest value that a JSON schema describes: what a model that does as it is told could say at least.

How. A schema is laid out as alternatives that combine nothing any more: `$ref`, `allOf`, one branch of each `anyOf` and
`oneOf`, with or without the `if`. Each yields candidates, the small ones first: no property that is not required, no
item beyond the least number, zero, the empty text, the first of an enumeration. What does not fit the schema as a whole
is passed over, which is how `not`, `oneOf`, and whatever two keywords say together, are kept.

Schemas may hold themselves. So a value is looked for that is so many levels deep at most, then one level more: the
shallowest is found, and a branch that goes round in circles is never gone down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import islice
from math import ceil, floor
from typing import Any

from fakellm.errors import clip
from fakellm.wire.patterns import texts
from fakellm.wire.schemas import (
    Schemas,
    bounds_of,
    item_of,
    mapping_in,
    needed_of,
    number_of,
    property_of,
    same,
    types_of,
)

_LEVELS = (*range(1, 12), 16, 24, 32)
_CANDIDATES = 64
_TRIES = 2_000
"""How many values are tried in all: a schema may have more alternatives than there is time."""
_LONGEST, _MOST = 100_000, 1_000
"""Characters of a text, and items of an array and properties of an object, that a schema may want at least."""
_COMBINING = ("$ref", "allOf", "anyOf", "oneOf", "if", "then", "else", "not", "$defs", "definitions")
_FORMATS = {
    "date-time": ["2026-01-01T00:00:00Z"],
    "date": ["2026-01-01"],
    "time": ["00:00:00Z"],
    "duration": ["PT0S"],
    "email": ["a@example.com", "{}a@example.com"],
    "idn-email": ["a@example.com", "{}a@example.com"],
    "hostname": ["example.com", "{}a.example.com"],
    "idn-hostname": ["example.com"],
    "ipv4": ["127.0.0.1"],
    "ipv6": ["::1"],
    "uri": ["https://example.com/", "https://example.com/{}"],
    "iri": ["https://example.com/", "https://example.com/{}"],
    "url": ["https://example.com/", "https://example.com/{}"],
    "uuid": ["00000000-0000-4000-8000-000000000000"],
    "uri-reference": ["", "{}"],
    "regex": ["", "{}"],
}
"""Texts of a format, and where in them more characters may be."""
_SAID_BY = {
    "object": ("properties", "required", "additionalProperties", "minProperties", "patternProperties", "propertyNames"),
    "array": ("items", "prefixItems", "minItems", "contains", "uniqueItems"),
    "string": ("pattern", "minLength", "maxLength", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
"""Keywords that mean a type where none is named."""


def smallest(schema: Any) -> Any:
    """Return the smallest value that a schema describes. Raises `ValueError` where none is found."""
    values = _Values(schema)
    for levels in _LEVELS:
        for value in values.of(schema, levels):
            return value
    msg = f"no value was found that the JSON schema describes: {clip(repr(schema), 300)}"
    raise ValueError(msg)


class _Values:
    """Candidates for the schemas of one document."""

    def __init__(self, root: Any) -> None:
        self._schemas = Schemas(root)
        self._first: dict[tuple[int, int], tuple[Any, list[Any]]] = {}
        self._tries = 0

    def of(self, schema: Any, levels: int) -> Iterator[Any]:
        """Yield values that a schema describes, so many levels deep at most."""
        if levels <= 0 or schema is False:
            return
        wanted = schema if isinstance(schema, Mapping) else {}
        for flat in self._flat(wanted, ()):
            self._tries += 1
            if self._tries > _TRIES:
                return
            for value in islice(self._candidates(flat, levels), _CANDIDATES):
                self._tries += 1
                if self._tries > _TRIES:
                    return
                if self._schemas.fits(wanted, value):
                    yield value

    def _one(self, schema: Any, levels: int) -> list[Any]:
        """Return the first value, in a list, or none."""
        key = id(schema), levels
        if key not in self._first:
            self._first[key] = schema, list(islice(self.of(schema, levels), 1))  # with it, so that its id stays its own
        return self._first[key][1]

    def _flat(self, schema: Mapping[str, Any], seen: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        """Yield the schemas, without any that combine others, one of which a value has to fit."""
        found: list[dict[str, Any]] = [{name: value for name, value in schema.items() if name not in _COMBINING}]
        parts: list[Sequence[Any]] = []
        if "$ref" in schema:
            reference = str(schema["$ref"])
            if reference in seen:
                return
            seen = (*seen, reference)
            parts.append([self._schemas.target(schema["$ref"])])
        parts += [[one] for one in _listed(schema, "allOf")]
        parts += [branches for name in ("anyOf", "oneOf") if (branches := _listed(schema, name))]
        if "if" in schema:
            parts.append([{"allOf": [schema["if"], schema.get("then", True)]}, schema.get("else", True)])
        yield from self._product(found[0], parts, seen)

    def _product(
        self, base: dict[str, Any], parts: list[Sequence[Any]], seen: tuple[str, ...]
    ) -> Iterator[dict[str, Any]]:
        if not parts:
            yield base
            return
        for branch in parts[0]:
            if branch is False:
                continue
            for flat in self._flat(branch if isinstance(branch, Mapping) else {}, seen):
                yield from self._product(_merged(base, flat), parts[1:], seen)

    # -- candidates -----------------------------------------------------------------------------------

    def _candidates(self, flat: dict[str, Any], levels: int) -> Iterator[Any]:
        if "const" in flat:
            yield flat["const"]
            return
        if isinstance(flat.get("enum"), list):
            yield from flat["enum"]
            return
        types = types_of(flat) or [kind for kind, names in _SAID_BY.items() if any(name in flat for name in names)]
        for kind in types or ("string", "null", "number", "boolean", "object", "array"):
            if kind == "string":
                yield from _texts(flat)
            elif kind == "null":
                yield None
            elif kind == "boolean":
                yield from (False, True)
            elif kind in ("number", "integer"):
                yield from _numbers(flat, is_whole=kind == "integer")
            elif kind == "array":
                yield from self._arrays(flat, levels)
            else:
                yield from self._objects(flat, levels)

    def _arrays(self, flat: dict[str, Any], levels: int) -> Iterator[list[Any]]:
        least = int(number_of(flat, "minItems") or 0)
        wanted = 0
        if "contains" in flat:
            wanted = int(1 if (count := number_of(flat, "minContains")) is None else count)
        first = max(least, wanted)
        for count in range(first, first + 3) if first <= _MOST else ():
            items: list[Any] = []
            for at in range(count):
                schema = item_of(flat, at)
                if at >= count - wanted:
                    schema = {"allOf": [schema, flat["contains"]]}
                if flat.get("uniqueItems") is True:
                    others = (v for v in self.of(schema, levels - 1) if not any(same(v, item) for item in items))
                    found = list(islice(others, 1))
                else:
                    found = list(islice(self.of(schema, levels - 1), 1)) if wanted else self._one(schema, levels - 1)
                if not found:
                    break
                items += found
            if len(items) == count:
                yield items

    def _objects(self, flat: dict[str, Any], levels: int) -> Iterator[dict[str, Any]]:
        known = mapping_in(flat, "properties")
        needed = needed_of(flat)
        optional = [name for name in known if name not in needed]
        least = int(number_of(flat, "minProperties") or 0)
        if least > _MOST:
            return
        missing = max(least - len(needed), 0)
        others = [name for name in self._names(flat, levels) if name not in known and name not in needed]
        more = [*optional, *others][:missing]
        yield from self._object(flat, [*needed, *more], levels)
        for name in optional:
            if name not in more:
                yield from self._object(flat, [*needed, *more, name], levels)
        if len(optional) > 1:
            yield from self._object(flat, [*needed, *optional], levels)
        for name in others[:3] if not more else ():
            yield from self._object(flat, [*needed, name], levels)

    def _names(self, flat: dict[str, Any], levels: int) -> list[str]:
        """Return names that properties could have beside those that are known."""
        found = [text for pattern in mapping_in(flat, "patternProperties") for text in islice(texts(pattern), 3)]
        if "propertyNames" in flat:
            named = self.of({"allOf": [{"type": "string"}, flat["propertyNames"]]}, levels)
            return [*found, *islice(named, 16)]
        least = int(number_of(flat, "minProperties") or 0)
        return found if flat.get("additionalProperties") is False else [*found, *(f"a{n}" for n in range(least + 1))]

    def _object(self, flat: dict[str, Any], names: Sequence[str], levels: int) -> Iterator[dict[str, Any]]:
        names = needed_of({**flat, "required": list(names)}, names)
        order = {name: at for at, name in enumerate(mapping_in(flat, "properties"))}
        found: dict[str, Any] = {}
        for name in sorted(names, key=lambda name: order.get(name, len(order))):
            schemas = property_of(flat, name)
            schema = schemas[0] if len(schemas) == 1 else {"allOf": schemas}
            value = self._one(schema, levels - 1) if len(schemas) == 1 else list(islice(self.of(schema, levels - 1), 1))
            if not value:
                return
            found[name] = value[0]
        yield found


def _listed(schema: Mapping[str, Any], name: str) -> list[Any]:
    found = schema.get(name)
    return found if isinstance(found, list) else []


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that says what both say, as far as one can; the rest is seen when a value is tried."""
    merged = {**one, **other}
    for name in one.keys() & other.keys():
        mine, theirs = one[name], other[name]
        if mine == theirs:
            continue
        if name in ("properties", "patternProperties") and isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            both = mine.keys() & theirs.keys()
            merged[name] = {**mine, **theirs, **{key: {"allOf": [mine[key], theirs[key]]} for key in both}}
        elif name == "required" and isinstance(mine, list) and isinstance(theirs, list):
            merged[name] = list(dict.fromkeys([*mine, *theirs]))
        elif name == "type":
            kinds = types_of({"type": theirs})
            own = types_of({"type": mine})
            left = [kind for kind in own if kind in kinds or (kind == "integer" and "number" in kinds)]
            merged[name] = left + [kind for kind in kinds if kind == "integer" and "number" in own] or theirs
        elif name == "enum" and isinstance(mine, list) and isinstance(theirs, list):
            merged[name] = [value for value in mine if any(same(value, other) for other in theirs)]
        elif name in ("items", "propertyNames", "additionalProperties") and not isinstance(mine, list):
            merged[name] = False if False in (mine, theirs) else {"allOf": [mine, theirs]}
        elif name.startswith(("min", "exclusiveMin", "max", "exclusiveMax")):
            choose = max if name.startswith(("min", "exclusiveMin")) else min
            bounds = [bound for found in (one, other) if (bound := number_of(found, name)) is not None]
            merged[name] = choose(bounds) if bounds else theirs
    return merged


def _texts(flat: dict[str, Any]) -> Iterator[str]:
    least = int(number_of(flat, "minLength") or 0)
    if least > _LONGEST:
        return
    form, pattern = flat.get("format"), flat.get("pattern")
    for sample in _FORMATS.get(str(form), ()):
        yield sample.replace("{}", "a" * max(least - len(sample) + 2, 0)) if "{}" in sample else sample
    if isinstance(pattern, str):
        yield from islice(texts(pattern, least), 16)
    if form not in _FORMATS:
        yield from ("a" * count for count in range(least, least + 24))


def _numbers(flat: dict[str, Any], *, is_whole: bool) -> Iterator[Any]:
    """Yield numbers from the one that is nearest to zero on."""
    least, _, most, _ = bounds_of(flat)
    step = number_of(flat, "multipleOf")
    by = abs(Fraction(str(step))) if step else Fraction(1)
    if is_whole:
        by = Fraction(by.numerator)
    low, high = (None if bound is None else Fraction(str(bound)) for bound in (least, most))
    at = 0
    if low is not None and low > 0:
        at = ceil(low / by)
    elif high is not None and high < 0:
        at = floor(high / by)
    for away in range(24):
        for place in {at + away: None, at - away: None}:
            yield _plain(place * by)
    if not step and not is_whole:  # nothing whole lies between the bounds
        ends = [bound for bound in (low, high) if bound is not None]
        yield from map(_plain, ends)
        yield _plain(sum(ends, Fraction(0)) / (len(ends) or 1))


def _plain(number: Fraction) -> int | float:
    return int(number) if number.denominator == 1 else float(number)
