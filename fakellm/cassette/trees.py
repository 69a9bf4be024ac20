"""Walks the trees of YAML and JSON, where aliases make a small file say much: in time that its size bounds.

An alias leads to a node that stands elsewhere, and lists of aliases of lists of aliases double with each line. So a
node is looked into once, where it is met first; by how many names it is called is looked at too, since a name may say
that it is a header, but no longer than `STEPS` tell. Nothing recurses: trees may be deep, and contain themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

STEPS = 100_000
"""How many items a file may say once more by aliases, beside one for each of its bytes."""


class TooManyAliasesError(Exception):
    """A file says more by its aliases than anybody looks at. `line` is that where the looking ended."""

    def __init__(self, line: int) -> None:
        super().__init__(f"line {line}")
        self.line = line


class Visit(NamedTuple):
    """A node: what it is called, the names that this is under, and those that the node is under, with it.

    `is_new` says whether it is met for the first time.
    """

    node: Any
    name: str
    around: tuple[str, ...]
    path: tuple[str, ...]
    is_new: bool = True


def walk(document: Any, steps: int) -> Iterator[Visit]:
    """Yield the nodes of a composed document, in no order. Raises `TooManyAliasesError` after so many steps."""
    seen: set[int] = set()
    stack = [Visit(document, "", (), ())]
    while stack:
        visit = stack.pop()
        node = visit.node
        if id(node) not in seen:
            seen.add(id(node))
            yield visit
            stack += _inside(node, visit.path)
            continue
        steps -= _weight(node)
        if steps < 0:
            raise TooManyAliasesError(node.start_mark.line + 1)
        yield visit._replace(is_new=False)


def _weight(node: Any) -> int:
    """Return how much there is to look at where a node is met again."""
    return 1 + (len(node.value) >> 6 if isinstance(node.value, str) else len(node.value))


def _inside(node: Any, path: tuple[str, ...]) -> Iterator[Visit]:
    """Yield what is in a mapping or a list; in a list, a text may be called what comes before it: `rawHeaders`."""
    before = ""
    if node.id == "mapping":
        for key, value in node.value:
            name = key.value if isinstance(key.value, str) else ""
            yield Visit(value, name, path, (*path, name))
    elif node.id == "sequence":
        for item in node.value:
            yield Visit(item, before, path, path)
            before = item.value if isinstance(item.value, str) else ""
