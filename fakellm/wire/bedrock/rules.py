"""What Converse refuses beyond the form of a request, which its codec reads: turns, calls and their results.

Source: public reports of the service's answers. That roles alternate is a rule of Claude's models alone: a recorded
request to Titan has two messages of the user in a row, and was taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fakellm.wire.rules import Asked, Broken, Rule, Rules, inner, mappings


def _blocks(message: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [inner(block, kind) for _, block in mappings(message.get("content")) if block.get(kind) is not None]


def _alternate(asked: Asked) -> Iterator[Broken]:
    if "anthropic.claude" not in asked.request.model:
        return
    before = None
    for at, message in mappings(asked.body.get("messages")):
        if (role := message.get("role")) == before:
            text = (
                "A conversation must alternate between user and assistant roles. Make sure the conversation alternates "
                "between user and assistant roles and try again."
            )
            yield Broken(f"messages[{at}].role", text)
        before = role


def _results_without_calls(asked: Asked) -> Iterator[Broken]:
    calls = 0
    for at, message in mappings(asked.body.get("messages")):
        if len(_blocks(message, "toolResult")) > calls:
            where = f"messages.{at}.content"
            text = f"The number of toolResult blocks at {where} exceeds the number of toolUse blocks of previous turn."
            yield Broken(f"messages[{at}].content", text)
        calls = len(_blocks(message, "toolUse"))


def _calls_without_results(asked: Asked) -> Iterator[Broken]:
    waiting: list[Any] = []
    for at, message in mappings(asked.body.get("messages")):
        found = [one.get("toolUseId") for one in _blocks(message, "toolResult")]
        if lost := [one for one in waiting if one not in found]:
            text = f"Expected toolResult blocks at messages.{at}.content for the following Ids: "
            yield Broken(f"messages[{at}].content", text + ", ".join(map(str, lost)))
        waiting = [one.get("toolUseId") for one in _blocks(message, "toolUse")]


class ConverseRules(Rules):
    """The rules of Converse."""

    api = "bedrock.converse"
    sdk = "boto3"
    rules = (
        Rule(
            "result-without-call",
            "more `toolResult` blocks than `toolUse` blocks in the turn before",
            "send the assistant's message with the toolUse before the results, as it came",
            "https://github.com/Just-Curieous/Curie/issues/16",
            _results_without_calls,
        ),
        Rule(
            "call-without-result",
            "a `toolUse` whose `toolResult` is not in the next message",
            "send the results of all calls in one message, at once behind them",
            "https://github.com/zeroclaw-labs/zeroclaw/pull/1476",
            _calls_without_results,
        ),
        Rule(
            "alternate-turns",
            "to a model of Claude, two messages of one role in a row",
            "join them",
            "https://github.com/langchain-ai/langchain-aws/issues/192",
            _alternate,
        ),
    )


RULES = ConverseRules()
