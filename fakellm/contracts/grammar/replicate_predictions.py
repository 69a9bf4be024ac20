"""The grammar of Replicate's streams, as its documentation, the official SDK and a recorded stream have it.

The output is text as it is; what `done` and `error` hold is JSON.
"""

from __future__ import annotations

from typing import ClassVar

from fakellm.contracts.grammar.frames import SSE_RULES
from fakellm.contracts.grammar.rules import Grammar, Rule, Sent, json_object, others, rule_table, said
from fakellm.wire.openai.profiles import OPENAI, Profile

_SOURCE = "Replicate documentation, Streaming output"
_NAMES = ("output", "logs", "error", "done")


class ReplicatePredictionsGrammar(Grammar):
    """The grammar of streams of output."""

    api = "replicate_predictions"
    rules: ClassVar[dict[str, Rule]] = {
        **{name: rule for name, rule in SSE_RULES.items() if name != "json"},
        **rule_table(
            api, _SOURCE,
            ("event_name", "an event is named `output`, `logs`, `error` or `done`",
             "the official SDK raises ValueError for another name, and passes over an event without one", others),
            ("event_id", "each event has an id, which no other has",
             "the official SDK passes over events before the first id; a stream is resumed by it", others),
            ("shape", "what `done` and `error` hold is a JSON object",
             "clients look there for the reason", others),
            ("done", "`done` comes, and nothing after it",
             "without it an output that was cut off looks like a whole one: the official SDK raises nothing", others),
            ("error", "after an error nothing follows but `done`", "the official SDK raises there, and reads no more",
             others),
        ),
    }  # fmt: skip

    def __init__(self, profile: Profile | None = OPENAI, ignored: frozenset[str] = frozenset()) -> None:
        super().__init__(profile, ignored)
        self._ids: set[str] = set()
        self._is_done = False

    def event(self, sent: Sent) -> None:
        """Judge an event."""
        if self._is_done:
            self.broken("done", "", said(sent.data), "the end of the body")
            return
        if sent.name not in _NAMES:
            self.broken("event_name", "", f"event: {sent.name}" if sent.name else "no `event:`", " or ".join(_NAMES))
        if sent.id is None or sent.id in self._ids:
            self.broken("event_id", "", "no `id:`" if sent.id is None else f"id: {sent.id}", "an id of its own")
        self._ids |= {sent.id or ""}
        if self.is_failed and sent.name != "done":
            self.broken("error", "", said(sent.data), "event: done, or the end of the body")
            return
        if sent.name in ("done", "error"):
            self._object(sent)
        self._is_done = sent.name == "done"
        self.is_failed = self.is_failed or sent.name == "error"

    def _object(self, sent: Sent) -> None:
        if json_object(sent.data) is None:
            self.broken("shape", "", said(sent.data), "a JSON object")

    def close(self) -> None:
        """Judge the end of the body."""
        if not self._is_done:
            self.missing("done", "the end of the body", "event: done")
