"""What a chunk or an answer says, whatever library made it: its text, its usage, its finish reason.

Known are str, our `Message`, LangChain's messages, the objects that the official SDKs of OpenAI (chat, completions,
Responses), Anthropic, Gemini (Interactions too), Ollama, Cohere, Mistral and Bedrock (Converse) stream, and the same as
mappings. Nothing is imported: shapes are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

UNKNOWN: Any = object()
"""Stands for a chunk that says nothing which we can read."""

_COHERE = ("message-", "content-", "tool-", "citation-", "debug")
"""What the types of Cohere's events begin with."""
_MISTRAL = ("conversation.response.", "message.output.", "function.call.", "tool.execution.", "agent.handoff.")
"""What the types of the events of Mistral's conversations begin with."""
_INTERACTIONS = ("interaction.", "step.", "error")
"""What the types of the events of Gemini's Interactions begin with, which stand in `event_type`."""
_CONVERSE = {"messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"}
"""The events of Bedrock's Converse, each a mapping with one of these keys."""


def get(thing: Any, name: str) -> Any:
    """Return a field of an object or a mapping; None where it has none."""
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def text_of(chunk: Any) -> Any:
    """Return the text that a chunk or an answer carries, "" for none; `UNKNOWN` where its shape is not known."""
    if chunk is None:
        return ""
    if isinstance(chunk, str):
        return chunk
    chunk = _unwrapped(chunk)
    for read in (_typed_event, _interaction, _converse, _choices, _candidates, _line, _content, _responses):
        if (text := read(chunk)) is not UNKNOWN:
            return text
    return UNKNOWN


def _unwrapped(chunk: Any) -> Any:
    """Return what an event of Mistral's SDK holds, and anything else as it is."""
    data = get(chunk, "data")
    is_event = isinstance(get(data, "choices"), Sequence) or _is_of(get(data, "type"), _MISTRAL)
    return data if is_event else chunk


def _is_of(kind: Any, begins: tuple[str, ...]) -> bool:
    return isinstance(kind, str) and kind.startswith(begins)


def _in_parts(content: Any) -> str:
    """Return the text of a content, which may be a list of parts, of which some are no text."""
    parts = content if isinstance(content, Sequence) and not isinstance(content, str) else [content]
    return "".join(part if isinstance(part, str) else get(part, "text") or "" for part in parts if part is not None)


def _typed_event(event: Any) -> Any:
    """Read an event of Anthropic's Messages, OpenAI's Responses, Cohere's Chat or Mistral's conversations."""
    kind = get(event, "type")
    if _is_of(kind, _MISTRAL):
        return _in_parts(get(event, "content"))
    if not isinstance(kind, str) or get(event, "content") is not None or get(event, "choices") is not None:
        return UNKNOWN
    if kind == "content_block_delta":
        return get(get(event, "delta"), "text") or ""
    if kind == "response.output_text.delta":
        return get(event, "delta") or ""
    if kind == "content-delta":
        return get(get(get(get(event, "delta"), "message"), "content"), "text") or ""
    known = kind.startswith(("message_", "content_block_", "response.", *_COHERE)) or kind == "ping"
    return "" if known else UNKNOWN


def _interaction(event: Any) -> Any:
    """Read an event of Gemini's Interactions."""
    if not _is_of(get(event, "event_type"), _INTERACTIONS):
        return UNKNOWN
    delta = get(event, "delta")
    return (get(delta, "text") or "") if get(delta, "type") == "text" else ""


def _converse(chunk: Any) -> Any:
    """Read an event or an answer of Bedrock's Converse."""
    if _is_converse(chunk):
        return get(get(get(chunk, "contentBlockDelta"), "delta"), "text") or ""
    content = get(get(get(chunk, "output"), "message"), "content")
    return UNKNOWN if content is None else _in_parts(content)


def _is_converse(chunk: Any) -> bool:
    return isinstance(chunk, Mapping) and len(chunk) == 1 and not _CONVERSE.isdisjoint(chunk)


def _choices(chunk: Any) -> Any:
    """Read a chunk or an answer of OpenAI's chat or legacy completions."""
    choices = get(chunk, "choices")
    if not isinstance(choices, Sequence) or isinstance(choices, str):
        return UNKNOWN
    texts = []
    for choice in choices[:1]:
        said = get(choice, "delta") or get(choice, "message")
        texts.append(_in_parts(get(said, "content") if said is not None else get(choice, "text")))
    return "".join(texts)


def _candidates(chunk: Any) -> Any:
    """Read a response of Gemini's."""
    candidates = get(chunk, "candidates")
    if not isinstance(candidates, Sequence):
        return UNKNOWN
    parts = get(get(candidates[0], "content"), "parts") if candidates else ()
    return "".join(get(part, "text") or "" for part in parts or () if not get(part, "thought"))


def _line(line: Any) -> Any:
    """Read a line or an answer of Ollama's chat or generate."""
    if not _is_line(line):
        return UNKNOWN
    message = get(line, "message")
    return (get(line, "response") if message is None else get(message, "content")) or ""


def _is_line(chunk: Any) -> bool:
    """Tell Ollama's lines from chunks of others that say whether they are the last."""
    says = get(get(chunk, "message"), "role") is not None or isinstance(get(chunk, "response"), str)
    return says and isinstance(get(chunk, "done"), bool) and get(chunk, "created_at") is not None


def _content(message: Any) -> Any:
    """Read a message: our own, LangChain's, Anthropic's, and that in Cohere's answer."""
    content = get(message, "content")
    if content is None:
        content = get(get(message, "message"), "content")
    if isinstance(content, str):
        return content
    return _in_parts(content) if isinstance(content, Sequence) else UNKNOWN


def _responses(answer: Any) -> Any:
    text = get(answer, "output_text")
    return text if isinstance(text, str) else UNKNOWN


def finish_of(chunk: Any) -> Any:
    """Return why the answer ended, as this chunk says; None where it does not, `UNKNOWN` where its kind never does."""
    chunk = _unwrapped(chunk)
    if isinstance(choices := get(chunk, "choices"), Sequence):
        return next((get(choice, "finish_reason") for choice in choices[:1]), None)
    if isinstance(candidates := get(chunk, "candidates"), Sequence):
        return next((get(candidate, "finish_reason") for candidate in candidates[:1]), None)
    if _is_line(chunk):
        return get(chunk, "done_reason")
    if isinstance(metadata := get(chunk, "response_metadata"), Mapping):
        return metadata.get("finish_reason") or metadata.get("stop_reason")
    if hasattr(chunk, "finish_reason"):
        return chunk.finish_reason
    return _reason_of(chunk)


def _reason_of(event: Any) -> Any:  # noqa: PLR0911 - one return for each shape
    """Return why the answer ended, as an event says that has a type."""
    if _is_converse(event) or get(event, "stopReason"):
        return get(get(event, "messageStop") or event, "stopReason")
    if _is_of(kind := get(event, "event_type"), _INTERACTIONS):
        return get(get(event, "interaction"), "status") if kind == "interaction.completed" else None
    kind = get(event, "type")
    if isinstance(kind, str) and kind.startswith(_COHERE):
        return get(get(event, "delta"), "finish_reason")
    if isinstance(kind, str) and kind.startswith(("message_", "content_block_")):
        return get(get(event, "delta"), "stop_reason")
    if _is_of(kind, _MISTRAL):
        return kind if kind in {"conversation.response.done", "conversation.response.error"} else None
    if isinstance(kind, str) and kind.startswith("response."):
        return kind if kind in {"response.completed", "response.incomplete", "response.failed"} else None
    return UNKNOWN


def usage_of(chunk: Any) -> Any:
    """Return `(input tokens, output tokens)` as this chunk says, None where it does not, `UNKNOWN` for a str."""
    if isinstance(chunk, str):
        return UNKNOWN
    chunk = _unwrapped(chunk)
    if _is_converse(chunk):
        usage = get(get(chunk, "metadata"), "usage")
        return None if usage is None else _tokens(usage)
    chunk = get(chunk, "interaction") or chunk
    if _is_line(chunk):
        counts = get(chunk, "prompt_eval_count"), get(chunk, "eval_count")
        return None if counts == (None, None) else tuple(count or 0 for count in counts)
    for name in ("usage", "usage_metadata"):
        usage = get(chunk, name) if get(chunk, "type") != "message-end" else get(get(chunk, "delta"), name)
        if usage is not None:
            return _tokens(get(usage, "tokens") or usage)
    has_place = any(hasattr(chunk, name) for name in ("usage", "usage_metadata"))
    return None if has_place else UNKNOWN


def _tokens(usage: Any) -> tuple[Any, Any]:
    def first(*names: str) -> Any:
        return next((value for name in names if (value := get(usage, name)) is not None), None)

    return (
        first("input_tokens", "prompt_tokens", "prompt_token_count", "inputTokens", "total_input_tokens"),
        first("output_tokens", "completion_tokens", "candidates_token_count", "outputTokens", "total_output_tokens"),
    )


def joined(chunks: Sequence[Any], text: Callable[[Any], Any]) -> Any:
    """Return the text that the chunks add up to; `UNKNOWN` where one of them cannot be read."""
    texts = [text(chunk) for chunk in chunks]
    return UNKNOWN if any(one is UNKNOWN for one in texts) else "".join(texts)
