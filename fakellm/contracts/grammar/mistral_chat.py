"""The grammar of Mistral's completions, of chat, of fill-in-the-middle and of agents, as recorded ones have it.

The frame is that of OpenAI's chunks. Parts of content of new types are legal and not judged.
"""

from __future__ import annotations

from typing import ClassVar

from fakellm.contracts.grammar.frames import SSE_RULES
from fakellm.contracts.grammar.openai_chat import ChatGrammar, FollowedCall, FollowedChoice
from fakellm.contracts.grammar.rules import Place, Rule, Sent, joined_object, others, rule_table

_SOURCE = "Mistral API reference, Chat: the completion chunk"
_ANSWER = ("content", "tool_calls")


class MistralChatGrammar(ChatGrammar):
    """The grammar of completions streams."""

    api = "mistral_chat"
    rules: ClassVar[dict[str, Rule]] = SSE_RULES | rule_table(
        api, _SOURCE,
        ("shape", "the fields that clients read are there, and of their types",
         "the official SDK checks each chunk, and raises where a field is not of its type", others),
        ("unnamed", "an event has no name and no id; only an error may be named `error`",
         "clients that go by names pass over events whose name they do not know", others),
        ("object", 'each chunk has the object "chat.completion.chunk"',
         "clients tell chunks from errors by it"),
        ("null", "the data of an event is not null", "the official SDK raises for it"),
        ("same_id", "all chunks have the same id, which is not empty", "clients key the answer, logs and traces by it"),
        ("same_created", "all chunks have the same created, in whole seconds", "the answer as a whole has one time"),
        ("same_model", "all chunks have the same model, which is not empty", "usage is priced by the answer's model"),
        ("choice_index", "each choice has its index, an integer from 0",
         "the official SDK raises for a chunk without it"),
        ("finish", "each choice that begins ends with a finish reason, and there is one choice at least",
         "without a finish reason an answer that was cut off looks like a whole one: the official SDK raises nothing"),
        ("one_finish", "a choice has one finish reason", "clients end the answer at the first, or count it twice"),
        ("finish_last", "nothing of a choice follows its finish reason",
         "some clients end the answer there, others go on adding: their answers differ"),
        ("finish_reason", "finish_reason stands in each choice: null until it ends, then a string that is not empty",
         "the official SDK raises for a choice without it"),
        ("finish_alone", "a text that comes with a finish reason is one that it cuts off; else it is empty",
         "clients that end the answer there lose the text", others),
        ("role", 'the first delta of a choice has the role "assistant"',
         "clients make the message by it; without it the message has no role"),
        ("role_once", "no later delta of a choice has a role", "clients begin another message there"),
        ("content", "content is a string, a list of parts that have a type, or null",
         "the official SDK raises for anything else, and takes a part without a type for an unknown one", others),
        ("tool_index", "each tool call has its index, an integer from 0",
         "the official SDK takes a call without one for the first", others),
        ("tool_order", "the indexes of tool calls count from 0 without gaps, and never go back",
         "clients that add calls up by their index leave a gap", others),
        ("tool_start", "a tool call has its id and its function's name",
         "clients cannot answer a call without its id, nor call a function without its name", others),
        ("tool_type", 'a tool call has the type "function"', "clients call by type", others),
        ("tool_whole", "a tool call comes in one piece, its arguments a JSON object, unless the answer was cut off",
         "clients call the function when the piece comes: half of its arguments is no JSON", others),
        ("usage", "usage comes once, on a chunk with a finish reason",
         "clients that add usage up count it twice; who reads no further than the finish reason misses it", others),
        ("usage_total", "total_tokens is prompt_tokens and completion_tokens together; all are integers",
         "the official types have the three counts, and bills add up", others),
        ("error", "after an error nothing follows", "the official SDK raises there and reads no more", others),
        ("done", "the stream ends with `[DONE]`", "clients that wait for it hang, or take the answer for cut off"),
        ("done_last", "nothing follows `[DONE]`", "the official SDK reads no further"),
    )  # fmt: skip

    _is_cut = False

    def is_error(self, chunk: Place) -> bool:
        """Tell whether a chunk reports an error, in Mistral's form or in OpenAI's."""
        return chunk["object"].value == "error" or super().is_error(chunk)

    def error_rule(self, *, is_usage: bool) -> str:  # noqa: ARG002 - no usage comes after an error
        """Return the rule that what comes after an error breaks."""
        return "error"

    def delta(self, delta: Place, choice: FollowedChoice, sent: Sent, *, reason: str | None) -> None:
        """Judge the delta of a choice."""
        self.role(delta["role"], choice)
        self._is_cut = reason == "length"
        said = [name for name in _ANSWER if not delta[name].is_nothing and delta[name].value]
        if reason and reason != "length" and "content" in said:
            delta["content"].broken("finish_alone", '""')
        if isinstance(delta["content"].value, list):
            for part in delta["content"]:
                part["type"].name("content")
        else:
            delta["content"].maybe_text("content")
        for piece in delta["tool_calls"].maybe_list():
            self.piece(piece, choice, sent)

    def later(self, piece: Place, body: Place | None, choice: FollowedChoice) -> None:  # noqa: ARG002 - as it is called
        """Judge what comes of a call after its first piece: nothing should."""
        if not self.is_lost:
            piece.broken("tool_whole", "no second piece of the call")

    def arguments(self, place: Place, call: FollowedCall, sent: Sent, *, is_first: bool) -> None:  # noqa: ARG002
        """Judge the arguments of a call."""
        if isinstance(place.value, dict):
            return
        text = place.text("shape")
        is_judged = is_first and text is not None and not self.is_lost and not self._is_cut
        if is_judged and (wrong := joined_object([text or ""])):
            place.broken("tool_whole", "JSON that is an object", wrong)

    def count(self, chunk: Place, choices: Place, sent: Sent) -> None:
        """Judge the usage of a chunk."""
        usage = chunk["usage"].maybe_object()
        if usage is None:
            return
        if not any(place["finish_reason"].value for place in choices):
            usage.broken("usage", "null, or no usage, on a chunk without a finish reason")
        elif self.usage is not None:
            usage.broken("usage", f"no second usage; the first came in event {self.usage.number}")
        self.usage = self.usage or sent
        usage.sum("usage_total", "prompt_tokens", "completion_tokens")
