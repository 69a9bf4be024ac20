"""What was read of an item of OpenAI's Responses API so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# What is said twice. The text of a part comes in deltas, and whole up to three times after them. It is read once, and
# the index alone does not tell whether it was: some servers send deltas at one `content_index` and finish the part at
# another, others have no index. So texts are compared: what was said of all parts of one kind, joined, begins with what
# was finished of them, joined, unless a part came without deltas, or parts are mixed.


@dataclass(slots=True)
class Parts:
    """The parts of one kind that an item has: what was said of each, what was finished of all, and at which index."""

    texts: dict[int, list[str]] = field(default_factory=dict)
    whole: str = ""
    places: dict[int, int] = field(default_factory=dict)

    def finish(self, index: int, text: str) -> tuple[int, str | None]:
        """Take a whole part. Return the index that its pieces have, and what was not said; None where all was."""
        if index in self.places:
            return self.places[index], None
        said, whole = "".join(map("".join, self.texts.values())), self.whole + text
        place, rest = self._place(index, text), None
        if text and said.startswith(whole):
            self.whole = whole
        elif index in self.texts:
            self.whole += "".join(self.texts[index])
        else:
            rest = whole[len(said) :] if whole.startswith(said) else text
            place = index if rest == text else place
            self.whole = whole
        self.places[index] = place
        return place, rest

    def _place(self, index: int, text: str) -> int:
        """Return the index of the pieces that a text adds up to; of the last, where it is none of theirs."""
        alike = [place for place, pieces in self.texts.items() if "".join(pieces) == text]
        if index in self.texts and (index in alike or not alike):
            return index
        return alike[0] if alike else next(reversed(self.texts), index)


@dataclass(slots=True)
class Item:
    """An output item while it is read."""

    index: int
    kind: str
    more: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, Parts] = field(default_factory=dict)
    last_part: str = ""
    annotations: dict[int, int] = field(default_factory=dict)
    call: int | None = None
    has_arguments: bool = False
    has_begun: bool = False
    is_done: bool = False

    def of(self, name: str) -> Parts:
        """Return the parts of a kind."""
        return self.parts.setdefault(name, Parts())
