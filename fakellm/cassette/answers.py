"""Answers as they are read: an interaction or a script, and what is known and made up beside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vcr.request import Request

from fakellm.cassette.bodies import codec_for, kind_of_chunks
from fakellm.cassette.document import CassetteError
from fakellm.cassette.lines import lines_of, stream_of
from fakellm.cassette.pairs import Pair
from fakellm.cassette.usual import usual_request
from fakellm.errors import WireError, explain
from fakellm.script.events import Pause, disconnect
from fakellm.script.script import Script
from fakellm.wire.codec import Codec
from fakellm.wire.providers import scripted_endpoint
from fakellm.wire.service import codec_of


class NoApiError(CassetteError):
    """Nobody knows of which API an answer is: the message says how to name it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was said beside the forms: the API, and what was asked, where the source does not tell."""

    api: str = ""
    url: str = ""
    request: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a source: its place, the interaction or the script that it is, and what is known beside.

    `is_made_up` says that nobody knows what was asked; `prompt` and `model` are then what is made up of it. `lost` is
    what was not kept when it was read, and `api` whose a script is, where that is known.
    """

    at: int
    pair: Pair | None = None
    script: Script | None = None
    is_made_up: bool = False
    prompt: str = ""
    model: str = ""
    lost: tuple[str, ...] = ()
    api: str = ""


class NotConvertedError(CassetteError):
    """An answer that a form cannot hold at all."""


def answer_of_body(data: bytes, name: str, wanted: Wanted) -> Answer:
    """Return the answer that a raw event stream is. Raises `CassetteError`."""
    events = [event for line in lines_of_any(data) if isinstance(event := json.loads(line), dict)]
    codec = codec_wanted(wanted, events, name)
    _check_said(codec, events, data, name)
    try:
        url, asked = asked_of(codec.api, wanted)
    except CassetteError:  # of an API whose requests cannot be made up it is what it says
        return Answer(0, script=codec.decode(data), is_made_up=True, api=codec.api)
    return Answer(0, _pair(data, codec, url, asked), is_made_up=wanted.request is None)


def _check_said(codec: Codec, events: list[dict[str, Any]], body: bytes | None, name: str) -> None:
    """Raise `CassetteError` for chunks of another API than the one that was named."""
    if body is None:
        return
    try:
        script = codec.decode(body)
    except WireError:  # which is told where the events are wanted
        return
    if is_foreign(events, script):
        headline = f"{name}: its chunks say nothing that {codec.api} knows"
        raise CassetteError(explain(headline, remedy=["name the API that they are of: --api API"]))


def is_foreign(events: list[dict[str, Any]], script: Script) -> bool:
    """Tell whether an API made nothing of chunks, which look like none of its."""
    return (
        all(isinstance(event, (disconnect, Pause)) for event in script) and any(events) and not kind_of_chunks(events)
    )


def answer_of_lines(lines: list[str], name: str, wanted: Wanted) -> Answer:
    """Return the answer that lines of JSON are; of a binary stream they only say what it says.

    Raises `CassetteError`.
    """
    events = [json.loads(line) for line in lines]
    codec = codec_wanted(wanted, events, name)
    body = stream_of(lines, codec)
    _check_said(codec, events, body, name)
    if body is None:
        text = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
        lost = ("fields of chunks that are no events",)
        return Answer(0, script=codec.decode(text), is_made_up=True, lost=lost, api=codec.api)
    url, asked = asked_of(codec.api, wanted)
    return Answer(0, _pair(body, codec, url, asked), is_made_up=wanted.request is None)


def lines_of_any(data: bytes) -> list[str]:
    """Return the chunks of a stream of whichever API."""
    from fakellm.wire.openai.chat import ChatCodec  # server-sent events, of whichever API

    return lines_of(data, ChatCodec())[0]


def codec_wanted(wanted: Wanted, events: list[dict[str, Any]], name: str) -> Codec:
    """Return the codec that was named, or that events are of. Raises `NoApiError`."""
    if wanted.url:
        found = scripted_endpoint("POST", wanted.url)
        if found is None:
            raise NoApiError(explain(f"{wanted.url} is of no API that is known", remedy=["correct --url"]))
        return codec_of(found[1])
    try:
        return codec_for(wanted.api or None, events, name)
    except CassetteError as error:
        raise NoApiError(str(error).replace("api=...", "--api API")) from None


def asked_of(api: str, wanted: Wanted, **known: Any) -> tuple[str, dict[str, Any]]:
    """Return the URL and the JSON of the request that an answer is given."""
    if wanted.url and wanted.request is not None:
        return wanted.url, dict(wanted.request)
    url, asked = usual_request(api, **known)
    return wanted.url or url, asked if wanted.request is None else dict(wanted.request)


def _pair(body: bytes, codec: Codec, url: str, asked: Mapping[str, Any]) -> Pair:
    request = Request(
        "POST",
        url,
        json.dumps(asked, ensure_ascii=False).encode(),
        {"content-type": "application/json", "accept": "application/json"},
    )
    headers = {"content-type": [codec.content_type]}
    return request, {"status": {"code": 200, "message": "OK"}, "headers": headers, "body": {"string": body}}
