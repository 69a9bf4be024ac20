"""Habits of the services that speak OpenAI's chat API in ways of their own.

Each habit was counted in recordings of such services; `beside` is from their documentation. An app that reads OpenAI's
streams meets these in production, so `FakeProvider("openai", profile="openrouter")` imitates them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Profile:
    """How a service streams chat completions; the defaults are OpenAI's own habits.

    `done`: `[DONE]` ends the stream. `usage`: on a chunk of its own if it was `asked` for, on the `finish` chunk, or on
    `every` chunk. `prelude`: the first chunk has no choices and an empty id. `comment`: a comment that comes first.
    `role_on_every_delta`, `whole_tool_calls`, `tool_type`, `tool_index`: as they say. `finish_with_text`: the
    finish reason comes on the last chunk with text. `unfinished`: what stands for no finish reason yet: null, an
    empty text, or nothing. `after_finish`: an empty delta follows the finish chunk. `reasoning`: the field that
    reasoning comes in. `id_varies`, `created_drifts`: from chunk to chunk. `counts_reasoning`: the total counts
    reasoning tokens beside the output, not in it. `beside`: fields that the service has beside the choices, in its last
    chunk and in documents, where a `Finish.extra` has them.
    """

    name: str = "openai"
    done: bool = True
    usage: Literal["asked", "finish", "every"] = "asked"
    prelude: bool = False
    comment: str = ""
    role_on_every_delta: bool = False
    whole_tool_calls: bool = False
    tool_type: bool = True
    tool_index: bool = True
    finish_with_text: bool = False
    unfinished: Literal["null", '""', ""] = "null"
    after_finish: bool = False
    reasoning: str = "reasoning_content"
    id_varies: bool = False
    created_drifts: bool = False
    counts_reasoning: bool = False
    beside: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether a chunk of text is the same as the one before it, but for the text."""
        varies = self.role_on_every_delta or self.finish_with_text or self.id_varies or self.created_drifts
        return not varies and self.usage != "every"


OPENAI = Profile()

PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        OPENAI,
        Profile("avian", id_varies=True, usage="finish"),
        Profile("azure", prelude=True, created_drifts=True, beside=("prompt_filter_results",)),
        Profile("cerebras", done=False, usage="finish"),
        Profile("deepseek", usage="finish"),
        Profile("github-models", prelude=True, beside=("prompt_filter_results",)),
        Profile("gpustack", done=False, tool_index=False),
        Profile("groq", usage="finish", whole_tool_calls=True, reasoning="reasoning", beside=("x_groq",)),
        Profile("huggingface", done=False, whole_tool_calls=True),
        Profile("mistral", usage="finish", whole_tool_calls=True, tool_type=False, finish_with_text=True),
        Profile("ollama", role_on_every_delta=True, whole_tool_calls=True, created_drifts=True, reasoning="reasoning"),
        Profile(
            "openrouter", comment=": OPENROUTER PROCESSING\n\n", role_on_every_delta=True, after_finish=True,
            usage="finish", reasoning="reasoning", beside=("provider",),
        ),
        Profile(
            "perplexity", done=False, usage="every",
            beside=("citations", "search_results", "images", "related_questions", "videos"),
        ),
        Profile(
            "xai", unfinished="", whole_tool_calls=True, created_drifts=True, usage="finish", counts_reasoning=True,
            beside=("citations",),
        ),
        Profile(
            "zai", role_on_every_delta=True, unfinished="", usage="finish", whole_tool_calls=True,
            beside=("request_id", "web_search"),
        ),
    )
}  # fmt: skip
"""The profiles by name."""
