"""The grammar of DashScope's streams of text generation, as its documentation and the official SDK have it.

Whether an event holds the answer so far or what was added to it is the request's choice, and not judged. Fields beside
the usual ones are legal.
"""

from __future__ import annotations

from typing import ClassVar

from fakellm.contracts.grammar.frames import SSE_RULES
from fakellm.contracts.grammar.rules import Grammar, Place, Rule, Sent, others, rule_table, said, shown
from fakellm.wire.openai.profiles import OPENAI, Profile

_SOURCE = "Model Studio, Qwen API reference (DashScope)"
_UNFINISHED = "null"
_COUNTS = ("input_tokens", "output_tokens", "total_tokens")


class DashScopeGenerationGrammar(Grammar):
    """The grammar of text generation."""

    api = "dashscope_generation"
    rules: ClassVar[dict[str, Rule]] = SSE_RULES | rule_table(
        api, _SOURCE,
        ("shape", "the fields that clients read are there, and of their types",
         "the official SDK raises TypeError where there is no output", others),
        ("event_name", "an event is named `result` or `error`",
         "the official SDK tells an error by the name alone, and hands on any other event as an answer", others),
        ("same_id", "all events have the request_id of the first", "it is what support is asked with", others),
        ("choice_index", "answers are numbered, each by an integer from 0",
         "the official SDK adds up what has the same number", others),
        ("finish_reason", 'the finish reason is "null", as text, until the last event of an answer',
         "clients compare with that text, and take null or nothing for the end", others),
        ("finish", "each answer ends with an event that has its finish reason, once",
         "without it an answer that was cut off looks like a whole one: the official SDK raises nothing", others),
        ("finish_last", "nothing follows of an answer after its finish reason",
         "clients stop reading there", others),
        ("call_start", "a tool call begins with an id and a name",
         "its result cannot be sent back without its id", others),
        ("usage", "the usage counts tokens", "clients add up what they pay for", others),
        ("error", "after an error nothing follows", "the official SDK reads no further", others),
    )  # fmt: skip

    def __init__(self, profile: Profile | None = OPENAI, ignored: frozenset[str] = frozenset()) -> None:
        super().__init__(profile, ignored)
        self._id: object = None
        self._seen: set[int] = set()
        self._ended: set[int] = set()
        self._calls: set[tuple[int, int]] = set()

    def event(self, sent: Sent) -> None:
        """Judge an event."""
        document = self.object(sent)
        if document is None:
            return
        if self.is_failed:
            self.broken("error", "", said(sent.data), "the end of the body")
            return
        if sent.name not in ("result", "error"):
            found = f"event: {sent.name}" if sent.name else "no `event:`"
            self.broken("event_name", "", found, "event: result, or event: error")
        request_id = document["request_id"].name("shape")
        if request_id is not None and request_id != (self._id or request_id):
            document["request_id"].broken("same_id", shown(self._id))
        self._id = self._id or request_id
        if sent.name == "error":
            self.is_failed = True
            document["code"].name("shape")
            document["message"].text()
        else:
            self._result(document)

    def _result(self, document: Place) -> None:
        if document["output"].is_nothing and not document["code"].is_nothing:
            self.is_failed = True
            self.broken("event_name", "", "an error, and event: result", "event: error")
            return
        output = document["output"].object()
        if not document["usage"].is_nothing:
            for name in _COUNTS:
                if not document["usage"][name].is_nothing:
                    document["usage"][name].integer("usage")
        if output is None:
            return
        if output["choices"].is_nothing:
            output["text"].text()
            self._answer(output, 0)
            return
        for place, choice in enumerate(output["choices"].list() or ()):
            index = place if choice["index"].is_nothing else choice["index"].integer("choice_index")
            message = choice["message"].object()
            if index is None or message is None:
                continue
            self._answer(choice, index)
            if not isinstance(message["content"].value, list):
                message["content"].text()
            message["reasoning_content"].maybe_text()
            self._called(message["tool_calls"].maybe_list(), index)

    def _answer(self, answer: Place, index: int) -> None:
        """Judge the finish reason of an answer."""
        if index in self._ended:
            answer.broken("finish_last", "nothing more of this answer")
        self._seen.add(index)
        reason = answer["finish_reason"].name("finish_reason", 'a reason, or "null" as text')
        if reason not in (None, _UNFINISHED):
            self._ended.add(index)

    def _called(self, calls: Place, index: int) -> None:
        for place, call in enumerate(calls):
            number = place if call["index"].is_nothing else call["index"].integer()
            if number is None:
                continue
            if (index, number) not in self._calls and not self.is_lost:
                call["id"].name("call_start")
                call["function"]["name"].name("call_start")
            self._calls.add((index, number))
            call["function"]["arguments"].maybe_text()

    def close(self) -> None:
        """Judge the end of the body."""
        if not self._seen or self._seen - self._ended:
            self.missing("finish", "the end of the body", "an event with the finish reason")
