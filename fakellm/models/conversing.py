"""What a fake has to do with conversations: it plays them, and tells how a call leaves the one that it is in.

What a conversation is stands in `fakellm.agents`, which knows fakes; they know no more of it than this.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol, Self, TypeVar

from fakellm.errors import in_rows

R = TypeVar("R")


class Playable(Protocol):
    """What a fake can play: a `Conversation`."""

    def replies(self, provider: str) -> Sequence[Any]:
        """Return what the fake of a provider is told; a model is of none, and its name empty."""
        ...


class Playing:
    """A fake that plays conversations."""

    provider = ""

    def play(self, *conversations: Playable) -> Self:
        """Script conversations, each a `fakellm.agents.conversation(...)`. Returns the fake."""
        for conversation in conversations:
            if not hasattr(conversation, "replies"):
                msg = f"play() takes conversations: conversation(user(...), says(...)), and not {conversation!r}"
                raise TypeError(msg)
            for reply in conversation.replies(self.provider):
                self.tell(reply)
        return self

    def tell(self, reply: Any) -> Self:
        """Add a reply that was made elsewhere. Returns the fake."""
        raise NotImplementedError


class Astray(NamedTuple):
    """How a call leaves a conversation: how near it is to it, whether it was in it, and that in words."""

    depth: tuple[int, int]
    is_inside: bool
    what: str
    rows: tuple[tuple[str, str], ...]
    remedy: tuple[str, ...]


def leaves(headline: str, astray: Astray, others: Sequence[str] = ()) -> str:
    """Word that a call, which the headline names, leaves a conversation; `others` are other replies."""
    rows = [*astray.rows, *((("" if at else "replies:"), one) for at, one in enumerate(others))]
    rows += [("" if at else "to do:", remedy) for at, remedy in enumerate(astray.remedy)]
    return in_rows(f"{headline} {astray.what}", rows)


def first_of_each(replies: Iterable[R]) -> list[R]:
    """Return replies, of those of one group the first."""
    groups: set[int] = set()
    found = []
    for reply in replies:
        group = getattr(reply, "group", None)
        if group is None or id(group) not in groups:
            found.append(reply)
            groups.add(id(group))
    return found
