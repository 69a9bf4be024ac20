"""What makes a fake answer as each recording does, in one line each; docs/frameworks.md shows this file."""

from dataclasses import replace

from fakellm import FakeProvider, Finish, Pause, Reasoning, Text, ToolCall, Usage, provider_error
from fakellm.wire.openai import PROFILES


def call(city, choice=0):
    """Return a call as a model says it, piece by piece."""
    first = ToolCall("get_weather", "{", id=f"{city}{choice}", choice=choice)
    return first, ToolCall(arguments=f'"city": "{city}"}}', choice=choice)


def by_turns(*sides):
    """Return the pieces of several answers, one of each at a time."""
    return [piece for pieces in zip(*sides, strict=True) for piece in pieces]


def flagged(profile, **flags):
    """Return the profile of a server that was started with flags."""
    return replace(PROFILES[profile], **flags)


def fake(profile):
    """Return OpenAI's fake with the habits of a server."""
    return FakeProvider("openai").imitate(profile)


TWO_CALLS = by_turns((*call("Paris", 1), *call("Rome", 1)), (*call("Paris", 0), *call("Rome", 0)))
TWO_TEXTS = (Text("one", 1), Text("four", 0), Text(" two", 1), Text(" two", 0), Finish("length", 0), Text(",", 1))
UNASKED = {
    name: flagged(name, usage="never") for name in ("vllm", "mlx-lm")
}  # as if `stream_options` had not been sent
PARIS, ROME = (ToolCall("get_weather", {"city": city}) for city in ("Paris", "Rome"))
EVERY = flagged("vllm", usage="every")  # --enable-force-include-usage
ALIVE = flagged("vllm", keep_alive=1.0)  # --sse-keep-alive-interval 1

LINES = {
    "vllm-tools-parallel": fake(UNASKED["vllm"]).otherwise(*call("Paris"), *call("Rome")),
    "vllm-forced-usage-reasoning-tools": fake(EVERY).otherwise(
        Reasoning("I cannot see Oslo."), "\n", *call("Oslo"), Usage(137, 37)
    ),
    "vllm-chat-n2": fake("vllm").otherwise(*TWO_TEXTS, Finish("length", 1), Usage(17, 12)),
    "vllm-keepalive-start": fake(ALIVE).otherwise(Pause(2), "one", " two", Finish("length"), Usage(32, 12)),
    "vllm-error-schema": fake("vllm").otherwise(provider_error("Grammar error", kind="BadRequestError", code="400")),
    "vllm-killed-engine": fake(EVERY).otherwise(Usage(32, 31), Reasoning("one"), "two", provider_error("it died")),
    "llama-tools-n2": fake("llama.cpp").otherwise(*TWO_CALLS, Usage(139, 8)),
    "llama-progress-ping": fake("llama.cpp").otherwise(Reasoning("Two"), Finish("length"), Usage(139, 3)),
    "llama-overflow-1": fake("llama.cpp").otherwise("one", " two", provider_error("Context size has been exceeded.")),
    "mlx-chat-usage": fake("mlx-lm").otherwise("one", " two", Finish("length"), Usage(17, 8)),
    "mlx-tools-parallel": fake(UNASKED["mlx-lm"]).otherwise(PARIS, "\n", ROME),
    "lcp-tools-named": fake("llama-cpp-python").otherwise(*call("Paris")),
    "lcp-interrupted": fake("llama-cpp-python").otherwise("one", " two", provider_error("another request came")),
    "lcp-error-long": fake("llama-cpp-python").otherwise(provider_error("too long")),
}
