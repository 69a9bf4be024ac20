"""The lines that Ollama's answers are made of, and what is counted on the last of them.

Source: https://docs.ollama.com/api/chat, /generate, /streaming and /errors, the types of Ollama's server
(`api/types.go`), and recorded streams: each line a JSON object with `done`, true on the last line only, which has the
reason, counts of tokens and durations in nanoseconds; what is zero there is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fakellm.errors import WireError
from fakellm.script.events import Finish, ToolCall, Usage
from fakellm.wire.codec import CREATED
from fakellm.wire.objects import beyond, counted, dump, is_object, merged, quote, sound

METRICS = (
    "total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration",
)  # fmt: skip
"""What is counted on the last line: tokens, and nanoseconds."""
REASONS = {"tool_calls": "stop"}
"""The neutral finish reasons in Ollama's words; others are the same, or Ollama's own."""
CONTEXT = [1, 2, 3]
"""The tokens of the conversation, as generate returns them: those of the examples in Ollama's documentation."""

_LOADING = 1_000_000
_FOR_A_TOKEN = 1_000_000
_UNSAFE = re.compile("[<>&\x85\u2028\u2029]")


# What is escaped. Go's encoder escapes `<`, `>`, `&` and U+2028, U+2029 in every text. It leaves U+0085 as it is,
# which httpx takes for the end of a line, and with it Ollama's own SDK, which then parses half a line. A fake that
# did the same would break a client over a text that nobody scripted to break it.


def escaped(text: str) -> str:
    """Return JSON with the characters escaped that Ollama's server escapes, and those that end a line for httpx."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def in_line(text: str) -> str:
    """Return JSON in one line; between its tokens a line end is as good as a space."""
    return text.replace("\r", " ").replace("\n", " ")


def json_text(value: object) -> str:
    """Return JSON as events write it. Raises `WireError` for what is nested too deep."""
    try:
        return sound(dump(value).decode())
    except RecursionError:
        msg = "the JSON is nested too deep"
        raise WireError(msg) from None


@dataclass(frozen=True, slots=True)
class Form:
    """What a line of an API looks like: the name of its text, and whether that stands in a `message`."""

    api: str
    text: str
    has_message: bool

    def said(self, text: str, thinking: str = "", calls: str = "") -> str:
        """Return what a line says, as fields in JSON; `calls` are tool calls in JSON."""
        thought = f',"thinking":{quote(thinking)}' if thinking else ""
        called = f',"tool_calls":[{calls}]' if calls else ""
        fields = f'"{self.text}":{quote(text)}{thought}{called}'
        return f'"message":{{"role":"assistant",{fields}}}' if self.has_message else fields

    def empty(self) -> dict[str, Any]:
        """Return what a line says that says nothing."""
        return {"message": {"role": "assistant", "content": ""}} if self.has_message else {"response": ""}

    def within(self, line: dict[str, Any]) -> Any:
        """Return where text, thinking and tool calls of a line stand."""
        return line.get("message", {}) if self.has_message else line


CHAT = Form("ollama.chat", "content", has_message=True)
GENERATE = Form("ollama.generate", "response", has_message=False)


def created_at(number: int, line: int) -> str:
    """Return when a line of an answer was made, each a nanosecond after the one before."""
    second = datetime.fromtimestamp(CREATED + number, UTC)
    return f"{second:%Y-%m-%dT%H:%M:%S}.{line % 10**9:09d}Z"


def call_object(call: ToolCall, *, is_whole: bool = True) -> str:
    """Return a tool call in JSON; one whose arguments are no object has their text in one.

    A call that is not whole is a piece of one that misbehaves: it has the name that it has, or none.
    """
    arguments = call.arguments
    if not is_object(arguments):
        arguments = dump({"arguments": arguments}).decode() if arguments else "{}"
    id = f'"id":{quote(call.id)},' if call.id else ""  # noqa: A001
    name = "" if call.name is None and not is_whole else f'"name":{quote(call.name or "")},'
    return f'{{{id}"function":{{"index":{call.index or 0},{name}"arguments":{in_line(arguments)}}}}}'


def metrics_of(usage: Usage) -> dict[str, Any]:
    """Return what the last line counts. Durations that a usage's `extra` does not have follow from the tokens."""
    made = {
        "total_duration": _LOADING + usage.total_tokens * _FOR_A_TOKEN,
        "load_duration": _LOADING,
        "prompt_eval_count": usage.input_tokens,
        "prompt_eval_duration": usage.input_tokens * _FOR_A_TOKEN,
        "eval_count": usage.output_tokens,
        "eval_duration": usage.output_tokens * _FOR_A_TOKEN,
    }
    return merged({name: value for name, value in made.items() if value}, usage.extra)


def read_metrics(line: Mapping[str, Any]) -> Usage | None:
    """Read what a line counts; None where it counts nothing."""
    found = {name: counted(line, name) for name in METRICS if line.get(name) is not None}
    if not found:
        return None
    usage = Usage(found.get("prompt_eval_count", 0), found.get("eval_count", 0))
    extra = beyond(found, metrics_of(usage))
    return Usage(usage.input_tokens, usage.output_tokens, extra=None if extra is None else json_text(extra))


def ending(form: Form, finish: Finish, usage: Usage, *, has_context: bool) -> dict[str, Any]:
    """Return the fields of the last line, and of a document, beside what it says."""
    context = {"context": CONTEXT} if has_context and form is GENERATE else {}
    fields = {"done": True, "done_reason": REASONS.get(finish.reason, finish.reason), **context, **metrics_of(usage)}
    return merged(merged(fields, finish.extra), finish.beside)
