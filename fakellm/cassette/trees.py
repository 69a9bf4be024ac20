"""Walks the trees of YAML and JSON, where aliases make a small file say much: in time that its size bounds.

An alias leads to a node that stands elsewhere, and lists of aliases of lists of aliases double with each line. So a
node is looked into once, where it is met first; by how many names it is called is looked at too, since a name may say
that it is a header, but no longer than `STEPS` tell. Nothing recurses: trees may be deep, and contain themselves. And
what a node is under is told in a few names, since with all of them a deep node would cost what the tree is deep.
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


_HALF = 6


class Way(NamedTuple):
    """The names that a node is under: of more than twelve, the outer and the inner six, so that each costs the same.

    `is_asked` says whether one of all of them is `request`.
    """

    names: tuple[str, ...] = ()
    is_cut: bool = False
    is_asked: bool = False

    def __str__(self) -> str:
        """Return the names with points between them."""
        if self.is_cut:
            return ".".join((*self.names[:_HALF], "…", *self.names[_HALF:]))
        return ".".join(self.names) or "text"

    def to(self, name: str) -> Way:
        """Return the way to what has a name there."""
        is_asked = self.is_asked or name == "request"
        if len(self.names) < 2 * _HALF:
            return Way((*self.names, name), is_asked=is_asked)
        return Way((*self.names[:_HALF], *self.names[_HALF + 1 :], name), is_cut=True, is_asked=is_asked)


class Visit(NamedTuple):
    """A node: what it is called, the way to what it is in, and the way to it.

    `is_new` says whether it is met for the first time.
    """

    node: Any
    name: str
    around: Way
    path: Way
    is_new: bool = True


def walk(document: Any, steps: int) -> Iterator[Visit]:
    """Yield the nodes of a composed document, in no order. Raises `TooManyAliasesError` after so many steps."""
    seen: set[int] = set()
    stack = [Visit(document, "", Way(), Way())]
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


def _inside(node: Any, path: Way) -> Iterator[Visit]:
    """Yield what is in a mapping or a list; in a list, a text may be called what comes before it: `rawHeaders`."""
    before = ""
    if node.id == "mapping":
        for key, value in node.value:
            name = key.value if isinstance(key.value, str) else ""
            yield Visit(value, name, path, path.to(name))
    elif node.id == "sequence":
        for item in node.value:
            yield Visit(item, before, path, path)
            before = item.value if isinstance(item.value, str) else ""
