"""The grammar of Bedrock's ConverseStream, as recorded streams and botocore's service model have it.

Events of new types are legal and not judged, and so are members of a delta or a start that are not known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fakellm.contracts.grammar.binary import BINARY_RULES, BinaryFrames
from fakellm.contracts.grammar.rules import Grammar, Place, Rule, Sent, joined_object, others, rule_table, said, shown
from fakellm.wire.openai.profiles import OPENAI, Profile

_SOURCE = "botocore's service model of bedrock-runtime, ConverseStreamOutput"
_CUT = ("max_tokens", "model_context_window_exceeded", "malformed_tool_use", "malformed_model_output")
_SERVER_TOOL = "server_tool_use"


@dataclass(slots=True)
class _Block:
    """A block: its index, what kind of it is open, its input so far, and the event with the last of it."""

    index: int
    kind: str
    pieces: list[str] = field(default_factory=list)
    last: Sent | None = None


class BedrockConverseGrammar(Grammar):
    """The grammar of ConverseStream."""

    api = "bedrock_converse"
    content_types = ("application/vnd.amazon.eventstream",)
    frames: ClassVar[Any] = BinaryFrames
    rules: ClassVar[dict[str, Rule]] = BINARY_RULES | rule_table(
        api, _SOURCE,
        ("shape", "the fields that clients read are there, and of their types",
         "boto3 leaves out what is missing, so clients raise KeyError", others),
        ("message_start", "messageStart comes first, and once", "clients make the message there"),
        ("block_index", "blocks of content count from 0, in the order in which they begin",
         "clients put a delta to the block of its index"),
        ("block_order", "a block has its start or its first delta, its deltas, its stop; then the next one begins",
         "clients append the deltas to what began last"),
        ("delta_fits", "a delta is of the kind of its block: text, reasoning, or the input of a call that was started",
         "the input of a call has no name without its start, and text would be taken for reasoning"),
        ("call_start", "a call begins with an id and a name", "its result cannot be sent back without its id", others),
        ("arguments", "the input of a call adds up to a JSON object or to nothing, unless the answer was cut off",
         "clients parse it when the block stops", others),
        ("message_stop", "messageStop, with a reason, comes after all blocks, and once",
         "without it an answer that was cut off looks like a whole one: boto3 raises nothing"),
        ("tool_call", 'a reason "tool_use" follows a call; "end_turn" does not',
         "clients call the tools because of the reason", others),
        ("metadata", "metadata comes after messageStop, last, and once", "clients wait there for the usage", others),
        ("usage", "the usage counts tokens", "clients add up what they pay for", others),
        ("error", "after an exception nothing follows", "clients raise there, and read no more"),
    )  # fmt: skip

    def __init__(self, profile: Profile | None = OPENAI, ignored: frozenset[str] = frozenset()) -> None:
        super().__init__(profile, ignored)
        self._is_begun = self._is_stopped = self._is_counted = False
        self._block: _Block | None = None
        self._early: Sent | None = None
        self._blocks = 0
        self._calls: list[_Block] = []
        self._readers: dict[str, Callable[[Place, Sent], None]] = {
            "messageStart": self._message_start,
            "contentBlockStart": self._block_start,
            "contentBlockDelta": self._block_delta,
            "contentBlockStop": self._block_stop,
            "messageStop": self._message_stop,
            "metadata": self._metadata,
        }

    def event(self, sent: Sent) -> None:
        """Judge an event."""
        if self.is_failed:
            self.broken("error", "", sent.name or said(sent.data), "the end of the body")
            return
        if sent.id in ("exception", "error"):
            self.is_failed = True
            return
        self._not_stopped()
        if sent.name is None or sent.name == "initial-response":
            return
        document = self.object(sent)
        if document is None:
            return
        if self._is_counted:
            self._note("metadata", "", sent.name, "the end of the body")
        elif self._is_stopped and sent.name != "metadata":
            self._note("message_stop", "", sent.name, "metadata")
        elif not self._is_begun and sent.name != "messageStart":
            self._note("message_start", "", sent.name, "messageStart")
        self._is_begun = True
        if sent.name in self._readers and not (self._is_counted or (self._is_stopped and sent.name != "metadata")):
            self._readers[sent.name](document, sent)

    def _not_stopped(self) -> None:
        """Note that metadata came without messageStop, unless an exception came after it."""
        early, self._early = self._early, None
        if early is not None and not (self.is_lost or self.is_failed):
            self.broken("message_stop", "", "metadata", "messageStop", at=early)

    def _note(self, rule: str, path: str, found: str, expected: str) -> None:
        if not self.is_lost:
            self.broken(rule, path, found, expected)

    def _message_start(self, document: Place, _: Sent) -> None:
        if self._blocks or self._block is not None or self.events > 1:
            self._note("message_start", "", "messageStart", "no second messageStart")
        if document["role"].value != "assistant":
            document["role"].broken("shape", shown("assistant"))

    def _begin(self, document: Place, kind: str) -> _Block:
        """Begin a block; a problem where another is open, or it is numbered otherwise."""
        index = document["contentBlockIndex"].integer("block_index")
        if self._block is not None:
            self._note("block_order", "", "the begin of a block", f"contentBlockStop of block {self._block.index}")
        elif index not in (None, self._blocks) and not self.is_lost:
            document["contentBlockIndex"].broken("block_index", str(self._blocks))
        self._block = _Block(self._blocks if index is None else index, kind)
        self._blocks += 1
        return self._block

    def _block_start(self, document: Place, _: Sent) -> None:
        start = document["start"].object()
        if start is None:
            return
        call = start["toolUse"]
        kind = "call" if not call.is_nothing else "other" if start.value else "text"
        block = self._begin(document, kind)
        if kind == "call" and call.object() is not None:
            call["name"].name("call_start")
            call["toolUseId"].name("call_start")
            if call["type"].value != _SERVER_TOOL:
                self._calls.append(block)

    def _block_delta(self, document: Place, sent: Sent) -> None:
        delta = document["delta"].object()
        index = document["contentBlockIndex"]
        if delta is None:
            return
        kind = next((kind for name, kind in _KINDS.items() if not delta[name].is_nothing), "other")
        block = self._block
        if block is None:
            block = self._begin(document, kind)
            if kind == "call":
                self._stray(delta, "delta_fits", "contentBlockStart, with the call's name")
        elif index.integer("block_index") not in (None, block.index):
            self._stray(index, "block_order", str(block.index))
            return
        elif kind != block.kind and "other" not in (kind, block.kind):
            self._stray(delta, "delta_fits", f"what belongs to a block of {block.kind}")
            return
        self._said(delta, block, sent)

    def _stray(self, place: Place, rule: str, expected: str) -> None:
        """Note a delta that belongs elsewhere; what it says is missing there."""
        if not self.is_lost:
            place.broken(rule, expected)
        self.is_lost = True

    @staticmethod
    def _said(delta: Place, block: _Block, sent: Sent) -> None:
        """Judge the fields of a delta."""
        if not delta["text"].is_nothing:
            delta["text"].text()
        call = delta["toolUse"]
        if not call.is_nothing and call.object() is not None:
            block.pieces.append(call["input"].text() or "")
            block.last = sent
        reasoning = delta["reasoningContent"]
        if not reasoning.is_nothing and reasoning.object() is not None and not reasoning["text"].is_nothing:
            reasoning["text"].text()

    def _block_stop(self, document: Place, _: Sent) -> None:
        index = document["contentBlockIndex"].integer("block_index")
        if self._block is None:
            self._note("block_order", "", "contentBlockStop", "a block that is open")
        elif index is not None and index != self._block.index and not self.is_lost:
            document["contentBlockIndex"].broken("block_order", str(self._block.index))
        self._block = None

    def _message_stop(self, document: Place, _: Sent) -> None:
        if self._block is not None:
            self._note("block_order", "", "messageStop", f"contentBlockStop of block {self._block.index}")
        self._block = None
        self._is_stopped = True
        reason = document["stopReason"].name("message_stop")
        if (reason, bool(self._calls)) in (("tool_use", False), ("end_turn", True)) and not self.is_lost:
            expected = shown("tool_use") if self._calls else "another reason: there is no call"
            document["stopReason"].broken("tool_call", expected)
        for call in self._calls if reason not in _CUT and not self.is_lost else ():
            wrong = joined_object(call.pieces) if "".join(call.pieces) else None
            if wrong:
                expected = "JSON that is an object"
                self.broken("arguments", "delta.toolUse.input", f"{wrong}, in all", expected, at=call.last)

    def _metadata(self, document: Place, sent: Sent) -> None:
        if not self._is_stopped:
            self._early = sent
        self._is_counted = self._is_stopped = True
        usage = document["usage"].object("usage")
        for name in ("inputTokens", "outputTokens", "totalTokens") if usage is not None else ():
            document["usage"][name].integer("usage")

    def close(self) -> None:
        """Judge the end of the body."""
        self._not_stopped()
        if not self._is_begun:
            self.missing("message_start", "no messageStart", "messageStart")
        elif not self._is_stopped:
            self.missing("message_stop", "the end of the body", "messageStop")
        elif not self._is_counted:
            self.missing("metadata", "the end of the body", "metadata")


_KINDS = {"text": "text", "citation": "text", "reasoningContent": "reasoning", "toolUse": "call"}
"""A member of a delta -> the kind of block that it belongs to."""
