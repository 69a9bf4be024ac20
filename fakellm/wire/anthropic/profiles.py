"""Habits of self-hosted servers that speak Anthropic's Messages API in ways of their own.

Source: recorded streams of these servers, in `cassettes/servers/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class MessagesProfile:
    """How a server streams Messages.

    `overlap`: a block stays open to the end of the answer, and what comes later of its kind goes on in it.
    `index_last`: the index of a block is the last field of its events. `tool_input`: the begin of a call has an empty
    `input`. `signature`: that of a block of thinking, made up or `empty`. `start_usage` and `end_usage` are the fields
    of the usage at both places. `error`: the form of errors, and `kind` the type of one inside a stream where the
    script names none. `id` makes the id of the message of the `number` of the call; `headers` are those of an answer.
    """

    name: str
    overlap: bool = False
    index_last: bool = False
    tool_input: bool = True
    signature: Literal["hex", "empty"] = "hex"
    start_usage: tuple[str, ...] = ("input_tokens", "output_tokens")
    end_usage: tuple[str, ...] = ("output_tokens",)
    error: Literal["anthropic", "llama.cpp"] = "anthropic"
    kind: str = "api_error"
    id: str = "chatcmpl-{number:016x}"
    content_type: str = "text/event-stream; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


PROFILES: dict[str, MessagesProfile] = {
    profile.name: profile
    for profile in (
        MessagesProfile(
            "llama.cpp", overlap=True, tool_input=False, signature="empty",
            start_usage=("cache_read_input_tokens", "input_tokens", "output_tokens"),
            error="llama.cpp", kind="server_error", id="chatcmpl-fakellm{number:025d}",
            content_type="text/event-stream",
            headers=(("Server", "llama.cpp"), ("Access-Control-Allow-Origin", ""), ("X-Accel-Buffering", "no")),
        ),
        MessagesProfile(
            "vllm", index_last=True, end_usage=("input_tokens", "output_tokens"), kind="internal_error",
            headers=(("server", "uvicorn"), ("vary", "Origin")),
        ),
    )
}  # fmt: skip
"""The profiles by name: llama.cpp b11434, vLLM 0.32.0."""
