"""What legacy completions refuse.

Source: https://platform.openai.com/docs/api-reference/completions/create.
"""

from __future__ import annotations

from fakellm.wire.openai import rules as openai
from fakellm.wire.openai.chat_rules import RULES as CHAT
from fakellm.wire.openai.rules import OpenAIRules
from fakellm.wire.rules import Asked, rules_of_types

_REFERENCE = "https://platform.openai.com/docs/api-reference/completions/create"
_SHARED = ("number-range", "too-many-stops", "stream-options-without-stream")


class CompletionsRules(OpenAIRules):
    """The rules of legacy completions."""

    api = "openai.completions"
    rules = (
        *rules_of_types(
            "openai", openai.TYPES_OF, "https://github.com/coroot/coroot/issues/698", _REFERENCE, _REFERENCE
        ),
        *(rule for rule in CHAT.rules if rule.name in _SHARED),
    )

    def types(self, asked: Asked) -> str | None:  # noqa: ARG002 - there is one form
        """Return the parameters of `completions.create`."""
        return "openai.types.completion_create_params:CompletionCreateParams"


RULES = CompletionsRules()
