"""Bodies of streams as lines of JSON, one for each chunk or event, as SDKs and logs give them; and back.

What a line has no place for is told: comments, ids and pauses to reconnect of server-sent events, names of events that
their data does not say, and data that is no JSON object. `[DONE]` goes without saying: it comes back where the API has
it and the stream is complete. Of Bedrock's frames a line of Converse has the type of the event as its one field, and a
line of InvokeModel is the model's own chunk.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from fakellm.cassette.bodies import LINE_END, as_sent, json_or_none, kind_of
from fakellm.cassette.document import CassetteError
from fakellm.errors import explain
from fakellm.wire.codec import Codec
from fakellm.wire.eventstream import Frame, FrameDecoder
from fakellm.wire.reader import SSEReader
from fakellm.wire.sse import SSEDecoder

_ENDS_DONE = {
    "openai.chat": "data: [DONE]\n\n",
    "openai.completions": "data: [DONE]\n\n",
    "mistral.chat": "data: [DONE]\n\n",
    "mistral.fim": "data: [DONE]\n\n",
    "mistral.agents": "data: [DONE]\n\n",
    "gemini.interactions": "event: done\ndata: [DONE]\n\n",
}
"""What ends the streams of an API after their last chunk."""
_FIELDS = re.compile(rb"(?m)^(:|id:|retry:)")
_UNSAID = {b":": "comments", b"id:": "ids of events", b"retry:": "times to reconnect"}


def lines_of(body: bytes, codec: Codec) -> tuple[list[str], list[str]]:
    """Return the chunks of a body, each as JSON on one line, and in words what is not kept of it."""
    if "eventstream" in codec.content_type and not body.startswith(b"{"):
        return _of_frames(body, codec)
    if kind_of(body).startswith("an event") or ("event-stream" in codec.content_type and body[:1] not in b"[{"):
        return _of_sse(body, codec)
    lost: list[str] = []
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    if isinstance(whole := json_or_none(text), list):
        return [_line(item) for item in whole if isinstance(item, dict)], lost
    lines = [line.strip() for line in LINE_END.split(text) if line.strip()]
    kept = [line for line in lines if isinstance(json_or_none(line), dict)]
    if len(kept) < len(lines):
        lost.append(f"{len(lines) - len(kept)} of {len(lines)} lines, which are no JSON objects")
    return kept, lost


def _of_sse(body: bytes, codec: Codec) -> tuple[list[str], list[str]]:
    decoder = SSEDecoder(flush=True)
    found, unended = decoder.feed(body), decoder.close()
    reads = codec.decoder()
    if unended and not (isinstance(reads, SSEReader) and reads.reads_unended):
        is_done = all(sse.data.startswith("[DONE]") for sse in unended)
        unended, cut = [], [] if is_done else ["the begin of an event that was cut off"]
    else:
        cut = []
    lines, bare, named = [], 0, 0
    for sse in (*found, *unended):
        if sse.data.strip() == "[DONE]":
            continue
        event = json_or_none(sse.data)
        if not isinstance(event, dict):
            bare += sse.data.strip() != "null"
            continue
        named += bool(sse.event) and sse.event != _kind_of(event)
        lines.append(sse.data.strip() if "\n" not in sse.data else _line(event))
    lost = [what for field, what in _UNSAID.items() if field in {match[1] for match in _FIELDS.finditer(body)}]
    lost += ["names of events that their data does not say"] if named else []
    lost += [f"{bare} events whose data is no JSON object"] if bare else []
    return lines, [*lost, *cut]


def _of_frames(body: bytes, codec: Codec) -> tuple[list[str], list[str]]:
    decoder = FrameDecoder()
    frames = decoder.feed(body)
    lost = ["the begin of a frame that was cut off"] if decoder.close() else []
    lines = [line for frame in frames if (line := _of_frame(frame, codec))]
    silent = sum(frame.text(":event-type") != "initial-response" for frame in frames) - len(lines)
    return lines, [*lost, *([f"{silent} frames without a JSON object"] if silent > 0 else [])]


def _of_frame(frame: Frame, codec: Codec) -> str:
    document = json_or_none(frame.payload.decode("utf-8", "replace"))
    if not isinstance(document, dict) or frame.text(":event-type") == "initial-response":
        return ""
    if failed := frame.text(":exception-type"):
        return _line({failed: document})
    if codec.api == "bedrock.converse":
        return _line({frame.text(":event-type"): document})
    try:
        return _line(json.loads(base64.b64decode(document["bytes"])))
    except (KeyError, ValueError, TypeError):
        return ""


def chunks_in(data: bytes, name: str) -> list[str]:
    """Return the lines of a file of JSON lines, or the items of a list. Raises `CassetteError` for what is none."""
    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    whole = json_or_none(text)
    if isinstance(whole, list):
        for number, item in enumerate(whole):
            if not isinstance(item, dict):
                raise _refused(f"{name}, item {number} of the list", _line(item))
        return [_line(as_sent(item)) for item in whole]
    found: list[str] = []
    for number, line in enumerate(LINE_END.split(text), 1):
        if not line.strip() or line.strip() == "[DONE]":
            continue
        if not isinstance(event := json_or_none(line), dict):
            raise _refused(f"{name}, line {number}", line)
        sent = as_sent(event)
        found.append(line.strip() if sent is event else _line(sent))
    return found


def _refused(place: str, text: str) -> CassetteError:
    headline = f"{place}: a chunk is a JSON object, and this is none: {text[:80]}"
    return CassetteError(explain(headline, remedy=["correct the line, or take it out"]))


def stream_of(lines: list[str], codec: Codec) -> bytes | None:
    """Return chunks in the framing of their API; None for an API whose streams are binary."""
    if "eventstream" in codec.content_type:
        return None
    if "event-stream" not in codec.content_type:
        return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    events = "".join(map(_framed, lines))
    body = events.encode("utf-8", "surrogateescape")
    is_complete = codec.decode(body).fault is None
    return body + (_ENDS_DONE.get(codec.api, "").encode() if is_complete else b"")


def _framed(line: str) -> str:
    kind = _kind_of(json.loads(line))
    name = f"event: {kind}\n" if kind else ""
    return f"{name}data: {line}\n\n"


def _kind_of(event: dict[str, Any]) -> str:
    """Return the name that an event says of itself, where it does."""
    kind = event.get("type") or event.get("event_type")
    return kind if isinstance(kind, str) and "\n" not in kind and "\r" not in kind else ""


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
