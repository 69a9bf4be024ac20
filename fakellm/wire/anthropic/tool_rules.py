"""What Messages refuses of tools: calls and their results, names, choices, schemas.

A result stands in the user's turn behind the call's, before all else in it. Messages of one role in a row are one turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from fakellm.wire.rules import Asked, Broken, Rule, inner, mappings

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_LONGEST = 128
_COMBINED = ("oneOf", "allOf", "anyOf")


def messages_of(asked: Asked) -> list[tuple[int, dict[str, Any]]]:
    """Return the messages of a request, each with its index."""
    return mappings(asked.body.get("messages"))


def blocks(message: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """Return the blocks of a message's content, each with its index."""
    return mappings(message.get("content"))


class _Block(NamedTuple):
    message: int
    number: int
    block: dict[str, Any]

    @property
    def place(self) -> str:
        return f"messages[{self.message}].content[{self.number}]"

    @property
    def dotted(self) -> str:
        return f"messages.{self.message}.content.{self.number}"


class _Turn(NamedTuple):
    role: str
    blocks: list[_Block]

    def of(self, kind: str) -> list[_Block]:
        return [one for one in self.blocks if one.block.get("type") == kind]


def _turns(asked: Asked) -> list[_Turn]:
    """Return the turns of the user and of the assistant, with the blocks of each."""
    turns: list[_Turn] = []
    for at, message in messages_of(asked):
        role = message.get("role")
        if role not in ("user", "assistant"):
            continue
        if not turns or turns[-1].role != role:
            turns.append(_Turn(role, []))
        turns[-1].blocks.extend(_Block(at, number, block) for number, block in blocks(message))
    return turns


def _calls_without_results(asked: Asked) -> Iterator[Broken]:
    turns = _turns(asked)
    for turn, after in zip(turns, [*turns[1:], _Turn("", [])], strict=False):
        if not (calls := turn.of("tool_use")) or turn.role != "assistant":
            continue
        found = {one.block.get("tool_use_id") for one in after.of("tool_result")}
        late = _late(after)
        lost = [one for one in calls if one.block.get("id") not in found or one.block.get("id") in late]
        if lost:
            ids = ", ".join(str(one.block.get("id")) for one in lost)
            text = (
                f"messages.{lost[0].message}: `tool_use` ids were found without `tool_result` blocks immediately "
                f"after: {ids}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
                "message."
            )
            yield Broken(f"{lost[0].place}.id", text)


def _late(turn: _Turn) -> set[Any]:
    """Return the calls whose results stand behind something else in their message."""
    late, begun = set(), -1
    for one in turn.blocks:
        if one.block.get("type") != "tool_result":
            begun = one.message
        elif begun == one.message:
            late.add(one.block.get("tool_use_id"))
    return late


def _results_without_calls(asked: Asked) -> Iterator[Broken]:
    turns = _turns(asked)
    pairs = list(zip([_Turn("", []), *turns], turns, strict=False))
    for before, turn in pairs[asked.body.get("thread") is not None :]:  # of a thread the turn before is kept elsewhere
        known = {one.block.get("id") for one in before.of("tool_use")}
        for one in turn.of("tool_result"):
            if one.block.get("tool_use_id") not in known:
                text = (
                    f"{one.dotted}: unexpected `tool_use_id` found in `tool_result` blocks: "
                    f"{one.block.get('tool_use_id')}. Each `tool_result` block must have a corresponding `tool_use` "
                    "block in the previous message."
                )
                yield Broken(f"{one.place}.tool_use_id", text)


def _twice(asked: Asked) -> Iterator[Broken]:
    calls: set[Any] = set()
    for turn in _turns(asked):
        for one in turn.of("tool_use"):
            if one.block.get("id") in calls:
                yield Broken(f"{one.place}.id", f"{one.dotted}: `tool_use` ids must be unique")
            calls.add(one.block.get("id"))
        results: set[Any] = set()
        for one in turn.of("tool_result"):
            if (name := one.block.get("tool_use_id")) in results:
                text = f"each tool_use must have a single result. Found multiple `tool_result` blocks with id: {name}"
                yield Broken(f"{one.place}.tool_use_id", f"{one.dotted}: {text}")
            results.add(name)


def _custom(asked: Asked) -> list[tuple[int, dict[str, Any]]]:
    return [(at, one) for at, one in mappings(asked.body.get("tools")) if one.get("type") in (None, "custom")]


def _names(asked: Asked) -> Iterator[Broken]:
    for at, tool in _custom(asked):
        name = tool.get("name")
        if not isinstance(name, str) or _NAME.fullmatch(name):
            continue
        if len(name) > _LONGEST:
            text = f"String should have at most {_LONGEST} characters"
        else:
            text = "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'"
        yield Broken(f"tools[{at}].name", f"tools.{at}.custom.name: {text}")


def _duplicates(asked: Asked) -> Iterator[Broken]:
    names: set[Any] = set()
    for at, tool in mappings(asked.body.get("tools")):
        if (name := tool.get("name")) is not None and name in names:
            yield Broken(f"tools[{at}].name", "tools: Tool names must be unique.")
        names.add(name)


def _has_far_tools(asked: Asked) -> bool:
    """Tell whether tools are those of a server, which says their names by itself."""
    kinds = [tool.get("type") for _, tool in mappings(asked.body.get("tools"))]
    return bool(asked.body.get("mcp_servers")) or "mcp_toolset" in kinds


def _choice(asked: Asked) -> Iterator[Broken]:
    choice = inner(asked.body, "tool_choice")
    tools = mappings(asked.body.get("tools"))
    if choice and not tools and choice.get("type") != "none" and not asked.body.get("mcp_servers"):
        yield Broken("tool_choice", "tool_choice may only be specified while providing tools.")
    elif choice.get("type") != "tool" or _has_far_tools(asked):
        return
    elif choice.get("name") not in [tool.get("name") for _, tool in tools]:
        yield Broken("tool_choice.name", f"Tool '{choice.get('name')}' not found in provided tools")


def _schemas(asked: Asked) -> Iterator[Broken]:
    for at, tool in _custom(asked):
        if any(name in inner(tool, "input_schema") for name in _COMBINED):
            text = "input_schema does not support oneOf, allOf, or anyOf at the top level"
            yield Broken(f"tools[{at}].input_schema", f"tools.{at}.custom.input_schema: {text}")


CALLS = (
    Rule(
        "call-without-result",
        "a `tool_use` whose `tool_result` is not in the user's turn behind it, before all else in its message",
        "send a tool_result for each tool_use in the next message, first in its content",
        "https://github.com/anthropics/claude-code/issues/3512",
        _calls_without_results,
    ),
    Rule(
        "result-without-call",
        "a `tool_result` whose `tool_use` is not in the turn before it",
        "send the assistant's message with the tool_use before the result, as it came",
        "https://github.com/anthropics/claude-code/issues/13460",
        _results_without_calls,
    ),
    Rule(
        "duplicate-call",
        "two `tool_use` blocks of one id, or two results of one call",
        "send each call and its result once",
        "https://github.com/trycua/cua/issues/524",
        _twice,
    ),
)
TOOLS = (
    Rule(
        "tool-name",
        "a name of a tool with other characters than letters, digits, `_` and `-`, or with more than 128",
        "rename the tool",
        "https://github.com/home-assistant/core/issues/147760",
        _names,
    ),
    Rule(
        "duplicate-tool",
        "two tools of one name",
        "rename one of them",
        "https://github.com/anthropics/claude-code/issues/10687",
        _duplicates,
    ),
    Rule(
        "unknown-tool-choice",
        "`tool_choice` where no tools are offered, or that names one which is not",
        "leave tool_choice out, or name a tool that is in tools",
        "https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/implement-tool-use#forcing-tool-use",
        _choice,
    ),
    Rule(
        "function-schema",
        "an `input_schema` with oneOf, allOf or anyOf at its top",
        "describe one object, and combine below it",
        "https://github.com/Hmbown/Codewhale/issues/4329",
        _schemas,
    ),
)
