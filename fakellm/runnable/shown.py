"""How things are shown: as the expression that one would write, as far as there is one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from inspect import isroutine
from keyword import iskeyword
from typing import Any

from fakellm.errors import clip

LONG = 200
"""How many characters of one value are shown."""
_DEEP = 8


def shown(value: Any, depth: int = 0) -> str:
    """Write a value: functions and classes by their name, wherever in lists and dicts they are.

    What has no `repr` of its own is shown by its class, without an address: `<Callback>`.
    """
    if isinstance(value, type) or isroutine(value):
        return value.__qualname__.rpartition("<locals>.")[2]
    if type(value) in (list, tuple, dict, partial):
        return _inside(value, depth + 1) if depth < _DEEP else "..."
    kind: Any = type(value)
    return f"<{kind.__name__}>" if kind.__repr__ is object.__repr__ else repr(value)


def _inside(value: Any, depth: int) -> str:
    if isinstance(value, partial):
        return call("partial", [shown(one, depth) for one in (value.func, *value.args)] + named(value.keywords, depth))
    if isinstance(value, dict):
        return f"{{{', '.join(f'{shown(key, depth)}: {shown(one, depth)}' for key, one in value.items())}}}"
    items = ", ".join(shown(one, depth) for one in value)
    if isinstance(value, list):
        return f"[{items}]"
    return f"({items},)" if len(value) == 1 else f"({items})"


def unusual(options: Mapping[str, Any], **usual: Any) -> dict[str, Any]:
    """Return the options that differ from what they are where nobody says so: None, or what `usual` has."""
    return {name: value for name, value in options.items() if value != usual.get(name)}


def call(name: str, arguments: Iterable[str]) -> str:
    """Write a call, of arguments that are written already."""
    return f"{name}({', '.join(arguments)})"


def named(options: Mapping[str, Any], depth: int = 0) -> list[str]:
    """Write keyword arguments; what is long is clipped, and a name that is none goes into a `**{...}`."""
    words = {name: value for name, value in options.items() if name.isidentifier() and not iskeyword(name)}
    others = {name: value for name, value in options.items() if name not in words}
    written = [f"{name}={clip(shown(value, depth), LONG)}" for name, value in words.items()]
    return [*written, f"**{clip(shown(others, depth), LONG)}"] if others else written
