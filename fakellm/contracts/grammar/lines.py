"""How a body of lines of JSON is cut, and where each line begins; the rules that all such streams keep.

Source: https://github.com/ndjson/ndjson-spec. Bytes may come in any pieces.
"""

from __future__ import annotations

from fakellm.contracts.grammar.frames import looks_like
from fakellm.contracts.grammar.rules import Grammar, Sent, json_object, others, rule_table, said

_BOM = b"\xef\xbb\xbf"

LINE_RULES = rule_table(
    "ndjson", "ndjson-spec 1.0; https://docs.ollama.com/api/streaming",
    ("content_type", "lines of JSON come as `application/x-ndjson`, and with the status 200",
     "clients choose by the content type how to read a body, and by the status whether to read it as a stream"),
    ("stream", "the body is lines of JSON objects, and not empty",
     "clients parse each line as JSON: a page, a document or an event stream raises at the first"),
    ("utf8", "the bytes are UTF-8, without a byte order mark", "clients raise, or replace what is not"),
    ("json", "a line is one JSON object", "the official SDK raises JSONDecodeError, or AttributeError"),
    ("blank", "no line is blank", "the official SDK parses each line, and raises for an empty one"),
    ("whole", "the body does not end inside a line", "the official SDK raises JSONDecodeError for the rest"),
    ("line_end", "a line end is behind the last line too",
     "readers that take what ends a line lose one that none ends; the official SDK reads it", others),
)  # fmt: skip
"""The rules that all streams of lines keep, by their short names."""


class LineFrames:
    """Cuts a body into lines, and gives each to a grammar. A line ends in LF or CR LF."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._buffer = bytearray()
        self._searched = 0
        self._lines = self._offset = 0
        self._has_begun = self._is_dead = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._buffer += data
        start = 0
        while (end := self._buffer.find(b"\n", max(start, self._searched)) + 1) > 0:
            self._line(bytes(self._buffer[start:end]))
            start = end
        del self._buffer[:start]
        self._searched = len(self._buffer)

    def close(self) -> None:
        """Take the end of the body."""
        rest = bytes(self._buffer)
        is_cut = bool(rest.strip())
        if rest:
            self._line(rest, is_last=True)
        self._grammar.line, self._grammar.offset = self._lines + (not is_cut), self._offset
        if self._is_dead:
            return
        if not self._has_begun:
            self._die("nothing" if self._offset == 0 else "nothing but blank lines")
        self._grammar.close()

    def _line(self, raw: bytes, *, is_last: bool = False) -> None:
        self._lines += 1
        if not self._is_dead:
            self._judge(raw, is_last=is_last)
        self._offset += len(raw)

    def _judge(self, raw: bytes, *, is_last: bool) -> None:
        bare = raw.strip(b" \t\r\n")
        text = bare.decode("utf-8", "replace")
        if not bare:
            self._broken("blank", "a blank line", "a JSON object", number=None)
            return
        if not self._has_begun and not bare.removeprefix(_BOM).startswith(b"{"):
            self._die(_kind_of(text))
            return
        self._utf8(bare)
        self._has_begun = True
        if is_last and json_object(text) is None:
            self._grammar.is_lost = True
            self._broken("whole", said(text), "a whole line")
            return
        if is_last:
            self._broken("line_end", "the end of the body after a line", "a line end")
        number = self._grammar.events + 1
        self._grammar.take(Sent(number, self._lines, self._offset, text.removeprefix("\ufeff")))

    def _utf8(self, line: bytes) -> None:
        try:
            if line.startswith(_BOM):
                self._broken("utf8", "a byte order mark", "the first line")
            line.decode()
        except UnicodeDecodeError as error:
            found = f"{line[max(error.start - 8, 0) : error.end + 8]!r}, at byte {self._offset + error.start}"
            self._broken("utf8", found, "UTF-8")

    def _broken(self, rule: str, found: str, expected: str, *, number: int | None = 0) -> None:
        at = Sent(None if number is None else self._grammar.events + 1, self._lines, self._offset)
        self._grammar.broken(rule, "", found, expected, at=at)

    def _die(self, found: str) -> None:
        self._is_dead = self._grammar.is_lost = True
        self._grammar.broken("stream", "", found, "lines, each a JSON object")


def _kind_of(text: str) -> str:
    """Say what a body is that is no lines of JSON."""
    if text.startswith(("data:", "event:", "id:", "retry:", ":")):
        return f"an event stream (SSE): {said(text)}"
    return looks_like(text) if text.startswith("<") else f"text that is no JSON object: {said(text)}"
