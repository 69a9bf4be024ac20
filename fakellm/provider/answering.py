"""Makes the answer to a request of a fake provider out of the reply that it got."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial, wraps
from itertools import chain
from typing import Any, cast

from fakellm.models.playback import Feed
from fakellm.provider.exchange import Exchange, ProviderCall, Written
from fakellm.provider.memo import Memo
from fakellm.provider.routes import Route
from fakellm.script.events import (
    Content,
    Event,
    Fault,
    Finish,
    Pause,
    choice_of,
    http_error,
    provider_error,
    strikes_first,
)
from fakellm.script.latency import Latency
from fakellm.script.script import Script
from fakellm.wire.codec import Codec, Encoder, Ending, Request, Run, has_orderly_calls, legal_or_not, runs
from fakellm.wire.promises import PromisingCodec

_STATUS_OF = {
    "rate_limit": 429,
    "overloaded": 529,
    "invalid_request": 400,
    "auth": 401,
    "not_found": 404,
    "throttling": 429,
    "validation": 400,
    "serviceunavailable": 503,
    "modeltimeout": 408,
    "accessdenied": 403,
}
"""A word in the kind of an error -> the HTTP status that reports it where nothing is streamed; others are 500."""

_LONG = 1_000
"""Events of a script whose stream is written anew each time: to keep it would take more than it saves."""


def whole_headers(body: bytes) -> list[tuple[str, str]]:
    """Return the headers of a JSON document."""
    return [("content-type", "application/json"), ("content-length", str(len(body)))]


def error_exchange(
    call: ProviderCall,
    codec: Codec,
    fault: http_error,
    before: Sequence[Pause] = (),
    headers: Mapping[str, str] | None = None,
) -> Exchange:
    """Return the exchange of an HTTP error, in the words of the provider."""
    found, body = codec.error(fault, call.seed)
    all_headers = with_headers([*found, ("content-length", str(len(body)))], headers or {})
    return Exchange(call, fault.status, all_headers, [Ending([body])], before)


def with_headers(headers: list[tuple[str, str]], more: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the headers with others added, which replace those of the same name."""
    names = {name.lower() for name in more}
    return [(name, value) for name, value in headers if name.lower() not in names] + list(more.items())


class Answering:
    """Makes the exchange of one request out of the reply that it got."""

    def __init__(
        self,
        call: ProviderCall,
        codec: Codec,
        request: Request,
        route: Route,
        memo: Memo | None = None,
        latency: Latency | None = None,
    ) -> None:
        self._call = call
        self._codec = codec
        self._request = request
        self._route = route
        self._memo = memo
        self._latency = latency if route.latency is None else route.latency
        self._source: Iterator[Any] | None = None
        self._encoder: Encoder | None = None
        self._verbatim = False

    def exchange(self) -> Exchange:
        """Return the answer: an error, a stream or a document."""
        if (written := self._known()) is not None:
            return Exchange(self._call, 200, written.headers, written.steps, written=written)
        silence, first, events = _begin(self._events())
        if isinstance(first, http_error):
            return error_exchange(self._call, self._codec, first, silence, self._route.headers)
        if isinstance(first, Fault) and strikes_first(first):
            return Exchange(self._call, 0, [], [], [*silence, first])
        if self._request.stream:
            return self._stream(chain(silence, events))
        return self._whole([*silence, *events])

    def _events(self) -> Iterator[Event]:
        """Return the events of the reply, for as many answers as the request wants."""
        content = self._route.content
        if isinstance(content, BaseException):
            content.__context__ = None  # of an earlier raise
            raise content.with_traceback(None)
        if isinstance(content, type) and issubclass(content, BaseException):
            raise content
        if isinstance(content, Script):
            self._verbatim = not has_orderly_calls(content)
            events = self._paced(content)
            return iter(events) if content.choices != (0,) else _for_each_choice(events, self._request.choices)
        feed = Feed(lambda event: (event,), _plain(cast("Any", content)), illegal=self._take_illegal)
        self._source = feed.all_steps(self._request)
        return _for_each_choice(self._paced(_flat(self._source)), self._request.choices)

    def _paced(self, events: Iterable[Event]) -> Iterable[Event]:
        return events if self._latency is None else self._latency.over(events, self._call.number)

    def _take_illegal(self, script: Script) -> None:
        """Take that a function says a script in an order that no API has."""
        self._verbatim = self._verbatim or not has_orderly_calls(script)
        if self._encoder is not None:
            self._encoder.verbatim = self._verbatim

    def _known(self) -> Written | None:
        """Return the stream that answers the request, if it was written before."""
        if self._memo is None or not self._request.stream:
            return None
        written: Written | None = self._memo.get(self._key)
        return written

    @property
    def _key(self) -> Hashable:
        """What a stream that depends on the request alone is known by."""
        is_as_asked = self._request is self._call.input  # a gateway may ask for more, or for less
        asked = None if is_as_asked else str(self._request.options.get("stream_options"))
        return id(self._route), self._call.seed, self._call.api, self._latency, asked

    def _stream(self, events: Iterable[Event]) -> Exchange:
        content = self._route.content
        is_drawn = self._latency is not None and self._latency.jitter > 0  # anew for each call
        if self._memo is None or is_drawn or not isinstance(content, Script) or len(content) > _LONG:
            headers, steps = self._written(events)
            return Exchange(self._call, 200, headers, steps, source=self._source)
        written: Written = self._memo.once(self._key, partial(self._all_written, events), _size_of)
        return Exchange(self._call, 200, written.headers, written.steps, written=written)

    def _written(self, events: Iterable[Event]) -> tuple[list[tuple[str, str]], Iterable[Run]]:
        """Return the headers and the steps of a stream."""
        content = self._route.content
        usage = content.usage if isinstance(content, Script) else None
        encoder = self._encoder = self._codec.encoder(self._request, self._call.seed, usage)
        encoder.verbatim = self._verbatim
        headers = list(self._codec.stream_headers(self._request, self._call.seed))
        ahead = 64 if isinstance(content, Script) else 1
        return with_headers(headers, self._route.headers), runs(encoder, events, ahead=ahead)

    def _all_written(self, events: Iterable[Event]) -> Written:
        """Return the same, all of it, with the route, so that nothing else has its identity while this is kept."""
        headers, steps = self._written(events)
        return Written(headers, list(steps), self._route, {})

    def _whole(self, events: Sequence[Event]) -> Exchange:
        """Return a document, after all the silences; a fault strikes in the middle of it."""
        silence = [event for event in events if isinstance(event, Pause)]
        fault = next((event for event in events if isinstance(event, Fault)), None)
        if isinstance(fault, provider_error):
            if isinstance(self._codec, PromisingCodec):
                begun = Script(*(event for event in events if isinstance(event, Content)), allow_illegal=True)
                return self._document(self._codec.failure(begun, self._request, self._call.seed, fault), silence)
            status = next((s for word, s in _STATUS_OF.items() if word in fault.kind.lower()), 500)
            error = http_error(status, fault.message, kind=fault.kind, code=fault.code)
            return error_exchange(self._call, self._codec, error, silence, self._route.headers)
        said = [event for event in events if not isinstance(event, (Pause, Fault))]
        content = self._route.content
        is_lenient = fault is not None or (isinstance(content, Script) and content.allow_illegal)
        script = Script(*said, allow_illegal=True) if is_lenient else legal_or_not(said)
        body = self._codec.body(script, self._request, self._call.seed)
        if fault is None:
            return self._document(body, silence)
        headers = self._whole_headers(body)
        half = body[: len(body) // 2]
        if getattr(fault, "how", "") in ("end", "cut"):
            headers = with_headers(headers, {"content-length": str(len(half))})
        return Exchange(self._call, 200, headers, [[half], fault], silence)

    def _document(self, body: bytes, silence: Sequence[Pause]) -> Exchange:
        return Exchange(self._call, 200, self._whole_headers(body), [Ending([body])], silence)

    def _whole_headers(self, body: bytes) -> list[tuple[str, str]]:
        return with_headers([*whole_headers(body), *self._codec.headers(self._call.seed)], self._route.headers)


def _size_of(written: Written) -> int:
    """Return about how many bytes it takes, with what a shell makes of it."""
    return sum(200 + 2 * sum(map(len, step)) if isinstance(step, list) else 100 for step in written.steps)


def _plain(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the function, which raises `TypeError` for a result that would have to be awaited."""

    @wraps(function, updated=())
    def called(request: Request) -> Any:
        result = function(request)
        if inspect.isawaitable(result) or isinstance(result, AsyncIterator):
            if inspect.iscoroutine(result):
                result.close()
            msg = f"a provider's reply is made by a plain function or generator function; {function!r} is asynchronous"
            raise TypeError(msg)
        return result

    return called


def _flat(steps: Iterable[Any]) -> Iterator[Event]:
    """Yield the events of a reply function's steps."""
    for step in steps:
        if isinstance(step, tuple):
            yield from step
        else:
            yield step


def _for_each_choice(events: Iterable[Event], count: int) -> Iterator[Event]:
    """Yield the events for each of the answers that a request wants, where only one was scripted."""
    for event in events:
        yield event
        if count > 1 and isinstance(event, (Content, Finish)) and not choice_of(event):
            for choice in range(1, count):
                yield replace(event, choice=choice)  # type: ignore[arg-type]


def _begin(events: Iterator[Event]) -> tuple[list[Pause], Event | None, Iterator[Event]]:
    """Return the silence that the events begin with, the first other event, and the events from that on."""
    silence: list[Pause] = []
    for event in events:
        if not isinstance(event, Pause):
            return silence, event, chain([event], events)
        silence.append(event)
    return silence, None, iter(())
