"""What the grammars of all APIs share: rules as data, problems with their places, JSON that is read without trust.

A grammar is a small state machine. It is given the events of one body, one after the other, and notes which rule each
breaks and where. It raises for nothing that the bytes say. One broken thing is one problem: what breaks the same
rule at the same place again is counted, not repeated; after an event that could not be read, or an error of the
provider, nothing is said to be missing; and what cannot be followed any more is not judged.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from fakellm.errors import clip
from fakellm.wire.objects import sound
from fakellm.wire.openai.profiles import OPENAI, Profile

_DEPTH = 200
_MARK = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)

MISSING: Any = type("Missing", (), {"__repr__": lambda _: "nothing"})()
"""Stands for a field that is not there."""

STRICT = Profile("strict")
"""The profile of the reference itself: nobody's habit is allowed, the provider's own neither."""

Waiver = Callable[[Any], bool]
"""Tells whether a service with this profile breaks the rule by habit."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a grammar. `id` is stable, `why` says who relies on it, `source` where it is written.

    `waiver` is None for what every service keeps that was counted.
    """

    id: str
    sentence: str
    why: str
    source: str
    waiver: Waiver | None = None

    def holds(self, profile: Profile | None) -> bool:
        """Tell whether the rule holds for a profile; None is any service at all."""
        if self.waiver is None or profile is None:
            return self.waiver is None
        return not (getattr(profile, "varies", False) or self.waiver(profile))


def others(_: Profile) -> bool:
    """Waive a rule that services without a profile break, and none that has one."""
    return False


def rule_table(prefix: str, source: str, *rows: tuple[Any, ...]) -> dict[str, Rule]:
    """Return rules by their short names. A row is a name, a sentence, a reason, and maybe a waiver."""
    return {name: Rule(f"{prefix}.{name}", sentence, why, source, *waiver) for name, sentence, why, *waiver in rows}


@dataclass(frozen=True, slots=True)
class Sent:
    """An event of a body: its number and its line, both from 1, and the byte, from 0, at which it begins.

    The number is None for lines between events.
    """

    number: int | None
    line: int
    offset: int
    data: str = ""
    name: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class WireProblem:
    """A rule that is broken at one place.

    `event` is the number of the event, from 1, None for the end of the body and for what is no event; `name` is its
    SSE name, or None. `line` counts from 1, `offset` counts bytes from 0, both to where the event begins. `path` is
    the place in its JSON, as in `choices[0].delta`, empty for the whole. `more` counts later events that break the
    same rule at the same place.
    """

    rule: Rule
    event: int | None
    name: str | None
    line: int
    offset: int
    path: str
    found: str
    expected: str
    more: int = 0

    def __str__(self) -> str:
        return "\n".join([f"{self.rule.id}: {self.rule.sentence}", *(f"  {row}" for row in self._rows())])

    def _rows(self) -> Iterator[str]:
        what = "the body" if self.event is None else f"event {self.event}"
        name = f" ({self.name})" if self.name else ""
        yield f"where:     {what}{name}, line {self.line}, byte {self.offset}{f', {self.path}' if self.path else ''}"
        yield f"found:     {self.found}"
        yield f"expected:  {self.expected}"
        yield f"why:       {self.rule.why}"
        yield f"{' ' * 11}[{self.rule.source}]"
        if self.more:
            yield f"more:      {self.more} later event{'s' if self.more > 1 else ''} with the same"


def shown(value: object) -> str:
    """Return a value as JSON for the eyes of a reader, with its middle left out where it is long."""
    return "nothing" if value is MISSING else said(json.dumps(value, ensure_ascii=False))


def said(text: str) -> str:
    """Return a text as it stands, cut to a readable length."""
    return clip(sound(text), 160)


class Grammar(ABC):
    """The grammar of one API, for one body: `take` each event, then `close`; `problems` is what was found.

    `profile` is None for any service at all. `offset` and `line` are to be set to where the body ends before `close`.
    `rules` are by their short names, `content_type` among them; `content_types` are those that a stream may have.
    `frames` cuts a body into events; None does it as for server-sent events, whose rules are then the grammar's too.
    """

    api: ClassVar[str]
    rules: ClassVar[dict[str, Rule]]
    content_types: ClassVar[tuple[str, ...]] = ("text/event-stream",)
    frames: ClassVar[Any] = None

    def __init__(self, profile: Profile | None = OPENAI, ignored: frozenset[str] = frozenset()) -> None:
        self.profile = profile
        self.events = 0
        self.line, self.offset = 1, 0
        self.is_lost = False
        self.is_failed = False
        self._ignored = ignored
        self._found: dict[tuple[str, str], WireProblem] = {}
        self._at: Sent | None = None

    @property
    def problems(self) -> tuple[WireProblem, ...]:
        """What was found so far, in the order of the body."""
        return tuple(self._found.values())

    def take(self, sent: Sent) -> None:
        """Take the next event."""
        self.events += 1
        self._at = sent
        self.event(sent)
        self._at = None

    @abstractmethod
    def event(self, sent: Sent) -> None:
        """Judge an event."""

    @abstractmethod
    def close(self) -> None:
        """Judge the end of the body."""

    def holds(self, name: str) -> bool:
        """Tell whether a rule holds here, by its short name."""
        return self.rules[name].holds(self.profile)

    def broken(self, name: str, path: str, found: str, expected: str, *, at: Sent | None = None) -> None:
        """Note that a rule is broken, in this event or an earlier one."""
        rule, at = self.rules[name], at or self._at
        if rule.id in self._ignored or not rule.holds(self.profile):
            return
        before = self._found.get((name, path))
        if before is not None:
            self._found[name, path] = replace(before, more=before.more + 1)
        elif at is None:
            self._found[name, path] = WireProblem(rule, None, None, self.line, self.offset, path, found, expected)
        else:
            where = at.number, at.name, at.line, at.offset
            self._found[name, path] = WireProblem(rule, *where, path, found, expected)

    def missing(self, name: str, found: str, expected: str) -> None:
        """Note at the end that something did not come, unless it may have been in what could not be read."""
        if not (self.is_lost or self.is_failed):
            self.broken(name, "", found, expected)

    def lose(self, found: str, expected: str) -> None:
        """Note an event that cannot be read; from here on nothing is said to be missing."""
        self.is_lost = True
        self.broken("json", "", said(found), expected)

    def object(self, sent: Sent, expected: str = "a JSON object") -> Place | None:
        """Return the object that an event's data is; None, and a problem, for what is none."""
        value = json_object(sent.data)
        if value is None:
            self.lose(sent.data, expected)
            return None
        return Place(self, value, "")


def json_object(text: str) -> dict[str, Any] | None:
    """Return the object that a text is in JSON; None where it is none, or nested deeper than any API's are."""
    if text.count("[") + text.count("{") > _DEPTH and _depth(text) > _DEPTH:
        return None
    try:
        value = _DECODER.decode(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _no_constant(name: str) -> Any:
    """Refuse NaN and the infinities, which Python reads and JSON does not have."""
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _depth(text: str) -> int:
    """Return how deep a text is nested, as if it were JSON."""
    depth = most = 0
    for mark in _MARK.findall(text):
        depth += 1 if mark in ("[", "{") else -1 if mark in ("]", "}") else 0
        most = max(most, depth)
    return most


_FOLLOWED = ("shape", "choice_index", "tool_index", "block_index")
"""The rules about fields that later events are judged by."""
_KINDS: dict[type, str] = {str: "a string", int: "an integer", dict: "an object", list: "a list", bool: "true or false"}


@dataclass(slots=True)  # not frozen: thousands are made for a stream, and each field of a frozen one is set by a call
class Place:
    """A value in an event's JSON, with its path; what is read of it and is of another kind becomes a problem."""

    grammar: Grammar
    value: Any
    path: str

    def __getitem__(self, key: str) -> Place:
        value = self.value.get(key, MISSING) if isinstance(self.value, dict) else MISSING
        return Place(self.grammar, value, f"{self.path}.{key}" if self.path else key)

    def __iter__(self) -> Iterator[Place]:
        """Go through the objects of a list."""
        for number, value in enumerate(self.value if isinstance(self.value, list) else ()):
            place = Place(self.grammar, value, f"{self.path}[{number}]")
            if place.object() is not None:
                yield place

    @property
    def is_nothing(self) -> bool:
        """Whether the field is absent or null."""
        return self.value is MISSING or self.value is None

    @property
    def shown(self) -> str:
        """The value, for a message."""
        return shown(self.value)

    def _as(self, kind: type, rule: str, expected: str) -> Any:
        if isinstance(self.value, kind) and (kind is bool or not isinstance(self.value, bool)):
            return self.value
        self.broken(rule, expected or _KINDS[kind])
        self._unread(rule)
        return None

    def _unread(self, rule: str) -> None:
        """Note that what is here cannot be followed: what comes later may look wrong because of it."""
        if rule in _FOLLOWED and self.grammar.holds(rule):
            self.grammar.is_lost = True

    def text(self, rule: str = "shape", expected: str = "") -> str | None:
        """Return the string that is here; None, and a problem, for what is none."""
        found: str | None = self._as(str, rule, expected)
        return found

    def integer(self, rule: str = "shape", expected: str = "an integer from 0") -> int | None:
        """Return the integer, from 0, that is here; None, and a problem, for what is none."""
        found: int | None = self._as(int, rule, expected)
        if found is not None and found < 0:
            self.broken(rule, expected)
            self._unread(rule)
            return None
        return found

    def object(self, rule: str = "shape", expected: str = "") -> Place | None:
        """Return this place, if an object is here; None, and a problem, for what is none."""
        return None if self._as(dict, rule, expected) is None else self

    def list(self, rule: str = "shape", expected: str = "") -> Place | None:
        """Return this place, if a list is here; None, and a problem, for what is none."""
        return None if self._as(list, rule, expected) is None else self

    def name(self, rule: str, expected: str = "a string that is not empty") -> str | None:
        """Return the string that is here and not empty; None, and a problem, for what is none."""
        found = self.text(rule, expected)
        if found == "":
            self.broken(rule, expected)
        return found or None

    def maybe_text(self, rule: str = "shape") -> str:
        """Return the string that is here; an empty one where there is nothing, and with a problem for another kind."""
        return "" if self.is_nothing else self.text(rule, "a string, or null") or ""

    def maybe_list(self, rule: str = "shape") -> Place:
        """Return the list that is here; an empty one where there is nothing, and with a problem for another kind."""
        empty = Place(self.grammar, [], self.path)
        return empty if self.is_nothing else self.list(rule, "a list, or null") or empty

    def maybe_object(self, rule: str = "shape") -> Place | None:
        """Return the object that is here; None where there is nothing, and with a problem for another kind."""
        return None if self.is_nothing else self.object(rule, "an object, or null")

    def sum(self, rule: str, *names: str) -> None:
        """Judge whether `total_tokens` is the fields of these names together; the first that is no count is said."""
        total = 0
        for name in names:
            count = self[name].integer(rule)
            if count is None:
                return
            total += count
        if self["total_tokens"].integer(rule) not in (None, total):
            self["total_tokens"].broken(rule, str(total))

    def broken(self, rule: str, expected: str, found: str | None = None) -> None:
        """Note that a rule is broken here."""
        self.grammar.broken(rule, self.path, self.shown if found is None else found, expected)


def joined_object(texts: list[str]) -> str | None:
    """Return the pieces, joined, that do not add up to a JSON object; None where they do."""
    whole = "".join(texts)
    return None if json_object(whole) is not None else said(whole) or "an empty text"
