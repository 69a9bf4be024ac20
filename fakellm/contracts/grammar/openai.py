"""What the grammars of chat completions and legacy completions share: the frame of chunks, `[DONE]`, errors, usage."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from fakellm.contracts.grammar.frames import SSE_RULES
from fakellm.contracts.grammar.rules import (
    MISSING,
    STRICT,
    Grammar,
    Place,
    Rule,
    Sent,
    json_object,
    others,
    rule_table,
    said,
    shown,
)
from fakellm.wire.openai.profiles import Profile

_UNDONE = "[DONE]"


def chunk_rules(prefix: str, kind: str, source: str) -> dict[str, Rule]:
    """Return the rules that both APIs have."""
    return SSE_RULES | rule_table(
        prefix, source,
        ("shape", "the fields that clients read are there, and of their types",
         "clients read `choices`, `delta` and their fields without asking, and raise for another type", others),
        ("unnamed", "an event has no name and no id; only an error may be named `error`",
         "OpenAI sends `data:` alone; clients that go by names pass over events whose name they do not know", others),
        ("object", f'each chunk has the object "{kind}"',
         "the official SDK's helper passes over a chunk of another object, and its text is lost",
         lambda p: p.name == "perplexity" or bool(p.usage_object)),
        ("null", "the data of an event is not null",
         "the official SDK yields None, and who reads its choices raises AttributeError",
         lambda p: p.name == "llama.cpp"),
        ("same_id", "all chunks have the same id, which is not empty",
         "clients key the answer, logs and traces by it",
         lambda p: p.id_varies or p.name == "groq"),
        ("same_created", "all chunks have the same created, in whole seconds",
         "the answer as a whole has one time",
         lambda p: p.created_drifts or p.created_runs or p.name in ("groq", "perplexity", "avian")),
        ("same_model", "all chunks have the same model, which is not empty",
         "usage is priced by the answer's model", others),
        ("choice_index", "each choice has its index, an integer from 0",
         "the official SDK's helper adds choices up by their index, and raises TypeError for none", others),
        ("finish", "each choice that begins ends with a finish reason, and there is one choice at least",
         "without a finish reason an answer that was cut off looks like a whole one"),
        ("one_finish", "a choice has one finish reason",
         "clients end the answer at the first, or count it twice", lambda p: p.name in ("openrouter", "avian")),
        ("finish_last", "nothing of a choice follows its finish reason",
         "some clients end the answer there, others go on adding: their answers differ",
         lambda p: p.after_finish or p.name in ("openrouter", "avian")),
        ("usage", "usage comes once, on a chunk of its own with no choices, after all choices",
         "clients that add usage up count it twice; the official SDK's helper keeps that of the last chunk alone",
         lambda p: p.usage != "asked"),
        ("usage_total", "total_tokens is prompt_tokens and completion_tokens together; all are integers",
         "the official types have the three counts, and bills add up", lambda p: p.counts_reasoning),
        ("error", "after an error nothing follows but a usage and `[DONE]`",
         "the official SDK raises there and reads no more"),
        ("error_last", "after an error nothing follows but `[DONE]`",
         "the usage that OpenAI itself sends after an error is read by no SDK", lambda p: p.name != STRICT.name),
        ("done", "the stream ends with `[DONE]`",
         "clients that wait for it hang, or take the answer for cut off", lambda p: not p.done),
        ("done_last", "nothing follows `[DONE]`", "the official SDK reads no further"),
    )  # fmt: skip


@dataclass(slots=True)
class Chosen:
    """A choice while it is followed: its finish reason, and the event that brought it."""

    reason: str | None = None
    finished: Sent | None = None


C = TypeVar("C", bound=Chosen)


class ChunkGrammar(Grammar, Generic[C]):
    """The frame of a stream of chunks; a subclass judges the choices."""

    kind: ClassVar[str]
    may_repeat: ClassVar[bool] = False

    def __init__(self, profile: Profile | None, ignored: frozenset[str] = frozenset()) -> None:
        super().__init__(profile, ignored)
        self._is_done = False
        self.usage: Sent | None = None
        self._same: dict[str, object] = {}
        self._begun = False
        self.choices: dict[int, C] = {}

    @abstractmethod
    def new(self) -> C:
        """Return what follows a choice."""

    @abstractmethod
    def choice(self, place: Place, choice: C, sent: Sent) -> None:
        """Judge a choice of a chunk."""

    def event(self, sent: Sent) -> None:
        """Judge a chunk, an error, or `[DONE]`."""
        is_done = sent.data.strip() == _UNDONE
        if self._is_done:
            self.broken("done_last", "", said(sent.data), "the end of the body")
            return
        if is_done:
            self._is_done = True
        elif self.is_failed:
            self._after_error(sent)
        elif sent.data.strip() == "null":
            self.broken("null", "", "null", "a chunk")
        elif (chunk := self.object(sent, "a JSON object, or `[DONE]`")) is not None:
            self._chunk(chunk, sent)

    def _chunk(self, chunk: Place, sent: Sent) -> None:
        is_error = self.is_error(chunk)
        if (sent.name is not None and not (is_error and sent.name == "error")) or sent.id is not None:
            found = f"event: {sent.name}" if sent.name is not None else f"id: {sent.id}"
            self.broken("unnamed", "", said(found), "`data:` alone")
        if is_error:
            self.is_failed = True
            return
        choices = chunk["choices"].list()
        if choices is None:
            return
        is_prelude = not choices.value and not self._begun and (self.profile is None or self.profile.prelude)
        if not is_prelude:
            self._head(chunk)
        self._begun = self._begun or bool(choices.value)
        self.count(chunk, choices, sent)
        for place in choices:
            index = place["index"].integer("choice_index")
            if index is None and not self.holds("choice_index"):
                index = 0
            if index is not None:
                self.choice(place, self.choices.setdefault(index, self.new()), sent)

    def _after_error(self, sent: Sent) -> None:
        """Judge what comes after an error."""
        chunk = json_object(sent.data)
        is_usage = chunk is not None and isinstance(chunk.get("usage"), dict) and not chunk.get("choices")
        self.broken(self.error_rule(is_usage=is_usage), "", said(sent.data), "`[DONE]`, or the end of the body")

    def is_error(self, chunk: Place) -> bool:
        """Tell whether a chunk reports an error."""
        return bool(chunk["error"].value) and chunk["error"].value is not MISSING

    def error_rule(self, *, is_usage: bool) -> str:
        """Return the rule that what comes after an error breaks."""
        return "error_last" if is_usage else "error"

    def _head(self, chunk: Place) -> None:
        """Judge what all chunks share."""
        if chunk["object"].value != self.kind:
            chunk["object"].broken("object", shown(self.kind))
        for name in ("id", "created", "model"):
            place, rule = chunk[name], f"same_{name}"
            value = place.integer(rule) if name == "created" else place.name(rule)
            if value is not None and value != self._same.setdefault(name, value):
                place.broken(rule, f"{shown(self._same[name])}, as before")

    def count(self, chunk: Place, choices: Place, sent: Sent) -> None:
        """Judge the usage of a chunk, and whether choices still come after it."""
        usage = chunk["usage"].maybe_object()
        if usage is None:
            if choices.value and self.usage is not None:
                choices.broken("usage", f"no choices after the usage, which came in event {self.usage.number}")
            return
        if choices.value:
            usage.broken("usage", "null, or no usage, on a chunk with choices")
        elif self.usage is not None:
            usage.broken("usage", f"no second usage; the first came in event {self.usage.number}")
        else:
            self.usage = sent
        usage.sum("usage_total", "prompt_tokens", "completion_tokens")

    def reason(self, place: Place, choice: C, sent: Sent) -> str | None:
        """Return the finish reason of a choice in this chunk; None where it has none."""
        found = place["finish_reason"].maybe_text() or None
        if found is None:
            return None
        if choice.reason is None:
            choice.reason, choice.finished = found, sent
        elif not (self.may_repeat and found == choice.reason):
            number = choice.finished.number if choice.finished else 0
            expected = f"no second finish reason; {shown(choice.reason)} came in event {number}"
            place["finish_reason"].broken("one_finish", expected)
        return found

    def close(self) -> None:
        """Judge the end: what is not finished, else whether `[DONE]` came."""
        open_ = [str(index) for index, choice in self.choices.items() if choice.reason is None]
        if open_:
            self.missing("finish", f"no finish reason for choice {', '.join(open_)}", "a finish reason for each choice")
        elif not self.choices:
            self.missing("finish", "no choice", "a choice, with a finish reason")
        elif not self._is_done:
            self.missing("done", "the end of the body", "`[DONE]`")
