"""The grammar of Gemini's streamGenerateContent, as 1,053 recorded streams keep it: server-sent events, or an array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fakellm.contracts.grammar.frames import SSE_RULES
from fakellm.contracts.grammar.gemini_frames import GeminiFrames
from fakellm.contracts.grammar.rules import Grammar, Place, Rule, Sent, others, rule_table, said, shown
from fakellm.wire.openai.profiles import OPENAI, Profile

_SOURCE = "Gemini API reference: Generating content, GenerateContentResponse"
_SAYS = ("candidates", "promptFeedback", "usageMetadata")
_DATA = ("text", "inlineData", "functionCall", "functionResponse", "fileData", "executableCode", "codeExecutionResult")
_COUNTS = (
    "promptTokenCount", "candidatesTokenCount", "totalTokenCount", "thoughtsTokenCount", "cachedContentTokenCount",
    "toolUsePromptTokenCount",
)  # fmt: skip


@dataclass(slots=True)
class _Last:
    """Where the last chunk of a candidate was, and whether it had a finish reason."""

    sent: Sent
    path: str
    is_over: bool


class GeminiGrammar(Grammar):
    """The grammar of Gemini's streams."""

    api = "gemini"
    content_types = ("text/event-stream", "application/json")
    frames = GeminiFrames
    rules: ClassVar[dict[str, Rule]] = SSE_RULES | rule_table(
        api, _SOURCE,
        ("array", "without alt=sse the body is one JSON array of objects",
         "clients parse it as JSON, at once or while it comes"),
        ("data_only", "each line is blank or `data:`: no comments, no names of events, but `error`, no ids",
         "the official SDK parses any other line as JSON, and raises"),
        ("shape", "the fields that clients read are there, and of their types",
         "the official SDK validates the types of all fields, and raises", others),
        ("says", "a chunk has candidates, promptFeedback or usageMetadata", "a chunk without them says nothing"),
        ("parts", "a part has one kind of data, and its own fields are of their types",
         "clients choose what to do with a part by the field that it has", others),
        ("call", "a function call has its name, and its args, if any, whole as an object",
         "clients call the function at once: no pieces follow; the official SDK raises for other args", others),
        ("same_id", "all chunks have the same responseId, where they have one", "clients key the answer by it", others),
        ("same_model", "all chunks have the same modelVersion, where they have one",
         "usage is priced by the answer's model", others),
        ("usage", "the counts of usageMetadata are integers from 0", "the official SDK raises for others"),
        ("finish", "the last chunk of each candidate has its finishReason, unless the prompt was blocked",
         "without it an answer that was cut off looks like a whole one"),
        ("done", "there is no `[DONE]`", "the official SDK parses it as JSON and raises"),
        ("error", "after an error nothing follows", "the official SDK raises there and reads no more"),
    )  # fmt: skip

    def __init__(self, profile: Profile | None = OPENAI, ignored: frozenset[str] = frozenset()) -> None:
        super().__init__(profile, ignored)
        self._same: dict[str, str] = {}
        self._candidates: dict[int, _Last] = {}
        self._is_blocked = self._goes_on = False

    def event(self, sent: Sent) -> None:
        """Judge a chunk, or an error."""
        if self.is_failed:
            self.broken("error", "", said(sent.data), "the end of the body")
            return
        if sent.data.strip() == "[DONE]":
            self.broken("done", "", "[DONE]", "the end of the body after the last chunk")
            return
        chunk = self.object(sent)
        if chunk is None:
            return
        if chunk["error"].value and not chunk["error"].is_nothing:
            self.is_failed = True
        else:
            self._chunk(chunk, sent)

    def _chunk(self, chunk: Place, sent: Sent) -> None:
        if all(chunk[name].is_nothing for name in _SAYS):
            chunk.broken("says", ", ".join(_SAYS[:-1]) + f" or {_SAYS[-1]}")
        for name, rule in (("responseId", "same_id"), ("modelVersion", "same_model")):
            value = None if chunk[name].is_nothing else chunk[name].name(rule)
            if value is not None and value != self._same.setdefault(name, value):
                chunk[name].broken(rule, f"{shown(self._same[name])}, as before")
        feedback = chunk["promptFeedback"].maybe_object()
        self._is_blocked = self._is_blocked or (feedback is not None and not feedback["blockReason"].is_nothing)
        usage = chunk["usageMetadata"].maybe_object()
        for name in _COUNTS if usage is not None else ():
            if usage is not None and not usage[name].is_nothing:
                usage[name].integer("usage")
        for candidate in chunk["candidates"].maybe_list():
            self._candidate(candidate, sent)

    def _candidate(self, place: Place, sent: Sent) -> None:
        index = 0 if place["index"].is_nothing else place["index"].integer()
        reason = place["finishReason"].maybe_text()
        if index is None:
            self.is_lost = True
            return
        self._candidates[index] = _Last(sent, place["finishReason"].path, bool(reason))
        content = place["content"].maybe_object()
        if content is not None:
            for part in content["parts"].maybe_list():
                self._part(part)

    def _part(self, part: Place) -> None:
        """Judge a part of a candidate's content."""
        kinds = [name for name in _DATA if not part[name].is_nothing]
        if len(kinds) > 1:
            part.broken("parts", "one kind of data in a part", " and ".join(kinds))
        part["text"].maybe_text("parts")
        for name in kinds:
            if name not in ("text", "functionCall"):
                part[name].object("parts")
        call = part["functionCall"].maybe_object("call")
        if call is not None:
            if not self._goes_on:  # Vertex AI sends arguments in pieces where it is asked for them
                call["name"].name("call")
            call["args"].maybe_object("call")
            self._goes_on = call["willContinue"].value is True

    def close(self) -> None:
        """Judge the end of the body."""
        if not self._candidates and not self._is_blocked:
            self.missing("finish", "no candidate", "a candidate with a finishReason, or a promptFeedback")
        for last in self._candidates.values():
            if not (last.is_over or self._is_blocked or self.is_lost or self.is_failed):
                expected = "a finishReason in the last chunk of the candidate"
                self.broken("finish", last.path, "nothing, and the body ends", expected, at=last.sent)
