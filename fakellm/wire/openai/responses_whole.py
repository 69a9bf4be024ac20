"""The items of OpenAI's Responses API that come whole: what a stream says of them between their begin and their end.

Source: https://platform.openai.com/docs/api-reference/responses-streaming, recorded streams, and for the newest items
the types of the official SDK and how it adds up their events. An item is added without what comes later, then come the
steps that its API names (`searching`, code or commands in deltas), and at the end the whole item. Events of the patch
of `apply_patch_call`, which no SDK knows, are not written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Fields = dict[str, Any]

BUILT = {
    "message": ("id", "type", "status", "content", "role"),
    "reasoning": ("id", "type", "summary", "content", "encrypted_content"),
    "function_call": ("id", "type", "status", "arguments", "call_id", "name"),
}
"""The items that events are pieces of -> the fields that follow from the events."""

_PREFIXES = {
    "message": "msg", "reasoning": "rs", "function_call": "fc", "custom_tool_call": "ctc", "web_search_call": "ws",
    "file_search_call": "fs", "code_interpreter_call": "ci", "image_generation_call": "ig", "mcp_call": "mcp",
    "mcp_list_tools": "mcpl", "mcp_approval_request": "mcpr", "computer_call": "cu", "local_shell_call": "lsh",
    "shell_call": "sh", "shell_call_output": "sho", "apply_patch_call": "apc", "apply_patch_call_output": "apco",
    "tool_search_call": "tsc", "tool_search_output": "tso", "compaction": "cmp", "program": "prog",
    "program_output": "prgo",
}  # fmt: skip
"""The type of an item -> what its id begins with."""

_STEPS = {
    "code_interpreter_call": ("in_progress", "code=code_interpreter_call_code", "interpreting", "completed"),
    "compaction": ("compacting",),
    "custom_tool_call": ("input=custom_tool_call_input",),
    "file_search_call": ("in_progress", "searching", "completed"),
    "image_generation_call": ("in_progress", "generating", "completed"),
    "mcp_call": ("in_progress", "arguments=mcp_call_arguments", "completed"),
    "mcp_list_tools": ("in_progress", "completed"),
    "web_search_call": ("in_progress", "searching", "completed"),
}
"""The type of an item -> the events between its begin and its end; FIELD=NAME is written in deltas."""

_LATER: dict[str, dict[str, Any]] = {
    "apply_patch_call": {"operation": {"diff": ""}},
    "code_interpreter_call": {"code": "", "outputs": None},
    "compaction": {"encrypted_content": ""},
    "custom_tool_call": {"input": ""},
    "file_search_call": {"queries": [], "results": None},
    "image_generation_call": {"result": None},
    "local_shell_call": {"action": {"command": [], "env": {}}},
    "mcp_call": {"arguments": "", "output": None, "error": None},
    "mcp_list_tools": {"tools": [], "error": None},
    "message": {"content": []},
    "reasoning": {"summary": [], "content": []},
    "function_call": {"arguments": ""},
    "shell_call": {"action": {"commands": []}},
    "shell_call_output": {"output": []},
}
"""The type of an item -> what stands in it, or in an object of it, while it is in progress, for what comes later."""

_AT_ONCE = ("apply_patch_call_output", "program_output")
"""Items that are never in progress."""
_FAIL = ("mcp_call", "mcp_list_tools")
"""Items of which an event says that they failed; of others only the whole item does."""
_PIECES = ("added", "delta", "done")


def id_of(kind: object, number: int, index: int) -> str:
    """Return the id of an item of answer `number`."""
    return f"{_PREFIXES.get(str(kind), 'item')}_fakellm{number:06d}{index:03d}"


def owner_of(event: str) -> str:
    """Return the type of the item, of those that come whole, that an event is about; nothing for other events."""
    stem = event.removeprefix("response.").rpartition(".")[0]
    if stem in BUILT or not stem:
        return ""
    if stem in _PREFIXES or stem.endswith(("_call", "_call_output")):
        return stem
    kinds = [kind for kind in _PREFIXES if kind not in BUILT and stem.startswith(f"{kind}_")]
    return max(kinds, key=len, default="")


def follows_from_item(event: str, kind: str) -> bool:
    """Tell whether an event about an item of that type says nothing that the whole item does not say."""
    stem, _, step = event.removeprefix("response.").rpartition(".")
    if stem != kind:
        return step in _PIECES
    return step in _STEPS.get(kind, ()) or (step == "failed" and kind in _FAIL)


def begun(kind: str, item: dict[str, Any]) -> dict[str, Any]:
    """Return an item as it is when it begins. What a web search does is said at its end only."""
    found = dict(item)
    for key, value in _LATER.get(kind, {}).items():
        if isinstance(value, dict) and isinstance(item.get(key), dict):
            found[key] = {**item[key], **{name: later for name, later in value.items() if name in item[key]}}
        elif key in item:
            found[key] = value
    if "status" in item and kind not in _AT_ONCE:
        found["status"] = "in_progress"
    if kind == "web_search_call":
        found.pop("action", None)
    return found


def bare(kind: str) -> dict[str, Any]:
    """Return what is known of an item of which events come before the item itself."""
    return {"type": kind} if kind in (*_AT_ONCE, "compaction") else {"type": kind, "status": "in_progress"}


def steps(item: dict[str, Any]) -> list[Fields]:
    """Return the events of an item between its begin and its end, without the place of the item."""
    kind = str(item.get("type"))
    if kind == "shell_call":
        return [event for at, command in _texts(item.get("action"), "commands") for event in _command(at, command)]
    if kind == "shell_call_output":
        output = item.get("output")
        return [event for i, one in enumerate(output if isinstance(output, list) else ()) for event in _content(i, one)]
    has_failed = item.get("error") or item.get("status") == "failed"
    events: list[Fields] = []
    for step in _STEPS.get(kind, ()):
        name, _, stem = step.partition("=")
        if stem and isinstance(item.get(name), str):
            events.append({"type": f"response.{stem}.delta", "delta": item[name]})
            events.append({"type": f"response.{stem}.done", name: item[name]})
        elif not (stem or (name == "completed" and has_failed)):
            events.append({"type": f"response.{kind}.{name}"})
        elif not stem and kind in _FAIL:
            events.append({"type": f"response.{kind}.failed"})
    return events


def steps_before(event: str, kind: str) -> list[Fields]:
    """Return the steps that precede an event about an item of which no more is known yet."""
    usual = [step for step in steps({"type": kind}) if not step["type"].endswith(".completed")]
    names = [step["type"] for step in usual]
    return usual[: names.index(event)] if event in names else usual


def placed(event: Fields, place: Fields) -> Fields:
    """Return an event with the place of its item; a command of a shell has the index of the item alone."""
    if event["type"].startswith("response.shell_call_command."):
        place = {"output_index": place["output_index"]}
    return {"type": event["type"], **place, **{key: value for key, value in event.items() if key not in place}}


def _texts(found: Any, name: str) -> Iterable[tuple[int, str]]:
    """Return the texts of a list in an object, with their indexes."""
    texts = found.get(name) if isinstance(found, dict) else None
    return [(i, text) for i, text in enumerate(texts if isinstance(texts, list) else ()) if isinstance(text, str)]


def _command(index: int, command: str) -> list[Fields]:
    stem, at = "response.shell_call_command", {"command_index": index}
    return [
        {"type": f"{stem}.added", **at, "command": ""},
        {"type": f"{stem}.delta", **at, "delta": command},
        {"type": f"{stem}.done", **at, "command": command},
    ]


def _content(index: int, output: Any) -> list[Fields]:
    stem, at = "response.shell_call_output_content", {"command_index": index}
    found = output if isinstance(output, dict) else {}
    said = {name: found[name] for name in ("stdout", "stderr") if found.get(name)}
    delta = [{"type": f"{stem}.delta", **at, "delta": said}] if said else []
    return [*delta, {"type": f"{stem}.done", **at, "output": [output]}]
