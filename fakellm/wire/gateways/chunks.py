"""Chunks of chat completions as Python's gateways write them: with the fields that their classes have.

Source: what `model_dump_json` of the openai package 3.57 writes, which llama-stack and any-llm send on, and mlflow's
classes of the same chunks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_CHUNK = (
    *("id", "choices", "created", "model", "object"),
    *("moderation", "obfuscation", "service_tier", "system_fingerprint", "usage"),
)
_CHOICE = ("delta", "index", "finish_reason", "logprobs")
_DELTA = ("audio", "content", "function_call", "refusal", "role", "tool_calls")
_CALL = ("index", "id", "function", "type")
_FUNCTION = ("arguments", "name")
_USAGE = (
    *("completion_tokens", "prompt_tokens", "total_tokens"),
    *("completion_tokens_details", "prompt_tokens_details"),
)


def filled(names: Sequence[str], have: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that a class has, null where there is none, and behind them those that it does not know."""
    return {**{name: have.get(name) for name in names}, **have}


def dumped(chunk: Mapping[str, Any]) -> dict[str, Any]:
    """Return a chunk with all fields of the openai package's classes."""
    whole = filled(_CHUNK, chunk)
    whole["choices"] = [_choice(choice) for choice in mappings(chunk.get("choices"))]
    if isinstance(whole["usage"], Mapping):
        whole["usage"] = filled(_USAGE, whole["usage"])
    return whole


def _choice(choice: Mapping[str, Any]) -> dict[str, Any]:
    whole = filled(_CHOICE, choice)
    if isinstance(delta := whole["delta"], Mapping):
        whole["delta"] = filled(_DELTA, delta)
        if isinstance(delta.get("tool_calls"), list):
            whole["delta"]["tool_calls"] = [_call(call) for call in mappings(delta["tool_calls"])]
    return whole


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    whole = filled(_CALL, call)
    if isinstance(whole["function"], Mapping):
        whole["function"] = filled(_FUNCTION, whole["function"])
    return whole


def mappings(values: Any) -> list[Mapping[str, Any]]:
    """Return those of the values that are mappings; none if there is no list of values."""
    return [value for value in values if isinstance(value, Mapping)] if isinstance(values, list) else []


def deltas(chunk: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the deltas of a chunk."""
    found = (choice.get("delta") for choice in mappings(chunk.get("choices")))
    return [delta for delta in found if isinstance(delta, Mapping)]


def without_nulls(value: Any) -> Any:
    """Return JSON without the members that are null, at any depth."""
    if isinstance(value, Mapping):
        return {key: without_nulls(member) for key, member in value.items() if member is not None}
    return [without_nulls(member) for member in value] if isinstance(value, list) else value


def narrowed(chunk: Mapping[str, Any]) -> dict[str, Any]:
    """Return a chunk with the fields of mlflow's classes and no others. Raises what they would for one that lacks some.

    An error has neither an id nor choices, so it raises `KeyError`.
    """
    usage = chunk.get("usage")
    if usage:
        first = ("prompt_tokens", "completion_tokens", "total_tokens")
        known = filled(first, usage)
        usage = {name: value for name, value in known.items() if name != "prompt_tokens_details" or value}
    return {
        "id": chunk["id"],
        "object": chunk["object"],
        "created": chunk["created"],
        "model": chunk["model"],
        "choices": [_narrow_choice(choice) for choice in chunk["choices"]],
        "usage": usage or None,
        "provider": "openai",
    }


def _narrow_choice(choice: Mapping[str, Any]) -> dict[str, Any]:
    delta = choice["delta"]
    calls = delta.get("tool_calls")
    return {
        "index": choice["index"],
        "finish_reason": choice.get("finish_reason"),
        "delta": {
            "role": delta.get("role"),
            "content": delta.get("content"),
            "tool_calls": [_narrow_call(call) for call in calls] if calls else calls,
        },
    }


def _narrow_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {
        "index": call["index"],
        "id": call.get("id"),
        "type": call.get("type"),
        "function": {"name": function.get("name"), "arguments": function.get("arguments")},
    }
