"""What the events of a stream of Messages add up to: the message that is not streamed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from fakellm.errors import WireError, clip
from fakellm.wire.anthropic.messages_reader import REASONS
from fakellm.wire.objects import parse


def added_up(pieces: Iterable[bytes], *, is_cut: bool) -> dict[str, Any]:
    """Return the message that the server-sent events of a stream add up to, which may have been cut short."""
    message: dict[str, Any] = {}
    for piece in pieces:
        event = json.loads(piece.partition(b"\ndata: ")[2])
        match event.pop("type"):
            case "message_start":
                message = event["message"]
            case "content_block_start":
                message["content"].append(event["content_block"])
            case "content_block_delta":
                _add(message["content"][event["index"]], event["delta"])
            case "message_delta":
                usage = {**message["usage"], **event.pop("usage")}
                message |= {**event.pop("delta"), **event, "usage": usage}
    is_cut = is_cut or message["stop_reason"] == REASONS["length"]
    for block in message["content"]:
        if isinstance(block.get("input"), str):
            block["input"] = _input(block, is_cut=is_cut)
    return message


def _add(block: dict[str, Any], delta: dict[str, Any]) -> None:
    """Add a delta to a block: texts are joined, a citation joins the others, the input is text until it is complete."""
    delta.pop("type")
    if "partial_json" in delta:
        delta = {"input": delta["partial_json"]}
    elif "citation" in delta:
        delta = {"citations": [*(block.get("citations") or ()), delta["citation"]]}
    for name, value in delta.items():
        before = block.get(name) or ""
        block[name] = before + value if isinstance(value, str) and isinstance(before, str) else value


def _input(block: dict[str, Any], *, is_cut: bool) -> dict[str, Any]:
    """Return the input of a tool's block; where the answer was cut short it may be incomplete, and is empty then."""
    what = f"the arguments of {block.get('name')}"
    try:
        value = parse(block["input"], what) if block["input"] else {}
    except WireError:
        if is_cut:
            return {}
        raise
    if not isinstance(value, dict):
        msg = f"{what} are {clip(block['input'], 80)}, and a message that is not streamed can only hold a JSON object"
        raise WireError(msg)
    return value
