"""The grammar of Cohere's Chat streams, as recorded ones and the types of the official SDK have it.

Events of new types are legal and not judged, and so are citations and what they point to: they may stand anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from fakellm.contracts.grammar.frames import SSE_RULES
from fakellm.contracts.grammar.rules import Grammar, Place, Rule, Sent, joined_object, others, rule_table, said, shown
from fakellm.wire.openai.profiles import OPENAI, Profile

_SOURCE = "Cohere API reference, Chat with Streaming"
_DONE = "[DONE]"
_BLOCKS = ("text", "thinking")
_CUT = ("MAX_TOKENS", "TIMEOUT")
_FAILED = "ERROR"


@dataclass(slots=True)
class _Call:
    """A tool call: its index, its arguments so far, and the event with the last of them."""

    index: int
    pieces: list[str] = field(default_factory=list)
    last: Sent | None = None


class CohereChatGrammar(Grammar):
    """The grammar of Chat streams."""

    api = "cohere_chat"
    rules: ClassVar[dict[str, Rule]] = SSE_RULES | rule_table(
        api, _SOURCE,
        ("shape", "the fields that clients read are there, and of their types",
         "the official SDK checks nothing, so clients read `delta.message.content.text` of None", others),
        ("type", "each event has a type",
         "the official SDK takes an event without a type for a second message-start, whatever it says", others),
        ("event_name", "an event is named by its type",
         "clients that go by the name pass over an event that has none, or another", others),
        ("message_start", "message-start comes first, and once", "clients make the message there"),
        ("block_index", "blocks of content count from 0, in the order in which they begin",
         "clients put a delta to the block of its index"),
        ("block_order", "a block starts, has its deltas, ends, and then the next one starts",
         "clients append the deltas to what began last"),
        ("delta_fits", "a delta of a block holds what the type of the block says: text, or thinking",
         "the text would be shown as thinking, or thinking as text"),
        ("call_index", "tool calls count from 0, in the order in which they begin",
         "clients put a delta to the call of its index"),
        ("call_order", "a tool call starts, has its deltas, ends, and then the next one starts",
         "clients append arguments to the call that began last"),
        ("call_start", "a tool call begins with an id and a name",
         "its result cannot be sent back without its id", others),
        ("arguments", "the arguments of a call add up to a JSON object or to nothing, unless the answer was cut off",
         "clients parse them when the call ends", others),
        ("message_end", "message-end, with a finish reason, comes after all blocks and calls, and once",
         "without it an answer that was cut off looks like a whole one: the official SDK raises nothing"),
        ("tool_call", 'a finish reason "TOOL_CALL" follows a tool call; "COMPLETE" does not',
         "clients call the tools because of the finish reason", others),
        ("usage", "the usage counts tokens", "clients add up what they pay for", others),
        ("error", "after an error nothing follows but the marker", "clients raise there, and read no more"),
        ("done", "data: [DONE] comes last, and once", "older clients wait for it", others),
    )  # fmt: skip

    def __init__(self, profile: Profile | None = OPENAI, ignored: frozenset[str] = frozenset()) -> None:
        super().__init__(profile, ignored)
        self._is_begun = self._is_ended = self._is_done = False
        self._blocks = self._started = 0
        self._block: tuple[int, str] | None = None
        self._call: _Call | None = None
        self._calls: list[_Call] = []
        self._readers: dict[str, Callable[[Place, Sent], None]] = {
            "content-start": self._content_start,
            "content-delta": self._content_delta,
            "content-end": self._content_end,
            "tool-plan-delta": self._tool_plan,
            "tool-call-start": self._call_start,
            "tool-call-delta": self._call_delta,
            "tool-call-end": self._call_end,
            "message-end": self._message_end,
        }

    def event(self, sent: Sent) -> None:
        """Judge an event."""
        if self._is_done:
            self.broken("done", "", said(sent.data), "the end of the body")
            return
        if sent.data.strip() == _DONE:
            self._is_done = True
            if self._is_begun and not self._is_ended:
                self.missing("message_end", _DONE, "message-end")
            self._is_ended = True
            return
        document = self.object(sent)
        if document is None:
            return
        is_error = _is_error(document, sent)
        if self.is_failed or (self._is_ended and not is_error):
            rule = "error" if self.is_failed else "message_end"
            self.broken(rule, "", said(sent.data), f"data: {_DONE}, or the end of the body")
            return
        self.is_failed = is_error
        if is_error and document["type"].value != "message-end":
            return
        kind = document["type"].name("type")
        if kind is None:
            self.is_lost = True
            return
        if sent.name != kind:
            self.broken("event_name", "", f"event: {sent.name}" if sent.name else "no `event:`", f"event: {said(kind)}")
        self._usual(kind, document, sent)

    def _usual(self, kind: str, document: Place, sent: Sent) -> None:
        is_start = kind == "message-start"
        if is_start == self._is_begun and not (self.is_lost and not is_start):
            expected = "no second message-start" if is_start else "message-start"
            self.broken("message_start", "type", shown(kind), expected)
        self._is_begun = True
        if is_start:
            document["id"].name("shape")
            role = document["delta"]["message"]["role"]
            if role.value != "assistant":
                role.broken("shape", shown("assistant"))
        elif kind in self._readers:
            self._readers[kind](document, sent)

    def _nothing_is_open(self, document: Place) -> None:
        """Note a block or a call that has not ended when something begins that does not belong to it."""
        if self._block is not None:
            self._disorder(document, "block_order", f"content-end of block {self._block[0]}")
        if self._call is not None:
            self._disorder(document, "call_order", f"tool-call-end of call {self._call.index}")
        self._block = self._call = None

    def _disorder(self, document: Place, rule: str, expected: str) -> None:
        if not self.is_lost:
            document["type"].broken(rule, expected)

    def _content_start(self, document: Place, _: Sent) -> None:
        self._nothing_is_open(document)
        index = document["index"].integer("block_index")
        if index is not None and index != self._blocks:
            document["index"].broken("block_index", str(self._blocks))
        content = document["delta"]["message"]["content"].object()
        kind = (content["type"].name("shape") if content is not None else None) or ""
        self._block = (self._blocks if index is None else index), kind
        self._blocks += 1
        if content is not None and kind in _BLOCKS:
            content[kind].text()

    def _content_delta(self, document: Place, _: Sent) -> None:
        kind = self._of_block(document)
        content = document["delta"]["message"]["content"].object()
        if content is None or kind not in _BLOCKS:
            return
        if content[kind].is_nothing and any(not content[name].is_nothing for name in _BLOCKS):
            content.broken("delta_fits", f"the field {kind}, as in a {kind} block")
        else:
            content[kind].text()

    def _content_end(self, document: Place, _: Sent) -> None:
        self._of_block(document)
        self._block = None

    def _of_block(self, document: Place) -> str:
        """Return the type of the block that is open; a problem where none is, or another."""
        index = document["index"].integer("block_index")
        if self._block is None:
            self._disorder(document, "block_order", "content-start")
            return ""
        if index is not None and index != self._block[0] and not self.is_lost:
            document["index"].broken("block_order", str(self._block[0]))
        return self._block[1]

    def _tool_plan(self, document: Place, _: Sent) -> None:
        self._nothing_is_open(document)
        document["delta"]["message"]["tool_plan"].text()

    def _call_start(self, document: Place, sent: Sent) -> None:
        self._nothing_is_open(document)
        index = document["index"].integer("call_index")
        if index is not None and index != self._started:
            document["index"].broken("call_index", str(self._started))
        self._call = _Call(self._started if index is None else index)
        self._calls.append(self._call)
        self._started += 1
        call = document["delta"]["message"]["tool_calls"].object()
        if call is not None:
            call["id"].name("call_start")
            call["function"]["name"].name("call_start")
            self._arguments(call, self._call, sent)

    def _call_delta(self, document: Place, sent: Sent) -> None:
        open_call = self._of_call(document)
        call = document["delta"]["message"]["tool_calls"].object()
        if call is not None and open_call is not None:
            self._arguments(call, open_call, sent)

    @staticmethod
    def _arguments(call: Place, found: _Call, sent: Sent) -> None:
        found.pieces.append(call["function"]["arguments"].text() or "")
        found.last = sent

    def _call_end(self, document: Place, _: Sent) -> None:
        self._of_call(document)
        self._call = None

    def _of_call(self, document: Place) -> _Call | None:
        """Return the call that is open; a problem where none is, or another."""
        index = document["index"].integer("call_index")
        if self._call is None:
            self._disorder(document, "call_order", "tool-call-start")
        elif index is not None and index != self._call.index and not self.is_lost:
            document["index"].broken("call_order", str(self._call.index))
        return self._call

    def _message_end(self, document: Place, _: Sent) -> None:
        self._is_ended = True
        delta = document["delta"].object()
        if delta is None:
            return
        reason = delta["finish_reason"].name("message_end")
        if not delta["usage"].is_nothing:
            self._usage(delta["usage"])
        if self.is_failed:
            return
        self._nothing_is_open(document)
        if (reason, bool(self._calls)) in (("TOOL_CALL", False), ("COMPLETE", True)) and not self.is_lost:
            expected = shown("TOOL_CALL") if self._calls else "another reason: there is no tool call"
            delta["finish_reason"].broken("tool_call", expected)
        for call in self._calls if reason not in _CUT and not self.is_lost else ():
            wrong = joined_object(call.pieces) if "".join(call.pieces) else None
            if wrong:
                place = "delta.message.tool_calls.function.arguments"
                self.broken("arguments", place, f"{wrong}, in all", "JSON that is an object", at=call.last)

    @staticmethod
    def _usage(usage: Place) -> None:
        for name in ("tokens", "billed_units"):
            counts = usage[name]
            for key in ("input_tokens", "output_tokens") if isinstance(counts.value, dict) else ():
                value = counts[key].value
                is_count = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
                if not counts[key].is_nothing and not is_count:
                    counts[key].broken("usage", "a number from 0")

    def close(self) -> None:
        """Judge the end of the body."""
        if not self._is_begun:
            self.missing("message_start", "no message-start", "message-start")
        elif not self._is_ended:
            self.missing("message_end", "the end of the body", "message-end")
        elif not self._is_done:
            self.missing("done", "the end of the body", f"data: {_DONE}")


def _is_error(document: Place, sent: Sent) -> bool:
    """Tell whether an event reports an error: by its name or its type, or as the end of the message."""
    delta = document["delta"]
    reports = delta["finish_reason"].value == _FAILED or not delta["error"].is_nothing
    return "error" in (sent.name, document["type"].value) or (document["type"].value == "message-end" and reports)
