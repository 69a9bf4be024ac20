"""What the streams of self-hosted servers have in common, whatever the API: layouts, headers, errors, silences."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fakellm.script.events import Pause, http_error
from fakellm.wire.codec import Headers, Run
from fakellm.wire.objects import dump
from fakellm.wire.openai.profiles import Profile

_KINDS = {400: "BadRequestError", 404: "NotFoundError", 500: "InternalServerError"}


def arranged(names: Iterable[str], have: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields in the order of the names; a name with `?` is left out where its field is null."""
    fields = {}
    for name in names:
        key = name.removesuffix("?")
        if key in have and not (have[key] is None and key != name):
            fields[key] = have[key]
    return fields


WRITERS: dict[str, Callable[[Any], bytes]] = {
    "compact": dump,
    "spaced": lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"),
    "escaped": lambda value: json.dumps(value).encode(),
}


def stream_headers(profile: Profile, number: int) -> Headers:
    """Return the headers of a stream of a server."""
    framing = () if profile.until_close else (("transfer-encoding", "chunked"),)
    return (("content-type", profile.content_type), *framing, *headers(profile, number))


def headers(profile: Profile, number: int) -> Headers:
    """Return the headers of any answer of a server, the content type apart."""
    return tuple((name, value.format(number=number)) for name, value in profile.headers)


def status_of(code: str | None, kind: str) -> int:
    """Return the number that a server has as the code of an error."""
    return int(code) if code and code.isdigit() else 400 if "request" in kind.lower() else 500


def error_document(profile: Profile, message: str, kind: str | None, code: int) -> dict[str, Any]:
    """Return the document of an error."""
    if profile.error == "text":
        return {"error": message}
    if profile.error == "numbered":
        return {"error": {"code": code, "message": message}}
    if profile.error == "llama.cpp":
        kind = kind or ("server_error" if code >= 500 else "invalid_request_error")  # noqa: PLR2004
        return {"error": {"code": code, "message": message, "type": kind}}
    usual = _KINDS.get(code, "BadRequestError" if code < 500 else "InternalServerError")  # noqa: PLR2004
    kind = usual if kind in (None, "server_error") else kind
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def http_error_of(profile: Profile, fault: http_error, number: int) -> tuple[Headers, bytes]:
    """Return headers and document of an HTTP error."""
    found = (("content-type", "application/json"), *headers(profile, number))
    if fault.body is not None:
        return found, fault.body.encode()
    return found, WRITERS[profile.json](error_document(profile, fault.message, fault.kind, fault.status))


_MOST = 1000
"""Comments in one silence at most: one that is longer than any test waits for is not filled to its end."""


class Silences:
    """What a server sends while it is silent: a comment now and then, until the next chunk begins the count anew."""

    def __init__(self, profile: Profile, seconds: float | None = None) -> None:
        self._period = profile.keep_alive if seconds is None else seconds
        self._ping = profile.ping.encode()
        self._since = 0.0
        self.is_on = profile.pings_first
        self.passed = 0.0

    def end(self) -> None:
        """Note that something was sent."""
        self._since, self.is_on = 0.0, True

    def of(self, pause: Pause) -> Iterator[Run]:
        """Yield a silence, with the comments in it."""
        self.passed += pause.seconds
        left, count = pause.seconds, 0
        while self.is_on and self._ping and 0 < self._period <= self._since + left and count < _MOST:
            count += 1
            yield Pause(max(self._period - self._since, 0.0))
            yield [self._ping]
            left, self._since = self._since + left - self._period, 0.0
        self._since += left
        if left > 0:
            yield Pause(left)
