"""How a body of AWS's binary event stream is cut, and where each frame begins; the rules that all such streams keep.

Source: the Smithy specification, "Amazon Event Stream Specification". Bytes may come in any pieces.
"""

from __future__ import annotations

from fakellm.contracts.grammar.rules import Grammar, Sent, rule_table, said
from fakellm.errors import WireError
from fakellm.wire.eventstream import Frame, FrameDecoder

BINARY_RULES = rule_table(
    "eventstream", "Smithy 2.0, Amazon Event Stream Specification",
    ("content_type", "the stream comes as `application/vnd.amazon.eventstream`, and with the status 200",
     "clients choose by the status whether to read a body as a stream"),
    ("stream", "the body is frames, and not empty", "clients take a body without frames for an answer without events"),
    ("frame", "lengths and both checksums of each frame are right, and its headers can be read",
     "botocore raises ChecksumMismatch, and nobody finds the next frame"),
    ("whole", "the body does not end inside a frame",
     "botocore drops the frame that is cut off, and says nothing; the answer looks whole"),
    ("headers", "a frame says its :message-type, and the type of the event, exception or error that it is",
     "clients choose by these how to read the payload, and pass over what says neither"),
    ("json", "the payload of an event is one JSON object", "botocore raises ResponseParserError"),
)  # fmt: skip
"""The rules that all binary streams keep, by their short names."""

TYPES = {"event": ":event-type", "exception": ":exception-type", "error": ":error-code"}
"""The types of messages, and the header that says which of that type it is."""
_SHOWN = 80


class BinaryFrames:
    """Cuts a body into frames, and gives each to a grammar: its payload as data, its types as id and name."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._decoder = FrameDecoder()
        self._head = b""
        self._offset = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._head += data[: _SHOWN - len(self._head)]
        if self._decoder.error is not None:
            return
        try:
            frames = self._decoder.feed(data)
        except WireError:
            frames = []
        for frame in frames:
            self._frame(frame)
        if self._decoder.error is not None and self._grammar.events:
            self._grammar.is_lost = True
            self._broken("frame", str(self._decoder.error).partition(": ")[2], "a frame")

    def close(self) -> None:
        """Take the end of the body."""
        self._grammar.offset = self._offset
        if not self._grammar.events:
            self._grammar.is_lost = True
            found = said(self._head.decode("utf-8", "replace")) if self._head else "nothing"
            self._grammar.broken("stream", "", found, "frames")
        elif self._decoder.error is None:
            if rest := self._decoder.close():
                self._grammar.is_lost = True
                self._broken("whole", f"{len(rest)} bytes of a frame", "a whole frame")
            self._grammar.close()

    def _frame(self, frame: Frame) -> None:
        self._offset = frame.offset
        kind = frame.text(":message-type")
        name = frame.text(TYPES.get(kind, ":event-type")) or None
        number = self._grammar.events + 1
        if kind not in TYPES or name is None:
            expected = f"{' or '.join(TYPES)}, with {' or '.join(TYPES.values())}"
            self._broken("headers", f"the headers {', '.join(frame.headers) or 'of none'}", expected)
        self._grammar.take(Sent(number, 1, frame.offset, _text(frame.payload), name, kind))
        self._offset = frame.offset + frame.size

    def _broken(self, rule: str, found: str, expected: str) -> None:
        at = Sent(self._grammar.events + 1, 1, self._offset)
        self._grammar.broken(rule, "", found, expected, at=at)


def _text(payload: bytes) -> str:
    """Return the payload of a frame; of what is no UTF-8, a text that is no JSON."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return repr(payload)
