"""What Mistral refuses beyond the form of a request and the order of its roles, which its codec reads.

Source: public reports of the API's answers. Its types are in `requests.py`, which refuses what they do.
"""

from __future__ import annotations

from collections.abc import Iterator

from fakellm.wire.mistral.common import error_object
from fakellm.wire.objects import dump
from fakellm.wire.rules import Asked, Broken, Rule, Rules, mappings

_CODE = "3230"


def _parity(asked: Asked) -> Iterator[Broken]:
    calls = results = begun = 0
    for at, message in [*mappings(asked.body.get("messages")), (-1, {})]:
        if message.get("role") == "tool":
            results += 1
            continue
        if calls != results:
            place = f"messages[{begun}].tool_calls" if calls else f"messages[{begun + 1}]"
            yield Broken(place, "Not the same number of function calls and responses", _CODE)
        calls, results, begun = len(mappings(message.get("tool_calls"))), 0, at


class MistralRules(Rules):
    """The rules of Mistral's chat, and of its agents."""

    sdk = "mistralai"
    rules = (
        Rule(
            "call-without-result",
            "another number of messages with the role tool than of calls in the assistant's message before",
            "send one tool message for each call, at once behind it",
            "https://github.com/mistralai/client-python/issues/234",
            _parity,
        ),
    )

    def __init__(self, api: str) -> None:
        self.api = api

    def body(self, broken: Broken) -> str:
        """Return Mistral's own document."""
        return dump(error_object(400, broken.message, "invalid_request_error", broken.code)).decode()


CHAT = MistralRules("mistral.chat")
AGENTS = MistralRules("mistral.agents")
