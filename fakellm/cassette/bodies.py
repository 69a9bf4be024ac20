"""Bodies of answers in files of their own, `.sse` and `.jsonl`: which they are, and what they say as a script."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fakellm.cassette.document import CassetteError
from fakellm.cassette.place import check_file
from fakellm.cassette.reading import as_str
from fakellm.errors import explain
from fakellm.script.script import Script
from fakellm.wire.codec import Codec
from fakellm.wire.providers import services
from fakellm.wire.service import Endpoint, codec_of
from fakellm.wire.sse import encode_ndjson

_EVENT = frozenset(("data", "event", "id", "retry"))
_GOOGLE = {"usage_metadata": dict, "model_version": str, "sdk_http_response": dict, "response_id": str}
"""What a chunk has that Google's SDK shows, and no other."""
_FREE = ("args", "response", "parameters", "response_schema", "response_json_schema")
_FIELD = re.compile(r"(?:data|event|id|retry)?:")
_SAYS = re.compile(r"(?:data|event):")
_HEAD = 20_000
LINE_END = re.compile(r"\r\n|\r|\n")
"""What ends a line; U+2028 and its like may stand in JSON as they are."""


def kind_of(source: str | bytes) -> str:
    """Return which body of an answer a text begins as; nothing if it is none."""
    text = as_str(source[:_HEAD]).removeprefix("\ufeff")
    lines = [line for line in LINE_END.split(text) if line.strip()][:4]
    if lines and all(map(_FIELD.match, lines)) and any(map(_SAYS.match, lines)):
        return "an event stream (SSE)"
    if len(lines) > 1 and all(isinstance(json_or_none(line), dict) for line in lines[:2]):
        return "a stream of lines of JSON"
    return ""


def kind_of_chunks(data: Any) -> str:
    """Return the API that a list is of whose items are the chunks or events of one answer; nothing if it is none."""
    events = [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []
    return next(filter(None, map(_api_of, events)), "")


def script_of(path: str | Path, *, api: str | None = None) -> Script:
    """Return the body of an answer that is in a file of its own as a script.

    It may be an event stream (`.sse`), lines of JSON (`.jsonl`), each a chunk or an event, or a list of those. `api` is
    the codec's name, such as `"openai.chat"`; by default it is the one that the first chunks are of. Such a file
    keeps no silences. Raises `CassetteError` for a body of no API that is known, and `OSError` for no file.
    """
    check_file(Path(path), str(path))
    data = Path(path).read_bytes()
    events = list(_events(data))
    codec = codec_for(api, events, str(path))
    is_framed = kind_of(data).startswith("an event")
    framed = _sse if "event-stream" in codec.content_type else encode_ndjson
    return codec.decode(data if is_framed else b"".join(map(framed, events)))


def _events(data: bytes) -> Iterator[dict[str, Any]]:
    """Yield the objects of a body, in whichever framing."""
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    whole = json_or_none(text)
    if isinstance(whole, list):
        yield from (as_sent(item) for item in whole if isinstance(item, dict))
        return
    for line in LINE_END.split(text):
        found = json_or_none(line.removeprefix("data:"))
        if isinstance(found, dict):
            yield as_sent(found)


def as_sent(event: dict[str, Any]) -> dict[str, Any]:
    """Return a chunk as its API sends it, of one as an SDK has it.

    Mistral's SDK has events with the chunk as their `data`. Google's names fields as Python does, shows bytes in the
    alphabet of base64 that URLs have, and adds the response that it read.
    """
    if event.keys() <= _EVENT and isinstance(inner := event.get("data"), dict):
        return as_sent(inner)
    if any(isinstance(event.get(name), kind) for name, kind in _GOOGLE.items()):
        return {name: value for name, value in _camel(event).items() if name != "sdkHttpResponse"}
    return event


def _camel(value: Any, name: str = "") -> Any:
    """Return what Google's SDK has with the names of its API; what tools were given has names of its own."""
    if isinstance(value, dict):
        return {_renamed(key): inner if key in _FREE else _camel(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_camel(inner, name) for inner in value]
    is_bytes = isinstance(value, str) and name in ("thought_signature", "data")
    return value.replace("-", "+").replace("_", "/") if is_bytes else value


def _renamed(name: str) -> str:
    first, *more = name.split("_")
    return first + "".join(part.capitalize() for part in more) if first else name


def _sse(event: dict[str, Any]) -> bytes:
    kind = event.get("type") or event.get("event_type")
    name = f"event: {kind}\n" if isinstance(kind, str) else ""
    return f"{name}data: {json.dumps(event, ensure_ascii=False)}\n\n".encode("utf-8", "surrogatepass")


def json_or_none(text: str | bytes) -> Any:
    """Return what JSON says; None for what is none, or nested too deep."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def codec_for(api: str | None, events: list[dict[str, Any]], name: str) -> Codec:
    """Return the codec of an API, or that which the events are of. Raises `CassetteError`, which names all there are.

    Of an API that is asked in several places it is that of the first, its own.
    """
    endpoints: dict[str, Endpoint] = {}
    for service in services():
        for end in service.endpoints:
            if end.is_codec:
                endpoints.setdefault(end.api, end)
    found = api or kind_of_chunks(events)
    if found in endpoints:
        return codec_of(endpoints[found])
    problem = f"there is no API {api!r}" if api else "its chunks are of no API that is known"
    remedy = f"name the one that it is of, api=...: {', '.join(endpoints)}"
    raise CassetteError(explain(f"{name}: {problem}", remedy=[remedy]))


_KINDS = {
    ("response.",): "openai.responses",
    ("message_start", "content_block_start", "content_block_delta"): "anthropic.messages",
    ("message-", "content-", "tool-call-", "tool-plan-", "citation-"): "cohere.chat",
    ("interaction.", "step."): "gemini.interactions",
    (
        "conversation.response.",
        "message.output.",
        "function.call.",
        "tool.execution.",
        "agent.handoff.",
    ): "mistral.conversations",
}
"""What the type of a chunk begins with -> the API that it is of."""
_CONVERSE = ("messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop")
"""The events of Bedrock's Converse, each by its type."""


def _api_of(event: dict[str, Any]) -> str:
    """Return the API that a chunk is of, by what no other's has."""
    kind = str(event.get("type") or event.get("event_type", ""))
    named = next((api for begins, api in _KINDS.items() if kind.startswith(begins)), None)
    if named is not None:
        return named
    if "candidates" in event or "usageMetadata" in event:
        return "gemini"
    return _unnamed(event)


def _unnamed(event: dict[str, Any]) -> str:
    """Return the API of a chunk that neither a type nor Google's fields tell."""
    if isinstance(event.get("output"), dict) and "request_id" in event:
        return "dashscope.generation"
    if isinstance(event.get("done"), bool):
        return "ollama.chat" if "message" in event else "ollama.generate" if "response" in event else ""
    if any(isinstance(event.get(kind), dict) for kind in _CONVERSE):
        return "bedrock.converse"
    choices = event.get("choices")
    if event.get("object") == "text_completion" or _has(choices, "text"):
        return "openai.completions"
    return "openai.chat" if event.get("object") == "chat.completion.chunk" or _has(choices, "delta") else ""


def _has(choices: Any, key: str) -> bool:
    return isinstance(choices, list) and bool(choices) and isinstance(choices[0], dict) and key in choices[0]
