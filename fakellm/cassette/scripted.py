"""A script as a tape: what a provider would have answered, kept as if it had been recorded."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from vcr.request import Request

from fakellm.cassette.files import Files
from fakellm.cassette.format import YAML
from fakellm.errors import ScriptError
from fakellm.provider.actions import Failure, Timeouts
from fakellm.provider.exchange import Exchange
from fakellm.provider.provider import FakeProvider
from fakellm.script.script import Script
from fakellm.wire.codec import Codec
from fakellm.wire.providers import scripted_endpoint
from fakellm.wire.service import codec_of

Interaction = tuple[Request, dict[str, Any]]
_ENDS = {
    "reset": ("dropped", "ReadError"),
    "close": ("dropped", "RemoteProtocolError"),
    "read_timeout": ("timeout", "ReadTimeout"),
}
_HEADERS = {"content-type": "application/json", "accept": "application/json"}


def interaction_of(script: Script, url: str, asked: Mapping[str, Any]) -> Interaction:
    """Return the request and the response, as vcrpy keeps them, of a script that answers a request.

    `url` is that of an endpoint of a provider's API that a script answers, on any host, and `asked` the request's JSON.
    Pauses become the delays of the chunks, and the fault of the script the end of the stream. Raises `LookupError` for
    a URL of no such endpoint, and `ScriptError` for a fault that keeps an answer from beginning: no tape can hold that.
    """
    body = json.dumps(asked, ensure_ascii=False).encode()
    provider, codec = _provider_of(url)
    headers = dict(_HEADERS)
    if "accept" in codec.marks and codec.request(asked).stream:
        headers["accept"] = codec.content_type.partition(";")[0]
    exchange = provider.reply(script).handle("POST", url, headers, body)
    if not exchange.status:
        msg = f"no tape can hold that there is no answer: {script.fault!r}; give the fault to the tape, tape.fail(...)"
        raise ScriptError(msg)
    return Request("POST", url, body, headers), _response_of(exchange)


def write(path: str | Path, *interactions: Interaction) -> None:
    """Write a tape of the interactions, in the place of a file that is there."""
    Path(path).unlink(missing_ok=True)
    requests, responses = [list(column) for column in zip(*interactions, strict=True)]
    Files().save_cassette(str(path), {"requests": requests, "responses": responses}, YAML)


def _provider_of(url: str) -> tuple[FakeProvider, Codec]:
    found = scripted_endpoint("POST", url)
    if found is None:
        msg = f"{url} is of no API that has a codec"
        raise LookupError(msg)
    return FakeProvider(found[0].name), codec_of(found[1])


def _response_of(exchange: Exchange) -> dict[str, Any]:
    headers: dict[str, list[str]] = {}
    for name, value in exchange.headers:
        headers.setdefault(name, []).append(value)
    chunks: list[bytes] = []
    delays: list[float] = []
    silence = 0.0
    end: tuple[str, str | None] = ("complete", None)
    for action in exchange.body(Timeouts()):
        if isinstance(action, Failure):
            end = _ENDS[action.kind]
        elif isinstance(action, (int, float)):
            silence += action if math.isfinite(action) else 0
        else:
            for chunk in action:
                chunks.append(chunk)
                delays.append(round(silence * 1000, 1))
                silence = 0.0
    phrases = {status.value: status.phrase for status in HTTPStatus}
    response: dict[str, Any] = {
        "status": {"code": exchange.status, "message": phrases.get(exchange.status, "")},
        "headers": headers,
        "body": {"string": b"".join(chunks)},
    }
    if "transfer-encoding" in headers or end[0] != "complete":
        sizes = [len(chunk) for chunk in chunks]
        response["stream"] = {"sizes": sizes, "delays": delays, "end": end[0], "error": end[1]}
    return response
