"""Answers in one form become answers in another: tapes, vcrpy's cassettes, scripts, raw streams, lines of JSON.

All forms meet in two: an interaction, a request and the response as vcrpy keeps them, and a script. What has the bytes
of an answer is an interaction, with a request that is made up where the form has none; what only says what is answered
is a script, which becomes an interaction once it is known of which API. So each form is read once and written once,
and bytes that were recorded stay as they are wherever the other form can hold them. What it cannot hold is told, each
thing in a few words.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vcr.request import Request

from fakellm.cassette.answers import (
    Answer,
    NoApiError,
    NotConvertedError,
    Wanted,
    asked_of,
    codec_wanted,
    is_foreign,
    lines_of_any,
)
from fakellm.cassette.bodies import kind_of, kind_of_chunks
from fakellm.cassette.document import HEADING, CassetteError
from fakellm.cassette.files import as_file
from fakellm.cassette.format import END_MARK
from fakellm.cassette.held import body_of, headers_of
from fakellm.cassette.lines import lines_of, stream_of
from fakellm.cassette.pairs import Pair
from fakellm.cassette.redaction import Redactor
from fakellm.cassette.replay import script_of
from fakellm.cassette.scripted import interaction_of
from fakellm.errors import ScriptError, WireError, explain
from fakellm.script.events import Fault, Pause, Raw, disconnect, http_error, provider_error, stall
from fakellm.script.script import Script
from fakellm.wire.codec import Codec, legal_or_not
from fakellm.wire.providers import scripted_endpoint
from fakellm.wire.service import codec_of

HOLD_MANY = ("tape", "vcrpy")
"""The forms that hold many answers; a script, a stream and its lines are one each."""
_FAILED = 400
_NO_STREAM = "it is a document, and no stream"
_STREAMS = ("event-stream", "eventstream", "ndjson", "jsonl")


@dataclass(frozen=True, slots=True)
class Converted:
    """What becomes of answers: the bytes of a file, which answers they hold, and what is not kept of those."""

    data: bytes
    answers: tuple[int, ...]
    lost: tuple[str, ...] = ()
    made_up: tuple[str, ...] = ()


# -- the two forms in which all meet ------------------------------------------------------------------


def interaction(answer: Answer, wanted: Wanted) -> tuple[Pair, Codec | None, tuple[str, ...]]:
    """Return the interaction that an answer is, the codec of its API if it has one, and what it has no place for."""
    if answer.pair is not None:
        request = answer.pair[0]
        found = scripted_endpoint(request.method, request.uri)
        return answer.pair, codec_of(found[1]) if found else _by_content(answer.pair[1], wanted), ()
    script = _script(answer)
    wanted = wanted if wanted.api or wanted.url else replace(wanted, api=answer.api)
    if not (wanted.api or wanted.url):
        headline = "a script does not say of which API it is"
        raise NoApiError(explain(headline, remedy=["name it: --api openai.chat, or another"]))
    codec = codec_wanted(wanted, [], "--api")
    script_wants = {"usage": script.usage is not None, "choices": max(script.choices, default=0) + 1}
    url, asked = asked_of(codec.api, wanted, prompt=answer.prompt, model=answer.model, **script_wants)
    try:
        pair = interaction_of(script, url, asked)
    except (ScriptError, LookupError, WireError) as error:
        raise NotConvertedError(str(error)) from None
    return pair, codec, _unsaid(script, pair, codec)


def _script(answer: Answer) -> Script:
    if answer.script is None:
        msg = "an answer is an interaction or a script"
        raise AssertionError(msg)
    return answer.script


def _by_content(response: Mapping[str, Any], wanted: Wanted) -> Codec | None:
    """Return the codec of an answer at a URL of no provider: the one that was named, or that its chunks are of."""
    body: bytes = response["body"]["string"] or b""
    if not wanted.api and not (kind_of(body) or _is_stream(response)):
        return None
    try:
        return codec_wanted(Wanted(api=wanted.api), [json.loads(line) for line in lines_of_any(body)], "")
    except CassetteError:
        return None


def _unsaid(script: Script, pair: Pair, codec: Codec) -> tuple[str, ...]:
    """Return what of a script is not in its stream: kinds of events, or how they were cut and ordered."""
    if isinstance(script.fault, http_error) or not _is_stream(pair[1]):
        return ()
    wanted = [event for event in script if not isinstance(event, (Pause, Fault, Raw))]
    kinds = {event.type for event in wanted}
    said = [event for event in script_of(pair[1], codec) if event.type in kinds]
    missing = kinds - {event.type for event in said}
    if missing or said == wanted:
        return tuple(f"{kind}, for which {codec.api} has no place there" for kind in sorted(missing))
    return (f"how its events are cut and ordered, where {codec.api} has them in another way",)


def _is_stream(response: Mapping[str, Any]) -> bool:
    kind = ", ".join(value for name, value in headers_of(response) if name == "content-type")
    body: bytes = response["body"]["string"] or b""
    if any(name in kind for name in _STREAMS) or kind_of(body):
        return True
    if body.lstrip()[:1] != b"[":
        return False
    try:
        return bool(kind_of_chunks(json.loads(body)))
    except (ValueError, RecursionError):
        return False


def told(answer: Answer, wanted: Wanted) -> tuple[Script, tuple[str, ...]]:
    """Return the script that an answer is, and what is not kept. Raises `NotConvertedError` for one that is none."""
    if answer.pair is None:
        return _script(answer), ()
    _, response = answer.pair
    lost = (*_of_request(answer), "fields of chunks that are no events")
    if response["status"]["code"] >= _FAILED:
        return _failed(response), _of_request(answer)
    stream = response.get("stream")
    _, codec, _ = interaction(answer, wanted)
    if not _is_stream(response):
        raise NotConvertedError(_NO_STREAM)
    if codec is None:
        raise _of_no_api(answer)
    try:
        script = script_of(response, codec, timed=True)
    except WireError as error:
        msg = f"it is no stream of {codec.api}: {error}"
        raise NotConvertedError(msg) from None
    if is_foreign([json.loads(line) for line in lines_of(response["body"]["string"], codec)[0]], script):
        msg = f"its chunks say nothing that {codec.api} knows"
        raise NotConvertedError(msg)
    if stream is None:
        return script, lost
    cut = ("how it would have gone on, since the app stopped reading",) if stream["end"] == "cancelled" else ()
    return _with_end(script, stream), (*lost, "sizes of chunks", *cut)


def _of_no_api(answer: Answer) -> NotConvertedError:
    where = f"{answer.pair[0].uri} is" if answer.pair else "it is"
    return NotConvertedError(f"{where} of no API that is known; if it speaks one that is, name it: --api API")


def _failed(response: Mapping[str, Any]) -> Script:
    """Return the script of an answer that is an error."""
    after = next((value for name, value in headers_of(response) if name == "retry-after"), "")
    body: bytes = response["body"]["string"] or b""
    seconds = float(after) if after.replace(".", "", 1).isascii() and after.replace(".", "", 1).isdigit() else None
    status = response["status"]["code"]
    return Script(http_error(status, retry_after=seconds, body=body.decode("utf-8", "replace")))


def _with_end(script: Script, stream: Mapping[str, Any]) -> Script:
    """Return a script that ends as the stream did where its connection broke."""
    events = list(script)
    if stream["end"] in ("complete", "cancelled") or (events and isinstance(events[-1], provider_error)):
        return script
    how = disconnect("close" if stream["error"] == "RemoteProtocolError" else "reset")
    fault = stall() if stream["end"] == "timeout" else how
    return legal_or_not([*(event for event in events if not isinstance(event, disconnect)), fault])


def _of_request(answer: Answer) -> tuple[str, ...]:
    return () if answer.is_made_up else ("the request", "headers")


# -- writing ------------------------------------------------------------------------------------------


def redacted(answer: Answer, redactor: Redactor) -> Answer:
    """Return an answer without the secrets in it, as a tape would have it."""
    if answer.pair is not None:
        return replace(answer, pair=redactor.interaction(*answer.pair))
    body = _script(answer).to_json().encode("utf-8", "surrogatepass")
    response = {"status": {"code": 200, "message": None}, "headers": {}, "body": {"string": body}}
    _, stored = redactor.interaction(Request("POST", "http://127.0.0.1/", None, {}), response)
    text = stored["body"]["string"].decode("utf-8", "surrogatepass")
    return replace(answer, script=Script.from_json(text), prompt=redactor.text(answer.prompt))


def as_script(answer: Answer, wanted: Wanted, *, is_json: bool = False) -> Converted:
    """Return a script file. Raises `NotConvertedError`."""
    script, lost = told(answer, wanted)
    text = script.to_json() if is_json else script.to_yaml()
    return Converted(text.encode(), (answer.at,), (*answer.lost, *lost))


def as_body(answer: Answer, wanted: Wanted, *, lines: bool) -> Converted:
    """Return a raw stream, or its lines of JSON. Raises `NotConvertedError`."""
    (_, response), codec, unsaid = interaction(answer, wanted)
    if response["status"]["code"] >= _FAILED:
        msg = f"it is an error, {response['status']['code']}, and no stream"
        raise NotConvertedError(msg)
    if not _is_stream(response):
        raise NotConvertedError(_NO_STREAM)
    body: bytes = response["body"]["string"] or b""
    is_sse = kind_of(body).startswith("an event")
    if codec is None and lines:
        raise _of_no_api(answer)
    lost = [*answer.lost, *unsaid, *_of_answer(answer, response)]
    if codec is not None and (lines or not (is_sse or body[:1] not in b"[{")):
        found, more = lines_of(body, codec)
        lost += more
        if not found and more:
            msg = "its chunks are no JSON objects; convert it to .sse"
            raise NotConvertedError(msg)
        if lines:
            text = "".join(f"{line}\n" for line in found)
            return Converted(text.encode("utf-8", "surrogateescape"), (answer.at,), tuple(lost))
        body = stream_of(found, codec) or b""
    if codec is not None and "event-stream" not in codec.content_type:
        msg = f"such a stream of {codec.api} has no server-sent events; convert it to .jsonl"
        raise NotConvertedError(msg)
    return Converted(body, (answer.at,), tuple(lost))


def _of_answer(answer: Answer, response: Mapping[str, Any]) -> Iterable[str]:
    """Yield what a body alone does not have of an interaction."""
    yield from _of_request(answer)
    yield from _of_stream(response)


def _of_stream(response: Mapping[str, Any]) -> Iterable[str]:
    stream = response.get("stream")
    if not stream:
        return
    yield "sizes of chunks"
    if any(stream["delays"]):
        yield "silences"
    if stream["end"] != "complete":
        error = f" ({stream['error']})" if stream.get("error") else ""
        yield f"that it was {_ENDED[stream['end']]}{error}"


_ENDED = {"dropped": "dropped", "timeout": "silent until the client gave up", "cancelled": "cancelled by the app"}


def as_tape(
    answers: Iterable[Answer], wanted: Wanted, path: Path, metadata: Mapping[str, Any], *, is_plain: bool = False
) -> tuple[Converted, list[tuple[int, str]]]:
    """Return a tape, of vcrpy's own fields alone if `is_plain`, and which answers it cannot hold, and why."""
    pairs: list[Pair] = []
    kept: list[int] = []
    lost: dict[str, None] = {}
    made_up: dict[str, None] = {}
    refused: list[tuple[int, str]] = []
    for answer in answers:
        try:
            (request, response), _, unsaid = interaction(answer, wanted)
            if is_plain:
                _check_plain(request, response, path)
        except NotConvertedError as error:
            refused.append((answer.at, str(error)))
            continue
        lost |= dict.fromkeys((*answer.lost, *unsaid, *(_of_plain(response) if is_plain else ())))
        if answer.is_made_up or (answer.pair is None and wanted.request is None):
            made_up[f"{request.method} {request.uri} {(body_of(request) or b'').decode('utf-8', 'replace')}"] = None
        pairs.append((request, _plain(response) if is_plain else response))
        kept.append(answer.at)
    data = as_file(path, pairs, metadata)
    if is_plain:  # our own frame would make it look like a tape of ours that lost how it streamed
        data = data.removeprefix(HEADING.encode()).removesuffix(END_MARK.encode())
    return Converted(data, tuple(kept), tuple(lost), tuple(made_up)), refused


def _plain(response: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in response.items() if name not in ("stream", "wire")}


def _of_plain(response: Mapping[str, Any]) -> Iterable[str]:
    yield from _of_stream(response)
    wire = response.get("wire") or {}
    if wire.get("http_version"):
        yield "versions of HTTP"
    if wire.get("headers"):
        yield "how bodies were compressed"


def _check_plain(request: Request, response: Mapping[str, Any], path: Path) -> None:
    """Raise `NotConvertedError` for bytes that are no text in JSON, which vcrpy cannot read back."""
    if path.suffix != ".json":
        return
    try:
        ((body_of(request) or b"") + (response["body"]["string"] or b"")).decode()
    except UnicodeDecodeError:
        msg = "its body is no text, which vcrpy's JSON cannot hold; convert it to .yaml"
        raise NotConvertedError(msg) from None
