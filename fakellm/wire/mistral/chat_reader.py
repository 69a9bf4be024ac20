"""Reads streams of Mistral's chat, fill-in-the-middle and agents' completions into events.

They are chunks as OpenAI's, but for content in parts, whole tool calls, usage beside the finish reason, and errors.
What only Mistral has becomes `Native("mistral.chat", {...})`, the fields of a delta, whichever of the three it is of.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from fakellm.script.events import Event, Usage, provider_error
from fakellm.wire.mistral.common import is_neutral, native, read_part
from fakellm.wire.objects import beyond, counted, dump, get, json_text, objects
from fakellm.wire.openai import common as openai
from fakellm.wire.openai.chat_reader import ChatDecoder as OpenAIDecoder

API = "mistral.chat"


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return the usual usage object, without what `Usage.extra` adds."""
    return {
        "prompt_tokens": usage.input_tokens,
        "total_tokens": usage.total_tokens,
        "completion_tokens": usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
    }


def read_usage(found: dict[str, Any]) -> Usage:
    """Read a usage object."""
    details = get(found, "prompt_tokens_details", dict)
    cached = None if details.get("cached_tokens") is None else counted(details, "cached_tokens")
    usage = Usage(counted(found, "prompt_tokens"), counted(found, "completion_tokens"), cached)
    extra = beyond(found, usage_object(usage))
    return replace(usage, extra=extra and json_text(extra))


def read_error(found: dict[str, Any], *, named: bool | None) -> provider_error:
    """Read an error in Mistral's form, or one in OpenAI's, as gateways send it."""
    if found.get("error"):
        return openai.read_error(found, named=named)
    inner = {name: found.get(name) for name in ("message", "type", "code")}
    if not isinstance(inner["message"], str):  # a list of what is wrong
        inner["message"] = dump(inner["message"] or found.get("detail") or "").decode()
    return openai.read_error({"error": inner}, named=named)


class ChatDecoder(OpenAIDecoder):
    """Turns the bytes of a stream into events."""

    api = API
    reads_unended: ClassVar[bool] = True

    def usage(self, found: dict[str, Any]) -> Usage:
        """Read a usage object."""
        return read_usage(found)

    def error(self, chunk: dict[str, Any], *, named: bool | None) -> provider_error | None:
        """Return the error that a chunk reports; None where it does not."""
        is_error = (
            chunk.get("object") == "error" or chunk.get("error") or ("detail" in chunk and "choices" not in chunk)
        )
        return read_error(chunk, named=named) if is_error else None

    def parts(self, delta: dict[str, Any], choice: int) -> list[Event]:
        """Return what a content in parts says; one of a kind that only Mistral has as it is."""
        events: list[Event] = []
        for part in objects(delta, "content"):
            said = read_part(part, choice) if is_neutral(part) else [native(API, {"content": [part]}, choice)]
            events += said
        return events
