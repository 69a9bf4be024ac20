"""The grammar of OpenAI's legacy completions streams, as 38 recorded ones keep it."""

from __future__ import annotations

from typing import ClassVar

from fakellm.contracts.grammar.openai import Chosen, ChunkGrammar, chunk_rules
from fakellm.contracts.grammar.rules import Place, Rule, Sent, rule_table

_SOURCE = "OpenAI API reference, Completions: the completion object"


class CompletionsGrammar(ChunkGrammar[Chosen]):
    """The grammar of legacy completions streams. A finish reason may come with text."""

    api = "openai_completions"
    kind = "text_completion"
    may_repeat = True
    rules: ClassVar[dict[str, Rule]] = chunk_rules(api, kind, _SOURCE) | rule_table(
        api, _SOURCE,
        ("one_finish", "a choice has one finish reason; OpenAI itself says it twice now and then",
         "clients end the answer at the first"),
        ("finish_last", "no text of a choice follows its finish reason", "clients that end the answer there lose it"),
    )  # fmt: skip

    def new(self) -> Chosen:
        """Return what follows a choice."""
        return Chosen()

    def choice(self, place: Place, choice: Chosen, sent: Sent) -> None:
        """Judge a choice of a chunk."""
        was_over = choice.reason is not None
        text = place["text"].text()
        if was_over and text:
            place["text"].broken("finish_last", "no text of a choice after its finish reason")
        self.reason(place, choice, sent)
