"""The APIs that the clients speak: what answers each, the plain answer on its wire, and where in it a thing stands.

What is sent in a cell is the plain answer with one thing changed. The codecs write the plain one; where bytes are to be
sent that no codec would, they are `Raw`, and nothing is written before them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from fakellm import Script, Text, ToolCall, Usage
from fakellm.wire import Codec, Encoder, Service, endpoint, pieces
from fakellm.wire.anthropic import MessagesCodec
from fakellm.wire.cohere import ChatCodec as CohereCodec
from fakellm.wire.dashscope import GenerationCodec
from fakellm.wire.gemini import GeminiCodec
from fakellm.wire.mistral import ChatCodec as MistralCodec
from fakellm.wire.ollama import ChatCodec as OllamaCodec
from fakellm.wire.openai import PROFILES, ChatCodec, ResponsesCodec

PLAIN = ("Grü", "ße, ", "Welt.", ToolCall("get_weather", '{"city": "Paris"}', id="call_1"), Usage(7, 3))
"""What every client reads first: text in three pieces, a call of a tool, a usage."""
WORDS = ("Grü", "ße, ", "Welt.")


# -- what answers --------------------------------------------------------------------------------------------


class Bare(Encoder):
    """An encoder whose stream begins with its first event of the answer, not with bytes of the script's own."""

    def __init__(self, inner: Encoder) -> None:
        self._inner = inner
        self._waits: Sequence[bytes] = ()
        self._is_raw = False

    def begin(self):
        self._waits = self._inner.begin()
        return ()

    def event(self, event):
        begun, self._waits = self._waits, ()
        return [*begun, *self._inner.event(event)]

    def raw(self, text):
        self._is_raw = self._is_raw or bool(self._waits)
        return [text.encode()] if self._is_raw else self._inner.raw(text)

    def flush(self):
        return () if self._is_raw else self._inner.flush()

    def stop(self):
        return () if self._is_raw else self._inner.stop()

    def end(self):
        return self._inner.end()

    def error(self, fault):
        return self._inner.error(fault)


def bare(kind: type[Codec]) -> type[Codec]:
    """Return a codec that writes nothing before bytes of the script's own."""

    class BareCodec(kind):  # type: ignore[misc, valid-type]
        def encoder(self, request, number, usage=None):
            return Bare(super().encoder(request, number, usage))

    return BareCodec


class LlamaEncoder(Encoder):
    """The stream of Llama's API: https://llama.developer.meta.com/docs/api/chat, and its client's types."""

    def __init__(self) -> None:
        self._usage: Usage | None = None
        self._stop = "stop"

    def _line(self, kind: str, delta: dict[str, Any], **more: Any) -> bytes:
        event = {"event_type": kind, "delta": delta, **more}
        return b"data: %b\n\n" % json.dumps({"id": "1", "event": event}, ensure_ascii=False).encode()

    def begin(self):
        return [self._line("start", {"type": "text", "text": ""})]

    def event(self, event):
        if isinstance(event, Text):
            return [self._line("progress", {"type": "text", "text": event.text})]
        if isinstance(event, ToolCall):
            self._stop = "tool_calls"
            function = {"name": event.name, "arguments": event.arguments}
            return [self._line("progress", {"type": "tool_call", "id": event.id, "function": function})]
        if isinstance(event, Usage):
            self._usage = event
        return []

    def end(self):
        last = [self._line("complete", {"type": "text", "text": ""}, stop_reason=self._stop)]
        if self._usage is None:
            return last
        counts = {"num_prompt_tokens": self._usage.input_tokens, "num_completion_tokens": self._usage.output_tokens}
        metrics = [{"metric": name, "value": value, "unit": "tokens"} for name, value in counts.items()]
        return [*last, self._line("metrics", {"type": "text", "text": ""}, metrics=metrics)]

    def error(self, fault):
        return [b"data: %b\n\n" % json.dumps({"error": {"message": fault.message}}).encode()]


class LlamaCodec(ChatCodec):
    """Chat completions of Llama's API, whose requests are OpenAI's and whose streams are its own."""

    def encoder(self, request, number, usage=None):  # noqa: ARG002 - its chunks name neither
        return LlamaEncoder()


class OpenRouterCodec(ChatCodec):
    """Chat completions as OpenRouter streams them, whose own clients refuse what OpenAI streams: usage that is null."""

    def __init__(self):
        super().__init__(PROFILES["openrouter"])


_ANSWERS = {
    "chat": (r"/chat(/completions)?$", ChatCodec),
    "openrouter": (r"/chat/completions$", OpenRouterCodec),
    "responses": (r"/responses$", ResponsesCodec),
    "messages": (r"/v1/messages$", MessagesCodec),
    "gemini": (r":streamGenerateContent$", GeminiCodec),
    "cohere": (r"/v2/chat$", CohereCodec),
    "mistral": (r"/v1/chat/completions$", MistralCodec),
    "ollama": (r"/api/chat$", OllamaCodec),
    "dashscope": (r"/text-generation/generation$", GenerationCodec),
    "llama": (r"/chat/completions$", LlamaCodec),
}
SERVICES = {
    api: Service(f"{api}-api", re.compile(r"^$"), (endpoint(api, path, bare(codec)),))
    for api, (path, codec) in _ANSWERS.items()
}
"""All but Replicate, whose own service answers: its stream is asked for in a second request."""


# -- the plain answer on the wire ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """One API. Its paths lead through the JSON of an event to the text, to what holds it, to choices and finish reason.

    `asked` are path, query and JSON of a request; `error` is what an error is, as the API has it; `marker` is what the
    event says after which there is nothing more, and `lines` that the stream is lines of JSON.
    """

    api: str
    path: str
    asked: dict[str, Any]
    text: tuple[Any, ...] = ()
    delta: tuple[Any, ...] = ()
    choices: tuple[Any, ...] = ()
    finish: tuple[Any, ...] = ()
    marker: str = ""
    error: Any = None
    lines: bool = False
    headers: tuple[tuple[str, str], ...] = ()


MARK = "overloaded_by_fakellm"
_SAID = [{"role": "user", "content": "?"}]
_CHAT = {"model": "m", "messages": _SAID, "stream": True, "stream_options": {"include_usage": True}}
_DELTA = ("choices", 0, "delta")
_OUTPUT = ("output", "choices", 0)
_WHY = {"message": MARK, "type": "server_error", "param": None, "code": None}

FAMILIES = {
    family.api: family
    for family in (
        Family("chat", "/v1/chat/completions", _CHAT, (*_DELTA, "content"), _DELTA, ("choices",),
               ("choices", 0, "finish_reason"), "[DONE]", {"error": _WHY}),
        Family("openrouter", "/v1/chat/completions", _CHAT, (*_DELTA, "content"), _DELTA, ("choices",),
               ("choices", 0, "finish_reason"), "[DONE]",
               {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "provider": "x",
                "error": {"code": 502, "message": MARK},
                "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]}),
        Family("responses", "/v1/responses", {"model": "m", "input": "?", "stream": True}, ("delta",), ("delta",), (),
               ("response", "status"), '"type":"response.completed"',
               {"type": "error", "code": "server_error", "message": MARK, "param": None, "sequence_number": 7}),
        Family("messages", "/v1/messages", {"model": "m", "max_tokens": 9, "messages": _SAID, "stream": True},
               ("delta", "text"), ("delta",), (), ("delta", "stop_reason"), "message_stop",
               {"type": "error", "error": {"type": "overloaded_error", "message": MARK}}),
        Family("gemini", "/v1beta/models/m:streamGenerateContent?alt=sse",
               {"contents": [{"role": "user", "parts": [{"text": "?"}]}]},
               ("candidates", 0, "content", "parts", 0, "text"), ("candidates", 0, "content"), ("candidates",),
               ("candidates", 0, "finishReason"), "",
               {"error": {"code": 503, "message": MARK, "status": "UNAVAILABLE"}}),
        Family("cohere", "/v2/chat", {"model": "m", "messages": _SAID, "stream": True},
               ("delta", "message", "content", "text"), ("delta",), (), ("delta", "finish_reason"), "[DONE]",
               {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": MARK}}),
        Family("mistral", "/v1/chat/completions", _CHAT, (*_DELTA, "content"), _DELTA, ("choices",),
               ("choices", 0, "finish_reason"), "[DONE]",
               {"object": "error", "message": MARK, "type": "internal_server_error", "code": "3000"}),
        Family("ollama", "/api/chat", {"model": "m", "messages": _SAID, "stream": True}, ("message", "content"),
               ("message",), (), ("done_reason",), '"done":true', {"error": MARK}, lines=True),
        Family("dashscope", "/api/v1/services/aigc/text-generation/generation",
               {"model": "m", "input": {"messages": _SAID},
                "parameters": {"result_format": "message", "incremental_output": True}},
               (*_OUTPUT, "message", "content"), (*_OUTPUT, "message"), ("output", "choices"),
               (*_OUTPUT, "finish_reason"), "", {"code": "InternalError", "message": MARK, "request_id": "1"},
               headers=(("X-DashScope-SSE", "enable"),)),
        Family("replicate", "", {}, marker="event: done", error={"detail": MARK}),
        Family("llama", "/v1/chat/completions", _CHAT, ("event", "delta", "text"), ("event", "delta"), (),
               ("event", "stop_reason"), "", {"error": {"message": MARK, "type": "server_error"}}),
    )
}  # fmt: skip
_REPLICATE = [
    *(f"event: output\nid: 176000000{n}:0\ndata: {word}\n\n" for n, word in enumerate(WORDS)),
    "event: done\nid: 1760000003:0\ndata: {}\n\n",
]


@cache
def plain_blocks(api: str) -> tuple[str, ...]:
    """Return the plain answer of an API as the text of its events, each with the blank line that ends it."""
    family = FAMILIES[api]
    if api == "replicate":
        return tuple(_REPLICATE)
    codec = _ANSWERS[api][1]()
    request = codec.read(family.asked, codec.marked(dict(family.headers)), path=family.path)
    text = b"".join(pieces(codec.encoder(request, 1, PLAIN[-1]), Script(*PLAIN))).decode()
    text = text.replace("\r\n", "\n")  # of Gemini, whose lines end with CRLF
    end = "\n" if family.lines else "\n\n"
    return tuple(block + end for block in text.split(end) if block.strip())


def changed(block: str, path: Sequence[Any], value: Any, *, missing: bool = False) -> str:
    """Return an event whose JSON says something else in a place, or does not have that place."""
    lines = block.split("\n")
    at = next(n for n, line in enumerate(lines) if line.startswith(("data:", "{")))
    head = re.match(r"(data: ?)?", lines[at]).group()  # type: ignore[union-attr]
    data = json.loads(lines[at][len(head) :])
    inner = data
    for name in path[:-1]:
        inner = inner[name]
    if missing:
        inner.pop(path[-1], None)
    else:
        inner[path[-1]] = value
    lines[at] = head + json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return "\n".join(lines)
