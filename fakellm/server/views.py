"""What is told of a session over HTTP: requests, their answers, misses; as models, so that OpenAPI has their form.

A reader of these may be anybody who sees the page, so all of it is without secrets, as reports are: by the credentials
of the request, by the environment, by form. A secret that is told in pieces is seen in the events of a stream, not in
its bytes; then the bytes are kept back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from fakellm.errors import WireError
from fakellm.provider.exchange import ProviderCall
from fakellm.provider.reports import usual_codec
from fakellm.script.events import Event
from fakellm.script.written import without_secrets, written
from fakellm.secrets.knowing import discreet, knowing, pieces
from fakellm.secrets.shown import Shown
from fakellm.server.logged import Logged

_LONGEST = 200_000
"""Characters of a body that are shown."""


class View(BaseModel):
    """What all of these share."""

    model_config = ConfigDict(extra="forbid")


class Message(View):
    """A message of the prompt, in words that all APIs share."""

    role: str
    content: str


class Request(View):
    """What was asked."""

    model: str
    stream: bool
    messages: list[Message]
    tools: list[str]
    headers: dict[str, str]
    json_: JsonValue = Field(alias="json", description="the body, where it is JSON")
    body: str | None = Field(description="the body, where it is none")


class Chunk(View):
    """One piece of the answer's body."""

    at: float | None = Field(description="seconds since the request came, when it was written; null: not kept")
    text: str | None = Field(description="as it was sent; null where a secret is spread over several pieces")
    said: list[str] = Field(description="the events in it, as one would script them")


class Brief(View):
    """A request in a line."""

    number: int = Field(description="counts the requests of the session from 1")
    provider: str = Field(description="empty where no provider of the server knows the request")
    method: str
    url: str
    path: str
    api: str = Field(description="`openai.chat` and so on; empty where the request was not read")
    model: str
    stream: bool
    at: float = Field(description="seconds since the session began")
    state: str = Field(description="running, complete, closed (by the client), failed, cancelled, or missed")
    status: int | None = Field(description="the HTTP status; null where the connection broke before one")
    pieces: int
    bytes: int
    moments: list[tuple[float, int]] = Field(
        description="when pieces were written: seconds since the request came, and how many there were before"
    )


class Call(Brief):
    """A request with its answer."""

    request: Request
    reply: str | None = Field(description="what was scripted, and which requests it answered")
    chunks: list[Chunk] = Field(
        description="the first pieces that the client took, at most 64, and in a server that lets go at most 64 kB"
    )
    error: str | None
    miss: str | None = Field(description="why it has no reply, the nearest, and what to do")
    refusal: str | None = Field(description="which rule a strict fake refused it by, where, and what to do")


class Miss(View):
    """A request that no reply was for, or whose reply could not be made."""

    number: int
    provider: str
    message: str


class Unused(View):
    """What was scripted for requests that never came."""

    provider: str
    reply: str


class Provider(View):
    """A provider of the server."""

    name: str
    base_url: str
    variables: dict[str, str] = Field(description="what points its SDK here, for the environment of a process")


class SessionState(View):
    """A session; that of the server's own providers has no name."""

    name: str
    calls: int = Field(description="how many requests came")
    kept: int = Field(description="how many of them are there still: the latest, whose numbers end with `calls`")
    misses: int


class State(View):
    """What the server is."""

    fakellm: str
    session: str
    providers: list[Provider]
    sessions: list[SessionState]


class Problem(View):
    """One thing that is wrong with what was sent."""

    field: str = Field(description="such as `0.script.events.2.type`; empty for the whole")
    line: int | None = Field(description="of the body")
    message: str


class Error(View):
    """Why a request was refused."""

    message: str
    problems: list[Problem]
    remedy: str


class Refused(View):
    """The document of an error."""

    error: Error


def brief(logged: Logged, since: int = 0) -> dict[str, Any]:
    """Return a request in a line, with its moments from the one of that number on."""
    call = logged.call
    request = call.request
    return {
        "number": logged.number,
        "provider": logged.provider,
        "method": call.method,
        "url": call.address.partition(" ")[2],
        "path": urlsplit(call.address.partition(" ")[2]).path,
        "api": call.api,
        "model": request.model,
        "stream": request.stream,
        "at": round(logged.at, 6),
        "state": logged.state,
        "status": logged.sent,
        "pieces": call.pieces,
        "bytes": call.delivered,
        "moments": [(round(moment, 6), before) for moment, before in logged.moments(since)],
    }


def whole(logged: Logged) -> dict[str, Any]:
    """Return a request with its answer."""
    call, request = logged.call, logged.call.request
    shown = Shown(secrets=call.credentials)
    body = shown.text(call.body[: 2 * _LONGEST].decode("utf-8", "replace"))[:_LONGEST]
    with knowing(call.credentials):
        return {
            **brief(logged),
            "request": {
                "model": request.model,
                "stream": request.stream,
                "messages": [{"role": one.role, "content": one.content} for one in request.messages],
                "tools": list(request.tools),
                "headers": {name: shown.header(name, value) for name, value in call.headers.items()},
                "json": (parsed := _parsed(body)),
                "body": body if body and parsed is None else None,
            },
            "reply": None if call.reply is None else str(call.reply),
            "chunks": chunks(logged),
            "error": None if call.error is None else discreet(repr(call.error)),
            "miss": None if logged.miss is None else discreet(str(logged.miss)),
            "refusal": None if call.refusal is None else discreet(str(call.refusal)),
        }


def chunks(logged: Logged) -> list[dict[str, Any]]:
    """Return the first pieces of an answer: when, the bytes, what they say."""
    call = logged.call
    taken = list(call.taken)
    moments, is_full = logged.moments(), logged.is_full
    with knowing(call.credentials):
        texts = pieces([piece.decode("utf-8", "replace") for piece in taken])
        said, is_spread = _said(call, taken)
    found = []
    for place, text in enumerate(texts):
        at = max((moment for moment, before in moments if before <= place), default=None)
        is_kept = at is not None and (not is_full or place <= moments[-1][1])
        found.append({
            "at": round(at, 6) if at is not None and is_kept else None,
            "text": None if is_spread and said[place] else text,
            "said": said[place],
        })  # fmt: skip
    return found


def _said(call: ProviderCall, taken: Sequence[bytes]) -> tuple[list[list[str]], bool]:
    """Return what each piece of a stream says, and whether a secret is told in several."""
    codec = usual_codec(call)
    if codec is None or not call.request.stream or call.status != 200:  # noqa: PLR2004
        return [[] for _ in taken], False
    decoder = codec.decoder()
    events: list[list[Event]] = []
    for piece in taken:
        try:
            events.append(list(decoder.feed(piece)))
        except WireError:
            events.append([])
    flat = [event for those in events for event in those]
    shown = without_secrets(flat)
    rest = iter(written(shown))
    return [[next(rest) for _ in those] for those in events], shown != flat


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def dumped(document: Any, secrets: frozenset[str] = frozenset()) -> bytes:
    """Return a document as JSON without secrets: in the text as a whole if that stays JSON, else text by text."""
    with knowing(secrets):
        text = discreet(json.dumps(document, ensure_ascii=False))
        try:
            json.loads(text)
        except ValueError:
            text = json.dumps(_each(document, discreet), ensure_ascii=False)
    return text.encode("utf-8", "replace")


def plain(document: Any) -> bytes:
    """Return a document as JSON, as it is."""
    return json.dumps(document, ensure_ascii=False).encode()


def _each(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(key): _each(one, change) for key, one in value.items()}
    return [_each(one, change) for one in value] if isinstance(value, (list, tuple)) else value
