"""Chat completion chunks as dicts: cut, join, take apart, make new ones. Nothing that is given is changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fakellm.contracts.structured.moves import Chunk, text_of

TEXTS = ("content", "reasoning_content", "reasoning", "refusal")
"""The fields of a delta that are texts which add up."""

_REST = ("id", "object", "created", "model", "service_tier", "system_fingerprint")


def choices_of(chunk: Chunk) -> list[dict[str, Any]]:
    """Return the choices of a chunk; none where the list is empty, null or absent."""
    return chunk.get("choices") or []


def tools_of(choice: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the tool-call pieces of a choice, if each says which call it belongs to and has a function."""
    tools = choice["delta"].get("tool_calls") or []
    return tools if all(type(t.get("index")) is int and isinstance(t.get("function"), dict) for t in tools) else []


def is_blank(choice: dict[str, Any]) -> bool:
    """Tell whether a choice says nothing."""
    return not choice.get("finish_reason") and not any(choice["delta"].get(key) for key in (*TEXTS, "tool_calls"))


class Base:
    """What all chunks of a stream have in common, for chunks that are new in it."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        model = next((chunk for chunk in chunks if choices_of(chunk)), chunks[0])
        self.rest = {key: model[key] for key in _REST if key in model}
        if "usage" in model:
            self.rest["usage"] = None
        self._logprobs = {"logprobs": None} if any("logprobs" in choice for choice in choices_of(model)) else {}

    def chunk(self, choice: int = 0, delta: dict[str, Any] | None = None, reason: str | None = None) -> Chunk:
        """Return a new chunk with one choice, or without choices where there is no delta."""
        new = {"index": choice, "delta": delta, **self._logprobs, "finish_reason": reason}
        return {**self.rest, "choices": [] if delta is None else [new]}


def split_text(chunk: Chunk, choice: int, key: str, place: int) -> tuple[Chunk, Chunk] | None:
    """Return the two chunks that one becomes whose text is cut; None where it has no such text."""
    for at, found in enumerate(choices_of(chunk)):
        text = text_of(found["delta"], key)
        if found["index"] == choice and place < len(text):
            head = {name: value for name, value in found["delta"].items() if name != "tool_calls"}
            tail = {key: text[place:]}
            if "tool_calls" in found["delta"]:
                tail["tool_calls"] = found["delta"]["tool_calls"]
            return _halves(chunk, at, {**head, key: text[:place]}, tail)
    return None


def split_tool(chunk: Chunk, choice: int, index: str, place: int) -> tuple[Chunk, Chunk] | None:
    """Return the two chunks that one becomes whose arguments are cut; None where it has none of that call."""
    for at, found in enumerate(choices_of(chunk)):
        tools = tools_of(found) if found["index"] == choice else []
        for number, tool in enumerate(tools):
            arguments = text_of(tool["function"], "arguments")
            if str(tool["index"]) == index and place < len(arguments):
                first = {**tool, "function": {**tool["function"], "arguments": arguments[:place]}}
                second = {"index": tool["index"], "function": {"arguments": arguments[place:]}}
                head = {**found["delta"], "tool_calls": [*tools[:number], first]}
                return _halves(chunk, at, head, {"tool_calls": [second, *tools[number + 1 :]]})
    return None


def _halves(chunk: Chunk, at: int, head: dict[str, Any], tail: dict[str, Any]) -> tuple[Chunk, Chunk]:
    """Return a chunk as two, cut in its choice `at`; what ends an answer goes with the second."""
    choices = choices_of(chunk)
    first = {**choices[at], "delta": head}
    second = {**choices[at], "delta": tail}
    if first.get("finish_reason"):
        first["finish_reason"] = None
    if second.get("logprobs"):
        second["logprobs"] = None
    before = {**chunk, "choices": [*choices[:at], first]}
    if before.get("usage") is not None:
        before["usage"] = None
    return before, {**chunk, "choices": [second, *choices[at + 1 :]]}


def apart(chunk: Chunk, what: str) -> list[Chunk]:
    """Return a chunk as several: each with one choice, or each with a piece of one tool call."""
    for at, choice in enumerate(choices_of(chunk)):
        tools = choice["delta"].get("tool_calls") or []
        if what == "calls" and len(tools) > 1:
            head = {**choice["delta"], "tool_calls": tools[:1]}
            first, rest = _halves(chunk, at, head, {"tool_calls": tools[1:]})
            return [first, *apart(rest, what)]
    choices = choices_of(chunk)
    if what != "choices" or len(choices) < 2:  # noqa: PLR2004 - a pair
        return [chunk]
    alone = [{**chunk, "choices": [choice]} for choice in choices]
    for piece in alone[:-1]:
        if piece.get("usage") is not None:
            piece["usage"] = None
    return alone


def can_join(first: Chunk, second: Chunk) -> bool:
    """Tell whether one chunk could say what two say: of one choice, and no text after a tool call."""
    if len(choices_of(first)) != 1 or len(choices_of(second)) != 1:
        return False
    before, after = choices_of(first)[0], choices_of(second)[0]
    is_same = before["index"] == after["index"] and not before.get("finish_reason") and not first.get("usage")
    is_plain = not before.get("logprobs") and not after.get("logprobs") and not after["delta"].get("role")
    is_known = after["delta"].keys() <= {*TEXTS, "tool_calls", "role"} and all(
        isinstance(choice["delta"].get(key), str | None) for choice in (before, after) for key in TEXTS
    )
    texts = any(after["delta"].get(key) for key in TEXTS)
    tools = [*(before["delta"].get("tool_calls") or ()), *(after["delta"].get("tool_calls") or ())]
    is_numbered = all(type(tool.get("index")) is int and isinstance(tool.get("function"), dict) for tool in tools)
    return is_same and is_plain and is_known and is_numbered and not (texts and before["delta"].get("tool_calls"))


def joined(first: Chunk, second: Chunk) -> Chunk:
    """Return the chunk that says what two say; see `can_join`."""
    before, after = choices_of(first)[0], choices_of(second)[0]
    delta = {**before["delta"]}
    for key, value in after["delta"].items():
        if key == "tool_calls":
            delta[key] = _joined_tools([*(delta.get(key) or ()), *(value or ())])
        elif key in TEXTS:
            delta[key] = delta.get(key) if value is None else (delta.get(key) or "") + value
        else:
            delta[key] = value
    return {**second, "choices": [{**before, **after, "delta": delta}]}


def can_pack(first: Chunk, second: Chunk) -> bool:
    """Tell whether one chunk could have the choices of two."""
    before, after = ({choice["index"] for choice in choices_of(chunk)} for chunk in (first, second))
    return bool(before and after) and not before & after and not first.get("usage")


def packed(first: Chunk, second: Chunk) -> Chunk:
    """Return the chunk that has the choices of two; see `can_pack`."""
    choices = [*choices_of(first), *choices_of(second)]
    return {**second, "choices": sorted(choices, key=lambda choice: choice["index"])}


def _joined_tools(tools: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the pieces with one for each call: SDKs of 2025 do not join two of one call in one chunk."""
    found: dict[int, dict[str, Any]] = {}
    for tool in tools:
        index = tool["index"]
        if index not in found:
            found[index] = tool
            continue
        function = found[index]["function"]
        arguments = text_of(function, "arguments") + text_of(tool["function"], "arguments")
        found[index] = {**found[index], "function": {**function, "arguments": arguments}}
    return list(found.values())
