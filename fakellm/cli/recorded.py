"""What a tape, a script or a body in a file says, as rows that people may see: nothing of it holds a secret.

Redaction comes first, and everything else is taken from what it leaves. A tape goes through what redacts recordings, so
the sizes of its chunks move with each secret, and one that is said token by token is replaced in the token where it
began. Only then are bytes decoded, events read and texts put together: whatever is shown of them, and however it is
cut, there is no second form of the secret left that somebody could forget.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fakellm.cassette.bodies import kind_of, kind_of_chunks
from fakellm.cassette.bodies import script_of as script_of_body
from fakellm.cassette.document import CassetteError
from fakellm.cassette.files import Files
from fakellm.cassette.matching import bytes_of
from fakellm.cassette.redaction import Redactor
from fakellm.cassette.replay import chunks_of
from fakellm.errors import WireError, explain
from fakellm.provider.exchange import ProviderCall
from fakellm.script.events import Event, Fault, Pause, Raw
from fakellm.script.messages import Message
from fakellm.script.script import Script
from fakellm.script.written import without_secrets, written
from fakellm.secrets.knowing import discreet
from fakellm.wire.codec import Decoder, legal_or_not
from fakellm.wire.providers import scripted_endpoint
from fakellm.wire.said import said_in
from fakellm.wire.service import codec_of

OK = 200
SUFFIXES = (".yaml", ".yml", ".json", ".yaml.gz", ".yml.gz", ".json.gz")
BODIES = (".sse", ".jsonl", ".ndjson")
_SCRIPT = b"fakellm_script"
_HEAD = 4096


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of an answer as its client got it.

    `at` is when, in seconds since the head of the answer, and None where no time was kept; `events` is what it says.
    """

    data: bytes
    at: float | None
    events: tuple[Event, ...] = ()

    @property
    def text(self) -> str:
        """The bytes as text; what is no UTF-8, such as half a character, is escaped."""
        return self.data.decode("utf-8", "backslashreplace")

    @property
    def said(self) -> list[str]:
        """The events, as one would write them in a script."""
        return written(self.events)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. `stored` is what vcrpy keeps of it, `options` what its body says beside model, messages and tools."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: str
    api: str
    model: str
    is_stream: bool
    messages: tuple[Message, ...]
    tools: tuple[str, ...]
    options: Mapping[str, Any]
    stored: Any = None


@dataclass(frozen=True)
class Recorded:
    """One interaction of a tape; of a script or a body in a file there is no request, and `asked` is None.

    `end` is one of `complete`, `cancelled`, `dropped`, `timeout`, and `error` the exception that ended it. `problem` is
    why what it says could not be read to its end, `redacted` how many secrets were replaced in it.
    """

    file: str
    number: int
    chunks: tuple[Chunk, ...]
    asked: Asked | None = None
    status: int = OK
    reason: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    end: str = "complete"
    error: str | None = None
    problem: str = ""
    redacted: int = 0
    is_script: bool = False

    @cached_property
    def script(self) -> Script:
        """All that it says."""
        shown = [event for chunk in self.chunks for event in chunk.events if not isinstance(event, (Pause, Fault, Raw))]
        return legal_or_not(shown)

    @property
    def size(self) -> int:
        """The bytes of the body."""
        return sum(len(chunk.data) for chunk in self.chunks)


def read(path: Path, *, environ: Mapping[str, str] | None = None) -> list[Recorded]:
    """Return what a file says: a tape, a script, or the body of one answer.

    Raises `CassetteError` and `ScriptFileError` for one that is broken or none of them, and `OSError` for no file.
    """
    head = path.read_bytes()[:_HEAD] if path.is_file() else b""
    if _SCRIPT in head:
        return [_of_script(str(path), Script.load(path))]
    if path.name.endswith(BODIES) or kind_of(head):
        return [_of_script(str(path), script_of_body(path))]
    loaded = _loaded(path)
    redactor = Redactor(environ=environ)
    for request, _ in loaded:
        redactor.learn(request)  # an answer may echo what a later request sends
    return [of_pair(str(path), at, *pair, redactor) for at, pair in enumerate(loaded)]


def _loaded(path: Path) -> list[tuple[Any, Any]]:
    from vcr.persisters.filesystem import CassetteNotFoundError

    try:
        requests, responses, *_ = Files().load_cassette(path)
    except CassetteNotFoundError:
        why = "the file is empty" if path.exists() else "there is no such file"
        raise CassetteError(explain(f"{path}: {why}", remedy=["name a tape, a script, or a folder of them"])) from None
    except CassetteError:
        if path.suffix == ".json" and (api := kind_of_chunks(_json(path))):
            msg = f"{path}: this is a list of chunks of {api}, the body of one answer; give it the suffix .jsonl"
            raise CassetteError(msg) from None
        raise
    return list(zip(requests, responses, strict=True))


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None


def _of_script(file: str, script: Script) -> Recorded:
    """Return a script as an answer: a chunk for each event that a consumer sees, at the time of its pauses."""
    at, chunks, fault = 0.0, [], script.fault
    for event in map(_discreet, without_secrets(list(script))):
        if isinstance(event, Pause):
            at += event.seconds
        elif not isinstance(event, Fault):
            said = getattr(event, "text", None) or getattr(event, "arguments", None) or ""
            chunks.append(Chunk(said.encode("utf-8", "surrogatepass"), at, (event,)))
    end = "complete" if fault is None else "timeout" if fault.type == "stall" else "dropped"
    error = None if fault is None else discreet(repr(fault))
    return Recorded(file, 0, tuple(chunks), end=end, error=error, is_script=True)


def _discreet(event: Event) -> Event:
    """Return an event without what is secret in one of its fields alone: in the JSON of a provider, say."""
    texts = {one.name: text for one in fields(event) if isinstance(text := getattr(event, one.name), str)}
    changed = {name: new for name, text in texts.items() if (new := discreet(text)) != text}
    return replace(event, **changed) if changed else event


def of_pair(file: str, number: int, request: Any, response: dict[str, Any], redactor: Redactor) -> Recorded:
    """Return an interaction, as vcrpy keeps it, without its secrets."""
    before = redactor.counts.total()
    request, response = redactor.interaction(request, response)
    asked = _asked(request, redactor)
    status, stream = response["status"], response.get("stream") or {}
    pieces = chunks_of(response)
    delays = stream.get("delays")
    times = [round(at / 1000, 4) for at in accumulate(delays)] if delays is not None else [None] * len(pieces)
    said, problem = _said(asked, status["code"], pieces)
    chunks = [Chunk(*row) for row in zip(pieces, times, said, strict=True)]
    return Recorded(
        file, number, tuple(chunks), asked, status["code"], status.get("message") or "",
        {name: _joined(values) for name, values in response["headers"].items()},
        stream.get("end", "complete"), stream.get("error"), problem, redactor.counts.total() - before,
    )  # fmt: skip


def _joined(values: Any) -> str:
    return values if isinstance(values, str) else ", ".join(map(str, values))


def _asked(stored: Any, redactor: Redactor) -> Asked:
    headers = {str(name): _joined(value) for name, value in stored.headers.items()}
    body = bytes_of(stored)
    call = ProviderCall(stored.method, stored.uri, headers, body)
    request = call.request
    found = scripted_endpoint(stored.method, stored.uri)
    text = redactor.text(body.decode("utf-8", "backslashreplace"))
    return Asked(
        stored.method, stored.uri, headers, text, found[1].api if found else "", request.model, request.stream,
        request.messages, request.tools, request.options, stored,
    )  # fmt: skip


def _said(asked: Asked, status: int, pieces: list[bytes]) -> tuple[list[tuple[Event, ...]], str]:
    """Return what each piece of an answer says, and why the rest could not be read."""
    silent: list[tuple[Event, ...]] = [()] * len(pieces)
    found = scripted_endpoint(asked.method, asked.url)
    if found is None or status != OK or not pieces:
        return silent, ""
    if not asked.is_stream and "stream" not in urlsplit(asked.url).path.lower():
        events = said_in(b"".join(pieces))
        return [*silent[:-1], tuple(without_secrets(events))], ""
    return _decoded(codec_of(found[1]).decoder(), pieces)


def _decoded(decoder: Decoder, pieces: Iterable[bytes]) -> tuple[list[tuple[Event, ...]], str]:
    events: list[list[Event]] = []
    problem = ""
    for piece in pieces:
        found: list[Event] = []
        try:
            found = list(decoder.feed(piece)) if not problem else []
        except WireError as error:
            problem = discreet(str(error))
        events.append(found)
    if not problem:
        try:
            events[-1] += [event for event in decoder.close() if not isinstance(event, Fault)]
        except WireError as error:
            problem = discreet(str(error))
    rest = iter(without_secrets([event for found in events for event in found]))
    return [tuple(next(rest) for _ in found) for found in events], problem


def plain(recorded: Recorded) -> dict[str, Any]:
    """Return what was recorded as JSON can say it."""
    asked, script = recorded.asked, recorded.script
    usage = script.usage
    request = None
    if asked is not None:
        request = {
            "method": asked.method, "url": asked.url, "api": asked.api, "model": asked.model, "stream": asked.is_stream,
            "messages": [{"role": one.role, "content": one.content} for one in asked.messages],
            "tools": [*asked.tools], "options": dict(asked.options), "headers": dict(asked.headers), "body": asked.body,
        }  # fmt: skip
    return {
        "number": recorded.number,
        "request": request,
        "status": recorded.status,
        "headers": dict(recorded.headers),
        "text": script.text,
        "reasoning": script.reasoning,
        "refusal": script.refusal,
        "tool_calls": [{"id": one.id, "name": one.name, "arguments": one.arguments} for one in script.tool_calls],
        "usage": usage and {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens},
        "finish_reason": script.finish_reason,
        "end": recorded.end,
        "error": recorded.error,
        "problem": recorded.problem or None,
        "redacted": recorded.redacted,
        "chunks": [
            {"at": one.at, "bytes": len(one.data), "text": one.text, "said": one.said} for one in recorded.chunks
        ],
    }
