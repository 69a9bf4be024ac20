"""What the readers of chat completions and of legacy completions share: usage, log probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fakellm.script.events import Event, Finish, Reasoning, Refusal, Text, ToolCall, Usage, choice_of
from fakellm.wire.objects import get, objects, sound
from fakellm.wire.openai import common as openai

# Whose tokens a usage counts. OpenAI's counts all answers of a stream, in its last chunk; look-alikes say a count that
# grows, on any chunk. llama.cpp counts each answer by itself, where that ends, and the request used the sum. Nothing in
# the object tells the two apart, so other things have to: one usage came whenever one more answer had ended, and one of
# them counts fewer tokens than the stream had pieces by then, or than the usage before it, or as many as llama.cpp's
# `timings` of that answer. That is no count of all. Where each could be one, it is read as that: the last one stands.


class Counts:
    """What the usages of a stream come to."""

    def __init__(self, read: Callable[[dict[str, Any]], Usage] = openai.read_usage) -> None:
        self._read = read
        self._last: Usage | None = None
        self._raw: dict[str, Any] = {}
        self._usages = self._pieces = 0
        self._choices: set[int] = set()
        self._finished: set[int] = set()
        self._is_one_each, self._is_each = True, False

    def note(self, events: Iterable[Event]) -> None:
        """Take what the choices of a chunk say."""
        for event in events:
            self._choices.add(choice_of(event))
            if isinstance(event, Finish):
                self._finished.add(event.choice)
            elif isinstance(event, ToolCall):
                self._pieces += bool(event.arguments)
            elif isinstance(event, (Text, Reasoning, Refusal)):
                self._pieces += bool(event.text)

    def read(self, chunk: dict[str, Any]) -> list[Usage]:
        """Return the usage of a chunk: all that was counted so far. None where the chunk says nothing new."""
        found = chunk.get("usage")
        if not isinstance(found, dict):
            return []
        usage = self._read(found)
        if self._is_one_each:
            self._usages += 1
            self._is_one_each = self._usages == len(self._finished)
        if self._is_one_each:
            self._raw = _sum(self._raw, found)
            tokens = usage.output_tokens
            is_less = tokens < self._pieces or (self._last is not None and tokens < self._last.output_tokens)
            is_own = is_less or _timed(chunk) == tokens > 0
            self._is_each = self._is_each or (is_own and len(self._choices) > 1)
            usage = self._read(self._raw) if self._is_each else usage
        if usage == self._last:
            return []
        self._last = usage
        return [usage]


def _timed(chunk: dict[str, Any]) -> int:
    """Return how many tokens llama.cpp says that it took the time of."""
    timings = chunk.get("timings")
    count = timings.get("predicted_n") if isinstance(timings, dict) else None
    return count if type(count) is int else 0


def _sum(one: Any, other: Any) -> Any:
    """Return counts added up, field by field."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {name: _sum(one.get(name), other.get(name)) for name in {**one, **other}}
    is_count = type(one) in (int, float) and type(other) in (int, float)
    return one + other if is_count else one if other is None else other


def read_logprobs(found: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return the log probabilities of a choice as chat completions have them: given so, or as legacy completions do."""
    if tokens := objects(found, "content"):
        return tokens
    probabilities, tops = get(found, "token_logprobs", list), get(found, "top_logprobs", list)
    tokens = []
    for place, text in enumerate(get(found, "tokens", list)):
        top = tops[place] if place < len(tops) and isinstance(tops[place], dict) else {}
        probability = probabilities[place] if place < len(probabilities) else None
        alternatives = [_token(name, value) for name, value in top.items()]
        tokens.append({**_token(text, probability), "top_logprobs": alternatives})
    return tokens or None


def _token(text: Any, probability: Any) -> dict[str, Any]:
    text = sound(str(text))
    return {"token": text, "logprob": probability, "bytes": list(text.encode())}
