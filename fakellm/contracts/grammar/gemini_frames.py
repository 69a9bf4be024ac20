"""How Gemini's bodies are cut: an event stream, between whose events an error stands bare, or one JSON array."""

from __future__ import annotations

import re

from fakellm.contracts.grammar.frames import EventFrames, Frames, looks_like
from fakellm.contracts.grammar.rules import Grammar, Sent, said
from fakellm.errors import WireError
from fakellm.wire.gemini.reader import Objects

_PIECE = re.compile(rb"[^}]*\}?")
_OTHER = re.compile(rb":|event(?!: ?error$)|id(:|$)|retry(:|$)")
_BLANK = b" \t\r\n"
_BEFORE = b"\xef\xbb\xbf" + _BLANK


class GeminiFrames:
    """Tells by its first byte which form a body has."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._head = b""
        self._frames: Frames | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._frames is None:
            self._head += data
            begin = self._head.lstrip(_BEFORE)
            if not begin:
                return
            data, self._head = self._head, b""
            self._frames = ArrayFrames(self._grammar) if begin.startswith(b"[") else BareFrames(self._grammar)
        self._frames.feed(data)

    def close(self) -> None:
        """Take the end of the body."""
        frames = self._frames or EventFrames(self._grammar)
        if self._frames is None:
            frames.feed(self._head)
        frames.close()


class BareFrames(EventFrames):
    """Cuts an event stream in which an error may stand as JSON without `data:`, over several lines.

    Google's servers end a stream so when it fails midway.
    """

    def __init__(self, grammar: Grammar) -> None:
        super().__init__(grammar)
        self._bare: list[bytes] = []
        self._objects = Objects()

    def line(self, raw: bytes) -> None:
        """Judge a line: one of an event, or one of an error that stands bare."""
        if not self._bare and not raw.startswith(b"{"):
            super().line(raw)
            return
        if not self._bare:
            self._begin = self._lines, self._offset
        self._bare.append(raw)
        try:
            if self._objects.feed(raw):
                self._end()
        except WireError:  # more stands behind it on its line
            self._end()

    def check(self, text: bytes) -> None:
        """Judge the bytes of a line that is one of an event."""
        super().check(text)
        if _OTHER.match(text):
            self._at_line("data_only", said(text.decode("utf-8", "replace")), "`data:`")

    def _end(self) -> None:
        """Take the JSON that stood bare; it is an error, or it does not belong here."""
        text = b"".join(self._bare).decode("utf-8", "replace").strip()
        if '"error"' in text:
            self.has_begun = True
            line, offset = self._begin or (self._lines, self._offset)
            self.grammar.take(Sent(self.grammar.events + 1, line, offset, text))
        elif self.has_begun:
            self.grammar.is_lost = True
            self._at_line("field", said(text), "`data:` before it, unless it is an error")
        else:
            self._die(looks_like(text))
        self._begin, self._bare, self._objects = None, [], Objects()

    def close(self) -> None:
        """Take the end of the body."""
        if self._bare and not self.has_begun:
            self._die(looks_like(b"".join(self._bare).decode("utf-8", "replace")))
        super().close()


class ArrayFrames:
    """Cuts a JSON array into its objects, as they are complete."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._objects = Objects()
        self._between = b""
        self._line, self._offset = 1, 0
        self._begin = self._since = (1, 0)

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        for match in _PIECE.finditer(data):
            self._piece(match[0])
            self._line += match[0].count(b"\n")
            self._offset += len(match[0])
            if match[0] and not self._objects.is_inside and not self._between:
                self._since = self._line, self._offset

    def _piece(self, piece: bytes) -> None:
        """Take bytes that complete one object at most."""
        if not self._objects.is_inside:
            before, brace, rest = piece.partition(b"{")
            self._between += before
            if not brace:
                return
            self._begin = self._line + before.count(b"\n"), self._offset + len(before)
            self._check(b"," if self._grammar.events else b"[", "an object")
            piece = brace + rest
        for text, _ in self._objects.feed(piece):
            self._grammar.take(Sent(self._grammar.events + 1, *self._begin, text))

    def _check(self, expected: bytes, what: str) -> None:
        """Judge what stands between two objects, or around them."""
        between, self._between = self._between.strip(_BEFORE), b""
        if between != expected:
            found = said(between.decode("utf-8", "replace")) or "nothing"
            at = Sent(None, *self._since)
            self._grammar.broken("array", "", found, f"`{expected.decode()}` before {what}", at=at)

    def close(self) -> None:
        """Take the end of the body."""
        self._grammar.line, self._grammar.offset = self._line, self._offset
        is_inside, between = self._objects.is_inside, self._between.strip(_BEFORE)
        if is_inside or between in (b"", b"[", b","):
            where = "inside an object" if is_inside else "in an open array"
            self._grammar.broken("array", "", f"the end of the body {where}", "`]`")
            self._grammar.is_lost = True
        else:
            self._check(b"]" if self._grammar.events else b"[]", "the end of the body")
        self._grammar.close()
