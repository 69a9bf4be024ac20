"""Every way in which an answer can break, at every position: scripts that each die once.

The theory. A fault is a position, which is how many chunks were delivered before it, and a tail of events that come
instead of the rest. Up to the finish reason each of them leaves the answer incomplete, so a consumer that takes one of
them for a whole answer is wrong, whatever it is. What comes after the finish reason is another matter: such oddities
may be taken or refused, and are swept only if they are asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from itertools import islice
from typing import Any, NamedTuple

from fakellm.errors import ContractUsageError, ScriptError, clip
from fakellm.script.events import (
    Event,
    Finish,
    Raw,
    Reasoning,
    Text,
    ToolCall,
    disconnect,
    http_error,
    provider_error,
    stall,
)
from fakellm.script.script import NOT_SHOWN, Script
from fakellm.wire.gateways.gateway import Gateway

Only = tuple[Any, ...]
"""One fault by itself: how many chunks come before it, then the events of its tail."""


class Break(NamedTuple):
    """A way to break: the group it belongs to, how it is called, what comes instead of the rest, what it breaks."""

    kind: str
    name: str
    tail: tuple[Event, ...]
    contract: str = "truncation"


_PAGE = "<html><h1>Bad gateway</h1></html>"
ANYWHERE = (
    Break("disconnect", "clean end", (disconnect("end"),)),
    Break("disconnect", "reset", (disconnect("reset"),)),
    Break("disconnect", "close", (disconnect("close"),)),
    Break("disconnect", "cut inside the next event", (disconnect("cut"),)),
    Break("provider_error", "error in the stream", (provider_error(),), "in_band_error"),
    Break("provider_error", "error as a named event", (provider_error(named=True),), "in_band_error"),
    Break("malformed", "broken JSON", (Raw('data: {"broken\n\n'), disconnect("end"))),
    Break("stall", "stall", (stall(),), "producer_dies"),
)
_FIRST = (
    Break("connect", "connection refused", (disconnect("refused"),), "producer_dies"),
    Break("connect", "closed without an answer", (disconnect("no_response"),), "producer_dies"),
    Break("connect", "no connection in time", (stall("connect"),), "producer_dies"),
    Break("stall", "no headers", (stall("headers"),), "producer_dies"),
    *(
        Break("http_error", f"HTTP {status}", (http_error(status),), "producer_dies")
        for status in (400, 401, 404, 408, 409, 429, 500, 529)
    ),
    Break("http_error", "HTTP 429 with retry-after", (http_error(429, retry_after=0.01),), "producer_dies"),
    Break("http_error", "HTTP 502 with a page", (http_error(502, body=_PAGE),), "producer_dies"),
)
_ODD = (
    *(b._replace(kind="oddities", contract="finish") for b in ANYWHERE if b.kind in ("disconnect", "stall")),
    Break("oddities", "a second finish", (Finish(),), "finish"),
    Break("oddities", "another finish", (Finish("length"),), "finish"),
    Break("oddities", "text", (Text("LATE"),), "finish"),
    Break("oddities", "text and a finish", (Text("LATE"), Finish()), "finish"),
)
INCOMPLETE = tuple(dict.fromkeys(b.kind for b in (*ANYWHERE, *_FIRST)))
"""The groups of faults that leave an answer incomplete: what is swept by default."""
KINDS = (*INCOMPLETE, "oddities")
"""All groups of faults."""


class Faulty(Script):
    """A script that dies once: a `Script` for whatever takes one, and where and how it dies.

    `after` is how many chunks come before the fault, `fault` what strikes (None where it is none, as in an oddity),
    `kind` the group of the fault, `label` both in words, `text` what was said before it, and `whole` the script
    without it. Told to the fake of a provider it arrives as it does behind its `gateways`.
    """

    __slots__ = ("after", "contract", "gateways", "kind", "label", "tail", "whole")

    after: int
    contract: str
    gateways: tuple[Gateway, ...]
    kind: str
    label: str
    tail: tuple[Event, ...]
    whole: Script

    @classmethod
    def of_break(cls, whole: Script, after: int, way: Break) -> Faulty:
        """Return the script that breaks in this way after so many chunks."""
        events = (*_head(whole, after), *way.tail)
        faulty = cls(*events, allow_illegal=whole.allow_illegal or way.kind == "oddities")
        label = f"{way.name} {_place(faulty, after)}" if way.name else "no fault"
        given = {"after": after, "contract": way.contract, "kind": way.kind, "label": label, "tail": way.tail}
        given["gateways"] = ()
        for name, value in {**given, "whole": whole}.items():
            object.__setattr__(faulty, name, value)
        return faulty

    @property
    def only(self) -> str:
        """What to write to get this fault alone: `only=(3, disconnect())`."""
        return f"only=({', '.join(map(repr, (self.after, *self.tail)))})"


def _head(whole: Script, after: int) -> Sequence[Event]:
    """Return the events up to the one that follows `after` chunks."""
    events: list[Event] = []
    count = 0
    for event in whole:
        if count == after:
            break
        events.append(event)
        count += not isinstance(event, NOT_SHOWN)
    return events


def _place(faulty: Script, after: int) -> str:
    """Say where the fault is, by the text before it or by the event before it."""
    if not after:
        return "before the first chunk"
    last = next(islice((e for e in faulty if not isinstance(e, NOT_SHOWN)), after - 1, None))
    if isinstance(last, Finish):
        return f"after the finish, chunk {after}"
    if not isinstance(last, Text):
        return f"after {clip(repr(last), 60)}, chunk {after}"
    text = "".join(e.text for e in faulty.chunks[:after] if isinstance(e, Text))
    longest = 30
    return f"after {text!r}" if len(text) <= longest else f"after …{text[-longest:]!r}, chunk {after}"


# -- all of them ------------------------------------------------------------------------------------------


def positions(script: Script) -> range:
    """Return the positions at which a fault leaves the answer incomplete: up to its finish reason."""
    chunks = script.chunks
    finish = next((at for at, chunk in enumerate(chunks) if isinstance(chunk, Finish)), len(chunks))
    return range(finish + 1)


def variants(script: Script, kinds: Iterable[str] | None = None, only: Only | None = None) -> list[Faulty]:
    """Return the script broken at every position in every way, the earliest and simplest first.

    Raises `ContractUsageError` for a script that breaks already or has nothing to break.
    """
    _check(script)
    if only is not None:
        return [_chosen(script, only)]
    wanted = _kinds(kinds)
    return [faulty for faulty in _every(script) if faulty.kind in wanted]


def _every(script: Script) -> Iterator[Faulty]:
    for after in positions(script):
        for way in (*ANYWHERE, *(() if after else _FIRST)):
            yield Faulty.of_break(script, after, way)
    finished, after = _finished(script)
    for way in _ODD:
        yield Faulty.of_break(finished, after, way)


def _finished(script: Script) -> tuple[Script, int]:
    """Return the script up to its finish reason, which it gets if it has none, and how many chunks that is."""
    end = positions(script)[-1]
    finish = next((event for event in script if isinstance(event, Finish)), Finish())
    finished = Script(*_head(script, end), finish, allow_illegal=script.allow_illegal)
    return finished, end + 1


def _chosen(script: Script, only: Only) -> Faulty:
    """Return one fault, as `Faulty.only` words it."""
    form = "write only=(3, disconnect()): how many chunks come before the fault, then the fault"
    if not isinstance(only, tuple) or len(only) < 2 or type(only[0]) is not int:  # noqa: PLR2004 - a place, a tail
        msg = f"only={only!r} is no fault of a sweep; {form}"
        raise ContractUsageError(msg)
    after, *tail = only
    known = next((way for way in (*ANYWHERE, *_FIRST, *_ODD) if way.tail == tuple(tail)), None)
    odd = after > positions(script)[-1]
    script = _finished(script)[0] if odd else script
    if not 0 <= after <= len(script.chunks):
        msg = f"only={only!r} comes after {after} chunks, and the script has {len(script.chunks)}; {form}"
        raise ContractUsageError(msg)
    way = known or Break("given", "fault", tuple(tail))
    if odd:
        way = way._replace(kind="oddities", contract="finish")
    try:
        return Faulty.of_break(script, after, way)
    except (ScriptError, TypeError) as error:
        msg = f"only={only!r} cannot be: {error}"
        raise ContractUsageError(msg) from error


def _check(script: object) -> None:
    if inspect.isroutine(script):
        msg = f"a sweep needs the answer that it breaks; write @every_fault(script) above {script.__name__}"
        raise ContractUsageError(msg)
    if not isinstance(script, Script):
        hint = "; write Script.of(text), or Script('one ', 'two')" if isinstance(script, str) else ""
        msg = f"a sweep of faults breaks a Script or a Tape, not {clip(repr(script), 80)}{hint}"
        raise ContractUsageError(msg)
    if script.fault is not None:
        msg = f"the script breaks already, by {script.fault!r}; give the whole answer, the sweep breaks it"
        raise ContractUsageError(msg)
    if not any(not isinstance(chunk, Finish) for chunk in script.chunks):
        msg = f"{script!r} has no chunk, so nothing of it can be lost; give an answer with a text or a tool call"
        raise ContractUsageError(msg)


def _kinds(kinds: Iterable[str] | None) -> Sequence[str]:
    if kinds is None:
        return INCOMPLETE
    wanted = [kinds] if isinstance(kinds, str) else list(kinds)
    for kind in wanted:
        if kind not in KINDS:
            near = get_close_matches(str(kind), KINDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "there are " + ", ".join(KINDS)
            msg = f"there is no kind of fault {kind!r}; {hint}"
            raise ContractUsageError(msg)
    if not wanted:
        msg = f"kinds is empty, so nothing would be swept; there are {', '.join(KINDS)}"
        raise ContractUsageError(msg)
    return wanted


# -- what an oracle is tried on ---------------------------------------------------------------------------

_NONE = Break("none", "", ())


def unbroken(script: Script) -> Faulty:
    """Return the complete answer, as one more variant: its `fault` is None."""
    return Faulty.of_break(script, len(script.chunks), _NONE)


def ended(script: Script, after: int) -> Faulty:
    """Return the first chunks of an answer as if they were all of it: its finish follows them."""
    return _complete(script, _head(script, after) if after else [Text("")])


def half(script: Script) -> Faulty | None:
    """Return half of an answer that ends like a whole one; None where the answer has no half."""
    end = positions(script)[-1]
    if end > 1:
        return ended(script, end // 2)
    cut = _halved(script.chunks[0])
    return None if cut is None else _complete(script, [*_head(script, 1)[:-1], cut])


def _complete(script: Script, events: Sequence[Event]) -> Faulty:
    finish = [event for event in script if isinstance(event, Finish)]
    found = unbroken(Script(*events, *finish, allow_illegal=True))
    object.__setattr__(found, "whole", script)  # a test may compare what came with the whole answer
    return found


def _halved(event: Event) -> Event | None:
    if isinstance(event, (Text, Reasoning)) and len(event.text) > 1:
        return replace(event, text=event.text[: len(event.text) // 2])
    if isinstance(event, ToolCall) and event.arguments:
        cut = event.arguments[: len(event.arguments) // 2]
        return ToolCall(event.name, cut, id=event.id, index=event.index, choice=event.choice)
    return None
