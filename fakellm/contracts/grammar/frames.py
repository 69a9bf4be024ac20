"""How a body is cut into events, and where each of them begins; the rules that all event streams keep.

Source: WHATWG, HTML Living Standard, 9.2 "Server-sent events". Bytes may come in any pieces.
"""

from __future__ import annotations

from typing import Protocol

from fakellm.contracts.grammar.rules import Grammar, Sent, others, rule_table, said
from fakellm.errors import WireError
from fakellm.wire.sse import SSE, SSEDecoder

_BOM = b"\xef\xbb\xbf"
_FIELDS = (b"", b"data", b"event", b"id", b"retry")

SSE_RULES = rule_table(
    "sse", "HTML Living Standard, 9.2.6 Interpreting an event stream",
    ("content_type", "an event stream comes as `text/event-stream`, and with the status 200",
     "clients choose by the content type how to read a body, and by the status whether to read it as a stream"),
    ("stream", "the body is an event stream, and not empty",
     "clients pass over lines that are no fields, so a page or a document gives a stream without events"),
    ("field", "a line is a field (`data`, `event`, `id`, `retry`) or a comment",
     "clients pass over any other line, and what it says is lost"),
    ("utf8", "the bytes are UTF-8", "OpenAI's SDK raises UnicodeDecodeError; other clients replace what is not"),
    ("json", "the data of an event is one JSON object",
     "the official SDKs raise JSONDecodeError, or AttributeError for JSON that is no object"),
    ("whole", "the body does not end inside an event",
     "the official SDKs drop the event that is cut off, and say nothing; the answer looks whole"),
    ("blank_line", "a blank line ends the last event",
     "the standard drops an event that none ends, and so do OpenAI's and Anthropic's SDKs; Google's reads it", others),
)  # fmt: skip
"""The rules that all event streams keep, by their short names."""


class Frames(Protocol):
    """Cuts a body into events and gives them to a grammar."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        ...

    def close(self) -> None:
        """Take the end of the body."""
        ...


def looks_like(text: str) -> str:
    """Say what a body is that is no event stream."""
    begin = text.lstrip("\ufeff \t\r\n")
    if begin.startswith("<"):
        return f"an HTML or XML page: {said(begin)}"
    if begin.startswith(("{", "[")):
        return f"JSON, a document or lines of it: {said(begin)}"
    return f"text that is no event stream: {said(begin)}"


class EventFrames:
    """Cuts an event stream. `has_begun` tells whether a field or a comment came."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.has_begun = False
        self.is_dead = False
        self._parts: list[bytes] = []
        self._may_end = False  # what came last is "\r": a line end, or half of one
        self._lines = 0
        self._offset = 0
        self._decoder = SSEDecoder(flush=True)
        self._begin: tuple[int, int] | None = None
        self._name: str | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._parts.append(data)
        if not (self._may_end or b"\n" in data or b"\r" in data):
            return
        lines = b"".join(self._parts).splitlines(keepends=True)
        self._parts = [lines.pop()] if lines and not lines[-1].endswith(b"\n") else []
        self._may_end = bool(self._parts) and self._parts[0].endswith(b"\r")
        for line in lines:
            self._next(line)

    def close(self) -> None:
        """Take the end of the body."""
        rest = b"".join(self._parts)
        is_cut = bool(rest) and not rest.endswith(b"\r")
        if rest:
            self._next(rest)
        self.grammar.line, self.grammar.offset = self._lines + (not is_cut), self._offset
        if self.is_dead:
            return
        if not self.has_begun:
            self._die("nothing" if self._offset == 0 else "nothing but blank lines")
        elif self._begin is not None:
            self._last(is_cut=is_cut)
        self.grammar.close()

    def _last(self, *, is_cut: bool) -> None:
        """Take the event that no blank line ended: it counts if it is whole."""
        events = self._decoder.close()
        sent = self._sent(events[0]) if events else None
        if is_cut or sent is None or not _is_whole(sent.data):
            self.grammar.is_lost = True
            self._at_line("whole", said(sent.data) if sent and sent.data else "an event without data", "a whole event")
            return
        self._at_line("blank_line", "the end of the body after a line", "a blank line")
        self.grammar.take(sent)

    def _die(self, found: str) -> None:
        self.is_dead = self.grammar.is_lost = True
        self.grammar.broken("stream", "", found, "events, each of lines that begin with `data:`")

    def _at_line(self, rule: str, found: str, expected: str) -> None:
        """Note a problem in the event that is open, or on this line where none is."""
        number = None if self._begin is None else self.grammar.events + 1
        line, offset = self._begin or (self._lines, self._offset)
        self.grammar.broken(rule, "", found, expected, at=Sent(number, line, offset, name=self._name))

    def _next(self, raw: bytes) -> None:
        """Take a line, with its end."""
        self._lines += 1
        if not self.is_dead:
            self.line(raw)
        self._offset += len(raw)

    def line(self, raw: bytes) -> None:
        """Judge a line, with its end, and give the event that it completes to the grammar."""
        text = raw.rstrip(b"\r\n")
        if self._lines == 1:
            text = text.removeprefix(_BOM)
        if self._begin is None and text.partition(b":")[0] in _FIELDS[1:]:
            self._begin = self._lines, self._offset
        if text.startswith(b"event:"):
            self._name = text[6:].removeprefix(b" ").decode("utf-8", "replace")
        self.check(text)
        if self.is_dead:
            return
        try:
            for event in self._decoder.line(text):
                self.grammar.take(self._sent(event))
        except WireError as error:
            self._die(str(error))
        if not text:
            self._begin = self._name = None

    def check(self, text: bytes) -> None:
        """Judge the bytes of a line, without its end."""
        name = text.partition(b":")[0]
        if name not in _FIELDS:
            shown = text.decode("utf-8", "replace")
            if not self.has_begun:
                self._die(looks_like(shown))
                return
            self._at_line("field", said(shown), "`data:`, `event:`, `id:`, `retry:`, or a comment, `:`")
        elif text:
            self.has_begun = True
        try:
            text.decode()
        except UnicodeDecodeError as error:
            found = f"{text[max(error.start - 8, 0) : error.end + 8]!r}, at byte {self._offset + error.start}"
            self._at_line("utf8", found, "UTF-8")

    def _sent(self, event: SSE) -> Sent:
        line, offset = self._begin or (self._lines, self._offset)
        return Sent(self.grammar.events + 1, line, offset, event.data, event.event, event.id)


def _is_whole(data: str) -> bool:
    """Tell whether data at the end of a body is not cut off, as far as one can see."""
    text = data.strip()
    return text.endswith("}") or text == "[DONE]"
