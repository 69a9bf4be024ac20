"""One stream of an archive: the bytes that came, how they were cut, how they ended, and where it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

from fakellm.cassette.bodies import codec_for, kind_of_chunks
from fakellm.cassette.document import CassetteError
from fakellm.errors import LLMConnectionError, LLMTimeoutError, ScriptError, WireError
from fakellm.script.events import Event, Fault, Finish, Text
from fakellm.wire.codec import Codec
from fakellm.wire.sse import SSEDecoder

UNSET: Any = object()
_HEAD = 16_384
"""Bytes of a stream that its API is told by."""
_BROKEN: dict[str, Callable[[], Exception]] = {
    "dropped": lambda: LLMConnectionError("the connection broke, as it was recorded"),
    "timeout": lambda: LLMTimeoutError("the stream fell silent, as it was recorded"),
}
"""What a consumer meets where a recorded stream did not come to its end."""


class Place(NamedTuple):
    """Where a stream is: a file or URL, and the number of the interaction, row or line in it, counted from 0."""

    path: str
    word: str = ""
    number: int = 0

    def moved(self, lines: int) -> Place:
        """Return the place of a line whose part of the file begins after so many lines."""
        return self._replace(number=self.number + lines) if self.word == "line" and lines else self

    @property
    def shown(self) -> int:
        """The number as people are told it: lines are counted from 1."""
        return self.number + (self.word == "line")

    def __str__(self) -> str:
        if not self.word:
            return self.path
        return f"{self.path}:{self.shown}" if self.word == "line" else f"{self.path}, {self.word} {self.shown}"


@dataclass(frozen=True)
class Recording:
    """A recorded stream.

    `chunks` are the bytes as their client got them, `end` is `complete`, `cancelled` (the app stopped reading),
    `dropped` or `timeout`, `expected` what the archive says that a consumer makes of it.
    """

    place: Place
    chunks: tuple[bytes, ...]
    api: str = ""
    end: str = "complete"
    expected: Any = field(default=UNSET, compare=False)
    url: str = ""

    @cached_property
    def body(self) -> bytes:
        """All bytes."""
        return b"".join(self.chunks)

    @property
    def borders(self) -> tuple[int, ...]:
        """Where one chunk ended and the next began."""
        return tuple(accumulate(map(len, self.chunks[:-1])))

    @property
    def failure(self) -> Callable[[], Exception] | None:
        """What makes the error that ends it, if one does."""
        return _BROKEN.get(self.end)

    @cached_property
    def codec(self) -> Codec | None:
        """What reads it; None where its API is not known."""
        events = [] if self.api else list(_objects(self.body[:_HEAD]))
        try:
            return codec_for(self.api or kind_of_chunks(events), events, str(self.place))
        except CassetteError:
            return None

    @cached_property
    def events(self) -> tuple[tuple[Event, ...], ...] | None:
        """What each chunk says; None where that cannot be read."""
        if self.codec is None:
            return None
        decoder = self.codec.decoder()
        try:
            said = [tuple(decoder.feed(chunk)) for chunk in self.chunks]
            return (*said, tuple(decoder.close()))
        except (WireError, ScriptError):
            return None

    @property
    def is_whole(self) -> bool:
        """Whether it says that it is at its end, and reports no error; true where nobody can tell."""
        if self.events is None:
            return self.codec is None and not any("error" in one for one in _objects(self.body))
        said = [event for chunk in self.events for event in chunk]
        return any(isinstance(event, Finish) for event in said) and not any(isinstance(event, Fault) for event in said)

    @property
    def texts(self) -> list[str]:
        """The text of the first answer, in the pieces in which it came."""
        said = [event for chunk in self.events or () for event in chunk]
        return [event.text for event in said if isinstance(event, Text) and not event.choice and event.text]


def _objects(head: bytes) -> Iterator[dict[str, Any]]:
    """Yield the first objects of a body, in whichever framing."""
    try:
        datas = [event.data for event in SSEDecoder().feed(head)]
    except WireError:
        datas = []
    for data in datas or head.decode("utf-8", "replace").splitlines():
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            yield found


class Unread(NamedTuple):
    """What is in an archive and was not looked at: where, and why; `is_wrong` if it should have been one to read."""

    place: Place
    why: str
    is_wrong: bool = True


Found = Recording | Unread
