"""What a script is made of: strings, events and other scripts, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from fakellm.errors import clip
from fakellm.script.events import EVENT_TYPES, Event, Text, ToolCall


class Events(Sequence[Event]):
    """Events that follow each other, as a script has them."""

    __slots__ = ()


def sound_texts(parts: tuple[object, ...]) -> tuple[str, ...] | None:
    """Return the parts, if they are strings that UTF-8 can hold; of others their events say what is wrong."""
    if set(map(type, parts)) != {str}:
        return None
    texts = cast("tuple[str, ...]", parts)
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return None
    return texts


class EventReader:
    """Turns the parts of a script, one after the other, into events; numbers the tool calls."""

    def __init__(self) -> None:
        self._place = 0
        self._numbers: dict[int, tuple[int, int]] = {}

    def __copy__(self) -> EventReader:
        """Return a reader that goes on from here by itself."""
        other = EventReader()
        other._place, other._numbers = self._place, dict(self._numbers)
        return other

    def read(self, part: object) -> Iterable[Event]:
        """Return the events of a string, an event or a script. Raises `TypeError` for anything else."""
        events = (Text(part),) if isinstance(part, str) else tuple(map(self._numbered, self._events(part)))
        self._place += 1
        return events

    def _numbered(self, event: Event) -> Event:
        if not isinstance(event, ToolCall):
            return event
        last, highest = self._numbers.get(event.choice, (-1, -1))
        numbered = event.numbered(last, highest)
        last = numbered.index or 0
        self._numbers[event.choice] = last, max(highest, last)
        return numbered

    def _events(self, part: object) -> Iterable[Event]:
        if isinstance(part, Events):
            return part
        if isinstance(part, Event) and type(part) in EVENT_TYPES.values():
            return (part,)
        hint = ""
        if isinstance(part, (bytes, bytearray)):
            hint = "; decode the bytes first, a script holds text"
        elif isinstance(part, (list, tuple)):
            hint = f"; write *{type(part).__name__}, one argument each"
        elif isinstance(part, BaseException) or (isinstance(part, type) and issubclass(part, BaseException)):
            hint = "; an exception is a reply by itself; to fail after some chunks use a fault such as disconnect()"
        elif isinstance(part, type) and issubclass(part, Event):
            hint = f"; call it: {part.__name__}()"
        elif hasattr(part, "as_said_by"):
            hint = "; a conversation is more than one reply: fake.play(conversation(...))"
        msg = (
            f"part {self._place} is {clip(repr(part), 80)}, a {type(part).__name__}; "
            f"a script is made of str, events and scripts{hint}"
        )
        raise TypeError(msg)
