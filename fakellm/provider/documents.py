"""Endpoints of one's own: a document, a text, bytes or a fault that answers what a provider's table does not know."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fakellm.errors import ScriptError, WireError, clip
from fakellm.provider.answering import error_exchange, whole_headers, with_headers
from fakellm.provider.exchange import Exchange, ProviderCall
from fakellm.runnable.functions import is_async_function
from fakellm.runnable.shown import call as written_call
from fakellm.runnable.shown import named, shown, unusual
from fakellm.script.events import Fault, disconnect, http_error, stall, strikes_first
from fakellm.wire.codec import Codec, Ending
from fakellm.wire.objects import dump, parse

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True)
class OwnDocument:
    """What answers requests with a method whose path ends with `path`, or in which that pattern is found."""

    method: str
    path: str | re.Pattern[str]
    answer: Any
    status: int = 200
    headers: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if self.method not in _METHODS:
            msg = f"method is one of {', '.join(_METHODS)}, not {self.method!r}"
            raise ScriptError(msg)
        if not isinstance(self.path, re.Pattern) and (not self.path.startswith("/") or "?" in self.path):
            msg = f"path is that of a URL, such as '/v1/moderations', without host and query, not {self.path!r}"
            raise ScriptError(msg)
        if not callable(self.answer):
            _content(self.answer)
        elif is_async_function(self.answer) or isinstance(self.answer, type):
            msg = f"a document is made by a plain function of the request's JSON, not by {self.answer!r}"
            raise TypeError(msg)

    def fits(self, method: str, path: str) -> bool:
        """Tell whether a request is one that this answers; `{name}` in a path stands for one of its segments."""
        if method != self.method:
            return False
        if isinstance(self.path, re.Pattern):
            return self.path.search(path) is not None
        own = "[^/]+".join(map(re.escape, re.split(r"\{\w+\}", self.path)))
        return re.search(f"{own}$", path) is not None

    def exchange(self, call: ProviderCall, path: str, codec: Codec) -> Exchange:
        """Return the answer to a request; errors are worded by `codec`."""
        asked = _asked(call.body)
        call.json = None if isinstance(asked, bytes) else asked
        answer = _called(self.answer, asked, path) if callable(self.answer) else self.answer
        if isinstance(answer, http_error):
            return error_exchange(call, codec, answer, headers=self.headers)
        if isinstance(answer, Fault) and strikes_first(answer):
            return Exchange(call, 0, [], [], [answer])
        if isinstance(answer, (disconnect, stall)):
            return Exchange(call, self.status, with_headers(whole_headers(b"{}"), self.headers or {}), [answer])
        kind, body = _content(answer)
        headers = [("content-type", kind), ("content-length", str(len(body)))]
        return Exchange(call, self.status, with_headers(headers, self.headers or {}), [Ending([body])])

    def as_call(self) -> str:
        """Write the call that scripts it."""
        options = unusual({"status": self.status, "headers": self.headers}, status=200)
        return written_call(".document", [repr(self.method), shown(self.path), shown(self.answer), *named(options)])


def _asked(body: bytes) -> Any:
    """Return the JSON of a request, its bytes if it is none, or None if there is none."""
    if not body:
        return None
    try:
        return parse(body, "the body of the request")
    except WireError:
        return body


def _called(function: Callable[..., Any], asked: Any, path: str) -> Any:
    """Call a function of the request's JSON, and of its path with query if it takes two arguments."""
    try:
        inspect.signature(function).bind(asked, path)
    except TypeError:
        return function(asked)
    return function(asked, path)


def _content(answer: Any) -> tuple[str, bytes]:
    """Return the content type and the bytes of an answer. Raises `TypeError` for what is none."""
    if isinstance(answer, Fault):
        if not isinstance(answer, (http_error, disconnect, stall)):
            msg = f"a document fails by http_error, disconnect or stall, not by {answer!r}"
            raise TypeError(msg)
        return "", b""
    if isinstance(answer, bytes):
        return "application/octet-stream", answer
    if isinstance(answer, str):
        return "text/plain; charset=utf-8", answer.encode()
    try:
        return "application/json", dump(answer)
    except (TypeError, ValueError) as error:
        msg = f"a document is JSON, text, bytes, or a function that returns one, not {clip(repr(answer), 80)}: {error}"
        raise TypeError(msg) from None
