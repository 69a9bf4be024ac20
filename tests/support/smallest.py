"""Values of an SDK's own types: the members of its unions, and the smallest that each of them allows."""

from __future__ import annotations

import enum
import types
from datetime import datetime
from typing import Annotated, Literal, Union, get_args, get_origin

DEEP = 6
KINDS = ("type", "event_type")
USUAL = {str: "x", int: 0, float: 0.5, bool: True, bytes: "eHg=", datetime: "2026-01-01T00:00:00Z"}


def _default(model, name):
    """Return the type that a model says it is where that need not be said."""
    field = model.model_fields.get(name)
    return None if field is None or field.is_required() else field.default


def is_unknown(model):
    """Tell whether a type stands for what its SDK does not know yet."""
    return hasattr(model, "model_fields") and "UNKNOWN" in [_default(model, name) for name in KINDS]


def members(union):
    """Return the models that a union is made of, unions inside of it taken apart."""
    union = getattr(union, "__value__", union)
    if hasattr(union, "model_fields"):
        return [union]
    return [model for part in get_args(union) for model in members(part)]


def kind_of(model):
    """Return the type that a model says it is."""
    return get_args(model.model_fields["type"].annotation)[0]


def smallest(annotation):
    """Return the smallest value of a type as JSON: required fields only, of each the first alternative."""
    return next(iter(variants(annotation, deep=DEEP)))


def variants(annotation, *, deep=0):
    """Return values of a type as JSON: the smallest first, then one for each alternative and each field in it.

    Alternatives are followed to where `deep`, which counts up, says that it is enough.
    """
    annotation = getattr(annotation, "__value__", annotation)
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    found = _alternatives(annotation, deep)
    return found[:1] if deep >= DEEP else found


def _alternatives(annotation, deep):
    origin, args = get_origin(annotation) or annotation, get_args(annotation)
    found = [{}]
    if origin in (Union, types.UnionType):
        parts = [part for part in args if part is not type(None) and not is_unknown(part)]
        found = [value for part in parts for value in variants(part, deep=deep)]
    elif origin is Literal:
        found = list(args)
    elif origin in (list, tuple):
        inner = variants(args[0], deep=deep + 1) if args and deep < DEEP else ()
        found = [[], *([value] for value in inner)]
    elif hasattr(annotation, "model_fields"):
        found = _of_model(annotation, deep)
    elif isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        found = [each.value for each in annotation if "UNSPECIFIED" not in each.value]
    elif isinstance(origin, type) and issubclass(origin, str):
        found = ["x"]
    elif origin in USUAL:
        found = [USUAL[origin]]
    return found


def _of_model(model, deep):
    """Return the smallest value of a model, and that with each alternative of each of its fields."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    found = {name: variants(field.annotation, deep=deep + 1) for name, field in fields.items()} if deep < DEEP else {}
    base = {
        name: found[name][0] if name in found else smallest_of(field, deep)
        for name, field in fields.items()
        if field.is_required()
    }
    base = {**{name: kind for name in KINDS if isinstance(kind := _default(model, name), str)}, **base}
    if deep >= DEEP:
        return [base]
    more = [
        {**base, name: value}
        for name, values in found.items()
        for value in (values[1:] if fields[name].is_required() else values)
    ]
    return [base, *more]


def smallest_of(field, deep):
    """Return the smallest value of a field that has to be there."""
    return next(iter(variants(field.annotation, deep=deep + 1)))
