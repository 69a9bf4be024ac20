"""How an API's answer differs from the one that was recorded, beside its words: a pure function of two recordings.

What a model says is another thing each time; that is no drift, and neither is into how many chunks it was cut. What is
compared is what an app's code relies on: `RULES` has each kind of difference, with its grade. Breaking is what code
that read the recorded answer cannot be expected to live through; notable is what it can, and somebody should know;
noise is told and means nothing.

An answer that was broken off says nothing of what would have come. So where the recording was, all that is new is
taken for that; where the new one is, that alone is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from fakellm.cassette.outline import WHENEVER, Called, Outline, is_error, offered, outline_of
from fakellm.cassette.pairs import Pair
from fakellm.cassette.shape import FINISHES, MODELS, Path, Seen, Shape, kind_of, shown, word_of
from fakellm.secrets.shapes import PLACEHOLDER
from fakellm.wire.schemas import needed_of, property_of

Grade = Literal["breaking", "notable", "noise"]
GRADES: tuple[Grade, ...] = ("breaking", "notable", "noise")


class Rule(NamedTuple):
    """A kind of difference: its grade, and what it means."""

    grade: Grade
    means: str


RULES = {
    "status-class": Rule("breaking", "the status is of another class: an error for an answer, or the reverse"),
    "status": Rule("notable", "another status of the same class"),
    "format": Rule("breaking", "the body is framed otherwise: JSON for server-sent events"),
    "media-type": Rule("notable", "another `content-type`, and the same framing"),
    "unreadable": Rule("breaking", "the reader of its API cannot read the stream any more"),
    "broken-off": Rule("breaking", "the stream breaks off, and the recorded one came to its end"),
    "error": Rule("breaking", "the provider reports an error in the stream"),
    "event-gone": Rule("breaking", "a kind of event does not come any more, `[DONE]` among them"),
    "event-new": Rule("notable", "a kind of event comes that did not"),
    "order": Rule("notable", "events come in another order; repeats count once"),
    "field-gone": Rule("breaking", "a field does not come any more"),
    "field-new": Rule("notable", "a field comes that did not"),
    "field-rare": Rule("notable", "a field that came with each event of its kind comes with some"),
    "type": Rule("breaking", "a field has another type, or always null"),
    "null": Rule(
        "notable", "a field may be null that never was, is always where it was at times, or is something at last"
    ),
    "number": Rule("notable", "a number was always whole and never is"),
    "item-gone": Rule("notable", "a list has no items, or none of a type, that it had"),
    "item-new": Rule("notable", "a list has items, or some of a type, that it had not"),
    "word": Rule("notable", "a word of the API is another one: a role, a status, the code of an error"),
    "finish": Rule("notable", "another finish reason"),
    "tool": Rule("notable", "a tool is called that was not, or is not that was"),
    "arguments": Rule("breaking", "the arguments of a tool are no JSON object, or lack what its schema requires"),
    "argument-type": Rule("breaking", "an argument of a tool has another type"),
    "argument-gone": Rule("noise", "an argument that its schema does not require is not given"),
    "argument-new": Rule("noise", "an argument is given that was not"),
    "header-gone": Rule("notable", "a header of the provider is gone"),
    "header-kind": Rule("notable", "a header says another kind of thing: a date for a number of seconds"),
    "header-new": Rule("noise", "a header comes that did not"),
    "model": Rule("noise", "another model says that it answered"),
    "event-optional": Rule("noise", "`ping` and its like come, or do not"),
    "recording": Rule("noise", "the recording was broken off: what came behind it is compared with nothing"),
}
"""All kinds of differences."""

_ERRORS = 400
_HINTS = {401: "the key is not taken", 403: "the key may not do this", 429: "too many requests; ask later"}


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference: its rule, what it is, and where: in which kind of event, at which field or header.

    It says no word of an answer, only those of the API.
    """

    rule: str
    reason: str
    event: str | None = None
    field: str | None = None

    @property
    def grade(self) -> Grade:
        """How bad it is."""
        return RULES[self.rule].grade

    @property
    def where(self) -> str:
        """The event and the field in words; nothing for the whole answer."""
        return ", ".join(filter(None, (self.event, self.field)))


def drifts(recorded: Pair, asked: Pair) -> list[Drift]:
    """Return how an answer differs from the recorded one to the same request, the worst first.

    Both are a request and a response as vcrpy keeps them.
    """
    old, new = outline_of(recorded), outline_of(asked)
    found = [*_heads(old, new)]
    if not any(one.rule in ("status-class", "format") for one in found):
        found += _bodies(old, new)
        found += _calls(old.calls, new.calls, offered(recorded[0]), is_whole=old.is_whole and new.is_whole)
    return sorted(found, key=lambda one: GRADES.index(one.grade))


# -- heads --------------------------------------------------------------------------------------------

_OF_THE_WAY = re.compile(
    r"date|server|via|age|connection|keep-alive|transfer-encoding|trailer|vary|priority|expires|etag|last-modified|pragma"
    r"|content-(type|length|encoding|security-policy)|cache-control|set-cookie|accept-ranges|strict-transport-security"
    r"|nel|report-to|reporting-endpoints|server-timing|alt-svc|p3p|referrer-policy|(access-control|cross-origin)-.*"
    r"|x-(content-type-options|frame-options|xss-protection)|(cf|cdn|fly)-.*"
    r"|x-(envoy|amz-cf|cache|served|timer|cloud|render|vercel|nf)(-.*)?"
)
"""Headers of what an answer comes through, which is no part of the API."""
_KINDS = (
    ("a number", re.compile(r"-?\d+(\.\d+)?")),
    ("a duration", re.compile(r"(\d+(\.\d+)?(ms|us|s|m|h|d))+")),
    ("a date", re.compile(r"\d{4}-\d\d-\d\d.*|\w{3}, \d\d? \w{3} \d{4}.*")),
)


def _heads(old: Outline, new: Outline) -> Iterator[Drift]:
    if old.status != new.status:
        is_other = (old.status < _ERRORS) != (new.status < _ERRORS)
        yield Drift("status-class" if is_other else "status", f"{old.status} became {new.status}{_hint(new.status)}")
        if is_other:
            return
    if old.format != new.format and (old.is_whole or old.format != "nothing"):
        yield Drift("format", f"{old.format} became {new.format}")
    elif old.media != new.media:
        yield Drift("media-type", f"{_said(old.media)} became {_said(new.media)}", field="content-type")
    yield from _headers(old.headers, new.headers)


def _headers(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Drift]:
    for name, value in old.items():
        if _OF_THE_WAY.fullmatch(name):
            continue
        if name not in new:
            yield Drift("header-gone", "the header is gone", field=name)
        elif not name.endswith("id") and None not in (kinds := {_header(value), _header(new[name])}) and len(kinds) > 1:
            yield Drift("header-kind", f"{_header(value)} became {_header(new[name])}", field=name)
    for name in new:
        if name not in old and not _OF_THE_WAY.fullmatch(name):
            yield Drift("header-new", "the header is new", field=name)


def _hint(status: int) -> str:
    return f": {_HINTS[status]}" if status in _HINTS else ""


def _said(media: str) -> str:
    return word_of(media) if media else "none"


def _header(value: str) -> str | None:
    """Return what kind of thing a header says; None where nobody knows, since it was redacted."""
    value = value.strip()
    if PLACEHOLDER in value:
        return None
    return next((name for name, pattern in _KINDS if pattern.fullmatch(value)), "a text" if value else None)


# -- bodies -------------------------------------------------------------------------------------------


def _bodies(old: Outline, new: Outline) -> Iterator[Drift]:
    if old.is_whole and not new.is_whole:
        yield Drift("broken-off", f"complete became {new.end}")
    if not old.is_whole:
        yield Drift("recording", f"it was {old.end}, and is {new.end}")
    if new.problem and not old.problem and new.is_whole:
        yield Drift("unreadable", "what fakellm reads this API with cannot read it")
    yield from _events(old, new)
    are_same = old.order and new.order and {*old.order} == {*new.order}
    if are_same and old.is_whole and new.is_whole and old.order != new.order:
        yield Drift("order", f"{' '.join(old.order)} became {' '.join(new.order)}")


def _events(old: Outline, new: Outline) -> Iterator[Drift]:
    for name, shape in old.events.items():
        if name in new.events:
            yield from _fields(name, shape, new.events[name], _Whole(old.is_whole, new.is_whole))
        elif name in WHENEVER:
            yield Drift("event-optional", "it did not come", name)
        elif new.is_whole:
            yield Drift("event-gone", "it does not come any more", name)
    for name in new.events:
        if name not in old.events and (old.is_whole or is_error(name)):
            rule = "event-optional" if name in WHENEVER else "error" if is_error(name) else "event-new"
            yield Drift(rule, "it did not come before", name)


class _Whole(NamedTuple):
    """Whether the recorded answer came to its end, and the new one: of what did not, nothing is missing."""

    old: bool
    new: bool


def _fields(event: str, old: Shape, new: Shape, whole: _Whole) -> Iterator[Drift]:
    """Yield what differs between two shapes of an event."""
    for path, seen in old.items():
        if path in new:
            yield from _values(event, path, seen, new[path], whole)
            if _is_rare(path, old, new):
                yield Drift("field-rare", "it came with each, and comes with some", event, shown(path))
        elif whole.new and path[:-1] in new and _may_have(new[path[:-1]], path):
            is_item = path[-1].startswith("[")
            yield Drift(*_GONE[is_item], event, shown(path))
    for path in new if whole.old else ():
        if path not in old and path[:-1] in old and _may_have(old[path[:-1]], path):
            yield Drift(*_NEW[path[-1].startswith("[")], event, shown(path))


_GONE = (("field-gone", "the field is gone"), ("item-gone", "the list has none any more"))
_NEW = (("field-new", "the field is new"), ("item-new", "the list had none"))


def _may_have(parent: Seen, path: Path) -> bool:
    """Tell whether what a field would be in was ever such that it can have one: null and a text have none."""
    return ("list" if path[-1].startswith("[") else "object") in parent.kinds


def _is_rare(path: Path, old: Shape, new: Shape) -> bool:
    if not path or path[-1].startswith("[") or old[path[:-1]].count < 2:  # noqa: PLR2004 - one proves nothing
        return False
    return old.is_always(path) and not new.is_always(path)


def _values(event: str, path: Path, old: Seen, new: Seen, whole: _Whole) -> Iterator[Drift]:
    """Yield how the values of one field differ."""
    place = shown(path)
    was, now = _plain(old), _plain(new)
    nullable = "null" in old.kinds, "null" in new.kinds
    if was and (more := now - was):
        reason = f"{_listed(was)} may be {_listed(more)}" if was & now else f"{_listed(was)} became {_listed(now)}"
        yield Drift("type", reason, event, place)
    elif was and not now and whole.new:
        yield Drift("null" if nullable[0] else "type", f"{_listed(was)} became null", event, place)
    elif was and nullable == (False, True) and whole.old:
        yield Drift("null", f"{_listed(was)} may be null", event, place)
    elif now and not was and whole.old:
        yield Drift("null", f"null became {_listed(now)}", event, place)
    numbers = {"integer", "number"}
    if old.kinds & numbers == {"integer"} and new.kinds & numbers == {"number"}:
        yield Drift("number", "a whole number became a fraction", event, place)
    if path and (whole.old or path[-1] not in FINISHES):
        yield from _words(event, path, old.words, new.words)


def _plain(seen: Seen) -> set[str]:
    """Return the types of a field, with whole numbers as numbers and without null."""
    return {"number" if kind == "integer" else kind for kind in seen.kinds} - {"null"}


def _listed(kinds: Iterable[str]) -> str:
    return " or ".join(sorted(kinds))


def _words(event: str, path: Path, old: set[str], new: set[str]) -> Iterator[Drift]:
    if not new - old or not old:
        return
    rule = "finish" if path[-1] in FINISHES else "model" if path[-1] in MODELS else "word"
    yield Drift(rule, f"{_listed(old)} became {_listed(new)}", event, shown(path))


# -- tools --------------------------------------------------------------------------------------------


def _calls(old: list[Called], new: list[Called], schemas: Mapping[str, Any], *, is_whole: bool) -> Iterator[Drift]:
    """Yield how the calls of tools differ; the same tool may be called more often."""
    if not is_whole:
        return
    names = dict.fromkeys([*(call.name for call in old), *(call.name for call in new)])
    for name in names:
        was, now = ([call for call in calls if call.name == name] for calls in (old, new))
        place = f"the tool {name}"
        if not was or not now:
            yield Drift("tool", "it is called now" if now else "it is not called any more", field=place)
            continue
        schema = schemas.get(name)
        yield from _arguments(place, was, now, schema if isinstance(schema, Mapping) else {})


def _arguments(place: str, old: list[Called], new: list[Called], schema: Mapping[str, Any]) -> Iterator[Drift]:
    if any(call.arguments is None for call in new) and all(call.arguments is not None for call in old):
        yield Drift("arguments", "its arguments are no JSON object", field=place)
        return
    was, now = _kinds(old), _kinds(new)
    required = needed_of(schema)
    for name, kinds in was.items():
        at = f"{place}, argument {word_of(name)}"
        if name not in now:
            yield Drift("arguments" if name in required else "argument-gone", "it is not given any more", field=at)
        elif (more := now[name] - kinds) and not _allows(schema, name, now[name]):
            yield Drift("argument-type", f"{_listed(kinds)} became {_listed(more)}", field=at)
    for name in now.keys() - was.keys():
        yield Drift("argument-new", "it was not given before", field=f"{place}, argument {word_of(name)}")


def _kinds(calls: Iterable[Called]) -> dict[str, set[str]]:
    """Return the types of each argument over all calls."""
    found: dict[str, set[str]] = {}
    for call in calls:
        for name, value in (call.arguments or {}).items():
            kind = kind_of(value)
            found.setdefault(name, set()).add("number" if kind == "integer" else kind)
    return found


def _allows(schema: Mapping[str, Any], name: str, given: set[str]) -> bool:
    """Tell whether a schema says itself that an argument may be of several types."""
    told = [one.get("type") for one in property_of(schema, name) if isinstance(one, Mapping)]
    kinds = {str(kind).lower() for one in told for kind in (one if isinstance(one, list) else [one])}
    return len(kinds) > 1 and {"array" if kind == "list" else kind for kind in given} <= kinds
