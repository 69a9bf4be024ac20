"""What is left of a recorded answer without its words: what `drift.py` compares.

The events of a stream are told apart by their names: that of the server-sent event or frame, the `type` or `object` of
its JSON, and the types that are named one level below, `content_block_delta/text_delta`. How many there are depends on
the words. So their order is folded: what repeats, one event or several, comes once, and `start delta delta stop start
delta stop` is `start delta stop`. One pass does it: after each event it is looked whether the last ones are the ones
before them, shorter groups first, and if so they are taken back. Events that come whenever they want, `ping`, are left
out.

A stream whose events are all alike, as those of chat completions are, has its order in what each of them carries. That
is for its codec to say: `text tool_call usage finish`.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from vcr.filters import decode_response

from fakellm.cassette.bodies import json_or_none, kind_of
from fakellm.cassette.held import as_bytes, headers_of
from fakellm.cassette.matching import fields_of
from fakellm.cassette.pairs import Pair
from fakellm.cassette.shape import Shape, type_of, word_of
from fakellm.errors import WireError
from fakellm.script.events import Content, Finish, Usage
from fakellm.script.joining import join_tool_calls
from fakellm.wire.codec import Request
from fakellm.wire.eventstream import Frame, FrameDecoder
from fakellm.wire.providers import scripted_endpoint
from fakellm.wire.service import codec_of
from fakellm.wire.sse import SSEDecoder
from fakellm.wire.wishes import tools_of

DONE = "[DONE]"
_DOCUMENT, _TEXT, _ERROR = "document", "text", "error"
WHENEVER = frozenset(("ping", "keepalive", "heartbeat"))
"""Events that keep a connection open."""
_LONGEST = 12
"""How many events a group that repeats may have."""
_NAMES = ("type", "event_type", "object")


@dataclass(frozen=True, slots=True)
class Called:
    """A call of a tool that a model made; None for arguments that are no JSON object."""

    name: str
    arguments: Mapping[str, Any] | None


@dataclass(slots=True)
class Outline:
    """An answer without its words.

    `format` is how its body is framed, `media` the type that it says, `events` the shape of each kind of event,
    `order` the kinds folded, `calls` the tools that were called, `problem` why its API's reader cannot read it, and
    `end` how it ended, as tapes say it.
    """

    status: int
    headers: dict[str, str]
    format: str
    media: str
    end: str
    events: dict[str, Shape] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    calls: list[Called] = field(default_factory=list)
    problem: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether it came to its end."""
        return self.end == "complete"


def outline_of(pair: Pair) -> Outline:
    """Return the outline of a recorded answer."""
    request, response = pair
    body = _body_of(response)
    headers = dict(headers_of(response))
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    end = (response.get("stream") or {}).get("end", "complete")
    framing, events = _events(body, media)
    outline = Outline(response["status"]["code"], headers, framing, media, end)
    names: list[str] = []
    for name, value in events:
        label = _label(name, value)
        if label not in WHENEVER:
            names.append(label)
        shape = outline.events.setdefault(label, Shape())
        if value is not None:
            shape.add(value)
    outline.order = folded(names) if len(set(names) - {DONE}) > 1 else ()
    if framing == "JSON":
        outline.calls = list(_called(value for _, value in events))
    elif outline.status < 400:  # noqa: PLR2004 - errors are documents
        _read(outline, request, body)
    return outline


def _body_of(response: Mapping[str, Any]) -> bytes:
    """Return a body without the compression that vcrpy keeps."""
    if not response.get("stream") and any(name == "content-encoding" for name, _ in headers_of(response)):
        with suppress(ValueError, OSError, EOFError, zlib.error):
            response = decode_response(response)
    return as_bytes(response["body"]["string"])


def offered(request: Any) -> dict[str, Any]:
    """Return the schemas of the tools that a recorded request offers, by their names."""
    return {tool.name: tool.schema for tool in tools_of(Request("", "", json=fields_of(request)))}


def folded(names: Iterable[str]) -> tuple[str, ...]:
    """Return names in their order, each group that comes several times in a row once."""
    found: list[str] = []
    for name in names:
        found.append(name)
        for size in range(1, min(_LONGEST, len(found) // 2) + 1):
            if found[-size:] == found[-2 * size : -size]:
                del found[-size:]
                break
    return tuple(found)


# -- bodies to events ---------------------------------------------------------------------------------

_Events = list[tuple[str, Any]]
"""The name that each event has in its framing, and its JSON; None for one that is none."""


def _events(body: bytes, media: str) -> tuple[str, _Events]:
    """Return how a body is framed, and its events."""
    if not body.strip():
        return "nothing", []
    if "amazon.eventstream" in media:
        return "binary event stream", list(_frames(body))
    kind = kind_of(body)
    if "event-stream" in media or kind.startswith("an event"):
        return "server-sent events", list(_sse(body))
    if kind or any(name in media for name in ("ndjson", "jsonl", "json-seq", "stream+json")):
        return "lines of JSON", [("", json_or_none(line)) for line in body.splitlines() if line.strip()]
    value = json_or_none(body)
    if value is None:
        return "text", []
    is_stream = isinstance(value, list) and all(isinstance(item, dict) for item in value)
    return ("a list of JSON", [("", item) for item in value]) if is_stream else ("JSON", [("", value)])


def _sse(body: bytes) -> Iterator[tuple[str, Any]]:
    decoder = SSEDecoder(flush=True)
    for event in [*decoder.feed(body), *decoder.close()]:
        yield (DONE, None) if event.data.strip() == DONE else (event.event or "", json_or_none(event.data))


def _frames(body: bytes) -> Iterator[tuple[str, Any]]:
    decoder = FrameDecoder()
    frames: list[Frame] = []
    try:
        frames = decoder.feed(body)
    except WireError:
        return
    for frame in frames:
        value = json_or_none(frame.payload)
        inner = value.get("bytes") if isinstance(value, dict) else None
        if isinstance(inner, str):  # what another API says, inside of Bedrock's
            try:
                value = json_or_none(base64.b64decode(inner + "=="))
            except ValueError:
                value = None
        yield frame.text(":event-type") or frame.text(":exception-type"), value


def _label(name: str, value: Any) -> str:
    """Return what kind of event it is."""
    if not isinstance(value, dict):
        return name or _TEXT
    unnamed = _ERROR if value.get(_ERROR) else _DOCUMENT
    own = next((value[key] for key in _NAMES if isinstance(value.get(key), str)), name or unnamed)
    inner = [kind for found in value.values() if isinstance(found, dict) and (kind := type_of(found))]
    return "/".join([word_of(own), *inner])


def is_error(label: str) -> bool:
    """Tell whether a kind of event reports an error."""
    own = label.partition("/")[0]
    return own in (_ERROR, "response.failed") or own.endswith(("Exception", ".error"))


# -- what the API's own reader says of it -------------------------------------------------------------


def _read(outline: Outline, request: Any, body: bytes) -> None:
    """Let the codec of the API read a stream: what was called, and the order of what it says."""
    found = scripted_endpoint(request.method, request.uri)
    if found is None:
        return
    decoder = codec_of(found[1]).decoder()
    events: list[Any] = []
    try:
        events += decoder.feed(body)
        events += decoder.close()
    except WireError as error:
        outline.problem = str(error).partition("\n")[0]
    outline.calls = [Called(word_of(call.name), _object(call.arguments)) for call in join_tool_calls(events)]
    if not outline.order:
        said = (event for event in events if isinstance(event, (Content, Usage, Finish)))
        outline.order = folded(event.type for event in said if getattr(event, "text", True))


def _object(arguments: Any) -> Mapping[str, Any] | None:
    value = json_or_none(arguments or "{}") if isinstance(arguments, str) else arguments
    return value if isinstance(value, Mapping) else None


def _called(documents: Iterable[Any]) -> Iterator[Called]:
    """Yield the calls in a document: objects with a name and arguments, in whichever API's words."""
    rest = list(documents)
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            key = next((key for key in ("arguments", "args", "input") if key in value), None)
            if key is not None and isinstance(value.get("name"), str) and isinstance(value[key], (str, dict)):
                yield Called(word_of(value["name"]), _object(value[key]))
            rest += [inner for name, inner in reversed(value.items()) if name != key]
        elif isinstance(value, list):
            rest += reversed(value)
