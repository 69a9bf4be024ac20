"""The grammar of streams of Gemini's Interactions API, as recorded ones and the types of the official SDK have it.

Events of new types are legal and not judged, and so are deltas of types that are not those of text and calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from fakellm.contracts.grammar.frames import SSE_RULES
from fakellm.contracts.grammar.rules import Grammar, Place, Rule, Sent, joined_object, others, rule_table, said, shown
from fakellm.wire.openai.profiles import OPENAI, Profile

_SOURCE = "Gemini API reference, Interactions: Streaming"
_DONE = "[DONE]"
_COUNTS = ("total_input_tokens", "total_output_tokens", "total_thought_tokens", "total_cached_tokens", "total_tokens")
_FITS = {"text": "model_output", "thought_summary": "thought", "thought_signature": "thought",
         "arguments_delta": "function_call"}  # fmt: skip
"""The type of a delta -> the type of the step that it is of."""


@dataclass(slots=True)
class _Step:
    """A step that is open: its index, its type, the pieces of its arguments, and the event with the last of them."""

    index: int
    kind: str
    pieces: list[str] = field(default_factory=list)
    last: Sent | None = None


class GeminiInteractionsGrammar(Grammar):
    """The grammar of streams of interactions."""

    api = "gemini_interactions"
    rules: ClassVar[dict[str, Rule]] = SSE_RULES | rule_table(
        api, _SOURCE,
        ("shape", "the fields that clients read are there, and of their types",
         "the official SDK checks nothing, so clients read `delta.text` of None", others),
        ("type", "each event has an event_type",
         "the official SDK hands on an event without one as unknown", others),
        ("event_name", "an event that is named is named by its event_type",
         "clients that go by the name take it for another", others),
        ("created", "interaction.created, with the id, comes first, and once", "clients keep the id to go on from it"),
        ("step_index", "steps count from 0, in the order in which they begin",
         "clients put a delta to the step of its index"),
        ("step_order", "a step starts, has its deltas, stops, and then the next one starts",
         "clients append the deltas to what began last"),
        ("delta_fits", "a delta of text, of a thought or of arguments is one of a step of that type",
         "a thought would be shown as text, or text taken for arguments"),
        ("call_start", "a function call begins with an id and a name",
         "its result cannot be sent back without its id", others),
        ("arguments", "the arguments of a call add up to a JSON object, unless the answer was cut off",
         "clients parse them when the step stops", others),
        ("completed", "interaction.completed, with a status, comes after all steps, and once",
         "without it an answer that was cut off looks like a whole one: the official SDK raises nothing"),
        ("requires_action", 'the status "requires_action" follows a function call; "completed" does not',
         "clients call the functions because of the status", others),
        ("usage", "the usage counts tokens", "clients add up what they pay for", others),
        ("error", "after an error nothing follows but the marker", "clients raise there, and read no more"),
        ("done", "data: [DONE] comes last, and once", "the official SDK reads nothing after it", others),
    )  # fmt: skip

    def __init__(self, profile: Profile | None = OPENAI, ignored: frozenset[str] = frozenset()) -> None:
        super().__init__(profile, ignored)
        self._is_begun = self._is_ended = self._is_done = False
        self._steps = 0
        self._step: _Step | None = None
        self._calls: list[_Step] = []
        self._readers: dict[str, Callable[[Place, Sent], None]] = {
            "step.start": self._start,
            "step.delta": self._delta,
            "step.stop": self._stop,
            "interaction.completed": self._completed,
        }

    def event(self, sent: Sent) -> None:
        """Judge an event."""
        if self._is_done:
            self.broken("done", "", said(sent.data), "the end of the body")
            return
        if sent.data.strip() == _DONE:
            self._is_done = True
            if self._is_begun and not (self._is_ended or self.is_failed):
                self.missing("completed", _DONE, "interaction.completed")
                self._is_ended = True
            return
        document = self.object(sent)
        if document is None:
            return
        if self.is_failed or self._is_ended:
            rule = "error" if self.is_failed else "completed"
            self.broken(rule, "", said(sent.data), f"data: {_DONE}, or the end of the body")
            return
        self.is_failed = "error" in (sent.name, document["event_type"].value)
        if self.is_failed:
            document["error"].object()
            return
        kind = document["event_type"].name("type")
        if kind is None:
            self.is_lost = True
            return
        if sent.name not in (None, "", "message", kind):
            self.broken("event_name", "", f"event: {sent.name}", f"event: {said(kind)}")
        self._usual(kind, document, sent)

    def _usual(self, kind: str, document: Place, sent: Sent) -> None:
        is_created = kind == "interaction.created"
        if is_created == self._is_begun and not (self.is_lost and not is_created):
            expected = "no second interaction.created" if is_created else "interaction.created"
            self.broken("created", "event_type", shown(kind), expected)
        self._is_begun = True
        if is_created:
            interaction = document["interaction"].object()
            if interaction is not None:
                interaction["id"].name("created")
        elif kind in self._readers:
            self._readers[kind](document, sent)

    def _disorder(self, document: Place, expected: str) -> None:
        if not self.is_lost:
            document["event_type"].broken("step_order", expected)

    def _start(self, document: Place, _: Sent) -> None:
        if self._step is not None:
            self._disorder(document, f"step.stop of step {self._step.index}")
        index = document["index"].integer("step_index")
        if index is not None and index != self._steps and not self.is_lost:
            document["index"].broken("step_index", str(self._steps))
        step = document["step"].object()
        kind = (step["type"].name("shape") if step is not None else None) or ""
        self._step = _Step(self._steps if index is None else index, kind)
        self._steps += 1
        if step is not None and kind == "function_call":
            self._calls.append(self._step)
            step["id"].name("call_start")
            step["name"].name("call_start")
            step["arguments"].maybe_object("arguments")

    def _delta(self, document: Place, sent: Sent) -> None:
        step = self._of_step(document)
        delta = document["delta"].object()
        kind = delta["type"].name("shape") if delta is not None else None
        if delta is None or kind is None:
            return
        wanted = _FITS.get(kind)
        if wanted is not None and step is not None and step.kind and step.kind != wanted:
            delta["type"].broken("delta_fits", f"a delta of a step of type {shown(step.kind)}")
        elif kind == "text":
            delta["text"].text()
        elif kind == "arguments_delta" and step is not None:
            step.pieces.append(delta["arguments"].maybe_text())
            step.last = sent

    def _stop(self, document: Place, _: Sent) -> None:
        self._of_step(document)
        self._step = None

    def _of_step(self, document: Place) -> _Step | None:
        """Return the step that is open; a problem where none is, or another."""
        index = document["index"].integer("step_index")
        if self._step is None:
            self._disorder(document, "step.start")
            if index is not None and index >= self._steps:
                self._step, self._steps = _Step(index, ""), index + 1
        elif index is not None and index != self._step.index and not self.is_lost:
            document["index"].broken("step_order", str(self._step.index))
        return self._step

    def _completed(self, document: Place, _: Sent) -> None:
        self._is_ended = True
        if self._step is not None:
            self._disorder(document, f"step.stop of step {self._step.index}")
        interaction = document["interaction"].object()
        if interaction is None:
            return
        status = interaction["status"].name("completed")
        if not interaction["usage"].is_nothing:
            self._usage(interaction["usage"])
        if (status, bool(self._calls)) in (("requires_action", False), ("completed", True)) and not self.is_lost:
            expected = shown("requires_action") if self._calls else "another status: there is no function call"
            interaction["status"].broken("requires_action", expected)
        is_cut = status not in ("completed", "requires_action")
        for call in self._calls if not (is_cut or self.is_lost) else ():
            wrong = joined_object(call.pieces) if "".join(call.pieces) else None
            if wrong:
                self.broken("arguments", "delta.arguments", f"{wrong}, in all", "JSON that is an object", at=call.last)

    @staticmethod
    def _usage(usage: Place) -> None:
        found = usage.object("usage")
        for name in _COUNTS if found is not None else ():
            if not usage[name].is_nothing:
                usage[name].integer("usage")

    def close(self) -> None:
        """Judge the end of the body."""
        if not self._is_begun and not self.is_failed:
            self.missing("created", "no interaction.created", "interaction.created")
        elif not (self._is_ended or self.is_failed):
            self.missing("completed", "the end of the body", "interaction.completed")
        elif not self._is_done and not self.is_failed:
            self.missing("done", "the end of the body", f"data: {_DONE}")
