"""The grammars of Ollama's chat and generate, as recorded streams and the types of Ollama's server have them."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from fakellm.contracts.grammar.lines import LINE_RULES, LineFrames
from fakellm.contracts.grammar.rules import Grammar, Place, Rule, Sent, others, rule_table, said, shown
from fakellm.wire.ollama.lines import CHAT, GENERATE, METRICS, Form
from fakellm.wire.openai.profiles import OPENAI, Profile

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def _rules(api: str, source: str) -> dict[str, Rule]:
    return LINE_RULES | rule_table(
        api, source,
        ("shape", "the fields that clients read are there, and of their types",
         "the official SDK validates the types of all fields, and raises", others),
        ("created", "a line has `created_at`, a time of RFC 3339", "clients in typed languages parse it, and fail"),
        ("same_model", "all lines have the same model", "clients key what was used by it", others),
        ("call", "a tool call has its name, and its arguments whole as an object",
         "the official SDK raises for others; no pieces follow"),
        ("usage", "counts and durations are integers from 0", "the official SDK raises for others"),
        ("reason", "the last line has its `done_reason`, and no other line has one",
         "without it an answer that ran into its limit looks like one that is whole", others),
        ("finish", "the body ends with a line whose `done` is true",
         "the official SDK takes the end of the body for the end of the answer: only `done` tells them apart"),
        ("done", "nothing follows the line whose `done` is true", "clients stop there, and lose it"),
        ("error", "an error is a text, and nothing follows it", "the official SDK raises there and reads no more"),
    )  # fmt: skip


class LineGrammar(Grammar):
    """What the grammars of chat and generate share."""

    form: ClassVar[Form]
    frames = LineFrames
    content_types = ("application/x-ndjson",)

    def __init__(self, profile: Profile | None = OPENAI, ignored: frozenset[str] = frozenset()) -> None:
        super().__init__(profile, ignored)
        self._model: str | None = None
        self._is_done = False

    def event(self, sent: Sent) -> None:
        """Judge a line."""
        if self.is_failed:
            self.broken("error", "", said(sent.data), "the end of the body")
            return
        line = self.object(sent)
        if line is None:
            return
        if not line["error"].is_nothing:
            self.is_failed = True
            line["error"].name("error", "a text that says what is wrong")
        elif self._is_done:
            self.broken("done", "", said(sent.data), "the end of the body")
        else:
            self._line(line)

    def _line(self, line: Place) -> None:
        model = line["model"].name("shape")
        if model is not None and model != (self._model or model):
            line["model"].broken("same_model", f"{shown(self._model)}, as before")
        self._model = self._model or model
        created = line["created_at"].text("created", "a time such as 2026-01-01T00:00:00Z")
        if created is not None and not _TIME.fullmatch(created):
            line["created_at"].broken("created", "a time such as 2026-01-01T00:00:00Z")
        said_in = line
        if self.form.has_message:
            message = line["message"].object()
            if message is not None:
                message["role"].name("shape")
                said_in = message
        if said_in is not line or not self.form.has_message:
            said_in[self.form.text].text()
            said_in["thinking"].maybe_text()
            for call in said_in["tool_calls"].maybe_list():
                self._call(call)
        self._ending(line)

    def _call(self, call: Place) -> None:
        function = call["function"].object("call")
        if function is not None:
            function["name"].name("call")
            function["arguments"].object("call", "an object, all at once")

    def _ending(self, line: Place) -> None:
        """Judge what tells the last line from others."""
        is_last: Any = line["done"].value
        if not isinstance(is_last, bool):
            line["done"].broken("shape", "true or false")
            self.is_lost = True
        for name in METRICS:
            if not line[name].is_nothing:
                line[name].integer("usage")
        reason = line["done_reason"]
        if is_last is True:
            self._is_done = True
            reason.name("reason")
        elif not reason.is_nothing:
            reason.broken("reason", "nothing before the last line")

    def close(self) -> None:
        """Judge the end of the body."""
        if not self._is_done:
            self.missing("finish", "no such line", 'a last line with "done": true')


class OllamaChatGrammar(LineGrammar):
    """The grammar of chat's streams."""

    api = "ollama_chat"
    form = CHAT
    rules: ClassVar[dict[str, Rule]] = _rules(api, "https://docs.ollama.com/api/chat")


class OllamaGenerateGrammar(LineGrammar):
    """The grammar of generate's streams."""

    api = "ollama_generate"
    form = GENERATE
    rules: ClassVar[dict[str, Rule]] = _rules(api, "https://docs.ollama.com/api/generate")
