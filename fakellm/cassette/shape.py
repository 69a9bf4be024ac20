"""JSON without its words: which fields there are, of which types, and the few words that are the API's own.

Two answers to one question say other things each time, in texts of other lengths. What an app relies on is the rest.
A field is known by its path, `choices[].delta.content`; the items of a list are one, but for items that name their
type, which are one of each: `content[tool_use].name`. What a model filled in itself, the arguments of a tool, is no
part of it, and neither is an object whose names are words, such as the log probabilities of tokens by their tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str, ...]
"""Where a field is: names, and `[]` or `[type]` for the items of a list."""

FINISHES = frozenset(("finish_reason", "stop_reason", "finishReason", "stopReason", "done_reason"))
"""Fields that say why an answer ended."""
MODELS = frozenset(("model", "modelVersion", "model_version"))
"""Fields that say which model answered."""
_API_WORDS = FINISHES | MODELS | {"type", "object", "role", "status"}
_OF_ERRORS = frozenset(("code", "type", "status", "reason"))
_GIVEN = frozenset(("args", "arguments", "input", "top_logprobs"))
"""Objects whose names are not the API's."""
_NAME = re.compile(r"[A-Za-z_$@:][\w.$@:/-]{0,63}")
_WORD = re.compile(r"[\w.:/@#-]{1,100}")


@dataclass(slots=True)
class Seen:
    """A field in all places where it was met: its types, its words if they are the API's, and how often it came."""

    kinds: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    count: int = 0


class Shape(dict[Path, Seen]):
    """Fields by their paths; that of the empty path is what they are all in."""

    def add(self, value: Any) -> None:
        """Take one more value of this shape."""
        rest: list[tuple[Path, Any]] = [((), value)]
        while rest:
            path, found = rest.pop()
            seen = self.setdefault(path, Seen())
            seen.count += 1
            seen.kinds.add(kind_of(found))
            if isinstance(found, dict):
                if not _is_given(path, found):
                    rest += [((*path, str(name)), inner) for name, inner in reversed(found.items())]
            elif isinstance(found, list):
                rest += [((*path, f"[{type_of(item)}]"), item) for item in reversed(found)]
            elif isinstance(found, (str, int)) and _is_api_word(path):
                seen.words.add(word_of(found))

    def is_always(self, path: Path) -> bool:
        """Tell whether a field came with each of the objects that it is in."""
        return self[path].count == self[path[:-1]].count


def shown(path: Path) -> str:
    """Return a path as people write it."""
    return ".".join(path).replace(".[", "[") or "the document"


def kind_of(value: Any) -> str:
    """Return the type of a value of JSON; of numbers, whether it is whole."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    kinds = ((str, "string"), (int, "integer"), (float, "number"), (list, "list"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "object")


def type_of(item: Any) -> str:
    """Return the type that an object says it is of; nothing if it says none."""
    kind = item.get("type") if isinstance(item, dict) else None
    return kind if isinstance(kind, str) and _NAME.fullmatch(kind) else ""


def word_of(value: object) -> str:
    """Return a word of an API as it can be shown."""
    text = str(value)
    return text if _WORD.fullmatch(text) else "..."


def _is_given(path: Path, found: dict[str, Any]) -> bool:
    """Tell whether the names in an object are somebody's words."""
    named = next((name for name in reversed(path) if not name.startswith("[")), "")
    return named in _GIVEN or not all(isinstance(name, str) and _NAME.fullmatch(name) for name in found)


def _is_api_word(path: Path) -> bool:
    name = path[-1] if path else ""
    return name in _API_WORDS or (name in _OF_ERRORS and "error" in path)
