"""The grammar of Anthropic's Messages streams, as 944 recorded ones keep it.

A ping may stand anywhere. Events, blocks and deltas of new types are legal and not judged: the reference says that
clients have to pass over what they do not know.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fakellm.contracts.grammar.frames import SSE_RULES
from fakellm.contracts.grammar.rules import Grammar, Place, Rule, Sent, joined_object, others, rule_table, said, shown
from fakellm.wire.openai.profiles import OPENAI, Profile

_SOURCE = "Anthropic API reference, Messages: Streaming"
_DELTAS = {
    "text_delta": ("text", ("text",)),
    "citations_delta": ("citation", ("text",)),
    "thinking_delta": ("thinking", ("thinking",)),
    "signature_delta": ("signature", ("thinking",)),
    "input_json_delta": ("partial_json", ("tool_use", "server_tool_use", "mcp_tool_use")),
}
"""The type of a delta -> the field that it carries, and the types of blocks that it fits."""
_BLOCKS = ("text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "mcp_tool_use")
_CUT = ("max_tokens", "model_context_window_exceeded", "refusal")


@dataclass(slots=True)
class _Block:
    """A content block while it is open."""

    index: int
    kind: str
    deltas: list[str] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    last: Sent | None = None


def _overlaps(profile: Any) -> bool:
    return bool(profile.name == "llama.cpp")


class MessagesGrammar(Grammar):
    """The grammar of Messages streams."""

    api = "anthropic_messages"
    rules: ClassVar[dict[str, Rule]] = SSE_RULES | rule_table(
        api, _SOURCE,
        ("shape", "the fields that clients read are there, and of their types",
         "the official SDK's helper reads them without asking, and raises TypeError or AttributeError", others),
        ("event_name", "an event is named by its type",
         "the official SDK passes over an event that has no name, and its text is lost", others),
        ("message_start", "message_start comes first, and once",
         "the official SDK's helper raises for any other event before it"),
        ("block_index", "content blocks count from 0, in the order in which they begin",
         "the official SDK's helper appends a block at its start, and raises IndexError for another index"),
        ("block_order", "a block starts, has its deltas, stops, and then the next one starts",
         "the official SDK's helper adds a delta to the block of its index, whatever that is: its text is lost",
         _overlaps),
        ("delta_fits", "the type of a delta fits the type of its block",
         "the official SDK passes over a delta that does not fit, and its text is lost"),
        ("signature", "a thinking block ends with one signature_delta, which is not empty",
         "the thinking cannot be sent back without its signature", _overlaps),
        ("tool_input", "the block of a call begins with an input that is an empty object",
         "the official types have it, and the reference begins each call so", _overlaps),
        ("input_json", "a tool's input adds up to a JSON object or to nothing, unless the answer was cut off",
         "clients parse it when the block stops", others),
        ("message_delta", "message_delta, with a stop reason, comes after all blocks and before message_stop",
         "the stop reason and the final usage stand there alone"),
        ("tool_use", 'a stop reason "tool_use" follows a tool_use block; "end_turn" does not',
         "clients call the tools because of the stop reason", others),
        ("usage", "output_tokens are the sum so far, and never fall",
         "the official SDK overwrites them", others),
        ("error", "after an error nothing follows", "the official SDK raises there and reads no more"),
        ("error_event", 'an event that is named "error" has the type "error", and holds the error',
         "the official SDK raises, and finds no message; clients that go by types pass over it", _overlaps),
        ("message_stop", "message_stop comes last, and once",
         "without it an answer that was cut off looks like a whole one"),
    )  # fmt: skip

    def __init__(self, profile: Profile | None = OPENAI, ignored: frozenset[str] = frozenset()) -> None:
        super().__init__(profile, ignored)
        self._is_begun = self._is_stopped = False
        self._blocks: list[str] = []
        self._open: _Block | None = None
        self._beside: dict[int, _Block] = {}
        self._inputs: list[_Block] = []
        self._tokens = 0
        self._reason: str | None = None
        self._readers: dict[str, Callable[[Place, Sent], None]] = {
            "message_start": self._message_start,
            "content_block_start": self._block_start,
            "content_block_delta": self._block_delta,
            "content_block_stop": self._block_stop,
            "message_delta": self._message_delta,
            "message_stop": self._message_stop,
        }

    def event(self, sent: Sent) -> None:
        """Judge an event."""
        if self.is_failed:
            self.broken("error", "", said(sent.data), "the end of the body")
            return
        if self._is_stopped:
            self.broken("message_stop", "", said(sent.data), "the end of the body")
            return
        document = self.object(sent)
        kind = document["type"].name("shape") if document is not None else None
        self.is_failed = "error" in (kind, sent.name)
        if document is None or kind is None:
            self.is_lost = True
            return
        if sent.name == "error" != kind:
            self.is_failed = True
            self.broken("error_event", "type", shown(kind), '"error"')
            return
        if sent.name != kind:
            self.broken("event_name", "", f"event: {sent.name}" if sent.name else "no `event:`", f"event: {said(kind)}")
        if kind == "error":
            document["error"].object()
        elif kind != "ping" and not self.is_failed:
            self._usual(kind, document, sent)

    def _usual(self, kind: str, document: Place, sent: Sent) -> None:
        is_start = kind == "message_start"
        if is_start == self._is_begun:
            expected = "no second message_start" if is_start else "message_start"
            if not (self.is_lost and not is_start):
                self.broken("message_start", "type", shown(kind), expected)
        self._is_begun = True
        if kind in self._readers:
            self._readers[kind](document, sent)

    def _message_start(self, document: Place, _: Sent) -> None:
        message = document["message"].object()
        if message is None:
            return
        for name, expected in (("type", "message"), ("role", "assistant")):
            if message[name].value != expected:
                message[name].broken("shape", shown(expected))
        for name in ("id", "model"):
            message[name].name("shape")
        content = message["content"].list("shape", "[]")
        if content is not None and content.value:
            content.broken("shape", "[]")
        usage = message["usage"].object()
        if usage is not None:
            usage["input_tokens"].integer()
            self._count(usage)

    def _count(self, usage: Place) -> None:
        tokens = usage["output_tokens"].integer()
        if tokens is not None and tokens < self._tokens:
            usage["output_tokens"].broken("usage", f"{self._tokens} or more")
        self._tokens = max(tokens or 0, self._tokens)

    def _block_start(self, document: Place, _: Sent) -> None:
        self._not_after_the_end(document)
        if self._open is not None:
            self._disorder(document, f"content_block_stop of block {self._open.index}")
            self._beside[self._open.index] = self._open
        index = document["index"].integer("block_index")
        if index is not None and index != len(self._blocks):
            document["index"].broken("block_index", str(len(self._blocks)))
        block = document["content_block"].object()
        kind = (block["type"].name("shape") if block is not None else None) or ""
        self._blocks.append(kind)
        self._open = _Block(len(self._blocks) - 1 if index is None else index, kind)
        if block is not None and kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
            block["id"].name("shape")
            block["name"].name("shape")
            block["input"].object("tool_input", "{}")
        elif block is not None and kind in ("text", "thinking"):
            block[kind].text()

    def _block_delta(self, document: Place, sent: Sent) -> None:
        self._not_after_the_end(document)
        block = self._of(document)
        delta = document["delta"].object()
        kind = delta["type"].name("shape") if delta is not None else None
        if block is None or delta is None or kind is None:
            return
        block.deltas.append(kind)
        if kind not in _DELTAS:
            return
        field, fits = _DELTAS[kind]
        if block.kind in _BLOCKS and block.kind not in fits:
            delta["type"].broken("delta_fits", f"a delta of a {block.kind} block")
        text = (delta[field].object() and "") if field == "citation" else delta[field].text()
        if kind == "signature_delta" and text == "":
            delta[field].broken("signature", "a signature")
        if kind == "input_json_delta":
            block.pieces.append(text or "")
            block.last = sent

    def _block_stop(self, document: Place, _: Sent) -> None:
        self._not_after_the_end(document)
        block = self._of(document)
        if block is None:
            return
        if block.kind == "thinking" and (
            block.deltas.count("signature_delta") != 1 or block.deltas[-1] != "signature_delta"
        ):
            found = ", ".join(block.deltas[-2:]) or "no delta"
            document["index"].broken("signature", "one signature_delta, before content_block_stop", found)
        if block.pieces:
            self._inputs.append(block)
        if block is not None and self._beside.pop(block.index, None) is block:
            return
        self._open = None

    def _of(self, document: Place) -> _Block | None:
        """Return the block that an event is about, if that is the open one; a problem if it is another."""
        index = document["index"].integer("block_index")
        if index is None or (self._open is not None and self._open.index == index):
            return self._open
        if index in self._beside and not self.holds("block_order"):
            return self._beside[index]
        if not self.is_lost:
            expected = "content_block_start" if self._open is None else str(self._open.index)
            self.broken(
                "block_order",
                "index" if self._open else "type",
                document["index" if self._open else "type"].shown,
                expected,
            )
        return None

    def _disorder(self, document: Place, expected: str) -> None:
        if not self.is_lost:
            document["type"].broken("block_order", expected)

    def _not_after_the_end(self, document: Place) -> None:
        if self._reason is not None:
            document["type"].broken("message_delta", "no event of a block after message_delta")

    def _message_delta(self, document: Place, _: Sent) -> None:
        if self._open is not None:
            self._disorder(document, f"content_block_stop of block {self._open.index}")
            self._open = None
        delta = document["delta"].object()
        usage = document["usage"].object()
        if usage is not None:
            self._count(usage)
        reason = delta["stop_reason"] if delta is not None else None
        if reason is None or reason.is_nothing:
            return
        self._reason = reason.name("message_delta")
        has_tools = "tool_use" in self._blocks
        if (self._reason, has_tools) in (("tool_use", False), ("end_turn", True)) and not self.is_lost:
            reason.broken("tool_use", shown("tool_use") if has_tools else "another reason: there is no tool_use block")
        for block in self._inputs if self._reason not in _CUT else ():
            self._input(block)

    def _input(self, block: _Block) -> None:
        wrong = joined_object(block.pieces) if "".join(block.pieces) else None
        if wrong:
            self.broken("input_json", "delta.partial_json", f"{wrong}, in all", "JSON that is an object", at=block.last)

    def _message_stop(self, document: Place, _: Sent) -> None:
        self._is_stopped = True
        if self._open is not None:
            self._disorder(document, f"content_block_stop of block {self._open.index}")
        elif self._reason is None and not self.is_lost:
            document["type"].broken("message_delta", "message_delta, with a stop_reason, before message_stop")

    def close(self) -> None:
        """Judge the end of the body."""
        if not self._is_begun:
            self.missing("message_start", "no message_start", "message_start")
        elif not self._is_stopped:
            self.missing("message_stop", "the end of the body", "message_stop")
