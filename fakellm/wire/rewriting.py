"""Rewrites the steps of a body, as they come: events and lines in another form, compressed, cut.

The theory. A stream is rewritten an event at a time: its lines are held until the blank line that ends it, since only
then is it an event to anybody, so holding them makes nothing late. Whatever else happens in between (a silence, a
fault, bytes of the script's own, the end) lets go of what is held as it was: half an event stays half an event, with
its own line ends, and so does the rest of it when that comes.

Three stages follow each other for each run of pieces: events are rewritten (`Rewriting`), each piece is compressed and
flushed, and what comes out is cut. No stage reads more than the run that it was handed, but for `whole`, which is late
by its nature.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from fakellm.errors import ScriptError
from fakellm.script.events import Pause
from fakellm.wire.codec import Ending, Verbatim
from fakellm.wire.coding import Compressor
from fakellm.wire.hops import Carried
from fakellm.wire.wireform import Framing, WireForm, framing_of

_END = rb"(?>\r\n|\r|\n)"
_BLANK = re.compile(_END + _END)
_LINE_END = re.compile(_END)
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|\{\s*\}|\[\s*\]|[\[{,\]}]|\s+')
_LINE_ENDS = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r"}
_OK = 200
_COMMENT = b": keep-alive"
_REACH = 2
"""Bytes back from which on a line end may begin that the next bytes make a blank line of."""


_FLUSHED = 6
"""Bytes at the most that a flush writes behind what it flushes."""


class Rewriting(Protocol):
    """Rewrites bytes as they come. `tail` is how many bytes at the end of a body nobody waits for."""

    tail: int

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the events that the bytes complete, as they are written."""
        ...

    def verbatim(self, piece: bytes) -> list[bytes]:
        """Return what was held, and bytes that are to stay as they are."""
        ...

    def rest(self) -> list[bytes]:
        """Return what is held, since something else happens first."""
        ...


class Events:
    """Rewrites an event stream. `_held` is of an event what is not out yet, `_sent` the end of what is."""

    def __init__(self, form: WireForm) -> None:
        self._form = form
        self._end = _LINE_ENDS.get(form.line_ends or "")
        self._held = self._sent = b""
        self._after_cr = self._has_begun = False
        self._count = 0
        self.tail = 1 if form.line_ends == "crlf" else 0

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the events that the bytes complete, as they are written."""
        return [*self._first(), *self._fed(piece, keeps=False)] if piece else []

    def verbatim(self, piece: bytes) -> list[bytes]:
        """Return what was held, and bytes that are to stay as they are."""
        return [*self._first(), *self.rest(), *self._fed(piece, keeps=True), *self.rest()] if piece else []

    def rest(self) -> list[bytes]:
        """Return what is held, since something else happens first."""
        held, self._held = self._held, b""
        self._sent = (self._sent + held)[-_REACH:]
        return [held] if held else []

    def _first(self) -> list[bytes]:
        """Return what comes before everything."""
        if self._has_begun:
            return []
        self._has_begun = True
        return [codecs.BOM_UTF8] if self._form.bom else []

    def _fed(self, piece: bytes, *, keeps: bool) -> list[bytes]:
        found: list[bytes] = []
        if self._after_cr:  # the CR that ended the last event was half of its line end, if a LF follows
            self._after_cr = False
            if piece[:1] == b"\n":
                found, piece = [b"\n"] if keeps or self._form.only_cuts else [], piece[1:]
        data = self._sent + self._held + piece
        start, at = len(self._sent), max(len(data) - len(piece) - _REACH, 0)
        is_begun, self._held = bool(self._sent), b""
        while True:
            match = None if is_begun else _LINE_END.match(data, start)  # an event of no lines
            match = match or _BLANK.search(data, at if is_begun else max(at, start))
            if match is None:
                self._held = data[start:]
                return found
            block, start = data[start : match.end()], match.end()
            found += [block] if keeps or is_begun else self._written(block)
            is_begun, self._sent = False, b""
            self._after_cr = start == len(data) and block.endswith(b"\r")

    def _written(self, block: bytes) -> list[bytes]:
        """Return an event with its blank line as it is written, and what stands before it."""
        form = self._form
        if form.only_cuts:
            return [block]
        end = self._end = self._end or _LINE_END.search(block)[0]  # type: ignore[index]
        lines = [_Line.of(line) for line in _LINE_END.split(block) if line]
        is_event = any(line.name == b"data" for line in lines)
        before: list[bytes] = []
        if is_event:
            more = self._marks({line.name for line in lines})
            if form.comments == "first" and not self._count:
                before.append(_COMMENT + end + end)
            if form.retry is not None and not self._count:
                retry = _Line(b"retry", b"%d" % form.retry)
                if form.alone:
                    before.append(retry.written(space=form.space) + end + end)
                else:
                    more.append(retry)
            if form.comments == "between" and self._count:
                before.append(_COMMENT + end + end)
            lines = [*more, *lines]
            self._count += 1
        if form.data_lines == "pretty" and _TEXTS.isdisjoint(lines):
            lines = [spread for line in lines for spread in line.spread()]
        if form.comments == "inside" and is_event:
            lines.insert(1, _Line(b"", _COMMENT[2:]))
        written = end.join([*(line.written(space=form.space) for line in lines), b""]) + end
        return [*before, written]

    def _marks(self, names: set[bytes]) -> list[_Line]:
        """Return the lines that an event gets beside those that it has."""
        more = [_Line(b"event", b"message")] if self._form.event_names and b"event" not in names else []
        return [*more, *([_Line(b"id", b"%d" % self._count)] if self._form.ids and b"id" not in names else [])]


class _Line(NamedTuple):
    """A field of an event, a comment if it has no name; a value of None is a name without a colon."""

    name: bytes
    value: bytes | None

    @classmethod
    def of(cls, line: bytes) -> _Line:
        name, colon, value = line.partition(b":")
        return cls(name, value.removeprefix(b" ") if colon else None)

    def written(self, *, space: bool) -> bytes:
        """Return the line; a value that begins with a space keeps the one before it, which does not count."""
        if self.value is None:
            return self.name
        return self.name + (b": " if space or self.value[:1] == b" " else b":") + self.value

    def spread(self) -> list[_Line]:
        """Return the lines that a line of JSON becomes if it is spread over several: cut where space means nothing."""
        if self.name != b"data" or self.value is None or self.value[:1] not in (b"{", b"["):
            return [self]
        try:
            json.loads(self.value)
        except (ValueError, RecursionError):
            return [self]
        return [_Line(b"data", line) for line in _spread(self.value).split(b"\n")]


_TEXTS = frozenset({_Line(b"event", b"output"), _Line(b"event", b"logs")})
"""What an event has whose data are a text, though it may look like JSON: Replicate's, the only such stream."""


def _spread(document: bytes) -> bytes:
    """Return JSON with a line for each of its members, its texts and numbers as they are written."""
    depth = 0

    def put(match: re.Match[bytes]) -> bytes:
        nonlocal depth
        token = match[0]
        if token.isspace() or len(token) > 1:  # between tokens; a text, or something that is empty
            return token.strip() if token[:1] != b'"' else token
        depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(token, 0)
        line = b"\n" + b"  " * depth
        return line + token if token in b"}]" else token + line

    return _TOKEN.sub(put, document)


class Lines:
    """Rewrites a stream of lines of JSON, of which only their ends may be others."""

    tail = 0

    def __init__(self, form: WireForm) -> None:
        self._end = _LINE_ENDS.get(form.line_ends or "")
        self._held = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the lines that the bytes complete."""
        *lines, self._held = (self._held + piece).split(b"\n")
        return [line + b"\n" if self._end is None else line.removesuffix(b"\r") + self._end for line in lines]

    def verbatim(self, piece: bytes) -> list[bytes]:
        """Return what was held, and bytes that are to stay as they are."""
        return [*self.rest(), piece]

    def rest(self) -> list[bytes]:
        """Return what is held, since something else happens first."""
        held, self._held = self._held, b""
        return [held] if held else []


class Cutting:
    """Cuts what is sent: into `"bytes"`, so many bytes, one piece for `"whole"`; else as it comes, piece by piece.

    A run is cut by itself, so that no byte of it waits for those of the next.
    """

    def __init__(self, pieces: str | int | None) -> None:
        self.is_whole = pieces == "whole"
        self.keeps_events = pieces == "events"
        self._size = 1 if pieces == "bytes" else pieces if isinstance(pieces, int) else None
        self._all: list[bytes] = []

    def run(self, pieces: list[bytes]) -> list[bytes]:
        """Return the pieces of a run as they are sent now."""
        if self.is_whole:
            self._all += pieces
            return []
        if self._size is None:
            return pieces
        data, size = b"".join(pieces), self._size
        return [data[at : at + size] for at in range(0, len(data), size)]

    def last(self, pieces: list[bytes], tail: int) -> Ending:
        """Return the last run of a message that is whole, in which nobody waits for so many bytes at its end."""
        ending = Ending([*self.run(pieces), *self.rest()])
        for piece in reversed(ending) if self._size is not None else ():
            tail -= len(piece)
            if tail < 0:
                break
            ending.slack += 1
        return ending

    def rest(self) -> list[bytes]:
        """Return what waited for the end, since here it is."""
        whole, self._all = b"".join(self._all), []
        return [whole] if whole else []


class _Stages:
    """The stages, one after the other, for one body."""

    def __init__(self, rewriting: Rewriting | None, compressor: Compressor | None, cutting: Cutting) -> None:
        self._rewriting = rewriting
        self._compressor = compressor
        self._cutting = cutting

    def run(self, run: list[bytes]) -> list[bytes]:
        """Return a run as it is sent."""
        return self._cutting.run(self._packed(self._rewritten(run)))

    def last(self, run: list[bytes]) -> Ending:
        """Return the last run of a message that is whole."""
        pieces, tail = self._rewritten(run), 0
        if self._rewriting is not None:
            pieces, tail = [*pieces, *self._rewriting.rest()], self._rewriting.tail
        pieces = self._packed(pieces)
        if self._compressor is not None:
            end = self._compressor.finish()
            tail += _FLUSHED + len(end)
            pieces = [*pieces[:-1], b"".join([*pieces[-1:], end])]
        return self._cutting.last(pieces, tail)

    def rest(self) -> list[bytes]:
        """Return what is held, since the body breaks off or waits."""
        held = self._rewriting.rest() if self._rewriting is not None else []
        return self._cutting.run(self._packed(held))

    def broken(self) -> list[bytes]:
        """Return what is held, since the body breaks off."""
        return [*self.rest(), *self._cutting.rest()]

    def _rewritten(self, run: list[bytes]) -> list[bytes]:
        if self._rewriting is None:
            return [piece for piece in run if piece]
        found: list[bytes] = []
        for piece in run:
            verbatim = isinstance(piece, Verbatim)
            blocks = self._rewriting.verbatim(piece) if verbatim else self._rewriting.feed(piece)
            found += blocks if self._cutting.keeps_events else filter(None, [b"".join(blocks)])
        return found

    def _packed(self, pieces: list[bytes]) -> list[bytes]:
        return pieces if self._compressor is None else [self._compressor.feed(piece) for piece in pieces]


def rewritten(
    steps: Iterable[Any], rewriting: Rewriting | None, compressor: Compressor | None, cutting: Cutting
) -> Iterator[Any]:
    """Yield the steps of a body as they are sent, each when the one that it comes from was taken."""
    stages = _Stages(rewriting, compressor, cutting)
    for step in steps:
        if type(step) is Ending:
            yield stages.last(step)
        elif type(step) is list:
            if run := stages.run(step):
                yield run
        else:
            if run := stages.rest() if isinstance(step, Pause) else stages.broken():
                yield run
            yield step
    if run := stages.broken():
        yield run


@dataclass(frozen=True, slots=True)
class Writing:
    """A hop that writes answers in a form, as far as their framing has it.

    If it `is_asked` of one answer, a stream that has no place for all of it is a mistake, a `ScriptError`. A body that
    somebody compressed already is only cut.
    """

    form: WireForm
    is_asked: bool = False

    def carry(self, answer: Carried) -> Carried:
        """Return an answer as it is written."""
        is_coded = bool(answer.header("content-encoding"))
        framing = "other" if is_coded else framing_of(answer.header("content-type"))
        form = self.form.fitting(framing)
        if self.is_asked and form != self.form:
            self._check(answer, framing)
        changed = not form.only_cuts
        encoding = None if is_coded else form.encoding
        if not answer.status or not (changed or encoding or form.pieces):
            return answer
        headers = list(answer.headers)
        if changed or encoding:
            headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
            if not answer.header("transfer-encoding"):
                headers.append(("transfer-encoding", "chunked"))
        if encoding:
            headers.append(("content-encoding", encoding))
        rewriting = _rewriting(form, framing) if changed or form.pieces == "events" else None
        compressor = Compressor(encoding) if encoding else None
        steps = rewritten(answer.steps, rewriting, compressor, Cutting(form.pieces))
        return replace(answer, headers=headers, steps=steps)

    def _check(self, answer: Carried, framing: Framing) -> None:
        kind = answer.header("content-type")
        if answer.streams and answer.status == _OK and not answer.header("content-length"):
            what = "lines of JSON" if framing == "lines" else "no server-sent events"
            msg = (
                f"the form of the reply has {', '.join(self.form.lost(framing))}, for which {what} have no place, and "
                f"this stream is {kind}; leave it out, or say it of the provider, .speak(...), whose answers take of a "
                "form what they can"
            )
            raise ScriptError(msg)


def _rewriting(form: WireForm, framing: Framing) -> Rewriting | None:
    """Return what rewrites the bytes of a framing, or cuts them at its events; None if they stay as they are."""
    if framing == "events":
        return Events(form)
    return Lines(form) if framing == "lines" else None
