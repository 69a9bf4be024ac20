"""The grammar of Mistral's streams of conversations, as the types of the official SDK and recorded ones have it.

Events of new types are legal and not judged, and so is content of new types.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from fakellm.contracts.grammar.frames import SSE_RULES
from fakellm.contracts.grammar.rules import Grammar, Place, Rule, Sent, joined_object, others, rule_table, said, shown
from fakellm.wire.openai.profiles import OPENAI, Profile

_SOURCE = "Mistral API reference, Conversations: the events of a stream"
_STARTED, _DONE, _ERROR = (f"conversation.response.{name}" for name in ("started", "done", "error"))
_RUN, _HANDOFF = "tool.execution", "agent.handoff"


@dataclass(slots=True)
class _Output:
    """An output: its place, what kind of thing it is, its id, and what of it came so far."""

    index: int
    kind: str
    id: str | None
    name: str | None = None
    arguments: list[str] = field(default_factory=list)
    last: Sent | None = None
    is_over: bool = False


class ConversationsGrammar(Grammar):
    """The grammar of streams of conversations."""

    api = "mistral_conversations"
    rules: ClassVar[dict[str, Rule]] = SSE_RULES | rule_table(
        api, _SOURCE,
        ("shape", "the fields that clients read are there, and of their types",
         "the official SDK checks each event, and raises where a field is not of its type", others),
        ("type", "each event has a type", "the official SDK knows an event by its type", others),
        ("event_name", "an event is named by its type",
         "clients that go by the name pass over an event that has none, or another", others),
        ("started", "conversation.response.started comes first, with the conversation's id, and once",
         "a conversation is continued by its id", others),
        ("output_index", "outputs count from 0, in the order in which they begin",
         "clients put a piece to the output of its index", others),
        ("output_order", "an output is over when the next one begins, and all of it is of one kind",
         "clients append a piece to what began last", others),
        ("output_id", "all pieces of an output have its id, which no other has",
         "a conversation is begun again from an entry by its id", others),
        ("call", "each piece of a function call has its id and its name, the same in all",
         "clients cannot answer a call without its id, nor call a function without its name", others),
        ("arguments", "the arguments of a function call add up to a JSON object",
         "clients parse them when the call ends", others),
        ("run", "a tool that Mistral runs starts, has its deltas, and is done; so does a handoff",
         "clients show what is being done until it is done", others),
        ("usage", "the usage counts tokens, and the total is at least what was read and written",
         "clients add up what they pay for", others),
        ("terminal", "conversation.response.done, with the usage, or an error ends the stream",
         "without it an answer that was cut off looks like a whole one: the official SDK raises nothing", others),
        ("terminal_last", "nothing follows the end", "clients stop reading there", others),
    )  # fmt: skip

    def __init__(self, profile: Profile | None = OPENAI, ignored: frozenset[str] = frozenset()) -> None:
        super().__init__(profile, ignored)
        self._is_begun = self._is_ended = False
        self._outputs: dict[int, _Output] = {}
        self._readers: dict[str, Callable[[Place, Sent], None]] = {
            "message.output.delta": self._message,
            "function.call.delta": self._call,
            **{f"{_RUN}.{step}": self._run for step in ("started", "delta", "done")},
            **{f"{_HANDOFF}.{step}": self._run for step in ("started", "done")},
            _DONE: self._done,
        }

    def event(self, sent: Sent) -> None:
        """Judge an event."""
        document = None if sent.data.strip() == "[DONE]" and self._is_ended else self.object(sent)
        is_error = sent.name == "error" or (document is not None and document["type"].value == _ERROR)
        if self._is_ended and (self.is_failed or not is_error):
            self.broken("terminal_last", "", said(sent.data), "the end of the body")
            return
        if document is None:
            return
        if sent.name == "error":
            self._is_ended = self.is_failed = True
            return
        kind = document["type"].name("type")
        self._is_ended = kind in (_DONE, _ERROR)
        self.is_failed = kind == _ERROR
        if kind is None:
            self.is_lost = True
            return
        if sent.name != kind:
            found = f"event: {sent.name}" if sent.name else "no `event:`"
            self.broken("event_name", "", found, f"event: {said(kind)}")
        if (kind == _STARTED) == self._is_begun and not (self.is_lost or self.is_failed):
            expected = "no second start" if self._is_begun else _STARTED
            self.broken("started", "type", shown(kind), expected)
        self._is_begun = True
        if kind == _STARTED:
            document["conversation_id"].name("started")
        elif kind == _ERROR:
            document["message"].text()
            document["code"].integer("shape")
        elif kind in self._readers:
            self._readers[kind](document, sent)

    def _output(self, document: Place, kind: str) -> _Output | None:
        """Return the output that a piece is of: the open one, or a new one."""
        index, id = document["output_index"].integer("output_index"), document["id"].name("output_id")  # noqa: A001
        if index is None:
            return None
        found = self._outputs.get(index)
        if found is None:
            if index != len(self._outputs) and not self.is_lost:
                document["output_index"].broken("output_index", str(len(self._outputs)))
            if id is not None and any(id == other.id for other in self._outputs.values()):
                document["id"].broken("output_id", "an id that no other output has")
            found = self._outputs[index] = _Output(index, kind, id)
            return found
        if found is not list(self._outputs.values())[-1] and not self.is_lost:
            document["output_index"].broken("output_order", str(list(self._outputs)[-1]))
        if found.kind != kind:
            document["type"].broken("output_order", f"an event of {found.kind}")
        if id is not None and found.id is not None and id != found.id:
            document["id"].broken("output_id", shown(found.id))
        return found

    def _message(self, document: Place, _: Sent) -> None:
        self._output(document, "message.output")
        content = document["content"]
        if isinstance(content.value, dict):
            content["type"].name("shape")
        elif not isinstance(content.value, str):
            content.broken("shape", "a string, or an object with a type")

    def _call(self, document: Place, sent: Sent) -> None:
        call = self._output(document, "function.call")
        names = document["tool_call_id"].name("call"), document["name"].name("call")
        text = document["arguments"].text()
        if call is None:
            return
        is_first = not call.arguments
        known = "\n".join(name or "" for name in names)
        if is_first:
            call.name = known
        elif known != call.name and None not in names and not self.is_lost:
            document["name"].broken("call", "the id and the name of the call, as before")
        call.arguments.append(text or "")
        call.last = sent

    def _run(self, document: Place, _: Sent) -> None:
        family, step = str(document["type"].value).rsplit(".", 1)
        found = self._output(document, family)
        if family == _RUN:
            document["name"].text()
        if found is None:
            return
        is_new = found.name is None
        if (is_new != (step == "started") or found.is_over) and not self.is_lost:
            expected = (
                "nothing more of it" if found.is_over else f"{family}.started" if is_new else "a delta, or its end"
            )
            document["type"].broken("run", expected)
        found.name, found.is_over = step, step == "done"

    def _done(self, document: Place, _: Sent) -> None:
        usage = document["usage"].object("usage")
        if usage is not None:
            counts = [usage[name].integer("usage") for name in ("prompt_tokens", "completion_tokens", "total_tokens")]
            if None not in counts and sum(map(int, filter(None, counts[:2]))) > (counts[2] or 0):
                usage["total_tokens"].broken("usage", "at least what was read and written together")
        for output in self._outputs.values() if not self.is_lost else ():
            if output.kind == "function.call" and (wrong := joined_object(output.arguments)):
                self.broken("arguments", "arguments", f"{wrong}, in all", "JSON that is an object", at=output.last)
            elif output.kind in (_RUN, _HANDOFF) and not output.is_over:
                self.broken("run", "", f"no end of output {output.index}", f"{output.kind}.done")

    def close(self) -> None:
        """Judge the end of the body."""
        if not self._is_ended:
            self.missing("terminal", "the end of the body", _DONE)
