"""A stream is a value: `Script`, an immutable sequence of events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NoReturn, overload

from fakellm.errors import ScriptError
from fakellm.script.events import (
    EVENT_TYPES,
    Content,
    Event,
    Fault,
    Finish,
    Pause,
    Raw,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
    choice_of,
)
from fakellm.script.joining import join_tool_calls
from fakellm.script.order import OrderChecker, check_order
from fakellm.script.parts import EventReader, Events, sound_texts
from fakellm.script.rechunk import SPLITTABLE, recut
from fakellm.script.splitting import Split, check_split, split_text
from fakellm.script.written import written

if TYPE_CHECKING:
    from pathlib import Path  # takes longer to import than all of this package's rooms up to here


NOT_SHOWN = (Pause, Fault, Raw)
"""The events that no consumer sees as a chunk."""


class Script(Events):
    """What a model's stream delivers, event by event: a value that is built, cut and added up.

    `Script("The ", "answer", Pause(2), Finish())`: strings stand for `Text`, scripts for their events;
    tool calls without an index are numbered. What no stream could be raises `ScriptError`, a part of
    the wrong type `TypeError`; `allow_illegal=True` lets the order of events be anything, for a
    provider that misbehaves. Two scripts are equal if their events are.

    A *chunk* is an event that a consumer gets to see: any but pauses, faults and raw bytes. Where a request
    has several answers, `text` and its like are those of the first; `choice(1)` is the second.
    """

    # Events that nobody looks at are not made. Most scripts are strings, a text model shows strings, and to make an
    # event of each and follow their order costs twenty times as much as to stream them. Strings that UTF-8 can hold
    # pass each check that their events would make, in any order; so they are kept as they are until somebody asks.

    __slots__ = ("_known", "_made", "allow_illegal", "texts")

    allow_illegal: bool
    texts: tuple[str, ...] | None
    """The strings that it was made of, if it was made of nothing else."""
    _made: tuple[Event, ...] | None
    _known: dict[str, Any]

    def __init__(self, *parts: str | Event | Script, allow_illegal: bool = False) -> None:
        texts = sound_texts(parts)
        events = None
        if texts is None:
            reader = EventReader()
            events = tuple(event for part in parts for event in reader.read(part))
            allow_illegal = allow_illegal or any(isinstance(part, Script) and part.allow_illegal for part in parts)
            if not allow_illegal:
                check_order(events)
        self._keep(events, texts, {}, allow_illegal=allow_illegal)

    def _keep(
        self,
        events: tuple[Event, ...] | None,
        texts: tuple[str, ...] | None,
        known: dict[str, Any],
        *,
        allow_illegal: bool,
    ) -> None:
        keep = object.__setattr__
        keep(self, "_made", events)
        keep(self, "texts", texts)
        keep(self, "_known", known)
        keep(self, "allow_illegal", allow_illegal)

    @property
    def _events(self) -> tuple[Event, ...]:
        events = self._made
        if events is None:
            events = tuple(map(Text, self.texts or ()))
            object.__setattr__(self, "_made", events)
        return events

    @classmethod
    def of(cls, text: str, split: Split | None = None, *, every: int | None = None) -> Script:
        """Return a script of the text in pieces, by default words.

        `split` is "words", "characters", "graphemes", "tokens", a function from the text to its
        pieces, or the positions of the cuts; `every=n` makes pieces of n characters.
        """
        Text(text)
        if split is None and every is None:
            split = "words"
        return cls(*split_text(text, split, every=every))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        """Refuse: a script does not change. Its methods return new ones."""
        msg = f"a Script is immutable, so its {name} cannot be set; its methods return new scripts"
        raise AttributeError(msg)

    def __delattr__(self, name: str) -> NoReturn:
        """Refuse: a script does not change. Its methods return new ones."""
        msg = f"a Script is immutable, so its {name} cannot be deleted; its methods return new scripts"
        raise AttributeError(msg)

    def __reduce__(self) -> tuple[Callable[..., Script], tuple[Any, ...]]:
        """Pickle and copy a script as what it was made of."""
        return _rebuild, (self._events if self.texts is None else self.texts, self.allow_illegal)

    # -- a sequence -------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._events if self.texts is None else self.texts)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    @overload
    def __getitem__(self, at: int) -> Event: ...
    @overload
    def __getitem__(self, at: slice) -> Script: ...
    def __getitem__(self, at: int | slice) -> Event | Script:
        """Return an event, or for a slice the script of those events.

        A slice that begins inside a tool call, or after the first, is illegal by itself and raises
        `ScriptError`.
        """
        return self._new(self._events[at]) if isinstance(at, slice) else self._events[at]

    def __add__(self, other: str | Event | Script) -> Script:
        """Return this script with more events after it."""
        if not isinstance(other, (str, Event, Script)):
            return NotImplemented
        allow_illegal = self.allow_illegal or (isinstance(other, Script) and other.allow_illegal)
        reader, order = copy(self._ends[0]), copy(self._ends[1])
        more = tuple(reader.read(other))
        for event in () if allow_illegal else more:
            order.step(event)
        return _made((*self._events, *more), {"ends": (reader, order)}, allow_illegal=allow_illegal)

    @property
    def _ends(self) -> tuple[EventReader, OrderChecker]:
        """What the last event left behind: a sum goes on from there, so adding one event after another is cheap."""

        def compute() -> tuple[EventReader, OrderChecker]:
            reader, order = EventReader(), OrderChecker()
            for event in self._events:
                reader.read(event)
                if not self.allow_illegal:
                    order.step(event)
            return reader, order

        ends: tuple[EventReader, OrderChecker] = self._once("ends", compute)
        return ends

    def __radd__(self, other: str | Event) -> Script:
        """Return this script with an event or a string before it."""
        if not isinstance(other, (str, Event)):
            return NotImplemented
        return self._new((other, *self._events))

    def __eq__(self, other: object) -> bool:
        return self._events == other._events if isinstance(other, Script) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._events)

    def __repr__(self) -> str:
        """Return the script as one would write it, texts as plain strings."""
        parts = [*written(self._events), *(["allow_illegal=True"] if self.allow_illegal else [])]
        return f"Script({', '.join(parts)})"

    def _new(self, parts: Iterable[str | Event | Script]) -> Script:
        """Return a script of other parts that allows what this one allows."""
        return Script(*parts, allow_illegal=self.allow_illegal)

    # -- what it adds up to -----------------------------------------------------------------------

    def _once(self, name: str, compute: Callable[[], Any]) -> Any:
        if name not in self._known:
            self._known[name] = compute()
        return self._known[name]

    def _joined(self, kind: type[Text | Reasoning | Refusal]) -> Any:
        return self._once(
            kind.type, lambda: "".join(e.text for e in self._events if isinstance(e, kind) and not e.choice)
        )

    @property
    def text(self) -> str:
        """The answer's whole text."""
        if self.texts is not None:
            return "".join(self.texts)
        joined: str = self._joined(Text)
        return joined

    @property
    def reasoning(self) -> str:
        """The whole reasoning."""
        joined: str = self._joined(Reasoning)
        return joined

    @property
    def refusal(self) -> str:
        """The whole refusal; empty where the model did not refuse."""
        joined: str = self._joined(Refusal)
        return joined

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls, each whole, by index."""
        calls: tuple[ToolCall, ...] = self._once("tool_calls", lambda: join_tool_calls(self.choice(0)))
        return calls

    @property
    def usage(self) -> Usage | None:
        """The last usage: counts are cumulative, so a later one replaces an earlier one."""
        return next((e for e in reversed(self._events) if isinstance(e, Usage)), None)

    @property
    def finish_reason(self) -> str | None:
        """Why the answer ended; None where it was cut short."""
        return next((e.reason for e in reversed(self._events) if isinstance(e, Finish) and not e.choice), None)

    @property
    def fault(self) -> Fault | None:
        """The fault that ends the stream, if one does."""
        return next((e for e in self._events if isinstance(e, Fault)), None)

    @property
    def duration(self) -> float:
        """Seconds of silence in it."""
        return sum(e.seconds for e in self._events if isinstance(e, Pause))

    @property
    def chunks(self) -> tuple[Event, ...]:
        """The events that a consumer gets to see: all but pauses, faults and raw bytes."""
        return tuple(e for e in self._events if not isinstance(e, NOT_SHOWN))

    @property
    def choices(self) -> tuple[int, ...]:
        """The numbers of the answers in it; `(0,)` for all but requests with several."""
        found: tuple[int, ...] = self._once(
            "choices", lambda: tuple(sorted({choice_of(e) for e in self._events if isinstance(e, (Content, Finish))}))
        )
        return found or (0,)

    def choice(self, number: int) -> Script:
        """Return one of several answers as a script of its own, with what belongs to all of them."""
        if number == 0 and self.choices == (0,):
            return self
        mine = [e for e in self._events if getattr(e, "choice", number) == number]
        return self._new(replace(e, choice=0) if choice_of(e) else e for e in mine)  # type: ignore[call-arg]

    # -- other streams of the same answer ---------------------------------------------------------

    def rechunk(
        self,
        split: Split | None = None,
        *,
        every: int | None = None,
        of: type[Text | Reasoning | Refusal | ToolCall] = Text,
    ) -> Script:
        """Return the same answer in other chunks.

        `split` and `every` are those of `Script.of` and apply to the whole text, as it adds up over the
        chunks; positions count its code points, so no cut can fall inside one. Other events keep their
        place in the text and cut it there. `of=Reasoning` or `Refusal` cuts those instead; `of=ToolCall`
        cuts the arguments of each tool call.
        """
        if of not in SPLITTABLE:
            msg = f"only {', '.join(k.__name__ for k in SPLITTABLE)} can be cut, not {of!r}"
            raise TypeError(msg)
        check_split(split, every)
        return self._new(recut(self._events, of, lambda text: split_text(text, split, every=every)))

    def _position(self, after: int | None) -> int:
        """Return the place of the event that follows `after` chunks."""
        if after is None:
            return len(self._events)
        counts = accumulate((not isinstance(e, NOT_SHOWN) for e in self._events), initial=0)
        place = next((at for at, count in enumerate(counts) if count == after), None)
        if place is None or type(after) is not int:
            msg = f"after={after!r} is no number of chunks: this script has {len(self.chunks)}"
            raise ScriptError(msg)
        return place

    def fail(self, fault: Fault, *, after: int | None = None) -> Script:
        """Return this script broken by the fault after so many chunks, by default at its end."""
        if not isinstance(fault, Fault):
            kinds = ", ".join(name for name, kind in EVENT_TYPES.items() if issubclass(kind, Fault))
            msg = f"{fault!r} is no fault; there are {kinds}"
            raise TypeError(msg)
        return self._new((*self._events[: self._position(after)], fault))

    def pause(self, seconds: float, *, after: int | None = None) -> Script:
        """Return this script with a silence after so many chunks, by default at its end."""
        at = self._position(after)
        return self._new((*self._events[:at], Pause(seconds), *self._events[at:]))

    def paced(self, seconds: float) -> Script:
        """Return this script with a silence before each chunk, beside those it has."""
        pause = Pause(seconds)
        paced: list[Event] = []
        for event in self._events:
            paced += [event] if isinstance(event, NOT_SHOWN) else [pause, event]
        return self._new(paced)

    # -- files (their module loads pydantic, so only on demand) ------------------------------------

    def to_json(self) -> str:
        """Return the script as a JSON document; `from_json` gives an equal script back."""
        from fakellm.script import files as scriptfile

        return scriptfile.to_json(self)

    def to_yaml(self) -> str:
        """Return the script as a YAML document; `from_yaml` gives an equal script back."""
        from fakellm.script import files as scriptfile

        return scriptfile.to_yaml(self)

    @classmethod
    def from_json(cls, document: str) -> Script:
        """Read a JSON document. Raises `ScriptFileError`, which names line and field."""
        from fakellm.script import files as scriptfile

        return scriptfile.from_json(document)

    @classmethod
    def from_yaml(cls, document: str) -> Script:
        """Read a YAML document. Raises `ScriptFileError`, which names line and field."""
        from fakellm.script import files as scriptfile

        return scriptfile.from_yaml(document)

    @classmethod
    def load(cls, path: str | Path) -> Script:
        """Read a `.json`, `.yaml` or `.yml` file. `ScriptFileError` names file, line and field."""
        from fakellm.script import files as scriptfile

        return scriptfile.load(path)

    def save(self, path: str | Path) -> None:
        """Write a `.json`, `.yaml` or `.yml` file; a crash leaves the old file or the new one."""
        from fakellm.script import files as scriptfile

        scriptfile.save(self, path)


def _made(events: tuple[Event, ...], known: dict[str, Any], *, allow_illegal: bool) -> Script:
    """Return a script of events that were checked already."""
    script = Script.__new__(Script)
    script._keep(events, None, known, allow_illegal=allow_illegal)  # noqa: SLF001 - of this file's class
    return script


def _rebuild(parts: tuple[str | Event, ...], allow_illegal: bool) -> Script:  # noqa: FBT001
    return Script(*parts, allow_illegal=allow_illegal)
