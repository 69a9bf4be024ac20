"""Answers that one request asks for and another one fetches: what was promised, and what of it was given.

There is one call in the log for both: the one that asked, which is answered when its answer is fetched. What it was
told at once, where to fetch that, is an answer of nobody's.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from threading import RLock
from typing import Any

from fakellm.provider.answering import error_exchange, whole_headers
from fakellm.provider.exchange import Exchange, ProviderCall
from fakellm.provider.hosts import parts_of
from fakellm.script.events import http_error
from fakellm.script.script import Script
from fakellm.wire.codec import Codec, Ending, Headers
from fakellm.wire.promises import Progress, PromisingCodec
from fakellm.wire.service import Endpoint, Service, codec_of

_MOST = 1_000
_OK, _CREATED, _NOT_FOUND = 200, 201, 404
_STATES: Mapping[str, Progress] = {"running": "processing", "complete": "succeeded", "cancelled": "canceled"}


@dataclass(slots=True)
class _Promised:
    """An answer that was asked for: by whom, and what is left of it to be fetched."""

    call: ProviderCall
    codec: PromisingCodec
    exchange: Exchange | None
    document: bytes | None = None

    def as_document(self) -> bytes:
        """Return what is known of it: all, if it is over and was scripted as a whole."""
        call, request = self.call, self.call.request
        if self.document is not None:
            return self.document
        content = call.reply.content if call.reply is not None else None
        if call.state == "complete" and isinstance(content, Script) and content.fault is None:
            return self.codec.body(content, request, call.seed)
        return self.codec.progress(request, call.seed, call.url, _STATES.get(call.state, "failed"))


class Promising:
    """A provider that may promise answers."""

    service: Service
    _lock: RLock
    _promises: OrderedDict[str, deque[_Promised]]

    def _begin(self) -> None:
        super()._begin()  # type: ignore[misc]
        self._promises = OrderedDict()

    def _later(self, call: ProviderCall, codec: Codec, exchange: Exchange) -> Exchange:
        """Return what the request is told: its answer, or where that will be."""
        if not isinstance(codec, PromisingCodec) or exchange.status != _OK:
            return exchange
        promise = codec.promise(call.request, call.seed, call.url)
        promised = _Promised(call, codec, exchange)
        if promise.document is None:
            exchange.status = call.status = _CREATED
            promised.exchange, promised.document = None, exchange.as_whole()
        with self._lock:
            self._promises.setdefault(promise.id, deque(maxlen=_MOST)).append(promised)
            while len(self._promises) > _MOST:
                self._promises.popitem(last=False)
        if promise.document is None:
            return exchange
        return _document(_nobodys(call), promise.document, codec.headers(call.seed), _CREATED)

    def _fetch(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Exchange | None:
        """Return what a request fetches, if that is what it does, and it was promised."""
        path = parts_of(url).path if self.service.fetched is not None else ""
        found = self._fetches(method, path)
        if found is None:
            return None
        with self._lock:
            waiting = self._promises.get(found)
            if not waiting:
                return None
            promised = next((one for one in waiting if one.exchange is not None), waiting[-1])
            return self._given(promised, ProviderCall(method, url, headers, body), path)

    def _fetches(self, method: str, path: str) -> str | None:
        """Return the id of what is fetched at a path."""
        if self.service.fetched is None or self.service.endpoint(method, path) is None:
            return None
        found = self.service.fetched.search(path)
        return None if found is None else found[1]

    def _unpromised(self, call: ProviderCall, endpoint: Endpoint | None, path: str) -> Exchange | None:
        """Return what is told to who fetches what was not promised."""
        if endpoint is None or self._fetches(call.method, path) is None:
            return None
        call.api = endpoint.api
        return error_exchange(
            call, codec_of(endpoint), http_error(_NOT_FOUND, "The requested resource could not be found.")
        )

    def _given(self, promised: _Promised, call: ProviderCall, path: str) -> Exchange:
        """Return what is fetched: a stream or a document once as it was scripted, then what is known of it."""
        codec, asking = promised.codec, promised.call
        if path.endswith("/cancel"):
            asking.end("cancelled")
            promised.exchange = None
            return _document(call, promised.as_document(), codec.headers(asking.seed))
        is_stream = "/streams/" in path
        if promised.exchange is not None and is_stream is asking.request.stream:
            exchange, promised.exchange = promised.exchange, None
            if not is_stream:
                promised.document = exchange.as_whole()
            return exchange
        if is_stream:
            error = http_error(_NOT_FOUND, "The stream was fetched already.")
            return error_exchange(call, codec, error)
        return _document(call, promised.as_document(), codec.headers(asking.seed))


def _nobodys(call: ProviderCall) -> ProviderCall:
    """Return a call that stands for one in what is told before its answer."""
    other = ProviderCall(call.method, call.url, call.headers, call.body)
    other.number, other.made_of, other.api = call.number, call.made_of, call.api
    return other


def _document(call: ProviderCall, body: bytes, headers: Headers, status: int = _OK) -> Exchange:
    found: list[tuple[str, Any]] = [*whole_headers(body), *headers]
    return Exchange(call, status, found, [Ending([body])])
