"""Recorded streams in files of their own: tapes of any dialect, and the bodies of single answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fakellm.cassette.bodies import kind_of
from fakellm.cassette.dialects import means_to_be_tape
from fakellm.cassette.document import CassetteError
from fakellm.cassette.files import Files
from fakellm.cassette.matching import wants_stream
from fakellm.cassette.replay import chunks_of
from fakellm.contracts.sweeps.streams import Found, Place, Recording, Unread
from fakellm.errors import clip
from fakellm.wire.providers import scripted_endpoint

OK = 200
_HEAD = 4096


def of_tape(file: Path, name: str, *, is_named: bool) -> Iterator[Found]:
    """Yield the streams of a tape. What is no tape is told, as something wrong if it was named or means to be one."""
    from vcr.persisters.filesystem import CassetteNotFoundError

    data = file.read_bytes()
    if b"fakellm_script" in data[:_HEAD]:
        yield Unread(Place(name), "a script, which nobody recorded", is_wrong=is_named)
        return
    is_meant = is_named or means_to_be_tape(data, name)
    if not is_meant and data.lstrip()[:1] != b"[":
        why = "a file that is no tape" if data.strip() else "an empty file"
        yield Unread(Place(name), why, is_wrong=not data.strip())
        return
    try:
        requests, responses, *_ = Files(name=name).load_cassette(file)
    except CassetteNotFoundError:
        yield Unread(Place(name), "an empty file")
        return
    except (CassetteError, RecursionError) as error:
        first = str(error).partition("\n")[0].removeprefix(f"{name}, ").removeprefix(f"{name}: ")
        why = f"a tape that cannot be read\n{clip(first)}" if is_meant else "a file that is no tape"
        yield Unread(Place(name), why, is_wrong=is_meant)
        return
    for at, (request, response) in enumerate(zip(requests, responses, strict=True)):
        yield _of_pair(Place(name, "interaction", at), request, response)


def _of_pair(place: Place, request: Any, response: dict[str, Any]) -> Found:
    """Return the stream of an interaction, or what it is instead."""
    body: bytes = response["body"]["string"] or b""
    if response["status"]["code"] != OK:
        return Unread(place, "an answer with another status than 200", is_wrong=False)
    if not body:
        return Unread(place, "an answer without a body", is_wrong=False)
    endpoint = scripted_endpoint(request.method, request.uri)
    stream = response.get("stream") or {}
    if not kind_of(body) and not (endpoint and wants_stream(request, response)):
        return Unread(place, "an answer that is no stream", is_wrong=False)
    api = endpoint[1].api if endpoint else ""
    return Recording(place, tuple(chunks_of(response)), api, stream.get("end", "complete"), url=request.uri)
